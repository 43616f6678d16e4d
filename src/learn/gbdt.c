/* gbdt.c - the rounds of boosting: gradients, a tree per class, scores, loss. */
#include "learn/gbdt.h"
#include "base/arena.h"
#include "base/num.h"
#include "base/pool.h"
#include "base/secret.h"
#include "learn/gbdt_int.h"
#include <math.h>
#include <string.h>

#define ROWS       8192
#define ROWS_MAX   (SIZE_MAX >> 34) /* 2^30: a tree's nodes are numbered by int32_t */
#define ROUNDS_MAX (1u << 24)

struct trainer {
    const struct gbdt_params *p;
    const struct gbdt_data *d;
    const struct gbdt_peers *peers; /* NULL: none */
    const struct gbdt_hooks *hooks; /* NULL: none */
    unsigned dim;
    struct arena *keep, *tmp, *columns; /* until training ends; the tree ends; the tree's columns change */
    double *g, *h;                      /* dim x n */
    double *score, *valid_score;        /* n x dim */
    int32_t *valid_leaf;                /* n_valid */
    int32_t *leaf;                      /* n, for on_tree; NULL: nobody asks */
    struct gh *gh;                      /* n */
    uint32_t *order;                    /* n */
    uint64_t *key;                      /* n, of GOSS */
    size_t n_train;
    double bound; /* of |g| and |h| for classification: what weights and GOSS can make of 1 */
    struct panels panels;
    struct grower grower;
    struct ensemble so_far;
    struct tree *trees;
    double *losses;
};

/* ---- what is refused ---- */

static status check_params(struct ctx *cx, const struct gbdt_params *p)
{
    const struct gbdt_tree_params *t = &p->tree;
    if (t->max_depth < 1 || t->max_depth > 30)
        return FAIL(cx, ARG, "max_depth is %u, want 1 to 30", t->max_depth);
    if (!(t->l1 >= 0 && t->l2 >= 0 && isfinite(t->l1) && isfinite(t->l2)))
        return FAIL(cx, ARG, "criterion_params are l2 = %g, l1 = %g, want 0 or more", t->l2, t->l1);
    if (!isfinite(t->min_impurity_split) || !isfinite(t->min_child_weight))
        return FAIL(cx, ARG, "min_impurity_split is %g, min_child_weight %g", t->min_impurity_split,
                    t->min_child_weight);
    if (!(p->learning_rate > 0 && isfinite(p->learning_rate)))
        return FAIL(cx, ARG, "learning_rate is %g, want above 0", p->learning_rate);
    if (p->n_rounds < 1 || p->n_rounds > ROUNDS_MAX)
        return FAIL(cx, ARG, "num_trees is %zu, want 1 to %u", p->n_rounds, ROUNDS_MAX);
    if (!(p->subsample_feature_rate >= 0 && p->subsample_feature_rate <= 1))
        return FAIL(cx, ARG, "subsample_feature_rate is %g, want 0 to 1", p->subsample_feature_rate);
    if (p->value_bits < 0 || p->value_bits > HIST_VALUE_BITS_MAX)
        return FAIL(cx, ARG, "value_bits is %d, want 1 to %d", p->value_bits, HIST_VALUE_BITS_MAX);
    if (p->run_goss && !(p->top_rate > 0 && p->other_rate > 0 && p->top_rate + p->other_rate < 1))
        return FAIL(cx, ARG, "top_rate %g and other_rate %g, want above 0 and below 1 together", p->top_rate,
                    p->other_rate);
    return OK;
}

