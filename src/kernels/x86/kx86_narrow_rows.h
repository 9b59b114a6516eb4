/* The narrow way of kx86_gemm.h for many partial sums an output; included by it.
 *
 * Lanes are the partial sums. A row of weights is read from its beginning to its end and multiplied with each
 * token's row of units as they come; the sums of 16 rows are then transposed in registers and added up. Rows of
 * the tail lie in the panel ROW_GAP units apart, those that fill tail_width up are zeros. */
#ifndef MLTF_KERNELS_KX86_NARROW_ROWS_H
#define MLTF_KERNELS_KX86_NARROW_ROWS_H

#define TILE  16   /* rows of weights whose sums are transposed together */
#define PARTS 16   /* chunks times tokens whose partial sums are kept for a tile of rows */
#define AHEAD 4096 /* memory is asked for what lies so many bytes ahead at least */

/* What the tail takes of the panel. */
static size_t tail_units(const m_layout *l)
{
    return l->tail_width * (l->units + ROW_GAP);
}

/* Rows [m0, m1) of the tail's tokens; the packer of the last one fills the rest with zeros. */
static void pack_tail(uint32_t *p, const m_layout *l, const float *x, size_t ldx, size_t K,
                      size_t m0, size_t m1)
{
    const size_t end = m1 == l->tail ? l->tail_width : m1;
    for (size_t m = m0; m < end; m++)
        for (size_t u = 0; u < l->units; u += VL)
            v_store(p + m * (l->units + ROW_GAP) + u,
                    m < l->tail ? x_units(x + m * ldx, K, u) : v_zero());
}

/* R tokens against one row of weights of type T, both constants, over the units [u, end) of a chunk. The same place of
 * a later row, `ahead` bytes from here, is asked for, so that every line of numbers and scales is.
 * parts [R] of LANES partial sums, TILE * LANES floats apart; x rows are x_step units apart. */
VEC_INLINE void narrow_row(const int R, const mltf_dtype T, float *parts, const uint32_t *x,
                           size_t x_step, const char *row, size_t ahead, size_t K, size_t u,
                           size_t end)
{
    const size_t bits = T == DT_F32 ? 32 : T == DT_BF16 || T == DT_F16 ? 16 : T == DT_Q4 ? 4 : 8;
    const uintptr_t later = (uintptr_t)row + ahead;
    const size_t begin = u;
    float scales[MAX_SCALES];
    if (in_groups(T)) {
        const size_t at = u * UNIT_K / QUANT_GROUP * scales_of(T) * 2;
        if (W_SCALES) row_scales(scales, row, T, K, u * UNIT_K, (end - u) * UNIT_K);
        for (size_t b = 0; b < MAX_SCALES * scales_of(T); b += 64)
            __builtin_prefetch((const void *)(later + (T == DT_Q4 ? K / 2 : K) + at + b), 0, 3);
    }
    vecf acc[12][VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
        for (int h = 0; h < VECTORS; h++) acc[r][h] = f_zero();
    for (; u + LANES <= end && (u + LANES) * UNIT_K <= K; u += LANES) {
        for (size_t b = 0; b < LANES * UNIT_K * bits / 8; b += 64)
            __builtin_prefetch((const void *)(later + u * UNIT_K * bits / 8 + b), 0, 3);
        vec w[VECTORS];
        const size_t k = u * UNIT_K;
        w_step(w, row, T, k, in_groups(T) ? K - k : LANES * UNIT_K,
               scales + (u - begin) * UNIT_K / QUANT_GROUP * scales_of(T));
#pragma GCC unroll 4
        for (size_t h = 0; h < VECTORS; h++)
#pragma GCC unroll 16
            for (int r = 0; r < R; r++)
                acc[r][h] = v_mac(acc[r][h], v_load(x + (size_t)r * x_step + u + h * VL), w[h]);
    }
#pragma GCC unroll 4
    for (size_t h = 0; h < VECTORS; h++) {
        const size_t at = u + h * VL, k = at * UNIT_K;
        if (at >= end || k >= K) break;
        const vec w =
            W_FETCH(row, T, k, K - k, scales + (at - begin) * UNIT_K / QUANT_GROUP * scales_of(T));
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
            acc[r][h] = v_mac(acc[r][h], v_load(x + (size_t)r * x_step + at), w);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int h = 0; h < VECTORS; h++) f_store(parts + r * TILE * LANES + h * VL, acc[r][h]);
}

/* total[o] += the partial sums of output o, in their order. */
static inline void add_parts(float *total, float parts[TILE][LANES])
{
    for (size_t o = 0; o < TILE; o += VL) {
        vecf sum = f_load(total + o);
        for (size_t h = 0; h < VECTORS; h++) {
            vec r[VL];
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++) r[i] = v_load(&parts[o + i][h * VL]);
            v_transpose(r);
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++) sum = f_add(sum, f_from_v(r[i]));
        }
        f_store(total + o, sum);
    }
}

