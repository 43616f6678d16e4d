#include "flow/settings.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/num.h"
#include "flow/names.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { S_PARTY, S_ROUTE, S_TEXT, S_LISTEN, S_HTTP, S_SWITCH, S_FILE, S_LEVEL, S_COUNT, S_BYTES, S_MS };
struct setting {
    const char *key;
    enum kind kind;
    size_t offset;
    const char *def; /* as it stands in the file; NULL: must be given */
    uint64_t min, max;
    const char *text;
};
#define AT(field) offsetof(struct settings, field)
static const struct setting table[] = {
    {"party", S_PARTY, AT(party), NULL, 0, 0,
     "This party's id in the federation; the certificate must hold the same."},
    {"name", S_TEXT, AT(name), "", 0, 0, "What people call this site."},
    {"listen", S_LISTEN, AT(listen_host), "0.0.0.0:9370", 0, 0,
     "Where other sites reach this one, host:port; 'none' when this site only dials."},
    {"http_listen", S_HTTP, AT(http_host), "127.0.0.1:9380", 0, 0,
     "Where FATE's clients, scripts and the board reach the HTTP API, host:port; 'none' for no API."},
    {"http_auth", S_SWITCH, AT(http_auth), "on", 0, 0,
     "Requests to the API need a signature or a token (norn key); 'off' lets everyone in who reaches the "
     "port."},
    {"permissions", S_SWITCH, AT(permissions), "off", 0, 0,
     "Partners' jobs may only use components and tables granted to them (permission/grant of the API)."},
    {"key", S_FILE, AT(key_file), "keys/site.key", 0, 0, "Private key of this site."},
    {"cert", S_FILE, AT(cert_file), "keys/site.crt", 0, 0, "Its certificate, signed by the federation's CA."},
    {"ca", S_FILE, AT(ca_file), "keys/ca.crt", 0, 0, "Certificate of the federation's CA."},
    {"log_level", S_LEVEL, AT(log_level), "info", 0, 0, "error, warn, info or debug."},
    {"threads", S_COUNT, AT(threads), "0", 0, 1024,
     "Threads of a task; 0 is one per processor. Results do not depend on it."},
    {"max_jobs", S_COUNT, AT(max_jobs), "16", 1, 10000,
     "Jobs of its own that this site runs at once; more wait in order."},
    {"task_memory", S_BYTES, AT(task_memory), "0", 0, UINT64_MAX,
     "Memory of one task (\"4GiB\"); 0 is three quarters of the machine's."},
    {"task_deadline", S_MS, AT(task_deadline_ms), "5m", 100, 604800000,
     "A task that waits this long without any progress of its peer or link fails."},
    {"job_timeout", S_MS, AT(job_timeout_ms), "72h", 1000, UINT64_MAX,
     "A job that has not ended by then is ended."},
    {"auto_retries", S_COUNT, AT(auto_retries), "0", 0, 1000,
     "How often a component of this site's jobs is started again by itself after an interruption (a killed "
     "process, a "
     "restarted site, a link that was down); a job's auto_retries goes before it."},
    {"auto_retry_delay", S_MS, AT(auto_retry_delay_ms), "1s", 0, 86400000, "How long it waits before that."},
    {"heartbeat", S_MS, AT(heartbeat_ms), "2s", 50, 600000,
     "A peer silent for five of these is dialled again."},
    {"dial_timeout", S_MS, AT(dial_ms), "5s", 50, 600000, "For one attempt to connect."},
    {"window", S_BYTES, AT(window_bytes), "16MiB", 1 << 20, UINT32_MAX,
     "Unread bytes that a peer may send to one task."},
    {"outbox", S_BYTES, AT(outbox_bytes), "64MiB", 1 << 20, UINT64_C(1) << 40,
     "Bytes of one task that may wait for the link."},
    {"link_memory", S_BYTES, AT(link_memory), "1GiB", 1 << 20, UINT64_MAX,
     "Messages that wait, of all tasks, either way: beyond this they wait on disk, in DIR/spill."},
    {"link_disk", S_BYTES, AT(link_disk), "64GiB", 0, UINT64_MAX,
     "And at most so many bytes there; 0 is what the disk has."},
    {"rate_limit", S_BYTES, AT(rate_bytes), "0", 0, UINT64_C(1) << 40,
     "Bytes a second to each peer whose line has no rate=; 0 is no limit."},
    {"route.default", S_ROUTE, AT(route_default), "none", 0, 0,
     "A peer, an exchange, through which parties that are no peers are reached and reach this site."},
    {"exchange_memory", S_BYTES, AT(exchange_memory), "0", 0, UINT64_C(1) << 40,
     "Memory for what this site forwards between its peers as an exchange; 0: it forwards nothing."},
    {"keep_jobs", S_MS, AT(keep_jobs_ms), "0s", 0, UINT64_MAX,
     "A job that ended so long ago (\"90d\") is removed: records, logs and outputs, not its model; 0s keeps "
     "all."},
    {"keep_jobs_number", S_COUNT, AT(keep_jobs_number), "0", 0, 1000000000,
     "Ended jobs beyond the newest so many are removed; 0 keeps all."},
    {"keep_outputs", S_MS, AT(keep_outputs_ms), "0s", 0, UINT64_MAX,
     "Output tables of a job are removed so long after its end; 0s keeps them with the job."},
    {"keep_logs", S_MS, AT(keep_logs_ms), "0s", 0, UINT64_MAX,
     "Logs of a job's tasks are removed so long after its end; 0s keeps them with the job."},
    {"keep_interval", S_MS, AT(keep_interval_ms), "1m", 100, 86400000,
     "How often the site looks for what need not be kept, and measures its folder."},
    {"disk_quota", S_BYTES, AT(disk_quota), "0", 0, UINT64_MAX,
     "Bytes that the site's folder may hold (\"500GiB\"): beyond, no new work is taken; 0 is no limit."},
    {"disk_min_free", S_BYTES, AT(disk_min_free), "64MiB", 0, UINT64_MAX,
     "Bytes that must be free on its disk for new work to be taken."},
    {"log_size", S_BYTES, AT(log_size), "64MiB", 0, UINT64_MAX,
     "logs/site.log is turned over to site.log.1 when it is larger; 0 leaves that to others (SIGHUP reopens "
     "it)."},
    {"log_files", S_COUNT, AT(log_files), "5", 1, 1000, "Old ones that are kept: site.log.1 to site.log.5."},
    {"user", S_TEXT, AT(user), "", 0, 0,
     "Whom the site's process becomes when root starts it; the folder must be that user's."},
    {"drain", S_MS, AT(drain_ms), "0s", 0, 604800000,
     "How long SIGTERM, and so systemd's stop, waits for running jobs; a second one does not wait."},
};

