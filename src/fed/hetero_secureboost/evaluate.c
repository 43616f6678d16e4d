#include "fed/hetero_secureboost/evaluate.h"
#include "base/arena.h"
#include <math.h>
#include <string.h>
#include <strings.h>

enum kind { KIND_BINARY = 1, KIND_MULTI = 2, KIND_REGRESSION = 4 };
static const struct known {
    const char *name, *alias;
    unsigned kinds;
    bool higher, usual; /* better; FATE's choice when none is named */
} known[] = {
    {"auc", NULL, KIND_BINARY, true, true},
    {"ks", NULL, KIND_BINARY, true, true},
    {"accuracy", "acc", KIND_MULTI, true, true},
    {"precision", NULL, KIND_MULTI, true, true},
    {"recall", NULL, KIND_MULTI, true, true},
    {"root_mean_squared_error", "rmse|l2_root", KIND_REGRESSION, false, true},
    {"mean_absolute_error", "mae|l1", KIND_REGRESSION, false, true},
    {"mean_squared_error", "mse|l2", KIND_REGRESSION, false, false},
    {"median_absolute_error", NULL, KIND_REGRESSION, false, false},
    {"explained_variance", NULL, KIND_REGRESSION, true, false},
    {"r2_score", "r2", KIND_REGRESSION, true, false},
};

static bool is_named(const struct known *k, const char *name)
{
    if (strcasecmp(k->name, name) == 0) return true;
    for (const char *a = k->alias; a && *a;) {
        size_t n = strcspn(a, "|");
        if (strlen(name) == n && strncasecmp(a, name, n) == 0) return true;
        a += n + (a[n] == '|');
    }
    return false;
}

static const struct known *find_known(const char *name)
{
    for (size_t i = 0; i < LEN(known); i++)
        if (is_named(&known[i], name)) return &known[i];
    return NULL;
}

static enum kind kind_of(const struct gbdt_objective *o)
{
    return o->n_classes > 2 ? KIND_MULTI : o->n_classes == 2 ? KIND_BINARY : KIND_REGRESSION;
}

status evaluator_init(struct ctx *cx, const struct sbt_params *p, const struct gbdt_objective *o,
                      struct evaluator *out)
{
    *out = (struct evaluator){.p = p, .objective = o, .early.rounds = p->early_rounds};
    unsigned kind = kind_of(o);
    for (size_t i = 0; i < p->n_metrics; i++) {
        const struct known *k = find_known(p->metric[i]);
        if (!k || !(k->kinds & kind))
            return FAIL(cx, ARG,
                        "parameter metrics: %.40s is no metric that this task can evaluate while training",
                        p->metric[i]);
        out->name[out->n_names++] = k->name;
    }
    for (size_t i = 0; i < LEN(known) && p->n_metrics == 0; i++)
        if (known[i].usual && (known[i].kinds & kind)) out->name[out->n_names++] = known[i].name;
    return OK;
}

void evaluator_free(struct evaluator *e)
{
    json_decref(e->found);
    e->found = NULL;
}

bool evaluator_due(const struct evaluator *e, size_t round)
{
    if (e->p->every) return (round + 1) % (size_t)e->p->every == 0;
    for (size_t i = 0; i < json_array_size(e->p->at_rounds); i++)
        if (json_integer_value(json_array_get(e->p->at_rounds, i)) == (json_int_t)round) return true;
    return false;
}

static status binary(struct ctx *cx, struct evaluator *e, const double *y, const double *score, size_t n)
{
    struct binary_rank r;
    double auc = 0, ks = 0, cut;
    TRY(binary_rank(cx, y, score, n, &r));
    TRY(metric_auc(cx, &r, &auc));
    TRY(metric_ks(cx, &r, &ks, &cut));
    for (size_t i = 0; i < e->n_names; i++)
        e->value[i] = strcmp(e->name[i], "auc") == 0 ? auc : ks;
    return OK;
}

static double mean_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

