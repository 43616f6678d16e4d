#include "fed/intersection/order.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/evp.h"
#include <stdlib.h>
#include <string.h>

#define LABEL "norn psi order v1"
#define GRAIN 8192

struct key {
    uint64_t hash;
    uint32_t row;
};
struct job {
    const struct table *t;
    struct key *keys;
};

static void md_freep(EVP_MD_CTX **md)
{
    EVP_MD_CTX_free(*md);
}

static status hash_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct job *j = arg;
    CLEANUP(md_freep) EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md) return FAIL(cx, NOMEM, "SHA-256 context");
    for (size_t i = begin; i < end; i++) {
        struct bytes id = table_id(j->t, i);
        uint8_t d[32];
        if (!EVP_DigestInit_ex(md, EVP_sha256(), NULL) || !EVP_DigestUpdate(md, LABEL, sizeof LABEL - 1) ||
            !EVP_DigestUpdate(md, id.p, id.n) || !EVP_DigestFinal_ex(md, d, NULL))
            return FAIL(cx, INTERNAL, "SHA-256");
        memcpy(&j->keys[i].hash, d, 8);
        j->keys[i].row = (uint32_t)i;
    }
    return OK;
}

/* LSD radix sort by hash, 4 passes of 16 bits; stable, so equal hashes stay in row order. */
static void sort_keys(struct key *a, struct key *tmp, size_t n)
{
    static const int shifts[] = {0, 16, 32, 48};
    for (size_t pass = 0; pass < LEN(shifts); pass++) {
        size_t count[65537] = {0};
        for (size_t i = 0; i < n; i++)
            count[((a[i].hash >> shifts[pass]) & 0xffff) + 1]++;
        for (size_t i = 1; i < 65537; i++)
            count[i] += count[i - 1];
        for (size_t i = 0; i < n; i++)
            tmp[count[(a[i].hash >> shifts[pass]) & 0xffff]++] = a[i];
        struct key *swap = a;
        a = tmp, tmp = swap;
    }
}

static bool same_id(const struct table *t, uint32_t a, uint32_t b)
{
    struct bytes x = table_id(t, a), y = table_id(t, b);
    return x.n == y.n && memcmp(x.p, y.p, x.n) == 0;
}

/* Among equal hashes (a run of one, but for chance and repeats) puts ids in byte order and counts repeats. */
static size_t settle_run(const struct table *t, struct key *run, size_t n, uint32_t *first)
{
    size_t repeats = 0;
    for (size_t i = 1; i < n; i++) {
        struct key k = run[i];
        size_t j = i;
        struct bytes x = table_id(t, k.row);
        for (; j > 0; j--) {
            struct bytes y = table_id(t, run[j - 1].row);
            int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
            if (c > 0 || (c == 0 && x.n >= y.n)) break;
            run[j] = run[j - 1];
        }
        run[j] = k;
        if (j > 0 && same_id(t, run[j - 1].row, k.row)) {
            repeats++;
            if (k.row < *first) *first = k.row;
        }
    }
    return repeats;
}

status order_ids(struct ctx *cx, const struct table *t, uint32_t **out)
{
    size_t n = t->n_rows, repeats = 0;
    uint32_t *order = NEW(cx, uint32_t, n + 1), first = UINT32_MAX;
    struct arena_mark mark = arena_mark(cx->mem);
    struct job j = {t, NEW(cx, struct key, n + 1)};
    struct key *tmp = NEW(cx, struct key, n + 1);
    if (!order || !j.keys || !tmp) return FAIL(cx, NOMEM, "order of %zu ids", n);
    TRY(pool_for(cx, n, GRAIN, hash_chunk, &j));
    sort_keys(j.keys, tmp, n);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && j.keys[end].hash == j.keys[i].hash;)
            end++;
        if (end - i > 1) repeats += settle_run(t, j.keys + i, end - i, &first);
    }
    for (size_t i = 0; i < n; i++)
        order[i] = j.keys[i].row;
    arena_rewind(cx->mem, mark);
    if (repeats)
        return FAIL(cx, FORMAT,
                    "%zu rows repeat an id that stands before them, the first is row %u: ids must be unique",
                    repeats, first + 1);
    *out = order;
    return OK;
}
