#include "base/num.h"
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

_Static_assert(FLT_EVAL_METHOD == 0 && DBL_MANT_DIG == 53, "one rounding per operation, to a double");

static const double ten[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}; /* exact */

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* ---- text to number ---- */

/* No double and no halfway between two has more significant digits than 768; behind those only "more" or "nothing
 * more" counts. */
enum { DIGITS_MAX = 769 };

/* 0.d1 d2 .. dn * 10^point, d1 not zero. */
struct decimal {
    size_t n;
    bool more; /* digits that are not zero were left out */
    int64_t point;
    uint64_t first19;
    char d[DIGITS_MAX];
};

static void decimal_add(struct decimal *x, char c)
{
    if (x->n == DIGITS_MAX) {
        x->more |= c != '0';
        return;
    }
    if (x->n < 19) x->first19 = x->first19 * 10 + (uint64_t)(c - '0');
    x->d[x->n++] = c;
}

/* s[i..n): digits with at most one point, a digit at least; *end is behind them. */
static bool read_digits(const char *s, size_t n, size_t i, struct decimal *x, size_t *end)
{
    bool any = false, point = false;
    for (; i < n; i++) {
        if (s[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(s[i])) break;
        any = true;
        if (x->n || s[i] != '0') {
            decimal_add(x, s[i]);
            x->point += !point;
        } else {
            x->point -= point;
        }
    }
    *end = i;
    return any;
}

static bool read_exponent(const char *s, size_t n, size_t i, int64_t *out)
{
    bool negative = i < n && s[i] == '-';
    int64_t x = 0;
    i += i < n && (s[i] == '-' || s[i] == '+');
    if (i >= n) return false;
    for (; i < n; i++) {
        if (!is_digit(s[i])) return false;
        if (x < INT64_MAX / 100) x = x * 10 + (s[i] - '0'); /* beyond any length of the digits */
    }
    *out = negative ? -x : x;
    return true;
}

/* By the C library, which rounds correctly. Without a point in the text its answer does not depend on a locale. */
static double convert(struct decimal *x)
{
    char text[DIGITS_MAX + 40];
    size_t n = x->n;
    memcpy(text, x->d, n);
    if (x->more) text[n++] = '1';
    int64_t e = x->point - (int64_t)n;
    int saved = errno;
    snprintf(text + n, sizeof text - n, "e%lld", (long long)e);
    double out = strtod(text, NULL);
    errno = saved;
    return out;
}

bool num_parse_f64(const char *s, size_t n, double *out)
{
    struct decimal x;
    size_t i = n && (s[0] == '-' || s[0] == '+');
    int64_t e = 0;
    x.n = 0, x.more = false, x.point = 0, x.first19 = 0;
    if (!read_digits(s, n, i, &x, &i)) return false;
    if (i < n && ((s[i] != 'e' && s[i] != 'E') || !read_exponent(s, n, i + 1, &e))) return false;
    double v = 0;
    if (x.n) {
        x.point += e;
        if (x.point > 400) return false;
        int64_t scale = x.point - (int64_t)x.n;
        /* Two exact doubles and one operation: one rounding (Clinger, PLDI 1990). */
        if (x.n <= 19 && x.first19 <= (uint64_t)1 << 53 && scale >= -22 && scale <= 22)
            v = scale < 0 ? (double)x.first19 / ten[-scale] : (double)x.first19 * ten[scale];
        else if (x.point >= -400) /* below it is zero */
            v = convert(&x);
        if (isinf(v)) return false;
    }
    *out = s[0] == '-' ? -v : v;
    return true;
}

static bool parse_digits(const char *s, size_t n, size_t i, uint64_t *out)
{
    uint64_t x = 0;
    if (i >= n) return false;
    for (; i < n; i++) {
        if (!is_digit(s[i]) || __builtin_mul_overflow(x, 10, &x) ||
            __builtin_add_overflow(x, (uint64_t)(s[i] - '0'), &x))
            return false;
    }
    *out = x;
    return true;
}

bool num_parse_u64(const char *s, size_t n, uint64_t *out)
{
    return parse_digits(s, n, n && s[0] == '+', out);
}

bool num_parse_i64(const char *s, size_t n, int64_t *out)
{
    bool negative = n && s[0] == '-';
    uint64_t x;
    if (!parse_digits(s, n, negative || (n && s[0] == '+'), &x)) return false;
    if (x > (uint64_t)INT64_MAX + negative) return false;
    *out = (int64_t)(negative ? 0 - x : x);
    return true;
}

/* ---- number to text ---- */

/* d[0..n) are the digits of 0.d1 d2 .. dn * 10^point. */
static size_t layout(const char *d, size_t n, int point, char *out)
{
    char *p = out;
    int e = point - 1; /* of d1.d2d3.. */
    if (e >= -4 && e < 16) {
        if (point <= 0) {
            *p++ = '0', *p++ = '.';
            for (int i = point; i < 0; i++)
                *p++ = '0';
            memcpy(p, d, n);
            return (size_t)(p - out) + n;
        }
        for (int i = 0; i < point; i++)
            *p++ = (char)((size_t)i < n ? d[i] : '0');
        *p++ = '.';
        if (n <= (size_t)point) *p++ = '0';
        for (size_t i = (size_t)point; i < n; i++)
            *p++ = d[i];
        return (size_t)(p - out);
    }
    *p++ = d[0];
    if (n > 1) {
        *p++ = '.';
        memcpy(p, d + 1, n - 1);
        p += n - 1;
    }
    *p++ = 'e';
    *p++ = e < 0 ? '-' : '+';
    unsigned x = (unsigned)(e < 0 ? -e : e);
    if (x >= 100) *p++ = (char)('0' + x / 100);
    *p++ = (char)('0' + x / 10 % 10);
    *p++ = (char)('0' + x % 10);
    return (size_t)(p - out);
}

static size_t put_digits(uint64_t m, char *d)
{
    char text[24];
    size_t i = sizeof text, n;
    for (; m; m /= 10)
        text[--i] = (char)('0' + m % 10);
    n = sizeof text - i;
    memcpy(d, text + i, n);
    return n;
}

/* x in [1e-4, 1e16). Are there digits m < 10^15 and k with x = m / 10^k, rounded? Then no other text of 15 digits gives
 * x, and the first k finds the shortest. If not, *k is the first that has 16 digits before the point. */
static bool few_digits(double x, char *d, size_t *n, int *point, int *k)
{
    for (*k = 0;; ++*k) {
        double m = nearbyint(x * ten[*k]);
        if (m >= 1e15) return false;
        if (m / ten[*k] != x) continue;
        *n = put_digits((uint64_t)m, d);
        *point = (int)*n - *k;
        return true;
    }
}

/* 16 digits if they will do, or else 17, for x = mantissa * 2^-s in [1e-4, 1e16) without rounding anywhere: the product
 * of 53 bits and 10^20 fits. false: not ours. */
static bool many_digits(double x, int k, char *d, size_t *n, int *point)
{
    int e;
    uint64_t mantissa = (uint64_t)(frexp(x, &e) * 0x1p53);
    int s = 53 - e;
    if (s <= 0 || s > 120 || (mantissa & (mantissa - 1)) == 0) return false;
    unsigned __int128 power = (unsigned __int128)(uint64_t)ten[k];
    for (int digits = 16; digits <= 17; digits++, k++, power *= 10) {
        unsigned __int128 v = mantissa * power, half = (unsigned __int128)1 << (s - 1);
        uint64_t m = (uint64_t)(v >> s);
        unsigned __int128 rest = v - ((unsigned __int128)m << s);
        bool up = rest > half || (rest == half && m % 2);
        m += up;
        if (m < (uint64_t)ten[digits - 1] || m >= (uint64_t)ten[digits]) return false;
        unsigned __int128 off = up ? 2 * half - rest : rest; /* from m / 10^k to x, in 2^-s / 10^k */
        if (digits == 16 && (2 * off > power || (2 * off == power && mantissa % 2))) continue;
        *n = put_digits(m, d);
        *point = digits - k;
        return true;
    }
    return false;
}

/* The digits of %.*e, whatever the locale's point. */
static void some_digits(double x, int n_digits, char *d, int *point)
{
    char text[64];
    size_t n = 0;
    snprintf(text, sizeof text, "%.*e", n_digits - 1, x);
    const char *p = text;
    for (; *p != 'e'; p++)
        if (is_digit(*p)) d[n++] = *p;
    *point = (int)strtol(p + 1, NULL, 10) + 1;
}

static bool gives(const char *d, size_t n, int point, double x)
{
    char text[64];
    int saved = errno;
    memcpy(text, d, n);
    snprintf(text + n, sizeof text - n, "e%d", point - (int)n);
    double back = strtod(text, NULL);
    errno = saved;
    return back == x;
}

/* The next number of as many digits. */
static void step_up(char *d, size_t n, int *point)
{
    while (n && d[n - 1] == '9')
        d[--n] = '0';
    if (n)
        d[n - 1]++;
    else
        d[0] = '1', ++*point;
}

static void shortest(double x, char *d, size_t *n, int *point)
{
    int e;
    bool power_of_two = frexp(x, &e) == 0.5;
    int digits = x < DBL_MIN ? 1 : 15; /* normal: %.15e finds all that is shorter, with zeros at the end */
    for (; digits < 17; digits++) {
        some_digits(x, digits, d, point);
        if (gives(d, (size_t)digits, *point, x)) break;
        /* Below a power of two the doubles lie closer: the nearest text may be another's, the next one up still ours. */
        if (!power_of_two) continue;
        step_up(d, (size_t)digits, point);
        if (gives(d, (size_t)digits, *point, x)) break;
    }
    if (digits == 17) some_digits(x, 17, d, point);
    *n = (size_t)digits;
}

size_t num_format_f64(double x, char *buf)
{
    char d[32] = "0";
    size_t n = 1, at = 0;
    int point = 1, k;
    if (isnan(x)) return memcpy(buf, "nan", 4), 3;
    if (signbit(x)) buf[at++] = '-', x = -x;
    if (isinf(x)) return memcpy(buf + at, "inf", 4), at + 3;
    bool usual =
        x >= 1e-4 && x < 1e16 && (few_digits(x, d, &n, &point, &k) || many_digits(x, k, d, &n, &point));
    if (x != 0 && !usual) shortest(x, d, &n, &point);
    while (n > 1 && d[n - 1] == '0')
        n--;
    at += layout(d, n, point, buf + at);
    buf[at] = 0;
    return at;
}

/* ---- amounts ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

/* "1.5 KiB": digits, maybe a point and digits, spaces, a unit in any case. */
static bool parse_amount(const char *s, const struct unit *units, size_t n_units, uint64_t *out)
{
    size_t n = strspn(s, "0123456789."), i = 0;
    const char *unit = s + n + strspn(s + n, " ");
    uint64_t whole, x;
    double real;
    while (i < n_units && strcasecmp(unit, units[i].name) != 0)
        i++;
    if (i == n_units || n == 0) return false;
    if (num_parse_u64(s, n, &whole)) {
        if (__builtin_mul_overflow(whole, units[i].factor, &x)) return false;
    } else {
        if (!is_digit(s[0]) || !is_digit(s[n - 1]) || !num_parse_f64(s, n, &real)) return false;
        real *= (double)units[i].factor;
        if (real > 9007199254740992.0) return false; /* 2^53: no longer exact */
        x = (uint64_t)real;
    }
    *out = x;
    return true;
}

bool num_parse_bytes(const char *s, uint64_t *out)
{
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", (uint64_t)1 << 10},
        {"kb", (uint64_t)1 << 10},
        {"kib", (uint64_t)1 << 10},
        {"m", (uint64_t)1 << 20},
        {"mb", (uint64_t)1 << 20},
        {"mib", (uint64_t)1 << 20},
        {"g", (uint64_t)1 << 30},
        {"gb", (uint64_t)1 << 30},
        {"gib", (uint64_t)1 << 30},
        {"t", (uint64_t)1 << 40},
        {"tb", (uint64_t)1 << 40},
        {"tib", (uint64_t)1 << 40},
    };
    return parse_amount(s, units, LEN(units), out);
}

bool num_parse_ms(const char *s, uint64_t *out)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    return parse_amount(s, units, LEN(units), out);
}
