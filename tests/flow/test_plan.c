/* A job checked whole: modules, parameters at every party, inputs, roles. Linked with parts.c. */
#include "base/arena.h"
#include "flow/plan.h"
#include "test.h"
#include <string.h>

#define CONF(params)                                                                                         \
    "{\"dsl_version\":2,\"initiator\":{\"role\":\"guest\",\"party_id\":9999},\"role\":{\"guest\":[9999],"    \
    "\"host\":[10000,9999]},"                                                                                \
    "\"component_parameters\":{" params "}}"
#define DSL(more)                                                                                            \
    "{\"components\":{\"p0\":{\"module\":\"TestPing\",\"output\":{\"data\":[\"data\"]}}" more "}}"

static status make(struct ctx *cx, const char *dsl_text, const char *conf_text, struct plan *p)
{
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(js_parse(cx, "dsl", dsl_text, strlen(dsl_text), &dsl));
    TRY(js_parse(cx, "conf", conf_text, strlen(conf_text), &conf));
    return plan_make(cx, dsl, conf, p);
}

static void makes(struct ctx *cx)
{
    struct plan p;
    CHECK_OK(
        cx,
        make(cx, DSL(",\"s0\":{\"module\":\"testsink\",\"input\":{\"data\":{\"train_data\":[\"p0.data\"]}}}"),
             CONF("\"common\":{\"p0\":{\"rounds\":5}},\"role\":{\"host\":{\"1\":{\"p0\":{\"rounds\":7}}}}"),
             &p));
    CHECK(p.dsl.n == 2 && strcmp(p.modules[1]->module, "TestSink") == 0);
    CHECK(strcmp(p.model_id, "guest-9999#host-9999_10000#model") == 0);
    CHECK(plan_runs(&p, 0, p.conf.parties[0]) && !plan_gives_model(&p));
    uint32_t sites[CONF_PARTIES_MAX];
    CHECK(plan_sites(&p, 9999, sites) == 1 && sites[0] == 10000);
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(json_decrefp) json_t *params = NULL;
        CHECK_OK(cx, plan_params(cx, &p, 0, p.conf.parties[i], &params));
        CHECK(json_integer_value(js_at(params, "rounds")) == (i == 2 ? 7 : 5));
        CHECK(strcmp(json_string_value(js_at(params, "deep.mode")), "plain") == 0);
    }
}

static void refuses(struct ctx *cx)
{
    static const struct {
        const char *dsl, *conf;
        enum err_code code;
        const char *says;
    } bad[] = {
        {"{\"components\":{\"x\":{\"module\":\"TestPign\"}}}", CONF(""), ERR_ARG,
         "x: norn has no module TestPign, did you mean TestPing?"},
        {DSL(""), CONF("\"common\":{\"p0\":{\"ronds\":1}}"), ERR_ARG, "did you mean rounds?"},
        {DSL(""), CONF("\"common\":{\"p0\":{\"rounds\":0}}"), ERR_ARG, "rounds is 0, want 1 to 1000000"},
        {DSL(""), CONF("\"common\":{\"p0\":{\"rounds\":\"many\"}}"), ERR_ARG, "want an integer"},
        {DSL(""), CONF("\"role\":{\"host\":{\"1\":{\"p0\":{\"deep\":{\"mode\":\"x\"}}}}}"), ERR_ARG,
         "at host 9999: p0"},
        {DSL(",\"s0\":{\"module\":\"TestSink\"}"), CONF(""), ERR_ARG,
         "s0: TestSink needs input.data.data|train_data"},
        {DSL(",\"s0\":{\"module\":\"TestSink\",\"input\":{\"data\":{\"test_data\":[\"p0.data\"]}}}"),
         CONF(""), ERR_ARG, "takes no input.data.test_data (it takes: data, train_data)"},
        {DSL(",\"s0\":{\"module\":\"TestSink\",\"input\":{\"data\":{\"data\":[\"p0.data\"]}},\"output\":{"
             "\"data\":[\"d\"]}},"
             "\"s1\":{\"module\":\"TestSink\",\"input\":{\"data\":{\"data\":[\"s0.d\"]}}}"),
         CONF(""), ERR_ARG, "but TestSink gives no data"},
        {DSL(",\"s0\":{\"module\":\"TestSink\",\"input\":{\"data\":{\"data\":[\"p0.data\"]},\"model\":["
             "\"pipeline.a.model\"]}}"),
         CONF(""), ERR_ARG, "takes no input.model"},
        {DSL(""),
         "{\"dsl_version\":2,\"initiator\":{\"role\":\"arbiter\",\"party_id\":1},\"role\":{\"arbiter\":[1]}}",
         ERR_ARG, "no party of this job has a role that runs TestPing"},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        struct plan p;
        status st = make(cx, bad[i].dsl, bad[i].conf, &p);
        CHECK(st.code == bad[i].code);
        CHECK(st.code == ERR_OK || strstr(cx->err.msg, bad[i].says));
    }
}

static void warns(struct ctx *cx)
{
    struct plan p;
    CHECK_OK(cx, make(cx, DSL(""), CONF("\"common\":{\"p1\":{\"rounds\":5}}"), &p));
    CHECK(json_array_size(p.warnings) == 1 &&
          strstr(json_string_value(json_array_get(p.warnings, 0)), "did you mean p0?"));
}

TEST_MAIN(T(makes), T(refuses), T(warns))
