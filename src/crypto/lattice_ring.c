#include "crypto/lattice_ring.h"
#include "crypto/lattice_samples.h"
#include "base/cpu.h"
#include "base/secret.h"

/* The three largest primes below 2^30 that are 1 modulo 1024, rising: psi of order 1024 exists modulo each. */
const uint32_t lattice_prime[LAT_PRIMES] = {1073707009, 1073732609, 1073738753};

/* --- constants --------------------------------------------------------------------------------- */
static uint32_t mod_mul(uint32_t a, uint32_t b, uint32_t p)
{
    return (uint32_t)((uint64_t)a * b % p);
}

static uint32_t mod_pow(uint32_t a, uint32_t e, uint32_t p)
{
    uint32_t r = 1;
    for (; e; e >>= 1, a = mod_mul(a, a, p))
        if (e & 1) r = mod_mul(r, a, p);
    return r;
}

static uint32_t root(uint32_t p) /* psi: psi^512 = -1 */
{
    for (uint32_t g = 2;; g++) {
        uint32_t psi = mod_pow(g, (p - 1) / (2 * LAT_N), p);
        if (mod_pow(psi, LAT_N, p) == p - 1) return psi;
    }
}

static uint32_t reversed(uint32_t k, int bits)
{
    uint32_t r = 0;
    for (int i = 0; i < bits; i++)
        r |= (k >> i & 1) << (bits - 1 - i);
    return r;
}

/* Rows of `lanes` words; once they are transposed, lane l of the vectors of group g is row g lanes + l. The layer
 * with blocks of 2 len words in a row needs one vector for each of its lanes / (2 len) blocks. */
static void last_layers(const uint32_t *zeta, size_t lanes, uint32_t *out)
{
    for (size_t g = 0; g < LAT_N / (lanes * lanes); g++)
        for (size_t blocks = 1; blocks < lanes; blocks *= 2)
            for (size_t c = 0; c < blocks; c++, out += lanes)
                for (size_t l = 0; l < lanes; l++)
                    out[l] = zeta[LAT_N / lanes * blocks + (g * lanes + l) * blocks + c];
}

void lattice_tables_init(struct lattice_tables *t, const struct lattice_kernel *kernel)
{
    t->kernel = kernel;
    for (int i = 0; i < LAT_PRIMES; i++) {
        uint32_t p = lattice_prime[i], r1 = (uint32_t)((1ull << 32) % p), r2 = mod_mul(r1, r1, p), x = 1;
        for (int k = 0; k < 5; k++) /* Newton */
            x *= 2 - p * x;
        uint32_t psi = root(p), psi_inv = mod_pow(psi, p - 2, p);
        t->p_inv[i] = x;
        t->r1[i] = r1;
        t->r2[i] = r2;
        t->minus_half[i] = p - mod_mul(r2, (p + 1) / 2, p);
        t->scale[i] = mod_mul(r2, mod_pow(LAT_N, p - 2, p), p);
        t->scale_low[i] = mod_mul(t->scale[i], r1, p);
        for (uint32_t k = 0; k < LAT_N; k++) {
            t->zeta[i][k] = mod_mul(mod_pow(psi, reversed(k, 9), p), r1, p);
            t->inv[i][k] = mod_mul(mod_pow(psi_inv, reversed(k, 9), p), r1, p);
        }
        if (kernel->lanes > 1) {
            last_layers(t->zeta[i], (size_t)kernel->lanes, t->last[i]);
            last_layers(t->inv[i], (size_t)kernel->lanes, t->last_inv[i]);
        }
        for (size_t k = 0; k < LAT_N; k++) {
            t->zeta_p[i][k] = t->zeta[i][k] * x;
            t->inv_p[i][k] = t->inv[i][k] * x;
            t->last_p[i][k] = t->last[i][k] * x;
            t->last_inv_p[i][k] = t->last_inv[i][k] * x;
        }
    }
    const uint32_t *p = lattice_prime;
    t->inv01 = mod_mul(mod_pow(p[0], p[1] - 2, p[1]), t->r1[1], p[1]);
    t->inv02 = mod_mul(mod_pow(p[0], p[2] - 2, p[2]), t->r1[2], p[2]);
    t->inv12 = mod_mul(mod_pow(p[1], p[2] - 2, p[2]), t->r1[2], p[2]);
}

/* --- the portable kernel ------------------------------------------------------------------------- */
static void forward(const struct lattice_tables *t, int i, uint32_t *x)
{
    const uint32_t p = lattice_prime[i], *zeta = t->zeta[i];
    for (size_t len = LAT_N / 2, blocks = 1; len; len /= 2, blocks *= 2)
        for (size_t b = 0; b < blocks; b++)
            for (size_t j = 2 * b * len; j < (2 * b + 1) * len; j++) {
                uint32_t y = mod_below(mod_redc((uint64_t)x[j + len] * zeta[blocks + b], p, t->p_inv[i]), p);
                x[j + len] = mod_below(x[j] + p - y, p);
                x[j] = mod_below(x[j] + y, p);
            }
}

static void backward(const struct lattice_tables *t, int i, uint32_t *x)
{
    const uint32_t p = lattice_prime[i], *inv = t->inv[i];
    for (size_t len = 1, blocks = LAT_N / 2; blocks; len *= 2, blocks /= 2)
        for (size_t b = 0; b < blocks; b++)
            for (size_t j = 2 * b * len; j < (2 * b + 1) * len; j++) {
                uint32_t y = x[j] + p - x[j + len];
                x[j] = mod_below(x[j] + x[j + len], p);
                x[j + len] = mod_below(mod_redc((uint64_t)y * inv[blocks + b], p, t->p_inv[i]), p);
            }
}

