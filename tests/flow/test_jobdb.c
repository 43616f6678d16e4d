/* The job database: rows in and out, newest attempts, transactions, and what a killed writer leaves. */
#include "base/arena.h"
#include "base/file.h"
#include "flow/jobdb.h"
#include "test.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct party guest = {ROLE_GUEST, 9999}, host = {ROLE_HOST, 10000};

static struct job_row job_row(const char *id)
{
    return (struct job_row){.job = id,
                            .initiator = guest,
                            .driving = true,
                            .status = RUN_WAITING,
                            .reason = "",
                            .dsl = "{}",
                            .conf = "{}",
                            .model_id = "m",
                            .seed = 1234567890123,
                            .created_ms = 5};
}

static struct task_row task_row(const char *job, struct party who, int64_t attempt)
{
    return (struct task_row){.job = job,
                             .component = "a",
                             .module = "M",
                             .party = who,
                             .local = true,
                             .attempt = attempt,
                             .status = RUN_RUNNING,
                             .error = "",
                             .unit = "trees",
                             .done = 3,
                             .all = 10};
}

static const char *fresh(struct ctx *cx)
{
    char dir[] = "/tmp/norn-jobdb-XXXXXX";
    CHECK(mkdtemp(dir));
    return arena_strdup(cx->mem, dir);
}

