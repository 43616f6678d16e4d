#include "flow/site.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/num.h"
#include "flow/control.h"
#include "flow/notify.h"
#include "flow/site_int.h"
#include "model/model.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STOP_MS 3000 /* for the other parties to hear that our jobs have ended */

/* ---- one process a folder ---- */

static status lock_folder(struct ctx *cx, const char *dir, int *out)
{
    char pid[24];
    const char *file = arena_printf(cx->mem, "%s/run/lock", dir);
    TRY(dir_make(cx, arena_printf(cx->mem, "%s/run", dir), 0700));
    CLEANUP(fd_closep) int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", file);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return FAIL(cx, STATE, "a site runs in %s already (process %lld)", dir, (long long)site_pid(cx, dir));
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n) return FAIL(cx, IO, "write %s: %m", file);
    *out = fd_take(&fd);
    return OK;
}

int64_t site_pid(struct ctx *cx, const char *dir)
{
    char text[24];
    uint64_t pid;
    const char *file = arena_printf(cx->mem, "%s/run/lock", dir);
    CLEANUP(fd_closep) int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0) return 0;
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n <= 1 || !num_parse_u64(text, (size_t)n - 1, &pid)) return 0;
    return (int64_t)pid;
}

/* ---- the node's events ---- */

static bool on_message(void *arg, const struct message *m)
{
    return run_deliver(arg, m);
}

static bool on_stream(void *arg, const struct stream_key *k)
{
    return run_expects(arg, k);
}

static void on_room(void *arg, const struct stream_key *k)
{
    run_room(arg, k);
}

static void on_call(void *arg, uint32_t party, uint64_t call_id, const char *method, const json_t *body)
{
    struct reply to = {.kind = REPLY_NODE, .party = party, .id = call_id};
    json_t *copy = json_deep_copy(body);
    request_begin(arg, &to, party, peer_methods, method, copy ? copy : json_object());
}

static void down_too_long(struct loop *l, void *arg)
{
    (void)l;
    struct down *d = arg;
    d->timer = NULL;
    drive_link_down(d->site, d->party);
}

static struct down *down_of(struct site *s, uint32_t party)
{
    for (size_t i = 0; i < s->n_down; i++)
        if (s->down[i].party == party) return &s->down[i];
    if (s->n_down == LEN(s->down)) return NULL;
    s->down[s->n_down] = (struct down){s, party, NULL}; /* a party of the default route */
    return &s->down[s->n_down++];
}

static void on_link(void *arg, const struct link_state *l)
{
    struct site *s = arg;
    struct down *d = down_of(s, l->party);
    if (!d) return;
    if (!l->up) {
        if (!d->timer) d->timer = loop_after(s->loop, s->set->task_deadline_ms, down_too_long, d);
        log_warn(s->cx, "link down", KV("peer", l->party), KV("why", (const char *)l->last_error));
        return;
    }
    loop_cancel(s->loop, d->timer);
    d->timer = NULL;
    notices_link_up(s, l->party);
    party_sync(s, l->party);
}

/* ---- stopping ---- */

static void stop_now(struct loop *l, void *arg)
{
    struct site *s = arg;
    s->stop_timer = NULL;
    loop_stop(l);
}

static bool any_process(const struct site *s)
{
    for (const struct job *j = s->jobs; j; j = j->next)
        for (size_t i = 0; i < j->n_tasks && j->ended; i++)
            if (j->tasks[i].run) return true;
    return false;
}

/* A job that may be tried again stays open: its processes end with the site, and it goes on at the next start. */
static bool outlives_stop(const struct job *j)
{
    for (size_t c = 0; c < j->plan.dsl.n && j->row.driving; c++)
        if (!retry_allowed(j, c)) return false;
    return j->row.driving || j->plan.conf.auto_retries > 0;
}

/* Soon, once processes have ended and notices were heard; at the latest after STOP_MS. */
static void stop_when_quiet(struct loop *l, void *arg)
{
    struct site *s = arg;
    s->stop_timer = NULL;
    bool quiet = !any_process(s) && notices_waiting(s) == 0;
    if (quiet || clock_ms() >= s->stop_at_ms)
        loop_stop(l);
    else
        s->stop_timer = loop_after(l, 20, stop_when_quiet, s);
}

void site_stop(struct site *s, const char *why)
{
    if (s->stopping) return;
    s->stopping = true;
    s->stop_at_ms = clock_ms() + STOP_MS;
    notify_send("STOPPING=1\nSTATUS=stops: %s", why);
    log_info(s->cx, "site stops", KV("why", why));
    const char *reason = arena_printf(s->cx->mem, "site %u was stopped: %s", s->set->party, why);
    for (struct job *j = s->jobs, *next; j; j = next) {
        next = j->next;
        if (j->ended || outlives_stop(j)) continue;
        if (j->row.driving) {
            drive_end(j, RUN_FAILED, reason, NULL);
        } else {
            uint32_t initiator = j->row.initiator.id;
            CLEANUP(json_decrefp)
            json_t *tell =
                json_pack("{s:s,s:s,s:s}", "job", j->row.job, "reason", reason, "status", "failed");
            party_end(j, RUN_FAILED, reason, NULL);
            site_notify(s, initiator, "job.stop", tell);
        }
        next = s->jobs; /* the list may have changed: ended ones are skipped */
        while (next && (next->ended || outlives_stop(next)))
            next = next->next;
    }
    s->stop_timer = loop_after(s->loop, 20, stop_when_quiet, s);
    if (!s->stop_timer) stop_now(s->loop, s);
}

