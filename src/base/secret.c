#include "base/secret.h"
#include "base/evp.h"
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif

/* ---- memory ---- */

/* Pages of its own for every piece: [struct head, 64 bytes][piece][rest of the page]. */
struct head {
    _Alignas(64) size_t map_bytes;
    size_t n;
};

/* So that AddressSanitizer sees what it does not know by itself: overruns, and heap that only a secret points to. */
static void watch(struct head *h, bool on)
{
#ifdef WITH_ASAN
    char *piece = (char *)(h + 1);
    if (on) {
        __lsan_register_root_region(piece, h->n);
        __asan_poison_memory_region(piece + h->n, h->map_bytes - sizeof *h - h->n);
        __asan_poison_memory_region(h, sizeof *h);
    } else {
        __asan_unpoison_memory_region(h, sizeof *h);
        __asan_unpoison_memory_region(h, h->map_bytes);
        __lsan_unregister_root_region(piece, h->n);
    }
#else
    (void)h, (void)on;
#endif
}

void *secret_alloc(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes;
    if (__builtin_add_overflow(n, sizeof(struct head) + page - 1, &bytes)) return NULL;
    bytes &= ~(page - 1);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NULL;
    /* Both may be refused (RLIMIT_MEMLOCK is often small); a secret that could be swapped is better than no service. */
    int saved = errno;
    (void)madvise(map, bytes, MADV_DONTDUMP);
    (void)mlock(map, bytes);
    errno = saved;
    struct head *h = map;
    h->map_bytes = bytes;
    h->n = n;
    watch(h, true);
    return h + 1;
}

void secret_free(void *p)
{
    if (!p) return;
    struct head *h = (struct head *)p - 1;
    watch(h, false);
    secret_wipe(p, h->n);
    munmap(h, h->map_bytes);
}

void secret_wipe(void *p, size_t n)
{
    if (n) explicit_bzero(p, n);
}

bool secret_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

/* ---- randomness ---- */

/* Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014: splitmix64. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static const uint64_t golden = 0x9e3779b97f4a7c15;

/* The one mutable thing here, and only tests set it. Word i of the stream is mix(seed + (i + 1) * golden): splitmix64
 * by index, so that taking a stretch is one atomic add. The order among threads is theirs: who wants the same bytes
 * again draws on the task's own thread and gives seeds to the chunks. */
static struct {
    atomic_bool on;
    _Atomic uint64_t seed, next;
} seeded;

static void seeded_bytes(uint8_t *out, size_t n)
{
    uint64_t i = atomic_fetch_add(&seeded.next, n / 8 + (n % 8 != 0)), seed = atomic_load(&seeded.seed);
    while (n) {
        uint64_t w = mix(seed + ++i * golden);
        size_t k = n < sizeof w ? n : sizeof w;
        memcpy(out, &w, k);
        out += k;
        n -= k;
    }
}

status rand_bytes(struct ctx *cx, void *out, size_t n)
{
    uint8_t *p = out;
    if (atomic_load_explicit(&seeded.on, memory_order_acquire)) {
        seeded_bytes(p, n);
        return OK;
    }
    while (n) {
        ssize_t k = getrandom(p, n, 0);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return FAIL(cx, IO, "no entropy from the kernel: %m");
        p += k;
        n -= (size_t)k;
    }
    return OK;
}

status rand_seed_for_tests(struct ctx *cx, uint64_t seed)
{
    const char *on = getenv("NORN_TEST_SEEDS"); /* NOLINT(concurrency-mt-unsafe): nobody writes it */
    if (!on || strcmp(on, "1") != 0)
        return FAIL(cx, STATE, "seeded randomness is for tests, and NORN_TEST_SEEDS is not 1");
    atomic_store(&seeded.seed, mix(mix(seed) + golden));
    atomic_store(&seeded.next, 0);
    atomic_store_explicit(&seeded.on, true, memory_order_release);
    log_warn(cx, "randomness is seeded: nothing in this process is secret",
             KV("variable", "NORN_TEST_SEEDS"));
    return OK;
}

/* ---- prg ---- */

struct prg {
    EVP_CIPHER_CTX *aes;
    uint8_t nonce[16];
    size_t at; /* in ahead; its size: all used */
    uint8_t ahead[512];
};

