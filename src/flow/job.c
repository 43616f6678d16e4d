#include "base/arena.h"
#include "base/log.h"
#include "base/file.h"
#include "flow/site_int.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- building ---- */

static status add_task(struct job *j, size_t component, struct party who)
{
    struct job_task *t = &j->tasks[j->n_tasks++];
    *t = (struct job_task){.job = j, .component = component};
    t->row = (struct task_row){.job = j->row.job,
                               .component = j->plan.dsl.components[component].name,
                               .module = j->plan.modules[component]->module,
                               .party = who,
                               .local = who.id == j->site->set->party,
                               .attempt = j->row.attempt,
                               .error = "",
                               .unit = "",
                               .summary = ""};
    int n = snprintf(t->name, sizeof t->name, "%s.%lld", t->row.component, (long long)t->row.attempt);
    return n < (int)sizeof t->name
               ? OK
               : FAIL(&j->cx, LIMIT, "name of component %s is too long", t->row.component);
}

static status copy_row(struct job *j, const struct job_row *row)
{
    const char **texts[] = {&j->row.job, &j->row.reason, &j->row.dsl, &j->row.conf, &j->row.model_id};
    j->row = *row;
    for (size_t i = 0; i < LEN(texts); i++) {
        *texts[i] = arena_strdup(j->mem, *texts[i] ? *texts[i] : "");
        if (!*texts[i]) return FAIL(&j->cx, NOMEM, "a job");
    }
    return OK;
}

static status build(struct job *j, const struct job_row *row, json_t *dsl, json_t *conf)
{
    TRY(copy_row(j, row));
    TRY(plan_make(&j->cx, dsl, conf, &j->plan));
    j->row.model_id = j->plan.model_id;
    j->row.initiator = j->plan.conf.initiator;
    j->tasks = NEW(&j->cx, struct job_task, j->plan.dsl.n * j->plan.conf.n_parties);
    if (!j->tasks) return FAIL(&j->cx, NOMEM, "a job");
    for (size_t i = 0; i < j->plan.dsl.n; i++)
        for (size_t k = 0; k < j->plan.conf.n_parties; k++)
            if (plan_runs(&j->plan, i, j->plan.conf.parties[k])) TRY(add_task(j, i, j->plan.conf.parties[k]));
    return OK;
}

status job_new(struct ctx *why, struct site *s, const struct job_row *row, json_t *dsl, json_t *conf,
               struct job **out)
{
    struct arena *mem = arena_new(64u << 20);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    struct job *j = mem ? NEW(&cx, struct job, 1) : NULL;
    if (!j) {
        arena_free(mem);
        return FAIL(why, NOMEM, "a job");
    }
    j->site = s, j->mem = mem, j->cx = cx;
    status st = build(j, row, dsl, conf);
    if (st.code) {
        why->err = j->cx.err;
        arena_free(mem);
        return st;
    }
    *out = j;
    return OK;
}

status job_room(struct ctx *cx, const struct site *s)
{
    size_t n = 0;
    for (const struct job *j = s->jobs; j; j = j->next)
        n += !j->ended;
    return n < OPEN_JOBS_MAX
               ? OK
               : FAIL(cx, LIMIT, "site %u has %zu open jobs, and takes no more", s->set->party, n);
}

void job_open(struct job *j)
{
    j->next = j->site->jobs;
    j->site->jobs = j;
    j->refs = 1;
}

void job_drop(struct job *j)
{
    j->ended = true;
    job_unref(j);
}

void job_ref(struct job *j)
{
    j->refs++;
}

static void job_free(struct job *j)
{
    for (struct job **p = &j->site->jobs; *p; p = &(*p)->next)
        if (*p == j) {
            *p = j->next;
            break;
        }
    loop_cancel(j->site->loop, j->timer);
    loop_cancel(j->site->loop, j->changed);
    arena_free(j->mem);
}

void job_unref(struct job *j)
{
    if (--j->refs == 0 && j->ended) job_free(j);
}

void jobs_free(struct site *s)
{
    while (s->jobs)
        job_free(s->jobs);
}

struct job *job_find(struct site *s, const char *id)
{
    for (struct job *j = s->jobs; j; j = j->next)
        if (!j->ended && strcmp(j->row.job, id) == 0) return j;
    return NULL;
}

struct job *job_find_unsaved(struct site *s, const char *id)
{
    for (struct job *j = s->jobs; j; j = j->next)
        if (j->ended && j->unsaved && strcmp(j->row.job, id) == 0) return j;
    return NULL;
}

