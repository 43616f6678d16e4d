/* testseed.h - the hook that only tests have: NORN_TEST_SEEDS=1 with NORN_TEST_SEED=<n> in the site's
 * environment makes a job's seed and the randomness of its tasks those of n, so that two runs give the same
 * bytes. */
#pragma once
#include "base/ctx.h"

/* given: whether the environment asks for it. ARG: no number. */
status test_seed(struct ctx *cx, bool *given, uint64_t *n);
/* The seed of one task: of n, the component's name, role and party, whatever the job's id. */
uint64_t test_seed_of(uint64_t n, const char *instance, const char *role, uint32_t party);
