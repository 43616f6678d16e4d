#include "http/rows.h"
#include "base/arena.h"
#include "fed/component.h"
#include "flow/conf.h"
#include "flow/plan.h"
#include "http/local.h"
#include "model/model.h"
#include <string.h>

#define TASK_CORES 4 /* FATE's default; shown where a job's conf has no task_cores */

static void free_json(void *j)
{
    json_decref(j);
}

/* A stored text as JSON that goes with the arena. */
static status parse_owned(struct ctx *cx, const char *what, const char *text, json_t **out)
{
    TRY(js_parse(cx, what, text, strlen(text), out));
    if (arena_on_free(cx->mem, free_json, *out)) return OK;
    json_decref(*out);
    return FAIL(cx, NOMEM, "%s", what);
}

static int64_t percent_done(struct call *c, const char *id)
{
    struct task_row *t;
    size_t n, ended = 0;
    if (jobdb_tasks(c->cx, c->w->jobs, id, &t, &n).code || n == 0) return 0;
    for (size_t i = 0; i < n; i++)
        ended += run_ended(t[i].status);
    return (int64_t)(100 * ended / n);
}

static const char *notes_of(struct call *c, const char *id, struct party who)
{
    struct doc d;
    bool found = false;
    const char *key = arena_printf(c->cx->mem, "%s/%s/%u", id, role_name(who.role), who.id);
    if (!key || apidb_get(c->cx, c->w->db, "note", key, &d, &found).code || !found) return "";
    const char *text = json_string_value(json_object_get(d.value, "notes"));
    return text ? text : "";
}

/* Adds the rows of one scheduler job to list, the initiator's first. */
static status add_rows(struct call *c, const struct job_row *row, struct row_job *list, size_t most,
                       size_t *n)
{
    struct ctx *cx = c->cx;
    struct conf conf;
    json_t *dsl, *text;
    uint32_t party = c->http->set->party;
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    TRY(parse_owned(cx, "stored DSL", row->dsl, &dsl));
    TRY(parse_owned(cx, "stored conf", row->conf, &text));
    TRY(conf_parse(cx, text, &conf, warnings));
    int64_t progress = row->status == RUN_RUNNING ? percent_done(c, row->job) : row->progress;
    const char *version = conf.type == JOB_PREDICT ? conf.model_version : row->job;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < conf.n_parties && *n < most; i++) {
            struct party me = conf.parties[i];
            if (me.id != party || party_same(me, row->initiator) != (pass == 0)) continue;
            list[(*n)++] = (struct row_job){.id = row->job,
                                            .me = me,
                                            .initiator = row->initiator,
                                            .status = row->status,
                                            .reason = row->reason,
                                            .attempt = row->attempt,
                                            .progress = row->status == RUN_SUCCESS ? 100 : progress,
                                            .created_ms = row->created_ms,
                                            .started_ms = row->started_ms,
                                            .ended_ms = row->ended_ms,
                                            .model_id = row->model_id,
                                            .model_version = version ? version : row->job,
                                            .notes = notes_of(c, row->job, me),
                                            .dsl = dsl,
                                            .conf = text};
        }
    return OK;
}

static status local_row(struct call *c, const struct doc *d, struct row_job *out)
{
    struct party nobody = {ROLE_LOCAL, 0};
    enum run_status st = RUN_FAILED;
    const char *word = json_string_value(json_object_get(d->value, "status"));
    const char *reason = json_string_value(json_object_get(d->value, "reason"));
    if (word) (void)run_status_parse(word, &st);
    json_t *dsl, *conf;
    TRY(local_dsl(c->cx, d, &dsl));
    if (!arena_on_free(c->cx->mem, free_json, dsl)) return FAIL(c->cx, NOMEM, "a row");
    TRY(local_conf(c->cx, d, &conf));
    if (!arena_on_free(c->cx->mem, free_json, conf)) return FAIL(c->cx, NOMEM, "a row");
    struct doc *kept = NEW(c->cx, struct doc, 1);
    if (!kept) return FAIL(c->cx, NOMEM, "a row");
    *kept = *d;
    *out = (struct row_job){
        .id = d->key,
        .me = nobody,
        .initiator = nobody,
        .status = st,
        .reason = reason ? reason : "",
        .progress = st == RUN_SUCCESS ? 100 : json_integer_value(json_object_get(d->value, "progress")),
        .created_ms = d->created_ms,
        .started_ms = json_integer_value(json_object_get(d->value, "started_ms")),
        .ended_ms = json_integer_value(json_object_get(d->value, "ended_ms")),
        .model_id = "local-0#model",
        .model_version = d->key,
        .notes = notes_of(c, d->key, nobody),
        .dsl = dsl,
        .conf = conf,
        .local = true,
        .doc = kept};
    return OK;
}

