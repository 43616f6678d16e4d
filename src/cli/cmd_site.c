/* cmd_site.c - norn site init | run | status | stop | add-peer. */
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/site_cmds.h"
#include "cli/sub.h"
#include "flow/privilege.h"
#include "flow/settings.h"
#include "flow/site.h"
#include "http/http.h"
#include "http/keys.h"
#include "net/pki.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CERT_DAYS 825

/* ---- init ---- */

struct init {
    const char *dir, *ca;
    struct settings_init set;
    const char *key, *csr, *crt, *ca_crt;
    struct key api; /* the first: an admin's */
    const char *token;
};

static status parse_party(struct ctx *cx, const char *text, uint32_t *out)
{
    struct peer_config p; /* "9999" alone is a peer's short form: the same check */
    TRY_IN(cx, settings_peer(cx, text, &p), "--party");
    *out = p.party;
    return OK;
}

static status copy_file(struct ctx *cx, const char *from, const char *to, unsigned mode)
{
    struct bytes b;
    TRY(file_read(cx, from, 1 << 20, &b));
    return file_write(cx, to, b.p, b.n, mode);
}

/* norn.conf last: a folder without it is no site. */
static status make_site(struct ctx *cx, struct init *in)
{
    static const char *const folders[] = {"keys", "store", "models", "jobs", "logs", "run"};
    const char *conf = arena_printf(cx->mem, "%s/norn.conf", in->dir), *text;
    struct keys *keys;
    if (file_exists(conf)) return FAIL(cx, EXISTS, "%s is a site already", in->dir);
    TRY(settings_text(cx, &in->set, &text));
    if (in->ca && !file_exists(arena_printf(cx->mem, "%s/ca.crt", in->ca)))
        return FAIL(cx, NOTFOUND, "--ca %s holds no ca.crt: make one with `norn ca init %s`", in->ca, in->ca);
    for (size_t i = 0; i < LEN(folders); i++)
        TRY(dir_make(cx, arena_printf(cx->mem, "%s/%s", in->dir, folders[i]), 0700));
    in->key = arena_printf(cx->mem, "%s/keys/site.key", in->dir);
    in->csr = arena_printf(cx->mem, "%s/keys/site.csr", in->dir);
    in->crt = arena_printf(cx->mem, "%s/keys/site.crt", in->dir);
    in->ca_crt = arena_printf(cx->mem, "%s/keys/ca.crt", in->dir);
    if (!file_exists(in->key)) TRY(pki_site_request(cx, in->set.party, in->key, in->csr));
    if (in->ca) {
        TRY(pki_ca_sign(cx, in->ca, in->csr, in->set.party, CERT_DAYS, in->crt));
        TRY(copy_file(cx, arena_printf(cx->mem, "%s/ca.crt", in->ca), in->ca_crt, 0644));
    }
    TRY(keys_open(cx, in->dir, &keys));
    TRY(keys_add(cx, keys, "made with the site", KEY_ADMIN, &in->api, &in->token));
    return file_write(cx, conf, text, strlen(text), 0600);
}

