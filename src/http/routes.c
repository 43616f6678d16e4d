/* routes.c - all tables of routes. */
#include "http/http_int.h"

extern const struct route info_routes[];

const struct route *const route_tables[] = {info_routes, NULL};
