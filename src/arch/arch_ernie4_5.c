/* ERNIE 4.5, dense and with experts. Baidu 2025; transformers 4.57 models/{ernie4_5,ernie4_5_moe}/modeling_*.py.
 *
 * The llama block; ernie4_5_moe has shared experts, and others chosen by the softmax of all and a correction, whose
 * weights are divided by their sum. Easy to get wrong: rope turns neighbours; one option, use_bias, stands for all
 * seven matrices of a layer; the head is tied by default. Checked on: fresh random checkpoints. */
#include "arch/arch_decoder.h"

static experts_plan read_experts(arch_config *c, decoder_plan *p, size_t layers)
{
    experts_plan e = {.n = cfg_size(c, "moe_num_experts|num_experts", 64, 1, 4096),
                      .top_k = cfg_size(c, "moe_k|num_experts_per_tok", 6, 1, 64),
                      .shared = cfg_size(c, "moe_num_shared_experts", 2, 0, 64),
                      .ffn = cfg_dim(c, "moe_intermediate_size", 1536),
                      .act = p->act,
                      .scores = NN_MOE_SOFTMAX,
                      .normalize = true,
                      .correction = true,
                      .bias = p->mlp};
    const int64_t last = cfg_token(c, "moe_layer_end_index", -1);
    p->dense_layers = cfg_size(c, "moe_layer_start_index", 1, 0, 1 << 20);
    p->sparse_step = cfg_size(c, "moe_layer_interval", 1, 1, 1 << 20);
    p->sparse_end = last < 0 ? layers : (size_t)last + 1;
    if (e.top_k > e.n) cfg_fail(c, "\"moe_k\" %zu is above \"moe_num_experts\" %zu", e.top_k, e.n);
    if (cfg_float(c, "moe_norm_min", 1e-12f) > 1e-6f)
        cfg_fail(c, "\"moe_norm_min\" above 1e-6 is not supported");
    return e;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    const bool moe = str_is(str_from(b->m->info.model_type), "ernie4_5_moe");
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = moe ? 2560 : 1024,
                                                          .n_layers = moe ? 28 : 18,
                                                          .heads = moe ? 20 : 16,
                                                          .kv_heads = moe ? 4 : 2,
                                                          .head_dim = moe ? 0 : 128,
                                                          .vocab = 103424});
    TRY(arch_build_ok(b, err));
    const unsigned bias = cfg_bool(c, "use_bias", false) ? NN_BIAS : NN_NO_BIAS;
    decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", moe ? 12288 : 3072),
                      .act = cfg_act(c, "hidden_act", "silu"),
                      .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                      .qkv = bias,
                      .o = bias,
                      .mlp = bias,
                      .tied = true};
    experts_plan experts;
    if (moe) {
        experts = read_experts(c, &p, d->n_layers);
        p.experts = &experts;
        p.lm_head = bias;
    }
    arch_decoder_rope(b, d, 500000, 131072);
    d->rope.interleaved = true;
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_ernie4_5 = {
    .model_types = (const char *const[]){"ernie4_5", "ernie4_5_moe", NULL},
    .classes = (const char *const[]){"Ernie4_5Model", "Ernie4_5ForCausalLM", "Ernie4_5_MoeModel",
                                     "Ernie4_5_MoeForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
