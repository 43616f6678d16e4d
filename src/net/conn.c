/* conn.c - one TLS connection: bytes in become frames, waiting frames become bytes. */
#include "net/node_int.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_WINDOW_MS = 10, RATE_WINDOW_MS = 200, RATE_TARGET_MS = 30, FIRST_PIECE = 32 * 1024 };

static void on_socket(struct loop *loop, int fd, uint32_t events, void *arg);

/* --- life --- */

static void handshake_late(struct loop *loop, void *arg)
{
    (void)loop;
    struct conn *c = arg;
    struct ctx *cx = &c->n->cx;
    c->deadline = NULL;
    static const char *const doing[] = {"connecting to", "the TLS handshake with", "the hello of",
                                        "the agreement on a connection with"};
    status st = FAIL(cx, TIMEOUT, "%s %s took more than %llu ms",
                     doing[c->state <= CONN_WELCOME ? c->state : CONN_WELCOME], c->address,
                     (unsigned long long)c->n->config.dial_ms);
    (void)st;
    conn_close(c, &cx->err);
}

status conn_new(struct ctx *cx, struct node *n, int fd, bool dialled, struct link *l, struct conn **out)
{
    struct conn *c = slab_get(&n->conn_slab);
    if (!c) return FAIL(cx, NOMEM, "connection");
    *c = (struct conn){
        .n = n, .fd = fd, .dialled = dialled, .link = l, .epoll = EPOLLIN, .opened_ms = clock_ms()};
    c->heard_ms = c->opened_ms;
    c->state = dialled ? CONN_CONNECTING : CONN_TLS;
    c->record.max = TLS_RECORD * (size_t)2;
    c->piece = FIRST_PIECE;
    c->rate_ms = c->opened_ms;
    if (dialled) c->epoll = EPOLLOUT;
    c->deadline = loop_after(n->loop, n->config.dial_ms, handshake_late, c);
    status st = OK;
    if (!c->deadline)
        st = FAIL(cx, NOMEM, "connection");
    else if (fd >= 0)
        st = loop_add(cx, n->loop, fd, c->epoll, on_socket, c);
    if (st.code) {
        loop_cancel(n->loop, c->deadline);
        slab_put(&n->conn_slab, c);
        return st;
    }
    c->next = n->conns;
    n->conns = c;
    *out = c;
    return OK;
}

static void set_piece(struct conn *c, size_t piece)
{
    c->piece = piece;
    tls_set_out_limit(c->tls, piece < FRAME_PIECE ? piece : TLS_OUT_BYTES);
    if (c->circuit)
        circuit_set_unsent(c, piece < FRAME_PIECE ? piece : TLS_OUT_BYTES);
    else if (c->fd >= 0)
        dial_tune_unsent(c->fd, piece < FRAME_PIECE ? (int)piece : DIAL_UNSENT_BYTES);
}

/* Those of our settings; and through the default route's exchange whom it says it brings. */
static bool allow_party(void *arg, uint32_t party)
{
    struct conn *c = arg;
    struct node *n = c->n;
    if (c->announced && c->announced != party) return false;
    if (party != n->config.party && node_find_link(n, party)) return true;
    return c->announced && n->config.default_via && n->n_links < n->links_max;
}

status conn_start_tls(struct ctx *cx, struct conn *c)
{
    struct tls_peer who = {.allow = allow_party, .arg = c};
    struct tls_wire wire = circuit_wire(c);
    if (c->dialled) who.expect = c->link->peer.party;
    c->state = CONN_TLS;
    TRY(tls_new(cx, node_tls(c->n), c->fd, c->circuit ? &wire : NULL, &who, &c->tls));
    set_piece(c, FIRST_PIECE);
    return OK;
}

void conn_count_wire(struct conn *c)
{
    uint64_t in, out;
    if (!c->tls || !c->link) return;
    tls_wire_bytes(c->tls, &in, &out);
    c->link->state.bytes_in += in - c->wire_in;
    c->link->state.bytes_out += out - c->wire_out;
    c->wire_in = in;
    c->wire_out = out;
}

