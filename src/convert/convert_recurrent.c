/* Families with mamba layers: Mamba and Falcon-Mamba, Mamba-2, Jamba, Granite 4. What decays is stored as -exp(A_log).
 *
 * Of several groups in Mamba-2, llama.cpp norms each by itself, transformers all channels at once: a converted model
 * computes what transformers does. */
#include "convert/convert_config.h"

static mltf_status config_state(const convert_config *cc, const char *prefix)
{
    static const char *const keys[][2] = {{"conv_kernel", "ssm.conv_kernel"},
                                          {"state_size", "ssm.state_size"}};
    static const char *const hybrid[][2] = {{"mamba_d_conv", "ssm.conv_kernel"},
                                            {"mamba_d_state", "ssm.state_size"}};
    for (int i = 0; i < 2; i++) {
        const char *const *k = *prefix ? hybrid[i] : keys[i];
        TRY(config_need(cc, k[0], k[1]));
    }
    TRY(config_need(cc, *prefix ? "mamba_expand" : "expand", "ssm.inner_size"));
    const int64_t inner = file_int(cc, "ssm.inner_size", 1),
                  hidden = file_int(cc, "embedding_length", 0);
    if (hidden < 1 || inner % hidden)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "%lld channels are no multiple of the model's width", (long long)inner);
    config_int(cc, *prefix ? "mamba_expand" : "expand", inner / hidden);
    return MLTF_OK;
}

/* Channels in heads: where the file has the rank of the time step, it means their number. */
static mltf_status config_heads(const convert_config *cc, const char *heads, const char *width,
                                const char *groups)
{
    TRY(config_need(cc, heads, "ssm.time_step_rank"));
    TRY(config_need(cc, groups, "ssm.group_count"));
    const int64_t inner = file_int(cc, "ssm.inner_size", 1), n = config_get(cc, heads, 1);
    if (inner % n)
        return mltf_fail(cc->err, MLTF_CORRUPT_FILE, "%lld channels do not make %lld heads",
                         (long long)inner, (long long)n);
    config_int(cc, width, inner / n);
    return MLTF_OK;
}

static mltf_status config_mamba_any(const convert_config *cc)
{
    TRY(config_need(cc, "hidden_size", "embedding_length"));
    TRY(config_need(cc, "num_hidden_layers", "block_count"));
    TRY(config_state(cc, ""));
    config_float(cc, "layer_norm_epsilon",
                 file_double(cc, "attention.layer_norm_rms_epsilon", 1e-5));
    config_text(cc, "hidden_act", "silu");
    config_bool(cc, "use_bias", file_has(cc, "blk.0.ssm_in.bias"));
    config_bool(cc, "use_conv_bias", file_has(cc, "blk.0.ssm_conv1d.bias"));
    config_bool(cc, "use_cache", true);
    return MLTF_OK;
}

static bool is_falcon(const gguf_file *g)
{
    return gguf_bool(g, "mamba.ssm.dt_b_c_rms", false);
}

static mltf_status config_mamba(const convert_config *cc)
{
    TRY(config_mamba_any(cc));
    config_int(cc, "intermediate_size", file_int(cc, "ssm.inner_size", 1));
    return config_need(cc, "time_step_rank", "ssm.time_step_rank");
}

static mltf_status config_mamba2(const convert_config *cc)
{
    TRY(config_mamba_any(cc));
    return config_heads(cc, "num_heads", "head_dim", "n_groups");
}

static bool has_experts_at(const convert_config *cc, size_t il)
{
    const char *name = arena_printf(cc->a, "blk.%zu.ffn_gate_inp.weight", il);
    return name && file_has(cc, name);
}

/* Which layers: the first of them, and how many after it the next one comes. */
static mltf_status config_period(const convert_config *cc, const char *what, const bool *is,
                                 size_t n)
{
    size_t first = 0, period = 1;
    while (first < n && !is[first]) first++;
    while (first + period < n && !is[first + period]) period++;
    if (first + period >= n) period = n; // there is one
    bool regular = first < period;
    for (size_t i = 0; i < n && regular; i++) regular = is[i] == (i % period == first);
    if (!regular)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED, "layers with %s do not come regularly", what);
    config_int(cc, arena_printf(cc->a, "%s_layer_period", what), (int64_t)period);
    config_int(cc, arena_printf(cc->a, "%s_layer_offset", what), (int64_t)first);
    return cc->a->failed ? mltf_fail_memory(cc->err) : MLTF_OK;
}

