/* task_channel.c - the channel of a task process: sending, receiving, and waiting with reasons. */
#include "net/task_int.h"
#include "base/arena.h"
#include "base/loop.h"
#include <stdio.h>
#include <string.h>

/* --- waiting --- */

struct wait {
    struct lane *lane;
    bool sending;
    const char *tag;
    uint32_t seq;
    uint64_t from_ms;
    bool told;
};

static void tell_wait(struct task_pipe *p, struct wait *w)
{
    size_t start = pipe_io_begin(&p->io, w->told ? PIPE_RESUMED : PIPE_WAIT, -1);
    if (!w->told) {
        buf_u8(&p->io.tx, w->sending);
        pipe_put_party(&p->io.tx, w->lane->peer);
        pipe_put_name(&p->io.tx, w->tag);
        buf_u32(&p->io.tx, w->seq);
    }
    pipe_io_end(&p->io, start);
    w->told = !w->told;
}

static status too_late(struct ctx *cx, const struct wait *w, uint64_t now)
{
    struct party peer = w->lane->peer;
    uint64_t progress = w->lane->progress_ms > w->from_ms ? w->lane->progress_ms : w->from_ms;
    return FAIL(cx, TIMEOUT, "%s %s[%u] %s %s %u for %.1f s, without progress for %.1f s; %s",
                w->sending ? "no room to send" : "waited for", w->tag, w->seq, w->sending ? "to" : "of",
                role_name(peer.role), peer.id, (double)(now - w->from_ms) / 1000,
                (double)(now - progress) / 1000,
                w->lane->life[0] ? w->lane->life : "the site has told nothing of the link");
}

static status wait_on(struct ctx *cx, struct task_pipe *p, struct wait *w)
{
    TRY(task_check(cx, p));
    if (w->lane->failed)
        return FAIL(cx, PEER, "%s %u: %s", role_name(w->lane->peer.role), w->lane->peer.id, w->lane->why);
    uint64_t now = clock_ms();
    uint64_t progress = w->lane->progress_ms > w->from_ms ? w->lane->progress_ms : w->from_ms;
    uint64_t idle = now > progress ? now - progress : 0;
    if (idle >= p->deadline_ms) return too_late(cx, w, now);
    if (!w->told && now - w->from_ms >= QUIET_MS) tell_wait(p, w);
    uint64_t left = p->deadline_ms - idle, most = w->told ? SLICE_MS : QUIET_MS;
    return task_pump(cx, p, (int)(left < most ? left : most));
}

/* --- the channel --- */

static status send_locked(struct ctx *cx, struct task_pipe *p, struct party to, const char *tag,
                          const void *bytes, size_t n)
{
    struct lane *l = task_lane(p, to);
    struct box *b = task_box(p, to, tag);
    if (!l || !b) return FAIL(cx, NOMEM, "message %s to %s %u", tag, role_name(to.role), to.id);
    struct wait w = {.lane = l, .sending = true, .tag = tag, .seq = b->next_out, .from_ms = clock_ms()};
    status st = task_check(cx, p);
    if (!st.code) st = task_pump(cx, p, 0);
    while (!st.code && (l->pending > PIPE_WINDOW / 2 || l->failed))
        st = wait_on(cx, p, &w);
    if (w.told) tell_wait(p, &w);
    TRY(st);
    struct pipe_message m = {.peer = to, .seq = b->next_out, .payload = {bytes, n}};
    memcpy(m.tag, tag, strlen(tag));
    TRY(pipe_put_message(cx, &p->io, &p->segs_out, PIPE_SEND, &m));
    b->next_out++;
    l->pending += n;
    l->sent += n;
    return task_drain(cx, p);
}

static status task_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *bytes,
                        size_t n)
{
    struct task_pipe *p = self;
    if (!tag_valid(tag)) return FAIL(cx, ARG, "bad tag '%.80s'", tag);
    if ((unsigned)to.role >= ROLE_COUNT) return FAIL(cx, ARG, "bad role %d", (int)to.role);
    pthread_mutex_lock(&p->lock);
    status st = send_locked(cx, p, to, tag, bytes, n);
    pthread_mutex_unlock(&p->lock);
    return st;
}