void conn_close(struct conn *c, const struct err *why)
{
    struct node *n = c->n;
    assert(n);
    if (c->state == CONN_DEAD) return;
    struct err kept = why ? *why : (struct err){0}; /* it may lie in n->cx */
    if (c->tls) tls_goodbye(c->tls, !why);
    conn_count_wire(c);
    c->state = CONN_DEAD;
    loop_cancel(n->loop, c->deadline);
    loop_cancel(n->loop, c->again);
    c->deadline = c->again = NULL;
    circuit_hang_up(c);
    if (c->fd >= 0) {
        loop_del(n->loop, c->fd);
        close(c->fd);
    }
    for (struct conn **p = &n->conns; *p; p = &(*p)->next) {
        if (*p != c) continue;
        *p = c->next;
        break;
    }
    if (!c->link) n->half_open--;
    c->next = n->dead_conns;
    n->dead_conns = c;
    node_later(n);
    link_lost(c, why ? &kept : NULL);
}

void conn_free_dead(struct node *n)
{
    struct conn *c = n->dead_conns, *next;
    n->dead_conns = NULL;
    for (; c; c = next) {
        next = c->next;
        tls_free(c->tls);
        buf_free(&c->ctl);
        buf_free(&c->record);
        buf_free(&c->rx);
        slab_put(&n->conn_slab, c);
    }
}

static void watch(struct conn *c, uint32_t events)
{
    if (c->epoll == events || c->state == CONN_DEAD) return;
    if (c->fd < 0) {
        c->epoll = events;
        return;
    }
    struct ctx *cx = &c->n->cx;
    status st = loop_mod(cx, c->n->loop, c->fd, events);
    if (st.code) {
        conn_close(c, &cx->err);
        return;
    }
    c->epoll = events;
}

static void run_again(struct loop *loop, void *arg)
{
    struct conn *c = arg;
    c->again = NULL;
    on_socket(loop, c->fd, EPOLLIN, c);
}

static void turn_over(struct conn *c)
{
    if (!c->again) c->again = loop_after(c->n->loop, 0, run_again, c);
}

void conn_wake(struct conn *c, uint32_t events)
{
    if (c->epoll & events) turn_over(c);
}

static void rewatch(struct conn *c)
{
    bool stuck = c->ctl.n - c->ctl_sent > CTL_MAX; /* it asks and asks, and does not read the answers */
    bool write = c->tls && tls_unsent(c->tls);
    if (!stuck && !(c->epoll & EPOLLIN))
        turn_over(c); /* decrypted bytes may wait that epoll knows nothing of */
    watch(c, (stuck ? 0u : (uint32_t)EPOLLIN) | (write ? (uint32_t)EPOLLOUT : 0u));
}

/* --- sending --- */

static void take_control(struct conn *c, size_t room)
{
    size_t left = c->ctl.n - c->ctl_sent, k = left < room ? left : room;
    buf_put(&c->record, c->ctl.p + c->ctl_sent, k);
    c->ctl_sent += k;
    if (c->ctl_sent < c->ctl.n / 2 || (c->ctl_sent < c->ctl.n && c->ctl_sent < TLS_RECORD)) return;
    left -= k;
    if (left) memmove(c->ctl.p, c->ctl.p + c->ctl_sent, left);
    c->ctl.n = left;
    c->ctl_sent = 0;
}

/* A data frame of a stream, or a piece of a circuit, by turns. */
static bool next_bulk(struct conn *c)
{
    if (pace_waits(c->link)) return false;
    c->carry_turn = !c->carry_turn;
    if (c->carry_turn) return circuit_next(c) || stream_out_next(c);
    return stream_out_next(c) || circuit_next(c);
}

/* Fills c->record with what goes next: the rest of a data frame, control frames, a new data frame. */
static void fill_record(struct conn *c)
{
    while (c->record.n < TLS_RECORD && !c->record.bad) {
        size_t room = TLS_RECORD - c->record.n, k;
        if (c->tx) {
            const struct parcel *p = c->tx->sending;
            if (!c->record.n && c->tx_left >= TLS_RECORD) return; /* straight from the payload */
            k = c->tx_left < room ? c->tx_left : room;
            if (k) buf_put(&c->record, p->payload.p + c->tx->offset, k);
            c->tx->offset += k;
            c->tx_left -= k;
            if (!c->tx_left) stream_out_piece_done(c);
        } else if (c->ctl_sent < c->ctl.n) {
            take_control(c, room);
        } else if (c->state != CONN_UP || room < FRAME_DATA_HEAD_MAX || !next_bulk(c)) {
            return;
        }
    }
}

