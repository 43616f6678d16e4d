/* link.c - which connection to a peer counts, and whether it lives.
 *
 * Both ends send HELLO as soon as TLS stands. Then the lower party id decides alone: WELCOME makes a
 * connection the one, and ends an older one; REFUSE (EXISTS) ends the newer one when both have dialled at
 * once. So the ends never disagree for longer than a frame travels. */
#include "net/node_int.h"
#include "base/log.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST_DELAY_MS = 50,
    LAST_DELAY_MS = 2000,
    STEADY_MS = 2000,
    PILE_IDLE_MS = 10000,
    ACCEPT_PAUSE_MS = 200
};

static void redial(struct link *l);

/* --- telling --- */

static void notify(struct link *l)
{
    struct node *n = l->n;
    struct link_state state;
    if (n->freeing || !n->ev.on_link) return;
    if (node_link(n, l->peer.party, &state)) n->ev.on_link(n->ev.arg, &state);
}

/* The same trouble again is neither logged nor told. */
void link_error(struct link *l, const struct err *e)
{
    if (strncmp(l->state.last_error, e->msg, sizeof l->state.last_error - 1) == 0) return;
    snprintf(l->state.last_error, sizeof l->state.last_error, "%.*s", (int)sizeof l->state.last_error - 1,
             e->msg);
    log_warn(&l->n->cx, "link", KV("party", l->peer.party), KV("error", err_name(e->code)),
             KV("reason", (const char *)l->state.last_error));
    notify(l);
}

const char *link_text(struct ctx *cx, const struct link *l)
{
    const char *text;
    double s = (double)(wall_ms() - l->state.since_ms) / 1000;
    char through[32] = "";
    if (l->peer.via) snprintf(through, sizeof through, " through %u", l->peer.via);
    if (l->local)
        return "local delivery";
    else if (l->state.up)
        text = arena_printf(cx->mem, "the link to party %u%s is up for %.1f s, last heard of it %.1f s ago",
                            l->peer.party, through, s, (double)(wall_ms() - l->state.last_heard_ms) / 1000);
    else
        text = arena_printf(cx->mem, "the link to party %u%s is down for %.1f s: %s", l->peer.party, through,
                            s, l->state.last_error[0] ? l->state.last_error : "dialling");
    return text ? text : "link state unknown";
}

/* --- dialling --- */

static void dial_now(struct loop *loop, void *arg)
{
    (void)loop;
    struct link *l = arg;
    l->redial = NULL;
    if (l->up || l->dialling || l->lookup) return;
    l->state.dialling = true;
    dial_start(l);
}

static bool can_dial(const struct link *l)
{
    return l->peer.host || l->peer.via;
}

/* A peer of the default route, for whom there is nothing: no dialling for ever. */
static bool unwanted(const struct link *l)
{
    return l->routed && !l->outs && !l->calls;
}

static void redial(struct link *l)
{
    if (!can_dial(l) || unwanted(l) || l->up || l->dialling || l->lookup || l->redial || l->n->freeing)
        return;
    unsigned shift = l->failures < 6 ? l->failures : 6;
    uint64_t delay = (uint64_t)FIRST_DELAY_MS << shift;
    if (delay > LAST_DELAY_MS) delay = LAST_DELAY_MS;
    delay = delay / 2 + shuffle_below(&l->n->jitter, delay / 2 + 1);
    l->failures++;
    l->redial = loop_after(l->n->loop, delay, dial_now, l);
}

void link_dial_failed(struct link *l, const struct err *why)
{
    l->state.dialling = false;
    struct err kept = *why;
    link_error(l, &kept);
    redial(l);
}

void link_start(struct link *l)
{
    if (can_dial(l)) l->redial = loop_after(l->n->loop, 0, dial_now, l);
}

void link_dial_soon(struct link *l)
{
    if (l->up || l->dialling || l->lookup || l->n->freeing || unwanted(l)) return;
    loop_cancel(l->n->loop, l->redial);
    link_start(l);
}

void link_want(struct link *l)
{
    if (l->routed && !l->up && !l->dialling && !l->redial && !l->n->freeing) link_start(l);
}

void link_stop(struct link *l)
{
    loop_cancel(l->n->loop, l->redial);
    loop_cancel(l->n->loop, l->beat);
    loop_cancel(l->n->loop, l->pace);
    l->redial = l->beat = l->pace = NULL;
    dial_abandon(l);
}

/* --- accepting --- */

static void accept_again(struct loop *loop, void *arg)
{
    struct node *n = arg;
    n->accept_again = NULL;
    status st = loop_mod(&n->cx, loop, n->listen_fd, EPOLLIN);
    if (st.code) log_error(&n->cx, "listen", KV("reason", (const char *)n->cx.err.msg));
}

