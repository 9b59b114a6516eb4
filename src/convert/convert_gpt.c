/* GPT-2 and what followed it before Llama: GPT-NeoX, StarCoder, BLOOM, MPT, Falcon. */
#include "convert/convert_config.h"

static mltf_status config_gpt2(const convert_config *cc)
{
    TRY(config_need(cc, "n_embd", "embedding_length"));
    TRY(config_need(cc, "n_inner", "feed_forward_length"));
    TRY(config_need(cc, "n_layer", "block_count"));
    TRY(config_need(cc, "n_head", "attention.head_count"));
    TRY(config_need(cc, "n_positions", "context_length"));
    config_int(cc, "n_ctx", config_get(cc, "n_positions", 0));
    config_layer_norm(cc, "layer_norm_epsilon");
    config_text(cc, "activation_function", "gelu_new");
    config_float(cc, "initializer_range", 0.02);
    config_bool(cc, "use_cache", true);
    return MLTF_OK;
}

static mltf_status config_starcoder(const convert_config *cc)
{
    TRY(config_gpt2(cc));
    if (file_int(cc, "attention.head_count_kv", 0) != 1)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "StarCoder without one key head for all is not converted");
    config_bool(cc, "multi_query", true);
    config_text(cc, "activation_function", "gelu_pytorch_tanh");
    return MLTF_OK;
}

static mltf_status config_gptneox(const convert_config *cc)
{
    TRY(config_decoder(cc));
    json_remove(cc->c, "head_dim");
    config_layer_norm(cc, "layer_norm_eps");
    config_partial_rotary(cc, "rotary_pct");
    config_float(cc, "rotary_emb_base", file_double(cc, "rope.freq_base", 10000));
    config_bool(cc, "use_parallel_residual", file_bool(cc, "use_parallel_residual", true));
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_qkv.bias"));
    config_text(cc, "hidden_act", "gelu");
    return MLTF_OK;
}

static mltf_status config_bloom(const convert_config *cc)
{
    TRY(config_need(cc, "hidden_size", "embedding_length"));
    TRY(config_need(cc, "n_layer", "block_count"));
    TRY(config_need(cc, "n_head", "attention.head_count"));
    config_layer_norm(cc, "layer_norm_epsilon");
    config_bool(cc, "apply_residual_connection_post_layernorm", false);
    config_bool(cc, "use_cache", true);
    return MLTF_OK;
}

static mltf_status config_mpt(const convert_config *cc)
{
    TRY(config_need(cc, "d_model", "embedding_length"));
    TRY(config_need(cc, "n_layers", "block_count"));
    TRY(config_need(cc, "n_heads", "attention.head_count"));
    TRY(config_need(cc, "max_seq_len", "context_length"));
    if (file_int(cc, "attention.head_count_kv", config_get(cc, "n_heads", 0)) !=
            config_get(cc, "n_heads", 0) ||
        file_has(cc, "position_embd.weight"))
        return mltf_fail(
            cc->err, MLTF_UNSUPPORTED,
            "MPT with fewer key heads or learned positions is not known to transformers");
    TRY(config_need(cc, "intermediate_size", "feed_forward_length"));
    const int64_t ratio = config_get(cc, "intermediate_size", 0) / config_get(cc, "d_model", 1);
    json_remove(cc->c, "intermediate_size");
    config_int(cc, "expansion_ratio", ratio);
    config_layer_norm(cc, "layer_norm_epsilon");
    config_bool(cc, "no_bias", true);
    json *attention = json_new_object(cc->a);
    const convert_config to = {cc->g, cc->a, attention, cc->err};
    config_text(&to, "attn_type", "multihead_attention");
    config_bool(&to, "alibi", true);
    config_int(&to, "alibi_bias_max", (int64_t)file_double(cc, "attention.max_alibi_bias", 8));
    const double clip = file_double(cc, "attention.clamp_kqv", 0);
    if (clip > 0) config_float(&to, "clip_qkv", clip);
    json_set(cc->a, cc->c, "attn_config", attention);
    return MLTF_OK;
}

static bool has_two_norms(const gguf_file *g)
{
    return gguf_find(g, "blk.0.attn_norm_2.weight") != NULL;
}

static mltf_status config_falcon(const convert_config *cc)
{
    TRY(config_decoder(cc));
    const int64_t kv = config_get(cc, "num_key_value_heads", 1);
    const bool two_norms = has_two_norms(cc->g);
    json_remove(cc->c, "num_key_value_heads");
    json_remove(cc->c, "head_dim");
    config_int(cc, "ffn_hidden_size", config_get(cc, "intermediate_size", 0));
    json_remove(cc->c, "intermediate_size");
    config_int(cc, "num_kv_heads", kv);
    config_bool(cc, "multi_query", kv == 1);
    config_bool(cc, "new_decoder_architecture", kv > 1 || two_norms);
    config_int(cc, "num_ln_in_parallel_attn", two_norms ? 2 : 1);
    config_bool(cc, "parallel_attn", true);
    config_bool(cc, "alibi", false);
    config_bool(cc, "bias", file_has(cc, "blk.0.attn_qkv.bias"));
    config_layer_norm(cc, "layer_norm_epsilon");
    return MLTF_OK;
}

