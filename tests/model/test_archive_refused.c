/* No archive that is altered, cut off, built to lead outside or to fill the disk, or no model, leaves anything behind. */
#include "model/paths.h"
#include "model/pipeline.pb-c.h"
#include "zips.h"
#include <archive_entry.h>
#include <sys/stat.h>

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

TEST_MAIN(T(cut_off), T(altered), T(fates_archive_damaged), T(checksums), T(zip_slip), T(bounds), T(records),
          T(layouts), T(no_archive))
