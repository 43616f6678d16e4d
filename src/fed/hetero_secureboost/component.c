/* Component HeteroSecureBoost: boosted trees over the columns of a guest, who has the labels, and of hosts. */
#include "base/arena.h"
#include "base/log.h"
#include "fed/hetero_secureboost/guest.h"
#include "fed/hetero_secureboost/host.h"
#include "fed/hetero_secureboost/predict.h"
#include <string.h>

/* ---- parameters ---- */

#define ALWAYS "accepted: norn always does so"
#define NO_CV  "norn has no cross validation yet"
#define MIXED  "norn builds standard trees only"

static const struct param params[] = {
    {"task_type", PARAM_STR, false, "\"classification\"", "classification|regression", 0, 0, PARAM_BUILT,
     "task"},
    {"objective_param.objective", PARAM_STR, false, "\"cross_entropy\"",
     "cross_entropy|lse|lae|huber|fair|log_cosh|tweedie", 0, 0, PARAM_BUILT,
     "loss: cross_entropy to classify, the others for regression"},
    {"objective_param.params", PARAM_LIST, true, "null", NULL, 0, 0, PARAM_BUILT,
     "[delta] of huber, [c] of fair, [rho] of tweedie"},
    {"num_trees", PARAM_INT, false, "5", NULL, 1, SBT_ROUNDS_MAX, PARAM_BUILT,
     "rounds; a tree per class in each"},
    {"learning_rate", PARAM_NUM, false, "0.3", NULL, 1e-9, 1000, PARAM_BUILT, "weight of each tree"},
    {"tree_param.criterion_method", PARAM_STR, false, "\"xgboost\"", "xgboost", 0, 0, PARAM_BUILT,
     "gain of a split"},
    {"tree_param.criterion_params", PARAM_ANY, false, "[0.1, 0]", NULL, 0, 0, PARAM_BUILT,
     "[l2, l1] or {\"l2\":, \"l1\":}"},
    {"tree_param.max_depth", PARAM_INT, false, "3", NULL, 1, 30, PARAM_BUILT, "levels of splits"},
    {"tree_param.min_sample_split", PARAM_INT, false, "2", NULL, 0, 1e15, PARAM_BUILT, "fewer rows: a leaf"},
    {"tree_param.min_impurity_split", PARAM_NUM, false, "0.001", NULL, 0, 1e300, PARAM_BUILT,
     "a split's gain must be above"},
    {"tree_param.min_leaf_node", PARAM_INT, false, "1", NULL, 0, 1e15, PARAM_BUILT, "least rows of a child"},
    {"tree_param.min_child_weight", PARAM_NUM, false, "0", NULL, 0, 1e300, PARAM_BUILT,
     "least sum of h of a child"},
    {"tree_param.max_split_nodes", PARAM_INT, false, "65536", NULL, 1, 1e15, PARAM_BUILT,
     "accepted: norn streams node by node, its memory does not depend on it"},
    {"tree_param.feature_importance_type", PARAM_STR, false, "\"split\"", "split|gain", 0, 0, PARAM_BUILT,
     "what importance counts"},
    {"tree_param.n_iter_no_change", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT,
     "accepted and without effect, as in FATE: see n_iter_no_change"},
    {"tree_param.tol", PARAM_NUM, false, "0.001", NULL, 0, 0, PARAM_BUILT,
     "accepted and without effect, as in FATE: see tol"},
    {"tree_param.use_missing", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT, "same as use_missing"},
    {"tree_param.zero_as_missing", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT,
     "same as zero_as_missing"},
    {"tree_param.deterministic", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT, ALWAYS},
    {"subsample_feature_rate", PARAM_NUM, false, "1.0", NULL, 0, 1, PARAM_BUILT,
     "share of this party's columns that a tree may use, at least one"},
    {"n_iter_no_change", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT,
     "stop when the loss changes by less than tol"},
    {"tol", PARAM_NUM, false, "0.0001", NULL, 0, 1e300, PARAM_BUILT, "see n_iter_no_change"},
    {"encrypt_param.method", PARAM_STR, true, "\"Lattice\"", NULL, 0, 0, PARAM_BUILT,
     "Lattice (128 bits) or Paillier; FATE's default is Paillier"},
    {"encrypt_param.key_length", PARAM_INT, true, "2048", NULL, 1, 16384, PARAM_BUILT,
     "of Paillier: 2048 or 3072; below 2048 is raised to 2048 and reported"},
    {"encrypted_mode_calculator_param.mode", PARAM_STR, false, "\"strict\"",
     "strict|fast|balance|confusion_opt|confusion_opt_balance", 0, 0, PARAM_BUILT,
     "accepted: norn encrypts every gradient afresh (strict)"},
    {"encrypted_mode_calculator_param.re_encrypted_rate", PARAM_NUM, false, "1", NULL, 0, 0, PARAM_BUILT,
     "accepted: norn encrypts every gradient afresh (1)"},
    {"bin_num", PARAM_INT, false, "32", NULL, 2, BINS_MAX, PARAM_BUILT, "most bins of a column"},
    {"binning_error", PARAM_NUM, false, "0.0001", NULL, 0, 1, PARAM_BUILT,
     "accepted: norn's quantiles are exact"},
    {"predict_param.threshold", PARAM_NUM, false, "0.5", NULL, 0, 1, PARAM_BUILT,
     "binary: class 1 when p is above"},
    {"use_missing", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT,
     "missing cells get a bin and a direction of their own; otherwise they are refused"},
    {"zero_as_missing", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT,
     "zeros are missing too (with use_missing)"},
    {"complete_secure", PARAM_INT, false, "0", NULL, 0, SBT_ROUNDS_MAX, PARAM_BUILT,
     "the first so many rounds use the guest's columns only"},
    {"random_seed", PARAM_INT, true, "100", NULL, 0, 9e15, PARAM_BUILT,
     "of the sampling of rows and columns"},
    {"run_goss", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT, "sample rows by gradient"},
    {"top_rate", PARAM_NUM, false, "0.2", NULL, 1e-9, 1, PARAM_BUILT,
     "rows of largest gradient kept by GOSS"},
    {"other_rate", PARAM_NUM, false, "0.1", NULL, 1e-9, 1, PARAM_BUILT, "other rows kept by GOSS"},
    {"callback_param.callbacks", PARAM_LIST, true, "[]", NULL, 0, 0, PARAM_BUILT,
     "\"EarlyStopping\", \"PerformanceEvaluate\"; both follow from the parameters below as well"},
    {"callback_param.validation_freqs", PARAM_ANY, true, "null", NULL, 0, 0, PARAM_BUILT,
     "evaluate after every so many rounds, or at the rounds listed"},
    {"callback_param.early_stopping_rounds", PARAM_INT, true, "null", NULL, 1, SBT_ROUNDS_MAX, PARAM_BUILT,
     "stop when a metric has not improved for so many evaluations; the model is the best one"},
    {"callback_param.metrics", PARAM_LIST, true, "[]", NULL, 0, 0, PARAM_BUILT, "metrics to evaluate"},
    {"callback_param.use_first_metric_only", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT,
     "early stopping looks at the first metric only"},
    {"callback_param.save_freq", PARAM_INT, false, "1", NULL, 0, 0, PARAM_UNBUILT,
     "norn keeps a checkpoint of every tree"},
    {"validation_freqs", PARAM_ANY, true, "null", NULL, 0, 0, PARAM_BUILT,
     "same as callback_param.validation_freqs"},
    {"early_stopping_rounds", PARAM_INT, true, "null", NULL, 1, SBT_ROUNDS_MAX, PARAM_BUILT,
     "same as callback_param.early_stopping_rounds"},
    {"metrics", PARAM_LIST, true, "null", NULL, 0, 0, PARAM_BUILT, "same as callback_param.metrics"},
    {"use_first_metric_only", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_BUILT,
     "same as callback_param.use_first_metric_only"},
    {"cipher_compress", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT,
     "accepted: norn packs whatever the scheme can"},
    {"cipher_compress_error", PARAM_NUM, true, "null", NULL, 0, 0, PARAM_DEPRECATED, "norn's sums are exact"},
    {"new_ver", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_DEPRECATED, ""},
    {"work_mode", PARAM_ANY, true, "null", NULL, 0, 0, PARAM_DEPRECATED, ""},
    {"sparse_optimization", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, ""},
    {"boosting_strategy", PARAM_STR, false, "\"std\"", "std|layered|mix", 0, 0, PARAM_UNBUILT, MIXED},
    {"tree_num_per_party", PARAM_INT, false, "1", NULL, 0, 0, PARAM_UNBUILT, MIXED},
    {"guest_depth", PARAM_INT, false, "2", NULL, 0, 0, PARAM_UNBUILT, MIXED},
    {"host_depth", PARAM_INT, false, "3", NULL, 0, 0, PARAM_UNBUILT, MIXED},
    {"multi_mode", PARAM_STR, false, "\"single_output\"", "single_output|multi_output", 0, 0, PARAM_UNBUILT,
     "norn grows a tree per class"},
    {"EINI_inference", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, ""},
    {"EINI_random_mask", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, ""},
    {"EINI_complexity_check", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, ""},
    {"cv_param.need_cv", PARAM_BOOL, false, "false", NULL, 0, 0, PARAM_UNBUILT, NO_CV},
    {"cv_param.n_splits", PARAM_INT, false, "5", NULL, 1, 1e9, PARAM_BUILT, NO_CV},
    {"cv_param.mode", PARAM_STR, false, "\"hetero\"", "homo|hetero", 0, 0, PARAM_BUILT, NO_CV},
    {"cv_param.role", PARAM_STR, false, "\"guest\"", "host|guest|arbiter", 0, 0, PARAM_BUILT, NO_CV},
    {"cv_param.shuffle", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT, NO_CV},
    {"cv_param.random_seed", PARAM_INT, true, "1", NULL, 0, 0, PARAM_BUILT, NO_CV},
    {"cv_param.output_fold_history", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT, NO_CV},
    {"cv_param.history_value_type", PARAM_STR, false, "\"score\"", "instance|score", 0, 0, PARAM_BUILT,
     NO_CV},
};

