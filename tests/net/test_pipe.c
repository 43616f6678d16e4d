/* Task processes with their pipes: two sites in this process, tasks in children of it. */
#include "test.h"
#include "world.h"
#include "base/js.h"
#include "net/pipe.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- a task --- */

static const struct party guest = {ROLE_GUEST, 9999}, host = {ROLE_HOST, 10000};
typedef status (*task_fn)(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                          struct party peer);

struct task {
    struct world *w;
    struct site *site;
    struct site_pipe *pipe;
    struct stream_key me;
    pid_t pid;
    bool closed;
    size_t n_events;
    char last_kind[32];
    int code;       /* of the "done" event */
    char text[480]; /* of its message */
    bool waited;    /* seen waiting */
    struct task_wait wait;
};
static struct task tasks[3];
static size_t n_tasks;

static void on_event(void *arg, struct site_pipe *p, const char *kind, const json_t *body)
{
    (void)p;
    struct task *t = arg;
    t->n_events++;
    snprintf(t->last_kind, sizeof t->last_kind, "%s", kind);
    if (strcmp(kind, "done") != 0) return;
    t->code = (int)json_integer_value(json_object_get(body, "code"));
    snprintf(t->text, sizeof t->text, "%s", json_string_value(json_object_get(body, "text")));
}

static void on_closed(void *arg, struct site_pipe *p)
{
    struct task *t = arg;
    t->closed = true;
    site_pipe_free(p);
    t->pipe = NULL;
}

static void child(int fd, task_fn fn, struct party me, struct party peer, uint64_t deadline_ms)
{
    struct ctx cx = {.mem = arena_new(0)};
    struct task_pipe *p;
    json_t *spec, *done;
    int exit_code = 0;
    if (task_pipe_open(&cx, fd, &p).code || task_pipe_start(&cx, p, &spec).code) _exit(3);
    if (json_integer_value(json_object_get(spec, "answer")) != 42) _exit(4);
    json_decref(spec);
    cx.cancel = task_pipe_cancelled(p);
    task_pipe_identify(p, "job1", "toy_0.0", me, deadline_ms);
    status st = fn(&cx, p, task_pipe_channel(p), me, peer);
    done = json_pack("{s:i,s:s}", "code", (int)st.code, "text", st.code ? cx.err.msg : "");
    if (task_pipe_event(&cx, p, "done", done).code) exit_code = 5;
    json_decref(done);
    arena_free(cx.mem);
    task_pipe_free(p);
    _exit(exit_code);
}

static bool deliver(void *arg, const struct message *m)
{
    struct site *s = arg;
    for (size_t i = 0; i < n_tasks; i++)
        if (tasks[i].site == s && tasks[i].pipe && m->stream.to.role == tasks[i].me.from.role)
            return site_pipe_deliver(tasks[i].pipe, m);
    return false;
}

static void room(void *arg, const struct stream_key *k)
{
    struct site *s = arg;
    for (size_t i = 0; i < n_tasks; i++)
        if (tasks[i].site == s && tasks[i].pipe) site_pipe_room(tasks[i].pipe, k);
}

static void start_task(struct world *w, struct site *s, task_fn fn, struct party me, struct party peer,
                       uint64_t deadline_ms)
{
    struct task *t = &tasks[n_tasks++];
    int fd[2];
    *t = (struct task){.w = w, .site = s, .code = -1};
    s->deliver = deliver;
    s->room = room;
    snprintf(t->me.job, sizeof t->me.job, "job1");
    snprintf(t->me.task, sizeof t->me.task, "toy_0.0");
    t->me.from = me;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
    t->pid = fork();
    if (t->pid == 0) {
        close_range(3, (unsigned)fd[1] - 1, 0); /* other tasks' ends, which would keep them open */
        close_range((unsigned)fd[1] + 1, ~0u, 0);
        child(fd[1], fn, me, peer, deadline_ms);
    }
    close(fd[1]);
    json_t *spec = json_pack("{s:i}", "answer", 42);
    const struct site_pipe_events ev = {.arg = t, .on_event = on_event, .on_closed = on_closed};
    struct ctx *cx = w->cx;
    CHECK_OK(cx, site_pipe_new(cx, w->loop, s->node, fd[0], spec, &t->me, &ev, &t->pipe));
    json_decref(spec);
}

