/* deploy.c - a model made ready to predict, at every party that has a part of it. */
#include "base/arena.h"
#include "flow/site_int.h"
#include <string.h>

/* The conf of the training, from whichever part this site holds; the parties that took part. */
static status model_parties(struct ctx *cx, struct site *s, const char *model_id, const char *version,
                            struct conf *c)
{
    const char *dir = arena_printf(cx->mem, "%s/models", s->dir);
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    for (enum role r = 0; r < ROLE_COUNT; r++) {
        struct model_key key = {role_name(r), s->set->party, model_id, version};
        struct model_pipeline p;
        status st = model_load_pipeline(cx, dir, &key, &p);
        if (st.code == ERR_NOTFOUND) continue;
        TRY(st);
        return conf_parse(cx, p.train_conf, c, warnings);
    }
    return FAIL(cx, NOTFOUND, "party %u has no model %.120s version %.40s", s->set->party, model_id, version);
}

static status deploy_here(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    const char *id, *version, *fresh, **components = NULL;
    const json_t *list = json_object_get(body, "components");
    struct conf c;
    bool takes_part = false;
    TRY(js_get_str(cx, body, "model_id", &id));
    TRY(js_get_str(cx, body, "model_version", &version));
    TRY(js_get_str(cx, body, "new_version", &fresh));
    if (!job_id_ok(fresh)) return FAIL(cx, PROTO, "\"%.40s\" is no version", fresh);
    TRY(model_parties(cx, s, id, version, &c));
    for (size_t i = 0; i < c.n_parties; i++)
        takes_part = takes_part || c.parties[i].id == rq->party;
    if (!takes_part) return FAIL(cx, AUTH, "party %u took no part in model %s", rq->party, id);
    size_t n = json_array_size(list);
    if (n) components = NEW(cx, const char *, n);
    if (n && !components) return FAIL(cx, NOMEM, "component names");
    for (size_t i = 0; i < n; i++) {
        components[i] = json_string_value(json_array_get(list, i));
        if (!components[i]) return FAIL(cx, ARG, "components: entry %zu is not a text", i);
    }
    for (size_t i = 0; i < c.n_parties; i++) {
        if (c.parties[i].id != s->set->party) continue;
        struct model_key key = {role_name(c.parties[i].role), s->set->party, id, version};
        const char *models = arena_printf(cx->mem, "%s/models", s->dir);
        if (json_object_get(body, "dsl"))
            TRY(model_deploy_dsl(cx, models, &key, json_object_get(body, "dsl"), fresh));
        else
            TRY(model_deploy(cx, models, &key, components, n, fresh));
    }
    return OK;
}

void method_deploy_here(struct request *rq, const json_t *body)
{
    request_end(rq, deploy_here(rq, body), NULL);
}

struct ask {
    struct request *rq;
    char version[JOB_ID_MAX + 1];
    const char *model_id;
    size_t waiting;
    struct err err;
};
struct ask_one {
    struct ask *ask;
    uint32_t site;
};

static void deployed(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct ask_one *one = arg;
    struct ask *a = one->ask;
    if (err && !a->err.code) {
        a->err = *err; /* that of another site begins with "party 10000: " */
    }
    if (--a->waiting) return;
    a->rq->cx.err = a->err;
    request_end(a->rq, (status){a->err.code},
                a->err.code ? NULL
                            : json_pack("{s:s,s:s}", "model_id", a->model_id, "model_version", a->version));
}

static status deploy(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    const char *version;
    struct conf c;
    struct ask *a = NEW(cx, struct ask, 1);
    struct ask_one *one = NEW(cx, struct ask_one, CONF_PARTIES_MAX);
    if (!a || !one) return FAIL(cx, NOMEM, "deploy");
    a->rq = rq;
    TRY(js_get_str(cx, body, "model_id", &a->model_id));
    TRY(js_get_str(cx, body, "model_version", &version));
    TRY(model_parties(cx, s, a->model_id, version, &c));
    job_id_next(&s->ids, a->version);
    CLEANUP(json_decrefp) json_t *ask = json_copy((json_t *)body);
    if (!ask || json_object_set_new(ask, "new_version", json_string(a->version)))
        return FAIL(cx, NOMEM, "deploy");
    for (size_t i = 0; i < c.n_parties; i++) {
        bool again = false;
        for (size_t k = 0; k < a->waiting && !again; k++)
            again = one[k].site == c.parties[i].id;
        if (!again) one[a->waiting++] = (struct ask_one){a, c.parties[i].id};
    }
    for (size_t i = 0, n = a->waiting; i < n; i++)
        site_call(s, one[i].site, "model.deploy", ask, CHECK_MS, deployed, &one[i]);
    return OK;
}

void method_deploy(struct request *rq, const json_t *body)
{
    status st = deploy(rq, body);
    if (st.code) request_end(rq, st, NULL);
}
