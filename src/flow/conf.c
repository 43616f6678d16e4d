#include "flow/conf.h"
#include "base/arena.h"
#include "base/num.h"
#include "flow/names.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a job parameter of FATE's means here. */
enum use { USED, NO_MEANING, NOT_BUILT };
static const struct {
    const char *name;
    enum use use;
    const char
        *def; /* the value of FATE's that asks for nothing, as JSON; NULL = any value is worth a word */
} job_parameters[] = {
    {"job_type", USED, NULL},
    {"model_id", USED, NULL},
    {"model_version", USED, NULL},
    {"timeout", USED, NULL},
    {"task_parallelism", USED, NULL},
    {"task_cores", USED, NULL},
    {"dsl_version", USED, NULL},
    {"auto_retries", USED, NULL},
    {"auto_retry_delay", USED, NULL},
    {"inheritance_info", NOT_BUILT, "{}"},
    {"computing_engine", NO_MEANING, "\"STANDALONE\""},
    {"federation_engine", NO_MEANING, "\"STANDALONE\""},
    {"storage_engine", NO_MEANING, "\"STANDALONE\""},
    {"engines_address", NO_MEANING, "{}"},
    {"federated_mode", NO_MEANING, "\"MULTIPLE\""},
    {"federation_info", NO_MEANING, "{}"},
    {"computing_partitions", NO_MEANING, NULL},
    {"federated_status_collect_type", NO_MEANING, "\"PUSH\""},
    {"federated_data_exchange_type", NO_MEANING, "null"},
    {"eggroll_run", NO_MEANING, "{}"},
    {"spark_run", NO_MEANING, "{}"},
    {"rabbitmq_run", NO_MEANING, "{}"},
    {"pulsar_run", NO_MEANING, "{}"},
    {"adaptation_parameters", NO_MEANING, "{}"},
    {"assistant_role", NO_MEANING, "null"},
    {"map_table_name", NO_MEANING, "null"},
    {"map_namespace", NO_MEANING, "null"},
    {"task_conf", NO_MEANING, "{}"},
    {"roles", NO_MEANING, "{}"},
    {"role_parameters", NO_MEANING, "{}"},
    {"user", NO_MEANING, NULL},
    {"backend", NO_MEANING, NULL},
    {"work_mode", NO_MEANING, NULL},
};

bool conf_job_parameter_known(const char *name)
{
    for (size_t i = 0; i < LEN(job_parameters); i++)
        if (strcmp(name, job_parameters[i].name) == 0) return true;
    return false;
}

static status warn(struct ctx *cx, json_t *warnings, const char *text)
{
    if (!text || json_array_append_new(warnings, json_string(text))) return FAIL(cx, NOMEM, "a warning");
    return OK;
}

/* The nearest of a list as the end of a sentence, "" when none is near. */
static const char *did_you_mean(struct ctx *cx, const char *given, const char *const *known, size_t n)
{
    const char *near = name_nearest(given, known, n);
    const char *text = near ? arena_printf(cx->mem, ", did you mean %s?", near) : "";
    return text ? text : "";
}

static status check_top(struct ctx *cx, const json_t *j, json_t *warnings)
{
    static const char *const known[] = {"dsl_version",          "initiator", "role", "job_parameters",
                                        "component_parameters", "provider"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)j, key, v)
    {
        bool found = false;
        for (size_t i = 0; i < LEN(known) && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (!found)
            TRY(warn(cx, warnings,
                     arena_printf(cx->mem, "conf: %.60s has no meaning and is ignored%s", key,
                                  did_you_mean(cx, key, known, LEN(known)))));
    }
    v = json_object_get(j, "dsl_version");
    bool two = json_integer_value(v) == 2 || (json_is_string(v) && strcmp(json_string_value(v), "2") == 0);
    return two ? OK : FAIL(cx, ARG, "conf: dsl_version is %s, want 2", v ? "another" : "missing");
}