static void *field(struct settings *s, const struct setting *t)
{
    return (char *)s + t->offset;
}

/* "host:port", the last colon decides: "[::1]:9370" keeps its brackets off. */
static bool parse_address(struct ctx *cx, const char *v, const char **host, uint16_t *port)
{
    const char *colon = strrchr(v, ':');
    uint64_t p;
    if (!colon || colon == v || !num_parse_u64(colon + 1, strlen(colon + 1), &p) || p > 65535) return false;
    size_t n = (size_t)(colon - v);
    if (v[0] == '[' && v[n - 1] == ']') v++, n -= 2;
    char *copy = arena_strndup(cx->mem, v, n);
    if (!copy || n == 0 || n > 255 ||
        strspn(copy, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:") != n)
        return false;
    *host = copy, *port = (uint16_t)p;
    return true;
}

static status parse_party(struct ctx *cx, const char *v, uint32_t *out)
{
    uint64_t p;
    if (!num_parse_u64(v, strlen(v), &p) || p == 0 || p > INT32_MAX)
        return FAIL(cx, ARG, "party id \"%.60s\", want 1 to %d", v, INT32_MAX);
    *out = (uint32_t)p;
    return OK;
}

/* host:port, dials-us or "via PARTY", then perhaps "rate=BYTES". */
static status parse_way(struct ctx *cx, const char *v, struct peer_config *p)
{
    const char *rate = strstr(v, " rate=");
    const char *way = arena_strndup(cx->mem, v, rate ? (size_t)(rate - v) : strlen(v));
    if (!way) return FAIL(cx, NOMEM, "a peer");
    if (rate && (!num_parse_bytes(rate + 6, &p->rate_bytes) || !p->rate_bytes))
        return FAIL(cx, ARG, "\"%.60s\", want rate= and bytes a second like 2MiB", rate + 1);
    if (strncmp(way, "via ", 4) == 0) return parse_party(cx, way + 4, &p->via);
    if (strcmp(way, "dials-us") != 0 && (!parse_address(cx, way, &p->host, &p->port) || p->port == 0))
        return FAIL(cx, ARG, "\"%.100s\", want host:port, via PARTY or dials-us", way);
    return OK;
}

static const char *way_text(struct ctx *cx, const struct peer_config *p)
{
    const char *way = p->via    ? arena_printf(cx->mem, "via %u", p->via)
                      : p->host ? arena_printf(cx->mem, "%s:%u", p->host, p->port)
                                : "dials-us";
    return p->rate_bytes ? arena_printf(cx->mem, "%s rate=%" PRIu64, way, p->rate_bytes) : way;
}

status settings_peer(struct ctx *cx, const char *text, struct peer_config *out)
{
    const char *eq = strchr(text, '=');
    struct peer_config p = {0};
    const char *id = eq ? arena_strndup(cx->mem, text, (size_t)(eq - text)) : text;
    if (!id) return FAIL(cx, NOMEM, "a peer");
    TRY_IN(cx, parse_party(cx, id, &p.party), "peer \"%.60s\"", text);
    if (eq) TRY_IN(cx, parse_way(cx, eq + 1, &p), "peer %u", p.party);
    if (p.via == p.party) return FAIL(cx, ARG, "peer %u is reached via itself", p.party);
    *out = p;
    return OK;
}

static status set_number(struct ctx *cx, const struct setting *t, const char *v, uint64_t *out)
{
    uint64_t x = 0;
    bool ok = t->kind == S_COUNT   ? num_parse_u64(v, strlen(v), &x)
              : t->kind == S_BYTES ? num_parse_bytes(v, &x)
                                   : num_parse_ms(v, &x);
    static const char *const example[] = {
        [S_COUNT] = "a number", [S_BYTES] = "bytes like 64MiB", [S_MS] = "a time like 30s"};
    if (!ok) return FAIL(cx, ARG, "\"%.60s\", want %s", v, example[t->kind]);
    if (x < t->min || x > t->max)
        return FAIL(cx, ARG, "\"%.60s\", want %" PRIu64 " to %" PRIu64 "%s", v, t->min, t->max,
                    t->kind == S_MS      ? " milliseconds"
                    : t->kind == S_BYTES ? " bytes"
                                         : "");
    *out = x;
    return OK;
}

static status set_value(struct ctx *cx, struct settings *s, const struct setting *t, const char *v)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    switch (t->kind) {
    case S_PARTY:
        return parse_party(cx, v, field(s, t));
    case S_ROUTE:
        *(uint32_t *)field(s, t) = 0;
        return strcmp(v, "none") == 0 ? OK : parse_party(cx, v, field(s, t));
    case S_TEXT:
    case S_FILE:
        if (t->kind == S_FILE && !*v) return FAIL(cx, ARG, "is empty, want a file");
        *(const char **)field(s, t) = v;
        return OK;
    case S_LISTEN:
        s->listen_host = NULL, s->listen_port = 0;
        if (strcmp(v, "none") != 0 && !parse_address(cx, v, &s->listen_host, &s->listen_port))
            return FAIL(cx, ARG, "\"%.100s\", want host:port or none", v);
        return OK;
    case S_HTTP:
        s->http_host = NULL, s->http_port = 0;
        if (strcmp(v, "none") != 0 && !parse_address(cx, v, &s->http_host, &s->http_port))
            return FAIL(cx, ARG, "\"%.100s\", want host:port or none", v);
        return OK;
    case S_SWITCH:
        *(bool *)field(s, t) = strcmp(v, "on") == 0;
        if (strcmp(v, "on") != 0 && strcmp(v, "off") != 0)
            return FAIL(cx, ARG, "\"%.60s\", want on or off", v);
        return OK;
    case S_LEVEL:
        for (size_t i = 0; i < LEN(levels); i++)
            if (strcmp(v, levels[i]) == 0) {
                *(enum log_level *)field(s, t) = (enum log_level)i;
                return OK;
            }
        return FAIL(cx, ARG, "\"%.60s\", want error, warn, info or debug", v);
    case S_COUNT:
    case S_BYTES:
    case S_MS:
        return set_number(cx, t, v, field(s, t));
    }
    return OK;
}

static status add_peer(struct ctx *cx, struct settings *s, const char *id, const char *v)
{
    struct peer_config p = {0};
    const char *text = arena_printf(cx->mem, "%s=%s", id, v);
    if (!text) return FAIL(cx, NOMEM, "a peer");
    TRY(settings_peer(cx, text, &p));
    for (size_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].party == p.party) {
            s->peers[i] = p;
            return OK;
        }
    if (s->n_peers == SETTINGS_PEERS_MAX) return FAIL(cx, LIMIT, "more than %d peers", SETTINGS_PEERS_MAX);
    s->peers[s->n_peers++] = p;
    return OK;
}

