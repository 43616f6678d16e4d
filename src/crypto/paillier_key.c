#include "crypto/paillier_key.h"
#include "crypto/prime.h"
#include "base/pool.h"
#include "base/secret.h"
#include <assert.h>
#include <gmp.h>
#include <string.h>

static void words_freep(uint64_t **p)
{
    secret_free(*p);
}

void paillier_guest_free(struct paillier_guest *g)
{
    if (!g) return;
    secret_free(g->half[0].table.words);
    secret_free(g->half[1].table.words);
    secret_free(g);
}

void paillier_guest_freep(struct paillier_guest **g)
{
    paillier_guest_free(*g);
    *g = NULL;
}

/* --- single products, for the key -------------------------------------------------------------- */
static void mul1(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    mont_mul(m, 1, &out, &a, &b);
}

/* x[0..n) modulo p, p.w words; n at most MONT_WORDS. */
static void modulo(const uint64_t *x, size_t n, const uint64_t *p, size_t w, uint64_t *out)
{
    uint64_t t[MONT_WORDS], scratch[4 * MONT_WORDS];
    assert(mpn_sec_div_r_itch((mp_size_t)n, (mp_size_t)w) <= (mp_size_t)LEN(scratch));
    memcpy(t, x, n * sizeof *t);
    mpn_sec_div_r(t, (mp_size_t)n, p, (mp_size_t)w, scratch);
    memcpy(out, t, w * sizeof *out);
    secret_wipe(t, sizeof t);
    secret_wipe(scratch, sizeof scratch);
}

/* 1/a modulo the odd p, both of w words, a below p; false: none. */
static bool inverse(const uint64_t *a, const uint64_t *p, size_t w, uint64_t *out)
{
    uint64_t t[MONT_WORDS], scratch[8 * MONT_WORDS];
    assert(mpn_sec_invert_itch((mp_size_t)w) <= (mp_size_t)LEN(scratch));
    memcpy(t, a, w * sizeof *t);
    bool ok = mpn_sec_invert(out, t, p, (mp_size_t)w, 128 * w, scratch);
    secret_wipe(t, sizeof t);
    secret_wipe(scratch, sizeof scratch);
    return ok;
}

/* x = lo + p hi of an element of a half, as n_words of N. */
static void integer(const struct half *h, const uint64_t *elem, uint64_t *x)
{
    size_t w = h->m.n_words;
    uint64_t lo[MONT_WORDS] = {0}, hi[HALF_WORDS], scratch[4 * MONT_WORDS];
    assert(mpn_sec_mul_itch((mp_size_t)w, (mp_size_t)w) <= (mp_size_t)LEN(scratch));
    mont_store(&h->m, elem, lo, hi);
    mpn_sec_mul(x, hi, (mp_size_t)w, h->m.n64, (mp_size_t)w, scratch);
    mpn_add_n(x, x, lo, (mp_size_t)(2 * w));
    secret_wipe(lo, sizeof lo);
    secret_wipe(hi, sizeof hi);
}

/* The idempotents' products are added: no inversion, nothing but products. */
void paillier_join(const struct paillier_guest *g, size_t n, uint64_t *const *const x[2], uint64_t *work,
                   uint64_t *const *lo, uint64_t *const *hi)
{
    const struct mont *m = &g->n;
    uint64_t *part[2][PAILLIER_BATCH];
    const uint64_t *idem[PAILLIER_BATCH];
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++) {
            uint64_t value[MONT_WORDS];
            part[k][i] = work + (k * PAILLIER_BATCH + i) * m->elem_words;
            idem[i] = g->half[k].idem;
            integer(&g->half[k], x[k][i], value);
            mont_load(m, value, NULL, part[k][i]);
            secret_wipe(value, sizeof value);
        }
        mont_mul(m, n, part[k], (const uint64_t *const *)part[k], idem);
    }
    for (size_t i = 0; i < n; i++) {
        mont_add(m, part[0][i], part[0][i], part[1][i]);
        mont_store(m, part[0][i], lo[i], hi[i]);
    }
}

/* --- the key ----------------------------------------------------------------------------------- */
static bool fit(const uint64_t *p, size_t w)
{
    return (p[0] & 3) == 3 && p[w - 1] >> 62 == 3;
}

/* (p-1)/2 and (q-1)/2 have no common factor, and the upper 96 bits of p and q differ (FIPS 186-5 asks 100).
 */
static bool fit_together(const uint64_t *p, const uint64_t *q, size_t w)
{
    uint64_t a[HALF_WORDS], b[HALF_WORDS], r[HALF_WORDS];
    mpn_rshift(a, p, (mp_size_t)w, 1);
    mpn_rshift(b, q, (mp_size_t)w, 1);
    modulo(a, w, b, w, r);
    bool coprime = inverse(r, b, w, a);
    secret_wipe(a, sizeof a);
    secret_wipe(b, sizeof b);
    secret_wipe(r, sizeof r);
    return coprime && (p[w - 1] != q[w - 1] || (p[w - 2] ^ q[w - 2]) >> 32);
}

