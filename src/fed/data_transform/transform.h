/* transform.h - what DataTransform does to a table, apart from jobs and models: which columns become what, and which
 * cells are replaced.
 *
 * A cell of a feature is missing when its column says so or when it equals a text of missing.match; it is an outlier
 * when it equals a text of outlier.match. Numbers are compared as numbers ("-999" and -999.0 are one), texts byte by
 * byte. Missing cells are replaced first, then outliers, so a value that was filled in may be an outlier in turn. */
#pragma once
#include "base/js.h"
#include "table/table.h"

enum dt_type { DT_FLOAT, DT_INT, DT_STR };
/* "int", "int64", "long", "float", "float64", "str": false = none of these. */
bool dt_type_parse(const char *name, enum dt_type *out);

enum dt_method { DT_DESIGNATED, DT_MIN, DT_MAX, DT_MEAN };

struct dt_rule {
    const char *name; /* "missing_fill", "outlier_replace": for messages */
    bool on;
    enum dt_method method;
    const char *strategy; /* FATE's spelling of the method; "" when none was given, which is DT_DESIGNATED */
    const char *const *match; /* texts; n_match of them */
    size_t n_match;
    bool listed; /* the texts were given; otherwise they are FATE's usual ones */
    /* What training is told to put in, one for all features or one each; NULL once value is known. */
    const char *const *designated;
    size_t n_designated;
    /* Per feature in the header's order, what replaces a cell; NULL in a rule that is off. */
    const char *const *value;
    const double *rate; /* share of cells replaced, of training; NULL otherwise */
};

struct dt_spec {
    const char *delimitor, *data_type, *output_format;
    bool with_label;
    const char *label_name, *label_type; /* NULL without label */
    size_t n_exclusive;
    const char *const *exclusive_name, *const *exclusive_type; /* columns with a type of their own */
    struct dt_rule missing, outlier;
    size_t n_features;
    const char *const *header, *const *anonymous; /* NULL before training */
};

/* Writes the transformed table at path. prefix: "guest_9999". In training (learn) the columns of t that are neither label
 * nor match id nor weight become the header, under anonymous names "<prefix>_x<k>", and the rules' values and rates are
 * found; all of it is put into spec and lives in cx->mem. Otherwise spec's are used: t must have every column of the
 * header, others are left out, and a label may be absent. When no cell changes, the new table shares t's columns. ARG or
 * FORMAT names column, row (1 = the first) and what was wanted, never a cell's value. */
status dt_transform(struct ctx *cx, const struct table *t, const char *prefix, bool learn,
                    struct dt_spec *spec, const char *path,
                    void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg);
