#include "convert/convert_config.h"

#include <math.h>
#include <stdio.h>

#include "base/limits.h"
#include "formats/decimal.h"

/* ---- what the file says ----------------------------------------------------------------------- */

typedef char full_key[128];

static const char *in_full(const convert_config *cc, const char *key, full_key out)
{
    const mltf_str arch = gguf_string(cc->g, "general.architecture", STR(""));
    snprintf(out, sizeof(full_key), "%.*s.%s", (int)(arch.n > 60 ? 60 : arch.n), arch.p, key);
    return out;
}

int64_t file_int(const convert_config *cc, const char *key, int64_t fallback)
{
    full_key name;
    return gguf_int(cc->g, in_full(cc, key, name), fallback);
}

double file_double(const convert_config *cc, const char *key, double fallback)
{
    full_key name;
    return gguf_double(cc->g, in_full(cc, key, name), fallback);
}

bool file_bool(const convert_config *cc, const char *key, bool fallback)
{
    full_key name;
    return gguf_bool(cc->g, in_full(cc, key, name), fallback);
}

static mltf_str text_of(const convert_config *cc, const char *key)
{
    full_key name;
    return gguf_string(cc->g, in_full(cc, key, name), (mltf_str){0});
}

bool file_has(const convert_config *cc, const char *tensor)
{
    return gguf_find(cc->g, tensor) != NULL;
}

/* ---- what config.json gets --------------------------------------------------------------------- */

void config_int(const convert_config *cc, const char *key, int64_t v)
{
    json_set(cc->a, cc->c, key, json_new_int(cc->a, v));
}

void config_bool(const convert_config *cc, const char *key, bool v)
{
    json_set(cc->a, cc->c, key, json_new_bool(cc->a, v));
}

void config_text(const convert_config *cc, const char *key, const char *v)
{
    json_set(cc->a, cc->c, key, json_new_cstr(cc->a, v));
}

void config_float(const convert_config *cc, const char *key, double v)
{
    convert_put_float(cc->a, cc->c, key, v);
}

void convert_put_float(mltf_arena *a, json *o, const char *key, double v)
{
    char text[32];
    double d;
    const size_t n = decimal_repr_float(text, (float)v);
    if (!decimal_parse(&d, text, n)) d = v;
    json_set(a, o, key, json_new_double(a, d));
}

int64_t config_get(const convert_config *cc, const char *key, int64_t fallback)
{
    return json_int(json_get(cc->c, key), fallback);
}

int64_t config_layers(const convert_config *cc)
{
    const int64_t all = file_int(cc, "block_count", 0),
                  ahead = file_int(cc, "nextn_predict_layers", 0);
    return ahead >= 0 && ahead <= all ? all - ahead : -1;
}

mltf_status config_need(const convert_config *cc, const char *key, const char *from)
{
    const int64_t v = file_int(cc, from, -1);
    if (v < 1 || v > INT32_MAX)
        return mltf_fail(
            cc->err, MLTF_UNSUPPORTED,
            "the GGUF file has no single number \"%s\" (absent, or another one for each layer)",
            from);
    config_int(cc, key, v);
    return MLTF_OK;
}

/* ---- what families share ------------------------------------------------------------------------ */

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

mltf_status config_rope(const convert_config *cc, double default_theta)
{
    const double theta = file_double(cc, "rope.freq_base", default_theta);
    config_float(cc, "rope_theta", theta);
    const gguf_tensor *freqs = gguf_find(cc->g, "rope_freqs.weight");
    const mltf_str type = text_of(cc, "rope.scaling.type");
    const double factor =
        file_double(cc, "rope.scaling.factor", file_double(cc, "rope.scale_linear", 1));
    json *r = json_new_object(cc->a);
    const convert_config scaling = {cc->g, cc->a, r, cc->err};
    if (freqs) {
        float largest = 1;
        if (freqs->type != GGUF_F32 || freqs->count < 1 || freqs->count > 4096)
            return mltf_fail(cc->err, MLTF_CORRUPT_FILE,
                             "tensor \"rope_freqs.weight\" is not a list of float32");
        gguf_dequantize(&largest, freqs, freqs->count - 1, 1);
        if (!is_llama3(freqs, theta, (double)largest, 1, 4, 8192))
            return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                             "the frequencies in \"rope_freqs.weight\" follow no rule known here");
        config_text(&scaling, "rope_type", "llama3");
        config_float(&scaling, "factor", (double)largest);
        config_float(&scaling, "low_freq_factor", 1);
        config_float(&scaling, "high_freq_factor", 4);
        config_int(&scaling, "original_max_position_embeddings", 8192);
    } else if (str_is(type, "linear") || (!type.p && factor != 1)) {
        config_text(&scaling, "rope_type", "linear");
        config_float(&scaling, "factor", factor);
    } else if (str_is(type, "yarn")) {
        config_text(&scaling, "rope_type", "yarn");
        config_float(&scaling, "factor", factor);
        const int64_t old = file_int(cc, "rope.scaling.original_context_length", 0);
        if (old > 0) config_int(&scaling, "original_max_position_embeddings", old);
        const double fast = file_double(cc, "rope.scaling.yarn_beta_fast", 0),
                     slow = file_double(cc, "rope.scaling.yarn_beta_slow", 0);
        if (fast > 0) config_float(&scaling, "beta_fast", fast);
        if (slow > 0) config_float(&scaling, "beta_slow", slow);
    } else if (type.p && !str_is(type, "none") && !str_is(type, "longrope")) {
        return mltf_fail(cc->err, MLTF_UNSUPPORTED, "rope scaling \"" STR_FMT "\" is not supported",
                         STR_ARG(type));
    }
    if (json_len(r)) json_set(cc->a, cc->c, "rope_scaling", r);
    return MLTF_OK;
}

