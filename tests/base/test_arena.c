/* Arenas: pieces are zero, aligned and apart; marks nest; hooks run newest first; caps hold. */
#include "base/secret.h"
#include "sanitized.h"
#include "test.h"

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

static bool is_all(const void *p, uint8_t x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)p)[i] != x) return false;
    return true;
}

static void pieces(struct ctx *cx)
{
    char *last = NULL;
    for (size_t align = 1; align <= 4096; align *= 2)
        for (size_t size = 0; size < 3000; size = 3 * size + 1) {
            char *p = arena_alloc(cx->mem, size, align);
            CHECK(p && (uintptr_t)p % align == 0 && p != last && is_all(p, 0, size));
            memset(p, 0xee, size);
            last = p;
        }
    double *x = NEW(cx, double, 1000);
    CHECK((uintptr_t)x % 64 == 0);
    size_t before = arena_used(cx->mem);
    char *big = arena_alloc(cx->mem, 100 << 20, 64);
    CHECK(big && (uintptr_t)big % 64 == 0 && big[0] == 0 && big[(100 << 20) - 1] == 0);
    CHECK(arena_used(cx->mem) == before + (100 << 20));
}

static void refuses(struct ctx *cx)
{
    size_t n = SIZE_MAX / 8 + 2;
    CHECK(!NEW(cx, double, n));
    CHECK(!arena_alloc_n(cx->mem, SIZE_MAX / 2, 3, 8));
    CHECK(!arena_alloc(cx->mem, SIZE_MAX, 1) && !arena_alloc(cx->mem, SIZE_MAX - 32, 64));
    static const size_t caps[] = {1, 100, 4096, 100000, 3 << 20};
    for (size_t i = 0; i < LEN(caps); i++) {
        struct arena *a = arena_new(caps[i]);
        CHECK(!arena_alloc(a, caps[i] + 1, 1) && arena_used(a) == 0);
        CHECK(arena_alloc(a, caps[i], 1) && arena_used(a) == caps[i]);
        CHECK(!arena_alloc(a, 1, 1) && !arena_on_free(a, free, NULL) && !arena_strdup(a, ""));
        arena_reset(a);
        size_t got = 0;
        while (arena_alloc(a, 48, 16))
            got += 48;
        CHECK(got == caps[i] / 48 * 48);
        arena_free(a);
    }
    arena_free(NULL);
    struct arena *none = NULL;
    arena_freep(&none);
}

struct call {
    char *at;
    const char *piece; /* must still be there */
    char name;
};

static void called(void *arg)
{
    struct call *c = arg;
    *c->at = c->name;
    c->at[1] = c->piece[0];
}

static void hooks(struct ctx *cx)
{
    (void)cx;
    struct arena *a = arena_new(0);
    char order[16] = "";
    struct call calls[5];
    struct arena_mark marks[5], empty = arena_mark(a);
    /* order[] is filled from the left: hooks 4, 3 by the first rewind, then 2, then 1 and 0 */
    static const int place[] = {4, 3, 2, 1, 0};
    for (int i = 0; i < 5; i++) {
        char *piece = arena_alloc(a, i % 2 ? 8 : 1 << 20, 8); /* big and small */
        marks[i] = arena_mark(a);
        calls[i] = (struct call){order + 2 * place[i], piece, (char)('0' + i)};
        CHECK(arena_on_free(a, called, &calls[i]));
        char *later = arena_alloc(a, 1 << 20, 8); /* newer than the hook, but the hook may look at it */
        calls[i].piece = later;
        memset(later, 'a' + i, 1 << 20);
    }
    arena_rewind(a, arena_mark(a));
    CHECK(order[0] == 0);
    arena_rewind(a, marks[3]);
    CHECK(memcmp(order, "4e3d\0\0", 6) == 0);
    arena_rewind(a, marks[3]);
    arena_rewind(a, marks[2]);
    CHECK(memcmp(order, "4e3d2c\0", 7) == 0);
    arena_rewind(a, empty);
    CHECK(memcmp(order, "4e3d2c1b0a", 11) == 0 && arena_used(a) == 0);
    memset(order, 0, sizeof order);
    calls[0].piece = "x";
    CHECK(arena_on_free(a, called, &calls[0]));
    arena_reset(a);
    CHECK(order[8] == '0');
    order[8] = 0;
    CHECK(arena_on_free(a, called, &calls[0]));
    arena_free(a);
    CHECK(order[8] == '0');
}

struct piece {
    uint8_t *p;
    size_t n;
};