/* Encrypts until the buffer is full or nothing is left (*idle). */
static status fill(struct ctx *cx, struct conn *c, bool *idle)
{
    size_t k;
    *idle = false;
    while (tls_room(c->tls) >= TLS_RECORD) {
        fill_record(c);
        if (c->record.bad || c->ctl.bad) return FAIL(cx, NOMEM, "no memory for frames");
        if (c->record.n) {
            TRY(tls_write(cx, c->tls, c->record.p, c->record.n, &k));
            buf_reset(&c->record);
            pace_charge(c->link, k);
        } else if (c->tx && c->tx_left >= TLS_RECORD) {
            size_t n = c->tx_left / TLS_RECORD * TLS_RECORD;
            TRY(tls_write(cx, c->tls, c->tx->sending->payload.p + c->tx->offset, n, &k));
            c->tx->offset += k;
            c->tx_left -= k;
            pace_charge(c->link, k);
            if (!c->tx_left) stream_out_piece_done(c);
        } else if (!c->tx) {
            *idle = true;
            return OK;
        }
    }
    return OK;
}

/* What control frames wait behind, that is the frame, the encrypted bytes and the kernel's unsent ones, is
 * kept to about RATE_TARGET_MS of what the link has been seen to carry. It begins low, is raised by a rate
 * that was reached, and lowered only while the socket is full: an idle link tells nothing. */
static void adapt(struct conn *c)
{
    uint64_t now = clock_ms(), in, out, ms = now - c->rate_ms;
    if (ms < (c->rate_bytes ? RATE_WINDOW_MS : FIRST_WINDOW_MS)) return;
    tls_wire_bytes(c->tls, &in, &out);
    uint64_t bytes = (out - c->rate_bytes) * RATE_TARGET_MS / ms;
    size_t piece = bytes > FRAME_PIECE ? FRAME_PIECE : bytes < TLS_RECORD ? TLS_RECORD : (size_t)bytes;
    if (piece > c->piece || c->full) set_piece(c, piece);
    c->rate_ms = now;
    c->rate_bytes = out;
    c->full = tls_unsent(c->tls);
}

static status pump(struct ctx *cx, struct conn *c)
{
    bool idle, empty;
    for (size_t moved = 0; moved < TURN_BYTES; moved += TLS_OUT_BYTES) {
        TRY(fill(cx, c, &idle));
        TRY(tls_flush(cx, c->tls, &empty));
        if (!empty) c->full = true;
        adapt(c);
        if (idle || !empty) return OK;
    }
    turn_over(c);
    return OK;
}

void conn_pump(struct conn *c)
{
    if (c->state == CONN_DEAD || c->state < CONN_HELLO) return;
    struct ctx *cx = &c->n->cx;
    status st = pump(cx, c);
    if (st.code)
        conn_close(c, &cx->err);
    else
        rewatch(c);
}

/* --- receiving --- */

static status take_payload(struct ctx *cx, struct conn *c)
{
    size_t k = c->rx.n - c->rx_used;
    if (k > c->data_left) k = c->data_left;
    TRY(stream_in_bytes(cx, c, c->rx.p + c->rx_used, k));
    c->rx_used += k;
    return OK;
}

/* One frame out of rx, or a part of a data frame. *more: false when bytes are missing. */
static status take_frame(struct ctx *cx, struct conn *c, bool *more)
{
    struct frame_head h;
    const uint8_t *p = c->rx.p + c->rx_used;
    size_t n = c->rx.n - c->rx_used, head;
    *more = false;
    if (n < FRAME_HEAD) return OK;
    TRY(frame_parse_head(cx, p, c->version, &h));
    if (h.type == FRAME_DATA && c->state == CONN_UP) {
        struct data_head d;
        TRY(frame_parse_data(cx, (struct bytes){p + FRAME_HEAD, n - FRAME_HEAD}, h.length, &d, &head));
        if (!head) return OK;
        c->rx_used += FRAME_HEAD + head;
        TRY(stream_in_begin(cx, c, h.stream, &d));
        *more = true;
        return OK;
    }
    if (n - FRAME_HEAD < h.length) return OK;
    c->rx_used += FRAME_HEAD + h.length;
    *more = true;
    return link_frame(cx, c, &h, (struct bytes){p + FRAME_HEAD, h.length});
}

