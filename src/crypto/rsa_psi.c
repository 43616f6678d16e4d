#include "crypto/rsa_psi.h"
#include "crypto/mont.h"
#include "crypto/prime.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include <assert.h>
#include <gmp.h>
#include <openssl/sha.h>
#include <string.h>

enum { VERSION = 1, E = 65537, E_SQUARINGS = 16, BATCH = 64, HALF_WORDS = MONT_WORDS / 2, EXTRA_WORDS = 2 };

struct rsa_public {
    size_t w; /* words of N */
    struct mont n;
    uint64_t high[MONT_LIMBS]; /* R 2^(64 w) modulo N: mont_flat_mul by it adds the words above N's size */
};

struct half {
    struct mont m;
    uint64_t d[HALF_WORDS]; /* 1/e modulo p - 1 */
    uint64_t
        high[MONT_LIMBS]; /* R^2 2^b modulo p, b = 64 n_words: the upper half of a number below N to (M) */
    uint64_t order[HALF_WORDS]; /* p - 1 */
};

struct rsa_key {
    struct rsa_public pub;
    struct half half[2];
    uint64_t q_inv[MONT_LIMBS]; /* R/q modulo p */
};

struct rsa_blinding {
    uint8_t seed[32];
};

void rsa_key_free(struct rsa_key *k)
{
    secret_free(k);
}

void rsa_key_freep(struct rsa_key **k)
{
    rsa_key_free(*k);
    *k = NULL;
}

void rsa_blinding_free(struct rsa_blinding *b)
{
    secret_free(b);
}

void rsa_blinding_freep(struct rsa_blinding **b)
{
    rsa_blinding_free(*b);
    *b = NULL;
}

const struct rsa_public *rsa_key_public(const struct rsa_key *k)
{
    return &k->pub;
}

size_t rsa_bytes(const struct rsa_public *pub)
{
    return 8 * pub->w;
}

/* --- keys -------------------------------------------------------------------------------------- */
static void flat1(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    mont_flat_mul(m, 1, &out, &a, &b);
}

/* out = R^k 2^(64 n_words) modulo n, for k = 1 or 2. */
static void make_high(const struct mont *m, int k, uint64_t *out)
{
    uint64_t zero[MONT_WORDS] = {0}, x[MONT_WORDS];
    mpn_sub_n(x, zero, m->n64, (mp_size_t)m->n_words); /* 2^(64 n_words) - n */
    mont_flat_load(m, x, out);
    while (k--)
        flat1(m, out, out, m->rr);
    secret_wipe(x, sizeof x);
}

static status public_init(struct ctx *cx, struct rsa_public *pub, const uint64_t *n, size_t w)
{
    pub->w = w;
    TRY(mont_init(cx, &pub->n, n, w));
    make_high(&pub->n, 1, pub->high);
    return OK;
}

void rsa_public_write(const struct rsa_public *pub, struct buf *out)
{
    buf_u8(out, VERSION);
    buf_u16(out, (uint16_t)(64 * pub->w));
    buf_put(out, pub->n.n64, 8 * pub->w);
}

status rsa_public_read(struct ctx *cx, struct bytes in, const struct rsa_public **out)
{
    struct reader r = reader_of(in.p, in.n);
    uint8_t version;
    uint16_t bits;
    const uint8_t *p;
    uint64_t n[MONT_WORDS];
    TRY_IN(cx, reader_u8(cx, &r, &version), "RSA key");
    if (version != VERSION) return FAIL(cx, PROTO, "RSA key of version %u", version);
    TRY_IN(cx, reader_u16(cx, &r, &bits), "RSA key");
    if (bits != 2048 && bits != 3072) return FAIL(cx, PROTO, "RSA key of %u bits, want 2048 or 3072", bits);
    TRY_IN(cx, reader_bytes(cx, &r, bits / 8, &p), "RSA key");
    TRY_IN(cx, reader_end(cx, &r), "RSA key");
    memcpy(n, p, bits / 8);
    if (!(n[0] & 1) || !(n[bits / 64 - 1] >> 63))
        return FAIL(cx, PROTO, "RSA key: N is even or not of %u bits", bits);
    struct rsa_public *pub = NEW(cx, struct rsa_public, 1);
    if (!pub) return FAIL(cx, NOMEM, "an RSA key");
    TRY(public_init(cx, pub, n, bits / 64));
    *out = pub;
    return OK;
}

