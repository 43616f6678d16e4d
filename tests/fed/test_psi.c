/* Intersection against a plain join, by both methods; peers that lie; what stands on the wire. */
#include "fed/intersection/psi_int.h"
#include "base/evp.h"
#include "base/secret.h"
#include "crypto/curve.h"
#include "tests/fed/fed.h"

#define GUEST ((struct party){ROLE_GUEST, 9999})
#define HOST  ((struct party){ROLE_HOST, 10000})

/* ---- tables ---- */

/* Rows with the given numbers as ids, "id-<number>", and the number as feature x. */
static const struct table *id_table(struct ctx *cx, const uint32_t *number, size_t n)
{
    const char *path = arena_printf(cx->mem, "%s/t", fed_dir(cx, "psi"));
    const struct column_spec spec = {"x", NULL, COL_F64, KIND_FEATURE};
    CLEANUP(buf_free) struct buf ids = {0};
    uint64_t *off = NEW(cx, uint64_t, n + 1);
    double *x = NEW(cx, double, n + 1);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&ids, "id-%u", number[i]);
        off[i + 1] = ids.n, x[i] = number[i];
    }
    struct table_writer *w;
    const struct table *t = NULL;
    CHECK_OK(cx, table_writer_new(cx, path, "id", &spec, 1, &w));
    CHECK_OK(cx, table_writer_append(cx, w, n, off, n ? (const char *)ids.p : "", (const void *const[]){x}));
    CHECK_OK(cx, table_writer_finish(cx, w, NULL));
    table_writer_free(w);
    CHECK_OK(cx, table_open(cx, path, &t));
    return t;
}

/* n different numbers below `below`, in random order. */
static const struct table *random_table(struct ctx *cx, struct shuffle *r, size_t n, uint32_t below,
                                        uint8_t *in)
{
    uint32_t *all = NEW(cx, uint32_t, below);
    memset(in, 0, below);
    for (uint32_t i = 0; i < below; i++)
        all[i] = i;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = i + (uint32_t)shuffle_below(r, below - i), swap = all[i];
        all[i] = all[j], all[j] = swap;
        in[all[i]] = 1;
    }
    return id_table(cx, all, n);
}

struct cast { /* a guest and its hosts */
    const struct table *t[FED_MAX];
    size_t n;
    struct fed_arg arg[FED_MAX];
    struct fed_result r[FED_MAX];
};

static void run(struct cast *c, const char *params, const struct fed_options *o)
{
    for (size_t p = 0; p < c->n; p++)
        c->arg[p] = (struct fed_arg){.role = p ? ROLE_HOST : ROLE_GUEST,
                                     .id = p ? 9999 + (uint32_t)p : 9999,
                                     .params = params,
                                     .input = {{"data", "d.data", "d", c->t[p]}},
                                     .n_inputs = 1};
    fed_run("Intersection", c->arg, c->n, o, c->r);
}

static bool all_ok(const struct cast *c)
{
    bool ok = true;
    for (size_t p = 0; p < c->n; p++) {
        if (c->r[p].code) printf("# party %zu: %s: %s\n", p, err_name(c->r[p].code), c->r[p].msg);
        ok = ok && c->r[p].code == ERR_OK;
    }
    return ok;
}

/* Every party holds the same ids in the same order, each once and in all tables, as many as the join has, and its own x
 * beside them. */
