/* output.c - FATE's prediction table. */
#include "base/arena.h"
#include "base/num.h"
#include "fed/hetero_secureboost/predict.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BATCH    4096
#define TEXT_MAX 80 /* of one class in predict_detail: quotes, name, number */

status sbt_labels(struct ctx *cx, const struct table *t, double **y)
{
    const struct column *c = table_label(t);
    if (!c) return FAIL(cx, ARG, "the guest's table has no label column: DataTransform with_label names it");
    if (c->type == COL_STR) return FAIL(cx, ARG, "label column %s holds text, want numbers", c->name);
    *y = NEW(cx, double, t->n_rows + 1);
    if (!*y) return FAIL(cx, NOMEM, "%zu labels", t->n_rows);
    TRY(table_read_f64(cx, t, c, 0, t->n_rows, *y));
    for (size_t i = 0; i < t->n_rows; i++)
        if (isnan((*y)[i])) return FAIL(cx, ARG, "label column %s, row %zu is missing", c->name, i + 1);
    return OK;
}

/* A column of labels or results: integers when all are whole, text when there are none. */
struct label_column {
    enum col_type type;
    double *f64;
    int64_t *i64;
    struct bytes *none;
};

static status label_column(struct ctx *cx, enum col_type type, struct label_column *out)
{
    *out = (struct label_column){.type = type,
                                 .f64 = NEW(cx, double, BATCH),
                                 .i64 = NEW(cx, int64_t, BATCH),
                                 .none = NEW(cx, struct bytes, BATCH)};
    return out->f64 && out->i64 && out->none ? OK : FAIL(cx, NOMEM, "a prediction table");
}
static void label_set(struct label_column *c, size_t i, double x)
{
    c->f64[i] = x;
    if (c->type == COL_I64) c->i64[i] = (int64_t)x;
}
static const void *label_data(const struct label_column *c)
{
    return c->type == COL_I64 ? (const void *)c->i64 : c->type == COL_F64 ? (const void *)c->f64 : c->none;
}

struct writer {
    const struct sbt_model *m;
    double threshold;
    struct table_writer *to;
    struct label_column label, result;
    double *pred, *score; /* BATCH x dim, BATCH */
    struct bytes *detail, *type;
    char *text; /* BATCH x text_max */
    size_t text_max;
    uint64_t *id_off;
};

/* {'0': 0.72, '1': 0.28}; of a regression {'label': 3.5} */
static size_t detail_text(const struct writer *w, const double *pred, char *out)
{
    const struct sbt_model *m = w->m;
    size_t n = 0, k_max = m->n_classes ? m->n_classes : 1;
    char name[32] = "label", x[32];
    for (size_t k = 0; k < k_max; k++) {
        double p = m->n_classes == 2 ? (k ? pred[0] : 1 - pred[0]) : pred[k];
        if (m->n_classes) name[sbt_format_label(m->classes[k], name)] = 0;
        x[num_format_f64(p, x)] = 0;
        n += (size_t)snprintf(out + n, w->text_max - n, "%s'%s': %s", k ? ", " : "{", name, x);
    }
    out[n++] = '}';
    return n;
}

/* The class or value of one row and its score. */
static void decide(const struct writer *w, const double *pred, double *result, double *score)
{
    const struct sbt_model *m = w->m;
    size_t best = 0;
    *score = pred[0], *result = pred[0];
    if (m->n_classes == 0) return;
    if (m->n_classes == 2) {
        *result = m->classes[pred[0] > w->threshold];
        return;
    }
    for (size_t k = 1; k < m->n_classes; k++)
        if (pred[k] > pred[best]) best = k;
    *score = pred[best], *result = m->classes[best];
}

