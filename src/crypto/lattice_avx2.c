/* lattice_avx2.c - eight words at a time. */
#include "crypto/lattice_ring.h"
#include <immintrin.h>

#define LANES           8
#define SUMS            8
#define VEC             __m256i
#define LOAD(p)         _mm256_load_si256((const __m256i *)(const void *)(p))
#define STORE(p, x)     _mm256_store_si256((__m256i *)(void *)(p), (x))
#define LOAD_ANY(p)     _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE_ANY(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), (x))
#define ALL(x)          _mm256_set1_epi32((int)(x))
#define ALL64(x)        _mm256_set1_epi64x((long long)(x))
#define ADD             _mm256_add_epi32
#define SUB             _mm256_sub_epi32
#define MIN             _mm256_min_epu32
#define ADD64           _mm256_add_epi64
#define SUB64           _mm256_sub_epi64
#define MUL             _mm256_mul_epu32
#define XOR             _mm256_xor_si256
#define AND             _mm256_and_si256
#define ZERO            _mm256_setzero_si256()
#define ODD(x)          _mm256_srli_epi64((x), 32)
#define SHR63(x)        _mm256_srli_epi64((x), 63)
#define SHL32(x)        _mm256_slli_epi64((x), 32)
#define JOIN(e, o)      _mm256_blend_epi32(ODD(e), (o), 0xaa)
#define WIDE(v, half)                                                                                        \
    _mm256_cvtepu32_epi64((half) ? _mm256_extracti128_si256((v), 1) : _mm256_castsi256_si128(v))
#define SMALL(p) _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
#define UNMIX(v) _mm256_permutevar8x32_epi32((v), _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))

static inline __attribute__((always_inline)) void transpose(VEC *v)
{
    VEC a[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* pairs of rows to pairs of words */
        a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { /* to fours */
        v[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        v[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        v[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        v[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) { /* halves */
        a[c] = _mm256_permute2x128_si256(v[c], v[4 + c], 0x20);
        a[4 + c] = _mm256_permute2x128_si256(v[c], v[4 + c], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        v[i] = a[i];
}

#include "crypto/lattice_lanes.h"

const struct lattice_kernel lattice_avx2 = {"avx2",    LANES,     hat_small, hat_word, dot,  dot_low,
                                            sum_masks, sum_words, noise,     ternary,  pack, unpack};
