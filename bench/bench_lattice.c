/* Lattice: each kernel of this processor against the portable one, and whole trees like default_credit's: what one
 * row, one addition and one returned bucket cost. Argument: threads (0 = all). */
#include "crypto/lattice_ring.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
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
    fprintf(stderr, "bench_lattice: %s\n", cx->err.msg);
    exit(1);
}

static void figure(const char *name, const char *kernel, double value, const char *unit, double peer)
{
    printf("{\"bench\":\"kernels\",\"figure\":\"lattice_%s_%s\",\"value\":%.4g,\"unit\":\"%s\"", name, kernel,
           value, unit);
    if (peer > 0) printf(",\"peer\":\"portable\",\"peer_value\":%.4g,\"ratio\":%.3g", peer, peer / value);
    printf("}\n");
    fflush(stdout);
}

/* --- kernels ------------------------------------------------------------------------------------- */
enum { SLOTS = 12, BUCKETS = 32 };

struct room {
    struct lattice_tables t;
    struct lattice_hat x[LAT_RANK], y[LAT_RANK];
    _Alignas(64) uint64_t a[LAT_DIM], win[SLOTS * LAT_WINDOW], words[SLOTS][LAT_STRIDE];
    _Alignas(64) uint64_t masks[BUCKETS / LAT_PACK][LAT_STRIDE], sums[BUCKETS / LAT_PACK][LAT_PACK];
    _Alignas(64) int8_t small[LAT_DIM];
    _Alignas(64) uint16_t random[3 * LAT_DIM], list[SLOTS * LAT_ROWS];
    uint8_t wire[LAT_DIM * LAT_REPLY_BYTES];
    struct lattice_run run[BUCKETS];
};

static void op(const struct lattice_kernel *k, struct room *r, int which)
{
    switch (which) {
    case 0:
        k->hat_small(&r->t, 3, r->small, r->y);
        break;
    case 1:
        k->hat_word(&r->t, 3, r->a, r->x);
        break;
    case 2:
        k->dot(&r->t, 3, r->x, r->y, r->a);
        break;
    case 3:
        k->dot(&r->t, 2, r->x, r->y, r->a);
        break;
    case 9:
        k->dot_low(&r->t, 2, r->x, r->y, r->a);
        break;
    case 4:
        k->sum_masks(r->win, r->run, BUCKETS, r->list, r->masks);
        break;
    case 5:
        k->sum_words(r->words[0], LAT_STRIDE, r->run, BUCKETS, r->list, r->sums);
        break;
    case 6:
        k->noise(r->random, LAT_DIM, r->a);
        break;
    case 7:
        k->ternary(r->random, LAT_DIM, r->small);
        break;
    case 8:
        k->pack(r->a, LAT_DIM, r->wire);
        break;
    default:
        k->unpack(r->wire, LAT_DIM, r->a);
    }
}

static void kernels(struct ctx *cx)
{
    static const struct {
        const char *name, *unit;
        double per;
    } ops[] = {{"hat_small", "us", 1},
               {"hat_word", "us", 1},
               {"dot3", "us", 1},
               {"dot2", "us", 1},
               {"sum_masks_row_of_2560", "ns", 1e3 * LAT_RANK / (SLOTS * LAT_ROWS)},
               {"sum_words_row", "ns", 1e3 / (SLOTS * LAT_ROWS)},
               {"noise_2560", "us", 1},
               {"ternary_2560", "us", 1},
               {"pack_2560", "us", 1},
               {"dot2_low", "us", 1},
               {"unpack_2560", "us", 1}};
    struct room *r = NEW(cx, struct room, 1);
    double portable[LEN(ops)] = {0};
    must(cx, rand_bytes(cx, r->a, sizeof r->a));
    must(cx, rand_bytes(cx, r->random, sizeof r->random));
    for (uint32_t b = 0; b < BUCKETS; b++)
        r->run[b] = (struct lattice_run){b * SLOTS * LAT_ROWS / BUCKETS, SLOTS * LAT_ROWS / BUCKETS};
    for (size_t i = 0; i < LEN(r->list); i++)
        r->list[i] = lattice_place(i * 7 % SLOTS, i * 37 % LAT_ROWS);
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++) {
        const struct lattice_kernel *k = lattice_kernel_of(level);
        lattice_tables_init(&r->t, k);
        for (int i = 7; i < 8; i++)
            op(k, r, i);
        for (size_t i = 0; i < LEN(ops); i++) {
            double best = 1e9;
            int times = level ? 200 : 20;
            for (int run = 0; run < 10; run++) {
                double t = now();
                for (int n = 0; n < times; n++)
                    op(k, r, (int)i);
                t = (now() - t) * 1e6 / times * ops[i].per;
                if (t < best) best = t;
            }
            if (!level) portable[i] = best;
            figure(ops[i].name, k->name, best, ops[i].unit, level ? portable[i] : 0);
        }
    }
}

/* --- trees --------------------------------------------------------------------------------------- */
/* All rows once, then half of the rows of each level (the smaller children), n_nodes sums in all; the second tree of
 * a job, so that what is made once is made. */
