/* The loop: descriptors and timers that go away while their events are at hand, posts and stops from other threads;
 * timers against a plain list. */
#include "table/scratch.h"
#include "base/loop.h"
#include <pthread.h>
#include <sys/socket.h>

struct world {
    struct ctx *cx;
    struct loop *loop;
    size_t n; /* calls seen */
    int fd[8][2];
    int order[512];
    struct loop_timer *timer[512];
};

static void stop(struct loop *l, void *arg)
{
    (void)arg;
    loop_stop(l);
}

static void run(struct world *w)
{
    struct ctx *cx = w->cx;
    CHECK_OK(cx, loop_run(cx, w->loop));
}

static void run_for(struct world *w, uint64_t ms)
{
    CHECK(loop_after(w->loop, ms, stop, NULL));
    run(w);
}

static void start(struct world *w, struct ctx *cx, size_t pairs)
{
    *w = (struct world){.cx = cx};
    CHECK_OK(cx, loop_new(cx, &w->loop));
    for (size_t i = 0; i < pairs; i++)
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, w->fd[i]) == 0);
}

static void end(struct world *w, size_t pairs)
{
    loop_freep(&w->loop);
    CHECK(w->loop == NULL);
    for (size_t i = 0; i < pairs; i++) {
        close(w->fd[i][0]);
        close(w->fd[i][1]);
    }
}

static void clocks(struct ctx *cx)
{
    (void)cx;
    uint64_t ms = clock_ms(), us = clock_us();
    usleep(3000);
    CHECK(clock_ms() - ms >= 2 && clock_us() - us >= 3000 && clock_us() / 1000 - clock_ms() <= 1);
    CHECK(wall_ms() / 1000 - (int64_t)time(NULL) <= 1 && wall_ms() > 1600000000000);
}

/* --- descriptors --- */

static void on_echo(struct loop *l, int fd, uint32_t events, void *arg)
{
    struct world *w = arg;
    char c[8];
    if (events & EPOLLIN && read(fd, c, sizeof c) == 0) loop_del(l, fd);
    w->n++;
    w->order[w->n % 512] = (int)events;
}

static void descriptors(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 1);
    int fd = w.fd[0][0], peer = w.fd[0][1];
    CHECK_OK(cx, loop_add(cx, w.loop, fd, EPOLLIN, on_echo, &w));
    run_for(&w, 5);
    CHECK(w.n == 0);
    CHECK(write(peer, "x", 1) == 1);
    run_for(&w, 5);
    CHECK(w.n == 1 && w.order[1] == EPOLLIN);
    CHECK_OK(cx, loop_mod(cx, w.loop, fd, 0));
    CHECK(write(peer, "x", 1) == 1);
    run_for(&w, 5);
    CHECK(w.n == 1);
    CHECK_OK(cx, loop_mod(cx, w.loop, fd, EPOLLIN));
    run_for(&w, 5);
    CHECK(w.n == 2);

    CHECK_ERR(loop_add(cx, w.loop, fd, EPOLLIN, on_echo, &w), EXISTS);
    CHECK_ERR(loop_add(cx, w.loop, -1, EPOLLIN, on_echo, &w), ARG);
    CHECK_ERR(loop_add(cx, w.loop, peer, EPOLLIN, NULL, &w), ARG);
    CHECK_ERR(loop_mod(cx, w.loop, peer, EPOLLIN), STATE);
    CHECK_ERR(loop_add(cx, w.loop, 500, EPOLLIN, on_echo, &w), IO); /* not open */
    loop_del(w.loop, peer);
    loop_del(w.loop, -1);
    loop_del(w.loop, 100000);
    CHECK(shutdown(peer, SHUT_WR) == 0);
    run_for(&w, 5);
    CHECK(w.n == 3); /* it removed itself */
    end(&w, 1);
}

