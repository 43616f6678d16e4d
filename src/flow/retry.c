#include "base/arena.h"
#include "base/log.h"
#include "flow/site_int.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct retry {
    struct retry *next;
    struct job *job;
    size_t component;
    int64_t attempt;
    const char *why;
    size_t n_asked;           /* parties that have not answered task.again */
    struct loop_timer *timer; /* the delay */
    int64_t start_ms;         /* when it is over; 0: not all have answered */
};
struct telling {
    struct retry *retry;
    uint32_t site;
};

/* ---- how often ---- */

static int64_t most(const struct job *j)
{
    int64_t n = j->plan.conf.auto_retries;
    return n >= 0 ? n : (int64_t)j->site->set->auto_retries;
}

static uint64_t delay_ms(const struct job *j)
{
    int64_t ms = j->plan.conf.auto_retry_delay_ms;
    return ms >= 0 ? (uint64_t)ms : j->site->set->auto_retry_delay_ms;
}

static int64_t attempt_of(const struct job *j, size_t component)
{
    int64_t attempt = j->row.attempt;
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].component == component && j->tasks[i].row.attempt > attempt)
            attempt = j->tasks[i].row.attempt;
    return attempt;
}

bool retry_allowed(const struct job *j, size_t component)
{
    return j->row.driving && attempt_of(j, component) - j->row.attempt < most(j);
}

/* ---- the list ---- */

static struct retry *find(const struct job *j, size_t component)
{
    for (struct retry *r = j->retries; r; r = r->next)
        if (r->component == component) return r;
    return NULL;
}

bool retry_pending(const struct job *j, size_t component)
{
    return find(j, component) != NULL;
}

static void drop(struct job *j, size_t component)
{
    for (struct retry **p = &j->retries; *p; p = &(*p)->next)
        if ((*p)->component == component) {
            loop_cancel(j->site->loop, (*p)->timer);
            *p = (*p)->next;
            return;
        }
}

void retry_drop_all(struct job *j)
{
    while (j->retries)
        drop(j, j->retries->component);
}

const char *retry_text(struct ctx *cx, const struct job *j, size_t component)
{
    const struct retry *r = find(j, component);
    int64_t now = wall_ms();
    if (!r) return NULL;
    const char *what = r->start_ms
                           ? arena_printf(cx->mem, "waits %.1f s before", (double)(r->start_ms - now) / 1000)
                           : arena_printf(cx->mem, "waits for %zu parties to be ready for", r->n_asked);
    return what ? arena_printf(cx->mem, "%s %s try %" PRId64 " of %" PRId64 ", since %s",
                               j->plan.dsl.components[component].name, what, r->attempt - j->row.attempt + 1,
                               most(j) + 1, r->why)
                : NULL;
}

/* ---- the next attempt of one task ---- */

void task_again(struct job_task *t, int64_t attempt, const struct job_task *failed, const char *why)
{
    struct job *j = t->job;
    bool its_own = !failed || failed == t;
    if (!run_ended(t->row.status)) task_set(t, RUN_FAILED, why);
    if (t->run)
        run_stop(t, its_own ? NULL : failed, why);
    else if (t->row.local) /* it had succeeded here, but not everywhere */
        keep_remove(j->site, arena_printf(j->mem, "%s/out.%" PRId64, task_dir(&j->cx, t), t->row.attempt));
    node_reclaim(j->site->node, j->row.job, t->name);
    t->curable = t->start_when_gone = false;
    struct task_row *r = &t->row;
    r->attempt = attempt;
    r->status = RUN_WAITING;
    r->error = r->unit = r->summary = "";
    r->pid = r->started_ms = r->ended_ms = r->done = r->all = r->sent = r->received = 0;
    snprintf(t->name, sizeof t->name, "%.60s.%" PRId64, r->component, attempt);
    task_store(t);
    job_changed(j);
}

/* ---- at the initiator ---- */

static void start_now(struct loop *l, void *arg)
{
    (void)l;
    struct retry *r = arg;
    struct job *j = r->job;
    r->timer = NULL;
    job_ref(j);
    drop(j, r->component);
    drive_schedule(j);
    job_unref(j);
}

