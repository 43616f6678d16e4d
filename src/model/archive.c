/* One model in one zip, FATE's layout, plus checksums.sha256: a line "<hex>  <path>" for every other member. */
#include "base/arena.h"
#include "base/file.h"
#include "base/secret.h"
#include "model/model.h"
#include "model/paths.h"
#include "model/pb_json.h"
#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include "base/evp.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMBER_MAX  (1u << 30) /* bytes of one member */
#define ARCHIVE_MAX (4ull << 30)
#define MEMBERS_MAX 20000
#define SUMS        "checksums.sha256"

static status sha256_hex(struct ctx *cx, const void *p, size_t n, char out[65])
{
    uint8_t d[32];
    if (!EVP_Digest(p, n, d, NULL, EVP_sha256(), NULL)) return FAIL(cx, INTERNAL, "SHA-256");
    for (int i = 0; i < 32; i++) {
        out[2 * i] = "0123456789abcdef"[d[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[d[i] & 15];
    }
    out[64] = 0;
    return OK;
}

/* --- export ---------------------------------------------------------------------------------------------- */
struct zip {
    struct archive *a;
    const char *root;
    struct buf sums;
};

static status zip_member(struct ctx *cx, struct zip *z, const char *name, const void *p, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    if (!e) return FAIL(cx, NOMEM, "zip entry");
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    archive_entry_set_mtime(e, 315532800,
                            0); /* 1980-01-01, the zip format's first: same model, same archive */
    bool ok = archive_write_header(z->a, e) == ARCHIVE_OK &&
              (n == 0 || archive_write_data(z->a, p, n) == (la_ssize_t)n);
    archive_entry_free(e);
    return ok ? OK : FAIL(cx, IO, "write member %s: %s", name, archive_error_string(z->a));
}

static status zip_tree(struct ctx *cx, struct zip *z, const char *rel)
{
    const char *path = arena_printf(cx->mem, "%s/%s", z->root, rel);
    const char **names;
    size_t n;
    TRY(dir_list(cx, path, &names, &n));
    for (size_t i = 0; i < n; i++) {
        const char *name = *rel ? arena_printf(cx->mem, "%s/%s", rel, names[i]) : names[i];
        const char *full = arena_printf(cx->mem, "%s/%s", z->root, name);
        if (file_exists(arena_printf(cx->mem, "%s/.", full))) {
            TRY(zip_tree(cx, z, name));
            continue;
        }
        struct bytes data;
        char hex[65];
        TRY(file_read(cx, full, MEMBER_MAX, &data));
        TRY(sha256_hex(cx, data.p, data.n, hex));
        buf_printf(&z->sums, "%s  %s\n", hex, name);
        TRY(zip_member(cx, z, name, data.p, data.n));
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
    CLEANUP(zip_free) struct zip z = {archive_write_new(), root, {0}};
    if (!z.a) return FAIL(cx, NOMEM, "zip");
    if (archive_write_set_format_zip(z.a) || archive_write_open_filename(z.a, file))
        return FAIL(cx, IO, "write %s: %s", file, archive_error_string(z.a));
    TRY(zip_tree(cx, &z, ""));
    TRY(buf_ok(cx, &z.sums));
    TRY(zip_member(cx, &z, SUMS, z.sums.p, z.sums.n));
    if (archive_write_close(z.a)) return FAIL(cx, IO, "write %s: %s", file, archive_error_string(z.a));
    return OK;
}

status model_export(struct ctx *cx, const char *dir, const struct model_key *k, const char *file)
{
    const char *folder;
    struct model_pipeline p;
    TRY(model_load_pipeline(cx, dir, k, &p));
    TRY(model_path(cx, dir, k, &folder));
    const char *tmp = arena_printf(cx->mem, "%s.tmp", file);
    status st = zip_write(cx, folder, tmp);
    if (!st.code && rename(tmp, file)) st = FAIL(cx, IO, "rename %s: %m", file);
    if (st.code) unlink(tmp);
    return st;
}

/* --- import ---------------------------------------------------------------------------------------------- */
struct sum {
    const char *path;
    char hex[65];
    bool listed;
};
struct unzip {
    struct archive *a;
    const char *root;
    struct sum *members;
    size_t n;
    uint64_t bytes;
    struct bytes sums; /* p NULL: the archive brings none (FATE's do not) */
};

static void unzip_free(struct unzip *u)
{
    archive_read_free(u->a);
}

/* True for the folders that a model may have; anything else is refused by name. */
static bool known_path(const char *name)
{
    static const char *const roots[] = {"define/", "variables/data/", "run_parameters/", "checkpoint/"};
    for (size_t i = 0; i < LEN(roots); i++)
        if (strncmp(name, roots[i], strlen(roots[i])) == 0) return true;
    return false;
}

static status check_path(struct ctx *cx, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > 512) return FAIL(cx, FORMAT, "a member's name has %zu bytes: want 1 to 512", n);
    if (!known_path(name)) return FAIL(cx, FORMAT, "member \"%.80s\" is not part of a model", name);
    char part[512];
    for (const char *s = name; *s;) {
        size_t len = strcspn(s, "/");
        memcpy(part, s, len);
        part[len] = 0;
        TRY_IN(cx, model_check_name(cx, "path", part), "member \"%.80s\"", name);
        s += len;
        if (*s == '/') s++;
    }
    return OK;
}

static status read_member(struct ctx *cx, struct unzip *u, const char *name, struct buf *out)
{
    out->max = MEMBER_MAX;
    for (;;) {
        uint8_t piece[65536];
        la_ssize_t got = archive_read_data(u->a, piece, sizeof piece);
        if (got < 0) return FAIL(cx, FORMAT, "member %s: %s", name, archive_error_string(u->a));
        if (got == 0) return buf_ok(cx, out);
        u->bytes += (uint64_t)got;
        if (u->bytes > ARCHIVE_MAX)
            return FAIL(cx, LIMIT, "the archive unpacks to more than %llu bytes", ARCHIVE_MAX);
        buf_put(out, piece, (size_t)got);
        if (out->bad) return FAIL(cx, LIMIT, "member %s has more than %u bytes", name, MEMBER_MAX);
    }
}

static status store_member(struct ctx *cx, struct unzip *u, const char *name, const struct buf *data)
{
    if (u->n == MEMBERS_MAX) return FAIL(cx, LIMIT, "more than %d members", MEMBERS_MAX);
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(u->members[i].path, name) == 0)
            return FAIL(cx, FORMAT, "member %s stands there twice", name);
    struct sum *s = &u->members[u->n];
    s->path = arena_strdup(cx->mem, name);
    if (!s->path) return FAIL(cx, NOMEM, "%s", name);
    TRY(sha256_hex(cx, data->p, data->n, s->hex));
    u->n++;
    const char *path = arena_printf(cx->mem, "%s/%s", u->root, name);
    const char *slash = strrchr(path, '/');
    TRY(dir_make(cx, arena_strndup(cx->mem, path, (size_t)(slash - path)), 0700));
    return file_write(cx, path, data->p, data->n, 0600);
}

static status next_member(struct ctx *cx, struct unzip *u, struct archive_entry *e)
{
    const char *name = archive_entry_pathname(e);
    if (!name) return FAIL(cx, FORMAT, "a member without a name");
    bool skip = archive_entry_filetype(e) == AE_IFDIR || strcmp(name, ".lock") == 0 ||
                strcmp(name, "import_model.json") == 0;
    if (skip) return OK;
    if (archive_entry_filetype(e) != AE_IFREG)
        return FAIL(cx, FORMAT, "member \"%.80s\" is not a plain file", name);
    CLEANUP(buf_free) struct buf data = {0};
    if (strcmp(name, SUMS) == 0) {
        TRY(read_member(cx, u, name, &data));
        return buf_to_arena(cx, &data, &u->sums);
    }
    TRY(check_path(cx, name));
    TRY(read_member(cx, u, name, &data));
    return store_member(cx, u, name, &data);
}

static status unzip_all(struct ctx *cx, struct unzip *u, const char *file)
{
    if (!u->a || archive_read_support_format_zip(u->a)) return FAIL(cx, NOMEM, "zip reader");
    if (archive_read_open_filename(u->a, file, 65536))
        return FAIL(cx, IO, "open %s: %s", file, archive_error_string(u->a));
    for (;;) {
        struct archive_entry *e;
        int got = archive_read_next_header(u->a, &e);
        if (got == ARCHIVE_EOF) return OK;
        if (got != ARCHIVE_OK) return FAIL(cx, FORMAT, "%s", archive_error_string(u->a));
        TRY(next_member(cx, u, e));
    }
}

static status check_sum_line(struct ctx *cx, struct unzip *u, const char *line, size_t n)
{
    if (n < 67 || line[64] != ' ' || line[65] != ' ')
        return FAIL(cx, FORMAT, SUMS ": a line of %zu bytes", n);
    const char *path = line + 66;
    for (size_t i = 0; i < u->n; i++) {
        if (strlen(u->members[i].path) != n - 66 || memcmp(u->members[i].path, path, n - 66) != 0) continue;
        if (memcmp(u->members[i].hex, line, 64) != 0)
            return FAIL(cx, FORMAT, "member %s: its SHA-256 is %s, " SUMS " says %.64s", u->members[i].path,
                        u->members[i].hex, line);
        u->members[i].listed = true;
        return OK;
    }
    return FAIL(cx, FORMAT, SUMS " names %.*s, which the archive does not hold", (int)(n - 66), path);
}

static status check_sums(struct ctx *cx, struct unzip *u)
{
    if (!u->sums.p) return OK;
    const char *s = (const char *)u->sums.p, *end = s + u->sums.n;
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        size_t n = (size_t)((nl ? nl : end) - s);
        TRY(check_sum_line(cx, u, s, n));
        s += n + 1;
    }
    for (size_t i = 0; i < u->n; i++)
        if (!u->members[i].listed) return FAIL(cx, FORMAT, "member %s is not in " SUMS, u->members[i].path);
    return OK;
}

