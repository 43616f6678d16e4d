/* node_int.h - the parts of a node: links to peers, their connections, streams and calls. All of one loop
 * thread.
 *
 *   node ── link (one per peer; one more for our own party) ── conn (at most one that is up, others getting
 * there) ├── stream_out: messages waiting for their acknowledgement, oldest first ├── stream_in:  messages
 * waiting for the local task, oldest first └── call_out, call_in
 *
 * Callbacks of the owner (node_events, node_done) may call any node_* function but node_free. So nothing that
 * a callback may remove is freed at once: conns and streams go through a graveyard that `later` empties, on
 * the loop's next turn. conn.c moves bytes and frames; circuit.c is the socket of a conn that goes through an exchange; link.c decides which connection counts; stream_out.c
 * and stream_in.c keep messages; call.c requests; dial.c opens sockets. */
#pragma once
#include "net/frame.h"
#include "net/mem.h"
#include "net/tls.h"
#include "base/secret.h"

enum {
    BUCKETS = 256,
    STREAMS_MAX = 16384, /* live streams of one peer */
    CALLS_MAX = 4096,    /* of one peer that are not yet answered, or whose answer it has not yet confirmed */
    MESSAGE_COST = 128,  /* credit a message takes beside its payload */
    CTL_MAX = 16 << 20,  /* control bytes waiting for a peer that does not read: we stop reading from it */
    TURN_BYTES = 4 << 20, /* what one connection may move in one turn of the loop */
    HALF_OPEN_MAX = 64,   /* accepted connections that have not yet shown who they are */
    CIRCUITS_MAX = 256,   /* of one hop */
    ROUTED_MAX = 64,      /* peers that the settings do not name, reached by the default route */
    SILENT_BEATS = 5,
};

/* --- connections --- */
enum conn_state { CONN_CONNECTING, CONN_TLS, CONN_HELLO, CONN_WELCOME, CONN_UP, CONN_DEAD };
struct conn {
    struct conn *next; /* node->conns or the graveyard */
    struct node *n;
    struct link *link; /* NULL: accepted, not yet known whose */
    struct tls *tls;
    int fd;                  /* -1: in a circuit */
    struct circuit *circuit; /* NULL: on a socket, or the circuit is gone */
    uint32_t announced;      /* accepted from a circuit: whom the exchange says it brings */
    bool dialled;            /* by us */
    enum conn_state state;
    uint32_t epoll; /* what the loop watches for */
    uint64_t opened_ms, heard_ms, up_ms;
    uint64_t name; /* the lower party's random name of the connection */
    bool moved;    /* a piece of a message, either way */
    struct hello theirs;
    uint8_t version;             /* of the wire, agreed; 0: not yet */
    uint64_t features;           /* that both have */
    struct loop_timer *deadline; /* of the handshake */
    struct loop_timer *again;    /* more to do without a socket event */
    char address[80];
    /* sending */
    struct buf ctl; /* control frames, from ctl_sent on not yet encrypted */
    size_t ctl_sent;
    size_t piece;                 /* largest data frame: less on a slow link */
    uint64_t rate_ms, rate_bytes; /* since when, and what was sent by then */
    bool full;                    /* the socket was full since */
    struct buf record;            /* a TLS record being filled */
    struct stream_out *tx;        /* whose data frame is half done */
    size_t tx_left;
    bool carry_turn; /* circuits and streams take turns */
    /* receiving */
    struct buf rx; /* decrypted, from rx_used on not yet understood */
    size_t rx_used;
    struct stream_in *data; /* whose payload comes now; NULL with data_left: skipped */
    size_t data_left;
    uint64_t wire_in, wire_out; /* already added to the link */
};

/* --- pipes through an exchange --- */
struct circuit {
    struct circuit *next, *next_ready; /* of the hop */
    struct link *hop;
    uint32_t number;       /* the lower party id of the hop opens odd ones */
    struct conn *conn;     /* it ends here; */
    struct circuit *other; /* or goes on there; neither: it is ending */
    struct buf out;        /* to the hop, from out_sent on not yet on a connection */
    size_t out_sent, out_limit;
    struct buf in; /* for conn, from in_used on not yet read */
    size_t in_used;
    uint64_t credit;               /* what we may send */
    uint64_t granted, got, passed; /* bytes: what may come, has come, has left this site or been read */
    uint64_t window;
    bool ready;    /* in hop->circuits_ready */
    bool eof;      /* the far end has ended it, for the reason why */
    bool ending;   /* we have, and tell why as soon as all is sent */
    bool reserved; /* its window counts in node->forward_used */
    struct err why;
    struct loop_timer *linger;
    uint64_t look_ms, look_passed; /* the last look at the window; since then: */
    bool pinched, dry;             /* the sender was out of credit; the next hop had nothing to send */
};

