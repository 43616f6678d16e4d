/* Training against itself (threads, peers, warm start, validation), and what it refuses. */
#include "base/secret.h"
#include "learn/gbdt_int.h"
#include "tests/test.h"
#include <math.h>

/* ---- random data, some with everything on ---- */

struct scene {
    const char *name, *objective;
    size_t n, cols, n_valid;
    unsigned n_classes, depth;
    double p_missing;
    bool goss, sample, weights;
    uint64_t min_leaf;
};
static const struct scene scenes[] = {
    {"binary", "cross_entropy", 20000, 9, 0, 2, 5, 0, false, false, false, 1},
    {"small", "cross_entropy", 37, 3, 5, 2, 30, 0, false, false, false, 1},
    {"missing, least rows", "cross_entropy", 3000, 12, 500, 2, 6, 0.2, false, false, false, 9},
    {"all of it", "cross_entropy", 9000, 20, 300, 2, 7, 0.1, true, true, true, 2},
    {"classes", "cross_entropy", 2500, 5, 700, 4, 4, 0, true, false, false, 1},
    {"regression", "lse", 5000, 17, 100, 1, 5, 0.05, false, true, true, 1},
    {"tweedie", "tweedie", 5000, 6, 0, 1, 4, 0, true, false, false, 1},
};

struct world {
    const struct scene *s;
    struct gbdt_params p;
    struct gbdt_data d;
    struct binned x, valid;
    struct bin_source raw, raw_valid;
    double *train_score, *valid_score; /* after the last round */
    const struct ensemble *e;
};

static double *draw_columns(struct ctx *cx, struct shuffle *r, const struct scene *s, size_t n)
{
    double *x = NEW(cx, double, n * s->cols + 1);
    for (size_t i = 0; i < n * s->cols; i++) {
        x[i] = i / n % 3 == 1 ? (double)shuffle_below(r, 6) - 2 : shuffle_normal(r);
        if (shuffle_unit(r) < s->p_missing) x[i] = (double)NAN;
    }
    return x;
}

static void make_world(struct ctx *cx, const struct scene *s, struct world *w)
{
    struct shuffle r = shuffle_new(test_seed() + s->n);
    static const double tweedie[] = {1.3};
    double *x = draw_columns(cx, &r, s, s->n), *xv = draw_columns(cx, &r, s, s->n_valid);
    double *y = NEW(cx, double, s->n), *weight = NEW(cx, double, s->n);
    struct bin_params bp = {24, s->p_missing > 0, s->n % 2 == 0 && s->p_missing > 0};
    const struct bins *b = NULL;
    *w = (struct world){.s = s};
    for (size_t i = 0; i < s->n; i++) {
        double z = isnan(x[i]) ? 1 : x[i] * 2;
        z += isnan(x[s->n + i]) ? 0 : x[s->n + i];
        z += shuffle_normal(&r);
        y[i] = s->n_classes == 2 ? z > 0 : s->n_classes > 2 ? (double)(fabs(z) > 3 ? 3 : (int)fabs(z)) : z;
        if (strcmp(s->objective, "tweedie") == 0) y[i] = fabs(z);
        weight[i] = 0.25 + 3 * shuffle_unit(&r);
    }
    CHECK_OK(cx, bin_source_matrix(cx, x, s->n, s->cols, 1, s->n, &w->raw));
    CHECK_OK(cx, bin_source_matrix(cx, xv, s->n_valid, s->cols, 1, s->n_valid, &w->raw_valid));
    CHECK_OK(cx, bins_fit(cx, &w->raw, &bp, &b));
    CHECK_OK(cx, bins_apply(cx, b, &w->raw, &w->x));
    CHECK_OK(cx, bins_apply(cx, b, &w->raw_valid, &w->valid));
    w->p = (struct gbdt_params){.tree = {.max_depth = s->depth,
                                         .l2 = 0.1,
                                         .min_impurity_split = 0.001,
                                         .min_sample_split = 2,
                                         .min_leaf_node = s->min_leaf},
                                .learning_rate = 0.3,
                                .n_rounds = 4,
                                .subsample_feature_rate = s->sample ? 0.6 : 1,
                                .run_goss = s->goss,
                                .top_rate = 0.3,
                                .other_rate = 0.2,
                                .seed = 11};
    CHECK_OK(cx, gbdt_objective_make(cx, s->objective, tweedie, 1, s->n_classes, &w->p.objective));
    w->d = (struct gbdt_data){.n = s->n,
                              .x = &w->x,
                              .y = y,
                              .weight = s->weights ? weight : NULL,
                              .valid = s->n_valid ? &w->valid : NULL,
                              .n_valid = s->n_valid};
    w->train_score = NEW(cx, double, s->n *gbdt_dim(&w->p.objective));
    w->valid_score = NEW(cx, double, s->n_valid *gbdt_dim(&w->p.objective) + 1);
}

