/* order.h - the common order of ids: by SHA-256 of the id under a fixed label, which every party can compute. */
#pragma once
#include "table/table.h"

/* order: the table's logical rows sorted by that hash, n_rows of them, in cx->mem. FORMAT: an id stands there more than
 * once, with the number of such rows and the first of them (never the id itself). */
status order_ids(struct ctx *cx, const struct table *t, uint32_t **order);
