/* local.c - the queue and threads of local jobs; what they do is in local_run.c. */
#include "http/local.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "http/local_run.h"
#include "http/rows.h"
#include <string.h>
#include <unistd.h>

#define RUNNERS 2

struct queued {
    struct queued *next;
    struct arena *mem;
    struct local_work work;
    atomic_bool cancel;
};
struct local {
    struct http *http;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    struct queued *first, **last;
    struct queued *running[RUNNERS];
    bool stopping;
    struct runner {
        struct local *local;
        size_t index;
        pthread_t thread;
        bool started;
        struct worker handles;
    } runners[RUNNERS];
};

static const struct {
    const char *kind, *component, *module;
} kinds[] = {{"upload", "upload_0", "Upload"},
             {"download", "download_0", "Download"},
             {"writer", "writer_0", "Writer"}};

static size_t kind_of(const json_t *doc)
{
    const char *kind = json_string_value(json_object_get(doc, "kind"));
    for (size_t i = 0; kind && i < LEN(kinds); i++)
        if (strcmp(kind, kinds[i].kind) == 0) return i;
    return 0;
}

/* ---- as FATE's jobs ---- */

status local_dsl(struct ctx *cx, const struct doc *d, json_t **out)
{
    size_t k = kind_of(d->value);
    *out = json_pack("{s:{s:{s:s}}}", "components", kinds[k].component, "module", kinds[k].module);
    return *out ? OK : FAIL(cx, NOMEM, "a DSL");
}

status local_conf(struct ctx *cx, const struct doc *d, json_t **out)
{
    size_t k = kind_of(d->value);
    *out = json_pack("{s:i,s:{s:s,s:i},s:{s:[i]},s:{s:{s:{s:{s:O}}}}}", "dsl_version", 2, "initiator", "role",
                     "local", "party_id", 0, "role", "local", 0, "component_parameters", "role", "local", "0",
                     kinds[k].component, json_object_get(d->value, "params"));
    return *out ? OK : FAIL(cx, NOMEM, "a conf");
}

void local_task(const struct row_job *j, struct task_row *out)
{
    size_t k = kind_of(j->doc->value);
    *out = (struct task_row){.job = j->id,
                             .component = kinds[k].component,
                             .module = kinds[k].module,
                             .party = j->me,
                             .local = true,
                             .status = j->status,
                             .error = j->reason,
                             .pid = j->started_ms ? getpid() : 0,
                             .started_ms = j->started_ms,
                             .ended_ms = j->ended_ms,
                             .unit = "",
                             .summary = ""};
}

/* ---- running ---- */

static void set(json_t *doc, const char *key, json_t *v)
{
    (void)!!json_object_set_new(doc, key, v);
}

static void store_state(struct worker *w, const struct local_work *work)
{
    struct arena_mark before = arena_mark(w->cx.mem);
    if (apidb_put(&w->cx, w->db, "local", work->id, work->doc).code)
        log_error(&w->cx, "a local job's state is not stored", KV("job", work->id),
                  KV("error", w->cx.err.msg));
    arena_rewind(w->cx.mem, before);
}

static void run_one(struct runner *r, struct queued *q)
{
    struct worker *w = &r->handles;
    struct local_work *work = &q->work;
    struct ctx cx = {.mem = arena_new(0), .log = w->cx.log, .cancel = &q->cancel};
    set(work->doc, "status", json_string("running"));
    set(work->doc, "started_ms", json_integer(wall_ms()));
    store_state(w, work);
    status st = cx.mem ? local_run(&cx, w, work) : (status){ERR_NOMEM};
    enum run_status end = !st.code ? RUN_SUCCESS : atomic_load(&q->cancel) ? RUN_CANCELED : RUN_FAILED;
    set(work->doc, "status", json_string(run_status_name(end)));
    set(work->doc, "reason", json_string(st.code ? cx.err.msg : ""));
    set(work->doc, "ended_ms", json_integer(wall_ms()));
    store_state(w, work);
    log_info(&w->cx, "local job ended", KV("job", work->id), KV("status", run_status_name(end)));
    if (work->remove_file) unlink(work->file);
    if (cx.mem) arena_free(cx.mem);
}

static void queued_free(struct queued *q)
{
    json_decref(q->work.doc);
    arena_free(q->mem);
}

