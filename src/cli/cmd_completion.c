/* cmd_completion.c - norn completion bash | zsh | fish: a script for the shell, made from one table of words.
 */
#include "cli/sub.h"
#include <stdio.h>
#include <string.h>

static const struct words {
    const char *command, *sub, *options; /* sub "": of the command itself */
} table[] = {
    {"site", "init", "--party --name --listen --http --auth --peer --ca --json"},
    {"site", "run", "--foreground --set --json"},
    {"site", "status", "--json"},
    {"site", "stop", "--drain --json"},
    {"site", "restart", "--drain --set --json"},
    {"site", "metrics", "--json"},
    {"site", "add-peer", "--json"},
    {"job", "submit", "--site --dsl --conf --wait --json"},
    {"job", "list", "--site --max --json"},
    {"job", "show", "--site --watch --json"},
    {"job", "stop", "--site --json"},
    {"job", "rerun", "--site --wait --json"},
    {"job", "why", "--site --json"},
    {"job", "logs", "--site --role"},
    {"job", "metrics", "--site --role --json"},
    {"job", "summary", "--site --role --json"},
    {"job", "output", "--site --role --name --rows --out --json"},
    {"component", "list", "--json"},
    {"component", "show", "--json"},
    {"model", "list", "--site --json"},
    {"model", "show", "--site --role --json"},
    {"model", "deploy", "--site --component --json"},
    {"model", "export", "--site --role --out --json"},
    {"model", "import", "--site --replace --json"},
    {"upload", "",
     "--site --table --id --label --delimiter --no-header --missing --type --duplicates --replace --json"},
    {"table", "list", "--site --json"},
    {"table", "show", "--site --json"},
    {"table", "preview", "--site --rows --json"},
    {"table", "export", "--site --out --json"},
    {"table", "delete", "--site --json"},
    {"table", "uploads", "--site --rows --json"},
    {"key", "add", "--site --role --json"},
    {"key", "list", "--site --json"},
    {"key", "revoke", "--site --json"},
    {"predict", "", "--site --version --model --table --host-table --out --wait --json"},
    {"status", "", "--site --json"},
    {"doctor", "", "--site --quick --bundle --json"},
    {"completion", "bash", ""},
    {"completion", "zsh", ""},
    {"completion", "fish", ""},
};

static bool first_of_command(size_t i)
{
    return i == 0 || strcmp(table[i].command, table[i - 1].command) != 0;
}

static void print_subs(const char *command)
{
    const char *space = "";
    for (size_t i = 0; i < LEN(table); i++)
        if (strcmp(table[i].command, command) == 0 && *table[i].sub)
            printf("%s%s", space, table[i].sub), space = " ";
}

static void print_commands(void)
{
    fputs("ca generate", stdout);
    for (size_t i = 0; i < LEN(table); i++)
        if (first_of_command(i)) printf(" %s", table[i].command);
}

/* The body of a shell function that bash runs, and zsh through bashcompinit. */
static void bash(void)
{
    puts("_norn() {\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n    case \"${COMP_WORDS[1]} "
         "${COMP_WORDS[2]}\" in");
    for (size_t i = 0; i < LEN(table); i++)
        if (*table[i].options)
            printf("    \"%s %s\"%s) words='%s' ;;\n", table[i].command, table[i].sub,
                   *table[i].sub ? "" : "*", table[i].options);
    puts("    esac\n    if [ \"$COMP_CWORD\" = 1 ]; then");
    printf("        words='");
    print_commands();
    puts("'\n    elif [ \"$COMP_CWORD\" = 2 ]; then\n        case ${COMP_WORDS[1]} in");
    for (size_t i = 0; i < LEN(table); i++) {
        if (!first_of_command(i) || !*table[i].sub) continue;
        printf("        %s) words='", table[i].command);
        print_subs(table[i].command);
        puts("' ;;");
    }
    puts("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words --help\" -- \"$cur\"))\n"
         "    [[ $cur == -* || $COMP_CWORD -lt 3 ]] || COMPREPLY+=($(compgen -f -- \"$cur\"))\n}\ncomplete "
         "-o filenames -F _norn norn");
}

static void fish(void)
{
    printf("complete -c norn -n __fish_use_subcommand -f -a '");
    print_commands();
    puts("'");
    for (size_t i = 0; i < LEN(table); i++) {
        const char *c = table[i].command, *s = table[i].sub;
        if (first_of_command(i) && *s) {
            printf("complete -c norn -n '__fish_seen_subcommand_from %s; and test (count (commandline -opc)) "
                   "-eq 2' -f -a '",
                   c);
            print_subs(c);
            puts("'");
        }
        for (const char *p = table[i].options; *p;) {
            size_t n = strcspn(p, " ");
            printf("complete -c norn -n '__fish_seen_subcommand_from %s", c);
            if (*s) printf("; and __fish_seen_subcommand_from %s", s);
            printf("' -l %.*s\n", (int)n - 2, p + 2);
            p += n + (p[n] == ' ');
        }
    }
}

int cmd_completion(struct ctx *cx, int argc, char **argv)
{
    const char *shell = argc > 1 ? argv[1] : "";
    if (strcmp(shell, "--help") == 0) {
        puts("usage: norn completion bash|zsh|fish\n\nPrints a completion script for the "
             "shell.\n\nexample:\n  source <(norn completion bash)");
        return 0;
    }
    if (strcmp(shell, "bash") == 0)
        bash();
    else if (strcmp(shell, "zsh") == 0)
        puts("autoload -U +X bashcompinit && bashcompinit"), bash();
    else if (strcmp(shell, "fish") == 0)
        fish();
    else {
        (void)FAIL(cx, ARG, "completion for which shell? bash, zsh or fish").code;
        return cmd_fail(cx, false);
    }
    return 0;
}
