/* schema_db.h - the schema of a SQLite file (PRAGMA user_version), made when new and brought forward when old.
 *
 * An older file is first copied whole to FILE.v<its version>.bak, synced; then all steps run in one transaction: whatever
 * is killed, the file is of the old version or of the new one. Several processes may open it at once: one migrates. */
#pragma once
#include "base/ctx.h"

struct sqlite3;
struct schema_db {
    const char *create;       /* SQL of a new file, of the newest version */
    const char *const *steps; /* steps[k]: SQL from version k + 1 to k + 2 */
    int version;              /* the newest; there are version - 1 steps */
};
/* db: open, in WAL mode, no transaction under way. migrate: false leaves an older file as it is.
 * STATE: a newer version than ours, or an older one and not migrate. NOTFOUND: empty and not migrate. IO. */
status schema_db_ready(struct ctx *cx, struct sqlite3 *db, const char *file, const struct schema_db *s,
                       bool migrate);
/* "ok", or the first thing that SQLite's integrity check finds; of a file that others may be writing. IO: not even that. */
status schema_db_check(struct ctx *cx, const char *file, const char **says);
