/* Families most of whose layers choose among experts: gpt-oss, DeepSeek V2 and V3, dots1, GLM 4.5, ERNIE 4.5 MoE, OLMoE. */
#include "convert/convert_config.h"

#include <math.h>

/* ---- gpt-oss -------------------------------------------------------------------------------- */

/* Experts stay in the blocks that the model was trained in, if the file has them all in these. */
static bool is_mxfp4(const gguf_file *g)
{
    size_t experts = 0;
    for (size_t i = 0; i < gguf_count(g); i++) {
        const gguf_tensor *t = gguf_at(g, i);
        if (!str_ends(t->name, "_exps.weight")) continue;
        if (t->type != GGUF_MXFP4) return false;
        experts++;
    }
    return experts > 0;
}

static mltf_status config_gpt_oss(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    TRY(config_experts(cc, "num_local_experts", "num_experts_per_tok", NULL));
    TRY(config_need(cc, "intermediate_size", "expert_feed_forward_length"));
    config_int(cc, "sliding_window", file_int(cc, "attention.sliding_window", 128));
    config_bool(cc, "attention_bias", true);
    const json *scaling = json_get(cc->c, "rope_scaling");
    json *own = json_set(cc->a, cc->c, "rope_scaling", scaling ? scaling : json_new_null(cc->a));
    if (scaling) json_set(cc->a, own, "truncate", json_new_bool(cc->a, false));
    if (!is_mxfp4(cc->g)) return MLTF_OK;
    static const char *const floats[] = {"model.layers.*.self_attn", "model.layers.*.mlp.router",
                                         "model.embed_tokens", "lm_head"};
    json *q = json_set(cc->a, cc->c, "quantization_config", json_new_object(cc->a));
    json_set(cc->a, q, "quant_method", json_new_cstr(cc->a, "mxfp4"));
    json *except = json_set(cc->a, q, "modules_to_not_convert", json_new_array(cc->a));
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        json_push(cc->a, except, json_new_cstr(cc->a, floats[i]));
    return MLTF_OK;
}

/* ---- what the others share ------------------------------------------------------------------- */

enum { GATING_SOFTMAX = 1, GATING_SIGMOID = 2 };

/* Settings that DeepSeek's and those after it have the same names for. */
static mltf_status config_routed(const convert_config *cc)
{
    TRY(config_experts(cc, "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"));
    config_int(cc, "n_shared_experts", file_int(cc, "expert_shared_count", 0));
    config_int(cc, "first_k_dense_replace", file_int(cc, "leading_dense_block_count", 0));
    config_float(cc, "routed_scaling_factor", file_double(cc, "expert_weights_scale", 1));
    config_bool(cc, "norm_topk_prob", file_bool(cc, "expert_weights_norm", false));
    config_int(cc, "n_group", file_int(cc, "expert_group_count", 1));
    config_int(cc, "topk_group", file_int(cc, "expert_group_used_count", 1));
    return MLTF_OK;
}

static mltf_status need_gating(const convert_config *cc, int64_t known, int64_t fallback)
{
    const int64_t gating = file_int(cc, "expert_gating_func", fallback);
    if (gating == known) return MLTF_OK;
    return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                     "experts weighed by function %lld (expert_gating_func) are not known to "
                     "models of this type",
                     (long long)gating);
}

/* ---- DeepSeek --------------------------------------------------------------------------------- */

static bool is_v3(const gguf_file *g)
{
    return gguf_int(g, "deepseek2.expert_gating_func", GATING_SOFTMAX) == GATING_SIGMOID;
}

static bool
has_kv_b(const gguf_file *g) /* in one piece, as in files before the cache held latents */
{
    return gguf_find(g, "blk.0.attn_kv_b.weight") != NULL;
}

static bool is_v3_with_kv_b(const gguf_file *g)
{
    return is_v3(g) && has_kv_b(g);
}

/* The stretch of long contexts: the file has a tenth of the number. */
static void config_mscale(const convert_config *cc)
{
    const double tenth = file_double(cc, "rope.scaling.yarn_log_multiplier", 0);
    const json *scaling = json_get(cc->c, "rope_scaling");
    if (!scaling || !(tenth > 0 && tenth < 1000)) return;
    json *o = json_set(cc->a, cc->c, "rope_scaling", scaling);
    const double all = round(tenth * 1e7) / 1e6;
    convert_put_float(cc->a, o, "mscale", all);
    convert_put_float(cc->a, o, "mscale_all_dim", all);
}

