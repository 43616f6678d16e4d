/* site_int.h - what site_pipe.c and site_status.c share. */
#pragma once
#include "net/node_int.h"
#include "net/pipe.h"
#include "net/pipe_io.h"

enum { TICK_MS = 1000, STATUS_TICKS = 2, ACCEPT_STEP = 2 << 20, STALL_MS = 20, PEERS_MAX = 64 };
enum task_state { TASK_COMPUTES, TASK_RECEIVES, TASK_SENDS };

struct refused { /* a message that the outbox had no room for */
    struct refused *next;
    struct message m;
    struct payload payload; /* inline ones are ours; those in a segment are lent */
    uint32_t seg;
};
struct lane {
    struct lane *next;
    struct party peer;
    struct refused *head, **tail;
    uint64_t accepted;  /* not yet told the task */
    uint64_t with_task; /* delivered, not yet consumed */
    bool blocked;       /* the node keeps messages back for us */
    bool failed;
    uint64_t last_bytes, progress_ms; /* as node_view last said */
};

struct site_pipe {
    struct arena *mem;
    struct node *node;
    struct loop *loop;
    struct pipe_io io;
    uint32_t epoll;
    bool watched;
    struct segs_out segs_out;
    struct segs_in *segs_in;
    struct slab refused_slab;
    struct lane *lanes;
    struct stream_key me;
    struct site_pipe_events ev;
    struct task_wait wait;
    uint64_t cpu_ms, cpu_changed_ms;
    struct loop_timer *tick, *stall, *later;
    unsigned ticks;
    bool ended;     /* the task's end is gone */
    bool cancelled; /* by the owner */
    bool deaf;      /* it reads no more: cancelled, or its end is closed */
    bool doomed;    /* freed as soon as the callback returns */
    unsigned busy;
};

struct lane *lane_of(struct site_pipe *p, struct party peer); /* made if need be; NULL: out of memory */
struct stream_key key_to(const struct site_pipe *p, struct party peer);
struct stream_key key_from(const struct site_pipe *p, struct party peer);
void pipe_put_text(struct buf *b, const char *s); /* at most 390 bytes of it */

/* site_status.c */
void site_tell_life(struct site_pipe *p);  /* to a task that waits: the link, and what the peer's task does */
void site_tell_peers(struct site_pipe *p); /* what our task does */
