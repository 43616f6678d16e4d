/* mont_lanes.h - products, powers and tables of mont.h over vectors of LANES elements, written once.
 *
 * An element's halves are below 2n in limbs below 2^RADIX; R = 2^(RADIX L) is at least 2^16 n for every size,
 * so that operands below 8n give results below 2n: (64 n^2 + R n) / R, and (2 * 64 n^2 + R + n + R n) / R.
 * The including kernel defines
 *   LANES, RADIX, VEC                       a vector of LANES 64-bit words
 *   ADD SUB AND SHR ALL ZERO                on VEC; ALL(x) is x in every lane
 *   L1024 L1536 L2048 L3072                 limbs of n of so many bits
 *   montgomery(L, out, a, b, c, d, init, m, q)
 *                                           out = (a b + c d + init) / R modulo n, lane by lane, and the
 * quotient q with a b + c d + init + q n = R out; without c d for c = NULL gather(m, v, x, n), scatter(m, x,
 * v, n) n <= LANES elements to vectors, lanes past n repeat the last; and back KEEP(out, digit, i, x) out
 * becomes x where the shared digit is i, in constant time window, pick(t, j, index, out)          digits of
 * tables; out = each lane's entry of window j, in constant time */
#include "crypto/mont.h"
#include "base/secret.h"
#include <string.h>

enum { MAX_LIMBS = L3072 };

static size_t limbs(size_t n_words)
{
    return n_words == 16 ? L1024 : n_words == 24 ? L1536 : n_words == 32 ? L2048 : L3072;
}

/* kn - q, the multiple of n above R less the quotient: not negative in any limb. */
INLINE void minus_q(const int L, VEC *v, const VEC *q, const struct mont *m)
{
    for (int i = 0; i < L; i++)
        v[i] = SUB(ALL(m->kn[i]), q[i]);
}

/* r = x y / R, pairs of L limbs and L limbs. r may be x or y. */
INLINE void pair_mul(const int L, VEC *r, const VEC *x, const VEC *y, const struct mont *m)
{
    VEC q[MAX_LIMBS], v[MAX_LIMBS], lo[MAX_LIMBS], unused[MAX_LIMBS];
    montgomery(L, lo, x, y, NULL, NULL, NULL, m, q);
    minus_q(L, v, q, m);
    montgomery(L, r + L, x, y + L, x + L, y, v, m, unused);
    memcpy(r, lo, (size_t)L * sizeof *r);
}

/* r = x^2 / R: the cross terms are one product with 2 hi. */
INLINE void pair_sqr(const int L, VEC *r, const VEC *x, const struct mont *m)
{
    VEC q[MAX_LIMBS], v[MAX_LIMBS], lo[MAX_LIMBS], hi2[MAX_LIMBS], unused[MAX_LIMBS];
    const VEC low = ALL((1ull << RADIX) - 1);
    VEC carry = ZERO;
    for (int i = 0; i < L; i++) {
        VEC t = ADD(ADD(x[L + i], x[L + i]), carry);
        hi2[i] = AND(t, low);
        carry = SHR(t, RADIX);
    }
    montgomery(L, lo, x, x, NULL, NULL, NULL, m, q);
    minus_q(L, v, q, m);
    montgomery(L, r + L, x, hi2, NULL, NULL, v, m, unused);
    memcpy(r, lo, (size_t)L * sizeof *r);
}

#define SIZE(L)                                                                                              \
    static __attribute__((noinline)) void pair_mul_##L(VEC *r, const VEC *x, const VEC *y,                   \
                                                       const struct mont *m)                                 \
    {                                                                                                        \
        pair_mul(L, r, x, y, m);                                                                             \
    }                                                                                                        \
    static __attribute__((noinline)) void pair_sqr_##L(VEC *r, const VEC *x, const struct mont *m)           \
    {                                                                                                        \
        pair_sqr(L, r, x, m);                                                                                \
    }
SIZE(L1024)
SIZE(L1536)
SIZE(L2048)
SIZE(L3072)

static void vec_mul(VEC *r, const VEC *x, const VEC *y, const struct mont *m)
{
    switch (m->limbs) {
    case L1024:
        pair_mul_L1024(r, x, y, m);
        break;
    case L1536:
        pair_mul_L1536(r, x, y, m);
        break;
    case L2048:
        pair_mul_L2048(r, x, y, m);
        break;
    default:
        pair_mul_L3072(r, x, y, m);
    }
}