static void check_join(struct ctx *cx, struct cast *c, uint8_t *const *in, uint32_t below)
{
    size_t want = 0;
    const struct table *first = NULL;
    uint8_t *seen = NEW(cx, uint8_t, below);
    for (uint32_t i = 0; i < below; i++) {
        bool common = true;
        for (size_t p = 0; p < c->n; p++)
            common = common && in[p][i];
        want += common;
    }
    for (size_t p = 0; p < c->n; p++) {
        const struct table *t = NULL;
        size_t wrong = 0;
        CHECK_OK(cx, table_open(cx, c->r[p].out_path, &t));
        if (!t) return;
        CHECK(t->n_rows == want);
        if (!first) first = t;
        double *x = NEW(cx, double, t->n_rows + 1);
        CHECK_OK(cx, table_read_f64(cx, t, &t->cols[0], 0, t->n_rows, x));
        memset(seen, 0, below);
        for (size_t i = 0; i < t->n_rows && i < first->n_rows; i++) {
            struct bytes id = table_id(t, i), other = table_id(first, i);
            uint32_t number = (uint32_t)strtoul((const char *)id.p + 3, NULL, 10);
            wrong += id.n != other.n || memcmp(id.p, other.p, id.n) != 0;
            wrong += number >= below || (double)number != x[i];
            for (size_t q = 0; q < c->n && number < below; q++)
                wrong += !in[q][number];
            if (number < below) wrong += seen[number], seen[number] = 1;
        }
        CHECK(wrong == 0);
    }
}

static const struct {
    size_t n_hosts, rows[4];
    uint32_t below;
    unsigned threads;
} joins[] = {
    {1, {1, 1}, 1, 1},                                  /* one id, the same */
    {1, {200, 300}, 400, 1},                            /* some */
    {1, {500, 500}, 500, 2},                            /* all, in other orders */
    {1, {PSI_CHUNK + 1, 40}, PSI_CHUNK + 1, 2},         /* the guest has more chunks */
    {1, {40, 3 * PSI_CHUNK + 7}, 3 * PSI_CHUNK + 7, 2}, /* the host has more chunks */
    {1, {4 * PSI_CHUNK, PSI_CHUNK}, 5 * PSI_CHUNK, 2},  /* whole chunks */
    {2, {700, 800, 900}, 1000, 1},                      /* two hosts */
    {3, {PSI_CHUNK + 1, 3000, 500, 40000}, 50000, 1},   /* three of different sizes */
};

static void equals_join(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    for (size_t k = 0; k < LEN(joins); k++) {
        struct cast c = {.n = joins[k].n_hosts + 1};
        uint8_t *in[FED_MAX];
        for (size_t p = 0; p < c.n; p++) {
            in[p] = NEW(cx, uint8_t, joins[k].below);
            c.t[p] = random_table(cx, &r, joins[k].rows[p], joins[k].below, in[p]);
        }
        run(&c, NULL, &(struct fed_options){.threads = joins[k].threads});
        CHECK(all_ok(&c));
        if (all_ok(&c)) check_join(cx, &c, in, joins[k].below);
        for (size_t p = 0; p < c.n; p++)
            CHECK(c.r[p].done == c.r[p].all && c.r[p].all > 0);
        fed_free(c.r, c.n);
    }
}

static void by_rsa(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    struct cast c = {.n = 3};
    uint8_t *in[3];
    for (size_t p = 0; p < 3; p++) {
        in[p] = NEW(cx, uint8_t, 150);
        c.t[p] = random_table(cx, &r, 90 + 20 * p, 150, in[p]);
    }
    run(&c, "{\"intersect_method\": \"rsa\"}", NULL);
    CHECK(all_ok(&c));
    if (all_ok(&c)) check_join(cx, &c, in, 150);
    fed_free(c.r, 3);
}

/* Rows of a table that itself selects rows of another. */
static void of_derived_tables(struct ctx *cx)
{
    struct shuffle r = shuffle_new(test_seed());
    struct cast c = {.n = 2};
    uint8_t *in[2];
    uint32_t rows[60];
    for (size_t p = 0; p < 2; p++) {
        in[p] = NEW(cx, uint8_t, 200);
        const struct table *t = random_table(cx, &r, 120, 200, in[p]);
        memset(in[p], 0, 200);
        for (uint32_t i = 0; i < 60; i++) {
            struct bytes id = table_id(t, rows[i] = 119 - 2 * i);
            in[p][strtoul((const char *)id.p + 3, NULL, 10)] = 1;
        }
        const char *path = arena_printf(cx->mem, "%s/d", fed_dir(cx, "derived"));
        CHECK_OK(cx, table_derive(cx, path, t, rows, 60, NULL, NULL));
        CHECK_OK(cx, table_open(cx, path, &c.t[p]));
    }
    run(&c, NULL, NULL);
    CHECK(all_ok(&c));
    if (all_ok(&c)) check_join(cx, &c, in, 200);
    fed_free(c.r, 2);
}

