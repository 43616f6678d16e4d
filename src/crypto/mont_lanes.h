/* mont_lanes.h - products, powers and tables of mont.h over vectors of LANES elements, written once.
 *
 * An element's halves are below 2n in limbs below 2^RADIX; R = 2^(RADIX L) is at least 2^16 n for every size,
 * so that operands below 8n give results below 2n: (64 n^2 + R n) / R, and (2 * 64 n^2 + R + n + R n) / R.
 * The including kernel defines
 *   LANES, RADIX, VEC          a vector of LANES 64-bit words
 *   ADD SUB AND SHR ALL ZERO   on VEC; ALL(x) is x in every lane
 *   L1024 L1536 L2048 L3072    limbs of n of so many bits
 *   montgomery(L, ab, cd, t, out, a, b, c, d, m, q)
 *       out = (t + a b + c d) / R modulo n, lane by lane, and the quotient q with
 *       t + a b + c d + q n = R out; a b, c d only where the constants ab, cd are true;
 *       t of 2 L columns and a zero is used up
 *   square(L, t, a)            t = a^2 in 2 L columns and a zero
 *   gather(words, v, x, n)     n <= LANES elements to vectors; lanes past n repeat the last
 *   scatter(words, x, v, n)    and back
 *   KEEP(out, digit, i, x)     out becomes x where the shared digit is i, in constant time
 *   window, pick(t, j, digit, out)
 *                              digits of tables; out = each lane's entry of window j, in constant time */
#include "crypto/mont.h"
#include "base/secret.h"
#include <string.h>

enum { MAX_LIMBS = L3072 };

static size_t limbs(size_t n_words)
{
    return n_words == 16 ? L1024 : n_words == 24 ? L1536 : n_words == 32 ? L2048 : L3072;
}

/* r = x y / R, pairs of L limbs and L limbs; kn - q is the multiple of n above R less the quotient, not
 * negative in any limb. r may be x or y. */
INLINE void pair_mul(const int L, VEC *r, const VEC *x, const VEC *y, const struct mont *m)
{
    VEC t[2 * MAX_LIMBS + 1], q[MAX_LIMBS], lo[MAX_LIMBS], unused[MAX_LIMBS];
    for (int i = 0; i <= 2 * L; i++)
        t[i] = ZERO;
    montgomery(L, true, false, t, lo, x, y, NULL, NULL, m, q);
    for (int i = 0; i < L; i++)
        t[i] = SUB(ALL(m->kn[i]), q[i]);
    for (int i = L; i <= 2 * L; i++)
        t[i] = ZERO;
    montgomery(L, true, true, t, r + L, x, y + L, x + L, y, m, unused);
    memcpy(r, lo, (size_t)L * sizeof *r);
}

/* r = x^2 / R: the cross terms are one product with 2 hi. */
INLINE void pair_sqr(const int L, VEC *r, const VEC *x, const struct mont *m)
{
    VEC t[2 * MAX_LIMBS + 1], q[MAX_LIMBS], lo[MAX_LIMBS], hi2[MAX_LIMBS], unused[MAX_LIMBS];
    const VEC low = ALL((1ull << RADIX) - 1);
    VEC carry = ZERO;
    for (int i = 0; i < L; i++) {
        VEC v = ADD(ADD(x[L + i], x[L + i]), carry);
        hi2[i] = AND(v, low);
        carry = SHR(v, RADIX);
    }
    square(L, t, x);
    montgomery(L, false, false, t, lo, NULL, NULL, NULL, NULL, m, q);
    for (int i = 0; i < L; i++)
        t[i] = SUB(ALL(m->kn[i]), q[i]);
    for (int i = L; i <= 2 * L; i++)
        t[i] = ZERO;
    montgomery(L, true, false, t, r + L, x, hi2, NULL, NULL, m, unused);
    memcpy(r, lo, (size_t)L * sizeof *r);
}

/* The same modulo n alone. */
INLINE void flat_mul(const int L, VEC *r, const VEC *x, const VEC *y, const struct mont *m)
{
    VEC t[2 * MAX_LIMBS + 1], unused[MAX_LIMBS];
    for (int i = 0; i <= 2 * L; i++)
        t[i] = ZERO;
    montgomery(L, true, false, t, r, x, y, NULL, NULL, m, unused);
}

INLINE void flat_sqr(const int L, VEC *r, const VEC *x, const struct mont *m)
{
    VEC t[2 * MAX_LIMBS + 1], unused[MAX_LIMBS];
    square(L, t, x);
    montgomery(L, false, false, t, r, NULL, NULL, NULL, NULL, m, unused);
}

/* Each for one size, chosen by a table: products of a kind for n of each size. */
#define SIZE(kind, L)                                                                                        \
    static __attribute__((noinline)) void kind##_mul_##L(VEC *r, const VEC *x, const VEC *y,                 \
                                                         const struct mont *m)                               \
    {                                                                                                        \
        kind##_mul(L, r, x, y, m);                                                                           \
    }                                                                                                        \
    static __attribute__((noinline)) void kind##_sqr_##L(VEC *r, const VEC *x, const struct mont *m)         \
    {                                                                                                        \
        kind##_sqr(L, r, x, m);                                                                              \
    }
SIZE(pair, L1024)
SIZE(pair, L1536)
SIZE(pair, L2048)
SIZE(pair, L3072)
SIZE(flat, L1024)
SIZE(flat, L1536)
SIZE(flat, L2048)
SIZE(flat, L3072)

