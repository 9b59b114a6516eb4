/* Helium 1. Kyutai 2025; transformers 4.57 models/helium/modeling_helium.py.
 *
 * The llama block. Easy to get wrong: rope turns neighbours; o has no bias where q, k and v have one.
 * Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 2560,
                                                          .n_layers = 24,
                                                          .heads = 20,
                                                          .kv_heads = 20,
                                                          .head_dim = 128,
                                                          .vocab = 48000});
    TRY(arch_build_ok(b, err));
    const decoder_plan p = {
        .ffn = cfg_dim(c, "intermediate_size", 7040),
        .act = cfg_act(c, "hidden_act", "silu"),
        .eps = cfg_float(c, "rms_norm_eps", 1e-8f),
        .qkv = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS,
        .mlp = cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS,
    };
    arch_decoder_rope(b, d, 100000, 4096);
    d->rope.interleaved = true;
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_helium = {
    .model_types = (const char *const[]){"helium", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("Helium"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
