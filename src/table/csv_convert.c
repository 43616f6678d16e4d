/* Second pass: cells to columns.
 *
 * A part writes the rows whose number in the table lies in [first, last), its own range rounded up to multiples of 8 at
 * both ends, so that no two threads write into one byte of a bitmap: it passes over its first rows (up to 7, done by the
 * part before) and reads on behind its end. Each column is staged for a number of rows, then written by one pwrite. */
#include "table/csv_parts.h"
#include "base/pool.h"
#include "table/csv_num.h"
#include <math.h>

enum {
    STAGE_BYTES = 4 << 20,
    STAGE_ROWS = 16384,
    TEXT_BYTES = 4 << 20,
    TEXT_MOST = 128 << 10,
    TEXT_LEAST = 256,
    BLOCK = 256
};

struct sink { /* one column, in the file's order */
    uint8_t *data, *null, *text;
    size_t text_used;
    uint64_t text_at; /* where the next cell's text goes, in the column's */
};

struct task {
    struct csv_import *im;
    struct csv_reader *rd;
    struct sink *sinks;
    uint8_t *null_all; /* of all columns: cleared at once */
    size_t null_bytes, stage_rows, text_cap;
    const uint32_t *chosen; /* rows of the batch; NULL = all */
    uint64_t base;          /* table row of the stage's first */
    size_t staged;
};

static status fail_changed(struct ctx *cx, const struct task *t)
{
    return FAIL(cx, IO, "%s changed while it was read", t->im->file.name);
}

static const struct colfile_col *target(const struct task *t, size_t c)
{
    return &t->im->layout.cols[csv_target(&t->im->file, c)];
}

/* Room for the staged rows of all columns, from the work's buffers. */
static status set_stage(struct ctx *cx, struct task *t, struct csv_work *w)
{
    size_t n_cols = t->im->file.n_cols, n_text = 0, n_null = 0;
    for (size_t c = 0; c < n_cols; c++) {
        n_text += target(t, c)->type == COL_STR;
        n_null += target(t, c)->n_missing != 0;
    }
    size_t rows = STAGE_BYTES / (8 * n_cols);
    rows = rows > STAGE_ROWS ? STAGE_ROWS : rows < 64 ? 64 : rows & ~(size_t)63;
    size_t cap = TEXT_BYTES / n_text; /* the id at least */
    cap = cap > TEXT_MOST ? TEXT_MOST : cap < TEXT_LEAST ? TEXT_LEAST : cap;
    size_t bytes = n_cols * rows * 8 + n_null * rows / 8 + n_text * cap;
    if (w->stage.n < bytes && !buf_grow(&w->stage, bytes - w->stage.n)) return buf_ok(cx, &w->stage);
    if (w->sinks.n < n_cols * sizeof(struct sink))
        if (!buf_grow(&w->sinks, n_cols * sizeof(struct sink))) return buf_ok(cx, &w->sinks);
    t->sinks = (struct sink *)(void *)w->sinks.p;
    t->stage_rows = rows;
    t->text_cap = cap;
    uint8_t *data = w->stage.p, *null = data + n_cols * rows * 8, *text = null + n_null * rows / 8;
    t->null_all = null;
    t->null_bytes = n_null * rows / 8;
    memset(null, 0, t->null_bytes);
    for (size_t c = 0; c < n_cols; c++, data += rows * 8) {
        t->sinks[c] = (struct sink){.data = data};
        if (target(t, c)->n_missing) t->sinks[c].null = null, null += rows / 8;
        if (target(t, c)->type == COL_STR) t->sinks[c].text = text, text += cap;
    }
    return OK;
}

static status flush_text(struct ctx *cx, struct task *t, size_t c)
{
    struct sink *s = &t->sinks[c];
    TRY(fd_pwrite_all(cx, t->im->out, s->text, s->text_used,
                      target(t, c)->text_off + s->text_at - s->text_used));
    s->text_used = 0;
    return OK;
}

/* One cell's text behind the others. */
static status put_text(struct ctx *cx, struct task *t, size_t c, struct csv_cell cell, bool doubled)
{
    struct sink *s = &t->sinks[c];
    size_t at = 0, n = csv_length(cell, doubled);
    uint64_t most = target(t, c)->text_bytes;
    if (s->text_at > most || n > most - s->text_at) return fail_changed(cx, t);
    if (n <= t->text_cap - s->text_used) { /* nearly always */
        s->text_used += csv_copy(cell, doubled, &at, (char *)s->text + s->text_used, n);
        s->text_at += n;
        return OK;
    }
    while (at < cell.n) {
        if (s->text_used == t->text_cap) TRY(flush_text(cx, t, c));
        size_t k = csv_copy(cell, doubled, &at, (char *)s->text + s->text_used, t->text_cap - s->text_used);
        s->text_used += k;
        s->text_at += k;
    }
    return OK;
}

