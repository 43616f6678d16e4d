/* Links that break: every message arrives once and in order whatever the hop between does; strangers stay
 * outside. */
#include "test.h"
#include "raw.h"
#include "flow.h"
#include "relay.h"
#include "base/secret.h"
#include "net/node_int.h"
#include "net/openssl.h"
#include "net/pki_int.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGES = 60 };

/* Site 1 (9999) reaches site 0 (10000) through the relay. */
static struct relay *pair_by_relay(struct world *w, uint64_t heartbeat_ms)
{
    struct site *a = world_site(w, 0, 10000), *b = world_site(w, 1, 9999);
    site_peer(a, 9999, 0);
    a->config.heartbeat_ms = b->config.heartbeat_ms = heartbeat_ms;
    a->config.dial_ms = b->config.dial_ms = 1000;
    site_start(a);
    struct relay *r = relay_new(w->loop, node_port(a->node));
    site_peer(b, 10000, relay_port(r));
    site_start(b);
    return r;
}

static void cuts_at_random(struct ctx *cx)
{
    struct world w;
    struct run run;
    world_init(&w, cx);
    struct relay *r = pair_by_relay(&w, 200);
    run_start(&run, &w, r, 150);
    run.cuts = true;
    run_finish(&run, &w, 60000);
    CHECK(relay_connections(r) > 3);
    relay_free(r);
    world_free(&w);
}

/* Each connection lives for 300 KB only, a message has up to 3 MB: it must go on where it stopped. */
static void cuts_within_each_message(struct ctx *cx)
{
    struct world w;
    struct run run;
    world_init(&w, cx);
    struct relay *r = pair_by_relay(&w, 200);
    relay_cut_after(r, 300000);
    run_start(&run, &w, r, 20);
    run_finish(&run, &w, 60000);
    relay_free(r);
    world_free(&w);
}

static void corrupt_bytes(struct ctx *cx)
{
    struct world w;
    struct run run;
    world_init(&w, cx);
    struct relay *r = pair_by_relay(&w, 200);
    relay_corrupt_after(r, 1000000);
    run_start(&run, &w, r, MESSAGES);
    run_finish(&run, &w, 20000);
    CHECK(relay_connections(r) >= 2);
    relay_free(r);
    world_free(&w);
}

static void long_way(struct ctx *cx)
{
    struct world w;
    struct run run;
    world_init(&w, cx);
    struct relay *r = pair_by_relay(&w, 1000);
    relay_delay(r, 50);
    run_start(&run, &w, r, MESSAGES);
    run_finish(&run, &w, 20000);
    struct link_state l;
    CHECK(node_link(w.site[0].node, 9999, &l) && l.round_trip_ms >= 100 && l.round_trip_ms < 2000);
    CHECK(relay_connections(r) == 1);
    relay_free(r);
    world_free(&w);
}

static bool is_down(void *arg)
{
    struct site *s = arg;
    struct link_state l;
    return node_links(s->node, &l, 1) == 1 && !l.up;
}

static void silence_is_found(struct ctx *cx)
{
    struct world w;
    struct link_state l;
    world_init(&w, cx);
    struct relay *r = pair_by_relay(&w, 100);
    CHECK(world_until_up(&w, &w.site[0], 9999, 3000));
    CHECK(world_until_up(&w, &w.site[1], 10000, 3000));
    relay_stall(r, true);
    CHECK(world_run(&w, 2000, is_down, &w.site[1]));
    CHECK(node_link(w.site[1].node, 10000, &l) && strstr(l.last_error, "silent"));
    relay_cut(r);
    relay_stall(r, false);
    CHECK(world_until_up(&w, &w.site[0], 9999, 5000));
    CHECK(world_until_up(&w, &w.site[1], 10000, 5000));
    relay_free(r);
    world_free(&w);
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Both have the other's address, and both dial at once: one connection is left, and all messages pass. */
static void both_dial(struct ctx *cx)
{
    for (uint64_t k = 0; k < 6; k++) {
        struct world w;
        struct run run;
        struct link_state l;
        world_init(&w, cx);
        struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999);
        a->config.listen_port = free_port();
        b->config.listen_port = free_port();
        struct relay *ra = relay_new(w.loop, b->config.listen_port),
                     *rb = relay_new(w.loop, a->config.listen_port);
        relay_delay(ra, k % 3 * 5);
        relay_delay(rb, k / 3 * 5);
        site_peer(a, 9999, relay_port(ra));
        site_peer(b, 10000, relay_port(rb));
        site_start(a);
        site_start(b);
        run_start(&run, &w, ra, 10);
        run_finish(&run, &w, 10000);
        world_run(&w, 200, NULL, NULL);
        CHECK(node_link(a->node, 9999, &l) && l.up && !l.dialling);
        CHECK(node_link(b->node, 10000, &l) && l.up && !l.dialling);
        CHECK(relay_open(ra) + relay_open(rb) == 1);
        size_t dials = relay_connections(ra) + relay_connections(rb);
        world_run(&w, 300, NULL, NULL);
        CHECK(relay_connections(ra) + relay_connections(rb) == dials); /* it is quiet */
        relay_cut(ra);
        relay_cut(rb);
        CHECK(world_run(&w, 20, NULL, NULL) && world_until_up(&w, a, 9999, 3000) &&
              world_until_up(&w, b, 10000, 3000));
        relay_free(ra);
        relay_free(rb);
        world_free(&w);
    }
}

