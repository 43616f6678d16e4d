#include "crypto/lattice_ring.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include <string.h>

enum {
    BLOCKS = 16, /* expanded or loaded in one chunk */
    GROUPS = 4,  /* reply ciphers finished in one chunk */
    /* A set of rows is worked on together. Where its blocks are full of rows, what one pass over the buckets reads
     * shall stay in the nearest cache; where they are not, the buckets shall have some rows all the same. */
    SET_ROWS = 512,
    SPARSE_ROWS = 1536,
    SPARSE = 8,               /* rows a block on average */
    SET_BLOCKS = 512,         /* a place of a list has 16 bits */
    MADE_BLOCKS = 64,         /* the same where windows are made for every set */
    WINDOWS_KEPT = 256 << 20, /* bytes of windows that are made once for the job */
    PART = 4 << 20,           /* (row, feature) pairs sorted at a time */
    SHARES = 16,              /* at most so many threads share the additions of one component of A */
    KEPT = 512 << 20,         /* bytes that a host keeps of the sums of A over all rows */
};

/* The sums of A over all rows of a batch depend on the bins only: one batch's are the next one's. */
struct kept {
    struct arena *mem;
    size_t n_features, n_buckets;
    uint16_t *n_bins;
    uint8_t **bins;  /* copies: pointers may be used again for other columns */
    uint64_t *masks; /* LAT_DIM words of each group; NULL: nothing is kept */
};

struct lattice_host {
    struct he_params params;
    struct lattice_shape shape;
    struct arena *mem;
    uint8_t id[LATTICE_ID], seed[32];
    uint64_t batch; /* 0 = none loaded */
    struct lattice_tables *tables;
    bool expanded;     /* A, at the first batch */
    uint64_t *windows; /* of component k of block t: from (k n_blocks + t) LAT_WINDOW; NULL: too many */
    uint64_t *masks;   /* without them: A of n_blocks blocks, LAT_DIM words each */
    struct lattice_hat *key_a; /* component k of A of the j-th block of the public key: k LAT_RANK + j */
    struct lattice_hat *key_b; /* B of stream s of the j-th: s LAT_RANK + j */
    uint64_t *words;           /* B: LAT_STRIDE words for each block and stream */
    struct lattice_rooms rooms;
    struct kept kept;
    size_t n_windows;
    struct {
        atomic_bool taken;
        uint64_t *words; /* MADE_BLOCKS windows */
    } window[LAT_ROOMS];
};

void lattice_host_free(struct lattice_host *h)
{
    if (!h) return;
    lattice_rooms_free(&h->rooms);
    arena_free(h->kept.mem);
    arena_free(h->mem);
}

void lattice_host_freep(struct lattice_host **h)
{
    lattice_host_free(*h);
    *h = NULL;
}

const struct he_params *lattice_host_params(const struct lattice_host *h)
{
    return &h->params;
}

/* --- the key --------------------------------------------------------------------------------------- */
static status read_params(struct ctx *cx, struct reader *r, struct he_params *p, uint8_t *id, uint8_t *seed)
{
    uint8_t version, n_stats, sum_bits;
    const uint8_t *bytes = NULL;
    uint64_t n_rows;
    const char *set;
    TRY(reader_u8(cx, r, &version));
    if (version != LATTICE_VERSION) return FAIL(cx, PROTO, "version %u, want %u", version, LATTICE_VERSION);
    TRY(reader_str(cx, r, 64, &set));
    if (strcmp(set, LATTICE_SET) != 0) return FAIL(cx, PROTO, "unknown parameter set \"%s\"", set);
    TRY(reader_bytes(cx, r, LATTICE_ID, &bytes));
    memcpy(id, bytes, LATTICE_ID);
    TRY(reader_bytes(cx, r, 32, &bytes));
    memcpy(seed, bytes, 32);
    TRY(reader_u64(cx, r, &n_rows));
    TRY(reader_u8(cx, r, &n_stats));
    TRY(reader_u8(cx, r, &sum_bits));
    *p = (struct he_params){HE_LATTICE, 0, n_rows, n_stats, sum_bits};
    if (lattice_check_params(cx, p).code)
        return FAIL(cx, PROTO, "%u integers of %u bits in %llu rows", n_stats, sum_bits,
                    (unsigned long long)n_rows);
    return reader_end(cx, r);
}

