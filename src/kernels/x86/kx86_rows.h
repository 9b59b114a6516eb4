/* Norms, softmax, activations and conversions as a template over vector width; included behind a
 * kavx*_vec.h and kx86_math.h. Sums over a row run in four vectors of partial sums, in an order that
 * depends on N alone. */
#ifndef MLTF_KERNELS_KX86_ROWS_H
#define MLTF_KERNELS_KX86_ROWS_H

#include <math.h>

#include "kernels/ref/kref.h"

/* Sum over n of f(x[n]); `value` is an expression of the vector v. */
#define SUM_ROW(result, x, N, value)                                                               \
    do {                                                                                           \
        vecf s0 = f_zero(), s1 = f_zero(), s2 = f_zero(), s3 = f_zero(), v;                        \
        size_t n_ = 0;                                                                             \
        for (; n_ + 4 * VL <= (N); n_ += 4 * VL) {                                                 \
            v = f_load((x) + n_);                                                                  \
            s0 = f_add(s0, value);                                                                 \
            v = f_load((x) + n_ + VL);                                                             \
            s1 = f_add(s1, value);                                                                 \
            v = f_load((x) + n_ + 2 * VL);                                                         \
            s2 = f_add(s2, value);                                                                 \
            v = f_load((x) + n_ + 3 * VL);                                                         \
            s3 = f_add(s3, value);                                                                 \
        }                                                                                          \
        for (; n_ < (N); n_ += VL) {                                                               \
            v = f_load_first((x) + n_, (N)-n_);                                                    \
            s0 = f_add(s0, f_first_or(value, (N)-n_, 0.0f));                                       \
        }                                                                                          \
        result = f_sum(f_add(f_add(s0, s1), f_add(s2, s3)));                                       \
    } while (0)

static void tmpl_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                            size_t M, size_t N, float eps)
{
    for (size_t m = 0; m < M; m++, x += N, y += N) {
        float sum, squares;
        SUM_ROW(sum, x, N, v);
        const float mean = sum / (float)N;
        const vecf mv = f_set(mean);
        SUM_ROW(squares, x, N, f_mul(f_sub(v, mv), f_sub(v, mv)));
        const vecf inv = f_set(1.0f / sqrtf(squares / (float)N + eps));
        for (size_t n = 0; n < N; n += VL) {
            const size_t left = N - n;
            vecf v = f_mul(f_sub(f_load_first(x + n, left), mv), inv);
            if (weight) v = f_mul(v, f_load_first(weight + n, left));
            if (bias) v = f_add(v, f_load_first(bias + n, left));
            f_store_first(y + n, v, left);
        }
    }
}

static void tmpl_rms_norm(float *y, const float *x, const float *weight, float weight_offset,
                          size_t M, size_t N, float eps)
{
    for (size_t m = 0; m < M; m++, x += N, y += N) {
        float squares;
        SUM_ROW(squares, x, N, f_mul(v, v));
        const vecf inv = f_set(1.0f / sqrtf(squares / (float)N + eps)),
                   offset = f_set(weight_offset);
        for (size_t n = 0; n < N; n += VL) {
            const size_t left = N - n;
            vecf v = f_mul(f_load_first(x + n, left), inv);
            if (weight) v = f_mul(v, f_add(f_load_first(weight + n, left), offset));
            f_store_first(y + n, v, left);
        }
    }
}

static float row_max(const float *x, size_t N)
{
    vecf m = f_set(-INFINITY);
    for (size_t n = 0; n < N; n += VL)
        m = f_max(m, f_first_or(f_load_first(x + n, N - n), N - n, -INFINITY));
    return f_largest(m);
}

