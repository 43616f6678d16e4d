/* The parts of boosting: objectives, integers, cuts of a node, histograms, importance. */
#include "base/secret.h"
#include "learn/gbdt_int.h"
#include "tests/test.h"
#include <limits.h>
#include <math.h>

/* ---- objectives ---- */

static const struct {
    const char *name;
    double param;
    unsigned n_classes;
} objectives[] = {{"cross_entropy", 0, 2}, {"cross_entropy", 0, 4}, {"lse", 0, 1},       {"lae", 0, 1},
                  {"huber", 1.3, 1},       {"fair", 0.8, 1},        {"tweedie", 1.5, 1}, {"log_cosh", 0, 1}};

static struct gbdt_objective objective(struct ctx *cx, size_t k)
{
    struct gbdt_objective o = {0};
    CHECK_OK(cx, gbdt_objective_make(cx, objectives[k].name, &objectives[k].param, 1, objectives[k].n_classes,
                                     &o));
    return o;
}

static double draw_label(struct shuffle *r, const struct gbdt_objective *o)
{
    if (o->n_classes > 1) return (double)shuffle_below(r, o->n_classes);
    double y = shuffle_normal(r) * 2;
    return o->loss == GBDT_TWEEDIE ? fabs(y) : y;
}

/* g is the slope of the loss and h that of g, but where FATE puts 1 for h. */
static void gradients_are_slopes(struct ctx *cx)
{
    enum { D = 4 };
    const double step = 1e-5;
    struct shuffle r = shuffle_new(test_seed());
    for (size_t k = 0; k < LEN(objectives); k++) {
        struct gbdt_objective o = objective(cx, k);
        unsigned dim = gbdt_dim(&o);
        for (int run = 0; run < 500; run++) {
            double y = draw_label(&r, &o), w = 0.5 + shuffle_unit(&r), s[D], g[D], h[D], loss, g2[D], h2[D],
                   lo, hi;
            for (unsigned c = 0; c < dim; c++)
                s[c] = shuffle_normal(&r) * 2;
            unsigned c = (unsigned)shuffle_below(&r, dim);
            double at = s[c];
            CHECK_OK(cx, gbdt_gradient(cx, &o, &y, s, &w, 1, g, h, &loss));
            s[c] = at - step;
            CHECK_OK(cx, gbdt_gradient(cx, &o, &y, s, &w, 1, g2, h2, &lo));
            double before = g2[c];
            s[c] = at + step;
            CHECK_OK(cx, gbdt_gradient(cx, &o, &y, s, &w, 1, g2, h2, &hi));
            double slope = (hi - lo) / (2 * step) * w, curve = (g2[c] - before) / (2 * step);
            if (fabs(s[0] - y) < 1e-3 && o.loss == GBDT_LAE) continue;
            CHECK(fabs(slope - g[c]) < 1e-5 * (1 + fabs(g[c])));
            CHECK(o.loss == GBDT_LAE ? h[c] == w : fabs(curve - h[c]) < 1e-4 * (1 + fabs(h[c])));
        }
    }
}

