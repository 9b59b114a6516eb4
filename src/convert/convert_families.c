/* The families that convert_gguf() knows: names of tensors (llama.cpp's gguf-py/gguf/tensor_mapping.py tells
 * which) and settings (transformers' configuration classes, 4.57). */
#include "convert/convert_gguf.h"

#include <math.h>
#include <stdio.h>

#include "formats/decimal.h"

int64_t convert_int(const gguf_file *g, const char *key, int64_t fallback)
{
    char name[128];
    const mltf_str arch = gguf_string(g, "general.architecture", STR(""));
    snprintf(name, sizeof name, "%.*s.%s", (int)(arch.n > 60 ? 60 : arch.n), arch.p, key);
    return gguf_int(g, name, fallback);
}

double convert_double(const gguf_file *g, const char *key, double fallback)
{
    char name[128];
    const mltf_str arch = gguf_string(g, "general.architecture", STR(""));
    snprintf(name, sizeof name, "%.*s.%s", (int)(arch.n > 60 ? 60 : arch.n), arch.p, key);
    return gguf_double(g, name, fallback);
}

static mltf_str convert_text(const gguf_file *g, const char *key)
{
    char name[128];
    const mltf_str arch = gguf_string(g, "general.architecture", STR(""));
    snprintf(name, sizeof name, "%.*s.%s", (int)(arch.n > 60 ? 60 : arch.n), arch.p, key);
    return gguf_string(g, name, (mltf_str){0});
}

/* ---- settings ------------------------------------------------------------------------------ */

static void put_int(mltf_arena *a, json *c, const char *key, int64_t v)
{
    json_set(a, c, key, json_new_int(a, v));
}
static void put_bool(mltf_arena *a, json *c, const char *key, bool v)
{
    json_set(a, c, key, json_new_bool(a, v));
}
static void put_text(mltf_arena *a, json *c, const char *key, const char *v)
{
    json_set(a, c, key, json_new_cstr(a, v));
}

/* A float32 of the file as the shortest decimal that names it: 1e-05, not 9.999999747378752e-06. */
static void put_float(mltf_arena *a, json *c, const char *key, double v)
{
    char text[32];
    double d;
    const size_t n = decimal_repr_float(text, (float)v);
    if (!decimal_parse(&d, text, n)) d = v;
    json_set(a, c, key, json_new_double(a, d));
}

static mltf_status need(const gguf_file *g, mltf_arena *a, json *c, const char *key,
                        const char *from, mltf_err *err)
{
    const int64_t v = convert_int(g, from, -1);
    if (v < 1 || v > INT32_MAX)
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "the GGUF file has no single number \"%s\" (absent, or another one for each layer)",
            from);
    put_int(a, c, key, v);
    return MLTF_OK;
}

/* The bands of Llama 3: the file stores the factor of each frequency, config.json the rule behind them. */
static bool is_llama3(const gguf_tensor *t, double theta, double factor, double low, double high,
                      double old)
{
    const size_t n = t->count;
    for (size_t i = 0; i < n; i++) {
        float got;
        gguf_dequantize(&got, t, i, 1);
        const double freq = pow(theta, -(double)i / (double)n), wave = 2 * acos(-1.0) / freq;
        double want = 1;
        if (wave > old / low)
            want = factor;
        else if (wave >= old / high) {
            const double smooth = (old / wave - low) / (high - low);
            want = 1 / ((1 - smooth) / factor + smooth);
        }
        if (fabs((double)got - want) > 1e-3 * want) return false;
    }
    return true;
}