status lattice_host_open(struct ctx *cx, struct bytes pub, struct lattice_host **out)
{
    struct reader r = reader_of(pub.p, pub.n);
    struct he_params params = {0};
    uint8_t id[LATTICE_ID] = {0}, seed[32] = {0};
    TRY_IN(cx, read_params(cx, &r, &params, id, seed), "lattice key");
    struct arena *mem = arena_new(0);
    struct lattice_host *fresh = mem ? arena_alloc(mem, sizeof *fresh, 64) : NULL;
    if (!fresh) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "a host's key");
    }
    fresh->mem = mem;
    CLEANUP(lattice_host_freep) struct lattice_host *h = fresh;
    h->params = params;
    h->shape = lattice_shape(&params);
    memcpy(h->id, id, sizeof h->id);
    h->tables = arena_alloc(mem, sizeof *h->tables, 64);
    if (!h->tables) return FAIL(cx, NOMEM, "a host's key");
    memcpy(h->seed, seed, sizeof h->seed);
    lattice_tables_init(h->tables, lattice_kernel_of((int)cpu_level()));
    *out = TAKE(h);
    return OK;
}

/* --- a batch ---------------------------------------------------------------------------------------- */
/* Coefficient c of X^(-8 i) a is a[c + 8 i], and what goes past the end comes back negative. */
static void make_window(const uint64_t *a, uint64_t *win)
{
    for (size_t k = 0; k < LAT_N; k++) {
        win[k] = a[k];
        win[LAT_N + k] = 0 - a[k];
    }
}

/* The public key is used modulo 2^48: words with a sign, of which two primes do. */
static void key_hat(const struct lattice_host *h, const uint64_t *x, struct lattice_hat *out)
{
    _Alignas(64) uint64_t low[LAT_N];
    for (size_t k = 0; k < LAT_N; k++)
        low[k] = (uint64_t)((int64_t)(x[k] << (64 - LAT_KEY)) >> (64 - LAT_KEY));
    h->tables->kernel->hat_word(h->tables, 2, low, out);
}

static status expand_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct lattice_host *h = arg;
    size_t n = h->shape.n_blocks;
    CLEANUP(prg_freep) struct prg *prg = NULL;
    (void)chunk;
    TRY(prg_new(cx, h->seed, &prg));
    for (size_t t = begin; t < end; t++) {
        _Alignas(64) uint64_t own[LAT_DIM], *a = t < n && h->masks ? h->masks + t * LAT_DIM : own;
        lattice_expand(prg, t, a);
        for (size_t k = 0; k < LAT_RANK; k++)
            if (t >= n)
                key_hat(h, a + k * LAT_N, h->key_a + k * LAT_RANK + (t - n));
            else if (h->windows)
                make_window(a + k * LAT_N, h->windows + (k * n + t) * LAT_WINDOW);
    }
    return ctx_check(cx);
}

/* At the first batch: a key alone, which anybody can write with 2^31 rows, must not cost memory. */
static status expand(struct ctx *cx, struct lattice_host *h)
{
    if (h->expanded) return OK;
    size_t n = h->shape.n_blocks, streams = h->shape.n_streams;
    if (n * LAT_RANK * LAT_WINDOW * sizeof *h->windows <= WINDOWS_KEPT) {
        if (!h->windows)
            h->windows = arena_alloc_n(h->mem, n * LAT_RANK * LAT_WINDOW, sizeof *h->windows, 64);
    } else if (!h->masks) {
        h->masks = arena_alloc_n(h->mem, n * LAT_DIM, sizeof *h->masks, 64);
    }
    if (!h->key_a) h->key_a = arena_alloc_n(h->mem, (size_t)LAT_RANK * LAT_RANK, sizeof *h->key_a, 64);
    if (!h->key_b) h->key_b = arena_alloc_n(h->mem, LAT_RANK * streams, sizeof *h->key_b, 64);
    if (!h->words) h->words = arena_alloc_n(h->mem, n * streams * LAT_STRIDE, sizeof *h->words, 64);
    if ((!h->windows && !h->masks) || !h->key_a || !h->key_b || !h->words)
        return FAIL(cx, NOMEM, "batches of %zu rows", h->params.n_rows);
    TRY(pool_for(cx, n + LAT_RANK, BLOCKS, expand_chunk, h));
    h->expanded = true;
    return OK;
}

