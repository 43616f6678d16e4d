#include "table/schema_db.h"
#include "base/arena.h"
#include "base/file.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

enum { COPY_PAGES = 1024, BUSY_MS = 20000 };

static status fail(struct ctx *cx, sqlite3 *db, const char *file, const char *doing)
{
    return FAIL(cx, IO, "%s: %s: %s", file, doing, sqlite3_errmsg(db));
}

static status run(struct ctx *cx, sqlite3 *db, const char *file, const char *sql, const char *doing)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : fail(cx, db, file, doing);
}

static status version_of(struct ctx *cx, sqlite3 *db, const char *file, int *out)
{
    sqlite3_stmt *q = NULL;
    bool good = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
                sqlite3_step(q) == SQLITE_ROW;
    if (good) *out = sqlite3_column_int(q, 0);
    status st = good ? OK : fail(cx, db, file, "read its version");
    sqlite3_finalize(q);
    return st;
}

static void db_closep(sqlite3 **db)
{
    sqlite3_close(*db);
}

static status copy_pages(struct ctx *cx, sqlite3 *from, sqlite3 *to, const char *path)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b) return fail(cx, to, path, "begin the backup");
    int code;
    do
        code = sqlite3_backup_step(b, COPY_PAGES);
    while (code == SQLITE_OK);
    if (sqlite3_backup_finish(b) != SQLITE_OK || code != SQLITE_DONE)
        return FAIL(cx, IO, "%s: backup: %s", path, sqlite3_errstr(code));
    return OK;
}

static status sync_file(struct ctx *cx, const char *path)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? OK : FAIL(cx, IO, "sync %s: %m", path);
}

/* Copies what is committed: the caller's connection holds the write lock and has written nothing yet; SQLite copies from a
 * connection that is in no transaction, so a second one reads. */
static status backup(struct ctx *cx, const char *file, int version)
{
    const char *path = arena_printf(cx->mem, "%s.v%d.bak", file, version),
               *tmp = path ? arena_printf(cx->mem, "%s.tmp", path) : NULL;
    if (!tmp) return FAIL(cx, NOMEM, "backup of %s", file);
    if (unlink(tmp) && file_exists(tmp)) return FAIL(cx, IO, "remove %s: %m", tmp);
    CLEANUP(db_closep) sqlite3 *from = NULL;
    if (sqlite3_open_v2(file, &from, SQLITE_OPEN_READWRITE, NULL)) return fail(cx, from, file, "open");
    sqlite3_busy_timeout(from, BUSY_MS);
    {
        CLEANUP(db_closep) sqlite3 *to = NULL;
        if (sqlite3_open_v2(tmp, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL))
            return fail(cx, to, tmp, "open");
        TRY(copy_pages(cx, from, to, tmp));
    }
    TRY(sync_file(cx, tmp));
    return rename(tmp, path) == 0 ? OK : FAIL(cx, IO, "rename %s: %m", tmp);
}

/* In a transaction: the file's version cannot change under us any more. */
static status bring_forward(struct ctx *cx, sqlite3 *db, const char *file, const struct schema_db *s)
{
    int version;
    TRY(version_of(cx, db, file, &version));
    if (version >= s->version) return OK; /* another process was first */
    if (version == 0) {
        TRY(run(cx, db, file, s->create, "make the schema"));
    } else {
        TRY(backup(cx, file, version));
        for (int v = version; v < s->version; v++)
            TRY_IN(cx, run(cx, db, file, s->steps[v - 1], "migrate"), "from version %d", v);
    }
    const char *sql = arena_printf(cx->mem, "PRAGMA user_version = %d", s->version);
    return sql ? run(cx, db, file, sql, "set the version") : FAIL(cx, NOMEM, "%s", file);
}

static status in_transaction(struct ctx *cx, sqlite3 *db, const char *file, const struct schema_db *s)
{
    TRY(run(cx, db, file, "BEGIN IMMEDIATE", "begin"));
    status st = bring_forward(cx, db, file, s);
    if (!st.code) st = run(cx, db, file, "COMMIT", "commit");
    if (st.code) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

status schema_db_ready(struct ctx *cx, sqlite3 *db, const char *file, const struct schema_db *s, bool migrate)
{
    int version;
    TRY(version_of(cx, db, file, &version));
    if (version > s->version)
        return FAIL(cx, STATE, "%s has schema version %d, this norn knows up to %d: use a newer norn", file,
                    version, s->version);
    if (version == s->version) return OK;
    if (!migrate && version == 0) return FAIL(cx, NOTFOUND, "%s is empty", file);
    if (!migrate)
        return FAIL(cx, STATE,
                    "%s is of schema version %d, this norn's is %d: the next start of the site migrates it",
                    file, version, s->version);
    return in_transaction(cx, db, file, s);
}

status schema_db_check(struct ctx *cx, const char *file, const char **says)
{
    CLEANUP(db_closep) sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL)) return fail(cx, db, file, "open");
    sqlite3_busy_timeout(db, BUSY_MS);
    *says = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        *says = arena_strdup(cx->mem, (const char *)sqlite3_column_text(q, 0));
    status st = *says ? OK : fail(cx, db, file, "integrity_check");
    sqlite3_finalize(q);
    return st;
}
