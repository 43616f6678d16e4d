#include "base/ctx.h"
#include "base/utf8.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    int http, exit_code;
} codes[ERR_COUNT] = {
#define X(name, text, http, exit_code) [ERR_##name] = {#name, text, http, exit_code},
    ERR_LIST(X)
#undef X
};

/* A code from outside (a peer's message) may be anything. */
static enum err_code known(enum err_code code)
{
    return (unsigned)code < ERR_COUNT ? code : ERR_INTERNAL;
}

const char *err_name(enum err_code code)
{
    return codes[known(code)].name;
}

const char *err_text(enum err_code code)
{
    return codes[known(code)].text;
}

int err_http(enum err_code code)
{
    return codes[known(code)].http;
}

int err_exit(enum err_code code)
{
    return codes[known(code)].exit_code;
}

/* Messages quote bytes from outside, and a %.60s or the end of msg may cut a character: what is not UTF-8 becomes '?',
 * and a character cut by the end goes. */
static void make_utf8(char *msg, bool was_cut)
{
    uint8_t *s = (uint8_t *)msg;
    size_t n = strlen(msg);
    for (size_t i = 0; i < n;) {
        size_t k = utf8_sequence(s + i, n - i);
        if (k == 0 && was_cut && n - i < 4 && s[i] >= 0xc2) {
            s[i] = 0;
            return;
        }
        if (k == 0) s[i] = '?';
        i += k ? k : 1;
    }
}

/* By way of a copy: the arguments may point into err->msg. */
static void put_msg(struct err *err, const char *text, const char *rest)
{
    char msg[sizeof err->msg];
    size_t n = strlen(text), m = strlen(rest), max = sizeof msg - 1;
    bool was_cut = n + m > max;
    if (n > max) n = max;
    if (m > max - n) m = max - n;
    memcpy(msg, text, n);
    memcpy(msg + n, rest, m);
    msg[n + m] = 0;
    make_utf8(msg, was_cut);
    memcpy(err->msg, msg, n + m + 1);
}

status err_set(struct ctx *cx, enum err_code code, const char *file, int line, const char *fmt, ...)
{
    char text[sizeof cx->err.msg + 1]; /* one more, to see a cut */
    int saved = errno;
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(text, sizeof text, fmt, args) < 0) snprintf(text, sizeof text, "%s", err_text(code));
    va_end(args);
    put_msg(&cx->err, text, "");
    cx->err.code = code;
    cx->err.file = file;
    cx->err.line = line;
    errno = saved;
    return (status){code};
}

void err_prefix(struct ctx *cx, const char *fmt, ...)
{
    char text[sizeof cx->err.msg];
    int saved = errno;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text - 2, fmt, args);
    va_end(args);
    if (n >= 0) {
        size_t at = strlen(text);
        memcpy(text + at, ": ", 3);
        put_msg(&cx->err, text, cx->err.msg);
    }
    errno = saved;
}

status ctx_check(struct ctx *cx)
{
    if (cx->cancel && atomic_load_explicit(cx->cancel, memory_order_relaxed))
        return FAIL(cx, CANCELLED, "cancelled");
    return OK;
}
