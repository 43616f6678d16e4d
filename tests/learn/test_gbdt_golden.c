/* Training against others: XGBoost on small columns; the trees that FATE recorded; XGBoost on default credit. The last two
 * need the shared data. */
#include "base/js.h"
#include "base/num.h"
#include "learn/gbdt_int.h"
#include "learn/metrics.h"
#include "tests/test.h"
#include <math.h>

/* ---- against XGBoost ---- */

#define N    240
#define COLS 4

/* x[i][f] = i * mul % mod, an edge at every value; missing where (31 i + 17 f) % 7 == 0, if at all. */
static const unsigned mul[COLS] = {37, 53, 71, 97}, mod[COLS] = {13, 17, 11, 23};

static double cell(size_t i, size_t f, bool missing)
{
    if (missing && (i * 31 + f * 17) % 7 == 0) return (double)NAN;
    return (double)(i * mul[f] % mod[f]);
}
static double real_label(size_t i)
{
    double a = cell(i, 1, false) - 8, c = cell(i, 3, false) > 11 ? cell(i, 2, false) : 0;
    return cell(i, 0, false) / 4 + a * a / 20 - c / 3 + 2 * ((double)(i * 211 % 199) / 199 - 0.5);
}
static double label(size_t i, const struct gbdt_objective *o)
{
    double y = real_label(i);
    if (o->n_classes == 2) return y > 1;
    if (o->n_classes == 3) return y < 0 ? 0 : y < 2.5 ? 1 : 2;
    return o->loss == GBDT_TWEEDIE ? fabs(y) : y;
}

/* XGBoost 3.2.0, 5 rounds, on the columns above:
 *   xgb.train({tree_method: hist, max_bin: 64, max_depth: 3, reg_lambda: .., min_child_weight: 0, gamma: 0, learning_rate: 0.3,
 *              objective: ..}, DMatrix(x, y, weight), 5).predict(output_margin=True)
 * Margins of rows 0, 1, 2, 50, 100, 239 and the sum of all |margin|; of softmax less the row's mean. Its h is twice ours
 * for softmax, its g and h are half of ours for squared error: l2 and the rate are set to match. weight = 1 + i % 4 / 2. */
static const struct peer_case {
    const char *name, *objective;
    double param;
    unsigned n_classes;
    bool missing, weighted;
    double l2, l1, rate, child_weight;
    double margin[18], sum;
} vectors[] = {
    {"logistic",
     "cross_entropy",
     0,
     2,
     false,
     false,
     0.7,
     0,
     0.3,
     0,
     {1.297, 1.911978, 1.911978, -1.411903, -0.387865, -0.9286118},
     281.32875},
    {"missing",
     "cross_entropy",
     0,
     2,
     true,
     false,
     0.7,
     0,
     0.3,
     0,
     {1.634557, 1.812264, 1.333645, -1.123941, -0.2810876, -1.282969},
     265.61804},
    {"weighted",
     "cross_entropy",
     0,
     2,
     false,
     true,
     0.7,
     0,
     0.3,
     0,
     {1.718206, 1.982077, 1.667563, -1.588932, -0.3613154, -1.550112},
     293.98017},
    {"l1",
     "cross_entropy",
     0,
     2,
     false,
     false,
     0.7,
     0.4,
     0.3,
     0,
     {1.089965, 1.777273, 1.777273, -0.9198231, -0.5968453, -1.457383},
     266.27604},
    {"child weight",
     "cross_entropy",
     0,
     2,
     false,
     false,
     0.7,
     0,
     0.3,
     4,
     {1.367129, 1.845845, 1.773111, -1.253591, -0.3331951, -1.429966},
     276.86564},
    {"softmax",
     "cross_entropy",
     0,
     3,
     false,
     false,
     0.5,
     0,
     0.15,
     0,
     {-0.6965931, -0.2927082, 0.9893013, -0.888601, -0.589204, 1.477805, -0.9700918, 0.007018576, 0.9630733,
      0.4212751, 0.2004127, -0.6216878, -0.3194741, 0.6756947, -0.3562206, 0.7369833, 0.278818, -1.015801},
     444.21015},
    {"squared",
     "lse",
     0,
     1,
     true,
     false,
     1,
     0,
     0.3,
     0,
     {2.592345, 3.218524, 2.677728, 0.8529116, 1.228711, 0.9333944},
     456.75798},
    {"huber",
     "huber",
     1.5,
     1,
     false,
     false,
     0.5,
     0,
     0.3,
     0,
     {2.187851, 4.548516, 2.617342, 0.4512708, 1.447239, 0.02796546},
     483.86513},
    {"tweedie",
     "tweedie",
     1.4,
     1,
     false,
     false,
     0.5,
     0,
     0.3,
     0,
     {0.4753434, 1.130948, 1.008913, -0.118654, 0.1317461, 0.1244331},
     135.46903},
};

