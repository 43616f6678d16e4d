/* gbdt_int.h - shared by gbdt*.c and their tests; nobody else includes it. */
#pragma once
#include "learn/gbdt.h"

struct hist_task { /* one node's histogram, as hist_build */
    const uint32_t *rows;
    size_t n;
    struct gh *hist;
    uint32_t *count;
};
/* All of a level at once, so that small nodes share the pool. */
status hist_build_all(struct ctx *cx, const struct binned *b, const bool *feature_on, const struct gh *gh,
                      const struct hist_task *task, size_t n_tasks);
void hist_build_ref(const struct binned *b, const bool *feature_on, const struct gh *gh, const uint32_t *rows,
                    size_t n, struct gh *hist, uint32_t *count);
