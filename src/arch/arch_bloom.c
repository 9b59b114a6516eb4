/* BLOOM. BigScience 2022, arXiv:2211.05100; transformers 4.57 models/bloom/modeling_bloom.py.
 *
 *   ids ─ embedding ─ norm ─ n x [ x += attention(norm1 x) with ALiBi;  x += mlp(norm2 x) ] ─ norm ─ head
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; the slopes of ALiBi for a number
 * of heads that is no power of two take every second slope of twice as many; gelu is the tanh form.
 * Checked on: fixtures bloom-*. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 64, .n_layers = 2, .heads = 8, .vocab = 250880};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden;
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    d->residual_of_norm = cfg_bool(c, "apply_residual_connection_post_layernorm", false);
    TRY(arch_decoder_layers(b, d, err));
    float *slopes = arch_new(b, d->heads, sizeof *slopes);
    if (slopes) nn_alibi_slopes(slopes, d->heads);
    d->alibi = slopes;

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "word_embeddings", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->embed_norm, "word_embeddings_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
    nn_load_norm(ld, &d->norm, "ln_f", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_linear(ld, &l->attn.qkv, "self_attention.query_key_value", 3 * H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.o, "self_attention.dense", H, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.up, "mlp.dense_h_to_4h", 4 * H, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "mlp.dense_4h_to_h", H, 4 * H, NN_BIAS);
        l->attn.layout = NN_QKV_PER_HEAD;
        l->mlp.act = K_ACT_GELU_TANH;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_bloom = {
    .model_types = (const char *const[]){"bloom", NULL},
    .classes =
        (const char *const[]){"BloomModel", "BloomForCausalLM", "BloomForSequenceClassification",
                              "BloomForTokenClassification", "BloomForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"self_attention.scale_mask_softmax.causal_mask", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
