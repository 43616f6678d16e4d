#include "fed/hetero_secureboost/peers.h"
#include "base/arena.h"
#include "base/pool.h"
#include "base/secret.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int bits_of(size_t n) /* the least b with n <= 2^b */
{
    int b = 0;
    while (((size_t)1 << b) < n)
        b++;
    return b;
}

/* ---- meeting the hosts ---- */

static status read_features(struct ctx *cx, struct peers *p, struct peer *h, struct resume_held *held)
{
    struct bytes m;
    TRY(link_recv(cx, &h->link, TAG_FEATURES, &m));
    struct reader r = reader_of(m.p, m.n);
    uint8_t version, missing;
    uint64_t n_rows, n_valid;
    uint32_t n_trees;
    const uint8_t *run;
    TRY(reader_u8(cx, &r, &version));
    if (version != SBT_VERSION) return FAIL(cx, PROTO, "protocol version %u, want %u", version, SBT_VERSION);
    TRY(reader_u64(cx, &r, &n_rows));
    TRY(reader_u64(cx, &r, &n_valid));
    TRY(reader_u8(cx, &r, &missing));
    TRY(reader_f64(cx, &r, &h->subsample_rate));
    TRY(reader_bytes(cx, &r, SBT_RUN, &run));
    TRY(reader_u32(cx, &r, &n_trees));
    memcpy(held->run, run, SBT_RUN);
    held->n_trees = n_trees;
    TRY(reader_u32(cx, &r, &h->n_columns));
    size_t nv = p->valid ? p->valid->n_rows : 0;
    if (n_rows != p->n_rows || n_valid != nv)
        return FAIL(
            cx, ARG,
            "it has %llu training and %llu validation rows, here are %zu and %zu: run Intersection first",
            (unsigned long long)n_rows, (unsigned long long)n_valid, p->n_rows, nv);
    if (h->n_columns == 0) return FAIL(cx, ARG, "it has no feature columns");
    if (h->n_columns > SBT_FEATURES_MAX || h->n_columns > reader_left(&r))
        return FAIL(cx, PROTO, "%u columns", h->n_columns);
    if (!(h->subsample_rate >= 0 && h->subsample_rate <= 1))
        return FAIL(cx, PROTO, "rate %g", h->subsample_rate);
    h->use_missing = missing != 0;
    uint16_t *splits = NEW(cx, uint16_t, h->n_columns), *left_out = NEW(cx, uint16_t, h->n_columns);
    const char **name = NEW(cx, const char *, h->n_columns);
    uint32_t *at = NEW(cx, uint32_t, (size_t)h->n_columns + 1);
    h->on = NEW(cx, bool, h->n_columns);
    if (!splits || !left_out || !name || !at || !h->on) return FAIL(cx, NOMEM, "%u columns", h->n_columns);
    for (uint32_t f = 0; f < h->n_columns; f++) {
        TRY(reader_u16(cx, &r, &splits[f]));
        TRY(reader_u16(cx, &r, &left_out[f]));
        TRY(reader_str(cx, &r, SBT_NAME_MAX, &name[f]));
        if (splits[f] == 0 || splits[f] > BINS_MAX || left_out[f] >= sbt_buckets(splits[f], h->use_missing))
            return FAIL(cx, PROTO, "column %u has %u bins, without bucket %u", f, splits[f], left_out[f]);
        at[f + 1] = at[f] + sbt_buckets(splits[f], h->use_missing);
    }
    h->n_splits = splits, h->left_out = left_out, h->name = name, h->at = at;
    return reader_end(cx, &r);
}

static status send_setup(struct ctx *cx, const struct peers *p, struct peer *h, const struct resume *resume)
{
    CLEANUP(buf_free) struct buf pub = {0};
    CLEANUP(buf_free) struct buf b = {0};
    TRY(he_guest_public(cx, p->he, &pub));
    TRY(buf_ok(cx, &pub));
    uint64_t least = p->params->train.tree.min_leaf_node;
    buf_u8(&b, SBT_SETUP);
    buf_u8(&b, SBT_VERSION);
    buf_u64(&b, p->n_rows);
    buf_u64(&b, p->valid ? p->valid->n_rows : 0);
    buf_u64(&b, p->n_batch);
    buf_u64(&b, least ? least : 1);
    buf_put(&b, resume->run, SBT_RUN);
    buf_u32(&b, (uint32_t)resume->n_trees);
    buf_blob(&b, pub.p, pub.n);
    return link_send(cx, &h->link, TAG_ORDER, &b);
}

