/* DataTransform against scikit-learn's imputer, plain loops, and what a real FATE answered; what it refuses. */
#include "fed/data_transform/transform.h"
#include "model/model.h"
#include "tests/fed/fed.h"
#include <archive.h>
#include <archive_entry.h>
#include <math.h>
#include <sys/stat.h>

#define MISSING ((double)NAN)
#include "tests/vectors/data_transform.h"

/* ---- tables ---- */

struct given { /* one column; exactly one of the arrays */
    const char *name;
    enum col_kind kind;
    const double *f64;
    const int64_t *i64;
    const char *const *str; /* NULL: missing */
};

static const struct table *make(struct ctx *cx, size_t n, const struct given *g, size_t n_cols)
{
    struct column_spec *spec = NEW(cx, struct column_spec, n_cols + 1);
    const void **cols = NEW(cx, const void *, n_cols + 1);
    uint64_t *off = NEW(cx, uint64_t, n + 1);
    CLEANUP(buf_free) struct buf ids = {0};
    for (size_t i = 0; i < n; i++)
        buf_printf(&ids, "r%zu", i), off[i + 1] = ids.n;
    for (size_t j = 0; j < n_cols; j++) {
        enum col_type type = g[j].f64 ? COL_F64 : g[j].i64 ? COL_I64 : COL_STR;
        spec[j] = (struct column_spec){g[j].name, NULL, type, g[j].kind};
        cols[j] = g[j].f64 ? (const void *)g[j].f64 : (const void *)g[j].i64;
        if (type != COL_STR) continue;
        struct bytes *s = NEW(cx, struct bytes, n + 1);
        for (size_t i = 0; i < n; i++)
            s[i] = (struct bytes){(const uint8_t *)g[j].str[i], g[j].str[i] ? strlen(g[j].str[i]) : 0};
        cols[j] = s;
    }
    const char *path = arena_printf(cx->mem, "%s/t", fed_dir(cx, "given"));
    struct table_writer *w;
    const struct table *t = NULL;
    CLEANUP(json_decrefp) json_t *meta = json_pack("{s:s}", "delimitor", ",");
    CHECK_OK(cx, table_writer_new(cx, path, "id", spec, n_cols, &w));
    CHECK_OK(cx, table_writer_append(cx, w, n, off, n ? (const char *)ids.p : "", cols));
    CHECK_OK(cx, table_writer_finish(cx, w, meta));
    table_writer_free(w);
    CHECK_OK(cx, table_open(cx, path, &t));
    return t;
}

/* ' for ". */
static const char *quoted(struct ctx *cx, const char *params)
{
    char *s = params ? arena_strdup(cx->mem, params) : NULL;
    for (char *c = s; c && *c; c++)
        if (*c == '\'') *c = '"';
    return s;
}

static void transform(struct ctx *cx, const struct table *t, enum role role, const char *params,
                      const struct model_part *model, struct fed_result *r, const struct table **out)
{
    struct fed_arg arg = {.role = role,
                          .id = role == ROLE_GUEST ? 9999 : 10000,
                          .params = quoted(cx, params),
                          .input = {{"data", "reader_0.data", "reader_0", t}},
                          .n_inputs = 1,
                          .model = model};
    struct fed_options o = {.threads = 2};
    fed_run("DataTransform", &arg, 1, &o, r);
    *out = NULL;
    if (r->code == ERR_OK) CHECK_OK(cx, table_open(cx, r->out_path, out));
}

static void good(struct ctx *cx, const struct table *t, const char *params, struct fed_result *r,
                 const struct table **out)
{
    transform(cx, t, ROLE_GUEST, params, NULL, r, out);
    if (r->code) printf("# %s: %s\n", params, r->msg);
    CHECK(r->code == ERR_OK && *out);
}

static void bad(struct ctx *cx, const struct table *t, const char *params, enum err_code code,
                const char *says)
{
    struct fed_result r;
    const struct table *out;
    transform(cx, t, ROLE_GUEST, params, NULL, &r, &out);
    if (r.code != code || !strstr(r.msg, says)) printf("# %s: %s %s\n", params, err_name(r.code), r.msg);
    CHECK(r.code == code && strstr(r.msg, says));
    fed_free(&r, 1);
}

static double cell(struct ctx *cx, const struct table *t, const char *name, size_t i)
{
    double x = 0;
    const struct column *c = table_column(t, name);
    CHECK(c != NULL);
    if (c) CHECK_OK(cx, table_read_f64(cx, t, c, i, i + 1, &x));
    return x;
}

