/* y = x wT + bias: the matrix product as a template over vector width and arithmetic.
 *
 * A *unit* is 32 bits of a row along k: one f32, or two bf16. The file that includes this one provides
 * the vectors (kavx512_vec.h, kavx2_vec.h) and
 *
 *     UNIT_K                        elements of k in a unit: 1 or 2
 *     LANES                         partial sums of an output: 1, or a multiple of VL; see below
 *     vecf v_mac(vecf a, vec x, vec w)   a + the products of each lane's unit
 *     vec w_fetch(row, dtype, k, left)  VL units of a weight row from element k on, zero behind `left`
 *     vec x_fetch(x, k, left)       the same for a row of f32 activations
 *     bool w_direct(w)              rows of this matrix are units as they lie in memory
 *     WIDE3, WIDE2, WIDE1           outputs a kernel computes at once for 3, 2 and 1 vectors of tokens
 *     NARROW_MAX                    tails of up to so many tokens take the narrow way
 *     NARROW_KERNELS(X)             X(R): the narrow way for R tokens
 *     NARROW_TYPES(X, R)            X(T, R): for weights of type T
 *
 * and may provide K_CHUNK, WIDE_OWN (its own wide1() and wide2(), with WIDE_BLOCKS 2), UNIT_STEP (units come in
 * multiples of it, zeros behind), W_SCALES (w_fetch() takes a fifth argument, the scales of its group, see
 * row_scales()), W_STEP (its own w_step()), NARROW_QUANT (see kx86_narrow_columns.h).
 *
 * One order of summation. K is cut into equal chunks of at most K_CHUNK (a function of K alone). In a
 * chunk each output has LANES partial sums: the i-th takes the products of the units i, i + LANES,
 * i + 2 LANES ... one after the other. Partial sums are added up in the order of i, chunk after chunk, then the
 * bias is. Whatever computes an output keeps to this, so its bits depend on x's row and w's row only.
 * There are two ways, chosen by the number of tokens:
 *
 *   wide    lanes are tokens, and the partial sums of an output come one after the other. x lies packed
 *           [block][chunk][i][step][VL tokens]; weights are broadcast from where they lie in the file, 8 rows at
 *           a time. Types that are not units are widened chunk by chunk into a buffer first: 1/16 of
 *           an instruction a weight, against 1 to 3 for the products.
 *   narrow  for few tokens (decode) and the tail of many. With many partial sums, these are the lanes
 *           (kx86_narrow_rows.h); with one, lanes are outputs (kx86_narrow_columns.h).
 *
 * 32 partial sums let decode read a row of weights from its beginning to its end, as memory likes best, and 2 vectors of
 * them hide how long a product takes. The wide way pays 5 % and more for them (a step from weight to weight
 * is then 128 bytes), so f32 weights, which encoders have, keep to one. docs/speed.md has the figures. */
#ifndef MLTF_KERNELS_KX86_GEMM_H
#define MLTF_KERNELS_KX86_GEMM_H

#include <assert.h>
#include <string.h>

#ifndef K_CHUNK
#define K_CHUNK 512
#endif
#ifndef UNIT_STEP
#define UNIT_STEP LANES
#endif
#ifndef WIDE_BLOCKS
#define WIDE_BLOCKS 3
#endif

#define STRIP   64                 /* outputs of a strip: their sums stay in L1 */
#define UNITS   (K_CHUNK / UNIT_K) /* units of the longest chunk */
#define ROW_GAP 16                 /* units between rows of a buffer, against cache collisions */

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Length of the chunks that K is cut into: equal but for a multiple of 128, at most K_CHUNK. */
static inline size_t chunk_of(size_t K)
{
    const size_t chunks = K ? (K - 1) / K_CHUNK + 1 : 1;
    return ((K + chunks - 1) / chunks + 127) / 128 * 128;
}

/* Units of a row of x, zeros behind its end included. */
static inline size_t units_of(size_t K)
{
    return ((K + UNIT_K - 1) / UNIT_K + UNIT_STEP - 1) / UNIT_STEP * UNIT_STEP;
}

