#include "net/mem.h"
#include "base/loop.h"
#include "base/num.h"
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define KEEP      ((size_t)192 << 20)

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

bool payload_new(struct pile *pile, size_t n, bool lazy, struct payload *out)
{
    if (n >= MEM_BIG) return reuse(pile, n, out) || map_new(n, lazy, out);
    struct buf b = {0};
    uint8_t *p = buf_grow(&b, n ? n : 1);
    if (!p) return false;
    *out = (struct payload){.p = b.p, .n = n, .cap = b.cap};
    return true;
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
    if (x->cap && x->mapped) keep(pile, x);
    if (x->cap && !x->mapped) {
        struct buf b = {.p = x->p, .cap = x->cap};
        buf_free(&b);
    }
    *x = (struct payload){0};
}