bool conf_party_id(const json_t *v, uint32_t *out)
{
    int64_t id = json_integer_value(v);
    if (json_is_string(v) && !num_parse_i64(json_string_value(v), json_string_length(v), &id)) return false;
    if (id <= 0 || id > INT32_MAX) return false;
    *out = (uint32_t)id;
    return true;
}

static status parse_role(struct ctx *cx, struct conf *c, enum role role, const json_t *list)
{
    if (!list) return OK;
    if (!json_is_array(list))
        return FAIL(cx, FORMAT, "conf: role.%s is not a list of party ids", role_name(role));
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct party p = {.role = role};
        if (!conf_party_id(json_array_get(list, i), &p.id))
            return FAIL(cx, ARG, "conf: role.%s: entry %zu is no party id (1 to %d)", role_name(role), i,
                        INT32_MAX);
        if (conf_index(c, p) != SIZE_MAX)
            return FAIL(cx, ARG, "conf: role.%s names party %u twice", role_name(role), p.id);
        if (c->n_parties == CONF_PARTIES_MAX)
            return FAIL(cx, LIMIT, "conf: more than %d parties", CONF_PARTIES_MAX);
        c->parties[c->n_parties++] = p;
    }
    return OK;
}

static status parse_parties(struct ctx *cx, const json_t *j, struct conf *c)
{
    const json_t *roles = json_object_get(j, "role"), *init = json_object_get(j, "initiator");
    const char *key, *role;
    json_t *v;
    enum role r;
    if (!json_is_object(roles)) return FAIL(cx, FORMAT, "conf: role is missing or no object");
    json_object_foreach((json_t *)roles, key, v)
    {
        if (role_parse(key, &r)) continue;
        static const char *const known[] = {"guest", "host", "arbiter", "local"};
        return FAIL(cx, ARG, "conf: role.%.40s is no role%s", key, did_you_mean(cx, key, known, LEN(known)));
    }
    for (r = 0; r < ROLE_COUNT; r++)
        TRY(parse_role(cx, c, r, json_object_get(roles, role_name(r))));
    if (c->n_parties == 0) return FAIL(cx, ARG, "conf: role names no party");
    if (!json_is_object(init)) return FAIL(cx, FORMAT, "conf: initiator is missing or no object");
    role = json_string_value(json_object_get(init, "role"));
    if (!role || !role_parse(role, &c->initiator.role))
        return FAIL(cx, ARG, "conf: initiator.role is %s, want guest, host, arbiter or local",
                    role ? "no role" : "missing");
    if (!conf_party_id(json_object_get(init, "party_id"), &c->initiator.id))
        return FAIL(cx, ARG, "conf: initiator.party_id is missing or no party id");
    if (conf_index(c, c->initiator) == SIZE_MAX)
        return FAIL(cx, ARG, "conf: the initiator %s %u is not among role.%s", role, c->initiator.id, role);
    return OK;
}

size_t conf_index(const struct conf *c, struct party who)
{
    size_t k = 0;
    for (size_t i = 0; i < c->n_parties; i++) {
        if (c->parties[i].role != who.role) continue;
        if (c->parties[i].id == who.id) return k;
        k++;
    }
    return SIZE_MAX;
}

static status job_number(struct ctx *cx, const char *name, const json_t *v, double min, double max,
                         double *out)
{
    double x = json_number_value(v);
    if (json_is_null(v)) return OK;
    if (!json_is_number(v) || !(x >= min && x <= max))
        return FAIL(cx, ARG, "conf: job_parameters %s, want %.10g to %.10g", name, min, max);
    *out = x;
    return OK;
}

static status job_text(struct ctx *cx, const char *name, const json_t *v, const char **out)
{
    if (json_is_null(v)) return OK;
    if (json_is_integer(v))
        *out = arena_printf(cx->mem, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_string(v))
        *out = arena_strdup(cx->mem, json_string_value(v));
    else
        return FAIL(cx, ARG, "conf: job_parameters %s is not a text", name);
    return *out ? OK : FAIL(cx, NOMEM, "conf");
}

