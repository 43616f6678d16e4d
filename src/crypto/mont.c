#include "crypto/mont.h"
#include "base/cpu.h"
#include "base/secret.h"
#include <assert.h>
#include <gmp.h>
#include <string.h>

static_assert(GMP_NUMB_BITS == 64 && sizeof(mp_limb_t) == 8, "mpn's limbs are our words");

/* --- numbers in 64-bit words and in limbs of another radix ------------------------------------- */
static void limbs_of_words(const uint64_t *w, size_t n_words, unsigned radix, size_t n_limbs, uint64_t *l)
{
    uint64_t mask = radix == 64 ? ~0ull : (1ull << radix) - 1;
    for (size_t i = 0; i < n_limbs; i++) {
        size_t at = i * radix, k = at / 64, s = at % 64;
        uint64_t x = k < n_words ? w[k] >> s : 0;
        if (s && k + 1 < n_words) x |= w[k + 1] << (64 - s);
        l[i] = x & mask;
    }
}

/* n_words words; what does not fit them must be zero. */
static void words_of_limbs(const uint64_t *l, size_t n_limbs, unsigned radix, size_t n_words, uint64_t *w)
{
    memset(w, 0, n_words * sizeof *w);
    for (size_t i = 0; i < n_limbs; i++) {
        size_t at = i * radix, k = at / 64, s = at % 64;
        if (k < n_words) w[k] |= l[i] << s;
        if (s && k + 1 < n_words) w[k + 1] |= l[i] >> (64 - s);
    }
}

/* (top, x) -= n where that is not negative: 1 then, else 0. */
static uint64_t reduce_once(uint64_t *x, uint64_t *top, const uint64_t *n, size_t n_words)
{
    *top -= mpn_sub_n(x, x, n, (mp_size_t)n_words);
    uint64_t negative = *top >> 63;
    *top += mpn_cnd_add_n(negative, x, x, n, (mp_size_t)n_words);
    return 1 - negative;
}

/* --- the portable kernel: radix 2^64, elements below n ----------------------------------------- */
static size_t portable_limbs(size_t n_words)
{
    return n_words;
}

/* t, of 2W words and a top word, becomes t / R modulo n plus q n: the W words from t + W on, and top. Keeps
 * q. */
static void redc(const struct mont *m, uint64_t *t, uint64_t *top, uint64_t *q)
{
    size_t w = m->n_words;
    uint64_t carry[MONT_WORDS];
    for (size_t i = 0; i < w; i++) {
        q[i] = t[i] * m->n0;
        carry[i] = mpn_addmul_1(t + i, m->n64, (mp_size_t)w, q[i]);
    }
    *top += mpn_add_n(t + w, t + w, carry, (mp_size_t)w);
}

static void portable_mul_one(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    size_t w = m->n_words;
    mp_size_t s = (mp_size_t)w;
    uint64_t t[2 * MONT_WORDS], v[2 * MONT_WORDS], v2[2 * MONT_WORDS], q[MONT_WORDS], unused[MONT_WORDS];
    uint64_t scratch[4 * MONT_WORDS], carry[MONT_WORDS] = {0}, top = 0;
    assert(mpn_sec_mul_itch(s, s) <= (mp_size_t)LEN(scratch));
    mpn_sec_mul(v, a, s, b + w, s, scratch);
    mpn_sec_mul(v2, a + w, s, b, s, scratch);
    mpn_sec_mul(t, a, s, b, s, scratch);
    redc(m, t, &top, q);
    carry[0] = reduce_once(t + w, &top, m->n64, w); /* lo - n counts one n in hi */
    memcpy(out, t + w, w * sizeof *out);

    uint64_t vtop = mpn_add_n(v, v, v2, 2 * s);
    /* + 2n - q: not negative, as n has its top bit set */
    uint64_t add = mpn_lshift(v2, m->n64, s, 1);
    add -= mpn_sub_n(v2, v2, q, s);
    v2[w] = add;
    mpn_zero(v2 + w + 1, s - 1);
    vtop += mpn_add_n(v, v, v2, 2 * s);
    redc(m, v, &vtop, unused);
    vtop += mpn_add_n(v + w, v + w, carry, s);
    for (int i = 0; i < 3; i++)
        reduce_once(v + w, &vtop, m->n64, w); /* below 4n before */
    memcpy(out + w, v + w, w * sizeof *out);
}

