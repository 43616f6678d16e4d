/* Lattice sums by bucket against plain sums; the ring's kernels against schoolbook products; what hides the rows;
 * refusals; bytes under a seed. */
#include "crypto/lattice_ring.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include "test.h"
#include <math.h>
#include <unistd.h>

static uint64_t random_u64(struct ctx *cx)
{
    uint64_t x = 0;
    CHECK_OK(cx, rand_bytes(cx, &x, sizeof x));
    return x;
}

static uint64_t random_below(struct ctx *cx, uint64_t n)
{
    return random_u64(cx) % n;
}

/* --- the ring ------------------------------------------------------------------------------------ */
/* out += a b in Z[X] / (X^512 + 1) modulo 2^64. */
static void schoolbook(const uint64_t *a, const int8_t *b, uint64_t *out)
{
    for (size_t i = 0; i < LAT_N; i++)
        for (size_t j = 0; j < LAT_N; j++) {
            uint64_t x = a[i] * (uint64_t)b[j];
            out[(i + j) % LAT_N] += i + j < LAT_N ? x : 0 - x;
        }
}

struct ring_case {
    _Alignas(64) uint64_t a[LAT_DIM], want[LAT_N], got[LAT_N];
    _Alignas(64) int8_t b[LAT_DIM];
    struct lattice_hat x[LAT_RANK], y[LAT_RANK];
    struct lattice_tables t;
};

static void products_are_schoolbook(struct ctx *cx)
{
    struct ring_case *c = NEW(cx, struct ring_case, 1);
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++) {
        const struct lattice_kernel *kernel = lattice_kernel_of(level);
        lattice_tables_init(&c->t, kernel);
        for (int round = 0; round < 8; round++) {
            int primes = round % 2 ? 2 : 3;
            CHECK_OK(cx, rand_bytes(cx, c->a, sizeof c->a));
            CHECK_OK(cx, rand_bytes(cx, c->b, sizeof c->b));
            CHECK_OK(cx, rand_bytes(cx, c->want, sizeof c->want));
            uint64_t low[LAT_PACK], before[LAT_PACK];
            memcpy(c->got, c->want, sizeof c->got);
            memcpy(before, c->want, sizeof before);
            for (size_t i = 0; i < LAT_DIM; i++) {
                c->b[i] = (int8_t)((uint8_t)c->b[i] % 3 - 1);
                if (round == 2) c->a[i] = 1ull << 63, c->b[i] = 1; /* the extremes */
                if (round == 4) c->a[i] = (1ull << 63) - 1, c->b[i] = i % LAT_N ? -1 : 1;
                if (primes == 2) c->a[i] = (uint64_t)((int64_t)c->a[i] >> 16);
                if (round == 3) c->a[i] = (uint64_t)0 - (1ull << 47), c->b[i] = 1;
            }
            for (size_t k = 0; k < LAT_RANK; k++) {
                schoolbook(c->a + k * LAT_N, c->b + k * LAT_N, c->want);
                kernel->hat_word(&c->t, primes, c->a + k * LAT_N, c->x + k);
                kernel->hat_small(&c->t, primes, c->b + k * LAT_N, c->y + k);
            }
            kernel->dot(&c->t, primes, c->x, c->y, c->got);
            CHECK(memcmp(c->got, c->want, sizeof c->got) == 0);
            kernel->dot_low(&c->t, primes, c->x, c->y, low);
            for (size_t i = 0; i < LAT_PACK; i++)
                CHECK(low[i] == c->want[i] - before[i]);
        }
    }
}

