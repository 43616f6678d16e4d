/* party.c - what the initiator asks of every party, its own included: check, create, start, end. */
#include "base/arena.h"
#include "base/log.h"
#include "base/file.h"
#include "flow/site_int.h"
#include <stdio.h>
#include <string.h>

const char *party_of(struct ctx *cx, const struct plan *p, uint32_t site)
{
    const char *text = "";
    for (size_t i = 0; i < p->conf.n_parties && text; i++)
        if (p->conf.parties[i].id == site)
            text =
                arena_printf(cx->mem, "%s%s%s", text, *text ? "+" : "", role_name(p->conf.parties[i].role));
    text = text ? arena_printf(cx->mem, "%s %u", *text ? text : "party", site) : NULL;
    return text ? text : "a party";
}

/* ---- check ---- */

status reader_path(struct ctx *cx, struct site *s, const json_t *params, const char **path, const char **from)
{
    const char *ns = json_string_value(js_at(params, "table.namespace")),
               *name = json_string_value(js_at(params, "table.name"));
    struct table_info info;
    *path = NULL;
    if (!ns || !name) return OK;
    TRY(store_find(cx, s->store, ns, name, &info));
    *path = info.path;
    *from = arena_printf(cx->mem, "%s/%s", ns, name);
    return *from ? OK : FAIL(cx, NOMEM, "a table");
}

/* To another party only what it said itself comes back: which tables there are here instead is not its
 * business. */
static status check_reader(struct ctx *cx, struct site *s, const json_t *params, uint32_t initiator, bool own)
{
    const char *path, *from;
    const char *ns = json_string_value(js_at(params, "table.namespace")),
               *name = json_string_value(js_at(params, "table.name"));
    if (ns && name) TRY(api_allow(cx, s, initiator, NULL, ns, name));
    status st = reader_path(cx, s, params, &path, &from);
    if (st.code != ERR_NOTFOUND || own) return st;
    return FAIL(cx, NOTFOUND, "there is no table %s/%s", ns, name);
}

status party_check(struct ctx *cx, struct site *s, const struct plan *p, bool own)
{
    for (size_t k = 0; k < p->conf.n_parties; k++) {
        struct party who = p->conf.parties[k];
        if (who.id != s->set->party) continue;
        for (size_t i = 0; i < p->dsl.n; i++) {
            CLEANUP(json_decrefp) json_t *params = NULL;
            if (!plan_runs(p, i, who)) continue;
            TRY(plan_params(cx, p, i, who, &params));
            TRY_IN(cx, api_allow(cx, s, p->conf.initiator.id, p->modules[i]->module, NULL, NULL), "%s",
                   p->dsl.components[i].name);
            TRY_IN(cx, check_reader(cx, s, params, p->conf.initiator.id, own), "%s at %s",
                   p->dsl.components[i].name, party_text(cx, who));
        }
        if (p->conf.type != JOB_PREDICT) continue;
        struct model_key key = {role_name(who.role), who.id, p->conf.model_id, p->conf.model_version};
        struct model_pipeline pipe;
        TRY(model_load_pipeline(cx, arena_printf(cx->mem, "%s/models", s->dir), &key, &pipe));
    }
    return OK;
}

/* The plan of a body {job, dsl, conf}, from the party that may send it. */
static status body_plan(struct request *rq, const json_t *body, const char **id, struct plan *p)
{
    struct ctx *cx = &rq->cx;
    json_t *dsl, *conf;
    TRY(js_get_str(cx, body, "job", id));
    if (!job_id_ok(*id)) return FAIL(cx, PROTO, "\"%.40s\" is no job id", *id);
    TRY(js_get_obj(cx, body, "dsl", &dsl));
    TRY(js_get_obj(cx, body, "conf", &conf));
    TRY(plan_make(cx, dsl, conf, p));
    if (p->conf.initiator.id != rq->party)
        return FAIL(cx, AUTH, "party %u sends a job whose initiator is party %u", rq->party,
                    p->conf.initiator.id);
    return OK;
}

static status check(struct request *rq, const json_t *body)
{
    const char *id;
    struct plan p = {0};
    TRY(job_room(&rq->cx, rq->site));
    TRY(site_takes_work(&rq->cx, rq->site));
    TRY(body_plan(rq, body, &id, &p));
    return party_check(&rq->cx, rq->site, &p, false);
}

void method_check(struct request *rq, const json_t *body)
{
    request_end(rq, check(rq, body), NULL);
}

/* ---- create ---- */

