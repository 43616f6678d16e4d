#include "table/hash.h"
#ifdef __x86_64__
#include <nmmintrin.h>
#endif

static const uint32_t POLY = 0x82f63b78; /* reflected */

uint32_t crc32c_ref(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *s = (const uint8_t *)p;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= s[i];
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (POLY & (0u - (crc & 1)));
    }
    return ~crc;
}

/* A nibble at a time: 16 words of table, made by the compiler's reader from the polynomial. */
static uint32_t crc32c_portable(uint32_t crc, const uint8_t *s, size_t n)
{
    static const uint32_t t[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                   0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                   0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (size_t i = 0; i < n; i++) {
        crc ^= s[i];
        crc = (crc >> 4) ^ t[crc & 15];
        crc = (crc >> 4) ^ t[crc & 15];
    }
    return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *s, size_t n)
{
    uint64_t c = crc, w;
    for (; n >= 8; n -= 8, s += 8) {
        memcpy(&w, s, 8);
        c = _mm_crc32_u64(c, w);
    }
    return crc32c_portable((uint32_t)c, s, n);
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2")) return ~crc32c_sse42(~crc, (const uint8_t *)p, n);
#endif
    return ~crc32c_portable(~crc, (const uint8_t *)p, n);
}
