/* site_pipe.c - the site's end of a task: its messages to the node and back, its events to the owner. On the
 * loop.
 *
 * Towards the node a lane (one per peer) keeps what the outbox has refused; the task itself stops at half a
 * PIPE_WINDOW that was not accepted. Towards the task a lane stops at a PIPE_WINDOW that the
 * task has not consumed, unless the task is blocked: in a receive from that peer, since what it waits for may
 * lie behind, or in a send to anybody, since two tasks that send each other large values would else block
 * each other. */
#include "net/site_int.h"
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_socket(struct loop *loop, int fd, uint32_t events, void *arg);
static void on_tick(struct loop *loop, void *arg);
static void free_now(struct site_pipe *p);
static void settle(struct site_pipe *p);

/* --- lanes --- */

struct lane *lane_of(struct site_pipe *p, struct party peer)
{
    for (struct lane *l = p->lanes; l; l = l->next)
        if (l->peer.id == peer.id && l->peer.role == peer.role) return l;
    struct lane *l = arena_alloc(p->mem, sizeof *l, _Alignof(struct lane));
    if (!l) return NULL;
    *l = (struct lane){.next = p->lanes, .peer = peer, .tail = &l->head};
    return p->lanes = l;
}

struct stream_key key_to(const struct site_pipe *p, struct party peer)
{
    struct stream_key k = p->me;
    k.to = peer;
    return k;
}

struct stream_key key_from(const struct site_pipe *p, struct party peer)
{
    struct stream_key k = p->me;
    k.to = p->me.from;
    k.from = peer;
    return k;
}

static void unblock(struct site_pipe *p, struct lane *l)
{
    struct stream_key k = key_from(p, l->peer);
    if (!l->blocked) return;
    l->blocked = false;
    node_resume(p->node, &k);
}

/* --- records to the task --- */

void pipe_put_text(struct buf *b, const char *s)
{
    size_t n = strlen(s);
    buf_blob(b, s, n < 390 ? n : 390);
}

static void tell_failed(struct site_pipe *p, struct lane *l, const char *why)
{
    if (l->failed || p->deaf) return;
    l->failed = true;
    size_t start = pipe_io_begin(&p->io, PIPE_FAILED, -1);
    pipe_put_party(&p->io.tx, l->peer);
    pipe_put_text(&p->io.tx, why);
    pipe_io_end(&p->io, start);
}

static void tell_accepted(struct site_pipe *p, struct lane *l)
{
    size_t start = pipe_io_begin(&p->io, PIPE_ACCEPTED, -1);
    pipe_put_party(&p->io.tx, l->peer);
    buf_u64(&p->io.tx, l->accepted);
    pipe_io_end(&p->io, start);
    l->accepted = 0;
}

static void tell_release(void *arg, uint32_t id)
{
    struct site_pipe *p = arg;
    if (p->deaf || p->ended) return;
    size_t start = pipe_io_begin(&p->io, PIPE_RELEASE, -1);
    buf_u32(&p->io.tx, id);
    pipe_io_end(&p->io, start);
    settle(p);
}

/* --- the tick --- */

static void on_tick(struct loop *loop, void *arg)
{
    struct site_pipe *p = arg;
    p->tick = loop_after(loop, TICK_MS, on_tick, p);
    site_tell_life(p);
    for (struct lane *l = p->lanes; l; l = l->next) /* blocked for want of memory or descriptors: try again */
        if (l->with_task <= PIPE_WINDOW / 2) unblock(p, l);
    if (p->ticks++ % STATUS_TICKS == 0)
        site_tell_peers(p); /* the first at once: it makes us known to the peers */
    settle(p);
}

/* --- messages to the node --- */

/* The node is through with a payload that lies in the task's segment. */
static void give_back(void *arg, const void *bytes)
{
    struct segs_in *s = arg;
    uint32_t id = 0;
    while (s->seg[id].p != bytes)
        id++;
    segs_unuse(s, id);
}

static status try_send(struct ctx *cx, struct site_pipe *p, const struct message *m, uint32_t seg)
{
    return seg == NO_SEG ? node_send(cx, p->node, m) : node_send_lent(cx, p->node, m, give_back, p->segs_in);
}

static void drop_refused(struct site_pipe *p, struct lane *l)
{
    struct refused *q = l->head;
    l->head = q->next;
    if (!l->head) l->tail = &l->head;
    payload_free(&p->node->pile, &q->payload);
    slab_put(&p->refused_slab, q);
}

