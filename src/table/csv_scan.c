#include "table/csv_scan.h"
#include "base/cpu.h"
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

/* One byte that means something, in order of position. */
struct state {
    const uint8_t *p;
    size_t n, cell; /* cell: where the current cell starts */
    size_t skip;    /* the second of two quotes: not looked at again */
};

static void begin(struct csv_marks *m, struct state *s, const uint8_t *p, size_t n)
{
    *s = (struct state){p, n, 0, SIZE_MAX};
    m->n = m->n_newlines = m->scanned = 0;
    m->in_quote = m->quoted = m->odd_bytes = false;
    m->bad_quote = SIZE_MAX;
}

static bool ends_cell(const struct state *s, size_t i, uint8_t delimiter)
{
    if (i >= s->n || s->p[i] == delimiter || s->p[i] == '\n') return true;
    return s->p[i] == '\r' && (i + 1 >= s->n || s->p[i + 1] == '\n');
}

static void on_quote(struct csv_marks *m, struct state *s, size_t i, uint8_t delimiter)
{
    if (i == s->skip) return;
    if (!m->in_quote) {
        if (i != s->cell) return;
        m->in_quote = m->quoted = true;
    } else if (i + 1 < s->n && s->p[i + 1] == '"') {
        s->skip = i + 1;
    } else {
        m->in_quote = false;
        if (!ends_cell(s, i + 1, delimiter) && m->bad_quote == SIZE_MAX) m->bad_quote = i + 1;
    }
}

static void on_end(struct csv_marks *m, struct state *s, size_t i)
{
    if (m->in_quote) return;
    m->n_newlines += s->p[i] == '\n';
    m->pos[m->n++] = (uint32_t)i;
    s->cell = i + 1;
}

void csv_scan_ref(const uint8_t *p, size_t n, uint8_t delimiter, struct csv_marks *m)
{
    struct state s;
    begin(m, &s, p, n);
    for (size_t i = 0; i < n && m->n < m->cap; i++) {
        m->odd_bytes |= p[i] == 0 || p[i] >= 0x80;
        if (p[i] == '"') on_quote(m, &s, i, delimiter);
        if (p[i] == delimiter || p[i] == '\n') on_end(m, &s, i);
        m->scanned = i + 1;
    }
}

/* Bits of 64 bytes: bit i is byte i. */
struct bits {
    uint64_t delimiter, newline, quote;
};

/* A block with a quote in it or around it: bit by bit, in order. */
static void slow_block(struct csv_marks *m, struct state *s, struct bits b, size_t base, uint8_t delimiter)
{
    for (uint64_t all = b.delimiter | b.newline | b.quote; all; all &= all - 1) {
        unsigned k = (unsigned)__builtin_ctzll(all);
        if (b.quote >> k & 1)
            on_quote(m, s, base + k, delimiter);
        else
            on_end(m, s, base + k);
    }
}

/* Bit i is the parity of bits 0 to i. */
static uint64_t parity_up_to(uint64_t x)
{
    for (unsigned k = 1; k < 64; k *= 2)
        x ^= x << k;
    return x;
}

/* Quotes as they should be: each opens a cell, closes one before its end, or is one of two inside. Then parity says what
 * is inside (as simdjson does it: Langdale and Lemire, VLDB Journal 2019), and a pair is a close and an open. Returns false,
 * having changed nothing, when some quote is none of these: slow_block knows what to do. */
static bool quoted_block(struct csv_marks *m, struct state *s, struct bits b, size_t base, uint8_t delimiter)
{
    uint64_t q = s->skip == base ? b.quote & ~(uint64_t)1 : b.quote;
    uint64_t inside =
        parity_up_to(q) ^ (m->in_quote ? ~(uint64_t)0 : 0); /* with the opening quote, without the closing */
    uint64_t ends = (b.delimiter | b.newline) & ~inside, opens = q & inside, closes = q & ~inside;
    if (opens & ~(ends << 1 | (uint64_t)(s->cell == base) | closes << 1)) return false;
    for (uint64_t odd = closes & ~((ends | opens) >> 1); odd;
         odd &= odd - 1) { /* a line's \r, the block's end, or wrong */
        size_t next = base + (size_t)__builtin_ctzll(odd) + 1;
        if (!ends_cell(s, next, delimiter) && !(next == base + 64 && s->p[next] == '"')) return false;
    }
    m->quoted |= opens != 0;
    m->in_quote = inside >> 63;
    if (closes >> 63 && base + 64 < s->n &&
        s->p[base + 64] == '"') { /* a pair across the border: as slow_block has it */
        m->in_quote = true;
        s->skip = base + 64;
    }
    m->n_newlines += (size_t)__builtin_popcountll(b.newline & ~inside);
    if (ends) s->cell = base + 64 - (size_t)__builtin_clzll(ends);
    for (; ends; ends &= ends - 1)
        m->pos[m->n++] = (uint32_t)(base + (size_t)__builtin_ctzll(ends));
    return true;
}

