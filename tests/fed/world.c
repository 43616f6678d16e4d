#include "tests/fed/world.h"
#include "base/arena.h"
#include "base/secret.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void fill(const struct scene *s, struct shuffle *r, size_t n, size_t n_cols, double *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        double z = 0;
        for (size_t j = 0; j < n_cols; j++) {
            double v = shuffle_normal(r);
            if (j % 3 == 1) v = rint(v * 2) / 2;            /* ties */
            if (j % 4 == 2 && shuffle_unit(r) < 0.4) v = 0; /* a block of zeros */
            z += v * (j % 2 ? -0.8 : 1.1) + (j ? 0.3 * v * x[(j - 1) * n + i] : 0);
            x[j * n + i] = v;
        }
        for (size_t j = 0; j < n_cols; j++)
            if (shuffle_unit(r) < s->missing) x[j * n + i] = (double)NAN;
        z += 0.5 * shuffle_normal(r);
        if (s->classes == 0)
            y[i] = z;
        else if (s->classes == 2)
            y[i] = z > 0;
        else
            y[i] = z < -1.5 ? 0 : z < 0 ? 1 : z < 1.5 ? 2 : 3;
    }
}

struct world world_make(struct ctx *cx, const struct scene *s)
{
    struct world w = {.s = s, .n_cols = s->guest_cols + s->host_cols[0] + s->host_cols[1]};
    struct shuffle r = shuffle_new(42);
    w.x = NEW(cx, double, w.n_cols * s->n), w.y = NEW(cx, double, s->n);
    w.xv = NEW(cx, double, w.n_cols * s->n_valid + 1), w.yv = NEW(cx, double, s->n_valid + 1);
    fill(s, &r, s->n, w.n_cols, w.x, w.y);
    fill(s, &r, s->n_valid, w.n_cols, w.xv, w.yv);
    const char *dir = fed_dir(cx, "world");
    size_t at = 0;
    for (size_t p = 0; p <= s->n_hosts; p++) {
        size_t cols = p ? s->host_cols[p - 1] : s->guest_cols;
        struct party who = {p ? ROLE_HOST : ROLE_GUEST, p ? 10000 + (uint32_t)p : 9999};
        w.train[p] = fed_table(cx, arena_printf(cx->mem, "%s/t%zu", dir, p), s->n, cols, w.x + at * s->n, "x",
                               p ? NULL : w.y, who);
        if (s->n_valid)
            w.valid[p] = fed_table(cx, arena_printf(cx->mem, "%s/v%zu", dir, p), s->n_valid, cols,
                                   w.xv + at * s->n_valid, "x", p ? NULL : w.yv, who);
        at += cols;
    }
    return w;
}

const char *world_params(struct ctx *cx, const struct scene *s, const char *scheme)
{
    char *t = arena_printf(cx->mem, "{%s, 'encrypt_param': {'method': '%s'}}", s->params, scheme);
    for (char *c = t; *c; c++)
        if (*c == '\'') *c = '"';
    return t;
}

void world_train(struct ctx *cx, struct world *w, const char *scheme, const struct fed_options *o,
                 struct fed_result *r)
{
    struct fed_arg arg[3];
    for (size_t p = 0; p <= w->s->n_hosts; p++) {
        arg[p] = (struct fed_arg){.role = p ? ROLE_HOST : ROLE_GUEST,
                                  .id = p ? 10000 + (uint32_t)p : 9999,
                                  .params = world_params(cx, w->s, scheme)};
        arg[p].input[arg[p].n_inputs++] = (struct task_input){"train_data", "i.data", "i", w->train[p]};
        if (w->s->n_valid)
            arg[p].input[arg[p].n_inputs++] =
                (struct task_input){"validate_data", "v.data", "v", w->valid[p]};
    }
    fed_run("HeteroSecureBoost", arg, w->s->n_hosts + 1, o, r);
}

void world_predict(struct ctx *cx, struct world *w, const struct fed_result *trained,
                   const struct fed_options *o, struct fed_result *r)
{
    struct fed_arg arg[3];
    for (size_t p = 0; p <= w->s->n_hosts; p++)
        arg[p] = (struct fed_arg){.role = p ? ROLE_HOST : ROLE_GUEST,
                                  .id = p ? 10000 + (uint32_t)p : 9999,
                                  .params = world_params(cx, w->s, "Lattice"),
                                  .input = {{"test_data", "v.data", "v", w->valid[p]}},
                                  .n_inputs = 1,
                                  .model = trained[p].task.model_out};
    fed_run("HeteroSecureBoost", arg, w->s->n_hosts + 1, o, r);
}

void world_all_ok(const struct fed_result *r, size_t n)
{
    for (size_t p = 0; p < n; p++) {
        if (r[p].code) printf("# party %zu: %s: %s\n", p, err_name(r[p].code), r[p].msg);
        CHECK(r[p].code == ERR_OK);
    }
}
