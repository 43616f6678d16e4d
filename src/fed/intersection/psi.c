#include "fed/intersection/psi.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include "crypto/curve.h"
#include "fed/intersection/order.h"
#include "base/evp.h"
#include <string.h>

#define VERSION    1
#define SALT_BYTES 32
#define TAG_BYTES  16 /* of a doubly masked point */
#define LAG        2  /* chunks the guest is ahead of what it takes back */
#define HASH_GRAIN 1024

typedef uint8_t point[CURVE_BYTES];

struct hash_job {
    const struct table *t;
    const uint32_t *rows; /* NULL = identity */
    size_t first;
    const uint8_t *salt;
    point *out;
};

static void md_freep(EVP_MD_CTX **md)
{
    EVP_MD_CTX_free(*md);
}

/* H(id) of rows [first + begin, first + end). */
static status hash_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct hash_job *j = arg;
    CLEANUP(md_freep) EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t(*wide)[64] = (uint8_t(*)[64])NEW(cx, uint8_t, (end - begin) * 64);
    if (!md || !wide) return FAIL(cx, NOMEM, "hashes of %zu ids", end - begin);
    for (size_t i = begin; i < end; i++) {
        struct bytes id = table_id(j->t, j->rows ? j->rows[j->first + i] : j->first + i);
        if (!EVP_DigestInit_ex(md, EVP_sha512(), NULL) || !EVP_DigestUpdate(md, j->salt, SALT_BYTES) ||
            !EVP_DigestUpdate(md, id.p, id.n) || !EVP_DigestFinal_ex(md, wide[i - begin], NULL))
            return FAIL(cx, INTERNAL, "SHA-512");
    }
    curve_map((const uint8_t(*)[64])wide, end - begin, j->out + begin);
    return OK;
}

/* out = scalar * H(ids of rows [first, first + n)). */
static status mask_ids(struct ctx *cx, const struct curve_scalar *s, struct hash_job j, size_t n)
{
    TRY(pool_for(cx, n, HASH_GRAIN, hash_chunk, &j));
    return curve_mul(cx, s, (const point *)j.out, n, j.out);
}

static size_t chunk_rows(size_t n, size_t k)
{
    size_t begin = k * PSI_CHUNK;
    return begin >= n ? 0 : n - begin < PSI_CHUNK ? n - begin : PSI_CHUNK;
}

/* Receives a chunk of n items of `size` bytes. */
static status recv_items(struct ctx *cx, struct channel *ch, struct party from, const char *tag, size_t n,
                         size_t size, struct bytes *out)
{
    TRY(channel_recv(cx, ch, from, tag, out));
    if (out->n != n * size)
        return FAIL(cx, PROTO, "%s %u sent %zu bytes as %s: want %zu items of %zu", role_name(from.role),
                    from.id, out->n, tag, n, size);
    return OK;
}

/* hello: u8 version, u64 own ids; from the guest also the salt. */
static status send_hello(struct ctx *cx, struct channel *ch, struct party to, uint64_t n, const uint8_t *salt)
{
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, VERSION);
    buf_u64(&b, n);
    if (salt) buf_put(&b, salt, SALT_BYTES);
    TRY(buf_ok(cx, &b));
    return channel_send(cx, ch, to, "psi.hello", b.p, b.n);
}

static status recv_hello(struct ctx *cx, struct channel *ch, struct party from, size_t *n,
                         const uint8_t **salt)
{
    struct bytes msg;
    uint8_t version;
    uint64_t count;
    TRY(channel_recv(cx, ch, from, "psi.hello", &msg));
    struct reader r = reader_of(msg.p, msg.n);
    TRY(reader_u8(cx, &r, &version));
    if (version != VERSION)
        return FAIL(cx, PROTO, "%s %u speaks version %u of this intersection, we speak %d",
                    role_name(from.role), from.id, version, VERSION);
    TRY(reader_u64(cx, &r, &count));
    if (count == 0 || count > UINT32_MAX - 1)
        return FAIL(cx, PROTO, "%s %u says it has %llu ids: want 1 to %u", role_name(from.role), from.id,
                    (unsigned long long)count, UINT32_MAX - 1);
    if (salt) TRY(reader_bytes(cx, &r, SALT_BYTES, salt));
    TRY(reader_end(cx, &r));
    *n = (size_t)count;
    return OK;
}

static status check_table(struct ctx *cx, const struct table *t)
{
    if (t->n_rows == 0) return FAIL(cx, ARG, "the table has no rows to intersect");
    return OK;
}