/* No descriptors left, say: rest a while instead of being woken for ever. */
static void accept_pause(struct node *n)
{
    status st = loop_mod(&n->cx, n->loop, n->listen_fd, 0);
    if (!st.code) n->accept_again = loop_after(n->loop, ACCEPT_PAUSE_MS, accept_again, n);
}

static void accepted(struct node *n, int fd, const struct sockaddr_storage *from, socklen_t size)
{
    struct ctx *cx = &n->cx;
    struct conn *c;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    dial_tune(fd);
    status st = conn_new(cx, n, fd, false, NULL, &c);
    if (st.code) {
        close(fd);
        return;
    }
    n->half_open++;
    getnameinfo((const struct sockaddr *)from, size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(c->address, sizeof c->address, "%.60s port %.8s", host, port);
    st = conn_start_tls(cx, c);
    if (st.code) conn_close(c, &cx->err);
}

void link_accept(struct loop *loop, int listener, uint32_t events, void *arg)
{
    (void)loop, (void)events;
    struct node *n = arg;
    for (int i = 0; i < 16; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0 && errno != EAGAIN) accept_pause(n);
        if (fd < 0) return;
        if (n->half_open >= HALF_OPEN_MAX)
            close(fd);
        else
            accepted(n, fd, &from, size);
    }
}

/* --- hello and welcome --- */

static bool we_decide(const struct link *l)
{
    return l->n->config.party < l->peer.party;
}

status link_hello(struct ctx *cx, struct conn *c)
{
    struct node *n = c->n;
    uint32_t party = tls_party(c->tls);
    struct link *l = c->link;
    if (!l) {
        TRY(node_get_link(cx, n, party, &l));
        c->link = l;
        n->half_open--;
    }
    struct hello h = {.version_min = WIRE_MIN,
                      .version_max = n->wire_max,
                      .party = n->config.party,
                      .to = party,
                      .features = n->features,
                      .holds = l->up ? l->up->name : 0,
                      .window = n->config.window_bytes,
                      .heartbeat_ms = (uint32_t)n->config.heartbeat_ms,
                      .wall_ms = wall_ms(),
                      .software = "norn 0.1"};
    memcpy(h.instance, n->instance, sizeof h.instance);
    while (!h.connection)
        h.connection = shuffle_u64(&n->jitter);
    c->name = h.connection;
    frame_put_hello(&c->ctl, &h);
    return OK;
}

/* Says why, and ends the connection. */
static status refuse(struct ctx *cx, struct conn *c, enum err_code code, const char *text)
{
    struct err e = {.code = code};
    snprintf(e.msg, sizeof e.msg, "%s", text);
    frame_put_fail(&c->ctl, FRAME_REFUSE, 0, &e);
    conn_pump(c);
    return err_set(cx, code, __FILE__, __LINE__, "%s", e.msg);
}

static void beat(struct loop *loop, void *arg);

static void ping(struct link *l)
{
    l->unanswered_ping_us = clock_us();
    struct ping p = {l->unanswered_ping_us, stream_out_first(l), call_first(l)};
    frame_put_ping(&l->up->ctl, &p);
}

static void schedule_beat(struct link *l)
{
    l->beat_due_ms = clock_ms() + l->n->config.heartbeat_ms;
    l->beat = loop_after(l->n->loop, l->n->config.heartbeat_ms, beat, l);
}

static void link_up(struct conn *c)
{
    struct link *l = c->link;
    struct node *n = l->n;
    struct conn *old = l->up, *other = l->dialling;
    bool restarted = l->known && memcmp(l->instance, c->theirs.instance, sizeof l->instance) != 0;
    loop_cancel(n->loop, c->deadline);
    c->deadline = NULL;
    c->state = CONN_UP;
    c->up_ms = clock_ms();
    l->up = c; /* before the old one is closed: its loss is no loss of the link */
    l->dialling = NULL;
    if (old) {
        stream_out_disconnected(l);
        circuit_hop_lost(l);
        conn_close(old, NULL);
    }
    if (other && other != c) conn_close(other, NULL);
    loop_cancel(n->loop, l->redial);
    loop_cancel(n->loop, l->beat);
    l->redial = NULL;
    dial_abandon(l);

    memcpy(l->instance, c->theirs.instance, sizeof l->instance);
    l->known = true;
    l->peer_window = c->theirs.window;
    if (!old) l->state.since_ms = wall_ms();
    l->state.up = true;
    l->state.dialling = false;
    l->state.last_heard_ms = wall_ms();
    l->state.last_error[0] = '\0';
    l->state.wire_version = c->version;
    l->state.features = c->features;
    memcpy(l->state.peer_version, c->theirs.software, sizeof l->state.peer_version);
    memcpy(l->state.address, c->address, sizeof l->state.address);
    log_info(&n->cx, "link up", KV("party", l->peer.party), KV("address", (const char *)c->address),
             KV("software", (const char *)c->theirs.software), KV("restarted", (bool)restarted));
    ping(l);
    schedule_beat(l);
    stream_in_connected(l, restarted);
    call_connected(l, restarted);
    stream_out_connected(l, restarted);
    node_later(n);
    if (restarted && n->ev.on_restart) n->ev.on_restart(n->ev.arg, l->peer.party);
    circuit_hop_up(l);
    notify(l);
}

