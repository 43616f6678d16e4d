/* lattice_ring.h - inside of lattice*.c: the ring, its kernels, and what guest and host share.
 *
 * A ring element is 512 coefficients modulo 2^64, lowest power first. 2^64 has no number-theoretic transform, so
 * products of a word element and a small one (coefficients -1, 0, 1) are made modulo three primes of 30 bits and put
 * together again: five such products sum to less than 2^63 * 2560 < 2^75 in absolute value, the primes' product is
 * above 2^89. A "hat" is an element in that form; its order of values is the kernel's own. */
#pragma once
#include "crypto/lattice.h"
#include <stdatomic.h>

struct prg;

#define LATTICE_SET     "mlwe-2560-64-v1"
#define LATTICE_VERSION 1
#define LATTICE_ID      16 /* bytes of a key's public, random name */

enum {
    LAT_N = 512,            /* degree of the ring */
    LAT_RANK = 5,           /* of the module */
    LAT_DIM = 2560,         /* of the lattice problem */
    LAT_PACK = 8,           /* buckets a reply cipher */
    LAT_ROWS = 64,          /* rows a block: LAT_N / LAT_PACK */
    LAT_STREAMS = 16,       /* digits of a row, at most */
    LAT_DIGIT = 29,         /* |sum of a digit| < 2^29 */
    LAT_SCALE = 34,         /* a digit is scaled by 2^34: 29 bits, a sign and this are 64 */
    LAT_REPLY = 40,         /* replies are modulo 2^40 */
    LAT_REPLY_BYTES = 5,    /* a word of a reply */
    LAT_FLOOD = 31,         /* flooding is the sum of four integers uniform in 31 bits, centred */
    LAT_KEY = 48,           /* the host uses the public key modulo 2^48, scaled by 2^16 */
    LAT_PRIMES = 3,         /* for products modulo 2^64; two do modulo 2^40 */
    LAT_WINDOW = 2 * LAT_N, /* words: an element of A and its negative, so that rotations are stretches */
    LAT_STRIDE =
        LAT_N + LAT_PACK /* an element with its last 8 words, negated, before it (B at the host); or a sum of
                                   * shifted elements, its first 8 words to come, negated, from behind it (A) */
};

struct lattice_hat {
    _Alignas(64) uint32_t r[LAT_PRIMES][LAT_N]; /* below the prime */
};

/* Constants of the three transforms; Montgomery form with 2^32 where a product uses them. */
struct lattice_tables {
    const struct lattice_kernel *kernel;
    /* zeta[k] = psi^bitrev(k), inverse likewise with psi^-1; times each prime's inverse modulo 2^32 in *_p. */
    _Alignas(64) uint32_t zeta[LAT_PRIMES][LAT_N], zeta_p[LAT_PRIMES][LAT_N];
    _Alignas(64) uint32_t inv[LAT_PRIMES][LAT_N], inv_p[LAT_PRIMES][LAT_N];
    /* Those of the layers within a vector, as vectors across rows: lattice_lanes.h. */
    _Alignas(64) uint32_t last[LAT_PRIMES][LAT_N], last_p[LAT_PRIMES][LAT_N];
    _Alignas(64) uint32_t last_inv[LAT_PRIMES][LAT_N], last_inv_p[LAT_PRIMES][LAT_N];
    uint32_t p_inv[LAT_PRIMES];              /* 1/p modulo 2^32 */
    uint32_t r1[LAT_PRIMES], r2[LAT_PRIMES]; /* 2^32, 2^64 modulo p */
    uint32_t minus_half[LAT_PRIMES];         /* -2^63 modulo p */
    uint32_t scale[LAT_PRIMES];              /* 2^64 / 512 modulo p */
    uint32_t scale_low[LAT_PRIMES];          /* 2^96 / 512 modulo p */
    uint32_t inv01, inv02, inv12;            /* 1/p0 mod p1, 1/p0 mod p2, 1/p1 mod p2, Montgomery */
};
extern const uint32_t lattice_prime[LAT_PRIMES];

/* The rows of one bucket in a set of blocks: places begin to begin + n of a list. */
struct lattice_run {
    uint32_t begin, n;
};

