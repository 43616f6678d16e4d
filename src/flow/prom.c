/* prom.c - the site in Prometheus' text format (exposition format 0.0.4): `norn site metrics`, GET /metrics. */
#include "base/arena.h"
#include "base/num.h"
#include "flow/site_int.h"
#include "net/streams.h"
#include <dirent.h>
#include <inttypes.h>
#include <unistd.h>

/* One family's head; its samples follow. */
static void family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP norn_%s %s\n# TYPE norn_%s %s\n", name, help, name, type);
}

static void put_value(struct buf *b, double value)
{
    char text[32];
    num_format_f64(value, text);
    buf_printf(b, "%s\n", text);
}

static void one(struct buf *b, const char *name, const char *type, const char *help, double value)
{
    family(b, name, type, help);
    buf_printf(b, "norn_%s ", name);
    put_value(b, value);
}

static double open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    double n = -1; /* the one that we read by */
    if (!d) return 0;
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void put_site(struct buf *b, const struct site *s)
{
    family(b, "site_info", "gauge", "The site and its version.");
    buf_printf(b, "norn_site_info{party=\"%u\",version=\"" NORN_VERSION "\"} 1\n", s->set->party);
    one(b, "site_start_time_seconds", "gauge", "When the process began, since 1970.",
        (double)s->started_ms / 1000);
    one(b, "site_stopping", "gauge", "1: it takes no new work because it will end.",
        s->stopping || s->draining);
    one(b, "site_memory_bytes", "gauge", "Resident memory of the site's process.",
        (double)process_memory(getpid()));
    one(b, "site_open_files", "gauge", "Descriptors of the site's process.", open_files());
    one(b, "site_notices", "gauge", "Notices that other sites have not confirmed.",
        (double)notices_waiting(s));
}

static void put_links(struct buf *b, const struct site *s)
{
    static const struct {
        const char *name, *type, *help;
    } kinds[] = {
        {"link_up", "gauge", "1: the link to the peer stands."},
        {"link_state_seconds", "gauge", "For how long it has been so."},
        {"link_sent_bytes_total", "counter", "Bytes on the wire to the peer."},
        {"link_received_bytes_total", "counter", "Bytes on the wire from the peer."},
        {"link_queued_bytes", "gauge", "Bytes of messages that the peer has not acknowledged."},
        {"link_round_trip_seconds", "gauge", "The last heartbeat's way there and back."},
    };
    struct link_state l[SETTINGS_PEERS_MAX];
    size_t n = node_links(s->node, l, SETTINGS_PEERS_MAX);
    if (n > SETTINGS_PEERS_MAX) n = SETTINGS_PEERS_MAX;
    for (size_t k = 0; k < LEN(kinds); k++) {
        family(b, kinds[k].name, kinds[k].type, kinds[k].help);
        for (size_t i = 0; i < n; i++) {
            const double value[LEN(kinds)] = {l[i].up,
                                              (double)(wall_ms() - l[i].since_ms) / 1000,
                                              (double)l[i].bytes_out,
                                              (double)l[i].bytes_in,
                                              (double)l[i].queued_bytes,
                                              l[i].round_trip_ms / 1000};
            buf_printf(b, "norn_%s{peer=\"%u\"} ", kinds[k].name, l[i].party);
            put_value(b, value[k]);
        }
    }
}

static status put_jobs(struct ctx *cx, struct buf *b, const struct site *s)
{
    uint64_t by[RUN_COUNT], tasks = 0, memory = 0, unsaved = 0;
    TRY(jobdb_counts(cx, s->db, by));
    family(b, "jobs", "gauge", "Jobs that the site has records of, by state.");
    for (int i = 0; i < RUN_COUNT; i++)
        if (i != RUN_PASS)
            buf_printf(b, "norn_jobs{status=\"%s\"} %" PRIu64 "\n", run_status_name((enum run_status)i),
                       by[i]);
    for (const struct job *j = s->jobs; j; j = j->next) {
        unsaved += j->unsaved;
        for (size_t i = 0; i < j->n_tasks; i++)
            if (j->tasks[i].run) tasks++, memory += (uint64_t)process_memory(j->tasks[i].row.pid);
    }
    one(b, "jobs_unsaved", "gauge", "Jobs whose state the database did not take; it is tried again.",
        (double)unsaved);
    one(b, "task_processes", "gauge", "Processes of tasks.", (double)tasks);
    one(b, "task_memory_bytes", "gauge", "Their resident memory.", (double)memory);
    return OK;
}