/* Where unit u of a row lies in a block of tokens, counted in vectors: its chunk, then i, then the step. */
static inline size_t wide_place(size_t u, size_t K)
{
    const size_t chunk = chunk_of(K) / UNIT_K, begin = u / chunk * chunk;
    const size_t steps = min_size(chunk, units_of(K) - begin) / LANES;
    return begin + (u - begin) % LANES * steps + (u - begin) / LANES;
}

/* How M tokens are divided: `blocks` of VL (the last perhaps filled up with zeros), then a `tail` for the
 * narrow way's kernel for `tail_width` tokens. */
typedef struct m_layout {
    size_t units, blocks, tail, tail_width;
} m_layout;

#define NARROW_WIDTH(R)                                                                            \
    if (l.tail <= (R)) {                                                                           \
        l.tail_width = (R);                                                                        \
        return l;                                                                                  \
    }

static inline m_layout layout_of(size_t M, size_t K)
{
    m_layout l = {.units = units_of(K), .blocks = M / VL, .tail = M % VL};
    if (l.tail == 0) return l;
    if (l.tail > NARROW_MAX) {
        l.blocks++;
        l.tail = 0;
        return l;
    }
    NARROW_KERNELS(NARROW_WIDTH)
    return l;
}

#ifdef W_SCALES
#define W_FETCH(row, t, k, left, scales) w_fetch(row, t, k, left, scales)
#else
#define W_SCALES                         0
#define W_FETCH(row, t, k, left, scales) w_fetch(row, t, k, left)
#endif
#define MAX_SCALES (K_CHUNK / QUANT_GROUP * 2)

static inline bool in_groups(mltf_dtype t)
{
    return t == DT_Q8 || t == DT_Q4;
}

/* Floats that belong to a group of a row: its scale, in Q4 its scale and its least number. */
static inline size_t scales_of(mltf_dtype t)
{
    return t == DT_Q4 ? 2 : 1;
}

#define VECTORS ((LANES + VL - 1) / VL) /* that hold the partial sums of an output */

#ifndef W_STEP
/* VECTORS times VL units of a row from element k on, all of which there are. */
VEC_INLINE void w_step(vec *w, const char *row, mltf_dtype t, size_t k, size_t left,
                       const float *scales)
{
    (void)scales;
#pragma GCC unroll 4
    for (size_t i = 0; i < VECTORS; i++)
        w[i] = W_FETCH(row, t, k + i * VL * UNIT_K, left - i * VL * UNIT_K,
                       scales + i * VL * UNIT_K / QUANT_GROUP * scales_of(t));
}
#endif

/* Those of `count` elements of a row of K from element k on. */
static inline void row_scales(float *to, const char *row, mltf_dtype t, size_t K, size_t k,
                              size_t count)
{
    const char *all = row + (t == DT_Q4 ? K / 2 : K);
    const size_t first = k / QUANT_GROUP * scales_of(t);
    const size_t n = min_size(count, K - k) / QUANT_GROUP * scales_of(t);
    for (size_t i = 0; i < n; i += VL) f_store(to + i, f_fetch(all + first * 2, DT_BF16, i, n - i));
}

/* VL units of a row of x from unit u on. */
VEC_INLINE vec x_units(const float *x, size_t K, size_t u)
{
    return u * UNIT_K < K ? x_fetch(x, u * UNIT_K, K - u * UNIT_K) : v_zero();
}

#if NARROW_MAX == 0
static size_t tail_units(const m_layout *l)
{
    (void)l;
    return 0;
}
#elif LANES == 1
#include "kernels/x86/kx86_narrow_columns.h"
#else
#include "kernels/x86/kx86_narrow_rows.h"
#endif

static size_t tmpl_pack_bytes(size_t M, size_t K)
{
    const m_layout l = layout_of(M, K);
    return (l.blocks * VL * l.units + tail_units(&l)) * 4 + 64;
}

