/* log.h - one event, one JSON line: {"t":"2026-11-24T08:00:00.123Z","level":"info","event":"psi done",...}.
 *
 * Only mains and the scheduler log errors, once; libraries return them. No row value ever. Thread-safe. */
#pragma once
#include "base/ctx.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
struct log_kv {
    const char *key;
    enum { KV_STR, KV_I64, KV_F64, KV_BOOL } kind;
    const char *s;
    int64_t i;
    double f;
};
struct log *log_new(int fd, enum log_level max_level); /* fd stays the caller's; NULL: out of memory */
void log_free(struct log *l);
void log_freep(struct log **l);
/* Every later event of this log carries key = value (job, task, role, party). false: more than 8. */
bool log_bind(struct log *l, const char *key, const char *value);
void log_event(struct log *l, enum log_level level, const char *event, const struct log_kv *kv, size_t n);

static inline struct log_kv kv_str_(const char *k, const char *v)
{
    return (struct log_kv){k, KV_STR, v, 0, 0};
}
static inline struct log_kv kv_i64_(const char *k, int64_t v)
{
    return (struct log_kv){k, KV_I64, 0, v, 0};
}
static inline struct log_kv kv_u64_(const char *k, uint64_t v)
{
    return (struct log_kv){k, KV_I64, 0, (int64_t)v, 0};
}
static inline struct log_kv kv_f64_(const char *k, double v)
{
    return (struct log_kv){k, KV_F64, 0, 0, v};
}
static inline struct log_kv kv_bool_(const char *k, bool v)
{
    return (struct log_kv){k, KV_BOOL, 0, v, 0};
}
#define KV(k, v)                                                                                             \
    _Generic((v),                                                                                                 \
        char *: kv_str_, const char *: kv_str_, double: kv_f64_, float: kv_f64_, bool: kv_bool_,                  \
        unsigned long: kv_u64_, unsigned long long: kv_u64_, unsigned: kv_u64_, default: kv_i64_)((k), (v))
#define log_at_(cx, level, event, ...)                                                                       \
    log_event((cx)->log, (level), (event), (const struct log_kv[]){{0}, ##__VA_ARGS__} + 1,                  \
              sizeof((const struct log_kv[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_kv) - 1)
#define log_error(cx, ...) log_at_((cx), LOG_ERROR, __VA_ARGS__)
#define log_warn(cx, ...)  log_at_((cx), LOG_WARN, __VA_ARGS__)
#define log_info(cx, ...)  log_at_((cx), LOG_INFO, __VA_ARGS__)
#define log_debug(cx, ...) log_at_((cx), LOG_DEBUG, __VA_ARGS__)
