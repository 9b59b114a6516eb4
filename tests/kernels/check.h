/* What the kernel checks share: random numbers, guarded buffers, the tiers of this machine. */
#ifndef MLTF_TESTS_CHECK_H
#define MLTF_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

static uint32_t check_seed = 1;

static inline uint32_t check_random(void)
{
    check_seed = check_seed * 1664525u + 1013904223u;
    return check_seed >> 8;
}

/* Roughly normal, mean 0, deviation 0.6. */
static inline float check_float(void)
{
    float s = 0;
    for (int i = 0; i < 4; i++) s += (float)(int32_t)(check_random() % 20001) / 10000.0f - 1.0f;
    return s * 0.5f;
}

/* A buffer whose ends are known bytes; `shift` bytes off the alignment of 64. */
#define CHECK_GUARD 256
static inline void *guarded_new(size_t bytes, size_t shift)
{
    const size_t all = (bytes + shift + 2 * CHECK_GUARD + 8 + 63) / 64 * 64;
    unsigned char *p = aligned_alloc(64, all);
    assert_non_null(p);
    memset(p, 0xA5, all);
    return p + CHECK_GUARD + shift;
}

static inline void guarded_check(const void *p, size_t bytes)
{
    const unsigned char *c = p;
    for (size_t i = 1; i <= CHECK_GUARD; i++) {
        if (c[-(ptrdiff_t)i] != 0xA5) fail_msg("byte %zu before the buffer was written", i);
        if (i <= 128 && c[bytes + i - 1] != 0xA5)
            fail_msg("byte %zu behind the buffer was written", i - 1);
    }
}

static inline void untouched_check(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)p)[i] != 0xA5)
            fail_msg("byte %zu behind the output was written", i);
}

static inline void guarded_free(void *p, size_t shift)
{
    free((unsigned char *)p - CHECK_GUARD - shift);
}

#define for_each_tier(k)                                                                           \
    for (int tier_ = CPU_REF; tier_ <= CPU_AMX; tier_++)                                           \
        for (const kernel_table *k = kernels_of((cpu_tier)tier_); k; k = NULL)

#endif
