/* T5's two stacks: what a family with another attention or mlp fills in, and the load and forward they share.
 *
 * A family's load makes a t5_model, says in `t5_kind` how it differs, and ends with arch_t5_load(); forward and encode
 * are arch_t5_forward() and arch_t5_encode(). */
#ifndef MLTF_ARCH_T5_H
#define MLTF_ARCH_T5_H

#include "arch/arch_internal.h"

typedef struct t5_layer {
    nn_norm_w norm1, norm2, norm3; // self, cross (decoder), mlp
    nn_attn_w attn, cross;         // q k v [heads D, H], o [H, heads D]
    nn_mlp_w mlp;
    nn_moe_w moe;      // n > 0: instead of mlp
    const float *bias; // [buckets, heads]; NULL: the first layer's
    const void *own;   // weights that only the family's own attention knows
} t5_layer;

typedef struct t5_stack {
    t5_layer *layers;
    size_t n;
    nn_norm_w norm;
    bool causal;
} t5_stack;

typedef struct t5_config {
    size_t hidden, ffn, heads, head_dim, vocab; // d_model, d_ff, num_heads, d_kv, vocab_size
    size_t encoder_layers, decoder_layers;      // num_layers, num_decoder_layers
    size_t buckets, max_distance; // relative_attention_num_buckets, relative_attention_max_distance
    float eps;                    // layer_norm_epsilon
    bool gated;                   // feed_forward_proj: "relu", "gated-gelu", …
    k_act act;
    bool tied;
    bool decoder; // false: …EncoderModel, T5ForTokenClassification
    int64_t start, eos;
} t5_config;

/* How a family differs from t5; all of it zero is t5. */
typedef struct t5_kind {
    const char *self;     // name of the encoder's attention; NULL: "SelfAttention"
    size_t window;        // of the encoder's rows, their own counted; 0: none
    bool bias_each_layer; // umt5
    /* instead of the encoder's nn_self_attention; the bias of distances is in attn->rel */
    void (*attention)(arch_run *r, float *y, const float *x, const t5_layer *w, const nn_attn *attn,
                      size_t il);
    /* its weights, from the scope of the encoder's layer */
    void (*load)(arch_build *b, t5_layer *l, const t5_config *c, size_t il);
    const char *mlp; // NULL: "DenseReluDense"
    /* experts: how many, how many rows of a sequence each takes, in every how many layers of each side */
    size_t experts, capacity, encoder_step, decoder_step;
    bool router_bias;
} t5_kind;

typedef struct t5_model {
    t5_config cfg;
    t5_kind kind;
    nn_embed_w words; // [V, H]
    t5_stack encoder, decoder;
    arch_heads heads;
} t5_model;

/* config.json into m->cfg. `first`: mt5 and t5 have other defaults. */
void arch_t5_config(arch_config *c, t5_model *m, bool first);
/* The tensors, after the config; ends with arch_done(). */
mltf_status arch_t5_load(arch_build *b, t5_model *m, mltf_err *err);
void arch_t5_forward(arch_run *r);
void arch_t5_encode(arch_run *r);

#endif
