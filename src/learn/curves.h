/* curves.h - the curves and tables that FATE's Evaluation draws of binary scores, point by point as FATE picks them.
 *
 * Source: FATE 1.11.4's documented metrics; ROC after Fawcett, "An introduction to ROC analysis", 2006, with collinear
 * points left out; population stability index as in Siddiqi, "Credit Risk Scorecards", 2005.
 * A row is taken for positive when its score is above a threshold (ROC: at or above). Thresholds of a curve are 100 of
 * the rows (KS) or 100 of the distinct scores (the others), at equal steps from the highest; with fewer rows or scores
 * than that some stand several times. Values are exact quotients of counts, not rounded. All take a rank of at least one
 * row, cannot fail, and need no memory. */
#pragma once
#include "learn/metrics.h"

#define CURVE_STEPS  100
#define CURVE_POINTS (CURVE_STEPS + 4)

struct curve {              /* points in FATE's order: by descending threshold */
    size_t n, n_thresholds; /* precision and recall may have one threshold less than points */
    double x[CURVE_POINTS], y[CURVE_POINTS], threshold[CURVE_POINTS];
};

/* Rows with a score above (or at) t. */
struct curve_count {
    uint64_t tp, fp;
};
struct curve_count curve_above(const struct binary_rank *r, double t);
struct curve_count curve_from(const struct binary_rank *r, double t);

/* FATE's KS: the largest tpr - fpr over 100 rows. Both classes must be present. x: the share of rows, last point (1, 1). */
double curve_ks(const struct binary_rank *r, struct curve *fpr, struct curve *tpr);
/* x: the share of rows above the threshold, each once; last point (1, 1). y of lift: precision by the share of positives;
 * y of gain: recall. */
void curve_lift(const struct binary_rank *r, struct curve *out);
void curve_gain(const struct binary_rank *r, struct curve *out);
/* x: i / 100 */
void curve_accuracy(const struct binary_rank *r, struct curve *out);
/* x: i / 100 of the threshold with the best precision of each recall. Precision of no row is 1. */
void curve_precision_recall(const struct binary_rank *r, struct curve *precision, struct curve *recall);
/* x: fpr, y: tpr. Both classes must be present. */
void curve_roc(const struct binary_rank *r, struct curve *out);

struct confusion { /* at the thresholds 0, 0.01, ..., 0.99 */
    double threshold[CURVE_STEPS], f1[CURVE_STEPS];
    uint64_t tp[CURVE_STEPS], fp[CURVE_STEPS], tn[CURVE_STEPS], fn[CURVE_STEPS];
};
void curve_confusion(const struct binary_rank *r, struct confusion *out);

#define CURVE_QUANTILES 21
struct quantile_pr { /* at every 5 % of the rows, ascending */
    double threshold[CURVE_QUANTILES], precision[CURVE_QUANTILES], recall[CURVE_QUANTILES];
};
void curve_quantile_pr(const struct binary_rank *r, struct quantile_pr *out);

/* How far the scores of validation have moved from those of training: bins between the 5 % quantiles of training, each
 * [edge, next edge), the last one closed. A bin without rows counts 1e-6. */
struct stability {
    size_t n; /* bins */
    double edge[CURVE_QUANTILES + 1];
    uint64_t train[CURVE_QUANTILES], validate[CURVE_QUANTILES]; /* rows */
    double train_share[CURVE_QUANTILES], validate_share[CURVE_QUANTILES];
    double train_positive[CURVE_QUANTILES],
        validate_positive[CURVE_QUANTILES]; /* share of the bin's rows; 0 of none */
    double psi[CURVE_QUANTILES], total;
};
void curve_stability(const struct binary_rank *train, const struct binary_rank *validate,
                     struct stability *out);
