/* The tile instructions that kamx_gemm.c uses, with tile numbers as constants.
 *
 * Inline assembly, because gcc 12 takes its own _tile_loadconfig for a read of 8 bytes (and drops the
 * stores of the other 56) and gives _tile_loadd no memory clobber. With KAMX_EMULATED the same calls act on arrays:
 * so tests/kernels/check_amx.c proves the code on machines without AMX. */
#ifndef MLTF_KERNELS_KAMX_TILES_H
#define MLTF_KERNELS_KAMX_TILES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef KAMX_EMULATED

#include "base/dtype.h"

typedef struct tile {
    uint32_t row[16][16];
} tile;
static _Thread_local tile emulated[8];

#define tile_zero(t)             memset(&emulated[t], 0, sizeof(tile))
#define tile_load(t, p, stride)  emulated_load(t, (const char *)(p), stride)
#define tile_store(t, p, stride) emulated_store(t, (char *)(p), stride)
#define tile_dp(c, a, b)         emulated_dp(c, a, b)

static inline void tiles_begin(void)
{
    memset(emulated, 0xFF, sizeof emulated);
}
static inline void tiles_end(void) {}
static inline void emulated_load(int t, const char *p, size_t stride)
{
    for (size_t i = 0; i < 16; i++) memcpy(emulated[t].row[i], p + i * stride, 64);
}
static inline void emulated_store(int t, char *p, size_t stride)
{
    for (size_t i = 0; i < 16; i++) memcpy(p + i * stride, emulated[t].row[i], 64);
}
/* TDPBF16PS: c[i][j] += sum over k of the two products of the pairs a[i][k] and b[k][j]. */
static inline void emulated_dp(int c, int a, int b)
{
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            float sum;
            memcpy(&sum, &emulated[c].row[i][j], 4);
            for (int k = 0; k < 16; k++) {
                const uint32_t x = emulated[a].row[i][k], y = emulated[b].row[k][j];
                sum += bf16_to_f32((uint16_t)x) * bf16_to_f32((uint16_t)y);
                sum += bf16_to_f32((uint16_t)(x >> 16)) * bf16_to_f32((uint16_t)(y >> 16));
            }
            memcpy(&emulated[c].row[i][j], &sum, 4);
        }
}

#else

#define tile_zero(t) __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define tile_load(t, p, stride)                                                                    \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(p), "r"((size_t)(stride)) : "memory")
#define tile_store(t, p, stride)                                                                   \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(p), "r"((size_t)(stride)) : "memor" \
                                                                                           "y")
#define tile_dp(c, a, b)                                                                           \
    __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")

/* All eight tiles 16 rows of 64 bytes. */
static inline void tiles_begin(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    __asm__ volatile("ldtilecfg %0" ::"m"(config) : "memory");
}

/* Tiles back to their initial state: the kernel saves 8 KiB less at a context switch, and others start clean. */
static inline void tiles_end(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

#endif
#endif
