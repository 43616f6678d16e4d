#include "base/file.h"
#include "base/arena.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code code_of_errno(int e)
{
    if (e == ENOENT || e == ENOTDIR) return ERR_NOTFOUND;
    if (e == ENOMEM) return ERR_NOMEM;
    return ERR_IO;
}
/* Fails with the code that errno stands for; the format may say %m. */
#define FAIL_ERRNO(cx, ...) err_set((cx), code_of_errno(errno), __FILE__, __LINE__, __VA_ARGS__)

void fd_closep(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* --- descriptors --- */

status fd_write_all(struct ctx *cx, int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const uint8_t *)p + done, n - done);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "write after %zu of %zu bytes: %m", done, n);
        done += (size_t)k;
    }
    return OK;
}

status fd_read_all(struct ctx *cx, int fd, void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = read(fd, (uint8_t *)p + done, n - done);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "read after %zu of %zu bytes: %m", done, n);
        if (k == 0) return FAIL(cx, IO, "ended after %zu of %zu bytes", done, n);
        done += (size_t)k;
    }
    return OK;
}

/* --- reading --- */

/* A descriptor to read path with, and what it is; folders are refused here, with a message that says so. */
static status open_to_read(struct ctx *cx, const char *path, int *fd, struct stat *st)
{
    CLEANUP(fd_closep) int f = open(path, O_RDONLY | O_CLOEXEC);
    if (f < 0 || fstat(f, st)) return FAIL_ERRNO(cx, "open %s: %m", path);
    if (S_ISDIR(st->st_mode)) return FAIL(cx, IO, "%s is a folder, want a file", path);
    *fd = f;
    f = -1;
    return OK;
}

