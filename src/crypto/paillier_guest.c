#include "crypto/paillier.h"
#include "crypto/mont.h"
#include "crypto/prime.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include <assert.h>
#include <gmp.h>
#include <string.h>

enum { HALF_WORDS = MONT_WORDS / 2, HALF_ELEM = MONT_ELEM / 2, BATCH = 64, LANES = 8 };

/* One prime p of N = p o. Everything modulo p^2 unless said otherwise; "(M)": a Montgomery element. */
struct half {
    struct mont m;
    struct mont_table table;       /* powers of h_s modulo p^2 */
    uint64_t order[HALF_WORDS];    /* (p - 1) / 2: exponents of the noise are uniform below it */
    uint64_t p_1[HALF_WORDS];      /* p - 1 */
    uint64_t other[HALF_ELEM];     /* (M) o */
    uint64_t minus_inv[HALF_ELEM]; /* (M) -1/o modulo p */
    uint64_t
        lift[3][HALF_ELEM]; /* (M of M) 2^b, N and N 2^b for b = 64 n_words bits: pieces of a cipher to (M) */
    uint64_t idem[MONT_ELEM];  /* (M, modulo N^2) 1 modulo p^2, 0 modulo o^2 */
    uint64_t idem1[MONT_ELEM]; /* (M, modulo N^2) 1 modulo p, 0 modulo o, below N */
};

struct paillier_guest {
    struct he_params params;
    uint8_t id[PAILLIER_ID];
    uint64_t batch; /* number of the latest batch; 0 = none */
    size_t w;       /* words of N */
    struct mont n;  /* N is public, but what goes through it is not */
    struct half half[2];
    uint64_t h[2][MONT_WORDS]; /* h_s = h[0] + N h[1] */
};

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

/* --- single products, for the key
 * -------------------------------------------------------------------------------- */
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

/* lo, hi of the residue modulo N^2 that is x[i] (plain elements of the halves) modulo p^2 and q^2, for n <=
 * BATCH. The idempotents' products are added: no inversion, nothing but products. */
