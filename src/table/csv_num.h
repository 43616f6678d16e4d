/* csv_num.h - numbers in cells, fast. Used inside this layer only.
 *
 * Law: the same answers as base/num.h's parsers on every text (the tests compare). Short decimal numbers are read by
 * words of eight digits; the value is mantissa times a power of ten, in 64 bits of precision where one rounding more
 * cannot change the double; everything else goes to num_parse_f64. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum num_class { NUM_NONE, NUM_INT, NUM_REAL, NUM_TEXT }; /* the order of widening: max of two holds both */

/* What s[0..n) can be read as. Spaces and tabs around a number are fine. */
enum num_class csv_class(const char *s, size_t n);
bool csv_f64(const char *s, size_t n, double *out); /* false: not a number, or out of range */
bool csv_i64(const char *s, size_t n, int64_t *out);

/* Many cells at once, for as long as they are plain numbers: digits, one sign in front, one point, not too long. Each
 * returns how many were; the next is for the functions above, or missing, or no number. A cell whose first byte stop marks
 * is left, too (it may be a text that means missing). 40 bytes from p on must be readable. */
struct csv_cell {
    const char *p;
    size_t n;
};
size_t csv_class_many(const struct csv_cell *c, size_t n, const bool stop[256], enum num_class *widest);
size_t csv_f64_many(const struct csv_cell *c, size_t n, const bool stop[256], double *out);
