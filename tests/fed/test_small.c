/* The toy and the Reader. */
#include "base/arena.h"
#include "base/secret.h"
#include "tests/fed/fed.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct seen {
    size_t n;
    struct {
        char tag[32];
        size_t n;
        uint64_t first[4];
    } m[16];
};
static void watch(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n)
{
    struct seen *s = arg;
    (void)from, (void)to;
    snprintf(s->m[s->n].tag, sizeof s->m[0].tag, "%s", tag);
    memcpy(s->m[s->n].first, p, n < 32 ? n : 32);
    s->m[s->n++].n = n;
}

static void toy_adds(struct ctx *cx)
{
    struct fed_arg arg[2] = {{.role = ROLE_GUEST, .id = 9999, .params = "{\"data_num\": 300, \"seed\": 123}"},
                             {.role = ROLE_HOST, .id = 10000, .params = "{\"data_num\": 300}"}};
    struct fed_result r[2];
    struct seen seen = {0};
    struct fed_options o = {.tap = watch, .tap_arg = &seen};
    (void)cx;
    fed_run("SecureAddExample", arg, 2, &o, r);
    for (size_t p = 0; p < 2; p++) {
        if (r[p].code) printf("# %s\n", r[p].msg);
        CHECK(r[p].code == ERR_OK && r[p].done == 300);
    }
    CHECK(seen.n == 3);
    for (size_t i = 0; i < seen.n; i++) { /* shares, not the ones they are made of */
        bool sum = strcmp(seen.m[i].tag, "add.sum") == 0;
        CHECK(seen.m[i].n == (sum ? 8u : 2400u));
        for (size_t k = 0; k < 4 && !sum; k++)
            CHECK(seen.m[i].first[k] != UINT64_C(1) << 20);
        CHECK(sum || seen.m[i].first[0] != seen.m[i].first[1]);
    }
    fed_free(r, 2);
    arg[1].params = "{\"data_num\": 299}";
    fed_run("SecureAddExample", arg, 2, NULL, r);
    CHECK(r[0].code == ERR_ARG || r[1].code == ERR_ARG);
    CHECK(r[0].code != ERR_OK && r[1].code != ERR_OK);
    fed_free(r, 2);
}

static void reader_names(struct ctx *cx)
{
    static const double x[] = {1.5, 2, (double)NAN, -3, 0.25, 4, 4, 4};
    static const double y[] = {0, 1, 1, 0};
    struct party me = {ROLE_GUEST, 9999};
    const char *dir = fed_dir(cx, "reader");
    const struct table *in = fed_table(cx, arena_printf(cx->mem, "%s/in", dir), 4, 2, x, "c", y, me),
                       *out = NULL;
    struct fed_arg arg = {.role = ROLE_GUEST,
                          .id = 9999,
                          .params = "{\"table\": {\"name\": \"bank\", \"namespace\": \"exp\"}}",
                          .input = {{"table", "", "", in}},
                          .n_inputs = 1};
    struct fed_result r;
    fed_run("Reader", &arg, 1, NULL, &r);
    if (r.code) printf("# %s\n", r.msg);
    CHECK(r.code == ERR_OK);
    CHECK_OK(cx, table_open(cx, r.out_path, &out));
    CHECK(out && out->n_rows == 4 && out->n_cols == 3);
    if (out) {
        CHECK(strcmp(table_column(out, "c0")->anonymous, "guest_9999_x0") == 0);
        CHECK(strcmp(table_column(out, "c1")->anonymous, "guest_9999_x1") == 0);
        CHECK(strcmp(table_column(out, "y")->anonymous, "guest_9999_y") == 0);
        CHECK(memcmp(table_id(out, 2).p, "person-000002", 13) == 0);
        double back[4];
        CHECK_OK(cx, table_read_f64(cx, out, table_column(out, "c0"), 0, 4, back));
        CHECK(back[0] == 1.5 && isnan(back[2]) && back[3] == -3);
    }
    json_t *meta = json_object_get(json_object_get(r.metrics, "reader_namespace/reader_name"), "meta");
    CHECK(json_integer_value(json_object_get(meta, "count")) == 4);
    CHECK(strcmp(json_string_value(json_object_get(meta, "table_name")), "bank") == 0);
    CHECK(strcmp(json_string_value(json_object_get(meta, "namespace")), "exp") == 0);
    CHECK(strcmp(json_string_value(js_at(meta, "table_info.c1")), "0.25,4.0") == 0 ||
          strcmp(json_string_value(js_at(meta, "table_info.c1")), "0.25,4") == 0);
    CHECK(strcmp(json_string_value(js_at(meta, "attribute_info.y")), "label") == 0);
    fed_free(&r, 1);
    arg.n_inputs = 0;
    fed_run("Reader", &arg, 1, NULL, &r);
    CHECK(r.code == ERR_NOTFOUND && strstr(r.msg, "exp/bank"));
    fed_free(&r, 1);
    arg.params = "{\"table\": {\"name\": \"bank\"}}";
    fed_run("Reader", &arg, 1, NULL, &r);
    CHECK(r.code == ERR_ARG);
    fed_free(&r, 1);
}

TEST_MAIN(T(toy_adds), T(reader_names))
