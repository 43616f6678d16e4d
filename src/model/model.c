#include "model/model.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "model/paths.h"
#include "model/pb_json.h"
#include "model/pipeline.pb-c.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_MAX    (1u << 30)
#define FATE_VERSION  "1.11.4" /* the layout written here is that version's */
#define PIPELINE_FILE "variables/data/pipeline/pipeline/Pipeline"

const struct model_buffer *model_buffer(const struct model_part *p, const char *suffix)
{
    for (size_t i = 0; i < p->n_buffers; i++) {
        size_t n = strlen(p->buffers[i].name), m = strlen(suffix);
        if (n >= m && strcmp(p->buffers[i].name + n - m, suffix) == 0) return &p->buffers[i];
    }
    return NULL;
}

status model_check_name(struct ctx *cx, const char *what, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > 200) return FAIL(cx, ARG, "%s of %zu bytes: want 1 to 200", what, n);
    if (name[0] == '.') return FAIL(cx, ARG, "%s begins with '.'", what);
    for (size_t i = 0; i < n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-#.", name[i]))
            return FAIL(cx, ARG, "%s \"%.60s\": byte %zu is not a letter, digit, '_', '-', '#' or '.'", what,
                        name, i);
    return OK;
}

status model_path(struct ctx *cx, const char *dir, const struct model_key *k, const char **out)
{
    TRY(model_check_name(cx, "role", k->role));
    TRY(model_check_name(cx, "model id", k->model_id));
    TRY(model_check_name(cx, "model version", k->version));
    *out = arena_printf(cx->mem, "%s/%s#%u#%s/%s", dir, k->role, k->party, k->model_id, k->version);
    return *out ? OK : FAIL(cx, NOMEM, "a path");
}

status model_json(struct ctx *cx, const struct model_buffer *b, json_t **out)
{
    const ProtobufCMessageDescriptor *d = pb_find(b->proto);
    if (!d) return FAIL(cx, UNSUPPORTED, "%s: no such message as %s is known here", b->name, b->proto);
    ProtobufCMessage *m;
    TRY_IN(cx, pb_unpack(cx, d, b->pb, &m), "%s", b->name);
    return pb_json(cx, m, out);
}

static status write_json(struct ctx *cx, const char *path, const json_t *j)
{
    const char *text;
    TRY(js_text(cx, j, &text));
    return file_write(cx, path, text, strlen(text), 0600);
}

static status write_buffer(struct ctx *cx, const char *folder, const struct model_part *p,
                           const struct model_buffer *b)
{
    TRY(model_check_name(cx, "buffer", b->name));
    const char *dir = arena_printf(cx->mem, "%s/variables/data/%s/%s", folder, p->component, p->alias);
    TRY(dir_make(cx, dir, 0700));
    CLEANUP(json_decrefp) json_t *view = NULL;
    TRY(model_json(cx, b, &view));
    TRY(file_write(cx, arena_printf(cx->mem, "%s/%s", dir, b->name), b->pb.p, b->pb.n, 0600));
    return write_json(cx, arena_printf(cx->mem, "%s/%s.json", dir, b->name), view);
}

/* The rows of define_meta with those of `component` replaced. */
static status define_update(struct ctx *cx, const char *folder, const struct model_part *p)
{
    struct define_row *old = NULL;
    size_t n_old = 0, n = 0;
    if (file_exists(arena_printf(cx->mem, "%s/define/define_meta.yaml", folder)))
        TRY(define_read(cx, folder, &old, &n_old));
    struct define_row *rows = NEW(cx, struct define_row, n_old + LEN(p->buffers) + 1);
    if (!rows) return FAIL(cx, NOMEM, "define rows");
    for (size_t i = 0; i < n_old; i++)
        if (strcmp(old[i].component, p->component) != 0) rows[n++] = old[i];
    for (size_t i = 0; i < p->n_buffers; i++)
        rows[n++] =
            (struct define_row){p->component, p->module, p->alias, p->buffers[i].name, p->buffers[i].proto};
    if (p->n_buffers == 0) rows[n++] = (struct define_row){.component = p->component, .module = p->module};
    return define_write(cx, folder, rows, n);
}

