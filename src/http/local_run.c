#include "http/local_run.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/secret.h"
#include "table/csv.h"
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(const json_t *p, const char *key)
{
    return json_string_value(json_object_get(p, key));
}

static bool truth(const json_t *p, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(p, key);
    if (json_is_boolean(v)) return json_is_true(v);
    if (json_is_integer(v)) return json_integer_value(v) != 0;
    if (json_is_string(v))
        return strcmp(json_string_value(v), "1") == 0 || strcasecmp(json_string_value(v), "true") == 0;
    return otherwise;
}

status local_path(struct ctx *cx, const struct http *h, const char *given, const char **out)
{
    char root[PATH_MAX], parent[PATH_MAX];
    const char *files = arena_printf(cx->mem, "%s/files", h->dir);
    const char *path = given[0] == '/' ? given : arena_printf(cx->mem, "%s/%s", files, given);
    const char *slash = path ? strrchr(path, '/') : NULL;
    TRY(dir_make(cx, files, 0700));
    if (!slash || !realpath(files, root)) return FAIL(cx, IO, "%s: %m", files);
    const char *dir = arena_strndup(cx->mem, path, slash > path ? (size_t)(slash - path) : 1);
    bool inside = dir && realpath(dir, parent) && strncmp(parent, root, strlen(root)) == 0 &&
                  (parent[strlen(root)] == 0 || parent[strlen(root)] == '/');
    bool named = slash[1] && strcmp(slash + 1, ".") != 0 && strcmp(slash + 1, "..") != 0;
    if (!inside || !named)
        return FAIL(cx, AUTH, "%.200s is not under this site's folder of files for the API, %s", given, root);
    *out = arena_printf(cx->mem, "%s/%s", parent, slash + 1);
    return *out ? OK : FAIL(cx, NOMEM, "a path");
}

/* ---- upload ---- */

/* FATE's format meta: only dense CSV, its delimiter and its label are read here. */
static status check_meta(struct ctx *cx, const json_t *p)
{
    const json_t *meta = json_object_get(p, "meta");
    const char *format = text_of(meta, "input_format");
    if (!truth(p, "with_meta", false)) return OK;
    if (format && strcmp(format, "dense") != 0)
        return FAIL(cx, UNSUPPORTED, "meta.input_format %.40s: norn uploads dense tables so far", format);
    if (truth(meta, "with_match_id", false))
        return FAIL(cx, UNSUPPORTED, "meta.with_match_id is not supported by norn yet");
    return OK;
}

static const char *delimiter_of(const json_t *p)
{
    const char *d = truth(p, "with_meta", false) ? text_of(json_object_get(p, "meta"), "delimiter") : NULL;
    if (!d || !*d) d = text_of(p, "id_delimiter");
    return d && *d ? d : ",";
}

status local_check_upload(struct ctx *cx, const json_t *p)
{
    const char *d = delimiter_of(p);
    if (strlen(d) != 1 && strcmp(d, "\\t") != 0)
        return FAIL(cx, ARG, "id_delimiter \"%.20s\", want one character", d);
    const char *engine = text_of(p, "storage_engine");
    if (engine && *engine && strcasecmp(engine, "STANDALONE") != 0 && strcasecmp(engine, "EGGROLL") != 0)
        return FAIL(cx, UNSUPPORTED, "storage_engine %.40s: norn keeps tables in its own store", engine);
    return check_meta(cx, p);
}

struct progress {
    struct worker *w;
    struct local_work *work;
    uint64_t next_ms;
};

static void on_progress(void *arg, uint64_t done, uint64_t all)
{
    struct progress *p = arg;
    uint64_t now = clock_ms();
    if (now < p->next_ms || !all) return;
    p->next_ms = now + 500;
    struct arena_mark before = arena_mark(p->w->cx.mem);
    (void)!!json_object_set_new(p->work->doc, "progress", json_integer((json_int_t)(99 * done / all)));
    if (apidb_put(&p->w->cx, p->w->db, "local", p->work->id, p->work->doc).code)
        log_warn(&p->w->cx, "an upload's progress is not stored", KV("job", p->work->id));
    arena_rewind(p->w->cx.mem, before);
}

