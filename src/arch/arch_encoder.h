/* BERT's encoder: what a family fills in, and the one forward pass that runs it.
 *
 *   ids ─ norm(word + position + type embeddings) ─ (projection) ─┐
 *   ┌─────────────────────────────────────────────────────────────┘
 *   └─ n x [ x = attn_norm(x + attention(x));  x = mlp_norm(x + mlp(x)) ] ─ (norm) ─ heads
 *
 * The fields of arch_encoder are the ways in which families differ; all of them zero is BERT. A family that needs
 * weights of its own makes arch_encoder the first member of its struct; one whose block cannot be said with these
 * fields takes the parts it can use and writes its own forward (albert, longformer, squeezebert). */
#ifndef MLTF_ARCH_ENCODER_H
#define MLTF_ARCH_ENCODER_H

#include "arch/arch_internal.h"

typedef struct encoder_config {
    size_t hidden, layers, heads, ffn;
    size_t vocab, positions, types; /* rows of the tables; positions, types 0: none */
    size_t embed;                   /* width of the tables */
    k_act act;
    float eps;
} encoder_config;

typedef struct encoder_embed {
    nn_embed_w words, positions, types; /* [V, E], [P, E], [types, E]; absent: none */
    nn_embed_w everywhere;              /* row 0 is added to all (ernie's task); absent: none */
    nn_norm_w norm;                     /* [E]; kind NONE: none */
    bool no_norm;
    bool types_last; /* positions are added before types: another last bit than the other way */
} encoder_embed;

typedef struct encoder_layer {
    nn_attn_w attn;      /* q k v o [H, H] */
    nn_norm_w attn_norm; /* [H] */
    nn_mlp_w mlp;        /* up [F, H], down [H, F]; with gate [F, H]: gated */
    nn_norm_w mlp_norm;  /* [H] */
    nn_attn_w cross; /* q k v o [H, H] of a decoder that reads an encoder's states; absent: none */
    nn_norm_w cross_norm;
    const void *own; /* weights that only the encoder's own `attention` or `behind_mlp` knows */
} encoder_layer;

typedef struct arch_encoder {
    encoder_config cfg;
    encoder_embed embed;
    nn_linear_w project;   /* [H, E] behind the embedding; absent: none */
    encoder_layer *layers; /* [layers] */
    nn_norm_w norm;        /* [H] behind the last layer; kind NONE: none */
    arch_heads heads;
    /* instead of nn_self_attention: y = attention(x), y may be x; NULL: the usual */
    void (*attention)(arch_run *r, float *y, const float *x, const encoder_layer *w,
                      const nn_attn *a, size_t il);
    /* x in place, what mlp gave is added and not normed yet; NULL: nothing */
    void (*behind_mlp)(arch_run *r, float *x, const encoder_layer *w);
    bool pre_norm;          /* x += attention(attn_norm x);  x += mlp(mlp_norm x) */
    size_t position_offset; /* rows of the table before position 0, counted in cfg.positions */
    bool norm_unseen;       /* the last of all hidden states is the one before `norm` */
    bool causal;            /* is_decoder */
    bool counts_padding;    /* positions count what is not padding, from pad + 1 (roberta) */
    /* also in generation, where the library gives others positions from 0 */
    bool counts_padding_always;
    int64_t pad;
    nn_rope rope;   /* inv_freq NULL: none */
    size_t n_sines; /* P */
    /* [P, D] sines, then cosines that turn q and k instead (roformer); NULL: none */
    const float *sines;
} arch_encoder;

typedef struct encoder_layer_names {
    const char *q, *k, *v, *o; /* q NULL: the family loads its projections; o NULL: that one too */
    const char *attn_norm, *up, *down, *mlp_norm; /* up NULL: the family loads up and down */
} encoder_layer_names;
extern const encoder_layer_names bert_layer_names;

/* ------------------------------------------------------------------ loading */

/* BERT's keys: hidden_size, num_hidden_layers, … layer_norm_eps. Defaults come in *o, BERT's where it has 0. */
void arch_encoder_config(arch_config *c, encoder_config *o);
/* Refuses every position_embedding_type but "absolute". */
void arch_encoder_absolute(arch_config *c);
/* word_embeddings, position_embeddings, token_type_embeddings and LayerNorm, from the loader's scope. */
void arch_encoder_embed_load(nn_loader *ld, encoder_embed *e, const encoder_config *c);
/* From the loader's scope. */
void arch_encoder_layer_load(nn_loader *ld, encoder_layer *l, const encoder_layer_names *names,
                             const encoder_config *c);
/* Allocate e->layers and load them from "where.0.", "where.1." … of the base model. */
void arch_encoder_layers_load(arch_build *b, arch_encoder *e, const char *where,
                              const encoder_layer_names *names);
/* BERT's heads (cls.predictions, qa_outputs, classifier on the pooler), roberta's (lm_head, classifier.dense) and
 * electra's (generator_predictions, classifier.dense): to be changed where a family differs. */
arch_encoder_names arch_bert_heads(const encoder_config *c);
arch_encoder_names arch_roberta_heads(const arch_build *b, const encoder_config *c);
arch_encoder_names arch_electra_heads(const encoder_config *c);
/* The tensors of nystromformer and yoso, once e->cfg is read: BERT's, with classifier.dense and pre_classifier for a pooler,
 * and attention.self.conv of each layer as its `own` [heads, kernel], a convolution of the values of each head along the
 * text; kernel 0: there is none. */
void arch_encoder_poolerless_load(arch_build *b, arch_encoder *e, size_t kernel);
/* The last line of load: positions that roberta's way of counting leaves, the cache of a decoder, arch_done(). */
mltf_status arch_encoder_done(arch_build *b, arch_encoder *e, mltf_err *err);

/* ------------------------------------------------------------------ running */

/* The forward of the family: r->impl begins with an arch_encoder. */
void arch_encoder_forward(arch_run *r);
/* The same with other attention than arch_encoder_attn() says. */
void arch_encoder_run(arch_run *r, const nn_attn *attn);
nn_attn arch_encoder_attn(const arch_encoder *e);

/* The `remember` of families whose layers can be a decoder beside another encoder: bert, roberta, electra. */
void arch_encoder_remember(arch_run *r, const float *x);

/* The embedding's lines alone: [T, E] by r->seqs.pos. */
float *arch_encoder_embed(arch_run *r, const encoder_embed *e);
/* x [T, H], in place. rope may be NULL. */
void arch_encoder_layer_forward(arch_run *r, float *x, const encoder_layer *w, const nn_attn *attn,
                                const nn_rope_rows *rope, size_t il);
/* What follows the attention: y [T, H] is what it gave, and is written over. */
void arch_encoder_layer_finish(arch_run *r, float *x, float *y, const encoder_layer *w, size_t il);

#endif
