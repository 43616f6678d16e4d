/* colfile.h - the bytes of data.col and rows.idx (docs/formats/table.md draws them). Used inside this layer only.
 *
 * data.col: a head of 64 bytes, a directory of 64 bytes per column (the id column first), then sections, each starting
 * at a multiple of 64. A column has one section of fixed width (8 bytes a row; n + 1 offsets for text), for text one of
 * bytes, and one bitmap when cells are missing. The head carries CRC32C of itself and the directory. Nothing in the
 * file is believed: colfile_read checks every bound, and the offsets of text rise. */
#pragma once
#include "table/table.h"

enum { COLFILE_VERSION = 1, COLFILE_ALIGN = 64, COLFILE_HEAD = 64, COLFILE_ENTRY = 64, ROWS_HEAD = 64 };
#define TABLE_MAX_ROWS ((uint64_t)UINT32_MAX - 1)
#define TABLE_MAX_COLS 65536u
#define TABLE_MAX_NAME 1024u /* bytes of a column's name */

struct colfile_col {
    enum col_type type;
    uint64_t data_off, text_off, text_bytes; /* text: COL_STR only */
    uint64_t null_off;                       /* 0 = nothing missing */
    uint64_t n_missing;
};
struct colfile {
    uint64_t n_rows, file_bytes;
    size_t n_cols;            /* the id column included */
    struct colfile_col *cols; /* [0] is the id column: COL_STR, nothing missing */
};

/* From types, text_bytes and n_missing of every column: sets the offsets and file_bytes. LIMIT when it does not fit. */
status colfile_layout(struct ctx *cx, struct colfile *f);
/* Bytes of head and directory, and their text in cx->mem. */
size_t colfile_head_bytes(const struct colfile *f);
status colfile_head(struct ctx *cx, const struct colfile *f, const uint8_t **out, uint32_t *crc);
/* Checks the whole head and directory and all text offsets of a mapped data.col. FORMAT names field and byte offset.
 * Text offsets are checked over cx->pool. */
status colfile_read(struct ctx *cx, struct bytes file, struct colfile *out, uint32_t *crc);

/* rows.idx: a head of 64 bytes (magic, version, CRC32C of the rows, count), then n times uint32. */
status rowsfile_write(struct ctx *cx, const char *path, const uint32_t *rows, size_t n);
status rowsfile_read(struct ctx *cx, struct bytes file, uint64_t n_physical, const uint32_t **rows,
                     size_t *n);

/* table.json: the schema. Written last, whole or not at all, into a folder that is then renamed to its final name. */
struct schema {
    uint64_t n_rows, n_physical;
    const char *id_name;
    size_t n_cols;
    const struct column_spec *cols;
    uint64_t data_bytes;
    uint32_t data_crc;
    bool derived; /* has rows.idx */
};
status schema_write(struct ctx *cx, const char *folder, const struct schema *s, const json_t *meta);
/* out->cols in cx->mem; *meta is a new reference. */
status schema_read(struct ctx *cx, const char *folder, struct schema *out, json_t **meta);
/* ARG: an empty, too long, doubled or non-UTF-8 name, or too many columns. */
status schema_check(struct ctx *cx, const char *id_name, const struct column_spec *cols, size_t n_cols);

/* A name in the arena: "folder/file". */
status path_join(struct ctx *cx, const char *folder, const char *file, const char **out);
/* The folder in which path is built, path.part: made empty. EXISTS when path is there. */
status build_begin(struct ctx *cx, const char *path, const char **part);
/* Renames part to path. */
status build_end(struct ctx *cx, const char *part, const char *path);
/* Removes part, with all in it, without touching cx->err. */
void build_undo(struct ctx *cx, const char *part);

status fd_pwrite_all(struct ctx *cx, int fd, const void *p, size_t n, uint64_t off);
