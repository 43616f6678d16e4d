/* Saving, loading, listing and deploying; names that would leave the folder; what a writer killed at any point leaves. */
#include "fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* The text of dir/name; "" when there is none. */
static const char *text_of(struct ctx *cx, const char *dir, const char *name)
{
    struct bytes b;
    return file_read(cx, scratch_path(cx, dir, name), 1 << 20, &b).code ? "" : (const char *)b.p;
}

static void set_age(const char *path, time_t seconds)
{
    struct timespec t[2] = {{time(NULL) - seconds, 0}, {time(NULL) - seconds, 0}};
    CHECK(utimensat(AT_FDCWD, path, t, 0) == 0);
}

static bool same_json(struct ctx *cx, const json_t *got, const char *want)
{
    const char *text = "nothing";
    if (json_equal(got, json_of(cx, want))) return true;
    (void)js_text(cx, got, &text).code;
    printf("# got %s\n", text);
    return false;
}

/* ---- parts ---- */

static void parts_come_back(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *folder = scratch_path(cx, dir, "guest#9999#" MODEL_ID "/" TRAINED);
    struct model_part want = boost_part(cx, 2), p;
    json_t *run = NULL;
    CHECK_OK(cx, save_parts(cx, dir, &guest_key, 2));
    CHECK_OK(cx, model_load_part(cx, dir, &guest_key, BOOST, &p, &run));
    CHECK(strcmp(p.component, BOOST) == 0 && strcmp(p.alias, "model") == 0 && p.n_buffers == 2);
    CHECK(strcmp(p.module, "HeteroSecureBoost") == 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK(strcmp(p.buffers[i].name, want.buffers[i].name) == 0);
        CHECK(strcmp(p.buffers[i].proto, want.buffers[i].proto) == 0);
        CHECK(same_bytes(p.buffers[i].pb, want.buffers[i].pb));
    }
    CHECK(model_buffer(&p, "Meta") == &p.buffers[0] && model_buffer(&p, "Param") == &p.buffers[1]);
    CHECK(!model_buffer(&p, "Weights"));
    CHECK(same_json(cx, run, "{'ComponentParam': {'num_trees': 2}}"));
    CHECK_OK(cx, model_load_part(cx, dir, &guest_key, TRANSFORM, &p, NULL));
    CHECK_ERR(model_load_part(cx, dir, &guest_key, "evaluation_0", &p, NULL), NOTFOUND);
    CHECK(strstr(cx->err.msg, "evaluation_0") && strcmp(p.component, TRANSFORM) == 0);
    struct model_key other = guest_key;
    other.version = DEPLOYED;
    CHECK_ERR(model_load_part(cx, dir, &other, TRANSFORM, &p, NULL), NOTFOUND);
    CHECK(strstr(text_of(cx, folder, "variables/data/data_transform_0/model/DataTransformParam.json"),
                 "\"header\":[\"x0\",\"x1\"]"));
    struct stat st;
    CHECK(stat(scratch_path(cx, folder, "variables/data/" BOOST "/model/HeteroSecureBoostingTreeGuestParam"),
               &st) == 0 &&
          (st.st_mode & 0777) == 0600);
}

static void again_replaces(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *folder = scratch_path(cx, dir, "guest#9999#" MODEL_ID "/" TRAINED);
    struct model_part want = boost_part(cx, 5), none = {TRANSFORM, "model", "DataTransform", {{0}}, 0}, p;
    CHECK_OK(cx, save_parts(cx, dir, &guest_key, 2));
    CHECK_OK(cx, model_save_part(cx, dir, &guest_key, &want, NULL));
    CHECK_OK(cx, model_load_part(cx, dir, &guest_key, BOOST, &p, NULL));
    CHECK(p.n_buffers == 2 && same_bytes(model_buffer(&p, "Param")->pb, model_buffer(&want, "Param")->pb));
    CHECK_OK(cx, model_save_part(cx, dir, &guest_key, &none, NULL));
    CHECK_ERR(model_load_part(cx, dir, &guest_key, TRANSFORM, &p, NULL), NOTFOUND);
    CHECK(strcmp(text_of(cx, folder, "define/define_meta.yaml"),
                 "component_define:\n"
                 "  \"hetero_secure_boost_0\":\n    module_name: \"HeteroSecureBoost\"\n"
                 "  \"data_transform_0\":\n    module_name: \"DataTransform\"\n"
                 "model_proto:\n"
                 "  \"hetero_secure_boost_0\":\n    \"model\":\n"
                 "      \"HeteroSecureBoostingTreeGuestMeta\": \"BoostingTreeModelMeta\"\n"
                 "      \"HeteroSecureBoostingTreeGuestParam\": \"BoostingTreeModelParam\"\n"
                 "  \"data_transform_0\": {}\n") == 0);
}

