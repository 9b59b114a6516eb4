/* BERT, as files of embedding models have it: the encoder without its pooler, and how its tokens become one vector. */
#include "convert/convert_config.h"

static mltf_status config_bert(const convert_config *cc)
{
    const mltf_str tokenizer = gguf_string(cc->g, "tokenizer.ggml.model", STR(""));
    if (!str_is(tokenizer, "bert")) // their positions have lost the first two rows
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "RoBERTa in GGUF (a tokenizer of the kind \"" STR_FMT
                         "\") is not converted; known is BERT",
                         STR_ARG(tokenizer));
    TRY(config_need(cc, "hidden_size", "embedding_length"));
    TRY(config_need(cc, "intermediate_size", "feed_forward_length"));
    TRY(config_need(cc, "num_hidden_layers", "block_count"));
    TRY(config_need(cc, "num_attention_heads", "attention.head_count"));
    TRY(config_need(cc, "max_position_embeddings", "context_length"));
    config_float(cc, "layer_norm_eps", file_double(cc, "attention.layer_norm_epsilon", 1e-12));
    config_text(cc, "hidden_act", "gelu");
    config_text(cc, "position_embedding_type", "absolute");
    const gguf_tensor *types = gguf_find(cc->g, "token_types.weight");
    if (!types || types->ndim > 2)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE,
                         "the GGUF file lacks the tensor \"token_types.weight\"");
    config_int(cc, "type_vocab_size", types->ndim == 2 ? (int64_t)types->shape[1] : 1);
    return MLTF_OK;
}

// clang-format off
static const convert_rule rules_bert[] = {
    {"token_embd", "embeddings.word_embeddings", CONVERT_COPY, REQUIRED},
    {"position_embd", "embeddings.position_embeddings", CONVERT_COPY, REQUIRED},
    {"token_types", "embeddings.token_type_embeddings", CONVERT_ONE_ROW, REQUIRED},
    {"token_embd_norm", "embeddings.LayerNorm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_q", "encoder.layer.%.attention.self.query", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_k", "encoder.layer.%.attention.self.key", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_v", "encoder.layer.%.attention.self.value", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "encoder.layer.%.attention.output.dense", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output_norm", "encoder.layer.%.attention.output.LayerNorm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "encoder.layer.%.intermediate.dense", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "encoder.layer.%.output.dense", CONVERT_COPY, REQUIRED},
    {"blk.%.layer_output_norm", "encoder.layer.%.output.LayerNorm", CONVERT_COPY, REQUIRED},
    {0},
};

const convert_family convert_bert_families[] = {
    {"bert", NULL, "bert", "BertModel", rules_bert, config_bert},
    {0},
};
// clang-format on
