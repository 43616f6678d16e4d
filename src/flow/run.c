/* run.c - task processes: started by posix_spawn of this very binary, watched through a pidfd, heard through
 * the pipe. */
#include "flow/site_int.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUSH_MS       500 /* between two reports of progress to the initiator */
#define DRAIN_MS      500 /* from the process's end to the end of its pipe */
#define TASK_FD       3
#define SUMMARY_SHOWN 65536 /* a longer summary is read from the database only */

struct run {
    struct job_task *t;
    int64_t attempt; /* the task's row may be at the next one */
    char name[96];
    struct site_pipe *pipe;
    pid_t pid;
    int pidfd;
    bool exited, closed, done, failed;
    const char *lost; /* why a record of it could not be stored; NULL: all are */
    siginfo_t how;
    const char *error; /* the task's own word */
    bool curable;
    struct loop_timer *timer; /* kill after the grace, or end of draining */
};

/* ---- the spec ---- */

const char *run_checkpoint_dir(struct ctx *cx, const struct job_task *t)
{
    const char *dir = arena_printf(cx->mem, "%s/checkpoint", task_dir(cx, t));
    return dir ? dir : "";
}

static json_t *parties_json(const struct plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->conf.n_parties; i++)
        json_array_append_new(
            list, json_pack("[s,I]", role_name(p->conf.parties[i].role), (json_int_t)p->conf.parties[i].id));
    return list;
}

/* Output table of another component at this party; a component that gave none here adds nothing. */
static status add_input(struct ctx *cx, const struct job_task *t, const struct dsl_source *src,
                        const struct output_row *outs, size_t n, json_t *inputs)
{
    const struct job_task *from = job_task_find(t->job, src->from, t->row.party);
    if (!from) return OK;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(outs[i].component, src->component) != 0 || strcmp(outs[i].name, src->output) != 0)
            continue;
        if (!party_same(outs[i].party, t->row.party) || outs[i].attempt != from->row.attempt) continue;
        json_t *in = json_pack("{s:s,s:s,s:s,s:s}", "key", src->key, "from",
                               arena_printf(cx->mem, "%s.%s", src->component, src->output), "component",
                               src->component, "path", outs[i].path);
        if (!in || json_array_append_new(inputs, in)) return FAIL(cx, NOMEM, "inputs");
    }
    return OK;
}

static status spec_inputs(struct ctx *cx, const struct job_task *t, const json_t *params, json_t *inputs)
{
    struct job *j = t->job;
    const struct dsl_component *c = &j->plan.dsl.components[t->component];
    struct output_row *outs = NULL;
    size_t n = 0;
    const char *path, *from;
    if (c->n_data) TRY(jobdb_outputs(cx, j->site->db, j->row.job, &outs, &n));
    for (size_t i = 0; i < c->n_data; i++)
        TRY(add_input(cx, t, &c->data[i], outs, n, inputs));
    TRY_IN(cx, reader_path(cx, j->site, params, &path, &from), "%s", c->name);
    if (path && json_array_append_new(inputs, json_pack("{s:s,s:s,s:s,s:s}", "key", "table", "from", from,
                                                        "component", "", "path", path)))
        return FAIL(cx, NOMEM, "inputs");
    return OK;
}

static status spec_models(struct ctx *cx, const struct job_task *t, json_t *models)
{
    const struct job *j = t->job;
    const struct dsl_component *c = &j->plan.dsl.components[t->component];
    for (size_t i = 0; i < c->n_models; i++) {
        const struct dsl_source *src = &c->models[i];
        if (!src->pipeline && !job_task_find(t->job, src->from, t->row.party)) continue;
        const char *version = src->pipeline ? j->plan.conf.model_version : j->row.job;
        json_t *m = json_pack("{s:s,s:s,s:s}", "component", src->component, "model_id", j->plan.model_id,
                              "version", version);
        if (!m || json_array_append_new(models, m)) return FAIL(cx, NOMEM, "models");
    }
    return OK;
}

