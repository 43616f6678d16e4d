/* plan.h - a job as all parties see it: DSL, conf and component tables put together and checked whole.
 *
 * Every party makes the same plan from the same texts, so a task is named by (component index, party)
 * anywhere. */
#pragma once
#include "fed/component.h"
#include "flow/conf.h"
#include "flow/dsl.h"

struct plan {
    json_t *dsl_json, *conf_json; /* owned by cx->mem's hooks */
    struct dsl dsl;
    struct conf conf;
    const struct component **modules; /* of dsl.components[i] */
    const char *model_id;             /* of this job's own model, or of the one a predict job uses */
    json_t *warnings;                 /* owned by cx->mem's hooks */
};
/* Checks modules, parameters of every component at every party, inputs, outputs, roles. Errors name the
 * component. dsl and conf are kept by reference count. All in cx->mem. */
status plan_make(struct ctx *cx, json_t *dsl, json_t *conf, struct plan *out);
/* Does that party run that component? */
bool plan_runs(const struct plan *p, size_t component, struct party who);
/* Complete parameters of a component at a party. Caller owns *out. */
status plan_params(struct ctx *cx, const struct plan *p, size_t component, struct party who, json_t **out);
/* Is there any component that gives a model? */
bool plan_gives_model(const struct plan *p);
bool party_same(struct party a, struct party b);
/* Other sites that take part, each once; out holds CONF_PARTIES_MAX. */
size_t plan_sites(const struct plan *p, uint32_t except, uint32_t *out);
/* "guest 9999" */
const char *party_text(struct ctx *cx, struct party p);
