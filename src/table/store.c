#include "table/store.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/secret.h"
#include "table/colfile.h"
#include "table/schema_db.h"
#include "table/utf8.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 20000, KEY_BYTES = 16, NAME_MOST = 250, SWEEP_AGE_S = 3600, SHOWN = 3 };

struct store {
    sqlite3 *db;
    const char *tables; /* DIR/store/tables */
};

static const char schema_sql[] =
    "CREATE TABLE tables (name_space TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE,"
    " n_rows INTEGER NOT NULL, n_cols INTEGER NOT NULL, bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " origin TEXT NOT NULL, derived INTEGER NOT NULL, PRIMARY KEY (name_space, name)) WITHOUT ROWID;"
    "CREATE TABLE uploads (at_ms INTEGER NOT NULL, file TEXT NOT NULL, name_space TEXT NOT NULL, name TEXT "
    "NOT NULL,"
    " result TEXT NOT NULL, n_rows INTEGER NOT NULL, bytes INTEGER NOT NULL, seconds REAL NOT NULL);"
    "CREATE INDEX uploads_at ON uploads(at_ms);";
static const char *const schema_steps[] = {
    /* 1 to 2: the history is listed, and forgotten, by time */
    "CREATE INDEX uploads_at ON uploads(at_ms);",
};
static const struct schema_db schema = {schema_sql, schema_steps, 1 + LEN(schema_steps)};

static status fail_sql(struct ctx *cx, const struct store *s, const char *what)
{
    int code = sqlite3_errcode(s->db);
    if (code == SQLITE_FULL) return FAIL(cx, IO, "catalogue: %s: the disk is full", what);
    if (code == SQLITE_BUSY)
        return FAIL(cx, TIMEOUT, "catalogue: %s: held by another process for %d s", what, BUSY_MS / 1000);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return FAIL(cx, FORMAT, "catalogue: %s: %s", what, sqlite3_errmsg(s->db));
    return FAIL(cx, IO, "catalogue: %s: %s", what, sqlite3_errmsg(s->db));
}

static status run(struct ctx *cx, struct store *s, const char *sql, const char *what)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : fail_sql(cx, s, what);
}

static void finalize(sqlite3_stmt **q)
{
    sqlite3_finalize(*q);
}

static status prepare(struct ctx *cx, struct store *s, const char *sql, const char *what, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(s->db, sql, -1, out, NULL) == SQLITE_OK ? OK : fail_sql(cx, s, what);
}

/* One writer at a time; what goes wrong inside is rolled back by the caller through end(). */
static status begin(struct ctx *cx, struct store *s, const char *what)
{
    return run(cx, s, "BEGIN IMMEDIATE", what);
}

