/* CSV in and out: known files, every refusal, and a law: what was written is what is read, wherever the parts' borders
 * fall, however many threads. */
#include "table/csv.h"
#include "base/num.h"
#include "base/pool.h"
#include "scratch.h"
#include "table/csv_parts.h"
#include <math.h>
#include <sys/stat.h>

static status import_text(struct ctx *cx, const char *dir, const char *text, const struct csv_options *opt,
                          const struct table **t, struct csv_result *r)
{
    static int serial;
    char name[32];
    snprintf(name, sizeof name, "t%d", serial++);
    const char *path = scratch_path(cx, dir, name);
    const char *file = scratch_file(cx, dir, "in.csv", text, strlen(text));
    TRY(csv_import(cx, file, path, opt, NULL, NULL, r));
    return table_open(cx, path, t);
}

static bool cell_is(const struct table *t, const char *col, size_t i, const char *want)
{
    char buf[64];
    const struct column *c = table_column(t, col);
    if (!c) return false;
    struct bytes b = table_cell(t, c, i, buf, sizeof buf);
    return b.n == strlen(want) && memcmp(b.p, want, b.n) == 0;
}

static bool id_is(const struct table *t, size_t i, const char *want)
{
    struct bytes b = table_id(t, i);
    return b.n == strlen(want) && memcmp(b.p, want, b.n) == 0;
}

static void known_file(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const struct table *t;
    struct csv_result r;
    CHECK_OK(cx, import_text(cx, dir,
                             "\xef\xbb\xbfuser, y ,age,income,city,\"a \"\"b\"\"\",empty\r\n"
                             "u1,1,33,1.5,Bern,x,\r\n"
                             "\r\n"
                             "\"u,2\",0, 44 ,NA,\"Z\xc3\xbcrich, \"\"old\"\"\ntown\",,\r\n"
                             "u3,1,-5,2e-3,?,5\" pipe,NaN",
                             NULL, &t, &r));
    CHECK(r.n_rows == 3 && r.n_cols == 6 && r.n_missing == 6 && r.n_duplicates == 0);
    CHECK(t->n_rows == 3 && t->n_cols == 6 && !t->rows && strcmp(t->id_name, "user") == 0);
    CHECK(id_is(t, 0, "u1") && id_is(t, 1, "u,2") && id_is(t, 2, "u3"));
    CHECK(table_label(t) == &t->cols[0] && t->cols[0].type == COL_I64);
    CHECK(table_column(t, "age")->type == COL_I64 && cell_is(t, "age", 1, "44") &&
          cell_is(t, "age", 2, "-5"));
    CHECK(table_column(t, "income")->type == COL_F64 && table_column(t, "income")->n_missing == 1);
    CHECK(cell_is(t, "income", 0, "1.5") && cell_is(t, "income", 1, "") && cell_is(t, "income", 2, "0.002"));
    CHECK(table_column(t, "city")->type == COL_STR && cell_is(t, "city", 1, "Z\xc3\xbcrich, \"old\"\ntown"));
    CHECK(cell_is(t, "city", 2, "") && table_column(t, "city")->n_missing == 1);
    CHECK(cell_is(t, "a \"b\"", 0, "x") && cell_is(t, "a \"b\"", 2, "5\" pipe"));
    CHECK(table_column(t, "empty")->type == COL_F64 && table_column(t, "empty")->n_missing == 3);
    double x[3];
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "income"), 0, 3, x));
    CHECK(x[0] == 1.5 && isnan(x[1]) && x[2] == 0.002);
    CHECK_OK(cx, table_read_f64(cx, t, table_column(t, "age"), 1, 3, x));
    CHECK(x[0] == 44 && x[1] == -5);
    CHECK_ERR(table_read_f64(cx, t, table_column(t, "city"), 0, 3, x), ARG);
    CHECK_ERR(table_read_f64(cx, t, table_column(t, "age"), 0, 4, x), ARG);
    for (size_t i = 0; i < t->n_cols; i++)
        CHECK((uintptr_t)t->cols[i].data % 64 == 0);
}

