/* norn.conf: defaults, overrides, and every refusal by name. */
#include "base/arena.h"
#include "base/file.h"
#include "flow/settings.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static status parse(struct ctx *cx, const char *text, struct settings *s)
{
    return settings_parse(cx, "norn.conf", text, strlen(text), s);
}

static void defaults(struct ctx *cx)
{
    struct settings s;
    CHECK_OK(cx, parse(cx, "party = 9999\n", &s));
    CHECK(s.party == 9999 && s.listen_port == 9370 && strcmp(s.listen_host, "0.0.0.0") == 0);
    CHECK(s.task_deadline_ms == 300000 && s.job_timeout_ms == 259200000 && s.heartbeat_ms == 2000);
    CHECK(s.max_jobs == 16 && s.threads == 0 && s.log_level == LOG_INFO && s.n_peers == 0);
}

static void values(struct ctx *cx)
{
    struct settings s;
    CHECK_OK(cx,
             parse(cx,
                   "# bank\n  party=1 # ours\nname = \"First Bank\"\r\nlisten = [::1]:0\nlog_level = debug\n"
                   "task_deadline = 1500ms\nwindow=2MiB\npeer.2 = clinic.example:9370\npeer.3 = dials-us",
                   &s));
    CHECK(s.party == 1 && strcmp(s.name, "First Bank") == 0 && strcmp(s.listen_host, "::1") == 0 &&
          s.listen_port == 0);
    CHECK(s.log_level == LOG_DEBUG && s.task_deadline_ms == 1500 && s.window_bytes == 2 << 20 &&
          s.n_peers == 2);
    CHECK(s.peers[0].party == 2 && strcmp(s.peers[0].host, "clinic.example") == 0 && s.peers[0].port == 9370);
    CHECK(s.peers[1].party == 3 && s.peers[1].host == NULL);
    CHECK_OK(cx, parse(cx, "party=1\nlisten=none", &s));
    CHECK(s.listen_host == NULL);
}

static void routes(struct ctx *cx)
{
    struct settings s;
    json_t *j;
    CHECK_OK(cx, parse(cx,
                       "party = 1\npeer.5 = via 4\npeer.4 = x.example:9370 rate=2MiB\nroute.default = 4\n"
                       "rate_limit = 1MiB\nexchange_memory = 64MiB\nlink_memory = 32MiB\nlink_disk = 0\n"
                       "peer.6 = via 4 rate=100KiB\npeer.7 = dials-us rate=1000",
                       &s));
    CHECK(s.n_peers == 4 && s.peers[0].via == 4 && !s.peers[0].host && s.peers[0].rate_bytes == 0);
    CHECK(s.peers[1].via == 0 && s.peers[1].port == 9370 && s.peers[1].rate_bytes == 2 << 20);
    CHECK(strcmp(s.peers[1].host, "x.example") == 0 && s.peers[2].via == 4 &&
          s.peers[2].rate_bytes == 102400);
    CHECK(s.route_default == 4 && s.rate_bytes == 1 << 20 && s.exchange_memory == 64 << 20);
    CHECK(s.link_memory == 32 << 20 && s.link_disk == 0);
    CHECK_OK(cx, settings_json(cx, &s, &j));
    CHECK(strcmp(json_string_value(json_object_get(j, "peer.6")), "via 4 rate=102400") == 0);
    CHECK(strcmp(json_string_value(json_object_get(j, "route.default")), "4") == 0);
    json_decref(j);
    CHECK_OK(cx, parse(cx, "party = 1\n", &s));
    CHECK(s.route_default == 0 && s.exchange_memory == 0 && s.rate_bytes == 0 && s.link_memory == 1 << 30);
}

