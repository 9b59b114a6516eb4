/* GPT-NeoX: pythia, dolly, stablelm's first models. Black et al. 2022, arXiv:2204.06745;
 * transformers 4.57 models/gpt_neox/modeling_gpt_neox.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm1 x) + mlp(norm2 x) ] ─ norm ─ embed_out
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; rope turns only the first
 * rotary_pct of a head; use_parallel_residual false is the usual serial block; heads are called embed_out.
 * Checked on: fixtures gpt_neox-*. */
#include "arch/arch_decoder.h"

static const decoder_names names = {
    .words = "embed_in",
    .norm = "final_layer_norm",
    .qkv = "attention.query_key_value",
    .o = "attention.dense",
    .up = "mlp.dense_h_to_4h",
    .down = "mlp.dense_4h_to_h",
    .head = "embed_out",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 6144, .n_layers = 44, .heads = 64, .vocab = 50432};
    arch_decoder_config_even(c, d);
    d->parallel = cfg_bool(c, "use_parallel_residual", true);
    const unsigned bias = cfg_bool(c, "attention_bias", true) ? NN_BIAS : NN_NO_BIAS;
    decoder_plan p = arch_decoder_gpt_plan(&names, cfg_dim(c, "intermediate_size", 24576),
                                           cfg_act(c, "hidden_act", "gelu"),
                                           cfg_float(c, "layer_norm_eps", 1e-5f));
    p.layout = NN_QKV_PER_HEAD;
    p.qkv = p.o = bias;
    p.tied = false;
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){
            .dim = arch_rope_dim(c, d->head_dim, "rotary_pct|partial_rotary_factor", 0.25),
            .theta = 10000,
            .theta_key = "rotary_emb_base|rope_theta",
            .round_up = d->head_dim % 2 == 0,
            .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_gpt_neox = {
    .model_types = (const char *const[]){"gpt_neox", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("GPTNeoX"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "gpt_neox.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias",
                                       "rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
