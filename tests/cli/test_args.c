/* Options: every kind, both spellings, every refusal. */
#include "cli/args.h"
#include "base/arena.h"
#include "test.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct got {
    bool json, help;
    const char *site;
    struct arg_list sets;
    uint64_t rows;
    double share;
    const char **rest;
    size_t n;
};

static status parse(struct ctx *cx, struct got *g, int argc, const char *const *argv)
{
    *g = (struct got){.rows = 10};
    const struct arg args[] = {{"--site", ARG_TEXT, &g->site, "DIR", "folder", true},
                               {"--set", ARG_LIST, &g->sets, "K=V", "setting", false},
                               {"--rows", ARG_COUNT, &g->rows, "N", "rows", false},
                               {"--share", ARG_REAL, &g->share, "F", "share", false},
                               {"--json", ARG_FLAG, &g->json, NULL, "JSON", false}};
    const struct arg_spec spec = {"x --site DIR FILE", "text", "norn x --site a b", args, LEN(args), 1, 2};
    return args_parse(cx, &spec, argc, (char **)(uintptr_t)argv, &g->rest, &g->n, &g->help);
}
#define PARSE(g, ...) parse(cx, (g), (int)LEN(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})

static void takes(struct ctx *cx)
{
    struct got g;
    CHECK_OK(cx, PARSE(&g, "x", "a", "--site", "s", "--set", "k=1", "--rows=5", "--set=l=2", "b", "--share",
                       "-0.5"));
    CHECK(strcmp(g.site, "s") == 0 && g.rows == 5 && g.share == -0.5 && !g.json && !g.help);
    CHECK(g.sets.n == 2 && strcmp(g.sets.p[0], "k=1") == 0 && strcmp(g.sets.p[1], "l=2") == 0);
    CHECK(g.n == 2 && strcmp(g.rest[0], "a") == 0 && strcmp(g.rest[1], "b") == 0);
    CHECK_OK(cx, PARSE(&g, "x", "--json", "--site", "--json", "--", "--rows"));
    CHECK(g.json && strcmp(g.site, "--json") == 0 && g.rows == 10 && g.n == 1 &&
          strcmp(g.rest[0], "--rows") == 0);
    CHECK_OK(cx, PARSE(&g, "x", "--site", "s", "-"));
    CHECK(!g.json && g.n == 1);
}

static void refuses(struct ctx *cx)
{
    struct got g;
    CHECK_ERR(PARSE(&g, "x", "a"), ARG);
    CHECK(strstr(cx->err.msg, "--site DIR is missing"));
    CHECK_ERR(PARSE(&g, "x", "--site", "s"), ARG);
    CHECK(strstr(cx->err.msg, "something is missing"));
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "1", "2", "3"), ARG);
    CHECK(strstr(cx->err.msg, "'3' is one argument too many"));
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--rosw", "3", "--json"), ARG);
    CHECK(strstr(cx->err.msg, "no option --rosw, did you mean --rows?") &&
          g.json); /* known although it came later */
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--entirely-else"), ARG);
    CHECK(!strstr(cx->err.msg, "did you mean"));
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--rows", "ten"), ARG);
    CHECK(strstr(cx->err.msg, "--rows ten: want a whole number"));
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--rows", "-1"), ARG);
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--share", "half"), ARG);
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--rows"), ARG);
    CHECK(strstr(cx->err.msg, "--rows needs a value"));
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--json=yes"), ARG);
    CHECK_ERR(PARSE(&g, "x", "--site", "s", "a", "--site", "t"), ARG);
    CHECK(strstr(cx->err.msg, "given twice"));
}

static void help(struct ctx *cx)
{
    struct got g;
    fflush(stdout); /* TAP goes there; the help text need not */
    int kept = dup(1), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(kept >= 0 && dup2(null, 1) == 1);
    CHECK_OK(cx, PARSE(&g, "x", "--nonsense", "--help"));
    fflush(stdout);
    CHECK(dup2(kept, 1) == 1);
    close(kept), close(null);
    CHECK(g.help && !g.site);
}

TEST_MAIN(T(takes), T(refuses), T(help))
