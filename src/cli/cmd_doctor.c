/* cmd_doctor.c - norn doctor: looks at everything a site needs, names what fails, at which hop, and what
 * helps. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/sub.h"
#include "flow/jobdb.h"
#include "flow/settings.h"
#include "flow/site.h"
#include "net/pki.h"
#include "table/store.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DAY_MS       86400000
#define SKEW_WARN_MS 2000

struct doctor {
    const char *dir;
    struct settings set;
    json_t *findings;
    size_t n_bad, n_warn;
    bool running;
};
enum verdict { GOOD, WARN, BAD };

static void find(struct doctor *d, enum verdict v, const char *what, const char *text, const char *remedy)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    d->n_bad += v == BAD, d->n_warn += v == WARN;
    json_array_append_new(d->findings,
                          json_pack("{s:s,s:s,s:s,s:s}", "check", what, "verdict", words[v], "text",
                                    text ? text : "", "remedy", v == GOOD || !remedy ? "" : remedy));
}

/* ---- keys and certificates ---- */

static void check_key(struct ctx *cx, struct doctor *d)
{
    struct stat st;
    if (stat(d->set.key_file, &st)) {
        find(d, BAD, "key", arena_printf(cx->mem, "%s: %m", d->set.key_file),
             "make the site again with norn site init, or restore its keys/");
        return;
    }
    bool open_to_all = (st.st_mode & 077) != 0;
    find(d, open_to_all ? BAD : GOOD, "key",
         arena_printf(cx->mem, "%s, mode %03o", d->set.key_file, (unsigned)st.st_mode & 0777),
         "chmod 600 it: others on this machine can read it");
}

static void check_certificate(struct ctx *cx, struct doctor *d)
{
    struct cert_info c;
    if (!file_exists(d->set.cert_file)) {
        find(d, BAD, "certificate", arena_printf(cx->mem, "%s is not there", d->set.cert_file),
             "have keys/site.csr signed: norn ca sign, or norn site init --ca");
        return;
    }
    if (pki_cert_info(cx, d->set.cert_file, &c).code) {
        find(d, BAD, "certificate", arena_strdup(cx->mem, cx->err.msg), "have keys/site.csr signed again");
        return;
    }
    int64_t now = wall_ms(), left = c.not_after_ms - now;
    const char *text =
        arena_printf(cx->mem, "party %u, by %s, %" PRId64 " days left", c.party, c.issuer, left / DAY_MS);
    if (c.party != d->set.party)
        find(d, BAD, "certificate",
             arena_printf(cx->mem, "is of party %u, the site is party %u", c.party, d->set.party),
             "have this site's own request signed: keys/site.csr");
    else if (now < c.not_before_ms)
        find(d, BAD, "certificate", "is not valid yet", "set this machine's clock, or wait");
    else if (left < 0)
        find(d, BAD, "certificate", "has expired", "have keys/site.csr signed again");
    else if (left < 30 * (int64_t)DAY_MS)
        find(d, WARN, "certificate", text, "have keys/site.csr signed again soon");
    else
        find(d, GOOD, "certificate", text, NULL);
    if (!file_exists(d->set.ca_file))
        find(d, BAD, "ca", arena_printf(cx->mem, "%s is not there", d->set.ca_file),
             "copy the federation's ca.crt there");
    else
        find(d, GOOD, "ca", d->set.ca_file, NULL);
}

/* ---- the machine ---- */

static void check_disk(struct ctx *cx, struct doctor *d)
{
    struct statvfs v;
    if (statvfs(d->dir, &v)) {
        find(d, BAD, "disk", arena_printf(cx->mem, "%s: %m", d->dir), NULL);
        return;
    }
    int64_t left = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
    const char *text = arena_printf(cx->mem, "%s free in %s", sub_bytes(cx, left), d->dir);
    find(d,
         left < (100 << 20) ? BAD
         : left < (1 << 30) ? WARN
                            : GOOD,
         "disk", text, "free space: old jobs' tables lie in jobs/, uploads in store/");
    if (v.f_files && v.f_favail < 1000)
        find(d, WARN, "inodes", arena_printf(cx->mem, "%" PRIu64 " left", (uint64_t)v.f_favail),
             "remove old jobs");
}

static void check_limits(struct ctx *cx, struct doctor *d)
{
    struct rlimit files;
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), memory = pages * page;
    getrlimit(RLIMIT_NOFILE, &files);
    find(d, files.rlim_cur < 1024 ? WARN : GOOD, "files",
         arena_printf(cx->mem, "%" PRIu64 " open files allowed", (uint64_t)files.rlim_cur),
         "raise it: ulimit -n 65536, or LimitNOFILE of the service");
    const char *text =
        arena_printf(cx->mem, "%s, %ld processors", sub_bytes(cx, memory), sysconf(_SC_NPROCESSORS_ONLN));
    bool too_much = d->set.task_memory > (uint64_t)memory;
    find(d, too_much ? WARN : GOOD, "memory", text, "task_memory is more than the machine has");
}

