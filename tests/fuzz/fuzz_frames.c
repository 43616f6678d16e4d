/* The frames between sites, as a stream of them, hello included. Laws: a refusal has a message; what parses
 * is in bounds; a hello, a stream's name, an answer to it and a piece's head that parse are written to bytes
 * that parse to the same. */
#include "base/arena.h"
#include "net/frame.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes body_of(const struct buf *b)
{
    return (struct bytes){b->p + FRAME_HEAD, b->n - FRAME_HEAD};
}

static status hello(struct ctx *cx, struct bytes body)
{
    struct hello h, again;
    TRY(frame_parse_hello(cx, body, &h));
    if (strlen(h.software) >= sizeof h.software) abort();
    CLEANUP(buf_free) struct buf b = {0};
    frame_put_hello(&b, &h);
    if (frame_parse_hello(cx, body_of(&b), &again).code || strcmp(again.software, h.software) != 0 ||
        again.connection != h.connection || again.wall_ms != h.wall_ms)
        abort();
    return OK;
}

static status open_stream(struct ctx *cx, struct bytes body)
{
    struct stream_key k, again;
    bool resuming, r2;
    TRY(frame_parse_open(cx, body, &k, &resuming));
    if (k.from.role >= ROLE_COUNT || k.to.role >= ROLE_COUNT) abort();
    CLEANUP(buf_free) struct buf b = {0};
    frame_put_open(&b, 7, &k, resuming);
    if (frame_parse_open(cx, body_of(&b), &again, &r2).code || strcmp(again.job, k.job) != 0 ||
        strcmp(again.task, k.task) != 0 || r2 != resuming)
        abort();
    return OK;
}

static status opened(struct ctx *cx, struct bytes body)
{
    struct opened o, again;
    TRY(frame_parse_opened(cx, body, &o));
    CLEANUP(buf_free) struct buf b = {0};
    frame_put_opened(&b, 7, &o);
    if (frame_parse_opened(cx, body_of(&b), &again).code || again.part_bytes != o.part_bytes ||
        strcmp(again.part_tag, o.part_tag) != 0)
        abort();
    return OK;
}

static status tunnel(struct ctx *cx, struct bytes body)
{
    struct tunnel_head t, again;
    TRY(frame_parse_tunnel(cx, body, &t));
    if (t.n_path > TUNNEL_PATH_MAX || t.from == t.to || !t.from || !t.to) abort();
    CLEANUP(buf_free) struct buf b = {0};
    frame_put_tunnel(&b, 7, &t);
    if (frame_parse_tunnel(cx, body_of(&b), &again).code || again.from != t.from || again.to != t.to ||
        again.n_path != t.n_path || memcmp(again.path, t.path, sizeof t.path) != 0)
        abort();
    return OK;
}

static status data_piece(struct ctx *cx, struct bytes body)
{
    struct data_head d, again;
    uint8_t out[FRAME_DATA_HEAD_MAX];
    size_t head, n;
    TRY(frame_parse_data(cx, body, (uint32_t)body.n, &d, &head));
    if (!head) return OK;
    if (head > body.n || d.bytes != body.n - head || d.offset > d.total || d.bytes > d.total - d.offset ||
        !tag_valid(d.tag))
        abort();
    n = frame_put_data(out, 7, &d);
    if (frame_parse_data(cx, (struct bytes){out + FRAME_HEAD, n - FRAME_HEAD}, (uint32_t)body.n, &again,
                         &head)
            .code ||
        head != n - FRAME_HEAD || again.offset != d.offset || strcmp(again.tag, d.tag) != 0)
        abort();
    return OK;
}

static status one(struct ctx *cx, const struct frame_head *h, struct bytes body)
{
    struct ping ping;
    uint64_t x;
    char tag[TAG_MAX + 1];
    uint32_t seq;
    struct err e;
    struct call_head call;
    struct answer_head answer;
    switch (h->type) {
    case FRAME_HELLO:
        return hello(cx, body);
    case FRAME_PING:
        return frame_parse_ping(cx, body, &ping);
    case FRAME_WELCOME:
    case FRAME_PONG:
    case FRAME_CREDIT:
    case FRAME_CARRY_CREDIT:
        return frame_parse_u64(cx, body, &x);
    case FRAME_OPEN:
        return open_stream(cx, body);
    case FRAME_OPENED:
        return opened(cx, body);
    case FRAME_DATA:
        return data_piece(cx, body);
    case FRAME_ACK:
        return frame_parse_ack(cx, body, tag, &seq);
    case FRAME_REFUSE:
    case FRAME_ABORT:
    case FRAME_TUNNEL_END:
        TRY(frame_parse_fail(cx, body, &e));
        if (!e.code || e.code >= ERR_COUNT || strlen(e.msg) >= sizeof e.msg) abort();
        return OK;
    case FRAME_CALL:
        TRY(frame_parse_call(cx, body, &call));
        if (call.body.n > body.n || strlen(call.method) > METHOD_MAX) abort();
        return OK;
    case FRAME_ANSWER:
        TRY(frame_parse_answer(cx, body, &answer));
        if (answer.body.n > body.n || answer.err.code >= ERR_COUNT) abort();
        return OK;
    case FRAME_TUNNEL:
        return tunnel(cx, body);
    case FRAME_STATUS:
    case FRAME_CLOSE:
    case FRAME_CARRY:
    default:
        return OK;
    }
}

static status all(struct ctx *cx, struct reader *r)
{
    struct frame_head h;
    const uint8_t *p;
    while (reader_left(r)) {
        TRY(reader_bytes(cx, r, FRAME_HEAD, &p));
        TRY(frame_parse_head(cx, p, 0, &h));
        size_t n = h.length < reader_left(r) ? h.length : reader_left(r);
        if (h.length > FRAME_MAX - FRAME_HEAD) abort();
        TRY(reader_bytes(cx, r, n, &p));
        TRY(one(cx, &h, (struct bytes){p, n}));
    }
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *mem = arena_new(1 << 20);
    struct ctx cx = {.mem = mem};
    struct reader r = reader_of(data, size);
    status st = all(&cx, &r);
    if (st.code && (!cx.err.msg[0] || cx.err.code != st.code)) abort();
    arena_free(mem);
    return 0;
}
