/* Bad networks, between two parties and on the way to an exchange: 1 Mbit/s, 400 ms there and back, losses (which a TCP
 * connection shows as stalls), cuts, bytes that come twice or changed. All messages arrive once, in order, as sent. */
#include "test.h"
#include "flow.h"
#include "net/node_int.h"

enum { RATE = 125000, STALL_MAX_MS = 300 };

/* 0: party 10000, 1: party 9999 behind the relay; through the exchange 10001, or directly. */
static struct relay *start(struct world *w, bool star)
{
    struct site *a = world_site(w, 0, 10000), *b = world_site(w, 1, 9999),
                *x = star ? world_site(w, 2, 10001) : a;
    for (int i = 0; i < 3; i++)
        w->site[i].config.heartbeat_ms = 1000;
    if (star) {
        x->config.forward_bytes = 16 << 20;
        site_peer(x, 10000, 0);
        site_peer(x, 9999, 0);
        site_start(x);
        site_peer(a, 10001, node_port(x->node));
        site_via(a, 9999, 10001);
    } else {
        site_peer(a, 9999, 0);
    }
    site_start(a);
    struct relay *r = relay_new(w->loop, node_port(x->node));
    site_peer(b, star ? 10001 : 10000, relay_port(r));
    if (star) site_via(b, 10000, 10001);
    return r;
}

struct trouble {
    size_t stalls, cuts, twice, changed;
    bool stalled;
};

static void losses_and_cuts(struct run *r, void *arg)
{
    struct trouble *t = arg;
    t->stalled = !t->stalled;
    relay_stall(r->relay, t->stalled);
    t->stalls += t->stalled;
    if (!t->stalled && shuffle_below(&r->dice, 12) == 0) {
        relay_cut(r->relay);
        t->cuts++;
    }
}

static void slow_far_and_lossy(struct ctx *cx, bool star)
{
    struct world w;
    struct run run;
    struct trouble t = {0};
    world_init(&w, cx);
    struct relay *r = start(&w, star);
    relay_rate(r, RATE);
    relay_delay(r, 200);
    site_start(&w.site[1]);
    run_start(&run, &w, r, 14);
    run.flow[0].most = run.flow[1].most = 30000;
    run.fault = losses_and_cuts;
    run.arg = &t;
    run.mean_ms = STALL_MAX_MS / 2;
    run_finish(&run, &w, 120000);
    fprintf(stderr, "# %zu stalls, %zu cuts, %zu connections\n", t.stalls, t.cuts, relay_connections(r));
    CHECK(t.stalls > 3);
    relay_free(r);
    world_free(&w);
}

static void direct_slow(struct ctx *cx)
{
    slow_far_and_lossy(cx, false);
}

static void star_slow(struct ctx *cx)
{
    slow_far_and_lossy(cx, true);
}

static void spoilt_bytes(struct run *r, void *arg)
{
    struct trouble *t = arg;
    struct link_state l;
    if (!node_link(r->flow[1].from->node, 10000, &l) || !l.up) return;
    uint64_t kind = shuffle_below(&r->dice, 4);
    if (kind == 0) relay_duplicate(r->relay);
    if (kind == 1) relay_corrupt_after(r->relay, 1);
    if (kind == 2) relay_cut(r->relay);
    t->twice += kind == 0;
    t->changed += kind == 1;
    t->cuts += kind == 2;
}

static void spoilt(struct ctx *cx, bool star)
{
    struct world w;
    struct run run;
    struct trouble t = {0};
    world_init(&w, cx);
    struct relay *r = start(&w, star);
    site_start(&w.site[1]);
    run_start(&run, &w, r, 300);
    run.fault = spoilt_bytes;
    run.arg = &t;
    run.mean_ms = 50;
    run_finish(&run, &w, 120000);
    fprintf(stderr, "# %zu twice, %zu changed, %zu cuts, %zu connections\n", t.twice, t.changed, t.cuts,
            relay_connections(r));
    CHECK(t.twice + t.changed > 2 && relay_connections(r) > 2);
    relay_free(r);
    world_free(&w);
}

