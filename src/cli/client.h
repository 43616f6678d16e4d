/* client.h - a command's talk with the site that runs a folder, over its control socket (flow/control.h). */
#pragma once
#include "base/js.h"

/* One request, one answer. params may be NULL; not consumed. Caller owns *result. The site's error comes back
 * with its code and message; STATE: no site runs there; IO: it went away, or said nothing for two minutes. */
status client_call(struct ctx *cx, const char *dir, const char *method, const json_t *params,
                   json_t **result);
/* The same for methods that send events first, without a limit of time; fn may be NULL, event is borrowed. */
status client_watch(struct ctx *cx, const char *dir, const char *method, const json_t *params,
                    void (*fn)(void *arg, const json_t *event), void *arg, json_t **result);
