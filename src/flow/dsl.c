#include "flow/dsl.h"
#include "base/arena.h"
#include "flow/names.h"
#include <string.h>

#define OUTPUTS_MAX 64

bool dsl_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= DSL_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

size_t dsl_find(const struct dsl *d, const char *name)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->components[i].name, name) == 0) return i;
    return SIZE_MAX;
}

/* Every key of obj must be among known, else ARG with the nearest. */
static status only_keys(struct ctx *cx, const json_t *obj, const char *where, const char *const *known,
                        size_t n)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)obj, key, v)
    {
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (found) continue;
        const char *near = name_nearest(key, known, n);
        return FAIL(cx, ARG, "DSL: %s has no key \"%.60s\"%s%s%s", where, key, near ? ", did you mean " : "",
                    near ? near : "", near ? "?" : "");
    }
    return OK;
}

/* NULL when absent or null; FORMAT when not an object. */
static status sub_object(struct ctx *cx, const json_t *obj, const char *name, const char *key,
                         const json_t **out)
{
    const json_t *v = json_object_get(obj, key);
    *out = json_is_null(v) ? NULL : v;
    return !*out || json_is_object(*out) ? OK : FAIL(cx, FORMAT, "DSL: %s.%s is not an object", name, key);
}

static status name_list(struct ctx *cx, const json_t *out_obj, const char *name, const char *key, size_t max,
                        const char *const **out)
{
    const json_t *v = json_object_get(out_obj, key);
    if (v && !json_is_null(v) && !json_is_array(v))
        return FAIL(cx, FORMAT, "DSL: %s.output.%s is not a list of names", name, key);
    size_t n = json_array_size(v);
    if (n > max) return FAIL(cx, ARG, "DSL: %s.output.%s has %zu names, at most %zu", name, key, n, max);
    const char **list = NEW(cx, const char *, n + 1);
    if (!list) return FAIL(cx, NOMEM, "DSL");
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(v, i));
        if (!s || !dsl_name_ok(s))
            return FAIL(cx, ARG, "DSL: %s.output.%s: entry %zu is no name (letters, digits, '_', '-')", name,
                        key, i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(list[k], s) == 0)
                return FAIL(cx, ARG, "DSL: %s.output.%s names %s twice", name, key, s);
        list[i] = arena_strdup(cx->mem, s);
        if (!list[i]) return FAIL(cx, NOMEM, "DSL");
    }
    *out = list;
    return OK;
}

/* "a.b" or, for models, "pipeline.a.b". */
static status split_source(struct ctx *cx, const char *where, const char *text, bool model,
                           struct dsl_source *out)
{
    const char *at = text;
    struct dsl_source s = {.from = SIZE_MAX};
    if (model && strncmp(text, "pipeline.", 9) == 0) s.pipeline = true, at += 9;
    const char *dot = strchr(at, '.');
    s.component = dot ? arena_strndup(cx->mem, at, (size_t)(dot - at)) : NULL;
    s.output = dot ? arena_strdup(cx->mem, dot + 1) : NULL;
    if (dot && (!s.component || !s.output)) return FAIL(cx, NOMEM, "DSL");
    if (!dot || !dsl_name_ok(s.component) || !dsl_name_ok(s.output))
        return FAIL(cx, ARG, "DSL: %s is \"%.100s\", want <component>.<output>", where, text);
    *out = s;
    return OK;
}

static status source_list(struct ctx *cx, const json_t *v, const char *where, const char *key, bool model,
                          struct dsl_source *list, size_t *n)
{
    if (json_is_null(v)) return OK;
    if (!json_is_array(v)) return FAIL(cx, FORMAT, "DSL: %s is not a list of <component>.<output>", where);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *text = json_string_value(json_array_get(v, i));
        if (!text) return FAIL(cx, FORMAT, "DSL: %s: entry %zu is not a text", where, i);
        TRY(split_source(cx, where, text, model, &list[*n]));
        list[(*n)++].key = key;
    }
    return OK;
}

static status parse_data(struct ctx *cx, const json_t *in, struct dsl_component *c)
{
    const json_t *data;
    const char *key;
    json_t *v;
    size_t n = 0, room = 0;
    TRY(sub_object(cx, in, arena_printf(cx->mem, "%s.input", c->name), "data", &data));
    json_object_foreach((json_t *)data, key, v) room += json_array_size(v);
    struct dsl_source *list = NEW(cx, struct dsl_source, room + 1);
    if (!list) return FAIL(cx, NOMEM, "DSL");
    json_object_foreach((json_t *)data, key, v)
    {
        const char *where = arena_printf(cx->mem, "%s.input.data.%.64s", c->name, key);
        const char *kept = arena_strdup(cx->mem, key);
        if (!where || !kept) return FAIL(cx, NOMEM, "DSL");
        if (!dsl_name_ok(key)) return FAIL(cx, ARG, "DSL: %s is no key of input data", where);
        TRY(source_list(cx, v, where, kept, false, list, &n));
    }
    c->data = list, c->n_data = n;
    return OK;
}

