/* The first GPT. Radford et al. 2018; transformers 4.57 models/openai/modeling_openai.py.
 *
 *   ids ─ embedding + position ─ n x [ x = norm(x + attention(x));  x = norm(x + mlp(x)) ] ─ head
 *
 * Easy to get wrong: the norms come after each half, and none behind the last layer; weights are stored [in, out];
 * "gelu" means the tanh form. Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

static const decoder_names names = {
    .words = "tokens_embed",
    .positions = "positions_embed",
    .layers = "h",
    .qkv = "attn.c_attn",
    .o = "attn.c_proj",
    .up = "mlp.c_fc",
    .down = "mlp.c_proj",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 768,
                                                          .n_layers = 12,
                                                          .heads = 12,
                                                          .vocab = 40478,
                                                          .post_norm = true,
                                                          .types_are_words = true});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 512);
    const k_act act = cfg_act(c, "afn", "gelu");
    const unsigned flags = NN_BIAS | NN_CONV1D;
    decoder_plan p =
        arch_decoder_gpt_plan(&names, 4 * d->hidden, act == K_ACT_GELU ? K_ACT_GELU_TANH : act,
                              cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.norm1 = "ln_1";
    p.norm2 = "ln_2";
    p.qkv = p.o = p.mlp = flags;
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
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
