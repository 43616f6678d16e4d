#include "base/arena.h"
#include "base/file.h"
#include "model/model.h"
#include "model/paths.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool wanted(const json_t *component, const char *name, const char *const *list, size_t n)
{
    const char *module = json_string_value(json_object_get(component, "module"));
    if (!list) return !module || strcmp(module, "Evaluation") != 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0) return true;
    return false;
}

/* A source "c.out" as the deployed DSL sees it: of c itself when deployed, else of c's own first source, and so on.
 * NULL: it leads to nothing that is deployed. Readers stand for themselves: the caller wires them. */
static const char *follow(const json_t *all, const char *source, const char *const *list, size_t n)
{
    static const char *const keys[] = {"train_data", "eval_data", "test_data", "data"};
    for (size_t hops = 0; source && hops <= json_object_size(all); hops++) {
        const char *dot = strchr(source, '.');
        if (!dot) return NULL;
        char name[256];
        if ((size_t)(dot - source) >= sizeof name) return NULL;
        memcpy(name, source, (size_t)(dot - source));
        name[dot - source] = 0;
        const json_t *c = json_object_get(all, name);
        if (!c) return NULL;
        if (wanted(c, name, list, n)) return source;
        const json_t *data = js_at(c, "input.data");
        source = NULL;
        for (size_t k = 0; !source && k < LEN(keys); k++)
            source = json_string_value(json_array_get(json_object_get(data, keys[k]), 0));
    }
    return NULL;
}

static json_t *infer_data(const json_t *all, const json_t *component, const char *const *list, size_t n)
{
    static const char *const from[] = {"data", "train_data", "validate_data", "test_data"};
    static const char *const to[] = {"data", "test_data", "test_data", "test_data"};
    const json_t *data = js_at(component, "input.data");
    for (size_t k = 0; k < LEN(from); k++) {
        const json_t *sources = json_object_get(data, from[k]);
        if (!sources) continue;
        json_t *kept = json_array();
        for (size_t i = 0; i < json_array_size(sources); i++) {
            const char *s = follow(all, json_string_value(json_array_get(sources, i)), list, n);
            if (s) json_array_append_new(kept, json_string(s));
        }
        if (json_array_size(kept) == 0) {
            json_decref(kept);
            return NULL;
        }
        return json_pack("{s:o}", to[k], kept);
    }
    return NULL;
}

static json_t *infer_component(const json_t *all, const char *name, const json_t *c, const char *const *list,
                               size_t n)
{
    json_t *out = json_object(), *input = json_object(), *models = json_array();
    json_object_set(out, "module", json_object_get(c, "module"));
    const json_t *alias = js_at(c, "output.model");
    for (size_t i = 0; i < json_array_size(alias); i++) {
        const char *a = json_string_value(json_array_get(alias, i));
        json_array_append_new(models, json_sprintf("pipeline.%s.%s", name, a ? a : "model"));
    }
    if (json_array_size(models)) json_object_set(input, "model", models);
    json_decref(models);
    json_t *data = infer_data(all, c, list, n);
    if (data) json_object_set_new(input, "data", data);
    if (json_object_size(input)) json_object_set(out, "input", input);
    json_decref(input);
    json_t *output = json_deep_copy(json_object_get(c, "output"));
    if (output) {
        json_object_del(output, "model");
        json_object_set_new(out, "output", output);
    }
    return out;
}

status model_infer_dsl(struct ctx *cx, const json_t *train_dsl, const char *const *components, size_t n,
                       json_t **out)
{
    const json_t *all = json_object_get(train_dsl, "components");
    if (!json_is_object(all)) return FAIL(cx, FORMAT, "DSL without components");
    for (size_t i = 0; i < n && components; i++)
        if (!json_object_get(all, components[i]))
            return FAIL(cx, ARG, "the DSL has no component %s", components[i]);
    json_t *kept = json_object(), *c;
    const char *name;
    json_object_foreach((json_t *)all, name, c) if (wanted(c, name, components, n))
        json_object_set_new(kept, name, infer_component(all, name, c, components, n));
    json_t *dsl = json_pack("{s:o}", "components", kept);
    if (!dsl) return FAIL(cx, NOMEM, "inference DSL");
    *out = dsl;
    return OK;
}

/* Files of a model never change once written (each is replaced whole), so a copy is a hard link. */
static status link_tree(struct ctx *cx, const char *from, const char *to)
{
    const char **names;
    size_t n;
    TRY(dir_make(cx, to, 0700));
    TRY(dir_list(cx, from, &names, &n));
    for (size_t i = 0; i < n; i++) {
        PATH(cx, a, "%s/%s", from, names[i]);
        PATH(cx, b, "%s/%s", to, names[i]);
        struct stat st;
        if (lstat(a, &st)) return FAIL(cx, IO, "%s: %m", a);
        if (S_ISDIR(st.st_mode))
            TRY(link_tree(cx, a, b));
        else if (link(a, b))
            return FAIL(cx, IO, "link %s: %m", b);
    }
    return OK;
}

