/* task_pipe.c - the task's end. One thread at a time is in a call; while it waits, for a message or for room,
 * it reads whatever the site sends, so two tasks that send each other large values cannot block each other. A
 * watcher thread does nothing but look for the end of the site's direction (how the site asks a task to stop)
 * and, when nobody is in a call, tell the site how much processor time the task has used. */
#include "net/task_int.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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
    p->channel = (struct channel){&task_channel_ops, p};
    p->deadline_ms = START_MS;
    pthread_mutex_init(&p->lock, NULL);
    atomic_init(&p->cancelled, false);
    pipe_io_init(&p->io, fd);
    p->segs_in = segs_in_new(on_unused, p);
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (!p->segs_in || p->stop_fd < 0) return FAIL(cx, NOMEM, "pipe to the site");
    int error = pthread_create(&p->watcher, NULL, watch, p);
    errno = error;
    if (error) return FAIL(cx, IO, "pipe to the site: %m");
    p->watching = true;
    *out = TAKE(p);
    return OK;
}

void task_free_rest(struct task_pipe *p)
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
    if (!p->held) task_free_rest(p);
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

struct lane *task_lane(struct task_pipe *p, struct party peer)
{
    for (struct lane *l = p->lanes; l; l = l->next)
        if (l->peer.id == peer.id && l->peer.role == peer.role) return l;
    struct lane *l = arena_alloc(p->mem, sizeof *l, _Alignof(struct lane));
    if (!l) return NULL;
    l->peer = peer;
    l->next = p->lanes;
    return p->lanes = l;
}

struct box *task_box(struct task_pipe *p, struct party peer, const char *tag)
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
    struct box *b = task_box(p, m.peer, m.tag);
    struct lane *l = task_lane(p, m.peer);
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
    struct lane *l = task_lane(p, peer);
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
status task_pump(struct ctx *cx, struct task_pipe *p, int wait_ms)
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

status task_check(struct ctx *cx, const struct task_pipe *p)
{
    TRY(ctx_check(cx));
    return atomic_load(&p->cancelled)
               ? FAIL(cx, CANCELLED, "the site has asked this task to stop, or is gone")
               : OK;
}

/* Until everything is with the kernel. */
status task_drain(struct ctx *cx, struct task_pipe *p)
{
    bool empty;
    TRY(flush(cx, p, &empty));
    uint64_t from = clock_ms();
    while (!empty) {
        if (clock_ms() - from > p->deadline_ms)
            return FAIL(cx, TIMEOUT, "the site has read nothing for %llu ms",
                        (unsigned long long)p->deadline_ms);
        size_t left = p->io.tx.n - p->io.tx_sent;
        TRY(task_pump(cx, p, SLICE_MS));
        empty = !pipe_io_unsent(&p->io);
        if (p->io.tx.n - p->io.tx_sent < left) from = clock_ms();
    }
    return OK;
}

/* --- start and events --- */

static status start_locked(struct ctx *cx, struct task_pipe *p)
{
    uint64_t from = clock_ms();
    while (!p->spec) {
        TRY(task_check(cx, p));
        if (clock_ms() - from > START_MS)
            return FAIL(cx, TIMEOUT, "the site has not described the task in %d ms", START_MS);
        TRY(task_pump(cx, p, SLICE_MS));
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
    return task_drain(cx, p);
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
