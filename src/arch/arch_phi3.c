/* Phi 3 and 3.5. Abdin et al. 2024, arXiv:2404.14219; transformers 4.57 models/phi3/modeling_phi3.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(rms x);  x += down(silu(gate) up) ] ─ rms ─ head
 *
 * Easy to get wrong: qkv_proj is [q | k | v], gate_up_proj is [gate | up], both are read in place; longrope
 * takes other frequencies for the whole sequence once it is longer than original_max_position_embeddings.
 * Checked on: fixtures phi3-*. */
#include "arch/arch_decoder.h"

static const decoder_names names = {.qkv = "self_attn.qkv_proj"};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 3072, .n_layers = 32, .heads = 32, .vocab = 32064});
    TRY(arch_build_ok(b, err));
    const decoder_plan p = {
        .ffn = cfg_dim(c, "intermediate_size", 8192),
        .act = cfg_act(c, "hidden_act", "silu"),
        .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
        .names = &names,
        .gate_with_up = true,
    };
    const size_t window = cfg_size(c, "sliding_window", 0, 1, (size_t)1 << 40);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = arch_rope_dim(c, d->head_dim, "partial_rotary_factor", 1),
                             .theta = 10000,
                             .original = 4096,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 4096)});
    TRY(arch_decoder_layers(b, d, err));
    for (size_t il = 0; il < d->n_layers; il++) d->layers[il].window = window;
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_phi3 = {
    .model_types = (const char *const[]){"phi3", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("Phi3"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
