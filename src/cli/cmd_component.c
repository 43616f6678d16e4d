/* cmd_component.c - norn component list | show: what there is, from the components' own tables. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/sub.h"
#include "fed/component.h"
#include "flow/names.h"
#include <stdio.h>
#include <string.h>

static const char *const types[] = {
    [PARAM_BOOL] = "true, false", [PARAM_INT] = "integer", [PARAM_NUM] = "number", [PARAM_STR] = "text",
    [PARAM_LIST] = "list",        [PARAM_MAP] = "object",  [PARAM_ANY] = "any",
};
static const char *const states[] = {
    [PARAM_BUILT] = "built", [PARAM_UNBUILT] = "default only", [PARAM_DEPRECATED] = "deprecated"};

/* What a value may be: "integer 1 to 30", "dense|sparse". buf: 400 bytes. */
static const char *values(const struct param *p, char *buf)
{
    const char *null = p->nullable ? " or null" : "";
    if (p->choices)
        snprintf(buf, 400, "%s%s", p->choices, null);
    else if (p->min != 0 || p->max != 0)
        snprintf(buf, 400, "%s %g to %g%s", types[p->type], p->min, p->max, null);
    else
        snprintf(buf, 400, "%s%s", types[p->type], null);
    return buf;
}

static json_t *component_json(const struct component *c)
{
    char buf[400];
    json_t *roles = json_array(), *params = json_array();
    for (int r = 0; r < ROLE_COUNT; r++)
        if (c->run[r]) json_array_append_new(roles, json_string(role_name((enum role)r)));
    for (size_t i = 0; i < c->n_params; i++) {
        const struct param *p = &c->params[i];
        json_array_append_new(params,
                              json_pack("{s:s,s:s,s:o,s:s,s:s}", "name", p->path, "values", values(p, buf),
                                        "default", json_loads(p->def, JSON_DECODE_ANY, NULL), "state",
                                        states[p->state], "text", p->text));
    }
    return json_pack("{s:s,s:s,s:o,s:b,s:b,s:o}", "module", c->module, "text", c->text, "roles", roles,
                     "gives_data", (int)c->gives_data, "gives_model", (int)c->gives_model, "parameters",
                     params);
}

static int list(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n, n_all;
    bool json = false, help;
    const struct arg args[] = {
        {"--json", ARG_FLAG, &json, NULL, "answer as JSON, with all parameters", false}};
    const struct arg_spec spec = {"component list [--json]",
                                  "The components that jobs can use.",
                                  "norn component list",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    CLEANUP(json_decrefp) json_t *j = json_array();
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    const struct component *const *all = component_all(&n_all);
    for (size_t i = 0; i < n_all; i++) {
        if (json)
            json_array_append_new(j, component_json(all[i]));
        else
            printf("%-20s %s\n", all[i]->module, all[i]->text);
    }
    return json ? cmd_print_json(cx, j) : 0;
}

static void print_component(const struct component *c)
{
    char buf[400];
    printf("%s: %s\n", c->module, c->text);
    for (size_t i = 0; i < c->n_params; i++) {
        const struct param *p = &c->params[i];
        printf("\n  %s = %s   (%s%s%s)\n      %s\n", p->path, p->def, values(p, buf),
               p->state == PARAM_BUILT ? "" : "; ", p->state == PARAM_BUILT ? "" : states[p->state], p->text);
    }
}

static int show(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n, n_all;
    bool json = false, help;
    const struct arg args[] = {{"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"component show MODULE [--json]",
                                  "One component: its parameters, their values, defaults and meaning.",
                                  "norn component show HeteroSecureBoost",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    const struct component *c = component_find(rest[0]), *const *all = component_all(&n_all);
    if (!c) {
        const char *names[64], *near;
        for (size_t i = 0; i < n_all && i < LEN(names); i++)
            names[i] = all[i]->module;
        near = name_nearest(rest[0], names, n_all < LEN(names) ? n_all : LEN(names));
        (void)FAIL(cx, NOTFOUND, "no component %.60s%s%s%s (see norn component list)", rest[0],
                   near ? ", did you mean " : "", near ? near : "", near ? "?" : "")
            .code;
        return cmd_fail(cx, json);
    }
    CLEANUP(json_decrefp) json_t *j = component_json(c);
    if (json) return cmd_print_json(cx, j);
    print_component(c);
    return 0;
}

int cmd_component(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"list", list, "the components that jobs can use"},
        {"show", show, "one component and its parameters"},
    };
    return sub_run(cx, "component", subs, LEN(subs), argc, argv);
}
