/* Metrics against scikit-learn 1.9.1; laws of ranks; early stopping. */
#include "base/secret.h"
#include "learn/metrics.h"
#include "tests/test.h"
#include <math.h>

#define N 200

static bool near(double got, double want)
{
    return fabs(got - want) <= 1e-13 * (1 + fabs(want));
}

/* ---- binary ---- */

static double label(int i)
{
    return i * 7919 % 101 < 37 + i / 20;
}
static double spread(int i)
{
    return (double)(i * 613 % 997) / 997 + 0.3 * label(i);
}
static double tied(int i)
{
    return (double)(i * 613 % 997 / 100) / 10 + 0.2 * label(i);
}
static double equal(int i)
{
    (void)i;
    return 0.5;
}
static double perfect(int i)
{
    return 2 * label(i) - 1;
}
static double reversed(int i)
{
    return -3 * label(i);
}

/* With label and score as lists of the above:
 *   f, t, c = metrics.roc_curve(y, s, drop_intermediate=False); k = argmax(t - f)
 *   metrics.roc_auc_score(y, s), (t - f)[k], c[k], len(set(s)) */
static const struct {
    double (*score)(int i);
    double auc, ks, cut;
    size_t n_cuts;
} binary_vectors[] = {
    {spread, 0.7709797436957421, 0.3623398098387764, 0.7914744232698094, 200},
    {tied, 0.6985841256717652, 0.3385696568830095, 0.6000000000000001, 15},
    {equal, 0.5, 0, 0.5, 1},
    {perfect, 1, 1, 1, 2},
    {reversed, 0, 0, 0, 2},
};

static void binary_is_sklearns(struct ctx *cx)
{
    for (size_t k = 0; k < LEN(binary_vectors); k++) {
        double y[N], s[N], auc = -1, ks = -1, cut = -1;
        struct binary_rank r;
        for (int i = 0; i < N; i++)
            y[i] = label(i), s[i] = binary_vectors[k].score(i);
        CHECK_OK(cx, binary_rank(cx, y, s, N, &r));
        CHECK_OK(cx, metric_auc(cx, &r, &auc));
        CHECK_OK(cx, metric_ks(cx, &r, &ks, &cut));
        CHECK(near(auc, binary_vectors[k].auc) && near(ks, binary_vectors[k].ks));
        CHECK(cut == binary_vectors[k].cut && r.n_cuts == binary_vectors[k].n_cuts);
    }
}

/* metrics.log_loss(y, p) with p = (i * 613 % 997 + 1) / 1000 */
static void logloss_is_sklearns(struct ctx *cx)
{
    (void)cx;
    double y[N], p[N];
    for (int i = 0; i < N; i++)
        y[i] = label(i), p[i] = (double)(i * 613 % 997 + 1) / 1000;
    CHECK(near(metric_logloss(y, p, N), 0.9629080154508388));
}

/* Of every pair of a positive and a negative, the share that is in order; ties count half. */
static double auc_by_pairs(const double *y, const double *s, size_t n)
{
    size_t twice = 0, pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (y[i] > y[j]) pairs++, twice += s[i] > s[j] ? 2 : s[i] == s[j] ? 1 : 0;
    return (double)twice / 2 / (double)pairs;
}

static void ranks_count(struct ctx *cx)
{
    struct shuffle rnd = shuffle_new(test_seed());
    for (int run = 0; run < 300; run++) {
        struct arena_mark mark = arena_mark(cx->mem);
        size_t n = 2 + shuffle_below(&rnd, 120), values = 1 + shuffle_below(&rnd, 40);
        double *y = NEW(cx, double, n), *s = NEW(cx, double, n), auc = -1;
        struct binary_rank r;
        for (size_t i = 0; i < n; i++) {
            y[i] = (double)shuffle_below(&rnd, 2);
            s[i] = (double)shuffle_below(&rnd, values) - (double)(values / 2);
            if (s[i] == 0 && shuffle_below(&rnd, 2)) s[i] = -0.0; /* one score, whatever the sign */
        }
        y[0] = 0, y[1] = 1;
        CHECK_OK(cx, binary_rank(cx, y, s, n, &r));
        CHECK_OK(cx, metric_auc(cx, &r, &auc));
        CHECK(near(auc, auc_by_pairs(y, s, n)));
        CHECK(r.tp[r.n_cuts - 1] == r.n_pos && r.fp[r.n_cuts - 1] == n - r.n_pos);
        for (size_t k = 0; k < r.n_cuts; k++) {
            uint64_t tp = 0, fp = 0;
            for (size_t i = 0; i < n; i++)
                tp += y[i] == 1 && s[i] >= r.cut[k], fp += y[i] == 0 && s[i] >= r.cut[k];
            CHECK(r.tp[k] == tp && r.fp[k] == fp && (k == 0 || r.cut[k] < r.cut[k - 1]));
        }
        arena_rewind(cx->mem, mark);
    }
}

