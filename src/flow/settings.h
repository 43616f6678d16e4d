/* settings.h - a site's settings: DIR/norn.conf, one "key = value" a line, '#' begins a comment.
 *
 * Order, later wins: default, file, environment NORN_<KEY> (dots as underscores: NORN_PEER_10000), --set
 * KEY=VALUE. A key that no table entry knows is refused with file, line and the nearest name.
 * docs/formats/settings.md lists them. */
#pragma once
#include "base/log.h"
#include "net/node.h"

#define SETTINGS_PEERS_MAX 64

struct settings {
    uint32_t party;
    const char *name;
    const char *listen_host; /* NULL: accept nobody */
    uint16_t listen_port;
    const char *http_host; /* of the HTTP API; NULL: none */
    uint16_t http_port;
    bool http_auth;
    bool permissions;
    struct peer_config peers[SETTINGS_PEERS_MAX];
    size_t n_peers;
    const char *key_file, *cert_file, *ca_file; /* absolute, or under the folder */
    enum log_level log_level;
    uint64_t threads;          /* of a task; 0 = one per processor */
    uint64_t max_jobs;         /* that this site drives at once */
    uint64_t task_memory;      /* bytes of a task; 0 = three quarters of the machine's */
    uint64_t task_deadline_ms; /* a task's wait without any progress */
    uint64_t job_timeout_ms;
    uint64_t auto_retries, auto_retry_delay_ms; /* where a job says nothing */
    uint64_t heartbeat_ms;
    uint64_t dial_ms;
    uint64_t window_bytes, outbox_bytes;
    uint64_t rate_bytes;             /* a second, to each peer; 0 = any */
    uint64_t link_memory, link_disk; /* bytes of messages that wait; link_disk 0 = any */
    uint32_t route_default;          /* the exchange for parties that are no peers; 0 = none */
    uint64_t exchange_memory;        /* 0 = forwards nothing */
    /* what is kept, and for how long (keep.c); 0: for ever, any number */
    uint64_t keep_jobs_ms, keep_jobs_number, keep_outputs_ms, keep_logs_ms;
    uint64_t keep_interval_ms;
    uint64_t disk_quota, disk_min_free; /* bytes; 0: none */
    uint64_t log_size, log_files;       /* of logs/site.log; 0: it is never turned over */
    const char *user;                   /* whom the process becomes when root starts it; "": nobody else */
    uint64_t drain_ms;                  /* SIGTERM waits so long for running jobs */
};

/* dir: the site's folder. sets: "key=value" from the command line, may be NULL. All in cx->mem.
 * ARG: unknown key or bad value, naming file and line (or the variable, or the option); NOTFOUND: no site in
 * dir. */
status settings_load(struct ctx *cx, const char *dir, const char *const *sets, size_t n_sets,
                     struct settings *out);
/* The same from text, for tests and the fuzzer: no environment, no folder. what: the name shown in messages.
 */
status settings_parse(struct ctx *cx, const char *what, const char *text, size_t n, struct settings *out);
/* The commented file of a new site: every setting with its default, and those given. */
struct settings_init {
    uint32_t party;
    const char *name, *listen, *http_listen, *http_auth; /* NULL: defaults */
    const char *const *peers;                            /* as settings_peer takes them */
    size_t n_peers;
};
status settings_text(struct ctx *cx, const struct settings_init *in, const char **out);
/* "10000=host:port", "10000=via 10001", "10000=dials-us", each with " rate=2MiB" behind it if need be, or "10000", into
 * a peer; strings in cx->mem. */
status settings_peer(struct ctx *cx, const char *text, struct peer_config *out);
/* Every setting with its present value: {"key": "value"}. Caller owns *out. */
status settings_json(struct ctx *cx, const struct settings *s, json_t **out);
