/* Boosted trees: sums per bucket against the plain loop, edges, buckets, whole trees, scores, on columns of default
 * credit's shape (30,000 x 23, 32 bins, depth 5). Arguments: rows (30000), columns (23), threads (0 = all). */
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include "learn/gbdt_int.h"
#include "learn/metrics.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS   10
#define ROUNDS 10

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(struct ctx *cx, status st)
{
    if (!st.code) return;
    fprintf(stderr, "bench_gbdt: %s\n", cx->err.msg);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct timing {
    double median, low, high;
};
static struct timing summary(double *t)
{
    qsort(t, RUNS, sizeof *t, by_value);
    return (struct timing){(t[RUNS / 2 - 1] + t[RUNS / 2]) / 2, t[0], t[RUNS - 1]};
}

static size_t n_rows = 30000, n_cols = 23;
static unsigned n_threads;
/* seconds times unit_per_s; peer: the same, of the reference, or NULL */
static void figure(const char *name, const char *unit, double unit_per_s, double *t, double *peer)
{
    struct timing x = summary(t);
    printf("{\"bench\":\"kernels\",\"figure\":\"gbdt_%s\",\"value\":%.4g,\"low\":%.4g,\"high\":%.4g,\"unit\":"
           "\"%s\","
           "\"rows\":%zu,\"columns\":%zu,\"threads\":%u",
           name, x.median * unit_per_s, x.low * unit_per_s, x.high * unit_per_s, unit, n_rows, n_cols,
           n_threads);
    if (peer) {
        struct timing p = summary(peer);
        printf(",\"peer\":\"reference\",\"peer_value\":%.4g,\"ratio\":%.3g", p.median * unit_per_s,
               p.median / x.median);
    }
    printf("}\n");
    fflush(stdout);
}

struct world {
    double *x, *y;
    struct bin_source s;
    const struct bins *b;
    struct binned to;
};

/* A third of the columns have few values; the label follows five of them. */
static void make(struct ctx *cx, struct world *w)
{
    struct shuffle r = shuffle_new(1);
    w->x = NEW(cx, double, n_rows *n_cols), w->y = NEW(cx, double, n_rows);
    if (!w->x || !w->y) must(cx, FAIL(cx, NOMEM, "%zu cells", n_rows * n_cols));
    for (size_t i = 0; i < n_rows * n_cols; i++)
        w->x[i] = i / n_rows % 3 == 2 ? (double)shuffle_below(&r, 8) : shuffle_normal(&r);
    for (size_t i = 0; i < n_rows; i++) {
        double z = shuffle_normal(&r) * 2;
        for (size_t f = 0; f < 5 && f < n_cols; f++)
            z += w->x[f * n_rows + i] * (f == 2 ? 0.3 : 1);
        w->y[i] = z > 1;
    }
    must(cx, bin_source_matrix(cx, w->x, n_rows, n_cols, 1, n_rows, &w->s));
}

static void bench_bins(struct ctx *cx, struct world *w)
{
    double fit[RUNS], apply[RUNS];
    struct bin_params p = {32, false, false};
    for (int run = -2; run < RUNS; run++) {
        double t0 = now();
        must(cx, bins_fit(cx, &w->s, &p, &w->b));
        double t1 = now();
        must(cx, bins_apply(cx, w->b, &w->s, &w->to));
        if (run >= 0) fit[run] = t1 - t0, apply[run] = now() - t1;
    }
    double per_cell = 1e9 / (double)(n_rows * n_cols);
    figure("edges", "ns per cell", per_cell, fit, NULL);
    figure("buckets", "ns per cell", per_cell, apply, NULL);
}

/* All rows, and every fourth as in a node further down. */
static void bench_hist(struct ctx *cx, struct world *w, size_t step, const char *name)
{
    size_t total = bins_total(w->b);
    struct gh *gh = NEW(cx, struct gh, n_rows), *hist = NEW(cx, struct gh, total);
    uint32_t *rows = NEW(cx, uint32_t, n_rows), *count = NEW(cx, uint32_t, total);
    struct shuffle r = shuffle_new(2);
    struct hist_task t = {rows, 0, hist, count};
    struct panels p;
    double fast[RUNS], plain[RUNS];
    for (size_t i = 0; i < n_rows; i++)
        gh[i] =
            (struct gh){(int64_t)shuffle_below(&r, 1 << 24) - (1 << 23), (int64_t)shuffle_below(&r, 1 << 22)};
    for (size_t i = 0; i < n_rows; i += 1 + (step > 1 ? shuffle_below(&r, 2 * step - 1) : 0))
        rows[t.n++] = (uint32_t)i;
    must(cx, panels_make(cx, cx->mem, &w->to, NULL, &p));
    for (int run = -2; run < RUNS; run++) {
        double t0 = now();
        must(cx, hist_build(cx, &p, gh, &t, 1));
        double t1 = now();
        hist_build_ref(&w->to, NULL, gh, &t);
        if (run >= 0) fast[run] = t1 - t0, plain[run] = now() - t1;
    }
    figure(name, "ns per cell", 1e9 / (double)(t.n * n_cols), fast, plain);
}

static void bench_train(struct ctx *cx, struct world *w)
{
    struct gbdt_params p = {
        .tree = {.max_depth = 5, .l2 = 0.1, .min_impurity_split = 0.001, .min_sample_split = 2},
        .learning_rate = 0.3,
        .n_rounds = ROUNDS,
        .subsample_feature_rate = 1};
    struct gbdt_data d = {.n = n_rows, .x = &w->to, .y = w->y};
    const struct ensemble *e = NULL;
    double train[RUNS], score[RUNS], *s = NEW(cx, double, n_rows), auc = 0;
    struct binary_rank r;
    must(cx, gbdt_objective_make(cx, "cross_entropy", NULL, 0, 2, &p.objective));
    for (int run = -2; run < RUNS; run++) {
        double t0 = now();
        must(cx, gbdt_train(cx, &p, &d, NULL, NULL, &e));
        double t1 = now();
        must(cx, ensemble_score(cx, e, &w->s, false, 0, s));
        if (run >= 0) train[run] = t1 - t0, score[run] = now() - t1;
    }
    figure("train", "ms per tree", 1e3 / ROUNDS, train, NULL);
    figure("score", "ns per row and tree", 1e9 / (double)(n_rows * ROUNDS), score, NULL);
    must(cx, binary_rank(cx, w->y, s, n_rows, &r));
    must(cx, metric_auc(cx, &r, &auc));
    printf("{\"bench\":\"kernels\",\"figure\":\"gbdt_auc\",\"value\":%.6f,\"unit\":\"\"}\n", auc);
}

int main(int argc, char **argv)
{
    struct ctx c = {.mem = arena_new(0)}, *cx = &c;
    struct world w;
    if (argc > 1) n_rows = strtoull(argv[1], NULL, 10);
    if (argc > 2) n_cols = strtoull(argv[2], NULL, 10);
    cx->pool = pool_new(argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0);
    n_threads = pool_threads(cx->pool);
    make(cx, &w);
    bench_bins(cx, &w);
    bench_hist(cx, &w, 1, "hist");
    bench_hist(cx, &w, 4, "hist_node");
    bench_train(cx, &w);
    pool_free(cx->pool);
    arena_free(cx->mem);
    return 0;
}
