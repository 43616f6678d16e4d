/* rsa_psi.h - RSA blind signatures over hashed ids: the primitives of FATE's `rsa` intersection.
 *
 * Source: D. Chaum, CRYPTO '82, with a full-domain hash (Bellare, Rogaway, EUROCRYPT '96). The signer S
 * (FATE's host) has a key; the blinder B (FATE's guest) gets S's signatures on its own ids without S seeing
 * them: B: y = H(id) r^e, r random     S: y^d     B: y^d / r = H(id)^d, checked by its e-th power; token =
 * SHA-256 of it S: token of H(id)^d for each of its own ids, and B compares. H expands the caller's 64 bytes,
 * SHA-512 of (salt, id), by SHA-512 in counter mode to the modulus plus 128 bits, then reduces. What each
 * learns: B the tokens of S's ids, of which it can compare those it has signatures for; S the number of B's
 * ids. Under the one-more-RSA assumption B cannot make a token without asking. S is trusted to have chosen a
 * sound key. Shapes: integers modulo N are little-endian, rsa_bytes(pub) long, row-major arrays of them.
 * Everything over cx->pool. Secret: struct rsa_key (secret memory), the blinding factors (a seed in struct
 * rsa_blinding), the ids' hashes. Constant time in all of them. */
#pragma once
#include "base/bytes.h"

#define RSA_TOKEN 32
struct rsa_public;
struct rsa_key;
struct rsa_blinding; /* what was drawn for one batch: a seed in secret memory */

/* key_bits: 2048 or 3072, else ARG; e = 65537. */
status rsa_key_new(struct ctx *cx, int key_bits, struct rsa_key **out);
void rsa_key_free(struct rsa_key *k); /* wipes */
void rsa_key_freep(struct rsa_key **k);
const struct rsa_public *rsa_key_public(const struct rsa_key *k);
/* Version, key_bits as u16, N. */
void rsa_public_write(const struct rsa_public *pub, struct buf *out);
/* In cx->mem. FORMAT, PROTO: unknown version or size, N even or short. */
status rsa_public_read(struct ctx *cx, struct bytes in, const struct rsa_public **out);
size_t rsa_bytes(const struct rsa_public *pub); /* 256, 384 */

/* out[i] = H(in[i]) r_i^e: n x rsa_bytes. */
status rsa_blind(struct ctx *cx, const struct rsa_public *pub, const uint8_t (*in)[64], size_t n,
                 uint8_t *out, struct rsa_blinding **blinding);
void rsa_blinding_free(struct rsa_blinding *b);
void rsa_blinding_freep(struct rsa_blinding **b);
/* out[i] = in[i]^d, by CRT, each checked by its e-th power before it is given (INTERNAL: a fault of the
 * machine, which would tell the factors). PROTO: in[i] is not below N, or 0. in and out may be the same. */
status rsa_sign(struct ctx *cx, const struct rsa_key *k, const uint8_t *in, size_t n, uint8_t *out);
/* Tokens of the same ids, in the same order, as were blinded. PROTO: signed_[i] is not the signature. */
status rsa_unblind(struct ctx *cx, const struct rsa_public *pub, const struct rsa_blinding *b,
                   const uint8_t (*in)[64], const uint8_t *signed_, size_t n, uint8_t (*out)[RSA_TOKEN]);
/* Tokens of the signer's own ids. */
status rsa_own(struct ctx *cx, const struct rsa_key *k, const uint8_t (*in)[64], size_t n,
               uint8_t (*out)[RSA_TOKEN]);