/* --- messages --- */
struct parcel {
    struct parcel *next;
    char tag[TAG_MAX + 1];
    uint32_t seq;
    struct payload payload;
};
struct parcels {
    struct parcel *head, *tail;
    size_t n;
};

struct stream_out {
    struct stream_out *next, *next_of_link, *next_ready;
    struct link *link;
    struct stream_key key;
    uint32_t number;
    enum { OUT_NEW, OUT_ASKED, OUT_OPEN } state; /* on the present connection */
    bool touched; /* bytes of it have been on a connection: the peer may know it */
    bool any_acked;
    bool ready; /* in link->ready */
    bool dead;  /* reclaimed */
    bool want_room;
    size_t wanted;          /* bytes of the message that was refused */
    struct err broken;      /* set: takes no message any more */
    struct parcels out;     /* not yet acknowledged */
    struct parcel *sending; /* next, or half sent */
    uint64_t offset;        /* sent of it */
    int64_t credit;
    uint64_t queued, acked; /* payload bytes */
    uint64_t total;         /* payload bytes ever given */
};

struct tag_next { /* the duplicates' filter: sequences below next are here already */
    struct tag_next *next_in;
    char tag[TAG_MAX + 1];
    uint32_t next;
};
enum { TAG_BUCKETS = 64 };
struct stream_in {
    struct stream_in *next, *next_of_link, *next_number;
    struct link *link;
    struct stream_key key;
    uint32_t number; /* the peer's; 0: none any more (it has restarted) */
    bool dead;       /* reclaimed: what still comes is dropped */
    bool blocked;    /* the owner has refused the head; waits for node_resume */
    bool queued;     /* in node->offers */
    struct stream_in *next_offer;
    struct parcels in;   /* whole, not yet taken */
    uint64_t held;       /* their cost */
    struct parcel *part; /* arriving */
    uint64_t have;       /* bytes of it */
    bool dup;            /* what arrives is here already */
    uint64_t granted, got;
    char last_tag[TAG_MAX + 1];
    uint32_t last_seq;
    struct tag_next *tags[TAG_BUCKETS], *last;
    uint64_t total; /* payload bytes that came, duplicates not counted */
    uint64_t heard_ms;
    uint8_t status[STATUS_MAX]; /* of the peer's task, as its site last told */
    size_t n_status;
    uint64_t status_ms;
};

/* --- calls --- */
struct call_out {
    struct call_out *next;
    struct link *link;
    uint64_t id;
    bool sent;       /* on some connection: the peer may have begun it */
    bool lost;       /* with the process that had it */
    struct buf body; /* JSON text */
    struct loop_timer *timer;
    uint64_t deadline_ms;
    char method[METHOD_MAX + 1];
    node_done done;
    void *arg;
};
struct call_in {
    struct call_in *next;
    uint64_t id;
    struct buf answer; /* frame; empty while the owner works on it */
};

struct link {
    struct node *n;
    struct peer_config peer;
    char host[256];
    bool local; /* our own party */
    struct conn *up;
    struct link_state state;
    struct conn *dialling;
    struct lookup *lookup;
    struct loop_timer *redial, *beat;
    uint64_t beat_due_ms;
    unsigned failures; /* in a row */
    uint8_t instance[16];
    bool known; /* instance is set */
    uint64_t peer_window;
    uint64_t unanswered_ping_us;
    uint64_t rate;    /* bytes a second; 0: any */
    double allowance; /* bytes, as of pace_us; below zero: data frames wait for `pace` */
    uint64_t pace_us;
    struct loop_timer *pace;
    uint32_t next_number, peer_first_stream;
    size_t n_in, n_out;
    struct stream_out *outs, *ready, **ready_tail;
    struct stream_in *ins, *numbers[BUCKETS];
    struct call_out *calls, **calls_tail;
    uint64_t next_call, peer_first_call;
    struct call_in *answers;
    size_t n_answers;
    bool routed; /* by the default route, as long as there is something for it */
    struct circuit *circuits, *circuits_ready;
    size_t n_circuits;
    uint32_t next_circuit, peer_circuit; /* our next number, the peer's last */
};

