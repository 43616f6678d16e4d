/* r_component.c - component/..., provider/..., checkpoint/...: what can run here. */
#include "base/arena.h"
#include "fed/component.h"
#include "http/http_int.h"
#include "model/model.h"
#include <string.h>

/* Modules of the API's own local jobs, which FATE counts to its provider fate_flow, as Reader. */
static const char *const flow_modules[] = {"Reader", "Upload", "Download", "Writer"};

static bool of_flow(const char *module)
{
    for (size_t i = 0; i < LEN(flow_modules); i++)
        if (strcmp(flow_modules[i], module) == 0) return true;
    return false;
}

static json_t *entry(const char *module)
{
    const char *provider = of_flow(module) ? "fate_flow" : "fate";
    return json_pack("{s:[s],s:s,s:[s]}", "alias", module, "default_provider", provider, "support_provider",
                     provider);
}

static json_t *registry(void)
{
    size_t n;
    const struct component *const *all = component_all(&n);
    json_t *out = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(out, all[i]->module, entry(all[i]->module));
    for (size_t i = 0; i < LEN(flow_modules); i++)
        json_object_set_new(out, flow_modules[i], entry(flow_modules[i]));
    return out;
}

static status component_get(struct call *c)
{
    return answer_ok(c, registry());
}

static status component_get_one(struct call *c)
{
    CLEANUP(json_decrefp) json_t *all = registry();
    const char *name;
    json_t *v;
    json_object_foreach(all, name, v) if (strcasecmp(name, c->path) == 0)
    {
        const struct component *k = component_find(name);
        json_t *one = json_copy(v);
        if (k) json_object_set_new(one, "text", json_string(k->text));
        return answer_ok(c, one);
    }
    return answer_http(c, 404, arena_printf(c->cx->mem, "no component %.60s", c->path));
}

/* Parameters of a component, checked as at submit. */
static status component_validate(struct call *c)
{
    const char *module = arg_text(c, "component_module_name");
    const struct component *k = module ? component_find(module) : NULL;
    CLEANUP(json_decrefp) json_t *complete = NULL;
    if (!module) return answer(c, 101, "required argument are missing: component_module_name; ", NULL);
    if (!k) return answer(c, 100, arena_printf(c->cx->mem, "norn has no module %.60s", module), NULL);
    const char *name = arg_text(c, "component_name");
    status st = component_params(c->cx, k, name ? name : module,
                                 json_object_get(c->body, "component_runtime_conf"), &complete);
    return st.code ? answer(c, 100, c->cx->err.msg, NULL) : answer_ok(c, json_incref(complete));
}

static status not_built(struct call *c)
{
    return answer(c, 100, arena_printf(c->cx->mem, "%s is not built in norn yet", c->ex->path), NULL);
}

/* ---- providers ---- */

static json_t *lower(const char *module)
{
    char text[64];
    size_t n = 0;
    for (; module[n] && n < sizeof text - 1; n++)
        text[n] = (char)(module[n] >= 'A' && module[n] <= 'Z' ? module[n] + 32 : module[n]);
    return json_stringn(text, n);
}

static json_t *provider(bool flow)
{
    size_t n;
    const struct component *const *all = component_all(&n);
    json_t *names = json_array();
    for (size_t i = 0; i < n; i++)
        if (of_flow(all[i]->module) == flow) json_array_append_new(names, lower(all[i]->module));
    for (size_t i = 1; i < LEN(flow_modules) && flow; i++) /* Reader is among all */
        json_array_append_new(names, lower(flow_modules[i]));
    const char *version = flow ? FLOW_VERSION : FATE_VERSION;
    return json_pack("{s:{s:{},s:o,s:s,s:s,s:s},s:{s:s}}", version, "class_path", "components", names, "path",
                     "norn " NORN_VERSION, "python", "", "norn", NORN_VERSION, "default", "version", version);
}

static status provider_get(struct call *c)
{
    return answer_ok(c, json_pack("{s:o,s:o}", "fate", provider(false), "fate_flow", provider(true)));
}

static status provider_get_one(struct call *c)
{
    bool flow = strcmp(c->path, "fate_flow") == 0;
    if (!flow && strcmp(c->path, "fate") != 0)
        return answer_http(c, 404, arena_printf(c->cx->mem, "no provider %.60s", c->path));
    return answer_ok(c, json_pack("{s:o}", c->path, provider(flow)));
}

static status provider_registry(struct call *c)
{
    json_t *providers = json_pack("{s:o,s:o}", "fate", provider(false), "fate_flow", provider(true));
    return answer_ok(c, json_pack("{s:o,s:o}", "components", registry(), "providers", providers));
}

static status provider_register(struct call *c)
{
    return answer(c, 100, "norn's components are compiled in: providers of Python code cannot be registered",
                  NULL);
}

/* ---- checkpoints ---- */

static status checkpoint_list(struct call *c)
{
    NEED(c, "role", "party_id", "model_id", "model_version", "component_name");
    return answer_ok(c, json_array());
}

static status checkpoint_get(struct call *c)
{
    NEED(c, "role", "party_id", "model_id", "model_version", "component_name");
    if (!arg_text(c, "step_index") && !arg_text(c, "step_name"))
        return answer_http(c, 400, "required argument are missing: step_index or step_name");
    return answer_http(c, 404, "The checkpoint was not found.");
}

extern const struct route component_routes[];
const struct route component_routes[] = {
    {"component/get", component_get, KEY_VIEWER},
    {"component/validate", component_validate, KEY_VIEWER},
    {"component/hetero/merge", not_built, KEY_MODELLER},
    {"component/woe_array/extract", not_built, KEY_MODELLER},
    {"component/woe_array/merge", not_built, KEY_MODELLER},
    {"component/*/get", component_get_one, KEY_VIEWER},
    {"provider/get", provider_get, KEY_VIEWER},
    {"provider/registry/get", provider_registry, KEY_VIEWER},
    {"provider/register", provider_register, KEY_ADMIN},
    {"provider/update", provider_register, KEY_ADMIN},
    {"provider/*/get", provider_get_one, KEY_VIEWER},
    {"checkpoint/list", checkpoint_list, KEY_VIEWER},
    {"checkpoint/get", checkpoint_get, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
