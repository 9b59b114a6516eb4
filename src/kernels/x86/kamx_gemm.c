/* Matrix product of bf16 with AMX: a tile instruction multiplies 16 outputs by 16 tokens over 32 inputs.
 *
 * Rows of weights are tiles as they lie in the file (left operand); blocks of tokens, packed in pairs
 * of k as for VDPBF16PS, are tiles too (right operand); results are sums[output][token] as in the wide way of
 * kx86_gemm.h, which this file takes everything else from. There is no narrow way: one token costs a tile
 * of 16, which is still faster than memory delivers its weights, and so all rows are summed alike. */
#include "kernels/tiers.h"
#include "kernels/x86/kamx_tiles.h"
#include "kernels/x86/kavx512_vec.h"

#define UNIT_K    2
#define LANES     1
#define UNIT_STEP 16
#define WIDE_OWN
#define WIDE_BLOCKS 2
#define WIDE3       32
#define WIDE2       32
#define WIDE1       64
#define NARROW_MAX  0
#define NARROW_KERNELS(X)

VEC_INLINE vec pairs(vecf low, vecf high)
{
    return (vec)_mm512_cvtne2ps_pbh(high, low);
}

VEC_INLINE vec x_fetch(const float *x, size_t k, size_t left)
{
    return pairs(f_load_first(x + k, left),
                 left > VL ? f_load_first(x + k + VL, left - VL) : f_zero());
}

VEC_INLINE vec w_fetch(const void *row, mltf_dtype t, size_t k, size_t left)
{
    if (t == DT_BF16) {
        const uint16_t *p = (const uint16_t *)row + k;
        return left >= 32 ? v_load(p) : _mm512_maskz_loadu_epi16((__mmask32)((1u << left) - 1), p);
    }
    return pairs(f_fetch(row, t, k, left),
                 left > VL ? f_fetch(row, t, k + VL, left - VL) : f_zero());
}

/* A tile reads 32 inputs: where K ends within, rows are copied first, with zeros behind. */
static inline bool w_direct(const k_weight *w)
{
    return w->dtype == DT_BF16 && w->K % 32 == 0;
}

#define SUM_STRIDE (3 * 16) /* floats from row to row of sums */

/* 16 x 16 results into sums, or on top of them. */
static inline void add_tile(float *sums, float part[16][16])
{
    for (size_t i = 0; i < 16; i++)
        f_store(sums + i * SUM_STRIDE, f_add(f_load(sums + i * SUM_STRIDE), f_load(part[i])));
}

#define TILE_OUT(t, to)                                                                            \
    do {                                                                                           \
        if (add) {                                                                                 \
            tile_store(t, out, 64);                                                                \
            add_tile(to, out);                                                                     \
        } else {                                                                                   \
            tile_store(t, to, SUM_STRIDE * sizeof(float));                                         \
        }                                                                                          \
    } while (0)

/* 32 outputs, two blocks of tokens. */
static void wide2(float *sums, const uint32_t *x, size_t x_step, const char *w, const char *next,
                  size_t w_step, size_t units, bool add)
{
    (void)next;
    _Alignas(64) float out[16][16];
    const char *w1 = w + 16 * w_step;
    const uint32_t *x1 = x + x_step;
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    for (size_t u = 0; u < units; u += 16) {
        tile_load(4, w + u * 4, w_step);
        tile_load(6, x + u * 16, 64);
        tile_dp(0, 4, 6);
        tile_load(7, x1 + u * 16, 64);
        tile_dp(1, 4, 7);
        tile_load(5, w1 + u * 4, w_step);
        tile_dp(2, 5, 6);
        tile_dp(3, 5, 7);
    }
    TILE_OUT(0, sums);
    TILE_OUT(1, sums + 16);
    TILE_OUT(2, sums + 16 * SUM_STRIDE);
    TILE_OUT(3, sums + 16 * SUM_STRIDE + 16);
}

/* 64 outputs, one block of tokens. */
static void wide1(float *sums, const uint32_t *x, size_t x_step, const char *w, const char *next,
                  size_t w_step, size_t units, bool add)
{
    (void)next;
    (void)x_step;
    _Alignas(64) float out[16][16];
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    for (size_t u = 0; u < units; u += 16) {
        const char *wu = w + u * 4;
        tile_load(6, x + u * 16, 64);
        tile_load(4, wu, w_step);
        tile_dp(0, 4, 6);
        tile_load(5, wu + 16 * w_step, w_step);
        tile_dp(1, 5, 6);
        tile_load(4, wu + 32 * w_step, w_step);
        tile_dp(2, 4, 6);
        tile_load(5, wu + 48 * w_step, w_step);
        tile_dp(3, 5, 6);
    }
    TILE_OUT(0, sums);
    TILE_OUT(1, sums + 16 * SUM_STRIDE);
    TILE_OUT(2, sums + 32 * SUM_STRIDE);
    TILE_OUT(3, sums + 48 * SUM_STRIDE);
}

#include "kernels/x86/kx86_gemm.h"

static bool takes(const k_weight *w, k_compute c)
{
    return c == K_COMPUTE_BF16 && (w->dtype == DT_BF16 || w->dtype == DT_F8_E4M3);
}

#define GEMM_BEGIN tiles_begin()
#define GEMM_END   tiles_end()

#include "kernels/x86/kx86_override.h"

void kamx_gemm_init(kernel_table *t)
{
    override_gemm(t);
    t->gemm_grain = STRIP; // wide1() takes 64 rows in place
}
