/* cmd_site_stop.c - norn site stop | restart: at once, or when running jobs have ended. */
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/site_cmds.h"
#include "cli/sub.h"
#include "flow/site.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define END_MS 10000 /* for the process, once its jobs have ended */

/* Waits for a process that is not ours to end. */
static status wait_gone(struct ctx *cx, int64_t pid, uint64_t ms)
{
    CLEANUP(fd_closep) int fd = pidfd_open((pid_t)pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (fd < 0) return errno == ESRCH ? OK : FAIL(cx, IO, "process %" PRId64 ": %m", pid);
    return poll(&p, 1, ms < INT32_MAX ? (int)ms : INT32_MAX) == 1
               ? OK
               : FAIL(cx, TIMEOUT, "process %" PRId64 " did not end within %" PRIu64 " s", pid, ms / 1000);
}

/* *waits: for how many jobs. A site that does not answer gets the signal. */
static status stop(struct ctx *cx, const char *dir, uint64_t drain_ms, bool quiet)
{
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:I}", "drain_ms", (json_int_t)drain_ms);
    CLEANUP(json_decrefp) json_t *j = NULL;
    int64_t pid = site_pid(cx, dir);
    status st = client_call(cx, dir, "site.stop", params, &j);
    if (st.code && pid && kill((pid_t)pid, SIGTERM) == 0) st = OK;
    TRY(st);
    int64_t jobs = sub_int(j, "jobs");
    if (drain_ms && jobs && !quiet)
        fprintf(stderr, "waits at most %.0f s for %" PRId64 " job%s to end; no new ones are taken\n",
                (double)drain_ms / 1000, jobs, jobs == 1 ? "" : "s");
    return pid ? wait_gone(cx, pid, drain_ms + END_MS) : OK;
}

static status parse_drain(struct ctx *cx, const char *text, uint64_t *ms)
{
    *ms = 0;
    if (text && (!num_parse_ms(text, ms) || *ms > 7 * UINT64_C(86400000)))
        return FAIL(cx, ARG, "--drain %.40s: want a time like 10m, at most 7 days", text);
    return OK;
}

#define DRAIN_OPTION                                                                                         \
    {                                                                                                        \
        "--drain", ARG_TEXT, &drain, "TIME", "let running jobs end, for so long at most (10m)", false        \
    }

int site_stop_cmd(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *drain = NULL;
    size_t n;
    uint64_t ms;
    bool json = false, help;
    const struct arg args[] = {DRAIN_OPTION, {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"site stop DIR [--drain TIME]",
                                  "Ends the site's jobs, tells the other parties, and waits until the "
                                  "process is gone. With --drain the\n"
                                  "site first takes no new jobs and waits for those that it has.",
                                  "norn site stop bank --drain 30m",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (parse_drain(cx, drain, &ms).code || stop(cx, rest[0], ms, json).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = json_object();
        return cmd_print_json(cx, j);
    }
    printf("site stopped\n");
    return 0;
}

int site_restart_cmd(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *drain = NULL;
    struct arg_list sets = {0};
    size_t n;
    uint64_t ms;
    bool json = false, help;
    const struct arg args[] = {DRAIN_OPTION,
                               {"--set", ARG_LIST, &sets, "KEY=VALUE",
                                "overrides a setting of norn.conf for the new process", false},
                               {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"site restart DIR [--drain TIME] [--set KEY=VALUE]...",
                                  "Stops the site as `norn site stop` does, and starts it: with what "
                                  "norn.conf says now. One that does\n"
                                  "not run is started.",
                                  "norn site restart bank --drain 10m",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    bool runs = site_pid(cx, rest[0]) != 0;
    if (parse_drain(cx, drain, &ms).code || (runs && stop(cx, rest[0], ms, json).code))
        return cmd_fail(cx, json);
    char **run = NEW(cx, char *, 2 * sets.n + 4);
    int k = 0;
    if (!run) return cmd_fail(cx, json);
    run[k++] = arena_strdup(cx->mem, "run");
    run[k++] = arena_strdup(cx->mem, rest[0]);
    for (size_t i = 0; i < sets.n; i++)
        run[k++] = arena_printf(cx->mem, "--set=%s", sets.p[i]);
    if (json) run[k++] = arena_strdup(cx->mem, "--json");
    return site_run_cmd(cx, k, run);
}
