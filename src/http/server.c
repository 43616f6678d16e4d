/* server.c - libmicrohttpd's end: one thread of its own reads requests and writes answers; in between a worker has them. */
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "http/http_int.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TARGET_MAX   65536
#define FIELD_MAX    (1u << 20)
#define FIELDS_MAX   64
#define IDLE_SECONDS 120

/* ---- a request's life ---- */

static void exchange_free(struct exchange *ex)
{
    if (!ex) return;
    if (ex->form) MHD_destroy_post_processor(ex->form);
    if (ex->file_fd >= 0) close(ex->file_fd);
    if (ex->file_path) unlink(ex->file_path); /* what a route wanted to keep it has renamed */
    if (ex->answer_fd >= 0) close(ex->answer_fd);
    for (struct form_field *f = ex->fields; f; f = f->next)
        buf_free(&f->value);
    buf_free(&ex->body);
    arena_free(ex->cx.mem);
}

/* "/v1/job/query/?x" to path "job/query" and query "x". */
static bool split_target(struct exchange *ex, const char *target)
{
    size_t n = strnlen(target, TARGET_MAX + 1), at = strcspn(target, "?");
    ex->target = arena_strdup(ex->cx.mem, target);
    ex->query = ex->target ? ex->target + at + (target[at] == '?') : NULL;
    size_t end = at;
    while (end > 4 && target[end - 1] == '/')
        end--;
    if (strncmp(target, "/v1/", 4) == 0) ex->path = arena_strndup(ex->cx.mem, target + 4, end - 4);
    return ex->query && n <= TARGET_MAX;
}

/* Called with the raw request target before libmicrohttpd takes it apart: what signatures are made over. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
    struct http *h = cls;
    struct arena *mem = arena_new(HTTP_CALL_MEM);
    struct ctx cx = {.mem = mem, .log = h->cx.log};
    struct exchange *ex = mem ? NEW(&cx, struct exchange, 1) : NULL;
    if (!ex) {
        arena_free(mem);
        return NULL;
    }
    *ex = (struct exchange){.http = h,
                            .cx = cx,
                            .conn = conn,
                            .file_fd = -1,
                            .answer_fd = -1,
                            .started_us = clock_us(),
                            .body = {.max = HTTP_BODY_MAX},
                            .type = "application/json"};
    if (!split_target(ex, uri)) {
        exchange_free(ex);
        return NULL;
    }
    return ex;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)cls, (void)conn, (void)why;
    exchange_free(*con_cls);
    *con_cls = NULL;
}

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static const char *remote_text(struct exchange *ex)
{
    char text[INET6_ADDRSTRLEN] = "";
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(ex->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr)
        (void)!!getnameinfo(info->client_addr,
                            info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                     : sizeof(struct sockaddr_in),
                            text, sizeof text, NULL, 0, NI_NUMERICHOST);
    const char *copy = arena_strdup(ex->cx.mem, text);
    return copy ? copy : "";
}

/* ---- bodies ---- */

/* A fresh file beside the store, so that an import need not copy it across devices. */
static void open_file(struct exchange *ex, const char *name)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/store/incoming/upload-XXXXXX", ex->http->dir);
    if (n <= 0 || (size_t)n >= sizeof path) return;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        log_error(&ex->http->cx, "an upload's file", KV("path", (const char *)path));
        return;
    }
    ex->file_fd = fd;
    ex->file_path = arena_strdup(ex->cx.mem, path);
    ex->file_name = arena_strdup(ex->cx.mem, name);
    if (!ex->file_path) unlink(path);
}

static struct form_field *field_of(struct exchange *ex, const char *key)
{
    size_t n = 0;
    for (struct form_field *f = ex->fields; f; f = f->next, n++)
        if (strcmp(f->name, key) == 0) return f;
    struct form_field *f = n < FIELDS_MAX ? NEW(&ex->cx, struct form_field, 1) : NULL;
    if (!f) return NULL;
    *f = (struct form_field){
        .next = ex->fields, .name = arena_strdup(ex->cx.mem, key), .value = {.max = FIELD_MAX}};
    if (!f->name) return NULL;
    ex->fields = f;
    return f;
}

/* A piece of a form part: of the file part "file", or of a plain field. */
static enum MHD_Result on_part(void *cls, enum MHD_ValueKind kind, const char *key, const char *filename,
                               const char *type, const char *encoding, const char *data, uint64_t off,
                               size_t size)
{
    (void)kind, (void)type, (void)encoding;
    struct exchange *ex = cls;
    if (ex->refused || ex->too_large) return MHD_YES;
    if (filename) {
        if (off == 0 && ex->file_fd < 0) open_file(ex, filename);
        ex->file_bytes += size;
        if (ex->file_bytes > HTTP_FILE_MAX) ex->too_large = true;
        if (ex->file_fd < 0 || ex->too_large) return MHD_YES;
        if (fd_write_all(&ex->cx, ex->file_fd, data, size).code) {
            close(ex->file_fd); /* the disk is full: the route finds no file and says so */
            ex->file_fd = -1;
            unlink(ex->file_path);
            ex->file_path = NULL;
        }
        return MHD_YES;
    }
    struct form_field *f = key ? field_of(ex, key) : NULL;
    if (!f) {
        ex->too_large = true;
        return MHD_YES;
    }
    if (f->value.n) f->value.n--; /* over the NUL of the piece before */
    buf_put(&f->value, data, size);
    buf_u8(&f->value, 0);
    if (f->value.bad) ex->too_large = true;
    return MHD_YES;
}

