/* doctor_peers.c - our own ports, and the way to each peer: name, connection, TLS, call, speed, a job. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "cli/client.h"
#include "cli/doctor.h"
#include "cli/sub.h"
#include "net/tls.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SKEW_WARN_MS 2000
#define TCP_MS       3000
#define TLS_MS       5000
#define ALERT_MS     1000
#define PROBE_BYTES  (8 << 20)
#define SLOW_BYTES_S 125000 /* 1 Mbit/s: jobs work, and take their time */
#define JOB_S        60

/* ---- by hand: while no site runs, or to say where the way ends ---- */

static int connect_in_time(int fd, const struct addrinfo *a, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int err = 0;
    socklen_t n = sizeof err;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    if (poll(&p, 1, timeout_ms) != 1) return ETIMEDOUT;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
    return err;
}

status doctor_dial(struct ctx *cx, const char *host, uint16_t port, int timeout_ms, int *out)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc) return FAIL(cx, IO, "the name %s does not resolve: %s", host, gai_strerror(rc));
    status st = FAIL(cx, IO, "%s has no address", host);
    for (struct addrinfo *a = list; a && st.code; a = a->ai_next) {
        CLEANUP(fd_closep) int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        errno = connect_in_time(fd, a, timeout_ms);
        st = errno ? FAIL(cx, IO, "no connection to %s:%u: %m", host, port) : OK;
        if (!st.code && out) *out = fd, fd = -1;
    }
    freeaddrinfo(list);
    return st;
}

/* As the site would: TCP, then TLS with our certificate; both certificates are looked at by both ends. */
static status shake_hands(struct ctx *cx, const struct doctor *d, const struct peer_config *p)
{
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(tls_site_freep) struct tls_site *site = NULL;
    CLEANUP(tls_freep) struct tls *t = NULL;
    struct tls_peer peer = {.expect = p->party};
    uint64_t end = clock_ms() + TLS_MS;
    bool done = false;
    TRY(tls_site_new(cx, d->set.party, d->set.key_file, d->set.cert_file, d->set.ca_file, &site));
    TRY(doctor_dial(cx, p->host, p->port, TCP_MS, &fd));
    TRY(tls_new(cx, site, fd, NULL, &peer, &t));
    while (!done) {
        struct pollfd w = {.fd = fd, .events = POLLIN};
        TRY_IN(cx, tls_handshake(cx, t, &done), "TLS with %s:%u", p->host, p->port);
        uint64_t now = clock_ms();
        if (!done && (now >= end || poll(&w, 1, (int)(end - now)) == 0))
            return FAIL(cx, TIMEOUT,
                        "%s:%u accepts a connection and does not speak TLS within %d s: is it a norn site?",
                        p->host, p->port, TLS_MS / 1000);
    }
    /* Our end is content; the other looks at our certificate after that, and says so only if it does not like it. */
    struct pollfd w = {.fd = fd, .events = POLLIN};
    uint8_t first[64];
    size_t got;
    if (poll(&w, 1, ALERT_MS) == 1)
        TRY_IN(cx, tls_read(cx, t, first, sizeof first, &got), "%s:%u", p->host, p->port);
    tls_goodbye(t, true);
    return OK;
}

static void check_by_hand(struct ctx *cx, struct doctor *d, const struct peer_config *p)
{
    const char *what = arena_printf(cx->mem, "peer %u", p->party);
    if (p->via)
        doctor_find(d, GOOD, what,
                    arena_printf(cx->mem,
                                 "reached through exchange %u: nothing to try while the site does not run",
                                 p->via),
                    NULL);
    else if (!p->host)
        doctor_find(d, GOOD, what, "dials us: nothing to try from here while the site does not run", NULL);
    else if (shake_hands(cx, d, p).code)
        doctor_find(d, BAD, what, arena_strdup(cx->mem, cx->err.msg),
                    "is the other site running, its address right, its firewall open for us, both "
                    "certificates of one "
                    "CA?");
    else
        doctor_find(
            d, GOOD, what,
            arena_printf(cx->mem, "%s:%u answers with party %u's certificate", p->host, p->port, p->party),
            NULL);
}

/* ---- through the site ---- */

