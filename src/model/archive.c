/* One model in one zip, FATE's layout, plus checksums.sha256: a line "<hex>  <path>" for every other member. */
#include "base/arena.h"
#include "base/evp.h"
#include "base/file.h"
#include "base/secret.h"
#include "model/model.h"
#include "model/paths.h"
#include "model/pb_json.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUMS       "checksums.sha256"
#define SUMS_MAX   ((size_t)16 << 20)
#define IMPORT_MEM ((size_t)1 << 30) /* what the messages of an archive may take while they are looked at */

static void digest_text(EVP_MD_CTX *md, char out[65])
{
    uint8_t d[32] = {0};
    EVP_DigestFinal_ex(md, d, NULL);
    for (size_t i = 0; i < sizeof d; i++)
        snprintf(out + 2 * i, 3, "%02x", d[i]);
}

static void digest_freep(EVP_MD_CTX **md)
{
    EVP_MD_CTX_free(*md);
}

static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (md && EVP_DigestInit_ex(md, EVP_sha256(), NULL)) return md;
    EVP_MD_CTX_free(md);
    return NULL;
}

/* ---- layout ---- */

/* The folders of a model; whatever else lies beside them is not part of it. */
static const char *const roots[] = {"checkpoint", "define", "run_parameters", "variables"};

static bool is_left_over(const char *name)
{
    size_t n = strlen(name);
    return name[0] == '.' ||
           (n > 4 && strcmp(name + n - 4, ".tmp") == 0); /* file_write's, when it was killed */
}

/* The part of path behind "<first>/<second>/" (second may be NULL); NULL when it begins otherwise. */
static const char *behind(const char *path, const char *first, const char *second)
{
    for (int i = 0; i < 2 && path; i++) {
        const char *part = i ? second : first;
        if (!part) continue;
        size_t n = strlen(part);
        path = strncmp(path, part, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
    }
    return path;
}

static bool is_of_row(const struct define_row *row, const char *path)
{
    const char *rest = behind(path, "run_parameters", row->component);
    if (rest && strcmp(rest, "run_parameters.json") == 0) return true;
    if (behind(path, "checkpoint", row->component)) return true;
    rest = behind(path, "variables/data", row->component);
    if (!row->alias || !rest || !(rest = behind(rest, row->alias, NULL))) return false;
    size_t n = strlen(row->name);
    if (behind(rest, "converted_model", NULL)) return true; /* of FATE's homo-convert */
    return strncmp(rest, row->name, n) == 0 && (!rest[n] || strcmp(rest + n, ".json") == 0);
}

/* Whether define_meta knows what path is for. */
static bool is_of_model(const struct define_row *rows, size_t n, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (strcmp(path, "define/define_meta.yaml") == 0) return true;
    if (is_left_over(slash ? slash + 1 : path)) return false;
    for (size_t i = 0; i < n; i++)
        if (is_of_row(&rows[i], path)) return true;
    return false;
}

/* ---- export ---- */

struct zip {
    struct archive *a;
    const char *root;
    const struct define_row *rows;
    size_t n_rows;
    struct buf sums;
};

/* Without a time of its own, so that the same model gives the same archive: it shows as 1980, the format's first. */
static status zip_member(struct ctx *cx, struct zip *z, const char *name, const void *p, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    if (!e) return FAIL(cx, NOMEM, "zip entry");
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    bool ok = archive_write_header(z->a, e) == ARCHIVE_OK &&
              (n == 0 || archive_write_data(z->a, p, n) == (la_ssize_t)n);
    archive_entry_free(e);
    return ok ? OK : FAIL(cx, IO, "write member %s: %s", name, archive_error_string(z->a));
}

static status zip_file(struct ctx *cx, struct zip *z, const char *name)
{
    struct bytes data;
    char hex[65];
    CLEANUP(digest_freep) EVP_MD_CTX *md = digest_new();
    PATH(cx, path, "%s/%s", z->root, name);
    TRY(file_read(cx, path, MODEL_FILE_MAX, &data));
    if (!md || !EVP_DigestUpdate(md, data.p, data.n)) return FAIL(cx, NOMEM, "SHA-256");
    digest_text(md, hex);
    buf_printf(&z->sums, "%s  %s\n", hex, name);
    return zip_member(cx, z, name, data.p, data.n);
}

static status zip_tree(struct ctx *cx, struct zip *z, const char *rel)
{
    PATH(cx, path, "%s/%s", z->root, rel);
    const char **names;
    size_t n;
    TRY(dir_list(cx, path, &names, &n));
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        struct arena_mark mark = arena_mark(cx->mem);
        PATH(cx, name, "%s/%s", rel, names[i]);
        PATH(cx, full, "%s/%s", z->root, name);
        if (lstat(full, &st)) return FAIL(cx, IO, "%s: %m", full);
        if (S_ISDIR(st.st_mode))
            TRY(zip_tree(cx, z, name));
        else if (is_of_model(z->rows, z->n_rows, name))
            TRY(zip_file(cx, z, name));
        arena_rewind(cx->mem, mark);
    }
    return OK;
}

