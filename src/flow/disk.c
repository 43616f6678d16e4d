#include "flow/disk.h"
#include "base/arena.h"
#include "base/file.h"
#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static const char *const kind_names[DISK_KINDS] = {"tables", "outputs",   "job_files", "logs",
                                                   "models", "databases", "temporary", "other"};

const char *disk_kind_name(enum disk_kind k)
{
    return kind_names[k];
}

static bool ends(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static bool begins(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

static bool temporary(const char *path)
{
    return ends(path, ".tmp") || ends(path, ".part") || strstr(path, ".part/");
}

/* path: under the site's folder. */
static enum disk_kind kind_of(const char *path)
{
    bool job = begins(path, "jobs/");
    if (temporary(path)) return DISK_TEMPORARY;
    if (begins(path, "store/tables/")) return DISK_TABLES;
    if (begins(path, "store/") || begins(path, "jobs.db") || begins(path, "api.db") ||
        begins(path, "keys/api.db"))
        return DISK_DATABASES;
    if (begins(path, "models/")) return DISK_MODELS;
    if (begins(path, "logs/") || (job && ends(path, "/task.log"))) return DISK_LOGS;
    if (job) return strstr(path, "/out.") ? DISK_OUTPUTS : DISK_JOB_FILES;
    return DISK_OTHER;
}

/* Files with several names that were seen: a derived table shares its parent's columns. */
struct seen {
    struct file_id {
        uint64_t dev, ino;
    } * slots;
    size_t n, cap; /* a power of two; a slot with ino 0 is empty */
};

static bool seen_put(struct ctx *cx, struct seen *s, struct file_id id, bool *was)
{
    if (s->n * 2 >= s->cap) {
        struct seen more = {.cap = s->cap ? 2 * s->cap : 256};
        if (!(more.slots = NEW(cx, struct file_id, more.cap))) return false;
        for (size_t i = 0; i < s->cap; i++)
            if (s->slots[i].ino && !seen_put(cx, &more, s->slots[i], was)) return false;
        *s = more;
    }
    size_t at = (size_t)((id.ino * 0x9e3779b97f4a7c15u) ^ id.dev) & (s->cap - 1);
    while (s->slots[at].ino && (s->slots[at].ino != id.ino || s->slots[at].dev != id.dev))
        at = (at + 1) & (s->cap - 1);
    *was = s->slots[at].ino != 0;
    s->slots[at] = id;
    s->n += !*was;
    return true;
}

static void fts_closep(FTS **f)
{
    if (*f) fts_close(*f);
}

/* *skip: bytes of each path in front of what lies under the folder. */
static status open_walk(struct ctx *cx, const char *dir, FTS **out, size_t *skip)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    char *root = arena_strndup(cx->mem, dir, n);
    char *roots[] = {root, NULL};
    *skip = n + 1;
    if (!root) return FAIL(cx, NOMEM, "walk %s", dir);
    *out = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    return *out ? OK : FAIL(cx, IO, "walk %s: %m", dir);
}

static status file_system(struct ctx *cx, const char *dir, struct disk_use *u)
{
    struct statvfs v;
    if (statvfs(dir, &v)) return FAIL(cx, IO, "%s: %m", dir);
    u->free = (uint64_t)v.f_bavail * v.f_frsize;
    u->size = (uint64_t)v.f_blocks * v.f_frsize;
    return OK;
}

status disk_measure(struct ctx *cx, const char *dir, const atomic_bool *stop, struct disk_use *out)
{
    struct disk_use u = {0};
    struct seen seen = {0};
    CLEANUP(fts_closep) FTS *f = NULL;
    size_t skip;
    TRY(file_system(cx, dir, &u));
    TRY(open_walk(cx, dir, &f, &skip));
    for (const FTSENT *e; (errno = 0, e = fts_read(f));) {
        if (stop && atomic_load(stop)) return FAIL(cx, CANCELLED, "measuring %s", dir);
        if ((e->fts_info != FTS_F && e->fts_info != FTS_DEFAULT) || e->fts_pathlen < skip)
            continue; /* gone meanwhile, too */
        const struct stat *st = e->fts_statp;
        bool was = false;
        if (st->st_nlink > 1 && !seen_put(cx, &seen, (struct file_id){st->st_dev, st->st_ino}, &was))
            return FAIL(cx, NOMEM, "measuring %s", dir);
        if (was) continue;
        enum disk_kind k = kind_of(e->fts_path + skip);
        u.files[k]++;
        u.bytes[k] += (uint64_t)st->st_blocks * 512;
        u.total += (uint64_t)st->st_blocks * 512;
    }
    if (errno) return FAIL(cx, IO, "walk %s: %m", dir);
    *out = u;
    return OK;
}

status disk_room(struct ctx *cx, const char *dir, const struct settings *set, uint64_t used)
{
    struct disk_use u = {0};
    TRY(file_system(cx, dir, &u));
    if (u.free < set->disk_min_free)
        return FAIL(cx, LIMIT,
                    "site %u takes no new work: its disk has %" PRIu64
                    " bytes free, disk_min_free is %" PRIu64,
                    set->party, u.free, set->disk_min_free);
    if (set->disk_quota && used > set->disk_quota)
        return FAIL(cx, LIMIT,
                    "site %u takes no new work: its folder holds %" PRIu64 " bytes, disk_quota is %" PRIu64,
                    set->party, used, set->disk_quota);
    return OK;
}

status disk_room_now(struct ctx *cx, const char *dir, const struct settings *set)
{
    struct disk_use u = {0};
    if (set->disk_quota) TRY(disk_measure(cx, dir, NULL, &u));
    return disk_room(cx, dir, set, u.total);
}

status disk_sweep(struct ctx *cx, const char *dir, size_t *n)
{
    CLEANUP(fts_closep) FTS *f = NULL;
    size_t skip;
    *n = 0;
    TRY(open_walk(cx, dir, &f, &skip));
    for (FTSENT *e; (errno = 0, e = fts_read(f));) {
        const char *path = e->fts_pathlen >= skip ? e->fts_path + skip : "";
        bool folder = e->fts_info == FTS_D;
        if (folder && (strcmp(path, "store") == 0 || strcmp(path, "keys") == 0)) {
            fts_set(f, e, FTS_SKIP);
            continue;
        }
        if ((!folder && e->fts_info != FTS_F) || !(ends(path, ".tmp") || ends(path, ".part"))) continue;
        if (folder) fts_set(f, e, FTS_SKIP);
        TRY(dir_remove(cx, e->fts_path));
        ++*n;
    }
    return errno ? FAIL(cx, IO, "walk %s: %m", dir) : OK;
}

json_t *disk_json(const struct disk_use *u)
{
    json_t *kinds = json_object();
    for (size_t k = 0; k < DISK_KINDS; k++)
        json_object_set_new(
            kinds, kind_names[k],
            json_pack("{s:I,s:I}", "bytes", (json_int_t)u->bytes[k], "files", (json_int_t)u->files[k]));
    return json_pack("{s:I,s:I,s:I,s:o}", "total", (json_int_t)u->total, "free", (json_int_t)u->free, "size",
                     (json_int_t)u->size, "kinds", kinds);
}
