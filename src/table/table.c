#include "table/table.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "table/colfile.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void drop_meta(void *j)
{
    json_decref((json_t *)j);
}

static void column_of(struct column *out, const struct column_spec *spec, const struct colfile_col *c,
                      struct bytes file)
{
    *out = (struct column){.name = spec->name,
                           .anonymous = spec->anonymous,
                           .type = spec->type,
                           .kind = spec->kind,
                           .data = file.p + c->data_off,
                           .n_missing = (size_t)c->n_missing};
    if (c->type == COL_STR) out->text = (const char *)(file.p + c->text_off);
    if (c->n_missing) out->null = (const uint64_t *)(const void *)(file.p + c->null_off);
}

/* data.col must be the one the schema was written for: same checksum, size, rows, columns and types. */
static status map_columns(struct ctx *cx, const char *folder, const struct schema *s, struct table *t)
{
    const char *path;
    struct bytes file;
    struct colfile f = {0};
    uint32_t crc;
    TRY(path_join(cx, folder, "data.col", &path));
    TRY(file_map(cx, path, &file));
    TRY_IN(cx, colfile_read(cx, file, &f, &crc), "%s", path);
    if (crc != s->data_crc || f.file_bytes != s->data_bytes || f.n_rows != s->n_physical ||
        f.n_cols != s->n_cols + 1)
        return FAIL(cx, FORMAT, "%s: not the column file that table.json describes", path);
    struct column *cols = NEW(cx, struct column, s->n_cols + 1);
    if (!cols) return FAIL(cx, NOMEM, "%zu columns", s->n_cols);
    for (size_t i = 0; i < s->n_cols; i++) {
        if (f.cols[i + 1].type != s->cols[i].type)
            return FAIL(cx, FORMAT, "%s: column %zu is of another type than in table.json", path, i + 1);
        column_of(&cols[i], &s->cols[i], &f.cols[i + 1], file);
    }
    t->cols = cols;
    t->id_off = (const uint64_t *)(const void *)(file.p + f.cols[0].data_off);
    t->id_text = (const char *)(file.p + f.cols[0].text_off);
    return OK;
}

static status map_rows(struct ctx *cx, const char *folder, const struct schema *s, struct table *t)
{
    const char *path;
    struct bytes file;
    size_t n;
    TRY(path_join(cx, folder, "rows.idx", &path));
    TRY(file_map(cx, path, &file));
    TRY_IN(cx, rowsfile_read(cx, file, s->n_physical, &t->rows, &n), "%s", path);
    if (n != s->n_rows)
        return FAIL(cx, FORMAT, "%s: %zu rows, table.json says %ju", path, n, (uintmax_t)s->n_rows);
    return OK;
}

status table_open(struct ctx *cx, const char *path, const struct table **out)
{
    struct schema s = {0};
    json_t *meta;
    struct table *t = NEW(cx, struct table, 1);
    if (!t || !(t->path = arena_strdup(cx->mem, path))) return FAIL(cx, NOMEM, "a table");
    TRY(schema_read(cx, path, &s, &meta));
    if (!arena_on_free(cx->mem, drop_meta, meta)) {
        json_decref(meta);
        return FAIL(cx, NOMEM, "a table");
    }
    t->meta = meta;
    t->n_rows = (size_t)s.n_rows;
    t->n_physical = (size_t)s.n_physical;
    t->id_name = s.id_name;
    t->n_cols = s.n_cols;
    TRY(map_columns(cx, path, &s, t));
    if (s.derived) TRY(map_rows(cx, path, &s, t));
    if (!s.derived && s.n_rows != s.n_physical)
        return FAIL(cx, FORMAT, "%s/table.json: %ju rows of %ju, and none selected", path,
                    (uintmax_t)s.n_rows, (uintmax_t)s.n_physical);
    *out = t;
    return OK;
}

const struct column *table_column(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->n_cols; i++)
        if (strcmp(t->cols[i].name, name) == 0) return &t->cols[i];
    return NULL;
}

const struct column *table_label(const struct table *t)
{
    for (size_t i = 0; i < t->n_cols; i++)
        if (t->cols[i].kind == KIND_LABEL) return &t->cols[i];
    return NULL;
}

static bool is_null(const struct column *c, size_t row)
{
    return c->null && (c->null[row / 64] >> (row % 64) & 1);
}

static void read_i64(const struct column *c, const uint32_t *rows, size_t begin, size_t end, double *out)
{
    const int64_t *v = (const int64_t *)c->data;
    for (size_t i = begin; i < end; i++) {
        size_t r = rows ? rows[i] : i;
        out[i - begin] = is_null(c, r) ? (double)NAN : (double)v[r];
    }
}

status table_read_f64(struct ctx *cx, const struct table *t, const struct column *c, size_t begin, size_t end,
                      double *out)
{
    if (c->type == COL_STR) return FAIL(cx, ARG, "column '%.80s' is text, a number is wanted", c->name);
    if (begin > end || end > t->n_rows)
        return FAIL(cx, ARG, "rows %zu to %zu of a table of %zu", begin, end, t->n_rows);
    const double *v = (const double *)c->data;
    if (c->type == COL_I64)
        read_i64(c, t->rows, begin, end, out);
    else if (!t->rows)
        memcpy(out, v + begin, (end - begin) * sizeof *out);
    else
        for (size_t i = begin; i < end; i++)
            out[i - begin] = v[t->rows[i]];
    return OK;
}

struct bytes table_cell(const struct table *t, const struct column *c, size_t i, char *buf, size_t n)
{
    size_t r = t->rows ? t->rows[i] : i;
    if (is_null(c, r)) return (struct bytes){(const uint8_t *)"", 0};
    if (c->type == COL_STR) {
        const uint64_t *off = (const uint64_t *)c->data;
        return (struct bytes){(const uint8_t *)c->text + off[r], off[r + 1] - off[r]};
    }
    if (c->type == COL_F64) {
        double x = ((const double *)c->data)[r];
        return (struct bytes){(const uint8_t *)buf, isnan(x) ? 0 : num_format_f64(x, buf)};
    }
    int k = snprintf(buf, n, "%jd", (intmax_t)((const int64_t *)c->data)[r]);
    return (struct bytes){(const uint8_t *)buf, (size_t)k};
}

static uint64_t size_of(struct ctx *cx, const char *folder, const char *file)
{
    struct arena_mark m = arena_mark(cx->mem);
    const char *path = arena_printf(cx->mem, "%s/%s", folder, file);
    CLEANUP(fd_closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    off_t n = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    arena_rewind(cx->mem, m);
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t table_bytes(struct ctx *cx, const char *path)
{
    return size_of(cx, path, "table.json") + size_of(cx, path, "data.col") + size_of(cx, path, "rows.idx");
}
