#include "http/tables.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int rank_of(enum col_kind k)
{
    switch (k) {
    case KIND_MATCH_ID:
        return 0;
    case KIND_LABEL:
        return 1;
    case KIND_WEIGHT:
        return 2;
    case KIND_FEATURE:
    case KIND_PREDICTION:
        break;
    }
    return 3;
}

status table_order(struct ctx *cx, const struct table *t, const size_t **out)
{
    size_t *order = NEW(cx, size_t, t->n_cols + 1), n = 0;
    if (!order) return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
    for (int rank = 0; rank < 4; rank++)
        for (size_t j = 0; j < t->n_cols; j++)
            if (rank_of(t->cols[j].kind) == rank) order[n++] = j;
    *out = order;
    return OK;
}

json_t *table_header(const struct table *t, const size_t *order)
{
    json_t *list = json_pack("[s]", t->id_name);
    for (size_t j = 0; j < t->n_cols; j++)
        json_array_append_new(list, json_string(t->cols[order[j]].name));
    return list;
}

json_t *table_schema_header(const struct table *t)
{
    CLEANUP(buf_free) struct buf b = {0};
    for (size_t j = 0; j < t->n_cols; j++)
        buf_printf(&b, "%s%s", j ? "," : "", t->cols[j].name);
    return b.bad ? NULL : json_stringn(b.p ? (const char *)b.p : "", b.n);
}

static bool is_missing(const struct table *t, const struct column *c, size_t i)
{
    size_t r = t->rows ? t->rows[i] : i;
    return c->null && (c->null[r / 64] >> (r % 64) & 1);
}

/* FATE's predict_detail: Python's text of the map, in double quotes. */
static bool is_detail(const struct column *c)
{
    return c->kind == KIND_PREDICTION && c->type == COL_STR && strcmp(c->name, "predict_detail") == 0;
}

/* A feature of whole numbers is one of floats to FATE, once DataTransform has read it. */
static bool is_float(const struct column *c, enum cell_style style)
{
    return style == CELLS_NUMBERS && c->kind == KIND_FEATURE && c->type == COL_I64;
}

static json_t *cell_json(const struct table *t, const struct column *c, size_t i, enum cell_style style)
{
    char text[64];
    struct bytes v = table_cell(t, c, i, text, sizeof text);
    const char *s = (const char *)v.p;
    double x;
    int64_t k;
    if (is_detail(c)) return json_sprintf("\"%.*s\"", (int)v.n, s);
    if (style == CELLS_NUMBERS && c->type != COL_STR) {
        if (is_missing(t, c, i)) return json_null();
        if (c->type == COL_I64 && !is_float(c, style) && num_parse_i64(s, v.n, &k)) return json_integer(k);
        if (num_parse_f64(s, v.n, &x) && isfinite(x)) return json_real(x);
    }
    json_t *out = json_stringn(v.n ? s : "", v.n);
    return out ? out : json_null(); /* not UTF-8: nothing that JSON could hold */
}

static int by_id(const void *a, const void *b, void *table)
{
    struct bytes x = table_id(table, *(const uint32_t *)a), y = table_id(table, *(const uint32_t *)b);
    if (x.n != y.n) return x.n < y.n ? -1 : 1;
    return x.n ? memcmp(x.p, y.p, x.n) : 0;
}

status table_fate_order(struct ctx *cx, const struct table *t, const uint32_t **out)
{
    uint32_t *rows = NEW(cx, uint32_t, t->n_rows + 1);
    if (!rows) return FAIL(cx, NOMEM, "%zu row numbers", t->n_rows);
    for (size_t i = 0; i < t->n_rows; i++)
        rows[i] = (uint32_t)i;
    qsort_r(rows, t->n_rows, sizeof *rows, by_id, (void *)(uintptr_t)t);
    *out = rows;
    return OK;
}

status table_rows_json(struct ctx *cx, const struct table *t, enum cell_style style, const uint32_t *given,
                       size_t max, json_t **out)
{
    const size_t *order;
    TRY(table_order(cx, t, &order));
    json_t *rows = json_array();
    for (size_t k = 0; k < t->n_rows && k < max; k++) {
        size_t i = given ? given[k] : k;
        struct bytes id = table_id(t, i);
        json_t *row = json_array(), *key = json_stringn((const char *)id.p, id.n);
        json_array_append_new(row, key ? key : json_null());
        for (size_t j = 0; j < t->n_cols; j++)
            json_array_append_new(row, cell_json(t, &t->cols[order[j]], i, style));
        json_array_append_new(rows, row);
    }
    *out = rows;
    return rows ? OK : FAIL(cx, NOMEM, "rows");
}

static void put_cell(struct buf *b, const struct table *t, const struct column *c, size_t i,
                     enum cell_style style)
{
    char text[64];
    struct bytes v = table_cell(t, c, i, text, sizeof text);
    if (is_detail(c)) {
        buf_u8(b, '"');
        buf_put(b, v.p, v.n);
        buf_u8(b, '"');
        return;
    }
    buf_put(b, v.p, v.n);
    if (is_float(c, style) && !is_missing(t, c, i)) buf_put(b, ".0", 2);
}

