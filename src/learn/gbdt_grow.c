/* gbdt_grow.c - one tree, level by level: histograms, splits, rows to children. */
#include "base/arena.h"
#include "base/pool.h"
#include "learn/gbdt_int.h"
#include <assert.h>
#include <string.h>

#define BLOCK_ROWS 4096 /* routed, summed and moved at a time; fixes the order of the double sums */
#define BLOCKS     4    /* a chunk of the pool */
#define TIE        1e-8

/* A chunk of the pool is worth the waking of a thread, some 20 us. */
#define SCAN_BUCKETS 8192

struct hist {
    struct gh *sum; /* bins_total */
    uint32_t *count;
    struct hist *next; /* on the free list */
};

static void *take_n(struct arena *a, size_t n, size_t size)
{
    return arena_alloc_n(a, n ? n : 1, size, 64);
}
#define TAKE_N(a, T, n) ((T *)take_n((a), (n), sizeof(T)))

status grower_init(struct ctx *cx, const struct gbdt_tree_params *p, const struct binned *x,
                   const struct gbdt_peers *peers, size_t n, struct arena *keep, struct arena *tmp,
                   struct grower *out)
{
    *out = (struct grower){.p = p, .x = x, .peers = peers, .n = n, .keep = keep, .tmp = tmp};
    out->rows = TAKE_N(keep, uint32_t, n);
    out->spare = TAKE_N(keep, uint32_t, n);
    out->go_left = TAKE_N(keep, uint8_t, n);
    if (!out->rows || !out->spare || !out->go_left) return FAIL(cx, NOMEM, "%zu rows", n);
    return OK;
}

/* ---- histograms of a level ---- */

static struct hist *hist_get(struct grower *w)
{
    struct hist *x = w->free_hist;
    if (x) {
        w->free_hist = x->next;
        return x;
    }
    size_t total = bins_total(w->x->bins);
    x = TAKE_N(w->keep, struct hist, 1);
    if (!x) return NULL;
    x->sum = TAKE_N(w->keep, struct gh, total);
    x->count = TAKE_N(w->keep, uint32_t, total);
    return x->sum && x->count ? x : NULL;
}

static void hist_put(struct grower *w, struct hist *x)
{
    if (!x) return;
    x->next = w->free_hist;
    w->free_hist = x;
}

static void subtract(const struct panels *x, struct hist *parent, const struct hist *built)
{
    for (size_t k = 0; k < x->n_on; k++) {
        size_t at = x->bins->bucket_at[x->feature[k]], n = bins_buckets(x->bins, x->feature[k]);
        hist_subtract(parent->sum + at, parent->count + at, built->sum + at, built->count + at, n);
    }
}

static bool can_split(const struct grower *w, const struct level_node *v)
{
    return v->n >= 2 && v->n >= w->p->min_sample_split;
}

/* Builds the smaller child of each pair and takes it from the parent for the other; no histogram for pairs of which none
 * can be split. */
static status level_hists(struct ctx *cx, struct grower *w)
{
    size_t n = w->n_cur, n_tasks = 0, step = n > 1 ? 2 : 1;
    struct hist_task *task = TAKE_N(w->tmp, struct hist_task, n);
    struct hist **parent = TAKE_N(w->tmp, struct hist *, n);
    if (!task || !parent) return FAIL(cx, NOMEM, "a level of %zu nodes", n);
    for (size_t i = 0; i < n; i += step) {
        bool wanted = can_split(w, &w->cur[i]) || (step == 2 && can_split(w, &w->cur[i + 1]));
        size_t k = step == 1 || w->cur[i].build ? i : i + 1;
        parent[i] = w->cur_hist[i];
        w->cur_hist[i] = NULL;
        if (!wanted) {
            hist_put(w, parent[i]);
            continue;
        }
        struct hist *x = hist_get(w);
        if (!x) return FAIL(cx, NOMEM, "histograms of %zu buckets", bins_total(w->x->bins));
        w->cur_hist[k] = x;
        task[n_tasks++] = (struct hist_task){w->rows + w->cur[k].begin, w->cur[k].n, x->sum, x->count};
    }
    TRY(hist_build(cx, w->in->panels, w->in->gh, task, n_tasks));
    for (size_t i = 0; step == 2 && i < n; i += 2) {
        size_t built = w->cur[i].build ? i : i + 1;
        if (!w->cur_hist[built]) continue;
        subtract(w->in->panels, parent[i], w->cur_hist[built]);
        w->cur_hist[built ^ 1] = parent[i];
    }
    return OK;
}

struct scan_job {
    struct grower *w;
    struct split *best;
};

