/* cmd_predict.c - norn predict: deploys a trained model if need be, builds the predict job's conf, submits
 * it. */
#include "base/arena.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/job_print.h"
#include "cli/sub.h"
#include "flow/conf.h"
#include "flow/jobdb.h"
#include "flow/settings.h"
#include "flow/view.h"
#include "model/model.h"
#include "table/csv.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct predict {
    const char *site, *model, *version, *table, *out;
    struct arg_list host_tables; /* "10000=ns/name" */
    bool wait, json;
    const char *dir; /* of the models */
    struct model_info info;
    struct model_pipeline pipe;
    struct conf conf;   /* of the training */
    const char *reader; /* the model's Reader component */
};

/* "namespace/name", the first slash decides. */
static status table_json(struct ctx *cx, const char *what, const char *text, json_t **out)
{
    const char *slash = strchr(text, '/');
    if (!slash || slash == text || !slash[1])
        return FAIL(cx, ARG, "%s %.100s: want NAMESPACE/NAME", what, text);
    *out = json_pack("{s:{s:s%,s:s}}", "table", "namespace", text, (size_t)(slash - text), "name", slash + 1);
    return *out ? OK : FAIL(cx, ARG, "%s %.100s is not UTF-8", what, text);
}

static status find_model(struct ctx *cx, struct predict *p)
{
    struct settings set;
    struct model_info *all;
    size_t n;
    bool found = false;
    TRY(settings_load(cx, p->site, NULL, 0, &set));
    p->dir = arena_printf(cx->mem, "%s/models", p->site);
    TRY(model_list(cx, p->dir, &all, &n));
    for (size_t i = 0; i < n && !found; i++) {
        if (strcmp(all[i].key.version, p->version) != 0 || strcmp(all[i].key.role, "guest") != 0) continue;
        if (p->model && strcmp(all[i].key.model_id, p->model) != 0) continue;
        p->info = all[i], found = true;
    }
    if (!found)
        return FAIL(cx, NOTFOUND, "no model of version %.40s as guest here: see norn model list", p->version);
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    TRY(model_load_pipeline(cx, p->dir, &p->info.key, &p->pipe));
    return conf_parse(cx, p->pipe.train_conf, &p->conf, warnings);
}

static status find_reader(struct ctx *cx, struct predict *p)
{
    const json_t *components = json_object_get(p->pipe.inference_dsl, "components");
    const char *name;
    json_t *c;
    json_object_foreach((json_t *)components, name, c)
    {
        if (strcasecmp(sub_str(c, "module"), "Reader") != 0) continue;
        if (p->reader)
            return FAIL(cx, UNSUPPORTED,
                        "the model reads two tables (%s, %s): submit a predict job by conf instead",
                        p->reader, name);
        p->reader = name;
    }
    return p->reader
               ? OK
               : FAIL(cx, UNSUPPORTED,
                      "the model was deployed without its Reader: submit a predict job by conf instead");
}

/* A model that was only trained is deployed first, at all parties. */
static status deploy_if_needed(struct ctx *cx, struct predict *p)
{
    CLEANUP(json_decrefp) json_t *answer = NULL;
    if (p->info.deployed) return OK;
    CLEANUP(json_decrefp)
    json_t *params =
        json_pack("{s:s,s:s}", "model_id", p->info.key.model_id, "model_version", p->info.key.version);
    TRY(client_call(cx, p->site, "model.deploy", params, &answer));
    p->info.key.version = arena_strdup(cx->mem, sub_str(answer, "model_version"));
    TRY(model_load_pipeline(cx, p->dir, &p->info.key, &p->pipe));
    if (!p->json) fprintf(stderr, "deployed as version %s\n", p->info.key.version);
    return OK;
}

/* What --host-table says for a host; every host needs one. */
static status host_table(struct ctx *cx, const struct predict *p, uint32_t host, json_t **out)
{
    const char *key = arena_printf(cx->mem, "%u=", host);
    for (size_t i = 0; i < p->host_tables.n; i++)
        if (strncmp(p->host_tables.p[i], key, strlen(key)) == 0)
            return table_json(cx, "--host-table", p->host_tables.p[i] + strlen(key), out);
    return FAIL(cx, ARG, "--host-table %u=NAMESPACE/NAME is missing: the model has host %u", host, host);
}