/* x modulo E, in constant time for x's length. */
static uint64_t modulo_e(const uint64_t *x, size_t w)
{
    uint64_t r = 0;
    for (size_t i = w; i-- > 0;)
        for (int s = 48; s >= 0; s -= 16)
            r = (r << 16 | (x[i] >> s & 0xffff)) % E;
    return r;
}

/* d = 1/e modulo p - 1 = ((p - 1) k + 1) / e for the k that makes it whole, k = -1/(p - 1) modulo e. */
static void make_exponent(struct half *h)
{
    size_t w = h->m.n_words;
    uint64_t base = modulo_e(h->order, w), k = 1;
    for (int i = E - 2; i; i >>= 1) { /* Fermat: base^(e - 2) */
        if (i & 1) k = k * base % E;
        base = base * base % E;
    }
    k = (E - k) % E;
    uint64_t x[HALF_WORDS + 1], quotient[HALF_WORDS + 2], e = E, one[HALF_WORDS + 1] = {1},
                                                          scratch[4 * MONT_WORDS];
    x[w] = mpn_mul_1(x, h->order, (mp_size_t)w, k);
    mpn_add_n(x, x, one, (mp_size_t)(w + 1));
    assert(mpn_sec_div_qr_itch((mp_size_t)(w + 1), 1) <= (mp_size_t)LEN(scratch));
    mpn_sec_div_qr(quotient, x, (mp_size_t)(w + 1), &e, 1, scratch);
    memcpy(h->d, quotient, w * sizeof *h->d);
    secret_wipe(x, sizeof x);
    secret_wipe(quotient, sizeof quotient);
    secret_wipe(scratch, sizeof scratch);
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
    do {
        TRY(prime_random(cx, prg, p->w, p->p[chunk]));
    } while (modulo_e(p->p[chunk], p->w) == 1); /* e must be coprime to p - 1 */
    return OK;
}

status rsa_key_new(struct ctx *cx, int key_bits, struct rsa_key **out)
{
    if (key_bits != 2048 && key_bits != 3072)
        return FAIL(cx, ARG, "RSA key of %d bits, want 2048 or 3072", key_bits);
    CLEANUP(primes_freep) struct primes *p = secret_alloc(sizeof *p);
    CLEANUP(rsa_key_freep) struct rsa_key *k = secret_alloc(sizeof *k);
    if (!p || !k) return FAIL(cx, NOMEM, "an RSA key");
    size_t w = p->w = (size_t)key_bits / 128;
    do {
        TRY(rand_bytes(cx, p->seed, sizeof p->seed));
        TRY_IN(cx, pool_for(cx, 2, 1, make_prime, p), "primes of %d bits", key_bits / 2);
    } while (p->p[0][w - 1] ==
             p->p[1][w - 1]); /* the upper 64 bits: FIPS 186-5 asks that 100 differ somewhere */

    uint64_t n[MONT_WORDS], scratch[8 * MONT_WORDS], t[HALF_WORDS], inv[HALF_WORDS];
    mpn_sec_mul(n, p->p[0], (mp_size_t)w, p->p[1], (mp_size_t)w, scratch);
    TRY(public_init(cx, &k->pub, n, 2 * w));
    for (size_t i = 0; i < 2; i++) {
        struct half *h = &k->half[i];
        TRY(mont_init(cx, &h->m, p->p[i], w));
        memcpy(h->order, p->p[i], w * sizeof *h->order);
        h->order[0]--;
        make_exponent(h);
        make_high(&h->m, 2, h->high);
    }
    /* 1/q modulo p: both have their top bit set, so that q modulo p is q or q - p */
    uint64_t below = mpn_sub_n(t, p->p[1], p->p[0], (mp_size_t)w);
    mpn_cnd_add_n(below, t, t, p->p[0], (mp_size_t)w);
    if (!mpn_sec_invert(inv, t, p->p[0], (mp_size_t)w, 128 * w, scratch))
        return FAIL(cx, INTERNAL, "equal primes");
    mont_flat_load(&k->half[0].m, inv, k->q_inv);
    flat1(&k->half[0].m, k->q_inv, k->q_inv, k->half[0].m.rr);
    secret_wipe(t, sizeof t);
    secret_wipe(inv, sizeof inv);
    secret_wipe(scratch, sizeof scratch);
    *out = TAKE(k);
    return OK;
}

