/* submit.c - a new job, or one run again: checked at every party before anything is stored, then made at
 * every party. */
#include "base/arena.h"
#include "base/log.h"
#include "base/secret.h"
#include "flow/site_int.h"
#include "flow/testseed.h"
#include <stdio.h>
#include <string.h>

/* ---- making it at every party ---- */

static void created(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct job *j = arg;
    j->n_asked--;
    if (err && !j->ended)
        drive_end(j, RUN_FAILED, err->msg, NULL);
    else if (!j->ended && j->n_asked == 0)
        drive_created(j);
    job_unref(j);
}

/* body is not consumed. */
static void create_at_parties(struct job *j, const json_t *body)
{
    uint32_t sites[CONF_PARTIES_MAX];
    size_t n = plan_sites(&j->plan, j->site->set->party, sites);
    job_ref(j);
    j->n_asked = n;
    for (size_t i = 0; i < n; i++) {
        job_ref(j);
        site_call(j->site, sites[i], "job.create", body, j->site->set->task_deadline_ms, created, j);
    }
    if (n == 0) drive_created(j);
    job_unref(j);
}

static bool kept(const struct job *j, size_t c)
{
    bool any = false;
    for (size_t i = 0; i < j->n_tasks; i++) {
        if (j->tasks[i].component != c) continue;
        if (!run_good(j->tasks[i].row.status)) return false;
        any = true;
    }
    return any;
}

static json_t *create_body(const struct job *j)
{
    json_t *keep = json_array();
    for (size_t c = 0; c < j->plan.dsl.n && j->row.attempt > 0; c++)
        if (kept(j, c)) json_array_append_new(keep, json_string(j->plan.dsl.components[c].name));
    return json_pack("{s:s,s:O,s:O,s:I,s:I,s:o}", "job", j->row.job, "dsl", j->plan.dsl_json, "conf",
                     j->plan.conf_json, "seed", (json_int_t)j->row.seed, "attempt",
                     (json_int_t)j->row.attempt, "keep", keep);
}

void job_create_at_parties(struct job *j)
{
    CLEANUP(json_decrefp) json_t *body = create_body(j);
    if (body)
        create_at_parties(j, body);
    else
        drive_end(j, RUN_FAILED, "out of memory", NULL);
}

static status store_rows(struct job *j)
{
    TRY(jobdb_add_job(&j->cx, j->site->db, &j->row));
    for (size_t i = 0; i < j->n_tasks; i++)
        TRY(jobdb_put_task(&j->cx, j->site->db, &j->tasks[i].row));
    return OK;
}

static status store_new(struct job *j)
{
    TRY(jobdb_begin(&j->cx, j->site->db));
    if (store_rows(j).code || jobdb_commit(&j->cx, j->site->db).code) {
        jobdb_rollback(j->site->db);
        return (status){j->cx.err.code};
    }
    return OK;
}

/* ---- asking every party ---- */

struct ask {
    struct request *rq;
    struct plan plan;
    char id[JOB_ID_MAX + 1];
    size_t waiting;
    struct err err;      /* the first refusal */
    struct job_row old;  /* rerun: the job as it ended */
    json_t *answers;     /* rerun: site -> what is done there */
    bool force;          /* rerun: also what has succeeded; of `again` only, and what depends on it */
    const json_t *again; /* names, may be NULL: all; borrowed from the request */
};

struct ask_one {
    struct ask *ask;
    uint32_t site;
};

/* Stored and in the site's list, or nowhere. */
static status make_job(struct ask *a, struct job **out)
{
    struct ctx *cx = &a->rq->cx;
    struct site *s = a->rq->site;
    struct job_row row = {.job = a->id, .driving = true, .status = RUN_WAITING, .created_ms = wall_ms()};
    uint64_t seed, n;
    bool testing;
    TRY(js_text(cx, a->plan.dsl_json, &row.dsl));
    TRY(js_text(cx, a->plan.conf_json, &row.conf));
    TRY(rand_bytes(cx, &seed, sizeof seed));
    TRY(test_seed(cx, &testing, &n));
    if (testing) seed = n << 11;
    row.seed = (int64_t)(seed >> 11); /* 53 bits: exact in any JSON reader */
    TRY(job_new(cx, s, &row, a->plan.dsl_json, a->plan.conf_json, out));
    job_open(*out);
    if (store_new(*out).code) {
        cx->err = (*out)->cx.err;
        job_drop(*out);
        return (status){cx->err.code};
    }
    return OK;
}

