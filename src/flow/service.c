/* service.c - the site as a service of the machine: systemd's watchdog, its log file, no core dumps, and a stop that lets
 * running jobs end. */
#include "base/arena.h"
#include "base/log.h"
#include "flow/notify.h"
#include "flow/site_int.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 100 /* while it waits for jobs */

void service_quiet(void)
{
    struct rlimit none = {0, 0}; /* keys lie in memory; tasks inherit it */
    setrlimit(RLIMIT_CORE, &none);
}

/* ---- the log file ---- */

static bool same_file(const char *path, int fd, struct stat *of_fd)
{
    struct stat a;
    return fstat(fd, of_fd) == 0 && stat(path, &a) == 0 && a.st_dev == of_fd->st_dev &&
           a.st_ino == of_fd->st_ino;
}

void log_file_begin(struct site *s)
{
    struct stat st;
    s->log_file = arena_printf(s->cx->mem, "%s/logs/site.log", s->dir);
    if (s->log_file && !same_file(s->log_file, 2, &st))
        s->log_file = NULL; /* somebody else keeps what we write to 2 */
}

/* The log writes to descriptor 2, whatever file that is. */
void log_file_reopen(struct site *s)
{
    if (!s->log_file) return;
    int fd = open(s->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        log_error(s->cx, "log not opened again", KV("file", s->log_file));
        return;
    }
    dup2(fd, 1);
    dup2(fd, 2);
    close(fd);
    log_info(s->cx, "log begins");
}

static void turn_over(struct site *s)
{
    struct arena_mark mark = arena_mark(s->cx->mem);
    for (uint64_t i = s->set->log_files; i > 0; i--) {
        const char *to = arena_printf(s->cx->mem, "%s.%" PRIu64, s->log_file, i);
        const char *from = i > 1 ? arena_printf(s->cx->mem, "%s.%" PRIu64, s->log_file, i - 1) : s->log_file;
        if (from && to) (void)rename(from, to); /* those that are not there yet */
    }
    arena_rewind(s->cx->mem, mark);
    log_file_reopen(s);
}

void log_file_look(struct site *s)
{
    struct stat st;
    if (!s->log_file || !s->set->log_size) return;
    if (same_file(s->log_file, 2, &st) && (uint64_t)st.st_size > s->set->log_size) turn_over(s);
}

/* ---- watchdog ---- */

static void beat(struct loop *l, void *arg)
{
    struct site *s = arg;
    notify_send("WATCHDOG=1");
    s->watchdog = loop_after(l, s->watchdog_ms, beat, s);
}

void service_begin(struct site *s)
{
    uint64_t ms = notify_watchdog_ms();
    notify_send("READY=1\nMAINPID=%d\nSTATUS=party %u runs", (int)getpid(), s->set->party);
    if (!ms) return;
    s->watchdog_ms = ms / 2 ? ms / 2 : 1; /* the loop itself is what is watched */
    beat(s->loop, s);
}

void service_end(struct site *s)
{
    loop_cancel(s->loop, s->watchdog);
    loop_cancel(s->loop, s->drain_timer);
    s->watchdog = s->drain_timer = NULL;
}

/* ---- a stop that waits ---- */

size_t jobs_not_ended(const struct site *s)
{
    size_t n = 0;
    for (const struct job *j = s->jobs; j; j = j->next)
        n += !j->ended;
    return n;
}

static void drain_look(struct loop *l, void *arg)
{
    struct site *s = arg;
    size_t n = jobs_not_ended(s);
    uint64_t now = clock_ms();
    s->drain_timer = NULL;
    if (s->stopping) return;
    if (n == 0 || now >= s->drain_until_ms) {
        site_stop(s, n ? "its jobs had not ended when the time to drain was over" : "its jobs have ended");
        return;
    }
    if (now - s->drain_told_ms >= 5000) {
        s->drain_told_ms = now;
        notify_send("EXTEND_TIMEOUT_USEC=30000000\nSTATUS=waits for %zu jobs to end, at most %" PRIu64 " s",
                    n, (s->drain_until_ms - now) / 1000);
    }
    s->drain_timer = loop_after(l, LOOK_MS, drain_look, s);
    if (!s->drain_timer) site_stop(s, "out of memory");
}

void site_drain(struct site *s, uint64_t ms, const char *why)
{
    if (s->stopping) return;
    if (ms == 0 || jobs_not_ended(s) == 0) {
        site_stop(s, why);
        return;
    }
    bool first = !s->draining;
    s->draining = true;
    s->drain_until_ms = clock_ms() + ms;
    log_info(s->cx, "site drains", KV("why", why), KV("jobs", (uint64_t)jobs_not_ended(s)), KV("ms", ms));
    if (first) drain_look(s->loop, s);
}

status site_takes_work(struct ctx *cx, const struct site *s)
{
    if (s->stopping) return FAIL(cx, STATE, "site %u is stopping", s->set->party);
    if (s->draining)
        return FAIL(cx, STATE, "site %u is about to stop: it ends the jobs that it has and takes no new ones",
                    s->set->party);
    return site_room(cx, s);
}
