#include "crypto/lattice_ring.h"
#include <math.h>

/* The most bits of a lower digit: |digit| <= 2^(bits - 1), so n_rows of them stay below 2^29. */
static int low_bits(size_t n_rows)
{
    int w = 0;
    while (w < LAT_DIGIT && n_rows << w < 1ull << LAT_DIGIT)
        w++;
    return w;
}

/* With value = low + 2^w high, |high| <= (|value| + 2^(w-1)) / 2^w: sums below 2^(sum_bits - w) + n_rows / 2. */
int lattice_sum_bits_max(size_t n_rows, int n_stats)
{
    if (n_rows < 1 || n_rows > 1ull << 31 || n_stats < 1 || n_stats > 8) return 0;
    int w = low_bits(n_rows), high = 0;
    while (w && (1ull << (high + 1)) + n_rows / 2 < 1ull << LAT_DIGIT)
        high++;
    return w + high > LAT_DIGIT ? w + high : LAT_DIGIT;
}

status lattice_check_params(struct ctx *cx, const struct he_params *p)
{
    if (p->scheme != HE_LATTICE) return FAIL(cx, ARG, "not the lattice scheme");
    if (p->key_bits != 0) return FAIL(cx, ARG, "lattice has no key of %d bits, want 0", p->key_bits);
    if (p->n_rows < 1 || p->n_rows > 1ull << 31) return FAIL(cx, ARG, "%zu rows, want 1 to 2^31", p->n_rows);
    if (p->n_stats < 1 || p->n_stats > 8) return FAIL(cx, ARG, "%d integers a row, want 1 to 8", p->n_stats);
    if (p->sum_bits < 1) return FAIL(cx, ARG, "sums of %d bits", p->sum_bits);
    int max = lattice_sum_bits_max(p->n_rows, p->n_stats);
    if (p->sum_bits > max)
        return FAIL(cx, LIMIT, "sums of %d bits, at most %d for %zu rows", p->sum_bits, max, p->n_rows);
    return OK;
}

struct lattice_shape lattice_shape(const struct he_params *p)
{
    struct lattice_shape s = {.n_blocks = (p->n_rows + LAT_ROWS - 1) / LAT_ROWS,
                              .digits = p->sum_bits > LAT_DIGIT ? 2 : 1,
                              .low_bits = low_bits(p->n_rows)};
    s.n_streams = (size_t)p->n_stats * (size_t)s.digits;
    return s;
}

size_t lattice_reply_bytes(const struct lattice_shape *s, size_t n_buckets)
{
    size_t groups = n_buckets / LAT_PACK + (n_buckets % LAT_PACK != 0);
    return groups * (LAT_DIM + LAT_PACK * s->n_streams) * LAT_REPLY_BYTES;
}

status lattice_describe(struct ctx *cx, const struct he_params *p, struct he_info *out)
{
    TRY(lattice_check_params(cx, p));
    struct lattice_shape s = lattice_shape(p);
    /* Variances: every coefficient of the rows' blocks at the worst, and four uniform integers. */
    double hidden = 12.0 * LAT_N * (double)s.n_blocks, flood = 4 * ldexp(1, 2 * LAT_FLOOD) / 12;
    *out = (struct he_info){
        .scheme = "lattice",
        .set = LATTICE_SET,
        .security_bits = 128,
        .flood_bits = (int)floor(log2(flood / hidden) / 2),
        .row_bytes = s.n_streams * LAT_PACK * 8,
        .bucket_bytes = (LAT_DIM + LAT_PACK * s.n_streams) * LAT_REPLY_BYTES / LAT_PACK,
    };
    return OK;
}