static void tree(struct ctx *cx, const char *name, size_t n_rows, size_t n_features, int n_nodes)
{
    struct he_params p = {HE_LATTICE, 0, n_rows, 2, lattice_sum_bits_max(n_rows, 2)};
    CLEANUP(lattice_guest_freep) struct lattice_guest *g = NULL;
    CLEANUP(lattice_host_freep) struct lattice_host *h = NULL;
    CLEANUP(buf_free) struct buf pub = {0}, batch = {0};
    uint8_t *bin = NEW(cx, uint8_t, n_rows * n_features);
    const uint8_t **bins = NEW(cx, const uint8_t *, n_features);
    uint16_t *n_bins = NEW(cx, uint16_t, n_features);
    int64_t *m = NEW(cx, int64_t, 2 * n_rows);
    uint32_t *rows = NEW(cx, uint32_t, n_rows);
    struct shuffle random = shuffle_new(1);
    char text[64];
    for (size_t i = 0; i < 2 * n_rows; i++)
        m[i] = (int64_t)shuffle_below(&random, 1 << 20) - (1 << 19);
    for (size_t f = 0; f < n_features; f++) {
        bins[f] = bin + f * n_rows;
        n_bins[f] = 31;
        for (size_t i = 0; i < n_rows; i++)
            bin[f * n_rows + i] = (uint8_t)shuffle_below(&random, 32);
    }
    double t = now();
    must(cx, lattice_guest_new(cx, &p, &g));
    must(cx, lattice_guest_public(cx, g, &pub));
    must(cx, lattice_host_open(cx, (struct bytes){pub.p, pub.n}, &h));
    double key = now() - t;
    size_t n_buckets = 31 * n_features, n = 0;
    int64_t *sums = NEW(cx, int64_t, 2 * n_buckets);
    double encrypt = 1e9, load = 1e9, sum = 1e9, root = 1e9, decrypt = 1e9;
    double threads = pool_threads(cx->pool);
    size_t adds = 0, back = 0, down = 0;
    for (int round = 0; round < 5; round++) {
        double sum1 = 0, decrypt1 = 0;
        adds = back = down = 0;
        buf_reset(&batch);
        t = now();
        must(cx, lattice_guest_encrypt(cx, g, m, &batch));
        if (now() - t < encrypt) encrypt = now() - t;
        t = now();
        must(cx, lattice_host_load(cx, h, (struct bytes){batch.p, batch.n}));
        if (now() - t < load) load = now() - t;
        for (int level = 0, left = n_nodes; left > 0; level++)
            for (int node = 0; node < (level ? 1 << (level - 1) : 1) && left > 0; node++, left--) {
                CLEANUP(buf_free) struct buf reply = {0};
                n = 0;
                for (uint32_t i = 0; i < n_rows; i++)
                    if ((i * 2654435761u >> 16) % (1u << level) == (uint32_t)node) rows[n++] = i;
                t = now();
                must(cx, lattice_host_sum(cx, h, bins, n_bins, n_features, level ? rows : NULL, n, &reply));
                t = now() - t;
                sum1 += t;
                if (!level && t < root) root = t;
                t = now();
                must(cx, lattice_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, n_buckets, sums));
                decrypt1 += now() - t;
                adds += n * n_features;
                back += n_buckets;
                down += reply.n;
            }
        if (sum1 < sum) sum = sum1;
        if (decrypt1 < decrypt) decrypt = decrypt1;
    }
    const char *level = cpu_level_name(cpu_level());
#define FIGURE(what, value, unit)                                                                            \
    do {                                                                                                     \
        snprintf(text, sizeof text, "%s_%s", name, what);                                                    \
        figure(text, level, value, unit, 0);                                                                 \
    } while (0)
    FIGURE("key", key * 1e3, "ms");
    FIGURE("tree", (encrypt + load + sum + decrypt) * 1e3, "ms");
    FIGURE("encrypt", encrypt * 1e3, "ms");
    FIGURE("encrypt_row", encrypt * 1e9 * threads / (double)n_rows, "core ns");
    FIGURE("load", load * 1e3, "ms");
    FIGURE("sum", sum * 1e3, "ms");
    FIGURE("sum_root", root * 1e3, "ms");
    FIGURE("sum_addition", sum * 1e9 * threads / (double)adds, "core ns"); /* hiding included */
    FIGURE("decrypt", decrypt * 1e3, "ms");
    FIGURE("decrypt_bucket", decrypt * 1e6 * threads / (double)back, "core us");
    FIGURE("up", (double)batch.n * 1e-6, "MB");
    FIGURE("down", (double)down * 1e-6, "MB");
}

int main(int argc, char **argv)
{
    struct ctx c = {.mem = arena_new(0)}, *cx = &c;
    cx->pool = pool_new(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    kernels(cx);
    tree(cx, "30000x10", 30000, 10, 16);
    tree(cx, "569x20", 569, 20, 4);
    pool_free(cx->pool);
    arena_free(cx->mem);
    return 0;
}