/* Rows [m0, m1) into a block of VL tokens that begins with `first`; the packer of row M - 1 fills the rest with zeros. */
static void pack_lanes(uint32_t *block, size_t first, const float *x, size_t ldx, size_t K,
                       size_t M, size_t m0, size_t m1)
{
    const size_t units = units_of(K), end = m1 == M ? first + VL : m1;
    for (size_t m = m0; m < end; m++)
        for (size_t u = 0; u < units; u += VL) {
            uint32_t some[VL];
            v_store(some, m < M ? x_units(x + m * ldx, K, u) : v_zero());
            for (size_t i = 0; i < min_size(VL, units - u); i++)
                block[wide_place(u + i, K) * VL + m - first] = some[i];
        }
}

static void tmpl_pack(void *panel, const float *x, size_t ldx, size_t K, size_t M, size_t m0,
                      size_t m1)
{
    const m_layout l = layout_of(M, K);
    uint32_t *p = panel;
    for (size_t b = m0 / VL; b < l.blocks && b * VL < m1; b++) {
        uint32_t *block = p + b * VL * l.units;
        const size_t first = b * VL, from = m0 > first ? m0 : first, to = min_size(m1, first + VL);
        if (to - from < VL) {
            pack_lanes(block, first, x, ldx, K, min_size(M, first + VL), from, to);
            continue;
        }
        for (size_t u = 0; u < l.units; u += VL) {
            vec r[VL];
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++) r[i] = x_units(x + (first + i) * ldx, K, u);
            v_transpose(r);
            uint32_t *to_unit = block + wide_place(u, K) * VL;
            const size_t step = (wide_place(u + 1, K) - wide_place(u, K)) * VL;
            const size_t n = min_size(VL, l.units - u);
            if (n == VL) {
#pragma GCC unroll 16
                for (size_t i = 0; i < VL; i++) v_store(to_unit + i * step, r[i]);
            } else {
                for (size_t i = 0; i < n; i++) v_store(to_unit + i * step, r[i]);
            }
        }
    }
#if NARROW_MAX > 0
    const size_t tail = l.blocks * VL;
    if (l.tail && m1 > tail)
        pack_tail(p + tail * l.units, &l, x + tail * ldx, ldx, K, m0 > tail ? m0 - tail : 0,
                  m1 - tail);
#endif
}

/* ---- wide ------------------------------------------------------------------------------------- */

#ifndef WIDE_OWN

/* acc[g][v] += x[v] w[g] of one step. */
VEC_INLINE void wide_step(const int V, const int G, vecf acc[WIDE1][3], const uint32_t *x,
                          size_t x_step, const char *w, size_t w_step)
{
    vec xv[3];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) xv[v] = v_load(x + (size_t)v * x_step);
#pragma GCC unroll 16
    for (int g = 0; g < G; g++) {
        const vec wg = v_bcast(w + (size_t)g * w_step);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) acc[g][v] = v_mac(acc[g][v], xv[v], wg);
    }
}

/* sums[g][v] (+)= over `units` units of V vectors of tokens and G rows of weights, V and G constants.
 *   x [V] blocks, x_step units apart; w [G] rows, w_step bytes apart; sums row stride 3 VL
 * `next` are the rows of a later call: they are asked for line by line, so that memory has brought them by then. */
VEC_INLINE void wide_kernel(const int V, const int G, float *sums, const uint32_t *x, size_t x_step,
                            const char *w, const char *next, size_t w_step, size_t units, bool add)
{
    const size_t lane_vectors = (units + LANES - 1) / LANES;
    const size_t turn = 16 / (size_t)G; // steps for each line of 16 units that is asked for
    const char *line = next;
    int row = 0;
    for (size_t lane = 0; lane < min_size(LANES, units); lane++, x += lane_vectors * VL, w += 4) {
        const size_t steps = (units - lane + LANES - 1) / LANES;
        vecf acc[WIDE1][3];
#pragma GCC unroll 16
        for (int g = 0; g < G; g++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) acc[g][v] = f_zero();
        size_t s = 0;
        for (; s + turn <= steps; s += turn) {
            __builtin_prefetch(line, 0, 2);
            line += w_step;
            if (++row == G) {
                row = 0;
                line += 64 - (size_t)G * w_step;
            }
#pragma GCC unroll 4
            for (size_t i = 0; i < turn; i++)
                wide_step(V, G, acc, x + (s + i) * VL, x_step, w + (s + i) * LANES * 4, w_step);
        }
        for (; s < steps; s++) wide_step(V, G, acc, x + s * VL, x_step, w + s * LANES * 4, w_step);
#pragma GCC unroll 16
        for (int g = 0; g < G; g++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                float *to = sums + g * 3 * VL + v * VL;
                f_store(to, add || lane ? f_add(f_load(to), acc[g][v]) : acc[g][v]);
            }
    }
}

