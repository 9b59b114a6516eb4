/* T5 and its descendants, whole or the encoder alone. What is T5, mT5, Flan or UMT5 stands in no setting: gated feed-forward
 * layers are those of 1.1 and later (mT5 is computed as that), a table of relative positions in each layer is UMT5's. */
#include "convert/convert_config.h"

static bool is_gated(const gguf_file *g)
{
    return gguf_find(g, "enc.blk.0.ffn_gate.weight") != NULL;
}

static bool is_umt5(const gguf_file *g)
{
    return is_gated(g) && gguf_find(g, "enc.blk.1.attn_rel_b.weight");
}

static mltf_status config_encoder(const convert_config *cc)
{
    TRY(config_need(cc, "d_model", "embedding_length"));
    TRY(config_need(cc, "d_ff", "feed_forward_length"));
    TRY(config_need(cc, "d_kv", "attention.key_length"));
    TRY(config_need(cc, "num_heads", "attention.head_count"));
    TRY(config_need(cc, "num_layers", "block_count"));
    config_int(cc, "relative_attention_num_buckets",
               file_int(cc, "attention.relative_buckets_count", 32));
    config_int(cc, "relative_attention_max_distance", 128); // as llama.cpp has it
    config_float(cc, "layer_norm_epsilon",
                 file_double(cc, "attention.layer_norm_rms_epsilon", 1e-6));
    config_text(cc, "feed_forward_proj", is_gated(cc->g) ? "gated-gelu" : "relu");
    config_int(cc, "n_positions", file_int(cc, "context_length", 512));
    config_bool(cc, "is_encoder_decoder", false);
    return MLTF_OK;
}

static mltf_status config_t5(const convert_config *cc)
{
    TRY(config_encoder(cc));
    const int64_t layers = file_int(cc, "decoder_block_count", config_get(cc, "num_layers", 1));
    if (layers < 1 || layers > INT32_MAX)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE, "%lld layers of a decoder are not possible",
                         (long long)layers);
    config_int(cc, "num_decoder_layers", layers);
    config_int(cc, "decoder_start_token_id", file_int(cc, "decoder_start_token_id", 0));
    config_bool(cc, "is_encoder_decoder", true);
    config_bool(cc, "use_cache", true);
    return MLTF_OK;
}

// clang-format off
#define ENCODER                                                                                         \
    {"token_embd", "shared", CONVERT_COPY, REQUIRED},                                                   \
    {"enc.output_norm", "encoder.final_layer_norm", CONVERT_COPY, REQUIRED},                            \
    {"enc.blk.%.attn_norm", "encoder.block.%.layer.0.layer_norm", CONVERT_COPY, REQUIRED},              \
    {"enc.blk.%.attn_q", "encoder.block.%.layer.0.SelfAttention.q", CONVERT_COPY, REQUIRED},            \
    {"enc.blk.%.attn_k", "encoder.block.%.layer.0.SelfAttention.k", CONVERT_COPY, REQUIRED},            \
    {"enc.blk.%.attn_v", "encoder.block.%.layer.0.SelfAttention.v", CONVERT_COPY, REQUIRED},            \
    {"enc.blk.%.attn_o", "encoder.block.%.layer.0.SelfAttention.o", CONVERT_COPY, REQUIRED},            \
    {"enc.blk.%.attn_rel_b", "encoder.block.%.layer.0.SelfAttention.relative_attention_bias", CONVERT_COPY, OPTIONAL}, \
    {"enc.blk.%.ffn_norm", "encoder.block.%.layer.1.layer_norm", CONVERT_COPY, REQUIRED},               \
    {"enc.blk.%.ffn_down", "encoder.block.%.layer.1.DenseReluDense.wo", CONVERT_COPY, REQUIRED}