static status scan_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct scan_job *j = arg;
    const struct grower *w = j->w;
    const struct bins *b = w->x->bins;
    const struct panels *on = w->in->panels;
    TRY(ctx_check(cx));
    for (size_t i = begin; i < end; i++) {
        const struct hist *x = w->cur_hist[i];
        for (size_t k = 0; x && k < on->n_on; k++) {
            uint32_t f = on->feature[k];
            split_scan(w->p, w->in->scale, &w->cur[i].total, 0, f, x->sum + b->bucket_at[f],
                       x->count + b->bucket_at[f], bins_splits(b, f), b->use_missing, &j->best[i]);
        }
    }
    return OK;
}

static status find_splits(struct ctx *cx, struct grower *w, const struct level *lv, struct split *chosen)
{
    size_t n = w->n_cur, n_peers = w->peers ? w->peers->n : 0;
    struct split *own = TAKE_N(w->tmp, struct split, n), *theirs = TAKE_N(w->tmp, struct split, n * n_peers);
    struct split *row = TAKE_N(w->tmp, struct split, n_peers + 1);
    if (!own || !theirs || !row) return FAIL(cx, NOMEM, "candidates of %zu nodes", n);
    for (size_t i = 0; i < n; i++)
        own[i] = split_none(w->p);
    for (size_t i = 0; i < n * n_peers; i++)
        theirs[i] = split_none(w->p);
    if (n_peers) TRY(w->peers->level_begin(cx, w->peers->self, lv));
    if (w->in->panels) {
        TRY(level_hists(cx, w));
        TRY(pool_for(cx, n, SCAN_BUCKETS / bins_total(w->x->bins) + 1, scan_chunk,
                     &(struct scan_job){w, own}));
    }
    if (n_peers) TRY(w->peers->level_splits(cx, w->peers->self, lv, theirs));
    for (size_t i = 0; i < n; i++) {
        row[0] = own[i];
        for (size_t p = 0; p < n_peers; p++) {
            row[p + 1] = theirs[p * n + i];
            if (row[p + 1].party != -1 && row[p + 1].party != (int32_t)p + 1)
                return FAIL(cx, INTERNAL, "a split of party %d in the place of party %zu", row[p + 1].party,
                            p + 1);
        }
        chosen[i] = split_choose(w->p, row, n_peers + 1);
        if (!(chosen[i].gain > w->p->min_impurity_split + TIE)) chosen[i] = split_none(w->p);
    }
    return OK;
}

/* ---- rows to children ---- */

/* A node that is split. */
struct parting {
    const struct level_node *v;
    const struct split *s;
    size_t n[2], n_all[2]; /* left, right */
    struct split_total total[2];
    double g[2], h[2];
};

typedef double real2 __attribute__((vector_size(16)));
typedef int64_t int2 __attribute__((vector_size(16)));

/* Rows [begin, end) of w->rows; all of one node, and all or none of them train. */
struct block {
    struct parting *part;
    bool trains;
    size_t begin, end, n_left;
    uint32_t *to[2];    /* in spare: left, right */
    struct gh whole[2]; /* integer sums; only of a peer's split */
    real2 sum[2];       /* g, h */
};
struct part_job {
    struct grower *w;
    struct block *block;
};

static void route_block(const struct grower *w, const struct block *b)
{
    const struct split *s = b->part->s;
    const struct bins *bins = w->x->bins;
    const uint8_t *col = w->x->col[s->feature];
    /* The missing bucket is the last; without one, or when it goes with the smaller side, one comparison is enough. */
    uint32_t lost = bins->use_missing && s->missing_left ? bins_splits(bins, s->feature) : UINT32_MAX;
    const uint32_t *rows = w->rows;
    for (size_t i = b->begin; i < b->end; i++) {
        uint32_t x = col[rows[i]];
        w->go_left[i] = (uint8_t)((x <= s->bin) | (x == lost));
    }
}

/* Double sums of both sides: masks instead of branches. */
static void sum_block(const struct grower *w, struct block *b)
{
    static const int2 mask[2] = {{0, 0}, {-1, -1}};
    real2 left = {0, 0}, right = {0, 0};
    for (size_t i = b->begin; i < b->end; i++) {
        size_t r = w->rows[i];
        int2 m = mask[w->go_left[i]];
        real2 v = {w->in->g[r], w->in->h[r]};
        left += (real2)((int2)v & m);
        right += (real2)((int2)v & ~m);
    }
    b->sum[0] = left, b->sum[1] = right;
}

