/* y = x wT + bias: the matrix product as a template over vector width and arithmetic.
 *
 * A *unit* is 32 bits of a row along k: one f32, or two bf16. The file that includes this one provides
 * the vectors (kavx512_vec.h, kavx2_vec.h) and
 *
 *     UNIT_K                        elements of k in a unit: 1 or 2
 *     vecf v_mac(vecf a, vec x, vec w)   a + the products of each lane's unit
 *     vec w_fetch(row, dtype, k, left)  VL units of a weight row from element k on, zero behind `left`
 *     vec x_fetch(x, k, left)       the same for a row of f32 activations
 *     bool w_direct(w)              rows of this matrix are units as they lie in memory
 *     WIDE3, WIDE2, WIDE1           outputs a kernel computes at once for 3, 2 and 1 vectors of tokens
 *     NARROW_MAX                    tails of up to so many tokens take the narrow way
 *     NARROW_KERNELS(X)             X(R): the narrow way for R tokens
 *     NARROW_TYPES(X, R)            X(T, R): for weights of type T
 *
 * and may provide WIDE_OWN (its own wide1() and wide2(), with WIDE_BLOCKS 2), UNIT_STEP (units come in
 * multiples of it, zeros behind), NARROW_QUANT (see below).
 *
 * One order of summation. K is cut into equal chunks of at most K_CHUNK (a function of K alone). In a
 * chunk each output has one accumulator, which takes its products one unit after the other; the sums of
 * the chunks are added in order, then the bias. Whatever computes an output keeps to this, so its bits
 * depend on x's row and w's row only. There are two ways, chosen by the number of tokens:
 *
 *   wide    lanes are tokens. x lies packed [block][unit][VL tokens]; weights are broadcast from where they
 *           lie in the file, 8 rows at a time. Types that are not units are widened chunk by chunk into
 *           a 16 KiB buffer first: 1/16 of an instruction a weight, against 1 to 3 for the products.
 *   narrow  lanes are outputs, for few tokens (decode) and the tail of many. Weights are fetched and
 *           transposed in registers, 1/4 shuffle a weight, faster than memory delivers them; tokens are
 *           broadcast from [unit][R].
 */
#ifndef MLTF_KERNELS_KX86_GEMM_H
#define MLTF_KERNELS_KX86_GEMM_H

#include <assert.h>
#include <string.h>

#define K_CHUNK 512
#define STRIP   64                 /* outputs of a strip: their sums stay in L1 */
#define UNITS   (K_CHUNK / UNIT_K) /* units of the longest chunk */
#define ROW_GAP 16                 /* units between widened rows, against cache collisions */

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

#ifndef UNIT_STEP
#define UNIT_STEP 1
#endif
#ifndef WIDE_BLOCKS
#define WIDE_BLOCKS 3
#endif

/* Units of a row of x, zeros behind its end included. */
static inline size_t units_of(size_t K)
{
    return ((K + UNIT_K - 1) / UNIT_K + UNIT_STEP - 1) / UNIT_STEP * UNIT_STEP;
}

/* How M tokens are divided: `blocks` of VL (the last perhaps filled up with zeros), then `tail` tokens
 * in rows of `tail_width`. */
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

static size_t tmpl_pack_bytes(size_t M, size_t K)
{
    const m_layout l = layout_of(M, K);
    return (l.blocks * VL + l.tail_width) * l.units * 4 + 64;
}

/* Rows m of [m0, m1) into lanes of [unit][width], lane = m - first; lanes from M on become zero. */
static void pack_lanes(uint32_t *p, size_t width, size_t first, const float *x, size_t ldx,
                       size_t K, size_t M, size_t m0, size_t m1)
{
    const size_t units = units_of(K);
    for (size_t m = m0; m < m1; m++) {
        uint32_t u16[VL];
        for (size_t u = 0; u < units; u += VL) {
            v_store(u16, x_fetch(x + m * ldx, u * UNIT_K, K - u * UNIT_K));
            const size_t n = min_size(VL, units - u);
            for (size_t i = 0; i < n; i++) p[(u + i) * width + m - first] = u16[i];
        }
    }
    if (m1 < M) return; // the last row's packer also fills up
    for (size_t lane = M - first; lane < width; lane++)
        for (size_t u = 0; u < units; u++) p[u * width + lane] = 0;
}

static void tmpl_pack(void *panel, const float *x, size_t ldx, size_t K, size_t M, size_t m0,
                      size_t m1)
{
    const m_layout l = layout_of(M, K);
    uint32_t *p = panel;
    for (size_t b = m0 / VL; b < l.blocks && b * VL < m1; b++) {
        uint32_t *block = p + b * VL * l.units; // [units][VL]
        const size_t first = b * VL, from = m0 > first ? m0 : first, to = min_size(m1, first + VL);
        if (to - from < VL) {
            pack_lanes(block, VL, first, x, ldx, K, min_size(M, first + VL), from, to);
            continue;
        }
        for (size_t u = 0; u < l.units; u += VL) {
            vec r[VL];
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++)
                r[i] = x_fetch(x + (first + i) * ldx, u * UNIT_K, K - u * UNIT_K);
            v_transpose(r);
            const size_t n = min_size(VL, l.units - u);
            if (n == VL) {
#pragma GCC unroll 16
                for (size_t i = 0; i < VL; i++) v_store(block + (u + i) * VL, r[i]);
            } else {
                for (size_t i = 0; i < n; i++) v_store(block + (u + i) * VL, r[i]);
            }
        }
    }
    const size_t first = l.blocks * VL;
    if (l.tail && m1 > first)
        pack_lanes(p + first * l.units, l.tail_width, first, x, ldx, K, M, m0 > first ? m0 : first,
                   m1);
}

/* ---- wide ------------------------------------------------------------------------------------- */

