#include "fed/evaluation/metric_names.h"
#include <string.h>
#include <strings.h>

static const char *const type_names[] = {
    [EVAL_BINARY] = "binary", [EVAL_MULTI] = "multi", [EVAL_REGRESSION] = "regression"};

enum { IN_BINARY = 1 << EVAL_BINARY, IN_MULTI = 1 << EVAL_MULTI, IN_REGRESSION = 1 << EVAL_REGRESSION };
static const struct known {
    const char *name, *alias;
    unsigned types;
    bool usual; /* computed when none is named */
} known[METRICS] = {
    [METRIC_AUC] = {"auc", NULL, IN_BINARY, true},
    [METRIC_KS] = {"ks", NULL, IN_BINARY, true},
    [METRIC_LIFT] = {"lift", NULL, IN_BINARY, true},
    [METRIC_GAIN] = {"gain", NULL, IN_BINARY, true},
    [METRIC_ACCURACY] = {"accuracy", "acc", IN_BINARY | IN_MULTI, true},
    [METRIC_PRECISION] = {"precision", NULL, IN_BINARY | IN_MULTI, true},
    [METRIC_RECALL] = {"recall", NULL, IN_BINARY | IN_MULTI, true},
    [METRIC_ROC] = {"roc", NULL, IN_BINARY, true},
    [METRIC_CONFUSION_MAT] = {"confusion_mat", NULL, IN_BINARY, true},
    [METRIC_PSI] = {"psi", NULL, IN_BINARY, true},
    [METRIC_F1_SCORE] = {"f1_score", NULL, IN_BINARY, true},
    [METRIC_QUANTILE_PR] = {"quantile_pr", NULL, IN_BINARY, true},
    [METRIC_EXPLAINED_VARIANCE] = {"explained_variance", NULL, IN_REGRESSION, true},
    [METRIC_MEAN_ABSOLUTE_ERROR] = {"mean_absolute_error", "l1|mae|regression_l1", IN_REGRESSION, true},
    [METRIC_MEAN_SQUARED_ERROR] = {"mean_squared_error", "l2|mse|regression_l2|regression", IN_REGRESSION,
                                   true},
    [METRIC_MEDIAN_ABSOLUTE_ERROR] = {"median_absolute_error", NULL, IN_REGRESSION, true},
    [METRIC_R2_SCORE] = {"r2_score", "r2", IN_REGRESSION, true},
    [METRIC_ROOT_MEAN_SQUARED_ERROR] = {"root_mean_squared_error", "l2_root|rmse", IN_REGRESSION, true},
    /* FATE knows the name and refuses it for every eval_type */
    [METRIC_MEAN_SQUARED_LOG_ERROR] = {"mean_squared_log_error", "msle", IN_REGRESSION, false},
};
static const char clustering[] = "jaccard_similarity_score|jaccard|fowlkes_mallows_score|fmi|adjusted_rand_"
                                 "score|ri|davies_bouldin_index|dbi|"
                                 "distance_measure|contingency_matrix";

const char *metric_name(enum metric_id m)
{
    return known[m].name;
}

/* Is the name among "a|b"? */
static bool among(const char *list, const char *name)
{
    for (const char *a = list; a && *a;) {
        size_t n = strcspn(a, "|");
        if (strlen(name) == n && strncasecmp(a, name, n) == 0) return true;
        a += n + (a[n] == '|');
    }
    return false;
}

static bool find(const char *name, enum metric_id *out)
{
    for (unsigned i = 0; i < METRICS; i++)
        if (strcasecmp(known[i].name, name) == 0 || among(known[i].alias, name)) {
            *out = (enum metric_id)i;
            return true;
        }
    return false;
}

bool eval_metrics_has(const struct eval_metrics *e, enum metric_id m)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->list[i] == m) return true;
    return false;
}

static void add(struct eval_metrics *e, enum metric_id m)
{
    if (!eval_metrics_has(e, m)) e->list[e->n++] = m;
}

static status read_name(struct ctx *cx, const json_t *name, size_t i, struct eval_metrics *out)
{
    const char *s = json_string_value(name), *type = type_names[out->type];
    enum metric_id m;
    if (!s) return FAIL(cx, ARG, "parameter metrics[%zu] is not a text", i);
    if (among(clustering, s))
        return FAIL(cx, UNSUPPORTED,
                    "parameter metrics[%zu] is %.40s: norn has not built metrics of clustering", i, s);
    if (!find(s, &m)) return FAIL(cx, ARG, "parameter metrics[%zu] is \"%.40s\", which is no metric", i, s);
    if (!(known[m].types & 1u << out->type))
        return FAIL(cx, ARG, "parameter metrics[%zu] is %s, which eval_type %s does not have", i,
                    known[m].name, type);
    add(out, m);
    return OK;
}

status eval_metrics_read(struct ctx *cx, const char *eval_type, const json_t *names, struct eval_metrics *out)
{
    struct eval_metrics e = {0};
    size_t k = 0;
    while (k < LEN(type_names) && strcmp(type_names[k], eval_type) != 0)
        k++;
    if (k == LEN(type_names))
        return FAIL(cx, UNSUPPORTED,
                    "parameter eval_type is %.20s: norn has not built this; want binary, multi or regression",
                    eval_type);
    e.type = (enum eval_type)k;
    for (size_t i = 0; i < json_array_size(names); i++)
        TRY(read_name(cx, json_array_get(names, i), i, &e));
    for (unsigned m = 0; m < METRICS && json_array_size(names) == 0; m++)
        if (known[m].usual && (known[m].types & 1u << k)) add(&e, (enum metric_id)m);
    if (eval_metrics_has(&e, METRIC_RECALL)) add(&e, METRIC_PRECISION);
    if (eval_metrics_has(&e, METRIC_PRECISION)) add(&e, METRIC_RECALL);
    *out = e;
    return OK;
}
