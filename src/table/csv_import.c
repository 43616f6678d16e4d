#include "table/csv_parts.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/pool.h"
#include "table/ids.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART_LEAST = 1 << 20, PART_MOST = 16 << 20, STATS_MOST = 1 << 21 };

void csv_progress(struct csv_import *im, uint64_t more)
{
    uint64_t done = atomic_fetch_add_explicit(&im->bytes_done, more, memory_order_relaxed) + more;
    if (!im->progress || atomic_flag_test_and_set_explicit(&im->reporting, memory_order_acquire)) return;
    done /= 2; /* two passes */
    im->progress(im->progress_arg, done < im->bytes_all ? done : im->bytes_all, im->bytes_all);
    atomic_flag_clear_explicit(&im->reporting, memory_order_release);
}

status csv_works_new(struct ctx *cx, struct csv_import *im)
{
    im->n_works = pool_threads(cx->pool) + 1;
    im->works = NEW(cx, struct csv_work, im->n_works);
    if (!im->works) return FAIL(cx, NOMEM, "buffers of %u threads", im->n_works);
    for (unsigned i = 0; i < im->n_works; i++)
        atomic_flag_clear(&im->works[i].busy);
    return OK;
}

struct csv_work *csv_work_take(struct csv_import *im)
{
    for (unsigned i = 0;; i = (i + 1) % im->n_works) /* one more than threads: one is free */
        if (!atomic_flag_test_and_set_explicit(&im->works[i].busy, memory_order_acquire))
            return &im->works[i];
}

void csv_work_give(struct csv_work *w)
{
    atomic_flag_clear_explicit(&w->busy, memory_order_release);
}

void csv_works_free(struct csv_import *im)
{
    for (unsigned i = 0; im->works && i < im->n_works; i++) {
        csv_reader_free(&im->works[i].reader);
        buf_free(&im->works[i].chosen);
        buf_free(&im->works[i].stage);
        buf_free(&im->works[i].sinks);
    }
}

status csv_choose(struct ctx *cx, const struct csv_import *im, struct csv_work *w, uint64_t file_row,
                  size_t n_rows, const uint32_t **chosen, size_t *n)
{
    *chosen = NULL;
    *n = n_rows;
    if (!im->drop) return OK;
    buf_reset(&w->chosen);
    uint32_t *rows = (uint32_t *)(void *)buf_grow(&w->chosen, (n_rows + 1) * sizeof *rows);
    TRY(buf_ok(cx, &w->chosen));
    *n = 0;
    for (size_t r = 0; r < n_rows; r++)
        if (!csv_dropped(im, file_row + r)) rows[(*n)++] = (uint32_t)r;
    *chosen = rows;
    return OK;
}

static status make_parts(struct ctx *cx, struct csv_import *im)
{
    uint64_t bytes = im->file.size - im->file.body, part = bytes / 64;
    part = part < PART_LEAST ? PART_LEAST : part > PART_MOST ? PART_MOST : part;
    if (im->part_bytes) part = im->part_bytes;
    uint64_t most =
        STATS_MOST / im->file.n_cols; /* parts times columns: bounded memory for wide and for long files */
    if (bytes / part >= most) part = bytes / most + 1;
    size_t n_cols = im->file.n_cols;
    im->n_parts = (size_t)(bytes / part + (bytes % part != 0));
    im->parts = NEW(cx, struct csv_part, im->n_parts);
    im->stats = NEW(cx, struct csv_stat, im->n_parts * n_cols);
    im->text_at = NEW(cx, uint64_t, (im->n_parts + 1) * n_cols);
    im->layout.cols = NEW(cx, struct colfile_col, n_cols);
    if (!im->parts || !im->stats || !im->text_at || !im->layout.cols)
        return FAIL(cx, NOMEM, "%zu columns in %zu parts", n_cols, im->n_parts);
    for (size_t k = 0; k < im->n_parts; k++) {
        im->parts[k].lo = im->file.body + k * part;
        im->parts[k].hi = k + 1 < im->n_parts ? im->parts[k].lo + part : im->file.size;
    }
    im->parts[0].start = im->file.body;
    im->parts[0].known = true;
    return OK;
}

