/* Decoders of Llama's time with ways of their own: Phi, StarCoder 2, StableLM, OLMo, Command R, Nemotron, GLM 4, EXAONE 4,
 * Hunyuan. */
#include "base/limits.h"
#include "convert/convert_config.h"

static void put_factors(const convert_config *cc, json *r, const char *key, const char *tensor)
{
    const gguf_tensor *t = gguf_find(cc->g, tensor);
    if (!t || t->type != GGUF_F32 || t->count > 4096) return;
    json *list = json_set(cc->a, r, key, json_new_array(cc->a));
    for (size_t i = 0; i < t->count; i++) {
        float f;
        gguf_dequantize(&f, t, i, 1);
        json_push(cc->a, list, json_new_double(cc->a, (double)f));
    }
}

static mltf_status config_phi3(const convert_config *cc)
{
    TRY(config_decoder(cc));
    config_rms_norm(cc);
    json_remove(cc->c, "head_dim");
    config_text(cc, "hidden_act", "silu");
    const int64_t window = file_int(cc, "attention.sliding_window", 0),
                  old = file_int(cc, "rope.scaling.original_context_length", 0);
    if (window > 0) config_int(cc, "sliding_window", window);
    if (old > 0) config_int(cc, "original_max_position_embeddings", old);
    config_partial_rotary(cc, "partial_rotary_factor");
    if (file_has(cc, "rope_factors_long.weight")) {
        json *r = json_new_object(cc->a);
        json_set(cc->a, r, "type", json_new_cstr(cc->a, "longrope"));
        put_factors(cc, r, "long_factor", "rope_factors_long.weight");
        put_factors(cc, r, "short_factor", "rope_factors_short.weight");
        json_set(cc->a, cc->c, "rope_scaling", r);
    }
    return MLTF_OK;
}

static mltf_status config_phi2(const convert_config *cc)
{
    TRY(config_decoder(cc));
    json_remove(cc->c, "head_dim");
    config_layer_norm(cc, "layer_norm_eps");
    config_partial_rotary(cc, "partial_rotary_factor");
    config_text(cc, "hidden_act", "gelu_new");
    config_bool(cc, "qk_layernorm", false);
    return MLTF_OK;
}

static mltf_status config_starcoder2(const convert_config *cc)
{
    TRY(config_decoder(cc));
    config_layer_norm(cc, "norm_epsilon");
    config_text(cc, "hidden_act", "gelu_pytorch_tanh");
    config_bool(cc, "use_bias", file_has(cc, "blk.0.attn_q.bias"));
    const int64_t window = file_int(cc, "attention.sliding_window", 0);
    json_set(cc->a, cc->c, "sliding_window",
             window > 0 ? json_new_int(cc->a, window) : json_new_null(cc->a));
    return MLTF_OK;
}

static mltf_status config_stablelm(const convert_config *cc)
{
    TRY(config_decoder(cc));
    json_remove(cc->c, "head_dim");
    config_layer_norm(cc, "layer_norm_eps");
    config_partial_rotary(cc, "partial_rotary_factor");
    config_text(cc, "hidden_act", "silu");
    config_bool(cc, "use_qkv_bias", file_has(cc, "blk.0.attn_q.bias"));
    config_bool(cc, "qk_layernorm", file_has(cc, "blk.0.attn_q_norm.weight"));
    config_bool(cc, "use_parallel_residual", !file_has(cc, "blk.0.ffn_norm.weight"));
    return MLTF_OK;
}

static mltf_status config_olmo(const convert_config *cc)
{
    TRY(config_decoder(cc));
    config_text(cc, "hidden_act", "silu");
    const double clip = file_double(cc, "attention.clamp_kqv", 0);
    if (clip > 0) config_float(cc, "clip_qkv", clip);
    return MLTF_OK;
}

static mltf_status config_olmo2(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    return MLTF_OK;
}

static bool has_window(const gguf_file *g)
{
    return gguf_int(g, "olmo2.attention.sliding_window", 0) > 0;
}

static mltf_status config_olmo3(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    config_int(cc, "sliding_window", file_int(cc, "attention.sliding_window", 4096));
    return MLTF_OK;
}

static mltf_status config_cohere(const convert_config *cc)
{
    TRY(config_decoder(cc));
    json_remove(cc->c, "head_dim");
    config_layer_norm(cc, "layer_norm_eps");
    config_float(cc, "logit_scale", file_double(cc, "logit_scale", 0.0625));
    config_bool(cc, "use_qk_norm", file_has(cc, "blk.0.attn_q_norm.weight"));
    config_text(cc, "hidden_act", "silu");
    return MLTF_OK;
}

static mltf_status config_cohere2(const convert_config *cc)
{
    TRY(config_cohere(cc));
    json_remove(cc->c, "use_qk_norm");
    config_int(cc, "head_dim",
               config_get(cc, "hidden_size", 0) / config_get(cc, "num_attention_heads", 1));
    config_int(cc, "sliding_window", file_int(cc, "attention.sliding_window", 4096));
    config_int(cc, "sliding_window_pattern", 4); // as llama.cpp has it
    return MLTF_OK;
}

