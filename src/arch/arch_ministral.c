/* Ministral (8B-2410). Mistral AI 2024; transformers 4.57 models/ministral/modeling_ministral.py.
 *
 * The llama block; layer_types says which layers see a window, all of them where it is silent and there is a
 * window. Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 4096, .n_layers = 32, .heads = 32, .kv_heads = 8, .vocab = 32000});
    TRY(arch_build_ok(b, err));
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 14336),
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-6f)};
    arch_decoder_rope(b, d, 10000, 131072);
    TRY(arch_decoder_layers(b, d, err));
    const size_t window = arch_decoder_window(c, true, 4096);
    for (size_t il = 0; il < d->n_layers; il++)
        if (cfg_layer_is(c, il, "sliding_attention", true)) d->layers[il].window = window;
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_ministral = {
    .model_types = (const char *const[]){"ministral", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Ministral"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.",
    .load = load,
    .forward = arch_decoder_forward,
};
