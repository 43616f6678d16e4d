#include "table/colfile.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "base/pool.h"
#include "table/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char col_magic[8] = "NORNCOL", rows_magic[8] = "NORNROW";
enum { CRC_AT = 12 }; /* offset of the CRC in both heads; computed with these four bytes zero */

static bool align_up(uint64_t x, uint64_t *out)
{
    if (__builtin_add_overflow(x, COLFILE_ALIGN - 1, out)) return false;
    *out &= ~(uint64_t)(COLFILE_ALIGN - 1);
    return true;
}

/* Takes the next aligned place of n bytes; *at is the end of the file so far. */
static bool place(uint64_t *at, uint64_t n, uint64_t *off)
{
    return align_up(*at, off) && !__builtin_add_overflow(*off, n, at) && *at < (uint64_t)INT64_MAX;
}

static uint64_t null_bytes(uint64_t n_rows)
{
    return (n_rows + 63) / 64 * 8;
}

static uint64_t data_bytes(const struct colfile *f, size_t c)
{
    return (f->n_rows + (f->cols[c].type == COL_STR)) * 8;
}

size_t colfile_head_bytes(const struct colfile *f)
{
    return COLFILE_HEAD + f->n_cols * COLFILE_ENTRY;
}

status colfile_layout(struct ctx *cx, struct colfile *f)
{
    if (f->n_rows > TABLE_MAX_ROWS)
        return FAIL(cx, LIMIT, "%ju rows, at most %ju", (uintmax_t)f->n_rows, (uintmax_t)TABLE_MAX_ROWS);
    uint64_t at = colfile_head_bytes(f);
    for (size_t i = 0; i < f->n_cols; i++) {
        struct colfile_col *c = &f->cols[i];
        bool fits = place(&at, data_bytes(f, i), &c->data_off);
        if (c->type == COL_STR) fits = fits && place(&at, c->text_bytes, &c->text_off);
        if (c->n_missing) fits = fits && place(&at, null_bytes(f->n_rows), &c->null_off);
        if (!fits) return FAIL(cx, LIMIT, "column %zu ends beyond 2^63 bytes", i);
    }
    f->file_bytes = at;
    return OK;
}

status colfile_head(struct ctx *cx, const struct colfile *f, const uint8_t **out, uint32_t *crc)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes all;
    buf_put(&b, col_magic, 8);
    buf_u32(&b, COLFILE_VERSION);
    buf_u32(&b, 0); /* CRC */
    buf_u64(&b, f->n_rows);
    buf_u64(&b, f->n_cols);
    buf_u64(&b, f->file_bytes);
    static const uint8_t zero[64] = {0};
    buf_put(&b, zero, COLFILE_HEAD - b.n);
    for (size_t i = 0; i < f->n_cols; i++) {
        const struct colfile_col *c = &f->cols[i];
        buf_u64(&b, c->type);
        buf_u64(&b, c->data_off);
        buf_u64(&b, c->text_off);
        buf_u64(&b, c->text_bytes);
        buf_u64(&b, c->null_off);
        buf_u64(&b, c->n_missing);
        buf_put(&b, zero, 16);
    }
    TRY(buf_ok(cx, &b));
    *crc = crc32c(0, b.p, b.n);
    for (int k = 0; k < 4; k++)
        b.p[CRC_AT + k] = (uint8_t)(*crc >> (8 * k));
    TRY(buf_to_arena(cx, &b, &all));
    *out = all.p;
    return OK;
}

/* CRC32C of head[0..n) with its CRC field taken as zero. */
static uint32_t head_crc(const uint8_t *head, size_t n)
{
    static const uint8_t zero[4] = {0};
    uint32_t c = crc32c(0, head, CRC_AT);
    c = crc32c(c, zero, 4);
    return crc32c(c, head + CRC_AT + 4, n - CRC_AT - 4);
}

/* Magic, version, CRC (over the first n_crc bytes once known). */
static status read_magic(struct ctx *cx, struct reader *r, const char magic[8], uint32_t *crc)
{
    const uint8_t *m;
    uint32_t version;
    TRY(reader_bytes(cx, r, 8, &m));
    if (memcmp(m, magic, 8) != 0) return FAIL(cx, FORMAT, "byte 0: not a %s file", magic);
    TRY(reader_u32(cx, r, &version));
    if (version != COLFILE_VERSION)
        return FAIL(cx, FORMAT, "byte 8: version %u, this norn reads %d", version, COLFILE_VERSION);
    return reader_u32(cx, r, crc);
}

