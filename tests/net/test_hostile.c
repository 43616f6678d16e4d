/* A peer that holds a valid certificate and sends whatever it likes: nothing crashes, nothing grows, others
 * go on. */
#include "test.h"
#include "raw.h"
#include "base/secret.h"
#include "net/frame.h"
#include "net/node_int.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 150 };

/* The sites: 0 (10000) is attacked by 20000, and linked to 1 (9999), which is honest. */
static void start_world(struct world *w, struct ctx *cx)
{
    world_init(w, cx);
    struct site *a = world_site(w, 0, 10000), *b = world_site(w, 1, 9999);
    site_peer(a, 9999, 0);
    site_peer(a, 20000, 0);
    a->config.window_bytes = 1 << 20;
    a->config.forward_bytes = 2 << 20;
    site_start(a);
    site_peer(b, 10000, node_port(a->node));
    site_start(b);
    world_keys(w, 20000);
    CHECK(world_until_up(w, a, 9999, 3000));
}

static bool connected(void *arg)
{
    struct raw *r = arg;
    raw_step(r);
    return r->connected || r->done;
}

static void put(struct buf *b, const void *p, size_t n)
{
    buf_put(b, p, n);
}

static void put_hello(struct buf *b, struct shuffle *dice)
{
    struct hello h = {.version_min = 1,
                      .version_max = 1,
                      .party = 20000,
                      .to = 10000,
                      .window = 1 << 20,
                      .heartbeat_ms = 1000,
                      .features = shuffle_below(dice, 4) ? FEATURE_TUNNEL : 0,
                      .software = "hostile"};
    for (size_t i = 0; i < sizeof h.instance; i++)
        h.instance[i] = (uint8_t)shuffle_below(dice, 2);
    h.connection = shuffle_u64(dice);
    frame_put_hello(b, &h);
}

static void put_data(struct buf *b, struct shuffle *dice)
{
    uint8_t head[FRAME_DATA_HEAD_MAX], body[4096];
    static const uint64_t totals[] = {0, 1, 100, 5000, UINT64_C(1) << 31, UINT64_C(1) << 32};
    struct data_head d = {.seq = (uint32_t)shuffle_below(dice, 3),
                          .total = totals[shuffle_below(dice, LEN(totals))]};
    snprintf(d.tag, sizeof d.tag, "t%d", (int)shuffle_below(dice, 3));
    d.offset = shuffle_below(dice, 3) ? 0 : shuffle_below(dice, d.total + 1);
    d.bytes = (uint32_t)shuffle_below(dice, sizeof body);
    if (d.bytes > d.total - d.offset) d.bytes = (uint32_t)(d.total - d.offset);
    memset(body, 7, sizeof body);
    put(b, head, frame_put_data(head, (uint32_t)shuffle_below(dice, 4), &d));
    put(b, body, d.bytes);
}

/* Tunnels to the site itself, to its honest peer, to nobody; and what they carry. */
static void put_tunnel(struct buf *b, struct shuffle *dice)
{
    static const uint32_t ends[] = {20000, 10000, 9999, 5};
    uint32_t number = 2 * (uint32_t)(1 + shuffle_below(dice, 4));
    struct tunnel_head t = {.from = shuffle_below(dice, 8) ? 20000 : ends[shuffle_below(dice, 4)],
                            .to = ends[1 + shuffle_below(dice, 3)]};
    struct err e = {.code = ERR_PEER, .msg = "hostile"};
    uint8_t head[FRAME_HEAD], body[4096];
    for (uint64_t i = 0, n = shuffle_below(dice, 20); n > 16 && i < n - 16; i++)
        t.path[t.n_path++] = ends[shuffle_below(dice, 4)];
    uint64_t kind = shuffle_below(dice, 8);
    if (kind < 3) frame_put_tunnel(b, number, &t);
    if (kind == 3) frame_put_u64(b, FRAME_CARRY_CREDIT, number, shuffle_u64(dice) >> shuffle_below(dice, 64));
    if (kind == 4) frame_put_fail(b, FRAME_TUNNEL_END, number, &e);
    if (kind < 5) return;
    size_t n = 1 + (size_t)shuffle_below(dice, sizeof body);
    memset(body, 0x16, n);
    frame_put_carry(head, number, (uint32_t)n);
    put(b, head, sizeof head);
    put(b, body, n);
}

