/* cmd_job.c - norn job submit | list | show | stop | rerun | why; what reads records is in cmd_job_read.c. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/job_print.h"
#include "cli/sub.h"
#include "flow/jobdb.h"
#include "flow/view.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SITE_OPTION                                                                                          \
    {                                                                                                        \
        "--site", ARG_TEXT, &site, "DIR", "the site's folder", true                                          \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "--json", ARG_FLAG, &json, NULL, "answer as JSON", false                                             \
    }

/* Without a running site the database still answers what is recorded. */
static status list_recorded(struct ctx *cx, const char *site, int64_t max, json_t **out)
{
    struct jobdb *db;
    TRY(jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", site), true, &db));
    return view_jobs(cx, db, (size_t)max, out);
}

static status show_recorded(struct ctx *cx, const char *site, const char *job, json_t **out)
{
    struct jobdb *db;
    TRY(jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", site), true, &db));
    return view_job(cx, db, job, out);
}

/* Success is 0; any other end of a job is a failure of the command that waited for it. */
static int job_exit(const json_t *job)
{
    const char *st = sub_str(job, "status");
    if (strcmp(st, "success") == 0) return 0;
    if (strcmp(st, "canceled") == 0) return err_exit(ERR_CANCELLED);
    return err_exit(strcmp(st, "timeout") == 0 ? ERR_TIMEOUT : ERR_PEER);
}

/* ---- submit ---- */

static void warn_all(const json_t *answer)
{
    const json_t *w = json_object_get(answer, "warnings");
    for (size_t i = 0; i < json_array_size(w); i++)
        fprintf(stderr, "warning: %s\n", json_string_value(json_array_get(w, i)));
}

static status wait_job(struct ctx *cx, const char *site, const char *job, struct job_progress *show,
                       json_t **last)
{
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s}", "job", job);
    return client_watch(cx, site, "job.watch", params, show ? job_print_progress : NULL, show, last);
}

static int submit_and_wait(struct ctx *cx, const char *site, const json_t *params, bool wait, bool json)
{
    CLEANUP(json_decrefp) json_t *answer = NULL;
    CLEANUP(json_decrefp) json_t *last = NULL;
    if (client_call(cx, site, "job.submit", params, &answer).code) return cmd_fail(cx, json);
    const char *job = sub_str(answer, "job");
    if (!json) warn_all(answer);
    if (!wait) {
        if (json) return cmd_print_json(cx, answer);
        printf("job %s\nmodel %s version %s\nfollow it: norn job show --site %s --watch %s\n", job,
               sub_str(answer, "model_id"), sub_str(answer, "model_version"), site, job);
        return 0;
    }
    struct job_progress show = {.tty = isatty(2) == 1};
    if (wait_job(cx, site, job, json || !show.tty ? NULL : &show, &last).code) return cmd_fail(cx, json);
    job_print_progress_end(&show);
    json_object_set(last, "warnings", json_object_get(answer, "warnings"));
    if (json)
        cmd_print_json(cx, last);
    else
        job_print(cx, last);
    return job_exit(last);
}

static int job_submit(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL, *dsl = NULL, *conf = NULL;
    size_t n;
    bool json = false, wait = false, help;
    const struct arg args[] = {
        SITE_OPTION,
        {"--dsl", ARG_TEXT, &dsl, "FILE", "the job's DSL v2, JSON; a predict job needs none", false},
        {"--conf", ARG_TEXT, &conf, "FILE", "its runtime conf v2, JSON", true},
        {"--wait", ARG_FLAG, &wait, NULL, "return when the job has ended; exit code 0 only on success",
         false},
        JSON_OPTION,
    };
    const struct arg_spec spec = {
        "job submit --site DIR --dsl FILE --conf FILE [--wait]",
        "Checks a job whole at all parties, then starts it. Nothing is stored when anything is wrong.",
        "norn job submit --site bank --dsl job_dsl.json --conf job_conf.json --wait",
        args,
        LEN(args),
        0,
        0};
    CLEANUP(json_decrefp) json_t *d = NULL;
    CLEANUP(json_decrefp) json_t *c = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if ((dsl && js_read(cx, dsl, &d).code) || js_read(cx, conf, &c).code) return cmd_fail(cx, json);
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:O*,s:O}", "dsl", d, "conf", c);
    return submit_and_wait(cx, site, params, wait, json);
}

/* ---- list, show ---- */

