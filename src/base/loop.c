/* Level-triggered: what a batch leaves out, because the loop was stopped, the kernel reports again. */
#include "base/loop.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };

/* A descriptor in the table. An event carries the generation it was asked for under: one that was fetched before the
 * descriptor was removed, or its number used again, is told by that. */
struct watch {
    loop_fd_fn fn; /* NULL: not watched */
    void *arg;
    uint32_t events, generation;
};

struct loop_timer {
    uint64_t due_us, number; /* numbers rise: of equal deadlines the older first */
    size_t at;               /* in the heap */
    loop_fn fn;
    void *arg;
};

struct post {
    struct post *next;
    loop_fn fn;
    void *arg;
};

struct loop {
    int epoll, wake; /* wake: an eventfd, for posts and stops */
    struct watch *watch;
    size_t n_watch; /* by descriptor */
    uint32_t generation;
    struct loop_timer **heap; /* the earliest at 0 */
    size_t n_timers, cap_timers;
    uint64_t next_number;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards the queue of posts */
    struct post *first, **last;
};

/* --- clocks --- */

static uint64_t clock_read_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}

uint64_t clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t wall_ms(void)
{
    return (int64_t)(clock_read_us(CLOCK_REALTIME) / 1000);
}

/* --- a loop --- */

static const uint64_t wake_tag = UINT64_MAX; /* no watch has it: descriptors are below 2^31 */

static status open_kernel_side(struct ctx *cx, struct loop *l)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = wake_tag};
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0) return FAIL(cx, IO, "epoll: %m");
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake < 0) return FAIL(cx, IO, "eventfd: %m");
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev)) return FAIL(cx, IO, "watch an eventfd: %m");
    return OK;
}

status loop_new(struct ctx *cx, struct loop **out)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l) return FAIL(cx, NOMEM, "a loop");
    l->epoll = l->wake = -1;
    l->last = &l->first;
    pthread_mutex_init(&l->lock, NULL);
    status st = open_kernel_side(cx, l);
    if (st.code) {
        loop_free(l);
        return st;
    }
    *out = l;
    return OK;
}

void loop_free(struct loop *l)
{
    if (!l) return;
    for (size_t i = 0; i < l->n_timers; i++)
        free(l->heap[i]);
    for (struct post *p = l->first, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    if (l->epoll >= 0) close(l->epoll);
    if (l->wake >= 0) close(l->wake);
    free(l->heap);
    free(l->watch);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void loop_freep(struct loop **l)
{
    loop_free(*l);
    *l = NULL;
}

/* --- descriptors --- */

static bool watch_room(struct loop *l, size_t fd)
{
    if (fd < l->n_watch) return true;
    size_t n = l->n_watch ? l->n_watch : 64;
    while (n <= fd)
        n *= 2;
    struct watch *more = realloc(l->watch, n * sizeof *more);
    if (!more) return false;
    memset(more + l->n_watch, 0, (n - l->n_watch) * sizeof *more);
    l->watch = more;
    l->n_watch = n;
    return true;
}

static struct watch *watch_of(struct loop *l, int fd)
{
    return fd >= 0 && (size_t)fd < l->n_watch && l->watch[fd].fn ? &l->watch[fd] : NULL;
}

static status control(struct ctx *cx, struct loop *l, int op, int fd, uint32_t events, uint32_t generation)
{
    struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
    if (epoll_ctl(l->epoll, op, fd, &ev) == 0) return OK;
    if (errno == EEXIST) return FAIL(cx, EXISTS, "descriptor %d is watched already", fd);
    if (errno == ENOMEM || errno == ENOSPC) return FAIL(cx, NOMEM, "watch descriptor %d: %m", fd);
    return FAIL(cx, IO, "watch descriptor %d: %m", fd);
}

status loop_add(struct ctx *cx, struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg)
{
    if (fd < 0 || !fn) return FAIL(cx, ARG, "watch descriptor %d%s", fd, fn ? "" : " for nobody");
    if (!watch_room(l, (size_t)fd)) return FAIL(cx, NOMEM, "watch descriptor %d", fd);
    /* The kernel's answer decides whether it is watched: our own entry may be of one closed without loop_del. */
    TRY(control(cx, l, EPOLL_CTL_ADD, fd, events, l->generation + 1));
    l->watch[fd] = (struct watch){fn, arg, events, ++l->generation};
    return OK;
}

status loop_mod(struct ctx *cx, struct loop *l, int fd, uint32_t events)
{
    struct watch *w = watch_of(l, fd);
    if (!w) return FAIL(cx, STATE, "descriptor %d is not watched", fd);
    TRY(control(cx, l, EPOLL_CTL_MOD, fd, events, w->generation));
    w->events = events;
    return OK;
}

void loop_del(struct loop *l, int fd)
{
    struct watch *w = watch_of(l, fd);
    if (!w) return;
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL); /* fails when it is closed, and so is gone already */
    *w = (struct watch){0};
}

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
    if (ev->data.u64 == wake_tag) {
        uint64_t n;
        ssize_t k = read(l->wake, &n, sizeof n);
        (void)k; /* nothing there is fine */
        return;
    }
    int fd = (int)(uint32_t)ev->data.u64;
    const struct watch *w = watch_of(l, fd);
    if (!w || w->generation != ev->data.u64 >> 32) return;
    uint32_t events = ev->events & (w->events | EPOLLERR | EPOLLHUP); /* as asked for by now */
    if (events) w->fn(l, fd, events, w->arg);
}

