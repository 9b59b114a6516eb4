/* BitNet b1.58. Ma et al. 2025, arXiv:2504.12285; transformers 4.57 models/bitnet/modeling_bitnet.py.
 *
 * The llama block with an rms norm in front of the last matrix of attention and mlp each. Computed are checkpoints of
 * plain weights; those that name a quantization (ternary weights, activations of eight bits) are refused.
 * Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 2560, .n_layers = 30, .heads = 20, .kv_heads = 5, .vocab = 128256});
    TRY(arch_build_ok(b, err));
    if (d->heads * d->head_dim != d->hidden) // the norm's width
        cfg_fail(c, "%zu heads of %zu do not make up \"hidden_size\" %zu", d->heads, d->head_dim,
                 d->hidden);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 6912),
                            .act = cfg_act(c, "hidden_act", "relu2"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                            .qkv = bias,
                            .o = bias};
    arch_decoder_rope(b, d, 500000, 2048);
    TRY(arch_decoder_layers(b, d, err));
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->attn.o_norm, "self_attn.attn_sub_norm", NN_NORM_RMS, d->hidden, p.eps,
                     0);
        nn_load_norm(ld, &l->mlp.norm, "mlp.ffn_sub_norm", NN_NORM_RMS, p.ffn, p.eps, 0);
    }
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_bitnet = {
    .model_types = (const char *const[]){"bitnet", NULL},
    .classes = (const char *const[]){"BitNetModel", "BitNetForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
