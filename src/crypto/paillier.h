/* paillier.h - the Paillier scheme behind he.h: rows of integers in, sums by bucket out.
 *
 * Source: Paillier, EUROCRYPT '99, g = N + 1, decryption by CRT; noise as powers of one h_s = (x^2)^N modulo
 * N^2, as in Damgard, Jurik, Nielsen (Int. J. Inf. Secur. 9, 2010), with h a random square (not minus one): p
 * and q are 3 modulo 4 and (p-1)/2, (q-1)/2 coprime, so the noise is one cyclic group of odd order, and the
 * key's owner draws from it uniformly by independent exponents modulo (p-1)/2 and (q-1)/2. No assumption on
 * short exponents is made. Shapes: the n_stats integers of a row are one plaintext, signed digits of width
 * sum_bits + 1. A reply packs as many buckets as fit N into one cipher (multiplying by powers of two); each
 * reply cipher is multiplied by h_s^r with r of key_bits + 64 bits before it leaves: its noise is within
 * 2^-63 of uniform, so beyond the sums themselves it tells nothing of the rows, not even to the key's owner,
 * who knows each row's noise. Bytes: docs/formats/paillier.md. Parameters and proofs:
 * docs/security/paillier.md. Secret: struct paillier_guest; in secret memory (locked, wiped), and all
 * arithmetic on it in constant time. */
#pragma once
#include "crypto/he.h"

struct paillier_guest;
struct paillier_host;

/* Largest sum_bits: 62 for every size and n_stats of he.h (8 * 63 bits fit 2048). */
int paillier_sum_bits_max(int key_bits, size_t n_rows, int n_stats);
/* ARG: key_bits is not 2048 or 3072, or another parameter out of range; LIMIT: sum_bits too large. */
status paillier_describe(struct ctx *cx, const struct he_params *p, struct he_info *out);

/* Makes the key and its tables (7 MiB of secret memory at 2048 bits, 16 MiB at 3072). ARG, LIMIT, NOMEM, IO:
 * no entropy.
 */
status paillier_guest_new(struct ctx *cx, const struct he_params *p, struct paillier_guest **out);
void paillier_guest_free(struct paillier_guest *g);
void paillier_guest_freep(struct paillier_guest **g);
status paillier_guest_public(struct ctx *cx, const struct paillier_guest *g, struct buf *out);
status paillier_guest_encrypt(struct ctx *cx, struct paillier_guest *g, const int64_t *m, struct buf *out);
status paillier_guest_decrypt(struct ctx *cx, struct paillier_guest *g, struct bytes reply, size_t n_buckets,
                              int64_t *sums);

status paillier_host_open(struct ctx *cx, struct bytes pub, struct paillier_host **out);
void paillier_host_free(struct paillier_host *h);
void paillier_host_freep(struct paillier_host **h);
const struct he_params *paillier_host_params(const struct paillier_host *h);
status paillier_host_load(struct ctx *cx, struct paillier_host *h, struct bytes batch);
status paillier_host_sum(struct ctx *cx, struct paillier_host *h, const uint8_t *const *bins,
                         const uint16_t *n_bins, size_t n_features, const uint32_t *rows, size_t n_rows,
                         struct buf *out);

/* --- inside paillier*.c, and for tests --------------------------------------------------------- */
#define PAILLIER_VERSION 1
#define PAILLIER_ID      16 /* bytes of a key's public, random name */
/* A key from given primes of key_bits / 2 bits each, little-endian words: for tests against known answers.
 * ARG: not 3 modulo 4, top two bits not set, equal, or p-1 and q-1 not coprime but for 2. Primality is not
 * checked. */
status paillier_guest_of_primes(struct ctx *cx, const struct he_params *params, const uint64_t *p,
                                const uint64_t *q, struct paillier_guest **out);
/* How many buckets a reply cipher holds and how many ciphers a reply of n_buckets has: pairs of vectors of
 * eight, so that a small reply keeps two cores busy and takes short ciphers. */
void paillier_reply_shape(const struct he_params *p, size_t n_buckets, size_t *per_cipher, size_t *n_ciphers);
status paillier_check_params(struct ctx *cx, const struct he_params *p);
const char *paillier_set(int key_bits); /* "paillier-2048-v1", "paillier-3072-v1", NULL */
