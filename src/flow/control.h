/* control.h - the frames between the CLI and a site over DIR/run/site.sock: u32 length (little-endian), then
 * JSON.
 *
 * Request {"method", "params"}. Answers, in order: any number of {"event": ...} while watching, then one
 * {"ok": true, "result"} or {"ok": false, "error": {"code", "message"}}. The socket is 0600 and the peer's
 * uid must be ours or root's. */
#pragma once
#include "base/js.h"

#define CONTROL_FRAME_MAX (64u << 20)
/* The descriptor is the caller's now: CLEANUP(fd_closep) leaves it alone. */
static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}
/* Connects, through a descriptor so that long paths work. STATE: no site runs the folder. */
status control_connect(struct ctx *cx, const char *dir, int *fd);
/* Binds and listens; a stale socket is replaced (the caller holds the lock). */
status control_listen(struct ctx *cx, const char *dir, int *fd);
status control_put(struct ctx *cx, int fd, const json_t *frame);
/* One frame. IO: the site is gone. */
status control_get(struct ctx *cx, int fd, json_t **frame);
