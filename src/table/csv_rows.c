#include "table/csv_rows.h"
#include "table/utf8.h"
#include <errno.h>
#include <unistd.h>

void csv_reader_free(struct csv_reader *rd)
{
    buf_free(&rd->raw);
    buf_free(&rd->ends);
}

void csv_reader_seek(struct csv_reader *rd, const struct csv_file *file, uint64_t off, uint64_t stop)
{
    rd->file = file;
    rd->off = off;
    rd->stop = stop;
    rd->have = rd->used = rd->n_rows = rd->first = 0;
    rd->target = CSV_BATCH;
    rd->fault.kind = CSV_FINE;
}

static status make_room(struct ctx *cx, struct buf *b, size_t n)
{
    if (b->n < n) (void)buf_grow(b, n - b->n);
    return buf_ok(cx, b);
}

/* Reads on until target bytes are there or the file ends; a last line without newline gets one. */
static status fill(struct ctx *cx, struct csv_reader *rd, size_t *n, bool *at_end)
{
    const struct csv_file *f = rd->file;
    TRY(make_room(cx, &rd->raw, rd->target + 1 + CSV_PAD));
    while (rd->have < rd->target && rd->off + rd->have < f->size) {
        uint64_t left = f->size - rd->off - rd->have;
        size_t want = rd->target - rd->have;
        if (want > left) want = (size_t)left;
        ssize_t k = pread(f->fd, rd->raw.p + rd->have, want, (off_t)(rd->off + rd->have));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "read %s: %m", f->name);
        if (k == 0) return FAIL(cx, IO, "%s became shorter while it was read", f->name);
        rd->have += (size_t)k;
    }
    *at_end = rd->off + rd->have >= f->size;
    *n = rd->have;
    if (*at_end && rd->have && rd->raw.p[rd->have - 1] != '\n') rd->raw.p[(*n)++] = '\n';
    memset(rd->raw.p + *n, 0, CSV_PAD);
    return OK;
}

static void set_fault(struct csv_reader *rd, enum csv_fault_kind kind, size_t n_rows, size_t col,
                      size_t found)
{
    rd->n_rows = n_rows;
    rd->fault = (struct csv_fault){.kind = kind, .row = n_rows, .col = col, .found = found};
}

/* Are all rows of the same number of cells, and none blank? Then the list is right as it is. */
static bool regular(const struct csv_reader *rd)
{
    const struct csv_marks *m = &rd->marks;
    size_t n_cols = rd->file->n_cols, rows = m->n_newlines;
    if (n_cols == 1 || rows * n_cols > m->n || m->n - rows * n_cols >= n_cols) return false;
    for (size_t r = 1; r <= rows; r++)
        if (rd->raw.p[m->pos[r * n_cols - 1]] != '\n') return false;
    return true;
}

/* Walks the rows one by one: leaves out blank lines (the line before then ends behind them) and stops at the first row
 * of another width. */
static void walk_rows(struct csv_reader *rd)
{
    struct csv_marks *m = &rd->marks;
    const uint8_t *s = rd->raw.p;
    size_t kept = 0, cells = 0, start = rd->first, rows = 0, n_cols = rd->file->n_cols;
    for (size_t i = 0; i < m->n; i++) {
        size_t e = m->pos[i];
        bool newline = s[e] == '\n';
        if (newline && cells == 0 && (e == start || (e == start + 1 && s[start] == '\r'))) {
            if (rows)
                m->pos[rows * n_cols - 1] = (uint32_t)e;
            else
                rd->first = e + 1;
            start = e + 1;
            continue;
        }
        cells++;
        if (cells <= n_cols) m->pos[kept++] = (uint32_t)e;
        start = e + 1;
        if (!newline) continue;
        if (cells != n_cols) {
            set_fault(rd, CSV_RAGGED, rows, 0, cells);
            return;
        }
        rows++;
        cells = 0;
    }
    rd->n_rows = rows;
    m->n = kept;
    if (cells > n_cols && m->scanned < rd->have && rows == 0) set_fault(rd, CSV_RAGGED, 0, 0, cells);
}

/* The cell of the batch in which byte `at` lies. */
static void find_cell(const struct csv_reader *rd, size_t at, size_t *row, size_t *col)
{
    size_t low = 0, high = rd->n_rows * rd->file->n_cols;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (rd->marks.pos[mid] < at)
            low = mid + 1;
        else
            high = mid;
    }
    *row = low / rd->file->n_cols;
    *col = low % rd->file->n_cols;
}

