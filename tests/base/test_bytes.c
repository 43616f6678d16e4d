/* The reader takes what is there and nothing else; the builder grows, and once bad stays bad. */
#include "base/bytes.h"
#include "base/secret.h"
#include "sanitized.h"
#include "test.h"
#include <math.h>

static void fields(struct ctx *cx)
{
    CLEANUP(buf_free) struct buf b = {0};
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    int64_t i64 = 0;
    double f64 = 0;
    buf_u8(&b, 0xfe);
    buf_u16(&b, 0x1234);
    buf_u32(&b, 0x12345678);
    buf_u64(&b, 0x0123456789abcdef);
    buf_i64(&b, INT64_MIN + 1);
    buf_f64(&b, -0.1);
    CHECK_OK(cx, buf_ok(cx, &b));
    static const uint8_t want[] = {0xfe, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89,
                                   0x67, 0x45, 0x23, 0x01, 1,    0,    0,    0,    0,    0,    0,
                                   0x80, 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0xbf};
    CHECK(b.n == sizeof want && memcmp(b.p, want, sizeof want) == 0);
    struct reader r = reader_of(b.p, b.n);
    CHECK_OK(cx, reader_u8(cx, &r, &u8));
    CHECK_OK(cx, reader_u16(cx, &r, &u16));
    CHECK_OK(cx, reader_u32(cx, &r, &u32));
    CHECK_OK(cx, reader_u64(cx, &r, &u64));
    CHECK_ERR(reader_end(cx, &r), FORMAT);
    CHECK(strstr(cx->err.msg, "16 bytes left over"));
    CHECK_OK(cx, reader_i64(cx, &r, &i64));
    CHECK_OK(cx, reader_f64(cx, &r, &f64));
    CHECK_OK(cx, reader_end(cx, &r));
    CHECK(u8 == 0xfe && u16 == 0x1234 && u32 == 0x12345678 && u64 == 0x0123456789abcdef);
    CHECK(i64 == INT64_MIN + 1 && f64 == -0.1);
}

static void short_input(struct ctx *cx)
{
    static const uint8_t bytes[7] = {0};
    uint8_t u8 = 77;
    uint16_t u16 = 77;
    uint32_t u32 = 77;
    uint64_t u64 = 77;
    int64_t i64 = 77;
    double f64 = 77;
    const uint8_t *view = NULL;
    struct reader r = reader_of(bytes, 0);
    CHECK_ERR(reader_u8(cx, &r, &u8), FORMAT);
    CHECK(strcmp(cx->err.msg, "0 bytes left, want 1") == 0);
    r = reader_of(bytes, 1);
    CHECK_ERR(reader_u16(cx, &r, &u16), FORMAT);
    r = reader_of(bytes, 3);
    CHECK_ERR(reader_u32(cx, &r, &u32), FORMAT);
    CHECK(strcmp(cx->err.msg, "3 bytes left, want 4") == 0 && reader_left(&r) == 3);
    r = reader_of(bytes, 7);
    CHECK_ERR(reader_u64(cx, &r, &u64), FORMAT);
    CHECK_ERR(reader_i64(cx, &r, &i64), FORMAT);
    CHECK_ERR(reader_f64(cx, &r, &f64), FORMAT);
    CHECK_ERR(reader_bytes(cx, &r, 8, &view), FORMAT);
    CHECK_ERR(reader_bytes(cx, &r, SIZE_MAX, &view), FORMAT);
    CHECK(u8 == 77 && u16 == 77 && u32 == 77 && u64 == 77 && i64 == 77 && f64 == 77 && !view);
    CHECK_OK(cx, reader_bytes(cx, &r, 7, &view));
    CHECK(view == bytes && reader_left(&r) == 0);
    CHECK_OK(cx, reader_bytes(cx, &r, 0, &view));
}

