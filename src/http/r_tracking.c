/* r_tracking.c - tracking/...: what the components of a job measured, made and were told. */
#include "base/arena.h"
#include "base/evp.h"
#include "base/file.h"
#include "flow/conf.h"
#include "flow/view.h"
#include "http/rows.h"
#include "http/tables.h"
#include "model/model.h"
#include <string.h>
#include <unistd.h>

struct where { /* what a request is about */
    struct row_job job;
    const char *component, *module; /* module NULL: the job has no such component */
    bool found;
};

/* Job, role and party (the initiator's when left out) and component. found false: this site has no such row. */
static status locate(struct call *c, struct where *out)
{
    struct row_job *jobs;
    struct party who;
    size_t n;
    bool given;
    const char *id = arg_text(c, "job_id");
    *out = (struct where){.component = arg_text(c, "component_name")};
    TRY(arg_party(c, &who, &given));
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    for (size_t i = 0; i < n && !out->found; i++)
        if (!given || party_same(jobs[i].me, who)) out->job = jobs[i], out->found = true;
    if (out->found && out->component)
        out->module = json_string_value(json_object_get(
            json_object_get(json_object_get(out->job.dsl, "components"), out->component), "module"));
    return OK;
}

/* ---- metrics ---- */

static int compare_points(const void *a, const void *b)
{
    const json_t *x = json_array_get(*(json_t *const *)a, 0), *y = json_array_get(*(json_t *const *)b, 0);
    if (json_is_string(x) && json_is_string(y)) return strcmp(json_string_value(x), json_string_value(y));
    return (json_number_value(x) > json_number_value(y)) - (json_number_value(x) < json_number_value(y));
}

/* FATE gives points by their keys' order. */
static status sort_points(struct ctx *cx, json_t *points)
{
    size_t n = json_array_size(points);
    json_t **list = NEW(cx, json_t *, n + 1);
    if (!list) return FAIL(cx, NOMEM, "%zu points", n);
    for (size_t i = 0; i < n; i++)
        list[i] = json_incref(json_array_get(points, i));
    if (n > 1 && json_is_array(list[0])) qsort(list, n, sizeof *list, compare_points);
    json_array_clear(points);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(points, list[i]);
    return OK;
}

static status metrics_of(struct call *c, json_t **out)
{
    struct where w;
    const char *ns, *name;
    json_t *names, *m;
    TRY(locate(c, &w));
    *out = NULL;
    if (!w.found || !w.component) {
        *out = json_object();
        return OK;
    }
    if (w.job.local) {
        json_t *rows = json_object_get(w.job.doc->value, "rows");
        *out = rows ? json_pack("{s:{s:{s:[[s,O]],s:{s:s,s:s}}}}", "upload", "data_access", "data", "count",
                                rows, "meta", "name", "data_access", "metric_type", "DATA_ACCESS")
                    : json_object();
        return OK;
    }
    TRY(view_metrics(c->cx, c->w->jobs, w.job.id, w.component, w.job.me, out));
    json_object_foreach(*out, ns, names) json_object_foreach(names, name, m)
        TRY(sort_points(c->cx, json_object_get(m, "data")));
    return OK;
}

static status metric_all(struct call *c)
{
    json_t *all = NULL;
    NEED(c, "job_id", "component_name");
    TRY(metrics_of(c, &all));
    return answer(c, 0, json_object_size(all) ? "success" : "no data", all);
}

static status metric_names(struct call *c)
{
    CLEANUP(json_decrefp) json_t *all = NULL;
    const char *ns, *name;
    json_t *metrics, *m;
    CLEANUP(json_decrefp) json_t *names = json_object();
    NEED(c, "job_id", "component_name");
    TRY(metrics_of(c, &all));
    json_object_foreach(all, ns, metrics)
    {
        json_t *list = json_array();
        json_object_foreach(metrics, name, m) json_array_append_new(list, json_string(name));
        json_object_set_new(names, ns, list);
    }
    return answer(c, 0, json_object_size(names) ? "success" : "no data", json_incref(names));
}

