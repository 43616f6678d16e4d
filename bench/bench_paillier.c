/* Paillier: what one row, one addition, one returned bucket cost, and whole trees like default_credit's and
 * breast cancer's, at this processor's level; against the plain text of the scheme in GMP (mpz), in the same
 * run. Arguments: key bits (2048), threads (0 = all). */
#include "crypto/mont.h"
#include "crypto/paillier.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include <gmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(struct ctx *cx, status st)
{
    if (!st.code) return;
    fprintf(stderr, "bench_paillier: %s\n", cx->err.msg);
    exit(1);
}

static int key_bits = 2048;
static void figure(const char *name, double value, const char *unit, double peer)
{
    printf("{\"bench\":\"kernels\",\"figure\":\"paillier_%d_%s_%s\",\"value\":%.4g,\"unit\":\"%s\"", key_bits,
           name, cpu_level_name(cpu_level()), value, unit);
    if (peer > 0) printf(",\"peer\":\"reference\",\"peer_value\":%.4g,\"ratio\":%.3g", peer, peer / value);
    printf("}\n");
    fflush(stdout);
}

struct peer {
    double encrypt, add, decrypt; /* microseconds, one core: r^N, product modulo N^2, c^lambda by CRT */
};

static struct peer measure_peer(struct ctx *cx)
{
    struct peer best = {1e9, 1e9, 1e9};
    uint64_t w[2 * MONT_WORDS];
    mpz_t n, n2, r, c, e, p2;
    mpz_inits(n, n2, r, c, e, p2, NULL);
    must(cx, rand_bytes(cx, w, sizeof w));
    mpz_import(n, (size_t)key_bits / 64, -1, 8, 0, 0, w);
    mpz_setbit(n, (mp_bitcnt_t)key_bits - 1);
    mpz_setbit(n, 0);
    mpz_mul(n2, n, n);
    mpz_import(r, (size_t)key_bits / 32, -1, 8, 0, 0, w);
    mpz_mod(r, r, n2);
    mpz_fdiv_q_2exp(e, n, (mp_bitcnt_t)key_bits / 2);
    mpz_set(p2, n); /* any modulus of p^2's size */
    for (int run = 0; run < 5; run++) {
        double t = now();
        mpz_powm(c, r, n, n2);
        t = (now() - t) * 1e6;
        if (t < best.encrypt) best.encrypt = t;
        t = now();
        for (int i = 0; i < 2000; i++) {
            mpz_mul(c, c, r);
            mpz_mod(c, c, n2);
        }
        t = (now() - t) * 1e6 / 2000;
        if (t < best.add) best.add = t;
        t = now();
        mpz_mod(c, r, p2);
        mpz_powm(c, c, e, p2);
        t = 2 * (now() - t) * 1e6;
        if (t < best.decrypt) best.decrypt = t;
    }
    mpz_clears(n, n2, r, c, e, p2, NULL);
    return best;
}

/* One tree: all rows once, then half of the rows of each level (the smaller children), n_nodes sums in all.
 */
