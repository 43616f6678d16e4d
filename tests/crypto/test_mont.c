/* Products, powers and tables modulo n^2 against GMP, for every kernel and size. */
#include "crypto/mont.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/secret.h"
#include "test.h"
#include <gmp.h>

static const size_t sizes[] = {16, 24, 32, 48};
enum { N = 21 }; /* two full vectors and a part of one */

struct big {
    mpz_t n, n2, r, rinv, x, y, z;
};

static void big_init(struct big *g, const struct mont *m)
{
    mpz_inits(g->n, g->n2, g->r, g->rinv, g->x, g->y, g->z, NULL);
    mpz_import(g->n, m->n_words, -1, 8, 0, 0, m->n64);
    mpz_mul(g->n2, g->n, g->n);
    mpz_setbit(g->r, m->kernel->radix * m->limbs);
    mpz_invert(g->rinv, g->r, g->n2);
}

static void big_clear(struct big *g)
{
    mpz_clears(g->n, g->n2, g->r, g->rinv, g->x, g->y, g->z, NULL);
}

/* The residue an element stands for. */
static void value(struct big *g, const struct mont *m, const uint64_t *elem, mpz_t out)
{
    uint64_t lo[MONT_WORDS], hi[MONT_WORDS];
    mont_store(m, elem, lo, hi);
    mpz_import(out, m->n_words, -1, 8, 0, 0, hi);
    CHECK(mpz_cmp(out, g->n) < 0);
    mpz_mul(out, out, g->n);
    mpz_import(g->z, m->n_words, -1, 8, 0, 0, lo);
    CHECK(mpz_cmp(g->z, g->n) < 0);
    mpz_add(out, out, g->z);
}

struct fixture {
    struct mont *m;
    struct big g;
    uint64_t *elem[3][N]; /* three rows of elements */
};

static void fill(struct ctx *cx, struct fixture *f, const struct mont_kernel *k, size_t n_words)
{
    uint64_t n[MONT_WORDS], half[2][MONT_WORDS];
    CHECK_OK(cx, rand_bytes(cx, n, sizeof n));
    n[0] |= 1;
    n[n_words - 1] |= 1ull << 63;
    f->m = NEW(cx, struct mont, 1);
    CHECK_OK(cx, mont_init_kernel(cx, f->m, k, n, n_words));
    for (size_t row = 0; row < 3; row++)
        for (size_t i = 0; i < N; i++) {
            f->elem[row][i] = NEW(cx, uint64_t, MONT_ELEM);
            CHECK_OK(cx, rand_bytes(cx, half, sizeof half));
            if (i == 0) memset(half, 0xff, sizeof half);
            if (i == 1) memset(half, 0, sizeof half);
            if (i == 2) memcpy(half[0], n, sizeof n), memset(half[1], 0, sizeof half[1]);
            if (i == 3)
                memcpy(half[0], n, sizeof n), memcpy(half[1], n, sizeof n), half[0][0]--, half[1][0]--;
            mont_load(f->m, half[0], half[1], f->elem[row][i]);
        }
}

/* Runs fn for every kernel and size. */
static void each(struct ctx *cx, void (*fn)(struct ctx *, struct fixture *))
{
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++)
        for (size_t s = 0; s < LEN(sizes); s++) {
            if (level > CPU_PORTABLE && mont_kernel_of(level) == mont_kernel_of(level - 1)) continue;
            struct arena_mark mark = arena_mark(cx->mem);
            struct fixture f;
            fill(cx, &f, mont_kernel_of(level), sizes[s]);
            big_init(&f.g, f.m);
            fn(cx, &f);
            big_clear(&f.g);
            arena_rewind(cx->mem, mark);
        }
}

static void check_loads_and_stores(struct ctx *cx, struct fixture *f)
{
    struct big *g = &f->g;
    uint64_t half[2][MONT_WORDS];
    for (int round = 0; round < 100; round++) {
        CHECK_OK(cx, rand_bytes(cx, half, sizeof half));
        if (round < 2) memset(half[round], 0xff, sizeof half[0]);
        mont_load(f->m, half[0], half[1], f->elem[0][0]);
        mpz_import(g->x, f->m->n_words, -1, 8, 0, 0, half[1]);
        mpz_mul(g->x, g->x, g->n);
        mpz_import(g->y, f->m->n_words, -1, 8, 0, 0, half[0]);
        mpz_add(g->x, g->x, g->y);
        mpz_mod(g->x, g->x, g->n2);
        value(g, f->m, f->elem[0][0], g->y);
        CHECK(mpz_cmp(g->x, g->y) == 0);
    }
}

static void loads_and_stores(struct ctx *cx)
{
    each(cx, check_loads_and_stores);
}

