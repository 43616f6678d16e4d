#include "fed/hetero_secureboost/host.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/pool.h"
#include "fed/hetero_secureboost/protocol.h"
#include "fed/hetero_secureboost/resume.h"
#include <string.h>

#define NODES_MAX 2147483646u

struct won { /* a cut of ours that the guest chose */
    int32_t node;
    uint32_t column, bin;
    bool missing_left;
};

struct host {
    struct link link;
    const struct sbt_params *params;
    struct task *task;
    const struct binned *train, *valid;
    const char *const *names;
    size_t me, n_columns, n_rows, n_valid, n_batch;
    uint64_t min_leaf;
    bool missing;
    uint16_t *left_out;  /* bucket of each column that is not returned */
    const uint8_t **col; /* buckets with that one numbered last, the others in order */
    struct he_host *he;
    struct groups rows, valid_rows;
    struct arena *keep; /* the trees */

    /* the tree */
    struct arena *tree_mem;
    bool in_tree; /* the guest has sent a batch since the last END */
    bool *on;
    uint32_t *column; /* columns of this tree, n_on */
    const uint8_t **on_col;
    uint16_t *on_buckets;
    size_t n_on, n_returned;
    uint32_t *order;     /* rows that train, then the others; NULL: all train */
    uint32_t *batch_row; /* row to row of the batch; NULL: the same */
    struct won *won;
    size_t n_won, cap_won;
    int32_t first_id, next_id;
    /* the level */
    struct arena *level_mem;
    bool level_open;                    /* LEVEL has come, ROUTE not yet */
    const uint8_t **left, **valid_left; /* per node: of the cuts of ours that won */

    struct tree *trees;
    size_t n_trees, cap_trees;
    struct resume resume;
};

static void host_close(struct host *h)
{
    he_host_free(h->he);
    h->he = NULL;
    resume_close(&h->resume);
}

static void arena_free_hook(void *a)
{
    arena_free(a);
}

static status own_arena(struct ctx *cx, struct arena **out)
{
    *out = arena_new(0);
    if (*out && arena_on_free(cx->mem, arena_free_hook, *out)) return OK;
    arena_free(*out);
    return FAIL(cx, NOMEM, "an arena");
}

/* ---- setup ---- */

static status send_features(struct ctx *cx, struct host *h)
{
    CLEANUP(buf_free) struct buf b = {0};
    const struct bins *bins = h->train->bins;
    buf_u8(&b, SBT_VERSION);
    buf_u64(&b, h->n_rows);
    buf_u64(&b, h->n_valid);
    buf_u8(&b, bins->use_missing);
    buf_f64(&b, h->params->train.subsample_feature_rate);
    buf_put(&b, h->resume.run, SBT_RUN);
    buf_u32(&b, (uint32_t)h->resume.n_trees);
    buf_u32(&b, (uint32_t)h->n_columns);
    for (size_t f = 0; f < h->n_columns; f++) {
        buf_u16(&b, (uint16_t)bins_splits(bins, f));
        buf_u16(&b, h->left_out[f]);
        buf_str(&b, h->names[f]);
    }
    return link_send(cx, &h->link, TAG_FEATURES, &b);
}

/* The scheme is what this party's own parameters say, or nothing: a guest cannot talk a host into another. */
static status check_scheme(struct ctx *cx, const struct host *h)
{
    const struct he_params *got = he_host_params(h->he);
    if (got->scheme != h->params->scheme ||
        (got->scheme == HE_PAILLIER && got->key_bits < h->params->key_bits))
        return FAIL(cx, AUTH,
                    "the guest encrypts with another scheme or a shorter key than encrypt_param says here");
    if (got->n_rows != h->n_batch || got->n_stats != 2)
        return FAIL(cx, PROTO, "batches of %zu rows and %d numbers, want %zu and 2", got->n_rows,
                    got->n_stats, h->n_batch);
    return OK;
}

static status old_trees(struct ctx *cx, struct host *h);

