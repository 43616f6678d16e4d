#include "crypto/paillier.h"
#include "crypto/mont.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include <gmp.h>
#include <string.h>

enum {
    LANES = 8,
    LOAD = 64,        /* rows converted in one chunk */
    SEGMENT = 64,     /* factors that one partial product takes */
    SEGMENTS = 16,    /* partial products made in one chunk */
    BLOCK = 4 << 20,  /* (row, group of features) pairs sorted into joint bins at a time, */
    JOINT = 1 << 16,  /* and joint bins that have products at a time */
    NOISE_EXTRA = 64, /* bits of r above those of N: r modulo the order is within 2^-64 of uniform */
};

struct paillier_host {
    struct he_params params;
    struct arena *mem;       /* this struct, the modulus, the table */
    struct arena *batch_mem; /* the rows */
    uint8_t id[PAILLIER_ID];
    uint64_t batch; /* 0 = none loaded */
    size_t w;
    struct mont *n;
    struct mont_table noise; /* powers of h_s */
    uint64_t *rows;          /* n_rows Montgomery elements */
};

void paillier_host_free(struct paillier_host *h)
{
    if (!h) return;
    arena_free(h->batch_mem);
    arena_free(h->mem);
}

void paillier_host_freep(struct paillier_host **h)
{
    paillier_host_free(*h);
    *h = NULL;
}

const struct he_params *paillier_host_params(const struct paillier_host *h)
{
    return &h->params;
}

/* lo, hi of a residue modulo N^2 from the wire, little-endian words: both below N, lo not zero (a multiple of
 * N is no cipher). */
static bool read_residue(const struct mont *n, const uint8_t *p, uint64_t *lo, uint64_t *hi)
{
    uint64_t t[MONT_WORDS];
    mp_size_t w = (mp_size_t)n->n_words;
    memcpy(lo, p, 8 * n->n_words);
    memcpy(hi, p + 8 * n->n_words, 8 * n->n_words);
    return mpn_sub_n(t, lo, n->n64, w) && mpn_sub_n(t, hi, n->n64, w) && !mpn_zero_p(lo, w);
}

static status read_params(struct ctx *cx, struct reader *r, struct he_params *p, const uint8_t **id)
{
    uint8_t version, n_stats, sum_bits;
    uint64_t n_rows;
    const char *set;
    TRY(reader_u8(cx, r, &version));
    if (version != PAILLIER_VERSION) return FAIL(cx, PROTO, "version %u, want %u", version, PAILLIER_VERSION);
    TRY(reader_str(cx, r, 64, &set));
    int key_bits = strcmp(set, paillier_set(2048)) == 0   ? 2048
                   : strcmp(set, paillier_set(3072)) == 0 ? 3072
                                                          : 0;
    if (!key_bits) return FAIL(cx, PROTO, "unknown parameter set \"%s\"", set);
    TRY(reader_bytes(cx, r, PAILLIER_ID, id));
    TRY(reader_u64(cx, r, &n_rows));
    TRY(reader_u8(cx, r, &n_stats));
    TRY(reader_u8(cx, r, &sum_bits));
    *p = (struct he_params){HE_PAILLIER, key_bits, n_rows, n_stats, sum_bits};
    if (paillier_check_params(cx, p).code)
        return FAIL(cx, PROTO, "%u integers of %u bits in %llu rows", n_stats, sum_bits,
                    (unsigned long long)n_rows);
    return OK;
}