/* Reserves the file's bytes, so that a full disk is said before the work. */
static status reserve(struct ctx *cx, struct csv_import *im)
{
    off_t n = (off_t)im->layout.file_bytes;
    if (ftruncate(im->out, 0) < 0 || ftruncate(im->out, n) < 0)
        return FAIL(cx, IO, "a column file of %ju bytes: %m", (uintmax_t)n);
    if (fallocate(im->out, 0, 0, n) < 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
        return FAIL(cx, IO, "a column file of %ju bytes: %m", (uintmax_t)n);
    return OK;
}

static status both_passes(struct ctx *cx, struct csv_import *im)
{
    TRY(csv_measure(cx, im));
    TRY(reserve(cx, im));
    return csv_convert(cx, im);
}

static status find_repeats(struct ctx *cx, struct csv_import *im, const char *folder, struct ids_repeats *out,
                           const uint64_t **bitmap)
{
    const struct colfile_col *id = &im->layout.cols[0];
    size_t n = (size_t)im->layout.file_bytes;
    uint8_t *p = mmap(NULL, n, PROT_READ, MAP_SHARED, im->out, 0);
    if (p == MAP_FAILED) return FAIL(cx, NOMEM, "map a column file of %zu bytes: %m", n);
    status st = ids_find_repeats(cx, folder, (const uint64_t *)(const void *)(p + id->data_off),
                                 (const char *)p + id->text_off, im->layout.n_rows, out, bitmap);
    munmap(p, n);
    return st;
}

/* Once more from the start, without the rows of the bitmap. */
static status drop_repeats(struct ctx *cx, struct csv_import *im, const uint64_t *bitmap)
{
    im->drop = bitmap;
    im->n_drop = im->layout.n_rows;
    memset(im->text_at, 0, im->file.n_cols * sizeof *im->text_at);
    for (size_t k = 0; k < im->n_parts; k++)
        im->parts[k].known = true, im->parts[k].done = false;
    return both_passes(cx, im);
}

static status handle_repeats(struct ctx *cx, struct csv_import *im, const char *folder,
                             const struct csv_options *opt, struct csv_result *r)
{
    struct ids_repeats rep;
    const uint64_t *bitmap = NULL;
    TRY(find_repeats(cx, im, folder, &rep, opt->duplicates == CSV_DUP_FIRST ? &bitmap : NULL));
    r->n_duplicates = rep.n;
    if (rep.n == 0 || opt->duplicates == CSV_DUP_KEEP) return OK;
    if (opt->duplicates == CSV_DUP_REFUSE)
        return FAIL(cx, EXISTS, "%s: row %ju has the id of row %ju; %ju row%s an id that came before",
                    im->file.name, (uintmax_t)rep.row + 1, (uintmax_t)rep.earlier + 1, (uintmax_t)rep.n,
                    rep.n == 1 ? " has" : "s have");
    return drop_repeats(cx, im, bitmap);
}

/* Whoever wrote to the file meanwhile: better no table than one of two halves. */
static status check_unchanged(struct ctx *cx, const struct csv_file *f, const struct stat *before)
{
    struct stat now;
    if (fstat(f->fd, &now) < 0) return FAIL(cx, IO, "stat %s: %m", f->name);
    if (now.st_size != before->st_size || now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != before->st_mtim.tv_nsec)
        return FAIL(cx, IO, "%s changed while it was read", f->name);
    return OK;
}

static status write_schema(struct ctx *cx, struct csv_import *im, const char *part)
{
    const struct csv_file *f = &im->file;
    struct schema s = {.n_rows = im->layout.n_rows,
                       .n_physical = im->layout.n_rows,
                       .id_name = f->names[f->id_col],
                       .n_cols = f->n_cols - 1,
                       .data_bytes = im->layout.file_bytes};
    struct column_spec *cols = NEW(cx, struct column_spec, f->n_cols);
    const uint8_t *head;
    if (!cols) return FAIL(cx, NOMEM, "%zu columns", f->n_cols);
    for (size_t c = 0; c < f->n_cols; c++) {
        size_t k = csv_target(f, c);
        if (k)
            cols[k - 1] = (struct column_spec){f->names[c], NULL, im->layout.cols[k].type, f->cols[c].kind};
    }
    s.cols = cols;
    TRY(colfile_head(cx, &im->layout, &head, &s.data_crc));
    TRY(fd_pwrite_all(cx, im->out, head, colfile_head_bytes(&im->layout), 0));
    if (fdatasync(im->out) < 0) return FAIL(cx, IO, "sync the column file: %m");
    char delimiter[2] = {(char)f->delimiter, 0};
    CLEANUP(json_decrefp) json_t *meta = json_pack("{s:s}", "delimitor", delimiter); /* FATE's spelling */
    if (!meta) return FAIL(cx, NOMEM, "the schema");
    return schema_write(cx, part, &s, meta);
}

static status build(struct ctx *cx, struct csv_import *im, const char *part, const struct csv_options *opt,
                    struct csv_result *out)
{
    struct stat before;
    const char *path;
    if (fstat(im->file.fd, &before) < 0) return FAIL(cx, IO, "stat %s: %m", im->file.name);
    (void)posix_fadvise(im->file.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    TRY(path_join(cx, part, "data.col", &path));
    im->out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (im->out < 0) return FAIL(cx, IO, "create %s: %m", path);
    TRY(csv_works_new(cx, im));
    TRY(make_parts(cx, im));
    TRY(both_passes(cx, im));
    TRY(handle_repeats(cx, im, part, opt, out));
    TRY(check_unchanged(cx, &im->file, &before));
    TRY(write_schema(cx, im, part));
    out->n_rows = im->layout.n_rows;
    out->n_cols = im->file.n_cols - 1;
    out->bytes = im->file.size;
    for (size_t c = 1; c < im->layout.n_cols; c++)
        out->n_missing += im->layout.cols[c].n_missing;
    return OK;
}

static status import(struct ctx *cx, struct csv_import *im, const char *file, const char *path,
                     const struct csv_options *opt, struct csv_result *out)
{
    const char *part;
    struct csv_result r = {0};
    TRY(csv_file_open(cx, file, opt, &im->file));
    im->bytes_all = im->file.size;
    TRY(build_begin(cx, path, &part));
    status st = build(cx, im, part, opt, &r);
    if (!st.code) st = build_end(cx, part, path);
    if (st.code) build_undo(cx, part);
    if (!st.code) *out = r;
    return st;
}

status csv_import_parts(struct ctx *cx, const char *file, const char *path, const struct csv_options *opt,
                        uint64_t part_bytes,
                        void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_all), void *arg,
                        struct csv_result *out)
{
    static const struct csv_options none = {0};
    struct csv_import im = {.out = -1, .part_bytes = part_bytes, .progress = progress, .progress_arg = arg};
    struct arena_mark mark = arena_mark(cx->mem);
    im.file.fd = -1;
    atomic_flag_clear(&im.reporting);
    status st = import(cx, &im, file, path, opt ? opt : &none, out);
    csv_works_free(&im);
    fd_closep(&im.out);
    fd_closep(&im.file.fd);
    arena_rewind(cx->mem, mark);
    return st;
}

status csv_import(struct ctx *cx, const char *file, const char *path, const struct csv_options *opt,
                  void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_all), void *arg,
                  struct csv_result *out)
{
    return csv_import_parts(cx, file, path, opt, 0, progress, arg, out);
}