static void new_job(struct ask *a)
{
    struct request *rq = a->rq;
    struct job *j = NULL;
    if (make_job(a, &j).code || !j) {
        request_end(rq, (status){rq->cx.err.code}, NULL);
        return;
    }
    log_info(rq->site->cx, "job submitted", KV("job", j->row.job));
    request_end(rq, OK,
                json_pack("{s:s,s:s,s:s,s:O}", "job", j->row.job, "model_id", j->row.model_id,
                          "model_version", j->row.job, "warnings", j->plan.warnings));
    job_create_at_parties(j);
}

static void run_again(struct ask *a);

/* The refusal of another site as the submitter reads it: "host 10000: ...". */
static struct err refusal(const struct ask *a, uint32_t site, const struct err *err)
{
    struct ctx cx = {.mem = a->rq->cx.mem, .err = *err};
    const char *said = arena_printf(cx.mem, "party %u: ", site); /* so begins what the node passes on */
    if (site == a->rq->site->set->party) return *err;
    if (said && strncmp(err->msg, said, strlen(said)) == 0)
        snprintf(cx.err.msg, sizeof cx.err.msg, "%s", err->msg + strlen(said));
    err_prefix(&cx, "%s", party_of(&cx, &a->plan, site));
    return cx.err;
}

static void asked(void *arg, const struct err *err, const json_t *answer)
{
    struct ask_one *one = arg;
    struct ask *a = one->ask;
    if (err && !a->err.code) a->err = refusal(a, one->site, err);
    if (answer && a->answers)
        json_object_set(a->answers, arena_printf(a->rq->cx.mem, "%u", one->site), (json_t *)answer);
    if (--a->waiting) return;
    if (a->err.code) {
        a->rq->cx.err = a->err;
        request_end(a->rq, (status){a->err.code}, NULL);
    } else if (a->answers) {
        run_again(a);
    } else {
        new_job(a);
    }
}

/* Asks every site of the plan, this one included when `own`. */
static status ask_all(struct ask *a, const char *method, const json_t *body, bool own)
{
    struct ctx *cx = &a->rq->cx;
    struct site *s = a->rq->site;
    uint32_t sites[CONF_PARTIES_MAX + 1];
    size_t n = plan_sites(&a->plan, s->set->party, sites);
    if (own) sites[n++] = s->set->party;
    struct ask_one *one = NEW(cx, struct ask_one, n + 1);
    if (!one) return FAIL(cx, NOMEM, "a job");
    a->waiting = n + 1;
    for (size_t i = 0; i < n; i++) {
        one[i] = (struct ask_one){a, sites[i]};
        site_call(s, sites[i], method, body, CHECK_MS, asked, &one[i]);
    }
    one[n] = (struct ask_one){a, s->set->party};
    asked(&one[n], NULL, NULL);
    return OK;
}

static status check_peers(struct ctx *cx, struct site *s, const struct plan *p)
{
    uint32_t sites[CONF_PARTIES_MAX];
    struct link_state l;
    size_t n = plan_sites(p, s->set->party, sites);
    const char *known = "";
    for (size_t i = 0; i < s->set->n_peers; i++)
        known = arena_printf(cx->mem, "%s%s%u", known, i ? ", " : "", s->set->peers[i].party);
    for (size_t i = 0; i < n; i++)
        if (!s->set->route_default && !node_link(s->node, sites[i], &l))
            return FAIL(cx, ARG, "%s is unknown to this site: its peers are %s (see `norn site add-peer`)",
                        party_of(cx, p, sites[i]), *known ? known : "none");
    return OK;
}

/* ---- submit ---- */