static mltf_status config_deepseek(const convert_config *cc)
{
    TRY(config_need(cc, "hidden_size", "embedding_length"));
    TRY(config_need(cc, "intermediate_size", "feed_forward_length"));
    TRY(config_need(cc, "num_hidden_layers", "block_count"));
    config_int(cc, "num_hidden_layers", config_layers(cc));
    TRY(config_need(cc, "num_attention_heads", "attention.head_count"));
    config_int(cc, "num_key_value_heads", config_get(cc, "num_attention_heads", 1));
    TRY(config_need(cc, "max_position_embeddings", "context_length"));
    TRY(config_need(cc, "kv_lora_rank", "attention.kv_lora_rank"));
    TRY(config_need(cc, "qk_rope_head_dim", "rope.dimension_count"));
    if (file_has(cc, "blk.0.attn_q_a.weight"))
        TRY(config_need(cc, "q_lora_rank", "attention.q_lora_rank"));
    else
        json_set(cc->a, cc->c, "q_lora_rank", json_new_null(cc->a));
    // where the cache holds latents, key_length is the length of these
    const int64_t key = file_int(cc, "attention.key_length_mla",
                                 file_int(cc, "attention.key_length", 0)),
                  value = file_int(cc, "attention.value_length_mla",
                                   file_int(cc, "attention.value_length", 0)),
                  turned = config_get(cc, "qk_rope_head_dim", 0);
    if (key <= turned || key > 65536 || value < 1 || value > 65536)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE,
                         "keys of %lld values of which %lld are rotated, and values of %lld, are "
                         "not possible",
                         (long long)key, (long long)turned, (long long)value);
    config_int(cc, "qk_nope_head_dim", key - turned);
    config_int(cc, "v_head_dim", value);
    config_rms_norm(cc);
    config_text(cc, "hidden_act", "silu");
    config_bool(cc, "attention_bias", false);
    config_bool(cc, "use_cache", true);
    TRY(config_rope(cc, 10000));
    config_mscale(cc);
    return config_routed(cc);
}

/* Files that do not tell the groups are older than llama.cpp's use of them: the large models have 8. */
static void config_groups(const convert_config *cc, int64_t experts, int64_t used)
{
    if (file_int(cc, "expert_group_count", 0) > 0) return;
    const bool grouped = config_get(cc, "n_routed_experts", 0) == experts;
    config_int(cc, "n_group", grouped ? 8 : 1);
    config_int(cc, "topk_group", grouped ? used : 1);
}

static mltf_status config_deepseek_v2(const convert_config *cc)
{
    TRY(config_deepseek(cc));
    TRY(need_gating(cc, GATING_SOFTMAX, GATING_SOFTMAX));
    config_groups(cc, 160, 3);
    config_text(cc, "topk_method",
                config_get(cc, "n_group", 1) > 1 ? "group_limited_greedy" : "greedy");
    if (file_bool(cc, "expert_weights_norm", false))
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "DeepSeek V2 with weights of experts divided by their sum "
                         "(expert_weights_norm) is not known to transformers");
    return MLTF_OK;
}

static mltf_status config_deepseek_v3(const convert_config *cc)
{
    TRY(config_deepseek(cc));
    config_groups(cc, 256, 4);
    config_text(cc, "topk_method", "noaux_tc");
    config_text(cc, "scoring_func", "sigmoid");
    return MLTF_OK;
}

/* ---- after DeepSeek --------------------------------------------------------------------------- */

static mltf_status config_dots1(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    TRY(need_gating(cc, GATING_SIGMOID, GATING_SIGMOID));
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_q.bias"));
    json_set(cc->a, cc->c, "sliding_window", json_new_null(cc->a));
    return config_routed(cc);
}

static mltf_status config_glm4moe(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    TRY(need_gating(cc, GATING_SIGMOID, GATING_SIGMOID));
    config_partial_rotary(cc, "partial_rotary_factor");
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_q.bias"));
    config_bool(cc, "use_qk_norm", file_has(cc, "blk.0.attn_q_norm.weight"));
    return config_routed(cc);
}

