/* gbdt_tree.c - using trees: finding leaves, scoring, importance. */
#include "base/arena.h"
#include "base/pool.h"
#include "learn/gbdt.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 512 /* go down a tree together */

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

/* ---- many rows ----
 *
 * A block of rows goes down a tree together, a level at a time and without a branch that depends on the data: a row's way
 * is a chain of waits, those of many rows overlap. A leaf leads to itself. */

struct step {
    double split;
    uint32_t feature; /* of a leaf: any */
    uint32_t bin;
    int32_t child[2]; /* left, right */
    uint32_t missing_left;
};
struct steps {
    const struct step *step;
    unsigned depth;
};

/* slot: where a feature's values lie in a row; NULL: at its number. */
static status steps_make(struct ctx *cx, const struct tree *t, const uint32_t *slot, struct steps *out)
{
    struct step *s = NEW(cx, struct step, t->n_nodes);
    unsigned *level = NEW(cx, unsigned, t->n_nodes), depth = 0;
    if (!s || !level) return FAIL(cx, NOMEM, "a tree of %zu nodes", t->n_nodes);
    for (size_t i = 0; i < t->n_nodes; i++) { /* children come after their parent */
        const struct tree_node *v = &t->nodes[i];
        s[i] = (struct step){.child = {(int32_t)i, (int32_t)i}};
        if (v->is_leaf) continue;
        s[i] = (struct step){
            v->split, slot ? slot[v->feature] : v->feature, v->bin, {v->left, v->right}, v->missing_left};
        level[v->left] = level[v->right] = level[i] + 1;
        depth = level[i] + 1 > depth ? level[i] + 1 : depth;
    }
    *out = (struct steps){s, depth};
    return OK;
}

struct route_job {
    struct steps s;
    const struct binned *b;
    int32_t *leaf;
};

static status route_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct route_job *j = arg;
    const struct bins *b = j->b->bins;
    TRY(ctx_check(cx));
    for (size_t i = begin; i < end; i++)
        j->leaf[i] = 0;
    for (unsigned d = 0; d < j->s.depth; d++) {
        for (size_t i = begin; i < end; i++) {
            const struct step *s = &j->s.step[j->leaf[i]];
            uint32_t x = j->b->col[s->feature][i];
            uint32_t missing = b->use_missing & (x == bins_splits(b, s->feature));
            j->leaf[i] = s->child[!((x <= s->bin) | (missing & s->missing_left))];
        }
    }
    return OK;
}

status tree_route(struct ctx *cx, const struct tree *t, const struct binned *b, int32_t *leaf)
{
    TRY(check_own(cx, t, b->bins->n_features));
    struct arena_mark mark = arena_mark(cx->mem);
    struct route_job j = {.b = b, .leaf = leaf};
    TRY(steps_make(cx, t, NULL, &j.s));
    TRY(pool_for(cx, b->n_rows, ROWS, route_chunk, &j));
    arena_rewind(cx->mem, mark);
    return OK;
}

struct score_job {
    const struct ensemble *e;
    const struct bin_source *rows;
    bool zero_as_missing;
    size_t n_trees, n_used;
    const uint32_t *used; /* features that split, ascending */
    const struct steps *steps;
    double *score;
};

/* The used values of rows [begin, end), row by row; what counts as zero or missing is made so. */
static status read_rows(struct ctx *cx, const struct score_job *j, size_t begin, size_t end, double *x,
                        double *col)
{
    for (size_t k = 0; k < j->n_used; k++) {
        TRY(j->rows->read(cx, j->rows->src, j->used[k], begin, end, col));
        for (size_t i = 0; i < end - begin; i++) {
            double zero = j->zero_as_missing ? (double)NAN : 0;
            x[i * j->n_used + k] = fabs(col[i]) < BIN_ZERO_EPS ? zero : col[i];
        }
    }
    return OK;
}

static void find_leaves(const struct steps *s, const double *x, size_t stride, size_t n, int32_t *leaf)
{
    for (size_t i = 0; i < n; i++)
        leaf[i] = 0;
    for (unsigned d = 0; d < s->depth; d++) {
        for (size_t i = 0; i < n; i++) {
            const struct step *at = &s->step[leaf[i]];
            double v = x[i * stride + at->feature];
            leaf[i] = at->child[!((v <= at->split) | ((v != v) & at->missing_left))];
        }
    }
}

static status score_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct score_job *j = arg;
    size_t n = end - begin;
    unsigned dim = j->e->dim;
    TRY(ctx_check(cx));
    double *x = NEW(cx, double, n * j->n_used + 1), *col = NEW(cx, double, n);
    int32_t *leaf = NEW(cx, int32_t, n);
    if (!x || !col || !leaf) return FAIL(cx, NOMEM, "%zu rows of %zu columns", n, j->n_used);
    TRY(read_rows(cx, j, begin, end, x, col));
    double *score = j->score + begin * dim;
    for (size_t i = 0; i < n; i++)
        memcpy(score + i * dim, j->e->init, dim * sizeof *score);
    for (size_t t = 0; t < j->n_trees; t++) {
        const struct tree_node *nodes = j->e->trees[t].nodes;
        find_leaves(&j->steps[t], x, j->n_used, n, leaf);
        for (size_t i = 0; i < n; i++)
            score[i * dim + t % dim] += j->e->learning_rate * nodes[leaf[i]].weight;
    }
    return OK;
}

/* The features that split, and where each lies among them. */
static status list_used(struct ctx *cx, const struct ensemble *e, size_t n_features, struct score_job *j,
                        uint32_t **slot)
{
    uint32_t *at = NEW(cx, uint32_t, n_features + 1), *used = NEW(cx, uint32_t, n_features + 1);
    bool *on = NEW(cx, bool, n_features + 1);
    if (!at || !used || !on) return FAIL(cx, NOMEM, "%zu columns", n_features);
    for (size_t t = 0; t < j->n_trees; t++) {
        TRY_IN(cx, check_own(cx, &e->trees[t], n_features), "tree %zu", t);
        for (size_t i = 0; i < e->trees[t].n_nodes; i++)
            if (!e->trees[t].nodes[i].is_leaf) on[e->trees[t].nodes[i].feature] = true;
    }
    for (size_t f = 0; f < n_features; f++)
        if (on[f]) at[f] = (uint32_t)j->n_used, used[j->n_used++] = (uint32_t)f;
    *slot = at, j->used = used;
    return OK;
}

status ensemble_score(struct ctx *cx, const struct ensemble *e, const struct bin_source *rows,
                      bool zero_as_missing, size_t n_rounds, double *score)
{
    if (n_rounds == 0 || n_rounds > e->n_rounds) n_rounds = e->n_rounds;
    struct arena_mark mark = arena_mark(cx->mem);
    struct score_job j = {
        .e = e, .rows = rows, .zero_as_missing = zero_as_missing, .n_trees = n_rounds * e->dim};
    struct steps *steps = NEW(cx, struct steps, j.n_trees + 1);
    uint32_t *slot = NULL;
    if (!steps) return FAIL(cx, NOMEM, "%zu trees", j.n_trees);
    TRY(list_used(cx, e, rows->n_features, &j, &slot));
    for (size_t t = 0; t < j.n_trees; t++)
        TRY(steps_make(cx, &e->trees[t], slot, &steps[t]));
    j.steps = steps, j.score = score;
    TRY(pool_for(cx, rows->n_rows, ROWS, score_chunk, &j));
    arena_rewind(cx->mem, mark);
    return OK;
}

/* ---- importance ---- */

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
