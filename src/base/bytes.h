/* bytes.h - bytes in and out: the bounds-checked reader through which everything from outside goes, and a growing
 * builder. All fixed-width fields are little-endian. */
#pragma once
#include "base/ctx.h"

struct bytes {
    const uint8_t *p;
    size_t n;
};

struct reader {
    const uint8_t *p, *end;
};
static inline struct reader reader_of(const void *p, size_t n)
{
    return (struct reader){(const uint8_t *)p, (const uint8_t *)p + n};
}
static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}
/* Each: FORMAT "<n> bytes left, want <m>" when short; *out untouched then. */
status reader_u8(struct ctx *cx, struct reader *r, uint8_t *out);
status reader_u16(struct ctx *cx, struct reader *r, uint16_t *out);
status reader_u32(struct ctx *cx, struct reader *r, uint32_t *out);
status reader_u64(struct ctx *cx, struct reader *r, uint64_t *out);
status reader_i64(struct ctx *cx, struct reader *r, int64_t *out);
status reader_f64(struct ctx *cx, struct reader *r, double *out);
/* A view into the reader's bytes; lives as long as they do. */
status reader_bytes(struct ctx *cx, struct reader *r, size_t n, const uint8_t **out);
/* u32 length, then bytes: a view; LIMIT when longer than max. */
status reader_blob(struct ctx *cx, struct reader *r, size_t max, struct bytes *out);
/* The same as a NUL-terminated copy in cx->mem; FORMAT when it holds a NUL or is not UTF-8. */
status reader_str(struct ctx *cx, struct reader *r, size_t max, const char **out);
/* FORMAT when bytes are left over. */
status reader_end(struct ctx *cx, const struct reader *r);

/* A growing byte buffer on the heap. Set once `bad` (out of memory, or past max), it stays so and swallows writes:
 * check buf_ok once at the end. */
struct buf {
    uint8_t *p;
    size_t n, cap, max; /* max 0 = none */
    bool bad;
};
void buf_free(struct buf *b); /* NULL-safe; hold with CLEANUP(buf_free) struct buf b = {0}; */
void buf_reset(struct buf *b);
uint8_t *buf_grow(struct buf *b, size_t n); /* n more bytes, uninitialised; NULL when bad */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_u8(struct buf *b, uint8_t x);
void buf_u16(struct buf *b, uint16_t x);
void buf_u32(struct buf *b, uint32_t x);
void buf_u64(struct buf *b, uint64_t x);
void buf_i64(struct buf *b, int64_t x);
void buf_f64(struct buf *b, double x);
void buf_blob(struct buf *b, const void *p, size_t n); /* u32 length, then bytes */
void buf_str(struct buf *b, const char *s);            /* the same for a C string, without its NUL */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
status buf_ok(struct ctx *cx, const struct buf *b); /* NOMEM or LIMIT when bad */
/* The bytes as a NUL-terminated copy in cx->mem. */
status buf_to_arena(struct ctx *cx, const struct buf *b, struct bytes *out);
