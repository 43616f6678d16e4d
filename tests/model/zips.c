#include "zips.h"
#include <archive.h>
#include <archive_entry.h>
#include <openssl/sha.h>

void zip_write(const char *file, const struct members *z)
{
    struct archive *a = archive_write_new();
    if (archive_write_set_format_zip(a) || archive_write_open_filename(a, file)) abort();
    for (size_t i = 0; i < z->n; i++) {
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, z->m[i].name);
        archive_entry_set_filetype(e, z->m[i].type ? z->m[i].type : AE_IFREG);
        archive_entry_set_perm(e, 0644);
        if (z->m[i].link) archive_entry_set_symlink(e, z->m[i].link);
        archive_entry_set_size(e, (la_int64_t)z->m[i].data.n);
        if (archive_write_header(a, e) != ARCHIVE_OK) abort();
        if (z->m[i].data.n && archive_write_data(a, z->m[i].data.p, z->m[i].data.n) < 0) abort();
        archive_entry_free(e);
    }
    if (archive_write_free(a)) abort();
}

void zip_read(struct ctx *cx, const char *file, struct members *z)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    z->n = 0;
    if (archive_read_support_format_zip(a) || archive_read_open_filename(a, file, 4096)) abort();
    while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
        CLEANUP(buf_free) struct buf b = {0};
        char piece[4096];
        la_ssize_t n;
        if (archive_entry_filetype(e) == AE_IFDIR) continue;
        while ((n = archive_read_data(a, piece, sizeof piece)) > 0)
            buf_put(&b, piece, (size_t)n);
        z->m[z->n] = (struct member){.name = arena_strdup(cx->mem, archive_entry_pathname(e))};
        CHECK_OK(cx, buf_to_arena(cx, &b, &z->m[z->n++].data));
        if (z->n == LEN(z->m)) abort();
    }
    archive_read_free(a);
}

struct member *zip_find(struct members *z, const char *name)
{
    for (size_t i = 0; i < z->n; i++)
        if (strcmp(z->m[i].name, name) == 0) return &z->m[i];
    abort();
}

void zip_drop(struct members *z, const char *name)
{
    struct member *m = zip_find(z, name);
    *m = z->m[--z->n];
}

void zip_put(struct members *z, const char *name, const void *p, size_t n)
{
    z->m[z->n++] = (struct member){.name = name, .data = {p, n}};
}

void zip_put_text(struct members *z, const char *name, const char *text)
{
    zip_put(z, name, text, strlen(text));
}

const char *sum_line(struct ctx *cx, const struct member *m)
{
    uint8_t d[32];
    char hex[65];
    SHA256(m->data.p, m->data.n, d);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", d[i]);
    return arena_printf(cx->mem, "%s  %s\n", hex, m->name);
}

const char *exported(struct ctx *cx, struct members *z)
{
    const char *dir = scratch_dir(cx), *file = scratch_path(cx, dir, "model.zip");
    CHECK_OK(cx, save_model(cx, scratch_path(cx, dir, "models"), &guest_key, 2));
    CHECK_OK(cx, model_export(cx, scratch_path(cx, dir, "models"), &guest_key, file));
    if (z) zip_read(cx, file, z);
    return file;
}

const char *models_of(struct ctx *cx, const char *file)
{
    return arena_printf(cx->mem, "%.*s/models", (int)(strrchr(file, '/') - file), file);
}

const char *fast_dir(struct ctx *cx)
{
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
    const char *dir = scratch_path(cx, scratch_dir(cx), "m");
    unsetenv("TMPDIR");
    CHECK_OK(cx, dir_make(cx, dir, 0700));
    return dir;
}
