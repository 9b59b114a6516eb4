/* The usual decoder: what a family fills in, and the one forward pass that runs it.
 *
 *   ids ─ embedding (+ position) (norm) ─┐
 *   ┌────────────────────────────────────┘
 *   └─ n x [ x += post1(attention(norm1 x));  x += post2(mlp(norm2 x)) ] ─ norm ─ head
 *
 * The fields below are the ways in which families differ; all of them zero is the llama block. A family
 * whose block cannot be said with them writes its own forward. */
#ifndef MLTF_ARCH_DECODER_H
#define MLTF_ARCH_DECODER_H

#include "arch/arch_internal.h"

typedef struct decoder_layer {
    nn_norm_w norm1, norm2; /* before attention and mlp; kind NONE: none */
    nn_norm_w post1, post2; /* on what attention and mlp gave, before it is added */
    nn_attn_w attn;
    nn_mlp_w mlp;
    nn_moe_w moe; /* n > 0: instead of mlp; neither: the layer ends with its attention */
    /* of a decoder beside an encoder: x += cross(cross_norm x) behind attention */
    nn_norm_w cross_norm;
    nn_attn_w cross;     /* absent: none */
    const nn_rope *rope; /* NULL: this layer does not rotate */
    size_t window;       /* 0: none */
    const float *sinks;  /* [heads] or NULL */
    float scale;         /* of the scores; 0: the decoder's */
    /* [H] of x before attention's part, and mlp's, is added; NULL: ones */
    const float *residual1, *residual2;
    float part1, part2; /* of what attention, and mlp, adds; 0: the decoder's residual_scale */
    const void *own;    /* weights that only the decoder's own `attention`, or `mixer`, knows */
    /* instead of attention: y = mixer(x), which keeps a state and no keys (arch_recurrent.h); NULL: attention */
    void (*mixer)(arch_run *r, float *y, const float *x, const struct decoder_layer *w);
    bool keyless; /* the cache keeps no keys of this layer */
} decoder_layer;

typedef struct arch_decoder {
    size_t hidden, n_layers, heads, kv_heads, head_dim, v_dim, vocab; /* v_dim 0: head_dim */
    size_t max_positions;                                             /* 0: no bound */
    float scale;          /* of the scores; 0: 1/sqrt(head_dim) */
    float softcap;        /* of the scores; 0: none */
    float embed_scale;    /* 0: 1 */
    float residual_scale; /* of what is added to x; 0: 1 */
    const float *alibi;   /* [heads] slopes or NULL */
    nn_bias_fn bias; /* any other bias of the scores, bias_user is the arch_decoder; NULL: none */
    bool both_ways;  /* a token sees what follows it as well: an encoder (embeddinggemma) */
    bool parallel;   /* x += attention(norm1 x) + mlp(norm2 x), norm2 absent: norm1 x */
    bool post_norm;  /* x = norm1(x + attention(x)); x = norm2(x + mlp(x)) (opt-350m) */
    bool residual_of_norm; /* attention and mlp are added to the norm's output (bloom's option) */
    /* instead of nn_self_attention: y = attention(x) with projections of its own (deepseek); NULL: the usual */
    void (*attention)(arch_run *r, float *y, const float *x, const decoder_layer *w,
                      const nn_attn *a, const nn_rope_rows *rope, size_t il);
    /* all hidden states are those behind each layer, then the normed ones (mamba) */
    bool input_unseen;
    bool norm_unseen; /* the last of all hidden states is the one before `norm` (biogpt) */
    nn_embed_w words;
    nn_embed_w positions; /* learned; absent: none */
    bool sines;           /* positions are sines, of any length (xglm) */
    /* type ids, if the tokenizer gives them, are looked up in `words` (gpt2) */
    bool types_are_words;
    size_t position_offset;              /* opt, xglm: rows before position 0 */
    nn_linear_w project_in, project_out; /* where the embedding is narrower than the body */
    nn_norm_w embed_norm, norm;
    nn_rope rope, rope_local;
    decoder_layer *layers;
    arch_heads heads_w;
} arch_decoder;

