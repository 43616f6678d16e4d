/* r_data.c - data/...: uploads, downloads and copies, each a local job. */
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "http/local.h"
#include "http/local_run.h"
#include "http/query.h"
#include "http/rows.h"
#include "http/tables.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- what clients send ---- */

/* Form fields over the query; a field that is JSON of an object or list counts as that. */
static void add_fields(struct call *c, json_t *all)
{
    for (const struct form_field *f = c->ex->fields; f; f = f->next)
        if (f->value.p) json_object_set_new(all, f->name, json_string((const char *)f->value.p));
}

/* Numbers and truths that came as text. */
static void settle(json_t *p)
{
    static const char *const numbers[] = {"head", "partition", "drop"};
    static const char *const truths[] = {"extend_sid", "auto_increasing_sid", "with_meta"};
    for (size_t i = 0; i < LEN(numbers); i++) {
        const json_t *v = json_object_get(p, numbers[i]);
        int64_t x;
        if (json_is_boolean(v)) json_object_set_new(p, numbers[i], json_integer(json_is_true(v)));
        if (json_is_string(v) && num_parse_i64(json_string_value(v), json_string_length(v), &x))
            json_object_set_new(p, numbers[i], json_integer(x));
    }
    for (size_t i = 0; i < LEN(truths); i++) {
        const json_t *v = json_object_get(p, truths[i]);
        bool on = json_is_true(v) || json_integer_value(v) != 0 ||
                  (json_is_string(v) &&
                   (strcasecmp(json_string_value(v), "true") == 0 || strcmp(json_string_value(v), "1") == 0));
        json_object_set_new(p, truths[i], json_boolean(on));
    }
}

/* FATE's parameters of an upload, complete. */
static status upload_params(struct ctx *cx, const json_t *given, json_t **out)
{
    static const char *const kept[] = {"file",      "head",       "partition",           "id_delimiter",
                                       "namespace", "extend_sid", "auto_increasing_sid", "schema",
                                       "with_meta", "meta",       "storage_engine",      "storage_address",
                                       "drop"};
    const json_t *name = json_object_get(given, "table_name");
    if (!name) name = json_object_get(given, "name");
    json_t *p = json_pack("{s:b,s:i,s:b,s:s,s:b,s:{},s:{},s:s,s:n,s:b,s:i}", "auto_increasing_sid", 0,
                          "block_size", 1, "destroy", 0, "id_delimiter", ",", "extend_sid", 0, "schema",
                          "meta", "storage_engine", "", "storage_address", "with_meta", 0, "drop", 0);
    for (size_t i = 0; i < LEN(kept); i++) {
        json_t *v = json_object_get(given, kept[i]);
        if (v && !json_is_null(v)) json_object_set(p, kept[i], v);
    }
    json_object_set(p, "name", (json_t *)name);
    settle(p);
    json_object_set_new(p, "destroy", json_boolean(json_integer_value(json_object_get(p, "drop")) != 0));
    *out = p;
    return p ? OK : FAIL(cx, NOMEM, "parameters");
}

static status check_params(struct ctx *cx, const json_t *p)
{
    const json_t *partition = json_object_get(p, "partition"), *head = json_object_get(p, "head");
    if (!json_is_string(json_object_get(p, "name")) || !json_is_string(json_object_get(p, "namespace")))
        return FAIL(cx, ARG, "an upload needs table_name and namespace");
    if (!json_is_integer(head)) return FAIL(cx, ARG, "an upload needs head, 0 or 1");
    if (!json_is_integer(partition) || json_integer_value(partition) < 1 ||
        json_integer_value(partition) > 1023)
        return FAIL(cx, ARG, "The number of partitions should be a positive integer. The range is 1 - 1023");
    return local_check_upload(cx, p);
}

/* ---- answers ---- */