static status on_setup(struct ctx *cx, struct host *h, struct reader *r)
{
    uint8_t version;
    uint64_t n_rows, n_valid, n_batch;
    uint32_t n_trees;
    const uint8_t *run;
    struct bytes pub;
    if (h->he) return FAIL(cx, PROTO, "a second setup");
    TRY(reader_u8(cx, r, &version));
    if (version != SBT_VERSION) return FAIL(cx, PROTO, "protocol version %u, want %u", version, SBT_VERSION);
    TRY(reader_u64(cx, r, &n_rows));
    TRY(reader_u64(cx, r, &n_valid));
    TRY(reader_u64(cx, r, &n_batch));
    TRY(reader_u64(cx, r, &h->min_leaf));
    TRY(reader_bytes(cx, r, SBT_RUN, &run));
    TRY(reader_u32(cx, r, &n_trees));
    TRY(reader_blob(cx, r, reader_left(r), &pub));
    if (n_rows != h->n_rows || n_valid != h->n_valid || n_batch == 0 || n_batch > n_rows || h->min_leaf == 0)
        return FAIL(
            cx, PROTO,
            "the guest has %llu training and %llu validation rows (batches of %llu), here are %zu and %zu",
            (unsigned long long)n_rows, (unsigned long long)n_valid, (unsigned long long)n_batch, h->n_rows,
            h->n_valid);
    h->n_batch = (size_t)n_batch;
    TRY(he_host_open(cx, pub, &h->he));
    TRY(check_scheme(cx, h));
    TRY(resume_accept(cx, &h->resume, run, n_trees));
    return old_trees(cx, h);
}

/* ---- a tree begins ---- */

static status read_sample(struct ctx *cx, struct host *h, struct reader *r)
{
    const uint8_t *bits;
    TRY(reader_bytes(cx, r, bits_bytes(h->n_rows), &bits));
    h->order = arena_alloc_n(h->tree_mem, h->n_rows, sizeof *h->order, 64);
    h->batch_row = arena_alloc_n(h->tree_mem, h->n_rows, sizeof *h->batch_row, 64);
    if (!h->order || !h->batch_row) return FAIL(cx, NOMEM, "%zu rows", h->n_rows);
    size_t in = 0, out = h->n_batch;
    for (size_t i = 0; i < h->n_rows; i++) {
        size_t *at = bit_get(bits, i) ? &in : &out;
        if (at == &in ? in == h->n_batch : out == h->n_rows)
            return FAIL(cx, PROTO, "a sample of another size than %zu", h->n_batch);
        h->batch_row[i] = (uint32_t)in;
        h->order[(*at)++] = (uint32_t)i;
    }
    return OK;
}

static status take_columns(struct ctx *cx, struct host *h)
{
    const struct bins *bins = h->train->bins;
    h->column = arena_alloc_n(h->tree_mem, h->n_columns, sizeof *h->column, 64);
    h->on_col = arena_alloc_n(h->tree_mem, h->n_columns, sizeof *h->on_col, 64);
    h->on_buckets = arena_alloc_n(h->tree_mem, h->n_columns, sizeof *h->on_buckets, 64);
    if (!h->column || !h->on_col || !h->on_buckets) return FAIL(cx, NOMEM, "%zu columns", h->n_columns);
    h->n_on = h->n_returned = 0;
    for (size_t f = 0; f < h->n_columns; f++) {
        uint32_t n = sbt_returned(bins_splits(bins, f), h->missing);
        if (!h->on[f] || n == 0) continue;
        const uint8_t *col = h->col[f];
        if (h->order) { /* the batch holds the sample only */
            uint8_t *some = arena_alloc_n(h->tree_mem, h->n_batch, 1, 64);
            if (!some) return FAIL(cx, NOMEM, "%zu rows", h->n_batch);
            for (size_t i = 0; i < h->n_batch; i++)
                some[i] = col[h->order[i]];
            col = some;
        }
        h->column[h->n_on] = (uint32_t)f, h->on_col[h->n_on] = col, h->on_buckets[h->n_on++] = (uint16_t)n;
        h->n_returned += n;
    }
    return OK;
}

