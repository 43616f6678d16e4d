/* node.h - a site's end of all its links to other sites. Everything here runs on the site's loop thread.
 *
 * Link: one TLS 1.3 connection per pair of sites (either may dial; both dialling at once is settled by the lower party
 * id's connection staying), both ends authenticated by certificate against the federation's CA; the party id is in the
 * certificate (subject CN "party-9999" and a URI SAN "norn:party:9999") and must be the one expected.
 * Messages are acknowledged one by one; after a cut, links reconnect with growing delay and unacknowledged messages go
 * again; duplicates are dropped by name. A peer may be reached through another one, an exchange: the same link then runs in
 * a tunnel of frames that the exchange forwards and cannot read, alter or repeat. Frames are at most 1 MiB, with credit per stream, so that one stalled task neither
 * fills memory nor stops the others. Heartbeats find a dead peer. docs/formats/wire.md draws the frames. */
#pragma once
#include "base/loop.h"
#include "base/js.h"
#include "net/channel.h"

struct node;
struct peer_config {
    uint32_t party;
    const char *host; /* NULL: this peer dials us */
    uint16_t port;
    uint32_t via; /* reached through that peer, an exchange; host is NULL then. 0: directly */
    /* What we send it, bytes a second; messages of jobs wait for it, control frames go ahead and count. 0: as
     * node_config says; UINT64_MAX: any. */
    uint64_t rate_bytes;
};
struct node_config {
    uint32_t party;
    const char *listen_host; /* "127.0.0.1"; NULL: accept nobody */
    uint16_t listen_port;    /* 0: any free one, see node_port */
    const char *key_file, *cert_file, *ca_file;
    const struct peer_config *peers;
    size_t n_peers;
    uint64_t heartbeat_ms; /* 0 = 2000; a peer silent for 5 of them is cut and dialled again */
    uint64_t dial_ms;      /* 0 = 5000 */
    uint64_t window_bytes; /* per stream, 0 = 16 MiB */
    uint64_t outbox_bytes; /* per stream, 0 = 64 MiB */
    /* All messages that wait here, either way: beyond memory_bytes those of 64 KiB and more lie in a nameless file in
     * spill_dir, at most disk_bytes (0: any). memory_bytes 0 or spill_dir NULL: all in memory. */
    uint64_t memory_bytes, disk_bytes;
    const char *spill_dir;
    /* A peer: parties that are not among peers are reached, and reach us, through it, if they have a certificate of our
     * CA. 0: only those named. */
    uint32_t default_via;
    uint64_t rate_bytes;    /* to each peer for which none is given; 0: any */
    uint64_t forward_bytes; /* memory for what this site forwards as an exchange; 0: forwards nothing */
};
/* A stream carries one task's messages between two parties: it is the unit of credit, of `why` and of reclaiming. */
struct stream_key {
    char job[48];
    char task[96];         /* component and attempt: "hetero_secure_boost_0.0" */
    struct party from, to; /* from.id / to.id are the sites */
};
struct message {
    struct stream_key stream;
    char tag[TAG_MAX + 1];
    uint32_t seq;
    struct bytes payload;
};
struct link_state {
    uint32_t party, via;  /* via 0: directly */
    uint8_t wire_version; /* agreed, of the last connection; 0: none yet */
    uint64_t features;    /* that both ends have, frame.h lists them */
    bool up, dialling;
    int64_t since_ms; /* wall clock, of the present state */
    int64_t last_heard_ms;
    uint64_t bytes_in, bytes_out; /* on the wire, all connections so far */
    uint64_t queued_bytes;        /* not yet acknowledged */
    double round_trip_ms;
    char peer_version[32], address[80], last_error[240];
};
struct node_events {
    void *arg;
    /* A whole message for a local task. Return true to take it (the payload is valid during the call only), false to
     * leave it in the node's inbox: no credit is given for it until node_resume. */
    bool (*on_message)(void *arg, const struct message *m);
    /* The outbox of this stream has room again after node_send said STATE. */
    void (*on_room)(void *arg, const struct stream_key *s);
    /* Up, down, or a new reason for being down. */
    void (*on_link)(void *arg, const struct link_state *l);
    /* The peer's site process is another one than before: what it held in memory is gone. Streams of which it had
     * acknowledged anything take no message any more (PEER), others begin again; whole messages that came from it stay;
     * calls under way end with PEER. The owner ends or repeats the jobs concerned, under new stream keys. NULL: not told. */
    void (*on_restart)(void *arg, uint32_t party);
    /* A peer opens a stream to a local task: false refuses it, the peer's node_send then gives NOTFOUND. NULL: all. */
    bool (*on_stream)(void *arg, const struct stream_key *s);
    /* A request from another site; answer with node_answer (now or later). body is borrowed. */
    void (*on_call)(void *arg, uint32_t party, uint64_t call_id, const char *method, const json_t *body);
};
/* ARG, IO (port taken: names it), AUTH (certificate expired, not of this party, not signed by the CA: names file). */
status node_new(struct ctx *cx, struct loop *l, const struct node_config *c, const struct node_events *ev,
                struct node **out);
void node_free(struct node *n);
void node_freep(struct node **n);
uint16_t node_port(const struct node *n);

/* Queues a message (copied). STATE: the stream's outbox is full, wait for on_room. NOTFOUND: no such peer, naming those
 * known. A message to this site's own party (guest and host at one site) is delivered locally. */
status node_send(struct ctx *cx, struct node *n, const struct message *m);
void node_resume(struct node *n, const struct stream_key *s); /* offer what was left in the inbox again */
/* Forgets all streams of the job (or of one task of it when task is not NULL), both directions. */
void node_reclaim(struct node *n, const char *job, const char *task);
/* Payload bytes this site has sent / got on the job's streams with that party, kept until reclaimed. */
void node_job_bytes(const struct node *n, const char *job, uint32_t party, uint64_t *sent,
                    uint64_t *received);

/* A request to another site (control messages go ahead of data). done gets the answer or an error: PEER with the peer's
 * text, TIMEOUT naming the link's state, NOTFOUND. body is not consumed. */
typedef void (*node_done)(void *arg, const struct err *err, const json_t *answer);
status node_call(struct ctx *cx, struct node *n, uint32_t party, const char *method, const json_t *body,
                 uint64_t deadline_ms, node_done done, void *arg);
void node_answer(struct node *n, uint32_t party, uint64_t call_id, const struct err *err,
                 const json_t *answer);

struct node_memory {
    uint64_t memory, memory_most, memory_max; /* bytes of messages; most: ever */
    uint64_t disk, disk_most, disk_max;
};
void node_memory(const struct node *n, struct node_memory *out);
size_t node_links(const struct node *n, struct link_state *out, size_t max); /* returns the number of peers */
bool node_link(const struct node *n, uint32_t party, struct link_state *out); /* false: no such peer */
