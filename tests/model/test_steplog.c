/* Checkpoint files: what was added comes back; whatever happened to the bytes, a prefix of it and nothing else. */
#include "base/file.h"
#include "base/secret.h"
#include "model/steplog.h"
#include "tests/test.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

static const uint8_t key[STEPLOG_KEY] = {1, 2, 3}, other[STEPLOG_KEY] = {9};

static void remove_dir(void *path)
{
    struct arena *mem = arena_new(0);
    struct ctx cx = {.mem = mem};
    if (dir_remove(&cx, path).code) printf("# %s\n", cx.err.msg);
    arena_free(mem);
    free(path);
}

static const char *path_of(struct ctx *cx)
{
    char *dir = strdup("/tmp/norn-steplog-XXXXXX");
    if (!mkdtemp(dir) || !arena_on_free(cx->mem, remove_dir, dir)) abort();
    return arena_printf(cx->mem, "%s/steps", dir);
}

/* Opened, used and closed with a context of its own. */
struct use {
    struct ctx cx;
    struct steplog *log;
    uint64_t n;
};
static void begin(struct use *u, const char *path, const uint8_t *k)
{
    *u = (struct use){.cx = {.mem = arena_new(0)}};
    CHECK_OK(&u->cx, steplog_open(&u->cx, path, k, &u->log, &u->n));
}
static void end(struct use *u)
{
    arena_free(u->cx.mem);
}

static size_t fill(uint8_t *p, uint64_t i)
{
    size_t n = i % 7 * 100 + i;
    for (size_t k = 0; k < n; k++)
        p[k] = (uint8_t)(i * 31 + k);
    return n;
}

static void add_steps(const char *path, uint64_t n)
{
    struct use u;
    uint8_t p[2000];
    begin(&u, path, key);
    for (uint64_t i = u.n; i < n; i++)
        CHECK_OK(&u.cx, steplog_add(&u.cx, u.log, p, fill(p, i)));
    end(&u);
}

static uint64_t holds(const char *path, const uint8_t *k)
{
    struct use u;
    struct bytes b;
    uint8_t p[2000];
    begin(&u, path, k);
    for (uint64_t i = 0; i < u.n; i++) {
        CHECK_OK(&u.cx, steplog_read(&u.cx, u.log, i, &b));
        CHECK(b.n == fill(p, i) && memcmp(b.p, p, b.n) == 0);
    }
    CHECK(steplog_read(&u.cx, u.log, u.n, &b).code == ERR_NOTFOUND);
    uint64_t n = u.n;
    end(&u);
    return n;
}

static void comes_back(struct ctx *cx)
{
    const char *path = path_of(cx);
    CHECK(holds(path, key) == 0);
    add_steps(path, 5);
    CHECK(holds(path, key) == 5);
    add_steps(path, 200);
    CHECK(holds(path, key) == 200);
    struct use u;
    begin(&u, path, key);
    CHECK_OK(&u.cx, steplog_cut(&u.cx, u.log, 300));
    CHECK_OK(&u.cx, steplog_cut(&u.cx, u.log, 70));
    end(&u);
    CHECK(holds(path, key) == 70);
    add_steps(path, 72);
    CHECK(holds(path, key) == 72);
    CHECK(holds(path, other) == 0); /* and it is that run's now */
    CHECK(holds(path, key) == 0);
}

/* Without file_write's fsync: this test writes a thousand files. */
static void put(const char *path, const void *p, size_t n)
{
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
}

static void any_damage(struct ctx *cx)
{
    const char *path = path_of(cx);
    struct bytes all;
    add_steps(path, 6);
    CHECK_OK(cx, file_read(cx, path, 1 << 20, &all));
    struct shuffle s = shuffle_new(test_seed());
    for (size_t n = 0; n <= all.n; n += 1 + n / 50) {
        put(path, all.p, n);
        CHECK(holds(path, key) <= 6);
        add_steps(path, 6);
        CHECK(holds(path, key) == 6);
    }
    uint8_t *copy = NEW(cx, uint8_t, all.n);
    for (size_t i = 0; i < 300; i++) {
        memcpy(copy, all.p, all.n);
        size_t at = shuffle_below(&s, all.n);
        if (at >= 8 && at < 12) continue; /* the version: refused below */
        copy[at] ^= (uint8_t)(1u << shuffle_below(&s, 8));
        put(path, copy, all.n);
        CHECK(holds(path, key) < 6 || (at >= 12 && at < 16));
        add_steps(path, 6);
        CHECK(holds(path, key) == 6);
    }
}

static void refuses(struct ctx *cx)
{
    const char *path = path_of(cx);
    struct bytes all;
    struct steplog *log;
    uint64_t n;
    add_steps(path, 2);
    CHECK_OK(cx, file_read(cx, path, 1 << 20, &all));
    ((uint8_t *)all.p)[8] = 2;
    CHECK_OK(cx, file_write(cx, path, all.p, all.n, 0600));
    CHECK_ERR(steplog_open(cx, path, key, &log, &n), FORMAT);
    CHECK(strstr(cx->err.msg, "newer norn") != NULL);
    CHECK_ERR(steplog_open(cx, "/nonexistent/folder/steps", key, &log, &n), IO);
    CHECK_OK(cx, file_write(cx, path, "", 0, 0600));
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK_ERR(steplog_open(cx, path, key, &log, &n), STATE);
}

/* A file that may not grow is what a full disk looks like. */
static void full_disk(struct ctx *cx)
{
    const char *path = path_of(cx);
    uint8_t p[2000];
    add_steps(path, 6);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit most = {3000, 3000};
        struct use u;
        signal(SIGXFSZ, SIG_IGN);
        begin(&u, path, key);
        setrlimit(RLIMIT_FSIZE, &most);
        enum err_code code = ERR_OK;
        for (uint64_t i = 6; i < 30 && !code; i++)
            code = steplog_add(&u.cx, u.log, p, fill(p, i)).code;
        _exit(code == ERR_IO ? 0 : 1);
    }
    int st;
    waitpid(pid, &st, 0);
    CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 0);
    uint64_t n = holds(path, key);
    CHECK(n >= 6 && n < 30);
    add_steps(path, 30);
    CHECK(holds(path, key) == 30);
}

TEST_MAIN(T(comes_back), T(any_damage), T(refuses), T(full_disk))