status paillier_host_open(struct ctx *cx, struct bytes pub, struct paillier_host **out)
{
    struct reader r = reader_of(pub.p, pub.n);
    struct he_params params = {0};
    const uint8_t *id = NULL, *n_bytes, *h_bytes;
    TRY_IN(cx, read_params(cx, &r, &params, &id), "paillier key");
    size_t w = (size_t)params.key_bits / 64;
    TRY_IN(cx, reader_bytes(cx, &r, 8 * w, &n_bytes), "paillier key");
    TRY_IN(cx, reader_bytes(cx, &r, 16 * w, &h_bytes), "paillier key");
    TRY_IN(cx, reader_end(cx, &r), "paillier key");

    struct arena *mem = arena_new(0);
    struct paillier_host *h = mem ? arena_alloc(mem, sizeof *h, 64) : NULL;
    if (!h) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "a host's key");
    }
    h->mem = mem;
    CLEANUP(paillier_host_freep) struct paillier_host *guard = h;
    h->batch_mem = arena_new(0);
    h->n = arena_alloc(mem, sizeof *h->n, 64);
    if (!h->batch_mem || !h->n) return FAIL(cx, NOMEM, "a host's key");
    h->params = params;
    h->w = w;
    memcpy(h->id, id, sizeof h->id);

    uint64_t n[MONT_WORDS], lo[MONT_WORDS], hi[MONT_WORDS], base[MONT_ELEM], *b = base;
    memcpy(n, n_bytes, 8 * w);
    if (!(n[0] & 1) || !(n[w - 1] >> 63))
        return FAIL(cx, PROTO, "paillier key: N is even or not of %zu bits", 64 * w);
    TRY(mont_init(cx, h->n, n, w));
    if (!read_residue(h->n, h_bytes, lo, hi))
        return FAIL(cx, PROTO, "paillier key: h is not a residue modulo N^2");
    mont_load(h->n, lo, hi, base);
    const uint64_t *from = base, *rr = h->n->rr;
    mont_mul(h->n, 1, &b, &from, &rr);

    size_t e_bits = 64 * w + NOISE_EXTRA, words = mont_table_words(h->n, e_bits);
    uint64_t *table = arena_alloc_n(mem, words, sizeof *table, 64);
    struct arena *scratch_mem = arena_new(0);
    uint64_t *scratch =
        scratch_mem ? arena_alloc_n(scratch_mem, mont_table_scratch(h->n, e_bits), sizeof *scratch, 64)
                    : NULL;
    if (table && scratch) mont_table_fill(&h->noise, h->n, base, e_bits, table, scratch);
    arena_free(scratch_mem);
    if (!table || !scratch) return FAIL(cx, NOMEM, "tables of %zu KiB", words >> 7);
    *out = TAKE(guard);
    return OK;
}

/* --- a batch ----------------------------------------------------------------------------------- */
struct load_job {
    struct paillier_host *h;
    const uint8_t *ciphers;
    uint64_t *rows;
};

static status load_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct load_job *j = arg;
    const struct mont *n = j->h->n;
    uint64_t *x[LOAD];
    const uint64_t *rr[LOAD];
    (void)chunk;
    for (size_t i = begin; i < end; i++) {
        uint64_t lo[MONT_WORDS], hi[MONT_WORDS];
        if (!read_residue(n, j->ciphers + i * 16 * n->n_words, lo, hi))
            return FAIL(cx, PROTO,
                        "paillier batch: row %zu is not a cipher: not below N^2, or a multiple of N", i);
        x[i - begin] = j->rows + i * n->elem_words;
        rr[i - begin] = n->rr;
        mont_load(n, lo, hi, x[i - begin]);
    }
    mont_mul(n, end - begin, x, (const uint64_t *const *)x, rr);
    return ctx_check(cx);
}

status paillier_host_load(struct ctx *cx, struct paillier_host *h, struct bytes batch)
{
    struct reader r = reader_of(batch.p, batch.n);
    uint8_t version;
    const uint8_t *id;
    uint64_t number, n_rows;
    TRY_IN(cx, reader_u8(cx, &r, &version), "paillier batch");
    if (version != PAILLIER_VERSION) return FAIL(cx, PROTO, "paillier batch of version %u", version);
    TRY_IN(cx, reader_bytes(cx, &r, PAILLIER_ID, &id), "paillier batch");
    TRY_IN(cx, reader_u64(cx, &r, &number), "paillier batch");
    TRY_IN(cx, reader_u64(cx, &r, &n_rows), "paillier batch");
    if (memcmp(id, h->id, PAILLIER_ID) != 0) return FAIL(cx, PROTO, "paillier batch of another key");
    if (number == 0) return FAIL(cx, PROTO, "paillier batch without a number");
    if (n_rows != h->params.n_rows || reader_left(&r) != n_rows * 16 * h->w)
        return FAIL(cx, PROTO, "paillier batch of %llu rows in %zu bytes, want %zu rows of %zu",
                    (unsigned long long)n_rows, reader_left(&r), h->params.n_rows, 16 * h->w);
    h->batch = 0;
    arena_reset(h->batch_mem);
    h->rows = arena_alloc_n(h->batch_mem, n_rows * h->n->elem_words, sizeof *h->rows, 64);
    if (!h->rows) return FAIL(cx, NOMEM, "a batch of %llu rows", (unsigned long long)n_rows);
    struct load_job j = {h, r.p, h->rows};
    TRY(pool_for(cx, n_rows, LOAD, load_chunk, &j));
    h->batch = number;
    return OK;
}

