/* stream_in.c - messages from another site: put together, kept until the local task takes them, duplicates
 * dropped. */
#include "net/node_int.h"
#include "base/log.h"
#include <assert.h>
#include <stdio.h>

enum { OFFER_AGAIN_MS = 200 };

struct parcel *parcels_pop(struct parcels *q)
{
    struct parcel *p = q->head;
    if (!p) return NULL;
    q->head = p->next;
    if (!q->head) q->tail = NULL;
    q->n--;
    p->next = NULL;
    return p;
}

void parcels_push(struct parcels *q, struct parcel *p)
{
    p->next = NULL;
    if (q->tail)
        q->tail->next = p;
    else
        q->head = p;
    q->tail = p;
    q->n++;
}

void parcel_free(struct node *n, struct parcel *p)
{
    if (!p) return;
    payload_free(&n->pile, &p->payload);
    slab_put(&n->parcel_slab, p);
}

struct stream_in *stream_in_find(struct node *n, const struct stream_key *k)
{
    for (struct stream_in *s = n->in_by_key[key_hash(k)]; s; s = s->next)
        if (key_equal(&s->key, k)) return s;
    return NULL;
}

static struct stream_in *by_number(struct link *l, uint32_t number)
{
    for (struct stream_in *s = l->numbers[number % BUCKETS]; s; s = s->next_number)
        if (s->number == number) return s;
    return NULL;
}

static void set_number(struct stream_in *s, uint32_t number)
{
    struct link *l = s->link;
    if (s->number) {
        struct stream_in **p = &l->numbers[s->number % BUCKETS];
        while (*p != s)
            p = &(*p)->next_number;
        *p = s->next_number;
    }
    s->number = number;
    if (!number) return;
    s->next_number = l->numbers[number % BUCKETS];
    l->numbers[number % BUCKETS] = s;
}

static struct stream_in *make(struct node *n, struct link *l, const struct stream_key *k)
{
    struct stream_in *s = slab_get(&n->in_slab);
    if (!s) return NULL;
    size_t h = key_hash(k);
    s->link = l;
    s->key = *k;
    s->next = n->in_by_key[h];
    n->in_by_key[h] = s;
    s->next_of_link = l->ins;
    l->ins = s;
    l->n_in++;
    return s;
}

/* --- the duplicates' filter --- */

static uint32_t tag_hash(const char *tag)
{
    uint32_t h = 2166136261u;
    for (; *tag; tag++)
        h = (h ^ (uint8_t)*tag) * 16777619u;
    return (h ^ h >> 16) % TAG_BUCKETS;
}

static struct tag_next *tag_of(struct stream_in *s, const char *tag)
{
    if (s->last && strcmp(s->last->tag, tag) == 0) return s->last;
    uint32_t h = tag_hash(tag);
    for (struct tag_next *t = s->tags[h]; t; t = t->next_in)
        if (strcmp(t->tag, tag) == 0) return s->last = t;
    struct tag_next *t = slab_get(&s->link->n->tag_slab);
    if (!t) return NULL;
    memcpy(t->tag, tag, strlen(tag));
    t->next_in = s->tags[h];
    s->tags[h] = t;
    return s->last = t;
}

static void forget_tags(struct stream_in *s)
{
    for (size_t h = 0; h < TAG_BUCKETS; h++) {
        struct tag_next *t = s->tags[h], *next;
        for (; t; t = next) {
            next = t->next_in;
            slab_put(&s->link->n->tag_slab, t);
        }
        s->tags[h] = NULL;
    }
    s->last = NULL;
}

/* --- credit --- */

static uint64_t cost(const struct parcel *p)
{
    return p->payload.n + MESSAGE_COST;
}

static uint64_t room(const struct stream_in *s)
{
    uint64_t window = s->link->n->config.window_bytes;
    if (s->in.head && pile_full(&s->link->n->pile, 0)) return 0; /* memory is short: first what waits */
    return s->dead || s->held < window ? window - (s->dead ? 0 : s->held) : 0;
}

/* What is on its way plus what waits here stays below the window; a message that is arriving does not count
 * while nothing whole waits before it, so one of any size gets through. */
static void give_credit(struct stream_in *s)
{
    struct conn *c = s->link->up;
    if (!c || !s->number) return;
    uint64_t under_way = s->granted - s->got, target = room(s);
    if (target <= under_way || target - under_way < s->link->n->config.window_bytes / 4) return;
    s->granted += target - under_way;
    frame_put_u64(&c->ctl, FRAME_CREDIT, s->number, target - under_way);
    node_later(s->link->n);
}