struct job_task *job_task_find(struct job *j, size_t component, struct party who)
{
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].component == component && party_same(j->tasks[i].row.party, who)) return &j->tasks[i];
    return NULL;
}

static bool listed(const json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *s = json_string_value(json_array_get(names, i));
        if (s && strcmp(s, name) == 0) return true;
    }
    return false;
}

static status keep_task(struct job_task *t, const struct task_row *old, size_t n)
{
    struct job *j = t->job;
    const char *component = t->row.component, *module = t->row.module;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(old[i].component, component) != 0 || !party_same(old[i].party, t->row.party)) continue;
        if (!run_good(old[i].status) && t->row.local) break;
        t->row = old[i];
        t->row.job = j->row.job, t->row.component = component, t->row.module = module;
        if (!t->row.local) t->row.status = RUN_SUCCESS;
        snprintf(t->name, sizeof t->name, "%s.%lld", component, (long long)t->row.attempt);
        return OK;
    }
    return FAIL(&j->cx, STATE, "job %s: %s has no result of %s to keep", j->row.job,
                party_text(&j->cx, t->row.party), component);
}

status job_keep(struct job *j, const json_t *keep)
{
    struct task_row *old;
    size_t n;
    TRY(jobdb_tasks(&j->cx, j->site->db, j->row.job, &old, &n));
    for (size_t i = 0; i < j->n_tasks; i++) {
        if (!j->tasks[i].row.local && !j->row.driving) continue;
        if (listed(keep, j->tasks[i].row.component))
            TRY(keep_task(&j->tasks[i], old, n));
        else
            TRY(jobdb_put_task(&j->cx, j->site->db, &j->tasks[i].row));
    }
    return OK;
}

const char *job_text(struct job *j, const char *s)
{
    const char *copy = arena_strndup(j->mem, s, strnlen(s, ERROR_MAX));
    return copy ? copy : "(out of memory)";
}

const char *job_dir(struct ctx *cx, const struct site *s, const char *job, struct party who)
{
    return arena_printf(cx->mem, "%s/jobs/%s/%s_%u", s->dir, job, role_name(who.role), who.id);
}

const char *task_dir(struct ctx *cx, const struct job_task *t)
{
    const char *dir = job_dir(cx, t->job->site, t->row.job, t->row.party);
    return dir ? arena_printf(cx->mem, "%s/%s", dir, t->row.component) : NULL;
}

/* ---- states ---- */

static int64_t percent(const struct job *j)
{
    size_t n = 0, good = 0;
    for (size_t i = 0; i < j->n_tasks; i++) {
        if (!j->tasks[i].row.local && !j->row.driving) continue;
        n++;
        good += run_good(j->tasks[i].row.status);
    }
    return n ? (int64_t)(100 * good / n) : 100;
}

static void not_stored(struct job *j, const char *what)
{
    if (!j->unsaved) log_error(&j->cx, what, KV("job", j->row.job), KV("error", (const char *)j->cx.err.msg));
    keep_save(j);
}

void job_set(struct job *j, enum run_status st, const char *reason)
{
    int64_t now = wall_ms();
    j->row.status = st;
    if (reason) j->row.reason = job_text(j, reason);
    if (st == RUN_RUNNING && !j->row.started_ms) j->row.started_ms = now;
    if (run_ended(st)) j->row.ended_ms = now;
    j->row.progress = st == RUN_SUCCESS ? 100 : percent(j);
    if (jobdb_set_job(&j->cx, j->site->db, &j->row).code) not_stored(j, "job state not stored");
    job_changed(j);
}

void task_store(struct job_task *t)
{
    struct job *j = t->job;
    if (jobdb_put_task(&j->cx, j->site->db, &t->row).code) not_stored(j, "task state not stored");
}

static status save_rows(struct job *j)
{
    TRY(jobdb_set_job(&j->cx, j->site->db, &j->row));
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].row.local || j->row.driving)
            TRY(jobdb_put_task(&j->cx, j->site->db, &j->tasks[i].row));
    return OK;
}

status job_save(struct job *j)
{
    TRY(jobdb_begin(&j->cx, j->site->db));
    status st = save_rows(j);
    if (!st.code) st = jobdb_commit(&j->cx, j->site->db);
    if (st.code) jobdb_rollback(j->site->db);
    return st;
}

