/* What is known of a CSV file before its rows are read: columns, id, label, declared types. */
#include "table/csv_rows.h"
#include "base/arena.h"
#include "base/file.h"
#include "table/colfile.h"
#include "table/utf8.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const default_missing[] = {"NA", "NaN", "nan", "null", "None", "?"};

static status check_kind(struct ctx *cx, const char *path, int fd, uint64_t *size)
{
    struct stat st;
    if (fstat(fd, &st) < 0) return FAIL(cx, IO, "stat %s: %m", path);
    if (S_ISDIR(st.st_mode)) return FAIL(cx, ARG, "%s is a folder, want a CSV file", path);
    if (!S_ISREG(st.st_mode))
        return FAIL(cx, ARG, "%s is no regular file; save the stream to a file first", path);
    if (st.st_size == 0) return FAIL(cx, FORMAT, "%s is empty", path);
    *size = (uint64_t)st.st_size;
    return OK;
}

/* The first line, in b: cells by marks. Grows until the line is whole. */
static status read_first_line(struct ctx *cx, struct csv_file *f, struct buf *b, struct buf *ends,
                              struct csv_marks *m)
{
    const size_t cap = TABLE_MAX_COLS + 2;
    if (!buf_grow(ends, (cap + 2 * CSV_PAD) * sizeof(uint32_t))) return buf_ok(cx, ends);
    *m = (struct csv_marks){.pos = (uint32_t *)(void *)ends->p, .cap = cap};
    for (size_t want = 64 << 10; want <= CSV_MAX_HEADER; want *= 2) {
        size_t n = f->size - f->body < want ? (size_t)(f->size - f->body) : want;
        buf_reset(b);
        if (!buf_grow(b, n + 1 + CSV_PAD)) return buf_ok(cx, b);
        ssize_t k = pread(f->fd, b->p, n, (off_t)f->body);
        if (k < 0) return FAIL(cx, IO, "read %s: %m", f->name);
        if ((size_t)k < n) return FAIL(cx, IO, "%s became shorter while it was read", f->name);
        bool all = f->body + n == f->size;
        if (all) b->p[n++] = '\n';
        memset(b->p + n, 0, CSV_PAD);
        csv_scan(b->p, n, f->delimiter, m);
        if (m->n_newlines) return OK;
        if (m->n > TABLE_MAX_COLS + 1)
            return FAIL(cx, LIMIT, "%s: the first line has more than %u columns", f->name,
                        TABLE_MAX_COLS + 1);
        if (all) return FAIL(cx, FORMAT, "%s: the first line: a quote opens and never closes", f->name);
    }
    return FAIL(cx, LIMIT, "%s: the first line is longer than %d MiB", f->name, CSV_MAX_HEADER >> 20);
}

/* BOM, and what people upload by mistake. */
static status check_start(struct ctx *cx, struct csv_file *f)
{
    uint8_t s[6] = {0}, end[4] = {0};
    if (pread(f->fd, s, sizeof s, 0) < 0 ||
        (f->size >= 8 && pread(f->fd, end, sizeof end, (off_t)f->size - 4) < 0))
        return FAIL(cx, IO, "read %s: %m", f->name);
    if ((s[0] == 0xff && s[1] == 0xfe) || (s[0] == 0xfe && s[1] == 0xff))
        return FAIL(cx, FORMAT, "%s is UTF-16, want UTF-8: convert it first (iconv -f UTF-16 -t UTF-8)",
                    f->name);
    if (s[0] == 0x1f && s[1] == 0x8b)
        return FAIL(cx, FORMAT, "%s is compressed by gzip: unpack it first", f->name);
    if (s[0] == 'P' && s[1] == 'K' && s[2] == 3 && s[3] == 4 && s[5] == 0)
        return FAIL(cx, FORMAT, "%s is a zip or a spreadsheet: save it as CSV first", f->name);
    if (memcmp(s, "PAR1", 4) == 0 && memcmp(end, "PAR1", 4) == 0)
        return FAIL(cx, FORMAT, "%s is Parquet: save it as CSV first", f->name);
    f->body = s[0] == 0xef && s[1] == 0xbb && s[2] == 0xbf ? 3 : 0;
    if (f->body == f->size) return FAIL(cx, FORMAT, "%s is empty", f->name);
    return OK;
}

static struct csv_cell trimmed(struct csv_cell c)
{
    while (c.n && (c.p[0] == ' ' || c.p[0] == '\t'))
        c.p++, c.n--;
    while (c.n && (c.p[c.n - 1] == ' ' || c.p[c.n - 1] == '\t'))
        c.n--;
    return c;
}

