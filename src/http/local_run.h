/* local_run.h - what a local job does, on its thread. */
#pragma once
#include "http/http_int.h"

struct local_work {
    const char *id, *kind, *file;
    bool remove_file;
    json_t *doc; /* its document; rows and progress are put there */
};
status local_run(struct ctx *cx, struct worker *w, struct local_work *work);
/* params of an upload as FATE's clients send them, checked: ARG, UNSUPPORTED by name. */
status local_check_upload(struct ctx *cx, const json_t *params);
/* A path that a request names for reading or writing files of the server: under DIR/files, absolute or relative to it.
 * AUTH: it leads elsewhere. */
status local_path(struct ctx *cx, const struct http *h, const char *given, const char **out);
