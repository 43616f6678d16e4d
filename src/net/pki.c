#include "net/pki_int.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/js.h"
#include "base/loop.h"
#include "base/num.h"
#include "base/secret.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DAY_S = 86400, SKEW_S = 300, PEM_MAX = 65536 };

void x509_freep(X509 **x)
{
    X509_free(*x);
    *x = NULL;
}

void x509_req_freep(X509_REQ **r)
{
    X509_REQ_free(*r);
    *r = NULL;
}

void pkey_freep(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
    *k = NULL;
}

void bio_freep(BIO **b)
{
    BIO_free_all(*b);
    *b = NULL;
}

static void ext_freep(X509_EXTENSION **e)
{
    X509_EXTENSION_free(*e);
    *e = NULL;
}

static void bn_freep(BIGNUM **b)
{
    BN_free(*b);
    *b = NULL;
}

static void exts_freep(STACK_OF(X509_EXTENSION) * *s)
{
    sk_X509_EXTENSION_pop_free(*s, X509_EXTENSION_free);
    *s = NULL;
}

static void names_freep(GENERAL_NAMES **g)
{
    GENERAL_NAMES_free(*g);
    *g = NULL;
}

const char *openssl_why(char *buf, size_t n)
{
    unsigned long e = ERR_get_error();
    const char *why = e ? ERR_reason_error_string(e) : NULL;
    snprintf(buf, n, "%s", why ? why : "unknown OpenSSL error");
    ERR_clear_error();
    return buf;
}

#define FAIL_SSL(cx, code, what) FAIL((cx), code, "%s: %s", (what), openssl_why((char[160]){0}, 160))

/* --- the party id in names --- */

static bool parse_party(const char *s, size_t n, uint32_t *out)
{
    uint64_t x;
    if (!num_parse_u64(s, n, &x) || x == 0 || x > PKI_PARTY_MAX || s[0] == '+' || s[0] == '0') return false;
    *out = (uint32_t)x;
    return true;
}

/* 0: no such text; -1: begins with prefix but no number follows; 1: *out set. */
static int party_after(const char *prefix, const ASN1_STRING *s, uint32_t *out)
{
    const char *p = (const char *)ASN1_STRING_get0_data(s);
    size_t n = (size_t)ASN1_STRING_length(s), k = strlen(prefix);
    if (n < k || memcmp(p, prefix, k) != 0) return 0;
    return parse_party(p + k, n - k, out) ? 1 : -1;
}

static status party_of_names(struct ctx *cx, const char *what, const GENERAL_NAMES *names, X509_NAME *subject,
                             uint32_t *party)
{
    uint32_t id = 0, x;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        int found = g->type == GEN_URI ? party_after("norn:party:", g->d.uniformResourceIdentifier, &x) : 0;
        if (found < 0) return FAIL(cx, AUTH, "%s: malformed party id in its URI name", what);
        if (found > 0 && id && id != x)
            return FAIL(cx, AUTH, "%s: names two parties, %u and %u", what, id, x);
        if (found > 0) id = x;
    }
    if (!id) return FAIL(cx, AUTH, "%s: no party id in it (a URI name norn:party:<id> is wanted)", what);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0) {
        const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        int found = party_after("party-", cn, &x);
        if (found < 0 || (found > 0 && x != id))
            return FAIL(cx, AUTH, "%s: its common name is not party-%u", what, id);
    }
    *party = id;
    return OK;
}

status pki_x509_party(struct ctx *cx, const char *what, X509 *x, uint32_t *party)
{
    CLEANUP(names_freep) GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    ERR_clear_error();
    return party_of_names(cx, what, names, X509_get_subject_name(x), party);
}

static status party_of_request(struct ctx *cx, const char *what, X509_REQ *r, uint32_t *party)
{
    CLEANUP(exts_freep) STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(r);
    CLEANUP(names_freep)
    GENERAL_NAMES *names = exts ? X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL) : NULL;
    ERR_clear_error();
    return party_of_names(cx, what, names, X509_REQ_get_subject_name(r), party);
}

/* --- files --- */

static status open_pem(struct ctx *cx, const char *path, BIO **out)
{
    struct bytes text;
    TRY(file_read(cx, path, PEM_MAX, &text));
    *out = BIO_new_mem_buf(text.p, (int)text.n);
    return *out ? OK : FAIL(cx, NOMEM, "read %s", path);
}