/* The mean over rows is that of the rows alone, and the tables below by hand. */
static void losses_and_scores(struct ctx *cx)
{
    enum { N = 9000 };
    struct shuffle r = shuffle_new(test_seed());
    for (size_t k = 0; k < LEN(objectives); k++) {
        struct gbdt_objective o = objective(cx, k);
        unsigned dim = gbdt_dim(&o);
        double *y = NEW(cx, double, N), *s = NEW(cx, double, N *dim), *g = NEW(cx, double, N *dim),
               *h = NEW(cx, double, N *dim), *w = NEW(cx, double, N), one[4], one_h[4], sum = 0, mass = 0,
               mean, x;
        for (size_t i = 0; i < N; i++)
            y[i] = draw_label(&r, &o), w[i] = 1 + (double)(i % 3);
        for (size_t i = 0; i < N * dim; i++)
            s[i] = shuffle_normal(&r) * (i % 100 == 0 ? 40 : 2);
        for (int weighted = 0; weighted < 2; weighted++) {
            CHECK_OK(cx, gbdt_gradient(cx, &o, y, s, weighted ? w : NULL, N, g, h, &mean));
            sum = mass = 0;
            size_t bad = 0;
            for (size_t i = 0; i < N; i++) {
                double wi = weighted ? w[i] : 1;
                CHECK_OK(cx, gbdt_gradient(cx, &o, y + i, s + i * dim, weighted ? w + i : NULL, 1, one, one_h,
                                           &x));
                sum += wi * x, mass += wi;
                for (unsigned c = 0; c < dim; c++)
                    bad += one[c] != g[c * N + i] || one_h[c] != h[c * N + i];
            }
            CHECK(bad == 0);
            CHECK(fabs(mean - sum / mass) < 1e-12 * (1 + fabs(mean)));
        }
    }
    static const double y[] = {4, 1, 9, 2};
    double init[4], p[4] = {0, 1, -1, 800};
    for (size_t k = 0; k < LEN(objectives);
         k++) { /* cross_entropy and tweedie 0, lae the lower median, else the mean */
        struct gbdt_objective o = objective(cx, k);
        double want = o.n_classes > 1 || o.loss == GBDT_TWEEDIE ? 0 : o.loss == GBDT_LAE ? 2 : 4;
        CHECK_OK(cx, gbdt_init_score(cx, &o, y, 4, init));
        for (unsigned c = 0; c < gbdt_dim(&o); c++)
            CHECK(init[c] == want);
    }
    struct gbdt_objective two = objective(cx, 0), four = objective(cx, 1);
    gbdt_predict_from_score(&two, p, 4, p);
    CHECK(p[0] == 0.5 && fabs(p[1] - 0.7310585786300049) < 1e-16 && p[1] + p[2] == 1 && p[3] == 1);
    gbdt_predict_from_score(&four, (const double[]){1, 1, 801, 1}, 1, p);
    CHECK(p[2] == 1 && p[0] == 0);
}

static void refuses_objectives(struct ctx *cx)
{
    struct gbdt_objective o = {.n_classes = 99};
    double y[] = {0, 1, 2}, half[] = {0, 0.5}, hole[] = {1, (double)NAN}, minus[] = {1, -1}, zero = 0,
           two = 2;
    CHECK_ERR(gbdt_objective_make(cx, "hinge", NULL, 0, 1, &o), ARG);
    CHECK(strstr(cx->err.msg, "hinge"));
    CHECK_ERR(gbdt_objective_make(cx, "cross_entropy", NULL, 0, 1, &o), ARG);
    CHECK_ERR(gbdt_objective_make(cx, "huber", NULL, 0, 1, &o), ARG);
    CHECK_ERR(gbdt_objective_make(cx, "huber", &zero, 1, 1, &o), ARG);
    CHECK_ERR(gbdt_objective_make(cx, "fair", &zero, 1, 1, &o), ARG);
    CHECK_ERR(gbdt_objective_make(cx, "tweedie", &two, 1, 1, &o), ARG);
    CHECK(o.n_classes == 99);
    struct gbdt_objective binary = objective(cx, 0), lse = objective(cx, 2), tweedie = objective(cx, 6);
    CHECK_ERR(gbdt_check_labels(cx, &binary, y, 3), ARG);
    CHECK(strstr(cx->err.msg, "row 3"));
    CHECK_ERR(gbdt_check_labels(cx, &binary, half, 2), ARG);
    CHECK_ERR(gbdt_check_labels(cx, &lse, hole, 2), ARG);
    CHECK_ERR(gbdt_check_labels(cx, &tweedie, minus, 2), ARG);
    CHECK_ERR(gbdt_gradient(cx, &lse, y, y, NULL, 0, y, y, y), ARG);
    CHECK_OK(cx, gbdt_check_labels(cx, &lse, minus, 2));
}

/* ---- integers ---- */

