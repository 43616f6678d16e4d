/* sub.h - commands with commands of their own ("norn job list"), and small readers of JSON answers. */
#pragma once
#include "cli/cmd.h"

struct sub {
    const char *name;
    int (*run)(struct ctx *cx, int argc, char **argv); /* argv[0] is its name */
    const char *text;
};
/* Runs the one that argv[1] names; help, and the nearest name for a slip. */
int sub_run(struct ctx *cx, const char *command, const struct sub *subs, size_t n, int argc, char **argv);

const char *sub_str(const json_t *j, const char *key); /* "" when absent */
int64_t sub_int(const json_t *j, const char *key);     /* 0 when absent */
/* "1.5 MiB", "312 B" in cx->mem. */
const char *sub_bytes(struct ctx *cx, int64_t n);