static void options(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const struct table *t;
    struct csv_result r;
    static const char *const miss[] = {"-999", "none"}, *const types[] = {"a:f64", "b:str"};
    struct csv_options o = {.delimiter = ';',
                            .id = "k",
                            .label = "b",
                            .missing = miss,
                            .n_missing = 2,
                            .types = types,
                            .n_types = 2};
    CHECK_OK(cx, import_text(cx, dir, "a;k;b;c\n1;i;007;-999\nnone;j;NA;5\n", &o, &t, &r));
    CHECK(strcmp(t->id_name, "k") == 0 && id_is(t, 1, "j") && table_label(t) == table_column(t, "b"));
    CHECK(table_column(t, "a")->type == COL_F64 && cell_is(t, "a", 0, "1.0") && cell_is(t, "a", 1, ""));
    CHECK(cell_is(t, "b", 0, "007") && cell_is(t, "b", 1, "NA"));
    CHECK(table_column(t, "c")->type == COL_I64 && cell_is(t, "c", 0, "") && cell_is(t, "c", 1, "5"));
    o = (struct csv_options){.no_header = true, .delimiter = '\t'};
    CHECK_OK(cx, import_text(cx, dir, "r1\t5\t0.5\nr2\t6\tx\n", &o, &t, &r));
    CHECK(t->n_rows == 2 && cell_is(t, "x0", 1, "6") && cell_is(t, "x1", 1, "x") && !table_label(t));
    CHECK_OK(cx, import_text(cx, dir, "id\na\n\nb\n\"c\"\n", NULL, &t, &r)); /* ids only */
    CHECK(t->n_rows == 3 && t->n_cols == 0 && id_is(t, 2, "c"));
    CHECK_OK(cx, import_text(cx, dir, "PAR1\nR\n", NULL, &t, &r)); /* a column may have that name */
    CHECK(strcmp(t->id_name, "PAR1") == 0);
    CHECK_OK(cx,
             import_text(cx, dir, "id,big\na,9223372036854775807\nb,9223372036854775808\n", NULL, &t, &r));
    CHECK(table_column(t, "big")->type == COL_F64);
}

static void duplicates(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    static const char text[] = "id,v,s\na,1,x\nb,2,yy\na,3,zzz\nc,NA,\"q\"\"q\"\nb,5,v\na,6,w\nd,7,u\n";
    const struct table *t;
    struct csv_result r;
    CHECK_ERR(import_text(cx, dir, text, NULL, &t, &r), EXISTS);
    CHECK(strstr(cx->err.msg, "row 3 has the id of row 1") && strstr(cx->err.msg, "3 rows"));
    CHECK(scratch_count(cx, dir) == 1);
    struct csv_options o = {.duplicates = CSV_DUP_FIRST};
    CHECK_OK(cx, import_text(cx, dir, text, &o, &t, &r));
    CHECK(r.n_duplicates == 3 && t->n_rows == 4 && id_is(t, 2, "c") && id_is(t, 3, "d"));
    CHECK(cell_is(t, "v", 1, "2") && cell_is(t, "v", 2, "") && cell_is(t, "v", 3, "7") &&
          cell_is(t, "s", 2, "q\"q"));
    o.duplicates = CSV_DUP_KEEP;
    CHECK_OK(cx, import_text(cx, dir, text, &o, &t, &r));
    CHECK(r.n_duplicates == 3 && t->n_rows == 7 && cell_is(t, "v", 5, "6"));
}

