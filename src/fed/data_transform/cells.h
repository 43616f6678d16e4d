/* cells.h - one column on its way through DataTransform: its cells sorted into plain, missing and outlying ones,
 * counted, and replaced. Used inside this folder only. */
#pragma once
#include "fed/data_transform/transform.h"

enum { DT_MISSING, DT_OUTLIER, DT_RULES };

/* The texts of a rule made ready to compare. */
struct dt_match {
    const double *number; /* those that are numbers */
    size_t n_numbers;
    const char *const *text;
    size_t n_texts;
    bool missing; /* one of them stands for a missing cell: "", "nan", "null", ... */
};
status dt_match_make(struct ctx *cx, const struct dt_rule *r, struct dt_match *out);

struct dt_job {
    const struct table *t;
    const struct dt_rule *rule[DT_RULES];
    struct dt_match match[DT_RULES];
    bool learn;
};

struct dt_column {
    const struct column *from;
    const char *anonymous;
    enum col_kind kind;
    bool feature;          /* the rules are for features only */
    bool pass;             /* neither feature nor label: copied as it is */
    enum dt_type type;     /* what its cells are to be, ... */
    const char *type_name; /* ... as the user wrote it */
    enum col_type out;
    /* What replaces a cell, by rule; NULL: the rule is off. Known before a scan unless the scan learns it. */
    const char *fill[DT_RULES];
    double fill_f64[DT_RULES]; /* the same as a number */
    /* Found by dt_column_scan: */
    double rate[DT_RULES]; /* share of cells that the rule replaces */
    bool changes;          /* the outgoing column differs from the incoming one */
};
/* Reads every cell once: checks that each fits the column's type, finds rates and whether anything changes and, when
 * job->learn, fill_f64 of the rules that take a statistic. Its own memory is a few blocks of cells. */
status dt_column_scan(struct ctx *cx, const struct dt_job *job, struct dt_column *c);
/* Parses fill into fill_f64 where the column's type wants numbers; ARG names rule and column. */
status dt_column_fills(struct ctx *cx, const struct dt_job *job, struct dt_column *c);
/* Rows [begin, begin + n) of the outgoing column into out: n doubles, int64_t or struct bytes, as c->out says. Texts live
 * in the table, in c, or in `text` (DT_TEXT bytes a row). The column was scanned. */
#define DT_TEXT 64
status dt_column_write(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t begin,
                       size_t n, void *out, char *text);
