/* Phi 1, 1.5 and 2. Li et al. 2023, arXiv:2309.05463; transformers 4.57 models/phi/modeling_phi.py.
 *
 *   ids ─ embedding ─ n x [ h = norm x;  x += attention(h) + mlp(h) ] ─ norm ─ head with bias
 *
 * Easy to get wrong: rope turns only the first partial_rotary_factor of a head; qk_layernorm is one layer
 * norm of a head's size for all heads. Checked on: fixtures phi-*. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){
        .hidden = 2048, .n_layers = 24, .heads = 32, .vocab = 51200, .parallel = true};
    arch_decoder_config(c, d);
    const size_t H = d->hidden, D = d->head_dim, F = cfg_dim(c, "intermediate_size", 8192);
    const float eps = cfg_float(c, "layer_norm_eps", 1e-5f);
    const k_act act = cfg_act(c, "hidden_act", "gelu_new");
    const bool head_norms = cfg_bool(c, "qk_layernorm", false);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = arch_rope_dim(c, D, "partial_rotary_factor", 0.5),
                             .theta = 10000,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "final_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        arch_decoder_attn_load(ld, &l->attn, d, NN_BIAS, NN_BIAS);
        if (head_norms) arch_decoder_head_norms_load(ld, &l->attn, D, eps);
        nn_load_linear(ld, &l->mlp.up, "mlp.fc1", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "mlp.fc2", H, F, NN_BIAS);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_phi = {
    .model_types = (const char *const[]){"phi", NULL},
    .classes = (const char *const[]){"PhiModel", "PhiForCausalLM", "PhiForSequenceClassification",
                                     "PhiForTokenClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
