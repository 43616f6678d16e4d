/* local.h - uploads, downloads and writers: jobs to FATE's clients (role local, party 0), threads of this site here.
 *
 * A document of kind "local" in api.db each: {"kind", "component", "module", "params", "status", "reason", "progress",
 * "started_ms", "ended_ms", "rows"}. At most two run at once, in order. What a stop or crash of the site left open is
 * failed at the next start. */
#pragma once
#include "http/http_int.h"

struct row_job;
struct local;
status local_start(struct ctx *cx, struct http *h);
void local_stop(struct http *h); /* cancels what runs, waits for it */
/* A new one, waiting; params is borrowed and kept in its document. file: of an upload, taken over (renamed by the caller to
 * where it stays until then); NULL: none. remove_file: delete it in the end. */
struct local_job {
    const char *id, *kind; /* "upload", "download", "writer" */
    const char *file;
    bool remove_file;
    const json_t *params;
};
status local_submit(struct call *c, const struct local_job *j);
bool local_cancel(struct http *h, const char *id); /* false: it neither waits nor runs */
/* Its DSL and conf as FATE would have made them; the caller owns them. */
status local_dsl(struct ctx *cx, const struct doc *d, json_t **out);
status local_conf(struct ctx *cx, const struct doc *d, json_t **out);
void local_task(const struct row_job *j, struct task_row *out);
