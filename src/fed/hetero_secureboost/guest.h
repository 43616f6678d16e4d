/* guest.h - the guest's side of training: labels, gradients, keys, trees. */
#pragma once
#include "fed/hetero_secureboost/evaluate.h"
#include "fed/hetero_secureboost/peers.h"
#include "learn/binning.h"

struct sbt_data { /* one input of the guest */
    const struct table *table;
    struct binned x;      /* own columns; may have none */
    const double *y;      /* class index, or target */
    const double *weight; /* NULL: all 1 */
};
struct sbt_trained {
    const double *train_score, *valid_score; /* raw, of the rounds that are kept; valid may be NULL */
    const struct ensemble *ensemble;
    size_t n_rounds; /* kept */
    int best_iteration;
    struct he_info he;
    json_t *validation;        /* metrics by set; owned; NULL: none */
    uint64_t *sent, *received; /* per host */
};
/* Labels to class indices: *classes ascending, n of them. ARG: fewer than 2 or more than 1000. */
status sbt_classes(struct ctx *cx, const double *y, size_t n, const double **classes, size_t *n_classes);
status sbt_class_index(struct ctx *cx, const double *classes, size_t n_classes, double *y, size_t n);
/* objective in p->train is complete. */
status sbt_guest_train(struct ctx *cx, struct task *t, const struct sbt_params *p,
                       const struct sbt_data *train, const struct sbt_data *valid,
                       const char *const *const **peer_names, struct sbt_trained *out);
