/* stream_out.c - messages on their way to another site: kept until acknowledged, sent again after a cut. */
#include "net/node_int.h"
#include <assert.h>
#include <stdio.h>

struct stream_out *stream_out_find(struct node *n, const struct stream_key *k)
{
    for (struct stream_out *s = n->out_by_key[key_hash(k)]; s; s = s->next)
        if (key_equal(&s->key, k)) return s;
    return NULL;
}

static struct stream_out *by_number(struct link *l, uint32_t number)
{
    for (struct stream_out *s = l->outs; s; s = s->next_of_link)
        if (s->number == number) return s;
    return NULL;
}

uint32_t stream_out_first(const struct link *l)
{
    uint32_t first = l->next_number;
    for (const struct stream_out *s = l->outs; s; s = s->next_of_link)
        if (s->number < first) first = s->number;
    return first;
}

static void free_parcels_but(struct node *n, struct parcels *q, const struct parcel *keep)
{
    struct parcel *kept = NULL, *p;
    while ((p = parcels_pop(q)))
        if (p == keep)
            kept = p;
        else
            parcel_free(n, p);
    if (kept) parcels_push(q, kept);
}

/* --- the queue of streams that may send --- */

static bool may_send(const struct stream_out *s)
{
    if (!s->sending || s->state != OUT_OPEN || s->broken.code || s->dead) return false;
    return s->credit > (s->offset || !s->sending->payload.n ? 0 : MESSAGE_COST);
}

static void make_ready(struct stream_out *s)
{
    struct link *l = s->link;
    if (s->ready || !l->up || !may_send(s)) return;
    s->ready = true;
    s->next_ready = NULL;
    *l->ready_tail = s;
    l->ready_tail = &s->next_ready;
    node_later(l->n);
}

static struct stream_out *pop_ready(struct link *l)
{
    struct stream_out *s = l->ready;
    if (!s) return NULL;
    l->ready = s->next_ready;
    if (!l->ready) l->ready_tail = &l->ready;
    s->ready = false;
    return s;
}

static void unready(struct stream_out *s)
{
    struct link *l = s->link;
    if (!s->ready) return;
    struct stream_out **p = &l->ready;
    while (*p != s)
        p = &(*p)->next_ready;
    *p = s->next_ready;
    if (!s->next_ready) l->ready_tail = p;
    s->ready = false;
}

/* Makes the stream's number known on the present connection. A fresh stream may send at once; one of which
 * the peer may hold something waits to hear what. */
static void open_on(struct stream_out *s)
{
    struct link *l = s->link;
    if (!l->up || s->state != OUT_NEW || s->broken.code) return;
    frame_put_open(&l->up->ctl, s->number, &s->key, s->touched);
    s->state = s->touched ? OUT_ASKED : OUT_OPEN;
    s->credit = (int64_t)l->peer_window;
    s->touched = true;
    make_ready(s);
    node_later(l->n);
}

static void breaks(struct stream_out *s, enum err_code code, const char *text);

bool stream_out_next(struct conn *c)
{
    struct stream_out *s = NULL;
    while ((s = pop_ready(c->link)) && !may_send(s))
        continue;
    if (!s) return false;
    struct parcel *p = s->sending;
    if (payload_open(&c->n->cx, &c->n->pile, &p->payload).code) {
        breaks(s, ERR_NOMEM, c->n->cx.err.msg);
        return stream_out_next(c);
    }
    if (s->offset == 0) s->credit -= MESSAGE_COST;
    struct data_head d = {.seq = p->seq, .total = p->payload.n, .offset = s->offset};
    memcpy(d.tag, p->tag, sizeof d.tag);
    uint64_t left = p->payload.n - s->offset;
    uint64_t most =
        pace_piece(c) - FRAME_DATA_HEAD_MAX + TAG_MAX - strlen(d.tag); /* a full frame fills whole records */
    if (left > most) left = most;
    if (s->credit < (int64_t)left) left = s->credit > 0 ? (uint64_t)s->credit : 0; /* 0: an empty message */
    d.bytes = (uint32_t)left;
    s->credit -= (int64_t)left;
    uint8_t *out = buf_grow(&c->record, FRAME_DATA_HEAD_MAX);
    if (!out) return false;
    c->record.n -= FRAME_DATA_HEAD_MAX - frame_put_data(out, s->number, &d);
    c->tx = s;
    c->tx_left = left;
    return true;
}

