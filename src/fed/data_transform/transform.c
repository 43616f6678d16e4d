#include "fed/data_transform/transform.h"
#include "base/arena.h"
#include "base/num.h"
#include "base/pool.h"
#include "fed/data_transform/cells.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BATCH_CELLS (1u << 20) /* of one append: memory is 8 to 80 bytes a cell */
#define BATCH_LEAST 256
#define BATCH_MOST  65536

struct work {
    struct dt_job job;
    struct dt_spec *spec;
    struct dt_column *cols; /* the outgoing table's, in order */
    size_t n_cols;
};

/* ---- which columns there are ---- */

/* The column of that name, else the one of that name in other case (FATE puts names into lower case). */
static const struct column *find_column(const struct table *t, const char *name)
{
    const struct column *c = table_column(t, name);
    for (size_t i = 0; i < t->n_cols && !c; i++)
        if (strcasecmp(t->cols[i].name, name) == 0) c = &t->cols[i];
    return c;
}

/* "a, b, c, ..." of the first few columns, for messages. */
static const char *some_columns(struct ctx *cx, const struct table *t)
{
    const char *text = "";
    for (size_t i = 0; i < t->n_cols && i < 8 && text; i++)
        text = arena_printf(cx->mem, "%s%s%.40s", text, i ? ", " : "", t->cols[i].name);
    if (text && t->n_cols > 8) text = arena_printf(cx->mem, "%s, ...", text);
    return text ? text : "";
}

static status find_label(struct ctx *cx, const struct work *w, const struct column **out)
{
    const struct dt_spec *s = w->spec;
    *out = NULL;
    if (!s->with_label) return OK;
    *out = find_column(w->job.t, s->label_name);
    if (*out || !w->job.learn) return OK;
    return FAIL(cx, ARG, "parameter label_name is %s, but the table's columns are %s", s->label_name,
                some_columns(cx, w->job.t));
}

static bool is_feature(const struct column *c, const struct column *label)
{
    return c != label && c->kind != KIND_MATCH_ID && c->kind != KIND_WEIGHT;
}

static status learn_header(struct ctx *cx, struct work *w, const char *prefix, const struct column *label)
{
    const struct table *t = w->job.t;
    const char **header = NEW(cx, const char *, t->n_cols + 1),
               **anonymous = NEW(cx, const char *, t->n_cols + 1);
    if (!header || !anonymous) return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
    size_t n = 0;
    for (size_t j = 0; j < t->n_cols; j++) {
        const struct column *c = &t->cols[j];
        if (c->kind == KIND_PREDICTION)
            return FAIL(cx, ARG, "the input is a prediction table (column %s)", c->name);
        if (!is_feature(c, label)) continue;
        if (strlen(w->spec->delimitor) && strstr(c->name, w->spec->delimitor))
            return FAIL(
                cx, ARG,
                "column %.80s: its name holds the delimitor \"%.8s\", so the table was uploaded with another "
                "one: upload it with this delimiter",
                c->name, w->spec->delimitor);
        header[n] = arena_strdup(cx->mem, c->name);
        anonymous[n] = arena_printf(cx->mem, "%s_x%zu", prefix, n);
        if (!header[n] || !anonymous[n]) return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
        n++;
    }
    w->spec->header = header, w->spec->anonymous = anonymous, w->spec->n_features = n;
    return OK;
}

/* Anonymous names of a model that has none are made as in training. */
static status check_anonymous(struct ctx *cx, struct dt_spec *s, const char *prefix)
{
    if (s->anonymous) return OK;
    const char **anonymous = NEW(cx, const char *, s->n_features + 1);
    if (!anonymous) return FAIL(cx, NOMEM, "%zu columns", s->n_features);
    for (size_t j = 0; j < s->n_features; j++)
        if (!(anonymous[j] = arena_printf(cx->mem, "%s_x%zu", prefix, j)))
            return FAIL(cx, NOMEM, "%zu columns", s->n_features);
    s->anonymous = anonymous;
    return OK;
}

static status check_exclusive(struct ctx *cx, const struct dt_spec *s)
{
    for (size_t i = 0; i < s->n_exclusive; i++) {
        bool found = false;
        for (size_t j = 0; j < s->n_features && !found; j++)
            found = strcasecmp(s->header[j], s->exclusive_name[i]) == 0;
        if (!found)
            return FAIL(cx, ARG,
                        "parameter exclusive_data_type names %.80s, which is no feature column of the table",
                        s->exclusive_name[i]);
    }
    return OK;
}

