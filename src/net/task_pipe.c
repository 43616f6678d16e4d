/* task_pipe.c - the task's end. One thread at a time is in a call; while it waits, for a message or for room,
 * it reads whatever the site sends, so two tasks that send each other large values cannot block each other. A
 * watcher thread does nothing but look for the end of the site's direction (how the site asks a task to stop)
 * and, when nobody is in a call, tell the site how much processor time the task has used. */
#include "net/pipe_io.h"
#include "net/pipe.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "net/mem.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SLICE_MS = 50, /* how often a wait looks at cx->cancel */
    QUIET_MS = 2,  /* shorter waits are not told to the site */
    ALIVE_MS = 1000,
    HOLD_MIN =
        1 << 20,   /* messages of this size are given to the task where they lie, up to HOLD_MAX at once; */
    HOLD_MAX = 64, /* others are copied */
    TOOK_STEP = 1 << 20,
    START_MS = 60000,
    BOXES = 256,
};

struct letter { /* a message that has come */
    struct letter *next;
    uint32_t seq, seg;
    struct payload payload; /* inline ones are ours */
    struct bytes bytes;
};
struct box { /* all of one tag from or to one peer */
    struct box *next;
    struct party peer;
    char tag[TAG_MAX + 1];
    uint32_t next_out, next_in;
    struct letter *head, **tail;
};
struct lane { /* what concerns one peer */
    struct lane *next;
    struct party peer;
    uint64_t sent;    /* payload bytes */
    uint64_t pending; /* given to the site, not yet in its outbox */
    uint64_t took;    /* consumed, not yet told */
    uint64_t progress_ms;
    bool failed;
    char why[400];
    char life[400]; /* the link and the peer's task, as the site last told */
};

struct task_pipe {
    struct arena *mem;
    pthread_mutex_t lock; /* guards all below but the atomics: held by whoever is in a call */
    struct pipe_io io;
    struct segs_out segs_out;
    struct segs_in *segs_in;
    struct pile pile;
    struct slab letters;
    struct box *boxes[BOXES];
    struct lane *lanes;
    struct channel channel;
    struct stream_key me;
    uint64_t deadline_ms;
    json_t *spec;
    size_t held;
    bool closing; /* freed when the last held message is given back */
    bool ended;   /* the site sends nothing more */
    atomic_bool cancelled;
    pthread_t watcher;
    bool watching;
    int stop_fd; /* eventfd: ends the watcher */
};

static status task_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p,
                        size_t n);
static status task_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out);
static uint64_t task_bytes_sent(void *self, struct party to);
static const struct channel_ops task_ops = {task_send, task_recv, task_bytes_sent};

/* --- the watcher --- */

