#include "http/auth.h"
#include "base/arena.h"
#include "base/evp.h"
#include "base/num.h"
#include "base/secret.h"
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define NONCES       (1u << 18) /* that count at one time: 2,000 a second */
#define NONCE_PROBES 64
#define NONCE_MAX    128
#define ADDRESSES    1024 /* that failed lately */

struct nonce {
    uint8_t hash[16];
    int64_t until_ms; /* 0: free */
};
struct address {
    char name[64];
    int64_t since_ms;
    unsigned failures;
};
struct auth {
    pthread_mutex_t lock; /* guards all below */
    struct nonce *nonces;
    struct address addresses[ADDRESSES];
};

static void auth_close(void *arg)
{
    struct auth *a = arg;
    munmap(a->nonces, NONCES * sizeof *a->nonces);
    pthread_mutex_destroy(&a->lock);
}

status auth_new(struct ctx *cx, struct auth **out)
{
    struct auth *a = NEW(cx, struct auth, 1);
    if (!a) return FAIL(cx, NOMEM, "authentication");
    a->nonces =
        mmap(NULL, NONCES * sizeof *a->nonces, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a->nonces == MAP_FAILED) return FAIL(cx, NOMEM, "authentication");
    pthread_mutex_init(&a->lock, NULL);
    if (!arena_on_free(cx->mem, auth_close, a)) {
        auth_close(a);
        return FAIL(cx, NOMEM, "authentication");
    }
    *out = a;
    return OK;
}

/* ---- addresses that fail ---- */

/* The place of an address: its own, a free or forgotten one, or that of the one that failed longest ago. Locked. */
static struct address *address_of(struct auth *a, const char *remote, int64_t now_ms)
{
    uint32_t h = 2166136261u;
    for (const char *p = remote; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    struct address *best = &a->addresses[h % ADDRESSES];
    for (uint32_t i = 0; i < 16; i++) {
        struct address *at = &a->addresses[(h + i) % ADDRESSES];
        if (strcmp(at->name, remote) == 0) return at;
        if (at->since_ms < best->since_ms) best = at;
    }
    size_t n = strnlen(remote, sizeof best->name - 1);
    *best = (struct address){.since_ms = now_ms};
    memcpy(best->name, remote, n);
    return best;
}

status auth_allowed(struct ctx *cx, struct auth *a, const char *remote, int64_t now_ms)
{
    pthread_mutex_lock(&a->lock);
    struct address *at = address_of(a, remote, now_ms);
    if (now_ms - at->since_ms >= AUTH_WINDOW_MS) at->failures = 0, at->since_ms = now_ms;
    bool many = at->failures >= AUTH_FAILURES;
    pthread_mutex_unlock(&a->lock);
    return many ? FAIL(cx, LIMIT, "too many failed requests from this address: wait a minute") : OK;
}

void auth_failed(struct auth *a, const char *remote, int64_t now_ms)
{
    pthread_mutex_lock(&a->lock);
    address_of(a, remote, now_ms)->failures++;
    pthread_mutex_unlock(&a->lock);
}

/* ---- nonces ---- */

/* Remembers a nonce of a key. AUTH: it was used before; LIMIT: no room, which no honest client reaches. */
static status spend(struct ctx *cx, struct auth *a, const char *key, const char *nonce, int64_t now_ms)
{
    const char *text = arena_printf(cx->mem, "%s\n%s", key, nonce);
    uint8_t hash[32];
    uint32_t at;
    struct nonce *free_one = NULL;
    bool used = false;
    if (!text) return FAIL(cx, NOMEM, "a nonce");
    SHA256((const unsigned char *)text, strlen(text), hash);
    memcpy(&at, hash + 16, sizeof at);
    pthread_mutex_lock(&a->lock);
    for (uint32_t i = 0; i < NONCE_PROBES && !used; i++) {
        struct nonce *n = &a->nonces[(at + i) % NONCES];
        if (n->until_ms < now_ms) {
            if (!free_one) free_one = n;
        } else {
            used = memcmp(n->hash, hash, sizeof n->hash) == 0;
        }
    }
    if (!used && free_one) {
        memcpy(free_one->hash, hash, sizeof free_one->hash);
        free_one->until_ms = now_ms + 2 * AUTH_WINDOW_MS + 1000;
    }
    pthread_mutex_unlock(&a->lock);
    if (used) return FAIL(cx, AUTH, "Invalid NONCE: it was used before");
    return free_one ? OK : FAIL(cx, LIMIT, "too many requests within two minutes");
}

/* ---- signatures ---- */

void auth_sign(const char *secret, const struct credentials *c, const char *target, struct bytes body,
               struct bytes form, char out[29])
{
    const struct bytes parts[] = {
        {(const uint8_t *)c->timestamp, strlen(c->timestamp)},
        {(const uint8_t *)c->nonce, strlen(c->nonce)},
        {(const uint8_t *)c->app_key, strlen(c->app_key)},
        {(const uint8_t *)target, strlen(target)},
        body,
        form,
    };
    uint8_t digest[20];
    CLEANUP(buf_free) struct buf all = {0};
    for (size_t i = 0; i < LEN(parts); i++) {
        if (i) buf_u8(&all, '\n');
        buf_put(&all, parts[i].p, parts[i].n);
    }
    unsigned n = sizeof digest;
    /* Out of memory gives a signature that nobody has. */
    if (all.bad || !HMAC(EVP_sha1(), secret, (int)strlen(secret), all.p, all.n, digest, &n))
        memset(digest, 0, sizeof digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest);
}

static bool known_text(const char *s, size_t max)
{
    size_t n = strnlen(s, max + 1);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= 0x20 || s[i] == 0x7f) return false;
    return n > 0 && n <= max;
}

