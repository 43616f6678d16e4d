/* Component SecureAddExample: the toy that shows two sites work together. Each party holds data_num ones, as fixed-point
 * numbers modulo 2^64 with 20 binary places; each splits its vector into two additive shares, keeps one and sends the
 * other; each adds the shares it holds; the host sends its sum, and the guest checks that the total is 2 * data_num.
 *
 * What each learns. Each sees one share of the other's vector, uniform and independent of it; the guest also the total.
 * Messages: add.share both ways, 8 * data_num bytes; add.sum from host to guest, 8 bytes. */
#include "base/arena.h"
#include "base/log.h"
#include "base/secret.h"
#include "fed/component.h"
#include <inttypes.h>
#include <math.h>

#define FRAC_BITS 20
#define ROWS_MAX  100000000.0

static const struct param params[] = {
    {"seed", PARAM_INT, true, "null", NULL, 0, 0, PARAM_BUILT,
     "accepted; shares are drawn from the kernel's randomness, never from a seed"},
    {"partition", PARAM_INT, false, "1", NULL, 1, 10000, PARAM_BUILT,
     "accepted; work is split by the thread pool"},
    {"data_num", PARAM_INT, false, "1000", NULL, 1, ROWS_MAX, PARAM_BUILT, "numbers that each party adds"},
};

/* Sends one share of the own vector, receives one of the other's, returns the sum of what is held. */
static status exchange(struct ctx *cx, struct task *t, struct party peer, size_t n, uint64_t *sum)
{
    uint64_t *away = NEW(cx, uint64_t, n);
    if (!away) return FAIL(cx, NOMEM, "%zu shares", n);
    TRY(rand_bytes(cx, away, n * sizeof *away));
    *sum = 0;
    for (size_t i = 0; i < n; i++)
        *sum += (UINT64_C(1) << FRAC_BITS) - away[i];
    TRY(channel_send(cx, t->channel, peer, "add.share", away, n * sizeof *away));
    struct bytes theirs;
    TRY(channel_recv(cx, t->channel, peer, "add.share", &theirs));
    if (theirs.n != n * sizeof *away)
        return FAIL(cx, ARG, "data_num differs: %zu here, %zu at the other party", n,
                    theirs.n / sizeof *away);
    struct reader r = reader_of(theirs.p, theirs.n);
    for (size_t i = 0; i < n; i++) {
        uint64_t x;
        TRY(reader_u64(cx, &r, &x));
        *sum += x;
    }
    task_progress(t, "rows", n, n);
    return OK;
}

static status run_guest(struct ctx *cx, struct task *t)
{
    size_t n = (size_t)task_int(t, "data_num");
    if (task_n(t, ROLE_HOST) != 1)
        return FAIL(cx, ARG, "SecureAddExample is for one host, the job has %zu", task_n(t, ROLE_HOST));
    struct party host = task_party(t, ROLE_HOST, 0);
    uint64_t mine, theirs;
    log_info(cx, "secure_add_guest: begin to share data", KV("data_num", n));
    TRY(exchange(cx, t, host, n, &mine));
    struct bytes m;
    TRY(channel_recv(cx, t->channel, host, "add.sum", &m));
    struct reader r = reader_of(m.p, m.n);
    TRY(reader_u64(cx, &r, &theirs));
    TRY(reader_end(cx, &r));
    double total = ldexp((double)(int64_t)(mine + theirs), -FRAC_BITS);
    if (!(fabs(total - 2.0 * (double)n) < 1e-6))
        return FAIL(cx, INTERNAL, "secure sum is %.10g, want %zu", total, 2 * n);
    log_info(cx,
             arena_printf(cx->mem, "secure_add_guest: success to calculate secure_sum, it is %.1f", total));
    return OK;
}

static status run_host(struct ctx *cx, struct task *t)
{
    struct party guest = task_party(t, ROLE_GUEST, 0);
    uint64_t mine;
    TRY(exchange(cx, t, guest, (size_t)task_int(t, "data_num"), &mine));
    CLEANUP(buf_free) struct buf b = {0};
    buf_u64(&b, mine);
    TRY(buf_ok(cx, &b));
    TRY(channel_send(cx, t->channel, guest, "add.sum", b.p, b.n));
    log_info(cx, "secure_add_host: success");
    return OK;
}

extern const struct component component_secure_add;
const struct component component_secure_add = {
    .module = "SecureAddExample",
    .text = "A toy job: two parties add secret-shared vectors, to show that two sites reach each other and "
            "agree.",
    .params = params,
    .n_params = LEN(params),
    .run = {[ROLE_GUEST] = run_guest, [ROLE_HOST] = run_host},
};
