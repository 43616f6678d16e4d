#include "crypto/lattice_ring.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include <string.h>

enum {
    BLOCKS = 16,           /* encrypted in one chunk */
    GROUPS = 8,            /* decrypted in one chunk */
    HATS_KEPT = 256 << 20, /* bytes of A's transforms that are kept for the job */
};

struct lattice_guest {
    struct he_params params;
    struct lattice_shape shape;
    struct arena *mem;
    uint8_t id[LATTICE_ID], seed[32]; /* both public */
    uint64_t batch;                   /* number of the latest batch; 0 = none */
    struct lattice_tables *tables;
    struct lattice_hat *masks;  /* A of block t: LAT_RANK from t LAT_RANK; NULL: too many to keep */
    struct lattice_hat *secret; /* secret memory: LAT_RANK for each stream */
    struct lattice_rooms rooms;
};

static void hats_freep(struct lattice_hat **h)
{
    secret_free(*h);
}

static void sums_freep(int64_t **s)
{
    secret_free(*s);
}

void lattice_guest_free(struct lattice_guest *g)
{
    if (!g) return;
    secret_free(g->secret);
    lattice_rooms_free(&g->rooms);
    arena_free(g->mem);
}

void lattice_guest_freep(struct lattice_guest **g)
{
    lattice_guest_free(*g);
    *g = NULL;
}

/* --- A ------------------------------------------------------------------------------------------- */
static void mask_hats(const struct lattice_guest *g, struct prg *prg, size_t t, struct lattice_hat *out)
{
    _Alignas(64) uint64_t a[LAT_DIM];
    lattice_expand(prg, t, a);
    for (size_t k = 0; k < LAT_RANK; k++)
        g->tables->kernel->hat_word(g->tables, LAT_PRIMES, a + k * LAT_N, out + k);
}

static status masks_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct lattice_guest *g = arg;
    CLEANUP(prg_freep) struct prg *prg = NULL;
    (void)chunk;
    TRY(prg_new(cx, g->seed, &prg));
    for (size_t t = begin; t < end; t++)
        mask_hats(g, prg, t, g->masks + t * LAT_RANK);
    return ctx_check(cx);
}

status lattice_guest_new(struct ctx *cx, const struct he_params *p, struct lattice_guest **out)
{
    TRY(lattice_check_params(cx, p));
    struct arena *mem = arena_new(0);
    struct lattice_guest *fresh = mem ? arena_alloc(mem, sizeof *fresh, 64) : NULL;
    if (!fresh) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "a guest's key");
    }
    fresh->mem = mem;
    CLEANUP(lattice_guest_freep) struct lattice_guest *g = fresh;
    g->params = *p;
    g->shape = lattice_shape(p);
    g->tables = arena_alloc(mem, sizeof *g->tables, 64);
    g->secret = secret_alloc(g->shape.n_streams * LAT_RANK * sizeof *g->secret);
    if (!g->tables || !g->secret) return FAIL(cx, NOMEM, "a guest's key");
    lattice_tables_init(g->tables, lattice_kernel_of((int)cpu_level()));
    TRY(rand_bytes(cx, g->id, sizeof g->id));
    TRY(rand_bytes(cx, g->seed, sizeof g->seed));
    size_t n_hats = (g->shape.n_blocks + LAT_RANK) * LAT_RANK;
    if (n_hats * sizeof *g->masks <= HATS_KEPT) {
        g->masks = arena_alloc_n(mem, n_hats, sizeof *g->masks, 64);
        if (!g->masks) return FAIL(cx, NOMEM, "%zu ring elements", n_hats);
        TRY(pool_for(cx, g->shape.n_blocks + LAT_RANK, BLOCKS, masks_chunk, g));
    }
    *out = TAKE(g);
    return OK;
}

status lattice_guest_public(struct ctx *cx, const struct lattice_guest *g, struct buf *out)
{
    buf_u8(out, LATTICE_VERSION);
    buf_str(out, LATTICE_SET);
    buf_put(out, g->id, sizeof g->id);
    buf_put(out, g->seed, sizeof g->seed);
    buf_u64(out, g->params.n_rows);
    buf_u8(out, (uint8_t)g->params.n_stats);
    buf_u8(out, (uint8_t)g->params.sum_bits);
    return buf_ok(cx, out);
}

