/* A row's predict_detail, {'0': 0.7, '1': 0.3}. Laws: a refusal has a message and names the row; the classes of what is accepted
 * are different, each has a number, and their text written anew gives the same. */
#include "base/arena.h"
#include "fed/evaluation/predictions.h"
#include "base/num.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static status read_text(struct ctx *cx, const void *p, size_t n, struct prediction_classes *out)
{
    uint64_t off[2] = {0, n};
    const struct column c = {.name = "predict_detail", .type = COL_STR, .data = off, .text = p};
    const struct table t = {.n_rows = 1, .n_physical = 1, .n_cols = 1, .cols = &c};
    uint32_t row = 0;
    const struct prediction_set s = {.type = "train", .n = 1, .row = &row};
    return predictions_classes(cx, &t, &s, out);
}

static void check(struct ctx *cx, const struct prediction_classes *c)
{
    struct prediction_classes again;
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, '{');
    for (size_t k = 0; k < c->n; k++) {
        char x[32];
        if (!isfinite(c->p[k])) abort();
        for (size_t j = 0; j < k; j++)
            if (strcmp(c->name[j], c->name[k]) == 0) abort();
        x[num_format_f64(c->p[k], x)] = 0;
        char quote = strchr(c->name[k], '\'') ? '"' : '\'';
        buf_printf(&b, "%s%c%s%c: %s", k ? ", " : "", quote, c->name[k], quote, x);
    }
    buf_u8(&b, '}');
    if (b.bad || read_text(cx, b.p, b.n, &again).code || again.n != c->n) abort();
    for (size_t k = 0; k < c->n; k++)
        if (strcmp(again.name[k], c->name[k]) != 0 || again.p[k] != c->p[k]) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctx cx = {.mem = arena_new(64u << 20)};
    struct prediction_classes c;
    status st = read_text(&cx, data, size, &c);
    if (st.code && (!cx.err.msg[0] || (st.code == ERR_FORMAT && !strstr(cx.err.msg, "row 1")))) abort();
    if (!st.code) check(&cx, &c);
    arena_free(cx.mem);
    return 0;
}
