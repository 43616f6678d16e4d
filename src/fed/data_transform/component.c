/* Component DataTransform: says which column of a stored table is the label and which are features, gives them the
 * types that algorithms want, fills missing cells and replaces outliers. What it learns in training (header, values) is
 * its model, by which predicting treats other rows alike. Nothing is sent to anyone. */
#include "base/arena.h"
#include "fed/component.h"
#include "fed/data_transform/model.h"
#include <string.h>

#define TYPES   "int|int64|float|float64|str|long"
#define METHODS "min|max|mean|designated"
#define TAGS    "for input_format tag, which norn does not read yet"

static const struct param params[] = {
    {"input_format", PARAM_STR, false, "\"dense\"", "dense|sparse|tag", 0, 0, PARAM_BUILT,
     "dense: a table of columns; sparse and tag are not built"},
    {"delimitor", PARAM_STR, false, "\",\"", NULL, 0, 0, PARAM_BUILT,
     "what separates the cells of the uploaded file; the upload has split them already"},
    {"data_type", PARAM_STR, false, "\"float64\"", TYPES, 0, 0, PARAM_BUILT, "type of the features"},
    {"exclusive_data_type", PARAM_MAP, true, "null", NULL, 0, 0, PARAM_BUILT,
     "{column: type} of features that differ from data_type"},
    {"tag_with_value", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, TAGS},
    {"tag_value_delimitor", PARAM_STR, false, "\":\"", NULL, 0, 0, PARAM_UNBUILT, TAGS},
    {"missing_fill", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT, "fill missing cells of features"},
    {"default_value", PARAM_ANY, true, "0", NULL, 0, 0, PARAM_BUILT,
     "what fills with missing_fill_method designated or null: a value, or a list with one a feature"},
    {"missing_fill_method", PARAM_STR, true, "null", METHODS, 0, 0, PARAM_BUILT,
     "the column's min, max or mean, or default_value (designated, null)"},
    {"missing_impute", PARAM_LIST, true, "null", NULL, 0, 0, PARAM_BUILT,
     "values that mean missing, besides cells that are"},
    {"outlier_replace", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT, "replace outliers of features"},
    {"outlier_replace_method", PARAM_STR, true, "null", METHODS, 0, 0, PARAM_BUILT,
     "the column's min, max or mean, or outlier_replace_value (designated, null)"},
    {"outlier_impute", PARAM_LIST, true, "null", NULL, 0, 0, PARAM_BUILT,
     "values that are outliers; null: missing cells"},
    {"outlier_replace_value", PARAM_ANY, true, "0", NULL, 0, 0, PARAM_BUILT,
     "as default_value, for outliers"},
    {"with_label", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT, "the table has a label"},
    {"label_name", PARAM_STR, true, "\"y\"", NULL, 0, 0, PARAM_BUILT, "its column, with with_label"},
    {"label_type", PARAM_STR, false, "\"int\"", TYPES, 0, 0, PARAM_BUILT, "its type"},
    {"output_format", PARAM_STR, false, "\"dense\"", "dense|sparse", 0, 0, PARAM_BUILT,
     "norn's tables are columns for both: the values are the same"},
    {"need_run", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT, "false: the input passes as it is"},
    {"with_match_id", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT,
     "upload the table with the match id as its id column"},
    {"match_id_name", PARAM_STR, true, "\"\"", NULL, 0, 0, PARAM_UNBUILT,
     "upload the table with the match id as its id column"},
    {"match_id_index", PARAM_INT, false, "0", NULL, 0, 1e9, PARAM_UNBUILT,
     "upload the table with the match id as its id column"},
};

/* ---- from parameters to a spec ---- */

/* A value as Python's str() shows it: what the model keeps. NULL: neither number nor text. */
static const char *value_text(struct ctx *cx, const json_t *v)
{
    const char *text;
    if (json_is_string(v)) return arena_strdup(cx->mem, json_string_value(v));
    if (!json_is_number(v) || js_text(cx, v, &text).code) return NULL;
    return text;
}