struct load_job {
    struct lattice_host *h;
    const uint8_t *blocks;
};

static status load_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct load_job *j = arg;
    struct lattice_host *h = j->h;
    size_t n = h->shape.n_streams;
    (void)chunk;
    for (size_t t = begin; t < end; t++)
        for (size_t s = 0; s < n; s++) {
            const uint8_t *from = j->blocks + (t * n + s) * LAT_N * 8;
            if (t < h->shape.n_blocks) {
                uint64_t *to = h->words + (t * n + s) * LAT_STRIDE;
                memcpy(to + LAT_PACK, from, LAT_N * sizeof *to);
                for (size_t k = 0; k < LAT_PACK; k++)
                    to[k] = 0 - to[LAT_N + k];
            } else {
                _Alignas(64) uint64_t b[LAT_N];
                memcpy(b, from, sizeof b);
                key_hat(h, b, h->key_b + s * LAT_RANK + (t - h->shape.n_blocks));
            }
        }
    return ctx_check(cx);
}

status lattice_host_load(struct ctx *cx, struct lattice_host *h, struct bytes batch)
{
    struct reader r = reader_of(batch.p, batch.n);
    uint8_t version;
    const uint8_t *id;
    uint64_t number, n_rows;
    TRY_IN(cx, reader_u8(cx, &r, &version), "lattice batch");
    if (version != LATTICE_VERSION) return FAIL(cx, PROTO, "lattice batch of version %u", version);
    TRY_IN(cx, reader_bytes(cx, &r, LATTICE_ID, &id), "lattice batch");
    TRY_IN(cx, reader_u64(cx, &r, &number), "lattice batch");
    TRY_IN(cx, reader_u64(cx, &r, &n_rows), "lattice batch");
    if (memcmp(id, h->id, LATTICE_ID) != 0) return FAIL(cx, PROTO, "lattice batch of another key");
    if (number == 0) return FAIL(cx, PROTO, "lattice batch without a number");
    size_t n_blocks = h->shape.n_blocks + LAT_RANK;
    if (n_rows != h->params.n_rows || reader_left(&r) != n_blocks * h->shape.n_streams * LAT_N * 8)
        return FAIL(cx, PROTO, "lattice batch of %llu rows in %zu bytes, want %zu rows in %zu",
                    (unsigned long long)n_rows, reader_left(&r), h->params.n_rows,
                    n_blocks * h->shape.n_streams * LAT_N * 8);
    h->batch = 0;
    TRY(expand(cx, h));
    struct load_job j = {h, r.p};
    TRY(pool_for(cx, n_blocks, BLOCKS, load_chunk, &j));
    h->batch = number;
    return OK;
}

/* --- sums -------------------------------------------------------------------------------------------- */
/* Some blocks of rows that are worked on together. */
struct set {
    size_t row, n_rows;     /* of the rows asked for */
    size_t block, n_blocks; /* the first, and how many from there */
};

struct sums {
    struct lattice_host *h;
    const uint8_t *const *bins;
    const uint16_t *n_bins;
    const uint32_t *rows; /* NULL: all */
    size_t n_features, n_rows, n_buckets, n_groups;
    size_t *first;   /* the number of a feature's first bucket */
    uint16_t *place; /* of each row: lattice_place in its set */
    struct set *set;
    size_t n_sets;
    /* Of the sets at hand: */
    size_t begin, end;       /* sets */
    uint16_t *list;          /* n_features times the places of their rows, sorted by bucket */
    struct lattice_run *run; /* n_buckets for each set */
    bool masks_kept;         /* only B is to be summed */
    size_t n_shares;
    /* Results: of share i and component k, n_groups from (i LAT_RANK + k) n_groups; of each stream. */
    uint64_t (*masks)[LAT_STRIDE], (*words)[LAT_PACK];
};

