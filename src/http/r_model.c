/* r_model.c - model/...: deploying, looking at, exporting and importing models. */
#include "base/arena.h"
#include "base/evp.h"
#include "base/file.h"
#include "base/num.h"
#include "flow/conf.h"
#include "flow/plan.h"
#include "http/local_run.h"
#include "http/rows.h"
#include "model/model.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- deploy ---- */

/* {"guest": {"9999": <code>}} for every party of the model; with a text, or "deploy ... success", {"retcode", "retmsg"}. */
static json_t *by_party(const json_t *roles, int64_t code, const char *text, bool deployed)
{
    json_t *all = json_object(), *ids;
    const char *role;
    json_object_foreach((json_t *)roles, role, ids)
    {
        json_t *of = json_object();
        for (size_t i = 0; i < json_array_size(ids); i++) {
            char id[24];
            snprintf(id, sizeof id, "%" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(ids, i)));
            json_t *said = deployed ? json_sprintf("deploy model of role %s %s success", role, id)
                           : text   ? json_string(text)
                                    : NULL;
            json_t *one = said ? json_pack("{s:I,s:o}", "retcode", (json_int_t)code, "retmsg", said)
                               : json_integer(code);
            json_object_set_new(of, id, one);
        }
        json_object_set_new(all, role, of);
    }
    return all;
}

/* A model of this site by id and version, in whichever role. found false: there is none. */
static status find_model(struct call *c, const char *id, const char *version, struct model_key *key,
                         struct model_pipeline *p, bool *found)
{
    *found = false;
    for (enum role r = 0; r < ROLE_COUNT && !*found; r++) {
        *key = (struct model_key){role_name(r), c->http->set->party, id, version};
        status st = model_load_pipeline(c->cx, http_models(c), key, p);
        if (st.code == ERR_NOTFOUND || st.code == ERR_ARG) continue;
        TRY(st);
        *found = true;
    }
    return OK;
}

static status deploy_params(struct call *c, json_t **out)
{
    const json_t *dsl = json_object_get(c->body, "predict_dsl"), *list = json_object_get(c->body, "cpn_list");
    const json_t *points = json_object_get(c->body, "components_checkpoint");
    if (!dsl || json_is_null(dsl)) dsl = json_object_get(c->body, "dsl");
    CLEANUP(json_decrefp) json_t *parsed = NULL;
    CLEANUP(json_decrefp)
    json_t *p = json_pack("{s:s,s:s}", "model_id", arg_text(c, "model_id"), "model_version",
                          arg_text(c, "model_version"));
    if (!p) return FAIL(c->cx, ARG, "model_id and model_version are texts");
    if (json_object_size(points))
        return FAIL(c->cx, UNSUPPORTED,
                    "components_checkpoint: norn keeps no checkpoints of FATE's kind yet");
    if (json_is_string(dsl)) {
        TRY(js_parse(c->cx, "dsl", json_string_value(dsl), json_string_length(dsl), &parsed));
        dsl = parsed;
    }
    bool given = json_object_size(dsl) > 0;
    if (given && json_array_size(list)) return FAIL(c->cx, ARG, "give cpn_list or a DSL, not both");
    if (given) json_object_set(p, "dsl", (json_t *)dsl);
    if (json_is_array(list) && json_array_size(list)) json_object_set(p, "components", (json_t *)list);
    *out = TAKE(p);
    return OK;
}

static status deploy_answer(struct call *c, const json_t *roles, int code, const char *id,
                            const char *version, const char *why)
{
    CLEANUP(json_decrefp) json_t *codes = by_party(roles, code, NULL, false);
    json_t *data = json_pack("{s:o,s:s,s:s}", "detail", by_party(roles, code, why, code == 0), "model_id", id,
                             "model_version", version);
    json_object_update(data, codes);
    return answer(c, code ? 101 : 0, code ? "failed" : "success", data);
}

