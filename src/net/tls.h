/* tls.h - TLS 1.3 between two sites over a non-blocking socket, or over whatever else carries bytes (circuit.c),
 * both ends authenticated by certificate.
 *
 * The certificate's party id must be the one expected: the dialler knows whom it dials; the acceptor asks
 * `allow`. A stranger gets a TLS alert and nothing else. AES-GCM or ChaCha20-Poly1305, no tickets, no early
 * data, no renegotiation; keys are renewed every TLS_REKEY_BYTES. Encrypted records are gathered into one
 * buffer and sent in pieces of up to TLS_OUT_BYTES; reading takes up to 128 KiB from the socket at once.
 * Everything runs on one thread. */
#pragma once
#include "base/ctx.h"
#include <sys/types.h>

enum { TLS_OUT_BYTES = 256 * 1024, TLS_RECORD = 16384 };
#define TLS_REKEY_BYTES (UINT64_C(1) << 36) /* 2^22 records; AES-GCM is good for 2^24.5 (RFC 8446, 5.5) */

struct tls_site; /* this site's key, certificate and the federation's CA */
/* AUTH naming the file: the certificate has expired, is not yet valid, is not of this party, not signed by
 * the CA, or does not fit the key. FORMAT, IO. */
status tls_site_new(struct ctx *cx, uint32_t party, const char *key_file, const char *cert_file,
                    const char *ca_file, struct tls_site **out);
void tls_site_free(struct tls_site *s); /* connections made from it go on */
void tls_site_freep(struct tls_site **s);

struct tls;
struct tls_peer {
    uint32_t expect;                          /* the party dialled; 0: we accept, and allow decides */
    bool (*allow)(void *arg, uint32_t party); /* acceptor only */
    void *arg;
};
/* What carries the records. Both as recv(2) and send(2) of a non-blocking stream socket: -1 with errno EAGAIN when
 * nothing is there or nothing fits, recv 0 at the end. */
struct tls_wire {
    ssize_t (*recv)(void *arg, void *p, size_t n);
    ssize_t (*send)(void *arg, const void *p, size_t n);
    void *arg;
};
/* wire NULL: the socket fd, which stays the caller's and must be non-blocking. LIMIT: out of memory. */
status tls_new(struct ctx *cx, struct tls_site *s, int fd, const struct tls_wire *wire,
               const struct tls_peer *peer, struct tls **out);
void tls_free(struct tls *t);
void tls_freep(struct tls **t);

/* AUTH: a certificate was refused, by us or by the other end, saying why. PROTO: not TLS 1.3. IO: cut. */
status tls_handshake(struct ctx *cx, struct tls *t, bool *done);
uint32_t tls_party(const struct tls *t); /* of the peer's certificate, after the handshake */
/* *got = 0: nothing there now. IO: closed or cut. AUTH: the acceptor has refused our certificate. */
status tls_read(struct ctx *cx, struct tls *t, void *p, size_t n, size_t *got);
/* Encrypts as much as the buffer takes; *took < n: call tls_flush, and again when the socket is writable. */
status tls_write(struct ctx *cx, struct tls *t, const void *p, size_t n, size_t *took);
/* Bytes that tls_write takes before it is full: whole records only. */
size_t tls_room(const struct tls *t);
/* Sends what is encrypted; *empty: nothing is left. */
status tls_flush(struct ctx *cx, struct tls *t, bool *empty);
bool tls_unsent(const struct tls *t);
void tls_goodbye(struct tls *t,
                 bool clean); /* close_notify (not clean: the alert that is due), as far as it goes */
void tls_wire_bytes(const struct tls *t, uint64_t *in, uint64_t *out);
/* Encrypts less ahead, 2 records at least: on a slow link what is encrypted is what control frames wait behind. */
void tls_set_out_limit(struct tls *t, size_t bytes);
void tls_set_rekey(struct tls *t, uint64_t bytes); /* tests */