static bool text_is(const struct table *t, const char *name, size_t i, const char *want)
{
    char buf[64];
    struct bytes s = table_cell(t, table_column(t, name), i, buf, sizeof buf);
    return s.n == strlen(want) && (s.n == 0 || memcmp(s.p, want, s.n) == 0);
}

static bool same_number(double a, double b)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) < 1e-12;
}

static ino_t inode(struct ctx *cx, const struct table *t)
{
    struct stat st = {0};
    CHECK(stat(arena_printf(cx->mem, "%s/data.col", t->path), &st) == 0);
    return st.st_ino;
}

/* ---- the recorded job ---- */

static bool json_same(const json_t *want, const json_t *got)
{
    bool same = json_equal(want, got);
    if (!same) {
        char *a = json_dumps(want, JSON_SORT_KEYS), *b = json_dumps(got, JSON_SORT_KEYS);
        printf("# want %.500s\n# got %.500s\n", a, b);
        free(a), free(b);
    }
    return same;
}

static void model_is(struct ctx *cx, const struct fed_result *r, const char *path)
{
    json_error_t e;
    CLEANUP(json_decrefp) json_t *want = json_load_file(path, 0, &e);
    CLEANUP(json_decrefp) json_t *param = NULL;
    CLEANUP(json_decrefp) json_t *meta = NULL;
    CHECK(r->task.model_out && r->task.model_out->n_buffers == 2);
    CHECK_OK(cx, model_json(cx, model_buffer(r->task.model_out, "Param"), &param));
    CHECK_OK(cx, model_json(cx, model_buffer(r->task.model_out, "Meta"), &meta));
    CHECK(json_same(js_at(want, "response.data"), param));
    CHECK(json_same(js_at(want, "response.meta.meta_data"), meta));
}

/* Ten features and a label at the guest, twenty features at the host: the model's messages are FATE's. */
static void recorded(struct ctx *cx)
{
    const char *guest = test_shared(cx, "golden/hetero_secureboost/guest.data_transform_0.output_model.json"),
               *host = test_shared(cx, "golden/hetero_secureboost/host.data_transform_0.output_model.json");
    static const double x[] = {0.5, -1};
    static const int64_t y[] = {1, 0};
    struct given g[21];
    struct fed_result r;
    const struct table *out;
    if (!guest || !host) SKIP("no shared data");
    for (size_t j = 0; j < 21; j++)
        g[j] = (struct given){
            .name = j ? arena_printf(cx->mem, "x%zu", j - 1) : "y", .f64 = j ? x : NULL, .i64 = j ? NULL : y};
    transform(cx, make(cx, 2, g, 11), ROLE_GUEST, "{'with_label': true, 'output_format': 'dense'}", NULL, &r,
              &out);
    CHECK(r.code == ERR_OK);
    model_is(cx, &r, guest);
    CHECK(r.summary == NULL && json_object_size(r.metrics) == 0); /* as FATE's */
    fed_free(&r, 1);
    transform(cx, make(cx, 2, g + 1, 20), ROLE_HOST, "{'with_label': false}", NULL, &r, &out);
    CHECK(r.code == ERR_OK);
    model_is(cx, &r, host);
    fed_free(&r, 1);
}

/* A model that FATE exported, by which rows are treated here. */
static struct bytes member(struct ctx *cx, const char *zip, const char *ends)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    struct bytes out = {0};
    archive_read_support_format_zip(a);
    CHECK(archive_read_open_filename(a, zip, 65536) == ARCHIVE_OK);
    while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(e);
        size_t n = strlen(name), k = strlen(ends);
        if (n < k || strcmp(name + n - k, ends) != 0) continue;
        uint8_t *p = NEW(cx, uint8_t, 65536);
        la_ssize_t got = archive_read_data(a, p, 65536);
        out = (struct bytes){p, got < 0 ? 0 : (size_t)got};
    }
    archive_read_free(a);
    return out;
}

