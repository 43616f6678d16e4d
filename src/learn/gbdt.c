/* gbdt.c - growing trees level by level, and the rounds of boosting. */
#include "learn/gbdt.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include "learn/gbdt_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUTE_ROWS 8192
#define TIE        1e-8

struct hist {
    struct gh *sum; /* bins_total */
    uint32_t *count;
    struct hist *next; /* on the free list */
};

struct leaf { /* rows [begin, begin + n) of `rows` ended in node id */
    int32_t id;
    const uint32_t *rows;
    size_t n;
};

/* One training; the parts that change per tree are set by tree_grow. */
struct trainer {
    const struct gbdt_params *p;
    const struct gbdt_data *d;
    const struct gbdt_peers *peers; /* NULL: none */
    struct arena *keep;             /* until training ends */
    struct arena *tmp;              /* until the tree ends */
    unsigned dim;
    double *g, *h; /* dim x n */
    double *score, *valid_score;
    struct gh *gh;   /* n */
    uint32_t *order; /* n: rows that train (ascending), then the rest */
    size_t n_train;
    uint32_t *rows, *spare; /* n: grouped by node, this level and the next */
    uint8_t *go_left;       /* n, by position in rows */
    bool *feature_on;       /* of own columns, in this tree */
    struct hist *free_hist;
    double goss_factor;

    /* the tree being grown */
    size_t round;
    unsigned k;
    struct fixed_scale scale;
    struct tree_node *node;
    size_t n_nodes, cap_nodes;
    struct level_node *cur;
    struct hist *
        *cur_hist; /* per node of the level; NULL until built. At the first of a pair: the parent's */
    size_t n_cur;
};

static size_t own_features(const struct trainer *t)
{
    return t->d->x ? t->d->x->bins->n_features : 0;
}

static void *take_n(struct arena *a, size_t n, size_t size)
{
    return arena_alloc_n(a, n ? n : 1, size, 64);
}
#define TAKE_N(a, T, n) ((T *)take_n((a), (n), sizeof(T)))

/* ---- histograms of a level ---- */

static struct hist *hist_get(struct trainer *t)
{
    struct hist *x = t->free_hist;
    if (x) {
        t->free_hist = x->next;
        return x;
    }
    size_t total = bins_total(t->d->x->bins);
    x = TAKE_N(t->keep, struct hist, 1);
    if (!x) return NULL;
    x->sum = TAKE_N(t->keep, struct gh, total);
    x->count = TAKE_N(t->keep, uint32_t, total);
    return x->sum && x->count ? x : NULL;
}

static void hist_put(struct trainer *t, struct hist *x)
{
    if (!x) return;
    x->next = t->free_hist;
    t->free_hist = x;
}

/* Builds the smaller child of each pair and takes it from the parent for the other. */
static status level_hists(struct ctx *cx, struct trainer *t)
{
    size_t n = t->n_cur, n_tasks = 0, total = bins_total(t->d->x->bins);
    struct hist_task *task = TAKE_N(t->tmp, struct hist_task, n);
    struct hist **parent = TAKE_N(t->tmp, struct hist *, n);
    if (!task || !parent) return FAIL(cx, NOMEM, "a level of %zu nodes", n);
    for (size_t i = 0; i < n; i++) {
        const struct level_node *v = &t->cur[i];
        if (t->cur_hist[i]) parent[i] = t->cur_hist[i]; /* at the left of a pair */
        t->cur_hist[i] = NULL;
        if (!v->build) continue;
        struct hist *x = hist_get(t);
        if (!x) return FAIL(cx, NOMEM, "histograms of %zu buckets", total);
        t->cur_hist[i] = x;
        task[n_tasks++] = (struct hist_task){t->rows + v->begin, v->n, x->sum, x->count};
    }
    TRY(hist_build_all(cx, t->d->x, t->feature_on, t->gh, task, n_tasks));
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (!parent[i]) continue;
        size_t built = t->cur[i].build ? i : i + 1, other = built == i ? i + 1 : i;
        hist_subtract(parent[i]->sum, parent[i]->count, t->cur_hist[built]->sum, t->cur_hist[built]->count,
                      total);
        t->cur_hist[other] = parent[i];
    }
    return OK;
}

struct scan_job {
    struct trainer *t;
    struct split *best;
};

static status scan_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct scan_job *j = arg;
    struct trainer *t = j->t;
    const struct bins *b = t->d->x->bins;
    for (size_t i = begin; i < end; i++) {
        TRY(ctx_check(cx));
        for (size_t f = 0; f < b->n_features; f++) {
            if (!t->feature_on[f]) continue;
            split_scan(&t->p->tree, t->scale, &t->cur[i].total, 0, (uint32_t)f,
                       t->cur_hist[i]->sum + b->bucket_at[f], t->cur_hist[i]->count + b->bucket_at[f],
                       bins_splits(b, f), b->use_missing, &j->best[i]);
        }
    }
    return OK;
}