static status end(struct ctx *cx, struct store *s, status st, const char *what)
{
    if (!st.code) st = run(cx, s, "COMMIT", what);
    if (st.code) (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

static void close_db(void *db)
{
    sqlite3_close((sqlite3 *)db);
}

status store_open(struct ctx *cx, const char *dir, struct store **out)
{
    struct store *s = NEW(cx, struct store, 1);
    const char *path;
    if (!s || !(s->tables = arena_printf(cx->mem, "%s/store/tables", dir)) ||
        !(path = arena_printf(cx->mem, "%s/store/catalogue.db", dir)))
        return FAIL(cx, NOMEM, "a store");
    TRY(dir_make(cx, s->tables, 0700));
    int code = sqlite3_open_v2(path, &s->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (!s->db) return FAIL(cx, NOMEM, "a store");
    if (!arena_on_free(cx->mem, close_db, s->db)) {
        close_db(s->db);
        return FAIL(cx, NOMEM, "a store");
    }
    if (code != SQLITE_OK) return FAIL(cx, IO, "open %s: %s", path, sqlite3_errmsg(s->db));
    sqlite3_extended_result_codes(s->db, 0);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    /* FULL: a table that was entered is there after a power cut, too. */
    TRY_IN(cx, run(cx, s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", "open"), "%s", path);
    TRY(schema_db_ready(cx, s->db, path, &schema, true));
    *out = s;
    return OK;
}

status store_new_path(struct ctx *cx, struct store *s, const char **path)
{
    uint8_t key[KEY_BYTES];
    char hex[2 * KEY_BYTES + 1];
    TRY(rand_bytes(cx, key, sizeof key));
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    return path_join(cx, s->tables, hex, path);
}

static status check_name(struct ctx *cx, const char *what, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MOST) return FAIL(cx, ARG, "%s has %zu bytes, want 1 to %d", what, n, NAME_MOST);
    if (!utf8_valid(name, n)) return FAIL(cx, ARG, "%s is not UTF-8", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
            return FAIL(cx, ARG, "%s has %s at byte %zu", what,
                        name[i] == '/' ? "a '/'" : "a control character", i);
    return OK;
}

static status check_names(struct ctx *cx, const char *name_space, const char *name)
{
    TRY(check_name(cx, "the namespace", name_space));
    return check_name(cx, "the table's name", name);
}

/* The folder's name, when path lies in this store; NULL otherwise. The path may be spelled in another way (relative,
 * through a link), so folders are compared themselves. */
static const char *key_of(struct ctx *cx, const struct store *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *key = slash ? slash + 1 : path;
    struct stat here, there;
    if (strlen(key) != 2 * KEY_BYTES || strspn(key, "0123456789abcdef") != 2 * KEY_BYTES) return NULL;
    const char *own = arena_printf(cx->mem, "%s/%s", s->tables, key);
    if (!own || stat(own, &here) < 0 || stat(path, &there) < 0) return NULL;
    return here.st_dev == there.st_dev && here.st_ino == there.st_ino ? key : NULL;
}

static void bind_names(sqlite3_stmt *q, const char *name_space, const char *name)
{
    sqlite3_bind_text(q, 1, name_space, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
}

/* The key under a name; NULL when there is none. */
static status find_key(struct ctx *cx, struct store *s, const char *name_space, const char *name,
                       const char **key)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    TRY(prepare(cx, s, "SELECT key FROM tables WHERE name_space = ? AND name = ?", "find", &q));
    bind_names(q, name_space, name);
    int code = sqlite3_step(q);
    *key = NULL;
    if (code == SQLITE_DONE) return OK;
    if (code != SQLITE_ROW) return fail_sql(cx, s, "find");
    *key = arena_strdup(cx->mem, (const char *)sqlite3_column_text(q, 0));
    return *key ? OK : FAIL(cx, NOMEM, "a table's key");
}

static status drop_entry(struct ctx *cx, struct store *s, const char *name_space, const char *name)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    TRY(prepare(cx, s, "DELETE FROM tables WHERE name_space = ? AND name = ?", "delete", &q));
    bind_names(q, name_space, name);
    return sqlite3_step(q) == SQLITE_DONE ? OK : fail_sql(cx, s, "delete");
}

static status insert_entry(struct ctx *cx, struct store *s, const struct table_info *i, const char *key)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    TRY(prepare(cx, s, "INSERT INTO tables VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", "enter", &q));
    bind_names(q, i->name_space, i->name);
    sqlite3_bind_text(q, 3, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 4, (sqlite3_int64)i->n_rows);
    sqlite3_bind_int64(q, 5, (sqlite3_int64)i->n_cols);
    sqlite3_bind_int64(q, 6, (sqlite3_int64)i->bytes);
    sqlite3_bind_int64(q, 7, i->created_ms);
    sqlite3_bind_text(q, 8, i->origin, -1, SQLITE_STATIC);
    sqlite3_bind_int(q, 9, i->derived);
    return sqlite3_step(q) == SQLITE_DONE ? OK : fail_sql(cx, s, "enter");
}

static status enter(struct ctx *cx, struct store *s, const struct table_info *i, const char *key,
                    bool replace, const char **old)
{
    TRY(find_key(cx, s, i->name_space, i->name, old));
    if (*old && !replace) return FAIL(cx, EXISTS, "there is a table %s/%s already", i->name_space, i->name);
    if (!file_exists(i->path)) return FAIL(cx, NOTFOUND, "no table at %s", i->path); /* swept meanwhile */
    if (*old) TRY(drop_entry(cx, s, i->name_space, i->name));
    return insert_entry(cx, s, i, key);
}

/* What is left behind when this fails is swept. */
static void remove_folder(struct ctx *cx, const struct store *s, const char *key)
{
    struct err kept = cx->err;
    const char *path;
    status st = path_join(cx, s->tables, key, &path);
    if (!st.code) st = dir_remove(cx, path);
    if (st.code) cx->err = kept;
}

static status sync_folder(struct ctx *cx, const char *path)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", path);
    return fsync(fd) == 0 ? OK : FAIL(cx, IO, "sync %s: %m", path);
}

status store_add(struct ctx *cx, struct store *s, const char *name_space, const char *name, const char *path,
                 const char *origin, bool replace)
{
    const char *key = key_of(cx, s, path), *old = NULL;
    const struct table *t;
    TRY(check_names(cx, name_space, name));
    if (!key) return FAIL(cx, ARG, "%s is no table folder of this store", path);
    struct arena_mark mark = arena_mark(cx->mem);
    status st = table_open(cx, path, &t);
    struct table_info i = {name_space, name, path, 0, 0, 0, wall_ms(), origin, false};
    if (!st.code) {
        i.n_rows = t->n_rows;
        i.n_cols = t->n_cols;
        i.bytes = table_bytes(cx, path);
        i.derived = t->rows != NULL;
        st = sync_folder(cx, path);
    }
    if (!st.code) st = sync_folder(cx, s->tables);
    if (!st.code) st = begin(cx, s, "enter");
    if (!st.code) st = end(cx, s, enter(cx, s, &i, key, replace, &old), "enter");
    if (!st.code && old) remove_folder(cx, s, old);
    arena_rewind(cx->mem, mark);
    return st;
}

static status text_at(struct ctx *cx, sqlite3_stmt *q, int i, const char **out)
{
    const unsigned char *p = sqlite3_column_text(q, i);
    *out = arena_strdup(cx->mem, p ? (const char *)p : "");
    return *out ? OK : FAIL(cx, NOMEM, "a catalogue entry");
}

static status read_info(struct ctx *cx, const struct store *s, sqlite3_stmt *q, struct table_info *out)
{
    const char *key;
    TRY(text_at(cx, q, 0, &out->name_space));
    TRY(text_at(cx, q, 1, &out->name));
    TRY(text_at(cx, q, 2, &key));
    TRY(path_join(cx, s->tables, key, &out->path));
    out->n_rows = (uint64_t)sqlite3_column_int64(q, 3);
    out->n_cols = (uint64_t)sqlite3_column_int64(q, 4);
    out->bytes = (uint64_t)sqlite3_column_int64(q, 5);
    out->created_ms = sqlite3_column_int64(q, 6);
    TRY(text_at(cx, q, 7, &out->origin));
    out->derived = sqlite3_column_int(q, 8) != 0;
    return OK;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to insert, delete or replace. Names longer than 64 bytes are compared by their beginnings. */
static size_t distance(const char *a, const char *b)
{
    size_t row[65], n = strnlen(a, 64), m = strnlen(b, 64);
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = least(diagonal + (a[i - 1] != b[j - 1]), least(row[j], row[j - 1]) + 1);
            diagonal = row[j];
            row[j] = d;
        }
    }
    return row[m];
}

/* The SHOWN nearest names, nearest first, as "; there is a/b, a/c". */
static status fail_absent(struct ctx *cx, struct store *s, const char *name_space, const char *name)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    const char *best[SHOWN] = {NULL};
    size_t far[SHOWN] = {SIZE_MAX, SIZE_MAX, SIZE_MAX}, n = 0;
    TRY(prepare(cx, s, "SELECT name_space, name FROM tables", "find", &q));
    while (sqlite3_step(q) == SQLITE_ROW) {
        const char *ns = (const char *)sqlite3_column_text(q, 0),
                   *nm = (const char *)sqlite3_column_text(q, 1);
        size_t d = distance(name_space, ns) + distance(name, nm), k = SHOWN;
        n++;
        while (k > 0 && d < far[k - 1])
            k--;
        if (k == SHOWN) continue;
        memmove(best + k + 1, best + k, (SHOWN - 1 - k) * sizeof *best);
        memmove(far + k + 1, far + k, (SHOWN - 1 - k) * sizeof *far);
        far[k] = d;
        if (!(best[k] = arena_printf(cx->mem, "%.80s/%.80s", ns, nm))) return FAIL(cx, NOMEM, "a name");
    }
    if (n == 0) return FAIL(cx, NOTFOUND, "no table %.100s/%.100s; the store is empty", name_space, name);
    return FAIL(cx, NOTFOUND, "no table %.100s/%.100s; nearest: %s%s%s%s%s", name_space, name, best[0],
                best[1] ? ", " : "", best[1] ? best[1] : "", best[2] ? ", " : "", best[2] ? best[2] : "");
}