/* --- timers: a binary heap --- */

static bool earlier(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void heap_put(struct loop *l, size_t at, struct loop_timer *t)
{
    l->heap[at] = t;
    t->at = at;
}

/* Moves t, for which there is a hole at `at`, to where it belongs. */
static void heap_settle(struct loop *l, size_t at, struct loop_timer *t)
{
    for (; at && earlier(t, l->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_put(l, at, l->heap[(at - 1) / 2]);
    for (size_t child; (child = 2 * at + 1) < l->n_timers; at = child) {
        if (child + 1 < l->n_timers && earlier(l->heap[child + 1], l->heap[child])) child++;
        if (earlier(t, l->heap[child])) break;
        heap_put(l, at, l->heap[child]);
    }
    heap_put(l, at, t);
}

static void heap_remove(struct loop *l, const struct loop_timer *t)
{
    struct loop_timer *last = l->heap[--l->n_timers];
    if (last != t) heap_settle(l, t->at, last);
}

struct loop_timer *loop_after(struct loop *l, uint64_t delay_ms, loop_fn fn, void *arg)
{
    if (l->n_timers == l->cap_timers) {
        size_t cap = l->cap_timers ? 2 * l->cap_timers : 16;
        struct loop_timer **more = realloc(l->heap, cap * sizeof *more);
        if (!more) return NULL;
        l->heap = more;
        l->cap_timers = cap;
    }
    struct loop_timer *t = malloc(sizeof *t);
    if (!t) return NULL;
    uint64_t delay_us, due_us;
    if (__builtin_mul_overflow(delay_ms, 1000, &delay_us) ||
        __builtin_add_overflow(clock_us(), delay_us, &due_us))
        due_us = UINT64_MAX; /* never */
    *t = (struct loop_timer){.due_us = due_us, .number = l->next_number++, .fn = fn, .arg = arg};
    heap_settle(l, l->n_timers++, t);
    return t;
}

void loop_cancel(struct loop *l, struct loop_timer *t)
{
    if (!t) return;
    heap_remove(l, t);
    free(t);
}

/* Those due now; not those which they start, or one with no delay that starts itself again would hold the loop. */
static void run_timers(struct loop *l)
{
    uint64_t now = l->n_timers ? clock_us() : 0, end = l->next_number;
    while (l->n_timers && !atomic_load(&l->stop)) {
        struct loop_timer *t = l->heap[0], due = *t;
        if (due.due_us > now || due.number >= end) break;
        heap_remove(l, t);
        free(t);
        due.fn(l, due.arg);
    }
}

static int wait_ms(const struct loop *l)
{
    if (atomic_load(&l->stop)) return 0;
    if (!l->n_timers) return -1;
    uint64_t now = clock_us(), due = l->heap[0]->due_us;
    if (due <= now) return 0;
    uint64_t ms = (due - now - 1) / 1000 + 1; /* up: waking too early would spin */
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* --- posts, running --- */

static void wake(struct loop *l)
{
    ssize_t k = write(l->wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)k; /* fails only when 2^64 wakes wait, and then it is awake */
}

bool loop_post(struct loop *l, loop_fn fn, void *arg)
{
    struct post *p = malloc(sizeof *p);
    if (!p) return false;
    *p = (struct post){NULL, fn, arg};
    pthread_mutex_lock(&l->lock);
    bool was_empty = !l->first;
    *l->last = p;
    l->last = &p->next;
    if (was_empty) wake(l); /* under the lock: once without it the loop may run the post and be gone */
    pthread_mutex_unlock(&l->lock);
    return true;
}

static void run_posts(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    struct post *p = l->first;
    l->first = NULL;
    l->last = &l->first;
    pthread_mutex_unlock(&l->lock);
    for (struct post *next; p; p = next) {
        next = p->next;
        struct post now = *p;
        free(p);
        now.fn(l, now.arg);
    }
}

/* Stopped, it calls no more descriptors and timers, but still what was posted before: the one who posted, then
 * stopped, may rely on it. A stop that comes before the run ends the run at once. */
status loop_run(struct ctx *cx, struct loop *l)
{
    for (;;) {
        struct epoll_event ev[BATCH];
        int n = epoll_wait(l->epoll, ev, BATCH, wait_ms(l));
        if (n < 0 && errno != EINTR) return FAIL(cx, IO, "wait for events: %m");
        for (int i = 0; i < n && !atomic_load(&l->stop); i++)
            dispatch(l, &ev[i]);
        bool stop = atomic_exchange(&l->stop, false);
        run_posts(l);
        if (stop) return OK;
        run_timers(l);
    }
}

void loop_stop(struct loop *l)
{
    pthread_mutex_lock(&l->lock); /* the run ends only after it had this lock, so l is there for the wake */
    atomic_store(&l->stop, true);
    wake(l);
    pthread_mutex_unlock(&l->lock);
}
