/* args.h - the options of a command: long ones only, as "--name value" or "--name=value", anywhere among the rest;
 * "--" ends them. Unknown options are refused by name with the nearest known one, doubled ones by name. */
#pragma once
#include "base/ctx.h"

struct arg_list {
    const char **p;
    size_t n;
};
enum arg_kind {
    ARG_FLAG,  /* out: bool; no value */
    ARG_TEXT,  /* const char * */
    ARG_LIST,  /* struct arg_list; may be given several times */
    ARG_COUNT, /* uint64_t; "10k" is no count, "10_000" and "10,000" neither */
    ARG_REAL,  /* double */
};
struct arg {
    const char *name; /* "--site" */
    enum arg_kind kind;
    void *out;         /* untouched when not given */
    const char *value; /* "DIR"; NULL for a flag */
    const char *text;  /* one sentence for --help */
    bool required;
};
struct arg_spec {
    const char *usage, *text, *example; /* "job list --site DIR [--max N]", what it does, commands to copy */
    const struct arg *args;
    size_t n;
    size_t min_rest, max_rest; /* how many other arguments there must be */
};
/* argv[0] is the command's name. *rest: the other arguments, in cx->mem. *help: --help was given and has been printed;
 * nothing else is checked then. ARG names the option, the value and what was wanted. Flags are set first, so that
 * --json holds for the message, too. */
status args_parse(struct ctx *cx, const struct arg_spec *spec, int argc, char **argv, const char ***rest,
                  size_t *n_rest, bool *help);