static void check_products(struct ctx *cx, struct fixture *f)
{
    (void)cx;
    struct big *g = &f->g;
    for (size_t n = 0; n <= N; n += 7) {
        mont_mul(f->m, n, f->elem[2], (const uint64_t *const *)f->elem[0],
                 (const uint64_t *const *)f->elem[1]);
        for (size_t i = 0; i < n; i++) {
            value(g, f->m, f->elem[0][i], g->x);
            value(g, f->m, f->elem[1][i], g->y);
            mpz_mul(g->x, g->x, g->y);
            mpz_mul(g->x, g->x, g->rinv);
            mpz_mod(g->x, g->x, g->n2);
            value(g, f->m, f->elem[2][i], g->y);
            CHECK(mpz_cmp(g->x, g->y) == 0);
        }
    }
    /* sums as operands, long chains, and aliases */
    for (int round = 0; round < 30; round++) {
        for (size_t i = 0; i < N; i++) {
            mont_add(f->m, f->elem[2][i], f->elem[0][i], f->elem[1][i]);
            if (round % 3) mont_add(f->m, f->elem[2][i], f->elem[2][i], f->elem[2][i]);
        }
        value(g, f->m, f->elem[0][5], g->x);
        value(g, f->m, f->elem[1][5], g->y);
        mpz_add(g->x, g->x, g->y);
        if (round % 3) mpz_mul_ui(g->x, g->x, 2);
        mont_mul(f->m, N, f->elem[0], (const uint64_t *const *)f->elem[2],
                 (const uint64_t *const *)f->elem[2]);
        mpz_mul(g->x, g->x, g->x);
        mpz_mul(g->x, g->x, g->rinv);
        mpz_mod(g->x, g->x, g->n2);
        value(g, f->m, f->elem[0][5], g->y);
        CHECK(mpz_cmp(g->x, g->y) == 0);
    }
    /* to Montgomery's form and back */
    const uint64_t *rr[N];
    const uint64_t *unit[N];
    for (size_t i = 0; i < N; i++)
        rr[i] = f->m->rr, unit[i] = f->m->unit;
    mont_mul(f->m, N, f->elem[2], (const uint64_t *const *)f->elem[1], rr);
    mont_mul(f->m, N, f->elem[2], (const uint64_t *const *)f->elem[2], unit);
    for (size_t i = 0; i < N; i++) {
        value(g, f->m, f->elem[1][i], g->x);
        value(g, f->m, f->elem[2][i], g->y);
        CHECK(mpz_cmp(g->x, g->y) == 0);
    }
}

static void products(struct ctx *cx)
{
    each(cx, check_products);
}

/* y = (x / R)^e R modulo n^2: what a power of a Montgomery element is. */
static void power(struct big *g, mpz_t e)
{
    mpz_mul(g->x, g->x, g->rinv);
    mpz_powm(g->x, g->x, e, g->n2);
    mpz_mul(g->x, g->x, g->r);
    mpz_mod(g->x, g->x, g->n2);
}

static void check_powers(struct ctx *cx, struct fixture *f)
{
    struct big *g = &f->g;
    static const size_t bits[] = {1, 5, 64, 127, 500};
    uint64_t e[8];
    mpz_t big_e;
    mpz_init(big_e);
    for (size_t b = 0; b < LEN(bits) && f->m->n_words <= 24; b++) {
        CHECK_OK(cx, rand_bytes(cx, e, sizeof e));
        mpz_import(big_e, mont_exp_words(bits[b]), -1, 8, 0, 0, e);
        mpz_fdiv_r_2exp(big_e, big_e, bits[b]);
        for (size_t i = 0; i < N; i++)
            memcpy(f->elem[2][i], f->elem[0][i], f->m->elem_words * sizeof(uint64_t));
        mont_pow(f->m, N, f->elem[2], e, bits[b]);
        for (size_t i = 0; i < N; i++) {
            value(g, f->m, f->elem[0][i], g->x);
            power(g, big_e);
            value(g, f->m, f->elem[2][i], g->y);
            CHECK(mpz_cmp(g->x, g->y) == 0);
        }
    }
    mpz_set_ui(big_e, 1u << 9);
    for (size_t i = 0; i < N; i++)
        memcpy(f->elem[2][i], f->elem[0][i], f->m->elem_words * sizeof(uint64_t));
    mont_sqr(f->m, N, f->elem[2], 9);
    for (size_t i = 0; i < N; i++) {
        value(g, f->m, f->elem[0][i], g->x);
        power(g, big_e);
        value(g, f->m, f->elem[2][i], g->y);
        CHECK(mpz_cmp(g->x, g->y) == 0);
    }
    mpz_clear(big_e);
}

static void powers(struct ctx *cx)
{
    each(cx, check_powers);
}