/* --- sums -------------------------------------------------------------------------------------- */
/* Factors sorted by bucket: bucket b has item[start[b]] to item[start[b + 1] - 1]. */
struct factors {
    size_t n_buckets;
    size_t *start;
    const uint64_t **item;
};

/* Partial product k takes item[begin[k]] to item[begin[k] + count[k] - 1], at most SEGMENT of them, to out.
 */
struct reduce_job {
    const struct mont *n;
    const uint64_t **item;
    const size_t *begin;
    const uint8_t *count;
    uint64_t *out;
};

/* Pairs of factors of every segment side by side, then pairs of the products, until each segment has one. The
 * products of a round go to the place of its first factors, those of the first round to scratch. */
static status reduce_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct reduce_job *j = arg;
    size_t len = j->n->elem_words, n_segments = end - begin, scratch_used = 0;
    const size_t pairs_max = (size_t)SEGMENTS * SEGMENT / 2;
    uint64_t *scratch = NEW(cx, uint64_t, pairs_max * len);
    const uint64_t **cur = NEW(cx, const uint64_t *, 2 * pairs_max);
    const uint64_t **a = NEW(cx, const uint64_t *, pairs_max), **b = NEW(cx, const uint64_t *, pairs_max);
    uint64_t **to = NEW(cx, uint64_t *, pairs_max);
    size_t count[SEGMENTS], at = 0;
    (void)chunk;
    if (!scratch || !cur || !a || !b || !to) return FAIL(cx, NOMEM, "room for products");
    for (size_t s = 0; s < n_segments; s++) {
        count[s] = j->count[begin + s];
        memcpy(cur + s * SEGMENT, j->item + j->begin[begin + s], count[s] * sizeof *cur);
    }
    for (bool first = true;; first = false) {
        size_t n = 0;
        for (size_t s = 0; s < n_segments; s++) {
            const uint64_t **c = cur + s * SEGMENT;
            size_t pairs = count[s] / 2;
            for (size_t i = 0; i < pairs; i++, n++) {
                a[n] = c[2 * i];
                b[n] = c[2 * i + 1];
                /* the last round's product is the segment's */
                if (count[s] == 2)
                    to[n] = j->out + (begin + s) * len;
                else
                    to[n] = scratch + (first ? scratch_used++ : (size_t)(a[n] - scratch) / len) * len;
                c[i] = to[n];
            }
            if (count[s] % 2) c[pairs] = c[count[s] - 1];
            count[s] -= pairs;
        }
        if (!n) break;
        mont_mul(j->n, n, to, a, b);
    }
    for (; at < n_segments; at++) /* segments of one factor were never multiplied */
        if (j->count[begin + at] == 1)
            memcpy(j->out + (begin + at) * len, cur[at * SEGMENT], len * sizeof *scratch);
    return ctx_check(cx);
}

/* Multiplies together the factors of each bucket; afterwards a bucket has one item or none. Results in
 * cx->mem. */
static status reduce(struct ctx *cx, const struct mont *n, struct factors *f)
{
    for (;;) {
        size_t n_segments = 0, longest = 0;
        for (size_t b = 0; b < f->n_buckets; b++) {
            size_t k = f->start[b + 1] - f->start[b];
            n_segments += k / SEGMENT + (k % SEGMENT != 0);
            if (k > longest) longest = k;
        }
        if (longest <= 1) return OK;
        size_t *begin = NEW(cx, size_t, n_segments), *start = NEW(cx, size_t, f->n_buckets + 1), s = 0;
        uint8_t *count = NEW(cx, uint8_t, n_segments);
        uint64_t *products = NEW(cx, uint64_t, n_segments * n->elem_words);
        const uint64_t **item = NEW(cx, const uint64_t *, n_segments);
        if (!begin || !start || !count || !products || !item)
            return FAIL(cx, NOMEM, "room for partial products");
        for (size_t b = 0; b < f->n_buckets; b++) {
            start[b] = s;
            for (size_t i = f->start[b]; i < f->start[b + 1]; i += SEGMENT, s++) {
                size_t left = f->start[b + 1] - i;
                begin[s] = i;
                count[s] = (uint8_t)(left < SEGMENT ? left : SEGMENT);
                item[s] = products + s * n->elem_words;
            }
        }
        start[f->n_buckets] = s;
        struct reduce_job j = {n, f->item, begin, count, products};
        TRY(pool_for(cx, n_segments, SEGMENTS, reduce_chunk, &j));
        f->start = start;
        f->item = item;
    }
}