static void put_streams(struct ctx *cx, struct buf *b, const struct site *s)
{
    static const char *const way[] = {"in", "out"};
    size_t n = node_streams(s->node, NULL, 0);
    struct stream_state *all = n ? NEW(cx, struct stream_state, n) : NULL;
    uint64_t count[2] = {0}, waiting[2] = {0};
    n = all ? node_streams(s->node, all, n) : 0;
    for (size_t i = 0; i < n; i++)
        count[all[i].out]++, waiting[all[i].out] += all[i].bytes;
    family(b, "streams", "gauge", "Streams of messages between tasks.");
    for (size_t i = 0; i < 2; i++)
        buf_printf(b, "norn_streams{direction=\"%s\"} %" PRIu64 "\n", way[i], count[i]);
    family(b, "stream_waiting_bytes", "gauge", "Bytes in memory: in, for the local task; out, for the peer.");
    for (size_t i = 0; i < 2; i++)
        buf_printf(b, "norn_stream_waiting_bytes{direction=\"%s\"} %" PRIu64 "\n", way[i], waiting[i]);
}

static status put_store(struct ctx *cx, struct buf *b, const struct site *s)
{
    struct table_info *t;
    struct keep_counts counts;
    int64_t at;
    size_t n;
    const struct disk_use *u = keep_use(s, &at, &counts);
    TRY(store_list(cx, s->store, &t, &n));
    one(b, "store_tables", "gauge", "Tables in the store.", (double)n);
    family(b, "disk_bytes", "gauge", "What the site's folder holds, by kind, when last measured.");
    for (int k = 0; k < DISK_KINDS; k++)
        buf_printf(b, "norn_disk_bytes{kind=\"%s\"} %" PRIu64 "\n", disk_kind_name((enum disk_kind)k),
                   u->bytes[k]);
    one(b, "disk_free_bytes", "gauge", "Free on its file system, when last measured.", (double)u->free);
    one(b, "disk_quota_bytes", "gauge", "disk_quota; 0: none.", (double)s->set->disk_quota);
    one(b, "disk_measured_time_seconds", "gauge", "When that was, since 1970.", (double)at / 1000);
    one(b, "disk_room", "gauge", "0: no new work is taken for want of room.", !site_room(cx, s).code);
    family(b, "removed_jobs_total", "counter",
           "Old jobs whose records, outputs or logs the settings did not keep.");
    for (int k = 0; k <= KEPT_LOGS; k++)
        buf_printf(b, "norn_removed_jobs_total{what=\"%s\"} %" PRIu64 "\n", keep_name((enum jobdb_kept)k),
                   counts.removed[k]);
    one(b, "reclaimed_streams_total", "counter", "Streams that belonged to no job any more.",
        (double)counts.streams);
    return OK;
}

static status text(struct request *rq, json_t **out)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes all;
    put_site(&b, s);
    put_links(&b, s);
    TRY(put_jobs(cx, &b, s));
    put_streams(cx, &b, s);
    TRY(put_store(cx, &b, s));
    TRY(buf_ok(cx, &b));
    TRY(buf_to_arena(cx, &b, &all));
    *out = json_pack("{s:s}", "text", (const char *)all.p);
    return *out ? OK : FAIL(cx, NOMEM, "an answer");
}

void method_metrics(struct request *rq, const json_t *body)
{
    (void)body;
    json_t *out = NULL;
    status st = text(rq, &out);
    request_end(rq, st, out);
}
