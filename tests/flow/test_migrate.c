/* A store and a job database as norn 0.1's first schema wrote them (tests/vectors/old_store): opened, migrated with a
 * backup, and whole. */
#include "base/arena.h"
#include "base/file.h"
#include "flow/jobdb.h"
#include "table/store.h"
#include "test.h"
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *vectors(void)
{
    const char *dir = getenv("NORN_VECTORS");
    return dir ? dir : "tests/vectors";
}

static status copy_tree(struct ctx *cx, const char *from, const char *to)
{
    const char **names;
    size_t n;
    TRY(dir_make(cx, to, 0700));
    TRY(dir_list(cx, from, &names, &n));
    for (size_t i = 0; i < n; i++) {
        const char *a = arena_printf(cx->mem, "%s/%s", from, names[i]),
                   *b = arena_printf(cx->mem, "%s/%s", to, names[i]);
        struct bytes all;
        if (file_read(cx, a, 1 << 20, &all).code)
            TRY(copy_tree(cx, a, b));
        else
            TRY(file_write(cx, b, all.p, all.n, 0600));
    }
    return OK;
}

/* A copy of the old site's folder; NULL: the vectors are not here. */
static const char *old_site(struct ctx *cx)
{
    char dir[] = "/tmp/norn-migrate-XXXXXX";
    const char *from = arena_printf(cx->mem, "%s/old_store", vectors());
    if (!file_exists(from)) return NULL;
    CHECK(mkdtemp(dir));
    CHECK_OK(cx, copy_tree(cx, from, dir));
    return arena_strdup(cx->mem, dir);
}

static int version_of(const char *file)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    int version = -1;
    if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        version = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return version;
}

