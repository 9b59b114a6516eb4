/* AVX2 vectors as the kernel templates want them: 8 lanes of 32 bits. Same names as kavx512_vec.h. */
#ifndef MLTF_KERNELS_KAVX2_VEC_H
#define MLTF_KERNELS_KAVX2_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/quantize.h"

#define VL         8
#define VEC_INLINE static inline __attribute__((always_inline))

typedef __m256i vec;  /* 8 units of 32 bits */
typedef __m256 vecf;  /* 8 floats */
typedef __m256 fmask; /* all ones or all zeros a lane */

VEC_INLINE vec v_first(size_t n) /* a mask of the first n lanes; all for n >= 8 */
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const void *)(ones + 8 - (n < 8 ? n : 8)));
}
VEC_INLINE vec v_load(const void *p)
{
    return _mm256_loadu_si256(p);
}
VEC_INLINE void v_store(void *p, vec v)
{
    _mm256_storeu_si256(p, v);
}
VEC_INLINE vec v_load_first(const void *p, size_t n)
{
    return n >= 8 ? v_load(p) : _mm256_maskload_epi32(p, v_first(n));
}
VEC_INLINE vec v_zero(void)
{
    return _mm256_setzero_si256();
}
VEC_INLINE vec v_bcast(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}
VEC_INLINE vec v_from_f(vecf f)
{
    return _mm256_castps_si256(f);
}
VEC_INLINE vecf f_from_v(vec v)
{
    return _mm256_castsi256_ps(v);
}

VEC_INLINE vecf f_zero(void)
{
    return _mm256_setzero_ps();
}
VEC_INLINE vecf f_set(float x)
{
    return _mm256_set1_ps(x);
}
VEC_INLINE vecf f_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
VEC_INLINE void f_store(float *p, vecf f)
{
    _mm256_storeu_ps(p, f);
}
VEC_INLINE vecf f_load_first(const float *p, size_t n)
{
    return n >= 8 ? f_load(p) : _mm256_maskload_ps(p, v_first(n));
}
VEC_INLINE void f_store_first(float *p, vecf f, size_t n)
{
    if (n >= 8)
        f_store(p, f);
    else
        _mm256_maskstore_ps(p, v_first(n), f);
}
VEC_INLINE vecf f_add(vecf a, vecf b)
{
    return _mm256_add_ps(a, b);
}
VEC_INLINE vecf f_sub(vecf a, vecf b)
{
    return _mm256_sub_ps(a, b);
}
VEC_INLINE vecf f_mul(vecf a, vecf b)
{
    return _mm256_mul_ps(a, b);
}
VEC_INLINE vecf f_div(vecf a, vecf b)
{
    return _mm256_div_ps(a, b);
}
VEC_INLINE vecf f_fma(vecf a, vecf b, vecf c)
{
    return _mm256_fmadd_ps(a, b, c);
} /* a b + c */
VEC_INLINE vecf f_max(vecf a, vecf b)
{
    return _mm256_max_ps(a, b);
} /* b if either is NaN */
VEC_INLINE vecf f_min(vecf a, vecf b)
{
    return _mm256_min_ps(a, b);
} /* b if either is NaN */
VEC_INLINE vecf f_abs(vecf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
VEC_INLINE vecf f_sign_of(vecf a, vecf b) /* |a| with the sign of b; a is not negative */
{
    return _mm256_or_ps(a, _mm256_and_ps(b, _mm256_set1_ps(-0.0f)));
}
VEC_INLINE vecf f_round(vecf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC_INLINE vecf f_power_of_2(vec n) /* n in [-126, 127] */
{
    return f_from_v(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
VEC_INLINE vecf
f_scale2(vecf a, vecf n) /* a 2^n, n whole and |n| <= 252: in two steps, to reach subnormals */
{
    const vec i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    return f_mul(f_mul(a, f_power_of_2(half)), f_power_of_2(_mm256_sub_epi32(i, half)));
}
VEC_INLINE fmask f_less(vecf a, vecf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
VEC_INLINE fmask f_is_nan(vecf a)
{
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
VEC_INLINE vecf f_select(fmask m, vecf yes, vecf no)
{
    return _mm256_blendv_ps(no, yes, m);
}
VEC_INLINE vecf f_first_or(vecf a, size_t n,
                           float other) /* lanes behind the first n become `other` */
{
    return f_select(f_from_v(v_first(n)), a, f_set(other));
}
VEC_INLINE float f_sum(vecf a)
{
    const __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 t = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
VEC_INLINE float f_largest(vecf a)
{
    const __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 t = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

/* f32 to bf16, nearest even, NaN kept. */
VEC_INLINE __m128i bf16_from_f(vecf f)
{
    const vec u = v_from_f(f), top = _mm256_srli_epi32(u, 16);
    const vec odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    const vec r = _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7FFF)), odd), 16);
    const vec quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
    const vec h = v_from_f(f_select(f_is_nan(f), f_from_v(quiet), f_from_v(r)));
    return _mm_packus_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}
VEC_INLINE void h_store_first(void *p, __m128i h, size_t n)
{
    if (n >= 8) {
        _mm_storeu_si128(p, h);
        return;
    }
    uint16_t all[8];
    _mm_storeu_si128((void *)all, h);
    memcpy(p, all, n * 2);
}
VEC_INLINE void bf16_store_first(void *p, vecf f, size_t n)
{
    h_store_first(p, bf16_from_f(f), n);
}
VEC_INLINE void f16_store_first(void *p, vecf f, size_t n)
{
    h_store_first(p, _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
}

/* Eight rows of eight to eight columns. */
VEC_INLINE void v_transpose(vec r[8])
{
    vec t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 4; j++) {
        t[j] = _mm256_permute2x128_si256(r[j], r[4 + j], 0x20);
        t[4 + j] = _mm256_permute2x128_si256(r[j], r[4 + j], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r[i] = t[i];
}

/* e4m3 to f32: exponent and mantissa moved into place, then 2^120 corrects the bias, subnormals included. */
VEC_INLINE vecf f_from_f8(__m128i bytes)
{
    const vec x = _mm256_cvtepu8_epi32(bytes);
    const vec magnitude = _mm256_slli_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0x7F)), 20);
    const vec sign = _mm256_slli_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0x80)), 24);
    const vec nan = _mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(0x7F << 20));
    const vecf f = f_mul(f_from_v(magnitude), f_set(0x1p120f));
    return f_from_v(
        _mm256_or_si256(v_from_f(f_select(f_from_v(nan), f_set(__builtin_nanf("")), f)), sign));
}

