#include "flow/taskproc.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/pool.h"
#include "base/secret.h"
#include "fed/component.h"
#include "flow/conf.h"
#include "flow/testseed.h"
#include "net/pipe.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROGRESS_MS 50 /* at least, between two records of progress */

/* ---- the channel, counted ---- */

struct counted {
    struct channel *ch;
    struct channel mine;
    uint64_t sent, received;
};

static status counted_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p,
                           size_t n)
{
    struct counted *c = self;
    TRY(channel_send(cx, c->ch, to, tag, p, n));
    c->sent += n;
    return OK;
}

static status counted_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    struct counted *c = self;
    TRY(channel_recv(cx, c->ch, from, tag, out));
    c->received += out->n;
    return OK;
}

static uint64_t counted_bytes_sent(void *self, struct party to)
{
    struct counted *c = self;
    return c->ch->ops->bytes_sent(c->ch->self, to);
}

static const struct channel_ops counted_ops = {counted_send, counted_recv, counted_bytes_sent};

/* ---- the tracker ---- */

struct tracker {
    struct ctx *cx;
    struct task_pipe *pipe;
    const struct counted *bytes;
    uint64_t last_ms;
};

static status track_metric(struct ctx *cx, void *self, const char *ns, const char *name, const json_t *meta,
                           const json_t *points)
{
    struct tracker *k = self;
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:s,s:s,s:O,s:O}", "namespace", ns, "name", name, "meta", meta, "points", points);
    if (!j) return FAIL(cx, NOMEM, "metric %s", name);
    return task_pipe_event(cx, k->pipe, "metric", j);
}

static status track_summary(struct ctx *cx, void *self, const json_t *summary)
{
    return task_pipe_event(cx, ((struct tracker *)self)->pipe, "summary", summary);
}

static void track_progress(void *self, const char *unit, uint64_t done, uint64_t all)
{
    struct tracker *k = self;
    uint64_t now = clock_ms();
    if (done < all && now - k->last_ms < PROGRESS_MS) return;
    k->last_ms = now;
    struct ctx cx = {.mem = k->cx->mem}; /* what goes wrong here shows at the next message */
    CLEANUP(json_decrefp)
    json_t *j =
        json_pack("{s:s,s:I,s:I,s:I,s:I}", "unit", unit, "done", (json_int_t)done, "all", (json_int_t)all,
                  "sent", (json_int_t)k->bytes->sent, "received", (json_int_t)k->bytes->received);
    if (j) (void)task_pipe_event(&cx, k->pipe, "progress", j).code;
}

static const struct tracker_ops tracker_ops = {track_metric, track_summary, track_progress};

/* ---- from the spec to a struct task ---- */

struct proc {
    struct ctx *cx;
    json_t *spec;
    struct task_pipe *pipe;
    struct tracker tracker;
    struct counted counted;
    struct task task;
    const char *name; /* "hetero_lr_0.0" */
    int64_t deadline_ms, threads, memory;
};

static status parse_party(struct ctx *cx, const json_t *j, struct party *out)
{
    const char *role = json_string_value(json_array_get(j, 0));
    if (!role || !role_parse(role, &out->role) || !conf_party_id(json_array_get(j, 1), &out->id))
        return FAIL(cx, PROTO, "task description: bad party");
    return OK;
}

static status parse_spec(struct ctx *cx, struct proc *p)
{
    struct task *t = &p->task;
    const char *module, *role;
    json_t *parties, *names;
    int64_t id, seed;
    TRY(js_get_str(cx, p->spec, "job", &t->job));
    TRY(js_get_str(cx, p->spec, "instance", &t->instance));
    TRY(js_get_str(cx, p->spec, "task", &p->name));
    TRY(js_get_str(cx, p->spec, "module", &module));
    TRY(js_get_str(cx, p->spec, "role", &role));
    TRY(js_get_str(cx, p->spec, "out_dir", &t->out_dir));
    TRY(js_get_str(cx, p->spec, "checkpoint_dir", &t->checkpoint_dir));
    TRY(js_get_i64(cx, p->spec, "party", &id));
    TRY(js_get_i64(cx, p->spec, "seed", &seed));
    TRY(js_get_i64(cx, p->spec, "deadline_ms", &p->deadline_ms));
    TRY(js_get_i64(cx, p->spec, "threads", &p->threads));
    TRY(js_get_i64(cx, p->spec, "memory", &p->memory));
    TRY(js_get_obj(cx, p->spec, "params", &t->params));
    TRY(js_get_arr(cx, p->spec, "parties", &parties));
    TRY(js_get_arr(cx, p->spec, "out_names", &names));
    t->component = component_find(module);
    if (!t->component || !role_parse(role, &t->me.role) || !t->component->run[t->me.role])
        return FAIL(cx, PROTO, "task description: nothing runs %s as %s", module, role);
    t->me.id = (uint32_t)id;
    t->seed = (uint64_t)seed;
    t->n_parties = json_array_size(parties);
    if (t->n_parties > TASK_PARTIES_MAX) return FAIL(cx, LIMIT, "%zu parties", t->n_parties);
    for (size_t i = 0; i < t->n_parties; i++)
        TRY(parse_party(cx, json_array_get(parties, i), &t->parties[i]));
    const char **list = NEW(cx, const char *, json_array_size(names) + 1);
    if (!list) return FAIL(cx, NOMEM, "a task");
    for (size_t i = 0; i < json_array_size(names); i++)
        list[i] = json_string_value(json_array_get(names, i));
    t->out_data_names = list;
    return OK;
}

