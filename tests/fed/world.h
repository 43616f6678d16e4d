/* world.h - made-up data of one guest and up to two hosts, for the tests of SecureBoost. */
#pragma once
#include "tests/fed/fed.h"

struct scene {
    const char *name;
    size_t n, n_valid, guest_cols, n_hosts, host_cols[2];
    unsigned classes; /* 0 = regression */
    double missing;   /* share of cells */
    const char *params;
};

struct world {
    const struct scene *s;
    size_t n_cols;
    double *x, *xv, *y, *yv; /* column-major; pooled: guest, then hosts */
    const struct table *train[3], *valid[3];
};

struct world world_make(struct ctx *cx, const struct scene *s);
/* The scene's parameters with a scheme, ' for ". */
const char *world_params(struct ctx *cx, const struct scene *s, const char *scheme);
void world_train(struct ctx *cx, struct world *w, const char *scheme, const struct fed_options *o,
                 struct fed_result *r);
/* Predicts the validation rows with the models of r. */
void world_predict(struct ctx *cx, struct world *w, const struct fed_result *trained,
                   const struct fed_options *o, struct fed_result *r);
/* Prints the message of each party that failed, and fails the test. */
void world_all_ok(const struct fed_result *r, size_t n);