/* We are the lower party id: this connection, or the one we have? */
static status decide(struct ctx *cx, struct conn *c)
{
    const struct conn *up = c->link->up;
    bool they_hold_it = up && c->theirs.holds == up->name;
    bool at_once = up && up->dialled && !c->dialled && c->opened_ms <= up->up_ms;
    if (they_hold_it || at_once) return refuse(cx, c, ERR_EXISTS, "there is a connection already");
    frame_put_u64(&c->ctl, FRAME_WELCOME, 0, c->name);
    link_up(c);
    return OK;
}

static status on_hello(struct ctx *cx, struct conn *c, struct bytes body)
{
    struct node *n = c->n;
    char text[200];
    status st = frame_parse_hello(cx, body, &c->theirs);
    if (st.code && c->theirs.version_max) {
        snprintf(text, sizeof text, "this site speaks wire versions %d to %d, the peer %u to %u", WIRE_MIN,
                 WIRE_MAX, c->theirs.version_min, c->theirs.version_max);
        struct err ours = cx->err;
        (void)refuse(cx, c, ERR_UNSUPPORTED, text).code;
        cx->err = ours;
        return st;
    }
    TRY(st);
    c->version = c->theirs.version_max < n->wire_max ? c->theirs.version_max : n->wire_max;
    c->features = c->theirs.features & n->features;
    if (c->theirs.party != tls_party(c->tls) || c->theirs.to != n->config.party) {
        snprintf(text, sizeof text, "hello of party %u to %u; the certificates say %u and %u",
                 c->theirs.party, c->theirs.to, tls_party(c->tls), n->config.party);
        return refuse(cx, c, ERR_PROTO, text);
    }
    if (!we_decide(c->link)) {
        c->name = c->theirs.connection;
        c->state = CONN_WELCOME;
        return OK;
    }
    return decide(cx, c);
}

static status on_refuse(struct ctx *cx, struct conn *c, struct bytes body)
{
    struct err e;
    TRY(frame_parse_fail(cx, body, &e));
    (void)c;
    return err_set(cx, e.code, __FILE__, __LINE__, "refused by the peer: %s", e.msg);
}

/* --- life and death of the link --- */

static void beat(struct loop *loop, void *arg)
{
    (void)loop;
    struct link *l = arg;
    struct node *n = l->n;
    uint64_t now = clock_ms(), limit = SILENT_BEATS * n->config.heartbeat_ms;
    /* When we were stopped ourselves, the socket is read before anybody is judged. */
    bool late = now > l->beat_due_ms + n->config.heartbeat_ms;
    l->beat = NULL;
    if (n->pile.kept && now > PILE_IDLE_MS) pile_trim(&n->pile, now - PILE_IDLE_MS);
    if (!late && now - l->up->heard_ms > limit) {
        struct ctx *cx = &n->cx;
        status st =
            FAIL(cx, TIMEOUT, "the peer was silent for %llu ms", (unsigned long long)(now - l->up->heard_ms));
        (void)st;
        conn_close(l->up, &cx->err);
        return;
    }
    schedule_beat(l);
    ping(l);
    conn_pump(l->up);
}

static void on_pong(struct link *l, uint64_t stamp)
{
    if (stamp != l->unanswered_ping_us || !stamp) return;
    double ms = (double)(clock_us() - stamp) / 1000;
    l->unanswered_ping_us = 0;
    l->state.round_trip_ms = l->state.round_trip_ms > 0 ? 0.75 * l->state.round_trip_ms + 0.25 * ms : ms;
}

static void lost_stranger(struct conn *c, const struct err *why)
{
    struct node *n = c->n;
    if (!why || n->freeing || strncmp(n->last_stranger, why->msg, sizeof n->last_stranger - 1) == 0) return;
    snprintf(n->last_stranger, sizeof n->last_stranger, "%.*s", (int)sizeof n->last_stranger - 1, why->msg);
    log_warn(&n->cx, "connection refused", KV("address", (const char *)c->address),
             KV("error", err_name(why->code)), KV("reason", (const char *)n->last_stranger));
}

