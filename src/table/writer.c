/* Rows come in block by block and leave column by column.
 *
 * Blocks gather in memory (one buffer per column) up to a budget; past it the gathered rows, a group, go to one spool
 * file, column after column. At the end every column is copied together from its pieces into data.col. A small table
 * never touches the spool. In the spool a column's piece is: 8 bytes a row (text: the offset where the cell ends, counted
 * over the whole column), one byte a row saying what is missing when anything is, then the text. */
#include "table/table.h"
#include "base/arena.h"
#include "base/file.h"
#include "table/colfile.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUDGET = 8 << 20, BUDGET_PER_COLUMN = 512, COPY = 1 << 20 };

struct gather { /* one column, the id column first */
    enum col_type type;
    struct buf data, null, text;
    uint64_t text_bytes, n_missing; /* since the start of the table */
    bool missing;                   /* some in this group */
};
struct piece {
    uint64_t off, text_bytes; /* in the spool */
    bool missing;
};
struct table_writer {
    const char *path, *part, *id_name;
    struct ctx *cx; /* only for build_undo in free */
    struct column_spec *specs;
    size_t n_cols; /* without the id column */
    struct gather *cols;
    uint64_t n_rows, group_rows;
    size_t staged, budget;
    int spool;
    uint64_t spool_end;
    struct buf pieces, groups; /* struct piece[n_groups][n_cols + 1], uint64_t rows[n_groups] */
};

void table_writer_free(struct table_writer *w)
{
    if (!w || !w->cols) return;
    for (size_t i = 0; i <= w->n_cols; i++) {
        buf_free(&w->cols[i].data);
        buf_free(&w->cols[i].null);
        buf_free(&w->cols[i].text);
    }
    buf_free(&w->pieces);
    buf_free(&w->groups);
    w->cols = NULL;
    if (w->spool >= 0) close(w->spool);
    if (w->part) build_undo(w->cx, w->part);
}

void table_writer_freep(struct table_writer **w)
{
    table_writer_free(*w);
    *w = NULL;
}

static status copy_specs(struct ctx *cx, struct table_writer *w, const struct column_spec *cols)
{
    for (size_t i = 0; i < w->n_cols; i++) {
        w->specs[i] = cols[i];
        w->specs[i].name = arena_strdup(cx->mem, cols[i].name);
        if (cols[i].anonymous) w->specs[i].anonymous = arena_strdup(cx->mem, cols[i].anonymous);
        if (!w->specs[i].name || (cols[i].anonymous && !w->specs[i].anonymous))
            return FAIL(cx, NOMEM, "column %zu", i + 1);
        w->cols[i + 1].type = cols[i].type;
    }
    return OK;
}

status table_writer_new(struct ctx *cx, const char *path, const char *id_name, const struct column_spec *cols,
                        size_t n_cols, struct table_writer **out)
{
    TRY(schema_check(cx, id_name, cols, n_cols));
    struct table_writer *w = NEW(cx, struct table_writer, 1);
    if (!w) return FAIL(cx, NOMEM, "a table writer");
    *w = (struct table_writer){.n_cols = n_cols, .spool = -1, .cx = cx};
    w->budget = n_cols > BUDGET / BUDGET_PER_COLUMN ? n_cols * BUDGET_PER_COLUMN : BUDGET;
    w->path = arena_strdup(cx->mem, path);
    w->id_name = arena_strdup(cx->mem, id_name);
    w->specs = NEW(cx, struct column_spec, n_cols + 1);
    w->cols = NEW(cx, struct gather, n_cols + 1);
    if (!w->path || !w->id_name || !w->specs || !w->cols) return FAIL(cx, NOMEM, "a table writer");
    w->cols[0].type = COL_STR;
    TRY(copy_specs(cx, w, cols));
    TRY(build_begin(cx, path, &w->part));
    *out = w;
    return OK;
}

/* Rows of this group, up to but not with the new ones, are not missing. */
static void mark_missing(struct gather *g, uint64_t row_in_group)
{
    static const uint8_t zero[256] = {0};
    while (g->null.n < row_in_group && !g->null.bad) {
        size_t k = row_in_group - g->null.n < sizeof zero ? (size_t)(row_in_group - g->null.n) : sizeof zero;
        buf_put(&g->null, zero, k);
    }
    buf_u8(&g->null, 1);
    g->missing = true;
    g->n_missing++;
}

static void append_f64(struct gather *g, uint64_t at, const double *v, size_t n)
{
    buf_put(&g->data, v, n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        if (isnan(v[i])) mark_missing(g, at + i);
}

static void append_text(struct gather *g, uint64_t at, const struct bytes *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].p) {
            buf_put(&g->text, v[i].p, v[i].n);
            g->text_bytes += v[i].n;
        } else {
            mark_missing(g, at + i);
        }
        buf_u64(&g->data, g->text_bytes);
    }
}

