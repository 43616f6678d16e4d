/* Keys, requests, the small CA. */
#include "test.h"
#include "world.h"
#include "base/file.h"
#include "net/pki_int.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void life(struct ctx *cx)
{
    struct world w;
    struct stat st;
    struct cert_info info;
    struct bytes text;
    world_init(&w, cx); /* makes the CA */
    const char *ca = world_file(&w, "ca"), *key = world_file(&w, "k"), *csr = world_file(&w, "r"),
               *crt = world_file(&w, "c");
    CHECK_ERR(pki_ca_init(cx, ca, "again", 30), EXISTS);
    CHECK(stat(world_file(&w, "ca/ca.key"), &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(stat(ca, &st) == 0 && (st.st_mode & 0777) == 0700);
    CHECK_OK(cx, pki_site_request(cx, 9999, key, csr));
    CHECK(stat(key, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_ERR(pki_site_request(cx, 9999, key, csr), EXISTS);
    CHECK_ERR(pki_ca_sign(cx, ca, csr, 10000, 30, crt), AUTH);
    CHECK(strstr(cx->err.msg, "asks for party 9999, not 10000"));
    CHECK(!file_exists(crt));
    CHECK_ERR(pki_ca_sign(cx, ca, csr, 9999, 826, crt), ARG);
    CHECK_ERR(pki_ca_sign(cx, ca, csr, 9999, 0, crt), ARG);
    CHECK_OK(cx, pki_ca_sign(cx, ca, csr, 9999, 30, crt));
    CHECK_OK(cx, pki_cert_info(cx, crt, &info));
    CHECK(info.party == 9999 && strcmp(info.subject, "CN=party-9999") == 0);
    CHECK(strcmp(info.issuer, "CN=test federation") == 0 && strlen(info.fingerprint) == 64);
    CHECK(info.not_after_ms - wall_ms() > 29 * INT64_C(86400000) && info.not_before_ms < wall_ms());
    CHECK_OK(cx, file_read(cx, world_file(&w, "ca/issued.jsonl"), 4096, &text));
    CHECK(strstr((const char *)text.p, info.fingerprint) && strstr((const char *)text.p, "9999"));
    CHECK_ERR(pki_cert_info(cx, world_file(&w, "ca/ca.crt"), &info), AUTH); /* no party */
    CHECK_ERR(pki_cert_info(cx, csr, &info), FORMAT);
    CHECK_ERR(pki_cert_info(cx, world_file(&w, "absent"), &info), NOTFOUND);
    CHECK_ERR(pki_ca_sign(cx, ca, crt, 9999, 30, crt), FORMAT);
    CHECK_ERR(pki_site_request(cx, 0, world_file(&w, "k0"), csr), ARG);
    world_free(&w);
}

/* One byte of the request changed: its self-signature tells, or it is no request any more. */
static void altered_request(struct ctx *cx)
{
    struct world w;
    world_init(&w, cx);
    const char *key = world_file(&w, "k"), *csr = world_file(&w, "r"), *crt = world_file(&w, "c");
    struct bytes text;
    CHECK_OK(cx, pki_site_request(cx, 9999, key, csr));
    CHECK_OK(cx, file_read(cx, csr, 65536, &text));
    for (size_t i = 40; i + 40 < text.n; i += 11) {
        char *p = arena_strndup(cx->mem, (const char *)text.p, text.n);
        p[i] = p[i] == 'A' ? 'B' : 'A';
        if (p[i] == (char)text.p[i] || text.p[i] == '\n') continue;
        CHECK_OK(cx, file_write(cx, csr, p, text.n, 0600));
        status st = pki_ca_sign(cx, world_file(&w, "ca"), csr, 9999, 30, crt);
        CHECK(st.code == ERR_AUTH || st.code == ERR_FORMAT);
        CHECK(!file_exists(crt));
    }
    world_free(&w);
}

TEST_MAIN(T(life), T(altered_request))
