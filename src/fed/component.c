#include "fed/component.h"
#include "base/arena.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- spelling ---- */

/* Optimal string alignment of two short words, without case. */
static size_t word_distance(const char *a, const char *b)
{
    size_t row[3][64];
    size_t n = strlen(a), m = strlen(b);
    if (n > 62 || m > 62) return 1000;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    size_t *before = row[2], *prev = row[0], *cur = row[1];
    for (size_t i = 1; i <= n; i++) {
        cur[0] = i;
        for (size_t j = 1; j <= m; j++) {
            bool same = strncasecmp(a + i - 1, b + j - 1, 1) == 0;
            size_t d = prev[j - 1] + !same;
            if (prev[j] + 1 < d) d = prev[j] + 1;
            if (cur[j - 1] + 1 < d) d = cur[j - 1] + 1;
            if (i > 1 && j > 1 && strncasecmp(a + i - 1, b + j - 2, 1) == 0 &&
                strncasecmp(a + i - 2, b + j - 1, 1) == 0 && before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            cur[j] = d;
        }
        size_t *t = before;
        before = prev, prev = cur, cur = t;
    }
    return prev[m];
}

static const char *last_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* The table's path closest to an unknown one: the last name decides, then the whole path. */
static const char *nearest(const struct component *c, const char *path)
{
    const char *best = NULL;
    size_t best_d = SIZE_MAX;
    for (size_t i = 0; i < c->n_params; i++) {
        size_t d = 100 * word_distance(last_name(path), last_name(c->params[i].path)) +
                   word_distance(path, c->params[i].path);
        if (d < best_d) best_d = d, best = c->params[i].path;
    }
    return best;
}

/* ---- one value ---- */

struct check {
    const struct component *c;
    const char *instance;
};

#define REFUSE(cx, k, code, path, ...)                                                                       \
    FAIL(cx, code, "%s (%s): parameter %s%s", (k)->instance, (k)->c->module, (path),                         \
         arena_printf((cx)->mem, __VA_ARGS__) ?: "")

static const char *type_name(enum param_type t)
{
    static const char *const name[] = {
        [PARAM_BOOL] = "true or false", [PARAM_INT] = "an integer", [PARAM_NUM] = "a number",
        [PARAM_STR] = "a text",         [PARAM_LIST] = "a list",    [PARAM_MAP] = "an object",
        [PARAM_ANY] = "anything",
    };
    return name[t];
}

static bool type_fits(enum param_type t, const json_t *v)
{
    switch (t) {
    case PARAM_BOOL:
        return json_is_boolean(v);
    case PARAM_INT:
        return json_is_integer(v);
    case PARAM_NUM:
        return json_is_number(v);
    case PARAM_STR:
        return json_is_string(v);
    case PARAM_LIST:
        return json_is_array(v);
    case PARAM_MAP:
        return json_is_object(v);
    case PARAM_ANY:
        return true;
    }
    return false;
}

/* At most 60 characters of a value, for messages. */
static const char *show(struct ctx *cx, const json_t *v)
{
    const char *text;
    if (js_text(cx, v, &text).code) return "(a value)";
    if (strlen(text) <= 60) return text;
    const char *cut = arena_printf(cx->mem, "%.57s...", text);
    return cut ? cut : "(a long value)";
}

/* 1 and 1.0 are the same, texts are compared without case. */
static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    if (json_is_string(a) && json_is_string(b))
        return strcasecmp(json_string_value(a), json_string_value(b)) == 0;
    return json_equal(a, b);
}

static status check_choice(struct ctx *cx, const struct check *k, const struct param *p, const char *given,
                           json_t **out)
{
    for (const char *at = p->choices; *at;) {
        size_t n = strcspn(at, "|");
        if (strlen(given) == n && strncasecmp(given, at, n) == 0) {
            *out = json_stringn(at, n);
            return *out ? OK : FAIL(cx, NOMEM, "a parameter");
        }
        at += n + (at[n] == '|');
    }
    return REFUSE(cx, k, ARG, p->path, " is \"%.60s\", want one of %s", given, p->choices);
}

/* *out: a new reference to the value as the component will see it. */
static status check_value(struct ctx *cx, const struct check *k, const struct param *p, json_t *given,
                          json_t **out)
{
    if (json_is_null(given) && p->nullable) {
        *out = json_null();
        return OK;
    }
    if (!type_fits(p->type, given))
        return REFUSE(cx, k, ARG, p->path, " is %s, want %s%s", show(cx, given), type_name(p->type),
                      p->nullable ? " or null" : "");
    if (json_is_real(given) && !isfinite(json_real_value(given)))
        return REFUSE(cx, k, ARG, p->path, " is not a finite number");
    if ((p->type == PARAM_INT || p->type == PARAM_NUM) && (p->min != 0 || p->max != 0)) {
        double x = json_number_value(given);
        if (x < p->min || x > p->max)
            return REFUSE(cx, k, ARG, p->path, " is %s, want %.10g to %.10g", show(cx, given), p->min,
                          p->max);
    }
    if (p->type == PARAM_STR && p->choices) return check_choice(cx, k, p, json_string_value(given), out);
    *out = json_deep_copy(given);
    return *out ? OK : FAIL(cx, NOMEM, "a parameter");
}

static status default_value(struct ctx *cx, const struct check *k, const struct param *p, json_t **out)
{
    json_error_t e;
    *out = json_loads(p->def, JSON_DECODE_ANY, &e);
    if (!*out)
        return FAIL(cx, INTERNAL, "%s: the default of %s is not JSON: %s", k->c->module, p->path, e.text);
    return OK;
}

