/* Everything that SecureBoost sends, recorded: no id, label, gradient or feature value in the clear, in any of the forms a
 * careless implementation would send; every message has exactly the size that docs/formats/secureboost.md gives. */
#include "base/arena.h"
#include "base/num.h"
#include "fed/hetero_secureboost/model.h"
#include "fed/hetero_secureboost/peers.h"
#include "tests/fed/world.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message {
    struct party from, to;
    char tag[TAG_MAX + 1];
    uint8_t *p;
    size_t n;
};
struct tape {
    pthread_mutex_t lock;
    struct message *m;
    size_t n, cap, bytes;
};

static void record(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n)
{
    struct tape *t = arg;
    pthread_mutex_lock(&t->lock);
    if (t->n == t->cap) t->m = realloc(t->m, (t->cap = t->cap ? 2 * t->cap : 256) * sizeof *t->m);
    struct message *m = &t->m[t->n++];
    *m = (struct message){.from = from, .to = to, .p = malloc(n + 1), .n = n};
    memcpy(m->p, p, n);
    snprintf(m->tag, sizeof m->tag, "%s", tag);
    t->bytes += n;
    pthread_mutex_unlock(&t->lock);
}

static void tape_free(struct tape *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->m[i].p);
    free(t->m);
    *t = (struct tape){0};
}

/* ---- nothing in the clear ---- */

struct patterns { /* of 8 bytes each, sorted */
    uint64_t *v;
    size_t n, cap;
    bool low[65536]; /* whether any has these first two bytes */
};

static uint64_t load64(const void *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

static void add(struct patterns *s, const void *p)
{
    const uint8_t *b = p;
    unsigned telling = 0;
    for (int i = 0; i < 8; i++)
        telling += b[i] != 0 && b[i] != 0xff;
    if (telling < 3) return; /* would be found in any list of small numbers */
    if (s->n == s->cap) s->v = realloc(s->v, (s->cap = s->cap ? 2 * s->cap : 1024) * 8);
    s->v[s->n++] = load64(p);
    s->low[load64(p) & 0xffff] = true;
}

/* A number as double, as two floats with its neighbour, as fixed point, and as text. */
static void add_number(struct patterns *s, double x, double next)
{
    float f[2] = {(float)x, (float)next};
    char text[64];
    if (!isfinite(x)) return;
    add(s, &x);
    if (isfinite(next)) add(s, f);
    for (int bits = 16; bits <= 53; bits++) {
        int64_t i = llround(ldexp(x, bits));
        if (llabs(i) > 1 << 20) add(s, &i);
    }
    if (num_format_f64(x, text) >= 10) add(s, text + 1);
    if (snprintf(text, sizeof text, "%.8f", x) >= 10) add(s, text + 1);
}

static int by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool found(const struct patterns *s, uint64_t x)
{
    return s->low[x & 0xffff] && bsearch(&x, s->v, s->n, 8, by_u64) != NULL;
}

static size_t search(const struct tape *t, const struct patterns *s, const char *what)
{
    size_t hits = 0;
    for (size_t i = 0; i < t->n; i++) {
        for (size_t at = 0; at + 8 <= t->m[i].n; at++) {
            if (!found(s, load64(t->m[i].p + at))) continue;
            if (hits++ < 3) printf("# %s found in %s at byte %zu of %zu\n", what, t->m[i].tag, at, t->m[i].n);
        }
    }
    return hits;
}

static size_t search_bytes(const struct tape *t, const void *p, size_t n, const char *what)
{
    size_t hits = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->m[i].n < n || !memmem(t->m[i].p, t->m[i].n, p, n)) continue;
        if (hits++ < 3) printf("# %s found in %s of %zu bytes\n", what, t->m[i].tag, t->m[i].n);
    }
    return hits;
}

