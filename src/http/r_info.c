/* r_info.c - routes about the server itself: versions, services, resources, settings. */
#include "base/arena.h"
#include "fed/component.h"
#include "http/http_int.h"
#include <string.h>
#include <unistd.h>

/* FATE's names first: clients compare them. norn's own version stands beside them. */
static const struct {
    const char *name, *version;
} versions[] = {
    {"FATE", FATE_VERSION}, {"FATEFlow", FLOW_VERSION}, {"FATEBoard", "1.11.2"}, {"EGGROLL", "2.5.3"},
    {"CENTOS", "7.2"},      {"UBUNTU", "16.04"},        {"PYTHON", "3.8"},       {"JDK", "8"},
    {"MAVEN", "3.6.3"},     {"SPARK", "3.4.0"},         {"NORN", NORN_VERSION},
};

static status one_version(struct call *c, const char *module)
{
    for (size_t i = 0; i < LEN(versions); i++)
        if (strcmp(versions[i].name, module) == 0)
            return answer_ok(c, json_pack("{s:s,s:s}", module, versions[i].version, "API", "v1"));
    return answer_http(c, 404, arena_printf(c->cx->mem, "unknown module %.60s", module));
}

static status version_get(struct call *c)
{
    const char *module = arg_text(c, "module");
    return one_version(c, module ? module : "FATE");
}

static status versions_get(struct call *c)
{
    const char *module = arg_text(c, "module");
    if (module) return one_version(c, module);
    json_t *all = json_pack("{s:s}", "API", "v1");
    for (size_t i = 0; i < LEN(versions); i++)
        json_object_set_new(all, versions[i].name, json_string(versions[i].version));
    return answer_ok(c, all);
}

static const char *instance(struct call *c)
{
    return arena_printf(c->cx->mem, "flow-%s-%u", c->http->set->http_host, c->http->port);
}

static status fateflow_info(struct call *c)
{
    const char *id = instance(c);
    return answer_ok(c, json_pack("{s:{s:i,s:s,s:i,s:s,s:I,s:s,s:s}}", id, "grpc_port", 0, "host",
                                  c->http->set->http_host, "http_port", (int)c->http->port, "instance_id", id,
                                  "timestamp", (json_int_t)c->http->started_ms, "version", FATE_VERSION,
                                  "norn", NORN_VERSION));
}

/* What FATE keeps in job_default_config.yaml, as far as it means something here. */
static json_t *job_defaults(const struct http *h)
{
    return json_pack("{s:i,s:i,s:s,s:I,s:i,s:i,s:I,s:i,s:i,s:I}", "auto_retries", 0, "auto_retry_delay", 1,
                     "federated_status_collect_type", "PUSH", "job_timeout",
                     (json_int_t)(h->set->job_timeout_ms / 1000), "output_data_summary_count_limit", 100,
                     "remote_request_timeout", 30000, "task_cores", (json_int_t)4, "task_parallelism", 4,
                     "resource_waiting_timeout", 0, "upload_block_max_bytes", (json_int_t)104857600);
}

static status job_default(struct call *c)
{
    return answer_ok(c, job_defaults(c->http));
}

/* Settings are read at the start only: nothing is reloaded, and the answer says what holds. */
static status server_reload(struct call *c)
{
    return answer_ok(c,
                     json_pack("{s:o,s:n}", "job_default_config", job_defaults(c->http), "server_registry"));
}

static status server_get(struct call *c)
{
    return answer_ok(c, json_pack("{s:{s:s,s:i}}", "fateflow", "host", c->http->set->http_host, "http_port",
                                  (int)c->http->port));
}

static status server_get_one(struct call *c)
{
    if (strcasecmp(c->path, "fateflow") == 0) return server_get(c);
    return answer_http(c, 404, arena_printf(c->cx->mem, "no server %.60s is configured", c->path));
}

static status unsupported_server(struct call *c)
{
    return answer(c, 100, "norn calls no other services: servers and services cannot be registered", NULL);
}

static status info_common(struct call *c)
{
    return answer_ok(c, json_pack("{s:s,s:s,s:I}", "version", FATE_VERSION, "norn", NORN_VERSION, "party_id",
                                  (json_int_t)c->http->set->party));
}

static status info_board(struct call *c)
{
    return answer_ok(c, json_pack("{s:s,s:i}", "host", c->http->set->http_host, "port", (int)c->http->port));
}

static status info_eggroll(struct call *c)
{
    return answer(c, 100, "there is no EggRoll here: norn keeps and computes tables itself", NULL);
}

