/* Experts chosen as in deepseek_v3, attention as in llama: dots1 (dots.llm1) and glm4_moe (GLM-4.5).
 * arXiv:2506.05767, arXiv:2508.06471; transformers 4.57 models/{dots1,glm4_moe}/modeling_*.py.
 *
 *   dots1      each head of q and k normed; layers from max_window_layers on see a window
 *   glm4_moe   half of each head rotates; o has no bias; the norms of q and k are an option (use_qk_norm)
 *
 * Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

#include "base/limits.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    const bool dots = str_is(str_from(b->m->info.model_type), "dots1");
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = dots ? 4608 : 4096,
                                                          .n_layers = dots ? 62 : 46,
                                                          .heads = dots ? 32 : 96,
                                                          .kv_heads = dots ? 32 : 8,
                                                          .vocab = dots ? 152064 : 151552});
    TRY(arch_build_ok(b, err));
    experts_plan experts = {.n = 128,
                            .top_k = 8,
                            .groups = 1,
                            .top_groups = 1,
                            .ffn = 1408,
                            .shared = 1,
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .scale = 1,
                            .scores = NN_MOE_SIGMOID,
                            .normalize = !dots,
                            .correction = true};
    arch_decoder_experts_config(c, &experts);
    const bool head_norms = dots || cfg_bool(c, "use_qk_norm", false);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {
        .ffn = cfg_dim(c, "intermediate_size", 10944),
        .act = experts.act,
        .eps = cfg_float(c, "rms_norm_eps", dots ? 1e-6f : 1e-5f),
        .qkv = bias,
        .o = dots ? bias : NN_NO_BIAS,
        .q_norm = head_norms ? "self_attn.q_norm" : NULL,
        .k_norm = head_norms ? "self_attn.k_norm" : NULL,
        .experts = &experts,
        .dense_layers = cfg_size(c, "first_k_dense_replace", dots ? 0 : 1, 0, LIMIT_LAYERS)};
    // an odd number of dimensions turns one more, where the head has it
    const size_t D = d->head_dim,
                 turning = dots ? D : arch_rope_dim(c, D, "partial_rotary_factor", 0.5);
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){
                       .dim = turning,
                       .theta = 10000,
                       .max_positions = cfg_dim(c, "max_position_embeddings", dots ? 2048 : 131072),
                       .round_up = turning < D});
    TRY(arch_decoder_layers(b, d, err));
    const size_t window = dots ? arch_decoder_window(c, true, 4096) : 0;
    const size_t first = cfg_size(c, "max_window_layers", 62, 0, (size_t)1 << 40);
    for (size_t il = 0; dots && il < d->n_layers; il++)
        if (cfg_layer_is(c, il, "sliding_attention", il >= first)) d->layers[il].window = window;
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_dots1 = {
    .model_types = (const char *const[]){"dots1", "glm4_moe", NULL},
    .classes = (const char *const[]){"Dots1Model", "Dots1ForCausalLM", "Glm4MoeModel",
                                     "Glm4MoeForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
