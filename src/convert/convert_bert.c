/* Encoders of embedding models and rerankers: BERT, DistilBERT (without types of tokens), RoBERTa and XLM-R (with other
 * tokenizers), which are all "bert" in the file; NomicBERT, ModernBERT. */
#include "convert/convert_config.h"

#include "base/limits.h"

static bool has_tokenizer(const gguf_file *g, const char *kind)
{
    return str_is(gguf_string(g, "tokenizer.ggml.model", STR("")), kind);
}

static bool is_bert(const gguf_file *g)
{
    return has_tokenizer(g, "bert");
}
static bool is_distilbert(const gguf_file *g)
{
    return is_bert(g) && !gguf_find(g, "token_types.weight");
}
static bool is_xlm_roberta(const gguf_file *g)
{
    return has_tokenizer(g, "t5");
}
static bool has_classifier(const gguf_file *g)
{
    return gguf_find(g, "cls.output.weight") != NULL;
}
static bool is_xlm_roberta_classifier(const gguf_file *g)
{
    return is_xlm_roberta(g) && has_classifier(g);
}
static bool is_roberta_classifier(const gguf_file *g)
{
    return !is_bert(g) && has_classifier(g);
}

static mltf_status config_bert(const convert_config *cc)
{
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

static mltf_status config_distilbert(const convert_config *cc)
{
    TRY(config_need(cc, "dim", "embedding_length"));
    TRY(config_need(cc, "hidden_dim", "feed_forward_length"));
    TRY(config_need(cc, "n_layers", "block_count"));
    TRY(config_need(cc, "n_heads", "attention.head_count"));
    TRY(config_need(cc, "max_position_embeddings", "context_length"));
    config_text(cc, "activation", "gelu");
    config_bool(cc, "sinusoidal_pos_embds", false);
    return MLTF_OK;
}

/* Positions begin at 2, behind the padding token's id; the file does not have the rows before. */
static mltf_status config_roberta(const convert_config *cc)
{
    TRY(config_bert(cc));
    const gguf_tensor *positions = gguf_find(cc->g, "position_embd.weight");
    if (positions && positions->ndim == 2)
        config_int(cc, "max_position_embeddings", (int64_t)positions->shape[1] + 2);
    config_int(cc, "pad_token_id", 1);
    return MLTF_OK;
}

static mltf_status config_roberta_classifier(const convert_config *cc)
{
    TRY(config_roberta(cc));
    const gguf_tensor *out = gguf_find(cc->g, "cls.output.weight");
    const int64_t n = out->ndim > 1 ? (int64_t)out->shape[1] : 1;
    const gguf_value *names = gguf_get(cc->g, "bert.classifier.output_labels");
    if (n > LIMIT_EXPERTS || (names && (names->type != GGUF_V_STRING || (int64_t)names->n != n)))
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE,
                         "bert.classifier.output_labels does not name the %lld labels",
                         (long long)n);
    json *labels = json_set(cc->a, cc->c, "id2label", json_new_object(cc->a));
    json *ids = json_set(cc->a, cc->c, "label2id", json_new_object(cc->a));
    for (int64_t i = 0; i < n; i++) {
        const char *id = arena_printf(cc->a, "%lld", (long long)i),
                   *plain = arena_printf(cc->a, "LABEL_%lld", (long long)i);
        if (!id || !plain) return mltf_fail_memory(cc->err);
        const mltf_str name = names ? names->strings[i] : str_from(plain);
        json_set(cc->a, labels, id, json_new_string(cc->a, name));
        json_set_str(cc->a, ids, name, json_new_int(cc->a, i));
    }
    return MLTF_OK;
}

