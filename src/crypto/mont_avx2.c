/* mont_avx2.c - four elements at a time: limbs of 27 bits, 32 x 32 bit products. A column collects at most 3
 * L products, below 2^54 each: below 2^63. */
#include "crypto/mont.h"
#include <immintrin.h>

#define INLINE MONT_INLINE
#define VEC    __m256i
#define ADD    _mm256_add_epi64
#define SUB    _mm256_sub_epi64
#define AND    _mm256_and_si256
#define SHR    _mm256_srli_epi64
#define MUL    _mm256_mul_epu32
#define ALL(x) _mm256_set1_epi64x((long long)(x))
#define ZERO   _mm256_setzero_si256()
#define KEEP(out, digit, i, x)                                                                               \
    ((out) = _mm256_blendv_epi8((out), (x), _mm256_cmpeq_epi64(ALL(digit), ALL(i))))

enum { RADIX = 27, LANES = 4, TILE = 3, L1024 = 39, L1536 = 60, L2048 = 78, L3072 = 117 };

/* w += x y, TILE limbs by one. */
INLINE void row(__m256i *w, const __m256i *x, __m256i y)
{
#pragma GCC unroll 6
    for (int r = 0; r < TILE; r++)
        w[r] = ADD(w[r], MUL(x[r], y));
}

/* out = (t + a b + c d) / R modulo n and its quotient q; t, of 2 L columns, is used up. Without a b for a =
 * NULL, without c d for c = NULL. Rows of TILE limbs of a and c at a time: first the square of TILE limbs in
 * which q is found, then along the other limbs of b, d and n with TILE columns in registers. */
INLINE void montgomery(const int L, const bool ab, const bool cd, __m256i *t, __m256i *out, const __m256i *a,
                       const __m256i *b, const __m256i *c, const __m256i *d, const struct mont *m, __m256i *q)
{
    const __m256i low = ALL((1ull << RADIX) - 1), n0 = ALL(m->n0);
    for (int i0 = 0; i0 < L; i0 += TILE) {
        __m256i A[TILE], C[TILE], Q[TILE], w[2 * TILE];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++) {
            if (ab) A[r] = a[i0 + r];
            if (cd) C[r] = c[i0 + r];
        }
#pragma GCC unroll 6
        for (int r = 0; r < 2 * TILE; r++)
            w[r] = t[i0 + r];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++) {
#pragma GCC unroll 6
            for (int j = 0; j < TILE; j++) {
                if (ab) w[r + j] = ADD(w[r + j], MUL(A[r], b[j]));
                if (cd) w[r + j] = ADD(w[r + j], MUL(C[r], d[j]));
            }
            Q[r] = AND(MUL(w[r], n0), low); /* the product takes the low 32 bits; 27 of them count */
#pragma GCC unroll 6
            for (int j = 0; j < TILE; j++)
                w[r + j] = ADD(w[r + j], MUL(Q[r], ALL(m->n[j])));
            w[r + 1] = ADD(w[r + 1], SHR(w[r], RADIX));
            q[i0 + r] = Q[r];
        }
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++)
            w[r] = w[TILE + r];
        for (int j = TILE; j < L; j++) {
            if (ab) row(w, A, b[j]);
            if (cd) row(w, C, d[j]);
            row(w, Q, ALL(m->n[j]));
            t[i0 + j] = w[0];
#pragma GCC unroll 6
            for (int r = 0; r + 1 < TILE; r++)
                w[r] = w[r + 1];
            w[TILE - 1] = t[i0 + j + TILE];
        }
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++)
            t[i0 + L + r] = w[r];
    }
    __m256i carry = ZERO;
    for (int i = 0; i < L; i++) {
        __m256i x = ADD(t[L + i], carry);
        out[i] = AND(x, low);
        carry = SHR(x, RADIX);
    }
}

/* t = a^2 in 2 L columns, and a zero: the products of different limbs once and doubled. */
INLINE void square(const int L, __m256i *t, const __m256i *a)
{
    for (int i = 0; i <= 2 * L; i++)
        t[i] = ZERO;
    for (int i0 = 0; i0 < L; i0 += TILE) {
        __m256i A[TILE], w[2 * TILE];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++)
            A[r] = a[i0 + r];
#pragma GCC unroll 6
        for (int r = 0; r < 2 * TILE; r++)
            w[r] = t[2 * i0 + r];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++)
