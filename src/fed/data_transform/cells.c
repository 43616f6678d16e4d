#include "fed/data_transform/cells.h"
#include "base/arena.h"
#include "base/num.h"
#include <math.h>
#include <string.h>

#define BLOCK 4096

bool dt_type_parse(const char *name, enum dt_type *out)
{
    static const struct {
        const char *name;
        enum dt_type type;
    } known[] = {{"int", DT_INT},     {"int64", DT_INT},     {"long", DT_INT},
                 {"float", DT_FLOAT}, {"float64", DT_FLOAT}, {"str", DT_STR}};
    for (size_t i = 0; i < LEN(known); i++)
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].type;
            return true;
        }
    return false;
}

/* ---- texts ---- */

static bool same_text(struct bytes a, const char *b)
{
    return strlen(b) == a.n && (a.n == 0 || memcmp(a.p, b, a.n) == 0);
}

/* What FATE takes for a missing cell where numbers are wanted, whether it fills missing cells or not. */
static bool stands_for_missing(struct bytes s)
{
    static const char *const word[] = {"", "NULL", "null", "NA", "na", "none", "None", "nan", "NaN"};
    for (size_t i = 0; i < LEN(word); i++)
        if (same_text(s, word[i])) return true;
    return false;
}

static struct bytes bytes_of(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

/* As Python's float(): blanks around the number are fine. */
static bool parse_number(struct bytes s, double *out)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s.n && num_parse_f64((const char *)s.p, s.n, out);
}

status dt_match_make(struct ctx *cx, const struct dt_rule *r, struct dt_match *out)
{
    double *number = NEW(cx, double, r->n_match + 1);
    if (!number) return FAIL(cx, NOMEM, "%zu values of %s", r->n_match, r->name);
    *out = (struct dt_match){.number = number, .text = r->match, .n_texts = r->n_match};
    for (size_t i = 0; i < r->n_match; i++) {
        struct bytes s = bytes_of(r->match[i]);
        if (parse_number(s, &number[out->n_numbers])) out->n_numbers++;
        out->missing = out->missing || stands_for_missing(s);
    }
    return OK;
}

static bool match_number(const struct dt_match *m, double x)
{
    for (size_t i = 0; i < m->n_numbers; i++)
        if (m->number[i] == x) return true;
    return false;
}

static bool match_text(const struct dt_match *m, struct bytes s)
{
    for (size_t i = 0; i < m->n_texts; i++)
        if (same_text(s, m->text[i])) return true;
    return false;
}

/* ---- cells of a block, and what they are ---- */

enum cell { CELL_PLAIN, CELL_MISSING, CELL_OUTLIER };

struct block {
    double x[BLOCK]; /* NaN: missing or no number; unset for text columns that stay text */
    uint8_t cell[BLOCK];
    struct bytes text[BLOCK]; /* of text columns */
};

static status bad_cell(struct ctx *cx, const struct dt_column *c, size_t row, const char *what)
{
    return FAIL(cx, FORMAT, "%scolumn %s, row %zu %s: %s is %s", c->kind == KIND_LABEL ? "label " : "",
                c->from->name, row + 1, what, c->kind == KIND_LABEL ? "label_type" : "data_type",
                c->type_name);
}

static enum cell class_number(const struct dt_job *job, const struct dt_column *c, double x)
{
    if (isnan(x)) return CELL_MISSING;
    if (!c->feature) return CELL_PLAIN;
    if ((job->rule[DT_MISSING]->on || job->rule[DT_MISSING]->listed) &&
        match_number(&job->match[DT_MISSING], x))
        return CELL_MISSING;
    if (job->rule[DT_OUTLIER]->on && match_number(&job->match[DT_OUTLIER], x)) return CELL_OUTLIER;
    return CELL_PLAIN;
}

/* A text where a number is wanted. */
static status class_text(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t row,
                         struct bytes s, double *x, uint8_t *cell)
{
    const struct dt_rule *missing = job->rule[DT_MISSING], *outlier = job->rule[DT_OUTLIER];
    *x = (double)NAN, *cell = CELL_MISSING;
    if (stands_for_missing(s)) return OK;
    if (c->feature && (missing->on || missing->listed) && match_text(&job->match[DT_MISSING], s)) return OK;
    if (!parse_number(s, x)) {
        *x = (double)NAN, *cell = CELL_OUTLIER;
        if (c->feature && outlier->on && match_text(&job->match[DT_OUTLIER], s)) return OK;
        return bad_cell(cx, c, row, "is not a number");
    }
    *cell = (uint8_t)class_number(job, c, *x);
    return OK;
}

