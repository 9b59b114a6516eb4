/* Latent attention, which deepseek and longcat_flash share: keys and values of all heads come from one narrow row.
 *
 *   q = q_b(norm(q_a x)), or one projection;  [latent | k_rot] = kv_a x
 *   [k_pass | v] of each head = kv_b(norm(latent));  k = [k_pass | rope(k_rot), the same for all heads]
 *
 * The pass part stands before the rotated one; values are narrower than keys; the norms of the latents have an epsilon of
 * their own (1e-6). The cache holds keys and values, not latents. */
#ifndef MLTF_ARCH_MLA_H
#define MLTF_ARCH_MLA_H

#include "arch/arch_decoder.h"

typedef struct mla_dims {
    /* q_lora_rank (0: none), kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim */
    size_t q_rank, kv_rank, pass, rot, v;
} mla_dims;

typedef struct mla_w {
    mla_dims dims;
    nn_linear_w q, q_a, q_b, kv_a, kv_b, o; /* [heads (pass + rot), H] … [H, heads v] */
    nn_norm_w q_norm, kv_norm;
    float q_scale, kv_scale; /* of the queries, and of the normed latent; 0: 1 */
} mla_w;

/* The dims' keys, and what of them the decoder has to know: its heads and its attention. */
mla_dims arch_mla_config(arch_config *c, arch_decoder *d);
/* 1 / sqrt of a head's width; with yarn times mscale squared, if `stretched` or in the words of transformers 5.x. */
float arch_mla_scale(const arch_config *c, const arch_decoder *d, bool stretched);
/* q_a_proj … o_proj under `name` ("self_attn") in the loader's scope, as a layer's `own`. */
mla_w *arch_mla_load(arch_build *b, const arch_decoder *d, const char *name, const mla_dims *dims,
                     unsigned bias);
/* An arch_decoder's `attention`. */
void arch_mla_attention(arch_run *r, float *y, const float *x, const decoder_layer *layer,
                        const nn_attn *a, const nn_rope_rows *rope, size_t il);

#endif