static status open_inputs(struct ctx *cx, struct proc *p)
{
    json_t *list;
    TRY(js_get_arr(cx, p->spec, "inputs", &list));
    struct task_input *in = NEW(cx, struct task_input, json_array_size(list) + 1);
    if (!in) return FAIL(cx, NOMEM, "inputs");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *j = json_array_get(list, i);
        const char *path;
        TRY(js_get_str(cx, j, "key", &in[i].key));
        TRY(js_get_str(cx, j, "from", &in[i].from));
        TRY(js_get_str(cx, j, "component", &in[i].component));
        TRY(js_get_str(cx, j, "path", &path));
        TRY_IN(cx, table_open(cx, path, &in[i].table), "input %s from %s", in[i].key, in[i].from);
    }
    p->task.inputs = in;
    p->task.n_inputs = json_array_size(list);
    return OK;
}

static status open_models(struct ctx *cx, struct proc *p)
{
    json_t *list;
    const char *dir;
    TRY(js_get_arr(cx, p->spec, "models", &list));
    TRY(js_get_str(cx, p->spec, "models_dir", &dir));
    struct model_part *m = NEW(cx, struct model_part, json_array_size(list) + 1);
    if (!m) return FAIL(cx, NOMEM, "models");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *j = json_array_get(list, i);
        struct model_key key = {.role = role_name(p->task.me.role), .party = p->task.me.id};
        const char *component;
        TRY(js_get_str(cx, j, "component", &component));
        TRY(js_get_str(cx, j, "model_id", &key.model_id));
        TRY(js_get_str(cx, j, "version", &key.version));
        TRY_IN(cx, model_load_part(cx, dir, &key, component, &m[p->task.n_models], NULL), "input model of %s",
               component);
        p->task.n_models++;
    }
    p->task.models = m;
    return OK;
}

static status seed_for_tests(struct ctx *cx, const struct task *t)
{
    uint64_t n;
    bool given;
    TRY(test_seed(cx, &given, &n));
    return given ? rand_seed_for_tests(cx, test_seed_of(n, t->instance, role_name(t->me.role), t->me.id))
                 : OK;
}

/* ---- what came of it ---- */

static status tell_outputs(struct ctx *cx, struct proc *p)
{
    const struct task *t = &p->task;
    for (size_t i = 0; t->out_data_names[i]; i++) {
        const char *path;
        const struct table *table;
        TRY(task_output_path(cx, t, i, &path));
        if (!file_exists(path)) continue;
        TRY_IN(cx, table_open(cx, path, &table), "output %s", t->out_data_names[i]);
        CLEANUP(json_decrefp)
        json_t *j =
            json_pack("{s:I,s:s,s:s,s:I,s:I}", "position", (json_int_t)i, "name", t->out_data_names[i],
                      "path", path, "rows", (json_int_t)table->n_rows, "cols", (json_int_t)table->n_cols);
        if (!j) return FAIL(cx, NOMEM, "an output");
        TRY(task_pipe_event(cx, p->pipe, "output", j));
    }
    return OK;
}

/* run_parameters.json as FATE keeps it. */
static json_t *run_parameters(const struct proc *p)
{
    const struct task *t = &p->task;
    json_t *roles = json_object();
    for (size_t i = 0; i < t->n_parties; i++) {
        const char *role = role_name(t->parties[i].role);
        if (!json_object_get(roles, role)) json_object_set_new(roles, role, json_array());
        json_array_append_new(json_object_get(roles, role), json_integer(t->parties[i].id));
    }
    json_t *job = json_object_get(p->spec, "job_parameters");
    return json_pack("{s:i,s:O*,s:o,s:O*,s:{s:s,s:I},s:s,s:s,s:O,s:s}", "dsl_version", 2, "initiator",
                     json_object_get(p->spec, "initiator"), "role", roles, "job_parameters", job, "local",
                     "role", role_name(t->me.role), "party_id", (json_int_t)t->me.id, "module",
                     t->component->module, "CodePath", t->component->module, "ComponentParam", t->params,
                     "ComponentParameterSource", t->instance);
}

/* Two tasks of a job at one party may end at once, and a model folder's index is read, changed and written.
 */
