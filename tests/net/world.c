#include "world.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/pki.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(struct ctx *cx, status st)
{
    if (!st.code) return;
    fprintf(stderr, "world: %s: %s\n", err_name(st.code), cx->err.msg);
    abort();
}

const char *world_file(struct world *w, const char *fmt, ...)
{
    char name[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return arena_printf(w->cx->mem, "%s/%s", w->dir, name);
}

void world_init(struct world *w, struct ctx *cx)
{
    *w = (struct world){.cx = cx};
    snprintf(w->dir, sizeof w->dir, "/tmp/norn-net-XXXXXX");
    if (!mkdtemp(w->dir)) abort();
    if (getenv("TEST_LOG"))
        cx->log = log_new(2, LOG_DEBUG); /* what the sites say, for whoever looks into a failure */
    must(cx, loop_new(cx, &w->loop));
    must(cx, pki_ca_init(cx, world_file(w, "ca"), "test federation", 30));
}

void world_free(struct world *w)
{
    for (size_t i = 0; i < WORLD_SITES; i++) {
        node_free(w->site[i].node);
        for (struct got *g = w->site[i].got, *next; g; g = next) {
            next = g->next;
            free(g);
        }
    }
    loop_free(w->loop);
    log_free(w->cx->log);
    w->cx->log = NULL;
    must(w->cx, dir_remove(w->cx, w->dir));
}

void world_keys(struct world *w, uint32_t party)
{
    const char *key = world_file(w, "%u.key", party), *csr = world_file(w, "%u.csr", party);
    must(w->cx, pki_site_request(w->cx, party, key, csr));
    must(w->cx, pki_ca_sign(w->cx, world_file(w, "ca"), csr, party, 30, world_file(w, "%u.crt", party)));
}

struct site *world_site(struct world *w, size_t i, uint32_t party)
{
    struct site *s = &w->site[i];
    world_keys(w, party);
    s->w = w;
    s->tail = &s->got;
    s->config = (struct node_config){.party = party,
                                     .listen_host = "127.0.0.1",
                                     .key_file = world_file(w, "%u.key", party),
                                     .cert_file = world_file(w, "%u.crt", party),
                                     .ca_file = world_file(w, "ca/ca.crt"),
                                     .peers = s->peers};
    return s;
}

void site_peer(struct site *s, uint32_t party, uint16_t port)
{
    s->peers[s->config.n_peers++] =
        (struct peer_config){.party = party, .host = port ? "127.0.0.1" : NULL, .port = port};
}

void site_via(struct site *s, uint32_t party, uint32_t via)
{
    s->peers[s->config.n_peers++] = (struct peer_config){.party = party, .via = via};
}

static bool on_message(void *arg, const struct message *m)
{
    struct site *s = arg;
    if (s->deliver) return s->deliver(arg, m);
    if (s->refuse && (!s->refuse_job || strcmp(s->refuse_job, m->stream.job) == 0)) return false;
    struct got *g = calloc(1, sizeof *g);
    if (!g) abort();
    g->m = *m;
    g->m.payload.p = NULL;
    g->sum = sum_bytes(m->payload.p, m->payload.n);
    *s->tail = g;
    s->tail = &g->next;
    s->n_got++;
    s->bytes_got += m->payload.n;
    return true;
}

static void on_room(void *arg, const struct stream_key *k)
{
    struct site *s = arg;
    s->n_room++;
    if (s->room) s->room(arg, k);
    s->last_room = *k;
}

static void on_link(void *arg, const struct link_state *l)
{
    struct site *s = arg;
    s->n_up += l->up;
}

static void on_restart(void *arg, uint32_t party)
{
    (void)party;
    struct site *s = arg;
    s->n_restart++;
}

static void on_call(void *arg, uint32_t party, uint64_t id, const char *method, const json_t *body)
{
    struct site *s = arg;
    s->n_calls++;
    if (s->on_call && s->on_call(s, party, id, method, body)) return;
    node_answer(s->node, party, id, NULL, body); /* echo */
}

void site_start(struct site *s)
{
    const struct node_events ev = {.arg = s,
                                   .on_message = on_message,
                                   .on_room = on_room,
                                   .on_link = on_link,
                                   .on_restart = on_restart,
                                   .on_call = on_call};
    must(s->w->cx, node_new(s->w->cx, s->w->loop, &s->config, &ev, &s->node));
}

void world_pair(struct world *w)
{
    struct site *a = world_site(w, 0, 10000), *b = world_site(w, 1, 9999);
    site_peer(a, 9999, 0);
    site_start(a);
    site_peer(b, 10000, node_port(a->node));
    site_start(b);
}

/* --- running --- */

struct wait {
    struct world *w;
    bool (*done)(void *arg);
    void *arg;
    bool met;
    struct loop_timer *poll, *end;
};

static void poll_done(struct loop *loop, void *arg)
{
    struct wait *q = arg;
    q->poll = NULL;
    q->met = q->done && q->done(q->arg);
    if (q->met)
        loop_stop(loop);
    else
        q->poll = loop_after(loop, 1, poll_done, q);
}

static void stop(struct loop *loop, void *arg)
{
    struct wait *q = arg;
    q->end = NULL;
    loop_stop(loop);
}

bool world_run(struct world *w, uint64_t ms, bool (*done)(void *arg), void *arg)
{
    struct wait q = {.w = w, .done = done, .arg = arg};
    q.end = loop_after(w->loop, ms, stop, &q);
    q.poll = loop_after(w->loop, 0, poll_done, &q);
    must(w->cx, loop_run(w->cx, w->loop));
    loop_cancel(w->loop, q.end);
    loop_cancel(w->loop, q.poll);
    return q.met || !done;
}

struct up_wait {
    struct site *site;
    uint32_t party;
};

static bool is_up(void *arg)
{
    struct up_wait *u = arg;
    struct link_state l;
    return node_link(u->site->node, u->party, &l) && l.up;
}

bool world_until_up(struct world *w, struct site *a, uint32_t party, uint64_t ms)
{
    struct up_wait u = {a, party};
    return world_run(w, ms, is_up, &u);
}

/* --- payloads --- */

void fill_bytes(uint8_t *p, size_t n, uint64_t seed)
{
    struct shuffle s = shuffle_new(seed);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t x = shuffle_u64(&s);
        memcpy(p + i, &x, 8);
    }
    uint64_t x = shuffle_u64(&s);
    memcpy(p + i, &x, n - i);
}

uint64_t sum_bytes(const void *p, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n, x;
    const uint8_t *q = p;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&x, q + i, 8);
        h = (h ^ x) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    x = 0;
    if (i < n) memcpy(&x, q + i, n - i);
    return (h ^ x) * 0xff51afd7ed558ccdu;
}

struct message make_message(struct site *from, const char *job, uint32_t to, const char *tag, uint32_t seq,
                            const void *p, size_t n)
{
    struct message m = {.seq = seq, .payload = {p, n}};
    snprintf(m.stream.job, sizeof m.stream.job, "%s", job);
    snprintf(m.stream.task, sizeof m.stream.task, "toy_0.0");
    m.stream.from = (struct party){ROLE_GUEST, from->config.party};
    m.stream.to = (struct party){ROLE_HOST, to};
    snprintf(m.tag, sizeof m.tag, "%s", tag);
    return m;
}
