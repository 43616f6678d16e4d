/* Chunks make a stack; a piece too big for one is a calloc of its own. A hook or a big piece is noted by a record in the
 * chunks. Places in time are counted by `total`, the bytes of all pieces so far, which every record makes grow: what is
 * newer than a mark has a greater one.
 *
 *   chunk: [struct chunk][piece][pad][piece] ...      | never used: still zero from calloc |
 *                                         ^ a->at     ^ dirty                            ^ end
 */
#include "base/arena.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
enum { GAP = 16 }; /* between pieces */
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { GAP = 0 };
#endif

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20, BIG = CHUNK_MAX / 4 };

struct chunk {
    struct chunk *below;
    char *dirty; /* from here on all bytes are zero */
    char *end;
    char *at_below; /* a->at when this chunk was put on top */
};

struct hook {
    struct hook *older;
    size_t when; /* a->total when it was asked for */
    void (*fn)(void *);
    void *arg;
};

struct big {
    struct big *older;
    size_t when;
    void *p; /* calloc */
};

struct arena {
    struct chunk *top;
    char *at; /* next free byte in top; NULL when there is none */
    struct chunk *spare;
    struct hook *hooks; /* newest first, as big */
    struct big *big;
    size_t total, cap;
};

static size_t chunk_size(const struct chunk *c)
{
    return (size_t)(c->end - (const char *)c);
}

static char *chunk_start(struct chunk *c)
{
    return (char *)(c + 1);
}

static void chunk_free(struct chunk *c)
{
    if (!c) return;
    UNPOISON(c, chunk_size(c));
    free(c);
}

struct arena *arena_new(size_t cap_bytes)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a) a->cap = cap_bytes ? cap_bytes : SIZE_MAX;
    return a;
}

/* Keeps the larger one for later: a loop that marks, allocates and rewinds does not go to the heap every time. */
static void drop_top(struct arena *a)
{
    struct chunk *c = a->top;
    if (c->dirty < a->at) c->dirty = a->at;
    a->at = c->at_below;
    a->top = c->below;
    if (a->spare && chunk_size(a->spare) >= chunk_size(c)) {
        chunk_free(c);
        return;
    }
    chunk_free(a->spare);
    POISON(chunk_start(c), (size_t)(c->end - chunk_start(c)));
    a->spare = c;
}

static bool in_chunk(struct chunk *c, const char *at)
{
    return at >= chunk_start(c) && at <= c->end;
}

static void rewind_to(struct arena *a, char *at, size_t total)
{
    while (a->hooks && a->hooks->when >= total) { /* all of these first: they may look at any piece */
        struct hook *h = a->hooks;
        a->hooks = h->older;
        h->fn(h->arg);
    }
    while (a->big && a->big->when >= total) {
        void *p = a->big->p;
        a->big = a->big->older;
        free(p);
    }
    while (a->top && !in_chunk(a->top, at))
        drop_top(a);
    assert(a->top || !at); /* or the mark is of another arena, or was rewound past */
    if (a->top) {
        if (a->top->dirty < a->at) a->top->dirty = a->at;
        a->at = at;
        POISON(at, (size_t)(a->top->end - at));
    }
    a->total = total;
}

void arena_reset(struct arena *a)
{
    rewind_to(a, NULL, 0);
}

void arena_free(struct arena *a)
{
    if (!a) return;
    arena_reset(a);
    chunk_free(a->spare);
    free(a);
}

void arena_freep(struct arena **a)
{
    arena_free(*a);
    *a = NULL;
}

/* A chunk on top that holds a piece of `need` bytes, its alignment and gap in it. */
static bool push_chunk(struct arena *a, size_t need)
{
    struct chunk *c = a->spare;
    if (c && (size_t)(c->end - chunk_start(c)) >= need) {
        a->spare = NULL;
    } else {
        size_t size = a->top ? 2 * chunk_size(a->top) : CHUNK_MIN;
        if (size > CHUNK_MAX) size = CHUNK_MAX;
        while (size < need + sizeof *c)
            size *= 2;
        c = calloc(1, size);
        if (!c) return false;
        c->end = (char *)c + size;
        c->dirty = chunk_start(c);
        POISON(chunk_start(c), size - sizeof *c);
    }
    if (a->top && a->top->dirty < a->at) a->top->dirty = a->at;
    c->below = a->top;
    c->at_below = a->at;
    a->top = c;
    a->at = chunk_start(c);
    return true;
}

static char *align_up(char *p, size_t align)
{
    return p + (-(uintptr_t)p & (align - 1));
}

static void *alloc_small(struct arena *a, size_t size, size_t align)
{
    size_t need = size + align + GAP;
    if (!a->top || (size_t)(a->top->end - a->at) < need) {
        if (!push_chunk(a, need)) return NULL;
    }
    char *p = align_up(a->at, align), *dirty = a->top->dirty;
    UNPOISON(p, size);
    if (p < dirty) memset(p, 0, p + size < dirty ? size : (size_t)(dirty - p));
    a->at = p + size + GAP;
    return p;
}

static void *alloc_big(struct arena *a, size_t size, size_t align)
{
    size_t room;
    struct big *b = alloc_small(a, sizeof *b, _Alignof(struct big));
    if (!b || __builtin_add_overflow(size, align, &room)) return NULL;
    char *p = calloc(1, room);
    if (!p) return NULL; /* the record stays behind, unused */
    *b = (struct big){a->big, a->total, p};
    a->big = b;
    return align_up(p, align);
}

void *arena_alloc(struct arena *a, size_t size, size_t align)
{
    assert(align && (align & (align - 1)) == 0);
    if (size == 0) size = 1; /* a place of its own, and total grows */
    if (size > a->cap - a->total) return NULL;
    void *p = size > BIG || align > BIG ? alloc_big(a, size, align) : alloc_small(a, size, align);
    if (p) a->total += size;
    return p;
}

void *arena_alloc_n(struct arena *a, size_t n, size_t size, size_t align)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return arena_alloc(a, bytes, align);
}

bool arena_on_free(struct arena *a, void (*fn)(void *), void *arg)
{
    size_t when = a->total;
    struct hook *h = arena_alloc(a, sizeof *h, _Alignof(struct hook));
    if (!h) return false;
    *h = (struct hook){a->hooks, when, fn, arg};
    a->hooks = h;
    return true;
}

struct arena_mark arena_mark(struct arena *a)
{
    return (struct arena_mark){a->at, a->total};
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
    rewind_to(a, m.chunk, m.used);
}

size_t arena_used(const struct arena *a)
{
    return a->total;
}

static char *copy_text(struct arena *a, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? arena_alloc(a, n + 1, 1) : NULL;
    if (p) memcpy(p, s, n);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return copy_text(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    return copy_text(a, s, strnlen(s, n));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0) return NULL;
    if ((size_t)n < sizeof small) return copy_text(a, small, (size_t)n);
    char *p = arena_alloc(a, (size_t)n + 1, 1);
    if (!p) return NULL;
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}