static void tmpl_softmax(float *x, size_t M, size_t N)
{
    for (size_t m = 0; m < M; m++, x += N) {
        const vecf max = f_set(row_max(x, N));
        for (size_t n = 0; n < N; n += VL) {
            const vecf v = f_exp(f_sub(f_load_first(x + n, N - n), max));
            f_store_first(x + n, v, N - n);
        }
        float sum;
        SUM_ROW(sum, x, N, v);
        const vecf inv = f_set(1.0f / sum);
        for (size_t n = 0; n < N; n += VL)
            f_store_first(x + n, f_mul(f_load_first(x + n, N - n), inv), N - n);
    }
}

#define ACT_ROWS(X)                                                                                \
    X(K_ACT_RELU)                                                                                  \
    X(K_ACT_GELU)                                                                                  \
    X(K_ACT_GELU_TANH)                                                                             \
    X(K_ACT_GELU_QUICK)                                                                            \
    X(K_ACT_SILU)                                                                                  \
    X(K_ACT_TANH)                                                                                  \
    X(K_ACT_SIGMOID)                                                                               \
    X(K_ACT_RELU2)                                                                                 \
    X(K_ACT_GELU_10)                                                                               \
    X(K_ACT_MISH)

static void tmpl_act(float *y, const float *x, size_t n, k_act act)
{
    switch (act) {
#define ACT_CASE(A)                                                                                \
    case A:                                                                                        \
        for (size_t i = 0; i < n; i += VL)                                                         \
            f_store_first(y + i, f_act(f_load_first(x + i, n - i), A), n - i);                     \
        return;
        ACT_ROWS(ACT_CASE)
    case K_ACT_NONE:
    case K_ACT_COUNT:
        break;
    }
    for (size_t i = 0; i < n; i++) y[i] = x[i];
}

static void tmpl_act_mul(float *y, const float *gate, const float *up, size_t n, k_act act)
{
    switch (act) {
#define ACT_MUL_CASE(A)                                                                            \
    case A:                                                                                        \
        for (size_t i = 0; i < n; i += VL)                                                         \
            f_store_first(                                                                         \
                y + i,                                                                             \
                f_mul(f_act(f_load_first(gate + i, n - i), A), f_load_first(up + i, n - i)),       \
                n - i);                                                                            \
        return;
        ACT_ROWS(ACT_MUL_CASE)
    case K_ACT_NONE:
    case K_ACT_COUNT:
        break;
    }
    for (size_t i = 0; i < n; i++) y[i] = gate[i] * up[i];
}

static void tmpl_add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        f_store_first(y + i, f_add(f_load_first(a + i, n - i), f_load_first(b + i, n - i)), n - i);
}

static void tmpl_widen(float *y, const void *x, mltf_dtype dtype, size_t n)
{
    switch (dtype) {
#define WIDEN_CASE(T)                                                                              \
    case T:                                                                                        \
        for (size_t i = 0; i < n; i += VL) f_store_first(y + i, f_fetch(x, T, i, n - i), n - i);   \
        return;
        WIDEN_CASE(DT_BF16)
        WIDEN_CASE(DT_F16)
        WIDEN_CASE(DT_F8_E4M3)
        WIDEN_CASE(DT_Q8)
        WIDEN_CASE(DT_Q4)
    default:
        kref_widen(y, x, dtype, n);
    }
}

static void tmpl_narrow(void *y, const float *x, mltf_dtype dtype, size_t n)
{
    char *p = y;
    if (dtype == DT_F32)
        memmove(y, x, n * 4);
    else if (dtype == DT_BF16)
        for (size_t i = 0; i < n; i += VL)
            bf16_store_first(p + i * 2, f_load_first(x + i, n - i), n - i);
    else
        for (size_t i = 0; i < n; i += VL)
            f16_store_first(p + i * 2, f_load_first(x + i, n - i), n - i);
}

static void tmpl_rows_init(kernel_table *t)
{
    t->layer_norm = tmpl_layer_norm;
    t->rms_norm = tmpl_rms_norm;
    t->softmax = tmpl_softmax;
    t->act = tmpl_act;
    t->act_mul = tmpl_act_mul;
    t->add = tmpl_add;
    t->widen = tmpl_widen;
    t->narrow = tmpl_narrow;
}

#endif
