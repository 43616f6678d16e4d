/* cpu.h - which kernels this processor can run. NORN_CPU=portable|avx2|avx512 lowers the choice (tests, benches). */
#pragma once
enum cpu_level {
    CPU_PORTABLE,
    CPU_AVX2,
    CPU_AVX512
};                              /* AVX2 with BMI2; AVX512 means F, DQ, BW, VL and IFMA */
enum cpu_level cpu_level(void); /* the same answer for the life of the process */
const char *cpu_level_name(enum cpu_level level);
