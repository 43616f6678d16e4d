/* Paillier sums by bucket against plain sums and against Paillier's text in plain GMP; refusals; bytes under
 * a seed. */
#include "crypto/paillier.h"
#include "crypto/prime.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include "test.h"
#include <gmp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <unistd.h>

/* Two primes of 1024 bits, 3 modulo 4, found by this project's prime_random: big-endian hexadecimal. */
static const char p_hex[] =
    "fb40ca190bd1728956c6a943342cf393e94f5b21a80f218ac7eb26b136a3c3d83bc91e8515dae990b671a1e9a4044d7acfd47c6f"
    "26564f48edc70ef05f5b6c593a04abd97911093454e1da1219114061d8b17ee6ee3833ced60b53ed847f90c2dccb8ec75a2a749e"
    "01d9eb4368a5b3b09b6cb62ba4f97ae11ae5e2dfa1cbac3b";
static const char q_hex[] =
    "cfc085388146245d1fbfbd10e5a65cc57379523e5142adef0ac34228d66976bdb3120e82a9c19483ce0f9170bcb7fc0631bd03c0"
    "d9b0f67508638fd2fd4ded81edb91fc49d24c991ef6d34e853c6793617c7136a0349d9fb44e6989d27dcda747480ee2931ffc5e8"
    "ba717e665e137061b5d1870317c35c62abe3e4d7726a4bcb";

static void words_of_hex(const char *hex, uint64_t *w, size_t n)
{
    mpz_t x;
    mpz_init_set_str(x, hex, 16);
    memset(w, 0, 8 * n);
    mpz_export(w, NULL, -1, 8, 0, 0, x);
    mpz_clear(x);
}

static void fixed_guest(struct ctx *cx, const struct he_params *params, struct paillier_guest **g)
{
    uint64_t p[16], q[16];
    words_of_hex(p_hex, p, 16);
    words_of_hex(q_hex, q, 16);
    CHECK_OK(cx, paillier_guest_of_primes(cx, params, p, q, g));
}

static void open_host(struct ctx *cx, const struct paillier_guest *g, struct paillier_host **h)
{
    CLEANUP(buf_free) struct buf pub = {0};
    CHECK_OK(cx, paillier_guest_public(cx, g, &pub));
    CHECK_OK(cx, paillier_host_open(cx, (struct bytes){pub.p, pub.n}, h));
}

static uint64_t random_below(struct ctx *cx, uint64_t n)
{
    uint64_t x;
    CHECK_OK(cx, rand_bytes(cx, &x, sizeof x));
    return x % n;
}

/* Integers whose absolute values sum to less than 2^sum_bits, of either sign, some of them zero; often near
 * the bound. */
static int64_t *random_stats(struct ctx *cx, const struct he_params *p)
{
    size_t k = (size_t)p->n_stats;
    int64_t *m = NEW(cx, int64_t, p->n_rows * k);
    uint64_t each = (1ull << p->sum_bits) / p->n_rows;
    for (size_t i = 0; i < p->n_rows * k; i++) {
        int64_t x = each ? (int64_t)random_below(cx, each) : 0;
        m[i] = random_below(cx, 2) ? x : -x;
    }
    if (each <= 1) { /* few bits: one row of each stat has all */
        for (size_t s = 0; s < k; s++) {
            size_t row = random_below(cx, p->n_rows);
            for (size_t i = 0; i < p->n_rows; i++)
                m[i * k + s] = i == row ? (int64_t)((1ull << p->sum_bits) - 1) : 0;
        }
    }
    return m;
}

struct features {
    size_t n, n_buckets;
    const uint8_t *bins[8];
    uint16_t n_bins[8];
};

/* Features of 1, 2, 31, ... bins, also of all 256 when wide; some rows in bins that are not returned, some
 * bins empty. */
