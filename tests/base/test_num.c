/* Numbers as text: what is one, its value to the last bit, its shortest text; amounts with units. */
#include "base/num.h"
#include "base/secret.h"
#include "test.h"
#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>

static bool parse(const char *s, double *out)
{
    return num_parse_f64(s, strlen(s), out);
}

static void is_a_number(struct ctx *cx)
{
    (void)cx;
    static const struct {
        const char *s;
        double want;
    } good[] = {
        {"0", 0},
        {"-0", -0.0},
        {"+1", 1},
        {"1.", 1},
        {".5", 0.5},
        {"-.5e1", -5},
        {"1E5", 1e5},
        {"1e+05", 1e5},
        {"1e-05", 1e-5},
        {"0001.50", 1.5},
        {"0e999999999999999999999", 0},
        {"0.1", 0.1},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
        {"1e22", 1e22},
        {"1e23", 1e23},
        {"9007199254740993", 9007199254740992.0},
        {"9007199254740993.00000000000000000000000000000000000001", 9007199254740994.0},
        {"9007199254740991e22", 9007199254740991e22},
        {"1.7976931348623157e308", DBL_MAX},
        {"1.797693134862315807e308", DBL_MAX},
        {"2.2250738585072011e-308", 2.2250738585072011e-308}, /* PHP's endless loop of 2011 */
        {"2.2250738585072014e-308", DBL_MIN},
        {"4.9e-324", 0x1p-1074},
        {"2.4703282292062328e-324", 0x1p-1074},
        {"2.4703282292062327e-324", 0},
        {"1e-400", 0},
        {"-1e-99999999999999999999", -0.0},
    };
    static const char *const bad[] = {
        "",         "+",
        "-",        ".",
        "-.",       "e5",
        "1e",       "1e+",
        "1e5.",     "1.2.3",
        "1 ",       " 1",
        "1_0",      "0x10",
        "nan",      "inf",
        "NaN",      "Inf",
        "1,5",      "--1",
        "+-1",      "1e5e",
        "1e 5",     "1d5",
        "1e309",    "1.7976931348623159e308",
        "-1e999",   "1e99999999999999999999",
        "infinity", "1f",
        "١",
    };
    for (size_t i = 0; i < LEN(good); i++) {
        double x = 77;
        CHECK(parse(good[i].s, &x));
        if (memcmp(&x, &good[i].want, 8) != 0) printf("# %s: %a, want %a\n", good[i].s, x, good[i].want);
        CHECK(memcmp(&x, &good[i].want, 8) == 0);
    }
    for (size_t i = 0; i < LEN(bad); i++) {
        double x = 77;
        if (parse(bad[i], &x)) printf("# '%s' gave %g\n", bad[i], x);
        CHECK(!parse(bad[i], &x) && x == 77);
    }
    double x = 0;
    CHECK(num_parse_f64("12345", 3, &x) && x == 123 && !num_parse_f64("1\0", 2, &x));
}

/* Long texts: the exponent brings it back, or the 800th digit decides. */
static void long_texts(struct ctx *cx)
{
    double x = 0;
    char *s = arena_alloc(cx->mem, 200000, 1);
    memset(s, '0', 100000);
    memcpy(s, "0.", 2);
    strcpy(s + 100000, "15e99999");
    CHECK(parse(s, &x) && x == 1.5);
    memset(s, '0', 100000);
    s[0] = '7';
    strcpy(s + 100000, ".000e-99999");
    CHECK(parse(s, &x) && x == 7);
    for (int more = 0; more < 2; more++) { /* half between 1 and the next double, and a bit more */
        int n = sprintf(s, "1.00000000000000011102230246251565404236316680908203125");
        memset(s + n, '0', 3000);
        s[n + 3000] = (char)('0' + more);
        s[n + 3001] = 0;
        CHECK(parse(s, &x) && x == (more ? 1 + 0x1p-52 : 1));
    }
    /* The longest halfway: between the two smallest normal-size neighbours, 767 digits, by the C library's exact %f. */
    double low = 0x1.fffffffffffffp-1022, high = 0x1p-1021;
    int n = snprintf(s, 2000, "%.1074Lf", ((long double)low + (long double)high) / 2);
    CHECK(n == 1076 && parse(s, &x) && x == high); /* half to even */
    n = snprintf(s, 2000, "%.1075Lf", ((long double)low + (long double)high) / 2);
    CHECK(s[n - 1] == '5' && parse(s, &x) && x == high);
    s[n - 1] = '4';
    CHECK(parse(s, &x) && x == low);
}

