/* Evaluation against what a real FATE answered (its two recorded jobs; skipped where they are not on this machine), against
 * scikit-learn's values, and what it refuses. */
#include "base/num.h"
#include "tests/fed/fed.h"
#include "tests/vectors/evaluation.h"
#include <math.h>

/* ---- prediction tables ---- */

struct prediction {
    double label, result, score;
    const char *detail, *type; /* NULL: "{}", "train" */
};

static const struct table *prediction_table(struct ctx *cx, const struct prediction *p, size_t n,
                                            bool text_label)
{
    const struct column_spec spec[] = {{"label", NULL, text_label ? COL_STR : COL_F64, KIND_LABEL},
                                       {"predict_result", NULL, COL_F64, KIND_PREDICTION},
                                       {"predict_score", NULL, COL_F64, KIND_PREDICTION},
                                       {"predict_detail", NULL, COL_STR, KIND_PREDICTION},
                                       {"type", NULL, COL_STR, KIND_PREDICTION}};
    CLEANUP(buf_free) struct buf ids = {0};
    uint64_t *off = NEW(cx, uint64_t, n + 1);
    double *label = NEW(cx, double, n + 1), *result = NEW(cx, double, n + 1), *score = NEW(cx, double, n + 1);
    struct bytes *texts = NEW(cx, struct bytes, n + 1), *detail = NEW(cx, struct bytes, n + 1),
                 *type = NEW(cx, struct bytes, n + 1);
    for (size_t i = 0; i < n; i++) {
        const char *d = p[i].detail ? p[i].detail : "{}", *t = p[i].type ? p[i].type : "train";
        buf_printf(&ids, "p%zu", i), off[i + 1] = ids.n;
        label[i] = p[i].label, result[i] = p[i].result, score[i] = p[i].score;
        const char *text = p[i].label == 1 ? "yes" : p[i].label == 0 ? "no" : NULL;
        texts[i] = (struct bytes){(const uint8_t *)text, text ? strlen(text) : 0};
        detail[i] = (struct bytes){(const uint8_t *)d, strlen(d)};
        type[i] = (struct bytes){(const uint8_t *)t, strlen(t)};
    }
    const char *path = arena_printf(cx->mem, "%s/t", fed_dir(cx, "predictions"));
    const void *cols[] = {text_label ? (const void *)texts : (const void *)label, result, score, detail,
                          type};
    struct table_writer *w;
    const struct table *t = NULL;
    CHECK_OK(cx, table_writer_new(cx, path, "id", spec, LEN(spec), &w));
    CHECK_OK(cx, table_writer_append(cx, w, n, off, n ? (const char *)ids.p : "", cols));
    CHECK_OK(cx, table_writer_finish(cx, w, NULL));
    table_writer_free(w);
    CHECK_OK(cx, table_open(cx, path, &t));
    return t;
}

static void run(const struct table *t, const char *component, const char *params, struct fed_result *r)
{
    struct fed_arg arg = {.role = ROLE_GUEST,
                          .id = 9999,
                          .params = params,
                          .input = {{"data", "m.data", component, t}},
                          .n_inputs = 1};
    fed_run("Evaluation", &arg, 1, NULL, r);
}

static json_t *metric(const struct fed_result *r, const char *name)
{
    return json_object_get(r->metrics, name);
}

/* The value of a metric of single values: NaN when it is not there. */
static double value(const struct fed_result *r, const char *name, const char *what)
{
    json_t *p, *points = json_object_get(metric(r, name), "points");
    size_t i;
    json_array_foreach(points, i, p) if (strcmp(json_string_value(json_array_get(p, 0)), what) ==
                                         0) return json_number_value(json_array_get(p, 1));
    return (double)NAN;
}

static bool near(double a, double b, double by)
{
    return fabs(a - b) <= by;
}

/* ---- the recorded jobs ---- */

struct csv {
    size_t n, cols;
    char (*id)[32];
    double *x; /* row-major, without the id */
};

