#include "net/frame.h"
#include <stdio.h>
#include <string.h>

/* The version in which the layouts below came up. A later version that changes one writes it by the agreed version. */
enum { WIRE_LAYOUT = 1 };
static const uint8_t magic[4] = {'N', 'O', 'R', 'N'};

/* --- reading --- */

status frame_parse_head(struct ctx *cx, const uint8_t p[FRAME_HEAD], uint8_t version, struct frame_head *out)
{
    struct reader r = reader_of(p, FRAME_HEAD);
    struct frame_head h;
    uint8_t type;
    uint16_t zero;
    TRY(reader_u8(cx, &r, &h.version));
    TRY(reader_u8(cx, &r, &type));
    TRY(reader_u16(cx, &r, &zero));
    TRY(reader_u32(cx, &r, &h.stream));
    TRY(reader_u32(cx, &r, &h.length));
    if (version && (h.version > version || h.version < WIRE_MIN))
        return FAIL(cx, PROTO, "frame of wire version %u, agreed was %u", h.version, version);
    if (type < FRAME_HELLO || type > FRAME_LAST || zero)
        return FAIL(cx, PROTO, "frame of unknown type %u", type);
    if (h.length > FRAME_MAX - FRAME_HEAD)
        return FAIL(cx, LIMIT, "frame of %u bytes, at most %d", h.length, FRAME_MAX - FRAME_HEAD);
    h.type = (enum frame_type)type;
    *out = h;
    return OK;
}

static bool printable(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < 0x20 || p[i] == 0x7f) return false;
    return true;
}

/* u8 length, then bytes without control characters; max < 256. */
static status read_name(struct ctx *cx, struct reader *r, const char *what, size_t max, char *out)
{
    uint8_t n;
    const uint8_t *p;
    TRY(reader_u8(cx, r, &n));
    if (n > max) return FAIL(cx, LIMIT, "%s of %u bytes, at most %zu", what, n, max);
    TRY(reader_bytes(cx, r, n, &p));
    if (!printable(p, n)) return FAIL(cx, FORMAT, "%s holds control characters", what);
    if (n) memcpy(out, p, n);
    out[n] = '\0';
    return OK;
}

static status read_tag(struct ctx *cx, struct reader *r, bool may_be_empty, char out[TAG_MAX + 1])
{
    TRY(read_name(cx, r, "tag", TAG_MAX, out));
    if (may_be_empty && !out[0]) return OK;
    return tag_valid(out) ? OK : FAIL(cx, FORMAT, "bad tag '%s'", out);
}

static status read_party(struct ctx *cx, struct reader *r, struct party *out)
{
    uint8_t role;
    TRY(reader_u8(cx, r, &role));
    TRY(reader_u32(cx, r, &out->id));
    if (role >= ROLE_COUNT) return FAIL(cx, FORMAT, "role %u, want below %d", role, ROLE_COUNT);
    out->role = (enum role)role;
    return OK;
}

status frame_parse_hello(struct ctx *cx, struct bytes body, struct hello *out)
{
    struct reader r = reader_of(body.p, body.n);
    const uint8_t *m;
    struct hello h = {0};
    uint16_t zero;
    TRY(reader_bytes(cx, &r, sizeof magic, &m));
    if (memcmp(m, magic, sizeof magic) != 0) return FAIL(cx, PROTO, "not a norn site");
    TRY(reader_u8(cx, &r, &h.version_min));
    TRY(reader_u8(cx, &r, &h.version_max));
    TRY(reader_u16(cx, &r, &zero));
    out->version_min = h.version_min;
    out->version_max = h.version_max;
    if (h.version_min > WIRE_MAX || h.version_max < WIRE_MIN || h.version_min > h.version_max)
        return FAIL(cx, PROTO, "the peer speaks wire versions %u to %u, this site %d to %d", h.version_min,
                    h.version_max, WIRE_MIN, WIRE_MAX);
    TRY(reader_u32(cx, &r, &h.party));
    TRY(reader_u32(cx, &r, &h.to));
    TRY(reader_bytes(cx, &r, sizeof h.instance, &m));
    memcpy(h.instance, m, sizeof h.instance);
    TRY(reader_u64(cx, &r, &h.features));
    TRY(reader_u64(cx, &r, &h.holds));
    TRY(reader_u64(cx, &r, &h.connection));
    TRY(reader_u64(cx, &r, &h.window));
    TRY(reader_u32(cx, &r, &h.heartbeat_ms));
    TRY(reader_i64(cx, &r, &h.wall_ms));
    TRY(read_name(cx, &r, "software name", sizeof h.software - 1, h.software));
    /* What a later version adds stands behind: not read, not an error. */
    *out = h;
    return OK;
}