/* ---- inputs ---- */

static status read_columns(struct ctx *cx, const struct table *t, struct bin_source *src,
                           const char *const **anonymous, const struct task *task)
{
    TRY(bin_source_table(cx, t, src));
    const char **name = NEW(cx, const char *, src->n_features + 1);
    if (!name) return FAIL(cx, NOMEM, "%zu columns", src->n_features);
    size_t k = 0;
    for (size_t j = 0; j < t->n_cols; j++) {
        if (t->cols[j].kind != KIND_FEATURE) continue;
        name[k] = t->cols[j].anonymous;
        if (!name[k]) name[k] = arena_printf(cx->mem, "%s_%u_x%zu", role_name(task->me.role), task->me.id, k);
        if (!name[k++]) return FAIL(cx, NOMEM, "%zu columns", src->n_features);
    }
    *anonymous = name;
    return OK;
}

/* The validation table's columns must be those of the training table. */
static status same_columns(struct ctx *cx, const struct bin_source *a, const struct bin_source *b)
{
    if (a->n_features != b->n_features)
        return FAIL(cx, ARG, "validate_data has %zu feature columns, train_data %zu", b->n_features,
                    a->n_features);
    for (size_t f = 0; f < a->n_features; f++)
        if (strcmp(a->names[f], b->names[f]) != 0)
            return FAIL(cx, ARG, "validate_data has column %s where train_data has %s", b->names[f],
                        a->names[f]);
    return OK;
}

