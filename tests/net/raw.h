/* raw.h - a TLS client that is no norn site: strangers and hostile peers. */
#pragma once
#include "world.h"
#include "net/openssl.h"

struct raw {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    char why[200];
    size_t bytes; /* that came after the handshake */
    bool done, connected;
};
/* cert NULL: none; max_version 0: any. */
void raw_start(struct raw *r, uint16_t port, const char *cert, const char *key, int max_version);
bool raw_step(void *arg); /* one step of handshake or reading; true: the other end has closed */
void raw_end(struct raw *r);