static void tree(struct ctx *cx, const char *name, size_t n_rows, size_t n_features, int n_nodes,
                 const struct peer *peer)
{
    struct he_params p = {HE_PAILLIER, key_bits, n_rows, 2, 52};
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = NULL;
    CLEANUP(paillier_host_freep) struct paillier_host *h = NULL;
    CLEANUP(buf_free) struct buf pub = {0}, batch = {0};
    uint8_t *bin = NEW(cx, uint8_t, n_rows * n_features);
    const uint8_t **bins = NEW(cx, const uint8_t *, n_features);
    uint16_t *n_bins = NEW(cx, uint16_t, n_features);
    int64_t *m = NEW(cx, int64_t, 2 * n_rows);
    uint32_t *rows = NEW(cx, uint32_t, n_rows);
    struct shuffle random = shuffle_new(1);
    char text[64];
    for (size_t i = 0; i < 2 * n_rows; i++)
        m[i] = (int64_t)(shuffle_u64(&random) >> 34) - (1ll << 29);
    for (size_t f = 0; f < n_features; f++) {
        bins[f] = bin + f * n_rows;
        n_bins[f] = 31;
        for (size_t i = 0; i < n_rows; i++)
            bin[f * n_rows + i] = (uint8_t)shuffle_below(&random, 32);
    }
    double t = now();
    must(cx, paillier_guest_new(cx, &p, &g));
    must(cx, paillier_guest_public(cx, g, &pub));
    must(cx, paillier_host_open(cx, (struct bytes){pub.p, pub.n}, &h));
    snprintf(text, sizeof text, "%s_key", name);
    figure(text, (now() - t) * 1e3, "ms", 0);

    double encrypt = now(), load, sum = 0, decrypt = 0;
    must(cx, paillier_guest_encrypt(cx, g, m, &batch));
    encrypt = now() - encrypt;
    load = now();
    must(cx, paillier_host_load(cx, h, (struct bytes){batch.p, batch.n}));
    load = now() - load;
    size_t adds = 0, n_buckets = 31 * n_features, back = 0;
    int64_t *sums = NEW(cx, int64_t, 2 * n_buckets);
    for (int level = 0, left = n_nodes; left > 0; level++)
        for (int node = 0; node < (level ? 1 << (level - 1) : 1) && left > 0; node++, left--) {
            CLEANUP(buf_free) struct buf reply = {0};
            size_t n = 0;
            for (uint32_t i = 0; i < n_rows; i++)
                if (i % (1u << level) == (uint32_t)node) rows[n++] = i;
            t = now();
            must(cx, paillier_host_sum(cx, h, bins, n_bins, n_features, rows, n, &reply));
            sum += now() - t;
            t = now();
            must(cx, paillier_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, n_buckets, sums));
            decrypt += now() - t;
            adds += n * n_features;
            back += n_buckets;
        }
    double threads = pool_threads(cx->pool);
    snprintf(text, sizeof text, "%s_tree", name);
    figure(text, encrypt + load + sum + decrypt, "s",
           ((double)n_rows * peer->encrypt + (double)adds * peer->add + (double)back * peer->decrypt) * 1e-6 /
               threads);
    snprintf(text, sizeof text, "%s_encrypt_row", name);
    figure(text, encrypt * 1e6 * threads / (double)n_rows, "core us", peer->encrypt);
    snprintf(text, sizeof text, "%s_load_row", name);
    figure(text, load * 1e6 * threads / (double)n_rows, "core us", 0);
    snprintf(text, sizeof text, "%s_sum_addition", name); /* packing and noise included */
    figure(text, sum * 1e6 * threads / (double)adds, "core us", peer->add);
    snprintf(text, sizeof text, "%s_decrypt_bucket", name);
    figure(text, decrypt * 1e6 * threads / (double)back, "core us", peer->decrypt);
}

/* One product modulo N^2 of every kernel this processor has. */
static void products(struct ctx *cx, const struct peer *peer)
{
    enum { N = 512 };
    struct mont *m = NEW(cx, struct mont, 1);
    uint64_t n[MONT_WORDS], *x[N], *y[N], half[2][MONT_WORDS];
    size_t w = (size_t)key_bits / 64;
    must(cx, rand_bytes(cx, n, sizeof n));
    n[0] |= 1;
    n[w - 1] |= 1ull << 63;
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++) {
        double mul = 1e9, sqr = 1e9;
        must(cx, mont_init_kernel(cx, m, mont_kernel_of(level), n, w));
        for (size_t i = 0; i < N; i++) {
            must(cx, rand_bytes(cx, half, sizeof half));
            x[i] = NEW(cx, uint64_t, MONT_ELEM);
            y[i] = NEW(cx, uint64_t, MONT_ELEM);
            mont_load(m, half[0], half[1], x[i]);
            mont_load(m, half[1], half[0], y[i]);
        }
        for (int run = 0; run < 10; run++) {
            double t = now();
            mont_mul(m, N, x, (const uint64_t *const *)x, (const uint64_t *const *)y);
            t = (now() - t) * 1e6 / N;
            if (t < mul) mul = t;
            t = now();
            mont_sqr(m, 64, x, 8);
            t = (now() - t) * 1e6 / N;
            if (t < sqr) sqr = t;
        }
        printf("{\"bench\":\"kernels\",\"figure\":\"mont_pair_%d_mul_%s\",\"value\":%.3f,\"unit\":\"us\","
               "\"peer\":"
               "\"GMP %s mpz_mul, mpz_mod\",\"peer_value\":%.3f,\"ratio\":%.2f}\n",
               key_bits, m->kernel->name, mul, gmp_version, peer->add, peer->add / mul);
        printf("{\"bench\":\"kernels\",\"figure\":\"mont_pair_%d_sqr_%s\",\"value\":%.3f,\"unit\":\"us\","
               "\"peer\":"
               "\"GMP %s mpz_mul, mpz_mod\",\"peer_value\":%.3f,\"ratio\":%.2f}\n",
               key_bits, m->kernel->name, sqr, gmp_version, peer->add, peer->add / sqr);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) key_bits = atoi(argv[1]);
    struct ctx c = {.mem = arena_new(0)}, *cx = &c;
    cx->pool = pool_new(argc > 2 ? (unsigned)atoi(argv[2]) : 0);
    struct peer peer = measure_peer(cx);
    products(cx, &peer);
    tree(cx, "30000x10", 30000, 10, 16, &peer);
    tree(cx, "569x20", 569, 20, 4, &peer);
    pool_free(cx->pool);
    arena_free(cx->mem);
    return 0;
}