/* Names that are fine here and something else in YAML. */
static void odd_names(struct ctx *cx)
{
    static const char *const names[] = {"true", "null", "12", "1e3", "#1", "-", "---", "no", "a.b#c"};
    const char *dir = scratch_dir(cx);
    struct model_part p, part = transform_part(cx);
    struct model_info *all;
    size_t n;
    for (size_t i = 0; i < LEN(names); i++) {
        part.component = part.alias = names[i];
        CHECK_OK(cx, model_save_part(cx, dir, &guest_key, &part, NULL));
    }
    for (size_t i = 0; i < LEN(names); i++) {
        CHECK_OK(cx, model_load_part(cx, dir, &guest_key, names[i], &p, NULL));
        CHECK(strcmp(p.alias, names[i]) == 0 && same_bytes(p.buffers[0].pb, part.buffers[0].pb));
    }
    CHECK_OK(cx, save_record(cx, dir, &guest_key));
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    CHECK(n == 1 && all[0].n_components == LEN(names));
}

static const char *long_name(struct ctx *cx, size_t n)
{
    char *s = NEW(cx, char, n + 1);
    memset(s, 'a', n);
    return s;
}

static void refuses_names(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const char *const bad[] = {"",     ".",     "..",  ".hidden",   "a/b", "../../x",         "a b", "a\\b",
                               "a\nb", "\"x\"", "a:b", "g\xc3\xbc", "a*",  long_name(cx, 201)};
    struct model_part part = transform_part(cx), p;
    struct model_pipeline pipe;
    struct model_info info;
    for (size_t i = 0; i < LEN(bad); i++) {
        struct model_key k[3] = {guest_key, guest_key, guest_key};
        k[0].role = k[1].model_id = k[2].version = bad[i];
        for (size_t j = 0; j < 3; j++) {
            CHECK_ERR(model_save_part(cx, dir, &k[j], &part, NULL), ARG);
            CHECK_ERR(save_record(cx, dir, &k[j]), ARG);
            CHECK_ERR(model_load_part(cx, dir, &k[j], TRANSFORM, &p, NULL), ARG);
            CHECK_ERR(model_load_pipeline(cx, dir, &k[j], &pipe), ARG);
            CHECK_ERR(model_export(cx, dir, &k[j], scratch_path(cx, dir, "x.zip")), ARG);
        }
        for (size_t j = 0; j < 4; j++) {
            part = transform_part(cx);
            *(const char **[]){&part.component, &part.alias, &part.module, &part.buffers[0].name}[j] = bad[i];
            CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), ARG);
        }
        CHECK_ERR(model_load_part(cx, dir, &guest_key, bad[i], &p, NULL), ARG);
    }
    CHECK(scratch_count(cx, dir) == 0);
    struct model_key k = guest_key;
    k.role = "guest#1"; /* would be read back as role guest, party 1 */
    CHECK_ERR(save_record(cx, dir, &k), ARG);
    k = guest_key;
    k.role = long_name(cx, 150), k.model_id = long_name(cx, 150); /* each is fine, together no file name */
    CHECK_ERR(save_record(cx, dir, &k), ARG);
    CHECK(scratch_count(cx, dir) == 0);
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 1));
    for (size_t i = 0; i < LEN(bad); i++)
        CHECK_ERR(model_deploy(cx, dir, &guest_key, NULL, 0, bad[i]), ARG);
    CHECK_ERR(model_import(cx, dir, scratch_path(cx, dir, "absent.zip"), false, &info), NOTFOUND);
    CHECK(scratch_count(cx, dir) == 1);
}

