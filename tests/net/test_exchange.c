/* A star: parties without a link of their own talk through an exchange, which can delay them and nothing else. */
#include "test.h"
#include "flow.h"
#include "rogue.h"
#include "net/node_int.h"

enum { MESSAGES = 60, FAULTS = 40 };

/* 0: party 10000, 1: party 9999, 2: the exchange 10001, which both dial (through the relay, when there is one). */
static struct relay *start_star(struct world *w, bool by_relay, bool both_say_via)
{
    struct site *a = world_site(w, 0, 10000), *b = world_site(w, 1, 9999), *x = world_site(w, 2, 10001);
    struct relay *r = NULL;
    x->config.forward_bytes = 64 << 20;
    a->config.heartbeat_ms = b->config.heartbeat_ms = x->config.heartbeat_ms = by_relay ? 1000 : 2000;
    site_peer(x, 10000, 0);
    site_peer(x, 9999, 0);
    site_start(x);
    uint16_t port = node_port(x->node);
    if (by_relay) r = relay_new(w->loop, port);
    site_peer(a, 10001, port);
    if (both_say_via)
        site_via(a, 9999, 10001);
    else
        site_peer(a, 9999, 0);
    site_peer(b, 10001, r ? relay_port(r) : port);
    site_via(b, 10000, 10001);
    site_start(a);
    site_start(b);
    return r;
}

static void through(struct ctx *cx, bool both)
{
    struct world w;
    struct run run;
    struct link_state l;
    world_init(&w, cx);
    start_star(&w, false, both);
    CHECK(world_until_up(&w, &w.site[0], 9999, 3000));
    run_start(&run, &w, NULL, MESSAGES);
    run_finish(&run, &w, 20000);
    CHECK(node_link(w.site[1].node, 10000, &l) && l.up && l.via == 10001 && l.features == FEATURES_ALL);
    CHECK(strcmp(l.address, "party 10000 through exchange 10001") == 0 ||
          strcmp(l.address, "party 10000 through exchange 10001") == 0);
    CHECK(w.site[2].n_got == 0 && w.site[2].node->n_links == 2);
    world_free(&w);
}

static void one_dials(struct ctx *cx)
{
    through(cx, false);
}

static void both_dial(struct ctx *cx)
{
    for (int i = 0; i < 4; i++)
        through(cx, true);
}

static void cuts(struct ctx *cx)
{
    struct world w;
    struct run run;
    world_init(&w, cx);
    struct relay *r = start_star(&w, true, true);
    run_start(&run, &w, r, MESSAGES);
    run.cuts = true;
    run.mean_ms = 60;
    run_finish(&run, &w, 60000);
    CHECK(relay_connections(r) > 3);
    relay_free(r);
    world_free(&w);
}

/* --- ways that lead nowhere --- */

struct want {
    struct site *site;
    uint32_t party;
    const char *text;
};

static bool says(void *arg)
{
    struct want *q = arg;
    struct link_state l;
    return node_link(q->site->node, q->party, &l) && strstr(l.last_error, q->text);
}

static void expect(struct world *w, struct site *s, uint32_t party, const char *text)
{
    struct want q = {s, party, text};
    struct link_state l;
    CHECK(world_run(w, 5000, says, &q));
    CHECK(node_link(s->node, party, &l) && !l.up);
    if (!strstr(l.last_error, text)) fprintf(stderr, "# wanted '%s': %s\n", text, l.last_error);
}

static void unreachable(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999), *x = world_site(&w, 2, 10001);
    site_peer(x, 10000, 0);
    site_peer(x, 9999, 0);
    site_start(x);
    site_peer(b, 10001, node_port(x->node));
    site_via(b, 10000, 10001);
    site_via(b, 7777, 10001);
    site_start(b);
    expect(&w, b, 10000, "party 10001 does not forward to party 10000");
    x->node->config.forward_bytes = 1 << 20;
    expect(&w, b, 10000, "exchange 10001 has no link to party 10000");
    expect(&w, b, 7777, "exchange 10001 knows no way to party 7777");
    x->node->config.forward_bytes = 100;
    site_peer(a, 10001, node_port(x->node));
    site_peer(a, 9999, 0);
    site_start(a);
    expect(&w, b, 10000, "exchange 10001 is full");
    x->node->config.forward_bytes = 1 << 20;
    CHECK(world_until_up(&w, b, 10000, 5000));
    CHECK(x->node->forward_used > 0 && x->node->forward_used <= 1 << 20);
    node_free(TAKE(a->node));
    expect(&w, b, 10000, "party 10000"); /* its goodbye, or the exchange's word */
    expect(&w, b, 10000, "exchange 10001 has no link to party 10000");
    CHECK(x->node->forward_used == 0);
    node_free(TAKE(x->node));
    expect(&w, b, 10000, "the link to exchange 10001 is down");
    world_free(&w);
}

