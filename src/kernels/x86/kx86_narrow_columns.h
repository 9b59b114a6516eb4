/* The narrow way of kx86_gemm.h for one partial sum an output; included by it.
 *
 * Lanes are outputs. Weights are fetched from as many rows as there are lanes and transposed in registers, 1/4 shuffle a
 * weight; tokens are broadcast from [unit][tail_width]. NARROW_QUANT names a file with quant_strip(),
 * faster for Q8 and Q4 than fetching through f32. */
#ifndef MLTF_KERNELS_KX86_NARROW_COLUMNS_H
#define MLTF_KERNELS_KX86_NARROW_COLUMNS_H

/* What the tail takes of the panel. */
static size_t tail_units(const m_layout *l)
{
    return l->tail_width * l->units;
}

/* Rows [m0, m1) of the tail's tokens; the packer of the last one fills the rest with zeros. */
static void pack_tail(uint32_t *p, const m_layout *l, const float *x, size_t ldx, size_t K,
                      size_t m0, size_t m1)
{
    const size_t width = l->tail_width, end = m1 == l->tail ? width : m1;
    for (size_t m = m0; m < end; m++)
        for (size_t u = 0; u < l->units; u += VL) {
            uint32_t some[VL];
            v_store(some, m < l->tail ? x_units(x + m * ldx, K, u) : v_zero());
            const size_t n = min_size(VL, l->units - u);
            for (size_t i = 0; i < n; i++) p[(u + i) * width + m] = some[i];
        }
}

/* What memory should bring next: `left` bytes from p on, in the order they lie there. Rows of a tile are read
 * side by side, which memory does not like; asking for the next tile line by line does the reading for us. */
typedef struct prefetch {
    const char *p;
    size_t left;
} prefetch;

VEC_INLINE void prefetch_some(prefetch *f, const size_t bytes)
{
    if (f->left < bytes) return;
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(f->p + i, 0, 3);
    f->p += bytes;
    f->left -= bytes;
}

/* The last units of the rows, fewer than a vector. */
static __attribute__((noinline)) void narrow_row_end(int R, vecf *acc, const uint32_t *x,
                                                     const char *const *row, mltf_dtype t, size_t K,
                                                     size_t u, size_t u_end)
{
    vec v[VL];
    for (size_t i = 0; i < VL; i++) v[i] = w_fetch(row[i], t, u * UNIT_K, K - u * UNIT_K);
    v_transpose(v);
    for (size_t i = 0; i < u_end - u; i++)
        for (int r = 0; r < R; r++)
            acc[r] = v_mac(acc[r], v[i], v_bcast(x + (u + i) * (size_t)R + (size_t)r));
}

/* R tokens against VL outputs from n on, R and the type T constants: weights go from memory through a
 * transposition in registers into the products. Outputs at `end` and behind repeat the last one; their
 * sums are thrown away. total [R]. */
VEC_INLINE void narrow_tile(const int R, const mltf_dtype T, vecf *total, const uint32_t *x,
                            const k_weight *w, size_t n, size_t end, prefetch *next)
{
    const size_t step_bytes = VL * (VL * UNIT_K) *
                              (T == DT_F32                   ? 4
                               : T == DT_BF16 || T == DT_F16 ? 2
                                                             : 1);
    const size_t K = w->K, chunk = chunk_of(K), all_units = units_of(K);
    const char *row[VL];
    for (size_t i = 0; i < VL; i++)
        row[i] = (const char *)w->data + quant_bytes(T, min_size(n + i, end - 1) * w->stride);
    for (int r = 0; r < R; r++) total[r] = f_zero();
    for (size_t k = 0; k < K; k += chunk) {
        vecf acc[12];
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) acc[r] = f_zero();
        size_t u = k / UNIT_K;
        const size_t u_end = min_size(u + chunk / UNIT_K, all_units);
        for (; u + VL <= u_end && (u + VL) * UNIT_K <= K; u += VL) {
            vec t[VL];
            prefetch_some(next, step_bytes);
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++)
                t[i] =
                    w_fetch(row[i], T, u * UNIT_K, T == DT_Q8 || T == DT_Q4 ? K - u : VL * UNIT_K);
            v_transpose(t);
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++)
#pragma GCC unroll 16
                for (int r = 0; r < R; r++)
                    acc[r] = v_mac(acc[r], t[i], v_bcast(x + (u + i) * (size_t)R + r));
        }
        if (u < u_end) narrow_row_end(R, acc, x, row, T, K, u, u_end);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) total[r] = k ? f_add(total[r], acc[r]) : acc[r];
    }
}

#define NARROW_TYPE_CASE(T, R)                                                                     \
    case T:                                                                                        \
        narrow_tile(R, T, total, x, w, n, end, next);                                              \
        return;
#define NARROW_FUNCTION(R)                                                                         \
    static __attribute__((noinline)) void narrow_##R(                                              \
        vecf *total, const uint32_t *x, const k_weight *w, size_t n, size_t end, prefetch *next)   \
    {                                                                                              \
        switch (w->dtype) {                                                                        \
            NARROW_TYPES(NARROW_TYPE_CASE, R)                                                      \
        default:                                                                                   \
            assert(!"a weight type that gemm does not take");                                      \
        }                                                                                          \
    }
NARROW_KERNELS(NARROW_FUNCTION)

#ifdef NARROW_QUANT
#include NARROW_QUANT
#endif

/* The tail's tokens, l->tail of them from m on, against outputs [n, n + count). */
static void narrow_strip(float *y, size_t ldy, const uint32_t *x, const k_weight *w,
                         const float *bias, const m_layout *l, size_t m, size_t n, size_t count)
{
#ifdef NARROW_QUANT
    if (w->dtype == DT_Q8 || w->dtype == DT_Q4) {
        quant_strip(y, ldy, x, w, bias, l, m, n, count);
        return;
    }
#endif
    const size_t row_bytes = quant_bytes(w->dtype, w->stride);
    for (size_t j = 0; j < count; j += VL) {
        const size_t outs = min_size(VL, count - j), behind = n + j + outs;
        prefetch next = {NULL, 0}; // behind wide blocks the strip lies in the cache already
        if (l->blocks == 0 && behind < w->N) {
            next.p = (const char *)w->data + behind * row_bytes;
            next.left = min_size(VL, w->N - behind) * row_bytes;
        }
        vecf total[12];
#define NARROW_CALL(R)                                                                             \
    case R:                                                                                        \
        narrow_##R(total, x, w, n + j, n + count, &next);                                          \
        break;
        switch (l->tail_width) {
            NARROW_KERNELS(NARROW_CALL)
        }
        const vecf b = bias ? f_load_first(bias + n + j, outs) : f_zero();
        for (size_t r = 0; r < l->tail; r++)
            f_store_first(y + (m + r) * ldy + n + j, f_add(total[r], b), outs);
    }
}

#endif
