/* openapi.c - a description of all routes, made of the tables that serve them: GET /v1/openapi.json. */
#include "base/arena.h"
#include "http/http_int.h"
#include <string.h>

/* FATE's answers: an envelope with a code; bodies are open objects, since clients send more than a route reads. */
static json_t *operation(const struct route *r)
{
    return json_pack("{s:{s:s,s:{s:{s:{s:s,s:b}}}},s:{s:{s:s,s:{s:{s:{s:s}}}},s:{s:s}},s:s}", "requestBody",
                     "description", "members as FATE-Flow's v1 API has them; unknown ones are ignored",
                     "content", "application/json", "schema", "type", "object", "additionalProperties", 1,
                     "responses", "200", "description",
                     "retcode 0 or what went wrong, retmsg, data; or a file", "content", "application/json",
                     "schema", "type", "object", "default", "description",
                     "retcode and retmsg; the HTTP status is the retcode (210, 400, 404, 409, 413, 429)",
                     "x-norn-role", key_role_name(r->role));
}

static json_t *path_item(struct call *c, const struct route *r, const char **path)
{
    const char *star = strchr(r->path, '*');
    json_t *item = json_pack("{s:o,s:o}", "post", operation(r), "get", operation(r));
    *path = star ? arena_printf(c->cx->mem, "/v1/%.*s{name}%s", (int)(star - r->path), r->path, star + 1)
                 : arena_printf(c->cx->mem, "/v1/%s", r->path);
    if (star)
        json_object_set_new(item, "parameters",
                            json_pack("[{s:s,s:s,s:b,s:{s:s}}]", "name", "name", "in", "path", "required", 1,
                                      "schema", "type", "string"));
    return item;
}

static status openapi(struct call *c)
{
    CLEANUP(json_decrefp) json_t *paths = json_object();
    for (size_t t = 0; route_tables[t]; t++)
        for (const struct route *r = route_tables[t]; r->path; r++) {
            const char *path;
            json_t *item = path_item(c, r, &path);
            if (!path || json_object_set_new(paths, path, item)) return FAIL(c->cx, NOMEM, "a description");
        }
    return answer_object(c,
                         json_pack("{s:s,s:{s:s,s:s},s:O,s:{s:{s:{s:s,s:s}}},s:[{s:[]}]}", "openapi", "3.0.3",
                                   "info", "title", "FATE-Flow's v1 API as norn answers it", "version",
                                   NORN_VERSION, "paths", paths, "components", "securitySchemes", "token",
                                   "type", "http", "scheme", "bearer", "security", "token"));
}

extern const struct route openapi_routes[];
const struct route openapi_routes[] = {
    {"openapi.json", openapi, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
