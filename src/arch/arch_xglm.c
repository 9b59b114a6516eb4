/* XGLM. Lin et al. 2021, arXiv:2112.10668; transformers 4.57 models/xglm/modeling_xglm.py.
 *
 *   ids ─ scaled embedding + sines ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: position 0 has the sines of 2; no table of them bounds the length, whatever
 * max_position_embeddings says. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d =
        arch_decoder_new(b, &(arch_decoder){.hidden = 1024,
                                            .n_layers = 24,
                                            .heads = cfg_dim(c, "attention_heads", 16),
                                            .vocab = 256008,
                                            .sines = true,
                                            .position_offset = 2});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->embed_scale = cfg_bool(c, "scale_embedding", true) ? sqrtf((float)d->hidden) : 1.0f;
    const decoder_plan p = arch_decoder_fairseq_plan(cfg_dim(c, "ffn_dim", 4096),
                                                     cfg_act(c, "activation_function", "gelu"));
    if (d->hidden < 4) cfg_fail(c, "\"d_model\" %zu has no room for sines", d->hidden);
    if (cfg_bool(c, "add_cross_attention", false))
        cfg_fail(c, "\"add_cross_attention\" is not supported");
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_xglm = {
    .model_types = (const char *const[]){"xglm", NULL},
    .classes = (const char *const[]){"XGLMModel", "XGLMForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"embed_positions.weights", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
