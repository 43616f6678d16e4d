/* answer.c - FATE's envelopes, and its clients' arguments. */
#include "base/arena.h"
#include "base/num.h"
#include "http/http_int.h"
#include "flow/conf.h"
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static status put_text(struct exchange *ex, int http_status, const char *text)
{
    size_t n = strlen(text);
    char *line = arena_printf(ex->cx.mem, "%s\n", text);
    if (!line) return FAIL(&ex->cx, NOMEM, "an answer");
    ex->status = http_status, ex->type = "application/json", ex->file_as = NULL;
    ex->text = (struct bytes){(const uint8_t *)line, n + 1};
    return OK;
}

status answer_object(struct call *c, json_t *all)
{
    const char *text;
    CLEANUP(json_decrefp) json_t *owned = all;
    if (!owned) return FAIL(c->cx, NOMEM, "an answer");
    TRY(js_text_sorted(c->cx, owned, &text));
    return put_text(c->ex, 200, text);
}

status answer(struct call *c, int retcode, const char *retmsg, json_t *data)
{
    return answer_object(
        c, json_pack("{s:i,s:s,s:o*}", "retcode", retcode, "retmsg", retmsg ? retmsg : "", "data", data));
}

status answer_ok(struct call *c, json_t *data)
{
    if (!data) return FAIL(c->cx, NOMEM, "an answer");
    return answer(c, 0, "success", data);
}

status answer_job(struct call *c, int retcode, const char *retmsg, const char *job, json_t *data)
{
    return answer_object(
        c, json_pack("{s:i,s:s,s:s,s:o*}", "retcode", retcode, "retmsg", retmsg, "jobId", job, "data", data));
}

status answer_http(struct call *c, int http_status, const char *retmsg)
{
    const char *text;
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:s,s:i}", "retmsg", retmsg ? retmsg : "", "retcode", http_status);
    if (!j) return FAIL(c->cx, NOMEM, "an answer");
    TRY(js_text(c->cx, j, &text));
    return put_text(c->ex, http_status, text);
}

status answer_text_file(struct call *c, const char *name, const char *type, const char *text, size_t n)
{
    c->ex->status = 200, c->ex->type = type, c->ex->file_as = name;
    c->ex->text = (struct bytes){(const uint8_t *)text, n};
    return OK;
}

status answer_fd(struct call *c, const char *name, const char *type, int fd)
{
    struct stat st;
    if (fstat(fd, &st)) {
        close(fd);
        return FAIL(c->cx, IO, "a file of the answer: %m");
    }
    c->ex->status = 200, c->ex->type = type, c->ex->file_as = name;
    c->ex->answer_fd = fd, c->ex->answer_bytes = (uint64_t)st.st_size;
    return OK;
}

/* FATE answers what went wrong in a route with HTTP 200 and retcode 100. */
void answer_failed(struct exchange *ex, const struct err *err)
{
    static const char none[] = "{\"retcode\":100,\"retmsg\":\"out of memory\"}\n";
    struct ctx *cx = &ex->cx;
    struct err why = *err;
    const char *text = NULL;
    int code = why.code == ERR_AUTH ? 108 : 100;
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:i,s:s}", "retcode", code, "retmsg", *why.msg ? why.msg : err_text(why.code));
    if (!j || js_text_sorted(cx, j, &text).code || put_text(ex, 200, text).code) {
        ex->status = 200, ex->type = "application/json", ex->file_as = NULL;
        ex->text = (struct bytes){(const uint8_t *)none, sizeof none - 1};
    }
}

/* ---- arguments ---- */

status need(struct call *c, bool *ok, const char *const *keys, size_t n)
{
    CLEANUP(buf_free) struct buf missing = {0};
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(c->body, keys[i]);
        if (!v || json_is_null(v)) buf_printf(&missing, "%s%s", missing.n ? "," : "", keys[i]);
    }
    *ok = missing.n == 0 && !missing.bad;
    if (*ok) return OK;
    TRY(buf_ok(c->cx, &missing));
    return answer(c, 101,
                  arena_printf(c->cx->mem, "required argument are missing: %.*s; ", (int)missing.n,
                               (const char *)missing.p),
                  NULL);
}

const char *arg_text(struct call *c, const char *key)
{
    const json_t *v = json_object_get(c->body, key);
    if (json_is_string(v)) return json_string_value(v);
    if (json_is_integer(v)) return arena_printf(c->cx->mem, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    return NULL;
}

int64_t arg_int(struct call *c, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(c->body, key);
    int64_t x;
    if (json_is_integer(v)) return json_integer_value(v);
    if (json_is_boolean(v)) return json_is_true(v);
    if (json_is_string(v) && num_parse_i64(json_string_value(v), json_string_length(v), &x)) return x;
    return otherwise;
}

bool arg_bool(struct call *c, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(c->body, key);
    if (json_is_string(v)) {
        const char *s = json_string_value(v);
        if (strcasecmp(s, "true") == 0) return true;
        if (strcasecmp(s, "false") == 0) return false;
    }
    return arg_int(c, key, otherwise) != 0;
}

status arg_party(struct call *c, struct party *out, bool *given)
{
    const char *role = arg_text(c, "role"), *id = arg_text(c, "party_id");
    *given = role && id;
    if (!*given) return OK;
    if (!role_parse(role, &out->role)) return FAIL(c->cx, ARG, "%.40s is no role", role);
    int64_t n;
    if (!num_parse_i64(id, strlen(id), &n) || n < 0 || n > INT32_MAX)
        return FAIL(c->cx, ARG, "%.40s is no party id", id);
    out->id = (uint32_t)n;
    return OK;
}

const char *date_text(struct ctx *cx, int64_t ms)
{
    char when[32] = "";
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    if (localtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    return arena_strdup(cx->mem, when);
}

json_t *date_json(int64_t ms)
{
    char when[32] = "";
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    if (ms == 0 || !localtime_r(&s, &tm)) return json_null();
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    return json_string(when);
}

json_t *ms_json(int64_t ms)
{
    return ms ? json_integer(ms) : json_null();
}

json_t *text_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}
