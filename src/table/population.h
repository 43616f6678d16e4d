/* population.h - data of any size with a known structure: one CSV file per party about partly the same people.
 *
 * Everything about a person is a function of (seed, person), computed where it is needed: files of any length are
 * written as a stream, by any number of threads, with the same bytes. No libm: the same bytes on every machine.
 *
 * People. n_common of a party's n_rows people are at every party, the others at that party only. A party's rows are in
 * an order of its own (a permutation without a table: four Feistel rounds, walking until inside the range).
 * Ids. id_length characters 0-9a-f, a bijection of the person's number: never two alike. From 16 on the rest is hash.
 * Columns. Number i over all parties (the guest's first) is
 *     x_i = 0.6 z_(i mod 5) + 0.8 e_i,   z, e independent with mean 0, deviation 1 (sum of four uniforms)
 * so two columns correlate by 0.36 where i and j agree modulo 5, and by 0 elsewhere. Written with 6 decimals, each fifth
 * (i mod 5 = 4) as the integer round(10 x). A share `missing` of the cells is empty, at random.
 * Label. With g_i the guest's column i (modulo their number) and h_i column i of host i modulo the number of hosts
 *     u = 0.8 g_0 - 0.6 h_0 + 0.9 g_1 h_1 + 0.7 (|g_2| - 0.8) + 0.8 t(h_2),   t(x) = 1 - |((x + 1) mod 4) - 2|,
 * the triangle wave of period 4 through (0,0), (1,1), (2,0), (3,-1); regression: y = u + 0.3 e; binary: y = 1 with
 * probability 1/2 + 1/2 (3u - 0.6) / (1 + |3u - 0.6|); multi: the class whose part of (-2, 2), cut evenly, holds u + 0.3 e
 * (values outside: the first and the last). Neither party can reach it alone. */
#pragma once
#include "base/ctx.h"

enum population_task { POPULATION_BINARY, POPULATION_MULTI, POPULATION_REGRESSION };
struct population {
    uint64_t n_rows; /* of each party, 1 to 2^32 - 2 */
    uint64_t n_common;
    unsigned guest_columns, host_columns, n_hosts; /* each party has 1 column or more, unless ids_only */
    enum population_task task;
    unsigned n_classes; /* multi: 2 to 1000 */
    double missing;     /* 0 to 1 */
    uint64_t seed;
    unsigned id_length; /* 4 to 64; 16^id_length must hold all people */
    bool ids_only;
};
/* ARG names the value and the bound. */
status population_check(struct ctx *cx, const struct population *p);
/* The file of a party, 0 the guest, k the k-th host; whole or not at all. Spread over cx->pool.
 * progress may be NULL; called from this thread. IO, CANCELLED. */
status population_write(struct ctx *cx, const struct population *p, unsigned party, const char *file,
                        void (*progress)(void *arg, uint64_t rows_done, uint64_t rows_all), void *arg);

/* For tests: the person in a party's row; its id (id_length bytes); column i over all parties; u, and the label. */
uint64_t population_person(const struct population *p, unsigned party, uint64_t row);
void population_id(const struct population *p, uint64_t person, char *out);
double population_column(const struct population *p, uint64_t person, unsigned i);
double population_label(const struct population *p, uint64_t person);
