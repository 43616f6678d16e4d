#include "fed/evaluation/predictions.h"
#include "base/arena.h"
#include "base/num.h"
#include <assert.h>
#include <math.h>
#include <string.h>

static const char *const names[] = {"label", "predict_result", "predict_score", "predict_detail", "type"};
enum { LABEL, RESULT, SCORE, DETAIL, TYPE, N_NAMES };

static status find_columns(struct ctx *cx, const struct table *t, const struct column *cols[N_NAMES])
{
    for (size_t i = 0; i < N_NAMES; i++)
        if (!(cols[i] = table_column(t, names[i])))
            return FAIL(cx, ARG,
                        "the input is no prediction table: it has no column %s; a model's output data is one",
                        names[i]);
    if (cols[TYPE]->type != COL_STR) return FAIL(cx, ARG, "column type holds numbers, want texts");
    return OK;
}

static size_t find_type(const struct prediction_set *s, size_t n, struct bytes type)
{
    size_t i = 0;
    while (i < n && (strlen(s[i].type) != type.n || memcmp(s[i].type, type.p, type.n) != 0))
        i++;
    return i;
}

/* Which rows are of which type; the arrays of each, with room for its rows. */
static status part_rows(struct ctx *cx, const struct table *t, const struct column *type, uint8_t *of,
                        struct prediction_set *s, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        struct bytes name = table_cell(t, type, i, NULL, 0);
        if (name.n == 0) return FAIL(cx, ARG, "column type, row %zu is missing", i + 1);
        size_t k = find_type(s, *n, name);
        if (k == PREDICTION_TYPES)
            return FAIL(cx, LIMIT, "column type has more than %d different values", PREDICTION_TYPES);
        if (k == *n) {
            s[k].type = arena_strndup(cx->mem, (const char *)name.p, name.n);
            if (!s[(*n)++].type) return FAIL(cx, NOMEM, "types of rows");
        }
        s[k].n++, of[i] = (uint8_t)k;
    }
    for (size_t k = 0; k < *n; k++) {
        s[k].row = NEW(cx, uint32_t, s[k].n);
        s[k].label = NEW(cx, double, s[k].n);
        s[k].score = NEW(cx, double, s[k].n);
        s[k].result = NEW(cx, double, s[k].n);
        if (!s[k].row || !s[k].label || !s[k].score || !s[k].result)
            return FAIL(cx, NOMEM, "%zu predictions", s[k].n);
        s[k].n = 0;
    }
    for (size_t i = 0; i < t->n_rows; i++)
        s[of[i]].row[s[of[i]].n++] = (uint32_t)i;
    return OK;
}

/* A numeric column's cells to the sets' arrays at `where` (offset of the pointer in struct prediction_set). */
static status spread(struct ctx *cx, const struct table *t, const struct column *c, const uint8_t *of,
                     struct prediction_set *s, size_t n, size_t where)
{
    enum { BLOCK = 4096 };
    size_t at[PREDICTION_TYPES] = {0};
    double x[BLOCK];
    if (c->type == COL_STR)
        return FAIL(cx, ARG, "column %s %s, want numbers", c->name,
                    c->n_missing == t->n_physical ? "is empty" : "holds texts");
    for (size_t begin = 0; begin < t->n_rows; begin += BLOCK) {
        size_t end = begin + BLOCK < t->n_rows ? begin + BLOCK : t->n_rows;
        TRY(ctx_check(cx));
        TRY(table_read_f64(cx, t, c, begin, end, x));
        for (size_t i = begin; i < end; i++) {
            size_t k = of[i];
            double **to = (double **)(void *)((char *)&s[k] + where);
            if (isnan(x[i - begin])) return FAIL(cx, ARG, "column %s, row %zu is missing", c->name, i + 1);
            (*to)[at[k]++] = x[i - begin];
        }
    }
    (void)n;
    return OK;
}

static status text_labels(struct ctx *cx, const struct table *t, const struct column *c,
                          struct prediction_set *s, size_t n)
{
    if (c->n_missing == t->n_physical)
        return FAIL(cx, ARG, "column label is empty: the rows that were predicted had no label");
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < s[k].n; i++) {
            if (table_cell(t, c, s[k].row[i], NULL, 0).n == 0)
                return FAIL(cx, ARG, "column label, row %u is missing", s[k].row[i] + 1);
            s[k].label[i] = (double)NAN;
        }
    return OK;
}

