/* keys.h - who may use the API: key pairs for FATE's clients, bearer tokens for everything else; DIR/keys/api.db, 0600.
 *
 * A key has an id (FATE's app_key), a secret (secret_key: HMAC needs it as it is, so it is stored as it is), and a token of
 * which only the SHA-256 is stored. Roles, each may do what those before it may: viewer reads, modeller runs jobs and
 * uploads, operator deletes and cleans, admin manages keys and permissions. docs/security/http.md. */
#pragma once
#include "base/ctx.h"

enum key_role { KEY_ANYONE /* no key's */, KEY_VIEWER, KEY_MODELLER, KEY_OPERATOR, KEY_ADMIN, KEY_ROLES };
const char *key_role_name(enum key_role r);
bool key_role_parse(const char *s, enum key_role *out);

#define KEY_ID_BYTES     8 /* random ones; twice as many digits */
#define KEY_SECRET_BYTES 32
struct key {
    const char *id, *name, *secret; /* secret: only of keys_find_id and keys_add */
    enum key_role role;
    int64_t created_ms, revoked_ms; /* 0: it is not */
};
struct keys;
/* Makes the file when absent. Closed by cx->mem's hooks. */
status keys_open(struct ctx *cx, const char *dir, struct keys **out);
/* A new key; *token ("nt_...") is shown this once. name: who or what it is for, at most 100 bytes of text. */
status keys_add(struct ctx *cx, struct keys *k, const char *name, enum key_role role, struct key *out,
                const char **token);
/* Revoked keys are not found. NOTFOUND. */
status keys_find_id(struct ctx *cx, struct keys *k, const char *id, struct key *out);
status keys_find_token(struct ctx *cx, struct keys *k, const char *token, struct key *out);
status keys_list(struct ctx *cx, struct keys *k, struct key **out, size_t *n); /* all, oldest first */
status keys_revoke(struct ctx *cx, struct keys *k, const char *id); /* NOTFOUND; STATE: it was before */
