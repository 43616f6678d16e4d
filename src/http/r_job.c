/* r_job.c - job/...: submit, query, stop, rerun, lists, configurations. */
#include "base/arena.h"
#include "base/num.h"
#include "flow/conf.h"
#include "http/local.h"
#include "http/rows.h"
#include "model/model.h"
#include <string.h>

/* ---- submit ---- */

/* FATE drops job parameters that it does not know, and so do its clients' tests rely on; norn's CLI refuses them. */
static void drop_unknown(struct ctx *cx, json_t *parameters, json_t *dropped)
{
    const char *key;
    json_t *v;
    void *next;
    json_object_foreach_safe(parameters, next, key, v)
    {
        if (conf_job_parameter_known(key)) continue;
        json_array_append_new(dropped, json_string(arena_printf(
                                           cx->mem, "job parameter %.60s is unknown and is ignored", key)));
        json_object_del(parameters, key);
    }
}

/* FATE passes over entries of a role that are no index ("0", "0|1", "all"); its own `flow test toy` sends one. */
static void drop_entries(struct ctx *cx, json_t *roles, json_t *dropped)
{
    const char *role, *entry;
    json_t *entries, *v;
    void *next;
    json_object_foreach(roles, role, entries) json_object_foreach_safe(entries, next, entry, v)
    {
        if (strcmp(entry, "all") == 0 || strspn(entry, "0123456789|") == strlen(entry)) continue;
        json_array_append_new(
            dropped,
            json_string(arena_printf(
                cx->mem, "component_parameters.role.%.20s.%.60s is no index and is ignored", role, entry)));
        json_object_del(entries, entry);
    }
}

static status prepare_conf(struct call *c, const json_t *given, json_t **out, json_t *dropped)
{
    json_t *conf = json_deep_copy(given), *parameters = json_object_get(conf, "job_parameters"), *entries,
           *of;
    const char *role, *entry;
    if (!conf) return FAIL(c->cx, NOMEM, "a conf");
    drop_unknown(c->cx, json_object_get(parameters, "common"), dropped);
    json_object_foreach(json_object_get(parameters, "role"), role, entries)
        json_object_foreach(entries, entry, of) drop_unknown(c->cx, of, dropped);
    drop_entries(c->cx, json_object_get(json_object_get(conf, "component_parameters"), "role"), dropped);
    *out = conf;
    return OK;
}

/* What FATE tells of a job that it took. */
static json_t *submitted(struct call *c, const char *job, const char *role, const char *party,
                         const char *model_id, const char *model_version, const char *message)
{
    struct http *h = c->http;
    const char *dir = arena_printf(c->cx->mem, "%s/jobs/%s", h->dir, job);
    return json_pack("{s:o,s:i,s:o,s:s,s:s,s:s,s:{s:s,s:s},s:o,s:o,s:o,s:o}", "board_url",
                     json_sprintf("http://%s:%u/index.html#/dashboard?job_id=%s&role=%s&party_id=%s",
                                  h->set->http_host, h->port, job, role, party),
                     "code", 0, "dsl_path", json_sprintf("%s/job_dsl.json", dir), "job_id", job,
                     "logs_directory", dir, "message", message, "model_info", "model_id", model_id,
                     "model_version", model_version, "pipeline_dsl_path",
                     json_sprintf("%s/pipeline_dsl.json", dir), "runtime_conf_on_party_path",
                     json_sprintf("%s/%s/%s/job_runtime_on_party_conf.json", dir, role, party),
                     "runtime_conf_path", json_sprintf("%s/job_runtime_conf.json", dir),
                     "train_runtime_conf_path", json_sprintf("%s/train_runtime_conf.json", dir));
}

static const char *removed_message(const json_t *conf)
{
    const json_t *common = js_at(conf, "job_parameters.common");
    bool old = json_object_get(common, "backend") || json_object_get(common, "work_mode");
    return old ? "[WARN]backend,work_mode is removed,it does not take effect!" : "success";
}

static status refused(struct call *c)
{
    const char *why = arena_strdup(c->cx->mem, c->cx->err.msg), *id;
    TRY(http_new_id(c->cx, c->http, &id));
    return answer_job(c, 103, why ? why : "", id, NULL);
}

