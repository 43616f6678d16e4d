/* json_out.h - strings of JSON text, for those who print it: js.c and log.c. Used inside this layer only. */
#pragma once
#include "base/bytes.h"
#include "base/utf8.h"

/* The sequence at s, of `len` bytes (0: not UTF-8) that must not stand in a string as it is. */
static inline void json_out_escape(struct buf *b, const char *s, size_t len)
{
    static const char letters[] = "btn\0fr"; /* for 8 to 13 */
    uint8_t c = (uint8_t)*s;
    if (!len)
        buf_put(b, "\xef\xbf\xbd", 3); /* U+FFFD, the replacement character */
    else if (c >= 8 && c <= 13 && c != 11)
        buf_put(b, (const char[]){'\\', letters[c - 8]}, 2);
    else if (c < 0x20)
        buf_put(b, (const char[]){'\\', 'u', '0', '0', (char)('0' + c / 16), "0123456789abcdef"[c % 16]}, 6);
    else
        buf_put(b, (const char[]){'\\', (char)c}, 2);
}

/* s[0..n) with its quotes. UTF-8 stays as it is; each byte that is none becomes U+FFFD. */
static inline void json_out_string(struct buf *b, const char *s, size_t n)
{
    size_t from = 0, i = 0;
    buf_u8(b, '"');
    while (i < n) {
        size_t len = utf8_sequence((const uint8_t *)s + i, n - i);
        if (len && (uint8_t)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\') {
            i += len;
            continue;
        }
        buf_put(b, s + from, i - from);
        json_out_escape(b, s + i, len);
        from = i += len ? len : 1;
    }
    buf_put(b, s + from, n - from);
    buf_u8(b, '"');
}