static status read_texts(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t begin,
                         size_t n, struct block *b)
{
    for (size_t i = 0; i < n; i++) {
        struct bytes s = b->text[i] = table_cell(job->t, c->from, begin + i, NULL, 0);
        if (c->type != DT_STR) {
            TRY(class_text(cx, job, c, begin + i, s, &b->x[i], &b->cell[i]));
            continue;
        }
        b->cell[i] = s.n == 0 ? CELL_MISSING : CELL_PLAIN;
        if (!c->feature || s.n == 0) continue;
        if (job->rule[DT_MISSING]->on && match_text(&job->match[DT_MISSING], s))
            b->cell[i] = CELL_MISSING;
        else if (job->rule[DT_OUTLIER]->on && match_text(&job->match[DT_OUTLIER], s))
            b->cell[i] = CELL_OUTLIER;
    }
    return OK;
}

static status read_block(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t begin,
                         size_t n, struct block *b)
{
    if (c->from->type == COL_STR) return read_texts(cx, job, c, begin, n, b);
    TRY(table_read_f64(cx, job->t, c->from, begin, begin + n, b->x));
    for (size_t i = 0; i < n; i++)
        b->cell[i] = (uint8_t)class_number(job, c, b->x[i]);
    return OK;
}

/* ---- what a missing cell becomes ---- */

enum { STAYS_MISSING = DT_RULES };

static bool fill_is_outlier(const struct dt_job *job, const struct dt_column *c)
{
    if (!job->rule[DT_OUTLIER]->on) return false;
    if (c->type == DT_STR) return match_text(&job->match[DT_OUTLIER], bytes_of(c->fill[DT_MISSING]));
    return match_number(&job->match[DT_OUTLIER], c->fill_f64[DT_MISSING]);
}

/* The rule whose value a missing cell ends with. */
static int rule_of_missing(const struct dt_job *job, const struct dt_column *c)
{
    if (!c->feature) return STAYS_MISSING;
    if (job->rule[DT_MISSING]->on) return fill_is_outlier(job, c) ? DT_OUTLIER : DT_MISSING;
    return job->rule[DT_OUTLIER]->on && job->match[DT_OUTLIER].missing ? DT_OUTLIER : STAYS_MISSING;
}

/* ---- scan ---- */

struct stat {
    uint64_t n;
    double sum, lost, min, max; /* lost: what Neumaier's summation carries */
};

static void stat_add(struct stat *s, double x)
{
    double sum = s->sum + x;
    s->lost += fabs(s->sum) >= fabs(x) ? (s->sum - sum) + x : (x - sum) + s->sum;
    s->sum = sum;
    if (s->n == 0 || x < s->min) s->min = x;
    if (s->n == 0 || x > s->max) s->max = x;
    s->n++;
}

static const char *method_name(enum dt_method m)
{
    return m == DT_MIN ? "min" : m == DT_MAX ? "max" : m == DT_MEAN ? "mean" : "designated";
}

static status stat_value(struct ctx *cx, const struct dt_rule *r, const struct dt_column *c,
                         const struct stat *s, double *out)
{
    if (s->n == 0)
        return FAIL(cx, ARG,
                    "column %s has no cell left to take the %s of: %s_method designated gives a value",
                    c->from->name, method_name(r->method), r->name);
    *out = r->method == DT_MIN ? s->min : r->method == DT_MAX ? s->max : (s->sum + s->lost) / (double)s->n;
    return OK;
}

static status check_whole(struct ctx *cx, const struct dt_rule *r, const struct dt_column *c, double x)
{
    if (c->type != DT_INT || (x == rint(x) && fabs(x) < 0x1p63)) return OK;
    return FAIL(cx, ARG, "the value that %s would put into column %s is not an integer: data_type is %s",
                r->name, c->from->name, c->type_name);
}