static status check_section(struct ctx *cx, const struct colfile *f, size_t col, const char *what,
                            uint64_t off, uint64_t n)
{
    if (off % COLFILE_ALIGN || off < colfile_head_bytes(f) || off > f->file_bytes || n > f->file_bytes - off)
        return FAIL(cx, FORMAT, "byte %zu: column %zu: %s of %ju bytes at %ju, file of %ju bytes",
                    (size_t)COLFILE_HEAD + col * COLFILE_ENTRY, col, what, (uintmax_t)n, (uintmax_t)off,
                    (uintmax_t)f->file_bytes);
    return OK;
}

static status read_entry(struct ctx *cx, struct reader *r, struct colfile *f, size_t i)
{
    struct colfile_col *c = &f->cols[i];
    uint64_t type;
    const uint8_t *pad;
    TRY(reader_u64(cx, r, &type));
    TRY(reader_u64(cx, r, &c->data_off));
    TRY(reader_u64(cx, r, &c->text_off));
    TRY(reader_u64(cx, r, &c->text_bytes));
    TRY(reader_u64(cx, r, &c->null_off));
    TRY(reader_u64(cx, r, &c->n_missing));
    TRY(reader_bytes(cx, r, 16, &pad));
    if (type > COL_STR || (i == 0 && (type != COL_STR || c->n_missing)))
        return FAIL(cx, FORMAT, "byte %zu: column %zu: type %ju", (size_t)COLFILE_HEAD + i * COLFILE_ENTRY, i,
                    (uintmax_t)type);
    c->type = (enum col_type)type;
    TRY(check_section(cx, f, i, "data", c->data_off, data_bytes(f, i)));
    if (c->type == COL_STR) TRY(check_section(cx, f, i, "text", c->text_off, c->text_bytes));
    if (c->n_missing) TRY(check_section(cx, f, i, "missing", c->null_off, null_bytes(f->n_rows)));
    if (c->n_missing > f->n_rows || (c->null_off != 0) != (c->n_missing != 0))
        return FAIL(cx, FORMAT, "byte %zu: column %zu: %ju cells missing of %ju",
                    (size_t)COLFILE_HEAD + i * COLFILE_ENTRY, i, (uintmax_t)c->n_missing,
                    (uintmax_t)f->n_rows);
    return OK;
}

/* Offsets that never fall, from 0 to text_bytes: then every cell lies inside the text. */
struct rising {
    const uint64_t *off;
};

static status check_rising(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    const uint64_t *off = ((const struct rising *)arg)->off;
    uint64_t falls = 0; /* no branch in the loop: the compiler makes vectors of it */
    for (size_t i = begin; i < end; i++)
        falls |= (uint64_t)(off[i] > off[i + 1]);
    if (!falls) return OK;
    for (size_t i = begin; i < end; i++)
        if (off[i] > off[i + 1])
            return FAIL(cx, FORMAT, "offset of row %zu falls from %ju to %ju (chunk %zu)", i + 1,
                        (uintmax_t)off[i], (uintmax_t)off[i + 1], chunk);
    return OK;
}

static status check_offsets(struct ctx *cx, struct bytes file, const struct colfile *f, size_t i)
{
    const struct colfile_col *c = &f->cols[i];
    struct rising r = {(const uint64_t *)(const void *)(file.p + c->data_off)};
    if (r.off[0] != 0 || r.off[f->n_rows] != c->text_bytes)
        return FAIL(cx, FORMAT, "byte %ju: column %zu: offsets from %ju to %ju over %ju bytes of text",
                    (uintmax_t)c->data_off, i, (uintmax_t)r.off[0], (uintmax_t)r.off[f->n_rows],
                    (uintmax_t)c->text_bytes);
    TRY_IN(cx, pool_for(cx, (size_t)f->n_rows, 1 << 18, check_rising, &r), "byte %ju: column %zu",
           (uintmax_t)c->data_off, i);
    return OK;
}

