/* Hunyuan dense (hunyuan_v1_dense). Tencent 2025; transformers 4.57
 * models/hunyuan_v1_dense/modeling_hunyuan_v1_dense.py.
 *
 * The llama block; each head of q and k is normed.
 *
 * Easy to get wrong: those norms stand behind the rotation; rope_type "dynamic" with an "alpha" stretches the base
 * once, whatever the length. Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 4096, .n_layers = 32, .heads = 32, .vocab = 290943};
    arch_decoder_config(c, d);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 11008),
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
    .model_types = (const char *const[]){"hunyuan_v1_dense", NULL},
    .classes = (const char *const[]){"HunYuanDenseV1Model", "HunYuanDenseV1ForCausalLM",
                                     "HunYuanDenseV1ForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