/* The llama block as tables: with them a family that differs by names and fields alone is a page long. Call
 * arch_decoder_new(), arch_decoder_rope() and arch_decoder_layers() first, set what differs from layer to layer
 * (window, rope), then arch_decoder_load(), which ends with arch_decoder_done(). */
typedef struct experts_plan {
    size_t n, top_k, groups, top_groups, ffn, shared; /* shared: how many experts wide; 0: none */
    size_t idle; /* so many more behind them give back what they are given */
    k_act act;
    float scale;
    nn_moe_scores scores;
    bool normalize, group_by_max;
    const char *router, *shared_name; /* NULL: mlp.gate, mlp.shared_experts */
    bool correction;                  /* mlp.gate.e_score_correction_bias counts for the choice */
    unsigned bias;
} experts_plan;
/* deepseek's keys: n_routed_experts, num_experts_per_tok, n_group, topk_group, n_shared_experts,
 * moe_intermediate_size, routed_scaling_factor, norm_topk_prob. Defaults come in *p. */
void arch_decoder_experts_config(arch_config *c, experts_plan *p);
/* mlp.gate, mlp.experts.N and mlp.shared_experts, as deepseek names them. */
void arch_decoder_experts_load(arch_build *b, nn_moe_w *m, size_t hidden, const experts_plan *p);

/* Tensor names, those above `q` in the base model's scope, the others in a layer's. NULL: the name that stands behind. */
typedef struct decoder_names {
    const char *words;     /* embed_tokens */
    const char *positions; /* none: positions are not looked up */
    const char *norm;      /* norm; behind the last layer, unless d->post_norm */
    const char *layers;    /* layers */
    const char *head;      /* lm_head, in no scope */
    const char *q, *k, *v; /* self_attn.q_proj, self_attn.k_proj, self_attn.v_proj */
    const char *qkv;       /* none: q, k and v are three */
    const char *o;         /* self_attn.o_proj|self_attn.dense */
    const char *up, *down; /* of an mlp without gate: mlp.up_proj, mlp.down_proj */
} decoder_names;

typedef struct decoder_plan {
    size_t ffn;
    k_act act;
    float eps;
    unsigned qkv, o, mlp, lm_head; /* NN_BIAS or NN_NO_BIAS, NN_CONV1D */
    const decoder_names *names;    /* NULL: llama's */
    nn_qkv_layout layout;          /* of names->qkv */
    bool ungated;                  /* down(act(up x)) */
    bool gate_with_up;             /* one matrix, mlp.gate_up_proj, gate first */
    nn_norm_kind norms;            /* of all norms; NONE: rms */
    unsigned norm_flags;           /* NN_BIAS, for layer norms */
    float norm_offset;             /* 1: they multiply by weight + 1 (gemma) */
    /* norms in a layer; NULL: none. All four NULL: input_layernorm and post_attention_layernorm before. */
    const char *norm1, *norm2, *post1, *post2;
    const char *q_norm, *k_norm;  /* of each head; NULL: none */
    bool row_norms;               /* they are of all heads as one row */
    bool tied;                    /* tie_word_embeddings where config.json is silent */
    float logit_scale, logit_cap; /* of the LM head; 0: none */
    const experts_plan *experts;  /* instead of the mlp from layer dense_layers on; NULL: none */
    size_t dense_layers;
    size_t sparse_step, sparse_end; /* every so many layers, before this one; 0: all */
} decoder_plan;
/* Weights of a layer that the plan cannot name are loaded, or sorted, after this returned MLTF_OK; then the family's load
 * ends with arch_build_ok(). */
mltf_status arch_decoder_load(arch_build *b, arch_decoder *d, const decoder_plan *p, mltf_err *err);

