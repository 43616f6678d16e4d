/* Files whole or not at all, also under other writers, killed writers and a full disk; folders made and removed. */
#include "table/scratch.h"
#include "base/file.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool holds(struct ctx *cx, const char *path, const char *want)
{
    struct bytes b = {0};
    return file_read(cx, path, 1 << 20, &b).code == ERR_OK && b.n == strlen(want) && b.p[b.n] == 0 &&
           memcmp(b.p, want, b.n) == 0;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : st.st_mode & 07777;
}

static void reads(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const char *path = scratch_file(cx, dir, "f", "a\0b", 3), *none = scratch_path(cx, dir, "none");
    struct bytes b;
    CHECK_OK(cx, file_read(cx, path, 3, &b));
    CHECK(b.n == 3 && memcmp(b.p, "a\0b\0", 4) == 0);
    CHECK_OK(cx, file_read(cx, scratch_file(cx, dir, "empty", "", 0), 0, &b));
    CHECK(b.n == 0 && b.p[0] == 0);
    CHECK_OK(cx, file_read(cx, "/proc/self/maps", 1 << 24, &b)); /* says that it has no bytes */
    CHECK(b.n > 100 && b.p[b.n] == 0);

    struct bytes untouched = {(const uint8_t *)dir, 7};
    b = untouched;
    CHECK_ERR(file_read(cx, path, 2, &b), LIMIT);
    CHECK(strstr(cx->err.msg, path) && strstr(cx->err.msg, "3 bytes, at most 2"));
    CHECK_ERR(file_read(cx, "/dev/zero", 100000, &b), LIMIT);
    CHECK_ERR(file_read(cx, none, 100, &b), NOTFOUND);
    CHECK(strstr(cx->err.msg, none) && strstr(cx->err.msg, "No such file"));
    CHECK_ERR(file_read(cx, scratch_path(cx, path, "under"), 100, &b), NOTFOUND);
    CHECK_ERR(file_read(cx, dir, 100, &b), IO);
    CHECK(strstr(cx->err.msg, "is a folder"));
    CHECK(b.p == untouched.p && b.n == untouched.n);
    CHECK(file_exists(path) && file_exists(dir) && !file_exists(none) &&
          !file_exists(scratch_path(cx, path, ".")));
}

static void writes(struct ctx *cx)
{
    mode_t mask = umask(022);
    const char *dir = scratch_dir(cx), *path = scratch_path(cx, dir, "f");
    CHECK_OK(cx, file_write(cx, path, "one", 3, 0600));
    CHECK(holds(cx, path, "one") && mode_of(path) == 0600);
    CHECK_OK(cx, file_write(cx, path, "", 0, 0644));
    CHECK(holds(cx, path, "") && mode_of(path) == 0644);

    /* What a writer left that died: neither its bytes nor its mode stay. */
    const char *tmp = scratch_file(cx, dir, "f.tmp", "longer than what comes", 22);
    CHECK(chmod(tmp, 0666) == 0);
    CHECK_OK(cx, file_write(cx, path, "two", 3, 0640));
    CHECK(holds(cx, path, "two") && mode_of(path) == 0640 && scratch_count(cx, dir) == 1);

    CHECK(chdir(dir) == 0);
    CHECK_OK(cx, file_write(cx, "bare", "3", 1, 0600));
    CHECK(holds(cx, scratch_path(cx, dir, "bare"), "3") && chdir("/") == 0);
    umask(mask);
}

static void refuses_to_write(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_path(cx, dir, "f");
    const char *other = scratch_file(cx, dir, "other", "kept", 4), *sub = scratch_path(cx, dir, "sub");
    CHECK(symlink(other, scratch_path(cx, dir, "f.tmp")) == 0);
    CHECK_ERR(file_write(cx, path, "x", 1, 0600), IO); /* not through a link that somebody put there */
    CHECK(holds(cx, other, "kept") && !file_exists(path));
    CHECK_ERR(file_write(cx, scratch_path(cx, sub, "f"), "x", 1, 0600), NOTFOUND);
    CHECK_OK(cx, dir_make(cx, sub, 0700));
    CHECK_ERR(file_write(cx, sub, "x", 1, 0600), IO);
    CHECK(!file_exists(scratch_path(cx, dir, "sub.tmp")));
    char *far = NEW(cx, char, 5001);
    memset(far, 'a', 5000);
    CHECK_ERR(file_write(cx, far, "x", 1, 0600), ARG);
    CHECK_ERR(dir_make(cx, far, 0700), ARG);
}