mltf_status config_decoder(const convert_config *cc)
{
    TRY(config_need(cc, "hidden_size", "embedding_length"));
    // files of experts alone may leave the width of a dense layer away
    if (file_int(cc, "feed_forward_length", 0) > 0 || file_int(cc, "expert_count", 0) == 0)
        TRY(config_need(cc, "intermediate_size", "feed_forward_length"));
    TRY(config_need(cc, "num_hidden_layers", "block_count"));
    config_int(cc, "num_hidden_layers", config_layers(cc));
    TRY(config_need(cc, "num_attention_heads", "attention.head_count"));
    const int64_t heads = config_get(cc, "num_attention_heads", 1);
    const int64_t kv = file_int(cc, "attention.head_count_kv", heads);
    if (kv < 1 || kv > heads || heads % kv)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE,
                         "%lld key heads do not divide %lld query heads", (long long)kv,
                         (long long)heads);
    config_int(cc, "num_key_value_heads", kv);
    const int64_t hidden = config_get(cc, "hidden_size", 0);
    const int64_t head_dim = file_int(cc, "attention.key_length", hidden / heads);
    if (head_dim < 1 || head_dim > 65536)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE, "heads of %lld values are not possible",
                         (long long)head_dim);
    if (file_int(cc, "attention.value_length", head_dim) != head_dim)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "keys and values of different lengths are not supported");
    config_int(cc, "head_dim", head_dim);
    TRY(config_need(cc, "max_position_embeddings", "context_length"));
    config_bool(cc, "use_cache", true);
    config_float(cc, "attention_dropout", 0);
    config_float(cc, "initializer_range", 0.02);
    return config_rope(cc, 10000);
}

void config_rms_norm(const convert_config *cc)
{
    config_float(cc, "rms_norm_eps", file_double(cc, "attention.layer_norm_rms_epsilon", 1e-6));
}

mltf_status config_gated_decoder(const convert_config *cc)
{
    TRY(config_decoder(cc));
    config_rms_norm(cc);
    config_text(cc, "hidden_act", "silu");
    return MLTF_OK;
}

void config_layer_norm(const convert_config *cc, const char *key)
{
    config_float(cc, key, file_double(cc, "attention.layer_norm_epsilon", 1e-5));
}

void config_partial_rotary(const convert_config *cc, const char *key)
{
    const int64_t heads = config_get(cc, "num_attention_heads", 1),
                  head_dim = config_get(cc, "head_dim", config_get(cc, "hidden_size", 0) / heads);
    const int64_t rotated = file_int(cc, "rope.dimension_count", head_dim);
    if (head_dim > 0) config_float(cc, key, (double)rotated / (double)head_dim);
}

mltf_status config_experts(const convert_config *cc, const char *count, const char *used,
                           const char *width)
{
    TRY(config_need(cc, count, "expert_count"));
    TRY(config_need(cc, used, "expert_used_count"));
    if (config_get(cc, used, 0) > config_get(cc, count, 0))
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE, "a token takes %lld of %lld experts",
                         (long long)config_get(cc, used, 0), (long long)config_get(cc, count, 0));
    return width ? config_need(cc, width, "expert_feed_forward_length") : MLTF_OK;
}

void config_granite_scales(const convert_config *cc)
{
    config_float(cc, "embedding_multiplier", file_double(cc, "embedding_scale", 1));
    config_float(cc, "residual_multiplier", file_double(cc, "residual_scale", 1));
    config_float(cc, "attention_multiplier", file_double(cc, "attention.scale", 1));
    config_float(cc, "logits_scaling", file_double(cc, "logit_scale", 1));
}

mltf_status config_layer_heads(const convert_config *cc, const gguf_value **out)
{
    const char *key = arena_printf(cc->a, STR_FMT ".attention.head_count_kv",
                                   STR_ARG(gguf_string(cc->g, "general.architecture", STR(""))));
    const gguf_value *kv = key ? gguf_get(cc->g, key) : NULL;
    const int64_t layers = config_get(cc, "num_hidden_layers", 0);
    if (!kv || kv->type == GGUF_V_STRING || (int64_t)kv->n != layers || layers > LIMIT_LAYERS)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE,
                         "attention.head_count_kv has no number for each of %lld layers",
                         (long long)layers);
    for (size_t i = 0; i < kv->n; i++) {
        const double heads = gguf_number_at(kv, i);
        if (heads >= 1 && heads <= 65536) config_int(cc, "num_key_value_heads", (int64_t)heads);
    }
    *out = kv;
    return MLTF_OK;
}
