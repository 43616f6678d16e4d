/* binning.c - edges from sorted columns, bucket indices by binary search. */
#include "learn/binning.h"
#include "base/arena.h"
#include "base/pool.h"
#include "learn/sort.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define APPLY_ROWS 8192 /* of a chunk of bins_apply */

/* ---- sources ---- */

struct table_source {
    const struct table *t;
    const struct column **col;
};

static status table_source_read(struct ctx *cx, const void *src, size_t f, size_t begin, size_t end,
                                double *out)
{
    const struct table_source *s = src;
    return table_read_f64(cx, s->t, s->col[f], begin, end, out);
}

status bin_source_table(struct ctx *cx, const struct table *t, struct bin_source *out)
{
    struct table_source *s = NEW(cx, struct table_source, 1);
    const struct column **col = NEW(cx, const struct column *, t->n_cols + 1);
    const char **names = NEW(cx, const char *, t->n_cols + 1);
    if (!s || !col || !names) return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
    size_t n = 0;
    for (size_t j = 0; j < t->n_cols; j++) {
        const struct column *c = &t->cols[j];
        if (c->kind != KIND_FEATURE) continue;
        if (c->type == COL_STR)
            return FAIL(cx, ARG, "column %s holds text, a feature must be a number", c->name);
        names[n] = c->name;
        col[n++] = c;
    }
    *s = (struct table_source){.t = t, .col = col};
    *out = (struct bin_source){
        .n_rows = t->n_rows, .n_features = n, .read = table_source_read, .src = s, .names = names};
    return OK;
}

struct matrix_source {
    const double *x;
    size_t row_stride, col_stride;
};

static status matrix_source_read(struct ctx *cx, const void *src, size_t f, size_t begin, size_t end,
                                 double *out)
{
    (void)cx;
    const struct matrix_source *s = src;
    for (size_t i = begin; i < end; i++)
        out[i - begin] = s->x[i * s->row_stride + f * s->col_stride];
    return OK;
}

status bin_source_matrix(struct ctx *cx, const double *x, size_t n_rows, size_t n_features, size_t row_stride,
                         size_t col_stride, struct bin_source *out)
{
    struct matrix_source *s = NEW(cx, struct matrix_source, 1);
    if (!s) return FAIL(cx, NOMEM, "a matrix source");
    *s = (struct matrix_source){.x = x, .row_stride = row_stride, .col_stride = col_stride};
    *out =
        (struct bin_source){.n_rows = n_rows, .n_features = n_features, .read = matrix_source_read, .src = s};
    return OK;
}

static const char *feature_name(const struct bin_source *s, size_t f, char *buf, size_t n)
{
    if (s->names) return s->names[f];
    snprintf(buf, n, "%zu", f);
    return buf;
}

/* ---- edges ---- */

/* The value at quantile q of v[0..n) ascending (n > 0, no zeros in it). FATE's summary skips its first sample when it
 * counts ranks, so rank 1 answers the second value: kept, for the edges must be the same. */
static double quantile_nonzero(const uint64_t *v, size_t n, double q)
{
    const double error = 1e-4;
    if (q <= error) return sort_value(v[0]);
    if (q >= 1 - error) return sort_value(v[n - 1]);
    double rank = ceil(q * (double)n);
    size_t i = rank < 2 ? 1 : (size_t)rank - 1;
    return sort_value(v[i < n ? i : n - 1]);
}

/* FATE's rule for rows kept sparse: a quantile that falls within the block of zeros is 0, others are rescaled to the
 * quantiles of the non-zero values. v: the non-zero values ascending. */
static size_t edges_of(const uint64_t *v, size_t n_nonzero, size_t n_negative, size_t n_zero,
                       unsigned max_bins, double *out)
{
    size_t n_present = n_nonzero + n_zero;
    if (n_nonzero == 0) {
        out[0] = 0;
        return 1;
    }
    double present = (double)n_present, step = 1.0 / max_bins;
    double lower = (double)n_negative / present;
    double upper = n_negative < n_nonzero ? (double)(n_negative + n_zero) / present : present;
    size_t n = 0;
    for (unsigned i = 1; i <= max_bins; i++) {
        double q = i < max_bins ? i * step : 1.0, x;
        if (lower < q && q < upper) {
            x = 0;
        } else {
            if (n_zero > 0)
                q = q <= lower ? present / (double)n_nonzero * q : (q - upper + lower) / (1 - upper + lower);
            x = quantile_nonzero(v, n_nonzero, q);
        }
        /* The quirk of rank 1 and rescaling may step back: insert in order, without repeats. */
        size_t at = n;
        while (at > 0 && out[at - 1] > x)
            at--;
        if (at > 0 && out[at - 1] == x) continue;
        memmove(out + at + 1, out + at, (n - at) * sizeof *out);
        out[at] = x;
        n++;
    }
    return n;
}

struct fit_job {
    const struct bin_source *s;
    const struct bin_params *p;
    double *edge;     /* n_features x max_bins */
    uint32_t *n_edge; /* n_features */
    size_t *n_missing;
};