static void arena_free_hook(void *a)
{
    arena_free(a);
}

int sbt_value_bits(const struct sbt_params *p, size_t n_batch)
{
    int most = he_sum_bits_max(p->scheme, p->key_bits, n_batch, 2) - bits_of(n_batch) - 1;
    return most < SBT_VALUE_BITS ? most : SBT_VALUE_BITS;
}

int sbt_sum_bits(const struct sbt_params *p, size_t n_batch)
{
    return sbt_value_bits(p, n_batch) + bits_of(n_batch) + 1;
}

static status open_he(struct ctx *cx, struct peers *p)
{
    const struct sbt_params *sp = p->params;
    int value = sbt_value_bits(sp, p->n_batch);
    if (value < SBT_VALUE_BITS_MIN)
        return FAIL(cx, LIMIT, "%zu rows leave %d bits for a gradient with this scheme, want %d", p->n_batch,
                    value, SBT_VALUE_BITS_MIN);
    p->he_params = (struct he_params){.scheme = sp->scheme,
                                      .key_bits = sp->key_bits,
                                      .n_rows = p->n_batch,
                                      .n_stats = 2,
                                      .sum_bits = sbt_sum_bits(sp, p->n_batch)};
    TRY(he_describe(cx, &p->he_params, &p->he_info));
    return he_guest_new(cx, &p->he_params, &p->he);
}

status peers_open(struct ctx *cx, struct task *t, const struct sbt_params *params, size_t n_rows,
                  size_t n_batch, const struct binned *valid, struct resume *resume, struct peers *out)
{
    struct peers *p = out;
    *p = (struct peers){.params = params,
                        .n = task_n(t, ROLE_HOST),
                        .n_rows = n_rows,
                        .n_batch = n_batch,
                        .valid = valid,
                        .seed = params->train.seed};
    p->peer = NEW(cx, struct peer, p->n + 1);
    p->batch = NEW(cx, int64_t, 2 * n_batch + 1);
    if (!p->peer || !p->batch) return FAIL(cx, NOMEM, "%zu rows", n_batch);
    for (size_t i = 0; i < 2; i++) {
        p->level_mem[i] = arena_new(0);
        if (!p->level_mem[i] || !arena_on_free(cx->mem, arena_free_hook, p->level_mem[i])) {
            arena_free(p->level_mem[i]);
            return FAIL(cx, NOMEM, "histograms");
        }
    }
    size_t nv = valid ? valid->n_rows : 0;
    TRY(groups_new(cx, nv, &p->valid_groups));
    p->valid_leaf = NEW(cx, int32_t, nv + 1);
    if (!p->valid_leaf) return FAIL(cx, NOMEM, "%zu validation rows", nv);
    TRY(open_he(cx, p));
    struct resume_held *held = NEW(cx, struct resume_held, p->n + 1);
    if (!held) return FAIL(cx, NOMEM, "%zu hosts", p->n);
    for (size_t i = 0; i < p->n; i++) {
        struct peer *h = &p->peer[i];
        h->link = (struct link){.ch = t->channel, .who = task_party(t, ROLE_HOST, i)};
        TRY_PEER(cx, read_features(cx, p, h, &held[i]), "host %u", h->link.who.id);
    }
    unsigned dim = gbdt_dim(&params->train.objective);
    TRY(resume_agree(cx, resume, held, p->n, dim, params->train.n_rounds * dim));
    for (size_t i = 0; i < p->n; i++)
        TRY(send_setup(cx, p, &p->peer[i], resume));
    return OK;
}

void peers_close(struct peers *p)
{
    he_guest_free(p->he);
    p->he = NULL;
}

