/* Mamba and Falcon-Mamba. Gu and Dao 2023, arXiv:2312.00752; Zuo et al. 2024, arXiv:2410.05355;
 * transformers 4.57 models/{mamba,falcon_mamba}/modeling_*.py (slow_forward).
 *
 *   ids ─ embedding ─ n x [ x += mamba(rms x) ] ─ rms ─ head
 *
 *   falcon_mamba  dt, B and C are rms-normed, without weights
 *
 * Easy to get wrong: the hidden states that the library lists begin behind the first layer; "intermediate_size" in
 * config.json counts before "expand"; the embedding was called backbone.embedding once. Checked on: random checkpoints
 * of the library. */
#include "arch/arch_recurrent.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const bool falcon = str_is(str_from(b->m->info.model_type), "falcon_mamba");
    const size_t H = cfg_dim(c, "hidden_size", 768);
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    *d = (arch_decoder){.hidden = H,
                        .n_layers = cfg_layers(c, "num_hidden_layers", 32),
                        .vocab = cfg_dim(c, "vocab_size", 50280),
                        .input_unseen = true};
    const mamba_plan p = {
        .inner = arch_mamba_inner(c, "intermediate_size", "expand", H),
        .n = cfg_size(c, "state_size", 16, 1, ARCH_STATE_MAX),
        .rank = arch_mamba_rank(c, "time_step_rank", H),
        .width = cfg_size(c, "conv_kernel", 4, 1, ARCH_CONV_MAX),
        .act = cfg_act(c, "hidden_act", "silu"),
        .proj = cfg_bool(c, "use_bias", false) ? NN_BIAS : NN_NO_BIAS,
        .conv = cfg_bool(c, "use_conv_bias", true) ? NN_BIAS : NN_NO_BIAS,
        .plain_norms = falcon,
        .eps = falcon ? cfg_float(c, "mixer_rms_eps", 1e-6f) : 0,
    };
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embeddings|embedding", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm_f", NN_NORM_RMS, H, eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "norm", NN_NORM_RMS, H, eps, 0);
        arch_mamba_load(b, l, "mixer", H, &p);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_mamba = {
    .model_types = (const char *const[]){"mamba", "falcon_mamba", NULL},
    .classes = (const char *const[]){"MambaModel", "MambaForCausalLM", "FalconMambaModel",
                                     "FalconMambaForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "backbone.",
    .load = load,
    .forward = arch_decoder_forward,
};