static mltf_status rope(const gguf_file *g, mltf_arena *a, json *c, double default_theta,
                        mltf_err *err)
{
    const double theta = convert_double(g, "rope.freq_base", default_theta);
    put_float(a, c, "rope_theta", theta);
    const gguf_tensor *freqs = gguf_find(g, "rope_freqs.weight");
    const mltf_str type = convert_text(g, "rope.scaling.type");
    const double factor =
        convert_double(g, "rope.scaling.factor", convert_double(g, "rope.scale_linear", 1));
    json *r = json_new_object(a);
    if (freqs) {
        float largest = 1;
        if (freqs->type != GGUF_F32 || freqs->count < 1 || freqs->count > 4096)
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "tensor \"rope_freqs.weight\" is not a list of float32");
        gguf_dequantize(&largest, freqs, freqs->count - 1, 1);
        if (!is_llama3(freqs, theta, (double)largest, 1, 4, 8192))
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "the frequencies in \"rope_freqs.weight\" follow no rule known here");
        put_text(a, r, "rope_type", "llama3");
        put_float(a, r, "factor", (double)largest);
        json_set(a, r, "low_freq_factor", json_new_double(a, 1));
        json_set(a, r, "high_freq_factor", json_new_double(a, 4));
        put_int(a, r, "original_max_position_embeddings", 8192);
    } else if (str_is(type, "linear") || (!type.p && factor != 1)) {
        put_text(a, r, "rope_type", "linear");
        put_float(a, r, "factor", factor);
    } else if (str_is(type, "yarn")) {
        put_text(a, r, "rope_type", "yarn");
        put_float(a, r, "factor", factor);
        const int64_t old = convert_int(g, "rope.scaling.original_context_length", 0);
        if (old > 0) put_int(a, r, "original_max_position_embeddings", old);
    } else if (type.p && !str_is(type, "none") && !str_is(type, "longrope")) {
        return mltf_fail(err, MLTF_UNSUPPORTED, "rope scaling \"" STR_FMT "\" is not supported",
                         STR_ARG(type));
    }
    if (json_len(r)) json_set(a, c, "rope_scaling", r);
    return MLTF_OK;
}

/* What all decoders with rotary positions share. */
static mltf_status decoder(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    if (convert_int(g, "expert_count", 0) > 0)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "the model is a mixture of experts, which is not converted");
    TRY(need(g, a, c, "hidden_size", "embedding_length", err));
    TRY(need(g, a, c, "intermediate_size", "feed_forward_length", err));
    TRY(need(g, a, c, "num_hidden_layers", "block_count", err));
    TRY(need(g, a, c, "num_attention_heads", "attention.head_count", err));
    const int64_t heads = json_int(json_get(c, "num_attention_heads"), 1);
    const int64_t kv = convert_int(g, "attention.head_count_kv", heads);
    if (kv < 1 || kv > heads || heads % kv)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "%lld key heads do not divide %lld query heads",
                         (long long)kv, (long long)heads);
    put_int(a, c, "num_key_value_heads", kv);
    const int64_t hidden = json_int(json_get(c, "hidden_size"), 0);
    const int64_t head_dim = convert_int(g, "attention.key_length", hidden / heads);
    if (head_dim < 1 || head_dim > 65536)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "heads of %lld values are not possible",
                         (long long)head_dim);
    if (convert_int(g, "attention.value_length", head_dim) != head_dim)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "keys and values of different lengths are not supported");
    put_int(a, c, "head_dim", head_dim);
    TRY(need(g, a, c, "max_position_embeddings", "context_length", err));
    put_bool(a, c, "use_cache", true);
    json_set(a, c, "attention_dropout", json_new_double(a, 0));
    json_set(a, c, "initializer_range", json_new_double(a, 0.02));
    return rope(g, a, c, 10000, err);
}

static void rms_norm(const gguf_file *g, mltf_arena *a, json *c, double fallback)
{
    put_float(a, c, "rms_norm_eps",
              convert_double(g, "attention.layer_norm_rms_epsilon", fallback));
}

