/* gbdt_int.h - shared by gbdt*.c, their tests and their bench; nobody else includes it. */
#pragma once
#include "learn/gbdt.h"

/* ---- histograms (gbdt_hist.c) ---- */

#define PANEL_COLUMNS 8
/* Some columns of a binned matrix, row by row: panel p holds, for each row, a byte for each of the columns
 * feature[8p .. 8p + 8): what one row needs lies together, and a panel's sums fit the first-level cache. */
struct panels {
    const struct bins *bins;
    size_t n_rows, n_on, n;       /* rows, columns that take part, panels */
    const uint32_t *feature;      /* n_on, ascending */
    const uint8_t *const *panel;  /* n panels of n_rows * PANEL_COLUMNS */
    const unsigned *most_buckets; /* per panel: of its columns */
};
/* on: n_features flags, NULL = all. Memory from mem. */
status panels_make(struct ctx *cx, struct arena *mem, const struct binned *b, const bool *on,
                   struct panels *out);

/* Sums per bucket of the rows rows[0..n): hist[bins_total] and count[bins_total]; both are set for the columns that take
 * part and left alone for the others. */
struct hist_task {
    const uint32_t *rows;
    size_t n;
    struct gh *hist;
    uint32_t *count;
};
/* All nodes of a level at once, so that small ones share the pool. gh is indexed by row, |g| and |h| at most 2^31. Exact,
 * whatever the threads. */
#define HIST_VALUE_BITS_MAX 31
status hist_build(struct ctx *cx, const struct panels *x, const struct gh *gh, const struct hist_task *task,
                  size_t n_tasks);
/* The plain loop, kept as the tests' oracle. Columns that are off are left alone too. */
void hist_build_ref(const struct binned *b, const bool *on, const struct gh *gh, const struct hist_task *t);
/* child = parent - sibling, in place of parent. */
void hist_subtract(struct gh *parent, uint32_t *parent_count, const struct gh *sibling,
                   const uint32_t *sibling_count, size_t n);

/* ---- one tree (gbdt_grow.c) ---- */

struct grown_leaf { /* rows that ended in node id, those that did not train it included */
    int32_t id;
    const uint32_t *rows;
    size_t n;
};
/* What a tree is grown from. */
struct growth {
    size_t round;
    unsigned k;
    const double *g, *h; /* n each */
    const struct gh *gh; /* the same as integers */
    struct fixed_scale scale;
    const uint32_t *order; /* n: the rows that train the tree (ascending), then the rest */
    size_t n_train;
    const struct panels *panels; /* own columns of this tree; NULL: none */
};
struct hist;
struct grower {
    const struct gbdt_tree_params *p;
    const struct binned *x;         /* NULL: no own columns */
    const struct gbdt_peers *peers; /* NULL: none */
    size_t n;
    struct arena *keep, *tmp; /* until training ends; until the next tree */
    uint32_t *rows, *spare;   /* n: grouped by node, this level and the next */
    uint8_t *go_left;         /* n, by position in rows */
    struct hist *free_hist;
    /* the tree being grown */
    const struct growth *in;
    struct tree_node *node;
    size_t n_nodes, cap_nodes;
    struct level_node *cur;
    struct hist **cur_hist; /* per node of the level; at the left of a pair it is the parent's until built */
    size_t n_cur;
    struct grown_leaf *leaf;
    size_t n_leaf;
};
/* keep and tmp stay the caller's; x and peers as in gbdt_data and gbdt_train. */
status grower_init(struct ctx *cx, const struct gbdt_tree_params *p, const struct binned *x,
                   const struct gbdt_peers *peers, size_t n, struct arena *keep, struct arena *tmp,
                   struct grower *out);
/* The tree lives in cx->mem; w->leaf tells where the rows went, until the next tree. */
status grower_run(struct ctx *cx, struct grower *w, const struct growth *in, struct tree *out);

/* GOSS (gbdt_goss.c): orders the rows for a tree and scales up g and h of those that were drawn. order: n, as in struct
 * growth; key: n of scratch. */
void goss_draw(const struct gbdt_params *p, uint64_t seed, size_t n, double *g, double *h, uint64_t *key,
               uint32_t *order);
