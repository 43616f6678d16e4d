/* First pass: rows, types, and how much text each column holds. */
#include "table/csv_parts.h"
#include "base/arena.h"
#include "base/pool.h"
#include "table/csv_num.h"
#include <errno.h>
#include <unistd.h>

/* The first newline at or behind `at`, plus one; the file's end when there is none. */
static status guess_start(struct ctx *cx, const struct csv_file *f, struct csv_work *w, uint64_t at,
                          uint64_t *out)
{
    struct buf *b = &w->reader.raw;
    const size_t step = 64 << 10;
    if (b->n < step && !buf_grow(b, step - b->n)) return buf_ok(cx, b);
    for (uint64_t limit = at + CSV_MAX_LINE; at < f->size && at < limit;) {
        ssize_t k = pread(f->fd, b->p, step, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "read %s: %m", f->name);
        const uint8_t *nl = k ? memchr(b->p, '\n', (size_t)k) : NULL;
        if (nl) {
            *out = at + (uint64_t)(nl - b->p) + 1;
            return OK;
        }
        if (k == 0) break;
        at += (uint64_t)k;
    }
    *out = f->size;
    return OK;
}

enum { BLOCK = 256 }; /* cells looked at together */

/* The rows of one batch that are kept: chosen[0..n), or 0..n where it is NULL. */
struct sweep {
    const struct csv_import *im;
    const struct csv_reader *rd;
    const uint32_t *chosen;
    size_t n;
};

static enum csv_fault_kind wrong(const struct csv_column *c, enum num_class k)
{
    if (!c->declared || c->type == COL_STR) return CSV_FINE;
    if (c->type == COL_F64) return k == NUM_TEXT ? CSV_NOT_F64 : CSV_FINE;
    return k > NUM_INT ? CSV_NOT_I64 : CSV_FINE;
}

static size_t row_of(const struct sweep *s, size_t i)
{
    return s->chosen ? s->chosen[i] : i;
}

static void note(struct csv_fault *fault, enum csv_fault_kind kind, size_t row, size_t col,
                 struct csv_cell cell)
{
    if (fault->kind && fault->row <= row) return;
    *fault = (struct csv_fault){.kind = kind, .row = row, .col = col};
    csv_show(cell, fault->text);
}

static void sweep_ids(const struct sweep *s, size_t c, size_t from, size_t n, struct csv_stat *st,
                      struct csv_fault *fault)
{
    struct csv_cell cells[BLOCK];
    bool doubled[BLOCK];
    csv_cells(s->rd, c, s->chosen, from, n, cells, doubled);
    for (size_t i = 0; i < n; i++) {
        if (cells[i].n == 0) note(fault, CSV_EMPTY_ID, row_of(s, from + i), c, cells[i]);
        st->text_bytes += csv_length(cells[i], doubled[i]);
    }
}

/* A cell that is no short plain number, or may mean missing. */
static void sweep_cell(const struct csv_file *f, size_t c, struct csv_cell cell, bool doubled, size_t row,
                       struct csv_stat *st, struct csv_fault *fault)
{
    const struct csv_column *col = &f->cols[c];
    if (csv_is_missing(f, cell)) {
        st->n_missing++;
        st->text_bytes -= cell.n; /* counted with the others before */
        return;
    }
    if (doubled) st->text_bytes -= cell.n - csv_length(cell, doubled);
    if (col->declared ? col->type == COL_STR : st->num_class == NUM_TEXT) return;
    enum num_class k = doubled ? NUM_TEXT : csv_class(cell.p, cell.n);
    if (wrong(col, k)) note(fault, wrong(col, k), row, c, cell);
    if (k > st->num_class) st->num_class = (uint8_t)k;
}

/* Runs of plain numbers are read by the kernel, what lies between them cell by cell. A column already known to be text
 * is only looked at for what is missing. */
static void sweep_column(const struct sweep *s, size_t c, size_t from, size_t n, struct csv_stat *st,
                         struct csv_fault *fault)
{
    const struct csv_file *f = &s->im->file;
    const struct csv_column *col = &f->cols[c];
    struct csv_cell cells[BLOCK];
    bool doubled[BLOCK];
    bool cell_by_cell = col->declared ? col->type != COL_F64 : st->num_class == NUM_TEXT;
    csv_cells(s->rd, c, s->chosen, from, n, cells, doubled);
    for (size_t i = 0; i < n; i++)
        st->text_bytes += cells[i].n;
    for (size_t i = 0; i < n; i++) {
        enum num_class k = NUM_NONE;
        if (!cell_by_cell) i += csv_class_many(cells + i, n - i, f->missing_start, &k);
        if (k > st->num_class) st->num_class = (uint8_t)k;
        if (i < n) sweep_cell(f, c, cells[i], doubled[i], row_of(s, from + i), st, fault);
    }
}