static const char *id_or_text(struct call *c, const json_t *v)
{
    if (json_is_string(v)) return json_string_value(v);
    return arena_printf(c->cx->mem, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
}

static status submit(struct call *c, const json_t *given, json_t **done, json_t **conf)
{
    const json_t *dsl = json_object_get(c->body, "job_dsl");
    if (!dsl) dsl = json_object_get(c->body, "dsl");
    CLEANUP(json_decrefp) json_t *dropped = json_array();
    TRY(prepare_conf(c, given, conf, dropped));
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:O}", "conf", *conf);
    if (json_is_object(dsl)) json_object_set(params, "dsl", (json_t *)dsl);
    TRY(http_ask(c->cx, c->http, "job.submit", json_incref(params), done));
    json_t *warnings = json_object_get(*done, "warnings");
    if (json_array_extend(dropped, warnings) || json_object_set(*done, "warnings", dropped))
        return FAIL(c->cx, NOMEM, "warnings");
    return OK;
}

static status job_submit(struct call *c)
{
    const json_t *given = json_object_get(c->body, "job_runtime_conf");
    if (!given) given = json_object_get(c->body, "runtime_conf");
    CLEANUP(json_decrefp) json_t *done = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    status st = json_is_object(given) ? submit(c, given, &done, &conf)
                                      : FAIL(c->cx, ARG, "no parameters: job_runtime_conf is missing");
    if (st.code) return refused(c);
    const char *job = json_string_value(json_object_get(done, "job")), *message = removed_message(conf);
    const json_t *init = json_object_get(conf, "initiator"),
                 *type = js_at(conf, "job_parameters.common.job_type"),
                 *version = js_at(conf, "job_parameters.common.model_version");
    bool predict = json_is_string(type) && strcmp(json_string_value(type), "predict") == 0;
    if (!job) return FAIL(c->cx, INTERNAL, "a job without an id");
    json_t *data = submitted(c, job, json_string_value(json_object_get(init, "role")),
                             id_or_text(c, json_object_get(init, "party_id")),
                             json_string_value(json_object_get(done, "model_id")),
                             predict && version ? id_or_text(c, version) : job, message);
    json_t *warnings = json_object_get(done, "warnings");
    if (data && json_array_size(warnings)) json_object_set(data, "warnings", warnings);
    return answer_job(c, 0, message, job, data);
}

/* ---- query ---- */

/* Rows that the request's filters fit, newest job first. */
static status query_rows(struct call *c, json_t *list)
{
    const char *id = arg_text(c, "job_id"), *st = arg_text(c, "status");
    struct row_job *jobs;
    size_t n;
    bool open_only = st && (strcmp(st, "waiting") == 0 || strcmp(st, "running") == 0);
    if (id)
        TRY(rows_of_job(c, id, &jobs, &n));
    else
        TRY(rows_recent(c, 0, open_only, c->body, &jobs, &n));
    for (size_t i = 0; i < n; i++) {
        struct arena_mark before = arena_mark(c->cx->mem);
        CLEANUP(json_decrefp) json_t *row = NULL;
        size_t used;
        TRY(row_job_json(c, &jobs[i], &row));
        if (row_matches(row, c->body, &used) && used && json_array_append(list, row))
            return FAIL(c->cx, NOMEM, "jobs");
        (void)before;
    }
    return OK;
}

static status job_query(struct call *c)
{
    json_t *list = json_array();
    status st = query_rows(c, list);
    if (st.code) {
        json_decref(list);
        return st;
    }
    return answer(c, 0, json_array_size(list) ? "success" : "no job could be found", list);
}

static status matching_tasks(struct call *c, json_t *list)
{
    const char *id = arg_text(c, "job_id");
    struct row_job *jobs;
    size_t n = 0, used;
    if (!id) TRY(rows_recent(c, 0, false, NULL, &jobs, &n));
    for (size_t i = 0; i < (id ? 1 : n); i++) {
        CLEANUP(json_decrefp) json_t *tasks = NULL;
        if (!id && i > 0 && strcmp(jobs[i].id, jobs[i - 1].id) == 0)
            continue; /* another role of the same job */
        TRY(rows_tasks(c, id ? id : jobs[i].id, c->body, &tasks));
        for (size_t k = 0; k < json_array_size(tasks); k++) {
            json_t *row = json_array_get(tasks, k);
            if (row_matches(row, c->body, &used) && used && json_array_append(list, row))
                return FAIL(c->cx, NOMEM, "tasks");
        }
    }
    return OK;
}

