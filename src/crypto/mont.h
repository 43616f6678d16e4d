/* mont.h - batches of products modulo n^2 for Paillier, n odd and public or secret.
 *
 * A residue x modulo n^2 is kept as a pair, x = lo + n * hi. With R a power of two above n, and q the
 * word-by-word Montgomery quotient of lo*lo' (lo lo' + q n = R u), a product is x x' / R = u + n * ((lo hi' +
 * hi lo' - q) / R mod n)   modulo n^2: three products and two reductions of the size of n instead of a
 * product and a reduction of twice that size, 5/8 of the work. (Montgomery, Math. Comp. 44, 1985, for the
 * reduction; the pair is plain algebra.) Shapes: an element is mont.elem_words 64-bit words, in the kernel's
 * radix: lo's limbs, then hi's. Both are kept below 2n (portable: n); operands of mont_mul may be below 8n.
 * "Plain" elements hold x, "Montgomery" elements hold x R modulo n^2: mont_mul(plain, Montgomery) is plain,
 * mont_mul(Montgomery, Montgomery) is Montgomery. Kernels: portable (GMP's mpn), AVX-512 IFMA eight ways;
 * mont_store gives the same words for all of them. Constant time in n and in all elements and exponents; n's
 * size, counts and the length of exponents are public. */
#pragma once
#include "base/ctx.h"

#define MONT_WORDS 48                       /* the widest n: 3072 bits */
#define MONT_LIMBS 120                      /* the most limbs a kernel uses for it */
#define MONT_ELEM  (2 * (size_t)MONT_LIMBS) /* words of the longest element */

struct mont_kernel;
struct mont {
    const struct mont_kernel *kernel;
    size_t n_words;    /* 64-bit words of n: 16, 24, 32 or 48; the top bit of n is set */
    size_t limbs;      /* of lo and of hi in the kernel's radix; R = 2^(radix * limbs) */
    size_t elem_words; /* 2 * limbs */
    uint64_t n0;       /* -1/n modulo the radix */
    uint64_t n64[MONT_WORDS];
    uint64_t n[MONT_LIMBS];
    uint64_t kn[MONT_LIMBS];  /* the least multiple of n not below R, as the kernel wants it */
    uint64_t rr[MONT_ELEM];   /* R^2: mont_mul by it makes a plain element a Montgomery one */
    uint64_t one[MONT_ELEM];  /* R, that is 1 as a Montgomery element */
    uint64_t unit[MONT_ELEM]; /* 1, plain: mont_mul by it makes a Montgomery element plain */
};

/* ARG: n_words is not 16, 24, 32 or 48, n is even, or its top bit is clear. Put m in secret memory for a
 * secret n. */
status mont_init(struct ctx *cx, struct mont *m, const uint64_t *n, size_t n_words);
/* A plain element from lo and hi (NULL = 0), n_words words each with any value. */
void mont_load(const struct mont *m, const uint64_t *lo, const uint64_t *hi, uint64_t *elem);
/* The canonical lo, hi, both below n, of an element. */
void mont_store(const struct mont *m, const uint64_t *elem, uint64_t *lo, uint64_t *hi);
/* out = a + b, not reduced: an operand of mont_mul for a and b below 4n, of mont_store for a and b below 2n.
 */
void mont_add(const struct mont *m, uint64_t *out, const uint64_t *a, const uint64_t *b);

/* n independent products out[i] = a[i] * b[i] / R. out[i] may be a[i] or b[i], nobody else's operand. */
void mont_mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
              const uint64_t *const *b);
/* x[i] becomes x[i]^(2^times) of Montgomery elements, in place. */
void mont_sqr(const struct mont *m, size_t n, uint64_t *const *x, size_t times);
/* x[i] becomes x[i]^e of Montgomery elements, one exponent of e_bits bits for all. n_words at most 24. */
void mont_pow(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits);

/* Modulo n alone, for RSA and Diffie-Hellman: flat elements are .limbs words. rr, one and unit serve them
 * too. */
