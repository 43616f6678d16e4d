#include "crypto/paillier_key.h"
#include "base/pool.h"
#include "base/secret.h"
#include <gmp.h>
#include <string.h>

enum { BATCH = PAILLIER_BATCH, LANES = 8 };

static void words_freep(uint64_t **p)
{
    secret_free(*p);
}

/* --- encryption -------------------------------------------------------------------------------- */
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
    uint64_t join[MONT_ELEM * 2 * BATCH];
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
    paillier_join(j->g, n, x, work->join, lo, hi);
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

/* --- decryption -------------------------------------------------------------------------------- */
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
