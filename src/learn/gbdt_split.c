/* gbdt_split.c - gains, ties, and histograms of integer gradients. */
#include "base/arena.h"
#include "base/pool.h"
#include "learn/gbdt.h"
#include "learn/gbdt_int.h"
#include <math.h>
#include <string.h>

#define TIE          1e-8 /* FATE's FLOAT_ZERO: a gain must be larger by this much to replace an earlier one */
#define TASK_UPDATES 32768

/* ---- gains (XGBoost, equations 6 and 7; cut down to 10 decimals as FATE's criterion does) ---- */

static double cut_down(double x)
{
    return floor(x * 1e10) / 1e10;
}

static double soften(double g, double l1)
{
    return g < -l1 ? g + l1 : g > l1 ? g - l1 : 0;
}

static double score_of(const struct gbdt_tree_params *p, double g, double h)
{
    double num = soften(cut_down(g), p->l1), den = cut_down(h) + p->l2;
    return den > 0 ? cut_down(num * num / den) : 0;
}

double split_gain(const struct gbdt_tree_params *p, double g, double h, double gl, double hl)
{
    return cut_down(score_of(p, gl, hl) + score_of(p, g - gl, h - hl) - score_of(p, g, h));
}

double leaf_weight(const struct gbdt_tree_params *p, double g, double h)
{
    double den = h + p->l2;
    return den > 0 ? rint(cut_down(-soften(g, p->l1) / den) * 1e10) / 1e10 : 0;
}

/* ---- candidates ---- */

struct split split_none(const struct gbdt_tree_params *p)
{
    return (struct split){.party = -1, .gain = p->min_impurity_split - TIE};
}

struct offer {
    int32_t party;
    uint32_t feature, bin;
    bool missing_left;
    int64_t g, h; /* left */
    uint64_t n;
};

/* unit = 2^-frac_bits; whole = score of the node. */
static inline void offer_split(const struct gbdt_tree_params *p, double unit, const struct split_total *node,
                               double whole, const struct offer *o, struct split *best)
{
    if (o->n && (o->n < p->min_leaf_node || node->n < o->n + p->min_leaf_node)) return;
    double hl = (double)o->h * unit, hr = (double)(node->h - o->h) * unit;
    if (hl < p->min_child_weight || hr < p->min_child_weight) return;
    double gl = (double)o->g * unit, gr = (double)(node->g - o->g) * unit;
    double gain = cut_down(score_of(p, gl, hl) + score_of(p, gr, hr) - whole);
    if (!(gain > p->min_impurity_split && gain > best->gain + TIE)) return;
    *best = (struct split){.party = o->party,
                           .feature = o->feature,
                           .bin = o->bin,
                           .missing_left = o->missing_left,
                           .gain = gain,
                           .left_g = o->g,
                           .left_h = o->h,
                           .left_n = o->n};
}

static double node_score(const struct gbdt_tree_params *p, double unit, const struct split_total *node)
{
    return score_of(p, (double)node->g * unit, (double)node->h * unit);
}

void split_offer(const struct gbdt_tree_params *p, struct fixed_scale s, const struct split_total *node,
                 int32_t party, uint32_t feature, uint32_t bin, bool missing_left, int64_t left_g,
                 int64_t left_h, uint64_t left_n, struct split *best)
{
    double unit = ldexp(1, -s.frac_bits);
    struct offer o = {party, feature, bin, missing_left, left_g, left_h, left_n};
    if (node->n < p->min_sample_split) return;
    offer_split(p, unit, node, node_score(p, unit, node), &o, best);
}

void split_scan(const struct gbdt_tree_params *p, struct fixed_scale s, const struct split_total *node,
                int32_t party, uint32_t feature, const struct gh *bucket, const uint32_t *count,
                uint32_t n_splits, bool use_missing, struct split *best)
{
    if (node->n < p->min_sample_split || n_splits == 0) return;
    double unit = ldexp(1, -s.frac_bits), whole = node_score(p, unit, node);
    uint64_t least = p->min_leaf_node ? p->min_leaf_node : 1;
    struct gh lost = use_missing ? bucket[n_splits] : (struct gh){0};
    uint64_t n_lost = use_missing && count ? count[n_splits] : 0;
    struct offer o = {.party = party, .feature = feature};
    /* The last cut would leave nothing but missing cells on the right: FATE does not offer it. */
    for (uint32_t b = 0; b + 1 < n_splits; b++) {
        o.bin = b, o.missing_left = false;
        o.g += bucket[b].g, o.h += bucket[b].h;
        if (count) {
            o.n += count[b];
            if (o.n >= least && o.n + least <= node->n) offer_split(p, unit, node, whole, &o, best);
        } else {
            offer_split(p, unit, node, whole, &o, best);
        }
        if (!use_missing) continue;
        struct offer m = o;
        m.missing_left = true;
        m.g += lost.g, m.h += lost.h, m.n += n_lost;
        if (!count || (m.n >= least && m.n + least <= node->n)) offer_split(p, unit, node, whole, &m, best);
    }
}

