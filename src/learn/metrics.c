/* metrics.c - see metrics.h; definitions as in scikit-learn. */
#include "learn/metrics.h"
#include "base/arena.h"
#include "learn/sort.h"
#include <math.h>
#include <string.h>

/* ---- binary ---- */

/* The scores of one class ascending. */
struct side {
    uint64_t *key;
    size_t n;
};

static status check_binary(struct ctx *cx, const double *y, const double *score, size_t n)
{
    if (n > UINT32_MAX) return FAIL(cx, LIMIT, "%zu rows, at most %u", n, UINT32_MAX);
    for (size_t i = 0; i < n; i++) {
        if (isnan(score[i])) return FAIL(cx, ARG, "row %zu: the score is missing", i + 1);
        if (y[i] != 0 && y[i] != 1) return FAIL(cx, ARG, "row %zu: label %g, want 0 or 1", i + 1, y[i]);
    }
    return OK;
}

static status sort_side(struct ctx *cx, const double *y, const double *score, size_t n, double which,
                        struct side *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += y[i] == which;
    uint64_t *a = NEW(cx, uint64_t, k + 1), *b = NEW(cx, uint64_t, k + 1);
    if (!a || !b) return FAIL(cx, NOMEM, "ranking %zu scores", k);
    k = 0;
    for (size_t i = 0; i < n; i++)
        if (y[i] == which) a[k++] = sort_key(score[i]);
    *out = (struct side){sort_keys(a, b, k), k};
    return OK;
}

/* Rows of a side, from the top, that are at `cut` after the first `at`: -0.0 counts as 0.0. */
static size_t run_at(const struct side *s, size_t at, double cut)
{
    size_t end = at;
    while (end < s->n && sort_value(s->key[s->n - 1 - end]) == cut)
        end++;
    return end - at;
}

status binary_rank(struct ctx *cx, const double *y, const double *score, size_t n, struct binary_rank *out)
{
    TRY(check_binary(cx, y, score, n));
    double *cut = NEW(cx, double, n + 1);
    uint64_t *tp = NEW(cx, uint64_t, n + 1), *fp = NEW(cx, uint64_t, n + 1);
    if (!cut || !tp || !fp) return FAIL(cx, NOMEM, "ranking %zu scores", n);
    struct arena_mark mark = arena_mark(cx->mem);
    struct side pos = {0}, neg = {0};
    TRY(sort_side(cx, y, score, n, 1, &pos));
    TRY(sort_side(cx, y, score, n, 0, &neg));
    size_t k = 0, p = 0, q = 0;
    for (; p < pos.n || q < neg.n; k++) { /* both from the top */
        double a = p < pos.n ? sort_value(pos.key[pos.n - 1 - p]) : -(double)INFINITY;
        double b = q < neg.n ? sort_value(neg.key[neg.n - 1 - q]) : -(double)INFINITY;
        cut[k] = a > b ? a : b;
        p += run_at(&pos, p, cut[k]);
        q += run_at(&neg, q, cut[k]);
        tp[k] = p, fp[k] = q;
    }
    *out = (struct binary_rank){.n = n, .n_pos = pos.n, .n_cuts = k, .cut = cut, .tp = tp, .fp = fp};
    arena_rewind(cx->mem, mark);
    return OK;
}

static status both_classes(struct ctx *cx, const struct binary_rank *r)
{
    if (r->n_pos > 0 && r->n_pos < r->n) return OK;
    return FAIL(cx, ARG, "%zu of %zu labels are positive: both classes are needed", r->n_pos, r->n);
}

status metric_auc(struct ctx *cx, const struct binary_rank *r, double *out)
{
    TRY(both_classes(cx, r));
    double area = 0; /* twice, in whole rows: exact up to 2^53 */
    uint64_t tp = 0, fp = 0;
    for (size_t i = 0; i < r->n_cuts; i++) {
        area += (double)(r->fp[i] - fp) * (double)(r->tp[i] + tp);
        tp = r->tp[i], fp = r->fp[i];
    }
    *out = area / 2 / (double)r->n_pos / (double)(r->n - r->n_pos);
    return OK;
}

status metric_ks(struct ctx *cx, const struct binary_rank *r, double *out, double *cut)
{
    TRY(both_classes(cx, r));
    double best = 0, at = r->cut[0];
    for (size_t i = 0; i < r->n_cuts; i++) {
        double gap = (double)r->tp[i] / (double)r->n_pos - (double)r->fp[i] / (double)(r->n - r->n_pos);
        if (gap > best) best = gap, at = r->cut[i];
    }
    *out = best, *cut = at;
    return OK;
}

double metric_logloss(const double *y, const double *p, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum -= log(fmax(y[i] > 0.5 ? p[i] : 1 - p[i], 1e-300));
    return sum / (double)n;
}

/* ---- regression ---- */

static status median_of(struct ctx *cx, const double *x, size_t n, double *out)
{
    struct arena_mark mark = arena_mark(cx->mem);
    uint64_t *a = NEW(cx, uint64_t, n), *b = NEW(cx, uint64_t, n);
    if (!a || !b) return FAIL(cx, NOMEM, "median of %zu values", n);
    for (size_t i = 0; i < n; i++)
        a[i] = sort_key(x[i]);
    const uint64_t *s = sort_keys(a, b, n);
    *out = n % 2 ? sort_value(s[n / 2]) : (sort_value(s[n / 2 - 1]) + sort_value(s[n / 2])) / 2;
    arena_rewind(cx->mem, mark);
    return OK;
}

