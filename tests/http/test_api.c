/* Query strings, what the API keeps, grants, and the order and look of FATE's rows. */
#include "base/file.h"
#include "http/apidb.h"
#include "http/permit.h"
#include "http/query.h"
#include "http/tables.h"
#include "test.h"
#include <unistd.h>

static void queries(struct ctx *cx)
{
    static const struct {
        const char *query, *json;
    } good[] = {
        {"", "{}"},
        {"%7B%22file%22:%20%22/a%20b%22,%20%22head%22:%201%7D", "{\"file\":\"/a b\",\"head\":1}"},
        {"{\"a\":\"x=1&y=2+3\"}", "{\"a\":\"x=1&y=2+3\"}"}, /* not split before it is known to be no JSON */
        {"a=1&b=x%20y+z&c", "{\"a\":\"1\",\"b\":\"x y z\"}"},
        {"a=%zz&=2", "{\"a\":\"%zz\"}"},
        {"%", "{}"},
    };
    for (size_t i = 0; i < LEN(good); i++) {
        CLEANUP(json_decrefp) json_t *j = NULL;
        const char *text;
        CHECK_OK(cx, query_settings(cx, good[i].query, &j));
        CHECK_OK(cx, js_text(cx, j, &text));
        CHECK(strcmp(text, good[i].json) == 0);
    }
    json_t *none = NULL;
    CHECK_ERR(query_settings(cx, "[1,2]", &none), ARG);
    CHECK(none == NULL);
}

static const char *folder(struct ctx *cx)
{
    char path[] = "/tmp/norn-api-XXXXXX";
    const char *dir = mkdtemp(path) ? arena_strdup(cx->mem, path) : NULL;
    CHECK(dir);
    return dir;
}

