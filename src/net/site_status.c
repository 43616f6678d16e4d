/* site_status.c - what tasks do and wait for, told to those who wait for them: the answer to "why does it
 * hang?".
 *
 * A status travels as u8 state, u32 ms since the last progress, text. Progress of a waiting task is that of
 * what it waits for. */
#include "net/site_int.h"
#include <stdio.h>
#include <string.h>

struct peer_status {
    uint8_t state;
    uint32_t idle_ms;
    char text[320];
};

static bool parse_status(struct ctx *cx, struct bytes b, struct peer_status *out)
{
    struct reader r = reader_of(b.p, b.n);
    struct peer_status s = {0};
    struct bytes text;
    if (reader_u8(cx, &r, &s.state).code || reader_u32(cx, &r, &s.idle_ms).code ||
        reader_blob(cx, &r, sizeof s.text - 1, &text).code || s.state > TASK_SENDS)
        return false;
    for (size_t i = 0; i < text.n; i++)
        s.text[i] = (char)(text.p[i] < 0x20 || text.p[i] == 0x7f ? ' ' : text.p[i]);
    *out = s;
    return true;
}

/* How long ago anything moved that this wait waits for: bytes on the stream, or the peer's task by its own
 * word. */
static uint64_t look_at(struct site_pipe *p, struct lane *l, bool sending, struct peer_status *peer,
                        uint64_t *age_ms)
{
    struct stream_view view, other;
    uint64_t now = clock_ms();
    struct stream_key out = key_to(p, l->peer), in = key_from(p, l->peer);
    node_view(p->node, sending ? &out : &in, sending, &view);
    if (view.bytes != l->last_bytes) {
        l->last_bytes = view.bytes;
        l->progress_ms = now;
    }
    uint64_t idle = l->progress_ms ? now - l->progress_ms : UINT32_MAX;
    node_view(p->node, &in, false, &other);
    *peer = (struct peer_status){0};
    *age_ms = other.status_age_ms;
    struct arena_mark mark = arena_mark(p->node->cx.mem);
    if (other.status.n && parse_status(&p->node->cx, other.status, peer)) {
        uint64_t theirs = (uint64_t)peer->idle_ms + other.status_age_ms;
        if (theirs < idle) idle = theirs;
    }
    arena_rewind(p->node->cx.mem, mark);
    return idle;
}

void site_tell_life(struct site_pipe *p)
{
    struct lane *l = p->wait.waiting ? lane_of(p, p->wait.peer) : NULL;
    struct link *link = l ? node_find_link(p->node, l->peer.id) : NULL;
    if (!l || !link || p->deaf) return;
    struct peer_status peer;
    uint64_t age, idle = look_at(p, l, p->wait.sending, &peer, &age);
    struct ctx *cx = &p->node->cx;
    struct arena_mark mark = arena_mark(cx->mem);
    char text[400];
    snprintf(text, sizeof text, "%.170s; its task: %.215s", link_text(cx, link),
             link->local && !peer.text[0] ? "at this site"
             : peer.text[0]               ? peer.text
                                          : "nothing heard of it yet");
    arena_rewind(cx->mem, mark);
    size_t start = pipe_io_begin(&p->io, PIPE_LIFE, -1);
    pipe_put_party(&p->io.tx, l->peer);
    buf_u32(&p->io.tx, idle < UINT32_MAX ? (uint32_t)idle : UINT32_MAX);
    pipe_put_text(&p->io.tx, text);
    pipe_io_end(&p->io, start);
}

/* Our task's own state, for those who may wait for it. A waiting task is as alive as what it waits for, so a
 * circle of waiting tasks grows older, while a chain that ends in one that computes does not. */
static size_t own_status(struct site_pipe *p, uint8_t out[STATUS_MAX])
{
    char text[320], more[200] = "";
    struct peer_status peer;
    uint64_t now = clock_ms(), age, idle = now - p->cpu_changed_ms;
    const struct task_wait *w = &p->wait;
    enum task_state state = w->waiting ? (w->sending ? TASK_SENDS : TASK_RECEIVES) : TASK_COMPUTES;
    if (w->waiting) {
        struct lane *l = lane_of(p, w->peer);
        uint64_t waits = (uint64_t)(wall_ms() - w->since_ms),
                 theirs = l ? look_at(p, l, w->sending, &peer, &age) : waits;
        idle = waits < theirs ? waits : theirs;
        snprintf(text, sizeof text, "%s %s[%u] %s %s %u for %.0f s",
                 w->sending ? "has no room to send" : "waits for", w->tag, w->seq, w->sending ? "to" : "of",
                 role_name(w->peer.role), w->peer.id, (double)waits / 1000);
    } else {
        snprintf(text, sizeof text, "computes, %.1f s of processor time so far", (double)p->cpu_ms / 1000);
    }
    if (p->ev.describe) p->ev.describe(p->ev.arg, more, sizeof more);
    size_t n_text = strlen(text);
    if (*more) snprintf(text + n_text, sizeof text - n_text, "; last log line: %s", more);
    struct buf b = {0};
    buf_u8(&b, (uint8_t)state);
    buf_u32(&b, idle < UINT32_MAX ? (uint32_t)idle : UINT32_MAX);
    pipe_put_text(&b, text);
    size_t n = b.bad || b.n > STATUS_MAX ? 0 : b.n;
    if (n) memcpy(out, b.p, n);
    buf_free(&b);
    return n;
}

void site_tell_peers(struct site_pipe *p)
{
    uint8_t words[STATUS_MAX];
    struct party peers[PEERS_MAX];
    size_t n = own_status(p, words), n_peers = node_stream_peers(p->node, &p->me, peers, PEERS_MAX);
    for (size_t i = 0; i < n_peers; i++) {
        struct lane *l = lane_of(p, peers[i]); /* who has only sent to us so far */
        (void)l;
    }
    for (struct lane *l = p->lanes; l; l = l->next) {
        struct stream_key k = key_to(p, l->peer);
        if (n) node_tell_status(p->node, &k, words, n);
    }
}
