/* control.c - the site's end of the control socket: connections on the loop, watchers of jobs, and the CLI's
 * methods. */
#include "flow/control.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "flow/site_int.h"
#include "flow/view.h"
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 256
#define IN_MAX    (16u << 20) /* of one request */

struct conn {
    struct conn *next;
    struct control *control;
    struct arena *mem;
    uint64_t id;
    int fd;
    struct buf in, out;
    size_t out_at;
    char watch[JOB_ID_MAX + 1]; /* "": none */
    bool writing;               /* EPOLLOUT is asked for */
    bool busy;                  /* a request is under way */
};
struct control {
    struct site *site;
    int fd;
    struct conn *conns;
    size_t n_conns;
    uint64_t next_id;
};

static void conn_free(struct conn *c)
{
    struct control *k = c->control;
    for (struct conn **p = &k->conns; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    k->n_conns--;
    loop_del(k->site->loop, c->fd);
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    arena_free(c->mem); /* the connection itself lies there */
}

static struct conn *conn_find(struct control *k, uint64_t id)
{
    for (struct conn *c = k->conns; c; c = c->next)
        if (c->id == id) return c;
    return NULL;
}

/* false: the connection is gone. */
static bool flush(struct conn *c)
{
    struct loop *l = c->control->site->loop;
    while (c->out_at < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0) break;
        c->out_at += (size_t)n;
    }
    bool more = c->out_at < c->out.n;
    if (!more) {
        buf_reset(&c->out);
        c->out_at = 0;
    }
    if (c->out.bad || c->out.n - c->out_at > CONTROL_FRAME_MAX) {
        conn_free(c);
        return false;
    }
    if (more != c->writing &&
        loop_mod(c->control->site->cx, l, c->fd, EPOLLIN | (more ? EPOLLOUT : 0)).code == ERR_OK)
        c->writing = more;
    return true;
}

static bool put_frame(struct conn *c, json_t *frame)
{
    struct arena *mem = arena_new(2 * (size_t)CONTROL_FRAME_MAX);
    struct ctx cx = {.mem = mem};
    const char *text;
    if (mem && frame && js_text(&cx, frame, &text).code == ERR_OK) buf_blob(&c->out, text, strlen(text));
    arena_free(mem);
    json_decref(frame);
    return flush(c);
}

void control_answer(struct control *k, uint64_t id, const struct err *err, const json_t *answer)
{
    struct conn *c = conn_find(k, id);
    if (!c) return;
    c->busy = false;
    if (err) {
        json_t *message = json_string(err->msg);
        put_frame(c, json_pack("{s:b,s:{s:s,s:o}}", "ok", 0, "error", "code", err_name(err->code), "message",
                               message ? message : json_string(err_text(err->code))));
        return;
    }
    put_frame(c, json_pack("{s:b,s:O}", "ok", 1, "result", answer));
}

void control_watch(struct control *k, uint64_t id, const char *job)
{
    struct conn *c = conn_find(k, id);
    if (c) memcpy(c->watch, job, strnlen(job, JOB_ID_MAX) + 1);
}

bool control_watched(const struct control *k, const char *job)
{
    for (const struct conn *c = k->conns; c; c = c->next)
        if (strcmp(c->watch, job) == 0) return true;
    return false;
}

void control_event(struct control *k, const char *job, const json_t *event, bool last)
{
    for (struct conn *c = k->conns, *next; c; c = next) {
        next = c->next;
        if (strcmp(c->watch, job) != 0) continue;
        if (last) c->watch[0] = 0, c->busy = false;
        put_frame(c, last ? json_pack("{s:b,s:O}", "ok", 1, "result", event)
                          : json_pack("{s:O}", "event", event));
    }
}

/* ---- reading ---- */

