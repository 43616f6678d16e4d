/* gbdt_hist.c - histograms of integer gradients.
 *
 * A bucket is one 16-byte pair: g, and h * 2^16 + 1, so that one addition counts the row too. After 65,535 rows at most
 * the pairs are taken apart and added to the 64-bit sums. */
#include "base/arena.h"
#include "base/pool.h"
#include "learn/gbdt_int.h"
#include <string.h>

#define FLUSH_ROWS   65535 /* counts of 16 bits */
#define BLOCK_ROWS   16384
#define BLOCKS_MAX   16    /* per node and panel: bounds the memory of partial sums */
#define TASK_UPDATES 65536 /* work worth handing to another thread */
#define AHEAD        24    /* rows; the next lines of scattered rows are asked for early */

typedef int64_t pair __attribute__((vector_size(16)));

/* ---- rows side by side ---- */

struct panel_job {
    const struct binned *b;
    const uint32_t *feature;
    size_t n_on;
    uint8_t **panel;
};

static status panel_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct panel_job *j = arg;
    for (size_t p = 0; p * PANEL_COLUMNS < j->n_on; p++) {
        const uint8_t *col[PANEL_COLUMNS];
        for (size_t c = 0; c < PANEL_COLUMNS; c++) { /* the last panel repeats its last column */
            size_t at = p * PANEL_COLUMNS + c;
            col[c] = j->b->col[j->feature[at < j->n_on ? at : j->n_on - 1]];
        }
        uint8_t *to = j->panel[p];
        for (size_t i = begin; i < end; i++)
            for (size_t c = 0; c < PANEL_COLUMNS; c++)
                to[i * PANEL_COLUMNS + c] = col[c][i];
    }
    return OK;
}

status panels_make(struct ctx *cx, struct arena *mem, const struct binned *b, const bool *on,
                   struct panels *out)
{
    size_t nf = b->bins->n_features, n_on = 0;
    uint32_t *feature = arena_alloc_n(mem, nf + 1, sizeof *feature, 64);
    if (!feature) return FAIL(cx, NOMEM, "%zu columns", nf);
    for (size_t f = 0; f < nf; f++)
        if (!on || on[f]) feature[n_on++] = (uint32_t)f;
    size_t n = pool_chunks(n_on, PANEL_COLUMNS);
    uint8_t **panel = arena_alloc_n(mem, n + 1, sizeof *panel, 64);
    unsigned *most = arena_alloc_n(mem, n + 1, sizeof *most, 64);
    if (!panel || !most) return FAIL(cx, NOMEM, "%zu columns", nf);
    for (size_t p = 0; p < n; p++) {
        panel[p] = arena_alloc_n(mem, b->n_rows + 1, PANEL_COLUMNS, 64);
        if (!panel[p]) return FAIL(cx, NOMEM, "%zu rows of %zu columns", b->n_rows, n_on);
        for (size_t k = p * PANEL_COLUMNS; k < n_on && k < (p + 1) * PANEL_COLUMNS; k++)
            if (bins_buckets(b->bins, feature[k]) > most[p]) most[p] = bins_buckets(b->bins, feature[k]);
    }
    struct panel_job j = {b, feature, n_on, panel};
    if (n) TRY(pool_for(cx, b->n_rows, BLOCK_ROWS, panel_chunk, &j));
    *out = (struct panels){.bins = b->bins,
                           .n_rows = b->n_rows,
                           .n_on = n_on,
                           .n = n,
                           .feature = feature,
                           .panel = (const uint8_t *const *)panel,
                           .most_buckets = most};
    return OK;
}

/* ---- sums ---- */

void hist_build_ref(const struct binned *b, const bool *on, const struct gh *gh, const struct hist_task *t)
{
    for (size_t f = 0; f < b->bins->n_features; f++) {
        if (on && !on[f]) continue;
        size_t at = b->bins->bucket_at[f], n = bins_buckets(b->bins, f);
        memset(t->hist + at, 0, n * sizeof *t->hist);
        memset(t->count + at, 0, n * sizeof *t->count);
        for (size_t i = 0; i < t->n; i++) {
            size_t k = at + b->col[f][t->rows[i]];
            t->hist[k].g += gh[t->rows[i]].g, t->hist[k].h += gh[t->rows[i]].h;
            t->count[k]++;
        }
    }
}