static bool all_closed(void *arg)
{
    (void)arg;
    bool all = true;
    for (size_t i = 0; i < n_tasks; i++) {
        struct task *t = &tasks[i];
        struct task_wait wait = {0};
        if (t->pipe) site_pipe_wait(t->pipe, &wait);
        if (wait.waiting) {
            t->waited = true;
            t->wait = wait;
        }
        all = all && t->closed;
    }
    return all;
}

static void end_tasks(struct world *w, uint64_t ms)
{
    CHECK(world_run(w, ms, all_closed, NULL));
    for (size_t i = 0; i < n_tasks; i++) {
        int code;
        if (!tasks[i].closed) kill(tasks[i].pid, SIGKILL);
        waitpid(tasks[i].pid, &code, 0);
        site_pipe_free(tasks[i].pipe);
    }
}

static void two_tasks(struct world *w, struct ctx *cx, task_fn at_guest, task_fn at_host,
                      uint64_t deadline_ms)
{
    n_tasks = 0;
    world_init(w, cx);
    world_pair(w);
    start_task(w, &w->site[1], at_guest, guest, host, deadline_ms);
    start_task(w, &w->site[0], at_host, host, guest, deadline_ms);
}

/* --- what tasks do --- */

static status send_filled(struct ctx *cx, struct channel *ch, struct party to, const char *tag, size_t n,
                          uint64_t seed)
{
    uint8_t *p = malloc(n ? n : 1);
    fill_bytes(p, n, seed);
    status st = channel_send(cx, ch, to, tag, p, n);
    memset(p, 0xee, n); /* the bytes are ours again */
    free(p);
    return st;
}

static status recv_filled(struct ctx *cx, struct channel *ch, struct party from, const char *tag, size_t n,
                          uint64_t seed)
{
    struct bytes b;
    TRY(channel_recv(cx, ch, from, tag, &b));
    uint8_t *want = malloc(n ? n : 1);
    fill_bytes(want, n, seed);
    bool same = b.n == n && memcmp(b.p, want, n) == 0;
    free(want);
    return same ? OK
                : FAIL(cx, INTERNAL, "message %s of %zu bytes arrived otherwise (%zu bytes)", tag, n, b.n);
}

static const size_t sizes[] = {0,       1,       1000,     65536,    262143,   262144,
                               1 << 20, 3000000, 20 << 20, 60000000, 60000000, 12345};

/* Both send first, then both receive, in another order of tags. */
static status exchange(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                       struct party peer)
{
    (void)p;
    for (size_t i = 0; i < LEN(sizes); i++)
        TRY(send_filled(cx, ch, peer, "a", sizes[i], i + me.id));
    TRY(send_filled(cx, ch, peer, "b", 10, 77 + me.id));
    TRY(recv_filled(cx, ch, peer, "b", 10, 77 + peer.id));
    for (size_t i = 0; i < LEN(sizes); i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY(recv_filled(cx, ch, peer, "a", sizes[i], i + peer.id));
        if (i % 2) arena_rewind(cx->mem, mark);
    }
    uint64_t total = 10;
    for (size_t i = 0; i < LEN(sizes); i++)
        total += sizes[i];
    return ch->ops->bytes_sent(ch->self, peer) == total ? OK : FAIL(cx, INTERNAL, "bytes sent");
}

static status ping(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                   struct party peer)
{
    (void)p;
    for (int i = 0; i < 500; i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct bytes b;
        if (me.role == ROLE_GUEST) TRY(channel_send(cx, ch, peer, "ping", &i, sizeof i));
        TRY(channel_recv(cx, ch, peer, me.role == ROLE_GUEST ? "pong" : "ping", &b));
        if (b.n != sizeof i || memcmp(b.p, &i, sizeof i) != 0) return FAIL(cx, INTERNAL, "round %d", i);
        if (me.role == ROLE_HOST) TRY(channel_send(cx, ch, peer, "pong", &i, sizeof i));
        arena_rewind(cx->mem, mark);
    }
    return OK;
}

