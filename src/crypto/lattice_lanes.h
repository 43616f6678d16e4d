/* lattice_lanes.h - the ring's kernels over vectors of LANES 32-bit words, written once.
 *
 * Transforms: decimation by Cooley and Tukey, inverse by Gentleman and Sande, values below 4p and 2p between layers
 * (Harvey, "Faster arithmetic for number-theoretic transforms", 2014), products by Montgomery with 1/p times the
 * constant at hand. The 512 values are 512 / LANES rows of one vector; layers across rows need no shuffles, then
 * every LANES rows are transposed, so that the layers within rows are across vectors too; nothing transposes back.
 * The including kernel defines
 *   VEC, LANES             a vector
 *   LOAD STORE             aligned; ALL(x) is x in every 32-bit lane
 *   ADD SUB MIN            of unsigned 32-bit lanes
 *   ADD64 SUB64 MUL        of 64-bit lanes; MUL: product of their low halves
 *   ODD(x)                 high halves to low halves
 *   JOIN(even, odd)        high halves of even to the even lanes, of odd to the odd ones
 *   transpose(v)           LANES vectors
 *   WIDE(v, half)          half of the lanes as 64-bit lanes;  NARROW(lo, hi) low halves of two vectors back
 *   SMALL(p)               LANES bytes with sign as 32-bit lanes
 *   SHL32(x) SHR63(x)      of 64-bit lanes
 *   ALL64(x) XOR AND ZERO */
#include "crypto/lattice_samples.h"
#include "base/secret.h"

#define INLINE static inline __attribute__((always_inline))
enum { HALF = LANES / 2, VECS = LAT_N / LANES, TURNS = VECS / LANES };

/* x / 2^32 + p modulo p, for even and odd 64-bit lanes. */
INLINE VEC reduce(VEC even, VEC odd, VEC p, VEC p_inv)
{
    VEC e = MUL(MUL(even, p_inv), p), o = MUL(MUL(odd, p_inv), p);
    return ADD(JOIN(SUB64(even, e), SUB64(odd, o)), p);
}

/* a w / 2^32 below 2p, any a; w below p, w_p = w / p modulo 2^32. */
INLINE VEC mul(VEC a, VEC w, VEC w_p, VEC p)
{
    VEC a1 = ODD(a);
    VEC e = SUB64(MUL(a, w), MUL(MUL(a, w_p), p)), o = SUB64(MUL(a1, ODD(w)), MUL(MUL(a1, ODD(w_p)), p));
    return ADD(JOIN(e, o), p);
}

INLINE VEC mul_all(VEC a, VEC w, VEC w_p, VEC p) /* w the same in all lanes */
{
    VEC a1 = ODD(a);
    VEC e = SUB64(MUL(a, w), MUL(MUL(a, w_p), p)), o = SUB64(MUL(a1, w), MUL(MUL(a1, w_p), p));
    return ADD(JOIN(e, o), p);
}

INLINE VEC less(VEC x, VEC m) /* x - m unless that is negative */
{
    return MIN(x, SUB(x, m));
}

/* Where the constants of butterfly b lie: turn g, blocks of 2 len words. */
INLINE size_t last_at(size_t g, size_t len, size_t b)
{
    return (g * (LANES - 1) + HALF / len - 1 + b / len) * LANES;
}

static void forward(const struct lattice_tables *t, int i, uint32_t *x)
{
    const VEC p = ALL(lattice_prime[i]), p2 = ADD(p, p);
    size_t blocks = 1;
    for (size_t len = LAT_N / 2; len >= LANES; len /= 2, blocks *= 2)
        for (size_t b = 0; b < blocks; b++) {
            const VEC w = ALL(t->zeta[i][blocks + b]), w_p = ALL(t->zeta_p[i][blocks + b]);
            uint32_t *lo = x + 2 * b * len, *hi = lo + len;
            for (size_t j = 0; j < len; j += LANES) {
                VEC u = less(LOAD(lo + j), p2), v = mul_all(LOAD(hi + j), w, w_p, p);
                STORE(lo + j, ADD(u, v));
                STORE(hi + j, ADD(SUB(u, v), p2));
            }
        }
    for (size_t g = 0; g < TURNS; g++) {
        VEC v[LANES];
        for (size_t k = 0; k < LANES; k++)
            v[k] = LOAD(x + (g * LANES + k) * LANES);
        transpose(v);
#pragma GCC unroll 4
        for (size_t len = HALF; len; len /= 2)
#pragma GCC unroll 8
            for (size_t b = 0; b < HALF; b++) {
                size_t k = b / len * 2 * len + b % len, at = last_at(g, len, b);
                VEC u = less(v[k], p2),
                    y = mul(v[k + len], LOAD(t->last[i] + at), LOAD(t->last_p[i] + at), p);
                v[k] = ADD(u, y);
                v[k + len] = ADD(SUB(u, y), p2);
            }
        for (size_t k = 0; k < LANES; k++)
            STORE(x + (g * LANES + k) * LANES, less(less(v[k], p2), p));
    }
}

