/* hub.c - channels between the threads of one process. One mutex guards everything; one condition per party.
 */
#include "net/channel.h"
#include "base/arena.h"
#include "base/loop.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CANCEL_POLL_MS = 20, ADOPT_BYTES = 65536 };

struct parcel { /* one message under way */
    struct parcel *next;
    struct buf bytes;
};

struct lane { /* all messages of one tag from one party to another, oldest first */
    struct lane *next;
    struct party from, to;
    char tag[TAG_MAX + 1];
    struct parcel *head, **tail;
    uint32_t received;
    uint64_t bytes; /* sent so far */
};

struct seat { /* one party's place at the hub */
    struct seat *next;
    struct channel ch;
    struct hub *hub;
    struct party me;
    pthread_cond_t wake;
    uint64_t active_ms; /* its last send or completed recv */
    bool failed;
    char why[240];
};

struct hub {
    pthread_mutex_t lock; /* guards all below, and every seat and lane */
    struct arena *mem;
    struct seat *seats;
    struct lane *lanes;
    struct parcel *spare;
    uint64_t deadline_ms;
    void (*tap)(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n);
    void *tap_arg;
};

static bool same(struct party a, struct party b)
{
    return a.role == b.role && a.id == b.id;
}

static status hub_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p, size_t n);
static status hub_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out);
static uint64_t hub_bytes_sent(void *self, struct party to);
static const struct channel_ops hub_ops = {hub_send, hub_recv, hub_bytes_sent};

struct hub *hub_new(uint64_t deadline_ms,
                    void (*tap)(void *arg, struct party from, struct party to, const char *tag, const void *p,
                                size_t n),
                    void *arg)
{
    struct arena *mem = arena_new(0);
    struct hub *h = mem ? arena_alloc(mem, sizeof *h, _Alignof(struct hub)) : NULL;
    if (!h) {
        arena_free(mem);
        return NULL;
    }
    *h = (struct hub){.mem = mem, .deadline_ms = deadline_ms, .tap = tap, .tap_arg = arg};
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void hub_free(struct hub *h)
{
    if (!h) return;
    for (struct lane *l = h->lanes; l; l = l->next)
        for (struct parcel *q = l->head; q; q = q->next)
            buf_free(&q->bytes);
    for (struct seat *s = h->seats; s; s = s->next)
        pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&h->lock);
    arena_free(h->mem);
}

static struct seat *seat_of(struct hub *h, struct party who)
{
    for (struct seat *s = h->seats; s; s = s->next)
        if (same(s->me, who)) return s;
    struct seat *s = arena_alloc(h->mem, sizeof *s, _Alignof(struct seat));
    if (!s) return NULL;
    *s = (struct seat){.next = h->seats, .hub = h, .me = who, .active_ms = clock_ms()};
    s->ch = (struct channel){&hub_ops, s};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    return h->seats = s;
}

static struct lane *lane_of(struct hub *h, struct party from, struct party to, const char *tag)
{
    for (struct lane *l = h->lanes; l; l = l->next)
        if (same(l->from, from) && same(l->to, to) && strcmp(l->tag, tag) == 0) return l;
    struct lane *l = arena_alloc(h->mem, sizeof *l, _Alignof(struct lane));
    if (!l) return NULL;
    *l = (struct lane){.next = h->lanes, .from = from, .to = to, .tail = &l->head};
    memcpy(l->tag, tag, strlen(tag));
    return h->lanes = l;
}

struct channel *hub_channel(struct hub *h, struct party me)
{
    pthread_mutex_lock(&h->lock);
    struct seat *s = seat_of(h, me);
    pthread_mutex_unlock(&h->lock);
    return s ? &s->ch : NULL;
}

void hub_fail(struct hub *h, struct party who, const char *why)
{
    pthread_mutex_lock(&h->lock);
    struct seat *s = seat_of(h, who);
    if (s && !s->failed) {
        s->failed = true;
        snprintf(s->why, sizeof s->why, "%s", why);
    }
    for (struct seat *o = h->seats; o; o = o->next)
        pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&h->lock);
}

static status peer_failed(struct ctx *cx, const struct seat *peer)
{
    return FAIL(cx, PEER, "%s %u failed: %s", role_name(peer->me.role), peer->me.id, peer->why);
}

