/* r_table.c - table/...: what the store holds. */
#include "base/arena.h"
#include "base/file.h"
#include "flow/conf.h"
#include "flow/plan.h"
#include "http/rows.h"
#include "http/tables.h"
#include <string.h>

struct named {
    const char *ns, *name;
};

static bool table_args(struct call *c, struct named *out)
{
    out->name = arg_text(c, "table_name");
    if (!out->name) out->name = arg_text(c, "name");
    out->ns = arg_text(c, "namespace");
    return out->name && out->ns;
}

#define TABLE(c, t)                                                                                          \
    struct named t;                                                                                          \
    if (!table_args((c), &(t)))                                                                              \
    return answer((c), 101, "required argument are missing: table_name,namespace; ", NULL)

static const char *doc_key(struct call *c, const struct named *t)
{
    return arena_printf(c->cx->mem, "%s/%s", t->ns, t->name);
}

/* The stored table. found false: there is none of that name. */
static status open_stored(struct call *c, const struct named *n, const struct table **out,
                          struct table_info *info, bool *found)
{
    status st = store_find(c->cx, c->w->store, n->ns, n->name, info);
    *found = !st.code;
    if (st.code == ERR_NOTFOUND || st.code == ERR_ARG) return OK;
    TRY(st);
    return table_open(c->cx, info->path, out);
}

/* An output table under the name that tracking/component/output/data/table gave it. */
static status open_output(struct call *c, const struct named *n, const struct table **out, bool *found)
{
    char job[JOB_ID_MAX + 1];
    struct output_row *outs;
    size_t n_outs;
    const char *rest = strncmp(n->ns, "output_data_", 12) == 0 ? n->ns + 12 : "";
    size_t len = strcspn(rest, "_");
    *found = false;
    if (len == 0 || len > JOB_ID_MAX) return OK;
    memcpy(job, rest, len);
    job[len] = 0;
    TRY(jobdb_outputs(c->cx, c->w->jobs, job, &outs, &n_outs));
    for (size_t i = 0; i < n_outs && !*found; i++) {
        const char *ns = output_namespace(c->cx, job, &outs[i]),
                   *name = output_table_name(c->cx, job, &outs[i]);
        if (!ns || !name || strcmp(ns, n->ns) != 0 || strcmp(name, n->name) != 0) continue;
        *found = true;
        TRY(table_open(c->cx, outs[i].path, out));
    }
    return OK;
}

static status open_any(struct call *c, const struct named *n, const struct table **out, bool *found)
{
    struct table_info info;
    TRY(open_stored(c, n, out, &info, found));
    return *found ? OK : open_output(c, n, out, found);
}

static status disabled(struct call *c, const struct named *n, bool *out)
{
    struct doc d;
    return apidb_get(c->cx, c->w->db, "disabled", doc_key(c, n), &d, out);
}

static status table_info(struct call *c)
{
    TABLE(c, n);
    const struct table *t = NULL;
    struct doc d = {0};
    bool found, off, told;
    TRY(open_any(c, &n, &t, &found));
    if (!found)
        return answer_ok(c, json_pack("{s:n,s:i,s:b,s:i,s:b,s:s,s:n,s:n,s:n,s:s}", "address", "count", 0,
                                      "enable", 1, "exist", 0, "extend_sid", 0, "namespace", n.ns, "origin",
                                      "partition", "schema", "table_name", n.name));
    TRY(disabled(c, &n, &off));
    TRY(apidb_get(c->cx, c->w->db, "table", doc_key(c, &n), &d, &told));
    const json_t *partition = json_object_get(d.value, "partition"), *meta = json_object_get(d.value, "meta");
    bool head = !told || json_is_true(json_object_get(d.value, "head"));
    json_t *schema =
        json_pack("{s:o,s:o,s:s}", "header", head ? table_schema_header(t) : json_string(""), "meta",
                  meta ? json_incref((json_t *)meta) : json_object(), "sid", head ? t->id_name : "");
    json_t *address = json_pack("{s:n,s:n,s:s,s:s,s:s}", "connector_name", "home", "name", n.name,
                                "namespace", n.ns, "storage_type", "LMDB");
    return answer_ok(c, json_pack("{s:o,s:I,s:b,s:i,s:b,s:s,s:s,s:o,s:o,s:s}", "address", address, "count",
                                  (json_int_t)t->n_rows, "enable", (int)!off, "exist", 1, "extend_sid",
                                  (int)json_is_true(json_object_get(d.value, "extend_sid")), "namespace",
                                  n.ns, "origin", told ? "upload" : "norn", "partition",
                                  partition ? json_incref((json_t *)partition) : json_integer(1), "schema",
                                  schema, "table_name", n.name));
}