static void no_labels(const struct tape *t, const double *y, size_t n)
{
    enum { RUN = 32 };
    for (size_t at = 0; at + 64 <= n; at += 8) {
        uint8_t byte[RUN], bits[8] = {0}, not [8];
        double real[RUN];
        int64_t whole[RUN];
        int32_t small[RUN];
        char text[RUN];
        for (size_t i = 0; i < RUN; i++) {
            byte[i] = (uint8_t)y[at + i], real[i] = y[at + i], whole[i] = (int64_t)y[at + i];
            small[i] = (int32_t)y[at + i], text[i] = (char)('0' + (int)y[at + i]);
        }
        for (size_t i = 0; i < 64; i++)
            bits[i / 8] |= (uint8_t)((y[at + i] > 0) << i % 8);
        for (size_t i = 0; i < 8; i++)
            not [i] = (uint8_t)~bits[i];
        size_t hits = search_bytes(t, byte, sizeof byte, "labels as bytes") +
                      search_bytes(t, bits, 8, "labels as bits") +
                      search_bytes(t, not, 8, "labels as bits, inverted") +
                      search_bytes(t, real, sizeof real, "labels") +
                      search_bytes(t, whole, sizeof whole, "labels as int64") +
                      search_bytes(t, text, sizeof text, "labels as text") +
                      search_bytes(t, small, sizeof small, "labels as int32");
        CHECK(hits == 0);
        if (hits) return;
    }
}

static void free_patterns(struct patterns *s)
{
    free(s->v);
}

/* Gradients of the first rounds, from the scores that the model gives. */
static void add_gradients(struct ctx *cx, struct patterns *s, const struct world *w,
                          const struct fed_result *guest)
{
    const struct gbdt_objective o = {.loss = GBDT_LOGISTIC, .n_classes = 2};
    size_t n = w->s->n;
    const struct table *t = NULL;
    double *p = NEW(cx, double, n), *g = NEW(cx, double, n), *h = NEW(cx, double, n), loss;
    CHECK_OK(cx, gbdt_gradient(cx, &o, w->y, p, NULL, n, g, h, &loss)); /* score 0: +-0.5 and 0.25 */
    int64_t pair[4];
    for (size_t i = 0; i + 1 < n; i++) { /* all alike: only several in a row tell something */
        pair[0] = llround(ldexp(g[i], 30)), pair[1] = llround(ldexp(h[i], 30));
        pair[2] = llround(ldexp(g[i + 1], 30)), pair[3] = llround(ldexp(h[i + 1], 30));
        add(s, (uint8_t *)pair + 3);
    }
    CHECK_OK(cx, table_open(cx, guest->out_path, &t)); /* after the last round: g = p - y, h = p (1 - p) */
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "predict_score"), 0, n, p));
    for (size_t i = 0; i < n; i++) {
        double q = p[i] - w->y[i], next = i + 1 < n ? p[i + 1] - w->y[i + 1] : 0;
        add_number(s, q, next);
        add_number(s, p[i] * (1 - p[i]), next);
        add_number(s, p[i], i + 1 < n ? p[i + 1] : 0);
    }
}

static void nothing_in_clear(struct ctx *cx)
{
    /* With two rounds more than the one watched, so that the gradients of the last round were sent. */
    static const struct scene s = {
        "wire",
        400,
        100,
        3,
        2,
        {3, 2},
        2,
        0.05,
        "'num_trees': 1, 'learning_rate': 0.7, 'use_missing': true, 'tree_param': {'max_depth': 4}"};
    static const struct scene more = {"wire",
                                      400,
                                      100,
                                      3,
                                      2,
                                      {3, 2},
                                      2,
                                      0.05,
                                      "'num_trees': 2, 'learning_rate': 0.7, 'use_missing': true, "
                                      "'tree_param': {'max_depth': 4, 'min_leaf_node': 2}"};
    static const char *const scheme[] = {"Lattice", "Paillier"};
    for (size_t k = 0; k < LEN(scheme); k++) {
        struct tape tape = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct world w = world_make(cx, &s);
        struct fed_result one[3], r[3], q[3];
        struct fed_options o = {.tap = record, .tap_arg = &tape};
        CLEANUP(free_patterns) struct patterns ids = {0};
        CLEANUP(free_patterns) struct patterns values = {0};
        CLEANUP(free_patterns) struct patterns gradients = {0};
        world_train(cx, &w, scheme[k], NULL,
                    one); /* its predictions are the scores before the second round below */
        w.s = &more;
        world_train(cx, &w, scheme[k], &o, r);
        world_all_ok(r, 3);
        world_predict(cx, &w, r, &o, q);
        world_all_ok(q, 3);
        for (size_t i = 0; i < s.n; i++)
            add(&ids, arena_printf(cx->mem, "person-%06zu", i) + 5);
        for (size_t i = 0; i + 1 < s.n * w.n_cols; i++)
            add_number(&values, w.x[i], w.x[i + 1]);
        for (size_t i = 0; i + 1 < s.n_valid * w.n_cols; i++)
            add_number(&values, w.xv[i], w.xv[i + 1]);
        add_gradients(cx, &gradients, &w, &one[0]);
        qsort(ids.v, ids.n, 8, by_u64);
        qsort(values.v, values.n, 8, by_u64);
        qsort(gradients.v, gradients.n, 8, by_u64);
        printf("# %s: %zu messages, %zu bytes, %zu patterns\n", scheme[k], tape.n, tape.bytes,
               ids.n + values.n + gradients.n);
        CHECK(tape.n > 20 && ids.n == s.n && values.n > 10000 && gradients.n > 10000);
        CHECK(search(&tape, &ids, "an id") == 0);
        CHECK(search(&tape, &values, "a feature value") == 0);
        CHECK(search(&tape, &gradients, "a gradient") == 0);
        no_labels(&tape, w.y, s.n);
        no_labels(&tape, w.yv, s.n_valid);
        /* the search itself works: bin edges are in the host's model, ids in the output */
        struct tape self = {0};
        struct party me = {ROLE_GUEST, 1};
        uint8_t buf[32] = {0};
        memcpy(buf + 3, &w.x[0], 8), memcpy(buf + 12, "person-000007", 13);
        pthread_mutex_init(&self.lock, NULL);
        record(&self, me, me, "self", buf, sizeof buf);
        CHECK(search(&self, &values, "(meant)") == 1 && search(&self, &ids, "(meant)") == 1);
        tape_free(&self);
        fed_free(one, 3);
        fed_free(r, 3);
        fed_free(q, 3);
        tape_free(&tape);
    }
}

