/* curve_avx2.c - four points at a time: ten limbs of 26 and 25 bits in turn (radix 2^25.5), 32 x 32 bit
 * products.
 *
 * A product's limbs are tight: even ones below 2^26 + 2^17, odd ones below 2^25 + 2^17. Sums and differences
 * are not carried: even limbs stay below 2^27.6, odd ones below 2^26.6, so that 19 times a limb fits 32 bits
 * and a column, at most 267 products' worth of 2^26.6 * 2^26.6 in odd positions and 4 * 19 + 1 of 2^55.2 in
 * even ones, fits 64. */
#include "crypto/curve_kernel.h"
#include <immintrin.h>

#define LANES 4
struct fe {
    __m256i l[10];
};
#define INLINE  static inline __attribute__((always_inline))
#define ADD     _mm256_add_epi64
#define SUB     _mm256_sub_epi64
#define AND     _mm256_and_si256
#define SHR     _mm256_srli_epi64
#define SHL     _mm256_slli_epi64
#define MUL     _mm256_mul_epu32
#define ALL(x)  _mm256_set1_epi64x((long long)(x))
#define BITS(i) ((i) % 2 ? 25 : 26)

INLINE void carry_one(__m256i h[10], int i)
{
    __m256i c = SHR(h[i], BITS(i));
    h[i] = AND(h[i], ALL((1ull << BITS(i)) - 1));
    if (i == 9) c = ADD(c, ADD(SHL(c, 1), SHL(c, 4)));
    h[(i + 1) % 10] = ADD(h[(i + 1) % 10], c);
}

/* Two chains side by side, as in the reference code of Ed25519. */
INLINE void carry(struct fe *r, __m256i h[10])
{
    carry_one(h, 0);
    carry_one(h, 4);
    carry_one(h, 1);
    carry_one(h, 5);
    carry_one(h, 2);
    carry_one(h, 6);
    carry_one(h, 3);
    carry_one(h, 7);
    carry_one(h, 4);
    carry_one(h, 8);
    carry_one(h, 9);
    carry_one(h, 0);
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++)
        r->l[i] = h[i];
}

/* Limb i weighs 2^ceil(25.5 i): a product of two odd limbs counts twice, one past the top 19 times. */
INLINE void fe_mul(struct fe *r, const struct fe *a, const struct fe *b)
{
    __m256i h[10], b19[10], a2[10];
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        if (i) b19[i] = MUL(b->l[i], ALL(19));
        if (i % 2) a2[i] = ADD(a->l[i], a->l[i]);
    }
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) {
        __m256i c = MUL(a->l[0], b->l[k]);
#pragma GCC unroll 10
        for (int i = 1; i < 10; i++) {
            int j = (k - i + 10) % 10;
            c = ADD(c, MUL(i % 2 && j % 2 ? a2[i] : a->l[i], i > k ? b19[j] : b->l[j]));
        }
        h[k] = c;
    }
    carry(r, h);
}

INLINE void fe_sqr(struct fe *r, const struct fe *a)
{
    __m256i h[10], a19[10], a2[10];
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        if (i > 4) a19[i] = MUL(a->l[i], ALL(19));
        a2[i] = ADD(a->l[i], a->l[i]);
    }
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) {
        __m256i cross = _mm256_setzero_si256(),
                c = cross; /* cross products that count twice more, and the rest */
#pragma GCC unroll 10
        for (int i = 0; i < 10; i++) {
            int j = (k - i + 10) % 10;
            if (i > j) continue;
            __m256i y = i + j > 9 ? a19[j] : a->l[j];
            if (i == j)
                c = ADD(c, MUL(i % 2 ? a2[i] : a->l[i], y));
            else if (i % 2 && j % 2)
                cross = ADD(cross, MUL(a2[i], y));
            else
                c = ADD(c, MUL(a2[i], y));
        }
        h[k] = k % 2 ? c : ADD(c, ADD(cross, cross));
    }
    carry(r, h);
}

INLINE void fe_add(struct fe *r, const struct fe *a, const struct fe *b)
{
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++)
        r->l[i] = ADD(a->l[i], b->l[i]);
}

/* a + 2p - b */
INLINE void fe_sub(struct fe *r, const struct fe *a, const struct fe *b)
{
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++)
        r->l[i] = SUB(ADD(a->l[i], ALL((2ull << BITS(i)) - (i ? 2 : 38))), b->l[i]);
}

INLINE void fe_mul_add_small(struct fe *r, const struct fe *a, const struct fe *e)
{
    __m256i h[10];
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++)
        h[i] = ADD(a->l[i], MUL(e->l[i], ALL(121665)));
    carry(r, h);
}

INLINE void fe_small(struct fe *r, uint32_t x)
{
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++)
        r->l[i] = ALL(0);
    r->l[0] = ALL(x & 0x3ffffff);
    r->l[1] = ALL(x >> 26);
}

INLINE void fe_swap(uint64_t mask, struct fe *a, struct fe *b)
{
    __m256i m = ALL(mask);
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        __m256i t = AND(m, _mm256_xor_si256(a->l[i], b->l[i]));
        a->l[i] = _mm256_xor_si256(a->l[i], t);
        b->l[i] = _mm256_xor_si256(b->l[i], t);
    }
}

INLINE void fe_select(struct fe *r, const uint64_t mask[LANES], const struct fe *a, const struct fe *b)
{
    __m256i m = _mm256_loadu_si256((const __m256i *)mask);
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++)
        r->l[i] = _mm256_blendv_epi8(b->l[i], a->l[i], m);
}

static inline void fe_of_limbs(struct fe *r, const uint64_t h[LANES][5])
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        uint64_t even[LANES], odd[LANES];
        for (int l = 0; l < LANES; l++) {
            even[l] = h[l][i] & 0x3ffffff;
            odd[l] = h[l][i] >> 26;
        }
        r->l[2 * i] = _mm256_loadu_si256((const __m256i *)even);
        r->l[2 * i + 1] = _mm256_loadu_si256((const __m256i *)odd);
    }
}

static inline void fe_to_limbs(uint64_t h[LANES][5], const struct fe *a)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        uint64_t t[LANES];
        _mm256_storeu_si256((__m256i *)t, ADD(a->l[2 * i], SHL(a->l[2 * i + 1], 26)));
        for (int l = 0; l < LANES; l++)
            h[l][i] = t[l];
    }
}

#include "crypto/curve_lanes.h"

const struct curve_kernel curve_avx2 = {"avx2", lanes_mul, lanes_map};
