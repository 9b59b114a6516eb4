/* Seed-OSS. ByteDance 2025; transformers 4.57 models/seed_oss/modeling_seed_oss.py.
 *
 * The llama block. Easy to get wrong: q, k and v have a bias by default, o has its own option for one.
 * Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 4096,
                                                          .n_layers = 64,
                                                          .heads = 80,
                                                          .kv_heads = 8,
                                                          .head_dim = 128,
                                                          .vocab = 155136});
    TRY(arch_build_ok(b, err));
    const decoder_plan p = {
        .ffn = cfg_dim(c, "intermediate_size", 27648),
        .act = cfg_act(c, "hidden_act", "silu"),
        .eps = cfg_float(c, "rms_norm_eps", 1e-6f),
        .qkv = cfg_bool(c, "attention_bias", true) ? NN_BIAS : NN_NO_BIAS,
        .o = cfg_bool(c, "attention_out_bias", false) ? NN_BIAS : NN_NO_BIAS,
        .mlp = cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS,
    };
    arch_decoder_rope(b, d, 10000, 524288);
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_seed_oss = {
    .model_types = (const char *const[]){"seed_oss", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("SeedOss"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.",
    .load = load,
    .forward = arch_decoder_forward,
};