void link_lost(struct conn *c, const struct err *why)
{
    struct link *l = c->link;
    if (!l) {
        lost_stranger(c, why);
        return;
    }
    bool was_up = l->up == c, was_dial = l->dialling == c;
    if (was_dial) {
        l->dialling = NULL;
        l->state.dialling = false;
    }
    if (was_up) {
        /* A link that is cut again and again, but has moved something each time, is worth the next try at
         * once. */
        if (clock_ms() - c->up_ms > STEADY_MS || c->moved) l->failures = 0;
        l->up = NULL;
        l->state.up = false;
        l->state.since_ms = wall_ms();
        loop_cancel(l->n->loop, l->beat);
        l->beat = NULL;
        stream_out_disconnected(l);
        circuit_hop_lost(l);
    }
    if (was_up || was_dial) redial(l);
    if (why && why->code != ERR_EXISTS && !l->up)
        link_error(l, why);
    else if (was_up)
        notify(l);
}

/* --- frames --- */

static status on_open(struct ctx *cx, struct conn *c, uint32_t number, struct bytes body)
{
    struct stream_key key;
    bool resuming;
    TRY(frame_parse_open(cx, body, &key, &resuming));
    return stream_in_open(cx, c, number, &key, resuming);
}

static status on_ping(struct ctx *cx, struct conn *c, struct bytes body)
{
    struct ping p;
    TRY(frame_parse_ping(cx, body, &p));
    frame_put_u64(&c->ctl, FRAME_PONG, 0, p.stamp_us);
    stream_in_forget_below(c->link, p.first_stream);
    call_forget_below(c->link, p.first_call);
    return OK;
}

static status on_stream_frame(struct ctx *cx, struct link *l, const struct frame_head *h, struct bytes body)
{
    char tag[TAG_MAX + 1];
    uint32_t seq;
    uint64_t x;
    struct err e;
    struct opened o;
    if (h->type == FRAME_ACK) {
        TRY(frame_parse_ack(cx, body, tag, &seq));
        stream_out_ack(l, h->stream, tag, seq);
    } else if (h->type == FRAME_CREDIT) {
        TRY(frame_parse_u64(cx, body, &x));
        stream_out_credit(l, h->stream, x);
    } else if (h->type == FRAME_OPENED) {
        TRY(frame_parse_opened(cx, body, &o));
        stream_out_opened(cx, l, h->stream, &o);
    } else if (h->type == FRAME_ABORT) {
        TRY(frame_parse_fail(cx, body, &e));
        stream_out_abort(l, h->stream, &e);
    } else if (h->type == FRAME_CLOSE) {
        stream_in_close(l, h->stream);
    } else {
        stream_in_status(l, h->stream, body);
    }
    return OK;
}

static status on_call_frame(struct ctx *cx, struct link *l, const struct frame_head *h, struct bytes body)
{
    if (h->type == FRAME_CALL) {
        struct call_head call;
        TRY(frame_parse_call(cx, body, &call));
        call_arrived(l, &call);
        return OK;
    }
    struct answer_head answer;
    TRY(frame_parse_answer(cx, body, &answer));
    call_answered(l, &answer);
    return OK;
}

static status frame_up(struct ctx *cx, struct conn *c, const struct frame_head *h, struct bytes body)
{
    uint64_t x;
    switch (h->type) {
    case FRAME_PING:
        return on_ping(cx, c, body);
    case FRAME_PONG:
        TRY(frame_parse_u64(cx, body, &x));
        on_pong(c->link, x);
        return OK;
    case FRAME_OPEN:
        return on_open(cx, c, h->stream, body);
    case FRAME_OPENED:
    case FRAME_ACK:
    case FRAME_CREDIT:
    case FRAME_ABORT:
    case FRAME_STATUS:
    case FRAME_CLOSE:
        return on_stream_frame(cx, c->link, h, body);
    case FRAME_CALL:
    case FRAME_ANSWER:
        return on_call_frame(cx, c->link, h, body);
    case FRAME_TUNNEL:
    case FRAME_CARRY:
    case FRAME_CARRY_CREDIT:
    case FRAME_TUNNEL_END:
        return circuit_frame(cx, c, h, body);
    case FRAME_HELLO:
    case FRAME_WELCOME:
    case FRAME_REFUSE:
    case FRAME_DATA:
    default:
        return FAIL(cx, PROTO, "frame of type %d on a connection that is up", (int)h->type);
    }
}

status link_frame(struct ctx *cx, struct conn *c, const struct frame_head *h, struct bytes body)
{
    uint64_t name;
    if (h->type == FRAME_REFUSE) return on_refuse(cx, c, body);
    if (c->state == CONN_UP) return frame_up(cx, c, h, body);
    if (c->state == CONN_HELLO && h->type == FRAME_HELLO) return on_hello(cx, c, body);
    if (c->state == CONN_WELCOME && h->type == FRAME_WELCOME) {
        TRY(frame_parse_u64(cx, body, &name));
        if (name != c->name) return FAIL(cx, PROTO, "welcome of another connection");
        link_up(c);
        return OK;
    }
    return FAIL(cx, PROTO, "frame of type %d before the welcome", (int)h->type);
}
