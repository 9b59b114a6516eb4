/* Arcee AFM. Arcee AI 2025; transformers 4.57 models/arcee/modeling_arcee.py.
 *
 * The llama block with a mlp that has no gate: down(relu(up x)^2). Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 2560, .n_layers = 32, .heads = 32, .vocab = 32000});
    TRY(arch_build_ok(b, err));
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {
        .ffn = cfg_dim(c, "intermediate_size", 18432),
        .act = cfg_act(c, "hidden_act", "relu2"),
        .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
        .qkv = bias,
        .o = bias,
        .mlp = cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS,
        .ungated = true,
    };
    arch_decoder_rope(b, d, 10000, 4096);
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_arcee = {
    .model_types = (const char *const[]){"arcee", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Arcee"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.",
    .load = load,
    .forward = arch_decoder_forward,
};