static void join(const struct paillier_guest *g, size_t n, uint64_t *const *const x[2], uint64_t *work,
                 uint64_t *const *lo, uint64_t *const *hi)
{
    const struct mont *m = &g->n;
    uint64_t *part[2][BATCH];
    const uint64_t *idem[BATCH];
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++) {
            uint64_t value[MONT_WORDS];
            part[k][i] = work + (k * BATCH + i) * m->elem_words;
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

/* --- the key
 * -------------------------------------------------------------------------------------------------------- */
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

    CLEANUP(words_freep) uint64_t *work = secret_alloc(2 * BATCH * MONT_ELEM * sizeof *work);
    if (!work) return FAIL(cx, NOMEM, "a key");
    uint64_t *b0 = j->base[0], *b1 = j->base[1], *h0 = g->h[0], *h1 = g->h[1];
    uint64_t *const *const x[2] = {&b0, &b1};
    join(g, 1, x, work, &h0, &h1);
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

/* --- encryption
 * ----------------------------------------------------------------------------------------------------- */
/* LIMIT when the absolute values of a stat sum to 2^sum_bits or more. */
static status check_bound(struct ctx *cx, const struct he_params *p, const int64_t *m)
{
    size_t k = (size_t)p->n_stats;
    uint64_t sum[8] = {0}, over[8] = {0};
    for (size_t i = 0; i < p->n_rows; i++)
        for (size_t s = 0; s < k; s++) {
            int64_t x = m[i * k + s];
            uint64_t sign = (uint64_t)(x >> 63), abs = ((uint64_t)x ^ sign) - sign;
            over[s] |= (uint64_t)__builtin_add_overflow(sum[s], abs, &sum[s]);
        }
    for (size_t s = 0; s < k; s++)
        if (over[s] || sum[s] >> p->sum_bits)
            return FAIL(cx, LIMIT, "integers %zu of the rows: absolute values sum to 2^%d or more", s,
                        p->sum_bits);
    return OK;
}

/* x += value 2^at, two's complement in n words. */
static void add_digit(uint64_t *x, size_t n, int64_t value, size_t at)
{
    uint64_t sign = (uint64_t)(value >> 63), carry = 0;
    for (size_t k = 0; k < n; k++) {
        uint64_t piece = sign;
        if (k == at / 64) piece = (uint64_t)value << (at % 64);
        if (k < at / 64) piece = 0;
        if (k == at / 64 + 1) piece = at % 64 ? (uint64_t)(value >> (64 - at % 64)) : sign;
        unsigned __int128 t = (unsigned __int128)x[k] + piece + carry;
        x[k] = (uint64_t)t;
        carry = (uint64_t)(t >> 64);
    }
}

struct encrypt_job {
    const struct paillier_guest *g;
    const int64_t *m;
    uint8_t *out;
    uint8_t seed[32];
};

/* What a chunk of rows works in: secret memory. */
struct encrypt_work {
    uint64_t e[BATCH][HALF_WORDS];
    uint64_t cipher[2][BATCH][HALF_ELEM]; /* of each half */
    uint64_t factor[BATCH][HALF_ELEM];
    uint64_t join[2 * BATCH * MONT_ELEM];
    uint64_t lo[BATCH][MONT_WORDS], hi[BATCH][MONT_WORDS];
};
static void encrypt_work_freep(struct encrypt_work **w)
{
    secret_free(*w);
}

/* Uniform below the order, by rejection: the order has bits as many as are drawn, with its top bit set. */
static void draw_exponent(const struct half *h, struct prg *prg, uint64_t *e)
{
    size_t w = h->m.n_words;
    uint64_t t[HALF_WORDS];
    do {
        prg_bytes(prg, e, 8 * w);
        e[w - 1] &= ~0ull >> 1;
    } while (!mpn_sub_n(t, e, h->order, (mp_size_t)w));
    secret_wipe(t, sizeof t);
}

/* c = h_s^e (1 + m N) modulo p^2 for rows [begin, end); 1 + m N = 1 + p (m o modulo p). */
static void encrypt_half(const struct encrypt_job *j, size_t half, size_t begin, size_t n, struct prg *prg,
                         struct encrypt_work *work)
{
    const struct half *h = &j->g->half[half];
    const struct he_params *p = &j->g->params;
    size_t w = h->m.n_words, stats = (size_t)p->n_stats, width = (size_t)p->sum_bits + 1;
    const uint64_t *e[BATCH] = {0}, *other[BATCH] = {0};
    uint64_t *c[BATCH] = {0}, *f[BATCH] = {0}, one[HALF_WORDS] = {1};
    for (size_t i = 0; i < n; i++) {
        e[i] = work->e[i];
        c[i] = work->cipher[half][i];
        f[i] = work->factor[i];
        other[i] = h->other;
        draw_exponent(h, prg, work->e[i]);
        uint64_t m[HALF_WORDS] = {0};
        for (size_t s = 0; s < stats; s++)
            add_digit(m, w, j->m[(begin + i) * stats + s], s * width);
        mpn_cnd_add_n(m[w - 1] >> 63, m, m, h->m.n64, (mp_size_t)w); /* a negative one plus p */
        mont_load(&h->m, m, NULL, f[i]);
        secret_wipe(m, sizeof m);
    }
    mont_mul(&h->m, n, f, (const uint64_t *const *)f, other);
    for (size_t i = 0; i < n; i++) {
        uint64_t lo[HALF_WORDS], hi[HALF_WORDS];
        mont_store(&h->m, f[i], lo, hi);
        mont_load(&h->m, one, lo, f[i]);
        secret_wipe(lo, sizeof lo);
        secret_wipe(hi, sizeof hi);
    }
    mont_table_pow(&h->table, n, e, c);
    mont_mul(&h->m, n, c, (const uint64_t *const *)c, (const uint64_t *const *)f);
}

static status encrypt_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct encrypt_job *j = arg;
    size_t n = end - begin, w = j->g->w;
    uint64_t *c[2][BATCH] = {{0}}, *lo[BATCH] = {0}, *hi[BATCH] = {0};
    CLEANUP(encrypt_work_freep) struct encrypt_work *work = secret_alloc(sizeof *work);
    CLEANUP(prg_freep) struct prg *prg = NULL;
    if (!work) return FAIL(cx, NOMEM, "room to encrypt");
    TRY(prg_new(cx, j->seed, &prg));
    prg_seek(prg, chunk);
    encrypt_half(j, 0, begin, n, prg, work);
    encrypt_half(j, 1, begin, n, prg, work);
    for (size_t i = 0; i < n; i++) {
        c[0][i] = work->cipher[0][i];
        c[1][i] = work->cipher[1][i];
        lo[i] = work->lo[i];
        hi[i] = work->hi[i];
    }
    uint64_t *const *const x[2] = {c[0], c[1]};
    join(j->g, n, x, work->join, lo, hi);
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = j->out + (begin + i) * 16 * w;
        memcpy(at, lo[i], 8 * w);
        memcpy(at + 8 * w, hi[i], 8 * w);
    }
    return ctx_check(cx);
}

