/* Edges against FATE's quantile summaries; laws of buckets with random columns. */
#include "base/secret.h"
#include "learn/binning.h"
#include "tests/test.h"
#include <math.h>

/* ---- edges as FATE cuts them ---- */

/* FATE 1.11.4's SparseQuantileSummaries in one partition (compress_thres and head_size 10000, error 1e-4), zeros and
 * missing cells left out, total count set, then numpy.unique of query_percentile_rate_list([1/k, 2/k, .., 1.0]).
 * Column: (i * mul % mod - off) / div for i in 0..n; with missing, every fifth from the first is missing. */
static const struct {
    const char *name;
    unsigned n, mul, mod;
    double off, div;
    unsigned max_bins;
    bool missing;
    uint32_t n_edges;
    double edge[12];
} fate[] = {
    {"mixed", 60, 37, 53, 20, 8, 5, false, 5, {-1.375, -0.125, 1.375, 2.75, 4}},
    {"no zeros",
     47,
     29,
     101,
     50.5,
     4,
     8,
     false,
     8,
     {-11.375, -7.875, -4.625, -1.125, 2.375, 5.875, 9.375, 10.625}},
    {"positive", 40, 7, 43, -3, 2, 4, false, 4, {6, 11, 17, 22.5}},
    {"negative", 33, 5, 37, 40, 1, 6, false, 6, {-35, -30, -24, -17, -10, -4}},
    {"many zeros", 80, 3, 7, 3, 1, 10, false, 7, {-3, -2, -1, 0, 1, 2, 3}},
    {"few values", 50, 11, 4, -1, 1, 32, false, 4, {1, 2, 3, 4}},
    {"mostly negative", 90, 1, 90, 85, 1, 4, false, 4, {-63, -41, -18, 4}},
    {"small", 12, 5, 13, 6, 1, 32, false, 11, {-5, -4, -3, -2, -1, 0, 1, 3, 4, 5, 6}},
    {"missing", 64, 23, 67, 30, 2, 7, true, 7, {-10.5, -6, -1.5, 3.5, 8.5, 13, 18}},
};

static void edges_are_fates(struct ctx *cx)
{
    for (size_t k = 0; k < LEN(fate); k++) {
        double *x = NEW(cx, double, fate[k].n);
        struct bin_source s;
        const struct bins *b = NULL;
        for (unsigned i = 0; i < fate[k].n; i++) {
            x[i] = ((double)(i * fate[k].mul % fate[k].mod) - fate[k].off) / fate[k].div;
            if (fate[k].missing && i % 5 == 0) x[i] = (double)NAN;
        }
        struct bin_params p = {fate[k].max_bins, fate[k].missing, false};
        CHECK_OK(cx, bin_source_matrix(cx, x, fate[k].n, 1, 1, fate[k].n, &s));
        CHECK_OK(cx, bins_fit(cx, &s, &p, &b));
        CHECK(bins_splits(b, 0) == fate[k].n_edges);
        bool same = bins_splits(b, 0) == fate[k].n_edges &&
                    memcmp(b->split, fate[k].edge, fate[k].n_edges * sizeof(double)) == 0;
        CHECK(same);
        for (uint32_t i = 0; !same && i < bins_splits(b, 0); i++)
            printf("# %s: %g\n", fate[k].name, b->split[i]);
    }
}

/* ---- random columns ---- */

#define COLS 6

struct world {
    size_t n;
    double *x; /* column-major */
    struct bin_source s;
    struct bin_params p;
    const struct bins *b;
    struct binned to;
};

/* Continuous, few values, mostly zero, constant, with values next to zero, wholly missing at times. */
static double draw(struct shuffle *r, size_t col, double p_missing)
{
    if (shuffle_unit(r) < p_missing) return (double)NAN;
    switch (col) {
    case 0:
        return shuffle_normal(r) * 100;
    case 1:
        return (double)shuffle_below(r, 5) - 2;
    case 2:
        return shuffle_below(r, 10) ? 0 : shuffle_normal(r);
    case 3:
        return 7.5;
    case 4:
        return ((double)shuffle_below(r, 7) - 3) * 0.7e-8;
    default:
        return exp(shuffle_normal(r) * 20);
    }
}