status frame_parse_ping(struct ctx *cx, struct bytes body, struct ping *out)
{
    struct reader r = reader_of(body.p, body.n);
    struct ping p;
    TRY(reader_u64(cx, &r, &p.stamp_us));
    TRY(reader_u32(cx, &r, &p.first_stream));
    TRY(reader_u64(cx, &r, &p.first_call));
    TRY(reader_end(cx, &r));
    *out = p;
    return OK;
}

status frame_parse_u64(struct ctx *cx, struct bytes body, uint64_t *out)
{
    struct reader r = reader_of(body.p, body.n);
    uint64_t x;
    TRY(reader_u64(cx, &r, &x));
    TRY(reader_end(cx, &r));
    *out = x;
    return OK;
}

status frame_parse_open(struct ctx *cx, struct bytes body, struct stream_key *out, bool *resuming)
{
    struct reader r = reader_of(body.p, body.n);
    struct stream_key k = {0};
    uint8_t again = 0;
    TRY(read_name(cx, &r, "job", sizeof k.job - 1, k.job));
    TRY(read_name(cx, &r, "task", sizeof k.task - 1, k.task));
    TRY(read_party(cx, &r, &k.from));
    TRY(read_party(cx, &r, &k.to));
    TRY(reader_u8(cx, &r, &again));
    TRY(reader_end(cx, &r));
    if (!k.job[0] || !k.task[0]) return FAIL(cx, FORMAT, "stream without job or task");
    if (again > 1) return FAIL(cx, FORMAT, "resuming is 0 or 1, not %u", again);
    *out = k;
    *resuming = again;
    return OK;
}

status frame_parse_opened(struct ctx *cx, struct bytes body, struct opened *out)
{
    struct reader r = reader_of(body.p, body.n);
    struct opened o = {0};
    TRY(reader_u64(cx, &r, &o.credit));
    TRY(reader_u32(cx, &r, &o.last_seq));
    TRY(read_tag(cx, &r, true, o.last_tag));
    TRY(reader_u32(cx, &r, &o.part_seq));
    TRY(reader_u64(cx, &r, &o.part_bytes));
    TRY(read_tag(cx, &r, true, o.part_tag));
    TRY(reader_end(cx, &r));
    *out = o;
    return OK;
}

status frame_parse_data(struct ctx *cx, struct bytes have, uint32_t length, struct data_head *out,
                        size_t *head_bytes)
{
    enum { FIXED = 4 + 8 + 8 + 1 };
    *head_bytes = 0;
    if (length < FIXED + 1) return FAIL(cx, FORMAT, "data frame of %u bytes", length);
    if (have.n < FIXED) return OK;
    size_t head = FIXED + (size_t)have.p[FIXED - 1];
    if (head > length) return FAIL(cx, FORMAT, "data frame of %u bytes, its head has %zu", length, head);
    if (head > FIXED + TAG_MAX) return FAIL(cx, LIMIT, "tag of %zu bytes, at most %d", head - FIXED, TAG_MAX);
    if (have.n < head) return OK;

    struct reader r = reader_of(have.p, head);
    struct data_head d;
    TRY(reader_u32(cx, &r, &d.seq));
    TRY(reader_u64(cx, &r, &d.total));
    TRY(reader_u64(cx, &r, &d.offset));
    TRY(read_tag(cx, &r, false, d.tag));
    d.bytes = length - (uint32_t)head;
    if (d.total > MESSAGE_MAX)
        return FAIL(cx, LIMIT, "message of %llu bytes, at most %llu", (unsigned long long)d.total,
                    (unsigned long long)MESSAGE_MAX);
    if (d.offset > d.total || d.bytes > d.total - d.offset)
        return FAIL(cx, PROTO, "message %s[%u]: bytes %llu+%u of %llu", d.tag, d.seq,
                    (unsigned long long)d.offset, d.bytes, (unsigned long long)d.total);
    if (!d.bytes && d.total) return FAIL(cx, PROTO, "message %s[%u]: an empty piece", d.tag, d.seq);
    *out = d;
    *head_bytes = head;
    return OK;
}

status frame_parse_ack(struct ctx *cx, struct bytes body, char tag[TAG_MAX + 1], uint32_t *seq)
{
    struct reader r = reader_of(body.p, body.n);
    char name[TAG_MAX + 1];
    uint32_t s;
    TRY(reader_u32(cx, &r, &s));
    TRY(read_tag(cx, &r, false, name));
    TRY(reader_end(cx, &r));
    memcpy(tag, name, sizeof name);
    *seq = s;
    return OK;
}