static void load_csv(struct ctx *cx, const char *path, struct csv *out)
{
    static char line[65536];
    FILE *f = fopen(path, "r");
    CHECK(f && fgets(line, sizeof line, f));
    for (const char *c = line; *c; c++)
        out->cols += *c == ',';
    out->id = (char(*)[32])NEW(cx, char, 32 * 1000);
    out->x = NEW(cx, double, 1000 * out->cols);
    while (f && out->n < 1000 && fgets(line, sizeof line, f)) {
        const char *at = line;
        for (size_t j = 0; j <= out->cols; j++) {
            size_t n = strcspn(at, ",\r\n");
            if (j == 0)
                memcpy(out->id[out->n], at, n < 31 ? n : 31);
            else
                CHECK(num_parse_f64(at, n, &out->x[out->n * out->cols + j - 1]));
            at += n + 1;
        }
        out->n++;
    }
    if (f) fclose(f);
}

static const double *row_of(const struct csv *c, const char *id)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->id[i], id) == 0) return c->x + i * c->cols;
    return NULL;
}

static json_t *golden_json(struct ctx *cx, const char *job, const char *file)
{
    const char *path = test_shared(cx, arena_printf(cx->mem, "golden/%s/%s.json", job, file));
    json_error_t e;
    json_t *j = path ? json_load_file(path, 0, &e) : NULL;
    return j;
}

struct recorded {
    struct csv guest, host;
    json_t *guest_model, *host_model;
};

static double tree_score(const struct recorded *g, const double *xg, const double *xh)
{
    json_t *tg = js_at(g->guest_model, "response.data.trees"),
           *th = js_at(g->host_model, "response.data.trees");
    double rate = json_number_value(js_at(g->guest_model, "response.meta.meta_data.learningRate")), sum = 0;
    for (size_t t = 0; t < json_array_size(tg); t++) {
        json_t *mine = json_array_get(tg, t), *theirs = json_array_get(th, t);
        for (json_int_t at = 0;;) {
            json_t *v = json_array_get(json_object_get(mine, "tree"), (size_t)at);
            if (json_is_true(json_object_get(v, "isLeaf"))) {
                sum += rate * json_number_value(json_object_get(v, "weight"));
                break;
            }
            bool own = strncmp(json_string_value(json_object_get(v, "sitename")), "guest", 5) == 0;
            json_t *of = own ? mine : theirs, *w = json_array_get(json_object_get(of, "tree"), (size_t)at);
            char key[16];
            snprintf(key, sizeof key, "%d", (int)at);
            double cut = json_number_value(json_object_get(json_object_get(of, "splitMaskdict"), key));
            size_t f = (size_t)json_integer_value(json_object_get(w, "fid"));
            bool left = (own ? xg[1 + f] : xh[f]) <= cut + 1e-8;
            at = json_integer_value(json_object_get(v, left ? "leftNodeid" : "rightNodeid"));
        }
    }
    return 1 / (1 + exp(-sum));
}

static double linear_score(const struct recorded *g, const double *xg, const double *xh)
{
    json_t *wg = js_at(g->guest_model, "response.data.weight"),
           *wh = js_at(g->host_model, "response.data.weight");
    double z = json_number_value(js_at(g->guest_model, "response.data.intercept"));
    char name[32];
    for (size_t j = 0; j + 1 < g->guest.cols; j++) {
        snprintf(name, sizeof name, "x%zu", j);
        z += xg[1 + j] * json_number_value(json_object_get(wg, name));
    }
    for (size_t j = 0; j < g->host.cols; j++) {
        snprintf(name, sizeof name, "x%zu", j);
        z += xh[j] * json_number_value(json_object_get(wh, name));
    }
    return 1 / (1 + exp(-z));
}

/* Numbers to 1e-9, everything else the same. Prints the first difference. */
static bool same(struct ctx *cx, const char *at, const json_t *want, const json_t *got)
{
    bool ok = json_typeof(want) == json_typeof(got) || (json_is_number(want) && json_is_number(got));
    if (ok && json_is_number(want)) ok = near(json_number_value(want), json_number_value(got), 1e-9);
    if (ok && json_is_string(want)) ok = strcmp(json_string_value(want), json_string_value(got)) == 0;
    if (ok && json_is_array(want)) {
        ok = json_array_size(want) == json_array_size(got);
        for (size_t i = 0; i < json_array_size(want) && ok; i++)
            if (!same(cx, arena_printf(cx->mem, "%s[%zu]", at, i), json_array_get(want, i),
                      json_array_get(got, i)))
                return false;
    }
    if (ok && json_is_object(want)) {
        const char *key;
        json_t *v;
        ok = json_object_size(want) == json_object_size(got);
        json_object_foreach((json_t *)want, key, v)
        {
            json_t *other = json_object_get(got, key);
            if (!other || !same(cx, arena_printf(cx->mem, "%s.%s", at, key), v, other)) {
                if (!other) printf("# %s.%s is not there\n", at, key);
                return false;
            }
        }
    }
    if (!ok) {
        char *a = json_dumps(want, JSON_ENCODE_ANY), *b = json_dumps(got, JSON_ENCODE_ANY);
        printf("# %s: want %.200s, got %.200s\n", at, a, b);
        free(a), free(b);
    }
    return ok;
}

