/* num.h - arithmetic on untrusted sizes, and one strict locale-free parser of text numbers. */
#pragma once
#include "base/ctx.h"

static inline bool num_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool num_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* The whole of s[0..n) must be the number: optional sign, no spaces, no hex. Correctly rounded; "nan", "inf" are
 * refused. false: not a number, or out of range. */
bool num_parse_f64(const char *s, size_t n, double *out);
bool num_parse_i64(const char *s, size_t n, int64_t *out);
bool num_parse_u64(const char *s, size_t n, uint64_t *out);
/* Shortest text that parses back to the same double ("0.1", "3.0", "1e-07"), as Python's repr prints it.
 * buf holds 32 bytes or more; returns the length. */
size_t num_format_f64(double x, char *buf);
/* "64 MiB", "1.5GiB", "4096", "10k" (powers of 1024); "250ms", "3 s", "2m", "1h", "90d" to
 * milliseconds. */
bool num_parse_bytes(const char *s, uint64_t *out);
bool num_parse_ms(const char *s, uint64_t *out);
