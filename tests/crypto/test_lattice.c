/* Lattice sums by bucket against plain sums; the ring's kernels against schoolbook products; what hides the rows;
 * refusals; bytes under a seed. */
#include "crypto/lattice_ring.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include "test.h"
#include <math.h>
#include <openssl/sha.h>
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

/* --- hiding -------------------------------------------------------------------------------------- */
/* The noise of a reply is the host's flooding: centred, of the deviation that it has, and the same for a bucket of one
 * row, of none, and of all. Two replies to one question share nothing; their bytes are uniform. */
static void rows_are_hidden(struct ctx *cx)
{
    enum { ROWS = 5000, BUCKETS = 256, TIMES = 12 };
    struct he_params p = {HE_LATTICE, 0, ROWS, 1, 29};
    int64_t *m = random_stats(cx, &p), *sums = NEW(cx, int64_t, BUCKETS), *noise = NEW(cx, int64_t, BUCKETS);
    CLEANUP(pair_free) struct pair x = open_pair(cx, &p, m);
    uint8_t *bin = NEW(cx, uint8_t, ROWS);
    const uint8_t *bins[1] = {bin};
    const uint16_t n_bins[1] = {BUCKETS};
    size_t count[256] = {0}, n_bytes = 0, same = 0;
    for (int way = 0; way < 3; way++) {
        for (size_t i = 0; i < ROWS;
             i++) /* rows all over; in one bucket of each group; in the first bucket */
            bin[i] = (uint8_t)(way == 0 ? i % BUCKETS : way == 1 ? i % (BUCKETS / 8) * 8 : 0);
        double sum = 0, square = 0;
        CLEANUP(buf_free) struct buf last = {0};
        for (int time = 0; time < TIMES; time++) {
            CLEANUP(buf_free) struct buf reply = {0};
            CHECK_OK(cx, lattice_host_sum(cx, x.h, bins, n_bins, 1, NULL, 0, &reply));
            CHECK_OK(cx, lattice_guest_decrypt_noise(cx, x.g, (struct bytes){reply.p, reply.n}, BUCKETS, sums,
                                                     noise));
            for (size_t b = 0; b < BUCKETS; b++) {
                sum += (double)noise[b];
                square += (double)(noise[b] * noise[b]);
                CHECK(noise[b] > -512 + 100 && noise[b] < 512 - 100);
            }
            for (size_t i = 64; i < reply.n; i++) {
                count[reply.p[i]]++;
                same += last.n && last.p[i] == reply.p[i];
            }
            n_bytes += reply.n - 64;
            buf_reset(&last);
            buf_put(&last, reply.p, reply.n);
        }
        /* four uniforms of 31 bits, in units of 2^24; and the rounding of 2560 words with a ternary secret */
        double n = BUCKETS * TIMES, want = 4 * 128.0 * 128 / 12 + 2.0 / 3 * LAT_DIM / 12;
        CHECK(fabs(sum / n) < 5 * sqrt(want / n));
        CHECK(fabs(square / n / want - 1) < 5 * sqrt(2 / n));
    }
    double chi = 0, each = (double)n_bytes / 256;
    for (size_t i = 0; i < 256; i++)
        chi += ((double)count[i] - each) * ((double)count[i] - each) / each;
    CHECK(chi < 255 + 5 * sqrt(2 * 255.0));
    double want = (double)n_bytes / 256 * (TIMES - 1) / TIMES;
    CHECK(fabs((double)same - want) < 5 * sqrt(want));
}

/* A batch's words are uniform, whatever it encrypts, and another batch of the same integers shares nothing. */
static void rows_are_encrypted(struct ctx *cx)
{
    struct he_params p = {HE_LATTICE, 0, 20000, 2, 29};
    int64_t *m = NEW(cx, int64_t, 2 * p.n_rows);
    CLEANUP(pair_free) struct pair x = open_pair(cx, &p, m);
    CLEANUP(buf_free) struct buf again = {0};
    CHECK_OK(cx, lattice_guest_encrypt(cx, x.g, m, &again));
    CHECK(again.n == x.batch.n);
    size_t count[256] = {0}, same = 0;
    for (size_t i = 64; i < again.n; i++) {
        count[again.p[i]]++;
        same += again.p[i] == x.batch.p[i];
    }
    double chi = 0, each = (double)(again.n - 64) / 256;
    for (size_t i = 0; i < 256; i++)
        chi += ((double)count[i] - each) * ((double)count[i] - each) / each;
    CHECK(chi < 255 + 5 * sqrt(2 * 255.0));
    CHECK(fabs((double)same - each) < 5 * sqrt(each));
}