static void portable_mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                         const uint64_t *const *b)
{
    for (size_t i = 0; i < n; i++)
        portable_mul_one(m, out[i], a[i], b[i]);
}

static void portable_sqr(const struct mont *m, size_t n, uint64_t *const *x, size_t times)
{
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < times; t++)
            portable_mul_one(m, x[i], x[i], x[i]);
}

static void portable_flat_one(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    mp_size_t s = (mp_size_t)m->n_words;
    uint64_t t[2 * MONT_WORDS], q[MONT_WORDS], scratch[4 * MONT_WORDS], top = 0;
    mpn_sec_mul(t, a, s, b, s, scratch);
    redc(m, t, &top, q);
    reduce_once(t + s, &top, m->n64, m->n_words);
    memcpy(out, t + s, m->n_words * sizeof *out);
}

static void portable_flat_mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                              const uint64_t *const *b)
{
    for (size_t i = 0; i < n; i++)
        portable_flat_one(m, out[i], a[i], b[i]);
}

enum { PORTABLE_WINDOW = 5 };

/* out = table[index], reading all of it. */
static void scan(const uint64_t *table, size_t n, size_t words, uint64_t index, uint64_t *out)
{
    memset(out, 0, words * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        uint64_t x = i ^ index, mask = ((x | (0 - x)) >> 63) - 1;
        for (size_t k = 0; k < words; k++)
            out[k] |= mask & table[i * words + k];
    }
}

typedef void (*product_fn)(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b);

static void powers(const struct mont *m, product_fn mul, size_t words, size_t n, uint64_t *const *x,
                   const uint64_t *e, size_t e_bits)
{
    enum { ENTRIES = 1 << PORTABLE_WINDOW };
    uint64_t table[ENTRIES * MONT_WORDS], t[MONT_WORDS]; /* pairs are of at most MONT_WORDS / 2 */
    size_t windows = (e_bits + PORTABLE_WINDOW - 1) / PORTABLE_WINDOW;
    for (size_t i = 0; i < n; i++) {
        memcpy(table, m->one, words * sizeof *table);
        for (size_t k = 1; k < ENTRIES; k++)
            mul(m, table + k * words, table + (k - 1) * words, x[i]);
        memcpy(x[i], m->one, words * sizeof *table);
        for (size_t j = windows; j-- > 0;) {
            for (int s = 0; s < PORTABLE_WINDOW && j + 1 < windows; s++)
                mul(m, x[i], x[i], x[i]);
            scan(table, ENTRIES, words, mont_digit(e, e_bits, j * PORTABLE_WINDOW, PORTABLE_WINDOW), t);
            mul(m, x[i], x[i], t);
        }
    }
    secret_wipe(table, sizeof table);
    secret_wipe(t, sizeof t);
}

static void portable_pow(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits)
{
    powers(m, portable_mul_one, m->elem_words, n, x, e, e_bits);
}

static void portable_flat_pow(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e,
                              size_t e_bits)
{
    powers(m, portable_flat_one, m->limbs, n, x, e, e_bits);
}

static size_t portable_window(size_t n_words)
{
    (void)n_words;
    return PORTABLE_WINDOW;
}

static void portable_table_put(const struct mont *m, uint64_t *words, size_t j, size_t i, size_t k,
                               uint64_t x)
{
    words[((j << PORTABLE_WINDOW) + i) * m->elem_words + k] = x;
}

static void portable_table_pow(const struct mont_table *t, size_t n, const uint64_t *const *e,
                               uint64_t *const *out)
{
    uint64_t x[2 * MONT_WORDS];
    size_t words = t->m->elem_words;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < t->n_windows; j++) {
            uint64_t digit = mont_digit(e[i], t->e_bits, j * t->window, t->window);
            scan(t->words + ((j << t->window) * words), (size_t)1 << t->window, words, digit, x);
            if (j)
                portable_mul_one(t->m, out[i], out[i], x);
            else
                memcpy(out[i], x, words * sizeof *x);
        }
    secret_wipe(x, sizeof x);
}

