/* Matrix product of Q4 weights in bf16 with AVX-512: kavx512bf16_gemm.c for the type that needs most work to widen.
 *
 * One look into a table of 32 words gives 32 weights: a half of the table for each of two groups of 32, with the
 * 16 weights that the group may have. A byte holds two neighbours, so a look finds every second weight of 64, and units
 * are pairs of these: first (0, 2), (4, 6) ... (60, 62), then (1, 3) ... (61, 63). x is packed the same way.
 * Four vectors of partial sums hide how long a product takes.
 * Takes rows of whole blocks of 64. */
#include "kernels/x86/kavx512_vec.h"
#include "kernels/tiers.h"

#define UNIT_K             2
#define LANES              64
#define W_STEP             1
#define K_CHUNK            2048
#define WIDE3              8
#define WIDE2              8
#define WIDE1              16
#define NARROW_MAX         6
#define NARROW_KERNELS(X)  X(1) X(2) X(4) X(6)
#define NARROW_TYPES(X, R) X(DT_Q4, R)

#define BLOCK 64

VEC_INLINE vecf v_mac(vecf a, vec x, vec w)
{
    return _mm512_dpbf16_ps(a, (__m512bh)x, (__m512bh)w);
}

VEC_INLINE vec pairs(vecf low, vecf high)
{
    return (vec)_mm512_cvtne2ps_pbh(high, low);
}

/* k / 32 says which half of the units of its block. */
VEC_INLINE vec x_fetch(const float *x, size_t k, size_t left)
{
    const float *p = x + k / BLOCK * BLOCK;
    const vec first = pairs(f_load(p), f_load(p + VL));
    const vec second = pairs(f_load(p + 2 * VL), f_load(p + 3 * VL));
    const int odd =
        (int)(k / 32 % 2); // words 4 i and 4 i + 2 of the block to unit i, or those behind them
    const vec four = _mm512_set_epi32(60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0);
    const vec index = _mm512_add_epi32(_mm512_or_si512(four, _mm512_slli_epi32(four, 16)),
                                       _mm512_set1_epi32((odd + 2) << 16 | odd));
    (void)left;
    return _mm512_permutex2var_epi16(first, index, second);
}

/* The 16 weights that a group may have. Its scale and least number are a unit of the row: multiplied with (number, 1). */
VEC_INLINE vecf q4_table(const char *scale_min)
{
    const vec all = _mm512_set_epi16(
        0x3F80, 0x4170, 0x3F80, 0x4160, 0x3F80, 0x4150, 0x3F80, 0x4140, 0x3F80, 0x4130, 0x3F80,
        0x4120, 0x3F80, 0x4110, 0x3F80, 0x4100, 0x3F80, 0x40E0, 0x3F80, 0x40C0, 0x3F80, 0x40A0,
        0x3F80, 0x4080, 0x3F80, 0x4040, 0x3F80, 0x4000, 0x3F80, 0x3F80, 0x3F80, 0x0000);
    return v_mac(f_zero(), all, v_bcast(scale_min));
}

/* Both halves of the block that begins at element k of a row of K. */
VEC_INLINE void q4_block(vec w[2], const char *row, size_t k, size_t K)
{
    const vec nibble = _mm512_set1_epi16(15);
    const vec group = _mm512_inserti64x4(v_zero(), _mm256_set1_epi16(16), 1);
    const char *scales = row + K / 2 + k / QUANT_GROUP * 4;
    const vec table = pairs(q4_table(scales), q4_table(scales + 4));
    const vec bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(row + k / 2)));
    const vec even =
        _mm512_ternarylogic_epi32(bytes, nibble, group, 0xEA); // bytes & nibble | group
    const vec odd = _mm512_or_si512(_mm512_srli_epi16(bytes, 4), group);
    w[0] = _mm512_permutexvar_epi16(even, table);
    w[1] = _mm512_permutexvar_epi16(odd, table);
}

VEC_INLINE vec w_fetch(const void *row, mltf_dtype t, size_t k, size_t left)
{
    (void)t;
    vec w[2];
    q4_block(w, row, k / BLOCK * BLOCK, k + left);
    return w[k / 32 % 2];
}

VEC_INLINE void w_step(vec w[LANES / VL], const void *row, mltf_dtype t, size_t k, size_t left,
                       const float *scales)
{
    (void)t;
    (void)scales;
    q4_block(w, row, k, k + left);
    q4_block(w + 2, row, k + BLOCK, k + left);
}

static inline bool w_direct(const k_weight *w)
{
    (void)w;
    return false;
}

#include "kernels/x86/kx86_gemm.h"

static bool takes(const k_weight *w, k_compute c)
{
    return c == K_COMPUTE_BF16 && w->dtype == DT_Q4 && w->K % BLOCK == 0;
}

#include "kernels/x86/kx86_override.h"

void kavx512bf16_q4_gemm_init(kernel_table *t)
{
    override_gemm(t);
}