static void reply_size_tells_nothing(struct ctx *cx)
{
    struct he_params p = {HE_LATTICE, 0, 1000, 2, 40};
    int64_t *m = random_stats(cx, &p);
    CLEANUP(pair_free) struct pair x = open_pair(cx, &p, m);
    struct features f = random_features(cx, p.n_rows, false);
    uint32_t *rows = NEW(cx, uint32_t, p.n_rows);
    size_t n[3] = {some_rows(cx, p.n_rows, 2, rows), 1, 0}, size = 0;
    for (size_t i = 0; i < LEN(n); i++) {
        CLEANUP(buf_free) struct buf reply = {0};
        CHECK_OK(cx, lattice_host_sum(cx, x.h, f.bins, f.n_bins, f.n, rows, n[i], &reply));
        if (!i) size = reply.n;
        CHECK(reply.n == size);
        struct lattice_shape s = lattice_shape(&p);
        CHECK(reply.n == 33 + lattice_reply_bytes(&s, f.n_buckets));
    }
}

/* --- refusals -------------------------------------------------------------------------------------- */
static void shapes(struct ctx *cx)
{
    static const struct {
        size_t n_rows;
        int sum_bits, flood_bits; /* the most, the least */
    } cases[] = {{1, 57, 23},       {569, 48, 22},     {30000, 43, 19},   {131072, 40, 18},
                 {1000000, 38, 16}, {1 << 22, 35, 15}, {1u << 31, 29, 11}};
    for (size_t i = 0; i < LEN(cases); i++) {
        struct he_params p = {HE_LATTICE, 0, cases[i].n_rows, 2, lattice_sum_bits_max(cases[i].n_rows, 2)};
        struct he_info info;
        CHECK(p.sum_bits == cases[i].sum_bits);
        CHECK_OK(cx, lattice_describe(cx, &p, &info));
        CHECK(info.flood_bits == cases[i].flood_bits);
        CHECK(strcmp(info.set, "mlwe-2560-64-v1") == 0 && strcmp(info.scheme, "lattice") == 0);
        CHECK(info.security_bits == 128);
        size_t streams = p.sum_bits > 29 ? 4 : 2;
        CHECK(info.row_bytes == streams * 64 && info.bucket_bytes == (2560 + 8 * streams) * 5 / 8);
        struct lattice_shape s = lattice_shape(&p);
        CHECK(s.n_streams == streams && s.n_blocks == (p.n_rows + 63) / 64);
        /* a digit's sum never reaches 2^29 */
        CHECK(s.digits == 1 || p.n_rows << (s.low_bits - 1) < 1ull << 29);
        CHECK(s.digits == 1 || (1ull << (p.sum_bits - s.low_bits)) + p.n_rows / 2 < 1ull << 29);
    }
    CHECK(lattice_sum_bits_max(0, 1) == 0 && lattice_sum_bits_max(10, 0) == 0 &&
          lattice_sum_bits_max(10, 9) == 0);
}

static void refuses_parameters(struct ctx *cx)
{
    static const struct {
        struct he_params p;
        bool limit;
    } cases[] = {
        {{HE_LATTICE, 2048, 10, 2, 40}, false},
        {{HE_LATTICE, 0, 0, 2, 29}, false},
        {{HE_LATTICE, 0, (1ull << 31) + 1, 2, 29}, false},
        {{HE_LATTICE, 0, 10, 0, 40}, false},
        {{HE_LATTICE, 0, 10, 9, 40}, false},
        {{HE_LATTICE, 0, 10, 2, 0}, false},
        {{HE_LATTICE, 0, 30000, 2, 44}, true},
        {{HE_LATTICE, 0, 1, 2, 58}, true},
        {{HE_PAILLIER, 0, 10, 2, 40}, false},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct lattice_guest *g = NULL;
        if (cases[i].limit)
            CHECK_ERR(lattice_guest_new(cx, &cases[i].p, &g), LIMIT);
        else
            CHECK_ERR(lattice_guest_new(cx, &cases[i].p, &g), ARG);
        CHECK(!g);
    }
}