static status table_delete(struct call *c)
{
    TABLE(c, n);
    bool was;
    status st = store_delete(c->cx, c->w->store, n.ns, n.name);
    if (st.code == ERR_NOTFOUND || st.code == ERR_ARG) return answer(c, 101, "no find table", NULL);
    TRY(st);
    TRY(apidb_delete(c->cx, c->w->db, "table", doc_key(c, &n), &was));
    TRY(apidb_delete(c->cx, c->w->db, "disabled", doc_key(c, &n), &was));
    return answer_ok(c, json_pack("{s:s,s:s}", "namespace", n.ns, "table_name", n.name));
}

static status set_disabled(struct call *c, bool off)
{
    TABLE(c, n);
    const struct table *t;
    struct table_info info;
    bool found, was;
    CLEANUP(json_decrefp) json_t *doc = json_object();
    TRY(open_stored(c, &n, &t, &info, &found));
    if (!found) return answer(c, 101, "no find table", NULL);
    if (off)
        TRY(apidb_put(c->cx, c->w->db, "disabled", doc_key(c, &n), doc));
    else
        TRY(apidb_delete(c->cx, c->w->db, "disabled", doc_key(c, &n), &was));
    return answer_ok(c, json_pack("[{s:s,s:s}]", "namespace", n.ns, "table_name", n.name));
}

static status table_disable(struct call *c)
{
    return set_disabled(c, true);
}

static status table_enable(struct call *c)
{
    return set_disabled(c, false);
}

static status delete_disabled(struct call *c)
{
    struct doc *docs;
    size_t n;
    bool was;
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(apidb_list(c->cx, c->w->db, "disabled", "", false, 0, &docs, &n));
    for (size_t i = 0; i < n; i++) {
        const char *slash = strrchr(docs[i].key, '/');
        const char *ns = slash ? arena_strndup(c->cx->mem, docs[i].key, (size_t)(slash - docs[i].key)) : NULL;
        if (!ns) continue;
        status st = store_delete(c->cx, c->w->store, ns, slash + 1);
        if (st.code && st.code != ERR_NOTFOUND) return st;
        TRY(apidb_delete(c->cx, c->w->db, "disabled", docs[i].key, &was));
        TRY(apidb_delete(c->cx, c->w->db, "table", docs[i].key, &was));
        json_array_append_new(list, json_pack("{s:s,s:s}", "namespace", ns, "table_name", slash + 1));
    }
    if (n == 0) return answer(c, 101, "no find table", NULL);
    return answer_ok(c, json_incref(list));
}

/* ---- binding ---- */

static status table_bind(struct call *c)
{
    NEED(c, "engine", "address", "namespace", "name");
    const char *engine = arg_text(c, "engine");
    return answer(
        c, 100,
        arena_printf(
            c->cx->mem,
            "engine %.40s check failed: norn binds no storage outside of its own store yet: upload the data",
            engine ? engine : ""),
        NULL);
}

