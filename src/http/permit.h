/* permit.h - which partner may use which component and table of this site in its jobs.
 *
 * Documents of kind "grant": key "<party>/component/<module, lower case>" or "<party>/dataset/<namespace>/<name>"; "*" stands
 * for all. Asked on the loop's thread before a job of a partner is taken, and by the API. */
#pragma once
#include "http/apidb.h"

/* component: "a,b" or "*"; dataset: {"namespace", "name"}, a list of such, or "*"; either may be NULL. ARG. */
status permit_change(struct ctx *cx, struct apidb *db, const char *party, const json_t *component,
                     const json_t *dataset, bool grant);
/* {"component": [...], "dataset": [{"namespace", "name"}]}; caller owns. */
status permit_list(struct ctx *cx, struct apidb *db, const char *party, json_t **out);
/* AUTH: not granted. */
status permit_component(struct ctx *cx, struct apidb *db, uint32_t party, const char *module);
status permit_table(struct ctx *cx, struct apidb *db, uint32_t party, const char *ns, const char *name);
