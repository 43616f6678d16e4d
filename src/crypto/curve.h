/* curve.h - batches of X25519 scalar multiplications for private set intersection.
 *
 * Source: RFC 7748 (X25519); elements are u-coordinates of Curve25519, 32 bytes little-endian. The map into
 * the group is map_to_curve_elligator2 of RFC 9380 (section 6.7.1, the curve25519 constants J = 486662, K =
 * 1, Z = 2) without its v-coordinate: 64 uniform bytes, read as a little-endian integer and reduced modulo
 * 2^255 - 19 (bias below 2^-256), give the field element; the result is always on the curve, never on its
 * twist. Nobody knows its discrete logarithm. The cofactor is not cleared by the map: X25519's clamped
 * scalar, a multiple of 8, does that. This is RFC 9380's "encode" with one map (its image is about half of
 * the curve), whose image can be sampled and inverted, which is what the proof of Diffie-Hellman intersection
 * in the random oracle model needs; see docs/security/curve.md. Kernels: portable (libsodium's ladder), AVX2
 * four ways, AVX-512 IFMA eight ways, chosen by cpu_level(); all give the same bytes. Secret: the scalar, and
 * the strings mapped. Constant time in both; which points were of small order is not hidden. */
#pragma once
#include "base/bytes.h"

#define CURVE_BYTES 32
struct curve_scalar; /* secret memory; immutable once made, shared between threads */
/* Random, clamped. NOMEM, IO: no entropy. */
status curve_scalar_new(struct ctx *cx, struct curve_scalar **out);
void curve_scalar_free(struct curve_scalar *s);
void curve_scalar_freep(struct curve_scalar **s);

/* out[i] = u-coordinate that the 64 bytes in[i] map to; n x 32 bytes out, not overlapping in. Runs on the
 * caller's thread: call it from a pool chunk, some 100 strings at a time or more (128 share an inversion in
 * the widest kernel). */
void curve_map(const uint8_t (*in)[64], size_t n, uint8_t (*out)[CURVE_BYTES]);
/* out[i] = scalar * in[i], n points, over cx->pool. in and out may be the same. Values of 2^255 - 19 and
 * above are reduced and the top bit is ignored, as RFC 7748 says. PROTO: a point of small order came in (the
 * result would be zero), naming the first one: the peer cheats; out then holds no promise. CANCELLED. */
status curve_mul(struct ctx *cx, const struct curve_scalar *s, const uint8_t (*in)[CURVE_BYTES], size_t n,
                 uint8_t (*out)[CURVE_BYTES]);