/* ---- regression and classes ---- */

static double target(int i)
{
    return (double)(i * 37 % 53) / 4;
}
static double close_by(int i)
{
    return fabs(target(i) + (double)(i * 11 % 17 - 8) / 8);
}
static double far_off(int i)
{
    return (double)(i * 29 % 31) / 2;
}
static double constant(int i)
{
    (void)i;
    return 2.5;
}
static double small(int i)
{
    return i % 3;
}

/* explained_variance_score, mean_absolute_error, mean_squared_error, median_absolute_error, r2_score, the root of the
 * third, mean_squared_log_error, of (y, pred) */
static const struct {
    double (*y)(int i), (*pred)(int i);
    struct regression_metrics want;
} regression_vectors[] = {
    {target,
     close_by,
     {0.9746189168888706, 0.52875, 0.37453125, 0.5, 0.9745845631068373, 0.6119895832446823,
      0.02544897680915395}},
    {target,
     far_off,
     {-1.335504124786508, 4.86, 35.426875, 4.25, -1.4040437370298569, 5.952047966876611, 0.9602924131388687}},
    {target, target, {1, 0, 0, 0, 1, 0, 0}},
    {constant, small, {0, 1.505, 2.93, 1.5, 0, 1.711724276862369, 0.638507539178968}},
    {constant, constant, {1, 0, 0, 0, 1, 0, 0}},
};

static void regression_is_sklearns(struct ctx *cx)
{
    for (size_t k = 0; k < LEN(regression_vectors); k++) {
        double y[N], p[N];
        struct regression_metrics m = {0}, w = regression_vectors[k].want;
        for (int i = 0; i < N; i++)
            y[i] = regression_vectors[k].y(i), p[i] = regression_vectors[k].pred(i);
        CHECK_OK(cx, metric_regression(cx, y, p, N, &m));
        CHECK(near(m.explained_variance, w.explained_variance) && near(m.r2_score, w.r2_score));
        CHECK(near(m.mean_absolute_error, w.mean_absolute_error));
        CHECK(near(m.mean_squared_error, w.mean_squared_error));
        CHECK(near(m.root_mean_squared_error, w.root_mean_squared_error));
        CHECK(near(m.median_absolute_error, w.median_absolute_error));
        CHECK(near(m.mean_squared_log_error, w.mean_squared_log_error));
    }
    struct regression_metrics m;
    CHECK_OK(cx, metric_regression(cx, (const double[]){1, 2, 7}, (const double[]){1, -1, 3}, 3, &m));
    CHECK(m.median_absolute_error == 3 && isnan(m.mean_squared_log_error)); /* a prediction below 0 */
}

/* truth = i * 37 % 4, pred the same where i % 3, else i * 11 % 3; five classes, the last never occurs:
 *   accuracy_score(t, p), precision_score(t, p, average=None, labels=range(5), zero_division=0), recall_score(..) */
static void classes_are_sklearns(struct ctx *cx)
{
    static const double want_p[] = {0.5, 1, 1, 1, 0}, want_r[] = {1, 0.68, 0.66, 0.66, 0};
    uint32_t t[N], p[N];
    double acc = 0, precision[5], recall[5];
    for (uint32_t i = 0; i < N; i++)
        t[i] = i * 37 % 4, p[i] = i % 3 ? t[i] : i * 11 % 3;
    CHECK_OK(cx, metric_multi(cx, t, p, N, 5, &acc, precision, recall));
    CHECK(acc == 0.75);
    for (size_t c = 0; c < 5; c++)
        CHECK(near(precision[c], want_p[c]) && near(recall[c], want_r[c]));
}

/* ---- early stopping ---- */