status rows_of_job(struct call *c, const char *id, struct row_job **out, size_t *n)
{
    struct job_row row;
    struct doc d;
    bool found = false;
    struct row_job *list = NEW(c->cx, struct row_job, CONF_PARTIES_MAX);
    *n = 0;
    if (!list) return FAIL(c->cx, NOMEM, "rows");
    *out = list;
    if (!job_id_ok(id)) return OK;
    status st = jobdb_job(c->cx, c->w->jobs, id, &row);
    if (!st.code) return add_rows(c, &row, list, CONF_PARTIES_MAX, n);
    if (st.code != ERR_NOTFOUND) return st;
    TRY(apidb_get(c->cx, c->w->db, "local", id, &d, &found));
    if (!found) return OK;
    TRY(local_row(c, &d, list));
    *n = 1;
    return OK;
}

/* Two lists, each newest first, become one. */
static bool has_status(enum run_status st, const json_t *want)
{
    const char *have = run_status_name(st), *one = json_string_value(want);
    if (one) return strcmp(one, have) == 0;
    for (size_t i = 0; i < json_array_size(want); i++) {
        const char *w = json_string_value(json_array_get(want, i));
        if (w && strcmp(w, have) == 0) return true;
    }
    return !json_is_array(want) || json_array_size(want) == 0;
}

status rows_recent(struct call *c, size_t max, bool open_only, const json_t *filters, struct row_job **out,
                   size_t *n)
{
    struct job_row *jobs;
    struct doc *docs;
    size_t n_jobs, n_docs, i = 0, k = 0, most = max ? max : SIZE_MAX;
    if (open_only)
        TRY(jobdb_open_jobs(c->cx, c->w->jobs, &jobs, &n_jobs));
    else
        TRY(jobdb_jobs(c->cx, c->w->jobs, max, &jobs, &n_jobs));
    TRY(apidb_list(c->cx, c->w->db, "local", "", true, max, &docs, &n_docs));
    struct row_job *list = NEW(c->cx, struct row_job, n_docs + n_jobs * ROLE_COUNT + 1);
    if (!list) return FAIL(c->cx, NOMEM, "%zu rows", n_docs + n_jobs);
    *n = 0;
    while (*n < most && (i < n_jobs || k < n_docs)) {
        size_t at = open_only ? n_jobs - 1 - i : i; /* open ones come oldest first */
        bool job = k >= n_docs || (i < n_jobs && strcmp(jobs[at].job, docs[k].key) > 0);
        if (job) {
            if (has_status(jobs[at].status, json_object_get(filters, "status")))
                TRY(add_rows(c, &jobs[at], list, n_docs + n_jobs * ROLE_COUNT + 1, n));
            i++;
            continue;
        }
        TRY(local_row(c, &docs[k++], &list[*n]));
        if (!open_only || !run_ended(list[*n].status)) (*n)++;
    }
    if (*n > most) *n = most;
    *out = list;
    return OK;
}

/* ---- confs ---- */

json_t *row_roles(const json_t *conf)
{
    static const char *const by_name[] = {"arbiter", "guest", "host", "local"};
    json_t *roles = json_object(), *given = json_object_get(conf, "role");
    for (size_t i = 0; i < LEN(by_name); i++) {
        const json_t *ids = json_object_get(given, by_name[i]);
        if (json_array_size(ids) == 0) continue;
        json_t *list = json_array();
        for (size_t k = 0; k < json_array_size(ids); k++) {
            uint32_t id = 0; /* of a local job */
            (void)conf_party_id(json_array_get(ids, k), &id);
            json_array_append_new(list, json_integer(id));
        }
        json_object_set_new(roles, by_name[i], list);
    }
    return roles;
}

static int64_t cores_of(const json_t *conf)
{
    int64_t cores = json_integer_value(js_at(conf, "job_parameters.common.task_cores"));
    return cores > 0 ? cores : TASK_CORES;
}