static enum col_type outgoing(enum dt_type type, enum col_type from)
{
    if (type == DT_STR) return COL_STR;
    if (type == DT_INT) return COL_I64;
    return from == COL_I64 ? COL_I64 : COL_F64;
}

static status type_of(struct ctx *cx, const char *name, struct dt_column *c)
{
    c->type_name = name;
    if (!dt_type_parse(name, &c->type))
        return FAIL(cx, FORMAT, "column %s: no type %.20s", c->from->name, name);
    c->out = outgoing(c->type, c->from->type);
    return OK;
}

static status feature_column(struct ctx *cx, const struct work *w, const struct column *from, size_t k,
                             struct dt_column *c)
{
    const struct dt_spec *s = w->spec;
    *c =
        (struct dt_column){.from = from, .anonymous = s->anonymous[k], .kind = KIND_FEATURE, .feature = true};
    const char *type = s->data_type;
    for (size_t i = 0; i < s->n_exclusive; i++)
        if (strcasecmp(s->exclusive_name[i], from->name) == 0) type = s->exclusive_type[i];
    TRY(type_of(cx, type, c));
    for (int r = 0; r < DT_RULES; r++) {
        const struct dt_rule *rule = w->job.rule[r];
        if (!rule->on) continue;
        if (rule->value)
            c->fill[r] = rule->value[k];
        else if (rule->method == DT_DESIGNATED)
            c->fill[r] = rule->designated[rule->n_designated == 1 ? 0 : k];
    }
    return dt_column_fills(cx, &w->job, c);
}

/* A list of values to put in has one for each feature, or one for all. */
static status check_lengths(struct ctx *cx, const struct work *w)
{
    for (int r = 0; r < DT_RULES; r++) {
        const struct dt_rule *rule = w->job.rule[r];
        if (rule->on && !rule->value && rule->method == DT_DESIGNATED && rule->n_designated != 1 &&
            rule->n_designated != w->spec->n_features)
            return FAIL(cx, ARG, "parameter %s has %zu values, but the table has %zu features",
                        r == DT_MISSING ? "default_value" : "outlier_replace_value", rule->n_designated,
                        w->spec->n_features);
    }
    return OK;
}

/* Names are asked for in the table's order, nearly always: *next is where to look first. */
static const struct column *column_near(const struct table *t, const char *name, size_t *next)
{
    for (size_t i = 0; i < t->n_cols; i++) {
        size_t j = (*next + i) % t->n_cols;
        if (strcmp(t->cols[j].name, name) != 0) continue;
        *next = j + 1;
        return &t->cols[j];
    }
    return NULL;
}

/* Few are no features: each feature moves past those of them that stand behind it. */
static void table_order(struct work *w)
{
    for (size_t i = 1; i < w->n_cols; i++) {
        struct dt_column c = w->cols[i];
        size_t j = i;
        for (; j > 0 && w->cols[j - 1].from > c.from; j--)
            w->cols[j] = w->cols[j - 1];
        w->cols[j] = c;
    }
}

/* Features in the header's order; when that is the table's order too, all columns are in the table's order. Columns that
 * the header does not know are left out. */
static status lay_out(struct ctx *cx, struct work *w, const char *prefix, const struct column *label)
{
    const struct table *t = w->job.t;
    const struct dt_spec *s = w->spec;
    w->cols = NEW(cx, struct dt_column, t->n_cols + 1);
    if (!w->cols) return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
    for (size_t j = 0; j < t->n_cols; j++) {
        const struct column *from = &t->cols[j];
        if (is_feature(from, label)) continue;
        struct dt_column *c = &w->cols[w->n_cols++];
        *c = (struct dt_column){.from = from, .anonymous = from->anonymous, .kind = from->kind, .pass = true};
        c->out = from->type == COL_I64 && from->n_missing ? COL_F64 : from->type;
        if (from != label) continue;
        c->pass = false, c->kind = KIND_LABEL;
        c->anonymous = arena_printf(cx->mem, "%s_y", prefix);
        if (!c->anonymous) return FAIL(cx, NOMEM, "%zu columns", t->n_cols);
        TRY(type_of(cx, s->label_type, c));
    }
    bool ascending = true;
    for (size_t k = 0, next = 0; k < s->n_features; k++) {
        const struct column *from = column_near(t, s->header[k], &next);
        if (!from || !is_feature(from, label))
            return FAIL(cx, ARG,
                        "the table has no column %.80s, with which the model was trained; its columns are %s",
                        s->header[k], some_columns(cx, t));
        ascending = ascending && (k == 0 || w->cols[w->n_cols - 1].from < from);
        TRY(feature_column(cx, w, from, k, &w->cols[w->n_cols++]));
    }
    if (ascending) table_order(w);
    return OK;
}