status predictions_read(struct ctx *cx, const struct table *t, const struct prediction_wants *wants,
                        struct prediction_set **out, size_t *n)
{
    const struct column *c[N_NAMES] = {0};
    TRY(find_columns(cx, t, c));
    assert(c[LABEL] && c[RESULT] && c[SCORE] && c[TYPE]);
    struct prediction_set *s = NEW(cx, struct prediction_set, PREDICTION_TYPES);
    uint8_t *of = NEW(cx, uint8_t, t->n_rows + 1);
    if (!s || !of) return FAIL(cx, NOMEM, "%zu predictions", t->n_rows);
    TRY(part_rows(cx, t, c[TYPE], of, s, n));
    if (c[LABEL]->type == COL_STR && (wants->label_text || c[LABEL]->n_missing == t->n_physical))
        TRY(text_labels(cx, t, c[LABEL], s, *n));
    else
        TRY(spread(cx, t, c[LABEL], of, s, *n, offsetof(struct prediction_set, label)));
    if (wants->score) TRY(spread(cx, t, c[SCORE], of, s, *n, offsetof(struct prediction_set, score)));
    if (wants->result) TRY(spread(cx, t, c[RESULT], of, s, *n, offsetof(struct prediction_set, result)));
    *out = s;
    return OK;
}

/* ---- predict_detail ---- */

struct detail { /* what is left of the text */
    const char *p, *end;
};

static bool eat(struct detail *d, char c)
{
    while (d->p < d->end && *d->p == ' ')
        d->p++;
    if (d->p == d->end || *d->p != c) return false;
    d->p++;
    return true;
}

/* 'name': number */
static bool next_class(struct detail *d, struct bytes *name, double *p)
{
    bool single = eat(d, '\''), quoted = single || eat(d, '"');
    const char *end = quoted ? memchr(d->p, single ? '\'' : '"', (size_t)(d->end - d->p)) : NULL;
    if (!end || memchr(d->p, 0, (size_t)(end - d->p))) return false;
    *name = (struct bytes){(const uint8_t *)d->p, (size_t)(end - d->p)};
    d->p = end + 1;
    if (!eat(d, ':') || d->p == d->end) return false;
    while (d->p < d->end && *d->p == ' ')
        d->p++;
    size_t n = 0;
    while (d->p + n < d->end && d->p[n] != ',' && d->p[n] != '}')
        n++;
    const char *number = d->p;
    d->p += n;
    return num_parse_f64(number, n, p);
}

static size_t class_of(const struct prediction_classes *c, size_t guess, struct bytes name)
{
    for (size_t i = 0; i < c->n; i++) {
        size_t k = (guess + i) % c->n;
        if (strlen(c->name[k]) == name.n && memcmp(c->name[k], name.p, name.n) == 0) return k;
    }
    return c->n;
}

/* Calls for every class of a row: known classes get their number, when p is given; new ones a name, when it is not. */
static status walk_detail(struct ctx *cx, struct bytes text, size_t row, struct prediction_classes *c,
                          double *p)
{
    struct detail d = {(const char *)text.p, (const char *)text.p + text.n};
    bool more = eat(&d, '{') && !eat(&d, '}');
    for (size_t guess = 0; more; guess++) {
        struct bytes name;
        double x;
        if (!next_class(&d, &name, &x) || !(eat(&d, ',') || (more = !eat(&d, '}'), !more)))
            return FAIL(cx, FORMAT, "column predict_detail, row %zu: want {'class': probability, ...}",
                        row + 1);
        size_t k = class_of(c, guess, name);
        if (p) {
            p[k] = x;
            continue;
        }
        if (k < c->n) continue;
        if (c->n == PREDICTION_CLASSES)
            return FAIL(cx, LIMIT, "predict_detail has more than %d classes", PREDICTION_CLASSES);
        c->name[c->n] = arena_strndup(cx->mem, (const char *)name.p, name.n);
        if (!c->name[c->n++]) return FAIL(cx, NOMEM, "classes");
    }
    if (d.p != d.end) return FAIL(cx, FORMAT, "column predict_detail, row %zu: more after its end", row + 1);
    return OK;
}

status predictions_classes(struct ctx *cx, const struct table *t, const struct prediction_set *s,
                           struct prediction_classes *out)
{
    const struct column *c = table_column(t, names[DETAIL]);
    struct prediction_classes r = {.name = NEW(cx, const char *, PREDICTION_CLASSES)};
    if (!r.name) return FAIL(cx, NOMEM, "classes");
    if (c->type != COL_STR) return FAIL(cx, ARG, "column predict_detail holds numbers, want texts");
    for (size_t i = 0; i < s->n; i++)
        TRY(walk_detail(cx, table_cell(t, c, s->row[i], NULL, 0), s->row[i], &r, NULL));
    size_t cells;
    if (!num_mul(s->n, r.n, &cells) || !(r.p = NEW(cx, double, cells + 1)))
        return FAIL(cx, NOMEM, "probabilities of %zu rows and %zu classes", s->n, r.n);
    for (size_t i = 0; i < cells; i++)
        r.p[i] = (double)NAN;
    for (size_t i = 0; i < s->n; i++)
        TRY(walk_detail(cx, table_cell(t, c, s->row[i], NULL, 0), s->row[i], &r, r.p + i * r.n));
    *out = r;
    return OK;
}