static double random_double(struct shuffle *s)
{
    double x;
    uint64_t bits = shuffle_u64(s);
    if (shuffle_below(s, 20) == 0) bits &= 0x800fffffffffffff; /* subnormal */
    if (shuffle_below(s, 20) == 0) bits &= 0xfff0000000000000; /* a power of two */
    memcpy(&x, &bits, 8);
    switch (shuffle_below(s, 6)) {
    case 0:
        return shuffle_normal(s);
    case 1:
        return (double)(int64_t)(bits >> 11);
    case 2:
        return (double)(int64_t)(bits >> shuffle_below(s, 40)) / 1000;
    default:
        return isfinite(x) ? x : 1.5;
    }
}

/* Law: the C library's value of the same text. */
static void same_as_strtod(struct ctx *cx)
{
    struct shuffle s = shuffle_new(test_seed());
    char text[1200];
    (void)cx;
    for (int i = 0; i < 100000; i++) {
        double x = random_double(&s), got = 0;
        switch (shuffle_below(&s, 4)) {
        case 0:
            snprintf(text, sizeof text, "%.*g", 1 + (int)shuffle_below(&s, 40), x);
            break;
        case 1:
            snprintf(text, sizeof text, "%.*f", (int)shuffle_below(&s, 30), x);
            break;
        case 2: /* near a halfway point: one digit more than exact */
            snprintf(text, sizeof text, "%.*Le", 17 + (int)shuffle_below(&s, 5),
                     (long double)x * (1 + 0x1p-53L));
            break;
        default:
            snprintf(text, sizeof text, "%llue%d",
                     (unsigned long long)(shuffle_u64(&s) >> shuffle_below(&s, 60)),
                     (int)shuffle_below(&s, 80) - 40);
        }
        double want = strtod(text, NULL);
        bool ok = parse(text, &got);
        if (ok ? memcmp(&got, &want, 8) != 0 : isfinite(want)) printf("# %s: %a, want %a\n", text, got, want);
        CHECK(ok ? memcmp(&got, &want, 8) == 0 : isinf(want));
    }
}

static void integers(struct ctx *cx)
{
    (void)cx;
    static const struct {
        const char *s;
        bool i_ok, u_ok;
        int64_t i;
        uint64_t u;
    } t[] = {
        {"0", true, true, 0, 0},
        {"+7", true, true, 7, 7},
        {"-7", true, false, -7, 0},
        {"-0", true, false, 0, 0},
        {"000000000000000000000000000012", true, true, 12, 12},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", false, true, 0, (uint64_t)INT64_MAX + 1},
        {"-9223372036854775808", true, false, INT64_MIN, 0},
        {"-9223372036854775809", false, false, 0, 0},
        {"18446744073709551615", false, true, 0, UINT64_MAX},
        {"18446744073709551616", false, false, 0, 0},
        {"99999999999999999999999", false, false, 0, 0},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"+", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"1e3", false, false, 0, 0},
        {"0x1", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"1 ", false, false, 0, 0},
        {"+-1", false, false, 0, 0},
    };
    for (size_t k = 0; k < LEN(t); k++) {
        int64_t i = 77;
        uint64_t u = 77;
        CHECK(num_parse_i64(t[k].s, strlen(t[k].s), &i) == t[k].i_ok && i == (t[k].i_ok ? t[k].i : 77));
        CHECK(num_parse_u64(t[k].s, strlen(t[k].s), &u) == t[k].u_ok && u == (t[k].u_ok ? t[k].u : 77));
    }
}