/* Under the lock. */
static status send_locked(struct ctx *cx, struct seat *s, struct party to, const char *tag, struct buf *bytes)
{
    struct hub *h = s->hub;
    struct seat *peer = seat_of(h, to);
    struct lane *l = lane_of(h, s->me, to, tag);
    if (!peer || !l) return FAIL(cx, NOMEM, "message %s to %s %u", tag, role_name(to.role), to.id);
    if (peer->failed) return peer_failed(cx, peer);
    struct parcel *q = h->spare;
    if (q)
        h->spare = q->next;
    else
        q = arena_alloc(h->mem, sizeof *q, _Alignof(struct parcel));
    if (!q) return FAIL(cx, NOMEM, "message %s to %s %u", tag, role_name(to.role), to.id);
    *q = (struct parcel){.bytes = *bytes};
    *bytes = (struct buf){0};
    *l->tail = q;
    l->tail = &q->next;
    l->bytes += q->bytes.n;
    s->active_ms = clock_ms();
    pthread_cond_signal(&peer->wake);
    return OK;
}

static status hub_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p, size_t n)
{
    struct seat *s = self;
    TRY(ctx_check(cx));
    if (!tag_valid(tag)) return FAIL(cx, ARG, "bad tag '%.80s'", tag);
    if ((unsigned)to.role >= ROLE_COUNT) return FAIL(cx, ARG, "bad role %d", (int)to.role);
    CLEANUP(buf_free) struct buf bytes = {0};
    if (n) buf_put(&bytes, p, n);
    TRY(buf_ok(cx, &bytes));
    if (s->hub->tap) {
        /* One at a time: a tap needs no lock of its own. */
        pthread_mutex_lock(&s->hub->lock);
        s->hub->tap(s->hub->tap_arg, s->me, to, tag, p, n);
        pthread_mutex_unlock(&s->hub->lock);
    }
    pthread_mutex_lock(&s->hub->lock);
    status st = send_locked(cx, s, to, tag, &bytes);
    pthread_mutex_unlock(&s->hub->lock);
    return st;
}

static void wait_a_little(struct seat *s)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += CANCEL_POLL_MS * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_nsec -= 1000000000L;
        t.tv_sec++;
    }
    pthread_cond_timedwait(&s->wake, &s->hub->lock, &t);
}

/* Under the lock; gives the bytes of the next message of the lane. */
static status recv_locked(struct ctx *cx, struct seat *s, struct party from, const char *tag, struct buf *out)
{
    struct hub *h = s->hub;
    struct seat *peer = seat_of(h, from);
    struct lane *l = lane_of(h, from, s->me, tag);
    if (!peer || !l) return FAIL(cx, NOMEM, "message %s of %s %u", tag, role_name(from.role), from.id);
    uint64_t start = clock_ms();
    while (!l->head) {
        TRY(ctx_check(cx));
        if (peer->failed) return peer_failed(cx, peer);
        uint64_t progress = peer->active_ms > start ? peer->active_ms : start;
        if (clock_ms() - progress >= h->deadline_ms)
            return FAIL(cx, TIMEOUT, "no sign of %s %u for %llu ms while waiting for message %s[%u] of it",
                        role_name(from.role), from.id, (unsigned long long)h->deadline_ms, tag, l->received);
        wait_a_little(s);
    }
    struct parcel *q = l->head;
    l->head = q->next;
    if (!l->head) l->tail = &l->head;
    l->received++;
    *out = q->bytes;
    q->next = h->spare;
    h->spare = q;
    s->active_ms = clock_ms();
    return OK;
}

static void free_adopted(void *arg)
{
    buf_free(arg);
}

/* Large messages are not copied: the arena takes the buffer over. */
static status to_arena(struct ctx *cx, struct buf *b, struct bytes *out)
{
    if (b->n < ADOPT_BYTES) return buf_to_arena(cx, b, out);
    struct buf *kept = NEW(cx, struct buf, 1);
    if (!kept || !arena_on_free(cx->mem, free_adopted, kept))
        return FAIL(cx, NOMEM, "message of %zu bytes", b->n);
    *kept = *b;
    *b = (struct buf){0};
    *out = (struct bytes){kept->p, kept->n};
    return OK;
}

static status hub_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    struct seat *s = self;
    if (!tag_valid(tag)) return FAIL(cx, ARG, "bad tag '%.80s'", tag);
    CLEANUP(buf_free) struct buf bytes = {0};
    pthread_mutex_lock(&s->hub->lock);
    status st = recv_locked(cx, s, from, tag, &bytes);
    pthread_mutex_unlock(&s->hub->lock);
    TRY(st);
    return to_arena(cx, &bytes, out);
}

static uint64_t hub_bytes_sent(void *self, struct party to)
{
    struct seat *s = self;
    pthread_mutex_lock(&s->hub->lock);
    uint64_t n = 0;
    for (struct lane *l = s->hub->lanes; l; l = l->next)
        if (same(l->from, s->me) && same(l->to, to)) n += l->bytes;
    pthread_mutex_unlock(&s->hub->lock);
    return n;
}