/* Cuts the rows into sets, at the ends of blocks. */
static status make_sets(struct ctx *cx, struct sums *j)
{
    size_t n_blocks = j->h->shape.n_blocks, most = n_blocks < j->n_rows ? n_blocks : j->n_rows;
    size_t n_rows = j->n_rows / n_blocks < SPARSE ? SPARSE_ROWS : SET_ROWS;
    size_t span = j->h->windows ? SET_BLOCKS : MADE_BLOCKS;
    j->place = NEW(cx, uint16_t, j->n_rows + 1);
    j->set = NEW(cx, struct set, most + 1);
    if (!j->place || !j->set) return FAIL(cx, NOMEM, "room to sort %zu rows", j->n_rows);
    struct set *s = NULL;
    for (size_t i = 0, last = SIZE_MAX; i < j->n_rows; i++) {
        size_t row = j->rows ? j->rows[i] : i, t = row / LAT_ROWS;
        if (!s || (t != last && (s->n_rows >= n_rows || t - s->block >= span))) {
            s = &j->set[j->n_sets++];
            *s = (struct set){.row = i, .block = t};
        }
        last = t;
        s->n_blocks = t - s->block + 1;
        s->n_rows++;
        j->place[i] = lattice_place(t - s->block, row % LAT_ROWS);
    }
    return OK;
}

/* The places of feature f's rows in the sets at hand, by bucket. */
static status sort_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct sums *j = arg;
    size_t first_row = j->set[j->begin].row;
    size_t part_rows = j->set[j->end - 1].row + j->set[j->end - 1].n_rows - first_row;
    (void)chunk;
    for (size_t f = begin; f < end; f++)
        for (size_t s = j->begin; s < j->end; s++) {
            const struct set *set = &j->set[s];
            const uint8_t *bin = j->bins[f];
            uint32_t at[257] = {0}, sum = (uint32_t)(f * part_rows + set->row - first_row);
            struct lattice_run *run = j->run + (s - j->begin) * j->n_buckets + j->first[f];
            if (j->rows)
                for (size_t i = set->row; i < set->row + set->n_rows; i++)
                    at[bin[j->rows[i]]]++;
            else
                for (size_t i = set->row; i < set->row + set->n_rows; i++)
                    at[bin[i]]++;
            for (size_t b = 0; b < 256; b++) {
                uint32_t n = at[b];
                if (b < j->n_bins[f]) run[b] = (struct lattice_run){sum, n};
                at[b] = sum;
                sum += n;
            }
            for (size_t i = set->row; i < set->row + set->n_rows; i++)
                j->list[at[bin[j->rows ? j->rows[i] : i]]++] = j->place[i];
        }
    return ctx_check(cx);
}

static size_t take_window(struct lattice_host *h)
{
    size_t i = 0;
    while (i < h->n_windows && atomic_exchange(&h->window[i].taken, true))
        i++;
    return i;
}

/* Component k of A over the sets [begin, end) of those at hand. made: room for windows where they are not kept. */
static void add_masks(struct sums *j, size_t k, size_t begin, size_t end, uint64_t *made,
                      uint64_t (*acc)[LAT_STRIDE])
{
    const struct lattice_host *h = j->h;
    for (size_t s = begin; s < end; s++) {
        const struct set *set = &j->set[s];
        const uint64_t *win = made;
        if (!made) win = h->windows + (k * h->shape.n_blocks + set->block) * LAT_WINDOW;
        for (size_t i = 0; made && i < set->n_blocks; i++)
            make_window(h->masks + (set->block + i) * LAT_DIM + k * LAT_N, made + i * LAT_WINDOW);
        h->tables->kernel->sum_masks(win, j->run + (s - j->begin) * j->n_buckets, j->n_buckets, j->list, acc);
    }
}

