/* cmd_ca.c - norn ca init | sign | list | show: a federation's small CA, one folder on the disk of whoever
 * runs the federation. */
#include "base/arena.h"
#include "base/file.h"
#include "base/loop.h"
#include "cli/args.h"
#include "cli/sub.h"
#include "net/pki.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CA_DAYS = 3650, SITE_DAYS = 365, LIST_MAX = 64 << 20 };

#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "--json", ARG_FLAG, &json, NULL, "answer as JSON", false                                             \
    }

static void day_text(int64_t ms, char out[32])
{
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    gmtime_r(&s, &tm);
    strftime(out, 32, "%Y-%m-%d", &tm);
}

/* Ranges are pki.h's to check; this is what fits its int. */
static int days_of(uint64_t days)
{
    return days < INT_MAX ? (int)days : INT_MAX;
}

/* ---- init ---- */

static int init(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *name = "norn federation";
    uint64_t days = CA_DAYS;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {
        {"--name", ARG_TEXT, &name, "NAME", "shown in every certificate as its issuer", false},
        {"--days", ARG_COUNT, &days, "N", "how long it is valid (default 3650)", false},
        JSON_OPTION};
    const struct arg_spec spec = {
        "ca init DIR [--name NAME] [--days N]",
        "Makes the CA's key and certificate. Sites need DIR/ca.crt; DIR/ca.key stays with "
        "whoever signs.",
        "norn ca init ca --name 'hospitals of the north'",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (pki_ca_init(cx, rest[0], name, days_of(days)).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = json_pack("{s:s,s:s}", "dir", rest[0], "name", name);
        return cmd_print_json(cx, j);
    }
    printf("%s/ca.key signs: keep it secret and backed up\n%s/ca.crt goes to every site\n", rest[0], rest[0]);
    return 0;
}

/* ---- show ---- */

static json_t *info_json(const struct cert_info *c)
{
    return json_pack("{s:I,s:I,s:I,s:s,s:s,s:s}", "party", (json_int_t)c->party, "not_before_ms",
                     (json_int_t)c->not_before_ms, "not_after_ms", (json_int_t)c->not_after_ms, "subject",
                     c->subject, "issuer", c->issuer, "fingerprint", c->fingerprint);
}

static void print_info(const char *file, const struct cert_info *c)
{
    char from[32], to[32];
    int64_t now = wall_ms(), days = (c->not_after_ms - now) / INT64_C(86400000);
    day_text(c->not_before_ms, from);
    day_text(c->not_after_ms, to);
    printf("%s\n  party        %u\n  issued by    %s\n  valid        %s to %s", file, c->party, c->issuer,
           from, to);
    if (now >= c->not_after_ms)
        printf(" (EXPIRED)");
    else if (now < c->not_before_ms)
        printf(" (NOT YET)");
    else
        printf(" (%lld days left)", (long long)days);
    printf("\n  fingerprint  %s\n", c->fingerprint);
}

static int show_cert(struct ctx *cx, bool json, const char *file)
{
    struct cert_info c;
    if (pki_cert_info(cx, file, &c).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = info_json(&c);
        return cmd_print_json(cx, j);
    }
    print_info(file, &c);
    return 0;
}

static int show(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {JSON_OPTION};
    const struct arg_spec spec = {"ca show CERTIFICATE",
                                  "A site's certificate: of which party, by whom, until when.",
                                  "norn ca show bank/keys/site.crt",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    return show_cert(cx, json, rest[0]);
}

/* ---- sign ---- */

/* A number 1 to 2^31 - 1; pki_ca_sign says the rest. */
static status party_of(struct ctx *cx, uint64_t n, uint32_t *out)
{
    if (!n || n > INT32_MAX)
        return FAIL(cx, ARG, "--party %llu: want 1 to %d", (unsigned long long)n, INT32_MAX);
    *out = (uint32_t)n;
    return OK;
}

static int sign(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *csr = NULL, *out = NULL;
    uint64_t days = SITE_DAYS, number = 0;
    uint32_t party = 0;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {
        {"--csr", ARG_TEXT, &csr, "FILE", "the request that norn site init wrote (keys/site.csr)", true},
        {"--party", ARG_COUNT, &number, "ID", "the party you know the sender of the request to be", true},
        {"--out", ARG_TEXT, &out, "FILE", "the certificate (default: the request's name with .crt)", false},
        {"--days", ARG_COUNT, &days, "N", "how long it is valid (default 365, at most 825)", false},
        JSON_OPTION};
    const struct arg_spec spec = {"ca sign DIR --csr FILE --party ID [--out FILE] [--days N]",
                                  "Signs a site's request. A request that asks for another party is refused.",
                                  "norn ca sign ca --csr bank.csr --party 9999 --out bank.crt",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (!out) {
        size_t k = strlen(csr);
        if (k > 4 && strcmp(csr + k - 4, ".csr") == 0) k -= 4;
        out = arena_printf(cx->mem, "%.*s.crt", (int)k, csr);
    }
    if (!out || party_of(cx, number, &party).code ||
        pki_ca_sign(cx, rest[0], csr, party, days_of(days), out).code)
        return cmd_fail(cx, json);
    return show_cert(cx, json, out);
}

/* ---- list ---- */

static status read_issued(struct ctx *cx, const char *dir, json_t *out)
{
    struct bytes text;
    const char *path = arena_printf(cx->mem, "%s/issued.jsonl", dir);
    const char *ca = arena_printf(cx->mem, "%s/ca.crt", dir);
    if (!path || !ca) return FAIL(cx, NOMEM, "list");
    if (!file_exists(ca))
        return FAIL(cx, NOTFOUND, "%s holds no ca.crt: make one with norn ca init %s", dir, dir);
    if (!file_exists(path)) return OK;
    TRY(file_read(cx, path, LIST_MAX, &text));
    const char *p = (const char *)text.p, *end = p + text.n;
    for (int line = 1; p < end; line++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t n = eol ? (size_t)(eol - p) : (size_t)(end - p);
        json_t *j;
        TRY_IN(cx, js_parse(cx, "entry", p, n, &j), "%s line %d", path, line);
        if (json_array_append_new(out, j)) return FAIL(cx, NOMEM, "list");
        p += n + (eol ? 1 : 0);
    }
    return OK;
}

static int list(struct ctx *cx, int argc, char **argv)
{
    const char **rest;
    size_t n, i;
    bool json = false, help;
    const struct arg args[] = {JSON_OPTION};
    const struct arg_spec spec = {
        "ca list DIR", "What this CA has signed.", "norn ca list ca", args, LEN(args), 1, 1};
    CLEANUP(json_decrefp) json_t *all = json_array();
    json_t *j;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (read_issued(cx, rest[0], all).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, all);
    json_array_foreach(all, i, j)
    {
        char from[32], to[32];
        day_text(sub_int(j, "issued_ms"), from);
        day_text(sub_int(j, "not_after_ms"), to);
        printf("party %-10lld %s to %s%s  %s\n", (long long)sub_int(j, "party"), from, to,
               sub_int(j, "not_after_ms") < wall_ms() ? " EXPIRED" : "", sub_str(j, "fingerprint"));
    }
    if (json_array_size(all) == 0) printf("nothing signed yet\n");
    return 0;
}

int cmd_ca(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"init", init, "make a federation's CA"},
        {"sign", sign, "sign a site's request"},
        {"list", list, "what was signed"},
        {"show", show, "look at a certificate"},
    };
    return sub_run(cx, "ca", subs, LEN(subs), argc, argv);
}
