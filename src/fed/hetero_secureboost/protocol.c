#include "fed/hetero_secureboost/protocol.h"
#include "base/arena.h"
#include <string.h>

status link_send(struct ctx *cx, struct link *l, const char *tag, const struct buf *b)
{
    TRY(buf_ok(cx, b));
    TRY(channel_send(cx, l->ch, l->who, tag, b->p, b->n));
    l->sent += b->n;
    return OK;
}

status link_recv(struct ctx *cx, struct link *l, const char *tag, struct bytes *out)
{
    TRY(channel_recv(cx, l->ch, l->who, tag, out));
    l->received += out->n;
    return OK;
}

void bits_put(struct buf *b, const uint8_t *flag, size_t n)
{
    size_t bytes = bits_bytes(n);
    uint8_t *p = buf_grow(b, bytes);
    if (!p) return;
    memset(p, 0, bytes);
    for (size_t i = 0; i < n; i++)
        p[i >> 3] = (uint8_t)(p[i >> 3] | (flag[i] & 1u) << (i & 7));
}

status bits_take(struct ctx *cx, struct reader *r, size_t n, uint8_t *flag)
{
    const uint8_t *p;
    TRY(reader_bytes(cx, r, bits_bytes(n), &p));
    if (n % 8 && p[n / 8] >> (n % 8))
        return FAIL(cx, FORMAT, "%zu flags are followed by bits that are not 0", n);
    for (size_t i = 0; i < n; i++)
        flag[i] = bit_get(p, i);
    return OK;
}

static void arena_free_hook(void *a)
{
    arena_free(a);
}

status groups_new(struct ctx *cx, size_t n, struct groups *out)
{
    struct groups g = {.rows = NEW(cx, uint32_t, n + 1), .next = NEW(cx, uint32_t, n + 1), .n = n};
    if (!g.rows || !g.next) return FAIL(cx, NOMEM, "%zu rows", n);
    g.mem = arena_new(0);
    if (!g.mem || !arena_on_free(cx->mem, arena_free_hook, g.mem)) {
        arena_free(g.mem);
        return FAIL(cx, NOMEM, "groups of rows");
    }
    *out = g;
    return OK;
}

status groups_start(struct ctx *cx, struct groups *g, const uint32_t *order, size_t n_train)
{
    arena_reset(g->mem);
    g->span = arena_alloc_n(g->mem, 1, sizeof *g->span, _Alignof(struct span));
    if (!g->span) return FAIL(cx, NOMEM, "groups of rows");
    for (size_t i = 0; i < g->n; i++)
        g->rows[i] = order ? order[i] : (uint32_t)i;
    g->span[0] = (struct span){.n = order ? n_train : g->n, .n_all = g->n};
    g->n_nodes = 1;
    return OK;
}

static size_t count_left(const uint8_t *left, size_t begin, size_t end)
{
    size_t n = 0;
    for (size_t i = begin; i < end; i++)
        n += left[i];
    return n;
}

status groups_part(struct ctx *cx, struct groups *g, const uint8_t *const *left)
{
    size_t n_split = 0, k = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        n_split += left[i] != NULL;
    struct span *next = arena_alloc_n(g->mem, 2 * n_split + 1, sizeof *next, _Alignof(struct span));
    if (!next) return FAIL(cx, NOMEM, "groups of rows");
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct span *v = &g->span[i];
        if (!left[i]) continue;
        size_t n = count_left(left[i], 0, v->n), n_all = n + count_left(left[i], v->n, v->n_all);
        struct span *a = &next[k++], *b = &next[k++];
        *a = (struct span){v->begin, n, n_all};
        *b = (struct span){v->begin + n_all, v->n - n, v->n_all - n_all};
        uint32_t *to[2] = {g->next + b->begin, g->next + a->begin};
        for (size_t j = 0; j < v->n_all; j++)
            *to[left[i][j] & 1]++ = g->rows[v->begin + j];
    }
    uint32_t *t = g->rows;
    g->rows = g->next, g->next = t;
    g->span = next, g->n_nodes = k;
    return OK;
}