status peers_stop(struct ctx *cx, struct peers *p, size_t n_trees, unsigned dim, int best_iteration,
                  bool converged)
{
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, SBT_STOP);
    buf_u32(&b, (uint32_t)n_trees);
    buf_u32(&b, dim);
    buf_u32(&b, (uint32_t)best_iteration);
    buf_u8(&b, converged);
    for (size_t i = 0; i < p->n; i++)
        TRY(link_send(cx, &p->peer[i].link, TAG_ORDER, &b));
    return OK;
}

/* ---- a tree begins ---- */

/* A draw of the host's columns for this tree, without repeats, from the job's seed. */
static void draw_columns(const struct peers *p, struct peer *h, size_t which, size_t round, unsigned tree)
{
    size_t n = h->n_columns, want = (size_t)(h->subsample_rate * (double)n);
    if (want < 1) want = 1;
    struct shuffle s = shuffle_new(p->seed ^ (round * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)tree << 48) ^
                                   ((uint64_t)(which + 1) << 32));
    h->n_returned = 0;
    for (size_t f = 0, left = want; f < n; f++) { /* selection sampling (Knuth, 3.4.2 S) */
        h->on[f] = want >= n || shuffle_below(&s, n - f) < left;
        left -= h->on[f];
        if (h->on[f]) h->n_returned += sbt_returned(h->n_splits[f], h->use_missing);
    }
}

static status send_tree(struct ctx *cx, const struct peers *p, struct peer *h, size_t round, unsigned tree,
                        const uint32_t *rows, size_t n, const struct buf *batch)
{
    CLEANUP(buf_free) struct buf b = {0};
    bool sampled = n < p->n_rows;
    buf_u8(&b, SBT_TREE);
    buf_u32(&b, (uint32_t)round);
    buf_u32(&b, tree);
    bits_put(&b, (const uint8_t *)h->on, h->n_columns);
    buf_u8(&b, sampled);
    if (sampled) {
        uint8_t *bits = buf_grow(&b, bits_bytes(p->n_rows));
        if (bits) memset(bits, 0, bits_bytes(p->n_rows));
        for (size_t i = 0; bits && i < n; i++)
            bit_set(bits, rows[i]);
    }
    buf_put(&b, batch->p, batch->n);
    return link_send(cx, &h->link, TAG_ORDER, &b);
}

static status tree_begin(struct ctx *cx, void *self, size_t round, unsigned tree, struct fixed_scale s,
                         const struct gh *gh, size_t n_rows, const uint32_t *rows, size_t n)
{
    struct peers *p = self;
    (void)n_rows;
    p->active = round >= p->params->complete_secure;
    p->scale = s;
    p->next_id = 1, p->first_id = 0, p->prev_first_id = 0;
    for (size_t i = 0; i < p->valid_groups.n; i++)
        p->valid_leaf[i] = 0;
    TRY(groups_start(cx, &p->valid_groups, NULL, 0));
    arena_reset(p->level_mem[0]);
    arena_reset(p->level_mem[1]);
    for (size_t i = 0; i < p->n; i++) {
        struct peer *h = &p->peer[i];
        draw_columns(p, h, i, round, tree);
        if (!p->active) h->n_returned = 0;
        h->hist = h->prev = NULL, h->mask = NULL;
    }
    if (!p->active) return OK;
    if (n != p->n_batch) return FAIL(cx, INTERNAL, "a tree of %zu rows, %zu were announced", n, p->n_batch);
    for (size_t i = 0; i < n; i++)
        p->batch[2 * i] = gh[rows[i]].g, p->batch[2 * i + 1] = gh[rows[i]].h;
    CLEANUP(buf_free) struct buf batch = {0};
    TRY(he_guest_encrypt(cx, p->he, p->batch, &batch));
    TRY(buf_ok(cx, &batch));
    for (size_t i = 0; i < p->n; i++)
        if (p->peer[i].n_returned) TRY(send_tree(cx, p, &p->peer[i], round, tree, rows, n, &batch));
    return OK;
}

/* ---- a level: which nodes to sum ---- */

static bool can_split(const struct peers *p, const struct level_node *v)
{
    const struct gbdt_tree_params *tp = &p->params->train.tree;
    return v->n >= 2 && v->n >= tp->min_sample_split && v->n / 2 >= tp->min_leaf_node;
}