/* --- to the owner --- */

static void offer_later(struct stream_in *s)
{
    struct node *n = s->link->n;
    if (s->queued) return;
    s->queued = true;
    s->next_offer = n->offers;
    n->offers = s;
    node_later(n);
}

/* What could not be mapped is tried again. */
static void offer_again(struct loop *loop, void *arg)
{
    (void)loop;
    struct node *n = arg;
    n->offer_again = NULL;
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct stream_in *s = n->in_by_key[b]; s; s = s->next)
            if (s->in.head && !s->blocked) offer_later(s);
}

static void offer(struct stream_in *s)
{
    struct node *n = s->link->n;
    while (s->in.head && !s->blocked && !s->dead) {
        struct parcel *p = s->in.head;
        if (payload_open(&n->cx, &n->pile, &p->payload).code) {
            if (!n->offer_again) n->offer_again = loop_after(n->loop, OFFER_AGAIN_MS, offer_again, n);
            break;
        }
        struct message m = {.stream = s->key, .seq = p->seq, .payload = {p->payload.p, p->payload.n}};
        memcpy(m.tag, p->tag, sizeof m.tag);
        bool taken = n->ev.on_message && n->ev.on_message(n->ev.arg, &m);
        if (s->dead) return; /* reclaimed meanwhile, and its messages with it */
        if (!taken) {
            payload_shut(&p->payload);
            s->blocked = true;
            break;
        }
        s->held -= cost(p);
        parcel_free(n, parcels_pop(&s->in));
    }
    give_credit(s);
    if (s->link->local) node_later(n); /* there may be room for more */
}

void stream_in_offer_all(struct node *n)
{
    struct stream_in *s = n->offers;
    n->offers = NULL;
    while (s) {
        struct stream_in *next = s->next_offer;
        s->queued = false;
        offer(s);
        s = next;
    }
}

void node_resume(struct node *n, const struct stream_key *k)
{
    struct stream_in *s = stream_in_find(n, k);
    if (!s) return;
    s->blocked = false;
    if (s->in.head || s->link->local) offer_later(s);
}

void stream_in_give(struct stream_in *s, struct parcel *p)
{
    parcels_push(&s->in, p);
    s->held += cost(p);
    s->total += p->payload.n;
    s->heard_ms = clock_ms();
    if (!s->blocked) offer_later(s);
}

struct stream_in *stream_in_local(struct node *n, const struct stream_key *k)
{
    struct stream_in *s = stream_in_find(n, k);
    return s ? s : make(n, n->self, k);
}

/* --- from the peer --- */

static void close_stream(struct node *n, struct stream_in *s);

static void abort_stream(struct conn *c, uint32_t number, enum err_code code, const char *text)
{
    struct err e = {.code = code};
    snprintf(e.msg, sizeof e.msg, "%s", text);
    frame_put_fail(&c->ctl, FRAME_ABORT, number, &e);
}

static void answer_open(struct stream_in *s, bool resuming)
{
    struct conn *c = s->link->up;
    s->got = 0;
    s->granted = s->link->n->config.window_bytes;
    if (!resuming) return;
    struct opened o = {.credit = room(s), .last_seq = s->last_seq};
    memcpy(o.last_tag, s->last_tag, sizeof o.last_tag);
    if (s->part) {
        memcpy(o.part_tag, s->part->tag, sizeof o.part_tag);
        o.part_seq = s->part->seq;
        o.part_bytes = s->have;
    }
    s->granted = o.credit;
    frame_put_opened(&c->ctl, s->number, &o);
}

status stream_in_open(struct ctx *cx, struct conn *c, uint32_t number, const struct stream_key *k,
                      bool resuming)
{
    struct link *l = c->link;
    struct node *n = l->n;
    if (!number) return FAIL(cx, PROTO, "stream of number 0");
    if (k->from.id != l->peer.party)
        return FAIL(cx, AUTH, "party %u opens a stream in the name of party %u", l->peer.party, k->from.id);
    struct stream_in *s = by_number(l, number), *known = NULL;
    if (!s && k->to.id == n->config.party) known = stream_in_find(n, k);
    if (s && !s->dead && !key_equal(&s->key, k)) return FAIL(cx, PROTO, "stream %u has two names", number);
    if (!s && known) set_number(s = known, number); /* the same stream after the peer's restart */
    if (!s) {
        if (l->n_in >= STREAMS_MAX) return FAIL(cx, LIMIT, "%zu streams of party %u", l->n_in, l->peer.party);
        const char *no = NULL;
        char text[120];
        if (k->to.id != n->config.party) {
            snprintf(text, sizeof text, "party %u does not forward to party %u", n->config.party, k->to.id);
            no = text;
        } else if (n->ev.on_stream && !n->ev.on_stream(n->ev.arg, k)) {
            snprintf(text, sizeof text, "party %u knows no such task", n->config.party);
            no = text;
        }
        s = make(n, l, k);
        if (!s) return FAIL(cx, NOMEM, "stream");
        set_number(s, number);
        if (no) {
            abort_stream(c, number, ERR_NOTFOUND, no);
            close_stream(n, s);
        }
    }
    answer_open(s, resuming);
    return OK;
}

