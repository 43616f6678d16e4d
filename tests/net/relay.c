#include "relay.h"
#include "base/bytes.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 65536, QUEUE_MAX = 4 << 20, SLOW_QUEUE = 16384, SLOW_CHUNK = 4096 };

struct chunk {
    struct chunk *next;
    uint64_t due_ms;
    size_t n, sent;
    uint8_t p[CHUNK];
};
struct hop { /* one connection: end 0 is the caller's, end 1 the site's */
    struct hop *next;
    struct relay *r;
    int fd[2];
    uint32_t events[2];
    struct chunk *head[2], **tail[2]; /* to be written to that end */
    size_t queued[2];
    bool eof[2]; /* nothing more comes from that end */
    bool connected, dead;
    uint64_t cut_after, bytes, rate;
    uint64_t last_due_ms[2];
    struct loop_timer *timer;
};
struct relay {
    struct loop *loop;
    int fd;
    uint16_t port, to;
    struct hop *hops, *dead;
    struct loop_timer *bury;
    uint64_t cut_after, corrupt_after, delay_ms, rate;
    bool stall, refuse, duplicate;
    size_t connections;
};

static void on_fd(struct loop *loop, int fd, uint32_t events, void *arg);

static void must(bool ok)
{
    if (!ok) abort();
}

static void bury(struct loop *loop, void *arg)
{
    (void)loop;
    struct relay *r = arg;
    r->bury = NULL;
    for (struct hop *h = r->dead, *next; h; h = next) {
        next = h->next;
        for (int e = 0; e < 2; e++)
            for (struct chunk *c = h->head[e], *n; c; c = n) {
                n = c->next;
                free(c);
            }
        free(h);
    }
    r->dead = NULL;
}

