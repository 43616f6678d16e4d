/* gbdt_loss.c - objectives: gradients, initial scores, losses, predictions. Formulas: FATE 1.11 tree_core/loss. */
#include "base/arena.h"
#include "base/pool.h"
#include "learn/gbdt.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS       4096
#define SMALL      1e-8 /* FATE's FLOAT_ZERO: the least huber delta, and what lae takes for equal */
#define PROB_LEAST 1e-300

static double sigmoid(double x)
{
    if (x <= 0) {
        double e = exp(x);
        return e / (1 + e);
    }
    return 1 / (1 + exp(-x));
}

static void softmax(const double *x, size_t k, double *out)
{
    double top = x[0], sum = 0;
    for (size_t c = 1; c < k; c++)
        top = x[c] > top ? x[c] : top;
    for (size_t c = 0; c < k; c++)
        sum += out[c] = exp(x[c] - top);
    for (size_t c = 0; c < k; c++)
        out[c] /= sum;
}

status gbdt_objective_make(struct ctx *cx, const char *name, const double *params, size_t n_params,
                           unsigned n_classes, struct gbdt_objective *out)
{
    static const struct {
        const char *name;
        enum gbdt_loss loss;
    } names[] = {{"lse", GBDT_LSE},   {"lae", GBDT_LAE},         {"huber", GBDT_HUBER},
                 {"fair", GBDT_FAIR}, {"tweedie", GBDT_TWEEDIE}, {"log_cosh", GBDT_LOG_COSH}};
    if (strcmp(name, "cross_entropy") == 0) {
        if (n_classes < 2)
            return FAIL(cx, ARG, "classification needs 2 classes or more, the labels hold %u", n_classes);
        *out = (struct gbdt_objective){.loss = n_classes == 2 ? GBDT_LOGISTIC : GBDT_SOFTMAX,
                                       .n_classes = n_classes};
        return OK;
    }
    for (size_t i = 0; i < LEN(names); i++) {
        if (strcmp(name, names[i].name) != 0) continue;
        enum gbdt_loss loss = names[i].loss;
        bool wants = loss == GBDT_HUBER || loss == GBDT_FAIR || loss == GBDT_TWEEDIE;
        if (wants && n_params < 1) return FAIL(cx, ARG, "objective %s needs objective_param.params[0]", name);
        double x = wants ? params[0] : 0;
        if (loss == GBDT_TWEEDIE && !(x >= 1 && x < 2))
            return FAIL(cx, ARG, "objective_param.params[0] is %g, want [1, 2) for tweedie", x);
        if ((loss == GBDT_HUBER || loss == GBDT_FAIR) && !(x > 0 && isfinite(x)))
            return FAIL(cx, ARG, "objective_param.params[0] is %g, want above 0 for %s", x, name);
        if (loss == GBDT_HUBER || loss == GBDT_FAIR) x = x < SMALL ? SMALL : x;
        *out = (struct gbdt_objective){.loss = loss, .param = x, .n_classes = 1};
        return OK;
    }
    return FAIL(cx, ARG, "objective %s, want cross_entropy, lse, lae, huber, fair, tweedie or log_cosh",
                name);
}

status gbdt_check_labels(struct ctx *cx, const struct gbdt_objective *o, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) return FAIL(cx, ARG, "row %zu: the label is missing", i + 1);
        if (o->n_classes > 1 && !(y[i] >= 0 && y[i] < o->n_classes && y[i] == floor(y[i])))
            return FAIL(cx, ARG, "row %zu: label %g, want a class 0 to %u", i + 1, y[i], o->n_classes - 1);
        if (o->loss == GBDT_TWEEDIE && y[i] < 0)
            return FAIL(cx, ARG, "row %zu: label %g, tweedie needs labels of 0 or more", i + 1, y[i]);
    }
    return OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