static void reads_fates_model(struct ctx *cx)
{
    const char *zip = test_shared(cx, "golden/model_export_guest.zip");
    static const double x[] = {1.5, -2};
    static const int64_t y[] = {1, 0};
    struct given g[11];
    struct fed_result r;
    const struct table *out;
    if (!zip) SKIP("no shared data");
    struct model_part part = {
        .component = "data_transform_0", .alias = "model", .module = "DataTransform", .n_buffers = 2};
    part.buffers[0] = (struct model_buffer){"DataTransformMeta", "DataTransformMeta",
                                            member(cx, zip, "/DataTransformMeta")};
    part.buffers[1] = (struct model_buffer){"DataTransformParam", "DataTransformParam",
                                            member(cx, zip, "/DataTransformParam")};
    CHECK(part.buffers[1].pb.n > 0);
    for (size_t j = 0; j < 11; j++) /* x9, ..., x0, y */
        g[j] = (struct given){.name = j < 10 ? arena_printf(cx->mem, "x%zu", 9 - j) : "y",
                              .f64 = j < 10 ? x : NULL,
                              .i64 = j < 10 ? NULL : y};
    transform(cx, make(cx, 2, g, 11), ROLE_GUEST, NULL, &part, &r, &out);
    if (r.code) printf("# %s\n", r.msg);
    CHECK(r.code == ERR_OK && out && table_label(out) && strcmp(table_label(out)->name, "y") == 0);
    for (size_t j = 0, k = 0; out && j < out->n_cols; j++) {
        if (out->cols[j].kind != KIND_FEATURE) continue;
        CHECK(strcmp(out->cols[j].name, arena_printf(cx->mem, "x%zu", k)) == 0);
        CHECK(out->cols[j].anonymous &&
              strcmp(out->cols[j].anonymous, arena_printf(cx->mem, "guest_9999_x%zu", k)) == 0);
        k++;
    }
    fed_free(&r, 1);
}

/* ---- kinds and names ---- */

static void names_and_kinds(struct ctx *cx)
{
    static const double a[] = {1, 2, MISSING}, b[] = {4, 5, 6};
    static const int64_t y[] = {0, 1, 1}, w[] = {1, 1, 2};
    const struct given g[] = {{"a", KIND_FEATURE, a, NULL, NULL},
                              {"Target", KIND_FEATURE, NULL, y, NULL},
                              {"y", KIND_LABEL, NULL, y, NULL},
                              {"w", KIND_WEIGHT, NULL, w, NULL},
                              {"b", KIND_FEATURE, b, NULL, NULL}};
    const struct table *t = make(cx, 3, g, LEN(g)), *out;
    struct fed_result r;
    good(cx, t, "{'with_label': true, 'label_name': 'target'}", &r, &out);
    if (out) {
        CHECK(inode(cx, out) == inode(cx, t)); /* nothing changes: nothing is copied */
        CHECK(table_label(out) && strcmp(table_label(out)->name, "Target") == 0);
        CHECK(strcmp(table_label(out)->anonymous, "guest_9999_y") == 0);
        CHECK(table_column(out, "y")->kind == KIND_FEATURE); /* another label than the upload's */
        CHECK(strcmp(table_column(out, "a")->anonymous, "guest_9999_x0") == 0);
        CHECK(strcmp(table_column(out, "y")->anonymous, "guest_9999_x1") == 0);
        CHECK(strcmp(table_column(out, "b")->anonymous, "guest_9999_x2") == 0);
        CHECK(table_column(out, "w")->kind == KIND_WEIGHT);
        CHECK(isnan(cell(cx, out, "a", 2)) && cell(cx, out, "b", 1) == 5);
        CHECK(out->meta && json_object_get(out->meta, "delimitor"));
    }
    CHECK(r.done == 3 && r.all == 3);
    fed_free(&r, 1);
    good(cx, t, "{'with_label': false}", &r, &out);
    CHECK(out && !table_label(out) && table_column(out, "y")->kind == KIND_FEATURE);
    fed_free(&r, 1);
    good(cx, t, "{'need_run': false}", &r, &out);
    CHECK(out && table_label(out) && strcmp(table_label(out)->name, "y") == 0);
    CHECK(r.task.model_out && r.task.model_out->buffers[1].pb.n == 0);
    struct fed_result again;
    const struct table *passed;
    transform(cx, t, ROLE_GUEST, NULL, r.task.model_out, &again,
              &passed); /* predicting with that model passes too */
    CHECK(again.code == ERR_OK && passed && table_label(passed) && again.task.model_out == NULL);
    fed_free(&again, 1);
    fed_free(&r, 1);
}

/* ---- filling ---- */

static const struct table *imputer_table(struct ctx *cx)
{
    const struct given g[] = {{"a", KIND_FEATURE, dt_x, NULL, NULL},
                              {"b", KIND_FEATURE, dt_x + 30, NULL, NULL},
                              {"c", KIND_FEATURE, dt_x + 60, NULL, NULL}};
    return make(cx, 30, g, 3);
}