static status metric_data(struct call *c)
{
    CLEANUP(json_decrefp) json_t *all = NULL;
    NEED(c, "job_id", "component_name", "metric_namespace", "metric_name");
    TRY(metrics_of(c, &all));
    const char *ns = arg_text(c, "metric_namespace"), *name = arg_text(c, "metric_name");
    const json_t *m = ns && name ? json_object_get(json_object_get(all, ns), name) : NULL;
    if (!m)
        return answer_object(
            c, json_pack("{s:i,s:s,s:[],s:{}}", "retcode", 0, "retmsg", "no data", "data", "meta"));
    return answer_object(c, json_pack("{s:i,s:s,s:O,s:O}", "retcode", 0, "retmsg", "success", "data",
                                      json_object_get(m, "data"), "meta", json_object_get(m, "meta")));
}

/* Metrics are records of a job: they go with it, and nothing else takes them away. */
static status metric_delete(struct call *c)
{
    return answer(c, 100, "norn keeps a job's metrics as long as the job: nothing was deleted", NULL);
}

/* ---- parameters, components, summary, model ---- */

static status parameters(struct call *c)
{
    struct where w;
    json_t *param = NULL;
    const char *module;
    NEED(c, "job_id", "component_name");
    TRY(locate(c, &w));
    if (!w.found || !w.module) return answer(c, 101, "can not found the component's parameters", NULL);
    TRY(row_component_param(c, &w.job, w.component, &param, &module));
    return answer_ok(c, json_pack("{s:o,s:s}", "ComponentParam", param, "module", module));
}

static status component_list(struct call *c)
{
    struct where w;
    const char *name;
    json_t *v;
    NEED(c, "job_id");
    TRY(locate(c, &w));
    if (!w.found) return answer(c, 100, "No job matched, please make sure the parameters are right", NULL);
    json_t *list = json_array();
    json_object_foreach(json_object_get(w.job.dsl, "components"), name, v)
        json_array_append_new(list, json_string(name));
    return answer_ok(c, json_pack("{s:o}", "components", list));
}

static status summary(struct call *c)
{
    static const char none[] =
        "No component summary found, please check if arguments are specified correctly.";
    struct where w;
    CLEANUP(json_decrefp) json_t *s = NULL;
    NEED(c, "job_id", "component_name");
    TRY(locate(c, &w));
    if (!w.found || !w.module || w.job.local) return answer_http(c, 210, none);
    TRY(view_summary(c->cx, c->w->jobs, w.job.id, w.component, w.job.me, &s));
    if (json_object_size(s) == 0) return answer_http(c, 210, none);
    return answer_named(c, json_incref(s));
}

static status output_model(struct call *c)
{
    struct where w;
    struct model_part part;
    json_t *param = NULL, *meta = NULL;
    NEED(c, "job_id", "component_name");
    TRY(locate(c, &w));
    if (!w.found || !w.module || w.job.local) return answer(c, 0, "no define_meta", json_object());
    struct model_key key = {role_name(w.job.me.role), w.job.me.id, w.job.model_id, w.job.id};
    status st = model_load_part(c->cx, http_models(c), &key, w.component, &part, NULL);
    if (st.code == ERR_NOTFOUND) return answer(c, 0, "no define_meta", json_object());
    TRY(st);
    const struct model_buffer *p = model_buffer(&part, "Param"), *m = model_buffer(&part, "Meta");
    if (p) TRY(model_json(c->cx, p, &param));
    if (m) TRY(model_json(c->cx, m, &meta));
    return answer_object(c, json_pack("{s:i,s:s,s:o,s:{s:o,s:s}}", "retcode", 0, "retmsg", "success", "data",
                                      param ? param : json_object(), "meta", "meta_data",
                                      meta ? meta : json_object(), "module_name", w.module));
}

/* ---- output tables ---- */

const char *output_namespace(struct ctx *cx, const char *job, const struct output_row *o)
{
    return arena_printf(cx->mem, "output_data_%s_%s_%lld", job, o->component, (long long)o->attempt);
}

const char *output_table_name(struct ctx *cx, const char *job, const struct output_row *o)
{
    uint8_t hash[32];
    char text[33];
    const char *all =
        arena_printf(cx->mem, "%s/%s/%s/%u/%lld/%lld", job, o->component, role_name(o->party.role),
                     o->party.id, (long long)o->attempt, (long long)o->position);
    if (!all) return NULL;
    SHA256((const unsigned char *)all, strlen(all), hash);
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    return arena_strdup(cx->mem, text);
}

