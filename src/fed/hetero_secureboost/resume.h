/* resume.h - going on after an interruption: each party keeps its half of every tree in its checkpoint, and when training
 * starts again all of them go back to the last round that everybody holds.
 *
 * Steps of the checkpoint (docs/formats/checkpoint.md): the name of the run, 16 random bytes of the guest's, then a step a
 * tree. The guest's also says to which leaf each of its rows went, so that scores, losses, metrics and early stopping
 * come out again bit by bit; a host's has its own cuts and the owners of the other nodes. What a tree draws (columns,
 * GOSS's rows) depends on seed, round and class only, so the trees that follow are those of an undisturbed training.
 * All else (bins, labels) is made from the input again; the checkpoint's key is a digest of it.
 *
 * A checkpoint that cannot be written any more (full disk) does not end the training: the log says so, once, and the trees
 * held so far stay. */
#pragma once
#include "base/bytes.h"
#include "fed/component.h"
#include "learn/gbdt.h"
#include "model/steplog.h"

#define SBT_RUN 16

struct resume {
    struct steplog *log; /* NULL: no checkpoint is kept */
    uint8_t run[SBT_RUN];
    size_t n_trees; /* held */
    size_t n_rows, n_valid;
    struct arena *mem; /* of the tree being read */
    int32_t *leaf, *valid_leaf;
};
/* x: own columns of train_data, in buckets; y, weight, leaves: at the guest. Without t->checkpoint_dir: n_trees is 0. */
status resume_open(struct ctx *cx, const struct task *t, const struct binned *x, size_t n_valid,
                   const double *y, const double *weight, bool leaves, struct resume *out);
void resume_close(struct resume *r);
/* Guest: how many trees go on: whole rounds that this party and all hosts hold of the same run, at most `most` trees. The
 * rest is cut off; a run that begins anew gets a new name. */
struct resume_held {
    uint8_t run[SBT_RUN];
    size_t n_trees;
};
status resume_agree(struct ctx *cx, struct resume *r, const struct resume_held *host, size_t n_hosts,
                    unsigned dim, size_t most);
/* Host: what the guest has decided. PROTO: more trees than are held. */
status resume_accept(struct ctx *cx, struct resume *r, const uint8_t run[SBT_RUN], size_t n_trees);
/* Adds tree n_trees. leaf, valid_leaf: NULL at a host. */
status resume_add(struct ctx *cx, struct resume *r, const struct tree *t, const int32_t *leaf,
                  const int32_t *valid_leaf);
/* Tree i; nodes in cx->mem. The leaves live until the next call. FORMAT: no tree. */
status resume_tree(struct ctx *cx, struct resume *r, size_t i, struct gbdt_grown *out);

/* A tree as bytes, and back; nodes in mem. */
void resume_put_tree(struct buf *b, const struct tree *t);
status resume_take_tree(struct ctx *cx, struct reader *r, struct arena *mem, struct tree *out);