static status parse_other(struct ctx *cx, const json_t *in, struct dsl_component *c)
{
    static const char *const keys[] = {"model", "isometric_model"};
    const json_t *cache = json_object_get(in, "cache");
    size_t n = 0, room = json_array_size(cache) + 1;
    for (size_t k = 0; k < LEN(keys); k++)
        room += json_array_size(json_object_get(in, keys[k]));
    struct dsl_source *models = NEW(cx, struct dsl_source, room), *caches = NEW(cx, struct dsl_source, room);
    if (!models || !caches) return FAIL(cx, NOMEM, "DSL");
    for (size_t k = 0; k < LEN(keys); k++) {
        const json_t *v = json_object_get(in, keys[k]);
        if (v)
            TRY(source_list(cx, v, arena_printf(cx->mem, "%s.input.%s", c->name, keys[k]), keys[k], true,
                            models, &n));
    }
    c->models = models, c->n_models = n, n = 0;
    if (cache)
        TRY(source_list(cx, cache, arena_printf(cx->mem, "%s.input.cache", c->name), "cache", false, caches,
                        &n));
    c->caches = caches, c->n_caches = n;
    return OK;
}

static status parse_component(struct ctx *cx, const char *name, const json_t *j, struct dsl_component *c)
{
    static const char *const keys[] = {"module", "input", "output", "need_deploy", "provider", "CodePath"};
    static const char *const in_keys[] = {"data", "model", "isometric_model", "cache"};
    static const char *const out_keys[] = {"data", "model", "cache"};
    const json_t *in, *out;
    if (!dsl_name_ok(name))
        return FAIL(cx, ARG, "DSL: component name \"%.80s\", want 1 to %d letters, digits, '_' or '-'", name,
                    DSL_NAME_MAX);
    if (!json_is_object(j)) return FAIL(cx, FORMAT, "DSL: component %s is not an object", name);
    *c = (struct dsl_component){.name = arena_strdup(cx->mem, name)};
    TRY(only_keys(cx, j, name, keys, LEN(keys)));
    const char *module = json_string_value(json_object_get(j, "module"));
    if (!module || !*module) return FAIL(cx, ARG, "DSL: component %s has no module", name);
    c->module = arena_strdup(cx->mem, module);
    if (!c->name || !c->module) return FAIL(cx, NOMEM, "DSL");
    TRY(sub_object(cx, j, name, "input", &in));
    TRY(sub_object(cx, j, name, "output", &out));
    if (in) TRY(only_keys(cx, in, arena_printf(cx->mem, "%s.input", name), in_keys, LEN(in_keys)));
    if (out) TRY(only_keys(cx, out, arena_printf(cx->mem, "%s.output", name), out_keys, LEN(out_keys)));
    TRY(parse_data(cx, in, c));
    TRY(parse_other(cx, in, c));
    TRY(name_list(cx, out, name, "data", OUTPUTS_MAX, &c->out_data));
    TRY(name_list(cx, out, name, "model", 1, &c->out_model)); /* a component has one model */
    return OK;
}

static bool listed(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0) return true;
    return false;
}

static status link_source(struct ctx *cx, const struct dsl *d, const struct dsl_component *c,
                          struct dsl_source *s, bool model)
{
    if (s->pipeline) return OK;
    s->from = dsl_find(d, s->component);
    const char **names = NEW(cx, const char *, d->n);
    if (!names) return FAIL(cx, NOMEM, "DSL");
    for (size_t i = 0; i < d->n; i++)
        names[i] = d->components[i].name;
    if (s->from == SIZE_MAX) {
        const char *near = name_nearest(s->component, names, d->n);
        return FAIL(cx, ARG, "DSL: %s.input.%s refers to %s.%s, but there is no component %s%s%s%s", c->name,
                    s->key, s->component, s->output, s->component, near ? ", did you mean " : "",
                    near ? near : "", near ? "?" : "");
    }
    const struct dsl_component *from = &d->components[s->from];
    const char *const *outs = model ? from->out_model : from->out_data;
    if (strcmp(s->key, "cache") != 0 && !listed(outs, s->output))
        return FAIL(cx, ARG, "DSL: %s.input.%s refers to %s.%s, but %s.output.%s does not list %s", c->name,
                    s->key, s->component, s->output, from->name, model ? "model" : "data", s->output);
    return OK;
}

