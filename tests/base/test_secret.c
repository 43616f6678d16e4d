/* Secret memory is locked, out of dumps and zero; generators give the bytes of their sources; laws of the shuffle. */
#include "base/log.h"
#include "base/secret.h"
#include "sanitized.h"
#include "test.h"
#include <fcntl.h>
#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The flags of the mapping that holds p: a copy in cx->mem, "" when it is in none. */
static const char *vm_flags(struct ctx *cx, const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    unsigned long from, to;
    const char *flags = "";
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) inside = (uintptr_t)p >= from && (uintptr_t)p < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) flags = arena_printf(cx->mem, "%s ", line + 8);
    }
    if (f) fclose(f);
    return flags;
}

static void memory(struct ctx *cx)
{
    static const size_t sizes[] = {0, 1, 31, 64, 4031, 4032, 4033, 100000};
    for (size_t i = 0; i < LEN(sizes); i++) {
        uint8_t *p = secret_alloc(sizes[i]);
        CHECK(p && (uintptr_t)p % 64 == 0);
        for (size_t k = 0; k < sizes[i]; k++)
            CHECK(p[k] == 0);
        memset(p, 0xaa, sizes[i]);
        if (sizes[i]) CHECK(strstr(vm_flags(cx, p), " dd ")); /* don't dump */
        secret_free(p);
    }
    CHECK(!secret_alloc(SIZE_MAX) && !secret_alloc(SIZE_MAX - 5000) && !secret_alloc((size_t)1 << 60));
    secret_free(NULL);
}

/* Locked where the limit allows; where it does not, there is memory still. */
static void locked(struct ctx *cx)
{
#if defined WITH_ASAN || defined WITH_TSAN
    (void)cx;
    SKIP("sanitizers make mlock do nothing");
#else
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    uint8_t *p = secret_alloc(100);
    if (limit.rlim_cur >= 1 << 16) CHECK(strstr(vm_flags(cx, p), " lo "));
    secret_free(p);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        if (setrlimit(RLIMIT_MEMLOCK, &none)) _exit(2);
        if (setuid(65534) && geteuid() == 0) _exit(3); /* root may lock anyway */
        uint8_t *q = secret_alloc(1 << 20);
        if (!q || q[0]) _exit(4);
        memset(q, 1, 1 << 20);
        secret_free(q);
        _exit(0);
    }
    int how = -1;
    CHECK(pid > 0 && waitpid(pid, &how, 0) == pid && how == 0);
#endif
}

