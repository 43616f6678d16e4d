#include "net/tls.h"
#include "net/pki_int.h"
#include "base/arena.h"
#include "base/bytes.h"
#include "base/loop.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { READ_BYTES = 128 * 1024, RESERVE = 64 * 1024, RECORD_COST = TLS_RECORD + 256, MAX_CHAIN = 4 };

struct tls_site {
    struct arena *mem;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    size_t refs; /* its owner's, and one of each connection */
};

struct tls {
    struct tls_site *site;
    struct arena *mem;
    SSL *ssl;
    int fd;
    struct tls_wire wire;
    struct tls_peer peer;
    uint32_t party; /* of the verified certificate */
    char why[300];  /* what the verification found */
    bool stands;    /* the handshake is done */
    struct buf out; /* encrypted, from `sent` on not yet with the kernel */
    size_t sent, out_limit;
    uint64_t wire_in, wire_out;
    uint64_t rekey_bytes, until_rekey;
};

/* --- the BIO: reads from the wire, writes into t->out --- */

static ssize_t socket_recv(void *arg, void *p, size_t n)
{
    const struct tls *t = arg;
    return recv(t->fd, p, n, 0);
}

static ssize_t socket_send(void *arg, const void *p, size_t n)
{
    const struct tls *t = arg;
    return send(t->fd, p, n, MSG_NOSIGNAL);
}

static int bio_read(BIO *b, char *p, size_t n, size_t *got)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t k;
    do
        k = t->wire.recv(t->wire.arg, p, n);
    while (k < 0 && errno == EINTR);
    if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(b);
    if (k <= 0) return 0;
    t->wire_in += (uint64_t)k;
    *got = (size_t)k;
    return 1;
}

static int bio_write(BIO *b, const char *p, size_t n, size_t *took)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (t->out.n + n > t->out.max) {
        BIO_set_retry_write(b);
        return 0;
    }
    buf_put(&t->out, p, n);
    if (t->out.bad) return 0;
    *took = n;
    return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *p)
{
    (void)b, (void)num, (void)p;
    return cmd == BIO_CTRL_FLUSH;
}

/* --- verification --- */

static int ex_index(void)
{
    return SSL_get_ex_data_X509_STORE_CTX_idx();
}

static int refuse_cert(struct tls *t, X509_STORE_CTX *store, int error)
{
    X509 *x = X509_STORE_CTX_get_current_cert(store);
    char name[128] = "";
    if (x) X509_NAME_oneline(X509_get_subject_name(x), name, sizeof name);
    if (!t->why[0])
        snprintf(t->why, sizeof t->why, "certificate of %s: %s", name[0] ? name + 1 : "the peer",
                 X509_verify_cert_error_string(error));
    X509_STORE_CTX_set_error(store, error);
    return 0;
}

static int verify(int fine, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, ex_index());
    struct tls *t = SSL_get_app_data(ssl);
    if (!fine) return refuse_cert(t, store, X509_STORE_CTX_get_error(store));
    if (X509_STORE_CTX_get_error_depth(store) > 0) return 1;

    struct ctx quiet = {.mem = t->mem};
    uint32_t party;
    status st =
        pki_x509_party(&quiet, "the peer's certificate", X509_STORE_CTX_get_current_cert(store), &party);
    if (st.code)
        snprintf(t->why, sizeof t->why, "%.280s", quiet.err.msg);
    else if (t->peer.expect && party != t->peer.expect)
        snprintf(t->why, sizeof t->why, "the peer's certificate is of party %u, expected party %u", party,
                 t->peer.expect);
    else if (!t->peer.expect && !t->peer.allow(t->peer.arg, party))
        snprintf(t->why, sizeof t->why, "party %u is not among this site's peers", party);
    else {
        t->party = party;
        return 1;
    }
    return refuse_cert(t, store, X509_V_ERR_APPLICATION_VERIFICATION);
}

/* --- this site's side --- */

