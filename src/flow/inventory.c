/* inventory.c - `norn status`: all that a site has at this moment: open jobs and their processes, streams, tables, files. */
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "flow/site_int.h"
#include "net/streams.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int64_t process_memory(int64_t pid)
{
    char path[40], buf[128];
    uint64_t pages = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/statm", pid);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : -1;
    if (n <= 0) return 0;
    buf[n] = 0;
    const char *second = strchr(buf, ' ');
    if (!second || !num_parse_u64(second + 1, strcspn(second + 1, " "), &pages)) return 0;
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static json_t *processes(const struct job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->n_tasks; i++) {
        const struct task_row *r = &j->tasks[i].row;
        if (!j->tasks[i].run) continue;
        json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:s,s:I,s:I}", "component", r->component, "role",
                                              role_name(r->party.role), "party", (json_int_t)r->party.id,
                                              "status", run_status_name(r->status), "pid", (json_int_t)r->pid,
                                              "memory", (json_int_t)process_memory(r->pid)));
    }
    return list;
}

static json_t *open_jobs(const struct site *s)
{
    json_t *list = json_array();
    for (const struct job *j = s->jobs; j; j = j->next)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:b,s:b,s:b,s:I,s:o}", "job", j->row.job, "status",
                                        run_status_name(j->row.status), "driving", (int)j->row.driving,
                                        "ending", (int)j->ended, "unsaved", (int)j->unsaved, "created_ms",
                                        (json_int_t)j->row.created_ms, "processes", processes(j)));
    return list;
}

static json_t *streams(struct ctx *cx, const struct site *s)
{
    json_t *list = json_array();
    size_t n = node_streams(s->node, NULL, 0);
    struct stream_state *all = n ? NEW(cx, struct stream_state, n) : NULL;
    n = all ? node_streams(s->node, all, n) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct stream_state *x = &all[i];
        const struct party *other = x->out ? &x->key.to : &x->key.from;
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s,s:I,s:I,s:I,s:I}", "job", x->key.job, "task",
                                              x->key.task, "out", (int)x->out, "role", role_name(other->role),
                                              "party", (json_int_t)other->id, "waiting",
                                              (json_int_t)x->messages, "waiting_bytes", (json_int_t)x->bytes,
                                              "bytes", (json_int_t)x->total));
    }
    return list;
}

static status tables(struct ctx *cx, const struct site *s, json_t **out)
{
    struct table_info *t;
    size_t n;
    uint64_t bytes = 0;
    TRY(store_list(cx, s->store, &t, &n));
    for (size_t i = 0; i < n; i++)
        bytes += t[i].bytes;
    *out = json_pack("{s:I,s:I}", "number", (json_int_t)n, "bytes", (json_int_t)bytes);
    return *out ? OK : FAIL(cx, NOMEM, "an answer");
}

static status records(struct ctx *cx, const struct site *s, json_t **out)
{
    uint64_t by[RUN_COUNT];
    TRY(jobdb_counts(cx, s->db, by));
    *out = json_object();
    for (int i = 0; i < RUN_COUNT; i++)
        if (json_object_set_new(*out, run_status_name((enum run_status)i), json_integer((json_int_t)by[i])))
            return FAIL(cx, NOMEM, "an answer");
    return OK;
}

static json_t *kept(const struct settings *set, const struct keep_counts *c)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "keep_jobs_ms", (json_int_t)set->keep_jobs_ms,
                     "keep_jobs_number", (json_int_t)set->keep_jobs_number, "keep_outputs_ms",
                     (json_int_t)set->keep_outputs_ms, "keep_logs_ms", (json_int_t)set->keep_logs_ms,
                     "jobs_removed", (json_int_t)c->removed[KEPT_JOBS], "outputs_removed",
                     (json_int_t)c->removed[KEPT_OUTPUTS], "logs_removed", (json_int_t)c->removed[KEPT_LOGS],
                     "streams_reclaimed", (json_int_t)c->streams);
}

static status inventory(struct request *rq, const struct disk_use *use, json_t **out)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    struct keep_counts counts;
    int64_t at;
    CLEANUP(json_decrefp) json_t *t = NULL;
    CLEANUP(json_decrefp) json_t *r = NULL;
    TRY(tables(cx, s, &t));
    TRY(records(cx, s, &r));
    (void)keep_use(s, &at, &counts);
    json_t *disk = disk_json(use);
    json_object_set_new(disk, "quota", json_integer((json_int_t)s->set->disk_quota));
    json_object_set_new(disk, "min_free", json_integer((json_int_t)s->set->disk_min_free));
    json_object_set_new(disk, "measured_ms", json_integer(at));
    bool room = !site_room(cx, s).code;
    json_object_set_new(disk, "refuses", json_string(room ? "" : cx->err.msg));
    *out = json_pack("{s:I,s:b,s:b,s:o,s:o,s:O,s:O,s:I,s:o*,s:o}", "party", (json_int_t)s->set->party,
                     "stopping", (int)s->stopping, "draining", (int)s->draining, "jobs", open_jobs(s),
                     "streams", streams(cx, s), "records", r, "tables", t, "notices",
                     (json_int_t)notices_waiting(s), "disk", disk, "kept", kept(s->set, &counts));
    return *out ? OK : FAIL(cx, NOMEM, "an answer");
}

static void measured(struct request *rq, status st, const struct disk_use *use)
{
    json_t *out = NULL;
    if (!st.code) st = inventory(rq, use, &out);
    request_end(rq, st, out);
}

void method_inventory(struct request *rq, const json_t *body)
{
    (void)body;
    keep_measure(rq, measured);
}
