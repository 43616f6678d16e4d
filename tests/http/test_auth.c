/* Signatures against what fate-client 1.11.3 computes, the time window, nonces, put-off addresses, keys at rest. */
#include "base/file.h"
#include "base/loop.h"
#include "http/auth.h"
#include "test.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Made by flow_sdk/client/base.py's formula with Python's hmac: secret 0123456789abcdef. */
static const struct credentials client = {.timestamp = "1700000000000",
                                          .nonce = "11111111-2222-11ee-8c90-0242ac120002",
                                          .app_key = "a1b2c3d4e5f60718"};
static const struct {
    const char *target, *body, *form, *signature;
} vectors[] = {
    {"/v1/job/query", "{\"job_id\": \"202311142213200000000\"}", "", "5TTOKAcAFISQsdZeV2xvXNuX2Ms="},
    {"/v1/data/upload?%7B%22file%22:%20%22/a%20b%22,%20%22head%22:%201%7D", "", "",
     "rz14RmHKd5HHHUMgamGmivdvx9Q="},
    {"/v1/model/import", "",
     "force_update=1&model_id=guest-9999%23host-10000%23model&party_id=9999&role=guest",
     "FLW0uhCM6GuHx8tD1feL93V4zkk="},
    {"/v1/version/get", "", "", "A5ma/gNd2979c4Aht3n+uRsLgoc="},
};