static void refuses(struct ctx *cx)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "party is not set"},
        {"party = 0", "line 1: party: party id \"0\""},
        {"party = 1\nheartbaet = 2s", "line 2: heartbaet: no such setting, did you mean heartbeat?"},
        {"party = 1\nparty = 2", "line 2: party is set twice"},
        {"party = 1\njust words", "line 2: \"just words\" has no '='"},
        {"party = 1\nheartbeat = soon", "heartbeat: \"soon\", want a time like 30s"},
        {"party = 1\nheartbeat = 1ms", "want 50 to 600000 milliseconds"},
        {"party = 1\nlisten = 9370", "want host:port or none"},
        {"party = 1\nlisten = a b:9370", "want host:port or none"},
        {"party = 1\nlisten = a:99999", "want host:port or none"},
        {"party = 1\nlog_level = loud", "want error, warn, info or debug"},
        {"party = 1\npeer.1 = a:1", "peer.1 is this party itself"},
        {"party = 1\npeer.x = a:1", "party id \"x\""},
        {"party = 1\npeer.2 = a", "want host:port, via PARTY or dials-us"},
        {"party = 1\npeer.2 = via 3", "peer.2: the exchange 3 is no peer with a link of its own"},
        {"party = 1\npeer.2 = via 3\npeer.3 = via 2", "the exchange 3 is no peer with a link of its own"},
        {"party = 1\npeer.2 = via 2", "peer 2 is reached via itself"},
        {"party = 1\npeer.2 = via x", "party id \"x\""},
        {"party = 1\npeer.2 = a:1 rate=0", "want rate= and bytes a second"},
        {"party = 1\npeer.2 = a:1 speed=7", "want host:port, via PARTY or dials-us"},
        {"party = 1\nroute.default = 2", "the exchange 2 is no peer"},
        {"party = 1\nkey =", "is empty"},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        struct settings s = {.party = 77};
        CHECK_ERR(parse(cx, bad[i].text, &s), ARG);
        CHECK(strstr(cx->err.msg, bad[i].says));
        CHECK(s.party == 77);
    }
    struct settings s;
    CHECK_ERR(settings_parse(cx, "x", "party=1\0", 8, &s), FORMAT);
}

/* A new site's file parses back to what was asked for, and its commented lines are the defaults. */
static void init_text(struct ctx *cx)
{
    const char *text;
    const char *peers[] = {"10000=host.example:9370", "10001"};
    struct settings_init in = {
        .party = 9999, .name = "bank", .listen = "127.0.0.1:9371", .peers = peers, .n_peers = 2};
    CHECK_OK(cx, settings_text(cx, &in, &text));
    struct settings s;
    CHECK_OK(cx, parse(cx, text, &s));
    CHECK(s.party == 9999 && strcmp(s.name, "bank") == 0 && s.listen_port == 9371 && s.n_peers == 2);
    CHECK(strstr(text, "#heartbeat = 2s"));
    char *all = arena_strdup(cx->mem, text);
    for (char *p = all; (p = strchr(p, '#')); p++)
        if (p[1] != ' ' && strncmp(p, "#peer", 5) != 0) *p = ' ';
    CHECK_OK(cx, parse(cx, all, &s));
    const char *bad[] = {"10000=nowhere"};
    struct settings_init wrong = {.party = 1, .peers = bad, .n_peers = 1};
    CHECK_ERR(settings_text(cx, &wrong, &text), ARG);
}

static void overrides(struct ctx *cx)
{
    char dir[] = "/tmp/norn-settings-XXXXXX";
    CHECK(mkdtemp(dir));
    const char *file = arena_printf(cx->mem, "%s/norn.conf", dir), *text = "party = 5\nheartbeat = 3s\n";
    struct settings s;
    CHECK_ERR(settings_load(cx, dir, NULL, 0, &s), NOTFOUND);
    CHECK_OK(cx, file_write(cx, file, text, strlen(text), 0600));
    CHECK_OK(cx, settings_load(cx, dir, NULL, 0, &s));
    CHECK(s.heartbeat_ms == 3000 && strstr(s.key_file, dir) == s.key_file);
    setenv("NORN_HEARTBEAT", "4s", 1);
    setenv("NORN_PEER_7", "seven:1", 1);
    CHECK_OK(cx, settings_load(cx, dir, NULL, 0, &s));
    CHECK(s.heartbeat_ms == 4000 && s.n_peers == 1 && s.peers[0].party == 7);
    const char *sets[] = {"heartbeat=5s"};
    CHECK_OK(cx, settings_load(cx, dir, sets, 1, &s));
    CHECK(s.heartbeat_ms == 5000);
    setenv("NORN_HEARTBEAT", "x", 1);
    CHECK_ERR(settings_load(cx, dir, sets, 1, &s), ARG);
    CHECK(strstr(cx->err.msg, "environment NORN_HEARTBEAT"));
    unsetenv("NORN_HEARTBEAT");
    unsetenv("NORN_PEER_7");
    const char *wrong[] = {"hartbeat=5s"};
    CHECK_ERR(settings_load(cx, dir, wrong, 1, &s), ARG);
    CHECK_OK(cx, dir_remove(cx, dir));
}

TEST_MAIN(T(defaults), T(values), T(routes), T(refuses), T(init_text), T(overrides))
