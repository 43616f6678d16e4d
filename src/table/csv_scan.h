/* csv_scan.h - where the cells of a CSV text end. Used inside this layer only.
 *
 * csv_scan lists the positions of delimiters and newlines outside quotes; a cell is what lies between two of them. A
 * quote opens a quoted cell only as the cell's first byte and is plain text elsewhere (as Python's csv reads it); inside,
 * two quotes are one. A table of n_cols columns without blank lines therefore has its cells at fixed strides of the
 * list, and the loops over a column need no further bookkeeping. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CSV_PAD = 64 }; /* bytes behind the text that must be readable; what they hold does not matter */

struct csv_marks {
    uint32_t *pos; /* room for cap + CSV_PAD */
    size_t cap, n;
    size_t n_newlines; /* among them */
    size_t scanned;    /* bytes looked at: all, or fewer when pos was full */
    bool in_quote;     /* at the end of what was scanned */
    size_t bad_quote;  /* SIZE_MAX, or where text follows a closing quote */
    bool quoted;       /* some cell is quoted */
    bool odd_bytes;    /* NUL or not ASCII */
};

/* Scans p[0..n), which starts at a cell's start. n < 2^32. Which of the kernels: as the processor has them. */
void csv_scan(const uint8_t *p, size_t n, uint8_t delimiter, struct csv_marks *m);
/* The same byte by byte: the test's oracle. */
void csv_scan_ref(const uint8_t *p, size_t n, uint8_t delimiter, struct csv_marks *m);