/* --- batches of integers modulo N -------------------------------------------------------------- */
/* What one chunk works in: secret memory. x, y and z are flat elements modulo N, or modulo p and q. */
struct work {
    uint64_t x[BATCH][MONT_LIMBS], y[BATCH][MONT_LIMBS], z[BATCH][MONT_LIMBS];
    uint64_t in[BATCH][MONT_WORDS], sig[BATCH][MONT_WORDS];
    uint64_t *px[BATCH], *py[BATCH], *pz[BATCH];
    const uint64_t *by[BATCH]; /* one factor for all */
};
static void work_freep(struct work **w)
{
    secret_free(*w);
}

static struct work *work_new(void)
{
    struct work *w = secret_alloc(sizeof *w);
    for (size_t i = 0; w && i < BATCH; i++) {
        w->px[i] = w->x[i];
        w->py[i] = w->y[i];
        w->pz[i] = w->z[i];
    }
    return w;
}

#define CONST(p) ((const uint64_t *const *)(p))

static void mul_all(const struct mont *m, struct work *w, size_t n, uint64_t *const *x,
                    const uint64_t *factor)
{
    for (size_t i = 0; i < n; i++)
        w->by[i] = factor;
    mont_flat_mul(m, n, x, CONST(x), w->by);
}

/* y = x^e for Montgomery elements, e = 2^16 + 1 public. */
static void power_e(const struct mont *m, struct work *w, size_t n)
{
    mont_flat_mul(m, n, w->py, CONST(w->px), CONST(w->px));
    for (int s = 1; s < E_SQUARINGS; s++)
        mont_flat_mul(m, n, w->py, CONST(w->py), CONST(w->py));
    mont_flat_mul(m, n, w->py, CONST(w->py), CONST(w->px));
}

/* flat = H(id): SHA-512 of (counter, the 64 bytes), as many as fill N and 128 bits, modulo N. */
static void full_domain(const struct rsa_public *pub, const uint8_t in[64], uint64_t *flat)
{
    const struct mont *m = &pub->n;
    uint64_t bytes[MONT_WORDS + 8], high[MONT_WORDS] = {0}, t[MONT_LIMBS];
    size_t want = 8 * (pub->w + EXTRA_WORDS);
    for (size_t at = 0, counter = 0; at < want; at += 64, counter++) {
        uint8_t block[68] = {0};
        block[0] = (uint8_t)counter;
        memcpy(block + 4, in, 64);
        SHA512(block, sizeof block, (uint8_t *)bytes + at);
    }
    memcpy(high, bytes + pub->w, EXTRA_WORDS * sizeof *high);
    mont_flat_load(m, high, t);
    flat1(m, t, t, pub->high);
    mont_flat_load(m, bytes, flat);
    mont_flat_add(m, flat, flat, t);
}
static_assert(8 * (MONT_WORDS + EXTRA_WORDS) <= 8 * (MONT_WORDS + 8), "the last block has room");

static void token(const struct rsa_public *pub, const uint64_t *sig, uint8_t out[RSA_TOKEN])
{
    SHA256((const uint8_t *)sig, 8 * pub->w, out);
}