/* The layers within rows, up to blocks of 2 len words each, of turn g: values below 2p. */
INLINE void backward_rows(const struct lattice_tables *t, int i, size_t g, size_t most, VEC *v)
{
    const VEC p = ALL(lattice_prime[i]), p2 = ADD(p, p);
#pragma GCC unroll 4
    for (size_t len = 1; len <= most; len *= 2)
#pragma GCC unroll 8
        for (size_t b = 0; b < HALF; b++) {
            size_t k = b / len * 2 * len + b % len, at = last_at(g, len, b);
            VEC u = v[k], y = v[k + len];
            v[k] = less(ADD(u, y), p2);
            v[k + len] = mul(ADD(SUB(u, y), p2), LOAD(t->last_inv[i] + at), LOAD(t->last_inv_p[i] + at), p);
        }
}

/* Values below 2p on the way; at the end times 2^32 / 512 and below p. */
static void backward(const struct lattice_tables *t, int i, uint32_t *x)
{
    const VEC p = ALL(lattice_prime[i]), p2 = ADD(p, p);
    for (size_t g = 0; g < TURNS; g++) {
        VEC v[LANES];
        for (size_t k = 0; k < LANES; k++)
            v[k] = LOAD(x + (g * LANES + k) * LANES);
        backward_rows(t, i, g, HALF, v);
        transpose(v);
        for (size_t k = 0; k < LANES; k++)
            STORE(x + (g * LANES + k) * LANES, v[k]);
    }
    size_t blocks = VECS / 2;
    for (size_t len = LANES; len < LAT_N; len *= 2, blocks /= 2)
        for (size_t b = 0; b < blocks; b++) {
            const VEC w = ALL(t->inv[i][blocks + b]), w_p = ALL(t->inv_p[i][blocks + b]);
            uint32_t *lo = x + 2 * b * len, *hi = lo + len;
            for (size_t j = 0; j < len; j += LANES) {
                VEC u = LOAD(lo + j), y = LOAD(hi + j);
                STORE(lo + j, less(ADD(u, y), p2));
                STORE(hi + j, mul_all(ADD(SUB(u, y), p2), w, w_p, p));
            }
        }
    const VEC s = ALL(t->scale[i]), s_p = ALL(t->scale[i] * t->p_inv[i]);
    for (size_t k = 0; k < LAT_N; k += LANES)
        STORE(x + k, less(mul_all(LOAD(x + k), s, s_p, p), p));
}

static void hat_small(const struct lattice_tables *t, int primes, const int8_t *x, struct lattice_hat *out)
{
    for (int i = 0; i < primes; i++) {
        const VEC p = ALL(lattice_prime[i]);
        for (size_t k = 0; k < LAT_N; k += LANES) {
            VEC v = SMALL(x + k);
            STORE(out->r[i] + k, MIN(v, ADD(v, p)));
        }
        forward(t, i, out->r[i]);
    }
}

/* Of words shifted by 2^63: lo 2^32 / 2^32 + hi 2^64 / 2^32 is below 3p + p; then the shift is taken off. */
INLINE VEC residue(VEC even, VEC odd, const struct lattice_tables *t, int i)
{
    const VEC p = ALL(lattice_prime[i]), p2 = ADD(p, p), r1 = ALL(t->r1[i]), r2 = ALL(t->r2[i]);
    VEC e = ADD64(MUL(even, r1), MUL(ODD(even), r2)), o = ADD64(MUL(odd, r1), MUL(ODD(odd), r2));
    VEC x = less(reduce(e, o, p, ALL(t->p_inv[i])), p2);
    return less(less(ADD(x, ALL(t->minus_half[i])), p2), p);
}

