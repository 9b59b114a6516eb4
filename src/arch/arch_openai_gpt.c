/* The first GPT. Radford et al. 2018; transformers 4.57 models/openai/modeling_openai.py.
 *
 *   ids ─ embedding + position ─ n x [ x = norm(x + attention(x));  x = norm(x + mlp(x)) ] ─ head
 *
 * Easy to get wrong: the norms come after each half, and none behind the last layer; weights are stored [in, out];
 * "gelu" means the tanh form. Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 768,
                        .n_layers = 12,
                        .heads = 12,
                        .vocab = 40478,
                        .post_norm = true,
                        .types_are_words = true};
    arch_decoder_config_even(c, d);
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 512);
    const size_t H = d->hidden, F = 4 * H;
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    const unsigned flags = NN_BIAS | NN_CONV1D;
    k_act act = cfg_act(c, "afn", "gelu");
    if (act == K_ACT_GELU) act = K_ACT_GELU_TANH;
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "tokens_embed", "input id", d->vocab, H, 0);
    nn_load_embed(ld, &d->positions, "positions_embed", "position", d->max_positions, H, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        nn_load_linear(ld, &l->attn.qkv, "attn.c_attn", 3 * H, H, flags);
        nn_load_linear(ld, &l->attn.o, "attn.c_proj", H, H, flags);
        nn_load_norm(ld, &l->norm1, "ln_1", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_linear(ld, &l->mlp.up, "mlp.c_fc", F, H, flags);
        nn_load_linear(ld, &l->mlp.down, "mlp.c_proj", H, F, flags);
        nn_load_norm(ld, &l->norm2, "ln_2", NN_NORM_LAYER, H, eps, NN_BIAS);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_openai_gpt = {
    .model_types = (const char *const[]){"openai-gpt", NULL},
    .classes = (const char *const[]){"OpenAIGPTModel", "OpenAIGPTLMHeadModel",
                                     "OpenAIGPTForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"attn.bias", "position_ids", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
