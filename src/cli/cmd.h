/* cmd.h - norn's subcommands: each parses its own arguments, prints, and returns the exit code (err_exit of
 * what failed).
 *
 * cx has an arena without a cap, no pool and no log. argv[0] is the command's name as typed ("site"). */
#pragma once
#include "base/js.h"

int cmd_site(struct ctx *cx, int argc, char **argv);
int cmd_ca(struct ctx *cx, int argc, char **argv);
int cmd_upload(struct ctx *cx, int argc, char **argv);
int cmd_table(struct ctx *cx, int argc, char **argv);
int cmd_job(struct ctx *cx, int argc, char **argv);
int cmd_component(struct ctx *cx, int argc, char **argv);
int cmd_model(struct ctx *cx, int argc, char **argv);
int cmd_key(struct ctx *cx, int argc, char **argv);
int cmd_predict(struct ctx *cx, int argc, char **argv);
int cmd_generate(struct ctx *cx, int argc, char **argv);
int cmd_status(struct ctx *cx, int argc, char **argv);
int cmd_doctor(struct ctx *cx, int argc, char **argv);
int cmd_completion(struct ctx *cx, int argc, char **argv);
int cmd_task(struct ctx *cx, int argc, char **argv); /* hidden: a task's own process */

/* Says what failed: "norn: <message>" on stderr, or {"error": {"code", "message"}} on stdout with json.
 * Returns err_exit(cx->err.code). */
int cmd_fail(struct ctx *cx, bool json);
/* One JSON document and a newline on stdout. Returns 0, or the exit code when stdout is gone. */
int cmd_print_json(struct ctx *cx, const json_t *j);