/* A predict job's DSL is the deployed model's, its conf the training's under what is given. */
static status predict_texts(struct request *rq, const json_t *given, json_t **dsl, json_t **conf)
{
    struct ctx *cx = &rq->cx;
    const json_t *common = js_at(given, "job_parameters.common");
    const char *id = json_string_value(json_object_get(common, "model_id"));
    const json_t *v = json_object_get(common, "model_version"), *init = json_object_get(given, "initiator");
    const char *version = json_is_integer(v) ? arena_printf(cx->mem, "%lld", (long long)json_integer_value(v))
                                             : json_string_value(v);
    uint32_t party;
    const char *role = json_string_value(json_object_get(init, "role"));
    struct model_pipeline pipe;
    if (!id || !version)
        return FAIL(cx, ARG, "conf: a predict job needs job_parameters.common.model_id and model_version");
    if (!role || !conf_party_id(json_object_get(init, "party_id"), &party))
        return FAIL(cx, ARG, "conf: initiator needs a role and a party_id");
    struct model_key key = {role, party, id, version};
    TRY(model_load_pipeline(cx, arena_printf(cx->mem, "%s/models", rq->site->dir), &key, &pipe));
    if (pipe.parent || !pipe.inference_dsl)
        return FAIL(cx, STATE, "model %s version %s has not been deployed: see `norn model deploy`", id,
                    version);
    TRY(conf_for_predict(cx, pipe.train_conf, given, conf));
    *dsl = json_deep_copy(pipe.inference_dsl);
    return *dsl ? OK : FAIL(cx, NOMEM, "a job");
}

static status submit(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    struct ask *a = NEW(cx, struct ask, 1);
    json_t *given_conf, *given_dsl = json_object_get(body, "dsl");
    if (!a) return FAIL(cx, NOMEM, "a job");
    TRY(job_room(cx, s));
    TRY(site_takes_work(cx, s));
    TRY(js_get_obj(cx, body, "conf", &given_conf));
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    const char *type = json_string_value(js_at(given_conf, "job_parameters.common.job_type"));
    if (type && strcmp(type, "predict") == 0) {
        TRY(predict_texts(rq, given_conf, &dsl, &conf));
    } else {
        dsl = json_incref(given_dsl);
        conf = json_incref(given_conf);
        if (!dsl) return FAIL(cx, ARG, "a job needs a DSL");
    }
    TRY(plan_make(cx, dsl, conf, &a->plan));
    struct party init = a->plan.conf.initiator;
    if (init.id != s->set->party)
        return FAIL(cx, ARG, "conf: the initiator is %s, this site is party %u: submit there",
                    party_text(cx, init), s->set->party);
    TRY(check_peers(cx, s, &a->plan));
    TRY(party_check(cx, s, &a->plan, true));
    job_id_next(&s->ids, a->id);
    a->rq = rq;
    CLEANUP(json_decrefp) json_t *check = json_pack("{s:s,s:O,s:O}", "job", a->id, "dsl", dsl, "conf", conf);
    return ask_all(a, "job.check", check, false);
}

void method_submit(struct request *rq, const json_t *body)
{
    status st = submit(rq, body);
    if (st.code) request_end(rq, st, NULL);
}

/* ---- rerun ---- */

static bool done_at(const struct ask *a, struct party who, const char *component)
{
    const json_t *list = json_object_get(
        json_object_get(a->answers, arena_printf(a->rq->cx.mem, "%u", who.id)), role_name(who.role));
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), component) == 0) return true;
    return false;
}

/* What need not run again: done at all parties that run it, and all it depends on kept as well. */
static bool asked_again(const struct ask *a, const char *component)
{
    for (size_t i = 0; i < json_array_size(a->again); i++) {
        const char *name = json_string_value(json_array_get(a->again, i));
        if (name && strcmp(name, component) == 0) return a->force;
    }
    return a->force && !a->again;
}

static json_t *kept_components(const struct ask *a)
{
    const struct dsl *d = &a->plan.dsl;
    bool keep[DSL_COMPONENTS_MAX] = {0};
    json_t *list = json_array();
    for (size_t k = 0; k < d->n; k++) {
        size_t i = d->order[k];
        keep[i] = !asked_again(a, d->components[i].name);
        for (size_t q = 0; q < d->components[i].n_after; q++)
            keep[i] = keep[i] && keep[d->components[i].after[q]];
        for (size_t q = 0; q < a->plan.conf.n_parties && keep[i]; q++) {
            struct party who = a->plan.conf.parties[q];
            if (plan_runs(&a->plan, i, who)) keep[i] = done_at(a, who, d->components[i].name);
        }
        if (keep[i]) json_array_append_new(list, json_string(d->components[i].name));
    }
    return list;
}

