/* auth.h - may this request be answered? FATE's signature, or a bearer token.
 *
 * Signature (fate-client 1.11): headers TIMESTAMP (ms), NONCE, APP_KEY, SIGNATURE = base64 of HMAC-SHA1 under the secret over
 * TIMESTAMP \n NONCE \n APP_KEY \n target as sent \n JSON body (none: "") \n form fields sorted and url-encoded (none: "").
 * A timestamp counts 60 s either way; a nonce counts once within that time. An address that failed 10 times within a
 * minute is answered 429 until that minute is over. */
#pragma once
#include "base/bytes.h"
#include "http/keys.h"

struct credentials { /* NULL: the request has no such header */
    const char *timestamp, *nonce, *app_key, *signature, *bearer;
};
struct identity {
    const char *key; /* its id; "" when authentication is off */
    const char *name;
    enum key_role role;
};
#define AUTH_WINDOW_MS 60000
#define AUTH_FAILURES  10

/* base64(HMAC-SHA1) over the parts as above, 28 characters and a NUL. */
void auth_sign(const char *secret, const struct credentials *c, const char *target, struct bytes body,
               struct bytes form, char out[29]);

struct auth;                                        /* nonces and failures; any thread */
status auth_new(struct ctx *cx, struct auth **out); /* freed by cx->mem's hooks */
/* LIMIT: the address failed too often. */
status auth_allowed(struct ctx *cx, struct auth *a, const char *remote, int64_t now_ms);
void auth_failed(struct auth *a, const char *remote, int64_t now_ms);
/* The headers alone: AUTH with FATE's message when they are incomplete, too old or name no key. Gives the key. */
status auth_begin(struct ctx *cx, struct keys *k, const struct credentials *c, int64_t now_ms,
                  struct key *out);
/* The signature over the whole; then the nonce is spent. AUTH. body: as sent. A bearer needs no more than auth_begin. */
status auth_finish(struct ctx *cx, struct auth *a, const struct credentials *c, const struct key *key,
                   const char *target, struct bytes body, struct bytes form, int64_t now_ms);