static status check_data(struct ctx *cx, const struct gbdt_params *p, const struct gbdt_data *d,
                         const struct gbdt_peers *peers)
{
    if (d->n < 1) return FAIL(cx, ARG, "no rows to train on");
    if (d->n > ROWS_MAX || d->n_valid > ROWS_MAX)
        return FAIL(cx, LIMIT, "%zu rows to train on, %zu to validate, at most %zu", d->n, d->n_valid,
                    ROWS_MAX);
    if (d->x && d->x->n_rows != d->n)
        return FAIL(cx, ARG, "%zu labels, %zu rows of columns", d->n, d->x->n_rows);
    if (d->valid && d->valid->n_rows != d->n_valid)
        return FAIL(cx, ARG, "%zu validation rows, %zu rows of columns", d->n_valid, d->valid->n_rows);
    if (peers && (peers->n < 1 || peers->n > 31)) return FAIL(cx, ARG, "%u peers, want 1 to 31", peers->n);
    if (!peers && (!d->x || d->x->bins->n_features == 0)) return FAIL(cx, ARG, "no columns to split on");
    if (p->run_goss && ((size_t)(p->top_rate * (double)d->n) < 1 || gbdt_goss_rows(p, d->n) >= d->n ||
                        (size_t)(p->other_rate * (double)d->n) < 1))
        return FAIL(cx, ARG, "top_rate %g and other_rate %g take no sample of %zu rows", p->top_rate,
                    p->other_rate, d->n);
    for (size_t i = 0; d->weight && i < d->n; i++)
        if (!(d->weight[i] > 0 && isfinite(d->weight[i])))
            return FAIL(cx, ARG, "row %zu has weight %g, want above 0", i + 1, d->weight[i]);
    return gbdt_check_labels(cx, &p->objective, d->y, d->n);
}

/* ---- beginning ---- */

static status scores_from(struct ctx *cx, struct trainer *t, const double *warm, size_t n, double **out)
{
    double *s = arena_alloc_n(t->keep, n * t->dim + 1, sizeof *s, 64);
    if (!s) return FAIL(cx, NOMEM, "scores of %zu rows", n);
    for (size_t i = 0; i < n && !warm; i++)
        memcpy(s + i * t->dim, t->so_far.init, t->dim * sizeof *s);
    if (warm) memcpy(s, warm, n * t->dim * sizeof *s);
    *out = s;
    return OK;
}

static double bound_of(const struct gbdt_params *p, const struct gbdt_data *d)
{
    double bound = p->run_goss ? (1 - p->top_rate) / p->other_rate : 1, top = d->weight ? 0 : 1;
    for (size_t i = 0; d->weight && i < d->n; i++)
        top = fmax(top, d->weight[i]);
    return bound * top;
}

static status set_up(struct ctx *cx, struct trainer *t)
{
    const struct gbdt_params *p = t->p;
    const struct gbdt_data *d = t->d;
    size_t n = d->n, n_trees = p->n_rounds * t->dim;
    double *init = NEW(cx, double, t->dim);
    t->trees = NEW(cx, struct tree, n_trees);
    t->losses = NEW(cx, double, p->n_rounds);
    t->g = arena_alloc_n(t->keep, n * t->dim, sizeof *t->g, 64);
    t->h = arena_alloc_n(t->keep, n * t->dim, sizeof *t->h, 64);
    t->gh = arena_alloc_n(t->keep, n, sizeof *t->gh, 64);
    t->order = arena_alloc_n(t->keep, n, sizeof *t->order, 64);
    t->valid_leaf = arena_alloc_n(t->keep, d->n_valid + 1, sizeof *t->valid_leaf, 64);
    t->key = p->run_goss ? arena_alloc_n(t->keep, n, sizeof *t->key, 64) : NULL;
    if (!init || !t->trees || !t->losses || !t->g || !t->h || !t->gh || !t->order || !t->valid_leaf ||
        (p->run_goss && !t->key))
        return FAIL(cx, NOMEM, "training %zu trees on %zu rows", n_trees, n);
    for (size_t i = 0; i < n; i++)
        t->order[i] = (uint32_t)i;
    t->n_train = p->run_goss ? gbdt_goss_rows(p, n) : n;
    t->bound = bound_of(p, d);
    TRY(gbdt_init_score(cx, &p->objective, d->y, n, init));
    t->so_far = (struct ensemble){.objective = p->objective,
                                  .learning_rate = p->learning_rate,
                                  .dim = t->dim,
                                  .trees = t->trees,
                                  .init = init,
                                  .losses = t->losses};
    TRY(scores_from(cx, t, d->warm_score, n, &t->score));
    if (d->valid) TRY(scores_from(cx, t, d->warm_valid_score, d->n_valid, &t->valid_score));
    if (t->hooks && t->hooks->on_tree) {
        t->leaf = arena_alloc_n(t->keep, n, sizeof *t->leaf, 64);
        if (!t->leaf) return FAIL(cx, NOMEM, "leaves of %zu rows", n);
    }
    return grower_init(cx, &p->tree, d->x, t->peers, n, t->keep, t->tmp, &t->grower);
}