static status on_tree(struct ctx *cx, struct host *h, struct reader *r)
{
    uint32_t round, tree;
    uint8_t sampled;
    if (!h->he || h->in_tree) return FAIL(cx, PROTO, "a tree out of turn");
    arena_reset(h->tree_mem);
    h->order = h->batch_row = NULL;
    h->won = NULL, h->n_won = h->cap_won = 0;
    h->first_id = 0, h->next_id = 1;
    h->level_open = false;
    TRY(reader_u32(cx, r, &round));
    TRY(reader_u32(cx, r, &tree));
    h->on = arena_alloc_n(h->tree_mem, h->n_columns, sizeof *h->on, 1);
    if (!h->on) return FAIL(cx, NOMEM, "%zu columns", h->n_columns);
    TRY(bits_take(cx, r, h->n_columns, (uint8_t *)h->on));
    TRY(reader_u8(cx, r, &sampled));
    if (sampled > 1 || (sampled == 0 && h->n_batch != h->n_rows))
        return FAIL(cx, PROTO, "a tree without its sample");
    if (sampled) TRY(read_sample(cx, h, r));
    TRY(take_columns(cx, h));
    TRY(groups_start(cx, &h->rows, h->order, h->n_batch));
    TRY(groups_start(cx, &h->valid_rows, NULL, 0));
    size_t left = reader_left(r);
    const uint8_t *batch;
    TRY(reader_bytes(cx, r, left, &batch));
    TRY(he_host_load(cx, h->he, (struct bytes){batch, left}));
    h->in_tree = true;
    return OK;
}

/* ---- a level ---- */

struct mask_job {
    const struct host *h;
    const size_t *at; /* a column's first cut */
    uint8_t *flag;
    const struct span *v;
};

static status mask_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct mask_job *j = arg;
    const struct host *h = j->h;
    for (size_t k = begin; k < end; k++) {
        uint32_t f = h->column[k], n = bins_splits(h->train->bins, f), left = 0;
        uint32_t count[256] = {0};
        for (size_t i = 0; i < j->v->n; i++)
            count[h->train->col[f][h->rows.rows[j->v->begin + i]]]++;
        uint8_t *flag = j->flag + j->at[k];
        for (uint32_t b = 0; b + 1 < n; b++) {
            left += count[b];
            *flag++ = left >= h->min_leaf && j->v->n - left >= h->min_leaf;
            if (!h->missing) continue;
            uint32_t with = left + count[n];
            *flag++ = with >= h->min_leaf && j->v->n - with >= h->min_leaf;
        }
    }
    return OK;
}

/* Which cuts leave enough rows on both sides, for every node that may be split. */
static status send_masks(struct ctx *cx, struct host *h, const uint8_t *candidate)
{
    CLEANUP(buf_free) struct buf b = {0};
    size_t *at = NEW(cx, size_t, h->n_on + 1);
    if (!at) return FAIL(cx, NOMEM, "%zu columns", h->n_on);
    for (size_t k = 0; k < h->n_on; k++)
        at[k + 1] = at[k] + sbt_cuts(bins_splits(h->train->bins, h->column[k]), h->missing);
    uint8_t *flag = NEW(cx, uint8_t, at[h->n_on] + 1);
    if (!flag) return FAIL(cx, NOMEM, "%zu cuts", at[h->n_on]);
    for (size_t i = 0; i < h->rows.n_nodes; i++) {
        if (!candidate[i]) continue;
        TRY(pool_for(cx, h->n_on, 1, mask_chunk, &(struct mask_job){h, at, flag, &h->rows.span[i]}));
        bits_put(&b, flag, at[h->n_on]);
    }
    return link_send(cx, &h->link, TAG_MASK, &b);
}

static status send_sums(struct ctx *cx, struct host *h, size_t node)
{
    struct arena_mark mark = arena_mark(cx->mem);
    CLEANUP(buf_free) struct buf b = {0};
    const struct span *v = &h->rows.span[node];
    const uint32_t *rows = h->rows.rows + v->begin;
    if (h->batch_row && v->n) {
        uint32_t *mapped = NEW(cx, uint32_t, v->n);
        if (!mapped) return FAIL(cx, NOMEM, "%zu rows", v->n);
        for (size_t i = 0; i < v->n; i++)
            mapped[i] = h->batch_row[rows[i]];
        rows = mapped;
    }
    bool all = v->n == h->n_batch;
    TRY(he_host_sum(cx, h->he, h->on_col, h->on_buckets, h->n_on, all ? NULL : rows, v->n, &b));
    TRY(link_send(cx, &h->link, TAG_SUMS, &b));
    arena_rewind(cx->mem, mark);
    return OK;
}

