/* gbdt_split.c - gains and ties. */
#include "learn/gbdt.h"
#include <math.h>

#define TIE 1e-8 /* FATE's FLOAT_ZERO: a gain must be larger by this much to replace an earlier one */

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

struct scan { /* of one node */
    const struct gbdt_tree_params *p;
    const struct split_total *node;
    double unit;  /* 2^-frac_bits */
    double whole; /* score of the node */
};

/* False only when the gain cannot be above `bar`: most cuts end here, without a division. Of each side's score
 * (|g| + 1e-10)^2 / (h + l2 - 2e-10) is an upper bound, whatever l1 and the cutting of decimals take away; what rounding
 * may add is far below the 1e-9 and 1e-12. */
static inline bool may_gain(const struct scan *s, double gl, double hl, double gr, double hr, double bar)
{
    double dl = hl + s->p->l2 - 2e-10, dr = hr + s->p->l2 - 2e-10;
    if (dl < 0.01 || dr < 0.01) return true;
    double al = fabs(gl) + 1e-10, ar = fabs(gr) + 1e-10;
    double want = (bar + s->whole) - 1e-9 - 1e-12 * (fabs(bar) + s->whole);
    return al * al * dr + ar * ar * dl > want * dl * dr;
}

static inline void offer_split(const struct scan *s, const struct offer *o, struct split *best)
{
    const struct gbdt_tree_params *p = s->p;
    const struct split_total *node = s->node;
    if (o->n && (o->n < p->min_leaf_node || node->n < o->n + p->min_leaf_node)) return;
    double hl = (double)o->h * s->unit, hr = (double)(node->h - o->h) * s->unit;
    if (hl < p->min_child_weight || hr < p->min_child_weight) return;
    double gl = (double)o->g * s->unit, gr = (double)(node->g - o->g) * s->unit;
    double bar = best->gain + TIE > p->min_impurity_split ? best->gain + TIE : p->min_impurity_split;
    if (!may_gain(s, gl, hl, gr, hr, bar)) return;
    double gain = cut_down(score_of(p, gl, hl) + score_of(p, gr, hr) - s->whole);
    if (!(gain > bar)) return;
    *best = (struct split){.party = o->party,
                           .feature = o->feature,
                           .bin = o->bin,
                           .missing_left = o->missing_left,
                           .gain = gain,
                           .left_g = o->g,
                           .left_h = o->h,
                           .left_n = o->n};
}

static struct scan scan_of(const struct gbdt_tree_params *p, struct fixed_scale scale,
                           const struct split_total *node)
{
    double unit = ldexp(1, -scale.frac_bits);
    return (struct scan){p, node, unit, score_of(p, (double)node->g * unit, (double)node->h * unit)};
}

void split_offer(const struct gbdt_tree_params *p, struct fixed_scale s, const struct split_total *node,
                 int32_t party, uint32_t feature, uint32_t bin, bool missing_left, int64_t left_g,
                 int64_t left_h, uint64_t left_n, struct split *best)
{
    if (node->n < p->min_sample_split) return;
    struct scan of = scan_of(p, s, node);
    struct offer o = {party, feature, bin, missing_left, left_g, left_h, left_n};
    offer_split(&of, &o, best);
}

void split_scan(const struct gbdt_tree_params *p, struct fixed_scale s, const struct split_total *node,
                int32_t party, uint32_t feature, const struct gh *bucket, const uint32_t *count,
                uint32_t n_splits, bool use_missing, struct split *best)
{
    if (node->n < p->min_sample_split || n_splits == 0) return;
    struct scan of = scan_of(p, s, node);
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
            if (o.n >= least && o.n + least <= node->n) offer_split(&of, &o, best);
        } else {
            offer_split(&of, &o, best);
        }
        if (!use_missing) continue;
        struct offer m = o;
        m.missing_left = true;
        m.g += lost.g, m.h += lost.h, m.n += n_lost;
        if (!count || (m.n >= least && m.n + least <= node->n)) offer_split(&of, &m, best);
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
