/* data.h - what the commands on tables share: the site's store, names, a pool, progress, cells for a
 * terminal. */
#pragma once
#include "base/pool.h"
#include "table/store.h"
#include <stdio.h>

/* The store of the site in dir, whether the site runs or not. NOTFOUND: no site there. threads may be NULL.
 */
status data_store(struct ctx *cx, const char *dir, struct store **out, unsigned *threads);
/* "NAMESPACE/NAME"; both in cx->mem. ARG. */
status data_name(struct ctx *cx, const char *text, const char **name_space, const char **name);
/* "1,234,567" in cx->mem. */
const char *data_count(struct ctx *cx, uint64_t n);
/* "2026-11-24 08:00:00", local time. */
const char *data_time(struct ctx *cx, int64_t ms);
/* At most width characters of UTF-8, control characters as '?', padded to width; right: numbers. */
void data_print_cell(FILE *to, struct bytes text, size_t width, bool right);
size_t data_width(struct bytes text); /* characters, as good as bytes tell */

/* A line on stderr that is written over, when stderr is a terminal; and Ctrl-C, which becomes a cancel that
 * cleans up. Between begin and end SIGINT and SIGTERM are blocked and looked for at every report. */
struct data_progress {
    const char *what, *unit;
    uint64_t started_ms, shown_ms;
    bool shown;
    int signals;
    atomic_bool cancel;
};
void data_progress_begin(struct ctx *cx, struct data_progress *p, const char *what, const char *unit);
void data_progress_report(void *progress, uint64_t done, uint64_t all);
void data_progress_end(struct ctx *cx, struct data_progress *p);