static status append_ids(struct ctx *cx, struct gather *g, const uint64_t *off, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (off[i] > off[i + 1]) return FAIL(cx, ARG, "id offsets fall at row %zu", i);
    buf_put(&g->text, text + off[0], (size_t)(off[n] - off[0]));
    for (size_t i = 0; i < n; i++)
        buf_u64(&g->data, g->text_bytes + off[i + 1] - off[0]);
    g->text_bytes += off[n] - off[0];
    return OK;
}

static status put(struct ctx *cx, struct table_writer *w, const void *p, size_t n)
{
    TRY_IN(cx, fd_pwrite_all(cx, w->spool, p, n, w->spool_end), "spool of %s", w->path);
    w->spool_end += n;
    return OK;
}

/* Pads what is known to be missing to the group's rows, so that the piece has one byte a row. */
static void pad_missing(struct gather *g, uint64_t group_rows)
{
    if (g->missing)
        while (g->null.n < group_rows && !g->null.bad)
            buf_u8(&g->null, 0);
}

/* The gathered rows go to the spool, and the buffers are empty again. */
static status spill(struct ctx *cx, struct table_writer *w)
{
    if (w->spool < 0) {
        const char *path;
        TRY(path_join(cx, w->part, "spool", &path));
        w->spool = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (w->spool < 0) return FAIL(cx, IO, "create %s: %m", path);
        if (unlink(path) < 0) return FAIL(cx, IO, "unlink %s: %m", path);
    }
    for (size_t i = 0; i <= w->n_cols; i++) {
        struct gather *g = &w->cols[i];
        pad_missing(g, w->group_rows);
        TRY(buf_ok(cx, &g->null));
        struct piece pc = {w->spool_end, g->text.n, g->missing};
        buf_put(&w->pieces, &pc, sizeof pc);
        TRY(put(cx, w, g->data.p, g->data.n));
        TRY(put(cx, w, g->null.p, g->null.n));
        TRY(put(cx, w, g->text.p, g->text.n));
        buf_reset(&g->data);
        buf_reset(&g->null);
        buf_reset(&g->text);
        g->missing = false;
    }
    buf_u64(&w->groups, w->group_rows);
    w->group_rows = 0;
    w->staged = 0;
    TRY(buf_ok(cx, &w->pieces));
    return buf_ok(cx, &w->groups);
}

status table_writer_append(struct ctx *cx, struct table_writer *w, size_t n, const uint64_t *id_off,
                           const char *id_text, const void *const *cols)
{
    if (n > TABLE_MAX_ROWS - w->n_rows)
        return FAIL(cx, LIMIT, "more than %ju rows", (uintmax_t)TABLE_MAX_ROWS);
    if (n == 0) return OK;
    TRY(append_ids(cx, &w->cols[0], id_off, id_text, n));
    for (size_t i = 0; i < w->n_cols; i++) {
        struct gather *g = &w->cols[i + 1];
        if (g->type == COL_F64) append_f64(g, w->group_rows, (const double *)cols[i], n);
        if (g->type == COL_I64) buf_put(&g->data, cols[i], n * sizeof(int64_t));
        if (g->type == COL_STR) append_text(g, w->group_rows, (const struct bytes *)cols[i], n);
    }
    w->n_rows += n;
    w->group_rows += n;
    w->staged = 0;
    for (size_t i = 0; i <= w->n_cols; i++) {
        const struct gather *g = &w->cols[i];
        TRY(buf_ok(cx, &g->data));
        TRY(buf_ok(cx, &g->null));
        TRY(buf_ok(cx, &g->text));
        w->staged += g->data.n + g->null.n + g->text.n;
    }
    return w->staged >= w->budget ? spill(cx, w) : OK;
}

/* Writes one column of data.col: bytes one after the other, bits packed across groups. */
struct outlet {
    int fd;
    uint64_t data, text, null; /* where the next bytes go */
    uint64_t bit;              /* rows of the bitmap so far */
    uint8_t word[8];
};

static status put_bits(struct ctx *cx, struct outlet *o, const uint8_t *missing, uint64_t n)
{
    CLEANUP(buf_free) struct buf b = {0};
    for (uint64_t i = 0; i < n; i++, o->bit++) {
        unsigned in_word = (unsigned)(o->bit % 64);
        if (missing && missing[i]) o->word[in_word / 8] |= (uint8_t)(1u << in_word % 8);
        if (in_word == 63) {
            buf_put(&b, o->word, 8);
            memset(o->word, 0, 8);
        }
    }
    TRY(buf_ok(cx, &b));
    TRY(fd_pwrite_all(cx, o->fd, b.p, b.n, o->null));
    o->null += b.n;
    return OK;
}

static status end_bits(struct ctx *cx, struct outlet *o)
{
    return o->bit % 64 ? fd_pwrite_all(cx, o->fd, o->word, 8, o->null) : OK;
}