/* ---- a tree ---- */

struct row_job {
    struct trainer *t;
    struct fixed_scale scale;
    unsigned k;
    const struct tree *tree;
};

static status quantise_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct row_job *j = arg;
    struct trainer *t = j->t;
    size_t at = j->k * t->d->n + begin;
    gh_quantise(j->scale, t->g + at, t->h + at, end - begin, t->gh + begin);
    return OK;
}

static uint64_t seed_of(const struct trainer *t, size_t round, unsigned k)
{
    return t->p->seed ^ (round * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)k << 48);
}

/* The own columns of this tree: a draw without repeats that depends on seed, round and class only. */
static status draw_columns(struct ctx *cx, struct trainer *t, size_t round, unsigned k)
{
    const struct binned *x = t->d->x;
    size_t n = x ? x->bins->n_features : 0, want = (size_t)(t->p->subsample_feature_rate * (double)n);
    if (n == 0) return OK;
    if (want < 1) want = 1;
    if (want == n) return t->panels.n ? OK : panels_make(cx, t->columns, x, NULL, &t->panels);
    arena_reset(t->columns);
    bool *on = arena_alloc_n(t->columns, n, sizeof *on, 1);
    if (!on) return FAIL(cx, NOMEM, "%zu columns", n);
    struct shuffle s = shuffle_new(seed_of(t, round, k));
    for (size_t f = 0, left = want; f < n; f++) { /* selection sampling (Knuth, 3.4.2 S) */
        on[f] = shuffle_below(&s, n - f) < left;
        left -= on[f];
    }
    return panels_make(cx, t->columns, x, on, &t->panels);
}

/* Leaves do not share rows. */
static status step_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct row_job *j = arg;
    struct trainer *t = j->t;
    for (size_t k = begin; k < end; k++) {
        const struct grown_leaf *v = &t->grower.leaf[k];
        double step = t->p->learning_rate * j->tree->nodes[v->id].weight;
        for (size_t i = 0; i < v->n; i++)
            t->score[v->rows[i] * (size_t)t->dim + j->k] += step;
        for (size_t i = 0; t->leaf && i < v->n; i++)
            t->leaf[v->rows[i]] = v->id;
    }
    return OK;
}

static status step_rows(struct ctx *cx, const struct trainer *t, unsigned k, const struct tree *tree,
                        const int32_t *leaf, size_t n, double *score)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = leaf[i];
        if (id < 0 || (size_t)id >= tree->n_nodes || !tree->nodes[id].is_leaf)
            return FAIL(cx, INTERNAL, "row %zu ended in node %d of %zu", i, id, tree->n_nodes);
        double step = t->p->learning_rate * tree->nodes[id].weight;
        score[i * t->dim + k] += step;
    }
    return OK;
}

static status step_valid(struct ctx *cx, struct trainer *t, unsigned k, const struct tree *tree)
{
    size_t n = t->d->n_valid;
    if (t->peers)
        TRY(t->peers->valid_leaves(cx, t->peers->self, tree, t->valid_leaf, n));
    else
        TRY(tree_route(cx, tree, t->d->valid, t->valid_leaf));
    TRY_IN(cx, step_rows(cx, t, k, tree, t->valid_leaf, n, t->valid_score), "validation");
    return OK;
}

/* A tree that was grown before the interruption. */
static status old_tree(struct ctx *cx, struct trainer *t, size_t round, unsigned k)
{
    struct gbdt_grown g;
    TRY(t->hooks->grown(cx, t->hooks->self, round, k, &g));
    t->trees[round * t->dim + k] = g.tree;
    TRY(step_rows(cx, t, k, &g.tree, g.leaf, t->d->n, t->score));
    if (t->d->valid) TRY(step_rows(cx, t, k, &g.tree, g.valid_leaf, t->d->n_valid, t->valid_score));
    return OK;
}