/* --- encryption ---------------------------------------------------------------------------------- */
/* LIMIT when the absolute values of a stat sum to 2^sum_bits or more. */
static status check_bound(struct ctx *cx, const struct he_params *p, const int64_t *m)
{
    size_t k = (size_t)p->n_stats;
    uint64_t sum[8] = {0}, over[8] = {0};
    for (size_t i = 0; i < p->n_rows; i++)
        for (size_t s = 0; s < k; s++) {
            uint64_t x = (uint64_t)m[i * k + s], sign = 0 - (x >> 63), abs = (x ^ sign) - sign;
            over[s] |= (uint64_t)__builtin_add_overflow(sum[s], abs, &sum[s]);
        }
    for (size_t s = 0; s < k; s++)
        if (over[s] || sum[s] >> p->sum_bits)
            return FAIL(cx, LIMIT, "integers %zu of the rows: absolute values sum to 2^%d or more", s,
                        p->sum_bits);
    return OK;
}

/* Digit d of a value: all of it, or value = low + 2^bits high with -2^(bits-1) <= low < 2^(bits-1). */
static int64_t digit(const struct lattice_shape *s, int64_t value, int d)
{
    if (s->digits == 1) return value;
    int64_t low = (int64_t)((uint64_t)value << (64 - s->low_bits)) >> (64 - s->low_bits);
    return d ? (value - low) >> s->low_bits : low;
}

struct encrypt_job {
    struct lattice_guest *g;
    const int64_t *m;
    struct lattice_hat *secret;
    uint8_t *out;
    uint8_t seed[32];
};

static status secret_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct encrypt_job *j = arg;
    const struct lattice_tables *t = j->g->tables;
    CLEANUP(prg_freep) struct prg *prg = NULL;
    (void)chunk;
    TRY(prg_new(cx, j->seed, &prg));
    struct lattice_work *w = lattice_room_take(&j->g->rooms);
    if (!w) return FAIL(cx, NOMEM, "room for a secret");
    for (size_t s = begin; s < end; s++) {
        prg_seek(prg, s);
        prg_bytes(prg, w->random, LAT_DIM * sizeof w->random[0]);
        t->kernel->ternary(w->random, LAT_DIM, w->small);
        for (size_t k = 0; k < LAT_RANK; k++)
            t->kernel->hat_small(t, LAT_PRIMES, w->small + k * LAT_N, j->secret + s * LAT_RANK + k);
    }
    lattice_room_give(&j->g->rooms, w);
    return OK;
}

/* One block of all streams to the wire. */
static void encrypt_block(const struct encrypt_job *j, size_t t, struct prg *prg, struct lattice_work *w,
                          const struct lattice_hat *masks)
{
    const struct lattice_guest *g = j->g;
    const struct lattice_kernel *kernel = g->tables->kernel;
    size_t stats = (size_t)g->params.n_stats, first = t * LAT_ROWS, n = 0;
    if (t < g->shape.n_blocks) n = g->params.n_rows - first < LAT_ROWS ? g->params.n_rows - first : LAT_ROWS;
    prg_seek(prg, LAT_STREAMS + t);
    for (size_t s = 0; s < g->shape.n_streams; s++) {
        memset(w->v, 0, sizeof w->v);
        kernel->dot(g->tables, LAT_PRIMES, masks, j->secret + s * LAT_RANK, w->v);
        prg_bytes(prg, w->random, sizeof w->random[0] * 3 * LAT_N);
        kernel->noise(w->random, LAT_N, w->v);
        size_t stat = s / (size_t)g->shape.digits;
        int d = (int)(s % (size_t)g->shape.digits);
        for (size_t i = 0; i < n; i++)
            w->v[LAT_PACK * i] += (uint64_t)digit(&g->shape, j->m[(first + i) * stats + stat], d)
                                  << LAT_SCALE;
        memcpy(j->out + (t * g->shape.n_streams + s) * sizeof w->v, w->v, sizeof w->v);
    }
}

