/* A training that was interrupted, whoever died and at whichever message, goes on from the last round that all parties
 * hold, and its model, scores, metrics and losses are those of an undisturbed one, bit by bit. */
#include "base/arena.h"
#include "base/file.h"
#include "base/secret.h"
#include "fed/hetero_secureboost/resume.h"
#include "tests/fed/world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct scene scenes[] = {
    {"two hosts",
     120,
     40,
     2,
     2,
     {2, 2},
     2,
     0,
     "'num_trees': 4, 'validation_freqs': 1, 'tree_param': {'max_depth': 2}"},
    {"multi", 150, 0, 2, 1, {3}, 4, 0, "'num_trees': 3, 'tree_param': {'max_depth': 2}"},
    {"goss, drawn columns, secure rounds",
     300,
     50,
     3,
     1,
     {4},
     2,
     0.1,
     "'num_trees': 5, 'run_goss': true, 'top_rate': 0.3, 'other_rate': 0.2, 'subsample_feature_rate': 0.5, "
     "'complete_secure': 2, 'use_missing': true, 'tree_param': {'max_depth': 3}"},
    {"early stop",
     300,
     150,
     2,
     1,
     {3},
     2,
     0,
     "'num_trees': 30, 'learning_rate': 0.9, 'early_stopping_rounds': 2, 'validation_freqs': 1, 'metrics': "
     "['auc']"},
    {"regression, no change",
     200,
     0,
     2,
     1,
     {3},
     0,
     0,
     "'num_trees': 30, 'task_type': 'regression', 'objective_param': {'objective': 'huber', 'params': "
     "[1.0]}, 'tol': "
     "0.02, 'n_iter_no_change': true"},
};

static bool same_column(struct ctx *cx, const char *a, const char *b)
{
    const struct table *x, *y;
    CHECK_OK(cx, table_open(cx, a, &x));
    CHECK_OK(cx, table_open(cx, b, &y));
    const struct column *s = table_column(x, "predict_score"), *t = table_column(y, "predict_score");
    double *u = NEW(cx, double, x->n_rows + 1), *v = NEW(cx, double, x->n_rows + 1);
    if (x->n_rows != y->n_rows || !s || !t) return false;
    CHECK_OK(cx, table_read_f64(cx, x, s, 0, x->n_rows, u));
    CHECK_OK(cx, table_read_f64(cx, y, t, 0, x->n_rows, v));
    return memcmp(u, v, x->n_rows * sizeof *u) == 0;
}

static void same_result(struct ctx *cx, const struct fed_result *a, const struct fed_result *b, size_t n)
{
    for (size_t p = 0; p < n; p++) {
        const struct model_part *x = a[p].task.model_out, *y = b[p].task.model_out;
        CHECK(x && y && x->n_buffers == y->n_buffers);
        for (size_t i = 0; x && y && i < x->n_buffers; i++)
            CHECK(x->buffers[i].pb.n == y->buffers[i].pb.n &&
                  memcmp(x->buffers[i].pb.p, y->buffers[i].pb.p, x->buffers[i].pb.n) == 0);
        json_object_del(a[p].summary, "bytes"), json_object_del(b[p].summary, "bytes");
        CHECK(json_equal(a[p].summary, b[p].summary));
        CHECK(json_equal(a[p].metrics, b[p].metrics));
    }
    CHECK(same_column(cx, a[0].out_path, b[0].out_path));
}

/* Messages of a party in an undisturbed run: those it sends, and those it gets. */
struct count {
    uint32_t id;
    atomic_size_t n;
};
static void count(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n)
{
    struct count *c = arg;
    (void)tag, (void)p, (void)n;
    if (from.id == c->id || to.id == c->id) atomic_fetch_add(&c->n, 1);
}

static size_t steps_held(struct ctx *cx, const char *dir, uint32_t id)
{
    struct bytes all;
    if (file_read(cx, arena_printf(cx->mem, "%s/%u/trees", dir, id), 1 << 24, &all).code) return 0;
    size_t n = 0;
    for (size_t at = 48; at + 32 <= all.n; n++) {
        uint64_t length;
        memcpy(&length, all.p + at + 8, 8);
        at += 32 + length;
    }
    return n;
}

/* Kills party p at its message k, then runs again with what the checkpoints hold. */
static size_t disturb(struct ctx *cx, struct world *w, const struct fed_result *want, size_t p, size_t k)
{
    size_t n = w->s->n_hosts + 1;
    struct fed_result r[3], again[3];
    const char *dir = fed_dir(cx, "checkpoint");
    struct fed_options o = {.checkpoints = dir, .dies_at = p, .dies_after = k};
    world_train(cx, w, "Lattice", &o, r);
    bool died = r[p].code != ERR_OK;
    size_t held = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t here = steps_held(cx, dir, w->s->n_hosts && i ? 10000 + (uint32_t)i : 9999);
        held = here < held ? here : held;
    }
    o.dies_after = 0;
    world_train(cx, w, "Lattice", &o, again);
    world_all_ok(again, n);
    same_result(cx, want, again, n);
    fed_free(r, n), fed_free(again, n);
    return died ? held : SIZE_MAX;
}

static void all_of(struct ctx *cx, const struct scene *s, size_t step)
{
    struct world w = world_make(cx, s);
    struct fed_result want[3];
    size_t n = s->n_hosts + 1, runs = 0, went_on = 0;
    for (size_t p = 0; p < n; p++) {
        struct count c = {.id = p ? 10000 + (uint32_t)p : 9999};
        struct fed_options o = {.tap = count, .tap_arg = &c};
        world_train(cx, &w, "Lattice", &o, want);
        world_all_ok(want, n);
        size_t all = atomic_load(&c.n);
        for (size_t k = 1 + p; k <= all; k += step, runs++) {
            size_t held = disturb(cx, &w, want, p, k);
            CHECK(held != SIZE_MAX);
            went_on += held != SIZE_MAX && held > 1;
        }
        fed_free(want, n);
    }
    printf("# %s: %zu interruptions, %zu went on from a tree\n", s->name, runs, went_on);
    CHECK(went_on > 0);
}

