/* api.c - what other threads of the site process ask of its loop: the CLI's methods, and those that only the HTTP API has. */
#include "flow/api.h"
#include "base/arena.h"
#include "base/log.h"
#include "flow/site_int.h"
#include <string.h>

const char *site_dir(const struct site *s)
{
    return s->dir;
}

const struct settings *site_settings(const struct site *s)
{
    return s->set;
}

status api_allow(struct ctx *cx, struct site *s, uint32_t party, const char *module, const char *ns,
                 const char *name)
{
    return s->api ? s->http->allow(cx, s->api, party, module, ns, name) : OK;
}

/* An id for what is a job to FATE's clients and none to the scheduler: an upload, a refused submit. */
static void method_new_id(struct request *rq, const json_t *body)
{
    (void)body;
    char id[JOB_ID_MAX + 1];
    job_id_next(&rq->site->ids, id);
    request_end(rq, OK, json_pack("{s:s}", "job", id));
}

/* New parameters for an ended job's next run: merged into its conf and checked as at submit. The other parties get the
 * conf with the rerun. */
static status set_parameters(struct request *rq, const json_t *body, json_t **out)
{
    static const char *const parts[] = {"job_parameters", "component_parameters"};
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    const char *id, *text;
    struct job_row row;
    struct plan plan = {0};
    TRY(js_get_str(cx, body, "job", &id));
    if (job_find(s, id)) return FAIL(cx, STATE, "job %.40s has not ended: stop it first", id);
    TRY(jobdb_job(cx, s->db, id, &row));
    if (!row.driving)
        return FAIL(cx, STATE, "job %s is party %u's: its parameters are changed there", id,
                    row.initiator.id);
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(js_parse(cx, "stored DSL", row.dsl, strlen(row.dsl), &dsl));
    TRY(js_parse(cx, "stored conf", row.conf, strlen(row.conf), &conf));
    for (size_t i = 0; i < LEN(parts); i++) {
        const json_t *over = json_object_get(body, parts[i]);
        if (!over) continue;
        if (!json_object_get(conf, parts[i])) json_object_set_new(conf, parts[i], json_object());
        TRY(js_merge(cx, json_object_get(conf, parts[i]), over));
    }
    TRY(plan_make(cx, dsl, conf, &plan));
    TRY(js_text(cx, conf, &text));
    TRY(jobdb_set_conf(cx, s->db, id, text));
    json_t *job = json_object_get(conf, parts[0]), *component = json_object_get(conf, parts[1]);
    *out = json_pack("{s:O*,s:O*,s:[]}", parts[0], job, parts[1], component, "components");
    return *out ? OK : FAIL(cx, NOMEM, "an answer");
}

static void method_parameters(struct request *rq, const json_t *body)
{
    json_t *out = NULL;
    status st = set_parameters(rq, body, &out);
    request_end(rq, st, out);
}

static const struct method api_methods[] = {
    {"job.parameters", method_parameters},
    {"job.id", method_new_id},
    {NULL, NULL},
};

struct asked {
    struct site *site;
    struct arena *mem;
    const char *method;
    json_t *params;
    node_done done;
    void *arg;
};

static const struct method *table_of(const char *method)
{
    for (const struct method *m = api_methods; m->name; m++)
        if (strcmp(m->name, method) == 0) return api_methods;
    return control_methods;
}

static void begin(struct loop *l, void *arg)
{
    (void)l;
    struct asked *a = arg;
    struct reply to = {.kind = REPLY_LOCAL, .done = a->done, .arg = a->arg};
    request_begin(a->site, &to, a->site->set->party, table_of(a->method), a->method, a->params);
    arena_free(a->mem);
}

bool site_ask(struct site *s, const char *method, json_t *params, node_done done, void *arg)
{
    struct arena *mem = params ? arena_new(1 << 14) : NULL;
    struct ctx cx = {.mem = mem};
    struct asked *a = mem ? NEW(&cx, struct asked, 1) : NULL;
    if (a) *a = (struct asked){s, mem, arena_strdup(mem, method), params, done, arg};
    if (!a || !a->method || !loop_post(s->loop, begin, a)) {
        json_decref(params);
        arena_free(mem);
        return false;
    }
    return true;
}
