/* csv.h - CSV (RFC 4180, and any one-byte delimiter) to a table and back.
 *
 * Two passes over the file: the first finds rows, quotes, the widths and the types, the second parses chunks of it in
 * parallel straight into the column file, so memory does not depend on the file's size. Errors name file, row (1 = the
 * first data row), column, the value's kind and the bound; nothing is left behind on failure. UTF-8 only; a BOM is
 * skipped; CRLF and LF; a last line without newline is fine. */
#pragma once
#include "table/table.h"

struct csv_options {
    char delimiter;    /* 0 = ',' */
    bool no_header;    /* columns are then id, x0, x1, ... */
    const char *id;    /* name of the id column; NULL = the first column */
    const char *label; /* name of the label column; NULL = "y" when there is one, else none */
    const char *const *
        missing; /* texts that mean missing besides the empty cell; NULL = "NA", "NaN", "nan", "null", "None", "?" */
    size_t n_missing;
    /* Declared types, "name:f64", "name:i64", "name:str"; others are inferred: i64 if all cells are integers, f64 if all
     * numbers, else str. */
    const char *const *types;
    size_t n_types;
    enum { CSV_DUP_REFUSE, CSV_DUP_FIRST, CSV_DUP_KEEP } duplicates; /* an id seen twice */
};
struct csv_result {
    uint64_t n_rows, n_cols, bytes;
    uint64_t n_duplicates; /* rows whose id was seen before (dropped with CSV_DUP_FIRST) */
    uint64_t n_missing;
};
/* Reads file into a new table folder at path. FORMAT, IO, LIMIT; EXISTS for duplicate ids under CSV_DUP_REFUSE,
 * naming the first repeated row and how many there are. progress may be NULL. */
status csv_import(struct ctx *cx, const char *file, const char *path, const struct csv_options *opt,
                  void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_all), void *arg,
                  struct csv_result *out);
/* Header line and rows; numbers as num_format_f64. Written whole or not at all. */
status csv_export(struct ctx *cx, const struct table *t, const char *file);