void stream_out_piece_done(struct conn *c)
{
    struct stream_out *s = c->tx;
    c->tx = NULL;
    c->moved = true;
    payload_read_to(&s->sending->payload, s->offset);
    if (s->offset == s->sending->payload.n) {
        payload_shut(&s->sending->payload);
        s->sending = s->sending->next;
        s->offset = 0;
    }
    if (s->broken.code) {
        free_parcels_but(c->n, &s->out, NULL);
        s->sending = NULL;
    }
    if (s->dead) node_later(c->n); /* its burial had to wait for this frame's end */
    make_ready(s);
}

/* --- what the peer says --- */

/* The owner is told when the message that was refused, or any small one, would be taken. */
static void tell_room(struct stream_out *s)
{
    struct node *n = s->link->n;
    if (!s->want_room || s->dead) return;
    if (!s->broken.code && s->queued && s->queued + s->wanted > n->config.outbox_bytes) return;
    s->want_room = false;
    struct stream_key key = s->key;
    if (n->ev.on_room) n->ev.on_room(n->ev.arg, &key);
}

static void drop_head(struct stream_out *s)
{
    struct parcel *p = parcels_pop(&s->out);
    s->queued -= p->payload.n;
    s->acked += p->payload.n;
    s->any_acked = true;
    parcel_free(s->link->n, p);
}

static bool is_named(const struct parcel *p, const char *tag, uint32_t seq)
{
    return p->seq == seq && strcmp(p->tag, tag) == 0;
}

/* Acknowledgements come in the order of sending, so the one that counts is the head; what is named further
 * back (never by an honest peer) or not sent yet is not believed. */
void stream_out_ack(struct link *l, uint32_t number, const char *tag, uint32_t seq)
{
    struct stream_out *s = by_number(l, number);
    if (!s || s->dead || s->broken.code || !s->out.head || s->out.head == s->sending ||
        !is_named(s->out.head, tag, seq))
        return;
    drop_head(s);
    tell_room(s);
}

void stream_out_credit(struct link *l, uint32_t number, uint64_t n)
{
    struct stream_out *s = by_number(l, number);
    if (!s) return;
    if (n > INT32_MAX) n = INT32_MAX;
    if (s->credit < INT64_MAX / 2) s->credit += (int64_t)n;
    make_ready(s);
}

void stream_out_opened(struct ctx *cx, struct link *l, uint32_t number, const struct opened *o)
{
    (void)cx;
    struct stream_out *s = by_number(l, number);
    if (!s || s->state != OUT_ASKED) return;
    struct parcel *p = s->out.head;
    if (o->last_tag[0]) {
        while (p && !is_named(p, o->last_tag, o->last_seq))
            p = p->next;
        if (p) { /* it and all before it are there; only the acknowledgements were lost */
            struct parcel *end = p->next;
            while (s->out.head != end)
                drop_head(s);
        }
    }
    s->state = OUT_OPEN;
    s->credit = o->credit < INT32_MAX ? (int64_t)o->credit : INT32_MAX;
    s->sending = s->out.head;
    s->offset = 0;
    if (s->sending && o->part_tag[0] && is_named(s->sending, o->part_tag, o->part_seq) &&
        o->part_bytes < s->sending->payload.n)
        s->offset = o->part_bytes;
    make_ready(s);
    tell_room(s);
}

static void breaks(struct stream_out *s, enum err_code code, const char *text)
{
    struct node *n = s->link->n;
    if (s->broken.code) return;
    s->broken = (struct err){.code = code, .file = __FILE__, .line = __LINE__};
    snprintf(s->broken.msg, sizeof s->broken.msg, "%s", text);
    unready(s);
    /* Half a frame is not left on the wire: the piece under way goes to its end. */
    bool busy = s->link->up && s->link->up->tx == s;
    free_parcels_but(n, &s->out, busy ? s->sending : NULL);
    s->sending = s->out.head;
    s->queued = 0;
    tell_room(s);
}

void stream_out_abort(struct link *l, uint32_t number, const struct err *e)
{
    struct stream_out *s = by_number(l, number);
    if (s && !s->dead) breaks(s, e->code, e->msg);
}

/* --- connections come and go --- */

void stream_out_connected(struct link *l, bool restarted)
{
    char text[120];
    snprintf(text, sizeof text, "the site of party %u has been restarted; what it held of this task is gone",
             l->peer.party);
    struct stream_out *next;
    for (struct stream_out *s = l->outs; s; s = next) {
        next = s->next_of_link;
        if (restarted && s->any_acked) breaks(s, ERR_PEER, text);
        if (restarted)
            s->touched = false; /* whatever it had of it: all is still here, and goes from the start */
        if (s->out.head || s->touched) open_on(s);
    }
}