static status copy_component(struct ctx *cx, const char *from, const char *to, const char *component)
{
    static const char *const kinds[] = {"variables/data", "run_parameters"};
    for (size_t k = 0; k < LEN(kinds); k++) {
        PATH(cx, a, "%s/%s/%s", from, kinds[k], component);
        PATH(cx, b, "%s/%s/%s", to, kinds[k], component);
        if (file_exists(a)) TRY(link_tree(cx, a, b));
    }
    return OK;
}

/* Whether the DSL has the component, or takes its model: "pipeline.<component>.<alias>". */
static bool is_needed(const json_t *components, const char *component)
{
    const char *name;
    json_t *c;
    size_t n = strlen(component);
    if (json_object_get(components, component)) return true;
    json_object_foreach((json_t *)components, name, c)
    {
        const json_t *models = js_at(c, "input.model");
        for (size_t i = 0; i < json_array_size(models); i++) {
            const char *s = json_string_value(json_array_get(models, i));
            if (s && strncmp(s, "pipeline.", 9) == 0 && strncmp(s + 9, component, n) == 0 && s[9 + n] == '.')
                return true;
        }
    }
    return false;
}

static status build(struct ctx *cx, const char *from, const char *to, const json_t *dsl, const char *version,
                    const char *parent_version)
{
    struct define_row *rows;
    size_t n, kept = 0;
    const json_t *components = json_object_get(dsl, "components");
    TRY(define_read(cx, from, &rows, &n));
    TRY(dir_make(cx, to, 0700));
    for (size_t i = 0; i < n; i++) {
        bool pipeline = strcmp(rows[i].component, "pipeline") == 0;
        if (!pipeline && !is_needed(components, rows[i].component)) continue;
        bool again = kept && strcmp(rows[kept - 1].component, rows[i].component) == 0;
        if (!again) TRY(copy_component(cx, from, to, rows[i].component));
        rows[kept++] = rows[i];
    }
    TRY(define_write(cx, to, rows, kept));
    return pipeline_rewrite(cx, to, dsl, version, parent_version);
}

/* given NULL: the DSL is made of the training's and the components. */
static status deploy(struct ctx *cx, const char *dir, const struct model_key *parent, const json_t *given,
                     const char *const *components, size_t n, const char *new_version)
{
    struct model_pipeline p;
    const char *from, *to;
    struct model_key child = *parent;
    child.version = new_version;
    TRY(model_load_pipeline(cx, dir, parent, &p));
    if (!p.parent)
        return FAIL(cx, STATE, "model version %s is a deployed one: deploy its parent %s", parent->version,
                    p.parent_version ? p.parent_version : "");
    TRY(model_path(cx, dir, parent, &from));
    TRY(model_path(cx, dir, &child, &to));
    if (file_exists(to)) return FAIL(cx, EXISTS, "model version %s", new_version);
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    if (given)
        dsl = json_incref((json_t *)given);
    else
        TRY(model_infer_dsl(cx, p.train_dsl, components, n, &dsl));
    const char *slash = strrchr(to, '/');
    PATH(cx, tmp, "%.*s/.deploy-%s", (int)(slash - to), to, new_version);
    TRY(dir_remove(cx, tmp));
    status st = build(cx, from, tmp, dsl, new_version, parent->version);
    if (!st.code) st = folder_publish(cx, tmp, to, false);
    if (st.code) {
        struct err why = cx->err;
        (void)!dir_remove(cx, tmp).code;
        cx->err = why;
    }
    return st;
}

status model_deploy(struct ctx *cx, const char *dir, const struct model_key *parent,
                    const char *const *components, size_t n, const char *new_version)
{
    return deploy(cx, dir, parent, NULL, components, n, new_version);
}

/* Each "pipeline.<component>.<alias>" of a component must be a component of the training with that output. */
static status check_sources(struct ctx *cx, const json_t *train, const char *name, const json_t *models)
{
    for (size_t i = 0; i < json_array_size(models); i++) {
        const char *s = json_string_value(json_array_get(models, i));
        if (!s || strncmp(s, "pipeline.", 9) != 0) continue;
        const char *dot = strchr(s + 9, '.');
        const json_t *c =
            dot ? json_object_getn(json_object_get(train, "components"), s + 9, (size_t)(dot - s - 9)) : NULL;
        if (!c || json_array_size(js_at(c, "output.model")) == 0)
            return FAIL(cx, ARG, "component %.64s: the model has no %.100s", name, s);
    }
    return OK;
}

status model_deploy_dsl(struct ctx *cx, const char *dir, const struct model_key *parent, const json_t *dsl,
                        const char *new_version)
{
    struct model_pipeline p;
    const char *name;
    json_t *c;
    const json_t *all = json_object_get(dsl, "components");
    if (!json_is_object(all)) return FAIL(cx, ARG, "the inference DSL has no components");
    TRY(model_load_pipeline(cx, dir, parent, &p));
    json_object_foreach((json_t *)all, name, c)
    {
        TRY(model_check_name(cx, "component", name));
        TRY(check_sources(cx, p.train_dsl, name, js_at(c, "input.model")));
    }
    return deploy(cx, dir, parent, dsl, NULL, 0, new_version);
}