/* Sums of windows and words, samples and wire words: every kernel as the portable one, bit by bit. */
static void kernels_are_equal(struct ctx *cx)
{
    enum { SLOTS = 3, BUCKETS = 21, PLACES = 400, GROUPS = 3 };
    uint64_t *win = NEW(cx, uint64_t, SLOTS * LAT_WINDOW), *words = NEW(cx, uint64_t, SLOTS * LAT_STRIDE);
    uint16_t *list = NEW(cx, uint16_t, PLACES), *random = NEW(cx, uint16_t, 3 * LAT_DIM);
    struct lattice_run run[BUCKETS];
    struct {
        uint64_t masks[GROUPS][LAT_STRIDE], words[GROUPS][LAT_PACK], noise[LAT_DIM], back[LAT_DIM];
        int8_t small[LAT_DIM];
        uint8_t wire[LAT_DIM * LAT_REPLY_BYTES];
    } *r = NEW(cx, __typeof__(*r), CPU_AVX512 + 1);
    CHECK_OK(cx, rand_bytes(cx, win, SLOTS * LAT_WINDOW * 8));
    CHECK_OK(cx, rand_bytes(cx, words, SLOTS * LAT_STRIDE * 8));
    CHECK_OK(cx, rand_bytes(cx, random, 3 * LAT_DIM * 2));
    for (size_t i = 0; i < PLACES; i++)
        list[i] = lattice_place(random_below(cx, SLOTS), random_below(cx, LAT_ROWS));
    for (uint32_t b = 0; b < BUCKETS; b++)
        run[b] = (struct lattice_run){b * 19, b % 4 == 1 ? 0 : b % 19};
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++) {
        const struct lattice_kernel *k = lattice_kernel_of(level);
        k->sum_masks(win, run, BUCKETS, list, r[level].masks);
        k->sum_masks(win, run, BUCKETS, list, r[level].masks);
        k->sum_words(words, LAT_STRIDE, run, BUCKETS, list, r[level].words);
        k->sum_words(words, LAT_STRIDE, run, BUCKETS, list, r[level].words);
        k->noise(random, LAT_DIM, r[level].noise);
        k->ternary(random, LAT_DIM, r[level].small);
        k->pack(win, LAT_DIM, r[level].wire);
        k->unpack(r[level].wire, LAT_DIM, r[level].back);
        CHECK(memcmp(&r[level], &r[0], sizeof r[0]) == 0);
    }
    for (size_t i = 0; i < LAT_DIM; i++) {
        int bits = __builtin_popcount(random[i]) + __builtin_popcount(random[LAT_DIM + i]) +
                   __builtin_popcount(random[2 * LAT_DIM + i]);
        CHECK((int64_t)r[0].noise[i] == bits - 24);
        CHECK(r[0].small[i] == (random[i] < 21846 ? -1 : random[i] < 43691 ? 0 : 1));
        CHECK((win[i] - (r[0].back[i] << 24)) + (1 << 23) < 1 << 24); /* rounded to the nearest */
        CHECK((int64_t)r[0].back[i] >= -(1ll << 39) && (int64_t)r[0].back[i] < 1ll << 39);
    }
}

/* --- sums ---------------------------------------------------------------------------------------- */
struct pair {
    struct lattice_guest *g;
    struct lattice_host *h;
    struct buf pub, batch;
};

static void pair_free(struct pair *p)
{
    lattice_guest_free(p->g);
    lattice_host_free(p->h);
    buf_free(&p->pub);
    buf_free(&p->batch);
}

static struct pair open_pair(struct ctx *cx, const struct he_params *p, const int64_t *m)
{
    struct pair x = {0};
    CHECK_OK(cx, lattice_guest_new(cx, p, &x.g));
    CHECK_OK(cx, lattice_guest_public(cx, x.g, &x.pub));
    CHECK_OK(cx, lattice_host_open(cx, (struct bytes){x.pub.p, x.pub.n}, &x.h));
    CHECK_OK(cx, lattice_guest_encrypt(cx, x.g, m, &x.batch));
    CHECK_OK(cx, lattice_host_load(cx, x.h, (struct bytes){x.batch.p, x.batch.n}));
    return x;
}

/* Integers whose absolute values sum to less than 2^sum_bits, of either sign, some of them zero; often near the
 * bound, and at times one row has all of it. */
static int64_t *random_stats(struct ctx *cx, const struct he_params *p)
{
    size_t k = (size_t)p->n_stats;
    int64_t *m = NEW(cx, int64_t, p->n_rows * k);
    uint64_t each = (1ull << p->sum_bits) / p->n_rows;
    int way = (int)random_below(cx, 4);
    for (size_t i = 0; i < p->n_rows * k; i++) {
        int64_t x = !each ? 0 : way == 0 ? (int64_t)each - 1 : (int64_t)random_below(cx, each);
        m[i] = way == 0 ? (i / k == 3 || way == 0 ? x : -x) : random_below(cx, 2) ? x : -x;
        if (way == 1) m[i] = -(int64_t)(each ? each - 1 : 0);
    }
    if (each <= 1 || way == 3)
        for (size_t s = 0; s < k; s++) {
            size_t row = random_below(cx, p->n_rows);
            int64_t all = (int64_t)((1ull << p->sum_bits) - 1);
            for (size_t i = 0; i < p->n_rows; i++)
                m[i * k + s] = i == row ? (s % 2 ? -all : all) : 0;
        }
    return m;
}

struct features {
    size_t n, n_buckets;
    const uint8_t *bins[8];
    uint16_t n_bins[8];
};

/* Features of 1, 2, 31, ... bins, also of all 256 when wide; some rows in bins that are not returned, some bins
 * empty. */
static struct features random_features(struct ctx *cx, size_t n_rows, bool wide)
{
    static const uint16_t n_bins[] = {1, 2, 31, 7, 3, 255, 256};
    struct features f = {.n = wide ? LEN(n_bins) : LEN(n_bins) - 2};
    for (size_t k = 0; k < f.n; k++) {
        uint8_t *b = NEW(cx, uint8_t, n_rows);
        CHECK_OK(cx, rand_bytes(cx, b, n_rows));
        for (size_t i = 0; i < n_rows; i++)
            b[i] = (uint8_t)(k == 3 ? 2 * (b[i] % 5) : b[i] % (n_bins[k] < 256 ? n_bins[k] + 1u : 256));
        f.bins[k] = b;
        f.n_bins[k] = n_bins[k];
        f.n_buckets += n_bins[k];
    }
    return f;
}