/* Features that share their additions: rows are added up once by the joint bins of all of them, and the joint
 * products once more by the bins of each. Worth it when joint bins are few beside the rows ("Four Russians").
 */
struct group {
    size_t n_features,
        n_bins; /* joint bins: the product of the features' bins, one more each for those not returned */
    const uint32_t *feature; /* in the order of struct sum_job */
};

struct sum_job {
    const struct paillier_host *h;
    const uint8_t *const *bins;
    const uint16_t *n_bins;
    const uint32_t *rows; /* NULL: all */
    size_t n_features, n_rows;
    size_t *first;      /* the number of a feature's first bucket */
    uint64_t *products; /* of each bucket, an element */
};

static size_t joint_bin(const struct sum_job *j, const struct group *g, size_t row)
{
    size_t joint = 0;
    for (size_t k = 0; k < g->n_features; k++) {
        size_t f = g->feature[k], bin = j->bins[f][row], n = j->n_bins[f];
        joint = joint * (n + 1) + (bin < n ? bin : n);
    }
    return joint;
}

/* The rows sorted by the joint bins of each group. */
static status sort_rows(struct ctx *cx, const struct sum_job *j, const struct group *g, size_t n_groups,
                        struct factors *f)
{
    size_t n_items = 0;
    f->n_buckets = 0;
    for (size_t k = 0; k < n_groups; k++)
        f->n_buckets += g[k].n_bins;
    f->start = NEW(cx, size_t, f->n_buckets + 1);
    f->item = NEW(cx, const uint64_t *, n_groups * j->n_rows + 1);
    uint32_t *joint = NEW(cx, uint32_t, j->n_rows + 1);
    size_t *at = NEW(cx, size_t, f->n_buckets + 1);
    if (!f->start || !f->item || !joint || !at)
        return FAIL(cx, NOMEM, "room to sort %zu rows %zu times", j->n_rows, n_groups);
    for (size_t k = 0, b = 0; k < n_groups; b += g[k].n_bins, k++) {
        for (size_t i = 0; i < j->n_rows; i++) {
            joint[i] = (uint32_t)joint_bin(j, &g[k], j->rows ? j->rows[i] : i);
            at[b + joint[i]]++;
        }
        for (size_t v = b; v < b + g[k].n_bins; v++) {
            size_t count = at[v];
            at[v] = f->start[v] = n_items;
            n_items += count;
        }
        for (size_t i = 0; i < j->n_rows; i++)
            f->item[at[b + joint[i]]++] = j->h->rows + (j->rows ? j->rows[i] : i) * j->h->n->elem_words;
    }
    f->start[f->n_buckets] = n_items;
    return OK;
}

/* From one product a joint bin to the products of each bin of each feature. */
static status split_joint(struct ctx *cx, const struct sum_job *j, const struct group *g,
                          const struct factors *f, size_t first_joint)
{
    size_t stride = g->n_bins;
    for (size_t k = 0; k < g->n_features; k++) {
        size_t feature = g->feature[k], n = j->n_bins[feature], n_items = 0;
        struct factors own = {.n_buckets = n};
        stride /= n + 1;
        own.start = NEW(cx, size_t, n + 1);
        own.item = NEW(cx, const uint64_t *, g->n_bins);
        if (!own.start || !own.item) return FAIL(cx, NOMEM, "room for %zu joint bins", g->n_bins);
        for (size_t v = 0; v < n; v++) {
            own.start[v] = n_items;
            for (size_t high = 0; high < g->n_bins; high += stride * (n + 1))
                for (size_t low = 0; low < stride; low++) {
                    size_t joint = first_joint + high + v * stride + low;
                    if (f->start[joint] < f->start[joint + 1]) own.item[n_items++] = f->item[f->start[joint]];
                }
        }
        own.start[n] = n_items;
        TRY(reduce(cx, j->h->n, &own));
        for (size_t v = 0; v < n; v++) /* an empty one encrypts 0 */
            memcpy(j->products + (j->first[feature] + v) * j->h->n->elem_words,
                   own.start[v] < own.start[v + 1] ? own.item[own.start[v]] : j->h->n->one,
                   j->h->n->elem_words * sizeof *j->products);
    }
    return OK;
}