static void compare_job(struct ctx *cx, const char *job, const char *component,
                        double (*score)(const struct recorded *, const double *, const double *))
{
    struct recorded g = {0};
    struct fed_result r;
    load_csv(cx, test_shared(cx, "data/breast_hetero_guest.csv"), &g.guest);
    load_csv(cx, test_shared(cx, "data/breast_hetero_host.csv"), &g.host);
    g.guest_model = golden_json(cx, job, arena_printf(cx->mem, "guest.%s.output_model", component));
    g.host_model = golden_json(cx, job, arena_printf(cx->mem, "host.%s.output_model", component));
    struct prediction *p = NEW(cx, struct prediction, g.guest.n);
    for (size_t i = 0; i < g.guest.n; i++) {
        const double *xg = g.guest.x + i * g.guest.cols, *xh = row_of(&g.host, g.guest.id[i]);
        p[i] = (struct prediction){.label = xg[0], .score = xh ? score(&g, xg, xh) : (double)NAN};
        p[i].result = p[i].score > 0.5;
    }
    run(prediction_table(cx, p, g.guest.n, false), component, "{\"eval_type\": \"binary\"}", &r);
    if (r.code) printf("# %s\n", r.msg);
    CHECK(r.code == ERR_OK);
    json_t *answer = golden_json(cx, job, "guest.evaluation_0.metric_all"), *metrics, *m;
    const char *ns, *name;
    size_t n = 0;
    json_object_foreach(js_at(answer, "response.data"), ns, metrics)
    {
        json_object_foreach(metrics, name, m)
        {
            const char *full = arena_printf(cx->mem, "%s/%s", ns, name);
            json_t *got = metric(&r, full);
            CHECK(got != NULL);
            CHECK(got && same(cx, full, json_object_get(m, "meta"), json_object_get(got, "meta")));
            CHECK(got && same(cx, full, json_object_get(m, "data"), json_object_get(got, "points")));
            n++;
        }
    }
    CHECK(n == 12 && n == json_object_size(r.metrics));
    json_t *summary = golden_json(cx, job, "guest.evaluation_0.summary");
    CHECK(same(cx, "summary", js_at(summary, "response.data"), r.summary));
    json_t *list = golden_json(cx, job, "guest.evaluation_0.metrics");
    size_t i = 0;
    json_object_foreach(r.metrics, name, m)
    { /* in FATE's order, too */
        const char *want = json_string_value(json_array_get(js_at(list, "response.data.train"), i++));
        CHECK(want && strcmp(name + 6, want) == 0);
    }
    json_decref(answer), json_decref(summary), json_decref(list);
    json_decref(g.guest_model), json_decref(g.host_model);
    fed_free(&r, 1);
}

static void recorded_trees(struct ctx *cx)
{
    if (!test_shared(cx, "golden/hetero_secureboost/guest.evaluation_0.metric_all.json"))
        SKIP("no shared data");
    compare_job(cx, "hetero_secureboost", "hetero_secure_boost_0", tree_score);
}

static void recorded_linear(struct ctx *cx)
{
    if (!test_shared(cx, "golden/hetero_lr/guest.evaluation_0.metric_all.json")) SKIP("no shared data");
    compare_job(cx, "hetero_lr", "hetero_lr_0", linear_score);
}

/* ---- scikit-learn's values ---- */

static json_t *meta(const struct fed_result *r, const char *name, const char *key)
{
    return json_object_get(json_object_get(metric(r, name), "meta"), key);
}