static status started(struct call *c, const char *id, const char *ns, const char *name)
{
    const char *dir = arena_printf(c->cx->mem, "%s/jobs/%s", c->http->dir, id);
    json_t *data = json_pack(
        "{s:o,s:i,s:o,s:s,s:s,s:s,s:{s:s,s:s},s:o,s:o,s:o,s:o,s:s*,s:s*}", "board_url",
        json_sprintf("http://%s:%u/index.html#/dashboard?job_id=%s&role=local&party_id=0",
                     c->http->set->http_host, c->http->port, id),
        "code", 0, "dsl_path", json_sprintf("%s/job_dsl.json", dir), "job_id", id, "logs_directory", dir,
        "message", "success", "model_info", "model_id", "local-0#model", "model_version", id,
        "pipeline_dsl_path", json_sprintf("%s/pipeline_dsl.json", dir), "runtime_conf_on_party_path",
        json_sprintf("%s/local/0/job_runtime_on_party_conf.json", dir), "runtime_conf_path",
        json_sprintf("%s/job_runtime_conf.json", dir), "train_runtime_conf_path",
        json_sprintf("%s/train_runtime_conf.json", dir), "namespace", ns, "table_name", name);
    return answer_job(c, 0, "success", id, data);
}

/* ---- upload ---- */

static status check_free(struct call *c, const json_t *p, bool *taken)
{
    struct table_info info;
    status st = store_find(c->cx, c->w->store, json_string_value(json_object_get(p, "namespace")),
                           json_string_value(json_object_get(p, "name")), &info);
    *taken = !st.code && json_integer_value(json_object_get(p, "drop")) == 0;
    return st.code == ERR_NOTFOUND ? OK : st;
}

/* The file that came with the request; or one of the site's own, which stays. */
static status upload_file(struct call *c, json_t *p, bool own, struct local_job *job)
{
    const char *given = json_string_value(json_object_get(p, "file"));
    job->remove_file = own;
    if (!own)
        return given ? local_path(c->cx, c->http, given, &job->file)
                     : FAIL(c->cx, ARG, "an upload needs file");
    if (!c->ex->file_path) return FAIL(c->cx, IO, "the file could not be kept: is the disk full?");
    job->file = c->ex->file_path;
    if (!given) json_object_set_new(p, "file", json_string(c->ex->file_name));
    return OK;
}

static status data_upload(struct call *c)
{
    CLEANUP(json_decrefp) json_t *given = NULL;
    CLEANUP(json_decrefp) json_t *p = NULL;
    struct local_job job = {.kind = "upload"};
    bool taken, own = c->ex->form != NULL;
    if (own) {
        TRY(query_settings(c->cx, c->ex->query, &given));
        add_fields(c, given);
    } else {
        given = json_incref((json_t *)c->body);
    }
    TRY(upload_params(c->cx, given, &p));
    TRY(check_params(c->cx, p));
    TRY(upload_file(c, p, own, &job));
    TRY(check_free(c, p, &taken));
    if (taken)
        return answer(c, 100,
                      "The data table already exists. If you still want to continue uploading, please add "
                      "the parameter --drop",
                      NULL);
    job.params = p;
    TRY(http_new_id(c->cx, c->http, &job.id));
    TRY(local_submit(c, &job));
    c->ex->file_path = NULL; /* the local job's now */
    return started(c, job.id, json_string_value(json_object_get(p, "namespace")),
                   json_string_value(json_object_get(p, "name")));
}

/* ---- download, writer ---- */

static status table_params(struct call *c, json_t **out)
{
    const char *name = arg_text(c, "table_name"), *ns = arg_text(c, "namespace");
    struct table_info info;
    if (!name) name = arg_text(c, "name");
    if (!name || !ns) return FAIL(c->cx, ARG, "want table_name and namespace");
    TRY(store_find(c->cx, c->w->store, ns, name, &info));
    *out = json_pack("{s:s,s:s}", "name", name, "namespace", ns);
    return *out ? OK : FAIL(c->cx, NOMEM, "parameters");
}

