#include "base/js.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/json_out.h"
#include "base/num.h"
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 64,       /* of what comes in; jansson's own bound is 2048 */
    DEPTH_OUT_MAX = 1024, /* of what we built: messages wrap what came in. Also ends a circle */
};
#define FILE_BYTES_MAX ((size_t)64 << 20)

/* --- reading --- */

/* FORMAT with the place of the byte at `at`; columns count characters. */
static status fail_at(struct ctx *cx, const char *what, const char *text, const char *at, const char *why)
{
    size_t line = 1, column = 1;
    for (const char *c = text; c < at; c++) {
        if (*c == '\n') line++, column = 0;
        column += ((uint8_t)*c & 0xc0) != 0x80;
    }
    return FAIL(cx, FORMAT, "%s: line %zu column %zu: %s", what, line, column, why);
}

/* What jansson does not look for, or only when it is deep in its recursion. */
static status scan(struct ctx *cx, const char *what, const char *p, size_t n)
{
    bool in_string = false;
    int depth = 0;
    for (const char *c = p; c < p + n; c++) {
        if (*c == 0) return fail_at(cx, what, p, c, "a NUL byte");
        if (in_string) {
            if (*c == '\\' && c + 1 < p + n && c[1])
                c++;
            else
                in_string = *c != '"';
        } else if (*c == '"') {
            in_string = true;
        } else if (*c == '[' || *c == '{') {
            if (++depth > DEPTH_MAX) return fail_at(cx, what, p, c, "nested deeper than 64");
        } else if (*c == ']' || *c == '}') {
            depth--;
        }
    }
    return OK;
}

status js_parse(struct ctx *cx, const char *what, const void *p, size_t n, json_t **out)
{
    const char *text = n ? p : "";
    json_error_t e;
    TRY(scan(cx, what, text, n));
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!j && json_error_code(&e) == json_error_out_of_memory)
        return FAIL(cx, NOMEM, "%s: %zu bytes of JSON", what, n);
    if (!j) return FAIL(cx, FORMAT, "%s: line %d column %d: %s", what, e.line, e.column, e.text);
    *out = j;
    return OK;
}

status js_read(struct ctx *cx, const char *path, json_t **out)
{
    struct arena_mark before = arena_mark(cx->mem);
    struct bytes text;
    status st = file_read(cx, path, FILE_BYTES_MAX, &text);
    if (!st.code) st = js_parse(cx, path, text.p, text.n, out);
    arena_rewind(cx->mem, before);
    return st;
}

/* --- printing --- */

static status print(struct ctx *cx, struct buf *b, const json_t *j, int depth, bool sorted);

static status print_array(struct ctx *cx, struct buf *b, const json_t *j, int depth, bool sorted)
{
    buf_u8(b, '[');
    for (size_t i = 0; i < json_array_size(j); i++) {
        if (i) buf_u8(b, ',');
        TRY(print(cx, b, json_array_get(j, i), depth, sorted));
    }
    buf_u8(b, ']');
    return OK;
}

struct member {
    const char *key;
    size_t n;
    const json_t *value;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static status print_sorted(struct ctx *cx, struct buf *b, const json_t *j, int depth)
{
    json_t *obj = (json_t *)(uintptr_t)j;
    size_t n = 0;
    struct arena_mark before = arena_mark(cx->mem);
    struct member *m = NEW(cx, struct member, json_object_size(j) + 1);
    if (!m) return FAIL(cx, NOMEM, "an object of %zu keys", json_object_size(j));
    for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it))
        m[n++] = (struct member){json_object_iter_key(it), json_object_iter_key_len(it),
                                 json_object_iter_value(it)};
    qsort(m, n, sizeof *m, by_key);
    buf_u8(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_u8(b, ',');
        json_out_string(b, m[i].key, m[i].n);
        buf_u8(b, ':');
        TRY(print(cx, b, m[i].value, depth, true));
    }
    buf_u8(b, '}');
    arena_rewind(cx->mem, before);
    return OK;
}

static status print_object(struct ctx *cx, struct buf *b, const json_t *j, int depth)
{
    json_t *obj = (json_t *)(uintptr_t)j; /* jansson's iterators are not const, yet change nothing */
    buf_u8(b, '{');
    for (void *first = json_object_iter(obj), *it = first; it; it = json_object_iter_next(obj, it)) {
        if (it != first) buf_u8(b, ',');
        json_out_string(b, json_object_iter_key(it), json_object_iter_key_len(it));
        buf_u8(b, ':');
        TRY(print(cx, b, json_object_iter_value(it), depth, false));
    }
    buf_u8(b, '}');
    return OK;
}