status dt_column_fills(struct ctx *cx, const struct dt_job *job, struct dt_column *c)
{
    for (int k = 0; k < DT_RULES && c->feature; k++) {
        const struct dt_rule *r = job->rule[k];
        if (!r->on || !c->fill[k] || c->type == DT_STR) continue;
        if (!parse_number(bytes_of(c->fill[k]), &c->fill_f64[k]))
            return FAIL(cx, ARG,
                        "the value that %s would put into column %s is not a number: data_type is %s",
                        r->name, c->from->name, c->type_name);
        TRY(check_whole(cx, r, c, c->fill_f64[k]));
    }
    return OK;
}

/* A cell of a numeric column as it will be: whole where integers are wanted, and there. */
static status check_number(struct ctx *cx, const struct dt_column *c, size_t row, double x)
{
    if (isnan(x)) {
        if (c->kind == KIND_LABEL) return bad_cell(cx, c, row, "is missing");
        if (c->type == DT_INT) return bad_cell(cx, c, row, "is missing, missing_fill would fill it");
        return OK;
    }
    if (c->type == DT_INT && (x != rint(x) || fabs(x) >= 0x1p63))
        return bad_cell(cx, c, row, "is not an integer");
    return OK;
}

struct tally {
    uint64_t n_missing, n_outlier, n_listed; /* n_listed: missing by the list only */
    struct stat of[DT_RULES];
};

static status tally_block(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t begin,
                          size_t n, const struct block *b, struct tally *t)
{
    bool number = c->type != DT_STR || c->from->type != COL_STR;
    bool fills = c->feature &&
                 (job->rule[DT_MISSING]->on || (job->rule[DT_OUTLIER]->on && job->match[DT_OUTLIER].missing));
    for (size_t i = 0; i < n; i++) {
        double x = number ? b->x[i] : 0;
        if (b->cell[i] == CELL_MISSING) {
            t->n_missing++;
            if (number && !isnan(x)) t->n_listed++;
            if (!fills && (number || c->kind == KIND_LABEL)) TRY(check_number(cx, c, begin + i, (double)NAN));
            continue;
        }
        if (number && !isnan(x)) stat_add(&t->of[DT_MISSING], x);
        if (b->cell[i] == CELL_OUTLIER) {
            t->n_outlier++;
            continue;
        }
        if (number) TRY(check_number(cx, c, begin + i, x));
        if (number) stat_add(&t->of[DT_OUTLIER], x);
    }
    return OK;
}

/* The value of a rule that takes a statistic. */
static status learn_value(struct ctx *cx, const struct dt_job *job, struct dt_column *c, int k,
                          const struct stat *s)
{
    const struct dt_rule *r = job->rule[k];
    if (!job->learn || !r->on || r->method == DT_DESIGNATED) return OK;
    if (c->type == DT_STR)
        return FAIL(cx, ARG,
                    "column %s is text (data_type %s), which has no %s: %s_method designated gives a "
                    "value",
                    c->from->name, c->type_name, method_name(r->method), r->name);
    TRY(stat_value(cx, r, c, s, &c->fill_f64[k]));
    return check_whole(cx, r, c, c->fill_f64[k]);
}

status dt_column_scan(struct ctx *cx, const struct dt_job *job, struct dt_column *c)
{
    struct tally t = {0};
    size_t n_rows = job->t->n_rows;
    struct block *b = NEW(cx, struct block, 1);
    if (!b) return FAIL(cx, NOMEM, "a block of cells");
    for (size_t at = 0; at < n_rows; at += BLOCK) {
        size_t n = n_rows - at < BLOCK ? n_rows - at : BLOCK;
        TRY(ctx_check(cx));
        TRY(read_block(cx, job, c, at, n, b));
        TRY(tally_block(cx, job, c, at, n, b, &t));
    }
    uint64_t replaced[DT_RULES + 1] = {0};
    int rule = STAYS_MISSING;
    if (c->feature) {
        TRY(learn_value(cx, job, c, DT_MISSING, &t.of[DT_MISSING]));
        rule = rule_of_missing(job, c);
        if (rule == DT_MISSING && c->type != DT_STR)
            for (uint64_t i = 0; i < t.n_missing; i++)
                stat_add(&t.of[DT_OUTLIER], c->fill_f64[DT_MISSING]);
        TRY(learn_value(cx, job, c, DT_OUTLIER, &t.of[DT_OUTLIER]));
    }
    replaced[rule] += t.n_missing;
    if (rule == DT_OUTLIER && job->rule[DT_MISSING]->on) replaced[DT_MISSING] += t.n_missing;
    replaced[DT_OUTLIER] += t.n_outlier;
    for (int k = 0; k < DT_RULES; k++)
        c->rate[k] = n_rows ? (double)replaced[k] / (double)n_rows : 0;
    c->changes = c->out != c->from->type || replaced[DT_MISSING] || replaced[DT_OUTLIER] ||
                 (rule == STAYS_MISSING && t.n_listed);
    /* Integers stay such as long as all cells are what they were: a writer's integers are never missing. */
    if (c->type == DT_FLOAT && c->out == COL_I64 && (c->changes || t.n_missing)) c->out = COL_F64;
    return OK;
}

