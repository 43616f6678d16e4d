/* Export and import: the same model and the same bytes, and that no archive which is altered, cut off, built to lead
 * outside or to fill the disk leaves anything behind. */
#include "fixture.h"
#include "model/paths.h"
#include "model/pipeline.pb-c.h"
#include <archive.h>
#include <archive_entry.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDER     "guest#9999#" MODEL_ID "/" TRAINED
#define META       "variables/data/data_transform_0/model/DataTransformMeta"
#define RECORD     "variables/data/pipeline/pipeline/Pipeline"
#define DEFINE     "define/define_meta.yaml"
#define CHECKPOINT "checkpoint/data_transform_0/1#round_1/"
#define SUMS       "checksums.sha256"

/* ---- zips ---- */

struct member {
    const char *name;
    struct bytes data;
    mode_t type;      /* 0: a plain file */
    const char *link; /* of a symbolic link */
};
struct members {
    struct member m[64];
    size_t n;
};

static void zip_write(const char *file, const struct members *z)
{
    struct archive *a = archive_write_new();
    if (archive_write_set_format_zip(a) || archive_write_open_filename(a, file)) abort();
    for (size_t i = 0; i < z->n; i++) {
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, z->m[i].name);
        archive_entry_set_filetype(e, z->m[i].type ? z->m[i].type : AE_IFREG);
        archive_entry_set_perm(e, 0644);
        if (z->m[i].link) archive_entry_set_symlink(e, z->m[i].link);
        archive_entry_set_size(e, (la_int64_t)z->m[i].data.n);
        if (archive_write_header(a, e) != ARCHIVE_OK) abort();
        if (z->m[i].data.n && archive_write_data(a, z->m[i].data.p, z->m[i].data.n) < 0) abort();
        archive_entry_free(e);
    }
    if (archive_write_free(a)) abort();
}

static void zip_read(struct ctx *cx, const char *file, struct members *z)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    z->n = 0;
    if (archive_read_support_format_zip(a) || archive_read_open_filename(a, file, 4096)) abort();
    while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
        CLEANUP(buf_free) struct buf b = {0};
        char piece[4096];
        la_ssize_t n;
        if (archive_entry_filetype(e) == AE_IFDIR) continue;
        while ((n = archive_read_data(a, piece, sizeof piece)) > 0)
            buf_put(&b, piece, (size_t)n);
        z->m[z->n] = (struct member){.name = arena_strdup(cx->mem, archive_entry_pathname(e))};
        CHECK_OK(cx, buf_to_arena(cx, &b, &z->m[z->n++].data));
        if (z->n == LEN(z->m)) abort();
    }
    archive_read_free(a);
}

static struct member *zip_find(struct members *z, const char *name)
{
    for (size_t i = 0; i < z->n; i++)
        if (strcmp(z->m[i].name, name) == 0) return &z->m[i];
    abort();
}

static void zip_drop(struct members *z, const char *name)
{
    struct member *m = zip_find(z, name);
    *m = z->m[--z->n];
}

static void zip_put(struct members *z, const char *name, const void *p, size_t n)
{
    z->m[z->n++] = (struct member){.name = name, .data = {p, n}};
}

static void zip_put_text(struct members *z, const char *name, const char *text)
{
    zip_put(z, name, text, strlen(text));
}

static const char *sum_line(struct ctx *cx, const struct member *m)
{
    uint8_t d[32];
    char hex[65];
    SHA256(m->data.p, m->data.n, d);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", d[i]);
    return arena_printf(cx->mem, "%s  %s\n", hex, m->name);
}

/* The exported model as members; file: where it lies as an archive. */
static const char *exported(struct ctx *cx, struct members *z)
{
    const char *dir = scratch_dir(cx), *file = scratch_path(cx, dir, "model.zip");
    CHECK_OK(cx, save_model(cx, scratch_path(cx, dir, "models"), &guest_key, 2));
    CHECK_OK(cx, model_export(cx, scratch_path(cx, dir, "models"), &guest_key, file));
    if (z) zip_read(cx, file, z);
    return file;
}

/* Where `exported` keeps the models. */
static const char *models_of(struct ctx *cx, const char *file)
{
    return arena_printf(cx->mem, "%.*s/models", (int)(strrchr(file, '/') - file), file);
}

/* The archive is refused so, and nothing is left of it: neither in the folder of models nor beside it. */
static void refused(struct ctx *cx, const struct members *z, enum err_code want, const char *says)
{
    const char *base = scratch_dir(cx), *file = scratch_path(cx, base, "model.zip"),
               *dir = scratch_path(cx, base, "m");
    struct model_info info = {.bytes = 7};
    CHECK_OK(cx, dir_make(cx, dir, 0700));
    zip_write(file, z);
    struct bytes before = folder_text(cx, base);
    cx->err = (struct err){.file = ""};
    status st = model_import(cx, dir, file, false, &info);
    CHECK(st.code == want && info.bytes == 7);
    CHECK(strstr(cx->err.msg, says));
    if (st.code != want || !strstr(cx->err.msg, says))
        printf("#   want %s \"%s\", got %s: %s\n", err_name(want), says, err_name(st.code), cx->err.msg);
    CHECK(same_bytes(before, folder_text(cx, base)));
}