static status on_level(struct ctx *cx, struct host *h, struct reader *r)
{
    uint32_t n;
    if (!h->in_tree || h->level_open || h->n_on == 0) return FAIL(cx, PROTO, "a level out of turn");
    TRY(reader_u32(cx, r, &n));
    if (n != h->rows.n_nodes) return FAIL(cx, PROTO, "a level of %u nodes, here are %zu", n, h->rows.n_nodes);
    uint8_t *sum = NEW(cx, uint8_t, (size_t)n + 1), *candidate = NEW(cx, uint8_t, (size_t)n + 1);
    arena_reset(h->level_mem);
    h->left = arena_alloc_n(h->level_mem, (size_t)n + 1, sizeof *h->left, 8);
    h->valid_left = arena_alloc_n(h->level_mem, (size_t)n + 1, sizeof *h->valid_left, 8);
    if (!sum || !candidate || !h->left || !h->valid_left) return FAIL(cx, NOMEM, "a level of %u nodes", n);
    TRY(bits_take(cx, r, n, sum));
    TRY(bits_take(cx, r, n, candidate));
    h->level_open = true;
    if (h->min_leaf > 1) TRY(send_masks(cx, h, candidate));
    for (uint32_t i = 0; i < n; i++)
        if (sum[i]) TRY(send_sums(cx, h, i));
    return OK;
}

/* Flags of a group's rows: left of the cut or not. */
static status cut_rows(struct ctx *cx, struct host *h, const struct binned *x, const struct groups *g,
                       size_t node, const struct won *w, const uint8_t **out)
{
    const struct span *v = &g->span[node];
    uint8_t *left = arena_alloc_n(h->level_mem, v->n_all + 1, 1, 64);
    if (!left) return FAIL(cx, NOMEM, "%zu rows", v->n_all);
    uint32_t lost = h->missing ? bins_splits(h->train->bins, w->column) : UINT32_MAX;
    for (size_t i = 0; i < v->n_all; i++) {
        uint32_t b = x->col[w->column][g->rows[v->begin + i]];
        left[i] = b == lost ? w->missing_left : b <= w->bin;
    }
    *out = left;
    return OK;
}

static status remember(struct ctx *cx, struct host *h, struct won w)
{
    if (h->n_won == h->cap_won) {
        size_t cap = h->cap_won ? 2 * h->cap_won : 16;
        struct won *bigger = arena_alloc_n(h->tree_mem, cap, sizeof *bigger, 8);
        if (!bigger) return FAIL(cx, NOMEM, "%zu nodes", cap);
        if (h->n_won) memcpy(bigger, h->won, h->n_won * sizeof *bigger);
        h->won = bigger, h->cap_won = cap;
    }
    h->won[h->n_won++] = w;
    return OK;
}

static status on_chosen(struct ctx *cx, struct host *h, struct reader *r)
{
    CLEANUP(buf_free) struct buf b = {0};
    uint32_t n, node, column;
    uint16_t bin;
    uint8_t missing_left;
    if (!h->in_tree || !h->level_open) return FAIL(cx, PROTO, "a choice out of turn");
    TRY(reader_u32(cx, r, &n));
    for (uint32_t i = 0; i < n; i++) {
        TRY(reader_u32(cx, r, &node));
        TRY(reader_u32(cx, r, &column));
        TRY(reader_u16(cx, r, &bin));
        TRY(reader_u8(cx, r, &missing_left));
        if (node >= h->rows.n_nodes || h->left[node] || column >= h->n_columns || !h->on[column] ||
            bin + 1u >= bins_splits(h->train->bins, column) || missing_left > h->missing)
            return FAIL(cx, PROTO, "column %u, bin %u at node %u of the level is no cut of this host's",
                        column, bin, node);
        struct won w = {h->first_id + (int32_t)node, column, bin, missing_left != 0};
        TRY(remember(cx, h, w));
        TRY(cut_rows(cx, h, h->train, &h->rows, node, &w, &h->left[node]));
        bits_put(&b, h->left[node], h->rows.span[node].n_all);
        h->valid_left[node] = (const uint8_t *)"";
        if (h->valid) TRY(cut_rows(cx, h, h->valid, &h->valid_rows, node, &w, &h->valid_left[node]));
        bits_put(&b, h->valid_left[node], h->valid_rows.span[node].n_all);
    }
    return link_send(cx, &h->link, TAG_LEFT, &b);
}

