#include "cli/job_print.h"
#include "base/arena.h"
#include "base/loop.h"
#include "cli/sub.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *clock_text(struct ctx *cx, int64_t ms)
{
    char text[32];
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    localtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    return arena_strdup(cx->mem, text);
}

static double num(const json_t *j, const char *key)
{
    return json_number_value(json_object_get(j, key));
}

/* "3 of 10 trees, 12 s left" */
static const char *how_far(struct ctx *cx, const json_t *t)
{
    if (!sub_int(t, "all") || strcmp(sub_str(t, "status"), "running") != 0) return "";
    const char *text = arena_printf(cx->mem, "%" PRId64 " of %" PRId64 " %s", sub_int(t, "done"),
                                    sub_int(t, "all"), sub_str(t, "unit"));
    if (json_object_get(t, "left_s")) text = arena_printf(cx->mem, "%s, %.0f s left", text, num(t, "left_s"));
    return text;
}

static void print_task(struct ctx *cx, const json_t *t, bool repeated)
{
    const char *far = how_far(cx, t), *scheme = sub_str(t, "scheme");
    printf("  %-26s %-8s %-10" PRId64 " %-9s", repeated ? "" : sub_str(t, "component"), sub_str(t, "role"),
           sub_int(t, "party"), sub_str(t, "status"));
    if (sub_int(t, "started_ms"))
        printf(" %9.3f s", num(t, "seconds"));
    else
        printf(" %11s", "");
    printf("  %10s %10s", sub_bytes(cx, sub_int(t, "sent")), sub_bytes(cx, sub_int(t, "received")));
    if (*scheme) printf("  %s", scheme);
    if (sub_int(t, "security_bits")) printf(" (%" PRId64 " bits)", sub_int(t, "security_bits"));
    if (*far) printf("  %s", far);
    printf("\n");
}

void job_print(struct ctx *cx, const json_t *job)
{
    const json_t *tasks = json_object_get(job, "tasks"), *init = json_object_get(job, "initiator");
    printf("job %s: %s, %" PRId64 " %%, %.3f s", sub_str(job, "job"), sub_str(job, "status"),
           sub_int(job, "progress"), num(job, "seconds"));
    if (sub_int(job, "attempt")) printf(", attempt %" PRId64, sub_int(job, "attempt") + 1);
    printf("\n  submitted %s by %s %" PRId64 "\n", clock_text(cx, sub_int(job, "created_ms")),
           sub_str(init, "role"), sub_int(init, "party"));
    if (*sub_str(job, "reason")) printf("  reason: %s\n", sub_str(job, "reason"));
    if (*sub_str(job, "note"))
        printf("  note: only this site's tasks are shown, the initiator's does not answer: %s\n",
               sub_str(job, "note"));
    printf("\n  %-26s %-8s %-10s %-9s %11s  %10s %10s\n", "component", "role", "party", "state", "seconds",
           "sent", "received");
    const char *last = "";
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *t = json_array_get(tasks, i);
        print_task(cx, t, strcmp(last, sub_str(t, "component")) == 0);
        last = sub_str(t, "component");
    }
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *t = json_array_get(tasks, i);
        if (strcmp(sub_str(t, "status"), "failed") == 0)
            printf("\n  %s at %s %" PRId64 ": %s\n", sub_str(t, "component"), sub_str(t, "role"),
                   sub_int(t, "party"), sub_str(t, "error"));
    }
}

void job_print_list(struct ctx *cx, const json_t *jobs)
{
    if (json_array_size(jobs) == 0) printf("no jobs yet\n");
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *j = json_array_get(jobs, i), *init = json_object_get(j, "initiator");
        printf("%-25s %-8s %3" PRId64 " %%  %s  %9.3f s  %s %" PRId64 "  %.100s\n", sub_str(j, "job"),
               sub_str(j, "status"), sub_int(j, "progress"), clock_text(cx, sub_int(j, "created_ms")),
               num(j, "seconds"), sub_str(init, "role"), sub_int(init, "party"), sub_str(j, "reason"));
    }
}

void job_print_progress(void *progress, const json_t *job)
{
    struct job_progress *p = progress;
    const json_t *tasks = json_object_get(job, "tasks");
    char line[sizeof p->last];
    int n =
        snprintf(line, sizeof line, "%3" PRId64 " %%  %s", sub_int(job, "progress"), sub_str(job, "status"));
    for (size_t i = 0; i < json_array_size(tasks) && n < (int)sizeof line; i++) {
        const json_t *t = json_array_get(tasks, i);
        if (strcmp(sub_str(t, "status"), "running") != 0) continue;
        n += snprintf(line + n, sizeof line - (size_t)n, "  %s@%s", sub_str(t, "component"),
                      sub_str(t, "role"));
        if (sub_int(t, "all") && n < (int)sizeof line)
            n += snprintf(line + n, sizeof line - (size_t)n, " %" PRId64 "/%" PRId64 " %s",
                          sub_int(t, "done"), sub_int(t, "all"), sub_str(t, "unit"));
        if (json_object_get(t, "left_s") && n < (int)sizeof line)
            n += snprintf(line + n, sizeof line - (size_t)n, " %.0fs left", num(t, "left_s"));
    }
    if (strcmp(line, p->last) == 0) return;
    memcpy(p->last, line, sizeof line);
    fprintf(stderr, p->tty ? "\r\033[K%s" : "%s\n", line);
}

void job_print_progress_end(struct job_progress *p)
{
    if (p->tty && p->last[0]) fprintf(stderr, "\r\033[K");
}