/* ---- there and back ---- */

static void round_trip(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *from = scratch_path(cx, base, "from"),
               *to = scratch_path(cx, base, "to");
    const char *a = scratch_path(cx, base, "a.zip"), *b = scratch_path(cx, base, "b.zip");
    struct model_info info;
    struct model_pipeline pipe;
    struct bytes x = {0}, y = {0};
    struct stat st;
    CHECK_OK(cx, save_model(cx, from, &guest_key, 2));
    CHECK_OK(cx, model_export(cx, from, &guest_key, a));
    CHECK_OK(cx, model_import(cx, to, a, false, &info));
    CHECK(same_bytes(folder_text(cx, from), folder_text(cx, to)));
    CHECK(strcmp(info.key.role, "guest") == 0 && info.key.party == 9999);
    CHECK(strcmp(info.key.model_id, MODEL_ID) == 0 && strcmp(info.key.version, TRAINED) == 0);
    CHECK(!info.deployed && !info.damage && info.n_components == 2 && info.bytes > 0);
    CHECK_OK(cx, model_load_pipeline(cx, to, &guest_key, &pipe));
    CHECK(json_equal(pipe.train_dsl, json_of(cx, train_dsl_text)));
    CHECK(scratch_count(cx, to) == 1);
    CHECK_OK(cx, model_export(cx, to, &info.key, b));
    CHECK_OK(cx, file_read(cx, a, 1 << 20, &x));
    CHECK_OK(cx, file_read(cx, b, 1 << 20, &y));
    CHECK(same_bytes(x, y));
    CHECK(stat(a, &st) == 0 && (st.st_mode & 0777) == 0600); /* keys may be in it */
    CHECK(scratch_count(cx, base) == 4);
    struct model_key absent = guest_key;
    absent.version = DEPLOYED;
    CHECK_ERR(model_export(cx, from, &absent, scratch_path(cx, base, "c.zip")), NOTFOUND);
    CHECK_ERR(model_export(cx, from, &guest_key, scratch_path(cx, base, "no/such/folder.zip")), IO);
    CHECK(scratch_count(cx, base) == 4);
}

static void deployed_too(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *from = scratch_path(cx, base, "from"),
               *to = scratch_path(cx, base, "to");
    const char *file = scratch_path(cx, base, "a.zip");
    struct model_key child = guest_key;
    struct model_info info;
    struct model_pipeline pipe;
    child.version = DEPLOYED;
    CHECK_OK(cx, save_model(cx, from, &guest_key, 2));
    CHECK_OK(cx, model_deploy(cx, from, &guest_key, NULL, 0, DEPLOYED));
    CHECK_OK(cx, model_export(cx, from, &child, file));
    CHECK_OK(cx, model_import(cx, to, file, false, &info));
    CHECK(info.deployed && strcmp(info.parent_version, TRAINED) == 0 &&
          strcmp(info.key.version, DEPLOYED) == 0);
    CHECK_OK(cx, model_load_pipeline(cx, to, &child, &pipe));
    CHECK(json_object_size(js_at(pipe.inference_dsl, "components")) == 4);
}

/* Neither the clock nor the time zone is in it; what writers that were killed left is not; sha256sum -c understands it. */
static void what_is_in_it(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m"),
               *file = scratch_path(cx, base, "a.zip");
    static const char *const zones[] = {"UTC", "Pacific/Auckland", "XYZ+12", "ABC-14"};
    static const char *const left[] = {"define/define_meta.yaml.tmp",
                                       ".lock",
                                       "variables/.x",
                                       "notes.txt",
                                       "variables/data/" TRANSFORM "/model/Old",
                                       "run_parameters/old.json"};
    struct bytes first = {0}, again = {0};
    struct members z;
    size_t listed = 0;
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 2));
    CHECK_OK(cx, model_export(cx, dir, &guest_key, file));
    CHECK_OK(cx, file_read(cx, file, 1 << 20, &first));
    for (size_t i = 0; i < LEN(left); i++)
        scratch_file(cx, scratch_path(cx, dir, FOLDER), left[i], "x", 1);
    for (size_t i = 0; i < LEN(zones); i++) {
        setenv("TZ", zones[i], 1);
        tzset();
        CHECK_OK(cx, model_export(cx, dir, &guest_key, file));
        CHECK_OK(cx, file_read(cx, file, 1 << 20, &again));
        CHECK(same_bytes(first, again));
    }
    unsetenv("TZ");
    tzset();
    zip_read(cx, file, &z);
    const char *sums = (const char *)zip_find(&z, SUMS)->data.p;
    for (size_t i = 0; i < z.n; i++)
        if (strcmp(z.m[i].name, SUMS) != 0) {
            CHECK(strstr(sums, sum_line(cx, &z.m[i])));
            listed += strlen(sum_line(cx, &z.m[i]));
        }
    CHECK(listed == strlen(sums) && z.n == 14);
}