status gbdt_init_score(struct ctx *cx, const struct gbdt_objective *o, const double *y, size_t n,
                       double *init)
{
    for (unsigned k = 0; k < gbdt_dim(o); k++)
        init[k] = 0;
    if (o->n_classes > 1 || o->loss == GBDT_TWEEDIE || n == 0) return OK;
    if (o->loss == GBDT_LAE) { /* the lower median */
        struct arena_mark mark = arena_mark(cx->mem);
        double *v = NEW(cx, double, n);
        if (!v) return FAIL(cx, NOMEM, "median of %zu labels", n);
        memcpy(v, y, n * sizeof *v);
        qsort(v, n, sizeof *v, by_value);
        init[0] = v[(n - 1) / 2];
        arena_rewind(cx->mem, mark);
        return OK;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += y[i];
    init[0] = sum / (double)n;
    return OK;
}

/* g and h of one row of a regression objective at score s. */
static void regression_gradient(const struct gbdt_objective *o, double y, double s, double *g, double *h)
{
    double d = s - y, p = o->param;
    switch (o->loss) {
    case GBDT_LSE:
        *g = 2 * d, *h = 2;
        break;
    case GBDT_LAE:
        *g = d > SMALL ? 1 : d < -SMALL ? -1 : 0, *h = 1;
        break;
    case GBDT_HUBER: { /* pseudo-Huber */
        double r = 1 + d * d / (p * p);
        *g = d / sqrt(r), *h = 1 / (r * sqrt(r));
        break;
    }
    case GBDT_FAIR:
        *g = p * d / (fabs(d) + p), *h = p * p / ((fabs(d) + p) * (fabs(d) + p));
        break;
    case GBDT_TWEEDIE: {
        double a = y * exp((1 - p) * s), b = exp((2 - p) * s);
        *g = b - a, *h = (2 - p) * b - (1 - p) * a;
        break;
    }
    case GBDT_LOG_COSH: {
        double t = tanh(d);
        *g = t, *h = 1 - t * t;
        break;
    }
    case GBDT_LOGISTIC:
    case GBDT_SOFTMAX:
        break; /* not here */
    }
}

/* Loss of one row of a regression objective at score s. */
static double regression_loss(const struct gbdt_objective *o, double y, double s)
{
    double d = s - y, q = o->param;
    switch (o->loss) {
    case GBDT_LSE:
        return d * d;
    case GBDT_LAE:
        return fabs(d);
    case GBDT_HUBER:
        return q * q * (sqrt(1 + d / q * (d / q)) - 1);
    case GBDT_FAIR:
        return q * fabs(d) - q * q * log(fabs(d) / q + 1);
    case GBDT_TWEEDIE: {
        double l = log(fmax(exp(s), 1e-10));
        return q == 1 ? exp(l) - y * l : exp((2 - q) * l) / (2 - q) - y * exp((1 - q) * l) / (1 - q);
    }
    case GBDT_LOG_COSH:
        return fabs(d) + log1p(exp(-2 * fabs(d))) - M_LN2; /* log cosh without overflow */
    case GBDT_LOGISTIC:
    case GBDT_SOFTMAX:
        break; /* not here */
    }
    return 0;
}

/* The sum of weight * -log p. The log of a product is taken where weights are equal: one for hundreds of rows. */
struct log_sum {
    double sum, product;
};
static inline void log_sum_add(struct log_sum *l, double p, double weight)
{
    if (weight != 1 || p < 1e-100) {
        l->sum -= weight * log(fmax(p, PROB_LEAST));
        return;
    }
    l->product *= p;
    if (l->product > 1e-200) return;
    l->sum -= log(l->product);
    l->product = 1;
}

struct gradient_job {
    const struct gbdt_objective *o;
    const double *y, *score, *weight;
    size_t n;
    double *g, *h;
    double *sum, *mass; /* of the losses and weights of a chunk */
};

static double logistic_rows(const struct gradient_job *j, size_t begin, size_t end)
{
    struct log_sum l = {.product = 1};
    for (size_t i = begin; i < end; i++) {
        double w = j->weight ? j->weight[i] : 1, q = sigmoid(j->score[i]);
        j->g[i] = w * (q - j->y[i]), j->h[i] = w * (q * (1 - q));
        log_sum_add(&l, j->y[i] > 0.5 ? q : 1 - q, w);
    }
    return l.sum - log(l.product);
}

static status softmax_rows(struct ctx *cx, const struct gradient_job *j, size_t begin, size_t end,
                           double *loss)
{
    unsigned dim = gbdt_dim(j->o);
    double *p = NEW(cx, double, dim);
    if (!p) return FAIL(cx, NOMEM, "%u classes", dim);
    struct log_sum l = {.product = 1};
    for (size_t i = begin; i < end; i++) {
        double w = j->weight ? j->weight[i] : 1;
        softmax(j->score + i * dim, dim, p);
        for (unsigned k = 0; k < dim; k++) {
            j->g[k * j->n + i] = w * (p[k] - (j->y[i] == k ? 1 : 0));
            j->h[k * j->n + i] = w * (p[k] * (1 - p[k]));
        }
        log_sum_add(&l, p[(size_t)j->y[i]], w);
    }
    *loss = l.sum - log(l.product);
    return OK;
}

static double regression_rows(const struct gradient_job *j, size_t begin, size_t end)
{
    double sum = 0;
    for (size_t i = begin; i < end; i++) {
        double w = j->weight ? j->weight[i] : 1, g = 0, h = 0;
        regression_gradient(j->o, j->y[i], j->score[i], &g, &h);
        j->g[i] = w * g, j->h[i] = w * h;
        sum += w * regression_loss(j->o, j->y[i], j->score[i]);
    }
    return sum;
}

static status gradient_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct gradient_job *j = arg;
    double mass = j->weight ? 0 : (double)(end - begin);
    for (size_t i = begin; j->weight && i < end; i++)
        mass += j->weight[i];
    j->mass[chunk] = mass;
    if (j->o->loss == GBDT_SOFTMAX) return softmax_rows(cx, j, begin, end, &j->sum[chunk]);
    j->sum[chunk] =
        j->o->loss == GBDT_LOGISTIC ? logistic_rows(j, begin, end) : regression_rows(j, begin, end);
    return OK;
}

