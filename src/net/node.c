#include "net/node_int.h"
#include "base/log.h"
#include "base/secret.h"
#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 64 << 20 };

size_t key_hash(const struct stream_key *k)
{
    uint32_t h = 2166136261u;
    for (const char *p = k->job; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    for (const char *p = k->task; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    h = (h ^ (uint32_t)k->from.role) * 16777619u;
    h = (h ^ k->from.id) * 16777619u;
    h = (h ^ (uint32_t)k->to.role) * 16777619u;
    h = (h ^ k->to.id) * 16777619u;
    return (h ^ h >> 16) % BUCKETS;
}

bool key_equal(const struct stream_key *a, const struct stream_key *b)
{
    return a->from.role == b->from.role && a->from.id == b->from.id && a->to.role == b->to.role &&
           a->to.id == b->to.id && strcmp(a->job, b->job) == 0 && strcmp(a->task, b->task) == 0;
}

struct link *node_find_link(struct node *n, uint32_t party)
{
    if (party == n->config.party) return n->self;
    for (size_t i = 0; i < n->n_links; i++)
        if (n->links[i].peer.party == party) return &n->links[i];
    return NULL;
}

struct link *node_link_at(const struct node *n, size_t i)
{
    return i < n->n_links ? &n->links[i] : n->self;
}

static void init_link(struct node *n, struct link *l, const struct peer_config *p)
{
    *l = (struct link){.n = n, .peer = *p, .local = l == n->self, .next_number = 1, .next_call = 1};
    if (p->host) {
        memcpy(l->host, p->host, strlen(p->host));
        l->peer.host = l->host;
    }
    l->calls_tail = &l->calls;
    l->ready_tail = &l->ready;
    l->next_circuit = n->config.party < p->party ? 1 : 2;
    l->peer_window = n->config.window_bytes;
    l->rate = p->rate_bytes ? p->rate_bytes : n->config.rate_bytes;
    if (l->rate == UINT64_MAX) l->rate = 0;
    l->state = (struct link_state){.party = p->party, .via = p->via, .up = l->local, .since_ms = wall_ms()};
    snprintf(l->state.last_error, sizeof l->state.last_error, "%s",
             l->local || p->host || p->via ? "" : "has not called yet");
}

/* The party is not in the settings; whatever is not, goes by the default route. */
static status route_by_default(struct ctx *cx, struct node *n, uint32_t party, struct link **out)
{
    if (!party || party > INT32_MAX) return FAIL(cx, NOTFOUND, "no party %u", party);
    if (n->n_links == n->links_max)
        return FAIL(cx, LIMIT, "party %u: more than %d parties by the default route", party, ROUTED_MAX);
    struct link *l = &n->links[n->n_links++];
    init_link(n, l, &(struct peer_config){.party = party, .via = n->config.default_via});
    l->routed = true;
    *out = l;
    return OK;
}

status node_get_link(struct ctx *cx, struct node *n, uint32_t party, struct link **out)
{
    char known[200] = "";
    size_t at = 0;
    *out = node_find_link(n, party);
    if (!*out && n->config.default_via) TRY(route_by_default(cx, n, party, out));
    if (*out) return OK;
    for (size_t i = 0; i < n->n_links && at < sizeof known - 16; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%u", i ? ", " : "", n->links[i].peer.party);
    return FAIL(cx, NOTFOUND, "no party %u among this site's peers (%s)", party, at ? known : "it has none");
}

status node_need_link(struct ctx *cx, struct node *n, uint32_t party, struct link **out)
{
    TRY(node_get_link(cx, n, party, out));
    link_want(*out);
    return OK;
}

/* --- what is left for the loop's next turn --- */

static void run_later(struct loop *loop, void *arg)
{
    (void)loop;
    struct node *n = arg;
    n->later = NULL;
    call_local(n->self);
    stream_out_local(n->self);
    stream_in_offer_all(n);
    for (size_t i = 0; i < n->n_links; i++)
        if (n->links[i].up) conn_pump(n->links[i].up);
    conn_free_dead(n);
    stream_out_free_dead(n);
    stream_in_free_dead(n);
}

void node_later(struct node *n)
{
    if (n->later || n->freeing) return;
    n->later = loop_after(n->loop, 0, run_later, n);
}

/* --- birth and death --- */

/* The exchange of a peer (0: of the default route) is a peer itself, with a link of its own. */
static status check_via(struct ctx *cx, const struct node_config *c, uint32_t party, uint32_t via)
{
    char what[40] = "the default route";
    if (party) snprintf(what, sizeof what, "peer %u", party);
    for (size_t i = 0; i < c->n_peers; i++) {
        if (c->peers[i].party != via) continue;
        if (!c->peers[i].via && via != party) return OK;
        return FAIL(cx, ARG, "%s goes via %u, which is itself reached via %u", what, via, c->peers[i].via);
    }
    return FAIL(cx, ARG, "%s goes via %u, which is not among the peers", what, via);
}

static status check_config(struct ctx *cx, const struct node_config *c)
{
    if (!c->party || c->party > INT32_MAX)
        return FAIL(cx, ARG, "party %u: want 1 to %d", c->party, INT32_MAX);
    for (size_t i = 0; i < c->n_peers; i++) {
        uint32_t id = c->peers[i].party;
        if (!id || id > INT32_MAX) return FAIL(cx, ARG, "peer %u: want 1 to %d", id, INT32_MAX);
        if (id == c->party) return FAIL(cx, ARG, "peer %u is this site itself", id);
        if (c->peers[i].host && strlen(c->peers[i].host) > 255)
            return FAIL(cx, ARG, "peer %u: host name too long", id);
        for (size_t k = 0; k < i; k++)
            if (c->peers[k].party == id) return FAIL(cx, ARG, "peer %u is there twice", id);
        if (c->peers[i].via)
            TRY(check_via(cx, c, id, c->peers[i].via));
        else if (!c->peers[i].host && !c->listen_host)
            return FAIL(cx, ARG, "peer %u has no address, and this site accepts nobody", id);
    }
    return c->default_via ? check_via(cx, c, 0, c->default_via) : OK;
}

static void init_slab(struct slab *s, struct arena *mem, size_t size)
{
    *s = (struct slab){.mem = mem, .size = size};
}

static status init_links(struct ctx *cx, struct node *n, const struct node_config *c)
{
    n->links_max = c->n_peers + (c->default_via ? ROUTED_MAX : 0);
    n->links = arena_alloc_n(n->mem, n->links_max + 1, sizeof *n->links, _Alignof(struct link));
    if (!n->links) return FAIL(cx, NOMEM, "%zu links", n->links_max);
    n->self = &n->links[n->links_max];
    init_link(n, n->self, &(struct peer_config){.party = c->party});
    for (; n->n_links < c->n_peers; n->n_links++)
        init_link(n, &n->links[n->n_links], &c->peers[n->n_links]);
    return OK;
}

/* The newest change of our three files; 0 when one is not there. */
static int64_t files_changed_ns(const struct node_config *c)
{
    const char *files[] = {c->key_file, c->cert_file, c->ca_file};
    int64_t newest = 0;
    for (size_t i = 0; i < LEN(files); i++) {
        struct stat st;
        if (stat(files[i], &st) < 0) return 0;
        int64_t ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
        if (ns > newest) newest = ns;
    }
    return newest;
}

/* A renewed certificate serves new connections without a restart. While the files do not fit (one is written,
 * the other not yet), the old ones stay. */
struct tls_site *node_tls(struct node *n)
{
    const struct node_config *c = &n->config;
    int64_t ns = files_changed_ns(c);
    if (!ns || ns == n->files_ns) return n->tls;
    struct ctx *cx = &n->cx;
    struct tls_site *fresh;
    status st = tls_site_new(cx, c->party, c->key_file, c->cert_file, c->ca_file, &fresh);
    n->files_ns = ns;
    if (st.code) {
        log_error(cx, "new certificate not used", KV("reason", (const char *)cx->err.msg));
        return n->tls;
    }
    log_info(cx, "new certificate in use", KV("file", c->cert_file));
    tls_site_free(n->tls);
    return n->tls = fresh;
}

/* The caller's strings may go; these are read again when certificates are renewed. */
static status keep_files(struct ctx *cx, struct node *n)
{
    struct node_config *c = &n->config;
    c->key_file = arena_strdup(n->mem, c->key_file);
    c->cert_file = arena_strdup(n->mem, c->cert_file);
    c->ca_file = arena_strdup(n->mem, c->ca_file);
    return c->key_file && c->cert_file && c->ca_file ? OK : FAIL(cx, NOMEM, "node");
}

static status start(struct ctx *cx, struct node *n, const struct node_config *c)
{
    TRY(keep_files(cx, n));
    n->files_ns = files_changed_ns(c);
    TRY(tls_site_new(cx, c->party, c->key_file, c->cert_file, c->ca_file, &n->tls));
    TRY(rand_bytes(cx, n->instance, sizeof n->instance));
    uint64_t seed;
    memcpy(&seed, n->instance, sizeof seed);
    n->jitter = shuffle_new(seed);
    TRY(init_links(cx, n, c));
    if (c->listen_host) {
        TRY(dial_listen(cx, c->listen_host, c->listen_port, &n->listen_fd, &n->port));
        TRY(loop_add(cx, n->loop, n->listen_fd, EPOLLIN, link_accept, n));
    }
    for (size_t i = 0; i < n->n_links; i++)
        link_start(&n->links[i]);
    return OK;
}

status node_new(struct ctx *cx, struct loop *l, const struct node_config *c, const struct node_events *ev,
                struct node **out)
{
    TRY(check_config(cx, c));
    CLEANUP(arena_freep) struct arena *mem = arena_new(0);
    struct node *n = mem ? arena_alloc(mem, sizeof *n, _Alignof(struct node)) : NULL;
    if (!n) return FAIL(cx, NOMEM, "node");
    *n = (struct node){.mem = mem, .loop = l, .config = *c, .ev = *ev, .listen_fd = -1};
    n->cx = (struct ctx){.mem = arena_new(SCRATCH_BYTES), .log = cx->log};
    if (!n->cx.mem) return FAIL(cx, NOMEM, "node");
    if (!n->config.heartbeat_ms) n->config.heartbeat_ms = 2000;
    if (!n->config.dial_ms) n->config.dial_ms = 5000;
    if (!n->config.window_bytes) n->config.window_bytes = 16 << 20;
    if (!n->config.outbox_bytes) n->config.outbox_bytes = 64 << 20;
    init_slab(&n->conn_slab, mem, sizeof(struct conn));
    init_slab(&n->parcel_slab, mem, sizeof(struct parcel));
    init_slab(&n->out_slab, mem, sizeof(struct stream_out));
    init_slab(&n->in_slab, mem, sizeof(struct stream_in));
    init_slab(&n->tag_slab, mem, sizeof(struct tag_next));
    init_slab(&n->call_out_slab, mem, sizeof(struct call_out));
    init_slab(&n->call_in_slab, mem, sizeof(struct call_in));
    init_slab(&n->circuit_slab, mem, sizeof(struct circuit));
    n->features = FEATURES_ALL;
    n->pile.max = c->memory_bytes;
    n->pile.spill =
        (struct spill){.dir = c->spill_dir ? arena_strdup(mem, c->spill_dir) : NULL, .max = c->disk_bytes};
    if (c->spill_dir && !n->pile.spill.dir) return FAIL(cx, NOMEM, "node");
    n->wire_max = WIRE_MAX;
    mem = NULL; /* node_free's from here on */
    CLEANUP(node_freep) struct node *held = n;
    TRY(start(cx, n, c));
    *out = TAKE(held);
    return OK;
}

void node_free(struct node *n)
{
    if (!n) return;
    n->freeing = true;
    loop_cancel(n->loop, n->later);
    loop_cancel(n->loop, n->accept_again);
    loop_cancel(n->loop, n->offer_again);
    if (n->listen_fd >= 0) {
        loop_del(n->loop, n->listen_fd);
        close(n->listen_fd);
    }
    for (size_t i = 0; n->links && i <= n->n_links; i++)
        link_stop(node_link_at(n, i));
    while (n->conns)
        conn_close(n->conns, NULL);
    for (size_t i = 0; n->links && i <= n->n_links; i++)
        call_end_all(node_link_at(n, i));
    stream_out_reclaim(n, NULL, NULL);
    stream_in_reclaim(n, NULL, NULL);
    conn_free_dead(n);
    stream_out_free_dead(n);
    stream_in_free_dead(n);
    pile_trim(&n->pile, UINT64_MAX);
    spill_close(&n->pile.spill);
    tls_site_free(n->tls);
    arena_free(n->cx.mem);
    arena_free(n->mem);
}

void node_freep(struct node **n)
{
    node_free(*n);
    *n = NULL;
}

/* --- questions --- */

uint16_t node_port(const struct node *n)
{
    return n->port;
}

static void link_fill(const struct link *l, struct link_state *out)
{
    if (l->up) conn_count_wire(l->up);
    *out = l->state;
    out->queued_bytes = 0;
    for (const struct stream_out *s = l->outs; s; s = s->next_of_link)
        out->queued_bytes += s->queued;
}

void node_memory(const struct node *n, struct node_memory *out)
{
    const struct pile *p = &n->pile;
    *out = (struct node_memory){p->held, p->most, p->max, p->spill.live, p->spill.most, p->spill.max};
}

size_t node_links(const struct node *n, struct link_state *out, size_t max)
{
    for (size_t i = 0; i < n->n_links && i < max; i++)
        link_fill(&n->links[i], &out[i]);
    return n->n_links;
}

bool node_link(const struct node *n, uint32_t party, struct link_state *out)
{
    for (size_t i = 0; i <= n->n_links; i++) {
        if (node_link_at(n, i)->peer.party != party) continue;
        link_fill(node_link_at(n, i), out);
        return true;
    }
    return false;
}

void node_job_bytes(const struct node *n, const char *job, uint32_t party, uint64_t *sent, uint64_t *received)
{
    *sent = *received = 0;
    for (size_t i = 0; i <= n->n_links; i++) {
        const struct link *l = node_link_at(n, i);
        if (l->peer.party != party) continue;
        for (const struct stream_out *s = l->outs; s; s = s->next_of_link)
            if (strcmp(s->key.job, job) == 0) *sent += s->total;
        for (const struct stream_in *s = l->ins; s; s = s->next_of_link)
            if (!s->dead && strcmp(s->key.job, job) == 0) *received += s->total;
    }
}

void node_reclaim(struct node *n, const char *job, const char *task)
{
    assert(job);
    stream_out_reclaim(n, job, task);
    stream_in_reclaim(n, job, task);
    node_later(n);
}

void node_view(struct node *n, const struct stream_key *k, bool outgoing, struct stream_view *out)
{
    *out = (struct stream_view){0};
    if (outgoing) {
        struct stream_out *s = stream_out_find(n, k);
        if (s) out->bytes = s->acked;
        return;
    }
    struct stream_in *s = stream_in_find(n, k);
    if (!s) return;
    out->bytes = s->total + (s->part ? s->have : 0);
    out->status = (struct bytes){s->status, s->n_status};
    out->status_age_ms = s->status_ms ? clock_ms() - s->status_ms : 0;
}

size_t node_stream_peers(struct node *n, const struct stream_key *me, struct party *out, size_t max)
{
    size_t found = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct stream_in *s = n->in_by_key[i]; s && found < max; s = s->next) {
            struct stream_key k = *me;
            k.from = s->key.from;
            k.to = me->from;
            if (key_equal(&s->key, &k)) out[found++] = s->key.from;
        }
    }
    return found;
}
