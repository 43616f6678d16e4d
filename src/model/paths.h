/* paths.h - where the pieces of a model lie; internal to the model layer. docs/formats/model.md draws the folder. */
#pragma once
#include "model/model.h"

/* ARG: a role, id, version or component name with a character outside letters, digits, '_', '-', '#', '.' or that
 * begins with '.': names come from peers and archives and must never leave the folder. */
status model_path(struct ctx *cx, const char *dir, const struct model_key *k, const char **out);
status model_check_name(struct ctx *cx, const char *what, const char *name);
/* model_proto and component_define of define/define_meta.yaml, one row a buffer. */
struct define_row {
    const char *component, *module, *alias, *name, *proto; /* alias NULL: a component without buffers */
};
status define_read(struct ctx *cx, const char *folder, struct define_row **out, size_t *n);
status define_write(struct ctx *cx, const char *folder, const struct define_row *rows, size_t n);
/* The pipeline record of a folder: party and role as found in it. */
status pipeline_read(struct ctx *cx, const char *folder, struct model_pipeline *out, struct model_key *key);
/* Rewrites it with another version, inference DSL (NULL: as it is), no longer a parent. */
status pipeline_rewrite(struct ctx *cx, const char *folder, const json_t *inference_dsl, const char *version,
                        const char *parent_version);
