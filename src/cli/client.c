#include "cli/client.h"
#include "base/file.h"
#include "flow/control.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_S 120

static enum err_code code_of(const char *name)
{
    for (int c = 0; c < ERR_COUNT; c++)
        if (strcmp(err_name((enum err_code)c), name) == 0) return (enum err_code)c;
    return ERR_INTERNAL;
}

/* The last frame of an answer: its result, or its error as ours. */
static status finish(struct ctx *cx, const json_t *frame, json_t **result)
{
    const json_t *error = json_object_get(frame, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    if (json_is_true(json_object_get(frame, "ok"))) {
        *result = json_incref(json_object_get(frame, "result"));
        return *result ? OK : FAIL(cx, PROTO, "the site's answer has no result");
    }
    return err_set(cx, code ? code_of(code) : ERR_PROTO, __FILE__, __LINE__, "%s",
                   message ? message : "the site's answer has no error");
}

static status talk(struct ctx *cx, const char *dir, const char *method, const json_t *params, int limit_s,
                   void (*fn)(void *arg, const json_t *event), void *arg, json_t **result)
{
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(json_decrefp)
    json_t *request = json_pack("{s:s,s:O*}", "method", method, "params", params);
    if (!request) return FAIL(cx, NOMEM, "a request");
    TRY(control_connect(cx, dir, &fd));
    struct timeval limit = {.tv_sec = limit_s};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    TRY(control_put(cx, fd, request));
    for (;;) {
        CLEANUP(json_decrefp) json_t *frame = NULL;
        TRY_IN(cx, control_get(cx, fd, &frame), "no answer of the site in %s", dir);
        const json_t *event = json_object_get(frame, "event");
        if (!event) return finish(cx, frame, result);
        if (fn) fn(arg, event);
    }
}

status client_watch(struct ctx *cx, const char *dir, const char *method, const json_t *params,
                    void (*fn)(void *arg, const json_t *event), void *arg, json_t **result)
{
    return talk(cx, dir, method, params, 0, fn, arg, result); /* a job may take days */
}

status client_call(struct ctx *cx, const char *dir, const char *method, const json_t *params, json_t **result)
{
    return talk(cx, dir, method, params, ANSWER_S, NULL, NULL, result);
}