static struct features random_features(struct ctx *cx, size_t n_rows, bool wide)
{
    static const uint16_t n_bins[] = {1, 2, 31, 7, 3, 255, 256};
    struct features f = {.n = wide ? LEN(n_bins) : LEN(n_bins) - 2};
    for (size_t k = 0; k < f.n; k++) {
        uint8_t *b = NEW(cx, uint8_t, n_rows);
        for (size_t i = 0; i < n_rows; i++)
            b[i] = (uint8_t)(k == 3 ? 2 * random_below(cx, 5)
                                    : random_below(cx, n_bins[k] < 256 ? n_bins[k] + 1u : 256));
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

static void check_sums(struct ctx *cx, struct paillier_guest *g, struct paillier_host *h,
                       const struct he_params *p, const int64_t *m, const uint32_t *rows, size_t n_rows,
                       bool wide)
{
    struct features f = random_features(cx, p->n_rows, wide);
    size_t n = f.n_buckets * (size_t)p->n_stats;
    int64_t *want = NEW(cx, int64_t, n), *got = NEW(cx, int64_t, n);
    CLEANUP(buf_free) struct buf reply = {0};
    CHECK_OK(cx, paillier_host_sum(cx, h, f.bins, f.n_bins, f.n, rows, n_rows, &reply));
    CHECK_OK(cx, paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, f.n_buckets, got));
    plain_sums(p, m, &f, rows, rows ? n_rows : p->n_rows, want);
    CHECK(memcmp(got, want, n * sizeof *got) == 0);
}

static void sums_are_plain(struct ctx *cx)
{
    static const struct {
        int key_bits, n_stats, sum_bits;
        size_t n_rows;
    } cases[] = {
        {2048, 1, 62, 700}, {2048, 2, 50, 300}, {2048, 8, 62, 65},
        {2048, 3, 1, 64},   {2048, 5, 20, 1},   {3072, 2, 62, 200},
    };
    for (size_t c = 0; c < LEN(cases); c++) {
        struct he_params p = {HE_PAILLIER, cases[c].key_bits, cases[c].n_rows, cases[c].n_stats,
                              cases[c].sum_bits};
        CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL;
        CLEANUP(paillier_host_freep) struct paillier_host *h = NULL;
        CHECK_OK(cx, paillier_guest_new(cx, &p, &g));
        open_host(cx, g, &h);
        CHECK(memcmp(paillier_host_params(h), &p, sizeof p) == 0);
        for (int round = 0; round < 2; round++) {
            int64_t *m = random_stats(cx, &p);
            CLEANUP(buf_free) struct buf batch = {0};
            CHECK_OK(cx, paillier_guest_encrypt(cx, g, m, &batch));
            CHECK_OK(cx, paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}));
            check_sums(cx, g, h, &p, m, NULL, 0, round == 0);
            uint32_t *rows = NEW(cx, uint32_t, p.n_rows);
            size_t n = 0;
            for (uint32_t i = 0; i < p.n_rows; i++)
                if (random_below(cx, 3)) rows[n++] = i;
            check_sums(cx, g, h, &p, m, rows, n, false);
            check_sums(cx, g, h, &p, m, rows, 0, false);
        }
    }
}

/* The text of the scheme: m = L(c^lambda) / L(g^lambda) modulo N, all in GMP. */
struct twin {
    mpz_t n, n2, lambda, mu;
};

static void twin_init(struct twin *t)
{
    mpz_t p, q;
    mpz_inits(t->n, t->n2, t->lambda, t->mu, NULL);
    mpz_init_set_str(p, p_hex, 16);
    mpz_init_set_str(q, q_hex, 16);
    mpz_mul(t->n, p, q);
    mpz_mul(t->n2, t->n, t->n);
    mpz_sub_ui(p, p, 1);
    mpz_sub_ui(q, q, 1);
    mpz_lcm(t->lambda, p, q);
    mpz_invert(t->mu, t->lambda, t->n);
    mpz_clears(p, q, NULL);
}

static void twin_clear(struct twin *t)
{
    mpz_clears(t->n, t->n2, t->lambda, t->mu, NULL);
}