/* Without quotes: every bit is the end of a cell. Eight are written at a time, wanted or not. */
static inline __attribute__((always_inline)) void fast_block(struct csv_marks *m, struct state *s,
                                                             struct bits b, size_t base)
{
    uint64_t ends = b.delimiter | b.newline;
    if (!ends) return;
    uint32_t *out = m->pos + m->n;
    size_t count = (size_t)__builtin_popcountll(ends);
    for (size_t k = 0; k < count; k += 8)
        for (size_t j = 0; j < 8; j++) {
            out[k + j] = (uint32_t)(base + (ends ? (size_t)__builtin_ctzll(ends) : 0));
            ends &= ends - 1;
        }
    m->n += count;
    m->n_newlines += (size_t)__builtin_popcountll(b.newline);
    s->cell = out[count - 1] + 1;
}

static inline __attribute__((always_inline)) void block(struct csv_marks *m, struct state *s, struct bits b,
                                                        size_t base, uint8_t delimiter)
{
    if (__builtin_expect(b.quote == 0 && !m->in_quote, 1))
        fast_block(m, s, b, base);
    else if (!quoted_block(m, s, b, base, delimiter))
        slow_block(m, s, b, base, delimiter);
}

/* The last n < 64 bytes, and all bytes where there is no vector unit. */
static struct bits plain_bits(const uint8_t *p, size_t n, uint8_t delimiter, bool *odd)
{
    struct bits b = {0};
    for (size_t i = 0; i < n; i++) {
        b.delimiter |= (uint64_t)(p[i] == delimiter) << i;
        b.newline |= (uint64_t)(p[i] == '\n') << i;
        b.quote |= (uint64_t)(p[i] == '"') << i;
        *odd |= p[i] == 0 || p[i] >= 0x80;
    }
    return b;
}

static void finish(struct csv_marks *m, struct state *s, const uint8_t *p, size_t at, uint8_t delimiter)
{
    for (; at < s->n && m->n < m->cap; at += 64) {
        size_t n = s->n - at < 64 ? s->n - at : 64;
        block(m, s, plain_bits(p + at, n, delimiter, &m->odd_bytes), at, delimiter);
    }
    m->scanned = at < s->n ? at : s->n;
}

#ifdef __x86_64__
__attribute__((target("avx2,bmi,bmi2,popcnt"))) static size_t scan_avx2(struct csv_marks *m, struct state *s,
                                                                        uint8_t delimiter)
{
    const __m256i d = _mm256_set1_epi8((char)delimiter), nl = _mm256_set1_epi8('\n'),
                  q = _mm256_set1_epi8('"');
    __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi8(-1);
    size_t at = 0;
    for (; at + 64 <= s->n && m->n < m->cap; at += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(s->p + at));
        __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(s->p + at + 32));
#define MASK(x)                                                                                              \
    ((uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, (x))) |                                   \
     (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(c, (x))) << 32)
        struct bits b = {MASK(d), MASK(nl), MASK(q)};
#undef MASK
        high = _mm256_or_si256(high, _mm256_or_si256(a, c));
        low = _mm256_min_epu8(low, _mm256_min_epu8(a, c));
        block(m, s, b, at, delimiter);
    }
    int zero = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, _mm256_setzero_si256()));
    m->odd_bytes |= _mm256_movemask_epi8(high) != 0 || zero != 0;
    return at;
}

__attribute__((target("avx512f,avx512bw,bmi,bmi2,popcnt"))) static size_t
scan_avx512(struct csv_marks *m, struct state *s, uint8_t delimiter)
{
    const __m512i d = _mm512_set1_epi8((char)delimiter), nl = _mm512_set1_epi8('\n'),
                  q = _mm512_set1_epi8('"');
    uint64_t odd = 0;
    size_t at = 0;
    for (; at + 64 <= s->n && m->n < m->cap; at += 64) {
        __m512i a = _mm512_loadu_si512((const void *)(s->p + at));
        struct bits b = {_mm512_cmpeq_epi8_mask(a, d), _mm512_cmpeq_epi8_mask(a, nl),
                         _mm512_cmpeq_epi8_mask(a, q)};
        odd |= _mm512_movepi8_mask(a) | _mm512_testn_epi8_mask(a, a);
        block(m, s, b, at, delimiter);
    }
    m->odd_bytes |= odd != 0;
    return at;
}
#endif

void csv_scan(const uint8_t *p, size_t n, uint8_t delimiter, struct csv_marks *m)
{
    struct state s;
    size_t at = 0;
    begin(m, &s, p, n);
#ifdef __x86_64__
    enum cpu_level level = cpu_level();
    if (level == CPU_AVX512) at = scan_avx512(m, &s, delimiter);
    if (level == CPU_AVX2) at = scan_avx2(m, &s, delimiter);
#endif
    finish(m, &s, p, at, delimiter);
}
