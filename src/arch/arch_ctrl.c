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

static const decoder_names names = {
    .words = "w",
    .norm = "layernorm",
    .layers = "h",
    .q = "multi_head_attention.Wq",
    .k = "multi_head_attention.Wk",
    .v = "multi_head_attention.Wv",
    .o = "multi_head_attention.dense",
    .up = "ffn.0",
    .down = "ffn.2",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 1280, .n_layers = 48, .heads = 16, .vocab = 246534});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 256);
    d->embed_scale = sqrtf((float)d->hidden);
    d->types_are_words = true;
    const float last_eps = cfg_float(c, "layer_norm_epsilon", 1e-6f);
    decoder_plan p = arch_decoder_gpt_plan(&names, cfg_dim(c, "dff", 8192), K_ACT_RELU, 1e-6f);
    p.norm1 = "layernorm1";
    p.norm2 = "layernorm2";
    p.lm_head = NN_BIAS;
    TRY(arch_decoder_layers(b, d, err));
    make_positions(b, d);
    TRY(arch_decoder_load(b, d, &p, err));
    d->norm.eps = last_eps;
    return MLTF_OK;
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
