/* api.h - a site as the HTTP API sees it: asked from other threads, answered on the loop's.
 *
 * The layer above brings a site_part; the site starts it once everything else runs and stops it before anything else
 * ends. What may be read from any thread: the folder and the settings, which never change while the site runs. */
#pragma once
#include "base/js.h"
#include "flow/settings.h"

struct site;
struct site_part {
    /* On the loop's thread. The site's cx: its log, and an arena that lives as long as the site. */
    status (*start)(struct ctx *cx, struct site *s, void **self);
    void (*stop)(void *self);
    uint16_t (*port)(const void *self); /* 0: it does not listen */
    /* On the loop's thread, before a job is taken: may that party's job use the component (module, then ns and name are
     * NULL), the table (ns and name, then module is NULL) of this site? AUTH, STATE. */
    status (*allow)(struct ctx *cx, void *self, uint32_t party, const char *module, const char *ns,
                    const char *name);
};
const char *site_dir(const struct site *s);
const struct settings *site_settings(const struct site *s);
/* From any thread: a method of the CLI's or one of those in api.c, begun soon on the loop. done is called there, once, unless
 * the site ends first; err is NULL when there is an answer; both are borrowed. params is taken. false: out of memory. */
bool site_ask(struct site *s, const char *method, json_t *params,
              void (*done)(void *arg, const struct err *err, const json_t *answer), void *arg);
