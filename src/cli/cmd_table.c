/* cmd_table.c - norn table list | show | preview | export | delete | uploads. All work on the folder, site
 * running or not. */
#include "base/arena.h"
#include "cli/args.h"
#include "cli/data.h"
#include "cli/sub.h"
#include "table/csv.h"
#include <string.h>
#include <unistd.h>

enum { CELL_WIDTH = 20, LINE_WIDTH = 150 };

struct table_args {
    const char *site, *out;
    uint64_t rows;
    bool json;
    struct table_info info;
    const struct table *t;
};
#define SITE_OPTION                                                                                          \
    {                                                                                                        \
        "--site", ARG_TEXT, &a.site, "DIR", "the site's folder", true                                        \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "--json", ARG_FLAG, &a.json, NULL, "answer as JSON", false                                           \
    }

/* The store, and the named table open. */
static status open_table(struct ctx *cx, struct table_args *a, const char *name, struct store **s)
{
    const char *ns, *nm;
    TRY(data_name(cx, name, &ns, &nm));
    TRY(data_store(cx, a->site, s, NULL));
    TRY(store_find(cx, *s, ns, nm, &a->info));
    return table_open(cx, a->info.path, &a->t);
}

static json_t *info_json(const struct table_info *i)
{
    return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:s,s:b}", "namespace", i->name_space, "name", i->name, "rows",
                     (json_int_t)i->n_rows, "columns", (json_int_t)i->n_cols, "bytes", (json_int_t)i->bytes,
                     "created_ms", (json_int_t)i->created_ms, "origin", i->origin, "selects_rows",
                     (int)i->derived);
}

/* ---- list ---- */

static int list(struct ctx *cx, int argc, char **argv)
{
    struct table_args a = {0};
    const char **rest;
    struct store *s;
    struct table_info *all;
    size_t n;
    bool help;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"table list --site DIR",
                                  "The tables of the site's store, newest first.",
                                  "norn table list --site bank",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    CLEANUP(json_decrefp) json_t *j = json_array();
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, a.json);
    if (help) return 0;
    if (data_store(cx, a.site, &s, NULL).code || store_list(cx, s, &all, &n).code)
        return cmd_fail(cx, a.json);
    for (size_t i = 0; i < n; i++) {
        const struct table_info *t = &all[i];
        json_array_append_new(j, info_json(t));
        if (a.json) continue;
        printf("%-40s %13s rows %6ju columns %9s%s  %s  %s\n",
               arena_printf(cx->mem, "%s/%s", t->name_space, t->name), data_count(cx, t->n_rows),
               (uintmax_t)t->n_cols, sub_bytes(cx, (int64_t)t->bytes), t->derived ? " shared" : "",
               data_time(cx, t->created_ms), t->origin);
    }
    if (a.json) return cmd_print_json(cx, j);
    if (n == 0) printf("no tables yet; see norn upload --help\n");
    return 0;
}

/* ---- show ---- */

static json_t *columns_json(const struct table *t)
{
    json_t *j = json_array();
    for (size_t i = 0; i < t->n_cols; i++) {
        const struct column *c = &t->cols[i];
        json_array_append_new(j, json_pack("{s:s,s:s?,s:s,s:s,s:I}", "name", c->name, "anonymous",
                                           c->anonymous, "type", col_type_name(c->type), "kind",
                                           col_kind_name(c->kind), "missing", (json_int_t)c->n_missing));
    }
    return j;
}

static int show(struct ctx *cx, int argc, char **argv)
{
    struct table_args a = {0};
    const char **rest;
    struct store *s;
    size_t n;
    bool help;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"table show --site DIR NAMESPACE/NAME",
                                  "One table: where it is from, and its columns.",
                                  "norn table show --site bank bank/credit",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, a.json);
    if (help) return 0;
    if (open_table(cx, &a, rest[0], &s).code) return cmd_fail(cx, a.json);
    CLEANUP(json_decrefp) json_t *j = info_json(&a.info);
    json_object_set_new(j, "id", json_string(a.t->id_name));
    json_object_set_new(j, "schema", columns_json(a.t));
    json_object_set_new(j, "path", json_string(a.t->path));
    if (a.json) return cmd_print_json(cx, j);
    printf("%s/%s: %s rows, %zu columns, %s%s\nfrom %s, %s\n%s\n\n", a.info.name_space, a.info.name,
           data_count(cx, a.info.n_rows), a.t->n_cols, sub_bytes(cx, (int64_t)a.info.bytes),
           a.t->rows ? " (shared with its parent)" : "", a.info.origin, data_time(cx, a.info.created_ms),
           a.t->path);
    printf("  %-32s id\n", a.t->id_name);
    for (size_t i = 0; i < a.t->n_cols; i++) {
        const struct column *c = &a.t->cols[i];
        printf("  %-32s %s  %-10s", c->name, col_type_name(c->type), col_kind_name(c->kind));
        if (c->n_missing)
            printf(" %s missing%s", data_count(cx, c->n_missing), a.t->rows ? " in the parent" : "");
        printf("%s%s\n", c->anonymous ? "  " : "", c->anonymous ? c->anonymous : "");
    }
    return 0;
}