static void fill(struct ctx *cx, struct shuffle *r, size_t n, struct world *w)
{
    double p_missing = shuffle_below(r, 2) ? 0 : shuffle_unit(r);
    if (shuffle_below(r, 8) == 0 && p_missing > 0) p_missing = 1;
    *w = (struct world){.n = n, .x = NEW(cx, double, n *COLS)};
    for (size_t i = 0; i < n * COLS; i++)
        w->x[i] = draw(r, i / n, p_missing);
    w->p = (struct bin_params){2 + (unsigned)shuffle_below(r, BINS_MAX - 1), true, shuffle_below(r, 2)};
    if (shuffle_below(r, 2)) w->p.max_bins = 2 + (unsigned)shuffle_below(r, 10);
    CHECK_OK(cx, bin_source_matrix(cx, w->x, n, COLS, 1, n, &w->s));
}

static void cut(struct ctx *cx, struct world *w)
{
    CHECK_OK(cx, bins_fit(cx, &w->s, &w->p, &w->b));
    CHECK_OK(cx, bins_apply(cx, w->b, &w->s, &w->to));
}

static bool is_zero(double x)
{
    return fabs(x) < 1e-8;
}

static uint32_t bucket_ref(const struct world *w, size_t f, double x)
{
    const double *e = w->b->split + w->b->split_at[f];
    uint32_t n = bins_splits(w->b, f), b = 0;
    if (isnan(x) || (is_zero(x) && w->p.zero_as_missing)) return n;
    while (b + 1 < n && (is_zero(x) ? 0 : x) > e[b])
        b++;
    return b;
}

static void check_edges(const struct world *w, size_t f)
{
    const double *e = w->b->split + w->b->split_at[f], *x = w->x + f * w->n;
    uint32_t n = bins_splits(w->b, f);
    double top = 0;
    bool any = false;
    for (size_t i = 0; i < w->n; i++) {
        if (isnan(x[i])) continue;
        double v = is_zero(x[i]) ? 0 : x[i];
        top = any && top > v ? top : v;
        any = true;
    }
    CHECK(n >= 1 && n <= w->p.max_bins && bins_buckets(w->b, f) == n + 1);
    CHECK(e[n - 1] == top);            /* 0 when wholly missing */
    for (uint32_t k = 0; k < n; k++) { /* ascending, and each a value that occurs */
        bool seen = !any;
        CHECK(k == 0 || e[k] > e[k - 1]);
        for (size_t i = 0; i < w->n && !seen; i++)
            seen = !isnan(x[i]) && (is_zero(x[i]) ? 0 : x[i]) == e[k];
        CHECK(seen);
    }
}

static void laws_of_buckets(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    for (int run = 0; run < 150; run++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct world w;
        fill(cx, &r, 1 + shuffle_below(&r, 700), &w);
        cut(cx, &w);
        size_t bad = 0;
        for (size_t f = 0; f < COLS; f++) {
            check_edges(&w, f);
            for (size_t i = 0; i < w.n; i++) {
                double x = w.x[f * w.n + i];
                bad += w.to.col[f][i] != bucket_ref(&w, f, x) || bins_find(w.b, f, x) != w.to.col[f][i];
            }
            double above = fmax(w.b->split[w.b->split_at[f + 1] - 1], 0) * 2 + 1;
            CHECK(bins_find(w.b, f, above) == bins_splits(w.b, f) - 1);
        }
        CHECK(bad == 0);
        CHECK(bins_total(w.b) == w.b->split_at[COLS] + COLS);
        arena_rewind(cx->mem, mark);
    }
}

/* Quantiles: with distinct values, bins hold the same number of rows, but for the two at the ends of FATE's ranks. */
static void bins_are_even(struct ctx *cx)
{
    enum { N = 10000, BINS = 32 };
    struct shuffle r = shuffle_new(test_seed());
    struct world w = {.n = N, .x = NEW(cx, double, N), .p = {BINS, false, false}};
    for (size_t i = 0; i < N; i++)
        w.x[i] = shuffle_normal(&r);
    CHECK_OK(cx, bin_source_matrix(cx, w.x, N, 1, 1, N, &w.s));
    cut(cx, &w);
    size_t count[BINS] = {0};
    CHECK(bins_splits(w.b, 0) == BINS && bins_buckets(w.b, 0) == BINS);
    for (size_t i = 0; i < N; i++)
        count[w.to.col[0][i]]++;
    for (size_t b = 0; b < BINS; b++)
        CHECK(count[b] >= N / BINS - 1 && count[b] <= N / BINS + 2);
}