struct job {
    const struct rsa_public *pub;
    const struct rsa_key *key;
    const struct rsa_blinding *blinding;
    const uint8_t (*ids)[64];
    const uint8_t *in;
    uint8_t *out;
};

/* w->x[i] = r_i, plain: 128 bits more than N's, modulo N, so that r is within 2^-128 of uniform. */
static status draw(struct ctx *cx, const struct job *j, size_t chunk, struct work *w, size_t n)
{
    CLEANUP(prg_freep) struct prg *prg = NULL;
    TRY(prg_new(cx, j->blinding->seed, &prg));
    prg_seek(prg, chunk);
    for (size_t i = 0; i < n; i++) {
        uint8_t seed[64];
        prg_bytes(prg, seed, sizeof seed);
        full_domain(j->pub, seed, w->x[i]);
        secret_wipe(seed, sizeof seed);
    }
    return OK;
}

static status blind_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct job *j = arg;
    const struct mont *m = &j->pub->n;
    size_t n = end - begin, bytes = rsa_bytes(j->pub);
    CLEANUP(work_freep) struct work *w = work_new();
    if (!w) return FAIL(cx, NOMEM, "room to blind");
    TRY(draw(cx, j, chunk, w, n));
    mul_all(m, w, n, w->px, m->rr);
    power_e(m, w, n);
    for (size_t i = 0; i < n; i++)
        full_domain(j->pub, j->ids[begin + i], w->z[i]);
    mont_flat_mul(m, n, w->pz, CONST(w->pz), CONST(w->py)); /* plain by Montgomery: plain */
    for (size_t i = 0; i < n; i++) {
        mont_flat_store(m, w->z[i], w->in[i]);
        memcpy(j->out + (begin + i) * bytes, w->in[i], bytes);
    }
    return ctx_check(cx);
}

status rsa_blind(struct ctx *cx, const struct rsa_public *pub, const uint8_t (*in)[64], size_t n,
                 uint8_t *out, struct rsa_blinding **blinding)
{
    CLEANUP(rsa_blinding_freep) struct rsa_blinding *b = secret_alloc(sizeof *b);
    if (!b) return FAIL(cx, NOMEM, "blinding factors");
    TRY(rand_bytes(cx, b->seed, sizeof b->seed));
    struct job j = {.pub = pub, .blinding = b, .ids = in, .out = out};
    TRY(pool_for(cx, n, BATCH, blind_chunk, &j));
    *blinding = TAKE(b);
    return OK;
}

/* w->sig[i] = w->in[i]^d: powers modulo p and q, then Garner: s = s_q + q ((s_p - s_q) / q modulo p). */
static void sign_batch(const struct rsa_key *k, struct work *w, size_t n)
{
    uint64_t *const *root[2] = {w->px, w->py};
    size_t words = k->half[0].m.n_words;
    mp_size_t s = (mp_size_t)words;
    for (size_t i = 0; i < 2; i++) {
        const struct half *h = &k->half[i];
        for (size_t l = 0; l < n; l++)
            mont_flat_load(&h->m, w->in[l], root[i][l]);
        mul_all(&h->m, w, n, root[i], h->m.rr);
        for (size_t l = 0; l < n; l++)
            mont_flat_load(&h->m, w->in[l] + words, w->z[l]);
        mul_all(&h->m, w, n, w->pz, h->high);
        for (size_t l = 0; l < n; l++)
            mont_flat_add(&h->m, root[i][l], root[i][l], w->z[l]);
        mont_flat_pow(&h->m, n, root[i], h->d, 64 * words);
        mul_all(&h->m, w, n, root[i], h->m.unit);
    }
    const struct mont *p = &k->half[0].m, *q = &k->half[1].m;
    for (size_t l = 0; l < n; l++) {
        uint64_t s_p[HALF_WORDS], t[HALF_WORDS];
        mont_flat_store(p, w->x[l], s_p);
        memset(w->sig[l], 0, sizeof w->sig[l]);
        mont_flat_store(q, w->y[l], w->sig[l]);
        /* s_p - s_q is above -2p: two additions at most */
        uint64_t below = mpn_sub_n(t, s_p, w->sig[l], s);
        below -= mpn_cnd_add_n(below, t, t, p->n64, s);
        mpn_cnd_add_n(below, t, t, p->n64, s);
        mont_flat_load(p, t, w->x[l]);
        secret_wipe(s_p, sizeof s_p);
        secret_wipe(t, sizeof t);
    }
    mul_all(p, w, n, w->px, k->q_inv);
    for (size_t l = 0; l < n; l++) {
        uint64_t t[HALF_WORDS], x[MONT_WORDS], scratch[4 * MONT_WORDS];
        mont_flat_store(p, w->x[l], t);
        mpn_sec_mul(x, t, s, q->n64, s, scratch);
        mpn_add_n(w->sig[l], w->sig[l], x, 2 * s);
        secret_wipe(t, sizeof t);
        secret_wipe(x, sizeof x);
    }
}

