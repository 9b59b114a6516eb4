/* Layers that read a text from left to right and keep a state of one size instead of keys and values.
 *
 * Each sequence's state lies in its cache (nn_cache_shape.state floats, all layers one behind the other); without a
 * cache it begins with zeros and is forgotten. Tokens are taken one after the other, whether they come in one pass
 * or in many, so that the bits are the same. Where seqs->key_mask hides a row, the row enters as zeros.
 *
 * The loaders count what they need into *state, which is b->m->cache_shape.state. */
#ifndef MLTF_NN_NN_RECURRENT_H
#define MLTF_NN_NN_RECURRENT_H

#include "nn/nn.h"
#include "nn/nn_load.h"

/* Floats [at, at + n) of the state of each sequence, to be changed in place: [seqs->n] pointers in scratch. */
float **nn_states(nn_ctx *cx, const nn_seqs *seqs, size_t at, size_t n);
/* Rows of x [T, n] (row stride ld) that the mask hides become zeros. */
void nn_mask_rows(nn_ctx *cx, float *x, size_t ld, size_t n, const nn_seqs *seqs);
/* x [T, n] itself where nothing is hidden, else a masked copy in scratch. */
const float *nn_masked(nn_ctx *cx, const float *x, size_t n, const nn_seqs *seqs);
/* log(1 + e^x), x itself above 20, as torch has it; and of n values in place. */
float nn_softplus1(float x);
void nn_softplus(nn_ctx *cx, float *y, size_t n);

/* ------------------------------------------------------------------ convolution along the text, channel by channel */

typedef struct nn_conv_w {
    size_t channels, width;
    const float *taps; /* [width, channels], the row's own last */
    const float *bias; /* [channels] or NULL */
    k_act act;         /* of what comes out */
    size_t state;      /* where its width - 1 last rows lie */
} nn_conv_w;

/* name.weight [channels, 1, width] and name.bias. */
void nn_conv_load(nn_loader *ld, nn_conv_w *w, const char *name, size_t channels, size_t width,
                  k_act act, unsigned flags, size_t *state);
/* y [T, C] = act(convolution of x [T, C] (row stride ldx)). */
void nn_causal_conv(nn_ctx *cx, float *y, const float *x, size_t ldx, const nn_conv_w *w,
                    const nn_seqs *seqs);
/* The same for the n rows of one sequence, without act: before [width - 1, C] are the rows in front of them. */
void nn_conv_rows(float *y, const float *x, size_t ldx, const float *before, const nn_conv_w *w,
                  size_t n);

/* ------------------------------------------------------------------ selective state spaces */

/* Mamba (Gu and Dao 2023, arXiv:2312.00752): each of I channels has N states of its own.
 *
 *   [u | gate] = in x;  u = act(conv u);  [dt | B | C] = x_proj u, each normed if there are norms;
 *   dt = softplus(dt_proj dt);  h = exp(a dt) h + dt B u;  y = out((C h + d u) act(gate))
 *
 * With several heads (zamba) each has I / heads channels, an x_proj and a dt_proj of its own, and no norms. */
typedef struct nn_mamba_w {
    size_t inner, n, rank, heads; /* I, N, inputs of dt_proj */
    nn_linear_w in, out;
    nn_linear_w *x_proj, *dt_proj; /* [heads] */
    nn_conv_w conv;
    nn_norm_w dt_norm, b_norm, c_norm; /* kind NONE: none */
    const float *a, *d;                /* [N, I] negative, [I] */
    k_act act;
    size_t state;
} nn_mamba_w;
void nn_mamba(nn_ctx *cx, float *y, const float *x, const nn_mamba_w *w, const nn_seqs *seqs);

/* Mamba-2 (Dao and Gu 2024, arXiv:2405.21060): heads of P channels, which share one decay, and groups of heads, which
 * share B and C.
 *
 *   [gate | u | B | C | dt] = in x;  [u | B | C] = act(conv [u | B | C])
 *   dt = softplus(dt + dt_bias) in its bounds;  h = exp(a dt) h + dt B u;  y = out(norm((C h + d u) silu(gate))) */
