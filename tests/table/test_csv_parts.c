/* The small machines under the CSV reader, each against its plain twin: marks, numbers, hashes, repeated ids, UTF-8. */
#include "base/num.h"
#include "base/pool.h"
#include "scratch.h"
#include "table/csv_num.h"
#include "table/csv_scan.h"
#include "table/hash.h"
#include "table/ids.h"
#include "table/utf8.h"

static bool same_marks(const struct csv_marks *a, const struct csv_marks *b)
{
    return a->n == b->n && a->n_newlines == b->n_newlines && a->in_quote == b->in_quote &&
           a->quoted == b->quoted && a->bad_quote == b->bad_quote && a->odd_bytes == b->odd_bytes &&
           memcmp(a->pos, b->pos, a->n * sizeof *a->pos) == 0;
}

static void marks(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed());
    static const char alphabet[] = ",,,\n\"\"\r;abc01\x80";
    enum { MOST = 700 };
    uint8_t *text = NEW(cx, uint8_t, MOST + CSV_PAD);
    struct csv_marks a = {.cap = MOST}, b = a;
    a.pos = NEW(cx, uint32_t, MOST + CSV_PAD), b.pos = NEW(cx, uint32_t, MOST + CSV_PAD);
    for (int round = 0; round < 60000; round++) {
        size_t n = shuffle_below(&s, MOST), rare = 1 + shuffle_below(&s, 40);
        for (size_t i = 0; i < n; i++) {
            text[i] = shuffle_below(&s, rare) ? (uint8_t)('a' + i % 26)
                                              : (uint8_t)alphabet[shuffle_below(&s, sizeof alphabet)];
        }
        if (round % 2) /* mostly well-formed: quotes around cells, pairs inside */
            for (size_t i = 0; i + 12 < n; i += 4 + shuffle_below(&s, 60)) {
                static const char *const good[] = {",\"a,b\",", "\n\"\",", "\"\"",       "\",\"",
                                                   "\"\n\"",    "\"\r\n",  ",\"\"\"x\"", "\"\",\"\""};
                const char *g = good[shuffle_below(&s, LEN(good))];
                memcpy(text + i, g, strlen(g));
            }
        uint8_t delimiter = shuffle_below(&s, 3) ? ',' : ';';
        csv_scan(text, n, delimiter, &a);
        csv_scan_ref(text, n, delimiter, &b);
        if (!same_marks(&a, &b)) fprintf(stderr, "# round %d\n", round);
        CHECK(same_marks(&a, &b) && a.scanned == n);
    }
    a.cap = 5; /* stops soon after five, at the end of what it looked at */
    memset(text, ',', MOST);
    csv_scan(text, MOST, ',', &a);
    CHECK(a.n >= 5 && a.n <= 5 + CSV_PAD && a.scanned == a.n);
}

static size_t random_number(struct shuffle *s, char *t)
{
    static const char odd[] = "+-.eE 0123456789xNa\t";
    switch (shuffle_below(s, 6)) {
    case 0:
        return (size_t)sprintf(t, "%jd", (intmax_t)(int64_t)(shuffle_u64(s) >> shuffle_below(s, 64)));
    case 1:
        return (size_t)sprintf(t, "%.*f", (int)shuffle_below(s, 12), shuffle_normal(s) * 1000);
    case 2:
        return (size_t)sprintf(t, "%.*g", 1 + (int)shuffle_below(s, 19), shuffle_normal(s) * 1e-5);
    case 3: {
        double x;
        uint64_t bits = shuffle_u64(s);
        memcpy(&x, &bits, 8);
        return (size_t)sprintf(t, "%.*g", 1 + (int)shuffle_below(s, 19), x);
    }
    case 4: { /* digits with a point, near halves of doubles: 2^53 and beyond */
        uint64_t m = ((uint64_t)1 << 53) + shuffle_below(s, 1000);
        return (size_t)sprintf(t, "%ju%se%d", (uintmax_t)m, shuffle_below(s, 2) ? ".5" : "",
                               (int)shuffle_below(s, 30) - 15);
    }
    default:
        break;
    }
    size_t n = 1 + shuffle_below(s, 24);
    for (size_t i = 0; i < n; i++)
        t[i] = odd[shuffle_below(s, shuffle_below(s, 2) ? sizeof odd - 1 : 16)];
    return n;
}

static size_t trim(const char **s, size_t n)
{
    while (n && (**s == ' ' || **s == '\t'))
        ++*s, n--;
    while (n && ((*s)[n - 1] == ' ' || (*s)[n - 1] == '\t'))
        n--;
    return n;
}

static void numbers(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 1);
    char buf[512];
    (void)cx;
    for (int round = 0; round < 2000000; round++) {
        size_t n = random_number(&s, buf + 32);
        const char *t = buf + 32, *core = t;
        memset(buf + 32 + n, "5,x\n"[shuffle_below(&s, 4)],
               32); /* what stands behind a cell is not part of it */
        size_t k = trim(&core, n);
        double x = 0, y = 0;
        int64_t i = 0, j = 0;
        bool is_i = num_parse_i64(core, k, &j), is_f = num_parse_f64(core, k, &y);
        bool got_i = csv_i64(t, n, &i), got_f = csv_f64(t, n, &x);
        bool same = got_i == is_i && (!is_i || i == j) && got_f == is_f &&
                    (!is_f || memcmp(&x, &y, 8) == 0) &&
                    csv_class(t, n) == (is_i   ? NUM_INT
                                        : is_f ? NUM_REAL
                                               : NUM_TEXT);
        if (!same) fprintf(stderr, "# '%.*s': class %d\n", (int)n, t, (int)csv_class(t, n));
        CHECK(same);
    }
}