/* 1 - lost / all; of a constant target 1 when nothing is lost, else 0. */
static double share_explained(double lost, double all)
{
    if (all > 0) return 1 - lost / all;
    return lost > 0 ? 0 : 1;
}

static status sum_errors(struct ctx *cx, const double *y, const double *pred, size_t n, double *away,
                         struct regression_metrics *out)
{
    double abs_sum = 0, sq_sum = 0, log_sum = 0, y_sum = 0, err_sum = 0, count = (double)n;
    for (size_t i = 0; i < n; i++) {
        double e = y[i] - pred[i];
        if (isnan(e)) return FAIL(cx, ARG, "row %zu: label %g, prediction %g", i + 1, y[i], pred[i]);
        double l = y[i] < 0 || pred[i] < 0 ? (double)NAN : log1p(y[i]) - log1p(pred[i]);
        away[i] = fabs(e);
        abs_sum += away[i], sq_sum += e * e, log_sum += l * l, y_sum += y[i], err_sum += e;
    }
    double y_mean = y_sum / count, e_mean = err_sum / count, y_var = 0, e_var = 0;
    for (size_t i = 0; i < n; i++) {
        double e = y[i] - pred[i] - e_mean, v = y[i] - y_mean;
        e_var += e * e, y_var += v * v;
    }
    *out = (struct regression_metrics){.explained_variance = share_explained(e_var, y_var),
                                       .mean_absolute_error = abs_sum / count,
                                       .mean_squared_error = sq_sum / count,
                                       .r2_score = share_explained(sq_sum, y_var),
                                       .root_mean_squared_error = sqrt(sq_sum / count),
                                       .mean_squared_log_error = log_sum / count};
    return OK;
}

status metric_regression(struct ctx *cx, const double *y, const double *pred, size_t n,
                         struct regression_metrics *out)
{
    if (n == 0) return FAIL(cx, ARG, "no rows to measure");
    if (n > UINT32_MAX) return FAIL(cx, LIMIT, "%zu rows, at most %u", n, UINT32_MAX);
    struct arena_mark mark = arena_mark(cx->mem);
    struct regression_metrics m;
    double *away = NEW(cx, double, n);
    if (!away) return FAIL(cx, NOMEM, "errors of %zu rows", n);
    TRY(sum_errors(cx, y, pred, n, away, &m));
    TRY(median_of(cx, away, n, &m.median_absolute_error));
    arena_rewind(cx->mem, mark);
    *out = m;
    return OK;
}

/* ---- classes ---- */

status metric_multi(struct ctx *cx, const uint32_t *truth, const uint32_t *pred, size_t n, size_t n_classes,
                    double *accuracy, double *precision, double *recall)
{
    if (n == 0) return FAIL(cx, ARG, "no rows to measure");
    struct arena_mark mark = arena_mark(cx->mem);
    size_t *hit = NEW(cx, size_t, n_classes + 1), *is = NEW(cx, size_t, n_classes + 1),
           *said = NEW(cx, size_t, n_classes + 1), hits = 0;
    if (!hit || !is || !said) return FAIL(cx, NOMEM, "%zu classes", n_classes);
    for (size_t i = 0; i < n; i++) {
        if (truth[i] >= n_classes || pred[i] >= n_classes)
            return FAIL(cx, ARG, "row %zu: class %u, predicted %u, of %zu", i + 1, truth[i], pred[i],
                        n_classes);
        is[truth[i]]++, said[pred[i]]++;
        if (truth[i] == pred[i]) hit[truth[i]]++, hits++;
    }
    for (size_t c = 0; c < n_classes; c++) {
        precision[c] = said[c] ? (double)hit[c] / (double)said[c] : 0;
        recall[c] = is[c] ? (double)hit[c] / (double)is[c] : 0;
    }
    *accuracy = (double)hits / (double)n;
    arena_rewind(cx->mem, mark);
    return OK;
}

/* ---- early stopping ---- */

bool early_stop_add(struct early_stop *s, size_t round, const char *name, bool higher_is_better, double value)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->metric[i].name, name) != 0)
        i++;
    if (i == s->n) {
        if (s->n == EARLY_STOP_METRICS) return false;
        s->metric[s->n++] = (struct early_stop_metric){name, higher_is_better, value, 0, round};
        return true;
    }
    struct early_stop_metric *m = &s->metric[i];
    bool better = m->higher_is_better ? value > m->best : value < m->best;
    if (better || (isnan(m->best) && !isnan(value))) {
        m->best = value, m->since = 0, m->best_round = round;
        return true;
    }
    m->since++;
    return true;
}

bool early_stop_due(const struct early_stop *s, size_t *best_round)
{
    if (s->n) *best_round = s->metric[0].best_round;
    for (size_t i = 0; i < s->n && s->rounds; i++) {
        if (s->metric[i].since < s->rounds) continue;
        *best_round = s->metric[i].best_round;
        return true;
    }
    return false;
}
