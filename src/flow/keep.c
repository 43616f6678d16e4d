/* keep.c - housekeeping: at every keep_interval, and soon after a job has ended, the site removes what its settings do not
 * keep and what failed tasks left, measures its folder, and stores again what a full disk did not take.
 *
 * What goes is decided on the loop, and its records go first; the files go, and are counted, on a thread of the round's
 * own. A process that is killed in between leaves files that no record names: the sweep at the next start takes them. */
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "flow/site_int.h"
#include "net/streams.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BATCH     200  /* jobs of one kind in one round */
#define SOON_MS   2000 /* from a job's end to the round after it */
#define SAVE_MS   2000
#define QUEUE_MEM (16u << 20)
#define NEVER     INT64_MAX

struct removal {
    struct removal *next;
    enum jobdb_kept what;
    bool whole; /* path is what goes; else it is a job's folder */
    const char *path;
};
struct waiter {
    struct waiter *next;
    void (*fn)(struct request *rq, status st, const struct disk_use *use);
    struct request *rq;
};
struct keep {
    struct site *site;
    struct loop_timer *timer, *save_timer;
    uint64_t due_ms;
    struct arena *queue_mem; /* of the removals that wait for the next round */
    struct removal *queue;
    struct waiter *waiters;
    struct disk_use use; /* as last measured */
    int64_t measured_ms; /* 0: not yet */
    struct keep_counts counts;
    /* the round under way: the thread's, until it has posted */
    bool busy;
    pthread_t thread;
    atomic_bool stop;
    struct ctx cx;
    struct removal *work;
    struct disk_use seen;
    status measured;
};

static void round_begin(struct keep *k);

/* ---- the thread ---- */

/* Every component's folder of a job: <job>/<role>_<party>/<component>. */
static status remove_in_job(struct ctx *cx, const char *job, enum jobdb_kept what)
{
    const char **parties, **components, **files;
    size_t n, m, k;
    if (!file_exists(job)) return OK;
    TRY(dir_list(cx, job, &parties, &n));
    for (size_t i = 0; i < n; i++) {
        const char *party = arena_printf(cx->mem, "%s/%s", job, parties[i]);
        if (dir_list(cx, party, &components, &m).code) continue; /* a file */
        for (size_t c = 0; c < m; c++) {
            const char *dir = arena_printf(cx->mem, "%s/%s", party, components[c]);
            if (dir_list(cx, dir, &files, &k).code) continue;
            for (size_t f = 0; f < k; f++) {
                bool goes =
                    what == KEPT_LOGS ? strcmp(files[f], "task.log") == 0 : strncmp(files[f], "out.", 4) == 0;
                if (goes) TRY(dir_remove(cx, arena_printf(cx->mem, "%s/%s", dir, files[f])));
            }
        }
    }
    return OK;
}

static void round_done(struct loop *l, void *arg);

static void *work(void *arg)
{
    struct keep *k = arg;
    struct ctx *cx = &k->cx;
    for (const struct removal *r = k->work; r && !atomic_load(&k->stop); r = r->next) {
        struct arena_mark mark = arena_mark(cx->mem);
        status st = r->whole ? dir_remove(cx, r->path) : remove_in_job(cx, r->path, r->what);
        if (st.code) log_warn(cx, "files not removed", KV("error", (const char *)cx->err.msg));
        arena_rewind(cx->mem, mark);
    }
    k->measured = disk_measure(cx, k->site->dir, &k->stop, &k->seen);
    if (!loop_post(k->site->loop, round_done, k))
        atomic_store(&k->stop, true); /* no more rounds: no memory */
    return NULL;
}

/* ---- one round, on the loop ---- */

static bool queue_put(struct keep *k, bool whole, enum jobdb_kept what, const char *path)
{
    if (!k->queue_mem) k->queue_mem = arena_new(QUEUE_MEM);
    struct ctx cx = {.mem = k->queue_mem};
    struct removal *r = k->queue_mem ? NEW(&cx, struct removal, 1) : NULL;
    const char *copy = r ? arena_strdup(cx.mem, path) : NULL;
    if (!copy) return false; /* the sweep at the next start takes it */
    *r = (struct removal){k->queue, what, whole, copy};
    k->queue = r;
    return true;
}

void keep_remove(struct site *s, const char *path)
{
    if (!s->keep || !path) return;
    if (!queue_put(s->keep, true, KEPT_JOBS, path))
        log_warn(s->cx, "out of memory: files wait for the next start");
    keep_soon(s);
}