/* --- a slow link --- */

struct beat {
    size_t n;
    uint64_t from_ms, longest_ms;
    bool failed;
};

static void on_beat(void *arg, const struct err *err, const json_t *answer)
{
    (void)answer;
    struct beat *b = arg;
    uint64_t ms = clock_ms() - b->from_ms;
    b->failed = b->failed || err;
    b->n++;
    if (b->n > 2 && ms > b->longest_ms) b->longest_ms = ms; /* the first ones find the rate */
}

/* 1 Mbit/s with 20 MB waiting: calls still get through in well below a second. */
static void slow_link(struct ctx *cx)
{
    struct world w;
    struct beat beat = {0};
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999);
    site_peer(a, 9999, 0);
    site_start(a);
    struct relay *r = relay_new(w.loop, node_port(a->node));
    relay_rate(r, 125000);
    site_peer(b, 10000, relay_port(r));
    site_start(b);
    CHECK(world_until_up(&w, b, 10000, 3000));
    uint8_t *p = calloc(1, 20 << 20);
    struct message m = make_message(b, "job1", 10000, "a", 0, p, 20 << 20);
    CHECK_OK(cx, node_send(cx, b->node, &m));
    free(p);
    world_run(&w, 1000, NULL, NULL);
    for (int i = 0; i < 8; i++) {
        size_t n = beat.n;
        beat.from_ms = clock_ms();
        CHECK_OK(cx, node_call(cx, b->node, 10000, "echo", NULL, 10000, on_beat, &beat));
        while (beat.n == n && clock_ms() - beat.from_ms < 10000)
            world_run(&w, 5, NULL, NULL);
    }
    CHECK(beat.n == 8 && !beat.failed && beat.longest_ms < 1500);
    fprintf(stderr, "# longest of the calls: %llu ms\n", (unsigned long long)beat.longest_ms);
    relay_free(r);
    world_free(&w);
}

/* A peer's rate: never exceeded but for the allowance, and calls do not wait for it. */
static void rate_limit(struct ctx *cx)
{
    struct world w;
    struct beat beat = {0};
    struct link_state l;
    enum { RATE = 200000 };
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999);
    site_peer(a, 9999, 0);
    site_start(a);
    site_peer(b, 10000, node_port(a->node));
    b->peers[0].rate_bytes = RATE;
    site_start(b);
    CHECK(world_until_up(&w, b, 10000, 3000));
    uint8_t *p = calloc(1, 4 << 20);
    struct message m = make_message(b, "job1", 10000, "a", 0, p, 4 << 20);
    CHECK(node_link(b->node, 10000, &l));
    uint64_t before = l.bytes_out, from_ms = clock_ms();
    CHECK_OK(cx, node_send(cx, b->node, &m));
    free(p);
    for (int i = 0; i < 5; i++) {
        size_t n = beat.n;
        beat.from_ms = clock_ms();
        CHECK_OK(cx, node_call(cx, b->node, 10000, "echo", NULL, 10000, on_beat, &beat));
        while (beat.n == n && clock_ms() - beat.from_ms < 10000)
            world_run(&w, 5, NULL, NULL);
        world_run(&w, 100, NULL, NULL);
    }
    CHECK(node_link(b->node, 10000, &l));
    uint64_t sent = l.bytes_out - before, ms = clock_ms() - from_ms;
    CHECK(sent > 20000 && sent < RATE * ms / 1000 + 60000);
    CHECK(beat.n == 5 && !beat.failed);
    fprintf(stderr, "# %llu bytes in %llu ms, longest of the calls: %llu ms\n", (unsigned long long)sent,
            (unsigned long long)ms, (unsigned long long)beat.longest_ms);
    world_free(&w);
}

/* --- renewed certificates --- */

