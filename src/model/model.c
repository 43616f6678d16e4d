#include "model/model.h"
#include "base/arena.h"
#include "base/file.h"
#include "model/paths.h"
#include "model/pb_json.h"
#include <string.h>
#include <sys/stat.h>

const struct model_buffer *model_buffer(const struct model_part *p, const char *suffix)
{
    for (size_t i = 0; i < p->n_buffers; i++) {
        size_t n = strlen(p->buffers[i].name), m = strlen(suffix);
        if (n >= m && strcmp(p->buffers[i].name + n - m, suffix) == 0) return &p->buffers[i];
    }
    return NULL;
}

status model_json(struct ctx *cx, const struct model_buffer *b, json_t **out)
{
    const ProtobufCMessageDescriptor *d = pb_find(b->proto);
    if (!d) return FAIL(cx, UNSUPPORTED, "%s: no such message as %s is known here", b->name, b->proto);
    ProtobufCMessage *m;
    TRY_IN(cx, pb_unpack(cx, d, b->pb, &m), "%s", b->name);
    return pb_json(cx, m, out);
}

/* ---- writing ---- */

static status write_json(struct ctx *cx, const char *path, const json_t *j)
{
    const char *text;
    TRY(js_text(cx, j, &text));
    return file_write(cx, path, text, strlen(text), 0600);
}

status view_write(struct ctx *cx, const char *file, const struct model_buffer *b)
{
    CLEANUP(json_decrefp) json_t *view = NULL;
    PATH(cx, path, "%s.json", file);
    TRY(model_json(cx, b, &view));
    return write_json(cx, path, view);
}

status define_update(struct ctx *cx, const char *folder, const struct model_part *p)
{
    struct define_row *old = NULL;
    size_t n_old = 0, n = 0;
    PATH(cx, file, "%s/define/define_meta.yaml", folder);
    if (file_exists(file)) TRY(define_read(cx, folder, &old, &n_old));
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

status buffers_write(struct ctx *cx, const char *folder, const struct model_part *p)
{
    PATH(cx, dir, "%s/variables/data/%s/%s", folder, p->component, p->alias);
    if (p->n_buffers) TRY(dir_make(cx, dir, 0700));
    for (size_t i = 0; i < p->n_buffers; i++) {
        const struct model_buffer *b = &p->buffers[i];
        PATH(cx, file, "%s/%s", dir, b->name);
        TRY(view_write(cx, file, b)); /* first: it is the file itself that counts */
        TRY(file_write(cx, file, b->pb.p, b->pb.n, 0600));
    }
    return OK;
}

/* Before anything is written, so that a part is refused whole. */
static status check_part(struct ctx *cx, const struct model_part *p)
{
    TRY(model_check_name(cx, "component", p->component));
    TRY(model_check_name(cx, "model alias", p->alias));
    TRY(model_check_name(cx, "module", p->module));
    if (strcmp(p->component, "pipeline") == 0)
        return FAIL(cx, ARG, "a component named pipeline: that is where the model's own record lies");
    if (p->n_buffers > LEN(p->buffers))
        return FAIL(cx, ARG, "%zu buffers, at most %zu", p->n_buffers, LEN(p->buffers));
    for (size_t i = 0; i < p->n_buffers; i++) {
        const struct model_buffer *b = &p->buffers[i];
        TRY(model_check_name(cx, "buffer", b->name));
        if (!pb_find(b->proto))
            return FAIL(cx, UNSUPPORTED, "%s: no such message as %s is known here", b->name, b->proto);
        if (b->pb.n > MODEL_FILE_MAX)
            return FAIL(cx, LIMIT, "%s has %zu bytes, at most %zu", b->name, b->pb.n, MODEL_FILE_MAX);
        for (size_t k = 0; k < i; k++)
            if (strcmp(b->name, p->buffers[k].name) == 0) return FAIL(cx, ARG, "two buffers %s", b->name);
    }
    return OK;
}

status model_save_part(struct ctx *cx, const char *dir, const struct model_key *k, const struct model_part *p,
                       const json_t *run_parameters)
{
    const char *folder;
    TRY(model_path(cx, dir, k, &folder));
    TRY_IN(cx, check_part(cx, p), "save model of %s", p->component);
    TRY_IN(cx, buffers_write(cx, folder, p), "save model of %s", p->component);
    if (run_parameters) {
        PATH(cx, run, "%s/run_parameters/%s", folder, p->component);
        PATH(cx, file, "%s/run_parameters.json", run);
        TRY(dir_make(cx, run, 0700));
        TRY(write_json(cx, file, run_parameters));
    }
    return define_update(cx, folder, p); /* last: with this the part is there */
}

/* ---- reading ---- */

static void free_json(void *j)
{
    json_decref(j);
}

static status read_run_parameters(struct ctx *cx, const char *folder, const char *component, json_t **out)
{
    PATH(cx, file, "%s/run_parameters/%s/run_parameters.json", folder, component);
    json_t *j = NULL;
    if (file_exists(file)) {
        TRY(js_read(cx, file, &j));
        if (!arena_on_free(cx->mem, free_json, j)) {
            json_decref(j);
            return FAIL(cx, NOMEM, "%s", file);
        }
    }
    *out = j;
    return OK;
}

static status read_buffers(struct ctx *cx, const char *folder, const char *component, struct model_part *p)
{
    struct define_row *rows;
    size_t n;
    TRY(define_read(cx, folder, &rows, &n));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].component, component) != 0 || !rows[i].alias) continue;
        if (p->n_buffers == LEN(p->buffers))
            return FAIL(cx, FORMAT, "%s has more than %zu buffers", component, LEN(p->buffers));
        p->component = rows[i].component, p->alias = rows[i].alias, p->module = rows[i].module;
        struct model_buffer *b = &p->buffers[p->n_buffers++];
        b->name = rows[i].name, b->proto = rows[i].proto;
        PATH(cx, file, "%s/variables/data/%s/%s/%s", folder, component, p->alias, b->name);
        TRY(file_read(cx, file, MODEL_FILE_MAX, &b->pb));
    }
    return OK;
}