status store_find(struct ctx *cx, struct store *s, const char *name_space, const char *name,
                  struct table_info *out)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    struct table_info i = {0};
    TRY(check_names(cx, name_space, name));
    TRY(prepare(cx, s, "SELECT * FROM tables WHERE name_space = ? AND name = ?", "find", &q));
    bind_names(q, name_space, name);
    int code = sqlite3_step(q);
    if (code == SQLITE_DONE) return fail_absent(cx, s, name_space, name);
    if (code != SQLITE_ROW) return fail_sql(cx, s, "find");
    TRY(read_info(cx, s, q, &i));
    *out = i;
    return OK;
}

static status count(struct ctx *cx, struct store *s, const char *sql, size_t *out)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    TRY(prepare(cx, s, sql, "count", &q));
    if (sqlite3_step(q) != SQLITE_ROW) return fail_sql(cx, s, "count");
    *out = (size_t)sqlite3_column_int64(q, 0);
    return OK;
}

static status list(struct ctx *cx, struct store *s, struct table_info **out, size_t *n)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    size_t all, k = 0;
    int code;
    TRY(count(cx, s, "SELECT count(*) FROM tables", &all));
    struct table_info *v = NEW(cx, struct table_info, all + 1);
    if (!v) return FAIL(cx, NOMEM, "%zu tables", all);
    TRY(prepare(cx, s, "SELECT * FROM tables ORDER BY created_ms DESC, name_space, name", "list", &q));
    while ((code = sqlite3_step(q)) == SQLITE_ROW && k < all)
        TRY(read_info(cx, s, q, &v[k++]));
    if (code != SQLITE_ROW && code != SQLITE_DONE) return fail_sql(cx, s, "list");
    *out = v;
    *n = k;
    return OK;
}

