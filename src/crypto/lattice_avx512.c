/* lattice_avx512.c - sixteen words at a time. */
#include "crypto/lattice_ring.h"
#include <immintrin.h>

#define LANES           16
#define SUMS            16
#define VEC             __m512i
#define LOAD(p)         _mm512_load_si512((const void *)(p))
#define STORE(p, x)     _mm512_store_si512((void *)(p), (x))
#define LOAD_ANY(p)     _mm512_loadu_si512((const void *)(p))
#define STORE_ANY(p, x) _mm512_storeu_si512((void *)(p), (x))
#define ALL(x)          _mm512_set1_epi32((int)(x))
#define ALL64(x)        _mm512_set1_epi64((long long)(x))
#define ADD             _mm512_add_epi32
#define SUB             _mm512_sub_epi32
#define MIN             _mm512_min_epu32
#define ADD64           _mm512_add_epi64
#define SUB64           _mm512_sub_epi64
#define MUL             _mm512_mul_epu32
#define XOR             _mm512_xor_si512
#define AND             _mm512_and_si512
#define ZERO            _mm512_setzero_si512()
#define ODD(x)          _mm512_srli_epi64((x), 32)
#define SHR63(x)        _mm512_srli_epi64((x), 63)
#define SHL32(x)        _mm512_slli_epi64((x), 32)
#define JOIN(e, o)      _mm512_mask_blend_epi32(0xaaaa, ODD(e), (o))
#define WIDE(v, half)                                                                                        \
    _mm512_cvtepu32_epi64((half) ? _mm512_extracti64x4_epi64((v), 1) : _mm512_castsi512_si256(v))
#define SMALL(p) _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(p)))
#define UNMIX(v)                                                                                             \
    _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15), (v))

static inline __attribute__((always_inline)) void transpose(VEC *v)
{
    VEC a[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) { /* pairs of rows to pairs of words */
        a[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* to fours: v[4 i + c] holds columns 4 q + c of rows 4 i.. in quarter q */
        v[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        v[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        v[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        v[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) { /* quarters: a 4 x 4 transposition of 128 bits each */
        VEC p = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88),
            q = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
        VEC r = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xdd),
            s = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xdd);
        a[c] = _mm512_shuffle_i32x4(p, q, 0x88);
        a[8 + c] = _mm512_shuffle_i32x4(p, q, 0xdd);
        a[4 + c] = _mm512_shuffle_i32x4(r, s, 0x88);
        a[12 + c] = _mm512_shuffle_i32x4(r, s, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        v[i] = a[i];
}

#include "crypto/lattice_lanes.h"

const struct lattice_kernel lattice_avx512 = {"avx512",  LANES,     hat_small, hat_word, dot,  dot_low,
                                              sum_masks, sum_words, noise,     ternary,  pack, unpack};
