/* paillier_key.h - inside of paillier_key.c and paillier_guest.c: a key and what its owner computes with. */
#pragma once
#include "crypto/paillier.h"
#include "crypto/mont.h"

enum {
    HALF_WORDS = MONT_WORDS / 2,
    HALF_ELEM = MONT_ELEM / 2,
    PAILLIER_BATCH = 64, /* rows worked on at once */
};

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

/* lo, hi of the residue modulo N^2 that is x[0][i] (plain elements of the halves) modulo p^2 and x[1][i]
 * modulo q^2, for n <= PAILLIER_BATCH. work: 2 * PAILLIER_BATCH * MONT_ELEM words of secret memory. */
void paillier_join(const struct paillier_guest *g, size_t n, uint64_t *const *const x[2], uint64_t *work,
                   uint64_t *const *lo, uint64_t *const *hi);