/* Units: component u % LAT_RANK over one of the shares of the sets at hand. */
static status masks_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct sums *j = arg;
    struct lattice_host *h = j->h;
    size_t n = j->end - j->begin, room = h->windows ? h->n_windows : take_window(h);
    uint64_t *made = room < h->n_windows ? h->window[room].words : NULL;
    (void)chunk;
    if (!h->windows && !made) made = NEW(cx, uint64_t, (size_t)MADE_BLOCKS * LAT_WINDOW);
    if (!h->windows && !made) return FAIL(cx, NOMEM, "windows of %d blocks", MADE_BLOCKS);
    for (size_t u = begin; u < end; u++) {
        size_t share = u / LAT_RANK;
        add_masks(j, u % LAT_RANK, j->begin + n * share / j->n_shares,
                  j->begin + n * (share + 1) / j->n_shares, made, j->masks + u * j->n_groups);
    }
    if (room < h->n_windows) atomic_store(&h->window[room].taken, false);
    return ctx_check(cx);
}

/* Streams of B over the sets at hand. */
static status words_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct sums *j = arg;
    const struct lattice_host *h = j->h;
    size_t stride = h->shape.n_streams * LAT_STRIDE;
    (void)chunk;
    for (size_t stream = begin; stream < end; stream++)
        for (size_t s = j->begin; s < j->end; s++)
            h->tables->kernel->sum_words(h->words + j->set[s].block * stride + stream * LAT_STRIDE, stride,
                                         j->run + (s - j->begin) * j->n_buckets, j->n_buckets, j->list,
                                         j->words + stream * j->n_groups);
    return ctx_check(cx);
}

static status make_windows(struct ctx *cx, struct lattice_host *h)
{
    size_t n = pool_threads(cx->pool);
    for (; !h->windows && h->n_windows < n && h->n_windows < LAT_ROOMS; h->n_windows++) {
        uint64_t *w = arena_alloc_n(h->mem, (size_t)MADE_BLOCKS * LAT_WINDOW, sizeof *w, 64);
        if (!w) return FAIL(cx, NOMEM, "windows of %d blocks", MADE_BLOCKS);
        h->window[h->n_windows].words = w;
    }
    return OK;
}

/* Sorts and sums the sets [begin, end). */
static status sum_part(struct ctx *cx, struct sums *j, size_t n_rows)
{
    j->list = NEW(cx, uint16_t, n_rows * j->n_features + 1);
    j->run = NEW(cx, struct lattice_run, (j->end - j->begin) * j->n_buckets + 1);
    if (!j->list || !j->run) return FAIL(cx, NOMEM, "room to sort %zu rows", n_rows);
    TRY(pool_for(cx, j->n_features, 1, sort_chunk, j));
    if (!j->masks_kept) TRY(pool_for(cx, LAT_RANK * j->n_shares, 1, masks_chunk, j));
    return pool_for(cx, j->h->shape.n_streams, 1, words_chunk, j);
}

static status sum_all(struct ctx *cx, struct sums *j)
{
    TRY(make_sets(cx, j));
    TRY(make_windows(cx, j->h));
    size_t threads = pool_threads(cx->pool);
    j->n_shares = threads < SHARES ? threads : SHARES;
    if (j->n_shares > j->n_sets) j->n_shares = j->n_sets;
    if (!j->masks_kept)
        j->masks = arena_alloc_n(cx->mem, LAT_RANK * j->n_shares * j->n_groups + 1, sizeof *j->masks, 64);
    j->words = arena_alloc_n(cx->mem, j->h->shape.n_streams * j->n_groups + 1, sizeof *j->words, 64);
    if ((!j->masks && !j->masks_kept) || !j->words) return FAIL(cx, NOMEM, "%zu buckets", j->n_buckets);
    for (j->begin = 0; j->begin < j->n_sets; j->begin = j->end) {
        struct arena_mark mark = arena_mark(cx->mem);
        size_t n_rows = 0;
        for (j->end = j->begin; j->end < j->n_sets; j->end++) {
            size_t more = n_rows + j->set[j->end].n_rows, n = j->end - j->begin;
            if (n && (more * j->n_features > PART || (n + 1) * j->n_buckets > PART)) break;
            n_rows = more;
        }
        TRY(sum_part(cx, j, n_rows));
        arena_rewind(cx->mem, mark);
    }
    return OK;
}