// clang-format off
static const convert_rule rules_gpt2[] = {
    {"token_embd", "transformer.wte", CONVERT_COPY, REQUIRED},
    {"position_embd", "transformer.wpe", CONVERT_COPY, REQUIRED},
    {"output_norm", "transformer.ln_f", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "transformer.h.%.ln_1", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_qkv", "transformer.h.%.attn.c_attn", CONVERT_TRANSPOSE, REQUIRED},
    {"blk.%.attn_output", "transformer.h.%.attn.c_proj", CONVERT_TRANSPOSE, REQUIRED},
    {"blk.%.ffn_norm", "transformer.h.%.ln_2", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "transformer.h.%.mlp.c_fc", CONVERT_TRANSPOSE, REQUIRED},
    {"blk.%.ffn_down", "transformer.h.%.mlp.c_proj", CONVERT_TRANSPOSE, REQUIRED},
    {0},
};

static const convert_rule rules_starcoder[] = {
    {"token_embd", "transformer.wte", CONVERT_COPY, REQUIRED},
    {"position_embd", "transformer.wpe", CONVERT_COPY, REQUIRED},
    {"output_norm", "transformer.ln_f", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "transformer.h.%.ln_1", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_qkv", "transformer.h.%.attn.c_attn", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "transformer.h.%.attn.c_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "transformer.h.%.ln_2", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "transformer.h.%.mlp.c_fc", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "transformer.h.%.mlp.c_proj", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_gptneox[] = {
    {"token_embd", "gpt_neox.embed_in", CONVERT_COPY, REQUIRED},
    {"output_norm", "gpt_neox.final_layer_norm", CONVERT_COPY, REQUIRED},
    {"output", "embed_out", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "gpt_neox.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_qkv", "gpt_neox.layers.%.attention.query_key_value", CONVERT_QKV, REQUIRED},
    {"blk.%.attn_output", "gpt_neox.layers.%.attention.dense", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "gpt_neox.layers.%.post_attention_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "gpt_neox.layers.%.mlp.dense_h_to_4h", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "gpt_neox.layers.%.mlp.dense_4h_to_h", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_bloom[] = {
    {"token_embd", "transformer.word_embeddings", CONVERT_COPY, REQUIRED},
    {"token_embd_norm", "transformer.word_embeddings_layernorm", CONVERT_COPY, REQUIRED},
    {"output_norm", "transformer.ln_f", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "transformer.h.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_qkv", "transformer.h.%.self_attention.query_key_value", CONVERT_QKV, REQUIRED},
    {"blk.%.attn_output", "transformer.h.%.self_attention.dense", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "transformer.h.%.post_attention_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "transformer.h.%.mlp.dense_h_to_4h", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "transformer.h.%.mlp.dense_4h_to_h", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_mpt[] = {
    {"token_embd", "transformer.wte", CONVERT_COPY, REQUIRED},
    {"output_norm", "transformer.norm_f", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "transformer.blocks.%.norm_1", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_qkv", "transformer.blocks.%.attn.Wqkv", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "transformer.blocks.%.attn.out_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "transformer.blocks.%.norm_2", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "transformer.blocks.%.ffn.up_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "transformer.blocks.%.ffn.down_proj", CONVERT_COPY, REQUIRED},
    {0},
};

#define FALCON                                                                                  \
    {"token_embd", "transformer.word_embeddings", CONVERT_COPY, REQUIRED},                          \
    {"output_norm", "transformer.ln_f", CONVERT_COPY, REQUIRED},                                    \
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},                                                 \
    {"blk.%.attn_qkv", "transformer.h.%.self_attention.query_key_value", CONVERT_QKV, REQUIRED},    \
    {"blk.%.attn_output", "transformer.h.%.self_attention.dense", CONVERT_COPY, REQUIRED},          \
    {"blk.%.ffn_up", "transformer.h.%.mlp.dense_h_to_4h", CONVERT_COPY, REQUIRED},                  \
    {"blk.%.ffn_down", "transformer.h.%.mlp.dense_4h_to_h", CONVERT_COPY, REQUIRED}

static const convert_rule rules_falcon[] = {
    FALCON,
    {"blk.%.attn_norm", "transformer.h.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_falcon_40b[] = {
    FALCON,
    {"blk.%.attn_norm", "transformer.h.%.ln_mlp", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_norm_2", "transformer.h.%.ln_attn", CONVERT_COPY, REQUIRED},
    {0},
};

const convert_family convert_gpt_families[] = {
    {"gpt2", NULL, "gpt2", "GPT2LMHeadModel", rules_gpt2, config_gpt2},
    {"starcoder", NULL, "gpt_bigcode", "GPTBigCodeForCausalLM", rules_starcoder, config_starcoder},
    {"gptneox", NULL, "gpt_neox", "GPTNeoXForCausalLM", rules_gptneox, config_gptneox},
    {"bloom", NULL, "bloom", "BloomForCausalLM", rules_bloom, config_bloom},
    {"mpt", NULL, "mpt", "MptForCausalLM", rules_mpt, config_mpt},
    {"falcon", has_two_norms, "falcon", "FalconForCausalLM", rules_falcon_40b, config_falcon},
    {"falcon", NULL, "falcon", "FalconForCausalLM", rules_falcon, config_falcon},
    {0},
};
// clang-format on
