#include "flow/notify.h"
#include "base/file.h"
#include "base/num.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* NOLINTBEGIN(concurrency-mt-unsafe): nobody writes the environment */
void notify_send(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char text[400];
    va_list args;
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof a.sun_path || (path[0] != '/' && path[0] != '@')) return;
    memcpy(a.sun_path, path, n);
    if (path[0] == '@') a.sun_path[0] = 0; /* the abstract namespace */
    va_start(args, fmt);
    int k = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || k <= 0) return;
    size_t len = (size_t)k < sizeof text ? (size_t)k : sizeof text - 1;
    ssize_t sent = sendto(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)sent;
}

uint64_t notify_watchdog_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t x, who;
    if (!us || !num_parse_u64(us, strlen(us), &x)) return 0;
    if (pid && (!num_parse_u64(pid, strlen(pid), &who) || who != (uint64_t)getpid())) return 0;
    return x / 1000;
}
/* NOLINTEND(concurrency-mt-unsafe) */