static status take_frames(struct ctx *cx, struct conn *c)
{
    bool more = true;
    while (more && c->state != CONN_DEAD) {
        if (c->data_left) {
            if (c->rx_used == c->rx.n) break;
            TRY(take_payload(cx, c));
        } else {
            TRY(take_frame(cx, c, &more));
        }
    }
    if (c->state == CONN_DEAD) return OK;
    size_t left = c->rx.n - c->rx_used;
    if (c->rx_used && left) memmove(c->rx.p, c->rx.p + c->rx_used, left);
    c->rx.n = left;
    c->rx_used = 0;
    return OK;
}

/* Reads once; *got 0: nothing there. Payloads of messages go straight to their place. */
static status read_some(struct ctx *cx, struct conn *c, size_t *got)
{
    uint8_t *place = c->data_left && c->rx.n == 0 ? stream_in_place(c) : NULL;
    if (place) {
        TRY(tls_read(cx, c->tls, place, c->data_left, got));
        return *got ? stream_in_bytes(cx, c, NULL, *got) : OK;
    }
    size_t before = c->rx.n;
    uint8_t *p = buf_grow(&c->rx, TLS_RECORD);
    if (!p) return FAIL(cx, NOMEM, "no memory for a frame");
    status st = tls_read(cx, c->tls, p, TLS_RECORD, got);
    c->rx.n = before + *got;
    TRY(st);
    return *got ? take_frames(cx, c) : OK;
}

static status read_turn(struct ctx *cx, struct conn *c)
{
    size_t got = 1, sum = 0;
    while (got && c->state != CONN_DEAD) {
        if (sum >= TURN_BYTES || c->ctl.n - c->ctl_sent > CTL_MAX) {
            if (sum >= TURN_BYTES) turn_over(c);
            break;
        }
        TRY(read_some(cx, c, &got));
        sum += got;
    }
    if (sum && c->state != CONN_DEAD) {
        c->heard_ms = clock_ms();
        if (c->link) c->link->state.last_heard_ms = wall_ms();
    }
    return OK;
}

static status connected(struct ctx *cx, struct conn *c)
{
    int error = 0;
    socklen_t n = sizeof error;
    if (c->fd >= 0 && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        return FAIL(cx, IO, "connect to %s: %m", c->address);
    errno = error;
    if (error) return FAIL(cx, IO, "connect to %s: %m", c->address);
    watch(c, EPOLLIN);
    if (c->state == CONN_DEAD) return OK;
    return conn_start_tls(cx, c);
}

static status progress(struct ctx *cx, struct conn *c, uint32_t events)
{
    bool done;
    if (c->state == CONN_CONNECTING) TRY(connected(cx, c));
    if (c->state == CONN_TLS) {
        TRY(tls_handshake(cx, c->tls, &done));
        c->heard_ms = clock_ms();
        if (!done) return OK;
        c->state = CONN_HELLO;
        TRY(link_hello(cx, c));
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) TRY(read_turn(cx, c));
    if (c->state == CONN_DEAD) return OK;
    return pump(cx, c);
}

/* In a tunnel: the exchange's own reason for the end, else the error with the way it has come. */
static void name_the_way(struct ctx *cx, struct conn *c)
{
    if (c->fd >= 0) return;
    if (cx->err.code == ERR_IO && circuit_why(c))
        cx->err = *circuit_why(c);
    else
        err_prefix(cx, "%s", c->address);
}

static void on_socket(struct loop *loop, int fd, uint32_t events, void *arg)
{
    (void)loop, (void)fd;
    struct conn *c = arg;
    struct ctx *cx = &c->n->cx;
    if (c->state == CONN_DEAD) return;
    struct arena_mark mark = arena_mark(cx->mem);
    status st = progress(cx, c, events);
    if (c->state != CONN_DEAD && st.code) {
        name_the_way(cx, c);
        conn_close(c, &cx->err);
    } else if (c->state != CONN_DEAD) {
        rewatch(c);
    }
    arena_rewind(cx->mem, mark);
}