static void *runner_main(void *arg)
{
    struct runner *r = arg;
    struct local *l = r->local;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        struct queued *q = l->first;
        if (!q) {
            pthread_cond_wait(&l->more, &l->lock);
            continue;
        }
        l->first = q->next;
        if (!l->first) l->last = &l->first;
        l->running[r->index] = q;
        pthread_mutex_unlock(&l->lock);
        run_one(r, q);
        pthread_mutex_lock(&l->lock);
        l->running[r->index] = NULL;
        queued_free(q);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

status local_submit(struct call *c, const struct local_job *j)
{
    struct local *l = c->http->local;
    struct arena *mem = arena_new(1 << 20);
    struct ctx cx = {.mem = mem};
    struct queued *q = mem ? NEW(&cx, struct queued, 1) : NULL;
    if (!q) {
        arena_free(mem);
        return FAIL(c->cx, NOMEM, "a local job");
    }
    *q = (struct queued){.mem = mem};
    q->work = (struct local_work){.id = arena_strdup(mem, j->id),
                                  .kind = arena_strdup(mem, j->kind),
                                  .file = j->file ? arena_strdup(mem, j->file) : NULL,
                                  .remove_file = j->remove_file && j->file};
    q->work.doc =
        json_pack("{s:s,s:o,s:s,s:s,s:i,s:i,s:i}", "kind", j->kind, "params", json_deep_copy(j->params),
                  "status", "waiting", "reason", "", "progress", 0, "started_ms", 0, "ended_ms", 0);
    if (!q->work.doc || !q->work.id || !q->work.kind) {
        queued_free(q);
        return FAIL(c->cx, NOMEM, "a local job");
    }
    status st = apidb_insert(c->cx, c->w->db, "local", j->id, q->work.doc);
    if (st.code) {
        queued_free(q);
        return st;
    }
    pthread_mutex_lock(&l->lock);
    *l->last = q;
    l->last = &q->next;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    return OK;
}

bool local_cancel(struct http *h, const char *id)
{
    struct local *l = h->local;
    bool found = false;
    pthread_mutex_lock(&l->lock);
    for (struct queued *q = l->first; q; q = q->next)
        if (strcmp(q->work.id, id) == 0) atomic_store(&q->cancel, true), found = true;
    for (size_t i = 0; i < RUNNERS; i++)
        if (l->running[i] && strcmp(l->running[i]->work.id, id) == 0)
            atomic_store(&l->running[i]->cancel, true), found = true;
    pthread_mutex_unlock(&l->lock);
    return found;
}

/* ---- starting, stopping ---- */

/* What the last run of the site left: files without a job, jobs without an end. */
static status recover(struct ctx *cx, struct http *h)
{
    const char **names, *dir = arena_printf(cx->mem, "%s/store/incoming", h->dir);
    struct apidb *db = h->workers[0].db;
    struct doc *docs;
    size_t n;
    TRY(dir_make(cx, dir, 0700));
    TRY(dir_list(cx, dir, &names, &n));
    for (size_t i = 0; i < n; i++)
        unlink(arena_printf(cx->mem, "%s/%s", dir, names[i]));
    TRY(apidb_list(cx, db, "local", "", true, 0, &docs, &n));
    for (size_t i = 0; i < n; i++) {
        enum run_status st;
        const char *word = json_string_value(json_object_get(docs[i].value, "status"));
        if (word && run_status_parse(word, &st) && run_ended(st)) continue;
        set(docs[i].value, "status", json_string("failed"));
        set(docs[i].value, "reason", json_string("the site ended while it ran"));
        set(docs[i].value, "ended_ms", json_integer(wall_ms()));
        TRY(apidb_put(cx, db, "local", docs[i].key, docs[i].value));
    }
    return OK;
}

status local_start(struct ctx *cx, struct http *h)
{
    struct local *l = NEW(cx, struct local, 1);
    struct arena_mark before;
    if (!l) return FAIL(cx, NOMEM, "local jobs");
    *l = (struct local){.http = h};
    l->last = &l->first;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
    h->local = l;
    before = arena_mark(cx->mem);
    TRY(recover(cx, h));
    arena_rewind(cx->mem, before);
    for (size_t i = 0; i < RUNNERS; i++) {
        struct runner *r = &l->runners[i];
        *r = (struct runner){.local = l, .index = i, .handles = {.http = h}};
        if (worker_handles(&r->handles).code) {
            cx->err = r->handles.cx.err;
            return cx->err.code ? (status){cx->err.code} : FAIL(cx, NOMEM, "local jobs");
        }
        r->started = pthread_create(&r->thread, NULL, runner_main, r) == 0;
        if (!r->started) return FAIL(cx, IO, "a thread for local jobs: %m");
    }
    return OK;
}

void local_stop(struct http *h)
{
    struct local *l = h->local;
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    for (size_t i = 0; i < RUNNERS; i++)
        if (l->running[i]) atomic_store(&l->running[i]->cancel, true);
    pthread_cond_broadcast(&l->more);
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < RUNNERS; i++) {
        if (l->runners[i].started) pthread_join(l->runners[i].thread, NULL);
        if (l->runners[i].handles.cx.mem) arena_free(l->runners[i].handles.cx.mem);
    }
    for (struct queued *q = l->first, *next; q; q = next) { /* failed at the next start */
        next = q->next;
        queued_free(q);
    }
    pthread_cond_destroy(&l->more);
    pthread_mutex_destroy(&l->lock);
    h->local = NULL;
}