static bool set_missing(struct sink *s, size_t row)
{
    if (!s->null) return false;
    s->null[row / 8] |= (uint8_t)(1u << row % 8);
    return true;
}

/* Cells of one column that stand one under the other: at most BLOCK, the first goes to row `row` of the stage. */
struct run {
    size_t col, row, n;
    struct csv_cell cells[BLOCK];
    bool doubled[BLOCK];
};

static status put_strings(struct ctx *cx, struct task *t, const struct run *r)
{
    struct sink *s = &t->sinks[r->col];
    bool is_id = r->col == t->im->file.id_col;
    for (size_t i = 0; i < r->n; i++) {
        memcpy(s->data + (r->row + i) * 8, &s->text_at, 8);
        if (!is_id && csv_is_missing(&t->im->file, r->cells[i])) {
            if (!set_missing(s, r->row + i)) return fail_changed(cx, t);
        } else {
            TRY(put_text(cx, t, r->col, r->cells[i], r->doubled[i]));
        }
    }
    return OK;
}

static status put_reals(struct ctx *cx, struct task *t, const struct run *r)
{
    struct sink *s = &t->sinks[r->col];
    double *out = (double *)(void *)s->data + r->row;
    for (size_t i = 0; i < r->n; i++) {
        i += csv_f64_many(r->cells + i, r->n - i, t->im->file.missing_start, out + i);
        if (i == r->n) break;
        if (csv_is_missing(&t->im->file, r->cells[i])) {
            if (!set_missing(s, r->row + i)) return fail_changed(cx, t);
            out[i] = (double)NAN;
        } else if (r->doubled[i] || !csv_f64(r->cells[i].p, r->cells[i].n, &out[i])) {
            return fail_changed(cx, t);
        }
    }
    return OK;
}

static status put_integers(struct ctx *cx, struct task *t, const struct run *r)
{
    struct sink *s = &t->sinks[r->col];
    int64_t *out = (int64_t *)(void *)s->data + r->row;
    for (size_t i = 0; i < r->n; i++) {
        out[i] = 0;
        if (csv_is_missing(&t->im->file, r->cells[i])) {
            if (!set_missing(s, r->row + i)) return fail_changed(cx, t);
        } else if (r->doubled[i] || !csv_i64(r->cells[i].p, r->cells[i].n, &out[i])) {
            return fail_changed(cx, t);
        }
    }
    return OK;
}

static status flush(struct ctx *cx, struct task *t)
{
    int fd = t->im->out;
    if (t->staged == 0) return OK;
    for (size_t c = 0; c < t->im->file.n_cols; c++) {
        const struct colfile_col *col = target(t, c);
        TRY(fd_pwrite_all(cx, fd, t->sinks[c].data, t->staged * 8, col->data_off + t->base * 8));
        if (col->n_missing)
            TRY(fd_pwrite_all(cx, fd, t->sinks[c].null, (t->staged + 7) / 8, col->null_off + t->base / 8));
        if (col->type == COL_STR) TRY(flush_text(cx, t, c));
    }
    memset(t->null_all, 0, t->null_bytes);
    t->base += t->staged;
    t->staged = 0;
    return OK;
}

static status put_run(struct ctx *cx, struct task *t, const struct run *r)
{
    switch (target(t, r->col)->type) {
    case COL_F64:
        return put_reals(cx, t, r);
    case COL_I64:
        return put_integers(cx, t, r);
    case COL_STR:
        break;
    }
    return put_strings(cx, t, r);
}

/* Rows [from, from + n) of the chosen into the stage, which has room. */
static status put_rows(struct ctx *cx, struct task *t, size_t from, size_t n)
{
    struct run r;
    for (r.col = 0; r.col < t->im->file.n_cols; r.col++) {
        for (size_t at = 0; at < n; at += BLOCK) {
            r.n = n - at < BLOCK ? n - at : BLOCK;
            r.row = t->staged + at;
            csv_cells(t->rd, r.col, t->chosen, from + at, r.n, r.cells, r.doubled);
            TRY(put_run(cx, t, &r));
        }
    }
    t->staged += n;
    return t->staged == t->stage_rows ? flush(cx, t) : OK;
}

