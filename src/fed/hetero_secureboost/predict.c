#include "fed/hetero_secureboost/predict.h"
#include "base/arena.h"
#include "base/pool.h"
#include "learn/binning.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_CELLS 4194304u /* (row, tree) pairs of a block */
#define BLOCK_ROWS  65536u
#define FORM_LIST   0
#define FORM_BITS   1

/* ---- own columns ---- */

struct own {
    const struct sbt_model *m;
    const struct table *t;
    const struct column **col; /* n_columns; NULL where no node uses it */
    double **x;                /* values of the block */
};

static status own_open(struct ctx *cx, const struct sbt_model *m, const struct table *t, size_t block,
                       struct own *o)
{
    *o = (struct own){.m = m,
                      .t = t,
                      .col = NEW(cx, const struct column *, m->n_columns + 1),
                      .x = NEW(cx, double *, m->n_columns + 1)};
    if (!o->col || !o->x) return FAIL(cx, NOMEM, "%zu columns", m->n_columns);
    for (size_t k = 0; k < m->n_trees; k++) {
        for (size_t i = 0; i < m->trees[k].n_nodes; i++) {
            const struct tree_node *v = &m->trees[k].nodes[i];
            if (v->is_leaf || (size_t)v->party != m->me || o->col[v->feature]) continue;
            const struct column *c = table_column(t, m->column[v->feature]);
            if (!c || c->type == COL_STR)
                return FAIL(cx, ARG, "column %s of the model is %s", m->column[v->feature],
                            c ? "text in this table" : "not in this table");
            o->col[v->feature] = c;
            o->x[v->feature] = NEW(cx, double, block);
            if (!o->x[v->feature]) return FAIL(cx, NOMEM, "%zu rows", block);
        }
    }
    return OK;
}

static status own_read(struct ctx *cx, struct own *o, size_t begin, size_t end)
{
    for (size_t f = 0; f < o->m->n_columns; f++) {
        if (!o->col[f]) continue;
        TRY(table_read_f64(cx, o->t, o->col[f], begin, end, o->x[f]));
        if (o->m->use_missing) continue;
        for (size_t i = 0; i < end - begin; i++)
            if (isnan(o->x[f][i]))
                return FAIL(cx, ARG,
                            "column %s, row %zu is missing, but the model was trained without use_missing",
                            o->m->column[f], begin + i + 1);
    }
    return OK;
}

static inline bool goes_left(const struct own *o, const struct tree_node *v, size_t row)
{
    double x = o->x[v->feature][row];
    bool zero = fabs(x) < BIN_ZERO_EPS;
    if (isnan(x) || (zero && o->m->zero_as_missing)) return v->missing_left;
    return (zero ? 0 : x) <= v->split;
}

static size_t block_rows(const struct sbt_model *m, size_t n_rows)
{
    size_t n = m->n_trees ? BLOCK_CELLS / m->n_trees : BLOCK_ROWS;
    if (n > BLOCK_ROWS) n = BLOCK_ROWS;
    if (n < 64) n = 64;
    return n < n_rows ? n : n_rows;
}

/* ---- guest ---- */

struct walk {
    const struct sbt_model *m;
    struct own own;
    struct link *hosts;
    size_t n_hosts, n; /* rows of this block */
    int32_t *at;       /* n_trees x block: node of each row */
    size_t block;
    struct buf *ask; /* n_trees x n_hosts: queries of one tree to one host */
    uint32_t *n_ask; /* the same: how many */
};

/* Queries of one node: tree, node, rows as a list or as bits. */
static void put_query(struct buf *b, uint32_t tree, uint32_t node, const uint32_t *rows, uint32_t n,
                      size_t n_rows)
{
    bool list = (size_t)n * 32 < n_rows;
    buf_u32(b, tree);
    buf_u32(b, node);
    buf_u8(b, list ? FORM_LIST : FORM_BITS);
    buf_u32(b, n);
    if (list) {
        for (uint32_t i = 0; i < n; i++)
            buf_u32(b, rows[i]);
        return;
    }
    uint8_t *bits = buf_grow(b, bits_bytes(n_rows));
    if (!bits) return;
    memset(bits, 0, bits_bytes(n_rows));
    for (uint32_t i = 0; i < n; i++)
        bit_set(bits, rows[i]);
}

