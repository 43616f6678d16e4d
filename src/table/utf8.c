#include "table/utf8.h"
#include <stdint.h>
#include <string.h>

/* Length of the sequence at s, 0 when there is none within n bytes. */
static size_t sequence(const uint8_t *s, size_t n)
{
    uint8_t a = s[0], low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t len = a >= 0xc2 && a <= 0xdf ? 2 : a >= 0xe0 && a <= 0xef ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    if (a >= 1 && a < 0x80) return 1;
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

/* Eight bytes without high bits and without a zero byte. */
static int plain8(const uint8_t *s)
{
    uint64_t w;
    memcpy(&w, s, 8);
    return !((w | (w - 0x0101010101010101)) & 0x8080808080808080);
}

size_t utf8_prefix(const char *s, size_t n)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t i = 0;
    while (i < n) {
        if (i + 8 <= n && plain8(p + i)) {
            i += 8;
            continue;
        }
        size_t k = sequence(p + i, n - i);
        if (!k) return i;
        i += k;
    }
    return n;
}
