/* Messages between sites: whole, in order, once; flow control; restarts; local delivery; calls. */
#include "test.h"
#include "world.h"
#include "base/js.h"
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
/* --- flow control --- */

/* One task takes nothing: its messages stay within the window, and another task's flow past them. */
static void a_stalled_task(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *to = &w.site[0], *from = &w.site[1];
    CHECK(world_until_up(&w, from, 10000, 3000));
    to->refuse = true;
    to->refuse_job = "stalled";
    enum { SIZE = 1 << 20 };
    uint8_t *p = calloc(1, SIZE);
    uint32_t sent = 0;
    struct ctx *c = w.cx;
    for (int rounds = 0; rounds < 100; rounds++) {
        struct message m = make_message(from, "stalled", 10000, "a", sent, p, SIZE);
        status st = node_send(c, from->node, &m);
        if (st.code == ERR_STATE) break;
        CHECK(st.code == 0);
        sent++;
    }
    CHECK(sent == 64); /* the outbox */
    world_run(&w, 300, NULL, NULL);
    struct link_state l;
    CHECK(node_link(from->node, 10000, &l) && l.bytes_out < 18 << 20); /* the window is 16 MiB */
    CHECK(l.queued_bytes >= 46 << 20 && l.queued_bytes <= 64 << 20);
    CHECK(to->n_got == 0);
    for (uint32_t i = 0; i < 200; i++) {
        struct message m = make_message(from, "lively", 10000, "a", i, p, SIZE);
        CHECK(send_all(&w, from, &m, 5000));
    }
    CHECK(run_to_count(&w, &to->n_got, 200, 10000));
    to->refuse = false;
    struct message m = make_message(from, "stalled", 10000, "a", 0, p, SIZE);
    node_resume(to->node, &m.stream);
    CHECK(run_to_count(&w, &to->n_got, 200 + 64, 10000));
    CHECK(from->n_room >= 1);
    free(p);
    world_free(&w);
}

/* A message larger than window and outbox gets through all the same. */
static void larger_than_the_window(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999);
    a->config.window_bytes = b->config.window_bytes = 100000;
    a->config.outbox_bytes = b->config.outbox_bytes = 300000;
    site_peer(a, 9999, 0);
    site_start(a);
    site_peer(b, 10000, node_port(a->node));
    site_start(b);
    uint8_t *p = malloc(5 << 20);
    fill_bytes(p, 5 << 20, 3);
    for (uint32_t i = 0; i < 4; i++) {
        struct message m = make_message(b, "job1", 10000, "a", i, p, i % 2 ? 10 : 5 << 20);
        CHECK(send_all(&w, b, &m, 5000));
    }
    for (uint32_t i = 0; i < 3000; i++) { /* empty ones cost credit too */
        struct message m = make_message(b, "job1", 10000, "b", i, NULL, 0);
        CHECK(send_all(&w, b, &m, 5000));
    }
    CHECK(run_to_count(&w, &a->n_got, 3004, 10000));
    CHECK(a->got->sum == sum_bytes(p, 5 << 20));
    free(p);
    world_free(&w);
}

static void queued_before_the_link_is_up(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000);
    site_peer(a, 9999, 0);
    site_start(a);
    struct message m = make_message(a, "job1", 9999, "early", 0, "hello", 5);
    CHECK_OK(cx, node_send(cx, a->node, &m));
    struct link_state l;
    CHECK(node_link(a->node, 9999, &l) && !l.up && l.queued_bytes == 5);
    struct site *b = world_site(&w, 1, 9999);
    site_peer(b, 10000, node_port(a->node));
    site_start(b);
    CHECK(run_to_count(&w, &b->n_got, 1, 3000));
    CHECK(b->got->sum == sum_bytes("hello", 5));
    world_free(&w);
}

