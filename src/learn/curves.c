#include "learn/curves.h"
#include <float.h>
#include <math.h>

/* ---- counts ---- */

/* Cuts above t (or at it); cuts descend. */
static size_t cuts_above(const struct binary_rank *r, double t, bool at)
{
    size_t lo = 0, hi = r->n_cuts;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->cut[mid] > t || (at && r->cut[mid] == t))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct curve_count first_cuts(const struct binary_rank *r, size_t k)
{
    return k ? (struct curve_count){r->tp[k - 1], r->fp[k - 1]} : (struct curve_count){0};
}

struct curve_count curve_above(const struct binary_rank *r, double t)
{
    return first_cuts(r, cuts_above(r, t, false));
}

struct curve_count curve_from(const struct binary_rank *r, double t)
{
    return first_cuts(r, cuts_above(r, t, true));
}

/* The score of the i-th row from the top. */
static double score_at(const struct binary_rank *r, size_t i)
{
    size_t lo = 0, hi = r->n_cuts - 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->tp[mid] + r->fp[mid] > i)
            hi = mid;
        else
            lo = mid + 1;
    }
    return r->cut[lo];
}

/* FATE truncates n * (i / 100) in floating point: 29 / 100 of 100 is 28. */
static size_t step_of(size_t n, double share)
{
    return (size_t)((double)n * share);
}

/* i / 100 as numpy's arange(0, 1, 0.01) gives it. */
static double step_share(size_t i)
{
    return (double)i * 0.01;
}

static double step_threshold(const struct binary_rank *r, size_t i)
{
    return r->cut[step_of(r->n_cuts, step_share(i))];
}

static double share_of(uint64_t a, uint64_t b)
{
    return (double)a / (double)b;
}

static void add_point(struct curve *c, double x, double y, double threshold)
{
    c->x[c->n] = x, c->y[c->n] = y, c->threshold[c->n++] = threshold;
    c->n_thresholds = c->n;
}

/* ---- curves ---- */

double curve_ks(const struct binary_rank *r, struct curve *fpr, struct curve *tpr)
{
    uint64_t n_pos = r->n_pos, n_neg = r->n - r->n_pos;
    double ks = -1;
    fpr->n = tpr->n = 0;
    for (size_t i = 0; i < CURVE_STEPS; i++) {
        double share = (double)i / 100, t = score_at(r, step_of(r->n, share));
        struct curve_count k = curve_above(r, t);
        double f = share_of(k.fp, n_neg), p = share_of(k.tp, n_pos);
        add_point(fpr, share, f, t);
        add_point(tpr, share, p, t);
        if (p - f > ks) ks = p - f;
    }
    add_point(fpr, 1, 1, 0);
    add_point(tpr, 1, 1, 0);
    fpr->n_thresholds = tpr->n_thresholds = CURVE_STEPS;
    return ks;
}

/* One point for each x, with the largest y. */
static void add_best(struct curve *c, double x, double y, double threshold)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->x[i] != x) continue;
        if (y > c->y[i]) c->y[i] = y, c->threshold[i] = threshold;
        return;
    }
    add_point(c, x, y, threshold);
}

void curve_lift(const struct binary_rank *r, struct curve *out)
{
    double positive = share_of(r->n_pos, r->n);
    out->n = 0;
    for (size_t i = 0; i < CURVE_STEPS; i++) {
        double t = step_threshold(r, i);
        struct curve_count k = curve_above(r, t);
        double precision = k.tp + k.fp ? share_of(k.tp, k.tp + k.fp) : 1;
        add_best(out, share_of(k.tp + k.fp, r->n), r->n_pos ? precision / positive : DBL_MAX, t);
    }
    add_point(out, 1, 1, 0);
}

void curve_gain(const struct binary_rank *r, struct curve *out)
{
    out->n = 0;
    for (size_t i = 0; i < CURVE_STEPS; i++) {
        double t = step_threshold(r, i);
        struct curve_count k = curve_above(r, t);
        add_best(out, share_of(k.tp + k.fp, r->n), r->n_pos ? share_of(k.tp, r->n_pos) : 1, t);
    }
    add_point(out, 1, 1, 0);
}

void curve_accuracy(const struct binary_rank *r, struct curve *out)
{
    out->n = 0;
    for (size_t i = 0; i < CURVE_STEPS; i++) {
        double t = step_threshold(r, i);
        struct curve_count k = curve_above(r, t);
        add_point(out, step_share(i), share_of(k.tp + (r->n - r->n_pos - k.fp), r->n), t);
    }
}

void curve_precision_recall(const struct binary_rank *r, struct curve *precision, struct curve *recall)
{
    struct curve best = {0}; /* x: true positives, y: precision */
    size_t step[CURVE_POINTS];
    for (size_t i = 0; i <= CURVE_STEPS; i++) { /* the last one is just below the lowest of the 100 */
        double t = i < CURVE_STEPS ? step_threshold(r, i) : step_threshold(r, CURVE_STEPS - 1) - 0.001;
        struct curve_count k = curve_above(r, t);
        size_t j = 0;
        while (j < best.n && best.x[j] != (double)k.tp)
            j++;
        double y = k.tp + k.fp ? share_of(k.tp, k.tp + k.fp) : 1;
        if (j < best.n && y <= best.y[j]) continue;
        if (j == best.n) add_point(&best, (double)k.tp, y, t);
        best.y[j] = y, best.threshold[j] = t, step[j] = i;
    }
    precision->n = recall->n = 0;
    for (size_t j = 0; j < best.n; j++) {
        double x = step[j] < CURVE_STEPS ? step_share(step[j]) : 1;
        add_point(precision, x, best.y[j], best.threshold[j]);
        add_point(recall, x, best.x[j] / (double)r->n_pos, best.threshold[j]);
    }
    if (step[best.n - 1] == CURVE_STEPS) precision->n_thresholds--, recall->n_thresholds--;
}

