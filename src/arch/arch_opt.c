/* OPT. Zhang et al. 2022, arXiv:2205.01068; transformers 4.57 models/opt/modeling_opt.py.
 *
 *   ids ─ embedding (─ project_in) + position ─ n x [ x += attention(norm1 x);  x += mlp(norm2 x) ] ─ norm (─ project_out) ─ head
 *
 * Easy to get wrong: the position table begins at row 2; opt-350m has its norms after the residual add, none
 * at the end, and an embedding narrower than the body. Checked on: fixtures opt-*. */
#include "arch/arch_decoder.h"

/* layer_norm_elementwise_affine false: norms without weight and bias. */
static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, bool affine)
{
    if (affine)
        nn_load_norm(ld, w, name, NN_NORM_LAYER, n, 1e-5f, NN_BIAS);
    else
        *w = (nn_norm_w){.kind = NN_NORM_LAYER, .n = n, .eps = 1e-5f};
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 768, .n_layers = 12, .heads = 12, .vocab = 50272, .position_offset = 2});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    const size_t H = d->hidden, F = cfg_dim(c, "ffn_dim", 3072),
                 E = cfg_dim(c, "word_embed_proj_dim", H);
    const k_act act = cfg_act(c, "activation_function", "relu");
    const unsigned bias = cfg_bool(c, "enable_bias", true) ? NN_BIAS : NN_NO_BIAS;
    const bool affine = cfg_bool(c, "layer_norm_elementwise_affine", true);
    d->max_positions = cfg_dim(c, "max_position_embeddings", 2048);
    d->post_norm = !cfg_bool(c, "do_layer_norm_before", true);
    const bool last_norm = !d->post_norm && !cfg_bool(c, "_remove_final_layer_norm", false);
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%sdecoder.", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, E, 0);
    nn_load_embed(ld, &d->positions, "embed_positions", "position", d->max_positions + 2, H, 0);
    if (last_norm) load_norm(ld, &d->norm, "final_layer_norm", H, affine);
    if (E != H) {
        nn_load_linear(ld, &d->project_in, "project_in", H, E, NN_NO_BIAS);
        nn_load_linear(ld, &d->project_out, "project_out", E, H, NN_NO_BIAS);
    }
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sdecoder.layers.%zu.", ld->base, il);
        load_norm(ld, &l->norm1, "self_attn_layer_norm", H, affine);
        load_norm(ld, &l->norm2, "final_layer_norm", H, affine);
        nn_load_linear(ld, &l->attn.q, "self_attn.q_proj", H, H, bias);
        nn_load_linear(ld, &l->attn.k, "self_attn.k_proj", H, H, bias);
        nn_load_linear(ld, &l->attn.v, "self_attn.v_proj", H, H, bias);
        nn_load_linear(ld, &l->attn.o, "self_attn.out_proj", H, H, bias);
        nn_load_linear(ld, &l->mlp.up, "fc1", F, H, bias);
        nn_load_linear(ld, &l->mlp.down, "fc2", H, F, bias);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, E, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_opt = {
    .model_types = (const char *const[]){"opt", NULL},
    .classes = (const char *const[]){"OPTModel", "OPTForCausalLM", "OPTForSequenceClassification",
                                     "OPTForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
