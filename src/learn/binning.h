/* binning.h - quantile bins of numeric columns, as SecureBoost cuts them (FATE 1.11: QuantileBinning on rows that were
 * made sparse first, so zeros form a block of their own among the sorted values).
 *
 * A feature has n_splits upper edges, ascending and different from each other, at most max_bins of them; the last is the
 * largest value seen. Bin of a value: the first b with value <= split[b]; a value above all edges falls in the last bin.
 * "Go left at (feature, b)" means value <= split[b]. With use_missing each feature has one more bucket, index n_splits,
 * for missing cells (and for zeros when zero_as_missing). A bucket index always fits uint8_t.
 *
 * Zero means |value| < 1e-8, as in FATE. Edges are exact quantiles (FATE's sketch is exact too below 1/error rows and
 * within error * n_rows ranks above); they depend on the multiset of values only, not on row order or thread count. */
#pragma once
#include "base/ctx.h"
#include "table/table.h"

#define BINS_MAX     255
#define BIN_ZERO_EPS 1e-8

struct bin_params {
    unsigned max_bins;    /* 2..BINS_MAX; FATE's bin_num */
    bool use_missing;     /* false: a missing cell is refused */
    bool zero_as_missing; /* only with use_missing */
};

struct bins {
    size_t n_features;
    bool use_missing, zero_as_missing;
    const uint32_t
        *split_at; /* n_features + 1: feature f's edges are split[split_at[f] .. split_at[f + 1]) */
    const double *split;
    const uint32_t
        *bucket_at; /* n_features + 1: f's buckets in a node's flat histogram, the missing one last */
};
static inline uint32_t bins_splits(const struct bins *b, size_t f)
{
    return b->split_at[f + 1] - b->split_at[f];
}
static inline uint32_t bins_buckets(const struct bins *b, size_t f)
{
    return b->bucket_at[f + 1] - b->bucket_at[f];
}
static inline size_t bins_total(const struct bins *b)
{
    return b->bucket_at[b->n_features];
}

/* A matrix of bucket indices, column by column. */
struct binned {
    size_t n_rows;
    const struct bins *bins;
    const uint8_t *const *col; /* n_features columns of n_rows, 64-byte aligned */
};

/* Where the numbers come from: rows [begin, end) of feature f as doubles, NaN = missing. Called from pool threads. */
typedef status (*bin_read_fn)(struct ctx *cx, const void *src, size_t f, size_t begin, size_t end,
                              double *out);
struct bin_source {
    size_t n_rows, n_features;
    bin_read_fn read;
    const void *src;
    const char *const *names; /* for messages; may be NULL */
};
/* The KIND_FEATURE columns of t, in order (of its logical rows). ARG for a text column, naming it. */
status bin_source_table(struct ctx *cx, const struct table *t, struct bin_source *out);
/* A row-major or column-major matrix in memory: value (i, f) at x[i * row_stride + f * col_stride]. */
status bin_source_matrix(struct ctx *cx, const double *x, size_t n_rows, size_t n_features, size_t row_stride,
                         size_t col_stride, struct bin_source *out);

/* Edges of every feature. ARG: bound of max_bins; no rows; or missing cells without use_missing, naming the column and
 * how many. A feature that is wholly missing has one edge, 0. Memory beside the result: one column per thread. */
status bins_fit(struct ctx *cx, const struct bin_source *s, const struct bin_params *p,
                const struct bins **out);
/* Given edges (of a loaded model): split_at and split as in struct bins, copied. FORMAT when they are not ascending. */
status bins_make(struct ctx *cx, size_t n_features, const uint32_t *split_at, const double *split,
                 bool use_missing, bool zero_as_missing, const struct bins **out);
/* Bucket indices under b. ARG when the number of features differs, or as in bins_fit for missing cells. */
status bins_apply(struct ctx *cx, const struct bins *b, const struct bin_source *s, struct binned *out);
/* Bucket of one value of feature f (NaN = missing; without use_missing it falls in the last bucket). */
uint8_t bins_find(const struct bins *b, size_t f, double value);