static double summary_number(const struct fed_result *r, const char *path)
{
    json_t *j = js_at(r->summary, path);
    return json_is_number(j) ? json_number_value(j) : MISSING;
}

static void fills_like_sklearn(struct ctx *cx)
{
    static const char *const name[] = {"a", "b", "c"}, *const method[] = {"mean", "min", "max"};
    static const double *const value[] = {dt_values_mean, dt_values_min, dt_values_max};
    const struct table *t = imputer_table(cx), *out;
    struct fed_result r;
    for (size_t m = 0; m < LEN(method); m++) {
        good(cx, t,
             arena_printf(cx->mem,
                          "{'missing_fill': true, 'missing_fill_method': '%s', 'missing_impute': [-999]}",
                          method[m]),
             &r, &out);
        for (size_t j = 0; j < 3 && out; j++) {
            for (size_t i = 0; i < 30; i++) {
                double x = dt_x[30 * j + i];
                CHECK(same_number(cell(cx, out, name[j], i), isnan(x) || x == -999 ? value[m][j] : x));
                if (m == 0) CHECK(same_number(cell(cx, out, name[j], i), dt_mean[30 * j + i]));
            }
            CHECK(same_number(
                summary_number(&r,
                               arena_printf(cx->mem, "missing_fill_info.missing_impute_value.%s", name[j])),
                value[m][j]));
            CHECK(same_number(
                summary_number(&r,
                               arena_printf(cx->mem, "missing_fill_info.missing_impute_rate.%s", name[j])),
                dt_rates[j]));
        }
        CHECK(out && inode(cx, out) != inode(cx, t) && text_is(out, "a", 0, "") == false);
        CHECK(out && table_id(out, 29).n == 3 && memcmp(table_id(out, 29).p, "r29", 3) == 0);
        fed_free(&r, 1);
    }
    good(cx, t,
         "{'missing_fill': true, 'missing_fill_method': 'mean', 'outlier_replace': true, "
         "'outlier_replace_method': 'mean', "
         "'outlier_impute': ['-999']}",
         &r, &out);
    for (size_t k = 0; k < 90 && out; k++)
        CHECK(same_number(cell(cx, out, name[k / 30], k % 30), dt_both[k]));
    CHECK(same_number(summary_number(&r, "outlier_replace_rate.outlier_replace_rate.c"), 0.1));
    fed_free(&r, 1);
}

static void designated_values(struct ctx *cx)
{
    static const double a[] = {1, MISSING, 7}, b[] = {MISSING, MISSING, -1};
    static const char *const c[] = {"red", NULL, "na"};
    const struct given g[] = {{"a", KIND_FEATURE, a, NULL, NULL},
                              {"b", KIND_FEATURE, b, NULL, NULL},
                              {"c", KIND_FEATURE, NULL, NULL, c}};
    const struct table *numbers = make(cx, 3, g, 2), *all = make(cx, 3, g, 3), *out;
    struct fed_result r;
    good(cx, numbers, "{'missing_fill': true}", &r, &out); /* no method: default_value, 0 */
    CHECK(out && cell(cx, out, "a", 1) == 0 && cell(cx, out, "b", 0) == 0 && cell(cx, out, "b", 2) == -1);
    CHECK(summary_number(&r, "missing_fill_info.missing_impute_value.a") == 0);
    CHECK(json_array_size(js_at(r.summary, "missing_fill_info.missing_value")) == 6);
    fed_free(&r, 1);
    good(cx, numbers,
         "{'missing_fill': true, 'missing_fill_method': 'DESIGNATED', 'default_value': [2.5, '-3']}", &r,
         &out);
    CHECK(out && cell(cx, out, "a", 1) == 2.5 && cell(cx, out, "b", 0) == -3);
    fed_free(&r, 1);
    good(cx, numbers, "{'outlier_replace': true, 'outlier_replace_value': 8}", &r,
         &out); /* FATE's list: missing cells */
    CHECK(out && cell(cx, out, "a", 1) == 8 && cell(cx, out, "a", 2) == 7);
    fed_free(&r, 1);
    good(cx, numbers, "{'missing_impute': ['7.0']}", &r, &out); /* named missing, not filled */
    CHECK(out && isnan(cell(cx, out, "a", 2)) && isnan(cell(cx, out, "a", 1)) && cell(cx, out, "a", 0) == 1);
    CHECK(r.summary == NULL);
    fed_free(&r, 1);
    good(cx, numbers,
         "{'missing_fill': true, 'default_value': 5, 'outlier_replace': true, 'outlier_impute': [5, 7], "
         "'outlier_replace_value': 6}",
         &r, &out); /* what was filled in is an outlier in turn */
    CHECK(out && cell(cx, out, "a", 1) == 6 && cell(cx, out, "a", 2) == 6 && cell(cx, out, "b", 0) == 6);
    CHECK(same_number(summary_number(&r, "outlier_replace_rate.outlier_replace_rate.a"), 2.0 / 3));
    CHECK(same_number(summary_number(&r, "missing_fill_info.missing_impute_rate.a"), 1.0 / 3));
    fed_free(&r, 1);
    good(cx, all, "{'missing_fill': true, 'default_value': 9, 'exclusive_data_type': {'C': 'str'}}", &r,
         &out);
    CHECK(out && text_is(out, "c", 0, "red") && text_is(out, "c", 1, "9") && text_is(out, "c", 2, "9"));
    fed_free(&r, 1);
}