/* ---- scanning ---- */

static status scan_column(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct work *w = arg;
    for (size_t j = begin; j < end; j++) {
        struct dt_column *c = &w->cols[j];
        bool rules = c->feature && (w->job.rule[DT_MISSING]->on || w->job.rule[DT_MISSING]->listed ||
                                    w->job.rule[DT_OUTLIER]->on);
        bool fits = c->kind != KIND_LABEL && c->type == DT_FLOAT && c->from->type != COL_STR;
        if (c->pass || (fits && !rules)) {
            if (!c->pass && c->from->type == COL_I64 && c->from->n_missing) c->out = COL_F64;
            continue;
        }
        TRY(dt_column_scan(cx, &w->job, c));
    }
    return OK;
}

/* What the scans found becomes part of the spec, and each column's texts are set. */
static status learn_rule(struct ctx *cx, struct work *w, int r)
{
    struct dt_rule *rule = r == DT_MISSING ? &w->spec->missing : &w->spec->outlier;
    if (!rule->on) return OK;
    const char **value = NEW(cx, const char *, w->spec->n_features + 1);
    double *rate = NEW(cx, double, w->spec->n_features + 1);
    if (!value || !rate) return FAIL(cx, NOMEM, "%zu values of %s", w->spec->n_features, rule->name);
    for (size_t j = 0, k = 0; j < w->n_cols; j++) {
        struct dt_column *c = &w->cols[j];
        if (!c->feature) continue;
        if (rule->method != DT_DESIGNATED) {
            char text[32];
            c->fill[r] = arena_strndup(cx->mem, text, num_format_f64(c->fill_f64[r], text));
            if (!c->fill[r]) return FAIL(cx, NOMEM, "values of %s", rule->name);
        }
        value[k] = c->fill[r], rate[k++] = c->rate[r];
    }
    rule->value = value, rule->rate = rate;
    return OK;
}

/* ---- writing ---- */

static status specs_of(struct ctx *cx, const struct work *w, struct column_spec **out)
{
    struct column_spec *s = NEW(cx, struct column_spec, w->n_cols + 1);
    if (!s) return FAIL(cx, NOMEM, "%zu columns", w->n_cols);
    for (size_t j = 0; j < w->n_cols; j++)
        s[j] = (struct column_spec){w->cols[j].from->name, w->cols[j].anonymous, w->cols[j].out,
                                    w->cols[j].kind};
    *out = s;
    return OK;
}

/* The same columns in the same order, no cell another. */
static bool nothing_changes(const struct work *w)
{
    bool same = w->n_cols == w->job.t->n_cols;
    for (size_t j = 0; j < w->n_cols && same; j++)
        same = !w->cols[j].changes && w->cols[j].from == &w->job.t->cols[j];
    return same;
}

static status share(struct ctx *cx, struct work *w, const char *path)
{
    const struct table *t = w->job.t;
    struct column_spec *s = NULL;
    for (size_t j = 0; j < w->n_cols; j++)
        w->cols[j].out = w->cols[j].from->type;
    TRY(specs_of(cx, w, &s));
    uint32_t *rows = NEW(cx, uint32_t, t->n_rows + 1);
    if (!rows) return FAIL(cx, NOMEM, "%zu row numbers", t->n_rows);
    for (size_t i = 0; i < t->n_rows; i++)
        rows[i] = (uint32_t)i;
    return table_derive(cx, path, t, rows, t->n_rows, s, t->meta);
}

struct batch {
    const struct work *w;
    size_t begin, n;
    void **cols;  /* per column, room for the largest batch */
    char **texts; /* of columns that numbers become texts in; else NULL */
};

static status fill_column(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    (void)chunk;
    struct batch *b = arg;
    for (size_t j = begin; j < end; j++)
        TRY(dt_column_write(cx, &b->w->job, &b->w->cols[j], b->begin, b->n, b->cols[j], b->texts[j]));
    return OK;
}

