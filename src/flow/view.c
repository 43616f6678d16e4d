#include "flow/view.h"
#include "base/arena.h"
#include "base/loop.h"
#include "flow/dsl.h"
#include "flow/site_int.h"
#include <string.h>

static double seconds(int64_t from, int64_t to)
{
    if (!from) return 0;
    return (double)((to ? to : wall_ms()) - from) / 1000;
}

json_t *view_job_row(const struct job_row *j)
{
    return json_pack("{s:s,s:s,s:s,s:I,s:{s:s,s:I},s:b,s:I,s:s,s:s,s:I,s:I,s:I,s:f}", "job", j->job, "status",
                     run_status_name(j->status), "reason", j->reason, "progress", (json_int_t)j->progress,
                     "initiator", "role", role_name(j->initiator.role), "party", (json_int_t)j->initiator.id,
                     "driving", (int)j->driving, "attempt", (json_int_t)j->attempt, "model_id", j->model_id,
                     "model_version", j->job, "created_ms", (json_int_t)j->created_ms, "started_ms",
                     (json_int_t)j->started_ms, "ended_ms", (json_int_t)j->ended_ms, "seconds",
                     seconds(j->created_ms, j->ended_ms));
}

/* What of a summary says how numbers were hidden. */
static void add_scheme(json_t *task, const char *summary)
{
    json_error_t e;
    if (!*summary) return;
    CLEANUP(json_decrefp) json_t *s = json_loads(summary, 0, &e);
    json_t *encrypt = json_object_get(s, "encrypt");
    json_t *scheme = json_object_get(encrypt, "method"), *bits = json_object_get(encrypt, "security_bits");
    if (scheme) json_object_set(task, "scheme", scheme);
    if (bits) json_object_set(task, "security_bits", bits);
}

json_t *view_task_row(const struct task_row *t)
{
    bool running = t->status == RUN_RUNNING;
    double s = t->started_ms ? seconds(t->started_ms, t->ended_ms) : 0;
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:s,s:I,s:s,s:I,s:I,s:f,s:s,s:I,s:I,s:I,s:I,s:I}", "component",
                          t->component, "module", t->module, "role", role_name(t->party.role), "party",
                          (json_int_t)t->party.id, "status", run_status_name(t->status), "attempt",
                          (json_int_t)t->attempt, "error", t->error, "started_ms", (json_int_t)t->started_ms,
                          "ended_ms", (json_int_t)t->ended_ms, "seconds", s, "unit", t->unit, "done",
                          (json_int_t)t->done, "all", (json_int_t)t->all, "sent", (json_int_t)t->sent,
                          "received", (json_int_t)t->received, "pid", (json_int_t)(running ? t->pid : 0));
    if (!j) return NULL;
    if (t->all > 0) json_object_set_new(j, "percent", json_integer(100 * t->done / t->all));
    if (running && t->done > 0 && t->all > t->done)
        json_object_set_new(j, "left_s", json_real(s * (double)(t->all - t->done) / (double)t->done));
    add_scheme(j, t->summary);
    return j;
}

/* Percent of the whole: ended tasks count 1, a running one its own part. */
static int64_t job_percent(const json_t *tasks, int64_t ended)
{
    double sum = 0;
    size_t n = json_array_size(tasks);
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(tasks, i);
        const char *st = json_string_value(json_object_get(t, "status"));
        if (st && (strcmp(st, "success") == 0 || strcmp(st, "pass") == 0))
            sum += 1;
        else if (st && strcmp(st, "running") == 0)
            sum += (double)json_integer_value(json_object_get(t, "percent")) / 100;
    }
    return n ? (int64_t)(100 * sum / (double)n) : ended;
}

json_t *view_job_now(struct job *j)
{
    json_t *doc = view_job_row(&j->row), *tasks = json_array();
    for (size_t i = 0; i < j->n_tasks; i++)
        if (j->tasks[i].row.local || j->row.driving)
            json_array_append_new(tasks, view_task_row(&j->tasks[i].row));
    if (doc && j->row.status == RUN_RUNNING)
        json_object_set_new(doc, "progress", json_integer(job_percent(tasks, j->row.progress)));
    if (!doc || json_object_set_new(doc, "tasks", tasks)) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

status view_jobs(struct ctx *cx, struct jobdb *db, size_t max, json_t **out)
{
    struct job_row *rows;
    size_t n;
    TRY(jobdb_jobs(cx, db, max, &rows, &n));
    CLEANUP(json_decrefp) json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, view_job_row(&rows[i]))) return FAIL(cx, NOMEM, "a list of jobs");
    *out = TAKE(list);
    return OK;
}

