/* Runtime conf v2: who takes part, merging by role and index, what is refused and what is warned of. */
#include "base/arena.h"
#include "flow/conf.h"
#include "test.h"
#include <string.h>

static json_t *read_json(struct ctx *cx, const char *text)
{
    json_t *j = NULL;
    CHECK_OK(cx, js_parse(cx, "test", text, strlen(text), &j));
    return j;
}

#define HEAD                                                                                                 \
    "\"dsl_version\":2,\"initiator\":{\"role\":\"guest\",\"party_id\":9999},"                                \
    "\"role\":{\"guest\":[9999],\"host\":[10000,9998,10002],\"arbiter\":[10000]}"

static void parties(struct ctx *cx)
{
    CLEANUP(json_decrefp) json_t *w = json_array();
    CLEANUP(json_decrefp)
    json_t *j =
        read_json(cx, "{" HEAD ",\"job_parameters\":{\"common\":{\"timeout\":1.5,\"task_cores\":3}}}");
    struct conf c;
    const char *id;
    CHECK_OK(cx, conf_parse(cx, j, &c, w));
    CHECK(c.n_parties == 5 && c.parties[0].role == ROLE_GUEST && c.parties[2].id == 9998 &&
          c.parties[4].role == ROLE_ARBITER);
    CHECK(conf_index(&c, (struct party){ROLE_HOST, 10002}) == 2);
    CHECK(conf_index(&c, (struct party){ROLE_HOST, 9999}) == SIZE_MAX);
    CHECK(c.timeout_ms == 1500 && c.task_cores == 3 && c.type == JOB_TRAIN && json_array_size(w) == 0);
    CHECK_OK(cx, conf_model_id(cx, &c, &id));
    CHECK(strcmp(id, "arbiter-10000#guest-9999#host-9998_10000_10002#model") == 0);
}

static int64_t value(struct ctx *cx, const struct conf *c, uint32_t host, const char *path)
{
    json_t *p = NULL;
    CHECK_OK(cx, conf_component(cx, c, "a", (struct party){ROLE_HOST, host}, &p));
    int64_t x = js_at(p, path) ? json_integer_value(js_at(p, path)) : -1;
    json_decref(p);
    return x;
}

static void merging(struct ctx *cx)
{
    CLEANUP(json_decrefp) json_t *w = json_array();
    CLEANUP(json_decrefp)
    json_t *j = read_json(
        cx, "{" HEAD ",\"component_parameters\":{\"common\":{\"a\":{\"x\":1,\"deep\":{\"p\":1,\"q\":1}}},"
            "\"role\":{\"host\":{\"0\":{\"a\":{\"x\":2}},\"0|1\":{\"a\":{\"deep\":{\"q\":3}}},"
            "\"all\":{\"a\":{\"y\":4}}}}}}");
    struct conf c;
    CHECK_OK(cx, conf_parse(cx, j, &c, w));
    CHECK(value(cx, &c, 10000, "x") == 2 && value(cx, &c, 10000, "deep.p") == 1 &&
          value(cx, &c, 10000, "deep.q") == 3);
    CHECK(value(cx, &c, 9998, "x") == 1 && value(cx, &c, 9998, "deep.q") == 3 &&
          value(cx, &c, 9998, "y") == 4);
    CHECK(value(cx, &c, 10002, "deep.q") == 1 && value(cx, &c, 10002, "y") == 4);
    json_t *none = NULL;
    CHECK_OK(cx, conf_component(cx, &c, "b", c.parties[0], &none));
    CHECK(json_object_size(none) == 0);
    json_decref(none);
}

