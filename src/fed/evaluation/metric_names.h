/* metric_names.h - the metrics of FATE's Evaluation by name, and which of them a task computes. */
#pragma once
#include "base/js.h"

enum eval_type { EVAL_BINARY, EVAL_MULTI, EVAL_REGRESSION };
enum metric_id {
    METRIC_AUC,
    METRIC_KS,
    METRIC_LIFT,
    METRIC_GAIN,
    METRIC_ACCURACY,
    METRIC_PRECISION,
    METRIC_RECALL,
    METRIC_ROC,
    METRIC_CONFUSION_MAT,
    METRIC_PSI,
    METRIC_F1_SCORE,
    METRIC_QUANTILE_PR,
    METRIC_EXPLAINED_VARIANCE,
    METRIC_MEAN_ABSOLUTE_ERROR,
    METRIC_MEAN_SQUARED_ERROR,
    METRIC_MEDIAN_ABSOLUTE_ERROR,
    METRIC_R2_SCORE,
    METRIC_ROOT_MEAN_SQUARED_ERROR,
    METRIC_MEAN_SQUARED_LOG_ERROR,
    METRICS
};
const char *metric_name(enum metric_id m); /* FATE's: "auc" */

struct eval_metrics {
    enum eval_type type;
    enum metric_id list[METRICS]; /* in the order asked for, each once; precision and recall come together */
    size_t n;
};
/* names: parameter metrics; null or empty = all of the type that FATE computes by default. ARG: an unknown name, with the
 * nearest one, or one that another eval_type computes. UNSUPPORTED: clustering. */
status eval_metrics_read(struct ctx *cx, const char *eval_type, const json_t *names,
                         struct eval_metrics *out);
bool eval_metrics_has(const struct eval_metrics *e, enum metric_id m);