struct node {
    struct ctx cx; /* own arena for passing results; rewound after every event */
    struct arena *mem;
    struct loop *loop;
    struct node_config config;
    struct node_events ev;
    struct tls_site *tls;
    int64_t files_ns; /* newest change of the key, certificate and CA files it was made from */
    uint8_t instance[16];
    int listen_fd;
    uint16_t port;
    struct link *links, *self; /* n_links of them, room for ROUTED_MAX more; self is our own party */
    size_t n_links, links_max;
    uint64_t features; /* ours; tests take some away */
    uint8_t wire_max;
    uint64_t forward_used; /* memory promised to circuits that go on */
    struct conn *conns, *dead_conns;
    struct stream_out *out_by_key[BUCKETS], *dead_outs;
    struct stream_in *in_by_key[BUCKETS], *dead_ins;
    struct stream_in *offers;
    struct loop_timer *later;
    struct loop_timer *accept_again, *offer_again;
    struct slab conn_slab, parcel_slab, out_slab, in_slab, tag_slab, call_out_slab, call_in_slab,
        circuit_slab;
    struct pile pile;
    struct shuffle jitter;
    char last_stranger[240]; /* logged once, not for every knock */
    size_t half_open;
    bool freeing;
};

/* node.c */
struct link *node_find_link(struct node *n, uint32_t party);
struct link *node_link_at(const struct node *n, size_t i); /* n_links + 1 of them, our own party's last */
status node_get_link(struct ctx *cx, struct node *n, uint32_t party, struct link **out); /* NOTFOUND, LIMIT */
status node_need_link(struct ctx *cx, struct node *n, uint32_t party,
                      struct link **out); /* and has it dialled */
void node_later(struct node *n);          /* soon: offers, pumps, the graveyard */
size_t key_hash(const struct stream_key *k);
bool key_equal(const struct stream_key *a, const struct stream_key *b);

/* conn.c */
status conn_new(struct ctx *cx, struct node *n, int fd, bool dialled, struct link *l, struct conn **out);
void conn_close(struct conn *c, const struct err *why); /* why NULL: our own wish */
void conn_pump(struct conn *c);                         /* sends what waits */
status conn_start_tls(struct ctx *cx, struct conn *c);
void conn_free_dead(struct node *n);
void conn_count_wire(struct conn *c);
void conn_wake(struct conn *c, uint32_t events); /* its circuit can do what epoll would tell of a socket */

/* pace.c */
bool pace_waits(struct link *l); /* no data frame now */
void pace_charge(struct link *l, size_t n);
size_t pace_piece(const struct conn *c); /* the largest data frame now */

/* circuit.c */
void circuit_dial(struct link *l); /* ends in conn_new or link_dial_failed */
struct tls_wire circuit_wire(struct conn *c);
void circuit_set_unsent(struct conn *c, size_t bytes); /* as dial_tune_unsent */
void circuit_hang_up(struct conn *c);                  /* the conn is closed */
const struct err *circuit_why(const struct conn *c);   /* why it has ended; NULL: it has not */
bool circuit_next(struct conn *c);                     /* the next piece into c->record; false: none */
status circuit_frame(struct ctx *cx, struct conn *c, const struct frame_head *h, struct bytes body);
void circuit_hop_up(struct link *hop);
void circuit_hop_lost(struct link *hop);

/* link.c */
void link_start(struct link *l);
void link_stop(struct link *l);
void link_dial_soon(struct link *l); /* unless it is up or being dialled */
void link_want(struct link *l);      /* there will be something for a peer of the default route */
void link_accept(struct loop *loop, int fd, uint32_t events, void *arg);
void link_dial_failed(struct link *l, const struct err *why);
void link_lost(struct conn *c, const struct err *why); /* the conn is closed */
status link_frame(struct ctx *cx, struct conn *c, const struct frame_head *h, struct bytes body);
status link_hello(struct ctx *cx, struct conn *c); /* TLS stands: say who we are */
void link_error(struct link *l, const struct err *e);
struct tls_site *node_tls(struct node *n);                   /* made anew when its files have changed */
const char *link_text(struct ctx *cx, const struct link *l); /* "link to party 9 is up" for error texts */