static status task_query(struct call *c)
{
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(matching_tasks(c, list));
    if (json_array_size(list) == 0) return answer(c, 101, "find task failed", NULL);
    return answer_ok(c, json_incref(list));
}

/* ---- stop, rerun, clean ---- */

static status stop_one(struct call *c, const struct row_job *j)
{
    CLEANUP(json_decrefp) json_t *done = NULL;
    if (run_ended(j->status)) return OK;
    if (j->local) {
        (void)local_cancel(c->http, j->id); /* false: it has just ended */
        return OK;
    }
    return http_ask(c->cx, c->http, "job.stop", json_pack("{s:s}", "job", j->id), &done);
}

static status job_stop(struct call *c)
{
    struct row_job *jobs;
    size_t n;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    if (!id) return answer(c, 101, "job_id is no text", NULL);
    TRY(rows_of_job(c, id, &jobs, &n));
    if (n == 0) return answer(c, 102, "can not found job", NULL);
    status st = stop_one(c, &jobs[0]);
    if (st.code) return answer(c, 103, c->cx->err.msg, json_object());
    return answer(c, 0, "stop job on this party success; stop job on all party success", NULL);
}

static status job_rerun(struct call *c)
{
    struct row_job *jobs;
    size_t n;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    bool force = arg_bool(c, "force", false);
    const json_t *names = json_object_get(c->body, "component_name");
    CLEANUP(json_decrefp) json_t *done = NULL;
    if (!id) return answer(c, 101, "job_id is no text", NULL);
    TRY(rows_of_job(c, id, &jobs, &n));
    if (n == 0) return answer(c, 102, "can not found job", NULL);
    if (jobs[0].local) return answer(c, 103, "an upload or download is not run again: start it anew", NULL);
    if (jobs[0].status == RUN_SUCCESS && !force)
        return answer(c, 0, "rerun job success", NULL); /* nothing failed */
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s,s:b}", "job", id, "force", (int)force);
    if (json_is_string(names) && strcmp(json_string_value(names), "pipeline") != 0)
        json_object_set_new(params, "components", json_pack("[O]", names));
    else if (json_is_array(names))
        json_object_set(params, "components", (json_t *)names);
    status st = http_ask(c->cx, c->http, "job.rerun", json_incref(params), &done);
    if (st.code) return answer(c, 103, c->cx->err.msg, NULL);
    return answer(c, 0, "rerun job success", NULL);
}

static status clean_queue(struct call *c)
{
    struct row_job *jobs;
    size_t n;
    CLEANUP(json_decrefp) json_t *codes = json_object();
    TRY(rows_recent(c, 0, true, NULL, &jobs, &n));
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].status != RUN_WAITING || !party_same(jobs[i].me, jobs[i].initiator)) continue;
        json_object_set_new(codes, jobs[i].id, json_integer(stop_one(c, &jobs[i]).code ? 103 : 0));
    }
    return answer_ok(c, json_incref(codes));
}

/* Everything that a job has left is reclaimed as it ends: nothing remains to be cleaned. */
static status job_clean(struct call *c)
{
    struct row_job *jobs;
    size_t n;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    if (n == 0) return answer(c, 101, "find job failed", NULL);
    if (!run_ended(jobs[0].status)) return answer(c, 103, "the job has not ended", NULL);
    return answer(c, 0, "success", NULL);
}

/* ---- one job ---- */

/* The row of the request's role and party, or the first. *found false: answered already with 101. */
static status one_job(struct call *c, struct row_job *out, bool *found, const char *missing)
{
    struct row_job *jobs;
    struct party who;
    size_t n;
    bool given;
    const char *id = arg_text(c, "job_id");
    TRY(arg_party(c, &who, &given));
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    *found = false;
    for (size_t i = 0; i < n && !*found; i++)
        if (!given || party_same(jobs[i].me, who)) *out = jobs[i], *found = true;
    return *found ? OK : answer(c, 101, missing, NULL);
}

