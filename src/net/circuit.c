/* circuit.c - connections through a third site, the exchange.
 *
 * A circuit is one end, on one hop (a link to the exchange or from it), of a pipe of bytes. At the two parties a conn
 * runs in it as it would on a socket, with a TLS session of its own; the exchange joins two circuits and copies bytes
 * that it cannot read. Each receiver gives credit, so nobody holds more than a window; the exchange fits its window to what the
 * next hop carries (enough to keep it busy, not more than QUEUE_MS of waiting behind it). */
#include "net/node_int.h"
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    WINDOW_MIN = 64 << 10,
    WINDOW_MAX = 4 << 20,
    WINDOW_END = 2 << 20, /* of a circuit that ends here: its conn reads at once */
    COMPACT = 64 << 10,
    CHUNK_MIN = 1024,
    LOOK_MS = 200,
    QUEUE_MS = 300,
};

static size_t waiting(const struct circuit *k)
{
    return k->out.n - k->out_sent;
}

static struct circuit *by_number(struct link *hop, uint32_t number)
{
    for (struct circuit *k = hop->circuits; k; k = k->next)
        if (k->number == number) return k;
    return NULL;
}

/* --- life --- */

static struct circuit *make(struct link *hop, uint32_t number, uint64_t window)
{
    struct circuit *k = slab_get(&hop->n->circuit_slab);
    if (!k) return NULL;
    *k = (struct circuit){.next = hop->circuits,
                          .hop = hop,
                          .number = number,
                          .window = window,
                          .out_limit = TLS_OUT_BYTES,
                          .look_ms = clock_ms(),
                          .dry = true};
    hop->circuits = k;
    hop->n_circuits++;
    return k;
}

static void unready(struct circuit *k)
{
    struct circuit **p = &k->hop->circuits_ready;
    if (!k->ready) return;
    while (*p != k)
        p = &(*p)->next_ready;
    *p = k->next_ready;
    k->ready = false;
}

static void set_window(struct circuit *k, uint64_t window)
{
    struct node *n = k->hop->n;
    if (k->reserved) n->forward_used += 2 * window - 2 * k->window;
    k->window = window;
}

static void free_now(struct circuit *k)
{
    struct link *hop = k->hop;
    struct circuit **p = &hop->circuits;
    unready(k);
    while (*p != k)
        p = &(*p)->next;
    *p = k->next;
    hop->n_circuits--;
    loop_cancel(hop->n->loop, k->linger);
    set_window(k, 0);
    if (k->other) k->other->other = NULL;
    if (k->conn) k->conn->circuit = NULL;
    buf_free(&k->in);
    buf_free(&k->out);
    slab_put(&hop->n->circuit_slab, k);
}

/* To the back of the queue, so that circuits take turns. */
static void make_ready(struct circuit *k)
{
    struct circuit **p = &k->hop->circuits_ready;
    if (k->ready || !k->hop->up || !waiting(k) || !k->credit) return;
    while (*p)
        p = &(*p)->next_ready;
    *p = k;
    k->next_ready = NULL;
    k->ready = true;
    node_later(k->hop->n);
}

static void say_end(struct link *hop, uint32_t number, const struct err *why)
{
    if (!hop->up) return;
    frame_put_fail(&hop->up->ctl, FRAME_TUNNEL_END, number, why);
    node_later(hop->n);
}

static void finish(struct circuit *k)
{
    say_end(k->hop, k->number, &k->why);
    free_now(k);
}

static void linger_over(struct loop *loop, void *arg)
{
    (void)loop;
    struct circuit *k = arg;
    k->linger = NULL;
    finish(k);
}

/* Nothing more goes into it: what waits still goes out, then the reason. k may be gone afterwards. */
static void end(struct circuit *k, const struct err *why)
{
    if (k->ending) return;
    k->ending = true;
    if (k->eof || !k->hop->up) {
        free_now(k);
        return;
    }
    k->why = *why;
    k->linger = waiting(k) ? loop_after(k->hop->n->loop, k->hop->n->config.dial_ms, linger_over, k) : NULL;
    if (!k->linger) finish(k);
}