static status keep_both(struct ctx *cx, void *self, struct gbdt_round *r)
{
    (void)cx;
    struct world *w = self;
    unsigned dim = gbdt_dim(&w->p.objective);
    memcpy(w->train_score, r->train_score, w->d.n * dim * sizeof(double));
    if (w->d.n_valid) memcpy(w->valid_score, r->valid_score, w->d.n_valid * dim * sizeof(double));
    CHECK(!r->stop && r->best_round == r->round && r->so_far->n_rounds == r->round + 1);
    CHECK(r->so_far->n_trees == (r->round + 1) * dim && r->so_far->losses[r->round] == r->loss);
    return OK;
}

static void train(struct ctx *cx, struct world *w, const struct gbdt_peers *peers)
{
    struct gbdt_hooks hooks = {.self = w, .on_round = keep_both};
    CHECK_OK(cx, gbdt_train(cx, &w->p, &w->d, peers, &hooks, &w->e));
}

static bool same_node(const struct tree_node *a, const struct tree_node *b)
{
    return a->id == b->id && a->parent == b->parent && a->left == b->left && a->right == b->right &&
           a->party == b->party && a->feature == b->feature && a->bin == b->bin && a->split == b->split &&
           a->missing_left == b->missing_left && a->is_leaf == b->is_leaf && a->weight == b->weight &&
           a->gain == b->gain && a->sum_g == b->sum_g && a->sum_h == b->sum_h && a->cover == b->cover;
}

static void same_result(const struct world *a, const struct world *b)
{
    size_t bad = 0;
    CHECK(a->e->n_trees == b->e->n_trees && a->e->n_rounds == b->e->n_rounds);
    for (size_t t = 0; t < a->e->n_trees; t++) {
        CHECK(a->e->trees[t].n_nodes == b->e->trees[t].n_nodes);
        for (size_t i = 0; i < a->e->trees[t].n_nodes && i < b->e->trees[t].n_nodes; i++)
            bad += !same_node(&a->e->trees[t].nodes[i], &b->e->trees[t].nodes[i]);
    }
    CHECK(bad == 0);
    CHECK(memcmp(a->e->losses, b->e->losses, a->e->n_rounds * sizeof(double)) == 0);
    CHECK(memcmp(a->train_score, b->train_score, a->d.n * a->e->dim * sizeof(double)) == 0);
    CHECK(memcmp(a->valid_score, b->valid_score, a->d.n_valid * a->e->dim * sizeof(double)) == 0);
}

static void one_result_for_any_threads(struct ctx *cx)
{
    struct pool *pool = cx->pool;
    for (size_t k = 0; k < LEN(scenes); k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct world a, b, c;
        CLEANUP(pool_freep) struct pool *four = pool_new(4);
        cx->pool = NULL;
        make_world(cx, &scenes[k], &a);
        b = c = a;
        train(cx, &a, NULL);
        b.train_score = NEW(cx, double, a.d.n *a.e->dim),
        b.valid_score = NEW(cx, double, a.d.n_valid *a.e->dim + 1);
        c.train_score = NEW(cx, double, a.d.n *a.e->dim),
        c.valid_score = NEW(cx, double, a.d.n_valid *a.e->dim + 1);
        cx->pool = pool;
        train(cx, &b, NULL);
        same_result(&a, &b);
        cx->pool = four;
        train(cx, &c, NULL);
        same_result(&a, &c);
        cx->pool = pool;
        arena_rewind(cx->mem, mark);
    }
}

/* ---- trees and scores agree ---- */