static struct bytes bytes_of(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static void signatures(struct ctx *cx)
{
    struct auth *a;
    CHECK_OK(cx, auth_new(cx, &a));
    for (size_t i = 0; i < LEN(vectors); i++) {
        char out[29];
        auth_sign("0123456789abcdef", &client, vectors[i].target, bytes_of(vectors[i].body),
                  bytes_of(vectors[i].form), out);
        CHECK(strcmp(out, vectors[i].signature) == 0);
    }
}

static void finishing(struct ctx *cx)
{
    struct auth *a;
    struct key key = {.id = "a1b2c3d4e5f60718", .secret = "0123456789abcdef"};
    struct credentials c = client;
    struct bytes none = {NULL, 0}, body = bytes_of(vectors[0].body);
    int64_t now = 1700000000000;
    CHECK_OK(cx, auth_new(cx, &a));
    c.signature = vectors[0].signature;
    CHECK_ERR(auth_finish(cx, a, &c, &key, "/v1/job/stop", body, none, now), AUTH);
    CHECK_ERR(auth_finish(cx, a, &c, &key, vectors[0].target, bytes_of("{}"), none, now), AUTH);
    CHECK(strstr(cx->err.msg, "signature authentication failed"));
    /* What failed has spent nothing; what succeeded counts once, until it is too old anyway. */
    CHECK_OK(cx, auth_finish(cx, a, &c, &key, vectors[0].target, body, none, now));
    CHECK_ERR(auth_finish(cx, a, &c, &key, vectors[0].target, body, none, now + 1), AUTH);
    CHECK_ERR(auth_finish(cx, a, &c, &key, vectors[0].target, body, none, now + 2 * AUTH_WINDOW_MS), AUTH);
    CHECK(strstr(cx->err.msg, "Invalid NONCE"));
    /* An empty object is signed as no body. */
    c.signature = vectors[3].signature, c.nonce = client.nonce;
    struct auth *other;
    CHECK_OK(cx, auth_new(cx, &other));
    CHECK_OK(cx, auth_finish(cx, other, &c, &key, vectors[3].target, bytes_of("{}"), none, now));
    c.signature = "A5ma/gNd2979c4Aht3n+uRsLgo";
    CHECK_ERR(auth_finish(cx, other, &c, &key, vectors[3].target, none, none, now), AUTH);
}

static const char *folder(struct ctx *cx)
{
    char path[] = "/tmp/norn-auth-XXXXXX";
    const char *dir = mkdtemp(path) ? arena_strdup(cx->mem, path) : NULL;
    CHECK(dir);
    CHECK_OK(cx, dir_make(cx, arena_printf(cx->mem, "%s/keys", dir), 0700));
    return dir;
}

static void beginning(struct ctx *cx)
{
    const char *dir = folder(cx), *token;
    struct keys *k;
    struct key made, got;
    int64_t now = wall_ms();
    CHECK_OK(cx, keys_open(cx, dir, &k));
    CHECK_OK(cx, keys_add(cx, k, "alice", KEY_MODELLER, &made, &token));
    struct credentials c = {.timestamp = arena_printf(cx->mem, "%lld", (long long)now),
                            .nonce = "n1",
                            .app_key = made.id,
                            .signature = "x"};
    CHECK_OK(cx, auth_begin(cx, k, &c, now, &got));
    CHECK(strcmp(got.id, made.id) == 0 && got.role == KEY_MODELLER && strcmp(got.secret, made.secret) == 0);
    CHECK_OK(cx, auth_begin(cx, k, &c, now + AUTH_WINDOW_MS - 1, &got));
    CHECK_ERR(auth_begin(cx, k, &c, now + AUTH_WINDOW_MS, &got), AUTH);
    CHECK_ERR(auth_begin(cx, k, &c, now - AUTH_WINDOW_MS, &got), AUTH);
    static const char *const times[] = {"", "soon", "9223372036854775807", "-9223372036854775808",
                                        "99999999999999999999"};
    for (size_t i = 0; i < LEN(times); i++) {
        struct credentials bad = c;
        bad.timestamp = times[i];
        CHECK_ERR(auth_begin(cx, k, &bad, now, &got), AUTH);
    }
    struct credentials without[4] = {c, c, c, c};
    without[0].timestamp = without[1].nonce = without[2].app_key = without[3].signature = NULL;
    for (size_t i = 0; i < LEN(without); i++)
        CHECK_ERR(auth_begin(cx, k, &without[i], now, &got), AUTH);
    struct credentials stranger = c;
    stranger.app_key = "0000000000000000";
    CHECK_ERR(auth_begin(cx, k, &stranger, now, &got), AUTH);
    struct credentials bearer = {.bearer = token};
    CHECK_OK(cx, auth_begin(cx, k, &bearer, now, &got));
    CHECK(strcmp(got.name, "alice") == 0 && !got.secret);
    bearer.bearer = "nt_0000";
    CHECK_ERR(auth_begin(cx, k, &bearer, now, &got), AUTH);
    CHECK_OK(cx, dir_remove(cx, dir));
}

static void putting_off(struct ctx *cx)
{
    struct auth *a;
    CHECK_OK(cx, auth_new(cx, &a));
    for (int i = 0; i < AUTH_FAILURES; i++) {
        CHECK_OK(cx, auth_allowed(cx, a, "192.0.2.1", 1000));
        auth_failed(a, "192.0.2.1", 1000);
    }
    CHECK_ERR(auth_allowed(cx, a, "192.0.2.1", 1000 + AUTH_WINDOW_MS - 1), LIMIT);
    CHECK_OK(cx, auth_allowed(cx, a, "192.0.2.2", 1000));
    CHECK_OK(cx, auth_allowed(cx, a, "192.0.2.1", 1000 + AUTH_WINDOW_MS));
    for (int i = 0; i < 5000; i++) { /* many addresses: the table forgets, it does not overflow */
        const char *from = arena_printf(cx->mem, "2001:db8::%x", i);
        auth_failed(a, from, 2000 + i);
    }
    CHECK_OK(cx, auth_allowed(cx, a, "2001:db8::1", 9000));
}

/* The file holds no token, is nobody else's, and a revoked key is as unknown. */
static void at_rest(struct ctx *cx)
{
    const char *dir = folder(cx), *token, *file = arena_printf(cx->mem, "%s/keys/api.db", dir);
    struct keys *k;
    struct key made, got, *list;
    struct bytes all;
    struct stat st;
    size_t n;
    CHECK_OK(cx, keys_open(cx, dir, &k));
    CHECK_OK(cx, keys_add(cx, k, "batch", KEY_VIEWER, &made, &token));
    CHECK_OK(cx, file_read(cx, file, 1 << 20, &all));
    CHECK(memmem(all.p, all.n, made.id, strlen(made.id)) &&
          !memmem(all.p, all.n, token + 3, strlen(token) - 3));
    CHECK(stat(file, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_OK(cx, keys_find_token(cx, k, token, &got));
    CHECK_OK(cx, keys_revoke(cx, k, made.id));
    CHECK_ERR(keys_find_token(cx, k, token, &got), NOTFOUND);
    CHECK_ERR(keys_find_id(cx, k, made.id, &got), NOTFOUND);
    CHECK_ERR(keys_revoke(cx, k, made.id), STATE);
    CHECK_ERR(keys_revoke(cx, k, "none"), NOTFOUND);
    CHECK_OK(cx, keys_list(cx, k, &list, &n));
    CHECK(n == 1 && list[0].revoked_ms && !list[0].secret);
    CHECK_ERR(keys_add(cx, k, "", KEY_VIEWER, &made, &token), ARG);
    CHECK_ERR(keys_add(cx, k, "a\nb", KEY_VIEWER, &made, &token), ARG);
    enum key_role r;
    CHECK(!key_role_parse("anyone", &r) && !key_role_parse("root", &r) && key_role_parse("operator", &r) &&
          r == KEY_OPERATOR);
    CHECK_OK(cx, dir_remove(cx, dir));
}

TEST_MAIN(T(signatures), T(finishing), T(beginning), T(putting_off), T(at_rest))