static bool ctx_options(SSL_CTX *c)
{
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify);
    SSL_CTX_set_verify_depth(c, MAX_CHAIN);
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_default_read_buffer_len(c, READ_BYTES);
    return SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(c, 0) &&
           SSL_CTX_set_ciphersuites(
               c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") &&
           SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384");
}

static bool make_method(struct tls_site *s)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "norn link");
    s->method = m;
    return m && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_write_ex(m, bio_write) &&
           BIO_meth_set_ctrl(m, bio_ctrl);
}

static void store_freep(X509_STORE_CTX **s)
{
    X509_STORE_CTX_free(*s);
    *s = NULL;
}

/* Our own certificate, with the eyes of a peer: chain, dates, purpose, party. */
static status check_own(struct ctx *cx, SSL_CTX *c, const char *cert_file, uint32_t party)
{
    X509 *x = SSL_CTX_get0_certificate(c);
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(c, &chain);
    CLEANUP(store_freep) X509_STORE_CTX *store = X509_STORE_CTX_new();
    if (!store || !X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(c), x, chain))
        return FAIL(cx, NOMEM, "check %s", cert_file);
    const char *purposes[] = {"ssl_server", "ssl_client"};
    for (size_t i = 0; i < LEN(purposes); i++) {
        if (i) {
            X509_STORE_CTX_cleanup(store);
            if (!X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(c), x, chain))
                return FAIL(cx, NOMEM, "check %s", cert_file);
        }
        X509_STORE_CTX_set_default(store, purposes[i]);
        if (X509_verify_cert(store) == 1) continue;
        int error = X509_STORE_CTX_get_error(store);
        ERR_clear_error();
        return FAIL(cx, AUTH, "%s: %s", cert_file, X509_verify_cert_error_string(error));
    }
    uint32_t of;
    TRY(pki_x509_party(cx, cert_file, x, &of));
    if (of != party) return FAIL(cx, AUTH, "%s is of party %u; this site is party %u", cert_file, of, party);
    return OK;
}

static status load(struct ctx *cx, SSL_CTX *c, uint32_t party, const char *key_file, const char *cert_file,
                   const char *ca_file)
{
    CLEANUP(x509_freep) X509 *probe = NULL;
    CLEANUP(x509_freep) X509 *ca = NULL;
    CLEANUP(pkey_freep) EVP_PKEY *key = NULL;
    TRY(pki_read_cert(cx, cert_file, &probe)); /* for the better message */
    TRY(pki_read_cert(cx, ca_file, &ca));
    TRY(pki_read_key(cx, key_file, &key));
    char why[160];
    if (SSL_CTX_use_certificate_chain_file(c, cert_file) != 1)
        return FAIL(cx, FORMAT, "%s: %s", cert_file, openssl_why(why, sizeof why));
    if (SSL_CTX_load_verify_locations(c, ca_file, NULL) != 1)
        return FAIL(cx, FORMAT, "%s: %s", ca_file, openssl_why(why, sizeof why));
    if (SSL_CTX_use_PrivateKey(c, key) != 1 || SSL_CTX_check_private_key(c) != 1)
        return FAIL(cx, AUTH, "%s does not fit %s: %s", key_file, cert_file, openssl_why(why, sizeof why));
    return check_own(cx, c, cert_file, party);
}

status tls_site_new(struct ctx *cx, uint32_t party, const char *key_file, const char *cert_file,
                    const char *ca_file, struct tls_site **out)
{
    struct arena *mem = arena_new(0);
    CLEANUP(tls_site_freep)
    struct tls_site *s = mem ? arena_alloc(mem, sizeof *s, _Alignof(struct tls_site)) : NULL;
    if (!s) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "TLS context");
    }
    *s = (struct tls_site){.mem = mem, .ctx = SSL_CTX_new(TLS_method()), .refs = 1};
    if (!s->ctx || !ctx_options(s->ctx) || !make_method(s))
        return FAIL(cx, INTERNAL, "TLS context: %s", openssl_why((char[160]){0}, 160));
    TRY(load(cx, s->ctx, party, key_file, cert_file, ca_file));
    *out = TAKE(s);
    return OK;
}

