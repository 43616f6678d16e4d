/* scratch.h - for the tests of tables: a folder that goes away, files in it, random things from TEST_SEED. */
#pragma once
#include "base/arena.h"
#include "base/file.h"
#include "base/secret.h"
#include "test.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline uint64_t scratch_seed(void)
{
    const char *s = getenv("TEST_SEED");
    return s ? strtoull(s, NULL, 10) : 1;
}

static inline void scratch_remove(void *dir)
{
    struct ctx cx = {.mem = arena_new(0)};
    status st = dir_remove(&cx, (const char *)dir);
    (void)st.code;
    arena_free(cx.mem);
}

/* A fresh folder, removed with cx->mem. */
static inline const char *scratch_dir(struct ctx *cx)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = arena_printf(cx->mem, "%s/norn-table-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) abort();
    arena_on_free(cx->mem, scratch_remove, dir);
    return dir;
}

static inline const char *scratch_path(struct ctx *cx, const char *dir, const char *name)
{
    return arena_printf(cx->mem, "%s/%s", dir, name);
}

/* dir/name with these bytes. */
static inline const char *scratch_file(struct ctx *cx, const char *dir, const char *name, const void *p,
                                       size_t n)
{
    const char *path = scratch_path(cx, dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n) abort();
    close(fd);
    return path;
}

static inline size_t scratch_count(struct ctx *cx, const char *dir)
{
    const char **names;
    size_t n = 0;
    CHECK_OK(cx, dir_list(cx, dir, &names, &n));
    return n;
}
