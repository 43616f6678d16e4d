/* call.c - requests to another site and their answers.
 *
 * A call is executed at most once per pair of processes: after a cut it is sent again under its number, and
 * the peer answers a number it knows from memory. What may be forgotten travels with calls and pings. */
#include "net/node_int.h"
#include <stdio.h>

enum { DEADLINE_MS = 30000, BODY_MAX = FRAME_MAX - 1024 };

uint64_t call_first(const struct link *l)
{
    uint64_t first = l->next_call;
    for (const struct call_out *c = l->calls; c; c = c->next)
        if (c->id < first) first = c->id;
    return first;
}

static void send_call(struct call_out *c)
{
    struct link *l = c->link;
    if (!l->up) return;
    struct call_head h = {.id = c->id, .first = call_first(l), .body = {c->body.p, c->body.n}};
    uint64_t now = clock_ms(), left = c->deadline_ms > now ? c->deadline_ms - now : 0;
    h.deadline_ms = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    memcpy(h.method, c->method, sizeof h.method);
    frame_put_call(&l->up->ctl, &h);
    c->sent = true;
    node_later(l->n);
}

static void finish(struct call_out *c, const struct err *e, const json_t *answer)
{
    struct link *l = c->link;
    struct call_out **p = &l->calls;
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    if (l->calls_tail == &c->next) l->calls_tail = p;
    loop_cancel(l->n->loop, c->timer);
    if (c->done) c->done(c->arg, e, answer);
    buf_free(&c->body);
    slab_put(&l->n->call_out_slab, c);
}

static void finish_failed(struct call_out *c, enum err_code code, const char *text)
{
    struct ctx *cx = &c->link->n->cx;
    struct arena_mark mark = arena_mark(cx->mem);
    status st =
        err_set(cx, code, __FILE__, __LINE__, "%s to party %u: %s", c->method, c->link->peer.party, text);
    (void)st;
    struct err e = cx->err;
    finish(c, &e, NULL);
    arena_rewind(cx->mem, mark);
}

static void call_late(struct loop *loop, void *arg)
{
    (void)loop;
    struct call_out *c = arg;
    struct ctx *cx = &c->link->n->cx;
    struct arena_mark mark = arena_mark(cx->mem);
    c->timer = NULL;
    const char *text = arena_printf(cx->mem, "no answer in time; %s", link_text(cx, c->link));
    finish_failed(c, ERR_TIMEOUT, text ? text : "no answer in time");
    arena_rewind(cx->mem, mark);
}

status node_call(struct ctx *cx, struct node *n, uint32_t party, const char *method, const json_t *body,
                 uint64_t deadline_ms, node_done done, void *arg)
{
    const char *text = "";
    size_t method_size = strlen(method);
    if (!method_size || method_size > METHOD_MAX) return FAIL(cx, ARG, "method of %zu bytes", method_size);
    struct link *l;
    TRY(node_need_link(cx, n, party, &l));
    struct arena_mark mark = arena_mark(cx->mem);
    if (body) TRY(js_text(cx, body, &text));
    size_t size = strlen(text);
    if (size > BODY_MAX)
        return FAIL(cx, LIMIT, "%s to party %u: a body of %zu bytes, at most %d", method, party, size,
                    BODY_MAX);
    struct call_out *c = slab_get(&n->call_out_slab);
    if (!c) return FAIL(cx, NOMEM, "call");
    if (!deadline_ms) deadline_ms = DEADLINE_MS;
    c->link = l;
    c->id = l->next_call++;
    c->deadline_ms = clock_ms() + deadline_ms;
    c->done = done;
    c->arg = arg;
    memcpy(c->method, method, method_size);
    buf_put(&c->body, text, size);
    arena_rewind(cx->mem, mark);
    c->timer = loop_after(n->loop, deadline_ms, call_late, c);
    if (c->body.bad || !c->timer) {
        loop_cancel(n->loop, c->timer);
        buf_free(&c->body);
        slab_put(&n->call_out_slab, c);
        return FAIL(cx, NOMEM, "call %s to party %u", method, party);
    }
    *l->calls_tail = c;
    l->calls_tail = &c->next;
    if (l->local)
        node_later(n);
    else
        send_call(c);
    return OK;
}

void call_connected(struct link *l, bool restarted)
{
    for (struct call_out *c = l->calls; c; c = c->next)
        if (restarted && c->sent)
            c->lost = true;
        else
            send_call(c);
    if (!restarted) return;
    l->peer_first_call = 0;
    call_forget_below(l, UINT64_MAX);
    for (struct call_out *c = l->calls; c;) { /* from the start again: done may make and end calls */
        if (!c->lost) {
            c = c->next;
            continue;
        }
        finish_failed(c, ERR_PEER, "its site was restarted before it answered");
        c = l->calls;
    }
}

void call_end_all(struct link *l)
{
    while (l->calls)
        finish_failed(l->calls, ERR_CANCELLED, "this site is stopping");
    call_forget_below(l, UINT64_MAX);
}

