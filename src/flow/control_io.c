/* control_io.c - the blocking ends: connect, listen, one frame. */
#include "flow/control.h"
#include "base/arena.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* sun_path has 108 bytes, a folder's path may have more: name the socket through the open folder. */
static status address(struct ctx *cx, const char *dir, int *dir_fd, struct sockaddr_un *a)
{
    const char *run = arena_printf(cx->mem, "%s/run", dir);
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    *dir_fd = run ? open(run, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (*dir_fd < 0) return FAIL(cx, STATE, "no site runs in %s", dir);
    snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/site.sock", *dir_fd);
    return OK;
}

status control_connect(struct ctx *cx, const char *dir, int *out)
{
    struct sockaddr_un a;
    CLEANUP(fd_closep) int dir_fd = -1;
    if (!file_exists(arena_printf(cx->mem, "%s/norn.conf", dir)))
        return FAIL(cx, NOTFOUND, "%s is no site: it has no norn.conf (see `norn site init`)", dir);
    TRY(address(cx, dir, &dir_fd, &a));
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return FAIL(cx, IO, "socket: %m");
    if (connect(fd, (struct sockaddr *)&a, sizeof a))
        return FAIL(cx, STATE, "no site runs in %s: start it with `norn site run %s`", dir, dir);
    *out = fd_take(&fd);
    return OK;
}

status control_listen(struct ctx *cx, const char *dir, int *out)
{
    struct sockaddr_un a;
    CLEANUP(fd_closep) int dir_fd = -1;
    TRY(address(cx, dir, &dir_fd, &a));
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return FAIL(cx, IO, "socket: %m");
    unlinkat(dir_fd, "site.sock", 0);
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&a, sizeof a);
    int why = errno;
    umask(old);
    errno = why;
    if (rc || listen(fd, 64)) return FAIL(cx, IO, "listen on %s/run/site.sock: %m", dir);
    *out = fd_take(&fd);
    return OK;
}

status control_put(struct ctx *cx, int fd, const json_t *frame)
{
    const char *text;
    TRY(js_text(cx, frame, &text));
    size_t n = strlen(text);
    if (n > CONTROL_FRAME_MAX)
        return FAIL(cx, LIMIT, "a request of %zu bytes, at most %u", n, CONTROL_FRAME_MAX);
    CLEANUP(buf_free) struct buf b = {0};
    buf_blob(&b, text, n);
    TRY(buf_ok(cx, &b));
    return fd_write_all(cx, fd, b.p, b.n);
}

status control_get(struct ctx *cx, int fd, json_t **frame)
{
    uint8_t head[4];
    uint32_t n;
    TRY(fd_read_all(cx, fd, head, sizeof head));
    struct reader r = reader_of(head, sizeof head);
    TRY(reader_u32(cx, &r, &n));
    if (n > CONTROL_FRAME_MAX)
        return FAIL(cx, PROTO, "an answer of %u bytes, at most %u", n, CONTROL_FRAME_MAX);
    char *text = NEW(cx, char, (size_t)n + 1);
    if (!text) return FAIL(cx, NOMEM, "an answer of %u bytes", n);
    TRY(fd_read_all(cx, fd, text, n));
    return js_parse(cx, "the site's answer", text, n, frame);
}
