/* GPT-NeoX: pythia, dolly, stablelm's first models. Black et al. 2022, arXiv:2204.06745;
 * transformers 4.57 models/gpt_neox/modeling_gpt_neox.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm1 x) + mlp(norm2 x) ] ─ norm ─ embed_out
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; rope turns only the first
 * rotary_pct of a head; use_parallel_residual false is the usual serial block; heads are called embed_out.
 * Checked on: fixtures gpt_neox-*. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 6144, .n_layers = 44, .heads = 64, .vocab = 50432};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden, F = cfg_dim(c, "intermediate_size", 24576);
    const float eps = cfg_float(c, "layer_norm_eps", 1e-5f);
    const k_act act = cfg_act(c, "hidden_act", "gelu");
    const unsigned bias = cfg_bool(c, "attention_bias", true) ? NN_BIAS : NN_NO_BIAS;
    d->parallel = cfg_bool(c, "use_parallel_residual", true);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){
            .dim = arch_rope_dim(c, d->head_dim, "rotary_pct|partial_rotary_factor", 0.25),
            .theta = 10000,
            .theta_key = "rotary_emb_base|rope_theta",
            .round_up = d->head_dim % 2 == 0,
            .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_in", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "final_layer_norm", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_linear(ld, &l->attn.qkv, "attention.query_key_value", 3 * H, H, bias);
        nn_load_linear(ld, &l->attn.o, "attention.dense", H, H, bias);
        nn_load_linear(ld, &l->mlp.up, "mlp.dense_h_to_4h", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "mlp.dense_4h_to_h", H, F, NN_BIAS);
        l->attn.layout = NN_QKV_PER_HEAD;
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "embed_out", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_gpt_neox = {
    .model_types = (const char *const[]){"gpt_neox", NULL},
    .classes =
        (const char *const[]){"GPTNeoXModel", "GPTNeoXForCausalLM",
                              "GPTNeoXForSequenceClassification", "GPTNeoXForTokenClassification",
                              "GPTNeoXForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "gpt_neox.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias",
                                       "rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