/* A cut between two others on a line with them tells nothing more. */
static bool is_corner(const struct binary_rank *r, size_t i)
{
    if (i == 0 || i + 1 == r->n_cuts) return true;
    return r->tp[i + 1] - r->tp[i] != r->tp[i] - r->tp[i - 1] ||
           r->fp[i + 1] - r->fp[i] != r->fp[i] - r->fp[i - 1];
}

void curve_roc(const struct binary_rank *r, struct curve *out)
{
    size_t n = 1, at = 0, cut = 0; /* the point of no row stands before the first cut */
    for (size_t i = 0; i < r->n_cuts; i++)
        n += is_corner(r, i);
    out->n = 0;
    for (size_t i = 0; i < CURVE_STEPS; i++) {
        size_t want = step_of(n, step_share(i));
        if (i && want == at) continue; /* the same point again */
        if (want == 0) {
            add_point(out, 0, 0, r->cut[0] + 1);
            continue;
        }
        while (at < want) {
            while (!is_corner(r, cut))
                cut++;
            at++, cut++;
        }
        add_point(out, share_of(r->fp[cut - 1], r->n - r->n_pos), share_of(r->tp[cut - 1], r->n_pos),
                  r->cut[cut - 1]);
    }
    add_point(out, 1, 1, 1);
}

/* ---- tables ---- */

void curve_confusion(const struct binary_rank *r, struct confusion *out)
{
    uint64_t n_pos = r->n_pos, n_neg = r->n - r->n_pos;
    for (size_t i = 0; i < CURVE_STEPS; i++) {
        double t = out->threshold[i] = step_share(i);
        struct curve_count k = curve_above(r, t);
        out->tp[i] = k.tp, out->fp[i] = k.fp, out->fn[i] = n_pos - k.tp, out->tn[i] = n_neg - k.fp;
        double p = k.tp + k.fp ? share_of(k.tp, k.tp + k.fp) : 1, q = n_pos ? share_of(k.tp, n_pos) : 0;
        out->f1[i] = 2 * (p * q) / (p + q == 0 ? 1e-6 : p + q);
    }
}

/* The k-th 20-quantile of the rows: the score nearest to it, of two the one at the even position. */
static double quantile(const struct binary_rank *r, size_t k)
{
    size_t i = (size_t)rint((double)(5 * k) / 100 * (double)(r->n - 1));
    return score_at(r, r->n - 1 - i);
}

void curve_quantile_pr(const struct binary_rank *r, struct quantile_pr *out)
{
    for (size_t i = 0; i < CURVE_QUANTILES; i++) {
        double t = out->threshold[i] = quantile(r, i);
        struct curve_count k = curve_above(r, t);
        out->precision[i] = k.tp + k.fp ? share_of(k.tp, k.tp + k.fp) : 1;
        out->recall[i] = share_of(k.tp, r->n_pos);
    }
}

/* Rows of bin i of s. */
static struct curve_count bin_count(const struct binary_rank *r, const struct stability *s, size_t i)
{
    struct curve_count from = curve_from(r, s->edge[i]),
                       to = i + 1 < s->n ? curve_from(r, s->edge[i + 1]) : curve_above(r, s->edge[i + 1]);
    return (struct curve_count){from.tp - to.tp, from.fp - to.fp};
}

static double bin_share(struct curve_count k, const struct binary_rank *r)
{
    uint64_t n = k.tp + k.fp;
    return (n ? (double)n : 1e-6) / (double)r->n;
}

void curve_stability(const struct binary_rank *train, const struct binary_rank *validate,
                     struct stability *out)
{
    size_t n_edges = 0;
    for (size_t i = 0; i < CURVE_QUANTILES; i++) {
        double q = quantile(train, i);
        if (n_edges == 0 || q > out->edge[n_edges - 1]) out->edge[n_edges++] = q;
    }
    if (n_edges == 1) out->edge[n_edges++] = out->edge[0]; /* all scores alike: one bin of one value */
    out->n = n_edges - 1, out->total = 0;
    for (size_t i = 0; i < out->n; i++) {
        struct curve_count a = bin_count(train, out, i), b = bin_count(validate, out, i);
        out->train[i] = a.tp + a.fp, out->validate[i] = b.tp + b.fp;
        out->train_share[i] = bin_share(a, train), out->validate_share[i] = bin_share(b, validate);
        out->train_positive[i] = out->train[i] ? share_of(a.tp, out->train[i]) : 0;
        out->validate_positive[i] = out->validate[i] ? share_of(b.tp, out->validate[i]) : 0;
        out->psi[i] = (out->validate_share[i] - out->train_share[i]) *
                      log(out->validate_share[i] / out->train_share[i]);
        out->total += out->psi[i];
    }
}
