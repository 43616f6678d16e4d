/* main.c - norn's one binary: finds the subcommand and gives it its arguments. */
#include "base/arena.h"
#include "cli/cmd.h"
#include "flow/names.h"
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(struct ctx *cx, int argc, char **argv);
    const char *text; /* NULL: hidden */
} commands[] = {
    {"site", cmd_site, "a site: init, run, status, stop, restart, metrics, add-peer"},
    {"ca", cmd_ca, "a federation's small certificate authority"},
    {"upload", cmd_upload, "a CSV file into the site's store"},
    {"table", cmd_table, "stored tables: list, show, preview, export, delete"},
    {"job", cmd_job, "jobs: submit, list, show, stop, rerun, why, logs, metrics, summary, output"},
    {"component", cmd_component, "components and their parameters: list, show"},
    {"model", cmd_model, "models: list, show, deploy, export, import"},
    {"key", cmd_key, "who may use the site's API: add, list, revoke"},
    {"predict", cmd_predict, "new rows through a trained model"},
    {"generate", cmd_generate, "data of any size with a known structure"},
    {"status", cmd_status, "all that a site has now: jobs, processes, streams, tables, disk"},
    {"doctor", cmd_doctor, "what is wrong with this site, and what helps"},
    {"completion", cmd_completion, "shell completion: bash, zsh, fish"},
    {"task", cmd_task, NULL},
};

static void usage(FILE *to)
{
    fputs("norn - federated learning between organisations\n\nusage: norn COMMAND [...]\n\n", to);
    for (size_t i = 0; i < LEN(commands); i++)
        if (commands[i].text) fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].text);
    fputs("\nEvery command teaches itself: norn COMMAND --help. Two sites on one machine:\n"
          "  norn ca init ca --name demo\n"
          "  norn site init bank   --party 9999  --listen 127.0.0.1:9371 --http 127.0.0.1:9380 --peer "
          "10000=127.0.0.1:9372 --ca ca\n"
          "  norn site init clinic --party 10000 --listen 127.0.0.1:9372 --http 127.0.0.1:9381 --peer "
          "9999=127.0.0.1:9371  --ca ca\n"
          "  norn site run bank && norn site run clinic\n",
          to);
}

static int run(struct ctx *cx, int argc, char **argv)
{
    const char *names[LEN(commands)];
    const char *given = argc > 1 ? argv[1] : "";
    if (argc < 2 || strcmp(given, "--help") == 0 || strcmp(given, "help") == 0 || strcmp(given, "-h") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? err_exit(ERR_ARG) : 0;
    }
    if (strcmp(given, "--version") == 0) return puts("norn " NORN_VERSION) < 0;
    for (size_t i = 0; i < LEN(commands); i++) {
        names[i] = commands[i].name;
        if (strcmp(given, commands[i].name) == 0) return commands[i].run(cx, argc - 1, argv + 1);
    }
    const char *near = name_nearest(given, names, LEN(names));
    (void)FAIL(cx, ARG, "no command %.40s%s%s%s (see norn --help)", given, near ? ", did you mean " : "",
               near ? near : "", near ? "?" : "")
        .code;
    return cmd_fail(cx, false);
}

int main(int argc, char **argv)
{
    struct ctx cx = {.mem = arena_new(0)};
    if (!cx.mem) return err_exit(ERR_NOMEM);
    int code = run(&cx, argc, argv);
    arena_free(cx.mem);
    return code;
}
