/* model.h - what one party keeps of a model, as FATE lays it out (reference: docs/formats/model.md).
 *
 * A model is a folder per (role, party, model id, version): define/define_meta.yaml,
 * variables/data/<component>/<alias>/<Name> (protobuf) and <Name>.json, run_parameters/<component>/run_parameters.json,
 * and the pipeline record. model_id "guest-9999#host-10000#model", version = the training job's id.
 *
 * Names become paths, so each is checked: ARG for one that could leave the folder or is longer than 200. No file of a
 * model has more than 256 MiB. Two writers of one version have to keep each other out; readers need not. */
#pragma once
#include "base/js.h"

struct model_buffer {
    const char *name;  /* "HeteroSecureBoostingTreeGuestParam": exactly one ends in Meta and one in Param */
    const char *proto; /* "BoostingTreeModelParam" */
    struct bytes pb;
};
struct model_part { /* one component's output model at one party */
    const char *component, *alias, *module;
    struct model_buffer buffers[4];
    size_t n_buffers;
};
/* NULL: no buffer whose name ends so ("Meta", "Param"). */
const struct model_buffer *model_buffer(const struct model_part *p, const char *suffix);

struct model_key {
    const char *role;
    uint32_t party;
    const char *model_id, *version;
};
struct model_info {
    struct model_key key;
    int64_t created_ms;
    bool deployed; /* parent = false: made by deploy, can predict */
    const char *parent_version;
    const char *const *components;
    size_t n_components;
    uint64_t bytes;
    const char
        *damage; /* NULL = sound; else why it cannot be used, and only key, created_ms and bytes are set */
};
/* dir: the site's model folder (DIR/models). All in cx->mem.
 * A part is written file by file, each whole; the same component again replaces it. ARG: a component named "pipeline".
 * UNSUPPORTED: a message that pb_find does not know. FORMAT: bytes that are no such message. */
status model_save_part(struct ctx *cx, const char *dir, const struct model_key *k, const struct model_part *p,
                       const json_t *run_parameters);
/* The pipeline record, last: makes the model visible to all but model_load_part. dsl, conf: of the training job, whose
 * "role" lists the owner. inference_dsl: NULL = none. */
status model_save_pipeline(struct ctx *cx, const char *dir, const struct model_key *k,
                           const json_t *train_dsl, const json_t *inference_dsl, const json_t *train_conf,
                           const json_t *conf_on_party, uint32_t initiator_party, const char *initiator_role);
/* Also of a model without its record yet: later components of the job that trains it ask. *run_parameters (the argument
 * may be NULL): NULL when there are none; goes with cx->mem. NOTFOUND, FORMAT. */
status model_load_part(struct ctx *cx, const char *dir, const struct model_key *k, const char *component,
                       struct model_part *out, json_t **run_parameters);
struct model_pipeline {
    json_t *train_dsl, *inference_dsl, *train_conf, *conf_on_party; /* owned by cx->mem's hooks */
    bool parent;
    const char *parent_version;
};
/* NOTFOUND: also one that is half written. */
status model_load_pipeline(struct ctx *cx, const char *dir, const struct model_key *k,
                           struct model_pipeline *out);
/* By role, party and id, then version. */
status model_list(struct ctx *cx, const char *dir, struct model_info **out, size_t *n);
/* Removes what imports and deploys left that a crash ended, when nothing in it changed for an hour. */
status model_sweep(struct ctx *cx, const char *dir, size_t *n_removed);
/* A new version holding the inference DSL of the given components (NULL: all that can be deployed). STATE: the parent is
 * a deployed one. EXISTS, NOTFOUND; ARG as model_infer_dsl. */
status model_deploy(struct ctx *cx, const char *dir, const struct model_key *parent,
                    const char *const *components, size_t n, const char *new_version);
/* The same with that inference DSL instead of one made of the training's. ARG: it names a model that the parent has not. */
status model_deploy_dsl(struct ctx *cx, const char *dir, const struct model_key *parent, const json_t *dsl,
                        const char *new_version);
/* One archive (FATE's zip layout) with a SHA-256 of every member in checksums.sha256, 0600; the same model gives the same
 * bytes. Import verifies each before the model is seen, and that its messages are messages; FATE's own archives bring no
 * checksums and are held to the rest (docs/formats/model.md). FORMAT: altered, cut off, another layout, a path that
 * leads outside. LIMIT: a member above 256 MiB, 1 GiB in all, 20,000 members. UNSUPPORTED: a message that norn has not.
 * EXISTS unless replace; a refused archive leaves nothing, and what was there as it was. */
status model_export(struct ctx *cx, const char *dir, const struct model_key *k, const char *file);
status model_import(struct ctx *cx, const char *dir, const char *file, bool replace, struct model_info *out);
/* A buffer as FATE's JSON view (camelCase, defaults included): for API, board, `norn model show`. */
status model_json(struct ctx *cx, const struct model_buffer *b, json_t **out);
/* The DSL that predicts with the given components of a training DSL (NULL: all but Evaluation): models come from
 * "pipeline.<component>.<alias>", train_data becomes test_data, sources that are left out are followed to their own.
 * ARG: a component the DSL does not have. Caller owns *out. */
status model_infer_dsl(struct ctx *cx, const json_t *train_dsl, const char *const *components, size_t n,
                       json_t **out);
