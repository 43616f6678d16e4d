/* mem.h - memory of the loop thread's links: recycled small objects, and message payloads.
 *
 * Fresh memory is the dearest part of a large message: faulting 64 MiB in costs 30 ms, sending it over TLS 50
 * ms. So payloads of MEM_BIG and more come from mappings that are kept for the next one (on huge pages where
 * the kernel gives them), up to KEEP bytes for ten seconds of no use. Beyond a pile's `max` messages lie on disk. */
#pragma once
#include "base/arena.h"
#include "base/bytes.h"
#include "net/spill.h"
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

enum { MEM_BIG = 1 << 20, PILE_SLOTS = 16, SPILL_MIN = 64 << 10 /* smaller messages stay in memory */ };
struct pile { /* mappings kept for the next payload */
    struct {
        uint8_t *p;
        size_t cap;
        uint64_t since_ms;
    } slot[PILE_SLOTS];
    size_t kept;
    uint64_t max;  /* bytes of payloads in memory, from where on they are spilled; 0: any */
    uint64_t held; /* bytes of payloads in memory, or lent to us */
    uint64_t most; /* the highest `held` so far */
    struct spill spill;
};
void pile_trim(struct pile *pile,
               uint64_t idle_since_ms); /* gives back what was not used since; UINT64_MAX: all */

/* The bytes of one message: on the heap, in a mapping, somebody else's until release, or on disk. */
struct payload {
    uint8_t *p; /* on disk: NULL until payload_open */
    size_t n;   /* of the message */
    size_t cap; /* 0: borrowed */
    bool mapped;
    bool on_disk;
    uint64_t at, stored, passed; /* on disk: where, what has been written, and read since it was opened */
    void (*release)(void *arg, const void *p);
    void *arg;
};
/* Not zeroed; false: out of memory. lazy: what a stranger announces; a fresh mapping then gets small pages,
 * so that only bytes that have really come take memory, until payload_hasten. */
bool payload_new(struct pile *pile, size_t n, bool lazy, struct payload *out);
/* The same, or on disk when memory is short. NOMEM; LIMIT, IO: neither has room. */
status payload_take(struct ctx *cx, struct pile *pile, size_t n, bool lazy, struct payload *out);
/* Somebody's bytes, without a copy: release is called when they are not needed any more. */
void payload_lend(struct pile *pile, const void *p, size_t n, void (*release)(void *arg, const void *p),
                  void *arg, struct payload *out);
bool pile_full(const struct pile *pile, size_t n); /* n bytes more would be too much for the memory */
status payload_put(struct ctx *cx, struct pile *pile, struct payload *x, size_t at, const void *p, size_t n);
status payload_open(struct ctx *cx, struct pile *pile, struct payload *x); /* x->p can be read; NOMEM */
void payload_shut(struct payload *x);              /* not any more for a while: lets go of what is on disk */
void payload_read_to(struct payload *x, size_t n); /* what is before n is read and not needed for now */
void payload_hasten(const struct payload *x, size_t have); /* huge pages from byte `have` on */
void payload_free(struct pile *pile, struct payload *x);   /* and releases; leaves it empty */
