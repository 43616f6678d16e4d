/* Column files: what was appended is what is read, for any block sizes; derived tables; files cut, altered, lying. */
#include "table/table.h"
#include "base/pool.h"
#include "scratch.h"
#include "table/colfile.h"
#include "table/hash.h"
#include <math.h>
#include <sys/stat.h>

static const struct column_spec specs[] = {
    {"amount", NULL, COL_F64, KIND_FEATURE},
    {"y", NULL, COL_I64, KIND_LABEL},
    {"city", "host_10000_x2", COL_STR, KIND_FEATURE},
    {"dense", NULL, COL_F64, KIND_WEIGHT},
};

/* Row i of the table, made from i alone. */
static double amount(size_t i)
{
    return i % 7 == 3 ? (double)NAN : (double)i * 0.1;
}
static size_t city(size_t i, char buf[32])
{
    return i % 11 == 5 ? SIZE_MAX : (size_t)snprintf(buf, 32, "%s%.0zu", i % 5 ? "city-" : "", i % 5 ? i : 0);
}

static void append(struct ctx *cx, struct table_writer *w, size_t from, size_t n)
{
    struct arena_mark mark = arena_mark(cx->mem);
    uint64_t *off = NEW(cx, uint64_t, n + 1);
    char *ids = NEW(cx, char, 24 * n + 1);
    double *a = NEW(cx, double, n + 1), *d = NEW(cx, double, n + 1);
    int64_t *y = NEW(cx, int64_t, n + 1);
    struct bytes *c = NEW(cx, struct bytes, n + 1);
    for (size_t i = 0; i < n; i++) {
        char *text = NEW(cx, char, 32);
        size_t len = city(from + i, text);
        off[i + 1] = off[i] + (size_t)snprintf(ids + off[i], 24, "id%zu", from + i);
        a[i] = amount(from + i), d[i] = 1, y[i] = -(int64_t)(from + i);
        if (len != SIZE_MAX) c[i] = (struct bytes){(const uint8_t *)text, len};
    }
    CHECK_OK(cx, table_writer_append(cx, w, n, off, ids, (const void *const[]){a, y, c, d}));
    arena_rewind(cx->mem, mark);
}

static bool is_missing(const struct column *c, size_t r)
{
    return c->null && (c->null[r / 64] >> r % 64 & 1);
}

static bool row_is(const struct table *t, size_t logical, size_t i)
{
    char buf[64], want[64];
    struct bytes id = table_id(t, logical);
    if (id.n != (size_t)snprintf(want, sizeof want, "id%zu", i) || memcmp(id.p, want, id.n) != 0)
        return false;
    size_t n = city(i, want);
    struct bytes c = table_cell(t, &t->cols[2], logical, buf, sizeof buf);
    if (c.n != (n == SIZE_MAX ? 0 : n) || memcmp(c.p, want, c.n) != 0) return false;
    size_t r = t->rows ? t->rows[logical] : logical;
    if (is_missing(&t->cols[2], r) != (n == SIZE_MAX)) return false;
    if (((const int64_t *)t->cols[1].data)[r] != -(int64_t)i) return false;
    double a = ((const double *)t->cols[0].data)[r];
    return isnan(amount(i)) ? isnan(a) && is_missing(&t->cols[0], r)
                            : a == amount(i) && !is_missing(&t->cols[0], r);
}

static const struct table *write_table(struct ctx *cx, const char *path, size_t n, struct shuffle *s,
                                       size_t block)
{
    CLEANUP(table_writer_freep) struct table_writer *w = NULL;
    const struct table *t = NULL;
    CHECK_OK(cx, table_writer_new(cx, path, "uid", specs, LEN(specs), &w));
    for (size_t i = 0; i < n;) {
        size_t k = 1 + shuffle_below(s, block);
        k = k < n - i ? k : n - i;
        append(cx, w, i, k);
        i += k;
    }
    CHECK(!file_exists(path));
    CLEANUP(json_decrefp) json_t *meta = json_pack("{s:s}", "who", "test");
    CHECK_OK(cx, table_writer_finish(cx, w, meta));
    CHECK_OK(cx, table_open(cx, path, &t));
    return t;
}