/* Tasks in the DSL's order: as the components stand there, guests before hosts. */
static status add_tasks(struct ctx *cx, const struct job_row *row, const struct task_row *t, size_t n,
                        json_t *list)
{
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    struct dsl d;
    TRY(js_parse(cx, "stored DSL", row->dsl, strlen(row->dsl), &dsl));
    TRY(dsl_parse(cx, dsl, &d));
    for (size_t k = 0; k < d.n; k++)
        for (size_t i = 0; i < n; i++)
            if (strcmp(t[i].component, d.components[k].name) == 0 &&
                json_array_append_new(list, view_task_row(&t[i])))
                return FAIL(cx, NOMEM, "a job");
    return OK;
}

status view_job(struct ctx *cx, struct jobdb *db, const char *job, json_t **out)
{
    struct job_row row;
    struct task_row *tasks;
    size_t n;
    TRY(jobdb_job(cx, db, job, &row));
    TRY(jobdb_tasks(cx, db, job, &tasks, &n));
    CLEANUP(json_decrefp) json_t *doc = view_job_row(&row);
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(add_tasks(cx, &row, tasks, n, list));
    if (json_object_set(doc, "tasks", list)) return FAIL(cx, NOMEM, "a job");
    *out = TAKE(doc);
    return OK;
}

static status put_metric(struct ctx *cx, const struct metric_row *m, json_t *all)
{
    CLEANUP(json_decrefp) json_t *meta = NULL;
    CLEANUP(json_decrefp) json_t *points = NULL;
    json_t *ns = json_object_get(all, m->name_space);
    TRY(js_parse(cx, "stored metric", m->meta, strlen(m->meta), &meta));
    TRY(js_parse(cx, "stored metric", m->points, strlen(m->points), &points));
    if (!ns) {
        ns = json_object();
        if (json_object_set_new(all, m->name_space, ns)) return FAIL(cx, NOMEM, "metrics");
    }
    if (json_object_set_new(ns, m->name, json_pack("{s:O,s:O}", "data", points, "meta", meta)))
        return FAIL(cx, NOMEM, "metrics");
    return OK;
}

status view_metrics(struct ctx *cx, struct jobdb *db, const char *job, const char *component,
                    struct party who, json_t **out)
{
    struct job_row row;
    struct metric_row *m;
    size_t n;
    TRY(jobdb_job(cx, db, job, &row));
    TRY(jobdb_metrics(cx, db, job, component, who, &m, &n));
    CLEANUP(json_decrefp) json_t *all = json_object();
    for (size_t i = 0; i < n; i++)
        TRY(put_metric(cx, &m[i], all));
    *out = TAKE(all);
    return OK;
}

status view_outputs(struct ctx *cx, struct jobdb *db, const char *job, json_t **out)
{
    struct job_row row;
    struct output_row *o;
    size_t n;
    TRY(jobdb_job(cx, db, job, &row));
    TRY(jobdb_outputs(cx, db, job, &o, &n));
    CLEANUP(json_decrefp) json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *j = json_pack("{s:s,s:s,s:I,s:I,s:s,s:I,s:I,s:s}", "component", o[i].component, "role",
                              role_name(o[i].party.role), "party", (json_int_t)o[i].party.id, "attempt",
                              (json_int_t)o[i].attempt, "name", o[i].name, "rows", (json_int_t)o[i].n_rows,
                              "cols", (json_int_t)o[i].n_cols, "path", o[i].path);
        if (!j || json_array_append_new(list, j)) return FAIL(cx, NOMEM, "outputs");
    }
    *out = TAKE(list);
    return OK;
}

status view_summary(struct ctx *cx, struct jobdb *db, const char *job, const char *component,
                    struct party who, json_t **out)
{
    struct job_row row;
    struct task_row *t;
    size_t n;
    TRY(jobdb_job(cx, db, job, &row));
    TRY(jobdb_tasks(cx, db, job, &t, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].component, component) == 0 && party_same(t[i].party, who) && *t[i].summary)
            return js_parse(cx, "stored summary", t[i].summary, strlen(t[i].summary), out);
    *out = json_object();
    return *out ? OK : FAIL(cx, NOMEM, "a summary");
}