/* --- never half a file --- */

enum { WRITERS = 3, ROUNDS = 25 };
struct writer {
    pthread_t thread;
    const char *path;
    char letter;
    bool good;
};

static void *write_often(void *arg)
{
    struct writer *w = arg;
    struct ctx cx = {.mem = arena_new(0)};
    static const size_t sizes[] = {1, 70000, 300};
    char *text = NEW(&cx, char, 70000);
    memset(text, w->letter, 70000);
    w->good = true;
    for (size_t i = 0; i < ROUNDS; i++)
        w->good = !file_write(&cx, w->path, text, sizes[i % LEN(sizes)], 0600).code && w->good;
    arena_free(cx.mem);
    return NULL;
}

static bool whole(const struct bytes *b)
{
    for (size_t i = 1; i < b->n; i++)
        if (b->p[i] != b->p[0]) return false;
    return b->n == 1 || b->n == 70000 || b->n == 300;
}

static void many_writers(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_file(cx, dir, "f", "z", 1);
    struct writer w[WRITERS];
    for (size_t i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){.path = path, .letter = (char)('a' + i)};
        CHECK(pthread_create(&w[i].thread, NULL, write_often, &w[i]) == 0);
    }
    for (size_t i = 0; i < 300; i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct bytes b;
        CHECK_OK(cx, file_read(cx, path, 70000, &b));
        CHECK(whole(&b));
        arena_rewind(cx->mem, mark);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(w[i].thread, NULL);
        CHECK(w[i].good);
    }
    CHECK(scratch_count(cx, dir) == 1);
}

static void killed_writers(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_file(cx, dir, "f", "z", 1);
    for (useconds_t after = 0; after < 20; after++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct writer w = {.path = path, .letter = 'k'};
            for (;;)
                write_often(&w);
        }
        usleep(1000 + after * 357);
        kill(pid, SIGKILL);
        CHECK(waitpid(pid, NULL, 0) == pid);
        struct bytes b;
        CHECK_OK(cx, file_read(cx, path, 70000, &b));
        CHECK(whole(&b));
    }
    CHECK_OK(cx, file_write(cx, path, "after", 5, 0600));
    CHECK(holds(cx, path, "after") && scratch_count(cx, dir) == 1);
}

static void full_disk(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_file(cx, dir, "f", "old", 3);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){5000, 5000});
        status st = file_write(cx, path, NEW(cx, char, 20000), 20000, 0600);
        _exit(st.code == ERR_IO && strstr(cx->err.msg, "f.tmp") && strstr(cx->err.msg, "after 5000 of 20000")
                  ? 0
                  : 1);
    }
    int how;
    CHECK(waitpid(pid, &how, 0) == pid && how == 0);
    CHECK(holds(cx, path, "old") && scratch_count(cx, dir) == 1);
}

/* --- maps --- */

static bool is_mapped(struct ctx *cx, const char *path)
{
    struct bytes b = {0};
    CHECK_OK(cx, file_read(cx, "/proc/self/maps", 1 << 26, &b));
    return b.p && strstr((const char *)b.p, path);
}

static void maps(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_file(cx, dir, "mapped", "text", 4);
    struct ctx own = {.mem = arena_new(0)};
    struct bytes b = {0};
    CHECK_OK(&own, file_map(&own, path, &b));
    CHECK(b.n == 4 && memcmp(b.p, "text", 4) == 0 && is_mapped(cx, path));
    CHECK_OK(&own, file_map(&own, scratch_file(cx, dir, "empty", "", 0), &b));
    CHECK(b.n == 0 && b.p);
    arena_reset(own.mem);
    CHECK(!is_mapped(cx, path));
    arena_free(own.mem);

    b = (struct bytes){(const uint8_t *)dir, 7};
    CHECK_ERR(file_map(cx, scratch_path(cx, dir, "none"), &b), NOTFOUND);
    CHECK_ERR(file_map(cx, dir, &b), IO);
    CHECK_ERR(file_map(cx, "/dev/null", &b), IO);
    CHECK(b.n == 7);
}

/* --- folders --- */