static status use_job_parameter(struct ctx *cx, struct conf *c, const char *name, const json_t *v)
{
    double x = 0;
    const char *type = NULL;
    if (strcmp(name, "model_id") == 0) return job_text(cx, name, v, &c->model_id);
    if (strcmp(name, "model_version") == 0) return job_text(cx, name, v, &c->model_version);
    if (strcmp(name, "timeout") == 0) {
        TRY(job_number(cx, name, v, 0, 31536000, &x));
        c->timeout_ms = (uint64_t)ceil(x * 1000);
    } else if (strcmp(name, "task_parallelism") == 0) {
        TRY(job_number(cx, name, v, 1, 1024, &x));
        if (x >= 1) c->task_parallelism = (uint64_t)x;
    } else if (strcmp(name, "task_cores") == 0) {
        TRY(job_number(cx, name, v, 0, 1024, &x));
        c->task_cores = (uint64_t)x;
    } else if (strcmp(name, "auto_retries") == 0) {
        TRY(job_number(cx, name, v, 0, 1000, &x));
        c->auto_retries = json_is_null(v) ? -1 : (int64_t)x;
    } else if (strcmp(name, "auto_retry_delay") == 0) {
        TRY(job_number(cx, name, v, 0, 86400, &x));
        c->auto_retry_delay_ms = json_is_null(v) ? -1 : (int64_t)ceil(x * 1000);
    } else if (strcmp(name, "job_type") == 0) {
        TRY(job_text(cx, name, v, &type));
        if (type && strcmp(type, "train") != 0 && strcmp(type, "predict") != 0)
            return FAIL(cx, ARG, "conf: job_parameters job_type is \"%.40s\", want train or predict", type);
        if (type) c->type = strcmp(type, "predict") == 0 ? JOB_PREDICT : JOB_TRAIN;
    }
    return OK;
}

static bool asks_nothing(const char *def, const json_t *v)
{
    json_error_t e;
    if (json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0)) return true;
    CLEANUP(json_decrefp) json_t *d = def ? json_loads(def, JSON_DECODE_ANY, &e) : NULL;
    return d && json_equal(d, v);
}

static status job_parameter(struct ctx *cx, struct conf *c, const char *name, const json_t *v,
                            json_t *warnings)
{
    const char *known[LEN(job_parameters)];
    for (size_t i = 0; i < LEN(job_parameters); i++) {
        known[i] = job_parameters[i].name;
        if (strcmp(name, job_parameters[i].name) != 0) continue;
        if (job_parameters[i].use == USED) return use_job_parameter(cx, c, name, v);
        if (asks_nothing(job_parameters[i].def, v)) return OK;
        return warn(
            cx, warnings,
            arena_printf(cx->mem, "job parameter %s %s and is ignored", name,
                         job_parameters[i].use == NOT_BUILT ? "is not built yet" : "has no meaning here"));
    }
    return FAIL(cx, ARG, "conf: no such job parameter %.60s%s", name,
                did_you_mean(cx, name, known, LEN(known)));
}

/* "0", "0|1" or "all": does it hold index k? ARG when it is none of these or beyond n. */
static status entry_holds(struct ctx *cx, const char *where, const char *entry, size_t n, size_t k, bool *out)
{
    *out = strcmp(entry, "all") == 0;
    if (*out) return OK;
    for (const char *p = entry;;) {
        size_t len = strcspn(p, "|");
        uint64_t index;
        if (!num_parse_u64(p, len, &index))
            return FAIL(cx, ARG, "conf: %s.%.40s, want an index like 0, 0|1 or all", where, entry);
        if (index >= n)
            return FAIL(cx, ARG, "conf: %s.%.40s: index %" PRIu64 ", but there are %zu such parties", where,
                        entry, index, n);
        *out = *out || index == k;
        if (!p[len]) return OK;
        p += len + 1;
    }
}

