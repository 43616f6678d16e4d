#include "rogue.h"
#include <stdlib.h>
#include <string.h>

enum { NEEDLE = 16 };

static void dial(struct rogue *r, int e)
{
    char name[32];
    struct rogue_end *x = &r->end[e];
    snprintf(name, sizeof name, "%u", r->party);
    raw_start(&x->raw, x->port, world_file(r->w, "%s.crt", name), world_file(r->w, "%s.key", name), 0);
    SSL_set_mode(x->raw.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    buf_reset(&x->in);
    buf_reset(&x->out);
    x->sent = 0;
    x->hello = false;
    x->next = 2; /* ours is the higher party id */
    r->dials++;
}

void rogue_start(struct rogue *r, struct world *w, uint32_t party)
{
    *r = (struct rogue){.w = w, .party = party};
    world_keys(w, party);
    for (int e = 0; e < 2; e++) {
        r->end[e].port = node_port(w->site[e].node);
        r->end[e].party = w->site[e].config.party;
        dial(r, e);
    }
}

void rogue_stop(struct rogue *r)
{
    for (int e = 0; e < 2; e++) {
        raw_end(&r->end[e].raw);
        buf_free(&r->end[e].in);
        buf_free(&r->end[e].out);
    }
    buf_free(&r->held);
    buf_free(&r->old);
}

static void put_number(uint8_t *frame, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        frame[4 + i] = (uint8_t)(number >> (8 * i));
}

static void send_frame(struct rogue *r, int e, uint32_t number, const uint8_t *p, size_t n)
{
    struct buf *b = &r->end[e].out;
    size_t at = b->n;
    buf_put(b, p, n);
    if (!b->bad) put_number(b->p + at, number);
}

static void say_end(struct rogue *r, int e, uint32_t number, const char *text)
{
    struct err why = {.code = ERR_PEER};
    snprintf(why.msg, sizeof why.msg, "%s", text);
    frame_put_fail(&r->end[e].out, FRAME_TUNNEL_END, number, &why);
}

static void drop_pair(struct rogue *r, size_t i)
{
    r->pair[i] = r->pair[--r->n_pairs];
}

static void lost(struct rogue *r, int e)
{
    raw_end(&r->end[e].raw);
    dial(r, e);
    while (r->n_pairs) {
        say_end(r, 1 - e, r->pair[0].number[1 - e], "the other side is gone");
        drop_pair(r, 0);
    }
}

static void look(struct rogue *r, const uint8_t *p, size_t n)
{
    r->pieces++;
    if (r->needle && memmem(p, n, r->needle, NEEDLE)) r->n_needle++;
}

static void keep(struct buf *b, const uint8_t *p, size_t n)
{
    buf_reset(b);
    buf_put(b, p, n);
}

/* A piece on its way from end e, with the fault that is wanted. */
static void carry(struct rogue *r, int e, size_t pair, const uint8_t *p, size_t n)
{
    int to = 1 - e;
    uint32_t number = r->pair[pair].number[to];
    enum rogue_fault f = r->fault;
    CLEANUP(buf_free) struct buf b = {0};
    look(r, p + FRAME_HEAD, n - FRAME_HEAD);
    if (f == ROGUE_SWALLOW) return;
    if (r->held.n && r->held_for == to) { /* the second of two */
        send_frame(r, to, number, p, n);
        send_frame(r, to, number, r->held.p, r->held.n);
        buf_reset(&r->held);
        return;
    }
    if (f != ROGUE_HONEST && (f != ROGUE_OLD || r->old.n)) {
        r->fault = ROGUE_HONEST;
        r->faults++;
    }
    buf_put(&b, p, n);
    if (f == ROGUE_ALTER) b.p[FRAME_HEAD + (n - FRAME_HEAD) / 2] ^= 1;
    if (f == ROGUE_FORGE) memset(b.p + FRAME_HEAD, 0x17, n - FRAME_HEAD);
    if (f == ROGUE_DROP) return;
    if (f == ROGUE_SWAP) {
        keep(&r->held, p, n);
        r->held_for = to;
        return;
    }
    if (f == ROGUE_END) {
        say_end(r, to, number, "no reason");
        say_end(r, e, r->pair[pair].number[e], "no reason");
        drop_pair(r, pair);
        return;
    }
    send_frame(r, to, number, b.p, b.n);
    if (f == ROGUE_REPEAT) send_frame(r, to, number, b.p, b.n);
    if (f == ROGUE_OLD && r->old.n) send_frame(r, to, number, r->old.p, r->old.n);
    if (f == ROGUE_HONEST && r->pieces % 5 == 4) keep(&r->old, p, n);
}

static void tunnel(struct rogue *r, int e, uint32_t number, struct bytes body)
{
    struct ctx cx = {0};
    struct tunnel_head t;
    if (frame_parse_tunnel(&cx, body, &t).code || r->n_pairs == LEN(r->pair)) abort();
    r->pair[r->n_pairs].number[e] = number;
    r->pair[r->n_pairs].number[1 - e] = r->end[1 - e].next;
    t.path[t.n_path++] = r->party;
    frame_put_tunnel(&r->end[1 - e].out, r->end[1 - e].next, &t);
    r->end[1 - e].next += 2;
    r->n_pairs++;
    r->tunnels++;
    buf_reset(&r->held);
    buf_reset(&r->old);
}

static void frame(struct rogue *r, int e, const struct frame_head *h, const uint8_t *p, size_t n)
{
    struct ctx cx = {0};
    struct ping ping;
    struct bytes body = {p + FRAME_HEAD, n - FRAME_HEAD};
    if (h->type == FRAME_PING && !frame_parse_ping(&cx, body, &ping).code)
        frame_put_u64(&r->end[e].out, FRAME_PONG, 0, ping.stamp_us);
    if (h->type == FRAME_TUNNEL) tunnel(r, e, h->stream, body);
    for (size_t i = 0; i < r->n_pairs; i++) {
        if (r->pair[i].number[e] != h->stream) continue;
        if (h->type == FRAME_CARRY) carry(r, e, i, p, n);
        if (h->type == FRAME_CARRY_CREDIT || h->type == FRAME_TUNNEL_END)
            send_frame(r, 1 - e, r->pair[i].number[1 - e], p, n);
        if (h->type == FRAME_TUNNEL_END) drop_pair(r, i);
        return;
    }
}

static void frames(struct rogue *r, int e)
{
    struct ctx cx = {0};
    struct buf *b = &r->end[e].in;
    struct frame_head h;
    size_t at = 0;
    while (b->n - at >= FRAME_HEAD) {
        if (frame_parse_head(&cx, b->p + at, 0, &h).code) abort();
        size_t n = FRAME_HEAD + (size_t)h.length;
        if (b->n - at < n) break;
        frame(r, e, &h, b->p + at, n);
        at += n;
    }
    memmove(b->p, b->p + at, b->n - at);
    b->n -= at;
}

static void hello(struct rogue *r, struct rogue_end *x)
{
    struct hello h = {.version_min = 1,
                      .version_max = 1,
                      .party = r->party,
                      .to = x->party,
                      .features = FEATURE_TUNNEL,
                      .connection = 1,
                      .window = 1 << 20,
                      .heartbeat_ms = 1000,
                      .software = "rogue"};
    memset(h.instance, 7, sizeof h.instance);
    frame_put_hello(&x->out, &h);
    x->hello = true;
}

static void step(struct rogue *r, int e)
{
    struct rogue_end *x = &r->end[e];
    size_t k;
    if (!x->raw.connected) raw_step(&x->raw);
    if (x->raw.done) {
        lost(r, e);
        return;
    }
    if (!x->raw.connected) return;
    if (!x->hello) hello(r, x);
    for (int i = 0; i < 64; i++) {
        uint8_t *p = buf_grow(&x->in, 16384);
        x->in.n -= 16384;
        int ok = SSL_read_ex(x->raw.ssl, p, 16384, &k);
        if (ok == 1) x->in.n += k;
        if (ok == 1) continue;
        int error = SSL_get_error(x->raw.ssl, ok);
        ERR_clear_error();
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) x->raw.done = true;
        break;
    }
    frames(r, e);
}

static void flush(struct rogue_end *x)
{
    size_t k;
    while (x->raw.connected && !x->raw.done && x->sent < x->out.n &&
           SSL_write_ex(x->raw.ssl, x->out.p + x->sent, x->out.n - x->sent, &k) == 1)
        x->sent += k;
    ERR_clear_error();
    if (x->sent < x->out.n) return;
    buf_reset(&x->out);
    x->sent = 0;
}

void rogue_step(struct rogue *r)
{
    step(r, 0);
    step(r, 1);
    flush(&r->end[0]);
    flush(&r->end[1]);
}