static size_t batch_end(const struct csv_reader *rd, size_t rows)
{
    return rows ? (size_t)rd->marks.pos[rows * rd->file->n_cols - 1] + 1 : rd->first;
}

/* Text behind a closing quote, bytes that are no UTF-8: the batch ends before the row. */
static void check_text(struct csv_reader *rd)
{
    size_t row, col, end = batch_end(rd, rd->n_rows);
    if (rd->marks.bad_quote < end) {
        find_cell(rd, rd->marks.bad_quote, &row, &col);
        set_fault(rd, CSV_TEXT_AFTER_QUOTE, row, col, 0);
        end = batch_end(rd, row);
    }
    if (!rd->marks.odd_bytes) return;
    const char *s = (const char *)rd->raw.p + rd->first;
    size_t good = utf8_prefix(s, end - rd->first);
    if (good == end - rd->first) return;
    find_cell(rd, rd->first + good, &row, &col);
    set_fault(rd, s[good] == 0 ? CSV_NUL : CSV_NOT_UTF8, row, col, 0);
}

/* No whole row: is it a row that cannot become whole? */
static void check_tail(struct csv_reader *rd, bool at_end)
{
    size_t n_cols = rd->file->n_cols, col = rd->marks.n < n_cols ? rd->marks.n : n_cols - 1;
    if (rd->fault.kind) return;
    if (rd->marks.bad_quote != SIZE_MAX && (at_end || rd->target >= CSV_MAX_LINE))
        set_fault(rd, CSV_TEXT_AFTER_QUOTE, 0, col, 0);
    else if (rd->marks.in_quote && (at_end || rd->target >= CSV_MAX_LINE))
        set_fault(rd, CSV_UNCLOSED, 0, col, 0);
    else if (rd->target >= CSV_MAX_LINE)
        set_fault(rd, CSV_LONG_LINE, 0, 0, 0);
}

static void consume(struct csv_reader *rd)
{
    if (rd->used) memmove(rd->raw.p, rd->raw.p + rd->used, rd->have - rd->used);
    rd->off += rd->used;
    rd->have -= rd->used;
    rd->used = 0;
}

/* A batch, or what is left until stop and a little of the row across it. */
static size_t first_target(const struct csv_reader *rd)
{
    uint64_t left = rd->stop > rd->off ? rd->stop - rd->off : 0;
    return left + 4096 < CSV_BATCH ? (size_t)left + 4096 : CSV_BATCH;
}

status csv_reader_next(struct ctx *cx, struct csv_reader *rd)
{
    size_t n = 0, cap = 4 * rd->file->n_cols > CSV_BATCH / 4 ? 4 * rd->file->n_cols : CSV_BATCH / 4;
    bool at_end;
    consume(rd);
    TRY(make_room(cx, &rd->ends, (cap + 2 * CSV_PAD) * sizeof(uint32_t)));
    rd->marks.pos = (uint32_t *)(void *)rd->ends.p;
    rd->marks.cap = cap;
    for (rd->target = first_target(rd);; rd->target *= 2) {
        TRY(ctx_check(cx));
        rd->first = rd->used = rd->n_rows = 0;
        rd->fault.kind = CSV_FINE;
        TRY(fill(cx, rd, &n, &at_end));
        if (rd->have == 0) return OK;
        csv_scan(rd->raw.p, n, rd->file->delimiter, &rd->marks);
        if (regular(rd))
            rd->n_rows = rd->marks.n_newlines;
        else
            walk_rows(rd);
        check_text(rd);
        if (rd->n_rows == 0) check_tail(rd, at_end);
        rd->used = batch_end(rd, rd->n_rows);
        if (rd->used > rd->have) rd->used = rd->have; /* the newline that is not in the file */
        rd->fault_at = rd->off + rd->used;
        if (rd->n_rows || rd->fault.kind || at_end) return OK;
        if (rd->used) { /* blank lines only: on with what follows them */
            consume(rd);
            rd->target = first_target(rd) / 2;
        }
    }
}

uint64_t csv_row_offset(const struct csv_reader *rd, size_t r)
{
    uint64_t at = batch_end(rd, r);
    return rd->off + (at > rd->have ? rd->have : at);
}

