/* spill.h - message bytes for which there is no memory, on disk: one file without a name, so that a crash leaves nothing.
 *
 * Space is taken by rising offsets and given back by holes; the file shrinks to nothing when nothing is in it. Blocks of zeros
 * take no space. Reading is through a mapping, so the system may drop pages at will. One thread. */
#pragma once
#include "base/ctx.h"

struct spill {
    const char *dir;     /* NULL: there is no disk to spill to */
    uint64_t max;        /* bytes at most; 0: what the disk has */
    uint64_t live, most; /* bytes that are in it; the highest so far */
    uint64_t end;        /* where the next piece goes */
    size_t pieces;
    int fd;
    bool open;
    bool no_holes; /* the file system cannot: space comes back, and counts as free, when the file is empty */
};
void spill_close(struct spill *s);
/* A place of n bytes (n > 0) at *at; only what is written to it takes space. LIMIT: too many large ones; IO. */
status spill_take(struct ctx *cx, struct spill *s, uint64_t n, uint64_t *at);
/* Gives the place back; `stored` bytes of it were written. */
void spill_give(struct spill *s, uint64_t at, uint64_t n, uint64_t stored);
/* Each byte once. LIMIT: more than max; IO: the disk is full, or broken. */
status spill_write(struct ctx *cx, struct spill *s, uint64_t at, const void *p, size_t n);
/* What was written at [at, at + n), mapped read-only; NULL: no address space. */
const uint8_t *spill_map(struct spill *s, uint64_t at, uint64_t n);
void spill_unmap(const uint8_t *p, uint64_t n);
/* The first `done` bytes of a mapping are not needed for now. */
void spill_passed(const uint8_t *p, uint64_t done);
