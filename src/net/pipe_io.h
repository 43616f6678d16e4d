/* pipe_io.h - records over a socketpair, with descriptors beside them, and memory shared by both ends. Used
 * by both ends of pipe.h; docs/formats/wire.md lists the records.
 *
 * Payloads of SEG_MIN bytes and more do not go through the socket: the sender copies them into a memfd of its
 * own that the receiver has mapped, names it in the record, and may use it again when the receiver gives it
 * back. A memfd is sealed against shrinking, so a task that lies cannot take pages away under the site's
 * feet. */
#pragma once
#include "net/channel.h"

enum {
    PIPE_HEAD = 8,
    PIPE_RECORD_MAX = 64 << 20, /* an event's JSON is the longest */
    PIPE_FDS = 1024,            /* descriptors under way in one direction */
    SEG_MIN = 256 * 1024,
    SEGS_MAX = 4096,
    SEGS_KEEP = 8,          /* idle ones a sender keeps */
    PIPE_WINDOW = 16 << 20, /* per peer and direction */
};
#define SEGS_KEEP_BYTES ((size_t)192 << 20)

enum pipe_kind {
    /* task to site */
    PIPE_EVENT = 1, /* name, JSON */
    PIPE_SEND,      /* a message */
    PIPE_TOOK,      /* party, u64: the task has consumed so many bytes of its messages */
    PIPE_WAIT,      /* u8 sending, party, tag, u32 seq */
    PIPE_RESUMED,
    PIPE_ALIVE, /* u64 processor ms so far */
    /* site to task */
    PIPE_START,    /* JSON */
    PIPE_DELIVER,  /* a message */
    PIPE_ACCEPTED, /* party, u64: so many bytes are in the outbox now */
    PIPE_FAILED,   /* party, text: waits on it end */
    PIPE_LIFE,     /* party, u32 ms since its last progress, text */
    /* both */
    PIPE_RELEASE, /* u32 segment: read, use it again */
    PIPE_DROP,    /* u32 segment: unmap it */
    PIPE_LAST = PIPE_DROP,
};

struct pipe_io {
    int fd;
    struct buf tx;
    size_t tx_sent;
    struct {
        size_t at;
        int fd;
    } tx_fd[PIPE_FDS]; /* go with the byte at `at` of tx, then are closed */
    size_t n_tx_fd;
    bool stalled; /* the kernel takes no more descriptors now: try again in a while */
    struct buf rx;
    size_t rx_used;
    int rx_fd[PIPE_FDS];
    size_t n_rx_fd;
};
struct record {
    enum pipe_kind kind;
    bool has_fd;
    struct bytes body; /* a view into io->rx */
};
void pipe_io_init(struct pipe_io *io, int fd);
void pipe_io_free(struct pipe_io *io); /* closes */
/* Starts a record in io->tx; what is written behind it belongs to it, until pipe_io_end. fd -1: none; else
 * taken. */
size_t pipe_io_begin(struct pipe_io *io, enum pipe_kind kind, int fd);
void pipe_io_end(struct pipe_io *io, size_t start);
status pipe_io_flush(struct ctx *cx, struct pipe_io *io, bool *empty); /* IO: the other end is gone */
bool pipe_io_unsent(const struct pipe_io *io);
status pipe_io_read(struct ctx *cx, struct pipe_io *io, bool *closed); /* what is there now, at most 1 MiB */
bool pipe_io_fds_full(const struct pipe_io *io);
/* The next whole record; false: none. PROTO. */
status pipe_io_next(struct ctx *cx, struct pipe_io *io, struct record *out, bool *found);
void pipe_io_compact(struct pipe_io *io); /* after the last record was used */
int pipe_io_take_fd(struct pipe_io *io);  /* -1: none came */

/* Pieces of records. */
void pipe_put_party(struct buf *b, struct party p);
void pipe_put_name(struct buf *b, const char *s);
status pipe_get_party(struct ctx *cx, struct reader *r, struct party *out);
status pipe_get_name(struct ctx *cx, struct reader *r, char *out, size_t size);

/* --- shared memory, sender's side --- */
struct seg {
    uint8_t *p;
    size_t cap;
    bool busy;
};
struct segs_out {
    struct seg seg[SEGS_MAX];
    size_t n;
};
/* A segment that holds a copy of p[0..n); *id. *fd: -1, or the descriptor that the receiver has to get with
 * it. */
status segs_put(struct ctx *cx, struct segs_out *s, const void *p, size_t n, uint32_t *id, int *fd);
/* The receiver has given it back. Idle ones beyond what is kept are dropped: a record in io says so. */
void segs_released(struct segs_out *s, struct pipe_io *io, uint32_t id);
void segs_out_free(struct segs_out *s);

/* --- receiver's side: mappings outlive the pipe while somebody reads them --- */
struct segs_in {
    struct arena *mem;
    size_t refs; /* the pipe, and one for each payload in use */
    struct {
        const uint8_t *p;
        size_t cap, uses;
    } seg[SEGS_MAX];
    void (*on_unused)(void *arg, uint32_t id); /* NULL once the pipe is gone */
    void *arg;
};
struct segs_in *segs_in_new(void (*on_unused)(void *arg, uint32_t id), void *arg); /* NULL: out of memory */
void segs_in_close(struct segs_in *s);                                             /* the pipe lets go */
status segs_map(struct ctx *cx, struct segs_in *s, uint32_t id, int fd, uint64_t cap);
status segs_drop(struct ctx *cx, struct segs_in *s, uint32_t id); /* PROTO: it is in use */
status segs_view(struct ctx *cx, struct segs_in *s, uint32_t id, uint64_t n,
                 const uint8_t **out); /* counts a use */
void segs_unuse(struct segs_in *s, uint32_t id);

/* --- messages as records --- */
struct pipe_message {
    struct party peer;
    char tag[TAG_MAX + 1];
    uint32_t seq;
    struct bytes payload; /* inline: a view into io->rx; else into the segment */
    uint32_t seg;         /* NO_SEG: inline */
};
#define NO_SEG UINT32_MAX
status pipe_put_message(struct ctx *cx, struct pipe_io *io, struct segs_out *segs, enum pipe_kind kind,
                        const struct pipe_message *m);
status pipe_get_message(struct ctx *cx, struct pipe_io *io, struct segs_in *segs, const struct record *r,
                        struct pipe_message *out);