static size_t count_role(const struct conf *c, enum role r)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_parties; i++)
        n += c->parties[i].role == r;
    return n;
}

/* Checks role.<role>.<entry> of job or component parameters: known roles, indexes within, objects. */
static status check_role_entries(struct ctx *cx, const struct conf *c, const char *where, const json_t *roles,
                                 json_t *warnings)
{
    const char *role, *entry;
    json_t *entries, *v;
    enum role r;
    bool ignored;
    if (roles && !json_is_object(roles)) return FAIL(cx, FORMAT, "conf: %s.role is not an object", where);
    json_object_foreach((json_t *)roles, role, entries)
    {
        const char *at = arena_printf(cx->mem, "%s.role.%.40s", where, role);
        if (!at) return FAIL(cx, NOMEM, "conf");
        if (!role_parse(role, &r)) return FAIL(cx, ARG, "conf: %s is no role", at);
        if (!json_is_object(entries)) return FAIL(cx, FORMAT, "conf: %s is not an object", at);
        if (count_role(c, r) == 0) {
            TRY(warn(cx, warnings, arena_printf(cx->mem, "%s is ignored: the job has no %s", at, role)));
            continue;
        }
        json_object_foreach(entries, entry, v)
        {
            TRY(entry_holds(cx, at, entry, count_role(c, r), 0, &ignored));
            if (!json_is_object(v)) return FAIL(cx, FORMAT, "conf: %s.%.40s is not an object", at, entry);
        }
    }
    return OK;
}

static status parse_job_parameters(struct ctx *cx, const json_t *j, struct conf *c, json_t *warnings)
{
    const json_t *all = json_object_get(j, "job_parameters");
    const char *key, *role, *entry;
    json_t *v, *entries, *of;
    if (!all || json_is_null(all)) return OK;
    if (!json_is_object(all)) return FAIL(cx, FORMAT, "conf: job_parameters is not an object");
    json_object_foreach((json_t *)all, key, v)
    {
        if (strcmp(key, "common") == 0 || strcmp(key, "role") == 0) continue;
        return FAIL(cx, ARG, "conf: job_parameters.%.60s: want job_parameters.common and .role", key);
    }
    v = json_object_get(all, "common");
    if (v && !json_is_object(v)) return FAIL(cx, FORMAT, "conf: job_parameters.common is not an object");
    json_object_foreach(json_object_get(all, "common"), key, v) TRY(job_parameter(cx, c, key, v, warnings));
    TRY(check_role_entries(cx, c, "job_parameters", json_object_get(all, "role"), warnings));
    json_object_foreach(json_object_get(all, "role"), role, entries) json_object_foreach(entries, entry, of)
        json_object_foreach(of, key, v)
    {
        struct conf ignored = {0};
        TRY(job_parameter(cx, &ignored, key, v, warnings));
    }
    return OK;
}

static status parse_component_parameters(struct ctx *cx, const json_t *j, struct conf *c, json_t *warnings)
{
    const json_t *all = json_object_get(j, "component_parameters"), *common;
    const char *key;
    json_t *v;
    if (!all || json_is_null(all)) return OK;
    if (!json_is_object(all)) return FAIL(cx, FORMAT, "conf: component_parameters is not an object");
    json_object_foreach((json_t *)all, key, v)
    {
        if (strcmp(key, "common") == 0 || strcmp(key, "role") == 0) continue;
        return FAIL(cx, ARG, "conf: component_parameters.%.60s: want component_parameters.common and .role",
                    key);
    }
    common = json_object_get(all, "common");
    if (common && !json_is_object(common))
        return FAIL(cx, FORMAT, "conf: component_parameters.common is not an object");
    c->parameters = all;
    return check_role_entries(cx, c, "component_parameters", json_object_get(all, "role"), warnings);
}