/* The same lines with a first column of ids that are made up: `<prefix><row>`. */
static status extend(struct ctx *cx, const char *from, const char *to, bool head, bool counted,
                     char delimiter)
{
    struct bytes in;
    uint8_t random[16];
    char prefix[33] = "", cell[64];
    CLEANUP(buf_free) struct buf b = {0};
    CLEANUP(fd_closep) int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", to);
    TRY(file_map(cx, from, &in));
    TRY(rand_bytes(cx, random, sizeof random));
    for (size_t i = 0; i < sizeof random && !counted; i++)
        snprintf(prefix + 2 * i, 3, "%02x", random[i]);
    const char *p = (const char *)in.p, *end = p + in.n;
    uint64_t row = 0;
    for (bool first = true, quoted = false; p < end; first = false) {
        const char *at = p;
        for (; at < end && (quoted || *at != '\n'); at++)
            quoted = quoted != (*at == '"');
        int n = first && head
                    ? snprintf(cell, sizeof cell, "extend_sid%c", delimiter)
                    : snprintf(cell, sizeof cell, "%s%llu%c", prefix, (unsigned long long)row++, delimiter);
        buf_put(&b, cell, (size_t)n);
        buf_put(&b, p, (size_t)(at - p));
        buf_u8(&b, '\n');
        p = at + 1;
        if (b.n < (1u << 20)) continue;
        TRY(buf_ok(cx, &b));
        TRY(ctx_check(cx));
        TRY(fd_write_all(cx, fd, b.p, b.n));
        buf_reset(&b);
    }
    TRY(buf_ok(cx, &b));
    return fd_write_all(cx, fd, b.p, b.n);
}

static status import(struct ctx *cx, struct worker *w, struct local_work *work, const char *file,
                     struct csv_result *result)
{
    const json_t *p = json_object_get(work->doc, "params"), *meta = json_object_get(p, "meta");
    const char *d = delimiter_of(p), *path, *name = text_of(p, "name"), *ns = text_of(p, "namespace");
    struct csv_options opt = {.delimiter = strcmp(d, "\\t") == 0 ? '\t' : d[0],
                              .no_header = !truth(p, "head", true)};
    struct progress show = {.w = w, .work = work};
    if (truth(p, "with_meta", false) && truth(meta, "with_label", false))
        opt.label = text_of(meta, "label_name");
    TRY(store_new_path(cx, w->store, &path));
    cx->pool = pool_new((unsigned)w->http->set->threads);
    status st = csv_import(cx, file, path, &opt, on_progress, &show, result);
    if (!st.code)
        st = store_add(cx, w->store, ns, name, path, arena_printf(cx->mem, "upload %s", work->id),
                       truth(p, "drop", false));
    pool_free(cx->pool);
    cx->pool = NULL;
    if (st.code) {
        struct err why = cx->err;
        (void)!!dir_remove(cx, path).code;
        cx->err = why;
    }
    return st;
}

static status record(struct ctx *cx, struct worker *w, struct local_work *work, const struct csv_result *r)
{
    const json_t *p = json_object_get(work->doc, "params");
    const char *key = arena_printf(cx->mem, "%s/%s", text_of(p, "namespace"), text_of(p, "name"));
    CLEANUP(json_decrefp)
    json_t *table = json_pack("{s:s,s:s,s:O,s:b,s:b,s:O*,s:I}", "job", work->id, "origin", "upload",
                              "partition", json_object_get(p, "partition"), "extend_sid",
                              (int)truth(p, "extend_sid", false), "head", (int)truth(p, "head", true), "meta",
                              json_object_get(p, "meta"), "rows", (json_int_t)r->n_rows);
    if (!key || !table) return FAIL(cx, NOMEM, "a table's record");
    (void)!!json_object_set_new(work->doc, "rows", json_integer((json_int_t)r->n_rows));
    return apidb_put(cx, w->db, "table", key, table);
}

