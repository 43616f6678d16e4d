/* doctor_bundle.c - the support bundle of norn doctor, and what is cut out of logs on the way into it. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "cli/client.h"
#include "cli/doctor.h"
#include "cli/sub.h"
#include "flow/jobdb.h"
#include "flow/view.h"
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SITE_LOG_MAX (512 << 10) /* of each file's end */
#define TASK_LOG_MAX (64 << 10)
#define JOBS_SHOWN   50
#define LOGS_OF_JOBS 10 /* the newest that did not succeed */
#define RUN_MIXED    8  /* letters and digits in one word: an id, a key, a hash */
#define RUN_DIGITS   9
#define CUT          "<cut>"

/* ---- scrubbing ---- */

static bool word(char c)
{
    return isalnum((unsigned char)c) || c == '+' || c == '=' || c == '@' || (unsigned char)c >= 0x80;
}

/* Job ids are 21 to 25 digits, and are what one looks for. */
static bool telling(const char *p, size_t n)
{
    size_t digits = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        digits += isdigit((unsigned char)p[i]) != 0, at += p[i] == '@';
    if (digits == n) return n >= RUN_DIGITS && !(n >= 21 && n <= 25);
    return at || n >= 40 || (n >= RUN_MIXED && digits);
}

/* Length of what stands in quotes at p, both included; 0: an apostrophe, or no end. */
static size_t quoted(const char *text, const char *p, const char *end)
{
    char q = *p;
    if (q != '"' && q != '\'' && q != '`') return 0;
    if (q == '\'' && p > text && isalnum((unsigned char)p[-1])) return 0;
    for (const char *e = p + 1; e < end; e++)
        if (*e == q && (q != '\'' || e + 1 == end || !isalnum((unsigned char)e[1])))
            return (size_t)(e - p) + 1;
    return (size_t)(end - p); /* cut short: the rest of the line */
}

static status mask(struct ctx *cx, const char *text, size_t n, const char **out)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes all;
    const char *end = text + n;
    for (const char *p = text; p < end;) {
        size_t k = quoted(text, p, end);
        if (k) {
            buf_printf(&b, "%c" CUT "%c", *p, *p);
            p += k;
            continue;
        }
        while (p + k < end && word(p[k]))
            k++;
        if (k && telling(p, k))
            buf_printf(&b, CUT);
        else
            buf_put(&b, p, k ? k : 1);
        p += k ? k : 1;
    }
    TRY(buf_ok(cx, &b));
    TRY(buf_to_arena(cx, &b, &all));
    *out = (const char *)all.p;
    return OK;
}

