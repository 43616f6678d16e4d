#include "table/ids.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/pool.h"
#include "table/colfile.h"
#include "table/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PART_IDS = 1 << 18, CHUNK_IDS = 1 << 18, MAX_CHUNKS = 512 };

/* An id: bits 19..50 of its hash and its row. The part is chosen by the top bits, 13 at most. */
struct entry {
    uint32_t tag, row;
};

struct finder {
    const uint64_t *off;
    const char *text;
    struct entry *entries;
    size_t n, n_parts, grain;
    unsigned shift;    /* hash >> shift is the part */
    uint32_t *counts;  /* [chunk][part], then where the chunk writes its next */
    uint32_t *part_at; /* [part + 1] */
    _Atomic uint64_t *bitmap;
    _Atomic uint64_t n_repeats;
    uint64_t *first; /* [part]: row << 32 | earlier of the part's first repeat, UINT64_MAX: none */
};

struct mapping {
    void *p;
    size_t n;
};

static void unmap(void *m)
{
    munmap(((struct mapping *)m)->p, ((struct mapping *)m)->n);
}

/* n bytes of zero, in a file that has no name. */
static status scratch(struct ctx *cx, const char *folder, size_t n, void **out)
{
    struct mapping *m = NEW(cx, struct mapping, 1);
    if (!m) return FAIL(cx, NOMEM, "scratch space");
    CLEANUP(fd_closep) int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* a file system without such files */
        char *name = arena_printf(cx->mem, "%s/scratch.XXXXXX", folder);
        if (!name) return FAIL(cx, NOMEM, "scratch space");
        fd = mkostemp(name, O_CLOEXEC);
        if (fd < 0) return FAIL(cx, IO, "create %s: %m", name);
        if (unlink(name) < 0) return FAIL(cx, IO, "unlink %s: %m", name);
    }
    int e = posix_fallocate(fd, 0, (off_t)n); /* so that a full disk is an error here, not a signal later */
    if (e) {
        errno = e;
        return FAIL(cx, IO, "%zu bytes of scratch space in %s: %m", n, folder);
    }
    m->n = n;
    m->p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m->p == MAP_FAILED) return FAIL(cx, NOMEM, "map %zu bytes of scratch space: %m", n);
    *out = m->p;
    if (!arena_on_free(cx->mem, unmap, m)) {
        unmap(m);
        return FAIL(cx, NOMEM, "scratch space");
    }
    return OK;
}

static uint64_t hash_row(const struct finder *f, size_t i)
{
    return hash_bytes(f->text + f->off[i], (size_t)(f->off[i + 1] - f->off[i]));
}

static status count_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct finder *f = (const struct finder *)arg;
    uint32_t *counts = f->counts + chunk * f->n_parts;
    for (size_t i = begin; i < end; i++)
        counts[f->shift == 64 ? 0 : hash_row(f, i) >> f->shift]++;
    return ctx_check(cx);
}

static status scatter_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct finder *f = (const struct finder *)arg;
    uint32_t *at = f->counts + chunk * f->n_parts;
    for (size_t i = begin; i < end; i++) {
        uint64_t h = hash_row(f, i);
        f->entries[at[f->shift == 64 ? 0 : h >> f->shift]++] =
            (struct entry){(uint32_t)(h >> 19), (uint32_t)i};
    }
    return ctx_check(cx);
}

static bool same_id(const struct finder *f, uint32_t a, uint32_t b)
{
    uint64_t n = f->off[a + 1] - f->off[a];
    return n == f->off[b + 1] - f->off[b] && memcmp(f->text + f->off[a], f->text + f->off[b], (size_t)n) == 0;
}

