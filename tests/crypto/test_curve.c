/* X25519 and the Elligator 2 map: published vectors, a GMP twin, and all kernels against each other. */
#include "crypto/curve_kernel.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/secret.h"
#include "test.h"
#include <gmp.h>

static const struct curve_kernel *kernels[4];
static size_t n_kernels;

static void find_kernels(void)
{
    n_kernels = 0;
    kernels[n_kernels++] = &curve_plain; /* first: the twin */
    for (int level = CPU_PORTABLE; level <= (int)cpu_level(); level++)
        kernels[n_kernels++] = curve_kernel_of(level);
}

/* Big-endian hexadecimal, as RFC 9380 prints integers, to little-endian bytes. */
static void from_hex_be(const char *hex, uint8_t out[32])
{
    for (int i = 0; i < 32; i++) {
        unsigned x = 0;
        for (int k = 0; k < 2; k++) {
            char c = hex[2 * i + k];
            x = x << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        out[31 - i] = (uint8_t)x;
    }
}

static void from_hex_le(const char *hex, uint8_t out[32])
{
    uint8_t t[32];
    from_hex_be(hex, t);
    for (int i = 0; i < 32; i++)
        out[i] = t[31 - i];
}

/* RFC 7748 section 5.2: both vectors, and the iteration of 1 and 1,000 times. */
static void rfc7748(struct ctx *cx)
{
    (void)cx;
    static const struct {
        const char *k, *u, *out;
    } vectors[] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
    };
    find_kernels();
    for (size_t q = 0; q < n_kernels; q++) {
        uint8_t k[32], u[1][32], want[32], got[1][32];
        for (size_t i = 0; i < LEN(vectors); i++) {
            from_hex_le(vectors[i].k, k);
            from_hex_le(vectors[i].u, u[0]);
            from_hex_le(vectors[i].out, want);
            k[0] &= 248;
            k[31] = (uint8_t)((k[31] & 127) | 64);
            kernels[q]->mul(k, (const uint8_t(*)[32])u, 1, got);
            CHECK(memcmp(got, want, 32) == 0);
        }
        uint8_t next[1][32] = {{9}};
        memcpy(k, next, 32);
        memcpy(u, next, 32);
        for (int i = 0; i < 1000; i++) {
            uint8_t clamped[32];
            memcpy(clamped, k, 32);
            clamped[0] &= 248;
            clamped[31] = (uint8_t)((clamped[31] & 127) | 64);
            kernels[q]->mul(clamped, (const uint8_t(*)[32])u, 1, next);
            memcpy(u, k, 32);
            memcpy(k, next, 32);
            if (i == 0) {
                from_hex_le("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079", want);
                CHECK(memcmp(k, want, 32) == 0);
            }
        }
        from_hex_le("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51", want);
        CHECK(memcmp(k, want, 32) == 0);
    }
}

/* RFC 9380 appendix J.4.2, curve25519_XMD:SHA-512_ELL2_NU_: the field element u[0], the map's Q.x and P.x = (8 Q).x. */
static const struct {
    const char *u, *q, *p;
} elligator[] = {
    {"608d892b641f0328523802a6603427c26e55e6f27e71a91a478148d45b5093cd",
     "51125222da5e763d97f3c10fcc92ea6860b9ccbbd2eb1285728f566721c1e65b",
     "1bb913f0c9daefa0b3375378ffa534bda5526c97391952a7789eb976edfe4d08"},
    {"46f5b22494bfeaa7f232cc8d054be68561af50230234d7d1d63d1d9abeca8da5",
     "7d56d1e08cb0ccb92baf069c18c49bb5a0dcd927eff8dcf75ca921ef7f3e6eeb",
     "7c22950b7d900fa866334262fcaea47a441a578df43b894b4625c9b450f9a026"},
    {"235fe40c443766ce7e18111c33862d66c3b33267efa50d50f9e8e5d252a40aaa",
     "3fbe66b9c9883d79e8407150e7c2a1c8680bee496c62fabe4619a72b3cabe90f",
     "31ad08a8b0deeb2a4d8b0206ca25f567ab4e042746f792f4b7973f3ae2096c52"},
    {"001e92a544463bda9bd04ddbe3d6eed248f82de32f522669efc5ddce95f46f5b",
     "227e0bb89de700385d19ec40e857db6e6a3e634b1c32962f370d26f84ff19683",
     "027877759d155b1997d0d84683a313eb78bdb493271d935b622900459d52ceaa"},
    {"1a68a1af9f663592291af987203393f707305c7bac9c8d63d6a729bdc553dc19",
     "3bcd651ee54d5f7b6013898aab251ee8ecc0688166fce6e9548d38472f6bd196",
     "5fd892c0958d1a75f54c3182a18d286efab784e774d1e017ba2fb252998b5dc1"},
};

