/* gbdt_goss.c - gradient-based one-side sampling (Ke et al., LightGBM, NIPS '17, algorithm 2). */
#include "base/secret.h"
#include "learn/gbdt_int.h"
#include <math.h>
#include <string.h>

#define DIGIT_BITS 11

static size_t part_of(double rate, size_t n)
{
    return (size_t)(rate * (double)n);
}

size_t gbdt_goss_rows(const struct gbdt_params *p, size_t n)
{
    return part_of(p->top_rate, n) + part_of(p->other_rate, n);
}

/* The k-th largest of n keys, k from 1; *above: how many keys are larger. Most significant digit first. */
static uint64_t kth_largest(const uint64_t *key, size_t n, size_t k, size_t *above)
{
    uint64_t prefix = 0, known = 0;
    size_t left = k;
    for (int shift = 5 * DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        size_t count[1 << DIGIT_BITS] = {0}, d = (1 << DIGIT_BITS) - 1;
        for (size_t i = 0; i < n; i++)
            if ((key[i] & known) == prefix) count[key[i] >> shift & ((1 << DIGIT_BITS) - 1)]++;
        for (; count[d] < left; d--)
            left -= count[d];
        prefix |= (uint64_t)d << shift;
        known |= (uint64_t)((1 << DIGIT_BITS) - 1) << shift;
    }
    *above = k - left;
    return prefix;
}

void goss_draw(const struct gbdt_params *p, uint64_t seed, size_t n, double *g, double *h, uint64_t *key,
               uint32_t *order)
{
    size_t n_top = part_of(p->top_rate, n), need = part_of(p->other_rate, n), left = n - n_top, above = 0;
    size_t train = 0, rest = n_top + need;
    double factor = (1 - p->top_rate) / p->other_rate;
    for (size_t i = 0; i < n; i++) { /* as integers, doubles of one sign have the same order */
        double a = fabs(g[i]);
        memcpy(&key[i], &a, sizeof a);
    }
    uint64_t least = kth_largest(key, n, n_top, &above);
    size_t ties = n_top - above; /* of equal ones the first rows are kept */
    struct shuffle s = shuffle_new(seed);
    for (size_t i = 0; i < n; i++) {
        bool top = key[i] > least || (key[i] == least && ties > 0);
        if (top) {
            ties -= key[i] == least;
            order[train++] = (uint32_t)i;
        } else if (shuffle_below(&s, left--) < need) { /* selection sampling (Knuth, 3.4.2 S) */
            need--;
            g[i] *= factor, h[i] *= factor;
            order[train++] = (uint32_t)i;
        } else {
            order[rest++] = (uint32_t)i;
        }
    }
}