/* ---- types ---- */

static void types(struct ctx *cx)
{
    static const double whole[] = {1, -2, 3}, real[] = {1, 2.5, 3};
    static const int64_t big[] = {INT64_C(9007199254740993), 4, 5};
    static const char *const text[] = {"1.5", " 2 ", "NA"};
    const struct given g[] = {{"w", KIND_FEATURE, whole, NULL, NULL},
                              {"i", KIND_FEATURE, NULL, big, NULL},
                              {"t", KIND_FEATURE, NULL, NULL, text},
                              {"r", KIND_FEATURE, real, NULL, NULL}};
    const struct table *t = make(cx, 3, g, 4), *ints = make(cx, 3, g, 2), *out;
    struct fed_result r;
    good(cx, t, "{}", &r, &out);
    CHECK(out && table_column(out, "t")->type == COL_F64 && cell(cx, out, "t", 0) == 1.5);
    CHECK(out && cell(cx, out, "t", 1) == 2 && isnan(cell(cx, out, "t", 2)));
    CHECK(out && table_column(out, "i")->type == COL_I64); /* as it was */
    fed_free(&r, 1);
    good(cx, ints, "{'data_type': 'int'}", &r, &out);
    CHECK(out && table_column(out, "w")->type == COL_I64 && text_is(out, "w", 1, "-2"));
    CHECK(out && text_is(out, "i", 0, "9007199254740993")); /* to the last digit */
    fed_free(&r, 1);
    good(cx, t, "{'data_type': 'str', 'exclusive_data_type': {'r': 'float'}}", &r, &out);
    CHECK(out && table_column(out, "w")->type == COL_STR && text_is(out, "w", 0, "1.0") &&
          text_is(out, "i", 1, "4"));
    CHECK(out && text_is(out, "t", 2, "NA") && table_column(out, "r")->type == COL_F64);
    fed_free(&r, 1);
    good(cx, ints, "{'missing_impute': [4]}", &r,
         &out); /* a hole in a column of integers: it becomes reals */
    CHECK(out && table_column(out, "i")->type == COL_F64 && isnan(cell(cx, out, "i", 1)) &&
          cell(cx, out, "i", 2) == 5);
    fed_free(&r, 1);
    bad(cx, t, "{'data_type': 'int'}", ERR_FORMAT, "column t, row 1 is not an integer");
    bad(cx, t, "{'exclusive_data_type': {'r': 'long'}}", ERR_FORMAT, "column r, row 2 is not an integer");
    bad(cx, t, "{'exclusive_data_type': {'t': 'int'}, 'missing_impute': ['1.5']}", ERR_FORMAT,
        "column t, row 1 is missing");
    bad(cx, ints, "{'data_type': 'int', 'missing_impute': [4], 'missing_fill': true, 'default_value': 0.5}",
        ERR_ARG, "not an integer");
    bad(cx, t, "{'exclusive_data_type': {'zip': 'str'}}", ERR_ARG, "names zip");
    static const char *const word[] = {"1", "two", "3"};
    const struct given h[] = {{"v", KIND_FEATURE, NULL, NULL, word}};
    const struct table *words = make(cx, 3, h, 1);
    bad(cx, words, "{}", ERR_FORMAT, "column v, row 2 is not a number");
    good(cx, words, "{'missing_impute': ['two']}", &r, &out);
    CHECK(out && isnan(cell(cx, out, "v", 1)) && cell(cx, out, "v", 2) == 3);
    fed_free(&r, 1);
    good(cx, words, "{'outlier_replace': true, 'outlier_impute': ['two'], 'outlier_replace_method': 'max'}",
         &r, &out);
    CHECK(out && cell(cx, out, "v", 1) == 3);
    fed_free(&r, 1);
}

