#include "net/pipe_io.h"
#include "base/arena.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, READ_TURN = 1 << 20, SEG_STEP = 1 << 20 };

/* --- records --- */

void pipe_io_init(struct pipe_io *io, int fd)
{
    *io = (struct pipe_io){.fd = fd};
    int flags = fcntl(fd, F_GETFL), bytes = 4 << 20;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void pipe_io_free(struct pipe_io *io)
{
    buf_free(&io->tx);
    buf_free(&io->rx);
    for (size_t i = 0; i < io->n_rx_fd; i++)
        close(io->rx_fd[i]);
    io->n_rx_fd = 0;
    if (io->fd >= 0) close(io->fd);
    io->fd = -1;
}

bool pipe_io_fds_full(const struct pipe_io *io)
{
    return io->n_tx_fd == PIPE_FDS;
}

size_t pipe_io_begin(struct pipe_io *io, enum pipe_kind kind, int fd)
{
    size_t start = io->tx.n;
    if (fd >= 0 && io->n_tx_fd < PIPE_FDS) {
        io->tx_fd[io->n_tx_fd].at = start;
        io->tx_fd[io->n_tx_fd++].fd = fd;
    }
    buf_u32(&io->tx, 0);
    buf_u8(&io->tx, (uint8_t)kind);
    buf_u8(&io->tx, fd >= 0);
    buf_u16(&io->tx, 0);
    return start;
}

void pipe_io_end(struct pipe_io *io, size_t start)
{
    if (io->tx.bad) return;
    uint32_t n = (uint32_t)(io->tx.n - start - PIPE_HEAD);
    memcpy(io->tx.p + start, &n, sizeof n);
}

bool pipe_io_unsent(const struct pipe_io *io)
{
    return io->tx_sent < io->tx.n;
}

static ssize_t send_some(struct pipe_io *io)
{
    size_t end = io->tx.n;
    bool with_fd = io->n_tx_fd && io->tx_fd[0].at == io->tx_sent;
    size_t next = with_fd ? 1 : 0; /* the next descriptor needs a call of its own */
    if (next < io->n_tx_fd && io->tx_fd[next].at < end) end = io->tx_fd[next].at;
    struct iovec v = {io->tx.p + io->tx_sent, end - io->tx_sent};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    if (with_fd) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &io->tx_fd[0].fd, sizeof(int));
    }
    ssize_t k = sendmsg(io->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (k <= 0 || !with_fd) return k;
    close(io->tx_fd[0].fd);
    memmove(io->tx_fd, io->tx_fd + 1, --io->n_tx_fd * sizeof io->tx_fd[0]);
    return k;
}

status pipe_io_flush(struct ctx *cx, struct pipe_io *io, bool *empty)
{
    *empty = false;
    if (io->tx.bad) return FAIL(cx, NOMEM, "no memory for records");
    while (pipe_io_unsent(io)) {
        ssize_t k = send_some(io);
        if (k < 0 && errno == EINTR) continue;
        io->stalled = k < 0 && errno == ETOOMANYREFS;
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || io->stalled)) return OK;
        if (k < 0) return FAIL(cx, IO, "pipe: %m");
        io->tx_sent += (size_t)k;
    }
    buf_reset(&io->tx);
    io->tx_sent = 0;
    *empty = true;
    return OK;
}

static status keep_fds(struct ctx *cx, struct pipe_io *io, struct msghdr *h)
{
    bool lost = h->msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (io->n_rx_fd == PIPE_FDS) {
                close(fd);
                lost = true;
            } else {
                io->rx_fd[io->n_rx_fd++] = fd;
            }
        }
    }
    return lost ? FAIL(cx, LIMIT, "pipe: more than %d descriptors under way", PIPE_FDS) : OK;
}

