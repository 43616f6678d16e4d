/* js.h - JSON by jansson, with errors that name the place. Values returned by js_get_* are borrowed. */
#pragma once
#include "base/bytes.h"
#include <jansson.h>

/* Owned json_t: hold with CLEANUP(json_decrefp). */
void json_decrefp(json_t **j);
/* FORMAT with line and column; duplicate keys, NUL and depth above 64 are refused. `what` names the source. */
status js_parse(struct ctx *cx, const char *what, const void *p, size_t n, json_t **out);
status js_read(struct ctx *cx, const char *path, json_t **out); /* at most 64 MiB */
/* Compact text in cx->mem, reals as num_format_f64 does. Keys in insertion order. */
status js_text(struct ctx *cx, const json_t *j, const char **out);
status js_text_sorted(struct ctx *cx, const json_t *j,
                      const char **out); /* keys in byte order, as Flask gives them */
/* "a.b.c" inside objects; NULL when absent: a question. */
json_t *js_at(const json_t *j, const char *dotted);
/* FORMAT naming the key when absent or of another type. */
status js_get_str(struct ctx *cx, const json_t *obj, const char *key, const char **out);
status js_get_i64(struct ctx *cx, const json_t *obj, const char *key, int64_t *out);
status js_get_obj(struct ctx *cx, const json_t *obj, const char *key, json_t **out);
status js_get_arr(struct ctx *cx, const json_t *obj, const char *key, json_t **out);
/* Deep merge of `over` into `base` (objects key by key, everything else replaced). */
status js_merge(struct ctx *cx, json_t *base, const json_t *over);
