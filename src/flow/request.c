#include "base/arena.h"
#include "base/log.h"
#include "flow/names.h"
#include "flow/site_int.h"
#include <stdio.h>
#include <string.h>

/* ---- requests ---- */

static struct request *request_new(struct site *s, const struct reply *to, uint32_t party, const char *method,
                                   json_t *body)
{
    struct arena *mem = arena_new(REQUEST_MEM);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    struct request *rq = mem ? NEW(&cx, struct request, 1) : NULL;
    if (!rq) {
        arena_free(mem);
        json_decref(body);
        return NULL;
    }
    *rq = (struct request){
        .next = s->requests, .site = s, .cx = cx, .reply = *to, .party = party, .body = body};
    rq->method = arena_strdup(mem, method);
    if (rq->next) rq->next->prev = rq;
    s->requests = rq;
    return rq;
}

static void request_free(struct request *rq)
{
    if (rq->prev)
        rq->prev->next = rq->next;
    else
        rq->site->requests = rq->next;
    if (rq->next) rq->next->prev = rq->prev;
    json_decref(rq->body);
    json_decref(rq->answer);
    arena_free(rq->cx.mem);
}

void requests_free(struct site *s)
{
    while (s->requests)
        request_free(s->requests);
}

static void deliver_local(struct loop *l, void *arg)
{
    (void)l;
    struct request *rq = arg;
    rq->reply.done(rq->reply.arg, rq->err.code ? &rq->err : NULL, rq->answer);
    request_free(rq);
}

void request_end(struct request *rq, status st, json_t *answer)
{
    struct site *s = rq->site;
    if (!st.code && !answer) answer = json_object();
    rq->answer = answer;
    if (st.code) rq->err = rq->cx.err;
    const struct err *err = st.code ? &rq->err : NULL;
    switch (rq->reply.kind) {
    case REPLY_NODE:
        node_answer(s->node, rq->reply.party, rq->reply.id, err, err ? NULL : answer);
        break;
    case REPLY_CONTROL:
        control_answer(s->control, rq->reply.id, err, err ? NULL : answer);
        break;
    case REPLY_LOCAL:
        if (loop_post(s->loop, deliver_local, rq)) return;
        break;
    case REPLY_NOBODY:
        break;
    }
    request_free(rq);
}

static const struct method *find_method(const struct method *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0) return table;
    return NULL;
}

void request_begin(struct site *s, const struct reply *to, uint32_t party, const struct method *table,
                   const char *method, json_t *body)
{
    struct request *rq = request_new(s, to, party, method, body);
    if (!rq) return; /* out of memory: the caller's deadline passes */
    const struct method *m = find_method(table, method);
    if (!m)
        request_end(rq, FAIL(&rq->cx, UNSUPPORTED, "this norn has no method %.60s", method), NULL);
    else
        m->fn(rq, body);
}

/* An answer that nobody had to work for: an error before anything was sent. */
static void answer_later(struct site *s, const struct err *err, node_done done, void *arg)
{
    struct reply to = {.kind = REPLY_LOCAL, .done = done, .arg = arg};
    struct request *rq = request_new(s, &to, s->set->party, "", NULL);
    if (!rq) return;
    rq->cx.err = *err;
    request_end(rq, (status){err->code}, NULL);
}

void site_call(struct site *s, uint32_t party, const char *method, const json_t *body, uint64_t deadline_ms,
               node_done done, void *arg)
{
    if (party == s->set->party) {
        struct reply to = {.kind = REPLY_LOCAL, .done = done, .arg = arg};
        request_begin(s, &to, party, peer_methods, method, json_incref((json_t *)body));
        return;
    }
    struct ctx cx = {.mem = s->cx->mem, .log = s->cx->log};
    if (node_call(&cx, s->node, party, method, body, deadline_ms, done, arg).code)
        answer_later(s, &cx.err, done, arg);
}

/* ---- notices: told again until answered ---- */

struct notice {
    struct notice *next;
    struct site *site;
    struct arena *mem;
    uint32_t to;
    const char *method, *job;
    json_t *body;
    bool flying, dropped;
    int refused;
    struct loop_timer *again;
};

static void notice_send(struct notice *n);

static void notice_free(struct notice *n)
{
    for (struct notice **p = &n->site->notices; *p; p = &(*p)->next)
        if (*p == n) {
            *p = n->next;
            break;
        }
    loop_cancel(n->site->loop, n->again);
    json_decref(n->body);
    arena_free(n->mem);
}

void notices_free(struct site *s)
{
    while (s->notices)
        notice_free(s->notices);
}

static void notice_again(struct loop *l, void *arg)
{
    (void)l;
    struct notice *n = arg;
    n->again = NULL;
    if (!n->flying) notice_send(n);
}

static void notice_done(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct notice *n = arg;
    struct site *s = n->site;
    n->flying = false;
    /* What never got there goes again. PEER is the peer's own refusal, or its restart in the middle of the
     * call: once more then, and a second refusal settles it. */
    bool lost = err && (err->code == ERR_TIMEOUT || err->code == ERR_IO);
    bool again = !n->dropped && (lost || (err && err->code == ERR_PEER && n->refused++ == 0));
    if (again) {
        if (!n->again) n->again = loop_after(s->loop, 1000, notice_again, n);
        return;
    }
    if (err)
        log_warn(s->cx, "a peer refused a notice", KV("to", n->to), KV("method", n->method),
                 KV("error", err->msg));
    notice_free(n);
}

static void notice_send(struct notice *n)
{
    n->flying = true;
    site_call(n->site, n->to, n->method, n->body, 30000, notice_done, n);
}

static struct notice *notice_new(struct site *s, uint32_t to, const char *method, const json_t *body)
{
    struct arena *mem = arena_new(1 << 16);
    struct ctx cx = {.mem = mem};
    struct notice *n = mem ? NEW(&cx, struct notice, 1) : NULL;
    if (!n) {
        arena_free(mem);
        log_error(s->cx, "out of memory: a notice is lost", KV("method", method));
        return NULL;
    }
    const char *job = json_string_value(json_object_get(body, "job"));
    *n = (struct notice){.next = s->notices,
                         .site = s,
                         .mem = mem,
                         .to = to,
                         .method = arena_strdup(mem, method),
                         .job = arena_strdup(mem, job ? job : ""),
                         .body = json_incref((json_t *)body)};
    s->notices = n;
    return n;
}

void site_notify(struct site *s, uint32_t party, const char *method, const json_t *body)
{
    struct notice *n = notice_new(s, party, method, body);
    if (n) notice_send(n);
}

void notices_link_up(struct site *s, uint32_t party)
{
    for (struct notice *n = s->notices, *next; n; n = next) {
        next = n->next;
        if (n->to != party || n->flying) continue;
        loop_cancel(s->loop, n->again);
        n->again = NULL;
        notice_send(n);
    }
}

void notices_forget_job(struct site *s, const char *job)
{
    for (struct notice *n = s->notices, *next; n; n = next) {
        next = n->next;
        if (strcmp(n->job, job) != 0) continue;
        n->dropped = true;
        if (!n->flying) notice_free(n);
    }
}

size_t notices_waiting(const struct site *s)
{
    size_t k = 0;
    for (const struct notice *n = s->notices; n; n = n->next)
        k++;
    return k;
}