static const struct {
    const char *what, *text, *message;
    enum err_code code;
    size_t n; /* 0: strlen */
    struct csv_options opt;
} bad[] = {
    {"ragged, short", "id,a,b\n1,2,3\n4,5\n", "row 2: 2 cells, want 3", ERR_FORMAT, 0, {0}},
    {"ragged, long", "id,a\n1,2\n4,5,6\n7,8\n", "row 2: 3 cells, want 2", ERR_FORMAT, 0, {0}},
    {"ragged, last", "id,a\n1,2\n4", "row 2: 1 cell, want 2", ERR_FORMAT, 0, {0}},
    {"number",
     "id,a\n1,2\n4,x\n",
     "row 2, column 'a': 'x' is no number, declared f64",
     ERR_FORMAT,
     0,
     {.types = (const char *const[]){"a:f64"}, .n_types = 1}},
    {"integer",
     "id,a\n1,2\n4,2.5\n",
     "'2.5' is no 64-bit integer",
     ERR_FORMAT,
     0,
     {.types = (const char *const[]){"a:i64"}, .n_types = 1}},
    {"infinite",
     "id,a\n1,inf\n",
     "'inf' is no number",
     ERR_FORMAT,
     0,
     {.types = (const char *const[]){"a:f64"}, .n_types = 1}},
    {"type's column",
     "id,a\n1,2\n",
     "no column 'b'",
     ERR_ARG,
     0,
     {.types = (const char *const[]){"b:f64"}, .n_types = 1}},
    {"type",
     "id,a\n1,2\n",
     "no type 'int'",
     ERR_ARG,
     0,
     {.types = (const char *const[]){"a:int"}, .n_types = 1}},
    {"id column", "id,a\n1,2\n", "no column 'key' to be the id; columns: id, a", ERR_ARG, 0, {.id = "key"}},
    {"label column", "id,a\n1,2\n", "no column 'y2' to be the label", ERR_ARG, 0, {.label = "y2"}},
    {"label is id", "id,a\n1,2\n", "cannot be the label", ERR_ARG, 0, {.label = "id"}},
    {"delimiter", "id,a\n1,2\n", "delimiter", ERR_ARG, 0, {.delimiter = '"'}},
    {"wrong delimiter", "id;a\n1;2\n", "is the delimiter right?", ERR_ARG, 0, {.id = "id"}},
    {"empty id", "id,a\n1,2\n,3\n", "row 2: the id (column 'id') is empty", ERR_FORMAT, 0, {0}},
    {"quoted empty id", "id,a\n1,2\n\"\",3\n", "row 2: the id", ERR_FORMAT, 0, {0}},
    {"UTF-8", "id,a\n1,2\n2,\xff\n", "row 2, column 'a': not UTF-8", ERR_FORMAT, 0, {0}},
    {"cut UTF-8", "id,a\n1,\xc3\n", "row 1, column 'a': not UTF-8", ERR_FORMAT, 0, {0}},
    {"UTF-8 in header", "id,\xc0\x80\n1,2\n", "column 2 is not UTF-8", ERR_FORMAT, 0, {0}},
    {"UTF-16", "\xff\xfei\0d\0", "is UTF-16", ERR_FORMAT, 6, {0}},
    {"gzip", "\x1f\x8b\x08", "compressed by gzip", ERR_FORMAT, 0, {0}},
    {"zip", "PK\3\4\x14\0xy", "a zip or a spreadsheet", ERR_FORMAT, 8, {0}},
    {"Parquet", "PAR1\x15\4\n1\nPAR1", "is Parquet", ERR_FORMAT, 0, {0}},
    {"NUL", "id,a\n1,2\n2,x\0y\n", "row 2, column 'a': a NUL byte", ERR_FORMAT, 15, {0}},
    {"NUL in header", "id,a\0\n1,2\n", "holds a NUL byte", ERR_FORMAT, 10, {0}},
    {"empty", "", "is empty", ERR_FORMAT, 0, {0}},
    {"BOM only", "\xef\xbb\xbf", "is empty", ERR_FORMAT, 0, {0}},
    {"blank", "\n\r\n\n", "blank lines only", ERR_FORMAT, 0, {0}},
    {"header only", "id,a\n", "a header and no rows", ERR_FORMAT, 0, {0}},
    {"header, no newline", "id,a", "a header and no rows", ERR_FORMAT, 0, {0}},
    {"header, blank lines", "id,a\n\n\r\n", "a header and no rows", ERR_FORMAT, 0, {0}},
    {"doubled name", "id,a,a\n1,2,3\n", "two columns are named 'a'", ERR_FORMAT, 0, {0}},
    {"name of the id", "id,a,id\n1,2,3\n", "two columns are named 'id'", ERR_FORMAT, 0, {0}},
    {"no name", "id,,a\n1,2,3\n", "column 2 has no name", ERR_FORMAT, 0, {0}},
    {"unclosed", "id,a\n1,2\n2,\"x\n3,4\n", "row 2, column 'a': a quote opens here", ERR_FORMAT, 0, {0}},
    {"unclosed header", "id,\"a\n1,2\n", "never closes", ERR_FORMAT, 0, {0}},
    {"behind a quote",
     "id,a\n1,\"x\"y\n",
     "row 1, column 'a': text after the closing quote",
     ERR_FORMAT,
     0,
     {0}},
};

