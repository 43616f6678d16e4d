/* mont_avx512.c - eight independent elements at a time: limbs of 52 bits, a vector of eight lanes for each
 * limb, products by IFMA.
 *
 * An element's halves are below 2n in limbs below 2^52; R = 2^(52 L) is at least 2^16 n for every size, so
 * that operands below 8n give results below 2n: (64 n^2 + R n) / R, and (2 * 64 n^2 + R + n + R n) / R. A
 * column collects at most 6 L halves of products, below 2^52 each: below 2^61. */
#include "crypto/mont.h"
#include "base/secret.h"
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define ADD    _mm512_add_epi64
#define SUB    _mm512_sub_epi64
#define AND    _mm512_and_si512
#define SHR    _mm512_srli_epi64
#define LO     _mm512_madd52lo_epu64
#define HI     _mm512_madd52hi_epu64
#define ALL(x) _mm512_set1_epi64((long long)(x))
#define ZERO   _mm512_setzero_si512()
#define UNROLL _Pragma("GCC unroll 10")

enum { RADIX = 52, LANES = 8, TILE = 5, MAX_LIMBS = 60 };

/* The sizes of n: 1024, 1536, 2048 and 3072 bits; all are multiples of TILE. */
static size_t limbs(size_t n_words)
{
    return n_words == 16 ? 20 : n_words == 24 ? 30 : n_words == 32 ? 40 : 60;
}

/* out = (a b + c d + init) / R modulo n, lane by lane, and the quotient q with a b + c d + init + q n = R
 * out; c = NULL leaves out c d. Rows of TILE limbs of a and c at a time: first the square of TILE limbs in
 * which q is found, then along the other limbs of b, d and n with TILE + 1 columns in registers. */
INLINE void montgomery(const int L, __m512i *out, const __m512i *a, const __m512i *b, const __m512i *c,
                       const __m512i *d, const __m512i *init, const struct mont *m, __m512i *q)
{
    __m512i t[2 * MAX_LIMBS];
    const __m512i low = ALL((1ull << RADIX) - 1), n0 = ALL(m->n0);
    for (int i = 0; i < 2 * L; i++)
        t[i] = init && i < L ? init[i] : ZERO;
    for (int i0 = 0; i0 < L; i0 += TILE) {
        __m512i A[TILE], C[TILE], Q[TILE], w[2 * TILE + 1];
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++) {
            A[r] = a[i0 + r];
            C[r] = c ? c[i0 + r] : ZERO;
        }
#pragma GCC unroll 11
        for (int r = 0; r < 2 * TILE; r++)
            w[r] = t[i0 + r];
        w[2 * TILE] = ZERO;
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++) {
#pragma GCC unroll 11
            for (int j = 0; j < TILE; j++) {
                w[r + j] = LO(w[r + j], A[r], b[j]);
                if (c) w[r + j] = LO(w[r + j], C[r], d[j]);
            }
#pragma GCC unroll 11
            for (int j = 0; j < TILE; j++) {
                w[r + j + 1] = HI(w[r + j + 1], A[r], b[j]);
                if (c) w[r + j + 1] = HI(w[r + j + 1], C[r], d[j]);
            }
            Q[r] = LO(ZERO, w[r], n0);
#pragma GCC unroll 11
            for (int j = 0; j < TILE; j++) {
                w[r + j] = LO(w[r + j], Q[r], ALL(m->n[j]));
                w[r + j + 1] = HI(w[r + j + 1], Q[r], ALL(m->n[j]));
            }
            w[r + 1] = ADD(w[r + 1], SHR(w[r], RADIX));
            q[i0 + r] = Q[r];
        }
#pragma GCC unroll 11
        for (int r = 0; r <= TILE; r++)
            w[r] = w[TILE + r];
        for (int j = TILE; j < L; j++) {
            const __m512i bj = b[j], nj = ALL(m->n[j]);
            w[TILE] = ADD(w[TILE], t[i0 + j + TILE]);
#pragma GCC unroll 11
            for (int r = 0; r < TILE; r++)
                w[r] = LO(w[r], A[r], bj);
#pragma GCC unroll 11
            for (int r = 0; r < TILE; r++)
                w[r + 1] = HI(w[r + 1], A[r], bj);
            if (c) {
                const __m512i dj = d[j];
#pragma GCC unroll 11
                for (int r = 0; r < TILE; r++)
                    w[r] = LO(w[r], C[r], dj);
#pragma GCC unroll 11
                for (int r = 0; r < TILE; r++)
                    w[r + 1] = HI(w[r + 1], C[r], dj);
            }
#pragma GCC unroll 11
            for (int r = 0; r < TILE; r++)
                w[r] = LO(w[r], Q[r], nj);
#pragma GCC unroll 11
            for (int r = 0; r < TILE; r++)
                w[r + 1] = HI(w[r + 1], Q[r], nj);
            t[i0 + j] = w[0];
#pragma GCC unroll 11
            for (int r = 0; r < TILE; r++)
                w[r] = w[r + 1];
            w[TILE] = ZERO;
        }
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++)
            t[i0 + L + r] = w[r];
    }
    __m512i carry = ZERO;
    for (int i = 0; i < L; i++) {
        __m512i x = ADD(t[L + i], carry);
        out[i] = AND(x, low);
        carry = SHR(x, RADIX);
    }
}