/* `primes`: 3, or 2 where the result is below 2^59 in absolute value, so factors of words below 2^47. */
struct lattice_kernel {
    const char *name;
    int lanes; /* 32-bit words of a vector */
    void (*hat_small)(const struct lattice_tables *t, int primes, const int8_t *x, struct lattice_hat *out);
    void (*hat_word)(const struct lattice_tables *t, int primes, const uint64_t *x, struct lattice_hat *out);
    /* acc += x[0] y[0] + ... + x[4] y[4] */
    void (*dot)(const struct lattice_tables *t, int primes, const struct lattice_hat *x,
                const struct lattice_hat *y, uint64_t *acc);
    /* The first LAT_PACK coefficients of that, at less than half the price: out = ... */
    void (*dot_low)(const struct lattice_tables *t, int primes, const struct lattice_hat *x,
                    const struct lattice_hat *y, uint64_t *out);
    /* Sums of A: bucket b's is added to acc[b / 8] at word b % 8. win: the windows of a set of blocks. */
    void (*sum_masks)(const uint64_t *win, const struct lattice_run *run, size_t n_buckets,
                      const uint16_t *list, uint64_t (*acc)[LAT_STRIDE]);
    /* Sums of B: all words of one stream that are of use; block `slot` of the set at first + slot * stride. */
    void (*sum_words)(const uint64_t *first, size_t stride, const struct lattice_run *run, size_t n_buckets,
                      const uint16_t *list, uint64_t (*acc)[LAT_PACK]);
    /* acc[i] += bits set in random[i], random[n + i], random[2 n + i], less 24. */
    void (*noise)(const uint16_t *random, size_t n, uint64_t *acc);
    /* -1, 0 or 1, each for a third of the values of random[i] (one more for -1). */
    void (*ternary)(const uint16_t *random, size_t n, int8_t *out);
    /* Words modulo 2^40 to and from LAT_REPLY_BYTES each; pack rounds 2^64 to 2^40, unpack extends the sign. */
    void (*pack)(const uint64_t *x, size_t n, uint8_t *out);
    void (*unpack)(const uint8_t *in, size_t n, uint64_t *x);
};
extern const struct lattice_kernel lattice_portable, lattice_avx2, lattice_avx512;
/* The kernel of a level: for tests and benches; the level must be at most cpu_level(). */
const struct lattice_kernel *lattice_kernel_of(int level);
void lattice_tables_init(struct lattice_tables *t, const struct lattice_kernel *kernel);

/* --- arithmetic modulo a prime, without a branch ------------------------------------------------ */
static inline uint32_t mod_below(uint32_t x, uint32_t p) /* x below 2p to x below p */
{
    uint32_t y = x - p;
    return y + (p & (0 - (y >> 31)));
}

static inline uint32_t mod_redc(uint64_t x, uint32_t p,
                                uint32_t p_inv) /* x / 2^32 below 2p, for x below 2^32 p */
{
    uint32_t m = (uint32_t)x * p_inv;
    return (uint32_t)(x >> 32) + p - (uint32_t)((uint64_t)m * p >> 32);
}

/* Garner: x = x0 + p0 t1 + p0 p1 t2, and the last t tells the sign, for x is far below the product of the primes. */
static inline uint64_t mod_join(const struct lattice_tables *t, int primes, uint32_t x0, uint32_t x1,
                                uint32_t x2)
{
    const uint32_t *p = lattice_prime;
    const uint64_t p01 = (uint64_t)p[0] * p[1];
    uint32_t t1 = mod_below(mod_redc((uint64_t)(x1 + p[1] - x0) * t->inv01, p[1], t->p_inv[1]), p[1]);
    uint64_t x = x0 + (uint64_t)p[0] * t1;
    if (primes == 2) return x - (p01 & (0 - (uint64_t)((p[1] / 2 - t1) >> 31)));
    uint32_t y = mod_below(mod_redc((uint64_t)(x2 + p[2] - x0) * t->inv02, p[2], t->p_inv[2]), p[2]);
    uint32_t t2 = mod_below(mod_redc((uint64_t)(y + p[2] - t1) * t->inv12, p[2], t->p_inv[2]), p[2]);
    return x + p01 * t2 - (p01 * p[2] & (0 - (uint64_t)((p[2] / 2 - t2) >> 31)));
}

/* A place of a list: row i of block `slot` of a set, counted from its first one. */
static inline uint16_t lattice_place(size_t slot, size_t i)
{
    return (uint16_t)(slot * (LAT_WINDOW / LAT_PACK) + i);
}

/* --- shapes ------------------------------------------------------------------------------------ */
struct lattice_shape {
    size_t n_blocks; /* of rows; LAT_RANK more for the public key */
    size_t n_streams;
    int digits;   /* 1 or 2 of every stat */
    int low_bits; /* of the lower of two: value = low + 2^low_bits high */
};
status lattice_check_params(struct ctx *cx, const struct he_params *p);
struct lattice_shape lattice_shape(const struct he_params *p); /* of parameters that were checked */
size_t lattice_reply_bytes(const struct lattice_shape *s, size_t n_buckets); /* without the header */

/* As lattice_guest_decrypt, and the noise of each digit in units of 2^24: n_buckets times digits of a row. For tests. */
status lattice_guest_decrypt_noise(struct ctx *cx, struct lattice_guest *g, struct bytes reply,
                                   size_t n_buckets, int64_t *sums, int64_t *noise);

/* Block t's A from the job's seed: LAT_DIM words. */
void lattice_expand(struct prg *prg, size_t t, uint64_t *a);

/* --- room for one chunk of secret work --------------------------------------------------------- */
struct lattice_work {
    struct lattice_hat hat[LAT_RANK], other[LAT_RANK];
    _Alignas(64) uint64_t u[LAT_DIM], v[LAT_N];
    _Alignas(64) int8_t small[LAT_DIM];
    _Alignas(64) uint16_t random[3 * LAT_DIM];
    uint32_t flood[LAT_STREAMS * LAT_PACK * 4];
    size_t room; /* its number; LAT_ROOMS: none */
};
enum { LAT_ROOMS = 32 };
/* Secret memory is dear to make (locked pages), so it is kept for the next chunk. */
struct lattice_rooms {
    struct {
        atomic_bool taken;
        struct lattice_work *work;
    } room[LAT_ROOMS];
};
struct lattice_work *lattice_room_take(struct lattice_rooms *r); /* NULL: out of memory */
void lattice_room_give(struct lattice_rooms *r, struct lattice_work *w);
void lattice_rooms_free(struct lattice_rooms *r);