void tls_site_free(struct tls_site *s)
{
    if (!s || --s->refs) return;
    SSL_CTX_free(s->ctx);
    BIO_meth_free(s->method);
    arena_free(s->mem);
}

void tls_site_freep(struct tls_site **s)
{
    tls_site_free(*s);
    *s = NULL;
}

/* --- one connection --- */

status tls_new(struct ctx *cx, struct tls_site *s, int fd, const struct tls_wire *wire,
               const struct tls_peer *peer, struct tls **out)
{
    struct arena *mem = arena_new(0);
    CLEANUP(tls_freep) struct tls *t = mem ? arena_alloc(mem, sizeof *t, _Alignof(struct tls)) : NULL;
    if (!t) {
        arena_free(mem);
        return FAIL(cx, NOMEM, "TLS connection");
    }
    *t = (struct tls){.mem = mem, .fd = fd, .peer = *peer, .out = {.max = TLS_OUT_BYTES + RESERVE}};
    t->wire = wire ? *wire : (struct tls_wire){socket_recv, socket_send, t};
    t->site = s;
    s->refs++;
    t->out_limit = TLS_OUT_BYTES;
    tls_set_rekey(t, TLS_REKEY_BYTES);
    t->ssl = SSL_new(s->ctx);
    BIO *b = t->ssl ? BIO_new(s->method) : NULL;
    if (!b || !SSL_set_app_data(t->ssl, t)) {
        BIO_free(b);
        return FAIL(cx, NOMEM, "TLS connection: %s", openssl_why((char[160]){0}, 160));
    }
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    if (peer->expect)
        SSL_set_connect_state(t->ssl);
    else
        SSL_set_accept_state(t->ssl);
    *out = TAKE(t);
    return OK;
}

void tls_free(struct tls *t)
{
    if (!t) return;
    SSL_free(t->ssl);
    buf_free(&t->out);
    tls_site_free(t->site);
    arena_free(t->mem);
}

void tls_freep(struct tls **t)
{
    tls_free(*t);
    *t = NULL;
}

/* The story of a failed OpenSSL call. */
static status broken(struct ctx *cx, struct tls *t, int error)
{
    int io = errno;
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);
    char why[160];
    if (t->why[0] && !t->party) {
        ERR_clear_error();
        return FAIL(cx, AUTH, "%s", t->why);
    }
    if (error == SSL_ERROR_ZERO_RETURN) return FAIL(cx, IO, "the peer closed the connection");
    if (error == SSL_ERROR_SYSCALL || (e && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        ERR_clear_error();
        if (io && error == SSL_ERROR_SYSCALL) {
            errno = io;
            return FAIL(cx, IO, "the connection was cut: %m");
        }
        return FAIL(cx, IO, "the connection was cut");
    }
    if (e && reason > SSL_AD_REASON_OFFSET) {
        int alert = reason - SSL_AD_REASON_OFFSET;
        ERR_clear_error();
        bool about_cert = (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
                          alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
                          alert == SSL_AD_CERTIFICATE_REQUIRED || alert == SSL_AD_HANDSHAKE_FAILURE;
        if (about_cert)
            return FAIL(cx, AUTH, "the peer refused our certificate: %s%s", SSL_alert_desc_string_long(alert),
                        alert == SSL_AD_HANDSHAKE_FAILURE ? " (is this party among its peers?)" : "");
        return FAIL(cx, PROTO, "TLS alert from the peer: %s", SSL_alert_desc_string_long(alert));
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        ERR_clear_error();
        return FAIL(cx, AUTH, "the peer shows no certificate");
    }
    const char *text = openssl_why(why, sizeof why);
    if (t->stands) /* the peer is known; what does not decrypt is not as it has sent it */
        return FAIL(cx, PROTO, "TLS: a record was altered, left out, repeated or moved on its way (%s)",
                    text);
    return FAIL(cx, PROTO, "TLS: %s", text);
}

status tls_handshake(struct ctx *cx, struct tls *t, bool *done)
{
    *done = false;
    ERR_clear_error();
    errno = 0;
    int k = SSL_do_handshake(t->ssl);
    int error = k == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, k);
    bool waits = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
    status st = k == 1 || waits ? OK : broken(cx, t, error);
    struct ctx quiet = {.mem = cx->mem};
    bool empty;
    status sent = tls_flush(st.code ? &quiet : cx, t, &empty); /* an alert goes out too */
    TRY(st);
    TRY(sent);
    *done = t->stands = k == 1;
    return OK;
}