static void exists_and_replace(struct ctx *cx)
{
    const char *dir = scratch_path(cx, scratch_dir(cx), "m"), *file = exported(cx, NULL);
    struct model_info info;
    struct members z;
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 5));
    struct bytes five = folder_text(cx, dir);
    CHECK_ERR(model_import(cx, dir, file, false, &info), EXISTS);
    CHECK(strstr(cx->err.msg, TRAINED) && same_bytes(five, folder_text(cx, dir)));
    /* A bad archive takes nothing away. */
    zip_read(cx, file, &z);
    zip_find(&z, META)->data.n--;
    const char *bad = scratch_path(cx, scratch_dir(cx), "bad.zip");
    zip_write(bad, &z);
    CHECK_ERR(model_import(cx, dir, bad, true, &info), FORMAT);
    CHECK(same_bytes(five, folder_text(cx, dir)));
    CHECK_OK(cx, model_import(cx, dir, file, true, &info));
    CHECK(!same_bytes(five, folder_text(cx, dir)) && scratch_count(cx, dir) == 1);
    const char *other = scratch_path(cx, scratch_dir(cx), "m");
    CHECK_OK(cx, model_import(cx, other, file, true, &info)); /* nothing to replace */
    CHECK(same_bytes(folder_text(cx, other), folder_text(cx, dir)));
    /* A half-written one is in the way, too: a job may be at it. */
    struct model_key k = guest_key;
    CHECK_OK(cx, dir_remove(cx, dir));
    CHECK_OK(cx, save_parts(cx, dir, &k, 5));
    CHECK_ERR(model_import(cx, dir, file, false, &info), EXISTS);
}

/* ---- altered, cut off ---- */

/* `p` as an archive: refused with nothing left, or the very model. True when it was taken. */
static bool refused_or_same(struct ctx *cx, const char *dir, struct bytes p, struct bytes want)
{
    struct arena_mark mark = arena_mark(cx->mem);
    struct model_info info;
    const char *file = scratch_file(cx, scratch_path(cx, dir, ".."), "x.zip", p.p, p.n);
    status st = model_import(cx, dir, file, false, &info);
    if (st.code) {
        CHECK(st.code == ERR_FORMAT || st.code == ERR_LIMIT);
        if (st.code != ERR_FORMAT && st.code != ERR_LIMIT) printf("# %s\n", cx->err.msg);
        CHECK(scratch_count(cx, dir) == 0);
    } else {
        struct bytes got = folder_text(cx, dir);
        CHECK(same_bytes(got, want));
        CHECK_OK(cx, dir_remove(cx, scratch_path(cx, dir, "guest#9999#" MODEL_ID)));
    }
    arena_rewind(cx->mem, mark);
    return !st.code;
}

/* A folder of models in memory: thousands of imports. */
static const char *fast_dir(struct ctx *cx)
{
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
    const char *dir = scratch_path(cx, scratch_dir(cx), "m");
    unsetenv("TMPDIR");
    CHECK_OK(cx, dir_make(cx, dir, 0700));
    return dir;
}

static void cut_off(struct ctx *cx)
{
    const char *file = exported(cx, NULL), *dir = fast_dir(cx);
    struct bytes zip = {0}, want = folder_text(cx, models_of(cx, file));
    CHECK_OK(cx, file_read(cx, file, 1 << 20, &zip));
    CHECK(refused_or_same(cx, dir, zip, want));
    for (size_t n = 0; n < zip.n; n += n < zip.n - 100 ? 37 : 1)
        CHECK(!refused_or_same(cx, dir, (struct bytes){zip.p, n}, want));
}

static void altered(struct ctx *cx)
{
    const char *file = exported(cx, NULL), *dir = fast_dir(cx);
    struct bytes zip = {0}, want = folder_text(cx, models_of(cx, file));
    struct shuffle r = shuffle_new(test_seed());
    size_t taken = 0, all = 0;
    CHECK_OK(cx, file_read(cx, file, 1 << 20, &zip));
    uint8_t *copy = NEW(cx, uint8_t, zip.n);
    for (size_t i = 0; i < zip.n; i += 1 + (size_t)shuffle_below(&r, 7), all++) {
        memcpy(copy, zip.p, zip.n);
        copy[i] ^= (uint8_t)(1 + shuffle_below(&r, 255));
        taken += refused_or_same(cx, dir, (struct bytes){copy, zip.n}, want);
    }
    printf("# %zu of %zu alterations change nothing in the model\n", taken, all);
    CHECK(taken < all / 2); /* versions, attributes, times */
}

