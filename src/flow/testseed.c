#include "flow/testseed.h"
#include "base/num.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

status test_seed(struct ctx *cx, bool *given, uint64_t *n)
{
    const char *on = getenv("NORN_TEST_SEEDS");  /* NOLINT(concurrency-mt-unsafe): nobody writes it */
    const char *text = getenv("NORN_TEST_SEED"); /* NOLINT(concurrency-mt-unsafe) */
    *given = on && strcmp(on, "1") == 0 && text;
    if (*given && !num_parse_u64(text, strlen(text), n))
        return FAIL(cx, ARG, "NORN_TEST_SEED=%.40s, want a number", text);
    return OK;
}

uint64_t test_seed_of(uint64_t n, const char *instance, const char *role, uint32_t party)
{
    char who[200];
    uint64_t h = 14695981039346656037u ^ n; /* FNV-1a */
    snprintf(who, sizeof who, "%s/%s/%u", instance, role, party);
    for (const char *c = who; *c; c++)
        h = (h ^ (uint8_t)*c) * 1099511628211u;
    return h;
}
