/* arena.h - memory that is freed all at once. Owners: a task, a request, a connection, a model.
 *
 * Grows by chunks up to a byte cap; past the cap an allocation gives NULL. Not thread-safe: one arena, one thread.
 * Under AddressSanitizer the gaps between pieces are poisoned. */
#pragma once
#include "base/ctx.h"
#include <stdarg.h>

struct arena_mark {
    void *chunk;
    size_t used;
};

struct arena *arena_new(size_t cap_bytes); /* 0 = no cap; NULL: out of memory */
void arena_free(struct arena *a);          /* runs the hooks, newest first; NULL is fine */
void arena_freep(struct arena **a);
void arena_reset(struct arena *a); /* as free, then ready for use again */

void *arena_alloc(struct arena *a, size_t size, size_t align); /* zeroed; NULL past the cap */
/* Runs fn(arg) when the arena is freed or reset or rewound past here; false: out of memory. */
bool arena_on_free(struct arena *a, void (*fn)(void *), void *arg);
struct arena_mark arena_mark(struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m); /* gives back all that came after the mark */
size_t arena_used(const struct arena *a);

void *arena_alloc_n(struct arena *a, size_t n, size_t size,
                    size_t align); /* NULL on overflow of n * size too */
/* Zeroed array of n T in cx->mem, 64-byte aligned when 64 bytes or more. NULL past the cap or on overflow. */
#define NEW(cx, T, n)                                                                                        \
    ((T *)arena_alloc_n((cx)->mem, (n), sizeof(T), (sizeof(T) * (size_t)(n) >= 64) ? 64 : _Alignof(T)))

/* Strings in the arena; NULL past the cap. */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