static void check_tree(const struct world *w, const struct tree *t, double *g, double *h)
{
    size_t train = w->p.run_goss ? gbdt_goss_rows(&w->p, w->d.n) : w->d.n;
    CHECK(t->nodes[0].cover == train && t->nodes[0].parent == -1);
    for (size_t i = 0; i < t->n_nodes; i++) {
        const struct tree_node *v = &t->nodes[i];
        CHECK(v->id == (int32_t)i && v->cover >= (v->is_leaf && t->n_nodes > 1 ? w->s->min_leaf : 1));
        CHECK(v->weight == leaf_weight(&w->p.tree, v->sum_g, v->sum_h));
        if (v->is_leaf) continue;
        const struct tree_node *l = &t->nodes[v->left], *r = &t->nodes[v->right];
        CHECK(v->right == v->left + 1 && v->left > v->id && l->parent == v->id && r->parent == v->id);
        CHECK(l->cover + r->cover == v->cover && v->gain > w->p.tree.min_impurity_split);
        CHECK(fabs(l->sum_g + r->sum_g - v->sum_g) < 1e-9 * (1 + fabs(v->sum_g)));
        CHECK(fabs(split_gain(&w->p.tree, v->sum_g, v->sum_h, l->sum_g, l->sum_h) - v->gain) <
              1e-3 * (1 + v->gain));
    }
    *g += t->nodes[0].sum_g, *h += t->nodes[0].sum_h;
}

static void scores_are_the_trees(struct ctx *cx)
{
    for (size_t k = 0; k < LEN(scenes); k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct world w;
        make_world(cx, &scenes[k], &w);
        train(cx, &w, NULL);
        unsigned dim = w.e->dim;
        bool zero = w.x.bins->zero_as_missing;
        double *score = NEW(cx, double, w.d.n *dim), *x = NEW(cx, double, w.s->cols), g = 0, h = 0;
        int32_t *leaf = NEW(cx, int32_t, w.d.n);
        CHECK(w.e->best_round == 3 && !w.e->converged && w.e->n_rounds == 4);
        CHECK_OK(cx, ensemble_score(cx, w.e, &w.raw, zero, 0, score));
        CHECK(memcmp(score, w.train_score, w.d.n * dim * sizeof *score) == 0);
        CHECK_OK(cx, ensemble_score(cx, w.e, &w.raw_valid, zero, 99, score));
        CHECK(memcmp(score, w.valid_score, w.d.n_valid * dim * sizeof *score) == 0);
        CHECK_OK(cx, ensemble_score(cx, w.e, &w.raw, zero, 2, score));
        CHECK(memcmp(score, w.train_score, w.d.n * dim * sizeof *score) != 0);
        for (size_t t = 0; t < w.e->n_trees; t++) {
            size_t bad = 0;
            check_tree(&w, &w.e->trees[t], &g, &h);
            CHECK_OK(cx, tree_route(cx, &w.e->trees[t], &w.x, leaf));
            for (size_t i = 0; i < w.d.n && i < 500; i++) {
                for (size_t f = 0; f < w.s->cols; f++)
                    CHECK_OK(cx, w.raw.read(cx, w.raw.src, f, i, i + 1, &x[f]));
                bad += tree_find(&w.e->trees[t], x, zero) != leaf[i];
            }
            CHECK(bad == 0);
        }
        CHECK(w.e->losses[3] < w.e->losses[0]);
        arena_rewind(cx->mem, mark);
    }
}

/* Five rounds are three, and two that begin where these ended. */
static void warm_start(struct ctx *cx)
{
    struct world all, first, rest;
    make_world(cx, &scenes[2], &all);
    first = rest = all;
    first.train_score = NEW(cx, double, all.d.n), first.valid_score = NEW(cx, double, all.d.n_valid);
    rest.train_score = NEW(cx, double, all.d.n), rest.valid_score = NEW(cx, double, all.d.n_valid);
    all.p.n_rounds = 5, first.p.n_rounds = 3, rest.p.n_rounds = 2;
    train(cx, &all, NULL);
    train(cx, &first, NULL);
    rest.d.warm_score = first.train_score, rest.d.warm_valid_score = first.valid_score;
    train(cx, &rest, NULL);
    CHECK(memcmp(all.train_score, rest.train_score, all.d.n * sizeof(double)) == 0);
    CHECK(memcmp(all.valid_score, rest.valid_score, all.d.n_valid * sizeof(double)) == 0);
    CHECK(all.e->losses[4] == rest.e->losses[1]);
}

/* ---- stopping ---- */

static status stop_at_two(struct ctx *cx, void *self, struct gbdt_round *r)
{
    size_t *ended = self;
    if (r->round > 0) r->best_round = 1;
    r->stop = r->round == 2;
    *ended = r->round;
    return r->round == 9 ? FAIL(cx, IO, "the hook's own failure") : OK;
}