static status batch_new(struct ctx *cx, const struct work *w, size_t room, struct batch *out)
{
    *out = (struct batch){
        .w = w, .cols = NEW(cx, void *, w->n_cols + 1), .texts = NEW(cx, char *, w->n_cols + 1)};
    if (!out->cols || !out->texts) return FAIL(cx, NOMEM, "%zu columns", w->n_cols);
    for (size_t j = 0; j < w->n_cols; j++) {
        const struct dt_column *c = &w->cols[j];
        bool made = c->out == COL_STR && c->from->type != COL_STR;
        out->cols[j] =
            c->out == COL_STR ? (void *)NEW(cx, struct bytes, room) : (void *)NEW(cx, double, room);
        if (made) out->texts[j] = NEW(cx, char, room *DT_TEXT);
        if (!out->cols[j] || (made && !out->texts[j]))
            return FAIL(cx, NOMEM, "%zu rows of %zu columns", room, w->n_cols);
    }
    return OK;
}

static status append(struct ctx *cx, const struct batch *b, struct table_writer *to)
{
    struct arena_mark mark = arena_mark(cx->mem);
    CLEANUP(buf_free) struct buf ids = {0};
    uint64_t *off = NEW(cx, uint64_t, b->n + 1);
    if (!off) return FAIL(cx, NOMEM, "%zu ids", b->n);
    for (size_t i = 0; i < b->n; i++) {
        struct bytes id = table_id(b->w->job.t, b->begin + i);
        buf_put(&ids, id.p, id.n);
        off[i + 1] = ids.n;
    }
    TRY(buf_ok(cx, &ids));
    TRY(table_writer_append(cx, to, b->n, off, ids.p ? (const char *)ids.p : "",
                            (const void *const *)b->cols));
    arena_rewind(cx->mem, mark);
    return OK;
}

static status rewrite(struct ctx *cx, const struct work *w, const char *path,
                      void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg)
{
    const struct table *t = w->job.t;
    size_t room = BATCH_CELLS / (w->n_cols + 1);
    room = room < BATCH_LEAST ? BATCH_LEAST : room > BATCH_MOST ? BATCH_MOST : room;
    if (room > t->n_rows) room = t->n_rows;
    struct column_spec *s = NULL;
    struct batch b;
    TRY(specs_of(cx, w, &s));
    TRY(batch_new(cx, w, room, &b));
    CLEANUP(table_writer_freep) struct table_writer *to = NULL;
    TRY(table_writer_new(cx, path, t->id_name, s, w->n_cols, &to));
    for (size_t at = 0; at < t->n_rows; at += room) {
        TRY(ctx_check(cx));
        b.begin = at, b.n = t->n_rows - at < room ? t->n_rows - at : room;
        TRY(pool_for(cx, w->n_cols, 1, fill_column, &b));
        TRY(append(cx, &b, to));
        if (progress) progress(arg, at + b.n, t->n_rows);
    }
    return table_writer_finish(cx, to, t->meta);
}

status dt_transform(struct ctx *cx, const struct table *t, const char *prefix, bool learn,
                    struct dt_spec *spec, const char *path,
                    void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg)
{
    struct work w = {.job = {.t = t, .rule = {&spec->missing, &spec->outlier}, .learn = learn}, .spec = spec};
    const struct column *label;
    if (t->n_rows == 0) return FAIL(cx, ARG, "the table has no rows");
    for (int r = 0; r < DT_RULES; r++)
        TRY(dt_match_make(cx, w.job.rule[r], &w.job.match[r]));
    TRY(find_label(cx, &w, &label));
    if (learn) TRY(learn_header(cx, &w, prefix, label));
    TRY(check_anonymous(cx, spec, prefix));
    TRY(check_exclusive(cx, spec));
    TRY(check_lengths(cx, &w));
    TRY(lay_out(cx, &w, prefix, label));
    TRY(pool_for(cx, w.n_cols, 1, scan_column, &w));
    for (int r = 0; r < DT_RULES && learn; r++)
        TRY(learn_rule(cx, &w, r));
    if (!nothing_changes(&w)) return rewrite(cx, &w, path, progress, arg);
    TRY(share(cx, &w, path));
    if (progress) progress(arg, t->n_rows, t->n_rows);
    return OK;
}
