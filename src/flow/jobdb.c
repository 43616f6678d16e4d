#include "flow/jobdb.h"
#include "base/arena.h"
#include "base/file.h"
#include "table/schema_db.h"
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>

static const char schema_sql[] =
    "CREATE TABLE jobs(job TEXT PRIMARY KEY, initiator_role TEXT NOT NULL, initiator_party INTEGER NOT NULL,"
    " driving INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, attempt INTEGER NOT NULL,"
    " dsl TEXT NOT NULL, conf TEXT NOT NULL, model_id TEXT NOT NULL, seed INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, progress INTEGER "
    "NOT NULL, outputs_gone INTEGER NOT NULL DEFAULT 0, logs_gone INTEGER NOT NULL DEFAULT 0)"
    " WITHOUT ROWID;"
    "CREATE INDEX jobs_created ON jobs(created_ms);"
    "CREATE INDEX jobs_open ON jobs(job) WHERE status IN ('waiting','running');"
    "CREATE TABLE tasks(job TEXT NOT NULL, component TEXT NOT NULL, role TEXT NOT NULL, party INTEGER NOT "
    "NULL,"
    " attempt INTEGER NOT NULL, module TEXT NOT NULL, local INTEGER NOT NULL, status TEXT NOT NULL, error "
    "TEXT NOT NULL,"
    " pid INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, unit TEXT NOT NULL,"
    " done INTEGER NOT NULL, units INTEGER NOT NULL, sent INTEGER NOT NULL, received INTEGER NOT NULL,"
    " summary TEXT NOT NULL DEFAULT '', PRIMARY KEY(job, component, role, party, attempt)) WITHOUT ROWID;"
    "CREATE TABLE metrics(job TEXT NOT NULL, component TEXT NOT NULL, role TEXT NOT NULL, party INTEGER NOT "
    "NULL,"
    " attempt INTEGER NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, meta TEXT NOT NULL, points TEXT "
    "NOT NULL,"
    " PRIMARY KEY(job, component, role, party, attempt, namespace, name)) WITHOUT ROWID;"
    "CREATE TABLE outputs(job TEXT NOT NULL, component TEXT NOT NULL, role TEXT NOT NULL, party INTEGER NOT "
    "NULL,"
    " attempt INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL,"
    " n_rows INTEGER NOT NULL, n_cols INTEGER NOT NULL,"
    " PRIMARY KEY(job, component, role, party, attempt, position)) WITHOUT ROWID;";
static const char *const schema_steps[] = {
    /* 1 to 2: of which jobs keep_outputs and keep_logs have removed the files */
    "ALTER TABLE jobs ADD COLUMN outputs_gone INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE jobs ADD COLUMN logs_gone INTEGER NOT NULL DEFAULT 0;",
    /* 2 to 3: small enough to be counted, which the rows themselves are not */
    "CREATE INDEX IF NOT EXISTS jobs_created ON jobs(created_ms);",
};
static const struct schema_db schema = {schema_sql, schema_steps, 1 + LEN(schema_steps)};

enum sql {
    SQL_ADD_JOB,
    SQL_SET_JOB,
    SQL_JOB,
    SQL_SET_CONF,
    SQL_COUNT_JOBS,
    SQL_JOBS,
    SQL_OPEN,
    SQL_PUT_TASK,
    SQL_SUMMARY,
    SQL_TASKS,
    SQL_ADD_METRIC,
    SQL_METRICS,
    SQL_ADD_OUTPUT,
    SQL_OUTPUTS,
    SQL_OLD_JOBS,
    SQL_OLD_OUTPUTS,
    SQL_OLD_LOGS,
    SQL_DELETE_JOB,
    SQL_DELETE_TASKS,
    SQL_DELETE_METRICS,
    SQL_DELETE_OUTPUTS,
    SQL_SET_GONE,
    SQL_COUNTS,
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_COUNT
};
#define JOB_COLUMNS                                                                                          \
    "job, initiator_role, initiator_party, driving, status, reason, attempt, dsl, conf, model_id, seed,"     \
    " created_ms, started_ms, ended_ms, progress, outputs_gone, logs_gone"