struct hold { /* a segment that the task reads where it lies */
    struct task_pipe *pipe;
    struct segs_in *segs;
    uint32_t seg;
};

static void end_hold(void *arg)
{
    struct hold *h = arg;
    pthread_mutex_lock(&h->pipe->lock);
    h->pipe->held--;
    segs_unuse(h->segs, h->seg);
    bool last = h->pipe->closing && !h->pipe->held;
    pthread_mutex_unlock(&h->pipe->lock);
    if (last) task_free_rest(h->pipe);
}

/* Into cx->mem: by a copy, or, where it is large, as a view whose memory goes back with the arena. */
static status hand_over(struct ctx *cx, struct task_pipe *p, struct letter *q, struct bytes *out)
{
    if (q->seg != NO_SEG && q->bytes.n >= HOLD_MIN && p->held < HOLD_MAX) {
        struct hold *h = NEW(cx, struct hold, 1);
        if (!h || !arena_on_free(cx->mem, end_hold, h))
            return FAIL(cx, NOMEM, "message of %zu bytes", q->bytes.n);
        *h = (struct hold){p, p->segs_in, q->seg};
        p->held++;
        *out = q->bytes;
        return OK;
    }
    uint8_t *copy = NEW(cx, uint8_t, q->bytes.n + 1);
    if (!copy) return FAIL(cx, NOMEM, "message of %zu bytes", q->bytes.n);
    if (q->bytes.n) memcpy(copy, q->bytes.p, q->bytes.n);
    *out = (struct bytes){copy, q->bytes.n};
    payload_free(&p->pile, &q->payload);
    if (q->seg != NO_SEG) segs_unuse(p->segs_in, q->seg);
    return OK;
}

static void tell_took(struct task_pipe *p, struct lane *l)
{
    size_t start = pipe_io_begin(&p->io, PIPE_TOOK, -1);
    pipe_put_party(&p->io.tx, l->peer);
    buf_u64(&p->io.tx, l->took);
    pipe_io_end(&p->io, start);
    l->took = 0;
}

static status recv_locked(struct ctx *cx, struct task_pipe *p, struct party from, const char *tag,
                          struct bytes *out)
{
    struct lane *l = task_lane(p, from);
    struct box *b = task_box(p, from, tag);
    if (!l || !b) return FAIL(cx, NOMEM, "message %s of %s %u", tag, role_name(from.role), from.id);
    struct wait w = {.lane = l, .tag = tag, .seq = b->next_in, .from_ms = clock_ms()};
    status st = task_check(cx, p);
    if (!st.code && !b->head) st = task_pump(cx, p, 0);
    while (!st.code && !b->head)
        st = wait_on(cx, p, &w);
    if (w.told) tell_wait(p, &w);
    TRY(st);
    struct letter *q = b->head;
    if (q->seq != b->next_in)
        return FAIL(cx, PROTO, "%s[%u] of %s %u came where number %u was due", tag, q->seq,
                    role_name(from.role), from.id, b->next_in);
    size_t n = q->bytes.n;
    TRY(hand_over(cx, p, q, out));
    b->head = q->next;
    if (!b->head) b->tail = &b->head;
    b->next_in++;
    slab_put(&p->letters, q);
    l->took += n;
    if (l->took >= TOOK_STEP) tell_took(p, l);
    return task_drain(cx, p);
}

static status task_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    struct task_pipe *p = self;
    if (!tag_valid(tag)) return FAIL(cx, ARG, "bad tag '%.80s'", tag);
    if ((unsigned)from.role >= ROLE_COUNT) return FAIL(cx, ARG, "bad role %d", (int)from.role);
    pthread_mutex_lock(&p->lock);
    status st = recv_locked(cx, p, from, tag, out);
    pthread_mutex_unlock(&p->lock);
    return st;
}

static uint64_t task_bytes_sent(void *self, struct party to)
{
    struct task_pipe *p = self;
    pthread_mutex_lock(&p->lock);
    struct lane *l = task_lane(p, to);
    uint64_t n = l ? l->sent : 0;
    pthread_mutex_unlock(&p->lock);
    return n;
}

const struct channel_ops task_channel_ops = {task_send, task_recv, task_bytes_sent};
