/* GLM 4: glm (glm-4-9b-chat-hf, glm-edge) and glm4 (GLM-4-0414). GLM Team 2024, arXiv:2406.12793;
 * transformers 4.57 models/{glm,glm4}/modeling_*.py.
 *
 *   glm    the llama block
 *   glm4   n x [ x += rms(attention(rms x));  x += rms(mlp(rms x)) ]
 *
 * Easy to get wrong: half of each head rotates, and rope turns neighbours; gate and up are one matrix, gate first;
 * q, k and v have a bias and o has none; the norm named post_attention stands before the mlp.
 * Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 4096,
                                                          .n_layers = 40,
                                                          .heads = 32,
                                                          .kv_heads = 2,
                                                          .head_dim = 128,
                                                          .vocab = 151552});
    TRY(arch_build_ok(b, err));
    decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 13696),
                      .act = cfg_act(c, "hidden_act", "silu"),
                      .eps = cfg_float(c, "rms_norm_eps", 0.00000015625f),
                      .qkv = cfg_bool(c, "attention_bias", true) ? NN_BIAS : NN_NO_BIAS,
                      .gate_with_up = true};
    if (str_is(str_from(b->m->info.model_type), "glm4")) {
        p.norm1 = "input_layernorm";
        p.post1 = "post_self_attn_layernorm";
        p.norm2 = "post_attention_layernorm";
        p.post2 = "post_mlp_layernorm";
    }
    arch_decoder_rope_part(b, d, 0.5, 10000, 131072);
    d->rope.interleaved = true;
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_glm = {
    .model_types = (const char *const[]){"glm", "glm4", NULL},
    .classes =
        (const char *const[]){ARCH_DECODER_CLASSES("Glm"), ARCH_DECODER_CLASSES("Glm4"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