/* FATE's job parameters of a job, complete. */
static json_t *job_parameters(const struct row_job *j)
{
    const json_t *given = js_at(j->conf, "job_parameters.common");
    const char *key;
    json_t *v;
    json_t *all = json_pack(
        "{s:i,s:i,s:s,s:i,s:{},s:{},s:s,s:s,s:{},s:s,s:s,s:s,s:{},s:{},s:{},s:o,s:{},s:{},s:i,s:{s:b,s:I,s:I,"
        "s:i,s:i}}",
        "auto_retries", 0, "auto_retry_delay", 1, "computing_engine", "STANDALONE", "computing_partitions", 4,
        "eggroll_run", "engines_address", "federated_mode", "SINGLE", "federated_status_collect_type", "PUSH",
        "inheritance_info", "job_type", "train", "model_id", j->model_id, "model_version", j->model_version,
        "pulsar_run", "rabbitmq_run", "role_parameters", "roles", row_roles(j->conf), "spark_run",
        "task_conf", "task_parallelism", 1, "adaptation_parameters", "if_initiator_baseline", 1,
        "request_task_cores", (json_int_t)cores_of(j->conf), "task_cores_per_node",
        (json_int_t)cores_of(j->conf), "task_memory_per_node", 0, "task_nodes", 1);
    json_object_foreach((json_t *)given, key, v) json_object_set(all, key, v);
    json_object_del(all, "task_cores");
    return all;
}

status row_conf(struct call *c, const struct row_job *j, json_t **out)
{
    json_t *conf = json_copy(j->conf), *parameters = json_object_get(j->conf, "job_parameters");
    parameters = parameters ? json_copy(parameters) : json_object();
    if (!conf || !parameters || json_object_set_new(parameters, "common", job_parameters(j)) ||
        json_object_set_new(conf, "job_parameters", parameters)) {
        json_decref(conf);
        return FAIL(c->cx, NOMEM, "a conf");
    }
    json_object_set_new(conf, "role", row_roles(j->conf));
    *out = conf;
    return OK;
}

/* The same as the party itself has it: parameters flat, with what this site computes on. */
static json_t *conf_on_party(const struct row_job *j, const json_t *conf)
{
    json_t *own = json_copy((json_t *)conf), *p = job_parameters(j);
    int64_t cores = cores_of(j->conf);
    json_object_set_new(p, "federation_engine", json_string("STANDALONE"));
    json_object_set_new(p, "storage_engine", json_string("STANDALONE"));
    json_object_set_new(p, "eggroll_run",
                        json_pack("{s:I}", "eggroll.session.processors.per.node", (json_int_t)cores));
    json_object_set_new(json_object_get(p, "adaptation_parameters"), "if_initiator_baseline", json_false());
    json_t *address = json_pack("{s:I,s:i}", "cores_per_node", (json_int_t)cores, "nodes", 1);
    json_object_set_new(
        p, "engines_address",
        json_pack("{s:O,s:O,s:o}", "computing", address, "federation", address, "storage", address));
    json_object_set_new(own, "job_parameters", p);
    return own;
}

/* Of a predict job: what its model was trained with. {} when the model is gone, and for a training. */
static json_t *train_conf(struct call *c, const struct row_job *j)
{
    const char *type = json_string_value(js_at(j->conf, "job_parameters.common.job_type"));
    struct model_key key = {role_name(j->me.role), j->me.id, j->model_id, j->model_version};
    struct model_pipeline p;
    if (!type || strcmp(type, "predict") != 0 || model_load_pipeline(c->cx, http_models(c), &key, &p).code)
        return json_object();
    return json_incref(p.train_conf);
}

/* ---- jobs ---- */

static json_t *users(const json_t *roles)
{
    json_t *all = json_object(), *ids;
    const char *role;
    json_object_foreach((json_t *)roles, role, ids)
    {
        json_t *of = json_object();
        for (size_t i = 0; i < json_array_size(ids); i++) {
            char id[24];
            snprintf(id, sizeof id, "%" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(ids, i)));
            json_object_set_new(of, id, json_string(""));
        }
        json_object_set_new(all, role, of);
    }
    return all;
}

static json_t *id_text(uint32_t id)
{
    char text[12];
    snprintf(text, sizeof text, "%u", id);
    return json_string(text);
}

static json_t *job_times(const struct row_job *j)
{
    bool ended = run_ended(j->status);
    int64_t end = ended ? j->ended_ms : 0, last = ended           ? j->ended_ms
                                                  : j->started_ms ? j->started_ms
                                                                  : j->created_ms;
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "f_apply_resource_time", ms_json(j->started_ms),
        "f_create_date", date_json(j->created_ms), "f_create_time", ms_json(j->created_ms), "f_elapsed",
        end && j->started_ms ? json_integer(end - j->started_ms) : json_null(), "f_end_date", date_json(end),
        "f_end_time", ms_json(end), "f_return_resource_time", ms_json(j->started_ms ? end : 0),
        "f_start_date", date_json(j->started_ms), "f_start_time", ms_json(j->started_ms), "f_update_date",
        date_json(last), "f_update_time", ms_json(last));
}

