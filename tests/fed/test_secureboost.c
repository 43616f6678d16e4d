/* HeteroSecureBoost over a hub against the same boosting on pooled columns. */
#include "base/arena.h"
#include "base/secret.h"
#include "fed/hetero_secureboost/model.h"
#include "fed/hetero_secureboost/peers.h"
#include "fed/hetero_secureboost/predict.h"
#include "learn/metrics.h"
#include "tests/fed/world.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct scene scenes[] = {
    {"binary", 700, 0, 4, 1, {5}, 2, 0, "'num_trees': 4, 'tree_param': {'max_depth': 4}"},
    {"two hosts", 500, 0, 3, 2, {4, 3}, 2, 0, "'num_trees': 3"},
    {"label only", 400, 0, 0, 1, {6}, 2, 0, "'num_trees': 3, 'tree_param': {'max_depth': 5}"},
    {"missing",
     600,
     0,
     3,
     2,
     {4, 3},
     2,
     0.2,
     "'num_trees': 3, 'use_missing': true, 'tree_param': {'max_depth': 4}"},
    {"zero as missing",
     500,
     0,
     3,
     1,
     {4},
     2,
     0.1,
     "'num_trees': 2, 'use_missing': true, 'zero_as_missing': true, 'bin_num': 8"},
    {"multi", 500, 100, 3, 2, {3, 3}, 4, 0, "'num_trees': 3, 'validation_freqs': 1"},
    {"regression",
     500,
     0,
     3,
     1,
     {4},
     0,
     0,
     "'num_trees': 4, 'task_type': 'regression', 'objective_param': {'objective': 'lse'}"},
    {"huber",
     400,
     0,
     2,
     1,
     {3},
     0,
     0,
     "'num_trees': 3, 'task_type': 'regression', 'objective_param': {'objective': 'huber', 'params': [1.3]}"},
    {"goss",
     900,
     150,
     3,
     2,
     {4, 3},
     2,
     0,
     "'num_trees': 4, 'run_goss': true, 'top_rate': 0.3, 'other_rate': 0.2"},
    {"early stop",
     500,
     200,
     3,
     1,
     {4},
     2,
     0,
     "'num_trees': 40, 'learning_rate': 0.9, 'early_stopping_rounds': 2, 'validation_freqs': 1, 'metrics': "
     "['auc'], "
     "'tree_param': {'max_depth': 4}"},
    {"min leaf",
     600,
     0,
     3,
     2,
     {4, 3},
     2,
     0,
     "'num_trees': 3, 'tree_param': {'max_depth': 5, 'min_leaf_node': 20}"},
    {"min leaf, missing",
     600,
     0,
     3,
     1,
     {4},
     2,
     0.3,
     "'num_trees': 3, 'use_missing': true, 'tree_param': {'max_depth': 5, 'min_leaf_node': 15, "
     "'min_sample_split': 50}"},
    {"child weight",
     600,
     0,
     3,
     1,
     {4},
     2,
     0,
     "'num_trees': 3, 'tree_param': {'max_depth': 5, 'min_child_weight': 3, 'criterion_params': [1.0, 0.5]}"},
};

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
    o.train_score = NEW(cx, double, s->n *dim), o.valid_score = NEW(cx, double, s->n_valid *dim + 1);
    o.early.rounds = o.p.early_rounds;
    o.p.train.value_bits = value_bits;
    CHECK_OK(cx, bin_source_matrix(cx, w->x, s->n, w->n_cols, 1, s->n, &src));
    CHECK_OK(cx, bins_fit(cx, &src, &o.p.bins, &bins));
    CHECK_OK(cx, bins_apply(cx, bins, &src, &x));
    if (s->n_valid) {
        CHECK_OK(cx, bin_source_matrix(cx, w->xv, s->n_valid, w->n_cols, 1, s->n_valid, &srcv));
        CHECK_OK(cx, bins_apply(cx, bins, &srcv, &xv));
    }
    struct gbdt_data d = {
        .n = s->n, .x = &x, .y = w->y, .valid = s->n_valid ? &xv : NULL, .n_valid = s->n_valid};
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
    for (size_t i = 0; i < t->n_nodes; i++)
        n += !t->nodes[i].is_leaf && (size_t)t->nodes[i].party == site;
    return n;
}