/* Exchanges that point at each other. */
static void loops(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10001), *b = world_site(&w, 1, 10002), *c = world_site(&w, 2, 10003),
                *d = world_site(&w, 3, 9999);
    struct site *ring[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        ring[i]->config.forward_bytes = 1 << 20;
    site_peer(a, 10002, 0); /* a -> b -> c -> a */
    site_peer(a, 10003, 0);
    site_peer(a, 9999, 0);
    site_via(a, 5555, 10002);
    site_via(a, 6666, 10002);
    site_start(a);
    site_peer(b, 10001, node_port(a->node));
    site_peer(b, 10003, 0);
    site_via(b, 5555, 10003);
    site_via(b, 6666, 10001);
    site_start(b);
    site_peer(c, 10001, node_port(a->node));
    site_peer(c, 10002, node_port(b->node));
    site_via(c, 5555, 10001);
    site_start(c);
    site_peer(d, 10001, node_port(a->node));
    site_via(d, 5555, 10001);
    site_via(d, 6666, 10001);
    site_start(d);
    expect(&w, d, 5555, "routing loop: exchange 10001 is asked a second time for party 5555");
    expect(&w, d, 6666, "routing loop: exchange 10002 reaches party 6666 only through party 10001");
    world_free(&w);
}

/* Two exchanges one behind the other. */
static void two_exchanges(struct ctx *cx)
{
    struct world w;
    struct run run;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999), *x = world_site(&w, 2, 10001),
                *y = world_site(&w, 3, 500);
    x->config.forward_bytes = y->config.forward_bytes = 64 << 20;
    site_peer(x, 10000, 0);
    site_peer(x, 500, 0);
    site_via(x, 9999, 500);
    site_start(x);
    site_peer(y, 10001, node_port(x->node));
    site_peer(y, 9999, 0);
    y->config.default_via = 10001;
    site_start(y);
    site_peer(a, 10001, node_port(x->node));
    site_via(a, 9999, 10001);
    site_start(a);
    site_peer(b, 500, node_port(y->node));
    site_via(b, 10000, 500);
    site_start(b);
    run_start(&run, &w, NULL, MESSAGES);
    run_finish(&run, &w, 20000);
    world_free(&w);
}

/* No party but the exchange is in anybody's settings. */
static void default_route(struct ctx *cx)
{
    struct world w;
    struct run run;
    struct link_state l;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999), *x = world_site(&w, 2, 10001);
    x->config.forward_bytes = 64 << 20;
    site_peer(x, 10000, 0);
    site_peer(x, 9999, 0);
    site_start(x);
    site_peer(a, 10001, node_port(x->node));
    site_peer(b, 10001, node_port(x->node));
    a->config.default_via = b->config.default_via = 10001;
    site_start(a);
    site_start(b);
    CHECK(!node_link(b->node, 10000, &l));
    run_start(&run, &w, NULL, MESSAGES);
    run_finish(&run, &w, 20000);
    CHECK(node_link(b->node, 10000, &l) && l.up && l.via == 10001);
    world_free(&w);
}

static void bad_settings(struct ctx *cx)
{
    struct world w;
    const struct node_events ev = {0};
    struct node *n;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000);
    site_via(a, 9999, 10001);
    CHECK_ERR(node_new(cx, w.loop, &a->config, &ev, &n), ARG);
    CHECK(strstr(cx->err.msg, "peer 9999 goes via 10001, which is not among the peers"));
    site_via(a, 10001, 9999);
    CHECK_ERR(node_new(cx, w.loop, &a->config, &ev, &n), ARG);
    CHECK(strstr(cx->err.msg, "is itself reached via"));
    a->config.n_peers = 0;
    a->config.default_via = 10001;
    CHECK_ERR(node_new(cx, w.loop, &a->config, &ev, &n), ARG);
    CHECK(strstr(cx->err.msg, "the default route"));
    world_free(&w);
}

/* --- a rogue between them --- */

struct rogue_run {
    struct rogue *rogue;
    enum rogue_fault kind; /* 0: any */
    uint64_t up_ms;
};

static void start_rogue_world(struct world *w, struct rogue *r)
{
    struct site *a = world_site(w, 0, 10000), *b = world_site(w, 1, 9999);
    site_peer(a, 10001, 0);
    site_peer(b, 10001, 0);
    site_via(a, 9999, 10001);
    site_via(b, 10000, 10001);
    a->config.heartbeat_ms = b->config.heartbeat_ms = 100;
    site_start(a);
    site_start(b);
    rogue_start(r, w, 10001);
}

