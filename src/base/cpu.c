#include "base/cpu.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [CPU_PORTABLE] = "portable", [CPU_AVX2] = "avx2", [CPU_AVX512] = "avx512"};

const char *cpu_level_name(enum cpu_level level)
{
    return names[level];
}

static enum cpu_level detect(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        return CPU_PORTABLE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512ifma"))
        return CPU_AVX512;
    return CPU_AVX2;
#else
    return CPU_PORTABLE;
#endif
}

enum cpu_level cpu_level(void)
{
    static atomic_int once; /* level + 1; racing threads store the same */
    int level = atomic_load_explicit(&once, memory_order_relaxed) - 1;
    if (level >= 0) return (enum cpu_level)level;
    level = (int)detect();
    const char *want = getenv("NORN_CPU"); /* NOLINT(concurrency-mt-unsafe): nobody writes it */
    for (int i = 0; want && i < level; i++)
        if (strcmp(want, names[i]) == 0) level = i;
    atomic_store_explicit(&once, level + 1, memory_order_relaxed);
    return (enum cpu_level)level;
}
