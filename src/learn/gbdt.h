/* gbdt.h - gradient-boosted trees: objectives, exact integer histograms, split finding, level-wise growth, training.
 *
 * Sources: Chen & Guestrin, XGBoost, KDD '16 (equations 5 to 8); FATE 1.11 SecureBoost for the order of ties, the rounding
 * of gains, and the defaults. One code for all uses: alone (peers == NULL) it trains on one party's columns; a federated
 * guest passes a struct gbdt_peers that supplies the candidate splits of the other parties and routes rows through
 * them. Both give the same trees when the columns, edges, frac_bits and parameters are the same.
 *
 * Exactness: g and h of a row are rounded once to integers with a common scale 2^frac_bits. All sums over rows that
 * decide splits are sums of these integers, hence equal whatever the order, thread count or encryption. Leaf weights are
 * made of double sums of the unrounded g and h, in row order within fixed chunks. */
#pragma once
#include "base/ctx.h"
#include "learn/binning.h"

/* ---- objectives ---- */
enum gbdt_loss {
    GBDT_LOGISTIC, /* cross_entropy, two classes */
    GBDT_SOFTMAX,  /* cross_entropy, n_classes > 2: one tree per class and round */
    GBDT_LSE,
    GBDT_LAE,
    GBDT_HUBER,
    GBDT_FAIR,
    GBDT_TWEEDIE,
    GBDT_LOG_COSH
};
struct gbdt_objective {
    enum gbdt_loss loss;
    double param;       /* huber: delta; fair: c; tweedie: rho in (1, 2) */
    unsigned n_classes; /* 2 for GBDT_LOGISTIC, k for GBDT_SOFTMAX, else 1 */
};
/* name: FATE's objective ("cross_entropy", "lse", ...). ARG: unknown name, missing or bad param, bound of n_classes. */
status gbdt_objective_make(struct ctx *cx, const char *name, const double *params, size_t n_params,
                           unsigned n_classes, struct gbdt_objective *out);
static inline unsigned gbdt_dim(const struct gbdt_objective *o)
{
    return o->loss == GBDT_SOFTMAX ? o->n_classes : 1;
}
/* y: class index as a double, or the target. score, init, out: gbdt_dim values per row, row-major. */
status gbdt_check_labels(struct ctx *cx, const struct gbdt_objective *o, const double *y,
                         size_t n); /* ARG names row */
status gbdt_init_score(struct ctx *cx, const struct gbdt_objective *o, const double *y, size_t n,
                       double *init);
/* At these scores: g and h of every tree of the round, that of tree k and row i at [k * n + i], and the mean loss as FATE
 * reports it, in a fixed order of summation. weight: n, or NULL = all 1; multiplies all three. ARG: no rows. */
status gbdt_gradient(struct ctx *cx, const struct gbdt_objective *o, const double *y, const double *score,
                     const double *weight, size_t n, double *g, double *h, double *loss);
/* Scores to predictions: probability of class 1; class probabilities; value. In place is fine. */
void gbdt_predict_from_score(const struct gbdt_objective *o, const double *score, size_t n, double *out);

/* ---- integers ---- */
struct fixed_scale {
    int frac_bits; /* integer = round half away(x * 2^frac_bits); may be negative */
};
struct gh {
    int64_t g, h;
};
#define GBDT_VALUE_BITS 24 /* default: |g|, |h| <= 2^24 as integers, so 2^38 rows fit a sum */
/* The largest scale at which |x| <= max_abs stays within 2^value_bits. */
struct fixed_scale fixed_scale_for(double max_abs, int value_bits);
/* A bound of |g| and |h|: 1 for cross_entropy, whatever the rows; else the maximum over these rows, infinity when one is
 * no number. */
double gbdt_bound(const struct gbdt_objective *o, const double *g, const double *h, size_t n);
void gh_quantise(struct fixed_scale s, const double *g, const double *h, size_t n, struct gh *out);

/* ---- trees ---- */
struct tree_node {
    int32_t id; /* its index; children have larger ids, level by level, left before right (FATE's numbers) */
    int32_t parent, left, right; /* -1 = none */
    int32_t party;               /* 0 = own columns, p > 0 = the p-th peer; of a leaf: 0 */
    uint32_t feature;            /* own: column; a peer's: a handle of the peer's choosing */
    uint32_t bin;                /* own: left = bucket <= bin; a peer's: part of its handle */
    double split;                /* own: left = value <= split; a peer's: 0 */
    bool missing_left;           /* own: where missing cells go */
    bool is_leaf;
    double
        weight;  /* -G / (H + l2), without the learning rate; of an inner node: what it would be as a leaf */
    double gain; /* of the split; 0 at a leaf */
    double sum_g, sum_h; /* unrounded */
    uint64_t cover;      /* rows that trained this node */
};
struct tree {
    size_t n_nodes;
    const struct tree_node *nodes; /* 0 is the root */
};
struct ensemble {
    struct gbdt_objective objective;
    double learning_rate;
    unsigned dim;   /* trees per round */
    size_t n_trees; /* rounds * dim; tree r * dim + k is class k's of round r */
    const struct tree *trees;
    const double *init;   /* dim */
    const double *losses; /* n_rounds, training loss after each round */
    size_t n_rounds;
    size_t best_round; /* 0-based; = n_rounds - 1 unless on_round said otherwise */
    bool converged;    /* n_iter_no_change stopped it */
};
/* Leaf of the own-columns tree for raw values x[0..n_features), NaN = missing; zero_as_missing as in training.
 * The tree must have no node of a peer. */