static double item(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

/* y of point i. */
static double point(const struct fed_result *r, const char *name, size_t i, size_t axis)
{
    return item(json_array_get(json_object_get(metric(r, name), "points"), i), axis);
}

static double in_summary(const struct fed_result *r, const char *path)
{
    const json_t *j = js_at(r->summary, path);
    return j ? json_number_value(j) : (double)NAN;
}

static struct prediction *binary_rows(struct ctx *cx, size_t *n)
{
    struct prediction *p = NEW(cx, struct prediction, LEN(bin_y) + LEN(val_y));
    *n = 0;
    for (size_t i = 0; i < LEN(bin_y); i++)
        p[(*n)++] = (struct prediction){bin_y[i], bin_s[i] > 0.5, bin_s[i], NULL, "train"};
    for (size_t i = 0; i < LEN(val_y); i++)
        p[(*n)++] = (struct prediction){val_y[i], val_s[i] > 0.5, val_s[i], NULL, "validate"};
    return p;
}

static void binary_answers(struct ctx *cx)
{
    size_t n;
    struct prediction *p = binary_rows(cx, &n);
    struct fed_result r;
    run(prediction_table(cx, p, n, false), "m", NULL, &r);
    CHECK(r.code == ERR_OK && r.done == n && r.all == n);
    CHECK(near(in_summary(&r, "m.train.auc"), bin_auc, 1e-12) &&
          near(in_summary(&r, "m.train.ks"), bin_ks, 1e-12));
    CHECK(near(value(&r, "train/m", "auc"), bin_auc, 5e-7) && near(value(&r, "train/m", "ks"), bin_ks, 5e-7));
    CHECK(isfinite(in_summary(&r, "m.validate.auc")));
    static const size_t at[] = {10, 30, 50, 70};
    for (size_t i = 0; i < LEN(bin_f1); i++)
        CHECK(near(item(meta(&r, "train/m_f1_score", "f1_scores"), at[i]), bin_f1[i], 5e-7));
    for (size_t i = 0; i < LEN(bin_accuracy); i++) { /* point k of 100 is at distinct score k * n / 100 */
        static const size_t score[] = {0, 5, 20};
        const json_t *thresholds = meta(&r, "train/m_accuracy", "thresholds");
        size_t k = 0, distinct = 0;
        for (; k + 1 < 100 && distinct < score[i]; k++)
            distinct += item(thresholds, k + 1) != item(thresholds, k);
        CHECK(near(point(&r, "train/m_accuracy", k, 1), bin_accuracy[i], 5e-7));
    }
    const json_t *roc = meta(&r, "train/m_roc", "thresholds");
    CHECK(json_array_size(roc) == LEN(bin_fpr) + 1);
    for (size_t i = 0; i < LEN(bin_fpr); i++)
        CHECK(near(point(&r, "train/m_roc", i, 0), bin_fpr[i], 5e-7) &&
              near(point(&r, "train/m_roc", i, 1), bin_tpr[i], 5e-7) && near(item(roc, i), bin_thr[i], 5e-7));
    fed_free(&r, 1);
}

static void moved_scores(struct ctx *cx)
{
    size_t n;
    struct prediction *p = binary_rows(cx, &n);
    struct fed_result r;
    run(prediction_table(cx, p, n, false), "m", "{\"metrics\": [\"PSI\"]}", &r);
    CHECK(r.code == ERR_OK && r.summary == NULL && json_object_size(r.metrics) == 1);
    const char *psi = "validate/m_psi";
    CHECK(strcmp(json_string_value(meta(&r, psi, "metric_type")), "PSI") == 0);
    CHECK(near(json_number_value(meta(&r, psi, "total_psi")), psi_total, 1e-6));
    CHECK(json_array_size(meta(&r, psi, "intervals")) == LEN(psi_train));
    CHECK(strcmp(json_string_value(json_array_get(meta(&r, psi, "intervals"), 0)), "[0.0, 0.03)") == 0);
    CHECK(strcmp(json_string_value(json_array_get(meta(&r, psi, "intervals"), LEN(psi_train) - 1)),
                 "[0.96, 1.0]") == 0);
    for (size_t i = 0; i < LEN(psi_train); i++) {
        CHECK(item(meta(&r, psi, "expected_interval"), i) == psi_train[i]);
        CHECK(item(meta(&r, psi, "actual_interval"), i) == psi_validate[i]);
        CHECK(near(item(meta(&r, psi, "psi_scores"), i), psi_scores[i], 1e-6));
        CHECK(near(item(meta(&r, psi, "train_pos_perc"), i), psi_train_pos[i], 1e-12));
        CHECK(near(item(meta(&r, psi, "validate_pos_perc"), i), psi_validate_pos[i], 1e-12));
    }
    fed_free(&r, 1);
}

/* The positive class by number, by number as a text, and by a text where labels are texts. */
static void positive_label(struct ctx *cx)
{
    size_t n;
    struct prediction *p = binary_rows(cx, &n), *q = NEW(cx, struct prediction, n);
    static const char *const same_class[] = {"{\"pos_label\": 7}", "{\"pos_label\": \"7\"}",
                                             "{\"pos_label\": 7.0}"};
    struct fed_result r;
    n = LEN(bin_y);
    for (size_t i = 0; i < n; i++)
        q[i] = p[i], q[i].label = p[i].label == 1 ? 7 : -1;
    const struct table *t = prediction_table(cx, q, n, false), *text = prediction_table(cx, p, n, true);
    for (size_t i = 0; i < LEN(same_class); i++) {
        run(t, "m", same_class[i], &r);
        CHECK(r.code == ERR_OK && near(in_summary(&r, "m.train.auc"), bin_auc, 1e-12));
        fed_free(&r, 1);
    }
    run(t, "m", "{\"pos_label\": -1}", &r);
    CHECK(r.code == ERR_OK && near(in_summary(&r, "m.train.auc"), 1 - bin_auc, 1e-12));
    fed_free(&r, 1);
    run(text, "m", "{\"pos_label\": \"yes\"}", &r);
    CHECK(r.code == ERR_OK && near(in_summary(&r, "m.train.auc"), bin_auc, 1e-12));
    fed_free(&r, 1);
    run(text, "m", "{\"pos_label\": \"maybe\"}", &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "0 of 60"));
    fed_free(&r, 1);
    run(t, "m", "{\"pos_label\": \"yes\"}", &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "pos_label"));
    fed_free(&r, 1);
}