struct keep_scores {
    double *to;
    size_t n;
};
static status keep_scores(struct ctx *cx, void *self, struct gbdt_round *r)
{
    (void)cx;
    struct keep_scores *k = self;
    memcpy(k->to, r->train_score, k->n * sizeof *k->to);
    return OK;
}

static void cut_values(struct ctx *cx, bool missing, struct binned *out)
{
    uint32_t at[COLS + 1] = {0};
    double edge[64], *x = NEW(cx, double, N *COLS);
    struct bin_source s;
    const struct bins *b = NULL;
    for (size_t f = 0; f < COLS; f++) {
        at[f + 1] = at[f] + mod[f];
        for (unsigned v = 0; v < mod[f]; v++)
            edge[at[f] + v] = v;
        for (size_t i = 0; i < N; i++)
            x[f * N + i] = cell(i, f, missing);
    }
    CHECK_OK(cx, bin_source_matrix(cx, x, N, COLS, 1, N, &s));
    CHECK_OK(cx, bins_make(cx, COLS, at, edge, missing, false, &b));
    CHECK_OK(cx, bins_apply(cx, b, &s, out));
}

static void margins_are_xgboosts(struct ctx *cx)
{
    static const size_t rows[] = {0, 1, 2, 50, 100, 239};
    for (size_t k = 0; k < LEN(vectors); k++) {
        const struct peer_case *c = &vectors[k];
        struct gbdt_params p = {
            .tree = {.max_depth = 3, .l2 = c->l2, .l1 = c->l1, .min_child_weight = c->child_weight},
            .learning_rate = c->rate,
            .n_rounds = 5,
            .subsample_feature_rate = 1,
            .value_bits = 30};
        double y[N], w[N], score[N * 3], sum = 0;
        struct binned x;
        const struct ensemble *e = NULL;
        CHECK_OK(cx, gbdt_objective_make(cx, c->objective, &c->param, 1, c->n_classes, &p.objective));
        unsigned dim = gbdt_dim(&p.objective);
        for (size_t i = 0; i < N; i++)
            y[i] = label(i, &p.objective), w[i] = 1 + (double)(i % 4) / 2;
        cut_values(cx, c->missing, &x);
        struct gbdt_data d = {.n = N, .x = &x, .y = y, .weight = c->weighted ? w : NULL};
        struct keep_scores keep = {score, N * dim};
        struct gbdt_hooks hooks = {.self = &keep, .on_round = keep_scores};
        CHECK_OK(cx, gbdt_train(cx, &p, &d, NULL, &hooks, &e));
        for (size_t i = 0; i < N && dim > 1; i++) {
            double mean = (score[i * 3] + score[i * 3 + 1] + score[i * 3 + 2]) / 3;
            for (size_t q = 0; q < 3; q++)
                score[i * 3 + q] -= mean;
        }
        for (size_t i = 0; i < N * dim; i++)
            sum += fabs(score[i]);
        bool same = fabs(sum - c->sum) < 1e-3;
        for (size_t i = 0; i < LEN(rows) * dim; i++)
            same = same && fabs(score[rows[i / dim] * dim + i % dim] - c->margin[i]) < 1e-5;
        CHECK(same);
        if (!same)
            printf("# %s: sum %.7g, margins %.7g %.7g %.7g\n", c->name, sum, score[0], score[dim],
                   score[2 * dim]);
    }
}

