#include "fed/data_transform/model.h"
#include "base/arena.h"
#include "model/data-transform-meta.pb-c.h"
#include "model/data-transform-param.pb-c.h"
#include "model/pb_json.h"
#include <string.h>

static const char *const no_text = "";

/* ---- to protobuf ---- */

/* An array of `count` pointers to as many entries of a map from names to values. */
#define PB_MAP(cx, init, count, ptrs, keys, values)                                                          \
    do {                                                                                                     \
        __typeof__(*(ptrs)) entry_ = NEW(cx, __typeof__(**(ptrs)), (count) + 1);                             \
        (ptrs) = NEW(cx, __typeof__(*(ptrs)), (count) + 1);                                                  \
        if (!entry_ || !(ptrs)) return FAIL(cx, NOMEM, "%zu entries", (size_t)(count));                      \
        for (size_t i_ = 0; i_ < (count); i_++) {                                                            \
            init(&entry_[i_]);                                                                               \
            (ptrs)[i_] = &entry_[i_];                                                                        \
            entry_[i_].key = (char *)(keys)[i_];                                                             \
            entry_[i_].value = (__typeof__(entry_[i_].value))(values)[i_];                                   \
        }                                                                                                    \
    } while (0)

static status meta_to_pb(struct ctx *cx, const struct dt_spec *s, struct bytes *pb)
{
    Fate__DataTransformMeta m;
    Fate__DataTransformImputerMeta imputer;
    Fate__DataTransformOutlierMeta outlier;
    fate__data_transform_meta__init(&m);
    fate__data_transform_imputer_meta__init(&imputer);
    fate__data_transform_outlier_meta__init(&outlier);
    if (!s) return pb_pack(cx, &m.base, pb);
    m.input_format = (char *)"dense";
    m.delimitor = (char *)s->delimitor;
    m.data_type = (char *)s->data_type;
    m.tag_value_delimitor = (char *)":";
    m.with_label = s->with_label;
    if (s->with_label) m.label_name = (char *)s->label_name, m.label_type = (char *)s->label_type;
    m.output_format = (char *)s->output_format;
    m.n_exclusive_data_type = s->n_exclusive;
    PB_MAP(cx, fate__data_transform_meta__exclusive_data_type_entry__init, s->n_exclusive,
           m.exclusive_data_type, s->exclusive_name, s->exclusive_type);
    imputer.is_imputer = s->missing.on;
    if (s->missing.on ||
        s->missing.listed) /* FATE keeps the list of a rule that is on; a list alone counts too */
        imputer.n_missing_value = s->missing.n_match, imputer.missing_value = (char **)s->missing.match;
    if (s->missing.on) imputer.strategy = (char *)s->missing.strategy;
    outlier.is_outlier = s->outlier.on;
    if (s->outlier.on) {
        outlier.n_outlier_value = s->outlier.n_match, outlier.outlier_value = (char **)s->outlier.match;
        outlier.strategy = (char *)s->outlier.strategy;
    }
    m.imputer_meta = &imputer, m.outlier_meta = &outlier;
    return pb_pack(cx, &m.base, pb);
}