static void refuses(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *out = scratch_path(cx, dir, "t");
    for (size_t i = 0; i < LEN(bad); i++) {
        struct csv_result r = {.n_rows = 77};
        const char *file =
            scratch_file(cx, dir, "in.csv", bad[i].text, bad[i].n ? bad[i].n : strlen(bad[i].text));
        status st = csv_import(cx, file, out, &bad[i].opt, NULL, NULL, &r);
        bool as_told = st.code == bad[i].code && strstr(cx->err.msg, bad[i].message) != NULL;
        if (!as_told)
            fprintf(stderr, "# %s: %s: %s\n", bad[i].what, err_name(st.code), st.code ? cx->err.msg : "");
        CHECK(as_told);
        CHECK(r.n_rows == 77 && scratch_count(cx, dir) == 1); /* untouched, nothing left behind */
    }
    struct csv_result r;
    CHECK_ERR(csv_import(cx, dir, out, NULL, NULL, NULL, &r), ARG);
    CHECK(strstr(cx->err.msg, "is a folder"));
    CHECK_ERR(csv_import(cx, "/dev/null", out, NULL, NULL, NULL, &r), ARG);
    CHECK_ERR(csv_import(cx, scratch_path(cx, dir, "none.csv"), out, NULL, NULL, NULL, &r), NOTFOUND);
    const char *file = scratch_file(cx, dir, "in.csv", "id,a\n1,2\n", 9);
    CHECK_OK(cx, csv_import(cx, file, out, NULL, NULL, NULL, &r));
    CHECK_ERR(csv_import(cx, file, out, NULL, NULL, NULL, &r), EXISTS);
    CHECK(scratch_count(cx, dir) == 2);
    if (geteuid() != 0) {
        CHECK(chmod(file, 0) == 0);
        CHECK_ERR(csv_import(cx, file, scratch_path(cx, dir, "u"), NULL, NULL, NULL, &r), IO);
    }
}

static void limits(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *out = scratch_path(cx, dir, "t");
    CLEANUP(buf_free) struct buf b = {0};
    struct csv_result r;
    const struct table *t;
    buf_printf(&b, "id");
    for (unsigned i = 0; i < TABLE_MAX_COLS; i++)
        buf_printf(&b, ",c%u", i);
    size_t header = b.n;
    buf_printf(&b, "\nrow");
    for (unsigned i = 0; i < TABLE_MAX_COLS; i++)
        buf_printf(&b, ",%u", i);
    buf_printf(&b, "\n");
    const char *file = scratch_file(cx, dir, "in.csv", b.p, b.n);
    CHECK_OK(cx, csv_import(cx, file, out, NULL, NULL, NULL, &r));
    CHECK_OK(cx, table_open(cx, out, &t));
    CHECK(t->n_cols == TABLE_MAX_COLS && cell_is(t, "c65535", 0, "65535"));
    b.p[header] = ',', b.p[header + 1] = 'z', b.p[header + 2] = '\n';
    file = scratch_file(cx, dir, "in.csv", b.p, b.n);
    CHECK_ERR(csv_import(cx, file, scratch_path(cx, dir, "u"), NULL, NULL, NULL, &r), LIMIT);
    CHECK(scratch_count(cx, dir) == 2);

    buf_reset(&b); /* a line of 3 MiB is fine, one of 64 MiB is not */
    buf_printf(&b, "id,text\nlong,");
    memset(buf_grow(&b, 3 << 20), 'x', 3 << 20);
    buf_printf(&b, "\nshort,y\n");
    file = scratch_file(cx, dir, "in.csv", b.p, b.n);
    CHECK_OK(cx, csv_import(cx, file, scratch_path(cx, dir, "v"), NULL, NULL, NULL, &r));
    CHECK_OK(cx, table_open(cx, scratch_path(cx, dir, "v"), &t));
    char number[64];
    CHECK(table_cell(t, &t->cols[0], 0, number, 64).n == 3 << 20 && cell_is(t, "text", 1, "y"));
    b.n -= 9;
    memset(buf_grow(&b, CSV_MAX_LINE), 'x', CSV_MAX_LINE);
    file = scratch_file(cx, dir, "in.csv", b.p, b.n);
    CHECK_ERR(csv_import(cx, file, scratch_path(cx, dir, "w"), NULL, NULL, NULL, &r), LIMIT);
    CHECK(strstr(cx->err.msg, "row 1: longer than 64 MiB"));
    CHECK(unlink(file) == 0);
}

