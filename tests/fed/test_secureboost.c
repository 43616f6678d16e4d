/* HeteroSecureBoost over a hub against the same boosting on pooled columns. */
#include "base/arena.h"
#include "base/secret.h"
#include "fed/hetero_secureboost/model.h"
#include "fed/hetero_secureboost/peers.h"
#include "learn/metrics.h"
#include "tests/fed/fed.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLS_MAX 64

struct scene {
    const char *name;
    size_t n, n_valid, guest_cols, n_hosts, host_cols[2];
    unsigned classes; /* 0 = regression */
    double missing;   /* share of cells */
    const char *params;
};

static const struct scene scenes[] = {
    {"binary", 700, 0, 4, 1, {5}, 2, 0, "'num_trees': 4, 'tree_param': {'max_depth': 4}"},
    {"two hosts", 500, 0, 3, 2, {4, 3}, 2, 0, "'num_trees': 3"},
    {"label only", 400, 0, 0, 1, {6}, 2, 0, "'num_trees': 3, 'tree_param': {'max_depth': 5}"},
    {"missing", 600, 0, 3, 2, {4, 3}, 2, 0.2, "'num_trees': 3, 'use_missing': true, 'tree_param': {'max_depth': 4}"},
    {"zero as missing", 500, 0, 3, 1, {4}, 2, 0.1,
     "'num_trees': 2, 'use_missing': true, 'zero_as_missing': true, 'bin_num': 8"},
    {"multi", 500, 100, 3, 2, {3, 3}, 4, 0, "'num_trees': 3, 'validation_freqs': 1"},
    {"regression", 500, 0, 3, 1, {4}, 0, 0,
     "'num_trees': 4, 'task_type': 'regression', 'objective_param': {'objective': 'lse'}"},
    {"huber", 400, 0, 2, 1, {3}, 0, 0,
     "'num_trees': 3, 'task_type': 'regression', 'objective_param': {'objective': 'huber', 'params': [1.3]}"},
    {"goss", 900, 150, 3, 2, {4, 3}, 2, 0, "'num_trees': 4, 'run_goss': true, 'top_rate': 0.3, 'other_rate': 0.2"},
    {"early stop", 500, 200, 3, 1, {4}, 2, 0,
     "'num_trees': 40, 'learning_rate': 0.9, 'early_stopping_rounds': 2, 'validation_freqs': 1, 'metrics': ['auc'], "
     "'tree_param': {'max_depth': 4}"},
    {"min leaf", 600, 0, 3, 2, {4, 3}, 2, 0, "'num_trees': 3, 'tree_param': {'max_depth': 5, 'min_leaf_node': 20}"},
    {"min leaf, missing", 600, 0, 3, 1, {4}, 2, 0.3,
     "'num_trees': 3, 'use_missing': true, 'tree_param': {'max_depth': 5, 'min_leaf_node': 15, 'min_sample_split': 50}"},
    {"child weight", 600, 0, 3, 1, {4}, 2, 0,
     "'num_trees': 3, 'tree_param': {'max_depth': 5, 'min_child_weight': 3, 'criterion_params': [1.0, 0.5]}"},
};

struct world {
    const struct scene *s;
    size_t n_cols;
    double *x, *xv, *y, *yv; /* column-major; pooled: guest, then hosts */
    const struct table *train[3], *valid[3];
    struct task_input input[3][2];
};

static void fill(const struct scene *s, struct shuffle *r, size_t n, size_t n_cols, double *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        double z = 0;
        for (size_t j = 0; j < n_cols; j++) {
            double v = shuffle_normal(r);
            if (j % 3 == 1) v = rint(v * 2) / 2;            /* ties */
            if (j % 4 == 2 && shuffle_unit(r) < 0.4) v = 0; /* a block of zeros */
            z += v * (j % 2 ? -0.8 : 1.1) + (j ? 0.3 * v * x[(j - 1) * n + i] : 0);
            x[j * n + i] = v;
        }
        for (size_t j = 0; j < n_cols; j++)
            if (shuffle_unit(r) < s->missing) x[j * n + i] = NAN;
        z += 0.5 * shuffle_normal(r);
        if (s->classes == 0) y[i] = z;
        else if (s->classes == 2) y[i] = z > 0;
        else y[i] = z < -1.5 ? 0 : z < 0 ? 1 : z < 1.5 ? 2 : 3;
    }
}