/* ---- shared data ---- */

#define GOLDEN "golden/hetero_secureboost"
#define MODEL  ".hetero_secure_boost_0.output_model.json"

#define LINE_MAX_BYTES 65536
#define ROWS_MOST      40000

struct csv { /* numbers after the id; column-major */
    size_t n, cols;
    double *id, *x;
};

static bool load(struct ctx *cx, const char *name, struct csv *out)
{
    const char *path = test_shared(cx, arena_printf(cx->mem, "data/%s", name));
    char *line = NEW(cx, char, LINE_MAX_BYTES);
    FILE *f = path ? fopen(path, "re") : NULL;
    if (!f) return false;
    *out = (struct csv){.id = NEW(cx, double, ROWS_MOST)};
    if (fgets(line, LINE_MAX_BYTES, f))
        for (const char *c = line; *c; c++)
            out->cols += *c == ',';
    double *rows = NEW(cx, double, ROWS_MOST * out->cols);
    for (; out->n < ROWS_MOST && fgets(line, LINE_MAX_BYTES, f); out->n++) {
        const char *at = line;
        for (size_t j = 0; j <= out->cols; j++) {
            size_t len = strcspn(at, ",\r\n");
            double *to = j ? &rows[out->n * out->cols + j - 1] : &out->id[out->n];
            CHECK(num_parse_f64(at, len, to));
            at += len + 1;
        }
    }
    fclose(f);
    out->x = NEW(cx, double, out->n * out->cols);
    for (size_t i = 0; i < out->n * out->cols; i++)
        out->x[i % out->cols * out->n + i / out->cols] = rows[i];
    return true;
}

struct pooled { /* the guest's columns, then the host's, rows by the guest's ids */
    size_t n, cols, guest_cols;
    double *x, *y;
    struct bin_source raw;
    struct binned binned;
};

static bool join(struct ctx *cx, const char *name, struct pooled *out)
{
    struct csv g, h;
    if (!load(cx, arena_printf(cx->mem, "%s_hetero_guest.csv", name), &g)) return false;
    if (!load(cx, arena_printf(cx->mem, "%s_hetero_host.csv", name), &h)) return false;
    size_t n = g.n, own = g.cols - 1, k = 0;
    *out = (struct pooled){.n = n, .cols = own + h.cols, .guest_cols = own, .y = g.x};
    out->x = NEW(cx, double, n * out->cols);
    memcpy(out->x, g.x + n, n * own * sizeof *out->x);
    for (size_t i = 0; i < n; i++) {
        for (size_t tries = 0; tries < h.n && h.id[k] != g.id[i]; tries++)
            k = k + 1 < h.n ? k + 1 : 0;
        CHECK(h.id[k] == g.id[i]);
        for (size_t j = 0; j < h.cols; j++)
            out->x[(own + j) * n + i] = h.x[j * h.n + k];
    }
    struct bin_params p = {32, false, false};
    const struct bins *b = NULL;
    CHECK_OK(cx, bin_source_matrix(cx, out->x, n, out->cols, 1, n, &out->raw));
    CHECK_OK(cx, bins_fit(cx, &out->raw, &p, &b));
    CHECK_OK(cx, bins_apply(cx, b, &out->raw, &out->binned));
    return true;
}