static void regression_answers(struct ctx *cx)
{
    struct prediction *p = NEW(cx, struct prediction, LEN(reg_y));
    struct fed_result r;
    for (size_t i = 0; i < LEN(reg_y); i++)
        p[i] = (struct prediction){reg_y[i], reg_p[i], reg_p[i], NULL, "predict"};
    const struct table *t = prediction_table(cx, p, LEN(reg_y), false);
    run(t, "m", "{\"eval_type\": \"Regression\"}", &r);
    CHECK(r.code == ERR_OK && json_object_size(r.metrics) == 1);
    CHECK(json_object_size(js_at(r.summary, "m.predict")) == 6);
    CHECK(near(in_summary(&r, "m.predict.explained_variance"), reg_explained_variance, 1e-12));
    CHECK(near(in_summary(&r, "m.predict.mean_absolute_error"), reg_mean_absolute_error, 1e-12));
    CHECK(near(in_summary(&r, "m.predict.mean_squared_error"), reg_mean_squared_error, 1e-12));
    CHECK(near(in_summary(&r, "m.predict.median_absolute_error"), reg_median_absolute_error, 1e-12));
    CHECK(near(in_summary(&r, "m.predict.r2_score"), reg_r2_score, 1e-12));
    CHECK(near(in_summary(&r, "m.predict.root_mean_squared_error"), reg_root_mean_squared_error, 1e-12));
    CHECK(near(value(&r, "predict/m", "r2_score"), reg_r2_score, 5e-7));
    fed_free(&r, 1);
    run(t, "m", "{\"eval_type\": \"regression\", \"metrics\": [\"MSLE\", \"rmse\", \"l2_root\"]}", &r);
    CHECK(r.code == ERR_OK && json_object_size(js_at(r.summary, "m.predict")) == 2);
    CHECK(near(in_summary(&r, "m.predict.mean_squared_log_error"), reg_mean_squared_log_error, 1e-12));
    fed_free(&r, 1);
}