static mltf_status config_ernie_moe(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    json_remove(cc->c, "head_dim");
    TRY(config_experts(cc, "moe_num_experts", "moe_k", "moe_intermediate_size"));
    if (file_int(cc, "interleave_moe_layer_step", 1) != 1)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "experts in every second layer or fewer "
                         "(interleave_moe_layer_step) are not converted");
    const int64_t width = file_int(cc, "expert_feed_forward_length", 1),
                  shared = file_int(cc, "expert_shared_feed_forward_length", 0);
    config_int(cc, "moe_num_shared_experts", file_int(cc, "expert_shared_count", shared / width));
    config_int(cc, "moe_layer_start_index", file_int(cc, "leading_dense_block_count", 1));
    config_int(cc, "moe_layer_end_index", -1);
    config_int(cc, "moe_layer_interval", 1);
    config_bool(cc, "use_bias", file_has(cc, "blk.0.attn_q.bias"));
    return MLTF_OK;
}

static mltf_status config_olmoe(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    json_remove(cc->c, "head_dim");
    config_bool(cc, "norm_topk_prob", false);
    const double clip = file_double(cc, "attention.clamp_kqv", 0);
    if (clip > 0) config_float(cc, "clip_qkv", clip);
    return config_experts(cc, "num_experts", "num_experts_per_tok", NULL);
}

// clang-format off
#define GPT_OSS                                                                                  \
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY),                             \
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},               \
    {"blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm", CONVERT_COPY, REQUIRED}, \
    {"blk.%.attn_sinks.weight", "model.layers.%.self_attn.sinks", CONVERT_COPY, REQUIRED},       \
    {"blk.%.ffn_gate_inp", "model.layers.%.mlp.router", CONVERT_COPY, REQUIRED},                 \
    {"blk.%.ffn_gate_exps.bias", "model.layers.%.mlp.experts.gate_up_proj_bias", CONVERT_WEAVE, REQUIRED}, \
    {"blk.%.ffn_up_exps.bias", NULL, CONVERT_JOINED, REQUIRED},                                  \
    {"blk.%.ffn_down_exps.bias", "model.layers.%.mlp.experts.down_proj_bias", CONVERT_COPY, REQUIRED}

static const convert_rule rules_gpt_oss_mxfp4[] = {
    GPT_OSS,
    {"blk.%.ffn_gate_exps.weight", "model.layers.%.mlp.experts.gate_up_proj", CONVERT_WEAVE_MXFP4, REQUIRED},
    {"blk.%.ffn_up_exps.weight", NULL, CONVERT_JOINED, REQUIRED},
    {"blk.%.ffn_down_exps.weight", "model.layers.%.mlp.experts.down_proj", CONVERT_MXFP4, REQUIRED},
    {0},
};

static const convert_rule rules_gpt_oss[] = {
    GPT_OSS,
    {"blk.%.ffn_gate_exps.weight", "model.layers.%.mlp.experts.gate_up_proj", CONVERT_WEAVE_TURNED, REQUIRED},
    {"blk.%.ffn_up_exps.weight", NULL, CONVERT_JOINED, REQUIRED},
    {"blk.%.ffn_down_exps.weight", "model.layers.%.mlp.experts.down_proj", CONVERT_TRANSPOSE, REQUIRED},
    {0},
};

#define CORRECTION {"blk.%.exp_probs_b.bias", "model.layers.%.mlp.gate.e_score_correction_bias", CONVERT_COPY, IN_EXPERTS}
#define DEEPSEEK                                                                                 \
    EMBEDDINGS(CONVERT_COPY), NORMS(CONVERT_COPY), GATED_FFN_OF(IN_DENSE), EXPERTS(IN_EXPERTS),  \
    SHARED_EXPERTS("shared_experts", OPTIONAL),                                                  \
    {"blk.%.exp_probs_b.bias", "model.layers.%.mlp.gate.e_score_correction_bias", CONVERT_COPY, OPTIONAL}, \
    {"blk.%.attn_q", "model.layers.%.self_attn.q_proj", CONVERT_COPY, OPTIONAL},                 \
    {"blk.%.attn_q_a", "model.layers.%.self_attn.q_a_proj", CONVERT_COPY, OPTIONAL},             \
    {"blk.%.attn_q_a_norm", "model.layers.%.self_attn.q_a_layernorm", CONVERT_COPY, OPTIONAL},   \
    {"blk.%.attn_q_b", "model.layers.%.self_attn.q_b_proj", CONVERT_COPY, OPTIONAL},             \
    {"blk.%.attn_kv_a_mqa", "model.layers.%.self_attn.kv_a_proj_with_mqa", CONVERT_COPY, REQUIRED}, \
    {"blk.%.attn_kv_a_norm", "model.layers.%.self_attn.kv_a_layernorm", CONVERT_COPY, REQUIRED}, \
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, REQUIRED}

