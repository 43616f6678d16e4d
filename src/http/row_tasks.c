/* row_tasks.c - FATE's rows of tasks, and the parameters of a component as its tracker shows them. */
#include "base/arena.h"
#include "fed/component.h"
#include "flow/conf.h"
#include "flow/dsl.h"
#include "flow/plan.h"
#include "http/local.h"
#include "http/rows.h"
#include <string.h>

/* FATE's class of a module at a role; modules that are not here have one class, named as the module. */
const char *row_code_path(const char *module, enum role role)
{
    static const struct {
        const char *module, *guest, *host;
    } classes[] = {
        {"Intersection", "IntersectGuest", "IntersectHost"},
        {"HeteroSecureBoost", "HeteroSecureBoostingTreeGuest", "HeteroSecureBoostingTreeHost"},
        {"SecureAddExample", "SecureAddGuest", "SecureAddHost"},
    };
    for (size_t i = 0; i < LEN(classes); i++)
        if (strcmp(classes[i].module, module) == 0)
            return role == ROLE_GUEST ? classes[i].guest : classes[i].host;
    return module;
}

/* "a", "a.b", ... of what a conf says, as FATE lists what its user gave. */
static void given_names(struct ctx *cx, const char *prefix, const json_t *params, json_t *list)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)params, key, v)
    {
        const char *name = arena_printf(cx->mem, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (!name) return;
        json_array_append_new(list, json_string(name));
        if (json_is_object(v)) given_names(cx, name, v, list);
    }
}

static bool of_flow(const char *module)
{
    static const char *const modules[] = {"Reader", "Upload", "Download", "Writer"};
    for (size_t i = 0; i < LEN(modules); i++)
        if (strcmp(module, modules[i]) == 0) return true;
    return false;
}

static const json_t *dsl_component_json(const struct row_job *j, const char *component)
{
    return json_object_get(json_object_get(j->dsl, "components"), component);
}

/* FATE shows two constant lists among Evaluation's parameters. */
static void add_metric_lists(json_t *all)
{
    static const char text[] =
        "{\"binary\":[\"auc\",\"ks\",\"lift\",\"gain\",\"accuracy\",\"precision\",\"recall\",\"roc\","
        "\"confusion_mat\","
        "\"psi\",\"f1_score\",\"quantile_pr\"],\"clustering\":[\"jaccard_similarity_score\",\"fowlkes_"
        "mallows_score\","
        "\"adjusted_rand_score\",\"davies_bouldin_index\",\"distance_measure\",\"contingency_matrix\"],"
        "\"multi\":[\"accuracy\",\"precision\",\"recall\"],\"regression\":[\"explained_variance\",\"mean_"
        "absolute_error\","
        "\"mean_squared_error\",\"median_absolute_error\",\"r2_score\",\"root_mean_squared_error\"]}";
    CLEANUP(json_decrefp) json_t *lists = json_loads(text, 0, NULL);
    json_object_set(all, "allowed_metrics", lists);
    json_object_set(all, "default_metrics", lists);
}

static status scheduler_param(struct call *c, const struct row_job *j, const char *component,
                              const char *module, json_t **out)
{
    struct ctx *cx = c->cx;
    struct conf conf;
    const struct component *k = component_find(module);
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    CLEANUP(json_decrefp) json_t *given = NULL;
    CLEANUP(json_decrefp) json_t *all = NULL;
    CLEANUP(json_decrefp) json_t *names = json_array();
    TRY(conf_parse(cx, j->conf, &conf, warnings));
    TRY(conf_component(cx, &conf, component, j->me, &given));
    if (of_flow(module) || !k)
        all = json_deep_copy(given);
    else
        TRY(component_params(cx, k, component, given, &all));
    if (!all || !names) return FAIL(cx, NOMEM, "parameters");
    json_object_set_new(all, "_name", json_sprintf("%s#%s", module, component));
    if (strcmp(module, "Evaluation") == 0) add_metric_lists(all);
    if (!of_flow(module)) {
        given_names(cx, "", given, names);
        json_object_set_new(all, "_feeded_deprecated_params", json_array());
        json_object_set_new(all, "_is_raw_conf", json_false());
        json_object_set(all, "_user_feeded_params", names);
    }
    *out = TAKE(all);
    return OK;
}

