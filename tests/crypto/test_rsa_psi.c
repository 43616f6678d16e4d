/* RSA blind signatures: tokens of both sides agree, equal the text in GMP, and cheating is refused. */
#include "crypto/rsa_psi.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include "test.h"
#include <gmp.h>
#include <openssl/sha.h>

enum { N = 150 };

/* SHA-512 of (counter, id), two words beyond N, modulo N: the header's H, in GMP. */
static void slow_hash(const uint8_t id[64], mpz_t n, size_t bytes, mpz_t out)
{
    uint8_t all[384 + 16 + 64], block[68] = {0};
    memcpy(block + 4, id, 64);
    for (size_t at = 0; at < bytes + 16; at += 64, block[0]++)
        SHA512(block, sizeof block, all + at);
    mpz_import(out, bytes + 16, -1, 1, 0, 0, all);
    mpz_mod(out, out, n);
}

static void get(const uint8_t *p, size_t bytes, mpz_t x)
{
    mpz_import(x, bytes, -1, 1, 0, 0, p);
}

static void tokens_agree(struct ctx *cx)
{
    static const int sizes[] = {2048, 3072};
    static uint8_t ids[N][64], own[N][RSA_TOKEN], got[N][RSA_TOKEN], first[N][RSA_TOKEN];
    for (size_t s = 0; s < LEN(sizes); s++) {
        CLEANUP(rsa_key_freep) struct rsa_key *k = NULL;
        CLEANUP(buf_free) struct buf msg = {0};
        const struct rsa_public *pub;
        CHECK_OK(cx, rsa_key_new(cx, sizes[s], &k));
        rsa_public_write(rsa_key_public(k), &msg);
        CHECK_OK(cx, rsa_public_read(cx, (struct bytes){msg.p, msg.n}, &pub));
        size_t bytes = rsa_bytes(pub);
        CHECK(bytes == (size_t)sizes[s] / 8);
        uint8_t *blinded = NEW(cx, uint8_t, N * bytes), *again = NEW(cx, uint8_t, N * bytes);
        CHECK_OK(cx, rand_bytes(cx, ids, sizeof ids));
        struct pool *before = cx->pool;
        for (unsigned threads = 1; threads <= 4; threads *= 2) {
            CLEANUP(pool_freep) struct pool *pool = pool_new(threads);
            CLEANUP(rsa_blinding_freep) struct rsa_blinding *b = NULL;
            CLEANUP(rsa_blinding_freep) struct rsa_blinding *b2 = NULL;
            cx->pool = pool;
            CHECK_OK(cx, rsa_blind(cx, pub, (const uint8_t(*)[64])ids, N, blinded, &b));
            CHECK_OK(cx, rsa_blind(cx, pub, (const uint8_t(*)[64])ids, N, again, &b2));
            for (size_t i = 0; i < N; i++)
                CHECK(memcmp(blinded + i * bytes, again + i * bytes, bytes) != 0);
            CHECK_OK(cx, rsa_sign(cx, k, blinded, N, blinded));
            CHECK_OK(cx, rsa_unblind(cx, pub, b, (const uint8_t(*)[64])ids, blinded, N, got));
            CHECK_OK(cx, rsa_own(cx, k, (const uint8_t(*)[64])ids, N, own));
            CHECK(memcmp(own, got, sizeof own) == 0);
            if (threads == 1) memcpy(first, own, sizeof own);
            CHECK(memcmp(own, first, sizeof own) == 0);
            CHECK_ERR(rsa_unblind(cx, pub, b2, (const uint8_t(*)[64])ids, blinded, N, got), PROTO);
        }
        cx->pool = before;
    }
}

