/* csv_parts.h - the two passes of an import over the parts of a file. Used inside this layer only.
 *
 * A part is a range of bytes; its rows are those that start in it. Where a part's first row starts is not known before
 * the rows of all parts before it were read, as a newline may be inside quotes. So each part guesses (behind the first
 * newline), and says where its last row ended; where that is not the next part's guess, the next is read again from there.
 * Without newlines in quotes every guess is right. Parts depend on the file's size only, never on the threads. */
#pragma once
#include "table/colfile.h"
#include "table/csv_rows.h"
#include <stdatomic.h>

struct csv_part {
    uint64_t lo, hi;     /* the range */
    uint64_t start, end; /* of its first row, and of the first row behind it */
    bool known;          /* start is no guess */
    bool done;
    uint64_t n_rows;    /* in the file */
    uint64_t n_kept;    /* without those dropped as repeated */
    uint64_t row, kept; /* sums of all before this part */
    struct csv_fault fault;
};
/* What the first pass learns of one column in one part, and what all parts before hold. */
struct csv_stat {
    uint64_t text_bytes, n_missing;
    uint8_t num_class; /* enum num_class */
};

struct csv_work; /* buffers of one thread */
struct csv_import {
    struct csv_file file;
    size_t n_parts;
    struct csv_part *parts;
    struct csv_stat *stats; /* [part][column of the file] */
    uint64_t *text_at;      /* [part + 1][column of the file]: where the part's text starts in the column's */
    const uint64_t *drop;   /* bitmap over n_drop rows of the file: left out; NULL = none */
    uint64_t n_drop;
    struct colfile layout; /* column 0 the id, then the others in the file's order */
    int out;               /* data.col */
    struct csv_work *works;
    unsigned n_works;
    uint64_t part_bytes; /* 0: chosen by the file's size */
    atomic_uint_fast64_t bytes_done;
    uint64_t bytes_all;
    atomic_flag reporting;
    void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_all);
    void *progress_arg;
};

/* Column c of the file in the layout. */
static inline size_t csv_target(const struct csv_file *f, size_t c)
{
    return c == f->id_col ? 0 : c < f->id_col ? c + 1 : c;
}
static inline bool csv_dropped(const struct csv_import *im, uint64_t row)
{
    return row < im->n_drop && (im->drop[row / 64] >> (row % 64) & 1);
}
/* Which of a batch's first n_rows rows are kept; file_row is the batch's first. *chosen NULL: all. */
status csv_choose(struct ctx *cx, const struct csv_import *im, struct csv_work *w, uint64_t file_row,
                  size_t n_rows, const uint32_t **chosen, size_t *n);
void csv_progress(struct csv_import *im, uint64_t more);

/* Buffers for the calling thread; gives them back. */
struct csv_work *csv_work_take(struct csv_import *im);
void csv_work_give(struct csv_work *w);
status csv_works_new(struct ctx *cx, struct csv_import *im);
void csv_works_free(struct csv_import *im);

/* csv_import with parts of a given size: the tests' way to put borders everywhere. The table is the same for any. */
status csv_import_parts(struct ctx *cx, const char *file, const char *path, const struct csv_options *opt,
                        uint64_t part_bytes,
                        void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_all), void *arg,
                        struct csv_result *out);

/* csv_measure.c: first pass. Fills parts, stats, text_at and the columns' types; the first fault is an error. */
status csv_measure(struct ctx *cx, struct csv_import *im);
/* csv_convert.c: second pass, into im->out by im->layout. */
status csv_convert(struct ctx *cx, struct csv_import *im);

struct csv_work {
    atomic_flag busy;
    struct csv_reader reader;
    struct buf chosen; /* uint32_t: rows of the batch that are kept */
    struct buf stage;  /* second pass: columns */
    struct buf sinks;
};
