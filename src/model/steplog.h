/* steplog.h - what an iterative task needs to go on after an interruption: a file of numbered steps, each whole or
 * absent (docs/formats/checkpoint.md).
 *
 * A step is some bytes of its component's (a tree, the weights after an epoch). Steps are added one by one and never
 * changed; all but the first n can be cut off. The file belongs to one run: it begins with a key of 32 bytes, a digest of
 * all that the steps depend on, and one made under another key counts as empty. One process at a time has it open (a
 * lock), so that a task that is still being killed cannot write beside its successor.
 *
 * Safe against a killed process: at once. Against a machine that stops: after STEPLOG_SYNC_MS, since a step is sent to
 * the disk at once only when the last one was sent longer ago than that; what is lost is done again. */
#pragma once
#include "base/bytes.h"

#define STEPLOG_KEY     32
#define STEPLOG_SYNC_MS 5000

struct steplog;
/* Opens or makes the file; *n: the steps that are held. A step that is not whole is cut off, with what follows it.
 * STATE: another process has it open, for seconds; IO; FORMAT: a newer norn's. Closed with cx->mem. */
status steplog_open(struct ctx *cx, const char *path, const uint8_t key[STEPLOG_KEY], struct steplog **out,
                    uint64_t *n);
/* Bytes of step i < n, in cx->mem. FORMAT: altered since. */
status steplog_read(struct ctx *cx, struct steplog *s, uint64_t i, struct bytes *out);
/* Keeps the first n only. */
status steplog_cut(struct ctx *cx, struct steplog *s, uint64_t n);
/* Adds a step after those that are held. IO: the disk is full, say; the file is then as before. */
status steplog_add(struct ctx *cx, struct steplog *s, const void *p, size_t n);
void steplog_close(struct steplog *s); /* before cx->mem goes; NULL is fine */