/* stride: pairs per column, a constant in every caller, so that the columns' places are immediate offsets. */
static inline __attribute__((always_inline)) void add_rows(const uint8_t *panel, const uint32_t *rows,
                                                           size_t n, const struct gh *gh, pair *sum,
                                                           const size_t stride)
{
    for (size_t i = 0; i < n; i++) {
        size_t r = rows[i];
        if (i + AHEAD < n) {
            __builtin_prefetch(panel + rows[i + AHEAD] * (size_t)PANEL_COLUMNS);
            __builtin_prefetch(&gh[rows[i + AHEAD]]);
        }
        const uint8_t *b = panel + r * PANEL_COLUMNS;
        pair v = {gh[r].g, gh[r].h * 65536 + 1};
        sum[0 * stride + b[0]] += v;
        sum[1 * stride + b[1]] += v;
        sum[2 * stride + b[2]] += v;
        sum[3 * stride + b[3]] += v;
        sum[4 * stride + b[4]] += v;
        sum[5 * stride + b[5]] += v;
        sum[6 * stride + b[6]] += v;
        sum[7 * stride + b[7]] += v;
    }
}

/* Strides are odd multiples of a line or so: the columns' first buckets fall in different sets of the cache. */
static size_t stride_of(unsigned most_buckets)
{
    return most_buckets <= 36 ? 36 : most_buckets <= 68 ? 68 : most_buckets <= 132 ? 132 : 260;
}

static void add_rows_by(size_t stride, const uint8_t *panel, const uint32_t *rows, size_t n,
                        const struct gh *gh, pair *sum)
{
    if (stride == 36)
        add_rows(panel, rows, n, gh, sum, 36);
    else if (stride == 68)
        add_rows(panel, rows, n, gh, sum, 68);
    else if (stride == 132)
        add_rows(panel, rows, n, gh, sum, 132);
    else
        add_rows(panel, rows, n, gh, sum, 260);
}

struct hist_block { /* some rows of one node, one panel */
    const uint32_t *rows;
    size_t n;
    size_t panel;
    struct gh *hist; /* the node's, or a partial sum's */
    uint32_t *count;
};
struct hist_job {
    const struct panels *x;
    const struct gh *gh;
    const struct hist_block *block;
};

/* Takes the pairs apart. first: the sums are set, else added to. */
static void flush(const struct panels *x, const struct hist_block *b, size_t stride, const pair *sum,
                  bool first)
{
    for (size_t c = 0; c < PANEL_COLUMNS && b->panel * PANEL_COLUMNS + c < x->n_on; c++) {
        uint32_t f = x->feature[b->panel * PANEL_COLUMNS + c];
        size_t at = x->bins->bucket_at[f], n = bins_buckets(x->bins, f);
        struct gh *hist = b->hist + at;
        uint32_t *count = b->count + at;
        const pair *s = sum + c * stride;
        for (size_t k = 0; k < n; k++) {
            struct gh v = {s[k][0], s[k][1] >> 16};
            uint32_t rows = (uint32_t)(s[k][1] & 0xffff);
            hist[k].g = first ? v.g : hist[k].g + v.g;
            hist[k].h = first ? v.h : hist[k].h + v.h;
            count[k] = first ? rows : count[k] + rows;
        }
    }
}

static status hist_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct hist_job *j = arg;
    pair sum[PANEL_COLUMNS * 260] __attribute__((aligned(64)));
    TRY(ctx_check(cx));
    for (size_t k = begin; k < end; k++) {
        const struct hist_block *b = &j->block[k];
        size_t stride = stride_of(j->x->most_buckets[b->panel]), at = 0;
        do {
            size_t n = b->n - at < FLUSH_ROWS ? b->n - at : FLUSH_ROWS;
            memset(sum, 0, PANEL_COLUMNS * stride * sizeof *sum);
            add_rows_by(stride, j->x->panel[b->panel], b->rows + at, n, j->gh, sum);
            flush(j->x, b, stride, sum, at == 0);
            at += n;
        } while (at < b->n);
    }
    return OK;
}