static mltf_status config_nomic(const convert_config *cc)
{
    TRY(config_need(cc, "n_embd", "embedding_length"));
    TRY(config_need(cc, "n_inner", "feed_forward_length"));
    TRY(config_need(cc, "n_layer", "block_count"));
    TRY(config_need(cc, "n_head", "attention.head_count"));
    TRY(config_need(cc, "n_positions", "context_length"));
    config_float(cc, "layer_norm_epsilon", file_double(cc, "attention.layer_norm_epsilon", 1e-12));
    config_text(cc, "activation_function", "swiglu");
    config_float(cc, "rotary_emb_fraction", 1);
    config_float(cc, "rotary_emb_base", file_double(cc, "rope.freq_base", 1000));
    config_bool(cc, "rotary_emb_interleaved", false);
    config_bool(cc, "qkv_proj_bias", file_has(cc, "blk.0.attn_qkv.bias"));
    config_bool(cc, "mlp_fc1_bias", file_has(cc, "blk.0.ffn_up.bias"));
    config_bool(cc, "mlp_fc2_bias", file_has(cc, "blk.0.ffn_down.bias"));
    config_bool(cc, "prenorm", false);
    const gguf_tensor *types = gguf_find(cc->g, "token_types.weight");
    config_int(cc, "type_vocab_size", !types ? 0 : types->ndim == 2 ? (int64_t)types->shape[1] : 1);
    return MLTF_OK;
}

static mltf_status config_modern(const convert_config *cc)
{
    TRY(config_need(cc, "hidden_size", "embedding_length"));
    TRY(config_need(cc, "intermediate_size", "feed_forward_length"));
    TRY(config_need(cc, "num_hidden_layers", "block_count"));
    TRY(config_need(cc, "num_attention_heads", "attention.head_count"));
    TRY(config_need(cc, "max_position_embeddings", "context_length"));
    config_float(cc, "norm_eps", file_double(cc, "attention.layer_norm_epsilon", 1e-5));
    config_text(cc, "hidden_activation", "gelu");
    config_float(cc, "global_rope_theta", file_double(cc, "rope.freq_base", 160000));
    config_float(cc, "local_rope_theta", file_double(cc, "rope.freq_base_swa", 10000));
    config_int(cc, "local_attention", file_int(cc, "attention.sliding_window", 128));
    config_int(cc, "global_attn_every_n_layers", 3); // as llama.cpp has it
    const int64_t cls = convert_token_id(cc->g, "bos"), sep = convert_token_id(cc->g, "seperator");
    if (cls >= 0) config_int(cc, "cls_token_id", cls);
    if (sep >= 0) config_int(cc, "sep_token_id", sep);
    return MLTF_OK;
}

// clang-format off
#define BERT(to, position_op)                                                                     \
    {"token_embd", to "embeddings.word_embeddings", CONVERT_COPY, REQUIRED},                      \
    {"position_embd", to "embeddings.position_embeddings", position_op, REQUIRED},                \
    {"token_types", to "embeddings.token_type_embeddings", CONVERT_ONE_ROW, REQUIRED},            \
    {"token_embd_norm", to "embeddings.LayerNorm", CONVERT_COPY, REQUIRED},                       \
    {"blk.%.attn_q", to "encoder.layer.%.attention.self.query", CONVERT_COPY, REQUIRED},          \
    {"blk.%.attn_k", to "encoder.layer.%.attention.self.key", CONVERT_COPY, REQUIRED},            \
    {"blk.%.attn_v", to "encoder.layer.%.attention.self.value", CONVERT_COPY, REQUIRED},          \
    {"blk.%.attn_output", to "encoder.layer.%.attention.output.dense", CONVERT_COPY, REQUIRED},   \
    {"blk.%.attn_output_norm", to "encoder.layer.%.attention.output.LayerNorm", CONVERT_COPY, REQUIRED}, \
    {"blk.%.ffn_up", to "encoder.layer.%.intermediate.dense", CONVERT_COPY, REQUIRED},            \
    {"blk.%.ffn_down", to "encoder.layer.%.output.dense", CONVERT_COPY, REQUIRED},                \
    {"blk.%.layer_output_norm", to "encoder.layer.%.output.LayerNorm", CONVERT_COPY, REQUIRED}