/* ---- rows to children ---- */

struct route_task {
    const struct level_node *v;
    const struct split *s;
    size_t begin, end; /* positions */
};
struct route_job {
    struct trainer *t;
    const struct route_task *task;
};

static status route_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct route_job *j = arg;
    struct trainer *t = j->t;
    for (size_t k = begin; k < end; k++) {
        const struct route_task *r = &j->task[k];
        const struct bins *b = t->d->x->bins;
        const uint8_t *col = t->d->x->col[r->s->feature];
        uint32_t lost = b->use_missing ? bins_splits(b, r->s->feature) : UINT32_MAX;
        for (size_t i = r->begin; i < r->end; i++) {
            uint32_t x = col[t->rows[i]];
            t->go_left[i] = x == lost ? r->s->missing_left : x <= r->s->bin;
        }
    }
    return OK;
}

static status route_own(struct ctx *cx, struct trainer *t, const struct split *chosen)
{
    size_t n_tasks = 0;
    for (size_t i = 0; i < t->n_cur; i++)
        if (chosen[i].party == 0) n_tasks += pool_chunks(t->cur[i].n_all, ROUTE_ROWS);
    struct route_task *task = TAKE_N(t->tmp, struct route_task, n_tasks);
    if (!task) return FAIL(cx, NOMEM, "routing %zu blocks", n_tasks);
    n_tasks = 0;
    for (size_t i = 0; i < t->n_cur; i++) {
        const struct level_node *v = &t->cur[i];
        if (chosen[i].party != 0) continue;
        for (size_t at = 0; at < v->n_all; at += ROUTE_ROWS)
            task[n_tasks++] =
                (struct route_task){v, &chosen[i], v->begin + at,
                                    v->begin + (at + ROUTE_ROWS < v->n_all ? at + ROUTE_ROWS : v->n_all)};
    }
    struct route_job j = {t, task};
    return pool_for(cx, n_tasks, 4, route_chunk, &j);
}

/* A node that is split: where its children's rows go in `spare`, and what was counted on the way. */
struct parting {
    const struct level_node *v;
    size_t begin;
    size_t n[2], n_all[2]; /* left, right */
    struct split_total total[2];
    double g[2], h[2];
};
struct part_job {
    struct trainer *t;
    struct parting *part;
};

/* Stable: rows [begin, end) go to the two runs in the order they have. */
static void part_run(const struct trainer *t, size_t begin, size_t end, uint32_t *left, uint32_t *right)
{
    for (size_t i = begin; i < end; i++) {
        if (t->go_left[i])
            *left++ = t->rows[i];
        else
            *right++ = t->rows[i];
    }
}

static void sum_rows(const struct trainer *t, const uint32_t *rows, size_t n, struct split_total *total,
                     double *g, double *h)
{
    const double *tg = t->g + t->k * t->d->n, *th = t->h + t->k * t->d->n;
    struct split_total sum = {.n = n};
    double sg = 0, sh = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t r = rows[i];
        sum.g += t->gh[r].g, sum.h += t->gh[r].h;
        sg += tg[r], sh += th[r];
    }
    *total = sum, *g = sg, *h = sh;
}

static status part_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct part_job *j = arg;
    struct trainer *t = j->t;
    for (size_t k = begin; k < end; k++) {
        struct parting *p = &j->part[k];
        const struct level_node *v = p->v;
        size_t trained = v->begin + v->n, all = v->begin + v->n_all, n_left = 0, n_left_all = 0;
        for (size_t i = v->begin; i < trained; i++)
            n_left += t->go_left[i];
        for (size_t i = trained; i < all; i++)
            n_left_all += t->go_left[i];
        n_left_all += n_left;
        p->n[0] = n_left, p->n[1] = v->n - n_left;
        p->n_all[0] = n_left_all, p->n_all[1] = v->n_all - n_left_all;
        uint32_t *left = t->spare + v->begin, *right = left + n_left_all;
        part_run(t, v->begin, trained, left, right);
        part_run(t, trained, all, left + p->n[0], right + p->n[1]);
        sum_rows(t, left, p->n[0], &p->total[0], &p->g[0], &p->h[0]);
        sum_rows(t, right, p->n[1], &p->total[1], &p->g[1], &p->h[1]);
    }
    return OK;
}

/* A peer that says one thing in its sums and another in its rows is caught here: the guest knows every g and h. */
static status check_parting(struct ctx *cx, const struct split *s, const struct parting *p)
{
    if (p->n[0] == 0 || p->n[1] == 0)
        return FAIL(cx, PROTO, "party %d split node %d of %zu rows, but one side is empty", s->party,
                    p->v->id, p->v->n);
    if (s->left_g != p->total[0].g || s->left_h != p->total[0].h || (s->left_n && s->left_n != p->n[0]))
        return FAIL(cx, PROTO, "party %d: the rows it sends left of node %d do not have the sums it offered",
                    s->party, p->v->id);
    return OK;
}

