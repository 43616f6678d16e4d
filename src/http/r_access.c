/* r_access.c - permission/... and key/...: what partners may use here, and their public keys. */
#include "base/arena.h"
#include "http/http_int.h"
#include "http/permit.h"
#include <string.h>

/* FATE's SDK calls these, FATE's server never had them. */
static status no_privilege(struct call *c)
{
    return answer_http(c, 404, "404 Not Found: The requested URL was not found on the server.");
}

static status party_arg(struct call *c, const char **out)
{
    *out = arg_text(c, "party_id");
    return *out && **out && strspn(*out, "0123456789") == strlen(*out)
               ? OK
               : FAIL(c->cx, ARG, "party_id is no party id");
}

static status changed(struct call *c, bool grant)
{
    const char *party;
    NEED(c, "party_id");
    TRY(party_arg(c, &party));
    if (!c->http->set->permissions)
        return answer(c, 100,
                      "No permission controller is found, please check whether the switch of permission "
                      "control is turned on",
                      NULL);
    TRY(permit_change(c->cx, c->w->db, party, json_object_get(c->body, "component"),
                      json_object_get(c->body, "dataset"), grant));
    return answer(c, 0, "success", NULL);
}

static status permission_grant(struct call *c)
{
    return changed(c, true);
}

static status permission_delete(struct call *c)
{
    return changed(c, false);
}

static status permission_query(struct call *c)
{
    const char *party;
    json_t *data = NULL;
    NEED(c, "party_id");
    TRY(party_arg(c, &party));
    if (!c->http->set->permissions)
        return answer(c, 100,
                      "No permission controller is found, please check whether the switch of permission "
                      "control is turned on",
                      NULL);
    TRY(permit_list(c->cx, c->w->db, party, &data));
    return answer_ok(c, data);
}

/* ---- public keys of partners, as FATE's sites exchange them ---- */

static status key_save(struct call *c)
{
    const char *party;
    NEED(c, "party_id", "key");
    TRY(party_arg(c, &party));
    const char *key = arg_text(c, "key");
    CLEANUP(json_decrefp) json_t *doc = json_pack("{s:s}", "key", key ? key : "");
    if (!doc) return FAIL(c->cx, NOMEM, "a key");
    TRY(apidb_put(c->cx, c->w->db, "party_key", party, doc));
    return answer(c, 0, "success", NULL);
}

static status key_query(struct call *c)
{
    const char *party;
    struct doc d;
    bool found;
    NEED(c, "party_id");
    TRY(party_arg(c, &party));
    TRY(apidb_get(c->cx, c->w->db, "party_key", party, &d, &found));
    return answer(c, 0, "success", found ? json_incref(json_object_get(d.value, "key")) : NULL);
}

static status key_delete(struct call *c)
{
    const char *party;
    bool was;
    NEED(c, "party_id");
    TRY(party_arg(c, &party));
    TRY(apidb_delete(c->cx, c->w->db, "party_key", party, &was));
    return answer(c, was ? 0 : 101, was ? "success" : "no key of that party", NULL);
}

extern const struct route access_routes[];
const struct route access_routes[] = {
    {"permission/grant", permission_grant, KEY_ADMIN},
    {"permission/delete", permission_delete, KEY_ADMIN},
    {"permission/query", permission_query, KEY_VIEWER},
    {"permission/query/privilege", no_privilege, KEY_VIEWER},
    {"permission/grant/privilege", no_privilege, KEY_ADMIN},
    {"permission/delete/privilege", no_privilege, KEY_ADMIN},
    {"key/public/save", key_save, KEY_ADMIN},
    {"key/public/delete", key_delete, KEY_ADMIN},
    {"key/query", key_query, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
