/* sort.h - doubles in ascending order, as integers by their digits: linear in n, the same steps for any order of rows. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Monotone map of a double that is not NaN to an integer, and back: flips all bits of negatives, the sign bit of the
 * others. -0.0 comes right before 0.0. */
static inline uint64_t sort_key(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u ^ ((u >> 63) ? ~UINT64_C(0) : UINT64_C(1) << 63);
}
static inline double sort_value(uint64_t k)
{
    uint64_t u = k ^ ((k >> 63) ? UINT64_C(1) << 63 : ~UINT64_C(0));
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}
/* Sorts n < 2^32 keys; a and b hold n each, b is scratch. Returns the one of the two that holds the result. */
uint64_t *sort_keys(uint64_t *a, uint64_t *b, size_t n);
