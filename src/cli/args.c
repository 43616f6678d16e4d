#include "cli/args.h"
#include "base/arena.h"
#include "base/num.h"
#include "flow/names.h"
#include <stdio.h>
#include <string.h>

static void print_help(const struct arg_spec *s)
{
    size_t width = 6;
    for (size_t i = 0; i < s->n; i++) {
        size_t k = strlen(s->args[i].name) + (s->args[i].value ? 1 + strlen(s->args[i].value) : 0);
        width = k > width ? k : width;
    }
    if (width > 28) width = 28;
    printf("usage: norn %s\n\n%s\n\n", s->usage, s->text);
    for (size_t i = 0; i < s->n; i++) {
        const struct arg *a = &s->args[i];
        int k = printf("  %s%s%s", a->name, a->value ? " " : "", a->value ? a->value : "");
        printf("%*s  %s%s%s\n", k < (int)width + 2 ? (int)width + 2 - k : 0, "", a->text,
               a->kind == ARG_LIST ? "; may be repeated" : "", a->required ? " (required)" : "");
    }
    printf("%-*s  this text\n\nexample:\n  %s\n", (int)width + 2, "  --help", s->example);
}

/* The option's name in argv[i] without "=value". */
static const struct arg *find(const struct arg_spec *s, const char *text, const char **value)
{
    const char *eq = strchr(text, '=');
    size_t n = eq ? (size_t)(eq - text) : strlen(text);
    *value = eq ? eq + 1 : NULL;
    for (size_t i = 0; i < s->n; i++)
        if (strlen(s->args[i].name) == n && memcmp(s->args[i].name, text, n) == 0) return &s->args[i];
    return NULL;
}

static bool is_option(const char *text)
{
    return strncmp(text, "--", 2) == 0 || strcmp(text, "-h") == 0;
}

static status fail_unknown(struct ctx *cx, const struct arg_spec *s, const char *text)
{
    const char **names = NEW(cx, const char *, s->n + 1), *near = NULL;
    int n = (int)strcspn(text, "=");
    const char *given = arena_strndup(cx->mem, text, (size_t)n);
    for (size_t i = 0; names && i < s->n; i++)
        names[i] = s->args[i].name;
    if (names && given) near = name_nearest(given, names, s->n);
    return FAIL(cx, ARG, "no option %.*s%s%s%s (see --help)", n > 60 ? 60 : n, text,
                near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
}

static status set_value(struct ctx *cx, const struct arg *a, const char *v, int argc)
{
    if (a->kind == ARG_TEXT) *(const char **)a->out = v;
    if (a->kind == ARG_COUNT && !num_parse_u64(v, strlen(v), (uint64_t *)a->out))
        return FAIL(cx, ARG, "%s %.40s: want a whole number, 0 or more", a->name, v);
    if (a->kind == ARG_REAL && !num_parse_f64(v, strlen(v), (double *)a->out))
        return FAIL(cx, ARG, "%s %.40s: want a number", a->name, v);
    if (a->kind == ARG_LIST) {
        struct arg_list *l = (struct arg_list *)a->out;
        if (!l->p && !(l->p = NEW(cx, const char *, (size_t)argc))) return FAIL(cx, NOMEM, "arguments");
        l->p[l->n++] = v;
    }
    return OK;
}

static status set_flags(struct ctx *cx, const struct arg_spec *s, int argc, char **argv, bool *help)
{
    const char *value;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) *help = true;
        const struct arg *a = find(s, argv[i], &value);
        if (a && a->kind != ARG_FLAG && !value) i++; /* its value, whatever it looks like */
        if (!a || a->kind != ARG_FLAG) continue;
        *(bool *)a->out = true;
        if (value) return FAIL(cx, ARG, "%s takes no value", a->name);
    }
    return OK;
}

/* seen: one per option of the spec. */
static status set_options(struct ctx *cx, const struct arg_spec *s, int argc, char **argv, bool *seen,
                          const char **rest, size_t *n_rest)
{
    bool ended = false;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (ended || !is_option(argv[i])) {
            rest[(*n_rest)++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            ended = true;
            continue;
        }
        const struct arg *a = find(s, argv[i], &value);
        if (!a) return fail_unknown(cx, s, argv[i]);
        bool *was = &seen[a - s->args];
        if (*was && a->kind != ARG_LIST && a->kind != ARG_FLAG)
            return FAIL(cx, ARG, "%s is given twice", a->name);
        *was = true;
        if (a->kind == ARG_FLAG) continue;
        if (!value && ++i < argc) value = argv[i];
        if (!value) return FAIL(cx, ARG, "%s needs a value: %s", a->name, a->value);
        TRY(set_value(cx, a, value, argc));
    }
    return OK;
}

status args_parse(struct ctx *cx, const struct arg_spec *s, int argc, char **argv, const char ***rest,
                  size_t *n_rest, bool *help)
{
    const char **r = NEW(cx, const char *, (size_t)argc + 1);
    bool *seen = NEW(cx, bool, s->n + 1);
    size_t n = 0;
    *help = false;
    if (!r || !seen) return FAIL(cx, NOMEM, "arguments");
    TRY(set_flags(cx, s, argc, argv, help));
    if (*help) {
        print_help(s);
        return OK;
    }
    TRY(set_options(cx, s, argc, argv, seen, r, &n));
    for (size_t i = 0; i < s->n; i++)
        if (s->args[i].required && !seen[i])
            return FAIL(cx, ARG, "%s %s is missing: %s", s->args[i].name, s->args[i].value, s->args[i].text);
    if (n > s->max_rest)
        return FAIL(cx, ARG, "'%.60s' is one argument too many; usage: norn %s", r[s->max_rest], s->usage);
    if (n < s->min_rest) return FAIL(cx, ARG, "something is missing; usage: norn %s", s->usage);
    *rest = r;
    *n_rest = n;
    return OK;
}