static void check_tables(struct ctx *cx, struct fixture *f)
{
    struct big *g = &f->g;
    enum { M = 70 };
    static const size_t bits[] = {1, 64, 101, 130};
    for (size_t b = 0; b < LEN(bits); b++) {
        uint64_t e[M][3];
        uint64_t *out[M];
        const uint64_t *pe[M];
        mpz_t big_e;
        mpz_init(big_e);
        size_t words = mont_table_words(f->m, bits[b]);
        struct mont_table t;
        mont_table_fill(&t, f->m, f->elem[0][7], bits[b], NEW(cx, uint64_t, words),
                        NEW(cx, uint64_t, mont_table_scratch(f->m, bits[b])));
        CHECK_OK(cx, rand_bytes(cx, e, sizeof e));
        memset(e[0], 0, sizeof e[0]);
        memset(e[1], 0xff, sizeof e[1]);
        for (size_t i = 0; i < M; i++)
            pe[i] = e[i], out[i] = NEW(cx, uint64_t, f->m->elem_words);
        mont_table_pow(&t, M, pe, out);
        for (size_t i = 0; i < M; i++) {
            mpz_import(big_e, mont_exp_words(bits[b]), -1, 8, 0, 0, e[i]);
            mpz_fdiv_r_2exp(big_e, big_e, bits[b]);
            value(g, f->m, f->elem[0][7], g->x);
            power(g, big_e);
            value(g, f->m, out[i], g->y);
            CHECK(mpz_cmp(g->x, g->y) == 0);
        }
        mpz_clear(big_e);
    }
}

static void tables(struct ctx *cx)
{
    each(cx, check_tables);
}

static void flat_value(const struct mont *m, const uint64_t *flat, mpz_t out)
{
    uint64_t x[MONT_WORDS];
    mont_flat_store(m, flat, x);
    mpz_import(out, m->n_words, -1, 8, 0, 0, x);
}

static void check_flat(struct ctx *cx, struct fixture *f)
{
    struct big *g = &f->g;
    uint64_t x[MONT_WORDS], e[3];
    mpz_t big_e;
    mpz_init(big_e);
    for (size_t i = 0; i < N; i++)
        for (size_t row = 0; row < 2; row++) {
            CHECK_OK(cx, rand_bytes(cx, x, sizeof x));
            if (i < 2) memset(x, i ? 0xff : 0, sizeof x);
            mont_flat_load(f->m, x, f->elem[row][i]);
            mpz_import(g->x, f->m->n_words, -1, 8, 0, 0, x);
            mpz_mod(g->x, g->x, g->n);
            flat_value(f->m, f->elem[row][i], g->y);
            CHECK(mpz_cmp(g->x, g->y) == 0);
        }
    mont_flat_mul(f->m, N, f->elem[2], (const uint64_t *const *)f->elem[0],
                  (const uint64_t *const *)f->elem[1]);
    for (size_t i = 0; i < N; i++) {
        flat_value(f->m, f->elem[0][i], g->x);
        flat_value(f->m, f->elem[1][i], g->y);
        mpz_add(g->z, g->x, g->y);
        mpz_mul(g->x, g->x, g->y);
        mpz_mul(g->x, g->x, g->rinv);
        mpz_mod(g->x, g->x, g->n);
        flat_value(f->m, f->elem[2][i], g->y);
        CHECK(mpz_cmp(g->x, g->y) == 0);
        mont_flat_add(f->m, f->elem[2][i], f->elem[0][i], f->elem[1][i]);
        mpz_mod(g->z, g->z, g->n);
        flat_value(f->m, f->elem[2][i], g->y);
        CHECK(mpz_cmp(g->z, g->y) == 0);
    }
    CHECK_OK(cx, rand_bytes(cx, e, sizeof e));
    mpz_import(big_e, 3, -1, 8, 0, 0, e);
    mpz_fdiv_r_2exp(big_e, big_e, 131);
    for (size_t i = 0; i < N; i++)
        memcpy(f->elem[2][i], f->elem[0][i], f->m->limbs * sizeof(uint64_t));
    mont_flat_pow(f->m, N, f->elem[2], e, 131);
    for (size_t i = 0; i < N; i++) {
        flat_value(f->m, f->elem[0][i], g->x);
        power(g, big_e);
        mpz_mod(g->x, g->x, g->n);
        flat_value(f->m, f->elem[2][i], g->y);
        CHECK(mpz_cmp(g->x, g->y) == 0);
    }
    mpz_clear(big_e);
}

static void flat(struct ctx *cx)
{
    each(cx, check_flat);
}

static void refuses(struct ctx *cx)
{
    uint64_t n[MONT_WORDS];
    memset(n, 0xff, sizeof n);
    struct mont *m = NEW(cx, struct mont, 1);
    CHECK_ERR(mont_init(cx, m, n, 15), ARG);
    CHECK_ERR(mont_init(cx, m, n, 49), ARG);
    n[0]--;
    CHECK_ERR(mont_init(cx, m, n, 16), ARG);
    n[0]++;
    n[15] >>= 1;
    CHECK_ERR(mont_init(cx, m, n, 16), ARG);
}

TEST_MAIN(T(loads_and_stores), T(products), T(powers), T(tables), T(flat), T(refuses))