struct split split_choose(const struct gbdt_tree_params *p, const struct split *bests, size_t n)
{
    if (n == 0) return split_none(p);
    if (n == 1) return bests[0];
    size_t peer = 1;
    for (size_t i = 2; i < n; i++)
        if (bests[peer].gain < bests[i].gain - TIE) peer = i;
    return bests[0].gain >= bests[peer].gain - TIE ? bests[0] : bests[peer];
}

/* ---- histograms ---- */

/* The plain loop, kept as the tests' oracle. */
void hist_build_ref(const struct binned *b, const bool *feature_on, const struct gh *gh, const uint32_t *rows,
                    size_t n, struct gh *hist, uint32_t *count)
{
    size_t total = bins_total(b->bins);
    memset(hist, 0, total * sizeof *hist);
    memset(count, 0, total * sizeof *count);
    for (size_t f = 0; f < b->bins->n_features; f++) {
        if (feature_on && !feature_on[f]) continue;
        for (size_t i = 0; i < n; i++) {
            size_t k = b->bins->bucket_at[f] + b->col[f][rows[i]];
            hist[k].g += gh[rows[i]].g, hist[k].h += gh[rows[i]].h;
            count[k]++;
        }
    }
}

struct hist_job {
    const struct binned *b;
    const bool *feature_on;
    const struct hist_task *task;
    size_t n_tasks;
    const struct gh *gh;
    struct gh *ordered; /* gh in the order of the tasks' rows */
    const size_t *at;   /* where a task's rows begin in it */
};

static status gather_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct hist_job *j = arg;
    for (size_t t = begin; t < end; t++)
        for (size_t i = 0; i < j->task[t].n; i++)
            j->ordered[j->at[t] + i] = j->gh[j->task[t].rows[i]];
    return OK;
}

static status hist_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct hist_job *j = arg;
    size_t nf = j->b->bins->n_features;
    TRY(ctx_check(cx));
    for (size_t k = begin; k < end; k++) {
        const struct hist_task *t = &j->task[k / nf];
        size_t f = k % nf, n_buckets = bins_buckets(j->b->bins, f);
        struct gh *hist = t->hist + j->b->bins->bucket_at[f];
        uint32_t *count = t->count + j->b->bins->bucket_at[f];
        memset(hist, 0, n_buckets * sizeof *hist);
        memset(count, 0, n_buckets * sizeof *count);
        if (j->feature_on && !j->feature_on[f]) continue;
        const uint8_t *restrict col = j->b->col[f];
        const struct gh *restrict gh = j->ordered + j->at[k / nf];
        const uint32_t *restrict rows = t->rows;
        for (size_t i = 0; i < t->n; i++) {
            size_t b = col[rows[i]];
            hist[b].g += gh[i].g, hist[b].h += gh[i].h;
            count[b]++;
        }
    }
    return OK;
}

status hist_build_all(struct ctx *cx, const struct binned *b, const bool *feature_on, const struct gh *gh,
                      const struct hist_task *task, size_t n_tasks)
{
    size_t nf = b->bins->n_features, n = 0;
    if (n_tasks == 0 || nf == 0) return OK;
    struct arena_mark mark = arena_mark(cx->mem);
    size_t *at = NEW(cx, size_t, n_tasks);
    if (!at) return FAIL(cx, NOMEM, "%zu histograms", n_tasks);
    for (size_t t = 0; t < n_tasks; t++)
        at[t] = n, n += task[t].n;
    struct gh *ordered = NEW(cx, struct gh, n + 1);
    if (!ordered) return FAIL(cx, NOMEM, "gradients of %zu rows", n);
    struct hist_job j = {b, feature_on, task, n_tasks, gh, ordered, at};
    size_t rows = n / n_tasks + 1, grain = TASK_UPDATES / rows + 1;
    TRY(pool_for(cx, n_tasks, grain, gather_chunk, &j));
    TRY(pool_for(cx, n_tasks * nf, grain, hist_chunk, &j));
    arena_rewind(cx->mem, mark);
    return OK;
}

status hist_build(struct ctx *cx, const struct binned *b, const bool *feature_on, const struct gh *gh,
                  const uint32_t *rows, size_t n, struct gh *hist, uint32_t *count)
{
    return hist_build_all(cx, b, feature_on, gh, &(struct hist_task){rows, n, hist, count}, 1);
}

void hist_subtract(struct gh *parent, uint32_t *parent_count, const struct gh *sibling,
                   const uint32_t *sibling_count, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        parent[i].g -= sibling[i].g, parent[i].h -= sibling[i].h;
        parent_count[i] -= sibling_count[i];
    }
}