static void forget(struct ctx *cx, struct keep *k, enum jobdb_kept what, uint64_t age_ms, uint64_t newest)
{
    struct site *s = k->site;
    const char **jobs;
    size_t n = 0, gone = 0;
    if (!age_ms && !newest) return;
    int64_t now = wall_ms(), before = age_ms && age_ms < (uint64_t)now ? now - (int64_t)age_ms : 0;
    status st = jobdb_old(cx, s->db, what, before, newest ? (int64_t)newest : -1, BATCH, &jobs, &n);
    for (size_t i = 0; i < n && !st.code; i++) {
        if (job_find(s, jobs[i]) || !job_id_ok(jobs[i])) continue;
        st = jobdb_drop(cx, s->db, what, jobs[i]);
        if (st.code) break;
        queue_put(k, what == KEPT_JOBS, what, arena_printf(cx->mem, "%s/jobs/%s", s->dir, jobs[i]));
        gone++;
    }
    k->counts.removed[what] += gone;
    if (st.code) log_error(cx, "old jobs not removed", KV("error", (const char *)cx->err.msg));
    if (gone) log_info(cx, "old jobs removed", KV("what", keep_name(what)), KV("jobs", gone));
}

const char *keep_name(enum jobdb_kept what)
{
    return what == KEPT_JOBS ? "jobs" : what == KEPT_OUTPUTS ? "outputs" : "logs";
}

/* Whoever ends a job or a task reclaims its streams; what is found here was forgotten. */
static bool stream_lives(struct site *s, const char *id)
{
    for (const struct job *j = s->jobs; j; j = j->next)
        if (strcmp(j->row.job, id) == 0) return true; /* an ended one has processes that end */
    return false;
}

static void reclaim_streams(struct ctx *cx, struct keep *k)
{
    struct site *s = k->site;
    size_t n = node_streams(s->node, NULL, 0);
    struct stream_state *all = n ? NEW(cx, struct stream_state, n) : NULL;
    if (!all) return;
    n = node_streams(s->node, all, n);
    for (size_t i = 0; i < n; i++) {
        if (stream_lives(s, all[i].key.job)) continue;
        log_warn(cx, "stream of no job reclaimed", KV("job", (const char *)all[i].key.job),
                 KV("task", (const char *)all[i].key.task));
        node_reclaim(s->node, all[i].key.job, NULL);
        k->counts.streams++;
    }
}

static void tick(struct loop *l, void *arg)
{
    (void)l;
    struct keep *k = arg;
    k->timer = NULL;
    round_begin(k);
}

static void plan_next(struct keep *k, uint64_t ms)
{
    uint64_t due = clock_ms() + ms;
    if (k->timer && k->due_ms <= due) return;
    loop_cancel(k->site->loop, k->timer);
    k->timer = loop_after(k->site->loop, ms, tick, k);
    k->due_ms = due;
}

static void answer_waiters(struct keep *k, status st, const struct err *err)
{
    while (k->waiters) {
        struct waiter *w = k->waiters;
        k->waiters = w->next;
        if (st.code) w->rq->cx.err = *err;
        w->fn(w->rq, st, &k->use);
    }
}

static void round_done(struct loop *l, void *arg)
{
    (void)l;
    struct keep *k = arg;
    pthread_join(k->thread, NULL);
    k->busy = false;
    if (!k->measured.code) {
        k->use = k->seen;
        k->measured_ms = wall_ms();
    } else {
        log_warn(k->site->cx, "folder not measured", KV("error", (const char *)k->cx.err.msg));
    }
    struct err err = k->cx.err;
    arena_free(k->cx.mem);
    k->cx = (struct ctx){0};
    plan_next(k, k->queue ? 0 : k->site->set->keep_interval_ms);
    answer_waiters(k, k->measured, &err);
}

static status start_thread(struct keep *k)
{
    struct site *s = k->site;
    k->cx = (struct ctx){.mem = k->queue_mem ? k->queue_mem : arena_new(QUEUE_MEM), .log = s->cx->log};
    if (!k->cx.mem) return FAIL(s->cx, NOMEM, "housekeeping");
    k->work = k->queue;
    k->queue = NULL, k->queue_mem = NULL;
    int rc = pthread_create(&k->thread, NULL, work, k);
    if (rc) return FAIL(s->cx, NOMEM, "housekeeping: no thread: %s", strerror(rc));
    k->busy = true;
    return OK;
}