static json_t *names_json(const char *const *names)
{
    json_t *list = json_array();
    for (; names && *names; names++)
        json_array_append_new(list, json_string(*names));
    return list;
}

static status make_spec(struct ctx *cx, const struct job_task *t, const char *out_dir, json_t **out)
{
    struct job *j = t->job;
    const struct settings *set = j->site->set;
    const struct dsl_component *c = &j->plan.dsl.components[t->component];
    CLEANUP(json_decrefp) json_t *params = NULL;
    CLEANUP(json_decrefp) json_t *inputs = json_array();
    CLEANUP(json_decrefp) json_t *models = json_array();
    TRY(plan_params(cx, &j->plan, t->component, t->row.party, &params));
    TRY(spec_inputs(cx, t, params, inputs));
    TRY(spec_models(cx, t, models));
    uint64_t threads = j->plan.conf.task_cores ? j->plan.conf.task_cores : set->threads;
    const json_t *job_parameters = json_object_get(j->plan.conf_json, "job_parameters");
    json_t *spec = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:O,s:O,s:O,s:o,s:s*,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:i,s:o*}", "job",
        j->row.job, "instance", c->name, "task", t->name, "module", t->row.module, "role",
        role_name(t->row.party.role), "party", (json_int_t)t->row.party.id, "parties", parties_json(&j->plan),
        "params", params, "inputs", inputs, "models", models, "out_names", names_json(c->out_data),
        "out_model", c->out_model[0], "out_dir", out_dir, "models_dir",
        arena_printf(cx->mem, "%s/models", j->site->dir), "model_id", j->plan.model_id, "model_lock",
        arena_printf(cx->mem, "%s/model.lock", job_dir(cx, j->site, j->row.job, t->row.party)), "deadline_ms",
        (json_int_t)set->task_deadline_ms, "threads", (json_int_t)threads, "memory",
        (json_int_t)set->task_memory, "seed", (json_int_t)j->row.seed, "log_level", (int)set->log_level,
        "initiator",
        json_pack("{s:s,s:I}", "role", role_name(j->row.initiator.role), "party_id",
                  (json_int_t)j->row.initiator.id));
    if (!spec) return FAIL(cx, NOMEM, "a task's description");
    json_object_set_new(spec, "checkpoint_dir", json_string(run_checkpoint_dir(cx, t)));
    if (job_parameters) json_object_set(spec, "job_parameters", (json_t *)job_parameters);
    *out = spec;
    return OK;
}

/* ---- how a task ended ---- */