static status store_rows(struct job *j, const json_t *keep)
{
    struct site *s = j->site;
    struct job_row old;
    if (j->row.attempt > 0) {
        TRY(jobdb_job(&j->cx, s->db, j->row.job, &old));
        if (!party_same(old.initiator, j->row.initiator))
            return FAIL(&j->cx, AUTH, "job %s is another's", j->row.job);
        TRY(job_keep(j, keep));
        TRY(jobdb_set_conf(&j->cx, s->db, j->row.job, j->row.conf)); /* it may have been changed since */
        return jobdb_set_job(&j->cx, s->db, &j->row);
    }
    TRY(jobdb_add_job(&j->cx, s->db, &j->row));
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].row.local) TRY(jobdb_put_task(&j->cx, s->db, &j->tasks[i].row));
    return OK;
}

static status store_created(struct job *j, const json_t *keep)
{
    TRY(jobdb_begin(&j->cx, j->site->db));
    if (store_rows(j, keep).code || jobdb_commit(&j->cx, j->site->db).code) {
        jobdb_rollback(j->site->db);
        return (status){j->cx.err.code};
    }
    return OK;
}

static status create(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    const char *id;
    struct plan p = {0};
    struct job *j;
    int64_t seed, attempt;
    TRY(body_plan(rq, body, &id, &p));
    TRY(js_get_i64(cx, body, "seed", &seed));
    TRY(js_get_i64(cx, body, "attempt", &attempt));
    if (attempt < 0 || attempt > 1000000) return FAIL(cx, PROTO, "attempt %lld", (long long)attempt);
    j = job_find(s, id);
    if (j && j->row.attempt == attempt && !j->row.driving) return OK; /* told twice */
    if (j) return FAIL(cx, EXISTS, "job %s runs here", id);
    TRY(party_check(cx, s, &p, false));
    struct job_row row = {
        .job = id, .status = RUN_WAITING, .created_ms = wall_ms(), .seed = seed, .attempt = attempt};
    TRY(js_text(cx, p.dsl_json, &row.dsl));
    TRY(js_text(cx, p.conf_json, &row.conf));
    TRY(job_new(cx, s, &row, p.dsl_json, p.conf_json, &j));
    job_open(j);
    j->created = true;
    if (store_created(j, json_object_get(body, "keep")).code) {
        cx->err = j->cx.err;
        job_drop(j);
        return (status){cx->err.code};
    }
    drive_timer(j);
    return OK;
}

void method_create(struct request *rq, const json_t *body)
{
    request_end(rq, create(rq, body), NULL);
}

/* ---- what is done here, for a rerun ---- */

static status done_list(struct request *rq, const json_t *body, json_t *out)
{
    struct ctx *cx = &rq->cx;
    const char *id;
    struct job_row row;
    struct task_row *tasks;
    size_t n;
    TRY(js_get_str(cx, body, "job", &id));
    if (job_find(rq->site, id)) return FAIL(cx, STATE, "job %.40s has not ended here", id);
    TRY(site_takes_work(cx, rq->site));
    TRY(jobdb_job(cx, rq->site->db, id, &row));
    if (row.initiator.id != rq->party) return FAIL(cx, AUTH, "job %s is not party %u's", id, rq->party);
    TRY(jobdb_tasks(cx, rq->site->db, id, &tasks, &n));
    for (size_t i = 0; i < n && !row.outputs_gone; i++) {
        if (!tasks[i].local || !run_good(tasks[i].status)) continue;
        const char *role = role_name(tasks[i].party.role);
        if (!json_object_get(out, role)) json_object_set_new(out, role, json_array());
        if (json_array_append_new(json_object_get(out, role), json_string(tasks[i].component)))
            return FAIL(cx, NOMEM, "a list");
    }
    return OK;
}

void method_done_list(struct request *rq, const json_t *body)
{
    json_t *out = json_object();
    status st = done_list(rq, body, out);
    request_end(rq, st, out);
}

/* ---- start ---- */

static status job_of(struct request *rq, const json_t *body, struct job **out)
{
    const char *id;
    TRY(js_get_str(&rq->cx, body, "job", &id));
    *out = job_find(rq->site, id);
    if (!*out) return FAIL(&rq->cx, NOTFOUND, "no job %.40s runs at party %u", id, rq->site->set->party);
    return OK;
}

