/* pki.h - keys, certificate requests and the federation's small CA (`norn ca`), by OpenSSL.
 *
 * Keys: ECDSA P-256 (or Ed25519 where asked). Site certificates: CN "party-<id>", URI SAN "norn:party:<id>", both TLS
 * purposes, 825 days at most. Private keys are written 0600 and never leave their folder. */
#pragma once
#include "base/ctx.h"

/* dir/ca.key, dir/ca.crt; EXISTS when there. name: shown in the certificate. */
status pki_ca_init(struct ctx *cx, const char *dir, const char *name, int days);
/* Signs the request of a site: csr file in, certificate file out. AUTH: the request asks for another party id than
 * `party`, or its self-signature is wrong. Keeps a list of what was signed in dir/issued.jsonl. */
status pki_ca_sign(struct ctx *cx, const char *dir, const char *csr_file, uint32_t party, int days,
                   const char *crt_file);
/* key_file (0600) and csr_file for a party. EXISTS when the key is there. */
status pki_site_request(struct ctx *cx, uint32_t party, const char *key_file, const char *csr_file);
struct cert_info {
    uint32_t party;
    int64_t not_before_ms, not_after_ms;
    const char *subject, *issuer, *fingerprint; /* SHA-256, hex, in cx->mem */
};
/* FORMAT; AUTH when it has no party id. */
status pki_cert_info(struct ctx *cx, const char *crt_file, struct cert_info *out);
status pki_cert_until(struct ctx *cx, const char *crt_file,
                      int64_t *not_after_ms); /* of a CA's, too. FORMAT */
