/* world.h - several sites on one loop, with keys of a CA of their own, for the tests of net/. */
#pragma once
#include "base/bytes.h"
#include "base/loop.h"
#include "net/node.h"

enum { WORLD_SITES = 4, WORLD_PEERS = 8 };
struct got { /* a message that arrived */
    struct got *next;
    struct message m;
    uint64_t sum; /* of the payload */
};
struct site {
    struct world *w;
    struct node *node;
    struct node_config config;
    struct peer_config peers[WORLD_PEERS];
    struct got *got, **tail;
    size_t n_got;
    uint64_t bytes_got;
    bool refuse;            /* leave messages in the node's inbox */
    const char *refuse_job; /* those of this job only */
    size_t n_room, n_up, n_restart, n_calls, n_call_bytes;
    struct stream_key last_room;
    bool (*deliver)(void *arg, const struct message *m); /* instead of keeping messages */
    void (*room)(void *arg, const struct stream_key *k);
    bool (*on_call)(struct site *s, uint32_t party, uint64_t id, const char *method, const json_t *body);
};
struct world {
    struct ctx *cx;
    struct loop *loop;
    char dir[64];
    struct site site[WORLD_SITES];
};
void world_init(struct world *w, struct ctx *cx);
void world_free(struct world *w);
const char *world_file(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes party's key and certificate by the world's CA. */
void world_keys(struct world *w, uint32_t party);
/* Fills site i's config: party, files, listening on a free port of 127.0.0.1, no peers. */
struct site *world_site(struct world *w, size_t i, uint32_t party);
void site_peer(struct site *s, uint32_t party, uint16_t port); /* port 0: it dials us */
void site_via(struct site *s, uint32_t party, uint32_t via);   /* through an exchange */
void site_start(struct site *s);
/* Two sites that know each other: 1 (party 9999) dials 0 (party 10000). */
void world_pair(struct world *w);

/* Runs the loop until done(arg), at most ms; false: too late. done NULL: for ms. */
bool world_run(struct world *w, uint64_t ms, bool (*done)(void *arg), void *arg);
bool world_until_up(struct world *w, struct site *a, uint32_t party, uint64_t ms);

void fill_bytes(uint8_t *p, size_t n, uint64_t seed);
uint64_t sum_bytes(const void *p, size_t n);
struct message make_message(struct site *from, const char *job, uint32_t to, const char *tag, uint32_t seq,
                            const void *p, size_t n);