/* A random file, and what its cells mean. */
struct cell {
    const char *text; /* NULL: missing */
};
struct made {
    struct buf csv;
    size_t n_rows, n_cols, id; /* n_cols with the id column */
    struct cell *cells;
    const char **names;
};
static void made_free(struct made *m)
{
    buf_free(&m->csv);
}

static const char *make_text(struct ctx *cx, struct shuffle *s, unsigned kind)
{
    static const char alphabet[] = "ab,\"\n\r ;Z\xc3\xa9";
    char t[40];
    size_t n = 0;
    if (kind == 0)
        return arena_printf(cx->mem, "%jd", (intmax_t)(int64_t)(shuffle_u64(s) >> shuffle_below(s, 64)));
    if (kind == 1)
        return arena_printf(cx->mem, "%.*g", 1 + (int)shuffle_below(s, 17), shuffle_normal(s) * 1000);
    for (size_t k = 1 + shuffle_below(s, 12); n < k;) {
        size_t j = shuffle_below(s, sizeof alphabet - 2);
        t[n++] = alphabet[j];
        if (j >= sizeof alphabet - 3) t[n - 1] = '\xc3', t[n++] = '\xa9';
    }
    return arena_strndup(cx->mem, t, n);
}

static void put_cell(struct made *m, struct shuffle *s, const char *text, bool last)
{
    bool must = strpbrk(text, ",\n\r") || text[0] == '"' || (last && *text && text[strlen(text) - 1] == '\r');
    if (!must && shuffle_below(s, 8)) {
        buf_put(&m->csv, text, strlen(text));
        return;
    }
    buf_u8(&m->csv, '"');
    for (; *text; text++) {
        if (*text == '"') buf_u8(&m->csv, '"');
        buf_u8(&m->csv, (uint8_t)*text);
    }
    buf_u8(&m->csv, '"');
}

static void put_row(struct ctx *cx, struct made *m, struct shuffle *s, size_t r, const unsigned *kinds)
{
    static const char *const missing[] = {"", "NA", "nan", "?", "null"};
    for (size_t c = 0; c < m->n_cols; c++) {
        const char *text =
            c == m->id ? arena_printf(cx->mem, "%s#%zu", make_text(cx, s, 2), r) : make_text(cx, s, kinds[c]);
        bool gone = c != m->id && shuffle_below(s, 6) == 0;
        if (c) buf_u8(&m->csv, ',');
        put_cell(m, s, gone ? missing[shuffle_below(s, LEN(missing))] : text, c + 1 == m->n_cols);
        m->cells[r * m->n_cols + c].text = gone ? NULL : text;
    }
    bool crlf = shuffle_below(s, 4) == 0;
    buf_put(&m->csv, crlf ? "\r\n" : "\n", crlf ? 2 : 1);
    if (shuffle_below(s, 10) == 0) buf_put(&m->csv, "\r\n\n", 2 + shuffle_below(s, 2));
}

static void make(struct ctx *cx, struct shuffle *s, struct made *m)
{
    unsigned kinds[8];
    m->n_rows = 1 + shuffle_below(s, 300);
    m->n_cols = 1 + shuffle_below(s, 8);
    m->id = shuffle_below(s, m->n_cols);
    m->cells = NEW(cx, struct cell, m->n_rows * m->n_cols);
    m->names = NEW(cx, const char *, m->n_cols);
    for (size_t c = 0; c < m->n_cols; c++) {
        kinds[c] = (unsigned)shuffle_below(s, 3);
        m->names[c] = arena_printf(cx->mem, "col %zu", c);
        if (c) buf_u8(&m->csv, ',');
        put_cell(m, s, m->names[c], false);
    }
    buf_u8(&m->csv, '\n');
    for (size_t r = 0; r < m->n_rows; r++)
        put_row(cx, m, s, r, kinds);
    if (shuffle_below(s, 2)) /* no newline at the end */
        while (m->csv.n && (m->csv.p[m->csv.n - 1] == '\n' || m->csv.p[m->csv.n - 1] == '\r'))
            m->csv.n--;
}