static int site_init(struct ctx *cx, int argc, char **argv)
{
    struct init in = {0};
    const char *party = NULL, **rest;
    struct arg_list peers = {0};
    size_t n;
    bool json = false, help;
    const struct arg args[] = {
        {"--party", ARG_TEXT, &party, "ID", "this party's id in the federation", true},
        {"--name", ARG_TEXT, &in.set.name, "TEXT", "what people call this site", false},
        {"--listen", ARG_TEXT, &in.set.listen, "HOST:PORT",
         "where other sites reach it (0.0.0.0:9370); none: it only dials", false},
        {"--http", ARG_TEXT, &in.set.http_listen, "HOST:PORT",
         "where the HTTP API is (127.0.0.1:9380); none: no API", false},
        {"--auth", ARG_TEXT, &in.set.http_auth, "on|off",
         "off: the API asks for no key; only where nobody else reaches its port (on)", false},
        {"--peer", ARG_LIST, &peers, "ID=HOST:PORT", "another site; ID alone: it dials us", false},
        {"--ca", ARG_TEXT, &in.ca, "DIR", "sign at once with the `norn ca` folder on this machine", false},
        {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false},
    };
    const struct arg_spec spec = {
        "site init DIR --party ID [options]",
        "Makes a site's folder: settings, a key and a certificate request, an empty store.",
        "norn site init bank --party 9999 --peer 10000=clinic.example:9370 --ca ./ca",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    in.dir = rest[0], in.set.peers = peers.p, in.set.n_peers = peers.n;
    if (parse_party(cx, party, &in.set.party).code || make_site(cx, &in).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp)
        json_t *j = json_pack("{s:s,s:I,s:b,s:s,s:{s:s,s:s,s:s}}", "dir", in.dir, "party",
                              (json_int_t)in.set.party, "signed", in.ca != NULL, "request", in.csr, "key",
                              "app_key", in.api.id, "secret_key", in.api.secret, "token", in.token);
        return cmd_print_json(cx, j);
    }
    printf("site %u made in %s\n", in.set.party, in.dir);
    printf("its API's first key, an admin's, shown this once (more: norn key add --site %s NAME):\n"
           "  app key     %s\n  secret key  %s\n  token       %s\n",
           in.dir, in.api.id, in.api.secret, in.token);
    if (in.ca)
        printf("start it: norn site run %s\n", in.dir);
    else
        printf("next: have %s signed by the federation's CA (norn ca sign CA --csr %s --party %u), put the\n"
               "certificate at %s and the CA's at %s, then: norn site run %s\n",
               in.csr, in.csr, in.set.party, in.crt, in.ca_crt, in.dir);
    return 0;
}

/* ---- run ---- */

struct ready {
    int fd; /* to the waiting parent; -1: in the foreground */
    const struct settings *set;
};

static void on_ready(void *arg, uint16_t port, uint16_t http_port)
{
    const struct ready *r = arg;
    if (r->fd < 0) {
        fprintf(stderr, "site %u runs, port %u, HTTP port %u\n", r->set->party, port, http_port);
        return;
    }
    dprintf(r->fd, "0 %u %u\n", port, http_port);
    close(r->fd);
}

static status run_here(struct ctx *cx, const char *dir, const struct settings *set, int log_fd,
                       struct ready *r)
{
    CLEANUP(log_freep) struct log *log = log_new(log_fd, set->log_level);
    char party[16];
    snprintf(party, sizeof party, "%u", set->party);
    if (!log || !log_bind(log, "site", party)) return FAIL(cx, NOMEM, "a log");
    cx->log = log;
    TRY(privilege_drop(cx, set->user, dir));
    status st = site_run(cx, dir, set, &http_part, on_ready, r);
    if (st.code) log_error(cx, "site ends", KV("error", cx->err.msg));
    cx->log = NULL;
    return st;
}

/* Root has made the file: the site, as its user, will open it again. */
static status own_log(struct ctx *cx, const struct settings *set, const char *file)
{
    struct passwd entry, *who = NULL;
    char text[8192];
    if (!*set->user || geteuid() != 0 || getpwnam_r(set->user, &entry, text, sizeof text, &who) || !who)
        return OK;
    return fchown(2, who->pw_uid, who->pw_gid) == 0 ? OK : FAIL(cx, IO, "%s: %m", file);
}

/* The daemon: a session of its own, its log in DIR/logs/site.log, its verdict through the pipe. Does not
 * return. */
static _Noreturn void daemon_process(struct ctx *cx, const char *dir, const struct settings *set, int pipe_fd)
{
    const char *file = arena_printf(cx->mem, "%s/logs/site.log", dir);
    struct ready r = {pipe_fd, set};
    setsid();
    /* What our caller left open is not for a process that lives for months. */
    if (pipe_fd > 3) close_range(3, (unsigned)pipe_fd - 1, 0);
    close_range((unsigned)pipe_fd + 1, ~0u, 0);
    int log_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    status st = log_fd < 0 ? FAIL(cx, IO, "open %s: %m", file) : OK;
    if (!st.code) {
        dup2(null, 0);
        dup2(log_fd, 1);
        dup2(log_fd, 2);
        fd_closep(&log_fd); /* by 2 it is written: that can be put on a new file, see log_file_reopen */
        st = own_log(cx, set, file);
    }
    if (!st.code) st = run_here(cx, dir, set, 2, &r);
    if (st.code)
        dprintf(pipe_fd, "%d %s\n", (int)st.code, cx->err.msg); /* closed already once it was ready */
    int code = err_exit(st.code);
    arena_free(cx->mem); /* databases are closed: nothing is left in their journals */
    _exit(code);
}

