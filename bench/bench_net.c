/* bench_net - one link over loopback: MB/s of 1 MiB and 60 MB messages against plain TCP in the same run, and
 * the round trip of a call. One JSON object a line. */
#include "../tests/net/world.h"
#include "base/arena.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RUNS = 10, CALLS = 2000 };

struct end { /* a site with a loop and a thread of its own */
    struct loop *loop;
    struct node *node;
    struct node_config config;
    struct peer_config peer;
    pthread_t thread;
    /* sender */
    struct message m;
    size_t left, calls_left;
    uint64_t call_from_us, *call_us;
    /* receiver */
    size_t got, want;
    uint64_t got_bytes;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
};

static void die(const char *what, struct ctx *cx)
{
    fprintf(stderr, "bench_net: %s: %s\n", what, cx ? cx->err.msg : "");
    exit(1);
}

static void finish(struct end *e)
{
    pthread_mutex_lock(&e->lock);
    e->done = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

static void wait_done(struct end *e)
{
    pthread_mutex_lock(&e->lock);
    while (!e->done)
        pthread_cond_wait(&e->wake, &e->lock);
    e->done = false;
    pthread_mutex_unlock(&e->lock);
}

static bool on_message(void *arg, const struct message *m)
{
    struct end *e = arg;
    e->got_bytes += m->payload.n;
    if (++e->got == e->want) finish(e);
    return true;
}

static void send_more(struct end *e)
{
    struct ctx cx = {.mem = NULL};
    while (e->left) {
        status st = node_send(&cx, e->node, &e->m);
        if (st.code == ERR_STATE) return;
        if (st.code) die("send", &cx);
        e->m.seq++;
        e->left--;
    }
}

static void on_room(void *arg, const struct stream_key *k)
{
    (void)k;
    send_more(arg);
}

static void on_call(void *arg, uint32_t party, uint64_t id, const char *method, const json_t *body)
{
    (void)method;
    struct end *e = arg;
    node_answer(e->node, party, id, NULL, body);
}

static void start_sending(struct loop *l, void *arg)
{
    (void)l;
    send_more(arg);
}

static void call_done(void *arg, const struct err *err, const json_t *answer);

static void call_next(struct end *e)
{
    struct ctx cx = {.mem = arena_new(0)};
    e->call_from_us = clock_us();
    if (node_call(&cx, e->node, e->peer.party, "echo", NULL, 1000, call_done, e).code) die("call", &cx);
    arena_free(cx.mem);
}

static void call_done(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct end *e = arg;
    if (err && err->code) die(err->msg, NULL);
    e->call_us[--e->calls_left] = clock_us() - e->call_from_us;
    if (e->calls_left)
        call_next(e);
    else
        finish(e);
}

static void start_calls(struct loop *l, void *arg)
{
    (void)l;
    call_next(arg);
}

static void *run_end(void *arg)
{
    struct end *e = arg;
    struct ctx cx = {.mem = arena_new(0)};
    if (loop_run(&cx, e->loop).code) die("loop", &cx);
    arena_free(cx.mem);
    return NULL;
}

static void end_start(struct ctx *cx, struct end *e, struct site *s, uint32_t peer, uint16_t port)
{
    const struct node_events ev = {
        .arg = e, .on_message = on_message, .on_room = on_room, .on_call = on_call};
    e->config = s->config;
    e->peer = (struct peer_config){.party = peer, .host = port ? "127.0.0.1" : NULL, .port = port};
    e->config.peers = &e->peer;
    e->config.n_peers = 1;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, NULL);
    if (loop_new(cx, &e->loop).code || node_new(cx, e->loop, &e->config, &ev, &e->node).code) die("node", cx);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void print(const char *figure, double value, const char *unit, double peer, bool higher_better)
{
    printf("{\"bench\":\"net\",\"figure\":\"%s\",\"value\":%.4g,\"unit\":\"%s\",\"peer\":\"plain "
           "TCP\",\"peer_value\":%.4g,"
           "\"ratio\":%.3g}\n",
           figure, value, unit, peer, peer > 0 ? (higher_better ? value / peer : peer / value) : 0.0);
    fflush(stdout);
}

/* --- plain TCP --- */

struct tcp {
    int fd;
    size_t bytes;
};

static void *tcp_write(void *arg)
{
    struct tcp *t = arg;
    uint8_t *p = calloc(1, 1 << 20);
    for (size_t left = t->bytes; left;) {
        ssize_t k = write(t->fd, p, left < 1 << 20 ? left : 1 << 20);
        if (k <= 0) die("write", NULL);
        left -= (size_t)k;
    }
    free(p);
    return NULL;
}

static void tcp_pair(int fd[2])
{
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n))
        die("tcp", NULL);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd[0], (struct sockaddr *)&a, n)) die("tcp", NULL);
    fd[1] = accept(l, NULL, NULL);
    close(l);
}