/* ---- what is reported ---- */

static void reports(struct ctx *cx)
{
    uint32_t a[8], b[6];
    struct cast c = {.n = 2};
    for (uint32_t i = 0; i < 8; i++)
        a[i] = i;
    for (uint32_t i = 0; i < 6; i++)
        b[i] = 5 + i;
    c.t[0] = id_table(cx, a, 8), c.t[1] = id_table(cx, b, 6);
    run(&c, NULL, NULL);
    CHECK(all_ok(&c));
    for (size_t p = 0; p < 2; p++) {
        double n = p ? 6 : 8;
        const json_t *m = json_object_get(c.r[p].metrics, "train/intersection"), *s = c.r[p].summary;
        CLEANUP(json_decrefp)
        json_t *want =
            json_pack("[[s,i],[s,i],[s,f],[s,i],[s,f]]", "input_match_id_count", (int)n, "intersect_count", 3,
                      "intersect_rate", 3 / n, "unmatched_count", (int)n - 3, "unmatched_rate", 1 - 3 / n);
        CHECK(json_equal(json_object_get(m, "points"), want));
        CHECK(strcmp(json_string_value(js_at(m, "meta.metric_type")), "INTERSECTION") == 0);
        CHECK(strcmp(json_string_value(js_at(m, "meta.intersect_method")), "ecdh") == 0);
        CHECK(json_integer_value(json_object_get(s, "intersect_num")) == 3);
        CHECK(json_integer_value(json_object_get(s, "unique_id_num")) == (int)n);
        CHECK(json_number_value(json_object_get(s, "intersect_rate")) == 3 / n);
        CHECK(json_is_false(json_object_get(s, "cardinality_only")));
    }
    fed_free(c.r, 2);
}

/* The recorded job's metric: all of 569 ids. */
static void recorded(struct ctx *cx)
{
    const char *path = test_shared(cx, "golden/hetero_secureboost/guest.intersection_0.metric_all.json");
    if (!path) SKIP("no shared data");
    uint32_t a[569], b[569];
    struct cast c = {.n = 2};
    json_error_t e;
    CLEANUP(json_decrefp) json_t *want = json_load_file(path, 0, &e);
    for (uint32_t i = 0; i < 569; i++)
        a[i] = i, b[568 - i] = i;
    c.t[0] = id_table(cx, a, 569), c.t[1] = id_table(cx, b, 569);
    run(&c, "{\"intersect_method\": \"rsa\"}", NULL);
    CHECK(all_ok(&c));
    const json_t *m = json_object_get(c.r[0].metrics, "train/intersection"),
                 *w = js_at(want, "response.data.train.intersection");
    CHECK(json_equal(json_object_get(w, "meta"), json_object_get(m, "meta")));
    CHECK(json_equal(json_object_get(w, "data"), json_object_get(m, "points")));
    fed_free(c.r, 2);
}

/* ---- tables that cannot be intersected ---- */