static void more(struct prg *p, uint8_t *out, size_t n)
{
    memset(out, 0, n);
    while (n) {
        int k = n < (size_t)1 << 30 ? (int)n : 1 << 30, done = 0;
        int ok = EVP_EncryptUpdate(p->aes, out, &done, out, k);
        assert(ok == 1 && done == k); /* counter mode on a ready context has no way to fail */
        out += k;
        n -= (size_t)k;
    }
}

status prg_new(struct ctx *cx, const uint8_t seed[32], struct prg **out)
{
    CLEANUP(prg_freep) struct prg *p = secret_alloc(sizeof *p);
    if (!p) return FAIL(cx, NOMEM, "a generator");
    p->aes = EVP_CIPHER_CTX_new();
    if (!p->aes) return FAIL(cx, NOMEM, "a generator");
    memcpy(p->nonce, seed + 16, sizeof p->nonce);
    p->at = sizeof p->ahead;
    if (EVP_EncryptInit_ex(p->aes, EVP_aes_128_ctr(), NULL, seed, p->nonce) != 1)
        return FAIL(cx, INTERNAL, "OpenSSL has no AES-128-CTR");
    *out = TAKE(p);
    return OK;
}

void prg_free(struct prg *p)
{
    if (!p) return;
    EVP_CIPHER_CTX_free(p->aes); /* wipes */
    secret_free(p);
}

void prg_freep(struct prg **p)
{
    prg_free(*p);
    *p = NULL;
}

void prg_bytes(struct prg *p, void *out, size_t n)
{
    uint8_t *to = out;
    while (n) {
        if (p->at == sizeof p->ahead) {
            size_t straight = n / sizeof p->ahead * sizeof p->ahead;
            more(p, to, straight);
            to += straight;
            n -= straight;
            if (n == 0) return;
            more(p, p->ahead, sizeof p->ahead);
            p->at = 0;
        }
        size_t left = sizeof p->ahead - p->at, k = n < left ? n : left;
        memcpy(to, p->ahead + p->at, k);
        p->at += k;
        to += k;
        n -= k;
    }
}

uint64_t prg_u64(struct prg *p)
{
    uint64_t x;
    prg_bytes(p, &x, sizeof x);
    return x;
}

/* The counter is the nonce, big-endian, plus index * 2^28 blocks of 16 bytes. */
void prg_seek(struct prg *p, uint64_t index)
{
    uint8_t iv[16];
    unsigned __int128 x = 0;
    for (size_t i = 0; i < sizeof iv; i++)
        x = x << 8 | p->nonce[i];
    x += (unsigned __int128)index << 28;
    for (size_t i = sizeof iv; i-- > 0; x >>= 8)
        iv[i] = (uint8_t)x;
    int ok = EVP_EncryptInit_ex(p->aes, NULL, NULL, NULL, iv);
    assert(ok == 1);
    p->at = sizeof p->ahead;
}

/* ---- shuffle ---- */

struct shuffle shuffle_new(uint64_t seed)
{
    struct shuffle s;
    for (int i = 0; i < 4; i++) /* splitmix64 */
        s.s[i] = mix(seed += golden);
    return s;
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* Source: Blackman, Vigna, "Scrambled linear pseudorandom number generators", 2021: xoshiro256**. */
uint64_t shuffle_u64(struct shuffle *s)
{
    uint64_t out = rotl(s->s[1] * 5, 7) * 9, t = s->s[1] << 17;
    s->s[2] ^= s->s[0];
    s->s[3] ^= s->s[1];
    s->s[1] ^= s->s[2];
    s->s[0] ^= s->s[3];
    s->s[2] ^= t;
    s->s[3] = rotl(s->s[3], 45);
    return out;
}

/* Source: Lemire, "Fast random integer generation in an interval", 2019. */
uint64_t shuffle_below(struct shuffle *s, uint64_t n)
{
    assert(n);
    unsigned __int128 m = (unsigned __int128)shuffle_u64(s) * n;
    if ((uint64_t)m < n) {
        uint64_t least = -n % n;
        while ((uint64_t)m < least)
            m = (unsigned __int128)shuffle_u64(s) * n;
    }
    return (uint64_t)(m >> 64);
}

double shuffle_unit(struct shuffle *s)
{
    return (double)(shuffle_u64(s) >> 11) * 0x1p-53;
}

double shuffle_normal(struct shuffle *s) /* Box and Muller, 1958 */
{
    double r = sqrt(-2 * log(1 - shuffle_unit(s))), turn = 2 * M_PI * shuffle_unit(s);
    return r * cos(turn);
}
