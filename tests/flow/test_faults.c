/* Every allocation and every write fails once, in tables, the catalogue, the job database, migrations, settings and plans:
 * an error, no leak, and on disk the old state or the new one. Linked with parts.c. */
#include "faults.h"
#include "flow/jobdb.h"
#include "flow/plan.h"
#include "flow/settings.h"
#include "table/csv.h"
#include "table/store.h"

/* dir/name, without memory that could fail; good for two more calls. */
static const char *in(const char *dir, const char *name)
{
    static char text[3][300];
    static size_t turn;
    char *p = text[turn++ % 3];
    snprintf(p, sizeof text[0], "%s/%s", dir, name);
    return p;
}

/* ---- tables ---- */

static status write_table(struct ctx *cx, const char *path, int64_t value)
{
    static const struct column_spec spec[] = {{"v", NULL, COL_I64, KIND_FEATURE},
                                              {"s", NULL, COL_STR, KIND_FEATURE}};
    CLEANUP(table_writer_freep) struct table_writer *w = NULL;
    const struct bytes text = {(const uint8_t *)"text", 4};
    const void *const cols[] = {&value, &text};
    TRY(table_writer_new(cx, path, "id", spec, 2, &w));
    TRY(table_writer_append(cx, w, 1, (const uint64_t[]){0, 1}, "a", cols));
    return table_writer_finish(cx, w, NULL);
}

static status run_table(struct ctx *cx, const char *dir)
{
    return write_table(cx, in(dir, "t"), 7);
}

static int64_t value_at(struct ctx *cx, const char *path)
{
    const struct table *t;
    return table_open(cx, path, &t).code ? -1 : ((const int64_t *)t->cols[0].data)[0];
}

static size_t entries(struct ctx *cx, const char *dir)
{
    const char **names;
    size_t n = 0;
    CHECK_OK(cx, dir_list(cx, dir, &names, &n));
    return n;
}

static void verify_table(struct ctx *cx, const char *dir, bool good)
{
    const char *path = in(dir, "t");
    if (good) CHECK(value_at(cx, path) == 7);
    if (!good && file_exists(path)) CHECK(value_at(cx, path) == 7); /* whole: what failed came after */
    CHECK(entries(cx, dir) == (file_exists(path) ? 1 : 0));
}

static void tables(struct ctx *cx)
{
    fault_all(cx, &(struct scenario){.run = run_table, .verify = verify_table});
}

/* ---- CSV ---- */

static status prepare_csv(struct ctx *cx, const char *dir)
{
    static const char text[] = "id,x0,y,name\na,1,0,\"one, two\"\nb,2.5,1,\nc,,0,three\n";
    return file_write(cx, in(dir, "in.csv"), text, sizeof text - 1, 0600);
}

static status run_csv(struct ctx *cx, const char *dir)
{
    struct csv_options opt = {0};
    struct csv_result r;
    return csv_import(cx, in(dir, "in.csv"), in(dir, "t"), &opt, NULL, NULL, &r);
}

static void verify_csv(struct ctx *cx, const char *dir, bool good)
{
    const char *path = in(dir, "t");
    const struct table *t;
    if (good || file_exists(path)) {
        CHECK_OK(cx, table_open(cx, path, &t));
        CHECK(t->n_rows == 3 && t->n_cols == 3);
    }
    CHECK(entries(cx, dir) == (file_exists(path) ? 2 : 1));
}

static void csv(struct ctx *cx)
{
    fault_all(cx, &(struct scenario){prepare_csv, run_csv, verify_csv});
}

/* ---- the catalogue ---- */

static status prepare_store(struct ctx *cx, const char *dir)
{
    struct store *s;
    const char *path;
    struct ctx own = {.mem = arena_new(0)}; /* closed before the faults begin */
    status st = store_open(&own, dir, &s);
    for (int i = 0; i < 2 && !st.code; i++) {
        st = store_new_path(&own, s, &path);
        if (!st.code) st = write_table(&own, path, i + 1);
        if (!st.code) st = store_add(&own, s, "ns", i ? "b" : "a", path, "test", false);
    }
    cx->err = own.err;
    arena_free(own.mem);
    return st;
}

/* A new one in the place of a, b deleted, c new. */
static status run_store(struct ctx *cx, const char *dir)
{
    struct store *s;
    const char *path;
    TRY(store_open(cx, dir, &s));
    TRY(store_new_path(cx, s, &path));
    TRY(write_table(cx, path, 10));
    TRY(store_add(cx, s, "ns", "a", path, "test", true));
    TRY(store_delete(cx, s, "ns", "b"));
    TRY(store_new_path(cx, s, &path));
    TRY(write_table(cx, path, 30));
    TRY(store_add(cx, s, "ns", "c", path, "test", false));
    return store_record_upload(
        cx, s, &(struct upload_record){.file = "f", .name_space = "ns", .name = "c", .result = "ok"});
}

static int64_t value_of(struct ctx *cx, struct store *s, const char *name)
{
    struct table_info i;
    if (store_find(cx, s, "ns", name, &i).code) return 0;
    return value_at(cx, i.path);
}

