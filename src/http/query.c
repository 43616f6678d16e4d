#include "http/query.h"
#include "base/arena.h"
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decoded, length in *n. */
static char *decode(struct ctx *cx, const char *s, size_t len, bool plus, size_t *n)
{
    char *out = NEW(cx, char, len + 1);
    *n = 0;
    for (size_t i = 0; out && i < len; i++) {
        int hi = i + 2 < len ? hex_digit(s[i + 1]) : -1, lo = i + 2 < len ? hex_digit(s[i + 2]) : -1;
        if (s[i] == '%' && hi >= 0 && lo >= 0) {
            out[(*n)++] = (char)(16 * hi + lo);
            i += 2;
        } else {
            out[(*n)++] = plus && s[i] == '+' ? ' ' : s[i];
        }
    }
    return out;
}

status query_settings(struct ctx *cx, const char *query, json_t **out)
{
    size_t n;
    struct ctx quiet = {.mem = cx->mem};
    char *text = decode(cx, query, strlen(query), false, &n);
    if (!text) return FAIL(cx, NOMEM, "a query");
    if (n && js_parse(&quiet, "query", text, n, out).code == ERR_OK) {
        if (json_is_object(*out)) return OK;
        json_decref(*out);
        *out = NULL;
        return FAIL(cx, ARG, "the query is JSON, but no object");
    }
    json_t *all = json_object();
    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&"), eq = strcspn(p, "=&"), nk, nv;
        char *key = decode(cx, p, eq, true, &nk);
        char *value = eq < len ? decode(cx, p + eq + 1, len - eq - 1, true, &nv) : NULL;
        if (key && value && nk) json_object_set_new(all, key, json_stringn(value, nv));
        p += len + (p[len] == '&');
    }
    *out = all;
    return all ? OK : FAIL(cx, NOMEM, "a query");
}