static void check_database(struct ctx *cx, struct doctor *d)
{
    struct jobdb *db;
    struct store *s;
    const char *file = arena_printf(cx->mem, "%s/jobs.db", d->dir), *says;
    if (!file_exists(file))
        find(d, GOOD, "job database", "none yet", NULL);
    else if (jobdb_open(cx, file, true, &db).code || jobdb_check(cx, db, &says).code)
        find(d, BAD, "job database", arena_strdup(cx->mem, cx->err.msg),
             "restore jobs.db from a backup, or move it away: jobs' records are lost then");
    else
        find(d, strcmp(says, "ok") == 0 ? GOOD : BAD, "job database", says, "restore jobs.db from a backup");
    if (store_open(cx, d->dir, &s).code)
        find(d, BAD, "store", arena_strdup(cx->mem, cx->err.msg), "restore store/catalogue.db from a backup");
    else {
        struct table_info *t;
        size_t n = 0, lost = 0;
        if (store_list(cx, s, &t, &n).code) n = 0;
        for (size_t i = 0; i < n; i++)
            lost += !file_exists(t[i].path);
        find(d, lost ? BAD : GOOD, "store",
             arena_printf(cx->mem, "%zu tables, %zu without their files", n, lost),
             "upload those tables again: norn table list shows them");
    }
}

/* ---- the port, and the way to each peer ---- */

/* One TCP connection attempt; what failed is the hop. */
static status dial(struct ctx *cx, const char *host, uint16_t port, int timeout_ms)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc) return FAIL(cx, IO, "the name %s does not resolve: %s", host, gai_strerror(rc));
    status st = FAIL(cx, IO, "%s has no address", host);
    for (struct addrinfo *a = list; a && st.code; a = a->ai_next) {
        CLEANUP(fd_closep) int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int err = 0;
        socklen_t n = sizeof err;
        if (fd < 0) continue;
        if (connect(fd, a->ai_addr, a->ai_addrlen) && errno == EINPROGRESS) {
            if (poll(&p, 1, timeout_ms) != 1)
                err = ETIMEDOUT;
            else
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
        } else {
            err = errno;
        }
        errno = err;
        st = err ? FAIL(cx, IO, "%s:%u: %m", host, port) : OK;
    }
    freeaddrinfo(list);
    return st;
}

static void check_port(struct ctx *cx, struct doctor *d)
{
    const char *host = d->set.listen_host;
    if (!host) {
        find(d, GOOD, "port", "this site listens nowhere, it only dials", NULL);
        return;
    }
    const char *local = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ? "localhost" : host;
    bool answers = dial(cx, local, d->set.listen_port, 1000).code == ERR_OK;
    const char *where = arena_printf(cx->mem, "%s:%u", host, d->set.listen_port);
    if (d->running)
        find(d, answers || !d->set.listen_port ? GOOD : BAD, "port", where,
             "the site runs but its port does not answer: a firewall on this machine?");
    else if (answers)
        find(d, BAD, "port", arena_printf(cx->mem, "%s is taken by another program", where),
             "stop it, or change listen in norn.conf");
    else
        find(d, GOOD, "port", arena_printf(cx->mem, "%s is free", where), NULL);
}

static void check_peer_dial(struct ctx *cx, struct doctor *d, const struct peer_config *p)
{
    const char *what = arena_printf(cx->mem, "peer %u", p->party);
    if (p->via)
        find(d, GOOD, what,
             arena_printf(cx->mem, "reached through exchange %u: nothing to try while the site does not run",
                          p->via),
             NULL);
    else if (!p->host)
        find(d, GOOD, what, "dials us: nothing to try from here while the site does not run", NULL);
    else if (dial(cx, p->host, p->port, 3000).code)
        find(d, BAD, what, arena_strdup(cx->mem, cx->err.msg),
             "is the other site running, its address right, its firewall open for us?");
    else
        find(d, GOOD, what, arena_printf(cx->mem, "%s:%u accepts a connection", p->host, p->port), NULL);
}

static const json_t *link_of(const json_t *state, uint32_t party)
{
    const json_t *links = json_object_get(state, "links");
    for (size_t i = 0; i < json_array_size(links); i++)
        if (sub_int(json_array_get(links, i), "party") == party) return json_array_get(links, i);
    return NULL;
}