static void stops(struct ctx *cx)
{
    struct world w;
    size_t ended = 99;
    struct gbdt_hooks hooks = {.self = &ended, .on_round = stop_at_two};
    const struct ensemble *e = NULL;
    make_world(cx, &scenes[1], &w);
    w.p.n_rounds = 8;
    CHECK_OK(cx, gbdt_train(cx, &w.p, &w.d, NULL, &hooks, &e));
    CHECK(e->n_rounds == 3 && e->best_round == 1 && !e->converged && ended == 2 && e->n_trees == 3);
    w.p.n_iter_no_change = true, w.p.tol = 1e-3, w.p.n_rounds = 200;
    CHECK_OK(cx, gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e));
    size_t n = e->n_rounds;
    CHECK(e->converged && n < 200 && n > 2 && e->losses[n - 2] - e->losses[n - 1] < 1e-3);
    CHECK(e->losses[n - 3] - e->losses[n - 2] >= 1e-3 && e->best_round == n - 1);
    const struct ensemble *kept = e;
    atomic_bool cancel = true;
    cx->cancel = &cancel;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), CANCELLED);
    cx->cancel = NULL;
    CHECK(e == kept);
}

/* ---- peers ---- */

/* A peer in the same process that has the columns from `first` on; it does by plain loops what a protocol does. */
struct fake {
    struct world *w;
    unsigned n_peers;
    size_t first[4]; /* peer p has columns [first[p - 1], first[p]) */
    const struct gh *gh;
    struct fixed_scale scale;
    int lie; /* 1: a row on the wrong side; 2: a split in another's place; 3: all rows to one side */
    size_t calls, rounds;
};

static status fake_begin(struct ctx *cx, void *self, size_t round, unsigned tree, struct fixed_scale s,
                         const struct gh *gh, size_t n_rows, const uint32_t *rows, size_t n)
{
    struct fake *f = self;
    (void)cx, (void)round, (void)tree;
    CHECK(n_rows == f->w->d.n && n <= n_rows);
    for (size_t i = 1; i < n; i++)
        CHECK(rows[i] > rows[i - 1]);
    f->gh = gh, f->scale = s;
    return OK;
}

static status fake_level(struct ctx *cx, void *self, const struct level *lv)
{
    (void)cx;
    struct fake *f = self;
    f->calls++;
    for (size_t i = 0; i < lv->n_nodes; i++) {
        const struct level_node *v = &lv->nodes[i];
        CHECK(v->n >= 1 && v->n_all >= v->n && v->begin + v->n_all <= lv->n_rows);
        CHECK(lv->depth ? v->sibling == v->id + (v->is_left ? 1 : -1) : v->sibling == -1);
        if (lv->depth) CHECK(v->build != lv->nodes[i ^ 1].build && (!v->build || v->n <= lv->nodes[i ^ 1].n));
    }
    return OK;
}

static status fake_splits(struct ctx *cx, void *self, const struct level *lv, struct split *best)
{
    struct fake *f = self;
    const struct bins *b = f->w->x.bins;
    struct gh *hist = NEW(cx, struct gh, bins_total(b));
    uint32_t *count = NEW(cx, uint32_t, bins_total(b));
    for (unsigned p = 1; p <= f->n_peers; p++) {
        for (size_t i = 0; i < lv->n_nodes; i++) {
            const struct level_node *v = &lv->nodes[i];
            struct hist_task t = {lv->rows + v->begin, v->n, hist, count};
            hist_build_ref(&f->w->x, NULL, f->gh, &t);
            for (size_t c = f->first[p - 1]; c < f->first[p]; c++)
                split_scan(&f->w->p.tree, f->scale, &v->total, f->lie == 2 ? 7 : (int32_t)p, (uint32_t)c,
                           hist + b->bucket_at[c], count + b->bucket_at[c], bins_splits(b, c), b->use_missing,
                           &best[(p - 1) * lv->n_nodes + i]);
        }
    }
    return OK;
}

static status fake_route(struct ctx *cx, void *self, const struct level *lv, const struct split *chosen,
                         uint8_t *go_left)
{
    (void)cx;
    struct fake *f = self;
    for (size_t i = 0; i < lv->n_nodes; i++) {
        const struct split *s = &chosen[i];
        const struct level_node *v = &lv->nodes[i];
        if (s->party <= 0) continue;
        uint32_t lost = f->w->x.bins->use_missing ? bins_splits(f->w->x.bins, s->feature) : UINT32_MAX;
        for (size_t k = v->begin; k < v->begin + v->n_all; k++) {
            uint32_t x = f->w->x.col[s->feature][lv->rows[k]];
            go_left[k] = x == lost ? s->missing_left : x <= s->bin;
        }
        if (f->lie == 1) go_left[v->begin] ^= 1;
        if (f->lie == 3) memset(go_left + v->begin, 1, v->n_all);
    }
    return OK;
}