/* TEST_EVERY=1: at each message (300 trainings); else at some. */
static size_t step_of(size_t some)
{
    const char *every = getenv("TEST_EVERY");
    return every && strcmp(every, "1") == 0 ? 1 : some;
}

static void every_message(struct ctx *cx)
{
    all_of(cx, &scenes[0], step_of(4));
}

static void every_kind(struct ctx *cx)
{
    for (size_t i = 1; i < LEN(scenes); i++)
        all_of(cx, &scenes[i], step_of(13));
}

/* Killed again and again; one party's checkpoint lost, of another run, or cut: still the same model. */
static void worse(struct ctx *cx)
{
    struct world w = world_make(cx, &scenes[0]);
    struct fed_result want[3], r[3];
    world_train(cx, &w, "Lattice", NULL, want);
    const char *dir = fed_dir(cx, "checkpoint");
    struct fed_options o = {.checkpoints = dir};
    for (size_t k = 0; k < 6; k++) {
        o.dies_at = k % 3, o.dies_after = 6 + 5 * k;
        world_train(cx, &w, "Lattice", &o, r);
        fed_free(r, 3);
        struct bytes all;
        const char *file = arena_printf(cx->mem, "%s/10001/trees", dir);
        CHECK_OK(cx, file_read(cx, file, 1 << 24, &all));
        if (k == 2) CHECK_OK(cx, file_write(cx, file, all.p, all.n - 5, 0600));           /* torn */
        if (k == 3) CHECK_OK(cx, dir_remove(cx, arena_printf(cx->mem, "%s/10002", dir))); /* lost */
        if (k == 4 && all.n > 90) { /* altered: the run's name and all after it are not believed */
            ((uint8_t *)all.p)[85] ^= 1;
            CHECK_OK(cx, file_write(cx, file, all.p, all.n, 0600));
        }
    }
    o.dies_after = 0;
    world_train(cx, &w, "Lattice", &o, r);
    world_all_ok(r, 3);
    same_result(cx, want, r, 3);
    /* After the end: everything is held, nothing is trained. */
    struct fed_result once_more[3];
    world_train(cx, &w, "Lattice", &o, once_more);
    world_all_ok(once_more, 3);
    same_result(cx, r, once_more, 3);
    CHECK(once_more[0].cx.err.code == ERR_OK);
    fed_free(want, 3), fed_free(r, 3), fed_free(once_more, 3);
}

/* Another table, another parameter: the checkpoint is not that training's. */
static void not_ours(struct ctx *cx)
{
    struct scene other = scenes[1], more = scenes[1];
    other.n = 151, more.params = "'num_trees': 3, 'bin_num': 9, 'tree_param': {'max_depth': 2}";
    const char *dir = fed_dir(cx, "checkpoint");
    const struct scene *all[] = {&scenes[1], &other, &more};
    for (size_t i = 0; i < LEN(all); i++) {
        struct world w = world_make(cx, all[i]);
        struct fed_result want[3], r[3];
        struct fed_options o = {.checkpoints = dir};
        world_train(cx, &w, "Lattice", NULL, want);
        world_train(cx, &w, "Lattice", &o, r);
        world_all_ok(r, 2);
        same_result(cx, want, r, 2);
        fed_free(want, 2), fed_free(r, 2);
    }
}

static void trees_as_bytes(struct ctx *cx)
{
    struct tree_node v[3] = {
        {.id = 0,
         .parent = -1,
         .left = 1,
         .right = 2,
         .party = 1,
         .feature = 7,
         .bin = 3,
         .split = -0.5,
         .missing_left = true,
         .gain = 2,
         .cover = 9},
        {.id = 1, .parent = 0, .left = -1, .right = -1, .is_leaf = true, .weight = 0.1},
        {.id = 2, .parent = 0, .left = -1, .right = -1, .is_leaf = true, .weight = -0.1}};
    struct tree t = {3, v}, back;
    CLEANUP(buf_free) struct buf b = {0};
    resume_put_tree(&b, &t);
    struct reader r = reader_of(b.p, b.n);
    CHECK_OK(cx, resume_take_tree(cx, &r, cx->mem, &back));
    CHECK_OK(cx, reader_end(cx, &r));
    CHECK(back.n_nodes == 3 && memcmp(back.nodes, v, sizeof v) == 0);
    for (size_t n = 0; n < b.n; n++) {
        r = reader_of(b.p, n);
        CHECK(resume_take_tree(cx, &r, cx->mem, &back).code == ERR_FORMAT);
    }
    struct shuffle s = shuffle_new(test_seed());
    for (size_t i = 0; i < 10000; i++) { /* damaged ones: refused, or trees all the same */
        uint8_t copy[512];
        memcpy(copy, b.p, b.n);
        copy[shuffle_below(&s, b.n)] ^= (uint8_t)(1u << shuffle_below(&s, 8));
        r = reader_of(copy, b.n);
        if (resume_take_tree(cx, &r, cx->mem, &back).code) continue;
        for (size_t k = 0; k < back.n_nodes; k++)
            CHECK(back.nodes[k].is_leaf ||
                  (back.nodes[k].left > (int32_t)k && back.nodes[k].right < (int32_t)back.n_nodes));
    }
}

TEST_MAIN(T(trees_as_bytes), T(not_ours), T(worse), T(every_kind), T(every_message))