static status data_download(struct call *c)
{
    CLEANUP(json_decrefp) json_t *p = NULL;
    struct local_job job = {.kind = "download"};
    const char *path = arg_text(c, "output_path"), *delimiter = arg_text(c, "delimiter");
    if (!path) return FAIL(c->cx, ARG, "want output_path");
    if (delimiter && strcmp(delimiter, ",") != 0)
        return FAIL(c->cx, UNSUPPORTED, "delimiter: norn writes CSV with commas");
    TRY(table_params(c, &p));
    TRY(local_path(c->cx, c->http, path, &job.file));
    json_object_set_new(p, "output_path", json_string(job.file));
    job.params = p;
    TRY(http_new_id(c->cx, c->http, &job.id));
    TRY(local_submit(c, &job));
    return started(c, job.id, NULL, NULL);
}

static status data_writer(struct call *c)
{
    CLEANUP(json_decrefp) json_t *p = NULL;
    struct local_job job = {.kind = "writer"};
    const char *name = arg_text(c, "output_name"), *ns = arg_text(c, "output_namespace"),
               *engine = arg_text(c, "storage_engine");
    if (engine && strcasecmp(engine, "STANDALONE") != 0 && strcasecmp(engine, "EGGROLL") != 0)
        return FAIL(c->cx, UNSUPPORTED, "storage_engine %.40s: norn writes to its own store so far", engine);
    if (!name || !ns)
        return FAIL(c->cx, ARG, "want output_name and output_namespace: norn writes to its own store");
    TRY(table_params(c, &p));
    json_object_set_new(p, "output_name", json_string(name));
    json_object_set_new(p, "output_namespace", json_string(ns));
    job.params = p;
    TRY(http_new_id(c->cx, c->http, &job.id));
    TRY(local_submit(c, &job));
    return started(c, job.id, NULL, NULL);
}

static status data_other(struct call *c)
{
    return answer_http(c, 400,
                       arena_printf(c->cx->mem, "data/%.40s: want upload, download or writer", c->path));
}

/* ---- history ---- */

static status history_entry(struct call *c, const struct doc *d, json_t *list)
{
    const json_t *p = json_object_get(d->value, "params");
    const char *st = json_string_value(json_object_get(d->value, "status"));
    const char *ns = json_string_value(json_object_get(p, "namespace")),
               *name = json_string_value(json_object_get(p, "name"));
    const char *kind = json_string_value(json_object_get(d->value, "kind"));
    struct row_job *rows;
    struct table_info info;
    const struct table *t;
    size_t n;
    if (!kind || strcmp(kind, "upload") != 0 || !st || strcmp(st, "success") != 0 || !ns || !name) return OK;
    if (store_find(c->cx, c->w->store, ns, name, &info).code || table_open(c->cx, info.path, &t).code)
        return OK; /* it is gone */
    TRY(rows_of_job(c, d->key, &rows, &n));
    json_array_append_new(list,
                          json_pack("{s:{s:s,s:{s:o,s:O,s:s},s:{s:s,s:O,s:s,s:O}}}", d->key, "notes",
                                    n ? rows[0].notes : "", "schema", "header", table_schema_header(t),
                                    "meta", json_object_get(p, "meta"), "sid", t->id_name, "upload_info",
                                    "namespace", ns, "partition", json_object_get(p, "partition"),
                                    "table_name", name, "upload_count", json_object_get(d->value, "rows")));
    return OK;
}

static status upload_history(struct call *c)
{
    struct doc *docs;
    size_t n;
    int64_t limit = arg_int(c, "limit", 0);
    const char *id = arg_text(c, "job_id");
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(apidb_list(c->cx, c->w->db, "local", id ? id : "", true, 0, &docs, &n));
    for (size_t i = 0; i < n && (limit <= 0 || json_array_size(list) < (size_t)limit); i++)
        TRY(history_entry(c, &docs[i], list));
    return answer_ok(c, json_incref(list));
}

extern const struct route data_routes[];
const struct route data_routes[] = {
    {"data/upload/history", upload_history, KEY_VIEWER},
    {"data/upload", data_upload, KEY_MODELLER},
    {"data/download", data_download, KEY_MODELLER},
    {"data/writer", data_writer, KEY_MODELLER},
    {"data/*", data_other, KEY_MODELLER},
    {NULL, NULL, KEY_ADMIN},
};
