/* Messages for which there is no memory lie on disk: nothing is lost, memory stays within its bound, and a full disk is told by
 * name. Most of the bytes are zeros, which take no space. */
#include "test.h"
#include "world.h"
#include "base/file.h"
#include "net/node_int.h"
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { MIB = 1 << 20, BOUND = 16 * MIB };

/* Bytes of this process that are in memory and not a file's. */
static uint64_t resident(void)
{
    char line[200];
    unsigned long long kb = 0, sum = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu", &kb) == 1 || sscanf(line, "RssShmem: %llu", &kb) == 1) sum += kb;
    if (f) fclose(f);
    return sum * 1024;
}

static void file_of_pieces(struct ctx *cx)
{
    struct world w;
    struct stat st;
    uint64_t at[3];
    static uint8_t bytes[300000], zeros[MIB];
    world_init(&w, cx);
    struct spill s = {.dir = world_file(&w, "spill"), .max = 4 * MIB};
    fill_bytes(bytes, sizeof bytes, 1);
    for (int i = 0; i < 3; i++)
        CHECK_OK(cx, spill_take(cx, &s, i == 2 ? MIB : sizeof bytes, &at[i]));
    CHECK(at[0] == 0 && at[1] >= sizeof bytes && at[1] % 4096 == 0);
    CHECK_OK(cx, spill_write(cx, &s, at[1], bytes, 100001));
    CHECK_OK(cx, spill_write(cx, &s, at[0], bytes, sizeof bytes));
    CHECK_OK(cx, spill_write(cx, &s, at[1] + 100001, bytes + 100001, sizeof bytes - 100001));
    CHECK_OK(cx, spill_write(cx, &s, at[2], zeros, sizeof zeros));
    CHECK(s.live == 2 * sizeof bytes + sizeof zeros && s.pieces == 3);
    CHECK(fstat(s.fd, &st) == 0 && st.st_nlink == 0 && (uint64_t)st.st_blocks * 512 < MIB);
    for (int i = 0; i < 3; i++) {
        size_t n = i == 2 ? sizeof zeros : sizeof bytes;
        const uint8_t *p = spill_map(&s, at[i], n);
        CHECK(p && memcmp(p, i == 2 ? zeros : bytes, n) == 0);
        spill_passed(p, n);
        CHECK(memcmp(p, i == 2 ? zeros : bytes, n) == 0);
        spill_unmap(p, n);
    }
    spill_give(&s, at[0], sizeof bytes, sizeof bytes);
    CHECK(s.live == sizeof bytes + sizeof zeros || s.no_holes);
    CHECK(fstat(s.fd, &st) == 0 && ((uint64_t)st.st_blocks * 512 < 400000 || s.no_holes));
    CHECK_ERR(spill_write(cx, &s, at[2], zeros, SIZE_MAX / 2), LIMIT);
    spill_give(&s, at[1], sizeof bytes, sizeof bytes);
    spill_give(&s, at[2], sizeof zeros, sizeof zeros);
    CHECK(s.live == 0 && s.end == 0 && fstat(s.fd, &st) == 0 && st.st_size == 0);
    CHECK_ERR(spill_take(cx, &s, UINT64_C(1) << 60, &at[0]), LIMIT);

    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = MIB;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK_ERR(spill_take(cx, &s, 2 * MIB, &at[0]), IO);
    CHECK(strstr(cx->err.msg, "spill"));
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(s.pieces == 0 && s.end == 0);
    spill_close(&s);
    world_free(&w);
}

static struct site *bounded(struct world *w, size_t i, uint32_t party)
{
    struct site *s = world_site(w, i, party);
    s->config.memory_bytes = BOUND;
    s->config.outbox_bytes = UINT64_C(1) << 40;
    s->config.spill_dir = world_file(w, "spill%u", party);
    return s;
}

static void start_pair(struct world *w)
{
    struct site *a = bounded(w, 0, 10000), *b = bounded(w, 1, 9999);
    site_peer(a, 9999, 0);
    site_start(a);
    site_peer(b, 10000, node_port(a->node));
    site_start(b);
}

static bool got_all(void *arg)
{
    struct site *s = arg;
    return s->n_got >= 40;
}

static bool got_bytes(void *arg)
{
    struct site *s = arg;
    struct link_state l;
    return node_link(s->node, 9999, &l) && l.bytes_in > 100 * MIB;
}

