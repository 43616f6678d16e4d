/* cmd_status.c - norn status: all that a site has now; norn site metrics: the same for Prometheus. */
#include "base/arena.h"
#include "base/loop.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/site_cmds.h"
#include "cli/sub.h"
#include "flow/disk.h"
#include <inttypes.h>
#include <stdio.h>

static void print_jobs(struct ctx *cx, const json_t *jobs)
{
    printf("open jobs: %zu\n", json_array_size(jobs));
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *j = json_array_get(jobs, i), *tasks = json_object_get(j, "processes");
        bool ending = json_is_true(json_object_get(j, "ending"));
        printf("  %-24s %s%s%s, %.0f s\n", sub_str(j, "job"), sub_str(j, "status"),
               ending ? ", its processes end" : "",
               json_is_true(json_object_get(j, "unsaved")) ? ", NOT STORED YET" : "",
               (double)(wall_ms() - sub_int(j, "created_ms")) / 1000);
        for (size_t k = 0; k < json_array_size(tasks); k++) {
            const json_t *t = json_array_get(tasks, k);
            printf("    %s at %s %" PRId64 ": process %" PRId64 ", %s\n", sub_str(t, "component"),
                   sub_str(t, "role"), sub_int(t, "party"), sub_int(t, "pid"),
                   sub_bytes(cx, sub_int(t, "memory")));
        }
    }
}

static void print_streams(struct ctx *cx, const json_t *streams)
{
    printf("streams: %zu\n", json_array_size(streams));
    for (size_t i = 0; i < json_array_size(streams); i++) {
        const json_t *s = json_array_get(streams, i);
        printf("  %s %s %s %s %" PRId64 ": %s so far, %" PRId64 " messages wait (%s)\n", sub_str(s, "job"),
               sub_str(s, "task"), json_is_true(json_object_get(s, "out")) ? "to" : "from",
               sub_str(s, "role"), sub_int(s, "party"), sub_bytes(cx, sub_int(s, "bytes")),
               sub_int(s, "waiting"), sub_bytes(cx, sub_int(s, "waiting_bytes")));
    }
}

static void print_disk(struct ctx *cx, const json_t *disk)
{
    const json_t *kinds = json_object_get(disk, "kinds");
    printf("disk: %s here, %s free", sub_bytes(cx, sub_int(disk, "total")),
           sub_bytes(cx, sub_int(disk, "free")));
    if (sub_int(disk, "quota")) printf(", quota %s", sub_bytes(cx, sub_int(disk, "quota")));
    printf("\n");
    for (int k = 0; k < DISK_KINDS; k++) {
        const json_t *one = json_object_get(kinds, disk_kind_name((enum disk_kind)k));
        printf("  %-10s %10s in %" PRId64 " files\n", disk_kind_name((enum disk_kind)k),
               sub_bytes(cx, sub_int(one, "bytes")), sub_int(one, "files"));
    }
    if (*sub_str(disk, "refuses")) printf("  %s\n", sub_str(disk, "refuses"));
}

static void print_records(const json_t *j)
{
    static const char *const kept[] = {"jobs_removed", "outputs_removed", "logs_removed",
                                       "streams_reclaimed"};
    const json_t *records = json_object_get(j, "records"), *k = json_object_get(j, "kept"), *n;
    const char *state, *space = "";
    printf("records:");
    json_object_foreach((json_t *)records, state, n)
    {
        if (!json_integer_value(n)) continue;
        printf("%s %" PRId64 " %s", space, (int64_t)json_integer_value(n), state);
        space = ",";
    }
    printf("%s\n", *space ? "" : " none");
    printf("notices waiting: %" PRId64 "; since the start:", sub_int(j, "notices"));
    for (size_t i = 0; i < LEN(kept); i++)
        printf("%s %" PRId64 " %s", i ? "," : "", sub_int(k, kept[i]), kept[i]);
    printf("\n");
}

int cmd_status(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {{"--site", ARG_TEXT, &site, "DIR", "the site's folder", true},
                               {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"status --site DIR",
                                  "All that the site has at this moment: open jobs and their processes, "
                                  "streams, tables, bytes on disk by\n"
                                  "kind, what retention has removed. Exit code 13: it does not run.",
                                  "norn status --site bank",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (client_call(cx, site, "site.inventory", NULL, &j).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    const json_t *tables = json_object_get(j, "tables");
    printf("site %" PRId64 "%s\n", sub_int(j, "party"),
           json_is_true(json_object_get(j, "draining")) ? ", drains: it takes no new jobs" : "");
    print_jobs(cx, json_object_get(j, "jobs"));
    print_streams(cx, json_object_get(j, "streams"));
    printf("tables: %" PRId64 ", %s\n", sub_int(tables, "number"), sub_bytes(cx, sub_int(tables, "bytes")));
    print_disk(cx, json_object_get(j, "disk"));
    print_records(j);
    return 0;
}

int site_metrics_cmd(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {{"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"site metrics DIR",
                                  "Links, jobs, tasks, streams, tables and disk in Prometheus' text format.",
                                  "norn site metrics bank > /var/lib/node_exporter/textfile/norn.prom",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (client_call(cx, rest[0], "site.metrics", NULL, &j).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    fputs(sub_str(j, "text"), stdout);
    return 0;
}