static status param_to_pb(struct ctx *cx, const struct dt_spec *s, struct bytes *pb)
{
    Fate__DataTransformParam m;
    Fate__DataTransformImputerParam imputer;
    Fate__DataTransformOutlierParam outlier;
    fate__data_transform_param__init(&m);
    fate__data_transform_imputer_param__init(&imputer);
    fate__data_transform_outlier_param__init(&outlier);
    if (!s) return pb_pack(cx, &m.base, pb);
    size_t n = s->n_features;
    m.n_header = m.n_anonymous_header = n;
    m.header = (char **)s->header, m.anonymous_header = (char **)s->anonymous;
    if (s->with_label) m.label_name = (char *)s->label_name;
    if (s->missing.on) {
        imputer.n_missing_replace_value = imputer.n_missing_value_ratio = n;
        PB_MAP(cx, fate__data_transform_imputer_param__missing_replace_value_entry__init, n,
               imputer.missing_replace_value, s->header, s->missing.value);
        PB_MAP(cx, fate__data_transform_imputer_param__missing_value_ratio_entry__init, n,
               imputer.missing_value_ratio, s->header, s->missing.rate);
    }
    if (s->outlier.on) {
        outlier.n_outlier_replace_value = outlier.n_outlier_value_ratio = n;
        PB_MAP(cx, fate__data_transform_outlier_param__outlier_replace_value_entry__init, n,
               outlier.outlier_replace_value, s->header, s->outlier.value);
        PB_MAP(cx, fate__data_transform_outlier_param__outlier_value_ratio_entry__init, n,
               outlier.outlier_value_ratio, s->header, s->outlier.rate);
    }
    m.imputer_param = &imputer, m.outlier_param = &outlier;
    return pb_pack(cx, &m.base, pb);
}

status dt_model_save(struct ctx *cx, const struct dt_spec *spec, const char *component,
                     struct model_part **out)
{
    struct model_part *part = NEW(cx, struct model_part, 1);
    if (!part) return FAIL(cx, NOMEM, "a model");
    *part = (struct model_part){
        .component = component, .alias = "model", .module = "DataTransform", .n_buffers = 2};
    part->buffers[0].name = part->buffers[0].proto = "DataTransformMeta";
    part->buffers[1].name = part->buffers[1].proto = "DataTransformParam";
    TRY(meta_to_pb(cx, spec, &part->buffers[0].pb));
    TRY(param_to_pb(cx, spec, &part->buffers[1].pb));
    *out = part;
    return OK;
}

/* ---- from protobuf ---- */

static status check_type(struct ctx *cx, const char *what, const char *name)
{
    enum dt_type t;
    return dt_type_parse(name, &t) ? OK : FAIL(cx, FORMAT, "%s is %.20s", what, name);
}

/* The value of each feature. FATE's models may lack a column that has no value. */
#define PB_VALUES(cx, rule, spec, count, entries, out)                                                       \
    do {                                                                                                     \
        size_t next_ = 0;                                                                                    \
        for (size_t k_ = 0; k_ < (spec)->n_features; k_++) {                                                 \
            for (size_t i_ = 0; i_ < (count) && !(out)[k_]; i_++) {                                          \
                size_t j_ = (next_ + i_) % (count);                                                          \
                if (strcmp((entries)[j_]->key, (spec)->header[k_]) != 0) continue;                           \
                (out)[k_] = (entries)[j_]->value;                                                            \
                next_ = j_ + 1;                                                                              \
            }                                                                                                \
            if (!(out)[k_])                                                                                  \
                return FAIL(cx, FORMAT, "%s has no value for column %.80s", (rule), (spec)->header[k_]);     \
        }                                                                                                    \
    } while (0)

static status rules_from_pb(struct ctx *cx, const Fate__DataTransformMeta *meta,
                            const Fate__DataTransformParam *param, struct dt_spec *s)
{
    const Fate__DataTransformImputerMeta *im = meta->imputer_meta;
    const Fate__DataTransformOutlierMeta *om = meta->outlier_meta;
    const Fate__DataTransformImputerParam *ip = param->imputer_param;
    const Fate__DataTransformOutlierParam *op = param->outlier_param;
    s->missing = (struct dt_rule){.name = "missing_fill", .strategy = no_text};
    s->outlier = (struct dt_rule){.name = "outlier_replace", .strategy = no_text};
    const char **missing = NEW(cx, const char *, s->n_features + 1),
               **outlier = NEW(cx, const char *, s->n_features + 1);
    if (!missing || !outlier) return FAIL(cx, NOMEM, "values of %zu columns", s->n_features);
    if (im) {
        s->missing.on = im->is_imputer, s->missing.listed = im->n_missing_value > 0;
        s->missing.match = (const char *const *)im->missing_value, s->missing.n_match = im->n_missing_value;
    }
    if (s->missing.on) {
        if (!ip) return FAIL(cx, FORMAT, "missing_fill has no values");
        PB_VALUES(cx, "missing_fill", s, ip->n_missing_replace_value, ip->missing_replace_value, missing);
        s->missing.value = missing;
    }
    if (om && om->is_outlier) {
        if (!op) return FAIL(cx, FORMAT, "outlier_replace has no values");
        s->outlier.on = s->outlier.listed = true;
        s->outlier.match = (const char *const *)om->outlier_value, s->outlier.n_match = om->n_outlier_value;
        PB_VALUES(cx, "outlier_replace", s, op->n_outlier_replace_value, op->outlier_replace_value, outlier);
        s->outlier.value = outlier;
    }
    return OK;
}

