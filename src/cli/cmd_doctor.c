/* cmd_doctor.c - norn doctor: looks at everything a site needs, names what fails, at which hop, and what helps. */
#include "base/arena.h"
#include "cli/args.h"
#include "cli/doctor.h"
#include "cli/sub.h"
#include "flow/site.h"
#include <stdio.h>

void doctor_find(struct doctor *d, enum verdict v, const char *what, const char *text, const char *remedy)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    d->n_bad += v == BAD, d->n_warn += v == WARN;
    json_array_append_new(d->findings,
                          json_pack("{s:s,s:s,s:s,s:s}", "check", what, "verdict", words[v], "text",
                                    text ? text : "", "remedy", v == GOOD || !remedy ? "" : remedy));
}

static void check_all(struct ctx *cx, struct doctor *d)
{
    if (settings_load(cx, d->dir, NULL, 0, &d->set).code) {
        doctor_find(d, BAD, "settings", arena_strdup(cx->mem, cx->err.msg),
                    "correct norn.conf at that place");
        return;
    }
    doctor_find(d, GOOD, "settings", arena_printf(cx->mem, "party %u", d->set.party), NULL);
    d->pid = site_pid(cx, d->dir);
    d->running = d->pid != 0;
    doctor_find(d, d->running ? GOOD : WARN, "site", d->running ? "runs" : "does not run", "norn site run");
    doctor_keys(cx, d);
    doctor_peers(cx, d);
    doctor_machine(cx, d);
}

static void print(const struct doctor *d)
{
    for (size_t i = 0; i < json_array_size(d->findings); i++) {
        const json_t *f = json_array_get(d->findings, i);
        printf("%-5s %-14s %s\n", sub_str(f, "verdict"), sub_str(f, "check"), sub_str(f, "text"));
        if (*sub_str(f, "remedy")) printf("      %-14s -> %s\n", "", sub_str(f, "remedy"));
    }
    printf("%s\n", d->n_bad    ? "something fails: see above"
                   : d->n_warn ? "works; see the warnings"
                               : "all well");
}

int cmd_doctor(struct ctx *cx, int argc, char **argv)
{
    struct doctor d = {0};
    const char **rest, *bundle = NULL;
    size_t n;
    bool json = false, help;
    const struct arg args[] = {
        {"--site", ARG_TEXT, &d.dir, "DIR", "the site's folder", true},
        {"--quick", ARG_FLAG, &d.quick, NULL, "no throughput test and no toy job with each peer", false},
        {"--bundle", ARG_TEXT, &bundle, "FILE", "a tar.gz for support, without secrets or row values", false},
        {"--json", ARG_FLAG, &json, NULL, "answer as JSON", false}};
    const struct arg_spec spec = {
        "doctor --site DIR [--quick] [--bundle FILE]",
        "Checks settings, certificates, ports, the way to each peer hop by hop, its speed, a toy job with "
        "it,\n"
        "disk, databases and limits, and says what helps. Exit code 13 when anything fails.",
        "norn doctor --site bank --bundle bank-support.tar.gz",
        args,
        LEN(args),
        0,
        0};
    if (args_parse(cx, &spec, argc, argv, &rest, &n, &help).code) return cmd_fail(cx, json);
    if (help) return 0;
    CLEANUP(json_decrefp) json_t *findings = d.findings = json_array();
    check_all(cx, &d);
    if (bundle && doctor_bundle(cx, &d, bundle).code) return cmd_fail(cx, json);
    int code = d.n_bad ? err_exit(ERR_STATE) : 0;
    if (json) {
        CLEANUP(json_decrefp)
        json_t *j = json_pack("{s:b,s:O,s:s*}", "ok", d.n_bad == 0, "checks", findings, "bundle", bundle);
        int printed = cmd_print_json(cx, j);
        return printed ? printed : code;
    }
    print(&d);
    if (bundle) printf("support bundle: %s\n", bundle);
    return code;
}
