/* Parameter tables: defaults, types, bounds, choices, unknown and unbuilt names; for a table of its own and for the
 * components' real ones. */
#include "base/arena.h"
#include "fed/component.h"
#include "tests/test.h"
#include <string.h>

static const struct param toy_params[] = {
    {"depth", PARAM_INT, false, "3", NULL, 1, 30, PARAM_BUILT, "depth"},
    {"rate", PARAM_NUM, false, "0.3", NULL, 0, 1, PARAM_BUILT, "rate"},
    {"tree.kind", PARAM_STR, false, "\"Dense\"", "Dense|Sparse", 0, 0, PARAM_BUILT, "kind"},
    {"tree.deep.flag", PARAM_BOOL, false, "true", NULL, 0, 0, PARAM_BUILT, "flag"},
    {"names", PARAM_LIST, true, "null", NULL, 0, 0, PARAM_BUILT, "names"},
    {"free", PARAM_ANY, true, "null", NULL, 0, 0, PARAM_BUILT, "free"},
    {"map", PARAM_MAP, false, "{}", NULL, 0, 0, PARAM_BUILT, "map"},
    {"later", PARAM_NUM, false, "1", NULL, 0, 0, PARAM_UNBUILT, "say what instead"},
    {"old", PARAM_STR, true, "null", NULL, 0, 0, PARAM_DEPRECATED, "see depth"},
};
static const struct component toy = {.module = "Toy", .params = toy_params, .n_params = LEN(toy_params)};

static status fill(struct ctx *cx, const char *text, json_t **out)
{
    CLEANUP(json_decrefp) json_t *given = NULL;
    TRY(js_parse(cx, "test", text, strlen(text), &given));
    return component_params(cx, &toy, "toy_0", given, out);
}

static void fills_defaults(struct ctx *cx)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    CLEANUP(json_decrefp) json_t *none = NULL;
    CHECK_OK(cx, component_params(cx, &toy, "toy_0", NULL, &none));
    CHECK(json_integer_value(js_at(none, "depth")) == 3);
    CHECK(strcmp(json_string_value(js_at(none, "tree.kind")), "Dense") == 0);
    CHECK(json_is_true(js_at(none, "tree.deep.flag")));
    CHECK(json_is_null(js_at(none, "names")));
    CHECK_OK(
        cx,
        fill(cx,
             "{\"tree\": {\"kind\": \"sPARSE\"}, \"rate\": 1, \"later\": 1.0, \"map\": {\"a\": {\"b\": 1}}}",
             &j));
    CHECK(strcmp(json_string_value(js_at(j, "tree.kind")), "Sparse") == 0); /* the table's spelling */
    CHECK(json_number_value(js_at(j, "rate")) == 1);
    CHECK(json_integer_value(js_at(j, "map.a.b")) == 1);
    struct task t = {.params = j};
    CHECK(task_int(&t, "depth") == 3 && task_num(&t, "rate") == 1 && task_bool(&t, "tree.deep.flag"));
    CHECK(strcmp(task_str(&t, "tree.kind"), "Sparse") == 0 && task_str(&t, "old") == NULL);
}

static const struct {
    const char *text;
    enum err_code code;
    const char *says; /* part of the message */
} bad[] = {
    {"{\"dept\": 3}", ERR_ARG, "toy_0 (Toy): parameter dept is unknown, did you mean depth?"},
    {"{\"tree\": {\"deep\": {\"falg\": true}}}", ERR_ARG, "tree.deep.flag"},
    {"{\"tree\": {\"knid\": \"Dense\"}}", ERR_ARG, "did you mean tree.kind?"},
    {"{\"kind\": \"Dense\"}", ERR_ARG, "did you mean tree.kind?"},
    {"{\"tree\": 4}", ERR_ARG, "tree is 4, want an object"},
    {"{\"depth\": 0}", ERR_ARG, "depth is 0, want 1 to 30"},
    {"{\"depth\": 31}", ERR_ARG, "depth is 31, want 1 to 30"},
    {"{\"depth\": 2.5}", ERR_ARG, "depth is 2.5, want an integer"},
    {"{\"depth\": \"3\"}", ERR_ARG, "depth is \"3\", want an integer"},
    {"{\"depth\": null}", ERR_ARG, "depth is null, want an integer"},
    {"{\"rate\": -0.1}", ERR_ARG, "rate is -0.1, want 0 to 1"},
    {"{\"names\": 3}", ERR_ARG, "names is 3, want a list or null"},
    {"{\"tree\": {\"kind\": \"tag\"}}", ERR_ARG, "tree.kind is \"tag\", want one of Dense|Sparse"},
    {"{\"tree\": {\"deep\": {\"flag\": 1}}}", ERR_ARG, "want true or false"},
    {"{\"later\": 2}", ERR_UNSUPPORTED,
     "later is 2: norn has not built this; only the default 1 is accepted. say what"},
    {"{\"old\": \"x\"}", ERR_UNSUPPORTED, "old is \"x\": deprecated by FATE"},
    {"[1]", ERR_ARG, "want an object"},
};