status store_list(struct ctx *cx, struct store *s, struct table_info **out, size_t *n)
{
    TRY(run(cx, s, "BEGIN", "list")); /* so that count and rows are of one moment */
    return end(cx, s, list(cx, s, out, n), "list");
}

static status forget(struct ctx *cx, struct store *s, const char *name_space, const char *name,
                     const char **key)
{
    TRY(find_key(cx, s, name_space, name, key));
    if (!*key) return fail_absent(cx, s, name_space, name);
    return drop_entry(cx, s, name_space, name);
}

status store_delete(struct ctx *cx, struct store *s, const char *name_space, const char *name)
{
    const char *key;
    TRY(check_names(cx, name_space, name));
    TRY(begin(cx, s, "delete"));
    TRY(end(cx, s, forget(cx, s, name_space, name, &key), "delete"));
    remove_folder(cx, s, key);
    return OK;
}

/* Seconds since anything in the folder was written; -1: it is gone. A long import keeps its folder young. */
static int64_t age_s(struct ctx *cx, const char *path)
{
    struct stat st;
    const char **names = NULL;
    size_t n = 0;
    if (stat(path, &st) < 0) return -1;
    int64_t newest = st.st_mtim.tv_sec, now = wall_ms() / 1000;
    if (dir_list(cx, path, &names, &n).code) n = 0;
    for (size_t i = 0; i < n; i++) {
        const char *file = arena_printf(cx->mem, "%s/%s", path, names[i]);
        /* A derived table's data.col is its parent's and says nothing of this folder; younger is only safer. */
        if (file && stat(file, &st) == 0 && st.st_mtim.tv_sec > newest) newest = st.st_mtim.tv_sec;
    }
    return now > newest ? now - newest : 0;
}