static status make_conf(struct ctx *cx, const struct predict *p, json_t **out)
{
    json_t *guest = NULL, *hosts = json_object();
    size_t k = 0;
    CLEANUP(json_decrefp)
    json_t *conf = json_pack("{s:i,s:{s:s,s:I},s:O,s:{s:{s:s,s:s,s:s}},s:{s:{s:{},s:o}}}", "dsl_version", 2,
                             "initiator", "role", "guest", "party_id", (json_int_t)p->info.key.party, "role",
                             json_object_get(p->pipe.train_conf, "role"), "job_parameters", "common",
                             "job_type", "predict", "model_id", p->info.key.model_id, "model_version",
                             p->info.key.version, "component_parameters", "role", "guest", "host", hosts);
    if (!conf) return FAIL(cx, NOMEM, "a conf");
    TRY(table_json(cx, "--table", p->table, &guest));
    const char *index =
        arena_printf(cx->mem, "%zu", conf_index(&p->conf, (struct party){ROLE_GUEST, p->info.key.party}));
    json_object_set_new(js_at(conf, "component_parameters.role.guest"), index,
                        json_pack("{s:o}", p->reader, guest));
    for (size_t i = 0; i < p->conf.n_parties; i++) {
        json_t *table = NULL;
        if (p->conf.parties[i].role != ROLE_HOST) continue;
        TRY(host_table(cx, p, p->conf.parties[i].id, &table));
        if (json_object_set_new(hosts, arena_printf(cx->mem, "%zu", k++),
                                json_pack("{s:o}", p->reader, table)))
            return FAIL(cx, NOMEM, "a conf");
    }
    *out = TAKE(conf);
    return OK;
}

/* The last component of the DSL that gave a table at the guest: the predictions. */
static status write_result(struct ctx *cx, const struct predict *p, const char *job)
{
    struct jobdb *db;
    const struct table *t;
    const char *name, *path = NULL;
    json_t *c;
    CLEANUP(json_decrefp) json_t *list = NULL;
    TRY(jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", p->site), true, &db));
    TRY(view_outputs(cx, db, job, &list));
    json_object_foreach(json_object_get(p->pipe.inference_dsl, "components"), name,
                        c) for (size_t i = 0; i < json_array_size(list); i++)
    {
        const json_t *o = json_array_get(list, i);
        if (strcmp(sub_str(o, "component"), name) == 0 && strcmp(sub_str(o, "role"), "guest") == 0)
            path = sub_str(o, "path");
    }
    if (!path) return FAIL(cx, NOTFOUND, "job %s gave no table at the guest", job);
    TRY(table_open(cx, path, &t));
    return csv_export(cx, t, p->out);
}

static status submit(struct ctx *cx, struct predict *p, json_t **answer, json_t **last)
{
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(find_model(cx, p));
    TRY(deploy_if_needed(cx, p));
    TRY(find_reader(cx, p));
    TRY(make_conf(cx, p, &conf));
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:O}", "conf", conf);
    TRY(client_call(cx, p->site, "job.submit", params, answer));
    if (!p->wait && !p->out) return OK;
    CLEANUP(json_decrefp) json_t *watch = json_pack("{s:s}", "job", sub_str(*answer, "job"));
    TRY(client_watch(cx, p->site, "job.watch", watch, NULL, NULL, last));
    if (strcmp(sub_str(*last, "status"), "success") != 0)
        return FAIL(cx, PEER, "predict job %s: %s: %s", sub_str(*last, "job"), sub_str(*last, "status"),
                    sub_str(*last, "reason"));
    return p->out ? write_result(cx, p, sub_str(*last, "job")) : OK;
}

int cmd_predict(struct ctx *cx, int argc, char **argv)
{
    struct predict p = {0};
    const char **rest;
    size_t n;
    bool help;
    const struct arg args[] = {
        {"--site", ARG_TEXT, &p.site, "DIR", "the guest's site folder", true},
        {"--version", ARG_TEXT, &p.version, "VERSION", "the model's version: of a training job, or deployed",
         true},
        {"--model", ARG_TEXT, &p.model, "ID", "its id, where one version has several", false},
        {"--table", ARG_TEXT, &p.table, "NS/NAME", "the guest's table of new rows", true},
        {"--host-table", ARG_LIST, &p.host_tables, "PARTY=NS/NAME", "the same of each host", false},
        {"--out", ARG_TEXT, &p.out, "FILE", "write the predictions there as CSV (waits)", false},
        {"--wait", ARG_FLAG, &p.wait, NULL, "return when the job has ended", false},
        {"--json", ARG_FLAG, &p.json, NULL, "answer as JSON", false},
    };
    const struct arg_spec spec = {
        "predict --site DIR --version VERSION --table NS/NAME --host-table PARTY=NS/NAME [--out FILE]",
        "Predicts new rows with a trained model; deploys it first where that was not done.",
        "norn predict --site bank --version 202611240930001234560 --table new/guest --host-table "
        "10000=new/host --out scores.csv",
        args,
        LEN(args),
        0,
        0};
    CLEANUP(json_decrefp) json_t *answer = NULL;
    CLEANUP(json_decrefp) json_t *last = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, p.json);
    if (help) return 0;
    if (submit(cx, &p, &answer, &last).code) return cmd_fail(cx, p.json);
    if (p.json) return cmd_print_json(cx, last ? last : answer);
    if (last)
        job_print(cx, last);
    else
        printf("job %s\nfollow it: norn job show --site %s --watch %s\n", sub_str(answer, "job"), p.site,
               sub_str(answer, "job"));
    if (p.out) printf("predictions written to %s\n", p.out);
    return 0;
}
