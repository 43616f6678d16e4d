#include "cli/cmd.h"
#include <stdio.h>
#include <string.h>

int cmd_print_json(struct ctx *cx, const json_t *j)
{
    const char *text;
    if (js_text(cx, j, &text).code) return cmd_fail(cx, false);
    return puts(text) < 0 || fflush(stdout) ? err_exit(ERR_IO) : 0;
}

int cmd_fail(struct ctx *cx, bool json)
{
    struct err why = cx->err;
    if (!json) {
        fprintf(stderr, "norn: %s\n", why.msg[0] ? why.msg : err_text(why.code));
        return err_exit(why.code);
    }
    json_t *message = json_string(why.msg);
    CLEANUP(json_decrefp)
    json_t *j = json_pack("{s:{s:s,s:o}}", "error", "code", err_name(why.code), "message",
                          message ? message : json_string(err_text(why.code)));
    const char *text;
    if (js_text(cx, j, &text).code == ERR_OK) puts(text);
    return err_exit(why.code);
}