/* e with e = 1 modulo p, 0 modulo o, and 3 e^2 - 2 e^3, which is 1 modulo p^2, 0 modulo o^2. e = o (1/o
 * modulo p). */
static void make_idempotents(const struct mont *n, struct half *h, const uint64_t *o, const uint64_t *inv)
{
    size_t w = h->m.n_words;
    uint64_t e[MONT_WORDS], minus_e[MONT_WORDS], minus_1[MONT_WORDS], three[MONT_WORDS] = {3};
    uint64_t x[MONT_ELEM], y[MONT_ELEM], scratch[4 * MONT_WORDS];
    mpn_sec_mul(e, o, (mp_size_t)w, inv, (mp_size_t)w, scratch);
    mont_load(n, e, NULL, x);
    mul1(n, h->idem1, x, n->rr);
    mpn_sub_n(minus_e, n->n64, e, (mp_size_t)(2 * w));
    memcpy(minus_1, n->n64, sizeof minus_1);
    minus_1[0]--;                      /* N is odd */
    mont_load(n, minus_e, minus_1, x); /* (N - e) + N (N - 1) = -e */
    mont_load(n, three, NULL, y);
    mont_add(n, x, x, x);
    mont_add(n, y, x, y);
    mul1(n, y, y, n->rr);
    mul1(n, x, h->idem1, h->idem1);
    mul1(n, h->idem, x, y);
    secret_wipe(e, sizeof e);
    secret_wipe(minus_e, sizeof minus_e);
    secret_wipe(x, sizeof x);
    secret_wipe(y, sizeof y);
}

/* x^(2 p) modulo p^2 for a random x: a random square that is an N-th residue (raising to o permutes those). A
 * (M). */
static void make_base(struct half *h, struct prg *prg, uint64_t *base)
{
    uint64_t x[HALF_WORDS], *b = base;
    prg_bytes(prg, x, 8 * h->m.n_words);
    mont_load(&h->m, x, NULL, base);
    mul1(&h->m, base, base, h->m.rr);
    mont_sqr(&h->m, 1, &b, 1);
    mont_pow(&h->m, 1, &b, h->m.n64, 64 * h->m.n_words);
    secret_wipe(x, sizeof x);
}

struct key_job {
    struct paillier_guest *g;
    const uint64_t *pq[2];
    uint8_t seed[2][32];
    uint64_t base[2][HALF_ELEM]; /* h_s modulo p^2, plain */
};

static status make_half(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct key_job *j = arg;
    struct half *h = &j->g->half[chunk];
    const uint64_t *p = j->pq[chunk], *o = j->pq[1 - chunk];
    size_t w = j->g->w / 2;
    uint64_t inv[HALF_WORDS], t[HALF_WORDS], base[HALF_ELEM];
    (void)begin, (void)end;
    TRY(mont_init(cx, &h->m, p, w));
    memcpy(h->p_1, p, w * sizeof *p);
    h->p_1[0]--;
    mpn_rshift(h->order, p, (mp_size_t)w, 1);

    modulo(o, w, p, w, t);
    if (!inverse(t, p, w, inv)) return FAIL(cx, ARG, "the primes are equal");
    make_idempotents(&j->g->n, h, o, inv);
    mont_load(&h->m, t, NULL, h->other);
    mul1(&h->m, h->other, h->other, h->m.rr);
    mpn_sub_n(inv, p, inv, (mp_size_t)w);
    mont_load(&h->m, inv, NULL, h->minus_inv);
    mul1(&h->m, h->minus_inv, h->minus_inv, h->m.rr);

    uint64_t zero[HALF_WORDS] = {0}, one[HALF_WORDS] = {1}, power[HALF_WORDS], b[HALF_ELEM];
    mpn_sub_n(power, zero, p, (mp_size_t)w); /* 2^b = (2^b - p) + p */
    mont_load(&h->m, power, one, b);
    mul1(&h->m, b, b, h->m.rr);
    mul1(&h->m, h->lift[0], b, h->m.rr);
    mont_load(&h->m, zero, t, h->lift[1]); /* N = 0 + p o */
    mul1(&h->m, h->lift[1], h->lift[1], h->m.rr);
    mul1(&h->m, h->lift[1], h->lift[1], h->m.rr);
    mul1(&h->m, h->lift[2], h->lift[1], b);

    CLEANUP(prg_freep) struct prg *prg = NULL;
    TRY(prg_new(cx, j->seed[chunk], &prg));
    make_base(h, prg, base);
    mul1(&h->m, j->base[chunk], base, h->m.unit);
    size_t e_bits = 64 * w - 1, words = mont_table_words(&h->m, e_bits);
    CLEANUP(words_freep) uint64_t *table = secret_alloc(words * sizeof *table);
    CLEANUP(words_freep)
    uint64_t *scratch = secret_alloc(mont_table_scratch(&h->m, e_bits) * sizeof *scratch);
    if (!table || !scratch) return FAIL(cx, NOMEM, "tables of %zu KiB", words >> 7);
    mont_table_fill(&h->table, &h->m, base, e_bits, table, scratch);
    table = NULL; /* the key's now */
    secret_wipe(inv, sizeof inv);
    secret_wipe(t, sizeof t);
    secret_wipe(base, sizeof base);
    secret_wipe(power, sizeof power);
    return OK;
}