status pki_read_cert(struct ctx *cx, const char *path, X509 **out)
{
    CLEANUP(bio_freep) BIO *b = NULL;
    TRY(open_pem(cx, path, &b));
    *out = PEM_read_bio_X509(b, NULL, NULL, NULL);
    if (!*out)
        return FAIL(cx, FORMAT, "%s: no certificate in it: %s", path, openssl_why((char[160]){0}, 160));
    return OK;
}

static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

status pki_read_key(struct ctx *cx, const char *path, EVP_PKEY **out)
{
    CLEANUP(bio_freep) BIO *b = BIO_new_file(path, "r"); /* not through the arena: the key would stay there */
    if (!b) return FAIL_SSL(cx, IO, path);
    *out = PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);
    if (!*out)
        return FAIL(cx, FORMAT, "%s: no private key in it: %s", path, openssl_why((char[160]){0}, 160));
    return OK;
}

static status write_key(struct ctx *cx, const char *path, EVP_PKEY *key)
{
    if (file_exists(path)) return FAIL(cx, EXISTS, "%s is there already; it is not overwritten", path);
    CLEANUP(bio_freep) BIO *b = BIO_new(BIO_s_secmem());
    char *text;
    if (!b || !PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL))
        return FAIL_SSL(cx, NOMEM, path);
    long n = BIO_get_mem_data(b, &text);
    return file_write(cx, path, text, (size_t)n, 0600);
}

static status write_bio(struct ctx *cx, const char *path, BIO *b)
{
    char *text;
    long n = BIO_get_mem_data(b, &text);
    return file_write(cx, path, text, (size_t)n, 0644);
}

static status write_cert(struct ctx *cx, const char *path, X509 *x)
{
    CLEANUP(bio_freep) BIO *b = BIO_new(BIO_s_mem());
    if (!b || !PEM_write_bio_X509(b, x)) return FAIL_SSL(cx, NOMEM, path);
    return write_bio(cx, path, b);
}

/* --- making certificates --- */

static bool set_cn(X509_NAME *name, const char *cn)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1;
}

static bool add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX v;
    X509V3_set_ctx_nodb(&v);
    X509V3_set_ctx(&v, issuer, x, NULL, NULL, 0);
    CLEANUP(ext_freep) X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v, nid, value);
    return e && X509_add_ext(x, e, -1) == 1;
}

