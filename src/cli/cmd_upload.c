/* cmd_upload.c - norn upload: a CSV file into the site's store, whole or not at all. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "cli/args.h"
#include "cli/data.h"
#include "cli/sub.h"
#include "flow/disk.h"
#include "table/csv.h"
#include <string.h>

struct upload {
    const char *site, *file, *table, *name_space, *name;
    const char *delimiter, *duplicates, *id, *label;
    struct arg_list missing, types;
    bool no_header, replace, json;
    struct csv_options opt;
    struct csv_result result;
    double seconds;
    const struct table *t;
};

static status set_options(struct ctx *cx, struct upload *u)
{
    static const char *const kinds[] = {"refuse", "first", "keep"}; /* as in struct csv_options */
    TRY(data_name(cx, u->table, &u->name_space, &u->name));
    u->opt = (struct csv_options){.no_header = u->no_header,
                                  .id = u->id,
                                  .label = u->label,
                                  .types = u->types.p,
                                  .n_types = u->types.n,
                                  .missing = u->missing.p,
                                  .n_missing = u->missing.n};
    if (u->delimiter && (strcmp(u->delimiter, "\\t") == 0 || strcmp(u->delimiter, "tab") == 0))
        u->opt.delimiter = '\t';
    else if (u->delimiter && strlen(u->delimiter) == 1)
        u->opt.delimiter = u->delimiter[0];
    else if (u->delimiter)
        return FAIL(cx, ARG, "--delimiter '%.20s': want one character, or tab", u->delimiter);
    for (unsigned i = 0; u->duplicates && i < LEN(kinds); i++)
        if (strcmp(u->duplicates, kinds[i]) == 0) {
            u->opt.duplicates = i;
            return OK;
        }
    return u->duplicates ? FAIL(cx, ARG, "--duplicates %.20s: want refuse, first or keep", u->duplicates)
                         : OK;
}

/* Said before a long import and not after it; store_add looks again. */
static status check_free(struct ctx *cx, struct store *s, const struct upload *u)
{
    struct table_info i;
    status st = store_find(cx, s, u->name_space, u->name, &i);
    if (st.code == ERR_NOTFOUND) return OK;
    TRY(st);
    if (u->replace) return OK;
    return FAIL(cx, EXISTS,
                "there is a table %s/%s already (%s rows, %s); --replace puts the new one in its place",
                u->name_space, u->name, data_count(cx, i.n_rows), data_time(cx, i.created_ms));
}

static void drop(struct ctx *cx, const char *path)
{
    struct err kept = cx->err;
    status st = dir_remove(cx, path);
    (void)st.code; /* the site's sweep takes what is left */
    cx->err = kept;
}

static status import(struct ctx *cx, struct store *s, unsigned threads, struct upload *u)
{
    struct data_progress p;
    const char *path, *slash = strrchr(u->file, '/'), *base = slash ? slash + 1 : u->file;
    TRY(store_new_path(cx, s, &path));
    data_progress_begin(cx, &p, base, "B");
    cx->pool = pool_new(threads);
    status st = csv_import(cx, u->file, path, &u->opt, data_progress_report, &p, &u->result);
    data_progress_end(cx, &p);
    if (!st.code) {
        st = store_add(cx, s, u->name_space, u->name, path, arena_printf(cx->mem, "upload %s", base),
                       u->replace);
        if (st.code) drop(cx, path);
    }
    if (!st.code) st = table_open(cx, path, &u->t);
    pool_free(cx->pool);
    cx->pool = NULL;
    return st;
}

/* The history keeps no row's value, so of an error its kind only. */
static status record(struct ctx *cx, struct store *s, const struct upload *u, status how)
{
    struct err kept = cx->err;
    struct upload_record r = {.at_ms = wall_ms(),
                              .file = u->file,
                              .name_space = u->name_space,
                              .name = u->name,
                              .result = how.code ? err_text(how.code) : "ok",
                              .n_rows = u->result.n_rows,
                              .bytes = u->result.bytes,
                              .seconds = u->seconds};
    status st = store_record_upload(cx, s, &r);
    if (!how.code) return st;
    cx->err = kept;
    return how;
}