static void wipes_and_compares(struct ctx *cx)
{
    uint8_t a[100], b[100];
    (void)cx;
    memset(a, 7, sizeof a);
    memcpy(b, a, sizeof a);
    CHECK(secret_equal(a, b, sizeof a) && secret_equal(a, b, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 0x10;
        CHECK(!secret_equal(a, b, sizeof a) && secret_equal(a, b, i));
        b[i] ^= 0x10;
    }
    secret_wipe(a, 99);
    for (size_t i = 0; i < 99; i++)
        CHECK(a[i] == 0);
    CHECK(a[99] == 7);
    secret_wipe(NULL, 0);
}

static void random_bytes(struct ctx *cx)
{
    uint8_t *x = NEW(cx, uint8_t, 1 << 20), *y = NEW(cx, uint8_t, 1 << 20);
    size_t count[256] = {0};
    CHECK_OK(cx, rand_bytes(cx, x, 1 << 20));
    CHECK_OK(cx, rand_bytes(cx, y, 1 << 20));
    CHECK(memcmp(x, y, 1 << 20) != 0);
    for (size_t i = 0; i < 1 << 20; i++)
        count[x[i]]++;
    double chi = 0;
    for (size_t i = 0; i < 256; i++)
        chi += pow((double)count[i] - 4096, 2) / 4096;
    CHECK(chi > 130 && chi < 420); /* 255 +- 7 deviations */
    x[5] = 9;
    CHECK_OK(cx, rand_bytes(cx, x + 5, 0));
    CHECK(x[5] == 9);
    if (!getenv("NORN_TEST_SEEDS")) CHECK_ERR(rand_seed_for_tests(cx, 1), STATE);
}

/* In processes of their own: it is for the whole process. Writes what two draws gave. */
static void draw_seeded(uint64_t seed, size_t cut, int fd)
{
    struct ctx run = {.mem = arena_new(0), .log = log_new(fd, LOG_WARN)}, *cx = &run;
    uint8_t x[4096];
    setenv("NORN_TEST_SEEDS", "1", 1);
    if (rand_seed_for_tests(cx, seed).code || rand_bytes(cx, x, cut).code ||
        rand_bytes(cx, x + cut, sizeof x - cut).code || write(fd, x, sizeof x) != sizeof x)
        _exit(1);
    _exit(0);
}

static size_t seeded(uint64_t seed, size_t cut, char *out, size_t max)
{
    int fds[2];
    size_t n = 0;
    if (pipe(fds)) abort();
    pid_t pid = fork();
    if (pid == 0) draw_seeded(seed, cut, fds[1]);
    close(fds[1]);
    for (ssize_t k; n < max && (k = read(fds[0], out + n, max - n)) > 0;)
        n += (size_t)k;
    close(fds[0]);
    int how = -1;
    CHECK(pid > 0 && waitpid(pid, &how, 0) == pid && how == 0);
    return n;
}

static void test_seeds(struct ctx *cx)
{
    enum { MAX = 8192, N = 4096 };
    char *a = NEW(cx, char, MAX), *b = NEW(cx, char, MAX), *c = NEW(cx, char, MAX), *d = NEW(cx, char, MAX);
    size_t n = seeded(5, 1000, a, MAX), m = seeded(5, 1000, b, MAX), k = seeded(6, 1000, c, MAX);
    CHECK(n > N && m > N && k > N && memmem(a, n - N, "\"level\":\"warn\"", 14));
    CHECK(memcmp(a + n - N, b + m - N, N) == 0);
    CHECK(memcmp(a + n - N, c + k - N, N) != 0 && memcmp(a + n - 8, c + k - 8, 8) != 0);
    size_t l = seeded(5, 2000, d, MAX); /* another cut at whole words: the same stream */
    CHECK(l > N && memcmp(a + n - N, d + l - N, N) == 0);
}

/* NIST SP 800-38A, F.5.1: the four blocks, plaintext taken off. */
static void aes_ctr(struct ctx *cx)
{
    static const uint8_t seed[32] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15,
                                     0x88, 0x09, 0xcf, 0x4f, 0x3c, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5,
                                     0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};
    static const uint8_t want[32] = {0xec, 0x8c, 0xdf, 0x73, 0x98, 0x60, 0x7c, 0xb0, 0xf2, 0xd2, 0x16,
                                     0x75, 0xea, 0x9e, 0xa1, 0xe4, 0x36, 0x2b, 0x7c, 0x3c, 0x67, 0x73,
                                     0x51, 0x63, 0x18, 0xa0, 0x77, 0xd7, 0xfc, 0x50, 0x73, 0xae};
    CLEANUP(prg_freep) struct prg *p = NULL;
    uint8_t got[32];
    CHECK_OK(cx, prg_new(cx, seed, &p));
    prg_bytes(p, got, sizeof got);
    CHECK(memcmp(got, want, sizeof got) == 0);
    prg_free(NULL);
}