static mltf_status config_jamba(const convert_config *cc)
{
    TRY(config_gated_decoder(cc));
    json_remove(cc->c, "head_dim");
    json_remove(cc->c, "rope_theta");
    TRY(config_state(cc, "mamba_"));
    TRY(config_need(cc, "mamba_dt_rank", "ssm.time_step_rank"));
    config_bool(cc, "use_mamba_kernels", false);
    const bool routed = file_int(cc, "expert_count", 0) > 1;
    config_int(cc, "num_experts", 1);
    if (routed) TRY(config_experts(cc, "num_experts", "num_experts_per_tok", NULL));
    const gguf_value *kv = NULL;
    TRY(config_layer_heads(cc, &kv));
    bool *attention = arena_calloc(cc->a, kv->n + 1, sizeof *attention),
         *experts = arena_calloc(cc->a, kv->n + 1, sizeof *experts);
    if (!attention || !experts) return mltf_fail_memory(cc->err);
    for (size_t i = 0; i < kv->n; i++) {
        attention[i] = gguf_number_at(kv, i) > 0;
        experts[i] = has_experts_at(cc, i);
        if (!attention[i])
            config_bool(cc, "mamba_conv_bias",
                        file_has(cc, arena_printf(cc->a, "blk.%zu.ssm_conv1d.bias", i)));
    }
    TRY(config_period(cc, "attn", attention, kv->n));
    return routed ? config_period(cc, "expert", experts, kv->n) : MLTF_OK;
}

static mltf_status config_granitehybrid(const convert_config *cc)
{
    if (file_double(cc, "attention.scale", 0) == 0)
        return mltf_fail(cc->err, MLTF_UNSUPPORTED,
                         "a file of granitehybrid without attention.scale is Bamba, which is not "
                         "converted");
    TRY(config_gated_decoder(cc));
    json_remove(cc->c, "head_dim");
    config_granite_scales(cc);
    config_bool(cc, "attention_bias", false);
    const bool experts = file_int(cc, "expert_count", 0) > 0;
    config_int(cc, "num_local_experts", 0);
    if (experts) TRY(config_experts(cc, "num_local_experts", "num_experts_per_tok", NULL));
    TRY(config_need(cc, "shared_intermediate_size",
                    experts ? "expert_shared_feed_forward_length" : "feed_forward_length"));
    const bool turns = file_bool(cc, "rope.scaling.finetuned", true); // the file's switch for it
    json_set(cc->a, cc->c, "position_embedding_type",
             turns ? json_new_cstr(cc->a, "rope") : json_new_null(cc->a));
    TRY(config_state(cc, "mamba_"));
    TRY(config_heads(cc, "mamba_n_heads", "mamba_d_head", "mamba_n_groups"));
    const gguf_value *kv = NULL;
    TRY(config_layer_heads(cc, &kv));
    json *types = json_set(cc->a, cc->c, "layer_types", json_new_array(cc->a));
    for (size_t i = 0; i < kv->n; i++) {
        const bool attention = gguf_number_at(kv, i) > 0;
        json_push(cc->a, types, json_new_cstr(cc->a, attention ? "attention" : "mamba"));
        if (!attention)
            config_bool(cc, "mamba_conv_bias",
                        file_has(cc, arena_printf(cc->a, "blk.%zu.ssm_conv1d.bias", i)));
    }
    return MLTF_OK;
}

// clang-format off
#define STATE(to, need)                                                                          \
    {"blk.%.ssm_in", to "in_proj", CONVERT_COPY, need},                                          \
    {"blk.%.ssm_conv1d", to "conv1d", CONVERT_CHANNELS, need},                                   \
    {"blk.%.ssm_a$", to "A_log", CONVERT_LOG_MINUS, need},                                       \
    {"blk.%.ssm_d$", to "D", CONVERT_VECTOR, need},                                              \
    {"blk.%.ssm_out", to "out_proj", CONVERT_COPY, need}
#define STATE_1(to, need)                                                                        \
    STATE(to, need),                                                                             \
    {"blk.%.ssm_x", to "x_proj", CONVERT_COPY, need},                                            \
    {"blk.%.ssm_dt", to "dt_proj", CONVERT_COPY, need}
#define STATE_2(to, need)                                                                        \
    STATE(to, need),                                                                             \
    {"blk.%.ssm_dt.bias", to "dt_bias", CONVERT_COPY, need},                                     \
    {"blk.%.ssm_norm", to "norm", CONVERT_VECTOR, need}
#define BACKBONE                                                                                 \
    {"token_embd", "backbone.embeddings", CONVERT_COPY, REQUIRED},                               \
    {"output_norm", "backbone.norm_f", CONVERT_COPY, REQUIRED},                                  \
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},                                               \
    {"blk.%.attn_norm", "backbone.layers.%.norm", CONVERT_COPY, REQUIRED}
