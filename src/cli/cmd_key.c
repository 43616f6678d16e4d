/* cmd_key.c - norn key add | list | revoke: who may use the site's API. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/data.h"
#include "cli/sub.h"
#include "flow/settings.h"
#include "http/keys.h"
#include <stdio.h>
#include <string.h>

#define SITE_OPTION                                                                                          \
    {                                                                                                        \
        "--site", ARG_TEXT, &site, "DIR", "the site's folder", true                                          \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "--json", ARG_FLAG, &json, NULL, "answer as JSON", false                                             \
    }

static status open_keys(struct ctx *cx, const char *site, struct keys **out)
{
    struct settings set;
    TRY(settings_load(cx, site, NULL, 0, &set)); /* it is a site's folder */
    return keys_open(cx, site, out);
}

static int key_add(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL, *role = "modeller", *token;
    size_t n;
    bool json = false, help;
    enum key_role r;
    struct keys *k;
    struct key key;
    const struct arg args[] = {
        SITE_OPTION,
        {"--role", ARG_TEXT, &role, "ROLE", "viewer, modeller, operator or admin (modeller)", false},
        JSON_OPTION,
    };
    const struct arg_spec spec = {
        "key add --site DIR NAME [--role ROLE]",
        "Makes an app key and secret for FATE's clients, and a bearer token for everything else. Secret and\n"
        "token are shown this once; they hold from the next request on, whether the site runs or not.",
        "norn key add --site bank alice --role modeller",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    status st = key_role_parse(role, &r)
                    ? OK
                    : FAIL(cx, ARG, "--role %.40s: want viewer, modeller, operator or admin", role);
    if (st.code || open_keys(cx, site, &k).code || keys_add(cx, k, rest[0], r, &key, &token).code)
        return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp)
        json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:s}", "app_key", key.id, "secret_key", key.secret, "token",
                              token, "name", key.name, "role", role);
        return cmd_print_json(cx, j);
    }
    printf("key of %s, %s\n  app key     %s\n  secret key  %s\n  token       %s\n", key.name, role, key.id,
           key.secret, token);
    return 0;
}

static status list_json(struct ctx *cx, const struct key *list, size_t n, json_t **out)
{
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:I,s:I}", "app_key", list[i].id, "name",
                                             list[i].name, "role", key_role_name(list[i].role), "created_ms",
                                             (json_int_t)list[i].created_ms, "revoked_ms",
                                             (json_int_t)list[i].revoked_ms));
    *out = all;
    return all ? OK : FAIL(cx, NOMEM, "a list of keys");
}

static int key_list(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, help;
    struct keys *k;
    struct key *list;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"key list --site DIR",
                                  "All keys; secrets and tokens are not shown again.",
                                  "norn key list --site bank",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (open_keys(cx, site, &k).code || keys_list(cx, k, &list, &n).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = NULL;
        return list_json(cx, list, n, &j).code ? cmd_fail(cx, json) : cmd_print_json(cx, j);
    }
    printf("%-18s %-9s %-20s %-20s %s\n", "app key", "role", "made", "revoked", "name");
    for (size_t i = 0; i < n; i++)
        printf("%-18s %-9s %-20s %-20s %s\n", list[i].id, key_role_name(list[i].role),
               data_time(cx, list[i].created_ms), list[i].revoked_ms ? data_time(cx, list[i].revoked_ms) : "",
               list[i].name);
    return 0;
}

static int key_revoke(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    size_t n;
    bool json = false, help;
    struct keys *k;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"key revoke --site DIR APP_KEY",
                                  "The key and its token are refused from the next request on.",
                                  "norn key revoke --site bank 8f14e45fceea167a",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (open_keys(cx, site, &k).code || keys_revoke(cx, k, rest[0]).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = json_pack("{s:s}", "revoked", rest[0]);
        return cmd_print_json(cx, j);
    }
    printf("key %s is revoked\n", rest[0]);
    return 0;
}

int cmd_key(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"add", key_add, "make a key pair and a token"},
        {"list", key_list, "all keys"},
        {"revoke", key_revoke, "refuse a key from now on"},
    };
    return sub_run(cx, "key", subs, LEN(subs), argc, argv);
}
