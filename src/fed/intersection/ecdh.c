/* Intersection by Diffie-Hellman on Curve25519: psi.h says the protocol. */
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include "crypto/curve.h"
#include "fed/intersection/order.h"
#include "fed/intersection/psi_int.h"
#include <string.h>

#define LAG       2 /* chunks the guest is ahead of what it takes back */
#define MAP_GRAIN 1024

typedef uint8_t point[CURVE_BYTES];

struct map_job {
    const uint8_t (*wide)[64];
    point *out;
};

static status map_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct map_job *j = arg;
    curve_map(j->wide + begin, end - begin, j->out + begin);
    return OK;
}

/* out = scalar * H(id) of n rows. */
static status mask_ids(struct ctx *cx, const struct curve_scalar *s, struct psi_hash j, size_t n, point *out)
{
    TRY(psi_hash_ids(cx, j, n));
    TRY(pool_for(cx, n, MAP_GRAIN, map_chunk, &(struct map_job){(const uint8_t(*)[64])j.out, out}));
    return curve_mul(cx, s, (const point *)out, n, out);
}

static void keep_tags(const point *in, size_t n, uint8_t (*out)[PSI_TAG])
{
    for (size_t i = 0; i < n; i++)
        memcpy(out[i], in[i], PSI_TAG);
}

static status take_chunk(struct ctx *cx, struct channel *ch, const struct curve_scalar *a, struct psi_side *s,
                         size_t n_own, size_t k, point *work)
{
    struct bytes msg;
    size_t n = psi_chunk_rows(s->n, k);
    if (n) {
        TRY(psi_recv_items(cx, ch, s->party, "psi.host", n, CURVE_BYTES, &msg));
        TRY_IN(cx, curve_mul(cx, a, (const point *)(const void *)msg.p, n, work), "points of %s %u",
               role_name(s->party.role), s->party.id);
        keep_tags((const point *)work, n, s->theirs + k * PSI_CHUNK);
    }
    n = psi_chunk_rows(n_own, k);
    if (n) {
        TRY(psi_recv_items(cx, ch, s->party, "psi.back", n, PSI_TAG, &msg));
        memcpy(s->ours + k * PSI_CHUNK, msg.p, msg.n);
    }
    return OK;
}

status psi_ecdh_guest(struct ctx *cx, struct channel *ch, const struct party *hosts, size_t n_hosts,
                      const struct table *t, const struct psi_progress *pr, struct psi_result *out)
{
    struct psi_result res = {0};
    uint32_t *order;
    uint8_t salt[PSI_SALT];
    TRY(psi_check_table(cx, t));
    if (n_hosts == 0 || n_hosts > LEN(res.n_peers))
        return FAIL(cx, ARG, "%zu hosts: want 1 to %zu", n_hosts, LEN(res.n_peers));
    TRY(order_ids(cx, t, &order));
    TRY(rand_bytes(cx, salt, sizeof salt));
    CLEANUP(curve_scalar_freep) struct curve_scalar *a = NULL;
    TRY(curve_scalar_new(cx, &a));
    struct psi_side *sides = NEW(cx, struct psi_side, n_hosts);
    point *work = (point *)NEW(cx, uint8_t, PSI_CHUNK * sizeof(point));
    uint8_t(*wide)[64] = (uint8_t(*)[64])NEW(cx, uint8_t, PSI_CHUNK * 64);
    if (!sides || !work || !wide) return FAIL(cx, NOMEM, "%zu hosts", n_hosts);
    TRY(psi_open_sides(cx, ch, hosts, n_hosts, t->n_rows, salt, sides, &res));

    size_t n_own = pool_chunks(t->n_rows, PSI_CHUNK), n_max = n_own;
    for (size_t h = 0; h < n_hosts; h++)
        if (pool_chunks(sides[h].n, PSI_CHUNK) > n_max) n_max = pool_chunks(sides[h].n, PSI_CHUNK);
    for (size_t k = 0; k < n_max + LAG; k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY(ctx_check(cx));
        size_t n = psi_chunk_rows(t->n_rows, k);
        if (n) {
            TRY(mask_ids(cx, a, (struct psi_hash){t, NULL, k * PSI_CHUNK, salt, wide}, n, work));
            for (size_t h = 0; h < n_hosts; h++)
                TRY(channel_send(cx, ch, hosts[h], "psi.guest", work, n * sizeof(point)));
        }
        for (size_t h = 0; h < n_hosts && k >= LAG; h++)
            TRY(take_chunk(cx, ch, a, &sides[h], t->n_rows, k - LAG, work));
        arena_rewind(cx->mem, mark);
        psi_tell(pr, (k + 1) * PSI_CHUNK, (n_max + LAG) * PSI_CHUNK);
    }
    TRY(psi_finish_guest(cx, ch, sides, n_hosts, t, order, &res));
    *out = res;
    return OK;
}