/* OK: it is the node's now; else the lane has failed, and the task is told. */
static void sent(struct site_pipe *p, struct lane *l, status st, const struct message *m, uint32_t seg)
{
    if (st.code) {
        tell_failed(p, l, p->node->cx.err.msg);
        if (seg != NO_SEG) segs_unuse(p->segs_in, seg);
    }
    l->accepted += m->payload.n;
}

static void send_refused(struct site_pipe *p, struct lane *l)
{
    struct ctx *cx = &p->node->cx;
    while (l->head) {
        struct refused *q = l->head;
        status st = try_send(cx, p, &q->m, q->seg);
        if (st.code == ERR_STATE) break;
        sent(p, l, st, &q->m, q->seg);
        drop_refused(p, l);
    }
    if (l->accepted && !p->deaf) tell_accepted(p, l);
}

static status keep_refused(struct ctx *cx, struct site_pipe *p, struct lane *l, const struct message *m,
                           uint32_t seg)
{
    struct refused *q = slab_get(&p->refused_slab);
    if (!q) return FAIL(cx, NOMEM, "message of %zu bytes", m->payload.n);
    q->m = *m;
    q->seg = seg;
    if (seg == NO_SEG) {
        if (!payload_new(&p->node->pile, m->payload.n, false, &q->payload)) {
            slab_put(&p->refused_slab, q);
            return FAIL(cx, NOMEM, "message of %zu bytes", m->payload.n);
        }
        if (m->payload.n) memcpy(q->payload.p, m->payload.p, m->payload.n);
        q->m.payload.p = q->payload.p;
    }
    *l->tail = q;
    l->tail = &q->next;
    return OK;
}

static status on_send(struct ctx *cx, struct site_pipe *p, const struct record *rec)
{
    struct pipe_message pm;
    TRY(pipe_get_message(cx, &p->io, p->segs_in, rec, &pm));
    struct lane *l = lane_of(p, pm.peer);
    if (!l) return FAIL(cx, NOMEM, "peer");
    struct message m = {.stream = key_to(p, pm.peer), .seq = pm.seq, .payload = pm.payload};
    memcpy(m.tag, pm.tag, sizeof m.tag);
    status st = l->head ? FAIL(cx, STATE, "behind others") : try_send(cx, p, &m, pm.seg);
    if (st.code == ERR_STATE) return keep_refused(cx, p, l, &m, pm.seg);
    sent(p, l, st, &m, pm.seg);
    if (l->accepted >= ACCEPT_STEP) tell_accepted(p, l);
    return OK;
}

void site_pipe_room(struct site_pipe *p, const struct stream_key *s)
{
    for (struct lane *l = p->lanes; l; l = l->next) {
        struct stream_key k = key_to(p, l->peer);
        if (key_equal(&k, s)) send_refused(p, l);
    }
    settle(p);
}

/* --- messages to the task --- */

bool site_pipe_deliver(struct site_pipe *p, const struct message *m)
{
    struct lane *l = lane_of(p, m->stream.from);
    if (p->ended || p->deaf) return true; /* nobody takes it any more */
    if (!l) return false;
    const struct task_wait *w = &p->wait;
    bool waits = w->waiting && (w->sending || (w->peer.id == l->peer.id && w->peer.role == l->peer.role));
    if ((l->with_task && l->with_task + m->payload.n > PIPE_WINDOW && !waits) || pipe_io_fds_full(&p->io)) {
        l->blocked = true;
        return false;
    }
    struct ctx *cx = &p->node->cx;
    struct pipe_message pm = {.peer = l->peer, .seq = m->seq, .payload = m->payload};
    memcpy(pm.tag, m->tag, sizeof pm.tag);
    status st = pipe_put_message(cx, &p->io, &p->segs_out, PIPE_DELIVER, &pm);
    if (st.code) {
        l->blocked = true; /* memory is short: the node keeps it, a later tick tries again */
        return false;
    }
    l->with_task += m->payload.n;
    settle(p);
    return true;
}

/* --- records from the task --- */

static status on_wait(struct ctx *cx, struct site_pipe *p, const struct record *rec)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    struct task_wait w = {.waiting = true, .since_ms = wall_ms()};
    uint8_t sending;
    TRY(reader_u8(cx, &r, &sending));
    TRY(pipe_get_party(cx, &r, &w.peer));
    TRY(pipe_get_name(cx, &r, w.tag, sizeof w.tag));
    TRY(reader_u32(cx, &r, &w.seq));
    TRY(reader_end(cx, &r));
    struct lane *l = lane_of(p, w.peer);
    if (!l) return FAIL(cx, NOMEM, "peer");
    w.sending = sending;
    p->wait = w;
    l->progress_ms = 0;
    l->last_bytes = UINT64_MAX; /* the first look sets both */
    site_tell_life(p);
    for (struct lane *o = p->lanes; o; o = o->next)
        if (o == l || w.sending) unblock(p, o);
    if (l->accepted) tell_accepted(p, l);
    struct link *link = node_find_link(p->node, w.peer.id);
    if (!link) { /* it would wait for ever */
        status st = FAIL(cx, NOTFOUND, "no party %u among this site's peers", w.peer.id);
        (void)st;
        tell_failed(p, l, cx->err.msg);
    }
    return OK;
}