/* 160 MB of many streams, first at the sender (the link is not up), then at the receiver, which takes nothing, then taken. */
static void both_ends_wait(struct ctx *cx)
{
    struct world w;
    struct node_memory m;
    enum { N = 40, SIZE = 4 * MIB };
    static uint8_t p[SIZE + N];
    world_init(&w, cx);
    start_pair(&w);
    struct site *a = &w.site[0], *b = &w.site[1];
    a->refuse = true;
    fill_bytes(p, sizeof p, test_seed());
    for (uint32_t i = 0; i < N; i++) {
        char job[16];
        snprintf(job, sizeof job, "job%u", i % 20);
        struct message x = make_message(b, job, 10000, "a", i / 20, p + i, i % 4 ? SIZE : 40000);
        CHECK_OK(cx, node_send(cx, b->node, &x));
    }
    node_memory(b->node, &m);
    CHECK(m.memory <= BOUND + N * 40000 && m.disk > 90 * MIB && m.memory_max == BOUND);
    CHECK(world_run(&w, 20000, got_bytes, a));
    world_run(&w, 300, NULL, NULL);
    node_memory(a->node, &m);
    CHECK(m.memory_most <= BOUND + N * 40000 && m.disk > 50 * MIB);
    fprintf(stderr, "# at the receiver: %llu bytes in memory, %llu on disk\n",
            (unsigned long long)m.memory_most, (unsigned long long)m.disk_most);
    a->refuse = false;
    for (uint32_t i = 0; i < 20; i++) {
        char job[16];
        snprintf(job, sizeof job, "job%u", i);
        struct message x = make_message(b, job, 10000, "a", 0, p, 0);
        node_resume(a->node, &x.stream);
    }
    CHECK(world_run(&w, 20000, got_all, a));
    CHECK(a->n_got == N);
    for (struct got *g = a->got; g; g = g->next) {
        uint32_t i = g->m.seq * 20 + (uint32_t)strtoul(g->m.stream.job + 3, NULL, 10);
        CHECK(g->m.payload.n == (i % 4 ? SIZE : 40000) && g->sum == sum_bytes(p + i, g->m.payload.n));
    }
    world_run(&w, 100, NULL, NULL);
    node_memory(a->node, &m);
    CHECK(m.memory == 0 && m.disk == 0);
    node_memory(b->node, &m);
    CHECK(m.memory == 0 && m.disk == 0);
    world_free(&w);
}

/* 4 GiB wait for a peer that is not there. */
static void four_gib_wait(struct ctx *cx)
{
    struct world w;
    struct node_memory m;
    enum { N = 64, SIZE = 64 * MIB };
    world_init(&w, cx);
    struct site *b = bounded(&w, 1, 9999);
    site_peer(b, 10000, 1);
    site_start(b);
    uint8_t *p = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    uint64_t before = resident();
    for (uint32_t i = 0; i < N; i++) {
        struct message x = make_message(b, "job1", 10000, "a", i, p, SIZE);
        CHECK_OK(cx, node_send(cx, b->node, &x));
    }
    node_memory(b->node, &m);
    CHECK(m.memory <= BOUND && m.memory + m.disk == (uint64_t)N * SIZE);
    uint64_t after = resident();
    CHECK(after < before + 2 * BOUND);
    fprintf(stderr, "# 4 GiB wait: %llu bytes more in memory\n", (unsigned long long)(after - before));
    node_reclaim(b->node, "job1", NULL);
    world_run(&w, 10, NULL, NULL);
    node_memory(b->node, &m);
    CHECK(m.disk == 0 && m.memory == 0);
    munmap(p, SIZE);
    world_free(&w);
}

#define LARGE ((UINT64_C(2) << 30) + 12345)
static const uint64_t marks[] = {
    0, 4095, UINT64_C(1) << 30, (UINT64_C(1) << 31) - 1, UINT64_C(1) << 31, LARGE - 1};

static bool take_large(void *arg, const struct message *m)
{
    struct site *s = arg;
    s->n_got++;
    CHECK(m->payload.n == LARGE);
    for (size_t i = 0; i < LEN(marks) && m->payload.n == LARGE; i++)
        CHECK(m->payload.p[marks[i]] == i + 1);
    return true;
}

static bool got_one(void *arg)
{
    struct site *s = arg;
    return s->n_got > 0;
}