/* A metric's values per round; when it stops and which round was best. */
static void stops_early(struct ctx *cx)
{
    (void)cx;
    static const double auc[] = {0.6, 0.7, 0.8, 0.8, 0.79, 0.9}, rmse[] = {3, 2, 1, 0.5, 0.4, 0.3};
    struct early_stop s = {.rounds = 2};
    size_t best = 77;
    CHECK(!early_stop_due(&s, &best) && best == 77);
    for (size_t i = 0; i < 4; i++) { /* 0.8 again is no improvement */
        CHECK(early_stop_add(&s, i, "auc", true, auc[i]) && early_stop_add(&s, i, "rmse", false, rmse[i]));
        CHECK(!early_stop_due(&s, &best) && best == (i < 3 ? i : 2));
    }
    CHECK(early_stop_add(&s, 4, "auc", true, auc[4]) && early_stop_add(&s, 4, "rmse", false, rmse[4]));
    CHECK(early_stop_due(&s, &best) && best == 2);
    struct early_stop other = {.rounds = 1}; /* the second metric stops it, the first is best later */
    CHECK(early_stop_add(&other, 0, "rmse", false, 2) && early_stop_add(&other, 0, "auc", true, 0.9));
    CHECK(early_stop_add(&other, 1, "rmse", false, 1) && early_stop_add(&other, 1, "auc", true, 0.8));
    CHECK(early_stop_due(&other, &best) && best == 0);
    struct early_stop never = {.rounds = 0};
    for (size_t i = 0; i < LEN(auc); i++)
        CHECK(early_stop_add(&never, i, "auc", true, auc[i]) && !early_stop_due(&never, &best));
    CHECK(best == 5);
    struct early_stop nan = {.rounds = 3};
    CHECK(early_stop_add(&nan, 0, "auc", true, (double)NAN) && early_stop_add(&nan, 1, "auc", true, 0.1));
    CHECK(!early_stop_due(&nan, &best) && best == 1);
    char name[EARLY_STOP_METRICS + 1][2];
    struct early_stop full = {.rounds = 1};
    for (size_t i = 0; i <= EARLY_STOP_METRICS; i++) {
        name[i][0] = (char)('a' + i), name[i][1] = 0;
        CHECK(early_stop_add(&full, 0, name[i], true, 1) == (i < EARLY_STOP_METRICS));
    }
}

/* ---- what is refused ---- */

static void refuses(struct ctx *cx)
{
    static const double y[] = {0, 1, 1}, one[] = {1, 1, 1}, bad[] = {0, 2, 1}, s[] = {1, 2, 3};
    static const double hole[] = {1, (double)NAN, 3};
    struct binary_rank r = {.n = 99};
    struct regression_metrics m = {.r2_score = 99};
    double out = 99, cut = 99;
    CHECK_ERR(binary_rank(cx, y, hole, 3, &r), ARG);
    CHECK(strstr(cx->err.msg, "row 2"));
    CHECK_ERR(binary_rank(cx, hole, s, 3, &r), ARG);
    CHECK_ERR(binary_rank(cx, bad, s, 3, &r), ARG);
    CHECK(r.n == 99);
    CHECK_OK(cx, binary_rank(cx, one, s, 3, &r));
    CHECK_ERR(metric_auc(cx, &r, &out), ARG);
    CHECK_ERR(metric_ks(cx, &r, &out, &cut), ARG);
    CHECK_OK(cx, binary_rank(cx, y, s, 0, &r));
    CHECK_ERR(metric_auc(cx, &r, &out), ARG);
    CHECK_ERR(metric_regression(cx, y, s, 0, &m), ARG);
    CHECK_ERR(metric_regression(cx, y, hole, 3, &m), ARG);
    CHECK(strstr(cx->err.msg, "row 2") && m.r2_score == 99);
    CHECK_ERR(metric_multi(cx, (const uint32_t[]){0, 3}, (const uint32_t[]){0, 1}, 2, 3, &out, &cut, &cut),
              ARG);
    CHECK_ERR(metric_multi(cx, NULL, NULL, 0, 3, &out, &cut, &cut), ARG);
    CHECK(out == 99 && cut == 99);
}

TEST_MAIN(T(binary_is_sklearns), T(logloss_is_sklearns), T(ranks_count), T(regression_is_sklearns),
          T(classes_are_sklearns), T(stops_early), T(refuses))
