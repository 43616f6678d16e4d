/* task_int.h - what task_pipe.c and task_channel.c share. */
#pragma once
#include "net/mem.h"
#include "net/pipe.h"
#include "net/pipe_io.h"
#include <pthread.h>

enum {
    SLICE_MS = 50, /* how often a wait looks at cx->cancel */
    QUIET_MS = 2,  /* shorter waits are not told to the site */
    ALIVE_MS = 1000,
    HOLD_MIN =
        1 << 20,   /* messages of this size are given to the task where they lie, up to HOLD_MAX at once; */
    HOLD_MAX = 64, /* others are copied */
    TOOK_STEP = 1 << 20,
    START_MS = 60000,
    BOXES = 256,
};

struct letter { /* a message that has come */
    struct letter *next;
    uint32_t seq, seg;
    struct payload payload; /* inline ones are ours */
    struct bytes bytes;
};
struct box { /* all of one tag from or to one peer */
    struct box *next;
    struct party peer;
    char tag[TAG_MAX + 1];
    uint32_t next_out, next_in;
    struct letter *head, **tail;
};
struct lane { /* what concerns one peer */
    struct lane *next;
    struct party peer;
    uint64_t sent;    /* payload bytes */
    uint64_t pending; /* given to the site, not yet in its outbox */
    uint64_t took;    /* consumed, not yet told */
    uint64_t progress_ms;
    bool failed;
    char why[400];
    char life[400]; /* the link and the peer's task, as the site last told */
};

struct task_pipe {
    struct arena *mem;
    pthread_mutex_t lock; /* guards all below but the atomics: held by whoever is in a call */
    struct pipe_io io;
    struct segs_out segs_out;
    struct segs_in *segs_in;
    struct pile pile;
    struct slab letters;
    struct box *boxes[BOXES];
    struct lane *lanes;
    struct channel channel;
    struct stream_key me;
    uint64_t deadline_ms;
    json_t *spec;
    size_t held;
    bool closing; /* freed when the last held message is given back */
    bool ended;   /* the site sends nothing more */
    atomic_bool cancelled;
    pthread_t watcher;
    bool watching;
    int stop_fd; /* eventfd: ends the watcher */
};

extern const struct channel_ops task_channel_ops;

/* task_pipe.c; all under the lock */
struct lane *task_lane(struct task_pipe *p, struct party peer);
struct box *task_box(struct task_pipe *p, struct party peer, const char *tag);
status task_check(struct ctx *cx, const struct task_pipe *p); /* CANCELLED */
/* Sends what waits and takes what is there, waiting for it at most wait_ms. */
status task_pump(struct ctx *cx, struct task_pipe *p, int wait_ms);
status task_drain(struct ctx *cx, struct task_pipe *p); /* until everything is with the kernel */
void task_free_rest(struct task_pipe *p);
