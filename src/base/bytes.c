#include "base/bytes.h"
#include "base/arena.h"
#include "base/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are copied as they are");

/* ---- reader ---- */

static status take(struct ctx *cx, struct reader *r, void *out, size_t n)
{
    if (reader_left(r) < n) return FAIL(cx, FORMAT, "%zu bytes left, want %zu", reader_left(r), n);
    memcpy(out, r->p, n);
    r->p += n;
    return OK;
}

status reader_u8(struct ctx *cx, struct reader *r, uint8_t *out)
{
    return take(cx, r, out, sizeof *out);
}

status reader_u16(struct ctx *cx, struct reader *r, uint16_t *out)
{
    return take(cx, r, out, sizeof *out);
}

status reader_u32(struct ctx *cx, struct reader *r, uint32_t *out)
{
    return take(cx, r, out, sizeof *out);
}

status reader_u64(struct ctx *cx, struct reader *r, uint64_t *out)
{
    return take(cx, r, out, sizeof *out);
}

status reader_i64(struct ctx *cx, struct reader *r, int64_t *out)
{
    return take(cx, r, out, sizeof *out);
}

status reader_f64(struct ctx *cx, struct reader *r, double *out)
{
    return take(cx, r, out, sizeof *out);
}

status reader_bytes(struct ctx *cx, struct reader *r, size_t n, const uint8_t **out)
{
    if (reader_left(r) < n) return FAIL(cx, FORMAT, "%zu bytes left, want %zu", reader_left(r), n);
    *out = r->p;
    r->p += n;
    return OK;
}

status reader_blob(struct ctx *cx, struct reader *r, size_t max, struct bytes *out)
{
    struct reader at = *r; /* r stays where it is on failure */
    uint32_t n = 0;
    TRY(reader_u32(cx, &at, &n));
    if (n > max) return FAIL(cx, LIMIT, "%u bytes, at most %zu", n, max);
    if (reader_left(&at) < n) return FAIL(cx, FORMAT, "%zu bytes left, want %u", reader_left(&at), n);
    *out = (struct bytes){at.p, n};
    r->p = at.p + n;
    return OK;
}

status reader_str(struct ctx *cx, struct reader *r, size_t max, const char **out)
{
    struct reader at = *r;
    struct bytes b = {r->p, 0};
    TRY(reader_blob(cx, &at, max, &b));
    for (size_t i = 0; i < b.n;) {
        size_t k = utf8_sequence(b.p + i, b.n - i);
        if (k == 0) return FAIL(cx, FORMAT, "byte %zu of %zu is not UTF-8", i, b.n);
        if (b.p[i] == 0) return FAIL(cx, FORMAT, "byte %zu of %zu is NUL", i, b.n);
        i += k;
    }
    char *s = arena_alloc_n(cx->mem, b.n + 1, 1, 1);
    if (!s) return FAIL(cx, NOMEM, "a text of %zu bytes", b.n);
    if (b.n) memcpy(s, b.p, b.n);
    *out = s;
    *r = at;
    return OK;
}

status reader_end(struct ctx *cx, const struct reader *r)
{
    if (reader_left(r)) return FAIL(cx, FORMAT, "%zu bytes left over at the end", reader_left(r));
    return OK;
}

/* ---- buf ---- */

/* bad has one bit, buf_ok tells two reasons apart: no memory leaves this in cap, past max leaves cap alone. */
static const size_t no_memory = SIZE_MAX;

void buf_free(struct buf *b)
{
    if (!b) return;
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
}

/* Room for n bytes and one more, a NUL that is not counted. */
static bool make_room(struct buf *b, size_t n)
{
    size_t need;
    if (b->bad) return false;
    if (b->max && (n > b->max || b->n > b->max - n)) {
        b->bad = true;
        return false;
    }
    bool fits = !__builtin_add_overflow(b->n, n, &need) && !__builtin_add_overflow(need, 1, &need);
    if (fits && need <= b->cap) return true;
    uint8_t *p = NULL;
    if (fits) {
        size_t cap = b->cap < 32 ? 64 : b->cap <= SIZE_MAX / 2 ? 2 * b->cap : need;
        if (b->max && cap > b->max) cap = b->max < SIZE_MAX ? b->max + 1 : need;
        if (cap < need) cap = need;
        p = realloc(b->p, cap);
        if (!p && cap > need) p = realloc(b->p, cap = need);
        if (p) b->cap = cap;
    }
    if (!p) {
        b->bad = true;
        b->cap = no_memory;
        return false;
    }
    b->p = p;
    return true;
}

uint8_t *buf_grow(struct buf *b, size_t n)
{
    if (!make_room(b, n)) return NULL;
    uint8_t *p = b->p + b->n;
    b->n += n;
    return p;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    uint8_t *to = buf_grow(b, n);
    if (to && n) memcpy(to, p, n);
}

void buf_u8(struct buf *b, uint8_t x)
{
    buf_put(b, &x, sizeof x);
}

void buf_u16(struct buf *b, uint16_t x)
{
    buf_put(b, &x, sizeof x);
}

void buf_u32(struct buf *b, uint32_t x)
{
    buf_put(b, &x, sizeof x);
}

void buf_u64(struct buf *b, uint64_t x)
{
    buf_put(b, &x, sizeof x);
}

void buf_i64(struct buf *b, int64_t x)
{
    buf_put(b, &x, sizeof x);
}

void buf_f64(struct buf *b, double x)
{
    buf_put(b, &x, sizeof x);
}

void buf_blob(struct buf *b, const void *p, size_t n)
{
    if (n > UINT32_MAX) {
        b->bad = true;
        return;
    }
    buf_u32(b, (uint32_t)n);
    buf_put(b, p, n);
}

void buf_str(struct buf *b, const char *s)
{
    buf_blob(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = b->bad ? 0 : b->cap - b->n;
    int n = vsnprintf(room ? (char *)b->p + b->n : NULL, room, fmt, args);
    if (n < 0)
        b->bad = true;
    else if ((size_t)n < room && (!b->max || b->n + (size_t)n <= b->max))
        b->n += (size_t)n;
    else if (make_room(b, (size_t)n)) {
        vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

status buf_ok(struct ctx *cx, const struct buf *b)
{
    if (!b->bad) return OK;
    if (b->cap == no_memory) return FAIL(cx, NOMEM, "a buffer beyond %zu bytes", b->n);
    return FAIL(cx, LIMIT, "more than %zu bytes", b->max ? b->max : (size_t)UINT32_MAX);
}

status buf_to_arena(struct ctx *cx, const struct buf *b, struct bytes *out)
{
    TRY(buf_ok(cx, b));
    uint8_t *p = arena_alloc_n(cx->mem, b->n + 1, 1, 1);
    if (!p) return FAIL(cx, NOMEM, "a copy of %zu bytes", b->n);
    if (b->n) memcpy(p, b->p, b->n);
    *out = (struct bytes){p, b->n};
    return OK;
}