const char *run_log_tail(struct ctx *cx, const struct job_task *t, size_t max)
{
    const char *file = arena_printf(cx->mem, "%s/task.log", task_dir(cx, t));
    CLEANUP(fd_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
    char *buf = NEW(cx, char, max + 1);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (!buf || size <= 0) return "";
    off_t from = size > (off_t)max ? size - (off_t)max : 0;
    ssize_t n = pread(fd, buf, max, from);
    if (n <= 0) return "";
    while (n > 0 && buf[n - 1] == '\n')
        n--;
    buf[n] = 0;
    for (ssize_t i = 0; i < n; i++) /* it goes into JSON texts: plain bytes only */
        if ((unsigned char)buf[i] >= 0x7f || ((unsigned char)buf[i] < 0x20 && buf[i] != '\n')) buf[i] = '?';
    char *nl = from ? strchr(buf, '\n') : NULL;
    return nl ? nl + 1 : buf;
}

static const char *how_it_ended(struct ctx *cx, const struct run *r)
{
    int st = r->how.si_status;
    const char *tail = run_log_tail(cx, r->t, 800), *what;
    if (r->how.si_code == CLD_EXITED)
        what = arena_printf(cx->mem, "exited with code %d and no result", st);
    else {
        const char *name = sigabbrev_np(st);
        what = arena_printf(cx->mem, "killed by signal %d (SIG%s)%s", st, name ? name : "?",
                            r->how.si_code == CLD_DUMPED ? ", core dumped" : "");
    }
    const char *text = arena_printf(cx->mem, "%s; last log lines:\n%s", what, *tail ? tail : "(none)");
    return text ? text : "died";
}

/* What a task says it failed of: the same again in the same circumstances, or not. */
bool run_curable(const char *code)
{
    static const enum err_code may_pass[] = {ERR_IO, ERR_NOMEM, ERR_CANCELLED, ERR_TIMEOUT, ERR_PEER};
    for (size_t i = 0; i < LEN(may_pass); i++)
        if (strcmp(code, err_name(may_pass[i])) == 0) return true;
    return false;
}

bool run_is_old(const struct job_task *t)
{
    return t->run && t->run->attempt != t->row.attempt;
}

void run_push(struct job_task *t)
{
    const struct task_row *r = &t->row;
    struct job *j = t->job;
    CLEANUP(json_decrefp)
    json_t *body =
        json_pack("{s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:b}", "job", r->job, "component",
                  r->component, "role", role_name(r->party.role), "attempt", (json_int_t)r->attempt, "status",
                  run_status_name(r->status), "error", r->error, "unit", r->unit, "done", (json_int_t)r->done,
                  "all", (json_int_t)r->all, "sent", (json_int_t)r->sent, "received", (json_int_t)r->received,
                  "pid", (json_int_t)r->pid, "curable", (int)t->curable);
    if (!body)
        log_error(&j->cx, "out of memory: a state is not told", KV("job", r->job));
    else
        site_notify(j->site, j->row.initiator.id, "task.status", body);
}

static void run_free(struct run *r)
{
    struct job_task *t = r->t;
    struct site *s = t->job->site;
    loop_cancel(s->loop, r->timer);
    site_pipe_free(r->pipe);
    if (r->pidfd >= 0) {
        loop_del(s->loop, r->pidfd);
        close(r->pidfd);
    }
    bool old = run_is_old(t);
    t->run = NULL;
    if (t->job->ended || old) node_reclaim(s->node, t->row.job, r->name);
    job_unref(t->job);
}

static void fail_to_start(struct job_task *t)
{
    struct job *j = t->job;
    t->curable = run_curable(err_name(j->cx.err.code));
    task_set(t, RUN_FAILED, j->cx.err.msg);
    run_push(t);
}

/* What an attempt that failed has written is of no use: the next one has a folder of its own. */
static void remove_outputs(const struct run *r)
{
    struct job *j = r->t->job;
    const char *dir = task_dir(&j->cx, r->t);
    keep_remove(j->site, dir ? arena_printf(j->mem, "%s/out.%" PRId64, dir, r->attempt) : NULL);
}

static void conclude(struct run *r)
{
    struct job_task *t = r->t;
    struct job *j = t->job;
    job_ref(j);
    if (run_is_old(t)) {
        remove_outputs(r);
        run_free(r);
        if (t->start_when_gone && !j->ended && run_start(&j->cx, t).code) fail_to_start(t);
        job_unref(j);
        return;
    }
    if (!run_ended(t->row.status)) {
        bool clean = r->how.si_code == CLD_EXITED && r->how.si_status == 0;
        t->curable = r->failed ? r->curable : !(r->done && clean);
        if (r->failed)
            task_set(t, RUN_FAILED, r->error);
        else if (r->lost) /* a result that nobody finds again is none */
            task_set(t, RUN_FAILED, r->lost);
        else if (r->done && clean)
            task_set(t, RUN_SUCCESS, "");
        else
            task_set(t, RUN_FAILED, how_it_ended(&j->cx, r));
        if (!run_good(t->row.status))
            log_error(j->site->cx, "task failed", KV("job", j->row.job), KV("task", t->name),
                      KV("error", t->row.error));
        run_push(t);
    } else {
        task_store(t);
    }
    if (!run_good(t->row.status)) remove_outputs(r);
    run_free(r);
    job_unref(j);
}

static void drained(struct loop *l, void *arg)
{
    (void)l;
    struct run *r = arg;
    r->timer = NULL;
    conclude(r);
}

static void on_process_end(struct loop *l, int fd, uint32_t events, void *arg)
{
    (void)fd, (void)events;
    struct run *r = arg;
    if (waitid(P_PIDFD, (id_t)r->pidfd, &r->how, WEXITED | WNOHANG) || r->how.si_pid == 0) return;
    r->exited = true;
    kill(-r->pid, SIGKILL); /* what it may have left of its process group */
    loop_del(l, r->pidfd);
    close(r->pidfd);
    r->pidfd = -1;
    loop_cancel(l, r->timer);
    r->timer = NULL;
    if (r->closed)
        conclude(r);
    else
        r->timer = loop_after(l, DRAIN_MS, drained, r);
}

static void on_closed(void *arg, struct site_pipe *p)
{
    (void)p;
    struct run *r = arg;
    r->closed = true;
    /* Not from inside the pipe's callback: concluding frees the pipe. */
    if (!r->exited) return;
    loop_cancel(r->t->job->site->loop, r->timer);
    r->timer = loop_after(r->t->job->site->loop, 0, drained, r);
}

/* ---- what a task says ---- */

static int64_t number(const json_t *body, const char *key)
{
    return json_integer_value(json_object_get(body, key));
}

static const char *text(const json_t *body, const char *key)
{
    const char *s = json_string_value(json_object_get(body, key));
    return s ? s : "";
}

static void on_progress(struct job_task *t, const json_t *body)
{
    int64_t now = (int64_t)clock_ms();
    if (strcmp(t->row.unit, text(body, "unit")) != 0) t->row.unit = job_text(t->job, text(body, "unit"));
    t->row.done = number(body, "done"), t->row.all = number(body, "all");
    t->row.sent = number(body, "sent"), t->row.received = number(body, "received");
    job_changed(t->job);
    if (t->job->row.driving || now - t->pushed_ms < PUSH_MS) return;
    t->pushed_ms = now;
    run_push(t);
}

static status keep_record(struct ctx *cx, struct job_task *t, const char *kind, const json_t *body)
{
    struct jobdb *db = t->job->site->db;
    if (strcmp(kind, "metric") == 0) {
        struct metric_row m = {.name_space = text(body, "namespace"), .name = text(body, "name")};
        TRY(js_text(cx, json_object_get(body, "meta"), &m.meta));
        TRY(js_text(cx, json_object_get(body, "points"), &m.points));
        return jobdb_add_metric(cx, db, &t->row, &m);
    }
    if (strcmp(kind, "summary") == 0) {
        struct task_row row = t->row;
        TRY(js_text(cx, body, &row.summary));
        if (strlen(row.summary) < SUMMARY_SHOWN) t->row.summary = arena_strdup(t->job->mem, row.summary);
        if (!t->row.summary) t->row.summary = "";
        return jobdb_set_summary(cx, db, &row);
    }
    struct output_row o = {.position = number(body, "position"),
                           .name = text(body, "name"),
                           .path = text(body, "path"),
                           .n_rows = number(body, "rows"),
                           .n_cols = number(body, "cols")};
    return jobdb_add_output(cx, db, &t->row, &o);
}

static void on_event(void *arg, struct site_pipe *p, const char *kind, const json_t *body)
{
    (void)p;
    struct run *r = arg;
    struct job_task *t = r->t;
    if (run_is_old(t)) return;
    if (strcmp(kind, "progress") == 0) {
        if (!run_ended(t->row.status)) on_progress(t, body);
    } else if (strcmp(kind, "done") == 0) {
        r->done = true;
        t->row.sent = number(body, "sent"), t->row.received = number(body, "received");
    } else if (strcmp(kind, "error") == 0) {
        r->failed = true;
        r->error = job_text(t->job, text(body, "message"));
        r->curable = run_curable(text(body, "code"));
        t->row.sent = number(body, "sent"), t->row.received = number(body, "received");
    } else if (strcmp(kind, "metric") == 0 || strcmp(kind, "summary") == 0 || strcmp(kind, "output") == 0) {
        struct arena *mem = arena_new(REQUEST_MEM);
        struct ctx cx = {.mem = mem, .log = t->job->site->cx->log};
        if (!mem || keep_record(&cx, t, kind, body).code) {
            log_error(&cx, "record of a task not stored", KV("task", t->name), KV("kind", kind),
                      KV("error", cx.err.msg));
            if (!r->lost) r->lost = job_text(t->job, cx.err.msg[0] ? cx.err.msg : "out of memory");
        }
        arena_free(mem);
    }
}

/* ---- start ---- */

static status open_log(struct ctx *cx, struct job_task *t, int *out)
{
    const char *dir = task_dir(cx, t), *file = arena_printf(cx->mem, "%s/task.log", dir);
    TRY(dir_make(cx, dir, 0700));
    *out = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *out >= 0 ? OK : FAIL(cx, IO, "open %s: %m", file);
}

static int spawn(int sock, int log_fd, pid_t *pid)
{
    char parent[24];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    char name[] = "norn", what[] = "task";
    char *argv[] = {name, what, parent, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&at);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, log_fd, 1);
    posix_spawn_file_actions_adddup2(&fa, log_fd, 2);
    posix_spawn_file_actions_adddup2(&fa, sock, TASK_FD);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&at, 0);
    posix_spawnattr_setsigmask(&at, &none);
    posix_spawnattr_setsigdefault(&at, &all);
    int rc = posix_spawn(pid, "/proc/self/exe", &fa, &at, argv, environ);
    posix_spawnattr_destroy(&at);
    posix_spawn_file_actions_destroy(&fa);
    return rc;
}

