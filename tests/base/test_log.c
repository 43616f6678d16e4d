/* Log lines: what is in them, that each is JSON, and that those of many threads and processes do not mix. */
#include "table/scratch.h"
#include "base/js.h"
#include "base/log.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* A log into memory, and its lines. */
struct sink {
    int fd;
    struct log *log;
};

static struct sink sink_new(enum log_level max)
{
    struct sink s = {.fd = memfd_create("log", MFD_CLOEXEC)};
    s.log = log_new(s.fd, max);
    return s;
}

static const char *sink_text(struct ctx *cx, const struct sink *s)
{
    off_t n = lseek(s->fd, 0, SEEK_END);
    char *text = NEW(cx, char, (size_t)n + 1);
    CHECK(pread(s->fd, text, (size_t)n, 0) == n);
    return text;
}

static void sink_free(struct sink *s)
{
    log_freep(&s->log);
    CHECK(s->log == NULL);
    close(s->fd);
}

/* The text without its first member, which is the time: that is checked to be one. */
static const char *after_time(const char *line)
{
    int year, month, day, h, m, s, ms, n = 0;
    CHECK(sscanf(line, "{\"t\":\"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ\",%n", &year, &month, &day, &h, &m, &s, &ms,
                 &n) == 7);
    CHECK(n == 32 && year > 2020 && month <= 12 && h < 24);
    return line + n;
}

static void lines(struct ctx *cx)
{
    struct sink s = sink_new(LOG_INFO);
    struct ctx own = {.log = s.log};
    bool yes = true; /* the word itself is an int in C17 */
    errno = 42;
    log_info(&own, "psi done", KV("peer", "bank-b"), KV("rows", (size_t)3), KV("n", -7), KV("share", 0.1),
             KV("ok", yes), KV("none", (const char *)NULL));
    CHECK(errno == 42);
    CHECK(
        strcmp(
            after_time(sink_text(cx, &s)),
            "\"level\":\"info\",\"event\":\"psi done\",\"peer\":\"bank-b\",\"rows\":3,\"n\":-7,\"share\":0.1,"
            "\"ok\":true,\"none\":null}\n") == 0);
    sink_free(&s);
}

static void odd_values(struct ctx *cx)
{
    struct sink s = sink_new(LOG_INFO);
    bool no = false;
    struct ctx own = {.log = s.log};
    log_info(&own, "a \"b\"\n\\", KV("k\x01", "\xff\xc3\xa9\t"), KV("nan", (double)NAN), KV("inf", HUGE_VAL),
             KV("neg", -HUGE_VAL), KV("no", no));
    const char *text = sink_text(cx, &s);
    CHECK(strcmp(after_time(text),
                 "\"level\":\"info\",\"event\":\"a \\\"b\\\"\\n\\\\\",\"k\\u0001\":\"\xef\xbf\xbd\xc3"
                 "\xa9\\t\",\"nan\":\"nan\",\"inf\":\"inf\",\"neg\":\"-inf\",\"no\":false}\n") == 0);
    CLEANUP(json_decrefp) json_t *j = NULL;
    CHECK_OK(cx, js_parse(cx, "line", text, strlen(text), &j));
    sink_free(&s);
}

static void levels(struct ctx *cx)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int max = LOG_ERROR; max <= LOG_DEBUG; max++) {
        struct sink s = sink_new((enum log_level)max);
        struct ctx own = {.log = s.log};
        log_debug(&own, "x");
        log_info(&own, "x");
        log_warn(&own, "x");
        log_error(&own, "x");
        const char *text = sink_text(cx, &s);
        for (int level = LOG_ERROR; level <= LOG_DEBUG; level++)
            CHECK(!!strstr(text, names[level]) == (level <= max));
        sink_free(&s);
    }
    struct ctx silent = {0};
    log_error(&silent, "nobody hears", KV("x", 1));
    log_free(NULL);
}