/* ---- write ---- */

static int rule_of(const struct block *b, size_t i, int of_missing)
{
    return b->cell[i] == CELL_PLAIN ? -1 : b->cell[i] == CELL_OUTLIER ? DT_OUTLIER : of_missing;
}

static void write_f64(const struct dt_column *c, const struct block *b, size_t n, int of_missing, double *out)
{
    for (size_t i = 0; i < n; i++) {
        int rule = rule_of(b, i, of_missing);
        out[i] = rule < 0 ? b->x[i] : rule == STAYS_MISSING ? (double)NAN : c->fill_f64[rule];
    }
}

/* Whole numbers all: the scan has seen to it. */
static void write_i64(const struct dt_job *job, const struct dt_column *c, const struct block *b,
                      size_t begin, size_t n, int of_missing, int64_t *out)
{
    const int64_t *exact = c->from->type == COL_I64 ? c->from->data : NULL;
    for (size_t i = 0; i < n; i++) {
        int rule = rule_of(b, i, of_missing);
        size_t row = job->t->rows ? job->t->rows[begin + i] : begin + i;
        out[i] = rule >= 0 ? (int64_t)c->fill_f64[rule] : exact ? exact[row] : (int64_t)b->x[i];
    }
}

static void write_str(const struct dt_job *job, const struct dt_column *c, const struct block *b,
                      size_t begin, size_t n, int of_missing, struct bytes *out, char *text)
{
    for (size_t i = 0; i < n; i++) {
        int rule = rule_of(b, i, of_missing);
        if (rule == STAYS_MISSING)
            out[i] = (struct bytes){0};
        else if (rule >= 0)
            out[i] = bytes_of(c->fill[rule]);
        else if (c->from->type == COL_STR)
            out[i] = b->text[i];
        else
            out[i] = table_cell(job->t, c->from, begin + i, text + i * DT_TEXT, DT_TEXT);
    }
}

/* A column that passes, with what is missing in it. */
static status write_pass(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t begin,
                         size_t n, void *out)
{
    if (c->out == COL_F64) return table_read_f64(cx, job->t, c->from, begin, begin + n, out);
    for (size_t i = 0; i < n; i++) {
        size_t row = job->t->rows ? job->t->rows[begin + i] : begin + i;
        if (c->out == COL_I64) {
            ((int64_t *)out)[i] = ((const int64_t *)c->from->data)[row];
            continue;
        }
        struct bytes s = table_cell(job->t, c->from, begin + i, NULL, 0);
        ((struct bytes *)out)[i] = s.n ? s : (struct bytes){0};
    }
    return OK;
}

status dt_column_write(struct ctx *cx, const struct dt_job *job, const struct dt_column *c, size_t begin,
                       size_t n, void *out, char *text)
{
    if (c->pass) return write_pass(cx, job, c, begin, n, out);
    struct block *b = NEW(cx, struct block, 1);
    if (!b) return FAIL(cx, NOMEM, "a block of cells");
    int of_missing = rule_of_missing(job, c);
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t k = n - at < BLOCK ? n - at : BLOCK;
        TRY(read_block(cx, job, c, begin + at, k, b));
        if (c->out == COL_F64) write_f64(c, b, k, of_missing, (double *)out + at);
        if (c->out == COL_I64) write_i64(job, c, b, begin + at, k, of_missing, (int64_t *)out + at);
        if (c->out == COL_STR)
            write_str(job, c, b, begin + at, k, of_missing, (struct bytes *)out + at, text + at * DT_TEXT);
    }
    return OK;
}
