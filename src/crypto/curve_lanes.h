/* curve_lanes.h - the ladder, the map and the shared inversion, written once over vectors of LANES field
 * elements.
 *
 * The including kernel defines LANES, struct fe, and
 *   fe_of_limbs(struct fe *, limbs[LANES][5])   fe_to_limbs(limbs[LANES][5], const struct fe *)
 *   fe_small(struct fe *, x)                    the constant x < 2^32 in every lane
 *   fe_add fe_sub fe_mul fe_sqr                 (struct fe *r, const struct fe *a, ...): r may be an operand
 *   fe_mul_add_small(r, a, e)                   r = a + 121665 e
 *   fe_swap(mask, a, b)                         swaps when mask is all ones, in constant time
 *   fe_select(r, mask[LANES], a, b)             lane by lane: a where mask is all ones, else b
 * Every result is fit to be an operand. */
#include "crypto/curve_kernel.h"
#include "base/secret.h"

#define GROUP 16 /* vectors that share one inversion */

static inline void fe_load(struct fe *r, const uint8_t (*in)[32], size_t n)
{
    uint64_t h[LANES][5];
    for (size_t l = 0; l < LANES; l++)
        limbs_of_bytes(in[l < n ? l : n - 1], h[l]);
    fe_of_limbs(r, (const uint64_t(*)[5])h);
}

static inline void fe_store(uint8_t (*out)[32], const struct fe *a, size_t n)
{
    uint64_t h[LANES][5];
    fe_to_limbs(h, a);
    for (size_t l = 0; l < LANES && l < n; l++)
        limbs_to_bytes(h[l], out[l]);
}

/* a^(2^n) */
static inline void fe_sqr_n(struct fe *r, const struct fe *a, int n)
{
    fe_sqr(r, a);
    while (--n)
        fe_sqr(r, r);
}

/* r = a^(2^250 - 1), and a^11 for the inversion. */
static void fe_pow_2_250_1(struct fe *r, struct fe *a11, const struct fe *a)
{
    struct fe a2, a9, t, x5, x10, x20, x50, x100;
    fe_sqr(&a2, a);
    fe_sqr_n(&t, &a2, 2);
    fe_mul(&a9, &t, a);
    fe_mul(a11, &a9, &a2);
    fe_sqr(&t, a11);
    fe_mul(&x5, &t, &a9); /* 2^5 - 1 */
    fe_sqr_n(&t, &x5, 5);
    fe_mul(&x10, &t, &x5);
    fe_sqr_n(&t, &x10, 10);
    fe_mul(&x20, &t, &x10);
    fe_sqr_n(&t, &x20, 20);
    fe_mul(&t, &t, &x20);
    fe_sqr_n(&t, &t, 10);
    fe_mul(&x50, &t, &x10);
    fe_sqr_n(&t, &x50, 50);
    fe_mul(&x100, &t, &x50);
    fe_sqr_n(&t, &x100, 100);
    fe_mul(&t, &t, &x100);
    fe_sqr_n(&t, &t, 50);
    fe_mul(r, &t, &x50);
}

static void fe_invert(struct fe *r, const struct fe *a)
{
    struct fe t, a11;
    fe_pow_2_250_1(&t, &a11, a);
    fe_sqr_n(&t, &t, 5);
    fe_mul(r, &t, &a11); /* 2^255 - 32 + 11 = p - 2 */
}

/* z[0..n) become their inverses (none may be zero): Montgomery's trick, lane by lane, one exponentiation. */
static void fe_invert_group(struct fe *z, size_t n)
{
    struct fe before[GROUP], inv, t;
    before[0] = z[0];
    for (size_t i = 1; i < n; i++)
        fe_mul(&before[i], &before[i - 1], &z[i]);
    fe_invert(&inv, &before[n - 1]);
    for (size_t i = n - 1; i > 0; i--) {
        fe_mul(&t, &inv, &before[i - 1]);
        fe_mul(&inv, &inv, &z[i]);
        z[i] = t;
    }
    z[0] = inv;
    secret_wipe(before, sizeof before);
}

/* RFC 7748 section 5, without the last division: u(k * point of u-coordinate x1) = x / z, z = 0 for the
 * neutral. */
static void ladder(const uint8_t k[32], const struct fe *x1, struct fe *x, struct fe *z)
{
    struct fe x2, z2, x3 = *x1, z3, a, b, c, d, aa, bb, e;
    fe_small(&x2, 1);
    fe_small(&z2, 0);
    fe_small(&z3, 1);
    uint64_t swap = 0;
    for (int pos = 254; pos >= 0; pos--) {
        uint64_t bit = 0 - (uint64_t)(k[pos >> 3] >> (pos & 7) & 1);
        fe_swap(swap ^ bit, &x2, &x3);
        fe_swap(swap ^ bit, &z2, &z3);
        swap = bit;
        fe_add(&a, &x2, &z2);
        fe_sub(&b, &x2, &z2);
        fe_add(&c, &x3, &z3);
        fe_sub(&d, &x3, &z3);
        fe_mul(&d, &d, &a);
        fe_mul(&c, &c, &b);
        fe_sqr(&aa, &a);
        fe_sqr(&bb, &b);
        fe_add(&x3, &d, &c);
        fe_sub(&z3, &d, &c);
        fe_sqr(&x3, &x3);
        fe_sqr(&z3, &z3);
        fe_sub(&e, &aa, &bb);
        fe_mul(&x2, &aa, &bb);
        fe_mul_add_small(&a, &aa, &e);
        fe_mul(&z3, &z3, x1);
        fe_mul(&z2, &e, &a);
    }
    fe_swap(swap, &x2, &x3);
    fe_swap(swap, &z2, &z3);
    *x = x2;
    *z = z2;
}