static void sum_block_whole(const struct grower *w, struct block *b)
{
    struct gh sum[2] = {{0}};
    for (size_t i = b->begin; i < b->end; i++) {
        const struct gh *v = &w->in->gh[w->rows[i]];
        struct gh *to = &sum[!w->go_left[i]];
        to->g += v->g, to->h += v->h;
    }
    b->whole[0] = sum[0], b->whole[1] = sum[1];
}

static status count_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct part_job *j = arg;
    for (size_t k = begin; k < end; k++) {
        struct block *b = &j->block[k];
        if (b->part->s->party == 0 && !j->w->peers) route_block(j->w, b);
        for (size_t i = b->begin; i < b->end; i++)
            b->n_left += j->w->go_left[i];
        if (!b->trains) continue;
        sum_block(j->w, b);
        if (b->part->s->party) sum_block_whole(j->w, b);
    }
    return OK;
}

static status route_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct part_job *j = arg;
    for (size_t k = begin; k < end; k++)
        if (j->block[k].part->s->party == 0) route_block(j->w, &j->block[k]);
    return OK;
}

/* Stable. Both sides are collected without a branch, then copied to their places. */
static status move_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct part_job *j = arg;
    uint32_t side[2][BLOCK_ROWS + 1];
    for (size_t k = begin; k < end; k++) {
        const struct block *b = &j->block[k];
        size_t n_left = 0, n_right = 0;
        for (size_t i = b->begin; i < b->end; i++) {
            uint32_t r = j->w->rows[i], left = j->w->go_left[i];
            side[0][n_left] = r, side[1][n_right] = r;
            n_left += left, n_right += 1 - left;
        }
        memcpy(b->to[0], side[0], n_left * sizeof side[0][0]);
        memcpy(b->to[1], side[1], n_right * sizeof side[1][0]);
    }
    return OK;
}

static size_t cut_blocks(struct parting *p, struct block *out) /* out NULL: only counted */
{
    size_t n = 0, ends[3] = {p->v->begin, p->v->begin + p->v->n, p->v->begin + p->v->n_all};
    for (int part = 0; part < 2; part++)
        for (size_t at = ends[part]; at < ends[part + 1]; at += BLOCK_ROWS, n++)
            if (out)
                out[n] = (struct block){.part = p,
                                        .trains = part == 0,
                                        .begin = at,
                                        .end = ends[part + 1] - at < BLOCK_ROWS ? ends[part + 1]
                                                                                : at + BLOCK_ROWS};
    return n;
}

/* Adds up what the blocks of each node counted and gives them their places. */
static void gather_blocks(struct grower *w, struct block *block, size_t n_blocks)
{
    for (size_t k = 0; k < n_blocks; k++) {
        const struct block *b = &block[k];
        struct parting *p = b->part;
        size_t n[2] = {b->n_left, b->end - b->begin - b->n_left};
        for (int c = 0; c < 2; c++) {
            p->n_all[c] += n[c];
            if (!b->trains) continue;
            p->n[c] += n[c];
            p->g[c] += b->sum[c][0], p->h[c] += b->sum[c][1];
            p->total[c].g += b->whole[c].g, p->total[c].h += b->whole[c].h;
        }
    }
    size_t left = 0, right = 0;
    for (size_t k = 0; k < n_blocks; k++) {
        struct block *b = &block[k];
        if (k == 0 || block[k - 1].part != b->part)
            left = b->part->v->begin, right = left + b->part->n_all[0];
        b->to[0] = w->spare + left, b->to[1] = w->spare + right;
        left += b->n_left, right += b->end - b->begin - b->n_left;
    }
}

/* A peer that says one thing in its sums and another in its rows is caught here: the guest knows every g and h. */
static status check_parting(struct ctx *cx, struct parting *p)
{
    const struct split *s = p->s;
    if (s->party == 0) {
        p->total[0] = (struct split_total){.g = s->left_g, .h = s->left_h};
        p->total[1] = (struct split_total){.g = p->v->total.g - s->left_g, .h = p->v->total.h - s->left_h};
    }
    p->total[0].n = p->n[0], p->total[1].n = p->n[1];
    if (p->n[0] == 0 || p->n[1] == 0)
        return FAIL(cx, PROTO, "party %d split node %d of %zu rows, but one side is empty", s->party,
                    p->v->id, p->v->n);
    if (s->left_g != p->total[0].g || s->left_h != p->total[0].h || (s->left_n && s->left_n != p->n[0]))
        return FAIL(cx, PROTO, "party %d: the rows it sends left of node %d do not have the sums it offered",
                    s->party, p->v->id);
    return OK;
}

