/* Qwen 2 and 3, dense and with experts. */
#include "convert/convert_config.h"

static mltf_status config_qwen(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    config_bool(cc, "use_sliding_window", false);
    return MLTF_OK;
}

static mltf_status config_qwen2(const convert_config *cc)
{
    TRY(config_qwen(cc));
    json_remove(cc->c, "head_dim"); // it has none but hidden / heads
    return MLTF_OK;
}

static mltf_status config_qwen2moe(const convert_config *cc)
{
    TRY(config_qwen2(cc));
    TRY(config_experts(cc, "num_experts", "num_experts_per_tok", "moe_intermediate_size"));
    TRY(config_need(cc, "shared_expert_intermediate_size", "expert_shared_feed_forward_length"));
    if (!json_get(cc->c, "intermediate_size")) // of dense layers, of which there are none
        config_int(cc, "intermediate_size", config_get(cc, "moe_intermediate_size", 0));
    config_int(cc, "decoder_sparse_step", 1);
    config_bool(cc, "norm_topk_prob", false);
    return MLTF_OK;
}

static mltf_status config_qwen3(const convert_config *cc)
{
    TRY(config_qwen(cc));
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_q.bias"));
    return MLTF_OK;
}

static mltf_status config_qwen3moe(const convert_config *cc)
{
    TRY(config_qwen3(cc));
    TRY(config_experts(cc, "num_experts", "num_experts_per_tok", "moe_intermediate_size"));
    if (!json_get(cc->c, "intermediate_size"))
        config_int(cc, "intermediate_size", config_get(cc, "moe_intermediate_size", 0));
    config_int(cc, "decoder_sparse_step", 1);
    config_bool(cc, "norm_topk_prob", true);
    return MLTF_OK;
}

// clang-format off
static const convert_rule rules_qwen[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS(CONVERT_COPY),
    QK_NORMS(CONVERT_COPY, OPTIONAL),
    {0},
};

static const convert_rule rules_qwen2moe[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), EXPERTS(REQUIRED), NORMS(CONVERT_COPY),
    {"blk.%.ffn_gate_inp_shexp", "model.layers.%.mlp.shared_expert_gate", CONVERT_ONE_ROW, REQUIRED},
    SHARED_EXPERTS("shared_expert", REQUIRED),
    {0},
};

static const convert_rule rules_qwen3moe[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), EXPERTS(REQUIRED), NORMS(CONVERT_COPY),
    QK_NORMS(CONVERT_COPY, REQUIRED),
    {0},
};

const convert_family convert_qwen_families[] = {
    {"qwen2", NULL, "qwen2", "Qwen2ForCausalLM", rules_qwen, config_qwen2},
    {"qwen2moe", NULL, "qwen2_moe", "Qwen2MoeForCausalLM", rules_qwen2moe, config_qwen2moe},
    {"qwen3", NULL, "qwen3", "Qwen3ForCausalLM", rules_qwen, config_qwen3},
    {"qwen3moe", NULL, "qwen3_moe", "Qwen3MoeForCausalLM", rules_qwen3moe, config_qwen3moe},
    {0},
};
// clang-format on