static void rows(struct ctx *cx)
{
    const char *dir = fresh(cx), *file = arena_printf(cx->mem, "%s/jobs.db", dir), *says;
    struct jobdb *db;
    struct job_row j = job_row("j1"), got, *jobs;
    struct task_row t = task_row("j1", guest, 0), u = task_row("j1", host, 0), *tasks;
    size_t n;
    CHECK_ERR(jobdb_open(cx, file, true, &db), NOTFOUND);
    CHECK_OK(cx, jobdb_open(cx, file, false, &db));
    CHECK_OK(cx, jobdb_add_job(cx, db, &j));
    CHECK_ERR(jobdb_add_job(cx, db, &j), EXISTS);
    j.status = RUN_FAILED, j.reason = "why", j.ended_ms = 9, j.progress = 50;
    CHECK_OK(cx, jobdb_set_job(cx, db, &j));
    CHECK_OK(cx, jobdb_job(cx, db, "j1", &got));
    CHECK(got.status == RUN_FAILED && strcmp(got.reason, "why") == 0 && got.seed == 1234567890123 &&
          got.driving);
    CHECK(got.initiator.role == ROLE_GUEST && got.initiator.id == 9999 && got.progress == 50);
    CHECK_ERR(jobdb_job(cx, db, "j2", &got), NOTFOUND);
    CHECK_OK(cx, jobdb_put_task(cx, db, &t));
    CHECK_OK(cx, jobdb_put_task(cx, db, &u));
    u.status = RUN_SUCCESS;
    CHECK_OK(cx, jobdb_put_task(cx, db, &u));
    t.attempt = 1, t.summary = "{\"x\":1}";
    CHECK_OK(cx, jobdb_put_task(cx, db, &t));
    CHECK_OK(cx, jobdb_set_summary(cx, db, &t));
    CHECK_OK(cx, jobdb_tasks(cx, db, "j1", &tasks, &n));
    CHECK(n == 2);
    for (size_t i = 0; i < n; i++) {
        bool g = tasks[i].party.role == ROLE_GUEST;
        CHECK(tasks[i].attempt == (g ? 1 : 0) && tasks[i].status == (g ? RUN_RUNNING : RUN_SUCCESS) &&
              tasks[i].done == 3);
        CHECK(strcmp(tasks[i].summary, g ? "{\"x\":1}" : "") == 0);
    }
    struct job_row two = job_row("j2");
    CHECK_OK(cx, jobdb_add_job(cx, db, &two));
    CHECK_OK(cx, jobdb_jobs(cx, db, 0, &jobs, &n));
    CHECK(n == 2 && strcmp(jobs[0].job, "j2") == 0);
    CHECK_OK(cx, jobdb_open_jobs(cx, db, &jobs, &n));
    CHECK(n == 1 && strcmp(jobs[0].job, "j2") == 0);
    CHECK_OK(cx, jobdb_check(cx, db, &says));
    CHECK(strcmp(says, "ok") == 0);
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void records(struct ctx *cx)
{
    const char *dir = fresh(cx);
    struct jobdb *db;
    struct job_row j = job_row("j1");
    struct task_row t0 = task_row("j1", guest, 0), t1 = task_row("j1", guest, 1);
    struct metric_row m = {"train", "loss", "{}", "[[0,1.0]]"}, *got;
    struct output_row o = {.position = 0, .name = "data", .path = "/p0", .n_rows = 7}, *outs;
    size_t n;
    CHECK_OK(cx, jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", dir), false, &db));
    CHECK_OK(cx, jobdb_add_job(cx, db, &j));
    CHECK_OK(cx, jobdb_put_task(cx, db, &t0));
    CHECK_OK(cx, jobdb_add_metric(cx, db, &t0, &m));
    CHECK_OK(cx, jobdb_add_output(cx, db, &t0, &o));
    m.points = "[[0,0.5]]";
    CHECK_OK(cx, jobdb_add_metric(cx, db, &t0, &m));
    CHECK_OK(cx, jobdb_metrics(cx, db, "j1", "a", guest, &got, &n));
    CHECK(n == 1 && strcmp(got[0].points, "[[0,0.5]]") == 0);
    CHECK_OK(cx, jobdb_put_task(cx, db, &t1)); /* a new attempt has none of the old one's */
    CHECK_OK(cx, jobdb_metrics(cx, db, "j1", "a", guest, &got, &n));
    CHECK(n == 0);
    CHECK_OK(cx, jobdb_outputs(cx, db, "j1", &outs, &n));
    CHECK(n == 0);
    o.path = "/p1";
    CHECK_OK(cx, jobdb_add_output(cx, db, &t1, &o));
    CHECK_OK(cx, jobdb_outputs(cx, db, "j1", &outs, &n));
    CHECK(n == 1 && strcmp(outs[0].path, "/p1") == 0 && outs[0].n_rows == 7 && outs[0].attempt == 1);
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void transactions(struct ctx *cx)
{
    const char *dir = fresh(cx);
    struct jobdb *db;
    struct job_row j = job_row("j1"), got;
    CHECK_OK(cx, jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", dir), false, &db));
    CHECK_OK(cx, jobdb_begin(cx, db));
    CHECK_OK(cx, jobdb_add_job(cx, db, &j));
    jobdb_rollback(db);
    CHECK_ERR(jobdb_job(cx, db, "j1", &got), NOTFOUND);
    CHECK_OK(cx, jobdb_begin(cx, db));
    CHECK_OK(cx, jobdb_add_job(cx, db, &j));
    CHECK_OK(cx, jobdb_commit(cx, db));
    CHECK_OK(cx, jobdb_job(cx, db, "j1", &got));
    jobdb_rollback(db);
    CHECK_OK(cx, dir_remove(cx, dir));
}

/* Writes pairs (job, task) in transactions until killed; says on fd that the first is in. */
static void writer(const char *file, int fd)
{
    struct ctx cx = {.mem = arena_new(0)};
    struct jobdb *db;
    if (jobdb_open(&cx, file, false, &db).code) _exit(1);
    for (int i = 0;; i++) {
        char id[32];
        snprintf(id, sizeof id, "j%06d", i);
        struct job_row j = job_row(id);
        struct task_row t = task_row(id, guest, 0);
        if (jobdb_begin(&cx, db).code || jobdb_add_job(&cx, db, &j).code ||
            jobdb_put_task(&cx, db, &t).code || jobdb_commit(&cx, db).code)
            _exit(1);
        if (i == 0 && write(fd, "1", 1) != 1) _exit(1);
    }
}

static void killed_writer(struct ctx *cx)
{
    const char *dir = fresh(cx), *file = arena_printf(cx->mem, "%s/jobs.db", dir), *says;
    for (int round = 0; round < 5; round++) {
        struct jobdb *db;
        struct job_row *jobs;
        struct task_row *tasks;
        size_t n, k;
        const char *at = arena_printf(cx->mem, "%s.%d", file, round);
        int first[2];
        char one;
        CHECK(pipe(first) == 0);
        pid_t pid = fork();
        if (pid == 0) writer(at, first[1]);
        close(first[1]);
        CHECK(read(first[0], &one, 1) == 1);
        close(first[0]);
        usleep(3000 + (useconds_t)round * 7000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        CHECK_OK(cx, jobdb_open(cx, at, false, &db));
        CHECK_OK(cx, jobdb_check(cx, db, &says));
        CHECK(strcmp(says, "ok") == 0);
        CHECK_OK(cx, jobdb_jobs(cx, db, 0, &jobs, &n));
        CHECK(n > 0);
        for (size_t i = 0; i < n && i < 50; i++) { /* each job with its task, or neither */
            CHECK_OK(cx, jobdb_tasks(cx, db, jobs[i].job, &tasks, &k));
            CHECK(k == 1);
        }
    }
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void add_ended(struct ctx *cx, struct jobdb *db, const char *id, int64_t ended_ms)
{
    struct job_row j = job_row(id);
    struct task_row t = task_row(id, guest, 0);
    struct output_row o = {.name = "data", .path = "/p"};
    CHECK_OK(cx, jobdb_add_job(cx, db, &j));
    CHECK_OK(cx, jobdb_put_task(cx, db, &t));
    CHECK_OK(cx, jobdb_add_output(cx, db, &t, &o));
    j.status = ended_ms ? RUN_SUCCESS : RUN_RUNNING, j.ended_ms = ended_ms;
    CHECK_OK(cx, jobdb_set_job(cx, db, &j));
}

static void kept(struct ctx *cx)
{
    const char *dir = fresh(cx), **old;
    struct jobdb *db;
    struct job_row got;
    struct output_row *outs;
    struct task_row *tasks;
    uint64_t counts[RUN_COUNT];
    size_t n;
    CHECK_OK(cx, jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", dir), false, &db));
    add_ended(cx, db, "j1", 0); /* the oldest still runs: never among them */
    add_ended(cx, db, "j2", 100);
    add_ended(cx, db, "j3", 200);
    add_ended(cx, db, "j4", 300);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_JOBS, 0, -1, 10, &old, &n));
    CHECK(n == 0);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_JOBS, 201, -1, 10, &old, &n));
    CHECK(n == 2 && strcmp(old[0], "j2") == 0 && strcmp(old[1], "j3") == 0);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_JOBS, 201, -1, 1, &old, &n));
    CHECK(n == 1);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_JOBS, 0, 1, 10, &old, &n));
    CHECK(n == 2 && strcmp(old[1], "j3") == 0);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_OUTPUTS, 250, 0, 10, &old, &n));
    CHECK(n == 2);
    CHECK_OK(cx, jobdb_drop(cx, db, KEPT_OUTPUTS, "j2"));
    CHECK_OK(cx, jobdb_drop(cx, db, KEPT_LOGS, "j3"));
    CHECK_OK(cx, jobdb_outputs(cx, db, "j2", &outs, &n));
    CHECK(n == 0);
    CHECK_OK(cx, jobdb_job(cx, db, "j2", &got));
    CHECK(got.outputs_gone && !got.logs_gone);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_OUTPUTS, 250, 0, 10, &old, &n));
    CHECK(n == 1 && strcmp(old[0], "j3") == 0);
    CHECK_OK(cx, jobdb_old(cx, db, KEPT_LOGS, 250, 0, 10, &old, &n));
    CHECK(n == 1 && strcmp(old[0], "j2") == 0);
    CHECK_OK(cx, jobdb_drop(cx, db, KEPT_JOBS, "j2"));
    CHECK_ERR(jobdb_job(cx, db, "j2", &got), NOTFOUND);
    CHECK_OK(cx, jobdb_tasks(cx, db, "j2", &tasks, &n));
    CHECK(n == 0);
    CHECK_OK(cx, jobdb_counts(cx, db, counts));
    CHECK(counts[RUN_SUCCESS] == 2 && counts[RUN_RUNNING] == 1 && counts[RUN_FAILED] == 0);
    CHECK_OK(cx, dir_remove(cx, dir));
}

TEST_MAIN(T(kept), T(rows), T(records), T(transactions), T(killed_writer))
