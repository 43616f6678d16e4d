/* doctor.h - the parts of `norn doctor`: each looks at one side of a site and reports what it finds. */
#pragma once
#include "base/js.h"
#include "flow/settings.h"

struct doctor {
    const char *dir;
    struct settings set;
    json_t *findings;
    size_t n_bad, n_warn;
    bool running, quick; /* quick: no throughput, no toy job */
    int64_t pid;         /* of the site */
};
enum verdict { GOOD, WARN, BAD };
/* remedy: what helps; left out when all is well. text and remedy may be NULL. */
void doctor_find(struct doctor *d, enum verdict v, const char *what, const char *text, const char *remedy);

void doctor_keys(struct ctx *cx, struct doctor *d);    /* key, certificate, its chain, the CA */
void doctor_machine(struct ctx *cx, struct doctor *d); /* disk, databases, memory, descriptors, user */
void doctor_peers(struct ctx *cx, struct doctor *d);   /* ports, and the way to each peer, hop by hop */
/* One TCP connection attempt; the error names the hop: name or connection. *out: connected, non-blocking; may be NULL. */
status doctor_dial(struct ctx *cx, const char *host, uint16_t port, int timeout_ms, int *out);

/* A tar.gz for those who help from afar: the findings, settings, jobs' records and tails of logs, without keys, tokens,
 * secrets, and whatever stood in quotes or looked like an id in a log. */
status doctor_bundle(struct ctx *cx, const struct doctor *d, const char *file);
/* One line of a log as it goes into a bundle, in cx->mem. */
status doctor_scrub(struct ctx *cx, const char *line, size_t n, const char **out);
