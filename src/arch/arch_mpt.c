/* MPT. MosaicML 2023; transformers 4.57 models/mpt/modeling_mpt.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm1 x) with ALiBi;  x += mlp(norm2 x) ] ─ norm ─ head
 *
 * Easy to get wrong: the mlp is 4 times as wide whatever expansion_ratio says; there are no biases; gelu is the
 * erf form; ALiBi is always on, its slopes come from the next power of two of heads, the second, fourth … first;
 * logit_scale and alibi_bias_max are not used. Checked on: fixtures mpt-base. */
#include "arch/arch_decoder.h"

#include <math.h>

/* Slope h of the power of two N at or above the number of heads: 2^-(8 (h+1) / N). */
static void slopes_of(float *slopes, size_t heads)
{
    size_t N = 1;
    while (N < heads) N *= 2;
    for (size_t h = 0; h < heads; h++) {
        const size_t k = N == heads ? h : h < N / 2 ? 2 * h + 1 : 2 * (h - N / 2);
        slopes[h] = 1.0f / powf(2.0f, (float)(k + 1) * (8.0f / (float)N));
    }
}

static const decoder_names names = {
    .words = "wte",
    .norm = "norm_f",
    .layers = "blocks",
    .qkv = "attn.Wqkv",
    .o = "attn.out_proj",
    .up = "ffn.up_proj",
    .down = "ffn.down_proj",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_config inner = {.root = cfg_get(c, "attn_config")};
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 2048, .n_layers = 24, .heads = 16, .vocab = 50368});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->max_positions = cfg_dim(c, "max_seq_len", 2048);
    d->scale = cfg_float(&inner, "softmax_scale", 0);
    const float clip = cfg_float(&inner, "clip_qkv", 0);
    TRY(cfg_done(&inner, err));
    decoder_plan p = arch_decoder_gpt_plan(&names, 4 * d->hidden, K_ACT_GELU,
                                           cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.norm1 = "norm_1";
    p.norm2 = "norm_2";
    p.norm_flags = 0;
    p.qkv = p.o = p.mlp = NN_NO_BIAS;
    TRY(arch_decoder_layers(b, d, err));
    float *slopes = arch_new(b, d->heads, sizeof *slopes);
    if (slopes) slopes_of(slopes, d->heads);
    d->alibi = slopes;
    for (size_t il = 0; il < d->n_layers; il++) d->layers[il].attn.clip = clip;
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_mpt = {
    .model_types = (const char *const[]){"mpt", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Mpt"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .load = load,
    .forward = arch_decoder_forward,
};