/* Keys whose strings are of our own making. */
static bool own_word(const char *key)
{
    static const char *const keys[] = {"t",      "level",     "event", "job",   "task",   "role",
                                       "party",  "site",      "peer",  "what",  "module", "version",
                                       "method", "component", "code",  "status"};
    for (size_t i = 0; i < LEN(keys); i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

static status scrub_object(struct ctx *cx, json_t *j)
{
    const char *key, *text;
    json_t *v;
    void *next;
    json_object_foreach_safe(j, next, key, v)
    {
        if (json_is_string(v) && !own_word(key)) {
            TRY(mask(cx, json_string_value(v), strlen(json_string_value(v)), &text));
            json_object_set_new(j, key, json_string(text));
        } else if (json_is_object(v) || json_is_array(v)) {
            json_object_set_new(j, key, json_string(CUT));
        }
    }
    return OK;
}

status doctor_scrub(struct ctx *cx, const char *line, size_t n, const char **out)
{
    json_error_t e;
    CLEANUP(json_decrefp) json_t *j = json_loadb(line, n, JSON_REJECT_DUPLICATES, &e);
    if (!json_is_object(j)) return mask(cx, line, n, out);
    TRY(scrub_object(cx, j));
    return js_text(cx, j, out);
}

/* Reasons and errors of jobs are texts of components: what they quote is cut. */
static status scrub_job(struct ctx *cx, json_t *job)
{
    static const char *const keys[] = {"reason", "error", "note"};
    const char *text;
    for (size_t i = 0; i < LEN(keys); i++) {
        const char *s = json_string_value(json_object_get(job, keys[i]));
        if (!s) continue;
        TRY(mask(cx, s, strlen(s), &text));
        json_object_set_new(job, keys[i], json_string(text));
    }
    const json_t *tasks = json_object_get(job, "tasks");
    for (size_t i = 0; i < json_array_size(tasks); i++)
        TRY(scrub_job(cx, json_array_get(tasks, i)));
    return OK;
}

/* ---- the archive ---- */

struct bundle {
    const struct doctor *d;
    struct archive *a;
};

static void archive_freep(struct archive **a)
{
    if (*a) archive_write_free(*a);
}

static status put(struct ctx *cx, struct bundle *b, const char *name, const void *p, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    if (!e) return FAIL(cx, NOMEM, "the bundle");
    archive_entry_set_pathname(e, arena_printf(cx->mem, "norn-support/%s", name));
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    archive_entry_set_mtime(e, wall_ms() / 1000, 0);
    bool ok = archive_write_header(b->a, e) == ARCHIVE_OK &&
              (n == 0 || archive_write_data(b->a, p, n) == (la_ssize_t)n);
    archive_entry_free(e);
    return ok ? OK : FAIL(cx, IO, "write %s into the bundle: %s", name, archive_error_string(b->a));
}

static status put_json(struct ctx *cx, struct bundle *b, const char *name, const json_t *j)
{
    const char *text;
    TRY(js_text(cx, j, &text));
    return put(cx, b, name, text, strlen(text));
}

/* Whole lines of the file's end. Nothing is there: nothing is put. */
static status put_log(struct ctx *cx, struct bundle *b, const char *name, const char *file, size_t max)
{
    CLEANUP(fd_closep) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    CLEANUP(buf_free) struct buf out = {0};
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (size <= 0) return OK;
    off_t from = size > (off_t)max ? size - (off_t)max : 0;
    size_t n = (size_t)(size - from);
    struct arena_mark mark = arena_mark(cx->mem);
    char *text = NEW(cx, char, n + 1);
    if (!text) return FAIL(cx, NOMEM, "%s", file);
    ssize_t got = pread(fd, text, n, from);
    if (got < 0) return FAIL(cx, IO, "read %s: %m", file);
    const char *end = text + got, *p = text;
    if (from) { /* a line that begins before */
        p = memchr(text, '\n', (size_t)got);
        p = p ? p + 1 : end;
    }
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end, *line;
        TRY(doctor_scrub(cx, p, (size_t)(stop - p), &line));
        buf_printf(&out, "%s\n", line);
        p = nl ? nl + 1 : end;
    }
    TRY(buf_ok(cx, &out));
    TRY(put(cx, b, name, out.p, out.n));
    arena_rewind(cx->mem, mark);
    return OK;
}

static status put_about(struct ctx *cx, struct bundle *b)
{
    struct utsname u = {0};
    uname(&u);
    CLEANUP(json_decrefp)
    json_t *j =
        json_pack("{s:s,s:I,s:s,s:s,s:s,s:I,s:I,s:b}", "version", NORN_VERSION, "made_ms",
                  (json_int_t)wall_ms(), "system", u.sysname, "release", u.release, "machine", u.machine,
                  "processors", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory",
                  (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), "running", (int)b->d->running);
    return j ? put_json(cx, b, "about.json", j) : FAIL(cx, NOMEM, "the bundle");
}

/* What the site itself says; a site that does not run says nothing. */
static status put_state(struct ctx *cx, struct bundle *b)
{
    static const char *const methods[] = {"site.inventory", "site.status", "site.ping"};
    CLEANUP(json_decrefp) json_t *metrics = NULL;
    if (!b->d->running) return OK;
    for (size_t i = 0; i < LEN(methods); i++) {
        CLEANUP(json_decrefp) json_t *j = NULL;
        if (client_call(cx, b->d->dir, methods[i], NULL, &j).code) continue; /* the findings say why */
        TRY(put_json(cx, b, arena_printf(cx->mem, "%s.json", methods[i]), j));
    }
    if (client_call(cx, b->d->dir, "site.metrics", NULL, &metrics).code) return OK;
    const char *text = sub_str(metrics, "text");
    return put(cx, b, "metrics.txt", text, strlen(text));
}

static status put_task_logs(struct ctx *cx, struct bundle *b, const json_t *job)
{
    const json_t *tasks = json_object_get(job, "tasks");
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *t = json_array_get(tasks, i);
        if (sub_int(t, "party") != (int64_t)b->d->set.party) continue;
        const char *tail = arena_printf(cx->mem, "jobs/%s/%s_%" PRId64 "/%s/task.log", sub_str(job, "job"),
                                        sub_str(t, "role"), sub_int(t, "party"), sub_str(t, "component"));
        if (!tail) return FAIL(cx, NOMEM, "the bundle");
        TRY(put_log(cx, b, tail, arena_printf(cx->mem, "%s/%s", b->d->dir, tail), TASK_LOG_MAX));
    }
    return OK;
}