#ifndef WIDE_OWN

/* sums[g][v] (+)= over `units` units of V vectors of tokens and G rows of weights, V and G constants.
 *   x [V] blocks, x_step units apart; w [G] rows, w_step bytes apart; sums row stride 3 VL
 * `next` are the rows of a later call: they are asked for line by line, so that memory has brought them by then. */
VEC_INLINE void wide_kernel(const int V, const int G, float *sums, const uint32_t *x, size_t x_step,
                            const char *w, const char *next, size_t w_step, size_t units, bool add)
{
    vecf acc[WIDE1][3];
#pragma GCC unroll 16
    for (int g = 0; g < G; g++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) acc[g][v] = f_zero();
    for (size_t u = 0; u < units; u++) {
        vec xv[3];
        const size_t lines =
            u * (size_t)G / VL; // so many of the later rows are asked for, 16 units in each
        if (u * (size_t)G % VL == 0)
            __builtin_prefetch(next + lines % (size_t)G * w_step + lines / (size_t)G * VL * 4, 0,
                               2);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) xv[v] = v_load(x + (size_t)v * x_step + u * VL);
#pragma GCC unroll 16
        for (int g = 0; g < G; g++) {
            const vec wg = v_bcast(w + (size_t)g * w_step + u * 4);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) acc[g][v] = v_mac(acc[g][v], xv[v], wg);
        }
    }
#pragma GCC unroll 16
    for (int g = 0; g < G; g++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            float *s = sums + g * 3 * VL + v * VL;
            f_store(s, add ? f_add(f_load(s), acc[g][v]) : acc[g][v]);
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
static void widen_rows(uint32_t *to, int G, const k_weight *w, size_t n, size_t rows, size_t k,
                       size_t units)
{
    for (size_t g = 0; g < (size_t)G; g++, to += UNITS + ROW_GAP) {
        if (g >= rows) {
            memset(to, 0, units * 4);
            continue;
        }
        const char *row = (const char *)w->data + quant_bytes(w->dtype, (n + g) * w->stride);
        for (size_t u = 0; u < units; u += VL)
            v_store(to + u, w_fetch(row, w->dtype, k + u * UNIT_K, w->K - k - u * UNIT_K));
    }
}

/* V blocks of tokens from m on against outputs [n, n + count), count <= STRIP. */
static void wide_strip(int V, float *y, size_t ldy, const uint32_t *x, const k_weight *w,
                       const float *bias, size_t M, size_t m, size_t n, size_t count)
{
    _Alignas(64) float sums[STRIP][3 * VL];
    _Alignas(64) uint32_t wide_rows[WIDE1 * (UNITS + ROW_GAP)];
    const size_t K = w->K, chunk = chunk_of(K), all_units = units_of(K);
    const int G = V == 1 ? WIDE1 : V == 2 ? WIDE2 : WIDE3;
    const bool direct = w_direct(w);
    const size_t row_bytes = quant_bytes(w->dtype, w->stride), element = dtype_size(w->dtype);
    if (K == 0) memset(sums, 0, sizeof sums);
    for (size_t k = 0; k < K; k += chunk) {
        const size_t u0 = k / UNIT_K, units = min_size(chunk / UNIT_K, all_units - u0);
        for (size_t g = 0; g < count; g += (size_t)G) {
            const char *rows = (const char *)w->data + (n + g) * row_bytes + k * element;
            const char *next = rows; // what comes next, the first time that it is needed
            if (m == 0 && g + 2 * (size_t)G <= count)
                next = rows + (size_t)G * row_bytes;
            else if (m == 0 && k + chunk < K)
                next = (const char *)w->data + n * row_bytes + (k + chunk) * element;
            else if (m == 0 && n + count + (size_t)G <= w->N)
                next = (const char *)w->data + (n + count) * row_bytes;
            size_t step = row_bytes;
            if (!direct || g + (size_t)G > count) {
                widen_rows(wide_rows, G, w, n + g, min_size((size_t)G, count - g), k, units);
                rows = next = (const char *)wide_rows;
                step = (UNITS + ROW_GAP) * 4;
            }
            const uint32_t *xk = x + u0 * VL;
            if (V == 1)
                wide1(sums[g], xk, all_units * VL, rows, next, step, units, k > 0);
            else if (V == 2)
                wide2(sums[g], xk, all_units * VL, rows, next, step, units, k > 0);
#if WIDE_BLOCKS > 2
            else
                wide3(sums[g], xk, all_units * VL, rows, next, step, units, k > 0);
#endif
        }
    }
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

#if NARROW_MAX > 0

/* ---- narrow ----------------------------------------------------------------------------------- */

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

#ifdef NARROW_QUANT /* a file with quant_strip(), faster for Q8 and Q4 than fetching through f32 */
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

static void tmpl_gemm(float *y, size_t ldy, const void *panel, const k_weight *w, const float *bias,
                      size_t M, size_t n0, size_t n1)
{
    const m_layout l = layout_of(M, w->K);
    const uint32_t *x = panel;
    for (size_t n = n0; n < n1; n += STRIP) {
        const size_t count = min_size(STRIP, n1 - n);
        for (size_t b = 0; b < l.blocks;) {
            const size_t left = l.blocks - b;
            int V = left >= 2 ? 2 : 1;
            if (WIDE_BLOCKS > 2 && (left >= 5 || left == 3)) V = 3; // 4 blocks: 2 + 2
            wide_strip(V, y, ldy, x + b * VL * l.units, w, bias, M, b * VL, n, count);
            b += (size_t)V;
        }
#if NARROW_MAX > 0
        if (l.tail)
            narrow_strip(y, ldy, x + l.blocks * VL * l.units, w, bias, &l, l.blocks * VL, n, count);
#endif
    }
}

#endif