static const convert_rule rules_deepseek[] = {
    DEEPSEEK,
    {"blk.%.attn_k_b", "model.layers.%.self_attn.kv_b_proj", CONVERT_KV_B, REQUIRED},
    {"blk.%.attn_v_b", NULL, CONVERT_JOINED, REQUIRED},
    {0},
};

static const convert_rule rules_deepseek_kv_b[] = { // some of these files have it in two pieces as well
    DEEPSEEK,
    {"blk.%.attn_kv_b", "model.layers.%.self_attn.kv_b_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_k_b", NULL, CONVERT_SETTING, OPTIONAL},
    {"blk.%.attn_v_b", NULL, CONVERT_SETTING, OPTIONAL},
    {0},
};

static const convert_rule rules_dots1[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), QK_NORMS(CONVERT_COPY, REQUIRED), NORMS(CONVERT_COPY),
    GATED_FFN_OF(IN_DENSE), EXPERTS(IN_EXPERTS), SHARED_EXPERTS("shared_experts", IN_EXPERTS),
    CORRECTION,
    {0},
};

static const convert_rule rules_glm4moe[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), QK_NORMS(CONVERT_COPY, OPTIONAL),
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm", CONVERT_COPY, REQUIRED},
    GATED_FFN_OF(IN_DENSE), EXPERTS(IN_EXPERTS), SHARED_EXPERTS("shared_experts", IN_EXPERTS),
    CORRECTION,
    {0},
};

static const convert_rule rules_ernie_moe[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), NORMS(CONVERT_COPY),
    GATED_FFN_OF(IN_DENSE), EXPERTS(IN_EXPERTS), SHARED_EXPERTS("shared_experts", OPTIONAL),
    {"blk.%.exp_probs_b.bias", "model.layers.%.mlp.moe_statics.e_score_correction_bias", CONVERT_ONE_ROW, IN_EXPERTS},
    {0},
};

static const convert_rule rules_olmoe[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), QK_NORMS(CONVERT_COPY, REQUIRED), NORMS(CONVERT_COPY),
    EXPERTS(REQUIRED),
    {0},
};

const convert_family convert_expert_families[] = {
    {"gpt-oss", is_mxfp4, "gpt_oss", "GptOssForCausalLM", rules_gpt_oss_mxfp4, config_gpt_oss},
    {"gpt-oss", NULL, "gpt_oss", "GptOssForCausalLM", rules_gpt_oss, config_gpt_oss},
    {"deepseek2", is_v3_with_kv_b, "deepseek_v3", "DeepseekV3ForCausalLM", rules_deepseek_kv_b, config_deepseek_v3},
    {"deepseek2", is_v3, "deepseek_v3", "DeepseekV3ForCausalLM", rules_deepseek, config_deepseek_v3},
    {"deepseek2", has_kv_b, "deepseek_v2", "DeepseekV2ForCausalLM", rules_deepseek_kv_b, config_deepseek_v2},
    {"deepseek2", NULL, "deepseek_v2", "DeepseekV2ForCausalLM", rules_deepseek, config_deepseek_v2},
    {"dots1", NULL, "dots1", "Dots1ForCausalLM", rules_dots1, config_dots1},
    {"glm4moe", NULL, "glm4_moe", "Glm4MoeForCausalLM", rules_glm4moe, config_glm4moe},
    {"ernie4_5-moe", NULL, "ernie4_5_moe", "Ernie4_5_MoeForCausalLM", rules_ernie_moe, config_ernie_moe},
    {"olmoe", NULL, "olmoe", "OlmoeForCausalLM", rules_olmoe, config_olmoe},
    {0},
};
// clang-format on
