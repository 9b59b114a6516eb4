/* Phi 1, 1.5 and 2. Li et al. 2023, arXiv:2309.05463; transformers 4.57 models/phi/modeling_phi.py.
 *
 *   ids ─ embedding ─ n x [ h = norm x;  x += attention(h) + mlp(h) ] ─ norm ─ head with bias
 *
 * Easy to get wrong: rope turns only the first partial_rotary_factor of a head; qk_layernorm is one layer
 * norm of a head's size for all heads. Checked on: fixtures phi-*. */
#include "arch/arch_decoder.h"

static const decoder_names names = {.norm = "final_layernorm", .up = "mlp.fc1", .down = "mlp.fc2"};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 2048, .n_layers = 24, .heads = 32, .vocab = 51200, .parallel = true});
    TRY(arch_build_ok(b, err));
    const bool head_norms = cfg_bool(c, "qk_layernorm", false);
    decoder_plan p = arch_decoder_gpt_plan(&names, cfg_dim(c, "intermediate_size", 8192),
                                           cfg_act(c, "hidden_act", "gelu_new"),
                                           cfg_float(c, "layer_norm_eps", 1e-5f));
    p.norm1 = "input_layernorm";
    p.q_norm = head_norms ? "self_attn.q_layernorm" : NULL;
    p.k_norm = head_norms ? "self_attn.k_layernorm" : NULL;
    p.lm_head = NN_BIAS;
    p.tied = false;
    arch_decoder_rope_part(b, d, 0.5, 10000, 2048);
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_phi = {
    .model_types = (const char *const[]){"phi", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("Phi"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