void call_answered(struct link *l, const struct answer_head *h)
{
    struct call_out *c = l->calls;
    while (c && c->id != h->id)
        c = c->next;
    if (!c) return; /* answered before, or given up */
    if (h->err.code) {
        char text[sizeof h->err.msg];
        snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, h->err.msg);
        struct err e = {.code = ERR_PEER, .line = (int)h->err.code, .file = "peer"};
        snprintf(e.msg, sizeof e.msg, "party %u: %.440s", l->peer.party, text);
        finish(c, &e, NULL);
        return;
    }
    struct ctx *cx = &l->n->cx;
    CLEANUP(json_decrefp) json_t *answer = NULL;
    status st = h->body.n ? js_parse(cx, "the peer's answer", h->body.p, h->body.n, &answer) : OK;
    if (st.code)
        finish_failed(c, ERR_PROTO, "its answer is not JSON");
    else
        finish(c, NULL, answer);
}

/* --- the called side --- */

void call_forget_below(struct link *l, uint64_t first)
{
    if (first <= l->peer_first_call) return;
    l->peer_first_call = first == UINT64_MAX ? 0 : first;
    struct call_in **p = &l->answers; /* newest first */
    while (*p && (*p)->id >= first)
        p = &(*p)->next;
    struct call_in *q = *p, *next;
    *p = NULL;
    for (; q; q = next) {
        next = q->next;
        buf_free(&q->answer);
        slab_put(&l->n->call_in_slab, q);
        l->n_answers--;
    }
}

static void answer_failed(struct link *l, uint64_t id, enum err_code code, const char *text)
{
    struct err e = {.code = code};
    snprintf(e.msg, sizeof e.msg, "%s", text);
    node_answer(l->n, l->peer.party, id, &e, NULL);
}

static void run_call(struct link *l, uint64_t id, const char *method, struct bytes body)
{
    struct node *n = l->n;
    struct ctx *cx = &n->cx;
    CLEANUP(json_decrefp) json_t *j = NULL;
    status st = body.n ? js_parse(cx, method, body.p, body.n, &j) : OK;
    if (st.code)
        answer_failed(l, id, ERR_FORMAT, cx->err.msg);
    else if (!n->ev.on_call)
        answer_failed(l, id, ERR_UNSUPPORTED, "this site answers no calls");
    else
        n->ev.on_call(n->ev.arg, l->peer.party, id, method, j);
}

void call_arrived(struct link *l, const struct call_head *h)
{
    struct node *n = l->n;
    call_forget_below(l, h->first);
    if (h->id < l->peer_first_call) return;
    struct call_in **at = &l->answers;
    while (*at && (*at)->id > h->id)
        at = &(*at)->next;
    if (*at && (*at)->id == h->id) { /* sent again after a cut */
        if ((*at)->answer.n && l->up) buf_put(&l->up->ctl, (*at)->answer.p, (*at)->answer.n);
        return;
    }
    struct call_in *q = l->n_answers < CALLS_MAX ? slab_get(&n->call_in_slab) : NULL;
    if (!q) {
        struct err e = {.code = ERR_LIMIT};
        snprintf(e.msg, sizeof e.msg, "%zu calls under way", l->n_answers);
        if (l->up) frame_put_answer(&l->up->ctl, h->id, &e, "");
        return;
    }
    q->id = h->id;
    q->next = *at;
    *at = q;
    l->n_answers++;
    run_call(l, h->id, h->method, h->body);
}

void call_local(struct link *self)
{
    for (struct call_out *c = self->calls; c;) {
        if (c->sent) {
            c = c->next;
            continue;
        }
        struct buf body = c->body; /* done may free the call while the owner still reads */
        c->body = (struct buf){0};
        c->sent = true;
        char method[METHOD_MAX + 1];
        memcpy(method, c->method, sizeof method);
        run_call(self, c->id, method, (struct bytes){body.p, body.n});
        buf_free(&body);
        c = self->calls;
    }
}

static void answer_local(struct link *self, uint64_t id, const struct err *err, const json_t *answer)
{
    struct call_out *c = self->calls;
    while (c && c->id != id)
        c = c->next;
    if (!c) return;
    struct err e = {.code = ERR_PEER, .file = "peer"};
    if (err && err->code) {
        e.line = (int)err->code;
        snprintf(e.msg, sizeof e.msg, "party %u: %.440s", self->peer.party, err->msg);
    }
    finish(c, err && err->code ? &e : NULL, answer);
}

void node_answer(struct node *n, uint32_t party, uint64_t call_id, const struct err *err,
                 const json_t *answer)
{
    struct link *l = node_find_link(n, party);
    if (!l) return;
    if (l->local) {
        answer_local(l, call_id, err, answer);
        return;
    }
    struct call_in *q = l->answers;
    while (q && q->id != call_id)
        q = q->next;
    if (!q || q->answer.n) return; /* forgotten by the caller, or answered before */
    struct ctx *cx = &n->cx;
    struct arena_mark mark = arena_mark(cx->mem);
    struct err fine = {0}, failed;
    const char *text = "";
    status st = answer && !(err && err->code) ? js_text(cx, answer, &text) : OK;
    if (!st.code && strlen(text) > BODY_MAX)
        st = FAIL(cx, LIMIT, "an answer of %zu bytes, at most %d", strlen(text), BODY_MAX);
    if (st.code) {
        failed = cx->err;
        err = &failed;
        text = "";
    }
    frame_put_answer(&q->answer, call_id, err ? err : &fine, text);
    if (l->up) buf_put(&l->up->ctl, q->answer.p, q->answer.n);
    arena_rewind(cx->mem, mark);
    node_later(n);
}