#define ENDED "status NOT IN ('waiting', 'running')"
#define NEWEST(t)                                                                                            \
    t ".attempt = (SELECT max(attempt) FROM tasks n WHERE n.job = " t ".job AND n.component = " t            \
      ".component AND n.role = " t ".role AND n.party = " t ".party)"
static const char *const sql_text[SQL_COUNT] = {
    [SQL_ADD_JOB] = "INSERT INTO jobs(" JOB_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_SET_JOB] = "UPDATE jobs SET status=?2, reason=?3, attempt=?4, started_ms=?5, ended_ms=?6, "
                    "progress=?7 WHERE job=?1",
    [SQL_JOB] = "SELECT " JOB_COLUMNS " FROM jobs WHERE job=?",
    [SQL_SET_CONF] = "UPDATE jobs SET conf=?2 WHERE job=?1",
    [SQL_COUNT_JOBS] = "SELECT count(*) FROM jobs INDEXED BY jobs_created",
    [SQL_JOBS] = "SELECT " JOB_COLUMNS " FROM jobs ORDER BY job DESC LIMIT ?",
    [SQL_OPEN] = "SELECT " JOB_COLUMNS " FROM jobs WHERE status IN ('waiting','running') ORDER BY job",
    [SQL_PUT_TASK] =
        "INSERT INTO tasks(job, component, role, party, attempt, module, local, status, error, pid, "
        "started_ms, ended_ms,"
        " unit, done, units, sent, received) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET status=excluded.status, error=excluded.error, pid=excluded.pid,"
        " started_ms=excluded.started_ms, ended_ms=excluded.ended_ms, unit=excluded.unit, done=excluded.done,"
        " units=excluded.units, sent=excluded.sent, received=excluded.received",
    [SQL_SUMMARY] =
        "UPDATE tasks SET summary=?6 WHERE job=?1 AND component=?2 AND role=?3 AND party=?4 AND attempt=?5",
    [SQL_TASKS] = "SELECT job, component, role, party, attempt, module, local, status, error, pid, "
                  "started_ms, ended_ms, unit,"
                  " done, units, sent, received, summary FROM tasks t WHERE job=? AND " NEWEST("t"),
    [SQL_ADD_METRIC] =
        "INSERT OR REPLACE INTO metrics(job, component, role, party, attempt, namespace, name, meta, points)"
        " VALUES(?,?,?,?,?,?,?,?,?)",
    [SQL_METRICS] = "SELECT namespace, name, meta, points FROM metrics m WHERE job=? AND component=? AND "
                    "role=? AND party=?"
                    " AND " NEWEST("m") " ORDER BY namespace, name",
    [SQL_ADD_OUTPUT] =
        "INSERT OR REPLACE INTO outputs(job, component, role, party, attempt, position, name, path, n_rows,"
        " n_cols) VALUES(?,?,?,?,?,?,?,?,?,?)",
    [SQL_OUTPUTS] = "SELECT component, role, party, attempt, position, name, path, n_rows, n_cols FROM "
                    "outputs o WHERE job=?"
                    " AND " NEWEST("o") " ORDER BY component, role, party, position",
    [SQL_OLD_JOBS] =
        "SELECT job FROM jobs WHERE " ENDED " AND (ended_ms < ?1 OR job NOT IN (SELECT job FROM jobs "
        "ORDER BY job DESC LIMIT ?2)) ORDER BY job LIMIT ?3",
    [SQL_OLD_OUTPUTS] =
        "SELECT job FROM jobs WHERE " ENDED " AND NOT outputs_gone AND ended_ms < ?1 ORDER BY job LIMIT ?3",
    [SQL_OLD_LOGS] =
        "SELECT job FROM jobs WHERE " ENDED " AND NOT logs_gone AND ended_ms < ?1 ORDER BY job LIMIT ?3",
    [SQL_DELETE_JOB] = "DELETE FROM jobs WHERE job=? AND " ENDED,
    [SQL_DELETE_TASKS] = "DELETE FROM tasks WHERE job=?",
    [SQL_DELETE_METRICS] = "DELETE FROM metrics WHERE job=?",
    [SQL_DELETE_OUTPUTS] = "DELETE FROM outputs WHERE job=?",
    [SQL_SET_GONE] =
        "UPDATE jobs SET outputs_gone=outputs_gone OR ?2, logs_gone=logs_gone OR ?3 WHERE job=?1",
    [SQL_COUNTS] = "SELECT status, count(*) FROM jobs GROUP BY status",
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
};

