/* The compute kernels: what each computes, its shapes, and what its variants may differ by.
 *
 * Every row of kernel_table exists as scalar C in ref/ (the definition, -ffp-contract=off) and may be
 * overridden by a tier; dispatch.c picks the highest tier that CPU and OS offer, capped by the
 * environment: MLTF_CPU=ref|avx2|avx512|amx. Kernels are single-threaded and know no model: nn/ cuts
 * the work into pieces and hands them to the pool. Pointers need the alignment of their element only,
 * weights not even that (they lie in mapped files). Outputs never alias inputs unless said.
 *
 * Letters: M tokens (rows of activations), N outputs, K inputs, D per head.
 * A row of the output depends on that row of the input alone, and its bits do not depend on M, on the
 * piece [n0, n1) it is computed in, or on the thread count: "alone == in a batch" rests on it. */
#ifndef MLTF_KERNELS_KERNELS_H
#define MLTF_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

typedef enum { CPU_REF, CPU_AVX2, CPU_AVX512, CPU_AMX } cpu_tier;

/* Activations of a linear layer, prepared once and used by all pieces of N. */
typedef struct k_panel {
    void *p; /* scratch of pack_bytes(M, K) bytes, 64-byte aligned */
    size_t M, K;
} k_panel;

/* A weight matrix as stored: row-major [N, K], `stride` elements from row to row. For DT_Q8 and DT_Q4
 * the rows are those of quantize.h, K is a multiple of 32 and stride is K. */
typedef struct k_weight {
    const void *data;
    mltf_dtype dtype; /* F32, BF16, F16, F8_E4M3, Q8, Q4 */
    size_t N, K, stride;
} k_weight;

typedef enum { K_COMPUTE_F32, K_COMPUTE_BF16 } k_compute;

typedef enum {
    K_ACT_NONE,
    K_ACT_RELU,
    K_ACT_GELU, /* 0.5 x (1 + erf(x / sqrt 2)) */
    K_ACT_GELU_TANH, /* gelu_new, gelu_pytorch_tanh, gelu_fast: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    K_ACT_GELU_QUICK, /* x sigmoid(1.702 x) */
    K_ACT_SILU,
    K_ACT_TANH,
    K_ACT_SIGMOID,
    K_ACT_RELU2,   /* relu(x)^2 */
    K_ACT_GELU_10, /* gelu clipped to [-10, 10] */
    K_ACT_MISH,
    K_ACT_COUNT,
} k_act;

/* Keys are taken in blocks of this many. Keys that no query sees may be left off at the beginning, a whole number of
 * blocks of them with pos0 lessened by as much, and at the end: the bits stay the same (with alibi: the end must stay). */
enum { K_ATTN_BLOCK = 128 };

typedef struct k_attn_opts {
    float scale;
    bool causal; /* key j is seen by query i if j <= pos0 + i */
    size_t pos0;
    bool one_place; /* all queries stand at pos0: heads that share keys, in a decode step */
    size_t window;  /* w > 0: only keys with |pos0 + i - j| < w are seen; 0: all */
    /* [Tk] 1: the key is seen whatever the window says, not with causal; NULL: none */
    const uint8_t *always;
    float softcap;     /* c > 0: s = c tanh(s / c), before bias and masks; 0: none */
    float alibi;       /* slope: adds alibi * (j - (Tk - 1)); 0: none */
    const float *bias; /* [Tq, Tk], row stride ld_bias, added after scaling; NULL: none */
    size_t ld_bias;
    const uint8_t *key_mask; /* [Tk], 0 hides the key; NULL: all seen */
    const float *sink;       /* one extra logit in the softmax's denominator; NULL: none */
    float *probs;            /* [Tq, Tk] receives the probabilities; NULL: not wanted */
} k_attn_opts;