static mltf_status config_nemotron(const convert_config *cc)
{
    TRY(config_decoder(cc));
    config_layer_norm(cc, "norm_eps");
    config_partial_rotary(cc, "partial_rotary_factor");
    config_text(cc, "hidden_act", "relu2");
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_q.bias"));
    config_bool(cc, "mlp_bias", file_has(cc, "blk.0.ffn_up.bias"));
    return MLTF_OK;
}

static bool has_one_qkv(const gguf_file *g)
{
    return gguf_find(g, "blk.0.attn_qkv.weight") != NULL;
}

static mltf_status config_glm(const convert_config *cc) /* and GLM 4 */
{
    TRY(config_decoder(cc));
    config_rms_norm(cc);
    config_partial_rotary(cc, "partial_rotary_factor");
    config_text(cc, "hidden_act", "silu");
    config_bool(cc, "attention_bias",
                file_has(cc, "blk.0.attn_q.bias") || file_has(cc, "blk.0.attn_qkv.bias"));
    return MLTF_OK;
}

/* Layers without key heads are convolutions. */
static mltf_status config_lfm2(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    json_remove(cc->c, "hidden_act");
    json_remove(cc->c, "head_dim");
    config_float(cc, "norm_eps", file_double(cc, "attention.layer_norm_rms_epsilon", 1e-5));
    config_bool(cc, "block_auto_adjust_ff_dim", false);
    TRY(config_need(cc, "conv_L_cache", "shortconv.l_cache"));
    config_bool(cc, "conv_bias", file_has(cc, "blk.0.shortconv.conv.bias"));
    const gguf_value *kv = NULL;
    TRY(config_layer_heads(cc, &kv));
    json *types = json_set(cc->a, cc->c, "layer_types", json_new_array(cc->a));
    for (size_t i = 0; i < kv->n; i++)
        json_push(cc->a, types,
                  json_new_cstr(cc->a, gguf_number_at(kv, i) > 0 ? "full_attention" : "conv"));
    return MLTF_OK;
}

static mltf_status config_exaone4(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    const int64_t window = file_int(cc, "attention.sliding_window", 0);
    if (window > 0) {
        config_int(cc, "sliding_window", window);
        config_int(cc, "sliding_window_pattern", 4); // as llama.cpp has it
    } else {
        json_set(cc->a, cc->c, "sliding_window", json_new_null(cc->a));
        json *types = json_set(cc->a, cc->c, "layer_types", json_new_array(cc->a));
        for (int64_t i = 0; i < config_get(cc, "num_hidden_layers", 0) && i < LIMIT_LAYERS; i++)
            json_push(cc->a, types, json_new_cstr(cc->a, "full_attention"));
    }
    return MLTF_OK;
}

static mltf_status config_hunyuan(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    config_bool(cc, "attention_bias", file_has(cc, "blk.0.attn_q.bias"));
    return MLTF_OK;
}

// clang-format off
static const convert_rule rules_phi3[] = {
    EMBEDDINGS(CONVERT_COPY), NORMS(CONVERT_COPY),
    {"blk.%.attn_qkv", "model.layers.%.self_attn.qkv_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "model.layers.%.mlp.gate_up_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, REQUIRED},
    {"rope_factors_long", NULL, CONVERT_SETTING, OPTIONAL},
    {"rope_factors_short", NULL, CONVERT_SETTING, OPTIONAL},
    {0},
};

