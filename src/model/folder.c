/* Names, and folders that are seen whole or not at all. */
#include "base/file.h"
#include "base/loop.h"
#include "base/num.h"
#include "model/paths.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_AGE_MS 3600000ll /* as of tables: whoever builds something writes to it more often */

/* ---- names ---- */

static status check_name(struct ctx *cx, enum err_code code, const char *what, const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > 200)
        return err_set(cx, code, __FILE__, __LINE__, "%s of %zu bytes: want 1 to 200", what, n);
    if (name[0] == '.') return err_set(cx, code, __FILE__, __LINE__, "%s begins with '.'", what);
    size_t ok = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-#.");
    if (ok < n)
        return err_set(cx, code, __FILE__, __LINE__,
                       "%s \"%.60s\": byte %zu is not a letter, digit, '_', '-', '#' or '.'", what, name, ok);
    return OK;
}

static status check_key(struct ctx *cx, enum err_code code, const struct model_key *k)
{
    TRY(check_name(cx, code, "role", k->role));
    TRY(check_name(cx, code, "model id", k->model_id));
    TRY(check_name(cx, code, "model version", k->version));
    if (strchr(k->role, '#')) /* it ends the role in the folder's name */
        return err_set(cx, code, __FILE__, __LINE__, "role \"%.60s\" holds a '#'", k->role);
    int n = snprintf(NULL, 0, "%s#%u#%s", k->role, k->party, k->model_id);
    if (n > NAME_MAX)
        return err_set(cx, code, __FILE__, __LINE__,
                       "role, party and model id make a name of %d bytes, at most %d", n, NAME_MAX);
    return OK;
}

status model_check_name(struct ctx *cx, const char *what, const char *name)
{
    return check_name(cx, ERR_ARG, what, name);
}

status model_check_stored_name(struct ctx *cx, const char *what, const char *name)
{
    return check_name(cx, ERR_FORMAT, what, name);
}

status model_check_stored_key(struct ctx *cx, const struct model_key *k)
{
    return check_key(cx, ERR_FORMAT, k);
}

status model_path(struct ctx *cx, const char *dir, const struct model_key *k, const char **out)
{
    TRY(check_key(cx, ERR_ARG, k));
    PATH(cx, path, "%s/%s#%u#%s/%s", dir, k->role, k->party, k->model_id, k->version);
    *out = path;
    return OK;
}

bool folder_key(struct ctx *cx, const char *model, const char *version, struct model_key *out)
{
    const char *party = strchr(model, '#'), *id = party ? strchr(party + 1, '#') : NULL;
    uint64_t n;
    if (!id || !num_parse_u64(party + 1, (size_t)(id - party - 1), &n) || n > UINT32_MAX) return false;
    struct model_key k = {arena_strndup(cx->mem, model, (size_t)(party - model)), (uint32_t)n,
                          arena_strdup(cx->mem, id + 1), arena_strdup(cx->mem, version)};
    struct err before = cx->err;
    bool ok = !check_key(cx, ERR_FORMAT, &k).code;
    cx->err = before;
    if (ok) *out = k;
    return ok;
}

/* ---- size and age ---- */

uint64_t folder_bytes(struct ctx *cx, const char *path, int64_t *newest_ms)
{
    const char **names;
    size_t n = 0;
    uint64_t sum = 0;
    struct stat st;
    if (!path || lstat(path, &st)) return 0;
    int64_t changed = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    if (newest_ms && changed > *newest_ms) *newest_ms = changed;
    if (S_ISREG(st.st_mode)) return (uint64_t)st.st_size;
    if (!S_ISDIR(st.st_mode) || dir_list(cx, path, &names, &n).code) return 0;
    for (size_t i = 0; i < n; i++)
        sum += folder_bytes(cx, arena_printf(cx->mem, "%s/%s", path, names[i]), newest_ms);
    return sum;
}

/* ---- in one step ---- */

static status sync_folder(struct ctx *cx, const char *path, bool whole_disk)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", path);
    if ((whole_disk ? syncfs(fd) : fsync(fd)) && errno != EINVAL) return FAIL(cx, IO, "sync %s: %m", path);
    return OK;
}

/* Like renameat2 with these flags; file systems that have none get steps between which a crash shows. */
static int move_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    if (file_exists(to)) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

static int swap(const char *a, const char *b, const char *spare)
{
    if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    if (rename(b, spare)) return -1;
    if (rename(a, b) == 0) return rename(spare, a);
    int why = errno;
    if (rename(spare, b)) return -1; /* the old one lies at `spare` then: nothing is lost */
    errno = why;
    return -1;
}

status folder_publish(struct ctx *cx, const char *from, const char *to, bool replace)
{
    const char *slash = strrchr(to, '/');
    PATH(cx, parent, "%.*s", (int)(slash - to), to);
    PATH(cx, spare, "%s.old", from);
    TRY(dir_make(cx, parent, 0700));
    TRY(sync_folder(cx, from, true));
    if (move_new(from, to) == 0) return sync_folder(cx, parent, false);
    if (errno != EEXIST && errno != ENOTEMPTY) return FAIL(cx, IO, "rename %s to %s: %m", from, to);
    if (!replace) return FAIL(cx, EXISTS, "%s", to);
    if (swap(from, to, spare)) return FAIL(cx, IO, "put %s in place of %s: %m", from, to);
    TRY(sync_folder(cx, parent, false));
    struct err before = cx->err;
    if (dir_remove(cx, from).code)
        cx->err = before; /* the new one is there: model_sweep takes what is left */
    return OK;
}

static status sweep(struct ctx *cx, const char *folder, const char *prefix, size_t *n_removed)
{
    const char **names;
    size_t n;
    TRY(dir_list(cx, folder, &names, &n));
    for (size_t i = 0; i < n; i++) {
        int64_t newest = 0;
        if (strncmp(names[i], prefix, strlen(prefix)) != 0) continue;
        PATH(cx, path, "%s/%s", folder, names[i]);
        folder_bytes(cx, path, &newest);
        if (wall_ms() - newest < SWEEP_AGE_MS) continue;
        TRY(dir_remove(cx, path));
        ++*n_removed;
    }
    return OK;
}

status model_sweep(struct ctx *cx, const char *dir, size_t *n_removed)
{
    const char **models;
    size_t n, removed = 0;
    *n_removed = 0;
    if (!file_exists(dir)) return OK;
    TRY(sweep(cx, dir, ".import-", &removed));
    TRY(dir_list(cx, dir, &models, &n));
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        PATH(cx, model, "%s/%s", dir, models[i]);
        if (models[i][0] == '.' || lstat(model, &st) || !S_ISDIR(st.st_mode)) continue;
        TRY(sweep(cx, model, ".deploy-", &removed));
    }
    *n_removed = removed;
    return OK;
}
