/* site.h - the site process: links, control socket, jobs and the processes of their tasks, on one loop
 * thread. */
#pragma once
#include "flow/api.h"
#include "flow/settings.h"

struct site;
/* dir: the site's folder. http: the part that answers HTTP, NULL for none. ready is
 * called once all listens; http_port 0: no API. Runs until SIGTERM, SIGINT or site.stop; then ends
 * its jobs, tells the other parties and returns. STATE: another process runs this folder; the errors of
 * node_new and jobdb_open. */
status site_run(struct ctx *cx, const char *dir, const struct settings *set, const struct site_part *http,
                void (*ready)(void *arg, uint16_t port, uint16_t http_port), void *arg);
/* Process id of the site that runs the folder; 0: none. */
int64_t site_pid(struct ctx *cx, const char *dir);