static mltf_status config_llama(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(decoder(g, a, c, err));
    rms_norm(g, a, c, 1e-6);
    put_text(a, c, "hidden_act", "silu");
    const bool q = gguf_find(g, "blk.0.attn_q.bias") != NULL,
               o = gguf_find(g, "blk.0.attn_output.bias") != NULL;
    if (q != o)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "attention with some biases but not all is not known to Llama");
    put_bool(a, c, "attention_bias", q);
    put_bool(a, c, "mlp_bias", gguf_find(g, "blk.0.ffn_up.bias") != NULL);
    put_int(a, c, "pretraining_tp", 1);
    return MLTF_OK;
}

static mltf_status config_qwen(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(decoder(g, a, c, err));
    rms_norm(g, a, c, 1e-6);
    put_text(a, c, "hidden_act", "silu");
    put_bool(a, c, "use_sliding_window", false);
    return MLTF_OK;
}

static mltf_status config_qwen2(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(config_qwen(g, a, c, err));
    json_remove(c, "head_dim"); // it has none but hidden / heads
    return MLTF_OK;
}

static mltf_status config_qwen3(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(config_qwen(g, a, c, err));
    put_bool(a, c, "attention_bias", gguf_find(g, "blk.0.attn_q.bias") != NULL);
    return MLTF_OK;
}

static mltf_status config_gemma(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(decoder(g, a, c, err));
    rms_norm(g, a, c, 1e-6);
    put_text(a, c, "hidden_act", "gelu_pytorch_tanh");
    put_text(a, c, "hidden_activation", "gelu_pytorch_tanh");
    put_bool(a, c, "attention_bias", false);
    return MLTF_OK;
}

static mltf_status config_gemma2(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(config_gemma(g, a, c, err));
    put_int(a, c, "sliding_window", convert_int(g, "attention.sliding_window", 4096));
    put_float(a, c, "attn_logit_softcapping", convert_double(g, "attn_logit_softcapping", 50));
    put_float(a, c, "final_logit_softcapping", convert_double(g, "final_logit_softcapping", 30));
    // not in the file: the scale is that of the head size in all sizes but 27B, whose is hidden / heads
    const int64_t layers = json_int(json_get(c, "num_hidden_layers"), 0),
                  hidden = json_int(json_get(c, "hidden_size"), 0),
                  heads = json_int(json_get(c, "num_attention_heads"), 1),
                  head_dim = json_int(json_get(c, "head_dim"), 0);
    put_int(a, c, "query_pre_attn_scalar", layers == 46 ? hidden / heads : head_dim);
    return MLTF_OK;
}

static void put_factors(const gguf_file *g, mltf_arena *a, json *r, const char *key,
                        const char *tensor)
{
    const gguf_tensor *t = gguf_find(g, tensor);
    if (!t || t->type != GGUF_F32 || t->count > 4096) return;
    json *list = json_set(a, r, key, json_new_array(a));
    for (size_t i = 0; i < t->count; i++) {
        float f;
        gguf_dequantize(&f, t, i, 1);
        json_push(a, list, json_new_double(a, (double)f));
    }
}

static mltf_status config_phi3(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(decoder(g, a, c, err));
    rms_norm(g, a, c, 1e-5);
    json_remove(c, "head_dim");
    put_text(a, c, "hidden_act", "silu");
    const int64_t window = convert_int(g, "attention.sliding_window", 0),
                  old = convert_int(g, "rope.scaling.original_context_length", 0);
    if (window > 0) put_int(a, c, "sliding_window", window);
    if (old > 0) put_int(a, c, "original_max_position_embeddings", old);
    const int64_t heads = json_int(json_get(c, "num_attention_heads"), 1),
                  hidden = json_int(json_get(c, "hidden_size"), 0);
    const int64_t rotated = convert_int(g, "rope.dimension_count", hidden / heads);
    if (rotated != hidden / heads)
        put_float(a, c, "partial_rotary_factor", (double)rotated / (double)(hidden / heads));
    if (gguf_find(g, "rope_factors_long.weight")) {
        json *r = json_new_object(a);
        put_text(a, r, "type", "longrope");
        put_factors(g, a, r, "long_factor", "rope_factors_long.weight");
        put_factors(g, a, r, "short_factor", "rope_factors_short.weight");
        json_set(a, c, "rope_scaling", r);
    }
    return MLTF_OK;
}

