/* query.h - the query strings of FATE's clients. */
#pragma once
#include "base/js.h"

/* A raw query as one JSON text (how fate-client sends the settings of an upload, percent-encoded or not), or else as ordinary
 * key=value pairs of texts. Always an object; caller owns. ARG: JSON that is no object. */
status query_settings(struct ctx *cx, const char *query, json_t **out);