/* Rows of the split nodes go to their children's places in spare. */
static status part_rows(struct ctx *cx, struct grower *w, const struct level *lv, const struct split *chosen,
                        struct parting *part, size_t n_split)
{
    size_t n_blocks = 0, at = 0;
    for (size_t i = 0; i < n_split; i++)
        n_blocks += cut_blocks(&part[i], NULL);
    struct part_job j = {w, TAKE_N(w->tmp, struct block, n_blocks)};
    if (!j.block) return FAIL(cx, NOMEM, "%zu blocks of rows", n_blocks);
    for (size_t i = 0; i < n_split; i++)
        at += cut_blocks(&part[i], j.block + at);
    if (w->peers) {
        TRY(pool_for(cx, n_blocks, BLOCKS, route_chunk, &j));
        TRY(w->peers->level_route(cx, w->peers->self, lv, chosen, w->go_left));
    }
    TRY(pool_for(cx, n_blocks, BLOCKS, count_chunk, &j));
    gather_blocks(w, j.block, n_blocks);
    for (size_t i = 0; i < n_split; i++)
        TRY(check_parting(cx, &part[i]));
    return pool_for(cx, n_blocks, BLOCKS, move_chunk, &j);
}

/* ---- nodes ---- */

static struct tree_node *node_add(struct grower *w, int32_t parent, const struct split_total *total, double g,
                                  double h)
{
    if (w->n_nodes == w->cap_nodes) {
        size_t cap = w->cap_nodes ? w->cap_nodes * 2 : 64;
        struct tree_node *bigger = TAKE_N(w->tmp, struct tree_node, cap);
        if (!bigger) return NULL;
        if (w->n_nodes) memcpy(bigger, w->node, w->n_nodes * sizeof *bigger);
        w->node = bigger, w->cap_nodes = cap;
    }
    struct tree_node *v = &w->node[w->n_nodes];
    *v = (struct tree_node){.id = (int32_t)w->n_nodes,
                            .parent = parent,
                            .left = -1,
                            .right = -1,
                            .is_leaf = true,
                            .weight = leaf_weight(w->p, g, h),
                            .sum_g = g,
                            .sum_h = h,
                            .cover = total->n};
    w->n_nodes++;
    return v;
}

static void end_as_leaf(struct grower *w, size_t i)
{
    const struct level_node *v = &w->cur[i];
    w->leaf[w->n_leaf++] = (struct grown_leaf){v->id, w->rows + v->begin, v->n_all};
    hist_put(w, w->cur_hist[i]);
}

/* The two children of a split node, and the node itself becomes an inner one. */
static status add_children(struct ctx *cx, struct grower *w, const struct parting *p, struct level_node *next)
{
    const struct split *s = p->s;
    bool small_left = p->n[0] < p->n[1];
    size_t begin = p->v->begin;
    for (int c = 0; c < 2; c++) {
        struct tree_node *child = node_add(w, p->v->id, &p->total[c], p->g[c], p->h[c]);
        if (!child) return FAIL(cx, NOMEM, "%zu tree nodes", w->n_nodes);
        next[c] = (struct level_node){.id = child->id,
                                      .parent = p->v->id,
                                      .sibling = child->id + (c == 0 ? 1 : -1),
                                      .is_left = c == 0,
                                      .build = (c == 0) == small_left,
                                      .begin = begin,
                                      .n = p->n[c],
                                      .n_all = p->n_all[c],
                                      .total = p->total[c]};
        begin += p->n_all[c];
    }
    struct tree_node *node = &w->node[p->v->id];
    node->is_leaf = false, node->party = s->party;
    node->left = next[0].id, node->right = next[1].id;
    node->feature = s->feature, node->bin = s->bin, node->missing_left = s->missing_left;
    node->gain = s->gain;
    if (s->party == 0) node->split = w->x->bins->split[w->x->bins->split_at[s->feature] + s->bin];
    return OK;
}