/* --- what is kept ---------------------------------------------------------------------------------------- */
static bool is_kept(const struct kept *k, const struct sums *j)
{
    if (j->rows || !k->masks || k->n_features != j->n_features) return false;
    for (size_t f = 0; f < j->n_features; f++)
        if (k->n_bins[f] != j->n_bins[f] || memcmp(k->bins[f], j->bins[f], j->n_rows) != 0) return false;
    return true;
}

static void add_masks_of(const struct sums *j, size_t q, uint64_t *u);

/* After all rows were summed. Nothing is kept where it would be much, or memory is short. */
static void keep(struct lattice_host *h, const struct sums *j)
{
    struct kept *k = &h->kept;
    if (j->rows || j->masks_kept) return;
    if (!k->mem) k->mem = arena_new(KEPT);
    if (!k->mem) return;
    arena_reset(k->mem);
    k->n_features = j->n_features;
    k->n_bins = arena_alloc_n(k->mem, j->n_features + 1, sizeof *k->n_bins, 2);
    k->bins = arena_alloc_n(k->mem, j->n_features + 1, sizeof *k->bins, 8);
    k->masks = NULL;
    if (!k->n_bins || !k->bins) return;
    for (size_t f = 0; f < j->n_features; f++) {
        k->n_bins[f] = j->n_bins[f];
        k->bins[f] = arena_alloc_n(k->mem, j->n_rows, 1, 64);
        if (!k->bins[f]) return;
        memcpy(k->bins[f], j->bins[f], j->n_rows);
    }
    k->masks = arena_alloc_n(k->mem, j->n_groups * LAT_DIM + 1, sizeof *k->masks, 64);
    for (size_t q = 0; k->masks && q < j->n_groups; q++)
        add_masks_of(j, q, k->masks + q * LAT_DIM);
}

/* --- the reply ----------------------------------------------------------------------------------------- */
struct reply_job {
    struct lattice_host *h;
    const struct sums *sums;
    uint8_t *out;
    uint8_t seed[32];
};

/* u = 2^16 u + the sums of A of group q; X^512 = -1. */
static void add_masks_of(const struct sums *j, size_t q, uint64_t *u)
{
    const uint64_t *kept = j->h->kept.masks + (j->masks_kept ? q * LAT_DIM : 0);
    for (size_t k = 0; k < LAT_DIM; k++)
        u[k] = (u[k] << (64 - LAT_KEY)) + (j->masks_kept ? kept[k] : 0);
    for (size_t i = 0; !j->masks_kept && i < j->n_shares; i++)
        for (size_t k = 0; k < LAT_RANK; k++) {
            const uint64_t *from = j->masks[(i * LAT_RANK + k) * j->n_groups + q];
            uint64_t *to = u + k * LAT_N;
            for (size_t c = 0; c < LAT_N; c++)
                to[c] += from[c];
            for (size_t c = 0; c < LAT_PACK; c++)
                to[c] -= from[LAT_N + c];
        }
}

/* Group q's sums, plus an encryption of zero under the batch's public key, plus flooding; to the wire. */
static void finish_group(const struct reply_job *j, size_t q, struct prg *prg, struct lattice_work *w)
{
    const struct lattice_host *h = j->h;
    const struct lattice_tables *t = h->tables;
    size_t n_streams = h->shape.n_streams;
    uint8_t *out = j->out + q * (LAT_DIM + LAT_PACK * n_streams) * LAT_REPLY_BYTES;
    prg_seek(prg, q);
    prg_bytes(prg, w->random, LAT_DIM * sizeof w->random[0]);
    t->kernel->ternary(w->random, LAT_DIM, w->small);
    for (size_t k = 0; k < LAT_RANK; k++)
        t->kernel->hat_small(t, 2, w->small + k * LAT_N, w->hat + k);
    memset(w->u, 0, sizeof w->u);
    for (size_t k = 0; k < LAT_RANK; k++)
        t->kernel->dot(t, 2, h->key_a + k * LAT_RANK, w->hat, w->u + k * LAT_N);
    prg_bytes(prg, w->random, sizeof w->random[0] * 3 * LAT_DIM);
    t->kernel->noise(w->random, LAT_DIM, w->u);
    add_masks_of(j->sums, q, w->u);
    t->kernel->pack(w->u, LAT_DIM, out);
    out += (size_t)LAT_DIM * LAT_REPLY_BYTES;
    prg_bytes(prg, w->flood, n_streams * LAT_PACK * 4 * sizeof w->flood[0]);
    for (size_t s = 0; s < n_streams; s++, out += (size_t)LAT_PACK * LAT_REPLY_BYTES) {
        t->kernel->dot_low(t, 2, h->key_b + s * LAT_RANK, w->hat, w->v);
        for (size_t b = 0; b < LAT_PACK; b++) {
            const uint32_t *f = w->flood + (s * LAT_PACK + b) * 4;
            uint64_t flood = 0 - (2ull << LAT_FLOOD);
            for (size_t i = 0; i < 4; i++)
                flood += f[i] >> (32 - LAT_FLOOD);
            w->v[b] = (w->v[b] << (64 - LAT_KEY)) + j->sums->words[s * j->sums->n_groups + q][b] + flood;
        }
        t->kernel->pack(w->v, LAT_PACK, out);
    }
}

