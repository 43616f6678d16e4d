#include "tests/fed/fed.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/pool.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void remove_dir(void *path)
{
    struct arena *mem = arena_new(0);
    struct ctx cx = {.mem = mem};
    if (dir_remove(&cx, path).code) fprintf(stderr, "# %s\n", cx.err.msg);
    arena_free(mem);
    free(path);
}

const char *fed_dir(struct ctx *cx, const char *name)
{
    const char *tmp = getenv("TMPDIR");
    char *path = strdup(arena_printf(cx->mem, "%s/norn-%s-XXXXXX", tmp ? tmp : "/tmp", name));
    if (!mkdtemp(path) || !arena_on_free(cx->mem, remove_dir, path)) abort();
    return path;
}

const struct table *fed_table(struct ctx *cx, const char *path, size_t n, size_t n_cols, const double *x,
                              const char *prefix, const double *y, struct party who)
{
    struct column_spec spec[300];
    const void *cols[300];
    const struct table *t = NULL;
    struct table_writer *w;
    CLEANUP(buf_free) struct buf ids = {0};
    uint64_t *off = NEW(cx, uint64_t, n + 1);
    for (size_t i = 0; i < n; i++)
        buf_printf(&ids, "person-%06zu", i), off[i + 1] = ids.n;
    for (size_t j = 0; j < n_cols; j++) {
        spec[j] = (struct column_spec){
            .name = arena_printf(cx->mem, "%s%zu", prefix, j),
            .anonymous = arena_printf(cx->mem, "%s_%u_x%zu", role_name(who.role), who.id, j),
            .type = COL_F64,
            .kind = KIND_FEATURE};
        cols[j] = x + j * n;
    }
    if (y) {
        spec[n_cols] = (struct column_spec){"y", "y", COL_F64, KIND_LABEL};
        cols[n_cols] = y;
    }
    CHECK_OK(cx, table_writer_new(cx, path, "id", spec, n_cols + (y != NULL), &w));
    CHECK_OK(cx, table_writer_append(cx, w, n, off, (const char *)ids.p, cols));
    CHECK_OK(cx, table_writer_finish(cx, w, NULL));
    table_writer_free(w);
    CHECK_OK(cx, table_open(cx, path, &t));
    return t;
}

static status on_metric(struct ctx *cx, void *self, const char *ns, const char *name, const json_t *meta,
                        const json_t *points)
{
    struct fed_result *r = self;
    json_t *v = json_pack("{s:O,s:O}", "meta", meta, "points", points);
    json_object_set_new(r->metrics, arena_printf(cx->mem, "%s/%s", ns, name), v);
    return OK;
}
static status on_summary(struct ctx *cx, void *self, const json_t *s)
{
    struct fed_result *r = self;
    (void)cx;
    json_decref(r->summary);
    r->summary = json_deep_copy(s);
    return OK;
}
static void on_progress(void *self, const char *unit, uint64_t done, uint64_t all)
{
    struct fed_result *r = self;
    (void)unit;
    r->done = done, r->all = all;
}
static const struct tracker_ops tracker = {on_metric, on_summary, on_progress};

struct seat {
    struct hub *hub;
    const struct fed_arg *arg;
    const struct fed_options *o;
    struct fed_result *r;
    bool is_liar;
    struct channel *ch, mortal;
    size_t calls, dies_after;
};

/* ---- a party that is killed at one of its messages ---- */

static status alive(struct ctx *cx, struct seat *s)
{
    return s->dies_after && ++s->calls >= s->dies_after ? FAIL(cx, CANCELLED, "killed") : OK;
}
static status mortal_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p,
                          size_t n)
{
    struct seat *s = self;
    TRY(alive(cx, s));
    return channel_send(cx, s->ch, to, tag, p, n);
}
static status mortal_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    struct seat *s = self;
    TRY(alive(cx, s));
    return channel_recv(cx, s->ch, from, tag, out);
}
static uint64_t mortal_bytes(void *self, struct party to)
{
    struct seat *s = self;
    return s->ch->ops->bytes_sent(s->ch->self, to);
}
static const struct channel_ops mortal_ops = {mortal_send, mortal_recv, mortal_bytes};