static void wait_for(size_t *after, size_t *n, const struct dsl_source *s, size_t n_s)
{
    for (size_t i = 0; i < n_s; i++) {
        bool known = s[i].from == SIZE_MAX;
        for (size_t k = 0; k < *n && !known; k++)
            known = after[k] == s[i].from;
        if (!known) after[(*n)++] = s[i].from;
    }
}

static status link_component(struct ctx *cx, const struct dsl *d, struct dsl_component *c)
{
    for (size_t i = 0; i < c->n_data; i++)
        TRY(link_source(cx, d, c, (struct dsl_source *)&c->data[i], false));
    for (size_t i = 0; i < c->n_models; i++)
        TRY(link_source(cx, d, c, (struct dsl_source *)&c->models[i], true));
    for (size_t i = 0; i < c->n_caches; i++)
        TRY(link_source(cx, d, c, (struct dsl_source *)&c->caches[i], false));
    size_t *after = NEW(cx, size_t, c->n_data + c->n_models + c->n_caches + 1);
    if (!after) return FAIL(cx, NOMEM, "DSL");
    wait_for(after, &c->n_after, c->data, c->n_data);
    wait_for(after, &c->n_after, c->models, c->n_models);
    wait_for(after, &c->n_after, c->caches, c->n_caches);
    c->after = after;
    return OK;
}

static bool is_ready(const struct dsl_component *c, const bool *done)
{
    for (size_t k = 0; k < c->n_after; k++)
        if (!done[c->after[k]]) return false;
    return true;
}

/* Walks back along unmet needs from a component that never became ready until one comes again: that is a
 * cycle. */
static status name_cycle(struct ctx *cx, const struct dsl *d, const bool *done)
{
    bool *seen = NEW(cx, bool, d->n);
    const char *text = NULL;
    size_t at = 0;
    while (done[at])
        at++;
    for (int round = 0; round < 2 && seen; round++) {
        size_t start = at;
        do {
            const struct dsl_component *c = &d->components[at];
            if (round == 0 && seen[at]) break;
            if (round == 1) text = text ? arena_printf(cx->mem, "%s <- %s", text, c->name) : c->name;
            seen[at] = true;
            for (size_t k = 0; k < c->n_after; k++)
                if (!done[c->after[k]]) {
                    at = c->after[k];
                    break;
                }
        } while (round == 0 || at != start);
    }
    return FAIL(cx, ARG, "DSL: cycle %s <- ...", text ? text : "");
}

static status sort(struct ctx *cx, struct dsl *d)
{
    size_t *order = NEW(cx, size_t, d->n), n = 0;
    bool *done = NEW(cx, bool, d->n);
    if (!order || !done) return FAIL(cx, NOMEM, "DSL");
    for (bool moved = true; moved && n < d->n;) {
        moved = false;
        for (size_t i = 0; i < d->n; i++) {
            if (done[i] || !is_ready(&d->components[i], done)) continue;
            done[i] = moved = true;
            order[n++] = i;
        }
    }
    if (n < d->n) return name_cycle(cx, d, done);
    d->order = order;
    return OK;
}

status dsl_parse(struct ctx *cx, const json_t *j, struct dsl *out)
{
    static const char *const keys[] = {"components", "provider", "dsl_version"};
    const json_t *all = json_object_get(j, "components");
    const char *name;
    json_t *v;
    if (!json_is_object(j)) return FAIL(cx, FORMAT, "DSL: not a JSON object");
    TRY(only_keys(cx, j, "the DSL", keys, LEN(keys)));
    if (!json_is_object(all)) return FAIL(cx, FORMAT, "DSL: components is missing or no object");
    size_t n = json_object_size(all);
    if (n == 0) return FAIL(cx, ARG, "DSL: no components");
    if (n > DSL_COMPONENTS_MAX)
        return FAIL(cx, LIMIT, "DSL: %zu components, at most %d", n, DSL_COMPONENTS_MAX);
    struct dsl_component *c = NEW(cx, struct dsl_component, n);
    if (!c) return FAIL(cx, NOMEM, "DSL");
    struct dsl d = {.components = c};
    json_object_foreach((json_t *)all, name, v) TRY(parse_component(cx, name, v, &c[d.n++]));
    for (size_t i = 0; i < d.n; i++)
        TRY(link_component(cx, &d, &c[i]));
    TRY(sort(cx, &d));
    *out = d;
    return OK;
}