static struct err reason(enum err_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static struct err reason(enum err_code code, const char *fmt, ...)
{
    struct err e = {.code = code, .file = __FILE__, .line = __LINE__};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.msg, sizeof e.msg, fmt, ap);
    va_end(ap);
    return e;
}

/* --- credit --- */

static void give_credit(struct circuit *k)
{
    struct conn *c = k->hop->up;
    uint64_t target = k->passed + k->window;
    if (!c || k->ending || target <= k->granted || target - k->granted < k->window / 4) return;
    frame_put_u64(&c->ctl, FRAME_CARRY_CREDIT, k->number, target - k->granted);
    k->granted = target;
    node_later(k->hop->n);
}

/* A forwarded circuit's window: doubled when the sender had to wait for credit while the next hop was idle, cut down to
 * QUEUE_MS of what the next hop takes when that was never idle. */
static void fit_window(struct circuit *k)
{
    struct node *n = k->hop->n;
    uint64_t now = clock_ms(), ms = now - k->look_ms;
    if (ms < LOOK_MS) return;
    uint64_t fits = (k->passed - k->look_passed) * QUEUE_MS / ms;
    if (fits < WINDOW_MIN) fits = WINDOW_MIN;
    if (k->pinched && k->dry) {
        uint64_t twice = 2 * k->window < WINDOW_MAX ? 2 * k->window : WINDOW_MAX;
        if (n->forward_used + 2 * (twice - k->window) <= n->config.forward_bytes) set_window(k, twice);
    } else if (!k->dry && fits < k->window) {
        set_window(k, fits);
    }
    k->look_ms = now;
    k->look_passed = k->passed;
    k->pinched = false;
    k->dry = !k->other || !waiting(k->other);
}

/* --- as a socket, for the conn that runs in it --- */

static ssize_t wire_recv(void *arg, void *p, size_t n)
{
    struct conn *c = arg;
    struct circuit *k = c->circuit;
    size_t have = k ? k->in.n - k->in_used : 0;
    if (!k || (!have && k->eof)) return 0;
    if (!have) {
        errno = EAGAIN;
        return -1;
    }
    if (n > have) n = have;
    memcpy(p, k->in.p + k->in_used, n);
    k->in_used += n;
    if (n == have) {
        buf_reset(&k->in);
        k->in_used = 0;
    } else if (k->in_used > COMPACT && k->in_used >= k->in.n / 2) {
        memmove(k->in.p, k->in.p + k->in_used, have - n);
        k->in.n = have - n;
        k->in_used = 0;
    }
    k->passed += n;
    give_credit(k);
    return (ssize_t)n;
}

static ssize_t wire_send(void *arg, const void *p, size_t n)
{
    struct conn *c = arg;
    struct circuit *k = c->circuit;
    if (!k || k->eof) {
        errno = EPIPE;
        return -1;
    }
    size_t room = waiting(k) < k->out_limit ? k->out_limit - waiting(k) : 0;
    if (n > room) n = room;
    if (n) buf_put(&k->out, p, n);
    errno = k->out.bad ? ENOMEM : EAGAIN;
    if (!n || k->out.bad) return -1;
    make_ready(k);
    return (ssize_t)n;
}

struct tls_wire circuit_wire(struct conn *c)
{
    return (struct tls_wire){wire_recv, wire_send, c};
}

void circuit_set_unsent(struct conn *c, size_t bytes)
{
    c->circuit->out_limit = bytes;
}

void circuit_hang_up(struct conn *c)
{
    struct circuit *k = c->circuit;
    if (!k) return;
    c->circuit = NULL;
    k->conn = NULL;
    struct err e = reason(ERR_CANCELLED, "party %u has closed the tunnel", c->n->config.party);
    end(k, &e);
}

const struct err *circuit_why(const struct conn *c)
{
    return c->circuit && c->circuit->eof ? &c->circuit->why : NULL;
}

/* --- sending on the hop --- */