status model_save_part(struct ctx *cx, const char *dir, const struct model_key *k, const struct model_part *p,
                       const json_t *run_parameters)
{
    const char *folder;
    TRY(model_path(cx, dir, k, &folder));
    TRY(model_check_name(cx, "component", p->component));
    TRY(model_check_name(cx, "model alias", p->alias));
    for (size_t i = 0; i < p->n_buffers; i++)
        TRY_IN(cx, write_buffer(cx, folder, p, &p->buffers[i]), "save model of %s", p->component);
    if (run_parameters) {
        const char *run = arena_printf(cx->mem, "%s/run_parameters/%s", folder, p->component);
        TRY(dir_make(cx, run, 0700));
        TRY(write_json(cx, arena_printf(cx->mem, "%s/run_parameters.json", run), run_parameters));
    }
    return define_update(cx, folder, p);
}

static status json_field(struct ctx *cx, const json_t *j, ProtobufCBinaryData *out)
{
    const char *text;
    TRY(js_text(cx, j, &text));
    *out = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    return OK;
}

static status pipeline_write(struct ctx *cx, const char *folder, const Fate__Pipeline *rec)
{
    struct bytes pb;
    TRY(pb_pack(cx, &rec->base, &pb));
    struct model_part part = {
        .component = "pipeline", .alias = "pipeline", .module = "Pipeline", .n_buffers = 1};
    part.buffers[0] = (struct model_buffer){"Pipeline", "Pipeline", pb};
    TRY(define_update(cx, folder, &part));
    return write_buffer(cx, folder, &part, &part.buffers[0]);
}

status model_save_pipeline(struct ctx *cx, const char *dir, const struct model_key *k,
                           const json_t *train_dsl, const json_t *inference_dsl, const json_t *train_conf,
                           const json_t *conf_on_party, uint32_t initiator_party, const char *initiator_role)
{
    const char *folder;
    TRY(model_path(cx, dir, k, &folder));
    /* Whose half it is must survive export and import: FATE keeps that in the configuration as run at this party. */
    CLEANUP(json_decrefp) json_t *conf = json_deep_copy(conf_on_party);
    json_t *local = json_pack("{s:s,s:I}", "role", k->role, "party_id", (json_int_t)k->party);
    if (!conf || !local || json_object_set_new(conf, "local", local))
        return FAIL(cx, NOMEM, "pipeline record");
    Fate__Pipeline rec = FATE__PIPELINE__INIT;
    TRY(json_field(cx, train_dsl, &rec.train_dsl));
    if (inference_dsl) TRY(json_field(cx, inference_dsl, &rec.inference_dsl));
    TRY(json_field(cx, train_conf, &rec.train_runtime_conf));
    TRY(json_field(cx, conf, &rec.runtime_conf_on_party));
    json_t *roles = json_object_get(train_conf, "role");
    if (roles) TRY(json_field(cx, roles, &rec.roles));
    char version[] = FATE_VERSION;
    rec.fate_version = version;
    rec.model_id = (char *)k->model_id, rec.model_version = (char *)k->version;
    rec.initiator_role = (char *)initiator_role, rec.initiator_party_id = (int32_t)initiator_party;
    rec.parent = true;
    return pipeline_write(cx, folder, &rec);
}

static void free_json(void *j)
{
    json_decref(j);
}

/* Parses a JSON field into an object that goes with cx->mem; NULL for an empty field. */
static status field_json(struct ctx *cx, const char *what, const ProtobufCBinaryData *b, json_t **out)
{
    *out = NULL;
    if (b->len == 0) return OK;
    json_t *j = NULL;
    TRY(js_parse(cx, what, b->data, b->len, &j));
    if (!arena_on_free(cx->mem, free_json, j)) {
        json_decref(j);
        return FAIL(cx, NOMEM, "%s", what);
    }
    *out = j;
    return OK;
}

static status record_read(struct ctx *cx, const char *folder, Fate__Pipeline **out)
{
    struct bytes pb;
    TRY(file_read(cx, arena_printf(cx->mem, "%s/" PIPELINE_FILE, folder), BUFFER_MAX, &pb));
    ProtobufCMessage *m;
    TRY(pb_unpack(cx, &fate__pipeline__descriptor, pb, &m));
    *out = (Fate__Pipeline *)m;
    return OK;
}

