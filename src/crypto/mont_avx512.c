/* mont_avx512.c - eight elements at a time: limbs of 52 bits, products by IFMA. A column collects at most 6 L
 * halves of products, below 2^52 each: below 2^61. */
#include "crypto/mont.h"
#include <immintrin.h>

#define INLINE MONT_INLINE
#define ADD    _mm512_add_epi64
#define SUB    _mm512_sub_epi64
#define AND    _mm512_and_si512
#define SHR    _mm512_srli_epi64
#define LO     _mm512_madd52lo_epu64
#define HI     _mm512_madd52hi_epu64
#define ALL(x) _mm512_set1_epi64((long long)(x))
#define ZERO   _mm512_setzero_si512()

#define VEC __m512i
#define KEEP(out, digit, i, x)                                                                               \
    ((out) = _mm512_mask_mov_epi64((out), _mm512_cmpeq_epi64_mask(ALL(digit), ALL(i)), (x)))

enum { RADIX = 52, LANES = 8, TILE = 5, L1024 = 20, L1536 = 30, L2048 = 40, L3072 = 60 };

/* w += x y, TILE limbs by one, in TILE + 1 columns. */
INLINE void row(__m512i *w, const __m512i *x, __m512i y)
{
#pragma GCC unroll 11
    for (int r = 0; r < TILE; r++)
        w[r] = LO(w[r], x[r], y);
#pragma GCC unroll 11
    for (int r = 0; r < TILE; r++)
        w[r + 1] = HI(w[r + 1], x[r], y);
}

/* out = (t + a b + c d) / R modulo n and its quotient q; t, of 2 L columns, is used up. Without a b for a =
 * NULL, without c d for c = NULL. Rows of TILE limbs of a and c at a time: first the square of TILE limbs in
 * which q is found, then along the other limbs of b, d and n with TILE + 1 columns in registers. */
INLINE void montgomery(const int L, const bool ab, const bool cd, __m512i *t, __m512i *out, const __m512i *a,
                       const __m512i *b, const __m512i *c, const __m512i *d, const struct mont *m, __m512i *q)
{
    const __m512i low = ALL((1ull << RADIX) - 1), n0 = ALL(m->n0);
    for (int i0 = 0; i0 < L; i0 += TILE) {
        __m512i A[TILE], C[TILE], Q[TILE], w[2 * TILE + 1];
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++) {
            if (ab) A[r] = a[i0 + r];
            if (cd) C[r] = c[i0 + r];
        }
#pragma GCC unroll 11
        for (int r = 0; r < 2 * TILE; r++)
            w[r] = t[i0 + r];
        w[2 * TILE] = ZERO;
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++) {
#pragma GCC unroll 11
            for (int j = 0; j < TILE; j++) {
                if (ab) w[r + j] = LO(w[r + j], A[r], b[j]);
                if (cd) w[r + j] = LO(w[r + j], C[r], d[j]);
            }
#pragma GCC unroll 11
            for (int j = 0; j < TILE; j++) {
                if (ab) w[r + j + 1] = HI(w[r + j + 1], A[r], b[j]);
                if (cd) w[r + j + 1] = HI(w[r + j + 1], C[r], d[j]);
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
            w[TILE] = ADD(w[TILE], t[i0 + j + TILE]);
            if (ab) row(w, A, b[j]);
            if (cd) row(w, C, d[j]);
            row(w, Q, ALL(m->n[j]));
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

/* t = a^2 in 2 L columns, and a zero: the products of different limbs once and doubled. */
INLINE void square(const int L, __m512i *t, const __m512i *a)
{
    for (int i = 0; i <= 2 * L; i++)
        t[i] = ZERO;
    for (int i0 = 0; i0 < L; i0 += TILE) {
        __m512i A[TILE], w[2 * TILE];
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++)
            A[r] = a[i0 + r];
#pragma GCC unroll 11
        for (int r = 0; r < 2 * TILE; r++)
            w[r] = t[2 * i0 + r];
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++)
#pragma GCC unroll 11
            for (int j = r + 1; j < TILE; j++) {
                w[r + j] = LO(w[r + j], A[r], A[j]);
                w[r + j + 1] = HI(w[r + j + 1], A[r], A[j]);
            }
#pragma GCC unroll 11
        for (int r = 0; r < TILE; r++) {
            t[2 * i0 + r] = w[r];
            w[r] = w[TILE + r];
        }
        w[TILE] = ZERO;
        for (int j = i0 + TILE; j < L; j++) {
            w[TILE] = ADD(w[TILE], t[i0 + j + TILE]);
            row(w, A, a[j]);
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
    for (int i = 0; i < L; i++) {
        t[2 * i] = LO(ADD(t[2 * i], t[2 * i]), a[i], a[i]);
        t[2 * i + 1] = HI(ADD(t[2 * i + 1], t[2 * i + 1]), a[i], a[i]);
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
static void gather(size_t words, __m512i *v, const uint64_t *const *x, size_t n)
{
    for (size_t k = 0; k < words; k += 8) {
        __m512i r[8];
        size_t left = words - k;
        __mmask8 some = (__mmask8)(left < 8 ? (1u << left) - 1 : 0xff);
        for (size_t i = 0; i < 8; i++)
            r[i] = _mm512_maskz_loadu_epi64(some, x[i < n ? i : n - 1] + k);
        transpose(r);
        for (size_t i = 0; i < 8 && i < left; i++)
            v[k + i] = r[i];
    }
}

static void scatter(size_t words, uint64_t *const *x, const __m512i *v, size_t n)
{
    for (size_t k = 0; k < words; k += 8) {
        __m512i r[8];
        size_t left = words - k;
        __mmask8 some = (__mmask8)(left < 8 ? (1u << left) - 1 : 0xff);
        for (size_t i = 0; i < 8; i++)
            r[i] = i < left ? v[k + i] : ZERO;
        transpose(r);
        for (size_t i = 0; i < n; i++)
            _mm512_mask_storeu_epi64(x[i] + k, some, r[i]);
    }
}

/* Tables: for each window and word, the 2^window entries side by side, so that lanes pick theirs by
 * permutations, whose time does not depend on the indices. 64 entries for a secret base (short n), 16 for a
 * public one. */
static size_t window(size_t n_words)
{
    return n_words <= MONT_WORDS / 2 ? 6 : 4;
}

static void table_put(const struct mont *m, uint64_t *words, size_t j, size_t i, size_t k, uint64_t x)
{
    words[((j * m->elem_words + k) << window(m->n_words)) + i] = x;
}

INLINE void pick16(const __m512i *t, __m512i index, __m512i *out)
{
    *out = _mm512_permutex2var_epi64(_mm512_loadu_si512(t), index, _mm512_loadu_si512(t + 1));
}

static void pick(const struct mont_table *t, size_t j, const uint64_t *digit, __m512i *out)
{
    const __m512i index = _mm512_loadu_si512(digit);
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

#include "crypto/mont_lanes.h"

const struct mont_kernel mont_avx512 = {
    .name = "avx512",
    .radix = RADIX,
    .window = window,
    .limbs = limbs,
    .mul = mul,
    .sqr = sqr,
    .pow = pow_shared,
    .flat_mul = flat_mul_n,
    .flat_pow = flat_pow_shared,
    .entry_bytes = 8,
    .table_put = table_put,
    .table_pow = table_pow,
};
