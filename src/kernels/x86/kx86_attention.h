/* Attention of one head over one sequence, as a template over vector width; included behind a kavx*_vec.h
 * and kx86_math.h.
 *
 * Keys are taken in blocks of BLOCK (Dao et al. 2022, arXiv:2205.14135): a block is transposed once, then
 * every group of queries computes its scores against it (lanes are keys), moves its running maximum, and
 * adds the weighted values to its output (lanes are the columns of v). Sequences of up to BLOCK keys are a plain
 * softmax with nothing rescaled.
 *
 * Each score sums over d in order, each output over j in order, blocks begin at multiples of BLOCK: a query's
 * bits depend neither on the queries beside it nor on how they are cut into pieces.
 *
 * ROWS_BIG, ROWS_SMALL: queries of a group; the rest goes one by one. */
#ifndef MLTF_KERNELS_KX86_ATTENTION_H
#define MLTF_KERNELS_KX86_ATTENTION_H

#include <math.h>
#include <string.h>

#define BLOCK K_ATTN_BLOCK

static inline size_t at_least(size_t a, size_t b)
{
    return a > b ? a : b;
}
static inline size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t whole_vectors(size_t n)
{
    return (n + VL - 1) / VL * VL;
}

static const float attn_iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* One call's operands and scratch. Dp is Dv in whole vectors. */
typedef struct attn {
    const float *q;
    size_t ldq, Tk, D, Dp;
    const k_attn_opts *o;
    float *kt;        /* [D, BLOCK]         keys of the block, transposed */
    float *s;         /* [ROWS_BIG, BLOCK]  scores, then weights */
    float *max, *sum; /* [Tq] */
    float *acc;       /* [Tq, ld_acc]       unnormalized output */
    size_t ld_acc;
    const float *v; /* [BLOCK, ldv] values of the block in f32 */
    size_t ldv;
    size_t always_lo, always_hi; /* among these keys of the block are those that are always seen */
} attn;

/* s[r][j0 ..] = q[r] . k[j0 ..] for R queries and T vectors of keys. */
VEC_INLINE void attn_dot(const int R, const int T, const attn *a, size_t i, size_t j0)
{
    vecf acc[ROWS_BIG][4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) acc[r][t] = f_zero();
    const float *q = a->q + i * a->ldq, *kt = a->kt + j0;
    for (size_t d = 0; d < a->D; d++, kt += BLOCK) {
        vecf k[4];
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) k[t] = f_load(kt + t * VL);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const vecf x = f_set(q[(size_t)r * a->ldq + d]);
#pragma GCC unroll 4
            for (int t = 0; t < T; t++) acc[r][t] = f_fma(x, k[t], acc[r][t]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) f_store(a->s + r * BLOCK + j0 + t * VL, acc[r][t]);
}

/* acc[r][c ..] = acc[r][c ..] * shrink[r] + sum_j s[r][j] v[j][c ..] for R queries and T vectors of columns. */
VEC_INLINE void attn_mix(const int R, const int T, const attn *a, size_t i, size_t c,
                         const float *shrink, size_t lo, size_t hi)
{
    vecf acc[ROWS_BIG][4];
    float *to = a->acc + i * a->ld_acc + c;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++)
            acc[r][t] = f_mul(f_load(to + (size_t)r * a->ld_acc + t * VL), f_set(shrink[r]));
    for (size_t j = lo; j < hi; j++) {
        vecf v[4];
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) v[t] = f_load(a->v + j * a->ldv + c + (size_t)t * VL);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const vecf p = f_set(a->s[r * BLOCK + j]);
#pragma GCC unroll 4
            for (int t = 0; t < T; t++) acc[r][t] = f_fma(p, v[t], acc[r][t]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) f_store(to + (size_t)r * a->ld_acc + t * VL, acc[r][t]);
}

/* Keys [*lo, *hi) that queries [i, i + R) may see between them, those that are always seen apart. */
static inline void attn_range(const k_attn_opts *o, size_t i, size_t R, size_t Tk, size_t *lo,
                              size_t *hi)
{
    const size_t first = o->pos0 + (o->one_place ? 0 : i),
                 last = first + (o->one_place ? 0 : R - 1);
    *lo = 0;
    *hi = Tk;
    if (o->causal) *hi = at_most(*hi, last + 1);
    if (o->window) {
        if (first + 1 > o->window) *lo = first + 1 - o->window;
        *hi = at_most(*hi, last + o->window);
    }
}