status table_csv(struct ctx *cx, const struct table *t, enum cell_style style, const uint32_t *rows,
                 bool header, int64_t max, int fd)
{
    const size_t *order;
    CLEANUP(buf_free) struct buf b = {0};
    TRY(table_order(cx, t, &order));
    if (header) {
        buf_printf(&b, "%s", t->id_name);
        for (size_t j = 0; j < t->n_cols; j++)
            buf_printf(&b, ",%s", t->cols[order[j]].name);
        buf_u8(&b, '\n');
    }
    size_t n = max >= 0 && (uint64_t)max < t->n_rows ? (size_t)max : t->n_rows;
    for (size_t k = 0; k < n; k++) {
        size_t i = rows ? rows[k] : k;
        struct bytes id = table_id(t, i);
        buf_put(&b, id.p, id.n);
        for (size_t j = 0; j < t->n_cols; j++) {
            buf_u8(&b, ',');
            put_cell(&b, t, &t->cols[order[j]], i, style);
        }
        buf_u8(&b, '\n');
        if (b.n < (1u << 20)) continue;
        TRY(buf_ok(cx, &b));
        TRY(fd_write_all(cx, fd, b.p, b.n));
        buf_reset(&b);
    }
    TRY(buf_ok(cx, &b));
    return fd_write_all(cx, fd, b.p, b.n);
}

/* ---- archives ---- */

struct tar {
    struct archive *a;
    int fd;
};

static void tar_drop(void *arg)
{
    struct tar *t = arg;
    if (t->a) archive_write_free(t->a);
    if (t->fd >= 0) close(t->fd);
}

status temp_file(struct ctx *cx, const struct http *h, int *fd)
{
    const char *dir = arena_printf(cx->mem, "%s/store/incoming", h->dir);
    *fd = dir ? open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600) : -1;
    return *fd >= 0 ? OK : FAIL(cx, IO, "a temporary file in %s: %m", dir ? dir : "");
}

static status tar_error(struct ctx *cx, const struct tar *t)
{
    const char *why = archive_error_string(t->a);
    return FAIL(cx, IO, "an archive: %s", why ? why : "no memory");
}

status tar_begin(struct ctx *cx, const struct http *h, struct tar **out)
{
    struct tar *t = NEW(cx, struct tar, 1);
    if (!t) return FAIL(cx, NOMEM, "an archive");
    t->fd = -1;
    if (!arena_on_free(cx->mem, tar_drop, t)) return FAIL(cx, NOMEM, "an archive");
    TRY(temp_file(cx, h, &t->fd));
    t->a = archive_write_new();
    if (!t->a) return FAIL(cx, NOMEM, "an archive");
    bool ok = archive_write_add_filter_gzip(t->a) == ARCHIVE_OK &&
              archive_write_set_format_pax_restricted(t->a) == ARCHIVE_OK &&
              archive_write_set_filter_option(t->a, "gzip", "compression-level", "1") == ARCHIVE_OK &&
              archive_write_open_fd(t->a, t->fd) == ARCHIVE_OK;
    if (!ok) return tar_error(cx, t);
    *out = t;
    return OK;
}

static status add_header(struct ctx *cx, struct tar *t, const char *name, int64_t size)
{
    struct archive_entry *e = archive_entry_new();
    if (!e) return FAIL(cx, NOMEM, "an archive");
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, size);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_mtime(e, (time_t)(wall_ms() / 1000), 0);
    int rc = archive_write_header(t->a, e);
    archive_entry_free(e);
    return rc == ARCHIVE_OK ? OK : tar_error(cx, t);
}

status tar_add_text(struct ctx *cx, struct tar *t, const char *name, const char *text, size_t n)
{
    TRY(add_header(cx, t, name, (int64_t)n));
    return archive_write_data(t->a, text, n) == (la_ssize_t)n ? OK : tar_error(cx, t);
}

status tar_add_fd(struct ctx *cx, struct tar *t, const char *name, int fd)
{
    struct stat st;
    char part[65536];
    if (fstat(fd, &st) || lseek(fd, 0, SEEK_SET) < 0) return FAIL(cx, IO, "%s: %m", name);
    TRY(add_header(cx, t, name, st.st_size));
    for (int64_t left = st.st_size; left > 0;) {
        size_t want = left < (int64_t)sizeof part ? (size_t)left : sizeof part;
        ssize_t n = read(fd, part, want);
        if (n <= 0) return FAIL(cx, IO, "%s became shorter", name);
        if (archive_write_data(t->a, part, (size_t)n) != n) return tar_error(cx, t);
        left -= n;
    }
    return OK;
}

status tar_end(struct ctx *cx, struct tar *t, int *fd)
{
    if (archive_write_close(t->a) != ARCHIVE_OK) return tar_error(cx, t);
    *fd = t->fd;
    t->fd = -1;
    return OK;
}
