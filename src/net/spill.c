#include "net/spill.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, BLOCK = 64 << 10 };
#define FILE_MAX (UINT64_C(8) << 40) /* ext4 ends at 16 TiB */

static uint64_t round_up(uint64_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

static status open_file(struct ctx *cx, struct spill *s)
{
    if (s->open) return OK;
    TRY(dir_make(cx, s->dir, 0700));
    s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd < 0 &&
        (errno == EOPNOTSUPP || errno == EISDIR)) { /* an old file system: a name, for a moment */
        char name[4096];
        snprintf(name, sizeof name, "%s/spill-XXXXXX", s->dir);
        s->fd = mkostemp(name, O_CLOEXEC);
        if (s->fd >= 0) unlink(name);
    }
    if (s->fd < 0) return FAIL(cx, IO, "a file in %s: %m", s->dir);
    s->open = true;
    return OK;
}

void spill_close(struct spill *s)
{
    if (s->open) close(s->fd);
    s->open = false;
}

status spill_take(struct ctx *cx, struct spill *s, uint64_t n, uint64_t *at)
{
    uint64_t size = round_up(n);
    if (size > FILE_MAX - s->end)
        return FAIL(cx, LIMIT, "%zu messages that wait on disk, too large together", s->pieces);
    TRY(open_file(cx, s));
    if (ftruncate(s->fd, (off_t)(s->end + size)) < 0) return FAIL(cx, IO, "a file in %s: %m", s->dir);
    *at = s->end;
    s->end += size;
    s->pieces++;
    return OK;
}

void spill_give(struct spill *s, uint64_t at, uint64_t n, uint64_t stored)
{
    if (--s->pieces == 0) {
        if (ftruncate(s->fd, 0) == 0) s->end = 0;
        s->live = 0;
        return;
    }
    if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)round_up(n)) < 0)
        s->no_holes = true;
    if (!s->no_holes) s->live -= stored;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

status spill_write(struct ctx *cx, struct spill *s, uint64_t at, const void *p, size_t n)
{
    const uint8_t *q = p;
    if (s->max && n > s->max - s->live)
        return FAIL(cx, LIMIT, "%llu bytes of messages wait on disk, at most %llu",
                    (unsigned long long)s->live, (unsigned long long)s->max);
    s->live += n; /* also when a part of it fails: it may be there */
    if (s->live > s->most) s->most = s->live;
    while (n) {
        size_t k = BLOCK - at % BLOCK;
        if (k > n) k = n;
        for (size_t done = all_zero(q, k) ? k : 0; done < k;) {
            ssize_t w = pwrite(s->fd, q + done, k - done, (off_t)(at + done));
            if (w < 0 && errno == EINTR) continue;
            if (w <= 0) return FAIL(cx, IO, "writing a message to %s: %m", s->dir);
            done += (size_t)w;
        }
        q += k, at += k, n -= k;
    }
    return OK;
}

const uint8_t *spill_map(struct spill *s, uint64_t at, uint64_t n)
{
    void *p = mmap(NULL, n, PROT_READ, MAP_SHARED | MAP_NORESERVE, s->fd, (off_t)at);
    if (p == MAP_FAILED) return NULL;
    madvise(p, n, MADV_SEQUENTIAL);
    return p;
}

void spill_unmap(const uint8_t *p, uint64_t n)
{
    munmap((void *)(uintptr_t)p, n);
}

void spill_passed(const uint8_t *p, uint64_t done)
{
    madvise((void *)(uintptr_t)p, done / PAGE * PAGE, MADV_DONTNEED);
}
