/* psi.h - private set intersection for one guest and one or more hosts: by Diffie-Hellman on Curve25519 (the default), or by
 * RSA blind signatures (FATE's `rsa`; rsa.c).
 *
 * Source: Meadows, "A more efficient cryptographic matchmaking protocol", S&P 1986; Huberman, Franklin, Hogg, EC 1999;
 * semi-honest security in the random-oracle model under decisional Diffie-Hellman on the group of crypto/curve.h.
 * An id becomes the point H(id) = curve_map(SHA-512(salt, id)) with a salt fresh for every job, so that points of two jobs
 * cannot be compared. The guest sends a*H(id) in its row order; a host sends b*H(id) in an order shuffled by fresh
 * randomness and answers each guest point P with 16 bytes of b*P (a false match has a chance below n*m / 2^128); the guest
 * raises the host's points to a, matches, and tells each host which of its shuffled positions are common to all, in one
 * common order. Both directions stream in chunks of PSI_CHUNK points, so the parties compute at the same time and memory
 * is 16 bytes an id beside the tables.
 *
 * What each learns. All: the number of ids of the others (their messages' lengths). Guest: which of its ids each single
 * host has, also those that another host lacks. Host: which of its own ids are common to all parties, and nothing of the
 * guest's other ids. Nobody learns an id it does not hold. The common order is by a public hash of the id, so it tells
 * nothing of any party's row order.
 *
 * Secret: the scalars a and b, the host's permutation. docs/security/psi.md, docs/formats/psi.md. */
#pragma once
#include "net/channel.h"
#include "table/table.h"

#define PSI_CHUNK ((size_t)32768)

struct psi_progress { /* may be NULL in the calls below */
    void (*fn)(void *arg, uint64_t ids_done, uint64_t ids_all);
    void *arg;
};
struct psi_result {
    uint32_t *rows; /* own logical rows that are common to all, in the common order; n of them */
    size_t n;
    size_t n_peers[32]; /* guest: ids of each host; host: [0] is the guest's */
};
/* Both ends fail alike before anything is sent when the own table has duplicate ids (FORMAT: how many, first row) or no
 * row (ARG). PROTO: a peer's message is malformed or has a point of small order; a host repeats a point or answers two ids
 * alike; the guest's list of rows repeats one or leaves the table. FORMAT: a greeting is cut. */
status psi_ecdh_guest(struct ctx *cx, struct channel *ch, const struct party *hosts, size_t n_hosts,
                      const struct table *t, const struct psi_progress *pr, struct psi_result *out);
status psi_ecdh_host(struct ctx *cx, struct channel *ch, struct party guest, const struct table *t,
                     const struct psi_progress *pr, struct psi_result *out);
/* The same by RSA; key_bits: 2048 or 3072, the same at both ends. PROTO also: a key of another size, a wrong signature. */
status psi_rsa_guest(struct ctx *cx, struct channel *ch, int key_bits, const struct party *hosts,
                     size_t n_hosts, const struct table *t, const struct psi_progress *pr,
                     struct psi_result *out);
status psi_rsa_host(struct ctx *cx, struct channel *ch, int key_bits, struct party guest,
                    const struct table *t, const struct psi_progress *pr, struct psi_result *out);