/* Above those of all tasks, which may have been tried more often than the job. */
static status next_attempt(struct ctx *cx, struct site *s, struct job_row *row)
{
    struct task_row *tasks;
    size_t n;
    TRY(jobdb_tasks(cx, s->db, row->job, &tasks, &n));
    for (size_t i = 0; i < n; i++)
        if (tasks[i].attempt > row->attempt) row->attempt = tasks[i].attempt;
    row->attempt++;
    return OK;
}

static status reopen_job(struct ask *a, const json_t *keep, struct job **out)
{
    struct ctx *cx = &a->rq->cx;
    struct job_row row = a->old;
    if (job_find(a->rq->site, row.job)) return FAIL(cx, STATE, "job %s runs", row.job);
    TRY(next_attempt(cx, a->rq->site, &row));
    row.status = RUN_WAITING, row.reason = "", row.started_ms = row.ended_ms = 0;
    TRY(job_new(cx, a->rq->site, &row, a->plan.dsl_json, a->plan.conf_json, out));
    job_open(*out);
    if (job_keep(*out, keep).code) {
        cx->err = (*out)->cx.err;
        job_drop(*out);
        return (status){cx->err.code};
    }
    return OK;
}

static void run_again(struct ask *a)
{
    struct request *rq = a->rq;
    struct job *j = NULL;
    CLEANUP(json_decrefp) json_t *keep = kept_components(a);
    if (reopen_job(a, keep, &j).code || !j) {
        request_end(rq, (status){rq->cx.err.code}, NULL);
        return;
    }
    job_set(j, RUN_WAITING, "");
    request_end(
        rq, OK,
        json_pack("{s:s,s:O,s:I}", "job", j->row.job, "kept", keep, "attempt", (json_int_t)j->row.attempt));
    job_create_at_parties(j);
}

static void forwarded(void *arg, const struct err *err, const json_t *answer)
{
    struct request *rq = arg;
    if (err) rq->cx.err = *err;
    request_end(rq, (status){err ? err->code : ERR_OK}, err ? NULL : json_incref((json_t *)answer));
}

static status rerun(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    const char *id;
    struct ask *a = NEW(cx, struct ask, 1);
    if (!a) return FAIL(cx, NOMEM, "a job");
    TRY(js_get_str(cx, body, "job", &id));
    if (job_find(s, id)) return FAIL(cx, STATE, "job %.40s has not ended", id);
    TRY(jobdb_job(cx, s->db, id, &a->old));
    a->force = json_is_true(json_object_get(body, "force"));
    a->again = json_object_get(body, "components");
    if (a->old.status == RUN_SUCCESS && !a->force)
        return FAIL(cx, STATE, "job %s has succeeded: nothing to run again", id);
    if (!a->old.driving) {
        site_call(s, a->old.initiator.id, "job.rerun", body, CHECK_MS, forwarded, rq);
        return OK;
    }
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(js_parse(cx, "stored DSL", a->old.dsl, strlen(a->old.dsl), &dsl));
    TRY(js_parse(cx, "stored conf", a->old.conf, strlen(a->old.conf), &conf));
    TRY(plan_make(cx, dsl, conf, &a->plan));
    uint32_t sites[CONF_PARTIES_MAX];
    bool takes_part = rq->party == s->set->party;
    for (size_t i = 0, n = plan_sites(&a->plan, s->set->party, sites); i < n; i++)
        takes_part = takes_part || sites[i] == rq->party;
    if (!takes_part) return FAIL(cx, AUTH, "party %u takes no part in job %s", rq->party, id);
    for (size_t i = 0; i < json_array_size(a->again); i++) {
        const char *name = json_string_value(json_array_get(a->again, i));
        if (!name || dsl_find(&a->plan.dsl, name) == SIZE_MAX)
            return FAIL(cx, ARG, "job %s has no component %.64s", id, name ? name : "of that kind");
    }
    TRY(check_peers(cx, s, &a->plan));
    a->rq = rq;
    a->answers = json_object();
    if (!a->answers || !arena_on_free(cx->mem, (void (*)(void *))json_decref, a->answers))
        return FAIL(cx, NOMEM, "a job");
    CLEANUP(json_decrefp) json_t *question = json_pack("{s:s}", "job", id);
    return ask_all(a, "job.done", question, true);
}

void method_rerun(struct request *rq, const json_t *body)
{
    status st = rerun(rq, body);
    if (st.code) request_end(rq, st, NULL);
}