static void blobs(struct ctx *cx)
{
    static const uint8_t in[] = {3, 0, 0, 0, 'a', 'b', 'c', 'd'};
    static const uint8_t cut[] = {4, 0, 0, 0, 'a', 'b', 'c'}, huge[] = {0xff, 0xff, 0xff, 0xff, 'a'};
    struct bytes out = {in, 99};
    struct reader r = reader_of(in, sizeof in);
    CHECK_ERR(reader_blob(cx, &r, 2, &out), LIMIT);
    CHECK(strcmp(cx->err.msg, "3 bytes, at most 2") == 0 && reader_left(&r) == 8 && out.n == 99);
    CHECK_OK(cx, reader_blob(cx, &r, 3, &out));
    CHECK(out.p == in + 4 && out.n == 3 && reader_left(&r) == 1);
    r = reader_of(cut, sizeof cut);
    CHECK_ERR(reader_blob(cx, &r, 100, &out), FORMAT);
    CHECK(reader_left(&r) == sizeof cut && out.n == 3);
    r = reader_of(huge, sizeof huge);
    CHECK_ERR(reader_blob(cx, &r, SIZE_MAX, &out), FORMAT);
}

static void texts(struct ctx *cx)
{
    static const struct {
        const char *s;
        size_t n, bad; /* bad: the byte named, or n */
    } t[] = {
        {"", 0, 0},
        {"plain", 5, 5},
        {"a\0b", 3, 1},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, 9},
        {"ab\xc3", 3, 2},
        {"\xc0\x80", 2, 0},
        {"x\xed\xa0\x80", 4, 1},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\x80", 1, 0},
        {"\xff", 1, 0},
    };
    for (size_t i = 0; i < LEN(t); i++) {
        CLEANUP(buf_free) struct buf b = {0};
        const char *got = NULL;
        buf_blob(&b, t[i].s, t[i].n);
        struct reader r = reader_of(b.p, b.n);
        if (t[i].bad < t[i].n) {
            CHECK_ERR(reader_str(cx, &r, 100, &got), FORMAT);
            CHECK(!got && reader_left(&r) == b.n);
            CHECK(strstr(cx->err.msg,
                         arena_printf(cx->mem, "byte %zu of %zu is not UTF-8", t[i].bad, t[i].n)) ||
                  strstr(cx->err.msg, arena_printf(cx->mem, "byte %zu of %zu is NUL", t[i].bad, t[i].n)));
        } else {
            CHECK_OK(cx, reader_str(cx, &r, 100, &got));
            CHECK(got && strlen(got) == t[i].n && memcmp(got, t[i].s, t[i].n) == 0 && reader_left(&r) == 0);
        }
    }
    CLEANUP(buf_free) struct buf b = {0};
    const char *got = NULL;
    buf_str(&b, "four");
    struct reader r = reader_of(b.p, b.n);
    CHECK_ERR(reader_str(cx, &r, 3, &got), LIMIT);
    CHECK(!got && reader_left(&r) == 8);
    struct arena *mem = cx->mem;
    cx->mem = arena_new(4);
    CHECK_ERR(reader_str(cx, &r, 4, &got), NOMEM);
    arena_free(cx->mem);
    cx->mem = mem;
    CHECK(!got && reader_left(&r) == 8);
}

/* Any split of any bytes into writes is the same bytes. */
static void grows(struct ctx *cx)
{
    struct shuffle s = shuffle_new(test_seed());
    enum { N = 200000 };
    uint8_t *want = NEW(cx, uint8_t, N);
    for (size_t i = 0; i < N; i++)
        want[i] = (uint8_t)shuffle_u64(&s);
    for (int round = 0; round < 20; round++) {
        CLEANUP(buf_free) struct buf b = {.max = round % 2 ? N : 0};
        while (b.n < N) {
            size_t k = shuffle_below(&s, round < 10 ? 100 : 20000);
            if (k > N - b.n) k = N - b.n;
            uint8_t *p = k % 2 ? buf_grow(&b, k) : NULL;
            if (p)
                memcpy(p, want + (b.n - k), k);
            else
                buf_put(&b, want + b.n, k);
        }
        CHECK_OK(cx, buf_ok(cx, &b));
        CHECK(memcmp(b.p, want, N) == 0);
        if (round % 2) CHECK(!buf_grow(&b, 1) && b.n == N);
        struct bytes out = {0};
        if (round % 2 == 0) CHECK_OK(cx, buf_to_arena(cx, &b, &out));
        if (round % 2 == 0) CHECK(out.n == N && memcmp(out.p, want, N) == 0 && out.p[N] == 0 && out.p != b.p);
        size_t cap = b.cap;
        buf_reset(&b);
        CHECK(b.n == 0 && b.p && b.cap == cap);
    }
    CLEANUP(buf_free) struct buf none = {0};
    struct bytes out = {0};
    CHECK(buf_grow(&none, 0) != NULL && none.n == 0); /* not NULL: that says bad */
    CHECK_OK(cx, buf_to_arena(cx, &none, &out));
    CHECK(out.p && out.n == 0 && out.p[0] == 0);
    buf_free(NULL);
}

