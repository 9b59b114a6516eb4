/* Switch Transformers: t5 whose mlps are experts in every so many layers. Fedus et al. 2021, arXiv:2101.03961;
 * transformers 4.57 models/switch_transformers/modeling_switch_transformers.py.
 *
 *   t5's two stacks, with mlp(x) = p_e expert_e(x), e the best of softmax(router x)
 *
 * Easy to get wrong: an expert takes expert_capacity tokens of a text, and those behind them get nothing; with no sparse
 * layers asked for, the second one is sparse all the same, as the library has it. Checked on: random checkpoints of the
 * library. */
#include "arch/arch_t5.h"

/* In every how many layers: the second one of each step is sparse. */
static size_t sparse_step(arch_config *c, const char *key, size_t layers)
{
    const size_t sparse = cfg_size(c, key, 3, 0, 1 << 20);
    return sparse ? layers / sparse : layers;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    t5_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_t5_config(c, m, true);
    t5_config *o = &m->cfg;
    o->hidden = cfg_dim(c, "d_model|hidden_size", 768);
    o->encoder_layers = cfg_layers(c, "num_layers|num_hidden_layers", 12);
    o->decoder_layers = cfg_layers(c, "num_decoder_layers", o->encoder_layers);
    o->heads = cfg_dim(c, "num_heads|num_attention_heads", 12);
    o->gated = false;
    o->act = cfg_act(c, "dense_act_fn", "relu");
    m->kind = (t5_kind){
        .mlp = "mlp",
        .experts = cfg_size(c, "num_experts", 8, 1, 4096),
        .capacity = cfg_size(c, "expert_capacity", 64, 1, (size_t)1 << 40),
        .encoder_step = sparse_step(c, "num_sparse_encoder_layers", o->encoder_layers),
        .decoder_step = sparse_step(c, "num_sparse_decoder_layers", o->decoder_layers),
        .router_bias = cfg_bool(c, "router_bias", false),
    };
    return arch_t5_load(b, m, err);
}

const arch_family arch_switch = {
    .model_types = (const char *const[]){"switch_transformers", NULL},
    .classes = (const char *const[]){"SwitchTransformersModel",
                                     "SwitchTransformersForConditionalGeneration",
                                     "SwitchTransformersEncoderModel", NULL},
    .kind = ARCH_ENCODER_DECODER,
    .ignorable = (const char *const[]){"embed_tokens.weight", NULL},
    .load = load,
    .forward = arch_t5_forward,
    .encode = arch_t5_encode,
};