static bool same_bins(const struct bins *a, const struct bins *b)
{
    size_t n = a->n_features;
    return n == b->n_features && memcmp(a->split_at, b->split_at, (n + 1) * sizeof *a->split_at) == 0 &&
           memcmp(a->bucket_at, b->bucket_at, (n + 1) * sizeof *a->bucket_at) == 0 &&
           memcmp(a->split, b->split, a->split_at[n] * sizeof *a->split) == 0;
}

/* The same bytes for any number of threads and any order of rows; edges given again are the same bins. */
static void one_result(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    struct pool *pool = cx->pool;
    for (int run = 0; run < 10; run++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct world w, v;
        const struct bins *again = NULL;
        fill(cx, &r, run < 2 ? 20000 : 1 + shuffle_below(&r, 3000), &w);
        cx->pool = NULL;
        cut(cx, &w);
        CLEANUP(pool_freep) struct pool *four = pool_new(4);
        cx->pool = run % 2 ? pool : four;
        v = w;
        v.x = NEW(cx, double, w.n *COLS);
        memcpy(v.x, w.x, w.n * COLS * sizeof *v.x);
        CHECK_OK(cx, bin_source_matrix(cx, v.x, w.n, COLS, 1, w.n, &v.s));
        cut(cx, &v);
        CHECK(same_bins(w.b, v.b));
        for (size_t f = 0; f < COLS; f++)
            CHECK(memcmp(w.to.col[f], v.to.col[f], w.n) == 0);
        for (size_t f = 0; f < COLS; f++) /* rows mixed within each column */
            for (size_t i = w.n - 1; i > 0; i--) {
                size_t k = shuffle_below(&r, i + 1);
                double t = v.x[f * w.n + i];
                v.x[f * w.n + i] = v.x[f * w.n + k];
                v.x[f * w.n + k] = t;
            }
        cut(cx, &v);
        CHECK(same_bins(w.b, v.b));
        CHECK_OK(cx, bins_make(cx, COLS, w.b->split_at, w.b->split, true, w.p.zero_as_missing, &again));
        CHECK(same_bins(w.b, again) && again->zero_as_missing == w.b->zero_as_missing);
        cx->pool = pool;
        arena_rewind(cx->mem, mark);
    }
}

/* ---- tables ---- */

/* Columns of a table in memory: physical rows 0 to 4, the logical rows are 3, 1, 0. */
static const double x_f64[] = {1.5, 2.5, 3.5, 4.5, 5.5};
static const int64_t x_i64[] = {10, 20, 30, 40, 50};

static struct table table_of(const struct column *cols, size_t n)
{
    static const uint32_t rows[] = {3, 1, 0};
    return (struct table){.n_rows = 3, .n_physical = 5, .rows = rows, .n_cols = n, .cols = cols};
}

static void columns_of_tables(struct ctx *cx)
{
    const struct column cols[] = {
        {.name = "y", .type = COL_I64, .kind = KIND_LABEL, .data = x_i64},
        {.name = "a", .type = COL_F64, .kind = KIND_FEATURE, .data = x_f64},
        {.name = "m", .type = COL_STR, .kind = KIND_MATCH_ID},
        {.name = "b", .type = COL_I64, .kind = KIND_FEATURE, .data = x_i64},
    };
    struct table t = table_of(cols, LEN(cols));
    struct bin_source s;
    double out[3];
    CHECK_OK(cx, bin_source_table(cx, &t, &s));
    CHECK(s.n_rows == 3 && s.n_features == 2 && strcmp(s.names[0], "a") == 0 && strcmp(s.names[1], "b") == 0);
    CHECK_OK(cx, s.read(cx, s.src, 0, 0, 3, out));
    CHECK(out[0] == 4.5 && out[1] == 2.5 && out[2] == 1.5);
    CHECK_OK(cx, s.read(cx, s.src, 1, 1, 3, out));
    CHECK(out[0] == 20 && out[1] == 10);
}

