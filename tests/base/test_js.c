/* JSON: what is refused and where, printing, members, merging; a law: parse(print(x)) = x. */
#include "table/scratch.h"
#include "base/js.h"

static status parse(struct ctx *cx, const char *text, json_t **out)
{
    return js_parse(cx, "conf", text, strlen(text), out);
}

/* What the text prints as once parsed. */
static const char *again(struct ctx *cx, const char *text)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    const char *out = "";
    CHECK_OK(cx, parse(cx, text, &j));
    CHECK_OK(cx, js_text(cx, j, &out));
    return out;
}

static void prints(struct ctx *cx)
{
    static const struct {
        const char *in, *out;
    } v[] = {
        {" { \"b\" : [ 1 , 2.50, -0 ] ,\n\"a\" : { } , \"\": null} ", "{\"b\":[1,2.5,0],\"a\":{},\"\":null}"},
        {"[0.1, 3.0, 1e-7, 1E+22, -0.0, 123456789012345680.0, 5e-324]",
         "[0.1,3.0,1e-07,1e+22,-0.0,1.2345678901234568e+17,5e-324]"},
        {"[9223372036854775807, -9223372036854775808]", "[9223372036854775807,-9223372036854775808]"},
        {"[true,false,null]", "[true,false,null]"},
        {"3", "3"},
        {"\"x\"", "\"x\""},
        {"\"\\u0001\\u001f\\b\\t\\n\\f\\r\\u000b\\\"\\\\\\/\\u007f\"",
         "\"\\u0001\\u001f\\b\\t\\n\\f\\r\\u000b\\\"\\\\/\x7f\""},
        {"\"\\u00e9 \\ud83d\\ude00 \xc3\xa9\"", "\"\xc3\xa9 \xf0\x9f\x98\x80 \xc3\xa9\""},
        {"[]", "[]"},
        {"[\"]]]]{{{[\\\"[[\", \"\\\\\", \"[\"]", "[\"]]]]{{{[\\\"[[\",\"\\\\\",\"[\"]"},
    };
    for (size_t i = 0; i < LEN(v); i++) {
        CHECK(strcmp(again(cx, v[i].in), v[i].out) == 0);
        CHECK(strcmp(again(cx, v[i].out), v[i].out) == 0);
    }
}

static void prints_what_no_text_gives(struct ctx *cx)
{
    const char *text;
    CLEANUP(json_decrefp) json_t *j = json_array();
    json_array_append_new(j, json_stringn_nocheck("a\xff\xc3(", 4));
    json_array_append_new(j, json_stringn("a\0b", 3));
    CHECK_OK(cx, js_text(cx, j, &text));
    CHECK(strcmp(text, "[\"a\xef\xbf\xbd\xef\xbf\xbd(\",\"a\\u0000b\"]") == 0);
    text = "untouched";
    CHECK_ERR(js_text(cx, NULL, &text), ARG);
    for (int i = 0; i < 1100; i++) { /* deeper than any message */
        json_t *in = json_array();
        json_array_append_new(in, TAKE(j));
        j = in;
    }
    CHECK_ERR(js_text(cx, j, &text), LIMIT);
    CHECK(strcmp(text, "untouched") == 0);
}

