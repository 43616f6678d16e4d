/* Export and import: the same model and the same bytes; what is in an archive; FATE's own. */
#include "zips.h"
#include <archive_entry.h>
#include <sys/stat.h>
#include <time.h>

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

TEST_MAIN(T(round_trip), T(deployed_too), T(what_is_in_it), T(exists_and_replace), T(passed_over),
          T(views_are_made_anew), T(fates_archive), T(no_memory))
