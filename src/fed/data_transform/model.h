/* model.h - what DataTransform learned, as FATE's messages DataTransformMeta and DataTransformParam. */
#pragma once
#include "fed/component.h"
#include "fed/data_transform/transform.h"

/* spec NULL: of a component with need_run false, both messages empty. */
status dt_model_save(struct ctx *cx, const struct dt_spec *spec, const char *component,
                     struct model_part **out);
/* *needed: false for a model that was saved with need_run false. FORMAT: malformed, or lacks what it refers to;
 * UNSUPPORTED: trained on an input format that norn does not read. */
status dt_model_load(struct ctx *cx, const struct model_part *part, struct dt_spec *out, bool *needed);