static void refuses_parts(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    struct model_part part = transform_part(cx), p;
    part.component = "pipeline";
    CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), ARG);
    part = transform_part(cx), part.buffers[1].proto = "NoSuchParam";
    CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), UNSUPPORTED);
    part = transform_part(cx), part.buffers[1].name = part.buffers[0].name;
    CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), ARG);
    part = transform_part(cx), part.n_buffers = LEN(part.buffers) + 1;
    CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), ARG);
    part = transform_part(cx), part.buffers[1].pb.n = ((size_t)256 << 20) + 1; /* never looked at */
    CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), LIMIT);
    CHECK(scratch_count(cx, dir) == 0);
    part = transform_part(cx), part.buffers[1].pb = (struct bytes){(const uint8_t *)"\x0a\xff", 2};
    CHECK_ERR(model_save_part(cx, dir, &guest_key, &part, NULL), FORMAT);
    CHECK(strstr(cx->err.msg, TRANSFORM) && strstr(cx->err.msg, "DataTransformParam"));
    CHECK_ERR(model_load_part(cx, dir, &guest_key, TRANSFORM, &p, NULL), NOTFOUND);
    const json_t *list = json_of(cx, "[]"), *conf = json_of(cx, train_conf_text);
    CHECK_ERR(model_save_pipeline(cx, dir, &guest_key, list, NULL, conf, conf, 9999, "guest"), ARG);
    CHECK_ERR(model_save_pipeline(cx, dir, &guest_key, conf, NULL, conf, NULL, 9999, "guest"), ARG);
}

/* ---- seen whole or not at all ---- */

static void half_written(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *zip = scratch_path(cx, dir, "x.zip");
    struct model_info *all;
    struct model_pipeline pipe;
    struct model_part p;
    size_t n = 7;
    CHECK_OK(cx, model_list(cx, scratch_path(cx, dir, "absent"), &all, &n));
    CHECK(n == 0);
    CHECK_OK(cx, save_parts(cx, dir, &guest_key, 2));
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    CHECK(n == 0);
    CHECK_ERR(model_load_pipeline(cx, dir, &guest_key, &pipe), NOTFOUND);
    CHECK_ERR(model_deploy(cx, dir, &guest_key, NULL, 0, DEPLOYED), NOTFOUND);
    CHECK_ERR(model_export(cx, dir, &guest_key, zip), NOTFOUND);
    CHECK(!file_exists(zip) && scratch_count(cx, dir) == 1);
    CHECK_OK(cx, model_load_part(cx, dir, &guest_key, BOOST, &p, NULL)); /* the job that trains may */
    CHECK_OK(cx, save_record(cx, dir, &guest_key));
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    CHECK(n == 1 && !all[0].damage);
    CHECK_OK(cx, model_load_pipeline(cx, dir, &guest_key, &pipe));
    CHECK(same_json(cx, pipe.train_dsl, train_dsl_text) && same_json(cx, pipe.train_conf, train_conf_text));
    CHECK(pipe.parent && !pipe.inference_dsl && !pipe.parent_version);
    CHECK(strcmp(json_string_value(js_at(pipe.conf_on_party, "local.role")), "guest") == 0);
}

/* All that is listed is sound and complete; how many there are. */
static size_t check_all(struct ctx *cx, const char *dir)
{
    struct model_info *all;
    struct model_part p;
    struct model_pipeline pipe;
    json_t *run;
    size_t n = 0;
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    for (size_t i = 0; i < n; i++) {
        CHECK(!all[i].damage);
        CHECK(all[i].n_components == 2);
        CHECK_OK(cx, model_load_pipeline(cx, dir, &all[i].key, &pipe));
        for (size_t k = 0; k < all[i].n_components; k++)
            CHECK_OK(cx, model_load_part(cx, dir, &all[i].key, all[i].components[k], &p, &run));
    }
    return n;
}

/* A child saves, deploys, exports and imports with replacing, for ever; it is killed somewhere. */
static void work_for_ever(const char *dir, const char *zip, unsigned start)
{
    for (unsigned i = start;; i++) {
        struct ctx cx = {.mem = arena_new(0)};
        struct model_key k = guest_key, child;
        struct model_info info;
        k.version = arena_printf(cx.mem, "%u", i % 8);
        child = k, child.version = arena_printf(cx.mem, "1%u", i);
        (void)save_model(&cx, dir, &k, 1 + i % 8).code;
        if (i % 3 == 0) (void)model_deploy(&cx, dir, &k, NULL, 0, child.version).code;
        if (i % 3 == 1) (void)model_export(&cx, dir, &k, zip).code;
        if (i % 3 == 2) (void)model_import(&cx, dir, zip, true, &info).code;
        arena_free(cx.mem);
    }
}