static status print(struct ctx *cx, struct buf *b, const json_t *j, int depth, bool sorted)
{
    char number[32];
    if (depth == DEPTH_OUT_MAX)
        return FAIL(cx, LIMIT, "JSON nested deeper than %d, or within itself", DEPTH_OUT_MAX);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return sorted ? print_sorted(cx, b, j, depth + 1) : print_object(cx, b, j, depth + 1);
    case JSON_ARRAY:
        return print_array(cx, b, j, depth + 1, sorted);
    case JSON_STRING:
        json_out_string(b, json_string_value(j), json_string_length(j));
        break;
    case JSON_INTEGER:
        buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
        break;
    case JSON_REAL:
        buf_put(b, number, num_format_f64(json_real_value(j), number));
        break;
    case JSON_TRUE:
        buf_put(b, "true", 4);
        break;
    case JSON_FALSE:
        buf_put(b, "false", 5);
        break;
    case JSON_NULL:
        buf_put(b, "null", 4);
        break;
    }
    return OK;
}

static status text_of(struct ctx *cx, const json_t *j, bool sorted, const char **out)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes text;
    if (!j) return FAIL(cx, ARG, "no JSON value to print");
    TRY(print(cx, &b, j, 0, sorted));
    TRY(buf_ok(cx, &b));
    TRY(buf_to_arena(cx, &b, &text));
    *out = (const char *)text.p;
    return OK;
}

status js_text(struct ctx *cx, const json_t *j, const char **out)
{
    return text_of(cx, j, false, out);
}

status js_text_sorted(struct ctx *cx, const json_t *j, const char **out)
{
    return text_of(cx, j, true, out);
}

/* --- members --- */

json_t *js_at(const json_t *j, const char *dotted)
{
    for (;;) {
        size_t n = strcspn(dotted, ".");
        json_t *v = json_object_getn(j, dotted, n);
        if (!v || !dotted[n]) return v;
        j = v;
        dotted += n + 1;
    }
}

static const char *type_name(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "nothing known";
}

static status get(struct ctx *cx, const json_t *obj, const char *key, json_type type, const char *want,
                  json_t **out)
{
    if (!json_is_object(obj))
        return FAIL(cx, FORMAT, "%s, want an object with \"%s\"", obj ? type_name(obj) : "nothing", key);
    json_t *v = json_object_get(obj, key);
    if (!v) return FAIL(cx, FORMAT, "\"%s\" is missing, want %s", key, want);
    if (json_typeof(v) != type) return FAIL(cx, FORMAT, "\"%s\" is %s, want %s", key, type_name(v), want);
    *out = v;
    return OK;
}

status js_get_str(struct ctx *cx, const json_t *obj, const char *key, const char **out)
{
    json_t *v;
    TRY(get(cx, obj, key, JSON_STRING, "a string", &v));
    *out = json_string_value(v);
    return OK;
}

status js_get_i64(struct ctx *cx, const json_t *obj, const char *key, int64_t *out)
{
    json_t *v;
    TRY(get(cx, obj, key, JSON_INTEGER, "an integer", &v));
    *out = json_integer_value(v);
    return OK;
}

status js_get_obj(struct ctx *cx, const json_t *obj, const char *key, json_t **out)
{
    return get(cx, obj, key, JSON_OBJECT, "an object", out);
}

status js_get_arr(struct ctx *cx, const json_t *obj, const char *key, json_t **out)
{
    return get(cx, obj, key, JSON_ARRAY, "an array", out);
}

/* Copies, so that base and over share nothing that a later change of one would change in the other. */
status js_merge(struct ctx *cx, json_t *base, const json_t *over)
{
    if (!json_is_object(base) || !json_is_object(over))
        return FAIL(cx, ARG, "merge: want two objects, not %s and %s", base ? type_name(base) : "nothing",
                    over ? type_name(over) : "nothing");
    if (base == over) return OK;
    json_t *from = (json_t *)(uintptr_t)over; /* as in print_object */
    for (void *it = json_object_iter(from); it; it = json_object_iter_next(from, it)) {
        const char *key = json_object_iter_key(it);
        size_t n = json_object_iter_key_len(it);
        const json_t *v = json_object_iter_value(it);
        json_t *old = json_object_getn(base, key, n);
        if (json_is_object(old) && json_is_object(v))
            TRY(js_merge(cx, old, v));
        else if (json_object_setn_new_nocheck(base, key, n, json_deep_copy(v)))
            return FAIL(cx, NOMEM, "merge \"%s\"", key);
    }
    return OK;
}