static void refuses_tables(struct ctx *cx)
{
    static const uint32_t once[] = {1, 2, 3, 4}, twice[] = {7, 1, 7, 2, 7, 1}, others[] = {11, 12, 13};
    static const char *const method[] = {"{}", "{\"intersect_method\": \"rsa\"}"};
    for (size_t m = 0; m < LEN(method); m++) {
        for (size_t at = 0; at < 2; at++) {
            struct cast c = {.n = 2};
            c.t[at] = id_table(cx, twice, 6), c.t[1 - at] = id_table(cx, once, 4);
            run(&c, method[m], NULL);
            CHECK(c.r[at].code == ERR_FORMAT && strstr(c.r[at].msg, "3 rows repeat") &&
                  strstr(c.r[at].msg, "row 3:"));
            CHECK(!strstr(c.r[at].msg, "id-7")); /* a row's number, not its id */
            CHECK(c.r[1 - at].code == ERR_PEER);
            fed_free(c.r, 2);
            c.t[at] = id_table(cx, once, 0);
            run(&c, method[m], NULL);
            CHECK(c.r[at].code == ERR_ARG && strstr(c.r[at].msg, "no rows") && c.r[1 - at].code == ERR_PEER);
            fed_free(c.r, 2);
        }
        struct cast c = {.n = 2, .t = {id_table(cx, once, 4), id_table(cx, others, 3)}};
        run(&c, method[m], NULL);
        for (size_t p = 0; p < 2; p++)
            CHECK(c.r[p].code == ERR_ARG &&
                  strstr(c.r[p].msg, p ? "3 rows here, 4 at" : "4 rows here, 3 at"));
        fed_free(c.r, 2);
    }
}

static void refuses_parameters(struct ctx *cx)
{
    static const struct {
        const char *params, *says;
        enum err_code code;
    } bad[] = {
        {"{\"intersect_method\": \"raw\"}", "shows ids", ERR_UNSUPPORTED},
        {"{\"intersect_method\": \"dh\"}", "dh is not built", ERR_UNSUPPORTED},
        {"{\"join_method\": \"left_join\"}", "join_method", ERR_UNSUPPORTED},
        {"{\"cardinality_only\": true}", "cardinality_only", ERR_UNSUPPORTED},
        {"{\"ecdh_params\": {\"salt\": \"12345\"}}", "ecdh_params.salt", ERR_UNSUPPORTED},
        {"{\"ecdh_params\": {\"curve\": \"p256\"}}", "ecdh_params.curve", ERR_ARG},
        {"{\"intersect_methd\": \"rsa\"}", "did you mean intersect_method", ERR_ARG},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        CLEANUP(json_decrefp) json_t *given = NULL;
        CLEANUP(json_decrefp) json_t *all = NULL;
        CHECK_OK(cx, js_parse(cx, "test", bad[i].params, strlen(bad[i].params), &given));
        status st = component_params(cx, component_find("Intersection"), "intersection_0", given, &all);
        if (st.code != bad[i].code || !strstr(cx->err.msg, bad[i].says))
            printf("# %s: %s\n", bad[i].params, st.code ? cx->err.msg : "accepted");
        CHECK(st.code == bad[i].code && strstr(cx->err.msg, bad[i].says));
    }
}

/* ---- lying hosts ---- */

enum { LIE_ROWS = 100 }; /* of the honest party; numbers 0..99, the liar has as many */

/* What the liar does otherwise than psi.h says. */
static enum host_lie {
    LIE_VERSION,
    LIE_SHORT_HELLO,
    LIE_LONG_HELLO,
    LIE_NO_IDS,
    LIE_TOO_MANY_IDS,
    LIE_SHORT_POINTS,
    LIE_ODD_POINTS,
    LIE_SMALL_ORDER,
    LIE_REPEATED_POINT,
    LIE_TWISTED_REPEAT,
    LIE_SHORT_TAGS,
    LIE_EQUAL_TAGS,
    HOST_LIES
} host_lie;

static status liar_hello(struct ctx *cx, struct channel *ch, struct party to, bool salted)
{
    uint8_t salt[PSI_SALT] = {1};
    if (host_lie == LIE_SHORT_HELLO) return channel_send(cx, ch, to, "psi.hello", "\1", 1);
    CLEANUP(buf_free) struct buf b = {0};
    buf_u8(&b, host_lie == LIE_VERSION ? 2 : 1);
    buf_u64(&b, host_lie == LIE_NO_IDS ? 0 : host_lie == LIE_TOO_MANY_IDS ? UINT64_C(1) << 32 : LIE_ROWS);
    if (salted) buf_put(&b, salt, sizeof salt);
    if (host_lie == LIE_LONG_HELLO) buf_u8(&b, 0);
    return channel_send(cx, ch, to, "psi.hello", b.p, b.n);
}

