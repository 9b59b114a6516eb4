/* CTRL. Keskar et al. 2019, arXiv:1909.05858; transformers 4.57 models/ctrl/modeling_ctrl.py.
 *
 *   ids ─ sqrt(H) (embedding + word of the type) + sines ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: the table of sines has sines, then cosines, and is made in f32; the layers' norms have an eps of
 * their own, 1e-6; the tied head has a bias. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_decoder.h"

/* [P, H]: sines of the even columns' frequencies, then cosines. */
static void make_positions(arch_build *b, arch_decoder *d)
{
    const size_t P = d->max_positions, H = d->hidden, half = (H + 1) / 2;
    float *w = arch_new(b, P * H, sizeof *w);
    for (size_t i = 0; w && i < P * H; i++) {
        const size_t at = i % H, k = at < half ? at : at - half;
        const float rate = 1 / powf(10000, (float)(2 * k) / (float)H),
                    angle = (float)(i / H) * rate;
        w[i] = at < half ? sinf(angle) : cosf(angle);
    }
    d->positions = (nn_embed_w){.w = {.data = w, .dtype = DT_F32, .N = P, .K = H, .stride = H},
                                .what = "position"};
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 1280, .n_layers = 48, .heads = 16, .vocab = 246534};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden, F = cfg_dim(c, "dff", 8192);
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-6f);
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 256);
    d->embed_scale = sqrtf((float)H);
    d->types_are_words = true;
    TRY(arch_decoder_layers(b, d, err));
    make_positions(b, d);

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "w", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "layernorm1", NN_NORM_LAYER, H, 1e-6f, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "layernorm2", NN_NORM_LAYER, H, 1e-6f, NN_BIAS);
        nn_load_linear(ld, &l->attn.q, "multi_head_attention.Wq", H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.k, "multi_head_attention.Wk", H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.v, "multi_head_attention.Wv", H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.o, "multi_head_attention.dense", H, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.up, "ffn.0", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "ffn.2", H, F, NN_BIAS);
        l->mlp.act = K_ACT_RELU;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_ctrl = {
    .model_types = (const char *const[]){"ctrl", NULL},
    .classes = (const char *const[]){"CTRLModel", "CTRLLMHeadModel",
                                     "CTRLForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .load = load,
    .forward = arch_decoder_forward,
};
