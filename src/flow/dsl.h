/* dsl.h - a DSL v2 as a graph: components, what each takes from which, and an order to run them in.
 *
 * Parsing needs no component table and no conf; plan.h puts all three together. Everything lies in cx->mem;
 * the JSON is not kept. Names are letters, digits, '_' and '-' (they become folders), at most 64 bytes. */
#pragma once
#include "base/js.h"

#define DSL_COMPONENTS_MAX 256
#define DSL_NAME_MAX       64

struct dsl_source {
    const char *key;       /* "train_data", "model", "isometric_model", "cache" */
    const char *component; /* who makes it */
    const char *output;    /* its name there: "data", "model" */
    size_t from;           /* index of the component; SIZE_MAX for "pipeline." models */
    bool pipeline;         /* from the deployed model: "pipeline.<component>.<alias>" */
};
struct dsl_component {
    const char *name, *module;
    const struct dsl_source *data; /* input.data, key by key, in order */
    size_t n_data;
    const struct dsl_source *models; /* input.model, input.isometric_model */
    size_t n_models;
    const struct dsl_source *caches;
    size_t n_caches;
    const char *const *out_data; /* NULL-terminated */
    const char *const *out_model;
    const size_t *after; /* indexes of those it must wait for, each once */
    size_t n_after;
};
struct dsl {
    const struct dsl_component *components; /* in the text's order */
    size_t n;
    const size_t *order; /* a topological order: ties in the text's order */
};
/* ARG naming component and place: bad name, unknown reference (with the nearest), unknown output, cycle
 * (naming its members), unknown key; FORMAT: a value of the wrong type; LIMIT: more than DSL_COMPONENTS_MAX.
 */
status dsl_parse(struct ctx *cx, const json_t *j, struct dsl *out);
/* SIZE_MAX: none of that name. */
size_t dsl_find(const struct dsl *d, const char *name);
bool dsl_name_ok(const char *name);
