/* Settings, DSL and runtime conf. The first byte says which: 's' settings, 'd' a DSL, anything else a runtime
 * conf. Laws: a refusal has a message; what parses is in bounds: every order is a permutation that respects
 * `after`, every party's parameters merge or are refused. */
#include "base/arena.h"
#include "flow/conf.h"
#include "flow/dsl.h"
#include "flow/settings.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dsl(const struct dsl *d)
{
    bool seen[DSL_COMPONENTS_MAX] = {0};
    for (size_t k = 0; k < d->n; k++) {
        size_t i = d->order[k];
        if (i >= d->n || seen[i]) abort();
        for (size_t q = 0; q < d->components[i].n_after; q++)
            if (!seen[d->components[i].after[q]]) abort();
        seen[i] = true;
        if (!dsl_name_ok(d->components[i].name) || dsl_find(d, d->components[i].name) != i) abort();
    }
}

static void check_conf(struct ctx *cx, const struct conf *c)
{
    const char *id;
    if (c->n_parties == 0 || c->n_parties > CONF_PARTIES_MAX) abort();
    if (conf_index(c, c->initiator) == SIZE_MAX) abort();
    if (conf_model_id(cx, c, &id).code) abort();
    for (size_t i = 0; i < c->n_parties; i++) {
        CLEANUP(json_decrefp) json_t *p = NULL;
        if (conf_component(cx, c, "a", c->parties[i], &p).code == ERR_OK && !json_is_object(p)) abort();
    }
}

static status one(struct ctx *cx, char kind, const char *text, size_t n)
{
    struct settings s;
    struct dsl d;
    struct conf c;
    CLEANUP(json_decrefp) json_t *j = NULL;
    CLEANUP(json_decrefp) json_t *all = NULL;
    CLEANUP(json_decrefp) json_t *warnings = json_array();
    if (kind == 's') return settings_parse(cx, "fuzz", text, n, &s);
    TRY(js_parse(cx, "fuzz", text, n, &j));
    if (kind == 'd') {
        TRY(dsl_parse(cx, j, &d));
        check_dsl(&d);
        return OK;
    }
    TRY(conf_parse(cx, j, &c, warnings));
    check_conf(cx, &c);
    TRY(conf_for_predict(cx, j, j, &all));
    return conf_parse(cx, all, &c, warnings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctx cx = {.mem = arena_new(64u << 20)};
    if (size && one(&cx, (char)data[0], (const char *)data + 1, size - 1).code && !cx.err.msg[0]) abort();
    arena_free(cx.mem);
    return 0;
}
