/* peers.h - the hosts as the guest's tree grower sees them (struct gbdt_peers over the protocol of protocol.h). */
#pragma once
#include "crypto/he.h"
#include "fed/hetero_secureboost/params.h"
#include "fed/hetero_secureboost/protocol.h"
#include "fed/hetero_secureboost/resume.h"

#define SBT_VALUE_BITS     30 /* of a quantised g or h; less when the scheme cannot hold the sum */
#define SBT_VALUE_BITS_MIN 10

struct peer { /* one host */
    struct link link;
    uint32_t n_columns;
    const uint16_t *n_splits;
    const uint16_t *left_out; /* bucket that is not returned */
    const char *const *name;  /* anonymous */
    bool use_missing;
    double subsample_rate;
    const uint32_t *at;       /* n_columns + 1: a column's n_splits (+ missing) sums in a node's histogram */
    bool *on;                 /* columns of this tree */
    size_t n_returned;        /* buckets of a reply, in this tree; 0: the host has no part in the tree */
    struct gh **hist, **prev; /* per node of the level, and of the level before */
    const uint8_t **mask;     /* per node: cuts with enough rows on both sides, a flag each; NULL = all */
};

struct peers {
    const struct sbt_params *params;
    size_t n;
    struct peer *peer;
    struct he_guest *he; /* secret; freed by peers_close */
    struct he_params he_params;
    struct he_info he_info;
    size_t n_rows, n_batch;     /* rows; rows that train a tree */
    const struct binned *valid; /* own columns of the validation rows; NULL: none */
    uint64_t seed;
    /* the tree */
    bool active; /* false in rounds that are the guest's alone */
    struct fixed_scale scale;
    struct groups valid_groups;
    int32_t *valid_leaf;
    int32_t next_id, first_id,
        prev_first_id;          /* node ids: next free, of the level's first node, of the level before's */
    struct arena *level_mem[2]; /* histograms of even and odd levels */
    bool *summed, *candidate;   /* per node of the level */
    int64_t *batch;             /* n_batch x 2 */
};
/* Meets the hosts: their columns, keys, setup; resume->n_trees becomes what all go on from. n_batch: rows that train a
 * tree. Memory in cx->mem. ARG: a host without columns or with other rows; PROTO. Hold with CLEANUP(peers_close). */
status peers_open(struct ctx *cx, struct task *t, const struct sbt_params *p, size_t n_rows, size_t n_batch,
                  const struct binned *valid, struct resume *resume, struct peers *out);
void peers_close(struct peers *p);
/* Bits of a quantised g or h for batches of so many rows: the sum of all fits the scheme. Below SBT_VALUE_BITS_MIN: too
 * many rows for it. */
int sbt_value_bits(const struct sbt_params *p, size_t n_batch);
/* The bits of a sum that go with them. */
int sbt_sum_bits(const struct sbt_params *p, size_t n_batch);
/* The callbacks; self is p. */
struct gbdt_peers peers_callbacks(struct peers *p);
/* Tells the hosts that training is over and how many trees to keep. */
status peers_stop(struct ctx *cx, struct peers *p, size_t n_trees, unsigned dim, int best_iteration,
                  bool converged);
