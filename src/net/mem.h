/* mem.h - memory of the loop thread's links: recycled small objects, and message payloads.
 *
 * Fresh memory is the dearest part of a large message: faulting 64 MiB in costs 30 ms, sending it over TLS 50
 * ms. So payloads of MEM_BIG and more come from mappings that are kept for the next one (on huge pages where
 * the kernel gives them), up to KEEP bytes for ten seconds of no use. */
#pragma once
#include "base/arena.h"
#include "base/bytes.h"
#include <string.h>

/* Objects of one size, from an arena, recycled. */
struct slab {
    struct arena *mem;
    size_t size;
    void *spare;
};
static inline void *slab_get(struct slab *s) /* zeroed; NULL: out of memory */
{
    void *p = s->spare;
    if (!p) return arena_alloc(s->mem, s->size, 16);
    memcpy(&s->spare, p, sizeof s->spare);
    memset(p, 0, s->size);
    return p;
}
static inline void slab_put(struct slab *s, void *p)
{
    memcpy(p, &s->spare, sizeof s->spare);
    s->spare = p;
}

enum { MEM_BIG = 1 << 20, PILE_SLOTS = 16 };
struct pile { /* mappings kept for the next payload */
    struct {
        uint8_t *p;
        size_t cap;
        uint64_t since_ms;
    } slot[PILE_SLOTS];
    size_t kept;
};
void pile_trim(struct pile *pile,
               uint64_t idle_since_ms); /* gives back what was not used since; UINT64_MAX: all */

/* The bytes of one message: on the heap, in a mapping, or somebody else's until release. */
struct payload {
    uint8_t *p;
    size_t n;   /* of the message */
    size_t cap; /* 0: borrowed */
    bool mapped;
    void (*release)(void *arg, const void *p);
    void *arg;
};
/* Not zeroed; false: out of memory. lazy: what a stranger announces; a fresh mapping then gets small pages,
 * so that only bytes that have really come take memory, until payload_hasten. */
bool payload_new(struct pile *pile, size_t n, bool lazy, struct payload *out);
void payload_hasten(const struct payload *x, size_t have); /* huge pages from byte `have` on */
void payload_free(struct pile *pile, struct payload *x);   /* and releases; leaves it empty */
