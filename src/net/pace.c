/* pace.c - a link's rate limit: an allowance that fills up to PACE_MS of the rate and is charged with all that is
 * encrypted. Data frames wait for it; control frames do not, but count. */
#include "net/node_int.h"

enum { PACE_MS = 50 };

static uint64_t most(const struct link *l)
{
    uint64_t n = l->rate < UINT64_C(1) << 40 ? l->rate * PACE_MS / 1000 : FRAME_PIECE;
    return n > TLS_RECORD ? n : TLS_RECORD;
}

static void pace_over(struct loop *loop, void *arg)
{
    (void)loop;
    struct link *l = arg;
    l->pace = NULL;
    if (l->up) conn_pump(l->up);
}

bool pace_waits(struct link *l)
{
    if (!l->rate) return false;
    uint64_t now = clock_us();
    double per_us = (double)l->rate / 1e6, full = (double)most(l);
    l->allowance += per_us * (double)(now - l->pace_us);
    if (l->allowance > full) l->allowance = full;
    l->pace_us = now;
    if (l->allowance > 0) return false;
    if (!l->pace)
        l->pace = loop_after(l->n->loop, 1 + (uint64_t)(-l->allowance / per_us / 1000), pace_over, l);
    return l->pace; /* out of memory for a timer: too fast is better than never */
}

void pace_charge(struct link *l, size_t n)
{
    if (l && l->rate) l->allowance -= (double)n;
}

size_t pace_piece(const struct conn *c)
{
    uint64_t n = c->link->rate ? most(c->link) : FRAME_PIECE;
    return n < c->piece ? (size_t)n : c->piece;
}