static void multi_answers(struct ctx *cx)
{
    static const size_t class_number[] = {0, 1, 3, 4};
    struct prediction *p = NEW(cx, struct prediction, LEN(mul_y));
    struct fed_result r;
    double precision = 0, recall = 0;
    for (size_t i = 0; i < LEN(mul_y); i++) {
        const double *w = mul_detail[i];
        p[i] = (struct prediction){mul_y[i], mul_p[i], 0.5,
                                   arena_printf(cx->mem, "{'0': %.17g, '1': %.17g, \"3\":%.17g, '4': %.17g}",
                                                w[0], w[1], w[2], w[3]),
                                   "train"};
    }
    const struct table *t = prediction_table(cx, p, LEN(mul_y), false);
    run(t, "m", "{\"eval_type\": \"multi\", \"unfold_multi_result\": true}", &r);
    if (r.code) printf("# %s\n", r.msg);
    CHECK(r.code == ERR_OK);
    for (size_t k = 0; k < 4; k++)
        precision += mul_precision[k] / 4, recall += mul_recall[k] / 4;
    CHECK(near(in_summary(&r, "m.train.accuracy"), mul_accuracy, 1e-12));
    CHECK(near(in_summary(&r, "m.train.precision"), precision, 1e-12));
    CHECK(near(in_summary(&r, "m.train.recall"), recall, 1e-12));
    CHECK(json_array_size(json_object_get(metric(&r, "train/m_precision"), "points")) == 5);
    CHECK(point(&r, "train/m_precision", 2, 0) == 2 && point(&r, "train/m_precision", 2, 1) == 0);
    for (size_t k = 0; k < 4; k++) {
        CHECK(near(point(&r, "train/m_precision", class_number[k], 1), mul_precision[k], 5e-7));
        CHECK(near(point(&r, "train/m_recall", class_number[k], 1), mul_recall[k], 5e-7));
        const char *digit = arena_printf(cx->mem, "%zu", class_number[k]),
                   *train = arena_printf(cx->mem, "train/m_class_%s_ovr", digit),
                   *validate = arena_printf(cx->mem, "validate/m_class_%s_ovr", digit);
        CHECK(near(json_number_value(json_object_get(meta(&r, train, digit), "auc")), mul_auc[k], 1e-12));
        CHECK(strcmp(json_string_value(meta(&r, train, "metric_type")), "ovr") == 0);
        CHECK(metric(&r, validate) && !meta(&r, validate, digit)); /* FATE's empty entry */
    }
    CHECK(metric(&r, "train/m_accuracy") == NULL);
    fed_free(&r, 1);
}

/* ---- inputs ---- */

static void several_inputs(struct ctx *cx)
{
    size_t n;
    struct prediction *p = binary_rows(cx, &n);
    const struct table *t = prediction_table(cx, p, n, false);
    struct fed_arg arg = {.role = ROLE_HOST,
                          .id = 10000,
                          .params = "{\"metrics\": [\"auc\", \"recall\"]}",
                          .input = {{"data", "a.data", "a", t}, {"data", "b.data", "b", t}},
                          .n_inputs = 2};
    struct fed_result r;
    fed_run("Evaluation", &arg, 1, NULL, &r);
    CHECK(r.code == ERR_OK && json_object_size(r.summary) == 2 && json_object_size(r.metrics) == 12);
    CHECK(metric(&r, "train/a_precision") && metric(&r, "validate/b_recall"));
    CHECK(in_summary(&r, "a.train.auc") == in_summary(&r, "b.train.auc"));
    fed_free(&r, 1);
    arg.input[1].component = "a";
    fed_run("Evaluation", &arg, 1, NULL, &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "b.data"));
    fed_free(&r, 1);
    arg.n_inputs = 0; /* a host whose model gave it no predictions */
    fed_run("Evaluation", &arg, 1, NULL, &r);
    CHECK(r.code == ERR_OK && r.summary == NULL && json_object_size(r.metrics) == 0);
    fed_free(&r, 1);
    arg.n_inputs = 1, arg.params = "{\"need_run\": false}";
    fed_run("Evaluation", &arg, 1, NULL, &r);
    CHECK(r.code == ERR_OK && r.summary == NULL && json_object_size(r.metrics) == 0);
    fed_free(&r, 1);
}