static void killed_anywhere(struct ctx *cx)
{
    const char *tmp = getenv("TMPDIR"), *fast = "/dev/shm"; /* so that a child gets far */
    tmp = arena_strdup(cx->mem, tmp ? tmp : "/tmp");
    if (access(fast, W_OK) == 0) setenv("TMPDIR", fast, 1);
    const char *dir = scratch_dir(cx), *zip = scratch_path(cx, scratch_dir(cx), "model.zip");
    setenv("TMPDIR", tmp, 1);
    struct shuffle r = shuffle_new(test_seed());
    size_t seen = 0;
    for (int i = 0; i < 30; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            work_for_ever(dir, zip, (unsigned)i);
            _exit(0);
        }
        struct timespec wait = {0, (long)shuffle_below(&r, 30000000)};
        nanosleep(&wait, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        size_t n = check_all(cx, dir);
        CHECK(n >= seen); /* nothing that was there goes away */
        seen = n;
    }
    printf("# %zu models after 30 kills\n", seen);
    CHECK(seen > 0);
}

/* Allocation after allocation fails: an error each time, and nothing half to be seen. */
static void no_memory(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const json_t *dsl = json_of(cx, train_dsl_text), *conf = json_of(cx, train_conf_text);
    struct model_part t = transform_part(cx), b = boost_part(cx, 2), p;
    struct model_info *all;
    struct model_pipeline pipe;
    size_t n, tries = 0, at = 0;
    while (at < 7) {
        struct ctx small = {.mem = arena_new(4096 + 512 * tries++)};
        struct ctx *c = &small;
        status st = OK;
        if (at == 0) st = model_save_part(c, dir, &guest_key, &t, dsl);
        if (at == 1) st = model_save_part(c, dir, &guest_key, &b, NULL);
        if (at == 2) st = model_save_pipeline(c, dir, &guest_key, dsl, NULL, conf, conf, 9999, "guest");
        if (at == 3) st = model_load_part(c, dir, &guest_key, BOOST, &p, NULL);
        if (at == 4) st = model_load_pipeline(c, dir, &guest_key, &pipe);
        if (at == 5) st = model_deploy(c, dir, &guest_key, NULL, 0, DEPLOYED);
        if (at == 6) st = model_list(c, dir, &all, &n);
        if (st.code && st.code != ERR_NOMEM) printf("# step %zu: %s\n", at, small.err.msg);
        CHECK(st.code == ERR_OK || st.code == ERR_NOMEM || st.code == ERR_IO);
        CHECK(st.code == small.err.code || !st.code);
        arena_free(small.mem);
        CHECK_OK(cx, model_list(cx, dir, &all, &n));
        CHECK(n == (at > 2 ? 1u : 0u) + (at > 5 ? 1u : 0u) || at == 2 || at == 5);
        for (size_t i = 0; i < n; i++)
            CHECK(!all[i].damage);
        if (!st.code) at++, tries = 0;
        if (tries > 400) break;
    }
    CHECK(at == 7);
}

/* ---- listing ---- */

static void list_of_many(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const struct model_key keys[] = {{"guest", 9999, "a", "1"},
                                     {"guest", 9999, MODEL_ID, "1"},
                                     {"guest", 9999, MODEL_ID, "2"},
                                     {"host", 10000, MODEL_ID, "1"},
                                     {"host", 10001, MODEL_ID, "1"}};
    struct model_info *all;
    size_t n;
    for (size_t i = LEN(keys); i-- > 0;)
        CHECK_OK(cx, save_model(cx, dir, &keys[i], 1));
    CHECK_OK(cx, model_deploy(cx, dir, &keys[4], NULL, 0, "3"));
    scratch_file(cx, dir, "README", "x", 1);
    CHECK_OK(cx, dir_make(cx, scratch_path(cx, dir, "guest#x#y/1/variables/data/pipeline/pipeline/Pipeline"),
                          0700));
    CHECK_OK(cx, dir_make(cx, scratch_path(cx, dir, ".import-0/1/variables/data/pipeline/pipeline/Pipeline"),
                          0700));
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    CHECK(n == LEN(keys) + 1);
    for (size_t i = 0; i < LEN(keys) && n == LEN(keys) + 1; i++) {
        CHECK(strcmp(all[i].key.role, keys[i].role) == 0 && all[i].key.party == keys[i].party);
        CHECK(strcmp(all[i].key.model_id, keys[i].model_id) == 0 &&
              strcmp(all[i].key.version, keys[i].version) == 0);
        CHECK(all[i].n_components == 2 && strcmp(all[i].components[0], TRANSFORM) == 0 &&
              strcmp(all[i].components[1], BOOST) == 0);
        CHECK(!all[i].deployed && !all[i].parent_version && !all[i].damage);
        CHECK(all[i].bytes > 1000 && llabs((long long)(all[i].created_ms / 1000 - time(NULL))) < 600);
    }
    CHECK(all[n - 1].deployed && strcmp(all[n - 1].parent_version, "1") == 0);
}