static status fit_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct fit_job *j = arg;
    size_t n = j->s->n_rows;
    double *x = NEW(cx, double, n);
    uint64_t *a = NEW(cx, uint64_t, n), *b = NEW(cx, uint64_t, n);
    if (!x || !a || !b) return FAIL(cx, NOMEM, "sorting %zu values", n);
    for (size_t f = begin; f < end; f++) {
        TRY(ctx_check(cx));
        TRY(j->s->read(cx, j->s->src, f, 0, n, x));
        size_t n_nonzero = 0, n_negative = 0, n_missing = 0;
        for (size_t i = 0; i < n; i++) {
            if (isnan(x[i])) {
                n_missing++;
            } else if (fabs(x[i]) >= BIN_ZERO_EPS) {
                n_negative += x[i] < 0;
                a[n_nonzero++] = sort_key(x[i]);
            }
        }
        j->n_missing[f] = n_missing;
        const uint64_t *v = sort_keys(a, b, n_nonzero);
        j->n_edge[f] = (uint32_t)edges_of(v, n_nonzero, n_negative, n - n_missing - n_nonzero, j->p->max_bins,
                                          j->edge + f * j->p->max_bins);
    }
    return OK;
}

static status refuse_missing(struct ctx *cx, const struct bin_source *s, const size_t *n_missing)
{
    char buf[32];
    for (size_t f = 0; f < s->n_features; f++)
        if (n_missing[f])
            return FAIL(cx, ARG, "column %s has %zu missing cells of %zu, but use_missing is false",
                        feature_name(s, f, buf, sizeof buf), n_missing[f], s->n_rows);
    return OK;
}

status bins_make(struct ctx *cx, size_t n_features, const uint32_t *split_at, const double *split,
                 bool use_missing, bool zero_as_missing, const struct bins **out)
{
    uint32_t total = split_at[n_features];
    struct bins *b = NEW(cx, struct bins, 1);
    uint32_t *at = NEW(cx, uint32_t, n_features + 1), *bucket = NEW(cx, uint32_t, n_features + 1);
    double *edge = NEW(cx, double, (size_t)total + 1);
    if (!b || !at || !bucket || !edge) return FAIL(cx, NOMEM, "%u bin edges", total);
    for (size_t f = 0; f < n_features; f++) {
        uint32_t n = split_at[f + 1] - split_at[f];
        if (split_at[f + 1] < split_at[f] || n == 0 || n > BINS_MAX)
            return FAIL(cx, FORMAT, "feature %zu has %u bin edges, want 1 to %d", f, n, BINS_MAX);
        for (uint32_t i = split_at[f]; i < split_at[f + 1]; i++)
            if (isnan(split[i]) || (i > split_at[f] && !(split[i] > split[i - 1])))
                return FAIL(cx, FORMAT, "feature %zu: bin edge %u is not above the one before", f,
                            i - split_at[f]);
        bucket[f + 1] = bucket[f] + n + use_missing;
    }
    memcpy(at, split_at, (n_features + 1) * sizeof *at);
    memcpy(edge, split, total * sizeof *edge);
    *b = (struct bins){.n_features = n_features,
                       .use_missing = use_missing,
                       .zero_as_missing = use_missing && zero_as_missing,
                       .split_at = at,
                       .split = edge,
                       .bucket_at = bucket};
    *out = b;
    return OK;
}

status bins_fit(struct ctx *cx, const struct bin_source *s, const struct bin_params *p,
                const struct bins **out)
{
    if (p->max_bins < 2 || p->max_bins > BINS_MAX)
        return FAIL(cx, ARG, "bin_num is %u, want 2 to %d", p->max_bins, BINS_MAX);
    if (s->n_rows == 0) return FAIL(cx, ARG, "no rows to cut into bins");
    if (s->n_rows > UINT32_MAX) return FAIL(cx, LIMIT, "%zu rows, at most %u", s->n_rows, UINT32_MAX);
    size_t nf = s->n_features;
    struct fit_job j = {.s = s, .p = p};
    j.edge = NEW(cx, double, nf * p->max_bins + 1);
    j.n_edge = NEW(cx, uint32_t, nf + 1);
    j.n_missing = NEW(cx, size_t, nf + 1);
    uint32_t *at = NEW(cx, uint32_t, nf + 1);
    if (!j.edge || !j.n_edge || !j.n_missing || !at) return FAIL(cx, NOMEM, "bins of %zu features", nf);
    TRY(pool_for(cx, nf, 1, fit_chunk, &j));
    if (!p->use_missing) TRY(refuse_missing(cx, s, j.n_missing));
    for (size_t f = 0; f < nf; f++) {
        at[f + 1] = at[f] + j.n_edge[f];
        memmove(j.edge + at[f], j.edge + f * p->max_bins, j.n_edge[f] * sizeof *j.edge);
    }
    return bins_make(cx, nf, at, j.edge, p->use_missing, p->zero_as_missing, out);
}

/* ---- bucket indices ---- */

