/* jobdb.h - what a site knows of its jobs, in SQLite (WAL): DIR/jobs.db.
 *
 * One row a job, one a task attempt (component, role, party, attempt), metrics and output tables. Every call
 * is one transaction unless between begin and commit. The site process writes; the CLI may read at the same
 * time. docs/formats/job.md has the schema. */
#pragma once
#include "base/js.h"
#include "net/channel.h"

enum run_status {
    RUN_WAITING,
    RUN_RUNNING,
    RUN_SUCCESS,
    RUN_FAILED,
    RUN_CANCELED,
    RUN_TIMEOUT,
    RUN_PASS,
    RUN_COUNT
};
const char *run_status_name(enum run_status s); /* FATE's words: "canceled" */
bool run_status_parse(const char *s, enum run_status *out);
static inline bool run_ended(enum run_status s)
{
    return s != RUN_WAITING && s != RUN_RUNNING;
}
static inline bool run_good(enum run_status s)
{
    return s == RUN_SUCCESS || s == RUN_PASS;
}

struct job_row {
    const char *job;
    struct party initiator;
    bool driving; /* this site is the initiator's */
    enum run_status status;
    const char *reason;     /* of a bad end; "" */
    int64_t attempt;        /* 0, 1 after the first rerun, ... */
    const char *dsl, *conf; /* JSON texts */
    const char *model_id;
    int64_t seed;
    int64_t created_ms, started_ms, ended_ms; /* 0: not yet */
    int64_t progress;                         /* percent */
    bool outputs_gone, logs_gone;             /* removed by keep_outputs, keep_logs */
};
struct task_row {
    const char *job, *component, *module;
    struct party party;
    bool local; /* runs at this site */
    int64_t attempt;
    enum run_status status;
    const char *error; /* "" */
    int64_t pid, started_ms, ended_ms;
    const char *unit; /* of done and all; "" */
    int64_t done, all;
    int64_t sent, received; /* payload bytes of this task's streams */
    const char *summary;    /* JSON text; "" */
};
struct metric_row {
    const char *name_space, *name, *meta, *points; /* JSON texts */
};
struct output_row {
    const char *component;
    struct party party;
    int64_t attempt, position;
    const char *name, *path;
    int64_t n_rows, n_cols;
};
struct jobdb;
/* Closed by cx->mem's hooks. An older file is migrated (table/schema_db.h), by a reader not: STATE then. STATE: made by
 * a newer norn; IO. read_only: NOTFOUND when absent. */
status jobdb_open(struct ctx *cx, const char *file, bool read_only, struct jobdb **out);
status jobdb_begin(struct ctx *cx, struct jobdb *db);
status jobdb_commit(struct ctx *cx, struct jobdb *db);
void jobdb_rollback(struct jobdb *db); /* fine outside a transaction */
/* "ok", or what SQLite's integrity check says. */
status jobdb_check(struct ctx *cx, struct jobdb *db, const char **out);

status jobdb_add_job(struct ctx *cx, struct jobdb *db, const struct job_row *j); /* EXISTS */
status jobdb_set_job(struct ctx *cx, struct jobdb *db,
                     const struct job_row *j); /* status, reason, attempt, times, progress */
status jobdb_set_conf(struct ctx *cx, struct jobdb *db, const char *job, const char *conf);
status jobdb_count(struct ctx *cx, struct jobdb *db, size_t *n);                          /* of jobs */
status jobdb_job(struct ctx *cx, struct jobdb *db, const char *job, struct job_row *out); /* NOTFOUND */
/* Newest first; max 0 = all. */
status jobdb_jobs(struct ctx *cx, struct jobdb *db, size_t max, struct job_row **out, size_t *n);
status jobdb_open_jobs(struct ctx *cx, struct jobdb *db, struct job_row **out,
                       size_t *n); /* waiting or running */

status jobdb_put_task(struct ctx *cx, struct jobdb *db,
                      const struct task_row *t); /* inserts or replaces; not summary */
status jobdb_set_summary(struct ctx *cx, struct jobdb *db, const struct task_row *t);
/* The newest attempt of each task of the job. */
status jobdb_tasks(struct ctx *cx, struct jobdb *db, const char *job, struct task_row **out, size_t *n);

status jobdb_add_metric(struct ctx *cx, struct jobdb *db, const struct task_row *t,
                        const struct metric_row *m);
/* Of the newest attempt. */
status jobdb_metrics(struct ctx *cx, struct jobdb *db, const char *job, const char *component,
                     struct party who, struct metric_row **out, size_t *n);
status jobdb_add_output(struct ctx *cx, struct jobdb *db, const struct task_row *t,
                        const struct output_row *o);
/* Of the newest attempt of every task of the job. */
status jobdb_outputs(struct ctx *cx, struct jobdb *db, const char *job, struct output_row **out, size_t *n);

/* ---- what is no longer kept; jobs that have not ended are never among it ---- */
enum jobdb_kept { KEPT_JOBS, KEPT_OUTPUTS, KEPT_LOGS };
/* At most max jobs that have ended before that time (0: none), and for KEPT_JOBS those that are not among the `newest`
 * (negative: all are), oldest first. */
status jobdb_old(struct ctx *cx, struct jobdb *db, enum jobdb_kept what, int64_t before_ms, int64_t newest,
                 size_t max, const char ***out, size_t *n);
/* KEPT_JOBS: all records of the job; else its outputs' rows, and that its outputs or logs are gone. */
status jobdb_drop(struct ctx *cx, struct jobdb *db, enum jobdb_kept what, const char *job);
status jobdb_counts(struct ctx *cx, struct jobdb *db, uint64_t out[RUN_COUNT]); /* jobs by state */