void mont_flat_load(const struct mont *m, const uint64_t *x, uint64_t *flat);  /* x: n_words, any value */
void mont_flat_store(const struct mont *m, const uint64_t *flat, uint64_t *x); /* canonical, below n */
void mont_flat_add(const struct mont *m, uint64_t *out, const uint64_t *a,
                   const uint64_t *b); /* as mont_add */
void mont_flat_mul(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                   const uint64_t *const *b);
void mont_flat_pow(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits);

/* Powers of one base, for exponents of up to e_bits bits. */
struct mont_table {
    const struct mont *m;
    size_t window, n_windows, e_bits;
    uint64_t *words; /* table[j][i] = base^(i * 2^(window * j)), in the kernel's order */
};
size_t mont_table_words(const struct mont *m, size_t e_bits);   /* room for .words */
size_t mont_table_scratch(const struct mont *m, size_t e_bits); /* words that filling it needs besides */
/* base: a Montgomery element. words: mont_table_words, scratch: mont_table_scratch; both in secret memory for
 * a secret n. */
void mont_table_fill(struct mont_table *t, const struct mont *m, const uint64_t *base, size_t e_bits,
                     uint64_t *words, uint64_t *scratch);
/* out[i] = base^e[i], e[i] of mont_exp_words words each; Montgomery elements. */
void mont_table_pow(const struct mont_table *t, size_t n, const uint64_t *const *e, uint64_t *const *out);
static inline size_t mont_exp_words(size_t e_bits)
{
    return (e_bits + 63) / 64;
}

/* --- inside mont.c and its kernels ------------------------------------------------------------- */
/* For functions over limbs. clang would make memcpy of loads of neighbouring limbs, which keeps them in
 * memory: half the speed. */
#ifdef __clang__
#define MONT_INLINE static inline __attribute__((always_inline, no_builtin("memcpy")))
#else
#define MONT_INLINE static inline __attribute__((always_inline))
#endif

struct mont_kernel {
    const char *name;
    unsigned radix;                   /* bits of a limb */
    size_t (*window)(size_t n_words); /* bits of a digit in tables */
    size_t (*limbs)(size_t n_words);
    void (*mul)(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                const uint64_t *const *b);
    void (*sqr)(const struct mont *m, size_t n, uint64_t *const *x, size_t times);
    void (*pow)(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits);
    void (*flat_mul)(const struct mont *m, size_t n, uint64_t *const *out, const uint64_t *const *a,
                     const uint64_t *const *b);
    void (*flat_pow)(const struct mont *m, size_t n, uint64_t *const *x, const uint64_t *e, size_t e_bits);
    size_t entry_bytes; /* of a limb in a table */
    /* Writes limb k of entry i of window j. */
    void (*table_put)(const struct mont *m, uint64_t *words, size_t j, size_t i, size_t k, uint64_t x);
    void (*table_pow)(const struct mont_table *t, size_t n, const uint64_t *const *e, uint64_t *const *out);
};
extern const struct mont_kernel mont_portable, mont_avx2, mont_avx512;
const struct mont_kernel *
mont_kernel_of(int level); /* the best kernel at a cpu level, for tests and benches */
status mont_init_kernel(struct ctx *cx, struct mont *m, const struct mont_kernel *k, const uint64_t *n,
                        size_t n_words);
/* Bits [at, at + count) of e, count below 64; bits past e_bits are 0. */
static inline uint64_t mont_digit(const uint64_t *e, size_t e_bits, size_t at, size_t count)
{
    if (at >= e_bits) return 0;
    size_t k = at / 64, shift = at % 64;
    uint64_t x = e[k] >> shift;
    if (shift && shift + count > 64 && k + 1 < mont_exp_words(e_bits)) x |= e[k + 1] << (64 - shift);
    size_t left = e_bits - at;
    return x & ((1ull << (left < count ? left : count)) - 1);
}
