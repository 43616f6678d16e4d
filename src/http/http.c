#include "http/http.h"
#include "base/arena.h"
#include "base/log.h"
#include "http/http_int.h"
#include "http/local.h"
#include "http/permit.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void http_stop(void *self)
{
    struct http *h = self;
    if (!h->set->http_host) return;
    local_stop(h);
    workers_stop(h);
    server_stop(h);
    log_free(h->audit);
    if (h->audit_fd >= 0) close(h->audit_fd);
    pthread_cond_destroy(&h->more);
    pthread_cond_destroy(&h->answered);
    pthread_mutex_destroy(&h->lock);
}

static status open_audit(struct ctx *cx, struct http *h)
{
    const char *file = arena_printf(cx->mem, "%s/logs/audit.log", h->dir);
    h->audit_fd = file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (h->audit_fd < 0) return FAIL(cx, IO, "open %s: %m", file ? file : "audit.log");
    h->audit = log_new(h->audit_fd, LOG_INFO);
    return h->audit ? OK : FAIL(cx, NOMEM, "an audit log");
}

static status start_all(struct ctx *cx, struct http *h)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->more, &attr);
    pthread_cond_init(&h->answered, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&h->lock, NULL);
    TRY(open_audit(cx, h));
    TRY(auth_new(cx, &h->auth));
    TRY(keys_open(cx, h->dir, &h->keys));
    TRY(workers_start(cx, h));
    TRY(local_start(cx, h));
    return server_start(cx, h);
}

static status http_start(struct ctx *cx, struct site *s, void **self)
{
    struct http *h = NEW(cx, struct http, 1);
    if (!h) return FAIL(cx, NOMEM, "the HTTP API");
    *h = (struct http){.cx = {.mem = cx->mem, .log = cx->log},
                       .site = s,
                       .dir = site_dir(s),
                       .set = site_settings(s),
                       .audit_fd = -1,
                       .started_ms = wall_ms()};
    TRY(apidb_open(cx, h->dir, &h->gate));
    if (!h->set->http_host) {
        *self = h;
        return OK;
    }
    status st = start_all(cx, h);
    if (st.code) {
        struct err why = cx->err;
        http_stop(h);
        cx->err = why;
        return st;
    }
    if (!h->set->http_auth)
        log_warn(cx, "http_auth is off: whoever reaches the port may do anything",
                 KV("host", h->set->http_host), KV("port", (unsigned)h->port));
    log_info(cx, "HTTP API runs", KV("host", h->set->http_host), KV("port", (unsigned)h->port),
             KV("auth", h->set->http_auth));
    *self = h;
    return OK;
}

static uint16_t http_port(const void *self)
{
    return ((const struct http *)self)->port;
}

/* A disabled table is nobody's; with the setting permissions, a partner's job needs grants for each component and table. */
static status http_allow(struct ctx *cx, void *self, uint32_t party, const char *module, const char *ns,
                         const char *name)
{
    struct http *h = self;
    struct doc d;
    bool off = false, partner = party != h->set->party && h->set->permissions;
    if (module) return partner ? permit_component(cx, h->gate, party, module) : OK;
    const char *key = arena_printf(cx->mem, "%s/%s", ns, name);
    if (!key) return FAIL(cx, NOMEM, "a table");
    if (partner) TRY(permit_table(cx, h->gate, party, ns, name));
    TRY(apidb_get(cx, h->gate, "disabled", key, &d, &off));
    return off ? FAIL(cx, STATE, "table %s is disabled", key) : OK;
}

const struct site_part http_part = {http_start, http_stop, http_port, http_allow};