static status info_party(struct call *c)
{
    const char *id = *c->path ? c->path : "";
    CLEANUP(json_decrefp) json_t *site = NULL;
    TRY(http_ask(c->cx, c->http, "site.status", json_object(), &site));
    const json_t *links = json_object_get(site, "links");
    for (size_t i = 0; i < json_array_size(links); i++) {
        const json_t *l = json_array_get(links, i);
        const char *party = arena_printf(c->cx->mem, "%" JSON_INTEGER_FORMAT,
                                         json_integer_value(json_object_get(l, "party")));
        if (party && strcmp(party, id) == 0)
            return answer_ok(c, json_pack("{s:s,s:O,s:O}", "party_id", id, "up", json_object_get(l, "up"),
                                          "version", json_object_get(l, "version")));
    }
    return answer_http(c, 404, arena_printf(c->cx->mem, "party %.40s is no peer of this site", id));
}

/* ---- resources ---- */

static status resource_query(struct call *c)
{
    struct job_row *jobs;
    size_t n;
    CLEANUP(json_decrefp) json_t *list = json_array();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    TRY(jobdb_open_jobs(c->cx, c->w->jobs, &jobs, &n));
    for (size_t i = 0; i < n; i++)
        if (jobs[i].status == RUN_RUNNING)
            json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:i,s:i}", "job_id", jobs[i].job, "role",
                                                  role_name(jobs[i].initiator.role), "party_id",
                                                  arena_printf(c->cx->mem, "%u", jobs[i].initiator.id),
                                                  "core", 4, "memory", 0));
    int64_t used = 4 * (int64_t)json_array_size(list), left = used < cores ? cores - used : 0;
    json_t *engine = json_pack(
        "{s:I,s:o,s:I,s:{s:I,s:i},s:s,s:s,s:s,s:i,s:i,s:I,s:i,s:o,s:I}", "f_cores", (json_int_t)cores,
        "f_create_date", date_json(c->http->started_ms), "f_create_time", (json_int_t)c->http->started_ms,
        "f_engine_config", "cores_per_node", (json_int_t)cores, "nodes", 1, "f_engine_entrance",
        "fate_on_standalone", "f_engine_name", "STANDALONE", "f_engine_type", "computing", "f_memory", 0,
        "f_nodes", 1, "f_remaining_cores", (json_int_t)left, "f_remaining_memory", 0, "f_update_date",
        date_json(wall_ms()), "f_update_time", (json_int_t)wall_ms());
    return answer_ok(c,
                     json_pack("{s:o,s:O}", "computing_engine_resource", engine, "use_resource_job", list));
}

/* Nothing is ever held by a job that has ended, so there is nothing to give back. */
static status resource_return(struct call *c)
{
    struct job_row job;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    status st = id ? jobdb_job(c->cx, c->w->jobs, id, &job) : FAIL(c->cx, ARG, "job_id is no text");
    if (st.code == ERR_NOTFOUND) return answer_ok(c, json_array());
    TRY(st);
    return answer_ok(c, json_pack("[{s:s,s:s,s:b,s:b,s:s}]", "job_id", job.job, "party_id",
                                  arena_printf(c->cx->mem, "%u", c->http->set->party), "resource_in_use",
                                  !run_ended(job.status), "resource_return_status", 0, "role",
                                  role_name(job.initiator.role)));
}

static status health(struct call *c)
{
    return answer(c, 0, "success", NULL);
}

extern const struct route info_routes[];
const struct route info_routes[] = {
    {"version/get", version_get, KEY_ANYONE}, /* `pipeline config check` does not sign */
    {"info/version", version_get, KEY_VIEWER},
    {"server/version/get", versions_get, KEY_VIEWER},
    {"server/fateflow/info", fateflow_info, KEY_VIEWER},
    {"server/config/job/default", job_default, KEY_VIEWER},
    {"server/reload", server_reload, KEY_OPERATOR},
    {"server/get", server_get, KEY_VIEWER},
    {"server/service/get", server_get, KEY_VIEWER},
    {"server/*/get", server_get_one, KEY_VIEWER},
    {"server/*/register", unsupported_server, KEY_ADMIN},
    {"service/registry", unsupported_server, KEY_ADMIN},
    {"service/query", unsupported_server, KEY_VIEWER},
    {"info/common", info_common, KEY_VIEWER},
    {"info/fateboard", info_board, KEY_VIEWER},
    {"info/eggroll", info_eggroll, KEY_VIEWER},
    {"info/party/*", info_party, KEY_VIEWER},
    {"resource/query", resource_query, KEY_VIEWER},
    {"resource/return", resource_return, KEY_OPERATOR},
    {"info/health", health, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
