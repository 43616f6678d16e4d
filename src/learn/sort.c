/* sort.c - radix sort, least significant digit first; digits that all keys share cost nothing. */
#include "learn/sort.h"

#define BITS   11
#define SIZE   (1u << BITS)
#define PASSES 6

uint64_t *sort_keys(uint64_t *restrict a, uint64_t *restrict b, size_t n)
{
    uint32_t count[PASSES][SIZE] = {{0}}; /* 48 KiB */
    for (size_t i = 0; i < n; i++)
        for (unsigned p = 0; p < PASSES; p++)
            count[p][(a[i] >> (p * BITS)) & (SIZE - 1)]++;
    for (unsigned p = 0; p < PASSES && n > 0; p++) {
        unsigned shift = p * BITS;
        uint32_t *c = count[p];
        if (c[(a[0] >> shift) & (SIZE - 1)] == n) continue;
        uint32_t at = 0;
        for (unsigned d = 0; d < SIZE; d++) {
            uint32_t here = c[d];
            c[d] = at;
            at += here;
        }
        for (size_t i = 0; i < n; i++)
            b[c[(a[i] >> shift) & (SIZE - 1)]++] = a[i];
        uint64_t *t = a;
        a = b;
        b = t;
    }
    return a;
}
