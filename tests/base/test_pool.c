/* Loops over ranges: every chunk once, the same answer for any number of threads, the lowest failure wins. */
#include "base/loop.h"
#include "base/secret.h"
#include "sanitized.h"
#include "test.h"
#include <pthread.h>

#if defined WITH_ASAN || defined WITH_TSAN
enum { SLOW = 10 };
#else
enum { SLOW = 1 };
#endif

enum { POOLS = 5 };
static const unsigned counts[POOLS] = {0, 1, 2, 4, 9}; /* 0: no pool */

static void make_pools(struct pool *pools[POOLS])
{
    for (size_t i = 0; i < POOLS; i++) {
        pools[i] = counts[i] ? pool_new(counts[i]) : NULL;
        CHECK(pool_threads(pools[i]) == (counts[i] ? counts[i] : 1));
    }
}

static void free_pools(struct pool *pools[POOLS])
{
    for (size_t i = 0; i < POOLS; i++)
        pool_free(pools[i]);
}

struct cover {
    uint8_t *seen;
    size_t n, grain;
    const struct ctx *outer;
};

static status cover_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct cover *c = arg;
    CHECK(begin == chunk * c->grain && begin < end && end <= c->n &&
          (end - begin == c->grain || end == c->n));
    CHECK(cx != c->outer && cx->mem && cx->mem != c->outer->mem && cx->pool == c->outer->pool);
    CHECK(arena_used(cx->mem) == 0); /* nothing of another chunk */
    uint32_t *x = NEW(cx, uint32_t, 100 + chunk % 1000);
    CHECK(x && x[0] == 0 && x[99] == 0);
    x[0] = x[99] = 1;
    for (size_t i = begin; i < end; i++)
        c->seen[i]++;
    return OK;
}

static void covers(struct ctx *cx)
{
    struct pool *pools[POOLS];
    static const size_t ns[] = {0, 1, 2, 7, 64, 1000}, grains[] = {1, 2, 3, 64, 5000, SIZE_MAX};
    make_pools(pools);
    for (size_t p = 0; p < POOLS; p++)
        for (size_t i = 0; i < LEN(ns) * LEN(grains); i++) {
            struct ctx run = {.mem = cx->mem, .pool = pools[p]};
            struct cover c = {NEW(cx, uint8_t, ns[i / LEN(grains)]), ns[i / LEN(grains)],
                              grains[i % LEN(grains)], &run};
            CHECK_OK(&run, pool_for(&run, c.n, c.grain, cover_chunk, &c));
            for (size_t k = 0; k < c.n; k++)
                CHECK(c.seen[k] == 1);
        }
    free_pools(pools);
    CHECK(pool_chunks(10, 3) == 4 && pool_chunks(9, 3) == 3 && pool_chunks(0, 3) == 0 &&
          pool_chunks(3, 0) == 0);
    CHECK_OK(cx, pool_for(cx, 0, 0, cover_chunk, NULL));
    CHECK_ERR(pool_for(cx, 5, 0, cover_chunk, NULL), ARG);
    pool_free(NULL);
    struct pool *none = NULL;
    pool_freep(&none);
    CHECK(pool_threads(NULL) == 1);
}

struct sum {
    const double *x;
    double part[1000];
};

static status sum_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct sum *s = arg;
    (void)cx;
    for (size_t i = begin; i < end; i++)
        s->part[chunk] += s->x[i];
    return OK;
}

static void same_bits(struct ctx *cx)
{
    enum { N = 20000, GRAIN = 100 };
    struct shuffle r = shuffle_new(test_seed());
    double *x = NEW(cx, double, N), first = 0;
    for (size_t i = 0; i < N; i++)
        x[i] = shuffle_normal(&r);
    struct pool *pools[POOLS];
    make_pools(pools);
    for (size_t p = 0; p < POOLS; p++) {
        struct ctx run = {.mem = cx->mem, .pool = pools[p]};
        struct sum *s = NEW(cx, struct sum, 1);
        s->x = x;
        CHECK_OK(&run, pool_for(&run, N, GRAIN, sum_chunk, s));
        double total = 0;
        for (size_t i = 0; i < pool_chunks(N, GRAIN); i++)
            total += s->part[i];
        if (p == 0) first = total;
        CHECK(memcmp(&first, &total, 8) == 0);
    }
    free_pools(pools);
}

