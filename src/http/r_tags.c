/* r_tags.c - model/tag/... and model/model_tag/...: names that people give to models. */
#include "base/arena.h"
#include "http/http_int.h"
#include "model/model.h"
#include <string.h>

static status tag_create(struct call *c)
{
    NEED(c, "tag_name");
    const char *name = arg_text(c, "tag_name"), *desc = arg_text(c, "tag_desc");
    if (!name || !*name || strchr(name, '/'))
        return answer(c, 100, "tag_name is no name: a text without '/'", NULL);
    CLEANUP(json_decrefp) json_t *doc = json_pack("{s:s}", "desc", desc ? desc : "");
    status st = doc ? apidb_insert(c->cx, c->w->db, "tag", name, doc) : FAIL(c->cx, NOMEM, "a tag");
    if (st.code == ERR_EXISTS)
        return answer(c, 100, arena_printf(c->cx->mem, "'%s' has already exists in database.", name), NULL);
    TRY(st);
    return answer(c, 0, arena_printf(c->cx->mem, "'%s' tag has been created successfully.", name), NULL);
}

static json_t *tag_json(const struct doc *d)
{
    return json_pack("{s:s,s:O}", "name", d->key, "description", json_object_get(d->value, "desc"));
}

/* Documents of kind model_tag have the key "<tag>/<model version>". */
static status tagged_models(struct call *c, const char *tag, json_t *list)
{
    struct doc *docs;
    size_t n, n_models;
    struct model_info *models;
    const char *prefix = arena_printf(c->cx->mem, "%s/", tag);
    if (!prefix) return FAIL(c->cx, NOMEM, "tags");
    TRY(apidb_list(c->cx, c->w->db, "model_tag", prefix, false, 0, &docs, &n));
    TRY(model_list(c->cx, http_models(c), &models, &n_models));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_models; k++)
            if (strcmp(models[k].key.version, docs[i].key + strlen(prefix)) == 0)
                json_array_append_new(list,
                                      json_pack("{s:s,s:s,s:I,s:s,s:I}", "model_id", models[k].key.model_id,
                                                "model_version", models[k].key.version, "model_size",
                                                (json_int_t)models[k].bytes, "role", models[k].key.role,
                                                "party_id", (json_int_t)models[k].key.party));
    return OK;
}

static status tag_retrieve(struct call *c)
{
    struct doc *docs;
    size_t n;
    NEED(c, "tag_name");
    const char *name = arg_text(c, "tag_name");
    CLEANUP(json_decrefp) json_t *list = json_array();
    if (!name) return answer(c, 100, "tag_name is no text", NULL);
    TRY(apidb_list(c->cx, c->w->db, "tag", "", false, 0, &docs, &n));
    bool with = arg_bool(c, "with_model", false), found = false;
    for (size_t i = 0; i < n; i++) {
        if (with ? strcmp(docs[i].key, name) != 0 : !strstr(docs[i].key, name)) continue;
        found = true;
        if (with)
            TRY(tagged_models(c, name, list));
        else
            json_array_append_new(list, tag_json(&docs[i]));
    }
    if (!found) return answer(c, 100, arena_printf(c->cx->mem, "tag '%s' not found.", name), NULL);
    if (!with) return answer_ok(c, json_pack("{s:O}", "tags", list));
    return answer_ok(c, json_pack("{s:I,s:O}", "count", (json_int_t)json_array_size(list), "models", list));
}

static status move_tagged(struct call *c, const char *from, const char *to)
{
    struct doc *docs;
    size_t n;
    bool was;
    const char *prefix = arena_printf(c->cx->mem, "%s/", from);
    if (!prefix) return FAIL(c->cx, NOMEM, "tags");
    TRY(apidb_list(c->cx, c->w->db, "model_tag", prefix, false, 0, &docs, &n));
    for (size_t i = 0; i < n; i++) {
        const char *key = to ? arena_printf(c->cx->mem, "%s/%s", to, docs[i].key + strlen(prefix)) : NULL;
        if (key) TRY(apidb_put(c->cx, c->w->db, "model_tag", key, docs[i].value));
        TRY(apidb_delete(c->cx, c->w->db, "model_tag", docs[i].key, &was));
    }
    return OK;
}

static status tag_update(struct call *c)
{
    struct doc d;
    bool found, taken = false, was;
    NEED(c, "tag_name");
    const char *name = arg_text(c, "tag_name"), *fresh = arg_text(c, "new_tag_name"),
               *desc = arg_text(c, "new_tag_desc");
    TRY(apidb_get(c->cx, c->w->db, "tag", name ? name : "", &d, &found));
    if (!found)
        return answer(c, 100, arena_printf(c->cx->mem, "Can not found '%s' tag.", name ? name : ""), NULL);
    if (fresh && strchr(fresh, '/'))
        return answer(c, 100, "new_tag_name is no name: a text without '/'", NULL);
    bool moves = fresh && *fresh && strcmp(fresh, name) != 0;
    struct doc other;
    if (moves) TRY(apidb_get(c->cx, c->w->db, "tag", fresh, &other, &taken));
    if (taken) return answer(c, 100, arena_printf(c->cx->mem, "'%s' already exists.", fresh), NULL);
    if (desc) json_object_set_new(d.value, "desc", json_string(desc));
    TRY(apidb_put(c->cx, c->w->db, "tag", moves ? fresh : name, d.value));
    if (moves) {
        TRY(move_tagged(c, name, fresh));
        TRY(apidb_delete(c->cx, c->w->db, "tag", name, &was));
    }
    return answer(
        c, 0, arena_printf(c->cx->mem, "Infomation of '%s' tag has been updated successfully.", name), NULL);
}