static status events(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                     struct party peer)
{
    (void)ch, (void)me, (void)peer;
    json_t *big = json_object();
    char *text = malloc(3000001);
    memset(text, 'x', 3000000);
    text[3000000] = '\0';
    json_object_set_new(big, "text", json_string(text));
    free(text);
    for (int i = 0; i < 5; i++)
        TRY(task_pipe_event(cx, p, "summary", big));
    TRY(task_pipe_event(cx, p, "progress", NULL));
    json_decref(big);
    return OK;
}

static status only_wait(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                        struct party peer)
{
    (void)p, (void)me;
    struct bytes b;
    return channel_recv(cx, ch, peer, "never", &b);
}

static status only_sleep(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                         struct party peer)
{
    (void)p, (void)ch, (void)me, (void)peer;
    for (int i = 0; i < 3000; i++) {
        TRY(ctx_check(cx));
        usleep(1000);
    }
    return OK;
}

static status compute_then_send(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                                struct party peer)
{
    (void)p, (void)me;
    struct bytes b;
    if (me.role == ROLE_GUEST) return channel_recv(cx, ch, peer, "late", &b);
    volatile uint64_t x = 1;
    for (uint64_t from = (uint64_t)time(NULL); (uint64_t)time(NULL) < from + 6;)
        x = x * 3 + 1;
    return channel_send(cx, ch, peer, "late", "x", 1);
}

static status flood(struct ctx *cx, struct task_pipe *p, struct channel *ch, struct party me,
                    struct party peer)
{
    (void)p, (void)me;
    uint8_t *bytes = calloc(1, 4 << 20);
    status st = OK;
    for (int i = 0; i < 100 && !st.code; i++)
        st = channel_send(cx, ch, peer, "flood", bytes, 4 << 20);
    free(bytes);
    return st;
}

/* --- tests --- */

static void both_send_first(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, exchange, exchange, 20000);
    end_tasks(&w, 60000);
    for (size_t i = 0; i < n_tasks; i++) {
        CHECK(tasks[i].code == 0);
        if (tasks[i].code) fprintf(stderr, "task %zu: %s\n", i, tasks[i].text);
    }
    world_free(&w);
}

static void small_round_trips(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, ping, ping, 20000);
    end_tasks(&w, 20000);
    CHECK(tasks[0].code == 0 && tasks[1].code == 0);
    world_free(&w);
}

static void large_events(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, events, events, 20000);
    end_tasks(&w, 20000);
    CHECK(tasks[0].code == 0 && tasks[0].n_events == 7 && tasks[1].n_events == 7);
    world_free(&w);
}

static bool first_waits(void *arg)
{
    (void)arg;
    all_closed(NULL);
    return tasks[0].waited;
}

static void timeout_names_all(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, only_wait, only_sleep, 1500);
    CHECK(world_run(&w, 1000, first_waits, NULL));
    CHECK(tasks[0].wait.peer.id == 10000 && strcmp(tasks[0].wait.tag, "never") == 0 &&
          tasks[0].wait.seq == 0 && !tasks[0].wait.sending);
    end_tasks(&w, 10000);
    CHECK(tasks[0].code == ERR_TIMEOUT);
    CHECK(strstr(tasks[0].text, "never[0] of host 10000") &&
          strstr(tasks[0].text, "the link to party 10000 is up"));
    if (tasks[0].code == ERR_TIMEOUT) fprintf(stderr, "# %s\n", tasks[0].text);
    world_free(&w);
}

static void a_computing_peer_is_no_timeout(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, compute_then_send, compute_then_send, 4000);
    end_tasks(&w, 15000);
    CHECK(tasks[0].code == 0);
    if (tasks[0].code) fprintf(stderr, "# %s\n", tasks[0].text);
    world_free(&w);
}

/* Each waits for the other: that is no progress, however alive both are. */
static void a_circle_times_out(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, only_wait, only_wait, 4000);
    end_tasks(&w, 15000);
    CHECK(tasks[0].code == ERR_TIMEOUT && tasks[1].code == ERR_TIMEOUT);
    CHECK(strstr(tasks[0].text, "waits for never[0] of guest 9999"));
    if (tasks[0].code == ERR_TIMEOUT) fprintf(stderr, "# %s\n", tasks[0].text);
    world_free(&w);
}