/* Every buffer must parse as the message define_meta says; unknown kinds are kept only when nothing can use them. */
static status check_model(struct ctx *cx, const char *folder, struct model_key *key)
{
    struct define_row *rows;
    struct model_pipeline p;
    size_t n;
    TRY(define_read(cx, folder, &rows, &n));
    TRY(pipeline_read(cx, folder, &p, key));
    for (size_t i = 0; i < n; i++) {
        const ProtobufCMessageDescriptor *d = rows[i].alias ? pb_find(rows[i].proto) : NULL;
        if (!rows[i].alias) continue;
        if (!d)
            return FAIL(cx, UNSUPPORTED, "%s holds a %s, which norn cannot use yet", rows[i].component,
                        rows[i].proto);
        struct bytes pb;
        ProtobufCMessage *m;
        TRY(file_read(cx,
                      arena_printf(cx->mem, "%s/variables/data/%s/%s/%s", folder, rows[i].component,
                                   rows[i].alias, rows[i].name),
                      MEMBER_MAX, &pb));
        TRY_IN(cx, pb_unpack(cx, d, pb, &m), "%s", rows[i].name);
    }
    return OK;
}

static status import_into(struct ctx *cx, const char *dir, const char *tmp, const char *file, bool replace,
                          struct model_info *out)
{
    CLEANUP(unzip_free) struct unzip u = {.a = archive_read_new(), .root = tmp};
    struct model_info info = {0};
    const char *to;
    u.members = NEW(cx, struct sum, MEMBERS_MAX);
    if (!u.members) return FAIL(cx, NOMEM, "member list");
    TRY(unzip_all(cx, &u, file));
    TRY(check_sums(cx, &u));
    TRY(check_model(cx, tmp, &info.key));
    TRY(model_path(cx, dir, &info.key, &to));
    if (file_exists(to)) {
        if (!replace)
            return FAIL(cx, EXISTS, "model %s version %s of %s %u", info.key.model_id, info.key.version,
                        info.key.role, info.key.party);
        TRY(dir_remove(cx, to));
    }
    const char *slash = strrchr(to, '/');
    TRY(dir_make(cx, arena_strndup(cx->mem, to, (size_t)(slash - to)), 0700));
    if (rename(tmp, to)) return FAIL(cx, IO, "rename %s: %m", to);
    *out = info;
    return OK;
}

status model_import(struct ctx *cx, const char *dir, const char *file, bool replace, struct model_info *out)
{
    uint64_t r;
    struct model_info info;
    TRY(rand_bytes(cx, &r, sizeof r));
    const char *tmp = arena_printf(cx->mem, "%s/.import-%016" PRIx64, dir, r);
    TRY(dir_make(cx, tmp, 0700));
    status st = import_into(cx, dir, tmp, file, replace, &info);
    if (st.code) {
        err_prefix(cx, "import %s", file);
        struct err why = cx->err;
        (void)!dir_remove(cx, tmp).code;
        cx->err = why;
        return st;
    }
    struct model_info *all;
    size_t n;
    TRY(model_list(cx, dir, &all, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].key.version, info.key.version) == 0 &&
            strcmp(all[i].key.role, info.key.role) == 0 && all[i].key.party == info.key.party &&
            strcmp(all[i].key.model_id, info.key.model_id) == 0)
            *out = all[i];
    return OK;
}
