/* An intersection with a peer that sends anything. The first byte chooses party and method, then each message the peer sends
 * is a length as u16 and its bytes; a missing one is a peer that has failed. Laws: a refusal has a message; what is accepted
 * are rows of the own table, each once. */
#include "base/arena.h"
#include "fed/intersection/psi.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 5 };

static status peer_send(struct ctx *cx, void *self, struct party to, const char *tag, const void *p, size_t n)
{
    (void)cx, (void)self, (void)to, (void)p, (void)n;
    if (!tag_valid(tag)) abort();
    return OK;
}

static status peer_recv(struct ctx *cx, void *self, struct party from, const char *tag, struct bytes *out)
{
    struct reader *r = self;
    uint16_t n;
    const uint8_t *p;
    (void)from, (void)tag;
    if (reader_u16(cx, r, &n).code || reader_bytes(cx, r, n, &p).code) return FAIL(cx, PEER, "it has failed");
    uint8_t *copy = NEW(cx, uint8_t, n + 1);
    if (!copy) return FAIL(cx, NOMEM, "a message");
    memcpy(copy, p, n);
    *out = (struct bytes){copy, n};
    return OK;
}

static uint64_t peer_bytes_sent(void *self, struct party to)
{
    (void)self, (void)to;
    return 0;
}

static void check_rows(const struct psi_result *r)
{
    bool seen[ROWS] = {0};
    if (r->n > ROWS) abort();
    for (size_t i = 0; i < r->n; i++) {
        if (r->rows[i] >= ROWS || seen[r->rows[i]]) abort();
        seen[r->rows[i]] = true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t off[ROWS + 1] = {0, 1, 2, 3, 4, 5};
    static const struct channel_ops ops = {peer_send, peer_recv, peer_bytes_sent};
    if (size == 0) return 0;
    struct ctx cx = {.mem = arena_new(64u << 20)};
    struct table t = {.n_rows = ROWS, .n_physical = ROWS, .id_name = "id", .id_off = off, .id_text = "abcde"};
    struct reader r = reader_of(data + 1, size - 1);
    struct channel ch = {&ops, &r};
    struct party host = {ROLE_HOST, 10000}, guest = {ROLE_GUEST, 9999};
    struct psi_result out = {0};
    bool rsa = data[0] & 1, is_guest = data[0] & 2;
    status st = rsa && is_guest ? psi_rsa_guest(&cx, &ch, 2048, &host, 1, &t, NULL, &out)
                : is_guest      ? psi_ecdh_guest(&cx, &ch, &host, 1, &t, NULL, &out)
                                : psi_ecdh_host(&cx, &ch, guest, &t, NULL, &out);
    if (st.code && !cx.err.msg[0]) abort();
    if (!st.code) check_rows(&out);
    arena_free(cx.mem);
    return 0;
}