status conf_parse(struct ctx *cx, const json_t *j, struct conf *out, json_t *warnings)
{
    struct conf c = {.task_parallelism = 4, .auto_retries = -1, .auto_retry_delay_ms = -1};
    if (!json_is_object(j)) return FAIL(cx, FORMAT, "conf: not a JSON object");
    TRY(check_top(cx, j, warnings));
    TRY(parse_parties(cx, j, &c));
    TRY(parse_job_parameters(cx, j, &c, warnings));
    TRY(parse_component_parameters(cx, j, &c, warnings));
    if (c.type == JOB_PREDICT && (!c.model_id || !c.model_version))
        return FAIL(cx, ARG, "conf: a predict job needs job_parameters.common.%s",
                    c.model_id ? "model_version" : "model_id");
    *out = c;
    return OK;
}

status conf_component(struct ctx *cx, const struct conf *c, const char *component, struct party who,
                      json_t **out)
{
    CLEANUP(json_decrefp) json_t *all = json_object();
    const json_t *common = json_object_get(json_object_get(c->parameters, "common"), component);
    const json_t *entries = json_object_get(json_object_get(c->parameters, "role"), role_name(who.role));
    const char *entry;
    json_t *v;
    if (!all) return FAIL(cx, NOMEM, "parameters");
    if (common && !json_is_null(common) && !json_is_object(common))
        return FAIL(cx, FORMAT, "conf: component_parameters.common.%s is not an object", component);
    if (json_is_object(common)) TRY(js_merge(cx, all, common));
    json_object_foreach((json_t *)entries, entry, v)
    {
        bool holds;
        const json_t *mine = json_object_get(v, component);
        TRY(entry_holds(cx, "component_parameters.role", entry, count_role(c, who.role), conf_index(c, who),
                        &holds));
        if (!holds || !mine || json_is_null(mine)) continue;
        if (!json_is_object(mine))
            return FAIL(cx, FORMAT, "conf: component_parameters.role.%s.%.40s.%s is not an object",
                        role_name(who.role), entry, component);
        TRY(js_merge(cx, all, mine));
    }
    *out = TAKE(all);
    return OK;
}

static status unused_in(struct ctx *cx, const json_t *of, const char *const *components, size_t n,
                        json_t *warnings)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)of, name, v)
    {
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = strcmp(components[i], name) == 0;
        if (!found)
            TRY(warn(cx, warnings,
                     arena_printf(cx->mem, "parameters of %.60s are ignored: the DSL has no such component%s",
                                  name, did_you_mean(cx, name, components, n))));
    }
    return OK;
}

status conf_unused(struct ctx *cx, const struct conf *c, const char *const *components, size_t n,
                   json_t *warnings)
{
    const char *role, *entry;
    json_t *entries, *v;
    TRY(unused_in(cx, json_object_get(c->parameters, "common"), components, n, warnings));
    json_object_foreach(json_object_get(c->parameters, "role"), role, entries)
        json_object_foreach(entries, entry, v) TRY(unused_in(cx, v, components, n, warnings));
    return OK;
}

status conf_model_id(struct ctx *cx, const struct conf *c, const char **out)
{
    static const enum role by_name[] = {ROLE_ARBITER, ROLE_GUEST, ROLE_HOST, ROLE_LOCAL};
    const char *text = "";
    for (size_t r = 0; r < LEN(by_name) && text; r++) {
        uint32_t last = 0;
        for (;;) { /* ids in ascending order */
            uint32_t next = UINT32_MAX;
            for (size_t i = 0; i < c->n_parties; i++)
                if (c->parties[i].role == by_name[r] && c->parties[i].id > last && c->parties[i].id < next)
                    next = c->parties[i].id;
            if (next == UINT32_MAX || !text) break;
            text = last ? arena_printf(cx->mem, "%s_%u", text, next)
                        : arena_printf(cx->mem, "%s%s%s-%u", text, *text ? "#" : "", role_name(by_name[r]),
                                       next);
            last = next;
        }
    }
    *out = text ? arena_printf(cx->mem, "%s#model", text) : NULL;
    return *out ? OK : FAIL(cx, NOMEM, "a model id");
}