status output_row_json(struct call *c, const struct row_job *j, const struct output_row *o, json_t **out)
{
    struct task_row *t;
    size_t n;
    int64_t at = j->created_ms;
    TRY(jobdb_tasks(c->cx, c->w->jobs, j->id, &t, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].component, o->component) == 0 && party_same(t[i].party, o->party)) at = t[i].ended_ms;
    *out =
        json_pack("{s:s,s:o,s:o,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:o,s:I,s:o,s:o}", "f_component_name",
                  o->component, "f_create_date", date_json(at), "f_create_time", ms_json(at), "f_data_name",
                  o->name, "f_description", "", "f_job_id", j->id, "f_party_id",
                  json_sprintf("%u", o->party.id), "f_role", role_name(o->party.role), "f_table_name",
                  output_table_name(c->cx, j->id, o), "f_table_namespace", output_namespace(c->cx, j->id, o),
                  "f_task_id", json_sprintf("%s_%s", j->id, o->component), "f_task_version",
                  (json_int_t)o->attempt, "f_update_date", date_json(at), "f_update_time", ms_json(at));
    return *out ? OK : FAIL(c->cx, NOMEM, "a row");
}

/* The component's output tables at this party, in order. */
static status outputs_of(struct call *c, const struct where *w, struct output_row **out, size_t *n)
{
    struct output_row *all;
    size_t n_all;
    *n = 0;
    if (!w->found || !w->component || w->job.local) return OK;
    TRY(jobdb_outputs(c->cx, c->w->jobs, w->job.id, &all, &n_all));
    struct output_row *list = NEW(c->cx, struct output_row, n_all + 1);
    if (!list) return FAIL(c->cx, NOMEM, "%zu outputs", n_all);
    for (size_t i = 0; i < n_all; i++)
        if (strcmp(all[i].component, w->component) == 0 && party_same(all[i].party, w->job.me))
            list[(*n)++] = all[i];
    *out = list;
    return OK;
}

static status output_table(struct call *c)
{
    struct where w;
    struct output_row *outs;
    size_t n;
    NEED(c, "job_id", "component_name");
    TRY(locate(c, &w));
    TRY(outputs_of(c, &w, &outs, &n));
    if (n == 0) return answer(c, 100, "No found table, please check if the parameters are correct", NULL);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "data_name", outs[i].name, "table_name",
                                              output_table_name(c->cx, w.job.id, &outs[i]), "table_namespace",
                                              output_namespace(c->cx, w.job.id, &outs[i])));
    return answer_ok(c, list);
}

static enum cell_style style_of(const struct where *w)
{
    return strcmp(w->module, "Reader") == 0 ? CELLS_TEXT : CELLS_NUMBERS;
}

static status output_data(struct call *c)
{
    struct where w;
    struct output_row *outs;
    size_t n;
    NEED(c, "job_id", "component_name");
    TRY(locate(c, &w));
    TRY(outputs_of(c, &w, &outs, &n));
    if (n == 0) return answer(c, 0, "no data", json_array());
    CLEANUP(json_decrefp) json_t *rows = json_array();
    CLEANUP(json_decrefp) json_t *meta = json_pack("{s:[],s:[],s:[]}", "header", "names", "total");
    for (size_t i = 0; i < n; i++) {
        const struct table *t;
        const size_t *order;
        json_t *part = NULL;
        TRY(table_open(c->cx, outs[i].path, &t));
        TRY(table_order(c->cx, t, &order));
        const uint32_t *order_of_rows = NULL; /* a Reader's are shown as they came */
        if (style_of(&w) == CELLS_NUMBERS) TRY(table_fate_order(c->cx, t, &order_of_rows));
        TRY(table_rows_json(c->cx, t, style_of(&w), order_of_rows, 100, &part));
        json_array_append_new(rows, part);
        json_array_append_new(json_object_get(meta, "header"), table_header(t, order));
        json_array_append_new(json_object_get(meta, "names"), json_string(outs[i].name));
        json_array_append_new(json_object_get(meta, "total"), json_integer((json_int_t)t->n_rows));
    }
    return answer_object(
        c, json_pack("{s:i,s:s,s:O,s:O}", "retcode", 0, "retmsg", "success", "data", rows, "meta", meta));
}

