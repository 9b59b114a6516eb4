/* Phi 3 and 3.5. Abdin et al. 2024, arXiv:2404.14219; transformers 4.57 models/phi3/modeling_phi3.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(rms x);  x += down(silu(gate) up) ] ─ rms ─ head
 *
 * Easy to get wrong: qkv_proj is [q | k | v], gate_up_proj is [gate | up], both are read in place; longrope
 * takes other frequencies for the whole sequence once it is longer than original_max_position_embeddings.
 * Checked on: fixtures phi3-*. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 3072, .n_layers = 32, .heads = 32, .vocab = 32064};
    arch_decoder_config(c, d);
    const size_t H = d->hidden, D = d->head_dim, F = cfg_dim(c, "intermediate_size", 8192);
    const float eps = cfg_float(c, "rms_norm_eps", 1e-5f);
    const k_act act = cfg_act(c, "hidden_act", "silu");
    const size_t window = cfg_size(c, "sliding_window", 0, 1, (size_t)1 << 40);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = arch_rope_dim(c, D, "partial_rotary_factor", 1),
                             .theta = 10000,
                             .original = 4096,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 4096)});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, H, eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_linear_w both;
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        l->window = window;
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, eps, 0);
        nn_load_linear(ld, &l->attn.qkv, "self_attn.qkv_proj", (d->heads + 2 * d->kv_heads) * D, H,
                       NN_NO_BIAS);
        nn_load_linear(ld, &l->attn.o, "self_attn.o_proj", H, d->heads * D, NN_NO_BIAS);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, H, eps, 0);
        nn_load_linear(ld, &both, "mlp.gate_up_proj", 2 * F, H, NN_NO_BIAS);
        l->mlp.gate = nn_linear_rows(&both, 0, F);
        l->mlp.up = nn_linear_rows(&both, F, F);
        nn_load_linear(ld, &l->mlp.down, "mlp.down_proj", H, F, NN_NO_BIAS);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_phi3 = {
    .model_types = (const char *const[]){"phi3", NULL},
    .classes =
        (const char *const[]){"Phi3Model", "Phi3ForCausalLM", "Phi3ForSequenceClassification",
                              "Phi3ForTokenClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
