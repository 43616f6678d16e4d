/* streams.h - the streams that a node has, for status and for finding what nobody reclaimed. */
#pragma once
#include "net/node.h"

struct stream_state {
    struct stream_key key;
    uint32_t peer;     /* the other site; our own party's id for streams within this site */
    bool out;          /* we send */
    uint64_t messages; /* that wait: for the peer's acknowledgement, or for the local task */
    uint64_t bytes;    /* of them */
    uint64_t total;    /* payload bytes so far */
};
/* Fills at most max; returns how many there are. */
size_t node_streams(const struct node *n, struct stream_state *out, size_t max);
