/* cmd_generate.c - norn generate: CSV files of several parties about partly the same people, with a known structure. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/data.h"
#include "table/population.h"
#include <string.h>

struct generate {
    const char *out, *task;
    uint64_t rows, guest_columns, host_columns, hosts, classes, seed, id_length;
    double overlap, missing;
    bool ids_only, replace, json;
    struct population p;
};

static const char *const tasks[] = {"binary", "multi", "regression"}; /* as enum population_task */

static status count_arg(struct ctx *cx, const char *name, uint64_t x, unsigned *out)
{
    if (x > 1000000) return FAIL(cx, ARG, "%s %ju is too large", name, (uintmax_t)x);
    *out = (unsigned)x;
    return OK;
}

static status set_population(struct ctx *cx, struct generate *g)
{
    struct population *p = &g->p;
    if (!(g->overlap >= 0 && g->overlap <= 1)) return FAIL(cx, ARG, "--overlap %g: want 0 to 1", g->overlap);
    *p = (struct population){
        .n_rows = g->rows, .missing = g->missing, .seed = g->seed, .ids_only = g->ids_only};
    p->n_common = (uint64_t)(g->overlap * (double)g->rows + 0.5);
    TRY(count_arg(cx, "--guest-columns", g->guest_columns, &p->guest_columns));
    TRY(count_arg(cx, "--host-columns", g->host_columns, &p->host_columns));
    TRY(count_arg(cx, "--hosts", g->hosts, &p->n_hosts));
    TRY(count_arg(cx, "--classes", g->classes, &p->n_classes));
    TRY(count_arg(cx, "--id-length", g->id_length, &p->id_length));
    unsigned t = 0;
    while (t < LEN(tasks) && strcmp(g->task, tasks[t]) != 0)
        t++;
    if (t == LEN(tasks)) return FAIL(cx, ARG, "--task %.20s: want binary, multi or regression", g->task);
    p->task = (enum population_task)t;
    return population_check(cx, p);
}

static status file_of(struct ctx *cx, const struct generate *g, unsigned party, const char **out)
{
    *out = party == 0          ? arena_printf(cx->mem, "%s/guest.csv", g->out)
           : g->p.n_hosts == 1 ? arena_printf(cx->mem, "%s/host.csv", g->out)
                               : arena_printf(cx->mem, "%s/host_%u.csv", g->out, party);
    if (!*out) return FAIL(cx, NOMEM, "a path");
    if (!g->replace && file_exists(*out))
        return FAIL(cx, EXISTS, "%s is there already; --replace writes over it", *out);
    return OK;
}

static status write_files(struct ctx *cx, const struct generate *g, json_t *files)
{
    const char *path;
    TRY(dir_make(cx, g->out, 0755));
    for (unsigned k = 0; k <= g->p.n_hosts; k++)
        TRY(file_of(cx, g, k, &path));
    for (unsigned k = 0; k <= g->p.n_hosts; k++) {
        struct data_progress progress;
        TRY(file_of(cx, g, k, &path));
        data_progress_begin(cx, &progress, path, "rows");
        cx->pool = pool_new(0);
        status st = population_write(cx, &g->p, k, path, data_progress_report, &progress);
        data_progress_end(cx, &progress);
        pool_free(cx->pool);
        cx->pool = NULL;
        TRY(st);
        json_array_append_new(files, json_string(path));
    }
    return OK;
}

/* What the files are, beside them: who makes a benchmark of them needs to know. */
static json_t *truth(const struct generate *g, json_t *files, double seconds)
{
    const struct population *p = &g->p;
    return json_pack(
        "{s:I,s:I,s:f,s:I,s:I,s:I,s:s,s:I,s:f,s:I,s:I,s:b,s:O,s:f}", "rows", (json_int_t)p->n_rows, "common",
        (json_int_t)p->n_common, "overlap", g->overlap, "hosts", (json_int_t)p->n_hosts, "guest_columns",
        (json_int_t)p->guest_columns, "host_columns", (json_int_t)p->host_columns, "task", g->task, "classes",
        (json_int_t)p->n_classes, "missing", p->missing, "seed", (json_int_t)p->seed, "id_length",
        (json_int_t)p->id_length, "ids_only", (int)p->ids_only, "files", files, "seconds", seconds);
}