/* FATE keeps {"local": {role, party_id}} in the run parameters of each component rather than in the record. */
static const json_t *find_local(struct ctx *cx, const char *folder, const json_t *conf)
{
    const json_t *local = js_at(conf, "local");
    const char **names;
    size_t n = 0;
    if (local || dir_list(cx, arena_printf(cx->mem, "%s/run_parameters", folder), &names, &n).code)
        return local;
    for (size_t i = 0; !local && i < n; i++) {
        json_t *run = NULL;
        if (js_read(cx, arena_printf(cx->mem, "%s/run_parameters/%s/run_parameters.json", folder, names[i]),
                    &run)
                .code)
            continue;
        if (arena_on_free(cx->mem, free_json, run))
            local = js_at(run, "local");
        else
            json_decref(run);
    }
    return local;
}

status pipeline_read(struct ctx *cx, const char *folder, struct model_pipeline *out, struct model_key *key)
{
    Fate__Pipeline *rec;
    TRY(record_read(cx, folder, &rec));
    struct model_pipeline p = {.parent = rec->parent};
    json_t *info;
    TRY(field_json(cx, "pipeline record: train_dsl", &rec->train_dsl, &p.train_dsl));
    TRY(field_json(cx, "pipeline record: inference_dsl", &rec->inference_dsl, &p.inference_dsl));
    TRY(field_json(cx, "pipeline record: train_runtime_conf", &rec->train_runtime_conf, &p.train_conf));
    TRY(field_json(cx, "pipeline record: runtime_conf_on_party", &rec->runtime_conf_on_party,
                   &p.conf_on_party));
    TRY(field_json(cx, "pipeline record: parent_info", &rec->parent_info, &info));
    p.parent_version = json_string_value(js_at(info, "parent_model_version"));
    if (key) {
        const json_t *local = find_local(cx, folder, p.conf_on_party);
        const char *role = json_string_value(js_at(local, "role"));
        json_int_t id = json_integer_value(js_at(local, "party_id"));
        if (!role || id <= 0 || id > UINT32_MAX)
            return FAIL(cx, FORMAT, "pipeline record: no role and party id of the model's owner");
        *key = (struct model_key){role, (uint32_t)id, rec->model_id, rec->model_version};
    }
    *out = p;
    return OK;
}

status pipeline_rewrite(struct ctx *cx, const char *folder, const json_t *inference_dsl, const char *version,
                        const char *parent_version)
{
    Fate__Pipeline *rec;
    TRY(record_read(cx, folder, &rec));
    if (inference_dsl) TRY(json_field(cx, inference_dsl, &rec->inference_dsl));
    CLEANUP(json_decrefp)
    json_t *info =
        json_pack("{s:s,s:s}", "parent_model_id", rec->model_id, "parent_model_version", parent_version);
    if (!info) return FAIL(cx, NOMEM, "pipeline record");
    TRY(json_field(cx, info, &rec->parent_info));
    rec->model_version = (char *)version;
    rec->parent = false;
    return pipeline_write(cx, folder, rec);
}

status model_load_pipeline(struct ctx *cx, const char *dir, const struct model_key *k,
                           struct model_pipeline *out)
{
    const char *folder;
    TRY(model_path(cx, dir, k, &folder));
    if (!file_exists(arena_printf(cx->mem, "%s/" PIPELINE_FILE, folder)))
        return FAIL(cx, NOTFOUND, "no model %s version %s of %s %u here", k->model_id, k->version, k->role,
                    k->party);
    return pipeline_read(cx, folder, out, NULL);
}