struct jobdb {
    sqlite3 *db;
    sqlite3_stmt *stmts[SQL_COUNT];
    bool lost; /* a text of a row, for want of memory */
};

static const char *const status_names[RUN_COUNT] = {"waiting",  "running", "success", "failed",
                                                    "canceled", "timeout", "pass"};

const char *run_status_name(enum run_status s)
{
    return status_names[s];
}

bool run_status_parse(const char *s, enum run_status *out)
{
    for (size_t i = 0; i < RUN_COUNT; i++)
        if (strcmp(status_names[i], s) == 0) {
            *out = (enum run_status)i;
            return true;
        }
    return false;
}

static status db_error(struct ctx *cx, struct jobdb *db, const char *what)
{
    int code = sqlite3_extended_errcode(db->db);
    if (code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_UNIQUE)
        return FAIL(cx, EXISTS, "job database: %s", sqlite3_errmsg(db->db));
    if ((code & 0xff) == SQLITE_FULL) return FAIL(cx, IO, "job database: the disk is full");
    return FAIL(cx, IO, "job database: %s: %s", what, sqlite3_errmsg(db->db));
}

/* Binds by types ('s' text, 'i' int64) and leaves the statement before its first step. */
static status query(struct ctx *cx, struct jobdb *db, enum sql which, sqlite3_stmt **out, const char *types,
                    ...)
{
    sqlite3_stmt *s = db->stmts[which];
    va_list ap;
    int rc = SQLITE_OK;
    if (!s && sqlite3_prepare_v3(db->db, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT, &s, NULL))
        return db_error(cx, db, sql_text[which]);
    db->stmts[which] = s;
    sqlite3_reset(s);
    va_start(ap, types);
    for (int i = 0; types[i] && !rc; i++) {
        if (types[i] == 's') {
            const char *text = va_arg(ap, const char *);
            rc = sqlite3_bind_text(s, i + 1, text ? text : "", -1, SQLITE_TRANSIENT);
        } else {
            rc = sqlite3_bind_int64(s, i + 1, va_arg(ap, int64_t));
        }
    }
    va_end(ap);
    *out = s;
    return rc ? db_error(cx, db, "bind") : OK;
}

static status step(struct ctx *cx, struct jobdb *db, sqlite3_stmt *s, bool *row)
{
    int rc = sqlite3_step(s);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) return OK;
    status st = rc == SQLITE_DONE ? OK : db_error(cx, db, sqlite3_sql(s));
    sqlite3_reset(s);
    return st;
}

/* Runs a statement that gives no rows. */
static status finish(struct ctx *cx, struct jobdb *db, sqlite3_stmt *s)
{
    bool row;
    return step(cx, db, s, &row);
}

static void close_db(void *arg)
{
    struct jobdb *db = arg;
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->stmts[i]);
    sqlite3_close(db->db);
}