static status model_deploy_route(struct call *c)
{
    struct model_key key;
    struct model_pipeline p;
    bool found;
    json_t *params = NULL;
    CLEANUP(json_decrefp) json_t *done = NULL;
    NEED(c, "model_id", "model_version");
    const char *id = arg_text(c, "model_id"), *version = arg_text(c, "model_version");
    if (!id || !version) return answer(c, 100, "model_id and model_version are texts", json_object());
    TRY(find_model(c, id, version, &key, &p, &found));
    if (!found)
        return answer_http(
            c, 404,
            arena_printf(c->cx->mem, "Deploy model failed. Model %.200s %.40s not found.", id, version));
    CLEANUP(json_decrefp) json_t *roles = row_roles(p.train_conf);
    status st = deploy_params(c, &params);
    if (!st.code) st = http_ask(c->cx, c->http, "model.deploy", params, &done);
    if (st.code) return deploy_answer(c, roles, 100, id, version, arena_strdup(c->cx->mem, c->cx->err.msg));
    return deploy_answer(c, roles, 0, id, json_string_value(json_object_get(done, "model_version")), NULL);
}

/* ---- predict DSL and conf ---- */

static json_t *with_code_paths(const json_t *dsl, const char *role)
{
    json_t *all = json_deep_copy(dsl), *v;
    const char *name;
    enum role r = ROLE_GUEST;
    (void)role_parse(role, &r);
    json_object_foreach(json_object_get(all, "components"), name, v)
    {
        const char *module = json_string_value(json_object_get(v, "module"));
        if (module && !json_object_get(v, "CodePath"))
            json_object_set_new(v, "CodePath", json_string(row_code_path(module, r)));
    }
    return all;
}

static json_t *inference_dsl(const struct model_pipeline *p, const char *role)
{
    return with_code_paths(p->parent || !p->inference_dsl ? p->train_dsl : p->inference_dsl, role);
}

static status predict_dsl(struct call *c)
{
    struct model_key key;
    struct model_pipeline p;
    bool found;
    NEED(c, "model_id", "model_version");
    const char *id = arg_text(c, "model_id"), *version = arg_text(c, "model_version");
    TRY(find_model(c, id ? id : "", version ? version : "", &key, &p, &found));
    if (!found)
        return answer_http(c, 210,
                           "can not found predict dsl, please check if arguments are specified correctly.");
    return answer_named(c, inference_dsl(&p, key.role));
}

/* Readers to be filled in by hand, counted at each party. */
static json_t *readers_to_fill(const json_t *dsl, const json_t *roles)
{
    json_t *all = json_object(), *ids, *v;
    const char *role, *name;
    json_object_foreach((json_t *)roles, role, ids)
    {
        if (strcmp(role, "guest") != 0 && strcmp(role, "host") != 0) continue;
        json_t *of = json_object();
        for (size_t i = 0; i < json_array_size(ids); i++) {
            char index[24];
            int n = 0;
            json_t *entry = json_object();
            snprintf(index, sizeof index, "%zu", i);
            json_object_foreach(json_object_get(dsl, "components"), name, v)
            {
                const char *module = json_string_value(json_object_get(v, "module"));
                if (!module || strcmp(module, "Reader") != 0) continue;
                json_object_set_new(entry, name,
                                    json_pack("{s:{s:o,s:o}}", "table", "name",
                                              json_sprintf("name_to_be_filled_%d", n), "namespace",
                                              json_sprintf("namespace_to_be_filled_%d", n)));
                n++;
            }
            json_object_set_new(of, index, entry);
        }
        json_object_set_new(all, role, of);
    }
    return all;
}

static status predict_conf(struct call *c)
{
    struct model_key key;
    struct model_pipeline p;
    bool found;
    NEED(c, "model_id", "model_version");
    const char *id = arg_text(c, "model_id"), *version = arg_text(c, "model_version");
    TRY(find_model(c, id ? id : "", version ? version : "", &key, &p, &found));
    if (!found || p.parent)
        return answer_http(c, 210,
                           "can not found predict conf, please check if arguments are specified correctly.");
    CLEANUP(json_decrefp) json_t *roles = row_roles(p.train_conf);
    struct row_job as = {.id = version, .model_id = id, .model_version = version, .conf = p.train_conf};
    CLEANUP(json_decrefp) json_t *whole = NULL;
    TRY(row_conf(c, &as, &whole));
    json_t *common = js_at(whole, "job_parameters.common");
    json_object_set_new(common, "job_type", json_string("predict"));
    json_t *conf = json_pack("{s:i,s:O,s:O,s:{s:O},s:{s:o}}", "dsl_version", 2, "role", roles, "initiator",
                             json_object_get(p.train_conf, "initiator"), "job_parameters", "common", common,
                             "component_parameters", "role", readers_to_fill(p.inference_dsl, roles));
    if (!conf) return FAIL(c->cx, NOMEM, "a conf");
    return answer_named(c, conf);
}