static bool same_cell(const struct table *t, const struct column *c, size_t r, const char *want)
{
    char buf[64];
    struct bytes b = table_cell(t, c, r, buf, sizeof buf);
    bool null = c->null && (c->null[r / 64] >> r % 64 & 1);
    int64_t i;
    double d;
    if (!want) return null && b.n == 0 && (c->type != COL_F64 || isnan(((const double *)c->data)[r]));
    if (null) return false;
    if (c->type == COL_STR) return b.n == strlen(want) && memcmp(b.p, want, b.n) == 0;
    if (c->type == COL_I64)
        return num_parse_i64(want, strlen(want), &i) && i == ((const int64_t *)c->data)[r];
    return num_parse_f64(want, strlen(want), &d) && d == ((const double *)c->data)[r];
}

static enum col_type want_type(const struct made *m, size_t c)
{
    enum num_class { NONE, INT, REAL, TEXT } widest = NONE;
    for (size_t r = 0; r < m->n_rows; r++) {
        const char *text = m->cells[r * m->n_cols + c].text;
        int64_t i;
        double d;
        if (!text) continue;
        size_t n = strlen(text);
        while (n && (*text == ' ' || text[n - 1] == ' '))
            *text == ' ' ? text++ : text, n--;
        enum num_class k = num_parse_i64(text, n, &i) ? INT : num_parse_f64(text, n, &d) ? REAL : TEXT;
        widest = k > widest ? k : widest;
    }
    return widest == INT ? COL_I64 : widest == TEXT ? COL_STR : COL_F64;
}

static bool same_table(const struct table *t, const struct made *m)
{
    if (t->n_rows != m->n_rows || t->n_cols != m->n_cols - 1) return false;
    for (size_t c = 0, k = 0; c < m->n_cols; c++) {
        if (c != m->id && t->cols[k].type != want_type(m, c)) {
            fprintf(stderr, "# column %zu: type %d, want %d\n", c, (int)t->cols[k].type,
                    (int)want_type(m, c));
            return false;
        }
        for (size_t r = 0; r < m->n_rows; r++) {
            const char *want = m->cells[r * m->n_cols + c].text;
            if (c == m->id ? !id_is(t, r, want) : !same_cell(t, &t->cols[k], r, want)) {
                fprintf(stderr, "# row %zu, column %zu: want '%s'\n", r, c, want ? want : "(missing)");
                return false;
            }
        }
        k += c != m->id;
    }
    return true;
}

static bool same_files(struct ctx *cx, const char *a, const char *b)
{
    struct bytes x, y;
    CHECK_OK(cx, file_read(cx, a, 1 << 26, &x));
    CHECK_OK(cx, file_read(cx, b, 1 << 26, &y));
    return x.n == y.n && memcmp(x.p, y.p, x.n) == 0;
}