/* c from the wire: low and high words in base N. */
static void twin_read(const struct twin *t, const uint8_t *at, mpz_t c)
{
    mpz_t lo;
    mpz_init(lo);
    mpz_import(lo, 32, -1, 8, 0, 0, at);
    mpz_import(c, 32, -1, 8, 0, 0, at + 256);
    mpz_mul(c, c, t->n);
    mpz_add(c, c, lo);
    mpz_clear(lo);
}

static void twin_write(const struct twin *t, mpz_t c, uint8_t *at)
{
    mpz_t lo, hi;
    mpz_inits(lo, hi, NULL);
    mpz_fdiv_qr(hi, lo, c, t->n);
    memset(at, 0, 512);
    mpz_export(at, NULL, -1, 8, 0, 0, lo);
    mpz_export(at + 256, NULL, -1, 8, 0, 0, hi);
    mpz_clears(lo, hi, NULL);
}

static void twin_decrypt(const struct twin *t, mpz_t c, mpz_t m)
{
    mpz_powm(m, c, t->lambda, t->n2);
    mpz_sub_ui(m, m, 1);
    CHECK(mpz_divisible_p(m, t->n));
    mpz_divexact(m, m, t->n);
    mpz_mul(m, m, t->mu);
    mpz_mod(m, m, t->n);
}

/* m = sum of m[s] 2^(width s) modulo N. */
static void twin_plain(const struct twin *t, const int64_t *stat, size_t k, size_t width, mpz_t m)
{
    mpz_set_ui(m, 0);
    for (size_t s = k; s-- > 0;) {
        mpz_mul_2exp(m, m, width);
        if (stat[s] < 0)
            mpz_sub_ui(m, m, 0 - (uint64_t)stat[s]);
        else
            mpz_add_ui(m, m, (uint64_t)stat[s]);
    }
    mpz_mod(m, m, t->n);
}

enum { HEADER = 1 + PAILLIER_ID + 8 + 8 };

static void ciphers_are_paillier(struct ctx *cx)
{
    struct he_params p = {HE_PAILLIER, 2048, 70, 2, 40};
    struct twin t;
    mpz_t c, m, want;
    twin_init(&t);
    mpz_inits(c, m, want, NULL);
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL;
    fixed_guest(cx, &p, &g);
    int64_t *stat = random_stats(cx, &p);
    CLEANUP(buf_free) struct buf batch = {0};
    CHECK_OK(cx, paillier_guest_encrypt(cx, g, stat, &batch));
    CHECK(batch.n == HEADER + p.n_rows * 512);
    for (size_t i = 0; i < p.n_rows; i++) {
        twin_read(&t, batch.p + HEADER + i * 512, c);
        CHECK(mpz_cmp(c, t.n2) < 0);
        CHECK(mpz_jacobi(c, t.n) == 1); /* noise is a square: nothing to be told from the symbol */
        twin_decrypt(&t, c, m);
        twin_plain(&t, stat + 2 * i, 2, 41, want);
        CHECK(mpz_cmp(m, want) == 0);
    }

    /* and a host and a guest take ciphers made by the text, (1 + m N) r^N, r any residue */
    for (size_t i = 0; i < p.n_rows; i++) {
        uint64_t r[32];
        CHECK_OK(cx, rand_bytes(cx, r, sizeof r));
        mpz_import(c, 32, -1, 8, 0, 0, r);
        mpz_powm(c, c, t.n, t.n2);
        twin_plain(&t, stat + 2 * i, 2, 41, m);
        mpz_mul(m, m, t.n);
        mpz_add_ui(m, m, 1);
        mpz_mul(c, c, m);
        mpz_mod(c, c, t.n2);
        twin_write(&t, c, batch.p + HEADER + i * 512);
    }
    CLEANUP(paillier_host_freep) struct paillier_host *h = NULL;
    open_host(cx, g, &h);
    CHECK_OK(cx, paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}));
    check_sums(cx, g, h, &p, stat, NULL, 0, false);
    mpz_clears(c, m, want, NULL);
    twin_clear(&t);
}

