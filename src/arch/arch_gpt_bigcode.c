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
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){
        .hidden = 768, .n_layers = 12, .heads = 12, .vocab = 50257, .types_are_words = true};
    const bool shared = cfg_bool(c, "multi_query", true);
    arch_decoder_config(c, d);
    d->kv_heads = shared ? 1 : d->heads;
    d->head_dim = d->hidden / d->heads;
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 1024);
    const size_t H = d->hidden, F = cfg_dim(c, "n_inner", 4 * H);
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    const k_act act = cfg_act(c, "activation_function", "gelu_pytorch_tanh");
    if (!cfg_bool(c, "scale_attn_weights", true)) d->scale = 1;
    if (H % d->heads)
        cfg_fail(c, "\"n_embd\" %zu is not a multiple of \"n_head\" %zu", H, d->heads);
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "wte", "input id", d->vocab, H, 0);
    nn_load_embed(ld, &d->positions, "wpe", "position", d->max_positions, H, 0);
    nn_load_norm(ld, &d->norm, "ln_f", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "ln_1", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "ln_2", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_linear(ld, &l->attn.qkv, "attn.c_attn", H + 2 * d->kv_heads * d->head_dim, H,
                       NN_BIAS);
        nn_load_linear(ld, &l->attn.o, "attn.c_proj", H, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.up, "mlp.c_fc", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "mlp.c_proj", H, F, NN_BIAS);
        l->attn.layout = shared ? NN_QKV_PARTS : NN_QKV_PER_HEAD;
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_gpt_bigcode = {
    .model_types = (const char *const[]){"gpt_bigcode", NULL},
    .classes = (const char *const[]){"GPTBigCodeModel", "GPTBigCodeForCausalLM",
                                     "GPTBigCodeForSequenceClassification",
                                     "GPTBigCodeForTokenClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){".attn.bias", ".attn.masked_bias", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