static status put_jobs(struct ctx *cx, struct bundle *b)
{
    struct jobdb *db;
    struct job_row *rows;
    size_t n, logs = 0;
    const char *file = arena_printf(cx->mem, "%s/jobs.db", b->d->dir);
    CLEANUP(json_decrefp) json_t *list = json_array();
    if (jobdb_open(cx, file, true, &db).code || jobdb_jobs(cx, db, JOBS_SHOWN, &rows, &n).code)
        return OK; /* the findings say why */
    for (size_t i = 0; i < n; i++) {
        json_t *job;
        TRY(view_job(cx, db, rows[i].job, &job));
        if (json_array_append_new(list, job)) return FAIL(cx, NOMEM, "the bundle");
        TRY(scrub_job(cx, job));
        if (rows[i].status == RUN_SUCCESS || logs++ >= LOGS_OF_JOBS) continue;
        TRY(put_task_logs(cx, b, job));
    }
    return put_json(cx, b, "jobs.json", list);
}

static status put_all(struct ctx *cx, struct bundle *b)
{
    CLEANUP(json_decrefp) json_t *settings = NULL;
    TRY(put_about(cx, b));
    TRY(put_json(cx, b, "doctor.json", b->d->findings));
    if (b->d->set.party) {
        TRY(settings_json(cx, &b->d->set, &settings));
        TRY(put_json(cx, b, "settings.json", settings));
    }
    TRY(put_state(cx, b));
    TRY(put_jobs(cx, b));
    TRY(put_log(cx, b, "logs/site.log.1", arena_printf(cx->mem, "%s/logs/site.log.1", b->d->dir),
                SITE_LOG_MAX));
    return put_log(cx, b, "logs/site.log", arena_printf(cx->mem, "%s/logs/site.log", b->d->dir),
                   SITE_LOG_MAX);
}

static status write_all(struct ctx *cx, struct bundle *b, int fd, const char *file)
{
    if (!b->a) return FAIL(cx, NOMEM, "the bundle");
    if (archive_write_set_format_pax_restricted(b->a) || archive_write_add_filter_gzip(b->a) ||
        archive_write_open_fd(b->a, fd))
        return FAIL(cx, IO, "write %s: %s", file, archive_error_string(b->a));
    TRY(put_all(cx, b));
    if (archive_write_close(b->a)) return FAIL(cx, IO, "write %s: %s", file, archive_error_string(b->a));
    return fsync(fd) == 0 ? OK : FAIL(cx, IO, "sync %s: %m", file);
}

status doctor_bundle(struct ctx *cx, const struct doctor *d, const char *file)
{
    CLEANUP(fd_closep) int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && file_exists(file)) return FAIL(cx, EXISTS, "%s is there already", file);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", file);
    CLEANUP(archive_freep) struct archive *a = archive_write_new();
    struct bundle b = {.d = d, .a = a};
    status st = write_all(cx, &b, fd, file);
    if (st.code) unlink(file);
    return st;
}