static void refusals(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *a = &w.site[0];
    struct message m = make_message(a, "job1", 4711, "a", 0, NULL, 0);
    CHECK_ERR(node_send(cx, a->node, &m), NOTFOUND);
    CHECK(strstr(cx->err.msg, "4711") && strstr(cx->err.msg, "9999"));
    m = make_message(a, "job1", 9999, "bad tag", 0, NULL, 0);
    CHECK_ERR(node_send(cx, a->node, &m), ARG);
    m = make_message(a, "", 9999, "a", 0, NULL, 0);
    CHECK_ERR(node_send(cx, a->node, &m), ARG);
    m = make_message(&w.site[1], "job1", 9999, "a", 0, NULL, 0);
    CHECK_ERR(node_send(cx, a->node, &m), ARG); /* not our name */
    CHECK_ERR(node_call(cx, a->node, 4711, "x", NULL, 100, NULL, NULL), NOTFOUND);
    world_free(&w);
}

static void to_ourselves(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000);
    site_start(a);
    a->refuse = true;
    uint8_t *p = calloc(1, 1 << 20);
    uint32_t sent = 0;
    for (;; sent++) {
        struct message m = make_message(a, "job1", 10000, "a", sent, p, 1 << 20);
        if (node_send(cx, a->node, &m).code) break;
        world_run(&w, 1, NULL, NULL);
    }
    CHECK(sent == 16 + 64); /* window and outbox */
    a->refuse = false;
    struct message m = make_message(a, "job1", 10000, "a", 0, p, 1 << 20);
    node_resume(a->node, &m.stream);
    CHECK(run_to_count(&w, &a->n_got, sent, 3000));
    uint32_t i = 0;
    for (struct got *g = a->got; g; g = g->next)
        CHECK(g->m.seq == i++);
    CHECK(a->n_room == 1);
    free(p);
    world_free(&w);
}

/* --- the end of a task --- */

static void reclaim(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *to = &w.site[0], *from = &w.site[1];
    CHECK(world_until_up(&w, from, 10000, 3000));
    to->refuse = true;
    uint8_t *p = calloc(1, 30 << 20);
    for (uint32_t i = 0; i < 3; i++) {
        struct message m = make_message(from, "job1", 10000, "a", i, p, 20 << 20);
        CHECK(node_send(cx, from->node, &m).code == 0);
        if (i == 0) world_run(&w, 5, NULL, NULL); /* somewhere in the middle */
    }
    struct message other = make_message(from, "job2", 10000, "a", 0, p, 100);
    CHECK_OK(cx, node_send(cx, from->node, &other));
    node_reclaim(from->node, "job1", NULL);
    struct link_state l;
    CHECK(node_link(from->node, 10000, &l) && l.queued_bytes == 100);
    world_run(&w, 100, NULL, NULL);
    node_reclaim(to->node, "job1", "toy_0.0");
    to->refuse = false;
    node_resume(to->node, &other.stream);
    CHECK(run_to_count(&w, &to->n_got, 1, 3000));
    CHECK(strcmp(to->got->m.stream.job, "job2") == 0);
    /* The receiver forgets first: what still comes is dropped and takes no memory, the sender is not held up.
     */
    for (uint32_t i = 0; i < 2; i++) {
        struct message m = make_message(from, "job3", 10000, "a", i, p, 1000);
        CHECK_OK(cx, node_send(cx, from->node, &m));
        CHECK(world_run(&w, 50, NULL, NULL));
        node_reclaim(to->node, "job3", NULL);
    }
    CHECK(node_link(from->node, 10000, &l) && l.queued_bytes == 0);
    CHECK(to->n_got == 2); /* job2's, and the first of job3 */
    free(p);
    world_free(&w);
}

