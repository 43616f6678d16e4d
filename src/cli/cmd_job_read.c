/* cmd_job_read.c - norn job logs | metrics | summary | output: records of this party, with or without a
 * running site. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/job_print.h"
#include "cli/sub.h"
#include "flow/dsl.h"
#include "flow/jobdb.h"
#include "flow/jobid.h"
#include "flow/settings.h"
#include "flow/view.h"
#include "table/csv.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SITE_OPTION                                                                                          \
    {                                                                                                        \
        "--site", ARG_TEXT, &o.site, "DIR", "the site's folder", true                                        \
    }
#define ROLE_OPTION                                                                                          \
    {                                                                                                        \
        "--role", ARG_TEXT, &o.role, "ROLE", "when this party has several roles in the job", false           \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "--json", ARG_FLAG, &o.json, NULL, "answer as JSON", false                                           \
    }

struct read_options {
    const char *site, *role, *job, *component;
    bool json;
    struct jobdb *db;
    struct party who; /* filled: this party, in the role asked for or the first that ran the component */
    uint32_t party;
};

/* Opens the database and finds which of this party's tasks is meant. component may be NULL: then only the job
 * is checked. */
static status open_records(struct ctx *cx, struct read_options *o)
{
    struct settings set;
    struct job_row row;
    struct task_row *t;
    size_t n;
    bool found = false;
    TRY(settings_load(cx, o->site, NULL, 0, &set));
    if (!job_id_ok(o->job)) return FAIL(cx, ARG, "\"%.40s\" is no job id", o->job);
    if (o->role && !role_parse(o->role, &o->who.role))
        return FAIL(cx, ARG, "--role %.40s: want guest, host or arbiter", o->role);
    TRY(jobdb_open(cx, arena_printf(cx->mem, "%s/jobs.db", o->site), true, &o->db));
    TRY(jobdb_job(cx, o->db, o->job, &row));
    TRY(jobdb_tasks(cx, o->db, o->job, &t, &n));
    o->party = o->who.id = set.party;
    if (!o->component) return OK;
    for (size_t i = 0; i < n && !found; i++) {
        if (!t[i].local || strcmp(t[i].component, o->component) != 0) continue;
        if (o->role && t[i].party.role != o->who.role) continue;
        o->who = t[i].party, found = true;
    }
    return found ? OK
                 : FAIL(cx, NOTFOUND, "job %s has no component %.64s at party %u%s%s", o->job, o->component,
                        set.party, o->role ? " as " : "", o->role ? o->role : "");
}

/* ---- logs ---- */

static status print_log(struct ctx *cx, const struct read_options *o)
{
    const char *file = arena_printf(cx->mem, "%s/jobs/%s/%s_%u/%s/task.log", o->site, o->job,
                                    role_name(o->who.role), o->who.id, o->component);
    struct bytes b;
    if (!file_exists(file)) return FAIL(cx, NOTFOUND, "no log yet: %s has not run here", o->component);
    TRY(file_map(cx, file, &b));
    if (b.n && fwrite(b.p, 1, b.n, stdout) != b.n) return FAIL(cx, IO, "stdout: %m");
    return OK;
}

int job_logs(struct ctx *cx, int argc, char **argv)
{
    struct read_options o = {0};
    const char **rest;
    size_t n;
    bool help;
    const struct arg args[] = {SITE_OPTION, ROLE_OPTION};
    const struct arg_spec spec = {"job logs --site DIR [--role ROLE] JOB COMPONENT",
                                  "Prints the log of this party's task of a component, JSON lines.",
                                  "norn job logs --site bank 202611240930001234560 hetero_secure_boost_0",
                                  args,
                                  LEN(args),
                                  2,
                                  2};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, false);
    if (help) return 0;
    o.job = rest[0], o.component = rest[1];
    return open_records(cx, &o).code || print_log(cx, &o).code ? cmd_fail(cx, false) : 0;
}

/* ---- metrics, summary ---- */

static void print_point(const json_t *p)
{
    for (size_t i = 0; i < json_array_size(p); i++) {
        const json_t *v = json_array_get(p, i);
        if (json_is_string(v))
            printf("%s%s", i ? "  " : "      ", json_string_value(v));
        else
            printf("%s%.10g", i ? "  " : "      ", json_number_value(v));
    }
    printf("\n");
}

static void print_metrics(const json_t *all)
{
    const char *ns, *name;
    json_t *of, *m;
    json_object_foreach((json_t *)all, ns, of)
    {
        printf("%s\n", ns);
        json_object_foreach(of, name, m)
        {
            const json_t *data = json_object_get(m, "data");
            size_t n = json_array_size(data);
            printf("  %s (%s)\n", name, sub_str(json_object_get(m, "meta"), "metric_type"));
            for (size_t i = 0; i < n && i < 20; i++)
                print_point(json_array_get(data, i));
            if (n > 20) printf("      ... %zu more (--json shows all)\n", n - 20);
        }
    }
    if (json_object_size(all) == 0) printf("none\n");
}