static void integers(struct ctx *cx)
{
    static const struct {
        double max_abs;
        int bits, want;
    } scales[] = {{1, 24, 24},  {2, 24, 23},   {2.5, 24, 22}, {0.5, 24, 25},
                  {3e5, 24, 5}, {1e9, 24, -6}, {0, 24, 24}};
    struct gh out[5];
    struct shuffle r = shuffle_new(test_seed());
    for (size_t k = 0; k < LEN(scales); k++)
        CHECK(fixed_scale_for(scales[k].max_abs, scales[k].bits).frac_bits == scales[k].want);
    gh_quantise((struct fixed_scale){1}, (const double[]){0.25, -0.25, 0.75, 0.24999999999999997, 8},
                (const double[]){0, 1.5, -1.75, 2, 1e9}, 5, out); /* half away from zero */
    static const struct gh want[] = {{1, 0}, {-1, 3}, {2, -4}, {0, 4}, {16, 2000000000}};
    CHECK(memcmp(out, want, sizeof want) == 0);
    for (int run = 0; run < 10000; run++) {
        double top = exp(shuffle_normal(&r) * 10), x = top * (2 * shuffle_unit(&r) - 1);
        int bits = 1 + (int)shuffle_below(&r, 31);
        struct fixed_scale s = fixed_scale_for(top, bits);
        gh_quantise(s, &x, &top, 1, out);
        CHECK(out->g == llround(ldexp(x, s.frac_bits)) && out->h == llround(ldexp(top, s.frac_bits)));
        CHECK(out->h <= INT64_C(1) << bits && 2 * out->h >= INT64_C(1) << bits);
    }
    struct gbdt_objective lse = objective(cx, 2), two = objective(cx, 0);
    const double g[] = {1, -7, 3}, h[] = {2, 2, 5}, bad[] = {1, (double)NAN, 2};
    CHECK(gbdt_bound(&lse, g, h, 3) == 7 && gbdt_bound(&two, g, h, 3) == 1);
    CHECK(isinf(gbdt_bound(&lse, g, bad, 3)) && isinf(gbdt_bound(&lse, bad, h, 3)));
}

/* ---- cuts ---- */

#define BUCKETS 12

/* The rule as it reads: every cut in order, taken when its gain is above the best by 1e-8. */
static void scan_ref(const struct gbdt_tree_params *p, int frac_bits, const struct split_total *node,
                     const struct gh *bucket, const uint32_t *count, uint32_t n, bool missing,
                     struct split *best)
{
    double unit = ldexp(1, -frac_bits);
    if (node->n < p->min_sample_split) return;
    for (uint32_t b = 0; b + 1 < n; b++) {
        for (int left = 0; left <= missing; left++) {
            struct gh sum = {0};
            uint64_t rows = 0, least = p->min_leaf_node > 1 ? p->min_leaf_node : 1;
            for (uint32_t k = 0; k <= b; k++)
                sum.g += bucket[k].g, sum.h += bucket[k].h, rows += count[k];
            if (left) sum.g += bucket[n].g, sum.h += bucket[n].h, rows += count[n];
            double gl = (double)sum.g * unit, hl = (double)sum.h * unit,
                   hr = (double)(node->h - sum.h) * unit;
            double g = (double)node->g * unit, h = (double)node->h * unit;
            double gain = split_gain(p, g, h, gl, hl);
            if (rows < least || node->n - rows < least) continue;
            if (hl < p->min_child_weight || hr < p->min_child_weight) continue;
            if (gain > p->min_impurity_split && gain > best->gain + 1e-8)
                *best = (struct split){0, 5, b, left, gain, sum.g, sum.h, rows};
        }
    }
}

static struct gbdt_tree_params draw_params(struct shuffle *r)
{
    static const double l2[] = {0, 0.1, 1, 1e-6, 30}, least[] = {0, 0.001, 1}, weight[] = {0, 0.01, 2};
    return (struct gbdt_tree_params){.max_depth = 3,
                                     .l2 = l2[shuffle_below(r, LEN(l2))],
                                     .l1 = shuffle_below(r, 3) ? 0 : 0.3,
                                     .min_impurity_split = least[shuffle_below(r, LEN(least))],
                                     .min_sample_split = shuffle_below(r, 6),
                                     .min_leaf_node = shuffle_below(r, 4),
                                     .min_child_weight = weight[shuffle_below(r, LEN(weight))]};
}

