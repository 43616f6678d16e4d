/* cmd_model.c - norn model list | show | deploy | export | import. All but deploy read the folder, site
 * running or not. */
#include "base/arena.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/sub.h"
#include "flow/settings.h"
#include "model/model.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SITE_OPTION                                                                                          \
    {                                                                                                        \
        "--site", ARG_TEXT, &site, "DIR", "the site's folder", true                                          \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "--json", ARG_FLAG, &json, NULL, "answer as JSON", false                                             \
    }
#define ROLE_OPTION                                                                                          \
    {                                                                                                        \
        "--role", ARG_TEXT, &role, "ROLE", "when this party has several roles in the model", false           \
    }

static json_t *info_json(const struct model_info *m)
{
    json_t *names = json_array();
    for (size_t i = 0; i < m->n_components; i++)
        json_array_append_new(names, json_string(m->components[i]));
    return json_pack("{s:s,s:I,s:s,s:s,s:I,s:b,s:s?,s:I,s:s?,s:o}", "role", m->key.role, "party",
                     (json_int_t)m->key.party, "model_id", m->key.model_id, "model_version", m->key.version,
                     "created_ms", (json_int_t)m->created_ms, "deployed", (int)m->deployed, "parent_version",
                     m->parent_version, "bytes", (json_int_t)m->bytes, "damage", m->damage, "components",
                     names);
}

/* The folder's path, after the settings were found sound. */
static status models_dir(struct ctx *cx, const char *site, const char **dir)
{
    struct settings set;
    TRY(settings_load(cx, site, NULL, 0, &set));
    *dir = arena_printf(cx->mem, "%s/models", site);
    return OK;
}

/* A version is unique; a party may hold it in several roles. */
static status find_model(struct ctx *cx, const char *site, const char *version, const char *role,
                         struct model_info *out, const char **dir)
{
    struct model_info *all;
    size_t n, found = 0;
    TRY(models_dir(cx, site, dir));
    TRY(model_list(cx, *dir, &all, &n));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].key.version, version) != 0 || (role && strcmp(all[i].key.role, role) != 0))
            continue;
        if (!found++) *out = all[i];
    }
    if (found && out->damage)
        return FAIL(cx, FORMAT, "the model of version %.40s is damaged: %s", version, out->damage);
    return found ? OK
                 : FAIL(cx, NOTFOUND, "no model of version %.40s%s%s here: see norn model list", version,
                        role ? " as " : "", role ? role : "");
}

/* ---- list ---- */