bool csv_cells(const struct csv_reader *rd, size_t c, const uint32_t *chosen, size_t from, size_t n,
               struct csv_cell *cells, bool *doubled)
{
    size_t n_cols = rd->file->n_cols;
    bool any = false;
    memset(doubled, 0, n);
    if (chosen || c + 1 == n_cols || c == 0 || rd->marks.quoted) { /* the general way */
        for (size_t i = 0; i < n; i++) {
            cells[i] = csv_unquote(csv_raw_cell(rd, chosen ? chosen[from + i] : from + i, c), &doubled[i]);
            any |= doubled[i];
        }
        return any;
    }
    const uint32_t *pos = rd->marks.pos + from * n_cols + c;
    const char *s = (const char *)rd->raw.p;
    for (size_t i = 0; i < n; i++, pos += n_cols)
        cells[i] = (struct csv_cell){s + pos[-1] + 1, pos[0] - pos[-1] - 1};
    return false;
}

size_t csv_length_doubled(struct csv_cell c)
{
    size_t pairs = 0;
    for (size_t i = 0; i + 1 < c.n; i++)
        if (c.p[i] == '"') pairs++, i++;
    return c.n - pairs;
}

size_t csv_copy(struct csv_cell c, bool doubled, size_t *at, char *out, size_t n)
{
    size_t k = 0, i = *at;
    if (!doubled) {
        k = c.n - i < n ? c.n - i : n;
        memcpy(out, c.p + i, k);
        *at = i + k;
        return k;
    }
    while (i < c.n && k < n) {
        out[k++] = c.p[i];
        i += c.p[i] == '"' && i + 1 < c.n ? 2 : 1;
    }
    *at = i;
    return k;
}

bool csv_in_missing(const struct csv_file *f, struct csv_cell c)
{
    for (size_t i = 0; i < f->n_missing; i++)
        if (strlen(f->missing[i]) == c.n && memcmp(f->missing[i], c.p, c.n) == 0) return true;
    return false;
}

void csv_show(struct csv_cell c, char out[CSV_SHOWN + 4])
{
    size_t n = c.n;
    bool cut = n > CSV_SHOWN;
    if (cut) n = utf8_cut(c.p, CSV_SHOWN);
    memcpy(out, c.p, n);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)out[i] < 0x20 || out[i] == 0x7f) out[i] = '?';
    memcpy(out + n, cut ? "..." : "", cut ? 4 : 1);
}

static status fail_cell(struct ctx *cx, const struct csv_file *f, const struct csv_fault *x)
{
    const char *name = f->names[x->col];
    uintmax_t row = x->row + 1;
    switch (x->kind) {
    case CSV_TEXT_AFTER_QUOTE:
        return FAIL(cx, FORMAT,
                    "%s: row %ju, column '%.80s': text after the closing quote; a quote inside a quoted "
                    "cell is written twice",
                    f->name, row, name);
    case CSV_UNCLOSED:
        return FAIL(cx, FORMAT, "%s: row %ju, column '%.80s': a quote opens here and never closes", f->name,
                    row, name);
    case CSV_NUL:
        return FAIL(cx, FORMAT, "%s: row %ju, column '%.80s': a NUL byte; is this a text file?", f->name, row,
                    name);
    case CSV_NOT_UTF8:
        return FAIL(cx, FORMAT, "%s: row %ju, column '%.80s': not UTF-8; convert the file first", f->name,
                    row, name);
    case CSV_EMPTY_ID:
        return FAIL(cx, FORMAT, "%s: row %ju: the id (column '%.80s') is empty", f->name, row, name);
    case CSV_NOT_F64:
        return FAIL(cx, FORMAT, "%s: row %ju, column '%.80s': '%s' is no number, declared f64", f->name, row,
                    name, x->text);
    case CSV_NOT_I64:
        return FAIL(cx, FORMAT, "%s: row %ju, column '%.80s': '%s' is no 64-bit integer, declared i64",
                    f->name, row, name, x->text);
    case CSV_FINE:
    case CSV_RAGGED:
    case CSV_LONG_LINE:
        break;
    }
    return FAIL(cx, INTERNAL, "%s: fault %d", f->name, (int)x->kind);
}

status csv_fault_fail(struct ctx *cx, const struct csv_file *f, const struct csv_fault *x)
{
    uintmax_t row = x->row + 1;
    if (x->kind == CSV_RAGGED)
        return FAIL(cx, FORMAT, "%s: row %ju: %zu cell%s, want %zu", f->name, row, x->found,
                    x->found == 1 ? "" : "s", f->n_cols);
    if (x->kind == CSV_LONG_LINE)
        return FAIL(cx, LIMIT, "%s: row %ju: longer than %d MiB", f->name, row, CSV_MAX_LINE >> 20);
    return fail_cell(cx, f, x);
}
