/* frame.h - the bytes between two sites: a header of 12 bytes, then a body. docs/formats/wire.md draws them
 * all.
 *
 * The header and the first 8 bytes of HELLO's body are the same in every version, so that sites of any two
 * versions can tell each other why they do not talk. Parsers take bytes from outside: they fail with FORMAT,
 * LIMIT or PROTO and never keep a pointer to what they were given, except where a struct bytes says so. */
#pragma once
#include "net/node.h"

enum {
    FRAME_HEAD = 12,
    FRAME_MAX = 1 << 20, /* header included */
    FRAME_PIECE =
        128 * 1024, /* data frames we send, header included: a control frame waits for one at most */
    WIRE_MIN = 1,
    WIRE_MAX = 1, /* the versions this build speaks */
    METHOD_MAX = 64,
    STATUS_MAX = 512,
    TUNNEL_PATH_MAX = 8, /* sites that forward one tunnel */
};
/* What a site can do beyond its wire version, one bit each, in HELLO: neither end uses what the other lacks. */
#define FEATURE_TUNNEL (UINT64_C(1) << 0) /* frames TUNNEL to TUNNEL_END */
#define FEATURES_ALL   FEATURE_TUNNEL
#define MESSAGE_MAX    (UINT64_C(1) << 32)

enum frame_type {
    FRAME_HELLO = 1, /* both ends, first */
    FRAME_WELCOME,   /* lower party id: this connection is the one */
    FRAME_REFUSE,    /* goodbye with a reason */
    FRAME_PING,
    FRAME_PONG,
    FRAME_OPEN,   /* sender: this number stands for that stream */
    FRAME_OPENED, /* receiver, after a resuming OPEN: what it has */
    FRAME_DATA,   /* a piece of a message */
    FRAME_ACK,
    FRAME_CREDIT,
    FRAME_ABORT, /* receiver: does not take this stream */
    FRAME_CALL,
    FRAME_ANSWER,
    FRAME_STATUS, /* what the sending task is doing */
    FRAME_CLOSE,  /* sender: nothing follows under this number */
    FRAME_TUNNEL, /* a connection to a third party shall go through here, under this number */
    FRAME_CARRY,  /* bytes of it */
    FRAME_CARRY_CREDIT,
    FRAME_TUNNEL_END,
    FRAME_LAST = FRAME_TUNNEL_END,
};

struct frame_head {
    uint8_t version;
    enum frame_type type;
    uint32_t stream; /* 0: the link itself */
    uint32_t length; /* of the body */
};

struct hello {
    uint8_t version_min, version_max;
    uint32_t party, to;
    uint8_t instance[16]; /* random, of this process */
    uint64_t features;
    uint64_t holds;      /* the connection it takes for up; 0: none */
    uint64_t connection; /* random name of this connection, the lower party's counts */
    uint64_t window;     /* first credit of every stream it receives */
    uint32_t heartbeat_ms;
    int64_t wall_ms;
    char software[32];
};
struct ping {
    uint64_t stamp_us;
    uint32_t first_stream; /* streams with lower numbers are no more */
    uint64_t first_call;   /* calls with lower numbers need no answer any more */
};
struct opened {
    uint64_t credit;
    char last_tag[TAG_MAX + 1], part_tag[TAG_MAX + 1]; /* "": none */
    uint32_t last_seq, part_seq;
    uint64_t part_bytes; /* of that message are here */
};
struct data_head {
    char tag[TAG_MAX + 1];
    uint32_t seq;
    uint64_t total, offset;
    uint32_t bytes; /* in this frame */
};
struct tunnel_head {
    uint32_t from, to;
    uint8_t n_path;
    uint32_t path[TUNNEL_PATH_MAX]; /* who has forwarded it so far */
};
struct call_head {
    uint64_t id, first; /* calls below first need no answer any more */
    uint32_t deadline_ms;
    char method[METHOD_MAX + 1];
    struct bytes body; /* a view */
};
struct answer_head {
    uint64_t id;
    struct err err; /* ERR_OK: body holds the answer */
    struct bytes body;
};

/* version: the one agreed, 0 before the hellos: any. A frame bears the version that its layout is from, so older ones
 * than agreed are fine. LIMIT: too long; PROTO: unknown version or type. */
status frame_parse_head(struct ctx *cx, const uint8_t p[FRAME_HEAD], uint8_t version, struct frame_head *out);
/* PROTO "version..." when no version is common; the rest of out is not set then, but its version range is. */
status frame_parse_hello(struct ctx *cx, struct bytes body, struct hello *out);
status frame_parse_ping(struct ctx *cx, struct bytes body, struct ping *out);
status frame_parse_u64(struct ctx *cx, struct bytes body, uint64_t *out); /* WELCOME, PONG, CREDIT */
status frame_parse_open(struct ctx *cx, struct bytes body, struct stream_key *out, bool *resuming);
status frame_parse_opened(struct ctx *cx, struct bytes body, struct opened *out);
/* The part of a DATA body before the payload: FRAME_DATA_HEAD(tag) bytes. *head_bytes: how long it is. When
 * `have` is too short for it, *head_bytes is 0 and nothing else set. */
status frame_parse_data(struct ctx *cx, struct bytes have, uint32_t length, struct data_head *out,
                        size_t *head_bytes);
status frame_parse_ack(struct ctx *cx, struct bytes body, char tag[TAG_MAX + 1], uint32_t *seq);
status frame_parse_fail(struct ctx *cx, struct bytes body, struct err *out); /* REFUSE, ABORT, TUNNEL_END */
status frame_parse_tunnel(struct ctx *cx, struct bytes body, struct tunnel_head *out);
status frame_parse_call(struct ctx *cx, struct bytes body, struct call_head *out);
status frame_parse_answer(struct ctx *cx, struct bytes body, struct answer_head *out);

void frame_put_hello(struct buf *b, const struct hello *h);
void frame_put_u64(struct buf *b, enum frame_type type, uint32_t stream, uint64_t x);
void frame_put_ping(struct buf *b, const struct ping *p);
void frame_put_open(struct buf *b, uint32_t stream, const struct stream_key *k, bool resuming);
void frame_put_opened(struct buf *b, uint32_t stream, const struct opened *o);
enum { FRAME_DATA_HEAD_MAX = FRAME_HEAD + 4 + 8 + 8 + 1 + TAG_MAX };
/* Header and data head; the payload follows. Returns the length. */
size_t frame_put_data(uint8_t out[FRAME_DATA_HEAD_MAX], uint32_t stream, const struct data_head *d);
void frame_put_ack(struct buf *b, uint32_t stream, const char *tag, uint32_t seq);
void frame_put_fail(struct buf *b, enum frame_type type, uint32_t stream, const struct err *e);
void frame_put_call(struct buf *b, const struct call_head *c);
void frame_put_answer(struct buf *b, uint64_t id, const struct err *e, const char *json);
void frame_put_close(struct buf *b, uint32_t stream);
void frame_put_tunnel(struct buf *b, uint32_t number, const struct tunnel_head *t);
void frame_put_carry(uint8_t out[FRAME_HEAD], uint32_t number, uint32_t n); /* n bytes follow */
void frame_put_status(struct buf *b, uint32_t stream, const void *p, size_t n);