static struct world make_world(struct ctx *cx, const struct scene *s)
{
    struct world w = {.s = s, .n_cols = s->guest_cols + s->host_cols[0] + s->host_cols[1]};
    struct shuffle r = shuffle_new(42);
    w.x = NEW(cx, double, w.n_cols * s->n), w.y = NEW(cx, double, s->n);
    w.xv = NEW(cx, double, w.n_cols * s->n_valid + 1), w.yv = NEW(cx, double, s->n_valid + 1);
    fill(s, &r, s->n, w.n_cols, w.x, w.y);
    fill(s, &r, s->n_valid, w.n_cols, w.xv, w.yv);
    const char *dir = fed_dir(cx, "world");
    size_t at = 0;
    for (size_t p = 0; p <= s->n_hosts; p++) {
        size_t cols = p ? s->host_cols[p - 1] : s->guest_cols;
        struct party who = {p ? ROLE_HOST : ROLE_GUEST, p ? 10000 + (uint32_t)p : 9999};
        w.train[p] = fed_table(cx, arena_printf(cx->mem, "%s/t%zu", dir, p), s->n, cols, w.x + at * s->n, "x",
                               p ? NULL : w.y, who);
        if (s->n_valid)
            w.valid[p] = fed_table(cx, arena_printf(cx->mem, "%s/v%zu", dir, p), s->n_valid, cols, w.xv + at * s->n_valid,
                                   "x", p ? NULL : w.yv, who);
        at += cols;
    }
    return w;
}

/* The scene's parameters with a scheme, ' for ". */
static const char *params_text(struct ctx *cx, const struct scene *s, const char *scheme)
{
    char *t = arena_printf(cx->mem, "{%s, 'encrypt_param': {'method': '%s'}}", s->params, scheme);
    for (char *c = t; *c; c++)
        if (*c == '\'') *c = '"';
    return t;
}

static void train(struct ctx *cx, struct world *w, const char *scheme, const struct fed_options *o, struct fed_result *r)
{
    struct fed_arg arg[3];
    for (size_t p = 0; p <= w->s->n_hosts; p++) {
        arg[p] = (struct fed_arg){.role = p ? ROLE_HOST : ROLE_GUEST,
                                  .id = p ? 10000 + (uint32_t)p : 9999,
                                  .params = params_text(cx, w->s, scheme)};
        arg[p].input[arg[p].n_inputs++] = (struct task_input){"train_data", "i.data", "i", w->train[p]};
        if (w->s->n_valid) arg[p].input[arg[p].n_inputs++] = (struct task_input){"validate_data", "v.data", "v", w->valid[p]};
    }
    fed_run("HeteroSecureBoost", arg, w->s->n_hosts + 1, o, r);
}

/* ---- the oracle ---- */

struct oracle {
    struct sbt_params p;
    const struct ensemble *e;
    double *train_score, *valid_score; /* after the best round */
    struct world *w;
    struct early_stop early;
    double *auc;
};

static status oracle_round(struct ctx *cx, void *self, struct gbdt_round *r)
{
    struct oracle *o = self;
    size_t n = o->w->s->n, nv = o->w->s->n_valid;
    unsigned dim = gbdt_dim(&o->p.train.objective);
    if (o->p.early_rounds) { /* the scene with early stopping watches auc alone */
        struct binary_rank rank;
        double auc;
        TRY(binary_rank(cx, o->w->yv, r->valid_score, nv, &rank));
        TRY(metric_auc(cx, &rank, &auc));
        early_stop_add(&o->early, r->round, "auc", true, auc);
        r->stop = early_stop_due(&o->early, &r->best_round);
    }
    if (r->best_round != r->round) return OK;
    memcpy(o->train_score, r->train_score, n * dim * sizeof(double));
    if (nv) memcpy(o->valid_score, r->valid_score, nv * dim * sizeof(double));
    return OK;
}