static status run_seat(struct ctx *cx, struct seat *s)
{
    struct task *t = &s->r->task;
    CLEANUP(json_decrefp) json_t *given = NULL;
    if (s->arg->params) TRY(js_parse(cx, "params", s->arg->params, strlen(s->arg->params), &given));
    TRY(component_params(cx, t->component, t->instance, given, &t->params));
    TRY(task_output_path(cx, t, 0, &s->r->out_path));
    if (s->is_liar) return s->o->liar(cx, t);
    return t->component->run[t->me.role](cx, t);
}

static void *seat_main(void *arg)
{
    struct seat *s = arg;
    struct fed_result *r = s->r;
    CLEANUP(pool_freep) struct pool *pool = pool_new(s->o->threads ? s->o->threads : 1);
    r->cx = (struct ctx){.mem = r->mem, .pool = pool};
    status st = run_seat(&r->cx, s);
    r->code = st.code;
    r->msg = st.code ? arena_strdup(r->mem, r->cx.err.msg) : "";
    if (st.code) hub_fail(s->hub, r->task.me, r->msg);
    r->cx.pool = NULL;
    return NULL;
}

void fed_run(const char *module, const struct fed_arg *arg, size_t n, const struct fed_options *o,
             struct fed_result *r)
{
    static const struct fed_options none = {0};
    if (!o) o = &none;
    struct hub *hub = hub_new(o->deadline_ms ? o->deadline_ms : 60000, o->tap, o->tap_arg);
    struct seat seat[FED_MAX];
    pthread_t thread[FED_MAX];
    for (size_t i = 0; i < n; i++) {
        r[i] = (struct fed_result){.mem = arena_new(0), .metrics = json_object()};
        struct ctx cx = {.mem = r[i].mem};
        struct party me = {arg[i].role, arg[i].id};
        r[i].task = (struct task){.job = "test",
                                  .instance = "test_0",
                                  .component = component_find(module),
                                  .me = me,
                                  .n_parties = n,
                                  .channel = hub_channel(hub, me),
                                  .inputs = arg[i].input,
                                  .n_inputs = arg[i].n_inputs,
                                  .models = arg[i].model,
                                  .n_models = arg[i].model != NULL,
                                  .tracker = &tracker,
                                  .tracker_self = &r[i],
                                  .out_dir = fed_dir(&cx, "out")};
        for (size_t k = 0; k < n; k++)
            r[i].task.parties[k] = (struct party){arg[k].role, arg[k].id};
        seat[i] = (struct seat){
            .hub = hub, .arg = &arg[i], .o = o, .r = &r[i], .is_liar = o->liar && o->liar_at == i};
        seat[i].ch = r[i].task.channel, seat[i].mortal = (struct channel){&mortal_ops, &seat[i]};
        seat[i].dies_after = o->dies_at == i ? o->dies_after : 0;
        r[i].task.channel = &seat[i].mortal;
        if (o->checkpoints) {
            const char *kept = arena_printf(r[i].mem, "%s/%u", o->checkpoints, arg[i].id);
            CHECK_OK(&cx, dir_make(&cx, kept, 0700));
            r[i].task.checkpoint_dir = kept;
        }
    }
    for (size_t i = 0; i < n; i++)
        pthread_create(&thread[i], NULL, seat_main, &seat[i]);
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    for (size_t i = 0; i < n; i++)
        r[i].task.channel = NULL;
    hub_free(hub);
}

void fed_free(struct fed_result *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_decref(r[i].metrics);
        json_decref(r[i].summary);
        json_decref(r[i].task.params);
        arena_free(r[i].mem);
    }
}