static size_t block_rows(size_t n)
{
    size_t rows = n / BLOCKS_MAX + 1;
    return rows > BLOCK_ROWS ? rows : BLOCK_ROWS;
}

static size_t blocks_of(size_t n)
{
    return n ? pool_chunks(n, block_rows(n)) : 1; /* of no rows too: its sums must be set */
}

/* Adds the partial sums of a node's later blocks. */
struct merge_job {
    const struct panels *x;
    const struct hist_task *task;
    const size_t *part; /* first partial sum of each task, n_tasks + 1 */
    struct gh *hist;    /* partial sums, bins_total each */
    uint32_t *count;
};

static status merge_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)cx, (void)chunk;
    struct merge_job *j = arg;
    size_t total = bins_total(j->x->bins);
    for (size_t k = begin; k < end; k++) {
        const struct hist_task *t = &j->task[k / j->x->n_on];
        uint32_t f = j->x->feature[k % j->x->n_on];
        size_t at = j->x->bins->bucket_at[f], n = bins_buckets(j->x->bins, f);
        for (size_t p = j->part[k / j->x->n_on]; p < j->part[k / j->x->n_on + 1]; p++) {
            const struct gh *h = j->hist + p * total + at;
            for (size_t i = 0; i < n; i++) {
                t->hist[at + i].g += h[i].g, t->hist[at + i].h += h[i].h;
                t->count[at + i] += j->count[p * total + at + i];
            }
        }
    }
    return OK;
}

static size_t cut_blocks(const struct panels *x, const struct hist_task *task, size_t n_tasks,
                         const struct merge_job *m, struct hist_block *block)
{
    size_t n_blocks = 0, total = bins_total(x->bins);
    for (size_t t = 0; t < n_tasks; t++) {
        size_t step = block_rows(task[t].n);
        for (size_t b = 0; b < blocks_of(task[t].n); b++) {
            size_t at = b * step, left = task[t].n - at, part = m->part[t] + b - 1;
            for (size_t p = 0; p < x->n; p++)
                block[n_blocks++] = (struct hist_block){.rows = task[t].rows + at,
                                                        .n = left < step ? left : step,
                                                        .panel = p,
                                                        .hist = b ? m->hist + part * total : task[t].hist,
                                                        .count = b ? m->count + part * total : task[t].count};
        }
    }
    return n_blocks;
}

status hist_build(struct ctx *cx, const struct panels *x, const struct gh *gh, const struct hist_task *task,
                  size_t n_tasks)
{
    if (n_tasks == 0 || x->n == 0) return OK;
    struct arena_mark mark = arena_mark(cx->mem);
    size_t *part = NEW(cx, size_t, n_tasks + 1), n_blocks = 0, n_rows = 0, total = bins_total(x->bins);
    if (!part) return FAIL(cx, NOMEM, "%zu histograms", n_tasks);
    for (size_t t = 0; t < n_tasks; t++) {
        size_t n = blocks_of(task[t].n);
        part[t + 1] = part[t] + n - 1;
        n_blocks += n * x->n;
        n_rows += task[t].n;
    }
    struct hist_block *block = NEW(cx, struct hist_block, n_blocks);
    struct merge_job m = {.x = x, .task = task, .part = part};
    m.hist = NEW(cx, struct gh, part[n_tasks] * total + 1);
    m.count = NEW(cx, uint32_t, part[n_tasks] * total + 1);
    if (!block || !m.hist || !m.count) return FAIL(cx, NOMEM, "%zu blocks of histograms", n_blocks);
    cut_blocks(x, task, n_tasks, &m, block);
    size_t updates = n_rows * x->n * PANEL_COLUMNS / n_blocks + 1; /* of a block */
    struct hist_job j = {x, gh, block};
    TRY(pool_for(cx, n_blocks, TASK_UPDATES / updates + 1, hist_chunk, &j));
    if (part[n_tasks]) TRY(pool_for(cx, n_tasks * x->n_on, 8, merge_chunk, &m));
    arena_rewind(cx->mem, mark);
    return OK;
}

void hist_subtract(struct gh *parent, uint32_t *parent_count, const struct gh *sibling,
                   const uint32_t *sibling_count, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        parent[i].g -= sibling[i].g, parent[i].h -= sibling[i].h;
        parent_count[i] -= sibling_count[i];
    }
}