struct nest {
    int depth;
    atomic_size_t leaves;
};

static status nest_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct nest *n = arg;
    (void)chunk;
    if (n->depth == 0) {
        atomic_fetch_add(&n->leaves, end - begin);
        return OK;
    }
    uint64_t *mine = NEW(cx, uint64_t, 50); /* of this chunk: loops within leave it alone */
    for (size_t i = 0; i < 50; i++)
        mine[i] = i;
    struct nest below = {.depth = n->depth - 1};
    TRY(pool_for(cx, 4, 1, nest_chunk, &below));
    for (size_t i = 0; i < 50; i++)
        CHECK(mine[i] == i);
    atomic_fetch_add(&n->leaves, below.leaves);
    return OK;
}

static void nested(struct ctx *cx)
{
    struct pool *pools[POOLS];
    make_pools(pools);
    for (size_t p = 0; p < POOLS; p++)
        for (int round = 0; round < 20 / SLOW; round++) {
            struct ctx run = {.mem = cx->mem, .pool = pools[p]};
            struct nest n = {.depth = 4};
            CHECK_OK(&run, pool_for(&run, 4, 1, nest_chunk, &n));
            CHECK(n.leaves == 1024);
        }
    free_pools(pools);
}

struct failing {
    size_t at[3], n;
    atomic_size_t ran, ran_low; /* chunks, chunks below at[0] */
};

static status failing_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct failing *f = arg;
    (void)begin, (void)end;
    atomic_fetch_add(&f->ran, 1);
    if (chunk < f->at[0]) atomic_fetch_add(&f->ran_low, 1);
    for (volatile int spin = 0; spin < (chunk == f->at[0] ? 2000 : 10); spin = spin + 1)
        ;
    for (size_t i = 0; i < f->n; i++)
        if (chunk == f->at[i]) return FAIL(cx, LIMIT, "chunk %zu", chunk);
    return OK;
}

static void lowest_failure(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    struct pool *pools[POOLS];
    make_pools(pools);
    for (size_t p = 0; p < POOLS; p++)
        for (int round = 0; round < 500 / SLOW; round++) {
            struct ctx run = {.mem = cx->mem, .pool = pools[p]};
            size_t low = shuffle_below(&r, 90);
            struct failing f = {.at = {low, low + 1 + shuffle_below(&r, 4), low + 9}, .n = 3};
            status st = pool_for(&run, 1000, 10, failing_chunk, &f);
            const char *want = arena_printf(cx->mem, "chunk %zu", low);
            CHECK(st.code == ERR_LIMIT && run.err.code == ERR_LIMIT && strcmp(run.err.msg, want) == 0);
            CHECK(f.ran_low == low && run.err.line > 0);
            if (counts[p] < 2) CHECK(f.ran == low + 1);
        }
    free_pools(pools);
}

/* A failure far below the others' chunks stops what has not begun. */
static void stops_the_rest(struct ctx *cx)
{
    struct failing f = {.at = {0}, .n = 1};
    status st = pool_for(cx, 10000000, 1, failing_chunk, &f);
    CHECK(st.code == ERR_LIMIT && f.ran < 5000000);
}

struct cancelling {
    atomic_bool stop;
    atomic_size_t ran;
};

static status cancelling_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct cancelling *c = arg;
    (void)cx, (void)begin, (void)end;
    atomic_fetch_add(&c->ran, 1);
    if (chunk == 20) atomic_store(&c->stop, true);
    return OK;
}

