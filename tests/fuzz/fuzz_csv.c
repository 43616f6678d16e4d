/* CSV to a table and back. The first bytes choose the options and the size of the parts; the rest is the file. Laws: what
 * is refused leaves nothing behind; what is taken in is the same for any parts, and comes back the same through export;
 * a table that opens can be read. */
#include "base/arena.h"
#include "base/file.h"
#include "table/csv_parts.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], in[80], out[80], a[80], b[80], c[80];

static void remove_all(void)
{
    struct ctx cx = {.mem = arena_new(0)};
    (void)dir_remove(&cx, dir).code;
    arena_free(cx.mem);
}

static void start(void)
{
    const char *fast = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(dir, sizeof dir, "%s/norn-fuzz-csv-XXXXXX", fast);
    if (!mkdtemp(dir)) abort();
    snprintf(in, sizeof in, "%s/in.csv", dir);
    snprintf(out, sizeof out, "%s/out.csv", dir);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    snprintf(c, sizeof c, "%s/c", dir);
    atexit(remove_all);
}

/* The column files of two tables are the same bytes. */
static void must_equal(struct ctx *cx, const char *x, const char *y)
{
    struct bytes p, q;
    const char *m = arena_printf(cx->mem, "%s/data.col", x), *n = arena_printf(cx->mem, "%s/data.col", y);
    if (file_read(cx, m, 1 << 28, &p).code || file_read(cx, n, 1 << 28, &q).code) abort();
    if (p.n != q.n || memcmp(p.p, q.p, p.n) != 0) abort();
}

static void read_cells(const struct table *t)
{
    char buf[64];
    uint8_t sum = 0;
    volatile uint8_t seen; /* so that the reads are not optimised away */
    for (size_t i = 0; i < t->n_rows && i < 100; i++)
        for (size_t k = 0; k < t->n_cols && k < 100; k++) {
            struct bytes cell = table_cell(t, &t->cols[k], i, buf, sizeof buf);
            for (size_t j = 0; j < cell.n; j++)
                sum ^= cell.p[j];
        }
    seen = sum;
    (void)seen;
}

static void taken_in(struct ctx *cx, const struct csv_options *opt, uint64_t part)
{
    const struct table *t;
    struct csv_result r;
    struct csv_options again = {
        .duplicates = CSV_DUP_KEEP, .missing = opt->missing, .n_missing = opt->n_missing};
    if (csv_import_parts(cx, in, b, opt, part, NULL, NULL, &r).code) abort();
    must_equal(cx, a, b);
    if (table_open(cx, a, &t).code) abort();
    read_cells(t);
    if (csv_export(cx, t, out).code || csv_import(cx, out, c, &again, NULL, NULL, &r).code) abort();
    must_equal(cx, a, c);
    if (dir_remove(cx, a).code || dir_remove(cx, b).code || dir_remove(cx, c).code) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char delimiters[] = {',', ';', '\t', '|'};
    struct csv_result r;
    if (!dir[0]) start();
    if (size < 2) return 0;
    struct ctx cx = {.mem = arena_new(0)};
    struct csv_options opt = {.delimiter = delimiters[data[0] & 3], .no_header = data[0] >> 2 & 1};
    opt.duplicates = (data[0] >> 3 & 3) % 3;
    int fd = open(in, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data + 2, size - 2) != (ssize_t)(size - 2)) abort();
    close(fd);
    if (csv_import(&cx, in, a, &opt, NULL, NULL, &r).code == ERR_OK)
        taken_in(&cx, &opt, 1 + data[1]);
    else if (csv_import_parts(&cx, in, b, &opt, 1 + data[1], NULL, NULL, &r).code == ERR_OK)
        abort(); /* refused as one part, taken in as several */
    const char **names;
    size_t n;
    if (dir_list(&cx, dir, &names, &n).code || n > 2) abort();
    arena_free(cx.mem);
    return 0;
}
