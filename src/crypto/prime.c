#include "crypto/prime.h"
#include "base/arena.h"
#include "base/evp.h"
#include "base/secret.h"
#include <string.h>

enum { SMALL = 1 << 16, SPAN = 1 << 14, ROUNDS = 9 };

static void bn_freep(BIGNUM **b)
{
    BN_clear_free(*b);
}
static void bn_ctx_freep(BN_CTX **c)
{
    BN_CTX_free(*c);
}
static void mont_freep(BN_MONT_CTX **m)
{
    BN_MONT_CTX_free(*m);
}

/* OpenSSL's BIGNUMs: wiped when freed. */
struct bn {
    BN_CTX *ctx;
    BIGNUM *p, *e, *a, *r;
};

/* 1 prime, 0 composite, -1 out of memory. c is 3 modulo 4, so that a^((c-1)/2) = +-1 is the whole test. */
static int miller_rabin(struct bn *b, struct prg *g, const uint64_t *c, size_t n_words)
{
    CLEANUP(mont_freep) BN_MONT_CTX *mont = BN_MONT_CTX_new();
    if (!mont || !BN_lebin2bn((const uint8_t *)c, (int)(8 * n_words), b->p)) return -1;
    if (!BN_rshift1(b->e, b->p) || !BN_MONT_CTX_set(mont, b->p, b->ctx)) return -1;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t base[48];
        prg_bytes(g, base, 8 * n_words);
        base[n_words - 1] >>= 1; /* below c; 0, 1 and c - 1 do not happen */
        if (!BN_lebin2bn((const uint8_t *)base, (int)(8 * n_words), b->a)) return -1;
        if (!BN_mod_exp_mont_consttime(b->r, b->a, b->e, b->p, b->ctx, mont)) return -1;
        if (BN_is_one(b->r)) continue;
        if (!BN_add_word(b->r, 1)) return -1;
        if (BN_cmp(b->r, b->p) != 0) return 0;
    }
    return 1;
}

/* odd[i] = 0 for the odd primes 2 i + 1 below SMALL. */
static void small_primes(uint8_t *odd)
{
    odd[0] = 1;
    for (size_t p = 3; p * p < SMALL; p += 2)
        if (!odd[p / 2])
            for (size_t k = p * p; k < SMALL; k += 2 * p)
                odd[k / 2] = 1;
}

static uint32_t remainder_of(const uint64_t *x, size_t n_words, uint32_t d)
{
    uint64_t r = 0;
    for (size_t i = n_words; i-- > 0;) {
        r = (r << 32 | x[i] >> 32) % d;
        r = (r << 32 | (x[i] & 0xffffffff)) % d;
    }
    return (uint32_t)r;
}

/* bad[i] for start + 4 i: it or its half has a small factor. */
static void sieve(const uint64_t *start, size_t n_words, const uint8_t *odd, uint8_t *bad)
{
    memset(bad, 0, SPAN);
    for (uint32_t l = 3; l < SMALL; l += 2) {
        if (odd[l / 2]) continue;
        uint32_t r = remainder_of(start, n_words, l),
                 quarter = l % 4 == 3 ? (l + 1) / 4 : (3 * l + 1) / 4;     /* 1/4 */
        uint32_t i0 = (uint32_t)((uint64_t)(l - r) % l * quarter % l);     /* start + 4 i = 0 modulo l */
        uint32_t i1 = (uint32_t)((uint64_t)(l + 1 - r) % l * quarter % l); /* start + 4 i = 1 modulo l */
        for (size_t i = i0; i < SPAN; i += l)
            bad[i] = 1;
        for (size_t i = i1; i < SPAN; i += l)
            bad[i] = 1;
    }
}

struct search {
    uint64_t start[48], c[48];
};
static void search_freep(struct search **s)
{
    secret_free(*s);
}

status prime_random(struct ctx *cx, struct prg *g, size_t n_words, uint64_t *out)
{
    if (n_words < 4 || n_words > 48) return FAIL(cx, ARG, "a prime of %zu words", n_words);
    CLEANUP(bn_ctx_freep) BN_CTX *ctx = BN_CTX_secure_new();
    CLEANUP(bn_freep)
    BIGNUM *p = BN_secure_new(), *e = BN_secure_new(), *a = BN_secure_new(), *r = BN_secure_new();
    CLEANUP(search_freep) struct search *s = secret_alloc(sizeof *s);
    uint8_t *odd = NEW(cx, uint8_t, SMALL / 2), *bad = NEW(cx, uint8_t, SPAN);
    if (!ctx || !p || !e || !a || !r || !s || !odd || !bad) return FAIL(cx, NOMEM, "a prime");
    struct bn b = {ctx, p, e, a, r};
    small_primes(odd);
    for (;;) {
        prg_bytes(g, s->start, 8 * n_words);
        s->start[0] |= 3;
        s->start[n_words - 1] |= 3ull << 62;
        sieve(s->start, n_words, odd, bad);
        for (size_t i = 0; i < SPAN; i++) {
            if (bad[i]) continue;
            TRY(ctx_check(cx));
            uint64_t carry = 4 * i;
            for (size_t k = 0; k < n_words; k++) {
                s->c[k] = s->start[k] + carry;
                carry = s->c[k] < carry;
            }
            if (carry) break;
            int prime = miller_rabin(&b, g, s->c, n_words);
            if (prime < 0) return FAIL(cx, NOMEM, "a prime");
            if (!prime) continue;
            memcpy(out, s->c, 8 * n_words);
            secret_wipe(bad, SPAN);
            return OK;
        }
    }
}