uint32_t tls_party(const struct tls *t)
{
    return t->party;
}

status tls_read(struct ctx *cx, struct tls *t, void *p, size_t n, size_t *got)
{
    *got = 0;
    ERR_clear_error();
    errno = 0;
    int k = SSL_read_ex(t->ssl, p, n, got);
    if (k == 1) return OK;
    *got = 0;
    int error = SSL_get_error(t->ssl, k);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return OK;
    return broken(cx, t, error);
}

size_t tls_room(const struct tls *t)
{
    size_t left = t->out.n < t->out_limit ? t->out_limit - t->out.n : 0;
    return left / RECORD_COST * TLS_RECORD;
}

status tls_write(struct ctx *cx, struct tls *t, const void *p, size_t n, size_t *took)
{
    *took = 0;
    while (*took < n && tls_room(t)) {
        size_t piece = n - *took < TLS_RECORD ? n - *took : TLS_RECORD, k;
        if (t->until_rekey < piece) {
            if (!SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED)) return broken(cx, t, SSL_ERROR_SSL);
            t->until_rekey = t->rekey_bytes;
        }
        ERR_clear_error();
        errno = 0;
        int done = SSL_write_ex(t->ssl, (const uint8_t *)p + *took, piece, &k);
        if (done != 1) return broken(cx, t, SSL_get_error(t->ssl, done));
        *took += k;
        t->until_rekey -= k < t->until_rekey ? k : t->until_rekey;
    }
    return OK;
}

bool tls_unsent(const struct tls *t)
{
    return t->sent < t->out.n;
}

status tls_flush(struct ctx *cx, struct tls *t, bool *empty)
{
    *empty = false;
    while (tls_unsent(t)) {
        ssize_t k = t->wire.send(t->wire.arg, t->out.p + t->sent, t->out.n - t->sent);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return OK;
        if (k < 0) return FAIL(cx, IO, "the connection was cut: %m");
        t->sent += (size_t)k;
        t->wire_out += (uint64_t)k;
    }
    buf_reset(&t->out);
    t->sent = 0;
    *empty = true;
    return OK;
}

void tls_goodbye(struct tls *t, bool clean)
{
    struct ctx quiet = {.mem = t->mem};
    bool empty;
    ERR_clear_error();
    if (clean && SSL_is_init_finished(t->ssl)) SSL_shutdown(t->ssl);
    ERR_clear_error();
    status st = tls_flush(&quiet, t, &empty);
    (void)st;
}

void tls_wire_bytes(const struct tls *t, uint64_t *in, uint64_t *out)
{
    *in = t->wire_in;
    *out = t->wire_out;
}

void tls_set_out_limit(struct tls *t, size_t bytes)
{
    if (bytes < (size_t)2 * RECORD_COST) bytes = (size_t)2 * RECORD_COST;
    t->out_limit = bytes < TLS_OUT_BYTES ? bytes : TLS_OUT_BYTES;
}

void tls_set_rekey(struct tls *t, uint64_t bytes)
{
    t->rekey_bytes = t->until_rekey = bytes;
}