/* Parts of a few bytes put borders into quotes, line ends, names; the column file is the same. Then out and in again. */
static void any_parts_any_threads(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed());
    struct pool *pools[] = {NULL, pool_new(2), pool_new(4)};
    const char *dir = scratch_dir(cx), *a = scratch_path(cx, dir, "a"), *b = scratch_path(cx, dir, "b");
    for (int round = 0; round < 300; round++) {
        struct arena_mark mark = arena_mark(cx->mem);
        CLEANUP(made_free) struct made m = {0};
        make(cx, &s, &m);
        const char *file = scratch_file(cx, dir, "in.csv", m.csv.p, m.csv.n);
        const struct table *t;
        struct csv_result r;
        struct csv_options o = {.id = m.names[m.id]};
        uint64_t part = 1 + shuffle_below(&s, 200);
        CHECK_OK(cx, csv_import(cx, file, a, &o, NULL, NULL, &r));
        CHECK_OK(cx, table_open(cx, a, &t));
        CHECK(same_table(t, &m));
        cx->pool = pools[shuffle_below(&s, 3)];
        CHECK_OK(cx, csv_import_parts(cx, file, b, &o, part, NULL, NULL, &r));
        cx->pool = NULL;
        CHECK(same_files(cx, scratch_path(cx, a, "data.col"), scratch_path(cx, b, "data.col")));
        CHECK_OK(cx, dir_remove(cx, b));
        file = scratch_path(cx, dir, "out.csv");
        CHECK_OK(cx, csv_export(cx, t, file));
        CHECK_OK(cx, csv_import_parts(cx, file, b, NULL, part, NULL, NULL, &r));
        CHECK_OK(cx, table_open(cx, b, &t));
        for (size_t c = 0, k = 0; c < m.n_cols; c++) {
            if (c == m.id) continue;
            CHECK(strcmp(t->cols[k].name, m.names[c]) == 0);
            for (size_t i = 0; i < m.n_rows; i++)
                CHECK(same_cell(t, &t->cols[k], i, m.cells[i * m.n_cols + c].text));
            k++;
        }
        CHECK_OK(cx, dir_remove(cx, a));
        CHECK_OK(cx, dir_remove(cx, b));
        arena_rewind(cx->mem, mark);
    }
    for (size_t i = 1; i < LEN(pools); i++)
        pool_free(pools[i]);
}

/* A broken row is named wherever it is, by the first of several. */
static void names_the_row(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 1);
    struct pool *pool = pool_new(3);
    const char *dir = scratch_dir(cx), *out = scratch_path(cx, dir, "t");
    static const char *const types[] = {"v:i64"};
    for (int round = 0; round < 300; round++) {
        struct arena_mark mark = arena_mark(cx->mem);
        CLEANUP(buf_free) struct buf b = {0};
        struct csv_result r;
        char want[32];
        size_t n = 1 + shuffle_below(&s, 500), broken = shuffle_below(&s, n), kind = shuffle_below(&s, 5);
        static const char *const lines[] = {"x,1\n", "x,oops,\"y\nz\"\n", ",1,t\n", "x,1,\"u\"v\n",
                                            "x,1,\xfe\n"};
        buf_printf(&b, "id,v,text\n");
        for (size_t i = 0; i < n; i++) {
            if (i == broken || (i > broken && shuffle_below(&s, 20) == 0))
                buf_printf(&b, "%s", lines[i == broken ? kind : shuffle_below(&s, 5)]);
            else
                buf_printf(&b, "%zu,%zu,%s\n", i, i * i,
                           shuffle_below(&s, 4) ? "plain" : "\"quoted,\nwith \"\"lines\n\"");
        }
        const char *file = scratch_file(cx, dir, "in.csv", b.p, b.n);
        struct csv_options o = {.types = types, .n_types = 1};
        cx->pool = shuffle_below(&s, 2) ? pool : NULL;
        CHECK_ERR(csv_import_parts(cx, file, out, &o, 1 + shuffle_below(&s, 300), NULL, NULL, &r), FORMAT);
        cx->pool = NULL;
        snprintf(want, sizeof want, "row %zu%c", broken + 1, kind == 0 || kind == 2 ? ':' : ',');
        if (!strstr(cx->err.msg, want)) fprintf(stderr, "# want %s: %s\n", want, cx->err.msg);
        CHECK(strstr(cx->err.msg, want));
        CHECK(scratch_count(cx, dir) == 1);
        arena_rewind(cx->mem, mark);
    }
    pool_free(pool);
}

