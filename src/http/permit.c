#include "http/permit.h"
#include "base/arena.h"
#include <string.h>

static const char *lower(struct ctx *cx, const char *s, size_t n)
{
    char *out = arena_strndup(cx->mem, s, n);
    for (char *p = out; p && *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    return out;
}

static status set(struct ctx *cx, struct apidb *db, const char *key, bool grant)
{
    bool was;
    CLEANUP(json_decrefp) json_t *doc = json_object();
    if (!key || !doc) return FAIL(cx, NOMEM, "a grant");
    return grant ? apidb_put(cx, db, "grant", key, doc) : apidb_delete(cx, db, "grant", key, &was);
}

static status change_components(struct ctx *cx, struct apidb *db, const char *party, const char *list,
                                bool grant)
{
    for (const char *p = list; *p;) {
        size_t blank = strspn(p, " ,"), n = strcspn(p + blank, " ,");
        const char *name = lower(cx, p + blank, n);
        if (!name) return FAIL(cx, NOMEM, "a grant");
        if (n) TRY(set(cx, db, arena_printf(cx->mem, "%s/component/%s", party, name), grant));
        p += blank + n;
    }
    return OK;
}

static status change_dataset(struct ctx *cx, struct apidb *db, const char *party, const json_t *d, bool grant)
{
    if (json_is_string(d) && strcmp(json_string_value(d), "*") == 0)
        return set(cx, db, arena_printf(cx->mem, "%s/dataset/*", party), grant);
    const char *ns = json_string_value(json_object_get(d, "namespace")),
               *name = json_string_value(json_object_get(d, "name"));
    if (!ns || !name)
        return FAIL(cx, ARG, "dataset: want {\"namespace\", \"name\"}, a list of such, or \"*\"");
    return set(cx, db, arena_printf(cx->mem, "%s/dataset/%s/%s", party, ns, name), grant);
}

status permit_change(struct ctx *cx, struct apidb *db, const char *party, const json_t *component,
                     const json_t *dataset, bool grant)
{
    if (json_is_string(component)) TRY(change_components(cx, db, party, json_string_value(component), grant));
    if (component && !json_is_string(component) && !json_is_null(component))
        return FAIL(cx, ARG, "component is no text");
    for (size_t i = 0; i < json_array_size(dataset); i++)
        TRY(change_dataset(cx, db, party, json_array_get(dataset, i), grant));
    if (dataset && !json_is_array(dataset) && !json_is_null(dataset))
        TRY(change_dataset(cx, db, party, dataset, grant));
    return OK;
}

status permit_list(struct ctx *cx, struct apidb *db, const char *party, json_t **out)
{
    struct doc *docs;
    size_t n;
    const char *components = arena_printf(cx->mem, "%s/component/", party),
               *datasets = arena_printf(cx->mem, "%s/dataset/", party);
    if (!components || !datasets) return FAIL(cx, NOMEM, "grants");
    CLEANUP(json_decrefp) json_t *all = json_pack("{s:[],s:[]}", "component", "dataset");
    TRY(apidb_list(cx, db, "grant", components, false, 0, &docs, &n));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(json_object_get(all, "component"),
                              json_string(docs[i].key + strlen(components)));
    TRY(apidb_list(cx, db, "grant", datasets, false, 0, &docs, &n));
    for (size_t i = 0; i < n; i++) {
        const char *name = docs[i].key + strlen(datasets), *slash = strrchr(name, '/');
        json_t *one =
            slash ? json_pack("{s:s%,s:s}", "namespace", name, (size_t)(slash - name), "name", slash + 1)
                  : json_string(name);
        json_array_append_new(json_object_get(all, "dataset"), one);
    }
    *out = TAKE(all);
    return OK;
}

static status any_of(struct ctx *cx, struct apidb *db, const char *one, const char *all, bool *out)
{
    struct doc d;
    if (!one || !all) return FAIL(cx, NOMEM, "a grant");
    TRY(apidb_get(cx, db, "grant", one, &d, out));
    return *out ? OK : apidb_get(cx, db, "grant", all, &d, out);
}

status permit_component(struct ctx *cx, struct apidb *db, uint32_t party, const char *module)
{
    bool granted;
    const char *name = lower(cx, module, strlen(module));
    TRY(any_of(cx, db, arena_printf(cx->mem, "%u/component/%s", party, name ? name : ""),
               arena_printf(cx->mem, "%u/component/*", party), &granted));
    return granted ? OK
                   : FAIL(cx, AUTH, "permission check failed: party %u may not use component %s here", party,
                          module);
}

status permit_table(struct ctx *cx, struct apidb *db, uint32_t party, const char *ns, const char *name)
{
    bool granted;
    TRY(any_of(cx, db, arena_printf(cx->mem, "%u/dataset/%s/%s", party, ns, name),
               arena_printf(cx->mem, "%u/dataset/*", party), &granted));
    return granted
               ? OK
               : FAIL(cx, AUTH, "permission check failed: party %u may not use table %s/%s", party, ns, name);
}
