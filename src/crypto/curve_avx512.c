/* curve_avx512.c - eight points at a time: five limbs of 51 bits, products by IFMA (52-bit multiply-add).
 *
 * An operand's limbs are below 2^52, which IFMA takes; a result's are below 2^51 + 2^15 ("tight"). The high
 * half of a limb product weighs 2^52 = 2 * 2^51, so that column k is 2 * sum of high halves (i + j = k - 1) +
 * sum of low halves (i + j = k): the high halves are summed and doubled before the low ones are added on top.
 */
#include "crypto/curve_kernel.h"
#include <immintrin.h>

#define LANES 8
struct fe {
    __m512i l[5];
};
#define INLINE static inline __attribute__((always_inline))
#define ADD    _mm512_add_epi64
#define SUB    _mm512_sub_epi64
#define AND    _mm512_and_si512
#define SHR    _mm512_srli_epi64
#define SHL    _mm512_slli_epi64
#define LO     _mm512_madd52lo_epu64
#define HI     _mm512_madd52hi_epu64
#define ALL(x) _mm512_set1_epi64((long long)(x))

/* One carry out of every limb at once; z[i] below 2^61 gives tight limbs. */
INLINE void carry(struct fe *r, const __m512i z[5])
{
    const __m512i low = ALL((1ull << 51) - 1);
    r->l[0] = LO(AND(z[0], low), SHR(z[4], 51), ALL(19));
#pragma GCC unroll 10
    for (int i = 1; i < 5; i++)
        r->l[i] = ADD(AND(z[i], low), SHR(z[i - 1], 51));
}

/* Columns 5 to 9 weigh 2^255 = 19. Columns are below 15 * 2^52, so the sums below 300 * 2^52 < 2^61. */
INLINE void fold(struct fe *r, const __m512i t[10])
{
    __m512i z[5];
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        z[i] = ADD(ADD(t[i], t[i + 5]), ADD(SHL(t[i + 5], 1), SHL(t[i + 5], 4)));
    carry(r, z);
}

INLINE void fe_mul(struct fe *r, const struct fe *a, const struct fe *b)
{
    __m512i t[10];
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) {
        __m512i c = _mm512_setzero_si512();
#pragma GCC unroll 10
        for (int i = 0; i < 5; i++)
            if (k - 1 - i >= 0 && k - 1 - i < 5) c = HI(c, a->l[i], b->l[k - 1 - i]);
        c = ADD(c, c);
#pragma GCC unroll 10
        for (int i = 0; i < 5; i++)
            if (k - i >= 0 && k - i < 5) c = LO(c, a->l[i], b->l[k - i]);
        t[k] = c;
    }
    fold(r, t);
}

/* Cross products once, doubled. */
INLINE void fe_sqr(struct fe *r, const struct fe *a)
{
    __m512i t[10];
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) {
        __m512i c = _mm512_setzero_si512();
#pragma GCC unroll 10
        for (int i = 0; i < 5; i++)
            if (k - 1 - i > i && k - 1 - i < 5) c = HI(c, a->l[i], a->l[k - 1 - i]);
        if (k > 1) c = ADD(c, c);
#pragma GCC unroll 10
        for (int i = 0; i < 5; i++)
            if (k - i > i && k - i < 5) c = LO(c, a->l[i], a->l[k - i]);
        if (k % 2) c = HI(c, a->l[k / 2], a->l[k / 2]);
        c = ADD(c, c);
        if (k % 2 == 0 && k < 10) c = LO(c, a->l[k / 2], a->l[k / 2]);
        t[k] = c;
    }
    fold(r, t);
}

INLINE void fe_add(struct fe *r, const struct fe *a, const struct fe *b)
{
    __m512i z[5];
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        z[i] = ADD(a->l[i], b->l[i]);
    carry(r, z);
}

/* a + 2p - b: limbs of 2p are 2^52 - 38 and 2^52 - 2, above any tight limb. */
INLINE void fe_sub(struct fe *r, const struct fe *a, const struct fe *b)
{
    __m512i z[5];
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        z[i] = SUB(ADD(a->l[i], ALL((1ull << 52) - (i ? 2 : 38))), b->l[i]);
    carry(r, z);
}

INLINE void fe_mul_add_small(struct fe *r, const struct fe *a, const struct fe *e)
{
    const __m512i c = ALL(121665);
    __m512i z[5], h[5];
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        h[i] = HI(_mm512_setzero_si512(), e->l[i], c);
        z[i] = LO(a->l[i], e->l[i], c);
    }
#pragma GCC unroll 10
    for (int i = 1; i < 5; i++)
        z[i] = ADD(z[i], ADD(h[i - 1], h[i - 1]));
    z[0] = LO(z[0], h[4], ALL(38));
    carry(r, z);
}

INLINE void fe_small(struct fe *r, uint32_t x)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        r->l[i] = ALL(i ? 0 : x);
}

INLINE void fe_swap(uint64_t mask, struct fe *a, struct fe *b)
{
    __mmask8 m = (__mmask8)mask;
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        __m512i t = a->l[i];
        a->l[i] = _mm512_mask_mov_epi64(t, m, b->l[i]);
        b->l[i] = _mm512_mask_mov_epi64(b->l[i], m, t);
    }
}

INLINE void fe_select(struct fe *r, const uint64_t mask[LANES], const struct fe *a, const struct fe *b)
{
    __m512i v = _mm512_loadu_si512(mask);
    __mmask8 m = _mm512_test_epi64_mask(v, v);
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        r->l[i] = _mm512_mask_mov_epi64(b->l[i], m, a->l[i]);
}

static inline void fe_of_limbs(struct fe *r, const uint64_t h[LANES][5])
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        uint64_t t[LANES];
        for (int l = 0; l < LANES; l++)
            t[l] = h[l][i];
        r->l[i] = _mm512_loadu_si512(t);
    }
}

static inline void fe_to_limbs(uint64_t h[LANES][5], const struct fe *a)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        uint64_t t[LANES];
        _mm512_storeu_si512(t, a->l[i]);
        for (int l = 0; l < LANES; l++)
            h[l][i] = t[l];
    }
}

#include "crypto/curve_lanes.h"

const struct curve_kernel curve_avx512 = {"avx512", lanes_mul, lanes_map};
