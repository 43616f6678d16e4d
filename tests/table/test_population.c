/* Generated data is what its header says: overlap, ids, correlations, labels; the same bytes for any threads. */
#include "table/population.h"
#include "base/pool.h"
#include "scratch.h"
#include "table/csv.h"
#include <math.h>

static const struct population base = {.n_rows = 20000,
                                       .n_common = 8000,
                                       .guest_columns = 3,
                                       .host_columns = 4,
                                       .n_hosts = 2,
                                       .task = POPULATION_BINARY,
                                       .missing = 0.1,
                                       .seed = 7,
                                       .id_length = 16};

static void people(struct ctx *cx)
{
    struct population p = base;
    static const uint64_t sizes[] = {1, 2, 5, 1000, 20000};
    for (size_t k = 0; k < LEN(sizes); k++) {
        p.n_rows = sizes[k];
        p.n_common = sizes[k] * 2 / 5;
        uint64_t n_people = p.n_common + 3 * (p.n_rows - p.n_common), seen[3] = {0}, moved = 0;
        uint8_t *parties = NEW(cx, uint8_t, (size_t)n_people);
        for (unsigned party = 0; party < 3; party++)
            for (uint64_t r = 0; r < p.n_rows; r++) {
                uint64_t who = population_person(&p, party, r);
                CHECK(who < n_people && !(parties[who] & 1u << party));
                parties[who] |= (uint8_t)(1u << party);
                moved += who % p.n_rows != r;
            }
        for (uint64_t i = 0; i < n_people; i++) {
            CHECK((parties[i] == 7) == (i < p.n_common));
            for (unsigned party = 0; party < 3; party++)
                seen[party] += parties[i] >> party & 1;
        }
        CHECK(seen[0] == p.n_rows && seen[1] == p.n_rows && seen[2] == p.n_rows);
        CHECK(p.n_rows < 100 || moved > p.n_rows * 2);
    }
}

static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}

static void ids(struct ctx *cx)
{
    struct population p = base;
    static const unsigned lengths[] = {4, 5, 16, 33};
    char id[64], again[64], *all = NEW(cx, char, 8 * 60000);
    for (size_t k = 0; k < LEN(lengths); k++) {
        p.id_length = lengths[k];
        for (size_t i = 0; i < 60000; i++) {
            population_id(&p, i, id);
            for (unsigned c = 0; c < p.id_length; c++)
                CHECK(strchr("0123456789abcdef", id[c]) && id[c]);
            memcpy(all + 8 * i, id, lengths[k] < 8 ? lengths[k] : 8);
        }
        qsort(all, 60000, 8, by_text);
        for (size_t i = 1; i < 60000; i++)
            CHECK(memcmp(all + 8 * i - 8, all + 8 * i, 8) != 0);
    }
    p.seed++;
    population_id(&p, 1, again);
    CHECK(memcmp(id, again, 8) != 0);
}

static void columns(struct ctx *cx)
{
    enum { N = 40000, C = 11 };
    double sum[C] = {0}, prod[C][C] = {{0}};
    (void)cx;
    for (uint64_t i = 0; i < N; i++) {
        double x[C];
        for (unsigned c = 0; c < C; c++)
            x[c] = population_column(&base, i, c), sum[c] += x[c];
        for (unsigned a = 0; a < C; a++)
            for (unsigned b = 0; b < C; b++)
                prod[a][b] += x[a] * x[b];
    }
    for (unsigned a = 0; a < C; a++) {
        CHECK(fabs(sum[a] / N) < 0.02);
        for (unsigned b = 0; b < C; b++) {
            double want = a == b ? 1 : a % 5 == b % 5 ? 0.36 : 0;
            CHECK(fabs(prod[a][b] / N - want) < 0.025);
        }
    }
}

static void labels(struct ctx *cx)
{
    struct population p = base;
    size_t ones = 0, classes[4] = {0};
    double sum = 0;
    (void)cx;
    for (uint64_t i = 0; i < 20000; i++)
        ones += population_label(&p, i) == 1;
    CHECK(ones > 6000 && ones < 14000);
    p.task = POPULATION_MULTI, p.n_classes = 4;
    for (uint64_t i = 0; i < 20000; i++) {
        double y = population_label(&p, i);
        CHECK(y == 0 || y == 1 || y == 2 || y == 3);
        if (y >= 0 && y < 4) classes[(size_t)y]++;
    }
    for (size_t k = 0; k < 4; k++)
        CHECK(classes[k] > 1000);
    p.task = POPULATION_REGRESSION;
    for (uint64_t i = 0; i < 20000; i++)
        sum += population_label(&p, i);
    CHECK(fabs(sum / 20000) < 0.1);
}