/* Any reads of any lengths give one stream; seek goes to where the counter says. */
static void prg_laws(struct ctx *cx)
{
    enum { N = 20000 };
    struct shuffle s = shuffle_new(test_seed());
    uint8_t seed[32], moved[32], *want = NEW(cx, uint8_t, N), *got = NEW(cx, uint8_t, N);
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)shuffle_u64(&s);
    memset(seed + 20, 0xff, 9); /* carries */
    CLEANUP(prg_freep) struct prg *p = NULL, *q = NULL;
    CHECK_OK(cx, prg_new(cx, seed, &p));
    prg_bytes(p, want, N);
    for (int round = 0; round < 100; round++) {
        prg_seek(p, 0);
        for (size_t n = 0; n < N;) {
            size_t k = shuffle_below(&s, 4) ? shuffle_below(&s, 40) : shuffle_below(&s, 3000);
            if (k == 8 && n + 8 <= N) {
                uint64_t x = prg_u64(p);
                memcpy(got + n, &x, 8);
            } else {
                k = k < N - n ? k : N - n;
                prg_bytes(p, got + n, k);
            }
            n += k;
        }
        CHECK(memcmp(got, want, N) == 0);
    }
    static const uint64_t index[] = {1, 2, 255, 1 << 20, UINT64_MAX};
    for (size_t i = 0; i < LEN(index); i++) {
        memcpy(moved, seed, sizeof seed);
        unsigned __int128 add = (unsigned __int128)index[i] << 28;
        for (size_t k = 32; k-- > 16; add >>= 8) { /* big-endian, with carry */
            add += moved[k];
            moved[k] = (uint8_t)add;
        }
        CHECK_OK(cx, prg_new(cx, moved, &q));
        prg_seek(p, index[i]);
        prg_bytes(p, got, 1000);
        prg_bytes(q, want, 1000);
        CHECK(memcmp(got, want, 1000) == 0);
        prg_freep(&q);
    }
}

static void xoshiro(struct ctx *cx)
{
    (void)cx;
    /* By the authors' xoshiro256starstar.c and splitmix64.c. */
    static const uint64_t want[] = {11520,
                                    0,
                                    1509978240,
                                    1215971899390074240,
                                    1216172134540287360,
                                    607988272756665600,
                                    16172922978634559625u,
                                    8476171486693032832,
                                    10595114339597558777u,
                                    2904607092377533576};
    struct shuffle s = {{1, 2, 3, 4}};
    for (size_t i = 0; i < LEN(want); i++)
        CHECK(shuffle_u64(&s) == want[i]);
    s = shuffle_new(0);
    CHECK(s.s[0] == 0xe220a8397b1dcdaf && s.s[1] == 0x6e789e6aa1b965f4 && s.s[2] == 0x06c45d188009454f &&
          s.s[3] == 0xf88bb8a8724c81ec);
}

static void shuffle_laws(struct ctx *cx)
{
    enum { N = 200000 };
    struct shuffle s = shuffle_new(test_seed()), same = shuffle_new(test_seed());
    size_t count[7] = {0};
    double sum = 0, squares = 0, fourth = 0, unit = 0;
    bool in_range = true;
    (void)cx;
    for (int i = 0; i < N; i++) {
        CHECK(shuffle_u64(&s) == shuffle_u64(&same));
        count[shuffle_below(&s, 7)]++;
        uint64_t big = ((uint64_t)3 << 62) + 5;
        in_range = in_range && shuffle_below(&s, big) < big && shuffle_below(&s, 1) == 0;
        double u = shuffle_unit(&s), x = shuffle_normal(&s);
        in_range = in_range && u >= 0 && u < 1 && isfinite(x);
        unit += u;
        sum += x, squares += x * x, fourth += x * x * x * x;
        same = s;
    }
    CHECK(in_range);
    for (size_t i = 0; i < 7; i++)
        CHECK(fabs((double)count[i] - N / 7.0) < 5 * sqrt(N / 7.0));
    CHECK(fabs(unit / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    CHECK(fabs(sum / N) < 5 / sqrt(N) && fabs(squares / N - 1) < 5 * sqrt(2.0 / N) &&
          fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
}

TEST_MAIN(T(memory), T(locked), T(wipes_and_compares), T(random_bytes), T(test_seeds), T(aes_ctr),
          T(prg_laws), T(xoshiro), T(shuffle_laws))
