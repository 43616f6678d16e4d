/* table.json and the folder around it. */
#include "table/colfile.h"
#include "base/arena.h"
#include "base/file.h"
#include "table/hash.h"
#include "table/utf8.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 1 };
static const char *const type_names[] = {[COL_F64] = "f64", [COL_I64] = "i64", [COL_STR] = "str"};
static const char *const kind_names[] = {[KIND_FEATURE] = "feature",
                                         [KIND_LABEL] = "label",
                                         [KIND_MATCH_ID] = "match_id",
                                         [KIND_WEIGHT] = "weight",
                                         [KIND_PREDICTION] = "prediction"};

const char *col_type_name(enum col_type type)
{
    return (size_t)type < LEN(type_names) ? type_names[type] : "?";
}

const char *col_kind_name(enum col_kind kind)
{
    return (size_t)kind < LEN(kind_names) ? kind_names[kind] : "?";
}

static bool find_name(const char *const *names, size_t n, const char *name, unsigned *out)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static status check_name(struct ctx *cx, const char *what, size_t i, const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0) return FAIL(cx, ARG, "%s %zu has no name", what, i + 1);
    if (n > TABLE_MAX_NAME)
        return FAIL(cx, ARG, "the name of %s %zu has %zu bytes, at most %u", what, i + 1, n, TABLE_MAX_NAME);
    if (!utf8_valid(name, n)) return FAIL(cx, ARG, "the name of %s %zu is not UTF-8", what, i + 1);
    return OK;
}

/* Open addressing over names, so that 65,536 columns are checked in no time. */
static status check_unique(struct ctx *cx, const char *id_name, const struct column_spec *cols, size_t n_cols)
{
    size_t cap = 16;
    while (cap < 3 * (n_cols + 1))
        cap *= 2;
    struct arena_mark mark = arena_mark(cx->mem);
    const char **seen = NEW(cx, const char *, cap);
    if (!seen) return FAIL(cx, NOMEM, "%zu names", n_cols);
    status st = OK;
    for (size_t i = 0; i <= n_cols && !st.code; i++) {
        const char *name = i ? cols[i - 1].name : id_name;
        size_t at = (size_t)hash_bytes(name, strlen(name)) & (cap - 1);
        while (seen[at] && strcmp(seen[at], name) != 0)
            at = (at + 1) & (cap - 1);
        if (seen[at]) st = FAIL(cx, ARG, "two columns are named '%.80s'", name);
        seen[at] = name;
    }
    arena_rewind(cx->mem, mark);
    return st;
}

status schema_check(struct ctx *cx, const char *id_name, const struct column_spec *cols, size_t n_cols)
{
    if (n_cols > TABLE_MAX_COLS) return FAIL(cx, LIMIT, "%zu columns, at most %u", n_cols, TABLE_MAX_COLS);
    TRY(check_name(cx, "id column", 0, id_name));
    for (size_t i = 0; i < n_cols; i++) {
        TRY(check_name(cx, "column", i, cols[i].name));
        if (cols[i].anonymous) TRY(check_name(cx, "anonymous column", i, cols[i].anonymous));
        if ((size_t)cols[i].type >= LEN(type_names) || (size_t)cols[i].kind >= LEN(kind_names))
            return FAIL(cx, ARG, "column %zu has type %d and kind %d", i + 1, (int)cols[i].type,
                        (int)cols[i].kind);
    }
    return check_unique(cx, id_name, cols, n_cols);
}

/* NULL: out of memory. */
static json_t *columns_json(const struct schema *s)
{
    CLEANUP(json_decrefp) json_t *a = json_array();
    for (size_t i = 0; i < s->n_cols; i++) {
        const struct column_spec *c = &s->cols[i];
        json_t *o = json_pack("{s:s, s:s, s:s, s:s*}", "name", c->name, "type", col_type_name(c->type),
                              "kind", col_kind_name(c->kind), "anonymous", c->anonymous);
        if (!o || json_array_append_new(a, o)) return NULL; /* a column less would be another table */
    }
    return TAKE(a);
}

status schema_write(struct ctx *cx, const char *folder, const struct schema *s, const json_t *meta)
{
    char crc[9];
    snprintf(crc, sizeof crc, "%08x", s->data_crc);
    CLEANUP(json_decrefp) json_t *empty = json_object();
    CLEANUP(json_decrefp)
    json_t *j =
        json_pack("{s:s, s:i, s:I, s:I, s:s, s:o, s:{s:I, s:s}, s:b, s:O}", "format", "norn table", "version",
                  SCHEMA_VERSION, "rows", (json_int_t)s->n_rows, "physical_rows", (json_int_t)s->n_physical,
                  "id", s->id_name, "columns", columns_json(s), "data", "bytes", (json_int_t)s->data_bytes,
                  "crc32c", crc, "selects_rows", s->derived, "meta", meta ? meta : empty);
    if (!j) return FAIL(cx, NOMEM, "the schema of %s", folder);
    const char *text, *path;
    TRY(js_text(cx, j, &text));
    TRY(path_join(cx, folder, "table.json", &path));
    return file_write(cx, path, text, strlen(text), 0600);
}

