/* Making a config.json of a GGUF file's settings: what the families' files share. */
#ifndef MLTF_CONVERT_CONVERT_CONFIG_H
#define MLTF_CONVERT_CONVERT_CONFIG_H

#include "convert/convert_gguf.h"

struct convert_config {
    const gguf_file *g;
    mltf_arena *a;
    json *c; /* config.json as it grows */
    mltf_err *err;
};

/* "llama.block_count" by its last part; fallback where absent. */
int64_t file_int(const convert_config *cc, const char *key, int64_t fallback);
double file_double(const convert_config *cc, const char *key, double fallback);
bool file_bool(const convert_config *cc, const char *key, bool fallback);
bool file_has(const convert_config *cc, const char *tensor);

void config_int(const convert_config *cc, const char *key, int64_t v);
void config_bool(const convert_config *cc, const char *key, bool v);
void config_text(const convert_config *cc, const char *key, const char *v);
void config_float(const convert_config *cc, const char *key, double v);
/* The same into an object of its own. The shortest decimal that names the float32: 1e-05, not 9.999999747378752e-06. */
void convert_put_float(mltf_arena *a, json *o, const char *key, double v);

/* A positive number of the file that there must be, under its name in config.json. */
mltf_status config_need(const convert_config *cc, const char *key, const char *from);
int64_t config_get(const convert_config *cc, const char *key, int64_t fallback); /* as set before */

/* Layers of the model itself: the last ones of a file may be there to guess further words. */
int64_t config_layers(const convert_config *cc);

/* Sizes, heads, lengths and rotary positions that decoders of Llama's form share. */
mltf_status config_decoder(const convert_config *cc);
/* The same with Llama's norms and activation. */
mltf_status config_gated_decoder(const convert_config *cc);
mltf_status config_rope(const convert_config *cc, double default_theta);
void config_rms_norm(const convert_config *cc);
void config_layer_norm(const convert_config *cc, const char *key); /* its epsilon */
/* partial_rotary_factor, or `key`, where not all of a head is rotated. */
void config_partial_rotary(const convert_config *cc, const char *key);
/* Experts: how many there are, how many a token takes, how wide one is, under the names given (NULL: not told). */
mltf_status config_experts(const convert_config *cc, const char *count, const char *used,
                           const char *width);

/* *out: how many key heads each layer has, 0 where it has something else than attention. */
mltf_status config_layer_heads(const convert_config *cc, const gguf_value **out);
void config_granite_scales(const convert_config *cc); /* of embeddings, residuals, scores, logits */

/* ---- rules that recur ----------------------------------------------------------------------- */

// clang-format off
#define EMBEDDINGS(norm_op)                                                   \
    {"token_embd", "model.embed_tokens", CONVERT_COPY, REQUIRED},                 \
    {"output_norm", "model.norm", norm_op, REQUIRED},                             \
    {"output", "lm_head", CONVERT_COPY, OPTIONAL}
#define ATTENTION(q_op, k_op)                                                 \
    {"blk.%.attn_q", "model.layers.%.self_attn.q_proj", q_op, REQUIRED},          \
    {"blk.%.attn_k", "model.layers.%.self_attn.k_proj", k_op, REQUIRED},          \
    {"blk.%.attn_v", "model.layers.%.self_attn.v_proj", CONVERT_COPY, REQUIRED},  \
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, REQUIRED}
#define QK_NORMS(norm_op, needed)                                             \
    {"blk.%.attn_q_norm", "model.layers.%.self_attn.q_norm", norm_op, needed}, \
    {"blk.%.attn_k_norm", "model.layers.%.self_attn.k_norm", norm_op, needed}
#define GATED_FFN_OF(need)                                                    \
    {"blk.%.ffn_gate", "model.layers.%.mlp.gate_proj", CONVERT_COPY, need}, \
    {"blk.%.ffn_up", "model.layers.%.mlp.up_proj", CONVERT_COPY, need}, \
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, need}
#define GATED_FFN GATED_FFN_OF(REQUIRED)
#define EXPERTS(need)                                                         \
    {"blk.%.ffn_gate_inp", "model.layers.%.mlp.gate", CONVERT_COPY, need}, \
    {"blk.%.ffn_gate_exps", "model.layers.%.mlp.experts.#.gate_proj", CONVERT_SPLIT, need}, \
    {"blk.%.ffn_up_exps", "model.layers.%.mlp.experts.#.up_proj", CONVERT_SPLIT, need}, \
    {"blk.%.ffn_down_exps", "model.layers.%.mlp.experts.#.down_proj", CONVERT_SPLIT, need}
#define SHARED_EXPERTS(to, need)                                              \
    {"blk.%.ffn_gate_shexp", "model.layers.%.mlp." to ".gate_proj", CONVERT_COPY, need}, \
    {"blk.%.ffn_up_shexp", "model.layers.%.mlp." to ".up_proj", CONVERT_COPY, need}, \
    {"blk.%.ffn_down_shexp", "model.layers.%.mlp." to ".down_proj", CONVERT_COPY, need}
#define NORMS(norm_op)                                                        \
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", norm_op, REQUIRED},     \
    {"blk.%.ffn_norm", "model.layers.%.post_attention_layernorm", norm_op, REQUIRED}
/* a norm before and one behind both attention and MLP */
#define FOUR_NORMS(norm_op)                                                   \
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", norm_op, REQUIRED},     \
    {"blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm", norm_op, REQUIRED}, \
    {"blk.%.ffn_norm", "model.layers.%.pre_feedforward_layernorm", norm_op, REQUIRED},           \
    {"blk.%.post_ffw_norm", "model.layers.%.post_feedforward_layernorm", norm_op, REQUIRED}
// clang-format on

#endif
