/* curve.h - batches of X25519 scalar multiplications for private set intersection.
 *
 * Source: RFC 7748 (X25519); elements are u-coordinates of Curve25519, 32 bytes little-endian. The hash into the group is
 * Elligator 2 (RFC 9380 section 6.7.1, curve25519_XMD:SHA-512_ELL2_NU_ without the domain's clearing of anything but
 * the cofactor, which X25519's clamped scalar clears), so that nobody knows the discrete logarithm of an id's point.
 * Kernels: portable (libsodium), AVX2 four ways, AVX-512 IFMA eight ways, chosen by cpu_level(); all give the same bytes.
 * Secret: the scalar. Constant time in the scalar. */
#pragma once
#include "base/bytes.h"

#define CURVE_BYTES 32
struct curve_scalar; /* secret memory */
status curve_scalar_new(struct ctx *cx, struct curve_scalar **out); /* random, clamped */
void curve_scalar_free(struct curve_scalar *s);
void curve_scalar_freep(struct curve_scalar **s);

/* out[i] = point of the 64-byte uniform strings in[i]; n x 32 bytes out. Batched inversions. */
void curve_map(const uint8_t (*in)[64], size_t n, uint8_t (*out)[CURVE_BYTES]);
/* out[i] = scalar * in[i], n points, over cx->pool. in and out may be the same. PROTO: a point of small order came out
 * (all-zero result), naming its index: the peer cheats. */
status curve_mul(struct ctx *cx, const struct curve_scalar *s, const uint8_t (*in)[CURVE_BYTES], size_t n,
                 uint8_t (*out)[CURVE_BYTES]);