static void refuses_integers(struct ctx *cx)
{
    struct he_params p = {HE_LATTICE, 0, 3, 1, 10};
    CLEANUP(lattice_guest_freep) struct lattice_guest *g = NULL;
    CHECK_OK(cx, lattice_guest_new(cx, &p, &g));
    CLEANUP(buf_free) struct buf out = {0};
    static const struct {
        int64_t m[3];
        bool ok;
    } cases[] = {
        {{1023, 0, 0}, true},
        {{-1023, 0, 0}, true},
        {{512, -511, 0}, true},
        {{1024, 0, 0}, false},
        {{512, -512, 0}, false},
        {{INT64_MIN, 0, 0}, false},
        {{INT64_MAX, INT64_MAX, 2}, false},
        {{INT64_MIN, INT64_MIN, 0}, false},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        buf_reset(&out);
        if (cases[i].ok) {
            CHECK_OK(cx, lattice_guest_encrypt(cx, g, cases[i].m, &out));
        } else {
            CHECK_ERR(lattice_guest_encrypt(cx, g, cases[i].m, &out), LIMIT);
            CHECK(out.n == 0);
        }
    }
}

enum { HEADER = 1 + LATTICE_ID + 8 + 8, KEY = 1 + 4 + 15 + LATTICE_ID + 32 + 8 + 2 };

static void refuses_keys(struct ctx *cx)
{
    struct he_params p = {HE_LATTICE, 0, 5, 2, 40};
    CLEANUP(lattice_guest_freep) struct lattice_guest *g = NULL;
    CLEANUP(buf_free) struct buf pub = {0};
    struct lattice_host *none = NULL;
    CHECK_OK(cx, lattice_guest_new(cx, &p, &g));
    CHECK_OK(cx, lattice_guest_public(cx, g, &pub));
    CHECK(pub.n == KEY);
    for (size_t n = 0; n < pub.n; n++)
        CHECK_ERR(lattice_host_open(cx, (struct bytes){pub.p, n}, &none), FORMAT);
    buf_u8(&pub, 0);
    CHECK_ERR(lattice_host_open(cx, (struct bytes){pub.p, pub.n}, &none), FORMAT);
    pub.n--;
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {{0, 0},         {0, 2},       {5, 'M'},     {19, '2'},     {KEY - 1, 0}, {KEY - 1, 58},
               {KEY - 1, 255}, {KEY - 2, 0}, {KEY - 2, 9}, {KEY - 10, 0}, {KEY - 3, 1}};
    for (size_t i = 0; i < LEN(bad); i++) {
        uint8_t was = pub.p[bad[i].at];
        pub.p[bad[i].at] = bad[i].value;
        CHECK_ERR(lattice_host_open(cx, (struct bytes){pub.p, pub.n}, &none), PROTO);
        pub.p[bad[i].at] = was;
    }
    CHECK(!none);
    CLEANUP(lattice_host_freep) struct lattice_host *h = NULL;
    CHECK_OK(cx, lattice_host_open(cx, (struct bytes){pub.p, pub.n}, &h));
}

