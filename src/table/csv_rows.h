/* csv_rows.h - batches of whole rows out of a CSV file. Used inside this layer only.
 *
 * A batch is raw text and the list of its cells' ends; cell (r, c) lies between ends[r * n_cols + c - 1] and
 * ends[r * n_cols + c]. The file is read with pread, so that one cut short by someone else is an error and not a signal,
 * and a reader may start at any row. */
#pragma once
#include "base/bytes.h"
#include "table/csv.h"
#include "table/csv_num.h"
#include "table/csv_scan.h"
#include <string.h>

enum { CSV_BATCH = 256 << 10, CSV_SHOWN = 40, CSV_MAX_HEADER = 16 << 20, CSV_MAX_LINE = 64 << 20 };

/* What is wrong with the file, and where. */
enum csv_fault_kind {
    CSV_FINE,
    CSV_RAGGED, /* found cells */
    CSV_TEXT_AFTER_QUOTE,
    CSV_UNCLOSED,
    CSV_LONG_LINE,
    CSV_NUL,
    CSV_NOT_UTF8,
    CSV_EMPTY_ID,
    CSV_NOT_F64,
    CSV_NOT_I64,
};
struct csv_fault {
    enum csv_fault_kind kind;
    uint64_t row; /* in the batch, later in the chunk, then in the file; from 0 */
    size_t col;   /* in the file */
    size_t found;
    char text[CSV_SHOWN + 4]; /* the cell, cut */
};

/* All that is known of the file before its rows are read. */
struct csv_file {
    const char *name;
    int fd;
    uint64_t size, body; /* body: where the first row starts */
    uint8_t delimiter;
    size_t n_cols; /* in the file, with the id column */
    size_t id_col;
    const char **names;
    struct csv_column {
        bool declared;
        enum col_type type; /* when declared; else set after the first pass */
        enum col_kind kind;
    } * cols;
    const char *const *missing;
    size_t n_missing;
    bool missing_start[256]; /* first bytes of those texts */
};

struct csv_reader {
    const struct csv_file *file;
    struct buf raw, ends; /* raw.p[0..have), then CSV_PAD bytes */
    size_t have, target;
    uint64_t off; /* of raw.p[0] in the file */
    uint64_t stop;
    struct csv_marks marks;
    /* the batch */
    size_t first; /* where its first cell starts */
    size_t n_rows, used;
    struct csv_fault fault; /* of the row after the batch's last; row is n_rows then */
    uint64_t fault_at;      /* where that row starts in the file */
};

void csv_reader_free(struct csv_reader *rd); /* what is zeroed is fine */
/* From now on rows from off on; the caller wants none that starts at stop or behind, though batches may hold some.
 * Keeps the buffers. */
void csv_reader_seek(struct csv_reader *rd, const struct csv_file *file, uint64_t off, uint64_t stop);
/* The next batch; n_rows 0 and no fault: the file has ended. Blank lines are left out. */
status csv_reader_next(struct ctx *cx, struct csv_reader *rd);
/* Where row r of the batch starts in the file; r = n_rows: where the next batch starts. */
uint64_t csv_row_offset(const struct csv_reader *rd, size_t r);

/* The cell's bytes as they stand in the file, without the line's end. */
static inline struct csv_cell csv_raw_cell(const struct csv_reader *rd, size_t r, size_t c)
{
    size_t i = r * rd->file->n_cols + c;
    size_t b = i ? (size_t)rd->marks.pos[i - 1] + 1 : rd->first, e = rd->marks.pos[i];
    const char *s = (const char *)rd->raw.p;
    if (c + 1 == rd->file->n_cols)
        while (e > b && (s[e - 1] == '\r' || s[e - 1] == '\n'))
            e--;
    return (struct csv_cell){s + b, e - b};
}
/* What the cell means; *doubled: it still holds quotes in pairs, half of them to be left out. */
static inline struct csv_cell csv_unquote(struct csv_cell c, bool *doubled)
{
    *doubled = false;
    if (c.n < 2 || c.p[0] != '"') return c;
    c = (struct csv_cell){c.p + 1, c.n - 2};
    *doubled = memchr(c.p, '"', c.n) != NULL;
    return c;
}
/* Cells of column c: of rows chosen[from..) (of rows from.. when chosen is NULL), n of them; doubled[i] as above. Returns
 * whether any is. */
bool csv_cells(const struct csv_reader *rd, size_t c, const uint32_t *chosen, size_t from, size_t n,
               struct csv_cell *cells, bool *doubled);
size_t csv_length_doubled(struct csv_cell c);
static inline size_t csv_length(struct csv_cell c, bool doubled)
{
    return doubled ? csv_length_doubled(c) : c.n;
}
/* n bytes or fewer of the meaning into out, from *at on in the cell; advances *at. Returns how many. */
size_t csv_copy(struct csv_cell c, bool doubled, size_t *at, char *out, size_t n);

bool csv_in_missing(const struct csv_file *f, struct csv_cell c);
static inline bool csv_is_missing(const struct csv_file *f, struct csv_cell c)
{
    return c.n == 0 || (f->missing_start[(uint8_t)c.p[0]] && csv_in_missing(f, c));
}
void csv_show(struct csv_cell c, char out[CSV_SHOWN + 4]); /* cut, control characters as '?' */
/* cx->err from a fault whose row counts in the file. Always an error. */
status csv_fault_fail(struct ctx *cx, const struct csv_file *f, const struct csv_fault *fault);

/* csv_schema.c: opens the file, reads the header and applies the options; fd is the caller's to close. */
status csv_file_open(struct ctx *cx, const char *path, const struct csv_options *opt, struct csv_file *out);
