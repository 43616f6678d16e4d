#include "model/steplog.h"
#include "base/arena.h"
#include "base/evp.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define MAGIC    "nornstep"
#define VERSION  1u
#define HEAD     48u /* magic 8, version 4, 0 4, key 32 */
#define STEP     32u /* index 8, length 8, digest 16 */
#define DIGEST   16u
#define LOCK_MS  5000 /* for the process before this one to be gone */
#define PIECE    65536u
#define STEP_MAX (UINT64_C(1) << 40)

struct steplog {
    int fd;
    struct arena *mem;
    uint64_t n, cap;
    uint64_t *at; /* where each step begins; at[n]: the end */
    uint64_t synced_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void closed(void *arg)
{
    struct steplog *s = arg;
    struct arena *mem = s->mem;
    fd_closep(&s->fd);
    arena_free(mem);
}

static status read_at(struct ctx *cx, int fd, void *p, size_t n, uint64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(fd, (uint8_t *)p + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "read: %m");
        if (k == 0) return FAIL(cx, FORMAT, "ends at byte %llu", (unsigned long long)(at + done));
        done += (size_t)k;
    }
    return OK;
}

static status write_at(struct ctx *cx, int fd, const void *p, size_t n, uint64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(fd, (const uint8_t *)p + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return FAIL(cx, IO, "write: %m");
        done += (size_t)k;
    }
    return OK;
}

/* ---- steps ---- */

static void md_freep(EVP_MD_CTX **m)
{
    EVP_MD_CTX_free(*m);
}

static status digest_begin(struct ctx *cx, EVP_MD_CTX **out, const uint8_t head[16])
{
    *out = EVP_MD_CTX_new();
    return *out && EVP_DigestInit_ex(*out, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(*out, head, 16) == 1
               ? OK
               : FAIL(cx, NOMEM, "a digest");
}

static status digest_end(struct ctx *cx, EVP_MD_CTX *m, uint8_t out[DIGEST])
{
    uint8_t md[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(m, md, NULL) != 1) return FAIL(cx, INTERNAL, "a digest");
    memcpy(out, md, DIGEST);
    return OK;
}

static void put64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 8; i-- > 0;)
        x = x << 8 | p[i];
    return x;
}

static status remember(struct ctx *cx, struct steplog *s, uint64_t end)
{
    if (s->n + 2 > s->cap) {
        uint64_t cap = s->cap ? 2 * s->cap : 64;
        uint64_t *more = arena_alloc_n(s->mem, cap, sizeof *more, 8);
        if (!more) return FAIL(cx, NOMEM, "%llu steps", (unsigned long long)cap);
        if (s->cap) memcpy(more, s->at, (s->n + 1) * sizeof *more);
        s->at = more, s->cap = cap;
    }
    s->at[s->n + 1] = end;
    return OK;
}

/* Reads and checks the step at byte `at` of a file of `size`; *whole: it is there in full; *end: the byte after it. */
static status look_at(struct ctx *cx, struct steplog *s, uint64_t at, uint64_t size, bool *whole,
                      uint64_t *end)
{
    uint8_t head[STEP], piece[PIECE], digest[DIGEST];
    *whole = false;
    if (size - at < STEP) return OK;
    TRY(read_at(cx, s->fd, head, STEP, at));
    uint64_t length = get64(head + 8);
    if (get64(head) != s->n || length > size - at - STEP) return OK;
    CLEANUP(md_freep) EVP_MD_CTX *m = NULL;
    TRY(digest_begin(cx, &m, head));
    for (uint64_t done = 0; done < length;) {
        size_t k = length - done < PIECE ? (size_t)(length - done) : PIECE;
        TRY(read_at(cx, s->fd, piece, k, at + STEP + done));
        if (EVP_DigestUpdate(m, piece, k) != 1) return FAIL(cx, INTERNAL, "a digest");
        done += k;
    }
    TRY(digest_end(cx, m, digest));
    *whole = memcmp(digest, head + 16, DIGEST) == 0;
    *end = at + STEP + length;
    return OK;
}

/* ---- opening ---- */

static status begin_anew(struct ctx *cx, struct steplog *s, const uint8_t key[STEPLOG_KEY])
{
    uint8_t head[HEAD] = MAGIC;
    head[8] = VERSION;
    memcpy(head + 16, key, STEPLOG_KEY);
    if (ftruncate(s->fd, 0)) return FAIL(cx, IO, "truncate: %m");
    return write_at(cx, s->fd, head, HEAD, 0);
}