static status finish_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const struct reply_job *j = arg;
    CLEANUP(prg_freep) struct prg *prg = NULL;
    (void)chunk;
    TRY(prg_new(cx, j->seed, &prg));
    struct lattice_work *w = lattice_room_take(&j->h->rooms);
    if (!w) return FAIL(cx, NOMEM, "room to hide sums");
    for (size_t q = begin; q < end; q++)
        finish_group(j, q, prg, w);
    lattice_room_give(&j->h->rooms, w);
    return ctx_check(cx);
}

static status check_request(struct ctx *cx, const struct lattice_host *h, struct sums *j)
{
    if (!h->batch) return FAIL(cx, STATE, "no batch of ciphers is loaded");
    for (size_t i = 0; j->rows && i < j->n_rows; i++)
        if (j->rows[i] >= h->params.n_rows || (i && j->rows[i] <= j->rows[i - 1]))
            return FAIL(cx, ARG, "row %u at place %zu: rows must ascend and be below %zu", j->rows[i], i,
                        h->params.n_rows);
    j->first = NEW(cx, size_t, j->n_features + 1);
    if (!j->first) return FAIL(cx, NOMEM, "%zu features", j->n_features);
    for (size_t f = 0; f < j->n_features; f++) {
        if (j->n_bins[f] > 256) return FAIL(cx, ARG, "feature %zu has %u bins, at most 256", f, j->n_bins[f]);
        j->first[f] = j->n_buckets;
        j->n_buckets += j->n_bins[f];
    }
    j->n_groups = j->n_buckets / LAT_PACK + (j->n_buckets % LAT_PACK != 0);
    return OK;
}

static status reply(struct ctx *cx, struct lattice_host *h, struct sums *sums, struct buf *out)
{
    struct reply_job j = {.h = h, .sums = sums};
    TRY(check_request(cx, h, sums));
    sums->masks_kept = is_kept(&h->kept, sums);
    TRY(sum_all(cx, sums));
    keep(h, sums);
    TRY(rand_bytes(cx, j.seed, sizeof j.seed));
    buf_u8(out, LATTICE_VERSION);
    buf_put(out, h->id, sizeof h->id);
    buf_u64(out, h->batch);
    buf_u64(out, sums->n_buckets);
    j.out = buf_grow(out, lattice_reply_bytes(&h->shape, sums->n_buckets));
    status st = buf_ok(cx, out);
    if (!st.code) st = pool_for(cx, sums->n_groups, GROUPS, finish_chunk, &j);
    secret_wipe(j.seed, sizeof j.seed);
    return st;
}

status lattice_host_sum(struct ctx *cx, struct lattice_host *h, const uint8_t *const *bins,
                        const uint16_t *n_bins, size_t n_features, const uint32_t *rows, size_t n_rows,
                        struct buf *out)
{
    struct sums j = {.h = h, .bins = bins, .n_bins = n_bins, .rows = rows, .n_features = n_features};
    j.n_rows = rows ? n_rows : h->params.n_rows;
    size_t before = out->n;
    struct arena_mark mark = arena_mark(cx->mem);
    status st = reply(cx, h, &j, out);
    arena_rewind(cx->mem, mark);
    if (st.code) out->n = before;
    return st;
}
