/* What SecureBoost takes from another party, and its model files. The first byte says which: orders to a host (the second
 * byte: how many orders of an honest guest come first), replies to a guest, questions to a predicting host, a model.
 * Messages of the input: u16 length, bytes. Law: a status with a message, nothing read out of bounds; trees that are
 * taken are trees. */
#include "base/arena.h"
#include "base/secret.h"
#include "fed/hetero_secureboost/guest.h"
#include "fed/hetero_secureboost/host.h"
#include "fed/hetero_secureboost/predict.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N = 40, COLS = 3, HOST_ID = 10000, GUEST_ID = 9999, RECORDED = 64, VALUE_BITS = 20 };

static struct {
    struct ctx cx;
    double x[COLS][N], y[N];
    struct binned bins;
    struct column cols[COLS];
    struct table table;
    struct sbt_params params;
    struct buf order[RECORDED]; /* of an honest guest */
    size_t n_orders;
    struct model_part *model[2]; /* guest's, host's */
    struct task task[2];
} w;

static void progress(void *self, const char *unit, uint64_t done, uint64_t all)
{
    (void)self, (void)unit, (void)done, (void)all;
}
static const struct tracker_ops tracker = {.progress = progress};

/* ---- messages from the input ---- */

struct feed {
    struct reader r;
    size_t replay; /* orders of the honest guest that come first */
    size_t n_recv;
};

static status feed_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p, size_t n)
{
    (void)cx, (void)self, (void)to, (void)tag, (void)p, (void)n;
    return OK;
}

static status feed_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    struct feed *f = self;
    uint16_t n;
    const uint8_t *p;
    (void)from, (void)tag;
    if (f->n_recv < f->replay && f->n_recv < w.n_orders) {
        *out = (struct bytes){w.order[f->n_recv].p, w.order[f->n_recv].n};
        f->n_recv++;
        return OK;
    }
    if (reader_u16(cx, &f->r, &n).code || reader_bytes(cx, &f->r, n, &p).code)
        return FAIL(cx, PEER, "the input is over");
    uint8_t *copy = NEW(cx, uint8_t, (size_t)n + 1); /* its end is the end of the memory */
    if (!copy) return FAIL(cx, NOMEM, "a message");
    memcpy(copy, p, n);
    *out = (struct bytes){copy, n};
    f->n_recv++;
    return OK;
}
static const struct channel_ops feed_ops = {.send = feed_send, .recv = feed_recv};

/* ---- an honest host made by hand, to record the orders of a guest ---- */

static struct task make_task(enum role role)
{
    struct task t = {.me = {role, role == ROLE_GUEST ? GUEST_ID : HOST_ID},
                     .parties = {{ROLE_GUEST, GUEST_ID}, {ROLE_HOST, HOST_ID}},
                     .n_parties = 2,
                     .instance = "fuzz_0",
                     .tracker = &tracker};
    return t;
}

/* An order as the format document says, from the same pieces that a guest uses. */
static void make_orders(void)
{
    struct ctx *cx = &w.cx;
    CLEANUP(he_guest_freep) struct he_guest *g = NULL;
    CLEANUP(buf_free) struct buf pub = {0};
    CLEANUP(buf_free) struct buf batch = {0};
    struct he_params hp = {.scheme = w.params.scheme, .n_rows = N, .n_stats = 2, .sum_bits = VALUE_BITS + 7};
    int64_t m[2 * N] = {0};
    if (he_guest_new(cx, &hp, &g).code || he_guest_public(cx, g, &pub).code ||
        he_guest_encrypt(cx, g, m, &batch).code)
        abort();
    struct buf *b = w.order;
    buf_u8(b, SBT_SETUP), buf_u8(b, SBT_VERSION), buf_u64(b, N), buf_u64(b, 0), buf_u64(b, N), buf_u64(b, 1);
    buf_put(b, (uint8_t[SBT_RUN]){1}, SBT_RUN), buf_u32(b, 0);
    buf_blob(b, pub.p, pub.n);
    for (uint32_t tree = 0; tree < 2; tree++) {
        b++, buf_u8(b, SBT_TREE), buf_u32(b, tree), buf_u32(b, 0), buf_u8(b, 7), buf_u8(b, 0),
            buf_put(b, batch.p, batch.n);
        b++, buf_u8(b, SBT_LEVEL), buf_u32(b, 1), buf_u8(b, 1), buf_u8(b, 1);
        b++, buf_u8(b, SBT_CHOSEN), buf_u32(b, 1), buf_u32(b, 0), buf_u32(b, 1), buf_u16(b, 3), buf_u8(b, 0);
        b++, buf_u8(b, SBT_ROUTE), buf_u32(b, 1), buf_u8(b, SBT_YOURS);
        b++, buf_u8(b, SBT_LEVEL), buf_u32(b, 2), buf_u8(b, 1), buf_u8(b, 3);
        b++, buf_u8(b, SBT_CHOSEN), buf_u32(b, 1), buf_u32(b, 1), buf_u32(b, 0), buf_u16(b, 2), buf_u8(b, 0);
        b++, buf_u8(b, SBT_END), buf_u32(b, tree), buf_u32(b, 0), buf_u32(b, 5);
        buf_u8(b, 1), buf_u8(b, SBT_OWNER_LEAF), buf_u8(b, 1), buf_u8(b, SBT_OWNER_LEAF),
            buf_u8(b, SBT_OWNER_LEAF);
    }
    b++, buf_u8(b, SBT_STOP), buf_u32(b, 2), buf_u32(b, 1), buf_u32(b, UINT32_MAX), buf_u8(b, 0);
    w.n_orders = (size_t)(b - w.order) + 1;
}