/* Well-formed zips with right CRCs, but not what the checksums say. */
static void checksums(struct ctx *cx)
{
    struct members z, good;
    exported(cx, &good);
    const char *sums =
        arena_strndup(cx->mem, (const char *)zip_find(&good, SUMS)->data.p, zip_find(&good, SUMS)->data.n);
    z = good, zip_find(&z, META)->data = transform_part(cx).buffers[1].pb; /* as valid a message */
    refused(cx, &z, ERR_FORMAT, "its SHA-256 is");
    z = good, zip_drop(&z, META ".json");
    refused(cx, &z, ERR_FORMAT, "which the archive does not hold");
    z = good, zip_put_text(&z, "variables/data/x", "new");
    refused(cx, &z, ERR_FORMAT, "variables/data/x is not in " SUMS);
    z = good, zip_find(&z, SUMS)->data.n = 0;
    refused(cx, &z, ERR_FORMAT, "is not in " SUMS);
    z = good, zip_find(&z, SUMS)->data.n -= 2;
    refused(cx, &z, ERR_FORMAT, "which the archive does not hold");
    z = good, zip_put_text(&z, SUMS, sums);
    refused(cx, &z, ERR_FORMAT, SUMS " stands there twice");
    static const char *const lines[] = {"\n", "x  y\n", "0123456789  define/define_meta.yaml\n"};
    for (size_t i = 0; i < LEN(lines); i++) {
        z = good, zip_drop(&z, SUMS), zip_put_text(&z, SUMS, arena_printf(cx->mem, "%s%s", sums, lines[i]));
        refused(cx, &z, ERR_FORMAT, SUMS ": a line of");
    }
}

/* ---- leading outside, filling the disk ---- */

static void zip_slip(struct ctx *cx)
{
    static const char *const names[] = {
        "../x",
        "../../x",
        "/tmp/norn-slip",
        "define/../../x",
        "define/../x",
        "variables/data/../../../x",
        "variables//x",
        "variables/./x",
        "variables/data/.hidden",
        "define/a\\..\\x",
        "C:/x",
        "define/C:x",
        "\\x",
        "define/x\ny",
        "define/x.tmp",
        "other/x",
        "x",
        "define",
        "definex",
        "defin/x",
        "./define/x",
        "DEFINE/x",
    };
    struct members z, good;
    exported(cx, &good);
    zip_drop(&good, SUMS);
    for (size_t i = 0; i < LEN(names); i++) {
        z = good, zip_put_text(&z, names[i], "slip");
        refused(cx, &z, ERR_FORMAT, "member \"");
        memmove(&z.m[1], &z.m[0], good.n * sizeof *z.m); /* as the first, too */
        z.m[0] = (struct member){.name = names[i], .data = {(const uint8_t *)"slip", 4}};
        refused(cx, &z, ERR_FORMAT, "member \"");
    }
    CHECK(!file_exists("/tmp/norn-slip"));
    char *name = NEW(cx, char, 600);
    memset(name, 'a', 599);
    memcpy(name, "define/", 7);
    z = good, zip_put_text(&z, name, "x");
    refused(cx, &z, ERR_FORMAT, "want 1 to 512");
    name[300] = 0;
    refused(cx, &z, ERR_FORMAT, "want 1 to 200");
    /* A link, then a file through it. */
    z = good, z.m[z.n++] = (struct member){.name = "define/link", .type = AE_IFLNK, .link = "../../.."};
    refused(cx, &z, ERR_FORMAT, "is not a plain file");
    zip_put_text(&z, "define/link/x", "slip");
    refused(cx, &z, ERR_FORMAT, "is not a plain file");
    z = good, z.m[z.n++] = (struct member){.name = CHECKPOINT "link", .type = AE_IFLNK, .link = "/"};
    refused(cx, &z, ERR_FORMAT, "is not a plain file");
    /* Twice, and a file where a folder is. */
    z = good, zip_put_text(&z, META, "again");
    refused(cx, &z, ERR_FORMAT, META " stands there twice");
    z = good, zip_put_text(&z, META "/x", "x");
    refused(cx, &z, ERR_FORMAT, "lies in another, which is a file");
    z = good, zip_put_text(&z, "variables/data/data_transform_0/model", "x");
    refused(cx, &z, ERR_FORMAT, "stands there twice");
}

/* Folders outside are not made, either; what FATE puts beside the model is passed over. */
static void passed_over(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m"),
               *file = scratch_path(cx, base, "a.zip");
    struct members z;
    struct model_info info;
    exported(cx, &z);
    z.m[z.n++] = (struct member){.name = "../up/", .type = AE_IFDIR};
    z.m[z.n++] = (struct member){.name = "variables/empty/", .type = AE_IFDIR};
    zip_drop(&z, SUMS);
    zip_put_text(&z, "variables/data/data_transform_0/model/converted_model/a/b.bin", "kept");
    zip_put_text(&z, ".lock", "");
    zip_put_text(&z, "import_model.json", "{\"role\": \"host\"}");
    zip_write(file, &z);
    CHECK_OK(cx, model_import(cx, dir, file, false, &info));
    CHECK(strcmp(info.key.role, "guest") == 0 && scratch_count(cx, base) == 2);
    CHECK(scratch_count(cx, scratch_path(cx, dir, FOLDER)) == 3);
    CHECK_OK(cx, model_export(cx, dir, &info.key, file));
    zip_read(cx, file, &z);
    zip_find(&z, "variables/data/data_transform_0/model/converted_model/a/b.bin");
}

