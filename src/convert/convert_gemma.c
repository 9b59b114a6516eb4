/* Gemma 1 to 3. Their norms hold 1 + w in GGUF files. */
#include "convert/convert_config.h"

static mltf_status config_gemma(const convert_config *cc)
{
    TRY(config_decoder(cc));
    config_rms_norm(cc);
    config_text(cc, "hidden_act", "gelu_pytorch_tanh");
    config_text(cc, "hidden_activation", "gelu_pytorch_tanh");
    config_bool(cc, "attention_bias", false);
    return MLTF_OK;
}

/* Not in the file: the scale is that of the head size in all sizes but 27B, whose is hidden / heads. */
static void query_scale(const convert_config *cc, int64_t layers_of_27b)
{
    const int64_t layers = config_get(cc, "num_hidden_layers", 0),
                  hidden = config_get(cc, "hidden_size", 0),
                  heads = config_get(cc, "num_attention_heads", 1);
    config_int(cc, "query_pre_attn_scalar",
               layers == layers_of_27b ? hidden / heads : config_get(cc, "head_dim", 0));
}

static mltf_status config_gemma2(const convert_config *cc)
{
    TRY(config_gemma(cc));
    config_int(cc, "sliding_window", file_int(cc, "attention.sliding_window", 4096));
    config_float(cc, "attn_logit_softcapping", file_double(cc, "attn_logit_softcapping", 50));
    config_float(cc, "final_logit_softcapping", file_double(cc, "final_logit_softcapping", 30));
    query_scale(cc, 46);
    return MLTF_OK;
}

static mltf_status config_gemma3(const convert_config *cc)
{
    TRY(config_gemma(cc));
    config_int(cc, "sliding_window", file_int(cc, "attention.sliding_window", 1024));
    config_int(cc, "sliding_window_pattern", 6);
    config_float(cc, "rope_theta", file_double(cc, "rope.freq_base", 1000000));
    config_float(cc, "rope_local_base_freq", 10000);
    query_scale(cc, 62);
    return MLTF_OK;
}

// clang-format off
static const convert_rule rules_gemma[] = {
    EMBEDDINGS(CONVERT_MINUS_ONE), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS(CONVERT_MINUS_ONE),
    {0},
};

static const convert_rule rules_gemma2[] = {
    EMBEDDINGS(CONVERT_MINUS_ONE), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, FOUR_NORMS(CONVERT_MINUS_ONE),
    {0},
};

static const convert_rule rules_gemma3[] = {
    EMBEDDINGS(CONVERT_MINUS_ONE), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, FOUR_NORMS(CONVERT_MINUS_ONE),
    QK_NORMS(CONVERT_MINUS_ONE, REQUIRED),
    {0},
};

const convert_family convert_gemma_families[] = {
    {"gemma", NULL, "gemma", "GemmaForCausalLM", rules_gemma, config_gemma},
    {"gemma2", NULL, "gemma2", "Gemma2ForCausalLM", rules_gemma2, config_gemma2},
    {"gemma3", NULL, "gemma3_text", "Gemma3ForCausalLM", rules_gemma3, config_gemma3},
    {0},
};
// clang-format on