/* One damaged record does not hide the other models, and says what is wrong. */
static void damaged(struct ctx *cx)
{
    static const struct {
        const char *file, *bytes, *says;
    } cases[] = {
        {"variables/data/pipeline/pipeline/Pipeline", "\xff\xff", "Pipeline"},
        {"variables/data/pipeline/pipeline/Pipeline", "", "train_dsl"},
        {"variables/data/pipeline/pipeline/Pipeline", "\x12\x02{}\x1a\x02[]",
         "train_runtime_conf is not an object"},
        {"define/define_meta.yaml", "component_define: [", "define_meta.yaml: line"},
        {"define/define_meta.yaml", "", "no component_define"},
        {"define/define_meta.yaml", "component_define: {a: {module_name: M}, a: {module_name: M}}", "twice"},
        {"define/define_meta.yaml",
         "component_define: {a: {module_name: M}}\nmodel_proto: {a: {m: {A: B}, k: {C: D}}}", "two models"},
        {"define/define_meta.yaml", "component_define: {a/b: {module_name: M}}", "not a letter"},
        {"define/define_meta.yaml", "component_define: {a: {}}", "without module_name"},
        {"define/define_meta.yaml", "component_define: {a: {module_name: M}}\nmodel_proto: {a: {m: x}}",
         "map of maps"},
    };
    const char *dir = scratch_dir(cx);
    struct model_key good = guest_key;
    struct model_info *all;
    size_t n;
    good.version = "1";
    CHECK_OK(cx, save_model(cx, dir, &good, 1));
    for (size_t i = 0; i < LEN(cases); i++) {
        CHECK_OK(cx, save_model(cx, dir, &guest_key, 1));
        scratch_file(cx, scratch_path(cx, dir, "guest#9999#" MODEL_ID "/" TRAINED), cases[i].file,
                     cases[i].bytes, strlen(cases[i].bytes));
        CHECK_OK(cx, model_list(cx, dir, &all, &n));
        CHECK(n == 2 && !all[0].damage && all[1].damage);
        if (n != 2 || !all[1].damage) continue;
        CHECK(strstr(all[1].damage, cases[i].says));
        if (!strstr(all[1].damage, cases[i].says)) printf("# %s\n", all[1].damage);
        CHECK(strcmp(all[1].key.version, TRAINED) == 0 && all[1].n_components == 0 && all[1].created_ms > 0);
        CHECK_OK(cx, dir_remove(cx, scratch_path(cx, dir, "guest#9999#" MODEL_ID "/" TRAINED)));
    }
    /* A folder that was renamed is not the model its new name says. */
    CHECK(rename(scratch_path(cx, dir, "guest#9999#" MODEL_ID),
                 scratch_path(cx, dir, "host#10000#" MODEL_ID)) == 0);
    CHECK_OK(cx, model_list(cx, dir, &all, &n));
    CHECK(n == 1 && all[0].damage && strstr(all[0].damage, "guest 9999"));
}

/* ---- deploying ---- */