/* Messages that came before the task did. */
static void resume(struct job_task *t)
{
    const struct plan *p = &t->job->plan;
    for (size_t i = 0; i < p->conf.n_parties; i++) {
        struct stream_key k = {.from = p->conf.parties[i], .to = t->row.party};
        if (party_same(k.from, k.to)) continue;
        snprintf(k.job, sizeof k.job, "%s", t->row.job);
        snprintf(k.task, sizeof k.task, "%s", t->name);
        node_resume(t->job->site->node, &k);
    }
}

static void describe(void *arg, char *out, size_t size)
{
    struct run *r = arg;
    struct arena *mem = arena_new(1 << 20);
    struct ctx cx = {.mem = mem};
    if (mem) snprintf(out, size, "%s", why_last_line(&cx, r->t));
    arena_free(mem);
}

static status attach(struct ctx *cx, struct run *r, int fd, const json_t *spec)
{
    struct job_task *t = r->t;
    struct site *s = t->job->site;
    struct stream_key me = {.from = t->row.party, .to = t->row.party};
    struct site_pipe_events ev = {
        .arg = r, .on_event = on_event, .on_closed = on_closed, .describe = describe};
    snprintf(me.job, sizeof me.job, "%s", t->row.job);
    snprintf(me.task, sizeof me.task, "%s", t->name);
    TRY(site_pipe_new(cx, s->loop, s->node, fd, spec, &me, &ev, &r->pipe));
    return loop_add(cx, s->loop, r->pidfd, EPOLLIN, on_process_end, r);
}