/* All is as it should be, but that one of the guest's ids gets the answer to another. */
static status swapping_host(struct ctx *cx, struct task *t)
{
    struct bytes hello, msg;
    uint8_t wide[LIE_ROWS][64], point[LIE_ROWS][32], tag[LIE_ROWS][16];
    TRY(channel_recv(cx, t->channel, GUEST, "psi.hello", &hello));
    CLEANUP(curve_scalar_freep) struct curve_scalar *b = NULL;
    TRY(curve_scalar_new(cx, &b));
    TRY(psi_hash_ids(cx, (struct psi_hash){task_input(t, "data"), NULL, 0, hello.p + 9, wide}, LIE_ROWS));
    curve_map((const uint8_t(*)[64])wide, LIE_ROWS, point);
    TRY(curve_mul(cx, b, (const uint8_t(*)[32])point, LIE_ROWS, point));
    TRY(channel_send(cx, t->channel, GUEST, "psi.host", point, sizeof point));
    TRY(channel_recv(cx, t->channel, GUEST, "psi.guest", &msg));
    TRY(curve_mul(cx, b, (const uint8_t(*)[32])(const void *)msg.p, LIE_ROWS, point));
    for (size_t i = 0; i < LIE_ROWS; i++)
        memcpy(tag[i], point[i == 5 ? 4 : i], 16);
    TRY(channel_send(cx, t->channel, GUEST, "psi.back", tag, sizeof tag));
    return channel_recv(cx, t->channel, GUEST, "psi.rows", &msg);
}

static status lying_host(struct ctx *cx, struct task *t)
{
    struct bytes msg;
    uint8_t point[LIE_ROWS + 1][32], tag[LIE_ROWS][16];
    TRY(liar_hello(cx, t->channel, GUEST, false));
    if (host_lie == LIE_EQUAL_TAGS) return swapping_host(cx, t);
    TRY(channel_recv(cx, t->channel, GUEST, "psi.hello", &msg));
    TRY(rand_bytes(cx, point, sizeof point));
    TRY(rand_bytes(cx, tag, sizeof tag));
    if (host_lie == LIE_SMALL_ORDER) memset(point[37], 0, 32), point[37][0] = 1;
    if (host_lie == LIE_REPEATED_POINT) memcpy(point[91], point[3], 32);
    if (host_lie == LIE_TWISTED_REPEAT) { /* the same point, its unused top bit set */
        memcpy(point[91], point[3], 32);
        point[91][31] ^= 0x80;
    }
    size_t n = host_lie == LIE_SHORT_POINTS ? LIE_ROWS - 1 : LIE_ROWS;
    TRY(channel_send(cx, t->channel, GUEST, "psi.host", point, n * 32 + (host_lie == LIE_ODD_POINTS)));
    TRY(channel_recv(cx, t->channel, GUEST, "psi.guest", &msg));
    TRY(channel_send(cx, t->channel, GUEST, "psi.back", tag, sizeof tag - (host_lie == LIE_SHORT_TAGS)));
    return channel_recv(cx, t->channel, GUEST, "psi.rows", &msg);
}