static void deploys(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const char *parent = scratch_path(cx, dir, "guest#9999#" MODEL_ID "/" TRAINED);
    struct model_key child = guest_key;
    struct model_pipeline pipe;
    struct model_part p, want = boost_part(cx, 3);
    json_t *run;
    child.version = DEPLOYED;
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 3));
    struct bytes before = folder_text(cx, parent);
    CHECK_OK(cx, model_deploy(cx, dir, &guest_key, NULL, 0, DEPLOYED));
    CHECK(same_bytes(before, folder_text(cx, parent)));
    CHECK_OK(cx, model_load_pipeline(cx, dir, &child, &pipe));
    CHECK(!pipe.parent && strcmp(pipe.parent_version, TRAINED) == 0);
    CHECK(same_json(cx, pipe.train_dsl, train_dsl_text));
    CHECK(json_object_size(js_at(pipe.inference_dsl, "components")) == 4);
    CHECK_ERR(model_deploy(cx, dir, &guest_key, NULL, 0, DEPLOYED), EXISTS);
    CHECK_ERR(model_deploy(cx, dir, &child, NULL, 0, "1"), STATE);
    CHECK(strstr(cx->err.msg, TRAINED));
    CHECK_ERR(model_deploy(cx, dir, &guest_key, (const char *const[]){"absent_0"}, 1, "1"), ARG);
    CHECK_OK(cx, model_deploy(cx, dir, &guest_key, (const char *const[]){BOOST}, 1, "2"));
    child.version = "2";
    CHECK_ERR(model_load_part(cx, dir, &child, TRANSFORM, &p, NULL), NOTFOUND);
    /* A deployed one stands without its parent; nothing is left of how it was made. */
    CHECK_OK(cx, dir_remove(cx, parent));
    CHECK(scratch_count(cx, scratch_path(cx, dir, "guest#9999#" MODEL_ID)) == 2);
    CHECK_OK(cx, model_load_part(cx, dir, &child, BOOST, &p, &run));
    CHECK(same_bytes(model_buffer(&p, "Param")->pb, model_buffer(&want, "Param")->pb));
    CHECK(same_json(cx, run, "{'ComponentParam': {'num_trees': 2}}"));
}

/* With a DSL of the user's: the models that it takes come along, under whatever names the components have in it. */
static void deploys_a_dsl(struct ctx *cx)
{
    static const char dsl[] = "{'components': {'score': {'module': 'HeteroSecureBoost',"
                              "'input': {'model': ['pipeline.hetero_secure_boost_0.model']}}}}";
    static const char *const bad[] = {
        "{}",
        "{'components': []}",
        "{'components': {'../x': {}}}",
        "{'components': {'x': {'input': {'model': ['pipeline.intersection_0.model']}}}}",
        "{'components': {'x': {'input': {'model': ['pipeline.absent_0.model']}}}}",
        "{'components': {'x': {'input': {'model': ['pipeline.']}}}}",
    };
    const char *dir = scratch_dir(cx), *model = scratch_path(cx, dir, "guest#9999#" MODEL_ID);
    struct model_key child = guest_key;
    struct model_pipeline pipe;
    struct model_part p;
    child.version = DEPLOYED;
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 3));
    for (size_t i = 0; i < LEN(bad); i++)
        CHECK_ERR(model_deploy_dsl(cx, dir, &guest_key, json_of(cx, bad[i]), DEPLOYED), ARG);
    CHECK(scratch_count(cx, model) == 1);
    CHECK_OK(cx, model_deploy_dsl(cx, dir, &guest_key, json_of(cx, dsl), DEPLOYED));
    CHECK_OK(cx, model_load_pipeline(cx, dir, &child, &pipe));
    CHECK(same_json(cx, pipe.inference_dsl, dsl) && !pipe.parent);
    CHECK_OK(cx, model_load_part(cx, dir, &child, BOOST, &p, NULL));
    CHECK_ERR(model_load_part(cx, dir, &child, TRANSFORM, &p, NULL), NOTFOUND);
}

/* A deploy that fails half-way: the copy cannot be made. */
static void deploy_fails(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *model = scratch_path(cx, dir, "guest#9999#" MODEL_ID);
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 1));
    scratch_file(cx, model, TRAINED "/define/define_meta.yaml", "no: yaml", 8);
    CHECK_ERR(model_deploy(cx, dir, &guest_key, NULL, 0, DEPLOYED), FORMAT);
    CHECK(scratch_count(cx, model) == 1);
}