static void verify_store(struct ctx *test, const char *dir, bool good)
{
    struct ctx own = {.mem = arena_new(0)}, *cx = &own;
    struct store *s;
    struct upload_record *r;
    size_t n;
    (void)test;
    CHECK_OK(cx, store_open(cx, dir, &s));
    int64_t a = value_of(cx, s, "a"), b = value_of(cx, s, "b"), c = value_of(cx, s, "c");
    CHECK((a == 1 && b == 2 && c == 0) || (a == 10 && b == 2 && c == 0) || (a == 10 && b == 0 && c == 0) ||
          (a == 10 && b == 0 && c == 30));
    CHECK_OK(cx, store_uploads(cx, s, 10, &r, &n));
    if (good) CHECK(a == 10 && b == 0 && c == 30 && n == 1);
    arena_free(own.mem);
}

static void catalogue(struct ctx *cx)
{
    fault_all(cx, &(struct scenario){prepare_store, run_store, verify_store});
}

/* ---- the job database ---- */

static const struct party guest = {ROLE_GUEST, 9999};

static status put_job(struct ctx *cx, struct jobdb *db, const char *id)
{
    struct job_row j = {.job = id, .initiator = guest, .status = RUN_WAITING, .dsl = "{}", .conf = "{}"};
    struct task_row t = {.job = id, .component = "a", .module = "M", .party = guest, .local = true};
    struct metric_row m = {"train", "loss", "{}", "[[0,1.0]]"};
    struct output_row o = {.name = "data", .path = "/p"};
    TRY(jobdb_begin(cx, db));
    TRY(jobdb_add_job(cx, db, &j));
    TRY(jobdb_put_task(cx, db, &t));
    TRY(jobdb_add_metric(cx, db, &t, &m));
    TRY(jobdb_add_output(cx, db, &t, &o));
    return jobdb_commit(cx, db);
}

static status prepare_jobs(struct ctx *cx, const char *dir)
{
    struct ctx own = {.mem = arena_new(0)};
    struct jobdb *db;
    status st = jobdb_open(&own, in(dir, "jobs.db"), false, &db);
    if (!st.code) st = put_job(&own, db, "j1");
    cx->err = own.err;
    arena_free(own.mem);
    return st;
}

static status run_jobs(struct ctx *cx, const char *dir)
{
    struct jobdb *db;
    struct job_row *jobs, j;
    struct task_row *tasks;
    size_t n;
    TRY(jobdb_open(cx, in(dir, "jobs.db"), false, &db));
    TRY(put_job(cx, db, "j2"));
    TRY(jobdb_job(cx, db, "j2", &j));
    j.status = RUN_SUCCESS, j.ended_ms = 7;
    TRY(jobdb_set_job(cx, db, &j));
    TRY(jobdb_jobs(cx, db, 0, &jobs, &n));
    if (n != 2) return FAIL(cx, INTERNAL, "%zu jobs are listed", n);
    TRY(jobdb_tasks(cx, db, "j2", &tasks, &n));
    if (n != 1 || strcmp(tasks[0].module, "M") != 0) return FAIL(cx, INTERNAL, "%zu tasks are listed", n);
    return jobdb_drop(cx, db, KEPT_JOBS, "j2").code ? (status){cx->err.code}
                                                    : jobdb_drop(cx, db, KEPT_OUTPUTS, "j1");
}

/* A job is there with all its rows, or not at all. */
static size_t whole_job(struct ctx *cx, struct jobdb *db, const char *id)
{
    struct job_row j;
    struct task_row *tasks;
    struct metric_row *metrics;
    struct output_row *outs;
    size_t t = 0, m = 0, o = 0;
    size_t there = !jobdb_job(cx, db, id, &j).code;
    CHECK_OK(cx, jobdb_tasks(cx, db, id, &tasks, &t));
    CHECK_OK(cx, jobdb_metrics(cx, db, id, "a", guest, &metrics, &m));
    CHECK_OK(cx, jobdb_outputs(cx, db, id, &outs, &o));
    CHECK(t == there && m == there && o == (there && !j.outputs_gone ? 1 : 0));
    return there;
}

static void verify_jobs(struct ctx *test, const char *dir, bool good)
{
    struct ctx own = {.mem = arena_new(0)}, *cx = &own;
    struct jobdb *db;
    const char *says = "";
    (void)test;
    CHECK_OK(cx, jobdb_open(cx, in(dir, "jobs.db"), false, &db));
    CHECK_OK(cx, jobdb_check(cx, db, &says));
    CHECK(strcmp(says, "ok") == 0);
    CHECK(whole_job(cx, db, "j1") == 1);
    size_t two = whole_job(cx, db, "j2");
    if (good) CHECK(two == 0);
    arena_free(own.mem);
}

static void job_database(struct ctx *cx)
{
    fault_all(cx, &(struct scenario){prepare_jobs, run_jobs, verify_jobs});
}

/* ---- a migration ---- */