static status tag_destroy(struct call *c)
{
    bool was;
    NEED(c, "tag_name");
    const char *name = arg_text(c, "tag_name");
    TRY(apidb_delete(c->cx, c->w->db, "tag", name ? name : "", &was));
    if (!was)
        return answer(c, 100, arena_printf(c->cx->mem, "Can not found '%s' tag.", name ? name : ""), NULL);
    TRY(move_tagged(c, name, NULL));
    return answer(c, 0, arena_printf(c->cx->mem, "'%s' tag has been deleted successfully.", name), NULL);
}

static status tag_list(struct call *c)
{
    struct doc *docs, *tagged;
    size_t n, k;
    int64_t limit = arg_int(c, "limit", 0);
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(apidb_list(c->cx, c->w->db, "tag", "", false, limit > 0 ? (size_t)limit : 0, &docs, &n));
    for (size_t i = 0; i < n; i++) {
        CLEANUP(json_decrefp) json_t *one = tag_json(&docs[i]);
        TRY(apidb_list(c->cx, c->w->db, "model_tag", arena_printf(c->cx->mem, "%s/", docs[i].key), false, 0,
                       &tagged, &k));
        json_object_set_new(one, "model_count", json_integer((json_int_t)k));
        json_array_append(list, one);
    }
    return answer_ok(c, json_pack("{s:O}", "tags", list));
}

static status has_model(struct call *c, const char *version, bool *out)
{
    struct model_info *models;
    size_t n;
    TRY(model_list(c->cx, http_models(c), &models, &n));
    *out = false;
    for (size_t i = 0; i < n; i++)
        *out = *out || strcmp(models[i].key.version, version) == 0;
    return OK;
}

static status model_tag_create(struct call *c)
{
    bool there, found;
    struct doc d;
    NEED(c, "job_id", "tag_name");
    const char *id = arg_text(c, "job_id"), *name = arg_text(c, "tag_name");
    if (!id || !name || !*name || strchr(name, '/'))
        return answer(c, 100, "job_id and tag_name are texts", NULL);
    TRY(has_model(c, id, &there));
    if (!there)
        return answer(c, 100, arena_printf(c->cx->mem, "Can not found model by job id: '%s'.", id), NULL);
    CLEANUP(json_decrefp) json_t *tag = json_pack("{s:n}", "desc");
    CLEANUP(json_decrefp) json_t *doc = json_object();
    const char *key = arena_printf(c->cx->mem, "%s/%s", name, id);
    if (!key || !tag || !doc) return FAIL(c->cx, NOMEM, "a tag");
    TRY(apidb_get(c->cx, c->w->db, "tag", name, &d, &found));
    if (!found) TRY(apidb_put(c->cx, c->w->db, "tag", name, tag));
    TRY(apidb_put(c->cx, c->w->db, "model_tag", key, doc));
    return answer(c, 0,
                  arena_printf(c->cx->mem, "Adding %s tag for model with job id: %s successfully.", name, id),
                  NULL);
}

static status model_tag_remove(struct call *c)
{
    bool was;
    NEED(c, "job_id", "tag_name");
    const char *id = arg_text(c, "job_id"), *name = arg_text(c, "tag_name");
    const char *key = arena_printf(c->cx->mem, "%s/%s", name ? name : "", id ? id : "");
    TRY(apidb_delete(c->cx, c->w->db, "model_tag", key ? key : "", &was));
    if (!was)
        return answer(
            c, 100,
            arena_printf(c->cx->mem, "Can not found '%s' tag of model '%s'.", name ? name : "", id ? id : ""),
            NULL);
    return answer(
        c, 0, arena_printf(c->cx->mem, "Removing %s tag from model with job id: %s successfully.", name, id),
        NULL);
}

static status model_tag_retrieve(struct call *c)
{
    struct doc *docs;
    size_t n;
    bool found;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(apidb_list(c->cx, c->w->db, "model_tag", "", false, 0, &docs, &n));
    for (size_t i = 0; i < n && id; i++) {
        const char *slash = strrchr(docs[i].key, '/');
        struct doc tag;
        if (!slash || strcmp(slash + 1, id) != 0) continue;
        const char *name = arena_strndup(c->cx->mem, docs[i].key, (size_t)(slash - docs[i].key));
        TRY(apidb_get(c->cx, c->w->db, "tag", name ? name : "", &tag, &found));
        if (found) json_array_append_new(list, tag_json(&tag));
    }
    return answer_ok(c, json_pack("{s:I,s:O}", "count", (json_int_t)json_array_size(list), "tags", list));
}

extern const struct route tag_routes[];
const struct route tag_routes[] = {
    {"model/tag/create", tag_create, KEY_MODELLER},
    {"model/tag/retrieve", tag_retrieve, KEY_VIEWER},
    {"model/tag/update", tag_update, KEY_MODELLER},
    {"model/tag/destroy", tag_destroy, KEY_MODELLER},
    {"model/tag/list", tag_list, KEY_VIEWER},
    {"model/model_tag/create", model_tag_create, KEY_MODELLER},
    {"model/model_tag/remove", model_tag_remove, KEY_MODELLER},
    {"model/model_tag/retrieve", model_tag_retrieve, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