static size_t rows_before(const struct csv_reader *rd, uint64_t hi)
{
    size_t low = 0, high = rd->n_rows;
    if (high == 0 || csv_row_offset(rd, high - 1) < hi) return high;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (csv_row_offset(rd, mid) < hi)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* How many of the chosen rows lie before `row`. */
static size_t chosen_before(const struct sweep *s, uint64_t row)
{
    size_t n = s->n;
    while (n && row_of(s, n - 1) >= row)
        n--;
    return n;
}

/* The rows of one batch that belong to the part. */
static status sweep_batch(struct ctx *cx, struct csv_import *im, size_t k, struct csv_work *w, size_t n_rows)
{
    struct csv_part *p = &im->parts[k];
    struct csv_fault fault = {0};
    struct csv_stat *st = im->stats + k * im->file.n_cols;
    struct sweep s = {.im = im, .rd = &w->reader};
    TRY(csv_choose(cx, im, w, p->row + p->n_rows, n_rows, &s.chosen, &s.n));
    p->n_kept += s.n;
    for (size_t c = 0; c < im->file.n_cols; c++) {
        for (size_t at = 0; at < s.n; at += BLOCK) {
            size_t n = s.n - at < BLOCK ? s.n - at : BLOCK;
            if (c == im->file.id_col)
                sweep_ids(&s, c, at, n, &st[c], &fault);
            else
                sweep_column(&s, c, at, n, &st[c], &fault);
            if (fault.kind) s.n = chosen_before(&s, fault.row); /* only what lies before it matters now */
        }
    }
    if (fault.kind) {
        p->fault = fault;
        p->fault.row += p->n_rows;
    }
    p->n_rows += n_rows;
    return OK;
}

static status read_part(struct ctx *cx, struct csv_import *im, size_t k, struct csv_work *w)
{
    struct csv_part *p = &im->parts[k];
    struct csv_reader *rd = &w->reader;
    p->n_rows = p->n_kept = 0;
    p->fault = (struct csv_fault){0};
    memset(im->stats + k * im->file.n_cols, 0, im->file.n_cols * sizeof *im->stats);
    if (!p->known) TRY(guess_start(cx, &im->file, w, p->lo - 1, &p->start));
    p->end = p->start;
    csv_reader_seek(rd, &im->file, p->start, p->hi);
    while (p->end < p->hi) {
        TRY(csv_reader_next(cx, rd));
        if (rd->n_rows == 0 && !rd->fault.kind) { /* the file's end, or blank lines before it */
            p->end = im->file.size;
            break;
        }
        size_t n_rows = rows_before(rd, p->hi);
        uint64_t before = p->n_rows;
        TRY(sweep_batch(cx, im, k, w, n_rows));
        p->end = csv_row_offset(rd, n_rows);
        csv_progress(im, p->end - rd->off);
        if (p->fault.kind) break;
        if (n_rows < rd->n_rows) break;
        if (rd->fault.kind && rd->fault_at < p->hi) {
            p->fault = rd->fault;
            p->fault.row += before;
            break;
        }
    }
    p->done = true;
    return OK;
}

static status measure_part(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct csv_import *im = (struct csv_import *)arg;
    (void)chunk;
    for (size_t k = begin; k < end; k++) {
        if (im->parts[k].done) continue;
        struct csv_work *w = csv_work_take(im);
        status st = read_part(cx, im, k, w);
        csv_work_give(w);
        TRY(st);
    }
    return OK;
}

/* Marks the parts that were read from a wrong start. All that went wrong in a row of parts that is known to be read
 * right is an error; it returns how many are left to read. */
static status link_parts(struct ctx *cx, struct csv_import *im, size_t *left)
{
    uint64_t row = 0;
    bool sure = true; /* all parts up to here were read from the right start */
    *left = 0;
    for (size_t k = 0; k < im->n_parts; k++) {
        struct csv_part *p = &im->parts[k];
        if (k && p->start != p[-1].end && !p[-1].fault.kind) {
            p->start = p[-1].end;
            p->known = true;
            p->done = false;
        }
        if (!p->done) {
            ++*left;
            sure = false;
        }
        if (sure && p->fault.kind) {
            p->fault.row += row;
            return csv_fault_fail(cx, &im->file, &p->fault);
        }
        row += p->n_rows;
    }
    return OK;
}

/* Sums over parts, and the columns' types. */
static status sum_up(struct ctx *cx, struct csv_import *im)
{
    size_t n_cols = im->file.n_cols;
    uint64_t row = 0, kept = 0;
    for (size_t k = 0; k < im->n_parts; k++) {
        struct csv_part *p = &im->parts[k];
        p->row = row;
        p->kept = kept;
        row += p->n_rows;
        kept += p->n_kept;
        for (size_t c = 0; c < n_cols; c++)
            im->text_at[(k + 1) * n_cols + c] =
                im->text_at[k * n_cols + c] + im->stats[k * n_cols + c].text_bytes;
    }
    if (row == 0) return FAIL(cx, FORMAT, "%s has a header and no rows", im->file.name);
    if (kept > TABLE_MAX_ROWS)
        return FAIL(cx, LIMIT, "%s: %ju rows, at most %ju", im->file.name, (uintmax_t)kept,
                    (uintmax_t)TABLE_MAX_ROWS);
    struct colfile *f = &im->layout;
    f->n_rows = kept;
    f->n_cols = n_cols;
    for (size_t c = 0; c < n_cols; c++) {
        struct colfile_col *col = &f->cols[csv_target(&im->file, c)];
        unsigned widest = NUM_NONE;
        *col = (struct colfile_col){.type = COL_STR, .text_bytes = im->text_at[im->n_parts * n_cols + c]};
        for (size_t k = 0; k < im->n_parts; k++) {
            const struct csv_stat *st = &im->stats[k * n_cols + c];
            widest = st->num_class > widest ? st->num_class : widest;
            col->n_missing += st->n_missing;
        }
        if (c == im->file.id_col) continue;
        col->type = widest == NUM_INT    ? COL_I64
                    : widest == NUM_TEXT ? COL_STR
                                         : COL_F64; /* nothing at all: f64 */
        if (im->file.cols[c].declared) col->type = im->file.cols[c].type;
        if (col->type != COL_STR) col->text_bytes = 0;
    }
    return colfile_layout(cx, f);
}

status csv_measure(struct ctx *cx, struct csv_import *im)
{
    size_t left = im->n_parts;
    while (left) {
        TRY(pool_for(cx, im->n_parts, 1, measure_part, im));
        TRY(link_parts(cx, im, &left));
    }
    return sum_up(cx, im);
}