/* u8 code, then text of at most the size of err.msg. */
static status read_fail(struct ctx *cx, struct reader *r, struct err *out)
{
    struct err e = {.file = "peer"};
    struct bytes text;
    uint8_t code;
    TRY(reader_u8(cx, r, &code));
    TRY(reader_blob(cx, r, sizeof e.msg - 1, &text));
    /* A code that a later version has and we have not is the other party's failure all the same. */
    e.code = code < ERR_COUNT ? (enum err_code)code : ERR_PEER;
    if (!printable(text.p, text.n)) return FAIL(cx, FORMAT, "error text with control characters");
    if (text.n) memcpy(e.msg, text.p, text.n);
    *out = e;
    return OK;
}

status frame_parse_fail(struct ctx *cx, struct bytes body, struct err *out)
{
    struct reader r = reader_of(body.p, body.n);
    struct err e = {0};
    TRY(read_fail(cx, &r, &e));
    TRY(reader_end(cx, &r));
    if (!e.code) e.code = ERR_PEER;
    *out = e;
    return OK;
}

status frame_parse_tunnel(struct ctx *cx, struct bytes body, struct tunnel_head *out)
{
    struct reader r = reader_of(body.p, body.n);
    struct tunnel_head t = {0};
    TRY(reader_u32(cx, &r, &t.from));
    TRY(reader_u32(cx, &r, &t.to));
    TRY(reader_u8(cx, &r, &t.n_path));
    if (t.n_path > TUNNEL_PATH_MAX)
        return FAIL(cx, LIMIT, "tunnel over %u sites, at most %d", t.n_path, TUNNEL_PATH_MAX);
    for (size_t i = 0; i < t.n_path; i++)
        TRY(reader_u32(cx, &r, &t.path[i]));
    TRY(reader_end(cx, &r));
    if (!t.from || !t.to || t.from == t.to)
        return FAIL(cx, FORMAT, "tunnel from party %u to party %u", t.from, t.to);
    *out = t;
    return OK;
}

status frame_parse_call(struct ctx *cx, struct bytes body, struct call_head *out)
{
    struct reader r = reader_of(body.p, body.n);
    struct call_head c = {0};
    TRY(reader_u64(cx, &r, &c.id));
    TRY(reader_u64(cx, &r, &c.first));
    TRY(reader_u32(cx, &r, &c.deadline_ms));
    TRY(read_name(cx, &r, "method", METHOD_MAX, c.method));
    TRY(reader_blob(cx, &r, FRAME_MAX, &c.body));
    TRY(reader_end(cx, &r));
    *out = c;
    return OK;
}

status frame_parse_answer(struct ctx *cx, struct bytes body, struct answer_head *out)
{
    struct reader r = reader_of(body.p, body.n);
    struct answer_head a = {0};
    TRY(reader_u64(cx, &r, &a.id));
    TRY(read_fail(cx, &r, &a.err));
    TRY(reader_blob(cx, &r, FRAME_MAX, &a.body));
    TRY(reader_end(cx, &r));
    *out = a;
    return OK;
}

/* --- writing --- */

static void put_head(struct buf *b, enum frame_type type, uint32_t stream)
{
    buf_u8(b, WIRE_LAYOUT);
    buf_u8(b, (uint8_t)type);
    buf_u16(b, 0);
    buf_u32(b, stream);
    buf_u32(b, 0); /* end_frame fills it in */
}

static void end_frame(struct buf *b, size_t start)
{
    if (b->bad) return;
    uint32_t n = (uint32_t)(b->n - start - FRAME_HEAD);
    for (int i = 0; i < 4; i++)
        b->p[start + 8 + (size_t)i] = (uint8_t)(n >> (8 * i));
}

static void put_name(struct buf *b, const char *s)
{
    size_t n = strlen(s);
    if (n > 255) n = 255;
    buf_u8(b, (uint8_t)n);
    if (n) buf_put(b, s, n);
}

static void put_party(struct buf *b, struct party p)
{
    buf_u8(b, (uint8_t)p.role);
    buf_u32(b, p.id);
}

/* Control characters of a message, line ends of a quoted text say, do not travel. */
static void put_fail(struct buf *b, const struct err *e)
{
    char text[sizeof e->msg];
    size_t n = strnlen(e->msg, sizeof e->msg - 1);
    for (size_t i = 0; i < n; i++)
        text[i] = e->msg[i];
    for (size_t i = 0; i < n; i++)
        if (!printable((const uint8_t *)text + i, 1)) text[i] = ' ';
    buf_u8(b, (uint8_t)e->code);
    buf_blob(b, text, n);
}

void frame_put_hello(struct buf *b, const struct hello *h)
{
    size_t start = b->n;
    put_head(b, FRAME_HELLO, 0);
    buf_put(b, magic, sizeof magic);
    buf_u8(b, h->version_min);
    buf_u8(b, h->version_max);
    buf_u16(b, 0);
    buf_u32(b, h->party);
    buf_u32(b, h->to);
    buf_put(b, h->instance, sizeof h->instance);
    buf_u64(b, h->features);
    buf_u64(b, h->holds);
    buf_u64(b, h->connection);
    buf_u64(b, h->window);
    buf_u32(b, h->heartbeat_ms);
    buf_i64(b, h->wall_ms);
    put_name(b, h->software);
    end_frame(b, start);
}