static void hat_word(const struct lattice_tables *t, int primes, const uint64_t *x, struct lattice_hat *out)
{
    const VEC top = ALL64(1ull << 63);
    for (int i = 0; i < primes; i++) {
        for (size_t k = 0; k < LAT_N; k += LANES) {
            /* residue() takes and gives lanes pairwise: here word j of the first half is lane 2j, of the second 2j + 1 */
            VEC lo = XOR(LOAD(x + k), top), hi = XOR(LOAD(x + k + HALF), top);
            STORE(out->r[i] + k, UNMIX(residue(lo, hi, t, i)));
        }
        forward(t, i, out->r[i]);
    }
}

/* Garner's digits of LANES values; then words of 64 bits. */
INLINE void join(const struct lattice_tables *t, int primes, VEC x0, VEC x1, VEC x2, uint64_t *acc)
{
    const uint32_t *q = lattice_prime;
    const uint64_t q01 = (uint64_t)q[0] * q[1], all = primes == 2 ? q01 : q01 * q[2];
    const VEC p1 = ALL(q[1]), p2 = ALL(q[2]);
    VEC t1 = less(mul_all(SUB(ADD(x1, p1), x0), ALL(t->inv01), ALL(t->inv01 * t->p_inv[1]), p1), p1), t2 = t1;
    if (primes > 2) {
        VEC y = mul_all(SUB(ADD(x2, p2), x0), ALL(t->inv02), ALL(t->inv02 * t->p_inv[2]), p2);
        t2 = less(mul_all(SUB(ADD(y, p2), t1), ALL(t->inv12), ALL(t->inv12 * t->p_inv[2]), p2), p2);
    }
    const VEC half = ALL64(q[primes - 1] / 2);
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        VEC v0 = WIDE(x0, h), v1 = WIDE(t1, h), v2 = WIDE(t2, h);
        VEC x = ADD64(v0, MUL(v1, ALL64(q[0])));
        if (primes > 2)
            x = ADD64(x, ADD64(MUL(v2, ALL64(q01 & UINT32_MAX)), SHL32(MUL(v2, ALL64(q01 >> 32)))));
        VEC negative = SUB64(ZERO, SHR63(SUB64(half, v2)));
        x = SUB64(x, AND(negative, ALL64(all)));
        STORE(acc + h * HALF, ADD64(LOAD(acc + h * HALF), x));
    }
}

/* Vector k of x[0] y[0] + ... + x[4] y[4], over 2^32 and below 2p. Five products below 2^60 are below 2^63. */
INLINE VEC products(const struct lattice_tables *t, int i, size_t k, const struct lattice_hat *x,
                    const struct lattice_hat *y)
{
    const VEC p = ALL(lattice_prime[i]), p2 = ADD(p, p);
    VEC e = ZERO, o = ZERO;
#pragma GCC unroll 5
    for (int j = 0; j < LAT_RANK; j++) {
        VEC a = LOAD(x[j].r[i] + k), b = LOAD(y[j].r[i] + k);
        e = ADD64(e, MUL(a, b));
        o = ADD64(o, MUL(ODD(a), ODD(b)));
    }
    return less(reduce(e, o, p, ALL(t->p_inv[i])), p2);
}

INLINE void dot_of(const struct lattice_tables *t, const int primes, const struct lattice_hat *x,
                   const struct lattice_hat *y, uint64_t *acc)
{
    _Alignas(64) uint32_t s[LAT_PRIMES][LAT_N];
    for (int i = 0; i < primes; i++) {
        for (size_t k = 0; k < LAT_N; k += LANES)
            STORE(s[i] + k, products(t, i, k, x, y));
        backward(t, i, s[i]);
    }
    for (size_t k = 0; k < LAT_N; k += LANES)
        join(t, primes, LOAD(s[0] + k), LOAD(s[1] + k), LOAD(s[primes - 1] + k), acc + k);
    secret_wipe(s, sizeof s);
}

static void dot(const struct lattice_tables *t, int primes, const struct lattice_hat *x,
                const struct lattice_hat *y, uint64_t *acc)
{
    if (primes == 2)
        dot_of(t, 2, x, y, acc);
    else
        dot_of(t, 3, x, y, acc);
}

/* Of the layers for blocks of 16 words and more, the first 8 words of a block are sums without a factor: so the first
 * 8 coefficients are the sums over all blocks of 8 words. */