static status save_model(struct ctx *cx, struct proc *p)
{
    struct task *t = &p->task;
    const char *lock, *dir, *alias = json_string_value(json_object_get(p->spec, "out_model"));
    struct model_key key = {.role = role_name(t->me.role), .party = t->me.id, .version = t->job};
    if (!t->model_out || !alias) return OK;
    TRY(js_get_str(cx, p->spec, "model_lock", &lock));
    TRY(js_get_str(cx, p->spec, "models_dir", &dir));
    TRY(js_get_str(cx, p->spec, "model_id", &key.model_id));
    CLEANUP(fd_closep) int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX)) return FAIL(cx, IO, "lock %s: %m", lock);
    struct model_part part = *t->model_out;
    part.component = t->instance, part.alias = alias, part.module = t->component->module;
    CLEANUP(json_decrefp) json_t *run = run_parameters(p);
    return model_save_part(cx, dir, &key, &part, run);
}

static status run_component(struct ctx *cx, struct proc *p)
{
    struct task *t = &p->task;
    TRY(open_inputs(cx, p));
    TRY(open_models(cx, p));
    TRY(seed_for_tests(cx, t));
    TRY(t->component->run[t->me.role](cx, t));
    TRY(tell_outputs(cx, p));
    TRY(save_model(cx, p));
    return OK;
}

/* The last record: done, or the error with its message. */
static status tell_outcome(struct ctx *cx, const struct proc *p, const struct err *failed)
{
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:I,s:I}", "sent", (json_int_t)p->counted.sent, "received",
                          (json_int_t)p->counted.received);
    if (!failed) return task_pipe_event(cx, p->pipe, "done", j);
    json_t *message = json_string(failed->msg);
    json_object_set_new(j, "code", json_string(err_name(failed->code)));
    json_object_set_new(j, "message", message ? message : json_string("(a message that is not UTF-8)"));
    return task_pipe_event(cx, p->pipe, "error", j);
}

/* ---- the process ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

/* Stacks and libraries take their part; what the arena refuses first is named better. Sanitizers map shadow
 * memory as big as they like. */
static void limit_process(const struct proc *p)
{
    rlim_t bytes = (rlim_t)p->memory + (512u << 20);
    struct rlimit data = {.rlim_cur = bytes, .rlim_max = bytes};
    if (!SANITIZED) setrlimit(RLIMIT_DATA, &data);
}

static int64_t default_memory(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4 * 3;
}

static status serve(struct ctx *cx, struct proc *p)
{
    TRY(parse_spec(cx, p));
    if (p->memory == 0) p->memory = default_memory();
    limit_process(p);
    CLEANUP(log_freep)
    struct log *log = log_new(2, (enum log_level)json_integer_value(json_object_get(p->spec, "log_level")));
    char party[32];
    snprintf(party, sizeof party, "%u", p->task.me.id);
    if (!log || !log_bind(log, "job", p->task.job) || !log_bind(log, "task", p->name) ||
        !log_bind(log, "role", role_name(p->task.me.role)) || !log_bind(log, "party", party))
        return FAIL(cx, NOMEM, "a log");
    CLEANUP(pool_freep) struct pool *pool = pool_new((unsigned)p->threads);
    struct arena *mem = arena_new((size_t)p->memory);
    if (!mem || !pool) return FAIL(cx, NOMEM, "threads and memory of a task");
    struct ctx run = {.mem = mem, .pool = pool, .log = log, .cancel = task_pipe_cancelled(p->pipe)};
    task_pipe_identify(p->pipe, p->task.job, p->name, p->task.me, (uint64_t)p->deadline_ms);
    p->tracker = (struct tracker){.cx = &run, .pipe = p->pipe, .bytes = &p->counted};
    p->counted = (struct counted){.ch = task_pipe_channel(p->pipe)};
    p->counted.mine = (struct channel){&counted_ops, &p->counted};
    p->task.channel = &p->counted.mine;
    p->task.tracker = &tracker_ops, p->task.tracker_self = &p->tracker;
    log_info(&run, "task starts", KV("module", p->task.component->module));
    struct err failed = {0};
    if (run_component(&run, p).code) {
        failed = run.err;
        log_error(&run, "task failed", KV("code", err_name(failed.code)),
                  KV("error", (const char *)failed.msg));
    } else {
        log_info(&run, "task done", KV("sent", p->counted.sent), KV("received", p->counted.received));
    }
    struct ctx tell = {.mem = cx->mem}; /* the outcome is told even when the task was cancelled */
    if (tell_outcome(&tell, p, failed.code ? &failed : NULL).code) cx->err = tell.err;
    arena_free(mem);
    return (status){tell.err.code};
}

int taskproc_main(int fd, int parent)
{
    struct rlimit no_core = {0, 0};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) return 1; /* the site is gone already */
    setrlimit(RLIMIT_CORE, &no_core);
    sigaction(SIGPIPE, &ignore, NULL);
    struct arena *mem = arena_new(64u << 20);
    struct ctx cx = {.mem = mem};
    struct proc p = {.cx = &cx};
    if (!mem) return 1;
    status st = task_pipe_open(&cx, fd, &p.pipe);
    if (!st.code) st = task_pipe_start(&cx, p.pipe, &p.spec);
    if (!st.code) st = serve(&cx, &p);
    if (st.code) dprintf(2, "task: %s\n", cx.err.msg);
    task_pipe_free(p.pipe);
    json_decref(p.spec);
    arena_free(mem);
    return st.code ? 1 : 0;
}