/* ---- query ---- */

static status model_row(struct call *c, const struct model_info *m, json_t **out)
{
    struct model_pipeline p;
    TRY(model_load_pipeline(c->cx, http_models(c), &m->key, &p));
    const json_t *init = json_object_get(p.train_conf, "initiator");
    uint32_t initiator = 0;
    (void)conf_party_id(json_object_get(init, "party_id"), &initiator);
    struct party me = {.id = m->key.party};
    (void)role_parse(m->key.role, &me.role);
    struct row_job as = {.id = m->key.version,
                         .me = me,
                         .model_id = m->key.model_id,
                         .model_version = m->key.version,
                         .conf = p.train_conf};
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(row_conf(c, &as, &conf));
    json_t *info = m->deployed ? json_pack("{s:s,s:s}", "parent_model_id", m->key.model_id,
                                           "parent_model_version", m->parent_version ? m->parent_version : "")
                               : json_object();
    json_t *row = json_pack(
        "{s:n,s:n,s:o,s:o,s:s,s:i,s:o,s:o,s:O,s:s,s:i,s:s,s:s,s:b,s:o,s:o,s:s,s:o,s:O,s:O,s:I,s:O,s:O,s:o,s:"
        "o}",
        "f_archive_from_ip", "f_archive_sha256", "f_create_date", date_json(m->created_ms), "f_create_time",
        ms_json(m->created_ms), "f_fate_version", FATE_VERSION, "f_imported", 0, "f_inference_dsl",
        inference_dsl(&p, m->key.role), "f_initiator_party_id", json_sprintf("%u", initiator),
        "f_initiator_role", json_object_get(init, "role"), "f_job_id", m->key.version, "f_loaded_times", 0,
        "f_model_id", m->key.model_id, "f_model_version", m->key.version, "f_parent", (int)!m->deployed,
        "f_parent_info", info, "f_party_id", json_sprintf("%u", m->key.party), "f_role", m->key.role,
        "f_roles", row_roles(p.train_conf), "f_runtime_conf", conf, "f_runtime_conf_on_party",
        p.conf_on_party, "f_size", (json_int_t)((m->bytes + 1023) / 1024), "f_train_dsl", p.train_dsl,
        "f_train_runtime_conf", conf, "f_update_date", date_json(m->created_ms), "f_update_time",
        ms_json(m->created_ms));
    *out = row;
    return row ? OK : FAIL(c->cx, NOMEM, "a model's row");
}

static json_t *only(const json_t *row, const json_t *names)
{
    static const char *const always[] = {"f_loaded_times", "f_model_id",    "f_model_version",
                                         "f_parent",       "f_parent_info", "f_party_id",
                                         "f_role",         "f_roles",       "f_size"};
    json_t *out = json_object();
    for (size_t i = 0; i < LEN(always); i++)
        json_object_set(out, always[i], json_object_get(row, always[i]));
    for (size_t i = 0; i < json_array_size(names); i++) {
        char key[80];
        const char *name = json_string_value(json_array_get(names, i));
        int n = snprintf(key, sizeof key, "f_%s", name ? name : "");
        json_t *v = n > 0 && (size_t)n < sizeof key ? json_object_get(row, key) : NULL;
        if (v) json_object_set(out, key, v);
    }
    return out;
}