status row_component_param(struct call *c, const struct row_job *j, const char *component, json_t **out,
                           const char **module)
{
    const json_t *d = dsl_component_json(j, component);
    *module = json_string_value(json_object_get(d, "module"));
    if (!*module) return FAIL(c->cx, NOTFOUND, "job %s has no component %.64s", j->id, component);
    if (!j->local) return scheduler_param(c, j, component, *module, out);
    json_t *all = json_deep_copy(json_object_get(j->doc->value, "params"));
    if (!all) return FAIL(c->cx, NOMEM, "parameters");
    json_object_set_new(all, "_name", json_sprintf("%s#%s", *module, component));
    *out = all;
    return OK;
}

static status parameters_json(struct call *c, const struct row_job *j, const char *component,
                              const json_t *conf, json_t **out)
{
    json_t *param = NULL;
    const char *module;
    TRY(row_component_param(c, j, component, &param, &module));
    json_t *all = json_copy((json_t *)conf);
    json_object_del(all, "component_parameters");
    json_object_set_new(all, "CodePath", json_string(row_code_path(module, j->me.role)));
    json_object_set_new(all, "ComponentParam", param);
    json_object_set_new(all, "ComponentParameterSource", json_string(component));
    json_object_set_new(
        all, "local",
        json_pack("{s:I,s:s}", "party_id", (json_int_t)j->me.id, "role", role_name(j->me.role)));
    json_object_set_new(all, "module", json_string(module));
    *out = all;
    return all ? OK : FAIL(c->cx, NOMEM, "parameters");
}

static json_t *provider_info(const char *module)
{
    bool flow = of_flow(module);
    return json_pack("{s:{},s:{s:s,s:s},s:s,s:s,s:s,s:s,s:s}", "class_path", "env", "PYTHONPATH", "",
                     "PYTHON_ENV", "", "name", flow ? "fate_flow" : "fate", "path", "norn " NORN_VERSION,
                     "python_env", "", "version", flow ? FLOW_VERSION : FATE_VERSION, "norn", NORN_VERSION);
}

static json_t *task_times(const struct task_row *t, int64_t created_ms)
{
    bool ended = run_ended(t->status);
    int64_t end = ended ? t->ended_ms : 0, last = ended && t->ended_ms ? t->ended_ms
                                                  : t->started_ms      ? t->started_ms
                                                                       : created_ms;
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "f_create_date", date_json(created_ms),
                     "f_create_time", ms_json(created_ms), "f_elapsed",
                     end && t->started_ms ? json_integer(end - t->started_ms) : json_null(), "f_end_date",
                     date_json(end), "f_end_time", ms_json(end), "f_start_date", date_json(t->started_ms),
                     "f_start_time", ms_json(t->started_ms), "f_update_date", date_json(last),
                     "f_update_time", ms_json(last));
}