static void put_one(struct buf *b, struct shuffle *dice)
{
    uint32_t stream = (uint32_t)shuffle_below(dice, 4);
    char tag[8];
    snprintf(tag, sizeof tag, "t%d", (int)shuffle_below(dice, 3));
    struct stream_key k = {
        .job = "job1", .task = "toy_0.0", .from = {ROLE_GUEST, 20000}, .to = {ROLE_HOST, 10000}};
    struct ping ping = {shuffle_u64(dice), (uint32_t)shuffle_below(dice, 5), shuffle_below(dice, 100)};
    struct opened opened = {
        .credit = shuffle_u64(dice), .last_tag = "a", .part_tag = "a", .part_bytes = shuffle_u64(dice)};
    struct err e = {.code = ERR_PEER, .msg = "hostile"};
    struct call_head call = {.id = shuffle_below(dice, 50),
                             .first = shuffle_below(dice, 3),
                             .method = "x",
                             .body = {(const uint8_t *)"{\"a\":[1,2", 9 - shuffle_below(dice, 2)}};
    switch (shuffle_below(dice, 18)) {
    case 0:
        frame_put_ping(b, &ping);
        break;
    case 1:
        frame_put_u64(b, FRAME_PONG, 0, shuffle_u64(dice));
        break;
    case 2:
        k.job[3] = (char)('1' + shuffle_below(dice, 3));
        frame_put_open(b, stream, &k, shuffle_below(dice, 2));
        break;
    case 3:
        frame_put_opened(b, stream, &opened);
        break;
    case 4:
        frame_put_ack(b, stream, tag, (uint32_t)shuffle_below(dice, 3));
        break;
    case 5:
        frame_put_u64(b, FRAME_CREDIT, stream, shuffle_u64(dice));
        break;
    case 6:
        frame_put_fail(b, FRAME_ABORT, stream, &e);
        break;
    case 7:
        frame_put_call(b, &call);
        break;
    case 8:
        frame_put_answer(b, shuffle_below(dice, 5), &e, "{}");
        break;
    case 9:
        frame_put_status(b, stream, "status", 6);
        break;
    case 10:
        frame_put_close(b, stream);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
        put_tunnel(b, dice);
        break;
    default:
        put_data(b, dice);
        break;
    }
}

/* Right frames in any order, then, mostly, with a few bytes changed. */
static void attack(struct world *w, struct shuffle *dice)
{
    struct raw r;
    CLEANUP(buf_free) struct buf b = {0};
    raw_start(&r, node_port(w->site[0].node), world_file(w, "20000.crt"), world_file(w, "20000.key"), 0);
    CHECK(world_run(w, 2000, connected, &r));
    put_hello(&b, dice);
    size_t clean = b.n;
    for (uint64_t i = 0, n = 1 + shuffle_below(dice, 60); i < n; i++)
        put_one(&b, dice);
    if (shuffle_below(dice, 3))
        for (uint64_t i = 0, n = shuffle_below(dice, 8); i < n; i++) {
            size_t at = shuffle_below(dice, 20) ? clean + (size_t)shuffle_below(dice, b.n - clean) : 0;
            b.p[at] = (uint8_t)shuffle_u64(dice);
        }
    for (size_t at = 0; at < b.n;) {
        size_t piece = 1 + (size_t)shuffle_below(dice, 8000), k;
        if (piece > b.n - at) piece = b.n - at;
        if (SSL_write_ex(r.ssl, b.p + at, piece, &k) != 1) break;
        at += k;
        if (shuffle_below(dice, 2)) world_run(w, 1, NULL, NULL);
        if (raw_step(&r)) break;
    }
    world_run(w, 3, NULL, NULL);
    raw_end(&r);
}

static bool got_more(void *arg)
{
    struct site *s = arg;
    return s->n_got > 0;
}

static void forget(struct site *s)
{
    for (struct got *g = s->got, *next; g; g = next) {
        next = g->next;
        free(g);
    }
    s->got = NULL;
    s->tail = &s->got;
    s->n_got = 0;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void any_frames(struct ctx *cx)
{
    struct world w;
    const char *s = getenv("TEST_SEED");
    struct shuffle dice = shuffle_new(s ? strtoull(s, NULL, 10) : 1);
    start_world(&w, cx);
    struct site *a = &w.site[0], *b = &w.site[1];
    size_t before = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        attack(&w, &dice);
        forget(a);
        struct message m = make_message(b, "honest", 10000, "a", i, "hello", 5);
        CHECK_OK(cx, node_send(cx, b->node, &m));
        CHECK(world_run(&w, 3000, got_more, a));
        node_reclaim(a->node, "job1", NULL);
        node_reclaim(a->node, "job2", NULL);
        node_reclaim(a->node, "job3", NULL);
        forget(a);
        if (i == ROUNDS / 2) before = heap_bytes();
    }
    size_t after = heap_bytes();
    CHECK(after < before + (2 << 20));
    world_run(&w, 50, NULL, NULL);
    CHECK(a->node->forward_used == 0 && a->node->half_open <= 1);
    struct link_state l;
    CHECK(node_link(a->node, 9999, &l) && l.up);
    world_free(&w);
}

static bool ended(void *arg)
{
    struct raw *r = arg;
    return raw_step(r);
}