/* R tokens against `rows` outputs from n on, at most TILE; total [R][TILE]. As many chunks of a row are read at
 * once as there is room for their partial sums. */
VEC_INLINE void narrow_tile(const int R, const mltf_dtype T, float total[][TILE], const uint32_t *x,
                            const k_weight *w, size_t n, size_t rows)
{
    _Alignas(64) float parts[PARTS][TILE][LANES];
    const size_t K = w->K, chunk = chunk_of(K) / UNIT_K, units = units_of(K);
    const size_t some = PARTS / (size_t)R * chunk; // units in so many chunks
    const size_t row_bytes = quant_bytes(T, K), ahead = (AHEAD / (row_bytes + 1) + 1) * row_bytes;
    memset(total, 0, (size_t)R * sizeof *total);
    if (rows < TILE) memset(parts, 0, sizeof parts);
    for (size_t u = 0; u < units; u += some) {
        const size_t end = min_size(u + some, units);
        for (size_t i = 0; i < rows; i++) {
            const char *row = (const char *)w->data + quant_bytes(T, (n + i) * w->stride);
            for (size_t c = u, p = 0; c < end; c += chunk, p += (size_t)R)
                narrow_row(R, T, parts[p][i], x, units + ROW_GAP, row, ahead, K, c,
                           min_size(c + chunk, end));
        }
        for (size_t c = u, p = 0; c < end; c += chunk)
            for (int r = 0; r < R; r++, p++) add_parts(total[r], parts[p]);
    }
}

#define NARROW_TYPE_CASE(T, R)                                                                     \
    case T:                                                                                        \
        narrow_tile(R, T, total, x, w, n, rows);                                                   \
        return;
#define NARROW_FUNCTION(R)                                                                         \
    static __attribute__((noinline)) void narrow_##R(float total[][TILE], const uint32_t *x,       \
                                                     const k_weight *w, size_t n, size_t rows)     \
    {                                                                                              \
        switch (w->dtype) {                                                                        \
            NARROW_TYPES(NARROW_TYPE_CASE, R)                                                      \
        default:                                                                                   \
            assert(!"a weight type that gemm does not take");                                      \
        }                                                                                          \
    }
NARROW_KERNELS(NARROW_FUNCTION)

/* The tail's tokens, l->tail of them from m on, against outputs [n, n + count). */
static void narrow_strip(float *y, size_t ldy, const uint32_t *x, const k_weight *w,
                         const float *bias, const m_layout *l, size_t m, size_t n, size_t count)
{
    for (size_t j = 0; j < count; j += TILE) {
        const size_t outs = min_size(TILE, count - j);
        float total[12][TILE];
#define NARROW_CALL(R)                                                                             \
    case R:                                                                                        \
        narrow_##R(total, x, w, n + j, outs);                                                      \
        break;
        switch (l->tail_width) {
            NARROW_KERNELS(NARROW_CALL)
        }
        for (size_t o = 0; o < outs; o += VL) {
            const size_t some = min_size(VL, outs - o);
            const vecf b = bias ? f_load_first(bias + n + j + o, some) : f_zero();
            for (size_t r = 0; r < l->tail; r++)
                f_store_first(y + (m + r) * ldy + n + j + o, f_add(f_load(total[r] + o), b), some);
        }
    }
}

#endif
