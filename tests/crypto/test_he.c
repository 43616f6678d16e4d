/* One interface, several schemes: names, dispatch, the same sums from all; what is unknown is refused by name. */
#include "crypto/he.h"
#include "base/secret.h"
#include "test.h"

static void names(struct ctx *cx)
{
    static const struct {
        const char *name;
        enum he_scheme scheme;
    } good[] = {{"Lattice", HE_LATTICE},
                {"lattice", HE_LATTICE},
                {"Paillier", HE_PAILLIER},
                {"paillier", HE_PAILLIER},
                {"PAILLIER", HE_PAILLIER}};
    for (size_t i = 0; i < LEN(good); i++) {
        enum he_scheme got = good[i].scheme == HE_LATTICE ? HE_PAILLIER : HE_LATTICE;
        CHECK_OK(cx, he_scheme_parse(cx, good[i].name, &got));
        CHECK(got == good[i].scheme);
    }
    static const char *const bad[] = {"IterativeAffine",
                                      "iterativeaffine",
                                      "RandomIterativeAffine",
                                      "None",
                                      "none",
                                      "",
                                      "Lattice ",
                                      "Pailier",
                                      "ou",
                                      "plain",
                                      "CKKS"};
    for (size_t i = 0; i < LEN(bad); i++) {
        enum he_scheme got = HE_PAILLIER;
        CHECK_ERR(he_scheme_parse(cx, bad[i], &got), UNSUPPORTED);
        CHECK(got == HE_PAILLIER);
        CHECK(strstr(cx->err.msg, bad[i]) != NULL);
    }
    enum he_scheme got;
    CHECK_ERR(he_scheme_parse(cx, "IterativeAffine", &got), UNSUPPORTED);
    CHECK(strstr(cx->err.msg, "broken") != NULL);
    CHECK_ERR(he_scheme_parse(cx, "None", &got), UNSUPPORTED);
    CHECK(strstr(cx->err.msg, "without encryption") != NULL);
}

enum { ROWS = 200, BINS = 9 };

static void same_sums(struct ctx *cx)
{
    static const struct he_params schemes[] = {{HE_LATTICE, 0, ROWS, 2, 40},
                                               {HE_PAILLIER, 2048, ROWS, 2, 40}};
    int64_t m[2 * ROWS], want[2 * BINS] = {0};
    uint8_t bin[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        uint32_t x[2];
        CHECK_OK(cx, rand_bytes(cx, x, sizeof x));
        CHECK_OK(cx, rand_bytes(cx, &bin[i], 1));
        bin[i] %= BINS + 1;
        for (size_t s = 0; s < 2; s++) {
            m[2 * i + s] = (int64_t)(int32_t)x[s];
            if (bin[i] < BINS) want[2 * bin[i] + s] += m[2 * i + s];
        }
    }
    for (size_t k = 0; k < LEN(schemes); k++) {
        CLEANUP(he_guest_freep) struct he_guest *g = NULL;
        CLEANUP(he_host_freep) struct he_host *h = NULL;
        CLEANUP(buf_free) struct buf pub = {0}, batch = {0}, reply = {0};
        const struct he_params *p = &schemes[k];
        const uint8_t *bins = bin;
        const uint16_t n_bins = BINS;
        int64_t got[2 * BINS];
        struct he_info info;
        CHECK_OK(cx, he_describe(cx, p, &info));
        CHECK(info.security_bits >= 112);
        CHECK(strncmp(info.set, k ? "paillier-2048" : "mlwe-2560-64", 12) == 0);
        CHECK_OK(cx, he_guest_new(cx, p, &g));
        CHECK_OK(cx, he_guest_public(cx, g, &pub));
        CHECK_OK(cx, he_host_open(cx, (struct bytes){pub.p, pub.n}, &h));
        CHECK(memcmp(he_host_params(h), p, sizeof *p) == 0);
        CHECK_OK(cx, he_guest_encrypt(cx, g, m, &batch));
        CHECK_OK(cx, he_host_load(cx, h, (struct bytes){batch.p, batch.n}));
        CHECK_OK(cx, he_host_sum(cx, h, &bins, &n_bins, 1, NULL, 0, &reply));
        CHECK_OK(cx, he_guest_decrypt(cx, g, (struct bytes){reply.p, reply.n}, BINS, got));
        CHECK(memcmp(got, want, sizeof got) == 0);
    }
}

static void bounds(struct ctx *cx)
{
    for (int k = 1; k <= 8; k++) {
        CHECK(he_sum_bits_max(HE_PAILLIER, 2048, 1000, k) == 62);
        CHECK(he_sum_bits_max(HE_PAILLIER, 1024, 1000, k) == 0);
        for (size_t n = 1; n <= 1u << 20; n *= 4) {
            struct he_params p = {HE_LATTICE, 0, n, k, he_sum_bits_max(HE_LATTICE, 0, n, k)};
            struct he_info info;
            CHECK(p.sum_bits >= 29);
            CHECK_OK(cx, he_describe(cx, &p, &info));
            CHECK(info.flood_bits >= 16);
            p.sum_bits++;
            CHECK_ERR(he_describe(cx, &p, &info), LIMIT);
        }
    }
    CHECK(he_sum_bits_max((enum he_scheme)7, 0, 10, 1) == 0);
}

static void refuses(struct ctx *cx)
{
    struct he_guest *g = NULL;
    struct he_host *h = NULL;
    struct he_info info;
    struct he_params p = {(enum he_scheme)7, 0, 10, 1, 10};
    CHECK_ERR(he_guest_new(cx, &p, &g), ARG);
    CHECK_ERR(he_describe(cx, &p, &info), ARG);
    CHECK_ERR(he_host_open(cx, (struct bytes){(const uint8_t *)"", 0}, &h), FORMAT);
    static const char *const sets[] = {"mlwe-1024-32-v1", "paillier-1024-v1", "none", ""};
    for (size_t i = 0; i < LEN(sets); i++) {
        CLEANUP(buf_free) struct buf b = {0};
        buf_u8(&b, 1);
        buf_str(&b, sets[i]);
        buf_printf(&b, "%0100d", 0);
        CHECK_ERR(he_host_open(cx, (struct bytes){b.p, b.n}, &h), PROTO);
        CHECK(strstr(cx->err.msg, sets[i]) != NULL);
    }
    CHECK(!g && !h);
    he_guest_free(NULL);
    he_host_free(NULL);
}

TEST_MAIN(T(names), T(same_sums), T(bounds), T(refuses))