/* j: the job as of the task's party. */
static status task_row_json(struct call *c, const struct row_job *j, const struct task_row *t,
                            const json_t *conf, json_t **out)
{
    json_t *parameters = NULL;
    const char *task = arena_printf(c->cx->mem, "%s_%s", t->job, t->component);
    char party[12], version[24];
    snprintf(party, sizeof party, "%u", t->party.id);
    snprintf(version, sizeof version, "%lld", (long long)t->attempt);
    TRY(parameters_json(c, j, t->component, conf, &parameters));
    const char *st = run_status_name(t->status);
    CLEANUP(json_decrefp)
    json_t *row = json_pack(
        "{s:i,s:i,s:[s,s,s,s,s,s,s,s,s,s,s,s],s:s,s:s,s:o,s:n,s:{s:s},s:s,s:s,s:s,s:o,s:s,s:b,s:s,s:b,s:s,s:"
        "s,s:o}",
        "f_auto_retries", 0, "f_auto_retry_delay", 1, "f_cmd", "norn", "task", "--job_id", t->job,
        "--component_name", t->component, "--task_version", version, "--role", role_name(t->party.role),
        "--party_id", party, "f_component_module", t->module, "f_component_name", t->component,
        "f_component_parameters", parameters, "f_deepspeed_id", "f_engine_conf", "computing_engine",
        "STANDALONE", "f_error_report", t->error, "f_federated_mode", "SINGLE",
        "f_federated_status_collect_type", "PUSH", "f_initiator_party_id",
        json_sprintf("%u", j->initiator.id), "f_initiator_role", role_name(j->initiator.role),
        "f_is_deepspeed", 0, "f_job_id", t->job, "f_kill_status", (int)run_ended(t->status), "f_party_id",
        party, "f_party_status", st, "f_provider_info", provider_info(t->module));
    if (!row || !task) return FAIL(c->cx, NOMEM, "a task's row");
    CLEANUP(json_decrefp)
    json_t *more = json_pack(
        "{s:s,s:o,s:b,s:o,s:o,s:s,s:n,s:s,s:I,s:s}", "f_role", role_name(t->party.role), "f_run_ip",
        text_or_null(t->pid ? "127.0.0.1" : NULL), "f_run_on_this_party", (int)t->local, "f_run_pid",
        ms_json(t->pid), "f_run_port", t->pid ? json_integer(c->http->port) : json_null(), "f_status", st,
        "f_status_code", "f_task_id", task, "f_task_version", (json_int_t)t->attempt, "f_worker_id",
        arena_printf(c->cx->mem, "%s_%s_%s_%s", task, version, role_name(t->party.role), party));
    CLEANUP(json_decrefp) json_t *times = task_times(t, j->created_ms);
    if (!more || !times || json_object_update(row, more) || json_object_update(row, times))
        return FAIL(c->cx, NOMEM, "a task's row");
    *out = TAKE(row);
    return OK;
}

/* Guests before hosts before arbiters, each in the DSL's order. */
/* Is there no simple filter that this task fails? Lists and the other columns are row_matches'. */
static bool may_match(const struct task_row *t, const json_t *filters)
{
    char party[12], given[24];
    snprintf(party, sizeof party, "%u", t->party.id);
    const char *have[] = {t->component, role_name(t->party.role), party, run_status_name(t->status)};
    static const char *const keys[] = {"component_name", "role", "party_id", "status"};
    for (size_t i = 0; i < LEN(keys); i++) {
        const json_t *v = json_object_get(filters, keys[i]);
        const char *want = json_string_value(v);
        if (json_is_integer(v)) {
            snprintf(given, sizeof given, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
            want = given;
        }
        if (want && strcmp(want, have[i]) != 0) return false;
    }
    return true;
}

static status in_order(struct call *c, const struct row_job *j, const struct task_row *tasks, size_t n,
                       const json_t *conf, const json_t *filters, json_t *list)
{
    const char *component;
    json_t *v;
    for (enum role r = 0; r < ROLE_COUNT; r++)
        json_object_foreach(json_object_get(j->dsl, "components"), component, v)
        {
            for (size_t i = 0; i < n; i++) {
                if (tasks[i].party.role != r || strcmp(tasks[i].component, component) != 0) continue;
                if (!may_match(&tasks[i], filters)) continue;
                struct row_job as = *j;
                json_t *row = NULL;
                as.me = tasks[i].party;
                TRY(task_row_json(c, &as, &tasks[i], conf, &row));
                if (json_array_append_new(list, row)) return FAIL(c->cx, NOMEM, "tasks");
            }
        }
    return OK;
}

status rows_tasks(struct call *c, const char *id, const json_t *filters, json_t **out)
{
    struct row_job *jobs;
    struct task_row *tasks, own;
    size_t n_jobs, n = 1;
    CLEANUP(json_decrefp) json_t *list = json_array();
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(rows_of_job(c, id, &jobs, &n_jobs));
    if (n_jobs) {
        TRY(row_conf(c, &jobs[0], &conf));
        if (jobs[0].local) {
            local_task(&jobs[0], &own);
            tasks = &own;
        } else {
            TRY(jobdb_tasks(c->cx, c->w->jobs, id, &tasks, &n));
        }
        TRY(in_order(c, &jobs[0], tasks, n, conf, filters, list));
    }
    *out = TAKE(list);
    return OK;
}