/* The task a body names by component, role and attempt, at party `id`. */
static status task_of(struct request *rq, const json_t *body, struct job *j, uint32_t id,
                      struct job_task **out)
{
    struct ctx *cx = &rq->cx;
    const char *component, *role;
    int64_t attempt;
    struct party who = {.id = id};
    TRY(js_get_str(cx, body, "component", &component));
    TRY(js_get_str(cx, body, "role", &role));
    TRY(js_get_i64(cx, body, "attempt", &attempt));
    size_t c = dsl_find(&j->plan.dsl, component);
    *out = c != SIZE_MAX && role_parse(role, &who.role) ? job_task_find(j, c, who) : NULL;
    if (!*out || attempt != (*out)->row.attempt)
        return FAIL(cx, NOTFOUND, "job %s has no task %.60s.%lld of %.20s %u", j->row.job, component,
                    (long long)attempt, role, id);
    return OK;
}

static status start(struct request *rq, const json_t *body)
{
    struct job *j = NULL;
    struct job_task *t = NULL;
    TRY(job_of(rq, body, &j));
    if (j->row.initiator.id != rq->party)
        return FAIL(&rq->cx, AUTH, "job %s is not party %u's", j->row.job, rq->party);
    TRY(task_of(rq, body, j, rq->site->set->party, &t));
    if (!t || (t->run && !run_is_old(t))) return OK; /* told twice */
    if (run_ended(t->row.status)) {                  /* the initiator has restarted, and does not know */
        run_push(t);
        return OK;
    }
    if (rq->site->stopping) return FAIL(&rq->cx, PEER, "site %u is stopping", rq->site->set->party);
    TRY(site_room(&rq->cx, rq->site));
    if (j->row.status == RUN_WAITING) job_set(j, RUN_RUNNING, NULL);
    return run_start(&rq->cx, t);
}

void method_start(struct request *rq, const json_t *body)
{
    request_end(rq, start(rq, body), NULL);
}

/* ---- start again ---- */

static status again(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct job *j = NULL;
    const char *component, *reason;
    int64_t attempt;
    struct party who = {0};
    TRY(job_of(rq, body, &j));
    if (j->row.initiator.id != rq->party || j->row.driving)
        return FAIL(cx, AUTH, "job %s is not party %u's", j->row.job, rq->party);
    TRY(js_get_str(cx, body, "component", &component));
    TRY(js_get_str(cx, body, "reason", &reason));
    TRY(js_get_i64(cx, body, "attempt", &attempt));
    const json_t *f = json_object_get(body, "failed");
    const char *role = json_string_value(json_object_get(f, "role"));
    size_t c = dsl_find(&j->plan.dsl, component);
    if (c == SIZE_MAX || attempt < 1 || attempt > 1000000)
        return FAIL(cx, PROTO, "attempt %lld of %.60s", (long long)attempt, component);
    const struct job_task *failed = NULL;
    if (role && role_parse(role, &who.role) && conf_party_id(json_object_get(f, "party"), &who.id))
        failed = job_task_find(j, c, who);
    for (size_t i = 0; i < j->n_tasks; i++) {
        struct job_task *t = &j->tasks[i];
        if (t->component == c && t->row.local && t->row.attempt < attempt)
            task_again(t, attempt, failed, reason);
    }
    return OK;
}

void method_again(struct request *rq, const json_t *body)
{
    request_end(rq, again(rq, body), NULL);
}

/* ---- a task's state arrives at the initiator ---- */

static int64_t number(const json_t *body, const char *key)
{
    return json_integer_value(json_object_get(body, key));
}

/* Word of an attempt that the initiator has given up already. */
static bool attempt_is_over(struct job *j, const json_t *body, uint32_t id)
{
    const char *component = json_string_value(json_object_get(body, "component"));
    for (size_t i = 0; component && i < j->n_tasks; i++) {
        const struct task_row *r = &j->tasks[i].row;
        if (r->party.id == id && strcmp(r->component, component) == 0)
            return number(body, "attempt") < r->attempt;
    }
    return false;
}

static status task_status(struct request *rq, const json_t *body)
{
    struct job *j = NULL;
    struct job_task *t = NULL;
    const char *word;
    enum run_status st;
    if (job_of(rq, body, &j).code) return OK; /* it has ended: nobody cares any more */
    if (attempt_is_over(j, body, rq->party)) return OK;
    TRY(task_of(rq, body, j, rq->party, &t));
    TRY(js_get_str(&rq->cx, body, "status", &word));
    if (!run_status_parse(word, &st)) return FAIL(&rq->cx, PROTO, "status \"%.40s\"", word);
    if (!t || !j->row.driving) return FAIL(&rq->cx, PROTO, "job %s is not driven here", j->row.job);
    if (!t->row.local) {
        const char *error = json_string_value(json_object_get(body, "error"));
        const char *unit = json_string_value(json_object_get(body, "unit"));
        if (run_ended(t->row.status)) return OK;
        if (unit && strcmp(unit, t->row.unit) != 0) t->row.unit = job_text(j, unit);
        t->row.done = number(body, "done"), t->row.all = number(body, "all");
        t->row.sent = number(body, "sent"), t->row.received = number(body, "received");
        t->row.pid = number(body, "pid");
        t->curable = json_is_true(json_object_get(body, "curable"));
        if (run_ended(st))
            task_set(t, st, error ? error : "");
        else
            job_changed(j);
    }
    if (run_ended(st)) drive_task_ended(t);
    return OK;
}

