/* AVX-512 vectors as the kernel templates want them: 16 lanes of 32 bits. */
#ifndef MLTF_KERNELS_KAVX512_VEC_H
#define MLTF_KERNELS_KAVX512_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/quantize.h"

#define VL         16
#define VEC_INLINE static inline __attribute__((always_inline))

typedef __m512i vec; /* 16 units of 32 bits */
typedef __m512 vecf; /* 16 floats */
typedef __mmask16 vmask;

VEC_INLINE vmask v_first(size_t n) /* the first n lanes; all for n >= 16 */
{
    return n >= 16 ? (vmask)0xFFFF : (vmask)((1u << n) - 1);
}
VEC_INLINE vec v_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
VEC_INLINE void v_store(void *p, vec v)
{
    _mm512_storeu_si512(p, v);
}
VEC_INLINE vec v_load_first(const void *p, size_t n)
{
    return _mm512_maskz_loadu_epi32(v_first(n), p);
}
VEC_INLINE vec v_zero(void)
{
    return _mm512_setzero_si512();
}
VEC_INLINE vec v_bcast(const void *p)
{
    int32_t x;
    __builtin_memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}
VEC_INLINE vec v_from_f(vecf f)
{
    return _mm512_castps_si512(f);
}
VEC_INLINE vecf f_from_v(vec v)
{
    return _mm512_castsi512_ps(v);
}

VEC_INLINE vecf f_zero(void)
{
    return _mm512_setzero_ps();
}
VEC_INLINE vecf f_set(float x)
{
    return _mm512_set1_ps(x);
}
VEC_INLINE vecf f_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VEC_INLINE void f_store(float *p, vecf f)
{
    _mm512_storeu_ps(p, f);
}
VEC_INLINE vecf f_load_first(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(v_first(n), p);
}
VEC_INLINE void f_store_first(float *p, vecf f, size_t n)
{
    _mm512_mask_storeu_ps(p, v_first(n), f);
}
VEC_INLINE vecf f_add(vecf a, vecf b)
{
    return _mm512_add_ps(a, b);
}
VEC_INLINE vecf f_sub(vecf a, vecf b)
{
    return _mm512_sub_ps(a, b);
}
VEC_INLINE vecf f_mul(vecf a, vecf b)
{
    return _mm512_mul_ps(a, b);
}
VEC_INLINE vecf f_div(vecf a, vecf b)
{
    return _mm512_div_ps(a, b);
}
VEC_INLINE vecf f_max(vecf a, vecf b)
{
    return _mm512_max_ps(a, b);
} /* b if either is NaN */
VEC_INLINE vecf f_min(vecf a, vecf b)
{
    return _mm512_min_ps(a, b);
} /* b if either is NaN */
VEC_INLINE vecf f_abs(vecf a)
{
    return f_from_v(_mm512_and_si512(v_from_f(a), _mm512_set1_epi32(0x7FFFFFFF)));
}
VEC_INLINE vecf f_sign_of(vecf a, vecf b) /* |a| with the sign of b; a is not negative */
{
    return f_from_v(
        _mm512_or_si512(v_from_f(a), _mm512_and_si512(v_from_f(b), _mm512_set1_epi32(INT32_MIN))));
}
VEC_INLINE vecf f_round(vecf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC_INLINE vecf f_scale2(vecf a, vecf n)
{
    return _mm512_scalef_ps(a, n);
} /* a 2^n, n whole */
VEC_INLINE vecf f_sqrt(vecf a)
{
    return _mm512_sqrt_ps(a);
}
typedef __mmask16 fmask;
VEC_INLINE fmask f_less(vecf a, vecf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
VEC_INLINE fmask f_is_nan(vecf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
VEC_INLINE vecf f_select(fmask m, vecf yes, vecf no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}
VEC_INLINE bool m_any(fmask m)
{
    return m != 0;
}
VEC_INLINE float f_sum(vecf a)
{
    return _mm512_reduce_add_ps(a);
}
VEC_INLINE float f_largest(vecf a)
{
    return _mm512_reduce_max_ps(a);
}
VEC_INLINE vecf f_first_or(vecf a, size_t n,
                           float other) /* lanes behind the first n become `other` */
{
    return _mm512_mask_blend_ps(v_first(n), _mm512_set1_ps(other), a);
}

/* f32 to bf16, nearest even, NaN kept, subnormals kept (VCVTNEPS2BF16 would flush them). */
VEC_INLINE __m256i bf16_from_f(vecf f)
{
    const vec u = v_from_f(f), top = _mm512_srli_epi32(u, 16);
    const vec odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
    vec r = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7FFF)), odd),
                              16);
    r = _mm512_mask_or_epi32(r, f_is_nan(f), top, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(r);
}
VEC_INLINE void bf16_store_first(void *p, vecf f, size_t n)
{
    _mm256_mask_storeu_epi16(p, v_first(n), bf16_from_f(f));
}
VEC_INLINE void f16_store_first(void *p, vecf f, size_t n)
{
    _mm256_mask_storeu_epi16(p, v_first(n),
                             _mm512_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

VEC_INLINE vecf f_fma(vecf a, vecf b, vecf c)
{
    return _mm512_fmadd_ps(a, b, c);
} /* a b + c */

/* Sixteen rows of sixteen to sixteen columns. */
VEC_INLINE void v_transpose(vec r[16])
{
    vec t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // r[4 g + j] now holds, in its four 128-bit quarters q, column 4 q + j of rows 4 g .. 4 g + 3
#pragma GCC unroll 16
    for (int j = 0; j < 4; j++) {
        const vec a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);      // quarters 0, 2 of g = 0, 1
        const vec b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);      // quarters 1, 3
        const vec c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88); // the same of g = 2, 3
        const vec d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
        t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
        t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

/* e4m3 to f32: exponent and mantissa moved into place, then 2^120 corrects the bias, subnormals included. */
VEC_INLINE vecf f_from_f8(__m128i bytes)
{
    const vec x = _mm512_cvtepu8_epi32(bytes);
    const vec magnitude = _mm512_slli_epi32(_mm512_and_si512(x, _mm512_set1_epi32(0x7F)), 20);
    const vec sign = _mm512_slli_epi32(_mm512_and_si512(x, _mm512_set1_epi32(0x80)), 24);
    vecf f = _mm512_mul_ps(f_from_v(magnitude), _mm512_set1_ps(0x1p120f));
    const vmask nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7F << 20));
    f = _mm512_mask_mov_ps(f, nan, _mm512_set1_ps(__builtin_nanf("")));
    return f_from_v(_mm512_or_si512(v_from_f(f), sign));
}

