/* loop.h - one thread, epoll, timers. What the loop thread owns nobody else touches; other threads post. */
#pragma once
#include "base/ctx.h"
#include <sys/epoll.h>

struct loop;
struct loop_timer;
typedef void (*loop_fd_fn)(struct loop *l, int fd, uint32_t events, void *arg);
typedef void (*loop_fn)(struct loop *l, void *arg);

status loop_new(struct ctx *cx, struct loop **out);
void loop_free(struct loop *l);
void loop_freep(struct loop **l);
status loop_add(struct ctx *cx, struct loop *l, int fd, uint32_t events, loop_fd_fn fn,
                void *arg); /* EPOLLIN.. */
status loop_mod(struct ctx *cx, struct loop *l, int fd, uint32_t events);
void loop_del(struct loop *l, int fd); /* does not close; safe inside callbacks */
/* Calls fn once in delay_ms. The handle is dead after it fired or was cancelled. NULL: out of memory. */
struct loop_timer *loop_after(struct loop *l, uint64_t delay_ms, loop_fn fn, void *arg);
void loop_cancel(struct loop *l, struct loop_timer *t); /* NULL is fine */
/* From any thread: fn(arg) runs on the loop's thread soon. false: out of memory. */
bool loop_post(struct loop *l, loop_fn fn, void *arg);
/* Runs until loop_stop. loop_stop is safe from any thread and from a signalfd callback. */
status loop_run(struct ctx *cx, struct loop *l);
void loop_stop(struct loop *l);
uint64_t clock_ms(void); /* monotonic */
uint64_t clock_us(void); /* monotonic */
int64_t wall_ms(void);   /* since 1970 */