static void makes_folders(struct ctx *cx)
{
    mode_t mask = umask(022);
    const char *dir = scratch_dir(cx), *deep = scratch_path(cx, dir, "a/b//c/./d/");
    CHECK_OK(cx, dir_make(cx, deep, 0700));
    CHECK_OK(cx, dir_make(cx, deep, 0755)); /* there: left as it is */
    CHECK(mode_of(deep) == 0700 && mode_of(scratch_path(cx, dir, "a")) == 0700);
    CHECK_OK(cx, dir_make(cx, scratch_path(cx, dir, "r/r"), 0500)); /* a parent that we can write to */
    CHECK(mode_of(scratch_path(cx, dir, "r/r")) == 0500 && mode_of(scratch_path(cx, dir, "r")) == 0700);
    CHECK_OK(cx, dir_make(cx, "/", 0700));
    CHECK_OK(cx, dir_make(cx, "//", 0700));
    CHECK(chdir(dir) == 0);
    CHECK_OK(cx, dir_make(cx, "x/y", 0700));
    CHECK_OK(cx, dir_make(cx, "z", 0700));
    CHECK_OK(cx, dir_make(cx, ".", 0700));
    CHECK(file_exists(scratch_path(cx, dir, "x/y")) && file_exists(scratch_path(cx, dir, "z")));
    CHECK(symlink("x", "to_x") == 0 && symlink("nowhere", "to_nothing") == 0);
    CHECK_OK(cx, dir_make(cx, "to_x/w", 0700));
    CHECK(file_exists("x/w"));

    const char *file = scratch_file(cx, dir, "file", "", 0);
    CHECK_ERR(dir_make(cx, file, 0700), EXISTS);
    CHECK(strstr(cx->err.msg, file) && strstr(cx->err.msg, "no folder"));
    CHECK_ERR(dir_make(cx, scratch_path(cx, file, "a/b"), 0700), IO);
    CHECK_ERR(dir_make(cx, "to_nothing", 0700), IO);
    CHECK_ERR(dir_make(cx, "", 0700), IO);
    CHECK(chdir("/") == 0);
    umask(mask);
}

static void removes(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *out = scratch_path(cx, dir, "outside");
    const char *top = scratch_path(cx, dir, "top");
    CHECK_OK(cx, dir_make(cx, scratch_path(cx, out, "kept"), 0700));
    CHECK_OK(cx, dir_make(cx, scratch_path(cx, top, "a/b/c"), 0700));
    for (int i = 0; i < 300; i++) /* more than one reading of a folder gives */
        scratch_file(cx, top, arena_printf(cx->mem, "a/%0*d", 1 + i % 200, i), "", 0);
    CHECK(symlink(out, scratch_path(cx, top, "a/b/link")) == 0);
    CHECK(symlink("..", scratch_path(cx, top, "a/b/up")) == 0);
    CHECK(mkfifo(scratch_path(cx, top, "fifo"), 0600) == 0);
    CHECK_OK(cx, dir_remove(cx, top));
    CHECK(!file_exists(top) && file_exists(scratch_path(cx, out, "kept")));
    CHECK_OK(cx, dir_remove(cx, top)); /* absent */
    CHECK_OK(cx, dir_remove(cx, scratch_path(cx, top, "below")));

    /* A link or a file goes itself. */
    const char *file = scratch_file(cx, dir, "file", "", 0);
    CHECK(symlink(out, top) == 0);
    CHECK_ERR(dir_remove(cx, scratch_path(cx, dir, "top/")), IO); /* with the slash it would be followed */
    CHECK_OK(cx, dir_remove(cx, scratch_path(cx, file, "below")));
    CHECK_OK(cx, dir_remove(cx, top));
    CHECK_OK(cx, dir_remove(cx, file));
    CHECK(scratch_count(cx, dir) == 1 && scratch_count(cx, out) == 1);
    CHECK_OK(cx, dir_remove(cx, scratch_path(cx, dir, "outside/")));
    CHECK(scratch_count(cx, dir) == 0);
}

static void refuses_to_remove(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *top = scratch_path(cx, dir, "top");
    char *deep = NEW(cx, char, 2000);
    int n = sprintf(deep, "%s", top);
    for (int i = 0; i < 200; i++)
        n += sprintf(deep + n, "/d");
    CHECK_OK(cx, dir_make(cx, deep, 0700));
    CHECK_ERR(dir_remove(cx, top), LIMIT);
    CHECK_OK(cx, dir_remove(cx, scratch_path(cx, top, "d")));
    CHECK_OK(cx, dir_make(cx, scratch_path(cx, top, "locked/x"), 0700));
    CHECK(chmod(scratch_path(cx, top, "locked"), 0500) == 0);
    if (geteuid() == 0) return; /* root may do anything */
    CHECK_ERR(dir_remove(cx, top), IO);
    CHECK(strstr(cx->err.msg, top) && strstr(cx->err.msg, "Permission denied"));
    CHECK(chmod(scratch_path(cx, top, "locked"), 0700) == 0);
}

