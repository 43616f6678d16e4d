/* methods.c - what a peer and what the CLI may ask of a site, and the small answers. */
#include "base/arena.h"
#include "base/log.h"
#include "flow/site_int.h"
#include "flow/view.h"
#include "model/model.h"
#include <string.h>
#include <unistd.h>

/* ---- site ---- */

static void method_hello(struct request *rq, const json_t *body)
{
    (void)body;
    request_end(rq, OK,
                json_pack("{s:I,s:s,s:s,s:I}", "party", (json_int_t)rq->site->set->party, "name",
                          rq->site->set->name, "version", NORN_VERSION, "now_ms", (json_int_t)wall_ms()));
}

static status site_status(struct request *rq, json_t **out)
{
    struct site *s = rq->site;
    struct link_state links[SITE_LINKS_MAX];
    size_t n = node_links(s->node, links, SITE_LINKS_MAX), running = 0, waiting = 0, tasks = 0;
    json_t *list = json_array(), *settings;
    for (size_t i = 0; i < n && i < SITE_LINKS_MAX; i++)
        json_array_append_new(list, link_json(&links[i]));
    for (struct job *j = s->jobs; j; j = j->next) {
        running += !j->ended && j->row.status == RUN_RUNNING;
        waiting += !j->ended && j->row.status == RUN_WAITING;
        for (size_t i = 0; i < j->n_tasks; i++)
            tasks += j->tasks[i].run != NULL;
    }
    TRY(settings_json(&rq->cx, s->set, &settings));
    *out = json_pack(
        "{s:I,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:o,s:o}", "party", (json_int_t)s->set->party,
        "name", s->set->name, "version", NORN_VERSION, "pid", (json_int_t)getpid(), "started_ms",
        (json_int_t)s->started_ms, "port", (json_int_t)node_port(s->node), "http_port",
        (json_int_t)(s->api ? s->http->port(s->api) : 0), "jobs_running", (json_int_t)running, "jobs_waiting",
        (json_int_t)waiting, "tasks", (json_int_t)tasks, "notices", (json_int_t)notices_waiting(s),
        "draining", (int)s->draining, "links", list, "settings", settings);
    struct node_memory m;
    node_memory(s->node, &m);
    if (*out)
        json_object_set_new(*out, "messages",
                            json_pack("{s:I,s:I,s:I,s:I}", "memory", (json_int_t)m.memory, "memory_most",
                                      (json_int_t)m.memory_most, "disk", (json_int_t)m.disk, "disk_most",
                                      (json_int_t)m.disk_most));
    return *out ? OK : FAIL(&rq->cx, NOMEM, "an answer");
}

static void method_status(struct request *rq, const json_t *body)
{
    (void)body;
    json_t *out = NULL;
    status st = site_status(rq, &out);
    request_end(rq, st, out);
}

/* drain_ms: how long running jobs have to end by themselves; jobs: how many do. */
static void method_site_stop(struct request *rq, const json_t *body)
{
    struct site *s = rq->site;
    int64_t ms = json_integer_value(json_object_get(body, "drain_ms"));
    request_end(rq, OK, json_pack("{s:I}", "jobs", (json_int_t)jobs_not_ended(s)));
    if (ms > 0)
        site_drain(s, (uint64_t)ms, "its operator stopped the site");
    else
        site_stop(s, "its operator stopped the site");
}

/* ---- one call to every peer ---- */

struct gather {
    struct request *rq;
    json_t *answers;
    size_t waiting;
};
struct gather_one {
    struct gather *g;
    uint32_t party;
    uint64_t sent_us;
    int64_t sent_wall_ms;
};

static void drop(void *j)
{
    json_decref(j);
}

static void gathered(void *arg, const struct err *err, const json_t *answer)
{
    struct gather_one *one = arg;
    struct gather *g = one->g;
    json_t *j =
        err ? json_pack("{s:s,s:s}", "code", err_name(err->code), "error", err->msg) : json_deep_copy(answer);
    double ms = (double)(clock_us() - one->sent_us) / 1000;
    json_object_set_new(j, "round_trip_ms", json_real(ms));
    if (!err) {
        int64_t there = json_integer_value(json_object_get(answer, "now_ms"));
        json_object_set_new(j, "clock_skew_ms", json_real((double)(there - one->sent_wall_ms) - ms / 2));
    }
    json_object_set_new(g->answers, arena_printf(g->rq->cx.mem, "%u", one->party), j);
    if (--g->waiting == 0) request_end(g->rq, OK, json_incref(g->answers));
}

