/* pool.h - a fixed set of threads and loops over ranges whose result does not depend on their number.
 *
 * Chunks are fixed by (n, grain), never by the thread count; what must be reduced is written per chunk and reduced in
 * chunk order by the caller. Each running chunk has a child ctx with a scratch arena of its own (reset after the chunk).
 * The first failing chunk (lowest index) becomes cx->err and stops the rest; cancellation likewise. */
#pragma once
#include "base/ctx.h"

struct pool *pool_new(unsigned n_threads); /* 0 = one per online processor; the caller's thread works too */
void pool_free(struct pool *p);
void pool_freep(struct pool **p);
unsigned pool_threads(const struct pool *p); /* 1 for NULL */

typedef status (*pool_fn)(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg);
/* Calls fn for [0,n) in chunks of grain (the last may be shorter). Returns when all have ended. */
status pool_for(struct ctx *cx, size_t n, size_t grain, pool_fn fn, void *arg);
static inline size_t pool_chunks(size_t n, size_t grain)
{
    return grain ? n / grain + (n % grain != 0) : 0;
}
