#include "fed/hetero_secureboost/params.h"
#include "base/arena.h"
#include "base/log.h"
#include <string.h>
#include <strings.h>

#define KEY_BITS_LEAST 2048

static status read_criterion(struct ctx *cx, const json_t *p, struct gbdt_tree_params *out)
{
    const json_t *v = js_at(p, "tree_param.criterion_params"), *l2 = NULL, *l1 = NULL;
    if (json_is_array(v) && json_array_size(v) == 2) l2 = json_array_get(v, 0), l1 = json_array_get(v, 1);
    if (json_is_object(v)) l2 = json_object_get(v, "l2"), l1 = json_object_get(v, "l1");
    if (!json_is_number(l2) || !json_is_number(l1) || json_number_value(l2) < 0 || json_number_value(l1) < 0)
        return FAIL(cx, ARG,
                    "parameter tree_param.criterion_params wants two numbers of 0 or more, [l2, l1]");
    out->l2 = json_number_value(l2), out->l1 = json_number_value(l1);
    return OK;
}

static status read_scheme(struct ctx *cx, const json_t *p, struct sbt_params *out)
{
    const char *method = json_string_value(js_at(p, "encrypt_param.method"));
    TRY_IN(cx, he_scheme_parse(cx, method ? method : "None", &out->scheme), "parameter encrypt_param.method");
    if (out->scheme == HE_LATTICE) return OK;
    const json_t *bits = js_at(p, "encrypt_param.key_length");
    out->asked_key_bits = json_is_integer(bits) ? (int)json_integer_value(bits) : KEY_BITS_LEAST;
    out->key_bits = out->asked_key_bits < KEY_BITS_LEAST ? KEY_BITS_LEAST : out->asked_key_bits;
    if (out->key_bits != 2048 && out->key_bits != 3072)
        return FAIL(cx, ARG, "parameter encrypt_param.key_length is %d, want 2048 or 3072",
                    out->asked_key_bits);
    return OK;
}

static status read_objective(struct ctx *cx, const json_t *p, struct sbt_params *out)
{
    out->regression = strcmp(json_string_value(js_at(p, "task_type")), "regression") == 0;
    out->objective = json_string_value(js_at(p, "objective_param.objective"));
    const json_t *list = js_at(p, "objective_param.params");
    if (json_array_size(list) > LEN(out->objective_params))
        return FAIL(cx, ARG, "parameter objective_param.params has %zu values, want at most %zu",
                    json_array_size(list), LEN(out->objective_params));
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!json_is_number(json_array_get(list, i)))
            return FAIL(cx, ARG, "parameter objective_param.params[%zu] is not a number", i);
        out->objective_params[i] = json_number_value(json_array_get(list, i));
    }
    out->n_objective_params = json_array_size(list);
    bool classify = strcmp(out->objective, "cross_entropy") == 0;
    if (classify == out->regression)
        return FAIL(cx, ARG, "parameter objective_param.objective is %s, but task_type is %s", out->objective,
                    out->regression ? "regression" : "classification");
    return gbdt_objective_make(cx, out->objective, out->objective_params, out->n_objective_params,
                               out->regression ? 1 : 2, &out->train.objective);
}

/* FATE's two places for one thing: set in one only. */
static const json_t *either(const json_t *p, const char *old, const char *now, bool *both)
{
    const json_t *a = js_at(p, old), *b = js_at(p, now);
    bool has_a = a && !json_is_null(a) && !json_is_false(a),
         has_b = b && !json_is_null(b) && !json_is_false(b);
    if (json_is_array(b) && json_array_size(b) == 0) has_b = false;
    *both = has_a && has_b && !json_equal(a, b);
    return has_a ? a : has_b ? b : NULL;
}

static status read_metric_names(struct ctx *cx, const json_t *list, struct sbt_params *out)
{
    if (json_array_size(list) > SBT_METRICS_MAX)
        return FAIL(cx, ARG, "parameter metrics has %zu names, want at most %d", json_array_size(list),
                    SBT_METRICS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name) return FAIL(cx, ARG, "parameter metrics[%zu] is not a text", i);
        out->metric[out->n_metrics++] = name;
    }
    return OK;
}