static __attribute__((noinline)) void wide3(float *sums, const uint32_t *x, size_t x_step,
                                            const char *w, const char *next, size_t w_step,
                                            size_t units, bool add)
{
    wide_kernel(3, WIDE3, sums, x, x_step, w, next, w_step, units, add);
}
static __attribute__((noinline)) void wide2(float *sums, const uint32_t *x, size_t x_step,
                                            const char *w, const char *next, size_t w_step,
                                            size_t units, bool add)
{
    wide_kernel(2, WIDE2, sums, x, x_step, w, next, w_step, units, add);
}
static __attribute__((noinline)) void wide1(float *sums, const uint32_t *x, size_t x_step,
                                            const char *w, const char *next, size_t w_step,
                                            size_t units, bool add)
{
    wide_kernel(1, WIDE1, sums, x, x_step, w, next, w_step, units, add);
}

#endif

/* Rows n .. n+rows-1 of w, `units` units from element k on, into to[row][UNITS + ROW_GAP]; rows behind are zeros. */
static void widen_rows(uint32_t *to, size_t G, const k_weight *w, size_t n, size_t rows, size_t k,
                       size_t units)
{
    for (size_t g = 0; g < G; g++, to += UNITS + ROW_GAP) {
        if (g >= rows) {
            memset(to, 0, units * 4);
            continue;
        }
        const char *row = (const char *)w->data + quant_bytes(w->dtype, (n + g) * w->stride);
        float scales[MAX_SCALES];
        if (W_SCALES && in_groups(w->dtype))
            row_scales(scales, row, w->dtype, w->K, k, units * UNIT_K);
        size_t u = 0;
        for (; u + VECTORS * VL <= units && k + (u + VECTORS * VL) * UNIT_K <= w->K;
             u += VECTORS * VL) {
            vec all[VECTORS];
            w_step(all, row, w->dtype, k + u * UNIT_K, w->K - k - u * UNIT_K,
                   scales + u * UNIT_K / QUANT_GROUP * scales_of(w->dtype));
#pragma GCC unroll 4
            for (size_t i = 0; i < VECTORS; i++) v_store(to + u + i * VL, all[i]);
        }
        for (; u < units; u += VL)
            v_store(to + u, W_FETCH(row, w->dtype, k + u * UNIT_K, w->K - k - u * UNIT_K,
                                    scales + u * UNIT_K / QUANT_GROUP * scales_of(w->dtype)));
    }
}

/* sums + bias for V vectors of tokens from m on and outputs [n, n + count). */
static void wide_store(int V, float *y, size_t ldy, float sums[][3 * VL], const float *bias,
                       size_t M, size_t m, size_t n, size_t count)
{
    for (size_t j = 0; j < count; j += VL) {
        const size_t outs = min_size(VL, count - j);
        const vecf b = bias ? f_load_first(bias + n + j, outs) : f_zero();
        for (int v = 0; v < V; v++) {
            vec r[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) r[i] = v_from_f(f_load(&sums[j + (size_t)i][v * VL]));
            v_transpose(r);
            float *out = y + (m + (size_t)v * VL) * ldy + n + j;
            const size_t tokens = min_size(VL, M - m - (size_t)v * VL);
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) r[i] = v_from_f(f_add(f_from_v(r[i]), b));
            if (tokens == VL && outs == VL) {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++) f_store(out + (size_t)i * ldy, f_from_v(r[i]));
            } else {
                for (size_t i = 0; i < tokens; i++)
                    f_store_first(out + i * ldy, f_from_v(r[i]), outs);
            }
        }
    }
}