/* The kernels stop where they must and never say what the slow way does not. */
static void many_numbers(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 5);
    enum { N = 50 };
    char *text = NEW(cx, char, 512 * N);
    bool stop[256] = {false};
    stop['9'] = stop['N'] = true;
    size_t fast = 0;
    for (int round = 0; round < 20000; round++) {
        struct csv_cell cells[N];
        double got[N], want;
        enum num_class widest = NUM_NONE, seen = NUM_NONE;
        for (size_t i = 0; i < N; i++) {
            char *t = text + 512 * i;
            size_t n = shuffle_below(&s, 4)
                           ? (size_t)sprintf(t, "%.*f", (int)shuffle_below(&s, 10), shuffle_normal(&s) * 1000)
                       : shuffle_below(&s, 8) ? random_number(&s, t)
                                              : 0;
            memset(t + n, "5.-,"[shuffle_below(&s, 4)], 32);
            cells[i] = (struct csv_cell){t, n};
        }
        size_t at = shuffle_below(&s, N), k = csv_class_many(cells + at, N - at, stop, &widest);
        for (size_t i = 0; i < k; i++) {
            enum num_class c = csv_class(cells[at + i].p, cells[at + i].n);
            CHECK((c == NUM_INT || c == NUM_REAL) && !stop[(uint8_t)cells[at + i].p[0]] && cells[at + i].n);
            seen = c > seen ? c : seen;
        }
        CHECK(seen == widest);
        k = csv_f64_many(cells + at, N - at, stop, got);
        for (size_t i = 0; i < k; i++)
            CHECK(num_parse_f64(cells[at + i].p, cells[at + i].n, &want) && memcmp(&want, &got[i], 8) == 0 &&
                  !stop[(uint8_t)cells[at + i].p[0]]);
        fast += k;
    }
    CHECK(fast > 20000); /* or it is no fast way */
}

static void crc(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 2);
    uint8_t b[300];
    (void)cx;
    CHECK(crc32c(0, "123456789", 9) == 0xe3069283 && crc32c_ref(0, "123456789", 9) == 0xe3069283);
    for (int round = 0; round < 2000; round++) {
        size_t n = shuffle_below(&s, sizeof b), cut = shuffle_below(&s, n + 1);
        for (size_t i = 0; i < n; i++)
            b[i] = (uint8_t)shuffle_u64(&s);
        CHECK(crc32c(0, b, n) == crc32c_ref(0, b, n));
        CHECK(crc32c(crc32c(0, b, cut), b + cut, n - cut) == crc32c(0, b, n));
    }
}

static void repeats(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 3);
    const char *dir = scratch_dir(cx);
    struct pool *pool = pool_new(3);
    for (int round = 0; round < 60; round++) {
        struct arena_mark mark = arena_mark(cx->mem);
        size_t n = round ? shuffle_below(&s, 2000) : 600000, n_ids = 1 + shuffle_below(&s, 2 * n + 1);
        uint64_t *off = NEW(cx, uint64_t, n + 1), want = 0, row = 0, earlier = 0;
        char *text = NEW(cx, char, 12 * n + 12);
        size_t *first = NEW(cx, size_t, n_ids);
        uint32_t *ids = NEW(cx, uint32_t, n + 1);
        for (size_t i = 0; i < n; i++) {
            ids[i] = (uint32_t)shuffle_below(&s, n_ids);
            off[i + 1] = off[i] + (uint64_t)sprintf(text + off[i], "%x", ids[i]);
            if (first[ids[i]] && !want++) row = i, earlier = first[ids[i]] - 1;
            if (!first[ids[i]]) first[ids[i]] = i + 1;
        }
        struct ids_repeats got;
        const uint64_t *bits = NULL;
        cx->pool = shuffle_below(&s, 2) ? pool : NULL;
        CHECK_OK(cx, ids_find_repeats(cx, dir, off, text, n, &got, &bits));
        cx->pool = NULL;
        CHECK(got.n == want && (!want || (got.row == row && got.earlier == earlier)));
        for (size_t i = 0; i < n; i++)
            CHECK((bits[i / 64] >> i % 64 & 1) == (first[ids[i]] != i + 1));
        arena_rewind(cx->mem, mark);
    }
    pool_free(pool);
    CHECK(scratch_count(cx, dir) == 0);
}

static void utf8(struct ctx *cx)
{
    static const struct {
        const char *s;
        size_t n, good;
    } v[] = {{"abc", 3, 3},
             {"a\0b", 3, 1},
             {"\xc3\xa9", 2, 2},
             {"\xc0\x80", 2, 0},
             {"\xe0\x9f\xbf", 3, 0},
             {"\xe2\x82\xac", 3, 3},
             {"\xed\xa0\x80", 3, 0},
             {"\xf0\x9f\x98\x80", 4, 4},
             {"\xf4\x90\x80\x80", 4, 0},
             {"\xf0\x8f\xbf\xbf", 4, 0},
             {"ok\xe2\x82", 4, 2},
             {"12345678\xff", 9, 8},
             {"\x80", 1, 0},
             {"", 0, 0},
             {"\x01\x7f 345678", 9, 9}};
    (void)cx;
    for (size_t i = 0; i < LEN(v); i++)
        CHECK(utf8_prefix(v[i].s, v[i].n) == v[i].good);
    CHECK(utf8_cut("a\xc3\xa9", 2) == 1 && utf8_cut("abc", 2) == 2);
}

TEST_MAIN(T(marks), T(numbers), T(many_numbers), T(crc), T(repeats), T(utf8))