/* Cuts the columns of train_data into bins, and those of validate_data by the same edges. */
static status read_bins(struct ctx *cx, const struct task *t, const struct sbt_params *p,
                        struct binned *train, struct binned *valid, const char *const **names,
                        const char *const **anonymous)
{
    const struct table *tt = task_input(t, "train_data"), *tv = task_input(t, "validate_data");
    struct bin_source a, b;
    const struct bins *bins;
    TRY(read_columns(cx, tt, &a, anonymous, t));
    if (tt->n_rows == 0) return FAIL(cx, ARG, "train_data has no rows");
    TRY_IN(cx, bins_fit(cx, &a, &p->bins, &bins), "train_data");
    TRY_IN(cx, bins_apply(cx, bins, &a, train), "train_data");
    *names = a.names;
    if (!tv) return OK;
    TRY_IN(cx, bin_source_table(cx, tv, &b), "validate_data");
    TRY(same_columns(cx, &a, &b));
    TRY_IN(cx, bins_apply(cx, bins, &b, valid), "validate_data");
    return OK;
}

static status read_weights(struct ctx *cx, const struct table *t, const double **out)
{
    *out = NULL;
    for (size_t j = 0; j < t->n_cols; j++) {
        if (t->cols[j].kind != KIND_WEIGHT) continue;
        double *w = NEW(cx, double, t->n_rows + 1);
        if (!w) return FAIL(cx, NOMEM, "%zu weights", t->n_rows);
        TRY(table_read_f64(cx, t, &t->cols[j], 0, t->n_rows, w));
        *out = w;
        return OK;
    }
    return OK;
}

