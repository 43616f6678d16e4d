#include "crypto/he.h"
#include "crypto/lattice.h"
#include "crypto/paillier.h"
#include "base/arena.h"
#include <stdlib.h>
#include <strings.h>

status he_scheme_parse(struct ctx *cx, const char *name, enum he_scheme *out)
{
    static const struct {
        const char *name;
        enum he_scheme scheme;
    } schemes[] = {{"lattice", HE_LATTICE}, {"paillier", HE_PAILLIER}};
    static const struct {
        const char *name, *why;
    } refused[] = {
        {"iterativeaffine", "it is broken: a few known values give the key"},
        {"randomiterativeaffine", "it is broken: a few known values give the key"},
        {"none", "it would send values without encryption"},
    };
    for (size_t i = 0; i < LEN(schemes); i++)
        if (strcasecmp(name, schemes[i].name) == 0) {
            *out = schemes[i].scheme;
            return OK;
        }
    for (size_t i = 0; i < LEN(refused); i++)
        if (strcasecmp(name, refused[i].name) == 0)
            return FAIL(cx, UNSUPPORTED, "encryption \"%s\" is refused: %s; there are Lattice and Paillier",
                        name, refused[i].why);
    return FAIL(cx, UNSUPPORTED, "encryption \"%s\" is unknown; there are Lattice and Paillier", name);
}

int he_sum_bits_max(enum he_scheme scheme, int key_bits, size_t n_rows, int n_stats)
{
    switch (scheme) {
    case HE_LATTICE:
        return lattice_sum_bits_max(n_rows, n_stats);
    case HE_PAILLIER:
        return paillier_sum_bits_max(key_bits, n_rows, n_stats);
    }
    return 0;
}

static status unknown(struct ctx *cx, enum he_scheme scheme)
{
    return FAIL(cx, ARG, "scheme %d", (int)scheme);
}

status he_describe(struct ctx *cx, const struct he_params *p, struct he_info *out)
{
    switch (p->scheme) {
    case HE_LATTICE:
        return lattice_describe(cx, p, out);
    case HE_PAILLIER:
        return paillier_describe(cx, p, out);
    }
    return unknown(cx, p->scheme);
}

/* --- guest ------------------------------------------------------------------------------------- */
/* One of the two, by scheme; on the heap, the secrets are in the scheme's own memory. */
struct he_guest {
    struct arena *mem;
    enum he_scheme scheme;
    struct lattice_guest *lattice;
    struct paillier_guest *paillier;
};

status he_guest_new(struct ctx *cx, const struct he_params *p, struct he_guest **out)
{
    struct arena *mem = arena_new(0);
    struct he_guest *g = mem ? arena_alloc(mem, sizeof *g, _Alignof(struct he_guest)) : NULL;
    if (!g) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "a guest's keys");
    }
    *g = (struct he_guest){.mem = mem, .scheme = p->scheme};
    status st = p->scheme == HE_LATTICE    ? lattice_guest_new(cx, p, &g->lattice)
                : p->scheme == HE_PAILLIER ? paillier_guest_new(cx, p, &g->paillier)
                                           : unknown(cx, p->scheme);
    if (st.code)
        he_guest_free(g);
    else
        *out = g;
    return st;
}

void he_guest_free(struct he_guest *g)
{
    if (!g) return;
    lattice_guest_free(g->lattice);
    paillier_guest_free(g->paillier);
    arena_free(g->mem);
}

void he_guest_freep(struct he_guest **g)
{
    he_guest_free(*g);
    *g = NULL;
}

status he_guest_public(struct ctx *cx, const struct he_guest *g, struct buf *out)
{
    return g->lattice ? lattice_guest_public(cx, g->lattice, out)
                      : paillier_guest_public(cx, g->paillier, out);
}

status he_guest_encrypt(struct ctx *cx, struct he_guest *g, const int64_t *m, struct buf *out)
{
    return g->lattice ? lattice_guest_encrypt(cx, g->lattice, m, out)
                      : paillier_guest_encrypt(cx, g->paillier, m, out);
}

status he_guest_decrypt(struct ctx *cx, struct he_guest *g, struct bytes reply, size_t n_buckets,
                        int64_t *sums)
{
    return g->lattice ? lattice_guest_decrypt(cx, g->lattice, reply, n_buckets, sums)
                      : paillier_guest_decrypt(cx, g->paillier, reply, n_buckets, sums);
}

/* --- host -------------------------------------------------------------------------------------- */
struct he_host {
    struct arena *mem;
    struct lattice_host *lattice;
    struct paillier_host *paillier;
};

/* Both schemes' keys begin with a version byte and the set's name. */
static status read_set(struct ctx *cx, struct bytes pub, const char **set)
{
    struct reader r = reader_of(pub.p, pub.n);
    uint8_t version;
    TRY(reader_u8(cx, &r, &version));
    return reader_str(cx, &r, 64, set);
}

status he_host_open(struct ctx *cx, struct bytes pub, struct he_host **out)
{
    const char *set = NULL;
    TRY_IN(cx, read_set(cx, pub, &set), "a guest's key");
    struct arena *mem = arena_new(0);
    struct he_host *h = mem ? arena_alloc(mem, sizeof *h, _Alignof(struct he_host)) : NULL;
    if (!h) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "a host's key");
    }
    *h = (struct he_host){.mem = mem};
    status st = strncasecmp(set, "paillier-", 9) == 0 ? paillier_host_open(cx, pub, &h->paillier)
                                                      : lattice_host_open(cx, pub, &h->lattice);
    if (st.code)
        he_host_free(h);
    else
        *out = h;
    return st;
}

void he_host_free(struct he_host *h)
{
    if (!h) return;
    lattice_host_free(h->lattice);
    paillier_host_free(h->paillier);
    arena_free(h->mem);
}

void he_host_freep(struct he_host **h)
{
    he_host_free(*h);
    *h = NULL;
}

const struct he_params *he_host_params(const struct he_host *h)
{
    return h->lattice ? lattice_host_params(h->lattice) : paillier_host_params(h->paillier);
}

status he_host_load(struct ctx *cx, struct he_host *h, struct bytes batch)
{
    return h->lattice ? lattice_host_load(cx, h->lattice, batch) : paillier_host_load(cx, h->paillier, batch);
}

status he_host_sum(struct ctx *cx, struct he_host *h, const uint8_t *const *bins, const uint16_t *n_bins,
                   size_t n_features, const uint32_t *rows, size_t n_rows, struct buf *out)
{
    return h->lattice ? lattice_host_sum(cx, h->lattice, bins, n_bins, n_features, rows, n_rows, out)
                      : paillier_host_sum(cx, h->paillier, bins, n_bins, n_features, rows, n_rows, out);
}
