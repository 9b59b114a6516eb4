/* What this CPU can do and this operating system lets it do. */
#ifndef MLTF_KERNELS_CPU_FEATURES_H
#define MLTF_KERNELS_CPU_FEATURES_H

#include <stdbool.h>

typedef struct cpu_features {
    bool avx2;       /* AVX2, FMA, F16C and BMI2, YMM state saved by the OS */
    bool avx512;     /* F, BW, DQ, VL, ZMM and mask state saved by the OS */
    bool avx512bf16; /* VDPBF16PS */
    /* at the rate of an f32 FMA, so that it doubles the speed: AMD. Intel's cores run it at half
     * that rate (93-127 GFLOP/s measured where FMA had 186-220), which gains nothing */
    bool avx512bf16_fast;
    /* AMX-TILE and AMX-BF16, tile state enabled, and permission granted to this process */
    bool amx_bf16;
} cpu_features;

/* Asks CPUID, XGETBV and, for AMX, the kernel (arch_prctl: permission holds for the whole process and
 * its children). All false where the code runs on something else than x86-64. */
cpu_features cpu_features_detect(void);

#endif
