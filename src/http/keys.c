#include "http/keys.h"
#include "base/arena.h"
#include "base/evp.h"
#include "base/loop.h"
#include "base/secret.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct keys {
    sqlite3 *db;
};

static const char *const role_names[KEY_ROLES] = {"anyone", "viewer", "modeller", "operator", "admin"};

const char *key_role_name(enum key_role r)
{
    return role_names[r];
}

bool key_role_parse(const char *s, enum key_role *out)
{
    for (size_t i = KEY_VIEWER; i < KEY_ROLES; i++)
        if (strcmp(s, role_names[i]) == 0) {
            *out = (enum key_role)i;
            return true;
        }
    return false;
}

static status db_error(struct ctx *cx, const struct keys *k)
{
    return FAIL(cx, IO, "keys/api.db: %s", sqlite3_errmsg(k->db));
}

static void close_db(void *arg)
{
    struct keys *k = arg;
    sqlite3_close_v2(k->db);
}

static void finalize(sqlite3_stmt **s)
{
    sqlite3_finalize(*s);
}

static status prepare(struct ctx *cx, struct keys *k, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(k->db, sql, -1, out, NULL) ? db_error(cx, k) : OK;
}

status keys_open(struct ctx *cx, const char *dir, struct keys **out)
{
    static const char schema[] = "CREATE TABLE IF NOT EXISTS keys(id TEXT PRIMARY KEY, name TEXT NOT NULL, "
                                 "role TEXT NOT NULL, secret TEXT NOT NULL,"
                                 " token_hash BLOB NOT NULL UNIQUE, created_ms INTEGER NOT NULL, revoked_ms "
                                 "INTEGER NOT NULL) WITHOUT ROWID";
    struct keys *k = NEW(cx, struct keys, 1);
    const char *file = arena_printf(cx->mem, "%s/keys/api.db", dir);
    if (!k || !file || !arena_on_free(cx->mem, close_db, k)) return FAIL(cx, NOMEM, "keys");
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite itself would make it 0644 */
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", file);
    close(fd);
    if (sqlite3_open_v2(file, &k->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
        return db_error(cx, k);
    sqlite3_busy_timeout(k->db, 5000);
    if (sqlite3_exec(k->db, schema, NULL, NULL, NULL)) return db_error(cx, k);
    *out = k;
    return OK;
}

/* Random bytes as lower-case hex. */
static status random_hex(struct ctx *cx, size_t n, const char **out)
{
    uint8_t b[KEY_SECRET_BYTES];
    char *text = NEW(cx, char, 2 * n + 1);
    if (!text) return FAIL(cx, NOMEM, "a key");
    TRY(rand_bytes(cx, b, n));
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = "0123456789abcdef"[b[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[b[i] & 15];
    }
    secret_wipe(b, sizeof b);
    *out = text;
    return OK;
}

static void hash_token(const char *token, uint8_t out[32])
{
    SHA256((const unsigned char *)token, strlen(token), out);
}

status keys_add(struct ctx *cx, struct keys *k, const char *name, enum key_role role, struct key *out,
                const char **token)
{
    struct key key = {.name = name, .role = role, .created_ms = wall_ms()};
    const char *hex, *t;
    uint8_t hash[32];
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)name[i] < 0x20) n = 0;
    if (n == 0 || n > 100)
        return FAIL(cx, ARG, "a key needs a name of 1 to 100 bytes without control characters");
    TRY(random_hex(cx, KEY_ID_BYTES, &key.id));
    TRY(random_hex(cx, KEY_SECRET_BYTES, &key.secret));
    TRY(random_hex(cx, KEY_SECRET_BYTES, &hex));
    if (!(t = arena_printf(cx->mem, "nt_%s", hex))) return FAIL(cx, NOMEM, "a key");
    hash_token(t, hash);
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    TRY(prepare(cx, k, "INSERT INTO keys VALUES(?,?,?,?,?,?,0)", &s));
    sqlite3_bind_text(s, 1, key.id, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 3, role_names[role], -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 4, key.secret, -1, SQLITE_STATIC);
    sqlite3_bind_blob(s, 5, hash, sizeof hash, SQLITE_STATIC);
    sqlite3_bind_int64(s, 6, key.created_ms);
    if (sqlite3_step(s) != SQLITE_DONE) return db_error(cx, k);
    *out = key, *token = t;
    return OK;
}

static const char *text_at(struct ctx *cx, sqlite3_stmt *s, int i)
{
    const char *t = arena_strdup(cx->mem, (const char *)sqlite3_column_text(s, i));
    return t ? t : "";
}

/* NOTFOUND when the statement gives no row. A role that this norn does not know may nothing: no such key. */
static status read_key(struct ctx *cx, struct keys *k, sqlite3_stmt *s, struct key *out)
{
    int rc = sqlite3_step(s);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db_error(cx, k);
    if (rc == SQLITE_DONE) return FAIL(cx, NOTFOUND, "no such key");
    struct key key = {.id = text_at(cx, s, 0),
                      .name = text_at(cx, s, 1),
                      .secret = text_at(cx, s, 3),
                      .created_ms = sqlite3_column_int64(s, 4),
                      .revoked_ms = sqlite3_column_int64(s, 5)};
    if (!key_role_parse(text_at(cx, s, 2), &key.role)) return FAIL(cx, NOTFOUND, "no such key");
    *out = key;
    return OK;
}

#define COLUMNS "SELECT id, name, role, secret, created_ms, revoked_ms FROM keys "

status keys_find_id(struct ctx *cx, struct keys *k, const char *id, struct key *out)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    TRY(prepare(cx, k, COLUMNS "WHERE id = ? AND revoked_ms = 0", &s));
    sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    return read_key(cx, k, s, out);
}

