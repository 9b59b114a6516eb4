/* EXAONE 4. LG AI Research 2025, arXiv:2507.11407; transformers 4.57 models/exaone4/modeling_exaone4.py.
 *
 *   n x [ x += rms(attention(x));  x += rms(mlp(x)) ], each head of q and k normed
 *
 * Easy to get wrong: no norm before attention and mlp, one behind each; where some layers see a window, the others
 * do not rotate at all; without a window all of them rotate. Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 4096, .n_layers = 32, .heads = 32, .kv_heads = 32, .vocab = 102400});
    TRY(arch_build_ok(b, err));
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 16384),
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                            .post1 = "post_attention_layernorm",
                            .post2 = "post_feedforward_layernorm",
                            .q_norm = "self_attn.q_norm",
                            .k_norm = "self_attn.k_norm"};
    arch_decoder_rope(b, d, 10000, 2048);
    TRY(arch_decoder_layers(b, d, err));
    const size_t window = arch_decoder_window(c, true, 4096);
    const size_t pattern = cfg_size(c, "sliding_window_pattern", 4, 1, (size_t)1 << 20);
    for (size_t il = 0; window && il < d->n_layers; il++) {
        const bool slides = cfg_layer_is(c, il, "sliding_attention", (il + 1) % pattern != 0);
        d->layers[il].window = slides ? window : 0;
        if (!slides) d->layers[il].rope = NULL;
    }
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_exaone4 = {
    .model_types = (const char *const[]){"exaone4", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Exaone4"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.",
    .load = load,
    .forward = arch_decoder_forward,
};