/* kn - q, the multiple of n above R less the quotient: not negative in any limb. */
INLINE void minus_q(const int L, __m512i *v, const __m512i *q, const struct mont *m)
{
    for (int i = 0; i < L; i++)
        v[i] = SUB(ALL(m->kn[i]), q[i]);
}

/* r = x y / R, pairs of L limbs and L limbs. r may be x or y. */
INLINE void pair_mul(const int L, __m512i *r, const __m512i *x, const __m512i *y, const struct mont *m)
{
    __m512i q[MAX_LIMBS], v[MAX_LIMBS], lo[MAX_LIMBS], unused[MAX_LIMBS];
    montgomery(L, lo, x, y, NULL, NULL, NULL, m, q);
    minus_q(L, v, q, m);
    montgomery(L, r + L, x, y + L, x + L, y, v, m, unused);
    memcpy(r, lo, (size_t)L * sizeof *r);
}

/* r = x^2 / R: the cross terms are one product with 2 hi. */
INLINE void pair_sqr(const int L, __m512i *r, const __m512i *x, const struct mont *m)
{
    __m512i q[MAX_LIMBS], v[MAX_LIMBS], lo[MAX_LIMBS], hi2[MAX_LIMBS], unused[MAX_LIMBS];
    const __m512i low = ALL((1ull << RADIX) - 1);
    __m512i carry = ZERO;
    for (int i = 0; i < L; i++) {
        __m512i t = ADD(ADD(x[L + i], x[L + i]), carry);
        hi2[i] = AND(t, low);
        carry = SHR(t, RADIX);
    }
    montgomery(L, lo, x, x, NULL, NULL, NULL, m, q);
    minus_q(L, v, q, m);
    montgomery(L, r + L, x, hi2, NULL, NULL, v, m, unused);
    memcpy(r, lo, (size_t)L * sizeof *r);
}

#define SIZE(L)                                                                                              \
    static __attribute__((noinline)) void pair_mul_##L(__m512i *r, const __m512i *x, const __m512i *y,       \
                                                       const struct mont *m)                                 \
    {                                                                                                        \
        pair_mul(L, r, x, y, m);                                                                             \
    }                                                                                                        \
    static __attribute__((noinline)) void pair_sqr_##L(__m512i *r, const __m512i *x, const struct mont *m)   \
    {                                                                                                        \
        pair_sqr(L, r, x, m);                                                                                \
    }
SIZE(20)
SIZE(30)
SIZE(40)
SIZE(60)

static void vec_mul(__m512i *r, const __m512i *x, const __m512i *y, const struct mont *m)
{
    switch (m->limbs) {
    case 20:
        pair_mul_20(r, x, y, m);
        break;
    case 30:
        pair_mul_30(r, x, y, m);
        break;
    case 40:
        pair_mul_40(r, x, y, m);
        break;
    default:
        pair_mul_60(r, x, y, m);
    }
}

static void vec_sqr(__m512i *r, const __m512i *x, const struct mont *m)
{
    switch (m->limbs) {
    case 20:
        pair_sqr_20(r, x, m);
        break;
    case 30:
        pair_sqr_30(r, x, m);
        break;
    case 40:
        pair_sqr_40(r, x, m);
        break;
    default:
        pair_sqr_60(r, x, m);
    }
}

/* Eight rows of eight words become eight columns, in place. */
INLINE void transpose(__m512i r[8])
{
    __m512i t[8], u[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            u[i + k] = _mm512_shuffle_i64x2(t[i + k], t[i + k + 2], 0x88);
            u[i + k + 2] = _mm512_shuffle_i64x2(t[i + k], t[i + k + 2], 0xdd);
        }
#pragma GCC unroll 8
    for (int k = 0; k < 4; k++) {
        r[k] = _mm512_shuffle_i64x2(u[k], u[k + 4], 0x88);
        r[k + 4] = _mm512_shuffle_i64x2(u[k], u[k + 4], 0xdd);
    }
}

/* Lanes from n <= 8 elements; lanes past them repeat the last. Element words are a multiple of 4, read by
 * masks. */
static void gather(const struct mont *m, __m512i *v, const uint64_t *const *x, size_t n)
{
    for (size_t k = 0; k < m->elem_words; k += 8) {
        __m512i r[8];
        size_t left = m->elem_words - k;
        __mmask8 some = (__mmask8)(left < 8 ? (1u << left) - 1 : 0xff);
        for (size_t i = 0; i < 8; i++)
            r[i] = _mm512_maskz_loadu_epi64(some, x[i < n ? i : n - 1] + k);
        transpose(r);
        for (size_t i = 0; i < 8 && i < left; i++)
            v[k + i] = r[i];
    }
}

