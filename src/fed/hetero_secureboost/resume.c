#include "fed/hetero_secureboost/resume.h"
#include "base/arena.h"
#include "base/evp.h"
#include "base/log.h"
#include "base/secret.h"
#include <string.h>

#define LAYOUT     1 /* of the steps: part of the key */
#define NODE_BYTES 73u

/* ---- the key: what the trees depend on ---- */

struct digest {
    EVP_MD_CTX *md;
    struct buf pending;
    bool bad;
};

static void digest_free(struct digest *d)
{
    EVP_MD_CTX_free(d->md);
    buf_free(&d->pending);
}

static void digest_flush(struct digest *d)
{
    d->bad = d->bad || d->pending.bad || EVP_DigestUpdate(d->md, d->pending.p, d->pending.n) != 1;
    buf_reset(&d->pending);
}

static void digest_put(struct digest *d, const void *p, size_t n)
{
    buf_u64(&d->pending, n);
    if (n) buf_put(&d->pending, p, n);
    if (d->pending.n >= 1 << 16) digest_flush(d);
}

static void digest_text(struct digest *d, const char *s)
{
    digest_put(d, s, strlen(s));
}

static void digest_rows(struct digest *d, const struct table *t)
{
    uint64_t n = t ? t->n_rows : 0;
    digest_put(d, &n, sizeof n);
    for (size_t i = 0; i < n; i++) {
        struct bytes id = table_id(t, i);
        digest_put(d, id.p, id.n);
    }
}

static status make_key(struct ctx *cx, const struct task *t, const struct binned *x, const double *y,
                       const double *weight, uint8_t key[STEPLOG_KEY])
{
    CLEANUP(digest_free) struct digest d = {.md = EVP_MD_CTX_new()};
    const char *params;
    const struct bins *b = x->bins;
    TRY(js_text(cx, t->params, &params));
    if (!d.md || EVP_DigestInit_ex(d.md, EVP_sha256(), NULL) != 1) return FAIL(cx, NOMEM, "a digest");
    digest_put(&d, &(uint8_t){LAYOUT}, 1);
    digest_text(&d, t->job);
    digest_text(&d, t->instance);
    digest_text(&d, params);
    digest_text(&d, role_name(t->me.role));
    digest_put(&d, &t->me.id, sizeof t->me.id);
    for (size_t i = 0; i < t->n_parties; i++) {
        digest_text(&d, role_name(t->parties[i].role));
        digest_put(&d, &t->parties[i].id, sizeof t->parties[i].id);
    }
    digest_rows(&d, task_input(t, "train_data"));
    digest_rows(&d, task_input(t, "validate_data"));
    digest_put(&d, b->split_at, (b->n_features + 1) * sizeof *b->split_at);
    digest_put(&d, b->split, b->split_at[b->n_features] * sizeof *b->split);
    digest_put(&d, y, y ? x->n_rows * sizeof *y : 0);
    digest_put(&d, weight, weight ? x->n_rows * sizeof *weight : 0);
    digest_flush(&d);
    return !d.bad && EVP_DigestFinal_ex(d.md, key, NULL) == 1 ? OK : FAIL(cx, NOMEM, "a digest");
}

/* ---- opening, agreeing ---- */

static void arena_free_hook(void *a)
{
    arena_free(a);
}

status resume_open(struct ctx *cx, const struct task *t, const struct binned *x, size_t n_valid,
                   const double *y, const double *weight, bool leaves, struct resume *out)
{
    *out = (struct resume){.n_rows = leaves ? x->n_rows : 0, .n_valid = leaves ? n_valid : 0};
    if (!t->checkpoint_dir) return OK;
    uint8_t key[STEPLOG_KEY];
    uint64_t n;
    struct bytes run;
    const char *path = arena_printf(cx->mem, "%s/trees", t->checkpoint_dir);
    out->leaf = NEW(cx, int32_t, out->n_rows + 1);
    out->valid_leaf = NEW(cx, int32_t, out->n_valid + 1);
    out->mem = arena_new(0);
    if (!out->mem || !arena_on_free(cx->mem, arena_free_hook, out->mem)) {
        arena_free(out->mem);
        return FAIL(cx, NOMEM, "a checkpoint");
    }
    if (!path || !out->leaf || !out->valid_leaf) return FAIL(cx, NOMEM, "a checkpoint");
    TRY(make_key(cx, t, x, y, weight, key));
    TRY(steplog_open(cx, path, key, &out->log, &n));
    if (n == 0) return OK;
    TRY(steplog_read(cx, out->log, 0, &run));
    if (run.n != SBT_RUN) return FAIL(cx, FORMAT, "checkpoint: a run's name of %zu bytes", run.n);
    memcpy(out->run, run.p, SBT_RUN);
    out->n_trees = (size_t)n - 1;
    return OK;
}