static void zip_free(struct zip *z)
{
    buf_free(&z->sums);
    archive_write_free(z->a);
}

static status zip_write(struct ctx *cx, const char *root, const char *file)
{
    struct define_row *rows;
    size_t n_rows;
    TRY(define_read(cx, root, &rows, &n_rows));
    CLEANUP(fd_closep) int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", file);
    CLEANUP(zip_free) struct zip z = {archive_write_new(), root, rows, n_rows, {0}};
    if (!z.a) return FAIL(cx, NOMEM, "zip");
    if (archive_write_set_format_zip(z.a) || archive_write_open_fd(z.a, fd))
        return FAIL(cx, IO, "write %s: %s", file, archive_error_string(z.a));
    for (size_t i = 0; i < LEN(roots); i++) {
        PATH(cx, path, "%s/%s", root, roots[i]);
        if (file_exists(path)) TRY(zip_tree(cx, &z, roots[i]));
    }
    TRY(buf_ok(cx, &z.sums));
    TRY(zip_member(cx, &z, SUMS, z.sums.p, z.sums.n));
    if (archive_write_close(z.a)) return FAIL(cx, IO, "write %s: %s", file, archive_error_string(z.a));
    if (fsync(fd) && errno != EINVAL) return FAIL(cx, IO, "sync %s: %m", file);
    return OK;
}

status model_export(struct ctx *cx, const char *dir, const struct model_key *k, const char *file)
{
    const char *folder;
    struct model_pipeline p;
    TRY(model_load_pipeline(cx, dir, k, &p));
    TRY(model_path(cx, dir, k, &folder));
    PATH(cx, tmp, "%s.tmp", file);
    status st = zip_write(cx, folder, tmp);
    if (!st.code && rename(tmp, file)) st = FAIL(cx, IO, "rename %s: %m", file);
    if (st.code) unlink(tmp);
    return st;
}

/* ---- import ---- */

struct sum {
    const char *path;
    char hex[65];
    bool listed;
};
struct unzip {
    struct archive *a;
    const char *root; /* where the members go */
    const struct archive_bounds *max;
    struct sum *members;
    size_t n, cap;
    uint64_t bytes;
    bool has_sums; /* FATE's archives do not */
    struct bytes sums;
};

static void unzip_free(struct unzip *u)
{
    archive_read_free(u->a);
}

static status check_path(struct ctx *cx, const char *name)
{
    size_t n = strlen(name), root = strcspn(name, "/");
    bool known = false;
    if (n == 0 || n > 512) return FAIL(cx, FORMAT, "a member's name has %zu bytes: want 1 to 512", n);
    for (size_t i = 0; i < LEN(roots); i++)
        known = known || (strlen(roots[i]) == root && strncmp(name, roots[i], root) == 0 && name[root]);
    if (!known) return FAIL(cx, FORMAT, "member \"%.80s\" is not part of a model", name);
    for (const char *s = name;; s++) {
        size_t len = strcspn(s, "/");
        char part[513];
        memcpy(part, s, len);
        part[len] = 0;
        TRY_IN(cx, model_check_stored_name(cx, "path", part), "member \"%.80s\"", name);
        if (is_left_over(part)) return FAIL(cx, FORMAT, "member \"%.80s\" is not part of a model", name);
        s += len;
        if (!*s) return OK;
    }
}