status model_load_part(struct ctx *cx, const char *dir, const struct model_key *k, const char *component,
                       struct model_part *out, json_t **run_parameters)
{
    const char *folder;
    struct define_row *rows;
    size_t n;
    TRY(model_path(cx, dir, k, &folder));
    TRY(define_read(cx, folder, &rows, &n));
    struct model_part p = {0};
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].component, component) != 0 || !rows[i].alias) continue;
        if (p.n_buffers == LEN(p.buffers))
            return FAIL(cx, FORMAT, "%s has more than %zu buffers", component, LEN(p.buffers));
        p.component = rows[i].component, p.alias = rows[i].alias, p.module = rows[i].module;
        struct model_buffer *b = &p.buffers[p.n_buffers++];
        b->name = rows[i].name, b->proto = rows[i].proto;
        TRY(file_read(cx,
                      arena_printf(cx->mem, "%s/variables/data/%s/%s/%s", folder, component, rows[i].alias,
                                   rows[i].name),
                      BUFFER_MAX, &b->pb));
    }
    if (p.n_buffers == 0)
        return FAIL(cx, NOTFOUND, "model version %s has no component %s", k->version, component);
    const char *run = arena_printf(cx->mem, "%s/run_parameters/%s/run_parameters.json", folder, component);
    if (run_parameters) {
        *run_parameters = NULL;
        if (file_exists(run)) {
            json_t *j = NULL;
            TRY(js_read(cx, run, &j));
            if (!arena_on_free(cx->mem, free_json, j)) return FAIL(cx, NOMEM, "%s", run);
            *run_parameters = j;
        }
    }
    *out = p;
    return OK;
}

static uint64_t tree_bytes(struct ctx *cx, const char *path, int64_t *newest_ms)
{
    const char **names;
    size_t n = 0;
    uint64_t sum = 0;
    struct stat st;
    if (lstat(path, &st)) return 0;
    if (S_ISREG(st.st_mode)) {
        *newest_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        return (uint64_t)st.st_size;
    }
    if (dir_list(cx, path, &names, &n).code) return 0;
    for (size_t i = 0; i < n; i++)
        sum += tree_bytes(cx, arena_printf(cx->mem, "%s/%s", path, names[i]), newest_ms);
    return sum;
}

static status describe(struct ctx *cx, const char *folder, struct model_info *out)
{
    struct model_pipeline p;
    struct model_info info = {0};
    struct define_row *rows;
    size_t n;
    TRY(pipeline_read(cx, folder, &p, &info.key));
    TRY(define_read(cx, folder, &rows, &n));
    const char **names = NEW(cx, const char *, n + 1);
    if (!names) return FAIL(cx, NOMEM, "component names");
    for (size_t i = 0; i < n; i++) {
        bool seen = strcmp(rows[i].component, "pipeline") == 0 ||
                    (info.n_components && strcmp(names[info.n_components - 1], rows[i].component) == 0);
        if (!seen) names[info.n_components++] = rows[i].component;
    }
    info.components = names;
    info.deployed = !p.parent, info.parent_version = p.parent_version;
    int64_t ignored = 0;
    info.bytes = tree_bytes(cx, folder, &ignored);
    tree_bytes(cx, arena_printf(cx->mem, "%s/" PIPELINE_FILE, folder), &info.created_ms);
    *out = info;
    return OK;
}

status model_list(struct ctx *cx, const char *dir, struct model_info **out, size_t *n)
{
    const char **models, **versions;
    size_t n_models = 0, n_versions, count = 0, cap = 0;
    struct model_info *list = NULL;
    if (file_exists(dir)) TRY(dir_list(cx, dir, &models, &n_models));
    for (size_t i = 0; i < n_models; i++) {
        if (models[i][0] == '.') continue;
        TRY(dir_list(cx, arena_printf(cx->mem, "%s/%s", dir, models[i]), &versions, &n_versions));
        for (size_t j = 0; j < n_versions; j++) {
            const char *folder = arena_printf(cx->mem, "%s/%s/%s", dir, models[i], versions[j]);
            if (versions[j][0] == '.' || !file_exists(arena_printf(cx->mem, "%s/" PIPELINE_FILE, folder)))
                continue;
            if (count == cap) {
                struct model_info *more = NEW(cx, struct model_info, cap = cap ? 2 * cap : 16);
                if (!more) return FAIL(cx, NOMEM, "%zu models", cap);
                if (count) memcpy(more, list, count * sizeof *list);
                list = more;
            }
            TRY_IN(cx, describe(cx, folder, &list[count]), "model %s/%s", models[i], versions[j]);
            count++;
        }
    }
    *out = list, *n = count;
    return OK;
}
