/* utf8.h - is it UTF-8 (Unicode 15, table 3-7: no surrogates, nothing overlong, at most U+10FFFF), without NUL. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Bytes of the longest valid beginning of s[0..n); n when all is valid. NUL counts as invalid. */
size_t utf8_prefix(const char *s, size_t n);
static inline bool utf8_valid(const char *s, size_t n)
{
    return utf8_prefix(s, n) == n;
}
/* The largest k <= n that does not cut a character of valid UTF-8. */
static inline size_t utf8_cut(const char *s, size_t n)
{
    while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    return n;
}
