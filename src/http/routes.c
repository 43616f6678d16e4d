/* routes.c - all tables of routes. */
#include "http/http_int.h"

extern const struct route info_routes[], job_routes[], tracking_routes[], table_routes[], data_routes[],
    model_routes[], tag_routes[], component_routes[], access_routes[], log_routes[], openapi_routes[],
    list_routes[];

const struct route *const route_tables[] = {
    info_routes,      job_routes,    tracking_routes, table_routes,   data_routes, model_routes, tag_routes,
    component_routes, access_routes, log_routes,      openapi_routes, list_routes, NULL};
