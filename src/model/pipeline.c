/* The pipeline record: what a model was trained by, and its DSL for predicting. */
#include "model/pipeline.pb-c.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "model/model.h"
#include "model/paths.h"
#include "model/pb_json.h"
#include <assert.h>
#include <string.h>

#define FATE_VERSION "1.11.4" /* the layout written here is that version's */

/* ---- writing ---- */

static status json_field(struct ctx *cx, const json_t *j, ProtobufCBinaryData *out)
{
    const char *text;
    TRY(js_text(cx, j, &text));
    *out = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    return OK;
}

static status record_write(struct ctx *cx, const char *folder, const Fate__Pipeline *rec)
{
    struct model_part part = {
        .component = "pipeline", .alias = "pipeline", .module = "Pipeline", .n_buffers = 1};
    part.buffers[0] = (struct model_buffer){.name = "Pipeline", .proto = "Pipeline"};
    TRY(pb_pack(cx, &rec->base, &part.buffers[0].pb));
    TRY(define_update(cx, folder, &part));
    return buffers_write(cx, folder, &part); /* last: with the file the model is there */
}

status model_save_pipeline(struct ctx *cx, const char *dir, const struct model_key *k,
                           const json_t *train_dsl, const json_t *inference_dsl, const json_t *train_conf,
                           const json_t *conf_on_party, uint32_t initiator_party, const char *initiator_role)
{
    const char *folder;
    TRY(model_path(cx, dir, k, &folder));
    if (!json_is_object(train_dsl) || !json_is_object(train_conf) || !json_is_object(conf_on_party))
        return FAIL(cx, ARG, "pipeline record: the DSL and configurations are objects");
    /* Whose half it is must survive export and import: FATE keeps that in the configuration as run at this party. */
    CLEANUP(json_decrefp) json_t *conf = json_deep_copy(conf_on_party);
    if (!conf ||
        json_object_set_new(conf, "local",
                            json_pack("{s:s,s:I}", "role", k->role, "party_id", (json_int_t)k->party)))
        return FAIL(cx, NOMEM, "pipeline record");
    Fate__Pipeline rec = FATE__PIPELINE__INIT;
    TRY(json_field(cx, train_dsl, &rec.train_dsl));
    if (inference_dsl) TRY(json_field(cx, inference_dsl, &rec.inference_dsl));
    TRY(json_field(cx, train_conf, &rec.train_runtime_conf));
    TRY(json_field(cx, conf, &rec.runtime_conf_on_party));
    const json_t *roles = json_object_get(train_conf, "role");
    if (roles) TRY(json_field(cx, roles, &rec.roles));
    char version[] = FATE_VERSION;
    rec.fate_version = version;
    rec.model_id = (char *)k->model_id, rec.model_version = (char *)k->version;
    rec.initiator_role = (char *)initiator_role, rec.initiator_party_id = (int32_t)initiator_party;
    rec.parent = true;
    return record_write(cx, folder, &rec);
}

/* ---- reading ---- */

static void free_json(void *j)
{
    json_decref(j);
}

/* Parses a field into an object that goes with cx->mem; NULL for an empty one. */
static status field_json(struct ctx *cx, const char *name, const ProtobufCBinaryData *b, bool needed,
                         json_t **out)
{
    *out = NULL;
    if (b->len == 0 && !needed) return OK;
    if (b->len == 0) return FAIL(cx, FORMAT, "pipeline record: no %s", name);
    json_t *j = NULL;
    TRY_IN(cx, js_parse(cx, name, b->data, b->len, &j), "pipeline record");
    if (!arena_on_free(cx->mem, free_json, j)) {
        json_decref(j);
        return FAIL(cx, NOMEM, "pipeline record: %s", name);
    }
    if (!json_is_object(j)) return FAIL(cx, FORMAT, "pipeline record: %s is not an object", name);
    *out = j;
    return OK;
}

static status record_read(struct ctx *cx, const char *folder, Fate__Pipeline **out)
{
    struct bytes pb;
    PATH(cx, file, "%s/" PIPELINE_FILE, folder);
    TRY(file_read(cx, file, MODEL_FILE_MAX, &pb));
    ProtobufCMessage *m;
    TRY(pb_unpack(cx, &fate__pipeline__descriptor, pb, &m));
    *out = (Fate__Pipeline *)m;
    return OK;
}

