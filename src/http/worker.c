/* worker.c - the threads that run the routes, and how they ask the site's loop. */
#include "base/arena.h"
#include "base/log.h"
#include "http/http_int.h"
#include <string.h>
#include <time.h>

/* ---- asking the loop ---- */

struct waiting {
    struct waiting *next; /* in http->asks, so that what the loop never answered is freed at the end */
    struct http *http;
    struct arena *mem;
    bool done, given_up;
    struct err err;
    json_t *answer;
};

static void forget(struct http *h, struct waiting *w) /* locked */
{
    for (struct waiting **p = &h->asks; *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            break;
        }
    json_decref(w->answer);
    arena_free(w->mem);
}

static void answered(void *arg, const struct err *err, const json_t *given)
{
    struct waiting *w = arg;
    struct http *h = w->http;
    pthread_mutex_lock(&h->lock);
    if (w->given_up) {
        forget(h, w);
    } else {
        if (err) w->err = *err;
        w->answer = err ? NULL : json_deep_copy(given);
        w->done = true;
        pthread_cond_broadcast(&h->answered);
    }
    pthread_mutex_unlock(&h->lock);
}

static struct timespec deadline(uint64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) t.tv_nsec -= 1000000000, t.tv_sec++;
    return t;
}

status http_ask(struct ctx *cx, struct http *h, const char *method, json_t *params, json_t **out)
{
    struct arena *mem = params ? arena_new(1 << 14) : NULL;
    struct ctx own = {.mem = mem};
    struct waiting *w = mem ? NEW(&own, struct waiting, 1) : NULL;
    struct timespec until = deadline(HTTP_ASK_MS);
    if (!w) {
        json_decref(params);
        arena_free(mem);
        return FAIL(cx, NOMEM, "%s", method);
    }
    *w = (struct waiting){.http = h, .mem = mem};
    pthread_mutex_lock(&h->lock);
    w->next = h->asks;
    h->asks = w;
    pthread_mutex_unlock(&h->lock);
    bool posted = site_ask(h->site, method, params, answered, w);
    pthread_mutex_lock(&h->lock);
    while (posted && !w->done && !h->stopping && pthread_cond_timedwait(&h->answered, &h->lock, &until) == 0)
        ;
    bool done = w->done, stopping = h->stopping;
    struct err err = w->err;
    json_t *got = TAKE(w->answer);
    w->given_up = true;
    if (done || !posted) forget(h, w);
    pthread_mutex_unlock(&h->lock);
    if (!posted) return FAIL(cx, NOMEM, "%s", method);
    if (err.code) {
        cx->err = err;
        return (status){err.code};
    }
    if (got) {
        *out = got;
        return OK;
    }
    if (done) return FAIL(cx, NOMEM, "%s", method);
    return stopping ? FAIL(cx, STATE, "the site is stopping")
                    : FAIL(cx, TIMEOUT, "%s: the site's loop did not answer within %d s", method,
                           HTTP_ASK_MS / 1000);
}

status http_new_id(struct ctx *cx, struct http *h, const char **out)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    const char *id;
    TRY(http_ask(cx, h, "job.id", json_object(), &j));
    TRY(js_get_str(cx, j, "job", &id));
    *out = arena_strdup(cx->mem, id);
    return *out ? OK : FAIL(cx, NOMEM, "a job id");
}

const char *http_models(struct call *c)
{
    return arena_printf(c->cx->mem, "%s/models", c->http->dir);
}

/* ---- routes ---- */

/* "component/STAR/get" for a star holds "component/x/get" and gives "x". */
static bool matches(struct ctx *cx, const char *pattern, const char *path, const char **part)
{
    const char *star = strchr(pattern, '*');
    *part = "";
    if (!star) return strcmp(pattern, path) == 0;
    size_t before = (size_t)(star - pattern), after = strlen(star + 1), n = strlen(path);
    if (n <= before + after || strncmp(path, pattern, before) != 0 || strcmp(path + n - after, star + 1) != 0)
        return false;
    *part = arena_strndup(cx->mem, path + before, n - before - after);
    return *part && !strchr(*part, '/');
}