/* ---- what the guest reports ---- */

static status report_loss(struct ctx *cx, struct task *t, const double *loss, size_t n)
{
    CLEANUP(json_decrefp) json_t *points = json_array();
    double best = n ? loss[0] : 0;
    for (size_t i = 0; i < n; i++) {
        if (loss[i] < best) best = loss[i];
        if (json_array_append_new(points, json_pack("[I,f]", (json_int_t)i, loss[i])))
            return FAIL(cx, NOMEM, "losses");
    }
    CLEANUP(json_decrefp)
    json_t *meta = json_pack("{s:f,s:s,s:s,s:s,s:s}", "Best", best, "curve_name", "loss", "metric_type",
                             "LOSS", "name", "train", "unit_name", "iters");
    if (!meta) return FAIL(cx, NOMEM, "losses");
    return task_metric(cx, t, "train", "loss", meta, points);
}

static status put(struct ctx *cx, json_t *obj, const char *key, json_t *v)
{
    return json_object_set_new(obj, key, v) ? FAIL(cx, NOMEM, "summary") : OK;
}

static json_t *encrypt_json(const struct sbt_params *p, const struct he_info *he)
{
    json_t *j = json_pack("{s:s,s:s,s:i}", "method", p->scheme == HE_PAILLIER ? "Paillier" : "Lattice", "set",
                          he->set, "security_bits", he->security_bits);
    json_object_set_new(j, "asked_key_length",
                        p->scheme == HE_PAILLIER ? json_integer(p->asked_key_bits) : json_null());
    json_object_set_new(j, "key_length", p->scheme == HE_PAILLIER ? json_integer(p->key_bits) : json_null());
    return j;
}

static status guest_summary(struct ctx *cx, struct task *t, const struct sbt_params *p,
                            const struct sbt_model *m, struct sbt_trained *r)
{
    struct sbt_importance *imp;
    size_t n;
    TRY(sbt_importances(cx, m, p->by_gain, &imp, &n));
    CLEANUP(json_decrefp) json_t *s = json_object();
    json_t *loss = json_array(), *importance = json_object(), *bytes = json_object();
    for (size_t i = 0; i < r->ensemble->n_rounds; i++)
        json_array_append_new(loss, json_real(r->ensemble->losses[i]));
    for (size_t i = 0; i < n; i++)
        json_object_set_new(importance, imp[i].name,
                            p->by_gain ? json_real(imp[i].gain) : json_integer((json_int_t)imp[i].splits));
    for (size_t i = 1; i < m->n_sites; i++)
        json_object_set_new(bytes, m->site[i],
                            json_pack("{s:I,s:I}", "sent", (json_int_t)r->sent[i - 1], "received",
                                      (json_int_t)r->received[i - 1]));
    TRY(put(cx, s, "loss_history", loss));
    TRY(put(cx, s, "best_iteration", json_integer(r->best_iteration)));
    TRY(put(cx, s, "feature_importance", importance));
    TRY(put(cx, s, "validation_metrics", r->validation ? json_incref(r->validation) : json_null()));
    TRY(put(cx, s, "is_converged", json_boolean(r->ensemble->converged)));
    TRY(put(cx, s, "encrypt", encrypt_json(p, &r->he)));
    TRY(put(cx, s, "bytes", bytes));
    return task_summary(cx, t, s);
}