static struct tree_node *node_add(struct trainer *t, int32_t parent, const struct split_total *total,
                                  double g, double h)
{
    if (t->n_nodes == t->cap_nodes) {
        size_t cap = t->cap_nodes ? t->cap_nodes * 2 : 64;
        struct tree_node *bigger = TAKE_N(t->tmp, struct tree_node, cap);
        if (!bigger) return NULL;
        if (t->n_nodes) memcpy(bigger, t->node, t->n_nodes * sizeof *bigger);
        t->node = bigger, t->cap_nodes = cap;
    }
    struct tree_node *v = &t->node[t->n_nodes];
    *v = (struct tree_node){.id = (int32_t)t->n_nodes,
                            .parent = parent,
                            .left = -1,
                            .right = -1,
                            .is_leaf = true,
                            .weight = leaf_weight(&t->p->tree, g, h),
                            .sum_g = g,
                            .sum_h = h,
                            .cover = total->n};
    t->n_nodes++;
    return v;
}

/* ---- one level ---- */

static status find_splits(struct ctx *cx, struct trainer *t, const struct level *lv, struct split *chosen)
{
    const struct gbdt_tree_params *tp = &t->p->tree;
    size_t n = t->n_cur, n_peers = t->peers ? t->peers->n : 0;
    struct split *own = TAKE_N(t->tmp, struct split, n), *theirs = TAKE_N(t->tmp, struct split, n * n_peers);
    struct split *row = TAKE_N(t->tmp, struct split, n_peers + 1);
    if (!own || !theirs || !row) return FAIL(cx, NOMEM, "candidates of %zu nodes", n);
    for (size_t i = 0; i < n; i++)
        own[i] = split_none(tp);
    for (size_t i = 0; i < n * n_peers; i++)
        theirs[i] = split_none(tp);
    if (n_peers) TRY(t->peers->level_begin(cx, t->peers->self, lv));
    if (own_features(t)) {
        TRY(level_hists(cx, t));
        TRY(pool_for(cx, n, 1, scan_chunk, &(struct scan_job){t, own}));
    }
    if (n_peers) TRY(t->peers->level_splits(cx, t->peers->self, lv, theirs));
    for (size_t i = 0; i < n; i++) {
        row[0] = own[i];
        for (size_t p = 0; p < n_peers; p++) {
            row[p + 1] = theirs[p * n + i];
            if (row[p + 1].party != -1 && row[p + 1].party != (int32_t)p + 1)
                return FAIL(cx, INTERNAL, "a split of party %d in the place of party %zu", row[p + 1].party,
                            p + 1);
        }
        chosen[i] = split_choose(tp, row, n_peers + 1);
        if (!(chosen[i].gain > tp->min_impurity_split + TIE)) chosen[i] = split_none(tp);
    }
    return OK;
}

/* Turns the chosen nodes into inner ones and makes the next level of their children; the others are leaves. */
static status split_nodes(struct ctx *cx, struct trainer *t, const struct split *chosen, struct leaf *leaf,
                          size_t *n_leaf)
{
    size_t n_split = 0, m = 0;
    for (size_t i = 0; i < t->n_cur; i++)
        n_split += chosen[i].party >= 0;
    struct parting *part = TAKE_N(t->tmp, struct parting, n_split);
    struct level_node *next = TAKE_N(t->tmp, struct level_node, 2 * n_split);
    struct hist **next_hist = TAKE_N(t->tmp, struct hist *, 2 * n_split);
    if (!part || !next || !next_hist) return FAIL(cx, NOMEM, "%zu nodes", 2 * n_split);
    for (size_t i = 0; i < t->n_cur; i++)
        if (chosen[i].party >= 0) part[m++].v = &t->cur[i];
    TRY(pool_for(cx, n_split, 1, part_chunk, &(struct part_job){t, part}));
    m = 0;
    for (size_t i = 0; i < t->n_cur; i++) {
        const struct level_node *v = &t->cur[i];
        const struct split *s = &chosen[i];
        if (s->party < 0) {
            leaf[(*n_leaf)++] = (struct leaf){v->id, t->rows + v->begin, v->n_all};
            hist_put(t, t->cur_hist[i]);
            continue;
        }
        const struct parting *p = &part[m];
        TRY(check_parting(cx, s, p));
        bool small_left = p->n[0] < p->n[1];
        size_t begin = v->begin;
        for (int c = 0; c < 2; c++) {
            struct tree_node *child = node_add(t, v->id, &p->total[c], p->g[c], p->h[c]);
            if (!child) return FAIL(cx, NOMEM, "%zu tree nodes", t->n_nodes);
            next[2 * m + (size_t)c] = (struct level_node){.id = child->id,
                                                          .parent = v->id,
                                                          .sibling = child->id + (c == 0 ? 1 : -1),
                                                          .is_left = c == 0,
                                                          .build = (c == 0) == small_left,
                                                          .begin = begin,
                                                          .n = p->n[c],
                                                          .n_all = p->n_all[c],
                                                          .total = p->total[c]};
            begin += p->n_all[c];
        }
        next_hist[2 * m] = t->cur_hist[i];
        struct tree_node *node = &t->node[v->id];
        node->is_leaf = false, node->party = s->party;
        node->left = next[2 * m].id, node->right = next[2 * m + 1].id;
        node->feature = s->feature, node->bin = s->bin, node->missing_left = s->missing_left,
        node->gain = s->gain;
        if (s->party == 0) node->split = t->d->x->bins->split[t->d->x->bins->split_at[s->feature] + s->bin];
        m++;
    }
    t->cur = next, t->cur_hist = next_hist, t->n_cur = 2 * n_split;
    return OK;
}

