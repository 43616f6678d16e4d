#include "model/pb_json.h"
#include "base/arena.h"
#include "model/boosting-tree-model-meta.pb-c.h"
#include "model/boosting-tree-model-param.pb-c.h"
#include "model/data-transform-meta.pb-c.h"
#include "model/data-transform-param.pb-c.h"
#include "model/pipeline.pb-c.h"
#include <inttypes.h>
#include <math.h>
#include "base/evp.h"
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

static void *pb_alloc(void *arena, size_t n)
{
    return arena_alloc(arena, n ? n : 1, 16);
}
static void pb_free(void *arena, void *p)
{
    (void)arena, (void)p; /* goes with the arena */
}

status pb_unpack(struct ctx *cx, const ProtobufCMessageDescriptor *d, struct bytes in, ProtobufCMessage **out)
{
    ProtobufCAllocator in_arena = {pb_alloc, pb_free, cx->mem};
    ProtobufCMessage *m = protobuf_c_message_unpack(d, &in_arena, in.n, in.p);
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
    uint8_t *p = buf_grow(&text, 4 * ((b->len + 2) / 3) + 1);
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

static json_t *message_json(const ProtobufCMessage *m);

static json_t *value_json(const ProtobufCFieldDescriptor *f, const void *v)
{
    switch (f->type) {
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
        return json_string(*(char *const *)v ? *(char *const *)v : "");
    case PROTOBUF_C_TYPE_BYTES:
        return json_bytes(v);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_json(*(ProtobufCMessage *const *)v);
    case PROTOBUF_C_TYPE_ENUM:
        break; /* no message of ours has one */
    }
    return NULL;
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

static bool map_add(json_t *obj, const ProtobufCMessage *entry)
{
    const ProtobufCFieldDescriptor *k = &entry->descriptor->fields[0], *v = &entry->descriptor->fields[1];
    CLEANUP(json_decrefp) json_t *key = value_json(k, (const char *)entry + k->offset);
    json_t *val = value_json(v, (const char *)entry + v->offset);
    if (!key || !val) {
        json_decref(val);
        return false;
    }
    char text[24];
    if (json_is_integer(key)) snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(key));
    return json_object_set_new(obj, json_is_integer(key) ? text : json_string_value(key), val) == 0;
}

static json_t *repeated_json(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
    const char *items = *(char *const *)((const char *)m + f->offset);
    bool map = is_map(f);
    json_t *out = map ? json_object() : json_array();
    for (size_t i = 0; out && i < n; i++) {
        const void *item = items + i * value_size(f->type);
        bool ok = map ? map_add(out, *(ProtobufCMessage *const *)item)
                      : json_array_append_new(out, value_json(f, item)) == 0;
        if (!ok) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *message_json(const ProtobufCMessage *m)
{
    json_t *out = json_object();
    for (unsigned i = 0; out && m && i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const void *v = (const char *)m + f->offset;
        bool absent = f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED &&
                      !*(ProtobufCMessage *const *)v;
        if (absent) continue;
        char name[128];
        camel(f->name, name, sizeof name);
        json_t *j = f->label == PROTOBUF_C_LABEL_REPEATED ? repeated_json(m, f) : value_json(f, v);
        if (!j || json_object_set_new(out, name, j)) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

status pb_json(struct ctx *cx, const ProtobufCMessage *m, json_t **out)
{
    json_t *j = message_json(m);
    if (!j) return FAIL(cx, NOMEM, "JSON view of %s", m->descriptor->short_name);
    *out = j;
    return OK;
}