static status one_tree(struct ctx *cx, struct trainer *t, size_t round, unsigned k)
{
    const struct gbdt_params *p = t->p;
    size_t n = t->d->n;
    double *g = t->g + k * n, *h = t->h + k * n;
    if (p->run_goss) goss_draw(p, ~seed_of(t, round, k), n, g, h, t->key, t->order);
    double bound = p->objective.n_classes > 1 ? t->bound : gbdt_bound(&p->objective, g, h, n);
    if (!isfinite(bound))
        return FAIL(cx, ARG, "round %zu: the gradients are no numbers any more: lower the learning rate",
                    round);
    struct fixed_scale scale = fixed_scale_for(bound, p->value_bits ? p->value_bits : GBDT_VALUE_BITS);
    struct tree *tree = &t->trees[round * t->dim + k];
    struct row_job j = {t, scale, k, tree};
    TRY(pool_for(cx, n, ROWS, quantise_chunk, &j));
    TRY(draw_columns(cx, t, round, k));
    struct growth in = {round, k, g, h, t->gh, scale, t->order, t->n_train, t->panels.n ? &t->panels : NULL};
    TRY(grower_run(cx, &t->grower, &in, tree));
    TRY(pool_for(cx, t->grower.n_leaf, 8, step_chunk, &j));
    if (t->d->valid) TRY(step_valid(cx, t, k, tree));
    if (!t->leaf) return OK;
    return t->hooks->on_tree(cx, t->hooks->self, round, k,
                             &(struct gbdt_grown){*tree, t->leaf, t->valid_leaf});
}

/* ---- rounds ---- */

/* The loss of this round and the gradients of the next: from one exponential per row. */
static status gradient(struct ctx *cx, struct trainer *t, double *loss)
{
    const struct gbdt_data *d = t->d;
    return gbdt_gradient(cx, &t->p->objective, d->y, t->score, d->weight, d->n, t->g, t->h, loss);
}

static status one_round(struct ctx *cx, struct trainer *t, size_t round, bool *stop)
{
    const struct gbdt_params *p = t->p;
    TRY(ctx_check(cx));
    bool old = t->hooks && round < t->hooks->n_grown;
    for (unsigned k = 0; k < t->dim; k++)
        TRY(old ? old_tree(cx, t, round, k) : one_tree(cx, t, round, k));
    double loss, before = round ? t->losses[round - 1] : (double)INFINITY;
    TRY(gradient(cx, t, &loss));
    t->losses[round] = loss;
    t->so_far.n_rounds = round + 1, t->so_far.n_trees = (round + 1) * t->dim;
    t->so_far.best_round = round;
    struct gbdt_round r = {.round = round,
                           .loss = loss,
                           .train_score = t->score,
                           .valid_score = t->valid_score,
                           .so_far = &t->so_far,
                           .best_round = round};
    if (t->hooks && t->hooks->on_round) TRY(t->hooks->on_round(cx, t->hooks->self, &r));
    t->so_far.best_round = r.best_round;
    t->so_far.converged = p->n_iter_no_change && fabs(loss - before) < p->tol;
    *stop = r.stop || t->so_far.converged;
    if (t->peers && t->peers->round_end && !old)
        TRY(t->peers->round_end(cx, t->peers->self, round, *stop || round + 1 == p->n_rounds));
    return OK;
}

static status train(struct ctx *cx, struct trainer *t, const struct ensemble **out)
{
    t->keep = arena_new(0), t->tmp = arena_new(0), t->columns = arena_new(0);
    if (!t->keep || !t->tmp || !t->columns) return FAIL(cx, NOMEM, "training");
    TRY(set_up(cx, t));
    bool stop = false;
    double start;
    TRY(gradient(cx, t, &start));
    for (size_t round = 0; round < t->p->n_rounds && !stop; round++)
        TRY(one_round(cx, t, round, &stop));
    struct ensemble *e = NEW(cx, struct ensemble, 1);
    if (!e) return FAIL(cx, NOMEM, "an ensemble");
    *e = t->so_far;
    *out = e;
    return OK;
}

static void trainer_free(struct trainer *t)
{
    arena_free(t->keep);
    arena_free(t->tmp);
    arena_free(t->columns);
}

status gbdt_train(struct ctx *cx, const struct gbdt_params *p, const struct gbdt_data *d,
                  const struct gbdt_peers *peers, const struct gbdt_hooks *hooks, const struct ensemble **out)
{
    TRY(check_params(cx, p));
    TRY(check_data(cx, p, d, peers));
    CLEANUP(trainer_free)
    struct trainer t = {.p = p, .d = d, .peers = peers, .hooks = hooks, .dim = gbdt_dim(&p->objective)};
    return train(cx, &t, out);
}
