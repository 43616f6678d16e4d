/* faults.h - the k-th allocation, or the k-th write, fails: for every k until a run gets by without one.
 *
 * A test that includes this is linked with --wrap for the calls below (tests/flow/meson.build), so that those of our own
 * objects come here; SQLite and jansson are told to by their own hooks. One thread: no pool. */
#pragma once
#include "base/arena.h"
#include "base/file.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FAULT_MEMORY = 1, FAULT_IO = 2 };
static struct {
    unsigned kinds;
    size_t at, count; /* the at-th call fails; 0: none */
    bool on;          /* and all after it: a disk that stays full */
    bool fired;
    long live; /* pieces of memory */
} fault;

static bool fault_now(unsigned kind)
{
    if (!(fault.kinds & kind) || !fault.at) return false;
    fault.count++;
    bool fails = fault.count == fault.at || (fault.on && fault.count > fault.at);
    fault.fired = fault.fired || fails;
    return fails;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);

static void *fault_got(void *p)
{
    fault.live += p != NULL;
    return p;
}
void *__wrap_malloc(size_t n)
{
    return fault_now(FAULT_MEMORY) ? NULL : fault_got(__real_malloc(n));
}
void *__wrap_calloc(size_t n, size_t size)
{
    return fault_now(FAULT_MEMORY) ? NULL : fault_got(__real_calloc(n, size));
}
void *__wrap_realloc(void *p, size_t n)
{
    if (fault_now(FAULT_MEMORY)) return NULL;
    return p ? __real_realloc(p, n) : fault_got(__real_realloc(NULL, n));
}
void __wrap_free(void *p)
{
    fault.live -= p != NULL;
    __real_free(p);
}
char *__wrap_strdup(const char *s)
{
    return fault_now(FAULT_MEMORY) ? NULL : (char *)fault_got(__real_strdup(s));
}

/* ---- writing: ENOSPC for the first half of a session's k, EIO is for the caller to choose ---- */

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t off);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_mkdir(const char *path, mode_t mode);
int __real_ftruncate(int fd, off_t n);
int __real_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t off);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_ftruncate(int fd, off_t n);
int __wrap_open(const char *path, int flags, ...);

static bool fault_io(void)
{
    bool fails = fault_now(FAULT_IO);
    if (fails) errno = ENOSPC;
    return fails;
}
/* A write that fails has written its first half, as on a disk that fills. */
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    if (!fault_io()) return __real_write(fd, p, n);
    ssize_t half = n > 1 ? __real_write(fd, p, n / 2) : 0;
    (void)half;
    errno = ENOSPC;
    return -1;
}
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t off)
{
    if (!fault_io()) return __real_pwrite(fd, p, n, off);
    ssize_t half = n > 1 ? __real_pwrite(fd, p, n / 2, off) : 0;
    (void)half;
    errno = ENOSPC;
    return -1;
}
int __wrap_fsync(int fd)
{
    return fault_io() ? -1 : __real_fsync(fd);
}
int __wrap_rename(const char *from, const char *to)
{
    return fault_io() ? -1 : __real_rename(from, to);
}
int __wrap_mkdir(const char *path, mode_t mode)
{
    return fault_io() ? -1 : __real_mkdir(path, mode);
}
int __wrap_ftruncate(int fd, off_t n)
{
    return fault_io() ? -1 : __real_ftruncate(fd, n);
}
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_CREAT) && fault_io()) return -1;
    return __real_open(path, flags, mode);
}

/* ---- the libraries ---- */

static sqlite3_mem_methods fault_sqlite;
static void *sqlite_malloc(int n)
{
    return fault_now(FAULT_MEMORY) ? NULL : fault_sqlite.xMalloc(n);
}
static void *sqlite_realloc(void *p, int n)
{
    return fault_now(FAULT_MEMORY) ? NULL : fault_sqlite.xRealloc(p, n);
}
static ssize_t sqlite_write(int fd, const void *p, size_t n)
{
    return fault_io() ? -1 : __real_write(fd, p, n);
}
static ssize_t sqlite_pwrite(int fd, const void *p, size_t n, off_t off)
{
    return fault_io() ? -1 : __real_pwrite(fd, p, n, off);
}
static int sqlite_ftruncate(int fd, off_t n)
{
    return fault_io() ? -1 : __real_ftruncate(fd, n);
}

static void fault_init(void)
{
    static bool done;
    if (done) return;
    done = true;
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &fault_sqlite);
    sqlite3_mem_methods ours = fault_sqlite;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* so that every piece counts */
    sqlite3_initialize();
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)sqlite_write);
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)sqlite_pwrite);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)sqlite_pwrite);
    vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)sqlite_ftruncate);
}

/* ---- a scenario under all faults ---- */

struct scenario {
    status (*prepare)(struct ctx *cx, const char *dir); /* without faults; NULL: nothing */
    status (*run)(struct ctx *cx, const char *dir);     /* under fault */
    /* Without: what is there now is whole, and everything is there when run said OK. */
    void (*verify)(struct ctx *cx, const char *dir, bool good);
};

static const char *fault_dir(struct ctx *cx)
{
    char *dir =
        arena_printf(cx->mem, "%s/norn-faults-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir)) abort();
    return dir;
}

/* One run whose at-th call of that kind fails. true: one did. */
static bool fault_once(struct ctx *test, const struct scenario *s, unsigned kind, size_t at, bool on)
{
    struct arena_mark mark = arena_mark(test->mem);
    const char *dir = fault_dir(test);
    if (s->prepare) CHECK_OK(test, s->prepare(test, dir));
    long live = fault.live;
    sqlite3_int64 sqlite = sqlite3_memory_used();
    struct ctx cx = {.mem = arena_new(0)};
    fault.kinds = kind, fault.at = at, fault.count = 0, fault.on = on, fault.fired = false;
    status st = s->run(&cx, dir);
    fault.at = 0;
    bool fired = fault.fired;
    if (st.code && !fired) CHECK_OK(&cx, st);
    if (st.code) CHECK(cx.err.msg[0] != 0);
    arena_free(cx.mem);
    if (fault.live != live || sqlite3_memory_used() != sqlite) {
        printf("# %s %zu: %ld pieces and %lld bytes of SQLite's are left\n",
               kind == FAULT_IO ? "write" : "allocation", at, fault.live - live,
               (long long)(sqlite3_memory_used() - sqlite));
        CHECK(fault.live == live && sqlite3_memory_used() == sqlite);
    }
    unsigned failed = test_state.failed;
    s->verify(test, dir, st.code == ERR_OK);
    if (test_state.failed != failed)
        printf("# after %s %zu%s\n", kind == FAULT_IO ? "write" : "allocation", at,
               on ? " and all after it" : "");
    CHECK_OK(test, dir_remove(test, dir));
    arena_rewind(test->mem, mark);
    return fired;
}

static void fault_all(struct ctx *cx, const struct scenario *s)
{
    static const struct {
        unsigned kind;
        bool on;
        const char *name;
    } ways[] = {
        {FAULT_MEMORY, false, "allocations"}, {FAULT_IO, false, "writes"}, {FAULT_IO, true, "full disks"}};
    fault_init();
    for (size_t w = 0; w < LEN(ways); w++) {
        size_t k = 1;
        while (fault_once(cx, s, ways[w].kind, k, ways[w].on) && test_state.failed < 5)
            k++;
        printf("# %zu %s failed\n", k - 1, ways[w].name);
        CHECK(k > 1);
    }
}
