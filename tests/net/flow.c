#include "flow.h"
#include "test.h"

enum { TAGS = 3, BIG = 3 << 20 };

static size_t size_of(const struct flow *f, uint32_t i)
{
    struct shuffle s = shuffle_new(f->seed * 1000 + i);
    uint64_t kind = shuffle_below(&s, 4);
    size_t n = kind == 0  ? shuffle_below(&s, 200)
               : kind < 3 ? shuffle_below(&s, 100000)
                          : shuffle_below(&s, BIG);
    return n % f->most;
}

static void flow_push(struct flow *f)
{
    char tag[8];
    while (f->next < f->n_want) {
        snprintf(tag, sizeof tag, "t%u", f->next % TAGS);
        struct message m = make_message(f->from, "job1", f->to, tag, f->next / TAGS, f->bytes + f->next,
                                        size_of(f, f->next));
        status st = node_send(f->w->cx, f->from->node, &m);
        if (st.code == ERR_STATE) return;
        CHECK(st.code == 0);
        f->next++;
    }
}

static void flow_check(struct flow *f, struct site *to)
{
    uint32_t i = 0;
    char tag[8];
    for (struct got *g = to->got; g; g = g->next, i++) {
        snprintf(tag, sizeof tag, "t%u", i % TAGS);
        CHECK(strcmp(g->m.tag, tag) == 0 && g->m.seq == i / TAGS);
        CHECK(g->m.payload.n == size_of(f, i) && g->sum == sum_bytes(f->bytes + i, size_of(f, i)));
    }
    CHECK(i == f->n_want);
}

static bool flows_done(void *arg)
{
    struct run *r = arg;
    flow_push(&r->flow[0]);
    flow_push(&r->flow[1]);
    if ((r->cuts || r->fault) && clock_ms() >= r->next_fault_ms) {
        if (r->fault)
            r->fault(r, r->arg);
        else
            relay_cut(r->relay);
        r->next_fault_ms = clock_ms() + shuffle_below(&r->dice, 2 * r->mean_ms);
    }
    struct world *w = r->flow[0].w;
    return w->site[0].n_got >= r->flow[1].n_want && w->site[1].n_got >= r->flow[0].n_want;
}

void run_start(struct run *r, struct world *w, struct relay *relay, size_t n)
{
    uint8_t *p = malloc(BIG + 1000);
    fill_bytes(p, BIG + 1000, test_seed());
    *r = (struct run){.relay = relay, .dice = shuffle_new(test_seed()), .mean_ms = 30};
    for (size_t i = 0; i < 2; i++)
        r->flow[i] = (struct flow){.w = w,
                                   .from = &w->site[i],
                                   .to = w->site[1 - i].config.party,
                                   .bytes = p,
                                   .n_want = n,
                                   .most = BIG,
                                   .seed = test_seed() + i};
}

void run_finish(struct run *r, struct world *w, uint64_t ms)
{
    CHECK(world_run(w, ms, flows_done, r));
    flow_check(&r->flow[0], &w->site[1]);
    flow_check(&r->flow[1], &w->site[0]);
    free(r->flow[0].bytes);
}
