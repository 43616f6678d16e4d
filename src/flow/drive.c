/* drive.c - the initiator's part of a job: which component starts next, and how the job ends. */
#include "base/arena.h"
#include "base/log.h"
#include "flow/site_int.h"
#include <inttypes.h>
#include <string.h>

#define CLOSE_MS 5000

static bool component_good(const struct job *j, size_t c)
{
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].component == c && !run_good(j->tasks[i].row.status)) return false;
    return true;
}

static bool component_is(const struct job *j, size_t c, enum run_status st)
{
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].component == c && j->tasks[i].row.status == st) return true;
    return false;
}

static bool component_ready(const struct job *j, size_t c)
{
    const struct dsl_component *d = &j->plan.dsl.components[c];
    for (size_t k = 0; k < d->n_after; k++)
        if (!component_good(j, d->after[k])) return false;
    return component_is(j, c, RUN_WAITING) && !retry_pending(j, c);
}

struct starting {
    struct job_task *task;
    int64_t attempt;
};

static void started(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    const struct starting *one = arg;
    struct job_task *t = one->task;
    struct job *j = t->job;
    if (err && !j->ended && !run_ended(t->row.status) && t->row.attempt == one->attempt) {
        t->curable = run_curable(err_name(err->code));
        task_set(t, RUN_FAILED, err->msg);
        drive_task_ended(t);
    }
    job_unref(j);
}

void drive_restart_task(struct job_task *t)
{
    struct job *j = t->job;
    struct starting *one = NEW(&j->cx, struct starting, 1);
    CLEANUP(json_decrefp)
    json_t *body = json_pack("{s:s,s:s,s:s,s:I}", "job", j->row.job, "component", t->row.component, "role",
                             role_name(t->row.party.role), "attempt", (json_int_t)t->row.attempt);
    if (!one || !body) {
        log_error(&j->cx, "out of memory: a task is not started", KV("job", j->row.job));
        return;
    }
    *one = (struct starting){t, t->row.attempt};
    job_ref(j);
    site_call(j->site, t->row.party.id, "task.start", body, j->site->set->task_deadline_ms, started, one);
}

void drive_start_component(struct job *j, size_t c)
{
    /* Other sites first: their start overlaps with ours. */
    for (int local = 0; local < 2; local++)
        for (size_t i = 0; i < j->n_tasks; i++) {
            struct job_task *t = &j->tasks[i];
            if (t->component != c || t->row.local != (local == 1) || t->row.status != RUN_WAITING) continue;
            task_set(t, RUN_RUNNING, "");
            drive_restart_task(t);
        }
}

static void closed(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct job *j = arg;
    if (err) j->untold = true;
    if (--j->n_asked == 0 && !j->ended) drive_end(j, RUN_SUCCESS, "", NULL);
    job_unref(j);
}

/* Success is success once every party has settled its part: whoever waited for the job finds its model at all
 * of them. A party that does not answer in time is told later. */
static void close_job(struct job *j)
{
    uint32_t sites[CONF_PARTIES_MAX];
    size_t n = plan_sites(&j->plan, j->site->set->party, sites);
    CLEANUP(json_decrefp)
    json_t *body = json_pack("{s:s,s:s,s:s}", "job", j->row.job, "status", "success", "reason", "");
    j->closing = true;
    j->n_asked = n;
    for (size_t i = 0; i < n; i++) {
        job_ref(j);
        site_call(j->site, sites[i], "job.end", body, CLOSE_MS, closed, j);
    }
    if (n == 0) drive_end(j, RUN_SUCCESS, "", NULL);
}

void drive_schedule(struct job *j)
{
    size_t running = 0;
    bool all = true;
    for (size_t c = 0; c < j->plan.dsl.n; c++) {
        running += component_is(j, c, RUN_RUNNING) || retry_pending(j, c);
        all = all && component_good(j, c);
    }
    if (all) {
        if (!j->closing) close_job(j);
        return;
    }
    for (size_t k = 0; k < j->plan.dsl.n && running < j->plan.conf.task_parallelism; k++) {
        size_t c = j->plan.dsl.order[k];
        if (!component_ready(j, c)) continue;
        running++;
        drive_start_component(j, c);
    }
}

static void timed_out(struct loop *l, void *arg)
{
    (void)l;
    struct job *j = arg;
    char why[120];
    uint64_t ms = j->plan.conf.timeout_ms ? j->plan.conf.timeout_ms : j->site->set->job_timeout_ms;
    snprintf(why, sizeof why, "the job had not ended after %" PRIu64 ".%03" PRIu64 " s, its timeout",
             ms / 1000, ms % 1000);
    j->timer = NULL;
    if (j->row.driving)
        drive_end(j, RUN_TIMEOUT, why, NULL);
    else
        party_end(j, RUN_TIMEOUT, why, NULL);
}