void frame_put_u64(struct buf *b, enum frame_type type, uint32_t stream, uint64_t x)
{
    size_t start = b->n;
    put_head(b, type, stream);
    buf_u64(b, x);
    end_frame(b, start);
}

void frame_put_ping(struct buf *b, const struct ping *p)
{
    size_t start = b->n;
    put_head(b, FRAME_PING, 0);
    buf_u64(b, p->stamp_us);
    buf_u32(b, p->first_stream);
    buf_u64(b, p->first_call);
    end_frame(b, start);
}

void frame_put_open(struct buf *b, uint32_t stream, const struct stream_key *k, bool resuming)
{
    size_t start = b->n;
    put_head(b, FRAME_OPEN, stream);
    put_name(b, k->job);
    put_name(b, k->task);
    put_party(b, k->from);
    put_party(b, k->to);
    buf_u8(b, resuming);
    end_frame(b, start);
}

void frame_put_opened(struct buf *b, uint32_t stream, const struct opened *o)
{
    size_t start = b->n;
    put_head(b, FRAME_OPENED, stream);
    buf_u64(b, o->credit);
    buf_u32(b, o->last_seq);
    put_name(b, o->last_tag);
    buf_u32(b, o->part_seq);
    buf_u64(b, o->part_bytes);
    put_name(b, o->part_tag);
    end_frame(b, start);
}

static uint8_t *put_le(uint8_t *p, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (uint8_t)(x >> (8 * i));
    return p;
}

size_t frame_put_data(uint8_t out[FRAME_DATA_HEAD_MAX], uint32_t stream, const struct data_head *d)
{
    size_t n_tag = strlen(d->tag);
    uint8_t *p = out;
    p = put_le(p, WIRE_LAYOUT, 1);
    p = put_le(p, FRAME_DATA, 1);
    p = put_le(p, 0, 2);
    p = put_le(p, stream, 4);
    p = put_le(p, 4 + 8 + 8 + 1 + n_tag + d->bytes, 4);
    p = put_le(p, d->seq, 4);
    p = put_le(p, d->total, 8);
    p = put_le(p, d->offset, 8);
    p = put_le(p, n_tag, 1);
    memcpy(p, d->tag, n_tag);
    return (size_t)(p - out) + n_tag;
}

void frame_put_ack(struct buf *b, uint32_t stream, const char *tag, uint32_t seq)
{
    size_t start = b->n;
    put_head(b, FRAME_ACK, stream);
    buf_u32(b, seq);
    put_name(b, tag);
    end_frame(b, start);
}

void frame_put_fail(struct buf *b, enum frame_type type, uint32_t stream, const struct err *e)
{
    size_t start = b->n;
    put_head(b, type, stream);
    put_fail(b, e);
    end_frame(b, start);
}

void frame_put_call(struct buf *b, const struct call_head *c)
{
    size_t start = b->n;
    put_head(b, FRAME_CALL, 0);
    buf_u64(b, c->id);
    buf_u64(b, c->first);
    buf_u32(b, c->deadline_ms);
    put_name(b, c->method);
    buf_blob(b, c->body.p, c->body.n);
    end_frame(b, start);
}

void frame_put_answer(struct buf *b, uint64_t id, const struct err *e, const char *json)
{
    size_t start = b->n;
    put_head(b, FRAME_ANSWER, 0);
    buf_u64(b, id);
    put_fail(b, e);
    buf_str(b, json);
    end_frame(b, start);
}

void frame_put_close(struct buf *b, uint32_t stream)
{
    put_head(b, FRAME_CLOSE, stream);
}

void frame_put_status(struct buf *b, uint32_t stream, const void *p, size_t n)
{
    size_t start = b->n;
    put_head(b, FRAME_STATUS, stream);
    buf_put(b, p, n);
    end_frame(b, start);
}

void frame_put_tunnel(struct buf *b, uint32_t number, const struct tunnel_head *t)
{
    size_t start = b->n;
    put_head(b, FRAME_TUNNEL, number);
    buf_u32(b, t->from);
    buf_u32(b, t->to);
    buf_u8(b, t->n_path);
    for (size_t i = 0; i < t->n_path; i++)
        buf_u32(b, t->path[i]);
    end_frame(b, start);
}

void frame_put_carry(uint8_t out[FRAME_HEAD], uint32_t number, uint32_t n)
{
    uint8_t *p = put_le(out, WIRE_LAYOUT, 1);
    p = put_le(p, FRAME_CARRY, 1);
    p = put_le(p, 0, 2);
    p = put_le(p, number, 4);
    put_le(p, n, 4);
}
