#include "fed/intersection/psi_int.h"
#include "base/arena.h"
#include "base/evp.h"
#include "base/pool.h"
#include "base/secret.h"
#include "fed/intersection/order.h"
#include <string.h>

#define VERSION    1
#define HASH_GRAIN 1024

static void md_freep(EVP_MD_CTX **md)
{
    EVP_MD_CTX_free(*md);
}

/* SHA-512(salt, id) of rows [first + begin, first + end). */
static status wide_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct psi_hash *j = arg;
    CLEANUP(md_freep) EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md) return FAIL(cx, NOMEM, "SHA-512 context");
    for (size_t i = begin; i < end; i++) {
        struct bytes id = table_id(j->t, j->rows ? j->rows[j->first + i] : j->first + i);
        if (!EVP_DigestInit_ex(md, EVP_sha512(), NULL) || !EVP_DigestUpdate(md, j->salt, PSI_SALT) ||
            !EVP_DigestUpdate(md, id.p, id.n) || !EVP_DigestFinal_ex(md, j->out[i], NULL))
            return FAIL(cx, INTERNAL, "SHA-512");
    }
    return OK;
}

status psi_hash_ids(struct ctx *cx, struct psi_hash j, size_t n)
{
    return pool_for(cx, n, HASH_GRAIN, wide_chunk, &j);
}

size_t psi_chunk_rows(size_t n, size_t k)
{
    size_t begin = k * PSI_CHUNK;
    return begin >= n ? 0 : n - begin < PSI_CHUNK ? n - begin : PSI_CHUNK;
}

status psi_recv_items(struct ctx *cx, struct channel *ch, struct party from, const char *tag, size_t n,
                      size_t size, struct bytes *out)
{
    TRY(channel_recv(cx, ch, from, tag, out));
    if (out->n != n * size)
        return FAIL(cx, PROTO, "%s %u sent %zu bytes as %s: want %zu items of %zu", role_name(from.role),
                    from.id, out->n, tag, n, size);
    return OK;
}

/* hello: u8 version, u64 own ids; from the guest also the salt. */
status psi_send_hello(struct ctx *cx, struct channel *ch, struct party to, uint64_t n, const uint8_t *salt)
{
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, VERSION);
    buf_u64(&b, n);
    if (salt) buf_put(&b, salt, PSI_SALT);
    TRY(buf_ok(cx, &b));
    return channel_send(cx, ch, to, "psi.hello", b.p, b.n);
}

status psi_recv_hello(struct ctx *cx, struct channel *ch, struct party from, size_t *n, const uint8_t **salt)
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
    if (salt) TRY(reader_bytes(cx, &r, PSI_SALT, salt));
    TRY(reader_end(cx, &r));
    *n = (size_t)count;
    return OK;
}

status psi_check_table(struct ctx *cx, const struct table *t)
{
    if (t->n_rows == 0) return FAIL(cx, ARG, "the table has no rows to intersect");
    return OK;
}

void psi_tell(const struct psi_progress *pr, uint64_t done, uint64_t all)
{
    if (pr && pr->fn) pr->fn(pr->arg, done < all ? done : all, all);
}

static uint64_t tag_word(const uint8_t *tag)
{
    uint64_t x;
    memcpy(&x, tag, sizeof x);
    return x;
}

/* Open addressing over the host's tags, at most half full; tags are pseudo-random, so their bits are the hash. Neither
 * side's ids repeat, so each position is matched once at most. */
static status match_side(struct ctx *cx, struct psi_side *s, size_t n_own)
{
    struct arena_mark mark = arena_mark(cx->mem);
    size_t cap = 16;
    while (cap < 2 * s->n)
        cap *= 2;
    uint32_t *slot = NEW(cx, uint32_t, cap); /* position + 1 */
    uint8_t *taken = NEW(cx, uint8_t, s->n / 8 + 1);
    if (!slot || !taken) return FAIL(cx, NOMEM, "table of %zu slots", cap);
    for (size_t p = 0; p < s->n; p++) {
        size_t h = tag_word(s->theirs[p]) & (cap - 1);
        for (; slot[h]; h = (h + 1) & (cap - 1))
            if (memcmp(s->theirs[slot[h] - 1], s->theirs[p], PSI_TAG) == 0)
                return FAIL(cx, PROTO, "%s %u sent the same masked id twice", role_name(s->party.role),
                            s->party.id);
        slot[h] = (uint32_t)p + 1;
    }
    for (size_t i = 0; i < n_own; i++) {
        s->position[i] = UINT32_MAX;
        for (size_t h = tag_word(s->ours[i]) & (cap - 1); slot[h]; h = (h + 1) & (cap - 1))
            if (memcmp(s->theirs[slot[h] - 1], s->ours[i], PSI_TAG) == 0) {
                s->position[i] = slot[h] - 1;
                break;
            }
        uint32_t p = s->position[i];
        if (p == UINT32_MAX) continue;
        if (taken[p / 8] & 1u << p % 8)
            return FAIL(cx, PROTO, "%s %u answered two of our ids alike", role_name(s->party.role),
                        s->party.id);
        taken[p / 8] = (uint8_t)(taken[p / 8] | 1u << p % 8);
    }
    arena_rewind(cx->mem, mark);
    return OK;
}

static status send_rows(struct ctx *cx, struct channel *ch, const struct psi_side *s, const uint32_t *rows,
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

status psi_finish_guest(struct ctx *cx, struct channel *ch, struct psi_side *sides, size_t n_hosts,
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

status psi_open_sides(struct ctx *cx, struct channel *ch, const struct party *hosts, size_t n_hosts,
                      size_t n_own, const uint8_t *salt, struct psi_side *sides, struct psi_result *out)
{
    for (size_t h = 0; h < n_hosts; h++)
        TRY(psi_send_hello(cx, ch, hosts[h], n_own, salt));
    for (size_t h = 0; h < n_hosts; h++) {
        struct psi_side *s = &sides[h];
        s->party = hosts[h];
        TRY(psi_recv_hello(cx, ch, hosts[h], &s->n, NULL));
        out->n_peers[h] = s->n;
        s->theirs = (uint8_t(*)[PSI_TAG])NEW(cx, uint8_t, s->n * PSI_TAG);
        s->ours = (uint8_t(*)[PSI_TAG])NEW(cx, uint8_t, n_own * PSI_TAG);
        s->position = NEW(cx, uint32_t, n_own + 1);
        if (!s->theirs || !s->ours || !s->position)
            return FAIL(cx, NOMEM, "tags of %zu and %zu ids", n_own, s->n);
    }
    return OK;
}

/* Fisher-Yates over fresh secret randomness: shuffled position to own row. */
status psi_permute(struct ctx *cx, size_t n, uint32_t **out)
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

/* The guest's list of shuffled positions as own rows; each at most once. */
status psi_take_rows(struct ctx *cx, struct channel *ch, struct party guest, const uint32_t *perm,
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
