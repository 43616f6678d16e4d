/* A table that selects rows of another and shares its column file by a hard link. */
#include "table/table.h"
#include "base/arena.h"
#include "base/file.h"
#include "table/colfile.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Where a hard link cannot be (another file system, too many links): a copy, shared by the kernel where it can. */
static status copy_file(struct ctx *cx, const char *from, const char *to)
{
    CLEANUP(fd_closep) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return FAIL(cx, IO, "open %s: %m", from);
    CLEANUP(fd_closep) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) return FAIL(cx, IO, "create %s: %m", to);
    for (;;) {
        TRY(ctx_check(cx));
        ssize_t k = copy_file_range(in, NULL, out, NULL, 64 << 20, 0);
        if (k == 0) break;
        if (k < 0 && errno != EINTR) return FAIL(cx, IO, "copy %s: %m", from);
    }
    if (fdatasync(out) < 0) return FAIL(cx, IO, "sync %s: %m", to);
    return OK;
}

static status share_columns(struct ctx *cx, const char *part, const struct table *t, struct schema *s)
{
    const char *from, *to;
    struct schema parent = {0};
    CLEANUP(json_decrefp) json_t *meta = NULL;
    TRY(schema_read(cx, t->path, &parent, &meta));
    TRY(path_join(cx, t->path, "data.col", &from));
    TRY(path_join(cx, part, "data.col", &to));
    if (link(from, to) < 0) {
        if (errno != EXDEV && errno != EMLINK && errno != EPERM && errno != EOPNOTSUPP)
            return FAIL(cx, IO, "link %s to %s: %m", from, to);
        TRY(copy_file(cx, from, to));
    }
    s->data_bytes = parent.data_bytes;
    s->data_crc = parent.data_crc;
    return OK;
}

/* Logical rows of t to rows of its column file. */
static status write_rows(struct ctx *cx, const char *part, const struct table *t, const uint32_t *rows,
                         size_t n)
{
    const char *path;
    const uint32_t *physical = rows;
    for (size_t i = 0; i < n; i++)
        if (rows[i] >= t->n_rows) return FAIL(cx, ARG, "row %u of a table of %zu", rows[i], t->n_rows);
    if (t->rows) {
        uint32_t *p = NEW(cx, uint32_t, n + 1);
        if (!p) return FAIL(cx, NOMEM, "%zu rows", n);
        for (size_t i = 0; i < n; i++)
            p[i] = t->rows[rows[i]];
        physical = p;
    }
    TRY(path_join(cx, part, "rows.idx", &path));
    return rowsfile_write(cx, path, physical, n);
}

static status same_types(struct ctx *cx, const struct table *t, const struct column_spec *cols)
{
    for (size_t i = 0; i < t->n_cols; i++)
        if (cols[i].type != t->cols[i].type)
            return FAIL(cx, ARG, "column '%.80s' cannot change its type in a derived table", t->cols[i].name);
    return schema_check(cx, t->id_name, cols, t->n_cols);
}

static status build(struct ctx *cx, const char *part, const struct table *t, const uint32_t *rows, size_t n,
                    const struct column_spec *cols, const json_t *meta)
{
    struct schema s = {.n_rows = n,
                       .n_physical = t->n_physical,
                       .id_name = t->id_name,
                       .n_cols = t->n_cols,
                       .cols = cols,
                       .derived = true};
    TRY(share_columns(cx, part, t, &s));
    TRY(write_rows(cx, part, t, rows, n));
    return schema_write(cx, part, &s, meta ? meta : t->meta);
}

status table_derive(struct ctx *cx, const char *path, const struct table *t, const uint32_t *rows, size_t n,
                    const struct column_spec *cols, const json_t *meta)
{
    const char *part;
    struct arena_mark mark = arena_mark(cx->mem);
    struct column_spec *own = NULL;
    if (n > TABLE_MAX_ROWS) return FAIL(cx, LIMIT, "%zu rows, at most %ju", n, (uintmax_t)TABLE_MAX_ROWS);
    if (!cols) {
        if (!(own = NEW(cx, struct column_spec, t->n_cols + 1)))
            return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
        for (size_t i = 0; i < t->n_cols; i++)
            own[i] =
                (struct column_spec){t->cols[i].name, t->cols[i].anonymous, t->cols[i].type, t->cols[i].kind};
        cols = own;
    }
    TRY(same_types(cx, t, cols));
    TRY(build_begin(cx, path, &part));
    status st = build(cx, part, t, rows, n, cols, meta);
    if (!st.code) st = build_end(cx, part, path);
    if (st.code) build_undo(cx, part);
    arena_rewind(cx->mem, mark);
    return st;
}