/* Asks every peer how it is: version, clock, round trip. */
static status ping(struct request *rq)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    struct gather *g = NEW(cx, struct gather, 1);
    struct gather_one *one = NEW(cx, struct gather_one, s->set->n_peers + 1);
    if (!g || !one) return FAIL(cx, NOMEM, "an answer");
    *g = (struct gather){.rq = rq, .answers = json_object(), .waiting = s->set->n_peers};
    if (!g->answers || !arena_on_free(cx->mem, drop, g->answers)) return FAIL(cx, NOMEM, "an answer");
    CLEANUP(json_decrefp) json_t *body = json_object();
    for (size_t i = 0; i < s->set->n_peers; i++) {
        one[i] = (struct gather_one){g, s->set->peers[i].party, clock_us(), wall_ms()};
        site_call(s, one[i].party, "site.hello", body, 3000, gathered, &one[i]);
    }
    if (s->set->n_peers == 0) request_end(rq, OK, NULL);
    return OK;
}

static void method_ping(struct request *rq, const json_t *body)
{
    (void)body;
    status st = ping(rq);
    if (st.code) request_end(rq, st, NULL);
}

/* ---- jobs ---- */

static status list(struct request *rq, const json_t *body, json_t **out)
{
    int64_t max = json_integer_value(json_object_get(body, "max"));
    return view_jobs(&rq->cx, rq->site->db, max > 0 ? (size_t)max : 0, out);
}

static void method_list(struct request *rq, const json_t *body)
{
    json_t *out = NULL;
    status st = list(rq, body, &out);
    request_end(rq, st, out);
}

static status view(struct request *rq, const char *id, json_t **out)
{
    struct job *j = job_find(rq->site, id);
    if (!j) j = job_find_unsaved(rq->site, id);
    if (!j) return view_job(&rq->cx, rq->site->db, id, out);
    *out = view_job_now(j);
    return *out ? OK : FAIL(&rq->cx, NOMEM, "an answer");
}

/* For a peer: the whole job as its initiator sees it; only for those who take part. */
static status view_for_peer(struct request *rq, const json_t *body, json_t **out)
{
    struct ctx *cx = &rq->cx;
    const char *id;
    struct job_row row;
    struct conf c;
    TRY(js_get_str(cx, body, "job", &id));
    TRY(jobdb_job(cx, rq->site->db, id, &row));
    CLEANUP(json_decrefp) json_t *conf = NULL;
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    TRY(js_parse(cx, "stored conf", row.conf, strlen(row.conf), &conf));
    TRY(conf_parse(cx, conf, &c, warnings));
    bool takes_part = false;
    for (size_t i = 0; i < c.n_parties; i++)
        takes_part = takes_part || c.parties[i].id == rq->party;
    if (!takes_part) return FAIL(cx, AUTH, "party %u takes no part in job %s", rq->party, id);
    return view(rq, id, out);
}

static void method_view(struct request *rq, const json_t *body)
{
    json_t *out = NULL;
    status st = view_for_peer(rq, body, &out);
    request_end(rq, st, out);
}

/* What the initiator sees, with our own tasks put in where they are fresher; without an answer, what we know.
 */
static void viewed(void *arg, const struct err *err, const json_t *answer)
{
    struct request *rq = arg;
    json_t *own = NULL;
    status st = view(rq, json_string_value(json_object_get(rq->body, "job")), &own);
    if (!st.code && !err && json_is_array(json_object_get(answer, "tasks"))) {
        json_t *tasks = json_deep_copy(json_object_get(answer, "tasks")),
               *mine = json_object_get(own, "tasks");
        for (size_t i = 0; i < json_array_size(tasks); i++)
            for (size_t k = 0; k < json_array_size(mine); k++) {
                const json_t *a = json_array_get(tasks, i), *b = json_array_get(mine, k);
                if (json_equal(json_object_get(a, "component"), json_object_get(b, "component")) &&
                    json_equal(json_object_get(a, "role"), json_object_get(b, "role")) &&
                    json_equal(json_object_get(a, "party"), json_object_get(b, "party")))
                    json_array_set(tasks, i, json_array_get(mine, k));
            }
        json_object_set_new(own, "tasks", tasks);
    }
    if (!st.code && err) json_object_set_new(own, "note", json_string(err->msg));
    request_end(rq, st, own);
}

/* *elsewhere: the initiator is being asked, and its answer ends the request. */
static status show(struct request *rq, const json_t *body, json_t **out, bool *elsewhere)
{
    const char *id;
    struct job_row row;
    TRY(js_get_str(&rq->cx, body, "job", &id));
    TRY(jobdb_job(&rq->cx, rq->site->db, id, &row));
    *elsewhere = !row.driving;
    if (row.driving) return view(rq, id, out);
    site_call(rq->site, row.initiator.id, "job.view", body, 2000, viewed, rq);
    return OK;
}

static void method_show(struct request *rq, const json_t *body)
{
    json_t *out = NULL;
    bool elsewhere = false;
    status st = show(rq, body, &out, &elsewhere);
    if (!elsewhere) request_end(rq, st, out);
}