static status encrypt_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct encrypt_job *j = arg;
    struct lattice_guest *g = j->g;
    CLEANUP(prg_freep) struct prg *prg = NULL, *public = NULL;
    (void)chunk;
    TRY(prg_new(cx, j->seed, &prg));
    if (!g->masks) TRY(prg_new(cx, g->seed, &public));
    struct lattice_work *w = lattice_room_take(&g->rooms);
    if (!w) return FAIL(cx, NOMEM, "room to encrypt");
    for (size_t t = begin; t < end; t++) {
        if (!g->masks) mask_hats(g, public, t, w->hat);
        encrypt_block(j, t, prg, w, g->masks ? g->masks + t * LAT_RANK : w->hat);
    }
    lattice_room_give(&g->rooms, w);
    return ctx_check(cx);
}

status lattice_guest_encrypt(struct ctx *cx, struct lattice_guest *g, const int64_t *m, struct buf *out)
{
    TRY(check_bound(cx, &g->params, m));
    size_t before = out->n, n_blocks = g->shape.n_blocks + LAT_RANK;
    CLEANUP(hats_freep) struct lattice_hat *secret = NULL;
    struct encrypt_job j = {.g = g, .m = m};
    j.secret = secret = secret_alloc(g->shape.n_streams * LAT_RANK * sizeof *secret);
    if (!secret) return FAIL(cx, NOMEM, "a batch's secret");
    buf_u8(out, LATTICE_VERSION);
    buf_put(out, g->id, sizeof g->id);
    buf_u64(out, g->batch + 1);
    buf_u64(out, g->params.n_rows);
    j.out = buf_grow(out, n_blocks * g->shape.n_streams * LAT_N * sizeof(uint64_t));
    status st = buf_ok(cx, out);
    if (!st.code) st = rand_bytes(cx, j.seed, sizeof j.seed);
    if (!st.code) st = pool_for(cx, g->shape.n_streams, 1, secret_chunk, &j);
    if (!st.code) st = pool_for(cx, n_blocks, BLOCKS, encrypt_chunk, &j);
    secret_wipe(j.seed, sizeof j.seed);
    if (st.code) {
        out->n = before;
        return st;
    }
    secret_free(g->secret);
    g->secret = TAKE(secret);
    g->batch++;
    return OK;
}

/* --- decryption ---------------------------------------------------------------------------------- */
struct decrypt_job {
    struct lattice_guest *g;
    const uint8_t *groups;
    size_t n_buckets;
    int64_t *sums;
    int64_t *noise; /* n_buckets times streams, in units of 2^24; NULL: not wanted */
};

/* Rounds c - <a, s> modulo 2^40 to a multiple of 2^10: a signed digit of 30 bits. */
static int64_t round_digit(uint64_t x)
{
    uint64_t half = 1ull << (LAT_SCALE - (64 - LAT_REPLY) - 1);
    return (int64_t)((x + half) << (64 - LAT_REPLY)) >> LAT_SCALE;
}