static void hat_small(const struct lattice_tables *t, int primes, const int8_t *x, struct lattice_hat *out)
{
    for (int i = 0; i < primes; i++) {
        for (size_t k = 0; k < LAT_N; k++)
            out->r[i][k] = (uint32_t)x[k] + (lattice_prime[i] & (0 - ((uint32_t)x[k] >> 31)));
        forward(t, i, out->r[i]);
    }
}

static void hat_word(const struct lattice_tables *t, int primes, const uint64_t *x, struct lattice_hat *out)
{
    for (int i = 0; i < primes; i++) {
        uint32_t p = lattice_prime[i];
        for (size_t k = 0; k < LAT_N; k++) { /* x + 2^63, and that off again */
            uint64_t y = x[k] ^ 1ull << 63;
            uint32_t lo = mod_below(mod_redc((y & UINT32_MAX) * t->r1[i], p, t->p_inv[i]), p);
            uint32_t hi = mod_below(mod_redc((y >> 32) * t->r2[i], p, t->p_inv[i]), p);
            out->r[i][k] = mod_below(mod_below(lo + hi, p) + t->minus_half[i], p);
        }
        forward(t, i, out->r[i]);
    }
}

static void dot(const struct lattice_tables *t, int primes, const struct lattice_hat *x,
                const struct lattice_hat *y, uint64_t *acc)
{
    uint32_t s[LAT_PRIMES][LAT_N] = {{0}};
    for (int i = 0; i < primes; i++) {
        uint32_t p = lattice_prime[i];
        for (size_t k = 0; k < LAT_N; k++) {
            s[i][k] = 0;
            for (int j = 0; j < LAT_RANK; j++)
                s[i][k] = mod_below(
                    s[i][k] + mod_below(mod_redc((uint64_t)x[j].r[i][k] * y[j].r[i][k], p, t->p_inv[i]), p),
                    p);
        }
        backward(t, i, s[i]);
        for (size_t k = 0; k < LAT_N; k++)
            s[i][k] = mod_below(mod_redc((uint64_t)s[i][k] * t->scale[i], p, t->p_inv[i]), p);
    }
    for (size_t k = 0; k < LAT_N; k++)
        acc[k] += mod_join(t, primes, s[0][k], s[1][k], s[2][k]);
    secret_wipe(s, sizeof s);
}

static void dot_low(const struct lattice_tables *t, int primes, const struct lattice_hat *x,
                    const struct lattice_hat *y, uint64_t *out)
{
    uint64_t all[LAT_N] = {0};
    dot(t, primes, x, y, all);
    memcpy(out, all, LAT_PACK * sizeof *out);
    secret_wipe(all, sizeof all);
}

static void sum_masks(const uint64_t *win, const struct lattice_run *run, size_t n_buckets,
                      const uint16_t *list, uint64_t (*acc)[LAT_STRIDE])
{
    for (size_t b = 0; b < n_buckets; b++) {
        uint64_t *to = acc[b / LAT_PACK] + b % LAT_PACK;
        for (size_t i = run[b].begin; i < run[b].begin + run[b].n; i++)
            for (size_t k = 0; k < LAT_N; k++)
                to[k] += win[LAT_PACK * (size_t)list[i] + k];
    }
}

static void sum_words(const uint64_t *first, size_t stride, const struct lattice_run *run, size_t n_buckets,
                      const uint16_t *list, uint64_t (*acc)[LAT_PACK])
{
    for (size_t b = 0; b < n_buckets; b++)
        for (size_t i = run[b].begin; i < run[b].begin + run[b].n; i++) {
            size_t row = list[i] % (LAT_WINDOW / LAT_PACK);
            const uint64_t *from =
                first + list[i] / (LAT_WINDOW / LAT_PACK) * stride + LAT_PACK * (row + 1) - b % LAT_PACK;
            for (size_t k = 0; k < LAT_PACK; k++)
                acc[b / LAT_PACK][k] += from[k];
        }
}

const struct lattice_kernel lattice_portable = {"portable", 1,         hat_small, hat_word, dot,  dot_low,
                                                sum_masks,  sum_words, noise,     ternary,  pack, unpack};

const struct lattice_kernel *lattice_kernel_of(int level)
{
#ifdef __x86_64__
    if (level >= CPU_AVX512) return &lattice_avx512;
    if (level == CPU_AVX2) return &lattice_avx2;
#endif
    (void)level;
    return &lattice_portable;
}

/* --- shared by guest and host -------------------------------------------------------------------- */
void lattice_expand(struct prg *prg, size_t t, uint64_t *a)
{
    prg_seek(prg, t);
    prg_bytes(prg, a, LAT_DIM * sizeof *a);
}

struct lattice_work *lattice_room_take(struct lattice_rooms *r)
{
    size_t i = 0;
    while (i < LAT_ROOMS && atomic_exchange(&r->room[i].taken, true))
        i++;
    struct lattice_work *w = i < LAT_ROOMS ? r->room[i].work : NULL;
    if (!w) w = secret_alloc(sizeof *w);
    if (w) w->room = i;
    if (i == LAT_ROOMS) return w;
    r->room[i].work = w;
    if (!w) atomic_store(&r->room[i].taken, false);
    return w;
}

void lattice_room_give(struct lattice_rooms *r, struct lattice_work *w)
{
    if (!w) return;
    size_t i = w->room;
    secret_wipe(w, sizeof *w);
    if (i < LAT_ROOMS)
        atomic_store(&r->room[i].taken, false);
    else
        secret_free(w);
}

void lattice_rooms_free(struct lattice_rooms *r)
{
    for (size_t i = 0; i < LAT_ROOMS; i++)
        secret_free(r->room[i].work);
}