const struct mont_kernel mont_portable = {
    .name = "portable",
    .radix = 64,
    .window = portable_window,
    .limbs = portable_limbs,
    .mul = portable_mul,
    .sqr = portable_sqr,
    .pow = portable_pow,
    .flat_mul = portable_flat_mul,
    .flat_pow = portable_flat_pow,
    .entry_bytes = 8,
    .table_put = portable_table_put,
    .table_pow = portable_table_pow,
};

/* --- what all kernels share -------------------------------------------------------------------- */
const struct mont_kernel *mont_kernel_of(int level)
{
    return level >= CPU_AVX512 ? &mont_avx512 : level >= CPU_AVX2 ? &mont_avx2 : &mont_portable;
}

static void words_freep(uint64_t **p)
{
    secret_free(*p);
}

/* x, of n words with n <= 2W + 2, as a pair: x modulo n^2 split by n. */
static void pair_of(const struct mont *m, const uint64_t *n2, uint64_t *x, size_t n, uint64_t *scratch,
                    uint64_t *elem)
{
    size_t w = m->n_words;
    uint64_t *hi = scratch;
    memset(hi, 0, (w + 1) * sizeof *hi);
    if (n > 2 * w) {
        mpn_sec_div_r(x, (mp_size_t)n, n2, (mp_size_t)(2 * w), scratch);
        n = 2 * w;
    }
    hi[n - w] = mpn_sec_div_qr(hi, x, (mp_size_t)n, m->n64, (mp_size_t)w, scratch + w + 2);
    limbs_of_words(x, w, m->kernel->radix, m->limbs, elem);
    limbs_of_words(hi, w, m->kernel->radix, m->limbs, elem + m->limbs);
}

status mont_init_kernel(struct ctx *cx, struct mont *m, const struct mont_kernel *k, const uint64_t *n,
                        size_t n_words)
{
    if (n_words != 16 && n_words != 24 && n_words != 32 && n_words != 48)
        return FAIL(cx, ARG, "a modulus of %zu words", n_words);
    if (!(n[0] & 1) || !(n[n_words - 1] >> 63))
        return FAIL(cx, ARG, "a modulus of %zu bits must be odd and have its top bit set", 64 * n_words);
    memset(m, 0, sizeof *m);
    m->kernel = k;
    m->n_words = n_words;
    m->limbs = k->limbs(n_words);
    m->elem_words = 2 * m->limbs;
    memcpy(m->n64, n, n_words * sizeof *n);
    limbs_of_words(n, n_words, k->radix, m->limbs, m->n);
    uint64_t inv = n[0]; /* Newton: 3, 6, ... 96 correct bits */
    for (int i = 0; i < 5; i++)
        inv *= 2 - n[0] * inv;
    m->n0 = (0 - inv) & (k->radix == 64 ? ~0ull : (1ull << k->radix) - 1);

    size_t w = n_words, r_bits = k->radix * m->limbs, nr = r_bits / 64 + 1, nrr = 2 * r_bits / 64 + 1;
    size_t room = (size_t)mpn_sec_div_r_itch((mp_size_t)nrr, (mp_size_t)(2 * w)) +
                  (size_t)mpn_sec_div_qr_itch((mp_size_t)(2 * w), (mp_size_t)w) +
                  (size_t)mpn_sec_sqr_itch((mp_size_t)w) + 8 * w;
    CLEANUP(words_freep) uint64_t *n2 = secret_alloc((2 * w + nrr + 1 + room) * sizeof *n2);
    if (!n2) return FAIL(cx, NOMEM, "a modulus");
    uint64_t *x = n2 + 2 * w, *scratch = x + nrr + 1;
    mpn_sec_sqr(n2, m->n64, (mp_size_t)w, scratch);

    x[r_bits / 64] = 1ull << (r_bits % 64);
    mpn_sec_div_r(x, (mp_size_t)nr, m->n64, (mp_size_t)w, scratch);
    mpn_sub_n(x, m->n64, x, (mp_size_t)w); /* R plus this is the least multiple of n above R */
    limbs_of_words(x, w, k->radix, m->limbs, m->kn);
    if (k->radix <
        64) /* R as one unit of the radix in every limb, so that a number below R can be taken off */
        for (size_t i = 0; i < m->limbs; i++)
            m->kn[i] += (1ull << k->radix) - (i > 0);

    memset(x, 0, (nrr + 1) * sizeof *x);
    x[r_bits / 64] = 1ull << (r_bits % 64);
    pair_of(m, n2, x, nr > w ? nr : w + 1, scratch, m->one);
    memset(x, 0, (nrr + 1) * sizeof *x);
    x[2 * r_bits / 64] = 1ull << (2 * r_bits % 64);
    pair_of(m, n2, x, nrr, scratch, m->rr);
    m->unit[0] = 1;
    return OK;
}