static status exclusive_from_pb(struct ctx *cx, const Fate__DataTransformMeta *meta, struct dt_spec *s)
{
    size_t n = meta->n_exclusive_data_type;
    const char **name = NEW(cx, const char *, n + 1), **type = NEW(cx, const char *, n + 1);
    if (!name || !type) return FAIL(cx, NOMEM, "types of %zu columns", n);
    for (size_t i = 0; i < n; i++) {
        name[i] = meta->exclusive_data_type[i]->key, type[i] = meta->exclusive_data_type[i]->value;
        TRY_IN(cx, check_type(cx, "exclusive_data_type", type[i]), "column %.80s", name[i]);
    }
    s->exclusive_name = name, s->exclusive_type = type, s->n_exclusive = n;
    return OK;
}

status dt_model_load(struct ctx *cx, const struct model_part *part, struct dt_spec *out, bool *needed)
{
    const struct model_buffer *mb = model_buffer(part, "Meta"), *pb = model_buffer(part, "Param");
    ProtobufCMessage *msg;
    if (!mb || !pb) return FAIL(cx, FORMAT, "it lacks Meta or Param");
    TRY(pb_unpack(cx, &fate__data_transform_param__descriptor, pb->pb, &msg));
    const Fate__DataTransformParam *param = (const Fate__DataTransformParam *)msg;
    *needed = param->n_header > 0 || mb->pb.n > 0;
    if (!*needed) return OK; /* FATE keeps the empty Param under both names then */
    TRY(pb_unpack(cx, &fate__data_transform_meta__descriptor, mb->pb, &msg));
    const Fate__DataTransformMeta *meta = (const Fate__DataTransformMeta *)msg;
    if (strcmp(meta->input_format, "dense") != 0)
        return FAIL(cx, UNSUPPORTED, "trained on input_format %.20s: norn reads dense only",
                    meta->input_format);
    if (meta->with_match_id) return FAIL(cx, UNSUPPORTED, "trained with_match_id, which norn has not built");
    struct dt_spec s = {.delimitor = meta->delimitor,
                        .data_type = meta->data_type,
                        .output_format = meta->output_format,
                        .with_label = meta->with_label,
                        .n_features = param->n_header,
                        .header = (const char *const *)param->header};
    if (s.with_label) s.label_name = meta->label_name, s.label_type = meta->label_type;
    TRY(check_type(cx, "data_type", s.data_type));
    if (s.with_label) TRY(check_type(cx, "label_type", s.label_type));
    if (param->n_anonymous_header && param->n_anonymous_header != param->n_header)
        return FAIL(cx, FORMAT, "%zu columns with %zu anonymous names", param->n_header,
                    param->n_anonymous_header);
    if (param->n_anonymous_header) s.anonymous = (const char *const *)param->anonymous_header;
    TRY(exclusive_from_pb(cx, meta, &s));
    TRY(rules_from_pb(cx, meta, param, &s));
    *out = s;
    return OK;
}