/* Features from few bins to many; each joins the group before it as long as that costs fewer additions than a
 * group of its own: n rows and then k products of joint bins for k features, against n rows for each. */
static status make_groups(struct ctx *cx, const struct sum_job *j, struct group **out, size_t *n_out)
{
    size_t n = 0, count[257] = {0};
    uint32_t *order = NEW(cx, uint32_t, j->n_features + 1);
    struct group *g = NEW(cx, struct group, j->n_features + 1);
    if (!order || !g) return FAIL(cx, NOMEM, "room for %zu features", j->n_features);
    for (size_t f = 0; f < j->n_features; f++)
        count[j->n_bins[f]]++;
    for (size_t v = 0, sum = 0; v < LEN(count); v++) {
        size_t c = count[v];
        count[v] = sum;
        sum += c;
    }
    for (size_t f = 0; f < j->n_features; f++)
        order[count[j->n_bins[f]]++] = (uint32_t)f;
    for (size_t i = 0; i < j->n_features; i++) {
        size_t bins = j->n_bins[order[i]] + 1u;
        if (n) {
            struct group *last = &g[n - 1];
            size_t k = last->n_features, joint = last->n_bins * bins;
            size_t now = k > 1 ? k * last->n_bins : 0;
            if (joint <= JOINT && (k + 1) * joint < now + j->n_rows) {
                last->n_features++;
                last->n_bins = joint;
                continue;
            }
        }
        g[n++] = (struct group){1, bins, order + i};
    }
    *out = g;
    *n_out = n;
    return OK;
}

static status sum_all(struct ctx *cx, struct sum_job *j)
{
    struct group *g = NULL;
    size_t n_groups = 0;
    TRY(make_groups(cx, j, &g, &n_groups));
    for (size_t done = 0; done < n_groups;) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct factors f;
        size_t n = 1, joint = 0, n_bins = g[done].n_bins;
        while (done + n < n_groups && (n + 1) * j->n_rows <= BLOCK && n_bins + g[done + n].n_bins <= JOINT)
            n_bins += g[done + n++].n_bins;
        TRY(sort_rows(cx, j, g + done, n, &f));
        TRY(reduce(cx, j->h->n, &f));
        for (size_t k = 0; k < n; joint += g[done + k].n_bins, k++)
            TRY(split_joint(cx, j, &g[done + k], &f, joint));
        arena_rewind(cx->mem, mark);
        done += n;
    }
    return OK;
}

/* --- the reply --------------------------------------------------------------------------------- */
struct pack_job {
    const struct paillier_host *h;
    const uint64_t *products; /* of each bucket, an element */
    size_t n_buckets, per_cipher;
    uint8_t *out;
    uint8_t seed[32];
};

/* Ciphers [begin, end): c_0 c_1^(2^s) c_2^(2^2s) ... by Horner's rule, s bits a bucket; then noise, then the
 * wire. */