/* Files are only taken from those whose headers are in order; what others send is read and thrown away. */
static void check_early(struct exchange *ex)
{
    struct key key;
    struct ctx quiet = {.mem = ex->cx.mem};
    if (ex->http->set->http_auth && auth_begin(&quiet, ex->http->keys, &ex->cred, wall_ms(), &key).code)
        ex->refused = true;
}

static void begin(struct exchange *ex, const char *method)
{
    const char *type = header(ex->conn, "Content-Type"), *bearer = header(ex->conn, "Authorization");
    ex->method = arena_strdup(ex->cx.mem, method);
    ex->remote = remote_text(ex);
    ex->cred =
        (struct credentials){.timestamp = header(ex->conn, "TIMESTAMP"),
                             .nonce = header(ex->conn, "NONCE"),
                             .app_key = header(ex->conn, "APP_KEY"),
                             .signature = header(ex->conn, "SIGNATURE"),
                             .bearer = bearer && strncmp(bearer, "Bearer ", 7) == 0 ? bearer + 7 : NULL};
    if (type && strncasecmp(type, "multipart/form-data", 19) == 0) {
        check_early(ex);
        ex->form = MHD_create_post_processor(ex->conn, 65536, on_part, ex);
        if (!ex->form) ex->bad_form = true;
    }
}

static void take(struct exchange *ex, const char *data, size_t n)
{
    if (ex->form) {
        if (MHD_post_process(ex->form, data, n) != MHD_YES) ex->bad_form = true;
        return;
    }
    buf_put(&ex->body, data, n);
    if (ex->body.bad) ex->too_large = true;
}

static enum MHD_Result send_answer(struct exchange *ex)
{
    struct MHD_Response *r;
    if (ex->answer_fd >= 0)
        r = MHD_create_response_from_fd64(ex->answer_bytes, ex->answer_fd);
    else
        r = MHD_create_response_from_buffer(ex->text.n, (void *)(uintptr_t)ex->text.p, MHD_RESPMEM_MUST_COPY);
    if (!r) return MHD_NO;
    ex->answer_fd = -1; /* the response closes it */
    MHD_add_response_header(r, "Content-Type", ex->type);
    if (ex->file_as)
        MHD_add_response_header(r, "Content-Disposition",
                                arena_printf(ex->cx.mem, "attachment; filename=%s", ex->file_as));
    enum MHD_Result ok = MHD_queue_response(ex->conn, (unsigned)ex->status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n, void **con_cls)
{
    (void)cls, (void)conn, (void)url, (void)version;
    struct exchange *ex = *con_cls;
    if (!ex) return MHD_NO; /* out of memory, or a target of no sane length */
    if (!ex->method) {
        begin(ex, method);
        return ex->method ? MHD_YES : MHD_NO;
    }
    if (*n) {
        take(ex, data, *n);
        *n = 0;
        return MHD_YES;
    }
    if (ex->state == EX_DONE) return send_answer(ex);
    ex->state = EX_WORKING;
    MHD_suspend_connection(conn);
    worker_enqueue(ex);
    return MHD_YES;
}

void server_answer(struct exchange *ex)
{
    struct MHD_Connection *conn = ex->conn;
    ex->state = EX_DONE;
    MHD_resume_connection(conn); /* from here on ex is the server thread's */
}

/* ---- starting ---- */

__attribute__((format(printf, 2, 0))) static void on_error(void *cls, const char *format, va_list ap)
{
    struct http *h = cls;
    char text[256];
    vsnprintf(text, sizeof text, format, ap);
    text[strcspn(text, "\n")] = 0;
    log_debug(&h->cx, "http", KV("message", (const char *)text));
}

static status listen_on(struct ctx *cx, const char *host, uint16_t port, int *out)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *list = NULL;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc) return FAIL(cx, ARG, "http_listen %s: %s", host, gai_strerror(rc));
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, 511) == 0;
    freeaddrinfo(list);
    if (ok) {
        *out = fd;
        return OK;
    }
    status st = FAIL(cx, IO, "http_listen %s:%u: %m (another site? see http_listen in norn.conf, or 'none')",
                     host, port);
    if (fd >= 0) close(fd);
    return st;
}

status server_start(struct ctx *cx, struct http *h)
{
    int fd = -1;
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    TRY(dir_make(cx, arena_printf(cx->mem, "%s/store/incoming", h->dir), 0700));
    TRY(listen_on(cx, h->set->http_host, h->set->http_port, &fd));
    if (getsockname(fd, (struct sockaddr *)&at, &n) == 0)
        h->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                 : ((struct sockaddr_in *)&at)->sin_port);
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_error, h, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)4 * TARGET_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!h->daemon) {
        close(fd);
        return FAIL(cx, IO, "the HTTP server did not start");
    }
    return OK;
}

void server_stop(struct http *h)
{
    if (h->daemon) MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
}
