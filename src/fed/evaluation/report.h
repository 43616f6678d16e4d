/* report.h - metrics as FATE names, rounds and shapes them. */
#pragma once
#include "fed/component.h"
#include "learn/curves.h"

/* The namespace is the rows' type ("train"), names begin with the component that predicted them ("hetero_lr_0"). */
struct report_of {
    struct task *t;
    const char *type, *component;
};
double report_round(double x);   /* to 6 places, as numpy does */
json_t *report_number(double x); /* infinite: FATE's -9999999; NaN: null */

/* A single value. All of a component stand in one metric of the component's name: begin, add each, end. */
struct report_values {
    json_t *points; /* owned until report_values_end */
};
status report_values_add(struct ctx *cx, struct report_values *v, const char *metric, double x);
status report_values_end(struct ctx *cx, const struct report_of *o,
                         struct report_values *v); /* none: no metric */

struct report_style {
    const char *suffix; /* of the name: "ks_fpr" */
    const char *type;   /* "KS_EVALUATION" */
    const char *curve;  /* NULL: the component's name; else that and "_" and this */
    bool paired;
    const char *unit, *ordinate; /* NULL: none */
};
status report_curve(struct ctx *cx, const struct report_of *o, const struct report_style *s,
                    const struct curve *c);
/* x: class numbers. */
status report_classes(struct ctx *cx, const struct report_of *o, const struct report_style *s,
                      const int64_t *x, const double *y, size_t n);
status report_confusion(struct ctx *cx, const struct report_of *o, const struct confusion *c);
status report_f1(struct ctx *cx, const struct report_of *o, const struct confusion *c);
status report_quantile_pr(struct ctx *cx, const struct report_of *o, const struct quantile_pr *q);
status report_stability(struct ctx *cx, const struct report_of *o, const struct stability *s);
/* One class against the rest; found false: FATE's empty entry. */
status report_one_vs_rest(struct ctx *cx, const struct report_of *o, const char *class_name, bool found,
                          double auc, double ks);