static void cancels(struct ctx *cx)
{
    struct pool *pools[POOLS];
    make_pools(pools);
    for (size_t p = 0; p < POOLS; p++) {
        struct cancelling c = {0};
        struct ctx run = {.mem = cx->mem, .pool = pools[p], .cancel = &c.stop};
        status st = pool_for(&run, 10000000, 1, cancelling_chunk, &c);
        CHECK(st.code == ERR_CANCELLED && run.err.code == ERR_CANCELLED && c.ran >= 21 && c.ran < 5000000);
        c.ran = 0;
        st = pool_for(&run, 100, 1, cancelling_chunk, &c);
        CHECK(st.code == ERR_CANCELLED && c.ran == 0);
    }
    free_pools(pools);
}

/* A failure inside a loop inside a loop comes out whole. */
static status nested_failure_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct failing f = {.at = {7, 8, 9}, .n = 3};
    (void)begin, (void)end, (void)arg;
    TRY_IN(cx, pool_for(cx, 100, 1, failing_chunk, &f), "outer %zu", chunk);
    return OK;
}

static void nested_failure(struct ctx *cx)
{
    CHECK_ERR(pool_for(cx, 100, 1, nested_failure_chunk, NULL), LIMIT);
    CHECK(strcmp(cx->err.msg, "outer 0: chunk 7") == 0);
}

struct many {
    struct pool *pool;
    bool good;
};

static void *many_loops(void *arg)
{
    struct many *m = arg;
    struct ctx run = {.mem = arena_new(0), .pool = m->pool};
    m->good = true;
    for (int i = 0; i < 300 / SLOW; i++) {
        struct nest n = {.depth = i % 2};
        m->good =
            pool_for(&run, 16, 1, nest_chunk, &n).code == ERR_OK && n.leaves == (i % 2 ? 64 : 16) && m->good;
    }
    arena_free(run.mem);
    return NULL;
}

static void many_callers(struct ctx *cx)
{
    pthread_t t[4];
    struct many m[4];
    (void)cx;
    struct pool *pool = pool_new(3);
    for (size_t i = 0; i < LEN(t); i++) {
        m[i] = (struct many){.pool = pool};
        if (pthread_create(&t[i], NULL, many_loops, &m[i])) abort();
    }
    for (size_t i = 0; i < LEN(t); i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < LEN(t); i++)
        CHECK(m[i].good);
    pool_free(pool);
}

/* Threads help: two chunks that wait for each other end only when both run. */
struct meeting {
    atomic_int arrived;
};

static status meet_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct meeting *m = arg;
    (void)chunk, (void)begin, (void)end;
    atomic_fetch_add(&m->arrived, 1);
    for (uint64_t start = clock_ms(); atomic_load(&m->arrived) < 4;)
        if (clock_ms() - start > 10000) return FAIL(cx, TIMEOUT, "nobody came");
    return OK;
}

static void in_parallel(struct ctx *cx)
{
    CLEANUP(pool_freep) struct pool *pool = pool_new(4);
    cx->pool = pool;
    for (int i = 0; i < 20; i++) {
        struct meeting m = {0};
        CHECK_OK(cx, pool_for(cx, 4, 1, meet_chunk, &m));
    }
    cx->pool = NULL;
}

static void cost(struct ctx *cx)
{
    enum { LOOPS = 2000 };
    struct pool *pools[POOLS];
    make_pools(pools);
    for (size_t p = 0; p < POOLS; p++) {
        struct ctx run = {.mem = cx->mem, .pool = pools[p]};
        struct sum *s = NEW(cx, struct sum, 1);
        double x[8] = {0};
        s->x = x;
        uint64_t start = clock_us();
        for (int i = 0; i < LOOPS; i++)
            CHECK_OK(&run, pool_for(&run, 8, 1, sum_chunk, s));
        printf("# %u threads: %.1f us a loop of 8 empty chunks\n", counts[p],
               (double)(clock_us() - start) / LOOPS);
    }
    free_pools(pools);
}

TEST_MAIN(T(covers), T(same_bits), T(nested), T(lowest_failure), T(stops_the_rest), T(cancels),
          T(nested_failure), T(many_callers), T(in_parallel), T(cost))
