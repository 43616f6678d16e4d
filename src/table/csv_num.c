#include "table/csv_num.h"
#include <string.h>
#include "base/cpu.h"
#include "base/ctx.h"
#include "base/num.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

static bool digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static void trim(const char **s, size_t *n)
{
    while (*n && (**s == ' ' || **s == '\t'))
        ++*s, --*n;
    while (*n && ((*s)[*n - 1] == ' ' || (*s)[*n - 1] == '\t'))
        --*n;
}

static enum num_class class_slow(const char *s, size_t n)
{
    int64_t i;
    double d;
    trim(&s, &n);
    if (num_parse_i64(s, n, &i)) return NUM_INT;
    return num_parse_f64(s, n, &d) ? NUM_REAL : NUM_TEXT;
}

enum num_class csv_class(const char *s, size_t n)
{
    size_t sign = n && (s[0] == '-' || s[0] == '+'), n_digits = 0, points = 0;
    if (n > 300) return class_slow(s, n); /* may be beyond the largest double */
    for (size_t i = sign; i < n; i++) {
        n_digits += digit(s[i]);
        points += s[i] == '.';
    }
    if (n_digits && n_digits == n - sign && n_digits <= 18) return NUM_INT;
    if (n_digits && points == 1 && n_digits + 1 == n - sign) return NUM_REAL;
    return class_slow(s, n);
}

/* The value of eight digits, or false. Source: Lemire, "Quickly parsing eight digits", 2018. */
static bool eight(const char *s, uint64_t *out)
{
    uint64_t w;
    memcpy(&w, s, 8);
    if ((((w + 0x4646464646464646) | (w - 0x3030303030303030)) & 0x8080808080808080) != 0) return false;
    w -= 0x3030303030303030;
    w = w * 10 + (w >> 8);
    *out = (((w & 0x000000ff000000ff) * 0x000f424000000064) +
            (((w >> 16) & 0x000000ff000000ff) * 0x0000271000000001)) >>
           32;
    return true;
}

/* Digits from s[i] on, added to *m; at most 19 in all are taken without overflow: the caller counts. */
static size_t digits(const char *s, size_t n, size_t i, uint64_t *m)
{
    uint64_t w;
    while (i + 8 <= n && eight(s + i, &w))
        *m = *m * 100000000 + w, i += 8;
    while (i < n && digit(s[i]))
        *m = *m * 10 + (uint64_t)(s[i] - '0'), i++;
    return i;
}

#if __LDBL_MANT_DIG__ == 64
/* m * 10^e in the 64 bits of an x87 register, then to a double. The first rounding is to 64 bits; the second is the
 * same as rounding once unless the 64-bit value lies exactly between two doubles. */
static bool scale(uint64_t m, int e, double *out)
{
    static const long double ten[28] = {
        1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
        1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
        1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L}; /* all exact */
    uint64_t bits;
    if (e < -27 || e > 27) return false;
    long double x = e < 0 ? (long double)m / ten[-e] : (long double)m * ten[e];
    memcpy(&bits, &x, 8);
    if ((bits & 0x7ff) == 0x400) return false;
    *out = (double)x;
    return true;
}
#else
static bool scale(uint64_t m, int e, double *out)
{
    static const double ten[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (m > (uint64_t)1 << 53 || e < -22 || e > 22) return false;
    *out = e < 0 ? (double)m / ten[-e] : (double)m * ten[e];
    return true;
}
#endif

/* After the digits: "e-05". */
static bool exponent(const char *s, size_t n, size_t i, int *e)
{
    if (i >= n || (s[i] != 'e' && s[i] != 'E')) return false;
    bool neg = ++i < n && s[i] == '-';
    i += i < n && (s[i] == '-' || s[i] == '+');
    uint64_t x = 0;
    if (i >= n || n - i > 3 || digits(s, n, i, &x) != n) return false;
    *e += neg ? -(int)x : (int)x;
    return true;
}

static const double powers[17] = {1e0, 1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7, 1e8,
                                  1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16};

static bool f64_fast(const char *s, size_t n, double *out)
{
    size_t first = n && (s[0] == '-' || s[0] == '+');
    uint64_t m = 0;
    int e = 0;
    if (n - first - 1 >= 24) return false; /* empty, or long: not ours */
    size_t i = digits(s, n, first, &m), n_digits = i - first;
    if (i < n && s[i] == '.') {
        size_t end = digits(s, n, i + 1, &m);
        e = -(int)(end - i - 1);
        n_digits += end - i - 1;
        i = end;
    }
    if (n_digits == 0 || n_digits > 19) return false;
    if (i < n && !exponent(s, n, i, &e)) return false;
    double x;
    /* Up to 2^53 and 10^22 both are exact doubles, and one division rounds once (Clinger, PLDI 1990). */
    if (m <= (uint64_t)1 << 53 && e <= 0 && e > -(int)LEN(powers))
        x = (double)m / powers[-e];
    else if (!scale(m, e, &x))
        return false;
    *out = s[0] == '-' ? -x : x;
    return true;
}

bool csv_f64(const char *s, size_t n, double *out)
{
    if (f64_fast(s, n, out)) return true;
    trim(&s, &n);
    return num_parse_f64(s, n, out);
}

bool csv_i64(const char *s, size_t n, int64_t *out)
{
    size_t first = n && (s[0] == '-' || s[0] == '+');
    uint64_t m = 0;
    if (n > first && n - first <= 18 && digits(s, n, first, &m) == n) {
        *out = s[0] == '-' ? -(int64_t)m : (int64_t)m;
        return true;
    }
    trim(&s, &n);
    return num_parse_i64(s, n, out);
}

static size_t class_many_plain(const struct csv_cell *c, size_t n, const bool stop[256],
                               enum num_class *widest)
{
    for (size_t i = 0; i < n; i++) {
        if (c[i].n == 0 || c[i].n > 32 || stop[(uint8_t)c[i].p[0]]) return i;
        enum num_class k = csv_class(c[i].p, c[i].n);
        if (k == NUM_TEXT) return i;
        *widest = k > *widest ? k : *widest;
    }
    return n;
}

static size_t f64_many_plain(const struct csv_cell *c, size_t n, const bool stop[256], double *out)
{
    for (size_t i = 0; i < n; i++)
        if (c[i].n == 0 || stop[(uint8_t)c[i].p[0]] || !f64_fast(c[i].p, c[i].n, &out[i])) return i;
    return n;
}

#ifdef __x86_64__
/* The cell without its sign in one vector, and where it is not a digit. */
struct sixteen {
    __m128i digits; /* minus '0' */
    unsigned n, other;
    bool negative;
};

__attribute__((target("avx2,bmi,bmi2"))) static inline bool
load_sixteen(const struct csv_cell *c, const bool stop[256], struct sixteen *out)
{
    const char *s = c->p;
    size_t n = c->n;
    if (n - 1 > 16 || stop[(uint8_t)s[0]]) return false; /* empty wraps around */
    bool negative = s[0] == '-';
    size_t sign = negative | (s[0] == '+');
    s += sign;
    n -= sign;
    if (n - 1 > 15) return false;
    __m128i v = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)s), _mm_set1_epi8('0'));
    __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(9)), v);
    out->digits = v;
    out->n = (unsigned)n;
    out->other = _bzhi_u32(~(unsigned)_mm_movemask_epi8(is_digit), (unsigned)n);
    out->negative = negative;
    return true;
}

