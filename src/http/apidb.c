#include "http/apidb.h"
#include "base/arena.h"
#include "base/loop.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

struct apidb {
    sqlite3 *db;
};

static status db_error(struct ctx *cx, const struct apidb *d)
{
    int code = sqlite3_extended_errcode(d->db);
    if (code == SQLITE_CONSTRAINT_PRIMARYKEY) return FAIL(cx, EXISTS, "api.db has that already");
    return FAIL(cx, IO, "api.db: %s", sqlite3_errmsg(d->db));
}

static void close_db(void *arg)
{
    struct apidb *d = arg;
    sqlite3_close_v2(d->db);
}

static void finalize(sqlite3_stmt **s)
{
    sqlite3_finalize(*s);
}

status apidb_open(struct ctx *cx, const char *dir, struct apidb **out)
{
    static const char schema[] =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "CREATE TABLE IF NOT EXISTS docs(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
        " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, PRIMARY KEY(kind, key)) WITHOUT ROWID;"
        "CREATE INDEX IF NOT EXISTS docs_age ON docs(kind, created_ms);";
    struct apidb *d = NEW(cx, struct apidb, 1);
    const char *file = arena_printf(cx->mem, "%s/api.db", dir);
    if (!d || !file || !arena_on_free(cx->mem, close_db, d)) return FAIL(cx, NOMEM, "api.db");
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite itself would make it 0644 */
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", file);
    close(fd);
    if (sqlite3_open_v2(file, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
        return db_error(cx, d);
    sqlite3_extended_result_codes(d->db, 1);
    sqlite3_busy_timeout(d->db, 5000);
    if (sqlite3_exec(d->db, schema, NULL, NULL, NULL)) return db_error(cx, d);
    *out = d;
    return OK;
}

static status prepare(struct ctx *cx, struct apidb *d, const char *sql, const char *kind, const char *key,
                      sqlite3_stmt **out)
{
    if (sqlite3_prepare_v2(d->db, sql, -1, out, NULL)) return db_error(cx, d);
    sqlite3_bind_text(*out, 1, kind, -1, SQLITE_STATIC);
    if (key) sqlite3_bind_text(*out, 2, key, -1, SQLITE_STATIC);
    return OK;
}

static status put(struct ctx *cx, struct apidb *d, const char *sql, const char *kind, const char *key,
                  const json_t *value)
{
    const char *text;
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    TRY(js_text(cx, value, &text));
    TRY(prepare(cx, d, sql, kind, key, &s));
    sqlite3_bind_text(s, 3, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, wall_ms());
    return sqlite3_step(s) == SQLITE_DONE ? OK : db_error(cx, d);
}

status apidb_put(struct ctx *cx, struct apidb *d, const char *kind, const char *key, const json_t *value)
{
    return put(cx, d,
               "INSERT INTO docs VALUES(?1,?2,?3,?4,?4) ON CONFLICT(kind, key)"
               " DO UPDATE SET value = excluded.value, updated_ms = excluded.updated_ms",
               kind, key, value);
}

status apidb_insert(struct ctx *cx, struct apidb *d, const char *kind, const char *key, const json_t *value)
{
    return put(cx, d, "INSERT INTO docs VALUES(?1,?2,?3,?4,?4)", kind, key, value);
}

static void free_json(void *j)
{
    json_decref(j);
}

/* The row that the statement stands at: key, value, times. */
static status read_doc(struct ctx *cx, sqlite3_stmt *s, struct doc *out)
{
    const char *text = (const char *)sqlite3_column_text(s, 1);
    struct doc doc = {.key = arena_strdup(cx->mem, (const char *)sqlite3_column_text(s, 0)),
                      .created_ms = sqlite3_column_int64(s, 2),
                      .updated_ms = sqlite3_column_int64(s, 3)};
    if (!doc.key || !text) return FAIL(cx, NOMEM, "api.db: a document");
    TRY(js_parse(cx, "api.db", text, (size_t)sqlite3_column_bytes(s, 1), &doc.value));
    if (!arena_on_free(cx->mem, free_json, doc.value)) {
        json_decref(doc.value);
        return FAIL(cx, NOMEM, "api.db: a document");
    }
    *out = doc;
    return OK;
}

status apidb_get(struct ctx *cx, struct apidb *d, const char *kind, const char *key, struct doc *out,
                 bool *found)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    TRY(prepare(cx, d, "SELECT key, value, created_ms, updated_ms FROM docs WHERE kind = ? AND key = ?", kind,
                key, &s));
    int rc = sqlite3_step(s);
    *found = rc == SQLITE_ROW;
    if (*found) return read_doc(cx, s, out);
    return rc == SQLITE_DONE ? OK : db_error(cx, d);
}

status apidb_count(struct ctx *cx, struct apidb *d, const char *kind, size_t *n)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    TRY(prepare(cx, d, "SELECT count(*) FROM docs WHERE kind = ?", kind, NULL, &s));
    if (sqlite3_step(s) != SQLITE_ROW) return db_error(cx, d);
    *n = (size_t)sqlite3_column_int64(s, 0);
    return OK;
}

status apidb_list(struct ctx *cx, struct apidb *d, const char *kind, const char *prefix, bool newest,
                  size_t max, struct doc **out, size_t *n)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    size_t most, got = 0;
    TRY(apidb_count(cx, d, kind, &most));
    if (max && most > max) most = max;
    struct doc *list = NEW(cx, struct doc, most + 1);
    if (!list) return FAIL(cx, NOMEM, "api.db: %zu documents", most);
    TRY(prepare(cx, d,
                newest ? "SELECT key, value, created_ms, updated_ms FROM docs WHERE kind = ?1"
                         " AND substr(key, 1, length(?2)) = ?2 ORDER BY created_ms DESC, key DESC"
                       : "SELECT key, value, created_ms, updated_ms FROM docs WHERE kind = ?1"
                         " AND substr(key, 1, length(?2)) = ?2 ORDER BY created_ms, key",
                kind, prefix ? prefix : "", &s));
    while (got < most) {
        int rc = sqlite3_step(s);
        if (rc == SQLITE_DONE) break;
        if (rc != SQLITE_ROW) return db_error(cx, d);
        TRY(read_doc(cx, s, &list[got]));
        got++;
    }
    *out = list, *n = got;
    return OK;
}

status apidb_delete(struct ctx *cx, struct apidb *d, const char *kind, const char *key, bool *was)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    TRY(prepare(cx, d, "DELETE FROM docs WHERE kind = ? AND key = ?", kind, key, &s));
    if (sqlite3_step(s) != SQLITE_DONE) return db_error(cx, d);
    *was = sqlite3_changes(d->db) > 0;
    return OK;
}