static mltf_status config_starcoder2(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(decoder(g, a, c, err));
    put_float(a, c, "norm_epsilon", convert_double(g, "attention.layer_norm_epsilon", 1e-5));
    put_text(a, c, "hidden_act", "gelu_pytorch_tanh");
    put_bool(a, c, "use_bias", gguf_find(g, "blk.0.attn_q.bias") != NULL);
    const int64_t window = convert_int(g, "attention.sliding_window", 0);
    json_set(a, c, "sliding_window", window > 0 ? json_new_int(a, window) : json_new_null(a));
    return MLTF_OK;
}

static mltf_status config_gpt2(const gguf_file *g, mltf_arena *a, json *c, mltf_err *err)
{
    TRY(need(g, a, c, "n_embd", "embedding_length", err));
    TRY(need(g, a, c, "n_inner", "feed_forward_length", err));
    TRY(need(g, a, c, "n_layer", "block_count", err));
    TRY(need(g, a, c, "n_head", "attention.head_count", err));
    TRY(need(g, a, c, "n_positions", "context_length", err));
    put_int(a, c, "n_ctx", json_int(json_get(c, "n_positions"), 0));
    put_float(a, c, "layer_norm_epsilon", convert_double(g, "attention.layer_norm_epsilon", 1e-5));
    put_text(a, c, "activation_function", "gelu_new");
    json_set(a, c, "initializer_range", json_new_double(a, 0.02));
    put_bool(a, c, "use_cache", true);
    return MLTF_OK;
}

/* ---- tensors ------------------------------------------------------------------------------- */

// clang-format off
#define EMBEDDINGS(norm_op)                                                   \
    {"token_embd", "model.embed_tokens", CONVERT_COPY, true},                 \
    {"output_norm", "model.norm", norm_op, true},                             \
    {"output", "lm_head", CONVERT_COPY, false}
#define ATTENTION(q_op, k_op)                                                 \
    {"blk.%.attn_q", "model.layers.%.self_attn.q_proj", q_op, true},          \
    {"blk.%.attn_k", "model.layers.%.self_attn.k_proj", k_op, true},          \
    {"blk.%.attn_v", "model.layers.%.self_attn.v_proj", CONVERT_COPY, true},  \
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, true}
#define GATED_FFN                                                             \
    {"blk.%.ffn_gate", "model.layers.%.mlp.gate_proj", CONVERT_COPY, true},   \
    {"blk.%.ffn_up", "model.layers.%.mlp.up_proj", CONVERT_COPY, true},       \
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, true}
#define NORMS(norm_op)                                                        \
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", norm_op, true},     \
    {"blk.%.ffn_norm", "model.layers.%.post_attention_layernorm", norm_op, true}

static const convert_rule rules_llama[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), GATED_FFN, NORMS(CONVERT_COPY),
    {"rope_freqs", NULL, CONVERT_SETTING, false},
    {0},
};

static const convert_rule rules_qwen[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS(CONVERT_COPY),
    {"blk.%.attn_q_norm", "model.layers.%.self_attn.q_norm", CONVERT_COPY, false},
    {"blk.%.attn_k_norm", "model.layers.%.self_attn.k_norm", CONVERT_COPY, false},
    {0},
};

static const convert_rule rules_gemma[] = {
    EMBEDDINGS(CONVERT_MINUS_ONE), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN, NORMS(CONVERT_MINUS_ONE),
    {0},
};