static void plain_sums(const struct he_params *p, const int64_t *m, const struct features *f,
                       const uint32_t *rows, size_t n_rows, int64_t *sums)
{
    size_t k = (size_t)p->n_stats, first = 0;
    memset(sums, 0, f->n_buckets * k * sizeof *sums);
    for (size_t j = 0; j < f->n; first += f->n_bins[j++])
        for (size_t i = 0; i < n_rows; i++) {
            size_t row = rows ? rows[i] : i, b = f->bins[j][row];
            for (size_t s = 0; b < f->n_bins[j] && s < k; s++)
                sums[(first + b) * k + s] += m[row * k + s];
        }
}

static void check_sums(struct ctx *cx, struct pair *x, const struct he_params *p, const int64_t *m,
                       const uint32_t *rows, size_t n_rows, const struct features *f)
{
    size_t n = f->n_buckets * (size_t)p->n_stats;
    int64_t *want = NEW(cx, int64_t, n + 1), *got = NEW(cx, int64_t, n + 1);
    CLEANUP(buf_free) struct buf reply = {0};
    CHECK_OK(cx, lattice_host_sum(cx, x->h, f->bins, f->n_bins, f->n, rows, n_rows, &reply));
    CHECK_OK(cx, lattice_guest_decrypt(cx, x->g, (struct bytes){reply.p, reply.n}, f->n_buckets, got));
    plain_sums(p, m, f, rows, rows ? n_rows : p->n_rows, want);
    CHECK(memcmp(got, want, n * sizeof *got) == 0);
}

static size_t some_rows(struct ctx *cx, size_t n_rows, uint64_t one_in, uint32_t *rows)
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_rows; i++)
        if (random_below(cx, one_in) == 0) rows[n++] = i;
    return n;
}

static void sums_are_plain(struct ctx *cx)
{
    static const struct {
        int n_stats, sum_bits; /* 0: the most */
        size_t n_rows;
    } cases[] = {{1, 29, 700}, {2, 0, 3000}, {8, 0, 65},   {3, 1, 64},   {5, 20, 1},  {1, 0, 1},
                 {2, 30, 63},  {2, 43, 129}, {4, 28, 257}, {2, 0, 9999}, {8, 35, 512}};
    for (size_t c = 0; c < LEN(cases); c++) {
        struct he_params p = {HE_LATTICE, 0, cases[c].n_rows, cases[c].n_stats, cases[c].sum_bits};
        if (!p.sum_bits) p.sum_bits = lattice_sum_bits_max(p.n_rows, p.n_stats);
        int64_t *m = random_stats(cx, &p);
        CLEANUP(pair_free) struct pair x = open_pair(cx, &p, m);
        CHECK(memcmp(lattice_host_params(x.h), &p, sizeof p) == 0);
        uint32_t *rows = NEW(cx, uint32_t, p.n_rows);
        for (int round = 0; round < 3; round++) {
            if (round) {
                m = random_stats(cx, &p);
                buf_reset(&x.batch);
                CHECK_OK(cx, lattice_guest_encrypt(cx, x.g, m, &x.batch));
                CHECK_OK(cx, lattice_host_load(cx, x.h, (struct bytes){x.batch.p, x.batch.n}));
            }
            struct features wide = random_features(cx, p.n_rows, true),
                            f = random_features(cx, p.n_rows, false);
            check_sums(cx, &x, &p, m, NULL, 0, &wide);
            check_sums(cx, &x, &p, m, NULL, 0, &wide); /* again: what may have been kept is right */
            check_sums(cx, &x, &p, m, NULL, 0, &f);
            check_sums(cx, &x, &p, m, rows, some_rows(cx, p.n_rows, 3, rows), &f);
            check_sums(cx, &x, &p, m, rows, some_rows(cx, p.n_rows, 40, rows), &wide);
            check_sums(cx, &x, &p, m, rows, 0, &f);
            *rows = (uint32_t)random_below(cx, p.n_rows);
            check_sums(cx, &x, &p, m, rows, 1, &f);
            struct features none = {0};
            check_sums(cx, &x, &p, m, NULL, 0, &none);
        }
    }
}

/* Many more rows than one set takes, in few blocks and in many. */
static void many_rows(struct ctx *cx)
{
    struct he_params p = {HE_LATTICE, 0, 120000, 2, lattice_sum_bits_max(120000, 2)};
    int64_t *m = random_stats(cx, &p);
    CLEANUP(pair_free) struct pair x = open_pair(cx, &p, m);
    struct features f = random_features(cx, p.n_rows, true);
    uint32_t *rows = NEW(cx, uint32_t, p.n_rows);
    check_sums(cx, &x, &p, m, NULL, 0, &f);
    check_sums(cx, &x, &p, m, rows, some_rows(cx, p.n_rows, 2, rows), &f);
    check_sums(cx, &x, &p, m, rows, some_rows(cx, p.n_rows, 30, rows), &f);
    check_sums(cx, &x, &p, m, rows, some_rows(cx, p.n_rows, 300, rows), &f);
}

TEST_MAIN(T(products_are_schoolbook), T(kernels_are_equal), T(sums_are_plain), T(many_rows))