void method_task_status(struct request *rq, const json_t *body)
{
    request_end(rq, task_status(rq, body), NULL);
}

/* ---- end ---- */

static void save_models(struct job *j)
{
    struct site *s = j->site;
    struct arena *mem = arena_new(REQUEST_MEM);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    const struct plan *p = &j->plan;
    CLEANUP(json_decrefp) json_t *infer = NULL;
    if (!mem || !plan_gives_model(p) || p->conf.type == JOB_PREDICT) {
        arena_free(mem);
        return;
    }
    status st = model_infer_dsl(&cx, p->dsl_json, NULL, 0, &infer);
    for (size_t i = 0; i < p->conf.n_parties && !st.code; i++) {
        struct party who = p->conf.parties[i];
        struct model_key key = {role_name(who.role), who.id, p->model_id, j->row.job};
        if (who.id != s->set->party) continue;
        st = model_save_pipeline(&cx, arena_printf(mem, "%s/models", s->dir), &key, p->dsl_json, infer,
                                 p->conf_json, p->conf_json, p->conf.initiator.id,
                                 role_name(p->conf.initiator.role));
    }
    if (st.code) log_error(&cx, "model not saved", KV("job", j->row.job), KV("error", cx.err.msg));
    arena_free(mem);
}

/* Of no use once the job has succeeded; of a failed job they are what a rerun goes on from. */
static void drop_checkpoints(struct job *j)
{
    struct arena *mem = arena_new(1 << 20);
    struct ctx cx = {.mem = mem, .log = j->site->cx->log};
    for (size_t i = 0; mem && i < j->n_tasks; i++)
        if (j->tasks[i].row.local && dir_remove(&cx, run_checkpoint_dir(&cx, &j->tasks[i])).code)
            log_warn(&cx, "checkpoint not removed", KV("job", j->row.job),
                     KV("error", (const char *)cx.err.msg));
    arena_free(mem);
}

static void end_task(struct job_task *t, enum run_status st, const struct job_task *failed,
                     const char *reason)
{
    bool same = failed && failed->component == t->component && failed != t;
    char why[ERROR_MAX];
    if (run_ended(t->row.status) || t == failed) {
        if (t == failed && !run_ended(t->row.status)) task_set(t, RUN_FAILED, reason);
        if (t->run) run_stop(t, NULL, reason);
        return;
    }
    bool ran = t->row.status == RUN_RUNNING;
    if (same)
        snprintf(why, sizeof why, "stopped: %s failed", party_text(&t->job->cx, failed->row.party));
    else if (ran)
        snprintf(why, sizeof why, "stopped: the job %s", st == RUN_CANCELED ? "was stopped" : "failed");
    else
        snprintf(why, sizeof why, "not started");
    task_set(t, same ? RUN_FAILED : ran && st == RUN_TIMEOUT ? RUN_TIMEOUT : RUN_CANCELED, why);
    if (t->run) run_stop(t, same ? failed : NULL, reason);
}

void party_end(struct job *j, enum run_status st, const char *reason, const struct job_task *failed)
{
    struct site *s = j->site;
    if (j->ended) return;
    retry_drop_all(j);
    if (st == RUN_SUCCESS) save_models(j);
    if (st == RUN_SUCCESS) drop_checkpoints(j);
    if (jobdb_begin(&j->cx, s->db).code) log_error(&j->cx, "job end", KV("error", j->cx.err.msg));
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].row.local || j->row.driving) end_task(&j->tasks[i], st, failed, reason);
    j->ended = true;
    loop_cancel(s->loop, j->timer);
    j->timer = NULL;
    job_set(j, st, reason);
    if (jobdb_commit(&j->cx, s->db).code) {
        jobdb_rollback(s->db);
        log_error(&j->cx, "job end", KV("error", j->cx.err.msg));
        keep_save(j);
    }
    log_info(s->cx, "job ended", KV("job", j->row.job), KV("status", run_status_name(st)),
             KV("reason", j->row.reason));
    notices_forget_job(s, j->row.job);
    node_reclaim(s->node, j->row.job, NULL);
    keep_soon(s);
    job_unref(j);
}