/* Is all that is no digit one point, beside a digit or more? */
__attribute__((target("avx2,bmi,bmi2"))) static inline bool one_point(const struct sixteen *x, const char *s)
{
    return (x->other & (x->other - 1)) == 0 && x->n > 1 && s[_tzcnt_u32(x->other)] == '.';
}

__attribute__((target("avx2,bmi,bmi2"))) static size_t
class_many_avx2(const struct csv_cell *c, size_t n, const bool stop[256], enum num_class *widest)
{
    const __m256i zero = _mm256_set1_epi8('0'), nine = _mm256_set1_epi8(9);
    bool real = false;
    size_t i = 0;
    for (; i < n; i++) {
        const char *s = c[i].p;
        if (c[i].n - 1 > 31 || stop[(uint8_t)s[0]]) break; /* empty wraps around */
        size_t sign = (s[0] == '-') | (s[0] == '+'), k = c[i].n - sign;
        __m256i v = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)(s + sign)), zero);
        __m256i is_digit = _mm256_cmpeq_epi8(_mm256_min_epu8(v, nine), v);
        unsigned other = _bzhi_u32(~(unsigned)_mm256_movemask_epi8(is_digit), (unsigned)k);
        if (!other && k - 1 < 18) continue;
        if (!other || (other & (other - 1)) || k < 2 || s[sign + _tzcnt_u32(other)] != '.') break;
        real = true;
    }
    enum num_class k = real ? NUM_REAL : i ? NUM_INT : NUM_NONE;
    *widest = k > *widest ? k : *widest;
    return i;
}

/* Digits move to the right end of the vector, over the point; then pairs, fours and eights of them are joined. */
__attribute__((target("avx2,bmi,bmi2"))) static inline uint64_t join_digits(const struct sixteen *x,
                                                                            unsigned point)
{
    const __m128i iota = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i from = _mm_add_epi8(iota, _mm_set1_epi8((char)(x->n - 16)));
    from = _mm_add_epi8(
        from, _mm_cmpgt_epi8(_mm_set1_epi8((char)(point + 1)), from)); /* up to the point: one before */
    __m128i d = _mm_shuffle_epi8(x->digits, from);                     /* negative: zero */
    __m128i pairs = _mm_maddubs_epi16(d, _mm_set1_epi16(0x010a));
    __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));
    __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (both & UINT32_MAX) * 100000000 + (both >> 32);
}

__attribute__((target("avx2,bmi,bmi2"))) static size_t f64_many_avx2(const struct csv_cell *c, size_t n,
                                                                     const bool stop[256], double *out)
{
    struct sixteen x;
    for (size_t i = 0; i < n; i++) {
        if (!load_sixteen(&c[i], stop, &x)) {
            if (c[i].n < 16 || stop[(uint8_t)c[i].p[0]] || !f64_fast(c[i].p, c[i].n, &out[i])) return i;
            continue;
        }
        unsigned point = 0x7f, decimals = 0; /* 0x7f + 1 is -128: no byte lies before it */
        if (x.other) {
            if (!one_point(&x, c[i].p + (c[i].n - x.n))) return i;
            point = _tzcnt_u32(x.other);
            decimals = x.n - 1 - point;
        }
        uint64_t m = join_digits(&x, point);
        if (m > (uint64_t)1 << 53) return i; /* then the quotient below would be rounded twice */
        double v = (double)(int64_t)m / powers[decimals];
        out[i] = x.negative ? -v : v;
    }
    return n;
}
#endif

size_t csv_class_many(const struct csv_cell *c, size_t n, const bool stop[256], enum num_class *widest)
{
#ifdef __x86_64__
    if (cpu_level() >= CPU_AVX2) return class_many_avx2(c, n, stop, widest);
#endif
    return class_many_plain(c, n, stop, widest);
}

size_t csv_f64_many(const struct csv_cell *c, size_t n, const bool stop[256], double *out)
{
#ifdef __x86_64__
    if (cpu_level() >= CPU_AVX2) return f64_many_avx2(c, n, stop, out);
#endif
    return f64_many_plain(c, n, stop, out);
}