/* Look for the keys of the block at j0 that are always seen. */
static inline void attn_find_always(attn *a, size_t j0, size_t keys)
{
    a->always_lo = keys;
    a->always_hi = 0;
    if (!a->o->always) return;
    const uint8_t *is = a->o->always + j0, *first = memchr(is, 1, keys);
    if (!first) return;
    a->always_lo = (size_t)(first - is);
    for (a->always_hi = keys; !is[a->always_hi - 1];) a->always_hi--;
}

/* Keys j0 + [*lo, *hi) of a block that queries [i, i + R) may see between them; false if there are none. */
static inline bool attn_block_range(const attn *a, size_t i, size_t R, size_t j0, size_t keys,
                                    size_t *lo, size_t *hi)
{
    size_t from, to;
    attn_range(a->o, i, R, a->Tk, &from, &to);
    *lo = at_most(from > j0 ? from - j0 : 0, keys);
    *hi = at_most(to > j0 ? to - j0 : 0, keys);
    if (*lo >= *hi) {
        *lo = a->always_lo;
        *hi = a->always_hi;
    } else if (a->always_lo < a->always_hi) {
        *lo = at_most(*lo, a->always_lo);
        *hi = at_least(*hi, a->always_hi);
    }
    return *lo < *hi;
}

/* Scores [from, to) of the block at j0 are not to be seen, but for keys in [lo, hi) that always are. */
static inline void attn_hide(const attn *a, float *s, size_t j0, size_t from, size_t to, size_t lo,
                             size_t hi)
{
    const uint8_t *always = a->o->always;
    for (size_t j = from; j < to; j++)
        if (!always || j < lo || j >= hi || !always[j0 + j]) s[j] = -INFINITY;
}

/* What lies between the dot product and the softmax, for query i and keys j0 + [lo, hi) of the block. The row
 * is filled with -inf up to whole vectors, and where the query may not look. */
static void attn_shape_scores(const attn *a, float *s, size_t i, size_t j0, size_t lo, size_t hi)
{
    const k_attn_opts *o = a->o;
    const size_t end = whole_vectors(hi);
    for (size_t j = lo / VL * VL; j < end; j += VL) {
        vecf x = f_mul(f_load(s + j), f_set(o->scale));
        if (o->softcap != 0.0f) x = f_mul(f_tanh(f_div(x, f_set(o->softcap))), f_set(o->softcap));
        if (o->alibi != 0.0f) {
            const vecf at =
                f_add(f_load_first(attn_iota, VL), f_set((float)(j0 + j) - (float)(a->Tk - 1)));
            x = f_add(x, f_mul(f_set(o->alibi), at));
        }
        if (o->bias) x = f_add(x, f_load_first(o->bias + i * o->ld_bias + j0 + j, a->Tk - j0 - j));
        f_store(s + j, x);
    }
    size_t from, to;
    attn_range(o, i, 1, a->Tk, &from, &to);
    from = from > j0 ? from - j0 : 0; // in the block
    to = to > j0 ? to - j0 : 0;
    attn_hide(a, s, j0, lo / VL * VL, at_most(from, end), lo, hi);
    attn_hide(a, s, j0, at_least(at_most(to, hi), lo / VL * VL), end, lo, hi);
    if (o->key_mask)
        for (size_t j = lo; j < hi; j++)
            if (!o->key_mask[j0 + j]) s[j] = -INFINITY;
}

/* Running softmax of one query: s becomes weights relative to the new maximum; returns by how much what was
 * summed before shrinks. */
static float attn_weigh(const attn *a, float *s, size_t i, size_t lo, size_t hi)
{
    const size_t start = lo / VL * VL;
    vecf m = f_set(-INFINITY), sum = f_zero();
    for (size_t j = start; j < hi; j += VL) m = f_max(m, f_load(s + j));
    const float old = a->max[i], block = f_largest(m),
                new = block > old || block != block ? block : old;
    const float base = new == -INFINITY ? 0.0f : new; // no key so far: all weights 0
    const vecf base_v = f_set(base);
    for (size_t j = start; j < hi; j += VL) {
        const vecf p = f_exp(f_sub(f_load(s + j), base_v));
        f_store(s + j, p);
        sum = f_add(sum, p);
    }
    const float shrink = old == -INFINITY ? 0.0f : expf(old - base);
    a->sum[i] = a->sum[i] * shrink + f_sum(sum);
    a->max[i] = new;
    return shrink;
}