/* Numbers are dyadic with few bits, so that g - gl is exact and the reference's gain is the scan's to the bit. */
static void scan_is_the_rule(struct ctx *cx)
{
    (void)cx;
    struct shuffle r = shuffle_new(test_seed());
    size_t found = 0;
    for (int run = 0; run < 20000; run++) {
        struct gbdt_tree_params p = draw_params(&r);
        struct fixed_scale s = {(int)shuffle_below(&r, 40) - 6};
        struct gh bucket[BUCKETS + 1] = {{0}};
        uint32_t count[BUCKETS + 1] = {0}, n = 1 + (uint32_t)shuffle_below(&r, BUCKETS);
        struct split_total node = {0};
        bool missing = shuffle_below(&r, 2);
        uint64_t size = shuffle_below(&r, 2) ? 3 : 1 << 20;
        for (uint32_t b = 0; b < n + missing; b++) {
            count[b] = (uint32_t)shuffle_below(&r, 3);
            if (!count[b]) continue;
            bucket[b].g = (int64_t)shuffle_below(&r, 2 * size + 1) - (int64_t)size;
            bucket[b].h = (int64_t)shuffle_below(&r, size + 1);
            node.g += bucket[b].g, node.h += bucket[b].h, node.n += count[b];
        }
        struct split want = split_none(&p), got = want, blind = want;
        if (shuffle_below(&r, 2)) want.gain = got.gain = blind.gain = shuffle_unit(&r) * 10;
        scan_ref(&p, s.frac_bits, &node, bucket, count, n, missing, &want);
        split_scan(&p, s, &node, 0, 5, bucket, count, n, missing, &got);
        bool same = got.party == want.party && got.gain == want.gain && got.bin == want.bin &&
                    got.missing_left == want.missing_left && got.left_g == want.left_g &&
                    got.left_h == want.left_h && got.left_n == want.left_n && got.feature == want.feature;
        CHECK(same);
        found += got.party == 0;
        if (p.min_leaf_node > 1 || node.n == 0) continue;
        split_scan(&p, s, &node, 0, 5, bucket, NULL, n, missing,
                   &blind); /* an empty side gains nothing anyway */
        CHECK(blind.party == want.party && blind.gain == want.gain && blind.left_n == 0);
    }
    CHECK(found > 5000);
}

/* FATE's criterion: each term cut down to 10 decimals. XgboostCriterion(0.1).split_gain([1.5, 4], [2, 1.25], [-0.5, 2.75]),
 * node_weight(1.5, 4), and the same with reg_alpha 0.5. */
static void gains_are_fates(struct ctx *cx)
{
    (void)cx;
    struct gbdt_tree_params p = {.l2 = 0.1}, l1 = {.l2 = 0.1, .l1 = 0.5};
    CHECK(split_gain(&p, 1.5, 4, 2, 1.25) == 2.5019017733);
    CHECK(leaf_weight(&p, 1.5, 4) == -0.3658536586);
    CHECK(split_gain(&l1, 1.5, 4, 2, 1.25) == 1.4227642276);
    CHECK(leaf_weight(&l1, 1.5, 4) == -0.2439024391);
    CHECK(leaf_weight(&l1, 0.4, 4) == 0 && leaf_weight(&(struct gbdt_tree_params){0}, 1, 0) == 0);
}

static void offers_and_choice(struct ctx *cx)
{
    (void)cx;
    struct gbdt_tree_params p = {.min_impurity_split = 0.5, .min_leaf_node = 3, .min_sample_split = 4};
    struct split_total node = {0, 8, 10};
    struct split best = split_none(&p), s[4];
    struct fixed_scale one = {0};
    CHECK(best.party == -1 && best.gain == 0.5 - 1e-8);
    split_offer(&p, one, &node, 2, 7, 9, true, 4, 4, 2, &best); /* two rows left */
    split_offer(&p, one, &node, 2, 7, 9, true, 4, 4, 8, &best); /* two rows right */
    split_offer(&p, one, &node, 2, 7, 9, true, 1, 4, 5, &best); /* gain 0.5 is not above 0.5 */
    CHECK(best.party == -1);
    split_offer(&p, one, &node, 2, 7, 9, true, 4, 4, 0, &best); /* rows unknown: the sender checked them */
    CHECK(best.party == 2 && best.feature == 7 && best.bin == 9 && best.missing_left && best.gain == 8);
    CHECK(best.left_g == 4 && best.left_h == 4 && best.left_n == 0);
    split_offer(&p, one, &node, 3, 1, 1, false, -4, 4, 5, &best); /* of equal gains the first stays */
    CHECK(best.party == 2);
    node.n = 3;
    split_offer(&p, one, &node, 3, 1, 1, false, 5, 4, 0, &best); /* too few rows to split */
    CHECK(best.party == 2);
    for (int k = 0; k < 4; k++)
        s[k] = (struct split){.party = k, .gain = 1};
    CHECK(split_choose(&p, s, 4).party == 0);
    s[2].gain = 1 + 0.5e-8;
    CHECK(split_choose(&p, s, 4).party == 0); /* not above own by enough */
    s[2].gain = 1 + 1.5e-8, s[3].gain = 1 + 2e-8;
    CHECK(split_choose(&p, s, 4).party == 2); /* the third is not above the second by enough */
    s[3].gain = 2;
    CHECK(split_choose(&p, s, 4).party == 3 && split_choose(&p, s, 1).party == 0);
    CHECK(split_choose(&p, s, 0).party == -1);
}

