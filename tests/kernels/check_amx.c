/* The AMX kernels on any machine with AVX-512: the same source, compiled against tiles that are arrays, passes the
 * checks of all matrix products. Where the machine has AMX, check_gemm runs the real ones. */
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,f16c")
#define KAMX_EMULATED
#define kamx_gemm_init emulated_gemm_init
#include "kernels/x86/kamx_gemm.c"

#include "kernels/cpu_features.h"

static kernel_table emulated_table;

static const kernel_table *emulated_amx(void)
{
    if (!cpu_features_detect().avx512bf16)
        return NULL; // rounding to bf16 is one of its instructions
    if (!emulated_table.name) {
        emulated_table = *kernels_of(CPU_REF);
        emulated_table.name = "amx, emulated";
        emulated_gemm_init(&emulated_table);
    }
    return &emulated_table;
}

#define CHECK_AMX
#define for_each_table(k) for (const kernel_table *k = emulated_amx(); k; k = NULL)
#include "check_gemm.c"
