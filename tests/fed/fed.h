/* fed.h - runs a component at several parties inside one process: a thread each, joined by a hub. */
#pragma once
#include "fed/component.h"
#include "tests/test.h"

#define FED_MAX 8

struct fed_arg { /* one party */
    enum role role;
    uint32_t id;
    const char *params; /* JSON text; NULL = defaults */
    struct task_input input[3];
    size_t n_inputs;
    const struct model_part *model;
};
struct fed_options {
    unsigned threads;     /* per party; 0 = 1 */
    uint64_t deadline_ms; /* 0 = 60 s */
    void (*tap)(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n);
    void *tap_arg;
    /* A party that is not a component but this function (a liar); NULL: none. */
    status (*liar)(struct ctx *cx, struct task *t);
    size_t liar_at;
    const char *checkpoints; /* folder of all parties' checkpoints; NULL: none */
    size_t dies_at,
        dies_after; /* that party fails at its so manyth message, sent or awaited; 0: nobody does */
};
struct fed_result {
    struct arena *mem;
    struct ctx cx;
    struct task task;
    enum err_code code;
    const char *msg;
    json_t *metrics; /* "ns/name" -> {"meta":, "points":} */
    json_t *summary;
    const char *out_path;
    uint64_t done, all; /* last progress */
};
/* Fresh folder under the test's temporary one. */
const char *fed_dir(struct ctx *cx, const char *name);
/* A table of n rows: id "person-<i, six digits>", the columns col-major at x (NaN = missing), label last when y is not NULL. */
const struct table *fed_table(struct ctx *cx, const char *path, size_t n, size_t n_cols, const double *x,
                              const char *prefix, const double *y, struct party who);
void fed_run(const char *module, const struct fed_arg *arg, size_t n, const struct fed_options *o,
             struct fed_result *r);
void fed_free(struct fed_result *r, size_t n);