static status advance_tree(struct ctx *cx, struct walk *w, size_t tree)
{
    const struct tree *t = &w->m->trees[tree];
    int32_t *at = w->at + tree * w->block;
    uint32_t *count = NEW(cx, uint32_t, t->n_nodes + 1);
    if (!count) return FAIL(cx, NOMEM, "%zu nodes", t->n_nodes);
    for (size_t i = 0; i < w->n; i++) {
        const struct tree_node *v = &t->nodes[at[i]];
        while (!v->is_leaf && v->party == 0)
            v = &t->nodes[goes_left(&w->own, v, i) ? v->left : v->right];
        at[i] = v->id;
        if (!v->is_leaf) count[v->id + 1]++;
    }
    for (size_t i = 0; i < t->n_nodes; i++)
        count[i + 1] += count[i];
    uint32_t *rows = NEW(cx, uint32_t, (size_t)count[t->n_nodes] + 1), *next = NEW(cx, uint32_t, t->n_nodes);
    if (!rows || !next) return FAIL(cx, NOMEM, "%u rows", count[t->n_nodes]);
    memcpy(next, count, t->n_nodes * sizeof *next);
    for (size_t i = 0; i < w->n; i++)
        if (!t->nodes[at[i]].is_leaf) rows[next[at[i]]++] = (uint32_t)i;
    for (size_t i = 0; i < t->n_nodes; i++) {
        uint32_t n = count[i + 1] - count[i];
        if (n == 0) continue;
        size_t slot = tree * w->n_hosts + (size_t)t->nodes[i].party - 1;
        put_query(&w->ask[slot], (uint32_t)tree, (uint32_t)i, rows + count[i], n, w->n);
        w->n_ask[slot]++;
    }
    return OK;
}

static status advance_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct walk *w = arg;
    TRY(ctx_check(cx));
    for (size_t tree = begin; tree < end; tree++) {
        for (size_t h = 0; h < w->n_hosts; h++) {
            buf_reset(&w->ask[tree * w->n_hosts + h]);
            w->n_ask[tree * w->n_hosts + h] = 0;
        }
        TRY(advance_tree(cx, w, tree));
    }
    return OK;
}

/* Moves the rows of a query by the host's answer bits. */
static status apply_query(struct ctx *cx, struct walk *w, struct reader *q, size_t *bit, const uint8_t *bits,
                          size_t n_bits)
{
    uint32_t tree, node, n;
    uint8_t form;
    TRY(reader_u32(cx, q, &tree));
    TRY(reader_u32(cx, q, &node));
    TRY(reader_u8(cx, q, &form));
    TRY(reader_u32(cx, q, &n));
    const struct tree_node *v = &w->m->trees[tree].nodes[node];
    int32_t *at = w->at + tree * w->block;
    if (*bit + n > n_bits) return FAIL(cx, PROTO, "an answer of %zu bits is too short", n_bits);
    if (form == FORM_LIST) {
        for (uint32_t i = 0; i < n; i++) {
            uint32_t row;
            TRY(reader_u32(cx, q, &row));
            at[row] = bit_get(bits, (*bit)++) ? v->left : v->right;
        }
        return OK;
    }
    const uint8_t *rows;
    TRY(reader_bytes(cx, q, bits_bytes(w->n), &rows));
    for (size_t i = 0; i < w->n; i++)
        if (bit_get(rows, i)) at[i] = bit_get(bits, (*bit)++) ? v->left : v->right;
    return OK;
}

static status send_ask(struct ctx *cx, struct walk *w, size_t h, size_t begin, uint32_t *n_queries)
{
    CLEANUP(buf_free) struct buf b = {0};
    *n_queries = 0;
    for (size_t t = 0; t < w->m->n_trees; t++)
        *n_queries += w->n_ask[t * w->n_hosts + h];
    if (*n_queries == 0) return OK;
    buf_u32(&b, *n_queries);
    buf_u64(&b, begin);
    buf_u32(&b, (uint32_t)w->n);
    for (size_t t = 0; t < w->m->n_trees; t++) {
        const struct buf *q = &w->ask[t * w->n_hosts + h];
        TRY(buf_ok(cx, q));
        if (q->n) buf_put(&b, q->p, q->n);
    }
    return link_send(cx, &w->hosts[h], TAG_ASK, &b);
}