status model_load_part(struct ctx *cx, const char *dir, const struct model_key *k, const char *component,
                       struct model_part *out, json_t **run_parameters)
{
    const char *folder;
    struct model_part p = {0};
    TRY(model_path(cx, dir, k, &folder));
    TRY(model_check_name(cx, "component", component));
    PATH(cx, define, "%s/define/define_meta.yaml", folder);
    if (!file_exists(define))
        return FAIL(cx, NOTFOUND, "no model %s version %s of %s %u here", k->model_id, k->version, k->role,
                    k->party);
    TRY(read_buffers(cx, folder, component, &p));
    if (p.n_buffers == 0)
        return FAIL(cx, NOTFOUND, "model version %s has no component %s", k->version, component);
    if (run_parameters) TRY(read_run_parameters(cx, folder, component, run_parameters));
    *out = p;
    return OK;
}

/* ---- listing ---- */

static status component_names(struct ctx *cx, const char *folder, struct model_info *out)
{
    struct define_row *rows;
    size_t n, n_names = 0;
    TRY(define_read(cx, folder, &rows, &n));
    const char **names = NEW(cx, const char *, n + 1);
    if (!names) return FAIL(cx, NOMEM, "component names");
    for (size_t i = 0; i < n; i++) {
        bool seen = strcmp(rows[i].component, "pipeline") == 0 ||
                    (n_names && strcmp(names[n_names - 1], rows[i].component) == 0);
        if (!seen) names[n_names++] = rows[i].component;
    }
    out->components = names, out->n_components = n_names;
    return OK;
}

status model_describe(struct ctx *cx, const char *folder, const struct model_key *k, struct model_info *out)
{
    struct model_pipeline p;
    struct model_key found;
    struct model_info info = {.key = *k};
    TRY(pipeline_read(cx, folder, &p, &found));
    if (strcmp(found.role, k->role) != 0 || found.party != k->party ||
        strcmp(found.model_id, k->model_id) != 0 || strcmp(found.version, k->version) != 0)
        return FAIL(cx, FORMAT, "the pipeline record is of %s %u, model %s version %s", found.role,
                    found.party, found.model_id, found.version);
    TRY(component_names(cx, folder, &info));
    info.deployed = !p.parent, info.parent_version = p.parent_version;
    info.bytes = folder_bytes(cx, folder, NULL);
    PATH(cx, record, "%s/" PIPELINE_FILE, folder);
    folder_bytes(cx, record, &info.created_ms);
    *out = info;
    return OK;
}

struct list {
    struct model_info *info;
    size_t n, cap;
};

static status list_add(struct ctx *cx, struct list *l, const char *folder, const struct model_key *k)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct model_info *more = NEW(cx, struct model_info, cap);
        if (!more) return FAIL(cx, NOMEM, "%zu models", cap);
        if (l->n) memcpy(more, l->info, l->n * sizeof *more);
        l->info = more, l->cap = cap;
    }
    struct model_info *info = &l->info[l->n];
    status st = model_describe(cx, folder, k, info);
    if (st.code == ERR_NOMEM) return st;
    if (st.code) { /* one that is damaged must not hide the others */
        *info = (struct model_info){.key = *k, .damage = arena_strdup(cx->mem, cx->err.msg)};
        if (!info->damage) return FAIL(cx, NOMEM, "%zu models", l->n);
        info->bytes = folder_bytes(cx, folder, &info->created_ms);
    }
    l->n++;
    return OK;
}

static status list_versions(struct ctx *cx, const char *dir, const char *model, struct list *l)
{
    const char **versions;
    size_t n;
    struct stat st;
    PATH(cx, path, "%s/%s", dir, model);
    if (lstat(path, &st) || !S_ISDIR(st.st_mode)) return OK;
    TRY(dir_list(cx, path, &versions, &n));
    for (size_t i = 0; i < n; i++) {
        struct model_key k;
        PATH(cx, folder, "%s/%s", path, versions[i]);
        PATH(cx, record, "%s/" PIPELINE_FILE, folder);
        if (!file_exists(record) || !folder_key(cx, model, versions[i], &k)) continue;
        TRY(list_add(cx, l, folder, &k));
    }
    return OK;
}

status model_list(struct ctx *cx, const char *dir, struct model_info **out, size_t *n)
{
    const char **models;
    size_t n_models = 0;
    struct list l = {0};
    if (file_exists(dir)) TRY(dir_list(cx, dir, &models, &n_models));
    for (size_t i = 0; i < n_models; i++)
        TRY(list_versions(cx, dir, models[i], &l));
    *out = l.info, *n = l.n;
    return OK;
}