/* ---- preview ---- */

static json_t *cell_json(const struct table *t, const struct column *c, size_t i)
{
    size_t r = t->rows ? t->rows[i] : i;
    char buf[64];
    if (c->null && (c->null[r / 64] >> r % 64 & 1)) return json_null();
    if (c->type == COL_F64) return json_real(((const double *)c->data)[r]);
    if (c->type == COL_I64) return json_integer((json_int_t)((const int64_t *)c->data)[r]);
    struct bytes b = table_cell(t, c, i, buf, sizeof buf);
    return json_stringn((const char *)b.p, b.n);
}

static int preview_json(struct ctx *cx, const struct table *t, size_t n_rows)
{
    CLEANUP(json_decrefp) json_t *j = json_object();
    json_t *names = json_array(), *rows = json_array();
    json_array_append_new(names, json_string(t->id_name));
    for (size_t c = 0; c < t->n_cols; c++)
        json_array_append_new(names, json_string(t->cols[c].name));
    for (size_t i = 0; i < n_rows; i++) {
        json_t *row = json_array();
        struct bytes id = table_id(t, i);
        json_array_append_new(row, json_stringn((const char *)id.p, id.n));
        for (size_t c = 0; c < t->n_cols; c++)
            json_array_append_new(row, cell_json(t, &t->cols[c], i));
        json_array_append_new(rows, row);
    }
    json_object_set_new(j, "columns", names);
    json_object_set_new(j, "rows", rows);
    return cmd_print_json(cx, j);
}

/* Column 0 is the id. */
static struct bytes cell_text(const struct table *t, size_t col, size_t i, char *buf, size_t n)
{
    return col ? table_cell(t, &t->cols[col - 1], i, buf, n) : table_id(t, i);
}

static size_t column_width(const struct table *t, size_t col, const char *name, size_t n_rows)
{
    char buf[64];
    size_t w = data_width((struct bytes){(const uint8_t *)name, strlen(name)});
    for (size_t i = 0; i < n_rows; i++) {
        size_t k = data_width(cell_text(t, col, i, buf, sizeof buf));
        w = k > w ? k : w;
    }
    return w > CELL_WIDTH ? CELL_WIDTH : w;
}

static void preview_text(struct ctx *cx, const struct table *t, size_t n_rows)
{
    char buf[64];
    size_t *width = NEW(cx, size_t, t->n_cols + 1), n = 0, line = 0;
    if (!width) return;
    for (; n <= t->n_cols; n++) { /* as many columns as fit */
        width[n] = column_width(t, n, n ? t->cols[n - 1].name : t->id_name, n_rows);
        line += width[n] + 2;
        if (n && line > LINE_WIDTH) break;
    }
    for (size_t c = 0; c < n; c++) {
        const char *name = c ? t->cols[c - 1].name : t->id_name;
        data_print_cell(stdout, (struct bytes){(const uint8_t *)name, strlen(name)}, width[c],
                        c && t->cols[c - 1].type != COL_STR);
        fputs(c + 1 < n ? "  " : "\n", stdout);
    }
    for (size_t i = 0; i < n_rows; i++)
        for (size_t c = 0; c < n; c++) {
            data_print_cell(stdout, cell_text(t, c, i, buf, sizeof buf), width[c],
                            c && t->cols[c - 1].type != COL_STR);
            fputs(c + 1 < n ? "  " : "\n", stdout);
        }
    if (n <= t->n_cols) printf("(%zu columns more: --json has all)\n", t->n_cols + 1 - n);
    if (n_rows < t->n_rows) printf("(%s rows more)\n", data_count(cx, t->n_rows - n_rows));
}

static int preview(struct ctx *cx, int argc, char **argv)
{
    struct table_args a = {.rows = 10};
    const char **rest;
    struct store *s;
    size_t n;
    bool help;
    const struct arg args[] = {
        SITE_OPTION, {"--rows", ARG_COUNT, &a.rows, "N", "how many rows (10)", false}, JSON_OPTION};
    const struct arg_spec spec = {"table preview --site DIR NAMESPACE/NAME [--rows N]",
                                  "The first rows of a table.",
                                  "norn table preview --site bank bank/credit --rows 5",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, a.json);
    if (help) return 0;
    if (open_table(cx, &a, rest[0], &s).code) return cmd_fail(cx, a.json);
    size_t n_rows = a.rows < a.t->n_rows ? (size_t)a.rows : a.t->n_rows;
    if (a.json) return preview_json(cx, a.t, n_rows);
    preview_text(cx, a.t, n_rows);
    return 0;
}