static status job_update(struct call *c)
{
    struct row_job j;
    bool found;
    NEED(c, "job_id", "role", "party_id");
    TRY(one_job(c, &j, &found, "find job failed"));
    if (!found) return OK;
    const char *notes = arg_text(c, "notes"),
               *key = arena_printf(c->cx->mem, "%s/%s/%u", j.id, role_name(j.me.role), j.me.id);
    CLEANUP(json_decrefp) json_t *doc = json_pack("{s:s}", "notes", notes ? notes : "");
    if (!key || !doc) return FAIL(c->cx, NOMEM, "notes");
    TRY(apidb_put(c->cx, c->w->db, "note", key, doc));
    return answer(c, 0, "success", NULL);
}

static status job_config(struct call *c)
{
    struct row_job j;
    bool found;
    CLEANUP(json_decrefp) json_t *row = NULL;
    NEED(c, "job_id", "role", "party_id");
    TRY(one_job(c, &j, &found, "find job failed"));
    if (!found) return OK;
    TRY(row_job_json(c, &j, &row));
    return answer_ok(c, json_pack("{s:O,s:s,s:{s:s,s:s},s:O,s:O}", "dsl", j.dsl, "job_id", j.id, "model_info",
                                  "model_id", j.model_id, "model_version", j.model_version, "runtime_conf",
                                  json_object_get(row, "f_runtime_conf"), "train_runtime_conf",
                                  json_object_get(row, "f_train_runtime_conf")));
}

static status url_get(struct call *c)
{
    struct row_job j;
    bool found;
    NEED(c, "job_id", "role", "party_id");
    TRY(one_job(c, &j, &found, "get board url failed"));
    if (!found) return OK;
    return answer_ok(
        c,
        json_pack("{s:[o]}", "board_url",
                  json_sprintf("http://%s:%u/index.html#/dashboard?job_id=%s&role=%s&party_id=%u",
                               c->http->set->http_host, c->http->port, j.id, role_name(j.me.role), j.me.id)));
}

static status job_report(struct call *c)
{
    CLEANUP(json_decrefp) json_t *tasks = NULL;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(rows_tasks(c, id ? id : "", NULL, &tasks));
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *t = json_array_get(tasks, i);
        json_array_append_new(
            list,
            json_pack("{s:O,s:O,s:O,s:O,s:O,s:O}", "component_name", json_object_get(t, "f_component_name"),
                      "role", json_object_get(t, "f_role"), "party_id", json_object_get(t, "f_party_id"),
                      "start_time", json_object_get(t, "f_start_time"), "end_time",
                      json_object_get(t, "f_end_time"), "elapsed", json_object_get(t, "f_elapsed")));
    }
    if (json_array_size(list) == 0) return answer(c, 101, "find job failed", NULL);
    return answer_ok(c, json_incref(list));
}

/* ---- DSL, parameters ---- */

/* "a, b,[c]" or ["a", "b"] as names in the arena. */
static status component_names(struct call *c, const json_t *v, const char ***out, size_t *n)
{
    size_t most = json_is_array(v) ? json_array_size(v) : json_string_length(v) + 1;
    const char **list = NEW(c->cx, const char *, most + 1);
    *n = 0;
    if (!list) return FAIL(c->cx, NOMEM, "component names");
    for (size_t i = 0; i < json_array_size(v); i++) {
        list[*n] = json_string_value(json_array_get(v, i));
        if (!list[(*n)++]) return FAIL(c->cx, ARG, "component %zu of the list is no text", i);
    }
    const char *p = json_is_string(v) ? json_string_value(v) : "";
    while (*p) {
        size_t blank = strspn(p, " \n\r\t,[]'\""), len = strcspn(p + blank, " \n\r\t,[]'\"");
        if (len && !(list[(*n)++] = arena_strndup(c->cx->mem, p + blank, len)))
            return FAIL(c->cx, NOMEM, "component names");
        p += blank + len;
    }
    *out = list;
    return OK;
}

