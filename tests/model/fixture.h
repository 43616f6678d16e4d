/* fixture.h - a small model of two parts, and what the tests of the model layer look at it with. */
#pragma once
#include "model/model.h"
#include "model/pb_json.h"
#include "tests/table/scratch.h"

#define MODEL_ID  "guest-9999#host-10000#model"
#define TRAINED   "202611240930001234560"
#define DEPLOYED  "202611240930001234570"
#define TRANSFORM "data_transform_0"
#define BOOST     "hetero_secure_boost_0"

extern const struct model_key guest_key; /* guest 9999, MODEL_ID, TRAINED */
extern const char
    *const train_dsl_text; /* Reader, DataTransform, Intersection, HeteroSecureBoost, Evaluation */
extern const char *const train_conf_text;

/* Parsed and owned by cx->mem; ' for ". */
json_t *json_of(struct ctx *cx, const char *text);
/* The parts, with `trees` trees in the ensemble. Buffers in cx->mem. */
struct model_part transform_part(struct ctx *cx);
struct model_part boost_part(struct ctx *cx, size_t trees);
/* Both parts with run parameters, and the record. */
status save_parts(struct ctx *cx, const char *dir, const struct model_key *k, size_t trees);
status save_record(struct ctx *cx, const char *dir, const struct model_key *k);
status save_model(struct ctx *cx, const char *dir, const struct model_key *k, size_t trees);
/* Every path under folder with its bytes: equal texts, equal folders. */
struct bytes folder_text(struct ctx *cx, const char *folder);
bool same_bytes(struct bytes a, struct bytes b);