static status grow_level(struct ctx *cx, struct trainer *t, unsigned depth, struct leaf *leaf, size_t *n_leaf)
{
    struct level lv = {.round = t->round,
                       .tree = t->k,
                       .depth = depth,
                       .scale = t->scale,
                       .n_nodes = t->n_cur,
                       .nodes = t->cur,
                       .rows = t->rows};
    /* Rows of finished leaves stay where they are; the level's nodes cover the others, so positions run over all. */
    lv.n_rows = t->d->n;
    struct split *chosen = TAKE_N(t->tmp, struct split, t->n_cur);
    if (!chosen) return FAIL(cx, NOMEM, "candidates of %zu nodes", t->n_cur);
    TRY(find_splits(cx, t, &lv, chosen));
    TRY(route_own(cx, t, chosen));
    if (t->peers) TRY(t->peers->level_route(cx, t->peers->self, &lv, chosen, t->go_left));
    return split_nodes(cx, t, chosen, leaf, n_leaf);
}

/* ---- one tree ---- */

struct score_job {
    struct trainer *t;
    const struct leaf *leaf;
};

static status score_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct score_job *j = arg;
    struct trainer *t = j->t;
    for (size_t k = begin; k < end; k++) {
        const struct leaf *v = &j->leaf[k];
        double step = t->p->learning_rate * t->node[v->id].weight;
        for (size_t i = 0; i < v->n; i++)
            t->score[v->rows[i] * (size_t)t->dim + t->k] += step;
    }
    return OK;
}

/* Own columns of this tree: a draw without repeats that depends on seed, round and class only. */
static void draw_features(struct trainer *t)
{
    size_t n = own_features(t), want = (size_t)(t->p->subsample_feature_rate * (double)n);
    if (want < 1) want = 1;
    for (size_t f = 0; f < n; f++)
        t->feature_on[f] = want >= n;
    if (want >= n) return;
    struct shuffle s = shuffle_new(t->p->seed ^ (t->round * 0x9e3779b97f4a7c15u) ^ ((uint64_t)t->k << 48));
    for (size_t left = want, f = 0; left > 0; f++) { /* selection sampling (Knuth, 3.4.2 S) */
        if (shuffle_below(&s, n - f) < left) t->feature_on[f] = true, left--;
    }
}

static status tree_start(struct ctx *cx, struct trainer *t)
{
    size_t n = t->d->n;
    const double *g = t->g + t->k * n, *h = t->h + t->k * n;
    memcpy(t->rows, t->order, n * sizeof *t->rows);
    draw_features(t);
    double bound = t->p->objective.n_classes > 1 ? t->goss_factor : gbdt_bound(&t->p->objective, g, h, n);
    t->scale = fixed_scale_for(bound, t->p->value_bits ? t->p->value_bits : GBDT_VALUE_BITS);
    gh_quantise(t->scale, g, h, n, t->gh);
    t->node = NULL, t->n_nodes = t->cap_nodes = 0;
    struct split_total total;
    double sg, sh;
    sum_rows(t, t->rows, t->n_train, &total, &sg, &sh);
    t->cur = TAKE_N(t->tmp, struct level_node, 1);
    t->cur_hist = TAKE_N(t->tmp, struct hist *, 1);
    if (!t->cur || !t->cur_hist || !node_add(t, -1, &total, sg, sh)) return FAIL(cx, NOMEM, "a tree");
    t->cur[0] = (struct level_node){
        .parent = -1, .sibling = -1, .build = true, .n = t->n_train, .n_all = n, .total = total};
    t->n_cur = 1;
    if (!t->peers) return OK;
    return t->peers->tree_begin(cx, t->peers->self, t->round, t->k, t->scale, t->gh, n, t->order, t->n_train);
}
