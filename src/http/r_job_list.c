/* r_job_list.c - job/list/...: jobs and tasks by pages. */
#include "base/arena.h"
#include "base/num.h"
#include "http/rows.h"
#include <string.h>

static bool holds(const json_t *row, const char *column, const char *part)
{
    const json_t *v = json_object_get(row, column);
    return !part || (json_is_string(v) && strstr(json_string_value(v), part));
}

static bool among(const json_t *row, const char *column, const json_t *want)
{
    const char *have = json_string_value(json_object_get(row, column));
    if (!want || json_is_null(want)) return true;
    if (json_is_string(want)) return have && strcmp(have, json_string_value(want)) == 0;
    for (size_t i = 0; i < json_array_size(want); i++) {
        const char *w = json_string_value(json_array_get(want, i));
        if (w && have && strcmp(have, w) == 0) return true;
    }
    return json_is_array(want) && json_array_size(want) == 0;
}

struct order {
    const char *column;
    bool down;
};

static int compare_by(const json_t *a, const json_t *b, const struct order *o)
{
    const json_t *x = json_object_get(a, o->column), *y = json_object_get(b, o->column);
    int k;
    if (json_is_string(x) && json_is_string(y))
        k = strcmp(json_string_value(x), json_string_value(y));
    else
        k = (json_number_value(x) > json_number_value(y)) - (json_number_value(x) < json_number_value(y));
    return o->down ? -k : k;
}

static int compare_rows(const void *a, const void *b, void *order)
{
    return compare_by(*(json_t *const *)a, *(json_t *const *)b, order);
}

/* Sorted as asked for, one page of it. ARG: an order that FATE has not. */
static status page_of(struct call *c, json_t *rows, const char *column, bool down, json_t **out)
{
    size_t n = json_array_size(rows);
    int64_t limit = arg_int(c, "limit", 0), page = arg_int(c, "page", 1);
    json_t **list = NEW(c->cx, json_t *, n + 1);
    struct order o = {column, down};
    if (!list) return FAIL(c->cx, NOMEM, "%zu rows", n);
    for (size_t i = 0; i < n; i++)
        list[i] = json_array_get(rows, i);
    if (column) qsort_r(list, n, sizeof *list, compare_rows, &o);
    json_t *part = json_array();
    size_t from = limit > 0 && page > 1 ? (size_t)(limit * (page - 1)) : 0;
    for (size_t i = from; i < n && (limit <= 0 || i < from + (size_t)limit); i++)
        json_array_append(part, list[i]);
    *out = part;
    return OK;
}

static status check_page(struct call *c, const char **column, bool *down, const char *const *columns,
                         size_t n, bool *ok)
{
    const char *by = arg_text(c, "order_by"), *order = arg_text(c, "order");
    int64_t limit = arg_int(c, "limit", 0), page = arg_int(c, "page", 1);
    *ok = limit >= 0 && page >= 1 && limit < 1000000 && page < 1000000;
    if (!*ok) return answer_http(c, 400, "limit and page are counts");
    if (order) *ok = strcmp(order, "asc") == 0 || strcmp(order, "desc") == 0;
    if (!*ok) return answer_http(c, 400, "order is asc or desc");
    if (order) *down = strcmp(order, "desc") == 0;
    if (!by) return OK;
    *ok = false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(by, columns[i]) == 0) *ok = true;
    if (!*ok) return answer_http(c, 400, "order_by is no column of the list");
    *column = arena_printf(c->cx->mem, "f_%s", by);
    return *column ? OK : FAIL(c->cx, NOMEM, "a list");
}

static json_t *partners(const json_t *roles, uint32_t own)
{
    json_t *list = json_array(), *ids;
    const char *role;
    json_object_foreach((json_t *)roles, role, ids)
    {
        for (size_t i = 0; i < json_array_size(ids); i++) {
            bool there = json_integer_value(json_array_get(ids, i)) == own;
            for (size_t k = 0; k < json_array_size(list) && !there; k++)
                there = json_equal(json_array_get(list, k), json_array_get(ids, i));
            if (!there) json_array_append(list, json_array_get(ids, i));
        }
    }
    return list;
}

static bool list_wants(struct call *c, const json_t *row)
{
    const char *partner = arg_text(c, "partner");
    bool found = !partner;
    for (const json_t *role = json_object_get(row, "f_roles"); partner && !found; role = NULL) {
        const char *name;
        json_t *ids;
        if (!role) break;
        json_object_foreach((json_t *)role, name, ids) for (size_t i = 0; i < json_array_size(ids); i++)
        {
            char id[24];
            snprintf(id, sizeof id, "%" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(ids, i)));
            found = found || strstr(id, partner);
        }
    }
    return found && holds(row, "f_job_id", arg_text(c, "job_id")) &&
           holds(row, "f_description", arg_text(c, "description")) &&
           holds(row, "f_party_id", arg_text(c, "party_id")) &&
           among(row, "f_role", json_object_get(c->body, "role")) &&
           among(row, "f_status", json_object_get(c->body, "status"));
}