/* Python's json.dumps(indent=4) of {"header": [...]}. */
static status meta_text(struct ctx *cx, const struct table *t, struct buf *b)
{
    const size_t *order;
    TRY(table_order(cx, t, &order));
    CLEANUP(json_decrefp) json_t *header = table_header(t, order);
    buf_printf(b, "{\n    \"header\": [\n");
    for (size_t i = 0; i < json_array_size(header); i++) {
        const char *text;
        TRY(js_text(cx, json_array_get(header, i), &text));
        buf_printf(b, "        %s%s\n", text, i + 1 < json_array_size(header) ? "," : "");
    }
    buf_printf(b, "    ]\n}");
    return buf_ok(cx, b);
}

static status add_output(struct call *c, struct tar *tar, const struct where *w, const struct output_row *o,
                         int64_t limit, bool head)
{
    struct ctx *cx = c->cx;
    const struct table *t;
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(buf_free) struct buf meta = {0};
    TRY(table_open(cx, o->path, &t));
    if (t->n_rows == 0) return OK;
    const uint32_t *rows;
    TRY(table_fate_order(cx, t, &rows));
    TRY(temp_file(cx, c->http, &fd));
    TRY(table_csv(cx, t, style_of(w), rows, head, limit, fd));
    TRY(meta_text(cx, t, &meta));
    TRY(tar_add_fd(cx, tar, arena_printf(cx->mem, "%s.csv", o->name), fd));
    return tar_add_text(cx, tar, arena_printf(cx->mem, "%s.meta", o->name), (const char *)meta.p, meta.n);
}

static status output_download(struct call *c)
{
    struct where w;
    struct output_row *outs;
    struct tar *tar;
    size_t n;
    int fd = -1;
    NEED(c, "job_id", "component_name");
    int64_t limit = arg_int(c, "limit", -1);
    bool head = arg_bool(c, "head", true);
    if (limit == 0) return answer(c, 100, "limit is 0", NULL);
    TRY(locate(c, &w));
    if (!w.found || !w.module)
        return FAIL(c->cx, NOTFOUND, "no such job, role, party or component at this site");
    TRY(outputs_of(c, &w, &outs, &n));
    if (n == 0) return answer_http(c, 210, "no data");
    TRY(tar_begin(c->cx, c->http, &tar));
    for (size_t i = 0; i < n; i++)
        TRY(add_output(c, tar, &w, &outs[i], limit, head));
    TRY(tar_end(c->cx, tar, &fd));
    return answer_fd(c,
                     arena_printf(c->cx->mem, "job_%s_%s_%s_%u_output_data.tar.gz", w.job.id, w.component,
                                  role_name(w.job.me.role), w.job.me.id),
                     "application/x-tar", fd);
}

/* ---- the board's ---- */

/* {"guest": {"9999": {"reader_0": "namespace.name"}}} of all parties, as the conf has it. */
static json_t *datasets(struct ctx *cx, const struct row_job *j)
{
    struct conf conf;
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    json_t *all = json_object(), *component;
    const char *name;
    if (conf_parse(cx, j->conf, &conf, warnings).code) return all;
    for (size_t i = 0; i < conf.n_parties; i++) {
        struct party who = conf.parties[i];
        json_object_foreach(json_object_get(j->dsl, "components"), name, component)
        {
            const char *module = json_string_value(json_object_get(component, "module"));
            CLEANUP(json_decrefp) json_t *p = NULL;
            if (!module || strcmp(module, "Reader") != 0 || conf_component(cx, &conf, name, who, &p).code)
                continue;
            const char *ns = json_string_value(js_at(p, "table.namespace")),
                       *table = json_string_value(js_at(p, "table.name"));
            if (!ns || !table) continue;
            json_t *role = json_object_get(all, role_name(who.role));
            if (!role) json_object_set_new(all, role_name(who.role), role = json_object());
            const char *id = arena_printf(cx->mem, "%u", who.id);
            json_t *of = json_object_get(role, id);
            if (!of) json_object_set_new(role, id, of = json_object());
            json_object_set_new(of, name, json_sprintf("%s.%s", ns, table));
        }
    }
    return all;
}

