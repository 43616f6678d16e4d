/* why.c - `norn job why`: who waits for which message of whom, since when, is the link up, what is the other
 * one doing. */
#include "base/arena.h"
#include "base/num.h"
#include "flow/site_int.h"
#include "flow/view.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"

/* ---- what one site can say ---- */

/* Seconds of processor a process has used; negative: it is gone. */
static double cpu_seconds(int64_t pid)
{
    char path[40], buf[1024];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : -1;
    if (n <= 0) return -1;
    buf[n] = 0;
    const char *p = strrchr(buf, ')'); /* the name may hold anything */
    uint64_t ticks = 0, x;
    for (int field = 2; p && field < 15; field++) {
        p = strchr(p + 1, ' ');
        if (!p || field + 1 < 14) continue;
        if (num_parse_u64(p + 1, strcspn(p + 1, " "), &x)) ticks += x;
    }
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* The last line of a log for people: "event key=value ..." of a JSON line, any other line as it is. */
static const char *line_for_people(struct ctx *cx, const char *tail)
{
    static const char *const known[] = {"level", "job", "task", "role", "party", "event"};
    const char *nl = strrchr(tail, '\n'), *line = nl ? nl + 1 : tail, *key, *out;
    json_error_t e;
    json_t *v;
    CLEANUP(json_decrefp) json_t *j = json_loads(line, 0, &e);
    out = json_string_value(json_object_get(j, "event"));
    if (!out) return line;
    json_object_foreach(j, key, v)
    {
        bool skip = false;
        for (size_t i = 0; i < LEN(known) && !skip; i++)
            skip = strcmp(key, known[i]) == 0;
        const char *text = json_is_string(v) ? json_string_value(v) : NULL;
        if (skip || (!text && js_text(cx, v, &text).code)) continue;
        out = strcmp(key, "t") == 0 ? arena_printf(cx->mem, "%s %s", text, out)
                                    : arena_printf(cx->mem, "%s, %s %s", out, key, text);
        if (!out) return line;
    }
    return arena_strdup(cx->mem, out);
}

const char *why_last_line(struct ctx *cx, const struct job_task *t)
{
    const char *line = line_for_people(cx, run_log_tail(cx, t, 2000));
    return line ? line : "";
}

static json_t *task_here(struct ctx *cx, const struct job_task *t)
{
    json_t *j = view_task_row(&t->row);
    struct task_wait w = {0};
    if (!j) return NULL;
    json_object_set_new(j, "log", json_string(why_last_line(cx, t)));
    if (!t->run) return j;
    json_object_set_new(j, "cpu_s", json_real(cpu_seconds(t->row.pid)));
    if (!run_is_old(t)) run_wait(t, &w);
    if (w.waiting)
        json_object_set_new(j, "wait",
                            json_pack("{s:b,s:s,s:I,s:s,s:I,s:I}", "sending", (int)w.sending, "role",
                                      role_name(w.peer.role), "party", (json_int_t)w.peer.id, "tag", w.tag,
                                      "seq", (json_int_t)w.seq, "since_ms", (json_int_t)w.since_ms));
    return j;
}

json_t *link_json(const struct link_state *l)
{
    return json_pack("{s:I,s:I,s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:f,s:s,s:i,s:s,s:s}", "party",
                     (json_int_t)l->party, "via", (json_int_t)l->via, "up", (int)l->up, "dialling",
                     (int)l->dialling, "since_ms", (json_int_t)l->since_ms, "last_heard_ms",
                     (json_int_t)l->last_heard_ms, "bytes_in", (json_int_t)l->bytes_in, "bytes_out",
                     (json_int_t)l->bytes_out, "queued_bytes", (json_int_t)l->queued_bytes, "round_trip_ms",
                     l->round_trip_ms, "version", l->peer_version, "wire_version", (int)l->wire_version,
                     "address", l->address, "last_error", l->last_error);
}

static status why_here(struct request *rq, const json_t *body, json_t **out)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    const char *id;
    TRY(js_get_str(cx, body, "job", &id));
    struct job *j = job_find(s, id);
    struct job_row row;
    if (!j)
        TRY(jobdb_job(cx, s->db, id, &row));
    else
        row = j->row;
    json_t *tasks = json_array(), *links = json_array();
    *out = json_pack("{s:I,s:s,s:s,s:I,s:o,s:o}", "party", (json_int_t)s->set->party, "status",
                     run_status_name(row.status), "reason", row.reason, "now_ms", (json_int_t)wall_ms(),
                     "tasks", tasks, "links", links);
    if (!*out) return FAIL(cx, NOMEM, "an answer");
    for (size_t i = 0; j && i < j->n_tasks; i++)
        if (j->tasks[i].row.local) json_array_append_new(tasks, task_here(cx, &j->tasks[i]));
    uint32_t sites[CONF_PARTIES_MAX];
    struct link_state l;
    for (size_t i = 0, n = j ? plan_sites(&j->plan, s->set->party, sites) : 0; i < n; i++)
        if (node_link(s->node, sites[i], &l)) json_array_append_new(links, link_json(&l));
    return OK;
}