/* FATE's defaults for what is not said. */
static const struct ensemble *train(struct ctx *cx, const struct pooled *d, unsigned depth, size_t n_trees,
                                    double *auc)
{
    struct gbdt_params p = {.tree = {.max_depth = depth,
                                     .l2 = 0.1,
                                     .min_impurity_split = 0.001,
                                     .min_sample_split = 2,
                                     .min_leaf_node = 1},
                            .learning_rate = 0.3,
                            .n_rounds = n_trees,
                            .subsample_feature_rate = 1};
    p.value_bits = HIST_VALUE_BITS_MAX; /* FATE rounds at 2^-53: gains agree to the ninth digit with these */
    struct gbdt_data data = {.n = d->n, .x = &d->binned, .y = d->y};
    double *score = NEW(cx, double, d->n);
    const struct ensemble *e = NULL;
    struct binary_rank r;
    CHECK_OK(cx, gbdt_objective_make(cx, "cross_entropy", NULL, 0, 2, &p.objective));
    CHECK_OK(cx, gbdt_train(cx, &p, &data, NULL, NULL, &e));
    CHECK_OK(cx, ensemble_score(cx, e, &d->raw, false, 0, score));
    CHECK_OK(cx, binary_rank(cx, d->y, score, d->n, &r));
    CHECK_OK(cx, metric_auc(cx, &r, auc));
    return e;
}

/* ---- the golden job ---- */

struct golden {
    struct pooled d;
    const struct tree *tree;
    size_t at, n_others; /* the tree; host cuts that differ from FATE's and part the rows alike */
    int32_t *node;       /* of each row, while walking down */
};

/* FATE shuffles a host's candidates before it takes the first of the best gain: of cuts that part a node's rows in the
 * same way it may take any. So a host's cut may differ from ours, but must send the same rows of the node left. */
static void check_cut(struct golden *g, size_t i, bool host, int64_t fid, double value)
{
    const struct tree_node *v = &g->tree->nodes[i];
    size_t own = host ? g->d.guest_cols : 0, differ = 0;
    if (v->feature == own + (size_t)fid && v->split == value) return;
    CHECK(host && v->feature >= own);
    for (size_t r = 0; r < g->d.n; r++) {
        if (g->node[r] != (int32_t)i) continue;
        bool ours = g->d.x[v->feature * g->d.n + r] <= v->split;
        differ += ours != (g->d.x[(own + (size_t)fid) * g->d.n + r] <= value);
    }
    CHECK(differ == 0);
    g->n_others++;
}

static void walk_down(struct golden *g, size_t i)
{
    const struct tree_node *v = &g->tree->nodes[i];
    for (size_t r = 0; r < g->d.n && !v->is_leaf; r++)
        if (g->node[r] == (int32_t)i)
            g->node[r] = g->d.x[v->feature * g->d.n + r] <= v->split ? v->left : v->right;
}

static void check_tree(struct ctx *cx, struct golden *g, const json_t *guest, const json_t *host)
{
    const json_t *nodes = json_object_get(guest, "tree"), *theirs = json_object_get(host, "tree");
    CHECK(json_array_size(nodes) == g->tree->n_nodes);
    memset(g->node, 0, g->d.n * sizeof *g->node);
    for (size_t i = 0; i < json_array_size(nodes) && i < g->tree->n_nodes; i++) {
        const struct tree_node *v = &g->tree->nodes[i];
        const json_t *want = json_array_get(nodes, i);
        const char *key = arena_printf(cx->mem, "%zu", i);
        bool of_host = strncmp(json_string_value(json_object_get(want, "sitename")), "host", 4) == 0;
        CHECK(json_is_true(json_object_get(want, "isLeaf")) == v->is_leaf);
        CHECK(json_integer_value(json_object_get(want, "leftNodeid")) == v->left);
        CHECK(json_integer_value(json_object_get(want, "rightNodeid")) == v->right);
        CHECK(fabs(json_number_value(json_object_get(want, "weight")) - v->weight) < 1.5e-10);
        const json_t *rows = json_object_get(json_object_get(guest, "leafCount"), key);
        if (v->is_leaf) CHECK((uint64_t)json_integer_value(rows) == v->cover);
        if (v->is_leaf) continue;
        const json_t *owner = of_host ? host : guest, *node = json_array_get(of_host ? theirs : nodes, i);
        check_cut(g, i, of_host, json_integer_value(json_object_get(node, "fid")),
                  json_number_value(json_object_get(json_object_get(owner, "splitMaskdict"), key)));
        walk_down(g, i);
    }
}

