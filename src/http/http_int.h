/* http_int.h - inside the HTTP layer.
 *
 * server.c   libmicrohttpd: requests in, answers out      worker.c  the threads, routes, asking the site's loop
 * auth.c     who asks, and may they                       keys.c    key pairs, tokens and roles at rest
 * answer.c   FATE's envelopes                             apidb.c   what only the API keeps: notes, tags, local jobs
 * rows.c     FATE's rows of jobs and tasks                local.c   uploads and downloads as jobs
 * r_*.c      the routes */
#pragma once
#include "base/loop.h"
#include "flow/jobdb.h"
#include "flow/jobid.h"
#include "http/apidb.h"
#include "http/auth.h"
#include "http/http.h"
#include "http/keys.h"
#include "table/store.h"
#include <pthread.h>

#define HTTP_WORKERS   6
#define HTTP_BODY_MAX  (16u << 20)         /* of JSON */
#define HTTP_FILE_MAX  ((uint64_t)1 << 40) /* of an uploaded file */
#define HTTP_CONNS_MAX 512
#define HTTP_CALL_MEM  ((size_t)512 << 20) /* cap of one request's arena */
#define HTTP_ASK_MS    30000               /* for the loop to answer */
#define FATE_VERSION   "1.11.4"
#define FLOW_VERSION   "1.11.2"

struct http;
struct MHD_Connection;
struct MHD_PostProcessor;

/* ---- server.c ---- */

struct form_field {
    struct form_field *next;
    const char *name;
    struct buf value;
};
/* One request and its answer; the server's thread and one worker have it in turn. */
struct exchange {
    struct exchange *next; /* in the queue */
    struct http *http;
    struct ctx cx;      /* its own arena */
    const char *target; /* path and query as sent */
    const char *path;   /* without query, without "/v1/" and a trailing slash; NULL: not under /v1/ */
    const char *query;  /* raw, "" when none */
    const char *method;
    const char *remote; /* "192.0.2.1" */
    struct credentials cred;
    struct MHD_Connection *conn;
    struct buf body;
    struct MHD_PostProcessor *form;
    struct form_field *fields;
    int file_fd; /* of a file part, as it comes in; -1: none */
    const char *file_path, *file_name;
    uint64_t file_bytes;
    enum { EX_READING, EX_WORKING, EX_DONE } state;
    bool too_large, refused, bad_form;
    struct identity who;
    uint64_t started_us;
    /* the answer */
    int status;
    const char *type, *file_as; /* content type; name of an attachment, NULL: none */
    struct bytes text;
    int answer_fd; /* a file in text's place; -1: none */
    uint64_t answer_bytes;
};
status server_start(struct ctx *cx, struct http *h);
void server_stop(struct http *h);
void server_answer(struct exchange *ex); /* from a worker: it is complete */

/* ---- worker.c ---- */

/* A thread's own handles. */
struct worker {
    struct http *http;
    pthread_t thread;
    bool started;
    struct ctx cx; /* lives as long as the thread */
    struct jobdb *jobs;
    struct store *store;
    struct apidb *db;
    struct keys *keys;
};
struct waiting; /* a call of the loop under way */
struct http {
    struct ctx cx; /* log; arena of what lives as long as the API */
    struct site *site;
    const char *dir;
    const struct settings *set;
    struct MHD_Daemon *daemon;
    uint16_t port;
    struct auth *auth;
    struct keys *keys; /* the server thread's handle */
    int audit_fd;
    struct log *audit;
    int64_t started_ms;
    struct local *local;
    struct apidb *gate; /* the loop's handle, for allow */
    struct worker workers[HTTP_WORKERS];
    pthread_mutex_t lock;          /* guards all below */
    pthread_cond_t more, answered; /* the queue; the loop's answers */
    struct exchange *first, *last;
    struct waiting *asks;
    bool stopping;
};
/* A request as a route sees it. */
struct call {
    struct ctx *cx;
    struct http *http;
    struct worker *w;
    struct exchange *ex;
    const char *path;   /* the part a '*' stood for, else "" */
    const json_t *body; /* an object, {} when there was none; borrowed */
};
typedef status (*route_fn)(struct call *c);
struct route {
    const char *path; /* "job/query"; a '*' stands for one part */
    route_fn fn;
    enum key_role role; /* who may, at least; KEY_ANYONE: also without any credentials */
};
extern const struct route *const route_tables[]; /* each ends with a NULL path; NULL ends the list */
status workers_start(struct ctx *cx, struct http *h);
void workers_stop(struct http *h);
void worker_enqueue(struct exchange *ex);
status worker_handles(struct worker *w);
/* Asks the site's loop and waits. params is taken. *out: caller owns it. TIMEOUT; STATE: the site ends. */
status http_ask(struct ctx *cx, struct http *h, const char *method, json_t *params, json_t **out);
status http_new_id(struct ctx *cx, struct http *h, const char **out);
const char *http_models(struct call *c); /* DIR/models */

/* ---- answer.c: each sets ex's answer ---- */

/* {"retcode", "retmsg", "data"}: data is taken; NULL leaves it out. */
status answer(struct call *c, int retcode, const char *retmsg, json_t *data);
status answer_ok(struct call *c, json_t *data); /* 0, "success" */
status answer_job(struct call *c, int retcode, const char *retmsg, const char *job, json_t *data);
status answer_object(struct call *c, json_t *all); /* an envelope made by the caller, taken */
/* {"retmsg", "retcode"} with that HTTP status: 210, 400, 404, 409, 429, 500. */
status answer_http(struct call *c, int http_status, const char *retmsg);
status answer_text_file(struct call *c, const char *name, const char *type, const char *text, size_t n);
status answer_fd(struct call *c, const char *name, const char *type, int fd); /* fd is taken */
void answer_failed(struct exchange *ex, const struct err *err);

status answer_named(struct call *c,
                    json_t *data); /* data is taken; an attachment when the request has a "filename" */

/* FATE's "required argument are missing: a,b; ". *ok: all are there; else the answer is set. */
status need(struct call *c, bool *ok, const char *const *keys, size_t n);
#define NEED(c, ...)                                                                                         \
    do {                                                                                                     \
        bool ok_;                                                                                            \
        TRY(need((c), &ok_, (const char *const[]){__VA_ARGS__},                                              \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)));                        \
        if (!ok_) return OK;                                                                                 \
    } while (0)
/* Members as clients send them: numbers as text, text as numbers, 0/1 as truth. */
const char *arg_text(struct call *c, const char *key); /* NULL: absent, null, or neither text nor integer */
int64_t arg_int(struct call *c, const char *key, int64_t otherwise);
bool arg_bool(struct call *c, const char *key, bool otherwise);
/* "role" and "party_id". ARG: no role, no party id. *given: both are there. */
status arg_party(struct call *c, struct party *out, bool *given);
const char *date_text(struct ctx *cx, int64_t ms); /* "2026-11-23 20:10:39" */
json_t *date_json(int64_t ms);                     /* the same, null for 0 */
json_t *ms_json(int64_t ms);                       /* null for 0 */
json_t *text_or_null(const char *s);