/* ---- export, delete, uploads ---- */

static int export_csv(struct ctx *cx, int argc, char **argv)
{
    struct table_args a = {0};
    const char **rest;
    struct store *s;
    size_t n;
    bool help;
    const struct arg args[] = {
        SITE_OPTION, {"--out", ARG_TEXT, &a.out, "FILE", "the CSV file to write", true}, JSON_OPTION};
    const struct arg_spec spec = {
        "table export --site DIR NAMESPACE/NAME --out FILE",
        "Writes a table as CSV: header, ids first, numbers so that they read back the same.",
        "norn table export --site bank bank/credit --out credit.csv",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, a.json);
    if (help) return 0;
    if (open_table(cx, &a, rest[0], &s).code || csv_export(cx, a.t, a.out).code) return cmd_fail(cx, a.json);
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:s,s:I}", "file", a.out, "rows", (json_int_t)a.t->n_rows);
    if (a.json) return cmd_print_json(cx, j);
    printf("%s: %s rows\n", a.out, data_count(cx, a.t->n_rows));
    return 0;
}

static int delete_table(struct ctx *cx, int argc, char **argv)
{
    struct table_args a = {0};
    const char **rest, *ns, *name;
    struct store *s;
    size_t n;
    bool help;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"table delete --site DIR NAMESPACE/NAME",
                                  "Deletes a table. Tables that select rows of it keep theirs.",
                                  "norn table delete --site bank bank/credit",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, a.json);
    if (help) return 0;
    if (data_name(cx, rest[0], &ns, &name).code || data_store(cx, a.site, &s, NULL).code ||
        store_delete(cx, s, ns, name).code)
        return cmd_fail(cx, a.json);
    CLEANUP(json_decrefp) json_t *j = json_pack("{s:s,s:s}", "namespace", ns, "name", name);
    if (a.json) return cmd_print_json(cx, j);
    printf("deleted %s/%s\n", ns, name);
    return 0;
}

static int uploads(struct ctx *cx, int argc, char **argv)
{
    struct table_args a = {.rows = 20};
    const char **rest;
    struct store *s;
    struct upload_record *all;
    size_t n;
    bool help;
    const struct arg args[] = {
        SITE_OPTION, {"--rows", ARG_COUNT, &a.rows, "N", "at most so many (20)", false}, JSON_OPTION};
    const struct arg_spec spec = {"table uploads --site DIR [--rows N]",
                                  "What was uploaded and how it went, newest first.",
                                  "norn table uploads --site bank",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    CLEANUP(json_decrefp) json_t *j = json_array();
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, a.json);
    if (help) return 0;
    if (data_store(cx, a.site, &s, NULL).code || store_uploads(cx, s, (size_t)a.rows, &all, &n).code)
        return cmd_fail(cx, a.json);
    for (size_t i = 0; i < n; i++) {
        const struct upload_record *r = &all[i];
        json_array_append_new(j, json_pack("{s:I,s:s,s:s,s:s,s:s,s:I,s:I,s:f}", "at_ms", (json_int_t)r->at_ms,
                                           "file", r->file, "namespace", r->name_space, "name", r->name,
                                           "result", r->result, "rows", (json_int_t)r->n_rows, "bytes",
                                           (json_int_t)r->bytes, "seconds", r->seconds));
        if (!a.json)
            printf("%s  %-30s %13s rows %9s %8.2f s  %s  (%s)\n", data_time(cx, r->at_ms),
                   arena_printf(cx->mem, "%s/%s", r->name_space, r->name), data_count(cx, r->n_rows),
                   sub_bytes(cx, (int64_t)r->bytes), r->seconds, r->result, r->file);
    }
    if (a.json) return cmd_print_json(cx, j);
    if (n == 0) printf("no uploads yet; see norn upload --help\n");
    return 0;
}

int cmd_table(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"list", list, "the tables of the store"},
        {"show", show, "one table's columns"},
        {"preview", preview, "its first rows"},
        {"export", export_csv, "a table as a CSV file"},
        {"delete", delete_table, "remove a table"},
        {"uploads", uploads, "what was uploaded, and how it went"},
    };
    return sub_run(cx, "table", subs, LEN(subs), argc, argv);
}
