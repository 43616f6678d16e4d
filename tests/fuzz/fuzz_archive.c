/* An archive of a model. The first byte: 0 = the rest is the zip; else the rest is members (u8 length, name, u16 length,
 * bytes) that replace those of a good archive or come with them, 2 = their checksums as well. Laws: what is refused says
 * why and leaves nothing; what is taken is sound, and comes back the same through export and import; nothing is ever
 * beside the folder of models. */
#include "base/arena.h"
#include "base/bytes.h"
#include "base/evp.h"
#include "base/file.h"
#include "model/paths.h"
#include "model/pb_json.h"
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMBERS = 64 };

static const struct archive_bounds bounds = {1 << 16, 1 << 18, MEMBERS};
static char base[64], models[80], other[80], zip[80], again[80], third[80];
static struct arena *good_mem;

struct member {
    const char *name;
    struct bytes data;
};
static struct member good[MEMBERS];
static size_t n_good;

static void remove_all(void)
{
    struct ctx cx = {.mem = arena_new(0)};
    (void)dir_remove(&cx, base).code;
    arena_free(cx.mem);
    arena_free(good_mem);
}

static void must(const struct ctx *cx, status st)
{
    if (!st.code) return;
    fprintf(stderr, "%s\n", cx->err.msg);
    abort();
}

/* ---- a good archive ---- */

static const char dsl[] =
    "{\"components\":{\"d\":{\"module\":\"DataTransform\",\"output\":{\"model\":[\"model\"]}}}}";
static const char conf[] = "{\"role\":{\"guest\":[9999]},\"local\":{\"role\":\"guest\",\"party_id\":9999}}";

static void save(struct ctx *cx)
{
    const struct model_key key = {"guest", 9999, "m", "1"};
    CLEANUP(json_decrefp) json_t *d = NULL;
    CLEANUP(json_decrefp) json_t *c = NULL;
    struct model_part p = {"d", "model", "DataTransform", {{0}}, 2};
    static const char meta[] = "\x0a\x05"
                               "dense\x12\x01,",
                      param[] = "\x0a\x02x0";
    p.buffers[0] =
        (struct model_buffer){"DataTransformMeta", "DataTransformMeta", {(const uint8_t *)meta, 10}};
    p.buffers[1] =
        (struct model_buffer){"DataTransformParam", "DataTransformParam", {(const uint8_t *)param, 4}};
    must(cx, js_parse(cx, "dsl", dsl, strlen(dsl), &d));
    must(cx, js_parse(cx, "conf", conf, strlen(conf), &c));
    must(cx, model_save_part(cx, models, &key, &p, c));
    must(cx, model_save_pipeline(cx, models, &key, d, d, c, c, 9999, "guest"));
    must(cx, model_export(cx, models, &key, zip));
    must(cx, dir_remove(cx, models));
}

static void read_good(struct ctx *cx)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    if (archive_read_support_format_zip(a) || archive_read_open_filename(a, zip, 4096)) abort();
    while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
        static char piece[1 << 16];
        la_ssize_t n = archive_read_data(a, piece, sizeof piece);
        if (strcmp(archive_entry_pathname(e), "checksums.sha256") == 0) continue;
        if (n < 0) abort();
        char *copy = arena_strndup(cx->mem, piece, (size_t)n);
        good[n_good++] = (struct member){arena_strdup(cx->mem, archive_entry_pathname(e)),
                                         {(const uint8_t *)copy, (size_t)n}};
    }
    archive_read_free(a);
}

static void start(void)
{
    const char *fast = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(base, sizeof base, "%s/norn-fuzz-archive-XXXXXX", fast);
    if (!mkdtemp(base)) abort();
    snprintf(models, sizeof models, "%s/models", base);
    snprintf(other, sizeof other, "%s/other", base);
    snprintf(zip, sizeof zip, "%s/in.zip", base);
    snprintf(again, sizeof again, "%s/again.zip", base);
    snprintf(third, sizeof third, "%s/third.zip", base);
    struct ctx cx = {.mem = good_mem = arena_new(0)};
    save(&cx);
    read_good(&cx);
    atexit(remove_all);
}

/* ---- the input ---- */

static void zip_add(struct archive *a, const char *name, struct bytes data)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_size(e, (la_int64_t)data.n);
    if (archive_write_header(a, e) == ARCHIVE_OK && data.n) (void)archive_write_data(a, data.p, data.n);
    archive_entry_free(e);
}