static void same_tree(struct ctx *cx, const struct scene *s, const struct tree *want,
                      const struct sbt_model *m, size_t t)
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
    for (size_t p = 0; p <= s->n_hosts; p++)
        CHECK(count_inner(g, p) == count_inner(&m[p].trees[t], p));
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
    double *want = NEW(cx, double, n *dim), *got = NEW(cx, double, n);
    memcpy(want, o->train_score, s->n * dim * sizeof *want);
    memcpy(want + s->n * dim, o->valid_score, s->n_valid * dim * sizeof *want);
    gbdt_predict_from_score(obj, want, n, want);
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "predict_score"), 0, n, got));
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        double top = want[i * dim];
        for (unsigned k = 1; k < dim; k++)
            top = fmax(top, want[i * dim + k]);
        bad += got[i] != top;
    }
    CHECK(bad == 0);
    char buf[64];
    struct bytes type = table_cell(t, table_column(t, "type"), n - 1, buf, sizeof buf);
    CHECK(type.n == (s->n_valid ? 8u : 5u) && memcmp(type.p, s->n_valid ? "validate" : "train", type.n) == 0);
}

static int value_bits_of(const struct scene *s, const struct sbt_params *p)
{
    return sbt_value_bits(p, p->train.run_goss ? gbdt_goss_rows(&p->train, s->n) : s->n);
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
    struct world w = world_make(cx, s);
    struct fed_result r[3];
    struct fed_options o = {.threads = threads};
    world_train(cx, &w, scheme, &o, r);
    world_all_ok(r, s->n_hosts + 1);
    struct sbt_model m[3];
    struct sbt_params p;
    CHECK_OK(cx, sbt_params_read(cx, &r[0].task, &p));
    if (r[0].code == ERR_OK && load_models(cx, r, s->n_hosts + 1, m)) {
        struct oracle want = pooled(cx, &w, &r[0], value_bits_of(s, &p));
        size_t rounds = p.early_rounds ? want.e->best_round + 1 : want.e->n_rounds;
        CHECK(m[0].n_trees == rounds * want.e->dim && m[0].dim == want.e->dim);
        CHECK(m[1].n_trees == m[0].n_trees);
        for (size_t t = 0; t < m[0].n_trees && t < rounds * want.e->dim; t++)
            same_tree(cx, s, &want.e->trees[t], m, t);
        for (size_t i = 0; i < m[0].n_losses; i++)
            CHECK(m[0].losses[i] == want.e->losses[i]);
        same_scores(cx, &want, &r[0]);
        size_t theirs = 0;
        for (size_t t = 0; t < m[0].n_trees; t++)
            theirs += count_inner(&m[1].trees[t], 1);
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

/* ---- prediction on new rows ---- */

static const struct scene predict_scenes[] = {
    {"binary", 500, 300, 3, 2, {4, 3}, 2, 0, "'num_trees': 5, 'tree_param': {'max_depth': 5}"},
    {"missing",
     500,
     300,
     3,
     2,
     {4, 3},
     2,
     0.2,
     "'num_trees': 3, 'use_missing': true, 'zero_as_missing': true"},
    {"multi", 500, 300, 2, 1, {4}, 4, 0, "'num_trees': 3"},
    {"regression",
     500,
     70,
     0,
     2,
     {3, 3},
     0,
     0,
     "'num_trees': 4, 'task_type': 'regression', 'objective_param': {'objective': 'log_cosh'}"},
    {"one row", 300, 1, 2, 1, {3}, 2, 0, "'num_trees': 3"},
};

static void predicts_new_rows(struct ctx *cx)
{
    for (size_t k = 0; k < LEN(predict_scenes); k++) {
        const struct scene *s = &predict_scenes[k];
        struct world w = world_make(cx, s);
        struct fed_result r[3], q[3];
        struct fed_options o = {.threads = 2};
        printf("# %s\n", s->name);
        world_train(cx, &w, "Lattice", &o, r);
        world_all_ok(r, s->n_hosts + 1);
        world_predict(cx, &w, r, &o, q);
        world_all_ok(q, s->n_hosts + 1);
        struct sbt_params p;
        CHECK_OK(cx, sbt_params_read(cx, &r[0].task, &p));
        struct oracle want = pooled(cx, &w, &r[0], value_bits_of(s, &p));
        struct bin_source src;
        const struct gbdt_objective *obj = &want.p.train.objective;
        unsigned dim = gbdt_dim(obj);
        double *score = NEW(cx, double, s->n_valid *dim), *got = NEW(cx, double, s->n_valid);
        CHECK_OK(cx, bin_source_matrix(cx, w.xv, s->n_valid, w.n_cols, 1, s->n_valid, &src));
        CHECK_OK(cx, ensemble_score(cx, want.e, &src, want.p.bins.zero_as_missing, 0, score));
        gbdt_predict_from_score(obj, score, s->n_valid, score);
        const struct table *t = NULL;
        CHECK_OK(cx, table_open(cx, q[0].out_path, &t));
        CHECK(t->n_rows == s->n_valid);
        CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "predict_score"), 0, s->n_valid, got));
        for (size_t i = 0; i < s->n_valid; i++) {
            double top = score[i * dim];
            for (unsigned c = 1; c < dim; c++)
                top = fmax(top, score[i * dim + c]);
            CHECK(got[i] == top);
        }
        fed_free(q, s->n_hosts + 1);
        fed_free(r, s->n_hosts + 1);
    }
}