/* How many of the `left` blocks of tokens go together. */
static int wide_width(size_t left)
{
    if (WIDE_BLOCKS > 2 && (left >= 5 || left == 3)) return 3; // 4 blocks: 2 + 2
    return left >= 2 ? 2 : 1;
}

#define WIDE_MANY 32 /* blocks of tokens whose sums are kept */

/* `blocks` blocks of tokens from m on, at most WIDE_MANY, against outputs [n, n + count), count <= STRIP. */
static void wide_strip(float *y, size_t ldy, const uint32_t *x, const k_weight *w,
                       const float *bias, size_t M, size_t m, size_t blocks, size_t n, size_t count)
{
    _Alignas(64) float sums[WIDE_MANY / 2][STRIP][3 * VL];
    _Alignas(64) uint32_t buffer[STRIP * (UNITS + ROW_GAP)];
    const size_t K = w->K, chunk = chunk_of(K), all_units = units_of(K);
    const size_t element = dtype_size(w->dtype);
    const size_t row_bytes = quant_bytes(w->dtype, w->stride);
    const bool direct = w_direct(w) && count % WIDE1 == 0;
    const size_t step = direct ? row_bytes : (UNITS + ROW_GAP) * 4;
    if (K == 0) memset(sums, 0, sizeof sums);
    for (size_t k = 0; k < K; k += chunk) {
        const size_t units = min_size(chunk, K - k + UNIT_K - 1) / UNIT_K;
        const char *rows = (const char *)w->data + n * row_bytes + k * element;
        if (!direct) {
            widen_rows(buffer, (count + WIDE1 - 1) / WIDE1 * WIDE1, w, n, count, k, units);
            rows = (const char *)buffer;
        }
        const uint32_t *xk = x + k / UNIT_K * VL;
        for (size_t b = 0, i = 0; b < blocks; i++) {
            const int V = wide_width(blocks - b);
            const size_t G = V == 1 ? WIDE1 : V == 2 ? WIDE2 : WIDE3;
            for (size_t g = 0; g < count; g += G) {
                const char *wg = rows + g * step, *next = wg;
                if (m + b == 0 && direct) { // what comes next, the first time that it is needed
                    if (g + 2 * G <= count)
                        next = wg + G * step;
                    else if (k + chunk < K)
                        next = rows + chunk * element;
                    else if (n + count + G <= w->N)
                        next = (const char *)w->data + (n + count) * step;
                }
                float *to = sums[i][g];
                if (V == 1)
                    wide1(to, xk, all_units * VL, wg, next, step, units, k > 0);
                else if (V == 2)
                    wide2(to, xk, all_units * VL, wg, next, step, units, k > 0);
#if WIDE_BLOCKS > 2
                else
                    wide3(to, xk, all_units * VL, wg, next, step, units, k > 0);
#endif
            }
            b += (size_t)V;
            xk += (size_t)V * all_units * VL;
        }
    }
    for (size_t b = 0, i = 0; b < blocks; i++) {
        const int V = wide_width(blocks - b);
        wide_store(V, y, ldy, sums[i], bias, M, m + b * VL, n, count);
        b += (size_t)V;
    }
}

static void tmpl_gemm(float *y, size_t ldy, const void *panel, const k_weight *w, const float *bias,
                      size_t M, size_t n0, size_t n1)
{
    const m_layout l = layout_of(M, w->K);
    const uint32_t *x = panel;
    for (size_t n = n0; n < n1; n += STRIP) {
        const size_t count = min_size(STRIP, n1 - n);
        for (size_t b = 0, many; b < l.blocks; b += many) {
            const size_t left = l.blocks - b;
            many = w_direct(w) ? (size_t)wide_width(left) : min_size(WIDE_MANY, left);
            wide_strip(y, ldy, x + b * VL * l.units, w, bias, M, b * VL, many, n, count);
        }
#if NARROW_MAX > 0
        if (l.tail)
            narrow_strip(y, ldy, x + l.blocks * VL * l.units, w, bias, &l, l.blocks * VL, n, count);
#endif
    }
}

#endif