static status on_route(struct ctx *cx, struct host *h, struct reader *r)
{
    uint32_t n;
    const uint8_t *kind;
    if (!h->in_tree || !h->level_open) return FAIL(cx, PROTO, "a route out of turn");
    TRY(reader_u32(cx, r, &n));
    if (n != h->rows.n_nodes) return FAIL(cx, PROTO, "a level of %u nodes, here are %zu", n, h->rows.n_nodes);
    TRY(reader_bytes(cx, r, n, &kind));
    for (uint32_t i = 0; i < n; i++) {
        if (kind[i] > SBT_BITS || (kind[i] == SBT_YOURS) != (h->left[i] != NULL))
            return FAIL(cx, PROTO, "node %u of the level: route %u", i, kind[i]);
        if (kind[i] != SBT_BITS) continue;
        size_t rows = h->rows.span[i].n_all, valid = h->valid_rows.span[i].n_all;
        if (bits_bytes(rows) > reader_left(r)) return FAIL(cx, PROTO, "a route that is too short");
        uint8_t *left = arena_alloc_n(h->level_mem, rows + 1, 1, 64),
                *vl = arena_alloc_n(h->level_mem, valid + 1, 1, 64);
        if (!left || !vl) return FAIL(cx, NOMEM, "%zu rows", rows);
        TRY(bits_take(cx, r, rows, left));
        TRY(bits_take(cx, r, valid, vl));
        h->left[i] = left, h->valid_left[i] = vl;
    }
    TRY(groups_part(cx, &h->rows, h->left));
    TRY(groups_part(cx, &h->valid_rows, h->valid_left));
    h->first_id = h->next_id;
    h->next_id += (int32_t)h->rows.n_nodes;
    h->level_open = false;
    return OK;
}

/* ---- a tree ends ---- */

static const struct won *find_won(const struct host *h, int32_t node)
{
    for (size_t i = 0; i < h->n_won; i++)
        if (h->won[i].node == node) return &h->won[i];
    return NULL;
}

/* Nodes are numbered level by level, so the k-th inner node has children 2k + 1 and 2k + 2. */
static status build_tree(struct ctx *cx, struct host *h, const uint8_t *owner, size_t n, struct tree *out)
{
    struct tree_node *node = arena_alloc_n(h->keep, n, sizeof *node, 64);
    if (!node) return FAIL(cx, NOMEM, "%zu nodes", n);
    size_t inner = 0, own = 0;
    for (size_t i = 0; i < n; i++) {
        node[i] =
            (struct tree_node){.id = (int32_t)i, .parent = -1, .left = -1, .right = -1, .is_leaf = true};
        if (owner[i] == SBT_OWNER_LEAF) continue;
        if (owner[i] > task_n(h->task, ROLE_HOST) || 2 * inner + 2 >= n)
            return FAIL(cx, PROTO, "node %zu of %u", i, owner[i]);
        node[i].is_leaf = false, node[i].party = owner[i];
        node[i].left = (int32_t)(2 * inner + 1), node[i].right = (int32_t)(2 * inner + 2);
        inner++;
        if (owner[i] != h->me) continue;
        const struct won *w = find_won(h, (int32_t)i);
        if (!w) return FAIL(cx, PROTO, "node %zu is said to be this host's, but was not chosen", i);
        const struct bins *b = h->train->bins;
        node[i].feature = w->column, node[i].bin = w->bin, node[i].missing_left = w->missing_left;
        node[i].split = b->split[b->split_at[w->column] + w->bin];
        own++;
    }
    if (n != 2 * inner + 1 || own != h->n_won)
        return FAIL(cx, PROTO, "a tree of %zu nodes, %zu inner, %zu of them this host's of %zu chosen", n,
                    inner, own, h->n_won);
    *out = (struct tree){n, node};
    return OK;
}