void resume_close(struct resume *r)
{
    steplog_close(r->log);
    r->log = NULL;
}

/* OK also when the disk takes no more: then there are no further checkpoints. */
static status keep(struct ctx *cx, struct resume *r, const void *p, size_t n)
{
    status st = steplog_add(cx, r->log, p, n);
    if (st.code != ERR_IO) return st;
    log_warn(cx, "no more checkpoints: after an interruption the training goes on from the last one",
             KV("trees", r->n_trees), KV("error", (const char *)cx->err.msg));
    resume_close(r);
    return OK;
}

static status begin_run(struct ctx *cx, struct resume *r)
{
    r->n_trees = 0;
    if (!r->log) return OK;
    TRY(steplog_cut(cx, r->log, 0));
    return keep(cx, r, r->run, SBT_RUN);
}

status resume_agree(struct ctx *cx, struct resume *r, const struct resume_held *host, size_t n_hosts,
                    unsigned dim, size_t most)
{
    size_t n = r->log ? r->n_trees : 0;
    for (size_t i = 0; i < n_hosts; i++) {
        size_t held = memcmp(host[i].run, r->run, SBT_RUN) == 0 ? host[i].n_trees : 0;
        n = held < n ? held : n;
    }
    n -= n % dim;
    if (n > most) return FAIL(cx, INTERNAL, "a checkpoint of %zu trees, at most %zu", n, most);
    if (r->n_trees || n)
        log_info(cx, "goes on from the last round that all parties hold", KV("trees", n),
                 KV("held_here", r->n_trees));
    if (n == 0) {
        TRY(rand_bytes(cx, r->run, SBT_RUN));
        return begin_run(cx, r);
    }
    r->n_trees = n;
    return steplog_cut(cx, r->log, 1 + n);
}

status resume_accept(struct ctx *cx, struct resume *r, const uint8_t run[SBT_RUN], size_t n_trees)
{
    bool same = memcmp(run, r->run, SBT_RUN) == 0;
    if (n_trees > (same ? r->n_trees : 0))
        return FAIL(cx, PROTO, "the guest goes on from tree %zu, here are %zu", n_trees,
                    same ? r->n_trees : 0);
    if (n_trees == 0) {
        memcpy(r->run, run, SBT_RUN);
        return begin_run(cx, r);
    }
    log_info(cx, "goes on from the last round that all parties hold", KV("trees", n_trees),
             KV("held_here", r->n_trees));
    r->n_trees = n_trees;
    return steplog_cut(cx, r->log, 1 + n_trees);
}

/* ---- trees ---- */

void resume_put_tree(struct buf *b, const struct tree *t)
{
    buf_u32(b, (uint32_t)t->n_nodes);
    for (size_t i = 0; i < t->n_nodes; i++) {
        const struct tree_node *v = &t->nodes[i];
        buf_u32(b, (uint32_t)v->parent);
        buf_u32(b, (uint32_t)v->left);
        buf_u32(b, (uint32_t)v->right);
        buf_u32(b, (uint32_t)v->party);
        buf_u32(b, v->feature);
        buf_u32(b, v->bin);
        buf_f64(b, v->split);
        buf_u8(b, (uint8_t)(v->missing_left | v->is_leaf << 1));
        buf_f64(b, v->weight);
        buf_f64(b, v->gain);
        buf_f64(b, v->sum_g);
        buf_f64(b, v->sum_h);
        buf_u64(b, v->cover);
    }
}

static status take_i32(struct ctx *cx, struct reader *r, int32_t *out)
{
    uint32_t x;
    TRY(reader_u32(cx, r, &x));
    *out = (int32_t)x;
    return OK;
}

static status take_node(struct ctx *cx, struct reader *r, struct tree_node *v)
{
    uint8_t flags;
    TRY(take_i32(cx, r, &v->parent));
    TRY(take_i32(cx, r, &v->left));
    TRY(take_i32(cx, r, &v->right));
    TRY(take_i32(cx, r, &v->party));
    TRY(reader_u32(cx, r, &v->feature));
    TRY(reader_u32(cx, r, &v->bin));
    TRY(reader_f64(cx, r, &v->split));
    TRY(reader_u8(cx, r, &flags));
    TRY(reader_f64(cx, r, &v->weight));
    TRY(reader_f64(cx, r, &v->gain));
    TRY(reader_f64(cx, r, &v->sum_g));
    TRY(reader_f64(cx, r, &v->sum_h));
    TRY(reader_u64(cx, r, &v->cover));
    if (flags > 3) return FAIL(cx, FORMAT, "flags %u", flags);
    v->missing_left = flags & 1, v->is_leaf = flags >> 1;
    return OK;
}