static status run_upload(struct ctx *cx, struct worker *w, struct local_work *work)
{
    const json_t *p = json_object_get(work->doc, "params");
    const char *file = work->file, *extended = NULL;
    struct csv_result result = {0};
    uint64_t t0 = clock_us();
    status st = OK;
    if (truth(p, "extend_sid", false)) {
        extended = arena_printf(cx->mem, "%s/store/incoming/%s.csv", w->http->dir, work->id);
        if (!extended) return FAIL(cx, NOMEM, "a path");
        st = extend(cx, file, extended, truth(p, "head", true), truth(p, "auto_increasing_sid", false),
                    delimiter_of(p)[0]);
        file = extended;
    }
    if (!st.code) st = import(cx, w, work, file, &result);
    if (!st.code) st = record(cx, w, work, &result);
    if (extended) unlink(extended);
    struct err why = cx->err;
    const char *given = text_of(p, "file"), *slash = given ? strrchr(given, '/') : NULL;
    struct upload_record r = {.at_ms = wall_ms(),
                              .file = slash   ? slash + 1
                                      : given ? given
                                              : "",
                              .name_space = text_of(p, "namespace"),
                              .name = text_of(p, "name"),
                              .result = st.code ? err_text(st.code) : "ok",
                              .n_rows = result.n_rows,
                              .bytes = result.bytes,
                              .seconds = (double)(clock_us() - t0) / 1e6};
    status kept = store_record_upload(cx, w->store, &r);
    if (!st.code) return kept;
    cx->err = why;
    return st;
}

/* ---- download, writer ---- */

static status run_download(struct ctx *cx, struct worker *w, struct local_work *work)
{
    const json_t *p = json_object_get(work->doc, "params");
    struct table_info info;
    const struct table *t;
    TRY(store_find(cx, w->store, text_of(p, "namespace"), text_of(p, "name"), &info));
    TRY(table_open(cx, info.path, &t));
    (void)!!json_object_set_new(work->doc, "rows", json_integer((json_int_t)t->n_rows));
    return csv_export(cx, t, work->file);
}

/* A copy under another name: rows by number, columns shared. */
static status run_writer(struct ctx *cx, struct worker *w, struct local_work *work)
{
    const json_t *p = json_object_get(work->doc, "params");
    struct table_info info;
    const struct table *t;
    const char *path;
    TRY(store_find(cx, w->store, text_of(p, "namespace"), text_of(p, "name"), &info));
    TRY(table_open(cx, info.path, &t));
    uint32_t *rows = NEW(cx, uint32_t, t->n_rows + 1);
    if (!rows) return FAIL(cx, NOMEM, "%zu row numbers", t->n_rows);
    for (size_t i = 0; i < t->n_rows; i++)
        rows[i] = (uint32_t)i;
    TRY(store_new_path(cx, w->store, &path));
    TRY(table_derive(cx, path, t, rows, t->n_rows, NULL, t->meta));
    status st = store_add(cx, w->store, text_of(p, "output_namespace"), text_of(p, "output_name"), path,
                          arena_printf(cx->mem, "writer %s", work->id), false);
    if (st.code) {
        struct err why = cx->err;
        (void)!!dir_remove(cx, path).code;
        cx->err = why;
        return st;
    }
    (void)!!json_object_set_new(work->doc, "rows", json_integer((json_int_t)t->n_rows));
    return OK;
}

status local_run(struct ctx *cx, struct worker *w, struct local_work *work)
{
    TRY(ctx_check(cx));
    if (strcmp(work->kind, "upload") == 0) return run_upload(cx, w, work);
    if (strcmp(work->kind, "download") == 0) return run_download(cx, w, work);
    return run_writer(cx, w, work);
}