static void key_job_freep(struct key_job **j)
{
    secret_free(*j);
}

static status make_key(struct ctx *cx, const struct he_params *params, const uint64_t *p, const uint64_t *q,
                       struct paillier_guest **out)
{
    size_t w = (size_t)params->key_bits / 64;
    CLEANUP(paillier_guest_freep) struct paillier_guest *g = secret_alloc(sizeof *g);
    CLEANUP(key_job_freep) struct key_job *j = secret_alloc(sizeof *j);
    if (!g || !j) return FAIL(cx, NOMEM, "a key");
    g->params = *params;
    g->w = w;
    TRY(rand_bytes(cx, g->id, sizeof g->id));
    j->g = g;
    j->pq[0] = p;
    j->pq[1] = q;
    TRY(rand_bytes(cx, j->seed, sizeof j->seed));

    uint64_t n[MONT_WORDS], scratch[4 * MONT_WORDS];
    mpn_sec_mul(n, p, (mp_size_t)(w / 2), q, (mp_size_t)(w / 2), scratch);
    TRY(mont_init(cx, &g->n, n, w));
    TRY(pool_for(cx, 2, 1, make_half, j));

    CLEANUP(words_freep) uint64_t *work = secret_alloc(MONT_ELEM * 2 * PAILLIER_BATCH * sizeof *work);
    if (!work) return FAIL(cx, NOMEM, "a key");
    uint64_t *b0 = j->base[0], *b1 = j->base[1], *h0 = g->h[0], *h1 = g->h[1];
    uint64_t *const *const x[2] = {&b0, &b1};
    paillier_join(g, 1, x, work, &h0, &h1);
    *out = TAKE(g);
    return OK;
}

struct primes {
    uint8_t seed[2][32];
    uint64_t p[2][HALF_WORDS];
    size_t w;
};
static void primes_freep(struct primes **p)
{
    secret_free(*p);
}

static status make_prime(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct primes *p = arg;
    (void)begin, (void)end;
    CLEANUP(prg_freep) struct prg *prg = NULL;
    TRY(prg_new(cx, p->seed[chunk], &prg));
    return prime_random(cx, prg, p->w, p->p[chunk]);
}

status paillier_guest_new(struct ctx *cx, const struct he_params *params, struct paillier_guest **out)
{
    TRY(paillier_check_params(cx, params));
    CLEANUP(primes_freep) struct primes *p = secret_alloc(sizeof *p);
    if (!p) return FAIL(cx, NOMEM, "a key");
    p->w = (size_t)params->key_bits / 128;
    do {
        TRY(rand_bytes(cx, p->seed, sizeof p->seed));
        TRY_IN(cx, pool_for(cx, 2, 1, make_prime, p), "primes of %d bits", params->key_bits / 2);
    } while (!fit_together(p->p[0], p->p[1], p->w));
    return make_key(cx, params, p->p[0], p->p[1], out);
}

status paillier_guest_of_primes(struct ctx *cx, const struct he_params *params, const uint64_t *p,
                                const uint64_t *q, struct paillier_guest **out)
{
    TRY(paillier_check_params(cx, params));
    size_t w = (size_t)params->key_bits / 128;
    if (!fit(p, w) || !fit(q, w))
        return FAIL(cx, ARG, "a prime is not 3 modulo 4 or its top two bits are not set");
    if (!fit_together(p, q, w))
        return FAIL(cx, ARG, "p - 1 and q - 1 share a factor, or p and q their upper half");
    return make_key(cx, params, p, q, out);
}

status paillier_guest_public(struct ctx *cx, const struct paillier_guest *g, struct buf *out)
{
    buf_u8(out, PAILLIER_VERSION);
    buf_str(out, paillier_set(g->params.key_bits));
    buf_put(out, g->id, sizeof g->id);
    buf_u64(out, g->params.n_rows);
    buf_u8(out, (uint8_t)g->params.n_stats);
    buf_u8(out, (uint8_t)g->params.sum_bits);
    buf_put(out, g->n.n64, 8 * g->w);
    buf_put(out, g->h[0], 8 * g->w);
    buf_put(out, g->h[1], 8 * g->w);
    return buf_ok(cx, out);
}