static status read_evaluation(struct ctx *cx, const json_t *p, struct sbt_params *out)
{
    static const char *const name[] = {"validation_freqs", "early_stopping_rounds", "metrics",
                                       "use_first_metric_only"};
    const json_t *v[LEN(name)];
    for (size_t i = 0; i < LEN(name); i++) {
        char now[64] = "callback_param.";
        memcpy(now + 15, name[i], strlen(name[i]) + 1);
        bool both;
        v[i] = either(p, name[i], now, &both);
        if (both) return FAIL(cx, ARG, "parameter %s and %s differ: set one of them", name[i], now);
    }
    const json_t *list = js_at(p, "callback_param.callbacks"), *c;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(c = json_array_get(list, i));
        if (!s || (strcasecmp(s, "EarlyStopping") && strcasecmp(s, "PerformanceEvaluate")))
            return FAIL(cx, UNSUPPORTED,
                        "parameter callback_param.callbacks: %s is not built, want EarlyStopping or "
                        "PerformanceEvaluate",
                        s ? s : "a value that is no text");
    }
    if (json_is_array(v[0])) {
        for (size_t i = 0; i < json_array_size(v[0]); i++)
            if (!json_is_integer(json_array_get(v[0], i)))
                return FAIL(cx, ARG, "parameter validation_freqs[%zu] is not a round", i);
        out->at_rounds = v[0];
    } else if (v[0]) {
        if (!json_is_integer(v[0]) || json_integer_value(v[0]) < 1)
            return FAIL(cx, ARG,
                        "parameter validation_freqs wants an integer of 1 or more, or a list of rounds");
        out->every = json_integer_value(v[0]);
    }
    out->early_rounds = v[1] ? (size_t)json_integer_value(v[1]) : 0;
    if (out->early_rounds && !v[0])
        return FAIL(cx, ARG, "parameter early_stopping_rounds needs validation_freqs: how often to evaluate");
    if (v[2]) TRY(read_metric_names(cx, v[2], out));
    out->first_metric_only = v[3] != NULL;
    return OK;
}

static status read_all(struct ctx *cx, const json_t *p, struct sbt_params *out)
{
    *out = (struct sbt_params){0};
    struct gbdt_params *g = &out->train;
    TRY(read_objective(cx, p, out));
    TRY(read_criterion(cx, p, &g->tree));
    TRY(read_scheme(cx, p, out));
    TRY(read_evaluation(cx, p, out));
    g->tree.max_depth = (unsigned)json_integer_value(js_at(p, "tree_param.max_depth"));
    g->tree.min_impurity_split = json_number_value(js_at(p, "tree_param.min_impurity_split"));
    g->tree.min_sample_split = (uint64_t)json_integer_value(js_at(p, "tree_param.min_sample_split"));
    g->tree.min_leaf_node = (uint64_t)json_integer_value(js_at(p, "tree_param.min_leaf_node"));
    g->tree.min_child_weight = json_number_value(js_at(p, "tree_param.min_child_weight"));
    g->learning_rate = json_number_value(js_at(p, "learning_rate"));
    g->n_rounds = (size_t)json_integer_value(js_at(p, "num_trees"));
    g->subsample_feature_rate = json_number_value(js_at(p, "subsample_feature_rate"));
    g->n_iter_no_change = json_is_true(js_at(p, "n_iter_no_change"));
    g->tol = json_number_value(js_at(p, "tol"));
    g->run_goss = json_is_true(js_at(p, "run_goss"));
    g->top_rate = json_number_value(js_at(p, "top_rate"));
    g->other_rate = json_number_value(js_at(p, "other_rate"));
    g->seed = (uint64_t)json_integer_value(js_at(p, "random_seed"));
    if (g->run_goss && g->top_rate + g->other_rate >= 1)
        return FAIL(cx, ARG, "parameters top_rate %g and other_rate %g must be below 1 together", g->top_rate,
                    g->other_rate);
    bool missing = json_is_true(js_at(p, "use_missing")) || json_is_true(js_at(p, "tree_param.use_missing"));
    bool zero =
        json_is_true(js_at(p, "zero_as_missing")) || json_is_true(js_at(p, "tree_param.zero_as_missing"));
    out->bins = (struct bin_params){.max_bins = (unsigned)json_integer_value(js_at(p, "bin_num")),
                                    .use_missing = missing,
                                    .zero_as_missing = missing && zero};
    out->complete_secure = (size_t)json_integer_value(js_at(p, "complete_secure"));
    out->by_gain = strcmp(json_string_value(js_at(p, "tree_param.feature_importance_type")), "gain") == 0;
    out->threshold = json_number_value(js_at(p, "predict_param.threshold"));
    return OK;
}

status sbt_params_check(struct ctx *cx, const json_t *params)
{
    struct sbt_params p;
    return read_all(cx, params, &p);
}

status sbt_params_read(struct ctx *cx, const struct task *t, struct sbt_params *out)
{
    TRY(read_all(cx, t->params, out));
    if (out->key_bits != out->asked_key_bits)
        log_warn(cx, "encrypt_param.key_length is below 112 bits of security and was raised",
                 KV("asked", (int64_t)out->asked_key_bits), KV("key_length", (int64_t)out->key_bits));
    return OK;
}
