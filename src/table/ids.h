/* ids.h - which ids of a column occur before. Used inside this layer only.
 *
 * Ids are hashed (64 bits) and parted by the hash's top bits into a scratch file; each part, small enough for a cache, is
 * put into a hash table, and ids of equal hash are compared themselves. Memory: a table of 8 MiB per thread, and pages
 * of the scratch file, 8 bytes an id. */
#pragma once
#include "table/table.h"

struct ids_repeats {
    uint64_t n;            /* rows whose id occurs in an earlier row */
    uint64_t row, earlier; /* the first such row, and the first row with that id */
};
/* off: n + 1 offsets into text. folder: where the scratch file may be. bitmap: NULL, or set to n bits, 1 = the row's id
 * occurs before (lives in cx->mem's hooks). */
status ids_find_repeats(struct ctx *cx, const char *folder, const uint64_t *off, const char *text, uint64_t n,
                        struct ids_repeats *out, const uint64_t **bitmap);