/* A list of values, or one value as a list of one; null elements are skipped. */
static status value_list(struct ctx *cx, const char *name, const json_t *v, const char *const **out,
                         size_t *n)
{
    size_t size = json_is_array(v) ? json_array_size(v) : 1;
    const char **list = NEW(cx, const char *, size + 1);
    if (!list) return FAIL(cx, NOMEM, "parameter %s", name);
    *n = 0;
    for (size_t i = 0; i < size; i++) {
        const json_t *x = json_is_array(v) ? json_array_get(v, i) : v;
        if (json_is_array(v) && json_is_null(x) && strstr(name, "impute")) continue;
        list[*n] = value_text(cx, x);
        if (!list[(*n)++])
            return FAIL(cx, ARG, "parameter %s%s is neither a number nor a text", name,
                        json_is_array(v) ? arena_printf(cx->mem, "[%zu]", i) : "");
    }
    *out = list;
    return OK;
}

static const char *const usual_missing[] = {"", "none", "null", "na", "None", "nan"}; /* FATE's */

static status read_rule(struct ctx *cx, const json_t *p, const char *name, const char *method,
                        const char *match, const char *value, struct dt_rule *out)
{
    static const char *const methods[] = {
        [DT_DESIGNATED] = "designated", [DT_MIN] = "min", [DT_MAX] = "max", [DT_MEAN] = "mean"};
    const char *m = json_string_value(json_object_get(p, method));
    *out =
        (struct dt_rule){.name = name, .on = json_is_true(json_object_get(p, name)), .strategy = m ? m : ""};
    for (size_t i = 0; m && i < LEN(methods); i++)
        if (strcmp(m, methods[i]) == 0) out->method = (enum dt_method)i;
    const json_t *list = json_object_get(p, match), *put = json_object_get(p, value);
    out->match = usual_missing, out->n_match = LEN(usual_missing);
    if (json_is_array(list)) {
        out->listed = true;
        TRY(value_list(cx, match, list, &out->match, &out->n_match));
    }
    CLEANUP(json_decrefp) json_t *zero = json_integer(0);
    if (!zero) return FAIL(cx, NOMEM, "parameter %s", value);
    return value_list(cx, value, json_is_null(put) ? zero : put, &out->designated, &out->n_designated);
}

static status read_exclusive(struct ctx *cx, const json_t *p, struct dt_spec *out)
{
    json_t *map = json_object_get(p, "exclusive_data_type"), *v;
    const char *key, **name = NEW(cx, const char *, json_object_size(map) + 1),
                     **type = NEW(cx, const char *, json_object_size(map) + 1);
    if (!name || !type) return FAIL(cx, NOMEM, "parameter exclusive_data_type");
    json_object_foreach(map, key, v)
    {
        enum dt_type t;
        const char *s = json_string_value(v);
        if (!s || !dt_type_parse(s, &t))
            return FAIL(cx, ARG, "parameter exclusive_data_type.%.60s is %s%.20s, want one of " TYPES, key,
                        s ? "" : "no text", s ? s : "");
        name[out->n_exclusive] = key, type[out->n_exclusive++] = s;
    }
    out->exclusive_name = name, out->exclusive_type = type;
    return OK;
}

/* Borrows texts of p. */
static status read_spec(struct ctx *cx, const json_t *p, struct dt_spec *out)
{
    const char *format = json_string_value(json_object_get(p, "input_format"));
    if (strcmp(format, "dense") != 0)
        return FAIL(
            cx, UNSUPPORTED,
            "parameter input_format is %s: norn has not built this; only dense is accepted. Upload a table "
            "of columns",
            format);
    *out = (struct dt_spec){.delimitor = json_string_value(json_object_get(p, "delimitor")),
                            .data_type = json_string_value(json_object_get(p, "data_type")),
                            .output_format = json_string_value(json_object_get(p, "output_format")),
                            .with_label = json_is_true(json_object_get(p, "with_label"))};
    if (!*out->delimitor) return FAIL(cx, ARG, "parameter delimitor is empty");
    if (out->with_label) {
        out->label_name = json_string_value(json_object_get(p, "label_name"));
        out->label_type = json_string_value(json_object_get(p, "label_type"));
        if (!out->label_name || !*out->label_name)
            return FAIL(cx, ARG,
                        "parameter label_name is %s, but with_label is true: name the label's column",
                        out->label_name ? "empty" : "null");
    }
    TRY(read_exclusive(cx, p, out));
    TRY(read_rule(cx, p, "missing_fill", "missing_fill_method", "missing_impute", "default_value",
                  &out->missing));
    return read_rule(cx, p, "outlier_replace", "outlier_replace_method", "outlier_impute",
                     "outlier_replace_value", &out->outlier);
}

static status check(struct ctx *cx, const json_t *p)
{
    struct dt_spec spec;
    return read_spec(cx, p, &spec);
}