status file_read(struct ctx *cx, const char *path, size_t max, struct bytes *out)
{
    CLEANUP(fd_closep) int fd = -1;
    struct stat st;
    TRY(open_to_read(cx, path, &fd, &st));
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
        return FAIL(cx, LIMIT, "%s has %lld bytes, at most %zu", path, (long long)st.st_size, max);

    /* The size is a first guess only: files grow, and those of /proc and pipes have none. One byte more than the
     * guess tells the end without growing; one more again is for the NUL. */
    size_t cap = S_ISREG(st.st_mode) ? (size_t)st.st_size + 1 : 4096, n = 0;
    uint8_t *p = NEW(cx, uint8_t, cap + 1);
    for (;;) {
        if (!p) return FAIL(cx, NOMEM, "%s: %zu bytes", path, cap);
        ssize_t k = read(fd, p + n, cap - n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL_ERRNO(cx, "read %s: %m", path);
        if (k == 0) break;
        n += (size_t)k;
        if (n > max) return FAIL(cx, LIMIT, "%s has more than %zu bytes", path, max);
        if (n < cap) continue;
        uint8_t *more = cap <= SIZE_MAX / 4 ? NEW(cx, uint8_t, 2 * cap + 1) : NULL;
        if (more) memcpy(more, p, n);
        p = more;
        cap *= 2;
    }
    p[n] = 0;
    *out = (struct bytes){p, n};
    return OK;
}

struct mapping {
    void *p;
    size_t n;
};

static void unmap(void *arg)
{
    struct mapping *m = arg;
    munmap(m->p, m->n);
}

status file_map(struct ctx *cx, const char *path, struct bytes *out)
{
    static const uint8_t nothing[1] = {0};
    CLEANUP(fd_closep) int fd = -1;
    struct stat st;
    TRY(open_to_read(cx, path, &fd, &st));
    if (!S_ISREG(st.st_mode)) return FAIL(cx, IO, "%s is no regular file", path);
    if (st.st_size == 0) { /* mmap refuses these */
        *out = (struct bytes){nothing, 0};
        return OK;
    }
    struct mapping *m = NEW(cx, struct mapping, 1);
    if (!m) return FAIL(cx, NOMEM, "map %s", path);
    m->n = (size_t)st.st_size;
    m->p = mmap(NULL, m->n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (m->p == MAP_FAILED) return FAIL_ERRNO(cx, "map %s: %m", path);
    if (!arena_on_free(cx->mem, unmap, m)) {
        munmap(m->p, m->n);
        return FAIL(cx, NOMEM, "map %s", path);
    }
    *out = (struct bytes){m->p, m->n};
    return OK;
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* --- writing --- */

/* Whether fd is still what that name stands for: it may have been renamed or removed before we had the lock. */
static bool has_name(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Creates tmp, empty and locked. Writers of one path wait for each other here, so that none renames another's half
 * file; a file that is there and not locked was left by a writer that died. The lock goes with the descriptor. */
static status create_tmp(struct ctx *cx, const char *tmp, unsigned mode, int *out)
{
    for (;;) {
        CLEANUP(fd_closep) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
        bool created = fd >= 0;
        if (!created && errno == EEXIST) {
            fd = open(tmp, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
            if (fd < 0 && errno == ENOENT) continue; /* renamed or removed by its writer just now */
        }
        if (fd < 0) return FAIL_ERRNO(cx, "create %s: %m", tmp);
        while (flock(fd, LOCK_EX))
            if (errno != EINTR) return FAIL_ERRNO(cx, "lock %s: %m", tmp);
        if (!has_name(fd, tmp)) continue;
        if (created) {
            *out = fd;
            fd = -1;
            return OK;
        }
        if (unlink(tmp)) return FAIL_ERRNO(cx, "remove %s: %m", tmp);
    }
}

/* Makes the names in path's folder last: a rename is on disk only once its folder is. */
static status sync_folder_of(struct ctx *cx, const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n) memcpy(dir, path, n);
    memcpy(dir + n, n ? "" : slash ? "/" : ".", n ? 1 : 2);
    CLEANUP(fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FAIL_ERRNO(cx, "open %s: %m", dir);
    if (fsync(fd) && errno != EINVAL)
        return FAIL_ERRNO(cx, "sync %s: %m", dir); /* EINVAL: cannot be synced */
    return OK;
}

status file_write(struct ctx *cx, const char *path, const void *p, size_t n, unsigned mode)
{
    char tmp[PATH_MAX];
    int len = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof tmp) return FAIL(cx, ARG, "a path of %d bytes is too long", len);
    CLEANUP(fd_closep) int fd = -1;
    TRY(create_tmp(cx, tmp, mode, &fd));
    status st = fd_write_all(cx, fd, p, n);
    if (st.code) err_prefix(cx, "%s", tmp);
    if (!st.code && fsync(fd)) st = FAIL_ERRNO(cx, "sync %s: %m", tmp);
    if (!st.code && rename(tmp, path)) st = FAIL_ERRNO(cx, "rename %s to %s: %m", tmp, path);
    if (st.code) {
        unlink(tmp);
        return st;
    }
    return sync_folder_of(cx, path);
}

/* --- folders --- */

static status make_one(struct ctx *cx, const char *path, unsigned mode, bool *no_parent)
{
    struct stat st;
    *no_parent = false;
    if (mkdir(path, (mode_t)mode) == 0) return OK;
    int why = errno;
    if (stat(path, &st) == 0) /* whatever mkdir thought of it: read-only media, no right to write above */
        return S_ISDIR(st.st_mode) ? OK : FAIL(cx, EXISTS, "%s is there and is no folder", path);
    errno = why;
    *no_parent = why == ENOENT;
    return FAIL(cx, IO, "make folder %s: %m", path);
}

status dir_make(struct ctx *cx, const char *path, unsigned mode)
{
    char buf[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof buf) return FAIL(cx, ARG, "a path of %zu bytes is too long", n);
    memcpy(buf, path, n + 1);
    /* Back to the first parent that is there or can be made, then down again. */
    size_t end = n;
    for (;;) {
        bool no_parent;
        status st = make_one(cx, buf, end == n ? mode : mode | 0300, &no_parent);
        if (!st.code && end == n) return OK;
        if (!st.code) {
            buf[end] = '/';
            end = strlen(buf);
            continue;
        }
        size_t cut = end;
        while (cut && buf[cut - 1] == '/')
            cut--;
        while (cut && buf[cut - 1] != '/')
            cut--;
        while (cut > 1 && buf[cut - 1] == '/')
            cut--;
        if (!no_parent || cut == 0 || buf[cut] != '/') return st; /* nothing above, or the root */
        buf[end = cut] = 0;
    }
}

static void dir_closep(DIR **d)
{
    if (*d) closedir(*d);
}

enum { DEPTH_MAX = 200 }; /* one descriptor each */

static status remove_at(struct ctx *cx, int parent, const char *name, const char *top, unsigned depth);

/* Removes what one reading of the folder shows; n: how many. */
static status remove_content(struct ctx *cx, DIR *d, const char *top, unsigned depth, size_t *n)
{
    const struct dirent *e;
    *n = 0;
    rewinddir(d);
    for (errno = 0; (e = readdir(d)); errno = 0) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        TRY(remove_at(cx, dirfd(d), e->d_name, top, depth));
        ++*n;
    }
    return errno ? FAIL_ERRNO(cx, "remove %s: list: %m", top) : OK;
}

/* Never through a symbolic link: names are taken relative to the open folder above them, and opened O_NOFOLLOW. */
static status remove_at(struct ctx *cx, int parent, const char *name, const char *top, unsigned depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return OK;
    int why = errno;
    if (why != EISDIR && why != EPERM) return FAIL(cx, IO, "remove %s: %s: %m", top, name);
    if (depth == DEPTH_MAX)
        return FAIL(cx, LIMIT, "remove %s: folders nested deeper than %d", top, DEPTH_MAX);
    CLEANUP(fd_closep) int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return OK;
    if (fd < 0) {
        if (errno == ENOTDIR || errno == ELOOP) errno = why; /* a file that may not be removed */
        return FAIL(cx, IO, "remove %s: %s: %m", top, name);
    }
    CLEANUP(dir_closep) DIR *d = fdopendir(fd);
    if (!d) return FAIL_ERRNO(cx, "remove %s: %s: %m", top, name);
    fd = -1; /* closed with d */
    for (;;) {
        size_t n; /* some file systems leave names out of a reading that removes: again until it is empty */
        TRY(remove_content(cx, d, top, depth + 1, &n));
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return OK;
        if ((errno != ENOTEMPTY && errno != EEXIST) || n == 0)
            return FAIL(cx, IO, "remove %s: %s: %m", top, name);
    }
}

status dir_remove(struct ctx *cx, const char *path)
{
    struct stat st;
    if (lstat(path, &st) && errno == ENOTDIR) return OK; /* absent: a part of the path is a file */
    return remove_at(cx, AT_FDCWD, path, path, 0);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

status dir_list(struct ctx *cx, const char *path, const char ***names, size_t *n)
{
    CLEANUP(dir_closep) DIR *d = opendir(path);
    CLEANUP(buf_free) struct buf text = {0};
    const struct dirent *e;
    size_t count = 0;
    if (!d) return FAIL_ERRNO(cx, "open folder %s: %m", path);
    for (errno = 0; (e = readdir(d)); errno = 0) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        buf_put(&text, e->d_name, strlen(e->d_name) + 1);
        count++;
    }
    if (errno) return FAIL_ERRNO(cx, "list folder %s: %m", path);
    struct bytes all;
    TRY(buf_ok(cx, &text));
    TRY(buf_to_arena(cx, &text, &all));
    const char **list = NEW(cx, const char *, count + 1); /* NULL at the end */
    if (!list) return FAIL(cx, NOMEM, "folder %s: %zu names", path, count);
    const char *at = (const char *)all.p;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        list[i] = at;
    qsort(list, count, sizeof *list, by_bytes);
    *names = list;
    *n = count;
    return OK;
}