static void documents(struct ctx *cx)
{
    const char *dir = folder(cx);
    struct apidb *d;
    struct doc doc, *list;
    bool found, was;
    size_t n;
    CLEANUP(json_decrefp) json_t *v = json_pack("{s:i}", "x", 1);
    CHECK_OK(cx, apidb_open(cx, dir, &d));
    CHECK_OK(cx, apidb_insert(cx, d, "tag", "a_b", v));
    CHECK_ERR(apidb_insert(cx, d, "tag", "a_b", v), EXISTS);
    CHECK_OK(cx, apidb_put(cx, d, "tag", "a_b", v));
    CHECK_OK(cx, apidb_put(cx, d, "tag", "aXb", v));
    CHECK_OK(cx, apidb_put(cx, d, "note", "a_b", v));
    CHECK_OK(cx, apidb_list(cx, d, "tag", "a_", false, 0, &list, &n)); /* '_' is no pattern */
    CHECK(n == 1 && strcmp(list[0].key, "a_b") == 0);
    CHECK_OK(cx, apidb_list(cx, d, "tag", "", true, 1, &list, &n));
    CHECK(n == 1);
    CHECK_OK(cx, apidb_get(cx, d, "tag", "none", &doc, &found));
    CHECK(!found);
    CHECK_OK(cx, apidb_delete(cx, d, "tag", "a_b", &was));
    CHECK(was);
    CHECK_OK(cx, apidb_delete(cx, d, "tag", "a_b", &was));
    CHECK(!was);
    CHECK_OK(cx, apidb_get(cx, d, "note", "a_b", &doc, &found));
    CHECK(found && json_equal(doc.value, v));
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void grants(struct ctx *cx)
{
    const char *dir = folder(cx), *text;
    struct apidb *d;
    CHECK_OK(cx, apidb_open(cx, dir, &d));
    CLEANUP(json_decrefp) json_t *two = json_string("Reader, HeteroSecureBoost");
    CLEANUP(json_decrefp) json_t *all = json_string("*");
    CLEANUP(json_decrefp) json_t *set = json_pack("[{s:s,s:s}]", "namespace", "bank", "name", "credit");
    CLEANUP(json_decrefp) json_t *bad = json_pack("{s:s}", "namespace", "bank");
    CHECK_ERR(permit_component(cx, d, 10000, "Reader"), AUTH);
    CHECK_OK(cx, permit_change(cx, d, "10000", two, set, true));
    CHECK_OK(cx, permit_component(cx, d, 10000, "reader"));
    CHECK_OK(cx, permit_component(cx, d, 10000, "HETEROSECUREBOOST"));
    CHECK_ERR(permit_component(cx, d, 10000, "Intersection"), AUTH);
    CHECK_ERR(permit_component(cx, d, 1000, "Reader"), AUTH);
    CHECK_OK(cx, permit_table(cx, d, 10000, "bank", "credit"));
    CHECK_ERR(permit_table(cx, d, 10000, "bank", "credit2"), AUTH);
    CHECK_OK(cx, permit_change(cx, d, "10001", all, all, true));
    CHECK_OK(cx, permit_table(cx, d, 10001, "x", "y"));
    CHECK_OK(cx, permit_component(cx, d, 10001, "Union"));
    CLEANUP(json_decrefp) json_t *list = NULL;
    CHECK_OK(cx, permit_list(cx, d, "10000", &list));
    CHECK_OK(cx, js_text(cx, list, &text));
    CHECK(strcmp(text, "{\"component\":[\"heterosecureboost\",\"reader\"],\"dataset\":[{\"namespace\":"
                       "\"bank\",\"name\":\"credit\"}]}") == 0 ||
          strcmp(text, "{\"component\":[\"reader\",\"heterosecureboost\"],\"dataset\":[{\"namespace\":"
                       "\"bank\",\"name\":\"credit\"}]}") == 0);
    CHECK_OK(cx, permit_change(cx, d, "10000", two, NULL, false));
    CHECK_ERR(permit_component(cx, d, 10000, "Reader"), AUTH);
    CHECK_ERR(permit_change(cx, d, "10000", NULL, bad, true), ARG);
    CHECK_ERR(permit_change(cx, d, "10000", set, NULL, true), ARG);
    CHECK_OK(cx, dir_remove(cx, dir));
}

/* Ids by length, then by bytes: how FATE's tables come out; label before features; a detail in double quotes. */
static void rows(struct ctx *cx)
{
    const char *dir = folder(cx), *path = arena_printf(cx->mem, "%s/t", dir), *text;
    const struct column_spec cols[] = {{"x0", NULL, COL_I64, KIND_FEATURE},
                                       {"y", NULL, COL_I64, KIND_LABEL},
                                       {"predict_detail", NULL, COL_STR, KIND_PREDICTION}};
    static const char ids[] = "1021a";
    const uint64_t off[] = {0, 2, 3, 4, 5};
    const int64_t x[] = {1, 2, 3, 4}, y[] = {0, 1, 0, 1};
    const struct bytes detail[] = {{(const uint8_t *)"{'0': 1.0}", 10}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    const void *const data[] = {x, y, detail};
    struct table_writer *w;
    const struct table *t;
    const uint32_t *order;
    const size_t *columns;
    CHECK_OK(cx, table_writer_new(cx, path, "id", cols, 3, &w));
    CHECK_OK(cx, table_writer_append(cx, w, 4, off, ids, data));
    CHECK_OK(cx, table_writer_finish(cx, w, NULL));
    table_writer_free(w);
    CHECK_OK(cx, table_open(cx, path, &t));
    CHECK_OK(cx, table_fate_order(cx, t, &order));
    CHECK(order[0] == 2 && order[1] == 1 && order[2] == 3 && order[3] == 0); /* "1" "2" "a" "10" */
    CHECK_OK(cx, table_order(cx, t, &columns));
    CHECK(columns[0] == 1 && columns[1] == 0 && columns[2] == 2);
    CLEANUP(json_decrefp) json_t *list = NULL;
    CHECK_OK(cx, table_rows_json(cx, t, CELLS_NUMBERS, order, 4, &list));
    CHECK_OK(cx, js_text(cx, list, &text));
    CHECK(strstr(text, "[\"10\",0,1.0,\"\\\"{'0': 1.0}\\\"\"]"));
    CHECK(strncmp(text, "[[\"1\",0,3.0,", 12) == 0);
    CHECK_OK(cx, dir_remove(cx, dir));
}

TEST_MAIN(T(queries), T(documents), T(grants), T(rows))
