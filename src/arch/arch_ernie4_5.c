/* ERNIE 4.5 dense. Baidu 2025; transformers 4.57 models/ernie4_5/modeling_ernie4_5.py.
 *
 * The llama block. Easy to get wrong: rope turns neighbours; one option, use_bias, stands for all seven matrices
 * of a layer; the head is tied by default. Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 1024,
                        .n_layers = 18,
                        .heads = 16,
                        .kv_heads = 2,
                        .head_dim = 128,
                        .vocab = 103424};
    arch_decoder_config(c, d);
    const unsigned bias = cfg_bool(c, "use_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 3072),
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                            .qkv = bias,
                            .o = bias,
                            .mlp = bias,
                            .tied = true};
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = d->head_dim,
                             .theta = 500000,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 131072),
                             .interleaved = true});
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_ernie4_5 = {
    .model_types = (const char *const[]){"ernie4_5", NULL},
    .classes = (const char *const[]){"Ernie4_5Model", "Ernie4_5ForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