/* The next piece of a member; n 0: it ended. `room`: what the member may still have. */
static status next_piece(struct ctx *cx, struct unzip *u, const char *name, size_t room, uint8_t *piece,
                         size_t cap, size_t *n)
{
    la_ssize_t got = archive_read_data(u->a, piece, cap);
    if (got < 0) return FAIL(cx, FORMAT, "member %s: %s", name, archive_error_string(u->a));
    u->bytes += (uint64_t)got;
    if (u->bytes > u->max->total)
        return FAIL(cx, LIMIT, "the archive unpacks to more than %" PRIu64 " bytes", u->max->total);
    if ((size_t)got > room) return FAIL(cx, LIMIT, "member %s is too large", name);
    *n = (size_t)got;
    return OK;
}

static status read_sums(struct ctx *cx, struct unzip *u)
{
    CLEANUP(buf_free) struct buf data = {0};
    uint8_t piece[16384];
    size_t n = 0;
    if (u->has_sums) return FAIL(cx, FORMAT, SUMS " stands there twice");
    u->has_sums = true;
    do {
        TRY(next_piece(cx, u, SUMS, SUMS_MAX - data.n, piece, sizeof piece, &n));
        buf_put(&data, piece, n);
    } while (n);
    TRY(buf_ok(cx, &data));
    return buf_to_arena(cx, &data, &u->sums);
}

static status write_member(struct ctx *cx, struct unzip *u, const char *name, char hex[65])
{
    uint8_t piece[16384];
    size_t n = 0, all = 0;
    PATH(cx, path, "%s/%s", u->root, name);
    PATH(cx, folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    status st = dir_make(cx, folder, 0700);
    if (st.code == ERR_EXISTS) return FAIL(cx, FORMAT, "member %s lies in another, which is a file", name);
    TRY(st);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) return FAIL(cx, FORMAT, "member %s stands there twice", name);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", path);
    CLEANUP(digest_freep) EVP_MD_CTX *md = digest_new();
    if (!md) return FAIL(cx, NOMEM, "SHA-256");
    do {
        TRY(next_piece(cx, u, name, u->max->file - all, piece, sizeof piece, &n));
        TRY_IN(cx, fd_write_all(cx, fd, piece, n), "member %s", name);
        if (!EVP_DigestUpdate(md, piece, n)) return FAIL(cx, INTERNAL, "SHA-256");
        all += n;
    } while (n);
    digest_text(md, hex);
    return OK;
}

static status store_member(struct ctx *cx, struct unzip *u, const char *name)
{
    if (u->n == u->max->members) return FAIL(cx, LIMIT, "more than %zu members", u->max->members);
    if (u->n == u->cap) {
        size_t cap = u->cap ? 2 * u->cap : 64;
        struct sum *more = NEW(cx, struct sum, cap);
        if (!more) return FAIL(cx, NOMEM, "%zu members", cap);
        if (u->n) memcpy(more, u->members, u->n * sizeof *more);
        u->members = more, u->cap = cap;
    }
    struct sum *s = &u->members[u->n];
    s->path = arena_strdup(cx->mem, name);
    if (!s->path) return FAIL(cx, NOMEM, "%s", name);
    TRY(write_member(cx, u, s->path, s->hex));
    u->n++;
    return OK;
}

static status next_member(struct ctx *cx, struct unzip *u, struct archive_entry *e)
{
    const char *name = archive_entry_pathname(e);
    if (!name) return FAIL(cx, FORMAT, "a member without a name");
    /* Folders come with their files; the lock and the ready-made request are of the FATE that exported. */
    bool skip = archive_entry_filetype(e) == AE_IFDIR || strcmp(name, ".lock") == 0 ||
                strcmp(name, "import_model.json") == 0;
    if (skip) return OK;
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
        return FAIL(cx, FORMAT, "member \"%.80s\" is not a plain file", name);
    if (strcmp(name, SUMS) == 0) return read_sums(cx, u);
    TRY(check_path(cx, name));
    return store_member(cx, u, name);
}