static void refuses(struct ctx *cx)
{
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        {"", "conf: line 1"},
        {"  \n ", "conf: line 2"},
        {"{\"a\": 1,\n \"b\": 2,\n \"a\": 3}", "conf: line 3"},
        {"{\"a\": {\"b\": 1, \"b\": 1}}", "duplicate"},
        {"[1,\n2,,3]", "line 2 column 3"},
        {"{\"a\": 1} x", "line 1"},
        {"{\"a\": 1", "line 1"},
        {"{'a': 1}", "line 1"},
        {"[1,]", "line 1"},
        {"[01]", "line 1"},
        {"[NaN]", "line 1"},
        {"[1e999]", "line 1"},
        {"[9223372036854775808]", "line 1"},
        {"[\"\xff\"]", "unable to decode"},
        {"[\"\xed\xa0\x80\"]", "unable to decode"},
        {"[\"\\ud800\"]", "line 1"},
        {"[\"a\\u0000\"]", "line 1"},
        {"{\"a\\u0000\": 1}", "line 1"},
        {"[\"a\nb\"]", "line 1"},
        {"\"", "line 1"},
        {"\"\\", "line 1"},
    };
    json_t *j = NULL;
    for (size_t i = 0; i < LEN(bad); i++) {
        CHECK_ERR(parse(cx, bad[i].text, &j), FORMAT);
        CHECK(strncmp(cx->err.msg, "conf: line ", 11) == 0 && strstr(cx->err.msg, bad[i].says));
        CHECK(j == NULL);
    }
    static const struct {
        const char *text;
        size_t n;
        const char *says;
    } nul[] = {{"[1]\0", 4, "line 1 column 4: a NUL byte"},
               {"[\n\"\xc3\xa9\0\"]", 7, "line 2 column 3: a NUL byte"},
               {"[\"\\\0\"]", 6, "line 1 column 4: a NUL byte"}};
    for (size_t i = 0; i < LEN(nul); i++) {
        CHECK_ERR(js_parse(cx, "conf", nul[i].text, nul[i].n, &j), FORMAT);
        CHECK(strstr(cx->err.msg, nul[i].says));
    }
    CHECK_ERR(js_parse(cx, "conf", NULL, 0, &j), FORMAT);
}

static const char *nested(struct ctx *cx, size_t depth, bool objects)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes text = {0};
    for (size_t i = 0; i < depth; i++)
        buf_printf(&b, objects && i % 2 ? "{\"k\":\n" : "[");
    buf_put(&b, "1", 1);
    for (size_t i = depth; i-- > 0;)
        buf_put(&b, objects && i % 2 ? "}" : "]", 1);
    CHECK_OK(cx, buf_to_arena(cx, &b, &text));
    return (const char *)text.p;
}

static void depth(struct ctx *cx)
{
    json_t *j = NULL;
    for (int objects = 0; objects < 2; objects++) {
        CHECK_OK(cx, parse(cx, nested(cx, 64, objects), &j));
        json_decrefp(&j);
        CHECK_ERR(parse(cx, nested(cx, 65, objects), &j), FORMAT);
        CHECK(strstr(cx->err.msg, objects ? "line 33 column 1: nested deeper than 64"
                                          : "line 1 column 65: nested deeper than 64"));
        CHECK_ERR(parse(cx, nested(cx, 200000, objects), &j), FORMAT);
    }
    CHECK_OK(cx, parse(cx, "[[],[],{\"a\":[]}]", &j)); /* closed ones do not count */
    json_decrefp(&j);
}

static void reads_files(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    const char *good = scratch_file(cx, dir, "good.json", "{\"a\": 1}\n", 9);
    const char *bad = scratch_file(cx, dir, "bad.json", "{\"a\":\n x}", 9);
    json_t *j = NULL;
    size_t used = arena_used(cx->mem);
    CHECK_OK(cx, js_read(cx, good, &j));
    CHECK(json_integer_value(js_at(j, "a")) == 1 && arena_used(cx->mem) == used);
    json_decrefp(&j);
    CHECK_ERR(js_read(cx, bad, &j), FORMAT);
    CHECK(strstr(cx->err.msg, "bad.json: line 2 column 2"));
    CHECK_ERR(js_read(cx, scratch_path(cx, dir, "none"), &j), NOTFOUND);
    const char *big = scratch_file(cx, dir, "big.json", "", 0);
    CHECK(truncate(big, (64 << 20) + 1) == 0);
    CHECK_ERR(js_read(cx, big, &j), LIMIT);
    CHECK(j == NULL);
}