static status parse_request(struct ctx *cx, const struct bytes *frame, json_t **params, const char **method)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    TRY(js_parse(cx, "request", frame->p, frame->n, &j));
    TRY(js_get_str(cx, j, "method", method));
    *method = arena_strdup(cx->mem, *method);
    json_t *p = json_object_get(j, "params");
    *params = p ? json_incref(p) : json_object();
    return *params && *method ? OK : FAIL(cx, NOMEM, "a request");
}

static void handle(struct conn *c, const struct bytes *frame)
{
    struct site *s = c->control->site;
    struct reply to = {.kind = REPLY_CONTROL, .id = c->id};
    struct arena *mem = arena_new(IN_MAX);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    json_t *params = NULL;
    const char *method = "";
    c->busy = true;
    if (!mem || parse_request(&cx, frame, &params, &method).code)
        control_answer(c->control, c->id, &cx.err, NULL);
    else
        request_begin(s, &to, s->set->party, control_methods, method, params);
    arena_free(mem);
}

/* Whole frames in c->in, one at a time: the next waits for the answer. */
static void take_frames(struct control *k, uint64_t id)
{
    for (struct conn *c; (c = conn_find(k, id)) && !c->busy && c->in.n >= 4;) {
        struct arena *mem = arena_new(1 << 16);
        struct ctx cx = {.mem = mem};
        struct reader r = reader_of(c->in.p, c->in.n);
        uint32_t n = 0;
        bool bad = !mem || reader_u32(&cx, &r, &n).code || n > IN_MAX;
        arena_free(mem);
        if (bad) {
            conn_free(c);
            return;
        }
        if (reader_left(&r) < n) return;
        struct bytes frame = {r.p, n};
        struct buf rest = {0};
        buf_put(&rest, r.p + n, reader_left(&r) - n);
        struct buf old = c->in;
        c->in = rest;
        handle(c, &frame);
        buf_free(&old);
    }
}

static void on_conn(struct loop *l, int fd, uint32_t events, void *arg)
{
    (void)l;
    struct conn *c = arg;
    struct control *k = c->control;
    uint64_t id = c->id;
    if ((events & EPOLLOUT) && !flush(c)) return;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    for (;;) {
        uint8_t part[16384];
        ssize_t n = recv(fd, part, sizeof part, MSG_DONTWAIT);
        if (n > 0) {
            buf_put(&c->in, part, (size_t)n);
            if (c->in.bad || c->in.n > IN_MAX + 4) {
                conn_free(c);
                return;
            }
            continue;
        }
        if (n == 0) {
            conn_free(c);
            return;
        }
        break;
    }
    take_frames(k, id);
}

static void on_accept(struct loop *l, int fd, uint32_t events, void *arg)
{
    (void)events;
    struct control *k = arg;
    struct ucred who;
    socklen_t n = sizeof who;
    int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (got < 0) return;
    bool ours =
        getsockopt(got, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == geteuid() || who.uid == 0);
    struct arena *mem = ours && k->n_conns < CONNS_MAX ? arena_new(1 << 16) : NULL;
    struct ctx cx = {.mem = mem};
    struct conn *c = mem ? NEW(&cx, struct conn, 1) : NULL;
    if (!c) {
        arena_free(mem);
        close(got);
        return;
    }
    *c = (struct conn){.next = k->conns, .control = k, .mem = mem, .id = ++k->next_id, .fd = got};
    k->conns = c;
    k->n_conns++;
    if (loop_add(k->site->cx, l, got, EPOLLIN, on_conn, c).code) conn_free(c);
}

status control_open(struct ctx *cx, struct site *s, struct control **out)
{
    struct control *k = NEW(cx, struct control, 1);
    if (!k) return FAIL(cx, NOMEM, "control socket");
    *k = (struct control){.site = s, .fd = -1};
    TRY(control_listen(cx, s->dir, &k->fd));
    *out = k;
    return loop_add(cx, s->loop, k->fd, EPOLLIN, on_accept, k);
}

void control_free(struct control *k)
{
    if (!k) return;
    while (k->conns)
        conn_free(k->conns);
    loop_del(k->site->loop, k->fd);
    close(k->fd);
}