static struct oracle pooled(struct ctx *cx, struct world *w, const struct fed_result *guest, int value_bits)
{
    struct oracle o = {.w = w};
    const struct scene *s = w->s;
    struct bin_source src, srcv;
    const struct bins *bins;
    struct binned x, xv;
    CHECK_OK(cx, sbt_params_read(cx, &guest->task, &o.p));
    CHECK_OK(cx, gbdt_objective_make(cx, o.p.objective, o.p.objective_params, o.p.n_objective_params,
                                     s->classes ? s->classes : 1, &o.p.train.objective));
    unsigned dim = gbdt_dim(&o.p.train.objective);
    o.train_score = NEW(cx, double, s->n * dim), o.valid_score = NEW(cx, double, s->n_valid * dim + 1);
    o.early.rounds = o.p.early_rounds;
    o.p.train.value_bits = value_bits;
    CHECK_OK(cx, bin_source_matrix(cx, w->x, s->n, w->n_cols, 1, s->n, &src));
    CHECK_OK(cx, bins_fit(cx, &src, &o.p.bins, &bins));
    CHECK_OK(cx, bins_apply(cx, bins, &src, &x));
    if (s->n_valid) {
        CHECK_OK(cx, bin_source_matrix(cx, w->xv, s->n_valid, w->n_cols, 1, s->n_valid, &srcv));
        CHECK_OK(cx, bins_apply(cx, bins, &srcv, &xv));
    }
    struct gbdt_data d = {.n = s->n, .x = &x, .y = w->y, .valid = s->n_valid ? &xv : NULL, .n_valid = s->n_valid};
    struct gbdt_hooks hooks = {.self = &o, .on_round = oracle_round};
    CHECK_OK(cx, gbdt_train(cx, &o.p.train, &d, NULL, &hooks, &o.e));
    return o;
}

/* Column of the pooled matrix to site and the site's own column. */
static size_t pooled_column(const struct scene *s, size_t site, uint32_t column)
{
    size_t at = 0;
    if (site > 0) at += s->guest_cols;
    if (site > 1) at += s->host_cols[0];
    return at + column;
}

static size_t count_inner(const struct tree *t, size_t site)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_nodes; i++) n += !t->nodes[i].is_leaf && (size_t)t->nodes[i].party == site;
    return n;
}

static void same_tree(struct ctx *cx, const struct scene *s, const struct tree *want, const struct sbt_model *m, size_t t)
{
    (void)cx;
    const struct tree *g = &m[0].trees[t];
    CHECK(g->n_nodes == want->n_nodes);
    if (g->n_nodes != want->n_nodes) return;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct tree_node *a = &g->nodes[i], *b = &want->nodes[i];
        CHECK(a->is_leaf == b->is_leaf && a->left == b->left && a->right == b->right);
        CHECK(a->weight == b->weight);
        if (a->is_leaf || b->is_leaf) continue;
        size_t site = (size_t)a->party;
        const struct tree_node *own = &m[site].trees[t].nodes[i];
        CHECK(own->party == a->party && !own->is_leaf);
        CHECK(pooled_column(s, site, own->feature) == b->feature);
        CHECK(own->split == b->split);
        CHECK(!m[0].use_missing || own->missing_left == b->missing_left);
    }
    for (size_t p = 0; p <= s->n_hosts; p++) CHECK(count_inner(g, p) == count_inner(&m[p].trees[t], p));
}

static void same_scores(struct ctx *cx, const struct oracle *o, const struct fed_result *guest)
{
    const struct scene *s = o->w->s;
    const struct gbdt_objective *obj = &o->p.train.objective;
    unsigned dim = gbdt_dim(obj);
    const struct table *t = NULL;
    size_t n = s->n + s->n_valid;
    CHECK_OK(cx, table_open(cx, guest->out_path, &t));
    CHECK(t && t->n_rows == n);
    if (!t || t->n_rows != n) return;
    double *want = NEW(cx, double, n * dim), *got = NEW(cx, double, n);
    memcpy(want, o->train_score, s->n * dim * sizeof *want);
    memcpy(want + s->n * dim, o->valid_score, s->n_valid * dim * sizeof *want);
    gbdt_predict_from_score(obj, want, n, want);
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "predict_score"), 0, n, got));
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        double top = want[i * dim];
        for (unsigned k = 1; k < dim; k++) top = fmax(top, want[i * dim + k]);
        bad += got[i] != top;
    }
    CHECK(bad == 0);
    char buf[64];
    struct bytes type = table_cell(t, table_column(t, "type"), n - 1, buf, sizeof buf);
    CHECK(type.n == (s->n_valid ? 8u : 5u) && memcmp(type.p, s->n_valid ? "validate" : "train", type.n) == 0);
}

