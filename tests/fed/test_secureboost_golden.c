/* The golden job (FATE's breast cancer example, 3 trees of depth 3) against what a real FATE answered; a larger table for
 * time. Data from the project's shared folder; skipped where that is absent. */
#include "base/arena.h"
#include "base/num.h"
#include "fed/hetero_secureboost/model.h"
#include "learn/metrics.h"
#include "tests/fed/fed.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct csv {
    size_t n, cols; /* without the id */
    double *id, *x; /* x: column-major */
    bool has_y;     /* the first column is "y" */
};

static bool load(struct ctx *cx, const char *name, struct csv *out)
{
    const char *shared = getenv("NORN_SHARED");
    const char *path = arena_printf(cx->mem, "%s/data/%s", shared ? shared : "../shared", name);
    FILE *f = fopen(path, "r");
    if (!f) return false;
    static char line[65536];
    size_t cap = 40000;
    if (!fgets(line, sizeof line, f)) return false;
    *out = (struct csv){.has_y = strncmp(line, "id,y,", 5) == 0};
    for (const char *c = line; *c; c++)
        out->cols += *c == ',';
    out->id = NEW(cx, double, cap);
    double *rows = NEW(cx, double, cap * out->cols);
    while (fgets(line, sizeof line, f)) {
        const char *at = line;
        for (size_t j = 0; j <= out->cols; j++) {
            size_t n = strcspn(at, ",\r\n");
            double v = 0;
            CHECK(num_parse_f64(at, n, &v));
            if (j == 0)
                out->id[out->n] = v;
            else
                rows[out->n * out->cols + j - 1] = v;
            at += n + 1;
        }
        out->n++;
    }
    fclose(f);
    out->x = NEW(cx, double, out->n * out->cols);
    for (size_t i = 0; i < out->n; i++)
        for (size_t j = 0; j < out->cols; j++)
            out->x[j * out->n + i] = rows[i * out->cols + j];
    return true;
}

/* b's rows in the order of a's ids (all present). */
static void align(struct ctx *cx, const struct csv *a, struct csv *b)
{
    double *x = NEW(cx, double, a->n * b->cols);
    size_t guess = 0;
    for (size_t i = 0; i < a->n; i++) {
        size_t k = guess;
        for (size_t tries = 0; tries < b->n && b->id[k] != a->id[i]; tries++)
            k = k + 1 < b->n ? k + 1 : 0;
        CHECK(b->id[k] == a->id[i]);
        for (size_t j = 0; j < b->cols; j++)
            x[j * a->n + i] = b->x[j * b->n + k];
        guess = k + 1 < b->n ? k + 1 : 0;
    }
    b->x = x, b->n = a->n;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Trains on the two files; seconds of the whole component. */
static bool run(struct ctx *cx, const char *guest, const char *host, const char *params, unsigned threads,
                struct fed_result *r, double *seconds)
{
    struct csv g, h;
    if (!load(cx, guest, &g) || !load(cx, host, &h)) {
        printf("# skipped: no shared data\n");
        return false;
    }
    align(cx, &g, &h);
    const char *dir = fed_dir(cx, "golden");
    struct party pg = {ROLE_GUEST, 9999}, ph = {ROLE_HOST, 10000};
    const struct table *tg =
        fed_table(cx, arena_printf(cx->mem, "%s/g", dir), g.n, g.cols - 1, g.x + g.n, "x", g.x, pg);
    const struct table *th =
        fed_table(cx, arena_printf(cx->mem, "%s/h", dir), h.n, h.cols, h.x, "x", NULL, ph);
    struct fed_arg arg[2] = {{ROLE_GUEST, 9999, params, {{"train_data", "i.data", "i", tg}}, 1, NULL},
                             {ROLE_HOST, 10000, params, {{"train_data", "i.data", "i", th}}, 1, NULL}};
    struct fed_options o = {.threads = threads};
    double t0 = now();
    fed_run("HeteroSecureBoost", arg, 2, &o, r);
    *seconds = now() - t0;
    for (size_t p = 0; p < 2; p++) {
        if (r[p].code) printf("# party %zu: %s\n", p, r[p].msg);
        CHECK(r[p].code == ERR_OK);
    }
    return true;
}

static double auc_of(struct ctx *cx, const struct fed_result *r)
{
    const struct table *t = NULL;
    struct binary_rank rank;
    double auc = 0;
    CHECK_OK(cx, table_open(cx, r->out_path, &t));
    double *y = NEW(cx, double, t->n_rows), *s = NEW(cx, double, t->n_rows);
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "label"), 0, t->n_rows, y));
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "predict_score"), 0, t->n_rows, s));
    CHECK_OK(cx, binary_rank(cx, y, s, t->n_rows, &rank));
    CHECK_OK(cx, metric_auc(cx, &rank, &auc));
    return auc;
}

static const double fate_loss[] = {0.4721718463760301, 0.3408537158876488, 0.25373153106142293};

/* Every node of every tree has FATE's shape, owner, weight, rows; the split values of both halves are FATE's. FATE shuffles
 * a host's candidates before it compares them, so of equal gains it may take another host cut of the same rows: where the
 * value differs the children's weights still agree. */
