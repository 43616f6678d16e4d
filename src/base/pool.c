/* A loop that runs is a struct run on its caller's stack, in the pool's list while it has chunks to give away. Threads
 * that have nothing to do take the newest one: with loops inside loops that is the one somebody waits for. The caller
 * runs every chunk that nobody else took, so a loop ends even if no other thread ever comes, and a loop within a chunk
 * cannot wait for itself.
 *
 * Chunks are taken in rising order and one is skipped only when one below it has failed: so the lowest failing chunk is
 * always run, whatever the number of threads. */
#include "base/pool.h"
#include "base/arena.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS_MAX = 1024, STACK_BYTES = 4 << 20 };

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;                /* a loop was added, or stop */
    struct run *runs;                   /* under lock: newest first */
    struct arena *scratch[THREADS_MAX]; /* under lock: not in use */
    size_t n_scratch;
    bool stop;          /* under lock */
    unsigned n_threads; /* with the caller's; constant */
    pthread_t thread[]; /* n_threads - 1 */
};

struct run {
    struct run *next;         /* in pool->runs; under lock */
    const struct ctx *caller; /* not written while others work */
    pool_fn fn;
    void *arg;
    size_t n, grain, n_chunks;
    atomic_size_t taken;  /* chunks given out */
    atomic_size_t failed; /* the lowest that failed; n_chunks: none */
    pthread_mutex_t lock; /* err, and failed where it is written */
    struct err err;
    unsigned n_helpers;  /* under the pool's lock, as left */
    pthread_cond_t left; /* the last helper left */
};

/* ---- one loop ---- */

static void fail(struct run *r, size_t chunk, const struct err *err, enum err_code code)
{
    pthread_mutex_lock(&r->lock);
    if (chunk < atomic_load_explicit(&r->failed, memory_order_relaxed)) {
        r->err = *err;
        r->err.code = code;
        atomic_store_explicit(&r->failed, chunk, memory_order_relaxed);
    }
    pthread_mutex_unlock(&r->lock);
}

static void run_chunks(struct run *r, struct arena *mem)
{
    for (;;) {
        size_t chunk = atomic_fetch_add_explicit(&r->taken, 1, memory_order_relaxed);
        if (chunk >= r->n_chunks || chunk > atomic_load_explicit(&r->failed, memory_order_relaxed)) return;
        size_t begin = chunk * r->grain, left = r->n - begin;
        struct ctx cx = {
            .mem = mem, .pool = r->caller->pool, .log = r->caller->log, .cancel = r->caller->cancel};
        status st = ctx_check(&cx);
        if (!st.code) st = r->fn(&cx, chunk, begin, begin + (left < r->grain ? left : r->grain), r->arg);
        arena_reset(mem);
        if (st.code) fail(r, chunk, &cx.err, st.code);
    }
}

/* `taken` goes past n_chunks by one for every thread that looked: far from wrapping. */
static bool has_chunks(struct run *r)
{
    size_t taken = atomic_load_explicit(&r->taken, memory_order_relaxed);
    return taken < r->n_chunks && taken <= atomic_load_explicit(&r->failed, memory_order_relaxed);
}

/* ---- the pool ---- */

/* With lock held; NULL: out of memory. */
static struct arena *take_scratch(struct pool *p)
{
    return p->n_scratch ? p->scratch[--p->n_scratch] : arena_new(0);
}

static void give_scratch(struct pool *p, struct arena *mem)
{
    if (p->n_scratch < THREADS_MAX)
        p->scratch[p->n_scratch++] = mem;
    else
        arena_free(mem);
}

static struct run *find_run(const struct pool *p)
{
    for (struct run *r = p->runs; r; r = r->next)
        if (has_chunks(r)) return r;
    return NULL;
}