status jobdb_open(struct ctx *cx, const char *file, bool read_only, struct jobdb **out)
{
    struct jobdb *db = NEW(cx, struct jobdb, 1);
    if (!db || !arena_on_free(cx->mem, close_db, db)) return FAIL(cx, NOMEM, "job database");
    if (read_only && !file_exists(file))
        return FAIL(cx, NOTFOUND, "no job database %s: no job ran here yet", file);
    /* A reader opens for writing, too: without a running site it must recover the WAL. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (read_only ? 0 : SQLITE_OPEN_CREATE);
    if (sqlite3_open_v2(file, &db->db, flags, NULL)) return db_error(cx, db, file);
    sqlite3_extended_result_codes(db->db, 1);
    sqlite3_busy_timeout(db->db, 5000);
    if (sqlite3_exec(db->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-4096",
                     NULL, NULL, NULL))
        return db_error(cx, db, file);
    TRY(schema_db_ready(cx, db->db, file, &schema, !read_only));
    *out = db;
    return OK;
}

status jobdb_begin(struct ctx *cx, struct jobdb *db)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_BEGIN, &s, ""));
    return finish(cx, db, s);
}

status jobdb_commit(struct ctx *cx, struct jobdb *db)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_COMMIT, &s, ""));
    return finish(cx, db, s);
}

void jobdb_rollback(struct jobdb *db)
{
    if (!sqlite3_get_autocommit(db->db)) sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
}

status jobdb_check(struct ctx *cx, struct jobdb *db, const char **out)
{
    sqlite3_stmt *s = NULL;
    *out = NULL;
    if (sqlite3_prepare_v2(db->db, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        *out = arena_strdup(cx->mem, (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    return *out ? OK : db_error(cx, db, "integrity_check");
}

/* ---- rows ---- */

/* "" and db->lost: out of memory. Columns are NOT NULL. */
static const char *text_at(struct ctx *cx, struct jobdb *db, sqlite3_stmt *s, int i)
{
    const char *p = (const char *)sqlite3_column_text(s, i), *t = p ? arena_strdup(cx->mem, p) : NULL;
    db->lost = db->lost || !t;
    return t ? t : "";
}

/* After the texts of one or all rows: none may be missing in silence. */
static status texts_ok(struct ctx *cx, struct jobdb *db)
{
    bool lost = db->lost;
    db->lost = false;
    return lost ? FAIL(cx, NOMEM, "job database: rows") : OK;
}

static enum run_status status_at(sqlite3_stmt *s, int i)
{
    enum run_status st = RUN_FAILED;
    const char *t = (const char *)sqlite3_column_text(s, i);
    if (t) (void)run_status_parse(t, &st);
    return st;
}

static struct party party_at(sqlite3_stmt *s, int i)
{
    struct party p = {.id = (uint32_t)sqlite3_column_int64(s, i + 1)};
    const char *t = (const char *)sqlite3_column_text(s, i);
    if (t) (void)role_parse(t, &p.role);
    return p;
}

/* An arena array with room for one more element than n; NULL: out of memory. */
static void *grow(struct ctx *cx, void *list, size_t n, size_t size)
{
    if (n != 0 && (n < 16 || (n & (n - 1)) != 0)) return list;
    void *more = arena_alloc_n(cx->mem, n < 16 ? 16 : 2 * n, size, 16);
    if (more && n) memcpy(more, list, n * size);
    return more;
}

/* The statement must not stay in the middle of its rows: that is a read transaction that no one ends. */
static status no_room(struct ctx *cx, sqlite3_stmt *s, size_t count)
{
    sqlite3_reset(s);
    return FAIL(cx, NOMEM, "%zu rows", count);
}

static void read_job(struct ctx *cx, struct jobdb *db, sqlite3_stmt *s, struct job_row *j)
{
    *j = (struct job_row){
        .job = text_at(cx, db, s, 0),
        .initiator = party_at(s, 1),
        .driving = sqlite3_column_int(s, 3) != 0,
        .status = status_at(s, 4),
        .reason = text_at(cx, db, s, 5),
        .attempt = sqlite3_column_int64(s, 6),
        .dsl = text_at(cx, db, s, 7),
        .conf = text_at(cx, db, s, 8),
        .model_id = text_at(cx, db, s, 9),
        .seed = sqlite3_column_int64(s, 10),
        .created_ms = sqlite3_column_int64(s, 11),
        .started_ms = sqlite3_column_int64(s, 12),
        .ended_ms = sqlite3_column_int64(s, 13),
        .progress = sqlite3_column_int64(s, 14),
        .outputs_gone = sqlite3_column_int(s, 15) != 0,
        .logs_gone = sqlite3_column_int(s, 16) != 0,
    };
}

status jobdb_add_job(struct ctx *cx, struct jobdb *db, const struct job_row *j)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_ADD_JOB, &s, "ssiississsiiiiiii", j->job, role_name(j->initiator.role),
              (int64_t)j->initiator.id, (int64_t)j->driving, run_status_name(j->status), j->reason,
              j->attempt, j->dsl, j->conf, j->model_id, j->seed, j->created_ms, j->started_ms, j->ended_ms,
              j->progress, (int64_t)j->outputs_gone, (int64_t)j->logs_gone));
    return finish(cx, db, s);
}