static void tell(const struct psi_progress *pr, uint64_t done, uint64_t all)
{
    if (pr && pr->fn) pr->fn(pr->arg, done < all ? done : all, all);
}

static void keep_tags(const point *in, size_t n, uint8_t (*out)[TAG_BYTES])
{
    for (size_t i = 0; i < n; i++)
        memcpy(out[i], in[i], TAG_BYTES);
}

/* --- guest: matching --------------------------------------------------------------------------------------- */
struct side { /* what the guest holds of one host */
    struct party party;
    size_t n;                     /* the host's ids */
    uint8_t (*theirs)[TAG_BYTES]; /* a*b*H(id) by the host's shuffled position, n */
    uint8_t (*ours)[TAG_BYTES];   /* the same of our ids by our row, as the host answered */
    uint32_t *position;           /* of our row at the host; UINT32_MAX: the host does not have it */
};

static uint64_t tag_word(const uint8_t *tag)
{
    uint64_t x;
    memcpy(&x, tag, sizeof x);
    return x;
}

/* Open addressing over the host's tags, at most half full; tags are pseudo-random, so their bits are the hash. */
static status match_side(struct ctx *cx, struct side *s, size_t n_own)
{
    struct arena_mark mark = arena_mark(cx->mem);
    size_t cap = 16;
    while (cap < 2 * s->n)
        cap *= 2;
    uint32_t *slot = NEW(cx, uint32_t, cap); /* position + 1 */
    if (!slot) return FAIL(cx, NOMEM, "table of %zu slots", cap);
    for (size_t p = 0; p < s->n; p++) {
        size_t h = tag_word(s->theirs[p]) & (cap - 1);
        for (; slot[h]; h = (h + 1) & (cap - 1))
            if (memcmp(s->theirs[slot[h] - 1], s->theirs[p], TAG_BYTES) == 0)
                return FAIL(cx, PROTO, "%s %u sent the same masked id twice", role_name(s->party.role),
                            s->party.id);
        slot[h] = (uint32_t)p + 1;
    }
    for (size_t i = 0; i < n_own; i++) {
        s->position[i] = UINT32_MAX;
        for (size_t h = tag_word(s->ours[i]) & (cap - 1); slot[h]; h = (h + 1) & (cap - 1))
            if (memcmp(s->theirs[slot[h] - 1], s->ours[i], TAG_BYTES) == 0) {
                s->position[i] = slot[h] - 1;
                break;
            }
    }
    arena_rewind(cx->mem, mark);
    return OK;
}

static status send_rows(struct ctx *cx, struct channel *ch, const struct side *s, const uint32_t *rows,
                        size_t n)
{
    struct arena_mark mark = arena_mark(cx->mem);
    uint32_t *wire = NEW(cx, uint32_t, n + 1);
    if (!wire) return FAIL(cx, NOMEM, "%zu positions", n);
    for (size_t i = 0; i < n; i++)
        wire[i] = s->position[rows[i]];
    TRY(channel_send(cx, ch, s->party, "psi.rows", wire, n * sizeof *wire));
    arena_rewind(cx->mem, mark);
    return OK;
}

static status finish_guest(struct ctx *cx, struct channel *ch, struct side *sides, size_t n_hosts,
                           const struct table *t, const uint32_t *order, struct psi_result *out)
{
    for (size_t h = 0; h < n_hosts; h++)
        TRY(match_side(cx, &sides[h], t->n_rows));
    uint32_t *rows = NEW(cx, uint32_t, t->n_rows + 1);
    if (!rows) return FAIL(cx, NOMEM, "%zu rows", t->n_rows);
    size_t n = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        bool common = true;
        for (size_t h = 0; h < n_hosts; h++)
            common &= sides[h].position[order[i]] != UINT32_MAX;
        if (common) rows[n++] = order[i];
    }
    for (size_t h = 0; h < n_hosts; h++)
        TRY(send_rows(cx, ch, &sides[h], rows, n));
    out->rows = rows, out->n = n;
    return OK;
}

/* --- guest: exchange --------------------------------------------------------------------------------------- */
static status open_sides(struct ctx *cx, struct channel *ch, const struct party *hosts, size_t n_hosts,
                         size_t n_own, const uint8_t *salt, struct side *sides, struct psi_result *out)
{
    for (size_t h = 0; h < n_hosts; h++)
        TRY(send_hello(cx, ch, hosts[h], n_own, salt));
    for (size_t h = 0; h < n_hosts; h++) {
        struct side *s = &sides[h];
        s->party = hosts[h];
        TRY(recv_hello(cx, ch, hosts[h], &s->n, NULL));
        out->n_peers[h] = s->n;
        s->theirs = (uint8_t(*)[TAG_BYTES])NEW(cx, uint8_t, s->n * TAG_BYTES);
        s->ours = (uint8_t(*)[TAG_BYTES])NEW(cx, uint8_t, n_own * TAG_BYTES);
        s->position = NEW(cx, uint32_t, n_own + 1);
        if (!s->theirs || !s->ours || !s->position)
            return FAIL(cx, NOMEM, "tags of %zu and %zu ids", n_own, s->n);
    }
    return OK;
}