static void on_signal(struct loop *l, int fd, uint32_t events, void *arg)
{
    (void)events;
    struct site *s = arg;
    struct signalfd_siginfo si;
    if (read(fd, &si, sizeof si) != (ssize_t)sizeof si) return;
    if (si.ssi_signo == SIGHUP) {
        log_file_reopen(s);
        return;
    }
    const char *why = si.ssi_signo == SIGINT ? "interrupted" : "terminated";
    if (s->stopping && si.ssi_signo == SIGINT) loop_stop(l); /* asked twice */
    if (s->draining || si.ssi_signo == SIGINT)
        site_stop(s, why);
    else
        site_drain(s, s->set->drain_ms, why);
}

/* ---- running ---- */

static status open_parts(struct ctx *cx, struct site *s)
{
    const struct settings *set = s->set;
    static const char *const folders[] = {"jobs", "models", "store", "logs"};
    for (size_t i = 0; i < LEN(folders); i++)
        TRY(dir_make(cx, arena_printf(cx->mem, "%s/%s", s->dir, folders[i]), 0700));
    TRY(jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", s->dir), false, &s->db));
    TRY(store_open(cx, s->dir, &s->store));
    size_t swept = 0;
    TRY(store_sweep(cx, s->store, &swept));
    if (swept) log_info(cx, "left-over tables swept", KV("tables", swept));
    TRY(model_sweep(cx, arena_printf(cx->mem, "%s/models", s->dir), &swept));
    if (swept) log_info(cx, "left-over models swept", KV("models", swept));
    TRY(jobs_sweep(s));
    TRY(jobs_recover(s));
    TRY(keep_open(cx, s));
    struct node_config nc = {.party = set->party,
                             .listen_host = set->listen_host,
                             .listen_port = set->listen_port,
                             .key_file = set->key_file,
                             .cert_file = set->cert_file,
                             .ca_file = set->ca_file,
                             .peers = set->peers,
                             .n_peers = set->n_peers,
                             .heartbeat_ms = set->heartbeat_ms,
                             .dial_ms = set->dial_ms,
                             .window_bytes = set->window_bytes,
                             .outbox_bytes = set->outbox_bytes,
                             .memory_bytes = set->link_memory,
                             .disk_bytes = set->link_disk,
                             .spill_dir = arena_printf(cx->mem, "%s/spill", s->dir),
                             .rate_bytes = set->rate_bytes,
                             .default_via = set->route_default,
                             .forward_bytes = set->exchange_memory};
    struct node_events ev = {.arg = s,
                             .on_message = on_message,
                             .on_stream = on_stream,
                             .on_room = on_room,
                             .on_link = on_link,
                             .on_call = on_call};
    for (size_t i = 0; i < set->n_peers; i++)
        s->down[s->n_down++] = (struct down){s, set->peers[i].party, NULL};
    TRY(node_new(cx, s->loop, &nc, &ev, &s->node));
    TRY(control_open(cx, s, &s->control));
    for (size_t i = 0; i < s->n_down; i++) /* none is up yet, and a job may wait for one already */
        s->down[i].timer = loop_after(s->loop, set->task_deadline_ms, down_too_long, &s->down[i]);
    jobs_continue(s);
    return OK;
}

static status watch_signals(struct ctx *cx, struct site *s, int *out)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    *out = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*out < 0) return FAIL(cx, IO, "signalfd: %m");
    return loop_add(cx, s->loop, *out, EPOLLIN, on_signal, s);
}

static void close_parts(struct site *s)
{
    loop_cancel(s->loop, s->stop_timer);
    service_end(s);
    for (size_t i = 0; i < s->n_down; i++)
        loop_cancel(s->loop, s->down[i].timer);
    control_free(s->control);
    jobs_kill(s);
    keep_free(s);
    node_free(s->node);
    notices_free(s);
    requests_free(s);
    jobs_free(s);
}

status site_run(struct ctx *cx, const char *dir, const struct settings *set, const struct site_part *http,
                void (*ready)(void *arg, uint16_t port, uint16_t http_port), void *arg)
{
    CLEANUP(fd_closep) int lock = -1;
    CLEANUP(fd_closep) int sig = -1;
    CLEANUP(loop_freep) struct loop *loop = NULL;
    struct site *s = NEW(cx, struct site, 1);
    if (!s) return FAIL(cx, NOMEM, "a site");
    TRY(lock_folder(cx, dir, &lock));
    TRY(loop_new(cx, &loop));
    *s = (struct site){.cx = cx, .dir = dir, .set = set, .loop = loop, .http = http, .started_ms = wall_ms()};
    service_quiet();
    log_file_begin(s);
    status st = watch_signals(cx, s, &sig);
    if (!st.code) st = open_parts(cx, s);
    if (!st.code && http) st = http->start(cx, s, &s->api);
    if (!st.code) {
        log_info(cx, "site runs", KV("party", set->party), KV("port", (unsigned)node_port(s->node)),
                 KV("version", NORN_VERSION));
        service_begin(s);
        ready(arg, node_port(s->node), s->api ? http->port(s->api) : 0);
        st = loop_run(cx, loop);
    }
    struct err why = cx->err;
    if (s->api) http->stop(s->api);
    s->api = NULL;
    close_parts(s);
    cx->err = why;
    if (!st.code) log_info(cx, "site stopped");
    return st;
}
