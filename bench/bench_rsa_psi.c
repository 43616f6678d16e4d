/* RSA blind signatures: core microseconds an id for each step, against OpenSSL's private operation in the
 * same run. Arguments: key bits (2048), threads (0 = all). */
#include "crypto/rsa_psi.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#define ERR_STATE openssl_err_state /* a type there, a code in base/ctx.h */
#include <openssl/evp.h>
#include <openssl/rsa.h>
#undef ERR_STATE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 2048, PEER = 200 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void must(struct ctx *cx, status st)
{
    if (!st.code) return;
    fprintf(stderr, "bench_rsa_psi: %s\n", cx->err.msg);
    exit(1);
}

static double peer_sign(int bits)
{
    EVP_PKEY *key = EVP_RSA_gen((unsigned)bits);
    EVP_PKEY_CTX *c = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    uint8_t in[384] = {0}, out[384];
    size_t n = sizeof out;
    if (!c || EVP_PKEY_decrypt_init(c) <= 0 || EVP_PKEY_CTX_set_rsa_padding(c, RSA_NO_PADDING) <= 0) exit(1);
    in[1] = 1;
    double t = 0;
    for (int i = -20; i < PEER; i++, n = sizeof out) {
        if (i == 0) t = now_us();
        if (EVP_PKEY_decrypt(c, out, &n, in, (size_t)bits / 8) <= 0) exit(1);
    }
    t = (now_us() - t) / PEER;
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(key);
    return t;
}

static void figure(const char *name, int bits, double us, double peer)
{
    printf("{\"bench\":\"kernels\",\"figure\":\"rsa_psi_%d_%s_%s\",\"value\":%.1f,\"unit\":\"core us\"", bits,
           name, cpu_level_name(cpu_level()), us);
    if (peer > 0) printf(",\"peer\":\"OpenSSL RSA\",\"peer_value\":%.1f,\"ratio\":%.2f", peer, peer / us);
    printf("}\n");
}

int main(int argc, char **argv)
{
    int bits = argc > 1 ? atoi(argv[1]) : 2048;
    struct ctx c = {.mem = arena_new(0)}, *cx = &c;
    cx->pool = pool_new(argc > 2 ? (unsigned)atoi(argv[2]) : 0);
    struct rsa_key *k;
    struct rsa_blinding *b;
    double t = now_us(), scale = (double)pool_threads(cx->pool) / N, peer = peer_sign(bits);
    must(cx, rsa_key_new(cx, bits, &k));
    const struct rsa_public *pub = rsa_key_public(k);
    uint8_t(*ids)[64] = (uint8_t(*)[64])NEW(cx, uint8_t, N * 64);
    uint8_t(*token)[RSA_TOKEN] = (uint8_t(*)[RSA_TOKEN])NEW(cx, uint8_t, N * RSA_TOKEN);
    uint8_t *x = NEW(cx, uint8_t, N * rsa_bytes(pub));
    must(cx, rand_bytes(cx, ids, N * 64));
    t = now_us();
    must(cx, rsa_blind(cx, pub, (const uint8_t(*)[64])ids, N, x, &b));
    figure("blind", bits, (now_us() - t) * scale, 0);
    t = now_us();
    must(cx, rsa_sign(cx, k, x, N, x));
    figure("sign", bits, (now_us() - t) * scale, peer);
    t = now_us();
    must(cx, rsa_unblind(cx, pub, b, (const uint8_t(*)[64])ids, x, N, token));
    figure("unblind", bits, (now_us() - t) * scale, 0);
    t = now_us();
    must(cx, rsa_own(cx, k, (const uint8_t(*)[64])ids, N, token));
    figure("own", bits, (now_us() - t) * scale, peer);
    rsa_key_free(k);
    rsa_blinding_free(b);
    pool_free(cx->pool);
    arena_free(cx->mem);
    return 0;
}