static void dot_low(const struct lattice_tables *t, int primes, const struct lattice_hat *x,
                    const struct lattice_hat *y, uint64_t *out)
{
    uint32_t r[LAT_PRIMES][LAT_PACK] = {{0}};
    _Alignas(64) uint32_t lanes[LAT_PACK][LANES];
    for (int i = 0; i < primes; i++) {
        const VEC p2 = ALL(2 * lattice_prime[i]);
        VEC sum[LAT_PACK], v[LANES];
        for (size_t k = 0; k < LAT_PACK; k++)
            sum[k] = ZERO;
        for (size_t g = 0; g < TURNS; g++) {
            for (size_t k = 0; k < LANES; k++)
                v[k] = products(t, i, (g * LANES + k) * LANES, x, y);
            backward_rows(t, i, g, LAT_PACK / 2, v);
            for (size_t k = 0; k < LAT_PACK; k++) {
                VEC s = LANES > LAT_PACK ? less(ADD(v[k], v[k + LANES - LAT_PACK]), p2) : v[k];
                sum[k] = less(ADD(sum[k], s), p2);
            }
        }
        for (size_t k = 0; k < LAT_PACK; k++) {
            uint64_t s = 0;
            STORE(lanes[k], sum[k]);
            for (size_t l = 0; l < LANES; l++)
                s += lanes[k][l];
            uint32_t p = lattice_prime[i], once = mod_redc(s, p, t->p_inv[i]);
            r[i][k] = mod_below(mod_redc((uint64_t)once * t->scale_low[i], p, t->p_inv[i]), p);
        }
    }
    for (size_t k = 0; k < LAT_PACK; k++)
        out[k] = mod_join(t, primes, r[0][k], r[1][k], r[2][k]);
    secret_wipe(r, sizeof r);
    secret_wipe(lanes, sizeof lanes);
}

/* SUMS vectors of an element at a time, for all buckets: so much of the windows stays in the nearest cache. */
static void sum_masks(const uint64_t *win, const struct lattice_run *run, size_t n_buckets,
                      const uint16_t *list, uint64_t (*acc)[LAT_STRIDE])
{
    for (size_t k = 0; k < LAT_N; k += SUMS * HALF)
        for (size_t b = 0; b < n_buckets; b++) {
            const uint16_t *at = list + run[b].begin, *end = at + run[b].n;
            if (at == end) continue;
            uint64_t *to = acc[b / LAT_PACK] + b % LAT_PACK + k;
            VEC v[SUMS];
#pragma GCC unroll 16
            for (size_t i = 0; i < SUMS; i++)
                v[i] = ZERO;
            do {
                const uint64_t *from = win + LAT_PACK * (size_t)*at + k;
#pragma GCC unroll 16
                for (size_t i = 0; i < SUMS; i++)
                    v[i] = ADD64(v[i], LOAD(from + i * HALF));
            } while (++at < end);
#pragma GCC unroll 16
            for (size_t i = 0; i < SUMS; i++)
                STORE_ANY(to + i * HALF, ADD64(LOAD_ANY(to + i * HALF), v[i]));
        }
}

static void sum_words(const uint64_t *first, size_t stride, const struct lattice_run *run, size_t n_buckets,
                      const uint16_t *list, uint64_t (*acc)[LAT_PACK])
{
    for (size_t b = 0; b < n_buckets; b++) {
        VEC v[LAT_PACK / HALF];
        uint64_t *to = acc[b / LAT_PACK];
#pragma GCC unroll 2
        for (size_t i = 0; i < LAT_PACK / HALF; i++)
            v[i] = LOAD_ANY(to + i * HALF);
        for (size_t a = run[b].begin; a < run[b].begin + run[b].n; a++) {
            size_t row = list[a] % (LAT_WINDOW / LAT_PACK);
            const uint64_t *from =
                first + list[a] / (LAT_WINDOW / LAT_PACK) * stride + LAT_PACK * (row + 1) - b % LAT_PACK;
#pragma GCC unroll 2
            for (size_t i = 0; i < LAT_PACK / HALF; i++)
                v[i] = ADD64(v[i], LOAD_ANY(from + i * HALF));
        }
#pragma GCC unroll 2
        for (size_t i = 0; i < LAT_PACK / HALF; i++)
            STORE_ANY(to + i * HALF, v[i]);
    }
}