int job_metrics(struct ctx *cx, int argc, char **argv)
{
    struct read_options o = {0};
    const char **rest;
    size_t n;
    bool help;
    const struct arg args[] = {SITE_OPTION, ROLE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"job metrics --site DIR [--role ROLE] JOB COMPONENT",
                                  "What a component measured at this party.",
                                  "norn job metrics --site bank 202611240930001234560 evaluation_0",
                                  args,
                                  LEN(args),
                                  2,
                                  2};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, o.json);
    if (help) return 0;
    o.job = rest[0], o.component = rest[1];
    if (open_records(cx, &o).code || view_metrics(cx, o.db, o.job, o.component, o.who, &j).code)
        return cmd_fail(cx, o.json);
    if (o.json) return cmd_print_json(cx, j);
    print_metrics(j);
    return 0;
}

int job_summary(struct ctx *cx, int argc, char **argv)
{
    struct read_options o = {.json = true};
    const char **rest;
    size_t n;
    bool help;
    const struct arg args[] = {SITE_OPTION, ROLE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"job summary --site DIR [--role ROLE] JOB COMPONENT",
                                  "A component's summary at this party, as JSON.",
                                  "norn job summary --site bank 202611240930001234560 intersection_0",
                                  args,
                                  LEN(args),
                                  2,
                                  2};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, o.json);
    if (help) return 0;
    o.job = rest[0], o.component = rest[1];
    if (open_records(cx, &o).code || view_summary(cx, o.db, o.job, o.component, o.who, &j).code)
        return cmd_fail(cx, o.json);
    return cmd_print_json(cx, j);
}

/* ---- output ---- */

static const json_t *find_output(const json_t *all, const struct read_options *o, const char *name)
{
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *t = json_array_get(all, i);
        bool same = strcmp(sub_str(t, "component"), o->component) == 0 &&
                    strcmp(sub_str(t, "role"), role_name(o->who.role)) == 0;
        if (same && (!name || strcmp(sub_str(t, "name"), name) == 0)) return t;
    }
    return NULL;
}

static void put_cell(struct bytes c, bool last)
{
    printf("%.*s%s", (int)c.n, (const char *)c.p, last ? "\n" : ",");
}

/* The first rows, comma-separated. */
static void preview(const struct table *t, size_t rows)
{
    char cell[64];
    printf("%s%s", t->id_name, t->n_cols ? "," : "\n");
    for (size_t j = 0; j < t->n_cols; j++)
        printf("%s%s", t->cols[j].name, j + 1 < t->n_cols ? "," : "\n");
    for (size_t i = 0; i < t->n_rows && i < rows; i++) {
        put_cell(table_id(t, i), t->n_cols == 0);
        for (size_t j = 0; j < t->n_cols; j++)
            put_cell(table_cell(t, &t->cols[j], i, cell, sizeof cell), j + 1 == t->n_cols);
    }
    if (t->n_rows > rows) printf("... %zu rows in all\n", t->n_rows);
}

static void list_outputs(const json_t *all)
{
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *t = json_array_get(all, i);
        printf("%-26s %-8s %-12s %10" PRId64 " rows %6" PRId64 " columns\n", sub_str(t, "component"),
               sub_str(t, "role"), sub_str(t, "name"), sub_int(t, "rows"), sub_int(t, "cols"));
    }
    if (json_array_size(all) == 0) printf("none\n");
}

static status output(struct ctx *cx, struct read_options *o, const char *name, const char *file,
                     uint64_t rows, json_t **list)
{
    const struct table *t;
    TRY(open_records(cx, o));
    TRY(view_outputs(cx, o->db, o->job, list));
    if (!o->component) return OK;
    const json_t *found = find_output(*list, o, name);
    if (!found)
        return FAIL(cx, NOTFOUND, "%s gave no table%s%s at party %u", o->component, name ? " " : "",
                    name ? name : "", o->party);
    TRY(table_open(cx, sub_str(found, "path"), &t));
    if (file) return csv_export(cx, t, file);
    if (!o->json) preview(t, rows);
    return OK;
}

int job_output(struct ctx *cx, int argc, char **argv)
{
    struct read_options o = {0};
    const char **rest, *name = NULL, *file = NULL;
    size_t n;
    uint64_t rows = 10;
    bool help;
    const struct arg args[] = {
        SITE_OPTION,
        ROLE_OPTION,
        {"--name", ARG_TEXT, &name, "NAME", "which output, as the DSL calls it (the first)", false},
        {"--rows", ARG_COUNT, &rows, "N", "how many rows to show (10)", false},
        {"--out", ARG_TEXT, &file, "FILE", "write the whole table there as CSV", false},
        JSON_OPTION,
    };
    const struct arg_spec spec = {
        "job output --site DIR JOB [COMPONENT] [--out FILE]",
        "Lists a job's output tables at this party; with a component shows its first rows or writes them.",
        "norn job output --site bank 202611240930001234560 hetero_secure_boost_0 --out scores.csv",
        args,
        LEN(args),
        1,
        2};
    CLEANUP(json_decrefp) json_t *list = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, o.json);
    if (help) return 0;
    o.job = rest[0], o.component = n > 1 ? rest[1] : NULL;
    if (output(cx, &o, name, file, rows, &list).code) return cmd_fail(cx, o.json);
    if (o.json) return cmd_print_json(cx, o.component ? find_output(list, &o, name) : list);
    if (!o.component)
        list_outputs(list);
    else if (file)
        printf("written to %s\n", file);
    return 0;
}