static void write_members(struct ctx *cx, const struct member *m, size_t n, bool sums)
{
    CLEANUP(buf_free) struct buf text = {0};
    struct archive *a = archive_write_new();
    if (archive_write_set_format_zip(a) || archive_write_set_options(a, "zip:compression=store") ||
        archive_write_open_filename(a, zip))
        abort();
    for (size_t i = 0; i < n; i++) {
        uint8_t d[32];
        EVP_Digest(m[i].data.p, m[i].data.n, d, NULL, EVP_sha256(), NULL);
        for (size_t k = 0; k < sizeof d; k++)
            buf_printf(&text, "%02x", d[k]);
        buf_printf(&text, "  %s\n", m[i].name);
        zip_add(a, m[i].name, m[i].data);
    }
    must(cx, buf_ok(cx, &text));
    if (sums) zip_add(a, "checksums.sha256", (struct bytes){text.p, text.n});
    archive_write_free(a);
}

static void write_zip(struct ctx *cx, const uint8_t *data, size_t size)
{
    if (data[0] % 3 == 0) {
        int fd = open(zip, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)(size - 1)) abort();
        close(fd);
        return;
    }
    struct member m[2 * MEMBERS];
    size_t n = n_good;
    struct reader r = reader_of(data + 1, size - 1);
    memcpy(m, good, sizeof good);
    while (n < LEN(m)) {
        uint8_t n_name;
        uint16_t n_bytes;
        const uint8_t *name, *bytes;
        if (reader_u8(cx, &r, &n_name).code || reader_bytes(cx, &r, n_name, &name).code ||
            reader_u16(cx, &r, &n_bytes).code || reader_bytes(cx, &r, n_bytes, &bytes).code)
            break;
        const char *text = arena_strndup(cx->mem, (const char *)name, n_name);
        size_t at = 0;
        if (!*text) continue; /* libarchive writes none such */
        while (at < n && strcmp(m[at].name, text) != 0)
            at++;
        m[at] = (struct member){text, {bytes, n_bytes}};
        n += at == n;
    }
    write_members(cx, m, n, data[0] % 3 == 2);
}

/* ---- the laws ---- */

static size_t count(struct ctx *cx, const char *dir)
{
    const char **names;
    size_t n;
    must(cx, dir_list(cx, dir, &names, &n));
    return n;
}

static void must_equal(struct ctx *cx, const char *a, const char *b)
{
    struct bytes x, y;
    must(cx, file_read(cx, a, 1 << 22, &x));
    must(cx, file_read(cx, b, 1 << 22, &y));
    if (x.n != y.n || memcmp(x.p, y.p, x.n) != 0) abort();
}

static void taken_in(struct ctx *cx, const struct model_info *info)
{
    struct model_info *all, same;
    struct model_pipeline pipe;
    size_t n;
    must(cx, model_list(cx, models, &all, &n));
    if (n != 1 || all[0].damage || all[0].n_components != info->n_components || count(cx, models) != 1)
        abort();
    must(cx, model_load_pipeline(cx, models, &info->key, &pipe));
    for (size_t i = 0; i < info->n_components; i++) {
        struct model_part p;
        json_t *run;
        status st = model_load_part(cx, models, &info->key, info->components[i], &p, &run);
        if (st.code && st.code != ERR_NOTFOUND && st.code != ERR_FORMAT)
            must(cx, st); /* no buffers; more than four */
    }
    must(cx, model_export(cx, models, &info->key, again));
    must(cx, model_import(cx, other, again, false, &same));
    must(cx, model_export(cx, other, &same.key, third));
    must_equal(cx, again, third);
    if (model_import(cx, models, again, false, &same).code != ERR_EXISTS) abort();
    must(cx, model_import(cx, models, again, true, &same));
    if (count(cx, models) != 1 || count(cx, base) != 5) abort();
    must(cx, dir_remove(cx, other));
    must(cx, dir_remove(cx, models));
    if (unlink(again) || unlink(third)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_info info;
    if (!base[0]) start();
    if (size < 1 || size > 1 << 16) return 0;
    struct ctx cx = {.mem = arena_new(0)};
    write_zip(&cx, data, size);
    must(&cx, dir_make(&cx, models, 0700));
    cx.err.msg[0] = 0;
    status st = archive_import(&cx, models, zip, false, &bounds, &info);
    if (!st.code)
        taken_in(&cx, &info);
    else if (!cx.err.msg[0] || count(&cx, models) != 0 || count(&cx, base) != 2)
        abort();
    arena_free(cx.mem);
    return 0;
}