/* The table's texts, against Python's. */
static void prediction_table(struct ctx *cx)
{
    static const double y[] = {0, 1, 1, 0};
    static const double score[] = {0, 1, -1, 1e-5};
    static const char *const detail[] = {
        "{'0': 0.5, '1': 0.5}",
        "{'0': 0.2689414213699951, '1': 0.7310585786300049}",
        "{'0': 0.7310585786300049, '1': 0.2689414213699951}",
        "{'0': 0.4999975000000001, '1': 0.5000024999999999}",
    };
    static const int64_t result[] = {0, 1, 0, 1};
    const char *dir = fed_dir(cx, "table");
    struct party guest = {ROLE_GUEST, 9999};
    const struct table *in = fed_table(cx, arena_printf(cx->mem, "%s/in", dir), 4, 0, NULL, "x", y, guest),
                       *t = NULL;
    struct sbt_model m = {.dim = 1, .n_classes = 2, .classes = (const double[]){0, 1}};
    CHECK_OK(cx, gbdt_objective_make(cx, "cross_entropy", NULL, 0, 2, &m.objective));
    struct sbt_part part = {in, score, "train"};
    const char *path = arena_printf(cx->mem, "%s/out", dir);
    CHECK_OK(cx, sbt_write_predictions(cx, &m, 0.5, &part, 1, path));
    CHECK_OK(cx, table_open(cx, path, &t));
    CHECK(t->n_rows == 4 && t->n_cols == 5 && strcmp(t->id_name, "id") == 0);
    for (size_t i = 0; i < 4; i++) {
        char buf[64];
        struct bytes d = table_cell(t, table_column(t, "predict_detail"), i, buf, sizeof buf);
        CHECK(d.n == strlen(detail[i]) && memcmp(d.p, detail[i], d.n) == 0);
        if (d.n != strlen(detail[i]) || memcmp(d.p, detail[i], d.n)) printf("# %.*s\n", (int)d.n, d.p);
        double x;
        CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "predict_result"), i, i + 1, &x));
        CHECK(x == (double)result[i]);
        CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "label"), i, i + 1, &x));
        CHECK(x == y[i] && table_column(t, "label")->type == COL_I64);
    }
}

