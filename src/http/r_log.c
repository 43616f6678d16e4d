/* r_log.c - job/log/..., log/..., template/...: what tasks logged. Paths are made of checked names only. */
#include "base/arena.h"
#include "base/file.h"
#include "flow/dsl.h"
#include "http/local_run.h"
#include "http/rows.h"
#include "http/tables.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* DIR/jobs/<job>/<role>_<party>/<component>/task.log; NULL: a name that is none. */
static const char *task_log(struct call *c, const char *job, struct party who, const char *component)
{
    if (!job_id_ok(job) || !dsl_name_ok(component)) return NULL;
    return arena_printf(c->cx->mem, "%s/jobs/%s/%s_%u/%s/task.log", c->http->dir, job, role_name(who.role),
                        who.id, component);
}

/* Copies a file's lines to fd: all, or those of a level. */
static status copy_lines(struct ctx *cx, const char *file, const char *level, int fd)
{
    struct bytes in;
    CLEANUP(buf_free) struct buf b = {0};
    if (!file_exists(file)) return OK;
    struct arena_mark before = arena_mark(cx->mem);
    struct stat st;
    if (stat(file, &st) || st.st_size == 0) return OK;
    TRY(file_map(cx, file, &in));
    const char *want = level ? arena_printf(cx->mem, "\"level\":\"%s\"", level) : NULL;
    for (const char *p = (const char *)in.p, *end = p + in.n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
        if (!want || memmem(p, n, want, strlen(want))) buf_put(&b, p, n);
        p += n;
        if (b.n < (1u << 20)) continue;
        TRY(buf_ok(cx, &b));
        TRY(fd_write_all(cx, fd, b.p, b.n));
        buf_reset(&b);
    }
    TRY(buf_ok(cx, &b));
    status out = fd_write_all(cx, fd, b.p, b.n);
    arena_rewind(cx->mem, before);
    return out;
}

static const struct {
    const char *name, *level; /* level NULL: all lines */
} kinds[] = {{"DEBUG.log", NULL}, {"INFO.log", NULL}, {"WARNING.log", "warn"}, {"ERROR.log", "error"}};

/* The four files of a component; and of the party: those of all components one after another. */
static status add_logs(struct call *c, struct tar *tar, const struct row_job *j, const char *component)
{
    const char *name;
    json_t *v;
    for (size_t k = 0; k < LEN(kinds); k++) {
        CLEANUP(fd_closep) int fd = -1;
        TRY(temp_file(c->cx, c->http, &fd));
        json_object_foreach(json_object_get(j->dsl, "components"), name, v)
        {
            const char *file =
                component && strcmp(component, name) != 0 ? NULL : task_log(c, j->id, j->me, name);
            if (file) TRY(copy_lines(c->cx, file, kinds[k].level, fd));
        }
        TRY(tar_add_fd(c->cx, tar,
                       arena_printf(c->cx->mem, "%s/%u/%s%s%s", role_name(j->me.role), j->me.id,
                                    component ? component : "", component ? "/" : "", kinds[k].name),
                       fd));
    }
    return OK;
}

static status log_download(struct call *c)
{
    struct row_job *jobs;
    struct tar *tar;
    size_t n;
    int fd = -1;
    const char *id = arg_text(c, "job_id"), *name;
    json_t *v;
    NEED(c, "job_id");
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    if (n == 0 || jobs[0].local) return answer_http(c, 404, "Log file path of the job was not found.");
    TRY(tar_begin(c->cx, c->http, &tar));
    for (size_t i = 0; i < n; i++) {
        TRY(add_logs(c, tar, &jobs[i], NULL));
        json_object_foreach(json_object_get(jobs[i].dsl, "components"), name, v)
            TRY(add_logs(c, tar, &jobs[i], name));
    }
    const char *schedule =
        arena_printf(c->cx->mem, "%s %s%s%s\n", jobs[0].id, run_status_name(jobs[0].status),
                     *jobs[0].reason ? ": " : "", jobs[0].reason);
    TRY(tar_add_text(c->cx, tar, "fate_flow_schedule.log", schedule, strlen(schedule)));
    TRY(tar_end(c->cx, tar, &fd));
    return answer_fd(c, arena_printf(c->cx->mem, "job_%s_log.tar.gz", jobs[0].id), "application/x-tar", fd);
}

static status log_path(struct call *c)
{
    struct row_job *jobs;
    size_t n;
    NEED(c, "job_id");
    const char *id = arg_text(c, "job_id");
    TRY(rows_of_job(c, id ? id : "", &jobs, &n));
    if (n == 0) return answer_http(c, 404, "Log file path of the job was not found.");
    return answer_ok(
        c, json_pack("{s:o}", "logs_directory", json_sprintf("%s/jobs/%s", c->http->dir, jobs[0].id)));
}

/* ---- lines of one log, for the board ---- */

static status wanted_log(struct call *c, const char **file)
{
    struct party who;
    bool given;
    const char *id = arg_text(c, "job_id"), *component = arg_text(c, "component_name");
    TRY(arg_party(c, &who, &given));
    *file = given && id && component ? task_log(c, id, who, component) : NULL;
    return *file ? OK : FAIL(c->cx, ARG, "want job_id, role, party_id and component_name");
}