/* What the daemon said: its port, or why not. */
static status wait_ready(struct ctx *cx, int fd, int *port, int *http_port)
{
    char text[600];
    size_t n = 0;
    for (ssize_t k; n < sizeof text - 1 && (k = read(fd, text + n, sizeof text - 1 - n)) != 0;) {
        if (k < 0 && errno != EINTR) break;
        n += k > 0 ? (size_t)k : 0;
    }
    text[n] = 0;
    char *space = strchr(text, ' '), *nl = strrchr(text, '\n');
    if (!space || !nl) return FAIL(cx, INTERNAL, "the site died at its start: see its log");
    *nl = 0;
    if (text[0] == '0') {
        char *end;
        *port = (int)strtol(space + 1, &end, 10);
        *http_port = (int)strtol(end, NULL, 10);
        return OK;
    }
    return err_set(cx, (enum err_code)strtol(text, NULL, 10), __FILE__, __LINE__, "%s", space + 1);
}

static status run_behind(struct ctx *cx, const char *dir, const struct settings *set, int *port,
                         int *http_port, int *pid)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC)) return FAIL(cx, IO, "pipe: %m");
    TRY(dir_make(cx, arena_printf(cx->mem, "%s/logs", dir), 0700));
    *pid = fork();
    if (*pid == 0) {
        close(fds[0]);
        daemon_process(cx, dir, set, fds[1]);
    }
    close(fds[1]);
    status st = *pid < 0 ? FAIL(cx, IO, "fork: %m") : wait_ready(cx, fds[0], port, http_port);
    close(fds[0]);
    return st;
}

int site_run_cmd(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    struct arg_list sets = {0};
    struct settings set;
    size_t n;
    bool json = false, foreground = false, help;
    int port = 0, http_port = 0, pid = 0;
    const struct arg args[] = {
        {"--foreground", ARG_FLAG, &foreground, NULL, "stay, and log to stderr (for systemd and containers)",
         false},
        {"--set", ARG_LIST, &sets, "KEY=VALUE", "overrides a setting of norn.conf", false},
        {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false},
    };
    const struct arg_spec spec = {
        "site run DIR [--foreground] [--set KEY=VALUE]...",
        "Starts the site of a folder and returns once it listens; its log is DIR/logs/site.log.",
        "norn site run bank",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    char whole[PATH_MAX];
    const char *dir = realpath(rest[0], whole) ? whole : rest[0];
    if (settings_load(cx, dir, sets.p, sets.n, &set).code) return cmd_fail(cx, json);
    if (foreground) {
        struct ready r = {-1, &set};
        return run_here(cx, dir, &set, 2, &r).code ? cmd_fail(cx, json) : 0;
    }
    if (run_behind(cx, dir, &set, &port, &http_port, &pid).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp)
        json_t *j = json_pack("{s:I,s:i,s:i,s:i}", "party", (json_int_t)set.party, "pid", pid, "port", port,
                              "http_port", http_port);
        return cmd_print_json(cx, j);
    }
    printf("site %u runs: process %d, port %d, log %s/logs/site.log\n", set.party, pid, port, rest[0]);
    if (http_port) printf("HTTP API: http://%s:%d/v1/\n", set.http_host, http_port);
    return 0;
}

/* ---- status ---- */

static void print_links(const json_t *links)
{
    for (size_t i = 0; i < json_array_size(links); i++) {
        const json_t *l = json_array_get(links, i);
        bool up = json_is_true(json_object_get(l, "up"));
        printf("  party %-8" PRId64 " %-5s", (int64_t)json_integer_value(json_object_get(l, "party")),
               up ? "up" : "DOWN");
        printf(" since %6.0f s",
               (double)(wall_ms() - json_integer_value(json_object_get(l, "since_ms"))) / 1000);
        int64_t via = json_integer_value(json_object_get(l, "via"));
        if (via) printf("  via %" PRId64, via);
        if (up)
            printf("  %s  %.1f ms\n", sub_str(l, "version"),
                   json_real_value(json_object_get(l, "round_trip_ms")));
        else
            printf("  %s\n", sub_str(l, "last_error"));
    }
}