/* ---- summary ---- */

/* A value as a number where it is one. */
static json_t *value_json(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, JSON_DECODE_ANY, &e);
    if (json_is_number(j)) return j;
    json_decref(j);
    return json_string(text);
}

static status rule_summary(struct ctx *cx, const struct dt_spec *s, const struct dt_rule *r, const char *key,
                           const char *const name[3], json_t *out)
{
    json_t *match = json_array(), *value = json_object(), *rate = json_object();
    json_t *j = json_pack("{s:o,s:o,s:o}", name[0], match, name[1], value, name[2], rate);
    if (!j || json_object_set_new(out, key, j)) return FAIL(cx, NOMEM, "summary");
    bool bad = false;
    for (size_t i = 0; i < r->n_match; i++)
        bad = json_array_append_new(match, r->listed ? value_json(r->match[i]) : json_string(r->match[i])) ||
              bad;
    for (size_t k = 0; k < s->n_features; k++) {
        bad = json_object_set_new(value, s->header[k], value_json(r->value[k])) || bad;
        bad = json_object_set_new(rate, s->header[k], json_real(r->rate[k])) || bad;
    }
    return bad ? FAIL(cx, NOMEM, "summary") : OK;
}

static status report(struct ctx *cx, struct task *t, const struct dt_spec *s)
{
    static const char *const missing[] = {"missing_value", "missing_impute_value", "missing_impute_rate"};
    static const char *const outlier[] = {"outlier_value", "outlier_replace_value", "outlier_replace_rate"};
    if (!s->missing.on && !s->outlier.on) return OK;
    CLEANUP(json_decrefp) json_t *j = json_object();
    if (!j) return FAIL(cx, NOMEM, "summary");
    if (s->missing.on) TRY(rule_summary(cx, s, &s->missing, "missing_fill_info", missing, j));
    if (s->outlier.on) TRY(rule_summary(cx, s, &s->outlier, "outlier_replace_rate", outlier, j));
    return task_summary(cx, t, j);
}

/* ---- run ---- */

static void on_progress(void *task, uint64_t done, uint64_t all)
{
    task_progress(task, "rows", done, all);
}

/* need_run false: the rows and columns as they came. */
static status pass(struct ctx *cx, struct task *t, const struct table *in, const char *path)
{
    uint32_t *rows = NEW(cx, uint32_t, in->n_rows + 1);
    if (!rows) return FAIL(cx, NOMEM, "%zu row numbers", in->n_rows);
    for (size_t i = 0; i < in->n_rows; i++)
        rows[i] = (uint32_t)i;
    TRY(table_derive(cx, path, in, rows, in->n_rows, NULL, in->meta));
    task_progress(t, "rows", in->n_rows, in->n_rows);
    return OK;
}

static status run(struct ctx *cx, struct task *t)
{
    const struct table *in = task_input(t, "data");
    const struct model_part *trained = task_model(t);
    const char *path, *prefix = arena_printf(cx->mem, "%s_%u", role_name(t->me.role), t->me.id);
    struct dt_spec spec = {0};
    bool needed = task_bool(t, "need_run");
    if (!in) return FAIL(cx, ARG, "want input data");
    if (!prefix) return FAIL(cx, NOMEM, "column names");
    TRY(task_output_path(cx, t, 0, &path));
    if (needed && trained)
        TRY_IN(cx, dt_model_load(cx, trained, &spec, &needed), "model of %s", trained->component);
    else if (needed)
        TRY(read_spec(cx, t->params, &spec));
    if (!needed) {
        TRY(pass(cx, t, in, path));
        return trained ? OK : dt_model_save(cx, NULL, t->instance, &t->model_out);
    }
    TRY(dt_transform(cx, in, prefix, !trained, &spec, path, on_progress, t));
    if (trained) return OK;
    TRY(report(cx, t, &spec));
    return dt_model_save(cx, &spec, t->instance, &t->model_out);
}

static const char *const data_in[] = {"data", NULL};
extern const struct component component_data_transform;
const struct component component_data_transform = {
    .module = "DataTransform",
    .text = "Names the label, gives features their types, fills missing cells, replaces outliers.",
    .params = params,
    .n_params = LEN(params),
    .data_in = data_in,
    .required_in = data_in,
    .takes_model = true,
    .gives_data = true,
    .gives_model = true,
    .run = {[ROLE_GUEST] = run, [ROLE_HOST] = run},
    .check = check,
};
