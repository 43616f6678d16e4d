/* Component Evaluation: FATE's metrics of prediction tables, at the party that has them. Nothing is sent to anyone. */
#include "base/arena.h"
#include "base/num.h"
#include "fed/component.h"
#include "fed/evaluation/metric_names.h"
#include "fed/evaluation/predictions.h"
#include "fed/evaluation/report.h"
#include "learn/metrics.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct param params[] = {
    {"eval_type", PARAM_STR, false, "\"binary\"", "binary|multi|regression|clustering", 0, 0, PARAM_BUILT,
     "what was predicted; clustering is not built"},
    {"pos_label", PARAM_ANY, false, "1", NULL, 0, 0, PARAM_BUILT,
     "label of the positive class, a number or a text (binary); all others are negative"},
    {"metrics", PARAM_LIST, true, "null", NULL, 0, 0, PARAM_BUILT,
     "names of metrics; null: all of eval_type"},
    {"need_run", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT, "false: nothing is evaluated"},
    {"unfold_multi_result", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT,
     "auc and ks of each class against the rest (multi)"},
    {"run_clustering_arbiter_metric", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT,
     "norn has not built clustering"},
};

static status check(struct ctx *cx, const json_t *p)
{
    struct eval_metrics m;
    const json_t *pos = json_object_get(p, "pos_label");
    if (!json_is_number(pos) && !json_is_string(pos))
        return FAIL(cx, ARG, "parameter pos_label is neither a number nor a text");
    TRY(eval_metrics_read(cx, json_string_value(json_object_get(p, "eval_type")),
                          json_object_get(p, "metrics"), &m));
    if (json_is_true(json_object_get(p, "unfold_multi_result")) && m.type != EVAL_MULTI)
        return FAIL(cx, ARG, "parameter unfold_multi_result is true, which eval_type multi only has");
    return OK;
}

/* One run of the component. */
struct evaluation {
    struct task *t;
    struct eval_metrics metrics;
    const struct table *table; /* of the input at hand */
    struct report_of of;       /* and the type of the rows at hand */
    json_t *summary;           /* {component: {type: {metric: value}}} */
    /* FATE compares the next scores of type validate with the last ones of type train, in whichever inputs they are. */
    const struct binary_rank *train, *validate;
};

static status remember(struct ctx *cx, struct evaluation *e, struct report_values *v, enum metric_id m,
                       double x)
{
    json_t *by_type = json_object_get(e->summary, e->of.component);
    if (!by_type) json_object_set_new(e->summary, e->of.component, by_type = json_object());
    json_t *by_name = json_object_get(by_type, e->of.type);
    if (!by_name) json_object_set_new(by_type, e->of.type, by_name = json_object());
    if (json_object_set_new(by_name, metric_name(m), report_number(x))) return FAIL(cx, NOMEM, "summary");
    return report_values_add(cx, v, metric_name(m), x);
}

static void values_free(struct report_values *v)
{
    json_decref(v->points);
}

/* ---- binary ---- */

/* Is the text the positive label? y: 1 for rows of it, else 0. */
static status positive_rows(struct ctx *cx, const struct evaluation *e, const struct prediction_set *s,
                            double **out)
{
    const struct column *c = table_column(e->table, "label");
    const json_t *pos = task_json(e->t, "pos_label");
    const char *text = json_string_value(pos);
    double *y = NEW(cx, double, s->n + 1), x = json_number_value(pos);
    char number[32];
    if (!y) return FAIL(cx, NOMEM, "%zu labels", s->n);
    if (c->type != COL_STR && text && !num_parse_f64(text, strlen(text), &x))
        return FAIL(cx, ARG, "parameter pos_label is the text \"%.40s\", but the labels are numbers", text);
    if (c->type == COL_STR && !text) {
        if (x == rint(x) && fabs(x) < 1e15)
            snprintf(number, sizeof number, "%" PRId64, (int64_t)x);
        else
            number[num_format_f64(x, number)] = 0;
        text = number;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (c->type != COL_STR) {
            y[i] = s->label[i] == x;
            continue;
        }
        struct bytes cell = table_cell(e->table, c, s->row[i], NULL, 0);
        y[i] = cell.n == strlen(text) && memcmp(cell.p, text, cell.n) == 0;
    }
    *out = y;
    return OK;
}