static void writes_and_reads(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed());
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 400000}; /* the last spills twice and more */
    const char *dir = scratch_dir(cx);
    for (size_t k = 0; k < LEN(sizes); k++) {
        const char *path = arena_printf(cx->mem, "%s/t%zu", dir, k);
        const struct table *t = write_table(cx, path, sizes[k], &s, sizes[k] > 1000 ? 30000 : 40);
        CHECK(t->n_rows == sizes[k] && t->n_physical == sizes[k] && !t->rows && t->n_cols == 4);
        for (size_t i = 0; i < sizes[k]; i++)
            CHECK(row_is(t, i, i));
        CHECK(strcmp(t->id_name, "uid") == 0 &&
              strcmp(js_at(t->meta, "who") ? json_string_value(js_at(t->meta, "who")) : "", "test") == 0);
        CHECK(table_label(t) == &t->cols[1] && table_column(t, "city") == &t->cols[2] &&
              !table_column(t, "x"));
        CHECK(strcmp(t->cols[2].anonymous, "host_10000_x2") == 0 && !t->cols[0].anonymous);
        CHECK(t->cols[3].kind == KIND_WEIGHT && !t->cols[3].null && t->cols[3].n_missing == 0);
        CHECK(t->cols[0].n_missing == (sizes[k] + 3) / 7);
        for (size_t c = 0; c < 4; c++)
            CHECK((uintptr_t)t->cols[c].data % 64 == 0);
        CHECK(scratch_count(cx, path) == 2 && table_bytes(cx, path) > 64);
    }
}

static void abandoned(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *path = scratch_path(cx, dir, "t");
    struct table_writer *w = NULL;
    CHECK_OK(cx, table_writer_new(cx, path, "uid", specs, LEN(specs), &w));
    append(cx, w, 0, 100);
    table_writer_free(w);
    CHECK(scratch_count(cx, dir) == 0);
    CHECK_OK(cx, dir_make(cx, path, 0700));
    CHECK_ERR(table_writer_new(cx, path, "uid", specs, LEN(specs), &w), EXISTS);
    const struct table *t = NULL;
    CHECK_ERR(table_open(cx, path, &t), NOTFOUND); /* a folder without table.json is no table */
    CHECK_ERR(table_open(cx, scratch_path(cx, dir, "none"), &t), NOTFOUND);
    CHECK(!t);
    static const struct column_spec twice[] = {{"a", NULL, COL_F64, KIND_FEATURE},
                                               {"a", NULL, COL_F64, KIND_FEATURE}};
    static const struct column_spec noname[] = {{"", NULL, COL_F64, KIND_FEATURE}};
    CHECK_ERR(table_writer_new(cx, scratch_path(cx, dir, "u"), "uid", twice, 2, &w), ARG);
    CHECK_ERR(table_writer_new(cx, scratch_path(cx, dir, "u"), "a", twice, 1, &w), ARG);
    CHECK_ERR(table_writer_new(cx, scratch_path(cx, dir, "u"), "uid", noname, 1, &w), ARG);
    CHECK_ERR(table_writer_new(cx, scratch_path(cx, dir, "u"), "uid", twice, (size_t)TABLE_MAX_COLS + 1, &w),
              LIMIT);
}

static void derives(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 1);
    const char *dir = scratch_dir(cx);
    const struct table *t = write_table(cx, scratch_path(cx, dir, "t"), 1000, &s, 100), *d, *e;
    uint32_t rows[500], again[100];
    for (size_t i = 0; i < LEN(rows); i++)
        rows[i] = (uint32_t)shuffle_below(&s, 1000);
    for (size_t i = 0; i < LEN(again); i++)
        again[i] = (uint32_t)shuffle_below(&s, 500);
    CHECK_OK(cx, table_derive(cx, scratch_path(cx, dir, "d"), t, rows, LEN(rows), NULL, NULL));
    CHECK_OK(cx, table_open(cx, scratch_path(cx, dir, "d"), &d));
    CHECK(d->n_rows == 500 && d->n_physical == 1000 && js_at(d->meta, "who"));
    double x[500];
    CHECK_OK(cx, table_read_f64(cx, d, &d->cols[0], 0, 500, x));
    for (size_t i = 0; i < 500; i++) {
        CHECK(row_is(d, i, rows[i]));
        CHECK(isnan(amount(rows[i])) ? isnan(x[i]) : x[i] == amount(rows[i]));
    }
    CHECK_OK(cx, table_read_f64(cx, d, &d->cols[1], 100, 101, x));
    CHECK(x[0] == -(double)rows[100]);
    struct column_spec cols[4];
    memcpy(cols, specs, sizeof cols);
    cols[0].kind = KIND_PREDICTION, cols[0].anonymous = "anon";
    CHECK_OK(cx, table_derive(cx, scratch_path(cx, dir, "e"), d, again, LEN(again), cols, NULL));
    struct stat a, b;
    CHECK(stat(scratch_path(cx, dir, "t/data.col"), &a) == 0 &&
          stat(scratch_path(cx, dir, "e/data.col"), &b) == 0);
    CHECK(a.st_ino == b.st_ino);
    CHECK_OK(cx, dir_remove(cx, scratch_path(cx, dir, "t"))); /* children live on */
    CHECK_OK(cx, table_open(cx, scratch_path(cx, dir, "e"), &e));
    for (size_t i = 0; i < LEN(again); i++)
        CHECK(row_is(e, i, rows[again[i]]));
    CHECK(e->cols[0].kind == KIND_PREDICTION && strcmp(e->cols[0].anonymous, "anon") == 0);
    CHECK_OK(cx, table_derive(cx, scratch_path(cx, dir, "z"), d, NULL, 0, NULL, NULL));
    CHECK_OK(cx, table_open(cx, scratch_path(cx, dir, "z"), &e));
    CHECK(e->n_rows == 0 && e->n_physical == 1000);
    size_t before = scratch_count(cx, dir);
    CHECK_ERR(table_derive(cx, scratch_path(cx, dir, "f"), d, &(uint32_t){500}, 1, NULL, NULL), ARG);
    cols[1].type = COL_F64;
    CHECK_ERR(table_derive(cx, scratch_path(cx, dir, "f"), d, again, 1, cols, NULL), ARG);
    CHECK_ERR(table_derive(cx, scratch_path(cx, dir, "e"), d, again, 1, NULL, NULL), EXISTS);
    CHECK(scratch_count(cx, dir) == before);
}