/* k has sent so many bytes. */
static void passed_on(struct circuit *k, size_t n)
{
    k->credit -= n;
    k->out_sent += n;
    size_t left = waiting(k);
    if (!left || (k->out_sent > COMPACT && k->out_sent >= k->out.n / 2)) {
        if (left) memmove(k->out.p, k->out.p + k->out_sent, left);
        k->out.n = left;
        k->out_sent = 0;
    }
    if (k->other) {
        k->other->passed += n;
        k->other->dry = k->other->dry || !left;
        fit_window(k->other);
        give_credit(k->other);
    }
    if (k->conn && left < k->out_limit) conn_wake(k->conn, EPOLLOUT);
}

bool circuit_next(struct conn *c)
{
    size_t room = TLS_RECORD - c->record.n;
    struct circuit *k = c->link->circuits_ready;
    if (!k || room < FRAME_HEAD + CHUNK_MIN) return false;
    unready(k);
    size_t n = waiting(k) < room - FRAME_HEAD ? waiting(k) : room - FRAME_HEAD;
    if (n > k->credit) n = (size_t)k->credit;
    uint8_t *p = buf_grow(&c->record, FRAME_HEAD + n);
    if (!p) return false;
    frame_put_carry(p, k->number, (uint32_t)n);
    memcpy(p + FRAME_HEAD, k->out.p + k->out_sent, n);
    c->moved = true;
    passed_on(k, n);
    if (k->ending && !waiting(k))
        finish(k);
    else
        make_ready(k);
    return true;
}

/* --- dialling --- */

static status dial(struct ctx *cx, struct link *l, struct link *hop)
{
    struct node *n = l->n;
    uint32_t via = l->peer.via;
    struct conn *c;
    if (!hop || !hop->up)
        return FAIL(cx, PEER, "the link to exchange %u is down: %.300s", via,
                    hop && hop->state.last_error[0] ? hop->state.last_error : "dialling");
    if (!(hop->up->features & FEATURE_TUNNEL))
        return FAIL(cx, UNSUPPORTED, "exchange %u (%s) is of a version that carries no tunnels", via,
                    hop->state.peer_version);
    if (hop->n_circuits >= CIRCUITS_MAX) return FAIL(cx, LIMIT, "%d tunnels through %u", CIRCUITS_MAX, via);
    struct circuit *k = make(hop, hop->next_circuit, WINDOW_END);
    if (!k) return FAIL(cx, NOMEM, "tunnel");
    status st = conn_new(cx, n, -1, true, l, &c);
    if (st.code) {
        free_now(k);
        return st;
    }
    hop->next_circuit += 2;
    c->circuit = k;
    k->conn = l->dialling = c;
    snprintf(c->address, sizeof c->address, "party %u through exchange %u", l->peer.party, via);
    struct tunnel_head t = {.from = n->config.party, .to = l->peer.party};
    frame_put_tunnel(&hop->up->ctl, k->number, &t);
    give_credit(k);
    node_later(n);
    return OK;
}

void circuit_dial(struct link *l)
{
    struct ctx *cx = &l->n->cx;
    status st = dial(cx, l, node_find_link(l->n, l->peer.via));
    if (st.code) link_dial_failed(l, &cx->err);
}

/* --- the other end, and the exchange --- */

static status accept_here(struct ctx *cx, struct link *hop, uint32_t number, const struct tunnel_head *t)
{
    struct node *n = hop->n;
    struct conn *c;
    if (n->half_open >= HALF_OPEN_MAX) {
        struct err e = reason(ERR_LIMIT, "party %u has %zu strangers at the door", t->to, n->half_open);
        say_end(hop, number, &e);
        return OK;
    }
    struct circuit *k = make(hop, number, WINDOW_END);
    if (!k) return FAIL(cx, NOMEM, "tunnel");
    status st = conn_new(cx, n, -1, false, NULL, &c);
    if (st.code) {
        free_now(k);
        return st;
    }
    n->half_open++;
    c->circuit = k;
    k->conn = c;
    c->announced = t->from;
    snprintf(c->address, sizeof c->address, "party %u through exchange %u", t->from, hop->peer.party);
    give_credit(k);
    st = conn_start_tls(cx, c);
    if (st.code) conn_close(c, &cx->err);
    return OK;
}