/* A reply's cipher is Horner's sum of the buckets; noise is fresh every time and is not the rows' product. */
static void replies_are_paillier(struct ctx *cx)
{
    struct he_params p = {HE_PAILLIER, 2048, 40, 1, 30};
    struct twin t;
    mpz_t c, m, want, shifted;
    twin_init(&t);
    mpz_inits(c, m, want, shifted, NULL);
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL;
    CLEANUP(paillier_host_freep) struct paillier_host *h = NULL;
    fixed_guest(cx, &p, &g);
    open_host(cx, g, &h);
    int64_t *stat = random_stats(cx, &p);
    CLEANUP(buf_free) struct buf batch = {0}, reply = {0}, again = {0};
    CHECK_OK(cx, paillier_guest_encrypt(cx, g, stat, &batch));
    CHECK_OK(cx, paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}));
    struct features f = random_features(cx, p.n_rows, false);
    CHECK_OK(cx, paillier_host_sum(cx, h, f.bins, f.n_bins, f.n, NULL, 0, &reply));
    CHECK_OK(cx, paillier_host_sum(cx, h, f.bins, f.n_bins, f.n, NULL, 0, &again));
    size_t per, n;
    paillier_reply_shape(&p, f.n_buckets, &per, &n);
    CHECK(reply.n == HEADER + 512 * n && again.n == reply.n);
    int64_t *sums = NEW(cx, int64_t, f.n_buckets);
    plain_sums(&p, stat, &f, NULL, p.n_rows, sums);
    for (size_t i = 0; i < n; i++) {
        CHECK(memcmp(reply.p + HEADER + 512 * i, again.p + HEADER + 512 * i, 256) != 0);
        twin_read(&t, reply.p + HEADER + i * 512, c);
        twin_decrypt(&t, c, m);
        size_t count = f.n_buckets - i * per < per ? f.n_buckets - i * per : per;
        twin_plain(&t, sums + i * per, count, 31, want);
        CHECK(mpz_cmp(m, want) == 0);
    }
    mpz_clears(c, m, want, shifted, NULL);
    twin_clear(&t);
}

static void shapes(struct ctx *cx)
{
    struct he_params p = {HE_PAILLIER, 2048, 10, 2, 60};
    static const struct {
        size_t buckets, per, n;
    } cases[] = {
        {0, 1, 0},    {1, 1, 1},     {16, 1, 16},     {17, 2, 9},      {256, 16, 16},
        {257, 9, 29}, {620, 13, 48}, {4960, 16, 310}, {5120, 16, 320},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        size_t per, n;
        paillier_reply_shape(&p, cases[i].buckets, &per, &n);
        CHECK(per == cases[i].per && n == cases[i].n);
    }
    struct he_info info;
    CHECK_OK(cx, paillier_describe(cx, &p, &info));
    CHECK(strcmp(info.set, "paillier-2048-v1") == 0 && info.security_bits == 112 && info.row_bytes == 512);
    CHECK(paillier_sum_bits_max(2048, 1000000, 8) == 62 && paillier_sum_bits_max(1024, 10, 1) == 0);
    p.key_bits = 3072;
    CHECK_OK(cx, paillier_describe(cx, &p, &info));
    CHECK(strcmp(info.set, "paillier-3072-v1") == 0 && info.security_bits == 128 && info.row_bytes == 768);
}