static status run(struct ctx *cx, struct upload *u)
{
    struct store *s;
    struct settings set;
    unsigned threads;
    TRY(set_options(cx, u));
    TRY(data_store(cx, u->site, &s, &threads));
    TRY(settings_load(cx, u->site, NULL, 0, &set));
    TRY(disk_room_now(cx, u->site, &set));
    TRY(check_free(cx, s, u));
    uint64_t t0 = clock_us();
    status st = import(cx, s, threads, u);
    u->seconds = (double)(clock_us() - t0) / 1e6;
    return record(cx, s, u, st);
}

static void print(struct ctx *cx, const struct upload *u)
{
    const struct csv_result *r = &u->result;
    const struct column *label = table_label(u->t);
    size_t n[3] = {0};
    for (size_t i = 0; i < u->t->n_cols; i++)
        n[u->t->cols[i].type]++;
    printf("%s/%s: %s rows; id %s, ", u->name_space, u->name, data_count(cx, r->n_rows), u->t->id_name);
    if (label) printf("label %s (%s), ", label->name, col_type_name(label->type));
    printf("%zu columns (%zu f64, %zu i64, %zu str)", u->t->n_cols, n[COL_F64], n[COL_I64], n[COL_STR]);
    if (r->n_missing) printf("; %s cells missing", data_count(cx, r->n_missing));
    if (r->n_duplicates)
        printf("; %s repeated ids %s", data_count(cx, r->n_duplicates),
               u->opt.duplicates == CSV_DUP_FIRST ? "dropped" : "kept");
    printf("; %s in %.2f s (%.0f MB/s)\n", sub_bytes(cx, (int64_t)r->bytes), u->seconds,
           (double)r->bytes / 1e6 / (u->seconds > 0 ? u->seconds : 1));
}

static int print_json(struct ctx *cx, const struct upload *u)
{
    const struct csv_result *r = &u->result;
    const struct column *label = table_label(u->t);
    CLEANUP(json_decrefp)
    json_t *j =
        json_pack("{s:s,s:s,s:I,s:I,s:s,s:s?,s:I,s:I,s:I,s:f}", "namespace", u->name_space, "name", u->name,
                  "rows", (json_int_t)r->n_rows, "columns", (json_int_t)r->n_cols, "id", u->t->id_name,
                  "label", label ? label->name : NULL, "missing", (json_int_t)r->n_missing, "duplicates",
                  (json_int_t)r->n_duplicates, "bytes", (json_int_t)r->bytes, "seconds", u->seconds);
    return cmd_print_json(cx, j);
}

int cmd_upload(struct ctx *cx, int argc, char **argv)
{
    struct upload u = {0};
    const char **rest;
    size_t n;
    bool help;
    const struct arg args[] = {
        {"--site", ARG_TEXT, &u.site, "DIR", "the site's folder", true},
        {"--table", ARG_TEXT, &u.table, "NAMESPACE/NAME", "the table's name in the store", true},
        {"--id", ARG_TEXT, &u.id, "COL", "column with the ids (the first)", false},
        {"--label", ARG_TEXT, &u.label, "COL", "column with the label (y, when there is one)", false},
        {"--delimiter", ARG_TEXT, &u.delimiter, "C", "what separates cells: one character, or tab (,)",
         false},
        {"--no-header", ARG_FLAG, &u.no_header, NULL,
         "the first line is a row; columns are named id, x0, x1, ...", false},
        {"--missing", ARG_LIST, &u.missing, "TEXT",
         "a cell that means missing, besides the empty one (NA, NaN, nan, null, None, ?)", false},
        {"--type", ARG_LIST, &u.types, "COL:TYPE", "f64, i64 or str; columns not named are found out", false},
        {"--duplicates", ARG_TEXT, &u.duplicates, "HOW", "an id seen twice: refuse, first or keep (refuse)",
         false},
        {"--replace", ARG_FLAG, &u.replace, NULL, "put it in the place of a table of that name", false},
        {"--json", ARG_FLAG, &u.json, NULL, "answer as JSON", false},
    };
    const struct arg_spec spec = {
        "upload --site DIR FILE --table NAMESPACE/NAME [...]",
        "Reads a CSV file into the site's store, whether the site runs or not. The file must be UTF-8, with "
        "one\n"
        "column of ids. Whatever is wrong with it is said with row and column, and the store stays as it "
        "was.",
        "norn upload --site bank credit.csv --table bank/credit --id customer --label default --type zip:str",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, u.json);
    if (help) return 0;
    u.file = rest[0];
    if (run(cx, &u).code) return cmd_fail(cx, u.json);
    if (u.json) return print_json(cx, &u);
    print(cx, &u);
    return 0;
}