static void labels(struct ctx *cx)
{
    static const double a[] = {1, 2, 3}, half[] = {0, 0.5, 1}, hole[] = {0, 1, MISSING};
    static const char *const word[] = {"no", "yes", "no"};
    const struct given g[] = {{"a", KIND_FEATURE, a, NULL, NULL},
                              {"half", KIND_FEATURE, half, NULL, NULL},
                              {"hole", KIND_FEATURE, hole, NULL, NULL},
                              {"word", KIND_FEATURE, NULL, NULL, word}};
    const struct table *t = make(cx, 3, g, 3), *u = make(cx, 3, g, 4), *out;
    struct fed_result r;
    good(cx, t, "{'with_label': true, 'label_name': 'a'}", &r, &out);
    CHECK(out && table_label(out)->type == COL_I64);
    fed_free(&r, 1);
    good(cx, t, "{'with_label': true, 'label_name': 'half', 'label_type': 'float'}", &r, &out);
    CHECK(out && cell(cx, out, "half", 1) == 0.5 && inode(cx, out) == inode(cx, t));
    fed_free(&r, 1);
    good(cx, u, "{'with_label': true, 'label_name': 'word', 'label_type': 'str'}", &r, &out);
    CHECK(out && text_is(out, "word", 1, "yes"));
    fed_free(&r, 1);
    bad(cx, t, "{'with_label': true, 'label_name': 'half'}", ERR_FORMAT,
        "label column half, row 2 is not an integer");
    bad(cx, t, "{'with_label': true, 'label_name': 'hole'}", ERR_FORMAT,
        "label column hole, row 3 is missing");
    bad(cx, t, "{'with_label': true, 'label_name': 'hole', 'missing_fill': true}", ERR_FORMAT,
        "row 3 is missing");
    bad(cx, u, "{'with_label': true, 'label_name': 'word'}", ERR_FORMAT,
        "label column word, row 1 is not a number");
    bad(cx, t, "{'with_label': true}", ERR_ARG, "label_name is y, but the table's columns are a, half, hole");
}

/* ---- predicting ---- */

static void predicts_like_training(struct ctx *cx)
{
    static const double a[] = {1, MISSING, 3}, b[] = {10, 20, 60}, pa[] = {MISSING, 5}, pb[] = {MISSING, 70},
                        junk[] = {1, 2};
    static const int64_t y[] = {0, 1, 0};
    const struct given train[] = {{"y", KIND_LABEL, NULL, y, NULL},
                                  {"a", KIND_FEATURE, a, NULL, NULL},
                                  {"b", KIND_FEATURE, b, NULL, NULL}};
    const struct given test[] = {{"b", KIND_FEATURE, pb, NULL, NULL},
                                 {"junk", KIND_FEATURE, junk, NULL, NULL},
                                 {"a", KIND_FEATURE, pa, NULL, NULL}};
    const struct given labelled[] = {{"y", KIND_LABEL, NULL, y, NULL},
                                     {"a", KIND_FEATURE, junk, NULL, NULL},
                                     {"b", KIND_FEATURE, junk, NULL, NULL}};
    struct fed_result fit, r;
    const struct table *out, *full = make(cx, 2, labelled, 3);
    good(cx, make(cx, 3, train, 3),
         "{'with_label': true, 'missing_fill': true, 'missing_fill_method': 'mean', 'outlier_replace': true, "
         "'outlier_impute': [70], 'outlier_replace_value': -1}",
         &fit, &out);
    const struct model_part *model = fit.task.model_out;
    transform(cx, make(cx, 2, test, 3), ROLE_GUEST, "{'missing_fill': false}", model, &r,
              &out); /* the model's rules hold */
    if (r.code) printf("# %s\n", r.msg);
    CHECK(r.code == ERR_OK && out && out->n_cols == 2 && !table_label(out));
    if (out) {
        CHECK(strcmp(out->cols[0].name, "a") == 0 && strcmp(out->cols[1].name, "b") == 0);
        CHECK(strcmp(out->cols[1].anonymous, "guest_9999_x1") == 0);
        CHECK(cell(cx, out, "a", 0) == 2 && cell(cx, out, "a", 1) == 5);
        CHECK(cell(cx, out, "b", 0) == 30 && cell(cx, out, "b", 1) == -1);
    }
    CHECK(r.summary == NULL && r.task.model_out == NULL);
    fed_free(&r, 1);
    transform(cx, full, ROLE_GUEST, NULL, model, &r, &out); /* nothing to do: shared, with its label */
    CHECK(r.code == ERR_OK && out && table_label(out) && inode(cx, out) == inode(cx, full));
    fed_free(&r, 1);
    transform(cx, make(cx, 2, test, 2), ROLE_GUEST, NULL, model, &r, &out);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "no column a") && strstr(r.msg, "b, junk"));
    fed_free(&r, 1);
    struct model_part broken = *model;
    broken.buffers[1].pb.n -= 3;
    transform(cx, full, ROLE_GUEST, NULL, &broken, &r, &out);
    CHECK(r.code == ERR_FORMAT && strstr(r.msg, "DataTransformParam"));
    fed_free(&r, 1);
    fed_free(&fit, 1);
}