static status multi(struct ctx *cx, struct evaluator *e, size_t k, const double *y, const double *score,
                    size_t n)
{
    uint32_t *truth = NEW(cx, uint32_t, n + 1), *pred = NEW(cx, uint32_t, n + 1);
    double *precision = NEW(cx, double, k), *recall = NEW(cx, double, k), accuracy;
    if (!truth || !pred || !precision || !recall) return FAIL(cx, NOMEM, "%zu rows", n);
    for (size_t i = 0; i < n; i++) {
        truth[i] = (uint32_t)y[i];
        for (size_t c = 1; c < k; c++)
            if (score[i * k + c] > score[i * k + pred[i]]) pred[i] = (uint32_t)c;
    }
    TRY(metric_multi(cx, truth, pred, n, k, &accuracy, precision, recall));
    for (size_t i = 0; i < e->n_names; i++)
        e->value[i] = e->name[i][0] == 'a'   ? accuracy
                      : e->name[i][0] == 'p' ? mean_of(precision, k)
                                             : mean_of(recall, k);
    return OK;
}

static status regression(struct ctx *cx, struct evaluator *e, const struct gbdt_objective *o, const double *y,
                         const double *score, size_t n)
{
    struct regression_metrics m;
    double *pred = NEW(cx, double, n + 1);
    if (!pred) return FAIL(cx, NOMEM, "%zu rows", n);
    memcpy(pred, score, n * sizeof *pred);
    gbdt_predict_from_score(o, pred, n, pred);
    TRY(metric_regression(cx, y, pred, n, &m));
    for (size_t i = 0; i < e->n_names; i++) {
        const char *s = e->name[i];
        e->value[i] = strcmp(s, "root_mean_squared_error") == 0 ? m.root_mean_squared_error
                      : strcmp(s, "mean_absolute_error") == 0   ? m.mean_absolute_error
                      : strcmp(s, "mean_squared_error") == 0    ? m.mean_squared_error
                      : strcmp(s, "median_absolute_error") == 0 ? m.median_absolute_error
                      : strcmp(s, "explained_variance") == 0    ? m.explained_variance
                                                                : m.r2_score;
    }
    return OK;
}

static status record(struct ctx *cx, struct evaluator *e, const char *set)
{
    if (!e->found) e->found = json_object();
    json_t *of_set = json_object_get(e->found, set);
    if (!of_set) json_object_set_new(e->found, set, of_set = json_object());
    for (size_t i = 0; i < e->n_names; i++) {
        json_t *list = json_object_get(of_set, e->name[i]);
        if (!list) json_object_set_new(of_set, e->name[i], list = json_array());
        if (json_array_append_new(list, json_real(isfinite(e->value[i]) ? e->value[i] : 0)))
            return FAIL(cx, NOMEM, "metrics");
    }
    return OK;
}

static status report(struct ctx *cx, const struct evaluator *e, struct task *t, size_t round, const char *set)
{
    const char *name = arena_printf(cx->mem, "iteration_%zu", round);
    if (!name) return FAIL(cx, NOMEM, "metrics");
    CLEANUP(json_decrefp)
    json_t *meta = json_pack("{s:s,s:s}", "metric_type", "EVALUATION_SUMMARY", "name", name);
    CLEANUP(json_decrefp) json_t *points = json_array();
    for (size_t i = 0; i < e->n_names; i++) {
        double x = isfinite(e->value[i]) ? rint(e->value[i] * 1e6) / 1e6 : 0;
        if (json_array_append_new(points, json_pack("[s,f]", e->name[i], x)))
            return FAIL(cx, NOMEM, "metrics");
    }
    if (!meta) return FAIL(cx, NOMEM, "metrics");
    return task_metric(cx, t, set, name, meta, points);
}

status evaluator_run(struct ctx *cx, struct evaluator *e, struct task *t, size_t round, const char *set,
                     const double *y, const double *score, size_t n)
{
    struct arena_mark mark = arena_mark(cx->mem);
    const struct gbdt_objective *o = e->objective;
    if (o->n_classes == 2)
        TRY_IN(cx, binary(cx, e, y, score, n), "evaluating %s data", set);
    else if (o->n_classes > 2)
        TRY_IN(cx, multi(cx, e, o->n_classes, y, score, n), "evaluating %s data", set);
    else
        TRY_IN(cx, regression(cx, e, o, y, score, n), "evaluating %s data", set);
    TRY(record(cx, e, set));
    TRY(report(cx, e, t, round, set));
    arena_rewind(cx->mem, mark);
    return OK;
}

bool evaluator_stop(struct evaluator *e, size_t round, size_t *best)
{
    size_t n = e->p->first_metric_only && e->n_names ? 1 : e->n_names;
    for (size_t i = 0; i < n; i++)
        early_stop_add(&e->early, round, e->name[i], find_known(e->name[i])->higher, e->value[i]);
    return early_stop_due(&e->early, best);
}
