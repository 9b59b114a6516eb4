/* GPTBigCode (SantaCoder, StarCoder 1). Li et al. 2023, arXiv:2305.06161; transformers 4.57
 * models/gpt_bigcode/modeling_gpt_bigcode.py.
 *
 *   ids ─ word + position embeddings ─ n x [ x += attention(norm1 x);  x += mlp(norm2 x) ] ─ norm ─ head
 *
 * GPT-2 but for: ordinary linear layers; with multi_query all heads share one key and one value, stored behind
 * the queries in c_attn; without it c_attn lies head by head, [q k v] each. Checked on: fixtures
 * gpt_bigcode-mqa. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b,
        &(arch_decoder){
            .hidden = 768, .n_layers = 12, .heads = 12, .vocab = 50257, .types_are_words = true});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    const bool shared = cfg_bool(c, "multi_query", true);
    if (shared) d->kv_heads = 1;
    if (!cfg_bool(c, "scale_attn_weights", true)) d->scale = 1;
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 1024);
    decoder_plan p =
        arch_decoder_gpt_plan(&arch_decoder_gpt2_names, cfg_dim(c, "n_inner", 4 * d->hidden),
                              cfg_act(c, "activation_function", "gelu_pytorch_tanh"),
                              cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.layout = shared ? NN_QKV_PARTS : NN_QKV_PER_HEAD;
    p.norm1 = "ln_1";
    p.norm2 = "ln_2";
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_gpt_bigcode = {
    .model_types = (const char *const[]){"gpt_bigcode", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("GPTBigCode"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){".attn.bias", ".attn.masked_bias", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