/* dial.c */
status dial_listen(struct ctx *cx, const char *host, uint16_t port, int *fd, uint16_t *bound);
void dial_start(struct link *l); /* ends in conn_new or link_dial_failed */
void dial_abandon(struct link *l);
void dial_tune(int fd);
enum { DIAL_UNSENT_BYTES = 512 * 1024 };
void dial_tune_unsent(int fd,
                      int bytes); /* the kernel takes no more while so much of ours is not on its way */

/* stream_out.c */
struct stream_out *stream_out_find(struct node *n, const struct stream_key *k);
void stream_out_connected(struct link *l, bool restarted);
void stream_out_disconnected(struct link *l);
bool stream_out_next(struct conn *c); /* the next data frame into c->record; false: none */
void stream_out_piece_done(struct conn *c);
void stream_out_opened(struct ctx *cx, struct link *l, uint32_t number, const struct opened *o);
void stream_out_credit(struct link *l, uint32_t number, uint64_t n);
void stream_out_ack(struct link *l, uint32_t number, const char *tag, uint32_t seq);
void stream_out_abort(struct link *l, uint32_t number, const struct err *e);
void stream_out_reclaim(struct node *n, const char *job, const char *task);
void stream_out_free_dead(struct node *n);
void stream_out_local(struct link *self); /* moves what our own party sends itself */
uint32_t stream_out_first(const struct link *l);

/* stream_in.c */
struct stream_in *stream_in_find(struct node *n, const struct stream_key *k);
status stream_in_open(struct ctx *cx, struct conn *c, uint32_t number, const struct stream_key *k,
                      bool resuming);
status stream_in_begin(struct ctx *cx, struct conn *c, uint32_t number, const struct data_head *d);
status stream_in_bytes(struct ctx *cx, struct conn *c, const uint8_t *p,
                       size_t n);         /* p NULL: already in place */
uint8_t *stream_in_place(struct conn *c); /* where the next bytes of the payload go; NULL: skipped */
struct stream_in *stream_in_local(struct node *n, const struct stream_key *k);
void stream_in_give(struct stream_in *s, struct parcel *p);
void stream_in_offer_all(struct node *n);
void stream_in_connected(struct link *l, bool restarted);
void stream_in_status(struct link *l, uint32_t number, struct bytes body);
void stream_in_local_status(struct node *n, const struct stream_key *k, struct bytes body);
void stream_in_close(struct link *l, uint32_t number);
void stream_in_forget_below(struct link *l, uint32_t first);
void stream_in_reclaim(struct node *n, const char *job, const char *task);
void stream_in_free_dead(struct node *n);
void parcel_free(struct node *n, struct parcel *p);
void parcels_push(struct parcels *q, struct parcel *p);
struct parcel *parcels_pop(struct parcels *q);

/* call.c */
void call_connected(struct link *l, bool restarted);
void call_arrived(struct link *l, const struct call_head *h);
void call_answered(struct link *l, const struct answer_head *h);
void call_forget_below(struct link *l, uint64_t first);
uint64_t call_first(const struct link *l);
void call_local(struct link *self);
void call_end_all(struct link *l);

/* For pipe.c: a payload that need not be copied, released when it is acknowledged; and what `why` tells. */
status node_send_lent(struct ctx *cx, struct node *n, const struct message *m,
                      void (*release)(void *arg, const void *p), void *arg);
struct stream_view {
    uint64_t bytes; /* in: that came, a message half here included; out: acknowledged */
    uint64_t status_age_ms;
    struct bytes status; /* of the peer's task; n 0: none yet */
};
void node_view(struct node *n, const struct stream_key *k, bool outgoing, struct stream_view *out);
/* Who has a stream to `me`'s task (of me->from), whatever has come on it. Returns their number, at most max.
 */
size_t node_stream_peers(struct node *n, const struct stream_key *me, struct party *out, size_t max);
/* Tells the stream's other end what our task is doing (at most STATUS_MAX bytes); not repeated when lost. */
void node_tell_status(struct node *n, const struct stream_key *k, const void *p, size_t bytes);
