/* registry.c - every component there is, in the order a job usually runs them. */
#include "fed/component.h"
#include <strings.h>

extern const struct component component_reader, component_data_transform, component_intersection,
    component_hetero_secureboost, component_evaluation, component_secure_add;

static const struct component *const all[] = {
    &component_reader,     &component_data_transform, &component_intersection, &component_hetero_secureboost,
    &component_evaluation, &component_secure_add,
};

const struct component *const *component_all(size_t *n)
{
    *n = LEN(all);
    return all;
}

const struct component *component_find(const char *module)
{
    for (size_t i = 0; i < LEN(all); i++)
        if (strcasecmp(all[i]->module, module) == 0) return all[i];
    return NULL;
}
