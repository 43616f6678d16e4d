/* The catalogue: names, replacing, deleting, sweeping, history, and several processes and kills at once. */
#include "table/store.h"
#include "scratch.h"
#include "table/csv.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* A table of one column and one row into a fresh folder of the store. */
static status build(struct ctx *cx, struct store *s, int64_t value, const char **path)
{
    static const struct column_spec spec = {"v", NULL, COL_I64, KIND_FEATURE};
    CLEANUP(table_writer_freep) struct table_writer *w = NULL;
    TRY(store_new_path(cx, s, path));
    TRY(table_writer_new(cx, *path, "id", &spec, 1, &w));
    TRY(table_writer_append(cx, w, 1, (const uint64_t[]){0, 1}, "a", (const void *const[]){&value}));
    return table_writer_finish(cx, w, NULL);
}

static status put(struct ctx *cx, struct store *s, const char *name, int64_t value, bool replace)
{
    const char *path;
    TRY(build(cx, s, value, &path));
    return store_add(cx, s, "ns", name, path, "test", replace);
}

static int64_t value_of(struct ctx *cx, struct store *s, const char *name)
{
    struct table_info i;
    const struct table *t;
    status st = store_find(cx, s, "ns", name, &i);
    if (!st.code) st = table_open(cx, i.path, &t);
    return st.code ? -1 : ((const int64_t *)t->cols[0].data)[0];
}

static void life(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *tables = scratch_path(cx, dir, "store/tables"), *path;
    struct store *s, *other;
    struct table_info i, *all;
    size_t n;
    CHECK_OK(cx, store_open(cx, dir, &s));
    CHECK_OK(cx, store_open(cx, dir, &other));
    CHECK_OK(cx, store_list(cx, s, &all, &n));
    CHECK(n == 0);
    CHECK_ERR(store_find(cx, s, "ns", "a", &i), NOTFOUND);
    CHECK(strstr(cx->err.msg, "the store is empty"));
    CHECK_OK(cx, put(cx, s, "alpha", 1, false));
    CHECK_OK(cx, put(cx, s, "beta", 2, false));
    CHECK(value_of(cx, other, "alpha") == 1);
    CHECK_OK(cx, store_find(cx, s, "ns", "alpha", &i));
    CHECK(i.n_rows == 1 && i.n_cols == 1 && i.bytes > 64 && i.created_ms > 0 && !i.derived &&
          strcmp(i.origin, "test") == 0);
    CHECK_ERR(put(cx, s, "alpha", 3, false), EXISTS);
    CHECK(value_of(cx, s, "alpha") == 1);
    CHECK_OK(cx, put(cx, other, "alpha", 4, true));
    CHECK(value_of(cx, s, "alpha") == 4 && !file_exists(i.path));
    CHECK_ERR(store_find(cx, s, "ns", "alhpa", &i), NOTFOUND);
    CHECK(strstr(cx->err.msg, "nearest: ns/alpha, ns/beta"));
    CHECK_OK(cx, store_list(cx, s, &all, &n));
    CHECK(n == 2 && strcmp(all[0].name, "alpha") == 0 && strcmp(all[1].name_space, "ns") == 0);
    CHECK_OK(cx, store_delete(cx, s, "ns", "alpha"));
    CHECK_ERR(store_delete(cx, s, "ns", "alpha"), NOTFOUND);
    CHECK_OK(cx, store_list(cx, other, &all, &n));
    CHECK(n == 1);
    CHECK(scratch_count(cx, tables) == 2); /* beta, and the one that was refused */
    CHECK_OK(cx, build(cx, s, 5, &path));
    CHECK_ERR(store_add(cx, s, "ns", "x", dir, "test", false), ARG);
    CHECK_ERR(store_add(cx, s, "ns", "x", "/etc", "test", false), ARG);
    CHECK_ERR(
        store_add(cx, s, "ns", "x", scratch_path(cx, tables, "00112233445566778899aabbccddeeff"), "t", false),
        ARG);
    CHECK_OK(cx, store_add(cx, s, "ns", "x", path, "test", false));
    CHECK(store_add(cx, s, "ns", "y", path, "test", false).code != ERR_OK); /* one folder, one name */
}

static void names(struct ctx *cx)
{
    struct store *s;
    struct table_info i;
    char longest[252];
    memset(longest, 'n', sizeof longest);
    longest[251] = 0;
    CHECK_OK(cx, store_open(cx, scratch_dir(cx), &s));
    const char *const wrong[] = {"", "a/b", "..\x01", "a\nb", "\xff", "x\x7f", longest};
    for (size_t k = 0; k < LEN(wrong); k++) {
        CHECK_ERR(put(cx, s, wrong[k], 1, false), ARG);
        CHECK_ERR(store_find(cx, s, wrong[k], "a", &i), ARG);
        CHECK_ERR(store_delete(cx, s, "a", wrong[k]), ARG);
    }
    longest[250] = 0;
    const char *const fine[] = {"..",    ".", "a b", "Z\xc3\xbcrich", "'; DROP TABLE tables; --", "%s",
                                longest, "A", "a"};
    for (size_t k = 0; k < LEN(fine); k++)
        CHECK_OK(cx, put(cx, s, fine[k], (int64_t)k, false));
    for (size_t k = 0; k < LEN(fine); k++)
        CHECK(value_of(cx, s, fine[k]) == (int64_t)k);
}

