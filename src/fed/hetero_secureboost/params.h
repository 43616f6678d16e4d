/* params.h - the parameters of HeteroSecureBoost as the algorithm uses them. */
#pragma once
#include "crypto/he.h"
#include "fed/component.h"
#include "learn/gbdt.h"

#define SBT_METRICS_MAX 16
#define SBT_ROUNDS_MAX  100000

struct sbt_params {
    struct gbdt_params train; /* all but objective.n_classes, which the labels tell */
    bool regression;
    const char *objective;
    double objective_params[4];
    size_t n_objective_params;
    struct bin_params bins;
    size_t complete_secure; /* first rounds on the guest's columns only */
    bool by_gain;           /* feature importance */
    double threshold;
    enum he_scheme scheme;
    int asked_key_bits, key_bits; /* paillier; asked below 2048 is raised */
    /* evaluation while training */
    int64_t every;           /* rounds; 0 = at the rounds listed */
    const json_t *at_rounds; /* list, or NULL */
    size_t early_rounds;
    bool first_metric_only;
    const char *metric[SBT_METRICS_MAX]; /* none = FATE's usual ones of the task */
    size_t n_metrics;
};
/* Checks across parameters: what component.check calls. */
status sbt_params_check(struct ctx *cx, const json_t *params);
/* Logs a warning when the key length is raised. */
status sbt_params_read(struct ctx *cx, const struct task *t, struct sbt_params *out);
