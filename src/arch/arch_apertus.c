/* Apertus. Swiss AI 2025, arXiv:2509.14233; transformers 4.57 models/apertus/modeling_apertus.py.
 *
 * The llama block; each head of q and k is normed; the mlp is down(xielu(up x)), with two learned numbers a layer.
 *
 * Easy to get wrong: what is stored of xielu goes through softplus, in bf16 whatever the model's type is; its beta and
 * eps are buffers of the checkpoint.
 * Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_decoder.h"

static float rounded(float x)
{
    return bf16_to_f32(f32_to_bf16(x));
}

static float softplus(float x)
{
    x = rounded(x);
    return rounded(x > 20 ? x : log1pf(expf(x))); // torch's border
}

/* x > 0 and the others: alpha, alpha, beta, eps. */
static void load_xielu(arch_build *b, nn_mlp_w *m)
{
    nn_loader *ld = &b->ld;
    float *w = arch_new(b, 4, sizeof *w);
    const float *p = nn_load_vector(ld, "mlp.act_fn.alpha_p", 1, 0),
                *n = nn_load_vector(ld, "mlp.act_fn.alpha_n", 1, 0);
    const float *beta = nn_load_vector(ld, "mlp.act_fn.beta", 1, NN_OPTIONAL),
                *eps = nn_load_vector(ld, "mlp.act_fn.eps", 1, NN_OPTIONAL);
    if (!w || !p || !n) return;
    w[2] = rounded(beta ? *beta : 0.5f);
    w[3] = rounded(eps ? *eps : -1e-6f);
    w[0] = softplus(*p);
    w[1] = rounded(w[2] + softplus(*n));
    m->xielu = w;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 4096, .n_layers = 32, .heads = 32, .vocab = 131072});
    TRY(arch_build_ok(b, err));
    const bool learned = str_is(cfg_str(c, "hidden_act", "xielu"), "xielu");
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 14336),
                            .act = learned ? K_ACT_NONE : cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                            .qkv = bias,
                            .o = bias,
                            .ungated = true,
                            .norm1 = "attention_layernorm",
                            .norm2 = "feedforward_layernorm",
                            .q_norm = "self_attn.q_norm",
                            .k_norm = "self_attn.k_norm"};
    arch_decoder_rope(b, d, 12000000, 65536);
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    for (size_t il = 0; learned && il < d->n_layers; il++) {
        nn_scope(&b->ld, "%slayers.%zu.", b->ld.base, il);
        load_xielu(b, &d->layers[il].mlp);
    }
    return arch_build_ok(b, err);
}

const arch_family arch_apertus = {
    .model_types = (const char *const[]){"apertus", NULL},
    .classes = (const char *const[]){"ApertusModel", "ApertusForCausalLM",
                                     "ApertusForTokenClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", "act_fn.beta", "act_fn.eps", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