static void tell_alive(struct task_pipe *p)
{
    struct timespec t;
    struct ctx quiet = {0};
    bool empty;
    if (pthread_mutex_trylock(&p->lock) != 0) return; /* in a call: the site knows what it does */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    if (p->io.tx.n - p->io.tx_sent < 4096) {
        size_t start = pipe_io_begin(&p->io, PIPE_ALIVE, -1);
        buf_u64(&p->io.tx, (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
        pipe_io_end(&p->io, start);
    }
    status st = pipe_io_flush(&quiet, &p->io, &empty);
    (void)st; /* the next call finds out */
    pthread_mutex_unlock(&p->lock);
}

static void *watch(void *arg)
{
    struct task_pipe *p = arg;
    struct pollfd fds[2] = {{.fd = p->io.fd, .events = POLLRDHUP}, {.fd = p->stop_fd, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, 2, ALIVE_MS);
        if (fds[1].revents) return NULL;
        if (n > 0 && fds[0].revents) {
            atomic_store(&p->cancelled, true);
            fds[0].fd = -1;
        }
        if (n == 0) tell_alive(p);
    }
}

/* --- life --- */

static void on_unused(void *arg, uint32_t id);

status task_pipe_open(struct ctx *cx, int fd, struct task_pipe **out)
{
    struct arena *mem = arena_new(0);
    CLEANUP(task_pipe_freep) struct task_pipe *p = mem ? arena_alloc(mem, sizeof *p, 16) : NULL;
    if (!p) {
        arena_free(mem);
        close(fd);
        return FAIL(cx, NOMEM, "pipe to the site");
    }
    p->mem = mem;
    p->letters = (struct slab){.mem = mem, .size = sizeof(struct letter)};
    p->channel = (struct channel){&task_ops, p};
    p->deadline_ms = START_MS;
    pthread_mutex_init(&p->lock, NULL);
    atomic_init(&p->cancelled, false);
    pipe_io_init(&p->io, fd);
    p->segs_in = segs_in_new(on_unused, p);
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (!p->segs_in || p->stop_fd < 0) return FAIL(cx, NOMEM, "pipe to the site");
    int error = pthread_create(&p->watcher, NULL, watch, p);
    if (error) return FAIL(cx, IO, "pipe to the site: %s", strerror(error));
    p->watching = true;
    *out = TAKE(p);
    return OK;
}

static void free_rest(struct task_pipe *p)
{
    pthread_mutex_destroy(&p->lock);
    arena_free(p->mem);
}

void task_pipe_free(struct task_pipe *p)
{
    if (!p) return;
    if (p->watching) {
        uint64_t one = 1;
        while (write(p->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
            continue;
        pthread_join(p->watcher, NULL);
    }
    if (p->stop_fd >= 0) close(p->stop_fd);
    for (size_t i = 0; i < BOXES; i++)
        for (struct box *b = p->boxes[i]; b; b = b->next)
            for (struct letter *q = b->head; q; q = q->next) {
                payload_free(&p->pile, &q->payload);
                if (q->seg != NO_SEG) segs_unuse(p->segs_in, q->seg);
            }
    segs_in_close(p->segs_in);
    segs_out_free(&p->segs_out);
    pile_trim(&p->pile, UINT64_MAX);
    pipe_io_free(&p->io);
    json_decref(p->spec);
    p->closing = true;
    if (!p->held) free_rest(p);
}

void task_pipe_freep(struct task_pipe **p)
{
    task_pipe_free(*p);
    *p = NULL;
}

void task_pipe_identify(struct task_pipe *p, const char *job, const char *task, struct party me,
                        uint64_t deadline_ms)
{
    snprintf(p->me.job, sizeof p->me.job, "%s", job);
    snprintf(p->me.task, sizeof p->me.task, "%s", task);
    p->me.from = p->me.to = me;
    p->deadline_ms = deadline_ms;
}

struct channel *task_pipe_channel(struct task_pipe *p)
{
    return &p->channel;
}

const atomic_bool *task_pipe_cancelled(const struct task_pipe *p)
{
    return &p->cancelled;
}

/* --- boxes and lanes --- */

static struct lane *lane_of(struct task_pipe *p, struct party peer)
{
    for (struct lane *l = p->lanes; l; l = l->next)
        if (l->peer.id == peer.id && l->peer.role == peer.role) return l;
    struct lane *l = arena_alloc(p->mem, sizeof *l, _Alignof(struct lane));
    if (!l) return NULL;
    l->peer = peer;
    l->next = p->lanes;
    return p->lanes = l;
}

static struct box *box_of(struct task_pipe *p, struct party peer, const char *tag)
{
    uint32_t h = 2166136261u ^ peer.id ^ (uint32_t)peer.role;
    for (const char *c = tag; *c; c++)
        h = (h ^ (uint8_t)*c) * 16777619u;
    h = (h ^ h >> 16) % BOXES;
    for (struct box *b = p->boxes[h]; b; b = b->next)
        if (b->peer.id == peer.id && b->peer.role == peer.role && strcmp(b->tag, tag) == 0) return b;
    struct box *b = arena_alloc(p->mem, sizeof *b, _Alignof(struct box));
    if (!b) return NULL;
    b->peer = peer;
    memcpy(b->tag, tag, strlen(tag));
    b->tail = &b->head;
    b->next = p->boxes[h];
    return p->boxes[h] = b;
}

/* --- records from the site --- */

static void on_unused(void *arg, uint32_t id)
{
    struct task_pipe *p = arg;
    size_t start = pipe_io_begin(&p->io, PIPE_RELEASE, -1);
    buf_u32(&p->io.tx, id);
    pipe_io_end(&p->io, start);
}

static status take_message(struct ctx *cx, struct task_pipe *p, const struct record *rec)
{
    struct pipe_message m;
    TRY(pipe_get_message(cx, &p->io, p->segs_in, rec, &m));
    struct box *b = box_of(p, m.peer, m.tag);
    struct lane *l = lane_of(p, m.peer);
    struct letter *q = slab_get(&p->letters);
    bool ours = m.seg == NO_SEG;
    if (!b || !l || !q || (ours && !payload_new(&p->pile, m.payload.n, false, &q->payload)))
        return FAIL(cx, NOMEM, "message %s[%u] of %zu bytes", m.tag, m.seq, m.payload.n);
    if (ours && m.payload.n) memcpy(q->payload.p, m.payload.p, m.payload.n);
    q->bytes = (struct bytes){ours ? q->payload.p : m.payload.p, m.payload.n};
    q->seq = m.seq;
    q->seg = m.seg;
    *b->tail = q;
    b->tail = &q->next;
    l->progress_ms = clock_ms();
    return OK;
}

static status get_text(struct ctx *cx, struct reader *r, char *out, size_t size)
{
    struct bytes text;
    TRY(reader_blob(cx, r, size - 1, &text));
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return OK;
}

static status take_peer_record(struct ctx *cx, struct task_pipe *p, const struct record *rec)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    struct party peer;
    uint64_t n;
    uint32_t ms;
    TRY(pipe_get_party(cx, &r, &peer));
    struct lane *l = lane_of(p, peer);
    if (!l) return FAIL(cx, NOMEM, "peer");
    if (rec->kind == PIPE_ACCEPTED) {
        TRY(reader_u64(cx, &r, &n));
        l->pending -= n < l->pending ? n : l->pending;
        l->progress_ms = clock_ms();
        return OK;
    }
    if (rec->kind == PIPE_FAILED) {
        if (l->failed) return OK; /* the first reason is the reason */
        l->failed = true;
        return get_text(cx, &r, l->why, sizeof l->why);
    }
    TRY(reader_u32(cx, &r, &ms));
    uint64_t now = clock_ms(), at = now > ms ? now - ms : 0;
    if (at > l->progress_ms) l->progress_ms = at;
    return get_text(cx, &r, l->life, sizeof l->life);
}

static status take_record(struct ctx *cx, struct task_pipe *p, const struct record *rec)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    uint32_t id;
    switch ((int)rec->kind) {
    case PIPE_START:
        if (p->spec) return FAIL(cx, PROTO, "pipe: started twice");
        return js_parse(cx, "the site's description of the task", rec->body.p, rec->body.n, &p->spec);
    case PIPE_DELIVER:
        return take_message(cx, p, rec);
    case PIPE_ACCEPTED:
    case PIPE_FAILED:
    case PIPE_LIFE:
        return take_peer_record(cx, p, rec);
    case PIPE_RELEASE:
        TRY(reader_u32(cx, &r, &id));
        segs_released(&p->segs_out, &p->io, id);
        return OK;
    case PIPE_DROP:
        TRY(reader_u32(cx, &r, &id));
        return segs_drop(cx, p->segs_in, id);
    default:
        return FAIL(cx, PROTO, "pipe: record %d from the site", (int)rec->kind);
    }
}

static status flush(struct ctx *cx, struct task_pipe *p, bool *empty)
{
    status st = pipe_io_flush(cx, &p->io, empty);
    if (st.code != ERR_IO) return st;
    atomic_store(&p->cancelled, true);
    return FAIL(cx, CANCELLED, "the site is gone");
}

/* Sends what waits and takes what is there, waiting for it at most wait_ms. */
static status pump(struct ctx *cx, struct task_pipe *p, int wait_ms)
{
    bool empty, closed, found = true;
    struct record rec;
    TRY(flush(cx, p, &empty));
    short events = (short)((p->ended ? 0 : POLLIN) | (empty || p->io.stalled ? 0 : POLLOUT));
    if (p->io.stalled && wait_ms > QUIET_MS) wait_ms = QUIET_MS;
    struct pollfd f = {.fd = p->io.fd, .events = events};
    if (poll(&f, 1, wait_ms) < 0 && errno != EINTR) return FAIL(cx, IO, "poll: %m");
    if (p->ended || !f.revents) return flush(cx, p, &empty);
    TRY(pipe_io_read(cx, &p->io, &closed));
    while (found) {
        TRY(pipe_io_next(cx, &p->io, &rec, &found));
        if (found) TRY(take_record(cx, p, &rec));
    }
    pipe_io_compact(&p->io);
    if (closed) {
        p->ended = true;
        atomic_store(&p->cancelled, true);
    }
    return flush(cx, p, &empty);
}

static status check(struct ctx *cx, const struct task_pipe *p)
{
    TRY(ctx_check(cx));
    return atomic_load(&p->cancelled)
               ? FAIL(cx, CANCELLED, "the site has asked this task to stop, or is gone")
               : OK;
}

/* Until everything is with the kernel. */
static status drain(struct ctx *cx, struct task_pipe *p)
{
    bool empty;
    TRY(flush(cx, p, &empty));
    uint64_t from = clock_ms();
    while (!empty) {
        if (clock_ms() - from > p->deadline_ms)
            return FAIL(cx, TIMEOUT, "the site has read nothing for %llu ms",
                        (unsigned long long)p->deadline_ms);
        size_t left = p->io.tx.n - p->io.tx_sent;
        TRY(pump(cx, p, SLICE_MS));
        empty = !pipe_io_unsent(&p->io);
        if (p->io.tx.n - p->io.tx_sent < left) from = clock_ms();
    }
    return OK;
}

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
    TRY(check(cx, p));
    if (w->lane->failed)
        return FAIL(cx, PEER, "%s %u: %s", role_name(w->lane->peer.role), w->lane->peer.id, w->lane->why);
    uint64_t now = clock_ms();
    uint64_t progress = w->lane->progress_ms > w->from_ms ? w->lane->progress_ms : w->from_ms;
    uint64_t idle = now > progress ? now - progress : 0;
    if (idle >= p->deadline_ms) return too_late(cx, w, now);
    if (!w->told && now - w->from_ms >= QUIET_MS) tell_wait(p, w);
    uint64_t left = p->deadline_ms - idle, most = w->told ? SLICE_MS : QUIET_MS;
    return pump(cx, p, (int)(left < most ? left : most));
}

/* --- the channel --- */

static status send_locked(struct ctx *cx, struct task_pipe *p, struct party to, const char *tag,
                          const void *bytes, size_t n)
{
    struct lane *l = lane_of(p, to);
    struct box *b = box_of(p, to, tag);
    if (!l || !b) return FAIL(cx, NOMEM, "message %s to %s %u", tag, role_name(to.role), to.id);
    struct wait w = {.lane = l, .sending = true, .tag = tag, .seq = b->next_out, .from_ms = clock_ms()};
    status st = check(cx, p);
    if (!st.code) st = pump(cx, p, 0);
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
    return drain(cx, p);
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
    if (last) free_rest(h->pipe);
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
    struct lane *l = lane_of(p, from);
    struct box *b = box_of(p, from, tag);
    if (!l || !b) return FAIL(cx, NOMEM, "message %s of %s %u", tag, role_name(from.role), from.id);
    struct wait w = {.lane = l, .tag = tag, .seq = b->next_in, .from_ms = clock_ms()};
    status st = check(cx, p);
    if (!st.code && !b->head) st = pump(cx, p, 0);
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
    return drain(cx, p);
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
    struct lane *l = lane_of(p, to);
    uint64_t n = l ? l->sent : 0;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* --- start and events --- */

static status start_locked(struct ctx *cx, struct task_pipe *p)
{
    uint64_t from = clock_ms();
    while (!p->spec) {
        TRY(check(cx, p));
        if (clock_ms() - from > START_MS)
            return FAIL(cx, TIMEOUT, "the site has not described the task in %d ms", START_MS);
        TRY(pump(cx, p, SLICE_MS));
    }
    return OK;
}

status task_pipe_start(struct ctx *cx, struct task_pipe *p, json_t **spec)
{
    pthread_mutex_lock(&p->lock);
    status st = start_locked(cx, p);
    if (!st.code) *spec = json_incref(p->spec);
    pthread_mutex_unlock(&p->lock);
    return st;
}

static status event_locked(struct ctx *cx, struct task_pipe *p, const char *kind, const char *text)
{
    size_t n = strlen(text);
    if (n > PIPE_RECORD_MAX - 1024)
        return FAIL(cx, LIMIT, "event %s of %zu bytes, at most %d", kind, n, PIPE_RECORD_MAX);
    size_t start = pipe_io_begin(&p->io, PIPE_EVENT, -1);
    pipe_put_name(&p->io.tx, kind);
    buf_put(&p->io.tx, text, n);
    pipe_io_end(&p->io, start);
    return drain(cx, p);
}

status task_pipe_event(struct ctx *cx, struct task_pipe *p, const char *kind, const json_t *body)
{
    const char *text = "";
    struct arena_mark mark = arena_mark(cx->mem);
    if (body) TRY(js_text(cx, body, &text));
    pthread_mutex_lock(&p->lock);
    status st = event_locked(cx, p, kind, text);
    pthread_mutex_unlock(&p->lock);
    arena_rewind(cx->mem, mark);
    return st;
}