static void bounds(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m"),
               *file = scratch_path(cx, base, "a.zip");
    struct archive_bounds max = {4096, 1 << 16, 20};
    struct model_info info;
    struct members z, good;
    uint8_t *zeros = NEW(cx, uint8_t, 1 << 22);
    exported(cx, &good);
    zip_drop(&good, SUMS);
    CHECK_OK(cx, dir_make(cx, dir, 0700));
    z = good, zip_put(&z, CHECKPOINT "x", zeros, 4096);
    zip_write(file, &z);
    CHECK_OK(cx, archive_import(cx, dir, file, false, &max, &info));
    CHECK_OK(cx, dir_remove(cx, dir));
    CHECK_OK(cx, dir_make(cx, dir, 0700));
    struct stat st;
    z = good, zip_put(&z, CHECKPOINT "x", zeros, 1 << 22); /* 4 MiB in 4 KiB */
    zip_write(file, &z);
    CHECK(stat(file, &st) == 0 && st.st_size < 20000);
    CHECK_ERR(archive_import(cx, dir, file, false, &max, &info), LIMIT);
    CHECK(strstr(cx->err.msg, CHECKPOINT "x") && scratch_count(cx, dir) == 0);
    z = good;
    zip_put(&z, CHECKPOINT "x", zeros, 4097);
    zip_write(file, &z);
    CHECK_ERR(archive_import(cx, dir, file, false, &max, &info), LIMIT);
    z = good, max.members = 64;
    for (int i = 0; i < 20; i++)
        zip_put(&z, arena_printf(cx->mem, CHECKPOINT "%d", i), zeros, 4096);
    zip_write(file, &z);
    CHECK_ERR(archive_import(cx, dir, file, false, &max, &info), LIMIT);
    CHECK(strstr(cx->err.msg, "65536") && scratch_count(cx, dir) == 0);
    max.total = 1 << 20;
    CHECK_OK(cx, archive_import(cx, dir, file, false, &max, &info));
    max.members = z.n - 1;
    CHECK_ERR(archive_import(cx, dir, file, true, &max, &info), LIMIT);
    CHECK(strstr(cx->err.msg, "members") && scratch_count(cx, dir) == 1);
    z = good, zip_put(&z, SUMS, zeros, 1 << 22);
    zip_write(file, &z);
    CHECK_ERR(archive_import(cx, dir, file, true, &max, &info), LIMIT); /* the checksums count, too */
}

/* ---- what is no model ---- */

