#include "fed/evaluation/report.h"
#include "base/arena.h"
#include "base/num.h"
#include <math.h>
#include <stdio.h>

double report_round(double x)
{
    double y = rint(x * 1e6) / 1e6;
    return isfinite(y) ? y : x;
}

json_t *report_number(double x)
{
    return isnan(x) ? json_null() : json_real(isinf(x) ? -9999999.0 : x);
}

static json_t *rounded(double x)
{
    return report_number(report_round(x));
}

static json_t *rounded_list(const double *x, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, rounded(x[i]));
    return a;
}

static json_t *exact_list(const double *x, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, report_number(x[i]));
    return a;
}

static json_t *count_list(const uint64_t *x, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, json_integer((json_int_t)x[i]));
    return a;
}

/* Steals meta and points (NULL: none); either may be broken by want of memory. */
static status emit(struct ctx *cx, const struct report_of *o, const char *name, json_t *meta, json_t *points)
{
    CLEANUP(json_decrefp) json_t *m = meta;
    CLEANUP(json_decrefp) json_t *p = points ? points : json_array();
    if (!m || !p || !name) return FAIL(cx, NOMEM, "a metric");
    return task_metric(cx, o->t, o->type, name, m, p);
}

static const char *name_of(struct ctx *cx, const struct report_of *o, const char *suffix)
{
    return arena_printf(cx->mem, "%s_%s", o->component, suffix);
}

/* ---- values ---- */

status report_values_add(struct ctx *cx, struct report_values *v, const char *metric, double x)
{
    if (!v->points) v->points = json_array();
    if (json_array_append_new(v->points, json_pack("[s,o]", metric, rounded(x))))
        return FAIL(cx, NOMEM, "metric %s", metric);
    return OK;
}

status report_values_end(struct ctx *cx, const struct report_of *o, struct report_values *v)
{
    json_t *points = TAKE(v->points);
    if (!points) return OK;
    return emit(cx, o, o->component,
                json_pack("{s:s,s:s}", "metric_type", "EVALUATION_SUMMARY", "name", o->component), points);
}

/* ---- curves ---- */

static json_t *curve_meta(struct ctx *cx, const struct report_of *o, const struct report_style *s,
                          const char *name)
{
    json_t *m = json_pack("{s:s,s:s}", "name", name, "metric_type", s->type);
    const char *curve = s->curve ? name_of(cx, o, s->curve) : o->component;
    if (!m || !curve || json_object_set_new(m, "curve_name", json_string(curve))) return NULL;
    if (s->unit) json_object_set_new(m, "unit_name", json_string(s->unit));
    if (s->ordinate) json_object_set_new(m, "ordinate_name", json_string(s->ordinate));
    if (s->paired) json_object_set_new(m, "pair_type", json_string(o->component));
    return m;
}

status report_curve(struct ctx *cx, const struct report_of *o, const struct report_style *s,
                    const struct curve *c)
{
    double x[CURVE_POINTS], y[CURVE_POINTS];
    for (size_t i = 0; i < c->n; i++) { /* sorted by the rounded x; equal ones keep their order */
        double xi = report_round(c->x[i]);
        size_t j = i;
        for (; j > 0 && x[j - 1] > xi; j--)
            x[j] = x[j - 1], y[j] = y[j - 1];
        x[j] = xi, y[j] = report_round(c->y[i]);
    }
    json_t *points = json_array();
    for (size_t i = 0; i < c->n; i++)
        json_array_append_new(points, json_pack("[o,o]", report_number(x[i]), report_number(y[i])));
    const char *name = name_of(cx, o, s->suffix);
    json_t *meta = name ? curve_meta(cx, o, s, name) : NULL;
    if (meta) json_object_set_new(meta, "thresholds", rounded_list(c->threshold, c->n_thresholds));
    return emit(cx, o, name, meta, points);
}

status report_classes(struct ctx *cx, const struct report_of *o, const struct report_style *s,
                      const int64_t *x, const double *y, size_t n)
{
    json_t *points = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(points, json_pack("[I,o]", (json_int_t)x[i], rounded(y[i])));
    const char *name = name_of(cx, o, s->suffix);
    return emit(cx, o, name, name ? curve_meta(cx, o, s, name) : NULL, points);
}

