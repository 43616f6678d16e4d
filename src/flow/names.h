/* names.h - the nearest of some known names, for "did you mean". */
#pragma once
#include <stddef.h>

/* Edits (insert, delete, replace, swap of neighbours) between two words, without case; 1000 for words over 62
 * bytes. */
size_t name_distance(const char *a, const char *b);
/* NULL: none is near enough to be a slip of the hand. */
const char *name_nearest(const char *given, const char *const *known, size_t n);