static status write_rows(struct ctx *cx, struct writer *w, const struct sbt_part *part, size_t begin,
                         size_t end)
{
    struct arena_mark mark = arena_mark(cx->mem);
    CLEANUP(buf_free) struct buf ids = {0};
    size_t n = end - begin, dim = w->m->dim;
    memcpy(w->pred, part->score + begin * dim, n * dim * sizeof *w->pred);
    gbdt_predict_from_score(&w->m->objective, w->pred, n, w->pred);
    if (w->label.type != COL_STR)
        TRY(table_read_f64(cx, part->table, table_label(part->table), begin, end, w->label.f64));
    for (size_t i = 0; i < n; i++) {
        const double *pred = w->pred + i * dim;
        double result;
        decide(w, pred, &result, &w->score[i]);
        label_set(&w->result, i, result);
        label_set(&w->label, i, w->label.f64[i]);
        char *text = w->text + i * w->text_max;
        w->detail[i] = (struct bytes){(uint8_t *)text, detail_text(w, pred, text)};
        w->type[i] = (struct bytes){(const uint8_t *)part->type, strlen(part->type)};
        struct bytes id = table_id(part->table, begin + i);
        w->id_off[i] = ids.n;
        buf_put(&ids, id.p, id.n);
    }
    w->id_off[n] = ids.n;
    TRY(buf_ok(cx, &ids));
    const void *cols[] = {label_data(&w->label), label_data(&w->result), w->score, w->detail, w->type};
    TRY(table_writer_append(cx, w->to, n, w->id_off, ids.p ? (const char *)ids.p : "", cols));
    arena_rewind(cx->mem, mark);
    return OK;
}

/* Whole numbers are shown as such when all labels are. */
static status label_type(struct ctx *cx, const struct sbt_part *part, size_t n_parts, enum col_type *out)
{
    *out = COL_I64;
    for (size_t k = 0; k < n_parts; k++) {
        double *y;
        if (!table_label(part[k].table)) {
            *out = COL_STR;
            return OK;
        }
        TRY(sbt_labels(cx, part[k].table, &y));
        for (size_t i = 0; i < part[k].table->n_rows; i++)
            if (y[i] != rint(y[i]) || fabs(y[i]) > 1e15) *out = COL_F64;
    }
    return OK;
}

status sbt_write_predictions(struct ctx *cx, const struct sbt_model *m, double threshold,
                             const struct sbt_part *part, size_t n_parts, const char *path)
{
    struct arena_mark mark = arena_mark(cx->mem);
    enum col_type type, result = m->n_classes ? COL_I64 : COL_F64;
    TRY(label_type(cx, part, n_parts, &type));
    for (size_t k = 0; k < m->n_classes; k++)
        if (m->classes[k] != rint(m->classes[k])) result = COL_F64;
    struct writer w = {.m = m, .threshold = threshold, .text_max = (m->n_classes + 1) * TEXT_MAX};
    TRY(label_column(cx, type, &w.label));
    TRY(label_column(cx, result, &w.result));
    w.pred = NEW(cx, double, (size_t)BATCH * m->dim);
    w.score = NEW(cx, double, BATCH);
    w.detail = NEW(cx, struct bytes, BATCH);
    w.type = NEW(cx, struct bytes, BATCH);
    w.text = NEW(cx, char, BATCH *w.text_max);
    w.id_off = NEW(cx, uint64_t, BATCH + 1);
    if (!w.pred || !w.score || !w.detail || !w.type || !w.text || !w.id_off)
        return FAIL(cx, NOMEM, "a prediction table");
    const struct column_spec spec[] = {{"label", NULL, type, KIND_LABEL},
                                       {"predict_result", NULL, result, KIND_PREDICTION},
                                       {"predict_score", NULL, COL_F64, KIND_PREDICTION},
                                       {"predict_detail", NULL, COL_STR, KIND_PREDICTION},
                                       {"type", NULL, COL_STR, KIND_PREDICTION}};
    CLEANUP(table_writer_freep) struct table_writer *to = NULL;
    TRY(table_writer_new(cx, path, part[0].table->id_name, spec, LEN(spec), &to));
    w.to = to;
    for (size_t k = 0; k < n_parts; k++)
        for (size_t at = 0, n = part[k].table->n_rows; at < n; at += BATCH)
            TRY(write_rows(cx, &w, &part[k], at, at + BATCH < n ? at + BATCH : n));
    TRY(table_writer_finish(cx, to, NULL));
    table_writer_freep(&to); /* it lies beyond the mark */
    arena_rewind(cx->mem, mark);
    return OK;
}