/* Whichever of a batch comes first removes the others: their events, already fetched, must not arrive. */
static void on_first(struct loop *l, int fd, uint32_t events, void *arg)
{
    struct world *w = arg;
    (void)events;
    w->n++;
    for (size_t i = 0; i < 8; i++)
        if (w->fd[i][0] != fd) loop_del(l, w->fd[i][0]);
    loop_del(l, fd);
}

static void removed_within_a_batch(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 8);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < 8; i++) {
            CHECK_OK(cx, loop_add(cx, w.loop, w.fd[i][0], EPOLLOUT, on_first, &w));
        }
        run_for(&w, 5);
        CHECK(w.n == (size_t)again + 1);
    }
    end(&w, 8);
}

/* The same, and the numbers are used again at once, for sockets on which nothing happens. */
static void on_never(struct loop *l, int fd, uint32_t events, void *arg)
{
    struct world *w = arg;
    (void)l, (void)fd, (void)events;
    w->n += 1000;
}

static void on_first_reuse(struct loop *l, int fd, uint32_t events, void *arg)
{
    struct world *w = arg;
    struct ctx *cx = w->cx;
    (void)fd, (void)events;
    w->n++;
    for (size_t i = 0; i < 8; i++) {
        int quiet[2], old = w->fd[i][0];
        loop_del(l, old);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, quiet) == 0);
        CHECK(dup3(quiet[0], old, O_CLOEXEC) == old); /* closes what it was */
        close(w->fd[i][1]);
        w->fd[i][1] = quiet[1];
        close(quiet[0]);
        CHECK_OK(cx, loop_add(cx, l, old, EPOLLIN, on_never, w));
    }
}

static void reused_within_a_batch(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 8);
    for (size_t i = 0; i < 8; i++) {
        CHECK_OK(cx, loop_add(cx, w.loop, w.fd[i][0], EPOLLIN, on_first_reuse, &w));
        CHECK(write(w.fd[i][1], "x", 1) == 1);
    }
    run_for(&w, 5);
    CHECK(w.n == 1);
    end(&w, 8);
}

/* Asked not to be told, one is not, though the event was at hand. */
static void on_first_mute(struct loop *l, int fd, uint32_t events, void *arg)
{
    struct world *w = arg;
    struct ctx *cx = w->cx;
    (void)fd, (void)events;
    w->n++;
    for (size_t i = 0; i < 8; i++)
        CHECK_OK(cx, loop_mod(cx, l, w->fd[i][0], EPOLLIN));
}

static void muted_within_a_batch(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 8);
    for (size_t i = 0; i < 8; i++) {
        CHECK_OK(cx, loop_add(cx, w.loop, w.fd[i][0], EPOLLOUT, on_first_mute, &w));
    }
    run_for(&w, 5);
    CHECK(w.n == 1);
    end(&w, 8);
}

/* Closed without loop_del: forgotten by the kernel, and its number can be watched anew. */
static void closed_unseen(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 2);
    CHECK_OK(cx, loop_add(cx, w.loop, w.fd[0][0], EPOLLIN, on_never, &w));
    CHECK(dup3(w.fd[1][0], w.fd[0][0], O_CLOEXEC) == w.fd[0][0]);
    CHECK_OK(cx, loop_add(cx, w.loop, w.fd[0][0], EPOLLIN, on_echo, &w));
    CHECK(write(w.fd[1][1], "x", 1) == 1);
    run_for(&w, 5);
    CHECK(w.n == 1);
    close(w.fd[0][0]);
    loop_del(w.loop, w.fd[0][0]);
    end(&w, 2);
}

/* --- timers --- */

struct slot {
    struct world *w;
    int number;
    uint64_t due_us;
};

static void on_slot(struct loop *l, void *arg)
{
    struct slot *s = arg;
    (void)l;
    CHECK(clock_us() >= s->due_us); /* never early */
    s->w->timer[s->number] = NULL;
    s->w->order[s->w->n++] = s->number;
}