/* The inner edges of a feature (all but the last), filled up with infinity to 2^steps - 1 of them: then the number of edges
 * below a value takes `steps` comparisons, whatever the value, and no branch. */
struct ladder {
    double edge[BINS_MAX];
    unsigned n, steps; /* bins */
};

static void ladder_make(const struct bins *b, size_t f, struct ladder *out)
{
    const double *edge = b->split + b->split_at[f];
    out->n = bins_splits(b, f), out->steps = 0;
    while ((1u << out->steps) < out->n)
        out->steps++;
    for (unsigned i = 0; i + 1 < (1u << out->steps); i++)
        out->edge[i] = i + 1 < out->n ? edge[i] : (double)INFINITY;
}

/* The bucket of a value that is found at bin `at`. */
static inline uint8_t bucket_at(const struct bins *b, const struct ladder *l, double x, unsigned at)
{
    bool missing = isnan(x) || (b->zero_as_missing && fabs(x) < BIN_ZERO_EPS);
    return (uint8_t)(missing ? l->n - !b->use_missing : at);
}

#define TILE 16 /* values searched side by side: one search is a chain of waits, many overlap */

/* at[i]: the first b with x[i] <= edge[b], or the last bin. */
static inline void find_tile(const struct ladder *l, const double *x, unsigned *at)
{
    double v[TILE];
    for (size_t i = 0; i < TILE; i++)
        v[i] = fabs(x[i]) < BIN_ZERO_EPS ? 0 : x[i], at[i] = 0;
    for (unsigned half = (1u << l->steps) / 2; half > 0; half /= 2)
        for (size_t i = 0; i < TILE; i++)
            at[i] += half * (l->edge[at[i] + half - 1] < v[i]);
}

/* x: room for TILE values more than n. Returns how many are missing. */
static size_t find_buckets(const struct bins *b, const struct ladder *l, const double *x, size_t n,
                           uint8_t *out)
{
    size_t n_missing = 0;
    for (size_t begin = 0; begin < n; begin += TILE) {
        unsigned at[TILE];
        find_tile(l, x + begin, at);
        for (size_t i = begin; i < n && i < begin + TILE; i++) {
            n_missing += isnan(x[i]) != 0;
            out[i] = bucket_at(b, l, x[i], at[i - begin]);
        }
    }
    return n_missing;
}

uint8_t bins_find(const struct bins *b, size_t f, double value)
{
    struct ladder l;
    double x[1 + TILE] = {value};
    uint8_t out;
    ladder_make(b, f, &l);
    find_buckets(b, &l, x, 1, &out);
    return out;
}

struct apply_job {
    const struct bins *b;
    const struct bin_source *s;
    uint8_t **col;
    size_t per_feature; /* chunks of a feature */
    size_t *n_missing;  /* per feature and chunk */
};

static status apply_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct apply_job *j = arg;
    double *x = NEW(cx, double, APPLY_ROWS + TILE);
    if (!x) return FAIL(cx, NOMEM, "%d rows", APPLY_ROWS);
    for (size_t k = begin; k < end; k++) {
        TRY(ctx_check(cx));
        size_t f = k / j->per_feature, from = k % j->per_feature * APPLY_ROWS;
        size_t to = from + APPLY_ROWS < j->s->n_rows ? from + APPLY_ROWS : j->s->n_rows;
        TRY(j->s->read(cx, j->s->src, f, from, to, x));
        struct ladder l;
        ladder_make(j->b, f, &l);
        j->n_missing[k] = find_buckets(j->b, &l, x, to - from, j->col[f] + from);
    }
    return OK;
}

status bins_apply(struct ctx *cx, const struct bins *b, const struct bin_source *s, struct binned *out)
{
    size_t nf = b->n_features, n = s->n_rows;
    if (s->n_features != nf) return FAIL(cx, ARG, "%zu feature columns, want %zu", s->n_features, nf);
    struct apply_job j = {.b = b, .s = s, .per_feature = pool_chunks(n, APPLY_ROWS)};
    size_t n_tasks = nf * j.per_feature;
    j.col = NEW(cx, uint8_t *, nf + 1);
    j.n_missing = NEW(cx, size_t, n_tasks + nf + 1);
    if (!j.col || !j.n_missing) return FAIL(cx, NOMEM, "%zu binned columns", nf);
    for (size_t f = 0; f < nf; f++) {
        j.col[f] = arena_alloc(cx->mem, n ? n : 1, 64);
        if (!j.col[f]) return FAIL(cx, NOMEM, "%zu binned columns of %zu rows", nf, n);
    }
    TRY(pool_for(cx, n_tasks, 1, apply_chunk, &j));
    if (!b->use_missing) {
        size_t *sum = j.n_missing + n_tasks;
        for (size_t k = 0; k < n_tasks; k++)
            sum[k / j.per_feature] += j.n_missing[k];
        TRY(refuse_missing(cx, s, sum));
    }
    *out = (struct binned){.n_rows = n, .bins = b, .col = (const uint8_t *const *)j.col};
    return OK;
}