/* Only parties of the job may ask. */
void method_why_here(struct request *rq, const json_t *body)
{
    struct site *s = rq->site;
    const char *id = json_string_value(json_object_get(body, "job"));
    struct job *j = id ? job_find(s, id) : NULL;
    json_t *out = NULL;
    uint32_t sites[CONF_PARTIES_MAX];
    bool takes_part = rq->party == s->set->party || !j;
    for (size_t i = 0, n = j ? plan_sites(&j->plan, s->set->party, sites) : 0; i < n; i++)
        takes_part = takes_part || sites[i] == rq->party;
    if (!takes_part)
        request_end(rq, FAIL(&rq->cx, AUTH, "party %u takes no part in this job", rq->party), NULL);
    else {
        status st = why_here(rq, body, &out);
        request_end(rq, st, out);
    }
}

/* ---- the whole picture ---- */

struct ask {
    struct request *rq;
    json_t *sites; /* party -> answer, or {"error"} */
    size_t waiting;
    const char *id;
};
struct ask_one {
    struct ask *ask;
    uint32_t site;
};

static const json_t *find_task(const json_t *site, const char *component, const char *role)
{
    const json_t *tasks = json_object_get(site, "tasks");
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *t = json_array_get(tasks, i);
        if (strcmp(json_string_value(json_object_get(t, "component")), component) == 0 &&
            strcmp(json_string_value(json_object_get(t, "role")), role) == 0)
            return t;
    }
    return NULL;
}

static const char *str(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}

static int64_t num(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static const json_t *find_link(const json_t *site, int64_t party)
{
    const json_t *links = json_object_get(site, "links");
    for (size_t i = 0; i < json_array_size(links); i++)
        if (num(json_array_get(links, i), "party") == party) return json_array_get(links, i);
    return NULL;
}

static void say_link(struct buf *b, const json_t *link, int64_t party)
{
    if (!link) return;
    if (json_is_true(json_object_get(link, "up")))
        buf_printf(b, "; the link to %" PRId64 " is up (%.1f ms)", party,
                   json_real_value(json_object_get(link, "round_trip_ms")));
    else
        buf_printf(b, "; the link to %" PRId64 " is DOWN since %.1f s: %s", party,
                   (double)(wall_ms() - num(link, "since_ms")) / 1000, str(link, "last_error"));
}

static void say_other(struct ctx *cx, struct buf *b, const struct ask *a, const char *component,
                      const json_t *wait)
{
    const char *role = str(wait, "role"), *key = arena_printf(cx->mem, "%" PRId64, num(wait, "party"));
    const json_t *site = json_object_get(a->sites, key),
                 *other = site ? find_task(site, component, role) : NULL;
    if (!site || json_object_get(site, "error")) {
        buf_printf(b, "; site %s does not answer: %s", key, site ? str(site, "error") : "it was not asked");
        return;
    }
    if (!other) {
        buf_printf(b, "; site %s has no such task (job there: %s)", key, str(site, "status"));
        return;
    }
    buf_printf(b, "; %s %s's task is %s", role, key, str(other, "status"));
    const json_t *its = json_object_get(other, "wait");
    if (json_object_get(other, "cpu_s"))
        buf_printf(b, ", %.1f s of processor", json_real_value(json_object_get(other, "cpu_s")));
    if (its)
        buf_printf(b, ", itself waiting for '%s' of %s %" PRId64, str(its, "tag"), str(its, "role"),
                   num(its, "party"));
    if (*str(other, "error")) buf_printf(b, ", error: %s", str(other, "error"));
    if (*str(other, "log")) buf_printf(b, "; its last log line: %s", str(other, "log"));
}

static status say_task(struct ctx *cx, const struct ask *a, const json_t *site, const json_t *t,
                       json_t *lines)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes text;
    const json_t *wait = json_object_get(t, "wait");
    const char *st = str(t, "status");
    if (strcmp(st, "running") != 0) return OK;
    buf_printf(&b, "%s at %s %" PRId64, str(t, "component"), str(t, "role"), num(t, "party"));
    if (wait) {
        buf_printf(&b, " waits %.1f s %s '%s' (number %" PRId64 ") %s %s %" PRId64,
                   (double)(num(site, "now_ms") - num(wait, "since_ms")) / 1000,
                   json_is_true(json_object_get(wait, "sending")) ? "for room to send" : "for message",
                   str(wait, "tag"), num(wait, "seq"),
                   json_is_true(json_object_get(wait, "sending")) ? "to" : "of", str(wait, "role"),
                   num(wait, "party"));
        say_link(&b, find_link(site, num(wait, "party")), num(wait, "party"));
        say_other(cx, &b, a, str(t, "component"), wait);
    } else {
        buf_printf(&b, " computes, %.1f s of processor", json_real_value(json_object_get(t, "cpu_s")));
        if (num(t, "all"))
            buf_printf(&b, ", %" PRId64 " of %" PRId64 " %s", num(t, "done"), num(t, "all"), str(t, "unit"));
        if (*str(t, "log")) buf_printf(&b, "; last log line: %s", str(t, "log"));
    }
    TRY(buf_ok(cx, &b));
    TRY(buf_to_arena(cx, &b, &text));
    return json_array_append_new(lines, json_string((const char *)text.p)) ? FAIL(cx, NOMEM, "an answer")
                                                                           : OK;
}

