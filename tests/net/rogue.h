/* rogue.h - an exchange of ours that is not norn: it holds a valid certificate, forwards tunnels between two sites, and alters,
 * drops, repeats or moves what it forwards when told. Written from docs/formats/wire.md. */
#pragma once
#include "raw.h"
#include "net/frame.h"

enum rogue_fault {
    ROGUE_HONEST,
    ROGUE_ALTER,  /* one bit of the next piece */
    ROGUE_DROP,   /* the next piece */
    ROGUE_REPEAT, /* the next piece, twice */
    ROGUE_OLD,    /* a piece from before, once more */
    ROGUE_SWAP,   /* the next two pieces change places */
    ROGUE_FORGE,  /* a piece of its own */
    ROGUE_END,    /* ends the tunnel in the middle, saying nothing to the other side of why */
    ROGUE_FAULTS,
    ROGUE_SWALLOW, /* everything from now on, until another fault is set */
};
struct rogue {
    struct world *w;
    uint32_t party;
    struct rogue_end {
        uint16_t port;
        uint32_t party, next;
        struct raw raw;
        bool hello;
        struct buf in, out;
        size_t sent;
    } end[2];
    struct {
        uint32_t number[2];
    } pair[64];
    size_t n_pairs;
    enum rogue_fault fault;
    struct buf held, old; /* the first of two that change places; one from before */
    int held_for;
    const char *needle;                              /* looked for in all that passes */
    size_t n_needle, pieces, faults, tunnels, dials; /* seen so far */
};
void rogue_start(struct rogue *r, struct world *w,
                 uint32_t party); /* between sites 0 and 1; w's keys for party */
void rogue_stop(struct rogue *r);
void rogue_step(struct rogue *r); /* moves what is there; call it often */
