/* psi_int.h - what the two ways of finding common ids (ecdh.c, rsa.c) share: greetings, chunks, matching of tags, the list of
 * common rows. Both end alike: the guest holds, for each host, tags of its own ids and of the host's, 16 pseudo-random bytes
 * each, and equal tags mean equal ids. */
#pragma once
#include "fed/intersection/psi.h"

#define PSI_SALT 32
#define PSI_TAG  16

struct psi_hash { /* SHA-512(salt, id) of rows [first, first + n) of t */
    const struct table *t;
    const uint32_t *rows; /* NULL = identity */
    size_t first;
    const uint8_t *salt;
    uint8_t (*out)[64];
};
status psi_hash_ids(struct ctx *cx, struct psi_hash j, size_t n);

/* Rows of the k-th chunk of n; 0 beyond the end. */
size_t psi_chunk_rows(size_t n, size_t k);
/* Receives a chunk of n items of `size` bytes. PROTO: another length. */
status psi_recv_items(struct ctx *cx, struct channel *ch, struct party from, const char *tag, size_t n,
                      size_t size, struct bytes *out);
status psi_send_hello(struct ctx *cx, struct channel *ch, struct party to, uint64_t n, const uint8_t *salt);
/* salt NULL: from a host, which sends none. */
status psi_recv_hello(struct ctx *cx, struct channel *ch, struct party from, size_t *n, const uint8_t **salt);
status psi_check_table(struct ctx *cx, const struct table *t);
void psi_tell(const struct psi_progress *pr, uint64_t done, uint64_t all);

/* What the guest holds of one host. */
struct psi_side {
    struct party party;
    size_t n;                   /* the host's ids */
    uint8_t (*theirs)[PSI_TAG]; /* a*b*H(id) by the host's shuffled position, n */
    uint8_t (*ours)[PSI_TAG];   /* the same of our ids by our row, as the host answered */
    uint32_t *position;         /* of our row at the host; UINT32_MAX: the host does not have it */
};

/* Exchanges greetings and makes room for the tags. */
status psi_open_sides(struct ctx *cx, struct channel *ch, const struct party *hosts, size_t n_hosts,
                      size_t n_own, const uint8_t *salt, struct psi_side *sides, struct psi_result *out);
/* Matches all sides and tells each host its common rows. order: own rows in the common order. */
status psi_finish_guest(struct ctx *cx, struct channel *ch, struct psi_side *sides, size_t n_hosts,
                        const struct table *t, const uint32_t *order, struct psi_result *out);
/* Secret permutation: shuffled position to own row. */
status psi_permute(struct ctx *cx, size_t n, uint32_t **out);
/* The guest's list of shuffled positions as own rows; each at most once. */
status psi_take_rows(struct ctx *cx, struct channel *ch, struct party guest, const uint32_t *perm,
                     size_t n_own, size_t n_guest, struct psi_result *out);