status colfile_read(struct ctx *cx, struct bytes file, struct colfile *out, uint32_t *crc)
{
    struct reader r = reader_of(file.p, file.n);
    struct colfile f = {0};
    uint32_t want;
    uint64_t n_cols;
    TRY(read_magic(cx, &r, col_magic, &want));
    TRY(reader_u64(cx, &r, &f.n_rows));
    TRY(reader_u64(cx, &r, &n_cols));
    TRY(reader_u64(cx, &r, &f.file_bytes));
    if (f.n_rows > TABLE_MAX_ROWS) return FAIL(cx, FORMAT, "byte 16: %ju rows", (uintmax_t)f.n_rows);
    if (n_cols < 1 || n_cols > TABLE_MAX_COLS + 1)
        return FAIL(cx, FORMAT, "byte 24: %ju columns", (uintmax_t)n_cols);
    if (f.file_bytes != file.n)
        return FAIL(cx, FORMAT, "byte 32: written with %ju bytes, has %zu", (uintmax_t)f.file_bytes, file.n);
    f.n_cols = (size_t)n_cols;
    const uint8_t *rest;
    TRY(reader_bytes(cx, &r, COLFILE_HEAD - 40, &rest));
    if (reader_left(&r) < f.n_cols * COLFILE_ENTRY)
        return FAIL(cx, FORMAT, "byte %d: %zu bytes left for %zu columns", COLFILE_HEAD, reader_left(&r),
                    f.n_cols);
    if (head_crc(file.p, colfile_head_bytes(&f)) != want)
        return FAIL(cx, FORMAT, "byte %d: the head's checksum does not hold", CRC_AT);
    if (!(f.cols = NEW(cx, struct colfile_col, f.n_cols))) return FAIL(cx, NOMEM, "%zu columns", f.n_cols);
    for (size_t i = 0; i < f.n_cols; i++)
        TRY(read_entry(cx, &r, &f, i));
    for (size_t i = 0; i < f.n_cols; i++)
        if (f.cols[i].type == COL_STR) TRY(check_offsets(cx, file, &f, i));
    *out = f;
    *crc = want;
    return OK;
}

status rowsfile_write(struct ctx *cx, const char *path, const uint32_t *rows, size_t n)
{
    CLEANUP(buf_free) struct buf b = {0};
    static const uint8_t zero[64] = {0};
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", path);
    buf_put(&b, rows_magic, 8);
    buf_u32(&b, COLFILE_VERSION);
    buf_u32(&b, crc32c(0, rows, n * sizeof *rows));
    buf_u64(&b, n);
    buf_put(&b, zero, ROWS_HEAD - b.n);
    TRY(buf_ok(cx, &b));
    TRY_IN(cx, fd_write_all(cx, fd, b.p, b.n), "write %s", path);
    TRY_IN(cx, fd_write_all(cx, fd, rows, n * sizeof *rows), "write %s", path);
    if (fdatasync(fd) < 0) return FAIL(cx, IO, "sync %s: %m", path);
    return OK;
}

status rowsfile_read(struct ctx *cx, struct bytes file, uint64_t n_physical, const uint32_t **rows, size_t *n)
{
    struct reader r = reader_of(file.p, file.n);
    uint32_t want;
    uint64_t count;
    const uint8_t *rest;
    TRY(read_magic(cx, &r, rows_magic, &want));
    TRY(reader_u64(cx, &r, &count));
    TRY(reader_bytes(cx, &r, ROWS_HEAD - 24, &rest));
    if (count > TABLE_MAX_ROWS || reader_left(&r) != count * sizeof(uint32_t))
        return FAIL(cx, FORMAT, "byte 16: %ju rows in %zu bytes", (uintmax_t)count, reader_left(&r));
    if (crc32c(0, r.p, reader_left(&r)) != want)
        return FAIL(cx, FORMAT, "byte %d: the checksum does not hold", CRC_AT);
    const uint32_t *p = (const uint32_t *)(const void *)r.p;
    uint32_t most = 0;
    for (uint64_t i = 0; i < count; i++)
        most = p[i] > most ? p[i] : most;
    if (count && most >= n_physical)
        return FAIL(cx, FORMAT, "byte %d: row %u of a table of %ju", ROWS_HEAD, most, (uintmax_t)n_physical);
    *rows = p;
    *n = (size_t)count;
    return OK;
}

status fd_pwrite_all(struct ctx *cx, int fd, const void *p, size_t n, uint64_t off)
{
    const uint8_t *s = (const uint8_t *)p;
    while (n) {
        ssize_t k = pwrite(fd, s, n, (off_t)off);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "write %zu bytes at %ju: %m", n, (uintmax_t)off);
        s += k, n -= (size_t)k, off += (uint64_t)k;
    }
    return OK;
}