static status take_chunk(struct ctx *cx, struct channel *ch, const struct curve_scalar *a, struct side *s,
                         size_t n_own, size_t k, point *work)
{
    struct bytes msg;
    size_t n = chunk_rows(s->n, k);
    if (n) {
        TRY(recv_items(cx, ch, s->party, "psi.host", n, CURVE_BYTES, &msg));
        TRY_IN(cx, curve_mul(cx, a, (const point *)(const void *)msg.p, n, work), "points of %s %u",
               role_name(s->party.role), s->party.id);
        keep_tags((const point *)work, n, s->theirs + k * PSI_CHUNK);
    }
    n = chunk_rows(n_own, k);
    if (n) {
        TRY(recv_items(cx, ch, s->party, "psi.back", n, TAG_BYTES, &msg));
        memcpy(s->ours + k * PSI_CHUNK, msg.p, msg.n);
    }
    return OK;
}

status psi_guest(struct ctx *cx, struct channel *ch, const struct party *hosts, size_t n_hosts,
                 const struct table *t, const struct psi_progress *pr, struct psi_result *out)
{
    struct psi_result res = {0};
    uint32_t *order;
    uint8_t salt[SALT_BYTES];
    TRY(check_table(cx, t));
    if (n_hosts == 0 || n_hosts > LEN(res.n_peers))
        return FAIL(cx, ARG, "%zu hosts: want 1 to %zu", n_hosts, LEN(res.n_peers));
    TRY(order_ids(cx, t, &order));
    TRY(rand_bytes(cx, salt, sizeof salt));
    CLEANUP(curve_scalar_freep) struct curve_scalar *a = NULL;
    TRY(curve_scalar_new(cx, &a));
    struct side *sides = NEW(cx, struct side, n_hosts);
    point *work = (point *)NEW(cx, uint8_t, PSI_CHUNK * sizeof(point));
    if (!sides || !work) return FAIL(cx, NOMEM, "%zu hosts", n_hosts);
    TRY(open_sides(cx, ch, hosts, n_hosts, t->n_rows, salt, sides, &res));

    size_t n_own = pool_chunks(t->n_rows, PSI_CHUNK), n_max = n_own;
    for (size_t h = 0; h < n_hosts; h++)
        if (pool_chunks(sides[h].n, PSI_CHUNK) > n_max) n_max = pool_chunks(sides[h].n, PSI_CHUNK);
    for (size_t k = 0; k < n_max + LAG; k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY(ctx_check(cx));
        size_t n = chunk_rows(t->n_rows, k);
        if (n) {
            TRY(mask_ids(cx, a, (struct hash_job){t, NULL, k * PSI_CHUNK, salt, work}, n));
            for (size_t h = 0; h < n_hosts; h++)
                TRY(channel_send(cx, ch, hosts[h], "psi.guest", work, n * sizeof(point)));
        }
        for (size_t h = 0; h < n_hosts && k >= LAG; h++)
            TRY(take_chunk(cx, ch, a, &sides[h], t->n_rows, k - LAG, work));
        arena_rewind(cx->mem, mark);
        tell(pr, (k + 1) * PSI_CHUNK, (n_max + LAG) * PSI_CHUNK);
    }
    TRY(finish_guest(cx, ch, sides, n_hosts, t, order, &res));
    *out = res;
    return OK;
}

/* --- host -------------------------------------------------------------------------------------------------- */
/* Fisher-Yates over fresh secret randomness: shuffled position to own row. */
static status permute(struct ctx *cx, size_t n, uint32_t **out)
{
    uint8_t seed[32];
    TRY(rand_bytes(cx, seed, sizeof seed));
    CLEANUP(prg_freep) struct prg *prg = NULL;
    TRY(prg_new(cx, seed, &prg));
    secret_wipe(seed, sizeof seed);
    uint32_t *perm = NEW(cx, uint32_t, n + 1);
    if (!perm) return FAIL(cx, NOMEM, "permutation of %zu", n);
    for (size_t i = 0; i < n; i++)
        perm[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        /* 64 bits scaled to i < 2^32: the bias is below 2^-32 a step and tells nothing of a row */
        size_t j = (size_t)(((unsigned __int128)prg_u64(prg) * i) >> 64);
        uint32_t swap = perm[i - 1];
        perm[i - 1] = perm[j], perm[j] = swap;
    }
    *out = perm;
    return OK;
}