static void timers(struct ctx *cx)
{
    enum { N = 400 };
    static struct world w;
    static struct slot slot[N];
    struct shuffle s = shuffle_new(scratch_seed());
    start(&w, cx, 0);
    bool gone[N] = {0};
    uint64_t at[N];
    for (int i = 0; i < N; i++) {
        at[i] = shuffle_below(&s, 20);
        slot[i] = (struct slot){&w, i, clock_us() + at[i] * 1000};
        w.timer[i] = loop_after(w.loop, at[i], on_slot, &slot[i]);
        CHECK(w.timer[i]);
        size_t k = shuffle_below(&s, (uint64_t)i + 1);
        if (shuffle_below(&s, 3) == 0 && !gone[k]) {
            loop_cancel(w.loop, w.timer[k]);
            gone[k] = true;
        }
    }
    loop_cancel(w.loop, NULL);
    run_for(&w, 40);
    size_t want = 0;
    for (int i = 0; i < N; i++)
        want += !gone[i];
    CHECK(w.n == want);
    for (size_t i = 0; i < w.n; i++) {
        int a = w.order[i], b = i ? w.order[i - 1] : a;
        CHECK(!gone[a]);
        CHECK(slot[b].due_us / 1000 <=
              slot[a].due_us / 1000 + 1); /* our deadlines were taken a moment before */
        if (slot[b].due_us == slot[a].due_us) CHECK(b <= a);
    }
    end(&w, 0);
}

/* Of equal delays the older first: their deadlines are equal or rise. */
static void equal_delays(struct ctx *cx)
{
    static struct world w;
    static struct slot slot[200];
    start(&w, cx, 0);
    for (int i = 0; i < 200; i++) {
        slot[i] = (struct slot){&w, i, 0};
        CHECK(loop_after(w.loop, i < 100 ? 50 : 0, on_slot, &slot[i]));
    }
    run_for(&w, 70);
    CHECK(w.n == 200);
    for (int i = 0; i < 200; i++)
        CHECK(w.order[i] == (i + 100) % 200);
    end(&w, 0);
}

/* All due at once; the first cancels every other. */
static void on_cancel_all(struct loop *l, void *arg)
{
    struct slot *s = arg;
    s->w->n++;
    s->w->timer[s->number] = NULL;
    for (size_t i = 0; i < 50; i++)
        loop_cancel(l, TAKE(s->w->timer[i]));
}

static void cancelled_within_a_batch(struct ctx *cx)
{
    static struct world w;
    static struct slot slot[50];
    start(&w, cx, 0);
    for (int i = 0; i < 50; i++) {
        slot[i] = (struct slot){&w, i, 0};
        w.timer[i] = loop_after(w.loop, 0, on_cancel_all, &slot[i]);
    }
    usleep(1000);
    run_for(&w, 5);
    CHECK(w.n == 1);
    CHECK(loop_after(w.loop, UINT64_MAX, on_slot, NULL)); /* never; freed with the loop */
    CHECK(loop_after(w.loop, (uint64_t)1 << 40, on_slot, NULL));
    run_for(&w, 1);
    end(&w, 0);
}

/* One that starts itself again without delay leaves room for descriptors and for others. */
static void on_again(struct loop *l, void *arg)
{
    struct world *w = arg;
    if (++w->n == 3) CHECK(write(w->fd[0][1], "x", 1) == 1);
    CHECK(loop_after(l, 0, on_again, arg));
}

static void on_stop(struct loop *l, int fd, uint32_t events, void *arg)
{
    (void)fd, (void)events, (void)arg;
    loop_stop(l);
}

static void nobody_starves(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 1);
    CHECK(loop_after(w.loop, 0, on_again, &w));
    CHECK_OK(cx, loop_add(cx, w.loop, w.fd[0][0], EPOLLIN, on_stop, &w));
    run(&w);
    loop_del(w.loop, w.fd[0][0]);
    run_for(&w, 2);
    end(&w, 1);
}

/* --- posts and stops --- */

