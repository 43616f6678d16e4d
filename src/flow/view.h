/* view.h - jobs as JSON documents, from the database: what the CLI prints and the API will answer from. */
#pragma once
#include "flow/jobdb.h"

/* [{"job", "status", "reason", "progress", "initiator", ...}], newest first; max 0 = all. Caller owns *out.
 */
status view_jobs(struct ctx *cx, struct jobdb *db, size_t max, json_t **out);
/* The same of one job, with "tasks": [{"component", "role", "party", "status", "seconds", ...}], DSL order.
 */
status view_job(struct ctx *cx, struct jobdb *db, const char *job, json_t **out);
/* {"<namespace>": {"<name>": {"data": [...], "meta": {...}}}} */
status view_metrics(struct ctx *cx, struct jobdb *db, const char *job, const char *component,
                    struct party who, json_t **out);
/* [{"component", "role", "party", "name", "rows", "cols", "path"}] */
status view_outputs(struct ctx *cx, struct jobdb *db, const char *job, json_t **out);
status view_summary(struct ctx *cx, struct jobdb *db, const char *job, const char *component,
                    struct party who, json_t **out);

json_t *view_job_row(const struct job_row *j); /* NULL: out of memory */
json_t *view_task_row(const struct task_row *t);
