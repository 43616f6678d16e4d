/* predict.h - scores of rows by a model of which each party holds a half, and FATE's prediction table.
 *
 * Both ends hold the same rows in the same order (Intersection ran before). All trees are walked at once, in blocks of
 * rows; each round the guest asks every host for the rows that wait at its nodes; there are at most max_depth rounds a
 * block. Messages: protocol.h. */
#pragma once
#include "fed/hetero_secureboost/model.h"
#include "fed/hetero_secureboost/protocol.h"

/* score: n_rows x dim. hosts: one link per site but the guest's, in order. ARG: a column is absent or has missing cells
 * that the model cannot take; PROTO. */
status sbt_walk_guest(struct ctx *cx, const struct sbt_model *m, const struct table *t, struct link *hosts,
                      double *score);
status sbt_walk_host(struct ctx *cx, const struct sbt_model *m, const struct table *t, struct link *guest);

struct sbt_part { /* rows of a prediction table that come from one input */
    const struct table *table;
    const double *score; /* raw, n_rows x dim */
    const char *type;    /* "train", "validate", "predict" */
};
/* Writes the table label, predict_result, predict_score, predict_detail, type. The detail is Python's text of a map,
 * {'0': 0.72, '1': 0.28}, without the quotes that FATE's API puts around it. */
status sbt_write_predictions(struct ctx *cx, const struct sbt_model *m, double threshold,
                             const struct sbt_part *part, size_t n_parts, const char *path);
/* Labels of a table as doubles. ARG: none, text, or missing. */
status sbt_labels(struct ctx *cx, const struct table *t, double **y);
