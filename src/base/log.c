#include "base/log.h"
#include "base/json_out.h"
#include "base/num.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BINDS_MAX = 8 };

struct bind {
    char *key, *value; /* value NULL prints as null */
};

struct log {
    int fd;
    enum log_level max_level;
    pthread_mutex_t lock; /* guards all below, and the order of lines */
    struct bind bind[BINDS_MAX];
    size_t n_binds;
    struct buf line; /* kept from one event to the next */
    bool torn;       /* the last line was cut short: a full disk, a reader gone */
};

struct log *log_new(int fd, enum log_level max_level)
{
    struct log *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->fd = fd;
    l->max_level = max_level;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void log_free(struct log *l)
{
    if (!l) return;
    for (size_t i = 0; i < l->n_binds; i++) {
        free(l->bind[i].key);
        free(l->bind[i].value);
    }
    buf_free(&l->line);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void log_freep(struct log **l)
{
    log_free(*l);
    *l = NULL;
}

/* Takes both strings; a key bound before gets the new value. */
static bool bind_put(struct log *l, char *key, char *value)
{
    size_t i = 0;
    while (i < l->n_binds && strcmp(l->bind[i].key, key) != 0)
        i++;
    if (i == BINDS_MAX) {
        free(key);
        free(value);
        return false;
    }
    if (i < l->n_binds) {
        free(l->bind[i].key);
        free(l->bind[i].value);
    } else {
        l->n_binds++;
    }
    l->bind[i] = (struct bind){key, value};
    return true;
}

bool log_bind(struct log *l, const char *key, const char *value)
{
    char *k = strdup(key), *v = value ? strdup(value) : NULL;
    if (!k || (value && !v)) {
        free(k);
        free(v);
        return false;
    }
    pthread_mutex_lock(&l->lock);
    bool good = bind_put(l, k, v);
    pthread_mutex_unlock(&l->lock);
    return good;
}

static void out_time(struct buf *b)
{
    struct timespec now;
    struct tm tm;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_put(b, text, n);
    buf_printf(b, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static void out_text(struct buf *b, const char *s)
{
    if (s)
        json_out_string(b, s, strlen(s));
    else
        buf_put(b, "null", 4);
}

/* JSON has no word for these; a string tells more than null. */
static void out_f64(struct buf *b, double x)
{
    char text[32];
    if (isfinite(x))
        buf_put(b, text, num_format_f64(x, text));
    else
        out_text(b, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static void out_kv(struct buf *b, const struct log_kv *kv)
{
    buf_u8(b, ',');
    json_out_string(b, kv->key, strlen(kv->key));
    buf_u8(b, ':');
    switch (kv->kind) {
    case KV_STR:
        out_text(b, kv->s);
        break;
    case KV_I64:
        buf_printf(b, "%" PRId64, kv->i);
        break;
    case KV_F64:
        out_f64(b, kv->f);
        break;
    case KV_BOOL:
        buf_printf(b, "%s", kv->i ? "true" : "false");
        break;
    }
}

static bool event_has(const char *key, const struct log_kv *kv, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (kv[i].key && strcmp(kv[i].key, key) == 0) return true;
    return false;
}

static void out_line(struct log *l, enum log_level level, const char *event, const struct log_kv *kv,
                     size_t n)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};
    struct buf *b = &l->line;
    buf_reset(b);
    if (l->torn) buf_u8(b, '\n');
    buf_put(b, "{\"t\":\"", 6);
    out_time(b);
    buf_printf(b, "\",\"level\":\"%s\",\"event\":", names[level]);
    out_text(b, event);
    for (size_t i = 0; i < l->n_binds; i++)
        if (!event_has(l->bind[i].key, kv, n)) /* a key stands once, or strict readers refuse the line */
            out_kv(b, &(struct log_kv){.key = l->bind[i].key, .kind = KV_STR, .s = l->bind[i].value});
    for (size_t i = 0; i < n; i++)
        if (kv[i].key) out_kv(b, &kv[i]);
    buf_put(b, "}\n", 2);
}

/* One write for the line, so that processes which share the file do not mix theirs; the rest only when the kernel
 * took a part. What cannot be written is lost: a log must not stop the work. */
static void write_line(struct log *l, const void *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(l->fd, (const uint8_t *)p + done, n - done);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) break;
        done += (size_t)k;
    }
    if (done) l->torn = done < n;
}

void log_event(struct log *l, enum log_level level, const char *event, const struct log_kv *kv, size_t n)
{
    static const char no_memory[] =
        "{\"level\":\"error\",\"event\":\"a log line was lost: out of memory\"}\n";
    if (!l || level > l->max_level) return;
    int saved = errno;
    pthread_mutex_lock(&l->lock);
    out_line(l, level, event, kv, n);
    if (l->line.bad)
        write_line(l, no_memory, sizeof no_memory - 1);
    else
        write_line(l, l->line.p, l->line.n);
    pthread_mutex_unlock(&l->lock);
    errno = saved;
}