static void dropped_rows(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 2);
    struct pool *pool = pool_new(2);
    const char *dir = scratch_dir(cx), *out = scratch_path(cx, dir, "t");
    for (int round = 0; round < 100; round++) {
        struct arena_mark mark = arena_mark(cx->mem);
        CLEANUP(buf_free) struct buf b = {0};
        struct csv_result r;
        const struct table *t;
        size_t n = 1 + shuffle_below(&s, 600), n_ids = 1 + shuffle_below(&s, 400), kept = 0;
        size_t *first = NEW(cx, size_t, n_ids), *rows = NEW(cx, size_t, n);
        buf_printf(&b, "id,v,text\n");
        for (size_t i = 0; i < n; i++) {
            size_t id = shuffle_below(&s, n_ids);
            buf_printf(&b, "user-%zu,%zu,\"line %zu\n\"\n", id, i, i);
            if (!first[id]) rows[kept++] = i;
            first[id] = 1;
        }
        const char *file = scratch_file(cx, dir, "in.csv", b.p, b.n);
        struct csv_options o = {.duplicates = CSV_DUP_FIRST};
        cx->pool = shuffle_below(&s, 2) ? pool : NULL;
        CHECK_OK(cx, csv_import_parts(cx, file, out, &o, 1 + shuffle_below(&s, 300), NULL, NULL, &r));
        cx->pool = NULL;
        CHECK_OK(cx, table_open(cx, out, &t));
        CHECK(t->n_rows == kept && r.n_duplicates == n - kept);
        for (size_t i = 0; i < kept && i < t->n_rows; i++) {
            CHECK((size_t)((const int64_t *)t->cols[0].data)[i] == rows[i]);
            CHECK(cell_is(t, "text", i, arena_printf(cx->mem, "line %zu\n", rows[i])));
        }
        CHECK_OK(cx, dir_remove(cx, out));
        arena_rewind(cx->mem, mark);
    }
    pool_free(pool);
}

struct seen {
    uint64_t last, all;
    int calls;
};
static void on_progress(void *arg, uint64_t done, uint64_t all)
{
    struct seen *s = (struct seen *)arg;
    s->last = done, s->all = all, s->calls++;
}

static void progress_and_cancel(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    CLEANUP(buf_free) struct buf b = {0};
    struct seen seen = {0};
    struct csv_result r;
    buf_printf(&b, "id,v\n");
    for (int i = 0; i < 200000; i++)
        buf_printf(&b, "%d,%d\n", i, i);
    const char *file = scratch_file(cx, dir, "in.csv", b.p, b.n);
    CHECK_OK(cx, csv_import(cx, file, scratch_path(cx, dir, "a"), NULL, on_progress, &seen, &r));
    CHECK(seen.calls > 2 && seen.all == b.n && seen.last > b.n / 10 * 9 && seen.last <= b.n);
    atomic_bool stop = true;
    cx->cancel = &stop;
    CHECK_ERR(csv_import(cx, file, scratch_path(cx, dir, "b"), NULL, NULL, NULL, &r), CANCELLED);
    cx->cancel = NULL;
    CHECK(scratch_count(cx, dir) == 2);
}

/* FATE's example files, when they are here. */
static void fate_files(struct ctx *cx)
{
    static const struct {
        const char *name;
        size_t rows, cols;
    } files[] = {{"breast_hetero_guest.csv", 569, 11},
                 {"breast_hetero_host.csv", 569, 20},
                 {"default_credit_hetero_guest.csv", 30000, 14},
                 {"mocked_string_data.csv", 10000, 21}};
    const char *data = getenv("NORN_FATE_DATA");
    if (!data) data = "../shared/data";
    const char *dir = scratch_dir(cx);
    for (size_t i = 0; i < LEN(files); i++) {
        const char *file = arena_printf(cx->mem, "%s/%s", data, files[i].name);
        const char *a = scratch_path(cx, dir, files[i].name), *again = scratch_path(cx, dir, "again.csv");
        const char *b = arena_printf(cx->mem, "%s.again", a);
        const struct table *t;
        struct csv_result r;
        if (!file_exists(file)) continue;
        CHECK_OK(cx, csv_import(cx, file, a, NULL, NULL, NULL, &r));
        CHECK(r.n_rows == files[i].rows && r.n_cols == files[i].cols);
        CHECK_OK(cx, table_open(cx, a, &t));
        CHECK_OK(cx, csv_export(cx, t, again));
        CHECK_OK(cx, csv_import(cx, again, b, NULL, NULL, NULL, &r));
        CHECK(same_files(cx, scratch_path(cx, a, "data.col"), scratch_path(cx, b, "data.col")));
    }
}

TEST_MAIN(T(known_file), T(options), T(duplicates), T(refuses), T(limits), T(any_parts_any_threads),
          T(names_the_row), T(dropped_rows), T(progress_and_cancel), T(fate_files))