/* One level: chooses splits, and makes the next level of the children; nodes without a split are leaves. */
static status grow_level(struct ctx *cx, struct grower *w, unsigned depth)
{
    const struct level lv = {.round = w->in->round,
                             .tree = w->in->k,
                             .depth = depth,
                             .scale = w->in->scale,
                             .n_nodes = w->n_cur,
                             .nodes = w->cur,
                             .rows = w->rows,
                             .n_rows = w->n};
    struct split *chosen = TAKE_N(w->tmp, struct split, w->n_cur);
    if (!chosen) return FAIL(cx, NOMEM, "candidates of %zu nodes", w->n_cur);
    TRY(find_splits(cx, w, &lv, chosen));
    size_t n_split = 0;
    for (size_t i = 0; i < w->n_cur; i++)
        n_split += chosen[i].party >= 0;
    struct parting *part = TAKE_N(w->tmp, struct parting, n_split);
    struct level_node *next = TAKE_N(w->tmp, struct level_node, 2 * n_split);
    struct hist **next_hist = TAKE_N(w->tmp, struct hist *, 2 * n_split);
    if (!part || !next || !next_hist) return FAIL(cx, NOMEM, "%zu nodes", 2 * n_split);
    for (size_t i = 0, m = 0; i < w->n_cur; i++)
        if (chosen[i].party >= 0) part[m].v = &w->cur[i], part[m++].s = &chosen[i];
    TRY(part_rows(cx, w, &lv, chosen, part, n_split));
    for (size_t i = 0, m = 0; i < w->n_cur; i++) {
        if (chosen[i].party < 0) {
            end_as_leaf(w, i);
            continue;
        }
        next_hist[2 * m] = w->cur_hist[i];
        TRY(add_children(cx, w, &part[m], next + 2 * m));
        m++;
    }
    w->cur = next, w->cur_hist = next_hist, w->n_cur = 2 * n_split;
    uint32_t *rows = w->rows; /* the leaves' rows stay where they are: no later node writes there */
    w->rows = w->spare, w->spare = rows;
    return OK;
}

/* ---- one tree ---- */

struct root_job {
    const struct growth *in;
    struct gh *whole;
    real2 *sum;
};

static status root_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx;
    struct root_job *j = arg;
    struct gh whole = {0};
    real2 sum = {0, 0};
    for (size_t i = begin; i < end; i++) {
        size_t r = j->in->order[i];
        whole.g += j->in->gh[r].g, whole.h += j->in->gh[r].h;
        sum += (real2){j->in->g[r], j->in->h[r]};
    }
    j->whole[chunk] = whole, j->sum[chunk] = sum;
    return OK;
}

static status start(struct ctx *cx, struct grower *w, const struct growth *in)
{
    size_t chunks = pool_chunks(in->n_train, BLOCK_ROWS), most = in->n_train;
    if (w->p->max_depth < 31 && most > (size_t)1 << w->p->max_depth) most = (size_t)1 << w->p->max_depth;
    arena_reset(w->tmp);
    w->in = in;
    w->node = NULL, w->n_nodes = w->cap_nodes = w->n_leaf = 0;
    memcpy(w->rows, in->order, w->n * sizeof *w->rows);
    struct root_job j = {in, TAKE_N(w->tmp, struct gh, chunks), TAKE_N(w->tmp, real2, chunks)};
    w->leaf = TAKE_N(w->tmp, struct grown_leaf, most);
    w->cur = TAKE_N(w->tmp, struct level_node, 1);
    w->cur_hist = TAKE_N(w->tmp, struct hist *, 1);
    if (!j.whole || !j.sum || !w->leaf || !w->cur || !w->cur_hist) return FAIL(cx, NOMEM, "a tree");
    TRY(pool_for(cx, in->n_train, BLOCK_ROWS, root_chunk, &j));
    struct split_total total = {.n = in->n_train};
    real2 sum = {0, 0};
    for (size_t c = 0; c < chunks; c++)
        total.g += j.whole[c].g, total.h += j.whole[c].h, sum += j.sum[c];
    if (!node_add(w, -1, &total, sum[0], sum[1])) return FAIL(cx, NOMEM, "a tree");
    w->cur[0] = (struct level_node){
        .parent = -1, .sibling = -1, .build = true, .n = in->n_train, .n_all = w->n, .total = total};
    w->n_cur = 1;
    if (!w->peers) return OK;
    return w->peers->tree_begin(cx, w->peers->self, in->round, in->k, in->scale, in->gh, w->n, in->order,
                                in->n_train);
}

status grower_run(struct ctx *cx, struct grower *w, const struct growth *in, struct tree *out)
{
    TRY(start(cx, w, in));
    for (unsigned depth = 0; depth < w->p->max_depth && w->n_cur > 0; depth++) {
        TRY(ctx_check(cx));
        TRY(grow_level(cx, w, depth));
    }
    for (size_t i = 0; i < w->n_cur; i++)
        end_as_leaf(w, i);
    assert(w->node); /* the root at least */
    struct tree_node *node = NEW(cx, struct tree_node, w->n_nodes);
    if (!node) return FAIL(cx, NOMEM, "a tree of %zu nodes", w->n_nodes);
    memcpy(node, w->node, w->n_nodes * sizeof *node);
    struct tree t = {w->n_nodes, node};
    if (w->peers) TRY(w->peers->tree_end(cx, w->peers->self, in->round, in->k, &t));
    *out = t;
    return OK;
}