int32_t tree_find(const struct tree *t, const double *x, bool zero_as_missing);
/* Leaf per row of a binned matrix (made with the training edges). */
status tree_route(struct ctx *cx, const struct tree *t, const struct binned *b, int32_t *leaf);
/* score (n x dim) = init + rate * sum of leaf weights of the first n_rounds rounds (0 = all), for raw rows. */
status ensemble_score(struct ctx *cx, const struct ensemble *e, const struct bin_source *rows,
                      bool zero_as_missing, size_t n_rounds, double *score);

struct importance {
    int32_t party;
    uint32_t feature; /* own column, or the peer's handle: map it before use */
    uint64_t splits;
    double gain;
};
/* One entry per (party, feature) that splits, by descending splits, then gain, then party and feature. */
status ensemble_importance(struct ctx *cx, const struct ensemble *e, struct importance **out, size_t *n);

/* ---- splits ---- */
struct gbdt_tree_params {
    unsigned max_depth;        /* 1..30 */
    double l2, l1;             /* criterion_params */
    double min_impurity_split; /* a split's gain must exceed it */
    uint64_t min_sample_split, min_leaf_node;
    double min_child_weight;
};
/* The best split of a node so far. Compare by split_offer only: it is what fixes ties. */
struct split {
    int32_t party; /* -1 = none yet */
    uint32_t feature, bin;
    bool missing_left;
    double gain;
    int64_t left_g, left_h; /* integer sums of the left child */
    uint64_t left_n;        /* rows of the left child; 0 when the party did not say */
};
struct split_total { /* of the node */
    int64_t g, h;
    uint64_t n;
};
/* No candidate yet: gain = min_impurity_split - 1e-8, as FATE starts. */
struct split split_none(const struct gbdt_tree_params *p);
/* FATE's gain (terms cut down to 10 decimals) and weight. g and h already scaled back to reals. */
double split_gain(const struct gbdt_tree_params *p, double g, double h, double gl, double hl);
double leaf_weight(const struct gbdt_tree_params *p, double g, double h);
/* Takes the candidate when it is allowed (children's weight; children's rows when cand_n > 0: both >= min_leaf_node) and
 * its gain is above best->gain + 1e-8: of equal gains the first offered stays. cand_n 0: rows unknown, checked by the
 * party that sent the sum. */
void split_offer(const struct gbdt_tree_params *p, struct fixed_scale s, const struct split_total *node,
                 int32_t party, uint32_t feature, uint32_t bin, bool missing_left, int64_t left_g,
                 int64_t left_h, uint64_t left_n, struct split *best);
/* All cuts of one feature in FATE's order: by bin ascending; at each, missing to the right, then to the left.
 * bucket: n_splits sums, not cumulative, then the missing bucket when use_missing; count: rows per bucket or NULL. */
void split_scan(const struct gbdt_tree_params *p, struct fixed_scale s, const struct split_total *node,
                int32_t party, uint32_t feature, const struct gh *bucket, const uint32_t *count,
                uint32_t n_splits, bool use_missing, struct split *best);
/* Of a node's bests per party: own stays unless a peer's gain is above own + 1e-8; of peers, a later one only when above
 * the earlier + 1e-8. bests[0] = own. */
struct split split_choose(const struct gbdt_tree_params *p, const struct split *bests, size_t n);

/* ---- growth ---- */
/* One level of one tree. Rows are grouped by node: rows[begin .. begin + n_all), of which the first n train the tree
 * (ascending), and the rest (rows that GOSS left out) only travel along to their leaf. */
struct level_node {
    int32_t id, parent, sibling; /* -1 at the root */
    bool is_left;
    bool build; /* histograms: compute this one; the other of a pair is parent - this (root: build) */
    size_t begin, n, n_all;
    struct split_total total;
};
struct level {
    size_t round;
    unsigned tree;  /* class k of the round */
    unsigned depth; /* 0 = root */
    struct fixed_scale scale;
    size_t n_nodes;
    const struct level_node *nodes;
    const uint32_t
        *rows; /* the nodes' rows at their places; what lies between belongs to leaves of earlier levels */
    size_t n_rows; /* places in all */
};
/* The other parties. Calls come in this order: tree_begin, (level_begin, level_splits, level_route)*, tree_end; then,
 * when there is validation data, valid_leaves; round_end after the trees of a round. */
