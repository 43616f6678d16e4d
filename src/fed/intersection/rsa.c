/* Intersection by RSA blind signatures: FATE's `rsa`. The primitives and their source: crypto/rsa_psi.h.
 *
 * Each host makes a key for the job. The guest sends blinded ids, a host returns signatures and tokens of its own ids in an
 * order shuffled by fresh randomness; the guest unblinds, matches tokens, and tells each host its common rows, as in ecdh.c.
 * What each learns is what psi.h says; a host that keeps its key could test guesses against nothing, for tokens go to the
 * guest only, which can test a guess only by having it signed. */
#include "base/arena.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/rsa_psi.h"
#include "fed/intersection/order.h"
#include "fed/intersection/psi_int.h"
#include <string.h>

struct scratch { /* of one chunk */
    uint8_t (*wide)[64];
    uint8_t (*token)[RSA_TOKEN];
    uint8_t *residues;
    uint8_t (*tags)[PSI_TAG];
};

static status scratch_new(struct ctx *cx, size_t bytes, struct scratch *w)
{
    *w = (struct scratch){.wide = (uint8_t(*)[64])NEW(cx, uint8_t, PSI_CHUNK * 64),
                          .token = (uint8_t(*)[RSA_TOKEN])NEW(cx, uint8_t, PSI_CHUNK * RSA_TOKEN),
                          .residues = NEW(cx, uint8_t, PSI_CHUNK * bytes),
                          .tags = (uint8_t(*)[PSI_TAG])NEW(cx, uint8_t, PSI_CHUNK * PSI_TAG)};
    if (!w->wide || !w->token || !w->residues || !w->tags) return FAIL(cx, NOMEM, "a chunk");
    return OK;
}

static void scratch_wipe(struct scratch *w)
{
    if (w->wide) secret_wipe(w->wide, PSI_CHUNK * 64);
    if (w->token) secret_wipe(w->token, PSI_CHUNK * RSA_TOKEN);
}

static void cut_tags(const uint8_t (*token)[RSA_TOKEN], size_t n, uint8_t (*out)[PSI_TAG])
{
    for (size_t i = 0; i < n; i++)
        memcpy(out[i], token[i], PSI_TAG);
}

/* One chunk with one host: its tokens, and our ids signed. */
static status guest_chunk(struct ctx *cx, struct channel *ch, const struct rsa_public *pub,
                          struct psi_side *s, size_t n_own, size_t k, struct psi_hash hash, struct scratch *w)
{
    struct bytes msg;
    size_t n = psi_chunk_rows(n_own, k), bytes = rsa_bytes(pub);
    CLEANUP(rsa_blinding_freep) struct rsa_blinding *blinding = NULL;
    if (n) {
        TRY(psi_hash_ids(cx, hash, n));
        TRY(rsa_blind(cx, pub, (const uint8_t(*)[64])w->wide, n, w->residues, &blinding));
        TRY(channel_send(cx, ch, s->party, "psi.guest", w->residues, n * bytes));
    }
    size_t n_theirs = psi_chunk_rows(s->n, k);
    if (n_theirs) {
        TRY(psi_recv_items(cx, ch, s->party, "psi.host", n_theirs, PSI_TAG, &msg));
        memcpy(s->theirs + k * PSI_CHUNK, msg.p, msg.n);
    }
    if (!n) return OK;
    TRY(psi_recv_items(cx, ch, s->party, "psi.back", n, bytes, &msg));
    TRY_IN(cx, rsa_unblind(cx, pub, blinding, (const uint8_t(*)[64])w->wide, msg.p, n, w->token),
           "signatures of %s %u", role_name(s->party.role), s->party.id);
    cut_tags((const uint8_t(*)[RSA_TOKEN])w->token, n, s->ours + k * PSI_CHUNK);
    return OK;
}

static status recv_keys(struct ctx *cx, struct channel *ch, const struct psi_side *sides, size_t n_hosts,
                        int key_bits, const struct rsa_public **pub)
{
    for (size_t h = 0; h < n_hosts; h++) {
        struct bytes msg;
        TRY(channel_recv(cx, ch, sides[h].party, "psi.key", &msg));
        TRY_IN(cx, rsa_public_read(cx, msg, &pub[h]), "key of host %u", sides[h].party.id);
        if (rsa_bytes(pub[h]) * 8 != (size_t)key_bits)
            return FAIL(cx, PROTO, "host %u has a key of %zu bits, the job wants %d", sides[h].party.id,
                        rsa_bytes(pub[h]) * 8, key_bits);
    }
    return OK;
}