#pragma GCC unroll 6
            for (int j = r + 1; j < TILE; j++)
                w[r + j] = ADD(w[r + j], MUL(A[r], A[j]));
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++) {
            t[2 * i0 + r] = w[r];
            w[r] = w[TILE + r];
        }
        for (int j = i0 + TILE; j < L; j++) {
            row(w, A, a[j]);
            t[i0 + j] = w[0];
#pragma GCC unroll 6
            for (int r = 0; r + 1 < TILE; r++)
                w[r] = w[r + 1];
            w[TILE - 1] = t[i0 + j + TILE];
        }
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++)
            t[i0 + L + r] = w[r];
    }
    for (int i = 0; i < L; i++) {
        t[2 * i] = ADD(ADD(t[2 * i], t[2 * i]), MUL(a[i], a[i]));
        t[2 * i + 1] = ADD(t[2 * i + 1], t[2 * i + 1]);
    }
}

static void gather(size_t words, __m256i *v, const uint64_t *const *x, size_t n)
{
    for (size_t k = 0; k < words; k++)
        v[k] = _mm256_setr_epi64x((long long)x[0][k], (long long)x[n > 1 ? 1 : 0][k],
                                  (long long)x[n > 2 ? 2 : n - 1][k], (long long)x[n > 3 ? 3 : n - 1][k]);
}

static void scatter(size_t words, uint64_t *const *x, const __m256i *v, size_t n)
{
    for (size_t k = 0; k < words; k++) {
        uint64_t t[LANES];
        _mm256_storeu_si256((__m256i *)t, v[k]);
        for (size_t i = 0; i < n; i++)
            x[i][k] = t[i];
    }
}

/* Tables of 32-bit limbs: for each window and limb, the entries side by side, eight to a vector, so that
 * lanes pick theirs by permutations, whose time does not depend on the indices. 64 entries for a secret base
 * (short n), 16 for a public one. */
static size_t window(size_t n_words)
{
    return n_words <= MONT_WORDS / 2 ? 6 : 4;
}

static void table_put(const struct mont *m, uint64_t *words, size_t j, size_t i, size_t k, uint64_t x)
{
    size_t at = ((j * m->elem_words + k) << window(m->n_words)) + i, shift = 32 * (at % 2);
    words[at / 2] = (words[at / 2] & ~(0xffffffffull << shift)) | x << shift;
}

static void pick(const struct mont_table *t, size_t j, const uint64_t *digit, __m256i *out)
{
    size_t words = t->m->elem_words;
    const __m256i *at = (const __m256i *)((const uint32_t *)t->words + ((j * words) << t->window));
    const __m256i index = _mm256_loadu_si256((const __m256i *)digit), low = ALL((1ull << RADIX) - 1);
    const __m256i bit3 = _mm256_cmpeq_epi64(AND(index, ALL(8)), ALL(8));
    const __m256i bit4 = _mm256_cmpeq_epi64(AND(index, ALL(16)), ALL(16));
    const __m256i bit5 = _mm256_cmpeq_epi64(AND(index, ALL(32)), ALL(32));
    for (size_t k = 0; k < words; k++, at += t->window == 6 ? 8 : 2) {
        __m256i x[8];
        size_t n = t->window == 6 ? 8 : 2;
#pragma GCC unroll 8
        for (size_t i = 0; i < 8; i++)
            if (i < n) x[i] = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(at + i), index);
        x[0] = _mm256_blendv_epi8(x[0], x[1], bit3);
        if (n == 8) {
            x[2] = _mm256_blendv_epi8(x[2], x[3], bit3);
            x[4] = _mm256_blendv_epi8(x[4], x[5], bit3);
            x[6] = _mm256_blendv_epi8(x[6], x[7], bit3);
            x[0] = _mm256_blendv_epi8(x[0], x[2], bit4);
            x[4] = _mm256_blendv_epi8(x[4], x[6], bit4);
            x[0] = _mm256_blendv_epi8(x[0], x[4], bit5);
        }
        out[k] = AND(x[0], low); /* the upper half of each lane is entry 0's limb */
    }
}

#include "crypto/mont_lanes.h"

const struct mont_kernel mont_avx2 = {
    .name = "avx2",
    .radix = RADIX,
    .window = window,
    .limbs = limbs,
    .mul = mul,
    .sqr = sqr,
    .pow = pow_shared,
    .flat_mul = flat_mul_n,
    .flat_pow = flat_pow_shared,
    .entry_bytes = 4,
    .table_put = table_put,
    .table_pow = table_pow,
};
