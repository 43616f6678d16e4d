#include "crypto/paillier.h"
#include <string.h>

enum { SUM_BITS_MAX = 62 };

const char *paillier_set(int key_bits)
{
    return key_bits == 2048 ? "paillier-2048-v1" : key_bits == 3072 ? "paillier-3072-v1" : NULL;
}

int paillier_sum_bits_max(int key_bits, size_t n_rows, int n_stats)
{
    (void)n_rows;
    return paillier_set(key_bits) && n_stats >= 1 && n_stats <= 8 ? SUM_BITS_MAX : 0;
}

status paillier_check_params(struct ctx *cx, const struct he_params *p)
{
    if (p->scheme != HE_PAILLIER) return FAIL(cx, ARG, "not the paillier scheme");
    if (!paillier_set(p->key_bits))
        return FAIL(cx, ARG, "paillier key of %d bits, want 2048 or 3072", p->key_bits);
    if (p->n_rows < 1 || p->n_rows > 1ull << 31) return FAIL(cx, ARG, "%zu rows, want 1 to 2^31", p->n_rows);
    if (p->n_stats < 1 || p->n_stats > 8) return FAIL(cx, ARG, "%d integers a row, want 1 to 8", p->n_stats);
    if (p->sum_bits < 1) return FAIL(cx, ARG, "sums of %d bits", p->sum_bits);
    if (p->sum_bits > SUM_BITS_MAX)
        return FAIL(cx, LIMIT, "sums of %d bits, at most %d", p->sum_bits, SUM_BITS_MAX);
    return OK;
}

/* A plaintext of signed digits of w bits, c of them, is below 2^(w c - 1) in absolute value, and N/2 above
 * 2^(key_bits - 2). */
static size_t buckets_max(const struct he_params *p)
{
    return (size_t)((p->key_bits - 1) / (p->n_stats * (p->sum_bits + 1)));
}

void paillier_reply_shape(const struct he_params *p, size_t n_buckets, size_t *per_cipher, size_t *n_ciphers)
{
    size_t max = buckets_max(p), n = n_buckets / max + (n_buckets % max != 0);
    n = (n + 15) / 16 * 16;
    if (n > n_buckets) n = n_buckets;
    *per_cipher = n ? n_buckets / n + (n_buckets % n != 0) : 1;
    *n_ciphers = n_buckets / *per_cipher + (n_buckets % *per_cipher != 0);
}

status paillier_describe(struct ctx *cx, const struct he_params *p, struct he_info *out)
{
    TRY(paillier_check_params(cx, p));
    size_t cipher = (size_t)p->key_bits / 4;
    *out = (struct he_info){
        .scheme = "paillier",
        .set = paillier_set(p->key_bits),
        .security_bits = p->key_bits == 2048 ? 112 : 128,
        .flood_bits = 0,
        .row_bytes = cipher,
        .bucket_bytes = cipher / buckets_max(p),
    };
    return OK;
}