static void refuses_messages(struct ctx *cx)
{
    struct he_params p = {HE_LATTICE, 0, 5, 2, 40};
    const uint8_t bin[5] = {0, 1, 2, 0, 1}, *bins[1] = {bin};
    const uint16_t n_bins[1] = {3}, too_many[1] = {257};
    const int64_t m[10] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10}, want[6] = {8, -10, 12, -14, 5, -6};
    CLEANUP(pair_free) struct pair x = open_pair(cx, &p, m), other = open_pair(cx, &p, m);
    CLEANUP(lattice_host_freep) struct lattice_host *fresh = NULL;
    CLEANUP(buf_free) struct buf reply = {0};
    int64_t got[6];
    CHECK_OK(cx, lattice_host_open(cx, (struct bytes){x.pub.p, x.pub.n}, &fresh));
    CHECK_ERR(lattice_host_sum(cx, fresh, bins, n_bins, 1, NULL, 0, &reply), STATE);
    for (size_t n = 0; n < x.batch.n; n += n < HEADER ? 1 : 999) {
        status st = lattice_host_load(cx, fresh, (struct bytes){x.batch.p, n});
        CHECK(st.code == (n < HEADER ? ERR_FORMAT : ERR_PROTO));
    }
    buf_u8(&x.batch, 0);
    CHECK_ERR(lattice_host_load(cx, fresh, (struct bytes){x.batch.p, x.batch.n}), PROTO);
    x.batch.n--;
    for (size_t at = 0; at < HEADER; at++) { /* version, id, no number, other rows */
        uint8_t was = x.batch.p[at];
        if (at > 17 && at < 25) continue;
        x.batch.p[at] = at == 17 ? 0 : (uint8_t)(was + 1);
        CHECK_ERR(lattice_host_load(cx, fresh, (struct bytes){x.batch.p, x.batch.n}), PROTO);
        x.batch.p[at] = was;
    }
    CHECK_ERR(lattice_host_load(cx, fresh, (struct bytes){other.batch.p, other.batch.n}), PROTO);
    CHECK_ERR(lattice_host_sum(cx, fresh, bins, n_bins, 1, NULL, 0, &reply), STATE);

    const uint32_t bad_rows[][2] = {{0, 5}, {1, 0}, {2, 2}};
    for (size_t i = 0; i < LEN(bad_rows); i++)
        CHECK_ERR(lattice_host_sum(cx, x.h, bins, n_bins, 1, bad_rows[i], 2, &reply), ARG);
    CHECK_ERR(lattice_host_sum(cx, x.h, bins, too_many, 1, NULL, 0, &reply), ARG);
    CHECK(reply.n == 0);
    CHECK_OK(cx, lattice_host_sum(cx, x.h, bins, n_bins, 1, NULL, 0, &reply));
    CHECK_OK(cx, lattice_guest_decrypt(cx, x.g, (struct bytes){reply.p, reply.n}, 3, got));
    CHECK(memcmp(got, want, sizeof want) == 0);
    memset(got, 0x55, sizeof got);
    for (size_t n = 0; n < reply.n; n += n < HEADER ? 1 : 50)
        CHECK_ERR(lattice_guest_decrypt(cx, x.g, (struct bytes){reply.p, n}, 3, got), PROTO);
    for (size_t at = 0; at < HEADER; at++) {
        reply.p[at]++;
        CHECK_ERR(lattice_guest_decrypt(cx, x.g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
        reply.p[at]--;
    }
    CHECK_ERR(lattice_guest_decrypt(cx, x.g, (struct bytes){reply.p, reply.n}, 2, got), PROTO);
    CHECK_ERR(lattice_guest_decrypt(cx, other.g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
    memset(reply.p + HEADER, 0x5a, 2560 * 5); /* another mask: integers of 57 bits and more */
    CHECK_ERR(lattice_guest_decrypt(cx, x.g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
    buf_reset(&reply);
    CHECK_OK(cx, lattice_host_sum(cx, x.h, bins, n_bins, 1, NULL, 0, &reply));
    buf_reset(&x.batch);
    CHECK_OK(cx, lattice_guest_encrypt(cx, x.g, m, &x.batch)); /* the reply is to the batch before */
    CHECK_ERR(lattice_guest_decrypt(cx, x.g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
    for (size_t i = 0; i < LEN(got); i++)
        CHECK(got[i] == 0x5555555555555555); /* untouched on failure */
    CLEANUP(lattice_guest_freep) struct lattice_guest *g = NULL;
    CHECK_OK(cx, lattice_guest_new(cx, &p, &g));
    CHECK_ERR(lattice_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got), STATE);
}

/* --- one seed, the same bytes ------------------------------------------------------------------------ */
/* Key, batch and replies (all rows, some rows) under one seed, as a hash. */
static void digest_under_a_seed(struct ctx *cx, unsigned threads, char hex[65])
{
    enum { ROWS = 3000 };
    struct he_params p = {HE_LATTICE, 0, ROWS, 2, 45};
    struct pool *before = cx->pool;
    CLEANUP(pool_freep) struct pool *pool = pool_new(threads);
    CLEANUP(lattice_guest_freep) struct lattice_guest *g = NULL;
    CLEANUP(lattice_host_freep) struct lattice_host *h = NULL;
    CLEANUP(buf_free) struct buf all = {0};
    static int64_t m[2 * ROWS];
    static uint8_t bin[2][ROWS];
    static uint32_t rows[ROWS];
    uint8_t digest[32];
    const uint8_t *bins[2] = {bin[0], bin[1]};
    const uint16_t n_bins[2] = {31, 5};
    size_t n = 0;
    for (int i = 0; i < 2 * ROWS; i++)
        m[i] = (i - 2500) * 100003ll;
    for (uint32_t i = 0; i < ROWS; i++) {
        bin[0][i] = (uint8_t)(i * 7 % 32), bin[1][i] = (uint8_t)(i % 23 ? 2 : 4);
        if (i % 5 < 2) rows[n++] = i;
    }
    cx->pool = pool;
    setenv("NORN_TEST_SEEDS", "1", 1);
    CHECK_OK(cx, rand_seed_for_tests(cx, 7));
    CHECK_OK(cx, lattice_guest_new(cx, &p, &g));
    CHECK_OK(cx, lattice_guest_public(cx, g, &all));
    CHECK_OK(cx, lattice_host_open(cx, (struct bytes){all.p, all.n}, &h));
    size_t at = all.n;
    CHECK_OK(cx, lattice_guest_encrypt(cx, g, m, &all));
    CHECK_OK(cx, lattice_host_load(cx, h, (struct bytes){all.p + at, all.n - at}));
    CHECK_OK(cx, lattice_host_sum(cx, h, bins, n_bins, 2, NULL, 0, &all));
    CHECK_OK(cx, lattice_host_sum(cx, h, bins, n_bins, 2, rows, n, &all));
    SHA256(all.p, all.n, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    cx->pool = before;
}

/* This program run again with NORN_CPU lowered prints the digest of that level's kernel, and that is all it does. */
static __attribute__((constructor)) void print_digest(void)
{
    if (!getenv("TEST_LATTICE_DIGEST")) return;
    struct ctx cx = {.mem = arena_new(0)};
    char hex[65] = "";
    digest_under_a_seed(&cx, 2, hex);
    puts(hex);
    fflush(stdout);
    _exit(0);
}

/* For any number of threads and every kernel; and version 1 stays what it is. */
static void bytes_under_a_seed(struct ctx *cx)
{
    static const char golden[] = "09baa9d40fbf29a608cce498bb6bb7d7d5f4c5ecef630d76d192e9a2f9bae2f3";
    char self[4096], command[4200];
    for (unsigned threads = 1; threads <= 4; threads *= 2) {
        char hex[65] = "";
        digest_under_a_seed(cx, threads, hex);
        CHECK(strcmp(hex, golden) == 0);
        if (strcmp(hex, golden) != 0) printf("# %s\n", hex);
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    self[n > 0 ? n : 0] = 0;
    for (int level = CPU_PORTABLE; level < (int)cpu_level(); level++) {
        char hex[65] = "";
        snprintf(command, sizeof command, "TEST_LATTICE_DIGEST=1 NORN_CPU=%s '%s'",
                 cpu_level_name((enum cpu_level)level), self);
        FILE *f = popen(command, "r");
        CHECK(f && fgets(hex, sizeof hex, f));
        CHECK(f && pclose(f) == 0);
        CHECK(strcmp(hex, golden) == 0);
    }
}

TEST_MAIN(T(products_are_schoolbook), T(kernels_are_equal), T(shapes), T(sums_are_plain), T(many_rows),
          T(rows_are_hidden), T(rows_are_encrypted), T(reply_size_tells_nothing), T(refuses_parameters),
          T(refuses_integers), T(refuses_keys), T(refuses_messages), T(bytes_under_a_seed))