static bool list_is_plain(struct call *c)
{
    static const char *const filters[] = {"job_id", "description", "party_id", "partner",
                                          "role",   "status",      "order_by", "order"};
    for (size_t i = 0; i < LEN(filters); i++) {
        const json_t *v = json_object_get(c->body, filters[i]);
        if (v && !json_is_null(v)) return false;
    }
    return arg_int(c, "limit", 0) > 0;
}

/* Without filters only the page's own rows are read, and the rest is counted. */
static status list_rows(struct call *c, bool plain, json_t *rows, size_t *count)
{
    struct row_job *jobs;
    size_t n, n_local = 0, n_jobs = 0;
    size_t need_rows = plain ? (size_t)(arg_int(c, "limit", 0) * arg_int(c, "page", 1)) : 0;
    TRY(rows_recent(c, need_rows, false, plain ? NULL : c->body, &jobs, &n));
    for (size_t i = 0; i < n; i++) {
        CLEANUP(json_decrefp) json_t *row = NULL;
        TRY(row_job_json(c, &jobs[i], &row));
        if ((plain || list_wants(c, row)) && json_array_append(rows, row)) return FAIL(c->cx, NOMEM, "jobs");
    }
    *count = json_array_size(rows);
    if (!plain) return OK;
    TRY(apidb_count(c->cx, c->w->db, "local", &n_local));
    TRY(jobdb_count(c->cx, c->w->jobs, &n_jobs));
    if (n_jobs + n_local > *count) *count = n_jobs + n_local;
    return OK;
}

static status list_job(struct call *c)
{
    static const char *const columns[] = {"job_id",     "task_version", "create_time",
                                          "start_time", "end_time",     "elapsed"};
    const char *column = NULL;
    bool ok, down = true, plain = list_is_plain(c);
    size_t count = 0;
    CLEANUP(json_decrefp) json_t *rows = json_array();
    CLEANUP(json_decrefp) json_t *page = NULL;
    CLEANUP(json_decrefp) json_t *jobs = json_array();
    TRY(check_page(c, &column, &down, columns, LEN(columns), &ok));
    if (!ok) return OK;
    TRY(list_rows(c, plain, rows, &count));
    if (!column && !down) column = "f_create_time";
    TRY(page_of(c, rows, column, down, &page));
    for (size_t i = 0; i < json_array_size(page); i++) {
        json_t *row = row_unprefixed(json_array_get(page, i));
        int64_t id = 0;
        const char *text = json_string_value(json_object_get(row, "party_id"));
        if (text) (void)num_parse_i64(text, strlen(text), &id);
        json_object_set_new(row, "party_id", json_integer(id));
        json_object_set_new(row, "partners", partners(json_object_get(row, "roles"), (uint32_t)id));
        json_array_append_new(jobs, row);
    }
    return answer_ok(c, json_pack("{s:I,s:O}", "count", (json_int_t)count, "jobs", jobs));
}

static status list_task(struct call *c)
{
    static const char *const columns[] = {"job_id",     "task_version", "create_time",
                                          "start_time", "end_time",     "elapsed"};
    const char *column = NULL;
    bool ok, down = false;
    CLEANUP(json_decrefp) json_t *rows = json_array();
    CLEANUP(json_decrefp) json_t *page = NULL;
    CLEANUP(json_decrefp) json_t *tasks = json_array();
    CLEANUP(json_decrefp) json_t *fit = json_array();
    struct row_job *jobs;
    size_t n;
    TRY(check_page(c, &column, &down, columns, LEN(columns), &ok));
    if (!ok) return OK;
    TRY(rows_recent(c, 0, false, NULL, &jobs, &n));
    for (size_t i = n; i-- > 0;) { /* oldest first */
        CLEANUP(json_decrefp) json_t *of = NULL;
        const char *id = arg_text(c, "job_id");
        if (i > 0 && strcmp(jobs[i].id, jobs[i - 1].id) == 0) continue;
        if (id && !strstr(jobs[i].id, id)) continue;
        TRY(rows_tasks(c, jobs[i].id, NULL, &of));
        json_array_extend(rows, of);
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (holds(row, "f_component_name", arg_text(c, "component_name")) &&
            holds(row, "f_party_id", arg_text(c, "party_id")) &&
            among(row, "f_role", json_object_get(c->body, "role")) &&
            among(row, "f_status", json_object_get(c->body, "status")))
            json_array_append(fit, row);
    }
    if (!column && down) column = "f_create_time";
    TRY(page_of(c, fit, column, down, &page));
    for (size_t i = 0; i < json_array_size(page); i++)
        json_array_append_new(tasks, row_unprefixed(json_array_get(page, i)));
    return answer_ok(c, json_pack("{s:I,s:O}", "count", (json_int_t)json_array_size(fit), "tasks", tasks));
}

extern const struct route list_routes[];
const struct route list_routes[] = {
    {"job/list/job", list_job, KEY_VIEWER},
    {"job/list/task", list_task, KEY_VIEWER},
    {NULL, NULL, KEY_ADMIN},
};
