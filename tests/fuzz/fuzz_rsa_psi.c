/* A public key of RSA intersection. Law: what is read is written back the same. */
#include "crypto/rsa_psi.h"
#include "base/arena.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctx cx = {.mem = arena_new(0)};
    CLEANUP(buf_free) struct buf back = {0};
    const struct rsa_public *pub = NULL;
    status st = rsa_public_read(&cx, (struct bytes){data, size}, &pub);
    if (st.code && (pub || !cx.err.msg[0])) abort();
    if (!st.code) rsa_public_write(pub, &back);
    if (!st.code && (back.n != size || memcmp(back.p, data, size) != 0)) abort();
    arena_free(cx.mem);
    return 0;
}