static void misbehave(struct run *r, void *arg)
{
    struct rogue_run *q = arg;
    struct link_state l;
    (void)r;
    rogue_step(q->rogue);
    if (q->rogue->fault || !node_link(q->rogue->w->site[0].node, 9999, &l) || !l.up) return;
    if (clock_ms() < q->up_ms || q->rogue->faults >= FAULTS) return;
    q->up_ms = clock_ms() + 60;
    q->rogue->fault = q->kind ? q->kind : 1 + (enum rogue_fault)shuffle_below(&r->dice, ROGUE_FAULTS - 1);
}

/* Whatever it does, the messages arrive as they were sent. */
static void rogue_survived(struct ctx *cx)
{
    struct world w;
    struct rogue rogue;
    struct run run;
    world_init(&w, cx);
    start_rogue_world(&w, &rogue);
    struct rogue_run q = {.rogue = &rogue};
    run_start(&run, &w, NULL, 150);
    rogue.needle = (const char *)run.flow[0].bytes + 1000;
    run.fault = misbehave;
    run.arg = &q;
    run.mean_ms = 1;
    run_finish(&run, &w, 60000);
    CHECK(rogue.faults >= 10 && rogue.tunnels >= 10 && rogue.pieces > 1000 && rogue.n_needle == 0);
    fprintf(stderr, "# %zu pieces, %zu faults, %zu tunnels\n", rogue.pieces, rogue.faults, rogue.tunnels);
    CHECK(rogue.dials == 2); /* the hops themselves were never broken */
    rogue_stop(&rogue);
    world_free(&w);
}

struct fault_wait {
    struct world *w;
    struct rogue *rogue;
    const char *text;
    uint32_t next;
    bool up_only;
    char seen[240];
};

static bool fault_seen(void *arg)
{
    struct fault_wait *f = arg;
    struct link_state l;
    static uint8_t bytes[50000];
    rogue_step(f->rogue);
    if (f->up_only)
        return node_link(f->w->site[0].node, 9999, &l) && l.up && node_link(f->w->site[1].node, 10000, &l) &&
               l.up;
    struct message m = make_message(&f->w->site[1], "job1", 10000, "a", f->next, bytes, sizeof bytes);
    if (f->next < 500 && !node_send(f->w->cx, f->w->site[1].node, &m).code) f->next++;
    for (int i = 0; i < 2; i++) {
        const struct link *k = node_find_link(f->w->site[i].node, i ? 10000 : 9999);
        if (k->up || !k->state.last_error[0]) continue;
        snprintf(f->seen, sizeof f->seen, "%s", k->state.last_error);
        if (strstr(f->seen, f->text)) return true;
    }
    return false;
}

/* Each kind of fault is found, and the error names the exchange. */
static void rogue_detected(struct ctx *cx)
{
    static const char altered[] =
        "through exchange 10001: TLS: a record was altered, left out, repeated or moved";
    static const char *const want[] = {
        [ROGUE_ALTER] = altered,   [ROGUE_DROP] = altered,    [ROGUE_REPEAT] = altered,
        [ROGUE_OLD] = altered,     [ROGUE_SWAP] = altered,    [ROGUE_FORGE] = altered,
        [ROGUE_END] = "no reason", [ROGUE_SWALLOW] = "silent"};
    struct world w;
    struct rogue rogue;
    world_init(&w, cx);
    start_rogue_world(&w, &rogue);
    struct fault_wait f = {.w = &w, .rogue = &rogue};
    for (int kind = 1; kind <= ROGUE_SWALLOW; kind++) {
        if (!want[kind]) continue;
        f.up_only = true;
        CHECK(world_run(&w, 5000, fault_seen, &f));
        f.up_only = false;
        f.text = want[kind];
        f.seen[0] = 0;
        rogue.fault = (enum rogue_fault)kind;
        CHECK(world_run(&w, 5000, fault_seen, &f));
        if (!strstr(f.seen, f.text)) fprintf(stderr, "# fault %d: wanted '%s': %s\n", kind, f.text, f.seen);
        rogue.fault = ROGUE_HONEST;
    }
    rogue_stop(&rogue);
    world_free(&w);
}

TEST_MAIN(T(one_dials), T(both_dial), T(cuts), T(unreachable), T(loops), T(two_exchanges), T(default_route),
          T(bad_settings), T(rogue_survived), T(rogue_detected))
