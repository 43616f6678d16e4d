/* site_cmds.h - the commands of `norn site` that have files of their own. */
#pragma once
#include "base/ctx.h"

int site_run_cmd(struct ctx *cx, int argc, char **argv);
int site_stop_cmd(struct ctx *cx, int argc, char **argv);
int site_restart_cmd(struct ctx *cx, int argc, char **argv);
int site_metrics_cmd(struct ctx *cx, int argc, char **argv);