#define SOME_ATTENTION(q_op, k_op)                                                               \
    {"blk.%.attn_q", "model.layers.%.self_attn.q_proj", q_op, OPTIONAL},                         \
    {"blk.%.attn_k", "model.layers.%.self_attn.k_proj", k_op, OPTIONAL},                         \
    {"blk.%.attn_v", "model.layers.%.self_attn.v_proj", CONVERT_COPY, OPTIONAL},                 \
    {"blk.%.attn_output", "model.layers.%.self_attn.o_proj", CONVERT_COPY, OPTIONAL}

static const convert_rule rules_mamba[] = {
    BACKBONE, STATE_1("backbone.layers.%.mixer.", REQUIRED),
    {0},
};

static const convert_rule rules_mamba2[] = {
    BACKBONE, STATE_2("backbone.layers.%.mixer.", REQUIRED),
    {0},
};

static const convert_rule rules_jamba[] = {
    {"token_embd", "model.embed_tokens", CONVERT_COPY, REQUIRED},
    {"output_norm", "model.final_layernorm", CONVERT_COPY, REQUIRED},
    {"output", "lm_head", CONVERT_COPY, OPTIONAL},
    {"blk.%.attn_norm", "model.layers.%.input_layernorm", CONVERT_COPY, REQUIRED},
    {"blk.%.ffn_norm", "model.layers.%.pre_ff_layernorm", CONVERT_COPY, REQUIRED},
    SOME_ATTENTION(CONVERT_COPY, CONVERT_COPY),
    STATE_1("model.layers.%.mamba.", OPTIONAL),
    {"blk.%.ssm_dt_norm", "model.layers.%.mamba.dt_layernorm", CONVERT_COPY, OPTIONAL},
    {"blk.%.ssm_b_norm", "model.layers.%.mamba.b_layernorm", CONVERT_COPY, OPTIONAL},
    {"blk.%.ssm_c_norm", "model.layers.%.mamba.c_layernorm", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_gate", "model.layers.%.feed_forward.gate_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_up", "model.layers.%.feed_forward.up_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_down", "model.layers.%.feed_forward.down_proj", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_gate_inp", "model.layers.%.feed_forward.router", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_gate_exps", "model.layers.%.feed_forward.experts.#.gate_proj", CONVERT_SPLIT, OPTIONAL},
    {"blk.%.ffn_up_exps", "model.layers.%.feed_forward.experts.#.up_proj", CONVERT_SPLIT, OPTIONAL},
    {"blk.%.ffn_down_exps", "model.layers.%.feed_forward.experts.#.down_proj", CONVERT_SPLIT, OPTIONAL},
    {0},
};

static const convert_rule rules_granitehybrid[] = {
    EMBEDDINGS(CONVERT_COPY), NORMS(CONVERT_COPY),
    SOME_ATTENTION(CONVERT_ROWS_Q, CONVERT_ROWS_K), STATE_2("model.layers.%.mamba.", OPTIONAL),
    {"blk.%.ffn_gate_inp", "model.layers.%.block_sparse_moe.router.layer", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_gate_exps", "model.layers.%.block_sparse_moe.input_linear", CONVERT_JOIN, OPTIONAL},
    {"blk.%.ffn_up_exps", NULL, CONVERT_JOINED, OPTIONAL},
    {"blk.%.ffn_down_exps", "model.layers.%.block_sparse_moe.output_linear", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_gate_shexp", "model.layers.%.shared_mlp.input_linear", CONVERT_JOIN, OPTIONAL},
    {"blk.%.ffn_up_shexp", NULL, CONVERT_JOINED, OPTIONAL},
    {"blk.%.ffn_down_shexp", "model.layers.%.shared_mlp.output_linear", CONVERT_COPY, OPTIONAL},
    {"blk.%.ffn_gate", "model.layers.%.shared_mlp.input_linear", CONVERT_JOIN, OPTIONAL},
    {"blk.%.ffn_up", NULL, CONVERT_JOINED, OPTIONAL},
    {"blk.%.ffn_down", "model.layers.%.shared_mlp.output_linear", CONVERT_COPY, OPTIONAL},
    {0},
};

const convert_family convert_recurrent_families[] = {
    {"mamba", is_falcon, "falcon_mamba", "FalconMambaForCausalLM", rules_mamba, config_mamba},
    {"mamba", NULL, "mamba", "MambaForCausalLM", rules_mamba, config_mamba},
    {"mamba2", NULL, "mamba2", "Mamba2ForCausalLM", rules_mamba2, config_mamba2},
    {"jamba", NULL, "jamba", "JambaForCausalLM", rules_jamba, config_jamba},
    {"granitehybrid", NULL, "granitemoehybrid", "GraniteMoeHybridForCausalLM", rules_granitehybrid, config_granitehybrid},
    {0},
};
// clang-format on