static status scan(struct ctx *cx, struct steplog *s, const uint8_t key[STEPLOG_KEY])
{
    uint8_t head[HEAD];
    off_t size = lseek(s->fd, 0, SEEK_END);
    bool whole = true;
    uint64_t end;
    if (size < 0) return FAIL(cx, IO, "seek: %m");
    s->n = 0;
    TRY(remember(cx, s, 0));
    s->at[0] = HEAD;
    if (size < (off_t)HEAD) return begin_anew(cx, s, key);
    TRY(read_at(cx, s->fd, head, HEAD, 0));
    uint32_t version = (uint32_t)(get64(head + 8) & UINT32_MAX);
    if (memcmp(head, MAGIC, 8) == 0 && version > VERSION)
        return FAIL(cx, FORMAT, "made by a newer norn (version %u, known is %u)", version, VERSION);
    if (memcmp(head, MAGIC, 8) != 0 || version != VERSION || memcmp(head + 16, key, STEPLOG_KEY) != 0)
        return begin_anew(cx, s, key);
    while (whole) {
        TRY(look_at(cx, s, s->at[s->n], (uint64_t)size, &whole, &end));
        if (!whole) break;
        TRY(remember(cx, s, end));
        s->n++;
    }
    if (s->at[s->n] < (uint64_t)size && ftruncate(s->fd, (off_t)s->at[s->n]))
        return FAIL(cx, IO, "truncate: %m");
    return OK;
}

static status lock(struct ctx *cx, int fd)
{
    uint64_t from = now_ms();
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR) return FAIL(cx, IO, "lock: %m");
        TRY(ctx_check(cx));
        if (now_ms() - from > LOCK_MS) return FAIL(cx, STATE, "another process has it open");
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    return OK;
}

status steplog_open(struct ctx *cx, const char *path, const uint8_t key[STEPLOG_KEY], struct steplog **out,
                    uint64_t *n)
{
    struct arena *mem = arena_new(0);
    struct steplog *s = mem ? arena_alloc(mem, sizeof *s, 16) : NULL;
    if (!s || !arena_on_free(cx->mem, closed, s)) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "a checkpoint");
    }
    *s = (struct steplog){.mem = mem, .synced_ms = now_ms()};
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0) return FAIL(cx, IO, "open %s: %m", path);
    status st = lock(cx, s->fd);
    if (!st.code) st = scan(cx, s, key);
    if (st.code) {
        err_prefix(cx, "checkpoint %s", path);
        steplog_close(s);
        return st;
    }
    *out = s, *n = s->n;
    return OK;
}

void steplog_close(struct steplog *s)
{
    if (s) fd_closep(&s->fd);
}

/* ---- using ---- */

status steplog_read(struct ctx *cx, struct steplog *s, uint64_t i, struct bytes *out)
{
    uint8_t head[STEP], digest[DIGEST];
    if (i >= s->n)
        return FAIL(cx, NOTFOUND, "step %llu of %llu", (unsigned long long)i, (unsigned long long)s->n);
    size_t n = (size_t)(s->at[i + 1] - s->at[i] - STEP);
    uint8_t *p = NEW(cx, uint8_t, n + 1);
    if (!p) return FAIL(cx, NOMEM, "a step of %zu bytes", n);
    TRY_IN(cx, read_at(cx, s->fd, head, STEP, s->at[i]), "checkpoint");
    TRY_IN(cx, read_at(cx, s->fd, p, n, s->at[i] + STEP), "checkpoint");
    CLEANUP(md_freep) EVP_MD_CTX *m = NULL;
    TRY(digest_begin(cx, &m, head));
    if (EVP_DigestUpdate(m, p, n) != 1) return FAIL(cx, INTERNAL, "a digest");
    TRY(digest_end(cx, m, digest));
    if (memcmp(digest, head + 16, DIGEST) != 0)
        return FAIL(cx, FORMAT, "checkpoint: step %llu was altered", (unsigned long long)i);
    *out = (struct bytes){p, n};
    return OK;
}

status steplog_cut(struct ctx *cx, struct steplog *s, uint64_t n)
{
    if (n >= s->n) return OK;
    if (ftruncate(s->fd, (off_t)s->at[n])) return FAIL(cx, IO, "checkpoint: truncate: %m");
    s->n = n;
    return OK;
}

static status add(struct ctx *cx, struct steplog *s, const void *p, size_t n)
{
    uint8_t head[STEP];
    uint64_t at = s->at[s->n];
    put64(head, s->n);
    put64(head + 8, n);
    CLEANUP(md_freep) EVP_MD_CTX *m = NULL;
    TRY(digest_begin(cx, &m, head));
    if (EVP_DigestUpdate(m, p, n) != 1) return FAIL(cx, INTERNAL, "a digest");
    TRY(digest_end(cx, m, head + 16));
    TRY(remember(cx, s, at + STEP + n));
    TRY(write_at(cx, s->fd, p, n, at + STEP)); /* the head last: without it there is no step */
    TRY(write_at(cx, s->fd, head, STEP, at));
    uint64_t now = now_ms();
    if (now - s->synced_ms < STEPLOG_SYNC_MS) return OK;
    s->synced_ms = now;
    return fdatasync(s->fd) ? FAIL(cx, IO, "sync: %m") : OK;
}

status steplog_add(struct ctx *cx, struct steplog *s, const void *p, size_t n)
{
    if (n > STEP_MAX) return FAIL(cx, LIMIT, "a step of %zu bytes", n);
    status st = add(cx, s, p, n);
    if (st.code) {
        err_prefix(cx, "checkpoint");
        if (ftruncate(s->fd, (off_t)s->at[s->n])) return st; /* the digest will tell */
        return st;
    }
    s->n++;
    return OK;
}
