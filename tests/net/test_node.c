/* Messages between sites: whole, in order, once; flow control; restarts; local delivery; calls. */
#include "test.h"
#include "world.h"
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

struct count_wait {
    const size_t *n;
    size_t want;
};

static bool count_reached(void *arg)
{
    struct count_wait *c = arg;
    return *c->n >= c->want;
}

static bool run_to_count(struct world *w, const size_t *n, size_t want, uint64_t ms)
{
    struct count_wait c = {n, want};
    return world_run(w, ms, count_reached, &c);
}

static bool send_all(struct world *w, struct site *s, struct message *m, uint64_t ms)
{
    for (;;) {
        status st = node_send(w->cx, s->node, m);
        if (!st.code) return true;
        if (st.code != ERR_STATE) {
            fprintf(stderr, "send: %s\n", w->cx->err.msg);
            return false;
        }
        size_t room = s->n_room;
        if (!run_to_count(w, &s->n_room, room + 1, ms)) return false;
    }
}

static const size_t sizes[] = {0,     1,        100,      16383, 16384, 131072, 1 << 20, (1 << 20) + 1,
                               12345, 20 << 20, 64 << 20, 7};

static void all_sizes(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    CHECK(world_until_up(&w, &w.site[0], 9999, 3000));
    uint8_t *p = malloc(64 << 20);
    fill_bytes(p, 64 << 20, 1);
    for (size_t way = 0; way < 2; way++) {
        struct site *from = &w.site[way], *to = &w.site[1 - way];
        for (uint32_t i = 0; i < LEN(sizes); i++) {
            struct message m = make_message(from, "job1", to->config.party, "a", i, p, sizes[i]);
            CHECK(send_all(&w, from, &m, 20000));
        }
    }
    for (size_t way = 0; way < 2; way++) {
        struct site *to = &w.site[1 - way];
        CHECK(run_to_count(&w, &to->n_got, LEN(sizes), 20000));
        struct got *g = to->got;
        for (uint32_t i = 0; i < LEN(sizes) && g; i++, g = g->next) {
            CHECK(g->m.seq == i && strcmp(g->m.tag, "a") == 0 && g->m.payload.n == sizes[i]);
            CHECK(g->sum == sum_bytes(p, sizes[i]));
            CHECK(g->m.stream.from.id == w.site[way].config.party && g->m.stream.from.role == ROLE_GUEST);
        }
    }
    uint64_t sent, received, total = 0;
    for (size_t i = 0; i < LEN(sizes); i++)
        total += sizes[i];
    node_job_bytes(w.site[0].node, "job1", 9999, &sent, &received);
    CHECK(sent == total && received == total);
    node_reclaim(w.site[0].node, "job1", NULL);
    node_job_bytes(w.site[0].node, "job1", 9999, &sent, &received);
    CHECK(sent == 0 && received == 0);
    world_run(&w, 20, NULL, NULL);
    free(p);
    world_free(&w);
}
TEST_MAIN(T(all_sizes))