static void hosts_that_lie(struct ctx *cx)
{
    static const struct {
        enum err_code code;
        const char *says;
    } want[HOST_LIES] = {
        [LIE_VERSION] = {ERR_PROTO, "version 2"},
        [LIE_SHORT_HELLO] = {ERR_FORMAT, ""},
        [LIE_LONG_HELLO] = {ERR_FORMAT, ""},
        [LIE_NO_IDS] = {ERR_PROTO, "says it has 0 ids"},
        [LIE_TOO_MANY_IDS] = {ERR_PROTO, "4294967296 ids"},
        [LIE_SHORT_POINTS] = {ERR_PROTO, "host 10000 sent 3168 bytes as psi.host: want 100 items of 32"},
        [LIE_ODD_POINTS] = {ERR_PROTO, "3201 bytes"},
        [LIE_SMALL_ORDER] = {ERR_PROTO, "points of host 10000"},
        [LIE_REPEATED_POINT] = {ERR_PROTO, "same masked id twice"},
        [LIE_TWISTED_REPEAT] = {ERR_PROTO, "same masked id twice"},
        [LIE_SHORT_TAGS] = {ERR_PROTO, "psi.back"},
        [LIE_EQUAL_TAGS] = {ERR_PROTO, "alike"},
    };
    uint32_t number[LIE_ROWS];
    for (uint32_t i = 0; i < LIE_ROWS; i++)
        number[i] = i;
    struct cast c = {.n = 2, .t = {id_table(cx, number, LIE_ROWS), id_table(cx, number, LIE_ROWS)}};
    for (host_lie = 0; host_lie < HOST_LIES; host_lie++) {
        run(&c, NULL, &(struct fed_options){.liar = lying_host, .liar_at = 1, .deadline_ms = 20000});
        const struct fed_result *r = &c.r[0];
        if (r->code != want[host_lie].code || !strstr(r->msg, want[host_lie].says))
            printf("# lie %d: %s: %s\n", (int)host_lie, err_name(r->code), r->msg);
        CHECK(r->code == want[host_lie].code && strstr(r->msg, want[host_lie].says));
        fed_free(c.r, 2);
    }
}

/* ---- lying guests ---- */

static enum guest_lie {
    ROWS_ODD,
    ROWS_BEYOND,
    ROWS_TWICE,
    ROWS_TOO_MANY,
    POINTS_SHORT,
    POINT_SMALL,
    GUEST_LIES
} guest_lie;

static status lying_guest(struct ctx *cx, struct task *t)
{
    struct bytes msg;
    uint8_t point[LIE_ROWS][32];
    uint32_t rows[LIE_ROWS + 1];
    host_lie = HOST_LIES;
    TRY(liar_hello(cx, t->channel, HOST, true));
    TRY(channel_recv(cx, t->channel, HOST, "psi.hello", &msg));
    TRY(rand_bytes(cx, point, sizeof point));
    if (guest_lie == POINT_SMALL) memset(point[99], 0, 32);
    TRY(channel_send(cx, t->channel, HOST, "psi.guest", point,
                     sizeof point - (guest_lie == POINTS_SHORT ? 32 : 0)));
    TRY(channel_recv(cx, t->channel, HOST, "psi.host", &msg));
    TRY(channel_recv(cx, t->channel, HOST, "psi.back", &msg));
    for (uint32_t i = 0; i <= LIE_ROWS; i++)
        rows[i] = i % LIE_ROWS;
    size_t n = 4 * (guest_lie == ROWS_TOO_MANY ? LIE_ROWS + 1 : LIE_ROWS);
    if (guest_lie == ROWS_BEYOND) rows[42] = LIE_ROWS;
    if (guest_lie == ROWS_TWICE) rows[42] = 7;
    TRY(channel_send(cx, t->channel, HOST, "psi.rows", rows, n - (guest_lie == ROWS_ODD)));
    return channel_recv(cx, t->channel, HOST, "psi.never", &msg);
}

static void guests_that_lie(struct ctx *cx)
{
    static const char *const says[GUEST_LIES] = {
        [ROWS_ODD] = "399 bytes of common rows",    [ROWS_BEYOND] = "row 42 is position 100",
        [ROWS_TWICE] = "row 42 is position 7",      [ROWS_TOO_MANY] = "at most 100",
        [POINTS_SHORT] = "3168 bytes as psi.guest", [POINT_SMALL] = "points of guest 9999",
    };
    uint32_t number[LIE_ROWS];
    for (uint32_t i = 0; i < LIE_ROWS; i++)
        number[i] = i;
    struct cast c = {.n = 2, .t = {id_table(cx, number, LIE_ROWS), id_table(cx, number, LIE_ROWS)}};
    for (guest_lie = 0; guest_lie < GUEST_LIES; guest_lie++) {
        run(&c, NULL, &(struct fed_options){.liar = lying_guest, .liar_at = 0, .deadline_ms = 20000});
        const struct fed_result *r = &c.r[1];
        if (r->code != ERR_PROTO || !strstr(r->msg, says[guest_lie]))
            printf("# lie %d: %s: %s\n", (int)guest_lie, err_name(r->code), r->msg);
        CHECK(r->code == ERR_PROTO && strstr(r->msg, says[guest_lie]));
        fed_free(c.r, 2);
    }
}

