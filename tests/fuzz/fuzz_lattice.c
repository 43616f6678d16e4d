/* The three messages of the lattice scheme: the first byte says which; the key's id and the batch's number are put
 * right, and what is missing of the words is filled up, so that the rest is reached. Law: what is taken in decrypts, or
 * is refused with a message; nothing is read out of bounds. */
#include "crypto/lattice_ring.h"
#include "base/arena.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_ROWS = 2, BUCKETS = 2, HEADER = 1 + LATTICE_ID + 8, SUM_BITS = 10 };

static struct ctx cx;
static struct lattice_guest *guest;
static struct lattice_host *host;
static struct buf batch, reply;

static void must(status st)
{
    if (st.code) abort();
}

static struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){b->p, b->n};
}

static const uint8_t bin[N_ROWS] = {1, 0}, *const bins[1] = {bin};
static const uint16_t n_bins[1] = {BUCKETS};

static void start(void)
{
    const struct he_params params = {HE_LATTICE, 0, N_ROWS, 1, SUM_BITS};
    const int64_t m[N_ROWS] = {3, -4};
    CLEANUP(buf_free) struct buf pub = {0};
    cx.mem = arena_new(0);
    must(lattice_guest_new(&cx, &params, &guest));
    must(lattice_guest_public(&cx, guest, &pub));
    must(lattice_guest_encrypt(&cx, guest, m, &batch));
    must(lattice_host_open(&cx, bytes_of(&pub), &host));
    must(lattice_host_load(&cx, host, bytes_of(&batch)));
    must(lattice_host_sum(&cx, host, bins, n_bins, 1, NULL, 0, &reply));
}

/* The input over a good message: cut where the first byte is even, else with the good one's tail. */
static void lay_over(struct buf *msg, const struct buf *good, const uint8_t *data, size_t size)
{
    buf_put(msg, good->p, good->n > HEADER ? HEADER : good->n);
    buf_put(msg, data + 1, size - 1);
    if (data[0] & 1 && msg->n < good->n) buf_put(msg, good->p + msg->n, good->n - msg->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!guest) start();
    if (size < 1 || size > 1 << 16) return 0;
    struct arena_mark mark = arena_mark(cx.mem);
    CLEANUP(buf_free) struct buf msg = {0};
    status st = OK;
    cx.err.msg[0] = 0;
    int which = data[0] / 2 % 3;
    if (which == 0) {
        CLEANUP(lattice_host_freep) struct lattice_host *h = NULL;
        buf_put(&msg, data + 1, size - 1);
        st = lattice_host_open(&cx, bytes_of(&msg), &h);
        if (!st.code != !!h) abort();
    } else if (which == 1) {
        CLEANUP(buf_free) struct buf sum = {0};
        lay_over(&msg, &batch, data, size);
        st = lattice_host_load(&cx, host, bytes_of(&msg));
        if (!st.code) must(lattice_host_sum(&cx, host, bins, n_bins, 1, NULL, 0, &sum));
        if (!st.code && sum.n != reply.n) abort();
    } else {
        int64_t sums[BUCKETS] = {0};
        lay_over(&msg, &reply, data, size);
        st = lattice_guest_decrypt(&cx, guest, bytes_of(&msg), BUCKETS, sums);
        for (int i = 0; !st.code && i < BUCKETS; i++)
            if (sums[i] <= -(1 << SUM_BITS) || sums[i] >= 1 << SUM_BITS) abort();
    }
    if (st.code && !cx.err.msg[0]) abort();
    arena_rewind(cx.mem, mark);
    return 0;
}