status gbdt_gradient(struct ctx *cx, const struct gbdt_objective *o, const double *y, const double *score,
                     const double *weight, size_t n, double *g, double *h, double *loss)
{
    if (n == 0) return FAIL(cx, ARG, "no rows to take a loss of");
    struct arena_mark mark = arena_mark(cx->mem);
    size_t chunks = pool_chunks(n, ROWS);
    struct gradient_job j = {.o = o, .y = y, .score = score, .weight = weight, .n = n, .g = g, .h = h};
    j.sum = NEW(cx, double, chunks), j.mass = NEW(cx, double, chunks);
    if (!j.sum || !j.mass) return FAIL(cx, NOMEM, "%zu partial losses", chunks);
    TRY(pool_for(cx, n, ROWS, gradient_chunk, &j));
    double sum = 0, mass = 0;
    for (size_t c = 0; c < chunks; c++)
        sum += j.sum[c], mass += j.mass[c];
    arena_rewind(cx->mem, mark);
    *loss = sum / mass;
    return OK;
}

void gbdt_predict_from_score(const struct gbdt_objective *o, const double *score, size_t n, double *out)
{
    unsigned dim = gbdt_dim(o);
    for (size_t i = 0; i < n; i++) {
        if (o->loss == GBDT_LOGISTIC)
            out[i] = sigmoid(score[i]);
        else if (o->loss == GBDT_SOFTMAX)
            softmax(score + i * dim, dim, out + i * dim);
        else if (o->loss == GBDT_TWEEDIE)
            out[i] = exp(score[i]);
        else
            out[i] = score[i];
    }
}

double gbdt_bound(const struct gbdt_objective *o, const double *g, const double *h, size_t n)
{
    if (o->n_classes > 1) return 1;
    double top = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(g[i]) || !isfinite(h[i])) return (double)INFINITY;
        top = fmax(top, fmax(fabs(g[i]), fabs(h[i])));
    }
    return top;
}

struct fixed_scale fixed_scale_for(double max_abs, int value_bits)
{
    int e = 0;
    double m = frexp(max_abs, &e); /* max_abs = m * 2^e, m in [0.5, 1) or 0 */
    if (m == 0.5) e--;
    return (struct fixed_scale){.frac_bits = m == 0 ? value_bits : value_bits - e};
}

/* llround without the call. */
static inline int64_t round_away(double x)
{
    int64_t t = (int64_t)x;
    double rest = x - (double)t;
    return t + (rest >= 0.5) - (rest <= -0.5);
}

void gh_quantise(struct fixed_scale s, const double *g, const double *h, size_t n, struct gh *out)
{
    double f = ldexp(1, s.frac_bits);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct gh){.g = round_away(g[i] * f), .h = round_away(h[i] * f)};
}