void stream_out_disconnected(struct link *l)
{
    for (struct stream_out *s = l->outs; s; s = s->next_of_link) {
        s->state = OUT_NEW;
        s->ready = false;
        if (s->sending) payload_shut(&s->sending->payload);
        s->offset = 0;
        s->sending = s->out.head;
    }
    l->ready = NULL;
    l->ready_tail = &l->ready;
    if (l->up) l->up->tx = NULL;
}

/* --- our own party --- */

void stream_out_local(struct link *self)
{
    struct node *n = self->n;
    struct stream_out *next;
    for (struct stream_out *s = self->outs; s; s = next) {
        next = s->next_of_link;
        if (!s->out.head || s->dead) continue;
        struct stream_in *in = stream_in_local(n, &s->key);
        while (in && s->out.head && in->held < n->config.window_bytes) {
            struct parcel *p = parcels_pop(&s->out);
            s->queued -= p->payload.n;
            s->acked += p->payload.n;
            stream_in_give(in, p);
        }
        tell_room(s);
    }
}

/* --- what the owner asks --- */

static status check_message(struct ctx *cx, const struct node *n, const struct message *m)
{
    const struct stream_key *k = &m->stream;
    if (!memchr(k->job, 0, sizeof k->job) || !memchr(k->task, 0, sizeof k->task) || !k->job[0] || !k->task[0])
        return FAIL(cx, ARG, "stream without job or task name, or one too long");
    if (!memchr(m->tag, 0, sizeof m->tag) || !tag_valid(m->tag))
        return FAIL(cx, ARG, "bad tag '%.64s'", m->tag);
    if (k->from.id != n->config.party)
        return FAIL(cx, ARG, "a message from party %u; this site is party %u", k->from.id, n->config.party);
    if (m->payload.n > MESSAGE_MAX)
        return FAIL(cx, LIMIT, "message %s[%u] of %zu bytes, at most %llu", m->tag, m->seq, m->payload.n,
                    (unsigned long long)MESSAGE_MAX);
    return OK;
}

static status find_or_make(struct ctx *cx, struct node *n, const struct stream_key *k,
                           struct stream_out **out)
{
    struct stream_out *s = stream_out_find(n, k);
    if (!s) {
        struct link *l;
        TRY(node_need_link(cx, n, k->to.id, &l));
        if (l->n_out >= STREAMS_MAX) return FAIL(cx, LIMIT, "%zu streams to party %u", l->n_out, k->to.id);
        s = slab_get(&n->out_slab);
        if (!s) return FAIL(cx, NOMEM, "stream");
        size_t h = key_hash(k);
        s->link = l;
        memcpy(s->key.job, k->job, strlen(k->job));
        memcpy(s->key.task, k->task, strlen(k->task));
        s->key.from = k->from;
        s->key.to = k->to;
        s->number = l->next_number++;
        s->next = n->out_by_key[h];
        n->out_by_key[h] = s;
        s->next_of_link = l->outs;
        l->outs = s;
        l->n_out++;
    }
    *out = s;
    return OK;
}

static status enqueue(struct ctx *cx, struct stream_out *s, const struct message *m, struct payload *payload)
{
    struct node *n = s->link->n;
    struct parcel *p = slab_get(&n->parcel_slab);
    if (!p) return FAIL(cx, NOMEM, "message %s[%u] of %zu bytes", m->tag, m->seq, m->payload.n);
    memcpy(p->tag, m->tag, strlen(m->tag));
    p->seq = m->seq;
    p->payload = *payload;
    parcels_push(&s->out, p);
    if (!s->sending) s->sending = p;
    s->queued += m->payload.n;
    s->total += m->payload.n;
    if (s->link->local)
        node_later(n);
    else if (s->state == OUT_NEW)
        open_on(s);
    else
        make_ready(s);
    return OK;
}

