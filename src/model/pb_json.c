#include "model/pb_json.h"
#include "base/arena.h"
#include "base/evp.h"
#include "model/boosting-tree-model-meta.pb-c.h"
#include "model/boosting-tree-model-param.pb-c.h"
#include "model/data-transform-meta.pb-c.h"
#include "model/data-transform-param.pb-c.h"
#include "model/pipeline.pb-c.h"
#include "table/utf8.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const ProtobufCMessageDescriptor *pb_find(const char *name)
{
    static const ProtobufCMessageDescriptor *const known[] = {
        &fate__boosting_tree_model_meta__descriptor,
        &fate__boosting_tree_model_param__descriptor,
        &fate__data_transform_meta__descriptor,
        &fate__data_transform_param__descriptor,
        &fate__pipeline__descriptor,
    };
    for (size_t i = 0; i < LEN(known); i++)
        if (strcmp(known[i]->short_name, name) == 0) return known[i];
    return NULL;
}

struct allocations {
    struct arena *mem;
    bool failed;
};

static void *pb_alloc(void *arg, size_t n)
{
    struct allocations *a = arg;
    void *p = arena_alloc(a->mem, n ? n : 1, 16);
    a->failed = a->failed || !p;
    return p;
}
static void pb_free(void *arg, void *p)
{
    (void)arg, (void)p; /* goes with the arena */
}

status pb_unpack(struct ctx *cx, const ProtobufCMessageDescriptor *d, struct bytes in, ProtobufCMessage **out)
{
    struct allocations a = {cx->mem, false};
    ProtobufCAllocator allocator = {pb_alloc, pb_free, &a};
    ProtobufCMessage *m = protobuf_c_message_unpack(d, &allocator, in.n, in.p);
    if (!m && a.failed) return FAIL(cx, NOMEM, "a %s of %zu bytes", d->short_name, in.n);
    if (!m) return FAIL(cx, FORMAT, "not a %s message (%zu bytes)", d->short_name, in.n);
    *out = m;
    return OK;
}

status pb_pack(struct ctx *cx, const ProtobufCMessage *m, struct bytes *out)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *p = NEW(cx, uint8_t, n + 1);
    if (!p) return FAIL(cx, NOMEM, "%zu bytes of %s", n, m->descriptor->short_name);
    protobuf_c_message_pack(m, p);
    *out = (struct bytes){p, n};
    return OK;
}

/* split_maskdict -> splitMaskdict, trees_ -> trees */
static void camel(const char *name, char *out, size_t cap)
{
    size_t n = 0;
    bool up = false;
    for (; *name && n + 1 < cap; name++) {
        if (*name == '_') {
            up = true;
            continue;
        }
        out[n++] = (char)(up && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
        up = false;
    }
    out[n] = 0;
}

static json_t *json_bytes(const ProtobufCBinaryData *b)
{
    CLEANUP(buf_free) struct buf text = {0};
    uint8_t *p = b->len <= INT_MAX / 2 ? buf_grow(&text, 4 * ((b->len + 2) / 3) + 1) : NULL;
    if (!p) return NULL;
    return json_stringn((char *)p, (size_t)EVP_EncodeBlock(p, b->data, (int)b->len));
}

static json_t *json_f64(double x)
{
    if (isfinite(x)) return json_real(x);
    return json_string(isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity");
}

static json_t *json_u64_text(uint64_t u, bool is_signed)
{
    char text[24];
    if (is_signed)
        snprintf(text, sizeof text, "%" PRId64, (int64_t)u);
    else
        snprintf(text, sizeof text, "%" PRIu64, u);
    return json_string(text);
}

/* A value that is not a message. NULL: out of memory. */
static json_t *plain_json(ProtobufCType type, const void *v)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)v);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)v);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_u64_text(*(const uint64_t *)v, true);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_u64_text(*(const uint64_t *)v, false);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_f64((double)*(const float *)v);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_f64(*(const double *)v);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)v);
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(char *const *)v);
    case PROTOBUF_C_TYPE_BYTES:
        return json_bytes(v);
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_ENUM:
        break; /* no message of ours has an enum */
    }
    return NULL;
}