struct gbdt_peers {
    void *self;
    unsigned n; /* peers: 1..31; party numbers in splits are 1..n */
    /* gh: of all n_rows; only rows[0..n) count (all rows, or GOSS's choice, ascending). */
    status (*tree_begin)(struct ctx *cx, void *self, size_t round, unsigned tree, struct fixed_scale s,
                         const struct gh *gh, size_t n_rows, const uint32_t *rows, size_t n);
    /* Sends what the peers need to begin; own histograms are computed between this and level_splits. */
    status (*level_begin)(struct ctx *cx, void *self, const struct level *lv);
    /* best[(p - 1) * lv->n_nodes + i]: the best split of peer p for node i, made by split_offer or split_scan from
     * split_none; all are set to that before the call. */
    status (*level_splits)(struct ctx *cx, void *self, const struct level *lv, struct split *best);
    /* chosen[i]: node i's split, party -1 = becomes a leaf, 0 = own. Every peer learns here which of its handles won. Sets
     * go_left[j] (0 or 1) for the positions j of lv->rows in nodes with party > 0. */
    status (*level_route)(struct ctx *cx, void *self, const struct level *lv, const struct split *chosen,
                          uint8_t *go_left);
    status (*tree_end)(struct ctx *cx, void *self, size_t round, unsigned tree, const struct tree *t);
    /* Leaf id of each validation row in the tree just ended; NULL: there is no validation data. */
    status (*valid_leaves)(struct ctx *cx, void *self, const struct tree *t, int32_t *leaf, size_t n);
    status (*round_end)(struct ctx *cx, void *self, size_t round, bool stop); /* may be NULL */
};

struct gbdt_params {
    struct gbdt_tree_params tree;
    struct gbdt_objective objective;
    double learning_rate;
    size_t n_rounds;
    double subsample_feature_rate; /* of own features, per tree; at least one */
    bool n_iter_no_change;         /* stop when |loss - previous loss| < tol */
    double tol;
    bool
        run_goss; /* keep top_rate of the rows, by |g|, and as many as other_rate of all from the rest, scaled up */
    double top_rate, other_rate;
    int value_bits; /* of the integers, at most 31; 0 = GBDT_VALUE_BITS */
    uint64_t seed;
};
/* Rows that train a tree with run_goss, of n. */
size_t gbdt_goss_rows(const struct gbdt_params *p, size_t n);
/* What on_round sees after every round, before the decision to stop. */
struct gbdt_round {
    size_t round;
    double loss;
    const double *train_score; /* n x dim */
    const double *valid_score; /* n_valid x dim, or NULL */
    const struct ensemble *so_far;
    /* Set by on_round (early stopping on validation metrics: early_stop in metrics.h): */
    bool stop;         /* end after this round */
    size_t best_round; /* becomes ensemble.best_round; starts as this round */
};
struct gbdt_data {
    size_t n;
    const struct binned *x; /* own columns; NULL: none (the guest has labels only) */
    const double *y;
    const double *weight; /* n, above 0, multiplies g, h and loss; NULL = all 1 */
    const struct binned
        *valid; /* NULL: none; with peers, own columns of the validation rows (may have 0 features) */
    size_t n_valid;
    const double *warm_score; /* n x dim: scores of the trees to continue, or NULL */
    const double *warm_valid_score;
};
/* A tree and where the rows went in it. */
struct gbdt_grown {
    struct tree tree;          /* nodes in the result's memory */
    const int32_t *leaf;       /* n: node id of each training row */
    const int32_t *valid_leaf; /* n_valid */
};
struct gbdt_hooks { /* each may be NULL */
    void *self;
    status (*on_round)(struct ctx *cx, void *self, struct gbdt_round *r); /* metrics, progress */
    /* Each tree as soon as it is grown: a checkpoint. */
    status (*on_tree)(struct ctx *cx, void *self, size_t round, unsigned k, const struct gbdt_grown *t);
    /* Going on: the trees of the first n_grown rounds are taken from here instead of grown, and peers hear nothing of
     * them; scores, losses, on_round and stopping are as they were. leaf and valid_leaf live until the next call. */
    size_t n_grown;
    status (*grown)(struct ctx *cx, void *self, size_t round, unsigned k, struct gbdt_grown *out);
};
/* Trains; *out lives in cx->mem. ARG: bad parameter, label or weight, or scores grown beyond numbers; LIMIT: more than
 * 2^30 rows; PROTO: a peer's rows do not have the sums it offered; CANCELLED; whatever a callback returns. */
status gbdt_train(struct ctx *cx, const struct gbdt_params *p, const struct gbdt_data *d,
                  const struct gbdt_peers *peers, const struct gbdt_hooks *hooks,
                  const struct ensemble **out);
