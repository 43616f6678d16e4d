/* utf8.h - one sequence of UTF-8 (Unicode 15, table 3-7: no surrogates, nothing overlong, at most U+10FFFF).
 * Used inside this layer only; table/utf8.h checks long texts fast. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence that starts at s, 0 when there is none within n bytes; n > 0. NUL is one of 1 byte. */
static inline size_t utf8_sequence(const uint8_t *s, size_t n)
{
    uint8_t a = s[0], low = 0x80, high = 0xbf; /* bounds of the second byte */
    if (a < 0x80) return 1;
    size_t len = a >= 0xc2 && a <= 0xdf ? 2 : a >= 0xe0 && a <= 0xef ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    if (a == 0xe0) low = 0xa0;
    if (a == 0xed) high = 0x9f;
    if (a == 0xf0) low = 0x90;
    if (a == 0xf4) high = 0x8f;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return len;
}