static status on_took(struct ctx *cx, struct site_pipe *p, const struct record *rec)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    struct party peer;
    uint64_t n;
    TRY(pipe_get_party(cx, &r, &peer));
    TRY(reader_u64(cx, &r, &n));
    struct lane *l = lane_of(p, peer);
    if (!l) return FAIL(cx, NOMEM, "peer");
    l->with_task -= n < l->with_task ? n : l->with_task;
    unblock(p, l);
    return OK;
}

static status on_event(struct ctx *cx, struct site_pipe *p, const struct record *rec)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    char kind[64];
    CLEANUP(json_decrefp) json_t *j = NULL;
    TRY(pipe_get_name(cx, &r, kind, sizeof kind));
    if (reader_left(&r)) TRY(js_parse(cx, kind, r.p, reader_left(&r), &j));
    if (p->ev.on_event) p->ev.on_event(p->ev.arg, p, kind, j);
    return OK;
}

static status on_record(struct ctx *cx, struct site_pipe *p, const struct record *rec)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    uint32_t id;
    uint64_t ms;
    switch ((int)rec->kind) {
    case PIPE_EVENT:
        return on_event(cx, p, rec);
    case PIPE_SEND:
        return on_send(cx, p, rec);
    case PIPE_TOOK:
        return on_took(cx, p, rec);
    case PIPE_WAIT:
        return on_wait(cx, p, rec);
    case PIPE_RESUMED:
        p->wait = (struct task_wait){0};
        p->cpu_changed_ms = clock_ms();
        return OK;
    case PIPE_ALIVE:
        TRY(reader_u64(cx, &r, &ms));
        if (ms != p->cpu_ms) p->cpu_changed_ms = clock_ms();
        p->cpu_ms = ms;
        return OK;
    case PIPE_RELEASE:
        TRY(reader_u32(cx, &r, &id));
        segs_released(&p->segs_out, &p->io, id);
        return OK;
    case PIPE_DROP:
        TRY(reader_u32(cx, &r, &id));
        return segs_drop(cx, p->segs_in, id);
    default:
        return FAIL(cx, PROTO, "pipe: record %d from the task", (int)rec->kind);
    }
}

/* --- the socket --- */

static void watch(struct site_pipe *p)
{
    uint32_t want = (p->ended ? 0u : (uint32_t)EPOLLIN) |
                    (pipe_io_unsent(&p->io) && !p->io.stalled && !p->deaf ? (uint32_t)EPOLLOUT : 0u);
    if (!p->watched || want == p->epoll) return;
    status st = loop_mod(&p->node->cx, p->loop, p->io.fd, want);
    if (!st.code) p->epoll = want;
}

static void unwatch(struct site_pipe *p)
{
    if (p->watched) loop_del(p->loop, p->io.fd);
    p->watched = false;
}

/* Nothing of it waits for room in an outbox any more: now its end can be told. */
static bool all_sent(const struct site_pipe *p)
{
    for (const struct lane *l = p->lanes; l; l = l->next)
        if (l->head) return false;
    return true;
}

static void run_stall(struct loop *loop, void *arg)
{
    (void)loop;
    struct site_pipe *p = arg;
    p->stall = NULL;
    settle(p);
}

static void run_later(struct loop *loop, void *arg)
{
    (void)loop;
    struct site_pipe *p = arg;
    p->later = NULL;
    bool empty;
    if (!p->ended && !p->deaf) {
        status st = pipe_io_flush(&p->node->cx, &p->io, &empty);
        if (st.code) p->deaf = true; /* it reads no more; what it has written is still to be had */
    }
    if (!p->ended && p->io.stalled && !p->stall) p->stall = loop_after(p->loop, STALL_MS, run_stall, p);
    watch(p);
    if (!p->ended || !(p->cancelled || all_sent(p)) || !p->ev.on_closed) return;
    void (*on_closed)(void *, struct site_pipe *) = p->ev.on_closed;
    p->ev.on_closed = NULL;  /* once */
    on_closed(p->ev.arg, p); /* may free p */
}