/* ---- the wire ---- */

struct wire {
    size_t n_rows;
    size_t messages, bytes_to_host, bytes_to_guest;
    uint64_t *words; /* the first 8 bytes of every item of 16 and 32 bytes */
    size_t n_words;
    const char *bad;
};

static bool holds(const void *p, size_t n, const void *what, size_t k)
{
    return memmem(p, n, what, k) != NULL;
}

static void tap(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n)
{
    struct wire *w = arg;
    size_t item = strcmp(tag, "psi.guest") == 0 || strcmp(tag, "psi.host") == 0 ? 32
                  : strcmp(tag, "psi.back") == 0                                ? 16
                                                                                : 0;
    (void)from;
    w->messages++;
    *(to.role == ROLE_HOST ? &w->bytes_to_host : &w->bytes_to_guest) += n;
    if (!item && strcmp(tag, "psi.hello") != 0 && strcmp(tag, "psi.rows") != 0) w->bad = "an unknown tag";
    for (size_t i = 0; item && i < n / item; i++)
        memcpy(&w->words[w->n_words++], (const uint8_t *)p + i * item, 8);
    for (unsigned i = 0; i < w->n_rows && !w->bad;
         i++) { /* neither ids nor what anyone can compute of them */
        char id[16];
        uint8_t d[64];
        size_t k = (size_t)snprintf(id, sizeof id, "id-%u", i);
        if (k >= 5 && holds(p, n, id, k)) w->bad = "an id";
        if (EVP_Digest(id, k, d, NULL, EVP_sha256(), NULL) && holds(p, n, d, 8)) w->bad = "SHA-256 of an id";
        if (EVP_Digest(id, k, d, NULL, EVP_sha512(), NULL) && holds(p, n, d, 8)) w->bad = "SHA-512 of an id";
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Two jobs over the same tables: nothing of one occurs in the other, nothing occurs twice, and the bytes are what
 * docs/formats/psi.md counts. */
static void wire_is_fresh(struct ctx *cx)
{
    enum { N = 400 };
    uint32_t number[N];
    for (uint32_t i = 0; i < N; i++)
        number[i] = i;
    struct cast c = {.n = 2, .t = {id_table(cx, number, N), id_table(cx, number, N)}};
    struct wire w = {.n_rows = N, .words = NEW(cx, uint64_t, 2 * 3 * N)};
    for (size_t job = 0; job < 2; job++) {
        run(&c, NULL, &(struct fed_options){.tap = tap, .tap_arg = &w});
        CHECK(all_ok(&c));
        fed_free(c.r, 2);
    }
    if (w.bad) printf("# on the wire: %s\n", w.bad);
    CHECK(!w.bad && w.messages == 2 * 6 && w.n_words == 2 * 3 * N);
    CHECK(w.bytes_to_host == 2 * (9 + 32 + N * 32 + N * 4) && w.bytes_to_guest == 2 * (9 + N * 32 + N * 16));
    qsort(w.words, w.n_words, sizeof *w.words, compare_u64);
    size_t repeats = 0;
    for (size_t i = 1; i < w.n_words; i++)
        repeats += w.words[i] == w.words[i - 1];
    CHECK(repeats == 0);
}

TEST_MAIN(T(equals_join), T(by_rsa), T(of_derived_tables), T(reports), T(recorded), T(refuses_tables),
          T(refuses_parameters), T(hosts_that_lie), T(guests_that_lie), T(wire_is_fresh))
