/* probe.c - the real link, measured: round trips of small calls, then bytes both ways in calls of PIECE bytes. */
#include "base/arena.h"
#include "flow/site_int.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIECE         (512u << 10)
#define BYTES_MAX     (8u << 20)
#define ROUNDS        5
#define CALL_MS       20000
#define GIVEN_MS      10000 /* what doctors of other sites may have of us in such a time: */
#define GIVEN_BYTES   (32u << 20)
#define UNDER_WAY_MAX 4 /* calls: enough to fill a link, and little memory */

/* ---- the asked site ---- */

static status give(struct request *rq, const json_t *body, json_t **out)
{
    struct ctx *cx = &rq->cx;
    struct site *s = rq->site;
    int64_t n;
    uint64_t now = clock_ms();
    TRY(js_get_i64(cx, body, "n", &n));
    if (n < 0 || n > (int64_t)PIECE) return FAIL(cx, ARG, "%" PRId64 " bytes, want 0 to %u", n, PIECE);
    const char *pad = json_string_value(json_object_get(body, "pad"));
    size_t got = pad ? strlen(pad) : 0;
    if (now - s->probe_window_ms > GIVEN_MS) s->probe_window_ms = now, s->probe_bytes = 0;
    if (s->probe_bytes + (uint64_t)n + got > GIVEN_BYTES)
        return FAIL(cx, LIMIT, "more than %u bytes of measuring in %d s: try again then", GIVEN_BYTES,
                    GIVEN_MS / 1000);
    s->probe_bytes += (uint64_t)n + got;
    char *text = NEW(cx, char, (size_t)n + 1);
    if (!text) return FAIL(cx, NOMEM, "%" PRId64 " bytes", n);
    memset(text, 'x', (size_t)n);
    *out = json_pack("{s:s,s:I}", "pad", text, "got", (json_int_t)got);
    return *out ? OK : FAIL(cx, NOMEM, "an answer");
}

void method_bytes(struct request *rq, const json_t *body)
{
    json_t *out = NULL;
    status st = give(rq, body, &out);
    request_end(rq, st, out);
}

/* ---- the asking site: a line of steps, each begun when the one before has ended ---- */

enum step { STEP_TRIPS, STEP_DOWN, STEP_UP, STEP_DONE };
struct probe {
    struct request *rq;
    uint32_t party;
    uint64_t pieces; /* each way */
    enum step step;
    uint64_t sent, answered; /* calls of this step */
    uint64_t began_us;
    double trips_ms[ROUNDS];
    double down_s, up_s;
    json_t *ask_down, *ask_up;
    struct err err;
    uint64_t under_way;
};

static void probe_next(struct probe *p);

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void finish(struct probe *p)
{
    struct request *rq = p->rq;
    if (p->err.code) {
        rq->cx.err = p->err;
        request_end(rq, (status){p->err.code}, NULL);
        return;
    }
    double bytes = (double)p->pieces * PIECE;
    qsort(p->trips_ms, ROUNDS, sizeof p->trips_ms[0], by_size);
    request_end(rq, OK,
                json_pack("{s:I,s:f,s:f,s:I,s:f,s:f}", "party", (json_int_t)p->party, "round_trip_ms",
                          p->trips_ms[ROUNDS / 2], "least_round_trip_ms", p->trips_ms[0], "bytes",
                          (json_int_t)bytes, "down_bytes_per_s", p->pieces ? bytes / p->down_s : 0.0,
                          "up_bytes_per_s", p->pieces ? bytes / p->up_s : 0.0));
}

static void answered(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct probe *p = arg;
    uint64_t now = clock_us();
    p->under_way--;
    if (err && !p->err.code) p->err = *err;
    if (p->err.code) {
        if (p->under_way == 0) finish(p);
        return;
    }
    if (p->step == STEP_TRIPS) {
        p->trips_ms[p->answered] = (double)(now - p->began_us) / 1000;
        p->began_us = now;
    }
    p->answered++;
    double s = (double)(now - p->began_us) / 1e6;
    if (p->step == STEP_DOWN) p->down_s = s > 0 ? s : 1e-6;
    if (p->step == STEP_UP) p->up_s = s > 0 ? s : 1e-6;
    probe_next(p);
}

static void probe_next(struct probe *p)
{
    uint64_t all = p->step == STEP_TRIPS ? ROUNDS : p->pieces;
    if (p->answered == all) {
        p->step++;
        if (p->step == STEP_DONE || p->pieces == 0) {
            finish(p);
            return;
        }
        p->sent = p->answered = 0, all = p->pieces;
        p->began_us = clock_us();
    }
    uint64_t width = p->step == STEP_TRIPS ? 1 : UNDER_WAY_MAX;
    for (; p->under_way < width && p->sent < all; p->sent++, p->under_way++)
        site_call(p->rq->site, p->party, p->step == STEP_TRIPS ? "site.hello" : "site.bytes",
                  p->step == STEP_UP ? p->ask_up : p->ask_down, CALL_MS, answered, p);
}

static void drop(void *j)
{
    json_decref(j);
}

static status probe(struct request *rq, const json_t *body)
{
    struct ctx *cx = &rq->cx;
    struct probe *p = NEW(cx, struct probe, 1);
    char *pad = NEW(cx, char, PIECE + 1);
    int64_t party, bytes;
    struct link_state l;
    if (!p || !pad) return FAIL(cx, NOMEM, "a measurement");
    TRY(js_get_i64(cx, body, "party", &party));
    TRY(js_get_i64(cx, body, "bytes", &bytes));
    if (bytes < 0 || bytes > (int64_t)BYTES_MAX)
        return FAIL(cx, ARG, "%" PRId64 " bytes, want 0 to %u", bytes, BYTES_MAX);
    if (party <= 0 || party > INT32_MAX || !node_link(rq->site->node, (uint32_t)party, &l))
        return FAIL(cx, NOTFOUND, "party %" PRId64 " is no peer of this site", party);
    memset(pad, 'x', PIECE);
    *p = (struct probe){
        .rq = rq, .party = (uint32_t)party, .pieces = (uint64_t)bytes / PIECE, .began_us = clock_us()};
    p->ask_down = json_pack("{s:I}", "n", (json_int_t)PIECE);
    p->ask_up = json_pack("{s:i,s:s}", "n", 0, "pad", pad);
    bool kept = p->ask_down && arena_on_free(cx->mem, drop, p->ask_down);
    if (!kept || !p->ask_up || !arena_on_free(cx->mem, drop, p->ask_up))
        return FAIL(cx, NOMEM, "a measurement");
    probe_next(p);
    return OK;
}

void method_probe(struct request *rq, const json_t *body)
{
    status st = probe(rq, body);
    if (st.code) request_end(rq, st, NULL);
}