/* ---- sizes ---- */

struct sizes { /* of the scheme, for this many rows and buckets */
    size_t pub, batch, reply;
};

static struct sizes scheme_sizes(struct ctx *cx, const struct he_params *p, size_t n_buckets)
{
    struct sizes s = {0};
    CLEANUP(he_guest_freep) struct he_guest *g = NULL;
    CLEANUP(he_host_freep) struct he_host *h = NULL;
    CLEANUP(buf_free) struct buf pub = {0}, batch = {0}, reply = {0};
    int64_t *m = NEW(cx, int64_t, 2 * p->n_rows);
    uint8_t *col = NEW(cx, uint8_t, p->n_rows);
    const uint8_t *cols[1] = {col};
    uint16_t n = (uint16_t)n_buckets;
    CHECK_OK(cx, he_guest_new(cx, p, &g));
    CHECK_OK(cx, he_guest_public(cx, g, &pub));
    CHECK_OK(cx, he_guest_encrypt(cx, g, m, &batch));
    CHECK_OK(cx, he_host_open(cx, (struct bytes){pub.p, pub.n}, &h));
    CHECK_OK(cx, he_host_load(cx, h, (struct bytes){batch.p, batch.n}));
    CHECK_OK(cx, he_host_sum(cx, h, cols, &n, 1, NULL, p->n_rows, &reply));
    s = (struct sizes){pub.n, batch.n, reply.n};
    return s;
}

struct expected {
    char tag[32];
    size_t n;
};
struct script {
    struct expected down[512], up[512]; /* guest to host, host to guest */
    size_t n_down, n_up;
};
static void down(struct script *s, const char *tag, size_t n)
{
    snprintf(s->down[s->n_down].tag, sizeof s->down[0].tag, "%s", tag);
    s->down[s->n_down++].n = n;
}
static void up(struct script *s, const char *tag, size_t n)
{
    snprintf(s->up[s->n_up].tag, sizeof s->up[0].tag, "%s", tag);
    s->up[s->n_up++].n = n;
}

/* Rows of every node, from the rows of the leaves. */
static void count_rows(const struct tree *t, size_t *rows)
{
    for (size_t i = t->n_nodes; i-- > 0;)
        rows[i] = t->nodes[i].is_leaf ? t->nodes[i].cover : rows[t->nodes[i].left] + rows[t->nodes[i].right];
}

