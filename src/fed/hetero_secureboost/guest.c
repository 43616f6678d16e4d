#include "fed/hetero_secureboost/guest.h"
#include "base/arena.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLASSES_MAX 1000u

/* ---- classes ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

status sbt_classes(struct ctx *cx, const double *y, size_t n, const double **classes, size_t *n_classes)
{
    double *c = NEW(cx, double, CLASSES_MAX);
    if (!c) return FAIL(cx, NOMEM, "classes");
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < k && c[j] != y[i])
            j++;
        if (j < k) continue;
        if (k == CLASSES_MAX)
            return FAIL(cx, ARG, "the label has more than %u values: is this a regression?", CLASSES_MAX);
        c[k++] = y[i];
    }
    if (k < 2)
        return FAIL(cx, ARG, "classification needs 2 classes or more, the labels of %zu rows hold %zu", n, k);
    qsort(c, k, sizeof *c, by_value);
    *classes = c, *n_classes = k;
    return OK;
}

status sbt_class_index(struct ctx *cx, const double *classes, size_t n_classes, double *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double *at = bsearch(&y[i], classes, n_classes, sizeof *classes, by_value);
        if (!at)
            return FAIL(cx, ARG, "row %zu has label %g, which is no class of the training data", i + 1, y[i]);
        y[i] = (double)(at - classes);
    }
    return OK;
}

/* ---- what happens after each round ---- */

struct watch {
    struct task *t;
    const struct sbt_params *p;
    const struct sbt_data *train, *valid;
    struct evaluator eval;
    struct resume resume;
    size_t n_grown; /* rounds that an interrupted attempt has trained */
    unsigned dim;
    double *train_best, *valid_best;
    struct timespec since;
};

