/* The JSON view: FATE's own answers, field by field; every type of field; what is no message. */
#include "fixture.h"
#include "model/boosting-tree-model-param.pb-c.h"
#include "model/data-transform-meta.pb-c.h"
#include "model/data-transform-param.pb-c.h"
#include <math.h>
#include <stddef.h>

/* ---- FATE's answers ----
 *
 * The golden answers are JSON only. Each is read back into a message, by the field's JSON name, and the view of that
 * message has to be the answer again: the same fields of the same types, defaults included. */

static bool has_name(const char *field, const char *json_name)
{
    for (; *field; field++) {
        char c = *field;
        if (c == '_' && field[1] == 0) break;
        if (c == '_') c = (char)(*++field - 'a' + 'A');
        if (c != *json_name++) return false;
    }
    return *json_name == 0;
}

static ProtobufCMessage *message_of(struct ctx *cx, const ProtobufCMessageDescriptor *d, const json_t *j);

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    if (f->type == PROTOBUF_C_TYPE_INT32) return 4;
    return f->type == PROTOBUF_C_TYPE_BOOL ? sizeof(protobuf_c_boolean) : 8;
}

/* Ours have four types, strings and messages; a JSON value of another type than the field's is a failure. */
static void set_value(struct ctx *cx, const ProtobufCFieldDescriptor *f, const json_t *j, void *to)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        *(ProtobufCMessage **)to = message_of(cx, f->descriptor, j);
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        CHECK(json_is_string(j));
        *(char **)to = arena_strdup(cx->mem, json_is_string(j) ? json_string_value(j) : "");
    } else if (f->type == PROTOBUF_C_TYPE_BOOL) {
        CHECK(json_is_boolean(j));
        *(protobuf_c_boolean *)to = json_is_true(j);
    } else if (f->type == PROTOBUF_C_TYPE_INT32) {
        CHECK(json_is_integer(j));
        *(int32_t *)to = (int32_t)json_integer_value(j);
    } else {
        CHECK(f->type == PROTOBUF_C_TYPE_DOUBLE && json_is_real(j));
        *(double *)to = json_real_value(j);
    }
}

static void set_repeated(struct ctx *cx, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                         const json_t *j)
{
    bool map = json_is_object(j);
    size_t n = map ? json_object_size(j) : json_array_size(j), i = 0;
    char *items = arena_alloc(cx->mem, n * size_of(f) + 1, 8);
    CHECK(map || json_is_array(j));
    if (map) {
        const char *key;
        json_t *v;
        json_object_foreach((json_t *)(uintptr_t)j, key, v)
        {
            const ProtobufCMessageDescriptor *e = f->descriptor;
            bool number = e->fields[0].type == PROTOBUF_C_TYPE_INT32;
            CLEANUP(json_decrefp) json_t *pair = json_object();
            json_object_set_new(pair, "key", number ? json_integer(atoll(key)) : json_string(key));
            json_object_set(pair, "value", v);
            ((ProtobufCMessage **)items)[i++] = message_of(cx, e, pair);
        }
    }
    for (; !map && i < n; i++)
        set_value(cx, f, json_array_get(j, i), items + i * size_of(f));
    *(size_t *)((char *)m + f->quantifier_offset) = n;
    *(char **)((char *)m + f->offset) = items;
}

static ProtobufCMessage *message_of(struct ctx *cx, const ProtobufCMessageDescriptor *d, const json_t *j)
{
    ProtobufCMessage *m = arena_alloc(cx->mem, d->sizeof_message, 16);
    const char *key;
    json_t *v;
    d->message_init(m);
    CHECK(json_is_object(j));
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
    {
        const ProtobufCFieldDescriptor *f = NULL;
        for (unsigned i = 0; i < d->n_fields && !f; i++)
            if (has_name(d->fields[i].name, key)) f = &d->fields[i];
        CHECK(f != NULL);
        if (!f) printf("# %s has no field for %s\n", d->short_name, key);
        if (f && f->label == PROTOBUF_C_LABEL_REPEATED)
            set_repeated(cx, m, f, v);
        else if (f)
            set_value(cx, f, v, (char *)m + f->offset);
    }
    return m;
}