/* mask[l] all ones where lane l of a is zero modulo p. */
static void fe_zero_lanes(uint64_t mask[LANES], const struct fe *a)
{
    uint8_t s[LANES][32];
    fe_store(s, a, LANES);
    for (int l = 0; l < LANES; l++) {
        uint64_t any = 0;
        for (int i = 0; i < 32; i += 8)
            any |= load_u64(s[l] + i);
        mask[l] = ((any | (0 - any)) >> 63) - 1;
    }
}

static void lanes_mul(const uint8_t k[32], const uint8_t (*in)[32], size_t n, uint8_t (*out)[32])
{
    struct fe x[GROUP], z[GROUP], one, zero;
    uint64_t neutral[GROUP][LANES];
    fe_small(&one, 1);
    fe_small(&zero, 0);
    for (size_t done = 0; done < n;) {
        size_t v = 0;
        for (size_t at = done; v < GROUP && at < n; v++, at += LANES) {
            struct fe u;
            fe_load(&u, in + at, n - at);
            ladder(k, &u, &x[v], &z[v]);
            fe_zero_lanes(neutral[v], &z[v]);
            fe_select(&z[v], neutral[v], &one, &z[v]);
        }
        fe_invert_group(z, v);
        for (size_t i = 0; i < v; i++, done += LANES) {
            fe_mul(&x[i], &x[i], &z[i]);
            fe_select(&x[i], neutral[i], &zero, &x[i]);
            fe_store(out + done, &x[i], n - done);
        }
    }
    secret_wipe(x, sizeof x);
    secret_wipe(z, sizeof z);
}

/* RFC 9380 section 6.7.1 with K = 1, Z = 2, without the v-coordinate. With d = 1 + 2 t^2, which is never zero
 * as -1/2 is no square: x1 = -J / d; u = x1 where g(x1) = x1^3 + J x1^2 + x1 is a square, else u = -x1 - J =
 * x1 * 2 t^2. g(x1) d^3 = -J (d^2 - J^2 2 t^2), never zero either (u^2 + J u + 1 has no root), so g(x1) is a
 * square exactly when w = -J d (d^2 - J^2 2 t^2) has w^((p-1)/2) = 1 and not p - 1; (p-1)/2 = 2^254 - 10. */
static void lanes_map(const uint8_t (*in)[64], size_t n, uint8_t (*out)[32])
{
    struct fe num[GROUP], den[GROUP], one, zero, j, j2, neg_j;
    fe_small(&one, 1);
    fe_small(&zero, 0);
    fe_small(&j, CURVE_J);
    fe_sub(&neg_j, &zero, &j);
    fe_sqr(&j2, &j);
    for (size_t done = 0; done < n;) {
        size_t v = 0;
        for (size_t at = done; v < GROUP && at < n; v++, at += LANES) {
            uint64_t h[LANES][5], square[LANES];
            uint8_t s[LANES][32];
            struct fe t2, w, a6, e;
            for (size_t l = 0; l < LANES; l++)
                limbs_of_wide(in[at + l < n ? at + l : n - 1], h[l]);
            fe_of_limbs(&t2, (const uint64_t(*)[5])h);
            fe_sqr(&t2, &t2);
            fe_add(&t2, &t2, &t2);
            fe_add(&den[v], &t2, &one);
            fe_sqr(&w, &den[v]);
            fe_mul(&e, &j2, &t2);
            fe_sub(&w, &w, &e);
            fe_mul(&w, &w, &den[v]);
            fe_mul(&w, &w, &neg_j);
            fe_pow_2_250_1(&e, &a6, &w);
            fe_sqr(&a6, &w);
            fe_mul(&a6, &a6, &w);
            fe_sqr(&a6, &a6);
            fe_sqr_n(&e, &e, 4);
            fe_mul(&e, &e, &a6); /* 2^254 - 16 + 6 */
            fe_store(s, &e, LANES);
            for (int l = 0; l < LANES; l++)
                square[l] = 0 - (uint64_t)(s[l][0] & 1); /* 1 is odd, p - 1 even */
            fe_select(&num[v], square, &one, &t2);
            fe_mul(&num[v], &num[v], &neg_j);
        }
        fe_invert_group(den, v);
        for (size_t i = 0; i < v; i++, done += LANES) {
            fe_mul(&num[i], &num[i], &den[i]);
            fe_store(out + done, &num[i], n - done);
        }
    }
}
