/* relay.h - a hop between two sites that does what networks do: cuts, delays, stalls, corrupts. On the tests'
 * loop. */
#pragma once
#include "base/loop.h"

struct relay;
struct relay *relay_new(struct loop *l, uint16_t to_port); /* to 127.0.0.1; aborts on failure */
void relay_free(struct relay *r);
uint16_t relay_port(const struct relay *r);
void relay_cut(struct relay *r); /* all connections, now, by reset */
void relay_cut_after(struct relay *r,
                     uint64_t bytes); /* the next connections, each after so many bytes; 0: never */
void relay_corrupt_after(struct relay *r, uint64_t bytes); /* one bit of one byte, once; 0: never */
void relay_duplicate(struct relay *r);                     /* the next bytes come twice, once */
void relay_stall(struct relay *r, bool on);                /* swallow nothing, forward nothing */
void relay_delay(struct relay *r, uint64_t ms);            /* each way */
void relay_refuse(struct relay *r, bool on);               /* accept and close at once */
void relay_rate(struct relay *r, uint64_t bytes_per_s);    /* of the next connections, each way; 0: any */
size_t relay_open(const struct relay *r);                  /* connections that stand now */
size_t relay_connections(const struct relay *r);           /* so far */