status run_start(struct ctx *cx, struct job_task *t)
{
    struct job *j = t->job;
    int sv[2];
    CLEANUP(fd_closep) int log_fd = -1;
    CLEANUP(json_decrefp) json_t *spec = NULL;
    const char *out_dir = arena_printf(cx->mem, "%s/out.%" PRId64, task_dir(cx, t), t->row.attempt);
    struct run *r = NEW(&j->cx, struct run, 1);
    if (!out_dir || !r) return FAIL(cx, NOMEM, "a task");
    t->start_when_gone = t->run != NULL;
    if (t->run) return OK;
    TRY(open_log(cx, t, &log_fd));
    TRY(dir_remove(cx, out_dir));
    TRY(dir_make(cx, out_dir, 0700));
    TRY(dir_make(cx, run_checkpoint_dir(cx, t), 0700));
    TRY(make_spec(cx, t, out_dir, &spec));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv)) return FAIL(cx, IO, "socketpair: %m");
    *r = (struct run){.t = t, .attempt = t->row.attempt, .pidfd = -1};
    snprintf(r->name, sizeof r->name, "%s", t->name);
    int rc = spawn(sv[1], log_fd, &r->pid);
    close(sv[1]);
    if (rc) {
        close(sv[0]);
        errno = rc;
        return FAIL(cx, IO, "start a task process: %m");
    }
    job_ref(j);
    t->run = r;
    t->row.pid = r->pid;
    r->pidfd = pidfd_open(r->pid, 0);
    status st = r->pidfd < 0 ? FAIL(cx, IO, "pidfd_open: %m") : attach(cx, r, sv[0], spec);
    if (r->pidfd < 0) close(sv[0]);
    if (st.code) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
        run_free(r);
        return st;
    }
    task_set(t, RUN_RUNNING, "");
    resume(t);
    return OK;
}

