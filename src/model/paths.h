/* paths.h - where the pieces of a model lie; internal to the model layer. docs/formats/model.md draws the folder. */
#pragma once
#include "base/arena.h"
#include "model/model.h"

#define MODEL_FILE_MAX ((size_t)256 << 20) /* bytes of one file of a model */
#define PIPELINE_FILE  "variables/data/pipeline/pipeline/Pipeline"

/* Declares `name`, a path in cx->mem; leaves the function when there is no memory for it. */
#define PATH(cx, name, ...)                                                                                  \
    const char *name = arena_printf((cx)->mem, __VA_ARGS__);                                                 \
    if (!(name)) return FAIL((cx), NOMEM, "a path")

/* ---- folder.c ---- */

/* ARG: a role, id, version or component name with a character outside letters, digits, '_', '-', '#', '.' or that
 * begins with '.', or is longer than 200: names come from peers and archives and must never leave the folder. */
status model_check_name(struct ctx *cx, const char *what, const char *name);
status model_path(struct ctx *cx, const char *dir, const struct model_key *k, const char **out);
/* The same of names that were read from a file: FORMAT. */
status model_check_stored_name(struct ctx *cx, const char *what, const char *name);
status model_check_stored_key(struct ctx *cx, const struct model_key *k);
/* What dir/<model>/<version> is the folder of; false: of nothing (a stray file, one being built). In cx->mem. */
bool folder_key(struct ctx *cx, const char *model, const char *version, struct model_key *out);
/* Bytes of the files under path; newest_ms (may be NULL): the last change of any. Links are not followed. */
uint64_t folder_bytes(struct ctx *cx, const char *path, int64_t *newest_ms);
/* `from`, complete, becomes `to` in one step, on disk before it is seen. EXISTS unless replace; what stood there is
 * removed then, after the step. */
status folder_publish(struct ctx *cx, const char *from, const char *to, bool replace);

/* ---- define.c ---- */

/* model_proto and component_define of define/define_meta.yaml, one row a buffer; the rows of a component stand
 * together and have one alias. FORMAT: also a name that stands there twice. */
struct define_row {
    const char *component, *module, *alias, *name, *proto; /* alias NULL: a component without buffers */
};
status define_read(struct ctx *cx, const char *folder, struct define_row **out, size_t *n);
status define_write(struct ctx *cx, const char *folder, const struct define_row *rows, size_t n);

/* ---- pipeline.c ---- */

/* The pipeline record of a folder; key (may be NULL): whose it is, as found in it. FORMAT: also a record without
 * training DSL or configuration. */
status pipeline_read(struct ctx *cx, const char *folder, struct model_pipeline *out, struct model_key *key);
/* Rewrites it with another version and inference DSL, no longer a parent. */
status pipeline_rewrite(struct ctx *cx, const char *folder, const json_t *inference_dsl, const char *version,
                        const char *parent_version);

/* ---- model.c ---- */

/* Writes folder/variables/data/<component>/<alias>/<name> and their JSON views. */
status buffers_write(struct ctx *cx, const char *folder, const struct model_part *p);
/* Enters p in define_meta, in place of what stands there for its component. */
status define_update(struct ctx *cx, const char *folder, const struct model_part *p);
/* Writes the JSON view of a buffer beside its file. */
status view_write(struct ctx *cx, const char *file, const struct model_buffer *b);
status model_describe(struct ctx *cx, const char *folder, const struct model_key *k, struct model_info *out);

/* ---- archive.c ---- */

/* model_import with other bounds, for tests. */
struct archive_bounds {
    size_t file;    /* bytes of one member */
    uint64_t total; /* of all */
    size_t members;
};
status archive_import(struct ctx *cx, const char *dir, const char *file, bool replace,
                      const struct archive_bounds *max, struct model_info *out);