static void refuses(struct ctx *cx)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *says;
    } bad[] = {
        {"[]", ERR_FORMAT, "not a JSON object"},
        {"{\"role\":{\"guest\":[1]},\"initiator\":{\"role\":\"guest\",\"party_id\":1}}", ERR_ARG,
         "dsl_version is missing"},
        {"{\"dsl_version\":1,\"role\":{\"guest\":[1]}}", ERR_ARG, "dsl_version is another"},
        {"{\"dsl_version\":\"2\",\"role\":{\"geust\":[1]}}", ERR_ARG, "did you mean guest?"},
        {"{\"dsl_version\":2,\"role\":{\"guest\":[0]}}", ERR_ARG, "no party id"},
        {"{\"dsl_version\":2,\"role\":{\"guest\":[1,\"1\"]}}", ERR_ARG, "twice"},
        {"{\"dsl_version\":2,\"role\":{\"guest\":[1]}}", ERR_FORMAT, "initiator is missing"},
        {"{\"dsl_version\":2,\"role\":{\"guest\":[1]},\"initiator\":{\"role\":\"guest\",\"party_id\":2}}",
         ERR_ARG, "not among role.guest"},
        {"{" HEAD ",\"job_parameters\":{\"common\":{\"task_core\":1}}}", ERR_ARG,
         "no such job parameter task_core, did you mean task_cores?"},
        {"{" HEAD ",\"job_parameters\":{\"task_cores\":1}}", ERR_ARG, "want job_parameters.common"},
        {"{" HEAD ",\"job_parameters\":{\"common\":{\"timeout\":-1}}}", ERR_ARG, "timeout, want 0 to"},
        {"{" HEAD ",\"job_parameters\":{\"common\":{\"job_type\":\"trian\"}}}", ERR_ARG,
         "want train or predict"},
        {"{" HEAD ",\"job_parameters\":{\"common\":{\"job_type\":\"predict\"}}}", ERR_ARG,
         "needs job_parameters.common.model_id"},
        {"{" HEAD ",\"component_parameters\":{\"role\":{\"host\":{\"3\":{}}}}}", ERR_ARG,
         "index 3, but there are 3"},
        {"{" HEAD ",\"component_parameters\":{\"role\":{\"host\":{\"first\":{}}}}}", ERR_ARG,
         "want an index like 0"},
        {"{" HEAD ",\"component_parameters\":{\"role\":{\"hots\":{}}}}", ERR_ARG, "is no role"},
        {"{" HEAD ",\"component_parameters\":{\"a\":{}}}", ERR_ARG, "want component_parameters.common"},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        CLEANUP(json_decrefp) json_t *w = json_array();
        CLEANUP(json_decrefp) json_t *j = read_json(cx, bad[i].text);
        struct conf c = {.n_parties = 77};
        status st = conf_parse(cx, j, &c, w);
        CHECK(st.code == bad[i].code);
        CHECK(strstr(cx->err.msg, bad[i].says));
        CHECK(c.n_parties == 77);
    }
}

static void warns(struct ctx *cx)
{
    CLEANUP(json_decrefp) json_t *w = json_array();
    CLEANUP(json_decrefp)
    json_t *j = read_json(
        cx, "{" HEAD
            ",\"colour\":1,\"job_parameters\":{\"common\":{\"eggroll_run\":{},\"computing_partitions\":8,"
            "\"inheritance_info\":{\"x\":2},\"auto_retries\":2,\"spark_run\":{\"x\":1}}},\"component_"
            "parameters\":{\"common\":{\"hetero_lr_"
            "0\":{}}}}");
    struct conf c;
    const char *const components[] = {"hetero_lr_1"};
    CHECK_OK(cx, conf_parse(cx, j, &c, w));
    CHECK_OK(cx, conf_unused(cx, &c, components, 1, w));
    const char *text;
    CHECK_OK(cx, js_text(cx, w, &text));
    CHECK(json_array_size(w) == 5);
    CHECK(strstr(text, "colour") && strstr(text, "computing_partitions") &&
          strstr(text, "inheritance_info is not built yet") && strstr(text, "spark_run") &&
          strstr(text, "did you mean hetero_lr_1?"));
    CHECK(c.auto_retries == 2 && c.auto_retry_delay_ms == -1);
}

/* A predict conf over the training's: fewer hosts, so what was of index 2 is now of index 1. */
static void predict(struct ctx *cx)
{
    CLEANUP(json_decrefp)
    json_t *train = read_json(
        cx,
        "{" HEAD ",\"job_parameters\":{\"common\":{\"job_type\":\"train\"}},\"component_parameters\":{"
        "\"common\":{\"a\":{\"x\":1}},\"role\":{\"host\":{\"0\":{\"a\":{\"x\":10}},\"1\":{\"a\":{\"x\":11}},"
        "\"0|2\":{\"a\":{\"y\":12}},\"all\":{\"a\":{\"z\":13}}},\"arbiter\":{\"0\":{\"a\":{\"x\":5}}}}}}");
    CLEANUP(json_decrefp)
    json_t *given = read_json(
        cx,
        "{\"dsl_version\":2,\"initiator\":{\"role\":\"guest\",\"party_id\":9999},\"role\":{\"guest\":[9999],"
        "\"host\":[9998,10002]},\"job_parameters\":{\"common\":{\"job_type\":\"predict\",\"model_id\":\"m\","
        "\"model_version\":\"v\"}},\"component_parameters\":{\"role\":{\"host\":{\"1\":{\"a\":{\"z\":99}}}}}"
        "}");
    CLEANUP(json_decrefp) json_t *all = NULL;
    CLEANUP(json_decrefp) json_t *w = json_array();
    CHECK_OK(cx, conf_for_predict(cx, train, given, &all));
    struct conf c;
    CHECK_OK(cx, conf_parse(cx, all, &c, w));
    CHECK(c.type == JOB_PREDICT && strcmp(c.model_id, "m") == 0 && c.n_parties == 3);
    CHECK(value(cx, &c, 9998, "x") == 11 && value(cx, &c, 9998, "y") == -1 && value(cx, &c, 9998, "z") == 13);
    CHECK(value(cx, &c, 10002, "x") == 1 && value(cx, &c, 10002, "y") == 12 &&
          value(cx, &c, 10002, "z") == 99);
}

TEST_MAIN(T(parties), T(merging), T(refuses), T(warns), T(predict))