/* Tables and indexes with their columns, one a line: what two files must have in common. */
static const char *shape_of(struct ctx *cx, const char *file)
{
    static const char sql[] =
        "SELECT m.type || ' ' || m.name || ' ' || coalesce((SELECT group_concat(c.name || c.type || "
        "c.\"notnull\" || "
        "coalesce(c.dflt_value, ''), ', ') FROM pragma_table_info(m.name) c), m.sql) FROM sqlite_master m "
        "WHERE m.name NOT LIKE 'sqlite_%' ORDER BY 1";
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    const char *out = "";
    CHECK(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
          sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK);
    while (q && sqlite3_step(q) == SQLITE_ROW)
        out = arena_printf(cx->mem, "%s%s\n", out, (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return out;
}

/* A new site's files: what the old ones must have become. */
static const char *new_site(struct ctx *cx)
{
    char dir[] = "/tmp/norn-migrate-XXXXXX";
    struct ctx own = {.mem = arena_new(0)};
    struct jobdb *db;
    struct store *s;
    CHECK(mkdtemp(dir));
    CHECK_OK(&own, jobdb_open(&own, arena_printf(own.mem, "%s/jobs.db", dir), false, &db));
    CHECK_OK(&own, store_open(&own, dir, &s));
    arena_free(own.mem);
    return arena_strdup(cx->mem, dir);
}

static void same_as_new(struct ctx *cx, const char *dir, const char *name)
{
    const char *fresh = new_site(cx), *a = arena_printf(cx->mem, "%s/%s", dir, name),
               *b = arena_printf(cx->mem, "%s/%s", fresh, name);
    CHECK(version_of(a) == version_of(b) && version_of(b) > 1);
    CHECK(strcmp(shape_of(cx, a), shape_of(cx, b)) == 0);
    if (strcmp(shape_of(cx, a), shape_of(cx, b)) != 0)
        printf("%s\nand\n%s", shape_of(cx, a), shape_of(cx, b));
    CHECK_OK(cx, dir_remove(cx, fresh));
}

static void set_version(const char *file, int version)
{
    sqlite3 *db = NULL;
    char sql[48];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    CHECK(sqlite3_open(file, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

static void check_jobs(struct ctx *cx, struct jobdb *db)
{
    struct job_row *jobs;
    struct task_row *tasks;
    struct output_row *outs;
    size_t n, k;
    const char *says;
    CHECK_OK(cx, jobdb_jobs(cx, db, 0, &jobs, &n));
    CHECK(n == 2);
    if (n != 2) return;
    CHECK(jobs[0].status == RUN_FAILED && strstr(jobs[0].reason, "told to fail in round 1"));
    CHECK(jobs[1].status == RUN_SUCCESS && !jobs[1].outputs_gone && !jobs[1].logs_gone);
    CHECK_OK(cx, jobdb_tasks(cx, db, jobs[1].job, &tasks, &k));
    CHECK(k == 6);
    CHECK_OK(cx, jobdb_outputs(cx, db, jobs[1].job, &outs, &k));
    CHECK(k == 4);
    CHECK_OK(cx, jobdb_check(cx, db, &says));
    CHECK(strcmp(says, "ok") == 0);
}

static void job_database(struct ctx *cx)
{
    const char *dir = old_site(cx);
    if (!dir) SKIP("no vectors");
    const char *file = arena_printf(cx->mem, "%s/jobs.db", dir),
               *bak = arena_printf(cx->mem, "%s.v1.bak", file);
    struct jobdb *db;
    CHECK(version_of(file) == 1);
    CHECK_ERR(jobdb_open(cx, file, true, &db), STATE); /* a reader leaves it as it is */
    CHECK(strstr(cx->err.msg, "version 1") && !file_exists(bak));
    struct ctx own = {.mem = arena_new(0)};
    CHECK_OK(&own, jobdb_open(&own, file, false, &db));
    check_jobs(&own, db);
    CHECK(file_exists(bak) && version_of(bak) == 1);
    arena_free(own.mem);
    same_as_new(cx, dir, "jobs.db");
    CHECK(!file_exists(arena_printf(cx->mem, "%s.tmp", bak)));
    CHECK_OK(cx, jobdb_open(cx, file, true, &db));
    check_jobs(cx, db);
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void store(struct ctx *cx)
{
    const char *dir = old_site(cx);
    if (!dir) SKIP("no vectors");
    const char *file = arena_printf(cx->mem, "%s/store/catalogue.db", dir);
    struct store *s;
    struct table_info i;
    struct upload_record *r;
    const struct table *t;
    size_t n;
    CHECK(version_of(file) == 1);
    CHECK_OK(cx, store_open(cx, dir, &s));
    CHECK(version_of(arena_printf(cx->mem, "%s.v1.bak", file)) == 1);
    same_as_new(cx, dir, "store/catalogue.db");
    CHECK_OK(cx, store_find(cx, s, "exp", "g", &i));
    CHECK(i.n_rows == 3 && i.n_cols == 2 && strcmp(i.origin, "upload t.csv") == 0);
    CHECK_OK(cx, table_open(cx, i.path, &t));
    CHECK(t->n_rows == 3 && table_label(t) && strcmp(table_label(t)->name, "y") == 0);
    CHECK_OK(cx, store_uploads(cx, s, 10, &r, &n));
    CHECK(n == 1 && r[0].n_rows == 3);
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void newer(struct ctx *cx)
{
    const char *dir = old_site(cx);
    if (!dir) SKIP("no vectors");
    const char *jobs = arena_printf(cx->mem, "%s/jobs.db", dir),
               *catalogue = arena_printf(cx->mem, "%s/store/catalogue.db", dir);
    struct jobdb *db;
    struct store *s;
    set_version(jobs, 98);
    set_version(catalogue, 99);
    CHECK_ERR(jobdb_open(cx, jobs, false, &db), STATE);
    CHECK(strstr(cx->err.msg, "has schema version 98, this norn knows up to "));
    CHECK_ERR(store_open(cx, dir, &s), STATE);
    CHECK(strstr(cx->err.msg, "99") && version_of(catalogue) == 99 && version_of(jobs) == 98);
    CHECK_OK(cx, dir_remove(cx, dir));
}

/* Four processes open the old files at once: one migrates, all of them find what was there. */
static void several_at_once(struct ctx *cx)
{
    const char *dir = old_site(cx);
    if (!dir) SKIP("no vectors");
    const char *file = arena_printf(cx->mem, "%s/jobs.db", dir);
    pid_t pid[4];
    for (size_t k = 0; k < LEN(pid); k++)
        if ((pid[k] = fork()) == 0) {
            struct jobdb *db;
            struct store *s;
            struct job_row *jobs;
            size_t n;
            _exit(jobdb_open(cx, file, false, &db).code || store_open(cx, dir, &s).code ||
                  jobdb_jobs(cx, db, 0, &jobs, &n).code || n != 2);
        }
    for (size_t k = 0; k < LEN(pid); k++) {
        int how = -1;
        CHECK(waitpid(pid[k], &how, 0) == pid[k] && how == 0);
    }
    CHECK(version_of(arena_printf(cx->mem, "%s.v1.bak", file)) == 1);
    same_as_new(cx, dir, "jobs.db");
    CHECK_OK(cx, dir_remove(cx, dir));
}

/* No room for the backup (its name is taken by a folder): nothing has changed. */
static void backup_fails(struct ctx *cx)
{
    const char *dir = old_site(cx);
    if (!dir) SKIP("no vectors");
    const char *file = arena_printf(cx->mem, "%s/jobs.db", dir);
    struct jobdb *db;
    CHECK_OK(cx, dir_make(cx, arena_printf(cx->mem, "%s.v1.bak.tmp/x", file), 0700));
    CHECK_ERR(jobdb_open(cx, file, false, &db), IO);
    CHECK(version_of(file) == 1);
    CHECK_OK(cx, dir_remove(cx, dir));
}

TEST_MAIN(T(job_database), T(store), T(newer), T(several_at_once), T(backup_fails))