static const json_t *link_of(const json_t *state, uint32_t party)
{
    const json_t *links = json_object_get(state, "links");
    for (size_t i = 0; i < json_array_size(links); i++)
        if (sub_int(json_array_get(links, i), "party") == party) return json_array_get(links, i);
    return NULL;
}

static void no_answer(struct ctx *cx, struct doctor *d, const struct peer_config *p, const char *error,
                      const json_t *link)
{
    const char *what = arena_printf(cx->mem, "peer %u", p->party), *hop = sub_str(link, "last_error");
    const char *text =
        arena_printf(cx->mem, "%s%s%s", *error ? error : "no answer", *hop ? "; the link says: " : "", hop);
    if (p->host && doctor_dial(cx, p->host, p->port, TCP_MS, NULL).code)
        text = arena_printf(cx->mem, "%s; and %s", text, cx->err.msg);
    doctor_find(d, BAD, what, text,
                p->via ? "is the other site running and linked to the exchange, does the exchange forward "
                         "(exchange_memory), both certificates of one CA?"
                : p->host
                    ? "is the other site running, its address right, its firewall open, both certificates "
                      "of one CA?"
                    : "it must dial us: is it running, and does its norn.conf hold our address?");
}

/* false: there is no talking to it. */
static bool check_ping(struct ctx *cx, struct doctor *d, const struct peer_config *p, const json_t *answer,
                       const json_t *state)
{
    const char *what = arena_printf(cx->mem, "peer %u", p->party), *error = sub_str(answer, "error");
    double skew = json_number_value(json_object_get(answer, "clock_skew_ms"));
    if (!answer || *error) {
        no_answer(cx, d, p, error, link_of(state, p->party));
        return false;
    }
    const char *text =
        arena_printf(cx->mem, "norn %s, %.1f ms there and back, clock %+.0f ms", sub_str(answer, "version"),
                     json_number_value(json_object_get(answer, "round_trip_ms")), skew);
    doctor_find(d, fabs(skew) > SKEW_WARN_MS ? WARN : GOOD, what, text,
                "set both clocks (NTP): certificates and time limits go by them");
    return true;
}

static void check_speed(struct ctx *cx, struct doctor *d, uint32_t party)
{
    const char *what = arena_printf(cx->mem, "speed %u", party);
    CLEANUP(json_decrefp) json_t *j = NULL;
    CLEANUP(json_decrefp)
    json_t *params = json_pack("{s:I,s:i}", "party", (json_int_t)party, "bytes", PROBE_BYTES);
    if (client_call(cx, d->dir, "site.probe", params, &j).code) {
        doctor_find(d, WARN, what, arena_strdup(cx->mem, cx->err.msg),
                    "an older norn there cannot be measured");
        return;
    }
    double down = json_number_value(json_object_get(j, "down_bytes_per_s")),
           up = json_number_value(json_object_get(j, "up_bytes_per_s"));
    bool slow = down < SLOW_BYTES_S || up < SLOW_BYTES_S;
    doctor_find(d, slow ? WARN : GOOD, what,
                arena_printf(cx->mem, "%s each way: %s/s from it, %s/s to it; round trip %.2f ms",
                             sub_bytes(cx, PROBE_BYTES), sub_bytes(cx, (int64_t)down),
                             sub_bytes(cx, (int64_t)up),
                             json_number_value(json_object_get(j, "round_trip_ms"))),
                "below 1 Mbit/s: jobs work and take long; is the line shared, or rate_limit set?");
}

static json_t *toy_conf(const struct doctor *d, uint32_t party)
{
    return json_pack("{s:i,s:{s:s,s:I},s:{s:[I],s:[I]},s:{s:{s:s,s:i,s:i}},s:{s:{s:{s:i}}}}", "dsl_version",
                     2, "initiator", "role", "guest", "party_id", (json_int_t)d->set.party, "role", "guest",
                     (json_int_t)d->set.party, "host", (json_int_t)party, "job_parameters", "common",
                     "job_type", "train", "task_cores", 1, "timeout", JOB_S, "component_parameters", "common",
                     "secure_add_example_0", "data_num", 100);
}