static status refuse_unbuilt(struct ctx *cx, const struct check *k, const struct param *p,
                             const json_t *given)
{
    return REFUSE(cx, k, UNSUPPORTED, p->path, " is %s: %s; only the default %s is accepted. %s",
                  show(cx, given),
                  p->state == PARAM_UNBUILT ? "norn has not built this" : "deprecated by FATE", p->def,
                  p->text ? p->text : "");
}

/* ---- the whole table ---- */

static bool is_folder_of(const char *folder, const char *path)
{
    size_t n = strlen(folder);
    return strncmp(folder, path, n) == 0 && path[n] == '.';
}

/* Every name given must be one of the table, or an object on the way to one. */
static status refuse_unknown(struct ctx *cx, const struct check *k, const json_t *given, const char *prefix)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)given, key, v)
    {
        const char *path = *prefix ? arena_printf(cx->mem, "%s.%s", prefix, key) : key;
        if (!path) return FAIL(cx, NOMEM, "a parameter name");
        bool known = false, folder = false;
        for (size_t i = 0; i < k->c->n_params && !known; i++) {
            known = strcmp(path, k->c->params[i].path) == 0;
            folder = folder || is_folder_of(path, k->c->params[i].path);
        }
        if (known) continue;
        if (!folder) {
            const char *near = nearest(k->c, path);
            return REFUSE(cx, k, ARG, path, " is unknown%s%s%s", near ? ", did you mean " : "",
                          near ? near : "", near ? "?" : "");
        }
        if (json_is_null(v)) continue; /* FATE's clients send null for "all defaults" */
        if (!json_is_object(v)) return REFUSE(cx, k, ARG, path, " is %s, want an object", show(cx, v));
        TRY(refuse_unknown(cx, k, v, path));
    }
    return OK;
}

/* Sets the value at a dotted path, making objects on the way; steals v. */
static status put(struct ctx *cx, json_t *root, const char *path, json_t *v)
{
    json_t *at = root;
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
        json_t *next = json_object_get(at, name);
        if (!next) {
            next = json_object();
            if (json_object_set_new(at, name, next)) break;
        }
        at = next;
    }
    if (json_object_set_new(at, path, v)) return FAIL(cx, NOMEM, "parameters");
    return OK;
}

static status fill(struct ctx *cx, const struct check *k, const json_t *given, json_t *out)
{
    for (size_t i = 0; i < k->c->n_params; i++) {
        const struct param *p = &k->c->params[i];
        json_t *v = NULL, *at = given ? js_at(given, p->path) : NULL;
        CLEANUP(json_decrefp) json_t *def = NULL;
        TRY(default_value(cx, k, p, &def));
        if (!at)
            v = json_incref(def);
        else if (p->state != PARAM_BUILT && !same_value(at, def))
            return refuse_unbuilt(cx, k, p, at);
        else if (p->state != PARAM_BUILT)
            v = json_incref(def);
        else
            TRY(check_value(cx, k, p, at, &v));
        TRY(put(cx, out, p->path, v));
    }
    return OK;
}

status component_params(struct ctx *cx, const struct component *c, const char *instance, const json_t *params,
                        json_t **out)
{
    struct check k = {c, instance};
    if (json_is_null(params)) params = NULL;
    if (params && !json_is_object(params))
        return FAIL(cx, ARG, "%s (%s): the parameters are %s, want an object", instance, c->module,
                    show(cx, params));
    if (params) TRY(refuse_unknown(cx, &k, params, ""));
    CLEANUP(json_decrefp) json_t *all = json_object();
    if (!all) return FAIL(cx, NOMEM, "parameters");
    TRY(fill(cx, &k, params, all));
    if (c->check) TRY_IN(cx, c->check(cx, all), "%s (%s)", instance, c->module);
    *out = TAKE(all);
    return OK;
}

/* ---- what a component asks its task ---- */

const json_t *task_json(const struct task *t, const char *path)
{
    const json_t *v = js_at(t->params, path);
    assert(v && "every path of the table is present");
    return v;
}

bool task_bool(const struct task *t, const char *path)
{
    return json_is_true(task_json(t, path));
}
int64_t task_int(const struct task *t, const char *path)
{
    return (int64_t)json_integer_value(task_json(t, path));
}
double task_num(const struct task *t, const char *path)
{
    return json_number_value(task_json(t, path));
}
const char *task_str(const struct task *t, const char *path)
{
    return json_string_value(task_json(t, path));
}

const struct table *task_input(const struct task *t, const char *key)
{
    for (size_t i = 0; i < t->n_inputs; i++)
        if (strcmp(t->inputs[i].key, key) == 0) return t->inputs[i].table;
    return NULL;
}

const struct model_part *task_model(const struct task *t)
{
    for (size_t i = 0; i < t->n_models; i++)
        if (strcasecmp(t->models[i].module, t->component->module) == 0) return &t->models[i];
    return NULL;
}

status task_output_path(struct ctx *cx, const struct task *t, size_t i, const char **path)
{
    const char *name = NULL;
    for (size_t k = 0; t->out_data_names && t->out_data_names[k] && k <= i; k++)
        name = k == i ? t->out_data_names[k] : NULL;
    if (name)
        *path = arena_printf(cx->mem, "%s/%s", t->out_dir, name);
    else if (i == 0)
        *path = arena_printf(cx->mem, "%s/data", t->out_dir);
    else
        *path = arena_printf(cx->mem, "%s/data_%zu", t->out_dir, i);
    return *path ? OK : FAIL(cx, NOMEM, "an output path");
}

size_t task_n(const struct task *t, enum role role)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_parties; i++)
        n += t->parties[i].role == role;
    return n;
}

struct party task_party(const struct task *t, enum role role, size_t k)
{
    for (size_t i = 0; i < t->n_parties; i++)
        if (t->parties[i].role == role && k-- == 0) return t->parties[i];
    assert(false && "a party of that number");
    return (struct party){role, 0};
}