extern const decoder_names arch_decoder_gpt2_names;
/* The plan of GPT-2 and its kin, before a family says where it differs: layer norms, an mlp without gate, biases in all
 * but the head, which is tied. */
decoder_plan arch_decoder_gpt_plan(const decoder_names *names, size_t ffn, k_act act, float eps);
/* The plan of fairseq's decoders: layers.N.self_attn.q_proj … out_proj, fc1, fc2 and norms before both halves, all with
 * bias, and no table of positions. */
decoder_plan arch_decoder_fairseq_plan(size_t ffn, k_act act);

/* d->rope over whole heads, from config.json; theta and max_positions are the class's own where it is silent. */
void arch_decoder_rope(arch_build *b, arch_decoder *d, float theta, size_t max_positions);
/* The same over a part of each head: partial_rotary_factor, or `part` where config.json is silent. */
void arch_decoder_rope_part(arch_build *b, arch_decoder *d, double part, float theta,
                            size_t max_positions);
/* Allocate d->layers, each rotating with d->rope if that is set, after d->n_layers is known. */
mltf_status arch_decoder_layers(arch_build *b, arch_decoder *d, mltf_err *err);
/* info, cache shape and impl of the model; call at the end of load. */
mltf_status arch_decoder_done(arch_build *b, arch_decoder *d, mltf_err *err);
/* The forward of the family: r->impl is the arch_decoder. */
void arch_decoder_forward(arch_run *r);
/* The `remember` of families whose layers have a cross attention. */
void arch_decoder_remember(arch_run *r, const float *x);

/* The usual keys: hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
 * vocab_size, and the spellings of GPT-2's descendants (n_embd, n_layer, n_head). Defaults come in *d.
 * kv_heads 0: as many as heads; head_dim 0: hidden / heads. */
void arch_decoder_config(arch_config *c, arch_decoder *d);
/* After it, for families whose heads, as many of keys as of queries, share the hidden size evenly. */
void arch_decoder_even(arch_config *c, arch_decoder *d);
/* A decoder of the model's arena, by arch_decoder_config() from the class's defaults. NULL where memory is short; that
 * and what is wrong with the configuration is the status of arch_build_ok(), which is due before *d is used. */
arch_decoder *arch_decoder_new(arch_build *b, const arch_decoder *defaults);
/* q_proj, k_proj, v_proj, o_proj under the scope's "self_attn.". */
void arch_decoder_attn_load(nn_loader *ld, nn_attn_w *a, const arch_decoder *d, unsigned qkv_flags,
                            unsigned o_flags);
/* gate_proj, up_proj, down_proj under `name` ("mlp"). */
void arch_decoder_mlp_load(nn_loader *ld, nn_mlp_w *m, const char *name, size_t hidden, size_t ffn,
                           k_act act, unsigned flags);
/* The same of w1, w3, w2. */
void arch_decoder_mlp_w_load(nn_loader *ld, nn_mlp_w *m, const char *name, size_t hidden,
                             size_t ffn, k_act act, unsigned flags);
/* m->n experts that lie in two stacked tensors (full names): `in` [n, 2 ffn, hidden], gate above up, and `out` [n, hidden,
 * ffn]; with NN_CONV1D their last two dimensions are the other way round. */
void arch_stacked_experts_load(arch_build *b, nn_moe_w *m, const char *in, const char *out,
                               size_t hidden, size_t ffn, k_act act, unsigned flags);
/* m->n experts as mixtral names them: block_sparse_moe.gate, block_sparse_moe.experts.N.w1, w3 and w2. */
void arch_sparse_moe_load(arch_build *b, nn_moe_w *m, size_t hidden, size_t ffn, k_act act);
/* sliding_window where use_sliding_window (default `used`) lets it count; 0: none. */
size_t arch_decoder_window(arch_config *c, bool used, size_t fallback);

#endif