/* One message of more than 2 GiB, in 16 MiB of memory at either end. */
static void above_two_gib(struct ctx *cx)
{
    struct world w;
    struct node_memory m;
    world_init(&w, cx);
    start_pair(&w);
    struct site *a = &w.site[0], *b = &w.site[1];
    a->deliver = take_large;
    uint8_t *p =
        mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    madvise(p, LARGE, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < LEN(marks); i++)
        p[marks[i]] = (uint8_t)(i + 1);
    uint64_t before = resident();
    struct message x = make_message(b, "job1", 10000, "a", 0, p, LARGE);
    CHECK_OK(cx, node_send(cx, b->node, &x));
    munmap(p, LARGE);
    CHECK(world_run(&w, 120000, got_one, a));
    uint64_t after = resident();
    CHECK(after < before + 4 * BOUND);
    node_memory(a->node, &m);
    CHECK(m.memory_most == 0 && m.disk_most == LARGE);
    fprintf(stderr, "# %llu bytes through: %lld more in memory\n", (unsigned long long)LARGE,
            (long long)(after - before));
    world_free(&w);
}

static bool has_room_event(void *arg)
{
    struct site *s = arg;
    struct stream_key k = {
        .job = "job1", .task = "toy_0.0", .from = {ROLE_GUEST, 9999}, .to = {ROLE_HOST, 10000}};
    struct stream_out *o = stream_out_find(s->node, &k);
    return o && o->broken.code;
}

/* No room on disk, at the receiver, then at the sender: who it concerns is told, the link and others go on. */
static void no_room(struct ctx *cx)
{
    struct world w;
    struct link_state l;
    static uint8_t p[24 * MIB];
    world_init(&w, cx);
    struct site *a = bounded(&w, 0, 10000), *b = bounded(&w, 1, 9999);
    a->config.disk_bytes = b->config.disk_bytes = 20 * MIB;
    a->config.memory_bytes = MIB;
    b->config.memory_bytes = 40 * MIB;
    site_peer(a, 9999, 0);
    site_start(a);
    site_peer(b, 10000, node_port(a->node));
    site_start(b);
    CHECK(world_until_up(&w, b, 10000, 3000));
    fill_bytes(p, sizeof p, 1);
    struct message x = make_message(b, "job1", 10000, "a", 0, p, sizeof p);
    struct message other = make_message(b, "job2", 10000, "a", 0, p, 100000);
    CHECK_OK(cx, node_send(cx, b->node, &x));
    CHECK(world_run(&w, 5000, has_room_event, b));
    x.seq = 1;
    CHECK_ERR(node_send(cx, b->node, &x), LIMIT);
    CHECK(strstr(cx->err.msg, "party 10000 has no room for message a[0] of 25165824 bytes") &&
          strstr(cx->err.msg, "wait on disk, at most 20971520"));
    CHECK_OK(cx, node_send(cx, b->node, &other));
    CHECK(world_run(&w, 5000, got_one, a));
    CHECK(node_link(b->node, 10000, &l) && l.up);

    a->refuse = true;
    uint32_t seq = 0;
    status st = OK;
    for (; seq < 20 && !st.code; seq++) {
        x = make_message(b, "job3", 10000, "a", seq, p, 16 * MIB);
        st = node_send(cx, b->node, &x);
    }
    CHECK(st.code == ERR_LIMIT && strstr(cx->err.msg, "wait on disk, at most 20971520"));
    CHECK(seq == 4); /* two in memory, one on disk */
    world_free(&w);
}

static void released(void *arg, const void *p)
{
    (void)p;
    ++*(size_t *)arg;
}

/* What a task lends is given back at once when it goes to disk. */
static void lent_bytes(struct ctx *cx)
{
    struct world w;
    struct node_memory m;
    static uint8_t p[10 * MIB];
    size_t n = 0;
    world_init(&w, cx);
    struct site *b = bounded(&w, 1, 9999);
    site_peer(b, 10000, 1);
    site_start(b);
    for (uint32_t i = 0; i < 3; i++) {
        struct message x = make_message(b, "job1", 10000, "a", i, p, sizeof p);
        CHECK_OK(cx, node_send_lent(cx, b->node, &x, released, &n));
        CHECK(n == i);
        if (i == 0) continue;
        node_memory(b->node, &m);
        CHECK(m.memory == sizeof p && m.disk == i * sizeof p);
    }
    node_reclaim(b->node, "job1", NULL);
    world_run(&w, 10, NULL, NULL);
    node_memory(b->node, &m);
    CHECK(n == 3 && m.memory == 0 && m.disk == 0);
    world_free(&w);
}

TEST_MAIN(T(file_of_pieces), T(both_ends_wait), T(four_gib_wait), T(above_two_gib), T(no_room), T(lent_bytes))
