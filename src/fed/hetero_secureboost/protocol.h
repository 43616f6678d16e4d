/* protocol.h - what guest and hosts of HeteroSecureBoost say to each other. Bytes: docs/formats/secureboost.md; what it
 * means for privacy: docs/security/secureboost.md.
 *
 * Source: Cheng et al., SecureBoost, IEEE Intelligent Systems 2021 (arXiv 1901.08755); semi-honest parties.
 *
 *     host                                guest
 *      | -- sbt.features: bins per column,   |   once
 *      |    trees held of which run -------> |
 *      | <- sbt.order SETUP: public key, -----|
 *      |    tree to go on from               |   (resume.h)
 *      | <- sbt.order TREE: E(g), E(h) ----- |   per tree
 *      | <- sbt.order LEVEL: nodes to sum -- |   per level; only the smaller child of two is summed, the other follows
 *      | -- sbt.mask: cuts with enough rows> |     by subtraction of the decrypted integers; mask only if min_leaf_node > 1
 *      | -- sbt.sums, one message a node --> |     streamed, so that summing, sending and decrypting overlap
 *      | <- sbt.order CHOSEN: own cuts won - |     only to hosts that have won a node
 *      | -- sbt.left: rows of left children  |
 *      | <- sbt.order ROUTE: left rows of    |     of the nodes of all other parties; not after the last level
 *      |    the others' cuts                 |
 *      | <- sbt.order END: shape of the tree |
 *      | <- sbt.order STOP: trees to keep    |   once
 *
 * Prediction on other rows (both ends hold them in the same order): the guest sends sbt.walk, then in each round
 * sbt.ask: the rows that wait at each of the host's nodes; the host answers sbt.answer, one bit a row; an empty ask ends.
 *
 * What each learns beside its own input and output.
 *  Guest: per host, the number of columns and of bins of each, their anonymous names, a bin that holds far more rows than
 *   others; for every node that is split
 *   further, the sums of g and h of each (host column, bin); of its own choice, which side a row falls on at each host node
 *   it asks for. With min_leaf_node > 1: which cuts leave enough rows on both sides. Not the values, edges or real names.
 *  Guest, of an interrupted training: how many trees each host still holds.
 *  Host: number of rows, scheme, public key; the rows of every node that was split before the last level, of training and
 *   validation rows; which of its (column, bin) cuts were best; the shape of each tree and who owns each node. Not labels,
 *   gradients, leaf weights, scores, nor other parties' columns. With GOSS: which rows were kept.
 *  In prediction: the host learns which rows reach its nodes.
 * Rows that share a leaf at a host are alike to the guest's labels: that is SecureBoost's known leak, as in FATE;
 * complete_secure keeps the first trees, which tell most, to the guest's own columns. */
#pragma once
#include "fed/component.h"
#include "learn/gbdt.h"

#define SBT_VERSION      2
#define SBT_FEATURES_MAX 1000000u
#define SBT_NAME_MAX     512u

#define TAG_FEATURES "sbt.features"
#define TAG_ORDER    "sbt.order"
#define TAG_MASK     "sbt.mask"
#define TAG_SUMS     "sbt.sums"
#define TAG_LEFT     "sbt.left"
#define TAG_WALK     "sbt.walk"
#define TAG_ASK      "sbt.ask"
#define TAG_ANSWER   "sbt.answer"

enum sbt_order { SBT_SETUP = 1, SBT_TREE, SBT_LEVEL, SBT_CHOSEN, SBT_ROUTE, SBT_END, SBT_STOP };
enum sbt_route { SBT_LEAF, SBT_YOURS, SBT_BITS };
#define SBT_OWNER_LEAF 255u

/* One other party: counts the payload bytes of both directions. */
struct link {
    struct channel *ch;
    struct party who;
    uint64_t sent, received;
};
status link_send(struct ctx *cx, struct link *l, const char *tag, const struct buf *b);
status link_recv(struct ctx *cx, struct link *l, const char *tag, struct bytes *out);

/* As TRY_IN, for bytes of another party: what does not parse is a violation of the protocol. */
#define TRY_PEER(cx, expr, ...)                                                                              \
    do {                                                                                                     \
        status st_ = (expr);                                                                                 \
        if (st_.code) {                                                                                      \
            err_prefix((cx), __VA_ARGS__);                                                                   \
            if (st_.code == ERR_FORMAT) st_.code = (cx)->err.code = ERR_PROTO;                               \
            return st_;                                                                                      \
        }                                                                                                    \
    } while (0)

/* Bit i is bit i % 8 of byte i / 8. */
static inline size_t bits_bytes(size_t n)
{
    return n / 8 + (n % 8 != 0);
}
static inline bool bit_get(const uint8_t *p, size_t i)
{
    return p[i >> 3] >> (i & 7) & 1;
}
static inline void bit_set(uint8_t *p, size_t i)
{
    p[i >> 3] = (uint8_t)(p[i >> 3] | 1u << (i & 7));
}
/* n flags (0 or 1) as bits, appended. */
void bits_put(struct buf *b, const uint8_t *flag, size_t n);
/* The next n bits of r as flags. FORMAT when short, or when the unused bits of the last byte are not 0. */
status bits_take(struct ctx *cx, struct reader *r, size_t n, uint8_t *flag);

/* Buckets of a column of n_splits edges, and those that a host returns: all but one, which follows from the total that
 * the guest knows; none for a column that cannot be cut. Which one is left out the host says once: a bucket that holds
 * more than twice its share of the rows (zeros, missing cells), so that most rows of a sparse column cost nothing;
 * otherwise the last. */
static inline uint32_t sbt_buckets(uint32_t n_splits, bool use_missing)
{
    return n_splits + use_missing;
}
static inline uint32_t sbt_returned(uint32_t n_splits, bool use_missing)
{
    return n_splits < 2 ? 0 : n_splits - 1 + use_missing;
}
/* Cuts of a column: at each edge but the last, with missing cells to the right and, if there are any, to the left. */
static inline uint32_t sbt_cuts(uint32_t n_splits, bool use_missing)
{
    return n_splits < 2 ? 0 : (n_splits - 1) * (1 + (uint32_t)use_missing);
}

/* The rows of the nodes of a level, grouped by node, all parties in the same order: ascending rows that train the tree,
 * then ascending rows that only travel along (left out by GOSS). Parted stably as nodes are split. */
struct span {
    size_t begin, n, n_all; /* rows[begin .. begin + n_all), of which n train */
};
struct groups {
    uint32_t *rows, *next; /* n each */
    struct span *span;     /* nodes of the level */
    size_t n_nodes, n;
    struct arena *mem; /* of the spans: rewound per tree by groups_start */
};
status groups_new(struct ctx *cx, size_t n, struct groups *out); /* mem is freed with cx->mem */
/* One node with all rows; order: rows that train, then the others (NULL: all train). */
status groups_start(struct ctx *cx, struct groups *g, const uint32_t *order, size_t n_train);
/* left[i]: NULL = node i becomes a leaf, else a flag per row of it. The next level holds the children in order. */
status groups_part(struct ctx *cx, struct groups *g, const uint8_t *const *left);
