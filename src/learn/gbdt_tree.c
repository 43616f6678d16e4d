/* gbdt_tree.c - using trees: finding leaves, scoring, importance. */
#include "base/arena.h"
#include "base/pool.h"
#include "learn/gbdt.h"
#include <math.h>
#include <stdlib.h>

#define ROWS 2048

static inline bool goes_left(const struct tree_node *t, double x, bool zero_as_missing)
{
    if (isnan(x) || (zero_as_missing && fabs(x) < BIN_ZERO_EPS)) return t->missing_left;
    return (fabs(x) < BIN_ZERO_EPS ? 0 : x) <= t->split;
}

int32_t tree_find(const struct tree *t, const double *x, bool zero_as_missing)
{
    int32_t id = 0;
    while (!t->nodes[id].is_leaf) {
        const struct tree_node *node = &t->nodes[id];
        id = goes_left(node, x[node->feature], zero_as_missing) ? node->left : node->right;
    }
    return id;
}

struct route_job {
    const struct tree *t;
    const struct binned *b;
    int32_t *leaf;
};

static status route_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct route_job *j = arg;
    TRY(ctx_check(cx));
    for (size_t i = begin; i < end; i++) {
        int32_t id = 0;
        while (!j->t->nodes[id].is_leaf) {
            const struct tree_node *node = &j->t->nodes[id];
            uint32_t b = j->b->col[node->feature][i];
            bool missing = j->b->bins->use_missing && b == bins_splits(j->b->bins, node->feature);
            id = (missing ? node->missing_left : b <= node->bin) ? node->left : node->right;
        }
        j->leaf[i] = id;
    }
    return OK;
}

/* Own nodes only, each with a feature below n_features. */
static status check_own(struct ctx *cx, const struct tree *t, size_t n_features)
{
    for (size_t i = 0; i < t->n_nodes; i++) {
        const struct tree_node *node = &t->nodes[i];
        if (node->is_leaf) continue;
        if (node->party != 0) return FAIL(cx, STATE, "tree node %zu belongs to another party", i);
        if (node->feature >= n_features)
            return FAIL(cx, ARG, "tree node %zu splits on column %u of %zu", i, node->feature, n_features);
        if (node->left <= node->id || node->right <= node->id || (size_t)node->left >= t->n_nodes ||
            (size_t)node->right >= t->n_nodes)
            return FAIL(cx, FORMAT, "tree node %zu has children %d and %d of %zu nodes", i, node->left,
                        node->right, t->n_nodes);
    }
    return OK;
}

status tree_route(struct ctx *cx, const struct tree *t, const struct binned *b, int32_t *leaf)
{
    TRY(check_own(cx, t, b->bins->n_features));
    struct route_job j = {t, b, leaf};
    return pool_for(cx, b->n_rows, ROWS, route_chunk, &j);
}

struct score_job {
    const struct ensemble *e;
    const struct bin_source *rows;
    bool zero_as_missing;
    size_t n_trees;
    const bool *used; /* features */
    double *score;
};

static status score_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct score_job *j = arg;
    size_t nf = j->rows->n_features, n = end - begin;
    unsigned dim = j->e->dim;
    TRY(ctx_check(cx));
    double *x = NEW(cx, double, n *nf + 1), *col = NEW(cx, double, n);
    if (!x || !col) return FAIL(cx, NOMEM, "%zu rows of %zu columns", n, nf);
    for (size_t f = 0; f < nf; f++) {
        if (!j->used[f]) continue;
        TRY(j->rows->read(cx, j->rows->src, f, begin, end, col));
        for (size_t i = 0; i < n; i++)
            x[i * nf + f] = col[i];
    }
    for (size_t i = 0; i < n; i++) {
        double *s = j->score + (begin + i) * dim;
        for (unsigned k = 0; k < dim; k++)
            s[k] = j->e->init[k];
        for (size_t t = 0; t < j->n_trees; t++) {
            const struct tree *tree = &j->e->trees[t];
            s[t % dim] +=
                j->e->learning_rate * tree->nodes[tree_find(tree, x + i * nf, j->zero_as_missing)].weight;
        }
    }
    return OK;
}

status ensemble_score(struct ctx *cx, const struct ensemble *e, const struct bin_source *rows,
                      bool zero_as_missing, size_t n_rounds, double *score)
{
    if (n_rounds == 0 || n_rounds > e->n_rounds) n_rounds = e->n_rounds;
    bool *used = NEW(cx, bool, rows->n_features + 1);
    if (!used) return FAIL(cx, NOMEM, "%zu columns", rows->n_features);
    struct score_job j = {e, rows, zero_as_missing, n_rounds * e->dim, used, score};
    for (size_t t = 0; t < j.n_trees; t++) {
        TRY_IN(cx, check_own(cx, &e->trees[t], rows->n_features), "tree %zu", t);
        for (size_t i = 0; i < e->trees[t].n_nodes; i++)
            if (!e->trees[t].nodes[i].is_leaf) used[e->trees[t].nodes[i].feature] = true;
    }
    return pool_for(cx, rows->n_rows, ROWS, score_chunk, &j);
}

static int by_feature(const void *a, const void *b)
{
    const struct importance *x = a, *y = b;
    if (x->party != y->party) return x->party < y->party ? -1 : 1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

static int by_feature_then_gain(const void *a, const void *b) /* gains in a fixed order give one sum */
{
    const struct importance *x = a, *y = b;
    int c = by_feature(a, b);
    return c ? c : (x->gain < y->gain) - (x->gain > y->gain);
}

static int by_use(const void *a, const void *b)
{
    const struct importance *x = a, *y = b;
    if (x->splits != y->splits) return x->splits > y->splits ? -1 : 1;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    return by_feature(a, b);
}

status ensemble_importance(struct ctx *cx, const struct ensemble *e, struct importance **out, size_t *n)
{
    size_t n_splits = 0, k = 0;
    for (size_t t = 0; t < e->n_trees; t++)
        for (size_t i = 0; i < e->trees[t].n_nodes; i++)
            n_splits += !e->trees[t].nodes[i].is_leaf;
    struct importance *all = NEW(cx, struct importance, n_splits + 1);
    if (!all) return FAIL(cx, NOMEM, "importance of %zu splits", n_splits);
    for (size_t t = 0; t < e->n_trees; t++) {
        for (size_t i = 0; i < e->trees[t].n_nodes; i++) {
            const struct tree_node *node = &e->trees[t].nodes[i];
            if (!node->is_leaf) all[k++] = (struct importance){node->party, node->feature, 1, node->gain};
        }
    }
    qsort(all, k, sizeof *all, by_feature_then_gain);
    size_t m = 0;
    for (size_t i = 0; i < k; i++) {
        if (m > 0 && all[m - 1].party == all[i].party && all[m - 1].feature == all[i].feature) {
            all[m - 1].splits++;
            all[m - 1].gain += all[i].gain;
        } else {
            all[m++] = all[i];
        }
    }
    qsort(all, m, sizeof *all, by_use);
    *out = all;
    *n = m;
    return OK;
}