/* ---- stop ---- */

static void kill_it(struct loop *l, void *arg)
{
    (void)l;
    struct run *r = arg;
    r->timer = NULL;
    if (!r->exited) kill(-r->pid, SIGKILL);
}

void run_stop(struct job_task *t, const struct job_task *failed, const char *why)
{
    struct run *r = t->run;
    struct loop *l = t->job->site->loop;
    if (!r || r->exited) return;
    if (failed)
        site_pipe_peer_failed(r->pipe, failed->row.party, why);
    else
        site_pipe_cancel(r->pipe);
    if (!r->timer) r->timer = loop_after(l, GRACE_MS, kill_it, r);
}

void jobs_kill(struct site *s)
{
    for (struct job *j = s->jobs, *next; j; j = next) {
        next = j->next;
        job_ref(j);
        for (size_t i = 0; i < j->n_tasks; i++) {
            struct run *r = j->tasks[i].run;
            j->tasks[i].start_when_gone = false;
            if (!r) continue;
            if (!r->exited) {
                kill(-r->pid, SIGKILL);
                waitpid(r->pid, NULL, 0);
            }
            run_free(r);
        }
        job_unref(j);
    }
}

void run_wait(const struct job_task *t, struct task_wait *out)
{
    site_pipe_wait(t->run->pipe, out);
}

/* ---- messages ---- */

static struct job_task *task_of_stream(struct site *s, const struct stream_key *k, struct party who,
                                       bool *open)
{
    struct job *j = job_find(s, k->job);
    *open = j != NULL;
    for (size_t i = 0; j && i < j->n_tasks; i++)
        if (j->tasks[i].row.local && party_same(j->tasks[i].row.party, who) &&
            strcmp(j->tasks[i].name, k->task) == 0)
            return &j->tasks[i];
    return NULL;
}

bool run_deliver(struct site *s, const struct message *m)
{
    bool open;
    struct job_task *t = task_of_stream(s, &m->stream, m->stream.to, &open);
    if (t && t->run && !run_is_old(t)) return site_pipe_deliver(t->run->pipe, m);
    /* Kept for a task still to come; dropped when its job or the task is over. */
    return !(open && t && !run_ended(t->row.status));
}

bool run_expects(struct site *s, const struct stream_key *k)
{
    bool open;
    struct job_task *t = task_of_stream(s, k, k->to, &open);
    return t && !run_ended(t->row.status) && conf_index(&t->job->plan.conf, k->from) != SIZE_MAX;
}

void run_room(struct site *s, const struct stream_key *k)
{
    bool open;
    struct job_task *t = task_of_stream(s, k, k->from, &open);
    if (t && t->run && !run_is_old(t)) site_pipe_room(t->run->pipe, k);
}