static void cancel_ends_waits_and_work(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, only_wait, only_sleep, 20000);
    CHECK(world_run(&w, 1000, first_waits, NULL));
    uint64_t from = clock_ms();
    site_pipe_cancel(tasks[0].pipe);
    site_pipe_cancel(tasks[1].pipe);
    end_tasks(&w, 2000);
    CHECK(clock_ms() - from < 500);
    CHECK(tasks[0].code == ERR_CANCELLED && tasks[1].code == ERR_CANCELLED);
    world_free(&w);
}

static void peer_failure_ends_waits(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, only_wait, only_sleep, 20000);
    CHECK(world_run(&w, 1000, first_waits, NULL));
    site_pipe_peer_failed(tasks[0].pipe, host, "signal 11");
    site_pipe_cancel(tasks[1].pipe);
    end_tasks(&w, 2000);
    CHECK(tasks[0].code == ERR_PEER && strstr(tasks[0].text, "host 10000: signal 11"));
    world_free(&w);
}

static void unknown_party_is_named(struct ctx *cx)
{
    struct world w;
    n_tasks = 0;
    world_init(&w, cx);
    world_pair(&w);
    start_task(&w, &w.site[1], only_wait, guest, (struct party){ROLE_HOST, 12345}, 20000);
    end_tasks(&w, 3000);
    CHECK(tasks[0].code == ERR_PEER && strstr(tasks[0].text, "12345"));
    world_free(&w);
}

static void killed_task_closes(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, only_wait, only_sleep, 20000);
    CHECK(world_run(&w, 1000, first_waits, NULL));
    kill(tasks[0].pid, SIGKILL);
    kill(tasks[1].pid, SIGKILL);
    end_tasks(&w, 2000);
    CHECK(tasks[0].closed && tasks[0].code == -1);
    world_free(&w);
}

/* The site gone: its tasks end by themselves. */
static void lost_site_cancels(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, only_wait, only_sleep, 20000);
    CHECK(world_run(&w, 1000, first_waits, NULL));
    for (size_t i = 0; i < n_tasks; i++) {
        site_pipe_free(tasks[i].pipe);
        tasks[i].pipe = NULL;
        tasks[i].closed = true;
        int code;
        uint64_t from = clock_ms();
        waitpid(tasks[i].pid, &code, 0);
        CHECK(clock_ms() - from < 1000);
        CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 5); /* it could not tell anybody */
    }
    world_free(&w);
}

/* 400 MB to a task that takes nothing: the sender waits, and nobody's memory grows beyond the windows. */
static void back_pressure(struct ctx *cx)
{
    struct world w;
    two_tasks(&w, cx, flood, only_sleep, 20000);
    world_run(&w, 1500, NULL, NULL);
    struct task_wait wait;
    site_pipe_wait(tasks[0].pipe, &wait);
    CHECK(wait.waiting && wait.sending && strcmp(wait.tag, "flood") == 0);
    struct link_state l;
    CHECK(node_link(w.site[1].node, 10000, &l) && l.queued_bytes <= 64 << 20);
    CHECK(l.bytes_out < 40 << 20);
    site_pipe_cancel(tasks[0].pipe);
    site_pipe_cancel(tasks[1].pipe);
    for (size_t i = 0; i < 2; i++)
        node_reclaim(w.site[i].node, "job1", NULL);
    end_tasks(&w, 4000);
    CHECK(tasks[0].code == ERR_CANCELLED);
    world_free(&w);
}

/* Both parties at one site. */
static void at_one_site(struct ctx *cx)
{
    struct world w;
    n_tasks = 0;
    world_init(&w, cx);
    world_pair(&w);
    start_task(&w, &w.site[1], exchange, guest, (struct party){ROLE_HOST, 9999}, 20000);
    start_task(&w, &w.site[1], exchange, (struct party){ROLE_HOST, 9999}, guest, 20000);
    end_tasks(&w, 60000);
    CHECK(tasks[0].code == 0 && tasks[1].code == 0);
    if (tasks[0].code) fprintf(stderr, "# %s\n", tasks[0].text);
    world_free(&w);
}

TEST_MAIN(T(both_send_first), T(small_round_trips), T(large_events), T(timeout_names_all),
          T(a_computing_peer_is_no_timeout), T(a_circle_times_out), T(cancel_ends_waits_and_work),
          T(peer_failure_ends_waits), T(unknown_party_is_named), T(killed_task_closes), T(lost_site_cancels),
          T(back_pressure), T(at_one_site))