#define DECODER                                                                                         \
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},                                                      \
    {"dec.output_norm", "decoder.final_layer_norm", CONVERT_COPY, REQUIRED},                            \
    {"dec.blk.%.attn_norm", "decoder.block.%.layer.0.layer_norm", CONVERT_COPY, REQUIRED},              \
    {"dec.blk.%.attn_q", "decoder.block.%.layer.0.SelfAttention.q", CONVERT_COPY, REQUIRED},            \
    {"dec.blk.%.attn_k", "decoder.block.%.layer.0.SelfAttention.k", CONVERT_COPY, REQUIRED},            \
    {"dec.blk.%.attn_v", "decoder.block.%.layer.0.SelfAttention.v", CONVERT_COPY, REQUIRED},            \
    {"dec.blk.%.attn_o", "decoder.block.%.layer.0.SelfAttention.o", CONVERT_COPY, REQUIRED},            \
    {"dec.blk.%.attn_rel_b", "decoder.block.%.layer.0.SelfAttention.relative_attention_bias", CONVERT_COPY, OPTIONAL}, \
    {"dec.blk.%.cross_attn_norm", "decoder.block.%.layer.1.layer_norm", CONVERT_COPY, REQUIRED},        \
    {"dec.blk.%.cross_attn_q", "decoder.block.%.layer.1.EncDecAttention.q", CONVERT_COPY, REQUIRED},    \
    {"dec.blk.%.cross_attn_k", "decoder.block.%.layer.1.EncDecAttention.k", CONVERT_COPY, REQUIRED},    \
    {"dec.blk.%.cross_attn_v", "decoder.block.%.layer.1.EncDecAttention.v", CONVERT_COPY, REQUIRED},    \
    {"dec.blk.%.cross_attn_o", "decoder.block.%.layer.1.EncDecAttention.o", CONVERT_COPY, REQUIRED},    \
    {"dec.blk.%.cross_attn_rel_b", NULL, CONVERT_SETTING, OPTIONAL}, /* which no model uses */          \
    {"dec.blk.%.ffn_norm", "decoder.block.%.layer.2.layer_norm", CONVERT_COPY, REQUIRED},               \
    {"dec.blk.%.ffn_down", "decoder.block.%.layer.2.DenseReluDense.wo", CONVERT_COPY, REQUIRED}
#define RELU(side, layer)                                                                               \
    {side ".blk.%.ffn_up", layer ".DenseReluDense.wi", CONVERT_COPY, REQUIRED}
#define GATED(side, layer)                                                                              \
    {side ".blk.%.ffn_gate", layer ".DenseReluDense.wi_0", CONVERT_COPY, REQUIRED},                     \
    {side ".blk.%.ffn_up", layer ".DenseReluDense.wi_1", CONVERT_COPY, REQUIRED}

static const convert_rule rules_t5[] = {
    ENCODER, RELU("enc", "encoder.block.%.layer.1"), DECODER, RELU("dec", "decoder.block.%.layer.2"),
    {0},
};
static const convert_rule rules_t5_gated[] = {
    ENCODER, GATED("enc", "encoder.block.%.layer.1"), DECODER, GATED("dec", "decoder.block.%.layer.2"),
    {0},
};
static const convert_rule rules_encoder[] = {
    ENCODER, RELU("enc", "encoder.block.%.layer.1"),
    {0},
};
static const convert_rule rules_encoder_gated[] = {
    ENCODER, GATED("enc", "encoder.block.%.layer.1"),
    {0},
};

const convert_family convert_t5_families[] = {
    {"t5", is_umt5, "umt5", "UMT5ForConditionalGeneration", rules_t5_gated, config_t5},
    {"t5", is_gated, "t5", "T5ForConditionalGeneration", rules_t5_gated, config_t5},
    {"t5", NULL, "t5", "T5ForConditionalGeneration", rules_t5, config_t5},
    {"t5encoder", is_umt5, "umt5", "UMT5EncoderModel", rules_encoder_gated, config_encoder},
    {"t5encoder", is_gated, "t5", "T5EncoderModel", rules_encoder_gated, config_encoder},
    {"t5encoder", NULL, "t5", "T5EncoderModel", rules_encoder, config_encoder},
    {0},
};
// clang-format on
