/* Llama, and what keeps its names: Mixtral, SmolLM3, Granite, Arcee, ERNIE 4.5, Seed-OSS. */
#include "convert/convert_config.h"

static mltf_status config_llama(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    const bool q = file_has(cc, "blk.0.attn_q.bias"), o = file_has(cc, "blk.0.attn_output.bias");
    if (q != o)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "attention with some biases but not all is not known to Llama");
    config_bool(cc, "attention_bias", q);
    config_bool(cc, "mlp_bias", file_has(cc, "blk.0.ffn_up.bias"));
    config_int(cc, "pretraining_tp", 1);
    return MLTF_OK;
}

static bool has_experts(const gguf_file *g)
{
    return gguf_find(g, "blk.0.ffn_gate_exps.weight") != NULL;
}

static mltf_status config_mixtral(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    return config_experts(cc, "num_local_experts", "num_experts_per_tok", NULL);
}

static mltf_status config_smollm3(const convert_config *cc)
{
    TRY(config_llama(cc));
    config_int(cc, "no_rope_layer_interval", 4); // as llama.cpp has it
    config_bool(cc, "use_sliding_window", false);
    return MLTF_OK;
}

static mltf_status config_granite(const convert_config *cc)
{
    TRY(config_llama(cc));
    config_granite_scales(cc);
    return MLTF_OK;
}

static mltf_status config_granitemoe(const convert_config *cc)
{
    TRY(config_granite(cc));
    return config_experts(cc, "num_local_experts", "num_experts_per_tok", NULL);
}

static bool has_shared_expert(const gguf_file *g)
{
    return gguf_find(g, "blk.0.ffn_up_shexp.weight") != NULL;
}

static mltf_status config_granitemoeshared(const convert_config *cc)
{
    TRY(config_granitemoe(cc));
    return config_need(cc, "shared_intermediate_size", "expert_shared_feed_forward_length");
}

static mltf_status config_arcee(const convert_config *cc)
{
    TRY(config_llama(cc));
    config_text(cc, "hidden_act", "relu2");
    return MLTF_OK;
}

static mltf_status config_ernie(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    config_bool(cc, "use_bias", file_has(cc, "blk.0.attn_q.bias"));
    return MLTF_OK;
}

static mltf_status config_seed_oss(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_q.bias"));
    config_bool(cc, "attention_out_bias", file_has(cc, "blk.0.attn_output.bias"));
    config_bool(cc, "mlp_bias", file_has(cc, "blk.0.ffn_up.bias"));
    return MLTF_OK;
}

// clang-format off
static const convert_rule rules_llama[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), GATED_FFN, NORMS(CONVERT_COPY),
    {"rope_freqs", NULL, CONVERT_SETTING, OPTIONAL},
    {0},
};

static const convert_rule rules_mixtral[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), NORMS(CONVERT_COPY),
    {"blk.%.ffn_gate_inp", "model.layers.%.block_sparse_moe.gate", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_gate_exps", "model.layers.%.block_sparse_moe.experts.#.w1", CONVERT_SPLIT, REQUIRED},
    {"blk.%.ffn_down_exps", "model.layers.%.block_sparse_moe.experts.#.w2", CONVERT_SPLIT, REQUIRED},
    {"blk.%.ffn_up_exps", "model.layers.%.block_sparse_moe.experts.#.w3", CONVERT_SPLIT, REQUIRED},
    {0},
};

#define GRANITE_MOE                                                                                     \
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), NORMS(CONVERT_COPY),           \
    {"blk.%.ffn_gate_inp", "model.layers.%.block_sparse_moe.router.layer", CONVERT_COPY, REQUIRED},     \
    {"blk.%.ffn_gate_exps", "model.layers.%.block_sparse_moe.input_linear", CONVERT_JOIN, REQUIRED},    \
    {"blk.%.ffn_up_exps", NULL, CONVERT_JOINED, REQUIRED},                                              \
    {"blk.%.ffn_down_exps", "model.layers.%.block_sparse_moe.output_linear", CONVERT_COPY, REQUIRED}

static const convert_rule rules_granitemoe[] = {
    GRANITE_MOE,
    {0},
};

static const convert_rule rules_granitemoeshared[] = {
    GRANITE_MOE,
    {"blk.%.ffn_gate_shexp", "model.layers.%.shared_mlp.input_linear", CONVERT_JOIN, REQUIRED},
    {"blk.%.ffn_up_shexp", NULL, CONVERT_JOINED, REQUIRED},
    {"blk.%.ffn_down_shexp", "model.layers.%.shared_mlp.output_linear", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_arcee[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), NORMS(CONVERT_COPY),
    {"blk.%.ffn_up", "model.layers.%.mlp.up_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, REQUIRED},
    {"rope_freqs", NULL, CONVERT_SETTING, OPTIONAL},
    {0},
};

static const convert_rule rules_ernie[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS(CONVERT_COPY),
    {0},
};

static const convert_rule rules_seed_oss[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN,
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm", CONVERT_COPY, REQUIRED},
    {0},
};

const convert_family convert_llama_families[] = {
    {"llama", has_experts, "mixtral", "MixtralForCausalLM", rules_mixtral, config_mixtral},
    {"llama", NULL, "llama", "LlamaForCausalLM", rules_llama, config_llama},
    {"smollm3", NULL, "smollm3", "SmolLM3ForCausalLM", rules_llama, config_smollm3},
    {"granite", NULL, "granite", "GraniteForCausalLM", rules_llama, config_granite},
    {"granitemoe", has_shared_expert, "granitemoeshared", "GraniteMoeSharedForCausalLM", rules_granitemoeshared, config_granitemoeshared},
    {"granitemoe", NULL, "granitemoe", "GraniteMoeForCausalLM", rules_granitemoe, config_granitemoe},
    {"arcee", NULL, "arcee", "ArceeForCausalLM", rules_arcee, config_arcee},
    {"ernie4_5", NULL, "ernie4_5", "Ernie4_5ForCausalLM", rules_ernie, config_ernie},
    {"seed_oss", NULL, "seed_oss", "SeedOssForCausalLM", rules_seed_oss, config_seed_oss},
    {0},
};
// clang-format on
