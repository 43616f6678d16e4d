/* conf_predict.c - the conf of a predict job, made from that of the training and what the predict job says.
 */
#include "base/arena.h"
#include "flow/conf.h"
#include <stdio.h>
#include <string.h>

/* Names of all components that a conf says anything about, added to `names`. */
static void collect(const struct conf *c, json_t *names)
{
    const char *role, *entry, *name;
    json_t *entries, *of, *v;
    json_object_foreach(json_object_get(c->parameters, "common"), name, v)
        json_object_set_new(names, name, json_null());
    json_object_foreach(json_object_get(c->parameters, "role"), role, entries)
        json_object_foreach(entries, entry, of) json_object_foreach(of, name, v)
            json_object_set_new(names, name, json_null());
}

/* What training, then the predict conf say for one party: an object by component. */
static status for_party(struct ctx *cx, const struct conf *train, const struct conf *predict,
                        const json_t *names, struct party who, json_t *out)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)names, name, v)
    {
        CLEANUP(json_decrefp) json_t *before = NULL;
        CLEANUP(json_decrefp) json_t *over = NULL;
        if (conf_index(train, who) != SIZE_MAX)
            TRY_IN(cx, conf_component(cx, train, name, who, &before), "training");
        else
            before = json_object();
        TRY(conf_component(cx, predict, name, who, &over));
        TRY(js_merge(cx, before, over));
        if (json_object_size(before) && json_object_set(out, name, before)) return FAIL(cx, NOMEM, "conf");
    }
    return OK;
}

/* Entries "0", "1", ... of each role, each complete: an index means another party here than in the training's
 * conf. */
static status flatten(struct ctx *cx, const struct conf *train, const struct conf *predict, json_t *out)
{
    CLEANUP(json_decrefp) json_t *names = json_object();
    collect(train, names);
    collect(predict, names);
    for (size_t i = 0; i < predict->n_parties; i++) {
        struct party who = predict->parties[i];
        char index[24];
        snprintf(index, sizeof index, "%zu", conf_index(predict, who));
        json_t *role = json_object_get(out, role_name(who.role)), *entry = json_object();
        if (!role) {
            role = json_object();
            if (json_object_set_new(out, role_name(who.role), role)) role = NULL;
        }
        if (!entry || !role || json_object_set_new(role, index, entry)) return FAIL(cx, NOMEM, "conf");
        TRY(for_party(cx, train, predict, names, who, entry));
    }
    return OK;
}

status conf_for_predict(struct ctx *cx, const json_t *train, const json_t *predict, json_t **out)
{
    struct conf before, now;
    if (!json_is_object(predict)) return FAIL(cx, FORMAT, "conf: not a JSON object");
    CLEANUP(json_decrefp) json_t *ignored = json_array();
    CLEANUP(json_decrefp) json_t *all = json_copy((json_t *)predict);
    CLEANUP(json_decrefp) json_t *parameters = json_pack("{s:{}}", "role");
    static const char *const taken_over[] = {"role", "initiator", "dsl_version"};
    for (size_t i = 0; i < LEN(taken_over); i++)
        if (!json_object_get(all, taken_over[i]) && json_object_get(train, taken_over[i]) &&
            json_object_set(all, taken_over[i], json_object_get(train, taken_over[i])))
            return FAIL(cx, NOMEM, "conf");
    TRY_IN(cx, conf_parse(cx, train, &before, ignored), "the model's training");
    TRY(conf_parse(cx, all, &now, ignored));
    TRY(flatten(cx, &before, &now, json_object_get(parameters, "role")));
    if (json_object_set(all, "component_parameters", parameters)) return FAIL(cx, NOMEM, "conf");
    *out = TAKE(all);
    return OK;
}
