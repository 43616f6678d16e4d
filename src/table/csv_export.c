#include "table/csv.h"
#include "base/arena.h"
#include "base/file.h"
#include "table/colfile.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

/* A cell, in quotes where it must be. */
static void put_cell(struct buf *b, const void *p, size_t n)
{
    const char *s = (const char *)p;
    bool plain = n == 0 || s[0] != '"';
    for (size_t i = 0; i < n && plain; i++)
        plain = s[i] != ',' && s[i] != '\n' && s[i] != '\r' && s[i] != '"';
    if (plain) {
        buf_put(b, s, n);
        return;
    }
    buf_u8(b, '"');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"') buf_u8(b, '"');
        buf_u8(b, (uint8_t)s[i]);
    }
    buf_u8(b, '"');
}

static status write_all(struct ctx *cx, const struct table *t, int fd)
{
    CLEANUP(buf_free) struct buf b = {0};
    char number[64];
    put_cell(&b, t->id_name, strlen(t->id_name));
    for (size_t c = 0; c < t->n_cols; c++) {
        buf_u8(&b, ',');
        put_cell(&b, t->cols[c].name, strlen(t->cols[c].name));
    }
    buf_u8(&b, '\n');
    for (size_t i = 0; i < t->n_rows; i++) {
        struct bytes id = table_id(t, i);
        put_cell(&b, id.p, id.n);
        for (size_t c = 0; c < t->n_cols; c++) {
            struct bytes cell = table_cell(t, &t->cols[c], i, number, sizeof number);
            buf_u8(&b, ',');
            put_cell(&b, cell.p, cell.n);
        }
        buf_u8(&b, '\n');
        if (b.n < BLOCK) continue;
        TRY(buf_ok(cx, &b));
        TRY(ctx_check(cx));
        TRY(fd_write_all(cx, fd, b.p, b.n));
        buf_reset(&b);
    }
    TRY(buf_ok(cx, &b));
    return fd_write_all(cx, fd, b.p, b.n);
}

static status write_file(struct ctx *cx, const struct table *t, const char *file)
{
    CLEANUP(fd_closep) int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", file);
    TRY_IN(cx, write_all(cx, t, fd), "write %s", file);
    if (fsync(fd) < 0) return FAIL(cx, IO, "sync %s: %m", file);
    return OK;
}

status csv_export(struct ctx *cx, const struct table *t, const char *file)
{
    const char *tmp = arena_printf(cx->mem, "%s.part", file);
    if (!tmp) return FAIL(cx, NOMEM, "a path");
    status st = write_file(cx, t, tmp);
    if (!st.code && rename(tmp, file) < 0) st = FAIL(cx, IO, "rename %s to %s: %m", tmp, file);
    if (st.code) (void)unlink(tmp);
    return st;
}
