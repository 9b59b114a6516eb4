/* FlexOlmo: olmo2 with experts. Shi et al. 2025, arXiv:2507.07024; transformers 4.57
 * models/flex_olmo/modeling_flex_olmo.py.
 *
 * The llama block with its norms on what attention and experts gave, and q and k normed as a whole.
 * Easy to get wrong: the chosen experts' weights are divided by their sum with norm_topk_prob alone.
 * Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 4096, .n_layers = 32, .heads = 32, .vocab = 100352});
    TRY(arch_build_ok(b, err));
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const k_act act = cfg_act(c, "hidden_act", "silu");
    const experts_plan experts = {.n = cfg_size(c, "num_experts", 7, 1, 4096),
                                  .top_k = cfg_size(c, "num_experts_per_tok", 5, 1, 64),
                                  .groups = 1,
                                  .top_groups = 1,
                                  .ffn = cfg_dim(c, "intermediate_size", 11008),
                                  .act = act,
                                  .scores = NN_MOE_SOFTMAX,
                                  .normalize = cfg_bool(c, "norm_topk_prob", false)};
    const decoder_plan p = {.act = act,
                            .eps = cfg_float(c, "rms_norm_eps", 1e-6f),
                            .qkv = bias,
                            .o = bias,
                            .post1 = "post_attention_layernorm",
                            .post2 = "post_feedforward_layernorm",
                            .q_norm = "self_attn.q_norm",
                            .k_norm = "self_attn.k_norm",
                            .row_norms = true,
                            .experts = &experts};
    if (experts.top_k > experts.n)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above \"num_experts\" %zu", experts.top_k,
                 experts.n);
    arch_decoder_rope(b, d, 500000, 4096);
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_flex_olmo = {
    .model_types = (const char *const[]){"flex_olmo", NULL},
    .classes = (const char *const[]){"FlexOlmoModel", "FlexOlmoForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