static status admit(struct ctx *cx, struct node *n, const struct message *m, struct stream_out **out)
{
    struct stream_out *s = NULL;
    TRY(check_message(cx, n, m));
    TRY(find_or_make(cx, n, &m->stream, &s));
    assert(s);
    if (s->broken.code)
        return err_set(cx, s->broken.code, s->broken.file, s->broken.line, "message %s[%u] to %s %u: %s",
                       m->tag, m->seq, role_name(m->stream.to.role), m->stream.to.id, s->broken.msg);
    if (s->queued && (s->queued + m->payload.n > n->config.outbox_bytes ||
                      (m->payload.n < SPILL_MIN && pile_full(&n->pile, m->payload.n)))) {
        s->want_room = true;
        s->wanted = m->payload.n;
        return FAIL(cx, STATE, "the outbox to %s %u holds %llu bytes, at most %llu",
                    role_name(m->stream.to.role), m->stream.to.id, (unsigned long long)s->queued,
                    (unsigned long long)n->config.outbox_bytes);
    }
    *out = s;
    return OK;
}

status node_send(struct ctx *cx, struct node *n, const struct message *m)
{
    struct stream_out *s = NULL;
    struct payload payload;
    TRY(admit(cx, n, m, &s));
    assert(s);
    status st = payload_take(cx, &n->pile, m->payload.n, false, &payload);
    if (!st.code) {
        st = payload_put(cx, &n->pile, &payload, 0, m->payload.p, m->payload.n);
        if (!st.code) st = enqueue(cx, s, m, &payload);
        if (st.code) payload_free(&n->pile, &payload);
    }
    if (st.code) err_prefix(cx, "message %s[%u] of %zu bytes", m->tag, m->seq, m->payload.n);
    return st;
}

status node_send_lent(struct ctx *cx, struct node *n, const struct message *m,
                      void (*release)(void *arg, const void *p), void *arg)
{
    struct stream_out *s = NULL;
    TRY(admit(cx, n, m, &s));
    assert(s);
    if (n->pile.spill.dir && m->payload.n >= SPILL_MIN && pile_full(&n->pile, m->payload.n)) {
        TRY(node_send(cx, n, m)); /* to disk; the lender has his memory back */
        release(arg, m->payload.p);
        return OK;
    }
    struct payload lent;
    payload_lend(&n->pile, m->payload.p, m->payload.n, release, arg, &lent);
    status st = enqueue(cx, s, m, &lent);
    if (st.code) n->pile.held -= m->payload.n; /* not released: it is the lender's */
    return st;
}

void node_tell_status(struct node *n, const struct stream_key *k, const void *p, size_t bytes)
{
    struct ctx *cx = &n->cx;
    struct stream_out *s = NULL;
    if (bytes > STATUS_MAX) return;
    if (k->to.id == n->config.party) {
        stream_in_local_status(n, k, (struct bytes){p, bytes});
        return;
    }
    status st = find_or_make(cx, n, k, &s);
    if (st.code || !s || !s->link->up || s->broken.code) return;
    open_on(s);
    frame_put_status(&s->link->up->ctl, s->number, p, bytes);
    node_later(n);
}

/* --- the end --- */

static bool concerns(const struct stream_key *k, const char *job, const char *task)
{
    return !job || (strcmp(k->job, job) == 0 && (!task || strcmp(k->task, task) == 0));
}

static void bury(struct node *n, struct stream_out *s)
{
    struct link *l = s->link;
    unready(s);
    s->dead = true;
    if (l->up && s->state != OUT_NEW) frame_put_close(&l->up->ctl, s->number);
    bool busy = l->up && l->up->tx == s;
    free_parcels_but(n, &s->out, busy ? s->sending : NULL);
    s->sending = s->out.head;
    s->queued = 0;
    struct stream_out **p = &n->out_by_key[key_hash(&s->key)];
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    p = &l->outs;
    while (*p != s)
        p = &(*p)->next_of_link;
    *p = s->next_of_link;
    l->n_out--;
    s->next = n->dead_outs;
    n->dead_outs = s;
}

void stream_out_reclaim(struct node *n, const char *job, const char *task)
{
    for (size_t b = 0; b < BUCKETS; b++) {
        struct stream_out *s = n->out_by_key[b], *next;
        for (; s; s = next) {
            next = s->next;
            if (concerns(&s->key, job, task)) bury(n, s);
        }
    }
}

void stream_out_free_dead(struct node *n)
{
    struct stream_out *s = n->dead_outs, *next;
    n->dead_outs = NULL;
    for (; s; s = next) {
        next = s->next;
        if (s->link->up && s->link->up->tx == s) {
            s->next = n->dead_outs;
            n->dead_outs = s;
            continue;
        }
        free_parcels_but(n, &s->out, NULL);
        slab_put(&n->out_slab, s);
    }
}