status paillier_guest_encrypt(struct ctx *cx, struct paillier_guest *g, const int64_t *m, struct buf *out)
{
    TRY(check_bound(cx, &g->params, m));
    struct encrypt_job j = {.g = g, .m = m};
    size_t before = out->n, rows = g->params.n_rows;
    buf_u8(out, PAILLIER_VERSION);
    buf_put(out, g->id, sizeof g->id);
    buf_u64(out, g->batch + 1);
    buf_u64(out, rows);
    j.out = buf_grow(out, rows * 16 * g->w);
    TRY(buf_ok(cx, out));
    status st = rand_bytes(cx, j.seed, sizeof j.seed);
    if (!st.code) st = pool_for(cx, rows, BATCH, encrypt_chunk, &j);
    secret_wipe(j.seed, sizeof j.seed);
    if (st.code) {
        out->n = before;
        return st;
    }
    g->batch++;
    return OK;
}

/* --- decryption
 * ----------------------------------------------------------------------------------------------------- */
struct decrypt_job {
    const struct paillier_guest *g;
    const uint8_t *ciphers;
    size_t n_ciphers, per_cipher, n_buckets;
    int64_t *sums;
};

struct decrypt_work {
    uint64_t cipher[LANES][2][MONT_WORDS];
    uint64_t part[4][LANES][HALF_ELEM];
    uint64_t m[2][LANES][MONT_WORDS]; /* the plaintexts modulo p and q, then modulo N */
    uint64_t join[2][LANES][MONT_ELEM];
};
static void decrypt_work_freep(struct decrypt_work **w)
{
    secret_free(*w);
}

static status read_ciphers(struct ctx *cx, const struct decrypt_job *j, size_t begin, size_t n,
                           struct decrypt_work *work)
{
    size_t w = j->g->w;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2; k++) {
            uint64_t *x = work->cipher[i][k], t[MONT_WORDS];
            memcpy(x, j->ciphers + ((begin + i) * 2 + k) * 8 * w, 8 * w);
            if (!mpn_sub_n(t, x, j->g->n.n64, (mp_size_t)w) || (k == 0 && mpn_zero_p(x, (mp_size_t)w)))
                return FAIL(cx, PROTO, "cipher %zu is not an invertible residue modulo N^2", begin + i);
        }
    return OK;
}

/* work->m[half][i] = the plaintext modulo p: c^(p-1) = 1 + p (-m o modulo p). A cipher comes as four pieces
 * of b bits: (c0 + 2^b c1) + N (c2 + 2^b c3). */