/* ---- histograms ---- */

struct cells {
    struct bins bins;
    struct binned x;
    struct gh *gh;
    bool *on;
};

static void make_cells(struct ctx *cx, struct shuffle *r, size_t n, size_t nf, unsigned most, struct cells *c)
{
    uint32_t *split_at = NEW(cx, uint32_t, nf + 1), *bucket_at = NEW(cx, uint32_t, nf + 1);
    uint8_t **col = NEW(cx, uint8_t *, nf);
    bool missing = shuffle_below(r, 2);
    c->gh = NEW(cx, struct gh, n), c->on = NEW(cx, bool, nf);
    for (size_t f = 0; f < nf; f++) {
        uint32_t k = 1 + (uint32_t)shuffle_below(r, most);
        split_at[f + 1] = split_at[f] + k;
        bucket_at[f + 1] = bucket_at[f] + k + missing;
        col[f] = arena_alloc(cx->mem, n, 64);
        for (size_t i = 0; i < n; i++)
            col[f][i] = (uint8_t)shuffle_below(r, k + missing);
        c->on[f] = shuffle_below(r, 4) > 0;
    }
    for (size_t i = 0; i < n; i++) /* as far as they may go */
        c->gh[i] = (struct gh){(int64_t)(shuffle_u64(r) >> 32) - INT32_MAX,
                               (int64_t)(shuffle_u64(r) >> 32) - INT32_MAX};
    c->gh[0] = (struct gh){-(INT64_C(1) << 31), INT64_C(1) << 31};
    c->bins =
        (struct bins){.n_features = nf, .use_missing = missing, .split_at = split_at, .bucket_at = bucket_at};
    c->x = (struct binned){.n_rows = n, .bins = &c->bins, .col = (const uint8_t *const *)col};
}

/* Sums of some rows, of buffers that held something else before. */
static struct hist_task make_task(struct ctx *cx, struct shuffle *r, const struct cells *c, double share)
{
    size_t total = bins_total(&c->bins);
    uint32_t *rows = NEW(cx, uint32_t, c->x.n_rows);
    struct hist_task t = {rows, 0, NEW(cx, struct gh, total), NEW(cx, uint32_t, total)};
    for (size_t i = 0; i < c->x.n_rows; i++)
        if (shuffle_unit(r) < share) rows[t.n++] = (uint32_t)i;
    memset(t.hist, 0x55, total * sizeof *t.hist);
    memset(t.count, 0x55, total * sizeof *t.count);
    return t;
}

static bool same_sums(const struct cells *c, const struct hist_task *a, const struct hist_task *b)
{
    size_t n = bins_total(&c->bins);
    return memcmp(a->hist, b->hist, n * sizeof *a->hist) == 0 &&
           memcmp(a->count, b->count, n * sizeof *a->count) == 0;
}

static void histograms_are_plain_sums(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    struct pool *pool = cx->pool;
    for (int run = 0; run < 60; run++) {
        struct arena_mark mark = arena_mark(cx->mem);
        size_t n = run ? 1 + shuffle_below(&r, 3000) : 70000, n_tasks = 1 + shuffle_below(&r, 5);
        static const unsigned most[] = {2, 33, 64, 130, 255};
        struct cells c;
        make_cells(cx, &r, n, 1 + shuffle_below(&r, 20), most[run % 5], &c);
        const bool *on = run % 3 ? c.on : NULL;
        struct hist_task *t = NEW(cx, struct hist_task, n_tasks), *want = NEW(cx, struct hist_task, n_tasks);
        for (size_t k = 0; k < n_tasks; k++) {
            want[k] = t[k] = make_task(cx, &r, &c, k == 1 ? 0 : k ? shuffle_unit(&r) : 1);
            want[k].hist = make_task(cx, &r, &c, 0).hist;
            want[k].count = make_task(cx, &r, &c, 0).count;
            hist_build_ref(&c.x, on, c.gh, &want[k]);
        }
        CLEANUP(pool_freep) struct pool *four = pool_new(4);
        struct pool *pools[] = {NULL, pool, four};
        cx->pool = pools[run % 3];
        struct panels p = {0};
        CHECK_OK(cx, panels_make(cx, cx->mem, &c.x, on, &p));
        CHECK_OK(cx, hist_build(cx, &p, c.gh, t, n_tasks));
        for (size_t k = 0; k < n_tasks; k++)
            CHECK(same_sums(&c, &t[k], &want[k]));
        cx->pool = pool;
        arena_rewind(cx->mem, mark);
    }
}

