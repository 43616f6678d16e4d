/* Channels between threads. */
#include "test.h"
#include "base/loop.h"
#include "net/channel.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct party guest = {ROLE_GUEST, 9999}, host = {ROLE_HOST, 10000},
                          arbiter = {ROLE_ARBITER, 9999};

struct seat {
    struct hub *hub;
    struct party me;
    int rounds;
    enum err_code code;
    char msg[480];
    struct arena *mem;
    atomic_bool cancel;
};

static status ring(struct ctx *cx, struct seat *s)
{
    struct channel *ch = hub_channel(s->hub, s->me);
    struct party next = s->me.role == ROLE_GUEST ? host : s->me.role == ROLE_HOST ? arbiter : guest;
    struct party last = s->me.role == ROLE_GUEST ? arbiter : s->me.role == ROLE_HOST ? guest : host;
    for (int i = 0; i < s->rounds; i++) {
        struct arena_mark mark = arena_mark(cx->mem);
        struct bytes b;
        size_t n = i % 50 == 0 ? 200000 : (size_t)i;
        uint8_t *p = calloc(1, n + 4);
        memcpy(p, &i, 4);
        status st = channel_send(cx, ch, next, "a", p, n + 4);
        free(p);
        TRY(st);
        TRY(channel_send(cx, ch, next, "b", &i, 4));
        TRY(channel_recv(cx, ch, last, "b", &b)); /* the other order */
        TRY(channel_recv(cx, ch, last, "a", &b));
        if (b.n != n + 4 || memcmp(b.p, &i, 4) != 0) return FAIL(cx, INTERNAL, "round %d", i);
        arena_rewind(cx->mem, mark);
    }
    return OK;
}

static status waits(struct ctx *cx, struct seat *s)
{
    struct bytes b;
    return channel_recv(cx, hub_channel(s->hub, s->me), host, "never", &b);
}

static void *run(struct seat *s, status (*fn)(struct ctx *, struct seat *))
{
    struct ctx cx = {.mem = arena_new(0), .cancel = &s->cancel};
    status st = fn(&cx, s);
    s->code = st.code;
    snprintf(s->msg, sizeof s->msg, "%s", st.code ? cx.err.msg : "");
    if (st.code) hub_fail(s->hub, s->me, cx.err.msg);
    arena_free(cx.mem);
    return NULL;
}

static void *run_ring(void *arg)
{
    return run(arg, ring);
}

static void *run_waits(void *arg)
{
    return run(arg, waits);
}

static void tap(void *arg, struct party from, struct party to, const char *tag, const void *p, size_t n)
{
    (void)from, (void)to, (void)tag, (void)p;
    *(uint64_t *)arg += n;
}

static void three_in_a_ring(struct ctx *cx)
{
    (void)cx;
    uint64_t seen = 0, sent = 0;
    struct hub *h = hub_new(5000, tap, &seen);
    struct seat s[3] = {{.hub = h, .me = guest, .rounds = 500},
                        {.hub = h, .me = host, .rounds = 500},
                        {.hub = h, .me = arbiter, .rounds = 500}};
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, run_ring, &s[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 3; i++) {
        CHECK(s[i].code == ERR_OK);
        struct channel *ch = hub_channel(h, s[i].me);
        sent += ch->ops->bytes_sent(ch->self, guest) + ch->ops->bytes_sent(ch->self, host) +
                ch->ops->bytes_sent(ch->self, arbiter);
    }
    CHECK(sent == seen && sent > 3 * 500 * 8);
    hub_free(h);
}

static void deadline(struct ctx *cx)
{
    struct hub *h = hub_new(100, NULL, NULL);
    struct bytes b;
    uint64_t from = clock_ms();
    CHECK_ERR(channel_recv(cx, hub_channel(h, guest), host, "x", &b), TIMEOUT);
    CHECK(clock_ms() - from >= 100 && clock_ms() - from < 1000);
    CHECK(strstr(cx->err.msg, "host 10000") && strstr(cx->err.msg, "x[0]"));
    hub_free(h);
}

static void failure_and_cancel(struct ctx *cx)
{
    (void)cx;
    struct hub *h = hub_new(60000, NULL, NULL);
    struct seat s[2] = {{.hub = h, .me = guest}, {.hub = h, .me = arbiter}};
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, run_waits, &s[i]);
    usleep(20000);
    atomic_store(&s[0].cancel, true);
    usleep(60000);
    hub_fail(h, host, "row 9: 3 cells, want 4");
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK(s[0].code == ERR_CANCELLED);
    CHECK(s[1].code == ERR_PEER && strstr(s[1].msg, "host 10000 failed: row 9"));
    hub_free(h);
}

static void refuses(struct ctx *cx)
{
    struct hub *h = hub_new(100, NULL, NULL);
    struct channel *ch = hub_channel(h, guest);
    CHECK_ERR(channel_send(cx, ch, host, "", "x", 1), ARG);
    CHECK_ERR(channel_send(cx, ch, host, "with space", "x", 1), ARG);
    char tag[TAG_MAX + 2];
    memset(tag, 'a', sizeof tag);
    tag[TAG_MAX + 1] = '\0';
    CHECK_ERR(channel_send(cx, ch, host, tag, "x", 1), ARG);
    tag[TAG_MAX] = '\0';
    CHECK_OK(cx, channel_send(cx, ch, host, tag, "x", 1));
    enum role r;
    CHECK(role_parse("arbiter", &r) && r == ROLE_ARBITER && strcmp(role_name(r), "arbiter") == 0);
    CHECK(!role_parse("Guest", &r));
    hub_free(h);
}

TEST_MAIN(T(three_in_a_ring), T(deadline), T(failure_and_cancel), T(refuses))