static void direct_spoilt(struct ctx *cx)
{
    spoilt(cx, false);
}

static void star_spoilt(struct ctx *cx)
{
    spoilt(cx, true);
}

/* --- what the exchange holds --- */

static size_t held_by(const struct node *n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n->n_links; i++)
        for (const struct circuit *k = n->links[i].circuits; k; k = k->next)
            sum += k->out.cap + k->in.cap;
    return sum;
}

struct beat {
    size_t n;
    bool failed;
    uint64_t from_ms, longest_ms;
};

static void on_beat(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct beat *b = arg;
    uint64_t ms = clock_ms() - b->from_ms;
    b->n++;
    b->failed = b->failed || err;
    if (ms > b->longest_ms) b->longest_ms = ms;
}

/* The receiver's hop carries 1 Mbit/s, the sender's any rate, and 60 MB wait: the exchange holds little of it, and calls
 * pass between. */
static void slow_receiver(struct ctx *cx)
{
    struct world w;
    struct beat beat = {0};
    world_init(&w, cx);
    struct relay *r = start(&w, true);
    relay_rate(r, RATE);
    site_start(&w.site[1]);
    struct site *a = &w.site[0], *b = &w.site[1], *x = &w.site[2];
    CHECK(world_until_up(&w, a, 9999, 10000));
    uint8_t *p = calloc(1, 20 << 20);
    for (uint32_t i = 0; i < 3; i++) {
        struct message m = make_message(a, "job1", 9999, "a", i, p, 20 << 20);
        CHECK_OK(cx, node_send(cx, a->node, &m));
    }
    free(p);
    size_t most = 0;
    world_run(&w, 2000, NULL, NULL);
    for (int i = 0; i < 6; i++) {
        size_t n = beat.n;
        beat.from_ms = clock_ms();
        CHECK_OK(cx, node_call(cx, a->node, 9999, "echo", NULL, 20000, on_beat, &beat));
        while (beat.n == n && clock_ms() - beat.from_ms < 20000) {
            world_run(&w, 5, NULL, NULL);
            size_t now = held_by(x->node);
            if (now > most) most = now;
        }
    }
    CHECK(beat.n == 6 && !beat.failed);
    CHECK(most < 1 << 20 && x->node->forward_used <= 1 << 20);
    struct link_state l;
    CHECK(node_link(b->node, 10000, &l) && l.up);
    fprintf(stderr, "# longest of the calls: %llu ms; the exchange held %zu bytes\n",
            (unsigned long long)beat.longest_ms, most);
    relay_free(r);
    world_free(&w);
}

/* A receiver that takes nothing: its window is what it costs anybody. */
static void stopped_receiver(struct ctx *cx)
{
    struct world w;
    struct link_state l;
    world_init(&w, cx);
    struct relay *r = start(&w, true);
    struct site *a = &w.site[0], *b = &w.site[1], *x = &w.site[2];
    a->refuse = true;
    site_start(b);
    CHECK(world_until_up(&w, b, 10000, 5000));
    uint8_t *p = calloc(1, 2 << 20);
    for (uint32_t i = 0; i < 30; i++) {
        struct message m = make_message(b, "job1", 10000, "a", i, p, 2 << 20);
        CHECK_OK(cx, node_send(cx, b->node, &m));
    }
    free(p);
    world_run(&w, 1500, NULL, NULL);
    CHECK(node_link(b->node, 10000, &l) && l.up && l.bytes_out < 20 << 20);
    CHECK(held_by(x->node) < 1 << 20);
    relay_free(r);
    world_free(&w);
}

TEST_MAIN(T(direct_slow), T(star_slow), T(direct_spoilt), T(star_spoilt), T(slow_receiver),
          T(stopped_receiver))