/* More rows than a pair can count, all with the same extremes. */
static void many_rows_of_extremes(struct ctx *cx)
{
    enum { N = 1200000 };
    struct shuffle r = shuffle_new(test_seed());
    struct cells c;
    make_cells(cx, &r, N, 1, 2, &c);
    for (size_t i = 0; i < N; i++)
        c.gh[i] = (struct gh){-(INT64_C(1) << 31), i % 2 ? INT64_C(1) << 31 : -(INT64_C(1) << 31) + 1};
    struct hist_task t = make_task(cx, &r, &c, 1), want = make_task(cx, &r, &c, 1);
    hist_build_ref(&c.x, NULL, c.gh, &want);
    struct panels p;
    CHECK_OK(cx, panels_make(cx, cx->mem, &c.x, NULL, &p));
    CHECK_OK(cx, hist_build(cx, &p, c.gh, &t, 1));
    CHECK(same_sums(&c, &t, &want));
}

static void parent_is_its_children(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    struct cells c;
    make_cells(cx, &r, 5000, 7, 40, &c);
    struct hist_task all = make_task(cx, &r, &c, 1), left = make_task(cx, &r, &c, 0),
                     right = make_task(cx, &r, &c, 0);
    uint32_t *l = NEW(cx, uint32_t, 5000), *q = NEW(cx, uint32_t, 5000);
    left.rows = l, right.rows = q;
    for (uint32_t i = 0; i < 5000; i++) {
        if (shuffle_below(&r, 3))
            l[left.n++] = i;
        else
            q[right.n++] = i;
    }
    hist_build_ref(&c.x, NULL, c.gh, &all);
    hist_build_ref(&c.x, NULL, c.gh, &left);
    hist_build_ref(&c.x, NULL, c.gh, &right);
    hist_subtract(all.hist, all.count, left.hist, left.count, bins_total(&c.bins));
    CHECK(same_sums(&c, &all, &right));
}

/* ---- sampling ---- */

static void goss_keeps_the_largest(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    for (int run = 0; run < 200; run++) {
        struct arena_mark mark = arena_mark(cx->mem);
        size_t n = 20 + shuffle_below(&r, 400), rank_least = 0, again = 0;
        struct gbdt_params p = {.top_rate = 0.1 + 0.3 * shuffle_unit(&r),
                                .other_rate = 0.1 + 0.3 * shuffle_unit(&r)};
        size_t train = gbdt_goss_rows(&p, n), top = (size_t)(p.top_rate * (double)n), scaled = 0;
        double *g = NEW(cx, double, n), *h = NEW(cx, double, n), *was = NEW(cx, double, n);
        uint64_t *key = NEW(cx, uint64_t, n);
        uint32_t *order = NEW(cx, uint32_t, n);
        bool *seen = NEW(cx, bool, n);
        for (size_t i = 0; i < n; i++)
            g[i] = was[i] = (run % 2 ? shuffle_normal(&r) : (double)shuffle_below(&r, 9) - 4) + 0.5, h[i] = 1;
        goss_draw(&p, 42 + (uint64_t)run, n, g, h, key, order);
        double factor = (1 - p.top_rate) / p.other_rate, least = (double)INFINITY, most = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t row = order[i];
            CHECK(row < n && !seen[row] && (i == 0 || i == train || order[i - 1] < row));
            seen[row] = true;
            bool plain = h[row] == 1;
            CHECK(g[row] == (plain ? was[row] : was[row] * factor) && (plain || h[row] == factor));
            scaled += !plain;
            if (i < train && plain) least = fmin(least, fabs(was[row])), rank_least++;
            if (i >= train || !plain) most = fmax(most, fabs(was[row]));
        }
        CHECK(scaled == train - top && rank_least == top && (top == 0 || most <= least));
        for (size_t i = 0; i < n; i++)
            g[i] = was[i], h[i] = 1;
        uint32_t *second = NEW(cx, uint32_t, n);
        goss_draw(&p, 42 + (uint64_t)run, n, g, h, key, second);
        for (size_t i = 0; i < n; i++)
            again += second[i] == order[i];
        CHECK(again == n);
        arena_rewind(cx->mem, mark);
    }
}

