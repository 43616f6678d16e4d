#include "raw.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

bool raw_step(void *arg)
{
    struct raw *r = arg;
    char buf[4096];
    if (r->done) return true;
    int k = r->connected ? SSL_read(r->ssl, buf, sizeof buf) : SSL_connect(r->ssl);
    if (k > 0 && r->connected) r->bytes += (size_t)k;
    if (k > 0) r->connected = true;
    if (k > 0) return false;
    int error = SSL_get_error(r->ssl, k);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return false;
    ERR_error_string_n(ERR_peek_error(), r->why, sizeof r->why);
    ERR_clear_error();
    return r->done = true;
}

void raw_start(struct raw *r, uint16_t port, const char *cert, const char *key, int max_version)
{
    *r = (struct raw){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    if (connect(r->fd, (struct sockaddr *)&a, sizeof a) != 0) abort();
    fcntl(r->fd, F_SETFL, O_NONBLOCK);
    r->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(r->ctx, SSL_VERIFY_NONE, NULL);
    if (max_version) SSL_CTX_set_max_proto_version(r->ctx, max_version);
    if (cert) {
        if (SSL_CTX_use_certificate_file(r->ctx, cert, SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_use_PrivateKey_file(r->ctx, key, SSL_FILETYPE_PEM) != 1)
            abort();
    }
    r->ssl = SSL_new(r->ctx);
    SSL_set_fd(r->ssl, r->fd);
    signal(SIGPIPE, SIG_IGN);
}

void raw_end(struct raw *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->ctx);
    close(r->fd);
}