static void refuses_parameters(struct ctx *cx)
{
    static const struct {
        struct he_params p;
        bool limit;
    } cases[] = {
        {{HE_PAILLIER, 1024, 10, 2, 40}, false},
        {{HE_PAILLIER, 2047, 10, 2, 40}, false},
        {{HE_PAILLIER, 4096, 10, 2, 40}, false},
        {{HE_PAILLIER, 2048, 0, 2, 40}, false},
        {{HE_PAILLIER, 2048, (1ull << 31) + 1, 2, 40}, false},
        {{HE_PAILLIER, 2048, 10, 0, 40}, false},
        {{HE_PAILLIER, 2048, 10, 9, 40}, false},
        {{HE_PAILLIER, 2048, 10, 2, 0}, false},
        {{HE_PAILLIER, 2048, 10, 2, 63}, true},
        {{HE_LATTICE, 2048, 10, 2, 40}, false},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct paillier_guest *g = NULL;
        if (cases[i].limit)
            CHECK_ERR(paillier_guest_new(cx, &cases[i].p, &g), LIMIT);
        else
            CHECK_ERR(paillier_guest_new(cx, &cases[i].p, &g), ARG);
        CHECK(!g);
    }
    struct he_params p = {HE_PAILLIER, 2048, 3, 1, 10};
    uint64_t a[16], b[16];
    words_of_hex(p_hex, a, 16);
    words_of_hex(q_hex, b, 16);
    struct paillier_guest *g = NULL;
    CHECK_ERR(paillier_guest_of_primes(cx, &p, a, a, &g), ARG);
    b[0] ^= 2;
    CHECK_ERR(paillier_guest_of_primes(cx, &p, a, b, &g), ARG);
    CHECK(!g);
}

static void refuses_integers(struct ctx *cx)
{
    struct he_params p = {HE_PAILLIER, 2048, 3, 1, 10};
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL;
    fixed_guest(cx, &p, &g);
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
            CHECK_OK(cx, paillier_guest_encrypt(cx, g, cases[i].m, &out));
        } else {
            CHECK_ERR(paillier_guest_encrypt(cx, g, cases[i].m, &out), LIMIT);
            CHECK(out.n == 0);
        }
    }
}