/* The receiving process is another one: what it held is gone, and that is said. */
static void restart(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *a = &w.site[0], *b = &w.site[1];
    CHECK(world_until_up(&w, b, 10000, 3000));
    struct message m = make_message(b, "old", 10000, "a", 0, "x", 1);
    CHECK_OK(cx, node_send(cx, b->node, &m));
    CHECK(run_to_count(&w, &a->n_got, 1, 3000));
    a->config.listen_port = node_port(a->node);
    node_free(a->node);
    struct message fresh = make_message(b, "new", 10000, "a", 0, "yz", 2);
    CHECK_OK(cx, node_send(cx, b->node, &fresh)); /* nothing of it has left: it is not touched */
    site_start(a);
    CHECK(run_to_count(&w, &a->n_got, 2, 5000));
    CHECK(strcmp(a->got->next->m.stream.job, "new") == 0);
    CHECK(b->n_restart == 1 && a->n_restart == 0);
    m.seq = 1;
    CHECK_ERR(node_send(cx, b->node, &m), PEER);
    CHECK(strstr(cx->err.msg, "restarted"));
    node_reclaim(b->node, "old", NULL);
    m = make_message(b, "old", 10000, "a", 0, "x", 1);
    CHECK_OK(cx, node_send(cx, b->node, &m)); /* a new life */
    CHECK(run_to_count(&w, &a->n_got, 3, 3000));
    world_free(&w);
}

/* --- calls --- */

struct answer {
    size_t n;
    struct err err;
    char text[200];
    uint64_t after_ms, from_ms;
};

static void on_answer(void *arg, const struct err *err, const json_t *j)
{
    struct answer *a = arg;
    a->n++;
    a->after_ms = clock_ms() - a->from_ms;
    if (err) a->err = *err;
    const char *s = j ? json_string_value(json_object_get(j, "text")) : NULL;
    snprintf(a->text, sizeof a->text, "%s", s ? s : "");
}

static bool never_answers(struct site *s, uint32_t party, uint64_t id, const char *method, const json_t *body)
{
    (void)s, (void)party, (void)id, (void)body;
    return strcmp(method, "never") == 0;
}

static bool fails(struct site *s, uint32_t party, uint64_t id, const char *method, const json_t *body)
{
    (void)method, (void)body;
    struct err e = {.code = ERR_NOTFOUND, .msg = "no such job"};
    node_answer(s->node, party, id, &e, NULL);
    return true;
}

static void calls(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *a = &w.site[0], *b = &w.site[1];
    struct answer r = {.from_ms = clock_ms()};
    CLEANUP(json_decrefp) json_t *body = json_pack("{s:s}", "text", "grüß dich");
    /* before the link is up; both ways; to ourselves */
    CHECK_OK(cx, node_call(cx, a->node, 9999, "echo", body, 3000, on_answer, &r));
    CHECK(r.n == 0);
    CHECK(run_to_count(&w, &r.n, 1, 3000) && !r.err.code && strcmp(r.text, "grüß dich") == 0);
    CHECK_OK(cx, node_call(cx, b->node, 10000, "echo", body, 3000, on_answer, &r));
    CHECK(run_to_count(&w, &r.n, 2, 3000) && !r.err.code && strcmp(r.text, "grüß dich") == 0);
    CHECK_OK(cx, node_call(cx, a->node, 10000, "echo", body, 3000, on_answer, &r));
    CHECK(r.n == 2);
    CHECK(run_to_count(&w, &r.n, 3, 3000) && !r.err.code && strcmp(r.text, "grüß dich") == 0);
    CHECK_OK(cx, node_call(cx, a->node, 9999, "echo", NULL, 3000, on_answer, &r));
    CHECK(run_to_count(&w, &r.n, 4, 3000) && !r.err.code && !r.text[0]);

    b->on_call = fails;
    CHECK_OK(cx, node_call(cx, a->node, 9999, "job.stop", body, 3000, on_answer, &r));
    CHECK(run_to_count(&w, &r.n, 5, 3000) && r.err.code == ERR_PEER && strstr(r.err.msg, "no such job"));
    CHECK(strstr(r.err.msg, "9999"));

    b->on_call = never_answers;
    r = (struct answer){.from_ms = clock_ms()};
    CHECK_OK(cx, node_call(cx, a->node, 9999, "never", body, 200, on_answer, &r));
    CHECK(run_to_count(&w, &r.n, 1, 3000) && r.err.code == ERR_TIMEOUT && r.after_ms >= 200 &&
          r.after_ms < 400);
    CHECK(strstr(r.err.msg, "never to party 9999") && strstr(r.err.msg, "is up"));

    node_free(b->node);
    b->node = NULL;
    r = (struct answer){.from_ms = clock_ms()};
    CHECK_OK(cx, node_call(cx, a->node, 9999, "echo", body, 200, on_answer, &r));
    CHECK(run_to_count(&w, &r.n, 1, 3000) && r.err.code == ERR_TIMEOUT && strstr(r.err.msg, "is down"));

    r = (struct answer){0};
    CHECK_OK(cx, node_call(cx, a->node, 9999, "echo", body, 20000, on_answer, &r));
    node_free(a->node);
    a->node = NULL;
    CHECK(r.n == 1 && r.err.code == ERR_CANCELLED);
    world_free(&w);
}