static status fake_end(struct ctx *cx, void *self, size_t round, unsigned tree, const struct tree *t)
{
    (void)cx, (void)self, (void)round, (void)tree;
    CHECK(t->n_nodes % 2 == 1);
    return OK;
}

/* Through all columns, as the parties would together. */
static status fake_valid(struct ctx *cx, void *self, const struct tree *t, int32_t *leaf, size_t n)
{
    struct fake *f = self;
    struct tree_node *own = NEW(cx, struct tree_node, t->n_nodes);
    memcpy(own, t->nodes, t->n_nodes * sizeof *own);
    for (size_t i = 0; i < t->n_nodes; i++)
        own[i].party = 0;
    CHECK(n == f->w->d.n_valid);
    return tree_route(cx, &(struct tree){t->n_nodes, own}, &f->w->valid, leaf);
}

static status fake_round(struct ctx *cx, void *self, size_t round, bool stop)
{
    (void)cx;
    struct fake *f = self;
    CHECK(round == f->rounds++ && stop == (round + 1 == f->w->p.n_rounds));
    return OK;
}

static struct gbdt_peers fake_peers(struct fake *f)
{
    return (struct gbdt_peers){.self = f,
                               .n = f->n_peers,
                               .tree_begin = fake_begin,
                               .level_begin = fake_level,
                               .level_splits = fake_splits,
                               .level_route = fake_route,
                               .tree_end = fake_end,
                               .valid_leaves = fake_valid,
                               .round_end = fake_round};
}

/* The first `own` columns of a world, as the party that has the labels sees them. */
static struct binned own_columns(struct ctx *cx, const struct binned *x, size_t own)
{
    struct bins *b = NEW(cx, struct bins, 1);
    *b = *x->bins;
    b->n_features = own;
    return (struct binned){.n_rows = x->n_rows, .bins = b, .col = x->col};
}

static void peers_make_the_same_trees(struct ctx *cx)
{
    static const size_t first[][4] = {{4, 9},    {0, 2, 3}, {7, 9, 12},  {0, 1},
                                      {3, 4, 5}, {1, 17},   {2, 4, 5, 6}};
    static const unsigned n_peers[] = {1, 2, 2, 1, 2, 1, 3};
    for (size_t k = 0; k < LEN(scenes); k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct world w, part;
        make_world(cx, &scenes[k], &w);
        w.p.subsample_feature_rate = 1;
        struct fake f = {.w = &w, .n_peers = n_peers[k]};
        memcpy(f.first, first[k], sizeof f.first);
        if (k == 3) f.first[1] = w.s->cols; /* a peer that has all; the other party has labels only */
        part = w;
        train(cx, &w, NULL);
        struct binned own = own_columns(cx, &w.x, f.first[0]);
        part.d.x = k == 3 ? NULL : &own;
        part.train_score = NEW(cx, double, w.d.n *w.e->dim),
        part.valid_score = NEW(cx, double, w.d.n_valid *w.e->dim + 1);
        struct gbdt_peers calls = fake_peers(&f);
        train(cx, &part, &calls);
        CHECK(f.calls > 0 && f.rounds == w.p.n_rounds);
        size_t theirs = 0;
        for (size_t t = 0; t < part.e->n_trees; t++) {
            struct tree_node *v = NEW(cx, struct tree_node, part.e->trees[t].n_nodes);
            memcpy(v, part.e->trees[t].nodes, part.e->trees[t].n_nodes * sizeof *v);
            for (size_t i = 0; i < part.e->trees[t].n_nodes; i++) {
                if (!v[i].party) continue;
                theirs++;
                CHECK(v[i].split == 0 && v[i].feature >= f.first[v[i].party - 1] &&
                      v[i].feature < f.first[v[i].party]);
                v[i].party = 0, v[i].split = w.x.bins->split[w.x.bins->split_at[v[i].feature] + v[i].bin];
            }
            ((struct tree *)part.e->trees)[t].nodes = v;
        }
        CHECK(theirs > 0);
        same_result(&w, &part);
        arena_rewind(cx->mem, mark);
    }
}