static status generate(struct call *c, json_t **out)
{
    const json_t *train = json_object_get(c->body, "train_dsl");
    const char **names = NULL;
    size_t n;
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    if (json_is_string(train))
        TRY(js_parse(c->cx, "train_dsl", json_string_value(train), json_string_length(train), &dsl));
    else
        dsl = json_incref((json_t *)train);
    TRY(component_names(c, json_object_get(c->body, "cpn_str"), &names, &n));
    return model_infer_dsl(c->cx, dsl, names, n, out);
}

status answer_named(struct call *c, json_t *data)
{
    const char *name = arg_text(c, "filename"), *text;
    CLEANUP(json_decrefp) json_t *owned = data;
    if (!name) return answer_ok(c, json_incref(owned));
    if (strpbrk(name, "/\\\r\n\"")) return FAIL(c->cx, ARG, "filename is a file's name, not a path");
    TRY(js_text(c->cx, owned, &text));
    return answer_text_file(c, name, "application/json", text, strlen(text));
}

static status dsl_generate(struct call *c)
{
    json_t *dsl = NULL;
    NEED(c, "train_dsl", "cpn_str");
    if (generate(c, &dsl).code)
        return answer_http(c, 210, arena_printf(c->cx->mem, "DSL generating failed. %s", c->cx->err.msg));
    return answer_named(c, dsl);
}

static status parameter_update(struct call *c)
{
    CLEANUP(json_decrefp) json_t *done = NULL;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    struct row_job *jobs;
    size_t n;
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    if (n == 0 || jobs[0].local) return answer(c, 102, "can not found job", NULL);
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s}", "job", id);
    const json_t *job = json_object_get(c->body, "job_parameters"),
                 *component = json_object_get(c->body, "component_parameters");
    if (json_is_object(job)) json_object_set(params, "job_parameters", (json_t *)job);
    if (json_is_object(component)) json_object_set(params, "component_parameters", (json_t *)component);
    status st = http_ask(c->cx, c->http, "job.parameters", json_incref(params), &done);
    if (st.code) return answer(c, 100, c->cx->err.msg, NULL);
    return answer_ok(c, json_incref(done));
}

/* ---- what a job gave ---- */

static status data_view_query(struct call *c)
{
    struct output_row *outs;
    struct row_job *jobs;
    size_t n, n_jobs, used;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(rows_of_job(c, id ? id : "", &jobs, &n_jobs));
    if (n_jobs && !jobs[0].local) TRY(jobdb_outputs(c->cx, c->w->jobs, id, &outs, &n));
    if (!n_jobs || jobs[0].local) n = 0;
    const char *component;
    json_t *v;
    for (enum role r = 0; r < ROLE_COUNT && n; r++)
        json_object_foreach(json_object_get(jobs[0].dsl, "components"), component, v) for (size_t i = 0;
                                                                                           i < n; i++)
        {
            if (outs[i].party.role != r || strcmp(outs[i].component, component) != 0) continue;
            CLEANUP(json_decrefp) json_t *row = NULL;
            TRY(output_row_json(c, &jobs[0], &outs[i], &row));
            if (row_matches(row, c->body, &used)) json_array_append(list, row);
        }
    if (json_array_size(list) == 0) return answer(c, 101, "find data view failed", NULL);
    return answer_ok(c, json_incref(list));
}

extern const struct route job_routes[];
const struct route job_routes[] = {
    {"job/submit", job_submit, KEY_MODELLER},
    {"job/query", job_query, KEY_VIEWER},
    {"job/task/query", task_query, KEY_VIEWER},
    {"job/update", job_update, KEY_MODELLER},
    {"job/stop", job_stop, KEY_MODELLER},
    {"job/rerun", job_rerun, KEY_MODELLER},
    {"job/config", job_config, KEY_VIEWER},
    {"job/data/view/query", data_view_query, KEY_VIEWER},
    {"job/dsl/generate", dsl_generate, KEY_VIEWER},
    {"job/parameter/update", parameter_update, KEY_MODELLER},
    {"job/clean/queue", clean_queue, KEY_OPERATOR},
    {"job/clean", job_clean, KEY_OPERATOR},
    {"job/report", job_report, KEY_VIEWER},
    {"job/url/get", url_get, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