static void rewrite(struct ctx *cx, const char *path, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    close(fd);
    (void)cx;
}

/* Opens, and reads every cell when that works. */
static enum err_code touch_all(struct ctx *cx, const char *path)
{
    struct ctx own = {.mem = arena_new(0)};
    const struct table *t;
    char buf[64];
    uint8_t sum = 0;
    volatile uint8_t seen; /* so that the reads are not optimised away */
    status st = table_open(&own, path, &t);
    for (size_t i = 0; !st.code && i < t->n_rows; i++)
        for (size_t c = 0; c <= t->n_cols; c++) {
            struct bytes b = c ? table_cell(t, &t->cols[c - 1], i, buf, sizeof buf) : table_id(t, i);
            for (size_t k = 0; k < b.n; k++)
                sum ^= b.p[k];
        }
    seen = sum;
    (void)seen;
    arena_free(own.mem);
    (void)cx;
    return st.code;
}

static void altered_files(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 2);
    const char *dir = scratch_dir(cx), *t = scratch_path(cx, dir, "t"), *d = scratch_path(cx, dir, "d");
    static const char *const files[] = {"d/data.col", "d/rows.idx", "d/table.json"};
    const struct table *tab = write_table(cx, t, 100, &s, 30);
    uint32_t rows[50];
    for (uint32_t i = 0; i < 50; i++)
        rows[i] = 2 * i;
    CHECK_OK(cx, table_derive(cx, d, tab, rows, 50, NULL, NULL));
    for (size_t f = 0; f < LEN(files); f++) {
        struct bytes whole;
        const char *path = scratch_path(cx, dir, files[f]);
        CHECK_OK(cx, file_read(cx, path, 1 << 20, &whole));
        size_t head = f == 0 ? COLFILE_HEAD + 5 * COLFILE_ENTRY : f == 1 ? whole.n : 0;
        uint8_t *copy = NEW(cx, uint8_t, whole.n);
        for (int round = 0; round < 600; round++) {
            memcpy(copy, whole.p, whole.n);
            size_t at = shuffle_below(&s, round % 2 && head ? head : whole.n);
            copy[at] ^= (uint8_t)(1 + shuffle_below(&s, 255));
            rewrite(cx, path, copy, whole.n);
            enum err_code code = touch_all(cx, d);
            CHECK(code == ERR_OK || code == ERR_FORMAT || code == ERR_NOTFOUND || code == ERR_LIMIT);
            if (at < head && f == 0) CHECK(code == ERR_FORMAT);
            if (f == 1 && at >= ROWS_HEAD) CHECK(code == ERR_FORMAT);
        }
        for (int round = 0; round < 100; round++) {
            rewrite(cx, path, whole.p, shuffle_below(&s, whole.n));
            enum err_code code = touch_all(cx, d);
            CHECK(code == ERR_FORMAT || code == ERR_NOTFOUND);
        }
        rewrite(cx, path, whole.p, whole.n);
        CHECK(touch_all(cx, d) == ERR_OK);
    }
}