/* Random pieces, marks and rewinds: what is older than the mark keeps its bytes, what is new is zero. */
static void random_marks(struct ctx *cx)
{
    enum { PIECES = 600, MARKS = 30 };
    struct shuffle s = shuffle_new(test_seed());
    struct piece *x = NEW(cx, struct piece, PIECES);
    struct {
        struct arena_mark m;
        size_t n, used;
    } marks[MARKS];
    struct arena *a = arena_new(0);
    size_t n = 0, n_marks = 0;
    bool zero = true, same = true;
    for (int round = 0; round < 30000; round++) {
        uint64_t what = shuffle_below(&s, 100);
        if (what < 3 && n_marks < MARKS) {
            marks[n_marks].m = arena_mark(a);
            marks[n_marks].used = arena_used(a);
            marks[n_marks++].n = n;
        } else if (what < 6 || n == PIECES) {
            size_t to = n_marks ? shuffle_below(&s, n_marks) : 0;
            if (n_marks)
                arena_rewind(a, marks[to].m);
            else
                arena_reset(a);
            n = n_marks ? marks[to].n : 0;
            CHECK(arena_used(a) == (n_marks ? marks[to].used : 0));
            n_marks = to;
            for (size_t i = 0; i < n; i++)
                same = same && is_all(x[i].p, (uint8_t)(i % 255 + 1), x[i].n);
        } else {
            size_t size = shuffle_below(&s, shuffle_below(&s, 200)  ? 300
                                            : shuffle_below(&s, 20) ? 30000
                                                                    : 3 << 20);
            size_t align = (size_t)1 << shuffle_below(&s, 8);
            x[n] = (struct piece){arena_alloc(a, size, align), size};
            zero = zero && x[n].p && (uintptr_t)x[n].p % align == 0 && is_all(x[n].p, 0, size);
            memset(x[n].p, (int)(n % 255 + 1), size);
            n++;
        }
    }
    CHECK(zero);
    CHECK(same);
    arena_free(a);
}

/* A loop in marks stays in the same memory. */
static void loops_stay(struct ctx *cx)
{
    struct arena_mark m = arena_mark(cx->mem);
    char *seen[3] = {0};
    size_t moved = 0;
    for (int i = 0; i < 1000; i++) {
        char *p = NULL;
        for (int k = 0; k < 40; k++)
            p = arena_alloc(cx->mem, 1000, 8);
        moved += i > 2 && p != seen[0];
        seen[0] = p;
        arena_rewind(cx->mem, m);
    }
    CHECK(moved == 0);
}

static void strings(struct ctx *cx)
{
    char *text = arena_alloc(cx->mem, 1001, 1);
    memset(text, 'x', 1000);
    CHECK(strcmp(arena_strdup(cx->mem, "ab"), "ab") == 0 && strcmp(arena_strdup(cx->mem, ""), "") == 0);
    CHECK(strcmp(arena_strndup(cx->mem, "abc", 2), "ab") == 0);
    CHECK(strcmp(arena_strndup(cx->mem, "abc", SIZE_MAX), "abc") == 0);
    CHECK(strcmp(arena_printf(cx->mem, "%d %s", 7, "of 9"), "7 of 9") == 0);
    for (int n = 250; n < 260; n++)
        CHECK(strlen(arena_printf(cx->mem, "%.*s", n, text)) == (size_t)n);
    struct arena *a = arena_new(300);
    CHECK(!arena_printf(a, "%s", text) && !arena_strdup(a, text) && arena_strndup(a, text, 299));
    CHECK(!arena_printf(a, "%d", 1) && !arena_strdup(a, ""));
    arena_free(a);
}

static void gaps_are_poisoned(struct ctx *cx)
{
#ifdef WITH_ASAN
    struct arena_mark m = arena_mark(cx->mem);
    for (size_t n = 1; n < 200; n++) {
        char *p = arena_alloc(cx->mem, n, 1), *q = arena_alloc(cx->mem, n, 64);
        CHECK(!__asan_region_is_poisoned(p, n) && !__asan_region_is_poisoned(q, n));
        CHECK(__asan_address_is_poisoned(p + n) && __asan_address_is_poisoned(q + n));
    }
    char *p = arena_alloc(cx->mem, 10, 1);
    arena_rewind(cx->mem, m);
    CHECK(__asan_address_is_poisoned(p));
#else
    (void)cx;
    SKIP("built without AddressSanitizer");
#endif
}

TEST_MAIN(T(pieces), T(refuses), T(hooks), T(random_marks), T(loops_stay), T(strings), T(gaps_are_poisoned))