/* One key and value; the value stays in the caller's arena. */
static status set_key(struct ctx *cx, struct settings *s, const char *key, const char *v)
{
    if (strncmp(key, "peer.", 5) == 0) return add_peer(cx, s, key + 5, v);
    const char *known[LEN(table) + 1];
    for (size_t i = 0; i < LEN(table); i++) {
        known[i] = table[i].key;
        if (strcmp(table[i].key, key) == 0) return set_value(cx, s, &table[i], v);
    }
    known[LEN(table)] = "peer.<party>";
    const char *near = name_nearest(key, known, LEN(known));
    return FAIL(cx, ARG, "no such setting%s%s%s", near ? ", did you mean " : "", near ? near : "",
                near ? "?" : "");
}

static status set_defaults(struct ctx *cx, struct settings *s)
{
    *s = (struct settings){0};
    for (size_t i = 0; i < LEN(table); i++)
        if (table[i].def)
            TRY_IN(cx, set_value(cx, s, &table[i], table[i].def), "default of %s", table[i].key);
    return OK;
}

static char *trim(struct ctx *cx, const char *p, const char *end)
{
    while (p < end && strchr(" \t\r", *p))
        p++;
    while (end > p && strchr(" \t\r", end[-1]))
        end--;
    if (end - p >= 2 && *p == '"' && end[-1] == '"') p++, end--;
    return arena_strndup(cx->mem, p, (size_t)(end - p));
}