static status toy_job(struct ctx *cx, const struct doctor *d, uint32_t party, json_t **last)
{
    CLEANUP(json_decrefp) json_t *made = NULL;
    CLEANUP(json_decrefp)
    json_t *submit = json_pack("{s:{s:{s:{s:s}}},s:o}", "dsl", "components", "secure_add_example_0", "module",
                               "SecureAddExample", "conf", toy_conf(d, party));
    if (!submit) return FAIL(cx, NOMEM, "a toy job");
    TRY(client_call(cx, d->dir, "job.submit", submit, &made));
    CLEANUP(json_decrefp) json_t *watch = json_pack("{s:s}", "job", sub_str(made, "job"));
    return client_watch(cx, d->dir, "job.watch", watch, NULL, NULL,
                        last); /* ends by its timeout at the latest */
}

static void check_job(struct ctx *cx, struct doctor *d, uint32_t party)
{
    const char *what = arena_printf(cx->mem, "toy job %u", party);
    CLEANUP(json_decrefp) json_t *j = NULL;
    status st = toy_job(cx, d, party, &j);
    if (st.code) { /* what it may not or cannot do now is no fault of the way */
        bool refused =
            st.code == ERR_AUTH || st.code == ERR_STATE || st.code == ERR_LIMIT || st.code == ERR_PEER;
        doctor_find(d, refused ? WARN : BAD, what, arena_strdup(cx->mem, cx->err.msg), "see the message");
        return;
    }
    bool good = strcmp(sub_str(j, "status"), "success") == 0;
    doctor_find(d, good ? GOOD : BAD, what,
                arena_printf(cx->mem, "%s %s in %.1f s%s%s", sub_str(j, "job"), sub_str(j, "status"),
                             json_number_value(json_object_get(j, "seconds")), good ? "" : ": ",
                             sub_str(j, "reason")),
                "norn job logs shows what its task wrote, at either site");
}

static void check_port(struct ctx *cx, struct doctor *d, const char *what, const char *host, uint16_t port,
                       const char *setting)
{
    const char *where = host ? arena_printf(cx->mem, "%s:%u", host, port) : "none", *text;
    if (!host || port == 0) {
        doctor_find(d, GOOD, what, host ? "any free one" : "this site listens nowhere", NULL);
        return;
    }
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool answers = doctor_dial(cx, any ? "localhost" : host, port, 1000, NULL).code == ERR_OK;
    if (d->running) {
        doctor_find(d, answers ? GOOD : BAD, what, where,
                    "the site runs but its port does not answer: taken when it started, or a firewall on "
                    "this machine?");
        return;
    }
    text = arena_printf(cx->mem, answers ? "%s is taken by another program" : "%s is free", where);
    doctor_find(d, answers ? BAD : GOOD, what, text,
                arena_printf(cx->mem, "stop it, or change %s in norn.conf", setting));
}

void doctor_peers(struct ctx *cx, struct doctor *d)
{
    CLEANUP(json_decrefp) json_t *state = NULL;
    CLEANUP(json_decrefp) json_t *answers = NULL;
    bool asked = d->running && !client_call(cx, d->dir, "site.status", NULL, &state).code &&
                 !client_call(cx, d->dir, "site.ping", NULL, &answers).code;
    if (d->running && !asked)
        doctor_find(d, BAD, "site", arena_strdup(cx->mem, cx->err.msg),
                    "see its log: logs/site.log; restart it");
    uint16_t port = asked ? (uint16_t)sub_int(state, "port") : d->set.listen_port;
    check_port(cx, d, "port", d->set.listen_host, port, "listen");
    if (!asked || sub_int(state, "http_port"))
        check_port(cx, d, "HTTP port", d->set.http_host,
                   asked ? (uint16_t)sub_int(state, "http_port") : d->set.http_port, "http_listen");
    for (size_t i = 0; i < d->set.n_peers; i++) {
        const struct peer_config *p = &d->set.peers[i];
        if (!asked) {
            check_by_hand(cx, d, p);
            continue;
        }
        const json_t *answer = json_object_get(answers, arena_printf(cx->mem, "%u", p->party));
        if (!check_ping(cx, d, p, answer, state) || d->quick) continue;
        check_speed(cx, d, p->party);
        check_job(cx, d, p->party);
    }
    if (d->set.n_peers == 0) doctor_find(d, WARN, "peers", "none", "norn site add-peer DIR ID=HOST:PORT");
}
