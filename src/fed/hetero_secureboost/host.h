/* host.h - the host's side of training: does what the guest orders, and records its own half of the trees. */
#pragma once
#include "fed/hetero_secureboost/model.h"
#include "learn/binning.h"

/* Until the guest stops. train, valid (NULL: none): own columns in buckets; names: anonymous ones, one a column. *trees:
 * the half of the trees, in cx->mem; m: n_trees, trees, dim and best_iteration are set.
 * PROTO: the guest asks for what does not exist; AUTH: another scheme or a shorter key than the own parameters name. */
status sbt_host_train(struct ctx *cx, struct task *t, const struct sbt_params *p, const struct binned *train,
                      const struct binned *valid, const char *const *names, struct sbt_model *m,
                      bool *converged, uint64_t *sent, uint64_t *received);