/* All messages of one tree between the guest and host `p`, as the format document says. */
static void script_tree(struct script *s, const struct tree *t, int p, unsigned max_depth, size_t n_cols,
                        const struct sizes *z)
{
    size_t rows[1024], level[1024], n = 1;
    count_rows(t, rows);
    level[0] = 0;
    down(s, TAG_ORDER, 10 + bits_bytes(n_cols) + z->batch);
    for (unsigned depth = 0; depth < max_depth && n; depth++) {
        size_t next[1024], n_next = 0, n_split = 0, mine = 0, left = 0, route = 0;
        down(s, TAG_ORDER, 5 + 2 * bits_bytes(n));
        for (size_t i = 0; i < n; i += depth ? 2 : 1)
            if (rows[level[i]] >= 2 || (depth && rows[level[i + 1]] >= 2)) up(s, TAG_SUMS, z->reply);
        for (size_t i = 0; i < n; i++) {
            const struct tree_node *v = &t->nodes[level[i]];
            if (v->is_leaf) continue;
            n_split++;
            next[n_next++] = (size_t)v->left, next[n_next++] = (size_t)v->right;
            if (v->party == p)
                mine++, left += bits_bytes(rows[level[i]]);
            else
                route += bits_bytes(rows[level[i]]);
        }
        if (mine) down(s, TAG_ORDER, 5 + 11 * mine), up(s, TAG_LEFT, left);
        if (n_split && depth + 1 < max_depth) down(s, TAG_ORDER, 5 + n + route);
        memcpy(level, next, n_next * sizeof *next);
        n = n_next;
    }
    down(s, TAG_ORDER, 13 + t->n_nodes);
}

static void compare(const struct tape *tape, struct party from, struct party to, const struct expected *want,
                    size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < tape->n; i++) {
        const struct message *m = &tape->m[i];
        if (m->from.id != from.id || m->to.id != to.id) continue;
        bool same = k < n && strcmp(m->tag, want[k].tag) == 0 && m->n == want[k].n;
        CHECK(same);
        if (!same) {
            printf("# message %zu of %u to %u: %s of %zu bytes, want %s of %zu\n", k, from.id, to.id, m->tag,
                   m->n, k < n ? want[k].tag : "none", k < n ? want[k].n : 0);
            return;
        }
        k++;
    }
    CHECK(k == n);
}

static void sizes_are_as_written(struct ctx *cx)
{
    static const struct scene s = {
        "sizes", 300, 0, 3, 2, {3, 4}, 2, 0, "'num_trees': 3, 'tree_param': {'max_depth': 4}"};
    static const char *const scheme[] = {"Lattice", "Paillier"};
    for (size_t k = 0; k < LEN(scheme); k++) {
        struct tape tape = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct world w = world_make(cx, &s);
        struct fed_result r[3];
        struct sbt_model m;
        struct sbt_params p;
        struct fed_options o = {.tap = record, .tap_arg = &tape};
        world_train(cx, &w, scheme[k], &o, r);
        world_all_ok(r, 3);
        CHECK_OK(cx, sbt_model_load(cx, &r[0].task, r[0].task.model_out, &m));
        CHECK_OK(cx, sbt_params_read(cx, &r[0].task, &p));
        struct he_params he = {.scheme = p.scheme,
                               .key_bits = p.key_bits,
                               .n_rows = s.n,
                               .n_stats = 2,
                               .sum_bits = sbt_sum_bits(&p, s.n)};
        size_t at = s.guest_cols;
        for (size_t h = 0; h < 2; h++) {
            struct script *script = NEW(cx, struct script, 1);
            struct bin_source src;
            const struct bins *b;
            size_t names = 0, buckets = 0;
            CHECK_OK(cx, bin_source_matrix(cx, w.x + at * s.n, s.n, s.host_cols[h], 1, s.n, &src));
            CHECK_OK(cx, bins_fit(cx, &src, &p.bins, &b));
            for (size_t f = 0; f < s.host_cols[h]; f++) {
                names += strlen("host_10001_x0");
                buckets += bins_splits(b, f) - 1;
            }
            struct sizes z = scheme_sizes(cx, &he, buckets);
            up(script, TAG_FEATURES, 50 + 8 * s.host_cols[h] + names);
            down(script, TAG_ORDER, 58 + z.pub);
            for (size_t t = 0; t < m.n_trees; t++)
                script_tree(script, &m.trees[t], (int)h + 1, 4, s.host_cols[h], &z);
            down(script, TAG_ORDER, 14);
            struct party guest = {ROLE_GUEST, 9999}, host = {ROLE_HOST, 10001 + (uint32_t)h};
            compare(&tape, guest, host, script->down, script->n_down);
            compare(&tape, host, guest, script->up, script->n_up);
            at += s.host_cols[h];
        }
        fed_free(r, 3);
        tape_free(&tape);
    }
}

TEST_MAIN(T(nothing_in_clear), T(sizes_are_as_written))