static const struct report_style ks_fpr = {"ks_fpr", "KS_EVALUATION", "fpr", true, NULL, NULL},
                                 ks_tpr = {"ks_tpr", "KS_EVALUATION", "tpr", true, NULL, NULL},
                                 lift = {"lift", "LIFT_EVALUATION", NULL, false, NULL, NULL},
                                 gain = {"gain", "GAIN_EVALUATION", NULL, false, NULL, NULL},
                                 accuracy = {"accuracy", "ACCURACY_EVALUATION", NULL, false, NULL, NULL},
                                 precision = {"precision", "PRECISION_BINARY_EVALUATION", NULL, true, NULL,
                                              "Precision"},
                                 recall = {"recall", "RECALL_BINARY_EVALUATION", NULL, true, NULL, "Recall"},
                                 roc = {"roc", "ROC_EVALUATION", NULL, false, "fpr", "tpr"};

static status report_psi(struct ctx *cx, struct evaluation *e, const struct binary_rank *r)
{
    struct stability s;
    if (strcmp(e->of.type, "train") == 0) e->train = r;
    if (strcmp(e->of.type, "validate") == 0) e->validate = r;
    if (!e->train || !e->validate) return OK;
    curve_stability(e->train, e->validate, &s);
    e->train = e->validate = NULL;
    return report_stability(cx, &e->of, &s);
}

static status binary_metric(struct ctx *cx, struct evaluation *e, const struct binary_rank *r,
                            enum metric_id m)
{
    struct curve a, b;
    struct confusion table;
    struct quantile_pr pr;
    switch (m) {
    case METRIC_KS:
        curve_ks(r, &a, &b);
        TRY(report_curve(cx, &e->of, &ks_fpr, &a));
        return report_curve(cx, &e->of, &ks_tpr, &b);
    case METRIC_LIFT:
        curve_lift(r, &a);
        return report_curve(cx, &e->of, &lift, &a);
    case METRIC_GAIN:
        curve_gain(r, &a);
        return report_curve(cx, &e->of, &gain, &a);
    case METRIC_ACCURACY:
        curve_accuracy(r, &a);
        return report_curve(cx, &e->of, &accuracy, &a);
    case METRIC_PRECISION: /* and recall, which is always there too */
        curve_precision_recall(r, &a, &b);
        TRY(report_curve(cx, &e->of, &precision, &a));
        return report_curve(cx, &e->of, &recall, &b);
    case METRIC_ROC:
        curve_roc(r, &a);
        return report_curve(cx, &e->of, &roc, &a);
    case METRIC_CONFUSION_MAT:
        curve_confusion(r, &table);
        return report_confusion(cx, &e->of, &table);
    case METRIC_F1_SCORE:
        curve_confusion(r, &table);
        return report_f1(cx, &e->of, &table);
    case METRIC_QUANTILE_PR:
        curve_quantile_pr(r, &pr);
        return report_quantile_pr(cx, &e->of, &pr);
    case METRIC_PSI:
        return report_psi(cx, e, r);
    case METRIC_AUC:
    case METRIC_RECALL:
    case METRIC_EXPLAINED_VARIANCE:
    case METRIC_MEAN_ABSOLUTE_ERROR:
    case METRIC_MEAN_SQUARED_ERROR:
    case METRIC_MEDIAN_ABSOLUTE_ERROR:
    case METRIC_R2_SCORE:
    case METRIC_ROOT_MEAN_SQUARED_ERROR:
    case METRIC_MEAN_SQUARED_LOG_ERROR:
    case METRICS:
        break; /* a value without a curve */
    }
    return OK;
}