static void refuses(struct ctx *cx)
{
    for (size_t i = 0; i < LEN(bad); i++) {
        json_t *j = NULL;
        status st = fill(cx, bad[i].text, &j);
        CHECK(st.code == bad[i].code);
        CHECK(strstr(cx->err.msg, bad[i].says) != NULL);
        if (st.code != bad[i].code || !strstr(cx->err.msg, bad[i].says))
            printf("# %s: %s\n", bad[i].text, cx->err.msg);
        CHECK(j == NULL);
    }
}

/* Every table: defaults are JSON of their type and within their bounds, paths are unique, each has a text. */
static void tables_are_sound(struct ctx *cx)
{
    size_t n;
    const struct component *const *all = component_all(&n);
    for (size_t i = 0; i < n; i++) {
        const struct component *c = all[i];
        CHECK(component_find(c->module) == c);
        for (size_t k = 0; k < c->n_params; k++) {
            const struct param *p = &c->params[k];
            json_error_t e;
            CLEANUP(json_decrefp) json_t *def = json_loads(p->def, JSON_DECODE_ANY, &e);
            CHECK(def != NULL && p->text != NULL);
            CHECK(!json_is_null(def) || p->nullable);
            for (size_t j = 0; j < k; j++)
                CHECK(strcmp(p->path, c->params[j].path) != 0);
            struct component one = {.module = c->module, .params = p, .n_params = 1};
            CLEANUP(json_decrefp) json_t *given = json_deep_copy(def), *out = NULL;
            const char *at = p->path + strlen(p->path);
            while (at >= p->path) { /* wrap the default in its path's objects */
                while (at > p->path && at[-1] != '.')
                    at--;
                char name[64];
                size_t len = strcspn(at, ".");
                memcpy(name, at, len), name[len] = 0;
                given = json_pack("{s:o}", name, given);
                at = at > p->path ? at - 1 : p->path - 1;
            }
            CHECK_OK(cx, component_params(cx, &one, c->module, given, &out));
            json_decref(out);
        }
    }
    CHECK(component_find("HETEROSECUREBOOST") != NULL && component_find("Nothing") == NULL);
}

static status boost(struct ctx *cx, const char *text)
{
    CLEANUP(json_decrefp) json_t *given = NULL;
    CLEANUP(json_decrefp) json_t *out = NULL;
    TRY(js_parse(cx, "test", text, strlen(text), &given));
    return component_params(cx, component_find("HeteroSecureBoost"), "b_0", given, &out);
}

static void boosting_parameters(struct ctx *cx)
{
    CHECK_OK(cx, boost(cx, "{\"encrypt_param\": {\"method\": \"paillier\", \"key_length\": 1024}}"));
    CHECK_OK(cx, boost(cx, "{\"encrypt_param\": {\"method\": \"LATTICE\"}}"));
    CHECK_ERR(boost(cx, "{\"encrypt_param\": {\"method\": \"IterativeAffine\"}}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"encrypt_param\": {\"method\": \"None\"}}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"encrypt_param\": {\"method\": null}}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"encrypt_param\": {\"method\": \"Caesar\"}}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"encrypt_param\": {\"method\": \"Paillier\", \"key_length\": 4096}}"), ARG);
    CHECK_ERR(boost(cx, "{\"objective_param\": {\"objective\": \"lse\"}}"), ARG);
    CHECK_ERR(boost(cx, "{\"task_type\": \"regression\"}"), ARG);
    CHECK_OK(cx, boost(cx, "{\"task_type\": \"regression\", \"objective_param\": {\"objective\": \"LSE\"}}"));
    CHECK_ERR(boost(cx, "{\"task_type\": \"regression\", \"objective_param\": {\"objective\": \"huber\"}}"),
              ARG);
    CHECK_ERR(boost(cx, "{\"boosting_strategy\": \"mix\"}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"multi_mode\": \"multi_output\"}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"EINI_inference\": true}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"cv_param\": {\"need_cv\": true}}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"sparse_optimization\": true}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"early_stopping_rounds\": 2}"), ARG);
    CHECK_ERR(boost(cx, "{\"validation_freqs\": 1, \"callback_param\": {\"validation_freqs\": 2}}"), ARG);
    CHECK_ERR(boost(cx, "{\"callback_param\": {\"callbacks\": [\"ModelCheckpoint\"]}}"), UNSUPPORTED);
    CHECK_ERR(boost(cx, "{\"run_goss\": true, \"top_rate\": 0.8, \"other_rate\": 0.2}"), ARG);
    CHECK_ERR(boost(cx, "{\"tree_param\": {\"criterion_params\": [0.1]}}"), ARG);
    CHECK_OK(cx, boost(cx, "{\"tree_param\": {\"criterion_params\": {\"l1\": 0.5, \"l2\": 1}}}"));
    CHECK_ERR(boost(cx, "{\"bin_num\": 256}"), ARG);
    CHECK_ERR(boost(cx, "{\"num_tree\": 3}"), ARG);
    CHECK(strstr(cx->err.msg, "num_trees") != NULL);
}

TEST_MAIN(T(fills_defaults), T(refuses), T(tables_are_sound), T(boosting_parameters))