static status job_data_view(struct call *c)
{
    struct where w;
    const char *role;
    json_t *ids;
    NEED(c, "job_id", "role", "party_id");
    TRY(locate(c, &w));
    if (!w.found) return answer(c, 101, "no find job", NULL);
    CLEANUP(json_decrefp) json_t *roles = row_roles(w.job.conf);
    json_t *partner = json_object();
    json_object_foreach(roles, role, ids)
    {
        json_t *others = json_array();
        for (size_t i = 0; i < json_array_size(ids); i++)
            if (json_integer_value(json_array_get(ids, i)) != w.job.me.id)
                json_array_append(others, json_array_get(ids, i));
        if (json_array_size(others)) json_object_set(partner, role, others);
        json_decref(others);
    }
    return answer_ok(c, json_pack("{s:o,s:{},s:o,s:O}", "dataset", datasets(c->cx, &w.job), "model_summary",
                                  "partner", partner, "roles", roles));
}

/* Which of its sources' outputs a component takes: FATE's dependencies. */
static json_t *needs_of(const json_t *dsl, const json_t *component)
{
    static const char *const kinds[] = {"data", "model", "isometric_model", "cache"};
    json_t *list = json_array();
    for (size_t k = 0; k < LEN(kinds); k++) {
        const json_t *in = json_object_get(json_object_get(component, "input"), kinds[k]);
        const char *key = kinds[k];
        json_t *sources;
        CLEANUP(json_decrefp)
        json_t *one = json_is_array(in) ? json_pack("{s:O}", key, in) : json_incref((json_t *)in);
        json_object_foreach(one, key, sources) for (size_t i = 0; i < json_array_size(sources); i++)
        {
            const char *s = json_string_value(json_array_get(sources, i)), *dot = s ? strchr(s, '.') : NULL;
            if (!dot || strncmp(s, "pipeline.", 9) == 0) continue;
            json_t *name = json_stringn(s, (size_t)(dot - s));
            const json_t *from = json_object_get(json_object_get(dsl, "components"), json_string_value(name));
            const json_t *outs = json_object_get(json_object_get(from, "output"), k == 0   ? "data"
                                                                                  : k == 3 ? "cache"
                                                                                           : "model");
            size_t at = 0;
            for (size_t o = 0; o < json_array_size(outs); o++)
                if (strcmp(json_string_value(json_array_get(outs, o)), dot + 1) == 0) at = o;
            json_array_append_new(list, json_pack("{s:o,s:s,s:[s,i]}", "component_name", name, "type", key,
                                                  "up_output_info",
                                                  k == 0   ? "data"
                                                  : k == 3 ? "cache"
                                                           : "model",
                                                  (int)at));
        }
    }
    return list;
}

static status dag_dependency(struct call *c)
{
    struct where w;
    const char *name;
    json_t *v;
    NEED(c, "job_id", "role", "party_id");
    TRY(locate(c, &w));
    if (!w.found) return answer(c, 101, "find job failed", NULL);
    json_t *data = json_pack("{s:[],s:{},s:{},s:{}}", "component_list", "component_module",
                             "component_need_run", "dependencies");
    json_object_foreach(json_object_get(w.job.dsl, "components"), name, v)
    {
        json_array_append_new(json_object_get(data, "component_list"), json_string(name));
        json_object_set(json_object_get(data, "component_module"), name, json_object_get(v, "module"));
        json_object_set_new(json_object_get(data, "component_need_run"), name, json_true());
        CLEANUP(json_decrefp) json_t *needs = needs_of(w.job.dsl, v);
        if (json_array_size(needs)) json_object_set(json_object_get(data, "dependencies"), name, needs);
    }
    return answer_ok(c, data);
}

extern const struct route tracking_routes[];
const struct route tracking_routes[] = {
    {"tracking/component/output/data/download", output_download, KEY_VIEWER},
    {"tracking/component/output/data/table", output_table, KEY_VIEWER},
    {"tracking/component/output/data", output_data, KEY_VIEWER},
    {"tracking/component/output/model", output_model, KEY_VIEWER},
    {"tracking/component/summary/download", summary, KEY_VIEWER},
    {"tracking/component/metric/all", metric_all, KEY_VIEWER},
    {"tracking/component/metric/delete", metric_delete, KEY_OPERATOR},
    {"tracking/component/metrics", metric_names, KEY_VIEWER},
    {"tracking/component/metric_data", metric_data, KEY_VIEWER},
    {"tracking/component/parameters", parameters, KEY_VIEWER},
    {"tracking/component/list", component_list, KEY_VIEWER},
    {"tracking/job/data_view", job_data_view, KEY_VIEWER},
    {"pipeline/dag/dependency", dag_dependency, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