status jobdb_set_job(struct ctx *cx, struct jobdb *db, const struct job_row *j)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_SET_JOB, &s, "sssiiii", j->job, run_status_name(j->status), j->reason, j->attempt,
              j->started_ms, j->ended_ms, j->progress));
    return finish(cx, db, s);
}

status jobdb_set_conf(struct ctx *cx, struct jobdb *db, const char *job, const char *conf)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_SET_CONF, &s, "ss", job, conf));
    return finish(cx, db, s);
}

status jobdb_count(struct ctx *cx, struct jobdb *db, size_t *n)
{
    sqlite3_stmt *s;
    bool row;
    TRY(query(cx, db, SQL_COUNT_JOBS, &s, ""));
    TRY(step(cx, db, s, &row));
    *n = row ? (size_t)sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return OK;
}

status jobdb_job(struct ctx *cx, struct jobdb *db, const char *job, struct job_row *out)
{
    sqlite3_stmt *s;
    bool row;
    TRY(query(cx, db, SQL_JOB, &s, "s", job));
    TRY(step(cx, db, s, &row));
    if (!row) return FAIL(cx, NOTFOUND, "no job %.40s at this site", job);
    struct job_row j;
    read_job(cx, db, s, &j);
    sqlite3_reset(s);
    TRY(texts_ok(cx, db));
    *out = j;
    return OK;
}

static status all_jobs(struct ctx *cx, struct jobdb *db, sqlite3_stmt *s, struct job_row **out, size_t *n)
{
    struct job_row *list = NULL;
    size_t count = 0;
    for (bool row;;) {
        TRY(step(cx, db, s, &row));
        if (!row) break;
        if (!(list = grow(cx, list, count, sizeof *list))) return no_room(cx, s, count);
        read_job(cx, db, s, &list[count++]);
    }
    TRY(texts_ok(cx, db));
    *out = list, *n = count;
    return OK;
}

status jobdb_jobs(struct ctx *cx, struct jobdb *db, size_t max, struct job_row **out, size_t *n)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_JOBS, &s, "i", max ? (int64_t)max : (int64_t)-1));
    return all_jobs(cx, db, s, out, n);
}

status jobdb_open_jobs(struct ctx *cx, struct jobdb *db, struct job_row **out, size_t *n)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_OPEN, &s, ""));
    return all_jobs(cx, db, s, out, n);
}

