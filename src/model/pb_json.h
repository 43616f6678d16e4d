/* pb_json.h - the JSON view of a protobuf message, as FATE's clients and board see it.
 *
 * Proto3 JSON with defaults included, by reflection over protobuf-c's descriptors: lowerCamelCase names (trees_ becomes
 * trees), 64-bit integers as text, bytes as base64, maps (messages named ...Entry with key and value) as objects. */
#pragma once
#include "base/js.h"
#include <protobuf-c/protobuf-c.h>

/* Caller owns *out. A message that is absent has no field; all else is there. FORMAT: a text that is not UTF-8. NOMEM. */
status pb_json(struct ctx *cx, const ProtobufCMessage *m, json_t **out);
/* Parses one message; lives in cx->mem. FORMAT names the message type. Memory: a byte may ask for some
 * hundred of them, so cap the arena where the bytes come from outside. */
status pb_unpack(struct ctx *cx, const ProtobufCMessageDescriptor *d, struct bytes in,
                 ProtobufCMessage **out);
/* Packs into cx->mem. */
status pb_pack(struct ctx *cx, const ProtobufCMessage *m, struct bytes *out);
/* The descriptor of a message by FATE's short name ("BoostingTreeModelParam"); NULL: not known here. */
const ProtobufCMessageDescriptor *pb_find(const char *name);