static status run(struct ctx *cx, struct generate *g, json_t **out)
{
    CLEANUP(json_decrefp) json_t *files = json_array();
    const char *text, *path;
    uint64_t t0 = clock_us();
    TRY(set_population(cx, g));
    TRY(write_files(cx, g, files));
    if (!(*out = truth(g, files, (double)(clock_us() - t0) / 1e6))) return FAIL(cx, NOMEM, "an answer");
    TRY(js_text(cx, *out, &text));
    if (!(path = arena_printf(cx->mem, "%s/truth.json", g->out))) return FAIL(cx, NOMEM, "a path");
    return file_write(cx, path, text, strlen(text), 0644);
}

static void print(struct ctx *cx, const struct generate *g, const json_t *j)
{
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(j, "files"), i, f) printf("%s\n", json_string_value(f));
    printf("%s rows each, %s people in common, seed %ju, %.2f s\n", data_count(cx, g->p.n_rows),
           data_count(cx, g->p.n_common), (uintmax_t)g->p.seed,
           json_real_value(json_object_get(j, "seconds")));
}

int cmd_generate(struct ctx *cx, int argc, char **argv)
{
    struct generate g = {.task = "binary",
                         .rows = 10000,
                         .guest_columns = 10,
                         .host_columns = 20,
                         .hosts = 1,
                         .classes = 3,
                         .id_length = 16,
                         .overlap = 0.5};
    const char **rest;
    size_t n;
    bool help;
    const struct arg args[] = {
        {"--out", ARG_TEXT, &g.out, "DIR", "folder for guest.csv, host.csv and truth.json", true},
        {"--rows", ARG_COUNT, &g.rows, "N", "rows of each party (10000)", false},
        {"--guest-columns", ARG_COUNT, &g.guest_columns, "A", "besides id and label (10)", false},
        {"--host-columns", ARG_COUNT, &g.host_columns, "B", "of each host (20)", false},
        {"--hosts", ARG_COUNT, &g.hosts, "K", "how many hosts (1); more: host_1.csv, host_2.csv, ...", false},
        {"--overlap", ARG_REAL, &g.overlap, "F", "share of a party's people that all parties have (0.5)",
         false},
        {"--task", ARG_TEXT, &g.task, "TASK", "what the label is: binary, multi or regression (binary)",
         false},
        {"--classes", ARG_COUNT, &g.classes, "C", "of a multi label (3)", false},
        {"--missing", ARG_REAL, &g.missing, "F", "share of empty cells (0)", false},
        {"--seed", ARG_COUNT, &g.seed, "S", "another seed, other people (0)", false},
        {"--id-length", ARG_COUNT, &g.id_length, "L", "characters of an id (16)", false},
        {"--ids-only", ARG_FLAG, &g.ids_only, NULL, "ids alone, for trying intersections", false},
        {"--replace", ARG_FLAG, &g.replace, NULL, "write over files that are there", false},
        {"--json", ARG_FLAG, &g.json, NULL, "answer as JSON", false},
    };
    const struct arg_spec spec = {
        "generate --out DIR [--rows N] [...]",
        "Writes CSV files of a guest and hosts about partly the same people, in another order at each. "
        "Columns\n"
        "have known correlations, the label is a known function of columns of all parties that no party can\n"
        "reach alone (docs/formats/table.md). The same seed gives the same bytes on any machine.",
        "norn generate --out people --rows 100000 --guest-columns 10 --host-columns 20",
        args,
        LEN(args),
        0,
        0};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, g.json);
    if (help) return 0;
    if (run(cx, &g, &j).code) return cmd_fail(cx, g.json);
    if (g.json) return cmd_print_json(cx, j);
    print(cx, &g, j);
    return 0;
}