typedef struct kernel_table {
    cpu_tier tier;
    const char *name; /* "avx512", with what was found beside it: "avx512+bf16+vnni" */

    /* y[m, n] = sum_k x[m, k] w[n, k] + bias[n]   for n0 <= n < n1; y has row stride ldy, bias may be NULL.
     * Two steps, so that threads share the first: pack() brings x [M, K] (row stride ldx) into the form
     * that the tier's gemm wants for this weight type and compute type; rows [m0, m1) may be packed by
     * different threads. K_COMPUTE_F32: products and sums in f32 (any order; fma allowed), weights widened
     * exactly. K_COMPUTE_BF16: x may be rounded to bf16 first, and so may widened weights of Q8 and Q4; sums
     * stay f32. */
    size_t (*pack_bytes)(const k_weight *w, k_compute c, size_t M);
    void (*pack)(void *panel, const float *x, size_t ldx, const k_weight *w, k_compute c, size_t M,
                 size_t m0, size_t m1);
    void (*gemm)(float *y, size_t ldy, const void *panel, const k_weight *w, k_compute c,
                 const float *bias, size_t M, size_t n0, size_t n1);
    size_t gemm_grain; /* pieces of N should be multiples of this */

    /* Attention of one head over one sequence.
     *   out[i, :] = sum_j softmax_j(scale q[i,:]·k[j,:] + bias) v[j, :]
     * q [Tq, D] stride ldq; k [Tk, D] stride ldk; v [Tk, Dv] stride ldv; out [Tq, Dv] stride ldo. k and v are of
     * dtype kv (F32, BF16 or F16). Query i stands at position pos0 + i of the keys
     * (of those that share one place, at pos0).
     * A query that sees no key gets zeros. scratch: attn_scratch(Tq, Tk, D, Dv) bytes. */
    void (*attention)(float *out, size_t ldo, const float *q, size_t ldq, const void *k, size_t ldk,
                      const void *v, size_t ldv, mltf_dtype kv, size_t Tq, size_t Tk, size_t D,
                      size_t Dv, const k_attn_opts *opts, void *scratch);
    size_t (*attn_scratch)(size_t Tq, size_t Tk, size_t D, size_t Dv);

    /* Row-wise, x [M, N] dense; y may be x. weight or bias NULL: 1 or 0. Mean and variance in f32 by
     * pairwise or blocked sums over n (torch's own error is of the same size). */
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, size_t M,
                       size_t N, float eps);
    void (*rms_norm)(float *y, const float *x, const float *weight, float weight_offset, size_t M,
                     size_t N, float eps);
    void (*softmax)(float *x, size_t M, size_t N); /* in place, max subtracted */

    /* Element-wise. y may be x, or either operand. */
    void (*act)(float *y, const float *x, size_t n, k_act act);
    /* act_mul: act(gate) up.  widen: any float dtype to f32, exact, or one whole row of Q8 or Q4.
     * narrow: f32 to F32, BF16 or F16, to the nearest even. */
    void (*act_mul)(float *y, const float *gate, const float *up, size_t n, k_act act);
    void (*add)(float *y, const float *a, const float *b, size_t n);
    void (*widen)(float *y, const void *x, mltf_dtype dtype, size_t n);
    void (*narrow)(void *y, const float *x, mltf_dtype dtype, size_t n);

    /* One token of a recurrent state h [N, P] with row stride ld: h = decay h + k uᵀ, then y [P] = qᵀ h, summed over
     * n in its order. k [N] NULL: nothing is added, and u is not read. */
    void (*state_step)(float *y, float *h, size_t ld, float decay, const float *k, const float *u,
                       const float *q, size_t N, size_t P);
    /* The same where each entry decays at its own pace: by exp(a[n, p] dt[p]), a with row stride ld. */
    void (*scan_step)(float *y, float *h, const float *a, size_t ld, const float *dt,
                      const float *k, const float *u, const float *q, size_t N, size_t P);
} kernel_table;

/* The table of this machine; made once, thread-safe. */
const kernel_table *kernels(void);
/* For tests and benches: the table of one tier, NULL if this machine cannot run it. */
const kernel_table *kernels_of(cpu_tier tier);

#endif
