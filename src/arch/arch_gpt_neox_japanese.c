/* GPT-NeoX Japanese. ABEJA 2022; transformers 4.57 models/gpt_neox_japanese/modeling_gpt_neox_japanese.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: no layer has a bias but the last one's attention, where it is a tensor of its own (dense_bias);
 * query_key_value is stored head by head. Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

static void load_layer(nn_loader *ld, const arch_decoder *d, size_t il, size_t F, k_act act,
                       float eps)
{
    decoder_layer *l = &d->layers[il];
    const size_t H = d->hidden;
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
    nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
    nn_load_linear(ld, &l->attn.qkv, "attention.query_key_value", 3 * H, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->attn.o, "attention.dense", H, H, NN_NO_BIAS);
    if (il + 1 == d->n_layers) l->attn.o.bias = nn_load_vector(ld, "attention.dense_bias", H, 0);
    nn_load_linear(ld, &l->mlp.up, "mlp.dense_h_to_4h", F, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->mlp.down, "mlp.dense_4h_to_h", H, F, NN_NO_BIAS);
    l->attn.layout = NN_QKV_PER_HEAD;
    l->mlp.act = act;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 2560, .n_layers = 32, .heads = 32, .vocab = 32000};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden,
                 F = (size_t)((float)H * cfg_float(c, "intermediate_multiple_size", 4));
    const float eps = cfg_float(c, "layer_norm_eps", 1e-5f);
    const k_act act = cfg_act(c, "hidden_act", "gelu");
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){
                       .dim = arch_rope_dim(c, d->head_dim, "rotary_pct|partial_rotary_factor", 1),
                       .theta = 10000,
                       .theta_key = "rotary_emb_base|rope_theta",
                       .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_in", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "final_layer_norm", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) load_layer(ld, d, il, F, act, eps);
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "embed_out", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_gpt_neox_japanese = {
    .model_types = (const char *const[]){"gpt_neox_japanese", NULL},
    .classes = (const char *const[]){"GPTNeoXJapaneseModel", "GPTNeoXJapaneseForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "gpt_neox_japanese.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias",
                                       "rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