/* No place for it: the sender is told why, and sends no more on this stream. */
static void give_up(struct conn *c, struct stream_in *s, const char *tag, uint32_t seq, size_t n)
{
    struct node *node = s->link->n;
    char text[300];
    snprintf(text, sizeof text, "party %u has no room for message %s[%u] of %zu bytes: %.160s",
             node->config.party, tag, seq, n, node->cx.err.msg);
    log_warn(&node->cx, "message refused", KV("job", (const char *)s->key.job),
             KV("task", (const char *)s->key.task), KV("reason", (const char *)text));
    abort_stream(c, s->number, ERR_LIMIT, text);
    close_stream(node, s);
}

static status begin_message(struct ctx *cx, struct conn *c, struct stream_in *s, const struct data_head *d)
{
    struct node *n = s->link->n;
    struct tag_next *t = tag_of(s, d->tag);
    if (!t) return FAIL(cx, NOMEM, "message %s[%u]", d->tag, d->seq);
    s->dup = d->seq < t->next;
    s->part = slab_get(&n->parcel_slab);
    if (!s->part) return FAIL(cx, NOMEM, "message %s[%u]", d->tag, d->seq);
    memcpy(s->part->tag, d->tag, sizeof d->tag);
    s->part->seq = d->seq;
    s->have = 0;
    if (s->dup) {
        s->part->payload.n = d->total; /* no bytes behind it */
        return OK;
    }
    status st = payload_take(&n->cx, &n->pile, d->total, true, &s->part->payload);
    if (st.code) give_up(c, s, d->tag, d->seq, d->total);
    return OK;
}

static void end_message(struct conn *c, struct stream_in *s)
{
    struct node *n = s->link->n;
    struct parcel *p = TAKE(s->part);
    frame_put_ack(&c->ctl, s->number, p->tag, p->seq);
    if (s->dup) {
        parcel_free(n, p);
        return;
    }
    struct tag_next *t = tag_of(s, p->tag);
    assert(t); /* begin_message has made it */
    t->next = p->seq + 1;
    memcpy(s->last_tag, p->tag, sizeof s->last_tag);
    s->last_seq = p->seq;
    bool first = !s->in.head;
    parcels_push(&s->in, p);
    s->held += cost(p);
    s->total += p->payload.n;
    if (first && !s->blocked && !s->queued) offer(s);
}

status stream_in_begin(struct ctx *cx, struct conn *c, uint32_t number, const struct data_head *d)
{
    struct stream_in *s = by_number(c->link, number);
    if (!s) return FAIL(cx, PROTO, "data of stream %u, which is not open", number);
    s->got += d->bytes + (d->offset ? 0 : MESSAGE_COST);
    if (s->got > s->granted + MESSAGE_COST)
        return FAIL(cx, PROTO, "stream %u has sent more than its credit", number);
    s->heard_ms = clock_ms();
    c->moved = true;
    c->data = s;
    c->data_left = d->bytes;
    if (s->dead) {
        if (d->offset + d->bytes == d->total) frame_put_ack(&c->ctl, number, d->tag, d->seq);
        c->data = NULL;
        give_credit(s);
        return OK;
    }
    if (!s->part && d->offset == 0) TRY(begin_message(cx, c, s, d));
    if (s->dead) {
        c->data = NULL;
        return OK;
    }
    if (!s->part || strcmp(s->part->tag, d->tag) != 0 || s->part->seq != d->seq ||
        s->part->payload.n != d->total || s->have != d->offset)
        return FAIL(cx, PROTO, "stream %u: a piece of message %s[%u] at byte %llu was not expected", number,
                    d->tag, d->seq, (unsigned long long)d->offset);
    return d->bytes ? OK : stream_in_bytes(cx, c, NULL, 0);
}

uint8_t *stream_in_place(struct conn *c)
{
    struct stream_in *s = c->data;
    return s && s->part && !s->dup && !s->part->payload.on_disk ? s->part->payload.p + s->have : NULL;
}