static void signatures_are_rsa(struct ctx *cx)
{
    CLEANUP(rsa_key_freep) struct rsa_key *k = NULL;
    CHECK_OK(cx, rsa_key_new(cx, 2048, &k));
    const struct rsa_public *pub = rsa_key_public(k);
    CLEANUP(buf_free) struct buf msg = {0};
    rsa_public_write(pub, &msg);
    mpz_t n, x, y;
    mpz_inits(n, x, y, NULL);
    get(msg.p + 3, 256, n);
    uint8_t in[3 * 256] = {1}, out[3 * 256], ids[1][64] = {{7}}, hash[256], token[1][RSA_TOKEN],
                   want[RSA_TOKEN];
    mpz_sub_ui(x, n, 1);
    mpz_export(in + 256, NULL, -1, 1, 0, 0, x); /* 1, N - 1, and any */
    CHECK_OK(cx, rand_bytes(cx, in + 512, 255));
    CHECK_OK(cx, rsa_sign(cx, k, in, 3, out));
    for (int i = 0; i < 3; i++) {
        get(out + 256 * i, 256, x);
        get(in + 256 * i, 256, y);
        mpz_powm_ui(x, x, 65537, n);
        CHECK(mpz_cmp(x, y) == 0);
    }
    /* the token of an id is SHA-256 of H(id)^d */
    slow_hash(ids[0], n, 256, x);
    memset(hash, 0, sizeof hash);
    mpz_export(hash, NULL, -1, 1, 0, 0, x);
    CHECK_OK(cx, rsa_sign(cx, k, hash, 1, out));
    SHA256(out, 256, want);
    CHECK_OK(cx, rsa_own(cx, k, (const uint8_t(*)[64])ids, 1, token));
    CHECK(memcmp(token[0], want, RSA_TOKEN) == 0);
    mpz_clears(n, x, y, NULL);
}

static void refuses(struct ctx *cx)
{
    CLEANUP(rsa_key_freep) struct rsa_key *k = NULL;
    CHECK_ERR(rsa_key_new(cx, 1024, &k), ARG);
    CHECK_OK(cx, rsa_key_new(cx, 2048, &k));
    CLEANUP(buf_free) struct buf msg = {0};
    rsa_public_write(rsa_key_public(k), &msg);
    const struct rsa_public *pub = NULL;
    for (size_t n = 0; n < msg.n; n++)
        CHECK_ERR(rsa_public_read(cx, (struct bytes){msg.p, n}, &pub), FORMAT);
    static const struct {
        size_t at;
        uint8_t x;
    } flips[] = {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {258, 0x80}};
    for (size_t i = 0; i < LEN(flips); i++) {
        msg.p[flips[i].at] ^= flips[i].x;
        CHECK_ERR(rsa_public_read(cx, (struct bytes){msg.p, msg.n}, &pub), PROTO);
        msg.p[flips[i].at] ^= flips[i].x;
    }
    CHECK(!pub);
    uint8_t in[512] = {1};
    CHECK_ERR(rsa_sign(cx, k, in, 2, in), PROTO); /* the second is 0 */
    memcpy(in + 256, msg.p + 3, 256);
    CHECK_ERR(rsa_sign(cx, k, in, 2, in), PROTO); /* N */
    memset(in + 256, 0xff, 256);
    CHECK_ERR(rsa_sign(cx, k, in, 2, in), PROTO);

    uint8_t ids[2][64] = {{1}, {2}}, token[2][RSA_TOKEN];
    CLEANUP(rsa_blinding_freep) struct rsa_blinding *b = NULL;
    CHECK_OK(cx, rsa_blind(cx, rsa_key_public(k), (const uint8_t(*)[64])ids, 2, in, &b));
    CHECK_OK(cx, rsa_sign(cx, k, in, 2, in));
    in[300] ^= 1;
    CHECK_ERR(rsa_unblind(cx, rsa_key_public(k), b, (const uint8_t(*)[64])ids, in, 2, token), PROTO);
    CHECK(strstr(cx->err.msg, "id 1") != NULL);
}

TEST_MAIN(T(tokens_agree), T(signatures_are_rsa), T(refuses))