static void renewed_certificate(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct relay *r = pair_by_relay(&w, 200);
    struct site *b = &w.site[1];
    CHECK(world_until_up(&w, b, 10000, 3000));
    const char *csr = world_file(&w, "9999.csr"), *crt = b->config.cert_file;
    struct tls_site *before = b->node->tls;
    CHECK_OK(cx, pki_ca_init(cx, world_file(&w, "ca2"), "another", 30));
    CHECK_OK(cx, pki_ca_sign(cx, world_file(&w, "ca2"), csr, 9999, 30, crt));
    relay_cut(r);
    world_run(&w, 30, NULL, NULL);
    CHECK(world_until_up(&w, b, 10000, 3000)); /* the old one goes on */
    CHECK(b->node->tls == before);
    CHECK_OK(cx, pki_ca_sign(cx, world_file(&w, "ca"), csr, 9999, 30, crt));
    relay_cut(r);
    world_run(&w, 30, NULL, NULL);
    CHECK(world_until_up(&w, b, 10000, 3000));
    CHECK(b->node->tls != before);
    relay_free(r);
    world_free(&w);
}

/* --- strangers --- */

static bool error_is_there(void *arg)
{
    struct site *s = arg;
    struct link_state l;
    return node_links(s->node, &l, 1) == 1 && l.last_error[0] && !strstr(l.last_error, "not called");
}

/* Site 1 dials site 0 with its config changed by `spoil`; the reason site 1 gives must contain `want`. */
static void refused(struct ctx *cx, const char *want,
                    void (*spoil)(struct world *w, struct site *a, struct site *b))
{
    struct world w;
    struct link_state l;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999);
    site_peer(a, 9999, 0);
    spoil(&w, a, b);
    site_start(a);
    site_peer(b, b->config.n_peers ? b->peers[0].party : 10000, node_port(a->node));
    if (b->config.n_peers == 2) { /* spoil has named the peer it wants to dial */
        b->peers[0] = b->peers[1];
        b->config.n_peers = 1;
    }
    site_start(b);
    CHECK(world_run(&w, 3000, error_is_there, b));
    CHECK(node_link(b->node, b->peers[0].party, &l) && !l.up && strstr(l.last_error, want));
    if (!strstr(l.last_error, want)) fprintf(stderr, "# wanted '%s': %s\n", want, l.last_error);
    CHECK(node_link(a->node, a->peers[0].party, &l) && !l.up);
    world_free(&w);
}

static void other_ca(struct world *w, struct site *a, struct site *b)
{
    (void)a;
    const char *dir = world_file(w, "ca2");
    CHECK_OK(w->cx, pki_ca_init(w->cx, dir, "another federation", 30));
    CHECK_OK(w->cx, pki_ca_sign(w->cx, dir, world_file(w, "9999.csr"), 9999, 30, world_file(w, "9999.crt")));
    b->config.ca_file = world_file(w, "ca2/ca.crt");
}

static void not_a_peer(struct world *w, struct site *a, struct site *b)
{
    (void)w, (void)b;
    a->peers[0].party = 8888;
}

static void not_the_dialled(struct world *w, struct site *a, struct site *b)
{
    (void)w, (void)a;
    b->peers[0].party = 7777; /* but 10000 answers */
    b->config.n_peers = 1;
}

static void wrong_ca(struct ctx *cx)
{
    refused(cx, "certificate", other_ca);
}

static void stranger_party(struct ctx *cx)
{
    refused(cx, "refused our certificate", not_a_peer);
}

static void wrong_party_answers(struct ctx *cx)
{
    refused(cx, "is of party 10000, expected party 7777", not_the_dialled);
}

static struct node *try_node(struct world *w, struct site *s, enum err_code want, const char *text)
{
    struct node *n = NULL;
    const struct node_events ev = {0};
    status st = node_new(w->cx, w->loop, &s->config, &ev, &n);
    CHECK(st.code == want);
    CHECK(strstr(w->cx->err.msg, text));
    if (!strstr(w->cx->err.msg, text)) fprintf(stderr, "# wanted '%s': %s\n", text, w->cx->err.msg);
    return n;
}

static void own_files_are_checked(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    struct site *s = world_site(&w, 0, 10000);
    world_keys(&w, 9999);
    const char *ca = world_file(&w, "ca"), *csr = world_file(&w, "10000.csr"), *crt = s->config.cert_file;
    int64_t now = wall_ms() / 1000;
    CHECK_OK(cx, pki_ca_sign_dates(cx, ca, csr, 10000, now - 1000, now - 10, crt));
    try_node(&w, s, ERR_AUTH, "has expired");
    CHECK(strstr(cx->err.msg, "10000.crt"));
    CHECK_OK(cx, pki_ca_sign_dates(cx, ca, csr, 10000, now + 1000, now + 2000, crt));
    try_node(&w, s, ERR_AUTH, "not yet valid");
    s->config.cert_file = world_file(&w, "9999.crt");
    s->config.key_file = world_file(&w, "9999.key");
    try_node(&w, s, ERR_AUTH, "is of party 9999; this site is party 10000");
    s->config.key_file = world_file(&w, "10000.key");
    try_node(&w, s, ERR_AUTH, "does not fit");
    s->config.cert_file = world_file(&w, "nothing.crt");
    try_node(&w, s, ERR_NOTFOUND, "nothing.crt");
    CHECK_OK(cx, pki_ca_sign(cx, ca, csr, 10000, 30, crt));
    s->config.cert_file = crt;
    CHECK_OK(cx, pki_ca_init(cx, world_file(&w, "ca2"), "another", 30));
    s->config.ca_file = world_file(&w, "ca2/ca.crt");
    try_node(&w, s, ERR_AUTH, "10000.crt");
    s->config.ca_file = world_file(&w, "ca/ca.crt");
    site_start(s);
    struct site *b = world_site(&w, 1, 8888);
    b->config.listen_port = node_port(s->node);
    char text[60];
    snprintf(text, sizeof text, "port %u of 127.0.0.1 is taken", b->config.listen_port);
    try_node(&w, b, ERR_IO, text);
    world_free(&w);
}