/* More than its credit: the connection is cut, and the excess was not kept. */
static void beyond_its_credit(struct ctx *cx)
{
    struct world w;
    struct raw r;
    struct shuffle dice = shuffle_new(1);
    start_world(&w, cx);
    w.site[0].refuse = true;
    raw_start(&r, node_port(w.site[0].node), world_file(&w, "20000.crt"), world_file(&w, "20000.key"), 0);
    CHECK(world_run(&w, 2000, connected, &r));
    CLEANUP(buf_free) struct buf b = {0};
    struct stream_key k = {
        .job = "job1", .task = "toy_0.0", .from = {ROLE_GUEST, 20000}, .to = {ROLE_HOST, 10000}};
    put_hello(&b, &dice);
    frame_put_open(&b, 1, &k, false);
    static uint8_t body[60000];
    uint8_t head[FRAME_DATA_HEAD_MAX];
    for (uint32_t i = 0; i < 20; i++) {
        struct data_head d = {.tag = "a", .seq = i, .total = sizeof body, .bytes = sizeof body};
        put(&b, head, frame_put_data(head, 1, &d));
        put(&b, body, sizeof body);
    }
    for (size_t at = 0, n; at < b.n; at += n) {
        if (SSL_write_ex(r.ssl, b.p + at, b.n - at < 16384 ? b.n - at : 16384, &n) != 1) {
            n = 0;
            if (world_run(&w, 1, ended, &r)) break;
        }
    }
    CHECK(world_run(&w, 3000, ended, &r));
    struct link_state l;
    CHECK(node_link(w.site[0].node, 20000, &l) && !l.up && strstr(l.last_error, "more than its credit"));
    CHECK(l.bytes_in < 3 << 19);
    raw_end(&r);
    world_free(&w);
}

/* In another's name. */
static void wrong_names(struct ctx *cx)
{
    struct world w;
    struct raw r;
    struct link_state l;
    struct shuffle dice = shuffle_new(1);
    start_world(&w, cx);
    raw_start(&r, node_port(w.site[0].node), world_file(&w, "20000.crt"), world_file(&w, "20000.key"), 0);
    CHECK(world_run(&w, 2000, connected, &r));
    CLEANUP(buf_free) struct buf b = {0};
    struct stream_key k = {
        .job = "job1", .task = "toy_0.0", .from = {ROLE_GUEST, 9999}, .to = {ROLE_HOST, 10000}};
    put_hello(&b, &dice);
    frame_put_open(&b, 1, &k, false);
    CHECK(SSL_write(r.ssl, b.p, (int)b.n) == (int)b.n);
    CHECK(world_run(&w, 3000, ended, &r));
    CHECK(node_link(w.site[0].node, 20000, &l) && strstr(l.last_error, "in the name of party 9999"));
    raw_end(&r);

    struct hello h = {
        .version_min = 1, .version_max = 1, .party = 9999, .to = 10000, .window = 1, .software = "x"};
    raw_start(&r, node_port(w.site[0].node), world_file(&w, "20000.crt"), world_file(&w, "20000.key"), 0);
    CHECK(world_run(&w, 2000, connected, &r));
    buf_reset(&b);
    frame_put_hello(&b, &h);
    CHECK(SSL_write(r.ssl, b.p, (int)b.n) == (int)b.n);
    CHECK(world_run(&w, 3000, ended, &r));
    CHECK(node_link(w.site[0].node, 20000, &l) && strstr(l.last_error, "the certificates say 20000"));
    CHECK(node_link(w.site[0].node, 9999, &l) && l.up);
    raw_end(&r);
    world_free(&w);
}

/* It asks and asks and never reads an answer. */
static void asks_and_does_not_read(struct ctx *cx)
{
    struct world w;
    struct raw r;
    struct shuffle dice = shuffle_new(1);
    start_world(&w, cx);
    raw_start(&r, node_port(w.site[0].node), world_file(&w, "20000.crt"), world_file(&w, "20000.key"), 0);
    CHECK(world_run(&w, 2000, connected, &r));
    CLEANUP(buf_free) struct buf b = {0};
    put_hello(&b, &dice);
    CHECK(SSL_write(r.ssl, b.p, (int)b.n) == (int)b.n);
    world_run(&w, 20, NULL, NULL);
    size_t before = heap_bytes(), sent = 0;
    static char body[200000];
    memset(body, 'x', sizeof body);
    memcpy(body, "{\"a\":\"", 6);
    memcpy(body + sizeof body - 2, "\"}", 2);
    for (uint64_t id = 1; id < 2000; id++) {
        struct call_head c = {.id = id,
                              .first = id,
                              .deadline_ms = 1000,
                              .method = "echo",
                              .body = {(uint8_t *)body, sizeof body}};
        buf_reset(&b);
        frame_put_call(&b, &c);
        for (size_t at = 0, n, idle = 0; at < b.n && idle < 20; at += n) {
            if (SSL_write_ex(r.ssl, b.p + at, b.n - at < 16384 ? b.n - at : 16384, &n) == 1) continue;
            n = 0;
            idle++;
            world_run(&w, 2, NULL, NULL);
            if (idle == 20) id = 2000; /* it does not take any more */
        }
        sent += b.n;
    }
    CHECK(sent < 200 << 20);
    CHECK(heap_bytes() < before + (48 << 20));
    raw_end(&r);
    world_free(&w);
}

TEST_MAIN(T(any_frames), T(beyond_its_credit), T(wrong_names), T(asks_and_does_not_read))
