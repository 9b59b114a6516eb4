/* Mamba, Falcon-Mamba and Mamba-2. Gu and Dao 2023, arXiv:2312.00752; Zuo et al. 2024, arXiv:2410.05355; Dao and Gu
 * 2024, arXiv:2405.21060; transformers 4.57 models/{mamba,falcon_mamba,mamba2}/modeling_*.py (slow_forward,
 * torch_forward).
 *
 *   ids ─ embedding ─ n x [ x += mamba(rms x) ] ─ rms ─ head
 *
 *   falcon_mamba  dt, B and C are rms-normed, without weights
 *   mamba2        heads and groups of channels, a gated norm; the head is not tied
 *
 * Easy to get wrong: the hidden states that the library lists begin behind the first layer; "intermediate_size" in
 * config.json counts before "expand"; the embedding was called backbone.embedding once. Checked on: random checkpoints
 * of the library. */
#include <math.h>

#include "arch/arch_recurrent.h"

static void read_mamba(arch_config *c, mamba_plan *p, size_t hidden, bool falcon)
{
    *p = (mamba_plan){
        .inner = arch_mamba_inner(c, "intermediate_size", "expand", hidden),
        .n = cfg_size(c, "state_size", 16, 1, ARCH_STATE_MAX),
        .rank = arch_mamba_rank(c, "time_step_rank", hidden),
        .width = cfg_size(c, "conv_kernel", 4, 1, ARCH_CONV_MAX),
        .act = cfg_act(c, "hidden_act", "silu"),
        .proj = cfg_bool(c, "use_bias", false) ? NN_BIAS : NN_NO_BIAS,
        .conv = cfg_bool(c, "use_conv_bias", true) ? NN_BIAS : NN_NO_BIAS,
        .plain_norms = falcon,
        .eps = falcon ? cfg_float(c, "mixer_rms_eps", 1e-6f) : 0,
    };
}

static void read_mamba2(arch_config *c, mamba2_plan *p, size_t hidden, float eps)
{
    *p = (mamba2_plan){.inner = arch_mamba_inner(c, NULL, "expand", hidden),
                       .heads = 128,
                       .dim = 64,
                       .groups = 8,
                       .n = 128,
                       .eps = eps};
    arch_mamba2_config(c, p);
    const json *limit = cfg_get(c, "time_step_limit");
    if (json_len(limit) == 2) {
        p->dt_min = (float)json_double(json_at(limit, 0), 0);
        p->dt_max = (float)json_double(json_at(limit, 1), (double)INFINITY);
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const mltf_str type = str_from(b->m->info.model_type);
    const bool two = str_is(type, "mamba2");
    const size_t H = cfg_dim(c, "hidden_size", two ? 4096 : 768);
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    mamba_plan p;
    mamba2_plan p2;
    *d = (arch_decoder){.hidden = H,
                        .n_layers = cfg_layers(c, "num_hidden_layers", two ? 64 : 32),
                        .vocab = cfg_dim(c, "vocab_size", two ? 32768 : 50280),
                        .input_unseen = true};
    if (two)
        read_mamba2(c, &p2, H, eps);
    else
        read_mamba(c, &p, H, str_is(type, "falcon_mamba"));
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embeddings|embedding", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm_f", NN_NORM_RMS, H, eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "norm", NN_NORM_RMS, H, eps, 0);
        if (two)
            arch_mamba2_layer(b, l, "mixer", H, &p2);
        else
            arch_mamba_layer(b, l, "mixer", H, &p);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, !two);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_mamba = {
    .model_types = (const char *const[]){"mamba", "falcon_mamba", "mamba2", NULL},
    .classes =
        (const char *const[]){"MambaModel", "MambaForCausalLM", "FalconMambaModel",
                              "FalconMambaForCausalLM", "Mamba2Model", "Mamba2ForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "backbone.",
    .load = load,
    .forward = arch_decoder_forward,
};
