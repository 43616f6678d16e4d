#include "cli/data.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "flow/privilege.h"
#include "flow/settings.h"
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

status data_store(struct ctx *cx, const char *dir, struct store **out, unsigned *threads)
{
    struct settings set;
    TRY(settings_load(cx, dir, NULL, 0, &set));
    if (threads) *threads = (unsigned)set.threads;
    TRY(privilege_drop(cx, set.user, dir)); /* so that root leaves no files that the site cannot touch */
    return store_open(cx, dir, out);
}

status data_name(struct ctx *cx, const char *text, const char **name_space, const char **name)
{
    const char *slash = strchr(text, '/');
    if (!slash || slash == text || !slash[1] || strchr(slash + 1, '/'))
        return FAIL(cx, ARG, "table '%.80s': want NAMESPACE/NAME, like bank/credit", text);
    *name_space = arena_strndup(cx->mem, text, (size_t)(slash - text));
    *name = arena_strdup(cx->mem, slash + 1);
    return *name_space && *name ? OK : FAIL(cx, NOMEM, "a table's name");
}

const char *data_count(struct ctx *cx, uint64_t n)
{
    char digits[24], out[32];
    int k = snprintf(digits, sizeof digits, "%" PRIu64, n), at = 0;
    for (int i = 0; i < k; i++) {
        if (i && (k - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    const char *text = arena_strndup(cx->mem, out, (size_t)at);
    return text ? text : "";
}

const char *data_time(struct ctx *cx, int64_t ms)
{
    char when[32] = "";
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    if (localtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    const char *text = arena_strdup(cx->mem, when);
    return text ? text : "";
}

static bool starts_character(uint8_t b)
{
    return (b & 0xc0) != 0x80;
}

size_t data_width(struct bytes text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += starts_character(text.p[i]);
    return n;
}

void data_print_cell(FILE *to, struct bytes text, size_t width, bool right)
{
    size_t n = data_width(text), most = n > width ? width - 1 : n, i = 0;
    if (right && n < width) fprintf(to, "%*s", (int)(width - n), "");
    for (size_t k = 0; i < text.n; i++) {
        if (starts_character(text.p[i]) && ++k > most) break;
        fputc(text.p[i] < 0x20 || text.p[i] == 0x7f ? '?' : text.p[i], to);
    }
    if (n > width) fputs("\u2026", to);
    if (!right && n < width) fprintf(to, "%*s", (int)(width - n), "");
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

void data_progress_begin(struct ctx *cx, struct data_progress *p, const char *what, const char *unit)
{
    sigset_t set;
    *p = (struct data_progress){.what = what, .unit = unit, .started_ms = clock_ms()};
    stop_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before the pool's threads are made */
    p->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    p->shown = isatty(2) == 1;
    cx->cancel = &p->cancel;
}

void data_progress_report(void *progress, uint64_t done, uint64_t all)
{
    struct data_progress *p = (struct data_progress *)progress;
    struct signalfd_siginfo info;
    if (p->signals >= 0 && read(p->signals, &info, sizeof info) == (ssize_t)sizeof info)
        atomic_store(&p->cancel, true);
    uint64_t now = clock_ms(), since = now - p->started_ms;
    if (!p->shown || now - p->shown_ms < 100 || since < 300 || !done) return;
    p->shown_ms = now;
    double scale = strcmp(p->unit, "B") == 0 ? 1e6 : 1;
    fprintf(stderr, "\r\033[K%s: %.0f%%, %.0f %s%s/s, %.0f s left", p->what,
            100.0 * (double)done / (double)all, (double)done / scale * 1000 / (double)since,
            scale > 1 ? "M" : "", p->unit, (double)(all - done) * (double)since / (double)done / 1000);
    fflush(stderr);
}

void data_progress_end(struct ctx *cx, struct data_progress *p)
{
    sigset_t set;
    cx->cancel = NULL;
    if (p->shown && p->shown_ms) fputs("\r\033[K", stderr);
    if (p->signals >= 0) close(p->signals);
    stop_signals(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}