/* ---- trees ---- */

static void uses_of_trees(struct ctx *cx)
{
    static const struct tree_node a[] = {
        {.id = 0, .left = 1, .right = 2, .feature = 1, .split = 0, .gain = 4},
        {.id = 1, .parent = 0, .left = 3, .right = 4, .party = 2, .feature = 9, .bin = 3, .gain = 2},
        {.id = 2, .parent = 0, .is_leaf = true, .weight = 5},
        {.id = 3, .parent = 1, .is_leaf = true, .weight = 7},
        {.id = 4, .parent = 1, .is_leaf = true, .weight = 9},
    };
    static const struct tree_node b[] = {
        {.id = 0, .left = 1, .right = 2, .feature = 0, .split = 1.5, .gain = 1, .missing_left = true},
        {.id = 1, .parent = 0, .is_leaf = true, .weight = -1},
        {.id = 2, .parent = 0, .left = 3, .right = 4, .feature = 1, .split = -2, .gain = 8},
        {.id = 3, .parent = 2, .is_leaf = true, .weight = 3},
        {.id = 4, .parent = 2, .is_leaf = true, .weight = 11},
    };
    static const double init[] = {0.5};
    struct tree trees[] = {{LEN(b), b}, {LEN(a), a}};
    struct ensemble e = {
        .learning_rate = 0.5, .dim = 1, .n_trees = 2, .trees = trees, .init = init, .n_rounds = 2};
    struct importance *imp;
    size_t n;
    CHECK_OK(cx, ensemble_importance(cx, &e, &imp, &n));
    CHECK(n == 3 && imp[0].party == 0 && imp[0].feature == 1 && imp[0].splits == 2 && imp[0].gain == 12);
    CHECK(imp[1].party == 2 && imp[1].feature == 9 && imp[1].gain == 2);
    CHECK(imp[2].party == 0 && imp[2].feature == 0 && imp[2].splits == 1);
    const double nan = (double)NAN;
    const double x[] = {1.5, 9, 1.6, -2, 1.6, -1.9, nan, -3, 0, 0, 2, nan, 2, 1e-9};
    static const int32_t want[] = {1, 3, 4, 1, 1, 4, 4}, zero_missing[] = {1, 3, 4, 1, 1, 4, 4};
    for (size_t i = 0; i < LEN(want); i++) {
        CHECK(tree_find(&trees[0], x + 2 * i, false) == want[i]);
        CHECK(tree_find(&trees[0], x + 2 * i, true) == zero_missing[i]);
    }
    const double near_zero[] = {5, -1e-9}; /* counts as 0: above -2 */
    CHECK(tree_find(&trees[0], near_zero, false) == 4);
    struct bin_source rows;
    double score[LEN(want)];
    CHECK_OK(cx, bin_source_matrix(cx, x, LEN(want), 2, 2, 1, &rows));
    CHECK_OK(cx, ensemble_score(cx, &e, &rows, false, 1, score));
    CHECK(score[0] == 0 && score[1] == 2 && score[2] == 6);
    CHECK_ERR(ensemble_score(cx, &e, &rows, false, 0, score), STATE); /* the second tree has a peer's node */
    rows.n_features = 1;
    CHECK_ERR(ensemble_score(cx, &e, &rows, false, 1, score), ARG);
    CHECK(strstr(cx->err.msg, "tree 0"));
}

TEST_MAIN(T(gradients_are_slopes), T(losses_and_scores), T(refuses_objectives), T(integers),
          T(scan_is_the_rule), T(gains_are_fates), T(offers_and_choice), T(histograms_are_plain_sums),
          T(many_rows_of_extremes), T(parent_is_its_children), T(goss_keeps_the_largest), T(uses_of_trees))