/* Rows that the part before has written (at most 7): only how much text they are. */
static void pass_over(struct task *t, size_t n)
{
    const struct csv_file *f = &t->im->file;
    struct csv_cell cells[8];
    bool doubled[8];
    for (size_t c = 0; c < f->n_cols; c++) {
        if (target(t, c)->type != COL_STR) continue;
        csv_cells(t->rd, c, t->chosen, 0, n, cells, doubled);
        for (size_t i = 0; i < n; i++)
            if (c == f->id_col || !csv_is_missing(f, cells[i]))
                t->sinks[c].text_at += csv_length(cells[i], doubled[i]);
    }
}

/* At the part's own last row the text must be where the first pass said. */
static status check_text(struct ctx *cx, const struct task *t, size_t part)
{
    size_t n_cols = t->im->file.n_cols;
    const uint64_t *want = t->im->text_at + (part + 1) * n_cols;
    for (size_t c = 0; c < n_cols; c++)
        if (target(t, c)->type == COL_STR && t->sinks[c].text_at != want[c]) return fail_changed(cx, t);
    return OK;
}

static uint64_t round_up(uint64_t row, uint64_t most)
{
    row = (row + 7) & ~(uint64_t)7;
    return row < most ? row : most;
}

/* Rows of one batch: those before t->base are passed over, those from `last` on left. *row: the next table row. */
static status put_batch(struct ctx *cx, struct task *t, size_t part, size_t n, uint64_t last, uint64_t *row)
{
    const struct csv_part *p = &t->im->parts[part];
    uint64_t own_end = p->kept + p->n_kept;
    size_t at = 0;
    if (*row < t->base) {
        at = t->base - *row < n ? (size_t)(t->base - *row) : n;
        pass_over(t, at);
        *row += at;
    }
    while (at < n && *row < last) {
        uint64_t k = n - at, stop = *row < own_end ? own_end : last;
        if (k > stop - *row) k = stop - *row;
        if (k > t->stage_rows - t->staged) k = t->stage_rows - t->staged;
        TRY(put_rows(cx, t, at, (size_t)k));
        at += (size_t)k;
        *row += k;
        if (*row == own_end) TRY(check_text(cx, t, part));
    }
    return OK;
}

static status convert(struct ctx *cx, struct csv_import *im, size_t part, struct csv_work *w)
{
    const struct csv_part *p = &im->parts[part];
    struct task t = {.im = im, .rd = &w->reader};
    uint64_t n = im->layout.n_rows, row = p->kept, file_row = p->row, last = round_up(p->kept + p->n_kept, n);
    size_t n_batch, n_cols = im->file.n_cols;
    t.base = round_up(p->kept, n);
    if (t.base >= last) return OK;
    TRY(set_stage(cx, &t, w));
    for (size_t c = 0; c < n_cols; c++)
        t.sinks[c].text_at = im->text_at[part * n_cols + c];
    csv_reader_seek(&w->reader, &im->file, p->start, p->end);
    while (row < last) {
        TRY(csv_reader_next(cx, t.rd));
        if (t.rd->n_rows == 0) return fail_changed(cx, &t);
        TRY(csv_choose(cx, im, w, file_row, t.rd->n_rows, &t.chosen, &n_batch));
        TRY(put_batch(cx, &t, part, n_batch, last, &row));
        file_row += t.rd->n_rows;
        csv_progress(im, t.rd->used);
    }
    return flush(cx, &t);
}

static status convert_part(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct csv_import *im = (struct csv_import *)arg;
    (void)chunk;
    for (size_t k = begin; k < end; k++) {
        struct csv_work *w = csv_work_take(im);
        status st = convert(cx, im, k, w);
        csv_work_give(w);
        TRY(st);
    }
    return OK;
}

status csv_convert(struct ctx *cx, struct csv_import *im)
{
    TRY(pool_for(cx, im->n_parts, 1, convert_part, im));
    for (size_t c = 0; c < im->layout.n_cols; c++) { /* the last offset is the text's end */
        const struct colfile_col *col = &im->layout.cols[c];
        if (col->type != COL_STR) continue;
        TRY(fd_pwrite_all(cx, im->out, &col->text_bytes, 8, col->data_off + im->layout.n_rows * 8));
    }
    return OK;
}
