/* jobid.h - job ids as FATE makes them: local time yyyymmddHHMMSS, six digits of microseconds, a counter. */
#pragma once
#include "base/ctx.h"

#define JOB_ID_MAX 25
/* Strictly growing within the process; *last is the generator's memory. */
struct job_ids {
    int64_t last_us;
};
void job_id_next(struct job_ids *g, char out[JOB_ID_MAX + 1]);
/* 21 to 25 digits: it becomes a folder's name. */
bool job_id_ok(const char *id);
