/* Persimmon. Adept 2023; transformers 4.57 models/persimmon/modeling_persimmon.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; each head of q and k has a layer norm
 * with a bias; half of a head turns. Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

/* query_key_value as q, k and v of all heads, one after the other. */
static void load_qkv(arch_build *b, nn_attn_w *a, const arch_decoder *d)
{
    const size_t H = d->hidden, D = d->head_dim;
    nn_linear_w all;
    nn_load_linear(&b->ld, &all, "self_attn.query_key_value", 3 * H, H, NN_BIAS);
    size_t *row_of = arch_new(b, 3 * H, sizeof *row_of);
    if (!row_of) return;
    for (size_t part = 0; part < 3; part++)
        for (size_t i = 0; i < H; i++) row_of[part * H + i] = (i / D * 3 + part) * D + i % D;
    nn_load_reorder(&b->ld, &all, row_of);
    a->q = nn_linear_rows(&all, 0, H);
    a->k = nn_linear_rows(&all, H, H);
    a->v = nn_linear_rows(&all, 2 * H, H);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 4096, .n_layers = 36, .heads = 64, .vocab = 262144};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden, D = d->head_dim, F = cfg_dim(c, "intermediate_size", 16384);
    const float eps = cfg_float(c, "layer_norm_eps", 1e-5f);
    const k_act act = cfg_act(c, "hidden_act", "relu2");
    const bool normed = cfg_bool(c, "qk_layernorm", true);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = arch_rope_dim(c, D, "partial_rotary_factor", 0.5),
                             .theta = 25000,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 16384)});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "final_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        load_qkv(b, &l->attn, d);
        nn_load_linear(ld, &l->attn.o, "self_attn.dense", H, H, NN_BIAS);
        if (normed) arch_decoder_head_norms_load(ld, &l->attn, D, eps);
        nn_load_linear(ld, &l->mlp.up, "mlp.dense_h_to_4h", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "mlp.dense_4h_to_h", H, F, NN_BIAS);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_persimmon = {
    .model_types = (const char *const[]){"persimmon", NULL},
    .classes = (const char *const[]){"PersimmonModel", "PersimmonForCausalLM",
                                     "PersimmonForSequenceClassification",
                                     "PersimmonForTokenClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