static void rfc9380(struct ctx *cx)
{
    (void)cx;
    find_kernels();
    for (size_t q = 0; q < n_kernels; q++)
        for (size_t i = 0; i < LEN(elligator); i++) {
            uint8_t in[1][64] = {{0}}, got[1][32], want[32];
            const uint8_t eight[32] = {8};
            from_hex_be(elligator[i].u, in[0]);
            kernels[q]->map((const uint8_t(*)[64])in, 1, got);
            from_hex_be(elligator[i].q, want);
            CHECK(memcmp(got, want, 32) == 0);
            if (kernels[q] == &curve_portable) continue; /* libsodium clamps: it cannot multiply by 8 */
            kernels[q]->mul(eight, (const uint8_t(*)[32])got, 1, got);
            from_hex_be(elligator[i].p, want);
            CHECK(memcmp(got, want, 32) == 0);
        }
}

/* The text of RFC 9380 section 6.7.1, word by word, in GMP. */
static void slow_map(const uint8_t in[64], uint8_t out[32])
{
    mpz_t p, u, x1, x2, g, j;
    mpz_inits(p, u, x1, x2, g, j, NULL);
    mpz_setbit(p, 255);
    mpz_sub_ui(p, p, 19);
    mpz_set_ui(j, CURVE_J);
    mpz_import(u, 64, -1, 1, 0, 0, in);
    mpz_mul(u, u, u);
    mpz_mul_ui(u, u, 2);
    mpz_add_ui(u, u, 1);
    mpz_invert(x1, u, p);
    mpz_mul(x1, x1, j);
    mpz_neg(x1, x1);
    mpz_mod(x1, x1, p); /* -J / (1 + 2 u^2) */
    mpz_add(g, x1, j);
    mpz_mul(g, g, x1);
    mpz_add_ui(g, g, 1);
    mpz_mul(g, g, x1);
    mpz_neg(x2, x1);
    mpz_sub(x2, x2, j);
    mpz_mod(x2, x2, p);
    mpz_ptr x = mpz_legendre(g, p) >= 0 ? x1 : x2;
    memset(out, 0, 32);
    mpz_export(out, NULL, -1, 1, 0, 0, x);
    mpz_clears(p, u, x1, x2, g, j, NULL);
}

/* p + delta as 32 bytes, for values around the modulus. */
static void near_p(int delta, uint8_t out[32])
{
    memset(out, 0xff, 32);
    out[31] = 0x7f;
    out[0] = (uint8_t)(0xed + delta);
}

static void map_is_twin(struct ctx *cx)
{
    enum { N = 700 };
    static uint8_t in[N][64], got[N][32], want[32];
    CHECK_OK(cx, rand_bytes(cx, in, sizeof in));
    memset(in[0], 0, 64);
    memset(in[1], 0xff, 64);
    memset(in[2], 0, 64);
    in[2][0] = 1;
    for (int d = -3; d <= 3; d++) { /* around p, and around p * 2^256 */
        memset(in[10 + d], 0, 64);
        near_p(d, in[10 + d]);
        memset(in[20 + d], 0, 64);
        near_p(d, in[20 + d] + 32);
        memset(in[30 + d], 0xff, 64);
        near_p(d, in[30 + d]);
    }
    find_kernels();
    static const size_t sizes[] = {1, 3, 4, 5, 8, 9, 64, 65, 127, 128, 129, N};
    for (size_t q = 0; q < n_kernels; q++)
        for (size_t s = 0; s < LEN(sizes); s++) {
            memset(got, 0xaa, sizeof got);
            kernels[q]->map((const uint8_t(*)[64])in, sizes[s], got);
            for (size_t i = 0; i < sizes[s]; i++) {
                slow_map(in[i], want);
                CHECK(memcmp(got[i], want, 32) == 0);
            }
            if (sizes[s] < N) CHECK(got[sizes[s]][0] == 0xaa && got[sizes[s]][31] == 0xaa);
        }
}