/* More rows than a block and a batch, chosen from a larger table in another order, with threads. */
static void many_rows(struct ctx *cx)
{
    enum { N = 150001, HALF = N / 2 };
    double *x = NEW(cx, double, N), *z = NEW(cx, double, N), sum = 0;
    uint32_t *rows = NEW(cx, uint32_t, HALF);
    size_t n = 0;
    for (size_t i = 0; i < N; i++)
        x[i] = i % 7 == 3 ? MISSING : (double)(i % 1000), z[i] = (double)i;
    for (size_t i = 0; i < HALF; i++) {
        rows[i] = (uint32_t)(N - 1 - 2 * i);
        if (!isnan(x[rows[i]])) sum += x[rows[i]], n++;
    }
    const struct given g[] = {{"x", KIND_FEATURE, x, NULL, NULL}, {"z", KIND_FEATURE, z, NULL, NULL}};
    const char *path = arena_printf(cx->mem, "%s/d", fed_dir(cx, "derived"));
    const struct table *t = NULL, *out;
    struct fed_result r;
    CHECK_OK(cx, table_derive(cx, path, make(cx, N, g, 2), rows, HALF, NULL, NULL));
    CHECK_OK(cx, table_open(cx, path, &t));
    good(cx, t, "{'missing_fill': true, 'missing_fill_method': 'mean'}", &r, &out);
    CHECK(out && out->n_rows == HALF && out->n_physical == HALF);
    size_t wrong = 0;
    double *back = NEW(cx, double, HALF), *zb = NEW(cx, double, HALF);
    if (out) {
        CHECK_OK(cx, table_read_f64(cx, out, table_column(out, "x"), 0, HALF, back));
        CHECK_OK(cx, table_read_f64(cx, out, table_column(out, "z"), 0, HALF, zb));
    }
    for (size_t i = 0; i < HALF && out; i++) {
        double want = isnan(x[rows[i]]) ? sum / (double)n : x[rows[i]];
        struct bytes a = table_id(t, i), b = table_id(out, i);
        wrong +=
            !same_number(back[i], want) || zb[i] != z[rows[i]] || a.n != b.n || memcmp(a.p, b.p, a.n) != 0;
    }
    CHECK(wrong == 0);
    fed_free(&r, 1);
}

/* ---- refusals ---- */

