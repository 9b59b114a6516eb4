/* The kernel table: reference first, then what CPU and OS offer, tier over tier. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu_features.h"
#include "kernels/kernels.h"
#include "kernels/tiers.h"

static kernel_table tables[CPU_AMX + 1];
static cpu_tier best;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static cpu_tier cap_from_environment(void)
{
    static const char *const names[] = {"ref", "avx2", "avx512", "amx"};
    const char *cap = getenv("MLTF_CPU");
    for (int i = 0; cap && i <= CPU_AMX; i++)
        if (strcmp(cap, names[i]) == 0) return (cpu_tier)i;
    return CPU_AMX; // unset or unknown: no cap
}

/* A tier begins as a copy of the one below. */
static kernel_table *next_tier(cpu_tier tier, const char *name)
{
    kernel_table *t = &tables[tier];
    *t = tables[best];
    t->tier = best = tier;
    t->name = name;
    return t;
}

static void make_tables(void)
{
    kernel_table *t = &tables[CPU_REF];
    t->tier = CPU_REF;
    t->name = "ref";
    kref_gemm_init(t);
    kref_attention_init(t);
    kref_norm_init(t);
    kref_act_init(t);
    kref_convert_init(t);
    kref_state_init(t);
    best = CPU_REF;
#if defined(__x86_64__)
    const cpu_features cpu = cpu_features_detect();
    if (cpu.avx2) {
        t = next_tier(CPU_AVX2, "avx2");
        kavx2_gemm_init(t);
        kavx2_attention_init(t);
        kavx2_rows_init(t);
        kavx2_state_init(t);
    }
    if (cpu.avx512) {
        t = next_tier(CPU_AVX512, "avx512");
        kavx512_gemm_init(t);
        kavx512_attention_init(t);
        kavx512_rows_init(t);
        kavx512_state_init(t);
        if (cpu.avx512bf16_fast) {
            t->name = "avx512+bf16";
            kavx512bf16_gemm_init(t);
            kavx512bf16_q4_gemm_init(t);
        }
    }
    if (cpu.amx_bf16) {
        t = next_tier(CPU_AMX, "amx");
        kamx_gemm_init(t);
    }
#endif
    const cpu_tier cap = cap_from_environment();
    if (best > cap) best = cap;
}

const kernel_table *kernels(void)
{
    pthread_once(&once, make_tables);
    return &tables[best];
}

const kernel_table *kernels_of(cpu_tier tier)
{
    pthread_once(&once, make_tables);
    return tier <= CPU_AMX && tables[tier].name ? &tables[tier] : NULL;
}