static void wait_and_start(struct retry *r)
{
    uint64_t ms = delay_ms(r->job);
    r->start_ms = wall_ms() + (int64_t)ms;
    r->timer = loop_after(r->job->site->loop, ms, start_now, r);
    if (!r->timer) start_now(r->job->site->loop, r);
}

/* A party could not be told: that is the next failure. */
static void not_told(struct retry *r, uint32_t site, const struct err *err)
{
    struct job *j = r->job;
    for (size_t i = 0; i < j->n_tasks; i++) {
        struct job_task *t = &j->tasks[i];
        if (t->component != r->component || t->row.party.id != site) continue;
        t->curable = run_curable(err_name(err->code));
        task_set(t, RUN_FAILED, err->msg);
        drop(j, r->component);
        drive_task_ended(t);
        return;
    }
}

static void told(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct telling *one = arg;
    struct retry *r = one->retry;
    struct job *j = r->job;
    if (!j->ended && find(j, r->component) == r) {
        r->n_asked--;
        if (err)
            not_told(r, one->site, err);
        else if (r->n_asked == 0)
            wait_and_start(r);
    }
    job_unref(j);
}

static void tell_parties(struct retry *r, const struct job_task *failed)
{
    struct job *j = r->job;
    uint32_t sites[CONF_PARTIES_MAX];
    size_t n = 0, all = plan_sites(&j->plan, j->site->set->party, sites);
    CLEANUP(json_decrefp)
    json_t *body = json_pack("{s:s,s:s,s:I,s:s}", "job", j->row.job, "component",
                             j->plan.dsl.components[r->component].name, "attempt", (json_int_t)r->attempt,
                             "reason", r->why);
    if (body && failed)
        json_object_set_new(body, "failed",
                            json_pack("{s:s,s:I}", "role", role_name(failed->row.party.role), "party",
                                      (json_int_t)failed->row.party.id));
    struct telling *one = NEW(&j->cx, struct telling, all + 1);
    if (!body || !one) { /* the tasks' own deadlines end it */
        log_error(&j->cx, "out of memory: an attempt is not told", KV("job", j->row.job));
        return;
    }
    for (size_t k = 0; k < all; k++)
        for (size_t i = 0; i < j->n_tasks; i++)
            if (j->tasks[i].component == r->component && j->tasks[i].row.party.id == sites[k]) {
                one[n++] = (struct telling){r, sites[k]};
                break;
            }
    r->n_asked = n;
    for (size_t k = 0; k < n; k++) {
        job_ref(j);
        site_call(j->site, one[k].site, "task.again", body, j->site->set->task_deadline_ms, told, &one[k]);
    }
    if (n == 0) wait_and_start(r);
}

static struct retry *new_retry(struct job *j, size_t component, int64_t attempt, const char *why)
{
    struct retry *r = NEW(&j->cx, struct retry, 1);
    if (!r) return NULL;
    *r = (struct retry){
        .next = j->retries, .job = j, .component = component, .attempt = attempt, .why = job_text(j, why)};
    j->retries = r;
    return r;
}

bool retry_component(struct job_task *failed, const char *why)
{
    struct job *j = failed->job;
    size_t c = failed->component;
    if (j->ended || j->closing || !failed->curable || !retry_allowed(j, c)) return false;
    drop(j, c); /* one that was under way has failed with this */
    int64_t attempt = attempt_of(j, c) + 1;
    struct retry *r = new_retry(j, c, attempt, why);
    if (!r) return false;
    log_warn(j->site->cx, "component is tried again", KV("job", j->row.job),
             KV("component", j->plan.dsl.components[c].name), KV("try", attempt - j->row.attempt + 1),
             KV("of", most(j) + 1), KV("reason", r->why));
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].component == c) task_again(&j->tasks[i], attempt, failed, r->why);
    tell_parties(r, failed);
    return true;
}

void retry_go_on(struct job *j, size_t component)
{
    struct retry *r = new_retry(j, component, attempt_of(j, component), "the initiator's site restarted");
    if (r) tell_parties(r, NULL);
}