static status room_for_tree(struct ctx *cx, struct host *h)
{
    if (h->n_trees < h->cap_trees) return OK;
    size_t cap = h->cap_trees ? 2 * h->cap_trees : 64;
    struct tree *bigger = arena_alloc_n(h->keep, cap, sizeof *bigger, 8);
    if (!bigger) return FAIL(cx, NOMEM, "%zu trees", cap);
    if (h->n_trees) memcpy(bigger, h->trees, h->n_trees * sizeof *bigger);
    h->trees = bigger, h->cap_trees = cap;
    return OK;
}

/* Trees of an interrupted attempt. */
static status old_trees(struct ctx *cx, struct host *h)
{
    struct ctx keep = *cx;
    keep.mem = h->keep;
    for (size_t i = 0; i < h->resume.n_trees; i++) {
        struct gbdt_grown g;
        TRY(room_for_tree(cx, h));
        if (resume_tree(&keep, &h->resume, i, &g).code) {
            cx->err = keep.err;
            return (status){cx->err.code};
        }
        for (size_t k = 0; k < g.tree.n_nodes; k++) {
            const struct tree_node *v = &g.tree.nodes[k];
            if (!v->is_leaf && (size_t)v->party == h->me &&
                (v->feature >= h->n_columns || v->bin + 1u >= bins_splits(h->train->bins, v->feature)))
                return FAIL(cx, FORMAT, "checkpoint: tree %zu: node %zu cuts column %u", i, k, v->feature);
        }
        h->trees[h->n_trees++] = g.tree;
    }
    return OK;
}

static status on_end(struct ctx *cx, struct host *h, struct reader *r)
{
    uint32_t round, tree, n;
    const uint8_t *owner;
    if (!h->he) return FAIL(cx, PROTO, "an end out of turn");
    if (!h->in_tree) h->n_won = 0;
    TRY(reader_u32(cx, r, &round));
    TRY(reader_u32(cx, r, &tree));
    TRY(reader_u32(cx, r, &n));
    if (n == 0 || n > NODES_MAX) return FAIL(cx, PROTO, "a tree of %u nodes", n);
    TRY(reader_bytes(cx, r, n, &owner));
    TRY(room_for_tree(cx, h));
    TRY(build_tree(cx, h, owner, n, &h->trees[h->n_trees]));
    TRY(resume_add(cx, &h->resume, &h->trees[h->n_trees], NULL, NULL));
    h->n_trees++;
    h->in_tree = false;
    h->n_won = 0;
    uint64_t all = h->params->train.n_rounds;
    task_progress(h->task, "rounds", (uint64_t)round + 1 < all ? (uint64_t)round + 1 : all, all);
    return OK;
}

struct stop {
    uint32_t n_trees, dim, best;
    uint8_t converged;
};

static status on_stop(struct ctx *cx, struct host *h, struct reader *r, struct stop *s)
{
    TRY(reader_u32(cx, r, &s->n_trees));
    TRY(reader_u32(cx, r, &s->dim));
    TRY(reader_u32(cx, r, &s->best));
    TRY(reader_u8(cx, r, &s->converged));
    if (h->in_tree || s->n_trees > h->n_trees || s->dim == 0 || s->n_trees % s->dim || s->converged > 1)
        return FAIL(cx, PROTO, "stop with %u trees, %u a round, here are %zu", s->n_trees, s->dim,
                    h->n_trees);
    return OK;
}

/* ---- the orders, one after the other ---- */

static status obey(struct ctx *cx, struct host *h, struct stop *s, bool *done)
{
    static status (*const handler[])(struct ctx *, struct host *, struct reader *) = {
        [SBT_SETUP] = on_setup,   [SBT_TREE] = on_tree,   [SBT_LEVEL] = on_level,
        [SBT_CHOSEN] = on_chosen, [SBT_ROUTE] = on_route, [SBT_END] = on_end,
    };
    struct bytes m;
    uint8_t kind;
    TRY(ctx_check(cx));
    TRY(link_recv(cx, &h->link, TAG_ORDER, &m));
    struct reader r = reader_of(m.p, m.n);
    TRY(reader_u8(cx, &r, &kind));
    *done = kind == SBT_STOP;
    if (*done)
        TRY(on_stop(cx, h, &r, s));
    else if (kind < LEN(handler) && handler[kind])
        TRY(handler[kind](cx, h, &r));
    else
        return FAIL(cx, PROTO, "order %u is unknown", kind);
    return reader_end(cx, &r);
}