static void refuses_messages(struct ctx *cx)
{
    struct he_params p = {HE_PAILLIER, 2048, 5, 2, 40};
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL, *other = NULL;
    CLEANUP(paillier_host_freep) struct paillier_host *h = NULL, *none = NULL;
    CLEANUP(buf_free) struct buf pub = {0}, batch = {0}, batch2 = {0}, reply = {0};
    fixed_guest(cx, &p, &g);
    fixed_guest(cx, &p, &other);
    CHECK_OK(cx, paillier_guest_public(cx, g, &pub));
    const uint8_t bin[5] = {0, 1, 2, 0, 1}, *bins[1] = {bin};
    const uint16_t n_bins[1] = {3};
    const int64_t m[10] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10}, want[6] = {8, -10, 12, -14, 5, -6};
    int64_t got[6];

    for (size_t n = 0; n < pub.n; n++)
        CHECK_ERR(paillier_host_open(cx, (struct bytes){pub.p, n}, &none), FORMAT);
    CHECK(!none);
    size_t key = 1 + 4 + 16 + PAILLIER_ID + 8 + 2; /* where N starts */
    struct {
        size_t at;
        uint8_t x;
    } flips[] = {{0, 1}, {5, 1}, {20, 1}, {key - 2, 8}, {key - 1, 64}, {key, 1}, {key + 255, 0x80}};
    for (size_t i = 0; i < LEN(flips); i++) {
        pub.p[flips[i].at] ^= flips[i].x;
        CHECK_ERR(paillier_host_open(cx, (struct bytes){pub.p, pub.n}, &none), PROTO);
        pub.p[flips[i].at] ^= flips[i].x;
    }
    uint8_t keep[512];
    memcpy(keep, pub.p + key + 256, 512);
    memset(pub.p + key + 256, 0, 256);
    CHECK_ERR(paillier_host_open(cx, (struct bytes){pub.p, pub.n}, &none), PROTO);
    memset(pub.p + key + 512, 0xff, 256);
    memcpy(pub.p + key + 256, keep, 256);
    CHECK_ERR(paillier_host_open(cx, (struct bytes){pub.p, pub.n}, &none), PROTO);
    memcpy(pub.p + key + 256, keep, 512);
    buf_u8(&pub, 0);
    CHECK_ERR(paillier_host_open(cx, (struct bytes){pub.p, pub.n}, &none), FORMAT);
    CHECK_OK(cx, paillier_host_open(cx, (struct bytes){pub.p, pub.n - 1}, &h));

    CHECK_ERR(paillier_host_sum(cx, h, bins, n_bins, 1, NULL, 0, &reply), STATE);
    CHECK_OK(cx, paillier_guest_encrypt(cx, g, m, &batch));
    for (size_t n = 0; n < batch.n; n += n < HEADER ? 1 : 100) {
        status st = paillier_host_load(cx, h, (struct bytes){batch.p, n});
        CHECK(st.code == ERR_FORMAT || st.code == ERR_PROTO);
    }
    for (size_t row = 0; row < 5; row += 4) {
        uint8_t *c = batch.p + HEADER + 512 * row;
        memcpy(keep, c, 512);
        memset(c, 0, 256);
        CHECK_ERR(paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}), PROTO);
        memset(c, 0xff, 256);
        CHECK_ERR(paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}), PROTO);
        memcpy(c, keep, 256);
        memcpy(c + 256, pub.p + key, 256); /* hi = N */
        CHECK_ERR(paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}), PROTO);
        memcpy(c, keep, 512);
    }
    CHECK_ERR(paillier_host_sum(cx, h, bins, n_bins, 1, NULL, 0, &reply), STATE);
    CHECK_OK(cx, paillier_guest_encrypt(cx, other, m, &batch2));
    CHECK_ERR(paillier_host_load(cx, h, (struct bytes){batch2.p, batch2.n}), PROTO);
    CHECK_OK(cx, paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}));

    const uint32_t bad_rows[][2] = {{0, 5}, {1, 0}, {2, 2}};
    for (size_t i = 0; i < LEN(bad_rows); i++)
        CHECK_ERR(paillier_host_sum(cx, h, bins, n_bins, 1, bad_rows[i], 2, &reply), ARG);
    CHECK(reply.n == 0);
    CHECK_OK(cx, paillier_host_sum(cx, h, bins, n_bins, 1, NULL, 0, &reply));
    CHECK_OK(cx, paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got));
    CHECK(memcmp(got, want, sizeof want) == 0);
    memset(got, 0x55, sizeof got);
    for (size_t n = 0; n < reply.n; n += n < HEADER ? 1 : 50) {
        status st = paillier_guest_decrypt(cx, g, (struct bytes){reply.p, n}, 3, got);
        CHECK(st.code == ERR_FORMAT || st.code == ERR_PROTO);
    }
    CHECK_ERR(paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 2, got), PROTO);
    CHECK_ERR(paillier_guest_decrypt(cx, other, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
    for (size_t c = 0; c < 3; c++) {
        uint8_t *at = reply.p + HEADER + 512 * c;
        memcpy(keep, at, 512);
        memset(at, 0, 256);
        CHECK_ERR(paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
        memset(at, 0xff, 256);
        CHECK_ERR(paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
        memcpy(at, keep, 512);
        at[300] ^= 1; /* another residue: a plaintext of about 2048 bits */
        CHECK_ERR(paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
        at[300] ^= 1;
        words_of_hex(p_hex, (uint64_t *)(void *)keep, 16); /* a multiple of p is no unit */
        uint8_t before[512];
        memcpy(before, at, 512);
        memset(at, 0, 512);
        memcpy(at, keep, 128);
        CHECK_ERR(paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
        memcpy(at, before, 512);
    }
    for (size_t i = 0; i < LEN(got); i++)
        CHECK(got[i] == 0x5555555555555555); /* untouched on failure */
    buf_reset(&batch);
    CHECK_OK(cx, paillier_guest_encrypt(cx, g, m, &batch)); /* the reply is to the batch before */
    CHECK_ERR(paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, 3, got), PROTO);
}

/* Key, batch and reply under one seed, as a hash. */
static void digest_under_a_seed(struct ctx *cx, unsigned threads, char hex[65])
{
    struct he_params p = {HE_PAILLIER, 2048, 300, 2, 45};
    struct pool *before = cx->pool;
    CLEANUP(pool_freep) struct pool *pool = pool_new(threads);
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL;
    CLEANUP(paillier_host_freep) struct paillier_host *h = NULL;
    CLEANUP(buf_free) struct buf all = {0};
    int64_t m[600];
    uint8_t bin[2][300], digest[32];
    const uint8_t *bins[2] = {bin[0], bin[1]};
    const uint16_t n_bins[2] = {31, 5};
    for (int i = 0; i < 600; i++)
        m[i] = (i - 250) * 1000003ll;
    for (int i = 0; i < 300; i++)
        bin[0][i] = (uint8_t)(i * 7 % 32), bin[1][i] = (uint8_t)(i % 23 ? 2 : 4);
    cx->pool = pool;
    setenv("NORN_TEST_SEEDS", "1", 1);
    CHECK_OK(cx, rand_seed_for_tests(cx, 7));
    CHECK_OK(cx, paillier_guest_new(cx, &p, &g));
    open_host(cx, g, &h);
    CHECK_OK(cx, paillier_guest_public(cx, g, &all));
    size_t at = all.n;
    CHECK_OK(cx, paillier_guest_encrypt(cx, g, m, &all));
    CHECK_OK(cx, paillier_host_load(cx, h, (struct bytes){all.p + at, all.n - at}));
    CHECK_OK(cx, paillier_host_sum(cx, h, bins, n_bins, 2, NULL, 0, &all));
    SHA256(all.p, all.n, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    cx->pool = before;
}

/* This program run again with NORN_CPU lowered prints the digest of that level's kernel, and that is all it
 * does. */
static __attribute__((constructor)) void print_digest(void)
{
    if (!getenv("TEST_PAILLIER_DIGEST")) return;
    struct ctx cx = {.mem = arena_new(0)};
    char hex[65] = "";
    digest_under_a_seed(&cx, 2, hex);
    puts(hex);
    fflush(stdout);
    _exit(0);
}

/* One seed, the same bytes: for any number of threads and every kernel. */
static void bytes_under_a_seed(struct ctx *cx)
{
    char first[65] = "", self[4096], command[4200];
    for (unsigned threads = 1; threads <= 4; threads *= 2) {
        char hex[65] = "";
        digest_under_a_seed(cx, threads, hex);
        if (threads == 1) memcpy(first, hex, sizeof first);
        CHECK(strcmp(hex, first) == 0);
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    self[n > 0 ? n : 0] = 0;
    for (int level = CPU_PORTABLE; level < (int)cpu_level(); level++) {
        char hex[65] = "";
        snprintf(command, sizeof command, "TEST_PAILLIER_DIGEST=1 NORN_CPU=%s '%s'",
                 cpu_level_name((enum cpu_level)level), self);
        FILE *f = popen(command, "r");
        CHECK(f && fgets(hex, sizeof hex, f));
        CHECK(f && pclose(f) == 0);
        CHECK(strcmp(hex, first) == 0);
    }
}

static void primes_are_prime(struct ctx *cx)
{
    uint8_t seed[32] = {1};
    uint64_t w[24];
    mpz_t p, half;
    mpz_inits(p, half, NULL);
    CLEANUP(prg_freep) struct prg *prg = NULL;
    CHECK_OK(cx, prg_new(cx, seed, &prg));
    for (size_t n = 8; n <= 24; n += 8) {
        CHECK_OK(cx, prime_random(cx, prg, n, w));
        mpz_import(p, n, -1, 8, 0, 0, w);
        CHECK(mpz_probab_prime_p(p, 40) && mpz_sizeinbase(p, 2) == 64 * n && mpz_tstbit(p, 64 * n - 2));
        CHECK(mpz_fdiv_ui(p, 4) == 3);
        mpz_fdiv_q_2exp(half, p, 1);
        for (unsigned long l = 2; l < 1 << 16; l++)
            CHECK(!mpz_divisible_ui_p(half, l));
    }
    CHECK_ERR(prime_random(cx, prg, 3, w), ARG);
    mpz_clears(p, half, NULL);
}

TEST_MAIN(T(primes_are_prime), T(shapes), T(sums_are_plain), T(ciphers_are_paillier), T(replies_are_paillier),
          T(refuses_parameters), T(refuses_integers), T(refuses_messages), T(bytes_under_a_seed))
