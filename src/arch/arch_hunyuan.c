/* Hunyuan, dense and of experts (hunyuan_v1_dense, hunyuan_v1_moe). Tencent 2025; transformers 4.57
 * models/{hunyuan_v1_dense,hunyuan_v1_moe}/modeling_*.py.
 *
 * The llama block; each head of q and k is normed. A token's experts are weighted by the softmax over all, divided by
 * the sum of the chosen, beside an mlp for all tokens.
 *
 * Easy to get wrong: those norms stand behind the rotation; rope_type "dynamic" with an "alpha" stretches the base
 * once, whatever the length. Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

/* One number for all layers, or a list of equal ones. */
static size_t same_in_all(arch_config *c, const char *key, size_t fallback, size_t max)
{
    const json *list = cfg_get(c, key);
    if (!json_is(list, JSON_ARRAY)) return cfg_size(c, key, fallback, 1, max);
    const int64_t n = json_int(json_at(list, 0), 0);
    for (size_t i = 0; i < json_len(list); i++)
        if (json_int(json_at(list, i), 0) != n || n < 1 || (size_t)n > max)
            cfg_fail(c, "\"%s\" that differs between layers is not supported", key);
    return n > 0 ? (size_t)n : 1;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    const bool moe = str_is(str_from(b->m->info.model_type), "hunyuan_v1_moe");
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 4096, .n_layers = 32, .heads = 32, .vocab = 290943});
    TRY(arch_build_ok(b, err));
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const experts_plan experts = {.n = moe ? same_in_all(c, "num_experts", 1, 4096) : 0,
                                  .top_k = moe ? same_in_all(c, "moe_topk", 1, 64) : 0,
                                  .groups = 1,
                                  .top_groups = 1,
                                  .shared = 1,
                                  .ffn = cfg_dim(c, "intermediate_size", 11008),
                                  .act = cfg_act(c, "hidden_act", "silu"),
                                  .scores = NN_MOE_SOFTMAX,
                                  .normalize = true,
                                  .router = "mlp.gate.wg",
                                  .shared_name = "mlp.shared_mlp"};
    const decoder_plan p = {.experts = moe ? &experts : NULL,
                            .ffn = cfg_dim(c, "intermediate_size", 11008),
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                            .qkv = bias,
                            .o = bias,
                            .q_norm = "self_attn.query_layernorm",
                            .k_norm = "self_attn.key_layernorm"};
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = d->head_dim,
                             .theta = 10000,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 2048),
                             .ntk_alpha = true});
    TRY(arch_decoder_layers(b, d, err));
    for (size_t il = 0; il < d->n_layers; il++) d->layers[il].attn.norm_after_rope = true;
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_hunyuan = {
    .model_types = (const char *const[]){"hunyuan_v1_dense", "hunyuan_v1_moe", NULL},
    .classes = (const char *const[]){"HunYuanDenseV1Model", "HunYuanDenseV1ForCausalLM",
                                     "HunYuanDenseV1ForSequenceClassification", "HunYuanMoEV1Model",
                                     "HunYuanMoEV1ForCausalLM",
                                     "HunYuanMoEV1ForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