status psi_rsa_guest(struct ctx *cx, struct channel *ch, int key_bits, const struct party *hosts,
                     size_t n_hosts, const struct table *t, const struct psi_progress *pr,
                     struct psi_result *out)
{
    struct psi_result res = {0};
    uint32_t *order;
    uint8_t salt[PSI_SALT];
    CLEANUP(scratch_wipe) struct scratch w = {0};
    TRY(psi_check_table(cx, t));
    if (n_hosts == 0 || n_hosts > LEN(res.n_peers))
        return FAIL(cx, ARG, "%zu hosts: want 1 to %zu", n_hosts, LEN(res.n_peers));
    TRY(order_ids(cx, t, &order));
    TRY(rand_bytes(cx, salt, sizeof salt));
    struct psi_side *sides = NEW(cx, struct psi_side, n_hosts);
    const struct rsa_public **pub = NEW(cx, const struct rsa_public *, n_hosts);
    if (!sides || !pub) return FAIL(cx, NOMEM, "%zu hosts", n_hosts);
    TRY(scratch_new(cx, (size_t)key_bits / 8, &w));
    TRY(psi_open_sides(cx, ch, hosts, n_hosts, t->n_rows, salt, sides, &res));
    TRY(recv_keys(cx, ch, sides, n_hosts, key_bits, pub));
    size_t n_max = t->n_rows;
    for (size_t h = 0; h < n_hosts; h++)
        if (sides[h].n > n_max) n_max = sides[h].n;
    for (size_t k = 0; k * PSI_CHUNK < n_max; k++) {
        struct psi_hash hash = {t, NULL, k * PSI_CHUNK, salt, w.wide};
        for (size_t h = 0; h < n_hosts; h++) {
            struct arena_mark mark = arena_mark(cx->mem);
            TRY(ctx_check(cx));
            TRY(guest_chunk(cx, ch, pub[h], &sides[h], t->n_rows, k, hash, &w));
            arena_rewind(cx->mem, mark);
        }
        psi_tell(pr, (k + 1) * PSI_CHUNK, n_max);
    }
    TRY(psi_finish_guest(cx, ch, sides, n_hosts, t, order, &res));
    *out = res;
    return OK;
}

static status send_key(struct ctx *cx, struct channel *ch, struct party guest, const struct rsa_key *key)
{
    CLEANUP(buf_free) struct buf b = {0};
    rsa_public_write(rsa_key_public(key), &b);
    TRY(buf_ok(cx, &b));
    return channel_send(cx, ch, guest, "psi.key", b.p, b.n);
}

/* One chunk: own tokens out, then the guest's blinded ids signed. */
static status host_chunk(struct ctx *cx, struct channel *ch, const struct rsa_key *key, struct party guest,
                         struct psi_hash hash, size_t n, size_t n_guest, struct scratch *w)
{
    struct bytes msg;
    size_t bytes = rsa_bytes(rsa_key_public(key));
    if (n) {
        TRY(psi_hash_ids(cx, hash, n));
        TRY(rsa_own(cx, key, (const uint8_t(*)[64])w->wide, n, w->token));
        cut_tags((const uint8_t(*)[RSA_TOKEN])w->token, n, w->tags);
        TRY(channel_send(cx, ch, guest, "psi.host", w->tags, n * PSI_TAG));
    }
    if (!n_guest) return OK;
    TRY(psi_recv_items(cx, ch, guest, "psi.guest", n_guest, bytes, &msg));
    TRY_IN(cx, rsa_sign(cx, key, msg.p, n_guest, w->residues), "ids of guest %u", guest.id);
    return channel_send(cx, ch, guest, "psi.back", w->residues, n_guest * bytes);
}

status psi_rsa_host(struct ctx *cx, struct channel *ch, int key_bits, struct party guest,
                    const struct table *t, const struct psi_progress *pr, struct psi_result *out)
{
    struct psi_result res = {0};
    uint32_t *order, *perm;
    const uint8_t *salt;
    CLEANUP(scratch_wipe) struct scratch w = {0};
    TRY(psi_check_table(cx, t));
    struct arena_mark start = arena_mark(cx->mem);
    TRY(order_ids(cx, t, &order)); /* for its refusal of repeated ids only */
    arena_rewind(cx->mem, start);
    TRY(psi_permute(cx, t->n_rows, &perm));
    CLEANUP(rsa_key_freep) struct rsa_key *key = NULL;
    TRY(rsa_key_new(cx, key_bits, &key));
    TRY(scratch_new(cx, (size_t)key_bits / 8, &w));
    TRY(psi_send_hello(cx, ch, guest, t->n_rows, NULL));
    TRY(send_key(cx, ch, guest, key));
    TRY(psi_recv_hello(cx, ch, guest, &res.n_peers[0], &salt));
    size_t n_max = t->n_rows > res.n_peers[0] ? t->n_rows : res.n_peers[0];
    for (size_t k = 0; k * PSI_CHUNK < n_max; k++) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY(ctx_check(cx));
        TRY(host_chunk(cx, ch, key, guest, (struct psi_hash){t, perm, k * PSI_CHUNK, salt, w.wide},
                       psi_chunk_rows(t->n_rows, k), psi_chunk_rows(res.n_peers[0], k), &w));
        arena_rewind(cx->mem, mark);
        psi_tell(pr, (k + 1) * PSI_CHUNK, n_max);
    }
    TRY(psi_take_rows(cx, ch, guest, perm, t->n_rows, res.n_peers[0], &res));
    *out = res;
    return OK;
}