static status name_column(struct ctx *cx, struct csv_file *f, size_t i, struct csv_cell raw)
{
    bool doubled;
    size_t at = 0;
    struct csv_cell c = trimmed(csv_unquote(raw, &doubled));
    if (c.n == 0) return FAIL(cx, FORMAT, "%s: column %zu has no name in the header", f->name, i + 1);
    if (c.n > TABLE_MAX_NAME)
        return FAIL(cx, LIMIT, "%s: the name of column %zu has %zu bytes, at most %u", f->name, i + 1, c.n,
                    TABLE_MAX_NAME);
    size_t good = utf8_prefix(c.p, c.n);
    if (good < c.n)
        return FAIL(cx, FORMAT, "%s: the name of column %zu %s", f->name, i + 1,
                    c.p[good] ? "is not UTF-8; convert the file first"
                              : "holds a NUL byte; is this a text file?");
    char *name = NEW(cx, char, c.n + 1);
    if (!name) return FAIL(cx, NOMEM, "%zu columns", f->n_cols);
    csv_copy(c, doubled, &at, name, c.n);
    f->names[i] = name;
    return OK;
}

static status number_columns(struct ctx *cx, struct csv_file *f)
{
    for (size_t i = 0; i < f->n_cols; i++)
        if (!(f->names[i] = i ? arena_printf(cx->mem, "x%zu", i - 1) : "id"))
            return FAIL(cx, NOMEM, "column names");
    return OK;
}

/* Names of the columns; body moves behind the header. */
static status read_header(struct ctx *cx, struct csv_file *f, bool no_header)
{
    CLEANUP(buf_free) struct buf b = {0}, ends = {0};
    struct csv_marks m;
    TRY(read_first_line(cx, f, &b, &ends, &m));
    size_t last = 0, first = 0;
    while (b.p[m.pos[last]] != '\n')
        last++;
    while (last == 0 &&
           (m.pos[0] == first || (m.pos[0] == first + 1 && b.p[first] == '\r'))) { /* blank lines */
        f->body += m.pos[0] + 1;
        if (f->body >= f->size) return FAIL(cx, FORMAT, "%s holds blank lines only", f->name);
        buf_reset(&ends);
        TRY(read_first_line(cx, f, &b, &ends, &m));
        while (b.p[m.pos[last]] != '\n')
            last++;
    }
    if (m.bad_quote < m.pos[last])
        return FAIL(cx, FORMAT, "%s: the header: text after a closing quote", f->name);
    f->n_cols = last + 1;
    if (f->n_cols > TABLE_MAX_COLS + 1)
        return FAIL(cx, LIMIT, "%s: more than %u columns", f->name, TABLE_MAX_COLS + 1);
    f->names = NEW(cx, const char *, f->n_cols);
    f->cols = NEW(cx, struct csv_column, f->n_cols);
    if (!f->names || !f->cols) return FAIL(cx, NOMEM, "%zu columns", f->n_cols);
    if (no_header) return number_columns(cx, f);
    for (size_t i = 0; i < f->n_cols; i++) {
        size_t begin = i ? m.pos[i - 1] + 1 : first, end = m.pos[i];
        if (i == last && end > begin && b.p[end - 1] == '\r') end--;
        TRY(name_column(cx, f, i, (struct csv_cell){(const char *)b.p + begin, end - begin}));
    }
    f->body += m.pos[last] + 1;
    if (f->body >= f->size) return FAIL(cx, FORMAT, "%s has a header and no rows", f->name);
    return OK;
}