static void binds(struct ctx *cx)
{
    struct sink s = sink_new(LOG_INFO);
    struct ctx own = {.log = s.log};
    char job[8] = "j1";
    CHECK(log_bind(s.log, "job", job) && log_bind(s.log, "role", NULL));
    job[0] = 'x'; /* it has its own copy */
    log_info(&own, "a", KV("n", 1));
    CHECK(strcmp(after_time(sink_text(cx, &s)),
                 "\"level\":\"info\",\"event\":\"a\",\"job\":\"j1\",\"role\":null,\"n\":1}\n") == 0);
    CHECK(ftruncate(s.fd, 0) == 0 && lseek(s.fd, 0, SEEK_SET) == 0);

    /* A key once: bound again it has the new value, and the event's own wins. */
    CHECK(log_bind(s.log, "job", "j2"));
    log_info(&own, "b", KV("role", "guest"));
    CHECK(strcmp(after_time(sink_text(cx, &s)),
                 "\"level\":\"info\",\"event\":\"b\",\"job\":\"j2\",\"role\":\"guest\"}\n") == 0);
    char key[4] = "k0";
    for (int i = 2; i < 8; i++, key[1]++)
        CHECK(log_bind(s.log, key, "v"));
    CHECK(!log_bind(s.log, "ninth", "v"));
    CHECK(log_bind(s.log, "job", "j3"));
    sink_free(&s);
}

/* --- many at once --- */

enum { THREADS = 4, EVENTS = 200 };

static void *log_often(void *arg)
{
    struct ctx own = {.log = arg};
    char text[400];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < EVENTS; i++) {
        text[i] = 0;
        log_info(&own, "many", KV("i", i), KV("text", (const char *)text));
        text[i] = 'x';
        if (i == EVENTS / 2) log_bind(own.log, "half", "passed");
    }
    return NULL;
}

/* Every line whole, as many as there should be. */
static void check_lines(struct ctx *cx, const char *text, size_t want)
{
    size_t n = 0;
    for (const char *p = text, *end; *p; p = end + 1, n++) {
        CLEANUP(json_decrefp) json_t *j = NULL;
        if (!(end = strchr(p, '\n'))) break;
        CHECK_OK(cx, js_parse(cx, "line", p, (size_t)(end - p), &j));
        const char *x = json_string_value(js_at(j, "text"));
        CHECK(x && strlen(x) == (size_t)json_integer_value(js_at(j, "i")));
    }
    CHECK(n == want);
}

static void many_threads(struct ctx *cx)
{
    struct sink s = sink_new(LOG_INFO);
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, log_often, s.log) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    check_lines(cx, sink_text(cx, &s), THREADS * EVENTS);
    sink_free(&s);
}

static void many_processes(struct ctx *cx)
{
    const char *path = scratch_file(cx, scratch_dir(cx), "log", "", 0);
    pid_t pid[3];
    for (size_t i = 0; i < LEN(pid); i++)
        if ((pid[i] = fork()) == 0) {
            int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
            struct log *l = log_new(fd, LOG_INFO);
            log_often(l);
            log_free(l);
            _exit(0);
        }
    for (size_t i = 0; i < LEN(pid); i++)
        CHECK(waitpid(pid[i], NULL, 0) == pid[i]);
    struct bytes b = {0};
    CHECK_OK(cx, file_read(cx, path, 1 << 26, &b));
    check_lines(cx, (const char *)b.p, LEN(pid) * EVENTS);
}

/* A reader that does not read: the line is cut, the work goes on, and the next line starts on its own. */
static void cut_lines(struct ctx *cx)
{
    int fd[2];
    CHECK(pipe2(fd, O_NONBLOCK | O_CLOEXEC) == 0 && fcntl(fd[1], F_SETPIPE_SZ, 4096) == 4096);
    struct log *l = log_new(fd[1], LOG_INFO);
    struct ctx own = {.log = l};
    char *text = NEW(cx, char, 10001), *got = NEW(cx, char, 20000);
    memset(text, 'y', 10000);
    log_info(&own, "long", KV("text", text));
    log_info(&own, "lost");
    CHECK(read(fd[0], got, 20000) == 4096 && got[4095] == 'y');
    memset(got, 0, 20000);
    log_info(&own, "next");
    ssize_t n = read(fd[0], got, 20000);
    CHECK(n > 0 && got[0] == '\n' && got[n - 1] == '\n');
    CHECK(strcmp(after_time(got + 1), "\"level\":\"info\",\"event\":\"next\"}\n") == 0);
    memset(got, 0, 20000);
    log_info(&own, "after");
    CHECK(read(fd[0], got, 20000) > 0 && got[0] == '{');
    log_free(l);
    close(fd[0]);
    close(fd[1]);
    l = log_new(-1, LOG_INFO); /* nowhere to write to */
    own.log = l;
    log_info(&own, "gone");
    log_free(l);
}

TEST_MAIN(T(lines), T(odd_values), T(levels), T(binds), T(many_threads), T(many_processes), T(cut_lines))
