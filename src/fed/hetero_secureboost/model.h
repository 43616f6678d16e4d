/* model.h - one party's half of a SecureBoost model in memory, and as FATE's protobuf messages
 * (BoostingTreeModelMeta, BoostingTreeModelParam; reference: docs/formats/model.md).
 *
 * Trees are struct tree of learn/gbdt.h with tree_node.party = index of a site: 0 the guest, p the p-th host of the job.
 * A party's own nodes hold column, split value and direction of missing cells; other parties' nodes hold the owner only
 * (the guest also keeps the owner's column and bin while training, which are not stored). Leaf weights: at the guest. */
#pragma once
#include "fed/component.h"
#include "fed/hetero_secureboost/params.h"

struct sbt_model {
    size_t me; /* index of this party's site */
    size_t n_sites;
    const char *const *site; /* "guest:9999", "host:10000" */
    size_t n_trees;
    const struct tree *trees; /* tree t is of class t % dim */
    unsigned dim;
    bool use_missing, zero_as_missing;
    size_t n_columns;
    const char *const *column;    /* own columns */
    const char *const *anonymous; /* of a host's own columns; NULL at the guest */
    int best_iteration;           /* -1: no early stopping */
    /* guest only */
    struct gbdt_objective objective;
    double learning_rate;
    const double *init; /* dim */
    const double *losses;
    size_t n_losses;
    const double *classes; /* labels by class, ascending */
    size_t n_classes;      /* 0 = regression */
    const char *const *const
        *peer_column; /* [site][column]: anonymous names, for importance; NULL when loaded */
};

/* "guest:9999", ... of the job: [0] is the guest, then hosts in the job's order. me: index of t->me. */
status sbt_sites(struct ctx *cx, const struct task *t, const char *const **site, size_t *n, size_t *me);

struct sbt_importance {
    size_t site;
    uint32_t column;
    const char *name;
    double splits, gain;
};
/* Of all columns that split, by descending splits (or gain), then in order of first use. */
status sbt_importances(struct ctx *cx, const struct sbt_model *m, bool by_gain, struct sbt_importance **out,
                       size_t *n);

status sbt_model_save(struct ctx *cx, const struct sbt_model *m, const struct sbt_params *p,
                      const char *component, struct model_part **out);
/* FORMAT: a message that is malformed or does not fit this job's parties, naming what. */
status sbt_model_load(struct ctx *cx, const struct task *t, const struct model_part *part,
                      struct sbt_model *out);

/* A class or other label as FATE prints it: "1" for a whole number, else the shortest decimal. buf: 32 bytes. */
size_t sbt_format_label(double x, char *buf);
