/* apidb.h - what only the API keeps: small JSON documents by kind and key, in SQLite (WAL): DIR/api.db.
 *
 * Kinds: "local" uploads and downloads as jobs · "table" what an upload said of a table · "note" of a job at a party ·
 * "tag", "model_tag" · "connector" · "party_key" · "grant" · "disabled" a table · "deployed" · "bind".
 * docs/formats/api.md lists their members. */
#pragma once
#include "base/js.h"

struct apidb;
struct doc {
    const char *key;
    json_t *value; /* goes with cx->mem */
    int64_t created_ms, updated_ms;
};
/* Makes the file when absent. Closed by cx->mem's hooks. */
status apidb_open(struct ctx *cx, const char *dir, struct apidb **out);
/* Inserts or replaces; created_ms stays that of the first. value is not consumed. */
status apidb_put(struct ctx *cx, struct apidb *d, const char *kind, const char *key, const json_t *value);
status apidb_insert(struct ctx *cx, struct apidb *d, const char *kind, const char *key,
                    const json_t *value); /* EXISTS */
/* false: none of that key. */
status apidb_get(struct ctx *cx, struct apidb *d, const char *kind, const char *key, struct doc *out,
                 bool *found);
/* Those whose keys begin with prefix; newest first, or oldest. max 0: all. */
status apidb_list(struct ctx *cx, struct apidb *d, const char *kind, const char *prefix, bool newest,
                  size_t max, struct doc **out, size_t *n);
status apidb_count(struct ctx *cx, struct apidb *d, const char *kind, size_t *n);
status apidb_delete(struct ctx *cx, struct apidb *d, const char *kind, const char *key, bool *was);