static status model_query(struct call *c)
{
    struct model_info *models;
    size_t n;
    const char *id = arg_text(c, "model_id"), *version = arg_text(c, "model_version"),
               *role = arg_text(c, "role");
    const char *party = arg_text(c, "party_id");
    const json_t *names = json_object_get(c->body, "query_filters");
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(model_list(c->cx, http_models(c), &models, &n));
    for (size_t i = 0; i < n; i++) {
        const struct model_key *k = &models[i].key;
        const char *own = arena_printf(c->cx->mem, "%u", k->party);
        bool fits = (!id || strcmp(id, k->model_id) == 0) && (!version || strcmp(version, k->version) == 0) &&
                    (!role || strcmp(role, k->role) == 0) && (!party || (own && strcmp(party, own) == 0)) &&
                    !models[i].damage;
        CLEANUP(json_decrefp) json_t *row = NULL;
        if (!fits) continue;
        TRY(model_row(c, &models[i], &row));
        json_array_append_new(list, json_array_size(names) ? only(row, names) : json_incref(row));
    }
    if (json_array_size(list) == 0)
        return answer(c, 100, "Query model info failed, cannot find model from db. ", NULL);
    return answer(c, 0, "Query model info from db success.", json_incref(list));
}

/* ---- export, import ---- */

static status key_args(struct call *c, const json_t *from, struct model_key *out)
{
    struct call as = *c;
    struct party who;
    bool given;
    as.body = from;
    TRY(arg_party(&as, &who, &given));
    *out = (struct model_key){role_name(who.role), who.id, arg_text(&as, "model_id"),
                              arg_text(&as, "model_version")};
    return given && out->model_id && out->version
               ? OK
               : FAIL(c->cx, ARG, "want model_id, model_version, role and party_id");
}

static status model_export_route(struct call *c)
{
    struct model_key k;
    struct model_pipeline p;
    NEED(c, "model_id", "model_version", "role", "party_id");
    TRY(key_args(c, c->body, &k));
    status st = model_load_pipeline(c->cx, http_models(c), &k, &p);
    if (st.code == ERR_NOTFOUND || st.code == ERR_ARG)
        return answer_http(c, 404, "Export failed. The model was not found.");
    TRY(st);
    const char *id;
    TRY(http_new_id(c->cx, c->http, &id));
    const char *file = arena_printf(c->cx->mem, "%s/store/incoming/export-%s.zip", c->http->dir, id);
    if (!file) return FAIL(c->cx, NOMEM, "a path");
    st = model_export(c->cx, http_models(c), &k, file);
    int fd = st.code ? -1 : open(file, O_RDONLY | O_CLOEXEC);
    unlink(file);
    TRY(st);
    if (fd < 0) return FAIL(c->cx, IO, "open %s: %m", file);
    return answer_fd(c, arena_printf(c->cx->mem, "%s#%u#%s_%s.zip", k.role, k.party, k.model_id, k.version),
                     "application/zip", fd);
}

