#include "cli/sub.h"
#include "base/arena.h"
#include "flow/names.h"
#include <stdio.h>
#include <string.h>

static void usage(FILE *to, const char *command, const struct sub *subs, size_t n)
{
    fprintf(to, "usage: norn %s COMMAND [...]\n\n", command);
    for (size_t i = 0; i < n; i++)
        fprintf(to, "  %-9s %s\n", subs[i].name, subs[i].text);
    fprintf(to, "\nmore: norn %s COMMAND --help\n", command);
}

int sub_run(struct ctx *cx, const char *command, const struct sub *subs, size_t n, int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : "", **names = NEW(cx, const char *, n);
    if (argc < 2 || strcmp(given, "--help") == 0 || strcmp(given, "-h") == 0) {
        usage(argc < 2 ? stderr : stdout, command, subs, n);
        return argc < 2 ? err_exit(ERR_ARG) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(given, subs[i].name) == 0) return subs[i].run(cx, argc - 1, argv + 1);
        if (names) names[i] = subs[i].name;
    }
    const char *near = names ? name_nearest(given, names, n) : NULL;
    (void)FAIL(cx, ARG, "no command %s %.40s%s%s%s (see norn %s --help)", command, given,
               near ? ", did you mean " : "", near ? near : "", near ? "?" : "", command)
        .code;
    return cmd_fail(cx, false);
}

const char *sub_str(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}

int64_t sub_int(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

const char *sub_bytes(struct ctx *cx, int64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)n;
    size_t u = 0;
    while (x >= 1024 && u + 1 < LEN(units))
        x /= 1024, u++;
    const char *text = arena_printf(cx->mem, "%.*f %s", u && x < 100 ? 1 : 0, x, units[u]);
    return text ? text : "";
}