/* n bytes of the spool at from to *to of data.col. */
static status copy_bytes(struct ctx *cx, const struct table_writer *w, int fd, uint64_t from, uint64_t n,
                         uint64_t *to)
{
    CLEANUP(buf_free) struct buf b = {0};
    uint8_t *p = buf_grow(&b, COPY);
    TRY(buf_ok(cx, &b));
    while (n) {
        TRY(ctx_check(cx));
        ssize_t k = pread(w->spool, p, n < COPY ? (size_t)n : COPY, (off_t)from);
        if (k <= 0)
            return FAIL(cx, IO, "spool of %s: %s at %ju", w->path, k ? "cannot be read" : "ends",
                        (uintmax_t)from);
        TRY(fd_pwrite_all(cx, fd, p, (size_t)k, *to));
        n -= (uint64_t)k, from += (uint64_t)k, *to += (uint64_t)k;
    }
    return OK;
}

static status collect_piece(struct ctx *cx, struct table_writer *w, struct outlet *o, const struct gather *g,
                            const struct piece *pc, uint64_t rows)
{
    CLEANUP(buf_free) struct buf bytes = {0};
    TRY(copy_bytes(cx, w, o->fd, pc->off, rows * 8, &o->data));
    if (g->n_missing) {
        if (pc->missing) {
            uint8_t *p = buf_grow(&bytes, (size_t)rows);
            TRY(buf_ok(cx, &bytes));
            if (pread(w->spool, p, (size_t)rows, (off_t)(pc->off + rows * 8)) != (ssize_t)rows)
                return FAIL(cx, IO, "spool of %s: cannot be read", w->path);
        }
        TRY(put_bits(cx, o, pc->missing ? bytes.p : NULL, rows));
    }
    return copy_bytes(cx, w, o->fd, pc->off + rows * (pc->missing ? 9 : 8), pc->text_bytes, &o->text);
}

static status collect_column(struct ctx *cx, struct table_writer *w, int fd, size_t i,
                             const struct colfile_col *c)
{
    const struct gather *g = &w->cols[i];
    struct outlet o = {.fd = fd, .data = c->data_off, .text = c->text_off, .null = c->null_off};
    const uint64_t zero = 0, *rows = (const uint64_t *)(const void *)w->groups.p;
    const struct piece *pieces = (const struct piece *)(const void *)w->pieces.p;
    if (g->type == COL_STR) { /* what is gathered are the ends of cells; the first begins at 0 */
        TRY(fd_pwrite_all(cx, fd, &zero, 8, o.data));
        o.data += 8;
    }
    for (size_t k = 0; k < w->groups.n / sizeof *rows; k++)
        TRY(collect_piece(cx, w, &o, g, &pieces[k * (w->n_cols + 1) + i], rows[k]));
    TRY(fd_pwrite_all(cx, fd, g->data.p, g->data.n, o.data));
    TRY(fd_pwrite_all(cx, fd, g->text.p, g->text.n, o.text));
    if (g->n_missing) {
        TRY(put_bits(cx, &o, g->missing ? g->null.p : NULL, w->group_rows));
        TRY(end_bits(cx, &o));
    }
    return OK;
}

static status write_columns(struct ctx *cx, struct table_writer *w, struct colfile *f, uint32_t *crc)
{
    const char *path;
    const uint8_t *head;
    TRY(path_join(cx, w->part, "data.col", &path));
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", path);
    if (ftruncate(fd, (off_t)f->file_bytes) < 0)
        return FAIL(cx, IO, "%s: %ju bytes: %m", path, (uintmax_t)f->file_bytes);
    TRY(colfile_head(cx, f, &head, crc));
    TRY_IN(cx, fd_pwrite_all(cx, fd, head, colfile_head_bytes(f), 0), "%s", path);
    for (size_t i = 0; i <= w->n_cols; i++)
        TRY_IN(cx, collect_column(cx, w, fd, i, &f->cols[i]), "%s", path);
    if (fdatasync(fd) < 0) return FAIL(cx, IO, "sync %s: %m", path);
    return OK;
}

status table_writer_finish(struct ctx *cx, struct table_writer *w, const json_t *meta)
{
    struct colfile f = {.n_rows = w->n_rows, .n_cols = w->n_cols + 1};
    if (!(f.cols = NEW(cx, struct colfile_col, f.n_cols))) return FAIL(cx, NOMEM, "%zu columns", f.n_cols);
    for (size_t i = 0; i <= w->n_cols; i++) {
        struct gather *g = &w->cols[i];
        pad_missing(g, w->group_rows);
        TRY(buf_ok(cx, &g->null));
        f.cols[i] =
            (struct colfile_col){.type = g->type, .text_bytes = g->text_bytes, .n_missing = g->n_missing};
    }
    TRY(colfile_layout(cx, &f));
    struct schema s = {.n_rows = w->n_rows,
                       .n_physical = w->n_rows,
                       .id_name = w->id_name,
                       .n_cols = w->n_cols,
                       .cols = w->specs,
                       .data_bytes = f.file_bytes};
    TRY(write_columns(cx, w, &f, &s.data_crc));
    TRY(schema_write(cx, w->part, &s, meta));
    TRY(build_end(cx, w->part, w->path));
    w->part = NULL; /* nothing to remove any more */
    return OK;
}
