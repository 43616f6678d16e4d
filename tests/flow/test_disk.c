/* What lies in a site's folder, by kind; quotas; and what the sweep takes. */
#include "base/file.h"
#include "flow/disk.h"
#include "test.h"
#include <stdlib.h>
#include <unistd.h>

static const char *fresh(struct ctx *cx)
{
    char dir[] = "/tmp/norn-disk-XXXXXX";
    CHECK(mkdtemp(dir));
    return arena_strdup(cx->mem, dir);
}

static void put(struct ctx *cx, const char *dir, const char *name, size_t n)
{
    char *path = arena_printf(cx->mem, "%s/%s", dir, name), *slash = strrchr(path, '/');
    void *p = arena_alloc(cx->mem, n, 1);
    *slash = 0;
    CHECK_OK(cx, dir_make(cx, path, 0700));
    *slash = '/';
    memset(p, 'x', n);
    CHECK_OK(cx, file_write(cx, path, p, n, 0600));
}

static void fill(struct ctx *cx, const char *dir)
{
    static const char *const names[] = {"store/tables/aa/data.col",
                                        "jobs/1/guest_9/x_0/out.0/data/data.col",
                                        "jobs/1/guest_9/x_0/checkpoint/1.step",
                                        "jobs/1/guest_9/x_0/task.log",
                                        "models/m/v/define.json",
                                        "jobs.db",
                                        "store/tables/bb.part/spool",
                                        "norn.conf"};
    for (size_t i = 0; i < LEN(names); i++)
        put(cx, dir, names[i], 10000 * (i + 1));
}

static void kinds(struct ctx *cx)
{
    const char *dir = fresh(cx);
    struct disk_use u, v;
    fill(cx, dir);
    CHECK_OK(cx, disk_measure(cx, dir, NULL, &u));
    for (size_t k = 0; k < DISK_KINDS; k++) /* the names above stand in the order of the kinds */
        CHECK(u.files[k] == 1 && u.bytes[k] >= 10000 * (k + 1) && u.bytes[k] < 10000 * (k + 1) + 65536);
    CHECK(u.free > 0 && u.size >= u.free);
    CHECK_OK(cx, disk_measure(cx, arena_printf(cx->mem, "%s///", dir), NULL, &v));
    CHECK(v.total == u.total && v.files[DISK_OTHER] == 1);
    /* a derived table: the same bytes under another name */
    CHECK_OK(cx, dir_make(cx, arena_printf(cx->mem, "%s/store/tables/cc", dir), 0700));
    CHECK(link(arena_printf(cx->mem, "%s/store/tables/aa/data.col", dir),
               arena_printf(cx->mem, "%s/store/tables/cc/data.col", dir)) == 0);
    CHECK_OK(cx, disk_measure(cx, dir, NULL, &v));
    CHECK(v.total == u.total);
    atomic_bool stop = true;
    CHECK_ERR(disk_measure(cx, dir, &stop, &v), CANCELLED);
    CHECK_OK(cx, dir_remove(cx, dir));
    CHECK_ERR(disk_measure(cx, dir, NULL, &v), IO);
}

static void room(struct ctx *cx)
{
    const char *dir = fresh(cx);
    struct settings set = {.party = 7};
    CHECK_OK(cx, disk_room(cx, dir, &set, UINT64_MAX));
    set.disk_quota = 1000;
    CHECK_OK(cx, disk_room(cx, dir, &set, 1000));
    CHECK_ERR(disk_room(cx, dir, &set, 1001), LIMIT);
    CHECK(strstr(cx->err.msg, "site 7 takes no new work: its folder holds 1001 bytes, disk_quota is 1000"));
    CHECK_OK(cx, disk_room_now(cx, dir, &set));
    fill(cx, dir);
    CHECK_ERR(disk_room_now(cx, dir, &set), LIMIT);
    set = (struct settings){.party = 7, .disk_min_free = UINT64_MAX};
    CHECK_ERR(disk_room(cx, dir, &set, 0), LIMIT);
    CHECK(strstr(cx->err.msg, "bytes free, disk_min_free is"));
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void sweeps(struct ctx *cx)
{
    static const char *const gone[] = {"a.tmp", "jobs/1/x.part", "models/m.tmp"}, *const stay[] = {
                                                                                      "store/tables/x.part",
                                                                                      "keys/site.key.tmp",
                                                                                      "jobs/1/tmp"};
    const char *dir = fresh(cx);
    size_t n;
    for (size_t i = 0; i < 3; i++) {
        put(cx, dir, arena_printf(cx->mem, "%s/in", gone[i]), 10);
        put(cx, dir, arena_printf(cx->mem, "%s/in", stay[i]), 10);
    }
    CHECK_OK(cx, disk_sweep(cx, dir, &n));
    CHECK(n == 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK(!file_exists(arena_printf(cx->mem, "%s/%s", dir, gone[i])));
        CHECK(file_exists(arena_printf(cx->mem, "%s/%s/in", dir, stay[i])));
    }
    CHECK_OK(cx, dir_remove(cx, dir));
}

TEST_MAIN(T(kinds), T(room), T(sweeps))
