/* pooled.c - the oracle of the demo and the benches: joins the parties' CSV files by id in the clear and trains the same
 * boosting on the pooled columns, alone, without any protocol. What the federation gives is held against this.
 *
 * usage: pooled [--trees 10] [--depth 5] [--bins 32] [--rate 0.3] GUEST.csv [HOST.csv ...] [--new GUEST.csv [HOST.csv ...]]
 *        pooled --auc SCORES.csv      the AUC of a predict job's output (columns label, predict_score)
 * Prints one JSON line: rows, columns, auc_train, loss, s_per_tree, and auc_new with --new. Two classes, label 0 or 1. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/num.h"
#include "base/pool.h"
#include "learn/gbdt.h"
#include "learn/metrics.h"
#include "table/csv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 16 };

struct joined {
    size_t n, n_cols;
    double *x, *y; /* x column by column */
};
struct key {
    const struct table *t;
    size_t row;
};
struct options {
    uint64_t trees, depth, bins;
    double rate;
    const char *files[FILES_MAX], *fresh[FILES_MAX];
    size_t n_files, n_fresh;
    const char *scores;
};

static int by_id(const void *a, const void *b)
{
    const struct key *p = a, *q = b;
    struct bytes x = table_id(p->t, p->row), y = table_id(q->t, q->row);
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

static status read_table(struct ctx *cx, const char *dir, const char *file, size_t k,
                         const struct table **out, struct key **keys)
{
    struct csv_result r;
    const char *path = arena_printf(cx->mem, "%s/%zu", dir, k);
    TRY(csv_import(cx, file, path, &(struct csv_options){0}, NULL, NULL, &r));
    TRY(table_open(cx, path, out));
    *keys = NEW(cx, struct key, (*out)->n_rows);
    if (!*keys) return FAIL(cx, NOMEM, "ids of %s", file);
    for (size_t i = 0; i < (*out)->n_rows; i++)
        (*keys)[i] = (struct key){*out, i};
    qsort(*keys, (*out)->n_rows, sizeof **keys, by_id);
    return OK;
}

/* The columns of one table for the joined rows, appended to j. */
static status take_columns(struct ctx *cx, struct joined *j, const struct table *t, const size_t *row)
{
    double *all = NEW(cx, double, t->n_rows);
    if (!all) return FAIL(cx, NOMEM, "a column");
    for (size_t c = 0; c < t->n_cols; c++) {
        if (t->cols[c].kind != KIND_FEATURE && t->cols[c].kind != KIND_LABEL) continue;
        TRY(table_read_f64(cx, t, &t->cols[c], 0, t->n_rows, all));
        double *to = t->cols[c].kind == KIND_LABEL ? j->y : j->x + j->n_cols++ * j->n;
        for (size_t i = 0; i < j->n; i++)
            to[i] = all[row[i]];
    }
    return OK;
}

static status join(struct ctx *cx, const char *dir, const char *const *files, size_t n_files,
                   struct joined *j)
{
    const struct table *t[FILES_MAX];
    struct key *keys[FILES_MAX];
    size_t n_cols = 0, *row[FILES_MAX];
    *j = (struct joined){0};
    for (size_t k = 0; k < n_files; k++) {
        TRY(read_table(cx, dir, files[k], k, &t[k], &keys[k]));
        row[k] = NEW(cx, size_t, t[0]->n_rows);
        if (!row[k]) return FAIL(cx, NOMEM, "rows of %s", files[k]);
        n_cols += t[k]->n_cols;
    }
    if (!table_label(t[0])) return FAIL(cx, ARG, "%s has no column y", files[0]);
    for (size_t i = 0; i < t[0]->n_rows; i++) {
        bool everywhere = true;
        row[0][j->n] = i;
        for (size_t k = 1; k < n_files && everywhere; k++) {
            struct key *f = bsearch(&(struct key){t[0], i}, keys[k], t[k]->n_rows, sizeof *f, by_id);
            everywhere = f != NULL;
            if (f) row[k][j->n] = f->row;
        }
        j->n += everywhere;
    }
    if (!j->n) return FAIL(cx, ARG, "no id is in all files");
    j->x = NEW(cx, double, j->n *n_cols), j->y = NEW(cx, double, j->n);
    if (!j->x || !j->y) return FAIL(cx, NOMEM, "%zu joined rows", j->n);
    for (size_t k = 0; k < n_files; k++)
        TRY(take_columns(cx, j, t[k], row[k]));
    return OK;
}

static status auc_of(struct ctx *cx, const struct ensemble *e, const struct joined *j, double *out)
{
    struct bin_source s;
    struct binary_rank r;
    double *score = NEW(cx, double, j->n);
    if (!score) return FAIL(cx, NOMEM, "scores");
    TRY(bin_source_matrix(cx, j->x, j->n, j->n_cols, 1, j->n, &s));
    TRY(ensemble_score(cx, e, &s, false, 0, score));
    TRY(binary_rank(cx, j->y, score, j->n, &r));
    return metric_auc(cx, &r, out);
}

static status run(struct ctx *cx, const struct options *o, const char *dir)
{
    struct joined j, fresh;
    struct bin_source s;
    const struct bins *bins;
    struct binned b;
    const struct ensemble *e;
    struct gbdt_params p = {.tree = {.max_depth = (unsigned)o->depth,
                                     .l2 = 0.1,
                                     .min_impurity_split = 1e-3,
                                     .min_sample_split = 2,
                                     .min_leaf_node = 1},
                            .objective = {GBDT_LOGISTIC, 0, 2},
                            .learning_rate = o->rate,
                            .n_rounds = o->trees,
                            .subsample_feature_rate = 1,
                            .tol = 1e-4};
    TRY(join(cx, dir, o->files, o->n_files, &j));
    TRY(bin_source_matrix(cx, j.x, j.n, j.n_cols, 1, j.n, &s));
    uint64_t t = clock_us();
    TRY(bins_fit(cx, &s, &(struct bin_params){.max_bins = (unsigned)o->bins}, &bins));
    TRY(bins_apply(cx, bins, &s, &b));
    TRY(gbdt_train(cx, &p, &(struct gbdt_data){.n = j.n, .x = &b, .y = j.y}, NULL, NULL, &e));
    double seconds = (double)(clock_us() - t) * 1e-6 / (double)o->trees, auc, auc_new = 0;
    TRY(auc_of(cx, e, &j, &auc));
    if (o->n_fresh) {
        TRY(join(cx, arena_printf(cx->mem, "%s/new", dir), o->fresh, o->n_fresh, &fresh));
        if (fresh.n_cols != j.n_cols)
            return FAIL(cx, ARG, "--new has %zu columns, want %zu", fresh.n_cols, j.n_cols);
        TRY(auc_of(cx, e, &fresh, &auc_new));
    }
    printf("{\"rows\":%zu,\"columns\":%zu,\"auc_train\":%.17g,\"loss\":%.17g,\"s_per_tree\":%.6f", j.n,
           j.n_cols, auc, e->losses[e->n_rounds - 1], seconds);
    if (o->n_fresh) printf(",\"new_rows\":%zu,\"auc_new\":%.17g", fresh.n, auc_new);
    puts("}");
    return OK;
}

static status run_auc(struct ctx *cx, const char *file, const char *dir)
{
    const struct table *t;
    struct csv_result r;
    struct binary_rank rank;
    double auc;
    const char *path = arena_printf(cx->mem, "%s/scores", dir);
    TRY(csv_import(cx, file, path, &(struct csv_options){.label = "label"}, NULL, NULL, &r));
    TRY(table_open(cx, path, &t));
    const struct column *score = table_column(t, "predict_score");
    if (!score) return FAIL(cx, ARG, "%s has no column predict_score", file);
    double *y = NEW(cx, double, t->n_rows), *x = NEW(cx, double, t->n_rows);
    if (!x || !y) return FAIL(cx, NOMEM, "%zu rows", t->n_rows);
    TRY(table_read_f64(cx, t, table_label(t), 0, t->n_rows, y));
    TRY(table_read_f64(cx, t, score, 0, t->n_rows, x));
    TRY(binary_rank(cx, y, x, t->n_rows, &rank));
    TRY(metric_auc(cx, &rank, &auc));
    printf("{\"rows\":%zu,\"auc\":%.17g}\n", t->n_rows, auc);
    return OK;
}

static bool parse(int argc, char **argv, struct options *o)
{
    bool fresh = false;
    *o = (struct options){.trees = 10, .depth = 5, .bins = 32, .rate = 0.3};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        uint64_t *count = strcmp(a, "--trees") == 0   ? &o->trees
                          : strcmp(a, "--depth") == 0 ? &o->depth
                          : strcmp(a, "--bins") == 0  ? &o->bins
                                                      : NULL;
        if (count) {
            if (!num_parse_u64(v, strlen(v), count) || *count < 1) return false;
            i++;
        } else if (strcmp(a, "--rate") == 0) {
            if (!num_parse_f64(v, strlen(v), &o->rate)) return false;
            i++;
        } else if (strcmp(a, "--auc") == 0) {
            o->scores = v;
            i++;
        } else if (strcmp(a, "--new") == 0) {
            fresh = true;
        } else if (a[0] == '-' || o->n_files == FILES_MAX || o->n_fresh == FILES_MAX) {
            return false;
        } else if (fresh) {
            o->fresh[o->n_fresh++] = a;
        } else {
            o->files[o->n_files++] = a;
        }
    }
    return o->n_files > 0 || o->scores;
}

int main(int argc, char **argv)
{
    struct options o;
    char dir[] = "/tmp/norn-pooled-XXXXXX";
    if (!parse(argc, argv, &o)) {
        fputs("usage: pooled [--trees N] [--depth N] [--bins N] [--rate X] GUEST.csv [HOST.csv ...] [--new "
              "GUEST.csv "
              "[HOST.csv ...]]\n",
              stderr);
        return 2;
    }
    struct ctx cx = {.mem = arena_new(0), .pool = pool_new(0)};
    if (!cx.mem || !mkdtemp(dir)) return 1;
    int code = 0;
    if (dir_make(&cx, arena_printf(cx.mem, "%s/new", dir), 0700).code ||
        (o.scores ? run_auc(&cx, o.scores, dir) : run(&cx, &o, dir)).code) {
        fprintf(stderr, "pooled: %s\n", cx.err.msg);
        code = err_exit(cx.err.code);
    }
    (void)dir_remove(&cx, dir).code;
    pool_free(cx.pool);
    arena_free(cx.mem);
    return code;
}