/* A '#' begins a comment at the start of a line or after a blank. */
static const char *comment_start(const char *p, const char *end)
{
    for (const char *at = p; at < end; at++)
        if (*at == '#' && (at == p || strchr(" \t", at[-1]))) return at;
    return end;
}

static status parse_lines(struct ctx *cx, const char *what, const char *text, size_t n, struct settings *s)
{
    const char *p = text, *end = text + n;
    const char *seen[LEN(table) + SETTINGS_PEERS_MAX];
    size_t n_seen = 0;
    for (size_t line = 1; p < end; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl ? nl : end, *last = comment_start(p, stop);
        const char *eq = memchr(p, '=', (size_t)(last - p));
        const char *key = trim(cx, p, eq ? eq : last), *value = eq ? trim(cx, eq + 1, last) : "";
        p = nl ? nl + 1 : end;
        if (!key || !value) return FAIL(cx, NOMEM, "%s", what);
        if (!*key && !eq) continue;
        if (!eq) return FAIL(cx, ARG, "%s line %zu: \"%.60s\" has no '=', want key = value", what, line, key);
        for (size_t i = 0; i < n_seen; i++)
            if (strcmp(seen[i], key) == 0)
                return FAIL(cx, ARG, "%s line %zu: %s is set twice", what, line, key);
        TRY_IN(cx, set_key(cx, s, key, value), "%s line %zu: %.60s", what, line, key);
        if (n_seen == LEN(seen)) return FAIL(cx, LIMIT, "%s has more than %zu settings", what, n_seen);
        seen[n_seen++] = key;
    }
    return OK;
}

