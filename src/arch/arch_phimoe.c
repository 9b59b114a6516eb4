/* Phi-3.5-MoE. Abdin et al. 2024, arXiv:2404.14219; transformers 4.57 models/phimoe/modeling_phimoe.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm x);  x += experts(norm x) ] ─ norm ─ head (with bias)
 *
 * Easy to get wrong: the norms are layer norms; of two experts a token, each is chosen on its own, weighted by the
 * softmax over the logits that lie near it (sparsemixer, its width is router_jitter_noise); longrope's short_mscale and
 * long_mscale take the place of the attention factor. Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

typedef struct {
    size_t ffn, experts, window;
    float eps, near;
    k_act act;
    unsigned bias;
} phimoe_config;

static void load_rope(arch_build *b, arch_decoder *d)
{
    arch_config *c = &b->cfg;
    arch_decoder_rope(b, d, 1000000, 131072);
    const json *p = cfg_get(c, "rope_scaling|rope_parameters");
    const json *near = json_get(p, "short_mscale"), *far = json_get(p, "long_mscale");
    if (json_is_number(near)) d->rope.scale = (float)json_double(near, 1);
    if (json_is_number(far)) d->rope.far_scale = (float)json_double(far, 1);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 4096, .n_layers = 32, .heads = 32, .kv_heads = 8, .vocab = 32064});
    TRY(arch_build_ok(b, err));
    const size_t H = d->hidden;
    const phimoe_config o = {.ffn = cfg_dim(c, "intermediate_size", 6400),
                             .experts = cfg_size(c, "num_local_experts", 16, 2, 4096),
                             .window = arch_decoder_window(c, true, 0),
                             .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                             .near = 2 * cfg_float(c, "router_jitter_noise", 0.01f),
                             .act = cfg_act(c, "hidden_act", "silu"),
                             .bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS};
    load_rope(b, d);
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_LAYER, H, o.eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        l->window = o.window;
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_LAYER, H, o.eps, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_LAYER, H, o.eps, NN_BIAS);
        arch_decoder_attn_load(ld, &l->attn, d, o.bias, o.bias);
        l->moe = (nn_moe_w){.n = o.experts, .top_k = 2, .scores = NN_MOE_MIXER, .near = o.near};
        arch_sparse_moe_load(b, &l->moe, H, o.ffn, o.act);
    }
    const bool biased = cfg_bool(c, "lm_head_bias", false);
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", biased ? NN_BIAS : NN_NO_BIAS,
                            false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_phimoe = {
    .model_types = (const char *const[]){"phimoe", NULL},
    .classes = (const char *const[]){"PhimoeModel", "PhimoeForCausalLM",
                                     "PhimoeForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