static status pack_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct pack_job *j = arg;
    const struct paillier_host *h = j->h;
    const struct mont *m = h->n;
    size_t n = end - begin, len = m->elem_words, e_words = mont_exp_words(h->noise.e_bits);
    size_t shift = (size_t)h->params.n_stats * (size_t)(h->params.sum_bits + 1);
    uint64_t *acc[LANES], *noise[LANES];
    const uint64_t *by[LANES], *e[LANES];
    uint64_t elems[2 * LANES][MONT_ELEM], exponents[LANES][MONT_WORDS + NOISE_EXTRA / 64];
    CLEANUP(prg_freep) struct prg *prg = NULL;
    TRY(prg_new(cx, j->seed, &prg));
    prg_seek(prg, chunk);
    for (size_t i = 0; i < n; i++) {
        acc[i] = elems[i];
        noise[i] = elems[LANES + i];
        e[i] = exponents[i];
        memcpy(acc[i], m->one, len * sizeof *acc[i]);
        prg_bytes(prg, exponents[i], e_words * sizeof exponents[i][0]);
    }
    for (size_t k = j->per_cipher; k-- > 0;) {
        if (k + 1 < j->per_cipher) mont_sqr(m, n, acc, shift);
        for (size_t i = 0; i < n; i++) {
            size_t b = (begin + i) * j->per_cipher + k;
            by[i] = b < j->n_buckets ? j->products + b * len : m->one;
        }
        mont_mul(m, n, acc, (const uint64_t *const *)acc, by);
        TRY(ctx_check(cx));
    }
    mont_table_pow(&h->noise, n, e, noise);
    mont_mul(m, n, acc, (const uint64_t *const *)acc, (const uint64_t *const *)noise);
    for (size_t i = 0; i < n; i++)
        by[i] = m->unit;
    mont_mul(m, n, acc, (const uint64_t *const *)acc, by);
    for (size_t i = 0; i < n; i++) {
        uint64_t lo[MONT_WORDS], hi[MONT_WORDS];
        uint8_t *at = j->out + (begin + i) * 16 * h->w;
        mont_store(m, acc[i], lo, hi);
        memcpy(at, lo, 8 * h->w);
        memcpy(at + 8 * h->w, hi, 8 * h->w);
    }
    secret_wipe(exponents, sizeof exponents);
    secret_wipe(elems, sizeof elems);
    return OK;
}

/* The products of all buckets, in cx->mem. */
static status sum_buckets(struct ctx *cx, const struct paillier_host *h, const uint8_t *const *bins,
                          const uint16_t *n_bins, size_t n_features, const uint32_t *rows, size_t n_rows,
                          struct pack_job *pack)
{
    struct sum_job j = {h, bins, n_bins, rows, n_features, n_rows, NULL, NULL};
    j.first = NEW(cx, size_t, n_features + 1);
    j.products = NEW(cx, uint64_t, (pack->n_buckets + 1) * h->n->elem_words);
    if (!j.first || !j.products) return FAIL(cx, NOMEM, "%zu buckets", pack->n_buckets);
    for (size_t f = 1; f < n_features; f++)
        j.first[f] = j.first[f - 1] + n_bins[f - 1];
    TRY(sum_all(cx, &j));
    pack->products = j.products;
    return OK;
}

status paillier_host_sum(struct ctx *cx, struct paillier_host *h, const uint8_t *const *bins,
                         const uint16_t *n_bins, size_t n_features, const uint32_t *rows, size_t n_rows,
                         struct buf *out)
{
    struct pack_job j = {.h = h};
    size_t n_ciphers, before = out->n;
    if (!h->batch) return FAIL(cx, STATE, "no batch of ciphers is loaded");
    if (!rows) n_rows = h->params.n_rows;
    for (size_t i = 0; rows && i < n_rows; i++)
        if (rows[i] >= h->params.n_rows || (i && rows[i] <= rows[i - 1]))
            return FAIL(cx, ARG, "row %u at place %zu: rows must ascend and be below %zu", rows[i], i,
                        h->params.n_rows);
    for (size_t f = 0; f < n_features; f++) {
        if (n_bins[f] > 256) return FAIL(cx, ARG, "feature %zu has %u bins, at most 256", f, n_bins[f]);
        j.n_buckets += n_bins[f];
    }
    paillier_reply_shape(&h->params, j.n_buckets, &j.per_cipher, &n_ciphers);

    struct arena_mark mark = arena_mark(cx->mem);
    status st = sum_buckets(cx, h, bins, n_bins, n_features, rows, n_rows, &j);
    if (!st.code) st = rand_bytes(cx, j.seed, sizeof j.seed);
    if (!st.code) {
        buf_u8(out, PAILLIER_VERSION);
        buf_put(out, h->id, sizeof h->id);
        buf_u64(out, h->batch);
        buf_u64(out, j.n_buckets);
        j.out = buf_grow(out, n_ciphers * 16 * h->w);
        st = buf_ok(cx, out);
    }
    if (!st.code) st = pool_for(cx, n_ciphers, LANES, pack_chunk, &j);
    arena_rewind(cx->mem, mark);
    secret_wipe(j.seed, sizeof j.seed);
    if (st.code) out->n = before;
    return st;
}