static status decrypt_group(struct ctx *cx, const struct decrypt_job *j, size_t q, struct lattice_work *w)
{
    const struct lattice_guest *g = j->g;
    const struct lattice_tables *t = g->tables;
    size_t n_streams = g->shape.n_streams, stats = (size_t)g->params.n_stats, first = q * LAT_PACK;
    size_t n = j->n_buckets - first < LAT_PACK ? j->n_buckets - first : LAT_PACK;
    const uint8_t *at = j->groups + q * (LAT_DIM + LAT_PACK * n_streams) * LAT_REPLY_BYTES;
    t->kernel->unpack(at, LAT_DIM, w->u);
    for (size_t k = 0; k < LAT_RANK; k++)
        t->kernel->hat_word(t, 2, w->u + k * LAT_N, w->hat + k);
    int64_t *sums = j->sums + first * stats, bound = (int64_t)1 << g->params.sum_bits;
    for (size_t s = 0; s < n_streams; s++) {
        uint64_t c[LAT_PACK];
        t->kernel->dot_low(t, 2, w->hat, g->secret + s * LAT_RANK, w->v);
        t->kernel->unpack(at + (LAT_DIM + LAT_PACK * s) * LAT_REPLY_BYTES, LAT_PACK, c);
        size_t stat = s / (size_t)g->shape.digits;
        int shift = s % (size_t)g->shape.digits ? g->shape.low_bits : 0;
        for (size_t b = 0; b < n; b++) {
            uint64_t y = c[b] - w->v[b];
            int64_t x = round_digit(y), *to = &sums[b * stats + stat];
            *to = (shift ? *to : 0) + x * ((int64_t)1 << shift);
            if (j->noise)
                j->noise[(first + b) * n_streams + s] =
                    (int64_t)((y << (64 - LAT_REPLY)) - ((uint64_t)x << LAT_SCALE)) >> (64 - LAT_REPLY);
        }
    }
    for (size_t i = 0; i < n * stats; i++)
        if (sums[i] <= -bound || sums[i] >= bound)
            return FAIL(cx, PROTO, "lattice reply: bucket %zu sums to 2^%d or more", first + i / stats,
                        g->params.sum_bits);
    return OK;
}

static status decrypt_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct decrypt_job *j = arg;
    struct lattice_work *w = lattice_room_take(&j->g->rooms);
    (void)chunk;
    if (!w) return FAIL(cx, NOMEM, "room to decrypt");
    status st = OK;
    for (size_t q = begin; q < end && !st.code; q++)
        st = decrypt_group(cx, j, q, w);
    lattice_room_give(&j->g->rooms, w);
    TRY(st);
    return ctx_check(cx);
}

status lattice_guest_decrypt(struct ctx *cx, struct lattice_guest *g, struct bytes reply, size_t n_buckets,
                             int64_t *sums)
{
    return lattice_guest_decrypt_noise(cx, g, reply, n_buckets, sums, NULL);
}

status lattice_guest_decrypt_noise(struct ctx *cx, struct lattice_guest *g, struct bytes reply,
                                   size_t n_buckets, int64_t *sums, int64_t *noise)
{
    struct reader r = reader_of(reply.p, reply.n);
    uint8_t version = 0;
    const uint8_t *id = NULL;
    uint64_t batch = 0, n = 0;
    if (!g->batch) return FAIL(cx, STATE, "nothing was encrypted yet");
    if (reader_u8(cx, &r, &version).code || reader_bytes(cx, &r, LATTICE_ID, &id).code ||
        reader_u64(cx, &r, &batch).code || reader_u64(cx, &r, &n).code)
        return FAIL(cx, PROTO, "lattice reply of %zu bytes", reply.n);
    if (version != LATTICE_VERSION) return FAIL(cx, PROTO, "lattice reply of version %u", version);
    if (memcmp(id, g->id, LATTICE_ID) != 0) return FAIL(cx, PROTO, "lattice reply to another key");
    if (batch != g->batch)
        return FAIL(cx, PROTO, "lattice reply to batch %llu, the latest is %llu", (unsigned long long)batch,
                    (unsigned long long)g->batch);
    if (n != n_buckets || n > reader_left(&r) || reader_left(&r) != lattice_reply_bytes(&g->shape, n_buckets))
        return FAIL(cx, PROTO, "lattice reply of %llu buckets in %zu bytes, want %zu buckets",
                    (unsigned long long)n, reader_left(&r), n_buckets);
    size_t n_sums = n_buckets * (size_t)g->params.n_stats;
    CLEANUP(sums_freep) int64_t *got = secret_alloc((n_sums + 1) * sizeof *got);
    if (!got) return FAIL(cx, NOMEM, "sums of %zu buckets", n_buckets);
    struct decrypt_job j = {g, r.p, n_buckets, got, noise};
    TRY(pool_for(cx, n_buckets / LAT_PACK + (n_buckets % LAT_PACK != 0), GROUPS, decrypt_chunk, &j));
    memcpy(sums, got, n_sums * sizeof *got);
    return OK;
}