static const convert_rule rules_bert[] = {
    BERT("", CONVERT_COPY),
    {0},
};

static const convert_rule rules_distilbert[] = {
    {"token_embd", "embeddings.word_embeddings", CONVERT_COPY, REQUIRED},
    {"position_embd", "embeddings.position_embeddings", CONVERT_COPY, REQUIRED},
    {"token_embd_norm", "embeddings.LayerNorm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_q", "transformer.layer.%.attention.q_lin", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_k", "transformer.layer.%.attention.k_lin", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_v", "transformer.layer.%.attention.v_lin", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "transformer.layer.%.attention.out_lin", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output_norm", "transformer.layer.%.sa_layer_norm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "transformer.layer.%.ffn.lin1", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "transformer.layer.%.ffn.lin2", CONVERT_COPY, REQUIRED},
    {"blk.%.layer_output_norm", "transformer.layer.%.output_layer_norm", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_roberta[] = {
    BERT("", CONVERT_FROM_TWO),
    {0},
};

static const convert_rule rules_roberta_classifier[] = {
    BERT("roberta.", CONVERT_FROM_TWO),
    {"cls", "classifier.dense", CONVERT_COPY, REQUIRED},
    {"cls.output", "classifier.out_proj", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_nomic[] = {
    {"token_embd", "embeddings.word_embeddings", CONVERT_COPY, REQUIRED},
    {"token_types", "embeddings.token_type_embeddings", CONVERT_ONE_ROW, OPTIONAL},
    {"token_embd_norm", "emb_ln", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_qkv", "encoder.layers.%.attn.Wqkv", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "encoder.layers.%.attn.out_proj", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output_norm", "encoder.layers.%.norm1", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "encoder.layers.%.mlp.fc11", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_gate", "encoder.layers.%.mlp.fc12", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "encoder.layers.%.mlp.fc2", CONVERT_COPY, REQUIRED},
    {"blk.%.layer_output_norm", "encoder.layers.%.norm2", CONVERT_COPY, REQUIRED},
    {0},
};

static const convert_rule rules_modern[] = { // the first layer has no norm before it
    {"token_embd", "embeddings.tok_embeddings", CONVERT_COPY, REQUIRED},
    {"token_embd_norm", "embeddings.norm", CONVERT_COPY, REQUIRED},
    {"output_norm", "final_norm", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_norm", "layers.%.attn_norm", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_qkv", "layers.%.attn.Wqkv", CONVERT_COPY, REQUIRED},
    {"blk.%.attn_output", "layers.%.attn.Wo", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "layers.%.mlp_norm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_up", "layers.%.mlp.Wi", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_down", "layers.%.mlp.Wo", CONVERT_COPY, REQUIRED},
    {0},
};

const convert_family convert_bert_families[] = {
    {"bert", is_xlm_roberta_classifier, "xlm-roberta", "XLMRobertaForSequenceClassification", rules_roberta_classifier, config_roberta_classifier},
    {"bert", is_xlm_roberta, "xlm-roberta", "XLMRobertaModel", rules_roberta, config_roberta},
    {"bert", is_roberta_classifier, "roberta", "RobertaForSequenceClassification", rules_roberta_classifier, config_roberta_classifier},
    {"bert", is_distilbert, "distilbert", "DistilBertModel", rules_distilbert, config_distilbert},
    {"bert", is_bert, "bert", "BertModel", rules_bert, config_bert},
    {"bert", NULL, "roberta", "RobertaModel", rules_roberta, config_roberta},
    {"nomic-bert", NULL, "nomic_bert", "NomicBertModel", rules_nomic, config_nomic},
    {"modern-bert", NULL, "modernbert", "ModernBertModel", rules_modern, config_modern},
    {0},
};
// clang-format on