static void check_peer_ping(struct ctx *cx, struct doctor *d, const struct peer_config *p,
                            const json_t *answer, const json_t *state)
{
    const char *what = arena_printf(cx->mem, "peer %u", p->party), *error = sub_str(answer, "error");
    const json_t *link = link_of(state, p->party);
    double skew = json_number_value(json_object_get(answer, "clock_skew_ms"));
    if (!answer || *error) {
        const char *hop = sub_str(link, "last_error");
        const char *text = arena_printf(cx->mem, "%s%s%s", *error ? error : "no answer",
                                        *hop ? "; the link says: " : "", hop);
        if (p->host && dial(cx, p->host, p->port, 3000).code)
            text = arena_printf(cx->mem, "%s; and %s", text, cx->err.msg);
        find(d, BAD, what, text,
             p->via    ? "is the other site running and linked to the exchange, does the exchange forward "
                         "(exchange_memory), both certificates of one CA?"
             : p->host ? "is the other site running, its address right, its firewall open, both certificates "
                         "of one CA?"
                       : "it must dial us: is it running, and does its norn.conf hold our address?");
        return;
    }
    const char *text =
        arena_printf(cx->mem, "norn %s, %.1f ms there and back, clock %+.0f ms", sub_str(answer, "version"),
                     json_number_value(json_object_get(answer, "round_trip_ms")), skew);
    bool apart = fabs(skew) > SKEW_WARN_MS;
    find(d, apart ? WARN : GOOD, what, text,
         "set both clocks (NTP): certificates and time limits go by them");
}

static void check_peers(struct ctx *cx, struct doctor *d)
{
    CLEANUP(json_decrefp) json_t *state = NULL;
    CLEANUP(json_decrefp) json_t *answers = NULL;
    bool asked = d->running && !client_call(cx, d->dir, "site.status", NULL, &state).code &&
                 !client_call(cx, d->dir, "site.ping", NULL, &answers).code;
    if (d->running && !asked)
        find(d, BAD, "site", arena_strdup(cx->mem, cx->err.msg), "see its log: logs/site.log; restart it");
    for (size_t i = 0; i < d->set.n_peers; i++) {
        const struct peer_config *p = &d->set.peers[i];
        if (asked)
            check_peer_ping(cx, d, p, json_object_get(answers, arena_printf(cx->mem, "%u", p->party)), state);
        else
            check_peer_dial(cx, d, p);
    }
    if (d->set.n_peers == 0) find(d, WARN, "peers", "none", "norn site add-peer DIR ID=HOST:PORT");
}

static void check_all(struct ctx *cx, struct doctor *d)
{
    if (settings_load(cx, d->dir, NULL, 0, &d->set).code) {
        find(d, BAD, "settings", arena_strdup(cx->mem, cx->err.msg), "correct norn.conf at that place");
        return;
    }
    find(d, GOOD, "settings", arena_printf(cx->mem, "party %u", d->set.party), NULL);
    d->running = site_pid(cx, d->dir) != 0;
    find(d, d->running ? GOOD : WARN, "site", d->running ? "runs" : "does not run", "norn site run");
    check_key(cx, d);
    check_certificate(cx, d);
    check_port(cx, d);
    check_peers(cx, d);
    check_disk(cx, d);
    check_database(cx, d);
    check_limits(cx, d);
}

int cmd_doctor(struct ctx *cx, int argc, char **argv)
{
    struct doctor d = {0};
    const char **rest;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {{"--site", ARG_TEXT, &d.dir, "DIR", "the site's folder", true},
                               {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {
        "doctor --site DIR",
        "Checks settings, certificate, port, the way to each peer, disk, databases and limits, and says\n"
        "what helps. Exit code 13 when anything fails.",
        "norn doctor --site bank",
        args,
        LEN(args),
        0,
        0};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    CLEANUP(json_decrefp) json_t *findings = d.findings = json_array();
    check_all(cx, &d);
    int code = d.n_bad ? err_exit(ERR_STATE) : 0;
    if (json) {
        CLEANUP(json_decrefp) json_t *j = json_pack("{s:b,s:O}", "ok", d.n_bad == 0, "checks", findings);
        int printed = cmd_print_json(cx, j);
        return printed ? printed : code;
    }
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *f = json_array_get(findings, i);
        printf("%-5s %-14s %s\n", sub_str(f, "verdict"), sub_str(f, "check"), sub_str(f, "text"));
        if (*sub_str(f, "remedy")) printf("      %-14s -> %s\n", "", sub_str(f, "remedy"));
    }
    printf("%s\n", d.n_bad    ? "something fails: see above"
                   : d.n_warn ? "works; see the warnings"
                              : "all well");
    return code;
}
