/* tables.h - tables as FATE shows them: rows of values, CSV lines, headers. */
#pragma once
#include "http/http_int.h"

/* How cells are shown: as the texts that were uploaded (a Reader's output, stored tables), or as the numbers that they are. */
enum cell_style { CELLS_TEXT, CELLS_NUMBERS };
/* FATE's order: id, match id, label, weight, features; predictions as they are. Indexes of columns in the arena. */
status table_order(struct ctx *cx, const struct table *t, const size_t **out);
json_t *table_header(const struct table *t, const size_t *order); /* ["id", "y", "x0"]; caller owns */
/* Rows in the order in which FATE keeps them: ids by length, then by bytes. */
status table_fate_order(struct ctx *cx, const struct table *t, const uint32_t **out);
/* Rows [0, max) as lists of values, in that order (NULL: as they stand); caller owns. */
status table_rows_json(struct ctx *cx, const struct table *t, enum cell_style style, const uint32_t *rows,
                       size_t max, json_t **out);
/* Writes header and rows to fd; max < 0: all. */
status table_csv(struct ctx *cx, const struct table *t, enum cell_style style, const uint32_t *rows,
                 bool header, int64_t max, int fd);
/* "y,x0,x1": the header as FATE keeps it in a table's schema; caller owns. */
json_t *table_schema_header(const struct table *t);
/* A gzipped tar in the making: in a file without a name; *fd is the caller's. */
struct tar;
status tar_begin(struct ctx *cx, const struct http *h, struct tar **out);
status tar_add_text(struct ctx *cx, struct tar *t, const char *name, const char *text, size_t n);
status tar_add_fd(struct ctx *cx, struct tar *t, const char *name, int fd); /* a whole file, from its start */
status tar_end(struct ctx *cx, struct tar *t, int *fd);
status temp_file(struct ctx *cx, const struct http *h, int *fd); /* read and write, without a name */