static void scatter(const struct mont *m, uint64_t *const *x, const __m512i *v, size_t n)
{
    for (size_t k = 0; k < m->elem_words; k += 8) {
        __m512i r[8];
        size_t left = m->elem_words - k;
        __mmask8 some = (__mmask8)(left < 8 ? (1u << left) - 1 : 0xff);
        for (size_t i = 0; i < 8; i++)
            r[i] = i < left ? v[k + i] : ZERO;
        transpose(r);
        for (size_t i = 0; i < n; i++)
            _mm512_mask_storeu_epi64(x[i] + k, some, r[i]);
    }
}

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

static void mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                const uint64_t *const *b)
{
    __m512i x[2 * MAX_LIMBS], y[2 * MAX_LIMBS];
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
    __m512i v[2 * MAX_LIMBS];
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
static void scan(const struct mont *m, const __m512i *table, uint64_t digit, __m512i *out)
{
    size_t words = m->elem_words;
    for (size_t k = 0; k < words; k++)
        out[k] = ZERO;
    for (size_t i = 0; i < POW_ENTRIES; i++) {
        __mmask8 keep = _mm512_cmpeq_epi64_mask(ALL(i), ALL(digit));
        for (size_t k = 0; k < words; k++)
            out[k] = _mm512_mask_mov_epi64(out[k], keep, table[i * words + k]);
    }
}

static void pow_shared(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits)
{
    __m512i table[POW_ENTRIES * MAX_LIMBS], v[2 * MAX_LIMBS],
        y[2 * MAX_LIMBS]; /* limbs at most MAX_LIMBS / 2 */
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

/* Tables: for each window and word, the 2^window entries side by side, so that lanes pick theirs by
 * permutations, whose time does not depend on the indices. 64 entries for a secret base (short n), 16 for a
 * public one. */
static size_t window(size_t n_words)
{
    return n_words <= MONT_WORDS / 2 ? 6 : 4;
}

static size_t table_at(const struct mont *m, size_t j, size_t i, size_t k)
{
    return ((j * m->elem_words + k) << window(m->n_words)) + i;
}

INLINE void pick16(const __m512i *t, __m512i index, __m512i *out)
{
    *out = _mm512_permutex2var_epi64(_mm512_loadu_si512(t), index, _mm512_loadu_si512(t + 1));
}

static void pick(const struct mont_table *t, size_t j, __m512i index, __m512i *out)
{
    size_t words = t->m->elem_words;
    const __m512i *at = (const __m512i *)(t->words + ((j * words) << t->window));
    __mmask8 bit4 = _mm512_test_epi64_mask(index, ALL(16)), bit5 = _mm512_test_epi64_mask(index, ALL(32));
    for (size_t k = 0; k < words; k++, at += t->window == 6 ? 8 : 2) {
        pick16(at, index, &out[k]);
        if (t->window == 4) continue;
        __m512i b, c, d;
        pick16(at + 2, index, &b);
        pick16(at + 4, index, &c);
        pick16(at + 6, index, &d);
        b = _mm512_mask_mov_epi64(out[k], bit4, b);
        d = _mm512_mask_mov_epi64(c, bit4, d);
        out[k] = _mm512_mask_mov_epi64(b, bit5, d);
    }
}

/* GROUPS * LANES elements go through a window of the table while it is in the cache. */
static void table_pow(const struct mont_table *t, size_t n, const uint64_t *const *e, uint64_t *const *out)
{
    enum { GROUPS = 8 };
    const struct mont *m = t->m;
    __m512i v[GROUPS * 2 * MAX_LIMBS], y[2 * MAX_LIMBS];
    size_t words = m->elem_words;
    for (size_t i0 = 0; i0 < n; i0 += GROUPS * LANES) {
        for (size_t j = 0; j < t->n_windows; j++)
            for (size_t g = 0; g < GROUPS && i0 + g * LANES < n; g++) {
                _Alignas(64) uint64_t index[LANES];
                for (size_t l = 0; l < LANES; l++) {
                    size_t i = at_most(i0 + g * LANES + l, n - 1);
                    index[l] = mont_digit(e[i], t->e_bits, j * t->window, t->window);
                }
                pick(t, j, _mm512_load_si512(index), j ? y : v + g * words);
                if (j) vec_mul(v + g * words, v + g * words, y, m);
            }
        for (size_t g = 0; g < GROUPS && i0 + g * LANES < n; g++)
            scatter(m, out + i0 + g * LANES, v + g * words, at_most(n - i0 - g * LANES, LANES));
    }
    secret_wipe(v, sizeof v);
    secret_wipe(y, sizeof y);
}

const struct mont_kernel mont_avx512 = {
    .name = "avx512",
    .radix = RADIX,
    .window = window,
    .limbs = limbs,
    .mul = mul,
    .sqr = sqr,
    .pow = pow_shared,
    .table_at = table_at,
    .table_pow = table_pow,
};
