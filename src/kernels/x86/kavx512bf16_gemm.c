/* Matrix product of bf16 with AVX-512's VDPBF16PS: two products a lane and instruction.
 *
 * Chosen where the instruction runs at the rate of an f32 FMA (AMD since Zen 4); Intel's run it at half,
 * where widening to f32 computes the same in the same time without rounding x. bf16 and f8 are exact in
 * bf16; weights of Q8 and Q4 groups are rounded to it. f32 and f16 go to the f32 product. */
#include "kernels/x86/kavx512_vec.h"
#include "kernels/tiers.h"

#define UNIT_K             2
#define LANES              32
#define W_SCALES           1
#define K_CHUNK            2048
#define WIDE3              8
#define WIDE2              8
#define WIDE1              16
#define NARROW_MAX         11
#define NARROW_KERNELS(X)  X(1) X(2) X(3) X(4) X(6) X(8) X(11)
#define NARROW_TYPES(X, R) X(DT_BF16, R) X(DT_F8_E4M3, R) X(DT_Q8, R) X(DT_Q4, R)

VEC_INLINE vecf v_mac(vecf a, vec x, vec w)
{
    return _mm512_dpbf16_ps(a, (__m512bh)x, (__m512bh)w);
}

VEC_INLINE vec pairs(vecf low, vecf high)
{
    return (vec)_mm512_cvtne2ps_pbh(high, low);
}

VEC_INLINE vec x_fetch(const float *x, size_t k, size_t left)
{
    return pairs(f_load_first(x + k, left),
                 left > VL ? f_load_first(x + k + VL, left - VL) : f_zero());
}

/* A group of 32 numbers of a Q8 row. */
VEC_INLINE vec q8_group(const char *row, size_t k, const float *scale)
{
    const vecf by = f_set(*scale);
    const vec low = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(row + k)));
    const vec high = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(row + k + VL)));
    return pairs(f_mul(_mm512_cvtepi32_ps(low), by), f_mul(_mm512_cvtepi32_ps(high), by));
}

VEC_INLINE vec w_fetch(const void *row, mltf_dtype t, size_t k, size_t left, const float *scales)
{
    if (t == DT_BF16) {
        const uint16_t *p = (const uint16_t *)row + k;
        return left >= 32 ? v_load(p) : _mm512_maskz_loadu_epi16((__mmask32)((1u << left) - 1), p);
    }
    if (t == DT_Q8) return q8_group(row, k, scales);
    return pairs(f_fetch(row, t, k, left),
                 left > VL ? f_fetch(row, t, k + VL, left - VL) : f_zero());
}

/* An odd K leaves half a unit at the end of a row, which only w_fetch() fills up. */
static inline bool w_direct(const k_weight *w)
{
    return w->dtype == DT_BF16 && w->K % 2 == 0;
}

#include "kernels/x86/kx86_gemm.h"

static bool takes(const k_weight *w, k_compute c)
{
    return c == K_COMPUTE_BF16 && w->dtype != DT_F32 && w->dtype != DT_F16;
}

#include "kernels/x86/kx86_override.h"

void kavx512bf16_gemm_init(kernel_table *t)
{
    override_gemm(t);
}
