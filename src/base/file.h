/* file.h - files written whole or not at all, folders, mapped reading. */
#pragma once
#include "base/bytes.h"

void fd_closep(int *fd);
status file_read(struct ctx *cx, const char *path, size_t max,
                 struct bytes *out); /* NUL-terminated, in cx->mem */
/* Writes path.tmp, fsyncs, renames over path: the old or the new content, never half of it. mode e.g. 0600. */
status file_write(struct ctx *cx, const char *path, const void *p, size_t n, unsigned mode);
status file_map(struct ctx *cx, const char *path, struct bytes *out); /* read-only; unmapped with cx->mem */
status dir_make(struct ctx *cx, const char *path, unsigned mode);     /* and its parents; fine if it exists */
status dir_remove(struct ctx *cx, const char *path);                  /* with all in it; fine if absent */
bool file_exists(const char *path);
/* Names (not . and ..) in byte order, in cx->mem. */
status dir_list(struct ctx *cx, const char *path, const char ***names, size_t *n);
status fd_write_all(struct ctx *cx, int fd, const void *p, size_t n);
status fd_read_all(struct ctx *cx, int fd, void *p, size_t n); /* IO: "ended after k of n bytes" */