static status read_column(struct ctx *cx, const json_t *j, size_t i, struct column_spec *c)
{
    const char *type, *kind;
    unsigned t, k;
    TRY(js_get_str(cx, j, "name", &c->name));
    TRY(js_get_str(cx, j, "type", &type));
    TRY(js_get_str(cx, j, "kind", &kind));
    if (!find_name(type_names, LEN(type_names), type, &t))
        return FAIL(cx, FORMAT, "column %zu: type '%.20s'", i + 1, type);
    if (!find_name(kind_names, LEN(kind_names), kind, &k))
        return FAIL(cx, FORMAT, "column %zu: kind '%.20s'", i + 1, kind);
    c->type = (enum col_type)t;
    c->kind = (enum col_kind)k;
    c->name = arena_strdup(cx->mem, c->name);
    c->anonymous = NULL;
    if (json_object_get(j, "anonymous")) {
        TRY(js_get_str(cx, j, "anonymous", &c->anonymous));
        if (!(c->anonymous = arena_strdup(cx->mem, c->anonymous)))
            return FAIL(cx, NOMEM, "column %zu", i + 1);
    }
    return c->name ? OK : FAIL(cx, NOMEM, "column %zu", i + 1);
}

static status read_count(struct ctx *cx, const json_t *j, const char *key, uint64_t most, uint64_t *out)
{
    int64_t x;
    TRY(js_get_i64(cx, j, key, &x));
    if (x < 0 || (uint64_t)x > most) return FAIL(cx, FORMAT, "'%s' is %jd", key, (intmax_t)x);
    *out = (uint64_t)x;
    return OK;
}

static status read_all(struct ctx *cx, const json_t *j, struct schema *s, json_t **meta)
{
    int64_t version;
    json_t *cols, *data;
    const char *crc, *id;
    TRY(js_get_i64(cx, j, "version", &version));
    if (version != SCHEMA_VERSION)
        return FAIL(cx, FORMAT, "version %jd, this norn reads %d", (intmax_t)version, SCHEMA_VERSION);
    TRY(read_count(cx, j, "rows", TABLE_MAX_ROWS, &s->n_rows));
    TRY(read_count(cx, j, "physical_rows", TABLE_MAX_ROWS, &s->n_physical));
    TRY(js_get_str(cx, j, "id", &id));
    TRY(js_get_arr(cx, j, "columns", &cols));
    TRY(js_get_obj(cx, j, "data", &data));
    TRY(read_count(cx, data, "bytes", INT64_MAX, &s->data_bytes));
    TRY(js_get_str(cx, data, "crc32c", &crc));
    if (strlen(crc) != 8 || sscanf(crc, "%8x", &s->data_crc) != 1)
        return FAIL(cx, FORMAT, "'crc32c' is '%.20s'", crc);
    s->derived = json_is_true(json_object_get(j, "selects_rows"));
    s->n_cols = json_array_size(cols);
    if (s->n_cols > TABLE_MAX_COLS) return FAIL(cx, FORMAT, "%zu columns", s->n_cols);
    struct column_spec *c = NEW(cx, struct column_spec, s->n_cols + 1);
    if (!c || !(s->id_name = arena_strdup(cx->mem, id))) return FAIL(cx, NOMEM, "%zu columns", s->n_cols);
    for (size_t i = 0; i < s->n_cols; i++)
        TRY(read_column(cx, json_array_get(cols, i), i, &c[i]));
    s->cols = c;
    json_t *m;
    TRY(js_get_obj(cx, j, "meta", &m));
    status st = schema_check(cx, s->id_name, s->cols, s->n_cols);
    if (st.code == ERR_ARG) st.code = cx->err.code = ERR_FORMAT; /* the file's fault here, not the caller's */
    TRY(st);
    *meta = json_incref(m);
    return OK;
}

status schema_read(struct ctx *cx, const char *folder, struct schema *out, json_t **meta)
{
    const char *path;
    CLEANUP(json_decrefp) json_t *j = NULL;
    struct schema s = {0};
    TRY(path_join(cx, folder, "table.json", &path));
    if (!file_exists(path)) return FAIL(cx, NOTFOUND, "no table at %s", folder);
    TRY(js_read(cx, path, &j));
    TRY_IN(cx, read_all(cx, j, &s, meta), "%s", path);
    *out = s;
    return OK;
}

status path_join(struct ctx *cx, const char *folder, const char *file, const char **out)
{
    *out = arena_printf(cx->mem, "%s/%s", folder, file);
    return *out ? OK : FAIL(cx, NOMEM, "a path");
}

status build_begin(struct ctx *cx, const char *path, const char **part)
{
    if (file_exists(path)) return FAIL(cx, EXISTS, "%s is there already", path);
    const char *p = arena_printf(cx->mem, "%s.part", path);
    if (!p) return FAIL(cx, NOMEM, "a path");
    TRY(dir_remove(cx, p));
    TRY(dir_make(cx, p, 0700));
    *part = p;
    return OK;
}

status build_end(struct ctx *cx, const char *part, const char *path)
{
    if (rename(part, path) < 0) return FAIL(cx, IO, "rename %s to %s: %m", part, path);
    return OK;
}

void build_undo(struct ctx *cx, const char *part)
{
    struct err kept = cx->err;
    status st = dir_remove(cx, part); /* what cannot be removed here is swept later */
    (void)st.code;
    cx->err = kept;
}
