/* Component Reader: brings a stored table into the job. The task process finds the table that the parameters name in
 * the site's store and gives it as input "table"; the output is the same rows with anonymous column names, under which
 * other parties and models speak of this party's columns. Nothing is sent to anyone. */
#include "base/arena.h"
#include "fed/component.h"
#include <stdio.h>
#include <string.h>

static const struct param params[] = {
    {"table.name", PARAM_STR, true, "null", NULL, 0, 0, PARAM_BUILT, "name of a table of this site's store"},
    {"table.namespace", PARAM_STR, true, "null", NULL, 0, 0, PARAM_BUILT, "its namespace"},
    {"table.job_id", PARAM_STR, true, "null", NULL, 0, 0, PARAM_UNBUILT, "name a stored table instead"},
    {"table.component_name", PARAM_STR, true, "null", NULL, 0, 0, PARAM_UNBUILT,
     "name a stored table instead"},
    {"table.data_name", PARAM_STR, true, "null", NULL, 0, 0, PARAM_UNBUILT, "name a stored table instead"},
};

static status check(struct ctx *cx, const json_t *p)
{
    if (!json_is_string(js_at(p, "table.name")) || !json_is_string(js_at(p, "table.namespace")))
        return FAIL(
            cx, ARG,
            "parameter table is incomplete, want {\"name\": ..., \"namespace\": ...} of a stored table");
    return OK;
}

/* guest_9999_x3 for the fourth feature, guest_9999_y for the label; other kinds keep what they have. */
static status name_columns(struct ctx *cx, const struct task *t, const struct table *in,
                           struct column_spec **out)
{
    struct column_spec *s = NEW(cx, struct column_spec, in->n_cols + 1);
    if (!s) return FAIL(cx, NOMEM, "%zu columns", in->n_cols);
    size_t n_features = 0;
    for (size_t j = 0; j < in->n_cols; j++) {
        const struct column *c = &in->cols[j];
        const char *prefix = arena_printf(cx->mem, "%s_%u", role_name(t->me.role), t->me.id),
                   *name = c->anonymous;
        if (c->kind == KIND_FEATURE)
            name = arena_printf(cx->mem, "%s_x%zu", prefix ? prefix : "", n_features++);
        if (c->kind == KIND_LABEL) name = arena_printf(cx->mem, "%s_y", prefix ? prefix : "");
        if (!prefix || (!name && c->kind <= KIND_LABEL))
            return FAIL(cx, NOMEM, "%zu column names", in->n_cols);
        s[j] = (struct column_spec){.name = c->name, .anonymous = name, .type = c->type, .kind = c->kind};
    }
    *out = s;
    return OK;
}

/* The first five different values of a column among its first rows, as FATE's table_info shows them. */
static status first_values(struct ctx *cx, const struct table *in, const struct column *c, json_t *info)
{
    enum { SHOW = 5, LOOK = 100 };
    CLEANUP(buf_free) struct buf all = {0};
    struct bytes seen[SHOW];
    size_t n_seen = 0;
    for (size_t i = 0; i < in->n_rows && i < LOOK && n_seen < SHOW; i++) {
        char *cell = NEW(cx, char, 64);
        if (!cell) return FAIL(cx, NOMEM, "a preview");
        struct bytes v = table_cell(in, c, i, cell, 64);
        bool old = false;
        for (size_t k = 0; k < n_seen; k++)
            old = old || (seen[k].n == v.n && (!v.n || !memcmp(seen[k].p, v.p, v.n)));
        if (old) continue;
        if (n_seen) buf_u8(&all, ',');
        buf_put(&all, v.p, v.n);
        seen[n_seen++] = v;
    }
    TRY(buf_ok(cx, &all));
    if (json_object_set_new(info, c->name, json_stringn(all.p ? (const char *)all.p : "", all.n)))
        return FAIL(cx, FORMAT, "column %s: a value is not UTF-8", c->name);
    return OK;
}

static const char *kind_name(enum col_kind k)
{
    switch (k) {
    case KIND_LABEL:
        return "label";
    case KIND_MATCH_ID:
        return "match_id";
    case KIND_WEIGHT:
        return "weight";
    case KIND_FEATURE:
    case KIND_PREDICTION:
        break;
    }
    return "feature";
}

static status report(struct ctx *cx, struct task *t, const struct table *in, const struct column_spec *cols)
{
    CLEANUP(json_decrefp) json_t *values = json_object();
    CLEANUP(json_decrefp) json_t *anonymous = json_object();
    CLEANUP(json_decrefp) json_t *kinds = json_object();
    CLEANUP(json_decrefp) json_t *none = json_array();
    if (!values || !anonymous || !kinds || !none) return FAIL(cx, NOMEM, "data_info");
    for (size_t j = 0; j < in->n_cols; j++) {
        TRY(first_values(cx, in, &in->cols[j], values));
        if (cols[j].anonymous && json_object_set_new(anonymous, cols[j].name, json_string(cols[j].anonymous)))
            return FAIL(cx, NOMEM, "data_info");
        if (json_object_set_new(kinds, cols[j].name, json_string(kind_name(cols[j].kind))))
            return FAIL(cx, NOMEM, "data_info");
    }
    CLEANUP(json_decrefp)
    json_t *meta =
        json_pack("{s:s,s:s,s:s,s:s,s:O,s:O,s:O,s:i,s:s,s:I}", "metric_type", "data_info", "name", "reader",
                  "table_name", task_str(t, "table.name"), "namespace", task_str(t, "table.namespace"),
                  "table_info", values, "anonymous_info", anonymous, "attribute_info", kinds, "partitions", 1,
                  "storage_engine", "STANDALONE", "count", (json_int_t)in->n_rows);
    if (!meta) return FAIL(cx, NOMEM, "data_info");
    return task_metric(cx, t, "reader_namespace", "reader_name", meta, none);
}

static status run(struct ctx *cx, struct task *t)
{
    const struct table *in = task_input(t, "table");
    if (!in)
        return FAIL(cx, NOTFOUND, "table %s/%s is not among this site's tables",
                    task_str(t, "table.namespace"), task_str(t, "table.name"));
    struct column_spec *cols = NULL;
    TRY(name_columns(cx, t, in, &cols));
    uint32_t *rows = NEW(cx, uint32_t, in->n_rows + 1);
    if (!rows) return FAIL(cx, NOMEM, "%zu row numbers", in->n_rows);
    for (size_t i = 0; i < in->n_rows; i++)
        rows[i] = (uint32_t)i;
    const char *path;
    TRY(task_output_path(cx, t, 0, &path));
    TRY(table_derive(cx, path, in, rows, in->n_rows, cols, in->meta));
    task_progress(t, "rows", in->n_rows, in->n_rows);
    return report(cx, t, in, cols);
}

extern const struct component component_reader;
const struct component component_reader = {
    .module = "Reader",
    .text = "Brings a stored table into the job and gives its columns anonymous names.",
    .params = params,
    .n_params = LEN(params),
    .gives_data = true,
    .run = {[ROLE_GUEST] = run, [ROLE_HOST] = run, [ROLE_LOCAL] = run},
    .check = check,
};
