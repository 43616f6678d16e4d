/* DSL v2: the graph, its order, and what is refused. */
#include "flow/dsl.h"
#include "test.h"
#include <string.h>

static status parse(struct ctx *cx, const char *text, struct dsl *d)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    TRY(js_parse(cx, "dsl", text, strlen(text), &j));
    return dsl_parse(cx, j, d);
}

#define BOOST                                                                                                \
    "{\"components\":{"                                                                                      \
    "\"evaluation_0\":{\"module\":\"Evaluation\",\"input\":{\"data\":{\"data\":[\"boost_0.data\"]}},"        \
    "\"output\":{\"data\":[\"data\"]}},"                                                                     \
    "\"boost_0\":{\"module\":\"HeteroSecureBoost\",\"input\":{\"data\":{\"train_data\":[\"intersection_0."   \
    "data\"],"                                                                                               \
    "\"validate_data\":[\"dt_0.data\"]}},\"output\":{\"data\":[\"data\"],\"model\":[\"model\"]},\"need_"     \
    "deploy\":true},"                                                                                        \
    "\"intersection_0\":{\"module\":\"Intersection\",\"input\":{\"data\":{\"data\":[\"dt_0.data\"]}},"       \
    "\"output\":{\"data\":[\"data\"]}},"                                                                     \
    "\"dt_0\":{\"module\":\"DataTransform\",\"input\":{\"data\":{\"data\":[\"reader_0.data\"]}},\"output\":" \
    "{\"data\":[\"data\"],\"model\":[\"model\"]}},"                                                          \
    "\"reader_0\":{\"module\":\"Reader\",\"output\":{\"data\":[\"data\"]}}}}"

static void graph(struct ctx *cx)
{
    struct dsl d;
    CHECK_OK(cx, parse(cx, BOOST, &d));
    CHECK(d.n == 5 && strcmp(d.components[0].name, "evaluation_0") == 0);
    const size_t want[] = {4, 3, 2, 1, 0};
    for (size_t i = 0; i < 5; i++)
        CHECK(d.order[i] == want[i]);
    const struct dsl_component *b = &d.components[dsl_find(&d, "boost_0")];
    CHECK(b->n_data == 2 && strcmp(b->data[0].key, "train_data") == 0 && b->data[0].from == 2 &&
          b->data[1].from == 3);
    CHECK(b->n_after == 2 && strcmp(b->out_model[0], "model") == 0 && !b->out_model[1]);
    CHECK(dsl_find(&d, "nobody") == SIZE_MAX);
}

static void pipeline_models(struct ctx *cx)
{
    struct dsl d;
    CHECK_OK(cx, parse(cx,
                       "{\"components\":{\"a\":{\"module\":\"M\",\"CodePath\":\"M\",\"input\":{\"model\":["
                       "\"pipeline.a.model\"]}}}}",
                       &d));
    CHECK(d.components[0].n_models == 1 && d.components[0].models[0].pipeline &&
          d.components[0].n_after == 0);
}

static void refuses(struct ctx *cx)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *says;
    } bad[] = {
        {"[]", ERR_FORMAT, "not a JSON object"},
        {"{}", ERR_FORMAT, "components"},
        {"{\"components\":{}}", ERR_ARG, "no components"},
        {"{\"component\":{}}", ERR_ARG, "did you mean components?"},
        {"{\"components\":{\"a\":{}}}", ERR_ARG, "a has no module"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"inputs\":{}}}}", ERR_ARG, "did you mean input?"},
        {"{\"components\":{\"a/..\":{\"module\":\"M\"}}}", ERR_ARG, "component name"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"b.data\"]}}}}}", ERR_ARG,
         "there is no component b"},
        {"{\"components\":{\"reader_0\":{\"module\":\"M\",\"output\":{\"data\":[\"data\"]}},\"a\":{"
         "\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"raeder_0.data\"]}}}}}",
         ERR_ARG, "did you mean reader_0?"},
        {"{\"components\":{\"b\":{\"module\":\"M\",\"output\":{\"data\":[\"data\"]}},\"a\":{\"module\":\"M\","
         "\"input\":{\"data\":{\"data\":[\"b.dat\"]}}}}}",
         ERR_ARG, "b.output.data does not list dat"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"b\"]}}}}}", ERR_ARG,
         "want <component>.<output>"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":\"b.data\"}}}}}", ERR_FORMAT,
         "not a list"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"output\":{\"model\":[\"x\",\"y\"]}}}}", ERR_ARG,
         "has 2 names, at most 1"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"output\":{\"data\":[\"x\",\"x\"]}}}}", ERR_ARG, "twice"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"output\":{\"data\":[\"../x\"]}}}}", ERR_ARG, "no name"},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"c.data\"]}},\"output\":{"
         "\"data\":[\"data\"]}},"
         "\"b\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"a.data\"]}},\"output\":{\"data\":["
         "\"data\"]}},"
         "\"c\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"b.data\"]}},\"output\":{\"data\":["
         "\"data\"]}}}}",
         ERR_ARG, "cycle a <- c <- b <- ..."},
        {"{\"components\":{\"a\":{\"module\":\"M\",\"input\":{\"data\":{\"data\":[\"a.data\"]}},\"output\":{"
         "\"data\":[\"data\"]}}}}",
         ERR_ARG, "cycle a <- ..."},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        struct dsl d = {.n = 77};
        status st = parse(cx, bad[i].text, &d);
        CHECK(st.code == bad[i].code);
        CHECK(strstr(cx->err.msg, bad[i].says));
        CHECK(d.n == 77);
    }
}

TEST_MAIN(T(graph), T(pipeline_models), T(refuses))
