/* dial.c - sockets: listening, name lookup off the loop's thread, connecting. */
#include "net/node_int.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A lookup may outlive the node: its thread and the node share it, the last one frees it. */
struct lookup {
    struct arena *mem;
    pthread_mutex_t lock; /* guards link */
    struct link *link;    /* NULL: abandoned */
    char host[256], port[8];
    struct addrinfo *found;
    int error;
};

void dial_tune(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void dial_tune_unsent(int fd, int bytes)
{
    /* What waits, waits here, where control frames can overtake it, not in the kernel. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

static void infos_freep(struct addrinfo **a)
{
    if (*a) freeaddrinfo(*a);
    *a = NULL;
}

static status listen_at(struct ctx *cx, const struct addrinfo *a, const char *host, uint16_t port, int *out)
{
    int one = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return FAIL(cx, IO, "socket: %m");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 128) == 0) {
        *out = fd;
        return OK;
    }
    int error = errno;
    close(fd);
    errno = error;
    if (error == EADDRINUSE) return FAIL(cx, IO, "port %u of %s is taken by another process", port, host);
    return FAIL(cx, IO, "listen on %s port %u: %m", host, port);
}

status dial_listen(struct ctx *cx, const char *host, uint16_t port, int *fd, uint16_t *bound)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo want = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    CLEANUP(infos_freep) struct addrinfo *a = NULL;
    int error = getaddrinfo(host[0] ? host : NULL, service, &want, &a);
    if (error) return FAIL(cx, IO, "listen on %s: %s", host, gai_strerror(error));
    int s = -1;
    TRY(listen_at(cx, a, host, port, &s));
    struct sockaddr_storage name;
    memset(&name, 0, sizeof name);
    socklen_t n = sizeof name;
    if (getsockname(s, (struct sockaddr *)&name, &n) < 0) {
        close(s);
        return FAIL(cx, IO, "getsockname: %m");
    }
    *bound = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                              : ((struct sockaddr_in *)&name)->sin_port);
    *fd = s;
    return OK;
}

/* --- dialling --- */

static void lookup_free(struct lookup *q)
{
    if (q->found) freeaddrinfo(q->found);
    pthread_mutex_destroy(&q->lock);
    arena_free(q->mem);
}

/* Tries the addresses until a connect is under way: what fails at once (no route) is not the end. */
static status connect_any(struct ctx *cx, struct link *l, const struct addrinfo *a)
{
    status st = FAIL(cx, IO, "%s has no address", l->host);
    for (; a; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) return FAIL(cx, IO, "socket: %m");
        dial_tune(fd);
        struct conn *c;
        if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS) {
            st = FAIL(cx, IO, "connect to %s port %u: %m", l->host, l->peer.port);
            close(fd);
            continue;
        }
        st = conn_new(cx, l->n, fd, true, l, &c);
        if (st.code) {
            close(fd);
            return st;
        }
        l->dialling = c;
        snprintf(c->address, sizeof c->address, "%.60s port %u", l->host, l->peer.port);
        return OK;
    }
    return st;
}

static void looked_up(struct loop *loop, void *arg)
{
    (void)loop;
    struct lookup *q = arg;
    pthread_mutex_lock(&q->lock); /* the thread lets go of it before this can be had */
    struct link *l = q->link;
    pthread_mutex_unlock(&q->lock);
    if (l) {
        struct ctx *cx = &l->n->cx;
        l->lookup = NULL;
        status st = q->error ? FAIL(cx, IO, "look up %s: %s", q->host, gai_strerror(q->error))
                             : connect_any(cx, l, q->found);
        if (st.code) link_dial_failed(l, &cx->err);
    }
    lookup_free(q);
}

static const struct addrinfo lookup_hints = {.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG,
                                             .ai_socktype = SOCK_STREAM};

static void *lookup_run(void *arg)
{
    struct lookup *q = arg;
    q->error = getaddrinfo(q->host, q->port, &lookup_hints, &q->found);
    pthread_mutex_lock(&q->lock);
    bool posted = q->link && loop_post(q->link->n->loop, looked_up, q);
    pthread_mutex_unlock(&q->lock);
    if (!posted) lookup_free(q);
    return NULL;
}

static status lookup_start(struct ctx *cx, struct link *l)
{
    struct arena *mem = arena_new(0);
    struct lookup *q = mem ? arena_alloc(mem, sizeof *q, _Alignof(struct lookup)) : NULL;
    if (!q) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "look up %s", l->host);
    }
    *q = (struct lookup){.mem = mem, .link = l};
    pthread_mutex_init(&q->lock, NULL);
    memcpy(q->host, l->host, sizeof q->host);
    snprintf(q->port, sizeof q->port, "%u", l->peer.port);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &detached, lookup_run, q);
    pthread_attr_destroy(&detached);
    if (error) {
        lookup_free(q);
        errno = error;
        return FAIL(cx, IO, "look up %s: %m", l->host);
    }
    l->lookup = q;
    return OK;
}

void dial_abandon(struct link *l)
{
    struct lookup *q = l->lookup;
    if (!q) return;
    l->lookup = NULL;
    pthread_mutex_lock(&q->lock);
    q->link = NULL;
    pthread_mutex_unlock(&q->lock);
}

void dial_start(struct link *l)
{
    struct ctx *cx = &l->n->cx;
    char port[8];
    if (l->peer.via) {
        circuit_dial(l);
        return;
    }
    snprintf(port, sizeof port, "%u", l->peer.port);
    struct addrinfo want = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    CLEANUP(infos_freep) struct addrinfo *a = NULL;
    status st = getaddrinfo(l->host, port, &want, &a) == 0 ? connect_any(cx, l, a) : lookup_start(cx, l);
    if (st.code) link_dial_failed(l, &cx->err);
}