static int value_bits_of(const struct scene *s, const struct sbt_params *p)
{
    size_t n = p->train.run_goss ? gbdt_goss_rows(&p->train, s->n) : s->n;
    int rows = 0;
    while (((size_t)1 << rows) < n) rows++;
    int most = he_sum_bits_max(p->scheme, p->key_bits, n, 2) - rows - 1;
    return most < SBT_VALUE_BITS ? most : SBT_VALUE_BITS;
}

static void all_ok(struct fed_result *r, size_t n)
{
    for (size_t p = 0; p < n; p++) {
        if (r[p].code) printf("# party %zu: %s: %s\n", p, err_name(r[p].code), r[p].msg);
        CHECK(r[p].code == ERR_OK);
    }
}

static bool load_models(struct ctx *cx, const struct fed_result *r, size_t n, struct sbt_model *m)
{
    for (size_t p = 0; p < n; p++) {
        if (!r[p].task.model_out) return false;
        CHECK_OK(cx, sbt_model_load(cx, &r[p].task, r[p].task.model_out, &m[p]));
    }
    return true;
}

static void against_pooled(struct ctx *cx, const struct scene *s, const char *scheme, unsigned threads)
{
    struct arena_mark mark = arena_mark(cx->mem);
    struct world w = make_world(cx, s);
    struct fed_result r[3];
    struct fed_options o = {.threads = threads};
    train(cx, &w, scheme, &o, r);
    all_ok(r, s->n_hosts + 1);
    struct sbt_model m[3];
    struct sbt_params p;
    CHECK_OK(cx, sbt_params_read(cx, &r[0].task, &p));
    if (r[0].code == ERR_OK && load_models(cx, r, s->n_hosts + 1, m)) {
        struct oracle want = pooled(cx, &w, &r[0], value_bits_of(s, &p));
        size_t rounds = p.early_rounds ? want.e->best_round + 1 : want.e->n_rounds;
        CHECK(m[0].n_trees == rounds * want.e->dim && m[0].dim == want.e->dim);
        CHECK(m[1].n_trees == m[0].n_trees);
        for (size_t t = 0; t < m[0].n_trees && t < rounds * want.e->dim; t++) same_tree(cx, s, &want.e->trees[t], m, t);
        for (size_t i = 0; i < m[0].n_losses; i++) CHECK(m[0].losses[i] == want.e->losses[i]);
        same_scores(cx, &want, &r[0]);
        size_t theirs = 0;
        for (size_t t = 0; t < m[0].n_trees; t++) theirs += count_inner(&m[1].trees[t], 1);
        CHECK(theirs > 0); /* otherwise the scene tests nothing */
    }
    fed_free(r, s->n_hosts + 1);
    arena_rewind(cx->mem, mark);
}

static void lattice_is_pooled(struct ctx *cx)
{
    for (size_t i = 0; i < LEN(scenes); i++) {
        printf("# %s\n", scenes[i].name);
        against_pooled(cx, &scenes[i], "Lattice", 1 + (unsigned)i % 3);
    }
}

static void paillier_is_pooled(struct ctx *cx)
{
    static const size_t some[] = {3, 8, 11};
    for (size_t i = 0; i < LEN(some); i++) {
        printf("# %s\n", scenes[some[i]].name);
        against_pooled(cx, &scenes[some[i]], "Paillier", 2);
    }
}

TEST_MAIN(T(lattice_is_pooled), T(paillier_is_pooled))
