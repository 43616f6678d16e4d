/* secret.h - memory for keys, and the only sources of randomness.
 *
 * secret_alloc: mlocked, kept out of core dumps (MADV_DONTDUMP), wiped on free. Never copied into an arena, a log or an
 * error. rand_bytes (getrandom) is the only randomness in cryptography. prg_* expands a 32-byte seed (AES-128-CTR by
 * OpenSSL, key = seed[0..16), nonce = seed[16..32)): fast bytes for masks and noise, from a seed that came from
 * rand_bytes. shuffle_* is seeded and not secret: for data shuffles and subsampling only. */
#pragma once
#include "base/ctx.h"

void *secret_alloc(size_t n); /* zeroed; NULL: out of memory */
void secret_free(void *p);    /* wipes; NULL is fine */
void secret_wipe(void *p, size_t n);
bool secret_equal(const void *a, const void *b, size_t n); /* constant time */

status rand_bytes(struct ctx *cx, void *out, size_t n); /* IO: no entropy from the kernel */
/* Tests only: from now on this process's rand_bytes gives the stream of that seed. Refused (STATE) unless the
 * environment holds NORN_TEST_SEEDS=1, and a warning is logged at the start of every such process. */
status rand_seed_for_tests(struct ctx *cx, uint64_t seed);

struct prg; /* one thread */
status prg_new(struct ctx *cx, const uint8_t seed[32], struct prg **out);
void prg_free(struct prg *p);
void prg_freep(struct prg **p);
void prg_bytes(struct prg *p, void *out, size_t n);
uint64_t prg_u64(struct prg *p);
/* Starts the stream again at block `index` of 2^32 bytes: independent streams from one seed. */
void prg_seek(struct prg *p, uint64_t index);

struct shuffle {
    uint64_t s[4];
}; /* xoshiro256** */
struct shuffle shuffle_new(uint64_t seed);
uint64_t shuffle_u64(struct shuffle *s);
uint64_t shuffle_below(struct shuffle *s, uint64_t n); /* unbiased; n > 0 */
double shuffle_unit(struct shuffle *s);                /* [0, 1) with 53 bits */
double shuffle_normal(struct shuffle *s);              /* mean 0, deviation 1 */
