/* Matrix product in f32 with AVX-512. The template's head tells how. */
#include "kernels/x86/kavx512_vec.h"
#include "kernels/tiers.h"

#define UNIT_K             1
#define LANES              1
#define WIDE3              8
#define WIDE2              8
#define WIDE1              16
#define NARROW_MAX         11
#define NARROW_KERNELS(X)  X(1) X(2) X(4) X(8) X(11)
#define NARROW_TYPES(X, R) X(DT_F32, R) X(DT_BF16, R) X(DT_F16, R) X(DT_F8_E4M3, R)
#define NARROW_QUANT       "kernels/x86/kavx512_quant.h"

VEC_INLINE vecf v_mac(vecf a, vec x, vec w)
{
    return f_fma(f_from_v(x), f_from_v(w), a);
}
VEC_INLINE vec x_fetch(const float *x, size_t k, size_t left)
{
    return v_load_first(x + k, left);
}
VEC_INLINE vec w_fetch(const void *row, mltf_dtype t, size_t k, size_t left)
{
    return v_from_f(f_fetch(row, t, k, left));
}
static inline bool w_direct(const k_weight *w)
{
    return w->dtype == DT_F32;
}

#include "kernels/x86/kx86_gemm.h"

static bool takes(const k_weight *w, k_compute c)
{
    (void)w;
    (void)c;
    return true;
}

#include "kernels/x86/kx86_override.h"

void kavx512_gemm_init(kernel_table *t)
{
    override_gemm(t);
    t->gemm_grain = VL;
}