/* An exchange is a peer with a link of its own. */
static status check_exchange(struct ctx *cx, const struct settings *s, uint32_t party)
{
    for (size_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].party == party && !s->peers[i].via) return OK;
    return FAIL(
        cx, ARG,
        "the exchange %u is no peer with a link of its own: want a line peer.%u = host:port or dials-us",
        party, party);
}

static status finish(struct ctx *cx, const char *what, const struct settings *s)
{
    if (s->party == 0) return FAIL(cx, ARG, "%s: party is not set", what);
    for (size_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].party == s->party)
            return FAIL(cx, ARG, "%s: peer.%u is this party itself", what, s->party);
    for (size_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].via)
            TRY_IN(cx, check_exchange(cx, s, s->peers[i].via), "%s: peer.%u", what, s->peers[i].party);
    return s->route_default ? check_exchange(cx, s, s->route_default) : OK;
}

status settings_parse(struct ctx *cx, const char *what, const char *text, size_t n, struct settings *out)
{
    struct settings s;
    if (memchr(text, 0, n)) return FAIL(cx, FORMAT, "%s holds a NUL byte", what);
    TRY(set_defaults(cx, &s));
    TRY(parse_lines(cx, what, text, n, &s));
    TRY(finish(cx, what, &s));
    *out = s;
    return OK;
}

static status from_environment(struct ctx *cx, struct settings *s)
{
    for (size_t i = 0; i < LEN(table); i++) {
        char name[64] = "NORN_";
        for (size_t k = 0; table[i].key[k] && k < 50; k++) {
            char c = table[i].key[k];
            name[5 + k] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c == '.' ? '_' : c), name[6 + k] = 0;
        }
        const char *v = getenv(name); /* NOLINT(concurrency-mt-unsafe): nobody writes it */
        if (v) TRY_IN(cx, set_value(cx, s, &table[i], v), "environment %s", name);
    }
    for (char **e = environ; *e; e++) {
        const char *eq = strchr(*e, '=');
        if (strncmp(*e, "NORN_PEER_", 10) != 0 || !eq) continue;
        const char *id = arena_strndup(cx->mem, *e + 10, (size_t)(eq - *e) - 10);
        if (!id) return FAIL(cx, NOMEM, "settings");
        TRY_IN(cx, add_peer(cx, s, id, eq + 1), "environment NORN_PEER_%s", id);
    }
    return OK;
}

static status absolute(struct ctx *cx, const char *dir, const char **file)
{
    if (**file != '/') *file = arena_printf(cx->mem, "%s/%s", dir, *file);
    return *file ? OK : FAIL(cx, NOMEM, "a path");
}

status settings_load(struct ctx *cx, const char *dir, const char *const *sets, size_t n_sets,
                     struct settings *out)
{
    struct settings s;
    struct bytes text;
    const char *file = arena_printf(cx->mem, "%s/norn.conf", dir);
    if (!file) return FAIL(cx, NOMEM, "settings");
    if (!file_exists(file))
        return FAIL(cx, NOTFOUND, "%s is no site: it has no norn.conf (see `norn site init`)", dir);
    TRY(file_read(cx, file, 1 << 20, &text));
    if (memchr(text.p, 0, text.n)) return FAIL(cx, FORMAT, "%s holds a NUL byte", file);
    TRY(set_defaults(cx, &s));
    TRY(parse_lines(cx, file, (const char *)text.p, text.n, &s));
    TRY(from_environment(cx, &s));
    for (size_t i = 0; i < n_sets; i++) {
        const char *eq = strchr(sets[i], '=');
        if (!eq) return FAIL(cx, ARG, "--set %.60s: want KEY=VALUE", sets[i]);
        const char *key = arena_strndup(cx->mem, sets[i], (size_t)(eq - sets[i]));
        if (!key) return FAIL(cx, NOMEM, "settings");
        TRY_IN(cx, set_key(cx, &s, key, eq + 1), "--set %.60s", key);
    }
    TRY(finish(cx, file, &s));
    TRY(absolute(cx, dir, &s.key_file));
    TRY(absolute(cx, dir, &s.cert_file));
    TRY(absolute(cx, dir, &s.ca_file));
    *out = s;
    return OK;
}