static double tcp_rate(size_t bytes)
{
    int fd[2];
    tcp_pair(fd);
    struct tcp t = {fd[0], bytes};
    pthread_t thread;
    uint8_t *p = malloc(1 << 20);
    uint64_t from = clock_us();
    pthread_create(&thread, NULL, tcp_write, &t);
    for (size_t left = bytes; left;) {
        ssize_t k = read(fd[1], p, 1 << 20);
        if (k <= 0) die("read", NULL);
        left -= (size_t)k;
    }
    double s = (double)(clock_us() - from) / 1e6;
    pthread_join(thread, NULL);
    free(p);
    close(fd[0]);
    close(fd[1]);
    return (double)bytes / s / 1e6;
}

static void *tcp_echo(void *arg)
{
    struct tcp *t = arg;
    char c[64];
    for (ssize_t k; (k = read(t->fd, c, sizeof c)) > 0;)
        if (write(t->fd, c, (size_t)k) != k) break;
    return NULL;
}

static double tcp_round_trip_us(void)
{
    int fd[2];
    tcp_pair(fd);
    struct tcp t = {fd[1], 0};
    pthread_t thread;
    char c[64] = {0};
    pthread_create(&thread, NULL, tcp_echo, &t);
    uint64_t from = clock_us();
    for (int i = 0; i < CALLS; i++)
        if (write(fd[0], c, sizeof c) != sizeof c || read(fd[0], c, sizeof c) <= 0) die("echo", NULL);
    double us = (double)(clock_us() - from) / CALLS;
    shutdown(fd[0], SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fd[0]);
    close(fd[1]);
    return us;
}

/* --- the runs --- */

static void bench_rate(const char *figure, struct end *from, struct end *to, size_t size, size_t count)
{
    double rate[RUNS], peer[RUNS];
    uint8_t *p = malloc(size);
    fill_bytes(p, size, 1);
    for (int r = -2; r < RUNS; r++) {
        from->m.payload = (struct bytes){p, size};
        from->left = count;
        to->got = 0;
        to->want = count;
        uint64_t t = clock_us();
        if (!loop_post(from->loop, start_sending, from)) die("post", NULL);
        wait_done(to);
        double s = (double)(clock_us() - t) / 1e6, tcp = tcp_rate(size * count);
        if (r < 0) continue;
        rate[r] = (double)(size * count) / s / 1e6;
        peer[r] = tcp;
    }
    qsort(rate, RUNS, sizeof *rate, by_value);
    qsort(peer, RUNS, sizeof *peer, by_value);
    print(figure, rate[RUNS / 2], "MB/s", peer[RUNS / 2], true);
    free(p);
}

static void bench_calls(struct end *from)
{
    uint64_t us[CALLS];
    double sorted[CALLS];
    from->call_us = us;
    for (int r = 0; r < 2; r++) {
        from->calls_left = CALLS;
        if (!loop_post(from->loop, start_calls, from)) die("post", NULL);
        wait_done(from);
    }
    for (int i = 0; i < CALLS; i++)
        sorted[i] = (double)us[i];
    qsort(sorted, CALLS, sizeof *sorted, by_value);
    print("call round trip, median", sorted[CALLS / 2], "us", tcp_round_trip_us(), false);
    print("call round trip, 99 %", sorted[CALLS * 99 / 100], "us", 0, false);
}

int main(void)
{
    struct ctx cx = {.mem = arena_new(0)};
    struct world w;
    struct end a = {0}, b = {0};
    world_init(&w, &cx);
    end_start(&cx, &a, world_site(&w, 0, 10000), 9999, 0);
    end_start(&cx, &b, world_site(&w, 1, 9999), 10000, node_port(a.node));
    b.m = make_message(&w.site[1], "job", 10000, "t", 0, NULL, 0);
    pthread_create(&a.thread, NULL, run_end, &a);
    pthread_create(&b.thread, NULL, run_end, &b);
    bench_calls(&b);
    bench_rate("messages of 12 KB", &b, &a, 12 * 1000, 20000);
    bench_rate("messages of 1 MiB", &b, &a, 1 << 20, 400);
    bench_rate("messages of 60 MB", &b, &a, 60 * 1000 * 1000, 8);
    loop_stop(a.loop);
    loop_stop(b.loop);
    pthread_join(a.thread, NULL);
    pthread_join(b.thread, NULL);
    node_free(b.node);
    node_free(a.node);
    loop_free(a.loop);
    loop_free(b.loop);
    world_free(&w);
    arena_free(cx.mem);
}