static status train_host(struct ctx *cx, struct feed *f, struct sbt_model *m)
{
    static const char *const names[COLS] = {"h_x0", "h_x1", "h_x2"};
    struct channel ch = {&feed_ops, f};
    bool converged;
    uint64_t sent, received;
    w.task[1].channel = &ch;
    *m = (struct sbt_model){.n_columns = COLS, .column = names, .anonymous = names};
    TRY(sbt_sites(cx, &w.task[1], &m->site, &m->n_sites, &m->me));
    return sbt_host_train(cx, &w.task[1], &w.params, &w.bins, NULL, names, m, &converged, &sent, &received);
}

static void start(void)
{
    struct ctx *cx = &w.cx;
    struct shuffle r = shuffle_new(3);
    struct bin_source src;
    const struct bins *bins;
    cx->mem = arena_new(0);
    for (size_t i = 0; i < N; i++) {
        for (size_t f = 0; f < COLS; f++)
            w.x[f][i] = shuffle_normal(&r);
        w.y[i] = w.x[0][i] + w.x[1][i] > 0;
    }
    w.params = (struct sbt_params){.train = {.tree = {.max_depth = 2, .l2 = 0.1, .min_leaf_node = 1},
                                             .learning_rate = 0.3,
                                             .n_rounds = 2,
                                             .subsample_feature_rate = 1},
                                   .objective = "cross_entropy",
                                   .bins = {.max_bins = 8},
                                   .scheme = HE_LATTICE};
    if (gbdt_objective_make(cx, "cross_entropy", NULL, 0, 2, &w.params.train.objective).code) abort();
    if (bin_source_matrix(cx, &w.x[0][0], N, COLS, 1, N, &src).code ||
        bins_fit(cx, &src, &w.params.bins, &bins).code || bins_apply(cx, bins, &src, &w.bins).code)
        abort();
    static const char *const names[COLS] = {"h_x0", "h_x1", "h_x2"};
    for (size_t f = 0; f < COLS; f++)
        w.cols[f] = (struct column){.name = names[f], .type = COL_F64, .data = w.x[f]};
    w.table = (struct table){.n_rows = N, .n_physical = N, .n_cols = COLS, .cols = w.cols};
    w.task[0] = make_task(ROLE_GUEST), w.task[1] = make_task(ROLE_HOST);
    make_orders();
    struct sbt_model m;
    struct feed f = {.replay = RECORDED};
    if (train_host(cx, &f, &m).code || sbt_model_save(cx, &m, &w.params, "fuzz_0", &w.model[1]).code) {
        fprintf(stderr, "%s\n", cx->err.msg);
        abort();
    }
}

/* ---- the laws ---- */

static void check_trees(const struct sbt_model *m)
{
    for (size_t t = 0; t < m->n_trees; t++) {
        const struct tree *tree = &m->trees[t];
        for (size_t i = 0; i < tree->n_nodes; i++) {
            const struct tree_node *v = &tree->nodes[i];
            if (v->is_leaf) continue;
            if (v->left <= v->id || v->right <= v->id || (size_t)v->left >= tree->n_nodes ||
                (size_t)v->right >= tree->n_nodes)
                abort();
            if ((size_t)v->party >= m->n_sites || ((size_t)v->party == m->me && v->feature >= m->n_columns))
                abort();
        }
    }
}

static status run_one(struct ctx *cx, uint8_t what, struct feed *f)
{
    struct sbt_model m = {0};
    struct channel ch = {&feed_ops, f};
    if (what == 0) {
        TRY(train_host(cx, f, &m));
        check_trees(&m);
        return OK;
    }
    if (what == 1) {
        struct sbt_data train = {.table = &w.table, .x = w.bins, .y = w.y};
        struct sbt_trained out = {0};
        const char *const *const *names;
        w.task[0].channel = &ch;
        f->replay = 0;
        status st = sbt_guest_train(cx, &w.task[0], &w.params, &train, NULL, &names, &out);
        json_decref(out.validation);
        return st;
    }
    if (what == 2) {
        struct link guest = {.ch = &ch, .who = {ROLE_GUEST, GUEST_ID}};
        f->replay = 0;
        TRY(sbt_model_load(cx, &w.task[1], w.model[1], &m));
        return sbt_walk_host(cx, &m, &w.table, &guest);
    }
    struct model_part part = *w.model[1];
    uint16_t n;
    const uint8_t *p;
    TRY(reader_u16(cx, &f->r, &n));
    TRY(reader_bytes(cx, &f->r, n, &p));
    if (n) part.buffers[0].pb = (struct bytes){p, n};
    part.buffers[1].pb = (struct bytes){f->r.p, reader_left(&f->r)};
    TRY(sbt_model_load(cx, &w.task[f->replay & 1], &part, &m));
    check_trees(&m);
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!w.n_orders) start();
    if (size < 2 || size > 1 << 16) return 0;
    struct ctx cx = {.mem = arena_new(0)};
    struct feed f = {.r = reader_of(data + 2, size - 2), .replay = data[1] % (w.n_orders + 1)};
    status st = run_one(&cx, data[0] % 4, &f);
    if (st.code && !cx.err.msg[0]) abort();
    arena_free(cx.mem);
    return 0;
}
