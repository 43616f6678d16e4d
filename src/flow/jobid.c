#include "flow/jobid.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

void job_id_next(struct job_ids *g, char out[JOB_ID_MAX + 1])
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (us <= g->last_us) us = g->last_us + 1; /* two in a microsecond, or a clock set back */
    g->last_us = us;
    time_t s = (time_t)(us / 1000000);
    localtime_r(&s, &tm);
    size_t n = strftime(out, JOB_ID_MAX + 1, "%Y%m%d%H%M%S", &tm);
    snprintf(out + n, JOB_ID_MAX + 1 - n, "%06d0", (int)(us % 1000000));
}

bool job_id_ok(const char *id)
{
    size_t n = strlen(id);
    return n >= 21 && n <= JOB_ID_MAX && strspn(id, "0123456789") == n;
}