static status sweep(struct ctx *cx, struct store *s, size_t *n_removed)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    const char **names, *path;
    size_t n;
    TRY(dir_list(cx, s->tables, &names, &n));
    TRY(prepare(cx, s, "SELECT 1 FROM tables WHERE key = ?", "sweep", &q));
    for (size_t i = 0; i < n; i++) {
        sqlite3_reset(q);
        sqlite3_bind_text(q, 1, names[i], -1, SQLITE_STATIC);
        int code = sqlite3_step(q);
        if (code == SQLITE_ROW) continue;
        if (code != SQLITE_DONE) return fail_sql(cx, s, "sweep");
        TRY(path_join(cx, s->tables, names[i], &path));
        if (age_s(cx, path) < SWEEP_AGE_S) continue;
        TRY(dir_remove(cx, path));
        ++*n_removed;
    }
    return OK;
}

status store_sweep(struct ctx *cx, struct store *s, size_t *n_removed)
{
    *n_removed = 0;
    struct arena_mark mark = arena_mark(cx->mem);
    status st = begin(cx, s, "sweep"); /* held, so that nothing is entered between the look and the removal */
    if (!st.code) st = end(cx, s, sweep(cx, s, n_removed), "sweep");
    arena_rewind(cx->mem, mark);
    return st;
}

status store_record_upload(struct ctx *cx, struct store *s, const struct upload_record *r)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    TRY(prepare(cx, s, "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "record an upload", &q));
    sqlite3_bind_int64(q, 1, r->at_ms);
    sqlite3_bind_text(q, 2, r->file, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, r->name_space, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 4, r->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 5, r->result, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 6, (sqlite3_int64)r->n_rows);
    sqlite3_bind_int64(q, 7, (sqlite3_int64)r->bytes);
    sqlite3_bind_double(q, 8, r->seconds);
    return sqlite3_step(q) == SQLITE_DONE ? OK : fail_sql(cx, s, "record an upload");
}

static status uploads(struct ctx *cx, struct store *s, size_t max, struct upload_record **out, size_t *n)
{
    CLEANUP(finalize) sqlite3_stmt *q = NULL;
    size_t all, k = 0;
    TRY(count(cx, s, "SELECT count(*) FROM uploads", &all));
    if (all > max) all = max;
    struct upload_record *v = NEW(cx, struct upload_record, all + 1);
    if (!v) return FAIL(cx, NOMEM, "%zu uploads", all);
    TRY(prepare(cx, s, "SELECT * FROM uploads ORDER BY at_ms DESC, rowid DESC", "uploads", &q));
    while (k < all && sqlite3_step(q) == SQLITE_ROW) {
        struct upload_record *r = &v[k++];
        r->at_ms = sqlite3_column_int64(q, 0);
        TRY(text_at(cx, q, 1, &r->file));
        TRY(text_at(cx, q, 2, &r->name_space));
        TRY(text_at(cx, q, 3, &r->name));
        TRY(text_at(cx, q, 4, &r->result));
        r->n_rows = (uint64_t)sqlite3_column_int64(q, 5);
        r->bytes = (uint64_t)sqlite3_column_int64(q, 6);
        r->seconds = sqlite3_column_double(q, 7);
    }
    *out = v;
    *n = k;
    return OK;
}

status store_uploads(struct ctx *cx, struct store *s, size_t max, struct upload_record **out, size_t *n)
{
    TRY(run(cx, s, "BEGIN", "uploads"));
    return end(cx, s, uploads(cx, s, max, out, n), "uploads");
}