static status message_json(struct ctx *cx, const ProtobufCMessage *m, json_t **out);

static status value_json(struct ctx *cx, const ProtobufCFieldDescriptor *f, const void *v, json_t **out)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) return message_json(cx, *(ProtobufCMessage *const *)v, out);
    if (f->type == PROTOBUF_C_TYPE_STRING && !utf8_valid(*(char *const *)v, strlen(*(char *const *)v)))
        return FAIL(cx, FORMAT, "field %s is not UTF-8", f->name);
    *out = plain_json(f->type, v);
    return *out ? OK : FAIL(cx, NOMEM, "JSON view of field %s", f->name);
}

static size_t value_size(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return 8;
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
    if (f->type != PROTOBUF_C_TYPE_MESSAGE) return false;
    const ProtobufCMessageDescriptor *d = f->descriptor;
    size_t n = strlen(d->short_name);
    return n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 && d->n_fields == 2 &&
           strcmp(d->fields[0].name, "key") == 0 && strcmp(d->fields[1].name, "value") == 0;
}

static status map_add(struct ctx *cx, json_t *obj, const ProtobufCMessage *entry)
{
    const ProtobufCFieldDescriptor *k = &entry->descriptor->fields[0], *v = &entry->descriptor->fields[1];
    CLEANUP(json_decrefp) json_t *key = NULL;
    CLEANUP(json_decrefp) json_t *value = NULL;
    char text[24];
    TRY(value_json(cx, k, (const char *)entry + k->offset, &key));
    TRY(value_json(cx, v, (const char *)entry + v->offset, &value));
    if (json_is_integer(key)) snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(key));
    if (json_object_set(obj, json_is_integer(key) ? text : json_string_value(key), value))
        return FAIL(cx, NOMEM, "JSON view of a map");
    return OK;
}

static status repeated_json(struct ctx *cx, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                            json_t **out)
{
    size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
    const char *items = *(char *const *)((const char *)m + f->offset);
    bool map = is_map(f);
    CLEANUP(json_decrefp) json_t *list = map ? json_object() : json_array();
    if (!list) return FAIL(cx, NOMEM, "JSON view of field %s", f->name);
    for (size_t i = 0; i < n; i++) {
        const void *item = items + i * value_size(f->type);
        json_t *j = NULL;
        if (map) {
            TRY(map_add(cx, list, *(ProtobufCMessage *const *)item));
            continue;
        }
        TRY(value_json(cx, f, item, &j));
        if (json_array_append_new(list, j)) return FAIL(cx, NOMEM, "JSON view of field %s", f->name);
    }
    *out = TAKE(list);
    return OK;
}

static status message_json(struct ctx *cx, const ProtobufCMessage *m, json_t **out)
{
    CLEANUP(json_decrefp) json_t *obj = json_object();
    if (!obj) return FAIL(cx, NOMEM, "JSON view of %s", m->descriptor->short_name);
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const void *v = (const char *)m + f->offset;
        bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE && !repeated && !*(ProtobufCMessage *const *)v) continue;
        char name[128];
        json_t *j = NULL;
        camel(f->name, name, sizeof name);
        TRY(repeated ? repeated_json(cx, m, f, &j) : value_json(cx, f, v, &j));
        if (json_object_set_new(obj, name, j)) return FAIL(cx, NOMEM, "JSON view of field %s", f->name);
    }
    *out = TAKE(obj);
    return OK;
}

status pb_json(struct ctx *cx, const ProtobufCMessage *m, json_t **out)
{
    TRY_IN(cx, message_json(cx, m, out), "%s", m->descriptor->short_name);
    return OK;
}