/* --- raw TLS clients --- */

static void raw_refused(struct world *w, uint16_t port, const char *cert, const char *key, int max_version,
                        const char *want)
{
    struct raw r;
    raw_start(&r, port, cert, key, max_version);
    CHECK(world_run(w, 3000, raw_step, &r));
    CHECK(r.bytes == 0); /* nothing but TLS */
    CHECK(strstr(r.why, want));
    if (!strstr(r.why, want)) fprintf(stderr, "# wanted '%s': %s\n", want, r.why);
    raw_end(&r);
}

static void raw_clients(struct ctx *cx)
{
    struct world w;
    struct link_state l;
    world_init(&w, cx);
    world_pair(&w);
    CHECK(world_until_up(&w, &w.site[0], 9999, 3000));
    uint16_t port = node_port(w.site[0].node);
    raw_refused(&w, port, NULL, NULL, 0, "certificate required");
    raw_refused(&w, port, NULL, NULL, TLS1_2_VERSION, "protocol version");
    int64_t now = wall_ms() / 1000;
    const char *crt = world_file(&w, "expired.crt"), *key = world_file(&w, "9999.key");
    CHECK_OK(cx, pki_ca_sign_dates(cx, world_file(&w, "ca"), world_file(&w, "9999.csr"), 9999, now - 1000,
                                   now - 10, crt));
    raw_refused(&w, port, crt, key, 0, "certificate expired");
    CHECK_OK(cx, pki_ca_init(cx, world_file(&w, "ca2"), "another", 30));
    CHECK_OK(cx, pki_ca_sign(cx, world_file(&w, "ca2"), world_file(&w, "9999.csr"), 9999, 30, crt));
    raw_refused(&w, port, crt, key, 0, "unknown ca");
    world_keys(&w, 5555);
    raw_refused(&w, port, world_file(&w, "5555.crt"), world_file(&w, "5555.key"), 0, "handshake failure");
    /* Somebody who says nothing is shown the door; the link was never touched. */
    CHECK(node_link(w.site[0].node, 9999, &l) && l.up);
    CHECK(w.site[0].n_up >= 1);
    world_free(&w);
}

/* A peer of another wire version: told so, and named here. */
static bool link_has_error(void *arg)
{
    struct site *s = arg;
    struct link_state l;
    return node_links(s->node, &l, 1) == 1 && strstr(l.last_error, "wire version");
}

static void other_version(struct ctx *cx)
{
    struct world w;
    struct raw r;
    world_init(&w, cx);
    struct site *a = world_site(&w, 0, 10000);
    site_peer(a, 9999, 0);
    site_start(a);
    world_keys(&w, 9999);
    raw_start(&r, node_port(a->node), world_file(&w, "9999.crt"), world_file(&w, "9999.key"), 0);
    while (!r.connected) {
        raw_step(&r);
        world_run(&w, 1, NULL, NULL);
    }
    static const uint8_t hello[] = {1,   1,   0,   0,   0, 0, 0, 0, 12, 0, 0, 0, /* header: 12 bytes */
                                    'N', 'O', 'R', 'N', 7, 9, 0, 0, 1,  2, 3, 4};
    CHECK(SSL_write(r.ssl, hello, sizeof hello) == (int)sizeof hello);
    CHECK(world_run(&w, 3000, link_has_error, a));
    CHECK(world_run(&w, 3000, raw_step, &r));
    CHECK(r.bytes > 24); /* its hello and the reason */
    raw_end(&r);
    world_free(&w);
}

TEST_MAIN(T(cuts_at_random), T(cuts_within_each_message), T(corrupt_bytes), T(long_way), T(silence_is_found),
          T(both_dial), T(slow_link), T(rate_limit), T(renewed_certificate), T(wrong_ca), T(stranger_party),
          T(wrong_party_answers), T(own_files_are_checked), T(raw_clients), T(other_version))
