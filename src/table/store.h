/* store.h - the tables of a site: a catalogue in SQLite (namespace and name to folder), and upload history.
 *
 * DIR/store/catalogue.db (WAL; several processes may have it open) and DIR/store/tables/<key>/. A table is first
 * written whole, then entered in the catalogue in one transaction; whatever has no entry is swept at the site's start.
 * namespace and name: 1 to 250 bytes of UTF-8 without control characters or '/'; they never become a path. */
#pragma once
#include "table/table.h"

struct store;
status store_open(struct ctx *cx, const char *dir,
                  struct store **out); /* makes it when absent; closed by cx->mem's hooks */

struct table_info {
    const char *name_space, *name;
    const char *path;
    uint64_t n_rows, n_cols, bytes;
    int64_t created_ms;
    const char *origin; /* "upload bank.csv", "job 2026... component_0.data" */
    bool derived;
};
/* A fresh path inside the store where a writer may build a table. */
status store_new_path(struct ctx *cx, struct store *s, const char **path);
/* Enters a finished table. EXISTS when the name is taken and !replace; the old one is deleted when replaced. */
status store_add(struct ctx *cx, struct store *s, const char *name_space, const char *name, const char *path,
                 const char *origin, bool replace);
/* NOTFOUND names the nearest existing names. */
status store_find(struct ctx *cx, struct store *s, const char *name_space, const char *name,
                  struct table_info *out);
status store_list(struct ctx *cx, struct store *s, struct table_info **out, size_t *n); /* newest first */
status store_delete(struct ctx *cx, struct store *s, const char *name_space, const char *name);
/* Removes folders that no entry names and that are older than an hour; returns how many. */
status store_sweep(struct ctx *cx, struct store *s, size_t *n_removed);

struct upload_record {
    int64_t at_ms;
    const char *file, *name_space, *name, *result; /* "ok" or the error */
    uint64_t n_rows, bytes;
    double seconds;
};
status store_record_upload(struct ctx *cx, struct store *s, const struct upload_record *r);
status store_uploads(struct ctx *cx, struct store *s, size_t max, struct upload_record **out, size_t *n);