static void on_post(struct loop *l, void *arg)
{
    (void)l;
    ++*(size_t *)arg;
}

static void on_post_again(struct loop *l, void *arg)
{
    struct world *w = arg;
    if (++w->n < 10) CHECK(loop_post(l, on_post_again, arg));
}

struct poster {
    pthread_t thread;
    struct loop *loop;
    size_t *seen;
    bool stops;
};

static void *post_often(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < 2000; i++)
        CHECK(loop_post(p->loop, on_post, p->seen));
    if (p->stops) loop_stop(p->loop);
    return NULL;
}

static void posts(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 0);
    CHECK(loop_post(w.loop, on_post_again, &w));
    run_for(&w, 5);
    CHECK(w.n == 10);
    w.n = 0;
    struct poster p[3];
    for (size_t i = 0; i < LEN(p); i++) {
        p[i] = (struct poster){.loop = w.loop, .seen = &w.n};
        CHECK(pthread_create(&p[i].thread, NULL, post_often, &p[i]) == 0);
    }
    uint64_t late = clock_ms() + 5000;
    while (w.n < LEN(p) * 2000 && clock_ms() < late)
        run_for(&w, 1);
    for (size_t i = 0; i < LEN(p); i++)
        pthread_join(p[i].thread, NULL);
    CHECK(w.n == LEN(p) * 2000);
    CHECK(loop_post(w.loop, on_post, &w.n)); /* never run: freed with the loop */
    end(&w, 0);
}

/* What a thread posted before its stop has run when the run ends; many times, for the race in it. */
static void posts_then_stops(struct ctx *cx)
{
    for (int i = 0; i < 50; i++) {
        struct world w;
        start(&w, cx, 0);
        struct poster p = {.loop = w.loop, .seen = &w.n, .stops = true};
        CHECK(pthread_create(&p.thread, NULL, post_often, &p) == 0);
        run(&w);
        CHECK(w.n == 2000);
        end(&w, 0); /* at once: loop_stop is done with the loop by now */
        pthread_join(p.thread, NULL);
    }
}

static void stops(struct ctx *cx)
{
    struct world w;
    start(&w, cx, 8);
    loop_stop(w.loop); /* before the run */
    CHECK(loop_after(w.loop, 0, on_post, &w.n));
    run(&w);
    CHECK(w.n == 0);
    run_for(&w, 3); /* the stop is used up, the timer is not */
    CHECK(w.n == 1);

    /* In a batch: no more are called, and none is lost. */
    for (size_t i = 0; i < 8; i++) {
        CHECK_OK(cx, loop_add(cx, w.loop, w.fd[i][0], EPOLLIN, on_stop, &w));
        CHECK(write(w.fd[i][1], "x", 1) == 1);
    }
    run(&w);
    for (size_t i = 0; i < 8; i++) {
        loop_del(w.loop, w.fd[i][0]);
        CHECK_OK(cx, loop_add(cx, w.loop, w.fd[i][0], EPOLLIN, on_echo, &w));
    }
    run_for(&w, 5);
    CHECK(w.n == 9);

    CHECK(loop_after(w.loop, 0, stop, NULL) && loop_after(w.loop, 0, on_post, &w.n));
    usleep(100);
    run(&w);
    CHECK(w.n == 9);
    CHECK(loop_post(w.loop, stop, NULL) && loop_post(w.loop, on_post, &w.n));
    run(&w); /* posts are run to the end; the timer waits */
    CHECK(w.n == 10);
    run_for(&w, 1);
    CHECK(w.n == 11);
    end(&w, 8);
    loop_free(NULL);
}

TEST_MAIN(T(clocks), T(descriptors), T(removed_within_a_batch), T(reused_within_a_batch),
          T(muted_within_a_batch), T(closed_unseen), T(timers), T(equal_delays), T(cancelled_within_a_batch),
          T(nobody_starves), T(posts), T(posts_then_stops), T(stops))