/* The job has ended here already: told twice, or both ended it while the link was down, each for its reason. The
 * initiator's is the one that stands. */
static status end_again(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    const char *id, *word, *reason;
    enum run_status st;
    struct job_row row;
    TRY(js_get_str(cx, body, "job", &id));
    TRY(js_get_str(cx, body, "status", &word));
    TRY(js_get_str(cx, body, "reason", &reason));
    if (!run_status_parse(word, &st) || !run_ended(st)) return FAIL(cx, PROTO, "status \"%.40s\"", word);
    if (jobdb_job(cx, rq->site->db, id, &row).code) return OK;
    if (row.initiator.id != rq->party || row.driving || !run_ended(row.status) || row.status == RUN_SUCCESS ||
        st == RUN_SUCCESS || (row.status == st && strcmp(row.reason, reason) == 0))
        return OK;
    row.status = st, row.reason = arena_strndup(cx->mem, reason, strnlen(reason, ERROR_MAX));
    if (!row.reason) return FAIL(cx, NOMEM, "a reason");
    return jobdb_set_job(cx, rq->site->db, &row);
}

static status end(struct request *rq, const json_t *body)
{
    struct job *j = NULL;
    struct job_task *failed = NULL;
    const char *word, *reason;
    enum run_status st;
    if (job_of(rq, body, &j).code) return end_again(rq, body);
    if (j->row.initiator.id != rq->party || j->row.driving)
        return FAIL(&rq->cx, AUTH, "job %s is not party %u's to end", j->row.job, rq->party);
    TRY(js_get_str(&rq->cx, body, "status", &word));
    TRY(js_get_str(&rq->cx, body, "reason", &reason));
    if (!run_status_parse(word, &st) || !run_ended(st)) return FAIL(&rq->cx, PROTO, "status \"%.40s\"", word);
    const json_t *f = json_object_get(body, "failed");
    const char *component = json_string_value(json_object_get(f, "component"));
    const char *role = json_string_value(json_object_get(f, "role"));
    struct party who;
    size_t c = component ? dsl_find(&j->plan.dsl, component) : SIZE_MAX;
    if (c != SIZE_MAX && role && role_parse(role, &who.role) &&
        conf_party_id(json_object_get(f, "party"), &who.id))
        failed = job_task_find(j, c, who);
    party_end(j, st, reason, failed);
    return OK;
}

void method_end(struct request *rq, const json_t *body)
{
    request_end(rq, end(rq, body), NULL);
}

/* Somebody wants the job stopped: the operator here, or another party's. */
static status stop(struct request *rq, const json_t *body)
{
    struct site *s = rq->site;
    struct job *j = NULL;
    TRY(job_of(rq, body, &j));
    bool operator= rq->reply.kind == REPLY_CONTROL;
    const char *why = json_string_value(json_object_get(body, "reason")),
               *at = party_of(&rq->cx, &j->plan, rq->party);
    if (operator|| !why) why = arena_printf(rq->cx.mem, "stopped at %s by its operator", at);
    if (!why) return FAIL(&rq->cx, NOMEM, "a reason");
    if (j->row.driving) {
        uint32_t sites[CONF_PARTIES_MAX];
        bool takes_part = rq->party == s->set->party;
        for (size_t i = 0, n = plan_sites(&j->plan, s->set->party, sites); i < n; i++)
            takes_part = takes_part || sites[i] == rq->party;
        if (!takes_part)
            return FAIL(&rq->cx, AUTH, "party %u takes no part in job %s", rq->party, j->row.job);
        const char *word = json_string_value(json_object_get(body, "status"));
        bool fails = word && strcmp(word, "failed") == 0; /* the site is stopped, nobody meant this job */
        drive_end(j, fails && !operator? RUN_FAILED : RUN_CANCELED, why, NULL);
        return OK;
    }
    if (!operator) return FAIL(&rq->cx, AUTH, "job %s is not driven here", j->row.job);
    CLEANUP(json_decrefp) json_t *tell = json_pack("{s:s,s:s}", "job", j->row.job, "reason", why);
    uint32_t initiator = j->row.initiator.id;
    party_end(j, RUN_CANCELED, why, NULL);
    site_notify(s, initiator, "job.stop", tell);
    return OK;
}

void method_stop_asked(struct request *rq, const json_t *body)
{
    request_end(rq, stop(rq, body), NULL);
}
