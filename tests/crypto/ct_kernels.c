/* Constant time, by valgrind: secrets are marked undefined, so that memcheck reports every branch and every
 * address that depends on one. Run as `valgrind --error-exitcode=1 ct_kernels`; without valgrind it only runs
 * through. Valgrind 3.19 knows no AVX-512: that kernel has the same text around its products as the AVX2 one.
 */
#include "crypto/curve_kernel.h"
#include "crypto/lattice_ring.h"
#include "crypto/mont.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/secret.h"
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

enum { N = 9 };

static void secret(void *p, size_t n)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, n);
}

static void must(struct ctx *cx, status st)
{
    if (!st.code) return;
    fprintf(stderr, "ct_kernels: %s\n", cx->err.msg);
    exit(1);
}

static void curve(struct ctx *cx, const struct curve_kernel *kernel)
{
    uint8_t k[32], wide[N][64], u[N][32], out[N][32];
    must(cx, rand_bytes(cx, k, sizeof k));
    must(cx, rand_bytes(cx, wide, sizeof wide));
    secret(k, sizeof k);
    secret(wide, sizeof wide);
    kernel->map((const uint8_t(*)[64])wide, N, u);
    (void)VALGRIND_MAKE_MEM_DEFINED(u, sizeof u); /* the points are what is sent */
    memset(u[3], 0, 32);
    kernel->mul(k, (const uint8_t(*)[32])u, N, out);
}

static void mont(struct ctx *cx, const struct mont_kernel *kernel, size_t n_words)
{
    uint64_t n[MONT_WORDS], lo[MONT_WORDS], hi[MONT_WORDS], e[N][2], *x[N], *y[N];
    const uint64_t *pe[N];
    struct mont *m = NEW(cx, struct mont, 1);
    must(cx, rand_bytes(cx, n, sizeof n));
    n[0] |= 1;
    n[n_words - 1] |= 1ull << 63;
    must(cx, mont_init_kernel(cx, m, kernel, n, n_words)); /* n's shape is checked; then it is secret too */
    secret(m->n64, sizeof m->n64);
    secret(m->n, sizeof m->n);
    secret(m->kn, sizeof m->kn);
    secret(m->rr, sizeof m->rr);
    secret(m->one, sizeof m->one);
    secret(&m->n0, sizeof m->n0);
    for (size_t i = 0; i < N; i++) {
        x[i] = NEW(cx, uint64_t, MONT_ELEM);
        y[i] = NEW(cx, uint64_t, MONT_ELEM);
        must(cx, rand_bytes(cx, lo, sizeof lo));
        must(cx, rand_bytes(cx, hi, sizeof hi));
        must(cx, rand_bytes(cx, e[i], sizeof e[i]));
        secret(lo, sizeof lo);
        secret(hi, sizeof hi);
        secret(e[i], sizeof e[i]);
        pe[i] = e[i];
        mont_load(m, lo, hi, x[i]);
    }
    size_t words = mont_table_words(m, 100);
    struct mont_table t;
    mont_table_fill(&t, m, x[0], 100, NEW(cx, uint64_t, words),
                    NEW(cx, uint64_t, mont_table_scratch(m, 100)));
    mont_table_pow(&t, N, pe, y);
    mont_mul(m, N, y, (const uint64_t *const *)x, (const uint64_t *const *)y);
    mont_sqr(m, N, y, 2);
    mont_add(m, y[0], y[0], y[1]);
    if (n_words <= 24) mont_pow(m, N, y, e[0], 100);
    mont_store(m, y[0], lo, hi);
    for (size_t i = 0; i < N; i++)
        mont_flat_load(m, lo, x[i]);
    mont_flat_pow(m, N, x, e[1], 100);
    mont_flat_mul(m, N, x, (const uint64_t *const *)x, (const uint64_t *const *)y);
    mont_flat_add(m, x[0], x[0], x[1]);
    mont_flat_store(m, x[0], lo);
}

/* Everything that touches the guest's secret, its integers and noise, or the host's randomness. */
static void lattice(struct ctx *cx, const struct lattice_kernel *kernel)
{
    struct room {
        struct lattice_tables t;
        struct lattice_hat x[LAT_RANK], y[LAT_RANK];
        _Alignas(64) uint64_t a[LAT_DIM], out[LAT_DIM];
        _Alignas(64) int8_t small[LAT_DIM];
        _Alignas(64) uint16_t random[3 * LAT_DIM];
        uint8_t wire[LAT_DIM * LAT_REPLY_BYTES];
    } *r = NEW(cx, struct room, 1);
    lattice_tables_init(&r->t, kernel);
    must(cx, rand_bytes(cx, r->a, sizeof r->a));
    must(cx, rand_bytes(cx, r->random, sizeof r->random));
    secret(r->a, sizeof r->a);
    secret(r->random, sizeof r->random);
    kernel->ternary(r->random, LAT_DIM, r->small);
    kernel->noise(r->random, LAT_DIM, r->out);
    for (int primes = 2; primes <= LAT_PRIMES; primes++) {
        for (size_t k = 0; k < LAT_RANK; k++) {
            kernel->hat_word(&r->t, primes, r->a + k * LAT_N, &r->x[k]);
            kernel->hat_small(&r->t, primes, r->small + k * LAT_N, &r->y[k]);
        }
        kernel->dot(&r->t, primes, r->x, r->y, r->out);
        kernel->dot_low(&r->t, primes, r->x, r->y, r->a);
    }
    kernel->pack(r->out, LAT_DIM, r->wire);
    kernel->unpack(r->wire, LAT_DIM, r->out);
}

int main(void)
{
    struct ctx c = {.mem = arena_new(0)}, *cx = &c;
    int top = (int)cpu_level();
    if (RUNNING_ON_VALGRIND && top > CPU_AVX2) top = CPU_AVX2;
    curve(cx, &curve_plain);
    for (int level = CPU_PORTABLE; level <= top; level++) {
        curve(cx, curve_kernel_of(level));
        mont(cx, mont_kernel_of(level), 16);
        mont(cx, mont_kernel_of(level), 32);
        lattice(cx, lattice_kernel_of(level));
    }
    arena_free(cx->mem);
    puts("ct_kernels: ran through");
    return 0;
}