/* ---- tables ---- */

status report_confusion(struct ctx *cx, const struct report_of *o, const struct confusion *c)
{
    const char *name = name_of(cx, o, "confusion_mat");
    return emit(cx, o, name,
                json_pack("{s:s?,s:s,s:o,s:o,s:o,s:o,s:o}", "name", name, "metric_type", "CONFUSION_MAT",
                          "tp", count_list(c->tp, CURVE_STEPS), "tn", count_list(c->tn, CURVE_STEPS), "fp",
                          count_list(c->fp, CURVE_STEPS), "fn", count_list(c->fn, CURVE_STEPS), "thresholds",
                          rounded_list(c->threshold, CURVE_STEPS)),
                NULL);
}

status report_f1(struct ctx *cx, const struct report_of *o, const struct confusion *c)
{
    const char *name = name_of(cx, o, "f1_score");
    return emit(cx, o, name,
                json_pack("{s:s?,s:s,s:o,s:o}", "name", name, "metric_type", "F1_SCORE", "f1_scores",
                          rounded_list(c->f1, CURVE_STEPS), "thresholds",
                          rounded_list(c->threshold, CURVE_STEPS)),
                NULL);
}

/* FATE's pairs: 0 for the negative class, which it does not compute, and the value. */
static json_t *pair_list(const double *x, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, json_pack("[f,o]", 0.0, rounded(x[i])));
    return a;
}

status report_quantile_pr(struct ctx *cx, const struct report_of *o, const struct quantile_pr *q)
{
    const char *name = name_of(cx, o, "quantile_pr");
    return emit(cx, o, name,
                json_pack("{s:s?,s:s,s:o,s:o,s:o}", "name", name, "metric_type", "QUANTILE_PR", "p_scores",
                          pair_list(q->precision, CURVE_QUANTILES), "r_scores",
                          pair_list(q->recall, CURVE_QUANTILES), "thresholds",
                          rounded_list(q->threshold, CURVE_QUANTILES)),
                NULL);
}

/* "[0.1, 0.25)" */
static json_t *interval_list(const struct stability *s)
{
    json_t *a = json_array();
    for (size_t i = 0; i < s->n; i++) {
        char from[32], to[32], text[72];
        from[num_format_f64(report_round(s->edge[i]), from)] = 0;
        to[num_format_f64(report_round(s->edge[i + 1]), to)] = 0;
        snprintf(text, sizeof text, "[%s, %s%c", from, to, i + 1 < s->n ? ')' : ']');
        json_array_append_new(a, json_string(text));
    }
    return a;
}

status report_stability(struct ctx *cx, const struct report_of *o, const struct stability *s)
{
    const char *name = name_of(cx, o, "psi");
    return emit(cx, o, name,
                json_pack("{s:s?,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", name, "metric_type",
                          "PSI", "psi_scores", rounded_list(s->psi, s->n), "total_psi", rounded(s->total),
                          "expected_interval", count_list(s->train, s->n), "expected_percentage",
                          exact_list(s->train_share, s->n), "actual_interval", count_list(s->validate, s->n),
                          "actual_percentage", exact_list(s->validate_share, s->n), "intervals",
                          interval_list(s), "train_pos_perc", exact_list(s->train_positive, s->n),
                          "validate_pos_perc", exact_list(s->validate_positive, s->n)),
                NULL);
}

status report_one_vs_rest(struct ctx *cx, const struct report_of *o, const char *class_name, bool found,
                          double auc, double ks)
{
    json_t *meta = json_pack("{s:s,s:s}", "name", o->component, "metric_type", "ovr");
    if (meta && found &&
        json_object_set_new(meta, class_name,
                            json_pack("{s:o,s:o}", "auc", report_number(auc), "ks", report_number(ks)))) {
        json_decref(meta);
        return FAIL(cx, FORMAT, "a class's name is not UTF-8");
    }
    return emit(cx, o, arena_printf(cx->mem, "%s_class_%s_ovr", o->component, class_name), meta, NULL);
}