static status say_all(struct ask *a, json_t *lines)
{
    struct ctx *cx = &a->rq->cx;
    struct job *j = job_find(a->rq->site, a->id);
    const char *party;
    json_t *site;
    if (!j) {
        const json_t *own = json_object_get(a->sites, arena_printf(cx->mem, "%u", a->rq->site->set->party));
        const char *text = arena_printf(cx->mem, "the job has ended: %s%s%s", str(own, "status"),
                                        *str(own, "reason") ? ": " : "", str(own, "reason"));
        return json_array_append_new(lines, json_string(text ? text : "")) ? FAIL(cx, NOMEM, "an answer")
                                                                           : OK;
    }
    if (j->row.status == RUN_WAITING) {
        const char *text = j->created ? "the job waits for room: this site runs as many jobs as max_jobs says"
                                      : "the job is being made at the other parties";
        if (json_array_append_new(lines, json_string(text))) return FAIL(cx, NOMEM, "an answer");
    }
    for (size_t c = 0; c < j->plan.dsl.n; c++) {
        const char *text = retry_text(cx, j, c);
        if (text && json_array_append_new(lines, json_string(text))) return FAIL(cx, NOMEM, "an answer");
    }
    json_object_foreach(a->sites, party, site)
    {
        const json_t *tasks = json_object_get(site, "tasks");
        for (size_t i = 0; i < json_array_size(tasks); i++)
            TRY(say_task(cx, a, site, json_array_get(tasks, i), lines));
        if (json_object_get(site, "error") &&
            json_array_append_new(lines, json_string(arena_printf(cx->mem, "site %s does not answer: %s",
                                                                  party, str(site, "error")))))
            return FAIL(cx, NOMEM, "an answer");
    }
    return OK;
}

static void answered(void *arg, const struct err *err, const json_t *answer)
{
    struct ask_one *one = arg;
    struct ask *a = one->ask;
    const char *key = arena_printf(a->rq->cx.mem, "%u", one->site);
    json_object_set_new(a->sites, key,
                        err ? json_pack("{s:s}", "error", err->msg) : json_incref((json_t *)answer));
    if (--a->waiting) return;
    json_t *lines = json_array();
    status st = say_all(a, lines);
    request_end(a->rq, st, json_pack("{s:s,s:o,s:O}", "job", a->id, "why", lines, "sites", a->sites));
}

static void drop(void *j)
{
    json_decref(j);
}

static status ask(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    struct ask *a = NEW(cx, struct ask, 1);
    struct ask_one *one = NEW(cx, struct ask_one, CONF_PARTIES_MAX + 1);
    uint32_t sites[CONF_PARTIES_MAX + 1];
    if (!a || !one) return FAIL(cx, NOMEM, "an answer");
    TRY(js_get_str(cx, body, "job", &a->id));
    struct job *j = job_find(s, a->id);
    size_t n = j ? plan_sites(&j->plan, s->set->party, sites) : 0;
    sites[n++] = s->set->party;
    a->rq = rq;
    a->sites = json_object();
    a->waiting = n;
    if (!a->sites || !arena_on_free(cx->mem, drop, a->sites)) return FAIL(cx, NOMEM, "an answer");
    for (size_t i = 0; i < n; i++) {
        one[i] = (struct ask_one){a, sites[i]};
        site_call(s, sites[i], "job.why", body, 2000, answered, &one[i]);
    }
    return OK;
}

void method_why(struct request *rq, const json_t *body)
{
    status st = ask(rq, body);
    if (st.code) request_end(rq, st, NULL);
}