void task_set(struct job_task *t, enum run_status st, const char *error)
{
    int64_t now = wall_ms();
    t->row.status = st;
    if (error) t->row.error = job_text(t->job, error);
    if (st == RUN_RUNNING && !t->row.started_ms) t->row.started_ms = now;
    if (run_ended(st)) t->row.ended_ms = now;
    task_store(t);
    t->job->row.progress = percent(t->job);
    job_changed(t->job);
}

static void tell_watchers(struct loop *l, void *arg)
{
    (void)l;
    struct job *j = arg;
    j->changed = NULL;
    if (!control_watched(j->site->control, j->row.job)) return;
    CLEANUP(json_decrefp) json_t *view = view_job_now(j);
    control_event(j->site->control, j->row.job, view, j->ended);
}

void job_changed(struct job *j)
{
    if (!j->site->control) return;  /* at start: nobody watches yet */
    if (run_ended(j->row.status)) { /* the last word goes out at once */
        loop_cancel(j->site->loop, j->changed);
        j->changed = NULL;
        if (j->ended) tell_watchers(j->site->loop, j);
        return;
    }
    if (!j->changed && control_watched(j->site->control, j->row.job))
        j->changed = loop_after(j->site->loop, 50, tell_watchers, j);
}

/* ---- left-over folders ---- */

/* The process that an entry names is still that task's: it writes the task's log. */
static bool still_runs(int64_t pid, const char *task_dir)
{
    char link[48], log[PATH_MAX];
    snprintf(link, sizeof link, "/proc/%lld/fd/1", (long long)pid);
    ssize_t n = pid > 1 ? readlink(link, log, sizeof log - 1) : -1;
    if (n <= 0) return false;
    log[n] = 0;
    size_t k = strlen(task_dir);
    return strncmp(log, task_dir, k) == 0 && strcmp(log + k, "/task.log") == 0;
}

/* A task dies with its site (PR_SET_PDEATHSIG); this is for one that was caught before it could ask for that. What it had
 * written of its outputs is of no use. */
static status sweep_task(struct ctx *cx, struct site *s, const struct task_row *t)
{
    const char *dir = job_dir(cx, s, t->job, t->party);
    if (!dir || !(dir = arena_printf(cx->mem, "%s/%s", dir, t->component)))
        return FAIL(cx, NOMEM, "a task's folder");
    if (still_runs(t->pid, dir)) {
        log_warn(cx, "left-over task killed", KV("job", t->job), KV("component", t->component),
                 KV("pid", t->pid));
        kill((pid_t)-t->pid, SIGKILL);
    }
    return dir_remove(cx, arena_printf(cx->mem, "%s/out.%lld", dir, (long long)t->attempt));
}

static status sweep_open_jobs(struct ctx *cx, struct site *s)
{
    struct job_row *jobs;
    struct task_row *tasks;
    size_t n, k;
    TRY(jobdb_open_jobs(cx, s->db, &jobs, &n));
    for (size_t i = 0; i < n; i++) {
        TRY(jobdb_tasks(cx, s->db, jobs[i].job, &tasks, &k));
        for (size_t t = 0; t < k; t++)
            if (tasks[t].local && tasks[t].status == RUN_RUNNING) TRY(sweep_task(cx, s, &tasks[t]));
    }
    return OK;
}

status jobs_sweep(struct site *s)
{
    struct arena *mem = arena_new(0);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    const char **names, *dir = mem ? arena_printf(mem, "%s/jobs", s->dir) : NULL;
    size_t n = 0, swept = 0, left = 0;
    struct job_row row;
    if (!dir) {
        arena_free(mem);
        return FAIL(s->cx, NOMEM, "the sweep");
    }
    status st = sweep_open_jobs(&cx, s);
    if (!st.code) st = disk_sweep(&cx, s->dir, &left);
    if (left) log_info(&cx, "left-over files swept", KV("files", left));
    if (!st.code) st = dir_list(&cx, dir, &names, &n);
    for (size_t i = 0; !st.code && i < n; i++) {
        if (!job_id_ok(names[i])) continue;
        st = jobdb_job(&cx, s->db, names[i], &row);
        if (st.code != ERR_NOTFOUND) continue;
        st = dir_remove(&cx, arena_printf(mem, "%s/%s", dir, names[i]));
        swept++;
    }
    if (swept) log_info(&cx, "left-over job folders swept", KV("jobs", swept));
    s->cx->err = cx.err;
    arena_free(mem);
    return st;
}
