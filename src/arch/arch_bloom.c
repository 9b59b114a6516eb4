/* BLOOM. BigScience 2022, arXiv:2211.05100; transformers 4.57 models/bloom/modeling_bloom.py.
 *
 *   ids ─ embedding ─ norm ─ n x [ x += attention(norm1 x) with ALiBi;  x += mlp(norm2 x) ] ─ norm ─ head
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; the slopes of ALiBi for a number
 * of heads that is no power of two take every second slope of twice as many; gelu is the tanh form.
 * Checked on: fixtures bloom-*. */
#include "arch/arch_decoder.h"

static const decoder_names names = {
    .words = "word_embeddings",
    .norm = "ln_f",
    .layers = "h",
    .qkv = "self_attention.query_key_value",
    .o = "self_attention.dense",
    .up = "mlp.dense_h_to_4h",
    .down = "mlp.dense_4h_to_h",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 64, .n_layers = 2, .heads = 8, .vocab = 250880});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->residual_of_norm = cfg_bool(c, "apply_residual_connection_post_layernorm", false);
    decoder_plan p = arch_decoder_gpt_plan(&names, 4 * d->hidden, K_ACT_GELU_TANH,
                                           cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.layout = NN_QKV_PER_HEAD;
    TRY(arch_decoder_layers(b, d, err));
    float *slopes = arch_new(b, d->heads, sizeof *slopes);
    if (slopes) nn_alibi_slopes(slopes, d->heads);
    d->alibi = slopes;
    nn_scope(ld, "%s", ld->base);
    nn_load_norm(ld, &d->embed_norm, "word_embeddings_layernorm", NN_NORM_LAYER, d->hidden, p.eps,
                 NN_BIAS);
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_bloom = {
    .model_types = (const char *const[]){"bloom", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Bloom"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"self_attention.scale_mask_softmax.causal_mask", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