/* The value of a setting in a new site's file; NULL: leave the default, commented out. */
static const char *given_value(struct ctx *cx, const struct settings_init *in, const struct setting *t)
{
    if (t->kind == S_PARTY) return arena_printf(cx->mem, "%u", in->party);
    if (strcmp(t->key, "name") == 0) return in->name;
    if (strcmp(t->key, "http_listen") == 0) return in->http_listen;
    if (strcmp(t->key, "http_auth") == 0) return in->http_auth;
    return strcmp(t->key, "listen") == 0 ? in->listen : NULL;
}

status settings_text(struct ctx *cx, const struct settings_init *in, const char **out)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes all;
    buf_printf(&b,
               "# norn.conf - settings of a norn site. A line that begins with '#' shows a default: take the "
               "'#' away to change it.\n"
               "# Environment NORN_<KEY> and `norn site run --set KEY=VALUE` override what stands here.\n");
    for (size_t i = 0; i < LEN(table); i++) {
        const char *v = given_value(cx, in, &table[i]);
        buf_printf(&b, "\n# %s\n%s%s = %s\n", table[i].text, v ? "" : "#", table[i].key,
                   v ? v : table[i].def);
    }
    buf_printf(&b,
               "\n# Other sites, one line each: where we dial them, 'dials-us' for one that dials us, or\n"
               "# 'via PARTY' for one that is reached through an exchange; 'rate=2MiB' behind it limits what "
               "we send.\n"
               "#peer.10000 = host.example:9370\n");
    for (size_t i = 0; i < in->n_peers; i++) {
        struct peer_config p = {0};
        TRY(settings_peer(cx, in->peers[i], &p));
        const char *eq = strchr(in->peers[i], '=');
        buf_printf(&b, "peer.%u = %s\n", p.party, eq ? eq + 1 : "dials-us");
    }
    TRY(buf_ok(cx, &b));
    TRY(buf_to_arena(cx, &b, &all));
    struct settings check;
    TRY(settings_parse(cx, "the new settings", (const char *)all.p, all.n, &check));
    *out = (const char *)all.p;
    return OK;
}

static const char *show_value(struct ctx *cx, struct settings *s, const struct setting *t)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    switch (t->kind) {
    case S_PARTY:
        return arena_printf(cx->mem, "%u", s->party);
    case S_ROUTE:
        return s->route_default ? arena_printf(cx->mem, "%u", s->route_default) : "none";
    case S_TEXT:
    case S_FILE:
        return *(const char **)field(s, t);
    case S_LISTEN:
        return s->listen_host ? arena_printf(cx->mem, "%s:%u", s->listen_host, s->listen_port) : "none";
    case S_HTTP:
        return s->http_host ? arena_printf(cx->mem, "%s:%u", s->http_host, s->http_port) : "none";
    case S_SWITCH:
        return *(bool *)field(s, t) ? "on" : "off";
    case S_LEVEL:
        return levels[*(enum log_level *)field(s, t)];
    case S_COUNT:
    case S_BYTES:
        return arena_printf(cx->mem, "%" PRIu64, *(uint64_t *)field(s, t));
    case S_MS:
        return arena_printf(cx->mem, "%" PRIu64 "ms", *(uint64_t *)field(s, t));
    }
    return "";
}

status settings_json(struct ctx *cx, const struct settings *s, json_t **out)
{
    CLEANUP(json_decrefp) json_t *j = json_object();
    struct settings copy = *s;
    for (size_t i = 0; i < LEN(table); i++) {
        const char *v = show_value(cx, &copy, &table[i]);
        if (!v || json_object_set_new(j, table[i].key, json_string(v))) return FAIL(cx, NOMEM, "settings");
    }
    for (size_t i = 0; i < s->n_peers; i++) {
        const struct peer_config *p = &s->peers[i];
        const char *key = arena_printf(cx->mem, "peer.%u", p->party);
        const char *v = way_text(cx, p);
        if (!key || !v || json_object_set_new(j, key, json_string(v))) return FAIL(cx, NOMEM, "settings");
    }
    *out = TAKE(j);
    return OK;
}