/* By its directory only: without it, which stands last, a zip that was cut off could pass for a smaller one. */
static status unzip_all(struct ctx *cx, struct unzip *u, int fd)
{
    if (!u->a || archive_read_support_format_zip_seekable(u->a)) return FAIL(cx, NOMEM, "zip reader");
    if (archive_read_open_fd(u->a, fd, 65536)) return FAIL(cx, FORMAT, "%s", archive_error_string(u->a));
    for (;;) {
        struct archive_entry *e;
        int got = archive_read_next_header(u->a, &e);
        if (got == ARCHIVE_EOF) return OK;
        if (got != ARCHIVE_OK) return FAIL(cx, FORMAT, "%s", archive_error_string(u->a));
        TRY(next_member(cx, u, e));
    }
}

/* ---- what is in it ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct sum *)a)->path, ((const struct sum *)b)->path);
}

static status check_sum_line(struct ctx *cx, struct unzip *u, const char *line, size_t n)
{
    if (n < 67 || n > 66 + 512 || line[64] != ' ' || line[65] != ' ')
        return FAIL(cx, FORMAT, SUMS ": a line of %zu bytes", n);
    PATH(cx, path, "%.*s", (int)(n - 66), line + 66);
    const struct sum key = {.path = path};
    struct sum *s = u->n ? bsearch(&key, u->members, u->n, sizeof key, by_path) : NULL;
    if (!s) return FAIL(cx, FORMAT, SUMS " names \"%.80s\", which the archive does not hold", path);
    if (memcmp(s->hex, line, 64) != 0)
        return FAIL(cx, FORMAT, "member %s: its SHA-256 is %s, " SUMS " says %.64s", path, s->hex, line);
    s->listed = true;
    return OK;
}

static status check_sums(struct ctx *cx, struct unzip *u)
{
    if (!u->has_sums) return OK;
    if (u->n) qsort(u->members, u->n, sizeof *u->members, by_path);
    const char *s = (const char *)u->sums.p, *end = s + u->sums.n;
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        size_t n = (size_t)((nl ? nl : end) - s);
        TRY(check_sum_line(cx, u, s, n));
        s += nl ? n + 1 : n;
    }
    for (size_t i = 0; i < u->n; i++)
        if (!u->members[i].listed) return FAIL(cx, FORMAT, "member %s is not in " SUMS, u->members[i].path);
    return OK;
}

/* A buffer has to be the message that define_meta says. Its JSON view is made anew, so that what people are shown is what
 * is used. */
static status check_buffer(struct ctx *cx, const char *folder, const struct define_row *row)
{
    struct model_buffer b = {.name = row->name, .proto = row->proto};
    PATH(cx, file, "%s/variables/data/%s/%s/%s", folder, row->component, row->alias, row->name);
    if (!pb_find(row->proto))
        return FAIL(cx, UNSUPPORTED, "%s holds a %s, which norn cannot use yet", row->component, row->proto);
    if (!file_exists(file))
        return FAIL(cx, FORMAT, "define_meta.yaml names %s of %s, which the archive does not hold", row->name,
                    row->component);
    TRY(file_read(cx, file, MODEL_FILE_MAX, &b.pb));
    return view_write(cx, file, &b);
}

static status check_run_parameters(struct ctx *cx, const char *folder, const struct define_row *row)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    PATH(cx, file, "%s/run_parameters/%s/run_parameters.json", folder, row->component);
    if (!file_exists(file)) return OK;
    TRY(js_read(cx, file, &j));
    return json_is_object(j) ? OK
                             : FAIL(cx, FORMAT, "run_parameters.json of %s is not an object", row->component);
}