static void round_begin(struct keep *k)
{
    struct site *s = k->site;
    const struct settings *set = s->set;
    struct arena *mem = arena_new(QUEUE_MEM);
    struct ctx cx = {.mem = mem, .log = s->cx->log};
    if (k->busy || atomic_load(&k->stop) || !mem) {
        arena_free(mem);
        if (!k->busy) plan_next(k, set->keep_interval_ms);
        return;
    }
    log_file_look(s);
    forget(&cx, k, KEPT_OUTPUTS, set->keep_outputs_ms, 0);
    forget(&cx, k, KEPT_LOGS, set->keep_logs_ms, 0);
    forget(&cx, k, KEPT_JOBS, set->keep_jobs_ms, set->keep_jobs_number);
    reclaim_streams(&cx, k);
    arena_free(mem);
    status st = start_thread(k);
    if (!st.code) return;
    log_error(s->cx, "housekeeping put off", KV("error", (const char *)s->cx->err.msg));
    arena_free(k->cx.mem);
    k->cx = (struct ctx){0};
    plan_next(k, set->keep_interval_ms);
    answer_waiters(k, st, &s->cx->err);
}

void keep_soon(struct site *s)
{
    uint64_t ms = s->set->keep_interval_ms;
    if (s->keep && !s->keep->busy) plan_next(s->keep, ms < SOON_MS ? ms : SOON_MS);
}

void keep_measure(struct request *rq, void (*fn)(struct request *rq, status st, const struct disk_use *use))
{
    struct keep *k = rq->site->keep;
    struct waiter *w = NEW(&rq->cx, struct waiter, 1);
    if (!w || !k) {
        fn(rq, FAIL(&rq->cx, NOMEM, "an answer"), NULL);
        return;
    }
    *w = (struct waiter){k->waiters, fn, rq};
    k->waiters = w;
    if (!k->busy) plan_next(k, 0);
}

const struct disk_use *keep_use(const struct site *s, int64_t *measured_ms, struct keep_counts *counts)
{
    if (measured_ms) *measured_ms = s->keep->measured_ms;
    if (counts) *counts = s->keep->counts;
    return &s->keep->use;
}

status site_room(struct ctx *cx, const struct site *s)
{
    return disk_room(cx, s->dir, s->set, s->keep ? s->keep->use.total : 0);
}

/* ---- what a full disk did not take ---- */

static void save_again(struct loop *l, void *arg)
{
    struct keep *k = arg;
    bool left = false;
    k->save_timer = NULL;
    for (struct job *j = k->site->jobs, *next; j; j = next) {
        next = j->next;
        if (!j->unsaved) continue;
        if (job_save(j).code) {
            left = true;
            continue;
        }
        log_info(k->site->cx, "job stored at last", KV("job", j->row.job));
        j->unsaved = false;
        job_unref(j);
    }
    if (left) k->save_timer = loop_after(l, SAVE_MS, save_again, k);
}

void keep_save(struct job *j)
{
    struct keep *k = j->site->keep;
    if (j->unsaved || !k) return;
    j->unsaved = true;
    job_ref(j);
    if (!k->save_timer) k->save_timer = loop_after(j->site->loop, SAVE_MS, save_again, k);
}

/* ---- begin and end ---- */

status keep_open(struct ctx *cx, struct site *s)
{
    struct keep *k = NEW(cx, struct keep, 1);
    if (!k) return FAIL(cx, NOMEM, "housekeeping");
    k->site = s;
    s->keep = k;
    TRY(disk_measure(cx, s->dir, NULL,
                     &k->use)); /* once while nothing else runs: a quota holds from the start */
    k->measured_ms = wall_ms();
    plan_next(k, s->set->keep_interval_ms < SOON_MS ? s->set->keep_interval_ms : SOON_MS);
    return k->timer ? OK : FAIL(cx, NOMEM, "housekeeping");
}

void keep_free(struct site *s)
{
    struct keep *k = s->keep;
    if (!k) return;
    atomic_store(&k->stop, true);
    if (k->busy) {
        pthread_join(k->thread, NULL);
        arena_free(k->cx.mem);
    }
    loop_cancel(s->loop, k->timer);
    loop_cancel(s->loop, k->save_timer);
    arena_free(k->queue_mem);
    s->keep = NULL;
}