static status connector_create(struct call *c)
{
    NEED(c, "connector_name", "engine", "connector_info");
    const char *name = arg_text(c, "connector_name"), *engine = arg_text(c, "engine");
    if (!name || !engine) return answer(c, 101, "connector_name and engine are texts", NULL);
    CLEANUP(json_decrefp)
    json_t *doc = json_pack("{s:s,s:O}", "engine", engine, "connector_info",
                            json_object_get(c->body, "connector_info"));
    if (!doc) return FAIL(c->cx, NOMEM, "a connector");
    TRY(apidb_put(c->cx, c->w->db, "connector", name, doc));
    return answer(c, 0, "success", NULL);
}

/* As FATE, with the password left out. */
static status connector_query(struct call *c)
{
    struct doc d;
    bool found;
    NEED(c, "connector_name");
    const char *name = arg_text(c, "connector_name");
    TRY(apidb_get(c->cx, c->w->db, "connector", name ? name : "", &d, &found));
    if (!found) return answer_ok(c, json_array());
    CLEANUP(json_decrefp) json_t *info = json_deep_copy(json_object_get(d.value, "connector_info"));
    if (json_object_get(info, "passwd")) json_object_set_new(info, "passwd", json_string("******"));
    return answer_ok(c, json_pack("[{s:s,s:O,s:O,s:o,s:o,s:o,s:o}]", "f_name", name, "f_engine",
                                  json_object_get(d.value, "engine"), "f_connector_info", info,
                                  "f_create_date", date_json(d.created_ms), "f_create_time",
                                  ms_json(d.created_ms), "f_update_date", date_json(d.updated_ms),
                                  "f_update_time", ms_json(d.updated_ms)));
}

/* ---- lineage ---- */

/* Uploaded tables have no parents; what a job made is found by its namespace. */
static status tracking_source(struct call *c)
{
    TABLE(c, n);
    const struct table *t;
    bool found;
    TRY(open_any(c, &n, &t, &found));
    if (!found)
        return answer(c, 100, arena_printf(c->cx->mem, "no found table %.100s %.100s", n.name, n.ns), NULL);
    return answer_ok(c, json_array());
}

/* Does a Reader of this job at this party name the table? */
static bool job_reads(struct call *c, const struct row_job *j, const struct named *n)
{
    struct conf conf;
    const char *name;
    json_t *v;
    bool found = false;
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    if (j->local || conf_parse(c->cx, j->conf, &conf, warnings).code) return false;
    json_object_foreach(json_object_get(j->dsl, "components"), name, v)
    {
        CLEANUP(json_decrefp) json_t *p = NULL;
        if (conf_component(c->cx, &conf, name, j->me, &p).code) continue;
        const char *ns = json_string_value(js_at(p, "table.namespace")),
                   *table = json_string_value(js_at(p, "table.name"));
        found = found || (ns && table && strcmp(ns, n->ns) == 0 && strcmp(table, n->name) == 0);
    }
    return found;
}

static status tracking_job(struct call *c)
{
    TABLE(c, n);
    struct row_job *jobs;
    size_t n_jobs;
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(rows_recent(c, 0, false, NULL, &jobs, &n_jobs));
    for (size_t i = 0; i < n_jobs; i++) {
        if (i && strcmp(jobs[i].id, jobs[i - 1].id) == 0) continue;
        if (job_reads(c, &jobs[i], &n)) json_array_append_new(list, json_string(jobs[i].id));
    }
    return answer_ok(c, json_pack("{s:I,s:O}", "count", (json_int_t)json_array_size(list), "job", list));
}

/* ---- the board's ---- */

static status table_preview(struct call *c)
{
    TABLE(c, n);
    const struct table *t;
    const size_t *order;
    json_t *rows = NULL;
    bool found;
    int64_t limit = arg_int(c, "limit", 100);
    TRY(open_any(c, &n, &t, &found));
    if (!found)
        return answer(c, 100, arena_printf(c->cx->mem, "no found table %.100s %.100s", n.name, n.ns), NULL);
    TRY(table_order(c->cx, t, &order));
    TRY(table_rows_json(c->cx, t, CELLS_TEXT, NULL, limit < 1 || limit > 100 ? 100 : (size_t)limit, &rows));
    return answer_ok(c, json_pack("{s:o,s:o}", "data", rows, "header", table_header(t, order)));
}