/* ---- one model whatever the threads and the randomness ---- */

static bool same_part(const struct model_part *a, const struct model_part *b)
{
    bool same = a->n_buffers == b->n_buffers;
    for (size_t i = 0; same && i < a->n_buffers; i++)
        same = a->buffers[i].pb.n == b->buffers[i].pb.n &&
               memcmp(a->buffers[i].pb.p, b->buffers[i].pb.p, a->buffers[i].pb.n) == 0;
    return same;
}

static void deterministic(struct ctx *cx)
{
    static const struct scene s = {
        "sampled",
        800,
        100,
        5,
        2,
        {7, 6},
        2,
        0.1,
        "'num_trees': 4, 'use_missing': true, 'subsample_feature_rate': 0.5, 'run_goss': true, "
        "'tree_param': {'max_depth': 5}"};
    struct world w = world_make(cx, &s);
    struct fed_result r[4][3];
    for (unsigned k = 0; k < 4;
         k++) { /* the last with another scheme: only the value bits could differ, both hold 30 */
        struct fed_options o = {.threads = 1u << k % 3};
        world_train(cx, &w, k == 3 ? "Paillier" : "Lattice", &o, r[k]);
        world_all_ok(r[k], 3);
        for (size_t p = 0; p < 3 && k > 0; p++)
            CHECK(same_part(r[0][p].task.model_out, r[k][p].task.model_out));
    }
    struct sbt_model m;
    CHECK_OK(cx, sbt_model_load(cx, &r[0][1].task, r[0][1].task.model_out, &m));
    for (size_t t = 0; t < m.n_trees; t++) { /* half of 7 columns: at most 3 in a tree */
        bool used[7] = {0};
        size_t n = 0;
        for (size_t i = 0; i < m.trees[t].n_nodes; i++) {
            const struct tree_node *v = &m.trees[t].nodes[i];
            if (!v->is_leaf && v->party == 1 && !used[v->feature]) used[v->feature] = true, n++;
        }
        CHECK(n <= 3);
    }
    for (unsigned k = 0; k < 4; k++)
        fed_free(r[k], 3);
}

/* The first rounds keep to the guest's columns; hosts still learn the shapes of these trees. */
static void complete_secure(struct ctx *cx)
{
    static const struct scene s = {"secure", 500, 0, 3, 1, {5}, 2, 0, "'num_trees': 4, 'complete_secure': 2"};
    struct world w = world_make(cx, &s);
    struct fed_result r[2];
    struct sbt_model m[2];
    world_train(cx, &w, "Lattice", NULL, r);
    world_all_ok(r, 2);
    if (load_models(cx, r, 2, m)) {
        CHECK(m[1].n_trees == 4);
        for (size_t t = 0; t < 4; t++) {
            CHECK(m[0].trees[t].n_nodes == m[1].trees[t].n_nodes);
            CHECK(t < 2 ? count_inner(&m[0].trees[t], 1) == 0 : count_inner(&m[1].trees[t], 1) > 0);
        }
    }
    fed_free(r, 2);
}

/* ---- what is refused ---- */

static void expect(struct ctx *cx, const struct scene *s, const char *scheme, enum err_code guest,
                   enum err_code host, const char *says)
{
    struct arena_mark mark = arena_mark(cx->mem);
    struct world w = world_make(cx, s);
    struct fed_result r[3];
    world_train(cx, &w, scheme, NULL, r);
    CHECK(r[0].code == guest);
    CHECK(r[1].code == host);
    CHECK(strstr(r[0].msg, says) != NULL);
    if (r[0].code != guest || r[1].code != host || !strstr(r[0].msg, says)) {
        printf("# %s: guest %s: %s\n", s->name, err_name(r[0].code), r[0].msg);
        printf("# %s: host %s: %s\n", s->name, err_name(r[1].code), r[1].msg);
    }
    fed_free(r, s->n_hosts + 1);
    arena_rewind(cx->mem, mark);
}