status pipe_io_read(struct ctx *cx, struct pipe_io *io, bool *closed)
{
    *closed = false;
    for (size_t sum = 0; sum < READ_TURN;) {
        size_t before = io->rx.n;
        uint8_t *p = buf_grow(&io->rx, READ_BYTES);
        if (!p) return FAIL(cx, NOMEM, "no memory for records");
        io->rx.n = before;
        struct iovec v = {p, READ_BYTES};
        union {
            char bytes[CMSG_SPACE(8 * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct msghdr h = {.msg_iov = &v,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
        ssize_t k = recvmsg(io->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return OK;
        if (k < 0 && errno != ECONNRESET) return FAIL(cx, IO, "pipe: %m");
        if (k <= 0) {
            *closed = true;
            return OK;
        }
        io->rx.n = before + (size_t)k;
        sum += (size_t)k;
        TRY(keep_fds(cx, io, &h));
        if (io->n_rx_fd > PIPE_FDS / 2) return OK; /* the records first */
    }
    return OK;
}

status pipe_io_next(struct ctx *cx, struct pipe_io *io, struct record *out, bool *found)
{
    struct reader r = reader_of(io->rx.p + io->rx_used, io->rx.n - io->rx_used);
    uint32_t n;
    uint8_t kind, flags;
    uint16_t zero;
    *found = false;
    if (reader_left(&r) < PIPE_HEAD) return OK;
    TRY(reader_u32(cx, &r, &n));
    TRY(reader_u8(cx, &r, &kind));
    TRY(reader_u8(cx, &r, &flags));
    TRY(reader_u16(cx, &r, &zero));
    if (n > PIPE_RECORD_MAX)
        return FAIL(cx, LIMIT, "pipe: a record of %u bytes, at most %d", n, PIPE_RECORD_MAX);
    if (!kind || kind > PIPE_LAST || flags > 1 || zero)
        return FAIL(cx, PROTO, "pipe: a record of unknown kind %u", kind);
    if (reader_left(&r) < n) return OK;
    *out = (struct record){.kind = (enum pipe_kind)kind, .has_fd = flags, .body = {r.p, n}};
    io->rx_used += PIPE_HEAD + n;
    *found = true;
    return OK;
}

void pipe_io_compact(struct pipe_io *io)
{
    size_t left = io->rx.n - io->rx_used;
    if (!io->rx_used) return;
    if (left) memmove(io->rx.p, io->rx.p + io->rx_used, left);
    io->rx.n = left;
    io->rx_used = 0;
}

int pipe_io_take_fd(struct pipe_io *io)
{
    if (!io->n_rx_fd) return -1;
    int fd = io->rx_fd[0];
    memmove(io->rx_fd, io->rx_fd + 1, --io->n_rx_fd * sizeof io->rx_fd[0]);
    return fd;
}

void pipe_put_party(struct buf *b, struct party p)
{
    buf_u8(b, (uint8_t)p.role);
    buf_u32(b, p.id);
}

void pipe_put_name(struct buf *b, const char *s)
{
    size_t n = strlen(s);
    if (n > 255) n = 255;
    buf_u8(b, (uint8_t)n);
    buf_put(b, s, n);
}

status pipe_get_party(struct ctx *cx, struct reader *r, struct party *out)
{
    uint8_t role;
    TRY(reader_u8(cx, r, &role));
    TRY(reader_u32(cx, r, &out->id));
    if (role >= ROLE_COUNT) return FAIL(cx, PROTO, "pipe: role %u", role);
    out->role = (enum role)role;
    return OK;
}

status pipe_get_name(struct ctx *cx, struct reader *r, char *out, size_t size)
{
    uint8_t n;
    const uint8_t *p;
    TRY(reader_u8(cx, r, &n));
    if (n >= size) return FAIL(cx, LIMIT, "pipe: a name of %u bytes, at most %zu", n, size - 1);
    TRY(reader_bytes(cx, r, n, &p));
    if (memchr(p, 0, n)) return FAIL(cx, PROTO, "pipe: a name with a NUL");
    memcpy(out, p, n);
    out[n] = '\0';
    return OK;
}

/* --- shared memory --- */

static void seg_close(struct seg *g)
{
    if (g->p) munmap(g->p, g->cap);
    *g = (struct seg){0};
}

void segs_out_free(struct segs_out *s)
{
    for (size_t i = 0; i < s->n; i++)
        seg_close(&s->seg[i]);
    s->n = 0;
}

/* By write: a fresh page costs half of what faulting it in by a mapping does. */
static bool seg_fill(int fd, const uint8_t *p, size_t n)
{
    for (size_t k = 0; k < n;) {
        ssize_t w = pwrite(fd, p + k, n - k, (off_t)k);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        k += (size_t)w;
    }
    return true;
}

static int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static status seg_new(struct ctx *cx, struct seg *g, const void *p, size_t n, int *fd_out)
{
    size_t cap = (n + SEG_STEP - 1) / SEG_STEP * SEG_STEP;
    CLEANUP(fd_closep) int fd = memfd_create("norn message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || !seg_fill(fd, p, n) || ftruncate(fd, (off_t)cap) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return FAIL(cx, NOMEM, "pipe: %zu bytes of shared memory: %m", cap);
    void *m = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED) return FAIL(cx, NOMEM, "pipe: map %zu bytes: %m", cap);
    *g = (struct seg){.p = m, .cap = cap, .busy = true};
    *fd_out = take_fd(&fd);
    return OK;
}

status segs_put(struct ctx *cx, struct segs_out *s, const void *p, size_t n, uint32_t *id, int *fd)
{
    size_t best = SEGS_MAX, empty = s->n;
    for (size_t i = 0; i < s->n; i++) {
        const struct seg *g = &s->seg[i];
        if (!g->p) empty = i;
        if (!g->p || g->busy || g->cap < n || g->cap / 4 > n) continue;
        if (best == SEGS_MAX || g->cap < s->seg[best].cap) best = i;
    }
    *fd = -1;
    if (best < SEGS_MAX) {
        memcpy(s->seg[best].p, p, n);
        s->seg[best].busy = true;
        *id = (uint32_t)best;
        return OK;
    }
    if (empty == SEGS_MAX) return FAIL(cx, LIMIT, "pipe: %d segments under way", SEGS_MAX);
    TRY(seg_new(cx, &s->seg[empty], p, n, fd));
    if (empty == s->n) s->n++;
    *id = (uint32_t)empty;
    return OK;
}

void segs_released(struct segs_out *s, struct pipe_io *io, uint32_t id)
{
    if (id >= s->n || !s->seg[id].p || !s->seg[id].busy) return;
    s->seg[id].busy = false;
    size_t idle = 0, bytes = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->seg[i].p || s->seg[i].busy) continue;
        idle++;
        bytes += s->seg[i].cap;
    }
    if (idle <= SEGS_KEEP && bytes <= SEGS_KEEP_BYTES) return;
    size_t start = pipe_io_begin(io, PIPE_DROP, -1);
    buf_u32(&io->tx, id);
    pipe_io_end(io, start);
    seg_close(&s->seg[id]);
}

struct segs_in *segs_in_new(void (*on_unused)(void *arg, uint32_t id), void *arg)
{
    struct arena *mem = arena_new(0);
    struct segs_in *s = mem ? arena_alloc(mem, sizeof *s, 16) : NULL;
    if (!s) {
        arena_free(mem);
        return NULL;
    }
    s->mem = mem;
    s->refs = 1;
    s->on_unused = on_unused;
    s->arg = arg;
    return s;
}

static void unref(struct segs_in *s)
{
    if (--s->refs) return;
    for (size_t i = 0; i < SEGS_MAX; i++)
        if (s->seg[i].p) munmap((void *)(uintptr_t)s->seg[i].p, s->seg[i].cap);
    arena_free(s->mem);
}

void segs_in_close(struct segs_in *s)
{
    if (!s) return;
    s->on_unused = NULL;
    unref(s);
}

status segs_map(struct ctx *cx, struct segs_in *s, uint32_t id, int fd, uint64_t cap)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (id >= SEGS_MAX || s->seg[id].p) return FAIL(cx, PROTO, "pipe: segment %u comes twice", id);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 || st.st_size < 0 ||
        (uint64_t)st.st_size != cap || !cap)
        return FAIL(cx, PROTO, "pipe: segment %u is not sealed, or not of %llu bytes", id,
                    (unsigned long long)cap);
    void *p = mmap(NULL, cap, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return FAIL(cx, NOMEM, "pipe: map %llu bytes: %m", (unsigned long long)cap);
    s->seg[id].p = p;
    s->seg[id].cap = cap;
    return OK;
}

status segs_drop(struct ctx *cx, struct segs_in *s, uint32_t id)
{
    if (id >= SEGS_MAX || !s->seg[id].p || s->seg[id].uses)
        return FAIL(cx, PROTO, "pipe: segment %u is dropped, but not there or in use", id);
    munmap((void *)(uintptr_t)s->seg[id].p, s->seg[id].cap);
    s->seg[id].p = NULL;
    return OK;
}

status segs_view(struct ctx *cx, struct segs_in *s, uint32_t id, uint64_t n, const uint8_t **out)
{
    if (id >= SEGS_MAX || !s->seg[id].p || n > s->seg[id].cap)
        return FAIL(cx, PROTO, "pipe: %llu bytes of segment %u, which is not there", (unsigned long long)n,
                    id);
    s->refs++;
    s->seg[id].uses++;
    *out = s->seg[id].p;
    return OK;
}

void segs_unuse(struct segs_in *s, uint32_t id)
{
    s->seg[id].uses--;
    if (s->on_unused) s->on_unused(s->arg, id);
    unref(s);
}

/* --- messages --- */

status pipe_put_message(struct ctx *cx, struct pipe_io *io, struct segs_out *segs, enum pipe_kind kind,
                        const struct pipe_message *m)
{
    uint32_t id = NO_SEG;
    int fd = -1;
    if (m->payload.n >= SEG_MIN) {
        TRY(segs_put(cx, segs, m->payload.p, m->payload.n, &id, &fd));
    }
    size_t start = pipe_io_begin(io, kind, fd);
    pipe_put_party(&io->tx, m->peer);
    pipe_put_name(&io->tx, m->tag);
    buf_u32(&io->tx, m->seq);
    buf_u64(&io->tx, m->payload.n);
    buf_u32(&io->tx, id);
    if (id != NO_SEG) {
        buf_u64(&io->tx, segs->seg[id].cap);
    } else if (m->payload.n) {
        buf_put(&io->tx, m->payload.p, m->payload.n);
    }
    pipe_io_end(io, start);
    return buf_ok(cx, &io->tx);
}

static status get_payload(struct ctx *cx, struct pipe_io *io, struct segs_in *segs, const struct record *rec,
                          struct reader *r, uint64_t n, struct pipe_message *m)
{
    uint64_t cap;
    if (m->seg == NO_SEG) {
        if (n >= SEG_MIN || rec->has_fd)
            return FAIL(cx, PROTO, "pipe: %llu bytes inline", (unsigned long long)n);
        TRY(reader_bytes(cx, r, (size_t)n, &m->payload.p));
        m->payload.n = (size_t)n;
        return OK;
    }
    TRY(reader_u64(cx, r, &cap));
    if (rec->has_fd) {
        int fd = pipe_io_take_fd(io);
        if (fd < 0) return FAIL(cx, PROTO, "pipe: a descriptor is missing");
        status st = segs_map(cx, segs, m->seg, fd, cap);
        close(fd); /* the mapping stays */
        TRY(st);
    }
    TRY(segs_view(cx, segs, m->seg, n, &m->payload.p));
    m->payload.n = (size_t)n;
    return OK;
}

status pipe_get_message(struct ctx *cx, struct pipe_io *io, struct segs_in *segs, const struct record *rec,
                        struct pipe_message *out)
{
    struct reader r = reader_of(rec->body.p, rec->body.n);
    struct pipe_message m = {0};
    uint64_t n;
    TRY(pipe_get_party(cx, &r, &m.peer));
    TRY(pipe_get_name(cx, &r, m.tag, sizeof m.tag));
    TRY(reader_u32(cx, &r, &m.seq));
    TRY(reader_u64(cx, &r, &n));
    TRY(reader_u32(cx, &r, &m.seg));
    if (!tag_valid(m.tag)) return FAIL(cx, PROTO, "pipe: bad tag");
    TRY(get_payload(cx, io, segs, rec, &r, n, &m));
    status st = reader_end(cx, &r);
    if (st.code && m.seg != NO_SEG) segs_unuse(segs, m.seg);
    TRY(st);
    *out = m;
    return OK;
}
