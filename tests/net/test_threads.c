/* Two sites on a thread and a loop each, a task pipe between two threads: for ThreadSanitizer. */
#include "test.h"
#include "world.h"
#include "net/pipe.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COUNT = 300, SIZE = 50000 };

struct end {
    struct node *node;
    struct loop *loop;
    struct node_config config;
    struct peer_config peer;
    pthread_t thread;
    struct message m;
    uint32_t left;
    atomic_uint got;
};

static bool on_message(void *arg, const struct message *m)
{
    struct end *e = arg;
    if (m->payload.n == SIZE) atomic_fetch_add(&e->got, 1);
    return true;
}

static void send_more(struct end *e)
{
    struct ctx cx = {.mem = NULL};
    while (e->left && node_send(&cx, e->node, &e->m).code == ERR_OK) {
        e->left--;
        e->m.seq++;
    }
}

static void on_room(void *arg, const struct stream_key *k)
{
    (void)k;
    send_more(arg);
}

static void start(struct loop *l, void *arg)
{
    (void)l;
    send_more(arg);
}

static void *run(void *arg)
{
    struct end *e = arg;
    struct ctx cx = {.mem = arena_new(0)};
    const struct node_events ev = {.arg = e, .on_message = on_message, .on_room = on_room};
    CHECK_OK(&cx, node_new(&cx, e->loop, &e->config, &ev, &e->node));
    start(e->loop, e);
    CHECK_OK(&cx, loop_run(&cx, e->loop));
    node_free(e->node);
    arena_free(cx.mem);
    return NULL;
}

static void two_loops(struct ctx *cx)
{
    struct world w;
    static struct end e[2];
    static uint8_t p[SIZE];
    world_init(&w, cx);
    for (uint32_t i = 0; i < 2; i++) {
        struct site *s = world_site(&w, i, 9999 + i);
        e[i].config = s->config;
        e[i].config.listen_port = (uint16_t)(23000 + getpid() % 20000 + (int)i);
        e[i].peer = (struct peer_config){.party = 9999 + 1 - i,
                                         .host = "localhost",
                                         .port = (uint16_t)(23000 + getpid() % 20000 + 1 - (int)i)};
        e[i].config.peers = &e[i].peer;
        e[i].config.n_peers = 1;
        e[i].config.outbox_bytes = 10 * SIZE;
        e[i].m = make_message(s, "job1", 9999 + 1 - i, "a", 0, p, SIZE);
        e[i].left = COUNT;
        CHECK_OK(cx, loop_new(cx, &e[i].loop));
        pthread_create(&e[i].thread, NULL, run, &e[i]);
    }
    for (int k = 0; k < 1000 && (atomic_load(&e[0].got) < COUNT || atomic_load(&e[1].got) < COUNT); k++)
        usleep(10000);
    for (int i = 0; i < 2; i++) {
        CHECK(atomic_load(&e[i].got) == COUNT);
        loop_stop(e[i].loop);
        pthread_join(e[i].thread, NULL);
        loop_free(e[i].loop);
    }
    world_free(&w);
}

/* --- a task in a thread, talking to itself through its site --- */

static struct site_pipe *pipe_;
static bool closed;

static bool deliver(void *arg, const struct message *m)
{
    (void)arg;
    return pipe_ ? site_pipe_deliver(pipe_, m) : true;
}

static void on_closed(void *arg, struct site_pipe *p)
{
    (void)arg;
    site_pipe_free(p);
    pipe_ = NULL;
    closed = true;
}

static bool is_closed(void *arg)
{
    (void)arg;
    return closed;
}

static void *task(void *arg)
{
    struct ctx cx = {.mem = arena_new(0)};
    struct task_pipe *p;
    json_t *spec = NULL;
    const struct party me = {ROLE_LOCAL, 10000};
    CHECK_OK(&cx, task_pipe_open(&cx, *(int *)arg, &p));
    CHECK_OK(&cx, task_pipe_start(&cx, p, &spec));
    json_decref(spec);
    task_pipe_identify(p, "job1", "toy_0.0", me, 5000);
    struct channel *ch = task_pipe_channel(p);
    uint8_t *big = calloc(1, 2 << 20);
    for (int i = 0; i < 100; i++) {
        struct bytes b;
        CHECK_OK(&cx, channel_send(&cx, ch, me, "a", big, i % 10 ? 100 : 2 << 20));
        CHECK_OK(&cx, channel_recv(&cx, ch, me, "a", &b));
        if (i == 50) usleep(1200000); /* the watcher speaks */
        arena_reset(cx.mem);
    }
    CHECK(!atomic_load(task_pipe_cancelled(p)));
    free(big);
    task_pipe_free(p);
    arena_free(cx.mem);
    return NULL;
}

static void task_thread(struct ctx *cx)
{
    struct world w;
    int fd[2];
    pthread_t t;
    world_init(&w, cx);
    struct site *s = world_site(&w, 0, 10000);
    s->deliver = deliver;
    site_start(s);
    struct stream_key me = {.job = "job1", .task = "toy_0.0", .from = {ROLE_LOCAL, 10000}};
    const struct site_pipe_events ev = {.on_closed = on_closed};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
    pthread_create(&t, NULL, task, &fd[1]);
    json_t *spec = json_object();
    CHECK_OK(cx, site_pipe_new(cx, w.loop, s->node, fd[0], spec, &me, &ev, &pipe_));
    json_decref(spec);
    CHECK(world_run(&w, 10000, is_closed, NULL));
    pthread_join(t, NULL);
    world_free(&w);
}

TEST_MAIN(T(two_loops), T(task_thread))
