#include "table/population.h"
#include "base/arena.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/pool.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_ROWS = 2048, WINDOW = 16, FACTORS = 5, DECIMALS = 1000000 };
#define MOST_ROWS ((uint64_t)UINT32_MAX - 1)

/* What a draw is for; each has a stream of its own. */
enum { DRAW_FACTOR = 1, DRAW_OWN, DRAW_MISSING, DRAW_LABEL, DRAW_ORDER, DRAW_ID, DRAW_ID_REST };

/* SplitMix64's finisher (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint64_t draw(const struct population *p, unsigned what, uint64_t a, uint64_t b)
{
    return mix(mix(mix(p->seed + what * 0x9e3779b97f4a7c15) + a) + b * 0xd1342543de82ef95);
}

/* Mean 0, deviation 1: four uniforms of 16 bits. Their sum has mean 2 (65535 / 65536 nearly) and variance 1/3. */
static double standard(uint64_t r)
{
    uint64_t sum = (r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48);
    return ((double)sum - 2.0 * 65535) * (1.7320508075688772 / 65536);
}

static double unit(uint64_t r)
{
    return (double)(r >> 11) * 0x1p-53;
}

/* A permutation of 2^(2 half) numbers. */
static uint64_t feistel(const struct population *p, unsigned what, uint64_t key, unsigned half, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (unsigned round = 0; round < 4; round++) {
        uint64_t f = draw(p, what, key * 4 + round, right) & mask, old = right;
        right = left ^ f;
        left = old;
    }
    return left << half | right;
}

uint64_t population_person(const struct population *p, unsigned party, uint64_t row)
{
    unsigned half = 1;
    while ((uint64_t)1 << (2 * half) < p->n_rows)
        half++;
    do
        row = feistel(p, DRAW_ORDER, party, half, row);
    while (row >= p->n_rows); /* on average fewer than four times */
    return row < p->n_common ? row : row + party * (p->n_rows - p->n_common);
}

void population_id(const struct population *p, uint64_t person, char *out)
{
    static const char hex[] = "0123456789abcdef";
    unsigned n = p->id_length < 16 ? p->id_length : 16;
    uint64_t x = feistel(p, DRAW_ID, 0, 2 * n, person), rest = 0;
    for (unsigned i = n; i-- > 0; x >>= 4)
        out[i] = hex[x & 15];
    for (unsigned i = n; i < p->id_length; i++, rest >>= 4) {
        if (i % 16 == 0) rest = draw(p, DRAW_ID_REST, person, i);
        out[i] = hex[rest & 15];
    }
}

double population_column(const struct population *p, uint64_t person, unsigned i)
{
    return 0.6 * standard(draw(p, DRAW_FACTOR, person, i % FACTORS)) +
           0.8 * standard(draw(p, DRAW_OWN, person, i));
}

static double guest_value(const struct population *p, uint64_t person, unsigned i)
{
    return population_column(p, person, i % p->guest_columns);
}

static double host_value(const struct population *p, uint64_t person, unsigned i)
{
    unsigned host = i % p->n_hosts;
    return population_column(p, person, p->guest_columns + host * p->host_columns + i % p->host_columns);
}

static double magnitude(double x)
{
    return x < 0 ? -x : x;
}

/* |x| stays below 5, so that 16 more make x + 1 positive. */
static double triangle(double x)
{
    x = x + 1 + 16;
    x -= 4 * (double)(int)(x / 4);
    return 1 - magnitude(x - 2);
}

double population_label(const struct population *p, uint64_t person)
{
    double u = 0.8 * guest_value(p, person, 0) - 0.6 * host_value(p, person, 0) +
               0.9 * guest_value(p, person, 1) * host_value(p, person, 1) +
               0.7 * (magnitude(guest_value(p, person, 2)) - 0.8) + 0.8 * triangle(host_value(p, person, 2));
    uint64_t r = draw(p, DRAW_LABEL, person, 0);
    if (p->task == POPULATION_BINARY) {
        double t = 3 * u - 0.6;
        return unit(r) < 0.5 + 0.5 * t / (1 + magnitude(t));
    }
    u += 0.3 * standard(r);
    if (p->task == POPULATION_REGRESSION) return u;
    double part = (u + 2) / 4 * p->n_classes;
    return part < 0 ? 0 : part >= p->n_classes ? p->n_classes - 1 : (double)(unsigned)part;
}

static void put_unsigned(struct buf *b, uint64_t x, unsigned least_digits)
{
    char t[24];
    size_t n = sizeof t;
    for (; x || least_digits; x /= 10) {
        t[--n] = (char)('0' + x % 10);
        least_digits -= least_digits > 0;
    }
    buf_put(b, t + n, sizeof t - n);
}

/* x rounded to a whole number, half away from zero. */
static uint64_t rounded(double x)
{
    return (uint64_t)(magnitude(x) + 0.5);
}

static void put_real(struct buf *b, double x)
{
    uint64_t scaled = rounded(x * DECIMALS);
    if (x < 0 && scaled) buf_u8(b, '-');
    put_unsigned(b, scaled / DECIMALS, 1);
    buf_u8(b, '.');
    put_unsigned(b, scaled % DECIMALS, 6);
}

static void put_value(struct buf *b, double x, bool whole)
{
    if (!whole) {
        put_real(b, x);
        return;
    }
    if (x < 0 && rounded(10 * x)) buf_u8(b, '-');
    put_unsigned(b, rounded(10 * x), 1);
}

static void put_label(struct buf *b, const struct population *p, uint64_t person)
{
    double y = population_label(p, person);
    buf_u8(b, ',');
    if (p->task == POPULATION_REGRESSION)
        put_real(b, y);
    else
        put_unsigned(b, (uint64_t)y, 1);
}