/* A head whose checksum holds and whose fields lie. */
static void lying_heads(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 3);
    const char *dir = scratch_dir(cx);
    write_table(cx, scratch_path(cx, dir, "t"), 100, &s, 30);
    struct bytes whole;
    CHECK_OK(cx, file_read(cx, scratch_path(cx, dir, "t/data.col"), 1 << 20, &whole));
    size_t head = COLFILE_HEAD + 5 * COLFILE_ENTRY, taken = 0;
    uint8_t *copy = NEW(cx, uint8_t, whole.n);
    static const uint8_t zero[4] = {0};
    for (int round = 0; round < 3000; round++) {
        struct arena_mark mark = arena_mark(cx->mem);
        memcpy(copy, whole.p, whole.n);
        size_t at = 16 + 8 * shuffle_below(&s, (head - 16) / 8);
        uint64_t x =
            shuffle_below(&s, 2) ? shuffle_u64(&s) >> shuffle_below(&s, 64) : 64 * shuffle_below(&s, 200);
        memcpy(copy + at, &x, 8);
        memcpy(copy + 12, zero, 4);
        uint32_t crc = crc32c(0, copy, head);
        memcpy(copy + 12, &crc, 4);
        struct colfile f;
        status st = colfile_read(cx, (struct bytes){copy, whole.n}, &f, &crc);
        CHECK(!st.code || st.code == ERR_FORMAT);
        for (size_t c = 0; !st.code && c < f.n_cols; c++) { /* what was taken in lies inside */
            const struct colfile_col *col = &f.cols[c];
            uint64_t n = (f.n_rows + (col->type == COL_STR)) * 8;
            CHECK(col->data_off % 64 == 0 && col->data_off <= whole.n && n <= whole.n - col->data_off);
            if (col->type == COL_STR)
                CHECK(col->text_off <= whole.n && col->text_bytes <= whole.n - col->text_off);
            if (col->null_off)
                CHECK(col->null_off <= whole.n && (f.n_rows + 63) / 64 * 8 <= whole.n - col->null_off);
        }
        taken += !st.code;
        arena_rewind(cx->mem, mark);
    }
    CHECK(taken < 3000);
}

/* Offsets beyond 4 GB: the layout of tables that no test can write. */
static void large_layouts(struct ctx *cx)
{
    struct colfile f = {.n_rows = TABLE_MAX_ROWS, .n_cols = 3, .cols = NEW(cx, struct colfile_col, 3)};
    f.cols[0] = (struct colfile_col){.type = COL_STR, .text_bytes = (uint64_t)16 * TABLE_MAX_ROWS};
    f.cols[1] = (struct colfile_col){.type = COL_F64, .n_missing = 1};
    f.cols[2] = (struct colfile_col){.type = COL_STR, .text_bytes = 3};
    CHECK_OK(cx, colfile_layout(cx, &f));
    uint64_t rows = TABLE_MAX_ROWS;
    CHECK(f.cols[0].data_off == 256 && f.cols[0].text_off >= 256 + 8 * (rows + 1));
    CHECK(f.cols[1].data_off >= f.cols[0].text_off + 16 * rows &&
          f.cols[1].null_off >= f.cols[1].data_off + 8 * rows);
    CHECK(f.cols[2].data_off >= f.cols[1].null_off + rows / 8 && f.file_bytes == f.cols[2].text_off + 3);
    f.n_rows++;
    CHECK_ERR(colfile_layout(cx, &f), LIMIT);
    f.n_rows--;
    f.cols[0].text_bytes = UINT64_MAX - 100;
    CHECK_ERR(colfile_layout(cx, &f), LIMIT);
}

static void parallel_check(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed() + 4);
    const char *dir = scratch_dir(cx), *path = scratch_path(cx, dir, "t");
    write_table(cx, path, 600000, &s, 60000);
    cx->pool = pool_new(3);
    const struct table *t;
    CHECK_OK(cx, table_open(cx, path, &t));
    struct bytes whole;
    const char *file = scratch_path(cx, dir, "t/data.col");
    CHECK_OK(cx, file_read(cx, file, 1 << 30, &whole));
    uint64_t off = 0;
    memcpy(&off, whole.p + COLFILE_HEAD + 8, 8);
    ((uint8_t *)(uintptr_t)whole.p)[off + 8 * 500000 + 7] ^= 0x40; /* one id offset of 600,001 */
    rewrite(cx, file, whole.p, whole.n);
    CHECK_ERR(table_open(cx, path, &t), FORMAT);
    CHECK(strstr(cx->err.msg, "column 0") && strstr(cx->err.msg, "falls"));
    pool_free(cx->pool);
    cx->pool = NULL;
}

TEST_MAIN(T(writes_and_reads), T(abandoned), T(derives), T(altered_files), T(lying_heads), T(large_layouts),
          T(parallel_check))
