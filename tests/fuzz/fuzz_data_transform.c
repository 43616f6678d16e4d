/* A DataTransform model from elsewhere: u16 length and bytes of the Meta message, the rest is Param. Laws: a refusal has a
 * message; what is accepted is whole, and is saved to a model that loads to the same. */
#include "base/arena.h"
#include "fed/data_transform/model.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_texts(const char *const *a, const char *const *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!a[i] || !b[i] || strcmp(a[i], b[i]) != 0) return false;
    return true;
}

static bool same_rules(const struct dt_rule *a, const struct dt_rule *b, size_t n)
{
    return a->on == b->on && (!a->on || (a->value && b->value && same_texts(a->value, b->value, n))) &&
           (!a->on || (a->n_match == b->n_match && same_texts(a->match, b->match, a->n_match)));
}

static void check(struct ctx *cx, struct dt_spec *s)
{
    struct model_part *saved;
    struct dt_spec again = {0};
    bool needed;
    double *rate = NEW(cx, double, s->n_features + 1);
    if (!rate) return;
    s->missing.rate = s->outlier.rate = rate;
    if (!s->anonymous) s->anonymous = s->header;
    if (dt_model_save(cx, s, "data_transform_0", &saved).code == ERR_NOMEM) return;
    if (dt_model_load(cx, saved, &again, &needed).code) abort();
    if (!needed || again.n_features != s->n_features || again.n_exclusive != s->n_exclusive) abort();
    if (!same_texts(again.header, s->header, s->n_features) ||
        !same_texts(again.anonymous, s->anonymous, s->n_features) ||
        !same_rules(&again.missing, &s->missing, s->n_features) ||
        !same_rules(&again.outlier, &s->outlier, s->n_features))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 1 << 16) return 0;
    size_t n = (size_t)data[0] | (size_t)data[1] << 8;
    if (n > size - 2) n = size - 2;
    struct ctx cx = {.mem = arena_new(64u << 20)};
    struct model_part part = {.component = "data_transform_0", .n_buffers = 2};
    part.buffers[0] = (struct model_buffer){"DataTransformMeta", "DataTransformMeta", {data + 2, n}};
    part.buffers[1] =
        (struct model_buffer){"DataTransformParam", "DataTransformParam", {data + 2 + n, size - 2 - n}};
    struct dt_spec s = {0};
    bool needed;
    status st = dt_model_load(&cx, &part, &s, &needed);
    if (st.code && !cx.err.msg[0]) abort();
    if (!st.code && needed) check(&cx, &s);
    arena_free(cx.mem);
    return 0;
}
