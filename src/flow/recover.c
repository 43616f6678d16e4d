#include "base/arena.h"
#include "base/log.h"
#include "flow/site_int.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- before the node: into memory ---- */

static const char *restarted(struct ctx *cx, const struct site *s)
{
    char when[40];
    struct tm tm;
    time_t now = time(NULL);
    localtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    const char *text = arena_printf(cx->mem, "site %u restarted at %s", s->set->party, when);
    return text ? text : "the site restarted";
}

static status end_tasks(struct ctx *cx, struct site *s, const struct job_row *j, const char *reason)
{
    struct task_row *tasks;
    size_t n;
    TRY(jobdb_tasks(cx, s->db, j->job, &tasks, &n));
    for (size_t i = 0; i < n; i++) {
        if (run_ended(tasks[i].status)) continue;
        bool ran = tasks[i].status == RUN_RUNNING;
        tasks[i].status = ran ? RUN_FAILED : RUN_CANCELED;
        tasks[i].error = ran ? reason : "the job had ended";
        tasks[i].ended_ms = wall_ms();
        TRY(jobdb_put_task(cx, s->db, &tasks[i]));
    }
    return OK;
}

/* A job that this norn cannot read any more. */
static status end_unread(struct ctx *cx, struct site *s, struct job_row *j, const char *why)
{
    j->reason = arena_printf(cx->mem, "%s, and cannot go on with the job: %s", restarted(cx, s), why);
    if (!j->reason) return FAIL(cx, NOMEM, "recovery");
    TRY(end_tasks(cx, s, j, j->reason));
    j->status = RUN_FAILED, j->ended_ms = wall_ms();
    log_warn(cx, "job ended", KV("job", j->job), KV("reason", j->reason));
    return jobdb_set_job(cx, s->db, j);
}

static void keep_row(struct job_task *t, const struct task_row *row)
{
    struct job *j = t->job;
    const char *component = t->row.component, *module = t->row.module;
    bool local = t->row.local;
    t->row = *row;
    t->row.job = j->row.job, t->row.component = component, t->row.module = module, t->row.local = local;
    t->row.error = job_text(j, row->error), t->row.unit = job_text(j, row->unit);
    t->row.summary = arena_strdup(j->mem, row->summary);
    if (!t->row.summary) t->row.summary = "";
    snprintf(t->name, sizeof t->name, "%.60s.%lld", component, (long long)row->attempt);
}

static void open_again(struct job *j, const struct task_row *rows, size_t n, const char *reason)
{
    job_open(j);
    j->created = !j->row.driving || j->row.status == RUN_RUNNING;
    for (size_t i = 0; i < j->n_tasks; i++) {
        struct job_task *t = &j->tasks[i];
        for (size_t k = 0; k < n; k++)
            if (strcmp(rows[k].component, t->row.component) == 0 && party_same(rows[k].party, t->row.party))
                keep_row(t, &rows[k]);
        if (!t->row.local || t->row.status != RUN_RUNNING) continue;
        t->curable = true;
        task_set(t, RUN_FAILED, reason);
    }
    if (j->row.status == RUN_RUNNING || !j->row.driving) drive_timer(j);
    log_warn(j->site->cx, "a job was open when the site ended", KV("job", j->row.job),
             KV("status", run_status_name(j->row.status)));
}

static status reopen(struct ctx *cx, struct site *s, const struct job_row *row)
{
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    struct task_row *tasks;
    struct job *j;
    size_t n;
    TRY(jobdb_tasks(cx, s->db, row->job, &tasks, &n));
    TRY(js_parse(cx, "stored DSL", row->dsl, strlen(row->dsl), &dsl));
    TRY(js_parse(cx, "stored conf", row->conf, strlen(row->conf), &conf));
    TRY(job_new(cx, s, row, dsl, conf, &j));
    open_again(j, tasks, n, restarted(cx, s));
    return OK;
}

status jobs_recover(struct site *s)
{
    struct arena *mem = arena_new(0);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    struct job_row *rows;
    size_t n = 0;
    if (!mem) return FAIL(s->cx, NOMEM, "recovery");
    status st = jobdb_open_jobs(&cx, s->db, &rows, &n);
    for (size_t i = 0; !st.code && i < n; i++) {
        if (reopen(&cx, s, &rows[i]).code == ERR_OK) continue;
        if (end_unread(&cx, s, &rows[i], cx.err.msg).code)
            log_error(&cx, "job not recovered", KV("job", rows[i].job), KV("error", cx.err.msg));
    }
    s->cx->err = cx.err;
    arena_free(mem);
    return st;
}

/* ---- once the node listens ---- */

/* What the initiator may not have heard; it ignores what it has. */
static void tell_initiator(struct job *j)
{
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].row.local && run_ended(j->tasks[i].row.status)) run_push(&j->tasks[i]);
}

static struct job_task *task_where(struct job *j, size_t c, bool local, enum run_status st)
{
    for (size_t i = 0; i < j->n_tasks; i++) {
        struct job_task *t = &j->tasks[i];
        if (t->component == c && t->row.local == local && t->row.status == st) return t;
    }
    return NULL;
}

/* A component of which a task here was running has been interrupted; elsewhere it may run on. */
static void drive_on_component(struct job *j, size_t c)
{
    struct job_task *t = task_where(j, c, true, RUN_FAILED);
    if (!t) t = task_where(j, c, false, RUN_FAILED);
    if (t) {
        drive_task_ended(t);
        return;
    }
    bool runs = false;
    for (size_t i = 0; i < j->n_tasks; i++) {
        if (j->tasks[i].component != c || j->tasks[i].row.status != RUN_RUNNING) continue;
        runs = true;
        drive_restart_task(&j->tasks[i]);
    }
    t = task_where(j, c, true, RUN_WAITING);
    if (!t) t = task_where(j, c, false, RUN_WAITING);
    if (t && !runs && t->row.attempt > j->row.attempt) retry_go_on(j, c);
}

static void drive_on(struct job *j)
{
    if (j->row.status == RUN_WAITING) {
        job_create_at_parties(j);
        return;
    }
    for (size_t c = 0; c < j->plan.dsl.n && !j->ended; c++)
        drive_on_component(j, c);
    if (!j->ended) drive_schedule(j);
}

void jobs_continue(struct site *s)
{
    for (struct job *j = s->jobs, *next; j; j = next) {
        job_ref(j);
        if (!j->ended && j->row.driving)
            drive_on(j);
        else if (!j->ended)
            tell_initiator(j);
        next = j->next;
        job_unref(j);
    }
    drive_admit(s);
}