static void members(struct ctx *cx)
{
    CLEANUP(json_decrefp) json_t *j = NULL;
    CHECK_OK(
        cx,
        parse(cx, "{\"a\":{\"b\":{\"c\":5},\"s\":\"t\"},\"n\":null,\"r\":3.0,\"l\":[1],\"\":{\"\":7}}", &j));
    CHECK(json_integer_value(js_at(j, "a.b.c")) == 5);
    CHECK(js_at(j, "a.b") == json_object_get(json_object_get(j, "a"), "b"));
    CHECK(json_is_null(js_at(j, "n")) && json_integer_value(js_at(j, ".")) == 7);
    static const char *const absent[] = {"x", "a.x", "a.b.c.d", "n.x", "l.0", "a.", "a..b", "aa", "a.bb"};
    for (size_t i = 0; i < LEN(absent); i++)
        CHECK(js_at(j, absent[i]) == NULL);
    CHECK(js_at(NULL, "a") == NULL);

    const json_t *a = js_at(j, "a");
    const char *s = NULL;
    int64_t i = 0;
    json_t *v = NULL;
    CHECK_OK(cx, js_get_str(cx, a, "s", &s));
    CHECK(s && strcmp(s, "t") == 0);
    CHECK_OK(cx, js_get_i64(cx, js_at(a, "b"), "c", &i));
    CHECK(i == 5);
    CHECK_OK(cx, js_get_obj(cx, j, "a", &v));
    CHECK(v == a);
    CHECK_OK(cx, js_get_arr(cx, j, "l", &v));
    CHECK(json_array_size(v) == 1);

    json_t *before = v;
    CHECK_ERR(js_get_str(cx, j, "none", &s), FORMAT);
    CHECK(strstr(cx->err.msg, "\"none\" is missing, want a string"));
    CHECK_ERR(js_get_i64(cx, j, "r", &i), FORMAT);
    CHECK(strstr(cx->err.msg, "\"r\" is a real number, want an integer"));
    CHECK_ERR(js_get_obj(cx, j, "n", &v), FORMAT);
    CHECK(strstr(cx->err.msg, "\"n\" is null, want an object"));
    CHECK_ERR(js_get_arr(cx, j, "a", &v), FORMAT);
    CHECK_ERR(js_get_str(cx, js_at(j, "l"), "k", &s), FORMAT);
    CHECK(strstr(cx->err.msg, "an array, want an object with \"k\""));
    CHECK_ERR(js_get_str(cx, NULL, "k", &s), FORMAT);
    CHECK(strcmp(s, "t") == 0 && i == 5 && v == before);
}

static void merges(struct ctx *cx)
{
    static const struct {
        const char *base, *over, *want;
    } v[] = {
        {"{}", "{}", "{}"},
        {"{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":4}", "{\"a\":1,\"b\":3,\"c\":4}"},
        {"{\"a\":{\"x\":1,\"y\":{\"z\":1}}}", "{\"a\":{\"y\":{\"w\":2},\"x\":null}}",
         "{\"a\":{\"x\":null,\"y\":{\"z\":1,\"w\":2}}}"},
        {"{\"a\":{\"x\":1}}", "{\"a\":[1]}", "{\"a\":[1]}"}, /* of other kinds: replaced */
        {"{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}"},
        {"{\"a\":1}", "{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1}}"},
    };
    for (size_t i = 0; i < LEN(v); i++) {
        CLEANUP(json_decrefp) json_t *base = NULL;
        CLEANUP(json_decrefp) json_t *over = NULL;
        const char *text, *before, *after;
        CHECK_OK(cx, parse(cx, v[i].base, &base));
        CHECK_OK(cx, parse(cx, v[i].over, &over));
        CHECK_OK(cx, js_text(cx, over, &before));
        CHECK_OK(cx, js_merge(cx, base, over));
        CHECK_OK(cx, js_text(cx, base, &text));
        CHECK(strcmp(text, v[i].want) == 0);
        /* They share nothing: what base becomes now, over does not. */
        json_t *a = json_object_get(base, "a");
        if (json_is_object(a)) json_object_set_new(a, "later", json_true());
        if (json_is_array(a)) json_array_append_new(a, json_true());
        CHECK_OK(cx, js_text(cx, over, &after));
        CHECK(strcmp(before, after) == 0);
        CHECK_OK(cx, js_merge(cx, base, base));
    }
    CLEANUP(json_decrefp) json_t *o = json_object();
    CLEANUP(json_decrefp) json_t *l = json_array();
    CHECK_ERR(js_merge(cx, o, l), ARG);
    CHECK_ERR(js_merge(cx, l, o), ARG);
    CHECK_ERR(js_merge(cx, o, NULL), ARG);
}

