/* disk.h - what a site's folder holds, by kind, and whether there is room for new work. */
#pragma once
#include "base/js.h"
#include "flow/settings.h"

enum disk_kind {
    DISK_TABLES,    /* store/tables */
    DISK_OUTPUTS,   /* jobs/.../out.<attempt> */
    DISK_JOB_FILES, /* what else lies in a job's folder: checkpoints, locks */
    DISK_LOGS,      /* task.log, logs/ */
    DISK_MODELS,
    DISK_DATABASES, /* jobs.db, store/catalogue.db, their journals and backups */
    DISK_TEMPORARY, /* *.part, *.tmp: being written, or left by a process that was killed */
    DISK_OTHER,
    DISK_KINDS
};
const char *disk_kind_name(enum disk_kind k); /* "job_files" */
struct disk_use {
    uint64_t bytes[DISK_KINDS],
        files[DISK_KINDS]; /* as the disk counts them; a file with several names once */
    uint64_t total;
    uint64_t free, size; /* of the file system; free to us */
};
/* Walks the folder: tenths of a second for 10^5 files, so not on a loop's thread. stop may be NULL. CANCELLED. */
status disk_measure(struct ctx *cx, const char *dir, const atomic_bool *stop, struct disk_use *out);
/* LIMIT, naming the bytes and the setting: less than disk_min_free is free, or `used` (as last measured) is more than
 * disk_quota. */
status disk_room(struct ctx *cx, const char *dir, const struct settings *set, uint64_t used);
/* The same for a process without a site's measurement: measures when there is a quota. */
status disk_room_now(struct ctx *cx, const char *dir, const struct settings *set);
/* Removes files of killed writers in jobs/, models/ and the folder itself: *.tmp and *.part; the store has its own sweep.
 * Only while no site runs the folder, or by it at its start. *n: how many. */
status disk_sweep(struct ctx *cx, const char *dir, size_t *n);
json_t *disk_json(const struct disk_use *u); /* NULL: out of memory */