/* FATE keeps {"local": {role, party_id}} in the run parameters of each component rather than in the record. */
static status find_local(struct ctx *cx, const char *folder, const json_t *conf, const json_t **out)
{
    const char **names;
    size_t n = 0;
    *out = js_at(conf, "local");
    PATH(cx, all, "%s/run_parameters", folder);
    if (*out || !file_exists(all)) return OK;
    TRY(dir_list(cx, all, &names, &n));
    for (size_t i = 0; !*out && i < n; i++) {
        json_t *run = NULL;
        PATH(cx, file, "%s/%s/run_parameters.json", all, names[i]);
        if (!file_exists(file)) continue;
        TRY(js_read(cx, file, &run));
        if (!arena_on_free(cx->mem, free_json, run)) {
            json_decref(run);
            return FAIL(cx, NOMEM, "%s", file);
        }
        *out = js_at(run, "local");
    }
    return OK;
}

/* A party's id, as a number or as text: FATE has both. 0: neither. */
static uint32_t party_id(const json_t *j)
{
    uint64_t id = 0;
    if (json_is_integer(j) && json_integer_value(j) > 0) id = (uint64_t)json_integer_value(j);
    if (json_is_string(j) && !num_parse_u64(json_string_value(j), json_string_length(j), &id)) id = 0;
    return id <= UINT32_MAX ? (uint32_t)id : 0;
}

/* The owner, who has to be one of the parties that trained. */
static status find_owner(struct ctx *cx, const char *folder, const struct model_pipeline *p,
                         struct model_key *key)
{
    const json_t *local;
    TRY(find_local(cx, folder, p->conf_on_party, &local));
    key->role = json_string_value(js_at(local, "role"));
    key->party = party_id(js_at(local, "party_id"));
    if (!key->role || !key->party)
        return FAIL(cx, FORMAT, "pipeline record: no role and party id of the model's owner");
    TRY_IN(cx, model_check_stored_key(cx, key), "pipeline record");
    const json_t *list = json_object_get(json_object_get(p->train_conf, "role"), key->role);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (party_id(json_array_get(list, i)) == key->party) return OK;
    return FAIL(cx, FORMAT, "pipeline record: %s %u is not among the parties of the training", key->role,
                key->party);
}

status pipeline_read(struct ctx *cx, const char *folder, struct model_pipeline *out, struct model_key *key)
{
    Fate__Pipeline *rec = NULL;
    TRY(record_read(cx, folder, &rec));
    assert(rec);
    struct model_pipeline p = {.parent = rec->parent};
    json_t *info;
    TRY(field_json(cx, "train_dsl", &rec->train_dsl, true, &p.train_dsl));
    TRY(field_json(cx, "inference_dsl", &rec->inference_dsl, false, &p.inference_dsl));
    TRY(field_json(cx, "train_runtime_conf", &rec->train_runtime_conf, true, &p.train_conf));
    TRY(field_json(cx, "runtime_conf_on_party", &rec->runtime_conf_on_party, false, &p.conf_on_party));
    TRY(field_json(cx, "parent_info", &rec->parent_info, false, &info));
    p.parent_version = json_string_value(js_at(info, "parent_model_version"));
    if (key) {
        struct model_key k = {.model_id = rec->model_id, .version = rec->model_version};
        TRY(find_owner(cx, folder, &p, &k));
        *key = k;
    }
    *out = p;
    return OK;
}

status model_load_pipeline(struct ctx *cx, const char *dir, const struct model_key *k,
                           struct model_pipeline *out)
{
    const char *folder;
    TRY(model_path(cx, dir, k, &folder));
    PATH(cx, file, "%s/" PIPELINE_FILE, folder);
    if (!file_exists(file))
        return FAIL(cx, NOTFOUND, "no model %s version %s of %s %u here", k->model_id, k->version, k->role,
                    k->party);
    return pipeline_read(cx, folder, out, NULL);
}

status pipeline_rewrite(struct ctx *cx, const char *folder, const json_t *inference_dsl, const char *version,
                        const char *parent_version)
{
    Fate__Pipeline *rec = NULL;
    TRY(record_read(cx, folder, &rec));
    assert(rec);
    TRY(json_field(cx, inference_dsl, &rec->inference_dsl));
    CLEANUP(json_decrefp)
    json_t *info =
        json_pack("{s:s,s:s}", "parent_model_id", rec->model_id, "parent_model_version", parent_version);
    if (!info) return FAIL(cx, NOMEM, "pipeline record");
    TRY(json_field(cx, info, &rec->parent_info));
    rec->model_version = (char *)version;
    rec->parent = false;
    return record_write(cx, folder, rec);
}