static status binary(struct ctx *cx, struct evaluation *e, const struct prediction_set *s)
{
    struct binary_rank *r = NEW(cx, struct binary_rank, 1);
    double *y = NULL, auc;
    if (!r) return FAIL(cx, NOMEM, "a metric");
    TRY(positive_rows(cx, e, s, &y));
    TRY(binary_rank(cx, y, s->score, s->n, r));
    if (r->n_pos == 0 || r->n_pos == r->n)
        return FAIL(cx, ARG, "%zu of %zu rows have the label pos_label: binary metrics want both classes",
                    r->n_pos, r->n);
    CLEANUP(values_free) struct report_values v = {0};
    for (size_t i = 0; i < e->metrics.n; i++) {
        if (e->metrics.list[i] == METRIC_AUC) {
            TRY(metric_auc(cx, r, &auc));
            TRY(remember(cx, e, &v, METRIC_AUC, auc));
        }
        if (e->metrics.list[i] == METRIC_KS) {
            struct curve fpr, tpr;
            TRY(remember(cx, e, &v, METRIC_KS, curve_ks(r, &fpr, &tpr)));
        }
    }
    TRY(report_values_end(cx, &e->of, &v));
    for (size_t i = 0; i < e->metrics.n; i++)
        TRY(binary_metric(cx, e, r, e->metrics.list[i]));
    return OK;
}

/* ---- regression ---- */

static double regression_value(const struct regression_metrics *r, enum metric_id m)
{
    return m == METRIC_EXPLAINED_VARIANCE        ? r->explained_variance
           : m == METRIC_MEAN_ABSOLUTE_ERROR     ? r->mean_absolute_error
           : m == METRIC_MEAN_SQUARED_ERROR      ? r->mean_squared_error
           : m == METRIC_MEDIAN_ABSOLUTE_ERROR   ? r->median_absolute_error
           : m == METRIC_R2_SCORE                ? r->r2_score
           : m == METRIC_ROOT_MEAN_SQUARED_ERROR ? r->root_mean_squared_error
                                                 : r->mean_squared_log_error;
}

static status regression(struct ctx *cx, struct evaluation *e, const struct prediction_set *s)
{
    struct regression_metrics r;
    TRY(metric_regression(cx, s->label, s->score, s->n, &r));
    if (eval_metrics_has(&e->metrics, METRIC_MEAN_SQUARED_LOG_ERROR) && isnan(r.mean_squared_log_error))
        return FAIL(cx, ARG, "mean_squared_log_error wants labels and predictions of 0 or more");
    CLEANUP(values_free) struct report_values v = {0};
    for (size_t i = 0; i < e->metrics.n; i++)
        TRY(remember(cx, e, &v, e->metrics.list[i], regression_value(&r, e->metrics.list[i])));
    return report_values_end(cx, &e->of, &v);
}

/* ---- multi ---- */

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The distinct labels and results, ascending. */
static status class_values(struct ctx *cx, const struct prediction_set *s, double **out, size_t *n)
{
    double *all = NEW(cx, double, 2 * s->n + 1);
    if (!all) return FAIL(cx, NOMEM, "%zu labels", s->n);
    memcpy(all, s->label, s->n * sizeof *all);
    memcpy(all + s->n, s->result, s->n * sizeof *all);
    qsort(all, 2 * s->n, sizeof *all, compare_f64);
    *n = 0;
    for (size_t i = 0; i < 2 * s->n; i++)
        if (*n == 0 || all[i] != all[*n - 1]) all[(*n)++] = all[i];
    *out = all;
    return OK;
}

/* x is one of the values. */
static uint32_t index_of(const double *value, size_t n, double x)
{
    size_t lo = 0;
    while (n > 1) {
        size_t half = n / 2;
        if (value[lo + half] <= x) lo += half;
        n -= half;
    }
    return (uint32_t)lo;
}

struct classes {
    size_t n;
    double *value, *precision, *recall, accuracy;
};