static const convert_rule rules_gemma2[] = {
    EMBEDDINGS(CONVERT_MINUS_ONE), ATTENTION(CONVERT_COPY, CONVERT_COPY), GATED_FFN,
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_MINUS_ONE, true},
    {"blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm", CONVERT_MINUS_ONE, true},
    {"blk.%.ffn_norm", "model.layers.%.pre_feedforward_layernorm", CONVERT_MINUS_ONE, true},
    {"blk.%.post_ffw_norm", "model.layers.%.post_feedforward_layernorm", CONVERT_MINUS_ONE, true},
    {0},
};

static const convert_rule rules_phi3[] = {
    EMBEDDINGS(CONVERT_COPY), NORMS(CONVERT_COPY),
    {"blk.%.attn_qkv", "model.layers.%.self_attn.qkv_proj", CONVERT_COPY, true},
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, true},
    {"blk.%.ffn_up", "model.layers.%.mlp.gate_up_proj", CONVERT_COPY, true},
    {"blk.%.ffn_down", "model.layers.%.mlp.down_proj", CONVERT_COPY, true},
    {"rope_factors_long", NULL, CONVERT_SETTING, false},
    {"rope_factors_short", NULL, CONVERT_SETTING, false},
    {0},
};

static const convert_rule rules_starcoder2[] = {
    EMBEDDINGS(CONVERT_COPY), ATTENTION(CONVERT_COPY, CONVERT_COPY), NORMS(CONVERT_COPY),
    {"blk.%.ffn_up", "model.layers.%.mlp.c_fc", CONVERT_COPY, true},
    {"blk.%.ffn_down", "model.layers.%.mlp.c_proj", CONVERT_COPY, true},
    {0},
};

static const convert_rule rules_gpt2[] = {
    {"token_embd", "transformer.wte", CONVERT_COPY, true},
    {"position_embd", "transformer.wpe", CONVERT_COPY, true},
    {"output_norm", "transformer.ln_f", CONVERT_COPY, true},
    {"output", "lm_head", CONVERT_COPY, false},
    {"blk.%.attn_norm", "transformer.h.%.ln_1", CONVERT_COPY, true},
    {"blk.%.attn_qkv", "transformer.h.%.attn.c_attn", CONVERT_TRANSPOSE, true},
    {"blk.%.attn_output", "transformer.h.%.attn.c_proj", CONVERT_TRANSPOSE, true},
    {"blk.%.ffn_norm", "transformer.h.%.ln_2", CONVERT_COPY, true},
    {"blk.%.ffn_up", "transformer.h.%.mlp.c_fc", CONVERT_TRANSPOSE, true},
    {"blk.%.ffn_down", "transformer.h.%.mlp.c_proj", CONVERT_TRANSPOSE, true},
    {0},
};

static const convert_family families[] = {
    {"llama", "llama", "LlamaForCausalLM", "token_embd.weight", rules_llama, config_llama},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", "token_embd.weight", rules_qwen, config_qwen2},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", "token_embd.weight", rules_qwen, config_qwen3},
    {"gemma", "gemma", "GemmaForCausalLM", "token_embd.weight", rules_gemma, config_gemma},
    {"gemma2", "gemma2", "Gemma2ForCausalLM", "token_embd.weight", rules_gemma2, config_gemma2},
    {"phi3", "phi3", "Phi3ForCausalLM", "token_embd.weight", rules_phi3, config_phi3},
    {"starcoder2", "starcoder2", "Starcoder2ForCausalLM", "token_embd.weight", rules_starcoder2, config_starcoder2},
    {"gpt2", "gpt2", "GPT2LMHeadModel", "token_embd.weight", rules_gpt2, config_gpt2},
};
// clang-format on

enum { N_FAMILIES = sizeof families / sizeof *families };

const convert_family *convert_family_find(mltf_str name)
{
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (str_is(name, families[i].name)) return &families[i];
    }
    return NULL;
}

void convert_family_names(mltf_buf *out)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        buf_printf(out, "%s%s", i ? ", " : "", families[i].name);
}
