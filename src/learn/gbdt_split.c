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