static status answer_chunk(struct ctx *cx, struct channel *ch, const struct curve_scalar *b,
                           struct party guest, size_t n, point *work)
{
    struct bytes msg;
    TRY(psi_recv_items(cx, ch, guest, "psi.guest", n, CURVE_BYTES, &msg));
    TRY_IN(cx, curve_mul(cx, b, (const point *)(const void *)msg.p, n, work), "points of guest %u", guest.id);
    uint8_t(*tags)[PSI_TAG] = (uint8_t(*)[PSI_TAG])NEW(cx, uint8_t, n * PSI_TAG);
    if (!tags) return FAIL(cx, NOMEM, "%zu tags", n);
    keep_tags((const point *)work, n, tags);
    return channel_send(cx, ch, guest, "psi.back", tags, n * PSI_TAG);
}

status psi_ecdh_host(struct ctx *cx, struct channel *ch, struct party guest, const struct table *t,
                     const struct psi_progress *pr, struct psi_result *out)
{
    struct psi_result res = {0};
    uint32_t *order, *perm;
    const uint8_t *salt;
    TRY(psi_check_table(cx, t));
    struct arena_mark start = arena_mark(cx->mem);
    TRY(order_ids(cx, t, &order)); /* for its refusal of repeated ids only */
    arena_rewind(cx->mem, start);
    TRY(psi_permute(cx, t->n_rows, &perm));
    CLEANUP(curve_scalar_freep) struct curve_scalar *b = NULL;
    TRY(curve_scalar_new(cx, &b));
    point *work = (point *)NEW(cx, uint8_t, PSI_CHUNK * sizeof(point));
    uint8_t(*wide)[64] = (uint8_t(*)[64])NEW(cx, uint8_t, PSI_CHUNK * 64);
    if (!work || !wide) return FAIL(cx, NOMEM, "a chunk");
    TRY(psi_send_hello(cx, ch, guest, t->n_rows, NULL));
    TRY(psi_recv_hello(cx, ch, guest, &res.n_peers[0], &salt));

    size_t n_own = pool_chunks(t->n_rows, PSI_CHUNK), n_guest = pool_chunks(res.n_peers[0], PSI_CHUNK);
    size_t n_max = n_own > n_guest ? n_own : n_guest;
    for (size_t k = 0; k < n_max; k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY(ctx_check(cx));
        size_t n = psi_chunk_rows(t->n_rows, k);
        if (n) {
            TRY(mask_ids(cx, b, (struct psi_hash){t, perm, k * PSI_CHUNK, salt, wide}, n, work));
            TRY(channel_send(cx, ch, guest, "psi.host", work, n * sizeof(point)));
        }
        n = psi_chunk_rows(res.n_peers[0], k);
        if (n) TRY(answer_chunk(cx, ch, b, guest, n, work));
        arena_rewind(cx->mem, mark);
        psi_tell(pr, (k + 1) * PSI_CHUNK, n_max * PSI_CHUNK);
    }
    TRY(psi_take_rows(cx, ch, guest, perm, t->n_rows, res.n_peers[0], &res));
    *out = res;
    return OK;
}