/* Writing, and what a callback might do to p, happens on the loop's next turn. */
static void settle(struct site_pipe *p)
{
    if (!p->later && !p->doomed) p->later = loop_after(p->loop, 0, run_later, p);
}

static void end(struct site_pipe *p)
{
    p->ended = true;
    p->wait = (struct task_wait){0};
    unwatch(p);
    settle(p);
}

static status receive(struct ctx *cx, struct site_pipe *p)
{
    bool closed, found = true;
    struct record rec;
    TRY(pipe_io_read(cx, &p->io, &closed));
    while (found && !p->doomed) {
        TRY(pipe_io_next(cx, &p->io, &rec, &found));
        if (found) TRY(on_record(cx, p, &rec));
    }
    if (p->doomed) return OK;
    pipe_io_compact(&p->io);
    if (closed) end(p);
    return OK;
}

static void on_socket(struct loop *loop, int fd, uint32_t events, void *arg)
{
    (void)loop, (void)fd;
    struct site_pipe *p = arg;
    struct ctx *cx = &p->node->cx;
    struct arena_mark mark = arena_mark(cx->mem);
    p->busy++;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        status st = receive(cx, p);
        if (st.code && !p->doomed) end(p); /* a task that breaks the protocol is as good as dead */
    }
    arena_rewind(cx->mem, mark);
    p->busy--;
    if (p->doomed)
        free_now(p);
    else
        settle(p);
}

/* --- life --- */

status site_pipe_new(struct ctx *cx, struct loop *l, struct node *n, int fd, const json_t *spec,
                     const struct stream_key *me, const struct site_pipe_events *ev, struct site_pipe **out)
{
    const char *text = "";
    struct arena *mem = arena_new(0);
    struct site_pipe *p = mem ? arena_alloc(mem, sizeof *p, 16) : NULL;
    if (!p) {
        arena_free(mem);
        close(fd);
        return FAIL(cx, NOMEM, "pipe to a task");
    }
    p->mem = mem;
    p->node = n;
    p->loop = l;
    p->me = *me;
    p->me.to = p->me.from;
    p->ev = *ev;
    p->refused_slab = (struct slab){.mem = mem, .size = sizeof(struct refused)};
    p->cpu_changed_ms = clock_ms();
    pipe_io_init(&p->io, fd);
    p->segs_in = segs_in_new(tell_release, p);
    struct arena_mark mark = arena_mark(cx->mem);
    status st = p->segs_in ? js_text(cx, spec, &text) : FAIL(cx, NOMEM, "pipe to a task");
    if (!st.code) {
        size_t start = pipe_io_begin(&p->io, PIPE_START, -1);
        buf_put(&p->io.tx, text, strlen(text));
        pipe_io_end(&p->io, start);
        p->epoll = EPOLLIN;
        st = loop_add(cx, l, fd, EPOLLIN, on_socket, p);
    }
    arena_rewind(cx->mem, mark);
    if (st.code) {
        free_now(p);
        return st;
    }
    p->watched = true;
    p->tick = loop_after(l, TICK_MS, on_tick, p);
    settle(p);
    *out = p;
    return OK;
}

static void free_now(struct site_pipe *p)
{
    unwatch(p);
    loop_cancel(p->loop, p->tick);
    loop_cancel(p->loop, p->stall);
    loop_cancel(p->loop, p->later);
    for (struct lane *l = p->lanes; l; l = l->next)
        while (l->head) {
            if (l->head->seg != NO_SEG) segs_unuse(p->segs_in, l->head->seg);
            drop_refused(p, l);
        }
    segs_in_close(p->segs_in);
    segs_out_free(&p->segs_out);
    pipe_io_free(&p->io);
    arena_free(p->mem);
}

void site_pipe_free(struct site_pipe *p)
{
    if (!p) return;
    p->doomed = true;
    if (!p->busy) free_now(p);
}

void site_pipe_cancel(struct site_pipe *p)
{
    if (p->cancelled || p->ended) return;
    p->deaf = p->cancelled = true;
    shutdown(p->io.fd, SHUT_WR);
    for (struct lane *l = p->lanes; l; l = l->next)
        unblock(p, l);
    settle(p);
}

void site_pipe_peer_failed(struct site_pipe *p, struct party peer, const char *why)
{
    struct lane *l = lane_of(p, peer);
    if (!l || p->ended) return;
    tell_failed(p, l, why);
    settle(p);
}

void site_pipe_wait(const struct site_pipe *p, struct task_wait *out)
{
    *out = p->wait;
}