status auth_begin(struct ctx *cx, struct keys *k, const struct credentials *c, int64_t now_ms,
                  struct key *out)
{
    int64_t at;
    if (c->bearer) {
        status st = keys_find_token(cx, k, c->bearer, out);
        return st.code == ERR_NOTFOUND ? FAIL(cx, AUTH, "unknown or revoked token") : st;
    }
    if (!c->timestamp || !c->nonce || !c->app_key || !c->signature)
        return FAIL(
            cx, AUTH,
            "authentication needs the headers TIMESTAMP, NONCE, APP_KEY and SIGNATURE, or a bearer token");
    if (!num_parse_i64(c->timestamp, strlen(c->timestamp), &at)) return FAIL(cx, AUTH, "Invalid TIMESTAMP");
    int64_t away;
    if (__builtin_sub_overflow(now_ms, at, &away) || away >= AUTH_WINDOW_MS || away <= -AUTH_WINDOW_MS)
        return FAIL(cx, AUTH, "TIMESTAMP is more than %d seconds away from this server's time",
                    AUTH_WINDOW_MS / 1000);
    if (!known_text(c->nonce, NONCE_MAX)) return FAIL(cx, AUTH, "Invalid NONCE");
    status st = known_text(c->app_key, NONCE_MAX) ? keys_find_id(cx, k, c->app_key, out)
                                                  : FAIL(cx, NOTFOUND, "no key");
    if (st.code == ERR_NOTFOUND) return FAIL(cx, AUTH, "Unknown APP_KEY");
    return st;
}

status auth_finish(struct ctx *cx, struct auth *a, const struct credentials *c, const struct key *key,
                   const char *target, struct bytes body, struct bytes form, int64_t now_ms)
{
    char want[29];
    if (c->bearer) return OK;
    auth_sign(key->secret, c, target, body, form, want);
    bool good = strlen(c->signature) == 28 && secret_equal(want, c->signature, 28);
    if (!good && body.n == 2 &&
        memcmp(body.p, "{}", 2) == 0) { /* the client signs an empty object as no body */
        auth_sign(key->secret, c, target, (struct bytes){NULL, 0}, form, want);
        good = strlen(c->signature) == 28 && secret_equal(want, c->signature, 28);
    }
    secret_wipe(want, sizeof want);
    if (!good) return FAIL(cx, AUTH, "signature authentication failed");
    return spend(cx, a, key->id, c->nonce, now_ms);
}
