/* http.h - FATE-Flow's v1 HTTP API of a site, so that FATE 1.11's own clients drive it unmodified.
 *
 * libmicrohttpd's thread speaks HTTP; a few worker threads run the routes, each with its own arena and its own handles of
 * the databases, so that a slow request holds up nobody. What changes jobs is asked of the site's loop (flow/api.h).
 * docs/compatibility.md says what is answered how. */
#pragma once
#include "flow/api.h"

extern const struct site_part http_part;