static const convert_rule rules_phi2[] = {
    {"token_embd", "model.embed_tokens", CONVERT_COPY, REQUIRED},
    {"output_norm", "model.final_layernorm", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_q", "model.layers.%.self_attn.q_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_k", "model.layers.%.self_attn.k_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_v", "model.layers.%.self_attn.v_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "model.layers.%.self_attn.dense", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "model.layers.%.mlp.fc1", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.mlp.fc2", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_starcoder2[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), NORMS(CONVERT_COPY),
    {"blk.%.ffn_up", "model.layers.%.mlp.c_fc", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.mlp.c_proj", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_stablelm[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN,
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "model.layers.%.post_attention_layernorm", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_q_norm", "model.layers.%.self_attn.q_layernorm.norms.#", CONVERT_SPLIT, OPTIONAL},
    {"blk.%.attn_k_norm", "model.layers.%.self_attn.k_layernorm.norms.#", CONVERT_SPLIT, OPTIONAL},
    {0},
};

static const convert_rule rules_olmo[] = { // its norms have no weights
    {"token_embd", "model.embed_tokens", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), GATED_FFN,
    {0},
};

#define NORMS_BEHIND                                                                             \
    {"blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm", CONVERT_COPY, REQUIRED}, \
    {"blk.%.post_ffw_norm", "model.layers.%.post_feedforward_layernorm", CONVERT_COPY, REQUIRED}

static const convert_rule rules_olmo2[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS_BEHIND,
    QK_NORMS(CONVERT_COPY, REQUIRED),
    {"rope_freqs", NULL, CONVERT_SETTING, OPTIONAL},
    {0},
};

static const convert_rule rules_cohere[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN,
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    QK_NORMS(CONVERT_COPY, OPTIONAL),
    {0},
};

static const convert_rule rules_nemotron[] = {
    EMBEDDINGS(CONVERT_MINUS_ONE), ATTENTION(CONVERT_COPY, CONVERT_COPY), NORMS(CONVERT_MINUS_ONE),
    {"blk.%.ffn_up", "model.layers.%.mlp.up_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, REQUIRED},
    {0},
};

#define GLM                                                                                      \
    EMBEDDINGS(CONVERT_COPY), NORMS(CONVERT_COPY),                                               \
    {"blk.%.ffn_up", "model.layers.%.mlp.gate_up_proj", CONVERT_COPY, REQUIRED},                 \
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, REQUIRED}

static const convert_rule rules_glm[] = {
    GLM, ATTENTION(CONVERT_COPY, CONVERT_COPY),
    {0},
};

static const convert_rule rules_glm_qkv[] = {
    GLM,
    {"blk.%.attn_qkv", "model.layers.%.self_attn.#_proj", CONVERT_QKV_APART, REQUIRED},
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_lfm2[] = {
    {"token_embd", "model.embed_tokens", CONVERT_COPY, REQUIRED},
    {"token_embd_norm", "model.embedding_norm", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "model.layers.%.operator_norm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_q", "model.layers.%.self_attn.q_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_k", "model.layers.%.self_attn.k_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_v", "model.layers.%.self_attn.v_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_output", "model.layers.%.self_attn.out_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_q_norm", "model.layers.%.self_attn.q_layernorm", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_k_norm", "model.layers.%.self_attn.k_layernorm", CONVERT_COPY, OPTIONAL},
    {"blk.%.shortconv.conv", "model.layers.%.conv.conv", CONVERT_CHANNELS, OPTIONAL},
    {"blk.%.shortconv.in_proj", "model.layers.%.conv.in_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.shortconv.out_proj", "model.layers.%.conv.out_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_norm", "model.layers.%.ffn_norm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_gate", "model.layers.%.feed_forward.w1", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "model.layers.%.feed_forward.w3", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.feed_forward.w2", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_glm4[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), NORMS(CONVERT_COPY),
    {"blk.%.post_attention_norm", "model.layers.%.post_self_attn_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.post_ffw_norm", "model.layers.%.post_mlp_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "model.layers.%.mlp.gate_up_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_hunyuan[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS(CONVERT_COPY),
    {"blk.%.attn_q_norm", "model.layers.%.self_attn.query_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_k_norm", "model.layers.%.self_attn.key_layernorm", CONVERT_COPY, REQUIRED},
    {0},
};

const convert_family convert_decoder_families[] = {
    {"phi2", NULL, "phi", "PhiForCausalLM", rules_phi2, config_phi2},
    {"phi3", NULL, "phi3", "Phi3ForCausalLM", rules_phi3, config_phi3},
    {"starcoder2", NULL, "starcoder2", "Starcoder2ForCausalLM", rules_starcoder2, config_starcoder2},
    {"stablelm", NULL, "stablelm", "StableLmForCausalLM", rules_stablelm, config_stablelm},
    {"olmo", NULL, "olmo", "OlmoForCausalLM", rules_olmo, config_olmo},
    {"olmo2", has_window, "olmo3", "Olmo3ForCausalLM", rules_olmo2, config_olmo3},
    {"olmo2", NULL, "olmo2", "Olmo2ForCausalLM", rules_olmo2, config_olmo2},
    {"command-r", NULL, "cohere", "CohereForCausalLM", rules_cohere, config_cohere},
    {"cohere2", NULL, "cohere2", "Cohere2ForCausalLM", rules_cohere, config_cohere2},
    {"nemotron", NULL, "nemotron", "NemotronForCausalLM", rules_nemotron, config_nemotron},
    {"chatglm", has_one_qkv, "glm", "GlmForCausalLM", rules_glm_qkv, config_glm},
    {"chatglm", NULL, "glm", "GlmForCausalLM", rules_glm, config_glm},
    {"glm4", NULL, "glm4", "Glm4ForCausalLM", rules_glm4, config_glm},
    {"lfm2", NULL, "lfm2", "Lfm2ForCausalLM", rules_lfm2, config_lfm2},
    {"exaone4", NULL, "exaone4", "Exaone4ForCausalLM", rules_olmo2, config_exaone4},
    {"hunyuan-dense", NULL, "hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", rules_hunyuan, config_hunyuan},
    {0},
};
// clang-format on