static void compare_half(struct ctx *cx, const char *role, const struct sbt_model *m, size_t *n_ties)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    json_error_t e;
    const char *shared = getenv("NORN_SHARED");
    j = json_load_file(arena_printf(cx->mem,
                                    "%s/golden/hetero_secureboost/%s.hetero_secure_boost_0.output_model.json",
                                    shared ? shared : "../shared", role),
                       0, &e);
    json_t *trees = js_at(j, "response.data.trees");
    CHECK(json_array_size(trees) == m->n_trees);
    for (size_t t = 0; t < json_array_size(trees) && t < m->n_trees; t++) {
        json_t *tree = json_array_get(trees, t), *nodes = json_object_get(tree, "tree");
        CHECK(json_array_size(nodes) == m->trees[t].n_nodes);
        for (size_t i = 0; i < json_array_size(nodes) && i < m->trees[t].n_nodes; i++) {
            const struct tree_node *v = &m->trees[t].nodes[i];
            json_t *want = json_array_get(nodes, i);
            const char *key = arena_printf(cx->mem, "%zu", i);
            CHECK(json_is_true(json_object_get(want, "isLeaf")) == v->is_leaf);
            CHECK(json_integer_value(json_object_get(want, "leftNodeid")) == v->left);
            CHECK(json_integer_value(json_object_get(want, "rightNodeid")) == v->right);
            CHECK(fabs(json_number_value(json_object_get(want, "weight")) - v->weight) < 2e-10);
            const char *site = json_string_value(json_object_get(want, "sitename"));
            CHECK(strcmp(site, m->site[v->is_leaf ? 0 : (size_t)v->party]) == 0);
            json_t *split = json_object_get(json_object_get(tree, "splitMaskdict"), key);
            bool mine = !v->is_leaf && (size_t)v->party == m->me;
            CHECK(mine == (split != NULL));
            if (mine && json_number_value(split) != v->split) {
                ++*n_ties;
                CHECK(m->me == 1);
            } else if (mine) {
                CHECK(json_integer_value(json_object_get(want, "fid")) == v->feature);
            }
            json_t *rows = json_object_get(json_object_get(tree, "leafCount"), key);
            if (rows) CHECK((uint64_t)json_integer_value(rows) == v->cover);
        }
    }
}

static void golden(struct ctx *cx)
{
    static const char *const scheme[] = {"Lattice", "Paillier"};
    for (size_t k = 0; k < LEN(scheme); k++) {
        struct fed_result r[2];
        struct sbt_model m[2];
        double seconds;
        const char *params =
            arena_printf(cx->mem,
                         "{\"task_type\": \"classification\", \"objective_param\": {\"objective\": "
                         "\"cross_entropy\"}, \"num_trees\": 3, \"learning_rate\": 0.3, \"encrypt_param\": "
                         "{\"method\": \"%s\", \"key_length\": 1024}, \"tree_param\": {\"max_depth\": 3}}",
                         scheme[k]);
        if (!run(cx, "breast_hetero_guest.csv", "breast_hetero_host.csv", params, 2, r, &seconds)) return;
        printf("# golden job with %s: %.3f s\n", scheme[k], seconds);
        for (size_t p = 0; p < 2; p++)
            CHECK_OK(cx, sbt_model_load(cx, &r[p].task, r[p].task.model_out, &m[p]));
        CHECK(m[0].n_trees == 3 && m[0].n_losses == 3);
        for (size_t i = 0; i < 3; i++) {
            CHECK(fabs(m[0].losses[i] - fate_loss[i]) < 1e-6);
            if (k == 0) printf("# loss %zu: %.16g, FATE's %.16g\n", i, m[0].losses[i], fate_loss[i]);
        }
        size_t n_ties = 0;
        compare_half(cx, "guest", &m[0], &n_ties);
        compare_half(cx, "host", &m[1], &n_ties);
        CHECK(n_ties <= 2);
        double auc = auc_of(cx, &r[0]);
        printf("# auc %.6f\n", auc);
        CHECK(fabs(auc - 0.995448) < 1e-4);
        const json_t *e = json_object_get(r[0].summary, "encrypt");
        if (k == 1) {
            CHECK(json_integer_value(json_object_get(e, "asked_key_length")) == 1024);
            CHECK(json_integer_value(json_object_get(e, "key_length")) == 2048);
        }
        fed_free(r, 2);
    }
}

static void credit(struct ctx *cx)
{
    struct fed_result r[2];
    double seconds;
    const char *params =
        "{\"num_trees\": 10, \"learning_rate\": 0.3, \"bin_num\": 32, \"encrypt_param\": {\"method\": "
        "\"Lattice\"}, \"tree_param\": {\"max_depth\": 5}}";
    if (!run(cx, "default_credit_hetero_guest.csv", "default_credit_hetero_host.csv", params, 1, r, &seconds))
        return;
    double auc = auc_of(cx, &r[0]);
    printf("# default_credit: 10 trees in %.3f s, auc %.6f\n", seconds, auc);
    CHECK(fabs(auc - 0.799) < 0.002);
    fed_free(r, 2);
}

TEST_MAIN(T(golden), T(credit))