/* ---- guest ---- */

static status read_guest_data(struct ctx *cx, const struct table *t, struct sbt_params *p,
                              const double **classes, size_t *n_classes, struct sbt_data *out)
{
    double *y;
    out->table = t;
    TRY(sbt_labels(cx, t, &y));
    if (!p->regression) {
        if (!*classes) TRY(sbt_classes(cx, y, t->n_rows, classes, n_classes));
        TRY(sbt_class_index(cx, *classes, *n_classes, y, t->n_rows));
    }
    out->y = y;
    return read_weights(cx, t, &out->weight);
}

static void trained_free(struct sbt_trained *r)
{
    json_decref(r->validation);
}

static status guest_fit(struct ctx *cx, struct task *t, struct sbt_params *p)
{
    const struct table *tt = task_input(t, "train_data"), *tv = task_input(t, "validate_data");
    struct sbt_data train = {0}, valid = {0};
    struct sbt_model m = {0};
    if (p->early_rounds && !tv) return FAIL(cx, ARG, "parameter early_stopping_rounds needs validate_data");
    TRY(sbt_sites(cx, t, &m.site, &m.n_sites, &m.me));
    TRY_IN(cx, read_guest_data(cx, tt, p, &m.classes, &m.n_classes, &train), "train_data");
    if (tv) TRY_IN(cx, read_guest_data(cx, tv, p, &m.classes, &m.n_classes, &valid), "validate_data");
    TRY(gbdt_objective_make(cx, p->objective, p->objective_params, p->n_objective_params,
                            p->regression ? 1 : (unsigned)m.n_classes, &p->train.objective));
    TRY(gbdt_check_labels(cx, &p->train.objective, train.y, tt->n_rows));
    const char *const *anonymous;
    TRY(read_bins(cx, t, p, &train.x, &valid.x, &m.column, &anonymous));
    CLEANUP(trained_free) struct sbt_trained r = {0};
    TRY(sbt_guest_train(cx, t, p, &train, tv ? &valid : NULL, &m.peer_column, &r));
    const struct ensemble *e = r.ensemble;
    m.n_trees = r.n_rounds * e->dim, m.trees = e->trees, m.dim = e->dim;
    m.use_missing = p->bins.use_missing, m.zero_as_missing = p->bins.zero_as_missing;
    m.n_columns = train.x.bins->n_features;
    m.best_iteration = r.best_iteration;
    m.objective = e->objective, m.learning_rate = e->learning_rate, m.init = e->init;
    m.losses = e->losses, m.n_losses = r.n_rounds;
    TRY(sbt_model_save(cx, &m, p, t->instance, &t->model_out));
    const char *path;
    TRY(task_output_path(cx, t, 0, &path));
    const struct sbt_part part[] = {{tt, r.train_score, "train"}, {tv, r.valid_score, "validate"}};
    TRY(sbt_write_predictions(cx, &m, p->threshold, part, tv ? 2 : 1, path));
    TRY(report_loss(cx, t, e->losses, e->n_rounds));
    return guest_summary(cx, t, p, &m, &r);
}

static status guest_predict(struct ctx *cx, struct task *t, const struct sbt_params *p)
{
    const struct table *in = task_input(t, "test_data");
    struct sbt_model m;
    TRY(sbt_model_load(cx, t, task_model(t), &m));
    struct link *host = NEW(cx, struct link, m.n_sites);
    double *score = NEW(cx, double, in->n_rows *m.dim + 1);
    if (!host || !score) return FAIL(cx, NOMEM, "scores of %zu rows", in->n_rows);
    for (size_t i = 0; i + 1 < m.n_sites; i++)
        host[i] = (struct link){.ch = t->channel, .who = task_party(t, ROLE_HOST, i)};
    TRY(sbt_walk_guest(cx, &m, in, host, score));
    const char *path;
    TRY(task_output_path(cx, t, 0, &path));
    const struct sbt_part part = {in, score, "predict"};
    TRY(sbt_write_predictions(cx, &m, p->threshold, &part, 1, path));
    task_progress(t, "rows", in->n_rows, in->n_rows);
    return OK;
}