/* True when w->sig[i]^e = w->in[i] for all; *which is the first that is not. */
static bool check_batch(const struct rsa_public *pub, struct work *w, size_t n, size_t *which)
{
    const struct mont *m = &pub->n;
    for (size_t i = 0; i < n; i++)
        mont_flat_load(m, w->sig[i], w->x[i]);
    mul_all(m, w, n, w->px, m->rr);
    power_e(m, w, n);
    mul_all(m, w, n, w->py, m->unit);
    for (*which = 0; *which < n; ++*which) {
        uint64_t t[MONT_WORDS];
        mont_flat_store(m, w->y[*which], t);
        if (!secret_equal(t, w->in[*which], 8 * pub->w)) return false;
    }
    return true;
}

static status sign_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct job *j = arg;
    const struct rsa_public *pub = &j->key->pub;
    size_t n = end - begin, bytes = rsa_bytes(pub), which;
    (void)chunk;
    CLEANUP(work_freep) struct work *w = work_new();
    if (!w) return FAIL(cx, NOMEM, "room to sign");
    for (size_t i = 0; i < n; i++) {
        uint64_t t[MONT_WORDS];
        memcpy(w->in[i], j->in + (begin + i) * bytes, bytes);
        if (!mpn_sub_n(t, w->in[i], pub->n.n64, (mp_size_t)pub->w) || mpn_zero_p(w->in[i], (mp_size_t)pub->w))
            return FAIL(cx, PROTO, "blinded id %zu is 0 or not below N", begin + i);
    }
    sign_batch(j->key, w, n);
    if (!check_batch(pub, w, n, &which))
        return FAIL(cx, INTERNAL, "signature %zu is wrong: a fault", begin + which);
    for (size_t i = 0; i < n; i++)
        memcpy(j->out + (begin + i) * bytes, w->sig[i], bytes);
    return ctx_check(cx);
}

status rsa_sign(struct ctx *cx, const struct rsa_key *k, const uint8_t *in, size_t n, uint8_t *out)
{
    struct job j = {.key = k, .in = in, .out = out};
    return pool_for(cx, n, BATCH, sign_chunk, &j);
}

static status own_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct job *j = arg;
    const struct rsa_public *pub = &j->key->pub;
    size_t n = end - begin, which;
    (void)chunk;
    CLEANUP(work_freep) struct work *w = work_new();
    if (!w) return FAIL(cx, NOMEM, "room to sign");
    for (size_t i = 0; i < n; i++) {
        full_domain(pub, j->ids[begin + i], w->z[i]);
        mont_flat_store(&pub->n, w->z[i], w->in[i]);
    }
    sign_batch(j->key, w, n);
    if (!check_batch(pub, w, n, &which))
        return FAIL(cx, INTERNAL, "signature %zu is wrong: a fault", begin + which);
    for (size_t i = 0; i < n; i++)
        token(pub, w->sig[i], j->out + (begin + i) * RSA_TOKEN);
    return ctx_check(cx);
}