status resume_take_tree(struct ctx *cx, struct reader *r, struct arena *mem, struct tree *out)
{
    uint32_t n;
    TRY(reader_u32(cx, r, &n));
    if (n == 0 || n > reader_left(r) / NODE_BYTES) return FAIL(cx, FORMAT, "a tree of %u nodes", n);
    struct tree_node *node = arena_alloc_n(mem, n, sizeof *node, 64);
    if (!node) return FAIL(cx, NOMEM, "%u nodes", n);
    for (uint32_t i = 0; i < n; i++) {
        struct tree_node *v = &node[i];
        TRY(take_node(cx, r, v));
        v->id = (int32_t)i;
        bool down =
            (int64_t)v->left > i && (int64_t)v->right > i && (int64_t)v->left < n && (int64_t)v->right < n;
        bool none = v->left == -1 && v->right == -1;
        if (v->party < 0 || v->party >= TASK_PARTIES_MAX || (v->is_leaf ? !none : !down) || v->parent < -1 ||
            v->parent >= (int64_t)i + (i == 0))
            return FAIL(cx, FORMAT, "node %u of %u", i, n);
    }
    *out = (struct tree){n, node};
    return OK;
}

/* ---- leaves ---- */

static void put_leaves(struct buf *b, const int32_t *leaf, size_t n, unsigned width)
{
    uint8_t *p = buf_grow(b, n * width);
    if (!p) return;
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < width; k++)
            *p++ = (uint8_t)((uint32_t)leaf[i] >> 8 * k);
}

static status take_leaves(struct ctx *cx, struct reader *r, size_t n, unsigned width, int32_t *leaf)
{
    const uint8_t *p;
    if (n > reader_left(r) / width) return FAIL(cx, FORMAT, "leaves of %zu rows", n);
    TRY(reader_bytes(cx, r, n * width, &p));
    for (size_t i = 0; i < n; i++) {
        uint32_t x = 0;
        for (unsigned k = 0; k < width; k++)
            x |= (uint32_t)*p++ << 8 * k;
        leaf[i] = (int32_t)x;
    }
    return OK;
}

static unsigned width_of(size_t n_nodes)
{
    return n_nodes <= 256 ? 1 : n_nodes <= 65536 ? 2 : 4;
}

status resume_add(struct ctx *cx, struct resume *r, const struct tree *t, const int32_t *leaf,
                  const int32_t *valid_leaf)
{
    CLEANUP(buf_free) struct buf b = {0};
    if (!r->log) return OK;
    resume_put_tree(&b, t);
    if (leaf) put_leaves(&b, leaf, r->n_rows, width_of(t->n_nodes));
    if (valid_leaf) put_leaves(&b, valid_leaf, r->n_valid, width_of(t->n_nodes));
    TRY(buf_ok(cx, &b));
    TRY(keep(cx, r, b.p, b.n));
    r->n_trees++;
    return OK;
}

static status parse(struct ctx *cx, struct resume *r, struct bytes step, struct arena *mem,
                    struct gbdt_grown *out)
{
    struct reader in = reader_of(step.p, step.n);
    TRY(resume_take_tree(cx, &in, mem, &out->tree));
    unsigned width = width_of(out->tree.n_nodes);
    TRY(take_leaves(cx, &in, r->n_rows, width, r->leaf));
    TRY(take_leaves(cx, &in, r->n_valid, width, r->valid_leaf));
    out->leaf = r->leaf, out->valid_leaf = r->valid_leaf;
    return reader_end(cx, &in);
}

status resume_tree(struct ctx *cx, struct resume *r, size_t i, struct gbdt_grown *out)
{
    struct ctx tmp = {.mem = r->mem};
    struct bytes step;
    arena_reset(r->mem);
    status st = steplog_read(&tmp, r->log, 1 + i, &step);
    if (st.code) {
        cx->err = tmp.err;
        return st;
    }
    TRY_IN(cx, parse(cx, r, step, cx->mem, out), "checkpoint: tree %zu", i);
    return OK;
}