static status level_begin(struct ctx *cx, void *self, const struct level *lv)
{
    struct peers *p = self;
    if (!p->active) return OK;
    struct arena *mem = p->level_mem[lv->depth % 2];
    arena_reset(mem);
    p->prev_first_id = p->first_id;
    p->first_id = lv->nodes[0].id;
    p->summed = arena_alloc_n(mem, lv->n_nodes, sizeof(bool), 1);
    p->candidate = arena_alloc_n(mem, lv->n_nodes, sizeof(bool), 1);
    if (!p->summed || !p->candidate) return FAIL(cx, NOMEM, "a level of %zu nodes", lv->n_nodes);
    for (size_t i = 0; i < lv->n_nodes; i++)
        p->candidate[i] = can_split(p, &lv->nodes[i]);
    for (size_t i = 0; i < lv->n_nodes; i++) {
        size_t sibling = lv->nodes[i].sibling < 0 ? i : i ^ 1;
        p->summed[i] = lv->nodes[i].build && (p->candidate[i] || p->candidate[sibling]);
    }
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, SBT_LEVEL);
    buf_u32(&b, (uint32_t)lv->n_nodes);
    bits_put(&b, (const uint8_t *)p->summed, lv->n_nodes);
    bits_put(&b, (const uint8_t *)p->candidate, lv->n_nodes);
    for (size_t i = 0; i < p->n; i++) {
        struct peer *h = &p->peer[i];
        h->prev = h->hist;
        h->hist = arena_alloc_n(mem, lv->n_nodes, sizeof *h->hist, 8);
        h->mask = arena_alloc_n(mem, lv->n_nodes, sizeof *h->mask, 8);
        if (!h->hist || !h->mask) return FAIL(cx, NOMEM, "a level of %zu nodes", lv->n_nodes);
        if (h->n_returned) TRY(link_send(cx, &h->link, TAG_ORDER, &b));
    }
    return OK;
}

/* ---- a level: sums to splits ---- */

static status recv_masks(struct ctx *cx, const struct peers *p, struct peer *h, const struct level *lv)
{
    if (p->params->train.tree.min_leaf_node <= 1) return OK;
    struct bytes m;
    TRY(link_recv(cx, &h->link, TAG_MASK, &m));
    struct reader r = reader_of(m.p, m.n);
    size_t cuts = 0;
    for (uint32_t f = 0; f < h->n_columns; f++)
        cuts += h->on[f] ? sbt_cuts(h->n_splits[f], h->use_missing) : 0;
    for (size_t i = 0; i < lv->n_nodes; i++) {
        if (!p->candidate[i]) continue;
        uint8_t *flag = arena_alloc_n(p->level_mem[lv->depth % 2], cuts + 1, 1, 1);
        if (!flag) return FAIL(cx, NOMEM, "%zu cuts", cuts);
        TRY(bits_take(cx, &r, cuts, flag));
        h->mask[i] = flag;
    }
    return reader_end(cx, &r);
}

/* One column's sums as split_scan expects them; the bucket left out is what the others leave of the total. */
static const int64_t *place_sums(const struct peer *h, uint32_t f, const struct split_total *total,
                                 const int64_t *sum, struct gh *to)
{
    uint32_t n = sbt_buckets(h->n_splits[f], h->use_missing);
    struct gh rest = {total->g, total->h};
    for (uint32_t b = 0; b < n; b++) {
        if (b == h->left_out[f]) continue;
        to[b] = (struct gh){sum[0], sum[1]};
        rest.g -= sum[0], rest.h -= sum[1];
        sum += 2;
    }
    to[h->left_out[f]] = rest;
    return sum;
}