/* What Python 3.11 prints. */
static void python_prints(struct ctx *cx)
{
    (void)cx;
    static const struct {
        double x;
        const char *want;
    } t[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {3, "3.0"},
        {-2.5, "-2.5"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {2.0 / 3, "0.6666666666666666"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {1e-7, "1e-07"},
        {1.5e-7, "1.5e-07"},
        {0.00012345, "0.00012345"},
        {123456789.0, "123456789.0"},
        {1e15, "1000000000000000.0"},
        {9007199254740992.0, "9007199254740992.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {12345678901234567000.0, "1.2345678901234567e+19"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {6.02214076e23, "6.02214076e+23"},
        {1e100, "1e+100"},
        {1.5e300, "1.5e+300"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {1e-323, "1e-323"},
        {1.5e-323, "1.5e-323"},
        {0x1p89, "6.189700196426902e+26"}, /* not ..901, the nearest of 16 digits */
        {0x1p-44, "5.684341886080802e-14"},
        {0x1p-1022, "2.2250738585072014e-308"},
        {5e15, "5000000000000000.0"},
        {123456.789, "123456.789"},
        {(double)NAN, "nan"},
        {(double)INFINITY, "inf"},
        {-(double)INFINITY, "-inf"},
    };
    for (size_t i = 0; i < LEN(t); i++) {
        char buf[32];
        size_t n = num_format_f64(t[i].x, buf);
        if (strcmp(buf, t[i].want) != 0) printf("# %a: %s, want %s\n", t[i].x, buf, t[i].want);
        CHECK(n == strlen(t[i].want) && strcmp(buf, t[i].want) == 0);
    }
}

/* Laws: it parses back to the same bits, fits, and no text of fewer digits does. */
static void round_trip(struct ctx *cx)
{
    struct shuffle s = shuffle_new(test_seed() + 1);
    char buf[32], other[64];
    (void)cx;
    for (int i = 0; i < 100000; i++) {
        double x = random_double(&s), back = 0;
        size_t n = num_format_f64(x, buf), digits = 0, zeros = 0;
        CHECK(n < sizeof buf && strlen(buf) == n && parse(buf, &back) && memcmp(&x, &back, 8) == 0);
        for (const char *p = buf; *p && *p != 'e'; p++) {
            if (*p < '0' || *p > '9' || (digits == 0 && *p == '0')) continue;
            digits++;
            zeros = *p == '0' ? zeros + 1 : 0;
        }
        digits -= zeros;
        if (digits < 2) continue;
        snprintf(other, sizeof other, "%.*e", (int)digits - 2, x);
        if (strtod(other, NULL) == x) printf("# %s is shorter than %s\n", other, buf);
        CHECK(strtod(other, NULL) != x);
    }
}

static void any_locale(struct ctx *cx)
{
    (void)cx;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    bool set = false;
    for (size_t i = 0; i < LEN(names) && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]) && strcmp(localeconv()->decimal_point, ",") == 0;
    if (!set) SKIP("no locale with a comma");
    char buf[32];
    double x = 0;
    CHECK(parse("0.12345678901234567890123", &x) && x == 0.12345678901234567890123 && !parse("0,5", &x));
    num_format_f64(0.1 + 0.2, buf);
    CHECK(strcmp(buf, "0.30000000000000004") == 0);
    setlocale(LC_NUMERIC, "C");
}

static void errno_stays(struct ctx *cx)
{
    (void)cx;
    double x;
    char buf[32];
    errno = EPERM;
    CHECK(!parse("1.7976931348623159e308", &x) && parse("2e-324", &x));
    num_format_f64(0x1p-1070, buf);
    CHECK(errno == EPERM);
}

static void amounts(struct ctx *cx)
{
    (void)cx;
    static const struct {
        const char *s;
        uint64_t want;
    } bytes[] = {
        {"0", 0},
        {"4096", 4096},
        {"10k", 10240},
        {"64 MiB", 64 << 20},
        {"16MiB", 16 << 20},
        {"1.5GiB", (uint64_t)3 << 29},
        {"2 KB", 2048},
        {"7b", 7},
        {"1t", (uint64_t)1 << 40},
        {"18446744073709551615", UINT64_MAX},
        {"16777215tib", (uint64_t)16777215 << 40},
    };
    static const struct {
        const char *s;
        uint64_t want;
    } ms[] = {{"250ms", 250}, {"3 s", 3000}, {"2m", 120000},    {"1h", 3600000},
              {"1.5s", 1500}, {"0s", 0},     {"72h", 259200000}};
    static const char *const bad[] = {"",      "k",    "-1k",  "+1k",         "1.k",       ".5k",
                                      "1..5k", "1e3",  "1kk",  "1 kx",        " 1k",       "1k ",
                                      "1x",    "1\tk", "0x1k", "16777216tib", "99999999t", "1 k i b"};
    uint64_t x;
    for (size_t i = 0; i < LEN(bytes); i++)
        CHECK(num_parse_bytes(bytes[i].s, &x) && x == bytes[i].want);
    for (size_t i = 0; i < LEN(ms); i++)
        CHECK(num_parse_ms(ms[i].s, &x) && x == ms[i].want);
    x = 77;
    for (size_t i = 0; i < LEN(bad); i++)
        CHECK(!num_parse_bytes(bad[i], &x) && !num_parse_ms(bad[i], &x) && x == 77);
    CHECK(!num_parse_ms("5", &x) && !num_parse_ms("5 MiB", &x) && !num_parse_ms("1w", &x) && x == 77);
}

static void checked_sizes(struct ctx *cx)
{
    (void)cx;
    size_t x;
    CHECK(num_add(SIZE_MAX - 1, 1, &x) && x == SIZE_MAX && !num_add(SIZE_MAX, 1, &x));
    CHECK(num_mul(SIZE_MAX / 2, 2, &x) && x == SIZE_MAX - 1 && !num_mul(SIZE_MAX / 2, 3, &x));
}

TEST_MAIN(T(is_a_number), T(long_texts), T(same_as_strtod), T(integers), T(python_prints), T(round_trip),
          T(any_locale), T(errno_stays), T(amounts), T(checked_sizes))