static status log_size(struct call *c)
{
    const char *file;
    struct bytes in = {NULL, 0};
    json_int_t lines = 0;
    struct stat st;
    TRY(wanted_log(c, &file));
    if (stat(file, &st) == 0 && st.st_size > 0) TRY(file_map(c->cx, file, &in));
    for (size_t i = 0; i < in.n; i++)
        lines += in.p[i] == '\n';
    return answer_ok(c, json_pack("{s:I}", "size", lines));
}

static status log_cat(struct call *c)
{
    const char *file;
    struct bytes in = {NULL, 0};
    struct stat st;
    int64_t first = arg_int(c, "begin", 1), last = arg_int(c, "end", first + 999), at = 1;
    CLEANUP(json_decrefp) json_t *list = json_array();
    TRY(wanted_log(c, &file));
    if (stat(file, &st) == 0 && st.st_size > 0) TRY(file_map(c->cx, file, &in));
    for (const char *p = (const char *)in.p, *end = p + in.n;
         in.n && p < end && at <= last && at - first < 10000; at++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);
        json_t *text = at >= first ? json_stringn(p, n) : NULL;
        if (text)
            json_array_append_new(list, json_pack("{s:I,s:o}", "line_num", (json_int_t)at, "content", text));
        p += n + 1;
    }
    return answer_ok(c, json_incref(list));
}

/* A job to begin with: the files that `flow job submit` and `flow data upload` want. */
static const struct {
    const char *name, *text;
} templates[] = {
    {"fate_examples/hetero_secureboost/job_dsl.json",
     "{\"components\": {\n"
     "  \"reader_0\": {\"module\": \"Reader\", \"output\": {\"data\": [\"data\"]}},\n"
     "  \"data_transform_0\": {\"module\": \"DataTransform\", \"input\": {\"data\": {\"data\": "
     "[\"reader_0.data\"]}},\n"
     "    \"output\": {\"data\": [\"data\"], \"model\": [\"model\"]}},\n"
     "  \"intersection_0\": {\"module\": \"Intersection\", \"input\": {\"data\": {\"data\": "
     "[\"data_transform_0.data\"]}},\n"
     "    \"output\": {\"data\": [\"data\"]}},\n"
     "  \"hetero_secure_boost_0\": {\"module\": \"HeteroSecureBoost\",\n"
     "    \"input\": {\"data\": {\"train_data\": [\"intersection_0.data\"]}}, \"output\": {\"data\": "
     "[\"data\"], \"model\": [\"model\"]}},\n"
     "  \"evaluation_0\": {\"module\": \"Evaluation\", \"input\": {\"data\": {\"data\": "
     "[\"hetero_secure_boost_0.data\"]}},\n"
     "    \"output\": {\"data\": [\"data\"]}}}}\n"},
    {"fate_examples/hetero_secureboost/job_conf.json",
     "{\"dsl_version\": 2, \"initiator\": {\"role\": \"guest\", \"party_id\": 9999},\n"
     " \"role\": {\"guest\": [9999], \"host\": [10000]},\n"
     " \"component_parameters\": {\n"
     "  \"common\": {\"hetero_secure_boost_0\": {\"task_type\": \"classification\", \"num_trees\": 3},\n"
     "    \"evaluation_0\": {\"eval_type\": \"binary\"}},\n"
     "  \"role\": {\n"
     "    \"guest\": {\"0\": {\"reader_0\": {\"table\": {\"name\": \"my_guest\", \"namespace\": "
     "\"experiment\"}},\n"
     "      \"data_transform_0\": {\"with_label\": true}}},\n"
     "    \"host\": {\"0\": {\"reader_0\": {\"table\": {\"name\": \"my_host\", \"namespace\": "
     "\"experiment\"}},\n"
     "      \"data_transform_0\": {\"with_label\": false}}}}}}\n"},
    {"fate_examples/upload/upload_guest.json",
     "{\"file\": \"guest.csv\", \"head\": 1, \"partition\": 4, \"table_name\": \"my_guest\", \"namespace\": "
     "\"experiment\",\n"
     " \"id_delimiter\": \",\"}\n"},
};

static status template_download(struct call *c)
{
    struct tar *tar;
    int fd = -1;
    TRY(tar_begin(c->cx, c->http, &tar));
    for (size_t i = 0; i < LEN(templates); i++)
        TRY(tar_add_text(c->cx, tar, templates[i].name, templates[i].text, strlen(templates[i].text)));
    TRY(tar_end(c->cx, tar, &fd));
    return answer_fd(c, "template.tar.gz", "application/x-tar", fd);
}

extern const struct route log_routes[];
const struct route log_routes[] = {
    {"job/log/download", log_download, KEY_VIEWER},
    {"job/log/path", log_path, KEY_VIEWER},
    {"log/size", log_size, KEY_VIEWER},
    {"log/cat", log_cat, KEY_VIEWER},
    {"template/download", template_download, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