static const struct route *find_route(struct ctx *cx, const char *path, const char **part)
{
    for (size_t t = 0; path && route_tables[t]; t++)
        for (const struct route *r = route_tables[t]; r->path; r++)
            if (matches(cx, r->path, path, part)) return r;
    return NULL;
}

/* The body as FATE reads it: JSON whatever the content type; broken or missing is as {}. */
static json_t *read_body(struct exchange *ex)
{
    json_t *j = NULL;
    struct ctx quiet = {.mem = ex->cx.mem};
    if (ex->body.n && js_parse(&quiet, "body", ex->body.p, ex->body.n, &j).code) j = NULL;
    if (j && !json_is_object(j)) {
        json_decref(j);
        j = NULL;
    }
    return j ? j : json_object();
}

static int by_name(const void *a, const void *b)
{
    const struct form_field *x = *(const struct form_field *const *)a,
                            *y = *(const struct form_field *const *)b;
    int k = strcmp(x->name, y->name);
    return k ? k : strcmp((const char *)x->value.p, (const char *)y->value.p);
}

static void url_encode(struct buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c && strchr("-._~", c));
        if (plain)
            buf_u8(b, c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

/* Form fields as FATE's client signs them: sorted, "a=1&b=2", url-encoded. */
static status form_text(struct exchange *ex, struct buf *out)
{
    size_t n = 0, i = 0;
    for (const struct form_field *f = ex->fields; f; f = f->next)
        n++;
    const struct form_field **list = NEW(&ex->cx, const struct form_field *, n + 1);
    if (!list) return FAIL(&ex->cx, NOMEM, "a form");
    for (const struct form_field *f = ex->fields; f; f = f->next)
        list[i++] = f;
    qsort(list, n, sizeof *list, by_name);
    for (i = 0; i < n; i++) {
        if (i) buf_u8(out, '&');
        url_encode(out, list[i]->name, strlen(list[i]->name));
        buf_u8(out, '=');
        url_encode(out, (const char *)list[i]->value.p, list[i]->value.n ? list[i]->value.n - 1 : 0);
    }
    return buf_ok(&ex->cx, out);
}

static status authenticate(struct exchange *ex, struct keys *keys)
{
    struct http *h = ex->http;
    struct key key;
    if (!h->set->http_auth) {
        ex->who = (struct identity){"", "", KEY_ADMIN};
        return OK;
    }
    CLEANUP(buf_free) struct buf form = {0};
    TRY(auth_begin(&ex->cx, keys, &ex->cred, wall_ms(), &key));
    TRY(form_text(ex, &form));
    struct bytes body = {ex->body.p, ex->body.n};
    TRY(auth_finish(&ex->cx, h->auth, &ex->cred, &key, ex->target, body, (struct bytes){form.p, form.n},
                    wall_ms()));
    ex->who = (struct identity){key.id, key.name, key.role};
    return OK;
}

/* Who did what: every request that is refused or may change something. */
static void audit(const struct exchange *ex, const struct route *r, const char *result)
{
    struct ctx cx = {.log = ex->http->audit};
    if (r && r->role <= KEY_VIEWER && strcmp(result, "done") == 0) return;
    log_info(&cx, "request", KV("key", ex->who.key ? ex->who.key : ""),
             KV("name", ex->who.name ? ex->who.name : ""), KV("from", ex->remote),
             KV("route", r ? r->path : ""), KV("result", result), KV("status", ex->status),
             KV("ms", (uint64_t)((clock_us() - ex->started_us) / 1000)));
}

static void run_route(struct worker *w, struct exchange *ex, const struct route *r, const char *part)
{
    CLEANUP(json_decrefp) json_t *body = read_body(ex);
    struct call c = {.cx = &ex->cx, .http = ex->http, .w = w, .ex = ex, .path = part, .body = body};
    status st = body ? r->fn(&c) : FAIL(&ex->cx, NOMEM, "a request");
    if (!st.code && !ex->status) st = FAIL(&ex->cx, INTERNAL, "the route %s gave no answer", r->path);
    if (st.code) answer_failed(ex, &ex->cx.err);
}

static bool no_credentials(const struct exchange *ex)
{
    const struct credentials *k = &ex->cred;
    return !k->bearer && !k->app_key && !k->signature && !k->nonce && !k->timestamp;
}

static void handle(struct worker *w, struct exchange *ex)
{
    const char *part = "";
    struct call c = {.cx = &ex->cx, .http = ex->http, .w = w, .ex = ex};
    const struct route *r = find_route(&ex->cx, ex->path, &part);
    status st = ex->http->set->http_auth ? auth_allowed(&ex->cx, ex->http->auth, ex->remote, wall_ms()) : OK;
    if (st.code) {
        st = answer_http(&c, 429, ex->cx.err.msg);
        audit(ex, r, "too many failures");
    } else if (!(r && r->role == KEY_ANYONE && no_credentials(ex)) && (st = authenticate(ex, w->keys)).code) {
        if (st.code == ERR_AUTH) auth_failed(ex->http->auth, ex->remote, wall_ms());
        st = answer(&c, st.code == ERR_AUTH ? 109 : 100, ex->cx.err.msg, NULL);
        audit(ex, r, "not authenticated");
    } else if (!r) {
        st = answer_http(&c, 404, "404 Not Found: The requested URL was not found on the server.");
    } else if (ex->too_large) {
        st = answer_http(&c, 413, "the request is too large");
    } else if (ex->bad_form) {
        st = answer_http(&c, 400, "the multipart form is malformed");
    } else if (ex->who.role < r->role) {
        st = answer(&c, 108,
                    arena_printf(ex->cx.mem, "this key is a %s's: the request needs a %s",
                                 key_role_name(ex->who.role), key_role_name(r->role)),
                    NULL);
        audit(ex, r, "not allowed");
    } else {
        run_route(w, ex, r, part);
        audit(ex, r, "done");
    }
    if (st.code) answer_failed(ex, &ex->cx.err);
}

/* ---- threads ---- */

status worker_handles(struct worker *w)
{
    struct http *h = w->http;
    w->cx = (struct ctx){.mem = arena_new(0), .log = h->cx.log};
    if (!w->cx.mem) {
        w->cx.mem = NULL;
        return (status){ERR_NOMEM};
    }
    TRY(jobdb_open(&w->cx, arena_printf(w->cx.mem, "%s/jobs.db", h->dir), true, &w->jobs));
    TRY(store_open(&w->cx, h->dir, &w->store));
    TRY(keys_open(&w->cx, h->dir, &w->keys));
    return apidb_open(&w->cx, h->dir, &w->db);
}

static struct exchange *next_exchange(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    while (!h->first && !h->stopping)
        pthread_cond_wait(&h->more, &h->lock);
    struct exchange *ex = h->stopping ? NULL : h->first;
    if (ex) {
        h->first = ex->next;
        if (!h->first) h->last = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    return ex;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (struct exchange *ex; (ex = next_exchange(w->http));) {
        handle(w, ex);
        server_answer(ex);
    }
    return NULL;
}

void worker_enqueue(struct exchange *ex)
{
    struct http *h = ex->http;
    pthread_mutex_lock(&h->lock);
    ex->next = NULL;
    if (h->last)
        h->last->next = ex;
    else
        h->first = ex;
    h->last = ex;
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
}

status workers_start(struct ctx *cx, struct http *h)
{
    for (size_t i = 0; i < HTTP_WORKERS; i++) {
        struct worker *w = &h->workers[i];
        w->http = h;
        if (worker_handles(w).code) {
            cx->err = w->cx.err;
            return cx->err.code ? (status){cx->err.code} : FAIL(cx, NOMEM, "HTTP workers");
        }
        w->started = pthread_create(&w->thread, NULL, work, w) == 0;
        if (!w->started) return FAIL(cx, IO, "a thread for the HTTP API: %m");
    }
    return OK;
}

void workers_stop(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_broadcast(&h->more);
    pthread_cond_broadcast(&h->answered);
    pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < HTTP_WORKERS; i++) {
        struct worker *w = &h->workers[i];
        if (w->started) pthread_join(w->thread, NULL);
        if (w->cx.mem) arena_free(w->cx.mem);
    }
    for (struct exchange *ex = h->first, *next; ex; ex = next) {
        next = ex->next;
        struct err why = {.code = ERR_STATE, .msg = "the site is stopping"};
        answer_failed(ex, &why);
        server_answer(ex);
    }
    h->first = h->last = NULL;
    while (h->asks)
        forget(h, h->asks);
}