static status check_hash(struct call *c, const char *want)
{
    struct bytes file;
    uint8_t hash[32];
    char text[65];
    TRY(file_map(c->cx, c->ex->file_path, &file));
    SHA256(file.p, file.n, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    return strcasecmp(text, want) == 0 ? OK : FAIL(c->cx, ARG, "the file's SHA-256 is not the given hash");
}

static json_t *form_object(struct call *c)
{
    json_t *form = json_object();
    for (const struct form_field *f = c->ex->fields; f; f = f->next)
        if (f->value.p) json_object_set_new(form, f->name, json_string((const char *)f->value.p));
    return form;
}

static status model_import_route(struct call *c)
{
    struct model_key k;
    struct model_info info;
    const char *id;
    CLEANUP(json_decrefp) json_t *form = form_object(c);
    struct call as = *c;
    as.body = form;
    if (!c->ex->file_path) return answer_http(c, 400, "Import failed. There is no file part.");
    TRY(key_args(c, form, &k));
    const char *hash = arg_text(&as, "hash");
    if (hash && *hash) TRY(check_hash(c, hash));
    bool force = arg_bool(&as, "force_update", false);
    struct model_pipeline p;
    bool there = model_load_pipeline(c->cx, http_models(c), &k, &p).code == ERR_OK;
    if (there && !force)
        return answer_http(c, 409, "The model already exists, set force_update to replace it.");
    status st = model_import(c->cx, http_models(c), c->ex->file_path, force, &info);
    if (st.code == ERR_EXISTS) return answer_http(c, 409, c->cx->err.msg);
    if (st.code) return answer(c, 100, c->cx->err.msg, NULL);
    if (info.key.party != k.party || strcmp(info.key.role, k.role) != 0 ||
        strcmp(info.key.model_id, k.model_id) != 0)
        return answer_http(c, 400,
                           arena_printf(c->cx->mem,
                                        "The archive is %s %u's half of %.200s, and was imported as that",
                                        info.key.role, info.key.party, info.key.model_id));
    TRY(http_new_id(c->cx, c->http, &id));
    return answer_ok(c, json_pack("{s:s,s:s,s:s,s:o,s:s}", "job_id", id, "model_id", info.key.model_id,
                                  "model_version", info.key.version, "party_id",
                                  json_sprintf("%u", info.key.party), "role", info.key.role));
}

/* ---- what norn has not ---- */

/* No FATE-Serving is called from here: each party says so, as FATE's do when theirs cannot be reached. */
static status model_load(struct call *c)
{
    const char *id;
    const json_t *p = json_object_get(c->body, "job_parameters"), *roles = json_object_get(c->body, "role");
    struct model_key key;
    struct model_pipeline pipe;
    bool found = false;
    const char *version = arg_text(c, "job_id");
    if (json_is_object(p) && roles) {
        const char *mid = json_string_value(json_object_get(p, "model_id"));
        version = json_string_value(json_object_get(p, "model_version"));
        if (mid && version) TRY(find_model(c, mid, version, &key, &pipe, &found));
        if (!found) return answer(c, 100, "the model was not found", NULL);
        if (pipe.parent) return answer(c, 100, "the model has not been deployed yet", NULL);
    } else {
        return answer(c, 101,
                      version ? "give initiator, role and job_parameters"
                              : "required argument are missing: job_id; ",
                      NULL);
    }
    TRY(http_new_id(c->cx, c->http, &id));
    CLEANUP(json_decrefp) json_t *all = row_roles(c->body);
    CLEANUP(json_decrefp) json_t *codes = by_party(all, 100, NULL, false);
    json_t *data =
        json_pack("{s:o}", "detail", by_party(all, 100, "norn has no FATE-Serving to publish to", false));
    json_object_update(data, codes);
    return answer_job(c, 101, "failed", id, data);
}

static status model_bind(struct call *c)
{
    if (!arg_text(c, "service_id")) return answer(c, 101, "no service id", NULL);
    return answer(c, 100, "norn has no FATE-Serving to bind a service to", NULL);
}

static status not_built(struct call *c)
{
    return answer(c, 100, arena_printf(c->cx->mem, "%s is not built in norn yet", c->ex->path), NULL);
}

static status no_store(struct call *c)
{
    NEED(c, "model_id", "model_version", "role", "party_id");
    return answer(c, 100, "no model store is configured: use model export and import", NULL);
}

extern const struct route model_routes[];
const struct route model_routes[] = {
    {"model/deploy", model_deploy_route, KEY_MODELLER},
    {"model/get/predict/dsl", predict_dsl, KEY_VIEWER},
    {"model/get/predict/conf", predict_conf, KEY_VIEWER},
    {"model/load", model_load, KEY_OPERATOR},
    {"model/bind", model_bind, KEY_OPERATOR},
    {"model/export", model_export_route, KEY_MODELLER},
    {"model/import", model_import_route, KEY_MODELLER},
    {"model/store", no_store, KEY_MODELLER},
    {"model/restore", no_store, KEY_MODELLER},
    {"model/migrate", not_built, KEY_OPERATOR},
    {"model/query", model_query, KEY_VIEWER},
    {"model/query/detail", model_query, KEY_VIEWER},
    {"model/homo/convert", not_built, KEY_MODELLER},
    {"model/homo/deploy", not_built, KEY_OPERATOR},
    {NULL, NULL, KEY_ADMIN},
};
