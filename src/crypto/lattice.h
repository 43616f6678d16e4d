/* lattice.h - module-LWE behind he.h: rows of integers in, exact sums by bucket out.
 *
 * Set "mlwe-2560-64-v1": R = Z_q[X] / (X^512 + 1), q = 2^64, rank 5 (dimension 2560), ternary secrets, noise of
 * deviation 3.46. Symmetric: the guest encrypts and decrypts.
 *
 * Rows. 64 rows are a block, one cipher each digit: B = <A, s> + e + 2^34 m in R, where A in R^5 comes from a seed
 * that is public and stays the same for the job, s is fresh in every batch, and m = sum m_i X^(8 i) holds row i.
 * The integers of a row are one or two digits each, with a secret each.
 * Buckets. Eight buckets share a reply cipher: where row i belongs to bucket j of the eight, the host adds
 * X^(j - 8 i) A and X^(j - 8 i) B. Coefficient j of the sum then holds the sum of bucket j and nothing else,
 * and the other coefficients of B are not even computed. All rotations for one j are by whole vectors of 8 words.
 * Hiding. The batch carries five more blocks, of zeros: a public key, which hosts use modulo 2^48. A host adds a fresh
 * encryption of zero under it, and noise far above that of the rows (lattice_describe: flood_bits). Then q becomes 2^40.
 *
 * Sources: Langlois, Stehle, "Worst-case to average-case reductions for module lattices", 2015; Lyubashevsky, Peikert,
 * Regev, EUROCRYPT 2010 (public key); coefficient packing as in Huang et al., "Cheetah", USENIX Security 2022.
 * Parameters and proofs: docs/security/lattice.md. Bytes: docs/formats/lattice.md.
 * Secret: struct lattice_guest and the host's randomness, in secret memory; arithmetic on them is constant time. */
#pragma once
#include "crypto/he.h"

struct lattice_guest;
struct lattice_host;

/* 29 bits for one digit; two digits of 29 - log2(n_rows) and 29 bits where more is wanted. */
int lattice_sum_bits_max(size_t n_rows, int n_stats);
/* ARG: key_bits is not 0, or another parameter out of range; LIMIT: sum_bits too large. */
status lattice_describe(struct ctx *cx, const struct he_params *p, struct he_info *out);

/* ARG, LIMIT, NOMEM, IO: no entropy. */
status lattice_guest_new(struct ctx *cx, const struct he_params *p, struct lattice_guest **out);
void lattice_guest_free(struct lattice_guest *g);
void lattice_guest_freep(struct lattice_guest **g);
status lattice_guest_public(struct ctx *cx, const struct lattice_guest *g, struct buf *out);
status lattice_guest_encrypt(struct ctx *cx, struct lattice_guest *g, const int64_t *m, struct buf *out);
status lattice_guest_decrypt(struct ctx *cx, struct lattice_guest *g, struct bytes reply, size_t n_buckets,
                             int64_t *sums);

/* Memory, from the first batch on: for A 640 bytes a row, or 320 where that would be more than 256 MiB; 65 bytes a row
 * and digit; and the sums of A over all rows with the bins they belong to, if below 512 MiB. */
status lattice_host_open(struct ctx *cx, struct bytes pub, struct lattice_host **out);
void lattice_host_free(struct lattice_host *h);
void lattice_host_freep(struct lattice_host **h);
const struct he_params *lattice_host_params(const struct lattice_host *h);
status lattice_host_load(struct ctx *cx, struct lattice_host *h, struct bytes batch);
status lattice_host_sum(struct ctx *cx, struct lattice_host *h, const uint8_t *const *bins,
                        const uint16_t *n_bins, size_t n_features, const uint32_t *rows, size_t n_rows,
                        struct buf *out);