status stream_in_bytes(struct ctx *cx, struct conn *c, const uint8_t *p, size_t n)
{
    (void)cx;
    struct stream_in *s = c->data;
    c->data_left -= n;
    if (!s || !s->part) return OK; /* dropped; or reclaimed half way */
    if (p && n && !s->dup) {
        struct parcel *m = s->part;
        status st = payload_put(&c->n->cx, &c->n->pile, &m->payload, s->have, p, n);
        if (st.code) {
            give_up(c, s, m->tag, m->seq, m->payload.n);
            return OK;
        }
    }
    if (s->have < MEM_BIG && s->have + n >= MEM_BIG) payload_hasten(&s->part->payload, s->have + n);
    s->have += n;
    if (c->data_left) return OK;
    c->data = NULL;
    if (s->have == s->part->payload.n) end_message(c, s);
    give_credit(s);
    return OK;
}

static void set_status(struct stream_in *s, struct bytes body)
{
    if (!s || s->dead || body.n > STATUS_MAX) return;
    if (body.n) memcpy(s->status, body.p, body.n);
    s->n_status = body.n;
    s->status_ms = clock_ms();
}

void stream_in_status(struct link *l, uint32_t number, struct bytes body)
{
    set_status(by_number(l, number), body);
}

void stream_in_local_status(struct node *n, const struct stream_key *k, struct bytes body)
{
    set_status(stream_in_local(n, k), body);
}

/* --- connections come and go --- */

void stream_in_connected(struct link *l, bool restarted)
{
    if (!restarted) return;
    l->peer_first_stream = 0;
    for (struct stream_in *s = l->ins, *next; s; s = next) {
        next = s->next_of_link;
        parcel_free(l->n, TAKE(s->part));
        set_number(s, 0);
        s->n_status = 0;
    }
    stream_in_forget_below(l, UINT32_MAX);
}

/* --- the end --- */

static void bury(struct node *n, struct stream_in *s)
{
    s->next = n->dead_ins;
    n->dead_ins = s;
}

static void unlink_of_link(struct stream_in *s)
{
    struct stream_in **p = &s->link->ins;
    while (*p != s)
        p = &(*p)->next_of_link;
    *p = s->next_of_link;
    s->link->n_in--;
}

static void close_stream(struct node *n, struct stream_in *s)
{
    struct parcel *p;
    s->dead = true;
    while ((p = parcels_pop(&s->in)))
        parcel_free(n, p);
    parcel_free(n, TAKE(s->part));
    s->held = 0;
    forget_tags(s);
    struct stream_in **at = &n->in_by_key[key_hash(&s->key)];
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->number) {
        give_credit(s); /* what is under way is dropped on arrival, until the sender closes the number */
        return;
    }
    unlink_of_link(s);
    bury(n, s);
}

void stream_in_reclaim(struct node *n, const char *job, const char *task)
{
    for (size_t b = 0; b < BUCKETS; b++) {
        struct stream_in *s = n->in_by_key[b], *next;
        for (; s; s = next) {
            next = s->next;
            if (!job || (strcmp(s->key.job, job) == 0 && (!task || strcmp(s->key.task, task) == 0)))
                close_stream(n, s);
        }
    }
}

/* The sender sends nothing any more under this number. */
void stream_in_close(struct link *l, uint32_t number)
{
    struct stream_in *s = by_number(l, number);
    if (!s) return;
    parcel_free(l->n, TAKE(s->part));
    set_number(s, 0);
    if (!s->dead) return; /* whole messages wait on for the task */
    unlink_of_link(s);
    bury(l->n, s);
    node_later(l->n);
}

/* Reclaimed streams stay as numbers, to drop what is still under way, until the sender has ended them too. */
void stream_in_forget_below(struct link *l, uint32_t first)
{
    if (first <= l->peer_first_stream) return;
    l->peer_first_stream = first == UINT32_MAX ? 0 : first;
    struct stream_in *next;
    for (struct stream_in *s = l->ins; s; s = next) {
        next = s->next_of_link;
        if (!s->dead || s->number >= first) continue;
        set_number(s, 0);
        unlink_of_link(s);
        bury(l->n, s);
    }
    node_later(l->n);
}

void stream_in_free_dead(struct node *n)
{
    struct stream_in *s = n->dead_ins, *next;
    n->dead_ins = NULL;
    for (; s; s = next) {
        next = s->next;
        if (s->queued) { /* still in the list of offers */
            s->next = n->dead_ins;
            n->dead_ins = s;
            continue;
        }
        slab_put(&n->in_slab, s);
    }
}