static status recv_answer(struct ctx *cx, struct walk *w, size_t h)
{
    struct bytes m;
    TRY(link_recv(cx, &w->hosts[h], TAG_ANSWER, &m));
    size_t bit = 0;
    for (size_t t = 0; t < w->m->n_trees; t++) {
        const struct buf *b = &w->ask[t * w->n_hosts + h];
        struct reader q = reader_of(b->p, b->n);
        for (uint32_t i = 0; i < w->n_ask[t * w->n_hosts + h]; i++)
            TRY(apply_query(cx, w, &q, &bit, m.p, m.n * 8));
    }
    if (m.n != bits_bytes(bit))
        return FAIL(cx, PROTO, "an answer of %zu bytes, want %zu", m.n, bits_bytes(bit));
    return OK;
}

/* Until every row is at a leaf of every tree. */
static status walk_block(struct ctx *cx, struct walk *w, size_t begin, size_t end)
{
    w->n = end - begin;
    TRY(own_read(cx, &w->own, begin, end));
    memset(w->at, 0, w->m->n_trees * w->block * sizeof *w->at);
    for (;;) {
        struct arena_mark mark = arena_mark(cx->mem);
        uint32_t *n = NEW(cx, uint32_t, w->n_hosts + 1);
        if (!n) return FAIL(cx, NOMEM, "%zu hosts", w->n_hosts);
        TRY(pool_for(cx, w->m->n_trees, 1, advance_chunk, w));
        uint32_t all = 0;
        for (size_t h = 0; h < w->n_hosts; h++) {
            TRY(send_ask(cx, w, h, begin, &n[h]));
            all |= n[h];
        }
        for (size_t h = 0; h < w->n_hosts; h++)
            if (n[h]) TRY_PEER(cx, recv_answer(cx, w, h), "host %u", w->hosts[h].who.id);
        arena_rewind(cx->mem, mark);
        if (all == 0) return OK;
    }
}

static void add_scores(const struct walk *w, size_t begin, double *score)
{
    const struct sbt_model *m = w->m;
    for (size_t i = 0; i < w->n; i++) {
        double *s = score + (begin + i) * m->dim;
        for (unsigned k = 0; k < m->dim; k++)
            s[k] = m->init[k];
        for (size_t t = 0; t < m->n_trees; t++)
            s[t % m->dim] += m->learning_rate * m->trees[t].nodes[w->at[t * w->block + i]].weight;
    }
}

static void free_asks(struct walk *w)
{
    for (size_t i = 0; w->ask && i < w->m->n_trees * w->n_hosts; i++)
        buf_free(&w->ask[i]);
}

status sbt_walk_guest(struct ctx *cx, const struct sbt_model *m, const struct table *t, struct link *hosts,
                      double *score)
{
    CLEANUP(free_asks) struct walk w = {.m = m, .hosts = hosts, .n_hosts = m->n_sites - 1};
    w.block = block_rows(m, t->n_rows);
    TRY(own_open(cx, m, t, w.block + 1, &w.own));
    w.at = NEW(cx, int32_t, m->n_trees * w.block + 1);
    w.ask = NEW(cx, struct buf, m->n_trees * w.n_hosts + 1);
    w.n_ask = NEW(cx, uint32_t, m->n_trees * w.n_hosts + 1);
    if (!w.at || !w.ask || !w.n_ask) return FAIL(cx, NOMEM, "%zu trees", m->n_trees);
    CLEANUP(buf_free) struct buf hello = {0};
    CLEANUP(buf_free) struct buf end = {0};
    buf_u8(&hello, SBT_VERSION);
    buf_u64(&hello, t->n_rows);
    buf_u32(&hello, (uint32_t)m->n_trees);
    buf_u32(&end, 0);
    for (size_t h = 0; h < w.n_hosts; h++)
        TRY(link_send(cx, &hosts[h], TAG_WALK, &hello));
    for (size_t at = 0; at < t->n_rows; at += w.block) {
        size_t to = at + w.block < t->n_rows ? at + w.block : t->n_rows;
        TRY(walk_block(cx, &w, at, to));
        add_scores(&w, at, score);
    }
    for (size_t h = 0; h < w.n_hosts; h++)
        TRY(link_send(cx, &hosts[h], TAG_ASK, &end));
    return OK;
}

/* ---- host ---- */

struct answerer {
    struct own own;
    size_t block, begin, n; /* the block whose values are read */
    bool ready;
};