static void bad_stays(struct ctx *cx)
{
    CLEANUP(buf_free) struct buf b = {.max = 10};
    struct bytes out = {0};
    buf_put(&b, "12345678", 8);
    buf_u32(&b, 1);
    CHECK(b.bad && b.n == 8);
    buf_u8(&b, 1); /* would fit */
    buf_printf(&b, "x");
    CHECK(b.n == 8 && !buf_grow(&b, 0));
    CHECK_ERR(buf_ok(cx, &b), LIMIT);
    CHECK(strcmp(cx->err.msg, "more than 10 bytes") == 0);
    CHECK_ERR(buf_to_arena(cx, &b, &out), LIMIT);
    buf_reset(&b);
    buf_u8(&b, 1);
    CHECK(b.bad && b.n == 0 && !out.p);
    buf_free(&b);
    buf_u8(&b, 1);
    CHECK(!b.bad && b.n == 1 && b.max == 10);
    CLEANUP(buf_free) struct buf c = {0};
    buf_u8(&c, 7);
    CHECK(!buf_grow(&c, SIZE_MAX) && c.bad && c.n == 1 && c.p[0] == 7);
    CHECK_ERR(buf_ok(cx, &c), NOMEM);
#if !defined WITH_ASAN && !defined WITH_TSAN /* they end the program at such a size */
    CLEANUP(buf_free) struct buf d = {0};
    CHECK(!buf_grow(&d, SIZE_MAX / 2 - 1));
    CHECK_ERR(buf_ok(cx, &d), NOMEM);
#endif
}

static void prints(struct ctx *cx)
{
    static const char sixty[] = "012345678901234567890123456789012345678901234567890123456789";
    for (size_t head = 0; head < 70; head++) {
        CLEANUP(buf_free) struct buf b = {0};
        for (size_t i = 0; i < head; i++)
            buf_u8(&b, '-');
        buf_printf(&b, "%s|%d", sixty, 42);
        CHECK(b.n == head + 63 && memcmp(b.p + head, sixty, 60) == 0 &&
              memcmp(b.p + head + 60, "|42", 3) == 0);
        buf_printf(&b, "%s", "");
        CHECK(b.n == head + 63);
    }
    CLEANUP(buf_free) struct buf exact = {.max = 5};
    buf_printf(&exact, "%d", 12345);
    CHECK(exact.n == 5 && memcmp(exact.p, "12345", 5) == 0);
    CHECK_OK(cx, buf_ok(cx, &exact));
    buf_reset(&exact);
    buf_printf(&exact, "%d", 123456);
    CHECK(exact.n == 0);
    CHECK_ERR(buf_ok(cx, &exact), LIMIT);
    CLEANUP(buf_free) struct buf roomy = {.max = 5};
    buf_u8(&roomy, 'a');
    buf_printf(&roomy, "%s", "bcdef"); /* there is room on the heap, but not below max */
    CHECK(roomy.n == 1 && roomy.bad);
}

TEST_MAIN(T(fields), T(short_input), T(blobs), T(texts), T(grows), T(bad_stays), T(prints))
