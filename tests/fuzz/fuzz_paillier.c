/* The three messages of Paillier: the first byte says which; the key's id and the batch's number are put
 * right, so that the rest is reached. Law: what is taken in decrypts, or is refused with a message; nothing
 * is read out of bounds. */
#include "crypto/paillier.h"
#include "base/arena.h"
#include "base/secret.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_ROWS = 2, BUCKETS = 2, HEADER = 1 + PAILLIER_ID + 8 };

/* Two primes of 1024 bits, little-endian words: those of tests/crypto/test_paillier.c. */
static const uint64_t p[16] = {
    0x1ae5e2dfa1cbac3b, 0x9b6cb62ba4f97ae1, 0x01d9eb4368a5b3b0, 0xdccb8ec75a2a749e,
    0xd60b53ed847f90c2, 0xd8b17ee6ee3833ce, 0x54e1da1219114061, 0x3a04abd979110934,
    0xedc70ef05f5b6c59, 0xcfd47c6f26564f48, 0xb671a1e9a4044d7a, 0x3bc91e8515dae990,
    0xc7eb26b136a3c3d8, 0xe94f5b21a80f218a, 0x56c6a943342cf393, 0xfb40ca190bd17289};
static const uint64_t q[16] = {
    0xabe3e4d7726a4bcb, 0xb5d1870317c35c62, 0xba717e665e137061, 0x7480ee2931ffc5e8,
    0x44e6989d27dcda74, 0x17c7136a0349d9fb, 0xef6d34e853c67936, 0xedb91fc49d24c991,
    0x08638fd2fd4ded81, 0x31bd03c0d9b0f675, 0xce0f9170bcb7fc06, 0xb3120e82a9c19483,
    0x0ac34228d66976bd, 0x7379523e5142adef, 0x1fbfbd10e5a65cc5, 0xcfc085388146245d};

static struct ctx cx;
static struct paillier_guest *guest;
static struct paillier_host *host;
static uint8_t header[HEADER]; /* of a batch and a reply alike */

static void start(void)
{
    const struct he_params params = {HE_PAILLIER, 2048, N_ROWS, 1, 10};
    const int64_t m[N_ROWS] = {3, -4};
    CLEANUP(buf_free) struct buf pub = {0}, batch = {0};
    cx.mem = arena_new(0);
    if (paillier_guest_of_primes(&cx, &params, p, q, &guest).code ||
        paillier_guest_public(&cx, guest, &pub).code || paillier_guest_encrypt(&cx, guest, m, &batch).code ||
        paillier_host_open(&cx, (struct bytes){pub.p, pub.n}, &host).code)
        abort();
    memcpy(header, batch.p, HEADER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!guest) start();
    if (size < 1 || size > 1 << 16) return 0;
    struct arena_mark mark = arena_mark(cx.mem);
    CLEANUP(buf_free) struct buf msg = {0};
    buf_put(&msg, data + 1, size - 1);
    struct bytes in = {msg.p, msg.n};
    status st = OK;
    cx.err.msg[0] = 0;
    if (data[0] % 3 == 0) {
        CLEANUP(paillier_host_freep) struct paillier_host *h = NULL;
        st = paillier_host_open(&cx, in, &h);
        if (!st.code != !!h) abort();
    } else {
        if (msg.n >= HEADER) memcpy(msg.p, header, HEADER);
        int64_t sums[BUCKETS];
        if (data[0] % 3 == 1)
            st = paillier_host_load(&cx, host, in);
        else
            st = paillier_guest_decrypt(&cx, guest, in, BUCKETS, sums);
        for (int i = 0; data[0] % 3 == 2 && !st.code && i < BUCKETS; i++)
            if (sums[i] <= -(1 << 10) || sums[i] >= 1 << 10) abort();
    }
    if (st.code && !cx.err.msg[0]) abort();
    arena_rewind(cx.mem, mark);
    return 0;
}