/* ---- what is refused ---- */

static void refuses(struct ctx *cx)
{
    const double x[] = {1, (double)NAN, 3, (double)NAN, 5, 6};
    const char *const names[] = {"age", "income"};
    struct bin_source s, one;
    const struct bins *b = (const struct bins *)x, *good = NULL;
    struct binned to = {.n_rows = 99};
    CHECK_OK(cx,
             bin_source_matrix(cx, x, 3, 2, 2, 1, &s)); /* rows of two columns; the second lacks two cells */
    s.names = names;
    CHECK_ERR(bins_fit(cx, &s, &(struct bin_params){1, true, false}, &b), ARG);
    CHECK_ERR(bins_fit(cx, &s, &(struct bin_params){BINS_MAX + 1, true, false}, &b), ARG);
    CHECK(strstr(cx->err.msg, "256") && strstr(cx->err.msg, "255"));
    CHECK_ERR(bins_fit(cx, &s, &(struct bin_params){8, false, false}, &b), ARG);
    CHECK(strstr(cx->err.msg, "income") && strstr(cx->err.msg, "2 missing cells of 3"));
    s.n_rows = 0;
    CHECK_ERR(bins_fit(cx, &s, &(struct bin_params){8, true, false}, &b), ARG);
    CHECK(b == (const struct bins *)x);
    s.n_rows = 3;
    CHECK_OK(cx, bins_fit(cx, &s, &(struct bin_params){8, true, false}, &good));
    CHECK_OK(cx, bin_source_matrix(cx, x, 3, 1, 2, 1, &one));
    CHECK_ERR(bins_apply(cx, good, &one, &to), ARG);
    CHECK(strstr(cx->err.msg, "1 feature columns, want 2"));
    CHECK_OK(cx, bins_make(cx, 2, good->split_at, good->split, false, false, &good));
    CHECK_ERR(bins_apply(cx, good, &s, &to), ARG);
    CHECK(strstr(cx->err.msg, "income") && to.n_rows == 99);
    CHECK(bins_find(good, 0, (double)NAN) == bins_splits(good, 0) - 1); /* without use_missing: the last */
    const struct column text = {.name = "city", .type = COL_STR, .kind = KIND_FEATURE};
    struct table t = table_of(&text, 1);
    CHECK_ERR(bin_source_table(cx, &t, &one), ARG);
    CHECK(strstr(cx->err.msg, "city"));
}

static void refuses_edges(struct ctx *cx)
{
    const struct bins *b = NULL;
    static const double equal[] = {1, 2, 2}, back[] = {1, 2, 1}, nan[] = {1, 2, (double)NAN};
    static const uint32_t at[] = {0, 3}, none[] = {0, 0, 3}, falling[] = {0, 3, 2};
    double many[BINS_MAX + 1];
    for (int i = 0; i <= BINS_MAX; i++)
        many[i] = i;
    CHECK_ERR(bins_make(cx, 1, at, equal, true, false, &b), FORMAT);
    CHECK_ERR(bins_make(cx, 1, at, back, true, false, &b), FORMAT);
    CHECK_ERR(bins_make(cx, 1, at, nan, true, false, &b), FORMAT);
    CHECK_ERR(bins_make(cx, 2, none, equal, true, false, &b), FORMAT);
    CHECK_ERR(bins_make(cx, 2, falling, many, true, false, &b), FORMAT);
    CHECK_ERR(bins_make(cx, 1, (const uint32_t[]){0, BINS_MAX + 1}, many, true, false, &b), FORMAT);
    CHECK(b == NULL);
    CHECK_OK(cx, bins_make(cx, 1, (const uint32_t[]){0, BINS_MAX}, many, true, false, &b));
    CHECK(bins_find(b, 0, (double)NAN) == 255 && bins_find(b, 0, 254) == 254 &&
          bins_find(b, 0, 1e300) == 254);
}

TEST_MAIN(T(edges_are_fates), T(laws_of_buckets), T(bins_are_even), T(one_result), T(columns_of_tables),
          T(refuses), T(refuses_edges))