/* Row r of s holds the dot products of query i: they become weights. */
static float attn_softmax_row(const attn *a, int r, size_t i, size_t j0, size_t lo, size_t hi)
{
    float *s = a->s + r * BLOCK;
    attn_shape_scores(a, s, i, j0, lo, hi);
    if (a->o->probs) // raw scores for now: normalized at the end
        memcpy(a->o->probs + i * a->Tk + j0 + lo, s + lo, (hi - lo) * sizeof *s);
    return attn_weigh(a, s, i, lo, hi);
}

/* Queries [i, i + R) against the block of keys at j0. */
VEC_INLINE void attn_group(const int R, const attn *a, size_t i, size_t j0, size_t keys)
{
    size_t lo, hi;
    if (!attn_block_range(a, i, (size_t)R, j0, keys, &lo, &hi)) return;
    size_t j = lo / VL * VL;
    if (R == 1)
        for (; j + 3 * VL < hi; j += 4 * VL) attn_dot(R, 4, a, i, j);
    for (; j + VL < hi; j += 2 * VL) attn_dot(R, 2, a, i, j);
    for (; j < hi; j += VL) attn_dot(R, 1, a, i, j);

    float shrink[ROWS_BIG];
    for (int r = 0; r < R; r++) shrink[r] = attn_softmax_row(a, r, i + (size_t)r, j0, lo, hi);
    size_t c = 0;
    if (R == 1)
        for (; c + 3 * VL < a->Dp; c += 4 * VL) attn_mix(R, 4, a, i, c, shrink, lo, hi);
    for (; c + VL < a->Dp; c += 2 * VL) attn_mix(R, 2, a, i, c, shrink, lo, hi);
    for (; c < a->Dp; c += VL) attn_mix(R, 1, a, i, c, shrink, lo, hi);
}

static __attribute__((noinline)) void attn_group_big(const attn *a, size_t i, size_t j0,
                                                     size_t keys)
{
    attn_group(ROWS_BIG, a, i, j0, keys);
}
static __attribute__((noinline)) void attn_group_small(const attn *a, size_t i, size_t j0,
                                                       size_t keys)
{
    attn_group(ROWS_SMALL, a, i, j0, keys);
}
static __attribute__((noinline)) void attn_group_one(const attn *a, size_t i, size_t j0,
                                                     size_t keys)
{
    attn_group(1, a, i, j0, keys);
}

/* ---- few queries: decode ------------------------------------------------------------------------ */

/* Up to FEW queries read keys and values once, so nothing is transposed or widened into memory first: keys go
 * through registers, values are widened as they are used. Sums run in the same order as above, same bits. */
#define FEW 4