/* The files hold what the functions say, and are the same for any number of threads. */
static void files(struct ctx *cx)
{
    const char *dir = scratch_dir(cx), *one = scratch_path(cx, dir, "one.csv"),
               *two = scratch_path(cx, dir, "two.csv");
    for (unsigned party = 0; party < 3; party++) {
        struct bytes a, b;
        const char *path = arena_printf(cx->mem, "%s/t%u", dir, party);
        const struct table *t;
        struct csv_result r;
        CHECK_OK(cx, population_write(cx, &base, party, one, NULL, NULL));
        cx->pool = pool_new(3);
        CHECK_OK(cx, population_write(cx, &base, party, two, NULL, NULL));
        pool_free(cx->pool);
        cx->pool = NULL;
        CHECK_OK(cx, file_read(cx, one, 1 << 26, &a));
        CHECK_OK(cx, file_read(cx, two, 1 << 26, &b));
        CHECK(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
        CHECK_OK(cx, csv_import(cx, one, path, NULL, NULL, NULL, &r));
        CHECK_OK(cx, table_open(cx, path, &t));
        unsigned first = party ? 3 + (party - 1) * 4 : 0, n = party ? 4 : 3, skip = party == 0;
        CHECK(t->n_rows == 20000 && t->n_cols == n + skip && (table_label(t) != NULL) == (party == 0));
        CHECK(fabs((double)r.n_missing / 20000 / n - 0.1) < 0.01);
        for (size_t i = 0; i < 500; i++) {
            char id[16];
            uint64_t who = population_person(&base, party, i);
            struct bytes got = table_id(t, i);
            population_id(&base, who, id);
            CHECK(got.n == 16 && memcmp(got.p, id, 16) == 0);
            double x;
            if (skip) {
                CHECK_OK(cx, table_read_f64(cx, t, &t->cols[0], i, i + 1, &x));
                CHECK(x == population_label(&base, who));
            }
            for (unsigned c = 0; c < n; c++) {
                CHECK_OK(cx, table_read_f64(cx, t, &t->cols[c + skip], i, i + 1, &x));
                double want = population_column(&base, who, first + c);
                if ((first + c) % 5 == 4) want *= 10;
                CHECK(isnan(x) || fabs(x - want) <= ((first + c) % 5 == 4 ? 0.5 : 5.0001e-7));
            }
        }
    }
    struct population p = base;
    p.ids_only = true, p.guest_columns = p.host_columns = 0;
    struct bytes a;
    CHECK_OK(cx, population_write(cx, &p, 1, one, NULL, NULL));
    CHECK_OK(cx, file_read(cx, one, 1 << 26, &a));
    CHECK(a.n == 3 + 17 * 20000 && memcmp(a.p, "id\n", 3) == 0);
}

static void refuses(struct ctx *cx)
{
    const char *dir = scratch_dir(cx);
    struct population bad[] = {base, base, base, base, base, base, base};
    bad[0].n_rows = 0, bad[1].n_common = 20001, bad[2].n_hosts = 0, bad[3].guest_columns = 0,
    bad[4].missing = 1;
    bad[5].id_length = 3, bad[6].id_length = 4, bad[6].n_rows = 70000;
    for (size_t i = 0; i < LEN(bad); i++)
        CHECK_ERR(population_write(cx, &bad[i], 0, scratch_path(cx, dir, "x.csv"), NULL, NULL), ARG);
    CHECK_ERR(population_write(cx, &base, 3, scratch_path(cx, dir, "x.csv"), NULL, NULL), ARG);
    CHECK_ERR(population_write(cx, &base, 0, scratch_path(cx, dir, "no/x.csv"), NULL, NULL), IO);
    CHECK(scratch_count(cx, dir) == 0);
}

TEST_MAIN(T(people), T(ids), T(columns), T(labels), T(files), T(refuses))