VEC_INLINE vecf f_from_bf16(__m256i h)
{
    return f_from_v(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

VEC_INLINE vecf bf16_bcast(const void *p)
{
    uint16_t h;
    __builtin_memcpy(&h, p, sizeof h);
    return f_from_v(_mm512_set1_epi32((int32_t)((uint32_t)h << 16)));
}

/* Elements k .. k + 15 of a stored row as f32, zero from element n on; n is what is left of the row, k + n its
 * length, k a multiple of 16. Where n >= 16 only Q8 and Q4 need to know n itself. Exact for every type. */
VEC_INLINE vecf f_fetch(const void *row, mltf_dtype t, size_t k, size_t n)
{
    const char *p = row;
    const vmask m = v_first(n);
    const size_t K = k + n;
    switch (t) {
    case DT_F32:
        return _mm512_maskz_loadu_ps(m, p + k * 4);
    case DT_BF16:
        return f_from_bf16(_mm256_maskz_loadu_epi16(m, p + k * 2));
    case DT_F16:
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p + k * 2));
    case DT_F8_E4M3:
        return f_from_f8(_mm_maskz_loadu_epi8(m, p + k));
    case DT_Q8: {
        const __m128i q = _mm_loadu_si128((const void *)(p + k));
        const vecf scale = bf16_bcast(p + K + k / QUANT_GROUP * 2);
        return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), scale);
    }
    case DT_Q4: { // 8 bytes: lanes 0 to 7 want the first four
        const char *scale = p + K / 2 + k / QUANT_GROUP * 4;
        const vec shift =
            _mm512_set_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
        const vec bytes =
            _mm512_mask_blend_epi32(0xFF00, v_bcast(p + k / 2), v_bcast(p + k / 2 + 4));
        const vec q = _mm512_and_si512(_mm512_srlv_epi32(bytes, shift), _mm512_set1_epi32(15));
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), bf16_bcast(scale), bf16_bcast(scale + 2));
    }
    default:
        return f_zero();
    }
}

#endif