/* The sums of one node, decrypted and checked. */
static status recv_sums(struct ctx *cx, struct peers *p, struct peer *h, struct arena *mem,
                        const struct level_node *v, struct gh **out)
{
    struct arena_mark mark = arena_mark(cx->mem);
    struct bytes m;
    TRY(link_recv(cx, &h->link, TAG_SUMS, &m));
    int64_t *sum = NEW(cx, int64_t, 2 * h->n_returned), bound = INT64_C(1) << p->he_params.sum_bits;
    struct gh *hist = arena_alloc_n(mem, h->at[h->n_columns], sizeof *hist, 64);
    if (!sum || !hist) return FAIL(cx, NOMEM, "%zu buckets", h->n_returned);
    TRY(he_guest_decrypt(cx, p->he, m, h->n_returned, sum));
    for (size_t i = 0; i < 2 * h->n_returned; i++)
        if (sum[i] <= -bound || sum[i] >= bound)
            return FAIL(cx, PROTO, "bucket %zu: a sum beyond 2^%d", i / 2, p->he_params.sum_bits);
    const int64_t *at = sum;
    for (uint32_t f = 0; f < h->n_columns; f++)
        if (h->on[f] && h->n_splits[f] >= 2) at = place_sums(h, f, &v->total, at, hist + h->at[f]);
    arena_rewind(cx->mem, mark);
    *out = hist;
    return OK;
}

/* The sibling of a summed node: parent minus it. */
static status subtract(struct ctx *cx, const struct peers *p, struct peer *h, struct arena *mem,
                       const struct level *lv, size_t i)
{
    size_t sibling = i ^ 1, n = h->at[h->n_columns];
    const struct gh *parent = h->prev[lv->nodes[i].parent - p->prev_first_id], *mine = h->hist[i];
    struct gh *other = arena_alloc_n(mem, n, sizeof *other, 64);
    if (!other) return FAIL(cx, NOMEM, "%zu buckets", n);
    for (size_t k = 0; k < n; k++)
        other[k] = (struct gh){parent[k].g - mine[k].g, parent[k].h - mine[k].h};
    h->hist[sibling] = other;
    return OK;
}

static status recv_level(struct ctx *cx, struct peers *p, struct peer *h, const struct level *lv)
{
    struct arena *mem = p->level_mem[lv->depth % 2];
    TRY(recv_masks(cx, p, h, lv));
    for (size_t i = 0; i < lv->n_nodes; i++) {
        if (!p->summed[i]) continue;
        TRY(recv_sums(cx, p, h, mem, &lv->nodes[i], &h->hist[i]));
        if (lv->nodes[i].sibling >= 0) TRY(subtract(cx, p, h, mem, lv, i));
    }
    return OK;
}

/* As split_scan, for the cuts that the host's mask admits. */
static void scan_masked(const struct peers *p, const struct peer *h, int32_t party,
                        const struct level_node *v, const struct gh *hist, const uint8_t *mask,
                        struct split *best)
{
    const struct gbdt_tree_params *tp = &p->params->train.tree;
    for (uint32_t f = 0; f < h->n_columns; f++) {
        if (!h->on[f]) continue;
        const struct gh *bucket = hist + h->at[f];
        int64_t g = 0, sum_h = 0;
        for (uint32_t b = 0; b + 1 < h->n_splits[f]; b++) {
            g += bucket[b].g, sum_h += bucket[b].h;
            if (*mask++) split_offer(tp, p->scale, &v->total, party, f, b, false, g, sum_h, 0, best);
            if (!h->use_missing || !*mask++) continue;
            const struct gh *lost = &bucket[h->n_splits[f]];
            split_offer(tp, p->scale, &v->total, party, f, b, true, g + lost->g, sum_h + lost->h, 0, best);
        }
    }
}

struct scan_job {
    const struct peers *p;
    const struct level *lv;
    struct split *best;
};

static status scan_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct scan_job *j = arg;
    const struct peers *p = j->p;
    size_t n_nodes = j->lv->n_nodes;
    TRY(ctx_check(cx));
    for (size_t k = begin; k < end; k++) {
        const struct peer *h = &p->peer[k / n_nodes];
        const struct level_node *v = &j->lv->nodes[k % n_nodes];
        const struct gh *hist = h->hist[k % n_nodes];
        int32_t party = (int32_t)(k / n_nodes) + 1;
        if (!hist || !p->candidate[k % n_nodes]) continue;
        if (h->mask[k % n_nodes]) {
            scan_masked(p, h, party, v, hist, h->mask[k % n_nodes], &j->best[k]);
            continue;
        }
        for (uint32_t f = 0; f < h->n_columns; f++)
            if (h->on[f])
                split_scan(&p->params->train.tree, p->scale, &v->total, party, f, hist + h->at[f], NULL,
                           h->n_splits[f], h->use_missing, &j->best[k]);
    }
    return OK;
}