/* A member's name is in the zip twice, and neither is under its CRC: one that was altered leads to no component. */
static status check_members(struct ctx *cx, const struct unzip *u, const struct define_row *rows, size_t n)
{
    for (size_t i = 0; i < u->n; i++)
        if (!is_of_model(rows, n, u->members[i].path))
            return FAIL(cx, FORMAT, "member %s is of nothing that define_meta.yaml names",
                        u->members[i].path);
    return OK;
}

static status check_model(struct ctx *cx, const struct unzip *u, struct model_key *key)
{
    const char *folder = u->root;
    static const char *const needed[] = {"define/define_meta.yaml", PIPELINE_FILE};
    struct define_row *rows;
    struct model_pipeline p;
    size_t n;
    for (size_t i = 0; i < LEN(needed); i++) {
        PATH(cx, file, "%s/%s", folder, needed[i]);
        if (!file_exists(file)) return FAIL(cx, FORMAT, "the archive holds no %s", needed[i]);
    }
    TRY(define_read(cx, folder, &rows, &n));
    for (size_t i = 0; i < n; i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        if (rows[i].alias) TRY(check_buffer(cx, folder, &rows[i]));
        TRY(check_run_parameters(cx, folder, &rows[i]));
        arena_rewind(cx->mem, mark);
    }
    TRY(check_members(cx, u, rows, n));
    return pipeline_read(cx, folder, &p, key);
}

static status import_into(struct ctx *cx, const char *dir, const char *tmp, const char *file, bool replace,
                          const struct archive_bounds *max, struct model_key *key, const char **folder)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return FAIL(cx, NOTFOUND, "%m");
    if (fd < 0 || fstat(fd, &st)) return FAIL(cx, IO, "%m");
    if (!S_ISREG(st.st_mode)) return FAIL(cx, FORMAT, "not a file");
    CLEANUP(unzip_free) struct unzip u = {.a = archive_read_new(), .root = tmp, .max = max};
    TRY(dir_make(cx, tmp, 0700));
    TRY(unzip_all(cx, &u, fd));
    TRY(check_sums(cx, &u));
    TRY(check_model(cx, &u, key));
    TRY(model_path(cx, dir, key, folder));
    status done = folder_publish(cx, tmp, *folder, replace);
    if (done.code == ERR_EXISTS)
        return FAIL(cx, EXISTS, "model %s version %s of %s %u", key->model_id, key->version, key->role,
                    key->party);
    return done;
}

static status import_and_describe(struct ctx *cx, const char *dir, const char *tmp, const char *file,
                                  bool replace, const struct archive_bounds *max, struct model_info *out)
{
    CLEANUP(arena_freep) struct arena *mem = arena_new(IMPORT_MEM);
    struct ctx in = *cx;
    struct model_key key = {0};
    const char *folder = NULL;
    if (!mem) return FAIL(cx, NOMEM, "import");
    in.mem = mem;
    status st = import_into(&in, dir, tmp, file, replace, max, &key, &folder);
    if (!st.code) { /* from here on in the caller's memory */
        key = (struct model_key){arena_strdup(cx->mem, key.role), key.party,
                                 arena_strdup(cx->mem, key.model_id), arena_strdup(cx->mem, key.version)};
        if (!key.role || !key.model_id || !key.version) return FAIL(cx, NOMEM, "a model's key");
        return model_describe(cx, folder, &key, out);
    }
    cx->err = in.err;
    return st;
}

status archive_import(struct ctx *cx, const char *dir, const char *file, bool replace,
                      const struct archive_bounds *max, struct model_info *out)
{
    uint64_t r;
    TRY(rand_bytes(cx, &r, sizeof r));
    PATH(cx, tmp, "%s/.import-%016" PRIx64, dir, r);
    status st = import_and_describe(cx, dir, tmp, file, replace, max, out);
    if (!st.code) return OK;
    err_prefix(cx, "import %s", file);
    struct err why = cx->err;
    (void)!dir_remove(cx, tmp).code;
    cx->err = why;
    return st;
}

status model_import(struct ctx *cx, const char *dir, const char *file, bool replace, struct model_info *out)
{
    static const struct archive_bounds max = {MODEL_FILE_MAX, 1 << 30, 20000};
    return archive_import(cx, dir, file, replace, &max, out);
}