/* The points of order 1, 2, 4 and 8 on the curve and its twist, as libsodium's test of small order lists them. */
static const char *const small_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void kernels_agree(struct ctx *cx)
{
    enum { N = 530 };
    static uint8_t in[N][32], got[N][32], want[N][32];
    static const size_t sizes[] = {1, 2, 4, 7, 8, 9, 128, 129, N};
    find_kernels();
    for (int round = 0; round < 3; round++) {
        uint8_t k[32];
        CHECK_OK(cx, rand_bytes(cx, k, 32));
        CHECK_OK(cx, rand_bytes(cx, in, sizeof in));
        if (round == 1) memset(k, 0, 32);
        if (round == 2) memset(k, 0xff, 32);
        k[0] &= 248;
        k[31] = (uint8_t)((k[31] & 127) | 64);
        for (size_t i = 0; i < LEN(small_order); i++)
            from_hex_le(small_order[i], in[40 + 3 * i]);
        for (int d = -8; d <= 18; d++)
            near_p(d, in[100 + d]); /* up to 2^255 - 1 */
        memset(in[130], 0xff, 32);
        for (size_t q = 0; q < n_kernels; q++)
            for (size_t s = 0; s < LEN(sizes); s++) {
                memset(got, 0xaa, sizeof got);
                kernels[q]->mul(k, (const uint8_t(*)[32])in, sizes[s], got);
                if (q == 0 && s == 0) kernels[0]->mul(k, (const uint8_t(*)[32])in, N, want);
                CHECK(memcmp(got, want, 32 * sizes[s]) == 0);
                if (sizes[s] < N) CHECK(got[sizes[s]][0] == 0xaa && got[sizes[s]][31] == 0xaa);
            }
        for (size_t q = 0; q < n_kernels; q++) { /* in place */
            memcpy(got, in, sizeof got);
            kernels[q]->mul(k, (const uint8_t(*)[32])got, N, got);
            CHECK(memcmp(got, want, sizeof want) == 0);
        }
    }
}

static void commutes(struct ctx *cx)
{
    enum { N = 1000 };
    static uint8_t h[N][64], u[N][32], ab[N][32], ba[N][32], first[N][32];
    CLEANUP(curve_scalar_freep) struct curve_scalar *a = NULL;
    CLEANUP(curve_scalar_freep) struct curve_scalar *b = NULL;
    CHECK_OK(cx, curve_scalar_new(cx, &a));
    CHECK_OK(cx, curve_scalar_new(cx, &b));
    CHECK_OK(cx, rand_bytes(cx, h, sizeof h));
    curve_map((const uint8_t(*)[64])h, N, u);
    for (unsigned threads = 1; threads <= 4; threads *= 2) {
        CLEANUP(pool_freep) struct pool *pool = pool_new(threads);
        struct pool *before = cx->pool;
        cx->pool = pool;
        CHECK_OK(cx, curve_mul(cx, a, (const uint8_t(*)[32])u, N, ab));
        CHECK_OK(cx, curve_mul(cx, b, (const uint8_t(*)[32])ab, N, ab));
        CHECK_OK(cx, curve_mul(cx, b, (const uint8_t(*)[32])u, N, ba));
        CHECK_OK(cx, curve_mul(cx, a, (const uint8_t(*)[32])ba, N, ba));
        cx->pool = before;
        CHECK(memcmp(ab, ba, sizeof ab) == 0);
        if (threads == 1) memcpy(first, ab, sizeof ab);
        CHECK(memcmp(ab, first, sizeof ab) == 0);
    }
    CHECK_OK(cx, curve_mul(cx, a, (const uint8_t(*)[32])u, 0, ab));
}

static void refuses_small_order(struct ctx *cx)
{
    enum { N = 600 };
    static uint8_t u[N][32], out[N][32];
    CLEANUP(curve_scalar_freep) struct curve_scalar *a = NULL;
    CHECK_OK(cx, curve_scalar_new(cx, &a));
    for (size_t i = 0; i < LEN(small_order); i++) {
        for (size_t k = 0; k < N; k++)
            memset(u[k], 0, 32), u[k][0] = 9;
        from_hex_le(small_order[i], u[300 + i]);
        from_hex_le(small_order[i], u[590]);
        CHECK_ERR(curve_mul(cx, a, (const uint8_t(*)[32])u, N, out), PROTO);
        char want[32];
        snprintf(want, sizeof want, "point %zu ", 300 + i);
        CHECK(strstr(cx->err.msg, want) != NULL);
    }
}

TEST_MAIN(T(rfc7748), T(rfc9380), T(map_is_twin), T(kernels_agree), T(commutes), T(refuses_small_order))