static void refuses_parameters(struct ctx *cx)
{
    static const struct {
        const char *params;
        enum err_code code;
        const char *says;
    } bad[] = {
        {"{\"eval_type\": \"clustering\"}", ERR_UNSUPPORTED, "clustering"},
        {"{\"metrics\": [\"davies_bouldin_index\"]}", ERR_UNSUPPORTED, "davies_bouldin_index"},
        {"{\"metrics\": [\"auc\", \"ouch\"]}", ERR_ARG, "ouch"},
        {"{\"metrics\": [1]}", ERR_ARG, "metrics[0]"},
        {"{\"metrics\": [\"rmse\"]}", ERR_ARG, "root_mean_squared_error"},
        {"{\"eval_type\": \"multi\", \"metrics\": [\"auc\"]}", ERR_ARG, "auc"},
        {"{\"unfold_multi_result\": true}", ERR_ARG, "unfold_multi_result"},
        {"{\"pos_label\": [1]}", ERR_ARG, "pos_label"},
        {"{\"run_clustering_arbiter_metric\": true}", ERR_UNSUPPORTED, "run_clustering_arbiter_metric"},
        {"{\"metric\": []}", ERR_ARG, "did you mean metrics"},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        CLEANUP(json_decrefp) json_t *given = NULL;
        CLEANUP(json_decrefp) json_t *all = NULL;
        CHECK_OK(cx, js_parse(cx, "test", bad[i].params, strlen(bad[i].params), &given));
        status st = component_params(cx, component_find("Evaluation"), "evaluation_0", given, &all);
        if (st.code != bad[i].code || !strstr(cx->err.msg, bad[i].says))
            printf("# %s: %s\n", bad[i].params, st.code ? cx->err.msg : "accepted");
        CHECK(st.code == bad[i].code && strstr(cx->err.msg, bad[i].says));
        CHECK(strstr(cx->err.msg, "evaluation_0"));
    }
}

static void refuses_tables(struct ctx *cx)
{
    static const double x[] = {1, 2, 3, 4};
    struct prediction p[4] = {
        {0, 0, 0.1, NULL, NULL}, {1, 1, 0.9, NULL, NULL}, {0, 0, 0.2, NULL, NULL}, {1, 0, 0.4, NULL, NULL}};
    struct fed_result r;
    const char *dir = fed_dir(cx, "bad");
    run(fed_table(cx, arena_printf(cx->mem, "%s/t", dir), 4, 1, x, "x", NULL,
                  (struct party){ROLE_GUEST, 9999}),
        "m", NULL, &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "no column label"));
    fed_free(&r, 1);
    p[2].score = (double)NAN;
    run(prediction_table(cx, p, 4, false), "m", NULL, &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "predict_score, row 3"));
    fed_free(&r, 1);
    p[2].score = 0.2, p[3].label = (double)NAN;
    run(prediction_table(cx, p, 4, false), "m", NULL, &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "label, row 4"));
    fed_free(&r, 1);
    for (size_t i = 0; i < 4; i++)
        p[i].label = (double)NAN;
    run(prediction_table(cx, p, 4, true), "m", NULL, &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "label is empty"));
    fed_free(&r, 1);
    for (size_t i = 0; i < 4; i++)
        p[i].label = 1;
    run(prediction_table(cx, p, 4, false), "m", NULL, &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "4 of 4") && strstr(r.msg, "type train"));
    fed_free(&r, 1);
    p[1].label = 0.5;
    run(prediction_table(cx, p, 4, false), "m", "{\"eval_type\": \"multi\"}", &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "class numbers"));
    fed_free(&r, 1);
    p[1].label = 1, p[1].detail = "{'0': 0.5, '1': 0.5";
    run(prediction_table(cx, p, 4, false), "m", "{\"eval_type\": \"multi\", \"unfold_multi_result\": true}",
        &r);
    CHECK(r.code == ERR_FORMAT && strstr(r.msg, "predict_detail, row 2"));
    fed_free(&r, 1);
    p[1].label = -1, p[1].score = 0.3;
    run(prediction_table(cx, p, 4, false), "m", "{\"eval_type\": \"regression\", \"metrics\": [\"msle\"]}",
        &r);
    CHECK(r.code == ERR_ARG && strstr(r.msg, "mean_squared_log_error"));
    fed_free(&r, 1);
}

TEST_MAIN(T(recorded_trees), T(recorded_linear), T(binary_answers), T(moved_scores), T(positive_label),
          T(regression_answers), T(multi_answers), T(several_inputs), T(refuses_parameters),
          T(refuses_tables))