/* Looked up by its hash: 256 random bits, so the comparison's time tells nothing. */
status keys_find_token(struct ctx *cx, struct keys *k, const char *token, struct key *out)
{
    uint8_t hash[32];
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    hash_token(token, hash);
    TRY(prepare(cx, k, COLUMNS "WHERE token_hash = ? AND revoked_ms = 0", &s));
    sqlite3_bind_blob(s, 1, hash, sizeof hash, SQLITE_STATIC);
    TRY(read_key(cx, k, s, out));
    out->secret = NULL;
    return OK;
}

status keys_list(struct ctx *cx, struct keys *k, struct key **out, size_t *n)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    CLEANUP(finalize) sqlite3_stmt *count = NULL;
    TRY(prepare(cx, k, "SELECT count(*) FROM keys", &count));
    if (sqlite3_step(count) != SQLITE_ROW) return db_error(cx, k);
    size_t most = (size_t)sqlite3_column_int64(count, 0), got = 0;
    struct key *list = NEW(cx, struct key, most + 1);
    if (!list) return FAIL(cx, NOMEM, "%zu keys", most);
    TRY(prepare(cx, k, COLUMNS "ORDER BY created_ms, id", &s));
    while (got < most) {
        status st = read_key(cx, k, s, &list[got]);
        if (st.code == ERR_NOTFOUND) break;
        TRY(st);
        list[got++].secret = NULL;
    }
    *out = list, *n = got;
    return OK;
}

status keys_revoke(struct ctx *cx, struct keys *k, const char *id)
{
    CLEANUP(finalize) sqlite3_stmt *s = NULL;
    CLEANUP(finalize) sqlite3_stmt *there = NULL;
    TRY(prepare(cx, k, "UPDATE keys SET revoked_ms = ?, secret = '' WHERE id = ? AND revoked_ms = 0", &s));
    sqlite3_bind_int64(s, 1, wall_ms());
    sqlite3_bind_text(s, 2, id, -1, SQLITE_STATIC);
    if (sqlite3_step(s) != SQLITE_DONE) return db_error(cx, k);
    if (sqlite3_changes(k->db)) return OK;
    TRY(prepare(cx, k, "SELECT 1 FROM keys WHERE id = ?", &there));
    sqlite3_bind_text(there, 1, id, -1, SQLITE_STATIC);
    if (sqlite3_step(there) == SQLITE_ROW) return FAIL(cx, STATE, "key %.40s was revoked before", id);
    return FAIL(cx, NOTFOUND, "no key %.40s", id);
}