static status table_download(struct call *c)
{
    TABLE(c, n);
    const struct table *t;
    const size_t *order;
    struct tar *tar;
    const char *meta;
    bool found;
    int out;
    CLEANUP(fd_closep) int fd = -1;
    TRY(open_any(c, &n, &t, &found));
    if (!found)
        return answer_http(c, 210, arena_printf(c->cx->mem, "no found table %.100s %.100s", n.name, n.ns));
    TRY(temp_file(c->cx, c->http, &fd));
    TRY(table_order(c->cx, t, &order));
    TRY(table_csv(c->cx, t, CELLS_TEXT, NULL, arg_bool(c, "head", true), -1, fd));
    CLEANUP(json_decrefp) json_t *header = json_pack("{s:o}", "header", table_header(t, order));
    TRY(js_text(c->cx, header, &meta));
    TRY(tar_begin(c->cx, c->http, &tar));
    TRY(tar_add_fd(c->cx, tar, "table.csv", fd));
    TRY(tar_add_text(c->cx, tar, "table.meta", meta, strlen(meta)));
    TRY(tar_end(c->cx, tar, &out));
    return answer_fd(c, "table.tar.gz", "application/x-tar", out);
}

/* The tables that each component of a job took and gave at a party. */
static status table_list(struct call *c)
{
    struct row_job *jobs;
    struct output_row *outs;
    size_t n, n_outs = 0;
    const char *name;
    json_t *v;
    CLEANUP(json_decrefp) json_t *all = json_object();
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    if (n && !jobs[0].local) TRY(jobdb_outputs(c->cx, c->w->jobs, id, &outs, &n_outs));
    if (n) json_object_foreach(json_object_get(jobs[0].dsl, "components"), name, v)
        {
            json_t *out = json_object();
            for (size_t i = 0; i < n_outs; i++)
                if (strcmp(outs[i].component, name) == 0 && party_same(jobs[0].me, outs[i].party))
                    json_object_set_new(out, outs[i].name,
                                        json_pack("{s:s,s:s}", "name", output_table_name(c->cx, id, &outs[i]),
                                                  "namespace", output_namespace(c->cx, id, &outs[i])));
            const json_t *in = json_object_get(json_object_get(v, "input"), "data");
            json_object_set_new(all, name,
                                json_pack("{s:o,s:o}", "input",
                                          in ? json_incref((json_t *)in) : json_object(), "output", out));
        }
    return answer_ok(c, json_incref(all));
}

/* Tables are written once: nothing in them is changed. */
static status schema_update(struct call *c)
{
    return answer(c, 100, "norn's tables do not change once written: upload the table with its new header",
                  NULL);
}

static status table_other(struct call *c)
{
    return answer(c, 0, "success", NULL);
}

extern const struct route table_routes[];
const struct route table_routes[] = {
    {"table/bind", table_bind, KEY_MODELLER},
    {"table/add", table_bind, KEY_MODELLER},
    {"table/table_info", table_info, KEY_VIEWER},
    {"table/delete", table_delete, KEY_MODELLER},
    {"table/disable", table_disable, KEY_MODELLER},
    {"table/enable", table_enable, KEY_MODELLER},
    {"table/disable/delete", delete_disabled, KEY_OPERATOR},
    {"table/connector/create", connector_create, KEY_OPERATOR},
    {"table/connector/query", connector_query, KEY_OPERATOR},
    {"table/tracking/source", tracking_source, KEY_VIEWER},
    {"table/tracking/job", tracking_job, KEY_VIEWER},
    {"table/list", table_list, KEY_VIEWER},
    {"table/preview", table_preview, KEY_VIEWER},
    {"table/download", table_download, KEY_VIEWER},
    {"table/schema/update", schema_update, KEY_MODELLER},
    {"table/schema/anonymous/migrate", schema_update, KEY_MODELLER},
    {"table/*", table_other, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