status jobdb_put_task(struct ctx *cx, struct jobdb *db, const struct task_row *t)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_PUT_TASK, &s, "sssiisissiiisiiii", t->job, t->component, role_name(t->party.role),
              (int64_t)t->party.id, t->attempt, t->module, (int64_t)t->local, run_status_name(t->status),
              t->error, t->pid, t->started_ms, t->ended_ms, t->unit, t->done, t->all, t->sent, t->received));
    return finish(cx, db, s);
}

status jobdb_set_summary(struct ctx *cx, struct jobdb *db, const struct task_row *t)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_SUMMARY, &s, "sssiis", t->job, t->component, role_name(t->party.role),
              (int64_t)t->party.id, t->attempt, t->summary));
    return finish(cx, db, s);
}

status jobdb_tasks(struct ctx *cx, struct jobdb *db, const char *job, struct task_row **out, size_t *n)
{
    sqlite3_stmt *s;
    struct task_row *list = NULL;
    size_t count = 0;
    TRY(query(cx, db, SQL_TASKS, &s, "s", job));
    for (bool row;;) {
        TRY(step(cx, db, s, &row));
        if (!row) break;
        if (!(list = grow(cx, list, count, sizeof *list))) return no_room(cx, s, count);
        list[count++] = (struct task_row){
            .job = text_at(cx, db, s, 0),
            .component = text_at(cx, db, s, 1),
            .party = party_at(s, 2),
            .attempt = sqlite3_column_int64(s, 4),
            .module = text_at(cx, db, s, 5),
            .local = sqlite3_column_int(s, 6) != 0,
            .status = status_at(s, 7),
            .error = text_at(cx, db, s, 8),
            .pid = sqlite3_column_int64(s, 9),
            .started_ms = sqlite3_column_int64(s, 10),
            .ended_ms = sqlite3_column_int64(s, 11),
            .unit = text_at(cx, db, s, 12),
            .done = sqlite3_column_int64(s, 13),
            .all = sqlite3_column_int64(s, 14),
            .sent = sqlite3_column_int64(s, 15),
            .received = sqlite3_column_int64(s, 16),
            .summary = text_at(cx, db, s, 17),
        };
    }
    TRY(texts_ok(cx, db));
    *out = list, *n = count;
    return OK;
}

status jobdb_add_metric(struct ctx *cx, struct jobdb *db, const struct task_row *t,
                        const struct metric_row *m)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_ADD_METRIC, &s, "sssiissss", t->job, t->component, role_name(t->party.role),
              (int64_t)t->party.id, t->attempt, m->name_space, m->name, m->meta, m->points));
    return finish(cx, db, s);
}

status jobdb_metrics(struct ctx *cx, struct jobdb *db, const char *job, const char *component,
                     struct party who, struct metric_row **out, size_t *n)
{
    sqlite3_stmt *s;
    struct metric_row *list = NULL;
    size_t count = 0;
    TRY(query(cx, db, SQL_METRICS, &s, "sssi", job, component, role_name(who.role), (int64_t)who.id));
    for (bool row;;) {
        TRY(step(cx, db, s, &row));
        if (!row) break;
        if (!(list = grow(cx, list, count, sizeof *list))) return no_room(cx, s, count);
        list[count++] = (struct metric_row){text_at(cx, db, s, 0), text_at(cx, db, s, 1),
                                            text_at(cx, db, s, 2), text_at(cx, db, s, 3)};
    }
    TRY(texts_ok(cx, db));
    *out = list, *n = count;
    return OK;
}

status jobdb_add_output(struct ctx *cx, struct jobdb *db, const struct task_row *t,
                        const struct output_row *o)
{
    sqlite3_stmt *s;
    TRY(query(cx, db, SQL_ADD_OUTPUT, &s, "sssiiissii", t->job, t->component, role_name(t->party.role),
              (int64_t)t->party.id, t->attempt, o->position, o->name, o->path, o->n_rows, o->n_cols));
    return finish(cx, db, s);
}