/* Whose link leads to that party from here; NULL: nobody's. */
static struct link *next_hop(struct node *n, uint32_t party)
{
    struct link *l = node_find_link(n, party);
    if (l && !l->peer.via) return l;
    uint32_t via = l ? l->peer.via : n->config.default_via;
    return via ? node_find_link(n, via) : NULL;
}

static struct err may_forward(struct link *hop, const struct tunnel_head *t, struct link *next)
{
    struct node *n = hop->n;
    uint32_t me = n->config.party;
    uint64_t need = UINT64_C(4) * WINDOW_MIN;
    bool again = t->from == me;
    for (size_t i = 0; i < t->n_path; i++)
        again = again || t->path[i] == me;
    if (again)
        return reason(ERR_PROTO, "routing loop: exchange %u is asked a second time for party %u", me, t->to);
    if (!n->config.forward_bytes)
        return reason(ERR_NOTFOUND, "party %u does not forward to party %u", me, t->to);
    if (t->n_path == TUNNEL_PATH_MAX)
        return reason(ERR_LIMIT, "exchange %u: party %u is more than %d sites away", me, t->to,
                      TUNNEL_PATH_MAX);
    if (!next) return reason(ERR_NOTFOUND, "exchange %u knows no way to party %u", me, t->to);
    if (next == hop)
        return reason(ERR_PROTO, "routing loop: exchange %u reaches party %u only through party %u", me,
                      t->to, hop->peer.party);
    if (!next->up && next->peer.party == t->to)
        return reason(ERR_PEER, "exchange %u has no link to party %u", me, t->to);
    if (!next->up)
        return reason(ERR_PEER, "exchange %u has no link to exchange %u, the way to party %u", me,
                      next->peer.party, t->to);
    if (!(next->up->features & FEATURE_TUNNEL))
        return reason(ERR_UNSUPPORTED, "exchange %u: party %u (%s) is of a version that takes no tunnels", me,
                      next->peer.party, next->state.peer_version);
    if (hop->n_circuits >= CIRCUITS_MAX || next->n_circuits >= CIRCUITS_MAX ||
        n->forward_used + need > n->config.forward_bytes)
        return reason(ERR_LIMIT, "exchange %u is full: no memory for a tunnel from %u to %u", me, t->from,
                      t->to);
    return (struct err){0};
}

static status forward(struct ctx *cx, struct link *hop, uint32_t number, const struct tunnel_head *t)
{
    struct node *n = hop->n;
    struct link *next = next_hop(n, t->to);
    struct err e = may_forward(hop, t, next);
    struct circuit *in = e.code ? NULL : make(hop, number, 0), *out = NULL;
    if (in) out = make(next, next->next_circuit, 0);
    if (!out) {
        if (!e.code) e = reason(ERR_NOMEM, "exchange %u is out of memory", n->config.party);
        if (in) free_now(in);
        log_warn(&n->cx, "tunnel refused", KV("from", t->from), KV("to", t->to),
                 KV("reason", (const char *)e.msg));
        say_end(hop, number, &e);
        return OK;
    }
    (void)cx;
    next->next_circuit += 2;
    in->other = out;
    out->other = in;
    in->reserved = out->reserved = true;
    set_window(in, WINDOW_MIN);
    set_window(out, WINDOW_MIN);
    struct tunnel_head on = *t;
    on.path[on.n_path++] = n->config.party;
    frame_put_tunnel(&next->up->ctl, out->number, &on);
    give_credit(in);
    give_credit(out);
    log_info(&n->cx, "tunnel", KV("from", t->from), KV("to", t->to));
    node_later(n);
    return OK;
}

