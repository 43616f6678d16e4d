/* ctx.h - the context every fallible function takes first, and the status it returns.
 *
 * A ctx belongs to one task on one thread. Results live in ctx->mem until its owner frees the arena. A status that
 * is not OK always has its story in ctx->err: branch on the code, show the message, never parse it. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct pool;
struct log;

/* X(name, text, HTTP status, exit code of the CLI) */
#define ERR_LIST(X)                                                                                          \
    X(OK, "ok", 200, 0)                                                                                      \
    X(ARG, "bad argument", 400, 2)                                                                           \
    X(FORMAT, "malformed input", 400, 3)                                                                     \
    X(PROTO, "protocol violation", 502, 4)                                                                   \
    X(AUTH, "not authenticated or not allowed", 401, 5)                                                      \
    X(LIMIT, "limit exceeded", 413, 6)                                                                       \
    X(NOTFOUND, "not found", 404, 7)                                                                         \
    X(EXISTS, "already exists", 409, 8)                                                                      \
    X(IO, "input/output error", 500, 9)                                                                      \
    X(NOMEM, "out of memory", 507, 10)                                                                       \
    X(CANCELLED, "cancelled", 409, 11)                                                                       \
    X(TIMEOUT, "deadline passed", 504, 12)                                                                   \
    X(STATE, "not possible in this state", 409, 13)                                                          \
    X(UNSUPPORTED, "not supported", 501, 14)                                                                 \
    X(PEER, "the other party failed", 502, 15)                                                               \
    X(INTERNAL, "internal error", 500, 16)

enum err_code {
#define X(name, text, http, exit_code) ERR_##name,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

typedef struct [[nodiscard]] status {
    enum err_code code;
} status;
#define OK ((status){ERR_OK})

struct err {
    enum err_code code;
    int line;
    const char *file; /* a string literal, never freed */
    char msg[480];    /* UTF-8, cut at the end if too long */
};

struct ctx {
    struct arena *mem;         /* results live here */
    struct pool *pool;         /* NULL = run inline */
    struct log *log;           /* NULL = silent */
    const atomic_bool *cancel; /* polled by every long loop; NULL = never cancelled */
    struct err err;            /* set whenever a status is not OK */
};

/* Sets cx->err and returns the status. printf-like, %m works. */
status err_set(struct ctx *cx, enum err_code code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Puts "<what>: " in front of cx->err.msg. */
void err_prefix(struct ctx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *err_name(enum err_code code); /* "FORMAT" */
const char *err_text(enum err_code code); /* "malformed input" */
int err_http(enum err_code code);
int err_exit(enum err_code code);

#define FAIL(cx, code, ...) err_set((cx), ERR_##code, __FILE__, __LINE__, __VA_ARGS__)
#define TRY(expr)                                                                                            \
    do {                                                                                                     \
        status st_ = (expr);                                                                                 \
        if (st_.code) return st_;                                                                            \
    } while (0)
#define TRY_IN(cx, expr, ...)                                                                                \
    do {                                                                                                     \
        status st_ = (expr);                                                                                 \
        if (st_.code) {                                                                                      \
            err_prefix((cx), __VA_ARGS__);                                                                   \
            return st_;                                                                                      \
        }                                                                                                    \
    } while (0)

/* CANCELLED once cx->cancel is set: call it in every long loop. */
status ctx_check(struct ctx *cx);

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                              \
    ({                                                                                                       \
        __typeof__(p) take_ = (p);                                                                           \
        (p) = NULL;                                                                                          \
        take_;                                                                                               \
    })
#define LEN(a) (sizeof(a) / sizeof((a)[0]))