status jobdb_outputs(struct ctx *cx, struct jobdb *db, const char *job, struct output_row **out, size_t *n)
{
    sqlite3_stmt *s;
    struct output_row *list = NULL;
    size_t count = 0;
    TRY(query(cx, db, SQL_OUTPUTS, &s, "s", job));
    for (bool row;;) {
        TRY(step(cx, db, s, &row));
        if (!row) break;
        if (!(list = grow(cx, list, count, sizeof *list))) return no_room(cx, s, count);
        list[count++] = (struct output_row){
            .component = text_at(cx, db, s, 0),
            .party = party_at(s, 1),
            .attempt = sqlite3_column_int64(s, 3),
            .position = sqlite3_column_int64(s, 4),
            .name = text_at(cx, db, s, 5),
            .path = text_at(cx, db, s, 6),
            .n_rows = sqlite3_column_int64(s, 7),
            .n_cols = sqlite3_column_int64(s, 8),
        };
    }
    TRY(texts_ok(cx, db));
    *out = list, *n = count;
    return OK;
}

/* ---- what is no longer kept ---- */

status jobdb_old(struct ctx *cx, struct jobdb *db, enum jobdb_kept what, int64_t before_ms, int64_t newest,
                 size_t max, const char ***out, size_t *n)
{
    static const enum sql which[] = {
        [KEPT_JOBS] = SQL_OLD_JOBS, [KEPT_OUTPUTS] = SQL_OLD_OUTPUTS, [KEPT_LOGS] = SQL_OLD_LOGS};
    sqlite3_stmt *s;
    const char **list = NEW(cx, const char *, max + 1);
    size_t count = 0;
    if (!list) return FAIL(cx, NOMEM, "%zu jobs", max);
    TRY(query(cx, db, which[what], &s, "iii", before_ms, newest, (int64_t)max));
    for (bool row;;) {
        TRY(step(cx, db, s, &row));
        if (!row) break;
        if (count < max) list[count++] = text_at(cx, db, s, 0);
    }
    TRY(texts_ok(cx, db));
    *out = list, *n = count;
    return OK;
}

static status drop_rows(struct ctx *cx, struct jobdb *db, enum jobdb_kept what, const char *job)
{
    static const enum sql all[] = {SQL_DELETE_OUTPUTS, SQL_DELETE_METRICS, SQL_DELETE_TASKS, SQL_DELETE_JOB};
    sqlite3_stmt *s;
    for (size_t i = 0; i < LEN(all) && what == KEPT_JOBS; i++) {
        TRY(query(cx, db, all[i], &s, "s", job));
        TRY(finish(cx, db, s));
    }
    if (what == KEPT_OUTPUTS) {
        TRY(query(cx, db, SQL_DELETE_OUTPUTS, &s, "s", job));
        TRY(finish(cx, db, s));
    }
    if (what == KEPT_JOBS) return OK;
    TRY(query(cx, db, SQL_SET_GONE, &s, "sii", job, (int64_t)(what == KEPT_OUTPUTS),
              (int64_t)(what == KEPT_LOGS)));
    return finish(cx, db, s);
}

status jobdb_drop(struct ctx *cx, struct jobdb *db, enum jobdb_kept what, const char *job)
{
    TRY(jobdb_begin(cx, db));
    status st = drop_rows(cx, db, what, job);
    if (!st.code) st = jobdb_commit(cx, db);
    if (st.code) jobdb_rollback(db);
    return st;
}

status jobdb_counts(struct ctx *cx, struct jobdb *db, uint64_t out[RUN_COUNT])
{
    sqlite3_stmt *s;
    uint64_t counts[RUN_COUNT] = {0};
    TRY(query(cx, db, SQL_COUNTS, &s, ""));
    for (bool row;;) {
        TRY(step(cx, db, s, &row));
        if (!row) break;
        counts[status_at(s, 0)] += (uint64_t)sqlite3_column_int64(s, 1);
    }
    memcpy(out, counts, sizeof counts);
    return OK;
}