static void vec_sqr(VEC *r, const VEC *x, const struct mont *m)
{
    switch (m->limbs) {
    case L1024:
        pair_sqr_L1024(r, x, m);
        break;
    case L1536:
        pair_sqr_L1536(r, x, m);
        break;
    case L2048:
        pair_sqr_L2048(r, x, m);
        break;
    default:
        pair_sqr_L3072(r, x, m);
    }
}

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

static void mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                const uint64_t *const *b)
{
    VEC x[2 * MAX_LIMBS], y[2 * MAX_LIMBS];
    for (size_t i = 0; i < n; i += LANES) {
        size_t k = at_most(n - i, LANES);
        gather(m, x, a + i, k);
        gather(m, y, b + i, k);
        vec_mul(x, x, y, m);
        scatter(m, out + i, x, k);
    }
}

static void sqr(const struct mont *m, size_t n, uint64_t *const *x, size_t times)
{
    VEC v[2 * MAX_LIMBS];
    for (size_t i = 0; i < n; i += LANES) {
        size_t k = at_most(n - i, LANES);
        gather(m, v, (const uint64_t *const *)x + i, k);
        for (size_t t = 0; t < times; t++)
            vec_sqr(v, v, m);
        scatter(m, x + i, v, k);
    }
}

enum { POW_WINDOW = 5, POW_ENTRIES = 1 << POW_WINDOW };

/* One digit for all lanes: every entry is read, one is kept. */
static void scan(const struct mont *m, const VEC *table, uint64_t digit, VEC *out)
{
    size_t words = m->elem_words;
    for (size_t k = 0; k < words; k++)
        out[k] = ZERO;
    for (size_t i = 0; i < POW_ENTRIES; i++) {
        for (size_t k = 0; k < words; k++)
            KEEP(out[k], digit, i, table[i * words + k]);
    }
}

static void pow_shared(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits)
{
    VEC table[POW_ENTRIES * 2 * L1536], v[2 * MAX_LIMBS], y[2 * MAX_LIMBS]; /* n of at most 1536 bits */
    size_t words = m->elem_words, windows = (e_bits + POW_WINDOW - 1) / POW_WINDOW;
    for (size_t i = 0; i < n; i += LANES) {
        size_t lanes = at_most(n - i, LANES);
        for (size_t k = 0; k < words; k++)
            table[k] = ALL(m->one[k]);
        gather(m, table + words, (const uint64_t *const *)x + i, lanes);
        for (size_t k = 2; k < POW_ENTRIES; k++)
            vec_mul(table + k * words, table + (k - 1) * words, table + words, m);
        memcpy(v, table, words * sizeof *v);
        for (size_t j = windows; j-- > 0;) {
            for (int s = 0; s < POW_WINDOW && j + 1 < windows; s++)
                vec_sqr(v, v, m);
            scan(m, table, mont_digit(e, e_bits, j * POW_WINDOW, POW_WINDOW), y);
            vec_mul(v, v, y, m);
        }
        scatter(m, x + i, v, lanes);
    }
    secret_wipe(table, words * POW_ENTRIES * sizeof *table);
    secret_wipe(v, sizeof v);
    secret_wipe(y, sizeof y);
}

/* GROUPS * LANES elements go through a window of the table while it is in the cache. */
static void table_pow(const struct mont_table *t, size_t n, const uint64_t *const *e, uint64_t *const *out)
{
    enum { GROUPS = 8 };
    const struct mont *m = t->m;
    VEC v[GROUPS * 2 * MAX_LIMBS], y[2 * MAX_LIMBS];
    size_t words = m->elem_words;
    for (size_t i0 = 0; i0 < n; i0 += GROUPS * LANES) {
        for (size_t j = 0; j < t->n_windows; j++)
            for (size_t g = 0; g < GROUPS && i0 + g * LANES < n; g++) {
                uint64_t index[LANES];
                for (size_t l = 0; l < LANES; l++) {
                    size_t i = at_most(i0 + g * LANES + l, n - 1);
                    index[l] = mont_digit(e[i], t->e_bits, j * t->window, t->window);
                }
                pick(t, j, index, j ? y : v + g * words);
                if (j) vec_mul(v + g * words, v + g * words, y, m);
            }
        for (size_t g = 0; g < GROUPS && i0 + g * LANES < n; g++)
            scatter(m, out + i0 + g * LANES, v + g * words, at_most(n - i0 - g * LANES, LANES));
    }
    secret_wipe(v, sizeof v);
    secret_wipe(y, sizeof y);
}