static status prepare_old(struct ctx *cx, const char *dir)
{
    const char *vectors = getenv("NORN_VECTORS");
    struct bytes all;
    TRY(file_read(cx, arena_printf(cx->mem, "%s/old_store/jobs.db", vectors ? vectors : "tests/vectors"),
                  1 << 20, &all));
    return file_write(cx, in(dir, "jobs.db"), all.p, all.n, 0600);
}

static status run_migration(struct ctx *cx, const char *dir)
{
    struct jobdb *db;
    return jobdb_open(cx, in(dir, "jobs.db"), false, &db);
}

/* Whatever was broken off, the next start migrates, and the backup of version 1 is there and whole. */
static void verify_migration(struct ctx *test, const char *dir, bool good)
{
    struct ctx own = {.mem = arena_new(0)}, *cx = &own;
    struct jobdb *db;
    struct job_row *jobs;
    const char *says = "", *file = in(dir, "jobs.db");
    size_t n = 0;
    sqlite3 *bak = NULL;
    (void)test, (void)good;
    CHECK_OK(cx, jobdb_open(cx, file, false, &db));
    CHECK_OK(cx, jobdb_check(cx, db, &says));
    CHECK_OK(cx, jobdb_jobs(cx, db, 0, &jobs, &n));
    CHECK(n == 2 && strcmp(says, "ok") == 0);
    CHECK(sqlite3_open_v2(arena_printf(cx->mem, "%s.v1.bak", file), &bak, SQLITE_OPEN_READONLY, NULL) ==
              SQLITE_OK &&
          sqlite3_exec(bak, "SELECT count(*) FROM outputs", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(bak);
    arena_free(own.mem);
}

static void migration(struct ctx *cx)
{
    const char *dir = fault_dir(cx);
    bool there = !prepare_old(cx, dir).code;
    CHECK_OK(cx, dir_remove(cx, dir));
    if (!there) SKIP("no vectors");
    fault_all(cx, &(struct scenario){prepare_old, run_migration, verify_migration});
}

/* ---- settings and plans: memory only ---- */

static void nothing(struct ctx *cx, const char *dir, bool good)
{
    (void)cx, (void)dir, (void)good;
}

static status run_settings(struct ctx *cx, const char *dir)
{
    static const char text[] =
        "party = 1\nname = \"First Bank\"\nkeep_jobs = 90d\npeer.2 = clinic.example:9370\n";
    struct settings s;
    (void)dir;
    CLEANUP(json_decrefp) json_t *j = NULL;
    TRY(settings_parse(cx, "norn.conf", text, sizeof text - 1, &s));
    if (s.keep_jobs_ms != 90 * UINT64_C(86400000) || s.n_peers != 1)
        return FAIL(cx, INTERNAL, "settings are lost");
    TRY(settings_json(cx, &s, &j));
    if (!json_object_get(j, "peer.2")) return FAIL(cx, INTERNAL, "a setting is lost");
    return OK;
}

static status run_plan(struct ctx *cx, const char *dir)
{
    static const char dsl_text[] =
        "{\"components\":{\"p0\":{\"module\":\"TestPing\",\"output\":{\"data\":[\"data\"]}},"
        "\"s0\":{\"module\":\"TestSink\",\"input\":{\"data\":{\"data\":[\"p0.data\"]}}}}}",
                      conf_text[] = "{\"dsl_version\":2,\"initiator\":{\"role\":\"guest\",\"party_id\":9999},"
                                    "\"role\":{\"guest\":[9999],\"host\":[10000]},\"component_parameters\":"
                                    "{\"common\":{\"p0\":{\"rounds\":5}}}}";
    struct plan p = {0};
    (void)dir;
    CLEANUP(json_decrefp) json_t *dsl = NULL;
    CLEANUP(json_decrefp) json_t *conf = NULL;
    TRY(js_parse(cx, "dsl", dsl_text, sizeof dsl_text - 1, &dsl));
    TRY(js_parse(cx, "conf", conf_text, sizeof conf_text - 1, &conf));
    TRY(plan_make(cx, dsl, conf, &p));
    for (size_t i = 0; i < p.conf.n_parties; i++) {
        CLEANUP(json_decrefp) json_t *params = NULL;
        TRY(plan_params(cx, &p, 0, p.conf.parties[i], &params));
        if (json_integer_value(js_at(params, "rounds")) != 5)
            return FAIL(cx, INTERNAL, "a parameter is lost");
    }
    return p.dsl.n == 2 && p.conf.n_parties == 2 ? OK : FAIL(cx, INTERNAL, "a part of the plan is lost");
}

static void all_memory(struct ctx *cx, status (*run)(struct ctx *cx, const char *dir))
{
    struct scenario s = {.run = run, .verify = nothing};
    size_t k = 1;
    fault_init();
    while (fault_once(cx, &s, FAULT_MEMORY, k, false) && test_state.failed < 5)
        k++;
    printf("# %zu allocations failed\n", k - 1);
    CHECK(k > 1);
}

static void settings(struct ctx *cx)
{
    all_memory(cx, run_settings);
}

static void plans(struct ctx *cx)
{
    all_memory(cx, run_plan);
}

TEST_MAIN(T(tables), T(csv), T(catalogue), T(job_database), T(migration), T(settings), T(plans))