static struct bytes record(struct ctx *cx, const char *role, const char *id, const char *version,
                           const char *local, const char *dsl, const char *conf)
{
    Fate__Pipeline rec = FATE__PIPELINE__INIT;
    struct bytes out = {0};
    const char *text[] = {dsl, conf, local};
    ProtobufCBinaryData *field[] = {&rec.train_dsl, &rec.train_runtime_conf, &rec.runtime_conf_on_party};
    (void)role;
    rec.model_id = arena_strdup(cx->mem, id), rec.model_version = arena_strdup(cx->mem, version);
    for (size_t i = 0; i < 3; i++) {
        char *s = arena_strdup(cx->mem, text[i]);
        for (char *c = s; *c; c++)
            if (*c == '\'') *c = '"';
        *field[i] = (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
    }
    CHECK_OK(cx, pb_pack(cx, &rec.base, &out));
    return out;
}

static void records(struct ctx *cx)
{
    static const char local[] = "{'local': {'role': 'guest', 'party_id': 9999}}",
                      dsl[] = "{'components': {}}";
    static const char conf[] = "{'role': {'guest': [9999]}}";
    static const struct {
        const char *id, *version, *local, *dsl, *conf, *says;
    } cases[] = {
        {"../x", "1", local, dsl, conf, "model id begins with '.'"},
        {"a/b", "1", local, dsl, conf, "model id \"a/b\""},
        {"", "1", local, dsl, conf, "model id of 0 bytes"},
        {"a", "..", local, dsl, conf, "model version begins with '.'"},
        {"a", "", local, dsl, conf, "model version of 0 bytes"},
        {"a", "1", "", dsl, conf, "no role and party id"},
        {"a", "1", "{'local': {'role': 'guest'}}", dsl, conf, "no role and party id"},
        {"a", "1", "{'local': {'role': 'guest', 'party_id': -1}}", dsl, conf, "no role and party id"},
        {"a", "1", "{'local': {'role': 'guest', 'party_id': 4294967297}}", dsl, conf, "no role and party id"},
        {"a", "1", "{'local': {'role': 'guest', 'party_id': '9999x'}}", dsl, conf, "no role and party id"},
        {"a", "1", "{'local': {'role': '../..', 'party_id': 9999}}", dsl, conf, "role begins with '.'"},
        {"a", "1", "{'local': {'role': 'guest#1', 'party_id': 9999}}", dsl, conf, "holds a '#'"},
        {"a", "1", "{'local': {'role': 'host', 'party_id': 9999}}", dsl, conf, "is not among the parties"},
        {"a", "1", "{'local': {'role': 'guest', 'party_id': 10000}}", dsl, conf, "is not among the parties"},
        {"a", "1", local, "", conf, "no train_dsl"},
        {"a", "1", local, "[]", conf, "train_dsl is not an object"},
        {"a", "1", local, "{'a': ", conf, "train_dsl: line 1"},
        {"a", "1", local, dsl, "", "no train_runtime_conf"},
        {"a", "1", local, dsl, "7", "train_runtime_conf is not an object"},
        {"a", "1", local, dsl, "{}", "is not among the parties"},
    };
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m"),
               *file = scratch_path(cx, base, "a.zip");
    struct members z, good;
    struct model_info info;
    exported(cx, &good);
    zip_drop(&good, SUMS);
    for (size_t i = 0; i < LEN(cases); i++) {
        z = good;
        zip_find(&z, RECORD)->data =
            record(cx, "guest", cases[i].id, cases[i].version, cases[i].local, cases[i].dsl, cases[i].conf);
        refused(cx, &z, ERR_FORMAT, cases[i].says);
    }
    /* FATE has ids as text here and there. */
    z = good;
    zip_find(&z, RECORD)->data =
        record(cx, "guest", "a", "1", "{'local': {'role': 'guest', 'party_id': '9999'}}", dsl,
               "{'role': {'guest': ['9999']}}");
    zip_write(file, &z);
    CHECK_OK(cx, model_import(cx, dir, file, false, &info));
    CHECK(info.key.party == 9999 && strcmp(info.key.model_id, "a") == 0);
}

static void layouts(struct ctx *cx)
{
    static const char *const odd[] = {
        "define/x",
        "variables/x",
        "variables/data/data_transform_1/model/DataTransformMeta",
        "variables/data/data_transform_0/other/DataTransformMeta",
        "variables/data/data_transform_0/model/DataTransformMet",
        "variables/data/data_transform_0/model/DataTransformMeta.js",
        "variables/data/data_transform_0/model/converted_model",
        "run_parameters/data_transform_1/run_parameters.json",
        "run_parameters/data_transform_0/x",
        "checkpoint/data_transform_1/x",
    };
    struct members z, good;
    exported(cx, &good);
    zip_drop(&good, SUMS);
    for (size_t i = 0; i < LEN(odd); i++) {
        z = good, zip_put_text(&z, odd[i], "x");
        refused(cx, &z, ERR_FORMAT, "is of nothing that define_meta.yaml names");
    }
    z = (struct members){.n = 0};
    refused(cx, &z, ERR_FORMAT, "");
    z = good, zip_drop(&z, DEFINE);
    refused(cx, &z, ERR_FORMAT, "the archive holds no define/define_meta.yaml");
    z = good, zip_drop(&z, RECORD);
    refused(cx, &z, ERR_FORMAT, "the archive holds no " RECORD);
    z = good, zip_drop(&z, META);
    refused(cx, &z, ERR_FORMAT, "names DataTransformMeta of data_transform_0");
    z = good, zip_find(&z, META)->data = (struct bytes){(const uint8_t *)"\x0a\xff", 2};
    refused(cx, &z, ERR_FORMAT, "DataTransformMeta");
    z = good, zip_find(&z, META)->data = (struct bytes){(const uint8_t *)"\x0a\x01\xff", 3};
    refused(cx, &z, ERR_FORMAT, "UTF-8");
    z = good, zip_find(&z, "run_parameters/" BOOST "/run_parameters.json")->data.n--;
    refused(cx, &z, ERR_FORMAT, "run_parameters.json");
    z = good, zip_find(&z, "run_parameters/" BOOST "/run_parameters.json")->data =
                  (struct bytes){(const uint8_t *)"[]", 2};
    refused(cx, &z, ERR_FORMAT, "is not an object");
    static const struct {
        const char *yaml, *says;
        enum err_code code;
    } defines[] = {
        {"", "no component_define", ERR_FORMAT},
        {"- a", "no component_define", ERR_FORMAT},
        {"component_define: {a: {module_name: M}}\nmodel_proto: {a: {m: {../../x: DataTransformMeta}}}",
         "begins with '.'", ERR_FORMAT},
        {"component_define: {a: {module_name: M}}\nmodel_proto: {a: {m: {X: DataTransformMeta}}}",
         "does not hold", ERR_FORMAT},
        {"component_define: {a: {module_name: M}}\nmodel_proto: {a: {m: {X: LRModelParam}}}", "LRModelParam",
         ERR_UNSUPPORTED},
        {"component_define: &a {a: *a}", "define_meta.yaml", ERR_FORMAT},
        {"component_define: \"\x01\"", "define_meta.yaml: line 1", ERR_FORMAT},
    };
    for (size_t i = 0; i < LEN(defines); i++) {
        z = good, zip_find(&z, DEFINE)->data =
                      (struct bytes){(const uint8_t *)defines[i].yaml, strlen(defines[i].yaml)};
        refused(cx, &z, defines[i].code, defines[i].says);
    }
    CLEANUP(buf_free) struct buf many = {0};
    buf_printf(&many, "component_define:\n");
    for (int i = 0; i < 5000; i++)
        buf_printf(&many, " a%d: {module_name: M}\n", i);
    z = good, zip_find(&z, DEFINE)->data = (struct bytes){many.p, many.n};
    refused(cx, &z, ERR_LIMIT, "more than 4096");
}

static void no_archive(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m");
    static const char *const texts[] = {"", "x", "PK\003\004", "PK\005\006", "{\"model\": 1}"};
    struct model_info info;
    CHECK_OK(cx, dir_make(cx, dir, 0700));
    for (size_t i = 0; i < LEN(texts); i++)
        CHECK_ERR(
            model_import(cx, dir, scratch_file(cx, base, "x", texts[i], strlen(texts[i])), false, &info),
            FORMAT);
    CHECK_ERR(model_import(cx, dir, base, false, &info), FORMAT);
    CHECK_ERR(model_import(cx, dir, "/dev/zero", false, &info), FORMAT);
    CHECK_ERR(model_import(cx, dir, scratch_path(cx, base, "absent"), false, &info), NOTFOUND);
    CHECK(scratch_count(cx, dir) == 0);
}

/* What people are shown is what is used: the JSON beside a message is not taken from the archive. */
static void views_are_made_anew(struct ctx *cx)
{
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m"),
               *file = scratch_path(cx, base, "a.zip");
    struct members z;
    struct model_info info;
    struct bytes view = {0}, want;
    exported(cx, &z);
    want = zip_find(&z, META ".json")->data;
    zip_find(&z, META ".json")->data = (struct bytes){(const uint8_t *)"{\"withLabel\":false}", 19};
    zip_drop(&z, SUMS);
    zip_write(file, &z);
    CHECK_OK(cx, model_import(cx, dir, file, false, &info));
    CHECK_OK(cx, file_read(cx, scratch_path(cx, dir, FOLDER "/" META ".json"), 4096, &view));
    CHECK(same_bytes(view, want));
}

/* ---- FATE's own ---- */

/* The inference DSL that FATE made, less what only FATE needs in it: CodePath, providers, caches. */
static void strip(json_t *dsl)
{
    const char *name;
    json_t *c;
    json_object_foreach(json_object_get(dsl, "components"), name, c)
    {
        json_object_del(c, "CodePath");
        json_object_del(c, "provider");
        json_object_del(json_object_get(c, "output"), "cache");
    }
}

static void fates_archive(struct ctx *cx)
{
    const char *file = test_shared(cx, "golden/model_export_guest.zip");
    const char *base = scratch_dir(cx), *dir = scratch_path(cx, base, "m"),
               *other = scratch_path(cx, base, "n");
    struct model_info info = {0}, again = {0}, *all;
    struct model_pipeline pipe = {0};
    struct model_part p = {0};
    struct members z;
    size_t n = 0, views = 0;
    json_t *run = NULL;
    if (!file) SKIP("no shared data");
    CHECK_OK(cx, model_import(cx, dir, file, false, &info));
    CHECK(info.key.role && strcmp(info.key.role, "guest") == 0 && info.key.party == 9999);
    CHECK(strcmp(info.key.model_id, MODEL_ID) == 0 && strcmp(info.key.version, "202611232110598249440") == 0);
    CHECK(info.deployed && strcmp(info.parent_version, "202611232110067205520") == 0 &&
          info.n_components == 2);
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    CHECK(n == 1 && !all[0].damage);
    CHECK_ERR(model_import(cx, dir, file, false, &again), EXISTS);
    CHECK_OK(cx, model_import(cx, dir, file, true, &again));
    /* Its messages, byte for byte, and the JSON that FATE wrote beside them. */
    zip_read(cx, file, &z);
    const char *folder =
        arena_printf(cx->mem, "%s/guest#9999#%s/%s", dir, info.key.model_id, info.key.version);
    for (size_t i = 0; i < z.n; i++) {
        size_t len = strlen(z.m[i].name);
        struct bytes got = {0};
        if (strcmp(z.m[i].name, ".lock") == 0) continue;
        CHECK_OK(cx, file_read(cx, scratch_path(cx, folder, z.m[i].name), 1 << 20, &got));
        if (strncmp(z.m[i].name, "variables/", 10) != 0 || strcmp(z.m[i].name + len - 5, ".json") != 0) {
            CHECK(same_bytes(got, z.m[i].data));
            continue;
        }
        CLEANUP(json_decrefp) json_t *mine = NULL, *fates = NULL;
        CHECK_OK(cx, js_parse(cx, "view", got.p, got.n, &mine));
        CHECK_OK(cx, js_parse(cx, "view", z.m[i].data.p, z.m[i].data.n, &fates));
        CHECK(json_equal(mine, fates));
        views++;
    }
    CHECK(views == 5);
    CHECK_OK(cx, model_load_part(cx, dir, &info.key, BOOST, &p, &run));
    CHECK(p.n_buffers == 2 && model_buffer(&p, "Meta") && model_buffer(&p, "Param"));
    CHECK(json_is_string(json_object_get(run, "CodePath")));
    CHECK_OK(cx, model_load_part(cx, dir, &info.key, TRANSFORM, &p, NULL));
    /* What norn would have made of the training DSL is what FATE made of it. */
    CLEANUP(json_decrefp) json_t *ours = NULL;
    CHECK_OK(cx, model_load_pipeline(cx, dir, &info.key, &pipe));
    CHECK_OK(cx, model_infer_dsl(cx, pipe.train_dsl, NULL, 0, &ours));
    strip(ours), strip(pipe.inference_dsl);
    CHECK(ours && json_equal(ours, pipe.inference_dsl));
    /* On as an archive of norn's, with checksums. */
    CHECK_OK(cx, model_export(cx, dir, &info.key, scratch_path(cx, base, "a.zip")));
    CHECK_OK(cx, model_import(cx, other, scratch_path(cx, base, "a.zip"), false, &again));
    CHECK(same_bytes(folder_text(cx, dir), folder_text(cx, other)));
}

/* FATE's zip has no checksums: what is checked is each member's CRC-32, the messages, and that it is whole. */
static void fates_archive_damaged(struct ctx *cx)
{
    const char *file = test_shared(cx, "golden/model_export_guest.zip"), *dir = fast_dir(cx);
    struct shuffle r = shuffle_new(test_seed());
    struct model_info info;
    struct bytes zip = {0};
    size_t taken = 0, all = 0;
    if (!file) SKIP("no shared data");
    CHECK_OK(cx, model_import(cx, dir, file, false, &info));
    struct bytes want = folder_text(cx, dir);
    CHECK_OK(cx, dir_remove(cx, scratch_path(cx, dir, "guest#9999#" MODEL_ID)));
    CHECK_OK(cx, file_read(cx, file, 1 << 20, &zip));
    uint8_t *copy = NEW(cx, uint8_t, zip.n);
    for (size_t n = 0; n < zip.n; n += n < zip.n - 100 ? 97 : 1)
        CHECK(!refused_or_same(cx, dir, (struct bytes){zip.p, n}, want));
    for (size_t i = 0; i < 8449; i += 1 + (size_t)shuffle_below(&r, 40), all++) { /* up to the directory */
        memcpy(copy, zip.p, zip.n);
        copy[i] ^= (uint8_t)(1 + shuffle_below(&r, 255));
        taken += refused_or_same(cx, dir, (struct bytes){copy, zip.n}, want);
    }
    printf("# %zu of %zu alterations change nothing in the model\n", taken, all);
    CHECK(taken < all / 2);
}

/* Allocation after allocation fails: an error each time, and nothing is left. */
static void no_memory(struct ctx *cx)
{
    const char *from = exported(cx, NULL), *dir = fast_dir(cx), *file = scratch_path(cx, dir, "../x.zip");
    struct model_info info;
    status st = {ERR_NOMEM};
    size_t tries = 0;
    for (; st.code && tries < 400; tries++) {
        struct ctx small = {.mem = arena_new(4096 + 1024 * tries)};
        st = model_import(&small, dir, from, false, &info);
        CHECK(st.code == ERR_OK || st.code == ERR_NOMEM);
        if (st.code && st.code != ERR_NOMEM) printf("# %s\n", small.err.msg);
        /* The model may be there whole when only its description found no memory. */
        CHECK(scratch_count(cx, dir) <= 1);
        if (st.code) CHECK_OK(cx, dir_remove(cx, scratch_path(cx, dir, "guest#9999#" MODEL_ID)));
        arena_free(small.mem);
    }
    CHECK(!st.code);
    st = (status){ERR_NOMEM};
    for (tries = 0; st.code && tries < 400; tries++) {
        struct ctx small = {.mem = arena_new(4096 + 1024 * tries)};
        st = model_export(&small, dir, &guest_key, file);
        CHECK(st.code == ERR_OK || st.code == ERR_NOMEM);
        CHECK(file_exists(file) == !st.code && !file_exists(scratch_path(cx, dir, "../x.zip.tmp")));
        arena_free(small.mem);
    }
    CHECK(!st.code);
}

TEST_MAIN(T(round_trip), T(deployed_too), T(what_is_in_it), T(exists_and_replace), T(cut_off), T(altered),
          T(checksums), T(zip_slip), T(passed_over), T(bounds), T(records), T(layouts), T(no_archive),
          T(views_are_made_anew), T(fates_archive), T(fates_archive_damaged), T(no_memory))
