/* curve_kernel.h - inside of curve.c: what a kernel offers, and the packing of field elements all kernels
 * share.
 *
 * A field element modulo p = 2^255 - 19 enters and leaves a kernel as 32 little-endian bytes; inside it is
 * five limbs of 51 bits (ten of 26 and 25 in AVX2), a vector of LANES elements side by side. Loops over limbs
 * are unrolled by pragma: limbs belong in registers at -O2 too. */
#pragma once
#include "crypto/curve.h"
#include <string.h>

#define CURVE_J 486662 /* v^2 = u^3 + J u^2 + u */

struct curve_kernel {
    const char *name;
    /* out[i] = X25519(k, in[i]); k is clamped; all zero where in[i] has small order. in == out is allowed. */
    void (*mul)(const uint8_t k[32], const uint8_t (*in)[32], size_t n, uint8_t (*out)[32]);
    void (*map)(const uint8_t (*in)[64], size_t n, uint8_t (*out)[32]);
};
extern const struct curve_kernel curve_portable, curve_avx2, curve_avx512;
extern const struct curve_kernel curve_plain; /* our own ladder without vectors: the slow twin of the tests */
/* The kernel of a level: for tests and benches; the level must be at most cpu_level(). */
const struct curve_kernel *curve_kernel_of(int level);

static const uint64_t LOW51 = (1ull << 51) - 1;

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

/* RFC 7748: the top bit is ignored, values of p and above are taken modulo p. */
static inline void limbs_of_bytes(const uint8_t *p, uint64_t h[5])
{
    h[0] = load_u64(p) & LOW51;
    h[1] = (load_u64(p + 6) >> 3) & LOW51;
    h[2] = (load_u64(p + 12) >> 6) & LOW51;
    h[3] = (load_u64(p + 19) >> 1) & LOW51;
    h[4] = (load_u64(p + 24) >> 12) & LOW51;
}

/* 512 bits, little-endian, modulo p: 2^256 = 38. Limbs below 2^51, but for the first, which may be a little
 * above. */
static inline void limbs_of_wide(const uint8_t *p, uint64_t h[5])
{
    uint64_t w[4];
    unsigned __int128 t = 0;
    for (int i = 0; i < 4; i++) {
        t += (unsigned __int128)38 * load_u64(p + 32 + 8 * i) + load_u64(p + 8 * i);
        w[i] = (uint64_t)t;
        t >>= 64;
    }
    uint64_t top = ((uint64_t)t << 1) | (w[3] >> 63); /* in units of 2^255, below 2^7 */
    h[0] = (w[0] & LOW51) + 19 * top;
    h[1] = (w[0] >> 51 | w[1] << 13) & LOW51;
    h[2] = (w[1] >> 38 | w[2] << 26) & LOW51;
    h[3] = (w[2] >> 25 | w[3] << 39) & LOW51;
    h[4] = (w[3] >> 12) & LOW51;
}

/* The one representative below p. Limbs may be up to 2^57. */
static inline void limbs_to_bytes(uint64_t h[5], uint8_t out[32])
{
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 4; i++) {
            h[i + 1] += h[i] >> 51;
            h[i] &= LOW51;
        }
        h[0] += 19 * (h[4] >> 51);
        h[4] &= LOW51;
    }
    uint64_t q = (h[0] + 19) >> 51; /* 1 when h >= p */
    for (int i = 1; i < 5; i++)
        q = (h[i] + q) >> 51;
    h[0] += 19 * q;
    for (int i = 0; i < 4; i++) {
        h[i + 1] += h[i] >> 51;
        h[i] &= LOW51;
    }
    h[4] &= LOW51;
    uint64_t w[4] = {h[0] | h[1] << 51, h[1] >> 13 | h[2] << 38, h[2] >> 26 | h[3] << 25,
                     h[3] >> 39 | h[4] << 12};
    memcpy(out, w, 32);
}
