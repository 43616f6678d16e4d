/* pipe.h - the socketpair between the site and one of its task processes: records of (kind, JSON, bytes).
 *
 * Task end: blocking, used by the task's thread (and a reader thread inside); it gives the component its channel.
 * Site end: on the loop. docs/formats/wire.md lists the records. */
#pragma once
#include "base/js.h"
#include "base/loop.h"
#include "net/node.h"

/* --- task end ---------------------------------------------------------------------------------------------- */
struct task_pipe;
/* fd: the socketpair's end (taken). deadline_ms: a wait without any progress of the peer's task or link longer than that
 * ends with TIMEOUT. Progress: bytes of the stream arrive or are acknowledged, or the peer's task computes (uses
 * processor time), or what the peer's task waits for makes progress in the same sense; so a chain of waits lives as
 * long as its end, and a circle times out. Large messages received lie in memory shared with the site until their arena is
 * rewound or freed.
 * A child that is forked without exec must close all other descriptors of the site (close_range): a copy of another
 * task's end would hide that task's death. */
status task_pipe_open(struct ctx *cx, int fd, struct task_pipe **out);
void task_pipe_free(struct task_pipe *p);
void task_pipe_freep(struct task_pipe **p);
/* Waits for the site's first record: the task's description (owned by the caller). Sets who we are for the channel. */
status task_pipe_start(struct ctx *cx, struct task_pipe *p, json_t **spec);
void task_pipe_identify(struct task_pipe *p, const char *job, const char *task, struct party me,
                        uint64_t deadline_ms);
struct channel *task_pipe_channel(struct task_pipe *p);
/* Sends an event to the site: kind "progress", "metric", "summary", "done", "log"... body is not consumed. */
status task_pipe_event(struct ctx *cx, struct task_pipe *p, const char *kind, const json_t *body);
/* Set when the site asks the task to stop, or the socket is gone: give it to ctx.cancel. */
const atomic_bool *task_pipe_cancelled(const struct task_pipe *p);

/* --- site end ---------------------------------------------------------------------------------------------- */
struct site_pipe;
struct task_wait {         /* what the task waits for, as `norn job why` prints it */
    bool waiting, sending; /* sending: for room in the outbox */
    struct party peer;
    char tag[TAG_MAX + 1];
    uint32_t seq;
    int64_t since_ms; /* wall clock */
};
struct site_pipe_events {
    void *arg;
    void (*on_event)(void *arg, struct site_pipe *p, const char *kind, const json_t *body);
    /* The task's end is gone, and (unless it was cancelled) all it has sent is in the outbox. May free p. */
    void (*on_closed)(void *arg, struct site_pipe *p);
    /* What else is known of the task, for those who wait for it (its last log line); NULL: nothing. Once a second. */
    void (*describe)(void *arg, char *out, size_t size);
};
/* fd is taken, on failure too. me: job, task and, in `from`, who the task is. spec is sent at once. Messages of the task go to the node by themselves, with back-pressure. */
status site_pipe_new(struct ctx *cx, struct loop *l, struct node *n, int fd, const json_t *spec,
                     const struct stream_key *me, const struct site_pipe_events *ev, struct site_pipe **out);
void site_pipe_free(struct site_pipe *p);
/* Offers a message from the node to the task; false: the task's queue is full, node_resume follows. True once the task is
 * cancelled or gone: the message is dropped. */
bool site_pipe_deliver(struct site_pipe *p, const struct message *m);
void site_pipe_room(struct site_pipe *p, const struct stream_key *s); /* pass node_events.on_room on */
void site_pipe_cancel(struct site_pipe *p);                           /* asks the task to stop */
/* The peer's task has ended badly: the task's waits on it end with PEER and this text. */
void site_pipe_peer_failed(struct site_pipe *p, struct party peer, const char *why);
void site_pipe_wait(const struct site_pipe *p, struct task_wait *out);