void drive_timer(struct job *j)
{
    uint64_t ms = j->plan.conf.timeout_ms ? j->plan.conf.timeout_ms : j->site->set->job_timeout_ms;
    /* The initiator's clock decides; another party waits a minute more, in case the initiator is gone for
     * good. */
    if (!j->row.driving) ms += 60000;
    if (j->row.started_ms) { /* after a restart of this site some of it is over */
        int64_t over = wall_ms() - j->row.started_ms;
        ms = over > 0 && (uint64_t)over < ms ? ms - (uint64_t)over : over > 0 ? 1 : ms;
    }
    if (!j->timer) j->timer = loop_after(j->site->loop, ms, timed_out, j);
}

static struct job *next_waiting(struct site *s, size_t *running)
{
    struct job *next = NULL;
    *running = 0;
    for (struct job *j = s->jobs; j; j = j->next) {
        if (j->ended || !j->row.driving) continue;
        *running += j->row.status == RUN_RUNNING;
        if (j->row.status != RUN_WAITING || !j->created) continue;
        if (!next || strcmp(j->row.job, next->row.job) < 0) next = j;
    }
    return next;
}

void drive_admit(struct site *s)
{
    size_t running;
    for (struct job *j; !s->stopping && (j = next_waiting(s, &running)) && running < s->set->max_jobs;) {
        job_ref(j);
        job_set(j, RUN_RUNNING, NULL);
        drive_timer(j);
        drive_schedule(j);
        job_unref(j);
    }
}

void drive_created(struct job *j)
{
    j->created = true;
    drive_admit(j->site);
}

void drive_task_ended(struct job_task *t)
{
    struct job *j = t->job;
    if (j->ended || !j->row.driving) return;
    if (run_good(t->row.status)) {
        if (j->row.status == RUN_RUNNING && component_good(j, t->component)) drive_schedule(j);
        return;
    }
    const char *why = arena_printf(j->mem, "%s at %s: %s", t->row.component, party_text(&j->cx, t->row.party),
                                   t->row.error);
    if (retry_component(t, why ? why : "a task failed")) return;
    int64_t tries = t->row.attempt - j->row.attempt + 1;
    if (why && tries > 1)
        why = arena_printf(j->mem, "%s (try %" PRId64 " of %" PRId64 ")", why, tries, tries);
    drive_end(j, RUN_FAILED, why ? why : "a task failed", t);
}

void drive_end(struct job *j, enum run_status st, const char *reason, const struct job_task *failed)
{
    struct site *s = j->site;
    uint32_t sites[CONF_PARTIES_MAX];
    if (j->ended) return;
    if (j->closing) st = RUN_SUCCESS, reason = "", failed = NULL; /* the others have ended it so already */
    job_ref(j);
    size_t n = plan_sites(&j->plan, s->set->party, sites);
    CLEANUP(json_decrefp)
    json_t *body = json_pack("{s:s,s:s,s:s}", "job", j->row.job, "status", run_status_name(st), "reason",
                             job_text(j, reason));
    if (body && failed)
        json_object_set_new(body, "failed",
                            json_pack("{s:s,s:s,s:I}", "component", failed->row.component, "role",
                                      role_name(failed->row.party.role), "party",
                                      (json_int_t)failed->row.party.id));
    party_end(j, st, reason, failed);
    for (size_t i = 0; body && i < n; i++)
        site_notify(s, sites[i], "job.end", body);
    job_unref(j);
    drive_admit(s);
}

void drive_link_down(struct site *s, uint32_t party)
{
    struct link_state l = {0};
    (void)node_link(s->node, party, &l);
    for (struct job *j = s->jobs, *next; j; j = next) {
        struct job_task *at = NULL;
        next = j->next;
        if (j->ended || !j->row.driving) continue;
        for (size_t i = 0; i < j->n_tasks && !at; i++)
            if (j->tasks[i].row.party.id == party && j->tasks[i].row.status == RUN_RUNNING) at = &j->tasks[i];
        if (!at) continue;
        char why[400];
        snprintf(why, sizeof why, "no link to party %u for %" PRIu64 " s (task_deadline): %.240s", party,
                 s->set->task_deadline_ms / 1000, l.last_error[0] ? l.last_error : "it does not answer");
        at->curable = true;
        task_set(at, RUN_FAILED, why);
        drive_task_ended(at);
        next = s->jobs; /* the list has changed */
    }
}