static status decrypt_half(struct ctx *cx, const struct decrypt_job *j, size_t half, size_t begin, size_t n,
                           struct decrypt_work *work)
{
    const struct half *h = &j->g->half[half];
    const struct mont *m = &h->m;
    size_t w = m->n_words;
    const uint64_t *lift[4] = {m->rr, h->lift[0], h->lift[1], h->lift[2]};
    uint64_t *x[4][LANES];
    const uint64_t *by[LANES];
    for (size_t piece = 0; piece < 4; piece++) {
        for (size_t i = 0; i < n; i++) {
            x[piece][i] = work->part[piece][i];
            by[i] = lift[piece];
            mont_load(m, work->cipher[i][piece / 2] + (piece % 2) * w, NULL, x[piece][i]);
        }
        mont_mul(m, n, x[piece], (const uint64_t *const *)x[piece], by);
    }
    for (size_t i = 0; i < n; i++) {
        mont_add(m, x[0][i], x[0][i], x[1][i]);
        mont_add(m, x[2][i], x[2][i], x[3][i]);
        mont_add(m, x[0][i], x[0][i], x[2][i]); /* below 8n */
        by[i] = m->unit;
    }
    mont_pow(m, n, x[0], h->p_1, 64 * w);
    mont_mul(m, n, x[0], (const uint64_t *const *)x[0], by);
    uint64_t not_one = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t lo[HALF_WORDS], hi[HALF_WORDS];
        mont_store(m, x[0][i], lo, hi);
        not_one |= lo[0] ^ 1;
        for (size_t k = 1; k < w; k++)
            not_one |= lo[k];
        mont_load(m, hi, NULL, x[0][i]);
        by[i] = h->minus_inv;
        secret_wipe(hi, sizeof hi);
    }
    if (not_one) return FAIL(cx, PROTO, "ciphers %zu to %zu: not invertible modulo N", begin, begin + n - 1);
    mont_mul(m, n, x[0], (const uint64_t *const *)x[0], by);
    for (size_t i = 0; i < n; i++) {
        uint64_t hi[HALF_WORDS];
        memset(work->m[half][i], 0, sizeof work->m[half][i]);
        mont_store(m, x[0][i], work->m[half][i], hi);
    }
    return OK;
}

/* work->m[0][i] = the plaintexts modulo N. */
static void join_plain(const struct paillier_guest *g, size_t n, struct decrypt_work *work)
{
    const struct mont *m = &g->n;
    uint64_t *x[2][LANES];
    const uint64_t *by[LANES];
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++) {
            x[k][i] = work->join[k][i];
            by[i] = g->half[k].idem1;
            mont_load(m, work->m[k][i], NULL, x[k][i]);
        }
        mont_mul(m, n, x[k], (const uint64_t *const *)x[k], by);
    }
    for (size_t i = 0; i < n; i++) {
        mont_add(m, x[0][i], x[0][i], x[1][i]);
        mont_store(m, x[0][i], work->m[0][i], work->m[1][i]);
    }
}

/* The signed digits of a plaintext modulo N; false: there is more in it than n digits below 2^sum_bits. */
static bool split_digits(const struct paillier_guest *g, uint64_t *x, size_t n, int64_t *out)
{
    size_t w = g->w, width = (size_t)g->params.sum_bits + 1;
    uint64_t t[MONT_WORDS], half[MONT_WORDS], over;
    mpn_rshift(half, g->n.n64, (mp_size_t)w, 1);
    over = mpn_sub_n(t, half, x, (mp_size_t)w); /* 1 when x > (N - 1) / 2: negative */
    mpn_cnd_sub_n(over, x, x, g->n.n64, (mp_size_t)w);
    for (size_t i = 0; i < n; i++) { /* + 2^(width - 1) makes the digit positive */
        uint64_t bit[MONT_WORDS] = {0};
        bit[(i * width + width - 1) / 64] = 1ull << ((i * width + width - 1) % 64);
        mpn_add_n(x, x, bit, (mp_size_t)w);
    }
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t d = mont_digit(x, 64 * w, i * width, width);
        bad |= (uint64_t)(d == 0); /* -2^sum_bits */
        out[i] = (int64_t)d - (int64_t)(1ull << (width - 1));
    }
    for (size_t at = n * width; at < 64 * w; at += 32)
        bad |= mont_digit(x, 64 * w, at, 32);
    secret_wipe(t, sizeof t);
    return !bad;
}