static void *worker(void *arg)
{
    struct pool *p = arg;
    pthread_setname_np(pthread_self(), "pool");
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct run *r = find_run(p);
        struct arena *mem = r ? take_scratch(p) : NULL;
        if (!mem) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        r->n_helpers++;
        pthread_mutex_unlock(&p->lock);
        run_chunks(r, mem);
        pthread_mutex_lock(&p->lock);
        give_scratch(p, mem);
        if (--r->n_helpers == 0) pthread_cond_signal(&r->left);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static unsigned online_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return (unsigned)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* Signals are for the threads that the program made; stacks are small, for they count against RLIMIT_DATA. */
static bool start(struct pool *p, pthread_t *out)
{
    pthread_attr_t attr;
    sigset_t all, old;
    if (pthread_attr_init(&attr)) return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok =
        pthread_attr_setstacksize(&attr, STACK_BYTES) == 0 && pthread_create(out, &attr, worker, p) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return ok;
}

struct pool *pool_new(unsigned n_threads)
{
    if (n_threads == 0) n_threads = online_processors();
    if (n_threads > THREADS_MAX) n_threads = THREADS_MAX;
    struct pool *p = calloc(1, sizeof *p + (n_threads - 1) * sizeof p->thread[0]);
    if (!p) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    for (p->n_threads = 1; p->n_threads < n_threads; p->n_threads++) {
        if (start(p, &p->thread[p->n_threads - 1])) continue;
        pool_free(p);
        return NULL;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i + 1 < p->n_threads; i++)
        pthread_join(p->thread[i], NULL);
    while (p->n_scratch)
        arena_free(p->scratch[--p->n_scratch]);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void pool_freep(struct pool **p)
{
    pool_free(*p);
    *p = NULL;
}

unsigned pool_threads(const struct pool *p)
{
    return p ? p->n_threads : 1;
}

/* Runs r with whoever comes. */
static void run_shared(struct pool *p, struct run *r, struct arena *mem)
{
    pthread_cond_init(&r->left, NULL);
    pthread_mutex_lock(&p->lock);
    r->next = p->runs;
    p->runs = r;
    if (r->n_chunks > p->n_threads - 1)
        pthread_cond_broadcast(&p->work);
    else
        for (size_t i = 1; i < r->n_chunks; i++)
            pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    run_chunks(r, mem);
    pthread_mutex_lock(&p->lock);
    struct run **at = &p->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    while (r->n_helpers)
        pthread_cond_wait(&r->left, &p->lock);
    give_scratch(p, mem);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&r->left);
}

static status run_alone(struct ctx *cx, struct run *r)
{
    CLEANUP(arena_freep) struct arena *mem = arena_new(0);
    if (!mem) return FAIL(cx, NOMEM, "scratch memory of a thread");
    run_chunks(r, mem);
    return OK;
}

static status run_in_pool(struct ctx *cx, struct pool *p, struct run *r)
{
    pthread_mutex_lock(&p->lock);
    struct arena *mem = take_scratch(p);
    pthread_mutex_unlock(&p->lock);
    if (!mem) return FAIL(cx, NOMEM, "scratch memory of a thread");
    if (p->n_threads > 1 && r->n_chunks > 1) {
        run_shared(p, r, mem);
        return OK;
    }
    run_chunks(r, mem);
    pthread_mutex_lock(&p->lock);
    give_scratch(p, mem);
    pthread_mutex_unlock(&p->lock);
    return OK;
}

status pool_for(struct ctx *cx, size_t n, size_t grain, pool_fn fn, void *arg)
{
    if (n == 0) return OK;
    if (grain == 0) return FAIL(cx, ARG, "chunks of 0 of %zu", n);
    struct run r = {
        .caller = cx, .fn = fn, .arg = arg, .n = n, .grain = grain, .n_chunks = pool_chunks(n, grain)};
    atomic_init(&r.failed, r.n_chunks);
    pthread_mutex_init(&r.lock, NULL);
    status st = cx->pool ? run_in_pool(cx, cx->pool, &r) : run_alone(cx, &r);
    pthread_mutex_destroy(&r.lock);
    if (st.code) return st;
    if (atomic_load_explicit(&r.failed, memory_order_relaxed) == r.n_chunks) return OK;
    cx->err = r.err;
    return (status){r.err.code};
}
