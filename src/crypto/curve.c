#include "crypto/curve_kernel.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include <sodium.h>

/* The portable kernel's field: one element, five limbs of 51 bits, 128-bit products. Sums are carried lazily:
 * an operand's limbs are below 2^54, a product's below 2^51 + 2^18. */
#define LANES 1
struct fe {
    uint64_t l[5];
};

static inline void fe_carry(struct fe *r, unsigned __int128 z[5])
{
#pragma GCC unroll 10
    for (int i = 0; i < 4; i++) {
        z[i + 1] += z[i] >> 51;
        r->l[i] = (uint64_t)z[i] & LOW51;
    }
    r->l[4] = (uint64_t)z[4] & LOW51;
    unsigned __int128 low = r->l[0] + 19 * (z[4] >> 51);
    r->l[0] = (uint64_t)low & LOW51;
    r->l[1] += (uint64_t)(low >> 51);
}

static inline void fe_mul(struct fe *r, const struct fe *a, const struct fe *b)
{
    unsigned __int128 z[5] = {0};
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
#pragma GCC unroll 10
        for (int j = 0; j < 5; j++)
            z[(i + j) % 5] += (unsigned __int128)a->l[i] * (i + j < 5 ? b->l[j] : 19 * b->l[j]);
    fe_carry(r, z);
}

static inline void fe_sqr(struct fe *r, const struct fe *a)
{
    fe_mul(r, a, a);
}

static inline void fe_add(struct fe *r, const struct fe *a, const struct fe *b)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        r->l[i] = a->l[i] + b->l[i];
}

/* a + 4p - b, for b below 2^53. */
static inline void fe_sub(struct fe *r, const struct fe *a, const struct fe *b)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        r->l[i] = a->l[i] + ((1ull << 53) - (i ? 4 : 76)) - b->l[i];
}

static inline void fe_mul_add_small(struct fe *r, const struct fe *a, const struct fe *e)
{
    unsigned __int128 z[5];
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        z[i] = (unsigned __int128)e->l[i] * 121665 + a->l[i];
    fe_carry(r, z);
}

static inline void fe_small(struct fe *r, uint32_t x)
{
    *r = (struct fe){{x}};
}

static inline void fe_swap(uint64_t mask, struct fe *a, struct fe *b)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++) {
        uint64_t t = mask & (a->l[i] ^ b->l[i]);
        a->l[i] ^= t;
        b->l[i] ^= t;
    }
}

static inline void fe_select(struct fe *r, const uint64_t mask[LANES], const struct fe *a, const struct fe *b)
{
#pragma GCC unroll 10
    for (int i = 0; i < 5; i++)
        r->l[i] = b->l[i] ^ (mask[0] & (a->l[i] ^ b->l[i]));
}

static inline void fe_of_limbs(struct fe *r, const uint64_t h[LANES][5])
{
    memcpy(r->l, h[0], sizeof r->l);
}

static inline void fe_to_limbs(uint64_t h[LANES][5], const struct fe *a)
{
    memcpy(h[0], a->l, sizeof a->l);
}

#include "crypto/curve_lanes.h"

static void sodium_mul(const uint8_t k[32], const uint8_t (*in)[32], size_t n, uint8_t (*out)[32])
{
    for (size_t i = 0; i < n; i++) {
        uint8_t u[32];
        memcpy(u, in[i], 32);
        memset(out[i], 0, 32); /* libsodium writes nothing, or zero, for a point of small order */
        int zero = crypto_scalarmult_curve25519(out[i], k, u);
        (void)zero;
    }
}

const struct curve_kernel curve_portable = {"portable", sodium_mul, lanes_map};
const struct curve_kernel curve_plain = {"plain", lanes_mul, lanes_map};

const struct curve_kernel *curve_kernel_of(int level)
{
    return level >= CPU_AVX512 ? &curve_avx512 : level >= CPU_AVX2 ? &curve_avx2 : &curve_portable;
}

struct curve_scalar {
    uint8_t k[32];
};

status curve_scalar_new(struct ctx *cx, struct curve_scalar **out)
{
    CLEANUP(curve_scalar_freep) struct curve_scalar *s = secret_alloc(sizeof *s);
    if (!s) return FAIL(cx, NOMEM, "a scalar");
    TRY(rand_bytes(cx, s->k, sizeof s->k));
    s->k[0] &= 248;
    s->k[31] = (uint8_t)((s->k[31] & 127) | 64);
    *out = TAKE(s);
    return OK;
}

void curve_scalar_free(struct curve_scalar *s)
{
    secret_free(s);
}

void curve_scalar_freep(struct curve_scalar **s)
{
    curve_scalar_free(*s);
    *s = NULL;
}

void curve_map(const uint8_t (*in)[64], size_t n, uint8_t (*out)[CURVE_BYTES])
{
    curve_kernel_of((int)cpu_level())->map(in, n, out);
}

struct mul_job {
    const struct curve_kernel *kernel;
    const uint8_t *k;
    const uint8_t (*in)[32];
    uint8_t (*out)[32];
};

static status mul_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct mul_job *j = arg;
    static const uint8_t zero[32];
    (void)chunk;
    j->kernel->mul(j->k, j->in + begin, end - begin, j->out + begin);
    for (size_t i = begin; i < end; i++)
        if (memcmp(j->out[i], zero, 32) == 0) return FAIL(cx, PROTO, "point %zu has small order", i);
    return OK;
}

status curve_mul(struct ctx *cx, const struct curve_scalar *s, const uint8_t (*in)[CURVE_BYTES], size_t n,
                 uint8_t (*out)[CURVE_BYTES])
{
    struct mul_job j = {curve_kernel_of((int)cpu_level()), s->k, in, out};
    return pool_for(cx, n, 256, mul_chunk,
                    &j); /* 256 points: 2 shared inversions of 128 in the widest kernel */
}
