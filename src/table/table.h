/* table.h - an immutable table of columns, mapped from a column file, and the writer that makes one.
 *
 * A table on disk is a folder: table.json (schema, counts, checksums; written last, so a folder without it is no
 * table), data.col (all columns, each contiguous and 64-byte aligned) and, for a table that selects rows of another,
 * rows.idx. A derived table (Intersection's output) hard-links its parent's data.col and adds rows.idx: rows are
 * referred to by number, nothing is copied or joined by string again. docs/formats.md draws the bytes.
 *
 * Physical row: a row of data.col. Logical row i of the table is physical row rows[i] (i itself when rows is NULL). */
#pragma once
#include "base/bytes.h"
#include "base/js.h"

enum col_type {
    COL_F64, /* data: double[n]; missing: bit in null and NaN in data */
    COL_I64, /* data: int64_t[n] */
    COL_STR, /* data: uint64_t offsets[n + 1] into text */
};
enum col_kind { KIND_FEATURE, KIND_LABEL, KIND_MATCH_ID, KIND_WEIGHT, KIND_PREDICTION };
const char *col_type_name(enum col_type type); /* "f64", "i64", "str" */
const char *col_kind_name(enum col_kind kind); /* "feature", "label", ... */

struct column {
    const char *name;
    const char *anonymous; /* "host_10000_x3"; NULL until a Reader named it */
    enum col_type type;
    enum col_kind kind;
    const void *data;     /* physical rows, 64-byte aligned */
    const char *text;     /* COL_STR: the bytes the offsets point into */
    const uint64_t *null; /* bitmap over physical rows, bit set = missing; NULL = none missing */
    size_t n_missing;     /* among physical rows */
};

struct table {
    size_t n_rows; /* logical */
    size_t n_physical;
    const uint32_t *rows;   /* logical to physical; NULL = identity */
    const char *id_name;    /* name of the id column ("id"), FATE's sid */
    const uint64_t *id_off; /* physical, n_physical + 1 */
    const char *id_text;
    size_t n_cols;
    const struct column *cols;
    const json_t *meta; /* table.json's "meta": free for components (delimitor, namespace, ...); borrowed */
    const char *path;
};

/* Maps a table's folder; unmapped with cx->mem. NOTFOUND; FORMAT names file, field and byte offset. */
status table_open(struct ctx *cx, const char *path, const struct table **out);
const struct column *table_column(const struct table *t, const char *name); /* NULL: none of that name */
const struct column *table_label(const struct table *t);                    /* NULL: no label */
/* Id of logical row i, not NUL-terminated. */
static inline struct bytes table_id(const struct table *t, size_t i)
{
    size_t r = t->rows ? t->rows[i] : i;
    return (struct bytes){(const uint8_t *)t->id_text + t->id_off[r], t->id_off[r + 1] - t->id_off[r]};
}
/* Logical rows [begin, end) of a numeric column as doubles, NaN where missing. ARG for a COL_STR column. */
status table_read_f64(struct ctx *cx, const struct table *t, const struct column *c, size_t begin, size_t end,
                      double *out);
/* Text of logical row i of any column into buf (n >= 64 for numbers), "" where missing. */
struct bytes table_cell(const struct table *t, const struct column *c, size_t i, char *buf, size_t n);

/* Bytes of the folder's files; those of a column file shared with other tables count in full. 0: no table. */
uint64_t table_bytes(struct ctx *cx, const char *path);

/* A writer appends rows column by column; memory is bounded (columns spill to the folder as they grow).
 * The table appears at path only when table_writer_finish succeeds; free before that removes every trace. */
struct table_writer;
struct column_spec {
    const char *name, *anonymous;
    enum col_type type;
    enum col_kind kind;
};
status table_writer_new(struct ctx *cx, const char *path, const char *id_name, const struct column_spec *cols,
                        size_t n_cols, struct table_writer **out);
void table_writer_free(struct table_writer *w);
void table_writer_freep(struct table_writer **w);
/* Appends n rows: ids as offsets (n + 1) into text; cols[j] points to n doubles (NaN = missing), n int64_t, or a
 * struct bytes[n] for COL_STR (p NULL = missing). */
status table_writer_append(struct ctx *cx, struct table_writer *w, size_t n, const uint64_t *id_off,
                           const char *id_text, const void *const *cols);
/* meta may be NULL; not consumed. */
status table_writer_finish(struct ctx *cx, struct table_writer *w, const json_t *meta);

/* A derived table at path: the given logical rows of t, in that order (n may be 0), sharing t's column file.
 * cols: the schema to show instead of t's (same columns, other kinds or anonymous names), NULL = as t. */
status table_derive(struct ctx *cx, const char *path, const struct table *t, const uint32_t *rows, size_t n,
                    const struct column_spec *cols, const json_t *meta);