static double seconds_since(struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double s = (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
    *t = now;
    return s;
}

static status on_round(struct ctx *cx, void *self, struct gbdt_round *r)
{
    struct watch *w = self;
    const struct sbt_params *p = w->p;
    if (evaluator_due(&w->eval, r->round)) {
        TRY(evaluator_run(cx, &w->eval, w->t, r->round, "train", w->train->y, r->train_score,
                          w->train->table->n_rows));
        if (w->valid)
            TRY(evaluator_run(cx, &w->eval, w->t, r->round, "validate", w->valid->y, r->valid_score,
                              w->valid->table->n_rows));
        size_t best = r->round;
        if (p->early_rounds) r->stop = evaluator_stop(&w->eval, r->round, &best);
        r->best_round = best;
    } else if (p->early_rounds) {
        early_stop_due(&w->eval.early, &r->best_round);
    }
    if (r->best_round == r->round || !p->early_rounds) {
        memcpy(w->train_best, r->train_score, w->train->table->n_rows * w->dim * sizeof *w->train_best);
        if (w->valid)
            memcpy(w->valid_best, r->valid_score, w->valid->table->n_rows * w->dim * sizeof *w->valid_best);
    }
    if (r->round < w->n_grown) return OK;
    log_info(cx, "round done", KV("round", r->round), KV("loss", r->loss),
             KV("seconds", seconds_since(&w->since)));
    task_progress(w->t, "rounds", r->round + 1, p->train.n_rounds);
    return OK;
}

/* ---- trees to the checkpoint and back ---- */

static status on_tree(struct ctx *cx, void *self, size_t round, unsigned k, const struct gbdt_grown *t)
{
    (void)round, (void)k;
    return resume_add(cx, &((struct watch *)self)->resume, &t->tree, t->leaf, t->valid_leaf);
}

static status grown(struct ctx *cx, void *self, size_t round, unsigned k, struct gbdt_grown *out)
{
    struct watch *w = self;
    return resume_tree(cx, &w->resume, round * w->dim + k, out);
}

/* ---- training ---- */

/* Rows that train a tree: GOSS keeps so many of each part, whatever the gradients. */
static size_t batch_rows(const struct gbdt_params *p, size_t n)
{
    return p->run_goss ? gbdt_goss_rows(p, n) : n;
}

static status peer_columns(struct ctx *cx, const struct peers *peers, const char *const *const **out)
{
    const char *const **names = NEW(cx, const char *const *, peers->n + 1);
    if (!names) return FAIL(cx, NOMEM, "%zu hosts", peers->n);
    for (size_t i = 0; i < peers->n; i++)
        names[i + 1] = peers->peer[i].name;
    *out = names;
    return OK;
}

static status traffic(struct ctx *cx, const struct peers *peers, struct sbt_trained *out)
{
    out->sent = NEW(cx, uint64_t, peers->n + 1);
    out->received = NEW(cx, uint64_t, peers->n + 1);
    if (!out->sent || !out->received) return FAIL(cx, NOMEM, "%zu hosts", peers->n);
    for (size_t i = 0; i < peers->n; i++)
        out->sent[i] = peers->peer[i].link.sent, out->received[i] = peers->peer[i].link.received;
    return OK;
}

static void watch_free(struct watch *w)
{
    evaluator_free(&w->eval);
    resume_close(&w->resume);
}

status sbt_guest_train(struct ctx *cx, struct task *t, const struct sbt_params *p,
                       const struct sbt_data *train, const struct sbt_data *valid,
                       const char *const *const **peer_names, struct sbt_trained *out)
{
    size_t n = train->table->n_rows, nv = valid ? valid->table->n_rows : 0;
    unsigned dim = gbdt_dim(&p->train.objective);
    CLEANUP(watch_free) struct watch w = {.t = t, .p = p, .train = train, .valid = valid, .dim = dim};
    TRY(evaluator_init(cx, p, &p->train.objective, &w.eval));
    w.train_best = NEW(cx, double, n *dim + 1);
    w.valid_best = NEW(cx, double, nv *dim + 1);
    if (!w.train_best || !w.valid_best) return FAIL(cx, NOMEM, "scores of %zu rows", n + nv);
    seconds_since(&w.since);
    TRY(resume_open(cx, t, &train->x, nv, train->y, train->weight, true, &w.resume));
    CLEANUP(peers_close) struct peers peers = {0};
    TRY(peers_open(cx, t, p, n, batch_rows(&p->train, n), valid ? &valid->x : NULL, &w.resume, &peers));
    w.n_grown = w.resume.n_trees / dim;
    struct gbdt_params gp = p->train;
    gp.value_bits = sbt_value_bits(p, peers.n_batch);
    log_info(cx, "hosts met", KV("hosts", peers.n), KV("scheme", peers.he_info.set),
             KV("value_bits", gp.value_bits), KV("seconds", seconds_since(&w.since)));
    const struct gbdt_data data = {.n = n,
                                   .x = &train->x,
                                   .y = train->y,
                                   .weight = train->weight,
                                   .valid = valid ? &valid->x : NULL,
                                   .n_valid = nv};
    struct gbdt_peers calls = peers_callbacks(&peers);
    const struct gbdt_hooks hooks = {.self = &w,
                                     .on_round = on_round,
                                     .on_tree = w.resume.log ? on_tree : NULL,
                                     .n_grown = w.n_grown,
                                     .grown = grown};
    TRY(gbdt_train(cx, &gp, &data, &calls, &hooks, &out->ensemble));
    out->n_rounds = p->early_rounds ? out->ensemble->best_round + 1 : out->ensemble->n_rounds;
    out->best_iteration = p->early_rounds ? (int)out->ensemble->best_round : -1;
    TRY(peers_stop(cx, &peers, out->n_rounds * dim, dim, out->best_iteration, out->ensemble->converged));
    out->train_score = w.train_best, out->valid_score = valid ? w.valid_best : NULL;
    out->he = peers.he_info;
    TRY(traffic(cx, &peers, out));
    TRY(peer_columns(cx, &peers, peer_names));
    out->validation = TAKE(w.eval.found);
    return OK;
}