static status answer_query(struct ctx *cx, struct answerer *a, struct reader *q, struct buf *flags)
{
    const struct sbt_model *m = a->own.m;
    uint32_t tree, node, n;
    uint8_t form;
    TRY(reader_u32(cx, q, &tree));
    TRY(reader_u32(cx, q, &node));
    TRY(reader_u8(cx, q, &form));
    TRY(reader_u32(cx, q, &n));
    if (tree >= m->n_trees || node >= m->trees[tree].n_nodes || n > a->n || form > FORM_BITS)
        return FAIL(cx, PROTO, "a query of tree %u, node %u, %u rows", tree, node, n);
    const struct tree_node *v = &m->trees[tree].nodes[node];
    if (v->is_leaf || (size_t)v->party != m->me)
        return FAIL(cx, PROTO, "tree %u, node %u is not this host's", tree, node);
    uint8_t *out = buf_grow(flags, n);
    if (!out && n) return FAIL(cx, NOMEM, "%u rows", n);
    if (form == FORM_LIST) {
        for (uint32_t i = 0; i < n; i++) {
            uint32_t row;
            TRY(reader_u32(cx, q, &row));
            if (row >= a->n) return FAIL(cx, PROTO, "row %u of a block of %zu", row, a->n);
            out[i] = goes_left(&a->own, v, row);
        }
        return OK;
    }
    const uint8_t *rows;
    uint32_t k = 0;
    TRY(reader_bytes(cx, q, bits_bytes(a->n), &rows));
    for (size_t i = 0; i < a->n; i++) {
        if (!bit_get(rows, i)) continue;
        if (k == n) return FAIL(cx, PROTO, "a query has more than its %u rows", n);
        out[k++] = goes_left(&a->own, v, i);
    }
    return k == n ? OK : FAIL(cx, PROTO, "a query has %u of its %u rows", k, n);
}

static status answer(struct ctx *cx, struct answerer *a, struct link *guest, bool *done)
{
    CLEANUP(buf_free) struct buf flags = {0};
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes m;
    uint32_t n_queries, n;
    uint64_t begin;
    TRY(ctx_check(cx));
    TRY(link_recv(cx, guest, TAG_ASK, &m));
    struct reader q = reader_of(m.p, m.n);
    TRY(reader_u32(cx, &q, &n_queries));
    *done = n_queries == 0;
    if (*done) return reader_end(cx, &q);
    TRY(reader_u64(cx, &q, &begin));
    TRY(reader_u32(cx, &q, &n));
    if (n > a->block || begin > a->own.t->n_rows || n > a->own.t->n_rows - begin)
        return FAIL(cx, PROTO, "a block of %u rows from row %llu", n, (unsigned long long)begin);
    if (!a->ready || a->begin != begin || a->n != n) {
        a->begin = (size_t)begin, a->n = n, a->ready = true;
        TRY(own_read(cx, &a->own, a->begin, a->begin + n));
    }
    for (uint32_t i = 0; i < n_queries; i++)
        TRY(answer_query(cx, a, &q, &flags));
    TRY(reader_end(cx, &q));
    TRY(buf_ok(cx, &flags));
    bits_put(&b, flags.p, flags.n);
    return link_send(cx, guest, TAG_ANSWER, &b);
}

status sbt_walk_host(struct ctx *cx, const struct sbt_model *m, const struct table *t, struct link *guest)
{
    struct bytes hello;
    uint8_t version;
    uint64_t n_rows;
    uint32_t n_trees;
    TRY(link_recv(cx, guest, TAG_WALK, &hello));
    struct reader r = reader_of(hello.p, hello.n);
    TRY_PEER(cx, reader_u8(cx, &r, &version), TAG_WALK);
    TRY_PEER(cx, reader_u64(cx, &r, &n_rows), TAG_WALK);
    TRY_PEER(cx, reader_u32(cx, &r, &n_trees), TAG_WALK);
    TRY_PEER(cx, reader_end(cx, &r), TAG_WALK);
    if (version != SBT_VERSION) return FAIL(cx, PROTO, "protocol version %u, want %u", version, SBT_VERSION);
    if (n_rows != t->n_rows)
        return FAIL(cx, ARG, "the guest has %llu rows, here are %zu: run Intersection first",
                    (unsigned long long)n_rows, t->n_rows);
    if (n_trees != m->n_trees)
        return FAIL(cx, ARG, "the guest's model has %u trees, this host's %zu: not two halves of one model",
                    n_trees, m->n_trees);
    struct answerer a = {.block = block_rows(m, t->n_rows)};
    TRY(own_open(cx, m, t, a.block + 1, &a.own));
    for (bool done = false; !done;) {
        struct arena_mark mark = arena_mark(cx->mem);
        TRY_PEER(cx, answer(cx, &a, guest, &done), "question of the guest");
        arena_rewind(cx->mem, mark);
    }
    return OK;
}