/* Splits per column, and the guest's gains (FATE records none for a host's). */
static void check_importance(struct ctx *cx, const struct golden *g, const struct ensemble *e,
                             const json_t *want)
{
    struct importance *imp;
    size_t n, guests = 0, checked = 0;
    CHECK_OK(cx, ensemble_importance(cx, e, &imp, &n));
    for (size_t i = 0; i < n; i++) {
        if (imp[i].feature >= g->d.guest_cols) continue;
        guests++;
        for (size_t k = 0; k < json_array_size(want); k++) {
            const json_t *w = json_array_get(want, k);
            if (strncmp(json_string_value(json_object_get(w, "sitename")), "guest", 5) != 0) continue;
            if (json_integer_value(json_object_get(w, "fid")) != imp[i].feature) continue;
            checked++;
            CHECK(json_number_value(json_object_get(w, "importance")) == (double)imp[i].splits);
            CHECK(fabs(json_number_value(json_object_get(w, "importance2")) - imp[i].gain) <
                  1e-9 * imp[i].gain);
        }
    }
    CHECK(checked == guests && guests > 0);
}

static void trees_are_fates(struct ctx *cx)
{
    struct golden g = {0};
    const char *guest = test_shared(cx, GOLDEN "/guest" MODEL), *host = test_shared(cx, GOLDEN "/host" MODEL);
    if (!guest || !host || !join(cx, "breast", &g.d)) SKIP("no shared data");
    CLEANUP(json_decrefp) json_t *jg = NULL;
    CLEANUP(json_decrefp) json_t *jh = NULL;
    CHECK_OK(cx, js_read(cx, guest, &jg));
    CHECK_OK(cx, js_read(cx, host, &jh));
    double auc = 0;
    const struct ensemble *e = train(cx, &g.d, 3, 3, &auc);
    const json_t *losses = js_at(jg, "response.data.losses");
    CHECK(json_array_size(losses) == 3 && e->n_trees == 3);
    g.node = NEW(cx, int32_t, g.d.n);
    for (size_t t = 0; t < 3; t++) {
        g.tree = &e->trees[t], g.at = t;
        CHECK(fabs(e->losses[t] - json_number_value(json_array_get(losses, t))) < 1e-14);
        check_tree(cx, &g, json_array_get(js_at(jg, "response.data.trees"), t),
                   json_array_get(js_at(jh, "response.data.trees"), t));
    }
    check_importance(cx, &g, e, js_at(jg, "response.data.featureImportances"));
    printf("# %zu of a host's cuts are others of the same rows; auc %.6f\n", g.n_others, auc);
    CHECK(g.n_others <= 2);
    CHECK(fabs(auc - 0.9954481792717087) < 1e-13); /* FATE's evaluation_0 */
}

/* XGBoost 3.2.0 on the joined columns: {objective: binary:logistic, tree_method: hist, max_bin: 32, max_depth: 5,
 * reg_lambda: 0.1, learning_rate: 0.3, min_child_weight: 0, base_score: 0.5}, 10 rounds: roc_auc_score 0.797529, log_loss
 * 0.416794. Its bins are cut otherwise. */
static void credit_is_as_good_as_xgboost(struct ctx *cx)
{
    struct pooled d;
    if (!join(cx, "default_credit", &d)) SKIP("no shared data");
    double auc = 0;
    const struct ensemble *e = train(cx, &d, 5, 10, &auc);
    printf("# auc %.6f, loss %.6f\n", auc, e->losses[9]);
    CHECK(fabs(auc - 0.797529) < 0.002);
    CHECK(fabs(e->losses[9] - 0.416794) < 0.001);
}

TEST_MAIN(T(margins_are_xgboosts), T(trees_are_fates), T(credit_is_as_good_as_xgboost))
