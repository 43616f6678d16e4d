#include "flow/plan.h"
#include "base/arena.h"
#include "flow/names.h"
#include <string.h>
#include <strings.h>

bool party_same(struct party a, struct party b)
{
    return a.role == b.role && a.id == b.id;
}

const char *party_text(struct ctx *cx, struct party p)
{
    const char *text = arena_printf(cx->mem, "%s %u", role_name(p.role), p.id);
    return text ? text : "a party";
}

bool plan_runs(const struct plan *p, size_t component, struct party who)
{
    return p->modules[component]->run[who.role] != NULL;
}

bool plan_gives_model(const struct plan *p)
{
    for (size_t i = 0; i < p->dsl.n; i++)
        if (p->modules[i]->gives_model && p->dsl.components[i].out_model[0]) return true;
    return false;
}

size_t plan_sites(const struct plan *p, uint32_t except, uint32_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < p->conf.n_parties; i++) {
        bool known = p->conf.parties[i].id == except;
        for (size_t k = 0; k < n && !known; k++)
            known = out[k] == p->conf.parties[i].id;
        if (!known) out[n++] = p->conf.parties[i].id;
    }
    return n;
}

static status find_modules(struct ctx *cx, struct plan *p)
{
    size_t n_all;
    const struct component *const *all = component_all(&n_all);
    const char **names = NEW(cx, const char *, n_all + 1);
    p->modules = NEW(cx, const struct component *, p->dsl.n);
    if (!names || !p->modules) return FAIL(cx, NOMEM, "plan");
    for (size_t i = 0; i < n_all; i++)
        names[i] = all[i]->module;
    for (size_t i = 0; i < p->dsl.n; i++) {
        const struct dsl_component *c = &p->dsl.components[i];
        p->modules[i] = component_find(c->module);
        if (p->modules[i]) continue;
        const char *near = name_nearest(c->module, names, n_all);
        return FAIL(cx, ARG, "component %s: norn has no module %.60s%s%s%s", c->name, c->module,
                    near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return OK;
}

static const char *join(struct ctx *cx, const char *const *list)
{
    const char *text = "";
    for (; list && *list && text; list++)
        text = arena_printf(cx->mem, "%s%s%s", text, *text ? ", " : "", *list);
    return text ? text : "";
}

/* Is the key among "a|b"? */
static bool alternative(const char *alternatives, const char *key)
{
    for (const char *p = alternatives; *p;) {
        size_t n = strcspn(p, "|");
        if (strlen(key) == n && strncmp(p, key, n) == 0) return true;
        p += n + (p[n] == '|');
    }
    return false;
}

static status check_inputs(struct ctx *cx, const struct plan *p, size_t i)
{
    const struct dsl_component *c = &p->dsl.components[i];
    const struct component *m = p->modules[i];
    for (size_t k = 0; k < c->n_data; k++) {
        const struct dsl_source *s = &c->data[k];
        bool taken = false;
        for (const char *const *d = m->data_in; d && *d && !taken; d++)
            taken = strcmp(*d, s->key) == 0;
        if (!taken)
            return FAIL(cx, ARG, "component %s: %s takes no input.data.%s (it takes: %s)", c->name, m->module,
                        s->key, m->data_in && *m->data_in ? join(cx, m->data_in) : "none");
        if (!p->modules[s->from]->gives_data)
            return FAIL(cx, ARG, "component %s: input.data.%s comes from %s, but %s gives no data", c->name,
                        s->key, s->component, p->modules[s->from]->module);
    }
    for (const char *const *r = m->required_in; r && *r; r++) {
        bool given = false;
        for (size_t k = 0; k < c->n_data && !given; k++)
            given = alternative(*r, c->data[k].key);
        if (!given) return FAIL(cx, ARG, "component %s: %s needs input.data.%s", c->name, m->module, *r);
    }
    return OK;
}

static status check_models(struct ctx *cx, const struct plan *p, size_t i)
{
    const struct dsl_component *c = &p->dsl.components[i];
    const struct component *m = p->modules[i];
    if (c->n_caches)
        return FAIL(cx, UNSUPPORTED, "component %s: %s takes no input.cache", c->name, m->module);
    for (size_t k = 0; k < c->n_models; k++) {
        const struct dsl_source *s = &c->models[k];
        if (!m->takes_model || strcmp(s->key, "model") != 0)
            return FAIL(cx, ARG, "component %s: %s takes no input.%s", c->name, m->module, s->key);
        if (s->pipeline && p->conf.type != JOB_PREDICT)
            return FAIL(cx, ARG,
                        "component %s: pipeline.%s.%s is of a deployed model: only a predict job has one",
                        c->name, s->component, s->output);
        if (!s->pipeline && !p->modules[s->from]->gives_model)
            return FAIL(cx, ARG, "component %s: input.model comes from %s, but %s gives no model", c->name,
                        s->component, p->modules[s->from]->module);
    }
    return OK;
}

status plan_params(struct ctx *cx, const struct plan *p, size_t component, struct party who, json_t **out)
{
    CLEANUP(json_decrefp) json_t *given = NULL;
    TRY(conf_component(cx, &p->conf, p->dsl.components[component].name, who, &given));
    return component_params(cx, p->modules[component], p->dsl.components[component].name, given, out);
}

static status check_component(struct ctx *cx, const struct plan *p, size_t i)
{
    size_t n_run = 0;
    TRY(check_inputs(cx, p, i));
    TRY(check_models(cx, p, i));
    for (size_t k = 0; k < p->conf.n_parties; k++) {
        CLEANUP(json_decrefp) json_t *params = NULL;
        if (!plan_runs(p, i, p->conf.parties[k])) continue;
        n_run++;
        TRY_IN(cx, plan_params(cx, p, i, p->conf.parties[k], &params), "at %s",
               party_text(cx, p->conf.parties[k]));
    }
    if (n_run == 0)
        return FAIL(cx, ARG, "component %s: no party of this job has a role that runs %s",
                    p->dsl.components[i].name, p->modules[i]->module);
    return OK;
}

static void free_json(void *j)
{
    json_decref(j);
}

static status keep(struct ctx *cx, json_t *j)
{
    if (j && arena_on_free(cx->mem, free_json, j)) return OK;
    json_decref(j);
    return FAIL(cx, NOMEM, "plan");
}

static status warn_unused(struct ctx *cx, const struct plan *p)
{
    const char **names = NEW(cx, const char *, p->dsl.n);
    if (!names) return FAIL(cx, NOMEM, "plan");
    for (size_t i = 0; i < p->dsl.n; i++)
        names[i] = p->dsl.components[i].name;
    return p->conf.type == JOB_TRAIN ? conf_unused(cx, &p->conf, names, p->dsl.n, p->warnings) : OK;
}

status plan_make(struct ctx *cx, json_t *dsl, json_t *conf, struct plan *out)
{
    struct plan p = {0};
    TRY(keep(cx,
             p.dsl_json = json_incref(dsl))); /* one by one: what is not yet taken cannot be left behind */
    TRY(keep(cx, p.conf_json = json_incref(conf)));
    TRY(keep(cx, p.warnings = json_array()));
    TRY(conf_parse(cx, conf, &p.conf, p.warnings));
    TRY(dsl_parse(cx, dsl, &p.dsl));
    TRY(find_modules(cx, &p));
    for (size_t i = 0; i < p.dsl.n; i++)
        TRY(check_component(cx, &p, i));
    TRY(warn_unused(cx, &p));
    p.model_id = p.conf.model_id;
    if (!p.model_id) TRY(conf_model_id(cx, &p.conf, &p.model_id));
    *out = p;
    return OK;
}