/* --- a law --- */

static json_t *random_string(struct shuffle *s)
{
    char text[40];
    size_t n = 0;
    static const char *const parts[] = {"a",    "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                        "\x7f", "{["};
    for (uint64_t k = shuffle_below(s, 8); k; k--) {
        const char *p = parts[shuffle_below(s, LEN(parts))];
        memcpy(text + n, p, strlen(p));
        n += strlen(p);
    }
    return json_stringn(text, n);
}

static json_t *random_json(struct shuffle *s, int depth)
{
    uint64_t kind = shuffle_below(s, depth ? 8 : 6), bits = shuffle_u64(s);
    double x;
    memcpy(&x, &bits, sizeof x);
    switch (kind) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(bits & 1);
    case 2:
        return json_integer((json_int_t)(bits >> (bits & 63)));
    case 3:
        return x - x == 0 ? json_real(x) : json_integer(-1); /* no infinity, no NaN */
    case 4:
        return json_real((double)(bits % 20000) / 100);
    case 5:
        return random_string(s);
    default:
        break;
    }
    json_t *all = kind == 6 ? json_array() : json_object();
    for (uint64_t k = shuffle_below(s, 5); k; k--) {
        json_t *v = random_json(s, depth - 1), *key = random_string(s);
        if (kind == 6)
            json_array_append_new(all, v);
        else
            json_object_set_new(all, json_string_value(key), v);
        json_decref(key);
    }
    return all;
}

static void round_trip(struct ctx *cx)
{
    struct shuffle s = shuffle_new(scratch_seed());
    for (int i = 0; i < 10000; i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        CLEANUP(json_decrefp) json_t *j = random_json(&s, 4);
        CLEANUP(json_decrefp) json_t *back = NULL;
        const char *text = "", *text2 = "";
        CHECK_OK(cx, js_text(cx, j, &text));
        CHECK_OK(cx, parse(cx, text, &back));
        CHECK(json_equal(j, back));
        CHECK_OK(cx, js_text(cx, back, &text2));
        CHECK(strcmp(text, text2) == 0);
        arena_rewind(cx->mem, mark);
    }
}

/* Any bytes are taken or refused, and what is taken prints and comes back. */
static void any_bytes(struct ctx *cx)
{
    static const char letters[] = "{}[]\",:\\u0d8ae-1.\n \xc3\xa9\xff\0tn";
    struct shuffle s = shuffle_new(scratch_seed() + 1);
    for (int i = 0; i < 20000; i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        CLEANUP(json_decrefp) json_t *j = NULL;
        char text[12];
        size_t n = shuffle_below(&s, sizeof text + 1);
        for (size_t k = 0; k < n; k++)
            text[k] = letters[shuffle_below(&s, sizeof letters)];
        status st = js_parse(cx, "x", text, n, &j);
        CHECK(st.code == (j ? ERR_OK : ERR_FORMAT));
        if (j) {
            CLEANUP(json_decrefp) json_t *back = NULL;
            const char *out = "";
            CHECK_OK(cx, js_text(cx, j, &out));
            CHECK_OK(cx, parse(cx, out, &back));
            CHECK(json_equal(j, back));
        }
        arena_rewind(cx->mem, mark);
    }
}

TEST_MAIN(T(prints), T(prints_what_no_text_gives), T(refuses), T(depth), T(reads_files), T(members),
          T(merges), T(round_trip), T(any_bytes))