static void put_row(struct buf *b, const struct population *p, unsigned party, uint64_t row)
{
    uint64_t person = population_person(p, party, row);
    uint8_t *id = buf_grow(b, p->id_length);
    if (!id) return;
    population_id(p, person, (char *)id);
    if (!p->ids_only) {
        unsigned first = party ? p->guest_columns + (party - 1) * p->host_columns : 0;
        unsigned n = party ? p->host_columns : p->guest_columns;
        if (party == 0) put_label(b, p, person);
        for (unsigned i = first; i < first + n; i++) {
            buf_u8(b, ',');
            if (p->missing > 0 && unit(draw(p, DRAW_MISSING, person, i)) < p->missing) continue;
            put_value(b, population_column(p, person, i), i % FACTORS == FACTORS - 1);
        }
    }
    buf_u8(b, '\n');
}

struct window {
    const struct population *p;
    unsigned party;
    uint64_t first; /* row */
    struct buf bufs[WINDOW];
};

static status fill_chunk(struct ctx *cx, size_t chunk, size_t begin, size_t end, void *arg)
{
    struct window *w = (struct window *)arg;
    struct buf *b = &w->bufs[chunk];
    buf_reset(b);
    for (size_t i = begin; i < end; i++)
        put_row(b, w->p, w->party, w->first + i);
    TRY(buf_ok(cx, b));
    return ctx_check(cx);
}

static status write_header(struct ctx *cx, const struct population *p, unsigned party, int fd)
{
    CLEANUP(buf_free) struct buf b = {0};
    unsigned n = p->ids_only ? 0 : party ? p->host_columns : p->guest_columns;
    buf_put(&b, "id", 2);
    if (!p->ids_only && party == 0) buf_put(&b, ",y", 2);
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b, ",x%u", i);
    buf_u8(&b, '\n');
    TRY(buf_ok(cx, &b));
    return fd_write_all(cx, fd, b.p, b.n);
}

static status write_rows(struct ctx *cx, struct window *w, int fd,
                         void (*progress)(void *, uint64_t, uint64_t), void *arg)
{
    uint64_t n = w->p->n_rows, window = WINDOW * CHUNK_ROWS;
    for (w->first = 0; w->first < n; w->first += window) {
        size_t k = (size_t)(n - w->first < window ? n - w->first : window);
        TRY(pool_for(cx, k, CHUNK_ROWS, fill_chunk, w));
        for (size_t c = 0; c < pool_chunks(k, CHUNK_ROWS); c++)
            TRY(fd_write_all(cx, fd, w->bufs[c].p, w->bufs[c].n));
        if (progress) progress(arg, w->first + k, n);
    }
    return OK;
}

status population_check(struct ctx *cx, const struct population *p)
{
    uint64_t people = p->n_common + (p->n_hosts + (uint64_t)1) * (p->n_rows - p->n_common);
    if (p->n_rows < 1 || p->n_rows > MOST_ROWS)
        return FAIL(cx, ARG, "%ju rows, want 1 to %ju", (uintmax_t)p->n_rows, (uintmax_t)MOST_ROWS);
    if (p->n_common > p->n_rows) return FAIL(cx, ARG, "more common people than rows");
    if (p->n_hosts < 1 || p->n_hosts > 100) return FAIL(cx, ARG, "%u hosts, want 1 to 100", p->n_hosts);
    if (!p->ids_only &&
        (p->guest_columns < 1 || p->host_columns < 1 || p->guest_columns > 65535 || p->host_columns > 65535))
        return FAIL(cx, ARG, "%u and %u columns, want 1 to 65535 at each party", p->guest_columns,
                    p->host_columns);
    if (p->task == POPULATION_MULTI && (p->n_classes < 2 || p->n_classes > 1000))
        return FAIL(cx, ARG, "%u classes, want 2 to 1000", p->n_classes);
    if (!(p->missing >= 0 && p->missing < 1))
        return FAIL(cx, ARG, "missing %g, want 0 or more and below 1", p->missing);
    if (p->id_length < 4 || p->id_length > 64)
        return FAIL(cx, ARG, "ids of %u characters, want 4 to 64", p->id_length);
    if (p->id_length < 16 && people > (uint64_t)1 << (4 * p->id_length))
        return FAIL(cx, ARG, "ids of %u characters are too few for %ju people", p->id_length,
                    (uintmax_t)people);
    return OK;
}

static status write_file(struct ctx *cx, struct window *w, const char *file,
                         void (*progress)(void *, uint64_t, uint64_t), void *arg)
{
    CLEANUP(fd_closep) int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return FAIL(cx, IO, "create %s: %m", file);
    TRY_IN(cx, write_header(cx, w->p, w->party, fd), "write %s", file);
    TRY_IN(cx, write_rows(cx, w, fd, progress, arg), "write %s", file);
    return OK;
}

status population_write(struct ctx *cx, const struct population *p, unsigned party, const char *file,
                        void (*progress)(void *arg, uint64_t rows_done, uint64_t rows_all), void *arg)
{
    struct window w = {.p = p, .party = party};
    TRY(population_check(cx, p));
    if (party > p->n_hosts) return FAIL(cx, ARG, "party %u of %u", party, p->n_hosts + 1);
    const char *part = arena_printf(cx->mem, "%s.part", file);
    if (!part) return FAIL(cx, NOMEM, "a path");
    status st = write_file(cx, &w, part, progress, arg);
    if (!st.code && rename(part, file) < 0) st = FAIL(cx, IO, "rename %s to %s: %m", part, file);
    if (st.code) (void)unlink(part);
    for (size_t i = 0; i < WINDOW; i++)
        buf_free(&w.bufs[i]);
    return st;
}