struct ops {
    void (*mul)(VEC *r, const VEC *x, const VEC *y, const struct mont *m);
    void (*sqr)(VEC *r, const VEC *x, const struct mont *m);
};
static const struct ops pair_ops[] = {
    {pair_mul_L1024, pair_sqr_L1024},
    {pair_mul_L1536, pair_sqr_L1536},
    {pair_mul_L2048, pair_sqr_L2048},
    {pair_mul_L3072, pair_sqr_L3072},
};
static const struct ops flat_ops[] = {
    {flat_mul_L1024, flat_sqr_L1024},
    {flat_mul_L1536, flat_sqr_L1536},
    {flat_mul_L2048, flat_sqr_L2048},
    {flat_mul_L3072, flat_sqr_L3072},
};

static size_t size_index(const struct mont *m)
{
    return m->limbs == L1024 ? 0 : m->limbs == L1536 ? 1 : m->limbs == L2048 ? 2 : 3;
}

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

/* words: of an element of the kind; limbs for flat ones. */
static void products(const struct mont *m, const struct ops *o, size_t words, size_t n, uint64_t *const *out,
                     const uint64_t *const *a, const uint64_t *const *b)
{
    VEC x[2 * MAX_LIMBS], y[2 * MAX_LIMBS];
    for (size_t i = 0; i < n; i += LANES) {
        size_t k = at_most(n - i, LANES);
        gather(words, x, a + i, k);
        gather(words, y, b + i, k);
        o->mul(x, x, y, m);
        scatter(words, out + i, x, k);
    }
}

static void mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                const uint64_t *const *b)
{
    products(m, &pair_ops[size_index(m)], m->elem_words, n, out, a, b);
}

static void flat_mul_n(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                       const uint64_t *const *b)
{
    products(m, &flat_ops[size_index(m)], m->limbs, n, out, a, b);
}

static void sqr(const struct mont *m, size_t n, uint64_t *const *x, size_t times)
{
    const struct ops *o = &pair_ops[size_index(m)];
    VEC v[2 * MAX_LIMBS];
    for (size_t i = 0; i < n; i += LANES) {
        size_t k = at_most(n - i, LANES);
        gather(m->elem_words, v, (const uint64_t *const *)x + i, k);
        for (size_t t = 0; t < times; t++)
            o->sqr(v, v, m);
        scatter(m->elem_words, x + i, v, k);
    }
}

enum { POW_WINDOW = 5, POW_ENTRIES = 1 << POW_WINDOW };

/* One digit for all lanes: every entry is read, one is kept. */
static void scan(size_t words, const VEC *table, uint64_t digit, VEC *out)
{
    for (size_t k = 0; k < words; k++)
        out[k] = ZERO;
    for (size_t i = 0; i < POW_ENTRIES; i++)
        for (size_t k = 0; k < words; k++)
            KEEP(out[k], digit, i, table[i * words + k]);
}

static void powers(const struct mont *m, const struct ops *o, size_t words, size_t n, uint64_t *const *x,
                   const uint64_t *e, size_t e_bits)
{
    VEC table[POW_ENTRIES * 2 * L1536], v[2 * MAX_LIMBS],
        y[2 * MAX_LIMBS]; /* pairs are of at most 1536 bits */
    size_t windows = (e_bits + POW_WINDOW - 1) / POW_WINDOW;
    for (size_t i = 0; i < n; i += LANES) {
        size_t lanes = at_most(n - i, LANES);
        for (size_t k = 0; k < words; k++)
            table[k] = ALL(m->one[k]);
        gather(words, table + words, (const uint64_t *const *)x + i, lanes);
        for (size_t k = 2; k < POW_ENTRIES; k++)
            o->mul(table + k * words, table + (k - 1) * words, table + words, m);
        memcpy(v, table, words * sizeof *v);
        for (size_t j = windows; j-- > 0;) {
            for (int s = 0; s < POW_WINDOW && j + 1 < windows; s++)
                o->sqr(v, v, m);
            scan(words, table, mont_digit(e, e_bits, j * POW_WINDOW, POW_WINDOW), y);
            o->mul(v, v, y, m);
        }
        scatter(words, x + i, v, lanes);
    }
    secret_wipe(table, words * POW_ENTRIES * sizeof *table);
    secret_wipe(v, sizeof v);
    secret_wipe(y, sizeof y);
}

static void pow_shared(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits)
{
    powers(m, &pair_ops[size_index(m)], m->elem_words, n, x, e, e_bits);
}

static void flat_pow_shared(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e,
                            size_t e_bits)
{
    powers(m, &flat_ops[size_index(m)], m->limbs, n, x, e, e_bits);
}

/* GROUPS * LANES elements go through a window of the table while it is in the cache. */
static void table_pow(const struct mont_table *t, size_t n, const uint64_t *const *e, uint64_t *const *out)
{
    enum { GROUPS = 8 };
    const struct mont *m = t->m;
    VEC v[GROUPS * 2 * MAX_LIMBS], y[2 * MAX_LIMBS];
    const struct ops *o = &pair_ops[size_index(m)];
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
                if (j) o->mul(v + g * words, v + g * words, y, m);
            }
        for (size_t g = 0; g < GROUPS && i0 + g * LANES < n; g++)
            scatter(words, out + i0 + g * LANES, v + g * words, at_most(n - i0 - g * LANES, LANES));
    }
    secret_wipe(v, sizeof v);
    secret_wipe(y, sizeof y);
}