/* ---- host ---- */

static status host_fit(struct ctx *cx, struct task *t, const struct sbt_params *p)
{
    const struct table *tt = task_input(t, "train_data"), *tv = task_input(t, "validate_data");
    struct binned train, valid;
    struct sbt_model m = {0};
    bool converged;
    uint64_t sent, received;
    TRY(sbt_sites(cx, t, &m.site, &m.n_sites, &m.me));
    TRY(read_bins(cx, t, p, &train, &valid, &m.column, &m.anonymous));
    m.n_columns = train.bins->n_features;
    m.use_missing = p->bins.use_missing, m.zero_as_missing = p->bins.zero_as_missing;
    TRY(sbt_host_train(cx, t, p, &train, tv ? &valid : NULL, m.anonymous, &m, &converged, &sent, &received));
    (void)tt;
    TRY(sbt_model_save(cx, &m, p, t->instance, &t->model_out));
    CLEANUP(json_decrefp)
    json_t *s =
        json_pack("{s:i,s:b,s:{s:{s:I,s:I}}}", "best_iteration", m.best_iteration, "is_converged", converged,
                  "bytes", m.site[0], "sent", (json_int_t)sent, "received", (json_int_t)received);
    if (!s) return FAIL(cx, NOMEM, "summary");
    return task_summary(cx, t, s);
}

static status host_predict(struct ctx *cx, struct task *t)
{
    struct sbt_model m;
    struct link guest = {.ch = t->channel, .who = task_party(t, ROLE_GUEST, 0)};
    TRY(sbt_model_load(cx, t, task_model(t), &m));
    return sbt_walk_host(cx, &m, task_input(t, "test_data"), &guest);
}

/* ---- the component ---- */

static status check_inputs(struct ctx *cx, const struct task *t)
{
    bool train = task_input(t, "train_data") != NULL, test = task_input(t, "test_data") != NULL;
    if (train == test) return FAIL(cx, ARG, "want either train_data or test_data");
    if (test && !task_model(t)) return FAIL(cx, ARG, "test_data needs a model");
    if (train && task_model(t))
        return FAIL(cx, UNSUPPORTED,
                    "train_data with a model (warm start) is not built: leave the model out");
    if (task_n(t, ROLE_GUEST) != 1 || task_n(t, ROLE_HOST) < 1)
        return FAIL(cx, ARG,
                    "HeteroSecureBoost wants one guest and one host or more, the job has %zu and %zu",
                    task_n(t, ROLE_GUEST), task_n(t, ROLE_HOST));
    return OK;
}

static status run(struct ctx *cx, struct task *t)
{
    struct sbt_params p;
    TRY(check_inputs(cx, t));
    TRY(sbt_params_read(cx, t, &p));
    bool guest = t->me.role == ROLE_GUEST;
    if (task_input(t, "test_data")) return guest ? guest_predict(cx, t, &p) : host_predict(cx, t);
    return guest ? guest_fit(cx, t, &p) : host_fit(cx, t, &p);
}

static const char *const data_in[] = {"train_data", "validate_data", "test_data", NULL};
static const char *const required_in[] = {"train_data|test_data", NULL};
extern const struct component component_hetero_secureboost;
const struct component component_hetero_secureboost = {
    .module = "HeteroSecureBoost",
    .text = "Gradient-boosted trees over the columns of several parties: the guest has the labels, encrypts "
            "gradients, and "
            "decrypts the hosts' sums.",
    .params = params,
    .n_params = LEN(params),
    .data_in = data_in,
    .required_in = required_in,
    .takes_model = true,
    .gives_data = true,
    .gives_model = true,
    .run = {[ROLE_GUEST] = run, [ROLE_HOST] = run},
    .check = sbt_params_check,
};