static bool find_column(const struct csv_file *f, const char *name, size_t n, size_t *out)
{
    for (size_t i = 0; i < f->n_cols; i++)
        if (strlen(f->names[i]) == n && memcmp(f->names[i], name, n) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* "columns: a, b, c, ..." and, with one column, what is probably wrong. */
static status fail_absent(struct ctx *cx, const struct csv_file *f, const char *role, const char *name,
                          size_t n)
{
    char list[200] = "";
    size_t at = 0;
    for (size_t i = 0; i < f->n_cols && at < sizeof list - 4; i++) {
        int k = snprintf(list + at, sizeof list - at, "%s%.60s", i ? ", " : "", f->names[i]);
        if (k < 0 || (size_t)k >= sizeof list - at) {
            snprintf(list + utf8_cut(list, at), sizeof list - at, "...");
            break;
        }
        at += (size_t)k;
    }
    return FAIL(cx, ARG, "%s: no column '%.*s' to be the %s; columns: %s%s", f->name, n > 80 ? 80 : (int)n,
                name, role, list, f->n_cols == 1 ? " (is the delimiter right?)" : "");
}

static status choose_columns(struct ctx *cx, struct csv_file *f, const struct csv_options *opt)
{
    size_t label = 0;
    if (opt->id && !find_column(f, opt->id, strlen(opt->id), &f->id_col))
        return fail_absent(cx, f, "id", opt->id, strlen(opt->id));
    bool found = find_column(f, opt->label ? opt->label : "y", strlen(opt->label ? opt->label : "y"), &label);
    if (opt->label && !found) return fail_absent(cx, f, "label", opt->label, strlen(opt->label));
    if (opt->label && label == f->id_col)
        return FAIL(cx, ARG, "column '%.80s' is the id and cannot be the label", opt->label);
    if (found && label != f->id_col) f->cols[label].kind = KIND_LABEL;
    return OK;
}

static status declare_type(struct ctx *cx, struct csv_file *f, const char *text)
{
    static const struct {
        const char *name;
        enum col_type type;
    } types[] = {{"f64", COL_F64}, {"i64", COL_I64}, {"str", COL_STR}};
    const char *colon = strrchr(text, ':');
    size_t col, n = colon ? (size_t)(colon - text) : 0;
    if (!n) return FAIL(cx, ARG, "type '%.80s': want COLUMN:f64, COLUMN:i64 or COLUMN:str", text);
    if (!find_column(f, text, n, &col)) return fail_absent(cx, f, "one with a declared type", text, n);
    if (col == f->id_col) return FAIL(cx, ARG, "type '%.80s': the id column is text always", text);
    for (size_t i = 0; i < LEN(types); i++)
        if (strcmp(colon + 1, types[i].name) == 0) {
            if (f->cols[col].declared && f->cols[col].type != types[i].type)
                return FAIL(cx, ARG, "type '%.80s': declared twice", text);
            f->cols[col].declared = true;
            f->cols[col].type = types[i].type;
            return OK;
        }
    return FAIL(cx, ARG, "type '%.80s': no type '%.20s'; f64, i64 or str", text, colon + 1);
}

static status check_names(struct ctx *cx, const struct csv_file *f)
{
    struct column_spec *specs = NEW(cx, struct column_spec, f->n_cols);
    if (!specs) return FAIL(cx, NOMEM, "%zu columns", f->n_cols);
    for (size_t i = 0, k = 0; i < f->n_cols; i++)
        if (i != f->id_col) specs[k++] = (struct column_spec){.name = f->names[i]};
    status st = schema_check(cx, f->names[f->id_col], specs, f->n_cols - 1);
    if (st.code == ERR_ARG) st.code = cx->err.code = ERR_FORMAT; /* the file's fault */
    if (st.code) err_prefix(cx, "%s: the header", f->name);
    return st;
}

status csv_file_open(struct ctx *cx, const char *path, const struct csv_options *opt, struct csv_file *out)
{
    struct csv_file f = {.name = path, .fd = -1, .delimiter = opt->delimiter ? (uint8_t)opt->delimiter : ','};
    if (f.delimiter < 0x80 && (strchr("\"\r\n.-+0123456789", f.delimiter) || (f.delimiter | 32) == 'e'))
        return FAIL(cx, ARG, "delimiter '%c': it occurs in numbers, quotes or line ends", f.delimiter);
    if (f.delimiter >= 0x80) return FAIL(cx, ARG, "delimiter 0x%02x: want one ASCII character", f.delimiter);
    f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f.fd < 0)
        return errno == ENOENT ? FAIL(cx, NOTFOUND, "no file %s", path) : FAIL(cx, IO, "open %s: %m", path);
    *out = f; /* fd is the caller's from here on */
    TRY(check_kind(cx, path, f.fd, &f.size));
    TRY(check_start(cx, &f));
    TRY(read_header(cx, &f, opt->no_header));
    TRY(choose_columns(cx, &f, opt));
    TRY(check_names(cx, &f));
    for (size_t i = 0; i < opt->n_types; i++)
        TRY(declare_type(cx, &f, opt->types[i]));
    f.missing = opt->missing ? opt->missing : default_missing;
    f.n_missing = opt->missing ? opt->n_missing : LEN(default_missing);
    for (size_t i = 0; i < f.n_missing; i++)
        f.missing_start[(uint8_t)f.missing[i][0]] = true;
    *out = f;
    return OK;
}
