/* prime.h - random primes for Paillier and RSA keys.
 *
 * A prime is searched upwards from a random start of the full length with its top two bits set, in steps of 4
 * (3 modulo 4), past candidates c for which c or (c - 1) / 2 has a factor below 2^16, by Miller-Rabin with
 * random bases (9 rounds; FIPS 186-5 table B.1 asks 5 at 1024 bits for 2^-112, 4 at 1536 for 2^-128). So the
 * odd part of p - 1 has no small factor: a random square generates all of the squares but for a chance below
 * 2^-9, and a subgroup of index below 2^-16 never less. Secret: the result; powers are in constant time
 * (OpenSSL), how many candidates were tried is not hidden. */
#pragma once
#include "base/ctx.h"

struct prg;
/* n_words 64-bit words, from the stream of g. CANCELLED, NOMEM. */
status prime_random(struct ctx *cx, struct prg *g, size_t n_words, uint64_t *out);
