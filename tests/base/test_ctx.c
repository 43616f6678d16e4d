/* Errors: codes, messages, prefixes, where they are cut; cancelling; the level of the processor. */
#include "base/cpu.h"
#include "test.h"
#include <errno.h>
#include <unistd.h>

static void codes(struct ctx *cx)
{
    (void)cx;
    CHECK(strcmp(err_name(ERR_FORMAT), "FORMAT") == 0 &&
          strcmp(err_text(ERR_FORMAT), "malformed input") == 0);
    CHECK(err_http(ERR_NOTFOUND) == 404 && err_exit(ERR_NOTFOUND) == 7 && err_exit(ERR_OK) == 0);
    for (int i = 0; i < ERR_COUNT; i++)
        CHECK(err_name((enum err_code)i)[0] && err_text((enum err_code)i)[0] &&
              err_http((enum err_code)i) >= 200);
    CHECK(strcmp(err_name((enum err_code)4711), "INTERNAL") == 0 && err_exit((enum err_code) - 1) == 16);
}

static status inner(struct ctx *cx)
{
    errno = ENOENT;
    return FAIL(cx, NOTFOUND, "open %s: %m", "x.csv");
}

static status outer(struct ctx *cx, int job)
{
    TRY_IN(cx, inner(cx), "job %d", job);
    return OK;
}

static void messages(struct ctx *cx)
{
    CHECK_ERR(outer(cx, 17), NOTFOUND);
    CHECK(strcmp(cx->err.msg, "job 17: open x.csv: No such file or directory") == 0);
    CHECK(errno == ENOENT && cx->err.code == ERR_NOTFOUND && cx->err.line > 0 &&
          strstr(cx->err.file, "test_ctx.c"));
    err_prefix(cx, "again: %s", cx->err.msg); /* of itself */
    CHECK(strcmp(cx->err.msg,
                 "again: job 17: open x.csv: No such file or directory: job 17: open x.csv: No such "
                 "file or directory") == 0);
    status st = FAIL(cx, IO, "%.6s", cx->err.msg);
    CHECK(st.code == ERR_IO && strcmp(cx->err.msg, "again:") == 0);
}

/* However long, a message ends within its array and within no character. */
static void cuts(struct ctx *cx)
{
    enum { MAX = sizeof cx->err.msg - 1 };
    char text[1000];
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'x', lead);
        for (size_t i = 0; lead + 3 * i + 3 < sizeof text; i++)
            memcpy(text + lead + 3 * i, "\xe2\x82\xac", 4);
        status st = FAIL(cx, ARG, "%s", text);
        CHECK(st.code == ERR_ARG && strlen(cx->err.msg) == lead + (MAX - lead) / 3 * 3);
        CHECK(strncmp(cx->err.msg, text, strlen(cx->err.msg)) == 0);
        err_prefix(cx, "%d", 1);
        CHECK(strlen(cx->err.msg) == lead + 3 + (MAX - lead - 3) / 3 * 3 &&
              memcmp(cx->err.msg, "1: ", 3) == 0);
        err_prefix(cx, "%s", text);
        CHECK(strlen(cx->err.msg) <= MAX && strlen(cx->err.msg) > MAX - 6);
    }
    memset(text, 'y', sizeof text - 1);
    text[MAX] = 0;
    status st = FAIL(cx, ARG, "%s", text);
    CHECK(st.code == ERR_ARG && strcmp(cx->err.msg, text) == 0);
}

static void strange_bytes(struct ctx *cx)
{
    static const struct {
        const char *in, *out;
    } t[] = {{"a\xff z", "a? z"},
             {"\xc3", "?"},
             {"\xe2\x82", "??"},
             {"\xed\xa0\x80.", "???."},
             {"\xc3\xa9", "\xc3\xa9"}};
    for (size_t i = 0; i < LEN(t); i++) {
        status st = FAIL(cx, FORMAT, "%s", t[i].in);
        CHECK(st.code == ERR_FORMAT && strcmp(cx->err.msg, t[i].out) == 0);
    }
}

static void cancelled(struct ctx *cx)
{
    atomic_bool stop = false;
    CHECK_OK(cx, ctx_check(cx));
    cx->cancel = &stop;
    CHECK_OK(cx, ctx_check(cx));
    atomic_store(&stop, true);
    CHECK_ERR(ctx_check(cx), CANCELLED);
    CHECK(cx->err.code == ERR_CANCELLED && cx->err.msg[0]);
}

/* A process of its own for each value: the answer is for life. */
static void level(struct ctx *cx)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    enum cpu_level here = cpu_level();
    CHECK(here == cpu_level());
    if (getenv("TEST_CTX_LEVEL")) {
        printf("# level %s\n", cpu_level_name(here));
        return;
    }
    char self[512], line[200];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    self[n > 0 ? n : 0] = 0;
    for (int i = CPU_PORTABLE; i <= (int)here; i++) {
        CHECK(strcmp(cpu_level_name((enum cpu_level)i), names[i]) == 0);
        const char *want = arena_printf(cx->mem, "# level %s\n", names[i]);
        FILE *f =
            popen(arena_printf(cx->mem, "TEST_CTX_LEVEL=1 NORN_CPU=%s '%s' level", names[i], self), "r");
        bool found = false;
        while (f && fgets(line, sizeof line, f))
            found = found || strcmp(line, want) == 0;
        CHECK(f && pclose(f) == 0 && found);
    }
}

TEST_MAIN(T(codes), T(messages), T(cuts), T(strange_bytes), T(cancelled), T(level))
