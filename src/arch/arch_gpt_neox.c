/* GPT-NeoX: pythia, dolly, stablelm's first models; and ABEJA's Japanese one. Black et al. 2022, arXiv:2204.06745;
 * transformers 4.57 models/{gpt_neox,gpt_neox_japanese}/modeling_*.py.
 *
 *   gpt_neox            ids ─ embedding ─ n x [ x += attention(norm1 x) + mlp(norm2 x) ] ─ norm ─ embed_out
 *   gpt_neox_japanese   n x [ x += attention(norm x);  x += mlp(norm x) ], tied, without biases but those of the norms
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; rope turns only the first
 * rotary_pct of a head; use_parallel_residual false is the usual serial block; heads are called embed_out; the
 * Japanese model's last attention has a bias, which is a tensor of its own (dense_bias).
 * Checked on: fixtures gpt_neox-*; random checkpoints of the library. */
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

static decoder_plan read_gpt_neox(arch_config *c, arch_decoder *d)
{
    *d = (arch_decoder){.hidden = 6144, .n_layers = 44, .heads = 64, .vocab = 50432};
    arch_decoder_config(c, d);
    arch_decoder_even(c, d);
    d->parallel = cfg_bool(c, "use_parallel_residual", true);
    const unsigned bias = cfg_bool(c, "attention_bias", true) ? NN_BIAS : NN_NO_BIAS;
    decoder_plan p = arch_decoder_gpt_plan(&names, cfg_dim(c, "intermediate_size", 24576),
                                           cfg_act(c, "hidden_act", "gelu"),
                                           cfg_float(c, "layer_norm_eps", 1e-5f));
    p.layout = NN_QKV_PER_HEAD;
    p.qkv = p.o = bias;
    p.tied = false;
    return p;
}

static decoder_plan read_japanese(arch_config *c, arch_decoder *d)
{
    *d = (arch_decoder){.hidden = 2560, .n_layers = 32, .heads = 32, .vocab = 32000};
    arch_decoder_config(c, d);
    arch_decoder_even(c, d);
    const float wide = (float)d->hidden * cfg_float(c, "intermediate_multiple_size", 4);
    decoder_plan p = arch_decoder_gpt_plan(&names, (size_t)wide, cfg_act(c, "hidden_act", "gelu"),
                                           cfg_float(c, "layer_norm_eps", 1e-5f));
    p.layout = NN_QKV_PER_HEAD;
    p.qkv = p.o = p.mlp = NN_NO_BIAS;
    return p;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    const bool japanese = str_is(str_from(b->m->info.model_type), "gpt_neox_japanese");
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const decoder_plan p = japanese ? read_japanese(c, d) : read_gpt_neox(c, d);
    const size_t turned =
        arch_rope_dim(c, d->head_dim, "rotary_pct|partial_rotary_factor", japanese ? 1 : 0.25);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = turned,
                             .theta = 10000,
                             .theta_key = "rotary_emb_base|rope_theta",
                             .round_up = !japanese && d->head_dim % 2 == 0,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    if (japanese && d->n_layers) {
        const size_t last = d->n_layers - 1;
        nn_scope(ld, "%slayers.%zu.", ld->base, last);
        d->layers[last].attn.o.bias = nn_load_vector(ld, "attention.dense_bias", d->hidden, 0);
    }
    return arch_build_ok(b, err);
}

const arch_family arch_gpt_neox = {
    .model_types = (const char *const[]){"gpt_neox", "gpt_neox_japanese", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("GPTNeoX"), "GPTNeoXJapaneseModel",
                                     "GPTNeoXJapaneseForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "gpt_neox.|gpt_neox_japanese.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias",
                                       "rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