static status answer_chunk(struct ctx *cx, struct channel *ch, const struct curve_scalar *b,
                           struct party guest, size_t n, point *work)
{
    struct bytes msg;
    TRY(recv_items(cx, ch, guest, "psi.guest", n, CURVE_BYTES, &msg));
    TRY_IN(cx, curve_mul(cx, b, (const point *)(const void *)msg.p, n, work), "points of guest %u", guest.id);
    uint8_t(*tags)[TAG_BYTES] = (uint8_t(*)[TAG_BYTES])NEW(cx, uint8_t, n * TAG_BYTES);
    if (!tags) return FAIL(cx, NOMEM, "%zu tags", n);
    keep_tags((const point *)work, n, tags);
    return channel_send(cx, ch, guest, "psi.back", tags, n * TAG_BYTES);
}

/* The guest's list of shuffled positions as own rows; each at most once. */
static status take_rows(struct ctx *cx, struct channel *ch, struct party guest, const uint32_t *perm,
                        size_t n_own, size_t n_guest, struct psi_result *out)
{
    struct bytes msg;
    TRY(channel_recv(cx, ch, guest, "psi.rows", &msg));
    size_t n = msg.n / 4, most = n_own < n_guest ? n_own : n_guest;
    if (msg.n % 4 || n > most)
        return FAIL(cx, PROTO, "guest %u sent %zu bytes of common rows: want 4 each, at most %zu", guest.id,
                    msg.n, most);
    uint32_t *rows = NEW(cx, uint32_t, n + 1);
    uint8_t *seen = NEW(cx, uint8_t, n_own / 8 + 1);
    if (!rows || !seen) return FAIL(cx, NOMEM, "%zu rows", n);
    struct reader r = reader_of(msg.p, msg.n);
    for (size_t i = 0; i < n; i++) {
        uint32_t p;
        TRY(reader_u32(cx, &r, &p));
        if (p >= n_own || seen[p / 8] & (1u << p % 8))
            return FAIL(cx, PROTO, "guest %u: common row %zu is position %u: want one below %zu, each once",
                        guest.id, i, p, n_own);
        seen[p / 8] = (uint8_t)(seen[p / 8] | 1u << p % 8);
        rows[i] = perm[p];
    }
    out->rows = rows, out->n = n;
    return OK;
}

status psi_host(struct ctx *cx, struct channel *ch, struct party guest, const struct table *t,
                const struct psi_progress *pr, struct psi_result *out)
{
    struct psi_result res = {0};
    uint32_t *order, *perm;
    const uint8_t *salt;
    TRY(check_table(cx, t));
    struct arena_mark start = arena_mark(cx->mem);
    TRY(order_ids(cx, t, &order)); /* for its refusal of repeated ids only */
    arena_rewind(cx->mem, start);
    TRY(permute(cx, t->n_rows, &perm));
    CLEANUP(curve_scalar_freep) struct curve_scalar *b = NULL;
    TRY(curve_scalar_new(cx, &b));
    point *work = (point *)NEW(cx, uint8_t, PSI_CHUNK * sizeof(point));
    if (!work) return FAIL(cx, NOMEM, "a chunk");
    TRY(send_hello(cx, ch, guest, t->n_rows, NULL));
    TRY(recv_hello(cx, ch, guest, &res.n_peers[0], &salt));

    size_t n_own = pool_chunks(t->n_rows, PSI_CHUNK), n_guest = pool_chunks(res.n_peers[0], PSI_CHUNK);
    size_t n_max = n_own > n_guest ? n_own : n_guest;
    for (size_t k = 0; k < n_max; k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY(ctx_check(cx));
        size_t n = chunk_rows(t->n_rows, k);
        if (n) {
            TRY(mask_ids(cx, b, (struct hash_job){t, perm, k * PSI_CHUNK, salt, work}, n));
            TRY(channel_send(cx, ch, guest, "psi.host", work, n * sizeof(point)));
        }
        n = chunk_rows(res.n_peers[0], k);
        if (n) TRY(answer_chunk(cx, ch, b, guest, n, work));
        arena_rewind(cx->mem, mark);
        tell(pr, (k + 1) * PSI_CHUNK, n_max * PSI_CHUNK);
    }
    TRY(take_rows(cx, ch, guest, perm, t->n_rows, res.n_peers[0], &res));
    *out = res;
    return OK;
}
