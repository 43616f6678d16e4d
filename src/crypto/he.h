/* he.h - additive encryption of rows of integers and of their sums by bucket: one interface, several schemes.
 *
 * The guest encrypts n_stats integers a row (g and h of a boosting round); a host adds the rows of each bucket
 * without reading them; the guest decrypts exact integer sums. The schemes:
 *   lattice   module-LWE with a secret fresh for every batch (crypto/lattice.h)
 *   paillier  EUROCRYPT '99, CRT, fixed-base noise, packing (crypto/paillier.h)
 * Sums are exact for every scheme: what a host's hiding noise could disturb is rounded away, or the batch is refused
 * before it is made. So one seed of the algorithm gives one model, whatever the scheme's randomness was.
 *
 * What each learns. Host: number of rows, n_stats and the scheme; under the scheme's assumption nothing about the
 * integers. Guest: the sums of the buckets returned, and their number; the scheme's hiding (he_info) keeps the set of
 * rows in a bucket from it as far as the sum itself does not tell. Semi-honest. */
#pragma once
#include "base/bytes.h"

enum he_scheme { HE_LATTICE, HE_PAILLIER };
/* FATE's spelling without case: "Lattice", "Paillier". UNSUPPORTED for every other name: never replaced by another
 * ("IterativeAffine" is refused as broken, "None" as no encryption). */
status he_scheme_parse(struct ctx *cx, const char *name, enum he_scheme *out);

struct he_params {
    enum he_scheme scheme;
    int key_bits;  /* paillier: 2048 or 3072 (1024 and others: ARG); lattice: 0 */
    size_t n_rows; /* rows of every batch, 1 to 2^31 */
    int n_stats;   /* 1 to 8 */
    int sum_bits;  /* the guest guarantees |sum over any set of rows| < 2^sum_bits, per stat */
};
struct he_info {
    const char *scheme;  /* "lattice", "paillier" */
    const char *set;     /* named parameter set, docs/security.md: "mlwe-2560-64-v1", "paillier-2048-v1" */
    int security_bits;   /* 128 for the lattice set, 112 / 128 for paillier 2048 / 3072 */
    int flood_bits;      /* hiding noise is 2^flood_bits times the noise it hides; 0 = not needed */
    size_t row_bytes;    /* on the wire, a row */
    size_t bucket_bytes; /* on the wire, a returned bucket (average when packed) */
};
/* Largest sum_bits that the scheme decrypts exactly for so many rows and stats. */
int he_sum_bits_max(enum he_scheme scheme, int key_bits, size_t n_rows, int n_stats);
status he_describe(struct ctx *cx, const struct he_params *p, struct he_info *out);

/* --- guest ------------------------------------------------------------------------------------------------- */
struct he_guest; /* secret */
/* Makes the job's keys. ARG: a parameter out of range, LIMIT: sum_bits too large. */
status he_guest_new(struct ctx *cx, const struct he_params *p, struct he_guest **out);
void he_guest_free(struct he_guest *g); /* wipes */
void he_guest_freep(struct he_guest **g);
/* What hosts need once a job: appended to out. */
status he_guest_public(struct ctx *cx, const struct he_guest *g, struct buf *out);
/* Encrypts one batch (a tree): m is n_rows x n_stats, row-major. The message for the hosts is appended to out.
 * LIMIT when the sum of absolute values of a stat reaches 2^sum_bits. Fresh randomness (and secret) each call. */
status he_guest_encrypt(struct ctx *cx, struct he_guest *g, const int64_t *m, struct buf *out);
/* Decrypts a host's reply to the latest batch: sums is n_buckets x n_stats. PROTO: malformed or not of this batch. */
status he_guest_decrypt(struct ctx *cx, struct he_guest *g, struct bytes reply, size_t n_buckets,
                        int64_t *sums);

/* --- host -------------------------------------------------------------------------------------------------- */
struct he_host;
/* FORMAT, PROTO; refuses parameter sets it does not know and sets below 112 bits. */
status he_host_open(struct ctx *cx, struct bytes pub, struct he_host **out);
void he_host_free(struct he_host *h);
void he_host_freep(struct he_host **h);
const struct he_params *he_host_params(const struct he_host *h);
/* Takes a batch, replacing the one before. The bytes may be freed afterwards. */
status he_host_load(struct ctx *cx, struct he_host *h, struct bytes batch);
/* Buckets of a set of rows: bucket (f, b) of feature f holds the listed rows r with bins[f][r] == b, b < n_bins[f];
 * buckets are numbered feature by feature. rows: ascending, each < n_rows; NULL = all rows. A bin value >= n_bins[f]
 * is a bucket that is not returned (callers leave out the last one, it follows from the total). The reply, with
 * hiding applied, is appended to out; it does not depend on which buckets are empty. Parallel over cx->pool. */
status he_host_sum(struct ctx *cx, struct he_host *h, const uint8_t *const *bins, const uint16_t *n_bins,
                   size_t n_features, const uint32_t *rows, size_t n_rows, struct buf *out);