static bool set_serial(X509 *x)
{
    CLEANUP(bn_freep) BIGNUM *b = BN_new(); /* 159 random bits: positive in 20 bytes */
    return b && BN_rand(b, 159, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
           BN_to_ASN1_INTEGER(b, X509_get_serialNumber(x));
}

static bool set_dates(X509 *x, int64_t not_before, int64_t not_after)
{
    return ASN1_TIME_set(X509_getm_notBefore(x), not_before) &&
           ASN1_TIME_set(X509_getm_notAfter(x), not_after);
}

static const EVP_MD *digest_for(EVP_PKEY *key)
{
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

static const char *join(struct ctx *cx, const char *dir, const char *name)
{
    return arena_printf(cx->mem, "%s/%s", dir, name);
}

status pki_ca_init(struct ctx *cx, const char *dir, const char *name, int days)
{
    if (!name[0] || strlen(name) > 64) return FAIL(cx, ARG, "the CA's name must have 1 to 64 bytes");
    if (days < 1 || days > 36500) return FAIL(cx, ARG, "%d days: want 1 to 36500", days);
    TRY(dir_make(cx, dir, 0700));
    const char *key_file = join(cx, dir, "ca.key"), *crt_file = join(cx, dir, "ca.crt");
    if (!key_file || !crt_file) return FAIL(cx, NOMEM, "file names in %s", dir);
    if (file_exists(crt_file))
        return FAIL(cx, EXISTS, "%s is there already; it is not overwritten", crt_file);

    CLEANUP(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(x509_freep) X509 *x = X509_new();
    int64_t now = wall_ms() / 1000;
    bool ok = key && x && X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
              set_dates(x, now - SKEW_S, now + (int64_t)days * DAY_S) &&
              set_cn(X509_get_subject_name(x), name) && X509_set_issuer_name(x, X509_get_subject_name(x)) &&
              X509_set_pubkey(x, key) && add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
              add_ext(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
              add_ext(x, x, NID_subject_key_identifier, "hash") && X509_sign(x, key, digest_for(key)) > 0;
    if (!ok) return FAIL_SSL(cx, INTERNAL, "new CA certificate");
    TRY(write_key(cx, key_file, key));
    return write_cert(cx, crt_file, x);
}

status pki_site_request(struct ctx *cx, uint32_t party, const char *key_file, const char *csr_file)
{
    if (!party || party > PKI_PARTY_MAX) return FAIL(cx, ARG, "party %u: want 1 to %d", party, PKI_PARTY_MAX);
    if (file_exists(key_file))
        return FAIL(cx, EXISTS, "%s is there already; it is not overwritten", key_file);
    char cn[32], san[48];
    snprintf(cn, sizeof cn, "party-%u", party);
    snprintf(san, sizeof san, "URI:norn:party:%u", party);
    CLEANUP(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(x509_req_freep) X509_REQ *r = X509_REQ_new();
    CLEANUP(exts_freep) STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
    CLEANUP(ext_freep) X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    bool ok = key && r && exts && e && sk_X509_EXTENSION_push(exts, e) > 0;
    if (ok) e = NULL; /* the stack's now */
    ok = ok && X509_REQ_set_version(r, X509_REQ_VERSION_1) && set_cn(X509_REQ_get_subject_name(r), cn) &&
         X509_REQ_add_extensions(r, exts) && X509_REQ_set_pubkey(r, key) &&
         X509_REQ_sign(r, key, digest_for(key)) > 0;
    if (!ok) return FAIL_SSL(cx, INTERNAL, "new certificate request");
    CLEANUP(bio_freep) BIO *b = BIO_new(BIO_s_mem());
    if (!b || !PEM_write_bio_X509_REQ(b, r)) return FAIL_SSL(cx, NOMEM, csr_file);
    TRY(write_key(cx, key_file, key));
    return write_bio(cx, csr_file, b);
}

static status read_request(struct ctx *cx, const char *path, uint32_t party, X509_REQ **out)
{
    CLEANUP(bio_freep) BIO *b = NULL;
    TRY(open_pem(cx, path, &b));
    CLEANUP(x509_req_freep) X509_REQ *r = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);
    if (!r)
        return FAIL(cx, FORMAT, "%s: no certificate request in it: %s", path,
                    openssl_why((char[160]){0}, 160));
    EVP_PKEY *key = X509_REQ_get0_pubkey(r);
    if (!key || X509_REQ_verify(r, key) != 1) {
        ERR_clear_error();
        return FAIL(cx, AUTH, "%s: its self-signature is wrong", path);
    }
    if (EVP_PKEY_get_security_bits(key) < 112)
        return FAIL(cx, AUTH, "%s: its key has %d bits of security, want 112", path,
                    EVP_PKEY_get_security_bits(key));
    uint32_t asked;
    TRY(party_of_request(cx, path, r, &asked));
    if (asked != party) return FAIL(cx, AUTH, "%s asks for party %u, not %u", path, asked, party);
    *out = TAKE(r);
    return OK;
}

static status fingerprint(struct ctx *cx, X509 *x, const char **out)
{
    uint8_t d[32];
    unsigned n;
    char *hex = NEW(cx, char, 65);
    if (!hex || !X509_digest(x, EVP_sha256(), d, &n)) return FAIL(cx, NOMEM, "fingerprint of a certificate");
    for (unsigned i = 0; i < 32; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", d[i]);
    *out = hex;
    return OK;
}

static status note_issued(struct ctx *cx, const char *dir, uint32_t party, int64_t not_after, X509 *x)
{
    const char *path = join(cx, dir, "issued.jsonl"), *print, *text;
    TRY(fingerprint(cx, x, &print));
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:I,s:I,s:I,s:s}", "party", (json_int_t)party, "issued_ms", (json_int_t)wall_ms(),
                          "not_after_ms", (json_int_t)not_after * 1000, "fingerprint", print);
    if (!j || !path) return FAIL(cx, NOMEM, "note in %s", dir);
    TRY(js_text(cx, j, &text));
    const char *line = arena_printf(cx->mem, "%s\n", text);
    if (!line) return FAIL(cx, NOMEM, "note in %s", dir);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return FAIL(cx, IO, "open %s: %m", path);
    TRY_IN(cx, fd_write_all(cx, fd, line, strlen(line)), "%s", path);
    return fsync(fd) == 0 ? OK : FAIL(cx, IO, "fsync %s: %m", path);
}

status pki_ca_sign_dates(struct ctx *cx, const char *dir, const char *csr_file, uint32_t party,
                         int64_t not_before, int64_t not_after, const char *crt_file)
{
    CLEANUP(x509_req_freep) X509_REQ *r = NULL;
    CLEANUP(x509_freep) X509 *ca = NULL;
    CLEANUP(pkey_freep) EVP_PKEY *ca_key = NULL;
    TRY(read_request(cx, csr_file, party, &r));
    TRY_IN(cx, pki_read_cert(cx, join(cx, dir, "ca.crt"), &ca), "the CA");
    TRY_IN(cx, pki_read_key(cx, join(cx, dir, "ca.key"), &ca_key), "the CA");

    /* Nothing of the request but its key goes into the certificate. */
    char cn[32], san[48];
    snprintf(cn, sizeof cn, "party-%u", party);
    snprintf(san, sizeof san, "URI:norn:party:%u", party);
    CLEANUP(x509_freep) X509 *x = X509_new();
    bool ok = x && X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
              set_dates(x, not_before, not_after) && set_cn(X509_get_subject_name(x), cn) &&
              X509_set_issuer_name(x, X509_get_subject_name(ca)) &&
              X509_set_pubkey(x, X509_REQ_get0_pubkey(r)) &&
              add_ext(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
              add_ext(x, ca, NID_key_usage, "critical,digitalSignature") &&
              add_ext(x, ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
              add_ext(x, ca, NID_subject_key_identifier, "hash") &&
              add_ext(x, ca, NID_authority_key_identifier, "keyid") &&
              add_ext(x, ca, NID_subject_alt_name, san) && X509_sign(x, ca_key, digest_for(ca_key)) > 0;
    if (!ok) return FAIL_SSL(cx, INTERNAL, "sign the certificate");
    TRY(note_issued(cx, dir, party, not_after, x)); /* first: an unlisted certificate must not exist */
    return write_cert(cx, crt_file, x);
}

status pki_ca_sign(struct ctx *cx, const char *dir, const char *csr_file, uint32_t party, int days,
                   const char *crt_file)
{
    if (days < 1 || days > PKI_MAX_DAYS) return FAIL(cx, ARG, "%d days: want 1 to %d", days, PKI_MAX_DAYS);
    int64_t now = wall_ms() / 1000;
    return pki_ca_sign_dates(cx, dir, csr_file, party, now - SKEW_S, now + (int64_t)days * DAY_S, crt_file);
}

/* --- looking at one --- */

static status time_ms(struct ctx *cx, const char *path, const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(t, &tm)) return FAIL(cx, FORMAT, "%s: malformed date", path);
    *out = (int64_t)timegm(&tm) * 1000;
    return OK;
}

static status name_text(struct ctx *cx, const X509_NAME *name, const char **out)
{
    CLEANUP(bio_freep) BIO *b = BIO_new(BIO_s_mem());
    if (!b || X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253) < 0) return FAIL_SSL(cx, NOMEM, "name");
    char *text;
    long n = BIO_get_mem_data(b, &text);
    *out = arena_strndup(cx->mem, text, (size_t)n);
    return *out ? OK : FAIL(cx, NOMEM, "name of %ld bytes", n);
}

status pki_cert_info(struct ctx *cx, const char *crt_file, struct cert_info *out)
{
    CLEANUP(x509_freep) X509 *x = NULL;
    struct cert_info info = {0};
    TRY(pki_read_cert(cx, crt_file, &x));
    TRY(pki_x509_party(cx, crt_file, x, &info.party));
    TRY(time_ms(cx, crt_file, X509_get0_notBefore(x), &info.not_before_ms));
    TRY(time_ms(cx, crt_file, X509_get0_notAfter(x), &info.not_after_ms));
    TRY(name_text(cx, X509_get_subject_name(x), &info.subject));
    TRY(name_text(cx, X509_get_issuer_name(x), &info.issuer));
    TRY(fingerprint(cx, x, &info.fingerprint));
    *out = info;
    return OK;
}

status pki_cert_until(struct ctx *cx, const char *crt_file, int64_t *not_after_ms)
{
    CLEANUP(x509_freep) X509 *x = NULL;
    TRY(pki_read_cert(cx, crt_file, &x));
    return time_ms(cx, crt_file, X509_get0_notAfter(x), not_after_ms);
}