static status on_tunnel(struct ctx *cx, struct link *hop, uint32_t number, struct bytes body)
{
    struct tunnel_head t;
    TRY(frame_parse_tunnel(cx, body, &t));
    bool odd = hop->peer.party < hop->n->config.party;
    if (number % 2 != odd || number <= hop->peer_circuit)
        return FAIL(cx, PROTO, "tunnel of number %u, the last was %u", number, hop->peer_circuit);
    uint32_t last = t.n_path ? t.path[t.n_path - 1] : t.from;
    if (last != hop->peer.party)
        return FAIL(cx, AUTH, "party %u opens a tunnel in the name of party %u", hop->peer.party, last);
    hop->peer_circuit = number;
    return t.to == hop->n->config.party ? accept_here(cx, hop, number, &t) : forward(cx, hop, number, &t);
}

/* --- frames of the hop --- */

static status on_carry(struct ctx *cx, struct link *hop, struct circuit *k, struct bytes body)
{
    if (!body.n) return FAIL(cx, PROTO, "tunnel %u carries an empty piece", k->number);
    k->got += body.n;
    if (k->got > k->granted) return FAIL(cx, PROTO, "tunnel %u has sent more than its credit", k->number);
    hop->up->moved = true;
    if (k->conn) {
        buf_put(&k->in, body.p, body.n);
        if (k->in.bad) return FAIL(cx, NOMEM, "bytes of a tunnel");
        conn_wake(k->conn, EPOLLIN);
    } else if (k->other) {
        buf_put(&k->other->out, body.p, body.n);
        if (k->other->out.bad) return FAIL(cx, NOMEM, "bytes of a tunnel");
        k->pinched = k->pinched || k->got == k->granted;
        make_ready(k->other);
    }
    return OK;
}

static status on_credit(struct ctx *cx, struct circuit *k, struct bytes body)
{
    uint64_t x;
    TRY(frame_parse_u64(cx, body, &x));
    if (x > INT32_MAX) x = INT32_MAX;
    if (k->credit < INT64_MAX / 2) k->credit += x;
    make_ready(k);
    if (k->conn && k->conn->state == CONN_CONNECTING) conn_wake(k->conn, EPOLLOUT);
    return OK;
}

static status on_end(struct ctx *cx, struct circuit *k, struct bytes body)
{
    struct err e;
    TRY(frame_parse_fail(cx, body, &e));
    if (k->conn) {
        struct conn *c = k->conn;
        k->eof = true;
        k->why = e;
        if (c->state == CONN_CONNECTING)
            conn_close(c, &e);
        else
            conn_wake(c, EPOLLIN);
        return OK;
    }
    struct circuit *other = k->other;
    free_now(k);
    if (other) end(other, &e);
    return OK;
}

status circuit_frame(struct ctx *cx, struct conn *c, const struct frame_head *h, struct bytes body)
{
    struct link *hop = c->link;
    if (!(c->features & FEATURE_TUNNEL))
        return FAIL(cx, PROTO, "frame of type %d, which was not agreed on", (int)h->type);
    if (h->type == FRAME_TUNNEL) return on_tunnel(cx, hop, h->stream, body);
    struct circuit *k = by_number(hop, h->stream);
    if (!k || k->eof) return OK; /* it has ended here while that was under way */
    if (h->type == FRAME_CARRY) return on_carry(cx, hop, k, body);
    if (h->type == FRAME_CARRY_CREDIT) return on_credit(cx, k, body);
    return on_end(cx, k, body);
}

/* --- the hop comes and goes --- */

void circuit_hop_up(struct link *hop)
{
    struct node *n = hop->n;
    for (size_t i = 0; i < n->n_links; i++)
        if (n->links[i].peer.via == hop->peer.party) link_dial_soon(&n->links[i]);
}

void circuit_hop_lost(struct link *hop)
{
    uint32_t me = hop->n->config.party, party = hop->peer.party;
    hop->peer_circuit = 0;
    while (hop->circuits) {
        struct circuit *k = hop->circuits, *other = k->other;
        struct conn *c = k->conn;
        free_now(k);
        struct err e = c ? reason(ERR_IO, "the link to exchange %u was cut", party)
                         : reason(ERR_PEER, "exchange %u has lost its link to party %u", me, party);
        if (c) conn_close(c, &e);
        if (other) end(other, &e);
    }
}