status rsa_own(struct ctx *cx, const struct rsa_key *k, const uint8_t (*in)[64], size_t n,
               uint8_t (*out)[RSA_TOKEN])
{
    struct job j = {.key = k, .ids = in, .out = (uint8_t *)out};
    return pool_for(cx, n, BATCH, own_chunk, &j);
}

/* w->x[i] = 1/r_i (Montgomery elements), by one inversion for all: Montgomery's trick. false: some r has a
 * factor of N. */
static bool invert_batch(const struct rsa_public *pub, struct work *w, size_t n)
{
    const struct mont *m = &pub->n;
    uint64_t x[MONT_WORDS], inv[MONT_WORDS], scratch[8 * MONT_WORDS], acc[MONT_LIMBS];
    mp_size_t s = (mp_size_t)pub->w;
    assert(mpn_sec_invert_itch(s) <= (mp_size_t)LEN(scratch));
    memcpy(w->y[0], w->x[0], sizeof w->y[0]);
    for (size_t i = 1; i < n; i++)
        flat1(m, w->y[i], w->y[i - 1], w->x[i]); /* products of the first i + 1 */
    flat1(m, acc, w->y[n - 1], m->unit);
    mont_flat_store(m, acc, x);
    bool ok = mpn_sec_invert(inv, x, m->n64, s, 128 * pub->w, scratch);
    mont_flat_load(m, inv, acc);
    flat1(m, acc, acc, m->rr);
    for (size_t i = n; i-- > 1;) {
        uint64_t r[MONT_LIMBS];
        memcpy(r, w->x[i], sizeof r);
        flat1(m, w->x[i], acc, w->y[i - 1]);
        flat1(m, acc, acc, r);
        secret_wipe(r, sizeof r);
    }
    memcpy(w->x[0], acc, sizeof acc);
    secret_wipe(x, sizeof x);
    secret_wipe(inv, sizeof inv);
    secret_wipe(acc, sizeof acc);
    secret_wipe(scratch, sizeof scratch);
    return ok;
}

static status unblind_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct job *j = arg;
    const struct mont *m = &j->pub->n;
    size_t n = end - begin, bytes = rsa_bytes(j->pub), which;
    CLEANUP(work_freep) struct work *w = work_new();
    if (!w) return FAIL(cx, NOMEM, "room to unblind");
    TRY(draw(cx, j, chunk, w, n));
    mul_all(m, w, n, w->px, m->rr);
    if (!invert_batch(j->pub, w, n)) return FAIL(cx, INTERNAL, "a blinding factor divides N");
    for (size_t i = 0; i < n; i++) {
        memcpy(w->sig[i], j->in + (begin + i) * bytes, bytes);
        mont_flat_load(m, w->sig[i], w->z[i]);
    }
    mont_flat_mul(m, n, w->pz, CONST(w->pz), CONST(w->px)); /* plain by Montgomery: plain */
    for (size_t i = 0; i < n; i++) {
        mont_flat_store(m, w->z[i], w->sig[i]);
        full_domain(j->pub, j->ids[begin + i], w->z[i]);
        mont_flat_store(m, w->z[i], w->in[i]);
    }
    if (!check_batch(j->pub, w, n, &which))
        return FAIL(cx, PROTO, "id %zu: not a signature of it", begin + which);
    for (size_t i = 0; i < n; i++)
        token(j->pub, w->sig[i], j->out + (begin + i) * RSA_TOKEN);
    return ctx_check(cx);
}

status rsa_unblind(struct ctx *cx, const struct rsa_public *pub, const struct rsa_blinding *b,
                   const uint8_t (*in)[64], const uint8_t *signed_, size_t n, uint8_t (*out)[RSA_TOKEN])
{
    struct job j = {.pub = pub, .blinding = b, .ids = in, .in = signed_, .out = (uint8_t *)out};
    return pool_for(cx, n, BATCH, unblind_chunk, &j);
}