status mont_init(struct ctx *cx, struct mont *m, const uint64_t *n, size_t n_words)
{
    return mont_init_kernel(cx, m, mont_kernel_of((int)cpu_level()), n, n_words);
}

void mont_load(const struct mont *m, const uint64_t *lo, const uint64_t *hi, uint64_t *elem)
{
    size_t w = m->n_words;
    uint64_t x[2][MONT_WORDS] = {{0}}, carry[MONT_WORDS] = {0}, top = 0;
    memcpy(x[0], lo, w * sizeof *lo);
    if (hi) memcpy(x[1], hi, w * sizeof *hi);
    /* One subtraction is enough: n has its top bit set. */
    carry[0] = reduce_once(x[0], &top, m->n64, w); /* lo - n counts one n in hi */
    reduce_once(x[1], &top, m->n64, w);
    top = mpn_add_n(x[1], x[1], carry, (mp_size_t)w);
    reduce_once(x[1], &top, m->n64, w);
    limbs_of_words(x[0], w, m->kernel->radix, m->limbs, elem);
    limbs_of_words(x[1], w, m->kernel->radix, m->limbs, elem + m->limbs);
    secret_wipe(x, sizeof x);
}

void mont_store(const struct mont *m, const uint64_t *elem, uint64_t *lo, uint64_t *hi)
{
    size_t w = m->n_words;
    uint64_t x[MONT_WORDS + 1], carry[MONT_WORDS] = {0};
    words_of_limbs(elem, m->limbs, m->kernel->radix, w + 1, x);
    if (m->kernel->radix == 64) x[w] = 0;
    for (int i = 0; i < 3; i++)
        carry[0] += reduce_once(x, &x[w], m->n64, w); /* below 4n before */
    memcpy(lo, x, w * sizeof *lo);
    words_of_limbs(elem + m->limbs, m->limbs, m->kernel->radix, w + 1, x);
    if (m->kernel->radix == 64) x[w] = 0;
    x[w] += mpn_add_n(x, x, carry, (mp_size_t)w);
    for (int i = 0; i < 4; i++)
        reduce_once(x, &x[w], m->n64, w);
    memcpy(hi, x, w * sizeof *hi);
    secret_wipe(x, sizeof x);
}

void mont_add(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    size_t l = m->limbs;
    if (m->kernel->radix == 64) {
        mp_size_t w = (mp_size_t)l;
        uint64_t top = mpn_add_n(out, a, b, w), carry[MONT_WORDS] = {0};
        carry[0] = reduce_once(out, &top, m->n64, l); /* lo - n counts one n in hi */
        top = mpn_add_n(out + l, a + l, b + l, w);
        top += mpn_add_n(out + l, out + l, carry, w);
        reduce_once(out + l, &top, m->n64, l);
        return;
    }
    uint64_t mask = (1ull << m->kernel->radix) - 1;
    for (size_t half = 0; half < 2 * l; half += l) {
        uint64_t carry = 0;
        for (size_t i = half; i < half + l; i++) {
            carry += a[i] + b[i];
            out[i] = carry & mask;
            carry >>= m->kernel->radix;
        }
    }
}

void mont_mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
              const uint64_t *const *b)
{
    m->kernel->mul(m, n, out, a, b);
}

void mont_sqr(const struct mont *m, size_t n, uint64_t *const *x, size_t times)
{
    m->kernel->sqr(m, n, x, times);
}

