/* zips.h - archives member by member, for the tests of export and import. */
#pragma once
#include "fixture.h"

#define FOLDER     "guest#9999#" MODEL_ID "/" TRAINED
#define META       "variables/data/data_transform_0/model/DataTransformMeta"
#define RECORD     "variables/data/pipeline/pipeline/Pipeline"
#define DEFINE     "define/define_meta.yaml"
#define CHECKPOINT "checkpoint/data_transform_0/1#round_1/"
#define SUMS       "checksums.sha256"

struct member {
    const char *name;
    struct bytes data;
    mode_t type;      /* 0: a plain file */
    const char *link; /* of a symbolic link */
};
struct members {
    struct member m[64];
    size_t n;
};

/* Aborts where it cannot: tests of zips need zips. */
void zip_write(const char *file, const struct members *z);
void zip_read(struct ctx *cx, const char *file, struct members *z);
struct member *zip_find(struct members *z, const char *name);
void zip_drop(struct members *z, const char *name);
void zip_put(struct members *z, const char *name, const void *p, size_t n);
void zip_put_text(struct members *z, const char *name, const char *text);
/* The line of checksums.sha256. */
const char *sum_line(struct ctx *cx, const struct member *m);
/* The exported model as members (NULL: not asked for); gives the archive's path. */
const char *exported(struct ctx *cx, struct members *z);
/* Where `exported` keeps the models. */
const char *models_of(struct ctx *cx, const char *file);
/* A folder of models in memory: for thousands of imports. */
const char *fast_dir(struct ctx *cx);