static status level_splits(struct ctx *cx, void *self, const struct level *lv, struct split *best)
{
    struct peers *p = self;
    if (!p->active) return OK;
    for (size_t i = 0; i < p->n; i++)
        if (p->peer[i].n_returned)
            TRY_PEER(cx, recv_level(cx, p, &p->peer[i], lv), "host %u", p->peer[i].link.who.id);
    return pool_for(cx, p->n * lv->n_nodes, 1, scan_chunk, &(struct scan_job){p, lv, best});
}

/* ---- a level: rows to children ---- */

static status send_chosen(struct ctx *cx, struct peer *h, int32_t party, const struct level *lv,
                          const struct split *chosen, size_t n)
{
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, SBT_CHOSEN);
    buf_u32(&b, (uint32_t)n);
    for (size_t i = 0; i < lv->n_nodes; i++) {
        if (chosen[i].party != party) continue;
        buf_u32(&b, (uint32_t)i);
        buf_u32(&b, chosen[i].feature);
        buf_u16(&b, (uint16_t)chosen[i].bin);
        buf_u8(&b, chosen[i].missing_left);
    }
    return link_send(cx, &h->link, TAG_ORDER, &b);
}

/* valid_left[i]: a flag per validation row of node i. */
static status recv_left(struct ctx *cx, struct peers *p, struct peer *h, int32_t party,
                        const struct level *lv, const struct split *chosen, uint8_t *go_left,
                        uint8_t *const *valid_left)
{
    struct bytes m;
    TRY(link_recv(cx, &h->link, TAG_LEFT, &m));
    struct reader r = reader_of(m.p, m.n);
    for (size_t i = 0; i < lv->n_nodes; i++) {
        if (chosen[i].party != party) continue;
        TRY(bits_take(cx, &r, lv->nodes[i].n_all, go_left + lv->nodes[i].begin));
        TRY(bits_take(cx, &r, p->valid_groups.span[i].n_all, valid_left[i]));
    }
    return reader_end(cx, &r);
}

static void route_valid(const struct peers *p, size_t i, const struct split *s, uint8_t *left)
{
    const struct span *v = &p->valid_groups.span[i];
    const struct bins *b = p->valid->bins;
    uint32_t lost = b->use_missing ? bins_splits(b, s->feature) : UINT32_MAX;
    for (size_t k = 0; k < v->n_all; k++) {
        uint32_t x = p->valid->col[s->feature][p->valid_groups.rows[v->begin + k]];
        left[k] = x == lost ? s->missing_left : x <= s->bin;
    }
}

static status send_route(struct ctx *cx, const struct peers *p, struct peer *h, int32_t party,
                         const struct level *lv, const struct split *chosen, const uint8_t *go_left,
                         uint8_t *const *valid_left)
{
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, SBT_ROUTE);
    buf_u32(&b, (uint32_t)lv->n_nodes);
    for (size_t i = 0; i < lv->n_nodes; i++)
        buf_u8(&b, chosen[i].party < 0 ? SBT_LEAF : chosen[i].party == party ? SBT_YOURS : SBT_BITS);
    for (size_t i = 0; i < lv->n_nodes; i++) {
        if (chosen[i].party < 0 || chosen[i].party == party) continue;
        bits_put(&b, go_left + lv->nodes[i].begin, lv->nodes[i].n_all);
        bits_put(&b, valid_left[i], p->valid_groups.span[i].n_all);
    }
    return link_send(cx, &h->link, TAG_ORDER, &b);
}