static void print_model(struct ctx *cx, const struct model_info *m)
{
    char when[32];
    struct tm tm;
    time_t s = (time_t)(m->created_ms / 1000);
    localtime_r(&s, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    printf("%-25s %-8s %-10u %-8s %s  %9s  %s\n", m->key.version, m->key.role, m->key.party,
           m->damage     ? "DAMAGED"
           : m->deployed ? "deployed"
                         : "trained",
           when, sub_bytes(cx, (int64_t)m->bytes), m->key.model_id);
    if (m->damage) printf("  %s\n", m->damage);
}

static int list(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL, *dir;
    struct model_info *all;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {SITE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"model list --site DIR",
                                  "This party's halves of models.",
                                  "norn model list --site bank",
                                  args,
                                  LEN(args),
                                  0,
                                  0};
    CLEANUP(json_decrefp) json_t *j = json_array();
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (models_dir(cx, site, &dir).code || model_list(cx, dir, &all, &n).code) return cmd_fail(cx, json);
    for (size_t i = 0; i < n; i++) {
        if (json)
            json_array_append_new(j, info_json(&all[i]));
        else
            print_model(cx, &all[i]);
    }
    if (json) return cmd_print_json(cx, j);
    if (n == 0) printf("no models yet\n");
    return 0;
}

/* ---- show ---- */

static status show_component(struct ctx *cx, const char *dir, const struct model_info *m,
                             const char *component, json_t *out)
{
    struct model_part p;
    json_t *run = NULL, *of = json_object();
    if (json_object_set_new(out, component, of)) return FAIL(cx, NOMEM, "a model");
    TRY(model_load_part(cx, dir, &m->key, component, &p, &run));
    json_object_set_new(of, "module", json_string(p.module));
    for (size_t i = 0; i < p.n_buffers; i++) {
        json_t *view = NULL;
        TRY(model_json(cx, &p.buffers[i], &view));
        if (json_object_set_new(of, p.buffers[i].name, view)) return FAIL(cx, NOMEM, "a model");
    }
    return OK;
}

static void print_show(struct ctx *cx, const struct model_info *m, const json_t *parts)
{
    const char *name, *buffer;
    json_t *of, *v;
    print_model(cx, m);
    if (m->parent_version) printf("  deployed from %s\n", m->parent_version);
    json_object_foreach((json_t *)parts, name, of)
    {
        printf("  %s (%s)\n", name, sub_str(of, "module"));
        json_object_foreach(of, buffer, v)
        {
            if (!json_is_object(v)) continue;
            const char *text;
            if (js_text(cx, v, &text).code) continue;
            printf("    %s: %.400s%s\n", buffer, text, strlen(text) > 400 ? " ... (--json shows all)" : "");
        }
    }
}

static status show_all(struct ctx *cx, const char *site, const char *version, const char *role,
                       const char *component, struct model_info *m, json_t *parts)
{
    const char *dir;
    bool found = false;
    TRY(find_model(cx, site, version, role, m, &dir));
    for (size_t i = 0; i < m->n_components; i++) {
        if (component && strcmp(component, m->components[i]) != 0) continue;
        found = true;
        TRY(show_component(cx, dir, m, m->components[i], parts));
    }
    return found || !component
               ? OK
               : FAIL(cx, NOTFOUND, "model version %s has no component %s", version, component);
}

static int show(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL, *role = NULL;
    struct model_info m;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {SITE_OPTION, ROLE_OPTION, JSON_OPTION};
    const struct arg_spec spec = {"model show --site DIR [--role ROLE] VERSION [COMPONENT]",
                                  "What this party's half of a model holds.",
                                  "norn model show --site bank 202611240930001234560",
                                  args,
                                  LEN(args),
                                  1,
                                  2};
    CLEANUP(json_decrefp) json_t *parts = json_object();
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (show_all(cx, site, rest[0], role, n > 1 ? rest[1] : NULL, &m, parts).code) return cmd_fail(cx, json);
    if (!json) {
        print_show(cx, &m, parts);
        return 0;
    }
    CLEANUP(json_decrefp) json_t *j = info_json(&m);
    json_object_set(j, "parts", parts);
    return cmd_print_json(cx, j);
}

/* ---- deploy ---- */

static int deploy(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL, *dir;
    struct arg_list components = {0};
    struct model_info m;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {
        SITE_OPTION,
        {"--component", ARG_LIST, &components, "NAME", "only these (all but Evaluation)", false},
        JSON_OPTION};
    const struct arg_spec spec = {
        "model deploy --site DIR VERSION",
        "Makes a trained model ready to predict, at every party that has a part of it.",
        "norn model deploy --site bank 202611240930001234560",
        args,
        LEN(args),
        1,
        1};
    CLEANUP(json_decrefp) json_t *j = NULL;
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (find_model(cx, site, rest[0], NULL, &m, &dir).code) return cmd_fail(cx, json);
    CLEANUP(json_decrefp) json_t *names = json_array();
    for (size_t i = 0; i < components.n; i++)
        json_array_append_new(names, json_string(components.p[i]));
    CLEANUP(json_decrefp)
    json_t *params = json_pack("{s:s,s:s,s:O}", "model_id", m.key.model_id, "model_version", m.key.version,
                               "components", names);
    if (client_call(cx, site, "model.deploy", params, &j).code) return cmd_fail(cx, json);
    if (json) return cmd_print_json(cx, j);
    printf("deployed as version %s\n", sub_str(j, "model_version"));
    return 0;
}

/* ---- export, import ---- */

static int export_model(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL, *role = NULL, *file = NULL, *dir;
    struct model_info m;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {SITE_OPTION,
                               ROLE_OPTION,
                               {"--out", ARG_TEXT, &file, "FILE", "the archive to write", true},
                               JSON_OPTION};
    const struct arg_spec spec = {"model export --site DIR --out FILE VERSION",
                                  "Writes this party's half as one checksummed archive, in FATE's layout.",
                                  "norn model export --site bank --out model.zip 202611240930001234560",
                                  args,
                                  LEN(args),
                                  1,
                                  1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (find_model(cx, site, rest[0], role, &m, &dir).code || model_export(cx, dir, &m.key, file).code)
        return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = info_json(&m);
        json_object_set_new(j, "file", json_string(file));
        return cmd_print_json(cx, j);
    }
    printf("written to %s\n", file);
    return 0;
}

static status import(struct ctx *cx, const char *site, const char *file, bool replace, struct model_info *m)
{
    const char *dir;
    struct settings set;
    TRY(settings_load(cx, site, NULL, 0, &set));
    TRY(models_dir(cx, site, &dir));
    TRY(model_import(cx, dir, file, replace, m));
    return OK;
}

static int import_model(struct ctx *cx, int argc, char **argv)
{
    const char **rest, *site = NULL;
    struct model_info m;
    size_t n;
    bool json = false, replace = false, help;
    const struct arg args[] = {
        SITE_OPTION,
        {"--replace", ARG_FLAG, &replace, NULL, "even if that version is here already", false},
        JSON_OPTION};
    const struct arg_spec spec = {
        "model import --site DIR [--replace] FILE",
        "Reads an archive that norn or FATE exported; every checksum is verified first.",
        "norn model import --site bank model.zip",
        args,
        LEN(args),
        1,
        1};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    if (import(cx, site, rest[0], replace, &m).code) return cmd_fail(cx, json);
    if (json) {
        CLEANUP(json_decrefp) json_t *j = info_json(&m);
        return cmd_print_json(cx, j);
    }
    print_model(cx, &m);
    return 0;
}

int cmd_model(struct ctx *cx, int argc, char **argv)
{
    static const struct sub subs[] = {
        {"list", list, "this party's halves of models"},
        {"show", show, "what one holds"},
        {"deploy", deploy, "make one ready to predict"},
        {"export", export_model, "write one as an archive"},
        {"import", import_model, "read one from an archive"},
    };
    return sub_run(cx, "model", subs, LEN(subs), argc, argv);
}