static int site_status(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {{"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"site status DIR [--json]",
                                  "Is it running, and are its links up? Exit code 13: it does not run.",
                                  "norn site status bank",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (client_call(cx, rest[0], "site.status", NULL, &j).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    printf("site %" PRId64 "%s%s, norn %s, process %" PRId64 ", port %" PRId64 ", up %.0f s\n",
           sub_int(j, "party"), *sub_str(j, "name") ? " " : "", sub_str(j, "name"), sub_str(j, "version"),
           sub_int(j, "pid"), sub_int(j, "port"), (double)(wall_ms() - sub_int(j, "started_ms")) / 1000);
    printf("jobs: %" PRId64 " running, %" PRId64 " waiting; %" PRId64 " task processes\nlinks:\n",
           sub_int(j, "jobs_running"), sub_int(j, "jobs_waiting"), sub_int(j, "tasks"));
    print_links(json_object_get(j, "links"));
    return 0;
}

/* ---- add-peer ---- */

/* The settings' text without the line of that peer, and with the new one. */
static status with_peer(struct ctx *cx, const char *text, const char *given, uint32_t party, const char **out)
{
    CLEANUP(buf_free) struct buf b = {0};
    struct bytes all;
    const char *key = arena_printf(cx->mem, "peer.%u", party), *eq = strchr(given, '=');
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), blank = strspn(p, " \t");
        bool same = strncmp(p + blank, key, strlen(key)) == 0 && strchr(" \t=", p[blank + strlen(key)]);
        if (!same) buf_put(&b, p, n), buf_u8(&b, '\n');
        p += n + (p[n] == '\n');
    }
    buf_printf(&b, "%s = %s\n", key, eq ? eq + 1 : "dials-us");
    TRY(buf_ok(cx, &b));
    TRY(buf_to_arena(cx, &b, &all));
    struct settings check;
    TRY(settings_parse(cx, "norn.conf", (const char *)all.p, all.n, &check));
    *out = (const char *)all.p;
    return OK;
}

static status add_peer(struct ctx *cx, const char *dir, const char *given)
{
    struct peer_config p;
    struct bytes old;
    struct settings set;
    const char *file = arena_printf(cx->mem, "%s/norn.conf", dir), *text;
    TRY(settings_load(cx, dir, NULL, 0, &set));
    TRY(settings_peer(cx, given, &p));
    TRY(file_read(cx, file, 1 << 20, &old));
    TRY(with_peer(cx, (const char *)old.p, given, p.party, &text));
    return file_write(cx, file, text, strlen(text), 0600);
}

static int site_add_peer(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {{"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {"site add-peer DIR ID=HOST:PORT",
                                  "Writes another site into norn.conf; ID alone: it dials us.",
                                  "norn site add-peer bank 10000=clinic.example:9370",
                                  args,
                                  LEN(args),
                                  2,
                                  2};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (add_peer(cx, rest[0], rest[1]).code) return cmd_fail(cx, json);
    bool running = site_pid(cx, rest[0]) != 0;
    if (json) {
        CLEANUP(json_decrefp) json_t *j = json_pack("{s:b}", "restart_needed", running);
        return cmd_print_json(cx, j);
    }
    printf("peer written%s\n", running ? "; it is used from the site's next start on" : "");
    return 0;
}

int cmd_site(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"init", site_init, "make a site's folder"},
        {"run", site_run_cmd, "start it"},
        {"status", site_status, "is it running, are its links up"},
        {"stop", site_stop_cmd, "end it"},
        {"restart", site_restart_cmd, "end it and start it again"},
        {"metrics", site_metrics_cmd, "what Prometheus reads"},
        {"add-peer", site_add_peer, "write another site into its settings"},
    };
    return sub_run(cx, "site", subs, LEN(subs), argc, argv);
}