static void age(const char *path, int64_t seconds)
{
    struct timespec t[2] = {{time(NULL) - seconds, 0}, {time(NULL) - seconds, 0}};
    if (utimensat(AT_FDCWD, path, t, 0) < 0) abort();
}

static void sweeps(struct ctx *cx)
{
    struct store *s;
    const char *dir = scratch_dir(cx), *path[4];
    size_t n;
    CHECK_OK(cx, store_open(cx, dir, &s));
    for (size_t k = 0; k < 4; k++)
        CHECK_OK(cx, build(cx, s, (int64_t)k, &path[k]));
    CHECK_OK(cx, store_add(cx, s, "ns", "kept", path[0], "test", false));
    for (size_t k = 0; k < 3; k++) { /* 0 is in the catalogue, 2 has a young file, 3 is young */
        age(scratch_path(cx, path[k], "data.col"), 7200);
        age(scratch_path(cx, path[k], "table.json"), k == 2 ? 60 : 7200);
        age(path[k], 7200);
    }
    CHECK_OK(cx, store_sweep(cx, s, &n));
    CHECK(n == 1 && file_exists(path[0]) && !file_exists(path[1]) && file_exists(path[2]) &&
          file_exists(path[3]));
    CHECK(value_of(cx, s, "kept") == 0);
}

static void history(struct ctx *cx)
{
    struct store *s;
    struct upload_record *r;
    size_t n;
    CHECK_OK(cx, store_open(cx, scratch_dir(cx), &s));
    for (int64_t k = 0; k < 5; k++)
        CHECK_OK(cx,
                 store_record_upload(cx, s,
                                     &(struct upload_record){1000 + k, "a.csv", "ns", "t",
                                                             k ? "ok" : "row 1: bad", 7, (uint64_t)k, 0.5}));
    CHECK_OK(cx, store_uploads(cx, s, 3, &r, &n));
    CHECK(n == 3 && r[0].at_ms == 1004 && r[2].at_ms == 1002 && r[0].bytes == 4 && r[0].seconds == 0.5);
    CHECK_OK(cx, store_uploads(cx, s, 100, &r, &n));
    CHECK(n == 5 && strcmp(r[4].result, "row 1: bad") == 0 && strcmp(r[4].file, "a.csv") == 0);
}

/* Work of one process: adds, replaces, finds and deletes under names that others use, too. */
static int hammer(const char *dir, uint64_t seed)
{
    struct ctx own = {.mem = arena_new(0)}, *cx = &own;
    struct shuffle rnd = shuffle_new(seed);
    struct store *s;
    if (store_open(cx, dir, &s).code) return 1;
    for (int k = 0; k < 60; k++) {
        char name[8];
        snprintf(name, sizeof name, "t%u", (unsigned)shuffle_below(&rnd, 4));
        struct table_info i, *all;
        size_t n;
        enum err_code code =
            shuffle_below(&rnd, 3) ? put(cx, s, name, k, true).code : store_delete(cx, s, "ns", name).code;
        if (code != ERR_OK && code != ERR_NOTFOUND) return fprintf(stderr, "# %s\n", cx->err.msg), 2;
        code = store_find(cx, s, "ns", name, &i).code;
        if (code != ERR_OK && code != ERR_NOTFOUND) return fprintf(stderr, "# %s\n", cx->err.msg), 3;
        if (store_list(cx, s, &all, &n).code || n > 4)
            return fprintf(stderr, "# %zu: %s\n", n, cx->err.msg), 4;
    }
    arena_free(own.mem);
    return 0;
}

/* Every entry of the catalogue is a table that opens. */
static void check_whole(struct ctx *cx, struct store *s)
{
    struct table_info *all;
    size_t n;
    CHECK_OK(cx, store_list(cx, s, &all, &n));
    for (size_t k = 0; k < n; k++) {
        const struct table *t;
        CHECK_OK(cx, table_open(cx, all[k].path, &t));
    }
}

static void several_processes(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    struct store *s;
    pid_t pid[3];
    for (size_t k = 0; k < LEN(pid); k++)
        if ((pid[k] = fork()) == 0) _exit(hammer(dir, scratch_seed() + k));
    for (size_t k = 0; k < LEN(pid); k++) {
        int how = -1;
        CHECK(waitpid(pid[k], &how, 0) == pid[k] && how == 0);
    }
    CHECK_OK(cx, store_open(cx, dir, &s));
    check_whole(cx, s);
}

static void killed(struct ctx *cx)
{
    struct shuffle rnd = shuffle_new(scratch_seed() + 9);
    const char *dir = scratch_dir(cx);
    for (int round = 0; round < 25; round++) {
        struct ctx own = {.mem = arena_new(0)};
        struct store *s;
        pid_t pid = fork();
        if (pid == 0)
            for (uint64_t k = 0;; k++)
                if (hammer(dir, scratch_seed() + k)) _exit(1);
        struct timespec t = {0, (long)(1000000 + shuffle_below(&rnd, 60000000))};
        nanosleep(&t, NULL);
        kill(pid, SIGKILL);
        int how;
        CHECK(waitpid(pid, &how, 0) == pid && WIFSIGNALED(how));
        CHECK_OK(&own, store_open(&own, dir, &s));
        check_whole(&own, s);
        arena_free(own.mem);
    }
    (void)cx;
}

TEST_MAIN(T(life), T(names), T(sweeps), T(history), T(several_processes), T(killed))