static void lies_of_peers(struct ctx *cx)
{
    struct world w;
    make_world(cx, &scenes[1], &w);
    for (int lie = 1; lie <= 3; lie++) {
        struct fake f = {.w = &w, .n_peers = 1, .first = {0, w.s->cols}, .lie = lie};
        struct gbdt_peers calls = fake_peers(&f);
        struct gbdt_data d = w.d;
        const struct ensemble *e = NULL;
        d.x = NULL;
        if (lie == 2)
            CHECK_ERR(gbdt_train(cx, &w.p, &d, &calls, NULL, &e), INTERNAL);
        else
            CHECK_ERR(gbdt_train(cx, &w.p, &d, &calls, NULL, &e), PROTO);
        CHECK(e == NULL);
    }
}

/* ---- what is refused ---- */

static void refuses(struct ctx *cx)
{
    struct world w;
    make_world(cx, &scenes[1], &w);
    const struct ensemble *e = NULL;
    const struct gbdt_params good = w.p;
    const struct gbdt_data data = w.d;
#define BAD(field, value)                                                                                    \
    do {                                                                                                     \
        w.p = good, w.d = data;                                                                              \
        w.field = (value);                                                                                   \
        CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), ARG);                                          \
    } while (0)
    BAD(p.tree.max_depth, 0);
    BAD(p.tree.max_depth, 31);
    CHECK(strstr(cx->err.msg, "31"));
    BAD(p.tree.l2, -1);
    BAD(p.tree.l1, (double)NAN);
    BAD(p.tree.min_impurity_split, (double)INFINITY);
    BAD(p.learning_rate, 0);
    BAD(p.n_rounds, 0);
    BAD(p.n_rounds, (1u << 24) + 1);
    BAD(p.subsample_feature_rate, 1.5);
    BAD(p.value_bits, 32);
    BAD(p.value_bits, -1);
    BAD(d.n, 0);
    BAD(d.n, 36);
    BAD(d.n_valid, 4);
    BAD(d.x, NULL);
    w.p = good, w.d = data;
    w.p.run_goss = true, w.p.top_rate = 0.6, w.p.other_rate = 0.4;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), ARG);
    w.p.top_rate = 0.01; /* no row of 37 */
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), ARG);
    w.p = good;
    double bad[37];
    memcpy(bad, data.y, sizeof bad);
    bad[5] = 2, w.d.y = bad;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), ARG);
    CHECK(strstr(cx->err.msg, "row 6"));
    for (size_t i = 0; i < 37; i++)
        bad[i] = 1;
    bad[3] = 0, w.d.y = data.y, w.d.weight = bad;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), ARG);
    CHECK(strstr(cx->err.msg, "row 4 has weight 0"));
    w.d = data, w.d.n = (size_t)1 << 31;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), LIMIT);
    struct fake f = {.w = &w, .n_peers = 32};
    struct gbdt_peers calls = fake_peers(&f);
    w.d = data;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, &calls, NULL, &e), ARG);
    CHECK(e == NULL);
}

/* Scores that grow beyond numbers end the training. */
static void explodes(struct ctx *cx)
{
    struct world w;
    const struct ensemble *e = NULL;
    make_world(cx, &scenes[6], &w);
    w.p.run_goss = false, w.p.learning_rate = 1e6;
    CHECK_ERR(gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e), ARG);
    CHECK(strstr(cx->err.msg, "no numbers any more"));
}

/* With any little memory training ends with NOMEM or is done; nothing half made is handed out. */
static void memory_runs_out(struct ctx *cx)
{
    struct world w;
    make_world(cx, &scenes[3], &w);
    struct arena *mem = cx->mem;
    size_t refused = 0, done = 0;
    for (size_t cap = 256; cap < 64 << 20 && !done; cap += cap / 2) {
        CLEANUP(arena_freep) struct arena *little = arena_new(cap);
        const struct ensemble *e = NULL;
        cx->mem = little;
        status st = gbdt_train(cx, &w.p, &w.d, NULL, NULL, &e);
        CHECK(st.code == ERR_OK || (st.code == ERR_NOMEM && e == NULL));
        refused += st.code == ERR_NOMEM, done += st.code == ERR_OK;
        cx->mem = mem;
    }
    CHECK(refused > 3 && done == 1);
}

TEST_MAIN(T(one_result_for_any_threads), T(scores_are_the_trees), T(warm_start), T(stops),
          T(peers_make_the_same_trees), T(lies_of_peers), T(refuses), T(explodes), T(memory_runs_out))