/* The fullest bucket if it holds more than twice its share, else the last. */
static uint16_t fullest(const uint8_t *col, size_t n_rows, uint32_t n_buckets)
{
    size_t count[256] = {0};
    uint32_t best = n_buckets - 1;
    for (size_t i = 0; i < n_rows; i++)
        count[col[i]]++;
    for (uint32_t b = n_buckets; b-- > 0;)
        if (count[b] > count[best]) best = b;
    return (uint16_t)(count[best] > 2 * n_rows / n_buckets ? best : n_buckets - 1);
}

static status order_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct host *h = arg;
    for (size_t f = begin; f < end; f++) {
        const uint8_t *from = h->train->col[f];
        uint8_t *to = (uint8_t *)h->col[f], map[256];
        uint32_t n = sbt_buckets(bins_splits(h->train->bins, f), h->missing),
                 out = h->left_out[f] = fullest(from, h->n_rows, n);
        for (uint32_t b = 0; b < n; b++)
            map[b] = (uint8_t)(b < out ? b : b == out ? n - 1 : b - 1);
        for (size_t i = 0; i < h->n_rows; i++)
            to[i] = map[from[i]];
    }
    return OK;
}

/* The bucket that is not returned becomes the last one. */
static status order_buckets(struct ctx *cx, struct host *h)
{
    h->col = NEW(cx, const uint8_t *, h->n_columns + 1);
    h->left_out = NEW(cx, uint16_t, h->n_columns + 1);
    if (!h->col || !h->left_out) return FAIL(cx, NOMEM, "%zu columns", h->n_columns);
    for (size_t f = 0; f < h->n_columns; f++) {
        h->col[f] = arena_alloc_n(cx->mem, h->n_rows, 1, 64);
        if (!h->col[f]) return FAIL(cx, NOMEM, "%zu columns of %zu rows", h->n_columns, h->n_rows);
    }
    return pool_for(cx, h->n_columns, 1, order_chunk, h);
}

status sbt_host_train(struct ctx *cx, struct task *t, const struct sbt_params *p, const struct binned *train,
                      const struct binned *valid, const char *const *names, struct sbt_model *m,
                      bool *converged, uint64_t *sent, uint64_t *received)
{
    CLEANUP(host_close)
    struct host h = {.link = {.ch = t->channel, .who = task_party(t, ROLE_GUEST, 0)},
                     .params = p,
                     .task = t,
                     .train = train,
                     .valid = valid,
                     .names = names,
                     .me = m->me,
                     .n_columns = train->bins->n_features,
                     .n_rows = train->n_rows,
                     .n_valid = valid ? valid->n_rows : 0,
                     .missing = train->bins->use_missing};
    TRY(own_arena(cx, &h.keep));
    TRY(own_arena(cx, &h.tree_mem));
    TRY(own_arena(cx, &h.level_mem));
    TRY(resume_open(cx, t, train, h.n_valid, NULL, NULL, false, &h.resume));
    TRY(order_buckets(cx, &h));
    TRY(send_features(cx, &h)); /* also when there are none: the guest shall fail with the same reason */
    if (h.n_columns == 0) return FAIL(cx, ARG, "the host has no feature columns");
    TRY(groups_new(cx, h.n_rows, &h.rows));
    TRY(groups_new(cx, h.n_valid, &h.valid_rows));
    struct stop stop = {0};
    for (bool done = false; !done;) {
        bool setup = h.he != NULL;
        struct arena_mark mark = arena_mark(cx->mem);
        TRY_PEER(cx, obey(cx, &h, &stop, &done), "order of the guest");
        if (setup) arena_rewind(cx->mem, mark); /* the scheme may keep memory of its setup there */
    }
    m->trees = h.trees, m->n_trees = stop.n_trees;
    m->dim = stop.dim, m->best_iteration = (int)stop.best;
    *converged = stop.converged != 0;
    *sent = h.link.sent, *received = h.link.received;
    return OK;
}
