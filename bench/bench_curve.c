/* X25519 and the Elligator 2 map, one thread, every kernel this processor has, against libsodium in the same
 * run. */
#include "crypto/curve_kernel.h"
#include "base/cpu.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 1024, RUNS = 11 };
static uint8_t wide[N][64], in[N][32], out[N][32], k[32];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void peer_mul(const struct curve_kernel *kernel)
{
    (void)kernel;
    for (size_t i = 0; i < N; i++)
        if (crypto_scalarmult_curve25519(out[i], k, in[i])) abort();
}

static void peer_map(const struct curve_kernel *kernel)
{
    (void)kernel;
    for (size_t i = 0; i < N; i++)
        crypto_core_ristretto255_from_hash(out[i], wide[i]);
}

static void our_mul(const struct curve_kernel *kernel)
{
    kernel->mul(k, (const uint8_t(*)[32])in, N, out);
}

static void our_map(const struct curve_kernel *kernel)
{
    kernel->map((const uint8_t(*)[64])wide, N, out);
}

/* Median microseconds of one element. */
static double median(void (*fn)(const struct curve_kernel *), const struct curve_kernel *kernel)
{
    double run[RUNS];
    fn(kernel);
    for (int r = 0; r < RUNS; r++) {
        double t = now_us();
        fn(kernel);
        run[r] = (now_us() - t) / N;
    }
    qsort(run, RUNS, sizeof run[0], by_value);
    return run[RUNS / 2];
}

int main(void)
{
    if (sodium_init() < 0) return 1;
    randombytes_buf(k, sizeof k);
    k[0] &= 248;
    k[31] = (uint8_t)((k[31] & 127) | 64);
    randombytes_buf(wide, sizeof wide);
    curve_portable.map((const uint8_t(*)[64])wide, N, in);
    double mul = median(peer_mul, NULL), map = median(peer_map, NULL);
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++) {
        const struct curve_kernel *kernel = curve_kernel_of(level);
        double m = median(our_mul, kernel), h = median(our_map, kernel);
        printf("{\"bench\":\"kernels\",\"figure\":\"x25519_%s\",\"value\":%.2f,\"unit\":\"us\",\"peer\":"
               "\"libsodium %s "
               "X25519\",\"peer_value\":%.2f,\"ratio\":%.2f}\n",
               kernel->name, m, sodium_version_string(), mul, mul / m);
        printf("{\"bench\":\"kernels\",\"figure\":\"elligator2_%s\",\"value\":%.2f,\"unit\":\"us\",\"peer\":"
               "\"libsodium %s "
               "ristretto255 from_hash\",\"peer_value\":%.2f,\"ratio\":%.2f}\n",
               kernel->name, h, sodium_version_string(), map, map / h);
    }
    return 0;
}