/* The validation rows of split nodes go to the children, whose ids are given out as the grower does. */
static status part_valid(struct ctx *cx, struct peers *p, const struct level *lv, const struct split *chosen,
                         uint8_t *const *valid_left)
{
    TRY(groups_part(cx, &p->valid_groups, (const uint8_t *const *)valid_left));
    for (size_t i = 0, k = 0; i < lv->n_nodes; i++) {
        if (chosen[i].party < 0) continue;
        for (int side = 0; side < 2; side++, k++) {
            const struct span *v = &p->valid_groups.span[k];
            for (size_t j = 0; j < v->n_all; j++)
                p->valid_leaf[p->valid_groups.rows[v->begin + j]] = p->next_id;
            p->next_id++;
        }
    }
    return OK;
}

static status level_route(struct ctx *cx, void *self, const struct level *lv, const struct split *chosen,
                          uint8_t *go_left)
{
    struct peers *p = self;
    struct arena_mark mark = arena_mark(cx->mem);
    uint8_t **valid_left = NEW(cx, uint8_t *, lv->n_nodes);
    if (!valid_left) return FAIL(cx, NOMEM, "a level of %zu nodes", lv->n_nodes);
    size_t n_split = 0;
    for (size_t i = 0; i < lv->n_nodes; i++) {
        if (chosen[i].party < 0) continue;
        n_split++;
        valid_left[i] = NEW(cx, uint8_t, p->valid_groups.span[i].n_all + 1);
        if (!valid_left[i]) return FAIL(cx, NOMEM, "validation rows");
        if (chosen[i].party == 0 && p->valid) route_valid(p, i, &chosen[i], valid_left[i]);
    }
    bool *asked = NEW(cx, bool, p->n + 1);
    if (!asked) return FAIL(cx, NOMEM, "%zu hosts", p->n);
    for (size_t k = 0; k < p->n; k++) {
        size_t n = 0;
        for (size_t i = 0; i < lv->n_nodes; i++)
            n += chosen[i].party == (int32_t)k + 1;
        asked[k] = n > 0;
        if (n) TRY(send_chosen(cx, &p->peer[k], (int32_t)k + 1, lv, chosen, n));
    }
    for (size_t k = 0; k < p->n; k++)
        if (asked[k])
            TRY_PEER(cx, recv_left(cx, p, &p->peer[k], (int32_t)k + 1, lv, chosen, go_left, valid_left),
                     "host %u", p->peer[k].link.who.id);
    if (n_split && lv->depth + 1 < p->params->train.tree.max_depth)
        for (size_t k = 0; k < p->n; k++)
            if (p->peer[k].n_returned)
                TRY(send_route(cx, p, &p->peer[k], (int32_t)k + 1, lv, chosen, go_left, valid_left));
    TRY(part_valid(cx, p, lv, chosen, valid_left));
    arena_rewind(cx->mem, mark);
    return OK;
}

/* ---- a tree ends ---- */

static status tree_end(struct ctx *cx, void *self, size_t round, unsigned tree, const struct tree *t)
{
    struct peers *p = self;
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, SBT_END);
    buf_u32(&b, (uint32_t)round);
    buf_u32(&b, tree);
    buf_u32(&b, (uint32_t)t->n_nodes);
    for (size_t i = 0; i < t->n_nodes; i++)
        buf_u8(&b, t->nodes[i].is_leaf ? SBT_OWNER_LEAF : (uint8_t)t->nodes[i].party);
    for (size_t i = 0; i < p->n; i++)
        TRY(link_send(cx, &p->peer[i].link, TAG_ORDER, &b));
    return OK;
}

static status valid_leaves(struct ctx *cx, void *self, const struct tree *t, int32_t *leaf, size_t n)
{
    struct peers *p = self;
    if ((size_t)p->next_id != t->n_nodes)
        return FAIL(cx, INTERNAL, "%d nodes were numbered, the tree has %zu", p->next_id, t->n_nodes);
    memcpy(leaf, p->valid_leaf, n * sizeof *leaf);
    return OK;
}

struct gbdt_peers peers_callbacks(struct peers *p)
{
    return (struct gbdt_peers){.self = p,
                               .n = (unsigned)p->n,
                               .tree_begin = tree_begin,
                               .level_begin = level_begin,
                               .level_splits = level_splits,
                               .level_route = level_route,
                               .tree_end = tree_end,
                               .valid_leaves = p->valid ? valid_leaves : NULL};
}