/* Calls go ahead of 60 MB that wait. */
static void calls_overtake_data(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *a = &w.site[0], *b = &w.site[1];
    CHECK(world_until_up(&w, b, 10000, 3000));
    uint8_t *p = calloc(1, 60 << 20);
    struct message m = make_message(b, "job1", 10000, "a", 0, p, 60 << 20);
    CHECK_OK(cx, node_send(cx, b->node, &m));
    struct answer r = {.from_ms = clock_ms()};
    CHECK_OK(cx, node_call(cx, b->node, 10000, "echo", NULL, 3000, on_answer, &r));
    CHECK(run_to_count(&w, &r.n, 1, 3000) && !r.err.code);
    CHECK(a->n_got == 0);
    CHECK(run_to_count(&w, &a->n_got, 1, 10000));
    free(p);
    world_free(&w);
}

/* The called site is restarted before it answers: the caller is told, not kept waiting. */
static void restart_ends_calls(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    world_pair(&w);
    struct site *a = &w.site[0], *b = &w.site[1];
    CHECK(world_until_up(&w, b, 10000, 3000));
    a->on_call = never_answers;
    struct answer r = {0};
    CHECK_OK(cx, node_call(cx, b->node, 10000, "never", NULL, 20000, on_answer, &r));
    CHECK(run_to_count(&w, &a->n_calls, 1, 3000));
    a->config.listen_port = node_port(a->node);
    node_free(a->node);
    site_start(a);
    CHECK(run_to_count(&w, &r.n, 1, 5000) && r.err.code == ERR_PEER && strstr(r.err.msg, "restarted"));
    CHECK(a->n_calls == 1);
    world_free(&w);
}

/* Three sites, each with links to the two others. */
static void three_sites(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *s[3];
    for (uint32_t i = 0; i < 3; i++) {
        s[i] = world_site(&w, i, 9999 + i);
        for (uint32_t k = 0; k < 3; k++)
            if (k != i) site_peer(s[i], 9999 + k, k < i ? node_port(s[k]->node) : 0);
        site_start(s[i]);
    }
    uint8_t p[5000];
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t k = 0; k < 3; k++)
            for (uint32_t q = 0; q < 100 && k != i; q++) {
                fill_bytes(p, sizeof p, i * 3 + k);
                struct message m = make_message(s[i], "job1", 9999 + k, "a", q, p, sizeof p);
                CHECK_OK(cx, node_send(cx, s[i]->node, &m));
            }
    for (uint32_t k = 0; k < 3; k++) {
        CHECK(run_to_count(&w, &s[k]->n_got, 200, 5000));
        for (struct got *g = s[k]->got; g; g = g->next) {
            fill_bytes(p, sizeof p, (g->m.stream.from.id - 9999) * 3 + k);
            CHECK(g->sum == sum_bytes(p, sizeof p));
        }
    }
    world_free(&w);
}

TEST_MAIN(T(all_sizes), T(a_stalled_task), T(larger_than_the_window), T(queued_before_the_link_is_up),
          T(refusals), T(to_ourselves), T(reclaim), T(restart), T(calls), T(calls_overtake_data),
          T(restart_ends_calls), T(three_sites))
