#include "net/mem.h"
#include "base/loop.h"
#include "base/num.h"
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define KEEP      ((size_t)192 << 20)
#define DISK_STEP ((size_t)4 << 20)

static void drop(struct pile *pile, size_t i)
{
    munmap(pile->slot[i].p, pile->slot[i].cap);
    pile->kept -= pile->slot[i].cap;
    pile->slot[i].p = NULL;
}

void pile_trim(struct pile *pile, uint64_t idle_since_ms)
{
    for (size_t i = 0; i < PILE_SLOTS; i++)
        if (pile->slot[i].p && pile->slot[i].since_ms < idle_since_ms) drop(pile, i);
}

/* The smallest kept mapping that holds n and is not more than twice as large. */
static bool reuse(struct pile *pile, size_t n, struct payload *out)
{
    size_t best = PILE_SLOTS;
    for (size_t i = 0; i < PILE_SLOTS; i++) {
        if (!pile->slot[i].p || pile->slot[i].cap < n || pile->slot[i].cap / 2 > n + HUGE_PAGE) continue;
        if (best == PILE_SLOTS || pile->slot[i].cap < pile->slot[best].cap) best = i;
    }
    if (best == PILE_SLOTS) return false;
    *out = (struct payload){.p = pile->slot[best].p, .n = n, .cap = pile->slot[best].cap, .mapped = true};
    pile->kept -= out->cap;
    pile->slot[best].p = NULL;
    return true;
}

static bool map_new(size_t n, bool lazy, struct payload *out)
{
    size_t cap;
    if (!num_add(n, HUGE_PAGE - 1, &cap)) return false;
    cap &= ~(HUGE_PAGE - 1);
    void *p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    if (!lazy) madvise(p, cap, MADV_HUGEPAGE);
    *out = (struct payload){.p = p, .n = n, .cap = cap, .mapped = true};
    return true;
}

void payload_hasten(const struct payload *x, size_t have)
{
    size_t at = (have + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    if (x->mapped && at < x->cap) madvise(x->p + at, x->cap - at, MADV_HUGEPAGE);
}

static void hold(struct pile *pile, size_t n)
{
    pile->held += n;
    if (pile->held > pile->most) pile->most = pile->held;
}

bool payload_new(struct pile *pile, size_t n, bool lazy, struct payload *out)
{
    if (n >= MEM_BIG) {
        if (!reuse(pile, n, out) && !map_new(n, lazy, out)) return false;
    } else {
        struct buf b = {0};
        uint8_t *p = buf_grow(&b, n ? n : 1);
        if (!p) return false;
        *out = (struct payload){.p = b.p, .n = n, .cap = b.cap};
    }
    hold(pile, n);
    return true;
}

void payload_lend(struct pile *pile, const void *p, size_t n, void (*release)(void *arg, const void *p),
                  void *arg, struct payload *out)
{
    *out = (struct payload){.p = (uint8_t *)(uintptr_t)p, .n = n, .release = release, .arg = arg};
    hold(pile, n);
}

/* --- on disk --- */

bool pile_full(const struct pile *pile, size_t n)
{
    return pile->max && (n > pile->max || pile->held > pile->max - n);
}

status payload_take(struct ctx *cx, struct pile *pile, size_t n, bool lazy, struct payload *out)
{
    if (n < SPILL_MIN || !pile->spill.dir || !pile_full(pile, n))
        return payload_new(pile, n, lazy, out) ? OK : FAIL(cx, NOMEM, "no memory for %zu bytes", n);
    struct payload x = {.n = n, .on_disk = true};
    TRY(spill_take(cx, &pile->spill, n, &x.at));
    *out = x;
    return OK;
}

status payload_put(struct ctx *cx, struct pile *pile, struct payload *x, size_t at, const void *p, size_t n)
{
    if (x->on_disk) {
        x->stored += n;
        status st = spill_write(cx, &pile->spill, x->at + at, p, n);
        if (st.code == ERR_LIMIT) x->stored -= n;
        return st;
    }
    if (n) memcpy(x->p + at, p, n);
    return OK;
}

status payload_open(struct ctx *cx, struct pile *pile, struct payload *x)
{
    if (!x->on_disk || x->p) return OK;
    x->p = (uint8_t *)(uintptr_t)spill_map(&pile->spill, x->at, x->n);
    return x->p ? OK : FAIL(cx, NOMEM, "no address space for a message of %zu bytes", x->n);
}

void payload_shut(struct payload *x)
{
    if (!x->on_disk || !x->p) return;
    spill_unmap(x->p, x->n);
    x->p = NULL;
    x->passed = 0;
}

void payload_read_to(struct payload *x, size_t n)
{
    if (!x->on_disk || !x->p || n < x->passed + DISK_STEP) return;
    spill_passed(x->p, n);
    x->passed = n;
}

static void keep(struct pile *pile, struct payload *x)
{
    size_t at = PILE_SLOTS;
    for (size_t i = 0; i < PILE_SLOTS && at == PILE_SLOTS; i++)
        if (!pile->slot[i].p) at = i;
    if (at == PILE_SLOTS || x->cap > KEEP - pile->kept) {
        munmap(x->p, x->cap);
        return;
    }
    pile->slot[at].p = x->p;
    pile->slot[at].cap = x->cap;
    pile->slot[at].since_ms = clock_ms();
    pile->kept += x->cap;
}

void payload_free(struct pile *pile, struct payload *x)
{
    if (x->release) x->release(x->arg, x->p);
    if (x->release || x->cap) pile->held -= x->n;
    if (x->on_disk) {
        payload_shut(x);
        spill_give(&pile->spill, x->at, x->n, x->stored);
    }
    if (x->cap && x->mapped) keep(pile, x);
    if (x->cap && !x->mapped) {
        struct buf b = {.p = x->p, .cap = x->cap};
        buf_free(&b);
    }
    *x = (struct payload){0};
}