/* s[r][j ..] for VL keys from j on; keys at `keys` and behind repeat the last and are masked later. */
VEC_INLINE void few_dot(const int R, const mltf_dtype T, const attn *a, const char *k, size_t ldk,
                        size_t j, size_t keys)
{
    const size_t size = T == DT_F32 ? 4 : 2, D = a->D;
    const char *row[VL];
    vecf acc[FEW];
    for (size_t x = 0; x < VL; x++) row[x] = k + at_most(j + x, keys - 1) * ldk * size;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) acc[r] = f_zero();
    size_t d = 0;
    for (; d + VL <= D; d += VL) {
        vec t[VL];
#pragma GCC unroll 16
        for (size_t x = 0; x < VL; x++) t[x] = v_from_f(f_fetch(row[x], T, d, VL));
        v_transpose(t);
#pragma GCC unroll 16
        for (size_t x = 0; x < VL; x++)
#pragma GCC unroll 4
            for (int r = 0; r < R; r++)
                acc[r] = f_fma(f_set(a->q[(size_t)r * a->ldq + d + x]), f_from_v(t[x]), acc[r]);
    }
    if (d < D) {
        vec t[VL];
        for (size_t x = 0; x < VL; x++) t[x] = v_from_f(f_fetch(row[x], T, d, D - d));
        v_transpose(t);
        for (size_t x = 0; x < D - d; x++)
            for (int r = 0; r < R; r++)
                acc[r] = f_fma(f_set(a->q[(size_t)r * a->ldq + d + x]), f_from_v(t[x]), acc[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) f_store(a->s + r * BLOCK + j, acc[r]);
}

/* attn_mix() with values as stored. */
VEC_INLINE void few_mix(const int R, const int T, const mltf_dtype type, const attn *a,
                        const char *v, size_t ldv, size_t c, const float *shrink, size_t lo,
                        size_t hi)
{
    const size_t size = type == DT_F32 ? 4 : 2;
    vecf acc[FEW][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++)
            acc[r][t] =
                f_mul(f_load(a->acc + (size_t)r * a->ld_acc + c + t * VL), f_set(shrink[r]));
    for (size_t j = lo; j < hi; j++) {
        vecf x[4];
#pragma GCC unroll 4
        for (int t = 0; t < T; t++)
            x[t] = f_fetch(v + j * ldv * size, type, c + (size_t)t * VL, VL);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            const vecf p = f_set(a->s[r * BLOCK + j]);
#pragma GCC unroll 4
            for (int t = 0; t < T; t++) acc[r][t] = f_fma(p, x[t], acc[r][t]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) f_store(a->acc + (size_t)r * a->ld_acc + c + t * VL, acc[r][t]);
}

VEC_INLINE void few_block(const int R, const mltf_dtype type, const attn *a, const char *k,
                          size_t ldk, const char *v, size_t ldv, size_t j0, size_t keys)
{
    size_t lo, hi;
    if (!attn_block_range(a, 0, (size_t)R, j0, keys, &lo, &hi)) return;
    for (size_t j = lo / VL * VL; j < hi; j += VL) few_dot(R, type, a, k, ldk, j, keys);
    float shrink[FEW];
    for (int r = 0; r < R; r++) shrink[r] = attn_softmax_row(a, r, (size_t)r, j0, lo, hi);
    size_t c = 0;
    for (; c + 3 * VL < a->Dp; c += 4 * VL) few_mix(R, 4, type, a, v, ldv, c, shrink, lo, hi);
    for (; c < a->Dp; c += VL) few_mix(R, 1, type, a, v, ldv, c, shrink, lo, hi);
}

#define FEW_FUNCTION(R)                                                                            \
    static __attribute__((noinline)) void few_##R(mltf_dtype t, const attn *a, const char *k,      \
                                                  size_t ldk, const char *v, size_t ldv,           \
                                                  size_t j0, size_t keys)                          \
    {                                                                                              \
        if (t == DT_F32)                                                                           \
            few_block(R, DT_F32, a, k, ldk, v, ldv, j0, keys);                                     \
        else if (t == DT_BF16)                                                                     \
            few_block(R, DT_BF16, a, k, ldk, v, ldv, j0, keys);                                    \
        else                                                                                       \
            few_block(R, DT_F16, a, k, ldk, v, ldv, j0, keys);                                     \
    }
FEW_FUNCTION(1)
FEW_FUNCTION(2)
FEW_FUNCTION(3)
FEW_FUNCTION(4)

/* ---- keys and values of a block ------------------------------------------------------------------ */

/* kt[d][j] = k[j][d] for a block's keys; keys behind the last are zeros up to a whole vector. */
VEC_INLINE void attn_transpose_type(float *kt, const char *k, const mltf_dtype T, size_t ldk,
                                    size_t keys, size_t D)
{
    const size_t size = T == DT_F32 ? 4 : 2;
    for (size_t j = 0; j < keys; j += VL)
        for (size_t d = 0; d < D; d += VL) {
            vec r[VL];
            const size_t rows = at_most(VL, keys - j), cols = at_most(VL, D - d);
            if (rows == VL) {
#pragma GCC unroll 16
                for (size_t x = 0; x < VL; x++)
                    r[x] = v_from_f(f_fetch(k + (j + x) * ldk * size, T, d, D - d));
            } else {
                for (size_t x = 0; x < VL; x++)
                    r[x] = x < rows ? v_from_f(f_fetch(k + (j + x) * ldk * size, T, d, D - d))
                                    : v_zero();
            }
            v_transpose(r);
            float *to = kt + d * BLOCK + j;
            for (size_t x = 0; x < cols; x++) v_store(to + x * BLOCK, r[x]);
        }
}

static void attn_transpose(float *kt, const char *k, mltf_dtype t, size_t ldk, size_t keys,
                           size_t D)
{
    if (t == DT_F32)
        attn_transpose_type(kt, k, DT_F32, ldk, keys, D);
    else if (t == DT_BF16)
        attn_transpose_type(kt, k, DT_BF16, ldk, keys, D);
    else
        attn_transpose_type(kt, k, DT_F16, ldk, keys, D);
}

static size_t tmpl_attn_scratch(size_t Tq, size_t Tk, size_t D, size_t Dv)
{
    (void)Tk;
    const size_t Dp = whole_vectors(Dv);
    const size_t floats =
        D * BLOCK + ROWS_BIG * BLOCK + BLOCK * Dp + 2 * whole_vectors(Tq) + Tq * Dp;
    return floats * sizeof(float) + 64;
}

static void tmpl_attention(float *out, size_t ldo, const float *q, size_t ldq, const void *k,
                           size_t ldk, const void *v, size_t ldv, mltf_dtype kv, size_t Tq,
                           size_t Tk, size_t D, size_t Dv, const k_attn_opts *o, void *scratch)
{
    const size_t size = kv == DT_F32 ? 4 : 2;
    attn a = {.q = q, .ldq = ldq, .Tk = Tk, .D = D, .Dp = whole_vectors(Dv), .o = o};
    float *p = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    a.kt = p, p += D * BLOCK;
    a.s = p, p += ROWS_BIG * BLOCK;
    float *values = p; // [BLOCK, Dp], where v cannot be used as it lies there
    p += BLOCK * a.Dp;
    a.max = p, p += whole_vectors(Tq);
    a.sum = p, p += whole_vectors(Tq);
    const bool in_out = a.Dp == Dv;
    a.acc = in_out ? out : p;
    a.ld_acc = in_out ? ldo : a.Dp;

    for (size_t i = 0; i < Tq; i++) {
        a.max[i] = o->sink ? *o->sink : -INFINITY;
        a.sum[i] = o->sink ? 1.0f : 0.0f;
        for (size_t c = 0; c < a.Dp; c += VL) f_store(a.acc + i * a.ld_acc + c, f_zero());
    }
    if (o->probs)
        for (size_t i = 0; i < Tq * Tk; i++) o->probs[i] = -INFINITY;

    size_t lo = 0, hi = 0;
    if (Tq) attn_range(o, 0, Tq, Tk, &lo, &hi);
    if (Tq && o->always) lo = 0, hi = Tk;
    for (size_t j0 = lo / BLOCK * BLOCK; j0 < hi; j0 += BLOCK) {
        const size_t keys = at_most(BLOCK, hi - j0);
        size_t first, last;
        attn_find_always(&a, j0, keys);
        if (!attn_block_range(&a, 0, Tq, j0, keys, &first, &last)) continue;
        if (Tq <= FEW && in_out) {
            const char *kj = (const char *)k + j0 * ldk * size,
                       *vj = (const char *)v + j0 * ldv * size;
            if (Tq == 1)
                few_1(kv, &a, kj, ldk, vj, ldv, j0, keys);
            else if (Tq == 2)
                few_2(kv, &a, kj, ldk, vj, ldv, j0, keys);
            else if (Tq == 3)
                few_3(kv, &a, kj, ldk, vj, ldv, j0, keys);
            else
                few_4(kv, &a, kj, ldk, vj, ldv, j0, keys);
            continue;
        }
        attn_transpose(a.kt, (const char *)k + j0 * ldk * size, kv, ldk, keys, D);
        if (kv == DT_F32 && in_out) {
            a.v = (const float *)v + j0 * ldv;
            a.ldv = ldv;
        } else {
            for (size_t j = 0; j < keys; j++) {
                const char *row = (const char *)v + (j0 + j) * ldv * size;
                for (size_t c = 0; c < a.Dp; c += VL)
                    f_store(values + j * a.Dp + c, f_fetch(row, kv, c, Dv - c));
            }
            a.v = values;
            a.ldv = a.Dp;
        }
        size_t i = 0;
        for (; i + ROWS_BIG <= Tq; i += ROWS_BIG) attn_group_big(&a, i, j0, keys);
        for (; i + ROWS_SMALL <= Tq; i += ROWS_SMALL) attn_group_small(&a, i, j0, keys);
        for (; i < Tq; i++) attn_group_one(&a, i, j0, keys);
    }

    for (size_t i = 0; i < Tq; i++) {
        const float inv = a.sum[i] == 0.0f ? 0.0f : 1.0f / a.sum[i];
        const float *from = a.acc + i * a.ld_acc;
        for (size_t c = 0; c < Dv; c += VL)
            f_store_first(out + i * ldo + c, f_mul(f_load(from + c), f_set(inv)), Dv - c);
        if (!o->probs) continue;
        float *row = o->probs + i * Tk;
        const float base = a.max[i] == -INFINITY ? 0.0f : a.max[i];
        for (size_t j = 0; j < Tk; j += VL) {
            const vecf e = f_exp(f_sub(f_load_first(row + j, Tk - j), f_set(base)));
            f_store_first(row + j, f_mul(e, f_set(inv)), Tk - j);
        }
    }
}

#endif