static void refuses(struct ctx *cx)
{
    static const struct scene ok = {"scheme", 100, 0, 2, 1, {2}, 2, 0, "'num_trees': 1"};
    static const struct scene bare = {"bare host", 100, 0, 2, 1, {0}, 2, 0, "'num_trees': 1"};
    static const struct scene holes = {"missing cells", 100, 0, 2, 1, {2}, 2, 0.5, "'num_trees': 1"};
    static const struct scene early = {"no validation",
                                       100,
                                       0,
                                       2,
                                       1,
                                       {2},
                                       2,
                                       0,
                                       "'num_trees': 1, 'validation_freqs': 1, 'early_stopping_rounds': 1"};
    static const struct scene metric = {
        "metric", 100, 0, 2, 1, {2}, 2, 0, "'num_trees': 1, 'validation_freqs': 1, 'metrics': ['r2']"};
    expect(cx, &ok, "IterativeAffine", ERR_UNSUPPORTED, ERR_UNSUPPORTED, "encrypt_param.method");
    expect(cx, &ok, "None", ERR_UNSUPPORTED, ERR_UNSUPPORTED, "encrypt_param.method");
    expect(cx, &ok, "Caesar", ERR_UNSUPPORTED, ERR_UNSUPPORTED, "encrypt_param.method");
    expect(cx, &bare, "Lattice", ERR_ARG, ERR_ARG, "host 10001: it has no feature columns");
    expect(cx, &holes, "Lattice", ERR_ARG, ERR_ARG, "use_missing is false");
    expect(cx, &early, "Lattice", ERR_ARG, ERR_PEER, "needs validate_data");
    expect(cx, &metric, "Lattice", ERR_ARG, ERR_PEER, "r2");
}

/* Labels of one class, rows that differ, a host that expects another scheme. */
static void refuses_mismatch(struct ctx *cx)
{
    static const struct scene s = {"a", 100, 0, 2, 1, {2}, 2, 0, "'num_trees': 1"};
    static const struct scene s2 = {"b", 90, 0, 2, 1, {2}, 2, 0, "'num_trees': 1"};
    struct world a = world_make(cx, &s), b = world_make(cx, &s2), one = a;
    struct fed_result r[2];
    one.train[1] = b.train[1];
    world_train(cx, &one, "Lattice", NULL, r);
    CHECK(r[0].code == ERR_ARG && strstr(r[0].msg, "run Intersection first") && r[1].code == ERR_PEER);
    fed_free(r, 2);
    double *y = NEW(cx, double, 100);
    struct party guest = {ROLE_GUEST, 9999};
    one = a;
    one.train[0] =
        fed_table(cx, arena_printf(cx->mem, "%s/one", fed_dir(cx, "one")), 100, 2, a.x, "x", y, guest);
    world_train(cx, &one, "Lattice", NULL, r);
    CHECK(r[0].code == ERR_ARG && strstr(r[0].msg, "2 classes or more") && r[1].code == ERR_PEER);
    fed_free(r, 2);
    struct fed_arg arg[2] = {{ROLE_GUEST,
                              9999,
                              world_params(cx, &s, "Lattice"),
                              {{"train_data", "i.data", "i", a.train[0]}},
                              1,
                              NULL},
                             {ROLE_HOST,
                              10001,
                              world_params(cx, &s, "Paillier"),
                              {{"train_data", "i.data", "i", a.train[1]}},
                              1,
                              NULL}};
    fed_run("HeteroSecureBoost", arg, 2, NULL, r);
    CHECK(r[1].code == ERR_AUTH && r[0].code == ERR_PEER);
    fed_free(r, 2);
}

/* ---- hosts that lie ---- */