static void hop_close(struct hop *h)
{
    struct relay *r = h->r;
    if (h->dead) return;
    h->dead = true;
    loop_cancel(r->loop, h->timer);
    for (int e = 0; e < 2; e++) {
        struct linger hard = {1, 0};
        setsockopt(h->fd[e], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        loop_del(r->loop, h->fd[e]);
        close(h->fd[e]);
    }
    struct hop **p = &r->hops;
    while (*p != h)
        p = &(*p)->next;
    *p = h->next;
    h->next = r->dead;
    r->dead = h;
    if (!r->bury) r->bury = loop_after(r->loop, 0, bury, r);
}

static void hop_watch(struct hop *h)
{
    struct ctx cx = {0};
    for (int e = 0; e < 2 && !h->dead; e++) {
        uint64_t now = clock_ms();
        bool due = h->head[e] && h->head[e]->due_ms <= now;
        uint32_t want = 0;
        if (!h->r->stall && !h->eof[e] && h->connected &&
            h->queued[1 - e] < (h->rate ? SLOW_QUEUE + h->rate * h->r->delay_ms / 1000 : QUEUE_MAX))
            want |= EPOLLIN;
        if ((due && !h->r->stall) || (e == 1 && !h->connected)) want |= EPOLLOUT;
        if (want == h->events[e]) continue;
        must(loop_mod(&cx, h->r->loop, h->fd[e], want).code == 0);
        h->events[e] = want;
    }
}

static void hop_write(struct hop *h, int e);

static void on_timer(struct loop *loop, void *arg)
{
    (void)loop;
    struct hop *h = arg;
    h->timer = NULL;
    hop_write(h, 0);
    if (!h->dead) hop_write(h, 1);
    if (!h->dead) hop_watch(h);
}

static void hop_write(struct hop *h, int e)
{
    uint64_t now = clock_ms();
    while (h->head[e] && h->head[e]->due_ms <= now && !h->r->stall) {
        struct chunk *c = h->head[e];
        ssize_t k = send(h->fd[e], c->p + c->sent, c->n - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && errno == EAGAIN) return;
        if (k < 0) {
            hop_close(h);
            return;
        }
        c->sent += (size_t)k;
        h->queued[e] -= (size_t)k;
        if (c->sent < c->n) return;
        h->head[e] = c->next;
        if (!h->head[e]) h->tail[e] = &h->head[e];
        free(c);
    }
    if (h->head[e] && !h->timer && !h->r->stall && h->head[e]->due_ms > now)
        h->timer = loop_after(h->r->loop, h->head[e]->due_ms - now, on_timer, h);
    if (!h->head[e] && h->eof[1 - e]) hop_close(h);
}

static void queue(struct hop *h, int e, struct chunk *c)
{
    c->next = NULL;
    *h->tail[e] = c;
    h->tail[e] = &c->next;
    h->queued[e] += c->n;
}

static void hop_read(struct hop *h, int e)
{
    struct relay *r = h->r;
    struct chunk *c = malloc(sizeof *c);
    must(c);
    ssize_t k = recv(h->fd[e], c->p, h->rate ? SLOW_CHUNK : CHUNK, MSG_DONTWAIT);
    if (k < 0 && errno == EAGAIN) {
        free(c);
        return;
    }
    if (k <= 0) {
        free(c);
        h->eof[e] = true;
        if (k < 0)
            hop_close(h);
        else
            hop_write(h, 1 - e);
        return;
    }
    c->due_ms = clock_ms() + r->delay_ms;
    c->n = (size_t)k;
    c->sent = 0;
    if (h->rate) {
        if (c->due_ms < h->last_due_ms[e]) c->due_ms = h->last_due_ms[e];
        c->due_ms += (uint64_t)k * 1000 / h->rate;
        h->last_due_ms[e] = c->due_ms;
    }
    h->bytes += (uint64_t)k;
    if (r->corrupt_after && h->bytes > r->corrupt_after) {
        c->p[c->n / 2] ^= 4;
        r->corrupt_after = 0;
    }
    if (h->cut_after && h->bytes > h->cut_after) {
        free(c);
        hop_close(h);
        return;
    }
    queue(h, 1 - e, c);
    if (r->duplicate && c->n > 0) {
        struct chunk *twice = malloc(sizeof *twice);
        must(twice);
        *twice = *c;
        queue(h, 1 - e, twice);
        r->duplicate = false;
    }
    hop_write(h, 1 - e);
}

static void on_fd(struct loop *loop, int fd, uint32_t events, void *arg)
{
    (void)loop;
    struct hop *h = arg;
    int e = fd == h->fd[1];
    if (h->dead) return;
    if (!h->connected && e == 1) {
        int error = 0;
        socklen_t n = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error) {
            hop_close(h);
            return;
        }
        h->connected = true;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hop_read(h, e);
    if (!h->dead && (events & EPOLLOUT)) hop_write(h, e);
    if (!h->dead) hop_watch(h);
}

static void on_accept(struct loop *loop, int listener, uint32_t events, void *arg)
{
    (void)events;
    struct relay *r = arg;
    struct ctx cx = {0};
    int a = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (a < 0) return;
    r->connections++;
    if (r->refuse) {
        close(a);
        return;
    }
    struct hop *h = calloc(1, sizeof *h);
    must(h);
    int b = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(r->to)};
    connect(b, (struct sockaddr *)&to, sizeof to);
    *h = (struct hop){.next = r->hops,
                      .r = r,
                      .fd = {a, b},
                      .events = {0, EPOLLOUT},
                      .cut_after = r->cut_after,
                      .rate = r->rate};
    int small = 16384;
    if (h->rate) {
        setsockopt(a, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    h->tail[0] = &h->head[0];
    h->tail[1] = &h->head[1];
    r->hops = h;
    must(loop_add(&cx, loop, a, 0, on_fd, h).code == 0 &&
         loop_add(&cx, loop, b, EPOLLOUT, on_fd, h).code == 0);
}

struct relay *relay_new(struct loop *l, uint16_t to_port)
{
    struct ctx cx = {0};
    struct relay *r = calloc(1, sizeof *r);
    must(r);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    r->loop = l;
    r->to = to_port;
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(bind(r->fd, (struct sockaddr *)&a, n) == 0 && listen(r->fd, 64) == 0 &&
         getsockname(r->fd, (struct sockaddr *)&a, &n) == 0);
    r->port = ntohs(a.sin_port);
    must(loop_add(&cx, l, r->fd, EPOLLIN, on_accept, r).code == 0);
    return r;
}

void relay_free(struct relay *r)
{
    if (!r) return;
    relay_cut(r);
    loop_cancel(r->loop, r->bury);
    bury(r->loop, r);
    loop_del(r->loop, r->fd);
    close(r->fd);
    free(r);
}

uint16_t relay_port(const struct relay *r)
{
    return r->port;
}

void relay_cut(struct relay *r)
{
    while (r->hops)
        hop_close(r->hops);
}

void relay_cut_after(struct relay *r, uint64_t bytes)
{
    r->cut_after = bytes;
}

void relay_corrupt_after(struct relay *r, uint64_t bytes)
{
    r->corrupt_after = bytes;
}

void relay_duplicate(struct relay *r)
{
    r->duplicate = true;
}

void relay_stall(struct relay *r, bool on)
{
    r->stall = on;
    for (struct hop *h = r->hops, *next; h; h = next) {
        next = h->next;
        hop_watch(h);
    }
}

void relay_delay(struct relay *r, uint64_t ms)
{
    r->delay_ms = ms;
}

void relay_refuse(struct relay *r, bool on)
{
    r->refuse = on;
}

size_t relay_connections(const struct relay *r)
{
    return r->connections;
}

void relay_rate(struct relay *r, uint64_t bytes_per_s)
{
    r->rate = bytes_per_s;
}

size_t relay_open(const struct relay *r)
{
    size_t n = 0;
    for (const struct hop *h = r->hops; h; h = h->next)
        n++;
    return n;
}