static void infer_dsl(struct ctx *cx)
{
    static const char *const boost[] = {BOOST}, *const two[] = {"reader_0", BOOST},
                             *const all[] = {BOOST, "evaluation_0"};
    static const struct {
        const char *const *list;
        size_t n;
        const char *want;
    } cases[] = {
        {NULL, 0,
         "{'components': {'reader_0': {'module': 'Reader', 'output': {'data': ['data']}},"
         "'data_transform_0': {'module': 'DataTransform', 'input': {'data': {'data': ['reader_0.data']},"
         " 'model': ['pipeline.data_transform_0.model']}, 'output': {'data': ['data']}},"
         "'intersection_0': {'module': 'Intersection', 'input': {'data': {'data': "
         "['data_transform_0.data']}},"
         " 'output': {'data': ['data']}},"
         "'hetero_secure_boost_0': {'module': 'HeteroSecureBoost', 'input': {'data': {'test_data':"
         " ['intersection_0.data']}, 'model': ['pipeline.hetero_secure_boost_0.model']}, 'output': {'data': "
         "['data']}}}}"},
        {boost, 1,
         "{'components': {'hetero_secure_boost_0': {'module': 'HeteroSecureBoost', 'input': {'model':"
         " ['pipeline.hetero_secure_boost_0.model']}, 'output': {'data': ['data']}}}}"},
        {two, 2,
         "{'components': {'reader_0': {'module': 'Reader', 'output': {'data': ['data']}},"
         "'hetero_secure_boost_0': {'module': 'HeteroSecureBoost', 'input': {'data': {'test_data': "
         "['reader_0.data']},"
         " 'model': ['pipeline.hetero_secure_boost_0.model']}, 'output': {'data': ['data']}}}}"},
        {all, 2,
         "{'components': {'hetero_secure_boost_0': {'module': 'HeteroSecureBoost', 'input': {'model':"
         " ['pipeline.hetero_secure_boost_0.model']}, 'output': {'data': ['data']}},"
         "'evaluation_0': {'module': 'Evaluation', 'input': {'data': {'data': "
         "['hetero_secure_boost_0.data']}},"
         " 'output': {'data': ['data']}}}}"},
    };
    json_t *got = NULL;
    for (size_t i = 0; i < LEN(cases); i++) {
        CHECK_OK(cx, model_infer_dsl(cx, json_of(cx, train_dsl_text), cases[i].list, cases[i].n, &got));
        CHECK(same_json(cx, got, cases[i].want));
        json_decref(got);
    }
    CHECK_ERR(model_infer_dsl(cx, json_of(cx, "{}"), NULL, 0, &got), FORMAT);
    /* Sources that go round in a circle lead nowhere. */
    CHECK_OK(cx, model_infer_dsl(
                     cx,
                     json_of(cx, "{'components': {'a': {'module': 'A', 'input': {'data': {'data': ['b.d']}}},"
                                 "'b': {'module': 'B', 'input': {'data': {'data': ['c.d']}}},"
                                 "'c': {'module': 'C', 'input': {'data': {'data': ['b.d']}}}}}"),
                     (const char *const[]){"a"}, 1, &got));
    CHECK(same_json(cx, got, "{'components': {'a': {'module': 'A'}}}"));
    json_decref(got);
}

/* ---- what crashes leave ---- */

static void sweeps(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    size_t n = 7;
    CHECK_OK(cx, model_sweep(cx, scratch_path(cx, dir, "absent"), &n));
    CHECK(n == 0);
    CHECK_OK(cx, save_model(cx, dir, &guest_key, 1));
    struct bytes before = folder_text(cx, dir);
    static const char *const made[] = {".import-1", ".import-2.old", "guest#9999#" MODEL_ID "/.deploy-1"};
    for (size_t i = 0; i < LEN(made); i++) {
        CHECK_OK(cx, dir_make(cx, scratch_path(cx, dir, made[i]), 0700));
        scratch_file(cx, scratch_path(cx, dir, made[i]), "x", "x", 1);
    }
    CHECK_OK(cx, model_sweep(cx, dir, &n));
    CHECK(n == 0); /* somebody may be at work */
    for (size_t i = 0; i < LEN(made); i++) {
        set_age(scratch_path(cx, scratch_path(cx, dir, made[i]), "x"), 7200);
        set_age(scratch_path(cx, dir, made[i]), 7200);
    }
    set_age(scratch_path(cx, dir, "guest#9999#" MODEL_ID "/" TRAINED), 7200);
    CHECK_OK(cx, model_sweep(cx, dir, &n));
    CHECK(n == LEN(made) && same_bytes(before, folder_text(cx, dir)));
}

TEST_MAIN(T(parts_come_back), T(again_replaces), T(odd_names), T(refuses_names), T(refuses_parts),
          T(half_written), T(killed_anywhere), T(no_memory), T(list_of_many), T(damaged), T(deploys),
          T(deploys_a_dsl), T(deploy_fails), T(infer_dsl), T(sweeps))