static status count_classes(struct ctx *cx, const struct prediction_set *s, struct classes *out)
{
    TRY(class_values(cx, s, &out->value, &out->n));
    if (out->n > PREDICTION_CLASSES)
        return FAIL(cx, LIMIT, "%zu different labels and results, at most %d classes: is this a regression?",
                    out->n, PREDICTION_CLASSES);
    out->precision = NEW(cx, double, out->n + 1), out->recall = NEW(cx, double, out->n + 1);
    uint32_t *truth = NEW(cx, uint32_t, s->n + 1), *pred = NEW(cx, uint32_t, s->n + 1);
    if (!out->precision || !out->recall || !truth || !pred) return FAIL(cx, NOMEM, "%zu labels", s->n);
    for (size_t i = 0; i < s->n; i++) {
        truth[i] = index_of(out->value, out->n, s->label[i]);
        pred[i] = index_of(out->value, out->n, s->result[i]);
    }
    return metric_multi(cx, truth, pred, s->n, out->n, &out->accuracy, out->precision, out->recall);
}

static double mean_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* Precision and recall of each class. FATE's x goes through all numbers from 0 to the largest class, with 0 for classes
 * that do not occur; so it is when classes are such numbers. */
static status report_by_class(struct ctx *cx, struct evaluation *e, const struct classes *c)
{
    static const struct report_style p = {"precision", "PRECISION_MULTI_EVALUATION", NULL, true, NULL,
                                          "Precision"},
                                     r = {"recall", "RECALL_MULTI_EVALUATION", NULL, true, NULL, "Recall"};
    bool whole = c->value[0] >= 0 && c->value[c->n - 1] < 100 * PREDICTION_CLASSES;
    for (size_t i = 0; i < c->n; i++)
        whole = whole && c->value[i] == rint(c->value[i]);
    if (!whole)
        return FAIL(cx, ARG, "a label or result is not an integer of 0 to %d: multi wants class numbers",
                    100 * PREDICTION_CLASSES - 1);
    size_t n = (size_t)c->value[c->n - 1] + 1;
    int64_t *x = NEW(cx, int64_t, n);
    double *precisions = NEW(cx, double, n), *recalls = NEW(cx, double, n);
    if (!x || !precisions || !recalls) return FAIL(cx, NOMEM, "%zu classes", n);
    for (size_t i = 0; i < n; i++)
        x[i] = (int64_t)i;
    for (size_t i = 0; i < c->n; i++) {
        precisions[(size_t)c->value[i]] = c->precision[i];
        recalls[(size_t)c->value[i]] = c->recall[i];
    }
    TRY(report_classes(cx, &e->of, &p, x, precisions, n));
    return report_classes(cx, &e->of, &r, x, recalls, n);
}

static status multi(struct ctx *cx, struct evaluation *e, const struct prediction_set *s)
{
    struct classes c = {0};
    TRY(count_classes(cx, s, &c));
    CLEANUP(values_free) struct report_values v = {0};
    for (size_t i = 0; i < e->metrics.n; i++) {
        enum metric_id m = e->metrics.list[i];
        double x =
            m == METRIC_ACCURACY ? c.accuracy : mean_of(m == METRIC_PRECISION ? c.precision : c.recall, c.n);
        TRY(remember(cx, e, &v, m, x));
    }
    TRY(report_values_end(cx, &e->of, &v));
    return eval_metrics_has(&e->metrics, METRIC_PRECISION) ? report_by_class(cx, e, &c) : OK;
}

/* ---- one against the rest ---- */

/* Class k of the rows that name it. FATE: 0 when only one of class and rest is there. */
static status rest_metrics(struct ctx *cx, const struct prediction_set *s, const struct prediction_classes *c,
                           size_t k, double *auc, double *ks)
{
    struct arena_mark mark = arena_mark(cx->mem);
    double *y = NEW(cx, double, s->n + 1), *p = NEW(cx, double, s->n + 1), value = 0;
    struct binary_rank r;
    struct curve fpr, tpr;
    size_t n = 0;
    if (!y || !p) return FAIL(cx, NOMEM, "%zu rows", s->n);
    bool number = num_parse_f64(c->name[k], strlen(c->name[k]), &value);
    for (size_t i = 0; i < s->n; i++) {
        if (isnan(c->p[i * c->n + k])) continue;
        y[n] = number && s->label[i] == value, p[n++] = c->p[i * c->n + k];
    }
    *auc = *ks = 0;
    TRY(binary_rank(cx, y, p, n, &r));
    if (r.n_pos > 0 && r.n_pos < r.n) {
        TRY(metric_auc(cx, &r, auc));
        *ks = curve_ks(&r, &fpr, &tpr);
    }
    arena_rewind(cx->mem, mark);
    return OK;
}

