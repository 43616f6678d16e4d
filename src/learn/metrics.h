/* metrics.h - the metrics and curves of FATE's Evaluation, on plain arrays.
 *
 * Binary: y[i] is 1 for the positive class, else 0; score in any monotone unit. Ties of score are one step of a curve.
 * Cuts of a curve: the distinct scores in descending order ("score >= cut is positive"). */
#pragma once
#include "base/ctx.h"

/* Binary scores sorted once; the functions below share it. ARG naming the row: a score that is missing (NaN), a label that
 * is not 0 or 1. LIMIT: 2^32 rows. */
struct binary_rank {
    size_t n, n_pos;
    size_t n_cuts;
    const double *cut;  /* distinct scores, descending */
    const uint64_t *tp; /* positives with score >= cut[i] */
    const uint64_t *fp; /* negatives with score >= cut[i] */
};
status binary_rank(struct ctx *cx, const double *y, const double *score, size_t n, struct binary_rank *out);

/* Area under the ROC curve, ties counted half (Mann-Whitney). ARG when a class is absent. */
status metric_auc(struct ctx *cx, const struct binary_rank *r, double *out);
/* Largest tpr - fpr over the cuts, 0 when none is positive; the cut where it is first reached.
 * ARG when a class is absent. */
status metric_ks(struct ctx *cx, const struct binary_rank *r, double *out, double *cut);

struct regression_metrics {
    double explained_variance, mean_absolute_error, mean_squared_error, median_absolute_error, r2_score,
        root_mean_squared_error, mean_squared_log_error; /* the last is NaN when a value is below 0 */
};
/* ARG: no rows; a value that is no number, naming the row. */
status metric_regression(struct ctx *cx, const double *y, const double *pred, size_t n,
                         struct regression_metrics *out);

/* Per class: rows true[i] with pred[i] (class indices below n_classes). Accuracy over all. A class never predicted has
 * precision 0, one that never occurs recall 0, as in scikit-learn. precision, recall: n_classes values each. ARG: no rows,
 * a class out of range. */
status metric_multi(struct ctx *cx, const uint32_t *truth, const uint32_t *pred, size_t n, size_t n_classes,
                    double *accuracy, double *precision, double *recall);

/* FATE's early stopping: each metric counts the evaluations since it last improved; training ends when any of them has
 * counted `rounds`. */
#define EARLY_STOP_METRICS 16
struct early_stop {
    size_t rounds; /* early_stopping_rounds; 0 = never stops, but keeps the best round of the first metric */
    size_t n;
    struct early_stop_metric {
        const char *name; /* borrowed */
        bool higher_is_better;
        double best;
        size_t since, best_round;
    } metric[EARLY_STOP_METRICS];
};
/* One evaluation of one metric; names are compared as text. false: no room for another metric. */
bool early_stop_add(struct early_stop *s, size_t round, const char *name, bool higher_is_better,
                    double value);
/* After the metrics of a round: true = stop. *best_round: of the metric that stopped, else of the first one added; left
 * alone when there is none. */
bool early_stop_due(const struct early_stop *s, size_t *best_round);

/* A cross-check for tests and the demo: mean of -log p of the true class. */
double metric_logloss(const double *y, const double *p, size_t n);
