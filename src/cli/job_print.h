/* job_print.h - jobs for people: tables on stdout, a line of progress on stderr. */
#pragma once
#include "base/js.h"

/* One job: its components, one line each, one column group a party. */
void job_print(struct ctx *cx, const json_t *job);
void job_print_list(struct ctx *cx, const json_t *jobs);

struct job_progress {
    bool tty; /* rewrite one line; otherwise a line whenever it changes */
    char last[200];
};
void job_print_progress(void *progress, const json_t *job); /* an event of job.watch */
void job_print_progress_end(struct job_progress *p);

/* Of cmd_job_read.c. */
int job_logs(struct ctx *cx, int argc, char **argv);
int job_metrics(struct ctx *cx, int argc, char **argv);
int job_summary(struct ctx *cx, int argc, char **argv);
int job_output(struct ctx *cx, int argc, char **argv);
