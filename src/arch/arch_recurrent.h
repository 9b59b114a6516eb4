/* Layers that keep a state, as families load them and as arch_decoder.h runs them: load the weights in the layer's
 * scope, then `l->own = …; l->mixer = …;`. */
#ifndef MLTF_ARCH_RECURRENT_H
#define MLTF_ARCH_RECURRENT_H

#include "arch/arch_decoder.h"
#include "nn/nn_recurrent.h"

enum {
    ARCH_CONV_MAX = 64,
    ARCH_STATE_MAX = 4096
}; /* rows that a convolution sees, states of a channel */

/* Mamba: in_proj, conv1d, x_proj, dt_proj, A_log, D, out_proj under `name` ("mixer"). With heads (zamba) x_proj_weight,
 * dt_proj_weight and dt_proj_bias hold those of all, and in_proj has rows of u and gate in turn. */
typedef struct mamba_plan {
    size_t inner, n, rank, width, heads; /* heads 0: the usual one */
    k_act act;
    unsigned proj, conv;                   /* NN_BIAS or NN_NO_BIAS */
    const char *dt_norm, *b_norm, *c_norm; /* rms; NULL: none */
    bool plain_norms;                      /* rms without weights, on all three */
    float eps;
} mamba_plan;
/* `key` of config.json (NULL: none), or `expand` (2 unless it says so) times the hidden size. */
size_t arch_mamba_inner(arch_config *c, const char *key, const char *expand, size_t hidden);
/* "auto": a sixteenth of the hidden size, rounded up. */
size_t arch_mamba_rank(arch_config *c, const char *key, size_t hidden);
/* The mixer of a layer that has no attention. */
void arch_mamba_layer(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                      const mamba_plan *p);

/* Mamba-2: in_proj, conv1d, dt_bias, A_log, D, norm, out_proj. */
typedef struct mamba2_plan {
    size_t inner, heads, dim, groups, n, width;
    k_act act;
    unsigned proj, conv, out; /* NN_BIAS or NN_NO_BIAS */
    float eps;
    float dt_min, dt_max;
    bool unnormed;   /* no norm behind the gate */
    bool group_norm; /* the norm takes each group by itself */
    bool norm_first; /* before the gate */
} mamba2_plan;
/* The usual keys: mamba_n_heads, mamba_d_head, mamba_n_groups, mamba_d_state, mamba_d_conv, mamba_conv_bias,
 * mamba_proj_bias, hidden_act, and the spellings of Mamba-2 itself. p->inner must be set; other defaults come in *p. */
void arch_mamba2_config(arch_config *c, mamba2_plan *p);
void arch_mamba2_load(arch_build *b, nn_mamba2_w *w, const char *name, size_t hidden,
                      const mamba2_plan *p);
/* The mixer of a layer that has no attention. */
void arch_mamba2_layer(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                       const mamba2_plan *p);

/* w stores for each of `groups` its rows of every part, parts[i] of them: the parts whole, one behind the other. */
void arch_ungroup(arch_build *b, nn_linear_w *w, size_t groups, const size_t *parts, size_t n);

/* The gated delta rule, as qwen3_next writes it: in_proj_qkvz and in_proj_ba interleaved by heads of keys. */
typedef struct delta_plan {
    size_t heads, k_heads, k_dim, v_dim, width;
    float eps;
} delta_plan;
/* linear_num_value_heads, linear_num_key_heads, linear_key_head_dim, linear_value_head_dim, linear_conv_kernel_dim */
void arch_delta_config(arch_config *c, delta_plan *p);
/* The mixer of a layer that has no attention. */
void arch_delta_layer(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                      const delta_plan *p);

#endif
