/* predictions.h - a prediction table as Evaluation reads it: rows parted by their type. */
#pragma once
#include "table/table.h"

#define PREDICTION_TYPES 64

/* The rows of one type. Arrays live in cx->mem. */
struct prediction_set {
    const char *type; /* "train", "validate", "predict" */
    size_t n;
    uint32_t *row;  /* of the table */
    double *label;  /* as numbers; NaN where the label is a text */
    double *score;  /* predict_score */
    double *result; /* predict_result */
};
/* What to read, and what must be there. */
struct prediction_wants {
    bool label_text; /* labels may be texts */
    bool score, result;
};
/* In order of first appearance. ARG: no prediction table, naming the column it lacks; a missing or non-numeric cell, with
 * its row (1 = the first). */
status predictions_read(struct ctx *cx, const struct table *t, const struct prediction_wants *wants,
                        struct prediction_set **out, size_t *n);

/* One-vs-rest: the probabilities of all classes in predict_detail, {'0': 0.7, '1': 0.3}. */
#define PREDICTION_CLASSES 1000
struct prediction_classes {
    size_t n;
    const char **name;
    double *p; /* set.n x n, row-major; NaN where a row does not name the class */
};
status predictions_classes(struct ctx *cx, const struct table *t, const struct prediction_set *s,
                           struct prediction_classes *out);