/* The entries of a part are in the order of rows, so what is found in the table is the earlier row. */
static status check_part(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct finder *f = (struct finder *)arg;
    (void)begin, (void)end;
    const struct entry *e = f->entries + f->part_at[chunk];
    size_t n = f->part_at[chunk + 1] - f->part_at[chunk], cap = 16;
    while (cap < 2 * n)
        cap *= 2;
    struct entry *table = NEW(cx, struct entry, cap); /* row + 1; 0 = free */
    if (!table) return FAIL(cx, NOMEM, "a table of %zu ids", cap);
    for (size_t i = 0; i < n; i++) {
        size_t at = e[i].tag & (cap - 1);
        while (table[at].row && !(table[at].tag == e[i].tag && same_id(f, table[at].row - 1, e[i].row)))
            at = (at + 1) & (cap - 1);
        if (!table[at].row) {
            table[at] = (struct entry){e[i].tag, e[i].row + 1};
            continue;
        }
        if (f->first[chunk] == UINT64_MAX) f->first[chunk] = (uint64_t)e[i].row << 32 | (table[at].row - 1);
        atomic_fetch_add_explicit(&f->n_repeats, 1, memory_order_relaxed);
        if (f->bitmap)
            atomic_fetch_or_explicit(&f->bitmap[e[i].row / 64], (uint64_t)1 << e[i].row % 64,
                                     memory_order_relaxed);
    }
    return ctx_check(cx);
}

/* Where each chunk writes: parts one after the other, in a part the chunks in order. */
static void place(struct finder *f, size_t n_chunks)
{
    uint32_t at = 0;
    for (size_t p = 0; p < f->n_parts; p++) {
        f->part_at[p] = at;
        for (size_t c = 0; c < n_chunks; c++) {
            uint32_t k = f->counts[c * f->n_parts + p];
            f->counts[c * f->n_parts + p] = at;
            at += k;
        }
    }
    f->part_at[f->n_parts] = at;
}

static status prepare(struct ctx *cx, struct finder *f, const char *folder, const uint64_t **bitmap)
{
    void *p;
    unsigned bits = 0;
    while (bits < 13 && (f->n >> bits) > PART_IDS)
        bits++;
    f->n_parts = (size_t)1 << bits;
    f->shift = 64 - bits;
    f->grain = f->n / MAX_CHUNKS + 1 > CHUNK_IDS ? f->n / MAX_CHUNKS + 1 : CHUNK_IDS;
    f->counts = NEW(cx, uint32_t, pool_chunks(f->n, f->grain) * f->n_parts);
    f->part_at = NEW(cx, uint32_t, f->n_parts + 1);
    f->first = NEW(cx, uint64_t, f->n_parts);
    if (!f->counts || !f->part_at || !f->first) return FAIL(cx, NOMEM, "%zu parts of ids", f->n_parts);
    memset(f->first, 0xff, f->n_parts * sizeof *f->first);
    TRY(scratch(cx, folder, f->n * sizeof *f->entries, &p));
    f->entries = (struct entry *)p;
    if (!bitmap) return OK;
    TRY(scratch(cx, folder, (f->n + 63) / 64 * 8, &p));
    f->bitmap = (_Atomic uint64_t *)p;
    *bitmap = (const uint64_t *)p;
    return OK;
}

status ids_find_repeats(struct ctx *cx, const char *folder, const uint64_t *off, const char *text, uint64_t n,
                        struct ids_repeats *out, const uint64_t **bitmap)
{
    struct finder f = {.off = off, .text = text, .n = (size_t)n};
    *out = (struct ids_repeats){0};
    if (n == 0) return OK;
    TRY(prepare(cx, &f, folder, bitmap));
    TRY(pool_for(cx, f.n, f.grain, count_chunk, &f));
    place(&f, pool_chunks(f.n, f.grain));
    TRY(pool_for(cx, f.n, f.grain, scatter_chunk, &f));
    TRY(pool_for(cx, f.n_parts, 1, check_part, &f));
    uint64_t first = UINT64_MAX;
    for (size_t p = 0; p < f.n_parts; p++)
        first = f.first[p] < first ? f.first[p] : first;
    out->n = f.n_repeats;
    if (out->n) out->row = first >> 32, out->earlier = first & UINT32_MAX;
    return OK;
}