status row_job_json(struct call *c, const struct row_job *j, json_t **out)
{
    bool ended = run_ended(j->status), began = j->started_ms != 0, canceled = j->status == RUN_CANCELED;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    CLEANUP(json_decrefp) json_t *roles = row_roles(j->conf);
    CLEANUP(json_decrefp) json_t *times = job_times(j);
    TRY(row_conf(c, j, &conf));
    json_int_t cores = began ? cores_of(j->conf) : 0;
    CLEANUP(json_decrefp)
    json_t *row = json_pack(
        "{s:b,s:o,s:I,s:s,s:O,s:i,s:o,s:o,s:{},s:s,s:o,s:s,s:b,s:s,s:i,s:s,s:o,s:I,s:b,s:n,s:I,s:i,s:b,s:b,s:"
        "s}",
        "f_cancel_signal", canceled, "f_cancel_time", ms_json(canceled ? j->ended_ms : 0), "f_cores", cores,
        "f_description", j->notes, "f_dsl", j->dsl, "f_end_scheduling_updates", (int)ended, "f_engine_name",
        text_or_null(began ? "STANDALONE" : NULL), "f_engine_type", text_or_null(began ? "computing" : NULL),
        "f_inheritance_info", "f_inheritance_status", "pass", "f_initiator_party_id",
        id_text(j->initiator.id), "f_initiator_role", role_name(j->initiator.role), "f_is_initiator",
        (int)party_same(j->me, j->initiator), "f_job_id", j->id, "f_memory", 0, "f_name", "", "f_party_id",
        id_text(j->me.id), "f_progress", (json_int_t)j->progress, "f_ready_signal", 0, "f_ready_time",
        "f_remaining_cores", ended ? cores : (json_int_t)0, "f_remaining_memory", 0, "f_rerun_signal", 0,
        "f_resource_in_use", (int)(j->status == RUN_RUNNING), "f_role", role_name(j->me.role));
    if (!row || !times || json_object_update(row, times)) return FAIL(c->cx, NOMEM, "a job's row");
    json_object_set(row, "f_roles", roles);
    json_object_set(row, "f_runtime_conf", conf);
    json_object_set_new(row, "f_runtime_conf_on_party", conf_on_party(j, conf));
    json_object_set_new(row, "f_status", json_string(run_status_name(j->status)));
    json_object_set_new(row, "f_status_code", json_null());
    json_object_set_new(row, "f_tag", json_string(ended ? "job_end" : ""));
    json_object_set_new(row, "f_train_runtime_conf", train_conf(c, j));
    json_object_set_new(row, "f_user", users(roles));
    json_object_set_new(row, "f_user_id", json_string(""));
    *out = TAKE(row);
    return OK;
}

json_t *row_unprefixed(const json_t *row)
{
    json_t *out = json_object(), *v;
    const char *key;
    json_object_foreach((json_t *)row, key, v)
        json_object_set(out, strncmp(key, "f_", 2) == 0 ? key + 2 : key, v);
    return out;
}

/* ---- filters ---- */

/* Column and filter as text: clients send numbers as text and text as numbers. */
static bool same_value(const json_t *a, const json_t *b)
{
    char x[24] = "", y[24] = "";
    const char *s = json_string_value(a), *t = json_string_value(b);
    if (json_is_boolean(a) && (json_is_boolean(b) || json_is_integer(b)))
        return json_is_true(a) == (json_is_true(b) || json_integer_value(b) == 1);
    if (json_is_integer(a)) snprintf(x, sizeof x, "%" JSON_INTEGER_FORMAT, json_integer_value(a)), s = x;
    if (json_is_integer(b)) snprintf(y, sizeof y, "%" JSON_INTEGER_FORMAT, json_integer_value(b)), t = y;
    if (s && t) return strcmp(s, t) == 0;
    return json_equal(a, b) == 1;
}

bool row_matches(const json_t *row, const json_t *filters, size_t *used)
{
    const char *key;
    json_t *want;
    bool all = true;
    *used = 0;
    json_object_foreach((json_t *)filters, key, want)
    {
        char column[80];
        int n = snprintf(column, sizeof column, "f_%s", key);
        const json_t *have = n > 0 && (size_t)n < sizeof column ? json_object_get(row, column) : NULL;
        if (!have || json_is_null(want)) continue;
        (*used)++;
        if (!json_is_array(want)) {
            all = all && same_value(have, want);
            continue;
        }
        bool any = false;
        for (size_t i = 0; i < json_array_size(want); i++)
            any = any || same_value(have, json_array_get(want, i));
        all = all && any;
    }
    return all;
}
