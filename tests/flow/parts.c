/* parts.c - components that only tests have, in place of the real registry: a ping-pong between guest and
 * hosts that can be slow, fail, stay silent, crash or stop itself. Linked into the plan's tests and into
 * norn_test, the e2e binary. */
#include "base/arena.h"
#include "base/log.h"
#include "fed/component.h"
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const struct param params[] = {
    {"rounds", PARAM_INT, false, "3", NULL, 1, 1000000, PARAM_BUILT, "messages each way"},
    {"delay_ms", PARAM_INT, false, "0", NULL, 0, 60000, PARAM_BUILT, "sleep in every round"},
    {"fail_round", PARAM_INT, false, "-1", NULL, -1, 1000000, PARAM_BUILT, "end with an error there"},
    {"crash_round", PARAM_INT, false, "-1", NULL, -1, 1000000, PARAM_BUILT, "die of a signal there"},
    {"silent_round", PARAM_INT, false, "-1", NULL, -1, 1000000, PARAM_BUILT, "never answer from there on"},
    {"deep.mode", PARAM_STR, false, "\"plain\"", "plain|fancy", 0, 0, PARAM_BUILT, "nothing"},
};

static void nap(int64_t ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static status misbehave(struct ctx *cx, const struct task *t, int64_t round)
{
    nap(task_int(t, "delay_ms"));
    if (round == task_int(t, "fail_round"))
        return FAIL(cx, ARG, "told to fail in round %lld", (long long)round);
    if (round == task_int(t, "crash_round")) {
        log_error(cx, "about to crash", KV("round", round));
        raise(SIGSEGV);
    }
    while (round == task_int(t, "silent_round")) {
        TRY(ctx_check(cx));
        nap(10);
    }
    return ctx_check(cx);
}

static status run(struct ctx *cx, struct task *t)
{
    int64_t rounds = task_int(t, "rounds");
    size_t n_hosts = task_n(t, ROLE_HOST);
    struct bytes m;
    for (int64_t i = 0; i < rounds; i++) {
        TRY(misbehave(cx, t, i));
        if (t->me.role == ROLE_GUEST) {
            for (size_t k = 0; k < n_hosts; k++)
                TRY(channel_send(cx, t->channel, task_party(t, ROLE_HOST, k), "ping", &i, sizeof i));
            for (size_t k = 0; k < n_hosts; k++)
                TRY(channel_recv(cx, t->channel, task_party(t, ROLE_HOST, k), "pong", &m));
        } else {
            TRY(channel_recv(cx, t->channel, task_party(t, ROLE_GUEST, 0), "ping", &m));
            TRY(channel_send(cx, t->channel, task_party(t, ROLE_GUEST, 0), "pong", m.p, m.n));
        }
        task_progress(t, "rounds", (uint64_t)i + 1, (uint64_t)rounds);
    }
    CLEANUP(json_decrefp)
    json_t *summary = json_pack("{s:I}", "rounds", (json_int_t)rounds);
    CLEANUP(json_decrefp) json_t *meta = json_pack("{s:s}", "metric_type", "TEST");
    CLEANUP(json_decrefp) json_t *points = json_pack("[[s,I]]", "rounds", (json_int_t)rounds);
    TRY(task_metric(cx, t, "train", "ping", meta, points));
    return task_summary(cx, t, summary);
}

/* Passes its table on; gives a model when it trains and says whether it was given one. */
static status run_model(struct ctx *cx, struct task *t)
{
    const struct table *in = task_input(t, "data");
    bool predict = task_model(t) != NULL;
    const char *path;
    if (!in) return FAIL(cx, ARG, "no input table");
    uint32_t *rows = NEW(cx, uint32_t, in->n_rows + 1);
    for (size_t i = 0; i < in->n_rows; i++)
        rows[i] = (uint32_t)i;
    TRY(task_output_path(cx, t, 0, &path));
    TRY(table_derive(cx, path, in, rows, in->n_rows, NULL, NULL));
    CLEANUP(json_decrefp)
    json_t *summary = json_pack("{s:b,s:I}", "predict", (int)predict, "rows", (json_int_t)in->n_rows);
    TRY(task_summary(cx, t, summary));
    struct model_part *m = NEW(cx, struct model_part, 1);
    m->n_buffers = 2;
    m->buffers[0] = (struct model_buffer){.name = "TestMeta", .proto = "DataTransformMeta"};
    m->buffers[1] = (struct model_buffer){.name = "TestParam", .proto = "DataTransformParam"};
    if (!predict) t->model_out = m;
    return OK;
}

static const char *const data_in[] = {"data", "train_data", NULL};
static const char *const needs[] = {"data|train_data", NULL};
static const struct component ping = {.module = "TestPing",
                                      .text = "",
                                      .params = params,
                                      .n_params = LEN(params),
                                      .data_in = data_in,
                                      .gives_data = true,
                                      .run = {[ROLE_GUEST] = run, [ROLE_HOST] = run}};
static const struct component sink = {.module = "TestSink",
                                      .text = "",
                                      .params = params,
                                      .n_params = LEN(params),
                                      .data_in = data_in,
                                      .required_in = needs,
                                      .run = {[ROLE_GUEST] = run, [ROLE_HOST] = run}};
static const struct component model = {.module = "TestModel",
                                       .text = "",
                                       .data_in = data_in,
                                       .required_in = needs,
                                       .takes_model = true,
                                       .gives_data = true,
                                       .gives_model = true,
                                       .run = {[ROLE_GUEST] = run_model, [ROLE_HOST] = run_model}};
extern const struct component component_reader;
static const struct component *const all[] = {&ping, &sink, &model, &component_reader};

const struct component *const *component_all(size_t *n)
{
    *n = LEN(all);
    return all;
}

const struct component *component_find(const char *module)
{
    for (size_t i = 0; i < LEN(all); i++)
        if (strcasecmp(all[i]->module, module) == 0) return all[i];
    return NULL;
}
