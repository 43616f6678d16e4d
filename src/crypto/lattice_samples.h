/* lattice_samples.h - noise, ternary integers and the words of replies: the same text in every kernel, which the
 * compiler turns into its vectors. */
#pragma once
#include "crypto/lattice_ring.h"
#include <string.h>

static inline uint32_t bits_set16(uint32_t x)
{
    x -= (x >> 1) & 0x5555;
    x = (x & 0x3333) + ((x >> 2) & 0x3333);
    x = (x + (x >> 4)) & 0x0f0f;
    return (x + (x >> 8)) & 0x1f;
}

static void noise(const uint16_t *random, size_t n, uint64_t *acc)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t s = bits_set16(random[i]) + bits_set16(random[n + i]) + bits_set16(random[2 * n + i]);
        acc[i] += (uint64_t)s - 24;
    }
}

static void ternary(const uint16_t *random, size_t n, int8_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (int8_t)((int32_t)((uint32_t)random[i] * 3 >> 16) - 1);
}

static void pack(const uint64_t *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t w = (x[i] + (1ull << (63 - LAT_REPLY))) >> (64 - LAT_REPLY);
        if (i + 1 < n)
            memcpy(out + i * LAT_REPLY_BYTES, &w, 8); /* the next one covers what is too much */
        else
            memcpy(out + i * LAT_REPLY_BYTES, &w, LAT_REPLY_BYTES);
    }
}

static void unpack(const uint8_t *in, size_t n, uint64_t *x)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t w = 0;
        if (i + 1 < n)
            memcpy(&w, in + i * LAT_REPLY_BYTES, 8);
        else
            memcpy(&w, in + i * LAT_REPLY_BYTES, LAT_REPLY_BYTES);
        x[i] = (uint64_t)((int64_t)(w << (64 - LAT_REPLY)) >> (64 - LAT_REPLY));
    }
}
