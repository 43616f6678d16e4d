/* pki_int.h - what pki.c and tls.c share: the party id of a certificate, OpenSSL's objects held by CLEANUP.
 */
#pragma once
#include "net/pki.h"
#include "net/openssl.h"

enum { PKI_MAX_DAYS = 825, PKI_PARTY_MAX = 0x7fffffff };

void x509_freep(X509 **x);
void x509_req_freep(X509_REQ **r);
void pkey_freep(EVP_PKEY **k);
void bio_freep(BIO **b);

/* OpenSSL's own text of its oldest queued error ("no start line"), and the queue is emptied. */
const char *openssl_why(char *buf, size_t n);

/* The id in the URI SAN "norn:party:<id>"; the CN must not name another. AUTH otherwise. what: for the
 * message. */
status pki_x509_party(struct ctx *cx, const char *what, X509 *x, uint32_t *party);
status pki_read_cert(struct ctx *cx, const char *path, X509 **out);
status pki_read_key(struct ctx *cx, const char *path, EVP_PKEY **out);

/* As pki_ca_sign with the two dates (seconds since 1970) free: tests make expired certificates by it. */
status pki_ca_sign_dates(struct ctx *cx, const char *dir, const char *csr_file, uint32_t party,
                         int64_t not_before, int64_t not_after, const char *crt_file);