static int job_list(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    uint64_t max = 20;
    bool json = false, help;
    const struct arg args[] = {
        SITE_OPTION,
        {"--max", ARG_COUNT, &max, "N", "at most so many, newest first; 0: all (20)", false},
        JSON_OPTION};
    const struct arg_spec spec = {"job list --site DIR [--max N]",
                                  "The site's jobs, newest first; works without a running site, too.",
                                  "norn job list --site bank",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:I}", "max", (json_int_t)max);
    status st = client_call(cx, site, "job.list", params, &j);
    if (st.code == ERR_STATE) st = list_recorded(cx, site, (int64_t)max, &j);
    if (st.code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    job_print_list(cx, j);
    return 0;
}

static int watch(struct ctx *cx, const char *site, const char *job, bool json)
{
    CLEANUP(json_decrefp) json_t *last = NULL;
    struct job_progress show = {.tty = isatty(2) == 1};
    if (wait_job(cx, site, job, json ? NULL : &show, &last).code) return cmd_fail(cx, json);
    job_print_progress_end(&show);
    if (json)
        cmd_print_json(cx, last);
    else
        job_print(cx, last);
    return job_exit(last);
}

static int job_show(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, watching = false, help;
    const struct arg args[] = {
        SITE_OPTION, {"--watch", ARG_FLAG, &watching, NULL, "follow it to its end", false}, JSON_OPTION};
    const struct arg_spec spec = {
        "job show --site DIR [--watch] JOB",
        "A job's components at each party: state, seconds, bytes, how numbers were hidden.",
        "norn job show --site bank --watch 202611240930001234560",
        args,
        LEN(args),
        1,
        1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (watching) return watch(cx, site, rest[0], json);
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s}", "job", rest[0]);
    status st = client_call(cx, site, "job.show", params, &j);
    if (st.code == ERR_STATE) st = show_recorded(cx, site, rest[0], &j);
    if (st.code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    job_print(cx, j);
    return 0;
}

/* ---- stop, rerun, why ---- */

static int job_stop(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"job stop --site DIR JOB",
                                  "Stops a job here and at all other parties; any party may.",
                                  "norn job stop --site bank 202611240930001234560",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s}", "job", rest[0]);
    if (client_call(cx, site, "job.stop", params, &j).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    printf("job %s stopped\n", rest[0]);
    return 0;
}

static int job_rerun(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, wait = false, help;
    const struct arg args[] = {
        SITE_OPTION, {"--wait", ARG_FLAG, &wait, NULL, "return when the job has ended", false}, JSON_OPTION};
    const struct arg_spec spec = {
        "job rerun --site DIR [--wait] JOB",
        "Runs an ended job again from the first component that did not succeed; what succeeded at all\n"
        "parties is kept.",
        "norn job rerun --site bank --wait 202611240930001234560",
        args,
        LEN(args),
        1,
        1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s}", "job", rest[0]);
    if (client_call(cx, site, "job.rerun", params, &j).code) return cmd_fail(cx, json);
    if (wait) return watch(cx, site, rest[0], json);
    if (json) return cmd_print_json(cx, j);
    printf("job %s runs again, %zu components kept\n", rest[0], json_array_size(json_object_get(j, "kept")));
    return 0;
}

static int job_why(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {
        "job why --site DIR JOB",
        "Who waits for which message of whom, since when, is the link up, what is the other side doing.",
        "norn job why --site bank 202611240930001234560",
        args,
        LEN(args),
        1,
        1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    CLEANUP(json_decrefp) json_t *params = json_pack("{s:s}", "job", rest[0]);
    if (client_call(cx, site, "job.why", params, &j).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    const json_t *why = json_object_get(j, "why");
    for (size_t i = 0; i < json_array_size(why); i++)
        printf("%s\n", json_string_value(json_array_get(why, i)));
    if (json_array_size(why) == 0) printf("nothing waits\n");
    return 0;
}

int cmd_job(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"submit", job_submit, "check a job at all parties and start it"},
        {"list", job_list, "jobs, newest first"},
        {"show", job_show, "one job's components at each party"},
        {"stop", job_stop, "stop it everywhere"},
        {"rerun", job_rerun, "run it again from what failed"},
        {"why", job_why, "who waits for what"},
        {"logs", job_logs, "a component's log of this party"},
        {"metrics", job_metrics, "what a component measured"},
        {"summary", job_summary, "what a component summed up"},
        {"output", job_output, "output tables: list, preview, export"},
    };
    return sub_run(cx, "job", subs, LEN(subs), argc, argv);
}
