/* flow.h - messages of all sizes both ways between two sites of a world, checked for arrival, order and content, while
 * the hop between may be cut at random. */
#pragma once
#include "relay.h"
#include "world.h"
#include "base/secret.h"

struct flow {
    struct world *w;
    struct site *from;
    uint32_t to, next;
    uint8_t *bytes;
    size_t n_want, most; /* messages; bytes of the largest */
    uint64_t seed;
};
struct run { /* between sites 0 and 1 */
    struct flow flow[2];
    struct relay *relay;
    struct shuffle dice;
    uint64_t next_fault_ms, mean_ms;
    bool cuts;                               /* the relay's connections, every 30 ms on average */
    void (*fault)(struct run *r, void *arg); /* instead of a cut */
    void *arg;
};
void run_start(struct run *r, struct world *w, struct relay *relay, size_t n);
void run_finish(struct run *r, struct world *w, uint64_t ms); /* CHECKs that all came within ms */
