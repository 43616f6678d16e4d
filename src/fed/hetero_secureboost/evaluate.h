/* evaluate.h - metrics while training (FATE's PerformanceEvaluate and EarlyStopping), at the guest. */
#pragma once
#include "fed/hetero_secureboost/model.h"
#include "fed/hetero_secureboost/params.h"
#include "learn/metrics.h"

struct evaluator {
    const struct sbt_params *p;
    const struct gbdt_objective *objective;
    struct early_stop early;
    json_t *
        found; /* {"train": {metric: [value per evaluation]}, "validate": ...}; owned, NULL before the first */
    size_t n_names;
    const char *name[SBT_METRICS_MAX];
    double value[SBT_METRICS_MAX]; /* of the last data set evaluated */
};
/* Which metrics: those asked for that are single values, or FATE's usual ones of the task. ARG: an unknown name. */
status evaluator_init(struct ctx *cx, const struct sbt_params *p, const struct gbdt_objective *o,
                      struct evaluator *out);
void evaluator_free(struct evaluator *e);
bool evaluator_due(const struct evaluator *e, size_t round);
/* Adds the values of one data set ("train", "validate") to found and to value[], and reports them as FATE does: metric
 * "iteration_<round>" of namespace `set`. */
status evaluator_run(struct ctx *cx, struct evaluator *e, struct task *t, size_t round, const char *set,
                     const double *y, const double *score, size_t n);
/* Early stopping on value[]: *best is the round whose model is kept. */
bool evaluator_stop(struct evaluator *e, size_t round, size_t *best);