/* json_equal takes 1 and 1.0 for different: so the types are compared, too. */
static void same_view(struct ctx *cx, const char *proto, const json_t *want)
{
    const ProtobufCMessageDescriptor *d = pb_find(proto);
    CLEANUP(json_decrefp) json_t *got = NULL, *loaded = NULL;
    struct bytes pb;
    CHECK(d && want);
    if (!d || !want) return;
    ProtobufCMessage *m = message_of(cx, d, want);
    CHECK_OK(cx, pb_json(cx, m, &got));
    CHECK(json_equal(got, want));
    CHECK_OK(cx, pb_pack(cx, m, &pb));
    CHECK_OK(cx, model_json(cx, &(struct model_buffer){proto, proto, pb}, &loaded));
    CHECK(json_equal(loaded, want));
}

static void fates_answers(struct ctx *cx)
{
    static const struct {
        const char *file, *meta, *param;
    } cases[] = {
        {"guest.data_transform_0", "DataTransformMeta", "DataTransformParam"},
        {"host.data_transform_0", "DataTransformMeta", "DataTransformParam"},
        {"guest.hetero_secure_boost_0", "BoostingTreeModelMeta", "BoostingTreeModelParam"},
        {"host.hetero_secure_boost_0", "BoostingTreeModelMeta", "BoostingTreeModelParam"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(json_decrefp) json_t *j = NULL;
        const char *file = test_shared(
            cx, arena_printf(cx->mem, "golden/hetero_secureboost/%s.output_model.json", cases[i].file));
        if (!file) SKIP("no shared data");
        CHECK_OK(cx, js_read(cx, file, &j));
        same_view(cx, cases[i].param, js_at(j, "response.data"));
        same_view(cx, cases[i].meta, js_at(j, "response.meta.meta_data"));
    }
}

/* ---- every type ---- */

static void defaults(struct ctx *cx)
{
    static const struct {
        const char *proto, *want;
    } cases[] = {
        {"DataTransformParam", "{'header': [], 'sidName': '', 'labelName': '', 'anonymousHeader': []}"},
        {"DataTransformMeta",
         "{'inputFormat': '', 'delimitor': '', 'dataType': '', 'tagWithValue': false, 'tagValueDelimitor': "
         "'',"
         "'withLabel': false, 'labelName': '', 'labelType': '', 'outputFormat': '', 'needRun': false,"
         "'exclusiveDataType': {}, 'withMatchId': false}"},
        {"BoostingTreeModelMeta",
         "{'learningRate': 0.0, 'numTrees': 0, 'taskType': '', 'nIterNoChange': false, 'tol': 0.0, "
         "'useMissing': false,"
         "'zeroAsMissing': false, 'workMode': '', 'module': '', 'boostingStrategy': ''}"},
        {"BoostingTreeModelParam", "{'treeNum': 0, 'trees': [], 'initScore': [], 'losses': [], 'treeDim': 0, "
                                   "'numClasses': 0, 'classes': [],"
                                   "'featureImportances': [], 'featureNameFidMapping': {}, 'bestIteration': "
                                   "0, 'treePlan': [], 'modelName': '',"
                                   "'anonymousNameMapping': {}}"},
        {"Pipeline",
         "{'inferenceDsl': '', 'trainDsl': '', 'trainRuntimeConf': '', 'fateVersion': '', 'modelId': '',"
         "'modelVersion': '', 'parent': false, 'loadedTimes': 0, 'roles': '', 'workMode': 0, "
         "'initiatorRole': '',"
         "'initiatorPartyId': 0, 'runtimeConfOnParty': '', 'parentInfo': ''}"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(json_decrefp) json_t *got = NULL;
        const struct model_buffer b = {"X", cases[i].proto, {(const uint8_t *)"", 0}};
        CHECK_OK(cx, model_json(cx, &b, &got));
        CHECK(json_equal(got, json_of(cx, cases[i].want)));
    }
    CHECK(!pb_find("NoSuchMessage") && !pb_find("") && !pb_find("NodeParam")); /* only whole buffers */
}

struct all_types { /* what protoc-c would make of one field of each kind */
    ProtobufCMessage base;
    int64_t i64;
    uint64_t u64;
    uint32_t u32;
    float f32;
    double f64;
    protobuf_c_boolean b;
    char *text;
    ProtobufCBinaryData bytes;
    size_t n_list;
    double *list;
};
/* clang-format off */
#define FIELD(number, name_, type_, label_, member, n) {.name = name_, .id = number, .label = PROTOBUF_C_LABEL_##label_, \
    .type = PROTOBUF_C_TYPE_##type_, .quantifier_offset = n, .offset = offsetof(struct all_types, member)}
/* clang-format on */
static const ProtobufCFieldDescriptor all_fields[] = {
    FIELD(1, "big_signed", INT64, NONE, i64, 0),
    FIELD(2, "big_2_go", UINT64, NONE, u64, 0),
    FIELD(3, "u32", UINT32, NONE, u32, 0),
    FIELD(4, "f32", FLOAT, NONE, f32, 0),
    FIELD(5, "f_", DOUBLE, NONE, f64, 0),
    FIELD(6, "is_it", BOOL, NONE, b, 0),
    FIELD(7, "text", STRING, NONE, text, 0),
    FIELD(8, "raw", BYTES, NONE, bytes, 0),
    FIELD(9, "list", DOUBLE, REPEATED, list, offsetof(struct all_types, n_list)),
};
static const ProtobufCMessageDescriptor all_descriptor = {.short_name = "AllTypes",
                                                          .sizeof_message = sizeof(struct all_types),
                                                          .n_fields = LEN(all_fields),
                                                          .fields = all_fields};

static void every_type(struct ctx *cx)
{
    double list[] = {0, (double)NAN, (double)INFINITY, -(double)INFINITY, 1e300};
    uint8_t raw[] = {0, 255, 16, 1};
    char text[] = "gr\xc3\xbc\xc3\x9f\"e\n";
    struct all_types m = {{&all_descriptor, 0, NULL},
                          INT64_MIN,
                          UINT64_MAX,
                          UINT32_MAX,
                          0.5f,
                          -0.1,
                          true,
                          text,
                          {4, raw},
                          LEN(list),
                          list};
    CLEANUP(json_decrefp) json_t *got = NULL;
    const char *out = "";
    CHECK_OK(cx, pb_json(cx, &m.base, &got));
    CHECK_OK(cx, js_text(cx, got, &out));
    CHECK(
        strcmp(
            out,
            "{\"bigSigned\":\"-9223372036854775808\",\"big2Go\":\"18446744073709551615\",\"u32\":4294967295,"
            "\"f32\":0.5,\"f\":-0.1,\"isIt\":true,\"text\":\"gr\xc3\xbc\xc3\x9f\\\"e\\n\",\"raw\":\"AP8QAQ=="
            "\","
            "\"list\":[0.0,\"NaN\",\"Infinity\",\"-Infinity\",1e+300]}") == 0);
    json_t *kept = got;
    text[2] = 'x'; /* a byte that continues nothing */
    CHECK_ERR(pb_json(cx, &m.base, &got), FORMAT);
    CHECK(got == kept && strstr(cx->err.msg, "AllTypes") && strstr(cx->err.msg, "text"));
}

/* ---- what is no message ---- */

/* Every beginning of a message is a message or refused; one byte changed as well. Under a sanitizer: nothing is read
 * past the end. */
static void cut_and_changed(struct ctx *cx)
{
    struct model_part p = boost_part(cx, 2);
    const struct model_buffer *b = model_buffer(&p, "Param");
    size_t taken = 0, refused = 0;
    for (size_t i = 0; i <= b->pb.n; i++)
        for (int change = 0; change < 16; change++) {
            struct arena_mark mark = arena_mark(cx->mem);
            CLEANUP(json_decrefp) json_t *j = NULL;
            size_t n = change ? b->pb.n : i;
            uint8_t *copy = NEW(cx, uint8_t, n + 1);
            memcpy(copy, b->pb.p, n);
            if (change && i < n) copy[i] ^= (uint8_t)(change * 17);
            cx->err.msg[0] = 0;
            status st = model_json(cx, &(struct model_buffer){"B", b->proto, {copy, n}}, &j);
            CHECK((st.code == ERR_OK && json_is_object(j)) ||
                  (st.code == ERR_FORMAT && strstr(cx->err.msg, "B")));
            taken += !st.code, refused += st.code != ERR_OK;
            arena_rewind(cx->mem, mark);
        }
    printf("# %zu taken, %zu refused\n", taken, refused);
    CHECK(taken > 0 && refused > 0);
}

TEST_MAIN(T(fates_answers), T(defaults), T(every_type), T(cut_and_changed))
