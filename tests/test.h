/* test.h - a test program is a list of functions; what it prints is TAP.
 *
 *   static void adds(struct ctx *cx) { CHECK(1 + 1 == 2); CHECK_OK(cx, f(cx)); CHECK_ERR(g(cx), LIMIT); }
 *   TEST_MAIN(T(adds))
 *
 * Each test has a context of its own: an arena without a cap, a pool of TEST_THREADS threads, no log. A check that
 * fails prints where and what, marks the test as failed and goes on. Arguments name the tests to run (none: all).
 * TEST_SEED in the environment seeds what is random; 1 when it is not set, printed either way. */
#pragma once
#include "base/arena.h"
#include "base/ctx.h"
#include "base/pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TEST_THREADS
#define TEST_THREADS 2
#endif

struct test {
    const char *name;
    void (*fn)(struct ctx *cx);
};
/* One test at a time, but its checks may stand in any of its threads. Defined by TEST_MAIN. */
struct test_state {
    atomic_uint failed;         /* checks */
    _Atomic(const char *) skip; /* the reason; NULL = it ran */
};
extern struct test_state test_state;

static inline uint64_t test_seed(void)
{
    const char *s = getenv("TEST_SEED");
    return s ? strtoull(s, NULL, 10) : 1;
}

static inline void test_check(bool ok, const char *file, int line, const char *what)
{
    if (ok) return;
    atomic_fetch_add(&test_state.failed, 1);
    printf("# %s:%d: %s\n", file, line, what);
}

static inline void test_status(const struct ctx *cx, status st, enum err_code want, const char *file,
                               int line, const char *what)
{
    if (st.code == want) return;
    atomic_fetch_add(&test_state.failed, 1);
    printf("# %s:%d: %s\n#   gave %s, want %s%s%s\n", file, line, what, err_name(st.code), err_name(want),
           st.code ? ": " : "", st.code ? cx->err.msg : "");
}

#define CHECK(...)        test_check(!!(__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define CHECK_OK(cx, ...) test_status((cx), (__VA_ARGS__), ERR_OK, __FILE__, __LINE__, #__VA_ARGS__)
/* Needs the test's cx by that name: its message is cleared first, so what is read after it is this failure's. */
#define CHECK_ERR(expr, CODE)                                                                                \
    do {                                                                                                     \
        cx->err = (struct err){.file = ""};                                                                  \
        test_status(cx, (expr), ERR_##CODE, __FILE__, __LINE__, #expr);                                      \
    } while (0)
/* Ends the test function it stands in, and the test counts as skipped: for want of data, not of success. */
#define SKIP(reason)                                                                                         \
    do {                                                                                                     \
        atomic_store(&test_state.skip, (reason));                                                            \
        return;                                                                                              \
    } while (0)

/* Data shared between projects, outside the tree: a path in cx->mem, NULL when it is not on this machine.
 *   const char *file = test_shared(cx, "data/breast.csv");  if (!file) SKIP("no shared data"); */
static inline const char *test_shared(struct ctx *cx, const char *name)
{
    const char *dir = getenv("NORN_SHARED");
    const char *path = arena_printf(cx->mem, "%s/%s", dir ? dir : "../shared", name);
    FILE *f = path ? fopen(path, "rbe") : NULL;
    if (f) fclose(f);
    return f ? path : NULL;
}

static inline bool test_run(const struct test *t, size_t number)
{
    struct ctx cx = {.mem = arena_new(0)};
    struct pool *pool = pool_new(TEST_THREADS);
    cx.pool = pool;
    struct arena *mem = cx.mem;
    test_state.failed = 0;
    test_state.skip = NULL;
    if (mem && pool) t->fn(&cx);
    CHECK(mem && pool);
    arena_free(mem);
    pool_free(pool);
    const char *skip = test_state.failed ? NULL : test_state.skip;
    printf("%s %zu %s%s%s\n", test_state.failed ? "not ok" : "ok", number, t->name, skip ? " # SKIP " : "",
           skip ? skip : "");
    return !test_state.failed;
}

static inline bool test_named(const struct test *t, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], t->name) == 0) return true;
    return argc < 2;
}

static inline int test_main(const struct test *tests, size_t n, int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* a test that forks must not print twice */
    size_t wanted = 0, number = 0;
    bool good = true;
    for (size_t i = 0; i < n; i++)
        wanted += test_named(&tests[i], argc, argv);
    printf("1..%zu\n# TEST_SEED=%llu\n", wanted, (unsigned long long)test_seed());
    if (!wanted) printf("Bail out! no test of that name\n");
    for (size_t i = 0; i < n; i++)
        if (test_named(&tests[i], argc, argv)) good = test_run(&tests[i], ++number) && good;
    return good && wanted ? 0 : 1;
}

/* clang-format off */
#define T(fn) {#fn, fn}
/* clang-format on */
#define TEST_MAIN(...)                                                                                       \
    struct test_state test_state;                                                                            \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        static const struct test tests[] = {__VA_ARGS__};                                                    \
        return test_main(tests, LEN(tests), argc, argv);                                                     \
    }