/* Answers when the job has ended; events until then. */
static status watch(struct request *rq, const json_t *body, struct job **running, json_t **out)
{
    const char *id;
    TRY(js_get_str(&rq->cx, body, "job", &id));
    *running = job_find(rq->site, id);
    return *running ? OK : view(rq, id, out);
}

static void method_watch(struct request *rq, const json_t *body)
{
    struct job *j = NULL;
    json_t *out = NULL;
    status st = watch(rq, body, &j, &out);
    if (!j) {
        request_end(rq, st, out);
        return;
    }
    control_watch(rq->site->control, rq->reply.id, j->row.job);
    rq->reply.kind = REPLY_NOBODY; /* control_event gives the last word */
    request_end(rq, OK, NULL);
    CLEANUP(json_decrefp) json_t *now = view_job_now(j);
    control_event(j->site->control, j->row.job, now, false);
}

/* ---- do we agree on what still runs? ---- */

static status sync_answer(struct request *rq, const json_t *body, json_t *ended)
{
    struct ctx *cx = &rq->cx;
    json_t *jobs;
    TRY(js_get_arr(cx, body, "jobs", &jobs));
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const char *id = json_string_value(json_array_get(jobs, i));
        struct job_row row;
        if (!id || !job_id_ok(id)) return FAIL(cx, PROTO, "a job id is none");
        if (job_find(rq->site, id)) continue;
        if (jobdb_job(cx, rq->site->db, id, &row).code) {
            row.status = RUN_FAILED;
            row.reason = arena_printf(cx->mem, "party %u does not know this job", rq->site->set->party);
        }
        if (json_object_set_new(
                ended, id,
                json_pack("{s:s,s:s}", "status", run_status_name(row.status), "reason", row.reason)))
            return FAIL(cx, NOMEM, "an answer");
    }
    return OK;
}

void method_sync(struct request *rq, const json_t *body)
{
    json_t *ended = json_object();
    status st = sync_answer(rq, body, ended);
    request_end(rq, st, ended);
}

static void synced(void *arg, const struct err *err, const json_t *answer)
{
    struct site *s = arg;
    const char *id;
    json_t *v;
    enum run_status st;
    if (err) return; /* the link is down again: the next up asks again */
    json_object_foreach((json_t *)answer, id, v)
    {
        struct job *j = job_find(s, id);
        const char *word = json_string_value(json_object_get(v, "status"));
        const char *reason = json_string_value(json_object_get(v, "reason"));
        if (!j || !word || !reason || !run_status_parse(word, &st) || !run_ended(st)) continue;
        if (j->row.driving)
            drive_end(j, run_good(st) ? RUN_FAILED : st, *reason ? reason : "another party ended the job",
                      NULL);
        else
            party_end(j, st, reason, NULL);
    }
}

static bool takes_part(const struct job *j, uint32_t party)
{
    for (size_t i = 0; i < j->plan.conf.n_parties; i++)
        if (j->plan.conf.parties[i].id == party) return true;
    return false;
}

void party_sync(struct site *s, uint32_t party)
{
    CLEANUP(json_decrefp) json_t *body = json_pack("{s:[]}", "jobs");
    json_t *jobs = json_object_get(body, "jobs");
    for (struct job *j = s->jobs; j; j = j->next) {
        bool ask = j->row.driving ? takes_part(j, party) : j->row.initiator.id == party;
        if (ask && !j->ended && j->created) json_array_append_new(jobs, json_string(j->row.job));
    }
    if (json_array_size(jobs)) site_call(s, party, "jobs.sync", body, 10000, synced, s);
}

const struct method peer_methods[] = {
    {"site.hello", method_hello},
    {"site.bytes", method_bytes},
    {"job.check", method_check},
    {"job.create", method_create},
    {"job.done", method_done_list},
    {"task.start", method_start},
    {"task.again", method_again},
    {"task.status", method_task_status},
    {"job.end", method_end},
    {"job.stop", method_stop_asked},
    {"job.rerun", method_rerun},
    {"job.view", method_view},
    {"job.why", method_why_here},
    {"jobs.sync", method_sync},
    {"model.deploy", method_deploy_here},
    {NULL, NULL},
};
const struct method control_methods[] = {
    {"site.status", method_status},
    {"site.stop", method_site_stop},
    {"site.ping", method_ping},
    {"site.inventory", method_inventory},
    {"site.metrics", method_metrics},
    {"site.probe", method_probe},
    {"job.submit", method_submit},
    {"job.list", method_list},
    {"job.show", method_show},
    {"job.watch", method_watch},
    {"job.stop", method_stop_asked},
    {"job.rerun", method_rerun},
    {"job.why", method_why},
    {"model.deploy", method_deploy},
    {NULL, NULL},
};
