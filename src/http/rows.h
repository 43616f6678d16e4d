/* rows.h - FATE's rows of jobs and tasks, made of ours and of the API's own local jobs.
 *
 * A row is a JSON object with FATE's column names ("f_job_id"); values that norn does not have are FATE's for "nothing".
 * docs/compatibility.md says which columns mean something here. */
#pragma once
#include "flow/plan.h"
#include "http/http_int.h"

struct row_job { /* one job at one party of this site */
    const char *id;
    struct party me, initiator;
    enum run_status status;
    const char *reason;
    int64_t attempt, progress;
    int64_t created_ms, started_ms, ended_ms;
    const char *model_id, *model_version;
    const char *notes;
    json_t *dsl, *conf;    /* borrowed: they go with cx->mem */
    bool local;            /* an upload or download of this site: no job of the scheduler */
    const struct doc *doc; /* of a local one */
};
/* Rows of one job at this site, those of its initiator first; none when it is unknown. */
status rows_of_job(struct call *c, const char *id, struct row_job **out, size_t *n);
/* Rows of jobs newest first: of all, or of those that have not ended. filters (NULL: none): a "status" (text or list) that
 * spares the reading of others; max counts what is left. */
status rows_recent(struct call *c, size_t max, bool open_only, const json_t *filters, struct row_job **out,
                   size_t *n);
status row_job_json(struct call *c, const struct row_job *j, json_t **out);
/* Rows of the tasks of a job: the newest attempt of each, by role, party and place in the DSL. filters (NULL: none) spare
 * the making of rows that row_matches would refuse for role, party, component or status; others may still be refused. */
status rows_tasks(struct call *c, const char *id, const json_t *filters, json_t **out);
/* Does the row answer the request's filters: "job_id", "role", ... as f_ columns; a list is any of them? *used: how many. */
bool row_matches(const json_t *row, const json_t *filters, size_t *used);
/* {"guest": [9999], ...} of a conf; caller owns. */
json_t *row_roles(const json_t *conf);
/* The conf with FATE's job parameters filled in, as its answers show it; owned by the caller. */
status row_conf(struct call *c, const struct row_job *j, json_t **out);
/* FATE's "ComponentParam" of a component: its parameters, and how they came about. Owned by the caller. */
status row_component_param(struct call *c, const struct row_job *j, const char *component, json_t **out,
                           const char **module);
/* FATE's row of an output table. */
status output_row_json(struct call *c, const struct row_job *j, const struct output_row *o, json_t **out);
/* The name that FATE would have given an output table: 32 hex digits, always the same ones. */
const char *output_table_name(struct ctx *cx, const char *job, const struct output_row *o);
const char *output_namespace(struct ctx *cx, const char *job, const struct output_row *o);
const char *row_code_path(const char *module, enum role role); /* FATE's class names */
json_t *row_unprefixed(const json_t *row); /* "f_job_id" to "job_id", "party_id" a number when told so */