/* FATE writes an entry for train and one for validate, whatever the types are; what is not train is validate there. */
static status one_vs_rest(struct ctx *cx, struct evaluation *e, const struct prediction_set *sets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct prediction_classes c;
        double auc = 0, ks = 0;
        TRY(predictions_classes(cx, e->table, &sets[i], &c));
        bool train = strcmp(sets[i].type, "train") == 0;
        for (size_t k = 0; k < c.n; k++) {
            struct report_of of = {e->t, train ? "train" : "validate", e->of.component};
            TRY(rest_metrics(cx, &sets[i], &c, k, &auc, &ks));
            TRY(report_one_vs_rest(cx, &of, c.name[k], true, auc, ks));
            of.type = train ? "validate" : "train";
            if (n == 1) TRY(report_one_vs_rest(cx, &of, c.name[k], false, 0, 0));
        }
    }
    return OK;
}

/* ---- run ---- */

static status evaluate_input(struct ctx *cx, struct evaluation *e, bool unfold)
{
    struct prediction_set *sets;
    size_t n;
    enum eval_type type = e->metrics.type;
    const struct prediction_wants wants = {
        .label_text = type == EVAL_BINARY, .score = type != EVAL_MULTI, .result = type == EVAL_MULTI};
    TRY(predictions_read(cx, e->table, &wants, &sets, &n));
    for (size_t i = 0; i < n; i++) {
        e->of.type = sets[i].type;
        TRY_IN(cx,
               type == EVAL_BINARY  ? binary(cx, e, &sets[i])
               : type == EVAL_MULTI ? multi(cx, e, &sets[i])
                                    : regression(cx, e, &sets[i]),
               "rows of type %.40s", sets[i].type);
    }
    return unfold ? one_vs_rest(cx, e, sets, n) : OK;
}

static status check_inputs(struct ctx *cx, const struct task *t)
{
    for (size_t i = 0; i < t->n_inputs; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->inputs[i].component, t->inputs[k].component) == 0)
                return FAIL(cx, ARG,
                            "inputs %s and %s are of one component, whose metrics would have the same names: "
                            "evaluate "
                            "them in two components",
                            t->inputs[k].from, t->inputs[i].from);
    return OK;
}

static void evaluation_free(struct evaluation *e)
{
    json_decref(e->summary);
}

static status run(struct ctx *cx, struct task *t)
{
    if (!task_bool(t, "need_run")) return OK;
    CLEANUP(evaluation_free) struct evaluation e = {.t = t, .of.t = t, .summary = json_object()};
    if (!e.summary) return FAIL(cx, NOMEM, "summary");
    TRY(eval_metrics_read(cx, task_str(t, "eval_type"), task_json(t, "metrics"), &e.metrics));
    TRY(check_inputs(cx, t));
    uint64_t rows = 0, done = 0;
    for (size_t i = 0; i < t->n_inputs; i++)
        rows += t->inputs[i].table->n_rows;
    for (size_t i = 0; i < t->n_inputs;
         i++) { /* a party without predictions has no input and nothing to do */
        e.table = t->inputs[i].table, e.of.component = t->inputs[i].component;
        TRY_IN(cx, evaluate_input(cx, &e, task_bool(t, "unfold_multi_result")), "input %s",
               t->inputs[i].from);
        done += e.table->n_rows;
        task_progress(t, "rows", done, rows);
    }
    return json_object_size(e.summary) ? task_summary(cx, t, e.summary) : OK;
}

static const char *const data_in[] = {"data", NULL};
extern const struct component component_evaluation;
const struct component component_evaluation = {
    .module = "Evaluation",
    .text = "Computes metrics and curves of predictions: binary, of several classes, or of a regression.",
    .params = params,
    .n_params = LEN(params),
    .data_in = data_in,
    .required_in = data_in,
    .run = {[ROLE_GUEST] = run, [ROLE_HOST] = run, [ROLE_ARBITER] = run},
    .check = check,
};