typedef struct nn_mamba2_w {
    size_t heads, dim, groups, n; /* P is dim, N states of a channel */
    nn_linear_w in, out;
    nn_conv_w conv;
    const float *a, *d, *dt_bias; /* [heads], a negative */
    float dt_min, dt_max;
    nn_norm_w norm; /* of [heads * dim], or of each part of it in turn; kind NONE: none */
    bool norm_first;
    size_t state;
} nn_mamba2_w;
void nn_mamba2(nn_ctx *cx, float *y, const float *x, const nn_mamba2_w *w, const nn_seqs *seqs);

/* ------------------------------------------------------------------ real-gated linear recurrence */

/* Griffin (De et al. 2024, arXiv:2402.19427): width channels, whose gates are linear layers on blocks of them.
 *
 *   u = conv(in x);  a = exp(decay sigmoid(forget u));  h = a h + sqrt(1 - a²) u sigmoid(take u)
 *   y = out(h act(gate x)); at position 0 the state is forgotten: h = u sigmoid(take u) */
typedef struct nn_lru_w {
    size_t width, blocks;
    nn_linear_w in, gate, out;
    const nn_linear_w *take, *forget; /* [blocks] [width / blocks, width / blocks] */
    nn_conv_w conv;
    const float *decay; /* [width] negative */
    k_act act;
    size_t state;
} nn_lru_w;
void nn_lru(nn_ctx *cx, float *y, const float *x, const nn_lru_w *w, const nn_seqs *seqs);

/* ------------------------------------------------------------------ gated delta rule */

/* Yang et al. 2024, arXiv:2412.06464: each of `heads` has a matrix S [k_dim, v_dim]; k_heads share q and k evenly.
 *
 *   [q | k | v | z] = in x;  [b | a] = rates x;  [q | k | v] = silu(conv [q | k | v]);  q, k of length 1, q / sqrt(k_dim)
 *   S = exp(decay softplus(a + dt_bias)) S;  S += k sigmoid(b) (v - kᵀ S)ᵀ;  y = out(norm(qᵀ S) silu(z)) */
enum { NN_DELTA_DIM_MAX = 1024 };
typedef struct nn_delta_w {
    size_t heads, k_heads, k_dim, v_dim; /* dims at most NN_DELTA_DIM_MAX */
    nn_linear_w in, rates, out;
    nn_conv_w conv;
    const float *decay, *dt_bias; /* [heads], decay negative */
    nn_norm_w norm;               /* of each head */
    size_t state;
} nn_delta_w;
void nn_delta(nn_ctx *cx, float *y, const float *x, const nn_delta_w *w, const nn_seqs *seqs);

/* ------------------------------------------------------------------ lightning attention */

/* Qin et al. 2024, arXiv:2401.04658: each head has a matrix S [D, D] that fades by its slope.
 *
 *   [q | k | v] of each head = act(qkv x);  S = e^-slope S + k vᵀ;  y = out(norm(qᵀ S) sigmoid(gate x))
 *
 * The first pass of a sequence goes by blocks, in which powers of the decay are read from tables: checkpoints store
 * them, rounded. */
typedef struct nn_lightning_w {
    size_t heads, dim, block;
    float pace; /* the slopes' own factor, of this layer */
    k_act act;
    nn_linear_w qkv, gate, out; /* [heads 3 D, H], [heads D, H], [H, heads D] */
    nn_norm_w norm;
    const float *slope;                   /* [heads] */
    const float *query_decay, *key_decay; /* [heads, block] */
    const float *pair_decay;              /* [heads, block, block] */
    size_t state;
} nn_lightning_w;
/* qkv_proj, output_gate, out_proj, norm and the tables, after the first five fields are set. */
void nn_lightning_load(nn_loader *ld, nn_lightning_w *w, size_t hidden, size_t *state);
void nn_lightning(nn_ctx *cx, float *y, const float *x, const nn_lightning_w *w,
                  const nn_seqs *seqs);

#endif
