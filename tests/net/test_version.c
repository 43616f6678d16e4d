/* Sites of different builds: the hello says what both have, the older one's word decides, and what is not common is
 * refused by name. */
#include "test.h"
#include "flow.h"
#include "raw.h"
#include "net/frame.h"
#include "net/node_int.h"

static bool has_error(void *arg)
{
    struct site *s = arg;
    struct link_state l;
    return node_links(s->node, &l, 1) == 1 && !l.up && l.last_error[0] && !strstr(l.last_error, "not called");
}

/* The next wire version's build, and one without the newest features: both work with this one. */
static void newer_and_older_build(struct ctx *cx)
{
    for (int newer = 0; newer < 2; newer++) {
        struct world w;
        struct run run;
        struct link_state l;
        world_init(&w, cx);
        world_pair(&w);
        if (newer) {
            w.site[1].node->wire_max = WIRE_MAX + 1;
            w.site[1].node->features = UINT64_MAX;
        } else {
            w.site[1].node->features = 0;
        }
        run_start(&run, &w, NULL, 20);
        run_finish(&run, &w, 10000);
        for (int i = 0; i < 2; i++) {
            CHECK(node_link(w.site[i].node, i ? 10000 : 9999, &l) && l.up);
            CHECK(l.wire_version == WIRE_MAX && l.features == (newer ? FEATURES_ALL : 0));
        }
        world_free(&w);
    }
}

/* An exchange, then a party, that is older than tunnels. */
static void no_tunnels(struct ctx *cx)
{
    struct world w;
    struct link_state l;
    for (int old = 2; old >= 0; old -= 2) {
        world_init(&w, cx);
        struct site *a = world_site(&w, 0, 10000), *b = world_site(&w, 1, 9999),
                    *x = world_site(&w, 2, 10001);
        x->config.forward_bytes = 1 << 20;
        site_peer(x, 10000, 0);
        site_peer(x, 9999, 0);
        site_start(x);
        site_peer(a, 10001, node_port(x->node));
        site_start(a);
        site_via(b, 10000, 10001);
        site_peer(b, 10001, node_port(x->node));
        site_start(b);
        w.site[old].node->features = 0;
        CHECK(world_until_up(&w, a, 10001, 3000) && world_until_up(&w, b, 10001, 3000));
        world_run(&w, 300, NULL, NULL);
        const char *want =
            old ? "exchange 10001 (norn 0.1) is of a version that carries no tunnels"
                : "exchange 10001: party 10000 (norn 0.1) is of a version that takes no tunnels";
        CHECK(node_link(b->node, 10000, &l) && !l.up && strstr(l.last_error, want));
        if (!strstr(l.last_error, want)) fprintf(stderr, "# wanted '%s': %s\n", want, l.last_error);
        CHECK(node_link(b->node, 10001, &l) && l.up && node_link(a->node, 10001, &l) && l.up);
        world_free(&w);
    }
}

/* --- hand-made hellos --- */

struct fake {
    struct world w;
    struct raw r;
};

static bool connected(void *arg)
{
    struct raw *r = arg;
    raw_step(r);
    return r->connected || r->done;
}

/* A hello of another build: versions, features, and bytes behind what we know. */
static void start(struct fake *f, struct ctx *cx, uint8_t min, uint8_t max, uint64_t features, size_t more)
{
    world_init(&f->w, cx);
    struct site *a = world_site(&f->w, 0, 10000);
    site_peer(a, 20000, 0);
    site_start(a);
    world_keys(&f->w, 20000);
    raw_start(&f->r, node_port(a->node), world_file(&f->w, "20000.crt"), world_file(&f->w, "20000.key"), 0);
    CHECK(world_run(&f->w, 2000, connected, &f->r));
    CLEANUP(buf_free) struct buf b = {0};
    struct hello h = {.version_min = min,
                      .version_max = max,
                      .party = 20000,
                      .to = 10000,
                      .features = features,
                      .connection = 5,
                      .window = 1 << 20,
                      .heartbeat_ms = 1000,
                      .software = "norn 9.9"};
    frame_put_hello(&b, &h);
    for (size_t i = 0; i < more; i++)
        buf_u8(&b, 0xee);
    b.p[8] = (uint8_t)(b.n - FRAME_HEAD);
    b.p[9] = (uint8_t)((b.n - FRAME_HEAD) >> 8);
    CHECK(SSL_write(f->r.ssl, b.p, (int)b.n) == (int)b.n);
}

static void put_frame(struct fake *f, uint8_t version, uint8_t type, uint32_t stream)
{
    uint8_t head[FRAME_HEAD] = {version, type, 0, 0, (uint8_t)stream};
    CHECK(SSL_write(f->r.ssl, head, sizeof head) == (int)sizeof head);
}

static void expect(struct fake *f, const char *text)
{
    struct link_state l;
    CHECK(world_run(&f->w, 3000, has_error, &f->w.site[0]));
    CHECK(node_link(f->w.site[0].node, 20000, &l) && strstr(l.last_error, text));
    if (!strstr(l.last_error, text)) fprintf(stderr, "# wanted '%s': %s\n", text, l.last_error);
    raw_end(&f->r);
    world_free(&f->w);
}

static void newer_hello(struct ctx *cx)
{
    struct fake f;
    struct link_state l;
    start(&f, cx, 1, 7, UINT64_MAX, 300);
    CHECK(world_until_up(&f.w, &f.w.site[0], 20000, 3000));
    CHECK(node_link(f.w.site[0].node, 20000, &l) && l.wire_version == WIRE_MAX && l.features == FEATURES_ALL);
    CHECK(strcmp(l.peer_version, "norn 9.9") == 0);
    put_frame(&f, WIRE_MAX + 1, FRAME_CLOSE, 1);
    expect(&f, "frame of wire version 2, agreed was 1");
}

static void older_hello(struct ctx *cx)
{
    struct fake f;
    struct link_state l;
    start(&f, cx, 1, 1, 0, 0);
    CHECK(world_until_up(&f.w, &f.w.site[0], 20000, 3000));
    CHECK(node_link(f.w.site[0].node, 20000, &l) && l.features == 0);
    put_frame(&f, 1, FRAME_CARRY, 1);
    expect(&f, "frame of type 17, which was not agreed on");
}

static void none_in_common(struct ctx *cx)
{
    struct fake f;
    start(&f, cx, 7, 9, 0, 0);
    expect(&f, "the peer speaks wire versions 7 to 9, this site 1 to 1");
}

static void unknown_type(struct ctx *cx)
{
    struct fake f;
    start(&f, cx, 1, 1, FEATURES_ALL, 0);
    CHECK(world_until_up(&f.w, &f.w.site[0], 20000, 3000));
    put_frame(&f, 1, FRAME_LAST + 1, 1);
    expect(&f, "frame of unknown type 20");
}

TEST_MAIN(T(newer_and_older_build), T(no_tunnels), T(newer_hello), T(older_hello), T(none_in_common),
          T(unknown_type))