static void lists(struct ctx *cx)
{
    static const char *const want[] = {".hidden", "A", "a", "a.b", "b", "\xc3\xa9", "\xff"};
    static const size_t order[] = {4, 6, 1, 0, 3, 2, 5};
    const char *dir = scratch_dir(cx), **names = NULL;
    size_t n = 7;
    CHECK_OK(cx, dir_list(cx, dir, &names, &n));
    CHECK(n == 0 && names);
    for (size_t i = 0; i < LEN(want); i++)
        scratch_file(cx, dir, want[order[i]], "", 0);
    CHECK_OK(cx, dir_list(cx, dir, &names, &n));
    CHECK(n == LEN(want));
    for (size_t i = 0; i < n && i < LEN(want); i++)
        CHECK(strcmp(names[i], want[i]) == 0);
    CHECK_ERR(dir_list(cx, scratch_path(cx, dir, "none"), &names, &n), NOTFOUND);
    CHECK_ERR(dir_list(cx, scratch_path(cx, dir, "a"), &names, &n), NOTFOUND);
    CHECK(n == LEN(want));
}

/* --- descriptors --- */

static void *feed(void *arg)
{
    struct ctx cx = {.mem = arena_new(0)};
    uint8_t *p = NEW(&cx, uint8_t, 300000);
    for (size_t i = 0; i < 300000; i++)
        p[i] = (uint8_t)(i * 7);
    int fd = *(int *)arg;
    status st = fd_write_all(&cx, fd, p, 300000); /* more than a pipe holds */
    CHECK_OK(&cx, st);
    close(fd);
    arena_free(cx.mem);
    return NULL;
}

static void descriptors(struct ctx *cx)
{
    int fd[2];
    pthread_t thread;
    CHECK(pipe(fd) == 0);
    CHECK(pthread_create(&thread, NULL, feed, &fd[1]) == 0);
    uint8_t *p = NEW(cx, uint8_t, 300000);
    CHECK_OK(cx, fd_read_all(cx, fd[0], p, 299990));
    CHECK(p[299989] == (uint8_t)(299989 * 7));
    CHECK_OK(cx, fd_read_all(cx, fd[0], p, 0));
    CHECK_ERR(fd_read_all(cx, fd[0], p, 20), IO);
    CHECK(strstr(cx->err.msg, "ended after 10 of 20 bytes"));
    pthread_join(thread, NULL);
    fd_closep(&fd[0]);
    CHECK(fd[0] == -1);
    fd_closep(&fd[0]);
    CHECK_ERR(fd_read_all(cx, -1, p, 1), IO);
    CHECK_ERR(fd_write_all(cx, -1, p, 1), IO);
    CHECK_OK(cx, fd_write_all(cx, -1, p, 0));
}

/* An arena that ends early: NOMEM or LIMIT and nothing given, or all well. */
static void out_of_memory(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_file(cx, dir, "f", "0123456789", 10);
    size_t failed = 0;
    for (size_t cap = 1; cap < 400; cap += 13) {
        struct ctx small = {.mem = arena_new(cap)};
        struct bytes b = {0};
        const char **names = NULL;
        size_t n = 7;
        status st = file_read(&small, path, 10, &b);
        CHECK(st.code == ERR_OK ? b.n == 10 : st.code == ERR_NOMEM && !b.p);
        failed += st.code != ERR_OK;
        b = (struct bytes){0};
        st = file_map(&small, path, &b);
        CHECK(st.code == ERR_OK ? b.n == 10 : st.code == ERR_NOMEM && !b.p);
        st = dir_list(&small, dir, &names, &n);
        CHECK(st.code == ERR_OK ? n == 1
                                : (st.code == ERR_NOMEM || st.code == ERR_LIMIT) && n == 7 && !names);
        arena_free(small.mem);
    }
    CHECK(failed > 0);
}

TEST_MAIN(T(reads), T(writes), T(refuses_to_write), T(many_writers), T(killed_writers), T(full_disk), T(maps),
          T(makes_folders), T(removes), T(refuses_to_remove), T(lists), T(descriptors), T(out_of_memory))
