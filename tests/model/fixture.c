#include "fixture.h"
#include "model/boosting-tree-model-meta.pb-c.h"
#include "model/boosting-tree-model-param.pb-c.h"
#include "model/data-transform-meta.pb-c.h"
#include "model/data-transform-param.pb-c.h"
#include <sys/stat.h>

const struct model_key guest_key = {"guest", 9999, MODEL_ID, TRAINED};

const char *const train_dsl_text =
    "{'components': {'reader_0': {'module': 'Reader', 'output': {'data': ['data']}},"
    "'data_transform_0': {'module': 'DataTransform', 'input': {'data': {'data': ['reader_0.data']}},"
    " 'output': {'data': ['data'], 'model': ['model']}},"
    "'intersection_0': {'module': 'Intersection', 'input': {'data': {'data': ['data_transform_0.data']}},"
    " 'output': {'data': ['data']}},"
    "'hetero_secure_boost_0': {'module': 'HeteroSecureBoost',"
    " 'input': {'data': {'train_data': ['intersection_0.data']}},"
    " 'output': {'data': ['data'], 'model': ['model']}},"
    "'evaluation_0': {'module': 'Evaluation', 'input': {'data': {'data': ['hetero_secure_boost_0.data']}},"
    " 'output': {'data': ['data']}}}}";

const char *const train_conf_text = "{'dsl_version': 2, 'initiator': {'role': 'guest', 'party_id': 9999},"
                                    " 'role': {'guest': [9999], 'host': [10000, 10001]}, 'job_parameters': "
                                    "{'common': {'job_type': 'train'}}}";

static void free_json(void *j)
{
    json_decref(j);
}

json_t *json_of(struct ctx *cx, const char *text)
{
    char *s = arena_strdup(cx->mem, text);
    json_t *j = NULL;
    for (char *c = s; s && *c; c++)
        if (*c == '\'') *c = '"';
    if (!s || js_parse(cx, "a test's JSON", s, strlen(s), &j).code || !arena_on_free(cx->mem, free_json, j))
        abort();
    return j;
}

static struct model_buffer buffer(struct ctx *cx, const char *name, const ProtobufCMessage *m)
{
    struct model_buffer b = {name, m->descriptor->short_name, {0}};
    CHECK_OK(cx, pb_pack(cx, m, &b.pb));
    return b;
}

struct model_part transform_part(struct ctx *cx)
{
    char format[] = "dense", comma[] = ",", x0[] = "x0", x1[] = "x1", label[] = "y";
    char *header[] = {x0, x1};
    Fate__DataTransformImputerMeta imputer = FATE__DATA_TRANSFORM_IMPUTER_META__INIT;
    Fate__DataTransformMeta meta = FATE__DATA_TRANSFORM_META__INIT;
    meta.input_format = format, meta.delimitor = comma, meta.with_label = true, meta.imputer_meta = &imputer;
    Fate__DataTransformParam param = FATE__DATA_TRANSFORM_PARAM__INIT;
    param.n_header = 2, param.header = header, param.label_name = label;
    struct model_part p = {TRANSFORM, "model", "DataTransform", {{0}}, 2};
    p.buffers[0] = buffer(cx, "DataTransformMeta", &meta.base);
    p.buffers[1] = buffer(cx, "DataTransformParam", &param.base);
    return p;
}

struct model_part boost_part(struct ctx *cx, size_t trees)
{
    char site[] = "guest:9999", module[] = "HeteroSecureBoost";
    Fate__NodeParam node = FATE__NODE_PARAM__INIT;
    node.sitename = site, node.weight = 0.5, node.is_leaf = true, node.left_nodeid = node.right_nodeid = -1;
    Fate__NodeParam *nodes[] = {&node};
    Fate__DecisionTreeModelParam__LeafCountEntry count =
        FATE__DECISION_TREE_MODEL_PARAM__LEAF_COUNT_ENTRY__INIT;
    count.value = 569;
    Fate__DecisionTreeModelParam__LeafCountEntry *counts[] = {&count};
    Fate__DecisionTreeModelParam tree = FATE__DECISION_TREE_MODEL_PARAM__INIT;
    tree.n_tree_ = 1, tree.tree_ = nodes, tree.n_leaf_count = 1, tree.leaf_count = counts;
    Fate__DecisionTreeModelParam *all[8];
    Fate__BoostingTreeModelParam param = FATE__BOOSTING_TREE_MODEL_PARAM__INIT;
    for (size_t i = 0; i < LEN(all); i++)
        all[i] = &tree;
    param.tree_num = (int32_t)trees, param.n_trees_ = trees, param.trees_ = all;
    Fate__BoostingTreeModelMeta meta = FATE__BOOSTING_TREE_MODEL_META__INIT;
    meta.learning_rate = 0.3, meta.num_trees = (int32_t)trees, meta.module = module;
    struct model_part p = {BOOST, "model", "HeteroSecureBoost", {{0}}, 2};
    p.buffers[0] = buffer(cx, "HeteroSecureBoostingTreeGuestMeta", &meta.base);
    p.buffers[1] = buffer(cx, "HeteroSecureBoostingTreeGuestParam", &param.base);
    return p;
}

status save_parts(struct ctx *cx, const char *dir, const struct model_key *k, size_t trees)
{
    struct model_part t = transform_part(cx), b = boost_part(cx, trees);
    TRY(model_save_part(cx, dir, k, &t, json_of(cx, "{'ComponentParam': {'with_label': true}}")));
    return model_save_part(cx, dir, k, &b, json_of(cx, "{'ComponentParam': {'num_trees': 2}}"));
}

status save_record(struct ctx *cx, const char *dir, const struct model_key *k)
{
    const json_t *dsl = json_of(cx, train_dsl_text), *conf = json_of(cx, train_conf_text);
    return model_save_pipeline(cx, dir, k, dsl, NULL, conf, conf, 9999, "guest");
}

status save_model(struct ctx *cx, const char *dir, const struct model_key *k, size_t trees)
{
    TRY(save_parts(cx, dir, k, trees));
    return save_record(cx, dir, k);
}

static void add_folder(struct ctx *cx, const char *root, const char *rel, struct buf *out)
{
    const char **names;
    size_t n = 0;
    CHECK_OK(cx, dir_list(cx, arena_printf(cx->mem, "%s/%s", root, rel), &names, &n));
    for (size_t i = 0; i < n; i++) {
        const char *name = arena_printf(cx->mem, "%s%s%s", rel, *rel ? "/" : "", names[i]);
        const char *path = arena_printf(cx->mem, "%s/%s", root, name);
        struct bytes data = {0};
        struct stat st;
        buf_str(out, name);
        if (lstat(path, &st)) abort();
        if (S_ISDIR(st.st_mode)) {
            add_folder(cx, root, name, out);
            continue;
        }
        CHECK_OK(cx, file_read(cx, path, 1 << 26, &data));
        buf_blob(out, data.p, data.n);
    }
}

struct bytes folder_text(struct ctx *cx, const char *folder)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes out = {0};
    add_folder(cx, folder, "", &b);
    CHECK_OK(cx, buf_to_arena(cx, &b, &out));
    return out;
}

bool same_bytes(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
