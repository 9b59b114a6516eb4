/* GPT-NeoX Japanese. ABEJA 2022; transformers 4.57 models/gpt_neox_japanese/modeling_gpt_neox_japanese.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: no layer has a bias but the last one's attention, where it is a tensor of its own (dense_bias);
 * query_key_value is stored head by head. Checked on: random checkpoints of the library. */
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
    *d = (arch_decoder){.hidden = 2560, .n_layers = 32, .heads = 32, .vocab = 32000};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden;
    decoder_plan p = arch_decoder_gpt_plan(
        &names, (size_t)((float)H * cfg_float(c, "intermediate_multiple_size", 4)),
        cfg_act(c, "hidden_act", "gelu"), cfg_float(c, "layer_norm_eps", 1e-5f));
    p.layout = NN_QKV_PER_HEAD;
    p.qkv = p.o = p.mlp = NN_NO_BIAS;
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){
                       .dim = arch_rope_dim(c, d->head_dim, "rotary_pct|partial_rotary_factor", 1),
                       .theta = 10000,
                       .theta_key = "rotary_emb_base|rope_theta",
                       .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    if (d->n_layers) {
        const size_t last = d->n_layers - 1;
        nn_scope(&b->ld, "%slayers.%zu.", b->ld.base, last);
        d->layers[last].attn.o.bias = nn_load_vector(&b->ld, "attention.dense_bias", H, 0);
    }
    return arch_build_ok(b, err);
}

const arch_family arch_gpt_neox_japanese = {
    .model_types = (const char *const[]){"gpt_neox_japanese", NULL},
    .classes = (const char *const[]){"GPTNeoXJapaneseModel", "GPTNeoXJapaneseForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "gpt_neox_japanese.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias",
                                       "rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