enum lie { CUT, EXTEND, EMPTY, NOISE, FLIP, LIE_COUNT };
struct liar {
    struct channel *real;
    struct channel mine;
    const char *tag;
    unsigned at, seen; /* which message of the tag */
    enum lie lie;
    struct shuffle rnd;
};

static status liar_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p, size_t n)
{
    struct liar *l = self;
    if (strcmp(tag, l->tag) != 0 || l->seen++ != l->at) return channel_send(cx, l->real, to, tag, p, n);
    uint8_t *q = NEW(cx, uint8_t, n + 9);
    memcpy(q, p, n);
    if (l->lie == CUT) n = n ? n - 1 : 0;
    if (l->lie == EXTEND) n += 9;
    if (l->lie == EMPTY) n = 0;
    for (size_t i = 0; l->lie == NOISE && i < n; i++)
        q[i] = (uint8_t)shuffle_u64(&l->rnd);
    if (l->lie == FLIP && n) q[n / 2] ^= 0x11;
    return channel_send(cx, l->real, to, tag, q, n);
}
static status liar_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    return channel_recv(cx, ((struct liar *)self)->real, from, tag, out);
}

static const struct lie_case {
    const char *tag;
    unsigned at;
} lie_cases[] = {{"sbt.features", 0}, {"sbt.sums", 0}, {"sbt.sums", 3},
                 {"sbt.left", 0},     {"sbt.mask", 1}, {"sbt.answer", 0}};
static struct { /* which lie this run tells; the parties' threads only read it */
    const struct lie_case *c;
    enum lie lie;
} lying;

static status liar_run(struct ctx *cx, struct task *t)
{
    static const struct channel_ops ops = {.send = liar_send, .recv = liar_recv};
    struct liar l = {
        .real = t->channel, .tag = lying.c->tag, .at = lying.c->at, .lie = lying.lie, .rnd = shuffle_new(7)};
    l.mine = (struct channel){&ops, &l};
    t->channel = &l.mine;
    return t->component->run[t->me.role](cx, t);
}

/* A malformed message ends the guest's run with PROTO. What is well-formed but false may pass (FLIP, and NOISE of rows or
 * masks): the guest must end with a status of its own, never crash; sums and rows that disagree are found. */
static void lies_are_found(struct ctx *cx)
{
    static const struct scene s = {
        "lies", 200, 60,
        1,      1,   {4},
        2,      0,   "'num_trees': 2, 'tree_param': {'max_depth': 3, 'min_leaf_node': 3}"};
    struct world w = world_make(cx, &s);
    struct fed_result honest[2];
    world_train(cx, &w, "Lattice", NULL, honest);
    world_all_ok(honest, 2);
    for (size_t i = 0; i < LEN(lie_cases); i++) {
        for (int lie = 0; lie < LIE_COUNT; lie++) {
            struct fed_result r[2];
            struct fed_options o = {.liar = liar_run, .liar_at = 1};
            lying.c = &lie_cases[i], lying.lie = (enum lie)lie;
            if (strcmp(lie_cases[i].tag, "sbt.answer") == 0)
                world_predict(cx, &w, honest, &o, r);
            else
                world_train(cx, &w, "Lattice", &o, r);
            bool found = r[0].code == ERR_PROTO ||
                         (strcmp(lie_cases[i].tag, "sbt.features") == 0 && r[0].code != ERR_OK);
            if (lie <= EMPTY)
                CHECK(found);
            else
                CHECK(found || r[0].code == ERR_OK);
            if ((lie <= EMPTY && !found) || (r[0].code && !found))
                printf("# %s lie %d: %s: %s\n", lie_cases[i].tag, lie, err_name(r[0].code), r[0].msg);
            fed_free(r, 2);
        }
    }
    fed_free(honest, 2);
}

TEST_MAIN(T(lattice_is_pooled), T(paillier_is_pooled), T(predicts_new_rows), T(prediction_table),
          T(deterministic), T(complete_secure), T(refuses), T(refuses_mismatch), T(lies_are_found))
