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

/* An id for what is a job to FATE's clients and none to the scheduler: an upload, a refused submit. */
static void method_new_id(struct request *rq, const json_t *body)
{
    (void)body;
    char id[JOB_ID_MAX + 1];
    job_id_next(&rq->site->ids, id);
    request_end(rq, OK, json_pack("{s:s}", "job", id));
}

static const struct method api_methods[] = {
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