VEC_INLINE __m128i bytes_load(const void *p, size_t bytes) /* up to 16 bytes, zeros behind */
{
    if (bytes >= 16) return _mm_loadu_si128(p);
    char all[16] = {0};
    memcpy(all, p, bytes);
    return _mm_loadu_si128((const void *)all);
}

VEC_INLINE vecf bf16_bcast(const void *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return f_from_v(_mm256_set1_epi32((int32_t)((uint32_t)h << 16)));
}

/* Elements k .. k + 7 of a stored row as f32, zero from element n on; n is what is left of the row, k + n its
 * length, k a multiple of 8. Where n >= 8 only Q8 and Q4 need to know n itself. Exact for every type. */
VEC_INLINE vecf f_fetch(const void *row, mltf_dtype t, size_t k, size_t n)
{
    const char *p = row;
    const size_t K = k + n;
    switch (t) {
    case DT_F32:
        return n >= 8 ? _mm256_loadu_ps((const float *)row + k)
                      : _mm256_maskload_ps((const float *)row + k, v_first(n));
    case DT_BF16:
        return f_from_v(_mm256_slli_epi32(
            _mm256_cvtepu16_epi32(bytes_load(p + k * 2, n < 8 ? n * 2 : 16)), 16));
    case DT_F16:
        return _mm256_cvtph_ps(bytes_load(p + k * 2, n < 8 ? n * 2 : 16));
    case DT_F8_E4M3:
        return f_from_f8(n >= 8 ? _mm_loadl_epi64((const void *)(p + k)) : bytes_load(p + k, n));
    case DT_Q8: {
        const __m128i q = _mm_loadl_epi64((const void *)(p + k));
        const vecf scale = bf16_bcast(p + K + k / QUANT_GROUP * 2);
        return f_mul(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), scale);
    }
    case DT_Q4: {
        const char *scale = p + K / 2 + k / QUANT_GROUP * 4;
        const vec shift = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
        const vec q =
            _mm256_and_si256(_mm256_srlv_epi32(v_bcast(p + k / 2), shift), _mm256_set1_epi32(15));
        return f_fma(_mm256_cvtepi32_ps(q), bf16_bcast(scale), bf16_bcast(scale + 2));
    }
    default:
        return f_zero();
    }
}

#endif