void mont_pow(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits)
{
    assert(m->n_words <= MONT_WORDS / 2);
    m->kernel->pow(m, n, x, e, e_bits);
}

void mont_flat_load(const struct mont *m, const uint64_t *x, uint64_t *flat)
{
    uint64_t t[MONT_WORDS], top = 0;
    memcpy(t, x, m->n_words * sizeof *t);
    reduce_once(t, &top, m->n64, m->n_words); /* once is enough: n has its top bit set */
    limbs_of_words(t, m->n_words, m->kernel->radix, m->limbs, flat);
    secret_wipe(t, sizeof t);
}

void mont_flat_store(const struct mont *m, const uint64_t *flat, uint64_t *x)
{
    uint64_t t[MONT_WORDS + 1];
    words_of_limbs(flat, m->limbs, m->kernel->radix, m->n_words + 1, t);
    if (m->kernel->radix == 64) t[m->n_words] = 0;
    for (int i = 0; i < 3; i++)
        reduce_once(t, &t[m->n_words], m->n64, m->n_words);
    memcpy(x, t, m->n_words * sizeof *x);
    secret_wipe(t, sizeof t);
}

void mont_flat_add(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b)
{
    if (m->kernel->radix == 64) {
        uint64_t top = mpn_add_n(out, a, b, (mp_size_t)m->limbs);
        reduce_once(out, &top, m->n64, m->limbs);
        return;
    }
    uint64_t carry = 0, mask = (1ull << m->kernel->radix) - 1;
    for (size_t i = 0; i < m->limbs; i++) {
        carry += a[i] + b[i];
        out[i] = carry & mask;
        carry >>= m->kernel->radix;
    }
}

void mont_flat_mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                   const uint64_t *const *b)
{
    m->kernel->flat_mul(m, n, out, a, b);
}

void mont_flat_pow(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits)
{
    m->kernel->flat_pow(m, n, x, e, e_bits);
}

static size_t n_windows(const struct mont *m, size_t e_bits)
{
    size_t window = m->kernel->window(m->n_words);
    return (e_bits + window - 1) / window;
}

size_t mont_table_words(const struct mont *m, size_t e_bits)
{
    return (n_windows(m, e_bits) << m->kernel->window(m->n_words)) * m->elem_words * m->kernel->entry_bytes /
           8;
}

size_t mont_table_scratch(const struct mont *m, size_t e_bits)
{
    return 2 * n_windows(m, e_bits) * m->elem_words;
}

void mont_table_fill(struct mont_table *t, const struct mont *m, const uint64_t *base, size_t e_bits,
                     uint64_t *words, uint64_t *scratch)
{
    enum { BATCH = 64 };
    *t = (struct mont_table){m, m->kernel->window(m->n_words), n_windows(m, e_bits), e_bits, words};
    size_t len = m->elem_words;
    /* scratch: the base of each window, base^(2^(window * j)); behind it the entry being made of each window
     */
    uint64_t *bases = scratch, *entries = scratch + t->n_windows * len;
    for (size_t j = 0; j < t->n_windows; j++) {
        uint64_t *x = bases + j * len;
        memcpy(x, j ? x - len : base, len * sizeof *x);
        if (j) mont_sqr(m, 1, &x, t->window);
        memcpy(entries + j * len, m->one, len * sizeof *x);
    }
    for (size_t i = 0; i < (size_t)1 << t->window; i++)
        for (size_t j0 = 0; j0 < t->n_windows; j0 += BATCH) {
            uint64_t *x[BATCH];
            const uint64_t *a[BATCH], *b[BATCH];
            size_t n = 0;
            for (; n < BATCH && j0 + n < t->n_windows; n++) {
                a[n] = x[n] = entries + (j0 + n) * len;
                b[n] = bases + (j0 + n) * len;
                for (size_t k = 0; k < len; k++)
                    m->kernel->table_put(m, words, j0 + n, i, k, x[n][k]);
            }
            if (i + 1 < (size_t)1 << t->window) mont_mul(m, n, x, a, b);
        }
}

void mont_table_pow(const struct mont_table *t, size_t n, const uint64_t *const *e, uint64_t *const *out)
{
    t->m->kernel->table_pow(t, n, e, out);
}