static void refuses(struct ctx *cx)
{
    static const double a[] = {MISSING, MISSING}, b[] = {1, 2};
    static const char *const c[] = {"p", NULL};
    const struct given g[] = {{"a", KIND_FEATURE, a, NULL, NULL},
                              {"b", KIND_FEATURE, b, NULL, NULL},
                              {"c", KIND_FEATURE, NULL, NULL, c}};
    const struct given odd[] = {{"a;b", KIND_FEATURE, b, NULL, NULL}},
                       pred[] = {{"score", KIND_PREDICTION, b, NULL, NULL}};
    const struct table *t = make(cx, 2, g, 2), *text = make(cx, 2, g, 3);
    static const struct {
        const char *params;
        enum err_code code;
        const char *says;
    } table[] = {
        {"{'input_format': 'sparse'}", ERR_UNSUPPORTED, "input_format is sparse"},
        {"{'input_format': 'tag'}", ERR_UNSUPPORTED, "input_format is tag"},
        {"{'input_format': 'svm'}", ERR_ARG, "want one of dense"},
        {"{'tag_with_value': true}", ERR_UNSUPPORTED, "tag_with_value"},
        {"{'with_match_id': true}", ERR_UNSUPPORTED, "with_match_id"},
        {"{'match_id_name': 'phone'}", ERR_UNSUPPORTED, "match_id_name"},
        {"{'delimitor': ''}", ERR_ARG, "delimitor is empty"},
        {"{'data_type': 'double'}", ERR_ARG, "data_type"},
        {"{'exclusive_data_type': {'a': 'double'}}", ERR_ARG, "exclusive_data_type.a"},
        {"{'exclusive_data_type': {'a': 3}}", ERR_ARG, "exclusive_data_type.a"},
        {"{'missing_fill_method': 'median'}", ERR_ARG, "missing_fill_method"},
        {"{'missing_impute': [true]}", ERR_ARG, "missing_impute[0]"},
        {"{'default_value': {}}", ERR_ARG, "default_value"},
        {"{'default_value': [1, null]}", ERR_ARG, "default_value[1]"},
        {"{'with_label': true, 'label_name': null}", ERR_ARG, "label_name is null"},
        {"{'with_label': 1}", ERR_ARG, "with_label"},
        {"{'missing_filling': true}", ERR_ARG, "did you mean missing_fill"},
        {"{'missing_fill': true, 'default_value': [1, 2, 3]}", ERR_ARG, "3 values, but the table has 2"},
        {"{'missing_fill': true, 'default_value': 'many'}", ERR_ARG, "column a is not a number"},
        {"{'missing_fill': true, 'missing_fill_method': 'mean'}", ERR_ARG, "column a has no cell left"},
    };
    for (size_t i = 0; i < LEN(table); i++)
        bad(cx, t, table[i].params, table[i].code, table[i].says);
    bad(cx, text,
        "{'exclusive_data_type': {'c': 'str'}, 'missing_fill': true, 'missing_fill_method': 'max', "
        "'missing_impute': []}",
        ERR_ARG, "column");
    bad(cx, make(cx, 2, odd, 1), "{'delimitor': ';'}", ERR_ARG, "holds the delimitor");
    bad(cx, make(cx, 2, pred, 1), "{}", ERR_ARG, "prediction table");
    bad(cx, make(cx, 0, g, 1), "{}", ERR_ARG, "no rows");
}

/* Whatever the arena's bound, the outcome is a table or NOMEM, and then no table. */
static void out_of_memory(struct ctx *cx)
{
    static const char *const designated[] = {"0"}, *const match[] = {"", "-999"};
    enum { ROWS = 40, COLS = 200 };
    double *x = NEW(cx, double, ROWS *COLS);
    for (size_t i = 0; i < ROWS * COLS; i++)
        x[i] = i % 7 ? (double)i : MISSING;
    const struct table *t = fed_table(cx, arena_printf(cx->mem, "%s/t", fed_dir(cx, "wide")), ROWS, COLS, x,
                                      "x", NULL, (struct party){ROLE_GUEST, 9999});
    size_t n_ok = 0, n_full = 0;
    for (size_t cap = 4096; cap < 16u << 20 && n_ok < 3; cap += cap / 4) {
        struct arena *mem = arena_new(cap);
        struct ctx small = {.mem = mem};
        const char *path = arena_printf(cx->mem, "%s/out", fed_dir(cx, "oom"));
        struct dt_rule rule = {.name = "missing_fill",
                               .on = true,
                               .method = DT_MEAN,
                               .strategy = "mean",
                               .match = match,
                               .n_match = 2,
                               .listed = true,
                               .designated = designated,
                               .n_designated = 1};
        struct dt_spec spec = {
            .delimitor = ",", .data_type = "float64", .output_format = "dense", .missing = rule};
        spec.outlier = (struct dt_rule){.name = "outlier_replace", .strategy = ""};
        status st = dt_transform(&small, t, "guest_9999", true, &spec, path, NULL, NULL);
        CHECK(st.code == ERR_OK || st.code == ERR_NOMEM);
        struct stat file;
        CHECK((stat(path, &file) == 0) == (st.code == ERR_OK));
        n_ok += st.code == ERR_OK, n_full += st.code == ERR_NOMEM;
        arena_free(mem);
    }
    CHECK(n_ok == 3 && n_full > 5);
}

TEST_MAIN(T(recorded), T(reads_fates_model), T(names_and_kinds), T(fills_like_sklearn), T(designated_values),
          T(types), T(labels), T(predicts_like_training), T(many_rows), T(refuses), T(out_of_memory))