static status decrypt_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct decrypt_job *j = arg;
    size_t n = end - begin, stats = (size_t)j->g->params.n_stats;
    (void)chunk;
    CLEANUP(decrypt_work_freep) struct decrypt_work *work = secret_alloc(sizeof *work);
    if (!work) return FAIL(cx, NOMEM, "room to decrypt");
    TRY(read_ciphers(cx, j, begin, n, work));
    TRY(decrypt_half(cx, j, 0, begin, n, work));
    TRY(decrypt_half(cx, j, 1, begin, n, work));
    join_plain(j->g, n, work);
    for (size_t i = 0; i < n; i++) {
        size_t first = (begin + i) * j->per_cipher, count = j->n_buckets - first;
        if (count > j->per_cipher) count = j->per_cipher;
        if (!split_digits(j->g, work->m[0][i], count * stats, j->sums + first * stats))
            return FAIL(cx, PROTO, "cipher %zu holds more than %zu sums of %d bits", begin + i, count * stats,
                        j->g->params.sum_bits);
    }
    return ctx_check(cx);
}

status paillier_guest_decrypt(struct ctx *cx, struct paillier_guest *g, struct bytes reply, size_t n_buckets,
                              int64_t *sums)
{
    struct reader r = reader_of(reply.p, reply.n);
    struct decrypt_job j = {.g = g, .n_buckets = n_buckets};
    uint8_t version;
    uint64_t batch, buckets;
    const uint8_t *id;
    paillier_reply_shape(&g->params, n_buckets, &j.per_cipher, &j.n_ciphers);
    TRY_IN(cx, reader_u8(cx, &r, &version), "paillier reply");
    if (version != PAILLIER_VERSION) return FAIL(cx, PROTO, "paillier reply of version %u", version);
    TRY_IN(cx, reader_bytes(cx, &r, PAILLIER_ID, &id), "paillier reply");
    TRY_IN(cx, reader_u64(cx, &r, &batch), "paillier reply");
    TRY_IN(cx, reader_u64(cx, &r, &buckets), "paillier reply");
    if (memcmp(id, g->id, PAILLIER_ID) != 0 || batch != g->batch || batch == 0)
        return FAIL(cx, PROTO, "paillier reply to batch %llu, want %llu of this key",
                    (unsigned long long)batch, (unsigned long long)g->batch);
    if (buckets != n_buckets)
        return FAIL(cx, PROTO, "paillier reply with %llu buckets, want %zu", (unsigned long long)buckets,
                    n_buckets);
    if (reader_left(&r) != j.n_ciphers * 16 * g->w)
        return FAIL(cx, PROTO, "paillier reply with %zu bytes of ciphers, want %zu", reader_left(&r),
                    j.n_ciphers * 16 * g->w);
    j.ciphers = r.p;
    CLEANUP(words_freep)
    uint64_t *got = secret_alloc((n_buckets * (size_t)g->params.n_stats + 1) * sizeof *got);
    if (!got) return FAIL(cx, NOMEM, "sums of %zu buckets", n_buckets);
    j.sums = (int64_t *)got;
    TRY(pool_for(cx, j.n_ciphers, LANES, decrypt_chunk, &j));
    memcpy(sums, got, n_buckets * (size_t)g->params.n_stats * sizeof *got);
    return OK;
}
