/* The usual encoder layer, normed after each half (BERT's):
 *
 *   x = attn_norm(x + attention(x));  x = mlp_norm(x + mlp(x))
 *
 * A family with projections of its own computes the attention itself and calls the second function. */
#ifndef MLTF_ARCH_ENCODER_H
#define MLTF_ARCH_ENCODER_H

#include "arch/arch_internal.h"

typedef struct encoder_layer {
    nn_attn_w attn;      /* q k v o [H, H] */
    nn_norm_w attn_norm; /* [H] */
    nn_mlp_w mlp;        /* up [F, H], down [H, F]; with gate [F, H]: gated */
    nn_norm_w mlp_norm;  /* [H] */
} encoder_layer;

typedef struct encoder_layer_names {
    const char *q, *k, *v, *o; /* q NULL: the family loads its projections; o NULL: that one too */
    const char *attn_norm, *up, *down, *mlp_norm;
} encoder_layer_names;
extern const encoder_layer_names bert_layer_names;

typedef struct encoder_sizes {
    size_t hidden, ffn;
    float eps;
    k_act act;
} encoder_sizes;

/* From the loader's scope. */
void arch_encoder_layer_load(nn_loader *ld, encoder_layer *l, const encoder_layer_names *names,
                             const encoder_sizes *s);
/* x [T, H], in place. rope may be NULL. */
void arch_encoder_layer_forward(arch_run *r, float *x, const encoder_layer *w, const nn_attn *attn,
                                const nn_rope_rows *rope, size_t il);
/* What follows the attention: y [T, H] is what it gave, and is written over. */
void arch_encoder_layer_finish(arch_run *r, float *x, float *y, const encoder_layer *w, size_t H,
                               size_t il);

#endif
