/* channel.h - what a component sees of the network: named messages to and from the parties of its job.
 *
 * A message is named by (peer, tag, sequence); the sequence counts by itself, per peer and tag, at both ends, so the k-th
 * send of a tag meets the k-th recv of it whatever the order of arrival. A value has any size up to 4 GiB; it travels in
 * frames of at most 1 MiB. Both calls are for the task's own thread. */
#pragma once
#include "base/bytes.h"

enum role { ROLE_GUEST, ROLE_HOST, ROLE_ARBITER, ROLE_LOCAL, ROLE_COUNT };
const char *role_name(enum role r); /* "guest" */
bool role_parse(const char *s, enum role *out);

struct party {
    enum role role;
    uint32_t id;
};
#define TAG_MAX 64 /* bytes: letters, digits, '_', '.', '-' */
bool tag_valid(const char *tag);

struct channel_ops {
    status (*send)(struct ctx *cx, void *self, struct party to, const char *tag, const void *p, size_t n);
    status (*recv)(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out);
    uint64_t (*bytes_sent)(void *self, struct party to); /* payload bytes so far */
};
struct channel {
    const struct channel_ops *ops;
    void *self;
};

/* Returns when the message is in the local outbox or the window is open for it. The bytes are the caller's again.
 * PEER: the other party's task has failed (with its message); TIMEOUT: no progress for the task's deadline, naming the
 * peer, the tag and the state of the link; CANCELLED. */
static inline status channel_send(struct ctx *cx, struct channel *ch, struct party to, const char *tag,
                                  const void *p, size_t n)
{
    return ch->ops->send(cx, ch->self, to, tag, p, n);
}
/* Waits for the message; its bytes are in cx->mem (rewind the arena to give them back). Errors as channel_send. */
static inline status channel_recv(struct ctx *cx, struct channel *ch, struct party from, const char *tag,
                                  struct bytes *out)
{
    return ch->ops->recv(cx, ch->self, from, tag, out);
}

/* A hub joins parties inside one process (tests, benches): one channel for each party, each used by one thread.
 * tap, when given, sees every message (wire tests). A party that ends with an error calls hub_fail so that the others'
 * waits end with PEER. */
struct hub;
struct hub *hub_new(uint64_t deadline_ms,
                    void (*tap)(void *arg, struct party from, struct party to, const char *tag, const void *p,
                                size_t n),
                    void *arg);
void hub_free(struct hub *h);
struct channel *hub_channel(struct hub *h, struct party me); /* lives as long as the hub */
void hub_fail(struct hub *h, struct party who, const char *why);
